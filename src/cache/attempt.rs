//! Turns a finished fetch into the next record: which token it stores, and when the next fetch may begin.

use std::time::Duration;

use crate::base::account::Account;
use crate::base::clock::{Timestamp, millis};
use crate::base::error::Result;
use crate::base::random;
use crate::base::token::Credential;
use crate::cache::failure::{Requester, StoredFailure};
use crate::cache::freshness::{RenewalRules, Requirements};
use crate::cache::record::{Record, StoredToken};
use crate::cache::watched_files::Snapshot;
use crate::disk::turn::TurnPatience;

/// Bounds of the back-off after an attempt that returned no better token, in milliseconds.
const BACK_OFF_MIN: i64 = 30_000;
pub const BACK_OFF_MAX: i64 = 300_000;

/// How many failures of other processes a record keeps, and how many bytes of text they may have. With more, some processes
/// repeat a request.
const OTHER_FAILURES_MAX: usize = 64;
const OTHER_FAILURES_SIZE: usize = 24 * 1024;

/// Returns the time before which no process requests a better token than this one.
///
/// The wait is a tenth of the remaining validity, between 30 seconds and 5 minutes.
pub fn back_off(credential: &Credential, now: Timestamp) -> Timestamp {
    now.plus(back_off_time(credential, now))
}

/// Returns how long no process requests a better token than this one.
pub fn back_off_time(credential: &Credential, now: Timestamp) -> Duration {
    let wait = (credential.remaining(now).max / 10).clamp(BACK_OFF_MIN, BACK_OFF_MAX);
    Duration::from_millis(wait.unsigned_abs())
}

impl Record {
    /// Returns this record with the back-off set, to be written before a renewal.
    ///
    /// If ycred is killed during the renewal or cannot store the result, no other process repeats it immediately.
    #[must_use]
    pub fn with_back_off(&self, now: Timestamp) -> Self {
        let retry_at = self.token.as_ref().map(|stored| back_off(&stored.credential(), now));
        Self { retry_at, is_renewing: true, ..self.clone() }
    }
}

/// A finished fetch, not yet stored.
pub struct Attempt<'a> {
    pub began: Timestamp,
    pub ended: Timestamp,
    pub outcome: &'a Result<Credential>,
    /// Made by a relief leader, while the original leader still holds the lock.
    pub is_relief: bool,
    /// The process that made the attempt.
    pub requester: &'a Requester,
    /// How long the attempt could take.
    pub time_limit: Duration,
    /// How long to wait for the turn to store its result.
    pub patience: TurnPatience,
}

