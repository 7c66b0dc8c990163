//! Many processes at once (F01 to F08, F12, F14): one request, one token or one reason, and nobody hangs.

use std::fs;
use std::time::Duration;

use crate::emulator::faults::Fault;
use crate::expect::{handed, one_token, refused, warned};
use crate::harness::machine::strace;
use crate::harness::waiting::{HOUR, HeldLock, started};
use crate::harness::{Call, Run, run_all, tried};
use crate::server::Stage;
use crate::world::World;

/// Limits that only a hang reaches, also where a machine is busy with other tests.
const LONG: &str = "120s";
const LIMIT: Duration = Duration::from_secs(180);

fn crowd(world: &World, count: usize, words: &[&str]) -> Vec<Run> {
    run_all((0..count).map(|_| world.token(words).limit(LIMIT)))
}

#[track_caller]
fn all_the_same(runs: Vec<Run>) -> String {
    let tokens: Vec<String> = runs.into_iter().map(handed).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "different tokens");
    tokens[0].clone()
}

/// A reason as it was when it was fresh.
fn without_age(reason: &str) -> String {
    match reason.split_once(" (remembered, ") {
        Some((reason, _)) => reason.to_owned(),
        None => reason.to_owned(),
    }
}

#[test]
fn a_hundred_processes_with_a_cold_cache_make_one_request_and_print_the_same_token() {
    let world = World::new();
    world.configure(&format!("timeout = \"{LONG}\""));
    world.emulator.fault(Fault::slow(Duration::from_millis(500)));
    all_the_same(crowd(&world, 100, &[]));
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_hundred_processes_at_the_moment_of_expiry_make_one_request_while_the_cloud_is_slow() {
    let world = World::new();
    world.configure(&format!("timeout = \"{LONG}\""));
    let old = world.get();
    world.age(12 * HOUR);
    world.emulator.fault(Fault::held());
    let running: Vec<_> = (0..100).map(|_| world.token(&[]).limit(LIMIT).start()).collect();
    world.wait_for_requests(2);
    world.emulator.clear_faults();
    let new = all_the_same(running.into_iter().map(crate::harness::Running::finish).collect());
    assert_ne!(new, old);
    assert_eq!(world.requests(), 2);
}

#[test]
fn below_min_ttl_the_others_wait_for_the_one_that_fetches() {
    let world = World::new();
    world.configure(&format!("timeout = \"{LONG}\""));
    let old = world.get();
    world.age(12 * HOUR - Duration::from_secs(50));
    world.emulator.fault(Fault::slow(Duration::from_secs(1)));
    let new = all_the_same(crowd(&world, 30, &[]));
    assert_ne!(new, old);
    assert_eq!(world.requests(), 2);
}

#[test]
fn when_the_one_that_fetches_is_refused_all_hear_the_same_reason_of_one_request() {
    let world = World::new();
    world.configure(&format!("timeout = \"{LONG}\""));
    world.emulator.fault(Fault::refuse(403).message("the test says no").delayed(Duration::from_secs(1)));
    let reasons: Vec<String> = crowd(&world, 50, &[])
        .into_iter()
        .map(|run| without_age(&refused(run, 1, &["403", "the test says no"])))
        .collect();
    let id = world.emulator.log()[0].request_id.clone();
    assert!(reasons.iter().all(|reason| *reason == reasons[0] && reason.contains(&id)), "{reasons:?}");
    assert_eq!(world.requests(), 1);
}

#[test]
fn when_the_cloud_is_down_all_hear_the_same_reason_of_one_request_and_its_retries() {
    for fault in [
        Fault::refuse(500).message("the test says no").retry_after(0).delayed(Duration::from_millis(300)),
        Fault::broken(Stage::BeforeAnswer).delayed(Duration::from_millis(300)),
    ] {
        let world = World::new();
        world.configure(&format!("timeout = \"{LONG}\""));
        world.emulator.fault(fault);
        // All are there before the first try, so that none comes after the two seconds for which it is remembered.
        let lock = {
            world.token(&["--timeout", "1s", "--force-refresh"]).run().exits(4);
            world.edit(|record| record["failure"]["until"] = 0.into());
            world.emulator.clear_log();
            HeldLock::of(&world.lock_file())
        };
        let running: Vec<_> = (0..30).map(|_| started(world.token(&["-v"]).limit(LIMIT))).collect();
        drop(lock);
        let mut reasons = Vec::new();
        for run in running {
            let mut run = run.finish();
            run.stderr = run
                .stderr
                .lines()
                .filter(|line| !line.starts_with("ycred: debug: "))
                .fold(String::new(), |text, line| text + line + "\n");
            reasons.push(without_age(&refused(run, 4, &[])));
        }
        assert!(reasons.iter().all(|reason| *reason == reasons[0]), "{reasons:?}");
        assert_eq!(world.requests(), 4, "one request and three retries");
    }
}

#[test]
fn a_client_that_runs_us_again_at_once_costs_no_second_refused_request() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(401).message("deleted"));
    for _ in 0..4 {
        world.sandbox.ycred(["kubectl"]).run().exits(1).stderr_has("deleted").stdout_has("\"kind\":\"Status\"");
    }
    assert_eq!(world.requests(), 1);
}

