//! A program to start, or to replace this process with.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::Command;

use crate::base::error::{Error, Kind};
use crate::base::secret::Secret;
use crate::disk::executable;
use crate::system;

/// A program with its arguments and the changes to its environment.
pub struct Launch {
    pub program: OsString,
    pub arguments: Vec<OsString>,
    pub changes: Vec<Change>,
    /// The value of `PATH`, to explain why the program was not found.
    pub search: Option<OsString>,
}

impl Launch {
    /// Returns the command to start, with the changed environment and the signal dispositions that ycred inherited.
    ///
    /// # Errors
    /// There is no such program. On most systems, only starting it shows that.
    pub fn command(&self) -> io::Result<Command> {
        let mut command = system::programs::command(&self.program)?;
        command.args(&self.arguments);
        for change in &self.changes {
            match change {
                Change::Set(name, value) => command.env(name, value),
                Change::SetSecret(name, secret) => command.env(name, secret.expose()),
                Change::Unset(name) => command.env_remove(name),
            };
        }
        system::signals::restore_signals(&mut command);
        Ok(command)
    }
}

impl Launch {
    /// Replaces this process with the program. Returns only on failure: the error and the exit code for it.
    pub fn replace_process(&self) -> (Error, u8) {
        let error = match self.command() {
            Ok(mut command) => system::process::become_program(&mut command),
            Err(error) => error,
        };
        not_run(&self.program, self.search.as_deref(), &error)
    }
}

/// A change to a program's environment.
pub enum Change {
    Set(&'static str, OsString),
    /// Sets a variable to a secret, such as the token.
    SetSecret(&'static str, Secret),
    Unset(String),
}

/// Returns the error and the exit code, as in a shell, for a program that cannot be started. `search` is `PATH`.
pub fn not_run(program: &OsStr, search: Option<&OsStr>, error: &std::io::Error) -> (Error, u8) {
    if program.is_empty() {
        return (Error::usage("cannot run a program without a name: the first argument is empty"), 127);
    }
    let name = Path::new(program).display();
    let mut error = executable::not_started(program, search, None, error);
    let is_missing = error.reason() == "program not found";
    error.kind = Kind::Usage;
    (error.context(format!("cannot run {name}")), if is_missing { 127 } else { 126 })
}
