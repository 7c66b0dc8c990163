//! The cache record of one identity, and the rules that decide when its token is valid, renewed or expired.
//!
//! Pure functions: the time is an argument, and nothing here reads or writes a file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::{Timestamp, human, millis};
use crate::base::error::{Error, Kind, Result};
use crate::base::random;
use crate::base::secret::{Secret, expose};
use crate::base::token::{Credential, SkewReading};
use crate::cache::snapshot::Snapshot;

/// A record further in the future than this was written before the clock was set back.
pub const FUTURE: Duration = Duration::from_secs(60);

/// How long a failure is remembered: a rejection, then the bounds for an outage.
const REMEMBER_REFUSED: Duration = Duration::from_secs(5);
const REMEMBER_UNAVAILABLE: Duration = Duration::from_secs(2);
const REMEMBER_MAX: Duration = Duration::from_secs(60);

/// Bounds of the back-off after an attempt that returned no better token, in milliseconds.
const BACK_OFF_MIN: i64 = 30_000;
const BACK_OFF_MAX: i64 = 300_000;

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
    retry_at: Option<Timestamp>,
    /// Why the last attempt failed, if it did.
    failure: Option<Failure>,
    /// `logout` wrote this record. A fetch that began earlier may use its token but must not store it.
    #[serde(default)]
    pub logged_out: bool,
    /// The attempt was made by a relief leader; the original leader may still succeed.
    #[serde(default)]
    relief: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredToken {
    #[serde(serialize_with = "expose")]
    pub(super) secret: Secret,
    issued: Timestamp,
    pub(super) expires: Timestamp,
    skew: i64,
    /// When the source last returned this token, by this machine's clock. `max-age` counts from here.
    fetched: Timestamp,
    /// The source gave no expiry, so `expires` is a guess.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    assumed: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Failure {
    kind: u8,
    message: String,
    hint: Option<String>,
    /// The attempt timed out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    timed_out: bool,
    at: Timestamp,
    until: Timestamp,
}

/// The requirements of one call.
#[derive(Clone, Copy, Debug)]
pub struct Requirements {
    /// A token that expires sooner than this counts as expired.
    pub min_ttl: Duration,
    /// If set, accept only a fetch that began at this time or later (`--force-refresh`).
    pub force_since: Option<Timestamp>,
}

/// When a token of a grant is due for renewal.
#[derive(Clone, Copy, Debug)]
pub struct RenewalRules {
    pub refresh_before: Option<Duration>,
    pub max_age: Option<Duration>,
}

/// How to answer a call from its cache record.
#[derive(Debug)]
pub enum Decision {
    /// Return this token.
    Serve(ReturnedToken),
    /// Return this token. Renew it if no other process is doing so.
    Renew(Credential),
    /// Fetch a token first.
    Fetch,
    /// Report this remembered failure: there is no usable token.
    Refuse(Error),
}

/// A token to return, and the facts that the caller may have to warn about.
#[derive(Debug)]
pub struct ReturnedToken {
    pub credential: Credential,
    /// Why the last renewal failed, if it did.
    pub renewal_error: Option<String>,
    /// The token expires sooner than the caller asked for.
    pub below_min_ttl: bool,
    /// Whether the skew was measured within the last minute.
    pub skew: SkewReading,
}

