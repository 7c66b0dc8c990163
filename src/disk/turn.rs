//! The turn to replace records: one process at a time, even if the one before it is stopped in the middle of that.
//!
//! A process reads a record, compares it with its own result and replaces it. No other process may replace it in between. So
//! it first locks a small directory, in which it then prepares the new content. If it is stopped there, the next process removes
//! that file and directory and makes a new one. Whenever the stopped process goes on, the file that it wants to rename is gone:
//! it has lost its turn, and must read the record again.
#![expect(clippy::disallowed_methods, reason = "files that ycred owns, as in disk/store.rs")]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::clock::{Clock, Deadline, Timestamp};
use crate::base::random;
use crate::disk::lock::{Lock, LockGuard, try_lock, try_lock_directory, try_share_directory, wait_for_lock};
use crate::disk::store;
use crate::system;

/// The directory in which a process prepares a record. Its lock is the turn. Where a directory cannot be locked, it is a file, and
/// no process can lose its turn.
pub(super) const PLACE: &str = "storing";

/// How often to open the directory if other processes replace it at the same time.
const OPEN_MAX: u32 = 3;

/// How long to wait for a turn.
#[derive(Clone, Copy, Debug)]
pub struct TurnPatience {
    /// In all. A turn takes less than a millisecond, but hundreds of processes may want theirs at the same moment.
    pub in_all: Duration,
    /// For one process. If it has not finished after this time, it is probably stopped, and loses its turn. A process that
    /// was only slow then tries again.
    pub with_one: Duration,
}

impl TurnPatience {
    /// For records that matter less.
    pub const SHORT: Self = Self { in_all: Duration::from_millis(400), with_one: Duration::from_millis(100) };
}

/// The right to replace a record.
pub struct Turn {
    place: PathBuf,
    prepared: Prepared,
    /// `None` where locks do not work: others may replace the same record at the same time.
    guard: Option<TurnGuard>,
    /// The lock that an older ycred takes before it replaces a record: that of the directory of the records itself. `None` if an
    /// older ycred has it. Shared, so a process of this version that is stopped in its turn keeps it from older ones only.
    older_lock: Option<LockGuard>,
}

/// The lock of a turn.
pub struct TurnGuard(LockGuard);

/// Where the content is written before it replaces a record.
enum Prepared {
    File(PathBuf, File),
    Impossible(io::Error),
    /// In the directory of the records itself.
    Elsewhere,
    Nothing,
}

/// Another process has held the turn for too long, and cannot be deprived of it.
pub struct TurnBusy;

impl Turn {
    /// Waits for the turn of this process to replace a record in `directory`.
    ///
    /// # Errors
    /// It was the turn of other processes until the end of the time.
    pub fn wait(directory: &Path, patience: TurnPatience, clock: &dyn Clock) -> Result<Turn, TurnBusy> {
        let deadline = Deadline::after(clock, patience.in_all);
        for _ in 0..OPEN_MAX {
            let guard = match wait_until(directory, &deadline, patience.with_one, clock) {
                Lock::Held(guard) => Some(TurnGuard(guard)),
                Lock::Impossible(_) => None,
                Lock::Busy => return Err(TurnBusy),
            };
            // Once, without waiting: an older ycred that is stopped may hold it.
            let older_lock = match guard.as_ref().filter(|_| system::files::CAN_LOCK_DIRECTORIES) {
                Some(_) => try_share_directory(directory).held(),
                None => None,
            };
            let mut turn = Turn { place: directory.join(PLACE), prepared: Prepared::Nothing, guard, older_lock };
            if turn.prepare() {
                return Ok(turn);
            }
        }
        Err(TurnBusy)
    }

    /// Creates the file for the next content. Returns false if this process has lost its turn.
    fn prepare(&mut self) -> bool {
        let Some(guard) = self.guard.as_ref().filter(|_| system::files::CAN_LOCK_DIRECTORIES) else {
            self.prepared = Prepared::Elsewhere;
            return true;
        };
        let path = self.place.join(format!("{}{}", store::TEMPORARY, random::id()));
        let created = system::files::create_private(&path).or_else(|error| {
            // Somebody has changed the mode of the directory.
            let is_private = error.kind() == ErrorKind::PermissionDenied && make_usable(&self.place).is_ok();
            if is_private { system::files::create_private(&path) } else { Err(error) }
        });
        self.prepared = match created {
            Ok(file) => Prepared::File(path, file),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Prepared::Elsewhere,
            Err(error) => Prepared::Impossible(error),
        };
        // Otherwise the file is in the directory of the next process, which nobody would move away.
        guard.0.is_at(&self.place)
    }

