//! Many processes at once (F01 to F08, F12, F14): they make one request, share its token or error, and never hang.

use std::fs;
use std::time::Duration;

use crate::emulator::faults::Fault;
use crate::expect::{fails_with, prints_token, prints_token_with_warning, token_on_stdout};
use crate::harness::machine::strace;
use crate::harness::waiting::{HOUR, HeldLock, started};
use crate::harness::{Call, Run, report_faults, run_all};
use crate::server::Stage;
use crate::world::World;

/// Limits that only a hang exceeds, even if other tests keep the machine busy.
const LONG: &str = "120s";
const LIMIT: Duration = Duration::from_secs(180);

fn run_many(world: &World, count: usize, arguments: &[&str]) -> Vec<Run> {
    run_all((0..count).map(|_| world.token(arguments).limit(LIMIT)))
}

#[track_caller]
fn same_token(runs: Vec<Run>) -> String {
    let tokens: Vec<String> = runs.into_iter().map(prints_token).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "different tokens");
    tokens[0].clone()
}

/// The error without its "remembered" suffix.
fn without_suffix(error: &str) -> String {
    match error.split_once(" (remembered, ") {
        Some((error, _)) => error.to_owned(),
        None => error.to_owned(),
    }
}

#[test]
fn a_hundred_processes_with_a_cold_cache_make_one_request_and_print_the_same_token() {
    let world = World::new();
    world.configure(&format!("timeout = \"{LONG}\""));
    world.emulator.fault(Fault::slow(Duration::from_millis(500)));
    same_token(run_many(&world, 100, &[]));
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_hundred_processes_at_expiry_make_one_request_to_a_slow_cloud() {
    let world = World::new();
    world.configure(&format!("timeout = \"{LONG}\""));
    let old = world.get();
    world.age(12 * HOUR);
    world.emulator.fault(Fault::held());
    let running: Vec<_> = (0..100).map(|_| world.token(&[]).limit(LIMIT).start()).collect();
    world.wait_for_requests(2);
    world.emulator.clear_faults();
    let new = same_token(running.into_iter().map(crate::harness::Running::finish).collect());
    assert_ne!(new, old);
    assert_eq!(world.requests(), 2);
}

#[test]
fn below_min_ttl_the_waiters_wait_for_the_leader() {
    let world = World::new();
    world.configure(&format!("timeout = \"{LONG}\""));
    let old = world.get();
    world.age(12 * HOUR - Duration::from_secs(50));
    world.emulator.fault(Fault::slow(Duration::from_secs(1)));
    let new = same_token(run_many(&world, 30, &[]));
    assert_ne!(new, old);
    assert_eq!(world.requests(), 2);
}

#[test]
fn if_the_leader_is_rejected_all_waiters_report_its_error() {
    let world = World::new();
    world.configure(&format!("timeout = \"{LONG}\""));
    world.emulator.fault(Fault::refuse(403).message("the test says no").delayed(Duration::from_secs(4)));
    let errors: Vec<String> = run_many(&world, 50, &[])
        .into_iter()
        .map(|run| without_suffix(&fails_with(run, 1, &["403", "the test says no"])))
        .collect();
    let id = world.emulator.log()[0].request_id.clone();
    assert!(errors.iter().all(|error| *error == errors[0] && error.contains(&id)), "{errors:?}");
    assert_eq!(world.requests(), 1);
}

#[test]
fn if_the_cloud_is_down_all_waiters_report_the_error_of_one_request_and_its_retries() {
    for fault in [
        Fault::refuse(500).message("the test says no").retry_after(0).delayed(Duration::from_millis(300)),
        Fault::broken(Stage::BeforeAnswer).delayed(Duration::from_millis(300)),
    ] {
        let world = World::new();
        world.configure(&format!("timeout = \"{LONG}\""));
        world.emulator.fault(fault);
        // A failure is remembered for two seconds, so all processes must wait for the lock before the first attempt.
        let lock = {
            world.token(&["--timeout", "1s", "--force-refresh"]).run().exits(4);
            world.edit(|record| record["failure"]["until"] = 0.into());
            world.emulator.clear_log();
            HeldLock::of(&world.lock_file())
        };
        let running: Vec<_> = (0..30).map(|_| started(world.token(&["-v"]).limit(LIMIT))).collect();
        drop(lock);
        let mut errors = Vec::new();
        for run in running {
            let mut run = run.finish();
            run.stderr = run
                .stderr
                .lines()
                .filter(|line| !line.starts_with("ycred: debug: "))
                .fold(String::new(), |text, line| text + line + "\n");
            errors.push(without_suffix(&fails_with(run, 4, &[])));
        }
        assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
        assert_eq!(world.requests(), 4, "one request and three retries");
    }
}

#[test]
fn a_client_that_calls_again_at_once_does_not_repeat_a_rejected_request() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(401).message("deleted"));
    for _ in 0..4 {
        world.sandbox.ycred(["kubectl"]).run().exits(1).stderr_has("deleted").stdout_has("\"kind\":\"Status\"");
    }
    assert_eq!(world.requests(), 1);
}

