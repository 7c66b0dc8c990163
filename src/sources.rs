//! The token sources. To add one, write a file in this directory and add a line to [`SOURCES`].

pub mod access_key;
pub mod authorized_key;
pub mod command;
pub mod impersonate;
pub mod login;
pub mod metadata;
pub mod oauth;
pub mod output;
pub mod program;
pub mod secret_origin;
pub mod settings;
pub mod source;
pub mod r#static;
pub mod workload;

use crate::base::clock::Timestamp;
use crate::base::environment::Environment;
use crate::base::secret::Secret;
use crate::sources::access_key::KeyRequest;
use crate::sources::source::{Assignment, Source};

/// Every source, in the order of docs/profiles.md.
pub const SOURCES: &[&Source] = &[
    &authorized_key::SOURCE,
    &oauth::SOURCE,
    &metadata::SOURCE,
    &workload::SOURCE,
    &login::SOURCE,
    &command::SOURCE,
    &r#static::SOURCE,
];

/// Finds a source by its name, as in `source = "…"`.
pub fn named(name: &str) -> Option<&'static Source> {
    SOURCES.iter().find(|source| source.name == name).copied()
}

/// Returns the source that the environment configures, with its settings. The lowest [`EnvironmentSettings::rank`]
/// wins.
///
/// [`EnvironmentSettings::rank`]: source::EnvironmentSettings::rank
pub fn from_environment(environment: &Environment, now: Timestamp) -> Option<(&'static Source, Vec<Assignment>)> {
    SOURCES
        .iter()
        .filter_map(|source| Some((*source, (source.from_environment)(environment, now)?)))
        .min_by_key(|(_, settings)| settings.rank)
        .map(|(source, settings)| (source, settings.assignments))
}

/// Returns the variables that select a source if there is no profile file, in the order in which ycred checks them.
pub fn variables() -> Vec<&'static str> {
    let mut ranked: Vec<_> = SOURCES.iter().flat_map(|source| source.variables).map(|it| (it.rank, it.name)).collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().map(|(_, name)| name).collect()
}

/// The kind of credential to get from a profile.
#[derive(Debug)]
pub enum Resource {
    /// An IAM token.
    Token {
        /// The subject token in the client's request. It replaces the one that a `workload` profile names. The kubelet
        /// sends the token of the pod's service account.
        subject: Option<Secret>,
    },
    /// An Object Storage access key, which an IAM token is exchanged for.
    AccessKey(KeyRequest),
}

impl Default for Resource {
    fn default() -> Self {
        Self::Token { subject: None }
    }
}
