//! What the files of an identity hold: noticed by their stat, decided by their content.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::base::error::{Error, Result, describe};
use crate::base::identity::{WatchedFile, hex, value_digest};
use crate::system::files;

/// A file's stat and content, by which a replaced key is noticed without reading it on every hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    inode: u64,
    size: u64,
    /// Nanoseconds since 1970.
    modified: i64,
    changed: i64,
    digest: String,
}

/// What the files of an identity held at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Snapshot(Vec<Stamp>);

impl Snapshot {
    /// Reads the files.
    ///
    /// # Errors
    /// Profile (3): one cannot be read.
    pub(super) fn take(files: &[WatchedFile]) -> Result<Self> {
        let stamp = |file| {
            // The stat first: if the file is replaced between the two, its stat is the old one, and the next load
            // compares the content.
            let found = stat(file)?;
            Ok(Stamp::new(&found, digest_of(file)?))
        };
        files.iter().map(stamp).collect::<Result<_>>().map(Self)
    }

    /// Whether the files still hold this, `found` being what [`look`] has just found. Only a file whose stat differs is
    /// read.
    ///
    /// # Errors
    /// Profile (3): one cannot be read.
    pub(super) fn agrees_with(&self, files: &[WatchedFile], found: &[fs::Metadata]) -> Result<bool> {
        if self.0.len() != found.len() {
            return Ok(false);
        }
        for ((stamp, found), file) in self.0.iter().zip(found).zip(files) {
            if !stamp.has_stat(found) && stamp.digest != digest_of(file)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The stat of each file.
///
/// # Errors
/// Profile (3): one is gone.
pub(super) fn look(files: &[WatchedFile]) -> Result<Vec<fs::Metadata>> {
    files.iter().map(stat).collect()
}

fn stat(file: &WatchedFile) -> Result<fs::Metadata> {
    let path = &file.path;
    fs::metadata(path).map_err(|error| {
        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            && let Some(absent) = file.absent()
        {
            return absent;
        }
        Error::profile(format!("{}", path.display()))
            .because(describe(&error))
            .hint("put the file back, or correct its path, in the profile or behind --policy-file")
    })
}

fn digest_of(file: &WatchedFile) -> Result<String> {
    match crate::disk::files::read(&file.path) {
        Ok(content) => Ok(hex(&value_digest(&content))),
        // Gone since its stat was taken.
        Err(error) => Err(file.absent().filter(|_| !file.path.exists()).unwrap_or(error)),
    }
}

impl Stamp {
    fn new(found: &fs::Metadata, digest: String) -> Self {
        Self {
            inode: files::identity(found).1,
            size: found.len(),
            modified: files::modified_nanos(found),
            changed: files::changed_nanos(found),
            digest,
        }
    }

    fn has_stat(&self, found: &fs::Metadata) -> bool {
        *self == Self::new(found, self.digest.clone())
    }
}
