//! The record of one identity, and the life of a token in it. Pure: the time is an argument, and nothing is read or written.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::{Timestamp, human, millis};
use crate::base::error::{Error, Kind, Result};
use crate::base::random;
use crate::base::secret::{Secret, expose};
use crate::base::token::{Credential, SkewReading};
use crate::cache::snapshot::Snapshot;

/// A record from further ahead than this was written by a clock that has been put back since.
pub const FUTURE: Duration = Duration::from_secs(60);

/// How long a failure answers later arrivals: refusals, and what may be over in a moment.
const REMEMBER_REFUSED: Duration = Duration::from_secs(5);
const REMEMBER_UNAVAILABLE: Duration = Duration::from_secs(2);
const REMEMBER_MOST: Duration = Duration::from_secs(60);

/// Bounds of the back-off after an attempt that brought nothing better.
const BACK_OFF_LEAST: i64 = 30_000;
const BACK_OFF_MOST: i64 = 300_000;

/// What is on disk for one identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The identity whole: another one under the same name is a miss.
    pub(super) settings: String,
    /// What the files of the identity held when the token was asked for.
    pub(super) files: Snapshot,
    /// Drawn anew by every finished fetch.
    pub attempt: String,
    /// When that fetch began and ended, by this machine's clock.
    pub began: Timestamp,
    pub ended: Timestamp,
    pub(super) token: Option<StoredToken>,
    /// Before it nobody asks for something better than a usable token.
    retry_at: Option<Timestamp>,
    /// Why the last attempt failed, if it did.
    failure: Option<Failure>,
    /// `logout` wrote this. Whoever began before it may use what it fetches, but not keep it.
    #[serde(default)]
    pub logged_out: bool,
    /// The attempt was made by one who lost patience with a leader that may still succeed.
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
    /// When it was last confirmed by its source, by this machine's clock: what `max-age` counts from.
    fetched: Timestamp,
    /// Its source named no end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    assumed: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Failure {
    kind: u8,
    message: String,
    hint: Option<String>,
    /// Time ran out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    timed_out: bool,
    at: Timestamp,
    until: Timestamp,
}

/// What a caller wants.
#[derive(Clone, Copy, Debug)]
pub struct Requirements {
    /// A token with less left than this is expired.
    pub min_ttl: Duration,
    /// Only a fetch that began at this moment or later counts (`--force-refresh`).
    pub force_since: Option<Timestamp>,
}

/// When a token of this grant is due for renewal.
#[derive(Clone, Copy, Debug)]
pub struct RenewalRules {
    pub refresh_before: Option<Duration>,
    pub max_age: Option<Duration>,
}

/// What to do about what was found.
#[derive(Debug)]
pub enum Decision {
    /// Hand it out.
    Serve(ReturnedToken),
    /// Hand it out, and if nobody else is at it, renew it.
    Renew(Credential),
    /// Fetch first.
    Fetch,
    /// A failure is remembered, and nothing usable is there.
    Refuse(Error),
}

/// A token to hand out, and what must be said with it.
#[derive(Debug)]
pub struct ReturnedToken {
    pub credential: Credential,
    /// Renewing failed; the reason.
    pub although: Option<String>,
    /// It has less left than was asked for.
    pub below_min_ttl: bool,
    /// The skew was measured within the last minute.
    pub skew: SkewReading,
}

impl Record {
    /// The life of a token (see the head of this file).
    pub fn decide(&self, requirements: &Requirements, rules: &RenewalRules, now: Timestamp) -> Decision {
        if let Some(since) = requirements.force_since {
            return match self.result(requirements, now).filter(|_| self.counts_since(since)) {
                Some(Ok(answer)) => Decision::Serve(answer),
                Some(Err(error)) => Decision::Refuse(error),
                None => Decision::Fetch,
            };
        }
        let Some(kept) = &self.token else {
            return self.remembered_failure(now).map_or(Decision::Fetch, Decision::Refuse);
        };
        let credential = kept.credential();
        let left = credential.left(now);
        let backing_off = self.retry_at.is_some_and(|at| now < at) && self.ended <= now.plus(FUTURE);
        if left.longer <= 0 {
            return self.remembered_failure(now).map_or(Decision::Fetch, Decision::Refuse);
        }
        if left.longer < millis(requirements.min_ttl) || kept.is_from_the_future(now) {
            return if backing_off { Decision::Serve(self.answer(kept, requirements, now)) } else { Decision::Fetch };
        }
        let due = rules.is_due(kept, now);
        if due && !backing_off {
            Decision::Renew(credential)
        } else {
            Decision::Serve(ReturnedToken { although: None, ..self.answer(kept, requirements, now) })
        }
    }

