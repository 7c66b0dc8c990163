//! A cache directory with the files of a hundred thousand identities.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::emulator::faults::Fault;
use crate::expect::prints_token;
use crate::harness::control::Timed;
use crate::harness::machine::require_tracer;
use crate::harness::strace::{Step, traced};
use crate::harness::{Run, Running};
use crate::world::{World, shift};

/// A file system allows at least this many names for one file.
const LINKS: usize = 10_000;

/// Gives records of other identities this many names. Their tokens have expired, so a sweep has to remove each.
fn add_records(world: &World, count: usize) {
    let directory = world.sandbox.path("cache/v1");
    let mut record: serde_json::Value =
        serde_json::from_slice(&fs::read(&world.records()[0]).expect("a record")).expect("JSON");
    record["settings"] = "of another identity".into();
    shift(&mut record, -14 * 3_600_000);
    let mut first = PathBuf::new();
    for number in 0..count {
        let path = directory.join(format!("{:032x}.json", number.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        if number % LINKS == 0 {
            fs::write(&path, record.to_string()).expect("written");
            let file = fs::File::options().write(true).open(&path).expect("a record");
            file.set_modified(SystemTime::now() - Duration::from_secs(14 * 3600)).expect("its time");
            first = path;
        } else {
            fs::hard_link(&first, &path).expect("a link");
        }
    }
}

fn count_names(directory: &Path) -> usize {
    fs::read_dir(directory).expect("readable").count()
}

/// The number in `deleted 12 cached tokens`.
fn deleted_by(run: &Run) -> usize {
    let line = run.stdout.rsplit("deleted ").next().unwrap_or_default();
    line.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

/// The names of the system calls of a run. strace gets these arguments too.
fn calls(world: &World, options: &[&str], arguments: &[&str]) -> Vec<String> {
    let with = |strace: &[String]| [strace, &options.iter().map(ToString::to_string).collect::<Vec<_>>()].concat();
    let steps = Step::of(&world.sandbox, |strace| traced(&world.sandbox, &with(strace), arguments));
    steps.into_iter().map(|step| step.name).collect()
}

/// Those of them that do not depend on how the network divides an answer.
fn without_network(mut calls: Vec<String>) -> Vec<String> {
    let of_network =
        ["recvfrom", "sendto", "poll", "ppoll", "clock_nanosleep", "futex", "mmap", "munmap", "brk", "madvise"];
    calls.retain(|name| !of_network.contains(&name.as_str()));
    calls
}

#[test]
fn a_hundred_thousand_names_add_no_system_call_to_a_hit_and_are_not_all_listed_in_a_miss() {
    if !require_tracer() {
        return;
    }
    const NAMES: usize = 100_000;
    const REFRESH: [&str; 2] = ["token", "--force-refresh"];
    let world = World::new();
    world.get();
    let hit = calls(&world, &[], &["token"]);
    let miss = without_network(calls(&world, &[], &REFRESH));
    add_records(&world, NAMES);
    assert_eq!(calls(&world, &[], &["token"]), hit, "a hit");
    // The last sweep was less than half a minute ago, by the time of its tag.
    let tag = world.sandbox.path("cache/v1/CACHEDIR.TAG");
    let touch = || fs::File::options().write(true).open(&tag).expect("a tag").set_modified(SystemTime::now());
    touch().expect("its time");
    assert_eq!(without_network(calls(&world, &[], &REFRESH)), miss, "a miss without a sweep");

    // A miss that sweeps. On a machine where each of these calls takes ten milliseconds, the time is over at once, so a
    // sweep does the least that it always does: it lists 256 names, and removes 16 identities.
    fs::remove_file(&tag).expect("a tag");
    let before = count_names(&world.sandbox.path("cache/v1"));
    let slow = ["-e", "inject=getdents64,flock:delay_exit=10000"];
    let sweeping = without_network(calls(&world, &slow, &REFRESH));
    assert_eq!(world.requests(), 4);
    // The tag is new.
    assert_eq!(before + 1 - count_names(&world.sandbox.path("cache/v1")), 16, "removed");
    // The buffer for names has 4 KiB, and a name with its number takes 64 bytes. Two calls list the files of killed processes.
    let listings = sweeping.iter().filter(|name| *name == "getdents64").count();
    assert!((1..=256 / 64 + 1 + 2).contains(&listings), "{listings} calls list names");
    let more = sweeping.len() - miss.len();
    assert!((16..=16 * 30).contains(&more), "{more} system calls more than a miss that does not sweep");
    // The next sweep goes on where this one has stopped.
    let text = fs::read_to_string(&tag).expect("a tag");
    assert!(text.contains("\n# The next sweep begins at position "), "{text}");
}

#[test]
fn logout_all_ends_at_its_time_limit_and_the_next_one_goes_on() {
    if !require_tracer() {
        return;
    }
    // To delete all of them would take fifty seconds, and three of them are enough to reach the limit: whatever else the
    // machine does, the number of deleted records shows that the call has ended at its time limit.
    const NAMES: usize = 1000;
    const PAUSE: Duration = Duration::from_millis(50);
    const LIMIT: Duration = Duration::from_secs(3);
    let world = World::new();
    world.get();
    add_records(&world, NAMES);
    let directory = world.sandbox.path("cache/v1");
    let slow = format!("inject=unlink,unlinkat:delay_exit={}", PAUSE.as_micros());
    let strace = ["-f", "-qq", "-o", "/dev/null", "-e", &slow].map(str::to_owned);
    let run = traced(&world.sandbox, &strace, &["logout", "--all", "--timeout", "3s"]).run().exits(4);
    let deleted = deleted_by(&run);
    assert!(deleted <= LIMIT.div_duration_f64(PAUSE) as usize, "{deleted} records deleted\n{run}");
    let left = NAMES + 1 - deleted;
    let records = format!(": {left} records left when the time limit was reached");
    // Without the number if the time was over before all names were listed.
    assert!(run.stderr.contains(&records) || deleted == 0, "{records}\n{run}");
    let record = |name: &PathBuf| name.extension().is_some_and(|extension| extension == "json");
    let count = || world.sandbox.files("cache/v1").iter().filter(|name| record(name)).count();
    assert_eq!(count(), left);
    let logout = world.ycred(&["logout", "--all", "--timeout", "60s"]).run().exits(0);
    logout.stdout_has(&format!("deleted {left} cached token"));
    assert_eq!(count(), 0);
    assert!(count_names(&directory) <= 3, "the tag, the mark of the logout and the directory of new records stay");
    prints_token(world.token(&[]).run());
}

#[test]
fn logout_all_is_not_delayed_by_a_process_that_is_stopped_while_it_stores_a_token() {
    const NAMES: usize = 300;
    let world = World::new();
    world.get();
    add_records(&world, NAMES);
    let place = world.sandbox.path("cache/v1/storing");
    let directory = fs::File::open(&place).expect("the directory of new records");
    fs2::FileExt::try_lock_exclusive(&directory).expect("the lock, which no process holds");
    // To wait for the stopped process once for each record would take more than a minute.
    let logout = || world.ycred(&["logout", "--all"]).limit(Duration::from_secs(60)).run();
    logout().exits(0).stdout_has(&format!("deleted {} cached tokens", NAMES + 1));
    logout().exits(0).stdout_has("deleted 0 cached tokens");
    drop(directory);
}

#[test]
fn logout_all_ends_within_ten_seconds_beside_stopped_processes() {
    const LIMIT: Duration = Duration::from_secs(10);
    let worlds = [(&[][..], LIMIT), (&["--timeout", "2s"][..], LIMIT / 5)].map(|(options, limit)| {
        let world = World::new();
        world.emulator.fault(Fault::held());
        let leaders: Vec<Running> = ["a", "b", "c"]
            .map(|group| world.token(&[]).env("HTTPS_PROXY", format!("http://{group}.example:1")).start())
            .into();
        world.wait_for_requests(3);
        leaders.iter().for_each(|leader| leader.signal(libc::SIGSTOP));
        let logout = world.ycred(&[&["logout", "--all"], options].concat());
        (Timed::start(&world.sandbox, [logout], limit), leaders, world)
    });
    for (timed, leaders, _world) in worlds {
        let timed = timed.finish().remove(0);
        assert!(!timed.is_late(), "{:?} after the control process\n{}", timed.lateness, timed.run);
        timed.run.exits(0);
        drop(leaders);
    }
}
