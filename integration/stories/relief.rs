//! A caller beside processes that have stopped with the locks of its token still gets it, in its own time.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::emulator::Config;
use crate::emulator::faults::Fault;
use crate::expect::{fails_with, prints_token};
use crate::harness::waiting::HeldLock;
use crate::harness::{Run, Running, require_client, run_all, skip};
use crate::world::World;

fn relief_lock(world: &World) -> PathBuf {
    world.lock_file().with_extension("relief.lock")
}

/// Starts a call whose request stays without an answer, and stops it.
fn stopped_call(world: &World, arguments: &[&str]) -> Running {
    let requests = world.requests();
    world.emulator.fault(Fault::held().times(1));
    let call = world.token(arguments).start();
    world.wait_for_requests(requests + 1);
    call.signal(libc::SIGSTOP);
    call
}

#[test]
fn beside_a_stopped_leader_and_a_stopped_relief_leader_callers_make_one_request_and_get_its_token() {
    let world = World::new();
    let _leader = stopped_call(&world, &[]);
    let relief = stopped_call(&world, &["--timeout", "2s"]);
    let holder = || fs::read_to_string(relief_lock(&world)).expect("the relief lock");
    assert!(holder().contains(&format!("\"pid\":{},", relief.id())), "{}", holder());
    let calls = (0..8).map(|_| world.token(&["--timeout", "10s"]).limit(Duration::from_secs(60)));
    let tokens: Vec<String> = run_all(calls).into_iter().map(prints_token).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    assert_eq!(world.requests(), 3, "that of the leader, of the relief leader, and one more");
    assert_eq!(world.get(), tokens[0], "it is stored for the others");
}

#[test]
fn beside_a_stopped_leader_equal_callers_make_one_request_to_a_slow_cloud() {
    let world = World::new();
    let _leader = stopped_call(&world, &[]);
    // They lose patience after 16 of the 20 seconds.
    world.emulator.fault(Fault::slow(Duration::from_secs(3)));
    let calls = (0..8).map(|_| world.token(&["--timeout", "20s"]).limit(Duration::from_secs(60)));
    let tokens: Vec<String> = run_all(calls).into_iter().map(prints_token).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_leader_in_another_container_is_named_as_such() {
    let Some(unshare) = require_client("unshare") else { return };
    let world = World::new();
    let works = |option: &str| world.sandbox.call(&unshare, [option, "--kill-child", "true"]).run().status.success();
    // Root needs no user namespace, and nobody else may go without one.
    let Some(option) = ["-fp", "-cfp"].into_iter().find(|option| works(option)) else {
        skip("this user cannot create a process namespace");
        return;
    };
    world.emulator.fault(Fault::held().times(1));
    let _leader = world.token(&[]).under(&unshare, &[option, "--kill-child"]).start();
    world.wait_for_requests(1);
    // Whether a process has its number here too does not matter.
    let line = fs::read_to_string(world.lock_file()).expect("the lock");
    let mut holder: serde_json::Value = serde_json::from_str(&line).expect("a holder");
    holder["pid"] = i32::MAX.into();
    fs::write(world.lock_file(), holder.to_string()).expect("written");
    let process = format!("process {} of another container has been asking for ", i32::MAX);
    world.ycred(&["status"]).run().stdout_has(&format!("{process}a token since"));
}

#[test]
fn with_a_time_limit_of_a_second_a_caller_beside_a_stopped_leader_gets_a_token() {
    let world = World::new();
    let _leader = stopped_call(&world, &[]);
    // On a busy machine, 300 ms may be over before the request is made.
    let runs: Vec<Run> = (0..5).map(|_| world.token(&["--timeout", "1s"]).run()).collect();
    let token = runs.into_iter().find(|run| run.status.success()).map(prints_token).expect("a token");
    assert_eq!(world.get(), token);
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_caller_waits_for_a_relief_leader_that_has_just_begun_and_names_the_leader() {
    let world = World::new();
    let leader = stopped_call(&world, &[]);
    // A relief leader names what it has in common with the caller.
    drop(stopped_call(&world, &["--timeout", "2s"]));
    let relief = relief_lock(&world);
    let line = fs::read(&relief).expect("the relief lock");
    let likeness = serde_json::from_slice::<serde_json::Value>(&line).expect("JSON")["likeness"].clone();
    assert!(likeness.is_u64(), "{}", String::from_utf8_lossy(&line));
    fs::write(&relief, "").expect("a lock file");
    let _held = HeldLock::of(&relief);
    // Each time the caller looks, another relief leader has begun in the meantime.
    let is_over = AtomicBool::new(false);
    let file = fs::File::options().write(true).open(&relief).expect("the relief lock");
    let pid = std::process::id();
    let run = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
                let line = json!({"pid": pid, "since": now as u64, "until": now as u64 + 60_000, "likeness": likeness});
                let line = line.to_string();
                // Of the same length each time, so the file has a whole line at any time.
                file.write_all_at(line.as_bytes(), 0).expect("written");
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let run = world.token(&["--timeout", "10s"]).run();
        is_over.store(true, Ordering::Relaxed);
        run
    });
    let process = format!("process {} has been asking for this token since 2", leader.id());
    fails_with(run, 4, &[&process, "has not finished"]);
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_killed_leader_is_named_to_nobody() {
    let world = World::new();
    let leader = stopped_call(&world, &[]);
    leader.signal(libc::SIGKILL);
    let killed = leader.id();
    drop(leader);
    let line = || fs::read_to_string(world.lock_file()).expect("the lock");
    assert!(line().contains(&killed.to_string()), "the killed process could not remove its line");
    assert!(!world.ycred(&["status"]).run().stdout.contains("has been asking"), "status names it");
    // A process that has the lock, and has not written itself into the file.
    let _held = HeldLock::of(&world.lock_file());
    assert!(!world.ycred(&["status"]).run().stdout.contains("has been asking"), "status names it");
}

#[test]
fn one_identity_has_three_files_whatever_path_its_callers_have() {
    let world = World::without_profile(Config::default());
    let token = world.issue_token();
    let program = world.sandbox.script("bin/give", &format!("#!/bin/sh\necho {token}.$$\n"));
    world.sandbox.profile("default", &format!("source = \"command\"\ncommand = {}\n", json!([program])));
    let mut tokens = Vec::new();
    for number in 0..20 {
        let path = format!("/shell/{number}:/usr/bin:/bin");
        tokens.push(prints_token(world.token(&["--force-refresh"]).env("PATH", path).run()));
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 20, "each call has run the program");
    let names = world.sandbox.files("cache/v1");
    assert_eq!(names.len(), 3, "expected a record, a lock and the tag only: {names:?}");
}
