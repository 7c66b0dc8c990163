//! An older and this ycred share one cache, in both directions. `login::upgrade` has the same for logins.

use std::path::Path;
use std::time::Duration;

use crate::emulator::faults::Fault;
use crate::expect::{fails_with, prints_token, prints_token_with_warning};
use crate::harness::previous::previous_ycred;
use crate::harness::waiting::{HOUR, started};
use crate::harness::{Call, YCRED};
use crate::world::World;

fn token_by(world: &World, program: &Path, flags: &[&str]) -> Call {
    world.sandbox.call(program, ["token"]).and(flags)
}

/// Runs a test with the older program first, and then with this one first.
fn both_ways(test: impl Fn([&Path; 2])) {
    let Some(older) = previous_ycred() else { return };
    test([&older, Path::new(YCRED)]);
    test([Path::new(YCRED), &older]);
}

#[test]
fn an_older_ycred_and_this_one_use_and_renew_each_others_token() {
    both_ways(|programs| {
        let world = World::new();
        let mut last = String::new();
        for turn in 0..4 {
            let token = prints_token(token_by(&world, programs[turn % 2], &[]).run());
            assert_ne!(token, last, "turn {turn}");
            // The other one finds it fresh, and then due for renewal.
            assert_eq!(prints_token(token_by(&world, programs[(turn + 1) % 2], &[]).run()), token, "turn {turn}");
            assert_eq!(world.requests(), turn + 1);
            last = token;
            world.age(if turn % 2 == 0 { 11 * HOUR } else { 13 * HOUR });
        }
        assert_eq!(world.records().len(), 1);
        world.age(13 * HOUR);
        world.sandbox.call(programs[0], ["logout"]).run().exits(0);
        let new = prints_token(token_by(&world, programs[1], &[]).run());
        assert_eq!(prints_token(token_by(&world, programs[0], &[]).run()), new);
    });
}

#[test]
fn an_older_ycred_and_this_one_wait_for_each_others_request() {
    both_ways(|programs| {
        let world = World::new();
        world.emulator.fault(Fault::held().times(1));
        let first = token_by(&world, programs[0], &["--timeout", "120s"]).start();
        world.wait_for_requests(1);
        let second = started(token_by(&world, programs[1], &["-v", "--timeout", "120s"]));
        let third = started(token_by(&world, programs[0], &["-v", "--timeout", "120s"]));
        world.emulator.clear_faults();
        let token = prints_token(first.finish());
        for waiter in [second, third] {
            assert_eq!(world.token_printed_by(&waiter.finish().exits(0)), token);
        }
        assert_eq!(world.requests(), 1);
    });
}

#[test]
fn a_failure_of_an_older_ycred_or_of_this_one_never_keeps_the_other_from_a_token() {
    both_ways(|programs| {
        let world = World::new();
        let old = prints_token(token_by(&world, programs[0], &[]).run());
        world.age(11 * HOUR);
        world.emulator.fault(Fault::refuse(500).message("the test says no").retry_after(0).times(4));
        prints_token_with_warning(token_by(&world, programs[0], &[]).run(), &["the cached token is used"]);
        assert_eq!(world.token_printed_by(&token_by(&world, programs[1], &[]).run().exits(0)), old);
        // The token has expired. Neither is bound for long by what the other one has stored.
        world.age(13 * HOUR);
        world.emulator.clear_faults();
        world.emulator.fault(Fault::slow(Duration::from_millis(1)));
        prints_token(token_by(&world, programs[1], &[]).run());

        let world = World::new();
        world.emulator.fault(Fault::refuse(403).message("the test says no").times(1));
        fails_with(token_by(&world, programs[0], &[]).run(), 1, &["the test says no"]);
        world.edit(|record| record["failure"]["until"] = 0.into());
        prints_token(token_by(&world, programs[1], &[]).run());
    });
}
