//! Gets a token for a grant: from the cache if it has a suitable one, or else with one request for all processes that
//! need the token at the same time. [`crate::cache`] explains leader, waiter, relief leader and soft window.

use std::cell::OnceCell;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::base::clock::{Timestamp, human, millis};
use crate::base::diagnostics::Warning;
use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result, describe};
use crate::base::identity::Identity;
use crate::base::random;
use crate::base::token::{Credential, SkewAge};
use crate::cache::attempt::Attempt;
use crate::cache::failure::{PresentedToken, Requester, Surroundings};
use crate::cache::freshness::{Decision, RenewalRules, TokenWithWarnings};
use crate::cache::record::Record;
use crate::cache::sharing_group::{LockName, SharingGroup};
use crate::cache::{Entry, Successor};
use crate::cloud::Context;
use crate::cloud::http::Http;
use crate::disk::probe;
use crate::disk::store;
use crate::disk::store::{Lock, LockGuard};
use crate::disk::trust;
use crate::disk::turn::TurnPatience;

/// The time limit of the renewal of a refreshable token: the caller waits for it although its token is still valid.
pub const SOFT_RENEWAL: Duration = Duration::from_secs(5);
/// The leader's share of the remaining time. The rest lets the waiters read its error before their own deadline.
const LEADER_SHARE: f64 = 0.75;
/// The share of its time limit by which a process may lose its patience later than an equal one, so that not all of them try
/// to replace the leader at the same moment. More would leave no time for the cloud.
const PATIENCE_SPREAD: f64 = 0.01;
/// A process with less time than this does not start to fetch next to a leader that takes too long.
const RELIEF_MIN: Duration = Duration::from_millis(250);
/// The share of its own time limit after which a process takes a relief leader to be silent. Less is left when a process
/// loses patience with the leader, so processes with the same time limit make one request, however long the cloud takes.
const RELIEF_SHARE: f64 = 0.23;
/// The same for a relief leader that has not written itself into the lock file: it is an older ycred, or the disk is full.
const UNNAMED_RELIEF_SHARE: f64 = 0.1;
/// The share of its own time limit after which a process no longer waits for a relief leader that is not like it, and whose
/// failure may not count for it. Usually, that one has a token by then, which is good for all.
const UNLIKE_RELIEF_SHARE: f64 = 0.03;
/// The share of its own time limit after which a process takes another one that is storing something to be stopped, and the
/// bounds of that time. Storing takes less than a millisecond.
const TURN_SHARE: f64 = 0.01;
const TURN_MIN: Duration = Duration::from_millis(20);
const TURN_MAX: Duration = Duration::from_millis(200);
/// How long to wait for hundreds of processes that are storing something, each of which makes progress.
const TURNS_MAX: Duration = Duration::from_millis(1500);
/// How long a forced refresh waits before it fetches, so that processes started at the same time can share its fetch.
///
/// A process accepts only a fetch that began after its own start. Without the pause, N processes started together would
/// make two or three requests.
const FORCED_REFRESH_DELAY: Duration = Duration::from_millis(200);

/// How long a process leaves a lock to others between two attempts. They look for it every 50 ms.
const YIELD: Duration = Duration::from_millis(250);

/// A way to obtain a token, built from a profile's settings.
///
/// Building a grant uses no network and runs no program, so neither does a cache hit.
pub trait Grant {
    /// Returns the identity of the grant's tokens.
    fn identity(&self) -> &Identity;

    /// Returns whether and how the tokens are cached.
    fn caching(&self) -> Caching;

