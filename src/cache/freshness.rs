//! Decides from a cache record whether its token is returned, renewed or replaced.
//!
//! Pure functions: the time is an argument, and nothing here reads or writes a file.

use std::time::Duration;

use crate::base::clock::{Timestamp, human, millis};
use crate::base::error::{Error, Result};
use crate::base::token::{Credential, SkewAge};
use crate::cache::failure::{Requester, StoredFailure};
use crate::cache::record::{FUTURE_TOLERANCE, Record, StoredToken};

/// A clock skew that was measured within this time counts as the current one.
const SKEW_IS_CURRENT_FOR: Duration = Duration::from_secs(60);

/// For so long after a fetch whose attempts all failed to connect, the next fetch makes one attempt.
const NO_CONNECTION_AGAIN: Duration = Duration::from_secs(15);

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

/// How a token counts for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// It is returned.
    Fresh,
    /// It is returned, and one process renews it.
    Refreshable(RenewalReason),
    /// Another one is fetched first. If that fails, this one is returned while it is valid.
    Unsuitable(FetchReason),
}

/// Why a token is due for renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalReason {
    /// No more than `refresh-before` remains.
    SoftWindow,
    /// It is older than `max-age`.
    MaxAge,
}

/// Why a token counts as expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchReason {
    /// It has expired.
    Expiry,
    /// Less than `min-ttl` remains.
    MinTtl,
    /// It was stored before this machine's clock was set back.
    Future,
}

/// What to do for a call, given its cache record.
#[derive(Debug)]
pub enum Decision {
    /// Return this token.
    Serve(TokenWithWarnings),
    /// Return this token. Renew it if no other process is doing so.
    Renew(Credential),
    /// Fetch a token first.
    Fetch,
    /// Report this remembered failure: there is no usable token.
    Refuse(Error),
}

/// A token to return, and the facts that the caller may have to warn about.
#[derive(Debug)]
pub struct TokenWithWarnings {
    pub credential: Credential,
    /// Why the last renewal failed, if it did.
    pub renewal_error: Option<String>,
    /// The token expires sooner than the caller asked for.
    pub below_min_ttl: bool,
    /// Whether the skew was measured within the last minute.
    pub skew_age: SkewAge,
}

impl Record {
    /// Decides how to answer a call from this record. The diagram in [`crate::cache`] shows the rules.
    ///
    /// `requester` describes this process. It is called only if the record has a failure, so that a hit costs less.
    pub fn decide(
        &self,
        requirements: &Requirements,
        rules: &RenewalRules,
        now: Timestamp,
        requester: &dyn Fn() -> Requester,
    ) -> Decision {
        if let Some(since) = requirements.force_since {
            // This process has not waited, so only the failure of the last attempt counts.
            return match self
                .result_for(requester, Timestamp(i64::MAX), requirements, now)
                .filter(|_| self.is_attempt_since(since, now))
            {
                Some(Ok(returned)) => Decision::Serve(returned),
                Some(Err(error)) => Decision::Refuse(error),
                None => Decision::Fetch,
            };
        }
        let Some(stored) = &self.token else {
            return self.active_failure(now, requester).map_or(Decision::Fetch, Decision::Refuse);
        };
        let state = rules.state_of(stored, requirements.min_ttl, now);
        if state == TokenState::Unsuitable(FetchReason::Expiry) {
            return self.active_failure(now, requester).map_or(Decision::Fetch, Decision::Refuse);
        }
        let is_backing_off = self.backs_off_until(now).is_some();
        // The back-off after a failure is only for the processes that the failure counts for.
        let is_backing_off_for = |limit: fn(&Requester) -> Duration| {
            is_backing_off
                && (self.failure.is_none() || {
                    let requester = requester();
                    self.failures().any(|failure| failure.counts_for(&requester, limit(&requester)))
                })
        };
        match state {
            // A renewal that has not ended says nothing about the cloud.
            TokenState::Unsuitable(_) if !self.is_renewing && is_backing_off_for(|requester| requester.fetch_limit) => {
                Decision::Serve(self.returned_token(stored, requirements, now))
            }
            TokenState::Unsuitable(_) => Decision::Fetch,
            TokenState::Refreshable(_) if !is_backing_off_for(|requester| requester.renewal_limit) => {
                Decision::Renew(stored.credential())
            }
            TokenState::Refreshable(_) | TokenState::Fresh => Decision::Serve(TokenWithWarnings {
                renewal_error: None,
                ..self.returned_token(stored, requirements, now)
            }),
        }
    }

