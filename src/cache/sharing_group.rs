//! The processes that share a lock. Most failures count only within such a group; the cloud's answers count in all groups.

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

impl SharingGroup {
    /// Returns the group of the processes with these variables and values.
    pub fn with_variables<'a>(variables: impl Iterator<Item = (&'a str, &'a OsStr)>) -> Self {
        let variables: Vec<_> = variables.collect();
        match variables.is_empty() {
            true => Self::default(),
            false => Self(hex(&value_digest(format!("{variables:?}").as_bytes())[..8])),
        }
    }

    /// Returns the digest, which is a part of the lock's file name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[cfg(test)]
    pub fn of_digest(digest: &str) -> Self {
        Self(digest.into())
    }
}
