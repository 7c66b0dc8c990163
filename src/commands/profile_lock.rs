//! The lock of the directory of profiles.

use std::path::Path;
use std::time::Duration;

use crate::base::clock::Deadline;
use crate::base::error::{Error, Result};
use crate::disk::store;
use crate::disk::store::{Lock, LockGuard};
use crate::session::Session;

/// How long to wait for another ycred that changes profiles. It takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes the lock under which ycred changes the names in a directory of profiles. Programs that read profiles need no lock,
/// because each step leaves valid profiles.
///
/// Returns `None` where locking is impossible, or the directory does not exist yet.
///
/// # Errors
/// Unavailable (4): another ycred has held the lock for too long.
pub fn lock(directory: &Path, session: &Session<'_>) -> Result<Option<LockGuard>> {
    let deadline = Deadline::after(session.clock, PATIENCE);
    match store::wait_for_lock(&deadline, session.clock, || store::try_lock_directory(directory)) {
        Lock::Held(guard) => Ok(Some(guard)),
        Lock::Impossible(_) => Ok(None),
        Lock::Busy => {
            Err(Error::unavailable(format!("{}: another ycred is changing the profiles", directory.display()))
                .hint("try again when it has finished"))
        }
    }
}
