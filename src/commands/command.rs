//! What a command is: its line in the table, and a call of it.

use clap::{Arg, ArgMatches};

use crate::base::error::{Error, Result};
use crate::process::Outcome;
use crate::process::flags::Options;
use crate::profile::ProfileRef;
use crate::session::Session;

/// A command of the people's command line.
pub struct Command {
    pub name: &'static str,
    pub about: &'static str,
    /// Adds its arguments to clap's tree.
    pub arguments: fn(clap::Command) -> clap::Command,
    /// Whether it is of no use where the directories are misnamed.
    pub needs_places: bool,
    /// The exit code of its failures, where it has one of its own instead of the error's (`exec`).
    pub failure_code: Option<u8>,
    /// # Errors
    /// See [`crate::base::error::Kind`].
    pub run: fn(&CommandCall, &Session<'_>) -> Result<Outcome>,
}

impl Command {
    /// What most commands have; each names what differs.
    pub const fn new(
        name: &'static str,
        about: &'static str,
        arguments: fn(clap::Command) -> clap::Command,
        run: fn(&CommandCall, &Session<'_>) -> Result<Outcome>,
    ) -> Self {
        Self { name, about, arguments, needs_places: true, failure_code: None, run }
    }

    /// The exit code of this failure.
    pub fn exit_code(&self, error: &Error) -> u8 {
        self.failure_code.unwrap_or(error.kind.exit_code())
    }
}

/// A command that was typed.
pub struct CommandCall {
    pub command: &'static Command,
    pub options: Options,
    pub matches: ArgMatches,
    /// The whole command line as clap sees it.
    pub tree: fn() -> clap::Command,
}

impl CommandCall {
    /// The profile that the flags name.
    pub fn wanted(&self) -> ProfileRef {
        match &self.options.profile {
            Some(text) => ProfileRef::Typed { by: "--profile", text: text.clone() },
            None => ProfileRef::Unnamed,
        }
    }

    /// A positional argument or value, as text.
    pub fn text(&self, id: &str) -> Option<&str> {
        self.matches.get_one::<String>(id).map(String::as_str)
    }
}

/// A profile as a word of its own, which reads better than a flag where a command is about nothing else.
pub fn named() -> Arg {
    Arg::new("name").value_name("PROFILE").help("the profile; default: as everywhere")
}

/// The profile that is meant, by [`named`] or as everywhere.
///
/// # Errors
/// Usage (2): two are.
pub fn wanted(call: &CommandCall) -> Result<ProfileRef> {
    match (call.text("name"), &call.options.profile) {
        (Some(name), Some(other)) if other != name => {
            Err(Error::usage(format!("two profiles are named: {name} and {}", other.to_string_lossy()))
                .hint("name one"))
        }
        (Some(name), None) => Ok(ProfileRef::Typed { by: call.command.name, text: name.into() }),
        _ => Ok(call.wanted()),
    }
}
