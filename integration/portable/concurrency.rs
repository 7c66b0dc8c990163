//! Many processes at once, and processes that are killed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::harness::{Machine, Running};

const PROCESSES: usize = 20;
const KILLS: usize = 100;

#[test]
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
fn twenty_processes_make_one_request() {
    let machine = Machine::new();
    let running: Vec<Running> = (0..PROCESSES).map(|_| machine.ycred(&["token", "--timeout", "60s"]).start()).collect();
    let runs: Vec<_> = running.into_iter().map(Running::finish).collect();
    let tokens: Vec<String> = runs.iter().map(|run| machine.assert_token(run.is_silent())).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    assert_eq!(machine.requests(), 1);
}

#[test]
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
fn killed_processes_leave_a_usable_cache() {
    let seed = std::env::var("YCRED_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    println!("seed {seed}: repeat with YCRED_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let machine = Machine::new();
    let began = std::time::Instant::now();
    machine.assert_token(&machine.ycred(&["token"]).run());
    // Within the time that a whole run takes, so that every phase is hit.
    let longest = began.elapsed().max(Duration::from_millis(100));
    for kill in 0..KILLS / 4 {
        let mut running: Vec<Running> = (0..4).map(|_| machine.ycred(&["token", "--force-refresh"]).start()).collect();
        for process in &mut running {
            std::thread::sleep(longest.mul_f64(random.gen_range(0.0..0.5)));
            process.kill();
        }
        drop(running);
        if kill % 5 == 4 {
            let run = machine.ycred(&["token"]).run();
            machine.assert_token(run.is_silent());
        }
    }
    let run = machine.ycred(&["token", "--force-refresh"]).run();
    let token = machine.assert_token(run.is_silent());
    let requests = machine.requests();
    let run = machine.ycred(&["token"]).run();
    assert_eq!(machine.assert_token(run.is_silent()), token, "the last token is cached");
    assert_eq!(machine.requests(), requests);
}
