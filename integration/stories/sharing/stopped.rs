//! Two callers, the first of which is stopped while it holds the lock. The second gets its token in time.

use std::fs;
use std::net::TcpListener;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::{Pair, certificates, command_env, path, proxy, subject_token};
use crate::emulator::faults::Fault;
use crate::expect::prints_token;
use crate::harness::Running;
use crate::harness::control::Timed;
use crate::harness::waiting::{HOUR, wait_until};
use crate::world::World;

/// Where the first caller hangs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Cloud,
    Proxy,
    Program,
}

/// The time limit of the second caller. The cloud answers within a tenth of it.
const LIMIT: Duration = Duration::from_secs(10);

/// One of them has three seconds, and so it must be stopped soon.
fn deadline() -> Pair {
    Pair::new(World::new(), |call| call.and(["--timeout", "3s"]), "", |call| call)
}

/// A difference, an example, and where its unlucky and its lucky caller hang.
type Case = (&'static str, fn() -> Pair, Option<Place>, Place);

/// An untrusted certificate leaves no time to hang.
#[rustfmt::skip]
const ROWS: [Case; 6] = [
    ("deadline", deadline, Some(Place::Cloud), Place::Cloud),
    ("PATH", path, Some(Place::Program), Place::Program),
    ("command-env", command_env, Some(Place::Program), Place::Program),
    ("proxy", proxy, Some(Place::Proxy), Place::Cloud),
    ("certificates", certificates, None, Place::Cloud),
    ("subject token", subject_token, Some(Place::Cloud), Place::Cloud),
];

/// How often a row is tried, if a busy machine may be the reason of its failure.
const TRIES: usize = 3;

/// Starts a caller, stops it once it hangs with the lock in its hands, and returns it.
fn stopped(pair: &Pair, is_lucky: bool, place: Place) -> Running {
    let sandbox = &pair.world.sandbox;
    let call = if is_lucky { pair.lucky() } else { pair.unlucky() };
    let running = match place {
        Place::Cloud => {
            let before = pair.world.emulator.calls();
            pair.world.emulator.clear_faults();
            pair.world.emulator.fault(Fault::held().times(1));
            let running = call.start();
            wait_until("the request has arrived", || pair.world.emulator.calls() > before);
            running
        }
        Place::Proxy => {
            let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
            let url = format!("http://{}", silent.local_addr().expect("an address"));
            let running = call.env("HTTPS_PROXY", url).start();
            // It waits for an answer that nobody sends. The connection breaks after it is stopped.
            let connection = silent.accept();
            running.signal(libc::SIGSTOP);
            drop(connection);
            running
        }
        Place::Program => {
            let file = sandbox.file("tmp/hang", "");
            let running = call.env("HANG", &file).start();
            wait_until("the program has started", || sandbox.path("tmp/hang.begun").exists());
            running
        }
    };
    running.signal(libc::SIGSTOP);
    running
}

/// # Errors
/// The second caller was late, or had no token. A busy machine may be the reason.
fn try_it(new: fn() -> Pair, is_lucky: bool, place: Place, is_renewing: bool) -> Result<(), String> {
    let pair = new();
    let profile = pair.world.sandbox.path("config/default.toml");
    let settings = fs::read_to_string(&profile).expect("a profile");
    fs::write(&profile, format!("{settings}timeout = \"{}s\"\n", LIMIT.as_secs())).expect("written");
    if is_renewing {
        prints_token(pair.lucky().run());
        pair.world.edit(|record| {
            record["token"]["expires"] = (record["token"]["issued"].as_i64().unwrap_or(0) + 43_200_000).into();
        });
        pair.world.age(11 * HOUR);
    }
    let first = stopped(&pair, is_lucky, place);
    pair.world.emulator.fault(Fault::slow(LIMIT / 10));
    let timed = Timed::start(&pair.world.sandbox, [pair.lucky()], LIMIT * 9 / 10).finish().remove(0);
    // Lets its program end.
    let _ = fs::remove_file(pair.world.sandbox.path("tmp/hang"));
    drop(first);
    if timed.is_late() || !timed.run.status.success() {
        return Err(format!("{:?} after the control process\n{}", timed.lateness, timed.run));
    }
    Ok(())
}

#[test]
fn beside_a_first_caller_that_is_stopped_with_the_lock_the_second_one_gets_its_token_in_time() {
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (name, new, unlucky, lucky) in ROWS {
            for (is_lucky, place) in [(false, unlucky), (true, Some(lucky))] {
                let Some(place) = place else { continue };
                let failures = &failures;
                scope.spawn(move || {
                    for is_renewing in [false, true] {
                        let outcomes = (0..TRIES).map(|_| try_it(new, is_lucky, place, is_renewing));
                        let reasons: Vec<String> = outcomes.map_while(Result::err).collect();
                        if reasons.len() == TRIES {
                            let first = if is_lucky { "an equal" } else { "another" };
                            let state = if is_renewing { "renewing" } else { "cold" };
                            let failure = format!("{name}, {state}, beside {first} first caller: {}", reasons[0]);
                            failures.lock().expect("no panic").push(failure);
                        }
                    }
                });
            }
        }
    });
    let failures = failures.into_inner().expect("no panic");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
