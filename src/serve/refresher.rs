//! Renews the credentials of `exec --serve` before they expire, and answers the requests that had to wait for a fetch.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use crate::base::clock::{Clock, Timestamp};
use crate::base::diagnostics::{Diagnostics, LogFile, Warning};
use crate::base::environment::Environment;
use crate::base::error::{self, Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::token::Credential;
use crate::cache::{attempt, failure};
use crate::disk::places::Places;
use crate::obtain::ObtainedToken;
use crate::process::flags::Options;
use crate::process::painting::Look;
use crate::process::stdin::NoInput;
use crate::profile::Profile;
use crate::serve::credentials::{CredentialKind, CredentialStore};
use crate::session::Session;
use crate::system::loopback::{LocalResponse, PendingRequest};

/// A task from the server.
pub enum RefreshTask {
    /// Responds to a request for which no valid credential is cached.
    Respond(CredentialKind, PendingRequest),
    /// Renews a credential that was returned from the cache and is due.
    Renew(CredentialKind),
}

/// The number of checks within the remaining validity of the token. A check reads one file.
const CHECKS_BEFORE_EXPIRY: u32 = 20;
const MIN_PAUSE: Duration = Duration::from_millis(250);
pub const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Everything from which the refresher's thread builds its own session.
pub struct RefresherSetup {
    environment: Environment,
    places: Places,
    clock: &'static dyn Clock,
    print_stderr: &'static (dyn Fn(&str) + Sync),
    began: Timestamp,
    is_verbose: bool,
    log_file: Option<LogFile>,
    profile: Profile,
    options: Options,
    credentials: Arc<CredentialStore>,
    printed_warnings: BTreeSet<Warning>,
    end: Option<Sender<Result<()>>>,
}

impl RefresherSetup {
    /// Prints the session's pending warning, so that the refresher does not repeat it.
    pub fn new(session: &Session<'_>, profile: Profile, options: Options, credentials: Arc<CredentialStore>) -> Self {
        let printed_warning = session.diagnostics.take().map(|(kind, text)| {
            (session.print_stderr)(&error::line("warning", &text));
            kind
        });
        Self {
            environment: session.environment.clone(),
            places: session.places.clone(),
            clock: session.clock,
            print_stderr: session.print_stderr,
            began: session.process_began,
            is_verbose: session.diagnostics.is_verbose(),
            log_file: session.diagnostics.log_file(),
            profile,
            options: Options { force_refresh: false, ..options },
            credentials,
            printed_warnings: printed_warning.into_iter().collect(),
            end: None,
        }
    }

    /// Makes the refresher fetch the first token itself. If the cloud rejects it, or the profile is wrong, the refresher
    /// sends the error and ends.
    #[must_use]
    pub fn ending_with(self, end: Sender<Result<()>>) -> Self {
        Self { end: Some(end), ..self }
    }

    /// Runs the refresher until the server stops.
    pub fn run(self, tasks: &Receiver<RefreshTask>) {
        let diagnostics = Diagnostics::new(self.is_verbose, self.print_stderr, self.log_file);
        let session = Session {
            environment: &self.environment,
            clock: self.clock,
            diagnostics: &diagnostics,
            places: &self.places,
            places_error: None,
            stdin: &RefCell::new(Box::new(NoInput)),
            print_stderr: self.print_stderr,
            print_stdout: &|_| Ok(()),
            look: Look::default(),
            process_began: self.began,
            request_started: Cell::new(Duration::ZERO),
        };
        let mut refresher = Refresher {
            session: &session,
            profile: &self.profile,
            options: &self.options,
            credentials: &self.credentials,
            printed_warnings: self.printed_warnings,
            // An access key is not fetched before the first request for one, because few programs use it.
            states: [RefreshState { is_in_use: true, ..RefreshState::default() }, RefreshState::default()],
        };
        match self.end.map(|end| refresher.fetch_first().map_err(|error| end.send(Err(error)))) {
            Some(Err(_)) => {}
            _ => refresher.run(tasks),
        }
    }
}

struct Refresher<'a> {
    session: &'a Session<'a>,
    profile: &'a Profile,
    options: &'a Options,
    credentials: &'a CredentialStore,
    /// The warnings printed since the last renewal without a warning.
    printed_warnings: BTreeSet<Warning>,
    /// Indexed by [`CredentialKind`].
    states: [RefreshState; 2],
}

