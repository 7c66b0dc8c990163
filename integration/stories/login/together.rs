//! Several processes or users that share one login.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::emulator::auth::TOKEN;
use crate::emulator::faults::{Endpoint, Fault};
use crate::expect::{fails_with_hint, prints_token, prints_token_with_warning};
use crate::harness::machine::strace;
use crate::harness::run_all;
use crate::harness::waiting::{HOUR, HeldLock, WAIT_LIMIT, wait_until};
use crate::sources::person::Person;

#[test]
fn a_new_login_does_not_use_a_token_of_the_previous_one() {
    let person = Person::new();
    person.log_in();
    let first = person.get();
    // Not even if the old token expires later or its renewal is in progress.
    person.world.emulator.set(|settings| settings.life = HOUR);
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken).times(1));
    let renewal = person.token(&["--force-refresh"]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, WAIT_LIMIT));
    let login = person.login(&[]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 3, WAIT_LIMIT));
    person.world.emulator.clear_faults();
    prints_token(renewal.finish());
    login.finish().exits(0);
    let own = person.state()["access"]["token"].as_str().expect("a token").to_owned();
    assert_eq!(person.get(), own);
    assert_ne!(own, first);
}

#[test]
fn twenty_concurrent_renewals_send_a_one_time_refresh_token_once_and_all_succeed() {
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.one_time = true);
    person.log_in();
    let mut before = person.get();
    for (round, arguments) in [&[][..], &["--no-cache"]].into_iter().enumerate() {
        person.age(13 * HOUR);
        person.world.emulator.fault(Fault::slow(Duration::from_millis(500)).on(Endpoint::OauthToken));
        let tokens: Vec<String> =
            run_all((0..20).map(|_| person.token(arguments))).into_iter().map(prints_token).collect();
        person.world.emulator.clear_faults();
        assert!(tokens.iter().all(|token| *token == tokens[0]) && tokens[0] != before, "{arguments:?}");
        assert_eq!(person.tokens(), round + 2, "{arguments:?}");
        before.clone_from(&tokens[0]);
    }
    // A forced refresh needs a fetch that began after it, so there may be more than one request here.
    run_all((0..20).map(|_| person.token(&["--force-refresh"]))).into_iter().for_each(|run| _ = prints_token(run));
    run_all((0..20).map(|_| person.token(&["--force-refresh", "--no-cache"])))
        .into_iter()
        .for_each(|run| _ = prints_token(run));
    person.age(13 * HOUR);
    person.get();
    assert_eq!(person.world.emulator.logins(|logins| (logins.reused, logins.valid_refresh_tokens())), (0, 1));
}

#[test]
fn a_token_that_another_process_just_renewed_causes_no_same_token_warning() {
    let person = Person::new();
    person.log_in();
    let token = person.get();
    // The login is renewed after the process has begun, but the cache record is from a fetch that began before.
    let held = HeldLock::of(&person.world.lock_file());
    let refresh = person.token(&["-v", "--force-refresh", "--timeout", "60s"]).start();
    wait_until("the process has begun", || refresh.stderr().contains("ycred: "));
    let mut state = person.state();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    state["access"]["began"] = i64::try_from(now.as_millis()).expect("a time").into();
    fs::write(person.file(".json"), state.to_string()).expect("written");
    drop(held);
    let run = refresh.finish().exits(0);
    assert!(run.stdout.contains(&token) && !run.stderr.contains("same token"), "{run}");
    assert_eq!(person.tokens(), 1);
}

#[test]
fn without_a_working_lock_the_slower_renewal_uses_the_token_of_the_faster_one() {
    let Some(strace) = strace() else { return };
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.one_time = true);
    person.log_in();
    person.age(13 * HOUR);
    let lockless = |out: &str| {
        let trace = person.world.sandbox.path(out);
        let arguments = ["-f", "-qq", "-e", "trace=flock", "-e", "inject=flock:error=ENOLCK", "-o"];
        let call = person.world.sandbox.call(&strace, arguments);
        call.and([trace.as_os_str(), crate::harness::YCRED.as_ref(), "token".as_ref(), "--no-cache".as_ref()])
    };
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken).times(1));
    let slow = lockless("tmp/a").start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, WAIT_LIMIT));
    let first = prints_token(lockless("tmp/b").run());
    person.world.emulator.clear_faults();
    // The slow process is rejected because the other one was first. It then finds the token that the other one stored.
    assert_eq!(prints_token(slow.finish()), first);
    assert_eq!(person.world.emulator.logins(|logins| logins.reused), 1);
    person.age(13 * HOUR);
    person.get();
}

#[test]
fn two_concurrent_logins_open_one_browser() {
    let person = Person::new();
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
    let first = person.login(&[]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 1, WAIT_LIMIT));
    let second = person.login(&[]).start();
    wait_until("the second login waits", || second.stderr().contains("another `ycred login`"));
    person.world.emulator.clear_faults();
    first.finish().exits(0).stdout_has("logged in");
    second.finish().exits(0).stdout_has("logged in").stderr_has("succeeded");
    assert_eq!((person.asked(), person.tokens()), (1, 1));
    // If the first login fails, both report the same error.
    person.world.emulator.fault(Fault { hold: true, ..Fault::refuse(400) }.on(Endpoint::OauthToken).message("no more"));
    let first = person.login(&[]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, WAIT_LIMIT));
    let second = person.login(&[]).start();
    wait_until("the second login waits", || second.stderr().contains("another `ycred login`"));
    person.world.emulator.clear_faults();
    first.finish().exits(1).stderr_has("no more");
    second.finish().exits(1).stderr_has("the other `ycred login` for this profile failed").stderr_has("no more");
    assert_eq!((person.asked(), person.tokens()), (2, 2));
    person.get();
}

#[test]
fn a_hanging_renewal_is_waited_for_only_until_the_deadline() {
    let person = Person::new();
    person.log_in();
    let first = person.get();
    person.age(11 * HOUR);
    prints_token(person.token(&["--no-cache"]).run());
    person.age(11 * HOUR);
    let held = HeldLock::of(&person.file(".lock"));
    let arguments = ["--no-cache", "--timeout", "1s"];
    // While its token is valid, nobody waits.
    assert_ne!(prints_token(person.token(&arguments).run()), first);
    let longer = person.token(&arguments).and(["--min-ttl", "2h"]);
    let expected = ["the login's last token is used", "another ycred process is renewing this login"];
    assert_ne!(prints_token_with_warning(longer.run(), &expected), first);
    person.age(2 * HOUR);
    fails_with_hint(person.token(&arguments).run(), 4, &["another ycred process is renewing"], "--timeout");
    drop(held);
    prints_token(person.token(&arguments).run());
    assert_eq!(person.tokens(), 3);
}
