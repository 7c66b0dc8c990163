//! The secrets of a login, which must be only in its state and its record.

use super::fragments::Fragments;
use std::fs;

use serde_json::{Value, json};

use crate::emulator::faults::{Endpoint, Fault};
use crate::harness::files::mode;
use crate::server::Stage;
use crate::sources::person::Person;

/// Returns all secrets of a login up to now: access tokens, codes, refresh tokens and the key in the state.
fn fragments_of_login(person: &Person) -> Fragments {
    let mut fragments = Fragments::default();
    for (at, token) in person.world.emulator.tokens().iter().enumerate() {
        fragments.add(&format!("access token {at}"), token);
    }
    for (at, secret) in person.world.emulator.logins(|logins| logins.secrets().to_vec()).iter().enumerate() {
        fragments.add(&format!("code or refresh token {at}"), secret);
    }
    for path in
        person.world.sandbox.files("state").iter().filter(|path| path.extension().is_some_and(|end| end == "json"))
    {
        let state: Value = serde_json::from_slice(&fs::read(path).expect("a state")).expect("JSON");
        // The first 40 characters are the same for every key.
        fragments.add("key", &state["key"].as_str().expect("a key")[40..]);
    }
    fragments
}

#[test]
fn a_login_never_exposes_its_secrets_even_if_it_fails() {
    let person = Person::new();
    // The browser's arguments and environment.
    let browser_input = person.world.sandbox.path("tmp/browser-input");
    let real_browser = person.world.sandbox.path("bin/browser");
    let browser = person.world.sandbox.script(
        "bin/nosy",
        &format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" >> {0}\nenv >> {0}\nexec {1} \"$1\"\n",
            browser_input.display(),
            real_browser.display()
        ),
    );
    let mut runs = Vec::new();
    let mut call = |arguments: &[&str], stdin: Option<&str>| {
        let call = person.world.sandbox.ycred(["-vvv"].iter().chain(arguments)).env("BROWSER", &browser);
        let run = match stdin {
            Some(stdin) => call.stdin(stdin).run(),
            None => call.run(),
        };
        runs.push(run.clone());
        run
    };
    person.world.emulator.set(|settings| {
        settings.login.one_time = true;
        settings.login.nonce = Some(400);
    });
    call(&["login"], None).exits(0);
    // The server quotes only the last secret. Earlier codes are worthless, because they are used up.
    let echo = || {
        let secrets = person.world.emulator.logins(|logins| logins.secrets().last().cloned().unwrap_or_default());
        format!("you said {secrets} and {}", person.world.emulator.tokens().join(" "))
    };
    for fault in [
        Fault::refuse(400).message(echo()),
        Fault::refuse(401).message(echo()).header("DPoP-Nonce", "x"),
        Fault::body(json!({"access_token": "bad token", "refresh_token": echo()}).to_string()),
        Fault::body(echo()),
        Fault::refuse(302).header("Location", &format!("https://evil.example/{}", person.world.emulator.tokens()[0])),
        Fault::broken(Stage::MidBody),
    ] {
        person.world.emulator.clear_faults();
        person.world.emulator.fault(fault.on(Endpoint::OauthToken));
        call(&["refresh", "--timeout", "2s"], None);
        call(&["kubectl", "--force-refresh", "--timeout", "2s"], None);
        call(&["login", "--force-refresh", "--timeout", "5s"], None);
    }
    person.world.emulator.clear_faults();
    call(&["login", "--force-refresh"], None).exits(0);
    call(&["refresh"], None).exits(0);
    let token = person.world.emulator.tokens().last().expect("a token").clone();
    call(&["revoke", "-"], Some(&token)).exits(0);
    call(&["revoke", &token], None).exits(2);
    let fragments = fragments_of_login(&person);
    call(&["login", "--no-browser", "--timeout", "1s"], Some("code=stolen-code-stolen&state=wrong\n"));
    person.world.emulator.fault(Fault::refuse(500).on(Endpoint::Revoke).message(echo()));
    call(&["logout", "--revoke", "--timeout", "2s"], None);
    assert!(fragments.secrets.len() > 10, "{}", fragments.secrets.len());
    for run in &runs {
        assert_eq!(fragments.find_in(run.stderr.as_bytes()), None, "{run}");
        assert_eq!(fragments.find_in(run.stdout.as_bytes()), None, "{run}");
    }
    let content = fs::read(&browser_input).expect("the browser's input");
    assert_eq!(fragments.find_in(&content), None, "{}", String::from_utf8_lossy(&content));
    for path in
        ["state", "cache", "home", "config", "work", "tmp"].iter().flat_map(|place| person.world.sandbox.files(place))
    {
        let content = fs::read(&path).unwrap_or_default();
        assert_eq!(fragments.find_in(&content), None, "after the logout, in {}", path.display());
        assert_eq!(fragments.find_in(path.as_os_str().as_encoded_bytes()), None, "{}", path.display());
    }
}

#[test]
fn only_the_state_and_the_record_contain_a_logins_secrets() {
    let person = Person::new();
    person.log_in();
    person.token(&[]).run().exits(0);
    let fragments = fragments_of_login(&person);
    let without_key = fragments.without("key");
    let mut holders = Vec::new();
    for path in
        ["state", "cache", "home", "config", "work", "tmp"].iter().flat_map(|place| person.world.sandbox.files(place))
    {
        let content = fs::read(&path).unwrap_or_default();
        if fragments.find_in(&content).is_some() {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            assert!(without_key.find_in(&content).is_some());
            holders.push(path);
        }
    }
    let [state, record] = holders.as_slice() else { panic!("expected a state and a record: {holders:?}") };
    assert!(
        record.starts_with(person.world.sandbox.path("cache")) && state.starts_with(person.world.sandbox.path("state"))
    );
    let refresh = person.world.emulator.logins(|logins| logins.secrets()[1].clone());
    assert!(!fs::read_to_string(record).expect("a record").contains(&refresh), "the record contains the refresh token");
}
