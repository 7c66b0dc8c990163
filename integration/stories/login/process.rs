//! The process that renews a login, and what its state says about it.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::authority::Authority;
use crate::emulator::auth::TOKEN;
use crate::emulator::faults::{Endpoint, Fault};
use crate::emulator::{Config, Tls};
use crate::expect::{fails_with, fails_with_hint, prints_token, prints_token_with_warning};
use crate::harness::machine::require_root;
use crate::harness::run_all;
use crate::harness::waiting::{HOUR, WAIT_LIMIT, is_free, wait_until};
use crate::server::Stage;
use crate::sources::person::Person;
use crate::stories::login::renewal::LOGIN_HINT;

/// A person with a login whose refresh token is valid once. Its token expires as long ago as `age` exceeds 12 hours.
fn person_after(age: Duration) -> Person {
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.one_time = true);
    person.log_in();
    person.age(age);
    person
}

/// Reads the process of a running renewal from its lock file.
pub fn renewal_process(lock: &Path) -> i32 {
    let holder = || serde_json::from_slice::<serde_json::Value>(&fs::read(lock).ok()?).ok()?["pid"].as_i64();
    // Another process may write itself into the file at any moment.
    let found = Cell::new(None);
    wait_until("the process has written its id", || {
        found.set(holder());
        found.get().is_some()
    });
    i32::try_from(found.get().expect("a process id")).expect("a process id")
}

pub fn send(signal: i32, process: i32) {
    // SAFETY: `kill` touches no memory, and the process holds the lock of this test's login.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0, "the process {process} exists");
}

/// Waits until no process renews the login, which a killed process does not announce.
fn wait_for_end(person: &Person) {
    let lock = person.file(".lock");
    wait_until("the renewal has ended", || is_free(&lock));
}

#[test]
fn a_renewal_process_is_detached_and_its_arguments_have_no_secret() {
    if !require_root(&["sh"]) {
        return;
    }
    let person = person_after(13 * HOUR);
    let (refresh, state) = (person.state()["refresh_token"].clone(), person.state());
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
    // Descriptors that a client might leave open, and signals that it might ignore or block.
    let shell =
        format!("exec 5</dev/zero 6</etc/passwd 7>/dev/full; exec '{}' token --timeout 2s", crate::harness::YCRED);
    let call = person.world.sandbox.call("sh", ["-c", &shell]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, WAIT_LIMIT));
    let process = renewal_process(&person.file(".lock"));
    let proc = PathBuf::from(format!("/proc/{process}"));
    let arguments = fs::read_to_string(proc.join("cmdline")).expect("the arguments");
    let arguments: Vec<&str> = arguments.trim_end_matches('\0').split('\0').collect();
    let profile = person.world.sandbox.path("config/default.toml").display().to_string();
    assert_eq!(arguments[..3], ["ycred", "renew-login", &profile]);
    assert_eq!(arguments.len(), 6, "{arguments:?}");
    for secret in [&refresh, &state["session"], &state["key"], &state["access"]["token"]] {
        let secret = secret.as_str().expect("a string");
        assert!(
            secret.len() > 20 && !arguments.iter().any(|argument| argument.contains(&secret[..8])),
            "{arguments:?}"
        );
    }
    assert_eq!(fs::read_link(proc.join("cwd")).expect("a directory"), Path::new("/"));
    let mut others = Vec::new();
    for entry in fs::read_dir(proc.join("fd")).expect("the descriptors").flatten() {
        let number: u32 = entry.file_name().to_string_lossy().parse().expect("a number");
        let target = fs::read_link(entry.path()).unwrap_or_default().display().to_string();
        match number {
            0..=2 => assert_eq!(target, "/dev/null", "{number}"),
            _ => others.push(target),
        }
    }
    let lock = person.file(".lock").display().to_string();
    assert!(others.iter().all(|target| *target == lock || target.starts_with("socket:")), "{others:?}");
    let status = fs::read_to_string(proc.join("status")).expect("the status");
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a mask");
        u64::from_str_radix(line.trim(), 16).expect("a mask")
    };
    for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGTERM] {
        assert_ne!(mask("SigIgn:") & (1 << (signal - 1)), 0, "signal {signal}");
    }
    // SAFETY: takes and returns plain integers.
    let session = unsafe { libc::getsid(process) };
    assert_eq!(session, process, "its own session");
    let stat = fs::read_to_string(proc.join("stat")).expect("the status");
    let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).expect("a parent");
    assert_ne!(parent, call.id().to_string(), "not a child of the caller, which may become another program");
    fails_with_hint(call.finish(), 4, &[&format!("process {process} has been renewing this login for ")], "--timeout");
    person.world.emulator.clear_faults();
    wait_for_end(&person);
    person.get();
    assert_eq!(person.tokens(), 2);
}

