//! The command line of a hook, parsed with lexopt.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use lexopt::Arg;

use crate::base::error::{Error, Result};
use crate::base::suggest::nearest;
use crate::cli::command::help;
use crate::cli::invocation::{Invocation, SEE_HELP, see_help, version};
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
            Some(suffix) if !suffix.is_empty() => Some((*hook, Some(suffix.to_owned()))),
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
    let only_own_flags = named.is_some_and(|hook| hook.replaces_program);
    let mut parser = HookParser { hook: named, only_own_flags, ..HookParser::default() };
    let parsed = parser.parse(arguments);
    let HookParser { hook, operands, options, consumed, .. } = parser;
    let hook = hook?;
    let fault = match parsed {
        Ok(Parsed::Call) => None,
        Ok(Parsed::Help) => return Some(Invocation::Print(help(hook.name))),
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
        unparsed: arguments[if named.is_some() { 0 } else { consumed }..].to_vec(),
    })))
}

/// Parses a hook's arguments, and holds what it has parsed so far.
#[derive(Default)]
struct HookParser {
    hook: Option<&'static Hook>,
    operands: Vec<String>,
    options: Options,
    /// ycred was called under another program's name, so all flags are that program's: accept the hook's own, which
    /// imitate them, but no global ones.
    only_own_flags: bool,
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
                Arg::Short(short) => self.find_flag(|flag| flag.short == Some(short)),
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
            // In some protocols a flag is an operation: docker's `--version`.
            if let Some(operation) = self.hook.and_then(|hook| hook.operation_of_flag(flag)) {
                self.operands.push(operation.to_owned());
                continue;
            }
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

    fn flags(&self) -> impl Iterator<Item = &'static Flag> {
        let global = if self.only_own_flags { &[] } else { FLAGS };
        self.hook.map_or(&[][..], |hook| hook.flags).iter().chain(global)
    }

    fn find_flag(&self, matches: impl Fn(&Flag) -> bool) -> Option<&'static Flag> {
        self.flags().find(|flag| matches(flag))
    }

    fn unknown_flag(&self, argument: &Arg<'_>) -> Error {
        let typed = match argument {
            Arg::Short(short) => format!("-{short}"),
            Arg::Long(long) => format!("--{long}"),
            Arg::Value(_) => String::new(),
        };
        let near = nearest(typed.trim_start_matches('-'), self.flags().map(|flag| flag.long));
        // Do not suggest `--help` if it is an operation of the protocol: it would not list ycred's flags.
        let command = self.hook.filter(|hook| hook.operation_flags.is_empty()).map(|hook| hook.name);
        let hint = near.map_or_else(|| see_help(command), |known| format!("did you mean --{known}?"));
        Error::usage(format!("unknown flag {typed}")).hint(hint)
    }
}

fn usage(error: &lexopt::Error) -> Error {
    Error::usage(error.to_string()).hint(SEE_HELP)
}