// ---------------------------------------------------------------------------------------------------------- locks

#[test]
fn a_fresh_token_is_handed_out_while_the_lock_is_held_all_the_time() {
    let world = World::new();
    let token = world.get();
    let _held = HeldLock::of(&world.lock_file());
    assert_eq!(all_the_same(crowd(&world, 50, &[])), token);
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_leader_that_is_killed_blocks_nobody() {
    let world = World::new();
    world.configure(&format!("timeout = \"{LONG}\""));
    world.emulator.fault(Fault::held().times(1));
    let leader = world.token(&[]).start();
    world.wait_for_requests(1);
    let waiting: Vec<_> = (0..5).map(|_| started(world.token(&["-v"]).limit(LIMIT))).collect();
    leader.signal(libc::SIGKILL);
    let tokens: Vec<String> = waiting.into_iter().map(|run| one_token(&run.finish().exits(0))).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    assert_eq!(world.requests(), 2, "the dead one's and one more");
    assert_eq!(world.get(), tokens[0]);
}

#[test]
fn a_leader_that_is_killed_alone_leaves_no_lock_behind() {
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
fn a_leader_that_hangs_is_relieved_by_exactly_one_within_the_deadline() {
    let world = World::new();
    world.configure("timeout = \"10s\"");
    world.emulator.fault(Fault::held().times(1));
    let leader = world.token(&[]).start();
    world.wait_for_requests(1);
    leader.signal(libc::SIGSTOP);
    let runs = crowd(&world, 8, &[]);
    let token = all_the_same(runs);
    assert_eq!(world.requests(), 2, "the hanging one's and one more");
    assert_eq!(world.get(), token);
    // It wakes up to find that another has been there: it takes what that brought, and replaces nothing.
    leader.signal(libc::SIGCONT);
    world.emulator.clear_faults();
    let late = leader.finish().exits(0);
    assert!(world.emulator.tokens().contains(&one_token(&late)));
    assert_eq!(world.get(), token);
}

#[test]
fn a_relief_that_fails_leaves_the_others_to_the_leader() {
    let world = World::new();
    world.configure(&format!("timeout = \"{LONG}\""));
    world.emulator.fault(Fault::held());
    let patient: Vec<_> = (0..5).map(|_| world.token(&[]).limit(LIMIT).start()).collect();
    world.wait_for_requests(1);
    // It asks in the silent leader's place, and has no time to be answered.
    let hasty = world.token(&["--timeout", "1s"]).start();
    world.wait_for_requests(2);
    refused(hasty.finish(), 4, &["no answer within"]);
    world.emulator.clear_faults();
    let token = all_the_same(patient.into_iter().map(crate::harness::Running::finish).collect());
    let asked = world.requests();
    assert_eq!(world.get(), token, "what the leader got is kept");
    assert_eq!(world.requests(), asked);
}

#[test]
fn whoever_has_a_live_token_gets_it_also_when_leader_and_relief_both_fail() {
    let world = World::new();
    let token = world.get();
    world.age(12 * HOUR - Duration::from_secs(100));
    world.emulator.fault(Fault::refuse(503).message("the test says no"));
    let lock = HeldLock::of(&world.lock_file());
    let words = ["--min-ttl", "10m", "--timeout", "8s"];
    assert_eq!(warned(world.token(&words).run(), &["the cached token is used", "the test says no"]), token);
    // And when nobody can even ask.
    world.edit(|record| record["retry_at"] = serde_json::Value::Null);
    let relief = world.lock_file().to_string_lossy().replace(".lock", ".relief.lock");
    let _relief = HeldLock::of(relief.as_ref());
    assert_eq!(warned(world.token(&words).run(), &["the cached token is used", "has not finished"]), token);
    drop(lock);
}

#[test]
fn with_a_silent_leader_and_a_sick_cloud_the_waiters_make_the_requests_of_one() {
    let world = World::new();
    world.get();
    world.age(13 * HOUR);
    world.emulator.fault(Fault::refuse(503).message("the test says no"));
    let _lock = HeldLock::of(&world.lock_file());
    for run in crowd(&world, 20, &["--timeout", "12s"]) {
        refused(run, 4, &["the test says no"]);
    }
    assert!(world.requests() <= 1 + 4, "{} requests", world.requests());
}

#[test]
fn nobody_waits_beyond_the_deadline_for_a_lock() {
    let world = World::new();
    world.get();
    let relief = world.lock_file().to_string_lossy().replace(".lock", ".relief.lock");
    fs::write(&relief, "").expect("a lock file");
    world.age(13 * HOUR);
    let _held = (HeldLock::of(&world.lock_file()), HeldLock::of(relief.as_ref()));
    refused(world.token(&["--timeout", "2s"]).run(), 4, &["another ycred process", "has not finished"]);
    assert_eq!(world.requests(), 1);
}

#[test]
fn where_a_lock_is_impossible_tokens_are_had_without_it_and_the_cause_is_told() {
    let world = World::new();
    world.get();
    let lock = world.lock_file();
    fs::remove_file(&lock).expect("removed");
    fs::create_dir(&lock).expect("a directory in its place");
    world.age(13 * HOUR);
    let token = warned(world.token(&[]).run(), &["cannot be locked", "Is a directory"]);
    assert_eq!(world.requests(), 2);
    assert_eq!(world.get(), token, "the record is kept all the same");
    // In the soft window there is no renewal without a lock: every process would make one.
    world.age(11 * HOUR);
    for _ in 0..3 {
        assert_eq!(world.get(), token);
    }
    assert_eq!(world.requests(), 2);
}

/// `ycred token` with every flock failing so.
fn with_flock(world: &World, strace: &std::path::Path, error: &str) -> Call {
    let inject = format!("inject=flock:error={error}");
    let words = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", &inject, crate::harness::YCRED, "token"];
    world.sandbox.call(strace, words)
}

#[test]
fn a_file_system_that_cannot_lock_costs_one_warning_and_no_token() {
    let Some(strace) = strace() else { return };
    for (error, words) in [("ENOLCK", "No locks available"), ("EOPNOTSUPP", "not supported")] {
        let world = World::new();
        let token = warned(with_flock(&world, &strace, error).run(), &["cannot be locked", words]);
        assert_eq!(handed(with_flock(&world, &strace, error).run()), token, "a hit does not even try to lock");
        assert_eq!(world.requests(), 1);
    }
}

#[test]
fn an_interrupted_lock_is_tried_again() {
    let Some(strace) = strace() else { return };
    let world = World::new();
    let call = with_flock(&world, &strace, "EINTR:when=1..3");
    handed(call.run());
    assert_eq!(world.requests(), 1);
}

#[test]
fn different_profiles_do_not_wait_for_each_other() {
    let world = World::new();
    let other = world.profile("other", "");
    world.emulator.fault(Fault::held().times(1));
    let held = world.token(&[]).start();
    world.wait_for_requests(1);
    // The first is held back for as long as this one runs.
    let token = handed(world.token(&["-p", "other"]).run());
    assert_eq!(world.emulator.subject_of(&token), Some(other.service_account_id));
    world.emulator.clear_faults();
    handed(held.finish());
    assert_eq!(world.requests(), 2);
}

#[test]
fn two_users_of_one_base_impersonate_at_once_with_one_request_for_it() {
    let world = World::new();
    world.emulator.fault(Fault::slow(Duration::from_millis(300)));
    for name in ["one", "two", "three"] {
        let account = world.emulator.new_service_account();
        let settings = format!("{}impersonate = \"{account}\"\ntimeout = \"{LONG}\"\n", world.settings());
        world.sandbox.profile(name, &settings);
    }
    let calls = ["one", "two", "three"].into_iter().cycle().take(30);
    for run in run_all(calls.map(|name| world.token(&["-p", name]).limit(LIMIT))) {
        handed(run);
    }
    assert_eq!((world.requests(), world.emulator.calls()), (1, 4));
}

// ------------------------------------------------------------------------------------------------------- thousands

#[test]
fn a_thousand_processes_at_once_with_a_cold_cache_make_one_request() {
    let world = World::new();
    world.configure(&format!("timeout = \"{LONG}\""));
    world.emulator.fault(Fault::slow(Duration::from_secs(1)));
    let token = all_the_same(crowd(&world, 1000, &[]));
    assert_eq!(world.requests(), 1);
    // And a thousand hits none.
    assert_eq!(all_the_same(crowd(&world, 1000, &[])), token);
    assert_eq!(world.requests(), 1);
    let names: Vec<_> = world.sandbox.files("cache/v1");
    assert_eq!(names.len(), 3, "a record, a lock and the tag, and no litter: {names:?}");
    tried("process started together with a thousand others, empty cache", 1000);
    tried("process started together with a thousand others, valid cache", 1000);
}
