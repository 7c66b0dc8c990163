//! The cache record of one identity: its fields.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::account::Account;
use crate::base::clock::{Timestamp, millis};
use crate::base::error::Kind;
use crate::base::random;
use crate::base::secret::{Secret, expose};
use crate::base::token::Credential;
use crate::cache::failure::{FailureOrigin, Requester, StoredFailure};
use crate::cache::sharing_group::SharingGroup;
use crate::cache::watched_files::Snapshot;
use crate::disk::sweep::DEAD_AGE;

/// A record further in the future than this was written before the clock was set back.
pub const FUTURE_TOLERANCE: Duration = Duration::from_secs(60);

/// The cache record of one identity, as stored on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The full identity settings. A record with other settings under the same file name is a miss.
    pub(super) settings: String,
    /// The state of the identity's files when the token was requested.
    pub(super) files: Snapshot,
    /// A random id that each finished fetch replaces.
    pub attempt: String,
    /// When that fetch began and ended, by this machine's clock.
    pub began: Timestamp,
    pub ended: Timestamp,
    pub(super) token: Option<StoredToken>,
    /// No process requests a better token before this time, as long as the stored one is usable.
    pub(super) retry_at: Option<Timestamp>,
    /// Why the last attempt failed, if it did.
    pub(super) failure: Option<StoredFailure>,
    /// Recent failures of processes of other sharing groups, newest first, so that one does not hide another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) other_failures: Vec<StoredFailure>,
    /// Whose tokens these are, if a fetch has learned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) account: Option<Account>,
    /// `logout` wrote this record. A fetch that began earlier may use its token but must not store it.
    #[serde(default)]
    pub logged_out: bool,
    /// A random id of the last logout. Each later record keeps it, so that a fetch that began earlier notices the logout
    /// although another fetch has stored a token since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) logout: Option<String>,
    /// `retry_at` is from the beginning of a renewal, whose result is not known.
    #[serde(rename = "renewing", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_renewing: bool,
    /// The attempt was made by a relief leader. Only older versions read this.
    #[serde(default)]
    pub(super) relief: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredToken {
    #[serde(serialize_with = "expose")]
    pub(super) secret: Secret,
    pub(super) issued: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) skew: i64,
    /// When the source last returned this token, by this machine's clock. `max-age` counts from here.
    pub(super) fetched: Timestamp,
    /// The source gave no expiry, so `expires` is a guess.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) assumed: bool,
}

impl Record {
    /// Creates the empty record that `logout` leaves, with a new attempt id.
    pub(super) fn logged_out(settings: String, now: Timestamp) -> Self {
        Self {
            settings,
            files: Snapshot::default(),
            attempt: random::id(),
            began: now,
            ended: now,
            token: None,
            retry_at: None,
            failure: None,
            other_failures: Vec::new(),
            account: None,
            logged_out: true,
            logout: Some(random::id()),
            is_renewing: false,
            relief: false,
        }
    }

    /// Returns this record without its token and its failure.
    #[must_use]
    pub(super) fn without_token(self) -> Self {
        Self { token: None, retry_at: None, failure: None, other_failures: Vec::new(), ..self }
    }

    /// Returns the full identity settings.
    pub fn settings(&self) -> &str {
        &self.settings
    }

    /// Returns the account, if a fetch has learned it.
    pub fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// Returns the stored token, valid or expired.
    pub fn credential(&self) -> Option<Credential> {
        self.token.as_ref().map(StoredToken::credential)
    }

    /// Returns when the source last returned the stored token, by this machine's clock.
    pub fn fetched(&self) -> Option<Timestamp> {
        self.token.as_ref().map(|stored| stored.fetched)
    }

    /// Returns why the last attempt failed, if it did.
    pub fn last_failure(&self) -> Option<LastFailure<'_>> {
        self.failure.as_ref().map(LastFailure::of)
    }

    /// Returns the newest failure that counts for a process if the last attempt failed, or else that of the last attempt.
    pub fn failure_for(&self, requester: &dyn Fn() -> Requester) -> Option<LastFailure<'_>> {
        let last = self.failure.as_ref()?;
        let requester = requester();
        let mut counting = self.failures().filter(|failure| failure.counts_for(&requester, requester.fetch_limit));
        Some(LastFailure::of(counting.next().unwrap_or(last)))
    }

    /// Returns true if the user has logged out between `before`, an earlier record of this identity, and this one.
    pub(super) fn is_after_logout_since(&self, before: Option<&Self>) -> bool {
        self.logout.is_some() && before.is_none_or(|before| before.logout != self.logout)
    }

    /// Returns true if there is neither a token nor a failure: after `logout`, or after a server rejected the token.
    pub fn is_emptied(&self) -> bool {
        self.token.is_none() && self.failure.is_none()
    }

    /// Returns true if this record can be deleted: its token has expired, and its last attempt is more than an hour old.
    pub(super) fn is_dead(&self, now: Timestamp) -> bool {
        self.ended < now.minus(DEAD_AGE) && self.token.as_ref().is_none_or(|stored| stored.credential().is_expired(now))
    }
}

