//! Detects changes to the files of an identity: by metadata first, and by content if the metadata differs.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::base::error::{Error, Result, describe};
use crate::base::identity::{WatchedFile, hex, value_digest};
use crate::system::files;

/// A file's metadata and content digest. They detect a replaced key without reading the file on every hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileState {
    inode: u64,
    size: u64,
    /// Nanoseconds since 1970.
    modified: i64,
    changed: i64,
    digest: String,
}

/// The state of an identity's files at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Snapshot(Vec<FileState>);

impl Snapshot {
    /// Reads the files.
    ///
    /// # Errors
    /// Profile (3): a file cannot be read.
    pub(super) fn take(files: &[WatchedFile]) -> Result<Self> {
        let state = |file| {
            // Metadata first: if the file is replaced in between, the old metadata makes the next load compare
            // contents.
            let metadata = stat(file)?;
            Ok(FileState::new(&metadata, digest_of(file)?))
        };
        files.iter().map(state).collect::<Result<_>>().map(Self)
    }

    /// Returns true if the files are unchanged. `metadata` comes from [`stat_all`].
    ///
    /// Reads a file only if its metadata differs.
    ///
    /// # Errors
    /// Profile (3): a file cannot be read.
    pub(super) fn is_current(&self, files: &[WatchedFile], metadata: &[fs::Metadata]) -> Result<bool> {
        if self.0.len() != metadata.len() {
            return Ok(false);
        }
        for ((state, metadata), file) in self.0.iter().zip(metadata).zip(files) {
            if !state.has_metadata(metadata) && state.digest != digest_of(file)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns the metadata of each file.
///
/// # Errors
/// Profile (3): a file is missing.
pub(super) fn stat_all(files: &[WatchedFile]) -> Result<Vec<fs::Metadata>> {
    files.iter().map(stat).collect()
}

fn stat(file: &WatchedFile) -> Result<fs::Metadata> {
    let path = &file.path;
    fs::metadata(path).map_err(|error| {
        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            && let Some(missing) = file.absent()
        {
            return missing;
        }
        let place = match file.setting.as_str() {
            "policy-file" => "--policy-file".to_owned(),
            variable if file.is_from_variable => format!("the variable {variable}"),
            key => format!("`{key}` in the profile"),
        };
        Error::profile(format!("{}", path.display()))
            .because(describe(&error))
            .hint(format!("restore the file, or correct {place}"))
    })
}

fn digest_of(file: &WatchedFile) -> Result<String> {
    match crate::disk::files::read(&file.path) {
        Ok(content) => Ok(hex(&value_digest(&content))),
        // Removed since its metadata was read.
        Err(error) => Err(file.absent().filter(|_| !file.path.exists()).unwrap_or(error)),
    }
}

impl FileState {
    fn new(metadata: &fs::Metadata, digest: String) -> Self {
        Self {
            inode: files::identity(metadata).1,
            size: metadata.len(),
            modified: files::modified_nanos(metadata),
            changed: files::changed_nanos(metadata),
            digest,
        }
    }

    fn has_metadata(&self, metadata: &fs::Metadata) -> bool {
        *self == Self::new(metadata, self.digest.clone())
    }
}