    /// Returns true if no other process can replace a record at the same time.
    pub fn is_exclusive(&self) -> bool {
        self.guard.is_some()
    }

    /// Returns true if that is so for an older ycred as well.
    pub fn excludes_all(&self) -> bool {
        self.guard.is_some() && (self.older_lock.is_some() || !system::files::CAN_LOCK_DIRECTORIES)
    }

    /// Removes what killed processes have prepared.
    pub fn remove_other_files(&self) {
        if self.guard.is_some() && system::files::CAN_LOCK_DIRECTORIES {
            let own = match &self.prepared {
                Prepared::File(path, _) => Some(path.as_path()),
                Prepared::Impossible(_) | Prepared::Elsewhere | Prepared::Nothing => None,
            };
            remove_files_except(own, &self.place);
        }
    }

    /// Replaces the record at `path`. Returns false, and replaces nothing, if this process has lost its turn.
    ///
    /// # Errors
    /// The file cannot be written. The old content is then still there.
    pub fn replace(&mut self, path: &Path, content: &[u8]) -> io::Result<bool> {
        if matches!(self.prepared, Prepared::Nothing) && !self.prepare() {
            return Ok(false);
        }
        match std::mem::replace(&mut self.prepared, Prepared::Nothing) {
            Prepared::Nothing => Ok(false),
            Prepared::Elsewhere => store::replace(path, content, false).map(|()| true),
            Prepared::Impossible(error) => Err(error),
            Prepared::File(temporary, mut file) => {
                system::signals::ignore_file_size_signal();
                let replaced = file.write_all(content).and_then(|()| store::put_in_place(&temporary, path, false));
                match replaced {
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                    Err(error) => {
                        self.prepared = Prepared::File(temporary, file);
                        Err(error)
                    }
                    Ok(()) => Ok(true),
                }
            }
        }
    }
}

impl TurnGuard {
    /// Tries once to take the turn, for a process that removes records.
    pub fn try_new(directory: &Path) -> Option<Self> {
        try_turn(directory).held().map(Self)
    }

    /// Removes the record at `path`. Returns false, and removes nothing, if this process has lost its turn.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(&self, path: &Path) -> io::Result<bool> {
        if !system::files::CAN_LOCK_DIRECTORIES {
            return store::remove(path).map(|()| true);
        }
        // Into the directory that this process has locked, wherever that is by now, and from there. Once it is gone, nothing can be
        // moved into it.
        match self.0.move_into_and_remove(path, &format!("{}{}", store::TEMPORARY, random::id())) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            removed => removed.map(|()| true),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Prepared::File(path, _) = &self.prepared {
            // Best effort: a sweep removes it otherwise.
            let _ = fs::remove_file(path);
        }
    }
}

/// Tries once to take the turn, for a process that replaces nothing.
pub fn try_turn(directory: &Path) -> Lock {
    // The directory of another user gets no files, and nobody creates one that a user has removed.
    match fs::metadata(directory).and_then(|_| store::refuse_foreign_directory(directory)) {
        Ok(()) => {}
        Err(error) => return Lock::Impossible(error),
    }
    let place = directory.join(PLACE);
    if !system::files::CAN_LOCK_DIRECTORIES {
        return try_lock(&place);
    }
    for _ in 0..OPEN_MAX {
        match try_lock_directory(&place) {
            Lock::Held(guard) if guard.is_at(&place) => return Lock::Held(guard),
            // Another process has moved it away after it was opened.
            Lock::Held(_) => {}
            Lock::Impossible(error) if error.kind() == ErrorKind::NotFound => {
                if let Err(error) = system::files::create_private_directories(&place) {
                    return Lock::Impossible(error);
                }
            }
            Lock::Impossible(error) if error.kind() == ErrorKind::PermissionDenied => {
                if make_usable(&place).is_err() {
                    return Lock::Impossible(error);
                }
            }
            lock => return lock,
        }
    }
    Lock::Impossible(io::Error::other(format!("{} is replaced again and again", place.display())))
}

/// Makes the directory usable for its owner again: somebody may have changed its mode, or restored it from a backup.
fn make_usable(place: &Path) -> io::Result<()> {
    store::refuse_foreign_directory(place)?;
    system::files::make_directory_private(place)
}

/// Waits for the turn. A process that has it and makes no progress loses it.
pub fn wait_for_turn(directory: &Path, patience: TurnPatience, clock: &dyn Clock) -> Lock {
    wait_until(directory, &Deadline::after(clock, patience.in_all), patience.with_one, clock)
}

