//! The credentials that `exec --serve` can return immediately. They are in the cache record that all processes share,
//! or in memory if they cannot be cached.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::clock::{Timestamp, millis};
use crate::base::error::Result;
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::{Credential, SkewAge};
use crate::cache::Cache;
use crate::cache::failure::Requester;
use crate::cache::freshness::{Decision, RenewalRules, Requirements};
use crate::obtain;
use crate::obtain::{Caching, ObtainedToken};
use crate::process::flags::Options;
use crate::profile::Profile;
use crate::session::Session;
use crate::sources::Resource;
use crate::sources::access_key::{AccessKey, KeyRequest};
use crate::system::loopback::LocalResponse;

/// The kinds of credential that `exec --serve` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    Token,
    AccessKey,
}

impl CredentialKind {
    pub const ALL: [Self; 2] = [Self::Token, Self::AccessKey];

    /// Returns the resource to obtain.
    pub fn resource(self) -> Resource {
        match self {
            Self::Token => Resource::default(),
            // The same request as that of `ycred aws`, so that both share a record.
            Self::AccessKey => Resource::AccessKey(KeyRequest::default()),
        }
    }

    /// Returns the HTTP response with this credential.
    pub fn response(self, obtained: &ObtainedToken, now: Timestamp) -> LocalResponse {
        let expires = obtained.advertised(now);
        let json = |body: String| LocalResponse::new(200, "application/json", body);
        match self {
            // A token contains no characters that JSON escapes.
            Self::Token => json(format!(
                "{{\"access_token\":\"{}\",\"expires_in\":{},\"token_type\":\"Bearer\"}}",
                obtained.credential.secret.expose(),
                // At least 1 second: clients would take 0 for an expired token.
                (expires.since(now) / 1000).max(1)
            )),
            Self::AccessKey => {
                let Some(key) = AccessKey::unpack(&obtained.credential.secret) else {
                    return LocalResponse::text(503, "the cached credential is not an access key\n");
                };
                let json_string = |part: &Secret| serde_json::Value::from(part.expose()).to_string();
                json(format!(
                    "{{\"AccessKeyId\":{},\"SecretAccessKey\":{},\"Token\":{},\"Expiration\":\"{expires}\"}}",
                    json_string(&key.id),
                    json_string(&key.secret),
                    json_string(&key.session_token)
                ))
            }
        }
    }

    /// Returns the flags that apply to this kind. `--min-ttl` applies to tokens only, which are valid for half a day.
    pub fn options(self, options: &Options) -> Options {
        match self {
            Self::Token => options.clone(),
            Self::AccessKey => Options { min_ttl: None, ..options.clone() },
        }
    }
}

/// The token and the access key, in the cache and in memory. All threads share it.
pub struct CredentialStore {
    cache: Cache,
    slots: [CredentialSlot; 2],
}

struct CredentialSlot {
    identity: Identity,
    /// `None` if the credential must be fetched for each request.
    rules: Option<RenewalRules>,
    /// True if the profile and the flags allow caching on disk.
    has_record: bool,
    requirements: Requirements,
    /// This process. It decides which remembered failures count.
    requester: Requester,
    /// The credential that could not be stored in a record, and the time when it was fetched.
    in_memory: Mutex<Option<(ObtainedToken, Timestamp)>>,
    /// True while a renewal is queued for the refresher.
    is_renewal_queued: AtomicBool,
}

/// A valid credential from the store.
#[derive(Debug)]
pub struct CacheLookup {
    pub obtained: ObtainedToken,
    /// True if the credential should be renewed.
    pub is_due: bool,
}

