//! A process that is stopped while it stores a token keeps no other one from getting, storing or finding a token.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::emulator::faults::Fault;
use crate::expect::{prints_token, token_on_stdout};
use crate::harness::control::Timed;
use crate::harness::machine::require_tracer;
use crate::harness::strace::traced;
use crate::harness::waiting::{HOUR, wait_until};
use crate::harness::{Running, Sandbox};
use crate::world::{World, shift};

/// How often something is tried, if a busy machine may be the reason of its failure.
const TRIES: usize = 3;

/// Starts a call, and stops it for this time when it is about to replace a record.
fn stopped_before_replacing(world: &World, time: Duration) -> Running {
    let stop = format!("inject=rename,renameat,renameat2:delay_enter={}:when=1", time.as_micros());
    let strace = ["-f", "-qq", "-o", "/dev/null", "-e", &stop].map(str::to_owned);
    let running = traced(&world.sandbox, &strace, &["token"]).start();
    wait_until("the new record is written", || is_prepared(&world.sandbox));
    running
}

/// Starts a call that sweeps, and stops it for this time when it is about to remove a dead record.
fn stopped_before_removing(world: &World, time: Duration) -> Running {
    let stop = format!("inject=renameat:delay_enter={}:when=1", time.as_micros());
    let strace = ["-f", "-qq", "-o", "/dev/null", "-e", &stop].map(str::to_owned);
    traced(&world.sandbox, &strace, &["token", "-p", "second"]).start()
}

fn is_prepared(sandbox: &Sandbox) -> bool {
    let is_temporary = |path: &std::path::PathBuf| path.to_string_lossy().contains("/tmp-");
    let mut files = sandbox.files("cache/v1").into_iter().filter(is_temporary);
    files.any(|path| fs::read_to_string(path).is_ok_and(|content| content.ends_with('}')))
}

/// With a second, each caller has 300 ms for its request, which a busy machine may use up. So one of them is enough then.
///
/// # Errors
/// A caller was late, or had no token. A busy machine may be the reason.
fn try_beside_a_stopped_one(limit: Duration) -> Result<(), String> {
    let world = World::new();
    let _stopped = stopped_before_replacing(&world, Duration::from_secs(60));
    world.emulator.fault(Fault::slow(limit / 10));
    let timeout = format!("{}s", limit.as_secs());
    let calls = (0..4).map(|_| world.token(&["--timeout", &timeout]));
    let mut tokens = Vec::new();
    let is_short = limit < Duration::from_secs(2);
    for timed in Timed::start(&world.sandbox, calls, limit * 9 / 10).finish() {
        if is_short && !timed.run.status.success() {
            continue;
        }
        if timed.is_late() || !timed.run.status.success() {
            return Err(format!("{:?} after the control process\n{}", timed.lateness, timed.run));
        }
        tokens.push(token_on_stdout(&timed.run));
    }
    if is_short {
        return if tokens.is_empty() { Err("no caller has a token".to_owned()) } else { Ok(()) };
    }
    tokens.push(world.get());
    tokens.dedup();
    match (tokens.len(), world.requests()) {
        (1, 2) => Ok(()),
        (_, requests) => Err(format!("{requests} requests, {tokens:?}")),
    }
}

#[test]
fn beside_a_process_that_is_stopped_while_it_stores_a_token_callers_get_theirs_in_time() {
    if !require_tracer() {
        return;
    }
    for seconds in [1, 10] {
        let outcomes = (0..TRIES).map(|_| try_beside_a_stopped_one(Duration::from_secs(seconds)));
        let reasons: Vec<String> = outcomes.map_while(Result::err).collect();
        assert!(reasons.len() < TRIES, "with {seconds} s: {}", reasons.join("\n"));
    }
}

#[test]
fn a_process_that_is_stopped_while_it_stores_a_token_keeps_no_other_profile_from_storing_one() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    world.profile("second", "");
    let _stopped = stopped_before_replacing(&world, Duration::from_secs(60));
    let second = || prints_token(world.token(&["-p", "second"]).run());
    assert_eq!((second(), world.requests()), (second(), 2));
}

#[test]
fn a_process_that_stores_its_token_late_replaces_only_one_that_expires_earlier() {
    if !require_tracer() {
        return;
    }
    for is_later in [false, true] {
        let world = World::new();
        // The first request is that of the process that is stopped.
        world.emulator.fault(Fault { skip: u32::from(is_later), ..Fault::short_life(HOUR).times(1) });
        let slow = stopped_before_replacing(&world, Duration::from_secs(3));
        // Of another sharing group, so it does not wait for the first one. Loopback needs no proxy.
        let other = prints_token(world.token(&[]).env("HTTPS_PROXY", "http://one.example:1").run());
        let late = token_on_stdout(&slow.finish().exits(0));
        // If it has not stored its own token, it prints the one that expires later.
        assert_eq!(late != other, is_later);
        assert_eq!(world.get(), late, "{is_later}");
        assert_eq!(world.requests(), 2);
        assert!(!is_prepared(&world.sandbox), "no file is left");
    }
}

#[test]
fn a_sweep_that_is_stopped_removes_no_record_of_a_logout_if_a_process_that_ends_its_turn_is_killed() {
    if !require_tracer() {
        return;
    }
    for call in ["rename", "unlink", "rmdir"] {
        let world = World::new();
        world.profile("second", "");
        world.get();
        let record = world.records().remove(0);
        let mut content: serde_json::Value =
            serde_json::from_slice(&fs::read(&record).expect("a record")).expect("JSON");
        shift(&mut content, -14 * 3_600_000);
        fs::write(&record, content.to_string()).expect("written");
        let long_ago = SystemTime::now() - 14 * HOUR;
        fs::File::options().write(true).open(&record).expect("a record").set_modified(long_ago).expect("its time");
        fs::remove_file(world.sandbox.path("cache/v1/CACHEDIR.TAG")).expect("the time of the last sweep");
        let sweep = stopped_before_removing(&world, Duration::from_secs(10));
        let has_turn = || {
            let place = fs::File::open(world.sandbox.path("cache/v1/storing"));
            world.records().len() == 2 && place.is_ok_and(|place| fs2::FileExt::try_lock_exclusive(&place).is_err())
        };
        wait_until("the sweep has its turn", has_turn);
        let kill = format!("inject={call}:signal=KILL:when=1");
        let strace = ["-f", "-qq", "-o", "/dev/null", "-e", &kill].map(str::to_owned);
        // Does not wait for the sweep, which holds the locks of the record.
        const LOGOUT: [&str; 3] = ["logout", "--timeout", "1s"];
        traced(&world.sandbox, &strace, &LOGOUT).run();
        let logout = world.ycred(&LOGOUT).run().exits(0);
        assert!(sweep.stdout().is_empty(), "{call}: the machine is busy, and the sweep has gone on");
        prints_token(sweep.finish());
        let content = fs::read_to_string(&record).unwrap_or_else(|error| panic!("{call}: {error}\n{logout}"));
        assert!(content.contains("\"logged_out\":true"), "{call}: {content}");
    }
}
