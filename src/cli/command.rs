//! The command line that people type, parsed with clap.

use std::ffi::OsString;
use std::path::Path;

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::base::error::{Error, Result};
use crate::base::shell;
use crate::base::suggest::nearest;
use crate::cli::help::{self, Detail, help, tree_with_help};
use crate::cli::hook::parse_options;
use crate::cli::invocation::{Fault, Invocation, SEE_HELP, see_help, version};
use crate::cli::tree::tree;
use crate::commands::COMMANDS;
use crate::commands::command::{CommandCall, is_json};
use crate::hooks::protocol::HookCall;
use crate::hooks::{self, host_clients, links};
use crate::process::flags::{FLAGS, Flag, Options};
use crate::profile::find::check_name;

/// Returns the flag that was given the name of a command or hook in place of its value, and the name.
fn swallowed_command(arguments: &[OsString]) -> Option<(String, String)> {
    let is_name = |word: &str| hooks::named(word).is_some() || COMMANDS.iter().any(|command| command.name == word);
    arguments.windows(2).find_map(|pair| {
        let (flag, word) = (pair[0].to_str()?, pair[1].to_str()?);
        let takes_value = FLAGS.iter().filter(|it| it.value.is_some()).any(|it| {
            flag.strip_prefix("--") == Some(it.long) || it.short.is_some_and(|short| flag == format!("-{short}"))
        });
        (takes_value && is_name(word)).then(|| (flag.to_owned(), word.to_owned()))
    })
}

/// Reports that a flag was given the name of a command or hook in place of its value. What follows a hook's name is for the
/// hook: its client expects the error in the format of the protocol.
fn swallowed(arguments: &[OsString], flag: &str, name: &str) -> Result<Invocation, Fault> {
    let error = Error::usage(format!("no command given: \"{name}\" is the value of {flag}"))
        .hint(format!("write the value of {flag} in front of the command: ycred {flag} VALUE {name}"));
    let rest = arguments.iter().skip_while(|argument| *argument != flag).skip(2);
    let operands: Vec<String> = rest.filter_map(|argument| argument.to_str().map(str::to_owned)).collect();
    match hooks::named(name).filter(|_| !operands.is_empty()) {
        Some(hook) => Ok(Invocation::Hook(Box::new(HookCall {
            hook,
            operands,
            options: Options::default(),
            suffix: None,
            is_by_symlink: false,
            usage_error: Some(error),
            parse: parse_options,
            arguments_to_pass_on: Vec::new(),
        }))),
        None => Err(error.into()),
    }
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
            let name = topic.first().map(|name| name.to_string_lossy()).unwrap_or_default();
            return match name.is_empty() || help::subjects().any(|subject| subject == name) {
                true => Ok(Invocation::Print(help(&name, Detail::Long))),
                false => Err(unknown_subject(&name).into()),
            };
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
            let is_set = |flag: &str, matches: &ArgMatches| matches.try_get_one(flag).ok().flatten() == Some(&true);
            let is_help = |matches: &ArgMatches| is_set("help", matches);
            return match named {
                Some((_, of_command))
                    if error.kind() == ErrorKind::MissingRequiredArgument
                        && !(is_help(&partial) || is_help(of_command))
                        && (is_set("version", &partial) || is_set("version", of_command)) =>
                {
                    Ok(Invocation::Print(version()))
                }
                Some((name, of_command))
                    if error.kind() == ErrorKind::MissingRequiredArgument
                        && (is_help(&partial) || is_help(of_command)) =>
                {
                    Ok(Invocation::Print(help(name, Detail::of(arguments))))
                }
                None if let Some((flag, name)) = swallowed_command(arguments) => swallowed(arguments, &flag, &name),
                _ => {
                    let name = named.map(|(name, _)| name);
                    let command = COMMANDS.iter().find(|command| Some(command.name) == name);
                    let error = from_clap(&error, name);
                    let code = command.map_or(error.kind.exit_code(), |command| command.exit_code(&error));
                    let is_json = arguments.iter().any(|argument| argument == "--json");
                    let document = command.and_then(|command| command.document(is_json));
                    Err(Fault { error, code, document })
                }
            };
        }
    };
    if matches.get_flag("version") {
        return Ok(Invocation::Print(version()));
    }
    let Some((name, of_command)) = matches.subcommand() else {
        if matches.get_flag("help") {
            return Ok(Invocation::Print(help("", Detail::of(arguments))));
        }
        if let Some((flag, name)) = swallowed_command(arguments) {
            return swallowed(arguments, &flag, &name);
        }
        return Err(Error::usage("no command given")
            .hint("`ycred --help` lists the commands; `ycred init --key-file FILE` creates a profile")
            .into());
    };
    if matches.get_flag("help") || of_command.get_flag("help") {
        return Ok(Invocation::Print(help(name, Detail::of(arguments))));
    }
    if of_command.get_flag("version") {
        return Ok(Invocation::Print(version()));
    }
    let command = COMMANDS.iter().find(|command| command.name == name);
    // clap finds a hook that lexopt did not find only if the two parsers disagree.
    let command =
        command.ok_or_else(|| Error::usage(format!("cannot parse the arguments of `{name}`")).hint(SEE_HELP))?;
    let options = options_of(&matches, of_command, &[]).map_err(|error| Fault {
        code: command.exit_code(&error),
        document: command.document(is_json(of_command)),
        error,
    })?;
    Ok(Invocation::Command(Box::new(CommandCall {
        command,
        options,
        matches: of_command.clone(),
        tree: tree_with_help,
        links,
        host_clients,
    })))
}