    /// Returns how the stored token counts for a call, or `None` without a token.
    pub fn token_state(&self, min_ttl: Duration, rules: &RenewalRules, now: Timestamp) -> Option<TokenState> {
        self.token.as_ref().map(|stored| rules.state_of(stored, min_ttl, now))
    }

    /// Returns the time before which no process asks for a better token than the stored one, if it is in the future.
    pub fn backs_off_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.retry_at.filter(|at| now < *at && self.ended <= now.plus(FUTURE_TOLERANCE))
    }

    /// Returns true if this record is a valid answer to a refresh that was forced at `since`.
    ///
    /// Its attempt must have begun at `since` or later. If it succeeded, the record must contain its token: a
    /// record may keep an older token that expires later, which does not count. Nor does an attempt in the future: this machine's
    /// clock was set back since, or another machine's clock is ahead.
    pub fn is_attempt_since(&self, since: Timestamp, now: Timestamp) -> bool {
        (since..=now).contains(&self.began)
            && (self.failure.is_some() || self.token.as_ref().is_none_or(|stored| stored.fetched >= self.began))
    }

    /// Returns [`Self::result`] for a waiter: a process that has waited since `since` for another process's attempt.
    ///
    /// `None` if the attempt failed, and none of the failures counts for the waiter.
    pub fn result_for(
        &self,
        requester: &dyn Fn() -> Requester,
        since: Timestamp,
        requirements: &Requirements,
        now: Timestamp,
    ) -> Option<Result<TokenWithWarnings>> {
        let Some(last) = &self.failure else { return self.result(requirements, now) };
        let requester = requester();
        let is_new = |failure: &&StoredFailure| (since..=now).contains(&failure.at) || std::ptr::eq(*failure, last);
        let failure = self
            .failures()
            .filter(is_new)
            .find(|failure| failure.counts_for(&requester, requester.fetch_limit))?
            .clone();
        Self { failure: Some(failure), ..self.clone() }.result(requirements, now)
    }

    /// Returns the remembered failures, the last one first.
    pub(super) fn failures(&self) -> impl Iterator<Item = &StoredFailure> {
        self.failure.iter().chain(&self.other_failures)
    }

    /// Returns true if a process of the same group, but with other surroundings or another subject token, has failed since
    /// `since`, or so recently that the failure is still remembered.
    pub fn has_failed_for_unlike(&self, requester: &Requester, since: Timestamp, now: Timestamp) -> bool {
        self.failures().any(|failure| {
            failure.is_of_unlike(requester) && ((since..=now).contains(&failure.at) || failure.is_remembered(now))
        })
    }

    /// Returns true if a process with the same requester has just found that no connection can be made.
    pub fn has_just_failed_to_connect(&self, requester: &Requester, now: Timestamp) -> bool {
        let is_recent = |failure: &StoredFailure| now.since(failure.at).abs() < millis(NO_CONNECTION_AGAIN);
        self.failures().any(|failure| failure.is_unsent && failure.is_of(requester) && is_recent(failure))
    }

    /// Returns the result of the attempt that wrote this record.
    ///
    /// `None` if the record has neither a usable token nor a failure.
    pub fn result(&self, requirements: &Requirements, now: Timestamp) -> Option<Result<TokenWithWarnings>> {
        let usable = self.token.as_ref().filter(|stored| !stored.credential().is_expired(now));
        match (&self.failure, usable) {
            (None, Some(stored)) => Some(Ok(self.returned_token(stored, requirements, now))),
            (Some(_), Some(stored)) if requirements.force_since.is_none() => {
                Some(Ok(self.returned_token(stored, requirements, now)))
            }
            (Some(failure), _) => Some(Err(failure.error())),
            (None, None) => None,
        }
    }

    fn returned_token(&self, stored: &StoredToken, requirements: &Requirements, now: Timestamp) -> TokenWithWarnings {
        let credential = stored.credential();
        TokenWithWarnings {
            renewal_error: self.failure.as_ref().map(|failure| failure.message.clone()),
            below_min_ttl: credential.remaining(now).max < millis(requirements.min_ttl),
            skew_age: match now.since(stored.fetched).unsigned_abs() < SKEW_IS_CURRENT_FOR.as_millis() as u64 {
                true => SkewAge::Current,
                false => SkewAge::Earlier,
            },
            credential,
        }
    }

    /// Returns the failure with its age in the message, as long as it is remembered.
    fn active_failure(&self, now: Timestamp, requester: &dyn Fn() -> Requester) -> Option<Error> {
        let is_active = |failure: &&StoredFailure| failure.is_remembered(now);
        self.failures().find(is_active)?;
        let requester = requester();
        let failure =
            self.failures().filter(is_active).find(|failure| failure.counts_for(&requester, requester.fetch_limit))?;
        let age = format!("{} (remembered, {} ago)", failure.message, human(now.since(failure.at).max(0)));
        Some(
            StoredFailure { message: age, ..failure.clone() }.error().hint("to ask again at once, run `ycred refresh`"),
        )
    }
}