    /// What `logout` leaves: nothing, under a fresh attempt id.
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

    /// The same record without its token and without a failure.
    #[must_use]
    pub(super) fn without_token(self) -> Self {
        Self { token: None, retry_at: None, failure: None, ..self }
    }

    /// Whether this record answers a refresh that was forced at `since`: its attempt began no earlier, and the token,
    /// if that is the answer, is what it got and not an older one that lives longer.
    pub fn counts_since(&self, since: Timestamp) -> bool {
        self.began >= since
            && (self.failure.is_some() || self.token.as_ref().is_none_or(|kept| kept.fetched >= self.began))
    }

    /// What the attempt that wrote this record brought: for whoever waited for it. None: a record without either.
    pub fn result(&self, requirements: &Requirements, now: Timestamp) -> Option<Result<ReturnedToken>> {
        let usable = self.token.as_ref().filter(|kept| kept.credential().left(now).longer > 0);
        match (&self.failure, usable) {
            (None, Some(kept)) => Some(Ok(self.answer(kept, requirements, now))),
            (Some(_), Some(kept)) if requirements.force_since.is_none() => {
                Some(Ok(self.answer(kept, requirements, now)))
            }
            (Some(failure), _) => Some(Err(failure.error())),
            (None, None) => None,
        }
    }

    fn answer(&self, kept: &StoredToken, requirements: &Requirements, now: Timestamp) -> ReturnedToken {
        let credential = kept.credential();
        ReturnedToken {
            although: self.failure.as_ref().map(|failure| failure.message.clone()),
            below_min_ttl: credential.left(now).longer < millis(requirements.min_ttl),
            skew: match now.since(kept.fetched).unsigned_abs() < FUTURE.as_millis() as u64 {
                true => SkewReading::Current,
                false => SkewReading::Earlier,
            },
            credential,
        }
    }

    /// The failure as it answers later arrivals, while it does.
    fn remembered_failure(&self, now: Timestamp) -> Option<Error> {
        let failure = self.failure.as_ref().filter(|_| !self.relief)?;
        if failure.until <= now || failure.at > now.plus(FUTURE) {
            return None;
        }
        let age = format!("{} (remembered, {} ago)", failure.message, human(now.since(failure.at).max(0)));
        Some(Failure { message: age, ..failure.clone() }.error().hint("`ycred refresh` asks again at once"))
    }

    /// The identity whole.
    pub fn settings(&self) -> &str {
        &self.settings
    }

    /// The token, if one is kept, dead or alive.
    pub fn credential(&self) -> Option<Credential> {
        self.token.as_ref().map(StoredToken::credential)
    }

    /// Whether there is neither a token nor a reason: `logout` has emptied it, or the token was rejected.
    pub fn is_emptied(&self) -> bool {
        self.token.is_none() && self.failure.is_none()
    }

    /// The same record with the back-off set before a renewal is tried: if we are killed in the middle, or cannot store
    /// what we get, nobody repeats it at once.
    #[must_use]
    pub fn backing_off(&self, now: Timestamp) -> Self {
        Self { retry_at: self.token.as_ref().map(|kept| back_off(&kept.credential(), now)), ..self.clone() }
    }

    /// Whether one who lost patience with the leader has failed too; the leader may still succeed.
    pub fn is_failed_relief(&self) -> bool {
        self.relief && self.failure.is_some()
    }

    /// Whether all that came of the last attempt is a reason.
    pub(super) fn is_failure_alone(&self, now: Timestamp) -> bool {
        self.failure.is_some() && self.token.as_ref().is_none_or(|kept| kept.credential().left(now).longer <= 0)
    }