/// A view of the failure of the last attempt.
#[derive(Clone, Copy, Debug)]
pub struct LastFailure<'a> {
    pub kind: Kind,
    pub message: &'a str,
    pub hint: Option<&'a str>,
    pub at: Timestamp,
    /// True if the cloud has rejected the request.
    pub is_answer: bool,
    /// The digest of the subject token that was presented, if the failure may be due to it.
    pub presented_token: Option<&'a str>,
    /// The group of the process that failed, if the failure counts for that group only.
    pub group: Option<&'a SharingGroup>,
}

impl<'a> LastFailure<'a> {
    fn of(failure: &'a StoredFailure) -> Self {
        Self {
            kind: Kind::from_exit_code(failure.kind),
            message: &failure.message,
            hint: failure.hint.as_deref(),
            at: failure.at,
            is_answer: failure.origin == Some(FailureOrigin::Answer),
            presented_token: failure.presented_token.as_deref(),
            group: failure.group.as_ref().filter(|_| failure.origin != Some(FailureOrigin::Answer)),
        }
    }
}

impl StoredToken {
    pub(super) fn new(credential: &Credential, fetched: Timestamp) -> Self {
        let Credential { secret, issued, expires, skew, assumed, is_reported: _, account: _ } = credential.clone();
        Self { secret, issued, expires, skew, fetched, assumed }
    }

    pub(super) fn credential(&self) -> Credential {
        let Self { secret, issued, expires, skew, fetched: _, assumed } = self.clone();
        Credential { secret, issued, expires, skew, assumed, is_reported: false, account: None }
    }

    pub(super) fn is_fetched_in_future(&self, now: Timestamp) -> bool {
        self.fetched > now.plus(FUTURE_TOLERANCE)
    }

    pub(super) fn is_older_than(&self, max_age: Option<Duration>, now: Timestamp) -> bool {
        max_age.is_some_and(|age| now.since(self.fetched) >= millis(age))
    }
}

/// Records for the tests of this folder.
#[cfg(test)]
pub(super) mod fixtures {
    use super::*;
    use crate::base::error::Error;
    use crate::cache::failure::Requester;
    use crate::cache::freshness::{RenewalRules, Requirements};

    pub const NOW: Timestamp = Timestamp(1_795_000_000_000);
    pub const SECOND: i64 = 1000;
    pub const MINUTE: i64 = 60 * SECOND;
    pub const HOUR: i64 = 60 * MINUTE;

    pub const PLAIN: RenewalRules = RenewalRules { refresh_before: None, max_age: None };
    pub const ANY: Requirements = Requirements { min_ttl: Duration::from_secs(60), force_since: None };

    pub fn length(ms: i64) -> Duration {
        Duration::from_millis(u64::try_from(ms).expect("not negative"))
    }

    pub fn token(secret: &str, left: i64, lifetime: i64) -> Credential {
        let expires = NOW.shifted(left);
        Credential {
            secret: Secret::new(secret.into()),
            issued: expires.shifted(-lifetime),
            expires,
            skew: 0,
            assumed: false,
            is_reported: false,
            account: None,
        }
    }

    /// A token that is valid for `lifetime` in total, expires `left` from now, and was fetched when it was issued.
    pub fn stored(left: i64, lifetime: i64) -> StoredToken {
        let credential = token("t1.old", left, lifetime);
        StoredToken::new(&credential, credential.issued)
    }

    pub fn record(token: Option<StoredToken>) -> Record {
        let moment = token.as_ref().map_or(NOW, |stored| stored.fetched);
        Record {
            settings: String::new(),
            files: Snapshot::default(),
            attempt: "first".into(),
            began: moment,
            ended: moment,
            token,
            retry_at: None,
            failure: None,
            other_failures: Vec::new(),
            account: None,
            logged_out: false,
            logout: None,
            is_renewing: false,
            relief: false,
        }
    }

    pub fn with_back_off(token: StoredToken, until: i64) -> Record {
        Record { retry_at: Some(NOW.shifted(until)), ..record(Some(token)) }
    }

    pub fn failed(token: Option<StoredToken>, error: &Error, at: i64) -> Record {
        let failure = StoredFailure::new(error, NOW.shifted(at), &Requester::default(), Duration::from_secs(15));
        Record { failure: Some(failure), ..record(token) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::record::fixtures::{HOUR, NOW, record, stored};

    #[test]
    fn a_record_is_dead_if_its_token_has_expired_and_its_attempt_is_an_hour_old() {
        let ended = |left, ago: i64| Record { ended: NOW.shifted(-ago), ..record(Some(stored(left, 12 * HOUR))) };
        assert!(ended(0, HOUR + 1).is_dead(NOW));
        assert!(!ended(1, 12 * HOUR).is_dead(NOW), "a valid token");
        assert!(!ended(-24 * HOUR, HOUR).is_dead(NOW), "a recent attempt is kept for its failure");
        assert!(Record { ended: NOW.shifted(-HOUR - 1), ..record(None) }.is_dead(NOW));
        assert!(!Record { ended: NOW.shifted(HOUR), ..record(None) }.is_dead(NOW), "the clock was set back");
    }
}