/// Returns the error of `ycred help TOPIC` for a name that is neither a command nor a topic.
fn unknown_subject(name: &str) -> Error {
    let subjects: Vec<String> = help::subjects().collect();
    let hint = match nearest(name, subjects.iter().map(String::as_str)) {
        Some(known) => format!("did you mean {known}?"),
        None => "`ycred help` lists the commands and the topics".to_owned(),
    };
    Error::usage(format!("no command or topic \"{name}\"")).hint(hint)
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

/// Returns the values of an argument that clap shows as this, such as `<SHELL>`, if it has a list of them.
fn choices_of(command: &str, shown: &str) -> Vec<String> {
    let tree = tree();
    let arguments = tree.find_subcommand(command).into_iter().flat_map(clap::Command::get_arguments);
    let is_shown = |arg: &&clap::Arg| {
        arg.get_value_names().and_then(|names| names.first()).is_some_and(|name| shown == format!("<{name}>"))
    };
    let values = arguments.filter(is_shown).flat_map(clap::Arg::get_possible_values);
    values.map(|value| value.get_name().to_owned()).collect()
}

/// Returns true if the only argument of a command is the name of a profile.
fn takes_one_profile(command: &str) -> bool {
    let tree = tree();
    let mut arguments = tree.find_subcommand(command).into_iter().flat_map(clap::Command::get_positionals);
    let is_profile = |arg: &clap::Arg| arg.get_value_names().is_some_and(|names| names == ["PROFILE"]);
    arguments.next().is_some_and(is_profile) && arguments.next().is_none()
}

/// Turns clap's error into one line and one hint. `command` is the command's name, if clap found it.
fn from_clap(error: &clap::Error, command: Option<&str>) -> Error {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    };
    if error.kind() == ErrorKind::MissingRequiredArgument {
        let missing = context(ContextKind::InvalidArg).join(", ");
        let choices = command.map(|command| choices_of(command, &missing)).unwrap_or_default();
        return Error::usage(format!("missing {missing}")).hint(match choices.is_empty() {
            true => see_help(command),
            false => format!("use one of {}", choices.join(", ")),
        });
    }
    let choices = context(ContextKind::ValidValue);
    // An unexpected argument that could be a profile's name.
    let could_be_profile = |name: &String| error.kind() == ErrorKind::UnknownArgument && check_name(name).is_ok();
    let profile = context(ContextKind::InvalidArg).pop().filter(could_be_profile);
    let rendered = error.render().to_string();
    // The first line. An argument with line breaks stays whole, because a part of a secret is not always recognized as one.
    let after_arguments = [ContextKind::InvalidSubcommand, ContextKind::InvalidArg, ContextKind::InvalidValue]
        .into_iter()
        .flat_map(context)
        .filter_map(|argument| rendered.find(&argument).map(|at| at + argument.len()))
        .max()
        .unwrap_or_default();
    let end = rendered[after_arguments..].find('\n').map_or(rendered.len(), |end| after_arguments + end);
    let message = rendered[..end].trim_start_matches("error: ").trim().to_owned();
    // clap suggests names that are not near at all.
    let typed = [ContextKind::InvalidSubcommand, ContextKind::InvalidArg, ContextKind::InvalidValue]
        .into_iter()
        .find_map(|kind| context(kind).pop())
        .unwrap_or_default();
    let suggestion = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .flat_map(context)
        .find(|known| nearest(typed.trim_start_matches('-'), [known.trim_start_matches('-')].into_iter()).is_some());
    let hint = match suggestion {
        _ if !choices.is_empty() => format!("use one of {}", choices.join(", ")),
        Some(known) => format!("did you mean {known}?"),
        None => match (command.filter(|name| takes_no_arguments(name)), profile) {
            // It shows all profiles.
            (Some("list"), Some(profile)) => format!("to see one profile: ycred status {}", shell::word(profile)),
            (Some(name), Some(profile)) => {
                format!("to select a profile: ycred {name} --profile {}", shell::word(profile))
            }
            _ if command == Some("init") && Path::new(&typed).is_file() => {
                format!("to use it as a key: ycred init NAME --key-file {}", shell::word(&typed))
            }
            _ if error.kind() == ErrorKind::UnknownArgument
                && !typed.starts_with('-')
                && command.is_some_and(takes_one_profile) =>
            {
                "it takes one profile: run it once for each".to_owned()
            }
            _ => see_help(command),
        },
    };
    Error::usage(message.replace('\'', "\"")).hint(hint)
}
