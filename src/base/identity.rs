//! Whose token a record holds: the canonical text of everything that decides it, and the digest that names the record.
//!
//! The text is made of settings alone, so that it is known without the network and without reading a secret. What files
//! hold is compared by the cache, not named here. Peers that left an input out served one account's token to another
//! (Azure/kubelogin#137, kubernetes/cloud-provider-gcp#1122).

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ring::digest;

use crate::base::error::{Error, Kind};

const ACCESS_KEY: &str = "access-key=";

/// The settings that decide whose token it is, and the files whose content does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    lines: Vec<String>,
    files: Vec<WatchedFile>,
}

/// A file whose content belongs to an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedFile {
    pub path: PathBuf,
    absent: Option<Absent>,
}

/// What it means that a file is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    pub kind: Kind,
    pub message: String,
    pub hint: String,
}

impl WatchedFile {
    /// The error where it is not there, if that means something of its own.
    pub fn absent(&self) -> Option<Error> {
        self.absent.as_ref().map(Absent::error)
    }
}

impl Absent {
    pub fn error(&self) -> Error {
        Error::new(self.kind, &self.message).hint(&self.hint)
    }
}

impl Identity {
    /// Starts with the source's name.
    pub fn of(source: &str) -> Self {
        Self { lines: vec![format!("source={source:?}")], files: Vec::new() }
    }

    /// Adds a setting. Debug form: unambiguous, and lossless for paths that are not UTF-8.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.lines.push(format!("{key}={:?}", value.as_ref()));
        self
    }

    /// Adds a setting where there is one.
    #[must_use]
    pub fn with_some(self, key: &str, value: Option<impl AsRef<OsStr>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds a file: its absolute path to the settings, its content to what the cache compares.
    #[must_use]
    pub fn with_file(mut self, key: &str, path: &Path) -> Self {
        self.files.push(WatchedFile { path: path.to_owned(), absent: None });
        self.with(key, path)
    }

    /// The same for a file of our own, whose absence is no fault of the profile.
    #[must_use]
    pub fn with_marker(mut self, key: &str, path: &Path, absent: Absent) -> Self {
        self.files.push(WatchedFile { path: path.to_owned(), absent: Some(absent) });
        self.with(key, path)
    }

    /// Adds a secret that comes with the environment: its digest, so that two CI jobs never share a record.
    #[must_use]
    pub fn with_secret(self, key: &str, variable: &str, value: &[u8]) -> Self {
        let digest = hex(&value_digest(value));
        self.with(key, variable).with(&format!("{key}-digest"), digest)
    }

    /// The identity of an account that this one impersonates.
    #[must_use]
    pub fn impersonating(mut self, account: &str) -> Self {
        self.lines.push(format!("impersonate={account:?}"));
        self
    }

    /// The identity of an access key that this one's tokens buy; `terms` is what decides the key, as a line of JSON.
    #[must_use]
    pub fn with_access_key(mut self, terms: &str) -> Self {
        self.lines.push(format!("{ACCESS_KEY}{terms}"));
        self
    }

    /// What [`Self::with_access_key`] was told, by the whole text.
    pub fn access_key_terms(settings: &str) -> Option<&str> {
        settings.lines().find_map(|line| line.strip_prefix(ACCESS_KEY))
    }

    /// Everything in one text, independent of the order in which it was told; links of a chain keep theirs.
    pub fn settings(&self) -> String {
        let (mut chain, mut lines): (Vec<&String>, Vec<&String>) =
            self.lines.iter().partition(|line| line.starts_with("impersonate="));
        lines.sort();
        lines.append(&mut chain);
        lines.iter().fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "{line}");
            text
        })
    }

    /// The files whose content belongs to the identity.
    pub fn files(&self) -> &[WatchedFile] {
        &self.files
    }

    /// The record's file name, without ending: 128 bits of SHA-256, which say nothing about the account.
    pub fn name(&self) -> String {
        hex(&value_digest(self.settings().as_bytes())[..16])
    }
}

/// SHA-256, for names and for telling whether content changed.
pub fn value_digest(value: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, value).as_ref());
    bytes
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Identity {
        Identity::of("authorized-key")
            .with_file("key-file", Path::new("/keys/a.json"))
            .with("iam-url", "https://iam.example")
    }

    #[test]
    fn the_order_of_telling_does_not_matter() {
        let other = Identity::of("authorized-key")
            .with("iam-url", "https://iam.example")
            .with_file("key-file", Path::new("/keys/a.json"));
        assert_eq!(base().name(), other.name());
        assert_eq!(base().name().len(), 32);
    }

    #[test]
    fn any_input_changes_the_name() {
        let all = [
            base(),
            Identity::of("metadata")
                .with_file("key-file", Path::new("/keys/a.json"))
                .with("iam-url", "https://iam.example"),
            Identity::of("authorized-key")
                .with_file("key-file", Path::new("/keys/b.json"))
                .with("iam-url", "https://iam.example"),
            base().with("audience", "x"),
            base().with_secret("token-env", "A", b"one"),
            base().with_secret("token-env", "A", b"two"),
            base().impersonating("a").impersonating("b"),
            base().impersonating("b").impersonating("a"),
            base().with("audience", "x\"\niam-url=\"y"),
        ];
        let names: std::collections::HashSet<String> = all.iter().map(Identity::name).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn a_secret_is_there_as_a_digest_only() {
        let identity = base().with_secret("token-env", "A", b"hunter22hunter22");
        assert!(!identity.settings().contains("hunter22"));
    }
}