    /// Requests a new token, with the attempts that `cx` allows.
    ///
    /// # Errors
    /// Refused (1), Profile (3), Unavailable (4): see [`crate::base::error::Kind`].
    fn fetch(&self, cx: &Context<'_>) -> Result<Credential>;

    /// Returns a valid token that the source keeps itself, for a call that could fetch none because of `error`. It is not in the
    /// cache if only failures were stored there since the source has got it. Makes no request.
    ///
    /// # Errors
    /// `error`, if the source keeps none.
    fn kept_token(&self, error: Error, _: &Context<'_>) -> Result<Credential> {
        Err(error)
    }

    /// Returns the grant that supplies the token to exchange, if this grant exchanges one.
    fn inner(&self) -> Option<&dyn Grant> {
        None
    }

    /// Returns a digest of the subject token that a fetch would present to the cloud. A remembered rejection counts only
    /// for the same subject token. May read a file.
    fn presented_token(&self) -> Option<PresentedToken> {
        self.inner().and_then(|inner| inner.presented_token())
    }

    /// Returns a file that a fetch reads and that another program renews. It is not one of the identity's watched
    /// files: new content does not make the cached token invalid.
    fn renewed_file(&self) -> Option<&Path> {
        self.inner().and_then(|inner| inner.renewed_file())
    }

    /// Returns true if a fetch runs a program. Whether that works depends on `PATH`.
    fn runs_program(&self) -> bool {
        self.inner().is_some_and(|inner| inner.runs_program())
    }

    /// Returns the account for display: `service account aje…`.
    ///
    /// # Errors
    /// Profile (3): the file that names the account cannot be read.
    fn account(&self) -> Result<String>;
}

/// Whether and how the tokens of a grant are cached.
#[derive(Clone, Copy, Debug)]
pub enum Caching {
    Never,
    Enabled(RenewalRules),
}

/// A token to return to the client.
#[derive(Debug)]
pub struct ObtainedToken {
    pub credential: Credential,
    /// Whether the skew (the cloud's clock minus this machine's) was measured now or earlier; see
    /// [`Credential::advertised`].
    pub skew_age: SkewAge,
}

impl ObtainedToken {
    /// Returns the expiry to report to a client: see [`Credential::advertised`].
    pub fn advertised(&self, now: Timestamp) -> Timestamp {
        self.credential.advertised(now, self.skew_age)
    }
}

/// Returns a token of `grant`, cached or new.
///
/// # Errors
/// The error of the fetch, made by this process or by another one.
pub fn obtain(grant: &dyn Grant, cx: &Context<'_>) -> Result<ObtainedToken> {
    let rules = match grant.caching() {
        Caching::Enabled(rules) if grant.identity().is_complete() => rules,
        Caching::Never | Caching::Enabled(_) => return uncached(grant, cx),
    };
    let run = Run::new(grant, cx, rules);
    let record = run.entry.load()?;
    let decision = run.decide(record.as_ref());
    // Neither a new token nor one that the source keeps may go to a host that somebody else has put into the profile.
    if !matches!(decision, Decision::Serve(_)) {
        check_profile_directories(cx)?;
    }
    let result = match decision {
        Decision::Serve(token) => return Ok(run.serve(token)),
        Decision::Renew(credential) => return Ok(run.renew(credential)),
        Decision::Refuse(error) if !(cx.last_error.is_some() && error.may_try_again) => Err(error),
        Decision::Refuse(_) | Decision::Fetch => {
            let attempts = if run.has_just_failed_to_connect(record.as_ref()) { 1 } else { cx.attempts };
            several_times(attempts, cx, |cx| match cx.last_error {
                None => run.lead_or_wait(record.clone()),
                Some(_) => {
                    let run = Run::new(grant, cx, rules);
                    let record = run.entry.load()?;
                    match run.decide(record.as_ref()) {
                        Decision::Serve(token) => Ok(run.serve(token)),
                        // The failure of the last attempt is remembered.
                        Decision::Renew(_) | Decision::Refuse(_) | Decision::Fetch => run.lead_or_wait(record),
                    }
                }
            })
        }
    };
    match result {
        Err(error) if cx.requirements.force_since.is_none() => {
            let credential = grant.kept_token(error, cx)?;
            Ok(ObtainedToken { credential, skew_age: SkewAge::Earlier })
        }
        result => result,
    }
}

fn surroundings(grant: &dyn Grant, environment: &Environment) -> Surroundings {
    Surroundings::of_this_process(environment.get(env::PATH).filter(|_| grant.runs_program()))
}

/// Describes a process with this environment that has this much time left.
pub fn requester(grant: &dyn Grant, environment: &Environment, left: Duration) -> Requester {
    Requester {
        group: Http::sharing_group_of(environment),
        surroundings: surroundings(grant, environment),
        presented_token: grant.presented_token(),
        fetch_limit: left.mul_f64(LEADER_SHARE),
        renewal_limit: left.min(SOFT_RENEWAL),
    }
}

fn check_profile_directories(cx: &Context<'_>) -> Result<()> {
    cx.profile_file.map_or(Ok(()), trust::check_directories)
}

/// Repeats what a source does in one attempt for each call, because others wait for a lock that it holds meanwhile. Leaves the
/// lock to them between two attempts.
fn several_times<T>(attempts: u32, cx: &Context<'_>, attempt: impl Fn(&Context<'_>) -> Result<T>) -> Result<T> {
    // The call for the outer token releases more locks.
    let attempts = if cx.is_inner { 1 } else { attempts };
    let after = |last: Option<&Error>| attempt(&Context { last_error: last.or(cx.last_error), ..*cx });
    let mut last = None;
    for _ in 1..attempts {
        match after(last.as_ref()) {
            Err(error) if error.may_try_again && !cx.deadline.left(cx.clock).is_zero() => {
                cx.diagnostics.debug(|| format!("{}: {}; trying again", cx.profile, error.reason()));
                cx.clock.sleep(random::between(YIELD, 2 * YIELD).min(cx.deadline.left(cx.clock)));
                last = Some(error);
            }
            outcome => return outcome,
        }
    }
    after(last.as_ref())
}

