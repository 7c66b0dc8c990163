//! `login`: a person's account. After `ycred login`, ycred renews the token with the refresh token, if the organization
//! issues one.
//!
//! The lock of a login and its state are independent of the cache: twenty processes without a cache send the refresh
//! token once. `renewal` has the rules for sending it.

pub mod client;
pub mod renewal;
pub mod state;

use std::time::Duration;

use crate::base::clock::{Deadline, Timestamp, human, millis};
use crate::base::diagnostics::Warning;
use crate::base::error::{Error, Kind, Result, describe};
use crate::base::identity::Identity;
use crate::base::random;
use crate::base::token::Credential;
use crate::cache::failure::Surroundings;
use crate::cache::freshness::RenewalRules;
use crate::cloud::Context;
use crate::cloud::http::CONNECT_TIMEOUT;
use crate::disk::store;
use crate::disk::store::{Lock, LockHolder};
use crate::obtain::{Caching, Grant, SOFT_RENEWAL};
use crate::sources::login::client::{DEFAULT_CLIENT, LoginClient};
use crate::sources::login::renewal::{ANSWER_LIMIT, CALLER_ATTEMPT, LoginRenewal, RenewalCall, Renewed};
use crate::sources::login::state::{LoginEnd, LoginState, Renewal, RenewalFailure};
use crate::sources::settings::Settings;
use crate::sources::source::{Key, Source, SourceInput};
use crate::system::process;
use crate::system::signals::EndingSignalsBlocked;

pub const SOURCE: Source =
    Source { needs_login: true, default_of, ..Source::new("login", "a person who logs in with a browser", KEYS, open) };

const KEYS: &[Key] = &[
    Key { name: "federation-id", value: "ID", about: "identity federation to log in through" },
    Key { name: "client-id", value: "ID", about: "OAuth client [default: yc.oauth.public-sdk]" },
    Key { name: "redirect-port", value: "PORT", about: "local port the browser returns to [default: a free one]" },
];

fn default_of(_: &Settings, _: bool, key: &str) -> Option<(String, Option<&'static str>)> {
    (key == "client-id").then(|| (DEFAULT_CLIENT.to_owned(), None))
}

fn open(input: &SourceInput<'_>) -> Result<Box<dyn Grant>> {
    let login = LoginClient::of(input)?;
    Ok(Box::new(LoginGrant {
        identity: login.identity(input),
        login,
        caching: input.caching(),
        rules: input.rules,
        name: input.label.to_string(),
    }))
}

struct LoginGrant {
    login: LoginClient,
    identity: Identity,
    caching: Caching,
    /// When to renew the token that is stored with the login. The same rules as for the cache, which may be disabled.
    rules: RenewalRules,
    name: String,
}

impl Grant for LoginGrant {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        self.renewed_token(cx).map_err(|mut error| {
            error.may_try_again = error.has_got_no_connection() && !cx.deadline.left(cx.clock).is_zero();
            error
        })
    }

    fn kept_token(&self, error: Error, cx: &Context<'_>) -> Result<Credential> {
        match self.login.store.load() {
            Ok(state) => match self.usable_token(&state, None, cx) {
                Some(credential) => Ok(credential),
                None => self.fall_back(&state, error, cx),
            },
            Err(_) => Err(error),
        }
    }

    fn account(&self) -> Result<String> {
        Ok("the logged-in user".into())
    }
}

impl LoginGrant {
    /// Returns the token of one renewal, by this process or by another one, or a token that needs none.
    fn renewed_token(&self, cx: &Context<'_>) -> Result<Credential> {
        let arrived = self.login.store.load().ok();
        // As in the cache, nobody waits long for a better token than one that is good enough.
        let deadline = match arrived.as_ref().and_then(|state| self.good_enough(state, cx)) {
            Some(_) => cx.deadline.at_most(cx.clock, SOFT_RENEWAL),
            None => cx.deadline,
        };
        let mut history = History::new(arrived.as_ref());
        let outcome = store::poll(&deadline, cx.clock, || self.look(&mut history, cx).transpose());
        outcome.unwrap_or_else(|| {
            let state = self.login.store.load()?;
            let outcome = self.outcome(&state, &history, cx).or_else(|| self.good_enough(&state, cx).map(Ok));
            outcome.unwrap_or_else(|| self.fall_back(&state, self.not_finished(&state, cx), cx))
        })
    }
}

