//! What `exec --serve` has at hand: by the same record as every other process, and in memory where no record can be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::{Credential, SkewReading};
use crate::cache::Cache;
use crate::cache::record::{Decision, RenewalRules, Requirements};
use crate::obtain::{Caching, ObtainedToken};
use crate::process::flags::Options;
use crate::profile::Profile;
use crate::session::Session;
use crate::sources::Resource;
use crate::sources::access_key::{AccessKey, KeyRequest};
use crate::system::loopback::LocalResponse;

/// What is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    Token,
    AccessKey,
}

impl Item {
    pub const ALL: [Self; 2] = [Self::Token, Self::AccessKey];

    pub fn need(self) -> Resource {
        match self {
            Self::Token => Resource::default(),
            // The same as `ycred aws` asks for, so that they share a record.
            Self::AccessKey => Resource::AccessKey(KeyRequest::default()),
        }
    }

    /// The reply with a token or a key in it.
    pub fn response(self, got: &ObtainedToken, now: Timestamp) -> LocalResponse {
        let until = got.advertised(now);
        let json = |body: String| LocalResponse::new(200, "application/json", body);
        match self {
            // A token has no character that JSON would escape.
            Self::Token => json(format!(
                "{{\"access_token\":\"{}\",\"expires_in\":{},\"token_type\":\"Bearer\"}}",
                got.credential.secret.expose(),
                // Whole seconds; of a last fraction one is made, or clients would take the token for a dead one.
                (until.since(now) / 1000).max(1)
            )),
            Self::AccessKey => {
                let Some(key) = AccessKey::unpack(&got.credential.secret) else {
                    return LocalResponse::text(503, "what the cache has is no access key\n");
                };
                let text = |part: &Secret| serde_json::Value::from(part.expose()).to_string();
                json(format!(
                    "{{\"AccessKeyId\":{},\"SecretAccessKey\":{},\"Token\":{},\"Expiration\":\"{until}\"}}",
                    text(&key.id),
                    text(&key.secret),
                    text(&key.session_token)
                ))
            }
        }
    }

    /// The flags as they hold for it: `--min-ttl` is for tokens of half a day.
    pub fn options(self, options: &Options) -> Options {
        match self {
            Self::Token => options.clone(),
            Self::AccessKey => Options { min_ttl: None, ..options.clone() },
        }
    }
}

/// Both, with where they are kept.
pub struct CredentialStore {
    cache: Cache,
    slots: [CredentialSlot; 2],
}

struct CredentialSlot {
    identity: Identity,
    /// None: its source wants to be asked each time.
    rules: Option<RenewalRules>,
    has_record: bool,
    requirements: Requirements,
    /// What could not be kept in a record, and when it was got.
    held: Mutex<Option<(ObtainedToken, Timestamp)>>,
    /// The keeper has been told that it is due.
    is_requested: AtomicBool,
}

/// Something to hand out.
#[derive(Debug)]
pub struct CacheLookup {
    pub got: ObtainedToken,
    /// It should be renewed.
    pub is_due: bool,
}

impl CredentialStore {
    /// # Errors
    /// As [`Session::open`].
    pub fn new(session: &Session<'_>, profile: &Profile, options: &Options) -> Result<Self> {
        let has_record = profile.cached && !options.no_cache;
        // Opened as if it were cached, for the rules: memory keeps to them too.
        let profile = Profile { cached: true, ..profile.clone() };
        let slot = |item: Item| -> Result<CredentialSlot> {
            let (grant, min_ttl) = session.open(&profile, &item.need(), Duration::ZERO)?;
            let rules = match grant.caching() {
                Caching::Never => None,
                Caching::StoredToken(rules) => Some(rules),
            };
            let min_ttl = item.options(options).min_ttl.unwrap_or(min_ttl);
            Ok(CredentialSlot {
                identity: grant.identity().clone(),
                rules,
                has_record,
                requirements: Requirements { min_ttl, force_since: None },
                held: Mutex::new(None),
                is_requested: AtomicBool::new(false),
            })
        };
        Ok(Self { cache: session.cache(), slots: [slot(Item::Token)?, slot(Item::AccessKey)?] })
    }

    fn slot(&self, item: Item) -> &CredentialSlot {
        &self.slots[item as usize]
    }