impl CredentialStore {
    /// Opens the store for a profile.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn new(session: &Session<'_>, profile: &Profile, options: &Options) -> Result<Self> {
        let has_record = profile.is_caching && !options.no_cache;
        // Opens the profile as if it were cached to get the renewal rules, which also apply in memory.
        let profile = Profile { is_caching: true, ..profile.clone() };
        let time_limit = options.timeout.unwrap_or(profile.timeout);
        let slot = |kind: CredentialKind| -> Result<CredentialSlot> {
            let (grant, min_ttl) = session.open(&profile, &kind.resource(), Duration::ZERO)?;
            let rules = match grant.caching() {
                Caching::Never => None,
                Caching::Enabled(rules) => Some(rules),
            };
            let min_ttl = kind.options(options).min_ttl.unwrap_or(min_ttl);
            Ok(CredentialSlot {
                identity: grant.identity().clone(),
                rules,
                has_record,
                requirements: Requirements { min_ttl, force_since: None },
                requester: obtain::requester(grant.as_ref(), session.environment, time_limit),
                in_memory: Mutex::new(None),
                is_renewal_queued: AtomicBool::new(false),
            })
        };
        Ok(Self { cache: session.cache(), slots: [slot(CredentialKind::Token)?, slot(CredentialKind::AccessKey)?] })
    }

    fn slot(&self, kind: CredentialKind) -> &CredentialSlot {
        &self.slots[kind as usize]
    }

    /// Returns the credential that can be returned to a client now, if there is one.
    pub fn lookup(&self, kind: CredentialKind, now: Timestamp) -> Option<CacheLookup> {
        let slot = self.slot(kind);
        let rules = slot.rules.as_ref()?;
        let mut in_memory = slot.lock_memory();
        let record = match slot.has_record {
            // On an error (such as a deleted key file), the refresher tries to fetch and reports the reason.
            true => self.cache.entry(&slot.identity).load().ok()?,
            false => None,
        };
        if record.as_ref().is_some_and(|record| record.is_emptied()) {
            *in_memory = None;
        }
        let is_usable = |credential: &Credential| !credential.is_expired(now);
        let recorded = record.as_ref().and_then(|record| Some((record, record.credential().filter(is_usable)?)));
        let in_memory = in_memory.as_ref().filter(|(obtained, _)| is_usable(&obtained.credential));
        match (recorded, in_memory) {
            (Some((record, credential)), in_memory)
                if in_memory.is_none_or(|(obtained, _)| obtained.credential.expires <= credential.expires) =>
            {
                let is_due = !matches!(
                    record.decide(&slot.requirements, rules, now, &|| slot.requester.clone()),
                    Decision::Serve(_)
                );
                Some(CacheLookup { obtained: ObtainedToken { credential, skew_age: SkewAge::Earlier }, is_due })
            }
            (_, Some((obtained, fetched))) => Some(CacheLookup {
                obtained: ObtainedToken { credential: obtained.credential.clone(), skew_age: SkewAge::Earlier },
                is_due: slot.is_due(rules, &obtained.credential, *fetched, now),
            }),
            (_, None) => None,
        }
    }

    /// Returns true if a credential that was fetched at `now` is already due for renewal. Looks at no record, because another
    /// process may have replaced it in the meantime.
    pub fn is_due_at_once(&self, kind: CredentialKind, credential: &Credential, now: Timestamp) -> bool {
        let slot = self.slot(kind);
        slot.rules.as_ref().is_none_or(|rules| slot.is_due(rules, credential, now, now))
    }

    /// Returns true if the credential must be fetched for each request.
    pub fn is_never_cached(&self, kind: CredentialKind) -> bool {
        self.slot(kind).rules.is_none()
    }

    /// Records whether a renewal is queued. Returns the previous value.
    pub fn set_renewal_queued(&self, kind: CredentialKind, is_queued: bool) -> bool {
        self.slot(kind).is_renewal_queued.swap(is_queued, Ordering::Relaxed)
    }

    /// Stores a credential in memory if it could not be stored in a record.
    pub fn remember(&self, kind: CredentialKind, obtained: &ObtainedToken, now: Timestamp) {
        let slot = self.slot(kind);
        let is_recorded = slot.has_record
            && self.cache.entry(&slot.identity).load().is_ok_and(|record| {
                record
                    .and_then(|record| record.credential())
                    .is_some_and(|recorded| recorded.secret == obtained.credential.secret)
            });
        let copy = ObtainedToken { credential: obtained.credential.clone(), skew_age: obtained.skew_age };
        let mut in_memory = slot.lock_memory();
        let fetched = match in_memory.as_ref() {
            // The source returned the same token again. Its age counts from the first fetch.
            Some((old, fetched)) if old.credential.secret == copy.credential.secret => *fetched,
            _ => now,
        };
        *in_memory = (!is_recorded && slot.rules.is_some()).then_some((copy, fetched));
    }
}

impl CredentialSlot {
    fn is_due(&self, rules: &RenewalRules, credential: &Credential, fetched: Timestamp, now: Timestamp) -> bool {
        credential.remaining(now).max < millis(self.requirements.min_ttl)
            || rules.is_renewal_due(credential, fetched, now)
    }

    fn lock_memory(&self) -> MutexGuard<'_, Option<(ObtainedToken, Timestamp)>> {
        self.in_memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_000_000_000);

    fn body(kind: CredentialKind, secret: &str, left: i64) -> String {
        let credential = Credential {
            secret: Secret::new(secret.into()),
            issued: NOW,
            expires: NOW.shifted(left),
            skew: 0,
            assumed: false,
            is_reported: false,
            account: None,
        };
        let response = kind.response(&ObtainedToken { credential, skew_age: SkewAge::Current }, NOW);
        assert_eq!(response.status, 200);
        String::from_utf8_lossy(&response.body).into_owned()
    }

    #[test]
    fn a_token_response_has_the_remaining_seconds_less_a_margin() {
        assert_eq!(
            body(CredentialKind::Token, "t1.x.y", 3_600_000),
            r#"{"access_token":"t1.x.y","expires_in":3540,"token_type":"Bearer"}"#
        );
        assert!(body(CredentialKind::Token, "t1.x.y", 300).contains(r#""expires_in":1,"#));
    }

    #[test]
    fn an_access_key_response_has_the_four_fields_of_container_credentials() {
        assert_eq!(
            body(CredentialKind::AccessKey, "ajekey|YC/s|s1.t", 3_600_000),
            r#"{"AccessKeyId":"ajekey","SecretAccessKey":"YC/s","Token":"s1.t","Expiration":"2026-11-18T12:05:40Z"}"#
        );
    }
}
