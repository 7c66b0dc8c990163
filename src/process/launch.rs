//! A program to start, or to replace this process with.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::system;

/// A program with its arguments and the changes to its environment.
pub struct Launch {
    pub program: OsString,
    pub arguments: Vec<OsString>,
    pub changes: Vec<Change>,
}

impl Launch {
    /// Returns the command to start, with the changed environment and the signal dispositions that ycred inherited.
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
    /// Replaces this process with the program. Returns only on failure: the error and the exit code for it.
    pub fn replace_process(&self) -> (Error, u8) {
        not_run(&self.program, &system::process::become_program(&mut self.command()))
    }
}

/// A change to a program's environment.
pub enum Change {
    Set(&'static str, OsString),
    /// Sets a variable to a secret, such as the token.
    SetSecret(&'static str, Secret),
    Unset(String),
}

/// Returns the error and the exit code, as in a shell, for a program that cannot be started.
pub fn not_run(program: &OsString, error: &std::io::Error) -> (Error, u8) {
    let name = Path::new(program).display();
    let why = crate::base::error::describe(error);
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            (Error::usage(format!("cannot run {name}: program not found")).hint("check the spelling and PATH"), 127)
        }
        _ => (
            Error::usage(format!("cannot run {name}: {why}"))
                .hint(format!("check that it is executable: ls -l {name}")),
            126,
        ),
    }
}
