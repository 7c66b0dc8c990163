//! Removes what is left of identities that are no longer used, and the files of killed processes.
//!
//! A lock file is removed after its record, and only by a process that holds every lock of the identity. A process that has
//! opened the file before then notices that its lock has lost its name ([`crate::disk::lock`]). The record stays
//! while a process holds one of its locks: a logout, for example, must outlast the fetches that began before it.
#![expect(clippy::disallowed_methods, reason = "disk/store.rs and this file remove files that ycred owns")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::clock::{Clock, Timestamp, millis};
use crate::base::random;
use crate::disk::lock::{Lock, try_lock_existing};
use crate::disk::store;
use crate::disk::store::{FileState, LOCK, NameList, RECORD, RELIEF_LOCK};
use crate::disk::turn;
use crate::disk::turn::TurnGuard;
use crate::system;

/// Marks a directory as a cache for backup programs (<https://bford.info/cachedir/>).
///
/// Its modification time is the time of the last sweep. If that sweep left work, its last line says so.
pub const CACHE_TAG: &str = "CACHEDIR.TAG";
const CACHE_TAG_TEXT: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# Tokens cached by ycred. Safe to delete.\n";
const UNFINISHED: &str = "# The last sweep left work.\n";
/// The line before that one, with the position in the directory. Older versions ignore it.
const POSITION: &str = "# The next sweep begins at position ";

const HOUR: i64 = 3_600_000;
/// How old a dead identity is, at least: no attempt has ended since then.
pub const DEAD_AGE: Duration = Duration::from_secs(3600);
/// How long after a sweep that has finished the next one runs, in milliseconds.
const PAUSE: i64 = HOUR;
/// The same after a sweep that has left work.
const SHORT_PAUSE: i64 = 30_000;
/// A directory with more files is swept after the short pause, because in an hour it may get thousands of dead ones.
const FEW_FILES: usize = 500;
/// How many locks each identity in use may keep, beside its record.
const LOCKS_KEPT: usize = 2;
/// The limits of one sweep, because a user waits for it.
const MAX_REMOVED: usize = 64;
const MAX_TIME: Duration = Duration::from_millis(20);
/// How much of that time may be used to list names. The next sweep lists the other names.
const MAX_LIST_TIME: Duration = Duration::from_millis(8);
/// Even a slow sweep makes progress.
const MIN_LISTED: usize = 256;
const MIN_EXAMINED: usize = 16;

/// The files of each identity in a directory, by the name of its record without extension.
pub type Identities = BTreeMap<String, Vec<String>>;

/// Removes dead identities, temporary files older than an hour, and foreign objects that were moved away more than a day
/// ago. Does nothing soon after another sweep.
///
/// Lists a large directory in parts: each sweep begins where the last one has ended.
///
/// `is_dead` gets the content of a record that has not changed for [`DEAD_AGE`], and its age in milliseconds. `before_removal`
/// gets the content of a dead record, in this process's turn to replace records, and may keep it.
pub fn sweep(
    directory: &Path,
    clock: &dyn Clock,
    is_dead: impl Fn(&[u8], i64) -> bool,
    before_removal: impl Fn(&[u8]) -> bool,
) {
    let (now, began) = (clock.now(), clock.elapsed());
    let tag = directory.join(CACHE_TAG);
    let age = fs::symlink_metadata(&tag).map_or(i64::MAX, |metadata| age_of(&metadata, now).saturating_abs());
    if age < SHORT_PAUSE {
        return;
    }
    let last = LastSweep::of(&tag);
    if age < PAUSE && !last.is_unfinished {
        return;
    }
    // Update the tag first, so that other processes skip the sweep.
    if store::replace(&tag, CACHE_TAG_TEXT.as_bytes(), false).is_err() {
        return;
    }
    let is_late = |limit| clock.elapsed().saturating_sub(began) >= limit;
    let listed = store::names_from(directory, last.position, |count| {
        count < MIN_LISTED || count % 64 != 0 || !is_late(MAX_LIST_TIME)
    });
    let Ok(NameList { names, next }) = listed else { return };
    let is_whole = last.position.is_none() && next.is_none();
    let is_small = is_whole && names.len() <= FEW_FILES;
    let (leftovers, files): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| store::is_leftover_name(name));
    let mut removed = 0;
    for name in leftovers.iter().take(MAX_REMOVED) {
        removed += usize::from(remove_leftover(&directory.join(name), name, now));
    }
    turn::remove_old_files(directory, now, HOUR);
    // Begin at a random one, so that the same ones are not left out each time.
    let mut identities: Vec<_> = identities(files).into_iter().collect();
    let middle = random::below(identities.len().max(1));
    identities.rotate_left(middle);
    let (mut has_examined_all, mut is_any_locked) = (true, false);
    for (examined, (record, mut locks)) in identities.into_iter().enumerate() {
        if removed >= MAX_REMOVED || (examined >= MIN_EXAMINED && is_late(MAX_TIME)) {
            has_examined_all = false;
            break;
        }
        if !is_whole {
            // Locks of this identity may be in another part of the list. These are the usual ones.
            locks.extend([LOCK, RELIEF_LOCK].map(|extension| format!("{record}{extension}")));
            locks.sort();
            locks.dedup();
        }
        match remove_dead(directory, &record, &locks, now, &is_dead, &before_removal) {
            Some(Removal::Removed(_)) => removed += 1,
            Some(Removal::Locked) => is_any_locked = true,
            Some(Removal::Kept) | None => removed += remove_further_locks(directory, &record, &locks),
        }
    }
    let is_finished = is_small && has_examined_all && !is_any_locked && removed < MAX_REMOVED;
    if !is_finished {
        let position = next.map_or_else(String::new, |next| format!("{POSITION}{next}\n"));
        let _ = store::replace(&tag, format!("{CACHE_TAG_TEXT}{position}{UNFINISHED}").as_bytes(), false);
    }
}

