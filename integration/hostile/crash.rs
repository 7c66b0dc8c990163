//! Processes killed at every system call, and records read while they are written: a record is complete or absent, and
//! the next run succeeds.

use std::collections::HashSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::records::{SavedRecord, record, records, temporary_files, token_in};
use crate::harness::files::age;
use crate::harness::machine::require_tracer;
use crate::harness::strace::{Step, inject, traced};
use crate::harness::{Call, report_faults, run_all};
use crate::world::World;

/// How many processes run at a time. The machine may have only two processors.
const PARALLEL: usize = 4;

/// Returns the system calls of a miss, starting with the first one that touches the cache.
fn steps_of_a_miss(world: &World, cache: &Path, arguments: &[&str]) -> Vec<Step> {
    let steps =
        Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, arguments).env("YCRED_CACHE_DIR", cache));
    let cache = cache.display().to_string();
    let first = steps.iter().position(|step| step.line.contains(&cache)).expect("the miss touches the cache");
    let steps = steps.get(first..).unwrap_or_default().to_vec();
    for name in ["openat", "write", "rename", "flock"] {
        assert!(steps.iter().any(|step| step.name == name), "no {name} in {steps:#?}");
    }
    // `exit_group` ends the process before the signal can.
    steps.into_iter().filter(|step| step.name != "exit_group").collect()
}

/// Kills one run at each of these steps and returns the number of killed runs.
///
/// Each run has its own cache, which `prepare` sets up. After the kill, `inspect` checks the cache and returns the next
/// call; `check_next` checks the run of that call.
fn kill_at_each(
    world: &World,
    steps: &[Step],
    arguments: &[&str],
    prepare: impl Fn(&Path),
    inspect: impl Fn(&Step, &Path) -> Call,
    check_next: impl Fn(&Step, &Path, &crate::harness::Run),
) -> usize {
    let mut killed = 0;
    for (part, steps) in steps.chunks(PARALLEL).enumerate() {
        let caches: Vec<PathBuf> =
            (0..steps.len()).map(|at| world.sandbox.path(format!("caches/{}-{part}-{at}", arguments.len()))).collect();
        let runs = run_all(steps.iter().zip(&caches).map(|(step, cache)| {
            prepare(cache);
            traced(&world.sandbox, &inject(step, "signal=KILL"), arguments).env("YCRED_CACHE_DIR", cache)
        }));
        for (step, run) in steps.iter().zip(&runs) {
            match run.status.signal() {
                Some(libc::SIGKILL) => {
                    killed += 1;
                    assert!(run.stdout.is_empty() || world.emulator.tokens().contains(&run.stdout.trim().to_owned()));
                }
                // Depending on scheduling, a run may poll once less, so that it never reaches this step.
                _ => assert_eq!(run.status.code(), Some(0), "{step:?}\n{run}"),
            }
        }
        let next = run_all(steps.iter().zip(&caches).map(|(step, cache)| inspect(step, cache)));
        for ((step, cache), run) in steps.iter().zip(&caches).zip(&next) {
            check_next(step, cache, run);
        }
    }
    assert!(killed * 10 >= steps.len() * 9, "only {killed} of {} runs were killed", steps.len());
    killed
}

#[test]
fn after_a_kill_at_any_call_of_a_first_miss_the_next_run_succeeds_silently_and_leaves_an_intact_record() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let steps = steps_of_a_miss(&world, &world.sandbox.path("caches/first"), &["token"]);
    assert!(steps.iter().any(|step| step.name.starts_with("mkdir")), "no mkdir in {steps:#?}");
    let killed = kill_at_each(
        &world,
        &steps,
        &["token"],
        |_| (),
        |step, cache| {
            for record in records(cache) {
                assert!(world.emulator.tokens().contains(&token_in(&record)), "{step:?}");
            }
            assert!(temporary_files(cache).len() <= 1, "{step:?}: {:?}", temporary_files(cache));
            world.ycred(&["token"]).env("YCRED_CACHE_DIR", cache)
        },
        |step, cache, run| {
            assert!(
                run.status.success() && run.stderr.is_empty(),
                "killed at {step:?}, the next run failed or warned\n{run}"
            );
            assert_eq!(world.token_printed_by(run), token_in(&record(cache)), "{step:?}");
        },
    );
    report_faults("process killed at a system call of a first miss", killed);
}

#[test]
fn after_a_kill_at_any_call_of_a_renewal_the_old_or_the_new_record_is_intact() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let saved = SavedRecord::of(&world);
    // The cloud's tokens are valid for less than 13 hours, so ycred treats the cached one as expired.
    let longer = ["token", "--min-ttl", "13h"];
    let steps = steps_of_a_miss(&world, &saved.cache, &longer);
    let killed = kill_at_each(
        &world,
        &steps,
        &longer,
        |cache| saved.put_into(cache),
        |step, cache| {
            assert!(temporary_files(cache).len() <= 1, "{step:?}: {:?}", temporary_files(cache));
            let cached = token_in(&record(cache));
            assert!(cached == saved.token || world.emulator.tokens().contains(&cached), "{step:?}");
            world.ycred(&["token"]).env("YCRED_CACHE_DIR", cache)
        },
        |step, cache, run| {
            assert!(
                run.status.success() && run.stderr.is_empty(),
                "killed at {step:?}, the next run failed or warned\n{run}"
            );
            assert_eq!(world.token_printed_by(run), token_in(&record(cache)), "{step:?}");
        },
    );
    report_faults("process killed at a system call of a renewal", killed);
}