fn uncached(grant: &dyn Grant, cx: &Context<'_>) -> Result<ObtainedToken> {
    check_profile_directories(cx)?;
    let credential = several_times(cx.attempts, cx, |cx| grant.fetch(cx))?;
    let below_min_ttl = credential.remaining(cx.clock.now()).max < millis(cx.requirements.min_ttl);
    let token = TokenWithWarnings { credential, renewal_error: None, below_min_ttl, skew_age: SkewAge::Current };
    Ok(serve(token, cx))
}

/// Returns a token, and warns if its renewal failed or if it expires too soon.
fn serve(token: TokenWithWarnings, cx: &Context<'_>) -> ObtainedToken {
    let TokenWithWarnings { credential, renewal_error, below_min_ttl, skew_age } = token;
    let left = || human(credential.left(cx.clock.now()));
    if let Some(reason) = renewal_error {
        cx.diagnostics.warn(
            Warning::ServedAlthoughRenewingFailed,
            format!(
                "{}: the cached token is used, {} before it expires, because renewing it failed: {reason}",
                cx.profile,
                left()
            ),
        );
    } else if below_min_ttl && !cx.is_inner {
        let min_ttl = human(millis(cx.requirements.min_ttl));
        let what = match credential.assumed {
            true => {
                format!("the token's expiry is unknown, so it may expire sooner than the requested {min_ttl}")
            }
            false => format!(
                "the token expires in {}, sooner than the requested {min_ttl}; the cloud has not issued a longer-lived one",
                left()
            ),
        };
        cx.diagnostics.warn(Warning::MinTtlNotMet, format!("{}: {what}", cx.profile));
    }
    ObtainedToken { credential, skew_age }
}

/// The state of one call of [`obtain`].
struct Run<'a> {
    grant: &'a dyn Grant,
    cx: &'a Context<'a>,
    rules: RenewalRules,
    entry: Entry<'a>,
    /// When the call began. Failures that were stored later are those of the attempts that it waited for.
    arrived: Timestamp,
    // A hit needs none of these.
    group: OnceCell<SharingGroup>,
    surroundings: OnceCell<Surroundings>,
    presented_token: OnceCell<Option<PresentedToken>>,
}

impl<'a> Run<'a> {
    fn new(grant: &'a dyn Grant, cx: &'a Context<'a>, rules: RenewalRules) -> Self {
        let mut entry = cx.cache.entry(grant.identity());
        let mut link = grant.inner();
        while let Some(inner) = link {
            entry = entry.exchanging(cx.cache.entry(inner.identity()));
            link = inner.inner();
        }
        let arrived = cx.clock.now();
        let (group, surroundings, presented_token) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { grant, cx, rules, entry, arrived, group, surroundings, presented_token }
    }

    fn group(&self) -> &SharingGroup {
        self.group.get_or_init(|| self.cx.http.sharing_group())
    }