/// What a call remembers to tell the renewals that it has waited for from earlier ones.
///
/// Times alone do not tell. Somebody may have set this machine's clock since, and the clock of another machine with the same
/// files may be ahead.
struct History {
    /// The last renewal when the call began, by its random ID.
    renewal_before: Option<String>,
    /// When a refresh token had been sent without an answer by then.
    sent_before: Option<Timestamp>,
    started: Option<StartedRenewal>,
}

/// A renewal that this call has started, in another process or in this one.
struct StartedRenewal {
    /// The version of the state to renew.
    version: String,
    /// The random ID of the renewal.
    attempt: String,
    /// The last renewal before that, by its random ID.
    renewal_before: Option<String>,
    /// When, by the steady clock.
    at: Duration,
}

impl History {
    /// Creates the history of a call that has read this state first.
    fn new(state: Option<&LoginState>) -> Self {
        Self {
            renewal_before: state.and_then(LoginState::last_renewal).map(str::to_owned),
            sent_before: state.and_then(|state| state.sent_at),
            started: None,
        }
    }

    /// Returns true if this renewal is recent enough for the call: it has ended since the call began, or with
    /// `--force-refresh`, it has begun since.
    fn is_recent(&self, renewal: &Renewal, force_since: Option<Timestamp>, began: Timestamp, now: Timestamp) -> bool {
        let is_later_than = |before: &Option<String>| before.as_ref() != Some(&renewal.attempt);
        match force_since {
            Some(since) => {
                self.started.as_ref().is_some_and(|started| is_later_than(&started.renewal_before))
                    || (since..=now).contains(&renewal.began)
            }
            None => is_later_than(&self.renewal_before) || (began..=now).contains(&renewal.ended),
        }
    }

    /// Returns true if the call has started this renewal.
    fn is_own(&self, renewal: &Renewal) -> bool {
        self.started.as_ref().is_some_and(|started| started.attempt == renewal.attempt)
    }

    /// Returns true if the refresh token was sent at `sent_at` since the call began.
    fn is_sent_since(&self, sent_at: Timestamp, began: Timestamp, now: Timestamp) -> bool {
        self.sent_before != Some(sent_at) || (began..=now).contains(&sent_at)
    }
}

/// How long after it got the lock a renewal process still connects, at most. After that, it is stopped.
const CONNECTING: Duration = CONNECT_TIMEOUT.saturating_add(Duration::from_secs(1));
/// After this time without a sign of a renewal process, it is started again.
const START_LIMIT: Duration = Duration::from_secs(1);

