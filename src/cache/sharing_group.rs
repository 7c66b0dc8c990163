//! The processes that share a lock. Most failures count only within such a group; the cloud's answers count in all groups.
//!
//! At first, all processes of a group share one lock. A process for which the leader's failure does not count must not wait
//! for others that fail in the same way: it takes a lock that it shares only with those that have the same [`Requester`].
//!
//! [`Requester`]: crate::cache::failure::Requester

use std::ffi::OsStr;

use serde::{Deserialize, Serialize};

use crate::base::identity::{hex, value_digest};

/// The group of a process: a digest of the environment variables that decide how its requests are sent.
///
/// Processes of one identity with the same proxy and certificate variables are a group. What fails for one of them very
/// probably fails for the others, so they share a lock and such failures. The digest is empty without such variables, as for
/// most processes.
///
/// `PATH` is not a part of it, although a program that a fetch runs may depend on it: each shell may have another one, and
/// each would leave a lock file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SharingGroup(String);

/// The part of the name of a lock that follows the group.
const FURTHER: &str = ".way-";

/// The middle part of a lock file's name, between the record's name and the extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockName(String);

impl LockName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if only some processes of the group share the lock.
    pub fn is_further(&self) -> bool {
        self.0.contains(FURTHER)
    }
}

impl SharingGroup {
    /// Returns the group of the processes with these variables and values.
    pub fn with_variables<'a>(variables: impl Iterator<Item = (&'a str, &'a OsStr)>) -> Self {
        let variables: Vec<_> = variables.collect();
        match variables.is_empty() {
            true => Self::default(),
            false => Self(hex(&value_digest(format!("{variables:?}").as_bytes())[..8])),
        }
    }

    /// Returns the name of the lock that all processes of this group share.
    pub fn lock_name(&self) -> LockName {
        LockName(if self.0.is_empty() { String::new() } else { format!(".{}", self.0) })
    }

    /// Returns the name of a lock that the processes of this group share if they are alike. `likeness` is a digest of what
    /// they have in common.
    pub fn lock_name_of(&self, likeness: [u8; 32]) -> LockName {
        let LockName(group) = self.lock_name();
        LockName(format!("{group}{FURTHER}{}", hex(&likeness[..8])))
    }

    #[cfg(test)]
    pub fn of_digest(digest: &str) -> Self {
        Self(digest.into())
    }
}
