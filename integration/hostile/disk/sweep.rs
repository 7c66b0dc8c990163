//! Which files a sweep removes from a cache, and which it leaves.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::harness::files::{age, make_private, names, write_private};
use crate::hostile::records::{files_of, temporary_files, warm_cache};
use crate::world::World;

#[test]
fn a_sweep_removes_only_expired_records_and_old_temporary_files() {
    let world = World::new();
    let (cache, record) = warm_cache(&world, "swept");
    let in_cache = |name: &str| cache.join("v1").join(name);
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    let valid = fs::read_to_string(&record).expect("the record");
    // The same record three days earlier. Its timestamps are in milliseconds.
    let expired = shift_timestamps(&valid, 3 * 24 * 3600 * 1000);
    for (name, content, file_age) in [
        ("dead.json", expired.as_str(), days(3)),
        ("alive.json", valid.as_str(), days(3)),
        ("dead-but-young.json", expired.as_str(), days(0)),
        ("tmp-old", "x", Duration::from_secs(3700)),
        ("tmp-young", "x", Duration::from_secs(3000)),
        ("set-aside-old", "x", days(2)),
        ("set-aside-young", "x", Duration::from_secs(3700)),
        ("dead.lock", "", days(3)),
        ("dead.relief.lock", "", days(3)),
        ("alive.lock", "", days(3)),
        ("old.lock", "", days(30)),
        ("young.lock", "", days(0)),
        ("somebody's notes.txt", "x", days(30)),
    ] {
        write_private(&in_cache(name), content.as_bytes());
        age(&in_cache(name), file_age);
    }
    age(&in_cache("CACHEDIR.TAG"), Duration::from_secs(3700));
    world.ycred(&["token", "--force-refresh"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().stderr_is_empty();
    let remaining: Vec<String> = files_of(&cache)
        .iter()
        .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .filter(|name| !record.ends_with(name) && !record.with_extension("lock").ends_with(name))
        .collect();
    assert_eq!(
        remaining,
        [
            "CACHEDIR.TAG",
            "alive.json",
            "alive.lock",
            "dead-but-young.json",
            "set-aside-young",
            "somebody's notes.txt",
            "tmp-young",
            "young.lock"
        ]
    );
}

/// Returns a record with every number of thirteen digits, which is a timestamp in milliseconds, reduced by `by`.
fn shift_timestamps(text: &str, by: i64) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        match digits.parse::<i64>() {
            Ok(number) if digits.len() == 13 => out += &(number - by).to_string(),
            _ => out += &digits,
        }
        digits.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    out
}

#[test]
fn a_sweep_checks_at_most_64_entries_once_an_hour() {
    let world = World::new();
    let (cache, _) = warm_cache(&world, "crowded");
    for number in 0..200 {
        let path = cache.join(format!("v1/tmp-{number:032x}"));
        fs::write(&path, "x").expect("a temporary file");
        age(&path, Duration::from_secs(7200));
    }
    let store = || {
        world.ycred(&["token", "--force-refresh"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().stderr_is_empty();
        temporary_files(&cache).len()
    };
    assert_eq!(store(), 200, "swept within the hour");
    age(&cache.join("v1/CACHEDIR.TAG"), Duration::from_secs(3700));
    let after = store();
    assert!((200 - 64..200).contains(&after), "{after} remain");
    assert_eq!(store(), after, "swept again within the hour");
    for _ in 0..12 {
        age(&cache.join("v1/CACHEDIR.TAG"), Duration::from_secs(3700));
        store();
    }
    assert!(temporary_files(&cache).len() < after / 2, "{} remain", temporary_files(&cache).len());
}

#[test]
fn dead_identities_are_removed_with_their_locks_while_a_valid_one_is_used() {
    let world = World::new();
    let (cache, record) = warm_cache(&world, "many");
    let valid = fs::read_to_string(&record).expect("the record");
    let expired = shift_timestamps(&valid, 13 * 3600 * 1000);
    for number in 0..200 {
        for (end, content) in [("json", expired.as_str()), ("lock", "")] {
            let path = cache.join(format!("v1/{number:032x}.{end}"));
            write_private(&path, content.as_bytes());
            age(&path, Duration::from_secs(2 * 3600));
        }
    }
    let sweep = |tag_age: u64| {
        age(&cache.join("v1/CACHEDIR.TAG"), Duration::from_secs(tag_age));
        world.ycred(&["token", "--force-refresh"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().stderr_is_empty();
        files_of(&cache).len()
    };
    assert_eq!(sweep(600), 3 + 400, "swept within the hour");
    // How many fit into one sweep depends on the machine. It goes on a minute later as long as there are some.
    let mut left = sweep(3700);
    assert!((3 + 400 - 2 * 64..3 + 400).contains(&left), "{left} files");
    for _ in 0..400 {
        if left == 3 {
            break;
        }
        left = sweep(61);
    }
    assert_eq!(left, 3, "the record, its lock and the tag");
}

#[test]
fn cache_directories_of_other_format_versions_are_left_unchanged() {
    let world = World::new();
    let cache = world.sandbox.path("cache");
    make_private(&cache.join("v0"));
    make_private(&cache.join("v2"));
    write_private(&cache.join("v2/future.json"), b"{\"not\":\"ours\"}");
    world.ycred(&["token"]).run().succeeds().stderr_is_empty();
    world.assert_hit(world.ycred(&["token"]));
    assert_eq!(fs::read(cache.join("v2/future.json")).expect("untouched"), b"{\"not\":\"ours\"}");
    let all: Vec<PathBuf> = names(&cache);
    assert_eq!(all, ["v0", "v1", "v2"].map(|name| cache.join(name)));
}
