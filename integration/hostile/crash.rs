//! Killed at every step, and read while being written: a record is whole or not there, and the next run works.

use std::collections::HashSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::records::{LeftRecord, litter, record, records, token_in};
use crate::harness::files::age;
use crate::harness::machine::require_tracer;
use crate::harness::strace::{Step, inject, traced};
use crate::harness::{Call, run_all, tried};
use crate::world::World;

/// How many processes run at a time; the machine may have two processors.
const ABREAST: usize = 4;

/// The steps from the first one that touches the cache on.
fn steps_of_a_miss(world: &World, cache: &Path, arguments: &[&str]) -> Vec<Step> {
    let steps =
        Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, arguments).env("YCRED_CACHE_DIR", cache));
    let place = cache.display().to_string();
    let from = steps.iter().position(|step| step.line.contains(&place)).expect("the miss touches the cache");
    let steps = steps.get(from..).unwrap_or_default().to_vec();
    let writes = ["openat", "write", "rename", "flock"];
    for name in writes {
        assert!(steps.iter().any(|step| step.name == name), "no {name} in {steps:#?}");
    }
    // A process cannot be killed in a call that only ends it.
    steps.into_iter().filter(|step| step.name != "exit_group").collect()
}

/// Kills a run at each of these steps, each in a cache of its own that `prepare` has made, and shows what came of it.
fn kill_at_each(
    world: &World,
    steps: &[Step],
    arguments: &[&str],
    prepare: impl Fn(&Path),
    judge: impl Fn(&Step, &Path) -> Call,
    conclude: impl Fn(&Step, &Path, &crate::harness::Run),
) -> usize {
    let mut killed = 0;
    for (part, steps) in steps.chunks(ABREAST).enumerate() {
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
                // The kernel's scheduling may save a call (a retried poll), and then there is nothing to strike.
                _ => assert_eq!(run.status.code(), Some(0), "{step:?}\n{run}"),
            }
        }
        let next = run_all(steps.iter().zip(&caches).map(|(step, cache)| judge(step, cache)));
        for ((step, cache), run) in steps.iter().zip(&caches).zip(&next) {
            conclude(step, cache, run);
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
            assert!(litter(cache).len() <= 1, "{step:?}: {:?}", litter(cache));
            world.ycred(&["token"]).env("YCRED_CACHE_DIR", cache)
        },
        |step, cache, run| {
            assert!(run.status.success() && run.stderr.is_empty(), "killed at {step:?}, the next one\n{run}");
            assert_eq!(world.printed_a_token(run), token_in(&record(cache)), "{step:?}");
        },
    );
    tried("process killed at a system call of a first miss", killed);
}

#[test]
fn after_a_kill_at_any_call_of_a_renewal_the_old_or_the_new_record_is_intact() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let left = LeftRecord::of(&world);
    // More than the cloud gives, so that the cached one counts as expired and a new one is fetched.
    let longer = ["token", "--min-ttl", "13h"];
    let steps = steps_of_a_miss(&world, &left.cache, &longer);
    let killed = kill_at_each(
        &world,
        &steps,
        &longer,
        |cache| left.put_into(cache),
        |step, cache| {
            assert!(litter(cache).len() <= 1, "{step:?}: {:?}", litter(cache));
            let there = token_in(&record(cache));
            assert!(there == left.token || world.emulator.tokens().contains(&there), "{step:?}");
            world.ycred(&["token"]).env("YCRED_CACHE_DIR", cache)
        },
        |step, cache, run| {
            assert!(run.status.success() && run.stderr.is_empty(), "killed at {step:?}, the next one\n{run}");
            assert_eq!(world.printed_a_token(run), token_in(&record(cache)), "{step:?}");
        },
    );
    tried("process killed at a system call of a renewal", killed);
}

#[test]
fn a_killed_lock_holder_blocks_no_other_process() {
    let world = World::new();
    world.emulator.fault(crate::emulator::faults::Fault::held().times(1));
    let holder = world.ycred(&["token"]).start();
    assert!(world.emulator.wait_for_requests(crate::emulator::TOKENS, 1, Duration::from_secs(30)));
    holder.signal(libc::SIGKILL);
    assert_eq!(holder.finish().status.signal(), Some(libc::SIGKILL));
    // Within the patience with a silent leader, which would be 16 seconds.
    let run = world.ycred(&["token"]).limit(Duration::from_secs(12)).run().succeeds().quietly();
    world.printed_a_token(&run);
}