#[test]
fn a_stopped_renewal_process_is_named_and_nobody_sends_the_token_again() {
    let person = person_after(13 * HOUR);
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
    let first = person.token(&["--timeout", "1s"]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, WAIT_LIMIT));
    let process = renewal_process(&person.file(".lock"));
    send(libc::SIGSTOP, process);
    person.world.emulator.clear_faults();
    let named = format!("process {process} has been renewing this login for ");
    for run in
        [first.finish()].into_iter().chain(run_all((0..3).map(|_| person.token(&["--timeout", "1s", "--no-cache"]))))
    {
        fails_with_hint(run, 4, &[&named], "--timeout");
    }
    assert_eq!(person.tokens(), 2);
    send(libc::SIGCONT, process);
    person.get();
    assert_eq!(person.tokens(), 2);
}

#[test]
fn a_hundred_calls_that_no_token_can_satisfy_renew_a_login_once() {
    let person = person_after(HOUR);
    let arguments = ["--no-cache", "--min-ttl", "20h"];
    let runs = run_all((0..100).map(|_| person.token(&arguments)));
    for run in runs {
        prints_token_with_warning(run, &["sooner than the requested 20h"]);
    }
    assert_eq!(person.tokens(), 2);
    // Nobody asks again until `retry_at`, and then one process does.
    prints_token_with_warning(person.token(&arguments).run(), &["sooner than the requested 20h"]);
    assert_eq!(person.tokens(), 2);
    person.age(6 * Duration::from_secs(60));
    prints_token_with_warning(person.token(&arguments).run(), &["sooner than the requested 20h"]);
    assert_eq!((person.tokens(), person.world.emulator.logins(|logins| logins.reused)), (3, 0));
}

#[test]
fn forty_calls_without_a_cache_share_a_failed_renewal() {
    // After 503, each process tries again.
    for (fault, most) in [(Fault::refuse(403), 2), (Fault::refuse(429).retry_after(60), 2), (Fault::refuse(503), 8)] {
        let person = person_after(13 * HOUR);
        // All have begun by then.
        let slow = Fault { delay: Some(Duration::from_secs(1)), ..fault.clone() };
        person.world.emulator.fault(slow.on(Endpoint::OauthToken));
        for run in run_all((0..40).map(|_| person.token(&["--no-cache", "--timeout", "30s"]))) {
            assert!(!run.status.success(), "{run}");
        }
        // A renewal process that had waited for the lock would go on now.
        for _ in 0..3 {
            wait_for_end(&person);
            thread::sleep(Duration::from_millis(300));
        }
        let renewals = person.tokens() - 1;
        assert!((1..=most).contains(&renewals), "{renewals} after {fault:?}");
    }
}

#[test]
fn a_slow_renewal_in_the_soft_window_is_finished_after_its_caller() {
    let person = person_after(11 * HOUR);
    let first = person.state()["access"]["token"].as_str().expect("a token").to_owned();
    person.world.emulator.fault(Fault::late(Duration::from_secs(6)).on(Endpoint::OauthToken));
    // The cache renews in the soft window for five seconds at most.
    person
        .world
        .sandbox
        .ycred(["token", "--no-cache", "--timeout", "1s"])
        .run()
        .exits(0)
        .stdout_is(&format!("{first}\n"));
    wait_for_end(&person);
    assert_ne!(person.get(), first);
    assert_eq!((person.tokens(), person.world.emulator.logins(|logins| logins.reused)), (2, 0));
    // With the cache, the call returns the cached token, and the token of the renewal is used later.
    person.age(11 * HOUR);
    let second = person.token(&[]).run().exits(0).stdout.trim().to_owned();
    wait_for_end(&person);
    assert_ne!(prints_token(person.token(&["--no-cache"]).run()), second);
    assert_eq!((person.tokens(), person.world.emulator.logins(|logins| logins.reused)), (3, 0));
}