// --------------------------------------------------------------------------------------------------------------- locks

#[test]
fn a_fresh_token_is_returned_while_the_lock_is_held() {
    let world = World::new();
    let token = world.get();
    let _held = HeldLock::of(&world.lock_file());
    assert_eq!(same_token(run_many(&world, 50, &[])), token);
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_killed_leader_does_not_block_the_waiters() {
    let world = World::new();
    world.configure(&format!("timeout = \"{LONG}\""));
    world.emulator.fault(Fault::held().times(1));
    let leader = world.token(&[]).start();
    world.wait_for_requests(1);
    let waiting: Vec<_> = (0..5).map(|_| started(world.token(&["-v"]).limit(LIMIT))).collect();
    leader.signal(libc::SIGKILL);
    let tokens: Vec<String> = waiting.into_iter().map(|run| token_on_stdout(&run.finish().exits(0))).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    assert_eq!(world.requests(), 2, "the killed leader's request and one more");
    assert_eq!(world.get(), tokens[0]);
}

#[test]
fn a_killed_leader_without_waiters_leaves_no_lock_behind() {
    let world = World::new();
    world.emulator.fault(Fault::held().times(1));
    let leader = world.token(&[]).start();
    world.wait_for_requests(1);
    leader.signal(libc::SIGKILL);
    drop(leader);
    world.get();
    assert_eq!(world.requests(), 2);
}

#[test]
fn exactly_one_waiter_replaces_a_hanging_leader_within_the_deadline() {
    let world = World::new();
    world.configure("timeout = \"10s\"");
    world.emulator.fault(Fault::held().times(1));
    let leader = world.token(&[]).start();
    world.wait_for_requests(1);
    leader.signal(libc::SIGSTOP);
    let runs = run_many(&world, 8, &[]);
    let token = same_token(runs);
    assert_eq!(world.requests(), 2, "the hanging leader's request and one more");
    assert_eq!(world.get(), token);
    // The leader resumes after its relief has stored a token. It must not replace that record.
    leader.signal(libc::SIGCONT);
    world.emulator.clear_faults();
    let late = leader.finish().exits(0);
    assert!(world.emulator.tokens().contains(&token_on_stdout(&late)));
    assert_eq!(world.get(), token);
}

#[test]
fn if_the_relief_fails_the_others_wait_for_the_leader() {
    let world = World::new();
    world.configure(&format!("timeout = \"{LONG}\""));
    world.emulator.fault(Fault::held());
    let patient: Vec<_> = (0..5).map(|_| world.token(&[]).limit(LIMIT).start()).collect();
    world.wait_for_requests(1);
    // It requests a token in place of the silent leader, and runs out of time.
    let hasty = world.token(&["--timeout", "3s"]).start();
    world.wait_for_requests(2);
    fails_with(hasty.finish(), 4, &["no answer within"]);
    world.emulator.clear_faults();
    let token = same_token(patient.into_iter().map(crate::harness::Running::finish).collect());
    let requests = world.requests();
    assert_eq!(world.get(), token, "the leader's token is cached");
    assert_eq!(world.requests(), requests);
}

#[test]
fn a_valid_token_is_returned_even_if_leader_and_relief_both_fail() {
    let world = World::new();
    let token = world.get();
    world.age(12 * HOUR - Duration::from_secs(100));
    world.emulator.fault(Fault::refuse(503).message("the test says no"));
    let lock = HeldLock::of(&world.lock_file());
    let arguments = ["--min-ttl", "10m", "--timeout", "8s"];
    assert_eq!(
        prints_token_with_warning(world.token(&arguments).run(), &["the cached token is used", "the test says no"]),
        token
    );
    // And beside a relief leader that has stopped.
    world.edit(|record| {
        record["retry_at"] = serde_json::Value::Null;
        record["failure"] = serde_json::Value::Null;
    });
    let relief = world.lock_file().to_string_lossy().replace(".lock", ".relief.lock");
    let _relief = HeldLock::of(relief.as_ref());
    let requests = world.requests();
    assert_eq!(
        prints_token_with_warning(world.token(&arguments).run(), &["the cached token is used", "the test says no"]),
        token
    );
    assert_eq!(world.requests(), requests + 1);
    drop(lock);
}

#[test]
fn with_a_silent_leader_and_the_cloud_down_the_waiters_share_one_request_and_its_retries() {
    let world = World::new();
    world.get();
    world.age(13 * HOUR);
    world.emulator.fault(Fault::refuse(503).message("the test says no"));
    let _lock = HeldLock::of(&world.lock_file());
    for run in run_many(&world, 20, &["--timeout", "12s"]) {
        fails_with(run, 4, &["the test says no"]);
    }
    assert!(world.requests() <= 1 + 4, "{} requests", world.requests());
}

#[test]
fn a_process_whose_locks_are_all_held_makes_the_request_itself() {
    let world = World::new();
    world.get();
    let relief = world.lock_file().to_string_lossy().replace(".lock", ".relief.lock");
    fs::write(&relief, "").expect("a lock file");
    world.age(13 * HOUR);
    let _held = (HeldLock::of(&world.lock_file()), HeldLock::of(relief.as_ref()));
    // The holders have not written themselves into the files, so it waits for nine tenths of its time.
    prints_token(world.token(&["--timeout", "10s"]).run());
    assert_eq!(world.requests(), 2);
}

#[test]
fn without_a_lock_tokens_are_still_fetched_and_the_warning_has_the_cause() {
    let world = World::new();
    world.get();
    let lock = world.lock_file();
    fs::remove_file(&lock).expect("removed");
    fs::create_dir(&lock).expect("a directory in its place");
    world.age(13 * HOUR);
    let token = prints_token_with_warning(world.token(&[]).run(), &["cannot be locked", "Is a directory"]);
    assert_eq!(world.requests(), 2);
    assert_eq!(world.get(), token, "the record is still written");
    // Without a lock, no process renews in the soft window: otherwise each of them would.
    world.age(11 * HOUR);
    for _ in 0..3 {
        assert_eq!(world.get(), token);
    }
    assert_eq!(world.requests(), 2);
}

/// `ycred token`, with this error injected into flock.
fn with_flock(world: &World, strace: &std::path::Path, error: &str) -> Call {
    let inject = format!("inject=flock:error={error}");
    let arguments =
        ["-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", &inject, crate::harness::YCRED, "token"];
    world.sandbox.call(strace, arguments)
}

#[test]
fn a_file_system_without_locking_causes_one_warning_and_no_failure() {
    let Some(strace) = strace() else { return };
    // musl's text is `Not supported`, and glibc's is `Operation not supported`.
    for (error, expected) in [("ENOLCK", "No locks available"), ("EOPNOTSUPP", "ot supported")] {
        let world = World::new();
        let token =
            prints_token_with_warning(with_flock(&world, &strace, error).run(), &["cannot be locked", expected]);
        assert_eq!(prints_token(with_flock(&world, &strace, error).run()), token, "a hit takes no lock");
        assert_eq!(world.requests(), 1);
    }
}

#[test]
fn an_interrupted_lock_call_is_retried() {
    let Some(strace) = strace() else { return };
    let world = World::new();
    let call = with_flock(&world, &strace, "EINTR:when=1..3");
    prints_token(call.run());
    assert_eq!(world.requests(), 1);
}

#[test]
fn different_profiles_do_not_wait_for_each_other() {
    let world = World::new();
    let other = world.profile("other", "");
    world.emulator.fault(Fault::held().times(1));
    let held = world.token(&[]).start();
    world.wait_for_requests(1);
    // The first process cannot finish while this one runs.
    let token = prints_token(world.token(&["-p", "other"]).run());
    assert_eq!(world.emulator.subject_of(&token), Some(other.service_account_id));
    world.emulator.clear_faults();
    prints_token(held.finish());
    assert_eq!(world.requests(), 2);
}

#[test]
fn concurrent_impersonations_share_one_request_for_the_base_token() {
    let world = World::new();
    world.emulator.fault(Fault::slow(Duration::from_millis(300)));
    for name in ["one", "two", "three"] {
        let account = world.emulator.new_service_account();
        let settings = format!("{}impersonate = \"{account}\"\ntimeout = \"{LONG}\"\n", world.settings());
        world.sandbox.profile(name, &settings);
    }
    let calls = ["one", "two", "three"].into_iter().cycle().take(30);
    for run in run_all(calls.map(|name| world.token(&["-p", name]).limit(LIMIT))) {
        prints_token(run);
    }
    assert_eq!((world.requests(), world.emulator.calls()), (1, 4));
}

// ----------------------------------------------------------------------------------------------------------- thousands

#[test]
fn a_thousand_processes_at_once_with_a_cold_cache_make_one_request() {
    let world = World::new();
    world.configure(&format!("timeout = \"{LONG}\""));
    world.emulator.fault(Fault::slow(Duration::from_secs(1)));
    let token = same_token(run_many(&world, 1000, &[]));
    assert_eq!(world.requests(), 1);
    // A thousand hits make no request.
    assert_eq!(same_token(run_many(&world, 1000, &[])), token);
    assert_eq!(world.requests(), 1);
    let names: Vec<_> = world.sandbox.files("cache/v1");
    assert_eq!(names.len(), 3, "expected a record, a lock and the tag only: {names:?}");
    report_faults("process started together with a thousand others, empty cache", 1000);
    report_faults("process started together with a thousand others, valid cache", 1000);
}
