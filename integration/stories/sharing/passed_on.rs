//! What one process has found out about itself, or taken from another, is not passed on as a failure of all.

use std::time::Duration;

use crate::emulator::faults::{Endpoint, Fault};
use crate::expect::{fails_with, prints_token};
use crate::harness::machine::require_tracer;
use crate::harness::strace::traced;
use crate::harness::waiting::{HOUR, MINUTE, wait_until};
use crate::harness::{require_client, skip};
use crate::sources::person::Person;
use crate::world::{World, shift};

#[test]
fn a_time_out_is_not_passed_on_with_the_time_limit_of_a_process_that_has_only_read_it() {
    let world = World::new();
    let account = world.emulator.new_service_account();
    world.sandbox.profile("other", &format!("{}impersonate = \"{account}\"\n", world.settings()));
    world.emulator.fault(Fault::held());
    fails_with(world.token(&["--timeout", "3s"]).run(), 4, &["no answer within"]);
    // It has not much more time than the first one, so it does not repeat the request.
    let second = world.token(&["-p", "other", "--timeout", "5s"]).run();
    assert!(second.stderr.contains("no answer within"), "{second}");
    world.emulator.clear_faults();
    // It has much more, so it does.
    let third = prints_token(world.token(&["-p", "other", "--timeout", "8s"]).run());
    assert_eq!(world.emulator.subject_of(&third), Some(account));
}

#[test]
fn a_limit_of_one_process_is_not_remembered_for_others() {
    if !require_tracer() {
        return;
    }
    for error in ["EAFNOSUPPORT", "EPERM", "EMFILE"] {
        let world = World::new();
        let strace = ["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject=socket:error={error}")].map(str::to_owned);
        traced(&world.sandbox, &strace, &["token"]).run().exits(4).stdout_is("");
        let old = world.get();
        // Nor does it keep others from renewing a token.
        world.age(11 * HOUR);
        assert_eq!(prints_token_or_old(&traced(&world.sandbox, &strace, &["token"]).run()), old, "{error}");
        assert_ne!(world.get(), old, "{error}");
        assert_eq!(world.requests(), 2, "{error}");
    }
}

/// The token of a call whose renewal has failed. There may be a warning.
fn prints_token_or_old(run: &crate::harness::Run) -> String {
    assert_eq!(run.status.code(), Some(0), "{run}");
    run.stdout.trim_end().to_owned()
}

#[test]
fn after_the_clock_was_set_back_a_forced_refresh_makes_a_request() {
    let world = World::new();
    let old = world.get();
    world.edit(|record| shift(record, 600_000));
    let new = prints_token(world.token(&["--force-refresh"]).run());
    assert_ne!(new, old);
    assert_eq!(world.requests(), 2);
}

#[test]
fn after_the_clock_was_set_back_a_login_whose_renewal_has_failed_is_renewed() {
    for arguments in [&[][..], &["--force-refresh"]] {
        let person = Person::new();
        person.log_in();
        person.age(13 * HOUR);
        person.world.emulator.fault(Fault::refuse(503).on(Endpoint::OauthToken));
        person.token(&["--no-cache"]).run().exits(4);
        person.world.emulator.clear_faults();
        let path = person.file(".json");
        let mut state = person.state();
        shift(&mut state["renewal"], 10 * MINUTE.as_millis() as i64);
        std::fs::write(&path, state.to_string()).expect("written");
        prints_token(person.token(arguments).run());
    }
}

#[test]
fn a_renewal_that_fails_without_a_network_does_not_reach_callers_that_have_one() {
    let Some(unshare) = require_client("unshare") else { return };
    if !require_tracer() {
        return;
    }
    let person = Person::new();
    let works = person.world.sandbox.call(&unshare, ["-n", "true"]).run().status.success();
    if !works {
        skip("this user cannot create a network namespace");
        return;
    }
    person.log_in();
    person.age(13 * HOUR);
    // The renewal process pauses when it stores that it sends the refresh token, so the other callers wait for it.
    let begun = person.world.sandbox.path("tmp/trace");
    let pause = ["-f", "-qq", "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=3000000:when=1"];
    let strace = [&pause[..], &["-o", begun.to_str().expect("UTF-8")]].concat();
    let strace: Vec<String> = strace.into_iter().map(str::to_owned).collect();
    let without = traced(&person.world.sandbox, &strace, &["token", "--timeout", "60s"]);
    let without = without.under(&unshare, &["-n"]).start();
    let lock = person.file(".lock");
    wait_until("the login is being renewed", || !crate::harness::waiting::is_free(&lock));
    let others: Vec<_> = (0..3).map(|_| person.token(&["--timeout", "60s"]).start()).collect();
    let tokens: Vec<String> = others.into_iter().map(|call| prints_token(call.finish())).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    // The one without a network fails, or finds their token.
    without.finish();
    assert_eq!(person.tokens(), 2, "the login, and one renewal");
}

#[test]
fn without_a_cache_callers_return_a_login_token_that_is_good_enough_beside_a_slow_renewal() {
    let person = Person::new();
    person.log_in();
    person.age(11 * HOUR);
    let old = person.state()["access"]["token"].as_str().expect("a token").to_owned();
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
    let call = || person.token(&["--no-cache", "--timeout", "60s"]).limit(Duration::from_secs(30));
    let first = call().start();
    assert!(person.world.emulator.wait_for_requests(crate::emulator::auth::TOKEN, 2, 30 * Duration::from_secs(1)));
    // While the host is silent, they return at once, and the one that has started the renewal after five seconds.
    for run in [call().run(), call().run(), first.finish()] {
        assert_eq!(prints_token(run), old);
    }
    person.world.emulator.clear_faults();
    wait_until("the renewal has ended", || crate::harness::waiting::is_free(&person.file(".lock")));
    assert_ne!(prints_token(call().run()), old);
    assert_eq!(person.tokens(), 2);
}

#[test]
fn a_renewal_that_is_killed_keeps_no_caller_from_a_longer_token() {
    let world = World::new();
    let old = world.get();
    world.age(11 * HOUR);
    world.emulator.fault(Fault::held());
    let renewal = world.token(&[]).start();
    world.wait_for_requests(2);
    renewal.signal(libc::SIGKILL);
    drop(renewal);
    world.emulator.clear_faults();
    // Good enough for a call without a requirement: the next renewal is later.
    assert_eq!((world.get(), world.requests()), (old.clone(), 2));
    assert_ne!(prints_token(world.token(&["--min-ttl", "2h"]).run()), old);
}
