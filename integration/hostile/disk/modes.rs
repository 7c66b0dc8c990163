//! Modes of the cache's files and directories, and its tag for backup programs.

use std::fs;

use crate::harness::YCRED;
use crate::harness::files::{mode, set_mode};
use crate::harness::machine::require_tracer;
use crate::harness::strace::{Step, traced};
use crate::hostile::records::{files_of, warm_cache};
use crate::world::World;

#[test]
fn under_umask_zero_files_are_0600_and_directories_0700() {
    let world = World::new();
    let cache = world.sandbox.path("deep/er/cache");
    world
        .sandbox
        .call("sh", ["-c", "umask 000; exec \"$@\"", "sh", YCRED, "token"])
        .env("YCRED_CACHE_DIR", &cache)
        .run()
        .succeeds()
        .stderr_is_empty();
    for directory in ["deep", "deep/er", "deep/er/cache", "deep/er/cache/v1", "deep/er/cache/v1/storing"] {
        assert_eq!(mode(&world.sandbox.path(directory)), 0o700, "{directory}");
    }
    let files = files_of(&cache);
    assert_eq!(files.len(), 3, "a record, a lock and a tag: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn files_are_private_from_creation() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let cache = world.sandbox.path("cache").display().to_string();
    let steps = Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, &["token"]));
    let creating: Vec<&Step> =
        steps.iter().filter(|step| step.line.contains(&cache) && step.line.contains("O_CREAT")).collect();
    assert!(creating.len() >= 2, "{steps:#?}");
    for step in creating {
        assert!(step.line.contains("0600") && step.line.contains("O_NOFOLLOW"), "{step:?}");
    }
    let directories = steps.iter().filter(|step| step.name.starts_with("mkdir") && step.line.contains(&cache));
    for step in directories {
        assert!(step.line.contains("0700"), "{step:?}");
    }
    // Replaced by a rename within one directory, hence never across file systems.
    let rename = steps.iter().find(|step| step.name.starts_with("rename")).expect("a rename");
    assert_eq!(rename.line.matches(&format!("{cache}/v1/")).count(), 2, "{rename:?}");
    assert!(!steps.iter().any(|step| step.name.contains("sync")), "a record needs no fsync");
}

#[test]
fn loose_modes_are_tightened_by_the_next_store() {
    let world = World::new();
    let (cache, record) = warm_cache(&world, "loose");
    let loosen = || {
        set_mode(&cache.join("v1"), 0o777);
        set_mode(&record, 0o666);
    };
    loosen();
    world.assert_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache));
    world.ycred(&["token", "--force-refresh"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().stderr_is_empty();
    assert_eq!((mode(&cache.join("v1")), mode(&record)), (0o700, 0o600));

    // A renewal in the soft window also stores a record.
    loosen();
    world.sandbox.profile("aged", &format!("{}max-age = \"0s\"\n", world.settings()));
    let before = world.requests();
    world.ycred(&["token", "--profile", "aged"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().stderr_is_empty();
    assert_eq!(world.requests(), before + 1, "the token was due for renewal");
    assert_eq!((mode(&cache.join("v1")), mode(&record)), (0o700, 0o600));
}

#[test]
fn the_cache_has_a_tag_for_backup_programs() {
    let world = World::new();
    let (cache, _) = warm_cache(&world, "tagged");
    let tag = fs::read_to_string(cache.join("v1/CACHEDIR.TAG")).expect("a tag");
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"), "{tag}");
}
