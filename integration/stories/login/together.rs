//! Several processes, and several people, with one login.

use std::fs;
use std::time::Duration;

use crate::emulator::auth::TOKEN;
use crate::emulator::faults::{Endpoint, Fault};
use crate::expect::{handed, refused_with_hint, warned};
use crate::harness::machine::strace;
use crate::harness::run_all;
use crate::harness::waiting::{HOUR, HeldLock, PATIENCE, wait_until};
use crate::sources::person::Person;

#[test]
fn whoever_logs_in_next_gets_no_token_of_the_one_before() {
    let person = Person::new();
    person.log_in();
    let first = person.get();
    // Even one that lives longer, and one whose renewal is under way.
    person.world.emulator.set(|settings| settings.life = HOUR);
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken).times(1));
    let renewal = person.token(&["--force-refresh"]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, PATIENCE));
    let login = person.login(&[]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 3, PATIENCE));
    person.world.emulator.clear_faults();
    handed(renewal.finish());
    login.finish().exits(0);
    let own = person.state()["access"]["token"].as_str().expect("a token").to_owned();
    assert_eq!(person.get(), own);
    assert_ne!(own, first);
}

#[test]
fn twenty_who_renew_at_once_send_a_one_time_refresh_token_once_and_lose_nobody() {
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.one_time = true);
    person.log_in();
    let mut before = person.get();
    for (round, words) in [&[][..], &["--no-cache"]].into_iter().enumerate() {
        person.age(13 * HOUR);
        person.world.emulator.fault(Fault::slow(Duration::from_millis(500)).on(Endpoint::OauthToken));
        let tokens: Vec<String> = run_all((0..20).map(|_| person.token(words))).into_iter().map(handed).collect();
        person.world.emulator.clear_faults();
        assert!(tokens.iter().all(|token| *token == tokens[0]) && tokens[0] != before, "{words:?}");
        assert_eq!(person.tokens(), round + 2, "{words:?}");
        before.clone_from(&tokens[0]);
    }
    // For one that is forced only a fetch counts that began after it did, so there may be more than one here.
    run_all((0..20).map(|_| person.token(&["--force-refresh"]))).into_iter().for_each(|run| _ = handed(run));
    run_all((0..20).map(|_| person.token(&["--force-refresh", "--no-cache"])))
        .into_iter()
        .for_each(|run| _ = handed(run));
    person.age(13 * HOUR);
    person.get();
    assert_eq!(person.world.emulator.logins(|logins| (logins.reused, logins.living())), (0, 1));
}

#[test]
fn what_another_process_has_renewed_since_is_not_called_the_same_token_again() {
    let person = Person::new();
    person.log_in();
    let token = person.get();
    // Asked for by whoever renews the login, after this process began; and in the cache by a fetch that began before it.
    let mut state = person.state();
    state["access"]["began"] = (state["access"]["began"].as_i64().expect("a moment") + 30_000).into();
    fs::write(person.file(".json"), state.to_string()).expect("written");
    assert_eq!(handed(person.token(&["--force-refresh"]).run()), token);
    assert_eq!(person.tokens(), 1);
}

#[test]
fn without_a_working_lock_the_refresh_token_of_whoever_was_first_is_taken() {
    let Some(strace) = strace() else { return };
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.one_time = true);
    person.log_in();
    person.age(13 * HOUR);
    let lockless = |out: &str| {
        let trace = person.world.sandbox.path(out);
        let words = ["-f", "-qq", "-e", "trace=flock", "-e", "inject=flock:error=ENOLCK", "-o"];
        let call = person.world.sandbox.call(&strace, words);
        call.and([trace.as_os_str(), crate::harness::YCRED.as_ref(), "token".as_ref(), "--no-cache".as_ref()])
    };
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken).times(1));
    let slow = lockless("tmp/a").start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, PATIENCE));
    let first = handed(lockless("tmp/b").run());
    person.world.emulator.clear_faults();
    // Refused, since the other one was first; then it finds what that has stored.
    assert_eq!(handed(slow.finish()), first);
    assert_eq!(person.world.emulator.logins(|logins| logins.reused), 1);
    person.age(13 * HOUR);
    person.get();
}

#[test]
fn two_who_log_in_at_once_open_one_browser() {
    let person = Person::new();
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
    let first = person.login(&[]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 1, PATIENCE));
    let second = person.login(&[]).start();
    wait_until("it waits", || second.stderr().contains("another `ycred login`"));
    person.world.emulator.clear_faults();
    first.finish().exits(0).stdout_has("logged in");
    second.finish().exits(0).stdout_has("logged in").stderr_has("succeeded");
    assert_eq!((person.asked(), person.tokens()), (1, 1));
    // And when it fails, both do, with one reason.
    person.world.emulator.fault(Fault { hold: true, ..Fault::refuse(400) }.on(Endpoint::OauthToken).message("no more"));
    let first = person.login(&[]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, PATIENCE));
    let second = person.login(&[]).start();
    wait_until("it waits", || second.stderr().contains("another `ycred login`"));
    person.world.emulator.clear_faults();
    first.finish().exits(1).stderr_has("no more");
    second.finish().exits(1).stderr_has("the other `ycred login` for this profile failed").stderr_has("no more");
    assert_eq!((person.asked(), person.tokens()), (2, 2));
    person.get();
}

#[test]
fn whoever_renews_for_ever_is_not_waited_for_for_ever() {
    let person = Person::new();
    person.log_in();
    let first = person.get();
    person.age(11 * HOUR);
    handed(person.token(&["--no-cache"]).run());
    person.age(11 * HOUR);
    let held = HeldLock::of(&person.file(".lock"));
    let words = ["--no-cache", "--timeout", "1s"];
    let told = ["the login's last token is used", "another ycred process has been renewing this login"];
    assert_ne!(warned(person.token(&words).run(), &told), first);
    person.age(2 * HOUR);
    refused_with_hint(person.token(&words).run(), 4, &["another ycred process has been renewing"], "--timeout");
    drop(held);
    handed(person.token(&words).run());
    assert_eq!(person.tokens(), 3);
}