fn wait_until(directory: &Path, deadline: &Deadline, with_one: Duration, clock: &dyn Clock) -> Lock {
    let mut watched = None;
    wait_for_lock(deadline, clock, || {
        let lock = try_turn(directory);
        if !matches!(lock, Lock::Busy) || !system::files::CAN_LOCK_DIRECTORIES {
            return lock;
        }
        let now = progress(directory);
        match &watched {
            Some((then, since)) if *then == now => {
                if clock.elapsed().saturating_sub(*since) < with_one {
                    return lock;
                }
                watched = None;
                end_turn(directory);
                try_turn(directory)
            }
            _ => {
                watched = Some((now, clock.elapsed()));
                lock
            }
        }
    })
}

/// Returns what changes with each turn: each creates a file and renames it.
fn progress(directory: &Path) -> Option<((u64, u64), i64)> {
    let metadata = fs::symlink_metadata(directory.join(PLACE)).ok()?;
    Some((system::files::identity(&metadata), system::files::modified_nanos(&metadata)))
}

/// Ends the turn of a stopped process: removes what it has prepared and the directory that it has locked.
///
/// Each of the two steps ends a turn at once: without the file, it replaces nothing, and without the directory, it removes
/// nothing. So the turn has not ended halfway if this process is killed in between.
fn end_turn(directory: &Path) {
    let place = directory.join(PLACE);
    for _ in 0..OPEN_MAX {
        remove_files(directory);
        match fs::remove_dir(&place) {
            // It has prepared another file since.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            // Another process has ended the turn.
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(_) => break,
            Ok(()) => return,
        }
    }
    // Its files cannot be removed, because somebody has changed its mode or put a directory into it.
    let aside = directory.join(format!("{}{}", store::TEMPORARY, random::id()));
    if system::files::rename(&place, &aside, false).is_ok() {
        store::remove_working_directory(&aside);
    }
}

