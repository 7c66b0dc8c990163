//! A child under `exec --serve`, and requests to its endpoints.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use serde_json::Value;

use crate::emulator::METADATA;
use crate::harness::waiting::{WAIT_LIMIT, wait_until};
use crate::harness::{Call, Run, Running};
use crate::world::World;

/// A shell script that writes its environment to a file and then waits for the file `over`.
pub const WAITING: &str = "env -0 > environment.new; mv environment.new environment; for turn in $(seq 4000); do [ -e over ] && break; sleep 0.02; done";

/// A running `exec --serve` with a child that waits for [`Self::end`].
pub struct ServedChild<'a> {
    pub world: &'a World,
    pub running: Running,
    pub environment: Vec<(String, String)>,
}

impl<'a> ServedChild<'a> {
    /// Starts `ycred exec --serve` with these flags.
    #[track_caller]
    pub fn start(world: &'a World, flags: &[&str]) -> ServedChild<'a> {
        let arguments = [&["exec", "--serve"], flags, &["--", "sh", "-c", WAITING]].concat();
        ServedChild::start_call(world, world.sandbox.ycred(arguments))
    }

    /// Starts this call, which must run [`WAITING`], and reads the environment that it writes.
    #[track_caller]
    pub fn start_call(world: &'a World, call: Call) -> ServedChild<'a> {
        let file = world.sandbox.path("work/environment");
        let _ = fs::remove_file(&file);
        let running = call.start();
        wait_until("the child has started", || file.exists());
        let variables = fs::read_to_string(&file).expect("its environment");
        let pairs = variables.split_terminator('\0').map(|pair| pair.split_once('=').expect("a pair"));
        let environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        ServedChild { world, running, environment }
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
    pub fn metadata(&self) -> HttpResponse {
        request(self.port(), "GET", METADATA, &["Metadata-Flavor: Google"])
    }

    /// The token that the metadata endpoint returns.
    #[track_caller]
    pub fn token(&self) -> String {
        let response = self.metadata();
        assert_eq!(response.status, 200, "{}", response.body);
        let reply: Value = serde_json::from_str(&response.body).expect("JSON");
        assert_eq!(reply["token_type"], "Bearer");
        assert!(reply["expires_in"].as_u64().is_some_and(|seconds| seconds >= 1), "{reply}");
        reply["access_token"].as_str().expect("a token").to_owned()
    }

    #[track_caller]
    pub fn key(&self) -> Value {
        let response = request(self.port(), "GET", "/credentials", &[&format!("Authorization: {}", self.password())]);
        assert_eq!(response.status, 200, "{}", response.body);
        serde_json::from_str(&response.body).expect("JSON")
    }

    /// Ends the child.
    #[track_caller]
    pub fn end(self) -> Run {
        let over = self.world.sandbox.file("work/over", "");
        let run = self.running.finish();
        fs::remove_file(over).expect("removed");
        run
    }
}

#[derive(Debug)]
pub struct HttpResponse {
    pub status: u16,
    pub body: String,
}

#[track_caller]
pub fn request(port: u16, method: &str, path: &str, headers: &[&str]) -> HttpResponse {
    let host = format!("Host: 127.0.0.1:{port}");
    let headers: Vec<&str> = match headers.iter().any(|header| header.starts_with("Host:")) {
        true => headers.to_vec(),
        false => [&[host.as_str()], headers].concat(),
    };
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connects");
    connection.set_read_timeout(Some(WAIT_LIMIT)).expect("a timeout");
    write!(connection, "{method} {path} HTTP/1.1\r\n{}\r\n\r\n", headers.join("\r\n")).expect("sent");
    let mut reply = String::new();
    connection.read_to_string(&mut reply).expect("a response");
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {reply:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    HttpResponse { status, body: body.to_owned() }
}
