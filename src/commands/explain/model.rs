//! What `explain` shows.

use crate::base::error::Result;
use crate::base::hosts::Host;
use crate::cloud::http::proxy::ProxyChoice;
use crate::cloud::http::trust::Roots;
use crate::commands::command::HostClient;
use crate::commands::explain::keys::ExplainedKey;
use crate::commands::explain::selection::Candidate;
use crate::profile::Profile;
use crate::session::facts::Facts;
use crate::session::host::HostDecision;
use crate::session::next_call::NextCall;

/// What there is to explain.
pub struct Explanation {
    pub loaded: Result<Profile>,
    pub keys: Vec<ExplainedKey>,
    pub candidates: Vec<Candidate>,
    /// What there is, and what a call would do. `None` without a profile.
    pub facts: Option<(Facts, NextCall)>,
    /// The URLs that a fetch may send requests to, and the proxy for each.
    pub proxies: Vec<(String, Result<ProxyChoice>)>,
    pub roots: Option<Result<Roots>>,
    pub host: Option<HostVerdict>,
}

/// Whether a host gets the token.
pub struct HostVerdict {
    pub typed: String,
    /// `None` if no client may ask for it, such as one with a user name.
    pub host: Option<Host>,
    /// The decision for each hook whose client names a host.
    pub hooks: Vec<(HostClient, HostDecision)>,
}

impl HostVerdict {
    /// Returns true if a client gets the token for this host.
    pub fn is_released(&self) -> bool {
        self.hooks.iter().any(|(_, decision)| matches!(decision, HostDecision::Released(_)))
    }
}
