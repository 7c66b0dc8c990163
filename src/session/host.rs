//! Decides whether a client that names a host gets the token of a profile. Hooks act on it, and `explain` shows it.

use crate::base::error::{Error, Result};
use crate::base::hosts::{self, Host, HostReason, HostScope};
use crate::profile::Profile;

/// Whether a client gets the token, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostDecision {
    /// It gets the token.
    Released(HostReason),
    /// The profile lists no such host.
    NotListed,
    /// The profile cannot be used. The host is one of the default installation, so that is an error.
    Failed,
    /// The profile cannot be used, so it cannot say which other hosts are its own.
    Unknown,
}

impl HostDecision {
    /// Decides about a host for the clients of a scope, with the profile or the error of loading it.
    pub fn of(scope: HostScope, host: &Host, loaded: Result<&Profile, &Error>) -> Self {
        match loaded {
            Ok(profile) => profile.hosts.reason_for(scope, host).map_or(Self::NotListed, Self::Released),
            // A broken profile is an error only for the built-in hosts.
            Err(_) if hosts::is_built_in(scope, host) => Self::Failed,
            Err(_) => Self::Unknown,
        }
    }
}