#[test]
fn while_the_token_is_usable_a_refresh_token_without_an_answer_is_not_sent_again() {
    let person = person_after(11 * HOUR);
    let first = person.state()["access"]["token"].as_str().expect("a token").to_owned();
    person.world.emulator.fault(Fault::broken(Stage::BeforeAnswer).on(Endpoint::OauthToken).times(1));
    let expected = ["the login's last token is used", "the renewal of the login (", "Z) got no answer"];
    for _ in 0..3 {
        assert_eq!(prints_token_with_warning(person.token(&["--no-cache"]).run(), &expected), first);
    }
    let error = ["the renewal of the login (", "Z) got no answer", "the connection was closed"];
    fails_with_hint(person.token(&["--force-refresh"]).run(), 4, &error, LOGIN_HINT);
    fails_with_hint(person.token(&["--force-refresh", "--no-cache"]).run(), 4, &error, "the current token");
    assert_eq!(person.tokens(), 2);
    assert!(person.state()["sent_at"].is_i64(), "{}", person.state());
    // After the token has expired, it is sent once more.
    person.age(2 * HOUR);
    let over = ["the login is over: the answer to the last renewal (", "Z) was lost"];
    for _ in 0..3 {
        fails_with_hint(person.token(&["--no-cache"]).run(), 1, &over, LOGIN_HINT);
    }
    assert_eq!((person.tokens(), person.world.emulator.logins(|logins| logins.reused)), (3, 1));
    assert!(person.state()["over"]["lost"].is_i64() && person.state()["sent_at"].is_null(), "{}", person.state());
    person.log_in();
    person.get();
}

#[test]
fn a_refresh_token_in_doubt_is_sent_once_more_and_never_again() {
    let person = person_after(13 * HOUR);
    person.world.emulator.fault(Fault::broken(Stage::BeforeAnswer).on(Endpoint::OauthToken).times(2));
    let call = || {
        person.age(Duration::from_secs(10));
        person.token(&["--no-cache"]).run()
    };
    fails_with_hint(call(), 4, &["the renewal of the login (", "Z) got no answer"], "try again");
    for _ in 0..4 {
        fails_with_hint(call(), 4, &["the repeated renewal of the login (", "Z) got no answer"], LOGIN_HINT);
    }
    assert_eq!(person.tokens(), 3);
    person.log_in();
    person.get();
}

#[test]
fn a_refresh_token_in_doubt_that_a_busy_host_has_not_read_is_sent_again() {
    let person = person_after(13 * HOUR);
    person.world.emulator.fault(Fault::broken(Stage::BeforeAnswer).on(Endpoint::OauthToken).times(1));
    let call = || {
        person.age(Duration::from_secs(60));
        person.token(&["--no-cache"]).run()
    };
    fails_with(call(), 4, &["the renewal of the login (", "Z) got no answer"]);
    person.world.emulator.fault(Fault::refuse(503).retry_after(50).on(Endpoint::OauthToken).times(2));
    for _ in 0..2 {
        call().exits(4);
    }
    assert_eq!(person.tokens(), 4);
    fails_with(call(), 1, &["the login is over: the answer to the last renewal (", "Z) was lost"]);
    assert_eq!(person.tokens(), 5);
}

#[test]
fn a_killed_renewal_process_leaves_a_token_that_is_sent_once_more() {
    let person = person_after(13 * HOUR);
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken).times(1));
    let call = person.token(&[]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, WAIT_LIMIT));
    send(libc::SIGKILL, renewal_process(&person.file(".lock")));
    // The same run does not send it again.
    fails_with(call.finish(), 4, &["the renewal of the login (", "Z) got no answer"]);
    assert_eq!(person.tokens(), 2);
    // The host has not looked at the token.
    person.age(Duration::from_secs(10));
    person.get();
    assert_eq!(person.tokens(), 3);
}

#[test]
fn a_long_retry_after_ends_the_renewal_process_at_once() {
    let person = person_after(13 * HOUR);
    person.world.emulator.fault(Fault::refuse(503).retry_after(37).on(Endpoint::OauthToken).times(1));
    fails_with(person.token(&["--no-cache"]).run(), 4, &["/oauth/token: ", "503"]);
    wait_for_end(&person);
    assert!(person.state()["sent_at"].is_null(), "{}", person.state());
    person.age(Duration::from_secs(10));
    person.get();
    assert_eq!((person.tokens(), person.world.emulator.logins(|logins| logins.reused)), (3, 0));
}