/// Removes what killed processes have prepared, if it is older than `age` in milliseconds.
pub(super) fn remove_old_files(directory: &Path, now: Timestamp, age: i64) {
    let place = directory.join(PLACE);
    for name in store::names(&place).unwrap_or_default() {
        let path = place.join(name);
        let modified = fs::symlink_metadata(&path).map(|metadata| store::modified(&metadata));
        if modified.is_ok_and(|modified| now.since(modified) > age) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes what killed processes have prepared. Call it only with the turn.
pub fn remove_files(directory: &Path) {
    remove_files_except(None, &directory.join(PLACE));
}

fn remove_files_except(kept: Option<&Path>, place: &Path) {
    for path in store::names(place).unwrap_or_default().into_iter().map(|name| place.join(name)) {
        if kept != Some(path.as_path()) {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
#[allow(clippy::disallowed_types, reason = "the tests set up files")]
mod tests {
    use super::*;
    use crate::base::clock::tests::FixedClock;

    const PATIENCE: TurnPatience =
        TurnPatience { in_all: Duration::from_secs(1), with_one: Duration::from_millis(100) };

    fn clock() -> FixedClock {
        FixedClock::at(Timestamp(1_795_000_000_000))
    }

    fn turn(directory: &Path) -> Turn {
        Turn::wait(directory, PATIENCE, &clock()).unwrap_or_else(|TurnBusy| panic!("busy"))
    }

    fn names(directory: &Path) -> Vec<String> {
        store::names(directory).expect("readable")
    }

    #[test]
    fn a_process_that_is_stopped_in_its_turn_loses_it_and_replaces_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("01.json");
        let mut stopped = turn(dir.path());
        assert!(stopped.is_exclusive() && matches!(try_turn(dir.path()), Lock::Busy));
        let clock = clock();
        let mut next = Turn::wait(dir.path(), PATIENCE, &clock).unwrap_or_else(|TurnBusy| panic!("busy"));
        let waited = clock.elapsed();
        assert!(waited >= PATIENCE.with_one && waited < 3 * PATIENCE.with_one, "{waited:?}");
        assert!(next.is_exclusive() && next.replace(&path, b"next").expect("written"));
        assert!(!stopped.replace(&path, b"stopped").expect("no error"), "it has lost its turn");
        assert_eq!(fs::read(&path).expect("readable"), b"next");
        drop((stopped, next));
        assert!(turn(dir.path()).replace(&path, b"later").expect("written"));
        assert_eq!(fs::read(&path).expect("readable"), b"later");
        assert_eq!(names(dir.path()).len(), 2, "the record and the directory");
        assert!(names(&dir.path().join(PLACE)).is_empty());
    }

    #[test]
    fn a_process_that_is_stopped_in_its_turn_loses_it_and_removes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("01.json");
        fs::write(&path, "old").expect("written");
        let stopped = TurnGuard::try_new(dir.path()).expect("nobody else");
        let mut next = turn(dir.path());
        assert!(next.replace(&path, b"next").expect("written"));
        assert!(!stopped.remove(&path).expect("no error"), "it has lost its turn");
        drop(next);
        assert!(!stopped.remove(&path).expect("no error"));
        assert_eq!(fs::read(&path).expect("readable"), b"next");
        let later = TurnGuard::try_new(dir.path()).expect("nobody else");
        assert!(later.remove(&path).expect("removed") && !path.exists());
        assert!(!later.remove(&path).expect("no error"), "there is nothing to remove");
        assert!(names(&dir.path().join(PLACE)).is_empty());
    }

    #[test]
    fn a_directory_whose_mode_was_changed_is_usable_again() {
        use std::os::unix::fs::PermissionsExt as _;
        for mode in [0o500, 0o000, 0o777] {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("01.json");
            drop(turn(dir.path()));
            let place = dir.path().join(PLACE);
            fs::set_permissions(&place, fs::Permissions::from_mode(mode)).expect("changed");
            let mut turn = turn(dir.path());
            assert!(turn.is_exclusive() && turn.replace(&path, b"x").expect("written"), "{mode:o}");
        }
    }

    #[test]
    fn an_older_ycred_and_this_one_exclude_each_other() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut own = turn(dir.path());
        assert!(own.excludes_all() && matches!(try_lock_directory(dir.path()), Lock::Busy));
        assert!(own.replace(&dir.path().join("01.json"), b"x").expect("written"));
        drop(own);
        let older = try_lock_directory(dir.path());
        assert!(matches!(older, Lock::Held(_)));
        // It may be stopped, and this one does not wait for it.
        let own = turn(dir.path());
        assert!(own.is_exclusive() && !own.excludes_all());
        drop((older, own));
        // A stopped process of this version has lost its turn, so it need not be excluded.
        let _stopped = turn(dir.path());
        let own = turn(dir.path());
        assert!(own.excludes_all() && matches!(try_lock_directory(dir.path()), Lock::Busy));
    }

    #[test]
    fn a_process_that_was_moved_away_between_its_lock_and_its_file_tries_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let Lock::Held(guard) = try_turn(dir.path()) else { panic!("not taken") };
        end_turn(dir.path());
        assert!(!guard.is_at(&dir.path().join(PLACE)));
        assert!(turn(dir.path()).is_exclusive());
    }

    #[test]
    fn processes_that_make_progress_keep_their_turns() {
        let dir = tempfile::tempdir().expect("a directory");
        let Lock::Held(_guard) = try_turn(dir.path()) else { panic!("not taken") };
        // Each time that the waiter looks, it is the turn of another one.
        struct Busy<'a>(FixedClock, &'a Path);
        impl Clock for Busy<'_> {
            fn now(&self) -> Timestamp {
                self.0.now()
            }
            fn elapsed(&self) -> Duration {
                self.0.elapsed()
            }
            fn sleep(&self, length: Duration) {
                self.0.sleep(length);
                let time = std::time::UNIX_EPOCH + self.0.elapsed();
                File::open(self.1.join(PLACE)).expect("opened").set_modified(time).expect("its time");
            }
        }
        let clock = Busy(clock(), dir.path());
        assert!(Turn::wait(dir.path(), PATIENCE, &clock).is_err());
        assert!(clock.elapsed() >= PATIENCE.in_all);
        assert!(matches!(try_turn(dir.path()), Lock::Busy), "the last one has kept it");
    }

    #[test]
    fn without_locks_a_record_is_replaced_without_a_turn() {
        let dir = tempfile::tempdir().expect("a directory");
        // Nothing can be locked there.
        fs::write(dir.path().join(PLACE), "").expect("written");
        let mut unlocked = turn(dir.path());
        assert!(!unlocked.is_exclusive());
        assert!(unlocked.replace(&dir.path().join("01.json"), b"x").expect("written"));
        assert_eq!(names(dir.path()).len(), 2, "no temporary file");
        let missing = dir.path().join("missing");
        assert!(matches!(try_turn(&missing), Lock::Impossible(_)) && !missing.exists(), "not created");
    }

    #[test]
    fn what_killed_processes_have_prepared_is_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join(PLACE);
        drop(turn(dir.path()));
        fs::write(place.join("tmp-killed"), "t1.x").expect("written");
        let written = store::modified(&fs::metadata(place.join("tmp-killed")).expect("its metadata"));
        remove_old_files(dir.path(), written.shifted(1000), 1000);
        assert_eq!(names(&place).len(), 1, "not old enough");
        remove_old_files(dir.path(), written.shifted(1001), 1000);
        assert!(names(&place).is_empty());
        fs::write(place.join("tmp-killed"), "t1.x").expect("written");
        remove_files(dir.path());
        assert!(names(&place).is_empty());
    }
}
