//! `completions`: the shell's own completion script, made from the same tree that parses.

use clap::Arg;
use clap_complete::Shell;

use crate::base::error::{Error, Result};
use crate::commands::command::{Command, CommandCall};
use crate::process::{Outcome, Reply};
use crate::session::Session;

pub const COMMAND: Command = Command {
    needs_places: false,
    ..Command::new("completions", "print the completion script of a shell", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    command.arg(Arg::new("shell").value_name("SHELL").required(true).help("the shell").value_parser([
        "bash",
        "zsh",
        "fish",
        "powershell",
        "elvish",
    ]))
}

fn run(call: &CommandCall, _: &Session<'_>) -> Result<Outcome> {
    let shell: Shell =
        call.text("shell").and_then(|name| name.parse().ok()).ok_or_else(|| Error::usage("no shell is named"))?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut (call.tree)(), "ycred", &mut script);
    Ok(Outcome::reply(Reply { stdout: script.into(), ..Reply::default() }))
}
