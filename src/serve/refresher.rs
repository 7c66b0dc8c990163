//! Renews what `exec --serve` hands out, ahead of need, and answers the requests that had to wait for that.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::base::clock::{Clock, Timestamp};
use crate::base::environment::Environment;
use crate::base::error::{self, Error};
use crate::base::notes::{Notes, Warning};
use crate::base::secret::Secret;
use crate::cache::record;
use crate::disk::places::Places;
use crate::obtain::ObtainedToken;
use crate::process::flags::Options;
use crate::process::stdin::Input;
use crate::profile::Profile;
use crate::serve::credentials::{CredentialStore, Item};
use crate::session::Session;
use crate::system::loopback::{LocalResponse, PendingRequest};

/// What the keeper has to do.
pub enum RefreshTask {
    /// Somebody waits for this.
    Answer(Item, PendingRequest),
    /// It was handed out, and is due.
    Renew(Item),
}

/// How often the keeper looks: so many times in what is left of a life, within these bounds. A look reads one file.
const PAUSES: u32 = 20;
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the keeper's session is made of, in its own thread.
pub struct RefresherSetup {
    environment: Environment,
    places: Places,
    clock: &'static dyn Clock,
    print_stderr: &'static (dyn Fn(&str) + Sync),
    began: Timestamp,
    profile: Profile,
    options: Options,
    credentials: Arc<CredentialStore>,
    told: BTreeSet<Warning>,
}

impl RefresherSetup {
    /// What the session has to warn of is told now, and not again.
    pub fn new(session: &Session<'_>, profile: Profile, options: Options, credentials: Arc<CredentialStore>) -> Self {
        let told = session.notes.take().map(|(kind, text)| {
            (session.print_stderr)(&error::line("warning", &text));
            kind
        });
        Self {
            environment: session.environment.clone(),
            places: session.places.clone(),
            clock: session.clock,
            print_stderr: session.print_stderr,
            began: session.began,
            profile,
            options: Options { force_refresh: false, ..options },
            credentials,
            told: told.into_iter().collect(),
        }
    }

    pub fn keep(self, work: &Receiver<RefreshTask>) {
        let notes = Notes::new(self.options.verbosity, self.print_stderr);
        let session = Session {
            environment: &self.environment,
            clock: self.clock,
            notes: &notes,
            places: &self.places,
            places_error: None,
            stdin: &RefCell::new(Box::new(NoInput)),
            print_stderr: self.print_stderr,
            print_stdout: &|_| Ok(()),
            began: self.began,
            started: Cell::new(Duration::ZERO),
        };
        let refresher = Refresher {
            session: &session,
            profile: &self.profile,
            options: &self.options,
            credentials: &self.credentials,
            told: self.told,
            // A key is got when it is first asked for: few programs want one.
            states: [RefreshState { is_wanted: true, ..RefreshState::default() }, RefreshState::default()],
        };
        refresher.run(work);
    }
}

/// The child has stdin.
struct NoInput;

impl Input for NoInput {
    fn wait(&mut self, _: Duration) -> bool {
        true
    }
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
    fn is_terminal(&self) -> bool {
        false
    }
}

struct Refresher<'a> {
    session: &'a Session<'a>,
    profile: &'a Profile,
    options: &'a Options,
    credentials: &'a CredentialStore,
    /// Warnings that have been given since all was well.
    told: BTreeSet<Warning>,
    states: [RefreshState; 2],
}

/// How it stands with an item.
#[derive(Default)]
struct RefreshState {
    is_wanted: bool,
    last: Option<Secret>,
    /// Why there is none, and until when nobody asks again.
    failure: Option<(Error, Timestamp)>,
    /// Something is at hand that is due, but could not be bettered; until when that is left at rest.
    rests_until: Option<Timestamp>,
}

impl Refresher<'_> {
    fn run(mut self, work: &Receiver<RefreshTask>) {
        loop {
            match work.recv_timeout(self.pause()) {
                Ok(RefreshTask::Answer(item, incoming)) => {
                    let response = self.respond(item);
                    incoming.respond_without_waiting(response);
                }
                Ok(RefreshTask::Renew(item)) => {
                    self.credentials.mark_requested(item, false);
                    self.tend(item);
                }
                Err(RecvTimeoutError::Timeout) => {
                    for item in Item::ALL {
                        if self.states[item as usize].is_wanted {
                            self.tend(item);
                        }
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Until the next look.
    fn pause(&self) -> Duration {
        let now = self.session.clock.now();
        let left = self.credentials.find(Item::Token, now).map_or(0, |found| found.got.credential.left(now).shorter);
        (Duration::from_millis(left.max(0).unsigned_abs()) / PAUSES).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }

    fn respond(&mut self, item: Item) -> LocalResponse {
        self.states[item as usize].is_wanted = true;
        let got = self.tend(item);
        let now = self.session.clock.now();
        let found = self.credentials.find(item, now).map(|found| found.got);
        match (found.or(got), &self.states[item as usize].failure) {
            (Some(got), _) => item.response(&got, now),
            (None, Some((error, _))) => LocalResponse::text(503, format!("ycred: {}\n", error.reason())),
            (None, None) => LocalResponse::text(503, "ycred: there is nothing that lives\n"),
        }
    }

    /// Renews what is due, unless that was tried just now. Returns what it got.
    fn tend(&mut self, item: Item) -> Option<ObtainedToken> {
        let Self { session, credentials, .. } = *self;
        let now = session.clock.now();
        let found = credentials.find(item, now);
        if found.as_ref().is_some_and(|found| !found.is_due) {
            return None;
        }
        let states = &mut self.states[item as usize];
        if !credentials.is_never_cached(item) {
            let is_early = |until: Timestamp| now < until;
            let rests = found.is_some() && states.rests_until.is_some_and(is_early);
            if rests || states.failure.as_ref().is_some_and(|(_, until)| is_early(*until)) {
                return None;
            }
        }
        session.started.set(session.clock.elapsed());
        let options = item.options(self.options);
        let outcome = session.obtain_need(self.profile, &options, &item.need(), Duration::ZERO);
        let now = session.clock.now();
        let warning = session.notes.take();
        match outcome {
            Ok(got) => {
                credentials.keep(item, &got, now);
                states.failure = None;
                // Only where it is due all the same: of a short life, a rest after good news would be what is left of it.
                let could_be_better = credentials.find(item, now).is_none_or(|found| found.is_due);
                states.rests_until = could_be_better.then(|| record::back_off(&got.credential, now));
                let is_new = states.last.as_ref() != Some(&got.credential.secret);
                states.last = Some(got.credential.secret.clone());
                match warning {
                    Some((kind, text)) if self.told.insert(kind) => {
                        (session.print_stderr)(&error::line("warning", &text))
                    }
                    None if is_new => self.told.clear(),
                    _ => {}
                }
                Some(got)
            }
            Err(error) => {
                // Once, not for every request.
                if states.failure.is_none() {
                    (session.print_stderr)(&error.render());
                }
                let until = now.plus(record::failure_lifetime(&error));
                states.failure = Some((error, until));
                None
            }
        }
    }
}
