//! Runs a program from a profile, such as one that prints a secret, with a time limit, and captures its output.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use zeroize::Zeroizing;

use crate::base::clock::{human, millis};
use crate::base::environment as env;
use crate::base::error::{Error, Result, describe};
use crate::base::identity::{Identity, hex, value_digest};
use crate::base::mask;
use crate::base::secret::Secret;
use crate::cloud::Context;
use crate::disk::executable;
use crate::sources::output::{MAX_OUTPUT, Outputs};
use crate::sources::settings::Settings;
use crate::system;
use crate::system::directories::{HOME, OTHER_HOMES};
use crate::system::process::StartFailure;
use crate::system::programs::{self, ProcessGroup};

/// A program from a profile, with its arguments.
pub struct Program {
    /// The program and its arguments. Never empty.
    command_line: Vec<String>,
    /// The working directory: the profile's directory.
    directory: PathBuf,
    /// A digest of the command line and the directory, passed in `YCRED_RUNNING`. A ycred that the program starts uses
    /// it to detect endless recursion.
    marker: String,
    /// The file that `PATH` leads to. `None` without one.
    resolved: Option<PathBuf>,
    home: Option<OsString>,
    /// The variables in `command-env`, with digests of their values.
    variables: Vec<(String, Option<String>)>,
}

impl Program {
    /// Reads the program from a profile's settings.
    ///
    /// # Errors
    /// Profile (3): the list is empty; it is a command line in one string; or this process was started by the same
    /// program.
    pub fn from_settings(settings: &Settings, key: &str) -> Result<Self> {
        let command_line = settings.list(key)?;
        if command_line.is_empty() {
            return Err(settings.error_at(key, "is empty"));
        }
        if command_line.len() == 1 && command_line[0].contains(' ') && !PathBuf::from(&command_line[0]).exists() {
            return Err(settings
                .error_at(key, "is one string with spaces, but commands run without a shell")
                .hint(format!("write a list: {key} = [\"prog\", \"arg\"]")));
        }
        let directory = settings.directory.clone();
        let marker = hex(&value_digest(format!("{command_line:?} {directory:?}").as_bytes())[..16]);
        // Checked before the cache is used. The ycred that runs the program holds the cache lock, so this process would
        // wait for it until the deadline.
        let running = settings.environment().get(env::YCRED_RUNNING);
        if running.is_some_and(|markers| markers.to_string_lossy().split(',').any(|other| other == marker)) {
            return Err(settings.error_at(key, RECURSION).hint(RECURSION_HINT));
        }
        let environment = settings.environment();
        let resolved = programs::find_in(command_line[0].as_ref(), &directory, environment.get(env::PATH));
        let digest = |name: &str| environment.get(name).map(|value| hex(&value_digest(value.as_encoded_bytes())));
        let others = OTHER_HOMES.iter().map(|name| (*name).to_owned());
        let variables =
            settings.list("command-env")?.into_iter().chain(others.filter(|name| environment.get(name).is_some()));
        let variables = variables.map(|name| (digest(&name), name));
        let variables = variables.map(|(digest, name)| (name, digest)).collect();
        let home = environment.get(HOME).map(|home| home.to_owned());
        Ok(Self { command_line, directory, marker, resolved, home, variables })
    }

    /// Adds what the output may depend on to an identity: the command line, the working directory, the file that `PATH`
    /// leads to, the home directory, and the variables in `command-env`.
    pub fn identify(&self, identity: Identity, key: &str) -> Identity {
        let identity = self.command_line.iter().enumerate().fold(identity, |identity, (index, argument)| {
            let key = format!("{key}[{index}]");
            // A cache record contains these settings, so an argument that looks like a secret must not be among them.
            match mask::looks_like_secret(argument) {
                true => identity.with_secret(&key, "a secret", argument.as_bytes()),
                false => identity.with(&key, argument),
            }
        });
        let identity = identity
            .with(&format!("{key}-directory"), &self.directory)
            .with_some(&format!("{key}-home"), self.home.as_ref());
        let file = format!("{key}-file");
        let identity = match &self.resolved {
            Some(path) if mask::looks_like_secret(&path.to_string_lossy()) => {
                identity.with_secret(&file, "a secret", path.as_os_str().as_encoded_bytes())
            }
            other => identity.with_some(&file, other.as_ref()),
        };
        self.variables.iter().fold(identity, |identity, (name, digest)| {
            identity.with(&format!("{key}-env[{name}]"), digest.as_deref().unwrap_or_default())
        })
    }

