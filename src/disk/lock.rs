//! Lock files: one process at a time makes a request, and the others can read who it is.
//!
//! A lock costs a request when it fails, and never a token. So every function here gives up rather than blocks.

use std::cell::Cell;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::{Clock, Deadline, Timestamp};
use crate::base::identity::value_digest;
use crate::base::random;
use crate::disk::files;
use crate::system;

/// The result of one attempt to take a lock.
pub enum Lock {
    Held(LockGuard),
    Busy,
    /// Locking does not work here. Without a lock there may be extra requests, but no wrong results.
    Impossible(io::Error),
}

impl Lock {
    /// Returns the guard if the lock was taken.
    pub fn held(self) -> Option<LockGuard> {
        match self {
            Self::Held(guard) => Some(guard),
            Self::Busy | Self::Impossible(_) => None,
        }
    }
}

/// A lock that is released when it is dropped or when the process ends.
pub struct LockGuard {
    file: File,
    has_holder: Cell<bool>,
    /// The file to remove when the lock is released.
    removed: Option<PathBuf>,
}

/// The process that holds a lock, as it has written into the lock file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    pub pid: u32,
    /// Tells apart processes with the same number, in different containers or on different machines. `None` in the line of an
    /// older ycred, or where the system does not tell.
    #[serde(rename = "space", default, skip_serializing_if = "Option::is_none")]
    pub pid_space: Option<u64>,
    /// When it took the lock.
    pub since: Timestamp,
    /// When it will release the lock at the latest, unless it is stopped.
    pub until: Timestamp,
    /// The same in processes that fail in the same way. `None` in the line of an older ycred, or where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub likeness: Option<u64>,
}

impl LockHolder {
    /// Returns true if this process knows the holder by another number, or cannot see it.
    pub fn is_elsewhere(&self) -> bool {
        self.pid_space.is_some() && self.pid_space != pid_space()
    }

    /// Returns true if the holder has certainly ended.
    fn is_dead(&self) -> bool {
        self.pid_space.is_some() && !self.is_elsewhere() && !system::process::may_be_running(self.pid)
    }
}

/// Names a process for a message.
impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.is_elsewhere() { " of another container" } else { "" };
        write!(f, "process {}{place}", self.pid)
    }
}

/// Returns a digest of the name of this process's pid namespace, and of the machine.
fn pid_space() -> Option<u64> {
    let digest = value_digest(system::machine::pid_space()?.as_bytes());
    digest.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

impl LockGuard {
    /// Returns this guard, which will also remove the lock file at `path`. A process that has opened the file before notices
    /// that its lock has lost its name.
    #[must_use]
    pub fn removing(self, path: PathBuf) -> Self {
        let mut guard = self;
        guard.removed = Some(path).filter(|_| system::files::CAN_REMOVE_LOCKS);
        guard
    }

    /// Returns true if what this process has locked still has the name `path`.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.file.metadata().is_ok_and(|metadata| is_at(&metadata, path))
    }

    /// Moves the file at `path` into the locked directory, under this name, and removes it there.
    ///
    /// # Errors
    /// `NotFound` if there is no such file, or the directory was removed since it was locked.
    pub(super) fn move_into_and_remove(&self, path: &Path, name: &str) -> io::Result<()> {
        system::files::move_into_and_remove(path, &self.file, name)
    }

    /// Writes into the lock file which process holds it, for the messages of others. Best effort.
    pub fn write_holder(&self, since: Timestamp, until: Timestamp) {
        self.write_holder_like(since, until, None);
    }

    /// [`Self::write_holder`], for other processes to compare their [`LockHolder::likeness`].
    pub fn write_holder_like(&self, since: Timestamp, until: Timestamp, likeness: Option<u64>) {
        system::signals::ignore_file_size_signal();
        let holder = LockHolder { pid: std::process::id(), pid_space: pid_space(), since, until, likeness };
        if let Ok(content) = serde_json::to_vec(&holder) {
            self.has_holder.set(true);
            let mut file = &self.file;
            // A killed holder leaves its own line, which may be longer.
            let _ =
                file.rewind().and_then(|()| file.write_all(&content)).and_then(|()| file.set_len(content.len() as u64));
        }
    }

    /// Removes this process from the lock file. Best effort: a wrong line matters only until the next holder writes its
    /// own.
    ///
    /// Call this when the request is over, because on a full disk the record needs the space.
    pub fn erase_holder(&self) {
        if self.has_holder.replace(false) {
            let _ = self.file.set_len(0);
        }
    }
}