    /// Whether this record serves nobody any more.
    pub(super) fn is_dead(&self, now: Timestamp) -> bool {
        let a_day_ago = now.minus(Duration::from_secs(24 * 3600));
        self.ended < a_day_ago && self.token.as_ref().is_none_or(|kept| kept.credential().left(a_day_ago).longer <= 0)
    }
}

impl RenewalRules {
    /// Whether a token that was got at `fetched` should be renewed: for one that is in no record.
    pub fn is_renewal_due(&self, credential: &Credential, fetched: Timestamp, now: Timestamp) -> bool {
        self.is_due(&StoredToken::new(credential, fetched), now)
    }

    /// Whether a token that is not expired should be renewed.
    fn is_due(&self, kept: &StoredToken, now: Timestamp) -> bool {
        self.is_in_soft_window(kept, now) || kept.is_older_than(self.max_age, now)
    }

    fn is_in_soft_window(&self, kept: &StoredToken, now: Timestamp) -> bool {
        let credential = kept.credential();
        credential.left(now).shorter <= self.soft_window(&credential)
    }

    /// Milliseconds before the end at which renewing begins: as configured or a tenth of the life, never over half of
    /// it.
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

    fn is_from_the_future(&self, now: Timestamp) -> bool {
        self.fetched > now.plus(FUTURE)
    }

    fn is_older_than(&self, max_age: Option<Duration>, now: Timestamp) -> bool {
        max_age.is_some_and(|age| now.since(self.fetched) >= millis(age))
    }
}

/// How long a failure answers later arrivals.
pub fn failure_lifetime(error: &Error) -> Duration {
    match error.kind {
        Kind::Unavailable => {
            error.retry_after.unwrap_or(REMEMBER_UNAVAILABLE).clamp(REMEMBER_UNAVAILABLE, REMEMBER_MOST)
        }
        _ => REMEMBER_REFUSED,
    }
}

