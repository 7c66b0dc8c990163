//! Logins whose files have times of a clock that was ahead: that of this machine before it was set back, or that of another
//! machine with the same home.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::emulator::auth::TOKEN;
use crate::emulator::faults::{Endpoint, Fault};
use crate::expect::{fails_with, prints_token, prints_token_with_warning};
use crate::harness::waiting::{HOUR, HeldLock, MINUTE, WAIT_LIMIT, wait_until};
use crate::sources::person::Person;
use crate::world::shift;

fn in_ms(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).expect("a duration in range")
}

fn edit(person: &Person, change: impl FnOnce(&mut Value)) {
    let mut state = person.state();
    change(&mut state);
    fs::write(person.file(".json"), state.to_string()).expect("written");
    let _ = fs::remove_dir_all(person.world.sandbox.path("cache"));
}

/// A person whose token has expired.
fn person() -> Person {
    let person = Person::new();
    person.log_in();
    person.age(13 * HOUR);
    person
}

#[test]
fn a_failed_renewal_by_a_clock_that_was_ahead_answers_no_later_call() {
    for arguments in [&["token"][..], &["token", "--no-cache"], &["token", "--force-refresh"], &["refresh"]] {
        let person = person();
        person.world.emulator.fault(Fault::refuse(403).on(Endpoint::OauthToken).message("not yet, says the test"));
        fails_with(person.token(&[]).run(), 1, &["not yet, says the test"]);
        person.world.emulator.clear_faults();
        edit(&person, |state| shift(&mut state["renewal"], in_ms(10 * MINUTE)));
        person.world.sandbox.ycred(arguments).run().exits(0).stderr_is_empty();
        assert_eq!(person.tokens(), 3, "{arguments:?}");
    }
}

#[test]
fn a_refresh_token_that_was_sent_by_a_clock_that_was_ahead_is_sent_once_more() {
    let person = person();
    person.world.emulator.fault(Fault::refuse(500).on(Endpoint::OauthToken).times(1));
    fails_with(person.token(&["--no-cache"]).run(), 4, &["got no answer"]);
    assert!(person.state()["sent_at"].is_i64());
    edit(&person, |state| {
        state["sent_at"] = (state["sent_at"].as_i64().expect("a time") + in_ms(10 * MINUTE)).into();
        shift(&mut state["renewal"], in_ms(10 * MINUTE));
    });
    person.get();
    assert_eq!(person.tokens(), 3);
}

/// A person with a token from a renewal three hours in the future.
fn person_from_the_future() -> (Person, String) {
    let person = person();
    let first = person.get();
    edit(&person, |state| {
        shift(state, in_ms(3 * HOUR));
        let began = state["access"]["began"].as_i64().expect("a time");
        state["retry_at"] = (began + in_ms(5 * MINUTE)).into();
    });
    (person, first)
}

#[test]
fn a_token_renewed_by_a_clock_that_was_ahead_is_not_returned_for_longer_than_it_is_valid() {
    for arguments in [&[][..], &["--no-cache"], &["--force-refresh"]] {
        let (person, first) = person_from_the_future();
        let second = prints_token(person.token(arguments).run());
        assert_ne!(second, first, "{arguments:?}");
        assert_eq!(person.tokens(), 3, "{arguments:?}");
        assert_eq!(person.get(), second);
    }
}

#[test]
fn a_token_renewed_by_a_clock_that_was_ahead_is_returned_for_some_minutes_if_renewing_fails() {
    for arguments in [&[][..], &["--no-cache"]] {
        let (person, first) = person_from_the_future();
        person.world.emulator.fault(Fault::refuse(503).on(Endpoint::OauthToken));
        let run = person.token(&[&["--format", "json"], arguments].concat()).run();
        let run = run.exits(0).stderr_has("the login's last token is used, although its expiry is unknown, because");
        let reply: Value = serde_json::from_str(&run.stdout).expect("JSON");
        assert_eq!(reply["iam_token"], *first, "{run}");
        let expires = OffsetDateTime::parse(reply["expires_at"].as_str().expect("a time"), &Rfc3339).expect("a time");
        let began = person.state()["access"]["began"].as_i64().expect("a time");
        assert!(expires.unix_timestamp() < began / 1000, "long before the clock shows the time of the renewal again");
        person.world.emulator.clear_faults();
        assert_ne!(prints_token(person.token(&["--no-cache"]).run()), first);
    }
}

#[test]
fn a_renewal_that_a_call_has_waited_for_counts_whatever_its_clock_showed() {
    let person = person();
    // This test is the renewing process, on a machine whose clock is ahead.
    let held = HeldLock::of(&person.file(".lock"));
    let call = person.token(&["-v", "--no-cache", "--timeout", "60s"]).start();
    wait_until("the call has begun", || call.stderr().contains("ycred: "));
    // It has read the state by now, or it reads the new one first, and then it needs no renewal.
    thread::sleep(Duration::from_millis(500));
    let mut state = person.state();
    let now = state["access"]["began"].as_i64().expect("a time") + in_ms(13 * HOUR);
    let failure = serde_json::json!({
        "kind": 4, "message": "the test renews it", "hint": null, "is_answer": true, "way": "",
    });
    let ended = now + in_ms(10 * MINUTE);
    state["renewal"] = serde_json::json!({"attempt": "x", "began": ended, "ended": ended, "failure": failure});
    crate::world::replace(&person.file(".json"), &state.to_string());
    let run = call.finish();
    drop(held);
    assert!(run.exits(4).stderr.contains("the test renews it"));
    assert_eq!(person.tokens(), 1);
}

#[test]
fn a_login_that_is_interrupted_is_not_reported_with_the_reason_of_one_by_a_clock_that_was_ahead() {
    let person = Person::new();
    person.log_in();
    person.world.emulator.fault(Fault::refuse(400).on(Endpoint::OauthToken).message("an old reason").times(1));
    person.login(&[]).run().exits(1).stderr_has("an old reason");
    let path = person.file(".failed");
    let mut failed: Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    shift(&mut failed, in_ms(10 * MINUTE));
    fs::write(&path, failed.to_string()).expect("written");
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
    let first = person.login(&[]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 3, WAIT_LIMIT));
    let second = person.login(&[]).start();
    wait_until("the second login waits", || second.stderr().contains("another `ycred login`"));
    first.signal(libc::SIGKILL);
    first.finish();
    person.world.emulator.clear_faults();
    let run = second.finish().exits(1).stderr_has("it was interrupted");
    assert!(!run.stderr.contains("an old reason"), "{run}");
}

#[test]
fn a_call_waits_five_seconds_at_most_for_a_better_token_than_one_that_is_good_enough() {
    let person = Person::new();
    person.log_in();
    person.age(11 * HOUR);
    let token = person.state()["access"]["token"].as_str().expect("a token").to_owned();
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
    // The calls would wait for longer than the harness does.
    let arguments = ["--no-cache", "--timeout", "10m"];
    assert_eq!(prints_token(person.token(&arguments).run()), token, "after five seconds");
    assert_eq!(prints_token(person.token(&arguments).run()), token, "at once");
    assert_eq!(person.tokens(), 2);
    let expected = ["the login's last token is used", "has been renewing this login"];
    let long = person.token(&["--no-cache", "--timeout", "2s", "--min-ttl", "2h"]);
    assert_eq!(prints_token_with_warning(long.run(), &expected), token);
    person.world.emulator.clear_faults();
    wait_until("the renewal has ended", || person.state()["access"]["token"] != *token);
}