impl LoginGrant {
    /// Looks at the state once, and starts a renewal if one is necessary. Returns `None` if a renewal is running.
    fn look(&self, history: &mut History, cx: &Context<'_>) -> Result<Option<Credential>> {
        match self.login.store.load().map(|state| self.outcome(&state, history, cx)) {
            Ok(Some(outcome)) => return outcome.map(Some),
            Ok(None) => {}
            // Another login is being stored: the state is written before the marker.
            Err(_) if self.login.store.has_marker() && matches!(self.login.store.try_lock_existing(), Lock::Busy) => {
                return Ok(None);
            }
            Err(_) => _ = self.login.store.load()?,
        }
        let guard = match self.login.store.try_lock() {
            // Another process is renewing the login.
            Lock::Busy if history.started.is_none() => {
                return Ok(self.login.store.load().ok().and_then(|state| self.good_enough(&state, cx)));
            }
            Lock::Busy => return Ok(None),
            Lock::Held(guard) => Some(guard),
            Lock::Impossible(error) => {
                cx.diagnostics.debug(|| format!("{}: cannot lock the login: {}", self.name, describe(&error)));
                None
            }
        };
        // Another process may have renewed the login meanwhile.
        let state = self.login.store.load()?;
        if let Some(outcome) = self.outcome(&state, history, cx) {
            return outcome.map(Some);
        }
        self.check_renewable(&state, cx)?;
        if let Some(sent_at) = state.sent_at.filter(|_| guard.is_some()) {
            // Nobody holds the lock, so nobody waits for the answer any more.
            let now = cx.clock.now();
            let is_usable = state.reliable(now).is_some();
            if is_usable || state.is_sent_again || history.is_sent_since(sent_at, cx.began, now) {
                return self.fall_back(&state, self.in_doubt(&state, sent_at, cx), cx).map(Some);
            }
        }
        let version = state.version();
        let is_starting = |started: &StartedRenewal| {
            started.version == version && cx.clock.elapsed().saturating_sub(started.at) < START_LIMIT
        };
        if guard.is_some() && history.started.as_ref().is_some_and(is_starting) {
            return Ok(None);
        }
        if let Some(guard) = &guard {
            // Until the renewal process takes the lock, which this one releases then.
            let now = cx.clock.now();
            guard.write_holder(now, now.plus(ANSWER_LIMIT));
        }
        // Reports in this process, where a message can be seen, that nothing can be saved.
        if let Err(error) = self.login.reserve(&state) {
            let required = cx.requirements.force_since.map_or(millis(cx.requirements.min_ttl), |_| i64::MAX);
            let credential = state.reliable(cx.clock.now());
            let Some(credential) = credential.filter(|credential| credential.remaining(cx.clock.now()).max >= required)
            else {
                return self.fall_back(&state, error, cx).map(Some);
            };
            cx.diagnostics.debug(|| format!("{}: {}", self.name, error.reason()));
            return Ok(Some(credential));
        }
        // Started again, it is the same one.
        let attempt = match history.started.take() {
            Some(started) if started.version == version => started.attempt,
            Some(_) | None => random::id(),
        };
        let is_started = guard.is_some() && !process::is_first() && self.start_renewal(&state, &attempt, cx);
        let renewal_before = state.last_renewal().map(str::to_owned);
        let started = StartedRenewal { version, attempt, renewal_before, at: cx.clock.elapsed() };
        let started = history.started.insert(started).attempt.clone();
        if is_started { Ok(None) } else { self.renew_here(&state, guard.is_some(), &started, history, cx) }
    }

    /// Starts a renewal process. Returns false if that is impossible.
    fn start_renewal(&self, state: &LoginState, attempt: &str, cx: &Context<'_>) -> bool {
        let Some(profile) = self.login.profile.clone() else { return false };
        let last = Some(state.last_renewal().map(str::to_owned));
        let (version, attempt) = (state.version(), attempt.to_owned());
        let call = RenewalCall { profile, version, min_ttl: cx.requirements.min_ttl, attempt, last };
        let result = call.start(cx.http);
        cx.diagnostics.debug(|| match &result {
            Ok(()) => format!("{}: started a process that renews the login", self.name),
            Err(error) => format!("{}: cannot start a process to renew the login: {}", self.name, describe(error)),
        });
        result.is_ok()
    }

