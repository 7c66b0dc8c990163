//! The flow: from a grant to a token, through the cache if it has what is wanted, with at most one request however many
//! processes ask.

use std::io;
use std::time::Duration;

use crate::base::clock::{Timestamp, human, millis};
use crate::base::error::{Error, Result, describe};
use crate::base::identity::Identity;
use crate::base::notes::Warning;
use crate::base::random;
use crate::base::token::{Credential, SkewReading};
use crate::cache::Entry;
use crate::cache::record::{Attempt, Decision, Record, RenewalRules, ReturnedToken};
use crate::cloud::Context;
use crate::disk::store;
use crate::disk::store::{Lock, LockGuard};

/// What a renewal in the soft window may take, while its caller waits for a token that is at hand.
const SOFT_RENEWAL: Duration = Duration::from_secs(5);
/// The leader's share of the time, so that those who wait for it hear its reason before their own deadline.
const LEADER_SHARE: f64 = 0.75;
/// When a waiter loses patience with a silent leader: drawn between these shares of the whole time.
const PATIENCE: (f64, f64) = (0.80, 0.90);
/// How long a forced refresh lets others that were started with it arrive. Only a fetch that began after a process did
/// counts for it, so without this pause N started at once would make two or three requests.
const GATHER: Duration = Duration::from_millis(200);

/// One way to a token, opened from a profile's settings. Opening reads no secret and talks to nobody, so that a hit
/// costs neither.
pub trait Grant {
    /// Whose token it is.
    fn identity(&self) -> &Identity;

    /// Whether and how its tokens are kept.
    fn caching(&self) -> Caching;

    /// Asks for a new token, once or with the retries that `cx` allows.
    ///
    /// # Errors
    /// Refused (1), Profile (3), Unavailable (4): see [`crate::base::error::Kind`].
    fn fetch(&self, cx: &Context<'_>) -> Result<Credential>;

    /// The grant that this one buys its tokens with, if it is a link of a chain.
    fn inner(&self) -> Option<&dyn Grant> {
        None
    }

    /// The account, for people: `service account aje… (key aje…)`.
    ///
    /// # Errors
    /// Profile (3): a file that says it cannot be read.
    fn account(&self) -> Result<String>;
}

/// Whether and how the tokens of a grant are kept.
#[derive(Clone, Copy, Debug)]
pub enum Caching {
    Never,
    StoredToken(RenewalRules),
}

/// A token to hand out.
#[derive(Debug)]
pub struct ObtainedToken {
    pub credential: Credential,
    /// See [`Credential::advertised`].
    pub skew: SkewReading,
}

impl ObtainedToken {
    /// The expiry to give to a client: see [`Credential::advertised`].
    pub fn advertised(&self, now: Timestamp) -> Timestamp {
        self.credential.advertised(now, self.skew)
    }
}

/// Gets a token of `grant`.
///
/// # Errors
/// The reason of the one fetch that was made, by whichever process.
pub fn obtain(grant: &dyn Grant, cx: &Context<'_>) -> Result<ObtainedToken> {
    let rules = match grant.caching() {
        Caching::Never => return uncached(grant, cx),
        Caching::StoredToken(rules) => rules,
    };
    let run = Run { grant, cx, rules, entry: cx.cache.entry(grant.identity()) };
    let found = run.entry.load()?;
    match run.decide(found.as_ref()) {
        Decision::Serve(answer) => Ok(run.serve(answer)),
        Decision::Refuse(error) => Err(error),
        Decision::Renew(credential) => Ok(run.renew(credential)),
        Decision::Fetch => run.lead_or_follow(found),
    }
}

fn uncached(grant: &dyn Grant, cx: &Context<'_>) -> Result<ObtainedToken> {
    let credential = grant.fetch(cx)?;
    let below_min_ttl = credential.left(cx.clock.now()).longer < millis(cx.requirements.min_ttl);
    let answer = ReturnedToken { credential, although: None, below_min_ttl, skew: SkewReading::Current };
    Ok(serve(answer, cx))
}

fn serve(answer: ReturnedToken, cx: &Context<'_>) -> ObtainedToken {
    let ReturnedToken { credential, although, below_min_ttl, skew } = answer;
    let left = || human(credential.left(cx.clock.now()).longer);
    if let Some(reason) = although {
        cx.notes.warn(
            Warning::ServedAlthoughRenewingFailed,
            format!(
                "{}: the cached token is used, {} before it expires, since a new one could not be had: {reason}",
                cx.profile,
                left()
            ),
        );
    } else if below_min_ttl && !cx.is_inner {
        let min_ttl = human(millis(cx.requirements.min_ttl));
        let what = match credential.assumed {
            true => {
                format!(
                    "its source does not say how long the token lives, so the {min_ttl} asked for cannot be promised"
                )
            }
            false => format!(
                "the token lives another {}, less than the {min_ttl} asked for; the cloud gives no longer one now",
                left()
            ),
        };
        cx.notes.warn(Warning::MinTtlNotMet, format!("{}: {what}", cx.profile));
    }
    ObtainedToken { credential, skew }
}

/// One call of [`obtain`], with what all its steps share.
struct Run<'a> {
    grant: &'a dyn Grant,
    cx: &'a Context<'a>,
    rules: RenewalRules,
    entry: Entry<'a>,
}

