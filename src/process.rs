//! The input and the outcome of a run: what the process is given, and what it must do.

pub mod flags;
pub mod launch;
pub mod log;
pub mod painting;
pub mod progress;
pub mod stdin;
pub mod stdio;

use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;

use zeroize::Zeroizing;

use crate::base::clock::{Clock, Timestamp};
use crate::base::environment::Environment;
use crate::base::error::Error;
use crate::process::launch::Launch;
use crate::process::painting::Look;
use crate::process::stdin::Input;

/// The input of a run.
pub struct Process<'a> {
    pub arguments: Vec<OsString>,
    pub environment: Environment,
    pub stdin: Box<dyn Input>,
    pub clock: &'static dyn Clock,
    /// When the process started, by the wall clock.
    pub began: Timestamp,
    /// Writes to stderr immediately, for the log of `-v`.
    pub print_stderr: &'static (dyn Fn(&str) + Sync),
    /// Returns true if stderr is a terminal.
    pub is_terminal: fn() -> bool,
    /// Writes to stdout immediately, for protocols with more than one request per process.
    pub print_stdout: &'a dyn Fn(&[u8]) -> io::Result<()>,
}

/// What the process must do to finish.
pub enum Outcome {
    /// Write the output and exit.
    Done(Done),
    /// Print the warning, if there is one, and become another program.
    Become(Launch),
    /// End as a child process ended: with the same exit code or signal.
    EndAs(ExitStatus),
}

/// The output of a run and its exit code. Each stream is written in one piece.
#[derive(Default)]
pub struct Done {
    pub reply: Reply,
    pub stderr: String,
    /// The error is about what stdout reports, so a person reads it after that.
    pub is_error_last: bool,
    /// A person reads stdout, not a client that needs a complete reply.
    pub is_for_people: bool,
    /// How to write to a terminal.
    pub look: Look,
}

impl Outcome {
    pub fn reply(reply: Reply) -> Self {
        Self::Done(Done { reply, ..Done::default() })
    }

    /// Marks the output as one for people, with this look on a terminal.
    #[must_use]
    pub fn for_people(self, look: Look) -> Self {
        match self {
            Self::Done(done) => Self::Done(Done { is_for_people: true, look, ..done }),
            other => other,
        }
    }

    /// Prints an error on stderr, nothing on stdout, and exits with this code.
    pub fn failed(error: &Error, code: u8) -> Self {
        Self::Done(Done { reply: Reply::nothing(code), stderr: error.render(), ..Done::default() })
    }
}

/// A hook's or command's stdout and exit code. Errors for stderr are kept separately.
#[derive(Default)]
pub struct Reply {
    pub stdout: Zeroizing<Vec<u8>>,
    pub code: u8,
    /// The reason to print on stderr if the protocol requires one although nothing failed.
    pub reason: Option<Error>,
    /// The next program in `PATH` with the name that ycred was called by, if there is one, replies instead.
    pub pass_on: bool,
}

impl Reply {
    pub fn text(text: impl Into<String>) -> Self {
        Self { stdout: Zeroizing::new(text.into().into_bytes()), ..Self::default() }
    }

    /// A line of JSON.
    pub fn json(value: &serde_json::Value) -> Self {
        Self::text(format!("{value}\n"))
    }

    /// Empty stdout with this exit code.
    pub fn nothing(code: u8) -> Self {
        Self { code, ..Self::default() }
    }

    #[must_use]
    pub fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    #[must_use]
    pub fn with_reason(self, reason: Error) -> Self {
        Self { reason: Some(reason), ..self }
    }
}
