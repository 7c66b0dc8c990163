//! Renews a login: sends its refresh token, and stores the answer.
//!
//! A refresh token may be valid for one use only, and then the answer is the only copy of the next one. So a renewal runs
//! in a process of its own, which no caller's deadline, signal or end can interrupt. When it has a connection, and before it
//! sends the refresh token, it stores that it does so. If no answer arrives, the state then says that the refresh token is in doubt, and ycred does
//! not send it again while the last access token is valid.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::base::account::Account;
use crate::base::clock::{Deadline, Timestamp, human, millis};
use crate::base::error::{Error, Result};
use crate::base::random;
use crate::base::secret::Secret;
use crate::base::token::Credential;
use crate::cache::attempt::back_off;
use crate::cache::failure::Surroundings;
use crate::cache::freshness::RenewalRules;
use crate::cloud::Context;
use crate::cloud::auth::AuthResponse;
use crate::cloud::http::retry::AttemptTime;
use crate::cloud::http::{BeforeWrite, Http};
use crate::cloud::jwt::ProofKey;
use crate::disk::store;
use crate::disk::store::{Lock, ReservedSpace};
use crate::sources::login::client::{AttemptHooks, LoginClient, is_grant_refused, refresh_token};
use crate::sources::login::state::{AccessToken, LoginEnd, LoginState, Renewal, RenewalFailure};
use crate::system::process;

/// The hidden command of a renewal process.
pub const RENEW_LOGIN: &str = "renew-login";

/// The time limit of a renewal process. The kernel ends it then.
pub const PROCESS_LIMIT: Duration = Duration::from_secs(40);
/// The part of it that remains for storing the result.
const STORE_TIME: Duration = Duration::from_secs(2);
/// How long a renewal process waits for the lock.
const LOCK_LIMIT: Duration = Duration::from_secs(6);
/// The time limit for the auth host's answer.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Each request of a renewal process gets the whole time for its answer, or is not sent.
const PROCESS_ATTEMPT: AttemptTime = AttemptTime { least: ANSWER_LIMIT, most: ANSWER_LIMIT };
/// A caller that renews the login itself has [`ANSWER_LIMIT`] for all attempts together. So a second attempt gets what is
/// left, and starts only if that is at least 20 s.
pub const CALLER_ATTEMPT: AttemptTime = AttemptTime { least: Duration::from_secs(20), most: ANSWER_LIMIT };
const _: () = assert!(
    LOCK_LIMIT.as_secs() + ANSWER_LIMIT.as_secs() + STORE_TIME.as_secs() <= PROCESS_LIMIT.as_secs(),
    "a request that is sent can be answered and its result stored before the process ends"
);
/// How long storing that the refresh token is being sent may take, of the time for the answer.
const MARK_LIMIT: Duration = Duration::from_secs(5);
/// Without a lock, how long to wait for the new state of the process that has used the refresh token.
const OTHER_STATE_LIMIT: Duration = Duration::from_secs(1);

/// The arguments of a renewal process. None is a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalCall {
    /// The file of the profile.
    pub profile: PathBuf,
    /// [`LoginState::version`] of the state to renew. With any other one, the process does nothing.
    pub version: String,
    pub min_ttl: Duration,
    /// The random ID of this renewal, by which its caller recognizes the result.
    pub attempt: String,
    /// [`LoginState::last_renewal`] of the state to renew. `None` if the caller is an older ycred, which does not say it.
    pub last: Option<Option<String>>,
}

impl RenewalCall {
    /// Starts a renewal process.
    ///
    /// # Errors
    /// No process can be started.
    pub fn start(&self, http: &Http) -> io::Result<()> {
        process::start_again(self.arguments(), &http.absolute_certificates())
    }

    fn arguments(&self) -> Vec<OsString> {
        let Self { profile, version, min_ttl, attempt, last } = self;
        let min_ttl = millis(*min_ttl).to_string();
        let mut arguments = vec![RENEW_LOGIN.into(), profile.into(), version.into(), min_ttl.into(), attempt.into()];
        arguments.extend(last.iter().map(|last| last.as_deref().unwrap_or_default().into()));
        arguments
    }

