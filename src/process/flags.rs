//! The global flags, and the values of the flags in one call.

use std::ffi::OsString;
use std::time::Duration;

use crate::base::clock::parse_duration;
use crate::base::error::{Error, Result};
use crate::base::suggest::nearest;
use crate::profile::ProfileRef;

/// A command-line flag. Both parsers, the help, the completions and the man pages use it.
#[derive(Debug)]
pub struct Flag {
    pub long: &'static str,
    pub short: Option<char>,
    /// The placeholder for the value in help; `None` for a flag without a value.
    pub value: Option<&'static str>,
    /// The accepted values; empty if any value is accepted.
    pub choices: &'static [&'static str],
    pub about: &'static str,
}

impl Flag {
    pub const fn new(long: &'static str, value: Option<&'static str>, about: &'static str) -> Self {
        Self { long, short: None, value, choices: &[], about }
    }
    const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }
    pub const fn choices(mut self, choices: &'static [&'static str]) -> Self {
        self.choices = choices;
        self
    }
}

/// A call and what it does, for help and man pages.
pub struct Example {
    pub call: &'static str,
    /// In the imperative, such as "print the token".
    pub about: &'static str,
}

/// The global flags: every hook and command accepts them.
pub const FLAGS: &[Flag] = &[
    Flag::new("profile", Some("PROFILE"), "profile to use: a name, or a path with a slash").short('p'),
    Flag::new("min-ttl", Some("DURATION"), "minimum remaining validity [default: the profile's, or 60s]"),
    Flag::new("timeout", Some("DURATION"), "overall time limit [default: the profile's, or 20s]"),
    Flag::new("no-cache", None, "do not read or write the cache"),
    Flag::new("force-refresh", None, "fetch a new token even if the cached one is fresh"),
    Flag::new("verbose", None, "log to stderr; never includes secrets").short('v'),
    Flag::new("help", None, "print help").short('h'),
    Flag::new("version", None, "print the version").short('V'),
];

/// The values of the flags in one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub profile: Option<OsString>,
    pub min_ttl: Option<Duration>,
    pub timeout: Option<Duration>,
    pub no_cache: bool,
    pub force_refresh: bool,
    pub verbosity: u8,
    /// The hook's own flags with their values, in the order given.
    pub own: Vec<(&'static str, String)>,
}

impl Options {
    /// Returns the last value given for one of the hook's own flags.
    pub fn own(&self, long: &str) -> Option<&str> {
        self.own.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// Returns true if one of ycred's own flags was given, besides those of the hook.
    pub fn has_global(&self) -> bool {
        self.profile.is_some()
            || self.min_ttl.is_some()
            || self.timeout.is_some()
            || self.no_cache
            || self.force_refresh
            || self.verbosity > 0
    }

    /// Returns the profile that `--profile` names.
    pub fn profile_ref(&self) -> ProfileRef {
        match &self.profile {
            Some(text) => ProfileRef::NameOrPath { by: "--profile", text: text.clone() },
            None => ProfileRef::Unnamed,
        }
    }

    /// Stores the value of one flag. A flag without a value ignores `value`.
    ///
    /// # Errors
    /// Usage (2): the value is not UTF-8, not a duration or not one of the choices.
    pub fn set(&mut self, flag: &'static Flag, value: OsString) -> Result<()> {
        let text = || {
            value.to_str().map(str::to_owned).ok_or_else(|| Error::usage(format!("--{}: not valid UTF-8", flag.long)))
        };
        let duration = || parse_duration(&text()?).map_err(|why| Error::usage(format!("--{}: {why}", flag.long)));
        match flag.long {
            "profile" => self.profile = Some(value),
            "min-ttl" => self.min_ttl = Some(duration()?),
            "timeout" => {
                let length = duration()?;
                if length.is_zero() {
                    return Err(Error::usage("--timeout: must be more than 0s"));
                }
                self.timeout = Some(length);
            }
            "no-cache" => self.no_cache = true,
            "force-refresh" => self.force_refresh = true,
            "verbose" => self.verbosity = self.verbosity.saturating_add(1),
            _ => {
                let text = text()?;
                if !flag.choices.is_empty() && !flag.choices.contains(&text.as_str()) {
                    let known = flag.choices.join(", ");
                    let error = Error::usage(format!("--{}: \"{text}\" is not one of {known}", flag.long));
                    let near = nearest(&text, flag.choices.iter().copied());
                    return Err(match near {
                        Some(near) => error.hint(format!("did you mean --{} {near}?", flag.long)),
                        None => error,
                    });
                }
                self.own.push((flag.long, text));
            }
        }
        Ok(())
    }
}
