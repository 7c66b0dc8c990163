//! What argv asks for; and where its words are listed, for those who mistype one.

use crate::base::error::Error;
use crate::commands;
use crate::hooks::protocol::HookCall;

/// Words that cannot be read, and the exit code that says so.
pub struct Fault {
    pub error: Error,
    pub code: u8,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self { code: error.kind.exit_code(), error }
    }
}

/// What argv asks for.
pub enum Invocation {
    Hook(Box<HookCall>),
    /// For stdout, exit 0.
    Print(String),
    People(Box<commands::command::CommandCall>),
}

pub const SEE_HELP: &str = "`ycred --help` lists commands and flags";

/// Where the words of a command are listed, or the commands.
pub fn see_help(command: Option<&str>) -> String {
    command.map_or_else(|| SEE_HELP.to_owned(), |name| format!("`ycred {name} --help` lists its words and flags"))
}

/// The line that `--version` prints.
pub fn version() -> String {
    concat!("ycred ", env!("CARGO_PKG_VERSION"), "\n").to_owned()
}
