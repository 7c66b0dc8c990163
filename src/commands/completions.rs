//! `completions`: prints a shell's completion script, generated from the clap command that parses arguments.

use std::collections::BTreeSet;

use clap::Arg;
use clap_complete::Shell;

use crate::base::error::{Error, Result};
use crate::base::hosts::{Allowed, DEFAULT_ENDPOINT};
use crate::commands::clients::CLIENTS;
use crate::commands::command::{Command, CommandCall, Group};
use crate::commands::doctor;
use crate::process::flags::Example;
use crate::process::{Outcome, Reply};
use crate::profile::{Profile, ProfileRef, find};
use crate::session::Session;

pub const COMMAND: Command = Command {
    group: Group::SetUp,
    examples: &[
        Example {
            call: "ycred completions bash > ~/.local/share/bash-completion/completions/ycred",
            about: "install the completion for bash (create the directory with `mkdir -p` first)",
        },
        Example { call: "ycred completions fish | source", about: "load the completion into a running fish" },
    ],
    needs_places: false,
    is_plain: true,
    ..Command::new("completions", "print a shell's completion script", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    let shells = ["bash", "zsh", "fish", "powershell", "elvish"];
    // Only the scripts pass `--list`, and nothing else with it. Then no shell is required.
    let list = Arg::new("list").long("list").hide(true).value_parser(LISTS.map(|list| list.name)).exclusive(true);
    command
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .help("shell to generate the script for")
                .value_parser(shells),
        )
        .arg(list)
}

/// Names that a script asks for while the user types.
struct List {
    name: &'static str,
    /// The placeholder of the arguments that it completes.
    value_name: &'static str,
    /// A value that no user types. It marks the place in the generated script.
    marker: &'static str,
    read: fn(&Session<'_>) -> BTreeSet<String>,
}

const LISTS: [List; 4] = [
    List { name: "profiles", value_name: "PROFILE", marker: "__ycred_profiles", read: profiles },
    List { name: "hosts", value_name: "HOST", marker: "__ycred_hosts", read: hosts },
    List { name: "clients", value_name: "CLIENT", marker: "__ycred_clients", read: clients },
    List { name: "checks", value_name: "CHECK", marker: "__ycred_checks", read: checks },
];

fn profiles(session: &Session<'_>) -> BTreeSet<String> {
    find::names(session.places)
}

/// Returns the hosts that may get a token of some profile, without patterns.
fn hosts(session: &Session<'_>) -> BTreeSet<String> {
    let load = |name: String| {
        let named = ProfileRef::Name { by: COMMAND.name, name };
        Profile::load(&named, session.environment, session.places, session.clock.now()).ok()
    };
    let profiles = find::names(session.places).into_iter().filter_map(load);
    let built_in = Allowed::new(DEFAULT_ENDPOINT, &[]);
    let built_in: Vec<String> = built_in.singles().collect();
    profiles.flat_map(|profile| profile.hosts.singles().collect::<Vec<_>>()).chain(built_in).collect()
}

/// Returns the programs that `setup` can configure.
fn clients(_: &Session<'_>) -> BTreeSet<String> {
    CLIENTS.iter().map(|client| client.name.to_owned()).collect()
}

/// Returns the checks of `doctor`.
fn checks(_: &Session<'_>) -> BTreeSet<String> {
    doctor::checks().iter().map(|check| check.id.to_owned()).collect()
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    if let Some(list) = call.value("list").and_then(|name| LISTS.iter().find(|list| list.name == name)) {
        let names = (list.read)(session);
        return Ok(Outcome::reply(Reply::text(names.iter().map(|name| format!("{name}\n")).collect::<String>())));
    }
    let shell: Shell =
        call.value("shell").and_then(|name| name.parse().ok()).ok_or_else(|| Error::usage("missing shell"))?;
    Ok(Outcome::reply(Reply::text(script(shell, (call.tree)())?)))
}

/// Returns the completion script for a shell.
///
/// # Errors
/// Internal (5): the script is not text.
pub fn script(shell: Shell, tree: clap::Command) -> Result<String> {
    let mut script = Vec::new();
    let mut tree = with_markers(tree);
    clap_complete::generate(shell, &mut tree, "ycred", &mut script);
    let script = String::from_utf8(script).map_err(|_| Error::internal("the script is not UTF-8"))?;
    let script = if shell == Shell::Fish { with_operands(script, &tree) } else { script };
    Ok(ask_ycred(shell, script, &tree))
}

/// For each argument whose values come from a list, makes that list's marker the only possible value.
fn with_markers(tree: clap::Command) -> clap::Command {
    let mark = |arg: Arg| match list_of(&arg) {
        Some(list) => arg.value_parser([list.marker]),
        None => arg,
    };
    // `init` creates a profile and lists its hosts, so none of those names exists.
    let is_new = |command: &clap::Command| command.get_name() == "init";
    tree.mut_args(mark).mut_subcommands(|command| if is_new(&command) { command } else { command.mut_args(mark) })
}

fn list_of(arg: &Arg) -> Option<&'static List> {
    let name = arg.get_value_names()?.first()?;
    LISTS.iter().find(|list| list.value_name == name.as_str())
}