impl RenewalRules {
    fn state_of(&self, stored: &StoredToken, min_ttl: Duration, now: Timestamp) -> TokenState {
        let left = stored.credential().remaining(now).max;
        if left <= 0 {
            TokenState::Unsuitable(FetchReason::Expiry)
        } else if left < millis(min_ttl) {
            TokenState::Unsuitable(FetchReason::MinTtl)
        } else if stored.is_fetched_in_future(now) {
            TokenState::Unsuitable(FetchReason::Future)
        } else if self.is_in_soft_window(stored, now) {
            TokenState::Refreshable(RenewalReason::SoftWindow)
        } else if stored.is_older_than(self.max_age, now) {
            TokenState::Refreshable(RenewalReason::MaxAge)
        } else {
            TokenState::Fresh
        }
    }

    /// Returns [`Record::token_state`] for a token without a record, which was fetched at this time.
    pub fn state_without_record(
        &self,
        credential: &Credential,
        fetched: Timestamp,
        min_ttl: Duration,
        now: Timestamp,
    ) -> TokenState {
        self.state_of(&StoredToken::new(credential, fetched), min_ttl, now)
    }

    /// Returns when a token fetched at `fetched` becomes due for renewal, by the cloud's clock.
    pub fn renewal_time(&self, credential: &Credential, fetched: Timestamp) -> Timestamp {
        let by_window = credential.expires.shifted(-self.soft_window(credential));
        self.max_age.map_or(by_window, |age| by_window.min(fetched.plus(age)))
    }

    /// Returns true if a token fetched at `fetched` should be renewed. For tokens without a cache record.
    pub fn is_renewal_due(&self, credential: &Credential, fetched: Timestamp, now: Timestamp) -> bool {
        self.is_due(&StoredToken::new(credential, fetched), now)
    }

    /// Returns true if a token that has not expired should be renewed.
    fn is_due(&self, stored: &StoredToken, now: Timestamp) -> bool {
        self.is_in_soft_window(stored, now)
            || stored.is_older_than(self.max_age, now)
            || stored.is_fetched_in_future(now)
    }

    pub(super) fn is_in_soft_window(&self, stored: &StoredToken, now: Timestamp) -> bool {
        let credential = stored.credential();
        credential.remaining(now).min <= self.soft_window(&credential)
    }

