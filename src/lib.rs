//! ycred as a library: the whole program is [`run`], a function from what the process was given to what it must do, so
//! that fuzzers, benchmarks and tests reach in. `main.rs` alone touches stdio, the clock's source and the exit.
//!
//! A reader starts with [`cache`], the heart, and [`obtain`], the flow.

#![deny(unsafe_code)]

pub mod base;
pub mod cache;
pub mod cli;
pub mod cloud;
pub mod commands;
pub mod disk;
pub mod hooks;
pub mod obtain;
pub mod process;
pub mod profile;
pub mod serve;
pub mod session;
pub mod sources;
pub mod system;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::base::notes::Notes;
use crate::cli::invocation::Invocation;
use crate::disk::places::Places;
use crate::hooks::{answer, pass_on};
use crate::process::{Done, Outcome, Process, Reply};
use crate::session::Session;

/// Runs ycred. The second value is the warning's line for stderr, empty if there is none.
pub fn run(process: Process<'_>) -> (Outcome, String) {
    let invocation = match cli::parse(&process.arguments) {
        Ok(invocation) => invocation,
        Err(fault) => return (Outcome::failed(&fault.error, fault.code), String::new()),
    };
    let verbosity = match &invocation {
        Invocation::Print(text) => return (Outcome::reply(Reply::text(text.clone())), String::new()),
        Invocation::Hook(call) => call.options.verbosity,
        Invocation::People(call) => call.options.verbosity,
    };
    let notes = Notes::new(verbosity, process.print_stderr);
    let stdin = RefCell::new(process.stdin);
    // A hook whose configuration directory is nonsense still answers in its protocol's own shape, so this is no early
    // return.
    let (places, places_error) = match Places::of(&process.environment) {
        Ok(places) => (places, None),
        Err(error) => (Places::none(), Some(error)),
    };
    let session = Session {
        environment: &process.environment,
        clock: process.clock,
        notes: &notes,
        places: &places,
        places_error,
        stdin: &stdin,
        print_stderr: process.print_stderr,
        print_stdout: process.print_stdout,
        began: process.began,
        started: Cell::new(Duration::ZERO),
    };
    let outcome = match invocation {
        Invocation::Hook(call) => {
            let (reply, error) = answer::serve(&call, &session);
            match reply.pass_on.then(|| pass_on::of(&call, &process.environment)).flatten() {
                Some(next) => Outcome::Become(next),
                None => Outcome::Done(Done { reply, stderr: error.map(|error| error.render()).unwrap_or_default() }),
            }
        }
        Invocation::People(call) => {
            let outcome = match &session.places_error {
                Some(error) if call.command.needs_places => Err(error.clone()),
                _ => (call.command.run)(&call, &session),
            };
            outcome.unwrap_or_else(|error| Outcome::failed(&error, call.command.exit_code(&error)))
        }
        Invocation::Print(text) => Outcome::reply(Reply::text(text)),
    };
    // A defect on demand, at the worst moment: the reply is at hand. Not in a release.
    #[cfg(debug_assertions)]
    if let Some(text) = process.environment.get(base::environment::YCRED_DEBUG_PANIC) {
        panic!("{}", text.to_string_lossy());
    }
    // A failure is one line and its hint; what else was amiss would only hide it.
    let failed = matches!(&outcome, Outcome::Done(done) if !done.stderr.is_empty());
    (outcome, if failed { String::new() } else { notes.finish() })
}
