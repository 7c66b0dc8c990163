//! What `exec --serve` has at hand: by the same record as every other process, and in memory where no record can be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::Credential;
use crate::cache::Cache;
use crate::cache::record::{Rules, Verdict, Want};
use crate::obtain::{Caching, Obtained};
use crate::process::flags::Options;
use crate::profile::Profile;
use crate::session::Session;
use crate::sources::Resource;
use crate::sources::access_key::{AccessKey, KeyRequest};
use crate::system::loopback::Response;

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
    pub fn response(self, got: &Obtained, now: Timestamp) -> Response {
        let until = got.credential.advertised(now, got.skew_is_current);
        let json = |body: String| Response::new(200, "application/json", body);
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
                    return Response::text(503, "what the cache has is no access key\n");
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
pub struct Stock {
    cache: Cache,
    shelves: [Shelf; 2],
}

struct Shelf {
    identity: Identity,
    /// None: its source wants to be asked each time.
    rules: Option<Rules>,
    has_record: bool,
    want: Want,
    /// What could not be kept in a record, and when it was got.
    held: Mutex<Option<(Obtained, Timestamp)>>,
    /// The keeper has been told that it is due.
    is_called_for: AtomicBool,
}

/// Something to hand out.
#[derive(Debug)]
pub struct Found {
    pub got: Obtained,
    /// It should be renewed.
    pub is_due: bool,
}

impl Stock {
    /// # Errors
    /// As [`Session::open`].
    pub fn new(session: &Session<'_>, profile: &Profile, options: &Options) -> Result<Self> {
        let has_record = profile.cached && !options.no_cache;
        // Opened as if it were cached, for the rules: memory keeps to them too.
        let profile = Profile { cached: true, ..profile.clone() };
        let shelf = |item: Item| -> Result<Shelf> {
            let (grant, floor) = session.open(&profile, &item.need(), Duration::ZERO)?;
            let rules = match grant.caching() {
                Caching::Never => None,
                Caching::Kept(rules) => Some(rules),
            };
            let floor = item.options(options).min_ttl.unwrap_or(floor);
            Ok(Shelf {
                identity: grant.identity().clone(),
                rules,
                has_record,
                want: Want { floor, force_since: None },
                held: Mutex::new(None),
                is_called_for: AtomicBool::new(false),
            })
        };
        Ok(Self { cache: session.cache(), shelves: [shelf(Item::Token)?, shelf(Item::AccessKey)?] })
    }

    fn shelf(&self, item: Item) -> &Shelf {
        &self.shelves[item as usize]
    }

    /// What can be handed out at once.
    pub fn find(&self, item: Item, now: Timestamp) -> Option<Found> {
        let shelf = self.shelf(item);
        let rules = shelf.rules.as_ref()?;
        let mut held = shelf.held();
        let record = match shelf.has_record {
            // Why it cannot be handed out (a key file is gone) will be told by who asks for another.
            true => self.cache.entry(&shelf.identity).load().ok()?,
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
                let is_due = !matches!(record.judge(&shelf.want, rules, now), Verdict::Serve(_));
                Some(Found { got: Obtained { credential, skew_is_current: false }, is_due })
            }
            (_, Some((got, fetched))) => {
                let is_due = got.credential.left(now).longer < crate::base::clock::millis(shelf.want.floor)
                    || rules.call_for(&got.credential, *fetched, now);
                Some(Found { got: Obtained { credential: got.credential.clone(), skew_is_current: false }, is_due })
            }
            (_, None) => None,
        }
    }

    /// Whether its source wants to be asked each time.
    pub fn is_asked_each_time(&self, item: Item) -> bool {
        self.shelf(item).rules.is_none()
    }

    /// Notes that a renewal is called for, or (false) taken up. Returns what was noted before.
    pub fn call_for(&self, item: Item, is_called_for: bool) -> bool {
        self.shelf(item).is_called_for.swap(is_called_for, Ordering::Relaxed)
    }

    /// Keeps what was got, where it is in no record.
    pub fn keep(&self, item: Item, got: &Obtained, now: Timestamp) {
        let shelf = self.shelf(item);
        let is_recorded = shelf.has_record
            && self.cache.entry(&shelf.identity).load().is_ok_and(|record| {
                record.and_then(|record| record.credential()).is_some_and(|kept| kept.secret == got.credential.secret)
            });
        let copy = Obtained { credential: got.credential.clone(), skew_is_current: got.skew_is_current };
        let mut held = shelf.held();
        let since = match held.as_ref() {
            // Handed out again by a source that could not be asked: no younger for that.
            Some((old, since)) if old.credential.secret == copy.credential.secret => *since,
            _ => now,
        };
        *held = (!is_recorded && shelf.rules.is_some()).then_some((copy, since));
    }
}

impl Shelf {
    fn held(&self) -> MutexGuard<'_, Option<(Obtained, Timestamp)>> {
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
        let response = item.response(&Obtained { credential, skew_is_current: true }, NOW);
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