    /// Parses the arguments after the hidden command's name.
    ///
    /// The caller may be an older ycred, if the program was replaced while it was running. It passes fewer arguments.
    pub fn parse(arguments: &[OsString]) -> Option<Self> {
        let (profile, version, min_ttl, more) = match arguments {
            [profile, version, min_ttl, more @ ..] if more.len() <= 2 => (profile, version, min_ttl, more),
            _ => return None,
        };
        let more = more.iter().map(|argument| argument.to_str().map(str::to_owned)).collect::<Option<Vec<_>>>()?;
        let mut more = more.into_iter();
        Some(Self {
            profile: profile.into(),
            version: version.to_str()?.to_owned(),
            min_ttl: Duration::from_millis(min_ttl.to_str()?.parse().ok()?),
            attempt: more.next().unwrap_or_else(random::id),
            last: more.next().map(|last| Some(last).filter(|last| !last.is_empty())),
        })
    }
}

/// A login to renew.
pub struct LoginRenewal<'a> {
    pub login: &'a LoginClient,
    pub rules: RenewalRules,
    /// The process holds the login's lock.
    pub is_locked: bool,
    /// The random ID of this renewal.
    pub attempt: &'a str,
    pub cx: &'a Context<'a>,
}

/// The result of a renewal.
pub enum Renewed {
    /// The refresh token was sent, or an error prevented that.
    Done {
        result: Result<Credential>,
        /// Why the answer cannot be stored, if it cannot.
        unsaved: Option<io::Error>,
    },
    /// Another process has renewed the login at the same time, because locking does not work.
    ByOther,
}

/// Runs a renewal process, unless another process has renewed the login meanwhile.
pub fn run(login: &LoginClient, rules: RenewalRules, call: &RenewalCall, cx: &Context<'_>) {
    // Several callers may have started one at the same moment. The result of the first is for all who would get the same one.
    let has_failed = |state: &LoginState| {
        let has_failed_since =
            |last| state.has_failed_since(last, &cx.http.sharing_group(), &Surroundings::of_this_process(None));
        call.last.as_ref().is_some_and(|last| has_failed_since(last.as_deref()))
    };
    // If its caller has started it twice, the other one may have failed already.
    let is_own = |state: &LoginState| state.last_renewal() == Some(&call.attempt);
    let is_left = |state: &LoginState| state.has_version(&call.version) && !is_own(state) && !has_failed(state);
    let load = || login.store.load().ok().filter(is_left);
    let deadline = cx.deadline.at_most(cx.clock, cx.deadline.left(cx.clock).saturating_sub(STORE_TIME));
    let cx = &Context { deadline, attempt_time: Some(PROCESS_ATTEMPT), ..*cx };
    let time_for_lock = deadline.left(cx.clock).saturating_sub(ANSWER_LIMIT).min(LOCK_LIMIT);
    let waiting = deadline.at_most(cx.clock, time_for_lock);
    // The process that holds the lock may have sent the refresh token without an answer yet. If it fails in a way that this one
    // would not, this one goes on.
    let guard = store::poll(&waiting, cx.clock, || match login.store.try_lock_existing() {
        Lock::Held(guard) => {
            let now = cx.clock.now();
            guard.write_holder(now, now.plus(cx.deadline.left(cx.clock)));
            Some(Some(guard))
        }
        Lock::Busy => None,
        // Without a lock, the process that needs the token renews the login itself.
        Lock::Impossible(_) => Some(None),
    });
    if let Some(Some(_guard)) = guard
        && let Some(state) = load()
    {
        LoginRenewal { login, rules, is_locked: true, attempt: &call.attempt, cx }.renew(&state);
    }
}

