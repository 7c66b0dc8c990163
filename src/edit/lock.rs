//! The lock of the program that owns a file: a file beside it that exists as long as somebody changes it.
//!
//! kubectl and git create `FILE.lock` and do not wait. ycred waits for a moment, and delays signals while it holds the
//! lock. A note with the lock's inode is written first, so that the next run can remove the lock of a killed process.
#![expect(clippy::disallowed_methods, reason = "creates and removes locks of other programs")]

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::{Clock, Deadline};
use crate::base::error::{Error, Result, describe};
use crate::base::random;
use crate::disk::store::{self, FileState};
use crate::edit::target::TEMPORARY;
use crate::system::signals::EndingSignalsBlocked;
use crate::system::{access, attributes};

/// How long a run waits for locks of other programs, all in all. An owner holds its lock for milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is left of `PATIENCE`. A lock that nobody releases costs a run this time once, however many files and clients need it.
pub struct Patience {
    left: Cell<Duration>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { left: Cell::new(PATIENCE) }
    }
}

impl Patience {
    /// Waits until the deadline that is left. What this takes is gone.
    pub fn spend<T>(&self, clock: &dyn Clock, wait: impl FnOnce(&Deadline) -> T) -> T {
        let began = clock.elapsed();
        let result = wait(&Deadline::after(clock, self.left.get()));
        self.left.set(self.left.get().saturating_sub(clock.elapsed().saturating_sub(began)));
        result
    }
}

/// The note about a lock, in the state directory.
pub const NOTE: &str = "held-lock.json";

#[derive(Serialize, Deserialize)]
struct Note {
    lock: PathBuf,
    /// The lock's first name.
    temporary: PathBuf,
    device: u64,
    inode: u64,
}

/// A lock that is removed when it is dropped.
pub struct OwnersLock {
    lock: PathBuf,
    note: PathBuf,
    _signals: EndingSignalsBlocked,
}

impl Drop for OwnersLock {
    fn drop(&mut self) {
        // If the lock cannot be removed, the note stays, so that the next run removes it.
        if store::remove(&self.lock).is_ok() {
            let _ = store::remove(&self.note);
        }
    }
}

/// Takes the lock at `path`. Returns `None` if no lock can be created there, because the directory is read-only: then
/// its owner cannot change the file either.
///
/// `notes` is ycred's own directory, whose lock the caller holds.
///
/// # Errors
/// Unavailable (4): another program holds the lock. Profile (3): the lock cannot be created.
pub fn acquire(
    path: &Path,
    owner: &str,
    notes: &Path,
    patience: &Patience,
    clock: &dyn Clock,
) -> Result<Option<OwnersLock>> {
    let attempt = || {
        let signals = EndingSignalsBlocked::start();
        match create(path, notes) {
            Ok(note) => Some(Ok(Some(OwnersLock { lock: path.to_owned(), note, _signals: signals }))),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => None,
            Err(error) if attributes::is_fixed_in_place(&error) => Some(Ok(None)),
            Err(error) => Some(Err(error)),
        }
    };
    match patience.spend(clock, |deadline| store::poll(deadline, clock, attempt)) {
        Some(attempt) => attempt.map_err(|error| {
            Error::profile(format!("{}: cannot create the lock: {}", path.display(), describe(&error)))
        }),
        None => Err(held(path, owner)),
    }
}

fn held(path: &Path, owner: &str) -> Error {
    Error::unavailable(format!("{}: {owner} holds the lock of the file", path.display()))
        .hint(format!("try again; if no {owner} is running, remove the lock: {}", access::remove_command(path)))
}

/// Waits until nobody holds the lock, without taking it.
///
/// # Errors
/// Unavailable (4): another program keeps it.
pub fn wait(path: &Path, owner: &str, patience: &Patience, clock: &dyn Clock) -> Result<()> {
    let is_free = || fs::symlink_metadata(path).is_err().then_some(());
    let free = patience.spend(clock, |deadline| store::poll(deadline, clock, is_free));
    free.ok_or_else(|| held(path, owner))
}

/// Creates the lock. Its inode is known, and noted, before its name exists.
fn create(path: &Path, notes: &Path) -> io::Result<PathBuf> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let temporary = path.with_file_name(format!("{TEMPORARY}{}", random::id()));
    let lock = attributes::create_lock(&temporary)?;
    let note_path = notes.join(NOTE);
    let write_note = |lock: &File| {
        let (device, inode) = attributes::identity_of(lock)?;
        let note = Note { lock: path.to_owned(), temporary: temporary.clone(), device, inode };
        store::replace(&note_path, &serde_json::to_vec(&note)?, true)
    };
    let created = write_note(&lock).and_then(|()| {
        fs::hard_link(&temporary, path).or_else(|error| match error.kind() {
            ErrorKind::AlreadyExists => Err(error),
            // A file system without hard links.
            _ => write_note(&attributes::create_lock(path)?),
        })
    });
    drop(lock);
    let _ = fs::remove_file(&temporary);
    if created.is_err() {
        let _ = store::remove(&note_path);
    }
    created.map(|()| note_path)
}

/// Returns true if a running or killed ycred has noted a lock.
pub fn is_noted(notes: &Path) -> bool {
    fs::symlink_metadata(notes.join(NOTE)).is_ok()
}

/// Removes the lock that a killed ycred has left. The caller holds ycred's own lock, so no other ycred holds this one.
pub fn remove_abandoned(notes: &Path) {
    let path = notes.join(NOTE);
    let Ok(FileState::Content(content)) = store::read(&path) else { return };
    if let Ok(note) = serde_json::from_slice::<Note>(&content) {
        for name in [&note.lock, &note.temporary] {
            if attributes::identity_at(name).is_ok_and(|identity| identity == (note.device, note.inode)) {
                let _ = fs::remove_file(name);
            }
        }
    }
    let _ = store::remove(&path);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::clock::tests::FixedClock;

    #[test]
    fn a_run_waits_once_for_locks_that_nobody_releases() {
        let directory = tempfile::tempdir().expect("a directory");
        let lock = |name: &str| directory.path().join(name);
        for name in ["one.lock", "two.lock"] {
            fs::write(lock(name), "").expect("a lock");
        }
        let (clock, patience) = (FixedClock::at(Timestamp(0)), Patience::default());
        assert!(wait(&lock("one.lock"), "kubectl", &patience, &clock).is_err());
        assert_eq!(clock.elapsed(), PATIENCE);
        assert!(acquire(&lock("two.lock"), "git", directory.path(), &patience, &clock).is_err());
        assert!(wait(&lock("one.lock"), "kubectl", &patience, &clock).is_err());
        assert_eq!(clock.elapsed(), PATIENCE, "no time is left for the others");
        // A free lock needs none.
        assert!(wait(&lock("three.lock"), "git", &patience, &clock).is_ok());
        assert!(acquire(&lock("three.lock"), "git", directory.path(), &patience, &clock).is_ok());
        assert_eq!(clock.elapsed(), PATIENCE);
    }
}
