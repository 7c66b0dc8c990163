//! Status codes and the delay before a retry.

use std::time::{Duration, SystemTime};

use crate::emulator::faults::Fault;
use crate::expect::{fails_with, fails_with_hint, prints_token, prints_token_with_warning};
use crate::world::World;

#[test]
fn a_4xx_other_than_429_is_never_retried() {
    for (status, code, name) in [
        (400, 1, "INVALID_ARGUMENT"),
        (401, 1, "UNAUTHENTICATED"),
        (403, 1, "PERMISSION_DENIED"),
        (404, 1, "NOT_FOUND"),
        (408, 4, ""),
        (409, 1, ""),
    ] {
        let world = World::new();
        world.emulator.fault(Fault::refuse(status).message("in the clouds own words"));
        let expected = [&format!("{status}"), name, "in the clouds own words", &world.emulator.url()];
        let error = fails_with(world.token(&[]).run(), code, &expected);
        assert!(error.contains(&world.emulator.log()[0].request_id), "{error}");
        assert_eq!(world.requests(), 1, "{status}");
    }
}

#[test]
fn a_429_or_5xx_is_retried_three_times_and_then_reported() {
    for (status, name) in [(429, "RESOURCE_EXHAUSTED"), (500, "INTERNAL"), (502, ""), (503, "UNAVAILABLE"), (504, "")] {
        let world = World::new();
        world.emulator.fault(Fault::refuse(status).message("in the clouds own words").retry_after(0));
        let expected = [&format!("{status}"), name, "in the clouds own words"];
        let error = fails_with_hint(world.token(&[]).run(), 4, &expected, "try again");
        let log = world.emulator.log();
        assert!(error.contains(&log[log.len() - 1].request_id), "{error}");
        assert_eq!(log.len(), 4, "{status}");
    }
}

#[test]
fn if_the_cloud_recovers_nothing_is_printed() {
    for status in [429, 500, 502, 503, 504] {
        let world = World::new();
        world.emulator.fault(Fault::refuse(status).times(2).retry_after(0));
        world.get();
        assert_eq!(world.requests(), 3, "{status}");
    }
}

#[test]
fn without_retry_after_a_request_is_retried_up_to_three_times() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(503).times(3));
    world.get();
    assert_eq!(world.requests(), 4);
}

#[test]
fn errors_in_another_format_are_reported_by_status() {
    // A firewall or a portal says nothing about the key, so nobody has to get a new one.
    for (status, phrase) in [(401, "Unauthorized"), (403, "Forbidden"), (404, "Not Found"), (407, ""), (451, "")] {
        for page in [Fault::html(), Fault::body(""), Fault::body("{\"message\":\"blocked by policy\"}")] {
            let world = World::new();
            world.emulator.fault(page.with_status(status));
            let run = world.token(&[]).run();
            let error = fails_with_hint(run, 4, &[&status.to_string()], "captive portal");
            assert!(error.contains(phrase) || error.contains("blocked by policy"), "{error}");
            assert!(!error.contains("proxy "), "no proxy is in play: {error}");
            assert_eq!(world.requests(), 1, "{status}: not repeated");
        }
    }
    let world = World::new();
    world.emulator.fault(Fault::html().with_status(502).retry_after(0));
    fails_with(world.token(&[]).run(), 4, &["502 Bad Gateway"]);
}

#[test]
fn a_servers_message_cannot_break_out_of_its_line() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(403).message("\u{1b}[31mred\r\nycred: hint: rm -rf /\u{7}\u{202e}"));
    let run = world.token(&[]).run();
    assert!(run.stderr.chars().all(|c| c == '\n' || (!c.is_control() && c != '\u{202e}')), "{run}");
    fails_with(run, 1, &["red ycred: hint: rm -rf /"]);
}

/// The time between the first response and the second request.
fn retry_delay(world: &World) -> Duration {
    let log = world.emulator.log();
    let answered = log[0].answered.unwrap_or(SystemTime::UNIX_EPOCH);
    log[1].received.duration_since(answered).unwrap_or_default()
}

#[test]
fn a_retry_after_in_seconds_is_obeyed() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(503).retry_after(1).times(1));
    world.get();
    assert!(retry_delay(&world) >= Duration::from_millis(990), "{:?}", retry_delay(&world));
}

#[test]
fn a_retry_after_as_a_date_is_obeyed() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(503).retry_after_date(Duration::from_secs(2)).times(1));
    world.get();
    // A date has whole seconds, so up to one second may be missing.
    assert!(retry_delay(&world) >= Duration::from_millis(990), "{:?}", retry_delay(&world));
}

#[test]
fn a_retry_after_date_is_read_by_the_clouds_clock() {
    let world = World::new();
    world.emulator.set(|settings| settings.clock_shift = time::Duration::minutes(-10));
    world.emulator.fault(Fault::refuse(503).retry_after_date(Duration::from_secs(1)).times(1));
    prints_token_with_warning(world.token(&[]).run(), &["10 min fast"]);
    let world = World::new();
    world.emulator.set(|settings| settings.clock_shift = time::Duration::minutes(10));
    world.emulator.fault(Fault::refuse(503).retry_after_date(Duration::from_secs(1)).times(1));
    prints_token_with_warning(world.token(&[]).run(), &["10 min slow"]);
}

#[test]
fn a_retry_after_beyond_the_deadline_fails_at_once() {
    for late in [Fault::refuse(503).retry_after(30), Fault::refuse(429).retry_after_date(Duration::from_secs(30))] {
        let world = World::new();
        world.emulator.fault(late);
        // The limit is well below the default deadline of 20 seconds, so the run must fail without waiting.
        fails_with(world.token(&[]).limit(Duration::from_secs(15)).run(), 4, &[]);
        assert_eq!(world.requests(), 1);
    }
}

#[test]
fn an_invalid_retry_after_is_ignored() {
    let world = World::new();
    for (number, value) in ["soon", "-5", "1.5", "99999999999999999999999", ""].into_iter().enumerate() {
        world.emulator.fault(Fault::refuse(503).retry_after(value).times(1));
        prints_token(world.token(&["--force-refresh"]).run());
        assert_eq!(world.requests(), 2 * (number + 1), "{value:?}");
    }
    world.emulator.fault(Fault::refuse(503).retry_after(u64::MAX));
    fails_with(world.token(&["--force-refresh"]).run(), 4, &["503"]);
}
