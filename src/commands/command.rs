//! A command's row in the table, and a call of it.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

use crate::base::error::{Error, Result};
use crate::base::hosts::HostScope;
use crate::base::shell;
use crate::process::Outcome;
use crate::process::flags::{Example, Options};
use crate::process::painting::Paint;
use crate::profile::ProfileRef;
use crate::session::Session;

/// A command that people type, such as `ycred init`.
pub struct Command {
    pub name: &'static str,
    pub about: &'static str,
    /// The heading under which the help lists the command.
    pub group: Group,
    /// Two or more calls for `--help` and the man page.
    pub examples: &'static [Example],
    /// Adds the command's arguments to its clap command.
    pub arguments: fn(clap::Command) -> clap::Command,
    /// What has a colour in the output, on a terminal.
    pub paints: &'static [Paint],
    /// True if the command never writes escape sequences, because its output goes to other programs or on to a child.
    pub is_plain: bool,
    /// True if the command fails when the configuration, state or cache directory is set incorrectly.
    pub needs_places: bool,
    /// The exit code of every failure, if the command doesn't use the error's own. Only `exec` sets it.
    pub failure_code: Option<u8>,
    /// Returns the JSON document about a failure before the command runs. `None` if the command prints none.
    pub failure_document: Option<fn(&Error) -> String>,
    /// # Errors
    /// See [`crate::base::error::Kind`].
    pub run: fn(&CommandCall, &Session<'_>) -> Result<Outcome>,
}

impl Command {
    /// Returns a command with the defaults. A command that differs sets the field.
    pub const fn new(
        name: &'static str,
        about: &'static str,
        arguments: fn(clap::Command) -> clap::Command,
        run: fn(&CommandCall, &Session<'_>) -> Result<Outcome>,
    ) -> Self {
        Self {
            name,
            about,
            group: Group::Manage,
            examples: &[],
            arguments,
            paints: &[],
            is_plain: false,
            needs_places: true,
            failure_code: None,
            failure_document: None,
            run,
        }
    }

    /// Returns the function that makes the document about a failure, if a program has asked for JSON.
    pub fn document(&self, is_json: bool) -> Option<fn(&Error) -> String> {
        self.failure_document.filter(|_| is_json)
    }

    /// Returns the exit code for this error.
    pub fn exit_code(&self, error: &Error) -> u8 {
        self.failure_code.unwrap_or(error.kind.exit_code())
    }
}

/// Returns true if a program has asked for JSON.
pub fn is_json(matches: &ArgMatches) -> bool {
    matches.try_get_one::<bool>("json").ok().flatten() == Some(&true)
}

/// A heading in the list of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Creates profiles, and configures clients.
    SetUp,
    /// Supplies a token.
    Use,
    /// Shows or changes what is there.
    Manage,
}

/// A hook whose client names the host that the token is for.
#[derive(Clone, Copy)]
pub struct HostClient {
    pub name: &'static str,
    pub scope: HostScope,
    /// True if it never answers for http.
    pub is_https_only: bool,
}

/// A command with its parsed command line.
pub struct CommandCall {
    pub command: &'static Command,
    pub options: Options,
    pub matches: ArgMatches,
    /// Builds the clap command of the whole program.
    pub tree: fn() -> clap::Command,
    /// Returns the names of the links that an installation has.
    pub links: fn() -> Vec<&'static str>,
    /// Returns the hooks whose clients name a host.
    pub host_clients: fn() -> Vec<HostClient>,
}

impl CommandCall {
    /// Returns true if this call never writes escape sequences. `--short` is for the prompts of shells.
    pub fn is_plain(&self) -> bool {
        self.command.is_plain || self.matches.try_get_one::<bool>("short").ok().flatten() == Some(&true)
    }

    /// Returns the profile that `--profile` names.
    pub fn profile_by_flag(&self) -> ProfileRef {
        self.options.profile_ref()
    }

    /// Returns the command line, to repeat it in a hint.
    pub fn line(&self) -> String {
        let given = |id: &str| self.matches.value_source(id) == Some(ValueSource::CommandLine);
        let (mut operands, mut flags) = (Vec::new(), Vec::new());
        for id in self.matches.ids().map(clap::Id::as_str).filter(|id| given(id)) {
            let is_operand = self.tree_of_command().get_positionals().any(|argument| argument.get_id() == id);
            let values = self.matches.get_raw(id).into_iter().flatten().map(shell::word);
            match self.matches.try_get_one::<bool>(id) {
                Ok(Some(_)) => flags.push(format!(" --{id}")),
                _ if is_operand => operands.extend(values.map(|value| format!(" {value}"))),
                _ => flags.extend(values.map(|value| format!(" --{id} {value}"))),
            }
        }
        format!("ycred {}{}{}", self.command.name, operands.concat(), flags.concat())
    }

    fn tree_of_command(&self) -> clap::Command {
        (self.command.arguments)(clap::Command::new(self.command.name))
    }

    /// Returns the value of a positional argument or an option.
    pub fn value(&self, id: &str) -> Option<&str> {
        self.matches.get_one::<String>(id).map(String::as_str)
    }
}

/// The argument `PROFILE`, for commands that take a profile and nothing else.
pub fn profile_argument() -> Arg {
    Arg::new("name").value_name("PROFILE").help("profile to use [default: the default profile]")
}

/// Returns the profile that [`profile_argument`] or `--profile` names.
///
/// # Errors
/// Usage (2): they name two different profiles.
pub fn selected_profile(call: &CommandCall) -> Result<ProfileRef> {
    match (call.value("name"), &call.options.profile) {
        (Some(name), Some(other)) if other != name => {
            let flag = other.to_string_lossy();
            Err(Error::usage(format!("two different profiles given: {name} and --profile {flag}"))
                .hint(format!("omit --profile {}", shell::word(other))))
        }
        (Some(name), None) => Ok(ProfileRef::NameOrPath { by: call.command.name, text: name.into() }),
        _ => Ok(call.profile_by_flag()),
    }
}