/// What the last sweep has written into the tag.
#[derive(Default)]
struct LastSweep {
    is_unfinished: bool,
    /// Where to go on.
    position: Option<i64>,
}

impl LastSweep {
    fn of(tag: &Path) -> Self {
        let Ok(FileState::Content(content)) = store::read(tag) else { return Self::default() };
        let text = String::from_utf8_lossy(&content);
        let position = |line: &str| line.strip_prefix(POSITION)?.parse().ok();
        Self { is_unfinished: text.ends_with(UNFINISHED), position: text.lines().find_map(position) }
    }
}

fn age_of(metadata: &fs::Metadata, now: Timestamp) -> i64 {
    now.since(store::modified(metadata))
}

/// Removes a temporary file or a foreign object if it is old enough. Returns true if it was removed.
fn remove_leftover(path: &Path, name: &str, now: Timestamp) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    let limit = if name.starts_with(store::TEMPORARY) { HOUR } else { 24 * HOUR };
    if age_of(&metadata, now) <= limit {
        return false;
    }
    match metadata.is_dir() {
        // Of a process that was killed while it ended the turn of a stopped one.
        true if name.starts_with(store::TEMPORARY) => {
            store::remove_working_directory(path);
            true
        }
        true => fs::remove_dir(path).is_ok(),
        false => fs::remove_file(path).is_ok(),
    }
}

/// Groups the names of records and locks by identity. Ignores other names.
pub fn identities(names: Vec<String>) -> Identities {
    let mut identities = Identities::new();
    for name in names.into_iter().filter(|name| !store::is_leftover_name(name)) {
        let Some((record, _)) = name.split_once('.') else { continue };
        if name.ends_with(LOCK) {
            identities.entry(record.to_owned()).or_default().push(name);
        } else if name.ends_with(RECORD) {
            identities.entry(record.to_owned()).or_default();
        }
    }
    identities
}

/// Removes an identity if it is dead and no process is using it. `None` if it is not dead or cannot be removed.
fn remove_dead(
    directory: &Path,
    record: &str,
    locks: &[String],
    now: Timestamp,
    is_dead: &impl Fn(&[u8], i64) -> bool,
    before_removal: &impl Fn(&[u8]) -> bool,
) -> Option<Removal> {
    let path = directory.join(format!("{record}{RECORD}"));
    let age = |path: &Path| fs::symlink_metadata(path).ok().map(|metadata| age_of(&metadata, now));
    let is_old = |age: i64| age > millis(DEAD_AGE);
    let has_record = match age(&path) {
        // One stat for each identity in use.
        Some(age) if !is_old(age) => return None,
        Some(_) => true,
        None => false,
    };
    if !has_record && !locks.iter().all(|lock| age(&directory.join(lock)).is_none_or(is_old)) {
        return None;
    }
    let is_dead = |content: Option<&[u8]>| match content {
        None => true,
        Some(content) => age(&path).is_some_and(|age| is_old(age) && is_dead(content, age)),
    };
    // Before any lock is taken, so that a valid identity costs no more.
    match store::read(&path) {
        Ok(FileState::Content(content)) if !is_dead(Some(&content)) => return None,
        Ok(FileState::Foreign) | Err(_) => return None,
        Ok(FileState::Content(_) | FileState::Nothing) => {}
    }
    remove(directory, record, locks, None, |content| is_dead(content) && content.is_none_or(before_removal)).ok()
}