impl Failure {
    fn new(error: &Error, at: Timestamp) -> Self {
        let length = failure_lifetime(error);
        // Short enough that "(remembered, N ago)" still fits on the line behind it.
        let message: String = error.reason().chars().take(400).collect();
        Self {
            kind: error.kind.exit_code(),
            message,
            hint: error.hint_text(),
            timed_out: error.has_timed_out,
            at,
            until: at.plus(length),
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

/// Until when nobody asks for something better than this: for a tenth of what is left, within 30 seconds and 5 minutes.
pub fn back_off(credential: &Credential, now: Timestamp) -> Timestamp {
    let wait = (credential.left(now).longer / 10).clamp(BACK_OFF_LEAST, BACK_OFF_MOST);
    now.shifted(wait)
}

/// A finished fetch, on its way into a record.
pub struct Attempt<'a> {
    pub began: Timestamp,
    pub ended: Timestamp,
    pub outcome: &'a Result<Credential>,
    /// Made beside a silent holder of the lock.
    pub is_relief: bool,
}

impl Attempt<'_> {
    /// The record after this attempt, given the one before it.
    ///
    /// Of two tokens the later-expiring is kept, unless the old one was to be got rid of: by `--force-refresh` (it may
    /// be revoked), for its age (a VM's service account may have been swapped), or since its times are of a wrong
    /// clock.
    pub(super) fn record(
        &self,
        settings: &str,
        files: &Snapshot,
        before: Option<&Record>,
        requirements: &Requirements,
        rules: &RenewalRules,
    ) -> Record {
        let now = self.ended;
        let old = before.and_then(|record| record.token.as_ref()).filter(|kept| kept.credential().left(now).longer > 0);
        let (token, better) = match (self.outcome, old) {
            (Err(_), old) => (old.cloned(), false),
            (Ok(new), None) => (Some(StoredToken::new(new, now)), true),
            // Reckoned by a clock that has been put back since: what is told now is right, even if it is earlier.
            (Ok(new), Some(old)) if old.is_from_the_future(self.began) => (Some(StoredToken::new(new, now)), true),
            (Ok(new), Some(old)) if new.secret == old.secret => {
                // The same token: its source vouches for it anew, but its life began when it did (unless nobody knows
                // when).
                let same = if new.assumed { StoredToken::new(new, now) } else { old.clone() };
                let was_for_its_age =
                    requirements.force_since.is_none() && self.was_due_for_age_alone(old, requirements, rules);
                (Some(StoredToken { fetched: now, skew: new.skew, ..same }), was_for_its_age)
            }
            (Ok(new), Some(old)) if new.expires > old.expires => (Some(StoredToken::new(new, now)), true),
            (Ok(new), Some(old))
                if requirements.force_since.is_some() || old.is_older_than(rules.max_age, self.began) =>
            {
                (Some(StoredToken::new(new, now)), true)
            }
            (Ok(_), Some(old)) => (Some(old.clone()), false),
        };
        // A token that is better, but still short of what was asked or in its soft window from the start (a wrong
        // clock, a very short life), counts as "nothing better", or every run would make a request.
        let satisfied = better
            && token.as_ref().is_none_or(|kept| {
                kept.credential().left(now).longer >= millis(requirements.min_ttl)
                    && !rules.is_in_soft_window(kept, now)
            });
        Record {
            settings: settings.to_owned(),
            files: files.clone(),
            attempt: random::id(),
            began: self.began,
            ended: self.ended,
            retry_at: token.as_ref().filter(|_| !satisfied).map(|kept| back_off(&kept.credential(), now)),
            failure: self.outcome.as_ref().err().map(|error| Failure::new(error, now)),
            logged_out: false,
            relief: self.is_relief,
            token,
        }
    }

    /// Whether only `max-age` asked for this renewal: then the same token again is all that was wanted.
    fn was_due_for_age_alone(&self, old: &StoredToken, requirements: &Requirements, rules: &RenewalRules) -> bool {
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

    pub fn token(name: &str, left: i64, life: i64) -> Credential {
        let expires = NOW.shifted(left);
        Credential {
            secret: Secret::new(name.into()),
            issued: expires.shifted(-life),
            expires,
            skew: 0,
            assumed: false,
        }
    }

    /// A token of `life` of which `left` is left now, fetched when its life began.
    fn kept(left: i64, life: i64) -> StoredToken {
        let credential = token("t1.old", left, life);
        StoredToken::new(&credential, credential.issued)
    }

    fn record(token: Option<StoredToken>) -> Record {
        let moment = token.as_ref().map_or(NOW, |kept| kept.fetched);
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

    fn backing_off(token: StoredToken, until: i64) -> Record {
        Record { retry_at: Some(NOW.shifted(until)), ..record(Some(token)) }
    }

    fn failed(token: Option<StoredToken>, error: &Error, at: i64) -> Record {
        Record { failure: Some(Failure::new(error, NOW.shifted(at))), ..record(token) }
    }

    fn verdict(record: &Record, requirements: &Requirements, rules: &RenewalRules) -> &'static str {
        match record.decide(requirements, rules, NOW) {
            Decision::Serve(ReturnedToken { below_min_ttl: true, .. }) => "serve, short",
            Decision::Serve(_) => "serve",
            Decision::Renew(_) => "renew",
            Decision::Fetch => "fetch",
            Decision::Refuse(_) => "refuse",
        }
    }

    pub fn plain(record: &Record) -> &'static str {
        verdict(record, &ANY, &PLAIN)
    }

    #[test]
    fn the_soft_window_begins_to_the_millisecond_when_a_tenth_is_left() {
        assert_eq!(plain(&record(Some(kept(72 * MINUTE + 1, 12 * HOUR)))), "serve");
        assert_eq!(plain(&record(Some(kept(72 * MINUTE, 12 * HOUR)))), "renew");
    }

    #[test]
    fn refresh_before_moves_the_soft_window_up_to_half_of_the_life() {
        let rules = |ms| RenewalRules { refresh_before: Some(length(ms)), ..PLAIN };
        let at = |left, before| verdict(&record(Some(kept(left, 12 * HOUR))), &ANY, &rules(before));
        assert_eq!([at(HOUR + 1, HOUR), at(HOUR, HOUR)], ["serve", "renew"]);
        assert_eq!([at(6 * HOUR + 1, 11 * HOUR), at(6 * HOUR, 11 * HOUR)], ["serve", "renew"]);
        assert_eq!([at(6 * HOUR + 1, 6 * HOUR + 1), at(6 * HOUR, 6 * HOUR + 1)], ["serve", "renew"]);
        assert_eq!([at(2 * MINUTE, 0), at(MINUTE, 0)], ["serve", "serve"], "no window at all");
        // Longer than the life of a short token: it still has a fresh half.
        let short = |left| verdict(&record(Some(kept(left, 10 * MINUTE))), &ANY, &rules(HOUR));
        assert_eq!([short(5 * MINUTE + 1), short(5 * MINUTE)], ["serve", "renew"]);
    }

    #[test]
    fn below_the_floor_a_token_is_expired_to_the_millisecond() {
        let at = |left| plain(&record(Some(kept(left, 12 * HOUR))));
        assert_eq!([at(MINUTE), at(MINUTE - 1), at(1), at(0), at(-1)], ["renew", "fetch", "fetch", "fetch", "fetch"]);
        let requirements = Requirements { min_ttl: length(12 * HOUR), ..ANY };
        assert_eq!(verdict(&record(Some(kept(12 * HOUR, 12 * HOUR))), &requirements, &PLAIN), "serve");
        assert_eq!(verdict(&record(Some(kept(12 * HOUR - 1, 12 * HOUR))), &requirements, &PLAIN), "fetch");
        assert_eq!(plain(&record(None)), "fetch");
    }

    #[test]
    fn max_age_makes_a_token_refreshable_to_the_millisecond() {
        let rules = RenewalRules { max_age: Some(length(MINUTE)), ..PLAIN };
        let at = |age| verdict(&record(Some(kept(12 * HOUR - age, 12 * HOUR))), &ANY, &rules);
        assert_eq!([at(MINUTE - 1), at(MINUTE), at(HOUR)], ["serve", "renew", "renew"]);
        // Counted from when it was last confirmed, not from its birth.
        let confirmed = StoredToken { fetched: NOW.shifted(-MINUTE + 1), ..kept(6 * HOUR, 12 * HOUR) };
        assert_eq!(verdict(&record(Some(confirmed)), &ANY, &rules), "serve");
    }

    #[test]
    fn before_retry_at_nobody_asks_for_something_better() {
        let soft = || kept(HOUR, 12 * HOUR);
        assert_eq!(plain(&backing_off(soft(), 1)), "serve");
        assert_eq!(plain(&backing_off(soft(), 0)), "renew");
        assert_eq!(plain(&backing_off(kept(30 * SECOND, 12 * HOUR), 1)), "serve, short");
        assert_eq!(plain(&backing_off(kept(30 * SECOND, 12 * HOUR), 0)), "fetch");
        let rules = RenewalRules { max_age: Some(Duration::ZERO), ..PLAIN };
        assert_eq!(verdict(&backing_off(kept(11 * HOUR, 12 * HOUR), 1), &ANY, &rules), "serve");
        assert_eq!(plain(&backing_off(kept(0, 12 * HOUR), 1)), "fetch", "a dead token is not handed out for it");
        let forced = Requirements { force_since: Some(NOW), ..ANY };
        assert_eq!(verdict(&backing_off(soft(), 1), &forced, &PLAIN), "fetch");
    }

    #[test]
    fn a_record_from_the_future_is_fetched_first() {
        let at = |ahead| {
            let token = StoredToken { fetched: NOW.shifted(ahead), ..kept(11 * HOUR, 12 * HOUR) };
            plain(&record(Some(token)))
        };
        assert_eq!([at(MINUTE), at(MINUTE + 1), at(24 * HOUR)], ["serve", "fetch", "fetch"]);
        // Nor does its back-off count, which would last as long as the clock was wrong.
        let future = StoredToken { fetched: NOW.shifted(HOUR), ..kept(11 * HOUR, 12 * HOUR) };
        assert_eq!(plain(&backing_off(future, 2 * HOUR)), "fetch");
        let late = Record { ended: NOW.shifted(MINUTE + 1), ..backing_off(kept(HOUR, 12 * HOUR), 2 * HOUR) };
        assert_eq!(plain(&late), "renew");
    }

    #[test]
    fn the_shorter_reckoning_decides_when_to_renew_and_the_longer_whether_it_is_dead() {
        let skewed = |left, skew| record(Some(StoredToken { skew, ..kept(left, 12 * HOUR) }));
        // By our clock there are 80 minutes left; the cloud's is ten minutes ahead, so there are 70.
        assert_eq!(plain(&skewed(80 * MINUTE, 10 * MINUTE)), "renew");
        assert_eq!(plain(&skewed(83 * MINUTE, 10 * MINUTE)), "serve");
        // By our clock it died five minutes ago; the cloud's is ten minutes behind, so five are left.
        assert_eq!(plain(&skewed(-5 * MINUTE, -10 * MINUTE)), "renew");
        assert_eq!(plain(&skewed(-9 * MINUTE - 1, -10 * MINUTE)), "fetch", "less than the floor is left");
        assert_eq!(plain(&skewed(-10 * MINUTE, -10 * MINUTE)), "fetch");
    }

    #[test]
    fn a_failure_answers_later_arrivals_for_its_time_and_no_longer() {
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
            assert_eq!(plain(&failed(None, &error, 1 - lasts)), "refuse", "{error:?}");
            assert_eq!(plain(&failed(None, &error, -lasts)), "fetch", "{error:?}");
            assert_eq!(
                plain(&failed(Some(kept(0, HOUR)), &error, 1 - lasts)),
                "refuse",
                "a dead token changes nothing"
            );
            assert_eq!(plain(&failed(Some(kept(30 * MINUTE, HOUR)), &error, 1 - lasts)), "serve", "a usable one does");
        }
        assert_eq!(plain(&failed(None, &refused, MINUTE)), "refuse");
        assert_eq!(plain(&failed(None, &refused, MINUTE + 1)), "fetch", "a failure from the future");
    }