    /// Describes this process as it is now: its time becomes less.
    fn requester(&self) -> Requester {
        let left = self.cx.deadline.left(self.cx.clock);
        let surroundings = || surroundings(self.grant, self.cx.http.environment());
        Requester {
            group: self.group().clone(),
            surroundings: self.surroundings.get_or_init(surroundings).clone(),
            presented_token: self.presented_token.get_or_init(|| self.grant.presented_token()).clone(),
            fetch_limit: left.mul_f64(LEADER_SHARE),
            renewal_limit: left.min(SOFT_RENEWAL),
        }
    }

    fn decide(&self, record: Option<&Record>) -> Decision {
        let now = self.cx.clock.now();
        let decision = record.map_or(Decision::Fetch, |record| {
            record.decide(&self.cx.requirements, &self.rules, now, &|| self.requester())
        });
        self.cx.diagnostics.debug(|| {
            let what = match &decision {
                Decision::Serve(token) => format!("cached token, {} left", human(token.credential.left(now))),
                Decision::Renew(credential) => {
                    format!("cached token, {} left, due for renewal", human(credential.left(now)))
                }
                Decision::Fetch => "no suitable cached token".into(),
                Decision::Refuse(_) => "the last failure is still remembered".into(),
            };
            format!("{}: {what}", self.cx.profile)
        });
        decision
    }

    fn serve(&self, token: TokenWithWarnings) -> ObtainedToken {
        serve(token, self.cx)
    }

    /// Renews a refreshable token, if this process gets the lock and can store the result.
    ///
    /// Otherwise returns the cached token immediately.
    fn renew(&self, cached: Credential) -> ObtainedToken {
        let unchanged = |credential| ObtainedToken { credential, skew_age: SkewAge::Earlier };
        if self.entry.slot.prepare().is_err() {
            return unchanged(cached);
        }
        let Lock::Held(guard) = self.entry.slot.try_lock(&self.group().lock_name()) else { return unchanged(cached) };
        self.write_holder(&guard, self.cx.deadline.left(self.cx.clock).min(SOFT_RENEWAL));
        let Ok(Some(before)) = self.entry.load() else { return unchanged(cached) };
        match self.decide(Some(&before)) {
            Decision::Renew(_) => {}
            Decision::Serve(token) => return self.serve(token),
            Decision::Fetch | Decision::Refuse(_) => return unchanged(cached),
        }
        // Store the back-off before the request. If it cannot be stored, do not renew: no process would see
        // that another one is already renewing, so all would.
        let Ok(start) = self.entry.start_fetch(self.cx.clock) else { return unchanged(cached) };
        if !self.entry.store_back_off(&before, self.cx.clock) {
            return unchanged(cached);
        }
        let cx = Context { deadline: self.cx.deadline.at_most(self.cx.clock, SOFT_RENEWAL), attempts: 1, ..*self.cx };
        let (began, time_limit, requester) = (cx.clock.now(), cx.deadline.left(cx.clock), self.requester());
        let outcome = self.grant.fetch(&cx);
        guard.erase_holder();
        let ended = cx.clock.now();
        let (patience, requester) = (self.turn_patience(), &requester);
        let attempt = Attempt { began, ended, outcome: &outcome, is_relief: false, requester, time_limit, patience };
        let (requirements, rules, clock) = (&self.cx.requirements, &self.rules, self.cx.clock);
        let stored = self.entry.store_attempt(&start, &attempt, Some(&before), requirements, rules, clock);
        let record = stored.unwrap_or_else(|unwritten| unwritten.0);
        match record.result(&self.cx.requirements, cx.clock.now()) {
            Some(Ok(token)) => self.serve(token),
            _ => unchanged(cached),
        }
    }