/// The state of a credential's renewal.
#[derive(Default)]
struct RefreshState {
    /// True if the credential is renewed without a request.
    is_in_use: bool,
    /// The secret that the last successful fetch returned.
    last: Option<Secret>,
    /// The error of the last fetch, and the time before which the refresher doesn't try again.
    failure: Option<(Error, SteadyTime)>,
    /// Set if the last fetch succeeded but the credential is still due: the time before which the refresher doesn't try
    /// again.
    paused_until: Option<SteadyTime>,
}

/// A time by the steady clock, which nobody can set. By the other one, a pause could last for hours.
type SteadyTime = Duration;

impl RefreshState {
    /// Returns true if the refresher should not try yet. `has_credential` is true if there is a valid one.
    fn is_early(&self, has_credential: bool, now: SteadyTime) -> bool {
        let is_paused = has_credential && self.paused_until.is_some_and(|until| now < until);
        is_paused || self.failure.as_ref().is_some_and(|(_, until)| now < *until)
    }

    /// Notes that a fetch has failed.
    fn fail(&mut self, error: Error, now: SteadyTime) {
        let until = now + failure::failure_lifetime(&error);
        self.failure = Some((error, until));
    }

    /// Notes that a fetch has returned this credential.
    fn succeed(&mut self, credential: &Credential, is_still_due: bool, clock: &dyn Clock) {
        self.failure = None;
        // Pauses only if the new credential is due as well. Otherwise, for a short-lived one, the pause could outlast its
        // validity.
        self.paused_until = is_still_due.then(|| clock.elapsed() + attempt::back_off_time(credential, clock.now()));
        self.last = Some(credential.secret.clone());
    }
}

