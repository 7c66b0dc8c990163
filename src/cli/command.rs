//! The command line that people type, parsed with clap. Help, completions and man pages use the same clap tree.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};

use crate::base::error::{Error, Result};
use crate::cli::invocation::{Fault, Invocation, SEE_HELP, see_help, version};
use crate::commands::COMMANDS;
use crate::commands::command::CommandCall;
use crate::hooks::{HOOKS, links};
use crate::process::flags::{FLAGS, Flag, Options};
use crate::profile::find::check_name;

/// Returns the clap tree of the whole command line, hooks included.
pub fn tree() -> clap::Command {
    let hooks = HOOKS.iter().map(|hook| {
        let operands = hook.operands.iter().enumerate().map(|(at, name)| {
            Arg::new(format!("operand-{at}")).value_name(*name).value_parser(clap::value_parser!(OsString))
        });
        let operation_flags = |flag: &&Flag| hook.operation_of_flag(flag).is_none();
        clap::Command::new(hook.name)
            .about(hook.about)
            .args(operands)
            .args(hook.flags.iter().chain(FLAGS.iter().filter(operation_flags)).map(argument))
            .disable_help_flag(true)
            .disable_version_flag(true)
            .args_override_self(true)
    });
    let people = COMMANDS.iter().map(|command| {
        let named = clap::Command::new(command.name)
            .about(command.about)
            .disable_help_flag(true)
            .disable_version_flag(true)
            .hide(command.is_hidden)
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
        .after_help(
            "Profiles are TOML files in the configuration directory; `ycred init --help` shows how to create one.",
        )
}

/// Returns the clap argument for a flag. `--help` and `--version` are plain switches: clap's own actions would print
/// and exit, unlike the parser of hooks.
fn argument(flag: &'static Flag) -> Arg {
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
            arg.value_name(name)
                .help(help)
                .action(ArgAction::Append)
                .value_parser(clap::value_parser!(OsString))
                .allow_hyphen_values(true)
        }
        (_, None) => arg.action(ArgAction::SetTrue),
    }
}

/// Returns the help of a command, or of ycred itself if no command has this name.
pub fn help(name: &str) -> String {
    let mut tree = tree();
    tree.build();
    let command = match tree.find_subcommand_mut(name) {
        Some(command) => command,
        None => &mut tree,
    };
    command.render_help().to_string()
}

/// Parses the command line that people type.
///
/// # Errors
/// Usage (2), or the command's own exit code.
pub fn parse_command(arguments: &[OsString]) -> Result<Invocation, Fault> {
    // Accept `ycred version` and `ycred help COMMAND`, as many programs do.
    match arguments {
        [name] if name == "version" => return Ok(Invocation::Print(version())),
        [name, topic @ ..] if name == "help" => {
            let name = topic.first().and_then(|name| name.to_str()).unwrap_or_default();
            return Ok(Invocation::Print(help(name)));
        }
        _ => {}
    }
    let argv = || std::iter::once(OsString::from("ycred")).chain(arguments.iter().cloned());
    let matches = match tree().try_get_matches_from(argv()) {
        Ok(matches) => matches,
        Err(error) => {
            // Parse again without errors, to find the command and to allow `--help` where an argument is missing.
            let partial = tree().ignore_errors(true).try_get_matches_from(argv()).unwrap_or_default();
            let named = partial.subcommand();
            let is_help = |matches: &ArgMatches| matches.try_get_one("help").ok().flatten() == Some(&true);
            return match named {
                Some((name, of_command))
                    if error.kind() == ErrorKind::MissingRequiredArgument
                        && (is_help(&partial) || is_help(of_command)) =>
                {
                    Ok(Invocation::Print(help(name)))
                }
                _ => {
                    let name = named.map(|(name, _)| name);
                    let command = COMMANDS.iter().find(|command| Some(command.name) == name);
                    let error = from_clap(&error, name);
                    let code = command.map_or(error.kind.exit_code(), |command| command.exit_code(&error));
                    Err(Fault { error, code })
                }
            };
        }
    };
    if matches.get_flag("version") {
        return Ok(Invocation::Print(version()));
    }
    let Some((name, of_command)) = matches.subcommand() else {
        if matches.get_flag("help") {
            return Ok(Invocation::Print(help("")));
        }
        return Err(Error::usage("no command given")
            .hint("`ycred --help` lists the commands; `ycred init --key-file FILE` creates a profile")
            .into());
    };
    if matches.get_flag("help") || of_command.get_flag("help") {
        return Ok(Invocation::Print(help(name)));
    }
    if of_command.get_flag("version") {
        return Ok(Invocation::Print(version()));
    }
    let command = COMMANDS.iter().find(|command| command.name == name);
    // clap finds a hook that lexopt did not find only if the two parsers disagree.
    let command =
        command.ok_or_else(|| Error::usage(format!("cannot parse the arguments of `{name}`")).hint(SEE_HELP))?;
    let options =
        options_of(&matches, of_command, &[]).map_err(|error| Fault { code: command.exit_code(&error), error })?;
    Ok(Invocation::Command(Box::new(CommandCall { command, options, matches: of_command.clone(), tree, links })))
}

/// Collects the flags before and after the command's name; later ones win.
pub(super) fn options_of(before: &ArgMatches, after: &ArgMatches, own: &'static [Flag]) -> Result<Options> {
    let mut options = Options::default();
    for matches in [before, after] {
        for flag in FLAGS.iter().chain(own) {
            if matches!(flag.long, "help" | "version") || !matches.ids().any(|id| id == flag.long) {
                continue;
            }
            match flag.value {
                Some(_) => {
                    for value in matches.get_many::<OsString>(flag.long).into_iter().flatten() {
                        options.set(flag, value.clone())?;
                    }
                }
                None => {
                    let times = matches.try_get_one::<u8>(flag.long).ok().flatten().copied();
                    let times = times.unwrap_or_else(|| u8::from(matches.get_flag(flag.long)));
                    (0..times).try_for_each(|_| options.set(flag, OsString::new()))?;
                }
            }
        }
    }
    Ok(options)
}

fn takes_no_arguments(command: &str) -> bool {
    tree().find_subcommand(command).is_some_and(|command| command.get_positionals().next().is_none())
}

/// Turns clap's error into one line and one hint. `command` is the command's name, if clap found it.
fn from_clap(error: &clap::Error, command: Option<&str>) -> Error {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    };
    if error.kind() == ErrorKind::MissingRequiredArgument {
        return Error::usage(format!("missing {}", context(ContextKind::InvalidArg).join(", ")))
            .hint(see_help(command));
    }
    let choices = context(ContextKind::ValidValue);
    // An unexpected argument that could be a profile's name.
    let could_be_profile = |name: &String| error.kind() == ErrorKind::UnknownArgument && check_name(name).is_ok();
    let profile = context(ContextKind::InvalidArg).pop().filter(could_be_profile);
    let rendered = error.render().to_string();
    let message = rendered.lines().next().unwrap_or_default().trim_start_matches("error: ").trim().to_owned();
    // clap sorts its suggestions; the last one is the best.
    let suggestion = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| context(kind).pop());
    let hint = match suggestion {
        _ if !choices.is_empty() => format!("use one of {}", choices.join(", ")),
        Some(known) => format!("did you mean {known}?"),
        None => match (command.filter(|name| takes_no_arguments(name)), profile) {
            (Some(name), Some(profile)) => {
                format!("to select a profile: ycred {name} --profile {profile}")
            }
            _ => see_help(command),
        },
    };
    Error::usage(message.replace('\'', "\"")).hint(hint)
}
