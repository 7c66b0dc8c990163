//! The identity of a token: a canonical string of every setting that determines the token, and its digest, which names
//! the cache record.
//!
//! The string contains settings only, so it needs neither the network nor a secret. The cache compares the contents of
//! files itself. Similar tools that left a setting out served one account's token to another (Azure/kubelogin#137,
//! kubernetes/cloud-provider-gcp#1122).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ring::digest;

use crate::base::error::{Error, Kind};

const ACCESS_KEY: &str = "access-key=";

/// The settings and the files that determine a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    lines: Vec<String>,
    files: Vec<WatchedFile>,
    /// A part is unknown, so that two accounts may have the same identity.
    is_incomplete: bool,
}

/// A file with content that belongs to an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedFile {
    pub path: PathBuf,
    /// The setting or the variable that names the file.
    pub setting: String,
    /// True if a variable names the file.
    pub is_from_variable: bool,
    absent: Option<MissingFile>,
}

/// The error to report if a file does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingFile {
    pub kind: Kind,
    pub message: String,
    pub hint: String,
}

impl WatchedFile {
    /// Returns the specific error for a missing file, if there is one.
    pub fn missing_file_error(&self) -> Option<Error> {
        self.absent.as_ref().map(MissingFile::error)
    }
}

impl MissingFile {
    pub fn error(&self) -> Error {
        Error::new(self.kind, &self.message).hint(&self.hint)
    }
}

impl Identity {
    /// Starts an identity with the source's name.
    pub fn of(source: &str) -> Self {
        Self { lines: vec![line("source", source.as_ref())], files: Vec::new(), is_incomplete: false }
    }

    /// Adds a setting. Uses the debug format, which is unambiguous, and lossless for paths that are not UTF-8.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.lines.push(line(key, value.as_ref()));
        self
    }

    /// Adds a setting if it has a value.
    #[must_use]
    pub fn with_some(self, key: &str, value: Option<impl AsRef<OsStr>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds a file: its absolute path becomes a setting, and the cache compares its content.
    #[must_use]
    pub fn with_file(self, key: &str, path: &Path) -> Self {
        self.with_watched(key, path, None)
    }

    /// [`Self::with_file`], for a file that this variable names in place of the key, if it does.
    #[must_use]
    pub fn with_file_of(self, variable: Option<&str>, key: &str, path: &Path) -> Self {
        let mut identity = self.with_file(key, path);
        if let (Some(file), Some(variable)) = (identity.files.last_mut(), variable) {
            variable.clone_into(&mut file.setting);
            file.is_from_variable = true;
        }
        identity
    }

    /// Adds a file of ycred's own. `absent` is the error if it does not exist, since the profile is not at fault then.
    #[must_use]
    pub fn with_marker(self, key: &str, path: &Path, absent: MissingFile) -> Self {
        self.with_watched(key, path, Some(absent))
    }

    fn with_watched(mut self, key: &str, path: &Path, absent: Option<MissingFile>) -> Self {
        self.files.push(WatchedFile {
            path: path.to_owned(),
            setting: key.to_owned(),
            is_from_variable: false,
            absent,
        });
        self.with(key, path)
    }

    /// Adds what distinguishes this machine from others that share the home directory. Without it, nothing may be stored.
    #[must_use]
    pub fn with_machine(self, machine: Option<Vec<(&'static str, String)>>) -> Self {
        match machine {
            Some(parts) => parts.into_iter().fold(self, |identity, (name, value)| identity.with(name, value)),
            None => Self { is_incomplete: true, ..self },
        }
    }

    /// Returns false if a part of the identity is unknown. Then no token of it may be stored.
    pub fn is_complete(&self) -> bool {
        !self.is_incomplete
    }

    /// Adds the digest of a secret from an environment variable, so that two CI jobs never share a record.
    #[must_use]
    pub fn with_secret(self, key: &str, variable: &str, value: &[u8]) -> Self {
        let digest = hex(&value_digest(value));
        self.with(key, variable).with(&format!("{key}-digest"), digest)
    }

    /// Adds a service account that this identity impersonates.
    #[must_use]
    pub fn impersonating(mut self, account: &str) -> Self {
        self.lines.push(line("impersonate", account.as_ref()));
        self
    }

    /// Adds the access key that this identity's token is exchanged for. `terms` determines the key, as one line of
    /// JSON.
    #[must_use]
    pub fn with_access_key(mut self, terms: &str) -> Self {
        self.lines.push(format!("{ACCESS_KEY}{terms}"));
        self
    }

    /// Returns the terms given to [`Self::with_access_key`], from the string that [`Self::settings`] returned.
    pub fn access_key_terms(settings: &str) -> Option<&str> {
        settings.lines().find_map(|line| line.strip_prefix(ACCESS_KEY))
    }

    /// Returns all settings as one string. The order of the calls does not matter, except among impersonated accounts.
    pub fn settings(&self) -> String {
        let (mut chain, mut lines): (Vec<&String>, Vec<&String>) =
            self.lines.iter().partition(|line| line.starts_with("impersonate="));
        lines.sort();
        lines.append(&mut chain);
        let mut text = String::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Returns the files with content that belongs to the identity.
    pub fn files(&self) -> &[WatchedFile] {
        &self.files
    }

    /// Returns the record's file name without extension: 128 bits of SHA-256, which do not reveal the account.
    pub fn name(&self) -> String {
        hex(&value_digest(self.settings().as_bytes())[..16])
    }
}

/// Returns `key="value"`, with the value in debug format.
fn line(key: &str, value: &OsStr) -> String {
    // Formatting character by character is a tenth of what a cache hit costs, and most values need no escapes.
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\'' | b'\\');
    match value.to_str() {
        Some(value) if value.bytes().all(is_plain) => [key, "=\"", value, "\""].concat(),
        _ => format!("{key}={value:?}"),
    }
}

/// Returns the SHA-256 of a value, for names and to detect changed content.
pub fn value_digest(value: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, value).as_ref());
    bytes
}

