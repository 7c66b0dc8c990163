//! The command line of a hook, parsed with lexopt.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use lexopt::Arg;

use crate::base::error::{Error, Result};
use crate::base::suggest::nearest;
use crate::cli::help::{Detail, help};
use crate::cli::invocation::{Invocation, SEE_HELP, see_help, version};
use crate::commands::COMMANDS;
use crate::hooks::protocol::{Hook, HookCall};
use crate::hooks::{self, HOOKS};
use crate::process::flags::{FLAGS, Flag, Options};

/// Returns the hook that `argv[0]` names, and the profile in its suffix, as in `docker-credential-ycred-prod`. Ignores
/// the directory, case, a final `.exe`, and the version in Terraform's plugin names (`_v1.2.3`).
pub fn by_name(argv0: &OsStr) -> Option<(&'static Hook, Option<String>)> {
    let name = Path::new(argv0).file_name()?.to_str()?.to_ascii_lowercase();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    let name = match name.split_once("_v") {
        Some((name, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => name,
        _ => name,
    };
    HOOKS.iter().find_map(|hook| {
        let rest = name.strip_prefix(hook.symlink?)?;
        match rest.strip_prefix('-') {
            // An empty suffix is passed on too: the hook then reports that it is not the name of a profile.
            Some(suffix) => Some((*hook, Some(suffix.to_owned()))),
            None if rest.is_empty() => Some((*hook, None)),
            _ => None,
        }
    })
}

/// Returns the hook that this flag selects.
fn flag_alias(long: &str) -> Option<&'static Hook> {
    HOOKS.iter().find(|hook| hook.flag_alias == Some(long)).copied()
}

/// Parses a hook's flags and operands that arrived in a request, not in argv.
///
/// # Errors
/// Usage (2): an invalid flag or value.
pub fn parse_options(hook: &'static Hook, arguments: &[OsString]) -> Result<(Options, Vec<String>)> {
    let mut parser = HookParser { hook: Some(hook), ..HookParser::default() };
    match parser.parse(arguments)? {
        Parsed::Call => Ok((parser.options, parser.operands)),
        Parsed::Help | Parsed::Version | Parsed::NotAHook => {
            Err(Error::usage("--help and --version are not allowed here"))
        }
    }
}

/// Parses the call of a hook. `named` and `suffix` are the results of [`by_name`].
///
/// Returns `None` if the command line calls no hook. The parser of commands then parses it and reports its errors.
pub fn parse_hook(named: Option<&'static Hook>, suffix: Option<String>, arguments: &[OsString]) -> Option<Invocation> {
    let is_other_program = named.is_some_and(|hook| hook.replaces_program);
    let mut parser = HookParser { hook: named, is_other_program, is_by_link: named.is_some(), ..HookParser::default() };
    let mut parsed = parser.parse(arguments);
    if parsed.is_err() {
        // The hook reports the error in the format of its protocol, for which it needs its operands.
        parser.parse_leniently(named, arguments);
        if parser.hook.is_none() {
            parsed = Ok(Parsed::NotAHook);
        }
    }
    let HookParser { hook, operands, options, consumed, .. } = parser;
    let hook = hook?;
    // Unchanged, unless the other program does not know a flag in them.
    let is_unchanged = named.is_some() && (!options.has_global() || operands.is_empty());
    let fault = match parsed {
        Ok(Parsed::Call) => None,
        Ok(Parsed::Help) => return Some(Invocation::Print(help(hook.name, Detail::of(arguments)))),
        Ok(Parsed::Version) => return Some(Invocation::Print(version())),
        Ok(Parsed::NotAHook) => return None,
        Err(error) => Some(error),
    };
    Some(Invocation::Hook(Box::new(HookCall {
        hook,
        operands,
        options,
        suffix,
        is_by_symlink: named.is_some(),
        usage_error: fault,
        parse: parse_options,
        arguments_to_pass_on: arguments[if is_unchanged { 0 } else { consumed }..].to_vec(),
    })))
}

/// keyring's flag `-p`, a path.
const FOREIGN_SHORT: char = 'p';

/// Parses a hook's arguments, and holds what it has parsed so far.
#[derive(Default)]
struct HookParser {
    hook: Option<&'static Hook>,
    operands: Vec<String>,
    options: Options,
    /// ycred was called under another program's name, so a flag that this program has too is the program's: the hook's own,
    /// which imitate them, `--help`, and [`FOREIGN_SHORT`].
    is_other_program: bool,
    /// ycred was called by the link's name.
    is_by_link: bool,
    /// The number of arguments parsed without an error.
    consumed: usize,
}

/// The result of parsing a hook's arguments.
enum Parsed {
    Call,
    Help,
    Version,
    /// No argument names a hook.
    NotAHook,
}

impl HookParser {
    fn parse(&mut self, arguments: &[OsString]) -> Result<Parsed> {
        let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
        // An argument after `--` never names a hook.
        let mut is_after_separator = false;
        loop {
            if let Some(rest) = parser.try_raw_args() {
                self.consumed = arguments.len() - rest.as_slice().len();
                is_after_separator |= rest.peek().is_some_and(|argument| argument == "--");
            }
            let Some(argument) = parser.next().map_err(|error| usage(&error))? else { break };
            // In some protocols a flag is an operation: docker's `--version`.
            let operation = match &argument {
                Arg::Short(short) => self.operation_of_flag(short.encode_utf8(&mut [0; 4])),
                Arg::Long(long) => self.operation_of_flag(long),
                Arg::Value(_) => None,
            };
            if let Some(operation) = operation {
                self.operands.push(operation.to_owned());
                continue;
            }
            let flag = match argument {
                Arg::Value(value) if self.hook.is_some() => {
                    let operand = value.into_string().map_err(|_| Error::usage("an argument is not valid UTF-8"))?;
                    self.operands.push(operand);
                    continue;
                }
                Arg::Value(value) => {
                    self.hook = value.to_str().filter(|_| !is_after_separator).and_then(hooks::named);
                    if self.hook.is_none() {
                        return Ok(Parsed::NotAHook);
                    }
                    continue;
                }
                Arg::Short(short) => self.find_short(short),
                Arg::Long(long) => {
                    if let Some(selected) =
                        flag_alias(long).filter(|_| self.hook.is_none_or(|known| known.flag_alias == Some(long)))
                    {
                        self.hook = Some(selected);
                        continue;
                    }
                    self.find_flag(|flag| flag.long == long)
                }
            };
            let flag = flag.ok_or_else(|| self.unknown_flag(&argument))?;
            match (flag.long, self.hook) {
                // No hook so far: the other parser prints the help of ycred itself.
                ("help" | "version", None) => return Ok(Parsed::NotAHook),
                ("help", _) => return Ok(Parsed::Help),
                ("version", _) => return Ok(Parsed::Version),
                _ => {}
            }
            let value = match flag.value {
                None => OsString::new(),
                Some(_) => parser.value().map_err(|error| usage(&error))?,
            };
            self.options.set(flag, value)?;
        }
        Ok(Parsed::Call)
    }

    /// Finds the hook and its operands in a command line with an error. `named` is the hook that `argv[0]` names.
    ///
    /// A string after a flag that ycred does not know is its value, unless it names a hook or a command.
    fn parse_leniently(&mut self, named: Option<&'static Hook>, arguments: &[OsString]) {
        let (known, parsed) = (self.hook, std::mem::take(&mut self.operands));
        self.hook = named;
        let mut rest = arguments.iter().peekable();
        let mut are_operands = false;
        while let Some(argument) = rest.next() {
            let text = argument.to_str().unwrap_or_default();
            let long = text.strip_prefix("--").filter(|_| !are_operands);
            let short = text.strip_prefix('-').filter(|_| !are_operands && long.is_none());
            if long == Some("") {
                are_operands = true;
            } else if let Some(hook) = long.and_then(flag_alias).filter(|_| self.hook.is_none()) {
                self.hook = Some(hook);
            } else if let Some((flag, attached)) = self.known_flag(long, short) {
                let value = flag.value.and_then(|_| attached.map(OsString::from).or_else(|| rest.next().cloned()));
                // The profile decides which hosts are ycred's, so a `--profile` after the wrong argument counts too.
                if let Some(value) = value.filter(|_| flag.long == "profile") {
                    self.options.profile = Some(value);
                }
            } else if long.is_some() || short.is_some_and(|short| !short.is_empty()) {
                let is_value = |next: &str| hooks::named(next).is_none() && COMMANDS.iter().all(|it| it.name != next);
                let is_value = |next: &&OsString| {
                    self.hook.is_none() && next.to_str().is_none_or(|next| !next.starts_with('-') && is_value(next))
                };
                rest.next_if(|next| !text.contains('=') && is_value(next));
            } else if self.hook.is_some() {
                // One that is not UTF-8 may be the error.
                self.operands.extend(argument.to_str().map(str::to_owned));
            } else {
                self.hook = hooks::named(text).filter(|_| !are_operands);
                if self.hook.is_none() {
                    return;
                }
                if known.is_none() {
                    self.consumed = arguments.len() - rest.len();
                }
            }
        }
        if self.hook.is_some_and(|hook| hook.replaces_program) {
            // The rest is for the other program, and ycred cannot tell its operands from the values of its flags.
            self.operands = parsed;
        }
    }

    /// Finds the flag of an argument, without its dashes, and the value in the same argument: `profile=x` or `px`. A group
    /// of flags, such as `vp`, is its last one.
    fn known_flag<'a>(
        &self,
        long: Option<&'a str>,
        short: Option<&'a str>,
    ) -> Option<(&'static Flag, Option<&'a str>)> {
        if let Some(long) = long {
            let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            return Some((self.find_flag(|flag| flag.long == name)?, value));
        }
        let mut rest = short?.chars();
        loop {
            let letter = rest.next()?;
            let flag = self.find_short(letter)?;
            let attached = Some(rest.as_str()).filter(|attached| !attached.is_empty());
            if flag.value.is_some() || attached.is_none() {
                return Some((flag, attached.map(|value| value.strip_prefix('=').unwrap_or(value))));
            }
        }
    }

    fn flags(&self) -> impl Iterator<Item = &'static Flag> {
        let is_free = |flag: &&Flag| !(self.is_other_program && flag.long == "help");
        self.hook.map_or(&[][..], |hook| hook.flags).iter().chain(FLAGS.iter().filter(is_free))
    }

    fn operation_of_flag(&self, flag: &str) -> Option<&'static str> {
        self.hook.filter(|_| self.is_by_link)?.operation_of_flag(flag)
    }

    fn find_flag(&self, matches: impl Fn(&Flag) -> bool) -> Option<&'static Flag> {
        self.flags().find(|flag| matches(flag))
    }

    fn find_short(&self, letter: char) -> Option<&'static Flag> {
        let is_foreign = self.is_other_program && letter == FOREIGN_SHORT;
        self.find_flag(|flag| flag.short == Some(letter)).filter(|_| !is_foreign)
    }

    fn unknown_flag(&self, argument: &Arg<'_>) -> Error {
        let typed = match argument {
            Arg::Short(short) => format!("-{short}"),
            Arg::Long(long) => format!("--{long}"),
            Arg::Value(_) => String::new(),
        };
        let name = typed.trim_start_matches('-');
        // `--json` where it is `--format json`.
        let of_choice =
            self.flags().find(|flag| flag.choices.contains(&name)).map(|flag| format!("{} {name}", flag.long));
        let near = nearest(name, self.flags().map(|flag| flag.long));
        // Do not suggest `--help` if it is an operation of the protocol: it would not list ycred's flags.
        let command =
            self.hook.filter(|hook| !self.is_by_link || hook.operation_flags.is_empty()).map(|hook| hook.name);
        let hint = of_choice
            .or_else(|| near.map(str::to_owned))
            .map_or_else(|| see_help(command), |known| format!("did you mean --{known}?"));
        Error::usage(format!("unknown flag {typed}")).hint(hint)
    }
}

fn usage(error: &lexopt::Error) -> Error {
    Error::usage(error.to_string()).hint(SEE_HELP)
}
