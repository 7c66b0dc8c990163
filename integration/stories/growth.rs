//! A cache directory with the files of a hundred thousand identities.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::expect::prints_token;
use crate::harness::Run;
use crate::harness::machine::require_tracer;
use crate::harness::strace::{Step, traced};
use crate::world::{World, shift};

/// A file system allows at least this many names for one file.
const LINKS: usize = 10_000;

/// Gives records of other identities this many names. Their files are hours old, so a sweep has to read each.
fn add_records(world: &World, count: usize) {
    let directory = world.sandbox.path("cache/v1");
    let mut record: serde_json::Value =
        serde_json::from_slice(&fs::read(&world.records()[0]).expect("a record")).expect("JSON");
    record["settings"] = "of another identity".into();
    shift(&mut record, -2 * 3_600_000);
    let mut first = PathBuf::new();
    for number in 0..count {
        let path = directory.join(format!("{:032x}.json", number.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        if number % LINKS == 0 {
            fs::write(&path, record.to_string()).expect("written");
            let file = fs::File::options().write(true).open(&path).expect("a record");
            file.set_modified(SystemTime::now() - Duration::from_secs(2 * 3600)).expect("its time");
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

/// The names of the system calls of a run.
fn calls(world: &World, arguments: &[&str]) -> Vec<String> {
    let steps = Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, arguments));
    steps.into_iter().map(|step| step.name).collect()
}

#[test]
fn a_hundred_thousand_names_add_no_system_call_to_a_hit_and_are_not_all_listed_in_a_miss() {
    if !require_tracer() {
        return;
    }
    const NAMES: usize = 100_000;
    let world = World::new();
    world.get();
    let alone = calls(&world, &["token"]);
    add_records(&world, NAMES);
    assert_eq!(calls(&world, &["token"]), alone, "a hit");

    // A miss that sweeps. The buffer for names has 4 KiB, and a name with its number takes 64 bytes.
    let tag = world.sandbox.path("cache/v1/CACHEDIR.TAG");
    fs::remove_file(&tag).expect("a tag");
    let miss = calls(&world, &["token", "--force-refresh"]);
    assert_eq!(world.requests(), 2);
    let listings = miss.iter().filter(|name| *name == "getdents64").count();
    assert!((1..NAMES / 64 / 2).contains(&listings), "{listings} calls list names");
    // The next sweep goes on where this one has stopped.
    let text = fs::read_to_string(&tag).expect("a tag");
    assert!(text.contains("\n# The next sweep begins at position "), "{text}");
}

#[test]
fn logout_all_ends_at_its_time_limit_and_the_next_one_goes_on() {
    // More than any machine deletes in a second.
    const NAMES: usize = 50_000;
    let world = World::new();
    world.get();
    add_records(&world, NAMES);
    let directory = world.sandbox.path("cache/v1");
    let (mut deleted, mut runs) = (0, 0);
    loop {
        let run = world.ycred(&["logout", "--all", "--timeout", "1s"]).run();
        deleted += deleted_by(&run);
        runs += 1;
        if run.status.success() {
            break;
        }
        let run = run.exits(4).stderr_has("left when the time limit was reached");
        assert!(runs < 200 && count_names(&directory) > 1, "{run}");
    }
    assert!(runs > 1);
    assert_eq!((deleted, count_names(&directory)), (NAMES + 1, 1), "the tag stays");
    prints_token(world.token(&[]).run());
}

#[test]
fn logout_all_ends_at_its_time_limit_while_another_process_holds_the_directory() {
    const NAMES: usize = 300;
    let world = World::new();
    world.get();
    add_records(&world, NAMES);
    let directory = fs::File::open(world.sandbox.path("cache/v1")).expect("the cache");
    fs2::FileExt::try_lock_exclusive(&directory).expect("the lock, which no process holds");
    // To wait for the directory once for each record would take more than a minute.
    let logout = || world.ycred(&["logout", "--all", "--timeout", "2s"]).limit(Duration::from_secs(60)).run();
    let run = logout();
    let deleted = deleted_by(&run);
    let left = format!(": {} records left when the time limit was reached", NAMES + 1 - deleted);
    run.exits(4).stderr_has(&left);
    drop(directory);
    logout().exits(0).stdout_has(&format!("deleted {} cached tokens", NAMES + 1 - deleted));
}
