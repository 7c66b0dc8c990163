//! The metadata service.

use std::net::SocketAddr;

use super::send;
use crate::{Config, Emulator, METADATA};

#[test]
fn the_metadata_service_requires_its_header_and_an_account() {
    let emulator = Emulator::start(Config::default());
    let to: SocketAddr = emulator.metadata_addr().parse().expect("an address");
    let ask = |head: &str| send(to, &head.replace("PATH", METADATA), "").expect("a response");
    let valid = "GET PATH HTTP/1.1\r\nMetadata-Flavor: Google";
    assert_eq!(ask(valid).status, 404, "no account is attached");
    let account = emulator.new_service_account();
    emulator.attach(Some(&account));
    let answer = ask(valid);
    let token = answer.json()["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(emulator.subject_of(&token), Some(account));
    assert_eq!(answer.json()["token_type"], "Bearer");
    assert!(
        answer.json()["expires_in"].as_u64().is_some_and(|left| (43190..=43200).contains(&left)),
        "{}",
        answer.body
    );
    assert_eq!(ask("GET PATH HTTP/1.1").status, 403);
    assert_eq!(ask("GET PATH HTTP/1.1\r\nMetadata-Flavor: google").status, 403);
    assert_eq!(ask(&format!("{valid}\r\nX-Forwarded-For: 10.0.0.1")).status, 403);
    assert_eq!(ask("POST PATH HTTP/1.1\r\nMetadata-Flavor: Google").status, 405);
    assert_eq!(ask("GET /iam/v1/tokens HTTP/1.1\r\nMetadata-Flavor: Google").status, 404);
    let other = emulator.new_service_account();
    emulator.attach(Some(&other));
    let swapped = ask(valid).json()["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(emulator.subject_of(&swapped), Some(other));
}