impl Record {
    /// Decides how to answer a call from this record. The diagram in [`crate::cache`] shows the rules.
    pub fn decide(&self, requirements: &Requirements, rules: &RenewalRules, now: Timestamp) -> Decision {
        if let Some(since) = requirements.force_since {
            return match self.result(requirements, now).filter(|_| self.is_attempt_since(since)) {
                Some(Ok(returned)) => Decision::Serve(returned),
                Some(Err(error)) => Decision::Refuse(error),
                None => Decision::Fetch,
            };
        }
        let Some(stored) = &self.token else {
            return self.active_failure(now).map_or(Decision::Fetch, Decision::Refuse);
        };
        let credential = stored.credential();
        let left = credential.left(now);
        let is_backing_off = self.retry_at.is_some_and(|at| now < at) && self.ended <= now.plus(FUTURE);
        if left.longer <= 0 {
            return self.active_failure(now).map_or(Decision::Fetch, Decision::Refuse);
        }
        if left.longer < millis(requirements.min_ttl) || stored.is_fetched_in_future(now) {
            return if is_backing_off {
                Decision::Serve(self.token_with_facts(stored, requirements, now))
            } else {
                Decision::Fetch
            };
        }
        let due = rules.is_due(stored, now);
        if due && !is_backing_off {
            Decision::Renew(credential)
        } else {
            Decision::Serve(ReturnedToken { renewal_error: None, ..self.token_with_facts(stored, requirements, now) })
        }
    }

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
            logged_out: true,
            relief: false,
        }
    }

    /// Returns this record without its token and its failure.
    #[must_use]
    pub(super) fn without_token(self) -> Self {
        Self { token: None, retry_at: None, failure: None, ..self }
    }

    /// Returns true if this record is a valid answer to a refresh that was forced at `since`.
    ///
    /// Its attempt must have begun at `since` or later. Without a failure, the token must also come from that attempt,
    /// and not be an older one that expires later.
    pub fn is_attempt_since(&self, since: Timestamp) -> bool {
        self.began >= since
            && (self.failure.is_some() || self.token.as_ref().is_none_or(|stored| stored.fetched >= self.began))
    }

    /// Returns the result of the attempt that wrote this record, for the processes that waited for it.
    ///
    /// `None` if the record has neither a usable token nor a failure.
    pub fn result(&self, requirements: &Requirements, now: Timestamp) -> Option<Result<ReturnedToken>> {
        let usable = self.token.as_ref().filter(|stored| stored.credential().left(now).longer > 0);
        match (&self.failure, usable) {
            (None, Some(stored)) => Some(Ok(self.token_with_facts(stored, requirements, now))),
            (Some(_), Some(stored)) if requirements.force_since.is_none() => {
                Some(Ok(self.token_with_facts(stored, requirements, now)))
            }
            (Some(failure), _) => Some(Err(failure.error())),
            (None, None) => None,
        }
    }

    fn token_with_facts(&self, stored: &StoredToken, requirements: &Requirements, now: Timestamp) -> ReturnedToken {
        let credential = stored.credential();
        ReturnedToken {
            renewal_error: self.failure.as_ref().map(|failure| failure.message.clone()),
            below_min_ttl: credential.left(now).longer < millis(requirements.min_ttl),
            skew: match now.since(stored.fetched).unsigned_abs() < FUTURE.as_millis() as u64 {
                true => SkewReading::Current,
                false => SkewReading::Earlier,
            },
            credential,
        }
    }

    /// Returns the failure for later calls, with its age, as long as it is remembered.
    fn active_failure(&self, now: Timestamp) -> Option<Error> {
        let failure = self.failure.as_ref().filter(|_| !self.relief)?;
        if failure.until <= now || failure.at > now.plus(FUTURE) {
            return None;
        }
        let age = format!("{} (remembered, {} ago)", failure.message, human(now.since(failure.at).max(0)));
        Some(Failure { message: age, ..failure.clone() }.error().hint("to ask again at once, run `ycred refresh`"))
    }

    /// Returns the full identity settings.
    pub fn settings(&self) -> &str {
        &self.settings
    }

    /// Returns the stored token, valid or expired.
    pub fn credential(&self) -> Option<Credential> {
        self.token.as_ref().map(StoredToken::credential)
    }

    /// Returns true if there is neither a token nor a failure: after `logout`, or after a server rejected the token.
    pub fn is_emptied(&self) -> bool {
        self.token.is_none() && self.failure.is_none()
    }

    /// Returns this record with the back-off set, to be written before a renewal.
    ///
    /// If ycred is killed during the renewal or cannot store the result, no other process repeats it immediately.
    #[must_use]
    pub fn with_back_off(&self, now: Timestamp) -> Self {
        Self { retry_at: self.token.as_ref().map(|stored| back_off(&stored.credential(), now)), ..self.clone() }
    }

    /// Returns true if a relief leader failed. The original leader may still succeed.
    pub fn is_failed_relief(&self) -> bool {
        self.relief && self.failure.is_some()
    }

    /// Returns true if the last attempt failed and no usable token is stored.
    pub(super) fn has_only_failure(&self, now: Timestamp) -> bool {
        self.failure.is_some() && self.token.as_ref().is_none_or(|stored| stored.credential().left(now).longer <= 0)
    }

    /// Returns true if this record can be deleted: its token and its attempt are more than a day in the past.
    pub(super) fn is_obsolete(&self, now: Timestamp) -> bool {
        let a_day_ago = now.minus(Duration::from_secs(24 * 3600));
        self.ended < a_day_ago
            && self.token.as_ref().is_none_or(|stored| stored.credential().left(a_day_ago).longer <= 0)
    }
}

impl RenewalRules {
    /// Returns true if a token fetched at `fetched` should be renewed. For tokens without a cache record.
    pub fn is_renewal_due(&self, credential: &Credential, fetched: Timestamp, now: Timestamp) -> bool {
        self.is_due(&StoredToken::new(credential, fetched), now)
    }

