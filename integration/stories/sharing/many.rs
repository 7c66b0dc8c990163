//! A caller behind many others of its group that fail in ways in which it would not.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::HANG;
use crate::emulator::Config;
use crate::emulator::faults::Fault;
use crate::expect::{fails_with, prints_token};
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
