//! ycred as a library, so that fuzzers, benchmarks and tests can call it. The whole program is the function [`run`]: it
//! takes what the process was given and returns what the process must do. Only `main.rs` exits, and only `main.rs` sets
//! up stdio and the clock.
//!
//! Read [`cache`] first (how long a token is used), then [`obtain`] (how a token is fetched). Under `# Errors`, the
//! name is a [`base::error::Kind`], and the number is its exit code.

#![deny(unsafe_code)]

pub mod base;
pub mod cache;
pub mod cli;
pub mod cloud;
pub mod commands;
pub mod disk;
pub mod edit;
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

use crate::base::diagnostics::WaitDisplay;
use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::cli::invocation::Invocation;
use crate::commands::command::is_json;
use crate::commands::login::{notice, renew};
use crate::commands::status::line;
use crate::disk::places::Places;
use crate::hooks::{answer, next_in_path};
use crate::process::log;
use crate::process::painting::Look;
use crate::process::progress::Progress;
use crate::process::{Done, Outcome, Process, Reply};
use crate::session::Session;

/// Reports an error on stderr, and on stdout if a document is asked for.
fn failed(error: &Error, code: u8, document: Option<fn(&Error) -> String>) -> Outcome {
    match document {
        Some(document) => {
            let reply = Reply::text(document(error)).with_code(code);
            Outcome::Done(Done { reply, stderr: error.render(), ..Done::default() })
        }
        None => Outcome::failed(error, code),
    }
}

/// Runs ycred. The second value is a warning, one line for stderr; it is empty if there is nothing to warn about.
pub fn run(process: Process<'_>) -> (Outcome, String) {
    Secret::hide_multiline_in(&process.arguments, &process.environment);
    let invocation = match cli::parse(&process.arguments) {
        Ok(invocation) => invocation,
        Err(fault) => return (failed(&fault.error, fault.code, fault.document), String::new()),
    };
    let verbosity = match &invocation {
        Invocation::Print(text) => {
            return (Outcome::reply(Reply::text(text.clone())).for_people(Look::default()), String::new());
        }
        Invocation::Hook(call) => call.options.verbosity,
        Invocation::Command(call) => call.options.verbosity,
        Invocation::StatusLine(options) => options.verbosity,
        Invocation::RenewLogin(_) => 0,
    };
    let look = match &invocation {
        Invocation::Command(call) if !call.is_plain() => Look::of(&process.environment, call.command.paints),
        _ => Look::default(),
    };
    let progress = (look.has_colour && (process.is_terminal)()).then(|| Progress::new(process.clock));
    let diagnostics = log::diagnostics(verbosity > 0, &process.environment, process.clock, process.print_stderr)
        .with_display(progress.as_ref().map(|progress| progress as &dyn WaitDisplay));
    let stdin = RefCell::new(process.stdin);
    // Not an early return: a hook must report an invalid configuration directory in the format of its protocol.
    let (places, places_error) = match Places::of(&process.environment) {
        Ok(places) => (places, None),
        Err(error) => (Places::none(), Some(error)),
    };
    let session = Session {
        environment: &process.environment,
        clock: process.clock,
        diagnostics: &diagnostics,
        places: &places,
        places_error,
        stdin: &stdin,
        print_stderr: process.print_stderr,
        print_stdout: process.print_stdout,
        look,
        process_began: process.began,
        request_started: Cell::new(Duration::ZERO),
    };
    let outcome = match invocation {
        Invocation::Hook(call) => {
            let (reply, error) = answer::serve(&call, &session);
            if let Some(error) = &error {
                diagnostics.log_error(error);
            }
            // Only `keyring` passes calls on, to the next keyring in PATH.
            match reply.pass_on.then(|| next_in_path::program(&call, &process.environment)).flatten() {
                Some(next) => Outcome::Become(next),
                None => {
                    let stderr = error.map(|error| error.render()).unwrap_or_default();
                    Outcome::Done(Done { reply, stderr, ..Done::default() })
                }
            }
        }
        Invocation::RenewLogin(call) => match renew::run(&call, &session) {
            Ok(()) => Outcome::reply(Reply::nothing(0)),
            Err(error) => Outcome::failed(&error, error.kind.exit_code()),
        },
        Invocation::StatusLine(options) => {
            Outcome::reply(line::reply(&options.profile_ref(), &options, &session)).for_people(look)
        }
        Invocation::Command(call) => {
            let outcome = match &session.places_error {
                Some(error) if call.command.needs_places => Err(error.clone()),
                _ => (call.command.run)(&call, &session),
            };
            let outcome = outcome.inspect_err(|error| diagnostics.log_error(error));
            if matches!(&outcome, Ok(Outcome::Done(done)) if done.reply.code == 0) && !call.is_plain() {
                notice::warn(&session);
            }
            let explain = |error: Error| {
                failed(&error, call.command.exit_code(&error), call.command.document(is_json(&call.matches)))
            };
            outcome.unwrap_or_else(explain).for_people(look)
        }
        Invocation::Print(text) => Outcome::reply(Reply::text(text)),
    };
    // In debug builds, tests can cause a panic here, where the reply already exists and could leak.
    #[cfg(debug_assertions)]
    if let Some(text) = process.environment.get(base::environment::YCRED_DEBUG_PANIC) {
        panic!("{}", text.to_string_lossy());
    }
    // On failure, print the error and its hint only: a warning would distract from them.
    let failed = matches!(&outcome, Outcome::Done(done) if !done.stderr.is_empty());
    (outcome, if failed { String::new() } else { diagnostics.finish() })
}
