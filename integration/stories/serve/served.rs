//! A child under `exec --serve`, and requests to its endpoints.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use serde_json::Value;

use crate::emulator::METADATA;
use crate::harness::waiting::{PATIENCE, wait_until};
use crate::harness::{Call, Run, Running};
use crate::world::World;

/// A child that tells its environment, and then waits to be told to end.
pub const WAITING: &str = "env -0 > environment.new; mv environment.new environment; for turn in $(seq 4000); do [ -e over ] && break; sleep 0.02; done";

/// A child under `exec --serve` that waits.
pub struct Served<'a> {
    pub world: &'a World,
    pub running: Running,
    pub environment: Vec<(String, String)>,
}

impl<'a> Served<'a> {
    #[track_caller]
    pub fn start(world: &'a World, flags: &[&str]) -> Served<'a> {
        let words = [&["exec", "--serve"], flags, &["--", "sh", "-c", WAITING]].concat();
        Served::of(world, world.sandbox.ycred(words))
    }

    #[track_caller]
    pub fn of(world: &'a World, call: Call) -> Served<'a> {
        let file = world.sandbox.path("work/environment");
        let _ = fs::remove_file(&file);
        let running = call.start();
        wait_until("the child has started", || file.exists());
        let text = fs::read_to_string(&file).expect("its environment");
        let pairs = text.split_terminator('\0').map(|pair| pair.split_once('=').expect("a pair"));
        let environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Served { world, running, environment }
    }

    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn port(&self) -> u16 {
        let url = self.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI").expect("a URL");
        let rest = url.strip_prefix("http://127.0.0.1:").expect("on loopback");
        rest.strip_suffix("/credentials").expect("the path").parse().expect("a port")
    }

    #[track_caller]
    pub fn password(&self) -> &str {
        self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").expect("a password")
    }

    #[track_caller]
    pub fn metadata(&self) -> Answer {
        ask(self.port(), "GET", METADATA, &["Metadata-Flavor: Google"])
    }

    /// The token that the endpoint hands out.
    #[track_caller]
    pub fn token(&self) -> String {
        let answer = self.metadata();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let reply: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(reply["token_type"], "Bearer");
        assert!(reply["expires_in"].as_u64().is_some_and(|seconds| seconds >= 1), "{reply}");
        reply["access_token"].as_str().expect("a token").to_owned()
    }

    #[track_caller]
    pub fn key(&self) -> Value {
        let answer = ask(self.port(), "GET", "/credentials", &[&format!("Authorization: {}", self.password())]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// Lets the child end.
    #[track_caller]
    pub fn end(self) -> Run {
        let over = self.world.sandbox.file("work/over", "");
        let run = self.running.finish();
        fs::remove_file(over).expect("removed");
        run
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

#[track_caller]
pub fn ask(port: u16, method: &str, path: &str, headers: &[&str]) -> Answer {
    let host = format!("Host: 127.0.0.1:{port}");
    let headers: Vec<&str> = match headers.iter().any(|header| header.starts_with("Host:")) {
        true => headers.to_vec(),
        false => [&[host.as_str()], headers].concat(),
    };
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connects");
    connection.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(connection, "{method} {path} HTTP/1.1\r\n{}\r\n\r\n", headers.join("\r\n")).expect("sent");
    let mut text = String::new();
    connection.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, body: body.to_owned() }
}