    /// Fetches a token if this process gets the lock. Otherwise waits for the leader and returns its result.
    fn lead_or_wait(&self, record: Option<Record>) -> Result<ObtainedToken> {
        if let Err(error) = self.entry.slot.prepare() {
            return self.lead(&LeaderRole::NoLock(error), record);
        }
        let clock = self.cx.clock;
        let deadline = self.cx.deadline;
        let mut name = self.lock_name(record.as_ref());
        let mut seen = record;
        let mut current = None;
        let mut wait = None;
        let mut lost_patience = None;
        let mut last_logout = None;
        let spread = random::between(Duration::ZERO, deadline.limit.mul_f64(PATIENCE_SPREAD));
        let outcome = store::poll(&deadline, clock, || {
            let is_relief = deadline.is_out_of_patience(clock, spread) && deadline.left(clock) >= RELIEF_MIN;
            let lock = match is_relief {
                true => self.try_relief(&name, *lost_patience.get_or_insert_with(|| clock.elapsed())),
                false => self.entry.slot.try_lock(&name),
            };
            if matches!(lock, Lock::Busy) && last_logout.is_none() {
                last_logout = self.entry.slot.last_logout().ok();
            }
            // With or without the lock, check whether another process has finished since the last look.
            current = match self.entry.load() {
                Ok(record) => record,
                Err(error) => return Some(Err(error)),
            };
            let updated =
                current.as_ref().filter(|current| seen.as_ref().is_none_or(|seen| seen.attempt != current.attempt));
            if let Some(outcome) = updated.and_then(|record| self.result_of_other(record)) {
                return Some(outcome);
            }
            // On a full disk, a logout cannot leave an empty record.
            if current.is_none()
                && seen.is_some()
                && last_logout.as_ref().is_some_and(|before| self.entry.slot.has_lost_record_to_logout(before))
            {
                return Some(Err(logged_out_while_waiting()));
            }
            if updated.is_some() {
                seen.clone_from(&current);
                let own = self.lock_name(seen.as_ref());
                if own.is_further() && own != name {
                    // Releases the lock that it may have taken: those that are like this process must find the other one.
                    name = own;
                    return None;
                }
            }
            let role = match lock {
                Lock::Held(guard) if is_relief => LeaderRole::Relief(guard),
                Lock::Held(guard) => LeaderRole::Lock(guard),
                Lock::Impossible(error) => LeaderRole::NoLock(error),
                Lock::Busy => {
                    let what = || "another ycred process, which is fetching the token".to_owned();
                    wait.get_or_insert_with(|| self.cx.diagnostics.waiting(what));
                    return None;
                }
            };
            wait = None;
            Some(self.lead(&role, current.take()))
        });
        outcome.unwrap_or_else(|| {
            let holder = match self.entry.slot.lock_holder(&name) {
                Some(holder) => format!("{holder} has been asking for this token since {}", holder.since),
                None => "another ycred process has been asking for this token".to_owned(),
            };
            let error = Error::unavailable(format!("{holder} and has not finished"));
            self.fall_back(current.as_ref(), error.timed_out())
        })
    }

    /// Returns the name of the lock to wait for: the one that the group shares, until another process has failed with a failure
    /// that cannot count for this one. Without that, it could have to wait until many such processes have failed.
    fn lock_name(&self, record: Option<&Record>) -> LockName {
        let Some(record) = record.filter(|record| record.last_failure().is_some()) else {
            return self.group().lock_name();
        };
        let requester = self.requester();
        match record.has_failed_for_unlike(&requester, self.arrived, self.cx.clock.now()) {
            true => requester.own_lock(),
            false => self.group().lock_name(),
        }
    }

    /// Returns true if a process like this one has not got a connection a short time ago.
    fn has_just_failed_to_connect(&self, record: Option<&Record>) -> bool {
        record.is_some_and(|record| {
            record.last_failure().is_some() && record.has_just_failed_to_connect(&self.requester(), self.cx.clock.now())
        })
    }

    /// Tries once to become the relief leader: of all that wait for this lock or, if the present one is not like this process,
    /// of those that are. `since` is when this process began to try, by the steady clock.
    fn try_relief(&self, name: &LockName, since: Duration) -> Lock {
        let (deadline, clock, slot) = (self.cx.deadline, self.cx.clock, &self.entry.slot);
        let patience = deadline.limit.mul_f64(RELIEF_SHARE);
        let has_waited = |share| clock.elapsed().saturating_sub(since) >= deadline.limit.mul_f64(share);
        let requester = self.requester();
        let successor = Successor {
            patience,
            has_waited_long: has_waited(UNNAMED_RELIEF_SHARE),
            until: clock.now().plus(deadline.left(clock)),
            turn: self.turn_patience(),
            likeness: requester.likeness(),
        };
        match slot.try_relief(name, &successor, clock) {
            Lock::Busy if has_waited(UNLIKE_RELIEF_SHARE) && slot.has_unlike_relief(name, &successor) => {
                slot.try_relief(&requester.own_lock(), &successor, clock)
            }
            lock => lock,
        }
    }