impl Drop for LockGuard {
    #[expect(clippy::disallowed_methods, reason = "a lock that few processes need is removed by its holder")]
    fn drop(&mut self) {
        if let Some(path) = &self.removed {
            // Best effort: a sweep removes it otherwise.
            let _ = fs::remove_file(path);
        }
        self.erase_holder();
    }
}

/// Returns the process that the lock file at `path` names. The content outlives a holder that was killed.
pub fn recorded_holder(path: &Path) -> Option<LockHolder> {
    read_holder(&mut system::files::open_own(path).ok()?)
}

fn read_holder(file: &mut File) -> Option<LockHolder> {
    let size = file.metadata().ok().filter(|metadata| metadata.is_file())?.len();
    serde_json::from_slice(&files::read_promised(file, size.min(HOLDER_MAX)).ok()?).ok()
}

/// Returns the process that holds the lock at `path`, if it has written itself into the file.
///
/// Tries the lock for that, so only for a process that does not hold it.
pub fn lock_holder(path: &Path) -> Option<LockHolder> {
    let mut file = system::files::open_own(path).ok()?;
    // A killed holder leaves its line.
    let holder = read_holder(&mut file).filter(|holder| !holder.is_dead())?;
    // Closing the file releases the lock.
    matches!(lock_file(&file), Ok(false)).then_some(holder)
}

/// Writes this process into the file of a lock that a silent process holds, in that one's place.
pub fn take_over(path: &Path, since: Timestamp, until: Timestamp, likeness: u64) -> Lock {
    match system::files::open_existing_lock(path) {
        Ok(file) => {
            let guard = LockGuard { file, has_holder: Cell::new(false), removed: None };
            guard.write_holder_like(since, until, Some(likeness));
            // Stays when this process has finished: the silent one still holds the lock.
            guard.has_holder.set(false);
            Lock::Held(guard)
        }
        Err(error) => Lock::Impossible(error),
    }
}

/// The maximum size of a lock file, in bytes.
const HOLDER_MAX: u64 = 1024;

/// How often to open a lock file that another process removes at the same time.
const OPEN_MAX: u32 = 3;

/// Tries once to take the lock file at `path`, which is created if it does not exist. Never blocks.
pub fn try_lock(path: &Path) -> Lock {
    try_lock_opened(path, system::files::open_lock)
}

/// [`try_lock`], for a lock file that must exist: [`Lock::Impossible`] if it does not.
pub fn try_lock_existing(path: &Path) -> Lock {
    try_lock_opened(path, system::files::open_existing_lock)
}

/// Tries once to lock a directory itself, which needs no file. Never blocks.
pub fn try_lock_directory(directory: &Path) -> Lock {
    try_lock_opened_directory(directory, lock_file)
}

/// [`try_lock_directory`], with a lock that excludes only those of that function.
pub fn try_share_directory(directory: &Path) -> Lock {
    try_lock_opened_directory(directory, |file| uninterrupted(|| system::files::try_lock_shared(file)))
}

fn try_lock_opened_directory(directory: &Path, lock: fn(&File) -> io::Result<bool>) -> Lock {
    let file = match system::files::open_directory(directory) {
        Ok(file) => file,
        Err(error) => return Lock::Impossible(error),
    };
    match lock(&file) {
        Ok(true) => Lock::Held(LockGuard { file, has_holder: Cell::new(false), removed: None }),
        Ok(false) => Lock::Busy,
        Err(error) => Lock::Impossible(error),
    }
}