    /// What can be handed out at once.
    pub fn find(&self, item: Item, now: Timestamp) -> Option<CacheLookup> {
        let slot = self.slot(item);
        let rules = slot.rules.as_ref()?;
        let mut held = slot.held();
        let record = match slot.has_record {
            // Why it cannot be handed out (a key file is gone) will be told by who asks for another.
            true => self.cache.entry(&slot.identity).load().ok()?,
            false => None,
        };
        if record.as_ref().is_some_and(|record| record.is_emptied()) {
            *held = None;
        }
        let is_usable = |credential: &Credential| credential.left(now).longer > 0;
        let recorded = record.as_ref().and_then(|record| Some((record, record.credential().filter(is_usable)?)));
        let held = held.as_ref().filter(|(got, _)| is_usable(&got.credential));
        match (recorded, held) {
            (Some((record, credential)), held)
                if held.is_none_or(|(held, _)| held.credential.expires <= credential.expires) =>
            {
                let is_due = !matches!(record.decide(&slot.requirements, rules, now), Decision::Serve(_));
                Some(CacheLookup { got: ObtainedToken { credential, skew: SkewReading::Earlier }, is_due })
            }
            (_, Some((got, fetched))) => {
                let is_due = got.credential.left(now).longer < crate::base::clock::millis(slot.requirements.min_ttl)
                    || rules.is_renewal_due(&got.credential, *fetched, now);
                Some(CacheLookup {
                    got: ObtainedToken { credential: got.credential.clone(), skew: SkewReading::Earlier },
                    is_due,
                })
            }
            (_, None) => None,
        }
    }

    /// Whether its source wants to be asked each time.
    pub fn is_never_cached(&self, item: Item) -> bool {
        self.slot(item).rules.is_none()
    }

    /// Notes that a renewal is called for, or (false) taken up. Returns what was noted before.
    pub fn mark_requested(&self, item: Item, is_requested: bool) -> bool {
        self.slot(item).is_requested.swap(is_requested, Ordering::Relaxed)
    }

    /// Keeps what was got, where it is in no record.
    pub fn keep(&self, item: Item, got: &ObtainedToken, now: Timestamp) {
        let slot = self.slot(item);
        let is_recorded = slot.has_record
            && self.cache.entry(&slot.identity).load().is_ok_and(|record| {
                record.and_then(|record| record.credential()).is_some_and(|kept| kept.secret == got.credential.secret)
            });
        let copy = ObtainedToken { credential: got.credential.clone(), skew: got.skew };
        let mut held = slot.held();
        let since = match held.as_ref() {
            // Handed out again by a source that could not be asked: no younger for that.
            Some((old, since)) if old.credential.secret == copy.credential.secret => *since,
            _ => now,
        };
        *held = (!is_recorded && slot.rules.is_some()).then_some((copy, since));
    }
}

impl CredentialSlot {
    fn held(&self) -> MutexGuard<'_, Option<(ObtainedToken, Timestamp)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_000_000_000);

    fn body(item: Item, secret: &str, left: i64) -> String {
        let credential = Credential {
            secret: Secret::new(secret.into()),
            issued: NOW,
            expires: NOW.shifted(left),
            skew: 0,
            assumed: false,
        };
        let response = item.response(&ObtainedToken { credential, skew: SkewReading::Current }, NOW);
        assert_eq!(response.status, 200);
        String::from_utf8_lossy(&response.body).into_owned()
    }

    #[test]
    fn a_token_is_told_with_its_seconds_less_a_margin() {
        assert_eq!(
            body(Item::Token, "t1.x.y", 3_600_000),
            r#"{"access_token":"t1.x.y","expires_in":3540,"token_type":"Bearer"}"#
        );
        assert!(body(Item::Token, "t1.x.y", 300).contains(r#""expires_in":1,"#));
    }

    #[test]
    fn a_key_has_the_four_fields_of_container_credentials() {
        assert_eq!(
            body(Item::AccessKey, "ajekey|YC/s|s1.t", 3_600_000),
            r#"{"AccessKeyId":"ajekey","SecretAccessKey":"YC/s","Token":"s1.t","Expiration":"2026-11-18T12:05:40Z"}"#
        );
    }
}