impl Attempt<'_> {
    /// Returns true if this result may replace `other`, which another process has stored during this attempt.
    pub(super) fn may_replace(&self, other: &Record) -> bool {
        let usable = other.token.as_ref().map(StoredToken::credential).filter(|old| !old.is_expired(self.ended));
        let is_better = match (self.outcome, usable, &other.failure) {
            (Ok(new), usable, _) => usable.is_none_or(|old| old.expires < new.expires),
            // The processes that wait for this failure do not accept the stored one.
            (Err(_), None, Some(failure)) => !failure.is_of(self.requester),
            (Err(_), ..) => false,
        };
        is_better && !other.logged_out
    }

    /// Returns the failures to keep next to the one of this attempt.
    fn other_failures(&self, before: Option<&Record>) -> Vec<StoredFailure> {
        let Some(before) = before.filter(|_| self.outcome.is_err()) else { return Vec::new() };
        // Nor one of a clock that was ahead, which would be kept until that time comes.
        let is_recent = |failure: &StoredFailure| self.ended.since(failure.at).saturating_abs() < BACK_OFF_MAX;
        let is_kept = |failure: &&StoredFailure| failure.counts_at_all() && is_recent(failure);
        let mut left = OTHER_FAILURES_SIZE;
        let fits = |failure: &&StoredFailure| {
            let size = failure.size();
            let fits = size <= left;
            left = left.saturating_sub(size);
            fits
        };
        let failures = before.failures().filter(|failure| !failure.is_of(self.requester)).filter(is_kept);
        failures.take(OTHER_FAILURES_MAX).take_while(fits).cloned().collect()
    }

    /// Returns the account to keep. One that the cloud has named keeps its name.
    fn account(&self, before: Option<&Record>) -> Option<Account> {
        let known = before.and_then(|before| before.account.as_ref());
        let new = self.outcome.as_ref().ok().and_then(|credential| credential.account.as_ref());
        let is_same = |new: &Account| known.is_some_and(|known| (known.kind, &known.id) == (new.kind, &new.id));
        new.filter(|new| !is_same(new)).or(known).cloned()
    }

    /// Returns the record to store after this attempt. `before` is the record that it replaces.
    ///
    /// The record keeps whichever token expires later. In three cases, the new token replaces the old one even if the old
    /// one expires later:
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
        let old = before.and_then(|record| record.token.as_ref()).filter(|stored| !stored.credential().is_expired(now));
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
                stored.credential().remaining(now).max >= millis(requirements.min_ttl)
                    && !rules.is_in_soft_window(stored, now)
            });
        Record {
            settings: settings.to_owned(),
            files: files.clone(),
            attempt: random::id(),
            began: self.began,
            ended: self.ended,
            retry_at: token.as_ref().filter(|_| !is_satisfied).map(|stored| back_off(&stored.credential(), now)),
            failure: (self.outcome.as_ref().err())
                .map(|error| StoredFailure::new(error, now, self.requester, self.time_limit)),
            other_failures: self.other_failures(before),
            account: self.account(before),
            logged_out: false,
            logout: before.and_then(|before| before.logout.clone()),
            is_renewing: false,
            relief: self.is_relief,
            token,
        }
    }

    /// Returns true if only `max-age` was the reason to renew. In that case the same token again is a success.
    fn was_due_by_age_only(&self, old: &StoredToken, requirements: &Requirements, rules: &RenewalRules) -> bool {
        let now = self.began;
        old.is_older_than(rules.max_age, now)
            && !rules.is_in_soft_window(old, now)
            && old.credential().remaining(now).max >= millis(requirements.min_ttl)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::error::Error;
    use crate::cache::freshness::tests::decision;
    use crate::cache::record::fixtures::*;
    use crate::cache::sharing_group::SharingGroup;

    /// The record after an attempt that began a second ago and ended now.
    fn after(
        before: Option<&Record>,
        outcome: Result<Credential>,
        requirements: &Requirements,
        rules: &RenewalRules,
    ) -> Record {
        let (requester, time_limit) = (&Requester::default(), Duration::from_secs(15));
        let began = NOW.shifted(-SECOND);
        let patience = TurnPatience { in_all: Duration::ZERO, with_one: Duration::ZERO };
        let attempt =
            Attempt { began, ended: NOW, outcome: &outcome, is_relief: false, requester, time_limit, patience };
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
    fn the_account_outlives_its_token_and_keeps_the_name_that_the_cloud_gave_it() {
        let of = |id: &str| token("t1.new", HOUR, HOUR).of(Account::service_account(id));
        let first = after(None, Ok(of("aje1")), &ANY, &PLAIN);
        assert_eq!(first.account(), Some(&Account::service_account("aje1")));
        let named = Account { name: Some("deployer".into()), ..Account::service_account("aje1") };
        let before = Record { account: Some(named.clone()), ..record(Some(stored(0, HOUR))) };
        let failed = after(Some(&before), Err(Error::refused("no")), &ANY, &PLAIN);
        assert_eq!((secret_of(&failed), failed.account()), (None, Some(&named)));
        assert_eq!(after(Some(&failed), Ok(of("aje1")), &ANY, &PLAIN).account(), Some(&named));
        let other = after(Some(&failed), Ok(of("aje2")), &ANY, &PLAIN);
        assert_eq!(other.account(), Some(&Account::service_account("aje2")));
        // A later version of ycred, or an earlier one, may have written the record.
        let mut json = serde_json::to_value(&other).expect("JSON");
        json.as_object_mut().expect("an object").remove("account");
        assert_eq!(serde_json::from_value::<Record>(json).expect("a record").account(), None);
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
    fn failures_of_others_are_kept_for_five_minutes_whatever_clock_they_are_of() {
        let other = Requester { group: SharingGroup::of_digest("other"), ..Requester::default() };
        let kept = |at| {
            let error = Error::unavailable("no route to the host");
            let failure = StoredFailure::new(&error, NOW.shifted(at), &other, Duration::ZERO);
            let before = Record { failure: Some(failure), ..record(None) };
            after(Some(&before), Err(Error::refused("no")), &ANY, &PLAIN).other_failures.len()
        };
        assert_eq!([-5 * MINUTE, 1 - 5 * MINUTE, 0, 5 * MINUTE - 1, 5 * MINUTE, HOUR].map(kept), [0, 1, 1, 1, 0, 0]);
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
}