fn try_lock_opened(path: &Path, open: fn(&Path) -> io::Result<File>) -> Lock {
    for _ in 0..OPEN_MAX {
        let (file, metadata) = match open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata))) {
            Ok((file, metadata)) if metadata.is_file() && system::files::is_own(&metadata) => {
                if system::files::mode(&metadata) & 0o077 != 0 {
                    // Best effort: another user who can open the file can hold the lock and make ycred wait.
                    let _ = system::files::make_file_private(&file);
                }
                (file, metadata)
            }
            Ok(_) => {
                return Lock::Impossible(io::Error::other(format!("{} is not a lock file of ycred", path.display())));
            }
            Err(error) => return Lock::Impossible(error),
        };
        match lock_file(&file) {
            Ok(true) if is_at(&metadata, path) => {
                // A killed holder has left its line. Nobody must take it for that of this one.
                if metadata.len() > 0 {
                    let _ = file.set_len(0);
                }
                return Lock::Held(LockGuard { file, has_holder: Cell::new(false), removed: None });
            }
            // A sweep removed the file after it was opened. Its lock excludes nobody any more.
            Ok(true) => {}
            Ok(false) => return Lock::Busy,
            Err(error) => return Lock::Impossible(error),
        }
    }
    Lock::Impossible(io::Error::other(format!("{} is replaced again and again", path.display())))
}

/// Returns true if the lock was taken, and false if another process holds it.
pub(super) fn lock_file(file: &File) -> io::Result<bool> {
    uninterrupted(|| system::files::try_lock_exclusive(file))
}

