//! What people type: the table of commands, each one file.

use clap::ArgMatches;

use crate::Outcome;
use crate::base::error::Result;
use crate::invocation::Options;
use crate::profile::Wanted;
use crate::session::Session;

mod completions;
mod env;
pub mod exec;
mod import;
mod init;
mod list;
pub mod login;
mod logout;
mod refresh;
mod revoke;
mod r#use;

/// A command of the people's command line.
pub struct Command {
    pub name: &'static str,
    pub about: &'static str,
    /// Adds its arguments to clap's tree.
    pub arguments: fn(clap::Command) -> clap::Command,
    /// Whether it is of no use where the directories are misnamed. (`exec` has an exit code of its own for that.)
    pub needs_places: bool,
    /// # Errors
    /// See [`crate::base::error::Kind`].
    pub run: fn(&Call, &Session<'_>) -> Result<Outcome>,
}

/// Every command, in the order of the help.
pub const COMMANDS: &[&Command] = &[
    &init::COMMAND,
    &import::COMMAND,
    &list::COMMAND,
    &r#use::COMMAND,
    &exec::COMMAND,
    &env::COMMAND,
    &refresh::COMMAND,
    &login::COMMAND,
    &logout::COMMAND,
    &revoke::COMMAND,
    &completions::COMMAND,
];

/// A command that was typed.
pub struct Call {
    pub command: &'static Command,
    pub options: Options,
    pub matches: ArgMatches,
}

impl Call {
    /// The profile that the flags name.
    pub fn wanted(&self) -> Wanted {
        match &self.options.profile {
            Some(text) => Wanted::Typed { by: "--profile", text: text.clone() },
            None => Wanted::Unnamed,
        }
    }

    /// A positional argument or value, as text.
    pub fn text(&self, id: &str) -> Option<&str> {
        self.matches.get_one::<String>(id).map(String::as_str)
    }
}