    #[test]
    fn a_remembered_failure_is_the_same_one_and_says_how_old_it_is() {
        let error = Error::refused("the cloud says no").hint("ask it nicely");
        let Decision::Refuse(again) = failed(None, &error, -3 * SECOND).decide(&ANY, &PLAIN, NOW) else {
            panic!("it is not remembered");
        };
        assert_eq!(again.kind, error.kind);
        assert_eq!(
            again.render(),
            "ycred: error: the cloud says no (remembered, 3s ago)\nycred: hint: ask it nicely\n"
        );
        // Whoever waited for that very attempt hears it as it was.
        let Some(Err(fresh)) = failed(None, &error, -3 * SECOND).result(&ANY, NOW) else { panic!("no failure") };
        assert_eq!(fresh.render(), error.render());
    }

    #[test]
    fn force_refresh_counts_only_fetches_that_began_since() {
        let began = |ms, token, failure: Option<&Error>| Record {
            began: NOW.shifted(ms),
            failure: failure.map(|error| Failure::new(error, NOW)),
            ..record(token)
        };
        let forced = Requirements { force_since: Some(NOW), ..ANY };
        let fresh = || Some(kept(12 * HOUR, 12 * HOUR));
        assert_eq!(verdict(&began(-1, fresh(), None), &forced, &PLAIN), "fetch");
        assert_eq!(verdict(&began(0, fresh(), None), &forced, &PLAIN), "serve");
        let error = Error::refused("no");
        assert_eq!(verdict(&began(0, fresh(), Some(&error)), &forced, &PLAIN), "refuse", "it never falls back");
        assert_eq!(verdict(&began(-1, fresh(), Some(&error)), &forced, &PLAIN), "fetch");
        assert_eq!(verdict(&began(0, None, None), &forced, &PLAIN), "fetch");
    }

