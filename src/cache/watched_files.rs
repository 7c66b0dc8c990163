//! Detects changes to the files of an identity: by metadata first, and by content if the metadata differs.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::{Clock, Timestamp};
use crate::base::environment::YC_SERVICE_ACCOUNT_KEY_FILE;
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
    /// The file system's times are too coarse to show a change right after this state was read: the contents must be
    /// compared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_ambiguous: bool,
}

/// How long after a change a file may change again within the same time stamp, in nanoseconds: FAT has the coarsest
/// stamps, of two seconds.
const COARSEST_STAMP: i64 = 2_000_000_000;
/// The same for file systems with fractions of a second, whose stamps are those of the kernel's clock tick.
const FINE_STAMP: i64 = 10_000_000;

/// The state of an identity's files at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Snapshot(Vec<FileState>);

impl Snapshot {
    /// Reads the files.
    ///
    /// # Errors
    /// Profile (3): a file cannot be read.
    pub(super) fn take(files: &[WatchedFile], clock: &dyn Clock) -> Result<Self> {
        let state = |file| {
            // Metadata first: if the file is replaced in between, the old metadata makes the next load compare
            // contents.
            let mut metadata = stat(file)?;
            let mut certainty = Certainty::of(&metadata, clock.now());
            if let Certainty::After(wait) = certainty {
                clock.sleep(wait);
                metadata = stat(file)?;
                certainty = Certainty::of(&metadata, clock.now());
            }
            let is_ambiguous = certainty == Certainty::Never;
            Ok(FileState { is_ambiguous, ..FileState::new(&metadata, digest_of(file)?) })
        };
        files.iter().map(state).collect::<Result<_>>().map(Self)
    }

    /// Returns true if both are the same state of the same files, read at different times.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let certain = |state: &FileState| FileState { is_ambiguous: false, ..state.clone() };
        self.0.iter().map(certain).eq(other.0.iter().map(certain))
    }

    /// Returns true if this thread has read another content of one of the files since [`watch`]: a fetch may have used it, even
    /// if the file is by now what it was. A link may lead to another file for a moment.
    pub(super) fn was_read_differently(&self, files: &[WatchedFile]) -> bool {
        self.0.iter().zip(files).any(|(state, file)| crate::disk::files::has_read_other(&file.path, &state.digest))
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
            if (state.is_ambiguous || !state.has_metadata(metadata)) && state.digest != digest_of(file)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether a file's time stamps show that its content is still the one that was read with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certainty {
    Now,
    /// The file was written just now. After this time, another change has another stamp.
    After(Duration),
    /// The file system may store whole seconds only, and it would take too long to wait.
    Never,
}

impl Certainty {
    fn of(metadata: &fs::Metadata, now: Timestamp) -> Self {
        Self::of_stamp(files::changed_nanos(metadata).max(files::modified_nanos(metadata)), now)
    }

    fn of_stamp(changed: i64, now: Timestamp) -> Self {
        let age = now.0.saturating_mul(1_000_000).saturating_sub(changed);
        match changed % 1_000_000_000 == 0 {
            true if age < COARSEST_STAMP => Self::Never,
            false if (0..FINE_STAMP).contains(&age) => {
                Self::After(Duration::from_nanos((FINE_STAMP - age).unsigned_abs()))
            }
            _ => Self::Now,
        }
    }
}

/// Watches which contents of the files this thread reads from now on.
pub(super) fn watch(files: &[WatchedFile]) {
    files.iter().for_each(|file| crate::disk::files::watch(&file.path));
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
            && let Some(missing) = file.missing_file_error()
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
        Err(error) if file.setting == YC_SERVICE_ACCOUNT_KEY_FILE && is_pipe(&file.path) => Err(error.replace_hint(
            format!("a pipe can be read only once: set {YC_SERVICE_ACCOUNT_KEY_FILE} to the key's JSON itself"),
        )),
        // Removed since its metadata was read.
        Err(error) => Err(file.missing_file_error().filter(|_| !file.path.exists()).unwrap_or(error)),
    }
}

fn is_pipe(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| files::is_pipe(&metadata))
}

impl FileState {
    fn new(metadata: &fs::Metadata, digest: String) -> Self {
        Self {
            inode: files::identity(metadata).1,
            size: metadata.len(),
            modified: files::modified_nanos(metadata),
            changed: files::changed_nanos(metadata),
            digest,
            is_ambiguous: false,
        }
    }

    fn has_metadata(&self, metadata: &fs::Metadata) -> bool {
        let is_ambiguous = self.is_ambiguous;
        *self == Self { is_ambiguous, ..Self::new(metadata, self.digest.clone()) }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the tests set up files")]
mod tests {
    use super::*;
    use crate::base::clock::tests::FixedClock;
    use crate::base::identity::Identity;

    #[test]
    fn a_stamp_is_certain_once_another_change_would_have_another_one() {
        const SECOND: i64 = 1_795_000_000;
        let at =
            |nanos: i64, ms: i64| Certainty::of_stamp(SECOND * 1_000_000_000 + nanos, Timestamp(SECOND * 1000 + ms));
        // Whole seconds: the file may change again within the same two seconds.
        assert_eq!([at(0, 0), at(0, 1999), at(0, 2000)], [Certainty::Never, Certainty::Never, Certainty::Now]);
        assert_eq!(at(0, -60_000), Certainty::Never, "the clock of the file system is ahead");
        // Fractions: within the same tick of the kernel's clock.
        let wait = |ms| Certainty::After(Duration::from_millis(ms));
        assert_eq!([at(5_000_000, 5), at(5_000_000, 14), at(5_000_000, 15)], [wait(10), wait(1), Certainty::Now]);
        assert_eq!(at(5_000_000, 4), Certainty::Now, "a clock that is ahead by more than a tick cannot be waited for");
    }

    #[test]
    fn an_ambiguous_stamp_does_not_count_as_equal() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        fs::write(&path, "one").expect("written");
        let identity = Identity::of("test").with_file("key-file", &path);
        let clock = FixedClock::at(Timestamp(0));
        let certain = Snapshot::take(identity.files(), &clock).expect("readable");
        let ambiguous = Snapshot(vec![FileState { is_ambiguous: true, ..certain.0[0].clone() }]);
        assert!(ambiguous.agrees_with(&certain));
        // The same stamp, size and inode, as on a file system with whole seconds.
        let metadata = stat_all(identity.files()).expect("there");
        let is_current = |snapshot: &Snapshot| snapshot.is_current(identity.files(), &metadata).expect("readable");
        assert!(is_current(&certain) && is_current(&ambiguous));
        fs::write(&path, "two").expect("written");
        assert!(is_current(&certain), "this state cannot tell");
        assert!(!is_current(&ambiguous), "the contents are compared");
        assert!(!certain.agrees_with(&Snapshot::take(identity.files(), &clock).expect("readable")));
    }
}
