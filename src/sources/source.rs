//! What a source is: its line in the table, and what it opens a grant with.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::base::environment::Environment;
use crate::base::error::Result;
use crate::base::secret::Secret;
use crate::cache::record::RenewalRules;
use crate::cloud::installation::Installation;
use crate::obtain::{Caching, Grant};
use crate::sources::settings::Settings;

/// One setting that a profile may have.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    /// What stands for the value in help and man page.
    pub value: &'static str,
    pub about: &'static str,
}

/// A kind of source.
#[derive(Debug)]
pub struct Source {
    /// As in `source = "…"`.
    pub name: &'static str,
    pub about: &'static str,
    /// Its own settings, next to [`crate::profile::keys::COMMON_KEYS`].
    pub keys: &'static [Key],
    /// The age at which its tokens become refreshable where the profile says nothing.
    pub max_age: Option<Duration>,
    /// Checks the settings and makes the grant.
    pub open: fn(&Opening<'_>) -> Result<Box<dyn Grant>>,
    /// The variables that stand for it where there is no profile file.
    pub variables: &'static [Variable],
    /// The settings that these come to, if they are set.
    pub from_environment: fn(&Environment) -> Option<EnvironmentSettings>,
    /// Variables that hold a secret, each with the setting that makes the source read it. (A setting that ends in `-env` names
    /// its variable itself.)
    pub secret_variables: &'static [(&'static str, &'static str)],
    /// How a long-lived secret that the environment holds is kept in a file, for `import`.
    pub keep: Option<fn(Secret) -> Result<KeptSecret>>,
    /// A person must log in before it has tokens.
    pub needs_person: bool,
    /// It can use a token of the caller's own that comes with the request.
    pub takes_subject: bool,
}

impl Source {
    /// What most sources have; each names what differs.
    pub const fn new(
        name: &'static str,
        about: &'static str,
        keys: &'static [Key],
        open: fn(&Opening<'_>) -> Result<Box<dyn Grant>>,
    ) -> Self {
        Self {
            name,
            about,
            keys,
            max_age: None,
            open,
            variables: &[],
            from_environment: |_| None,
            secret_variables: &[],
            keep: None,
            needs_person: false,
            takes_subject: false,
        }
    }
}

/// A variable that stands for a source where there is no profile file.
#[derive(Debug)]
pub struct Variable {
    /// Its place in the order in which the environment is searched (docs/profiles.md); lower comes first.
    pub rank: u8,
    pub name: &'static str,
}

/// The settings that a source finds in the environment.
pub struct EnvironmentSettings {
    /// That of the variable that was found.
    pub rank: u8,
    pub assignments: Vec<Assignment>,
}

/// One setting by a variable.
pub enum Assignment {
    /// The variable's value is the setting's.
    Value { key: &'static str, variable: &'static str, value: String },
    /// The variable holds a secret, and the setting names the variable.
    Secret { key: &'static str, variable: &'static str },
}

/// A secret in a file of its own, which a setting names.
pub struct KeptSecret {
    /// The setting.
    pub key: &'static str,
    /// The file name's.
    pub ending: &'static str,
    pub content: Secret,
    /// What it is, without telling it.
    pub about: String,
    /// What the user should know, if anything; `{name}` is the profile's.
    pub remark: Option<&'static str>,
}

/// What a source opens with: what it may know of the profile.
pub struct Opening<'a> {
    pub settings: &'a Settings,
    pub installation: &'a Installation,
    pub ca_file: Option<&'a Path>,
    /// When its tokens are due for renewal.
    pub rules: RenewalRules,
    /// Its tokens are kept on disk.
    pub cached: bool,
    /// The profile's name, or its path; none: the environment.
    pub name: Option<&'a str>,
    /// How messages call the profile.
    pub label: &'a dyn fmt::Display,
    /// A token of the caller's own that came with the request.
    pub subject: Option<&'a Secret>,
}

impl Opening<'_> {
    /// Whether and how tokens are kept.
    pub fn caching(&self) -> Caching {
        if self.cached { Caching::StoredToken(self.rules) } else { Caching::Never }
    }
}