    /// Returns how long this process may wait for its turn to store something. Does not exceed its time limit by much.
    fn turn_patience(&self) -> TurnPatience {
        turn_patience(self.cx.deadline.limit, self.cx.deadline.left(self.cx.clock))
    }

    /// Writes this process into the file of a lock that it has just taken, and that it will release within `time_limit`.
    fn write_holder(&self, guard: &LockGuard, time_limit: Duration) {
        let now = self.cx.clock.now();
        guard.write_holder(now, now.plus(time_limit));
    }

    /// Returns the cached token if it is valid and no refresh was forced, and otherwise `error`.
    fn fall_back(&self, record: Option<&Record>, error: Error) -> Result<ObtainedToken> {
        let now = self.cx.clock.now();
        let usable = record.and_then(Record::credential).filter(|credential| !credential.is_expired(now));
        match usable.filter(|_| self.cx.requirements.force_since.is_none()) {
            Some(credential) => {
                let renewal_error = Some(error.reason());
                Ok(self.serve(TokenWithWarnings {
                    credential,
                    renewal_error,
                    below_min_ttl: true,
                    skew_age: SkewAge::Earlier,
                }))
            }
            None => Err(error),
        }
    }

    /// Returns the result of another process's attempt, if this call accepts it.
    fn result_of_other(&self, record: &Record) -> Option<Result<ObtainedToken>> {
        let now = self.cx.clock.now();
        let is_accepted = self.cx.requirements.force_since.is_none_or(|since| record.is_attempt_since(since, now));
        self.cx.diagnostics.debug(|| {
            format!(
                "{}: another process has finished its fetch{}",
                self.cx.profile,
                if is_accepted { "" } else { ", but it began before this refresh was forced" }
            )
        });
        if !is_accepted {
            return None;
        }
        if record.logged_out {
            return Some(Err(logged_out_while_waiting()));
        }
        let result = record.result_for(&|| self.requester(), self.arrived, &self.cx.requirements, now);
        Some(result?.map(|token| self.serve(token)))
    }

    /// Fetches a token, and stores the result for all other processes.
    fn lead(&self, role: &LeaderRole, before: Option<Record>) -> Result<ObtainedToken> {
        let (cx, requirements) = (self.cx, &self.cx.requirements);
        // Without the lock, no process waits for the reason of a failure, so the fetch gets all of the time. A relief
        // leader has too little time to try twice.
        let (deadline, attempts) = match role {
            LeaderRole::NoLock(_) => (cx.deadline, cx.attempts),
            LeaderRole::Relief(_) => (cx.deadline, 1),
            LeaderRole::Lock(guard) => {
                self.write_holder(guard, cx.deadline.left(cx.clock));
                if requirements.force_since.is_some() {
                    cx.clock.sleep(FORCED_REFRESH_DELAY.min(cx.deadline.left(cx.clock) / 4));
                }
                (cx.deadline.share(cx.clock, LEADER_SHARE), cx.attempts)
            }
        };
        // A server that nobody can connect to is not asked again and again, by each process that comes.
        let attempts = if self.has_just_failed_to_connect(before.as_ref()) { 1 } else { attempts };
        // After the pause, in which a file may be replaced.
        let start = self.entry.start_fetch(cx.clock)?;
        let (began, time_limit, requester) = (cx.clock.now(), deadline.left(cx.clock), self.requester());
        cx.diagnostics.debug(|| format!("{}: requesting a new token", cx.profile));
        let outcome = self.grant.fetch(&Context { deadline, attempts, ..*cx });
        if let LeaderRole::Lock(guard) | LeaderRole::Relief(guard) = role {
            guard.erase_holder();
        }
        let (ended, is_relief) = (cx.clock.now(), matches!(role, LeaderRole::Relief(_)));
        let (patience, requester) = (self.turn_patience(), &requester);
        let attempt = Attempt { began, ended, outcome: &outcome, is_relief, requester, time_limit, patience };
        let stored = self.entry.store_attempt(&start, &attempt, before.as_ref(), requirements, &self.rules, cx.clock);
        let (record, write_error) = match stored {
            Ok(record) => (record, None),
            Err(unwritten) => (unwritten.0, Some(unwritten.1)),
        };
        self.warn_of_disk(role, write_error.as_ref());
        match outcome {
            Ok(new) => Ok(self.serve(self.longer_valid(new, &record, before.as_ref()))),
            Err(error) => match record.result(requirements, cx.clock.now()) {
                Some(Ok(token)) if requirements.force_since.is_none() => Ok(self.serve(token)),
                _ => Err(error),
            },
        }
    }