impl LoginRenewal<'_> {
    /// Sends the refresh token and stores the answer.
    pub fn renew(&self, state: &LoginState) -> Renewed {
        let (refresh_token, key, space) = match self.prepare(state) {
            Ok(prepared) => prepared,
            Err(error) => return Renewed::Done { result: Err(error), unsaved: None },
        };
        let began = self.cx.clock.now();
        let mark = Arc::new(Mark::new(self, state, began));
        let before: BeforeWrite = Arc::new({
            let mark = Arc::clone(&mark);
            move || mark.set()
        });
        let hooks = AttemptHooks { before: Some(&before), unused: &|| mark.clear() };
        let (mut next, result, skew) = match self.login.refresh(refresh_token, &key, hooks, self.cx) {
            Ok(response) => {
                let (next, result) = self.renewed(state, &response, began);
                (next, result, response.skew())
            }
            Err(error) if is_grant_refused(&error) && !self.is_locked && self.is_renewed_by_other(state) => {
                return Renewed::ByOther;
            }
            Err(error) => (self.failed(state, &error, began), Err(error), 0),
        };
        let surroundings = || Surroundings::of_this_process(None);
        let new_failure = |error| RenewalFailure::new(error, self.cx.http.sharing_group(), surroundings());
        let failure = result.as_ref().err().map(new_failure);
        let ended = self.cx.clock.now();
        next.renewal = Some(Renewal { attempt: self.attempt.to_owned(), began, ended, skew, failure });
        let unsaved = self.store(&next, space, result.is_ok()).err();
        Renewed::Done { result, unsaved }
    }

    /// Checks that the refresh token may be sent, and reserves room for the answer.
    ///
    /// # Errors
    /// Why it may not be sent.
    fn prepare<'s>(&self, state: &'s LoginState) -> Result<(&'s Secret, ProofKey, ReservedSpace)> {
        let may_send_again = !state.is_sent_again && state.reliable(self.cx.clock.now()).is_none();
        let in_doubt = state.sent_at.is_some() && !may_send_again;
        let Some(refresh_token) = state.refresh_token.as_ref().filter(|_| state.over.is_none() && !in_doubt) else {
            return Err(Error::unavailable("the login cannot be renewed now"));
        };
        let key = state.key(&self.login.store)?;
        Ok((refresh_token, key, self.login.reserve(state)?))
    }

    /// Returns the state after an answer with tokens.
    fn renewed(
        &self,
        state: &LoginState,
        response: &AuthResponse,
        began: Timestamp,
    ) -> (LoginState, Result<Credential>) {
        let credential = response.credential().map(|credential| credential.of(Account::user()));
        let now = self.cx.clock.now();
        let access = match &credential {
            Ok(credential) => Some(AccessToken::new(credential, began)),
            Err(_) => state.access.clone(),
        };
        let is_better = credential.as_ref().is_ok_and(|credential| {
            let left = credential.remaining(now);
            left.max >= millis(self.cx.requirements.min_ttl) && left.min > self.rules.soft_window(credential)
        });
        let mut next = state.clone();
        if let Some(new) = refresh_token(response) {
            next.set_refresh_token(new, began);
        }
        next.retry_at = access.as_ref().filter(|_| !is_better).map(|access| back_off(&access.credential(), now));
        next.access = access;
        (next.sent_at, next.is_sent_again) = (None, false);
        next.over = None;
        (next, credential)
    }

    /// Returns the state after a failure.
    fn failed(&self, state: &LoginState, error: &Error, began: Timestamp) -> LoginState {
        let mut next = state.clone();
        if is_grant_refused(error) {
            // Without a lock, this could replace a newer state.
            if self.is_locked {
                // It is set if the answer to an earlier request was lost.
                let lost = next.sent_at.take();
                next.is_sent_again = false;
                next.over = Some(LoginEnd { at: self.cx.clock.now(), reason: error.reason(), lost });
            }
        } else if !is_settled(error) {
            // The refresh token is in doubt from this request on. A settled failure, such as 503, leaves the doubt about an
            // earlier request as it was.
            next.sent_at = self.is_locked.then_some(began);
            next.is_sent_again = self.is_locked && state.sent_at.is_some();
        }
        next
    }

    /// Without a lock, another process may have used the refresh token first. Returns true if it has stored a new state.
    fn is_renewed_by_other(&self, state: &LoginState) -> bool {
        let waiting = Deadline::after(self.cx.clock, OTHER_STATE_LIMIT);
        let is_changed = || self.login.store.load().ok().filter(|latest| latest.refresh_token != state.refresh_token);
        store::poll(&waiting, self.cx.clock, is_changed).is_some()
    }

    /// Stores the state after a renewal, unless the user has logged out or logged in again meanwhile.
    fn store(&self, next: &LoginState, space: ReservedSpace, is_success: bool) -> io::Result<()> {
        let place = &self.login.store;
        if !place.is_current(next) {
            self.cx
                .diagnostics
                .debug(|| format!("{}: logged out during the request: the new token is not saved", self.cx.profile));
            return Ok(());
        }
        // Without a lock, a failure is not worth the risk of replacing a newer state.
        if !self.is_locked && !is_success {
            return Ok(());
        }
        // The second attempt is for the case that somebody has removed the reserved file, or freed some space.
        place.store_if_current(next, Some(space)).or_else(|_| place.store_if_current(next, None)).map(drop)
    }
}

