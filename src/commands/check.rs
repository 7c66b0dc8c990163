//! A check of `ycred doctor`: its row in the table, its findings, and what all checks of a run share.

pub mod profile_files;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use crate::base::clock::{Clock, Timestamp};
use crate::base::diagnostics::{Diagnostics, LogFile};
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::disk::places::Places;
use crate::process::flags::Options;
use crate::process::painting::Look;
use crate::process::stdin::{Input, NoInput};
use crate::profile::{Profile, ProfileRef};
use crate::session::Session;
use crate::system::{access, fixes};

/// A check: one subject that can be in order or not.
pub struct Check {
    /// The name on the command line and in reports.
    pub id: &'static str,
    /// What it looks at, for `--list` and the help.
    pub about: &'static str,
    /// The parts that its findings can belong to. A report shows them after the id: `kubectl.command`.
    pub parts: &'static [&'static str],
    /// The time after which the run continues without it.
    pub limit: Duration,
    /// True if the check does nothing without the network.
    pub needs_network: bool,
    pub run: fn(&Examination) -> Vec<Finding>,
}

/// The time limit of a check that only reads files.
pub const LOCAL_LIMIT: Duration = Duration::from_secs(5);

/// The finding of a check that needs a profile, if none can be used. The check `profile` says why.
pub const NO_PROFILE: &str = "there is no usable profile";

/// What a check has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    /// It works, but is at risk.
    Warn,
    /// A call, or a configured client, does not get the token that it should.
    Fail,
    /// Does not apply here.
    Skip,
}

impl Verdict {
    /// Returns the name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// One line of a report.
#[derive(Clone, Debug)]
pub struct Finding {
    pub verdict: Verdict,
    /// One of [`Check::parts`], or empty.
    pub part: &'static str,
    pub what: String,
    /// A command, or what to change where.
    pub fix: Option<String>,
    /// Names in `what` and `fix` that a report for strangers must not show, besides those that it knows itself.
    pub names: Vec<String>,
}

impl Finding {
    fn new(verdict: Verdict, what: impl Into<String>) -> Self {
        Self { verdict, part: "", what: what.into(), fix: None, names: Vec::new() }
    }
    pub fn ok(what: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, what)
    }
    /// Returns the finding for places of a client's configuration that are in order.
    pub fn serves(names: &[impl AsRef<str>]) -> Self {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let finding = Self::ok(format!("ycred serves {}", names.join(", ")));
        names.into_iter().fold(finding, Self::named)
    }
    pub fn warn(what: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, what)
    }
    pub fn fail(what: impl Into<String>) -> Self {
        Self::new(Verdict::Fail, what)
    }
    pub fn skip(what: impl Into<String>) -> Self {
        Self::new(Verdict::Skip, what)
    }

    /// Returns a failure with the reason of an error, whose hint is the fix. Without a hint, the fix opens the file.
    pub fn of_error(error: &Error) -> Self {
        let reason = error.reason();
        Self { fix: error.hint_text().or_else(|| open_file(&reason)), ..Self::fail(reason) }
    }

    #[must_use]
    pub fn part(self, part: &'static str) -> Self {
        Self { part, ..self }
    }

    /// Sets how to fix it: a command as typed in a shell, or what to change where.
    #[must_use]
    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }

    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }
}

/// What the request that tests the connection to the cloud has shown.
#[derive(Clone, Debug)]
pub struct Connection {
    pub url: String,
    /// Why there was no answer of the cloud.
    pub error: Option<Error>,
    /// The server's clock minus this machine's, in milliseconds. `None` if the server has not told its time.
    pub skew: Option<i64>,
}

/// The inputs of all checks of one run. Checks run on threads of their own.
pub struct Examination {
    pub environment: Environment,
    pub clock: &'static dyn Clock,
    pub places: Places,
    /// See [`Session::places_error`].
    pub places_error: Option<Error>,
    pub profile_ref: ProfileRef,
    pub options: Options,
    /// True with `--offline`: then no check uses the network or runs a hook.
    pub is_offline: bool,
    /// The names of the links that an installation has.
    pub links: Vec<&'static str>,
    pub began: Timestamp,
    pub is_verbose: bool,
    pub print_stderr: &'static (dyn Fn(&str) + Sync),
    pub log_file: Option<LogFile>,
    profile: OnceLock<Result<Profile>>,
    connection: OnceLock<Option<Connection>>,
}