#[test]
fn while_a_renewal_process_waits_for_a_busy_host_nothing_is_in_doubt() {
    let person = person_after(13 * HOUR);
    person.world.emulator.fault(Fault::refuse(503).retry_after(4).on(Endpoint::OauthToken).times(1));
    let call = person.token(&["--no-cache"]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, WAIT_LIMIT));
    wait_until("the failure has settled it", || person.state()["sent_at"].is_null());
    assert_eq!(person.tokens(), 2, "the process is still waiting");
    prints_token(call.finish());
    assert_eq!((person.tokens(), person.world.emulator.logins(|logins| logins.reused)), (3, 0));
}

#[test]
fn a_renewal_process_finds_certificates_by_a_relative_path() {
    let mut person = Person::with(Config::with_tls(Tls::Good), "");
    let ca = person.world.sandbox.file("tmp/ca.pem", person.world.emulator.ca_pem());
    person.world.sandbox.file("tmp/other.pem", Authority::new().pem());
    person.world.sandbox.set("SSL_CERT_FILE", &ca);
    person.log_in();
    person.age(13 * HOUR);
    let directory = person.world.sandbox.path("tmp");
    let call = |file: &str| person.token(&["--no-cache"]).within(&directory).env("SSL_CERT_FILE", file);
    let run = call("other.pem").and(["-v"]).run().exits(3).stderr_has("signed by an authority");
    assert_eq!(
        run.stderr.matches("started a process that renews").count(),
        1,
        "its failure is that of the call\n{run}"
    );
    prints_token(call("ca.pem").run());
    assert_eq!(person.tokens(), 2);
}

#[test]
fn nothing_is_in_doubt_if_the_request_was_not_written() {
    if !require_root(&["unshare"]) {
        return;
    }
    let person = person_after(13 * HOUR);
    // In a new network namespace, loopback is down.
    let arguments = ["-n", crate::harness::YCRED, "token", "--no-cache", "--timeout", "5s"];
    let run = person.world.sandbox.call("unshare", arguments).run();
    fails_with_hint(run, 4, &["/oauth/token: ", "no route to the host"], "check the network");
    assert!(person.state()["sent_at"].is_null(), "{}", person.state());
    // The failure is not that of a process with another network, and is not remembered with the login.
    person.get();
    assert_eq!(person.tokens(), 2);
}

#[test]
fn if_no_process_can_be_started_the_caller_renews_and_signals_wait() {
    let Some(strace) = crate::harness::machine::strace() else { return };
    let person = person_after(13 * HOUR);
    person.world.emulator.fault(Fault::late(Duration::from_secs(3)).on(Endpoint::OauthToken));
    let trace = person.world.sandbox.path("tmp/trace");
    let head = ["-f", "-qq", "-e", "trace=setsid", "-e", "inject=setsid:error=EAGAIN", "-o"];
    let call = person.world.sandbox.call(&strace, head);
    let arguments = ["token", "--no-cache", "--timeout", "1s"].map(std::ffi::OsStr::new);
    let call = call.and([trace.as_os_str(), crate::harness::YCRED.as_ref()]).and(arguments).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, WAIT_LIMIT));
    let process = renewal_process(&person.file(".lock"));
    send(libc::SIGTERM, process);
    let run = call.finish();
    assert!(!run.status.success(), "the signal takes effect after the renewal\n{run}");
    assert!(run.took > Duration::from_secs(3), "{run}");
    prints_token(person.token(&["--no-cache"]).run());
    assert_eq!((person.tokens(), person.world.emulator.logins(|logins| logins.reused)), (2, 0));
}

#[test]
fn a_disk_that_is_slow_just_before_the_request_keeps_the_refresh_token_from_being_sent() {
    let Some(strace) = crate::harness::machine::strace() else { return };
    let person = person_after(13 * HOUR);
    let call = |fault: &str| {
        // The caller renews the login itself. It reserves room twice, and then marks the refresh token as sent.
        let head = ["-f", "-qq", "-e", "trace=setsid,fsync", "-e", "inject=setsid:error=EAGAIN", "-e", fault, "-o"];
        let call = person.world.sandbox.call(&strace, head).and(["/dev/null", crate::harness::YCRED]);
        call.and(["token", "--no-cache"]).run()
    };
    fails_with_hint(call("inject=fsync:delay_exit=5500000:when=3"), 4, &["the login is not renewed", "took 5"], "disk");
    assert_eq!((person.tokens(), person.state().get("sent_at")), (1, None));
    prints_token(call("inject=fsync:delay_exit=1:when=3"));
}