    /// Renews the login in this process. Nothing but SIGKILL interrupts that: the answer may contain the only valid refresh
    /// token.
    fn renew_here(
        &self,
        state: &LoginState,
        is_locked: bool,
        attempt: &str,
        history: &History,
        cx: &Context<'_>,
    ) -> Result<Option<Credential>> {
        let _blocked = EndingSignalsBlocked::start();
        let cx =
            &Context { deadline: Deadline::after(cx.clock, ANSWER_LIMIT), attempt_time: Some(CALLER_ATTEMPT), ..*cx };
        match (LoginRenewal { login: &self.login, rules: self.rules, is_locked, attempt, cx }).renew(state) {
            Renewed::ByOther => Ok(None),
            Renewed::Done { result, unsaved } => {
                if let Some(error) = unsaved {
                    let place = self.login.store.directory().display();
                    let what = format!(
                        "{}: the renewed login cannot be saved, so the next call may need `ycred login`: {place}: {}",
                        self.name,
                        describe(&error)
                    );
                    cx.diagnostics.warn(Warning::LoginNotSaved, what);
                }
                let latest = self.login.store.load();
                result
                    .or_else(|error| match latest {
                        Ok(latest) => {
                            self.outcome(&latest, history, cx).unwrap_or_else(|| self.fall_back(&latest, error, cx))
                        }
                        Err(_) => Err(error),
                    })
                    .map(Some)
            }
        }
    }

    /// Returns what the state says about this call, if it says enough. Makes no request.
    fn outcome(&self, state: &LoginState, history: &History, cx: &Context<'_>) -> Option<Result<Credential>> {
        let (force_since, now) = (cx.requirements.force_since, cx.clock.now());
        let is_recent = |renewal: &&Renewal| {
            // Without a connection, it does not matter when the renewal began.
            let has_no_connection = renewal.failure.as_ref().is_some_and(RenewalFailure::has_got_no_connection);
            let force_since = force_since.filter(|_| !has_no_connection);
            // It belongs to an earlier attempt of this call, whether this process has made it or waited for it.
            let is_earlier = cx.last_error.is_some() && history.renewal_before.as_ref() == Some(&renewal.attempt);
            !is_earlier && history.is_recent(renewal, force_since, cx.began, now)
        };
        let renewal = state.renewal.as_ref().filter(is_recent);
        if let Some(renewal) = renewal {
            cx.warn_of_clock(renewal.skew);
        }
        if let Some(credential) = self.usable_token(state, renewal, cx) {
            return Some(Ok(credential));
        }
        let reliable = state.reliable(now);
        if let Some(over) = &state.over {
            return Some(self.fall_back(state, self.ended(over, now), cx));
        }
        match renewal {
            // The renewed token does not meet the requirements, and another renewal would return no better one.
            Some(Renewal { failure: None, .. }) if reliable.is_some() => return reliable.map(Ok),
            Some(renewal) => {
                if let Some(error) = self.failure_of(renewal, state, history, cx) {
                    return Some(self.fall_back(state, error, cx));
                }
            }
            None => {}
        }
        let is_backing_off = force_since.is_none() && state.backs_off_until(now).is_some();
        reliable.filter(|_| is_backing_off).map(Ok)
    }

    /// Returns the error of a renewal that this call has started, or has waited for if another attempt would fail in the same
    /// way.
    fn failure_of(&self, renewal: &Renewal, state: &LoginState, history: &History, cx: &Context<'_>) -> Option<Error> {
        let failure = renewal.failure.as_ref()?;
        let is_own = history.is_own(renewal);
        // If this renewal's own request got no answer, that is so for everybody.
        let is_in_doubt = state.sent_at == Some(renewal.began);
        let counts = || failure.counts_for(&cx.http.sharing_group(), &Surroundings::of_this_process(None));
        if !is_own && !is_in_doubt && !counts() {
            return None;
        }
        match state.sent_at {
            // The next renewal has begun.
            Some(sent_at) if sent_at > renewal.began => None,
            // If this renewal has sent nothing, an earlier one has left the doubt.
            Some(sent_at) if !failure.is_unsent() => Some(self.in_doubt(state, sent_at, cx)),
            Some(_) | None => Some(if is_own { failure.own_error() } else { failure.error() }),
        }
    }