impl Refresher<'_> {
    /// Fetches the first token.
    ///
    /// # Errors
    /// Why no token was issued, if trying again would not help.
    fn fetch_first(&mut self) -> Result<()> {
        let session = self.session;
        session.request_started.set(session.clock.elapsed());
        let kind = CredentialKind::Token;
        let outcome = session.obtain_resource(self.profile, self.options, &kind.resource(), Duration::ZERO);
        match outcome {
            Err(error) if error.kind != Kind::Unavailable => Err(error),
            outcome => {
                self.note(kind, outcome);
                Ok(())
            }
        }
    }

    fn run(mut self, tasks: &Receiver<RefreshTask>) {
        loop {
            match tasks.recv_timeout(self.pause()) {
                Ok(RefreshTask::Respond(kind, incoming)) => {
                    let response = self.response(kind);
                    incoming.respond_without_waiting(response);
                }
                Ok(RefreshTask::Renew(kind)) => {
                    self.credentials.set_renewal_queued(kind, false);
                    self.renew_if_due(kind);
                }
                Err(RecvTimeoutError::Timeout) => {
                    for kind in CredentialKind::ALL {
                        if self.states[kind as usize].is_in_use {
                            self.renew_if_due(kind);
                        }
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Returns the time until the next check.
    fn pause(&self) -> Duration {
        let now = self.session.clock.now();
        let lookup = self.credentials.lookup(CredentialKind::Token, now);
        let left = lookup.map_or(0, |lookup| lookup.obtained.credential.remaining(now).min);
        (Duration::from_millis(left.max(0).unsigned_abs()) / CHECKS_BEFORE_EXPIRY).clamp(MIN_PAUSE, MAX_PAUSE)
    }

    /// Returns the response to a request that had to wait.
    fn response(&mut self, kind: CredentialKind) -> LocalResponse {
        self.states[kind as usize].is_in_use = true;
        let fetched = self.renew_if_due(kind);
        let now = self.session.clock.now();
        let stored = self.credentials.lookup(kind, now).map(|lookup| lookup.obtained);
        match (stored.or(fetched), &self.states[kind as usize].failure) {
            (Some(obtained), _) => kind.response(&obtained, now),
            (None, Some((error, _))) => LocalResponse::text(503, format!("ycred: {}\n", error.reason())),
            (None, None) => LocalResponse::text(503, "ycred: no valid credential\n"),
        }
    }

    /// Renews a credential that is due, unless a renewal was tried recently. Returns the new credential.
    fn renew_if_due(&mut self, kind: CredentialKind) -> Option<ObtainedToken> {
        let Self { session, credentials, .. } = *self;
        let now = session.clock.now();
        let lookup = credentials.lookup(kind, now);
        if lookup.as_ref().is_some_and(|lookup| !lookup.is_due) {
            return None;
        }
        let is_early = self.states[kind as usize].is_early(lookup.is_some(), session.clock.elapsed());
        if is_early && !credentials.is_never_cached(kind) {
            return None;
        }
        session.request_started.set(session.clock.elapsed());
        let options = kind.options(self.options);
        let outcome = session.obtain_resource(self.profile, &options, &kind.resource(), Duration::ZERO);
        self.note(kind, outcome)
    }

    /// Notes the result of a fetch for later requests, and prints its warning or error unless it was printed before.
    fn note(&mut self, kind: CredentialKind, outcome: Result<ObtainedToken>) -> Option<ObtainedToken> {
        let Self { session, credentials, .. } = *self;
        let state = &mut self.states[kind as usize];
        let now = session.clock.now();
        let warning = session.diagnostics.take();
        match outcome {
            Ok(obtained) => {
                credentials.remember(kind, &obtained, now);
                let is_new = state.last.as_ref() != Some(&obtained.credential.secret);
                let is_still_due = credentials.is_due_at_once(kind, &obtained.credential, now);
                state.succeed(&obtained.credential, is_still_due, session.clock);
                match warning {
                    Some((warning, text)) if self.printed_warnings.insert(warning) => {
                        (session.print_stderr)(&error::line("warning", &text))
                    }
                    None if is_new => self.printed_warnings.clear(),
                    _ => {}
                }
                Some(obtained)
            }
            Err(error) => {
                // Prints the error once, not for every request.
                if state.failure.is_none() {
                    (session.print_stderr)(&error.render());
                }
                state.fail(error, session.clock.elapsed());
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::tests::FixedClock;

    const NOW: Timestamp = Timestamp(1_795_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);
    const SECOND: Duration = Duration::from_secs(1);
    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn a_clock_that_is_set_does_not_change_the_pause_of_the_refresher() {
        let credential = Credential {
            secret: Secret::new("t1.x".into()),
            issued: NOW,
            expires: NOW.plus(HOUR),
            skew: 0,
            assumed: false,
            is_reported: false,
            account: None,
        };
        for step in [-HOUR_MS, 0, HOUR_MS] {
            let clock = FixedClock::at(NOW);
            let mut state = RefreshState::default();
            state.fail(Error::unavailable("the network is not there yet"), clock.elapsed());
            clock.set(NOW.shifted(step));
            assert!(state.is_early(false, clock.elapsed()), "{step}");
            clock.advance(2 * SECOND);
            assert!(!state.is_early(false, clock.elapsed()), "{step}");
            clock.set(NOW);
            state.succeed(&credential, true, &clock);
            clock.set(NOW.shifted(step));
            clock.advance(300 * SECOND - SECOND);
            assert!(state.is_early(true, clock.elapsed()) && !state.is_early(false, clock.elapsed()), "{step}");
            clock.advance(SECOND);
            assert!(!state.is_early(true, clock.elapsed()), "{step}");
            state.succeed(&credential, false, &clock);
            assert!(!state.is_early(true, clock.elapsed()), "{step}");
        }
    }
}