/// Removes locks of an identity in use that no process holds, unless it has few. Each proxy and each combination of
/// certificates that its processes have used has left one. Returns how many were removed.
fn remove_further_locks(directory: &Path, record: &str, locks: &[String]) -> usize {
    if locks.len() <= LOCKS_KEPT || !system::files::CAN_REMOVE_LOCKS {
        return 0;
    }
    let is_usual = |name: &str| name.strip_prefix(record).is_some_and(|rest| [LOCK, RELIEF_LOCK].contains(&rest));
    let further = locks.iter().filter(|name| !is_usual(name)).map(|name| directory.join(name)).take(MAX_REMOVED);
    let is_removed = |path: &Path| matches!(try_lock_existing(path), Lock::Held(_guard) if store::remove(path).is_ok());
    further.filter(|path| is_removed(path)).count()
}

/// The result of [`remove`].
pub enum Removal {
    /// The content of the removed record, if there was one.
    Removed(Option<Zeroizing<Vec<u8>>>),
    /// A process is using the identity or has the turn, or locking does not work here.
    Locked,
    /// `may_remove` was false, or the record is a foreign object.
    Kept,
}

/// Removes the record and then the locks of an identity, if this process can take each of its locks at once. Takes the turn
/// for that, unless the caller has it. Removes nothing if it has lost the turn.
///
/// `may_remove` gets the record's content, which cannot change any more.
///
/// # Errors
/// A file cannot be read or removed.
pub fn remove(
    directory: &Path,
    record: &str,
    locks: &[String],
    turn: Option<&TurnGuard>,
    may_remove: impl Fn(Option<&[u8]>) -> bool,
) -> io::Result<Removal> {
    let mut held = Vec::with_capacity(locks.len());
    for name in locks {
        match try_lock_existing(&directory.join(name)) {
            Lock::Held(guard) => held.push((name, guard)),
            Lock::Impossible(error) if error.kind() == io::ErrorKind::NotFound => {}
            Lock::Busy | Lock::Impossible(_) => return Ok(Removal::Locked),
        }
    }
    // A process that was not there when the names were listed may be replacing the record.
    let own = if turn.is_none() { TurnGuard::try_new(directory) } else { None };
    let Some(turn) = turn.or(own.as_ref()) else { return Ok(Removal::Locked) };
    let path = directory.join(format!("{record}{RECORD}"));
    let content = match store::read(&path)? {
        FileState::Content(content) => Some(content),
        FileState::Nothing => None,
        FileState::Foreign => return Ok(Removal::Kept),
    };
    if !may_remove(content.as_ref().map(|content| content.as_slice())) {
        return Ok(Removal::Kept);
    }
    // This process may have been stopped since it has read the record. Then another one may have replaced it.
    if content.is_some() && !turn.remove(&path)? {
        return Ok(Removal::Locked);
    }
    if system::files::CAN_REMOVE_LOCKS {
        for (name, _guard) in &held {
            store::remove(&directory.join(name))?;
        }
    }
    Ok(Removal::Removed(content))
}