    #[test]
    fn force_refresh_is_not_answered_by_an_old_token_that_outlived_a_new_one() {
        let forced = Requirements { force_since: Some(NOW.shifted(-SECOND)), ..ANY };
        let before = record(Some(kept(HOUR, 12 * HOUR)));
        let shorter = after(Some(&before), Ok(token("t1.new", MINUTE, MINUTE)), &ANY, &PLAIN);
        assert_eq!(name(&shorter).as_deref(), Some("t1.old"));
        assert_eq!(verdict(&shorter, &forced, &PLAIN), "fetch");
        let longer = after(Some(&before), Ok(token("t1.new", 2 * HOUR, 2 * HOUR)), &ANY, &PLAIN);
        assert_eq!(verdict(&longer, &forced, &PLAIN), "serve");
        let same = after(Some(&before), Ok(token("t1.old", HOUR, HOUR)), &ANY, &PLAIN);
        assert_eq!(verdict(&same, &forced, &PLAIN), "serve", "the cloud gives it again");
    }

    #[test]
    fn a_waiter_takes_the_usable_token_with_the_reason_why_it_is_no_newer() {
        let error = Error::unavailable("the cloud is down");
        let held = failed(Some(kept(30 * SECOND, HOUR)), &error, 0);
        let Some(Ok(answer)) = held.result(&ANY, NOW) else { panic!("no token") };
        assert_eq!(answer.although.as_deref(), Some("the cloud is down"));
        assert!(answer.below_min_ttl);
        assert!(matches!(failed(Some(kept(0, HOUR)), &error, 0).result(&ANY, NOW), Some(Err(_))));
        assert!(record(None).result(&ANY, NOW).is_none());
    }

