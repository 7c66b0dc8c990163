//! `exec --serve`: a child of ours that always finds a living token, on loopback, as long as it runs.
//!
//! Three threads. This one waits: for signals, of which it passes on what the child has not got itself, and for the child's
//! end, which is the end of all. The *desk* answers requests from what is at hand. The *keeper* renews it ahead of need and
//! answers what had to wait for that. The keeper is a session like any other, so the record on disk is shared with every other
//! process, and all rules of the cache hold. Neither is waited for: when the child has ended nobody asks any more.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::base::clock::{Clock, Timestamp};
use crate::base::environment::Environment;
use crate::base::error::{Error, describe};
use crate::base::notes::{Notes, Warning};
use crate::base::secret::Secret;
use crate::base::{environment as env, error, random};
use crate::cache::record;
use crate::commands::exec;
use crate::commands::exec::{Change, Launch, not_run};
use crate::disk::places::Places;
use crate::invocation::Options;
use crate::obtain::Obtained;
use crate::profile::Profile;
use crate::session::Session;
use crate::sources::metadata;
use crate::system::loopback::{Incoming, Listener, Response};
use crate::system::{Signals, peer};
use crate::{Input, system};

mod desk;
mod stock;

use desk::Desk;
use stock::{Item, Stock};

/// A child to be, and what it is to find.
pub struct Order {
    pub program: OsString,
    pub arguments: Vec<OsString>,
    pub profile: Profile,
    pub options: Options,
    /// The token to begin with.
    pub first: Obtained,
    /// The child gets the token itself too, for programs that ask nobody.
    pub with_token: bool,
}

/// What the keeper has to do.
enum Work {
    /// Somebody waits for this.
    Answer(Item, Incoming),
    /// It was handed out, and is due.
    Renew(Item),
}

/// How often the keeper looks: so many times in what is left of a life, within these bounds. A look reads one file.
const LOOKS: u32 = 20;
const LOOK_LEAST: Duration = Duration::from_millis(250);
const LOOK_MOST: Duration = Duration::from_secs(30);

/// What is passed on to the child: what a process would send to a program. We stop when the child does, and not before.
const PASSED_ON: [i32; 10] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGWINCH,
    libc::SIGTSTP,
    libc::SIGCONT,
];

/// Those that the terminal sends, to every process of its group.
const OF_THE_TERMINAL: [i32; 5] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGWINCH, libc::SIGTSTP];

/// Runs the child to its end.
///
/// # Errors
/// Why there is no child, and the exit code that says so.
pub fn serve(order: Order, session: &Session<'_>) -> Result<ExitStatus, (Error, u8)> {
    let own = |error: Error| (error, exec::NO_TOKEN);
    let Order { program, arguments, profile, options, first, with_token } = order;
    let listener = Listener::bind(0).and_then(|listener| listener.check().map(|()| listener)).map_err(|error| {
        own(Error::unavailable(format!("exec --serve: cannot listen on 127.0.0.1: {}", describe(&error)))
            .hint("is the loopback interface up? without --serve no endpoint is needed"))
    })?;
    let (port, us) = (listener.port(), system::effective_uid());
    let user = match peer::can_tell(port, us) {
        Ok(()) => Some(us),
        Err(why) => {
            let what = "no metadata endpoint, since whose a connection is cannot be told here, and the program gets the token as without --serve";
            (session.tell)(&error::line("warning", &format!("exec --serve: {what}: {why}")));
            None
        }
    };
    let password = random::secret::<32>().map_err(own)?;
    let stock = Arc::new(Stock::new(session, &profile, &options).map_err(own)?);
    stock.keep(Item::Token, &first, session.clock.now());

    let mut changes = exec::common_changes(&profile);
    if profile.name.is_none() {
        // A ycred inside asks the endpoint, as other programs do.
        changes.push(Change::Unset(env::YCRED_SERVICE_ACCOUNT_ID.to_owned()));
    }
    changes.extend(endpoints(port, user.is_some(), &password, session.environment));
    if with_token || user.is_none() {
        let expires = first.credential.advertised(session.clock.now(), first.skew_is_current);
        changes.extend(exec::token_changes(&first.credential.secret, expires));
    }

    let (keeper, work) = mpsc::channel();
    let desk = Desk { clock: session.clock, port, user, password, stock: Arc::clone(&stock), keeper };
    let told = session.notes.take().map(|(kind, text)| {
        (session.tell)(&error::line("warning", &text));
        kind
    });
    let keeper = KeeperSeed {
        environment: session.environment.clone(),
        places: session.places.clone(),
        clock: session.clock,
        tell: session.tell,
        began: session.began,
        profile,
        options: Options { force_refresh: false, ..options },
        stock,
        told: told.into_iter().collect(),
    };
    let started =
        thread::Builder::new().name("desk".into()).spawn(move || while_open(&listener, &desk)).and_then(|_| {
            let tell = session.tell;
            thread::Builder::new().name("keeper".into()).spawn(move || {
                // Without it the desk still answers what the cache has.
                if catch_unwind(AssertUnwindSafe(|| keeper.keep(&work))).is_err() {
                    tell(&error::line("error", "a defect of ycred: exec --serve renews nothing any more"));
                }
            })
        });
    let mut signals =
        started.and_then(|_| Signals::catch(&[&PASSED_ON[..], &[libc::SIGCHLD]].concat())).map_err(|error| {
            own(Error::unavailable(format!("exec --serve: {}", describe(&error)))
                .hint("this machine or user has too many processes or open files; try again"))
        })?;
    let launch = Launch { program, arguments, changes };
    let mut child = launch.command().spawn().map_err(|error| not_run(&launch.program, &error))?;
    drop(launch);
    system::step_back();
    watch(&mut child, &mut signals)
        .or_else(|_| child.wait())
        .map_err(|error| own(Error::internal("the program cannot be waited for").because(error)))
}

