//! The parsed command line, and the hint that refers to `--help`.

use crate::base::error::Error;
use crate::commands;
use crate::hooks::protocol::HookCall;
use crate::process::flags::Options;
use crate::sources::login::renewal::RenewalCall;

/// An error in the command line, and its exit code.
pub struct Fault {
    pub error: Error,
    pub code: u8,
    /// Returns what to print on stdout, for a program that has asked for JSON.
    pub document: Option<fn(&Error) -> String>,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self { code: error.kind.exit_code(), error, document: None }
    }
}

/// The parsed command line.
pub enum Invocation {
    /// A hook, as client programs call it.
    Hook(Box<HookCall>),
    /// Print this on stdout and exit with 0.
    Print(String),
    /// A renewal of a login, in a process that ycred has started.
    RenewLogin(RenewalCall),
    /// `status --short`, with these flags.
    StatusLine(Box<Options>),
    /// A command, as people type it.
    Command(Box<commands::command::CommandCall>),
}

pub const SEE_HELP: &str = "`ycred --help` lists commands and flags";

/// Returns the hint that refers to the help of this command, or to the list of commands.
pub fn see_help(command: Option<&str>) -> String {
    command.map_or_else(|| SEE_HELP.to_owned(), |name| format!("`ycred {name} --help` lists its arguments and flags"))
}

/// Returns the line that `--version` prints.
pub fn version() -> String {
    concat!("ycred ", env!("CARGO_PKG_VERSION"), "\n").to_owned()
}