    // -------------------------------------------------------------------------------------------------------- attempts

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

    /// The failure as it is told, and until when it answers.
    pub fn failure(record: &Record) -> Option<(String, Timestamp)> {
        record.failure.as_ref().map(|failure| (failure.error().render(), failure.until))
    }

    pub fn name(record: &Record) -> Option<String> {
        record.credential().map(|credential| credential.secret.expose().to_owned())
    }

    fn pause(record: &Record) -> Option<i64> {
        record.retry_at.map(|at| at.since(NOW))
    }

    #[test]
    fn the_back_off_is_a_tenth_of_what_is_left_within_half_a_minute_and_five() {
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
            let before = record(Some(kept(left, 12 * HOUR)));
            assert_eq!(pause(&after(Some(&before), Err(Error::refused("no")), &ANY, &PLAIN)), Some(expected), "{left}");
            assert_eq!(pause(&before.backing_off(NOW)), Some(expected), "{left}");
        }
        let dead = record(Some(kept(0, HOUR)));
        let next = after(Some(&dead), Err(Error::refused("no")), &ANY, &PLAIN);
        assert_eq!((name(&next), pause(&next)), (None, None), "there is nothing to go on with");
    }

    #[test]
    fn of_two_tokens_the_later_expiring_is_kept() {
        let before = record(Some(kept(HOUR, 12 * HOUR)));
        let next = |left| after(Some(&before), Ok(token("t1.new", left, left)), &ANY, &PLAIN);
        assert_eq!((name(&next(HOUR + 1)).as_deref(), pause(&next(HOUR + 1))), (Some("t1.new"), None));
        for left in [HOUR, HOUR - 1, 2 * MINUTE] {
            assert_eq!(
                (name(&next(left)).as_deref(), pause(&next(left))),
                (Some("t1.old"), Some(5 * MINUTE)),
                "{left}"
            );
        }
        let dead = record(Some(kept(0, 12 * HOUR)));
        assert_eq!(name(&after(Some(&dead), Ok(token("t1.new", 1, 1)), &ANY, &PLAIN)).as_deref(), Some("t1.new"));
        assert_eq!(name(&after(None, Ok(token("t1.new", 1, 1)), &ANY, &PLAIN)).as_deref(), Some("t1.new"));
    }

    #[test]
    fn what_was_to_be_got_rid_of_is_replaced_by_a_shorter_one_too() {
        let short = || Ok(token("t1.new", 30 * MINUTE, 30 * MINUTE));
        let before = record(Some(kept(HOUR, 12 * HOUR)));
        let forced = Requirements { force_since: Some(NOW.shifted(-SECOND)), ..ANY };
        let next = after(Some(&before), short(), &forced, &PLAIN);
        assert_eq!((name(&next).as_deref(), pause(&next)), (Some("t1.new"), None));
        let aged = RenewalRules { max_age: Some(length(11 * HOUR)), ..PLAIN };
        assert_eq!(name(&after(Some(&before), short(), &ANY, &aged)).as_deref(), Some("t1.old"), "a second too young");
        let aged = RenewalRules { max_age: Some(length(11 * HOUR - SECOND)), ..PLAIN };
        assert_eq!(name(&after(Some(&before), short(), &ANY, &aged)).as_deref(), Some("t1.new"));
        let ahead = StoredToken { fetched: NOW.shifted(2 * MINUTE), ..kept(10 * HOUR, 12 * HOUR) };
        let next = after(Some(&record(Some(ahead.clone()))), short(), &ANY, &PLAIN);
        assert_eq!((name(&next).as_deref(), pause(&next)), (Some("t1.new"), None));
        // Of a wrong clock the same token too: what is told of its end now is right.
        let next = after(Some(&record(Some(ahead))), Ok(token("t1.old", 30 * MINUTE, HOUR)), &ANY, &PLAIN);
        assert_eq!(next.credential().map(|credential| credential.expires), Some(NOW.shifted(30 * MINUTE)));
    }

    #[test]
    fn the_same_token_again_is_nothing_better_unless_its_age_was_all() {
        let same = |left| Ok(token("t1.old", left, left));
        let soft = record(Some(kept(HOUR, 12 * HOUR)));
        let next = after(Some(&soft), same(HOUR), &ANY, &PLAIN);
        assert_eq!(pause(&next), Some(5 * MINUTE));
        let held = next.token.as_ref().expect("a token");
        assert_eq!(held.fetched, NOW, "its source has vouched for it");
        assert_eq!(held.issued, NOW.shifted(-11 * HOUR), "but its life began when it did");
        let forced = Requirements { force_since: Some(NOW), ..ANY };
        assert_eq!(pause(&after(Some(&soft), same(HOUR), &forced, &PLAIN)), Some(5 * MINUTE));
        let aged = RenewalRules { max_age: Some(length(MINUTE)), ..PLAIN };
        let young = record(Some(kept(11 * HOUR, 12 * HOUR)));
        assert_eq!(pause(&after(Some(&young), same(11 * HOUR), &ANY, &aged)), None, "for its age alone");
        assert_eq!(pause(&after(Some(&soft), same(HOUR), &ANY, &aged)), Some(5 * MINUTE), "for its end as well");
        let requirements = Requirements { min_ttl: length(12 * HOUR), ..ANY };
        assert_eq!(
            pause(&after(Some(&young), same(11 * HOUR), &requirements, &aged)),
            Some(5 * MINUTE),
            "for min-ttl as well"
        );
    }

    #[test]
    fn a_new_token_that_is_short_of_what_was_asked_is_not_asked_for_again_at_once() {
        let requirements = Requirements { min_ttl: length(2 * HOUR), ..ANY };
        let next = after(None, Ok(token("t1.new", HOUR, HOUR)), &requirements, &PLAIN);
        assert_eq!((name(&next).as_deref(), pause(&next)), (Some("t1.new"), Some(5 * MINUTE)));
        assert_eq!(verdict(&next, &requirements, &PLAIN), "serve, short");
        assert_eq!(verdict(&next, &ANY, &PLAIN), "serve", "who asks for less has enough");
        let next = after(None, Ok(token("t1.new", 2 * HOUR, 2 * HOUR)), &requirements, &PLAIN);
        assert_eq!(pause(&next), None);
    }

    #[test]
    fn a_failed_attempt_keeps_the_usable_token_and_a_good_one_forgets_the_failure() {
        let before = record(Some(kept(HOUR, 12 * HOUR)));
        let broken = after(Some(&before), Err(Error::refused("no")), &ANY, &PLAIN);
        assert_eq!(name(&broken).as_deref(), Some("t1.old"));
        assert!(broken.failure.is_some());
        let mended = after(Some(&broken), Ok(token("t1.new", 12 * HOUR, 12 * HOUR)), &ANY, &PLAIN);
        assert!(mended.failure.is_none() && mended.retry_at.is_none());
        assert!(before.attempt != broken.attempt && broken.attempt != mended.attempt, "each has an id of its own");
    }

    #[test]
    fn a_record_is_dead_a_day_after_its_end() {
        let ended = |left, ago: i64| Record { ended: NOW.shifted(-ago), ..record(Some(kept(left, 12 * HOUR))) };
        assert!(ended(-24 * HOUR, 36 * HOUR).is_dead(NOW));
        assert!(!ended(-24 * HOUR + 1, 36 * HOUR).is_dead(NOW));
        assert!(!ended(-24 * HOUR, HOUR).is_dead(NOW), "its failure may be of interest");
        assert!(Record { ended: NOW.shifted(-24 * HOUR - 1), ..record(None) }.is_dead(NOW));
    }

    // ------------------------------------------------------------------------------------------------------------ disk
}
