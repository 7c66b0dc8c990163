//! The files in a cache directory, and the check that a cache fault costs at most one warning.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::Run;
use crate::harness::files::{make_private, names, write_private};
use crate::world::World;

/// The record of an undisturbed run, to be copied into other cache directories.
pub struct SavedRecord {
    /// The cache directory of that run.
    pub cache: PathBuf,
    pub name: OsString,
    pub content: Vec<u8>,
    pub token: String,
}

impl SavedRecord {
    #[track_caller]
    pub fn of(world: &World) -> SavedRecord {
        let cache = world.sandbox.path("caches/first");
        world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache).run().succeeds();
        let path = record(&cache);
        SavedRecord {
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

/// Returns the records in a cache directory.
pub fn records(cache: &Path) -> Vec<PathBuf> {
    names(&cache.join("v1")).into_iter().filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
}

/// Returns what is in a cache directory, except the directory in which new records are prepared.
pub fn files_of(cache: &Path) -> Vec<PathBuf> {
    names(&cache.join("v1")).into_iter().filter(|path| !path.ends_with("storing")).collect()
}

/// Returns the temporary files in a cache directory, and the objects that ycred has set aside there.
pub fn temporary_files(cache: &Path) -> Vec<PathBuf> {
    let is_temporary = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("tmp-") || name.starts_with("set-aside-")
    };
    [cache.join("v1"), cache.join("v1/storing")].iter().flat_map(|path| names(path)).filter(is_temporary).collect()
}

/// Returns the token in a record, which must be complete JSON.
#[track_caller]
pub fn token_in(record: &Path) -> String {
    let text = fs::read(record).unwrap_or_else(|error| panic!("{}: {error}", record.display()));
    let value: Value = serde_json::from_slice(&text)
        .unwrap_or_else(|error| panic!("{} is torn: {error}: {}", record.display(), String::from_utf8_lossy(&text)));
    value["token"]["secret"].as_str().expect("a record with a token").to_owned()
}

/// Returns the only record in a cache directory.
#[track_caller]
pub fn record(cache: &Path) -> PathBuf {
    let mut records = records(cache);
    assert_eq!(records.len(), 1, "expected one record in {}: {records:?}", cache.display());
    records.remove(0)
}

/// Asserts that a run succeeded with at most one warning, which names `place`. Returns the token that it printed.
#[track_caller]
pub fn at_most_one_warning(world: &World, run: &Run, place: &Path) -> String {
    assert_eq!(run.status.code(), Some(0), "expected success\n{run}");
    assert!(run.stderr.lines().count() <= 1, "expected one warning at most\n{run}");
    if !run.stderr.is_empty() {
        assert!(run.stderr.starts_with("ycred: warning: "), "expected a warning\n{run}");
        let place = place.display().to_string();
        assert!(run.stderr.contains(&place), "expected {place} in the warning\n{run}");
    }
    world.token_printed_by(run)
}

/// Runs ycred with a new cache directory. Returns the directory and the record in it.
pub fn warm_cache(world: &World, name: &str) -> (PathBuf, PathBuf) {
    let cache = world.sandbox.path(format!("caches/{name}"));
    world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().stderr_is_empty();
    let record = record(&cache);
    (cache, record)
}