    /// Returns how long before its expiry a token is renewed, in milliseconds.
    ///
    /// This is `refresh-before` or a tenth of the token's lifetime, and at most half of the lifetime.
    pub fn soft_window(&self, credential: &Credential) -> i64 {
        self.refresh_before.map_or(credential.lifetime() / 10, millis).min(credential.lifetime() / 2)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cache::failure::PresentedToken;
    use crate::cache::record::fixtures::*;
    use crate::cache::sharing_group::SharingGroup;

    pub fn decision(record: &Record, requirements: &Requirements, rules: &RenewalRules) -> &'static str {
        match record.decide(requirements, rules, NOW, &Requester::default) {
            Decision::Serve(TokenWithWarnings { below_min_ttl: true, .. }) => "serve, short",
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
    fn refresh_before_extends_the_soft_window_up_to_half_of_the_lifetime() {
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
        // A renewal has begun, and has not ended or was killed.
        let renewing = |stored| Record { is_renewing: true, ..with_back_off(stored, 1) };
        assert_eq!(default_decision(&renewing(soft())), "serve");
        assert_eq!(default_decision(&renewing(stored(30 * SECOND, 12 * HOUR))), "fetch");
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
            (Error::profile("wrong").caused_elsewhere(), 5 * SECOND),
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
        let local = Error::profile("wrong");
        assert_eq!(default_decision(&failed(None, &local, 0)), "fetch", "it may have been fixed since");
        assert_eq!(default_decision(&failed(None, &refused, 5 * SECOND - 1)), "refuse");
        assert_eq!(default_decision(&failed(None, &refused, 5 * SECOND)), "fetch", "the clock was set back since");
    }

    #[test]
    fn a_remembered_failure_reports_the_same_error_with_its_age() {
        let error = Error::refused("the cloud says no").hint("ask it nicely");
        let Decision::Refuse(again) = failed(None, &error, -3 * SECOND).decide(&ANY, &PLAIN, NOW, &Requester::default)
        else {
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
            failure: failure.map(|error| StoredFailure::new(error, NOW, &Requester::default(), Duration::ZERO)),
            ..record(token)
        };
        let forced = Requirements { force_since: Some(NOW), ..ANY };
        let fresh = || Some(stored(12 * HOUR, 12 * HOUR));
        assert_eq!(decision(&began(-1, fresh(), None), &forced, &PLAIN), "fetch");
        assert_eq!(decision(&began(0, fresh(), None), &forced, &PLAIN), "serve");
        assert_eq!(decision(&began(1, fresh(), None), &forced, &PLAIN), "fetch", "the clock was set back");
        let error = Error::refused("no");
        assert_eq!(decision(&began(0, fresh(), Some(&error)), &forced, &PLAIN), "refuse", "it never falls back");
        assert_eq!(decision(&began(-1, fresh(), Some(&error)), &forced, &PLAIN), "fetch");
        assert_eq!(decision(&began(0, None, None), &forced, &PLAIN), "fetch");
    }

    #[test]
    fn a_waiter_ignores_older_failures_of_a_clock_that_was_ahead() {
        let requester = |group| Requester { group: SharingGroup::of_digest(group), ..Requester::default() };
        let failure = |group, at| {
            let error = Error::unavailable(format!("of {group}"));
            StoredFailure::new(&error, NOW.shifted(at), &requester(group), Duration::ZERO)
        };
        let result_at = |at| {
            let (failure, others) = (Some(failure("a", 0)), vec![failure("b", at)]);
            let record = Record { failure, other_failures: others, ..record(None) };
            record.result_for(&|| requester("b"), NOW.shifted(-SECOND), &ANY, NOW).is_some()
        };
        let times = [-SECOND - 1, -SECOND, 0, 1, HOUR];
        assert_eq!(times.map(result_at), [false, true, true, false, false]);
    }

    #[test]
    fn a_failure_of_an_unlike_process_by_a_clock_that_was_ahead_leads_to_no_further_lock() {
        let requester = |token: &str| Requester {
            presented_token: Some(PresentedToken { digest: token.into(), is_from_request: true }),
            ..Requester::default()
        };
        let has_failed = |at| {
            let error = Error::profile("rejected");
            let failure = StoredFailure::new(&error, NOW.shifted(at), &requester("a"), Duration::ZERO);
            let record = Record { failure: Some(failure), ..record(None) };
            record.has_failed_for_unlike(&requester("b"), NOW.shifted(-SECOND), NOW)
        };
        let times = [-SECOND - 1, -SECOND, 0, 1, HOUR];
        assert_eq!(times.map(has_failed), [false, true, true, false, false]);
    }

    #[test]
    fn a_token_without_a_record_that_was_fetched_in_the_future_is_due() {
        let due = |ahead| PLAIN.is_renewal_due(&token("t1.x", 12 * HOUR, 12 * HOUR), NOW.shifted(ahead), NOW);
        assert_eq!([due(0), due(MINUTE), due(MINUTE + 1)], [false, false, true]);
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
}
