//! The call of a hook, read by lexopt.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use lexopt::Arg as Word;

use crate::base::error::{Error, Result};
use crate::base::suggest::nearest;
use crate::cli::invocation::{Invocation, SEE_HELP, see_help, version};
use crate::cli::people::help;
use crate::hooks::protocol::{Hook, HookCall};
use crate::hooks::{self, HOOKS};
use crate::process::flags::{FLAGS, Flag, Options};

/// The hook that argv[0] names, and the profile in its suffix: `docker-credential-ycred-prod`, with or without a path,
/// an `.exe`, a `_v1.2.3` (Terraform's plugin names) and capitals.
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

/// The hook that a flag names.
fn flag_alias(long: &str) -> Option<&'static Hook> {
    HOOKS.iter().find(|hook| hook.flag_alias == Some(long)).copied()
}

/// Reads a hook's flags out of words that came with a request instead of by argv.
///
/// # Errors
/// Usage (2).
pub fn parse_options(hook: &'static Hook, words: &[OsString]) -> Result<(Options, Vec<String>)> {
    let mut read = Words { hook: Some(hook), ..Words::default() };
    match read.read(words)? {
        End::All => Ok((read.options, read.operands)),
        End::Help | End::Version | End::People => Err(Error::usage("--help and --version have no place here")),
    }
}

/// Reads a hook's call with lexopt. None: no word names a hook, so it is for people, faults and all.
pub fn parse_hook(named: Option<&'static Hook>, suffix: Option<String>, arguments: &[OsString]) -> Option<Invocation> {
    let mut words = Words { hook: named, foreign: named.is_some_and(|hook| hook.replaces_program), ..Words::default() };
    let read = words.read(arguments);
    let Words { hook, operands, options, read: until, .. } = words;
    let hook = hook?;
    let fault = match read {
        Ok(End::All) => None,
        Ok(End::Help) => return Some(Invocation::Print(help(hook.name))),
        Ok(End::Version) => return Some(Invocation::Print(version())),
        Ok(End::People) => return None,
        Err(error) => Some(error),
    };
    Some(Invocation::Hook(Box::new(HookCall {
        hook,
        operands,
        options,
        suffix,
        by_symlink: named.is_some(),
        fault,
        parse: parse_options,
        unread: arguments[if named.is_some() { 0 } else { until }..].to_vec(),
    })))
}

/// A hook's words as far as they have been read.
#[derive(Default)]
struct Words {
    hook: Option<&'static Hook>,
    operands: Vec<String>,
    options: Options,
    /// The flags are another program's, so that none of ours is among them but the hook's own.
    foreign: bool,
    /// How many have been read; where one is at fault, how many stand before it.
    read: usize,
}

/// Where the reading of a hook's words came to an end.
enum End {
    All,
    Help,
    Version,
    People,
}

impl Words {
    fn read(&mut self, arguments: &[OsString]) -> Result<End> {
        let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
        // Behind `--` a word is no command, whatever it says.
        let mut ended = false;
        loop {
            if let Some(rest) = parser.try_raw_args() {
                self.read = arguments.len() - rest.as_slice().len();
                ended |= rest.peek().is_some_and(|word| word == "--");
            }
            let Some(word) = parser.next().map_err(|error| usage(&error))? else { break };
            let flag = match word {
                Word::Value(value) if self.hook.is_some() => {
                    let text = value.into_string().map_err(|_| Error::usage("an argument is not plain text"))?;
                    self.operands.push(text);
                    continue;
                }
                Word::Value(value) => {
                    self.hook = value.to_str().filter(|_| !ended).and_then(hooks::named);
                    if self.hook.is_none() {
                        return Ok(End::People);
                    }
                    continue;
                }
                Word::Short(short) => self.find_flag(|flag| flag.short == Some(short)),
                Word::Long(long) => {
                    if let Some(named) =
                        flag_alias(long).filter(|_| self.hook.is_none_or(|known| known.flag_alias == Some(long)))
                    {
                        self.hook = Some(named);
                        continue;
                    }
                    self.find_flag(|flag| flag.long == long)
                }
            };
            let flag = flag.ok_or_else(|| self.unknown_flag(&word))?;
            // A protocol may have a word of its own for a flag (docker's `version`).
            if let Some(word) = self.hook.and_then(|hook| hook.operation_of_flag(flag)) {
                self.operands.push(word.to_owned());
                continue;
            }
            match (flag.long, self.hook) {
                // Without a hook in sight yet, it is the people's help.
                ("help" | "version", None) => return Ok(End::People),
                ("help", _) => return Ok(End::Help),
                ("version", _) => return Ok(End::Version),
                _ => {}
            }
            let value = match flag.value {
                None => OsString::new(),
                Some(_) => parser.value().map_err(|error| usage(&error))?,
            };
            self.options.set(flag, value)?;
        }
        Ok(End::All)
    }

    fn flags(&self) -> impl Iterator<Item = &'static Flag> {
        let general = if self.foreign { &[] } else { FLAGS };
        self.hook.map_or(&[][..], |hook| hook.flags).iter().chain(general)
    }

    fn find_flag(&self, fits: impl Fn(&Flag) -> bool) -> Option<&'static Flag> {
        self.flags().find(|flag| fits(flag))
    }

    fn unknown_flag(&self, word: &Word<'_>) -> Error {
        let typed = match word {
            Word::Short(short) => format!("-{short}"),
            Word::Long(long) => format!("--{long}"),
            Word::Value(_) => String::new(),
        };
        let near = nearest(typed.trim_start_matches('-'), self.flags().map(|flag| flag.long));
        // Where `--help` is a word of the protocol's own it lists no flags.
        let named = self.hook.filter(|hook| hook.operation_flags.is_empty()).map(|hook| hook.name);
        let hint = near.map_or_else(|| see_help(named), |known| format!("did you mean --{known}?"));
        Error::usage(format!("unknown flag {typed}")).hint(hint)
    }
}

fn usage(error: &lexopt::Error) -> Error {
    Error::usage(error.to_string()).hint(SEE_HELP)
}
