//! What the next call of a hook would do, from the decision that the call itself makes. For `explain`.

use std::time::Duration;

use crate::base::clock::human;
use crate::cache::freshness::{Decision, Requirements};
use crate::obtain::{Caching, requester};
use crate::process::flags::Options;
use crate::profile::Profile;
use crate::session::Session;
use crate::session::facts::{Facts, obstacle};
use crate::sources::Resource;

/// What a call would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextCall {
    /// Return the cached token.
    Serve,
    /// Return the cached token, and renew it.
    Renew,
    /// Fetch a token first.
    Fetch,
    /// Report a failure, for this reason.
    Refuse(String),
}

impl Session<'_> {
    /// Returns what the next call would do with the cached token. What stands in its way on this machine, according to `facts`
    /// or to the identity's files, is its reason to refuse.
    pub fn next_call(&self, profile: &Profile, options: &Options, facts: &Facts) -> NextCall {
        if let Some(error) = facts.lasting_error() {
            return NextCall::Refuse(error.reason());
        }
        let (grant, min_ttl) = match self.open(profile, &Resource::default(), Duration::ZERO) {
            Ok(opened) => opened,
            Err(error) => return NextCall::Refuse(error.reason()),
        };
        let fetch = || match obstacle(profile, grant.as_ref(), self.environment) {
            Some(error) => NextCall::Refuse(error.reason()),
            None => NextCall::Fetch,
        };
        let is_caching = profile.is_caching && !options.no_cache && grant.identity().is_complete();
        let rules = match grant.caching() {
            Caching::Enabled(rules) if is_caching => rules,
            Caching::Enabled(_) | Caching::Never => return fetch(),
        };
        let cache = self.cache();
        let record = match cache.entry(grant.identity()).load() {
            Ok(Some(record)) => record,
            Ok(None) => return fetch(),
            Err(error) => return NextCall::Refuse(error.reason()),
        };
        if options.force_refresh {
            return fetch();
        }
        let requirements = Requirements { min_ttl: options.min_ttl.unwrap_or(min_ttl), force_since: None };
        let timeout = options.timeout.unwrap_or(profile.timeout);
        let this = || requester(grant.as_ref(), self.environment, timeout);
        match record.decide(&requirements, &rules, self.clock.now(), &this) {
            Decision::Serve(_) => NextCall::Serve,
            Decision::Renew(_) => NextCall::Renew,
            Decision::Fetch => fetch(),
            Decision::Refuse(error) => NextCall::Refuse(error.reason()),
        }
    }
}

impl NextCall {
    /// Returns the name in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Renew => "renew",
            Self::Fetch => "fetch",
            Self::Refuse(_) => "refuse",
        }
    }

    /// Describes it for people. `left` is the remaining validity of the cached token in milliseconds.
    pub fn describe(&self, left: Option<i64>) -> String {
        let left = left.map(|left| format!(", {} left", human(left))).unwrap_or_default();
        match self {
            Self::Serve => format!("returns the cached token{left}"),
            Self::Renew => format!("returns the cached token{left}, and one process renews it"),
            Self::Fetch => "fetches a token".to_owned(),
            Self::Refuse(reason) => format!("fails: {reason}"),
        }
    }
}
