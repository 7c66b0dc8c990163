//! The clap tree of the whole command line. Parsing, help, completions and man pages use it.

use std::ffi::{OsStr, OsString};

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, ArgAction, ValueHint};

use crate::commands::COMMANDS;
use crate::hooks::HOOKS;
use crate::process::flags::{FLAGS, Flag};

/// Returns the clap tree of the whole command line, hooks included.
pub fn tree() -> clap::Command {
    let hooks = HOOKS.iter().map(|hook| {
        let operands = hook.operands.iter().enumerate().map(|(at, name)| {
            Arg::new(format!("operand-{at}")).value_name(*name).value_parser(clap::value_parser!(OsString))
        });
        clap::Command::new(hook.name)
            .about(hook.about)
            .args(operands)
            .args(hook.flags.iter().chain(FLAGS).map(argument))
            .disable_help_flag(true)
            .disable_version_flag(true)
            .args_override_self(true)
    });
    let people = COMMANDS.iter().map(|command| {
        let named = clap::Command::new(command.name)
            .about(command.about)
            .disable_help_flag(true)
            .disable_version_flag(true)
            .args_override_self(true);
        (command.arguments)(named).args(FLAGS.iter().map(argument))
    });
    clap::Command::new("ycred")
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .args(FLAGS.iter().map(argument))
        .subcommands(people)
        .subcommands(hooks)
        .subcommand_value_name("COMMAND")
}

/// Returns the clap argument for a flag. `--help` and `--version` are plain switches: clap's own actions would print
/// and exit, unlike the parser of hooks.
pub fn argument(flag: &'static Flag) -> Arg {
    let arg = Arg::new(flag.long).long(flag.long).help(flag.about);
    let arg = match flag.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    match (flag.long, flag.value) {
        ("verbose", _) => arg.action(ArgAction::Count),
        (_, Some(name)) => {
            let help = if flag.choices.is_empty() {
                flag.about.to_owned()
            } else {
                format!("{}: {}", flag.about, flag.choices.join(", "))
            };
            // `Options::set` checks the value, as it does for hooks. A value may start with a dash, as with lexopt.
            let arg = arg.value_name(name).help(help).action(ArgAction::Append).allow_hyphen_values(true);
            match (flag.choices, name) {
                ([], "DURATION") => arg.value_parser(clap::value_parser!(OsString)).value_hint(ValueHint::Other),
                ([], _) => arg.value_parser(clap::value_parser!(OsString)),
                // The help of the flag lists the values.
                (choices, _) => arg.value_parser(AnyOrChoice(choices)).hide_possible_values(true),
            }
        }
        (_, None) => arg.action(ArgAction::SetTrue),
    }
}

/// Accepts any value, and names those that the completion scripts offer.
#[derive(Clone)]
struct AnyOrChoice(&'static [&'static str]);

impl TypedValueParser for AnyOrChoice {
    type Value = OsString;

    fn parse_ref(&self, _: &clap::Command, _: Option<&Arg>, value: &OsStr) -> Result<OsString, clap::Error> {
        Ok(value.to_owned())
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().copied().map(PossibleValue::new)))
    }
}
