//! What the process is given, and what it must do.

pub mod flags;
pub mod launch;
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
use crate::process::stdin::Input;

/// What the process was given.
pub struct Process<'a> {
    pub arguments: Vec<OsString>,
    pub environment: Environment,
    pub stdin: Box<dyn Input>,
    pub clock: &'static dyn Clock,
    /// When the process began, by the wall clock.
    pub began: Timestamp,
    /// Writes lines to stderr at once: what `-v` shows.
    pub print_stderr: &'static (dyn Fn(&str) + Sync),
    /// Writes to stdout at once, for the protocols that are conversations.
    pub print_stdout: &'a dyn Fn(&[u8]) -> io::Result<()>,
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

/// What goes to stdout, and the exit code. Stderr gets the error's lines by themselves.
#[derive(Default)]
pub struct Reply {
    pub stdout: Zeroizing<Vec<u8>>,
    pub code: u8,
    /// What stderr gets with it, where the protocol wants a reason for what is no failure.
    pub reason: Option<Error>,
    /// The next program of the name that ycred was called by may answer instead, if there is one.
    pub pass_on: bool,
}

impl Reply {
    pub fn text(text: impl Into<String>) -> Self {
        Self { stdout: Zeroizing::new(text.into().into_bytes()), ..Self::default() }
    }

    /// A line of JSON. What ycred builds itself always can be written.
    pub fn json(value: &serde_json::Value) -> Self {
        Self::text(format!("{value}\n"))
    }

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