impl Examination {
    /// Takes over the inputs of a run.
    pub fn new(session: &Session<'_>, profile_ref: ProfileRef, options: Options, links: Vec<&'static str>) -> Self {
        Self {
            environment: session.environment.clone(),
            clock: session.clock,
            places: session.places.clone(),
            places_error: session.places_error.clone(),
            profile_ref,
            options,
            is_offline: false,
            links,
            began: session.process_began,
            is_verbose: session.diagnostics.is_verbose(),
            print_stderr: session.print_stderr,
            log_file: session.diagnostics.log_file(),
            profile: OnceLock::new(),
            connection: OnceLock::new(),
        }
    }

    /// Calls `use_session` with a session of the calling thread. Its deadlines count from now.
    pub fn with_session<T>(&self, use_session: impl FnOnce(&Session<'_>) -> T) -> T {
        let print_stderr = |text: &str| (self.print_stderr)(text);
        let diagnostics = Diagnostics::new(self.is_verbose, &print_stderr, self.log_file.clone());
        let stdin: RefCell<Box<dyn Input>> = RefCell::new(Box::new(NoInput));
        use_session(&Session {
            environment: &self.environment,
            clock: self.clock,
            diagnostics: &diagnostics,
            places: &self.places,
            places_error: self.places_error.clone(),
            stdin: &stdin,
            print_stderr: self.print_stderr,
            print_stdout: &|_| Ok(()),
            look: Look::default(),
            process_began: self.began,
            request_started: Cell::new(self.clock.elapsed()),
        })
    }

    /// Returns the profile that a call here would use.
    ///
    /// # Errors
    /// As [`Session::profile`].
    pub fn profile(&self) -> Result<&Profile> {
        let load = || self.with_session(|session| session.profile(&self.profile_ref));
        self.profile.get_or_init(load).as_ref().map_err(Clone::clone)
    }

    /// Returns the time limit of a call. `None` if neither `--timeout` nor an already loaded profile sets one. Does not load the
    /// profile, because that may hang.
    pub fn call_limit(&self) -> Option<Duration> {
        let of_profile = || self.profile.get()?.as_ref().ok().map(|profile| profile.timeout);
        self.options.timeout.or_else(of_profile)
    }

    /// Returns what the one request of this run has shown. `ask` makes it.
    pub fn connection(&self, ask: impl FnOnce() -> Option<Connection>) -> Option<&Connection> {
        self.connection.get_or_init(ask).as_ref()
    }
}

/// Returns a command that opens the file of a message such as `profile /x.toml:3: …`, or shows what it is.
fn open_file(reason: &str) -> Option<String> {
    let rest = reason.strip_prefix("profile ").filter(|rest| rest.starts_with(std::path::is_separator))?;
    let (place, _) = rest.split_once(": ")?;
    Some(match place.rsplit_once(':') {
        Some((path, line)) if let Ok(line) = line.parse() => fixes::edit(Path::new(path), line),
        _ => format!("see what it is: {}", access::show_directory_command(Path::new(place))),
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::base::clock::tests::FixedClock;

    /// Returns an examination of a machine without a home directory and without variables.
    pub fn examination() -> Examination {
        let clock: &'static FixedClock = Box::leak(Box::new(FixedClock::at(Timestamp(0))));
        Examination {
            environment: Environment::default(),
            clock,
            places: Places::none(),
            places_error: None,
            profile_ref: ProfileRef::Unnamed,
            options: Options::default(),
            is_offline: false,
            links: Vec::new(),
            began: Timestamp(0),
            is_verbose: false,
            print_stderr: &|_| (),
            log_file: None,
            profile: OnceLock::new(),
            connection: OnceLock::new(),
        }
    }

    #[test]
    #[cfg(unix)]
    fn an_error_of_a_profile_without_a_hint_opens_the_file() {
        for (reason, fix) in [
            ("profile /x/a b.toml:3: `timeout` must be at least 1s", Some("\"${EDITOR:-vi}\" +3 '/x/a b.toml'")),
            ("profile /x/a.toml: is not a regular file", Some("see what it is: ls -ld /x/a.toml")),
            ("profile prod: no such file", None),
            ("https://x: 401", None),
        ] {
            assert_eq!(Finding::of_error(&Error::profile(reason)).fix.as_deref(), fix);
        }
        let hinted = Error::profile("profile /x/a.toml:1: unknown key").hint("did you mean `source`?");
        assert_eq!(Finding::of_error(&hinted).fix.as_deref(), Some("did you mean `source`?"));
    }
}