#[test]
fn a_later_store_sweeps_the_files_of_killed_processes() {
    let world = World::new();
    let cache = world.sandbox.path("cache");
    world.ycred(&["token"]).run().succeeds().quietly();
    for number in 0..40 {
        let path = cache.join(format!("v1/tmp-{number:032x}"));
        fs::write(&path, "half a rec").expect("litter");
        age(&path, Duration::from_secs(2 * 3600));
    }
    let young = cache.join("v1/tmp-young");
    fs::write(&young, "someone is at it").expect("a temporary file of this moment");
    world.ycred(&["token", "--force-refresh"]).run().succeeds().quietly();
    assert_eq!(litter(&cache).len(), 41, "swept within the hour");
    age(&cache.join("v1/CACHEDIR.TAG"), Duration::from_secs(3700));
    world.ycred(&["token", "--force-refresh"]).run().succeeds().quietly();
    assert_eq!(litter(&cache), [young]);
    let token = world.last_token();
    assert_eq!(world.is_a_hit(world.ycred(&["token"])), token);
}

#[test]
fn concurrent_readers_never_see_a_torn_or_empty_record() {
    const WRITERS: usize = 3;
    const WRITES: usize = 60;
    const READERS: usize = 8;
    let world = World::new();
    // The same key and cloud, hence the same record, renewed by every run.
    let storm = format!("{}max-age = \"0s\"\n", world.settings());
    world.sandbox.profile("storm", &storm);
    world.ycred(&["token"]).run().succeeds().quietly();
    let record = record(&world.sandbox.path("cache"));
    let (over, reads, writing) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(WRITERS));
    let mut seen = HashSet::new();
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                // Counted down also where this fails, or the readers would go on for ever.
                let _last = Countdown(&writing, &over);
                for _ in 0..WRITES {
                    let run = world.ycred(&["token", "--profile", "storm"]).run().succeeds().quietly();
                    world.printed_a_token(&run);
                }
            });
        }
        for _ in 0..READERS {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let run = world.ycred(&["token"]).run().succeeds().quietly();
                    world.printed_a_token(&run);
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        // And one that looks as fast as it can.
        while !over.load(Ordering::SeqCst) {
            for _ in 0..50 {
                seen.insert(token_in(&record));
            }
        }
    });
    assert!(seen.len() > WRITES / 2, "only {} different records were seen", seen.len());
    assert!(reads.load(Ordering::SeqCst) > READERS, "the readers hardly ran");
    assert_eq!(litter(&world.sandbox.path("cache")), Vec::<PathBuf>::new());
    let known: HashSet<String> = world.emulator.tokens().into_iter().collect();
    assert!(seen.is_subset(&known));
    tried("record replaced while other processes read and write", WRITERS * WRITES);
    tried("hit while other processes write", reads.load(Ordering::SeqCst));
}

/// Says when the last of several is done.
struct Countdown<'a>(&'a AtomicUsize, &'a AtomicBool);

impl Drop for Countdown<'_> {
    fn drop(&mut self) {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.1.store(true, Ordering::SeqCst);
        }
    }
}

#[test]
fn a_shorter_record_replaces_a_longer_one_without_a_tail() {
    let world = World::new();
    let cache = world.sandbox.path("cache");
    // A failure with a long text is kept beside the token, and goes with the next success.
    world.ycred(&["token"]).run().succeeds();
    let words = "the reason ".repeat(40);
    world.emulator.fault(crate::emulator::faults::Fault::refuse(403).message(words).times(1));
    world.ycred(&["token", "--force-refresh"]).run().exits(1);
    let longer = fs::metadata(record(&cache)).expect("a record").len();
    world.ycred(&["token", "--force-refresh"]).run().succeeds().quietly();
    let shorter = fs::metadata(record(&cache)).expect("a record").len();
    assert!(shorter + 300 < longer, "{shorter} and {longer} bytes");
    assert_eq!(token_in(&record(&cache)), world.last_token());
}
