//! A program to start, or to become.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::system;

/// A program to become.
pub struct Launch {
    pub program: OsString,
    pub arguments: Vec<OsString>,
    pub changes: Vec<Change>,
}

impl Launch {
    /// The program with its environment, and with the signals that we were given.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        for change in &self.changes {
            match change {
                Change::Set(name, value) => command.env(name, value),
                Change::SetSecret(name, secret) => command.env(name, secret.expose()),
                Change::Unset(name) => command.env_remove(name),
            };
        }
        system::signals::restore_signals(&mut command);
        command
    }
}

impl Launch {
    /// Becomes the program. Returns only where that cannot be: why, and the exit code that says so.
    pub fn become_it(&self) -> (Error, u8) {
        not_run(&self.program, &system::process::become_program(&mut self.command()))
    }
}

/// One change to the environment of a program.
pub enum Change {
    Set(&'static str, OsString),
    /// The token itself.
    SetSecret(&'static str, Secret),
    Unset(String),
}

/// The error and exit code for a program that could not be become.
pub fn not_run(program: &OsString, error: &std::io::Error) -> (Error, u8) {
    let name = Path::new(program).display();
    let why = crate::base::error::describe(error);
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            (Error::usage(format!("{name}: there is no such program")).hint("check the spelling and PATH"), 127)
        }
        _ => (
            Error::usage(format!("{name}: cannot be run: {why}"))
                .hint(format!("check that it may be executed: ls -l {name}")),
            126,
        ),
    }
}