#[cfg(test)]
#[allow(clippy::disallowed_types, reason = "the tests set up files")]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::base::clock::tests::FixedClock;
    use crate::disk::lock::try_lock;

    /// Far enough ahead that all files of a test are old.
    const LATER: Timestamp = Timestamp(4_000_000_000_000);

    fn clock() -> FixedClock {
        FixedClock::at(LATER)
    }

    fn left(directory: &Path) -> Vec<String> {
        let mut names = store::names(directory).expect("readable");
        names.retain(|name| name != turn::PLACE);
        names.sort();
        names
    }

    fn is_dead(content: &[u8], _: i64) -> bool {
        content == b"dead"
    }

    #[test]
    fn the_sweep_removes_dead_identities_with_their_locks_and_old_temporary_files() {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, content) in [
            ("tmp-1", "dead"),
            ("set-aside-x.json", "dead"),
            ("01.json", "dead"),
            ("01.lock", ""),
            ("01.relief.lock", ""),
            ("01.3f1c.lock", ""),
            ("02.json", "valid"),
            ("02.lock", ""),
            ("03.lock", "of a record that is gone"),
            ("note.txt", ""),
        ] {
            fs::write(dir.path().join(name), content).expect("written");
        }
        sweep(dir.path(), &clock(), is_dead, |_| true);
        assert_eq!(left(dir.path()), ["02.json", "02.lock", "CACHEDIR.TAG", "note.txt"]);
    }

    #[test]
    fn an_identity_in_use_is_kept_with_all_of_its_files() {
        for held in ["01.lock", "01.relief.lock", "01.3f1c.lock"] {
            let dir = tempfile::tempdir().expect("a directory");
            let files = ["01.3f1c.lock", "01.json", "01.lock", "01.relief.lock"];
            for name in files {
                fs::write(dir.path().join(name), "dead").expect("written");
            }
            let guard = try_lock(&dir.path().join(held));
            sweep(dir.path(), &clock(), is_dead, |_| true);
            assert_eq!(left(dir.path())[..4], files, "{held}");
            drop(guard);
            fs::remove_file(dir.path().join(CACHE_TAG)).expect("a tag");
            sweep(dir.path(), &clock(), is_dead, |_| true);
            assert_eq!(left(dir.path()), [CACHE_TAG], "{held}");
        }
    }

    #[test]
    fn the_further_locks_of_an_identity_in_use_are_removed_unless_a_process_holds_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str| fs::write(dir.path().join(name), "valid").expect("written");
        let usual = ["01.json", "01.lock", "01.relief.lock", "02.9b2d.lock", "02.9b2d.relief.lock", "02.json"];
        usual.iter().for_each(|name| write(name));
        (0..40).for_each(|number| write(&format!("01.{number:02x}.lock")));
        let held = try_lock(&dir.path().join("01.07.lock"));
        sweep(dir.path(), &clock(), is_dead, |_| true);
        assert_eq!(left(dir.path()), [&["01.07.lock"][..], &usual, &[CACHE_TAG]].concat());
        drop(held);
        fs::remove_file(dir.path().join(CACHE_TAG)).expect("a tag");
        sweep(dir.path(), &clock(), is_dead, |_| true);
        assert_eq!(left(dir.path()), [&usual[..], &[CACHE_TAG]].concat());
    }

    #[test]
    fn the_further_locks_in_a_part_of_a_large_directory_are_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: String| fs::write(dir.path().join(name), "valid").expect("written");
        write("01.json".into());
        write("01.3f1c.lock".into());
        // The end of the directory, as far as this sweep knows. It sees these two only.
        fs::write(dir.path().join(CACHE_TAG), format!("{CACHE_TAG_TEXT}{POSITION}0\n{UNFINISHED}")).expect("written");
        sweep(dir.path(), &clock(), is_dead, |_| true);
        assert_eq!(left(dir.path()), ["01.json", CACHE_TAG]);
    }

    #[test]
    fn a_sweep_that_does_not_get_the_turn_leaves_work() {
        let dir = tempfile::tempdir().expect("a directory");
        let tag = dir.path().join(CACHE_TAG);
        fs::write(dir.path().join("01.json"), "dead").expect("written");
        let guard = turn::try_turn(dir.path());
        assert!(matches!(guard, Lock::Held(_)));
        sweep(dir.path(), &clock(), is_dead, |_| true);
        assert_eq!(left(dir.path()), ["01.json", CACHE_TAG]);
        assert!(LastSweep::of(&tag).is_unfinished, "the next one would wait for an hour");
        drop(guard);
        sweep(dir.path(), &clock(), is_dead, |_| true);
        assert_eq!(left(dir.path()), [CACHE_TAG]);
        assert!(!LastSweep::of(&tag).is_unfinished);
    }

    #[test]
    fn what_must_happen_before_a_removal_happens_in_the_turn_of_the_sweep_and_for_dead_records_only() {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, content) in [("01.json", "dead"), ("02.json", "valid"), ("03.json", "dead")] {
            fs::write(dir.path().join(name), content).expect("written");
        }
        let (_guard, seen) = (try_lock(&dir.path().join("03.lock")), Mutex::new(Vec::new()));
        sweep(dir.path(), &clock(), is_dead, |content| {
            assert!(matches!(turn::try_turn(dir.path()), Lock::Busy));
            seen.lock().expect("no panic").push(content.to_vec());
            true
        });
        assert_eq!(seen.into_inner().expect("no panic"), [b"dead"]);
        assert_eq!(left(dir.path()), ["02.json", "03.json", "03.lock", CACHE_TAG]);
    }

    #[cfg(unix)]
    #[test]
    fn a_sweep_that_is_stopped_and_loses_its_turn_removes_nothing() {
        use crate::disk::turn::{Turn, TurnPatience};
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["01.json", "01.lock"] {
            fs::write(dir.path().join(name), "dead").expect("written");
        }
        let patience = TurnPatience { in_all: Duration::from_secs(1), with_one: Duration::from_millis(100) };
        // It has read the dead record, and is stopped. Another process replaces it.
        sweep(dir.path(), &clock(), is_dead, |_| {
            let mut next = Turn::wait(dir.path(), patience, &clock()).unwrap_or_else(|_| panic!("busy"));
            next.replace(&dir.path().join("01.json"), b"logged out").expect("written")
        });
        assert_eq!(left(dir.path()), ["01.json", "01.lock", CACHE_TAG]);
        assert_eq!(fs::read(dir.path().join("01.json")).expect("readable"), b"logged out");
        assert!(LastSweep::of(&dir.path().join(CACHE_TAG)).is_unfinished);
    }

    #[test]
    fn a_record_that_changes_before_its_removal_is_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("01.json"), "dead").expect("written");
        // Another process stores a result between the two looks.
        let looks = Mutex::new(0);
        let is_dead = |_: &[u8], _| {
            *looks.lock().expect("no panic") += 1;
            *looks.lock().expect("no panic") == 1
        };
        sweep(dir.path(), &clock(), is_dead, |_| true);
        assert_eq!(left(dir.path()), ["01.json", CACHE_TAG]);
        assert_eq!(*looks.lock().expect("no panic"), 2);
    }

    #[test]
    fn the_sweep_runs_hourly_and_soon_again_while_it_leaves_work() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |count: usize| {
            for number in 0..count {
                fs::write(dir.path().join(format!("{number:04x}.json")), "dead").expect("written");
            }
        };
        let tag = |age: i64| {
            let metadata = fs::metadata(dir.path().join(CACHE_TAG)).expect("a tag");
            FixedClock::at(store::modified(&metadata).shifted(age))
        };
        let records = || left(dir.path()).len() - 1;
        sweep(dir.path(), &clock(), is_dead, |_| true);
        write(1);
        sweep(dir.path(), &tag(HOUR - 1), is_dead, |_| true);
        assert_eq!(records(), 1, "finished less than an hour ago");
        // A second more, so that the record counts as old even if the clock of the file system is coarse.
        sweep(dir.path(), &tag(HOUR + 1000), is_dead, |_| true);
        assert_eq!(records(), 0);
        write(3 * MAX_REMOVED);
        fs::remove_file(dir.path().join(CACHE_TAG)).expect("a tag");
        sweep(dir.path(), &clock(), is_dead, |_| true);
        assert_eq!(records(), 2 * MAX_REMOVED, "one sweep removes so many");
        assert!(LastSweep::of(&dir.path().join(CACHE_TAG)).is_unfinished);
        sweep(dir.path(), &tag(SHORT_PAUSE - 1), is_dead, |_| true);
        assert_eq!(records(), 2 * MAX_REMOVED, "too soon");
        for name in left(dir.path()).iter().filter(|name| name.ends_with(RECORD)) {
            let file = fs::File::options().write(true).open(dir.path().join(name)).expect("a record");
            file.set_modified(std::time::UNIX_EPOCH).expect("an old record");
        }
        sweep(dir.path(), &tag(SHORT_PAUSE + 1000), is_dead, |_| true);
        assert_eq!(records(), MAX_REMOVED);
    }

    /// A clock that takes a fixed time for each look at it.
    struct SlowClock(FixedClock, Duration);

    impl Clock for SlowClock {
        fn now(&self) -> Timestamp {
            self.0.now()
        }
        fn elapsed(&self) -> Duration {
            self.0.advance(self.1);
            self.0.elapsed()
        }
        fn sleep(&self, length: Duration) {
            self.0.sleep(length);
        }
    }

    #[test]
    fn the_sweep_stops_when_its_time_is_over() {
        let dir = tempfile::tempdir().expect("a directory");
        for number in 0..50 {
            fs::write(dir.path().join(format!("{number:02x}.json")), "dead").expect("written");
        }
        sweep(dir.path(), &SlowClock(clock(), Duration::from_millis(1)), is_dead, |_| true);
        assert_eq!(left(dir.path()).len(), 1 + 50 - 16 - 19, "nineteen looks fit into twenty milliseconds");
        assert!(LastSweep::of(&dir.path().join(CACHE_TAG)).is_unfinished);
    }

    #[test]
    fn a_large_directory_is_swept_in_parts_and_soon_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let tag = dir.path().join(CACHE_TAG);
        for number in 0..1000 {
            let content = if number % 100 == 0 { "dead" } else { "valid" };
            fs::write(dir.path().join(format!("{number:04x}.json")), content).expect("written");
            fs::write(dir.path().join(format!("{number:04x}.lock")), "").expect("written");
        }
        let files_of_dead = || {
            left(dir.path())
                .iter()
                .filter(|name| {
                    let number = name.split_once('.').and_then(|(number, _)| usize::from_str_radix(number, 16).ok());
                    number.is_some_and(|number| number % 100 == 0)
                })
                .count()
        };
        assert_eq!(files_of_dead(), 20);
        // So slow that each sweep lists 256 names and examines 17 identities.
        let mut positions = Vec::new();
        let mut sweeps = 0;
        while files_of_dead() > 0 {
            let slow = SlowClock(clock(), Duration::from_millis(8));
            sweep(dir.path(), &slow, is_dead, |_| true);
            let last = LastSweep::of(&tag);
            assert!(last.is_unfinished);
            positions.push(last.position);
            sweeps += 1;
            assert!(sweeps < 10_000, "{} files of dead identities are left", files_of_dead());
            // The clock is always far ahead of the tag.
        }
        assert!(sweeps > 1 && positions.iter().any(Option::is_some) && positions.contains(&None), "{positions:?}");
        assert_eq!(left(dir.path()).len(), 1 + 2 * 990, "the valid ones are kept with their locks");
        // Even a sweep that has examined all of it leaves work for the next minute.
        fs::remove_file(&tag).expect("a tag");
        sweep(dir.path(), &clock(), is_dead, |_| true);
        assert!(LastSweep::of(&tag).is_unfinished);
    }

    #[test]
    fn an_identity_whose_files_are_in_two_parts_of_the_list_is_kept_while_it_is_in_use() {
        let dir = tempfile::tempdir().expect("a directory");
        let held = try_lock(&dir.path().join("01.lock"));
        fs::write(dir.path().join("01.json"), "dead").expect("written");
        // The end of the directory, as far as this sweep knows: its own lock is not in the list.
        fs::write(dir.path().join(CACHE_TAG), format!("{CACHE_TAG_TEXT}{POSITION}0\n{UNFINISHED}")).expect("written");
        sweep(dir.path(), &clock(), is_dead, |_| true);
        assert!(dir.path().join("01.json").exists() && dir.path().join("01.lock").exists());
        drop(held);
        sweep(dir.path(), &clock(), is_dead, |_| true);
        assert_eq!(left(dir.path()), [CACHE_TAG]);
    }

    #[test]
    fn a_position_of_another_directory_or_version_does_no_harm() {
        for position in ["-1", "123456789", "9223372036854775807", "soon", ""] {
            let dir = tempfile::tempdir().expect("a directory");
            fs::write(dir.path().join("01.json"), "dead").expect("written");
            fs::write(dir.path().join(CACHE_TAG), format!("{CACHE_TAG_TEXT}{POSITION}{position}\n{UNFINISHED}"))
                .expect("written");
            for _ in 0..2 {
                sweep(dir.path(), &clock(), is_dead, |_| true);
            }
            assert_eq!(left(dir.path()), [CACHE_TAG], "{position}");
        }
    }
}
