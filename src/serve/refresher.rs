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
use crate::obtain::Obtained;
use crate::process::flags::Options;
use crate::process::stdin::Input;
use crate::profile::Profile;
use crate::serve::credentials::{Item, Stock};
use crate::session::Session;
use crate::system::loopback::{Incoming, Response};

/// What the keeper has to do.
pub enum Work {
    /// Somebody waits for this.
    Answer(Item, Incoming),
    /// It was handed out, and is due.
    Renew(Item),
}

/// How often the keeper looks: so many times in what is left of a life, within these bounds. A look reads one file.
const LOOKS: u32 = 20;
const LOOK_LEAST: Duration = Duration::from_millis(250);
pub const LOOK_MOST: Duration = Duration::from_secs(30);

/// What the keeper's session is made of, in its own thread.
pub struct KeeperSeed {
    environment: Environment,
    places: Places,
    clock: &'static dyn Clock,
    tell: &'static (dyn Fn(&str) + Sync),
    began: Timestamp,
    profile: Profile,
    options: Options,
    stock: Arc<Stock>,
    told: BTreeSet<Warning>,
}

impl KeeperSeed {
    /// What the session has to warn of is told now, and not again.
    pub fn new(session: &Session<'_>, profile: Profile, options: Options, stock: Arc<Stock>) -> Self {
        let told = session.notes.take().map(|(kind, text)| {
            (session.tell)(&error::line("warning", &text));
            kind
        });
        Self {
            environment: session.environment.clone(),
            places: session.places.clone(),
            clock: session.clock,
            tell: session.tell,
            began: session.began,
            profile,
            options: Options { force_refresh: false, ..options },
            stock,
            told: told.into_iter().collect(),
        }
    }

    pub fn keep(self, work: &Receiver<Work>) {
        let notes = Notes::new(self.options.verbosity, self.tell);
        let session = Session {
            environment: &self.environment,
            clock: self.clock,
            notes: &notes,
            places: &self.places,
            trouble: None,
            stdin: &RefCell::new(Box::new(NoInput)),
            tell: self.tell,
            say: &|_| Ok(()),
            began: self.began,
            started: Cell::new(Duration::ZERO),
        };
        let keeper = Keeper {
            session: &session,
            profile: &self.profile,
            options: &self.options,
            stock: &self.stock,
            told: self.told,
            // A key is got when it is first asked for: few programs want one.
            tended: [Tended { is_wanted: true, ..Tended::default() }, Tended::default()],
        };
        keeper.run(work);
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

struct Keeper<'a> {
    session: &'a Session<'a>,
    profile: &'a Profile,
    options: &'a Options,
    stock: &'a Stock,
    /// Warnings that have been given since all was well.
    told: BTreeSet<Warning>,
    tended: [Tended; 2],
}

/// How it stands with an item.
#[derive(Default)]
struct Tended {
    is_wanted: bool,
    last: Option<Secret>,
    /// Why there is none, and until when nobody asks again.
    failure: Option<(Error, Timestamp)>,
    /// Something is at hand that is due, but could not be bettered; until when that is left at rest.
    rests_until: Option<Timestamp>,
}

impl Keeper<'_> {
    fn run(mut self, work: &Receiver<Work>) {
        loop {
            match work.recv_timeout(self.pause()) {
                Ok(Work::Answer(item, incoming)) => {
                    let response = self.respond(item);
                    incoming.hand_over(response);
                }
                Ok(Work::Renew(item)) => {
                    self.stock.call_for(item, false);
                    self.tend(item);
                }
                Err(RecvTimeoutError::Timeout) => {
                    for item in Item::ALL {
                        if self.tended[item as usize].is_wanted {
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
        let left = self.stock.find(Item::Token, now).map_or(0, |found| found.got.credential.left(now).shorter);
        (Duration::from_millis(left.max(0).unsigned_abs()) / LOOKS).clamp(LOOK_LEAST, LOOK_MOST)
    }

    fn respond(&mut self, item: Item) -> Response {
        self.tended[item as usize].is_wanted = true;
        let got = self.tend(item);
        let now = self.session.clock.now();
        let found = self.stock.find(item, now).map(|found| found.got);
        match (found.or(got), &self.tended[item as usize].failure) {
            (Some(got), _) => item.response(&got, now),
            (None, Some((error, _))) => Response::text(503, format!("ycred: {}\n", error.reason())),
            (None, None) => Response::text(503, "ycred: there is nothing that lives\n"),
        }
    }

    /// Renews what is due, unless that was tried just now. Returns what it got.
    fn tend(&mut self, item: Item) -> Option<Obtained> {
        let Self { session, stock, .. } = *self;
        let now = session.clock.now();
        let found = stock.find(item, now);
        if found.as_ref().is_some_and(|found| !found.is_due) {
            return None;
        }
        let tended = &mut self.tended[item as usize];
        if !stock.is_asked_each_time(item) {
            let is_early = |until: Timestamp| now < until;
            let rests = found.is_some() && tended.rests_until.is_some_and(is_early);
            if rests || tended.failure.as_ref().is_some_and(|(_, until)| is_early(*until)) {
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
                stock.keep(item, &got, now);
                tended.failure = None;
                // Only where it is due all the same: of a short life, a rest after good news would be what is left of it.
                let could_be_better = stock.find(item, now).is_none_or(|found| found.is_due);
                tended.rests_until = could_be_better.then(|| record::back_off(&got.credential, now));
                let is_new = tended.last.as_ref() != Some(&got.credential.secret);
                tended.last = Some(got.credential.secret.clone());
                match warning {
                    Some((kind, text)) if self.told.insert(kind) => (session.tell)(&error::line("warning", &text)),
                    None if is_new => self.told.clear(),
                    _ => {}
                }
                Some(got)
            }
            Err(error) => {
                // Once, not for every request.
                if tended.failure.is_none() {
                    (session.tell)(&error.render());
                }
                let until = now.plus(record::remembering(&error));
                tended.failure = Some((error, until));
                None
            }
        }
    }
}
