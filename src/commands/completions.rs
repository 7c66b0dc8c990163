//! `completions`: prints a shell's completion script, generated from the clap command that parses arguments.

use clap::Arg;
use clap_complete::Shell;

use crate::base::error::{Error, Result};
use crate::commands::command::{Command, CommandCall, Group};
use crate::process::flags::Example;
use crate::process::{Outcome, Reply};
use crate::session::Session;

pub const COMMAND: Command = Command {
    group: Group::SetUp,
    examples: &[
        Example {
            call: "ycred completions bash > ~/.local/share/bash-completion/completions/ycred",
            about: "install the completion for bash",
        },
        Example { call: "ycred completions fish | source", about: "load the completion into a running fish" },
    ],
    needs_places: false,
    ..Command::new("completions", "print a shell's completion script", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    command.arg(
        Arg::new("shell").value_name("SHELL").required(true).help("shell to generate the script for").value_parser([
            "bash",
            "zsh",
            "fish",
            "powershell",
            "elvish",
        ]),
    )
}

fn run(call: &CommandCall, _: &Session<'_>) -> Result<Outcome> {
    let shell: Shell =
        call.value("shell").and_then(|name| name.parse().ok()).ok_or_else(|| Error::usage("missing shell"))?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut (call.tree)(), "ycred", &mut script);
    Ok(Outcome::reply(Reply { stdout: script.into(), ..Reply::default() }))
}