    /// Returns the token stored with the login if it meets the requirements. `renewal` is the last one, if it is recent enough
    /// for this call. Makes no request.
    fn usable_token(&self, state: &LoginState, renewal: Option<&Renewal>, cx: &Context<'_>) -> Option<Credential> {
        let access = state.access.as_ref()?;
        let credential = access.credential();
        let now = cx.clock.now();
        let left = credential.remaining(now);
        let is_usable = match cx.requirements.force_since {
            Some(since) => {
                let is_of = |renewal: &Renewal| renewal.failure.is_none() && renewal.began == access.began;
                left.max > 0 && (renewal.is_some_and(is_of) || (since..=now).contains(&access.began))
            }
            // Without a refresh token, the login has no other token.
            None if state.refresh_token.is_none() => left.max > 0,
            None if access.is_from_future(now) => false,
            None => {
                left.max >= millis(cx.requirements.min_ttl).max(1)
                    && left.min > self.rules.soft_window(&credential)
                    && self.rules.max_age.is_none_or(|age| now.since(access.began) < millis(age))
            }
        };
        is_usable.then_some(credential)
    }

    /// Returns the token stored with the login if it is good enough although it is due for renewal, and the cache has none.
    fn good_enough(&self, state: &LoginState, cx: &Context<'_>) -> Option<Credential> {
        let now = cx.clock.now();
        let credential = state.reliable(now).filter(|_| cx.requirements.force_since.is_none())?;
        let is_long_enough = credential.remaining(now).max >= millis(cx.requirements.min_ttl);
        (is_long_enough && !self.has_cached_token(cx)).then_some(credential)
    }

    /// Returns true if the cache has a valid token. The caller then returns that one if a renewal fails.
    fn has_cached_token(&self, cx: &Context<'_>) -> bool {
        let cached = match self.caching {
            Caching::Never => None,
            Caching::Enabled(_) => cx.cache.entry(&self.identity).load().ok().flatten(),
        };
        let cached = cached.and_then(|record| record.credential());
        cached.is_some_and(|credential| !credential.is_expired(cx.clock.now()))
    }

    /// Checks that there is a refresh token, and the key that it is bound to.
    ///
    /// # Errors
    /// Refused (1): the user must log in again.
    fn check_renewable(&self, state: &LoginState, cx: &Context<'_>) -> Result<()> {
        if state.refresh_token.is_none() {
            let what = if state.unexpired(cx.clock.now()).is_some() { "cannot be renewed" } else { "has expired" };
            return Err(Error::refused(format!("the login {what}: the organization issues no refresh tokens"))
                .hint(self.login.store.absent().hint));
        }
        state.key(&self.login.store).map(drop)
    }

    /// Handles a failed renewal: returns the token stored with the login if it is valid and the cache has no valid one.
    ///
    /// # Errors
    /// `error`, in all other cases.
    fn fall_back(&self, state: &LoginState, error: Error, cx: &Context<'_>) -> Result<Credential> {
        let usable = state.last_resort(cx.clock.now());
        match usable.filter(|_| cx.requirements.force_since.is_none() && !self.has_cached_token(cx)) {
            Some(credential) => {
                let expiry = match credential.assumed {
                    true => "although its expiry is unknown".to_owned(),
                    false => format!("{} before it expires", human(credential.left(cx.clock.now()))),
                };
                let reason = error.reason();
                cx.diagnostics.warn(
                    Warning::ServedAlthoughRenewingFailed,
                    format!(
                        "{}: the login's last token is used, {expiry}, because renewing failed: {reason}",
                        self.name
                    ),
                );
                Ok(credential)
            }
            None => Err(error),
        }
    }

