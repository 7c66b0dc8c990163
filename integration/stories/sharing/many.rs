//! A caller behind many others of its group that fail in ways in which it would not.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::HANG;
use crate::emulator::Config;
use crate::emulator::faults::Fault;
use crate::expect::{fails_with, prints_token, token_on_stdout};
use crate::harness::control::Timed;
use crate::harness::waiting::{started, wait_until};
use crate::harness::{Call, Running};
use crate::sources::workload::{SUBJECT, VARIABLE, Workload};
use crate::world::World;

const UNLUCKY: usize = 25;

/// Nobody loses patience with another process in the time that a test has.
const LONG: &str = "timeout = \"1h\"\n";
const LIMIT: Duration = Duration::from_secs(120);

/// Starts the callers that fail. All but the first one hang before that, and the others must not wait for them: they get
/// one token.
#[track_caller]
fn the_lucky_ones_get_one_token(
    unlucky: impl Fn(usize) -> Call,
    release_first: impl Fn(),
    count_hanging: impl Fn() -> usize,
    lucky: impl Fn() -> Call,
) {
    let start = |call: Call| started(call.and(["-v"]).limit(LIMIT));
    let first = start(unlucky(0));
    wait_until("the first attempt has begun", || count_hanging() == 1);
    let others: Vec<Running> = (1..UNLUCKY).map(|number| start(unlucky(number))).collect();
    release_first();
    first.finish().fails();
    wait_until("the others have begun", || count_hanging() == UNLUCKY);
    let lucky: Vec<Running> = (0..5).map(|_| lucky().limit(LIMIT).start()).collect();
    let tokens: Vec<String> = lucky.into_iter().map(|call| prints_token(call.finish())).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    drop(others);
}

#[test]
fn behind_many_callers_whose_path_makes_the_program_fail_a_caller_gets_its_token() {
    let world = World::without_profile(Config::default());
    let token = world.issue_token();
    world.sandbox.script("tools/print-token", &format!("#!/bin/sh\necho {token}.$$\n"));
    let program = world.sandbox.script("bin/give", &format!("#!/bin/sh\n{HANG}\nexec print-token\n"));
    world.sandbox.profile("default", &format!("source = \"command\"\ncommand = {}\n{LONG}", json!([program])));
    let with_path = |number: usize| world.token(&[]).env("PATH", format!("/shell/{number}:/usr/bin:/bin"));
    // The locks of those that fail are removed.
    for number in 100..105 {
        fails_with(with_path(number).run(), 1, &["print-token"]);
    }
    let names = world.sandbox.files("cache/v1");
    assert_eq!(names.len(), 3, "expected a record, a lock and the tag only: {names:?}");
    world.edit(|record| {
        record["failure"]["until"] = 0.into();
        record["other_failures"] = json!([]);
    });
    let hang = |number: usize| world.sandbox.path(format!("tmp/hang-{number}"));
    let tools = format!("{}:/usr/bin:/bin", world.sandbox.path("tools").display());
    the_lucky_ones_get_one_token(
        |number| with_path(number).env("HANG", world.sandbox.file(format!("tmp/hang-{number}"), "")),
        || fs::remove_file(hang(0)).expect("the first one hangs"),
        || (0..UNLUCKY).filter(|number| hang(*number).with_extension("begun").exists()).count(),
        || world.token(&[]).env("PATH", &tools),
    );
}

/// Beside a leader that does not finish, callers that hang come first and replace it. The others are not like them.
///
/// # Errors
/// A caller was late or had no token, or they have several. A busy machine may be the reason.
fn try_behind_hanging_ones() -> Result<(), String> {
    const LIMIT: Duration = Duration::from_secs(10);
    let world = World::without_profile(Config::default());
    let token = world.issue_token();
    world.sandbox.script("tools/print-token", &format!("#!/bin/sh\nsleep 1\necho {token}.$$\n"));
    let program = world.sandbox.script("bin/give", &format!("#!/bin/sh\n{HANG}\nexec print-token\n"));
    world.sandbox.profile("default", &format!("source = \"command\"\ncommand = {}\n", json!([program])));
    let hang = world.sandbox.file("tmp/hang", "");
    let hanging = |limit: &str| {
        let call = world.token(&["--timeout", limit]).env("PATH", "/shell/1:/usr/bin:/bin");
        started(call.and(["-v"]).env("HANG", &hang).limit(LIMIT * 10))
    };
    let leader = hanging("60s");
    wait_until("the leader has begun", || hang.with_extension("begun").exists());
    let others: Vec<Running> = (0..3).map(|_| hanging("10s")).collect();
    // They lose their patience first: equal callers differ by a tenth of a second in that.
    thread::sleep(Duration::from_millis(300));
    let tools = format!("{}:/usr/bin:/bin", world.sandbox.path("tools").display());
    let calls = (0..3).map(|_| world.token(&["--timeout", "10s"]).env("PATH", &tools));
    let mut tokens = Vec::new();
    for timed in Timed::start(&world.sandbox, calls, LIMIT).finish() {
        if timed.is_late() || !timed.run.status.success() {
            return Err(format!("{:?} after the control process\n{}", timed.lateness, timed.run));
        }
        tokens.push(token_on_stdout(&timed.run));
    }
    tokens.dedup();
    fs::remove_file(hang).expect("they hang");
    drop((leader, others));
    if tokens.len() == 1 { Ok(()) } else { Err(format!("{tokens:?}")) }
}

#[test]
fn beside_a_leader_and_a_relief_leader_that_hang_callers_that_are_not_like_them_get_one_token() {
    let reasons: Vec<String> = (0..3).map(|_| try_behind_hanging_ones()).map_while(Result::err).collect();
    assert!(reasons.len() < 3, "{}", reasons.join("\n"));
}

#[test]
fn behind_many_callers_whose_subject_token_has_expired_a_caller_gets_its_token() {
    let workload = Workload::new();
    workload.profile(&format!("{VARIABLE}\n{LONG}"));
    let world = &workload.world;
    world.emulator.fault(Fault::held());
    let expired = |number| workload.issuer.token_with(SUBJECT, &json!({"exp": 1_700_000_000 + number}));
    let valid = workload.issuer.token(SUBJECT);
    the_lucky_ones_get_one_token(
        |number| world.token(&[]).env("MY_ID_TOKEN", expired(number)),
        || {
            world.emulator.clear_faults();
            world.emulator.fault(Fault::held().times(u32::try_from(UNLUCKY - 1).expect("a few")));
        },
        || world.emulator.calls(),
        || world.token(&[]).env("MY_ID_TOKEN", &valid),
    );
}

#[test]
fn where_nothing_listens_a_process_that_comes_later_makes_one_attempt() {
    let world = World::new();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let settings = world.settings().replace(&world.emulator.url(), &format!("http://127.0.0.1:{unused}"));
    world.sandbox.profile("default", &settings);
    let attempts = || {
        let run = world.token(&["-v"]).run().exits(4).stderr_has("nothing listens there");
        world.edit(|record| record["failure"]["until"] = 0.into());
        run.stderr.matches("requesting a new token").count() + run.stderr.matches("; next one in ").count()
    };
    assert_eq!([attempts(), attempts(), attempts()], [4, 1, 1]);
    world.edit(|record| record["failure"]["at"] = 0.into());
    assert_eq!(attempts(), 4, "after some time");
    world.sandbox.profile("default", &world.settings());
    prints_token(world.token(&[]).run());
}