/// Returns bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn base() -> Identity {
        Identity::of("authorized-key")
            .with_file("key-file", Path::new("/keys/a.json"))
            .with("iam-url", "https://iam.example")
    }

    #[test]
    fn the_order_of_settings_does_not_change_the_name() {
        let other = Identity::of("authorized-key")
            .with("iam-url", "https://iam.example")
            .with_file("key-file", Path::new("/keys/a.json"));
        assert_eq!(base().name(), other.name());
        assert_eq!(base().name().len(), 32);
    }

    #[test]
    fn a_value_without_escapes_has_the_debug_format_too() {
        for character in (0..=0x2ff).filter_map(char::from_u32) {
            let value = OsString::from(format!("a{character}b"));
            assert_eq!(line("key", &value), format!("key={value:?}"), "{character:?}");
        }
        assert_eq!(line("key", OsStr::new("")), "key=\"\"");
    }

    #[test]
    fn bytes_are_printed_in_hexadecimal() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(hex(&all), all.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
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
    fn a_machine_is_a_part_of_the_identity_and_without_one_nothing_may_be_stored() {
        let of = |host: &str| base().with_machine(Some(vec![("boot-id", "b".into()), ("host-name", host.into())]));
        assert!(of("a").is_complete() && of("a").name() == of("a").name());
        assert_ne!(of("a").name(), of("b").name());
        let unknown = base().with_machine(None);
        assert!(!unknown.is_complete() && base().is_complete());
        // The links of a chain are built on it.
        assert!(!unknown.clone().impersonating("a").is_complete() && !unknown.with_access_key("{}").is_complete());
    }

    #[test]
    fn a_secret_appears_as_a_digest_only() {
        let identity = base().with_secret("token-env", "A", b"hunter22hunter22");
        assert!(!identity.settings().contains("hunter22"));
    }
}
