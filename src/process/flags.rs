//! The flags that go everywhere, and what they said.

use std::ffi::OsString;
use std::time::Duration;

use crate::base::clock::parse_duration;
use crate::base::error::{Error, Result};
use crate::base::suggest::nearest;

/// A flag, for both parsers, help, completions and man page.
#[derive(Debug)]
pub struct Flag {
    pub long: &'static str,
    pub short: Option<char>,
    /// What stands for its value in help; none for a switch.
    pub value: Option<&'static str>,
    /// The values that it takes, where they are a closed set.
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

/// The flags that go everywhere.
pub const FLAGS: &[Flag] = &[
    Flag::new("profile", Some("PROFILE"), "profile to use: a name, or a path with a slash in it").short('p'),
    Flag::new("min-ttl", Some("DURATION"), "least life that the token must have left, such as 15m"),
    Flag::new("timeout", Some("DURATION"), "one deadline for everything that is done, such as 20s"),
    Flag::new("no-cache", None, "neither read nor write the cache"),
    Flag::new("force-refresh", None, "fetch a new token even if the cached one is fresh"),
    Flag::new("verbose", None, "say on stderr what is done, without secrets").short('v'),
    Flag::new("help", None, "print help").short('h'),
    Flag::new("version", None, "print the version").short('V'),
];

/// What the flags said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub profile: Option<OsString>,
    pub min_ttl: Option<Duration>,
    pub timeout: Option<Duration>,
    pub no_cache: bool,
    pub force_refresh: bool,
    pub verbosity: u8,
    /// Values of the hook's own flags, in order.
    pub own: Vec<(&'static str, String)>,
}

impl Options {
    /// The last value of a hook's own flag.
    pub fn own(&self, long: &str) -> Option<&str> {
        self.own.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// Takes the value of one flag.
    ///
    /// # Errors
    /// Usage (2).
    pub fn set(&mut self, flag: &'static Flag, value: OsString) -> Result<()> {
        let text = || {
            value.to_str().map(str::to_owned).ok_or_else(|| Error::usage(format!("--{}: is not plain text", flag.long)))
        };
        let duration = || parse_duration(&text()?).map_err(|why| Error::usage(format!("--{}: {why}", flag.long)));
        match flag.long {
            "profile" => self.profile = Some(value),
            "min-ttl" => self.min_ttl = Some(duration()?),
            "timeout" => {
                let length = duration()?;
                if length.is_zero() {
                    return Err(Error::usage("--timeout: is no time at all"));
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
