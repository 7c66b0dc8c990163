//! Where tokens come from: the table of every source. A new one is a file here and a line in [`SOURCES`].

pub mod access_key;
pub mod authorized_key;
pub mod command;
pub mod impersonate;
pub mod login;
pub mod metadata;
pub mod oauth;
pub mod origin;
pub mod program;
pub mod settings;
pub mod source;
pub mod r#static;
pub mod workload;

use crate::base::environment::Environment;
use crate::base::secret::Secret;
use crate::sources::access_key::KeyRequest;
use crate::sources::source::{Assignment, Source};

/// Every source, in the order of the README.
pub const SOURCES: &[&Source] = &[
    &authorized_key::SOURCE,
    &oauth::SOURCE,
    &metadata::SOURCE,
    &workload::SOURCE,
    &login::SOURCE,
    &command::SOURCE,
    &r#static::SOURCE,
];

/// The source of this name.
pub fn named(name: &str) -> Option<&'static Source> {
    SOURCES.iter().find(|source| source.name == name).copied()
}

/// The first source that the environment has settings for.
pub fn from_environment(environment: &Environment) -> Option<(&'static Source, Vec<Assignment>)> {
    SOURCES
        .iter()
        .filter_map(|source| Some((*source, (source.from_environment)(environment)?)))
        .min_by_key(|(_, found)| found.rank)
        .map(|(source, found)| (source, found.assignments))
}

/// The variables that stand for a source where there is no profile file, in the order in which they are searched.
pub fn variables() -> Vec<&'static str> {
    let mut all: Vec<_> = SOURCES.iter().flat_map(|source| source.variables).map(|it| (it.rank, it.name)).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter().map(|(_, name)| name).collect()
}

/// What is asked of a profile.
#[derive(Debug)]
pub enum Resource {
    /// An IAM token.
    Token {
        /// A token of the caller's own that comes with the request and stands in for the one that a `workload` profile
        /// names (the kubelet sends the pod's).
        subject: Option<Secret>,
    },
    /// An access key of Object Storage, bought with an IAM token.
    AccessKey(KeyRequest),
}

impl Default for Resource {
    fn default() -> Self {
        Self::Token { subject: None }
    }
}