#[test]
fn a_killed_lock_holder_blocks_no_other_process() {
    let world = World::new();
    world.emulator.fault(crate::emulator::faults::Fault::held().times(1));
    let holder = world.ycred(&["token"]).start();
    assert!(world.emulator.wait_for_requests(crate::emulator::TOKENS, 1, Duration::from_secs(30)));
    holder.signal(libc::SIGKILL);
    assert_eq!(holder.finish().status.signal(), Some(libc::SIGKILL));
    // Less than the 16 seconds that a waiter gives a silent leader.
    let run = world.ycred(&["token"]).limit(Duration::from_secs(12)).run().succeeds().stderr_is_empty();
    world.token_printed_by(&run);
}

#[test]
fn a_later_store_sweeps_the_files_of_killed_processes() {
    let world = World::new();
    let cache = world.sandbox.path("cache");
    world.ycred(&["token"]).run().succeeds().stderr_is_empty();
    for number in 0..40 {
        let path = cache.join(format!("v1/tmp-{number:032x}"));
        fs::write(&path, "half a rec").expect("a temporary file");
        age(&path, Duration::from_secs(2 * 3600));
    }
    let young = cache.join("v1/tmp-young");
    fs::write(&young, "someone is at it").expect("a new temporary file");
    world.ycred(&["token", "--force-refresh"]).run().succeeds().stderr_is_empty();
    assert_eq!(temporary_files(&cache).len(), 41, "swept within the hour");
    age(&cache.join("v1/CACHEDIR.TAG"), Duration::from_secs(3700));
    world.ycred(&["token", "--force-refresh"]).run().succeeds().stderr_is_empty();
    assert_eq!(temporary_files(&cache), [young]);
    let token = world.last_token();
    assert_eq!(world.assert_hit(world.ycred(&["token"])), token);
}

#[test]
fn concurrent_readers_never_see_a_torn_or_empty_record() {
    const WRITERS: usize = 3;
    const WRITES: usize = 60;
    const READERS: usize = 8;
    let world = World::new();
    // The same key and cloud as the default profile, hence the same record. Every run renews it.
    let renewing = format!("{}max-age = \"0s\"\n", world.settings());
    world.sandbox.profile("storm", &renewing);
    world.ycred(&["token"]).run().succeeds().stderr_is_empty();
    let record = record(&world.sandbox.path("cache"));
    let (is_over, reads, writers) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(WRITERS));
    let mut seen = HashSet::new();
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                // Counts down even if this thread panics, so that the readers stop.
                let _countdown = Countdown { running: &writers, is_over: &is_over };
                for _ in 0..WRITES {
                    let run = world.ycred(&["token", "--profile", "storm"]).run().succeeds().stderr_is_empty();
                    world.token_printed_by(&run);
                }
            });
        }
        for _ in 0..READERS {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let run = world.ycred(&["token"]).run().succeeds().stderr_is_empty();
                    world.token_printed_by(&run);
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        // This thread reads the record file directly, as fast as it can.
        while !is_over.load(Ordering::SeqCst) {
            for _ in 0..50 {
                seen.insert(token_in(&record));
            }
        }
    });
    // On a busy machine, many of the writers share a renewal.
    assert!(seen.len() > WRITES / 4, "only {} different records were seen", seen.len());
    assert!(reads.load(Ordering::SeqCst) > READERS, "the readers ran too rarely");
    assert_eq!(temporary_files(&world.sandbox.path("cache")), Vec::<PathBuf>::new());
    let issued: HashSet<String> = world.emulator.tokens().into_iter().collect();
    assert!(seen.is_subset(&issued));
    report_faults("record replaced while other processes read and write", WRITERS * WRITES);
    report_faults("hit while other processes write", reads.load(Ordering::SeqCst));
}

/// Sets `is_over` when the last running writer ends.
struct Countdown<'a> {
    running: &'a AtomicUsize,
    is_over: &'a AtomicBool,
}

impl Drop for Countdown<'_> {
    fn drop(&mut self) {
        if self.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.is_over.store(true, Ordering::SeqCst);
        }
    }
}

#[test]
fn a_shorter_record_replaces_a_longer_one_without_a_tail() {
    let world = World::new();
    let cache = world.sandbox.path("cache");
    // A failure with a long message is stored next to the token. The next success removes it.
    world.ycred(&["token"]).run().succeeds();
    let message = "the reason ".repeat(40);
    world.emulator.fault(crate::emulator::faults::Fault::refuse(403).message(message).times(1));
    world.ycred(&["token", "--force-refresh"]).run().exits(1);
    let longer = fs::metadata(record(&cache)).expect("a record").len();
    world.ycred(&["token", "--force-refresh"]).run().succeeds().stderr_is_empty();
    let shorter = fs::metadata(record(&cache)).expect("a record").len();
    assert!(shorter + 300 < longer, "{shorter} and {longer} bytes");
    assert_eq!(token_in(&record(&cache)), world.last_token());
}