    /// Returns true if a token that has not expired should be renewed.
    fn is_due(&self, stored: &StoredToken, now: Timestamp) -> bool {
        self.is_in_soft_window(stored, now) || stored.is_older_than(self.max_age, now)
    }

    fn is_in_soft_window(&self, stored: &StoredToken, now: Timestamp) -> bool {
        let credential = stored.credential();
        credential.left(now).shorter <= self.soft_window(&credential)
    }

    /// Returns how long before its expiry a token is renewed, in milliseconds.
    ///
    /// This is `refresh-before` or a tenth of the token's lifetime, and at most half of the lifetime.
    pub fn soft_window(&self, credential: &Credential) -> i64 {
        self.refresh_before.map_or(credential.life() / 10, millis).min(credential.life() / 2)
    }
}

impl StoredToken {
    fn new(credential: &Credential, fetched: Timestamp) -> Self {
        let Credential { secret, issued, expires, skew, assumed } = credential.clone();
        Self { secret, issued, expires, skew, fetched, assumed }
    }

    fn credential(&self) -> Credential {
        let Self { secret, issued, expires, skew, fetched: _, assumed } = self.clone();
        Credential { secret, issued, expires, skew, assumed }
    }

    fn is_fetched_in_future(&self, now: Timestamp) -> bool {
        self.fetched > now.plus(FUTURE)
    }

    fn is_older_than(&self, max_age: Option<Duration>, now: Timestamp) -> bool {
        max_age.is_some_and(|age| now.since(self.fetched) >= millis(age))
    }
}

/// Returns how long a failure is remembered.
pub fn failure_lifetime(error: &Error) -> Duration {
    match error.kind {
        Kind::Unavailable => {
            error.retry_after.unwrap_or(REMEMBER_UNAVAILABLE).clamp(REMEMBER_UNAVAILABLE, REMEMBER_MAX)
        }
        _ => REMEMBER_REFUSED,
    }
}

impl Failure {
    fn new(error: &Error, at: Timestamp) -> Self {
        // Short enough to leave room on the line for "(remembered, N ago)".
        let message: String = error.reason().chars().take(400).collect();
        Self {
            kind: error.kind.exit_code(),
            message,
            hint: error.hint_text(),
            timed_out: error.has_timed_out,
            at,
            until: at.plus(failure_lifetime(error)),
        }
    }

    fn error(&self) -> Error {
        let mut error = Error::new(Kind::from_exit_code(self.kind), &self.message);
        error.has_timed_out = self.timed_out;
        match &self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// Returns until when no process requests a better token than this one.
///
/// The wait is a tenth of the remaining validity, between 30 seconds and 5 minutes.
pub fn back_off(credential: &Credential, now: Timestamp) -> Timestamp {
    let wait = (credential.left(now).longer / 10).clamp(BACK_OFF_MIN, BACK_OFF_MAX);
    now.shifted(wait)
}

/// A finished fetch, not yet stored.
pub struct Attempt<'a> {
    pub began: Timestamp,
    pub ended: Timestamp,
    pub outcome: &'a Result<Credential>,
    /// Made by a relief leader, while the original leader still holds the lock.
    pub is_relief: bool,
}

impl Attempt<'_> {
    /// Returns the record to store after this attempt. `before` is the record that it replaces.
    ///
    /// The record keeps the token that expires later. The new token replaces an old one that expires later:
    /// * with `--force-refresh`, because the old one may be revoked;
    /// * if the old one is older than `max-age`, because a VM may have another service account now;
    /// * if the old one was stored by a clock that was set back since.
    pub(super) fn record(
        &self,
        settings: &str,
        files: &Snapshot,
        before: Option<&Record>,
        requirements: &Requirements,
        rules: &RenewalRules,
    ) -> Record {
        let now = self.ended;
        let old =
            before.and_then(|record| record.token.as_ref()).filter(|stored| stored.credential().left(now).longer > 0);
        let (token, is_better) = match (self.outcome, old) {
            (Err(_), old) => (old.cloned(), false),
            (Ok(new), None) => (Some(StoredToken::new(new, now)), true),
            // The old expiry was computed by a wrong clock. The new one is right, even if it is earlier.
            (Ok(new), Some(old)) if old.is_fetched_in_future(self.began) => (Some(StoredToken::new(new, now)), true),
            (Ok(new), Some(old)) if new.secret == old.secret => {
                // The source returned the same token again: its time of issue stays, unless that was a guess.
                let same = if new.assumed { StoredToken::new(new, now) } else { old.clone() };
                let was_due_by_age =
                    requirements.force_since.is_none() && self.was_due_by_age_only(old, requirements, rules);
                (Some(StoredToken { fetched: now, skew: new.skew, ..same }), was_due_by_age)
            }
            (Ok(new), Some(old)) if new.expires > old.expires => (Some(StoredToken::new(new, now)), true),
            (Ok(new), Some(old))
                if requirements.force_since.is_some() || old.is_older_than(rules.max_age, self.began) =>
            {
                (Some(StoredToken::new(new, now)), true)
            }
            (Ok(_), Some(old)) => (Some(old.clone()), false),
        };
        // Back off even after a better token if it is below min_ttl or already in its soft window (wrong clock, very
        // short lifetime). Otherwise every run would make a request.
        let is_satisfied = is_better
            && token.as_ref().is_none_or(|stored| {
                stored.credential().left(now).longer >= millis(requirements.min_ttl)
                    && !rules.is_in_soft_window(stored, now)
            });
        Record {
            settings: settings.to_owned(),
            files: files.clone(),
            attempt: random::id(),
            began: self.began,
            ended: self.ended,
            retry_at: token.as_ref().filter(|_| !is_satisfied).map(|stored| back_off(&stored.credential(), now)),
            failure: self.outcome.as_ref().err().map(|error| Failure::new(error, now)),
            logged_out: false,
            relief: self.is_relief,
            token,
        }
    }