fn while_open(listener: &Listener, desk: &Desk) {
    loop {
        if let Some(incoming) = listener.next(LOOK_MOST) {
            desk.take(incoming);
        }
    }
}

/// What the child finds of the endpoints, and what would come before them.
fn endpoints(port: u16, metadata: bool, password: &Secret, environment: &Environment) -> Vec<Change> {
    let mut changes: Vec<Change> = env::BEFORE_CONTAINER_CREDENTIALS.map(|name| Change::Unset(name.to_owned())).into();
    let url = format!("http://127.0.0.1:{port}{}", desk::ACCESS_KEY);
    changes.push(Change::Set(env::AWS_CONTAINER_CREDENTIALS_FULL_URI, url.into()));
    changes.push(Change::SetSecret(env::AWS_CONTAINER_AUTHORIZATION_TOKEN, password.clone()));
    if metadata {
        // A token in the environment comes before any endpoint, and is never renewed.
        changes.extend([env::YC_TOKEN, env::YC_IAM_TOKEN, env::YCRED_EXPIRES_AT].map(|n| Change::Unset(n.to_owned())));
        changes.push(Change::Set(env::YC_METADATA_ADDR, format!("127.0.0.1:{port}").into()));
        // A profile of this kind means the real one, or it would be given another profile's token.
        let usual = [env::YCRED_METADATA_ADDR, env::YC_METADATA_ADDR].into_iter().find_map(|n| environment.get(n));
        changes.push(Change::Set(env::YCRED_METADATA_ADDR, usual.unwrap_or(metadata::ADDRESS.as_ref()).to_owned()));
    }
    // Python's clients send even what is for loopback to the proxy, unless they are told not to.
    if env::PROXIES.iter().any(|name| environment.get(name).is_some()) {
        let lists: Vec<_> = env::NO_PROXIES.iter().filter(|name| environment.get(name).is_some()).collect();
        for name in if lists.is_empty() { env::NO_PROXIES.iter().collect() } else { lists } {
            let mut list = environment.get(name).unwrap_or_default().to_owned();
            if list == "*" {
                continue;
            }
            if !list.is_empty() {
                list.push(",");
            }
            list.push("127.0.0.1");
            changes.push(Change::Set(name, list));
        }
    }
    changes
}

/// Passes signals on until the child has ended.
fn watch(child: &mut Child, signals: &mut Signals) -> io::Result<ExitStatus> {
    loop {
        let arrived = signals.wait()?;
        if arrived.signal == libc::SIGCHLD {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            system::stop_with(child.id());
        } else if arrived.was_sent
            || !OF_THE_TERMINAL.contains(&arrived.signal)
            || (arrived.signal == libc::SIGHUP && system::leads_session())
        {
            // What else comes from the terminal the child has got itself: twice would mean something else to it.
            system::send_signal(child.id(), arrived.signal);
        }
    }
}

/// What the keeper's session is made of, in its own thread.
struct KeeperSeed {
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
    fn keep(self, work: &Receiver<Work>) {
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
            (Some(got), _) => desk::answer(item, &got, now),
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