/// Adds the operands that have a list of values to the script for fish, because clap_complete adds none.
fn with_operands(script: String, tree: &clap::Command) -> String {
    tree.get_subcommands().fold(script, |script, command| {
        let values = command.get_positionals().filter(|arg| list_of(arg).is_none()).flat_map(Arg::get_possible_values);
        let values: Vec<String> = values.map(|value| value.get_name().to_owned()).collect();
        let condition = format!("__fish_ycred_using_subcommand {}", command.get_name());
        match values.is_empty() {
            true => script,
            false => format!("{script}complete -c ycred -n \"{condition}\" -f -a \"{}\"\n", values.join(" ")),
        }
    })
}

/// Replaces the markers by calls of ycred, so that the script itself stays the same when the profiles change.
fn ask_ycred(shell: Shell, mut script: String, tree: &clap::Command) -> String {
    for List { name, marker, .. } in &LISTS {
        let call = format!("ycred completions --list {name} 2>/dev/null");
        script = match shell {
            Shell::Bash => script
                // In place of an operand, only the names and not the flags.
                .replace(
                    &format!(" {marker}\""),
                    &format!("\"\n            [[ ${{cur}} == -* ]] || opts=\"$({call})\""),
                )
                .replace(marker, &format!("$({call})")),
            Shell::Zsh => {
                let function = format!("{marker}() {{\n    compadd -- ${{(f)\"$({call})\"}}\n}}\n");
                let script = script.replace(&format!("({marker})"), marker);
                script.replacen("autoload -U is-at-least\n", &format!("autoload -U is-at-least\n\n{function}"), 1)
            }
            Shell::Fish => {
                let script = script.replace(&format!("\"{marker}\\t''\""), &format!("\"({call})\""));
                // clap_complete completes no operands for fish.
                let has_operand = |command: &&clap::Command| {
                    command.get_name() != "init"
                        && command.get_positionals().any(|arg| list_of(arg).is_some_and(|list| list.name == *name))
                };
                // clap_complete's script offers such a flag only under a condition, which is false while the flag's value is missing.
                let has_list = |arg: &&Arg| list_of(arg).is_some_and(|list| list.name == *name);
                let flags =
                    tree.get_arguments().filter(has_list).filter_map(|arg| Some((arg.get_short()?, arg.get_long()?)));
                let script = flags.fold(script, |script, (short, long)| {
                    format!("{script}complete -c ycred -s {short} -l {long} -r -f -a \"({call})\"\n")
                });
                tree.get_subcommands().filter(has_operand).fold(script, |script, command| {
                    let condition = format!("__fish_ycred_using_subcommand {}", command.get_name());
                    format!("{script}complete -c ycred -n \"{condition}\" -f -a \"({call})\"\n")
                })
            }
            // The scripts of the other shells complete no values.
            _ => script,
        };
    }
    script
}
