//! Where tokens come from: the trait, and the table of every source. A new one is a file here and a line in
//! [`SOURCES`].

use std::time::Duration;

use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::Credential;
use crate::cloud::Context;
use crate::cloud::installation::Installation;
use crate::profile::{Key, Profile, Settings};

pub mod access_key;
pub(crate) mod authorized_key;
pub(crate) mod external;
mod fixed;
mod impersonate;
mod login;
pub(crate) mod metadata;
mod oauth;
pub(crate) mod workload;

/// One way to a token, opened from a profile's settings. Opening reads no secret and talks to nobody, so that a hit
/// costs neither.
pub trait Grant {
    /// Whose token it is.
    fn identity(&self) -> &Identity;

    /// Whether and how its tokens are kept.
    fn caching(&self) -> Caching;

    /// Asks for a new token, once or with the retries that `cx` allows.
    ///
    /// # Errors
    /// Refused (1), Profile (3), Unavailable (4): see [`crate::base::error::Kind`].
    fn fetch(&self, cx: &Context<'_>) -> Result<Credential>;

    /// The grant that this one buys its tokens with, if it is a link of a chain.
    fn inner(&self) -> Option<&dyn Grant> {
        None
    }

    /// The account, for people: `service account aje… (key aje…)`.
    ///
    /// # Errors
    /// Profile (3): a file that says it cannot be read.
    fn account(&self) -> Result<String>;
}

/// The cache's rules for one grant.
#[derive(Clone, Copy, Debug)]
pub enum Caching {
    Never,
    Kept {
        /// Soft window; none: a tenth of the token's life.
        refresh_before: Option<Duration>,
        /// An older token is refreshable whatever is left of it.
        max_age: Option<Duration>,
    },
}

/// A kind of source.
#[derive(Debug)]
pub struct Source {
    /// As in `source = "…"`.
    pub name: &'static str,
    pub about: &'static str,
    /// Its own settings, next to [`crate::profile::COMMON_KEYS`].
    pub keys: &'static [Key],
    /// The age at which its tokens become refreshable where the profile says nothing.
    pub max_age: Option<Duration>,
    /// Checks the settings and makes the grant.
    pub open: fn(&Opening<'_>) -> Result<Box<dyn Grant>>,
    /// The settings that stand for it where there is no profile file, if the environment has them.
    pub from_environment: fn(&Environment) -> Option<Found>,
}

/// What a source finds of its own in the environment.
pub type Found = (Rank, Vec<Assignment>);

/// A setting's key and value.
pub type Assignment = (&'static str, String);

/// The place in the order in which the environment is searched (docs/profiles.md); lower comes first.
pub type Rank = u8;

/// Every source, in the order of the README.
pub const SOURCES: &[&Source] = &[
    &authorized_key::SOURCE,
    &oauth::SOURCE,
    &metadata::SOURCE,
    &workload::SOURCE,
    &login::SOURCE,
    &external::SOURCE,
    &fixed::SOURCE,
];

impl Source {
    pub fn named(name: &str) -> Option<&'static Self> {
        SOURCES.iter().find(|source| source.name == name).copied()
    }
}

/// The first source that the environment has settings for.
pub fn from_environment(environment: &Environment) -> Option<(&'static Source, Vec<Assignment>)> {
    SOURCES
        .iter()
        .filter_map(|source| (source.from_environment)(environment).map(|(rank, settings)| (rank, *source, settings)))
        .min_by_key(|(rank, ..)| *rank)
        .map(|(_, source, settings)| (source, settings))
}

/// What a source opens with.
pub struct Opening<'a> {
    pub settings: &'a Settings,
    pub installation: &'a Installation,
    pub caching: Caching,
    pub profile: &'a Profile,
    /// A token of the caller's own that came with the request.
    pub subject: Option<&'a Secret>,
}

/// Opens a profile's grant: its source, and around it a link for each account to impersonate.
///
/// # Errors
/// Profile (3), with file and line.
pub fn open(profile: &Profile) -> Result<Box<dyn Grant>> {
    open_for(profile, None)
}

/// [`open`], for a caller whose request has a token of its own with it.
///
/// # Errors
/// As [`open`].
pub fn open_for(profile: &Profile, subject: Option<&Secret>) -> Result<Box<dyn Grant>> {
    // Whoever sends one wants the rights of its subject, and would get those of the profile's own account.
    if subject.is_some() && profile.source.name != workload::SOURCE.name {
        let name = profile.source.name;
        return Err(Error::profile(format!(
            "{profile}: the request has a service account's token with it, and source = \"{name}\" has no use for it"
        ))
        .hint(
            "name a profile with source = \"workload\", or let the client send none (the kubelet: tokenAttributes)",
        ));
    }
    let caching = match profile.cached {
        true => Caching::Kept { refresh_before: profile.refresh_before, max_age: profile.max_age },
        false => Caching::Never,
    };
    let opening =
        Opening { settings: &profile.settings, installation: &profile.installation, caching, profile, subject };
    let base = (profile.source.open)(&opening)?;
    Ok(profile.impersonate.iter().fold(base, |inner, account| impersonate::link(inner, account, &opening)))
}

pub(crate) use oauth::is_oauth_token;

/// Whether the Terraform provider would take a `YC_TOKEN` for an IAM token
/// (`yandex-framework/provider/config/config.go`, `Credentials`): it starts with `t1.` and has two dots.
pub(crate) fn is_iam_token(value: &std::ffi::OsStr) -> bool {
    let bytes = value.as_encoded_bytes();
    bytes.starts_with(b"t1.") && bytes.iter().filter(|byte| **byte == b'.').count() == 2
}