fn uninterrupted(lock: impl Fn() -> io::Result<bool>) -> io::Result<bool> {
    // A signal may interrupt even this call. A file system that reports an interruption every time cannot lock.
    for _ in 0..16 {
        match lock() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
    Err(ErrorKind::Interrupted.into())
}

/// Returns true if the file with this metadata still has the name `path`.
fn is_at(opened: &fs::Metadata, path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(named) => system::files::identity(opened) == system::files::identity(&named),
        // On a faulty disk, a lock that cannot be checked is better than none.
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

/// The first and the longest pause between two attempts. The actual pause is random, at least half of it.
const POLL_FIRST: Duration = Duration::from_millis(5);
const POLL_MAX: Duration = Duration::from_millis(50);

/// Repeats `attempt` with growing pauses until it returns a result. Returns `None` at the deadline.
///
/// ycred waits for locks only in this way, because a blocking flock on a faulty NFS hangs forever.
pub fn poll<T>(deadline: &Deadline, clock: &dyn Clock, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let mut pause = POLL_FIRST;
    loop {
        if let Some(result) = attempt() {
            return Some(result);
        }
        let left = deadline.left(clock);
        if left.is_zero() {
            return None;
        }
        clock.sleep(random::between(pause / 2, pause).min(left));
        pause = (pause * 2).min(POLL_MAX);
    }
}

/// Waits while a lock is busy. Returns [`Lock::Busy`] at the deadline.
pub fn wait_for_lock(deadline: &Deadline, clock: &dyn Clock, mut try_lock: impl FnMut() -> Lock) -> Lock {
    let result = poll(deadline, clock, || match try_lock() {
        Lock::Busy => None,
        lock => Some(lock),
    });
    result.unwrap_or(Lock::Busy)
}

#[cfg(test)]
#[cfg(unix)]
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the tests set up files and links")]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_and_ends_with_its_holder() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.lock");
        let held = try_lock(&path);
        assert!(matches!(held, Lock::Held(_)));
        assert!(matches!(try_lock(&path), Lock::Busy) && matches!(try_lock_existing(&path), Lock::Busy));
        drop(held);
        assert!(matches!(try_lock(&path), Lock::Held(_)));
        assert!(path.exists(), "never unlinked by its holder");
    }

    #[test]
    fn an_impossible_lock_has_its_cause() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(
            matches!(try_lock(&dir.path().join("missing/x.lock")), Lock::Impossible(error) if error.kind() == ErrorKind::NotFound)
        );
        assert!(
            matches!(try_lock_existing(&dir.path().join("x.lock")), Lock::Impossible(error) if error.kind() == ErrorKind::NotFound)
        );
        assert!(!dir.path().join("x.lock").exists());
        let link = dir.path().join("link.lock");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).expect("link");
        assert!(matches!(try_lock(&link), Lock::Impossible(_)));
        assert!(!dir.path().join("elsewhere").exists(), "the link was not followed");
    }

    #[test]
    fn a_lock_names_its_holder() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.lock");
        fs::write(&path, "the line of a killed holder, which is longer than any other line of this file ".repeat(3))
            .expect("written");
        let Lock::Held(guard) = try_lock(&path) else { panic!("not locked") };
        assert_eq!(lock_holder(&path), None, "not written yet");
        for since in [Timestamp(1_795_000_000_000), Timestamp(1)] {
            guard.write_holder(since, since.plus(Duration::from_secs(40)));
            let expected = LockHolder {
                pid: std::process::id(),
                pid_space: pid_space(),
                since,
                until: since.plus(Duration::from_secs(40)),
                likeness: None,
            };
            assert_eq!(lock_holder(&path), Some(expected));
        }
        guard.erase_holder();
        assert_eq!(fs::read(&path).expect("readable"), b"");
        guard.write_holder(Timestamp(1), Timestamp(2));
        drop(guard);
        assert_eq!(lock_holder(&path), None, "the next holder may be an older ycred, which writes nothing");
        assert_eq!(lock_holder(&dir.path().join("other.lock")), None);
    }

    #[test]
    fn a_holder_counts_as_dead_only_if_its_number_is_of_the_same_space() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.lock");
        let Lock::Held(_guard) = try_lock(&path) else { panic!("not locked") };
        // No process has this number.
        let pid = u32::try_from(i32::MAX).expect("positive");
        let named = |pid_space| {
            let holder = LockHolder { pid, pid_space, since: Timestamp(1), until: Timestamp(2), likeness: None };
            fs::write(&path, serde_json::to_vec(&holder).expect("JSON")).expect("written");
            lock_holder(&path).map(|holder| holder.to_string())
        };
        let own = pid_space();
        assert!(own.is_some());
        assert_eq!(named(own), None, "it was killed");
        let other = own.unwrap_or_default() ^ 1;
        assert_eq!(named(Some(other)).as_deref(), Some("process 2147483647 of another container"));
        assert_eq!(named(None).as_deref(), Some("process 2147483647"), "an older ycred");
    }

    #[test]
    fn a_lock_file_that_was_removed_after_it_was_opened_is_opened_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.lock");
        // Stays open, so that no other file gets its number.
        let opened = system::files::open_lock(&path).expect("opened");
        let stale = opened.metadata().expect("its metadata");
        fs::remove_file(&path).expect("removed");
        assert!(!is_at(&stale, &path));
        let Lock::Held(_guard) = try_lock(&path) else { panic!("not locked") };
        assert!(!is_at(&stale, &path), "another file has the name now");
        assert!(matches!(try_lock(&path), Lock::Busy), "the new file is the lock");
        // A file that is removed again each time it is opened cannot be locked.
        let remove_after_opening = |path: &Path| {
            let file = system::files::open_lock(path);
            let _ = fs::remove_file(path);
            file
        };
        let other = dir.path().join("y.lock");
        assert!(matches!(try_lock_opened(&other, remove_after_opening), Lock::Impossible(_)));
    }
}
