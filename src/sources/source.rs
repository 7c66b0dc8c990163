//! The interface of a source: its entry in the table, and the input from which it opens a grant.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::environment::Environment;
use crate::base::error::Result;
use crate::base::secret::Secret;
use crate::cache::freshness::RenewalRules;
use crate::cloud::installation::Installation;
use crate::obtain::{Caching, Grant};
use crate::sources::settings::Settings;

/// A key that a profile may contain.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    /// Placeholder for the value in the help and the man page, such as `FILE`.
    pub value: &'static str,
    /// Help text.
    pub about: &'static str,
}

/// A token source.
#[derive(Debug)]
pub struct Source {
    /// As in `source = "…"`.
    pub name: &'static str,
    /// Help text.
    pub about: &'static str,
    /// The keys of this source, in addition to [`crate::profile::keys::COMMON_KEYS`].
    pub keys: &'static [Key],
    /// Default of the key `max-age`: tokens older than this are renewed.
    pub max_age: Option<Duration>,
    /// Returns the value that a key has if the profile does not set it, and the variable that the value comes from.
    pub default_of: DefaultOfKey,
    /// Checks the settings and creates the grant. Reads no secret and makes no request.
    pub open: fn(&SourceInput<'_>) -> Result<Box<dyn Grant>>,
    /// The variables that select this source if there is no profile file.
    pub variables: &'static [Variable],
    /// Converts those variables to settings, at the given time. Returns `None` if they do not select this source.
    pub from_environment: fn(&Environment, Timestamp) -> Option<EnvironmentSettings>,
    /// Variables that contain a secret, as pairs of key and variable: the source reads the variable if the key is set.
    /// Keys that end in `-env` need no pair, because their value is the name of the variable.
    pub secret_variables: &'static [(&'static str, &'static str)],
    /// Prepares a long-lived secret from the environment to be stored in a file. `import` uses this.
    pub secret_file: Option<fn(Secret) -> Result<SecretFile>>,
    /// True if a person must log in before the source can get tokens.
    pub needs_login: bool,
    /// True if the source returns a token that something else renews.
    pub is_passed_through: bool,
    /// True if the source can use a subject token from the client's request.
    pub takes_subject: bool,
}

/// See [`Source::default_of`]. The second argument is true with a profile, the third is the key.
pub type DefaultOfKey = fn(&Settings, bool, &str) -> Option<(String, Option<&'static str>)>;

impl Source {
    /// Creates a source with the defaults. Each source overrides the fields that differ.
    pub const fn new(
        name: &'static str,
        about: &'static str,
        keys: &'static [Key],
        open: fn(&SourceInput<'_>) -> Result<Box<dyn Grant>>,
    ) -> Self {
        Self {
            name,
            about,
            keys,
            max_age: None,
            default_of: |_, _, _| None,
            open,
            variables: &[],
            from_environment: |_, _| None,
            secret_variables: &[],
            secret_file: None,
            needs_login: false,
            is_passed_through: false,
            takes_subject: false,
        }
    }
}

/// A variable that selects a source if there is no profile file.
#[derive(Debug)]
pub struct Variable {
    /// Position in the order in which ycred checks the variables of all sources (docs/profiles.md). The lowest wins.
    pub rank: u8,
    pub name: &'static str,
}

/// The settings of a source, read from the environment.
pub struct EnvironmentSettings {
    /// Rank of the variable that selected the source.
    pub rank: u8,
    pub assignments: Vec<Assignment>,
}

/// A setting read from a variable.
pub enum Assignment {
    /// The variable's value is the value of the key.
    Value { key: &'static str, variable: &'static str, value: String },
    /// The variable contains a secret. The value of the key is the name of the variable.
    VariableName { key: &'static str, variable: &'static str },
}

impl Assignment {
    /// Returns the variable that the setting was read from.
    pub fn variable(&self) -> &'static str {
        match self {
            Self::Value { variable, .. } | Self::VariableName { variable, .. } => variable,
        }
    }
}

/// A secret to store in a file of its own, and the key that names the file.
pub struct SecretFile {
    /// The key that names the file.
    pub key: &'static str,
    /// Extension of the file name.
    pub extension: &'static str,
    pub content: Secret,
    /// Description of the secret that does not reveal it.
    pub about: String,
    /// Advice for the user. `{name}` is a placeholder for the profile's name.
    pub advice: Option<&'static str>,
}

/// Input for [`Source::open`]: the parts of a profile that a source may use.
pub struct SourceInput<'a> {
    pub settings: &'a Settings,
    pub installation: &'a Installation,
    pub ca_file: Option<&'a Path>,
    /// When to renew the tokens.
    pub rules: RenewalRules,
    /// True if the tokens are cached on disk.
    pub is_caching: bool,
    /// The profile's name or path. `None` for settings from the environment.
    pub name: Option<&'a str>,
    /// Name of the profile in messages.
    pub label: &'a dyn fmt::Display,
    /// Subject token from the client's request.
    pub subject: Option<&'a Secret>,
}

impl SourceInput<'_> {
    /// Returns whether and how to cache tokens.
    pub fn caching(&self) -> Caching {
        if self.is_caching { Caching::Enabled(self.rules) } else { Caching::Never }
    }
}
