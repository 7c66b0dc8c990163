//! What is removed from a cache, and what stays.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::harness::files::{age, make_private, names, write_private};
use crate::hostile::records::{litter, used_cache};
use crate::world::World;

#[test]
fn a_sweep_removes_only_expired_records_and_old_temporary_files() {
    let world = World::new();
    let (cache, record) = used_cache(&world, "swept");
    let here = |name: &str| cache.join("v1").join(name);
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    let text = fs::read_to_string(&record).expect("the record");
    // The same record as it was long ago: every moment in it counts in milliseconds.
    let moments = shift_moments(&text, 3 * 24 * 3600 * 1000);
    for (name, content, old) in [
        ("dead.json", moments.as_str(), days(3)),
        ("alive.json", text.as_str(), days(3)),
        ("dead-but-young.json", moments.as_str(), days(0)),
        ("tmp-old", "x", Duration::from_secs(3700)),
        ("tmp-young", "x", Duration::from_secs(3000)),
        ("set-aside-old", "x", days(2)),
        ("set-aside-young", "x", Duration::from_secs(3700)),
        ("old.lock", "", days(30)),
        ("somebody's notes.txt", "x", days(30)),
    ] {
        write_private(&here(name), content.as_bytes());
        age(&here(name), old);
    }
    age(&here("CACHEDIR.TAG"), Duration::from_secs(3700));
    world.ycred(&["token", "--force-refresh"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().quietly();
    let left: Vec<String> = names(&cache.join("v1"))
        .iter()
        .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .filter(|name| !record.ends_with(name) && !record.with_extension("lock").ends_with(name))
        .collect();
    assert_eq!(
        left,
        [
            "CACHEDIR.TAG",
            "alive.json",
            "dead-but-young.json",
            "old.lock",
            "set-aside-young",
            "somebody's notes.txt",
            "tmp-young"
        ]
    );
}

/// The text with every number of thirteen digits (a moment in milliseconds) made smaller.
fn shift_moments(text: &str, by: i64) -> String {
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
    let (cache, _) = used_cache(&world, "crowded");
    for number in 0..200 {
        let path = cache.join(format!("v1/tmp-{number:032x}"));
        fs::write(&path, "x").expect("litter");
        age(&path, Duration::from_secs(7200));
    }
    let store = || {
        world.ycred(&["token", "--force-refresh"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().quietly();
        litter(&cache).len()
    };
    assert_eq!(store(), 200, "the hour is not over");
    age(&cache.join("v1/CACHEDIR.TAG"), Duration::from_secs(3700));
    let after = store();
    assert!((200 - 64..200).contains(&after), "{after} are left");
    assert_eq!(store(), after, "within the hour again");
    for _ in 0..12 {
        age(&cache.join("v1/CACHEDIR.TAG"), Duration::from_secs(3700));
        store();
    }
    assert!(litter(&cache).len() < after / 2, "{} are left", litter(&cache).len());
}

#[test]
fn cache_directories_of_other_format_versions_are_left_unchanged() {
    let world = World::new();
    let cache = world.sandbox.path("cache");
    make_private(&cache.join("v0"));
    make_private(&cache.join("v2"));
    write_private(&cache.join("v2/future.json"), b"{\"not\":\"ours\"}");
    world.ycred(&["token"]).run().succeeds().quietly();
    world.is_a_hit(world.ycred(&["token"]));
    assert_eq!(fs::read(cache.join("v2/future.json")).expect("untouched"), b"{\"not\":\"ours\"}");
    let all: Vec<PathBuf> = names(&cache);
    assert_eq!(all, ["v0", "v1", "v2"].map(|name| cache.join(name)));
}