    /// Returns the error if the renewal has not finished within this call's time limit. It continues.
    fn not_finished(&self, state: &LoginState, cx: &Context<'_>) -> Error {
        let (holder, now) = (self.login.store.lock_holder(), cx.clock.now());
        // It has no connection so far, may still get one, and the attempts before it got none.
        let is_connecting = |holder: &LockHolder| {
            let is_unsent = state.sent_at.is_none_or(|sent_at| sent_at < holder.since);
            is_unsent && now.since(holder.since) <= millis(CONNECTING)
        };
        if let Some(error) = cx.last_error
            && holder.as_ref().map_or(state.sent_at.is_none(), is_connecting)
        {
            return error.clone();
        }
        let what = match holder {
            Some(holder) => {
                let duration = human(now.since(holder.since).max(0));
                let late = if holder.until < now { ", longer than it should take" } else { "" };
                format!("{holder} has been renewing this login for {duration}{late}")
            }
            None => format!(
                "another ycred process is renewing this login and did not finish within {}",
                human(millis(cx.deadline.limit))
            ),
        };
        let mut error = Error::unavailable(what).timed_out();
        // The next call gets what the renewal returns meanwhile.
        error.is_pending = true;
        error
    }

    /// Returns the error if no answer to the refresh token has arrived.
    fn in_doubt(&self, state: &LoginState, sent_at: Timestamp, cx: &Context<'_>) -> Error {
        let now = cx.clock.now();
        let failure = state.renewal.as_ref().filter(|renewal| renewal.began == sent_at);
        let reason = failure.and_then(|renewal| renewal.failure.as_ref()).map(|failure| failure.error().reason());
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let renewal = if state.is_sent_again { "the repeated renewal" } else { "the renewal" };
        let error =
            Error::unavailable(format!("{renewal} of the login ({}) got no answer{reason}", sent_at.short(now)));
        let command = self.login.store.absent().hint;
        error.hint(match state.reliable(now) {
            Some(credential) => {
                let left = human(credential.remaining(now).max);
                format!("use the current token, which expires in {left}; or log in again with `{command}`")
            }
            None if state.is_sent_again => format!("log in again with `{command}`"),
            None => format!("try again; if that reports that the login is over, log in again with `{command}`"),
        })
    }

    fn ended(&self, over: &LoginEnd, now: Timestamp) -> Error {
        let mut error = Error::new(Kind::Refused, over.message(now)).hint(self.login.store.absent().hint);
        error.is_answer = true;
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_000_000_000);
    const SECOND: i64 = 1000;

    fn renewal(attempt: &str, at: i64) -> Renewal {
        let at = NOW.shifted(at);
        Renewal { attempt: attempt.into(), began: at, ended: at, skew: 0, failure: None }
    }

    #[test]
    fn a_renewal_is_recent_by_its_id_or_by_a_time_since_the_call_began() {
        let mut history =
            History { renewal_before: Some("old".into()), sent_before: Some(NOW.shifted(600 * SECOND)), started: None };
        let began = NOW.shifted(-5 * SECOND);
        let times = [-6 * SECOND, -5 * SECOND, 0, 1, 600 * SECOND];
        let recent = |history: &History, id: &str, force_since| {
            times.map(|at| history.is_recent(&renewal(id, at), force_since, began, NOW))
        };
        // Another process may have renewed the login between the start of this one and its first look.
        let in_time = [false, true, true, false, false];
        assert_eq!(recent(&history, "old", None), in_time);
        assert_eq!(recent(&history, "new", None), [true; 5]);
        // A renewal with a new ID may have begun before the refresh was forced.
        assert_eq!(recent(&history, "new", Some(began)), in_time);
        history.started = Some(StartedRenewal {
            version: "1".into(),
            attempt: "own".into(),
            renewal_before: Some("new".into()),
            at: Duration::ZERO,
        });
        assert_eq!(recent(&history, "new", Some(began)), in_time);
        assert_eq!(recent(&history, "own", Some(began)), [true; 5]);
        assert!(history.is_own(&renewal("own", 0)) && !history.is_own(&renewal("new", 0)));
        let sent = times.map(|at| history.is_sent_since(NOW.shifted(at), began, NOW));
        assert_eq!(sent, [true, true, true, true, false], "the last one was sent before");
    }
}