    fn warn_of_disk(&self, role: &LeaderRole, write_error: Option<&io::Error>) {
        let place = self.cx.cache.place();
        let what = match (write_error, role) {
            (Some(error), _) if error.kind() == io::ErrorKind::PermissionDenied => {
                let fix = probe::how_to_make_writable(Path::new(&place), env::YCRED_CACHE_DIR);
                format!("cannot cache the token: {place}: {}; to fix it, {fix}", describe(error))
            }
            (Some(error), _) => format!("cannot cache the token: {place}: {}", describe(error)),
            (None, LeaderRole::NoLock(error)) => {
                format!("{place} cannot be locked, so simultaneous calls may each request a token: {}", describe(error))
            }
            (None, LeaderRole::Lock(_) | LeaderRole::Relief(_)) => return,
        };
        self.cx.diagnostics.warn(Warning::CacheUnusable, format!("{}: {what}", self.cx.profile));
    }

    /// Returns the fetched token, or the stored one if that expires later and no refresh was forced.
    ///
    /// `record` is the record after the fetch, and `before` the one before it.
    fn longer_valid(&self, new: Credential, record: &Record, before: Option<&Record>) -> TokenWithWarnings {
        let (requirements, now) = (&self.cx.requirements, self.cx.clock.now());
        if requirements.force_since.is_none() {
            if let Some(Ok(token)) = record.result(requirements, now)
                && token.renewal_error.is_none()
                && token.credential.expires >= new.expires
            {
                return token;
            }
        } else if before
            .and_then(Record::credential)
            // `issued` is when a process received the token. If `issued` is equal too, both tokens are from one
            // response: a concurrent login has stored it. If it differs, the cloud has returned the token in a second
            // response.
            .is_some_and(|old| old.secret == new.secret && old.issued != new.issued)
        {
            let what = format!(
                "{}: the cloud returned the same token again, which it may do while the token is far from its expiry",
                self.cx.profile
            );
            self.cx.diagnostics.warn(Warning::SameTokenAgain, what);
        }
        let below_min_ttl = new.remaining(now).max < millis(requirements.min_ttl);
        TokenWithWarnings { credential: new, renewal_error: None, below_min_ttl, skew_age: SkewAge::Current }
    }
}

/// The error of a waiter after a logout. A fetch would put back the token that the user has just deleted, once for each waiter.
fn logged_out_while_waiting() -> Error {
    Error::unavailable("the profile was logged out while this process waited for its token")
        .hint("run the command again if you still need a token")
}

/// Returns how long a process with this time limit, of which so much is left, may wait for its turn.
fn turn_patience(limit: Duration, left: Duration) -> TurnPatience {
    let with_one = limit.mul_f64(TURN_SHARE).clamp(TURN_MIN, TURN_MAX);
    TurnPatience { in_all: left.clamp(with_one * 2, TURNS_MAX), with_one }
}

/// Why this process is the one that fetches.
enum LeaderRole {
    /// It holds the lock.
    Lock(LockGuard),
    /// The leader took too long, and this process is the relief leader.
    Relief(LockGuard),
    /// Locking does not work.
    NoLock(io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_time_is_over_waits_for_its_turn_for_less_than_half_a_second() {
        let patience = |limit, left| {
            let patience = turn_patience(Duration::from_secs(limit), Duration::from_millis(left));
            (patience.with_one.as_millis(), patience.in_all.as_millis())
        };
        assert_eq!(patience(1, 0), (20, 40));
        assert_eq!(patience(20, 0), (200, 400));
        assert_eq!(patience(600, 0), (200, 400));
        assert_eq!((patience(20, 900), patience(20, 15_000)), ((200, 900), (200, 1500)));
    }
}
