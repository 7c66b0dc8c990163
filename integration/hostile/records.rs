//! The records in a cache directory, and what a trouble with it may cost.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::Run;
use crate::harness::files::{make_private, names, write_private};
use crate::world::World;

/// A record that an untroubled run has left, to be put into other cache directories.
pub struct LeftRecord {
    /// Where it was left.
    pub cache: PathBuf,
    pub name: OsString,
    pub content: Vec<u8>,
    pub token: String,
}

impl LeftRecord {
    #[track_caller]
    pub fn of(world: &World) -> LeftRecord {
        let cache = world.sandbox.path("caches/first");
        world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache).run().succeeds();
        let path = record(&cache);
        LeftRecord {
            content: fs::read(&path).expect("the record"),
            name: path.file_name().expect("its name").to_owned(),
            token: world.last_token(),
            cache,
        }
    }

    pub fn put_into(&self, cache: &Path) {
        make_private(&cache.join("v1"));
        write_private(&cache.join("v1").join(&self.name), &self.content);
    }
}

/// The records below a cache directory.
pub fn records(cache: &Path) -> Vec<PathBuf> {
    names(&cache.join("v1")).into_iter().filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
}

/// Temporary files and things set aside below a cache directory.
pub fn litter(cache: &Path) -> Vec<PathBuf> {
    let is_litter = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("tmp-") || name.starts_with("set-aside-")
    };
    names(&cache.join("v1")).into_iter().filter(is_litter).collect()
}

/// The token in a record, which must be whole.
#[track_caller]
pub fn token_in(record: &Path) -> String {
    let text = fs::read(record).unwrap_or_else(|error| panic!("{}: {error}", record.display()));
    let value: Value = serde_json::from_slice(&text)
        .unwrap_or_else(|error| panic!("{} is torn: {error}: {}", record.display(), String::from_utf8_lossy(&text)));
    value["token"]["secret"].as_str().expect("a record with a token").to_owned()
}

/// The one record that is in this cache directory.
#[track_caller]
pub fn record(cache: &Path) -> PathBuf {
    let mut records = records(cache);
    assert_eq!(records.len(), 1, "expected one record in {}: {records:?}", cache.display());
    records.remove(0)
}

/// What was meant by "costs no token": exit 0, one token, at most one line of warning that names `place`.
#[track_caller]
pub fn is_unharmed(world: &World, run: &Run, place: &Path) -> String {
    assert_eq!(run.status.code(), Some(0), "expected success\n{run}");
    assert!(run.stderr.lines().count() <= 1, "expected one warning at most\n{run}");
    if !run.stderr.is_empty() {
        assert!(run.stderr.starts_with("ycred: warning: "), "expected a warning\n{run}");
        let place = place.display().to_string();
        assert!(run.stderr.contains(&place), "expected {place} in the warning\n{run}");
    }
    world.printed_a_token(run)
}

/// A cache that has served once: the names in it are known.
pub fn used_cache(world: &World, name: &str) -> (PathBuf, PathBuf) {
    let cache = world.sandbox.path(format!("caches/{name}"));
    world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().quietly();
    let record = record(&cache);
    (cache, record)
}