/// What the stored state says of the refresh token: that it is being sent, or what it said before.
struct Mark {
    login: LoginClient,
    before: LoginState,
    marked: LoginState,
    is_locked: bool,
    is_set: AtomicBool,
}

impl Mark {
    fn new(renewal: &LoginRenewal<'_>, state: &LoginState, began: Timestamp) -> Self {
        let mut marked = state.clone();
        (marked.sent_at, marked.is_sent_again) = (Some(began), state.sent_at.is_some());
        let (login, is_locked) = (renewal.login.clone(), renewal.is_locked);
        Self { login, before: state.clone(), marked, is_locked, is_set: AtomicBool::new(false) }
    }

    /// Stores that the refresh token is being sent. There is a connection, so a process that is killed or has no network before
    /// that leaves no doubt about the refresh token.
    ///
    /// # Errors
    /// The refresh token must not be sent: that cannot be stored, or not in time, or the user has logged out or logged in again.
    fn set(&self) -> Result<()> {
        let (store, began) = (&self.login.store, Instant::now());
        // Without a lock, this could overwrite the state of another process, which holds the next refresh token.
        if self.is_locked && !self.is_set.load(Ordering::Relaxed) {
            let is_stored = store.store_if_current(&self.marked, None);
            self.is_set.store(is_stored.map_err(|error| self.login.cannot_renew(&error))?, Ordering::Relaxed);
        }
        let took = began.elapsed();
        if took > MARK_LIMIT {
            let what = format!(
                "the login is not renewed, because writing to {} took {}",
                store.directory().display(),
                human(millis(took))
            );
            return Err(Error::unavailable(what).hint("check the disk, then try again"));
        }
        if store.is_current(&self.before) { Ok(()) } else { Err(store.absent().error()) }
    }

    /// The attempt has not used the refresh token, so until the next attempt the state says what it said before.
    fn clear(&self) {
        if self.is_set.load(Ordering::Relaxed) && self.login.store.store_if_current(&self.before, None).is_ok() {
            self.is_set.store(false, Ordering::Relaxed);
        }
    }
}

/// Returns true if the auth host has not used the refresh token, or has answered and so decided about it. Otherwise it
/// may have used it.
fn is_settled(error: &Error) -> bool {
    error.left_secret_unused() || error.status.is_some_and(|status| (300..500).contains(&status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_of_a_renewal_process_are_read_back() {
        let call = RenewalCall {
            profile: "/c/my profile.toml".into(),
            version: "0123456789abcdef".into(),
            min_ttl: Duration::from_secs(3600),
            attempt: "fedcba9876543210".into(),
            last: None,
        };
        for last in [None, Some(None), Some(Some("0011223344556677".to_owned()))] {
            let call = RenewalCall { last, ..call.clone() };
            let arguments = call.arguments();
            assert_eq!(arguments[0], RENEW_LOGIN);
            assert_eq!(RenewalCall::parse(&arguments[1..]), Some(call));
        }
        let parse = |arguments: &[&str]| RenewalCall::parse(&arguments.iter().map(OsString::from).collect::<Vec<_>>());
        // As by the first ycred that had such a process.
        let older = parse(&["/c/my profile.toml", "0123456789abcdef", "3600000"]).expect("a call");
        assert_eq!(RenewalCall { attempt: call.attempt.clone(), ..older }, call);
        for wrong in [
            &["/c/x.toml"][..],
            &["/c/x.toml", "v"],
            &["/c/x.toml", "v", "-1", "a"],
            &["/c/x.toml", "v", "1", "a", "b", "c"],
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn only_an_answer_or_an_unsent_request_settles_what_became_of_the_refresh_token() {
        let with_status = |status| {
            let mut error = Error::unavailable("x");
            error.status = status;
            error
        };
        let settled = |status| is_settled(&with_status(status));
        assert!([302, 400, 401, 403, 408, 429, 503].into_iter().all(|status| settled(Some(status))));
        assert!([None, Some(500), Some(502), Some(504)].into_iter().all(|status| !settled(status)));
        let mut unsent = with_status(None);
        unsent.is_unsent = true;
        assert!(is_settled(&unsent));
    }
}
