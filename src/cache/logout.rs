//! What a logout leaves behind, and how long it waits for other processes.
//!
//! The mark of the last `logout --all`: a fetch that began before it stores nothing.
//! `logout --all` removes records. A fetch that was under way would find no record afterwards, as if there had never been one.
//! So it also replaces a small file in the cache directory. A fetch reads it when it begins and, with the directory locked,
//! before it stores its result. The file is never removed.
//!
//! A logout of one profile leaves a record that says so instead, and later records keep the logout's id. A sweep that removes
//! such a record also writes a new mark, and so does a logout that cannot lock the directory, or that has no room for its record.
//! A waiter whose record has disappeared reads in the mark whether that was a logout or a sweep.

use std::cell::Cell;
use std::io;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use crate::base::clock::{Clock, Timestamp};
use crate::base::random;
use crate::disk::store;
use crate::disk::store::{FileState, Lock, LockGuard};
use crate::disk::turn;
use crate::disk::turn::{Turn, TurnBusy, TurnPatience};

const FILE: &str = "last-logout";

/// The content of the mark, which no two logouts share. Empty before the first logout.
///
/// The first line is a random id of the last logout. The second one, if there is one, is that of a later sweep.
#[derive(Debug, PartialEq, Eq)]
pub struct LastLogout(Vec<u8>);

impl LastLogout {
    /// Returns the mark in a cache directory.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read(directory: &Path) -> io::Result<Self> {
        Ok(match store::read(&directory.join(FILE))? {
            FileState::Content(content) => Self(content.to_vec()),
            FileState::Nothing | FileState::Foreign => Self(Vec::new()),
        })
    }

    /// Returns true if a logout has replaced the mark since `before`, and not only a sweep.
    pub(super) fn is_after_logout_since(&self, before: &Self) -> bool {
        self.logout() != before.logout()
    }

    fn logout(&self) -> &[u8] {
        self.0.split(|byte| *byte == b'\n').next().unwrap_or_default()
    }
}

/// Keeps the fetches that are under way from storing their results. It should be this process's turn: otherwise a process that
/// is storing a token notices only afterwards.
///
/// # Errors
/// The file cannot be written.
pub(super) fn mark_logout(directory: &Path) -> io::Result<()> {
    mark(directory, |path| {
        let id = random::id();
        // A full disk may have no room for another file. A process that reads a mixture of both ids finds a change too.
        store::replace(path, id.as_bytes(), false).or_else(|error| match is_full(&error) {
            true => store::overwrite(path, id.as_bytes()).map_err(|_| error),
            false => Err(error),
        })
    })
}

/// The same, if this process is about to remove the record of an earlier logout. For a waiter, that is not a logout.
///
/// # Errors
/// The file cannot be read or written.
pub(super) fn mark_sweep(directory: &Path) -> io::Result<()> {
    mark(directory, |path| {
        let last = LastLogout::read(directory)?;
        store::replace(path, &[last.logout(), b"\n", random::id().as_bytes()].concat(), false)
    })
}

fn mark(directory: &Path, replace: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    if !directory.is_dir() {
        return Ok(());
    }
    match replace(&directory.join(FILE)) {
        // Nor can a fetch store anything.
        Err(error) if is_read_only(&error) => Ok(()),
        replaced => replaced,
    }
}

pub(super) fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// What a logout has done to a record.
#[derive(Debug)]
pub struct ClearedRecord {
    pub token: RemovedToken,
    /// Why a fetch that is under way may store its token nevertheless. Happens on a full disk.
    pub marked: io::Result<()>,
}

impl ClearedRecord {
    pub(super) const NOTHING: Self = Self { token: RemovedToken::Nothing, marked: Ok(()) };
}

/// The token that `logout` deleted, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovedToken {
    Nothing,
    /// When the deleted token expires.
    Token(Timestamp),
}

/// How long a logout waits for its turn. Once it has waited in vain, it waits no longer for any other record: the process whose
/// turn it is has stopped, and cannot be deprived of it.
#[derive(Default)]
pub struct LogoutPatience {
    is_lost: Cell<bool>,
}

impl LogoutPatience {
    fn current(&self) -> TurnPatience {
        let in_all = if self.is_lost.get() { Duration::ZERO } else { TurnPatience::SHORT.in_all };
        TurnPatience { in_all, ..TurnPatience::SHORT }
    }

    /// For a logout that replaces no record.
    pub(super) fn wait_for_turn(&self, directory: &Path, clock: &dyn Clock) -> Option<LockGuard> {
        match turn::wait_for_turn(directory, self.current(), clock) {
            Lock::Held(guard) => Some(guard),
            Lock::Impossible(_) => None,
            Lock::Busy => {
                self.is_lost.set(true);
                None
            }
        }
    }

    pub(super) fn turn(&self, directory: &Path, clock: &dyn Clock) -> Option<Turn> {
        let turn = Turn::wait(directory, self.current(), clock);
        turn.inspect_err(|TurnBusy| self.is_lost.set(true)).ok().filter(Turn::is_exclusive)
    }
}