    /// Runs the program and returns its stdout. It gets an empty stdin and a process group of its own. At the deadline,
    /// ycred kills the whole group.
    ///
    /// # Errors
    /// Profile (3): the program cannot be started. Refused (1): it failed, and the message has the last line of its
    /// stderr; or the output is too large or not UTF-8. Unavailable (4): it did not exit in time.
    pub fn run(&self, cx: &Context<'_>) -> Result<Secret> {
        let error_at = |error: fn(String) -> Error, why: String| error(format!("{self}: {why}"));
        let time_limit = cx.deadline.left(cx.clock);
        let mut markers: OsString =
            cx.http.environment().get(env::YCRED_RUNNING).map(|markers| markers.to_owned()).unwrap_or_default();
        if !markers.is_empty() {
            markers.push(",");
        }
        markers.push(&self.marker);
        let program = OsStr::new(&self.command_line[0]);
        let environment = cx.http.environment();
        let not_started = |error: io::Error| {
            let search = environment.get(env::PATH);
            let not_started = executable::not_started(program, search, Some(&self.directory), &error)
                .context("cannot start the program")
                .context(self);
            // Another process may start it.
            match StartFailure::of(&error) {
                StartFailure::Forbidden | StartFailure::ProcessLimit | StartFailure::FileLimit => {
                    not_started.unshared()
                }
                _ => not_started,
            }
        };
        let mut process = programs::command_in(program, &self.directory).map_err(not_started)?;
        process
            .args(&self.command_line[1..])
            .env(env::YCRED_RUNNING, markers)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        system::signals::reset_sigchld();
        let (mut child, group) = ProcessGroup::spawn(&mut process).map_err(not_started)?;
        cx.diagnostics.debug(|| format!("{}: running {self}", cx.profile));
        let wait = cx.diagnostics.waiting(|| self.to_string());
        let mut outputs = Outputs::of(&mut child);
        let has_ended = outputs
            .as_mut()
            .map_err(|error| io::Error::from(error.kind()))
            .and_then(|it| it.wait(&child, &cx.deadline, cx.clock));
        // Processes that the program left running would run beyond the deadline. The program itself, which leads the
        // group, is a zombie until `wait`, so that no other group can have its number.
        group.kill(&mut child);
        let status = child.wait();
        let mut outputs = outputs.map_err(|error| error_at(Error::unavailable, describe(&error)))?;
        // What it has printed counts. A process that left the group may keep the pipes open.
        outputs.drain();
        drop(wait);
        let (mut output, errors) = outputs.into_bytes();
        let status = match (has_ended, status) {
            (Ok(true), Ok(status)) => status,
            (Ok(false), _) => {
                let why = format!("killed, because it did not exit within {}", human(millis(time_limit)));
                return Err(error_at(Error::unavailable, why)
                    .hint(
                        "run the command by hand to see if it waits for input; \
                         --timeout or `timeout` in the profile allows more time",
                    )
                    .timed_out());
            }
            (Err(error), _) | (_, Err(error)) => return Err(error_at(Error::unavailable, describe(&error))),
        };
        if !status.success() {
            // The message on stderr may repeat a secret from stdout, so register possible secrets for redaction:
            // strings without white space that are long enough. Ordinary words are shorter.
            let output = Zeroizing::new(String::from_utf8_lossy(&output).into_owned());
            for word in output.split_whitespace().filter(|word| word.len() >= 16) {
                let _masked = Secret::new(word.to_owned());
            }
            // If the program is ycred, skip its hint line and use the error line before it.
            let errors = String::from_utf8_lossy(&errors);
            let message = errors.trim().lines().rfind(|line| !line.starts_with("ycred: hint: ")).unwrap_or_default();
            // The ycred in the command has refused, and this profile is what must be corrected.
            if let Some(refusal) = message.strip_prefix("ycred: error: ").filter(|refusal| refusal.ends_with(RECURSION))
            {
                let place = refusal.strip_prefix("profile ").unwrap_or(refusal);
                return Err(Error::profile(place).hint(RECURSION_HINT));
            }
            let message: String = message.chars().take(250).collect();
            let why = match message.is_empty() {
                true => format!("{status}, without a message on stderr"),
                false => format!("{status}: {message}"),
            };
            return Err(error_at(Error::refused, why).hint("run the command by hand and fix the error it reports"));
        }
        if output.len() > MAX_OUTPUT {
            return Err(error_at(
                Error::refused,
                format!("the output is longer than {MAX_OUTPUT} bytes, which is too long for a token"),
            ));
        }
        String::from_utf8(std::mem::take(&mut *output)).map(Secret::wrapping).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            error_at(Error::refused, "the output is not UTF-8".into())
        })
    }
}

/// Why a command is refused that was started by itself.
const RECURSION: &str = "runs ycred with the same profile, which would recurse endlessly";
const RECURSION_HINT: &str = "select another profile in the command: ycred … --profile NAME";

/// Writes `command PROGRAM`, without the arguments, because they may contain secrets.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command {}", self.command_line.first().map_or("", String::as_str))
    }
}