impl Run<'_> {
    fn decide(&self, record: Option<&Record>) -> Decision {
        let now = self.cx.clock.now();
        let verdict = record.map_or(Decision::Fetch, |record| record.decide(&self.cx.requirements, &self.rules, now));
        self.cx.notes.debug(|| {
            let what = match &verdict {
                Decision::Serve(answer) => format!("cached token, {} left", human(answer.credential.left(now).longer)),
                Decision::Renew(credential) => {
                    format!("cached token, {} left, due for renewal", human(credential.left(now).longer))
                }
                Decision::Fetch => "no cached token that will do".into(),
                Decision::Refuse(_) => "a failure is remembered".into(),
            };
            format!("{}: {what}", self.cx.profile)
        });
        verdict
    }

    fn serve(&self, answer: ReturnedToken) -> ObtainedToken {
        serve(answer, self.cx)
    }

    /// In the soft window: one process renews, if it can lock and store; everybody else has the cached token at once.
    fn renew(&self, cached: Credential) -> ObtainedToken {
        let as_it_is = |credential| ObtainedToken { credential, skew: SkewReading::Earlier };
        if self.entry.slot.prepare().is_err() {
            return as_it_is(cached);
        }
        let Lock::Held(_held) = self.entry.slot.try_lock() else { return as_it_is(cached) };
        let Ok(Some(before)) = self.entry.load() else { return as_it_is(cached) };
        match self.decide(Some(&before)) {
            Decision::Renew(_) => {}
            Decision::Serve(answer) => return self.serve(answer),
            Decision::Fetch | Decision::Refuse(_) => return as_it_is(cached),
        }
        // Stored before the request: where nothing can be stored, every process would renew and none would know of it.
        let before = before.backing_off(self.cx.clock.now());
        let Ok(witness) = self.entry.snapshot() else { return as_it_is(cached) };
        if self.entry.write(&before).is_err() {
            return as_it_is(cached);
        }
        let cx = Context { deadline: self.cx.deadline.at_most(self.cx.clock, SOFT_RENEWAL), attempts: 1, ..*self.cx };
        let began = cx.clock.now();
        let outcome = self.grant.fetch(&cx);
        let attempt = Attempt { began, ended: cx.clock.now(), outcome: &outcome, is_relief: false };
        let kept = match self.entry.store_attempt(&witness, &attempt, Some(&before), &self.cx.requirements, &self.rules)
        {
            Ok(record) => record,
            Err(unwritten) => unwritten.0,
        };
        match kept.result(&self.cx.requirements, cx.clock.now()) {
            Some(Ok(answer)) => self.serve(answer),
            _ => as_it_is(cached),
        }
    }

    /// Nothing that will do: whoever gets the lock fetches, the others take what that brings.
    fn lead_or_follow(&self, found: Option<Record>) -> Result<ObtainedToken> {
        if let Err(error) = self.entry.slot.prepare() {
            return self.lead(&LeaderRole::NoLock(error), found);
        }
        let clock = self.cx.clock;
        let deadline = self.cx.deadline;
        let patience = random::between(deadline.point(PATIENCE.0), deadline.point(PATIENCE.1));
        let mut seen = found;
        let mut current = None;
        let outcome = store::poll(&deadline, clock, || {
            let impatient = clock.elapsed() >= patience;
            let lock = if impatient { self.entry.slot.try_relief_lock() } else { self.entry.slot.try_lock() };
            // With the lock or without it: has somebody finished since we looked?
            current = match self.entry.load() {
                Ok(record) => record,
                Err(error) => return Some(Err(error)),
            };
            let news =
                current.as_ref().filter(|current| seen.as_ref().is_none_or(|seen| seen.attempt != current.attempt));
            // Whoever still has patience leaves the failure of one who had none: the leader may yet succeed.
            let news = news.filter(|current| impatient || !current.is_failed_relief());
            if let Some(outcome) = news.and_then(|record| self.news(record)) {
                return Some(outcome);
            }
            if news.is_some() {
                seen.clone_from(&current);
            }
            let role = match lock {
                Lock::Held(held) if impatient => LeaderRole::Relief(held),
                Lock::Held(held) => LeaderRole::Lock(held),
                Lock::Impossible(error) => LeaderRole::NoLock(error),
                Lock::Busy => return None,
            };
            Some(self.lead(&role, current.take()))
        });
        outcome.unwrap_or_else(|| {
            let error = Error::unavailable(format!(
                "another ycred process has been asking for this token for {} and has not come back",
                human(millis(deadline.whole))
            ));
            self.fall_back(current.as_ref(), error.timed_out())
        })
    }

    /// No new token for this reason: the cached one where it lives, else the reason. A forced refresh wants no old one.
    fn fall_back(&self, record: Option<&Record>, error: Error) -> Result<ObtainedToken> {
        let now = self.cx.clock.now();
        let usable = record.and_then(Record::credential).filter(|credential| credential.left(now).longer > 0);
        match usable.filter(|_| self.cx.requirements.force_since.is_none()) {
            Some(credential) => {
                let although = Some(error.reason());
                Ok(self.serve(ReturnedToken { credential, although, below_min_ttl: true, skew: SkewReading::Earlier }))
            }
            None => Err(error),
        }
    }

    /// What another process's attempt brought, if it counts for us.
    fn news(&self, record: &Record) -> Option<Result<ObtainedToken>> {
        let counts = self.cx.requirements.force_since.is_none_or(|since| record.counts_since(since));
        self.cx.notes.debug(|| {
            format!(
                "{}: another process has finished its fetch{}",
                self.cx.profile,
                if counts { "" } else { ", which does not count for this one" }
            )
        });
        if !counts {
            return None;
        }
        if record.logged_out {
            // To fetch for whoever waited would bring back what was to be forgotten, once for each.
            return Some(Err(Error::unavailable("the profile was logged out while this process waited for its token")
                .hint("run it again, if a token is still wanted")));
        }
        Some(record.result(&self.cx.requirements, self.cx.clock.now())?.map(|answer| self.serve(answer)))
    }

    /// Fetches, and leaves what came of it for everybody else.
    fn lead(&self, footing: &LeaderRole, before: Option<Record>) -> Result<ObtainedToken> {
        let (cx, requirements) = (self.cx, &self.cx.requirements);
        let witness = self.entry.snapshot()?;
        let deadline = match footing {
            LeaderRole::NoLock(_) => cx.deadline,
            LeaderRole::Lock(_) | LeaderRole::Relief(_) => {
                if requirements.force_since.is_some() {
                    cx.clock.sleep(GATHER.min(cx.deadline.left(cx.clock) / 4));
                }
                cx.deadline.share(cx.clock, LEADER_SHARE)
            }
        };
        let began = cx.clock.now();
        cx.notes.debug(|| format!("{}: asking for a new token", cx.profile));
        let outcome = self.grant.fetch(&Context { deadline, ..*cx });
        let is_relief = matches!(footing, LeaderRole::Relief(_));
        let attempt = Attempt { began, ended: cx.clock.now(), outcome: &outcome, is_relief };
        let (kept, cannot_keep) =
            match self.entry.store_attempt(&witness, &attempt, before.as_ref(), requirements, &self.rules) {
                Ok(record) => (record, None),
                Err(unwritten) => (unwritten.0, Some(unwritten.1)),
            };
        self.warn_of_disk(footing, cannot_keep.as_ref());
        match outcome {
            Ok(new) => Ok(self.serve(self.better_of(new, &kept, before.as_ref()))),
            Err(error) => match kept.result(requirements, cx.clock.now()) {
                Some(Ok(answer)) if requirements.force_since.is_none() => Ok(self.serve(answer)),
                _ => Err(error),
            },
        }
    }

    fn warn_of_disk(&self, footing: &LeaderRole, cannot_keep: Option<&io::Error>) {
        let place = self.cx.cache.place();
        let what = match (cannot_keep, footing) {
            (Some(error), _) => format!("the token cannot be kept for later calls: {place}: {}", describe(error)),
            (None, LeaderRole::NoLock(error)) => {
                format!(
                    "{place} cannot be locked, so calls at one moment may each ask for a token: {}",
                    describe(error)
                )
            }
            (None, LeaderRole::Lock(_) | LeaderRole::Relief(_)) => return,
        };
        self.cx.notes.warn(Warning::CacheUnusable, format!("{}: {what}", self.cx.profile));
    }

    /// What was fetched; or what is in the record, where that lives longer and nobody asked for another one.
    fn better_of(&self, new: Credential, kept: &Record, before: Option<&Record>) -> ReturnedToken {
        let (requirements, now) = (&self.cx.requirements, self.cx.clock.now());
        if requirements.force_since.is_none() {
            if let Some(Ok(answer)) = kept.result(requirements, now)
                && answer.although.is_none()
                && answer.credential.expires >= new.expires
            {
                return answer;
            }
        } else if before
            .and_then(Record::credential)
            // With the same moment of issue too, it is what a login has got since this process began, and not the cloud's answer.
            .is_some_and(|old| old.secret == new.secret && old.issued != new.issued)
        {
            let what = format!(
                "{}: the cloud gave the same token again, as it may while that has long to live",
                self.cx.profile
            );
            self.cx.notes.warn(Warning::SameTokenAgain, what);
        }
        let below_min_ttl = new.left(now).longer < millis(requirements.min_ttl);
        ReturnedToken { credential: new, although: None, below_min_ttl, skew: SkewReading::Current }
    }
}

/// On what footing a process fetches.
enum LeaderRole {
    Lock(#[expect(dead_code, reason = "held until the fetch is over")] LockGuard),
    /// The holder of the lock is silent, and this one was the first to lose patience.
    Relief(#[expect(dead_code, reason = "held until the fetch is over")] LockGuard),
    NoLock(io::Error),
}
