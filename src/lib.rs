//! ycred as a library: the whole program is [`run`], a function from what the process was given to what it must do, so
//! that fuzzers, benchmarks and tests reach in. `main.rs` alone touches stdio, the clock's source and the exit.
//!
//! A reader starts with [`cache`], the heart, and [`obtain`], the flow.

#![deny(unsafe_code)]

pub mod base;
pub mod cache;
pub mod cloud;
pub mod commands;
pub mod disk;
pub mod invocation;
pub mod obtain;
pub mod profile;
pub mod protocol;
#[doc(hidden)]
pub mod readers;
pub mod serve;
pub mod session;
pub mod sources;
pub mod successor;
pub mod system;
pub mod yaml;

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use crate::base::clock::Clock;
use crate::base::clock::Timestamp;
use crate::base::environment::Environment;
use crate::base::error::Error;
use crate::base::notes::Notes;
use crate::commands::exec::Launch;
use crate::disk::places::Places;
use crate::invocation::Invocation;
use crate::protocol::Reply;
use crate::session::Session;

/// What the process was given.
pub struct Process<'a> {
    pub arguments: Vec<OsString>,
    pub environment: Environment,
    pub stdin: Box<dyn Input>,
    pub clock: &'static dyn Clock,
    /// When the process began, by the wall clock.
    pub began: Timestamp,
    /// Writes lines to stderr at once: what `-v` shows.
    pub tell: &'static (dyn Fn(&str) + Sync),
    /// Writes to stdout at once, for the protocols that are conversations.
    pub say: &'a dyn Fn(&[u8]) -> io::Result<()>,
}

/// Where a request comes from.
pub trait Input {
    /// Waits until there is something to read, or the end; false where `patience` is over first.
    fn wait(&mut self, patience: Duration) -> bool;

    /// # Errors
    /// What the system says.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Whether a person is there: stdin and stderr are a terminal.
    fn is_terminal(&self) -> bool;
}

/// What the process must do.
pub enum Outcome {
    /// Write and exit.
    Done(Done),
    /// Become another program, after writing the warning if there is one.
    Become(Launch),
    /// End as a child has ended.
    EndAs(ExitStatus),
}

/// What to write, each in one piece, and the exit code.
#[derive(Default)]
pub struct Done {
    pub reply: Reply,
    pub stderr: String,
}

impl Outcome {
    pub fn reply(reply: Reply) -> Self {
        Self::Done(Done { reply, stderr: String::new() })
    }

    /// An error on stderr alone, with this exit code.
    pub fn failed(error: &Error, code: u8) -> Self {
        Self::Done(Done { reply: Reply::nothing(code), stderr: error.render() })
    }
}

/// Runs ycred. The second value is the warning's line for stderr, empty if there is none.
pub fn run(process: Process<'_>) -> (Outcome, String) {
    let invocation = match invocation::parse(&process.arguments) {
        Ok(invocation) => invocation,
        Err(error) => {
            let is_exec = process.arguments.iter().skip(1).take_while(|word| *word != "--").any(|word| word == "exec");
            let code = if is_exec { commands::exec::NO_TOKEN } else { error.kind.exit_code() };
            return (Outcome::failed(&error, code), String::new());
        }
    };
    let verbosity = match &invocation {
        Invocation::Print(text) => return (Outcome::reply(Reply::text(text.clone())), String::new()),
        Invocation::Hook(call) => call.options.verbosity,
        Invocation::People(call) => call.options.verbosity,
    };
    let notes = Notes::new(verbosity, process.tell);
    let stdin = RefCell::new(process.stdin);
    // A hook whose configuration directory is nonsense still answers in its protocol's own shape, so this is no early
    // return.
    let (places, trouble) = match Places::of(&process.environment) {
        Ok(places) => (places, None),
        Err(error) => (Places::none(), Some(error)),
    };
    let session = Session {
        environment: &process.environment,
        clock: process.clock,
        notes: &notes,
        places: &places,
        trouble,
        stdin: &stdin,
        tell: process.tell,
        say: process.say,
        began: process.began,
        started: Cell::new(Duration::ZERO),
    };
    let outcome = match invocation {
        Invocation::Hook(call) => {
            let (reply, error) = protocol::serve(&call, &session);
            match reply.pass_on.then(|| successor::of(&call, &process.environment)).flatten() {
                Some(next) => Ok(Outcome::Become(next)),
                None => {
                    Ok(Outcome::Done(Done { reply, stderr: error.map(|error| error.render()).unwrap_or_default() }))
                }
            }
        }
        Invocation::People(call) => match &session.trouble {
            Some(error) if call.command.needs_places => Err(error.clone()),
            _ => (call.command.run)(&call, &session),
        },
        Invocation::Print(text) => Ok(Outcome::reply(Reply::text(text))),
    };
    let outcome = outcome.unwrap_or_else(|error| Outcome::failed(&error, error.kind.exit_code()));
    // A defect on demand, at the worst moment: the reply is at hand. Not in a release.
    #[cfg(debug_assertions)]
    if let Some(text) = process.environment.get(base::environment::YCRED_DEBUG_PANIC) {
        panic!("{}", text.to_string_lossy());
    }
    // A failure is one line and its hint; what else was amiss would only hide it.
    let failed = matches!(&outcome, Outcome::Done(done) if !done.stderr.is_empty());
    (outcome, if failed { String::new() } else { notes.finish() })
}
