//! Broken connections, malformed responses and redirects.

use std::time::Duration;

use crate::emulator::CREATE_FOR_SERVICE_ACCOUNT;
use crate::emulator::faults::{Endpoint, Fault};
use crate::expect::{fails_with, fails_with_hint};
use crate::harness::waiting::WAIT_LIMIT;
use crate::server::{Response, Server, Stage};
use crate::world::World;

#[test]
fn a_connection_that_breaks_at_any_stage_is_retried() {
    for stage in [Stage::BeforeAnswer, Stage::MidHeaders, Stage::MidBody, Stage::Reset] {
        let world = World::new();
        world.emulator.fault(Fault::broken(stage).times(1));
        world.get();
        assert_eq!(world.requests(), 2, "{stage:?}");
    }
}

#[test]
fn a_connection_that_always_breaks_is_reported_after_four_attempts() {
    for stage in [Stage::BeforeAnswer, Stage::MidHeaders, Stage::MidBody, Stage::Reset] {
        let world = World::new();
        world.emulator.fault(Fault::broken(stage));
        fails_with(world.token(&[]).run(), 4, &[&world.emulator.url()]);
        assert_eq!(world.requests(), 4, "{stage:?}");
    }
}

#[test]
fn an_html_page_in_place_of_a_token_is_reported() {
    let world = World::new();
    world.emulator.fault(Fault::html());
    fails_with_hint(world.token(&[]).run(), 4, &["unexpected response: ", "text/html"], "captive portal");
    assert_eq!(world.requests(), 1);
}

#[test]
fn an_empty_response_is_reported() {
    let world = World::new();
    world.emulator.fault(Fault::body(""));
    fails_with(world.token(&[]).run(), 4, &["an empty body"]);
}

#[test]
fn json_without_a_token_is_an_error() {
    for body in ["{}", "[]", "null", "{\"iamToken\": 1}", "{\"iamToken\": \"t1.x.y\"", "42"] {
        let world = World::new();
        world.emulator.fault(Fault::body(body));
        fails_with(world.token(&[]).run(), 4, &["unexpected response: "]);
    }
}

#[test]
fn an_endless_response_is_cut_off() {
    let world = World::new();
    world.emulator.fault(Fault::endless());
    fails_with(world.token(&[]).run(), 4, &["larger than 65536 bytes"]);
    // The response is not read into memory first: the program runs in 64 MiB of address space.
    let arguments = ["-c", "ulimit -v 65536 && exec \"$@\"", "sh", crate::harness::YCRED, "token", "--force-refresh"];
    fails_with(world.sandbox.call("sh", arguments).run(), 4, &["larger than 65536 bytes"]);
    let world = World::new();
    world.emulator.fault(Fault::body(format!("{{\"iamToken\":\"t1.x.y\",\"pad\":\"{}\"}}", "x".repeat(65_536))));
    fails_with(world.token(&[]).run(), 4, &["larger than 65536 bytes"]);
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_dripping_response_ends_at_the_deadline() {
    let world = World::new();
    world.configure("timeout = \"3s\"");
    world.emulator.fault(Fault::dripping(1, Duration::from_millis(500)));
    fails_with_hint(world.token(&[]).limit(WAIT_LIMIT).run(), 4, &["no answer within"], "--timeout");
    assert!((1..=4).contains(&world.requests()), "{} requests", world.requests());
}

#[test]
fn a_slow_response_within_the_deadline_is_accepted() {
    let world = World::new();
    world.emulator.fault(Fault::dripping(200, Duration::from_millis(50)));
    world.get();
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_cloud_that_does_not_respond_is_abandoned_at_the_deadline() {
    let world = World::new();
    world.emulator.fault(Fault::held());
    fails_with(world.token(&["--timeout", "2s"]).limit(WAIT_LIMIT).run(), 4, &["no answer within"]);
    assert!((1..=4).contains(&world.requests()), "{} requests", world.requests());
}

#[test]
fn redirects_never_receive_credentials() {
    let elsewhere = Server::start(None, |_| Response::json(200, "{\"iamToken\":\"t1.stolen.x\"}"));
    for status in [301, 302, 303, 307, 308] {
        let world = World::new();
        let account = world.emulator.new_service_account();
        world.configure(&format!("impersonate = \"{account}\""));
        for endpoint in [Endpoint::Tokens, Endpoint::CreateForServiceAccount] {
            let to = format!("{}/x", elsewhere.url());
            world.emulator.clear_faults();
            world.emulator.fault(Fault::refuse(status).on(endpoint).header("Location", &to));
            fails_with(world.token(&["--force-refresh"]).run(), 4, &["redirected", &to, &status.to_string()]);
        }
        assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (2, 1));
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn plain_http_is_limited_to_loopback() {
    let world = World::new();
    for url in
        ["http://iam.example.test", "http://10.0.0.1:8080", "ftp://127.0.0.1", "iam.example.test", "http://u@127.0.0.1"]
    {
        world.sandbox.profile("default", &world.settings().replace(&world.emulator.url(), url));
        fails_with(world.token(&[]).run(), 3, &["default.toml:3", "iam-url"]);
    }
    let port = world.emulator.address().port();
    world
        .sandbox
        .profile("default", &world.settings().replace(&world.emulator.url(), &format!("http://localhost:{port}")));
    world.get();
}