    /// Returns true if only `max-age` was the reason to renew. In that case the same token again is a success.
    fn was_due_by_age_only(&self, old: &StoredToken, requirements: &Requirements, rules: &RenewalRules) -> bool {
        let now = self.began;
        old.is_older_than(rules.max_age, now)
            && !rules.is_in_soft_window(old, now)
            && old.credential().left(now).longer >= millis(requirements.min_ttl)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub const NOW: Timestamp = Timestamp(1_795_000_000_000);
    pub const SECOND: i64 = 1000;
    const MINUTE: i64 = 60 * SECOND;
    pub const HOUR: i64 = 60 * MINUTE;

    pub const PLAIN: RenewalRules = RenewalRules { refresh_before: None, max_age: None };
    pub const ANY: Requirements = Requirements { min_ttl: Duration::from_secs(60), force_since: None };

    fn length(ms: i64) -> Duration {
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
        }
    }

    /// A token that is valid for `lifetime` in total, expires `left` from now, and was fetched when it was issued.
    fn stored(left: i64, lifetime: i64) -> StoredToken {
        let credential = token("t1.old", left, lifetime);
        StoredToken::new(&credential, credential.issued)
    }

    fn record(token: Option<StoredToken>) -> Record {
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
            logged_out: false,
            relief: false,
        }
    }

    fn with_back_off(token: StoredToken, until: i64) -> Record {
        Record { retry_at: Some(NOW.shifted(until)), ..record(Some(token)) }
    }

    fn failed(token: Option<StoredToken>, error: &Error, at: i64) -> Record {
        Record { failure: Some(Failure::new(error, NOW.shifted(at))), ..record(token) }
    }

    fn decision(record: &Record, requirements: &Requirements, rules: &RenewalRules) -> &'static str {
        match record.decide(requirements, rules, NOW) {
            Decision::Serve(ReturnedToken { below_min_ttl: true, .. }) => "serve, short",
            Decision::Serve(_) => "serve",
            Decision::Renew(_) => "renew",
            Decision::Fetch => "fetch",
            Decision::Refuse(_) => "refuse",
        }
    }

    pub fn default_decision(record: &Record) -> &'static str {
        decision(record, &ANY, &PLAIN)
    }

    #[test]
    fn the_soft_window_begins_to_the_millisecond_when_a_tenth_is_left() {
        assert_eq!(default_decision(&record(Some(stored(72 * MINUTE + 1, 12 * HOUR)))), "serve");
        assert_eq!(default_decision(&record(Some(stored(72 * MINUTE, 12 * HOUR)))), "renew");
    }

    #[test]
    fn refresh_before_moves_the_soft_window_up_to_half_of_the_life() {
        let rules = |ms| RenewalRules { refresh_before: Some(length(ms)), ..PLAIN };
        let at = |left, before| decision(&record(Some(stored(left, 12 * HOUR))), &ANY, &rules(before));
        assert_eq!([at(HOUR + 1, HOUR), at(HOUR, HOUR)], ["serve", "renew"]);
        assert_eq!([at(6 * HOUR + 1, 11 * HOUR), at(6 * HOUR, 11 * HOUR)], ["serve", "renew"]);
        assert_eq!([at(6 * HOUR + 1, 6 * HOUR + 1), at(6 * HOUR, 6 * HOUR + 1)], ["serve", "renew"]);
        assert_eq!([at(2 * MINUTE, 0), at(MINUTE, 0)], ["serve", "serve"], "no window at all");
        // refresh-before exceeds the lifetime: the first half of it is still fresh.
        let short = |left| decision(&record(Some(stored(left, 10 * MINUTE))), &ANY, &rules(HOUR));
        assert_eq!([short(5 * MINUTE + 1), short(5 * MINUTE)], ["serve", "renew"]);
    }

    #[test]
    fn a_token_below_min_ttl_counts_as_expired() {
        let at = |left| default_decision(&record(Some(stored(left, 12 * HOUR))));
        assert_eq!([at(MINUTE), at(MINUTE - 1), at(1), at(0), at(-1)], ["renew", "fetch", "fetch", "fetch", "fetch"]);
        let requirements = Requirements { min_ttl: length(12 * HOUR), ..ANY };
        assert_eq!(decision(&record(Some(stored(12 * HOUR, 12 * HOUR))), &requirements, &PLAIN), "serve");
        assert_eq!(decision(&record(Some(stored(12 * HOUR - 1, 12 * HOUR))), &requirements, &PLAIN), "fetch");
        assert_eq!(default_decision(&record(None)), "fetch");
    }

    #[test]
    fn a_token_older_than_max_age_is_renewed() {
        let rules = RenewalRules { max_age: Some(length(MINUTE)), ..PLAIN };
        let at = |age| decision(&record(Some(stored(12 * HOUR - age, 12 * HOUR))), &ANY, &rules);
        assert_eq!([at(MINUTE - 1), at(MINUTE), at(HOUR)], ["serve", "renew", "renew"]);
        // max-age counts from the last confirmation by the source, not from the time of issue.
        let confirmed = StoredToken { fetched: NOW.shifted(-MINUTE + 1), ..stored(6 * HOUR, 12 * HOUR) };
        assert_eq!(decision(&record(Some(confirmed)), &ANY, &rules), "serve");
    }

    #[test]
    fn no_better_token_is_requested_before_retry_at() {
        let soft = || stored(HOUR, 12 * HOUR);
        assert_eq!(default_decision(&with_back_off(soft(), 1)), "serve");
        assert_eq!(default_decision(&with_back_off(soft(), 0)), "renew");
        assert_eq!(default_decision(&with_back_off(stored(30 * SECOND, 12 * HOUR), 1)), "serve, short");
        assert_eq!(default_decision(&with_back_off(stored(30 * SECOND, 12 * HOUR), 0)), "fetch");
        let rules = RenewalRules { max_age: Some(Duration::ZERO), ..PLAIN };
        assert_eq!(decision(&with_back_off(stored(11 * HOUR, 12 * HOUR), 1), &ANY, &rules), "serve");
        assert_eq!(
            default_decision(&with_back_off(stored(0, 12 * HOUR), 1)),
            "fetch",
            "an expired token is not returned"
        );
        let forced = Requirements { force_since: Some(NOW), ..ANY };
        assert_eq!(decision(&with_back_off(soft(), 1), &forced, &PLAIN), "fetch");
    }

    #[test]
    fn a_record_from_the_future_is_fetched_first() {
        let at = |ahead| {
            let token = StoredToken { fetched: NOW.shifted(ahead), ..stored(11 * HOUR, 12 * HOUR) };
            default_decision(&record(Some(token)))
        };
        assert_eq!([at(MINUTE), at(MINUTE + 1), at(24 * HOUR)], ["serve", "fetch", "fetch"]);
        // Its back-off is ignored too, or it would last as long as the clock was wrong.
        let future = StoredToken { fetched: NOW.shifted(HOUR), ..stored(11 * HOUR, 12 * HOUR) };
        assert_eq!(default_decision(&with_back_off(future, 2 * HOUR)), "fetch");
        let late = Record { ended: NOW.shifted(MINUTE + 1), ..with_back_off(stored(HOUR, 12 * HOUR), 2 * HOUR) };
        assert_eq!(default_decision(&late), "renew");
    }

    #[test]
    fn the_shorter_validity_decides_renewal_and_the_longer_one_expiry() {
        let skewed = |left, skew| record(Some(StoredToken { skew, ..stored(left, 12 * HOUR) }));
        // 80 minutes left by our clock. The cloud's clock is ten minutes ahead: 70 minutes.
        assert_eq!(default_decision(&skewed(80 * MINUTE, 10 * MINUTE)), "renew");
        assert_eq!(default_decision(&skewed(83 * MINUTE, 10 * MINUTE)), "serve");
        // Expired five minutes ago by our clock. The cloud's clock is ten minutes behind: five minutes left.
        assert_eq!(default_decision(&skewed(-5 * MINUTE, -10 * MINUTE)), "renew");
        assert_eq!(default_decision(&skewed(-9 * MINUTE - 1, -10 * MINUTE)), "fetch", "below min_ttl");
        assert_eq!(default_decision(&skewed(-10 * MINUTE, -10 * MINUTE)), "fetch");
    }

    #[test]
    fn a_failure_is_remembered_for_as_long_as_its_kind_allows() {
        let refused = Error::refused("no");
        let unavailable = |after: Option<u64>| Error::unavailable("down").retry_after(after.map(Duration::from_secs));
        for (error, lasts) in [
            (refused.clone(), 5 * SECOND),
            (Error::profile("wrong"), 5 * SECOND),
            (Error::internal("defect"), 5 * SECOND),
            (unavailable(None), 2 * SECOND),
            (unavailable(Some(0)), 2 * SECOND),
            (unavailable(Some(10)), 10 * SECOND),
            (unavailable(Some(60)), 60 * SECOND),
            (unavailable(Some(3600)), 60 * SECOND),
        ] {
            assert_eq!(default_decision(&failed(None, &error, 1 - lasts)), "refuse", "{error:?}");
            assert_eq!(default_decision(&failed(None, &error, -lasts)), "fetch", "{error:?}");
            assert_eq!(
                default_decision(&failed(Some(stored(0, HOUR)), &error, 1 - lasts)),
                "refuse",
                "an expired token changes nothing"
            );
            assert_eq!(
                default_decision(&failed(Some(stored(30 * MINUTE, HOUR)), &error, 1 - lasts)),
                "serve",
                "a usable one is returned"
            );
        }
        assert_eq!(default_decision(&failed(None, &refused, MINUTE)), "refuse");
        assert_eq!(default_decision(&failed(None, &refused, MINUTE + 1)), "fetch", "a failure from the future");
    }

    #[test]
    fn a_remembered_failure_reports_the_same_error_with_its_age() {
        let error = Error::refused("the cloud says no").hint("ask it nicely");
        let Decision::Refuse(again) = failed(None, &error, -3 * SECOND).decide(&ANY, &PLAIN, NOW) else {
            panic!("it is not remembered");
        };
        assert_eq!(again.kind, error.kind);
        assert_eq!(
            again.render(),
            "ycred: error: the cloud says no (remembered, 3s ago)\nycred: hint: ask it nicely\n"
        );
        // A waiter of that attempt gets the error without the age.
        let Some(Err(fresh)) = failed(None, &error, -3 * SECOND).result(&ANY, NOW) else { panic!("no failure") };
        assert_eq!(fresh.render(), error.render());
    }

    #[test]
    fn force_refresh_accepts_only_fetches_that_began_since() {
        let began = |ms, token, failure: Option<&Error>| Record {
            began: NOW.shifted(ms),
            failure: failure.map(|error| Failure::new(error, NOW)),
            ..record(token)
        };
        let forced = Requirements { force_since: Some(NOW), ..ANY };
        let fresh = || Some(stored(12 * HOUR, 12 * HOUR));
        assert_eq!(decision(&began(-1, fresh(), None), &forced, &PLAIN), "fetch");
        assert_eq!(decision(&began(0, fresh(), None), &forced, &PLAIN), "serve");
        let error = Error::refused("no");
        assert_eq!(decision(&began(0, fresh(), Some(&error)), &forced, &PLAIN), "refuse", "it never falls back");
        assert_eq!(decision(&began(-1, fresh(), Some(&error)), &forced, &PLAIN), "fetch");
        assert_eq!(decision(&began(0, None, None), &forced, &PLAIN), "fetch");
    }

    #[test]
    fn force_refresh_rejects_an_old_token_that_expires_after_the_new_one() {
        let forced = Requirements { force_since: Some(NOW.shifted(-SECOND)), ..ANY };
        let before = record(Some(stored(HOUR, 12 * HOUR)));
        let shorter = after(Some(&before), Ok(token("t1.new", MINUTE, MINUTE)), &ANY, &PLAIN);
        assert_eq!(secret_of(&shorter).as_deref(), Some("t1.old"));
        assert_eq!(decision(&shorter, &forced, &PLAIN), "fetch");
        let longer = after(Some(&before), Ok(token("t1.new", 2 * HOUR, 2 * HOUR)), &ANY, &PLAIN);
        assert_eq!(decision(&longer, &forced, &PLAIN), "serve");
        let same = after(Some(&before), Ok(token("t1.old", HOUR, HOUR)), &ANY, &PLAIN);
        assert_eq!(decision(&same, &forced, &PLAIN), "serve", "the cloud returned it again");
    }

    #[test]
    fn a_waiter_gets_the_usable_token_and_the_renewal_error() {
        let error = Error::unavailable("the cloud is down");
        let waited = failed(Some(stored(30 * SECOND, HOUR)), &error, 0);
        let Some(Ok(returned)) = waited.result(&ANY, NOW) else { panic!("no token") };
        assert_eq!(returned.renewal_error.as_deref(), Some("the cloud is down"));
        assert!(returned.below_min_ttl);
        assert!(matches!(failed(Some(stored(0, HOUR)), &error, 0).result(&ANY, NOW), Some(Err(_))));
        assert!(record(None).result(&ANY, NOW).is_none());
    }

    /// The record after an attempt that began a second ago and ended now.
    fn after(
        before: Option<&Record>,
        outcome: Result<Credential>,
        requirements: &Requirements,
        rules: &RenewalRules,
    ) -> Record {
        let attempt = Attempt { began: NOW.shifted(-SECOND), ended: NOW, outcome: &outcome, is_relief: false };
        attempt.record("settings", &Snapshot::default(), before, requirements, rules)
    }

    /// Returns the rendered failure, and until when it is remembered.
    pub fn failure(record: &Record) -> Option<(String, Timestamp)> {
        record.failure.as_ref().map(|failure| (failure.error().render(), failure.until))
    }

    pub fn secret_of(record: &Record) -> Option<String> {
        record.credential().map(|credential| credential.secret.expose().to_owned())
    }

    fn back_off_of(record: &Record) -> Option<i64> {
        record.retry_at.map(|at| at.since(NOW))
    }

    #[test]
    fn the_back_off_is_a_tenth_of_the_remaining_validity_within_bounds() {
        for (left, expected) in [
            (1, 30 * SECOND),
            (MINUTE, 30 * SECOND),
            (300 * SECOND, 30 * SECOND),
            (310 * SECOND, 31 * SECOND),
            (30 * MINUTE, 3 * MINUTE),
            (50 * MINUTE, 5 * MINUTE),
            (50 * MINUTE + 10, 5 * MINUTE),
            (12 * HOUR, 5 * MINUTE),
        ] {
            let before = record(Some(stored(left, 12 * HOUR)));
            assert_eq!(
                back_off_of(&after(Some(&before), Err(Error::refused("no")), &ANY, &PLAIN)),
                Some(expected),
                "{left}"
            );
            assert_eq!(back_off_of(&before.with_back_off(NOW)), Some(expected), "{left}");
        }
        let expired = record(Some(stored(0, HOUR)));
        let next = after(Some(&expired), Err(Error::refused("no")), &ANY, &PLAIN);
        assert_eq!((secret_of(&next), back_off_of(&next)), (None, None), "the expired token is dropped");
    }

    #[test]
    fn the_token_that_expires_later_is_kept() {
        let before = record(Some(stored(HOUR, 12 * HOUR)));
        let next = |left| after(Some(&before), Ok(token("t1.new", left, left)), &ANY, &PLAIN);
        assert_eq!((secret_of(&next(HOUR + 1)).as_deref(), back_off_of(&next(HOUR + 1))), (Some("t1.new"), None));
        for left in [HOUR, HOUR - 1, 2 * MINUTE] {
            assert_eq!(
                (secret_of(&next(left)).as_deref(), back_off_of(&next(left))),
                (Some("t1.old"), Some(5 * MINUTE)),
                "{left}"
            );
        }
        let expired = record(Some(stored(0, 12 * HOUR)));
        assert_eq!(
            secret_of(&after(Some(&expired), Ok(token("t1.new", 1, 1)), &ANY, &PLAIN)).as_deref(),
            Some("t1.new")
        );
        assert_eq!(secret_of(&after(None, Ok(token("t1.new", 1, 1)), &ANY, &PLAIN)).as_deref(), Some("t1.new"));
    }

    #[test]
    fn forced_aged_and_wrong_clock_tokens_are_replaced_even_by_a_shorter_one() {
        let short = || Ok(token("t1.new", 30 * MINUTE, 30 * MINUTE));
        let before = record(Some(stored(HOUR, 12 * HOUR)));
        let forced = Requirements { force_since: Some(NOW.shifted(-SECOND)), ..ANY };
        let next = after(Some(&before), short(), &forced, &PLAIN);
        assert_eq!((secret_of(&next).as_deref(), back_off_of(&next)), (Some("t1.new"), None));
        let aged = RenewalRules { max_age: Some(length(11 * HOUR)), ..PLAIN };
        assert_eq!(
            secret_of(&after(Some(&before), short(), &ANY, &aged)).as_deref(),
            Some("t1.old"),
            "a second too young"
        );
        let aged = RenewalRules { max_age: Some(length(11 * HOUR - SECOND)), ..PLAIN };
        assert_eq!(secret_of(&after(Some(&before), short(), &ANY, &aged)).as_deref(), Some("t1.new"));
        let ahead = StoredToken { fetched: NOW.shifted(2 * MINUTE), ..stored(10 * HOUR, 12 * HOUR) };
        let next = after(Some(&record(Some(ahead.clone()))), short(), &ANY, &PLAIN);
        assert_eq!((secret_of(&next).as_deref(), back_off_of(&next)), (Some("t1.new"), None));
        // After a wrong clock, the new expiry is right even for the same token.
        let next = after(Some(&record(Some(ahead))), Ok(token("t1.old", 30 * MINUTE, HOUR)), &ANY, &PLAIN);
        assert_eq!(next.credential().map(|credential| credential.expires), Some(NOW.shifted(30 * MINUTE)));
    }

    #[test]
    fn the_same_token_again_backs_off_unless_only_max_age_was_due() {
        let same = |left| Ok(token("t1.old", left, left));
        let soft = record(Some(stored(HOUR, 12 * HOUR)));
        let next = after(Some(&soft), same(HOUR), &ANY, &PLAIN);
        assert_eq!(back_off_of(&next), Some(5 * MINUTE));
        let waited = next.token.as_ref().expect("a token");
        assert_eq!(waited.fetched, NOW, "the source has confirmed it");
        assert_eq!(waited.issued, NOW.shifted(-11 * HOUR), "the time of issue stays");
        let forced = Requirements { force_since: Some(NOW), ..ANY };
        assert_eq!(back_off_of(&after(Some(&soft), same(HOUR), &forced, &PLAIN)), Some(5 * MINUTE));
        let aged = RenewalRules { max_age: Some(length(MINUTE)), ..PLAIN };
        let young = record(Some(stored(11 * HOUR, 12 * HOUR)));
        assert_eq!(back_off_of(&after(Some(&young), same(11 * HOUR), &ANY, &aged)), None, "due by age only");
        assert_eq!(
            back_off_of(&after(Some(&soft), same(HOUR), &ANY, &aged)),
            Some(5 * MINUTE),
            "due by expiry as well"
        );
        let requirements = Requirements { min_ttl: length(12 * HOUR), ..ANY };
        assert_eq!(
            back_off_of(&after(Some(&young), same(11 * HOUR), &requirements, &aged)),
            Some(5 * MINUTE),
            "due by min-ttl as well"
        );
    }

    #[test]
    fn a_new_token_below_min_ttl_is_not_requested_again_immediately() {
        let requirements = Requirements { min_ttl: length(2 * HOUR), ..ANY };
        let next = after(None, Ok(token("t1.new", HOUR, HOUR)), &requirements, &PLAIN);
        assert_eq!((secret_of(&next).as_deref(), back_off_of(&next)), (Some("t1.new"), Some(5 * MINUTE)));
        assert_eq!(decision(&next, &requirements, &PLAIN), "serve, short");
        assert_eq!(decision(&next, &ANY, &PLAIN), "serve", "enough for a smaller min_ttl");
        let next = after(None, Ok(token("t1.new", 2 * HOUR, 2 * HOUR)), &requirements, &PLAIN);
        assert_eq!(back_off_of(&next), None);
    }

    #[test]
    fn a_failed_attempt_keeps_the_usable_token_and_a_success_clears_the_failure() {
        let before = record(Some(stored(HOUR, 12 * HOUR)));
        let failing = after(Some(&before), Err(Error::refused("no")), &ANY, &PLAIN);
        assert_eq!(secret_of(&failing).as_deref(), Some("t1.old"));
        assert!(failing.failure.is_some());
        let fixed = after(Some(&failing), Ok(token("t1.new", 12 * HOUR, 12 * HOUR)), &ANY, &PLAIN);
        assert!(fixed.failure.is_none() && fixed.retry_at.is_none());
        assert!(before.attempt != failing.attempt && failing.attempt != fixed.attempt, "each attempt has its own id");
    }

    #[test]
    fn a_record_is_obsolete_a_day_after_its_token_expired() {
        let ended = |left, ago: i64| Record { ended: NOW.shifted(-ago), ..record(Some(stored(left, 12 * HOUR))) };
        assert!(ended(-24 * HOUR, 36 * HOUR).is_obsolete(NOW));
        assert!(!ended(-24 * HOUR + 1, 36 * HOUR).is_obsolete(NOW));
        assert!(!ended(-24 * HOUR, HOUR).is_obsolete(NOW), "a recent attempt is kept for its failure");
        assert!(Record { ended: NOW.shifted(-24 * HOUR - 1), ..record(None) }.is_obsolete(NOW));
    }
}
