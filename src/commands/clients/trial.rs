//! Runs the command that a client's configuration names, as the client would, to see whether it answers.
//!
//! Only ycred itself is run. Of other programs, doctor looks at existence and mode.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::clock::{Deadline, human, millis};
use crate::base::environment::PATH;
use crate::base::error::{Error, Result, describe};
use crate::base::secret::Secret;
use crate::base::shell;
use crate::commands::check::{Examination, Finding, profile_files};
use crate::commands::clients::client::setup_command;
use crate::commands::clients::program;
use crate::profile::{Profile, ProfileRef, find};
use crate::session::Session;
use crate::sources::output::Outputs;
use crate::system;
use crate::system::programs::ProcessGroup;

/// The directories in which programs that were started from a desktop look for others.
pub const DESKTOP_PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// The time limit of one call.
const LIMIT: Duration = Duration::from_secs(5);

/// The time limit of a client's check: some calls, and what it reads.
pub const CLIENT_LIMIT: Duration = Duration::from_secs(30);

/// A call of ycred by a client.
#[derive(Default)]
pub struct Trial {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub stdin: String,
    pub variables: Vec<(String, String)>,
    /// The working directory; `None` for that of this process.
    pub directory: Option<PathBuf>,
    /// `PATH`; `None` for that of this process.
    pub search: Option<&'static str>,
    /// The client is a service, which has none of this process' variables.
    pub is_service: bool,
}

/// The result of a call that ended in time.
pub struct TrialResult {
    pub is_success: bool,
    pub stdout: Secret,
    /// The error and the hint on stderr, if there is one.
    pub error: Option<Error>,
}

impl Trial {
    /// Runs the command.
    ///
    /// # Errors
    /// Unavailable (4): it did not start, or did not end in time.
    pub fn run(&self, session: &Session<'_>) -> Result<TrialResult> {
        let shown = self.program.display();
        let failed = |why: String| Error::unavailable(format!("{shown}: {why}"));
        let mut command =
            system::programs::command(self.program.as_os_str()).map_err(|error| failed(describe(&error)))?;
        if self.is_service {
            command.env_clear();
        }
        command
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(if self.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(search) = self.search {
            command.env(PATH, search);
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        system::signals::reset_sigchld();
        system::signals::restore_signals(&mut command);
        let (mut child, group) = ProcessGroup::spawn(&mut command).map_err(|error| failed(describe(&error)))?;
        if let Some(mut pipe) = child.stdin.take() {
            // Requests fit into a pipe. A program that has ended needs none.
            let _ = pipe.write_all(self.stdin.as_bytes());
        }
        let deadline = Deadline::after(session.clock, LIMIT);
        let mut outputs = Outputs::of(&mut child);
        let has_ended = match &mut outputs {
            Ok(outputs) => outputs.wait(&child, &deadline, session.clock),
            Err(error) => Err(error.kind().into()),
        };
        group.kill(&mut child);
        let status = child.wait();
        let mut outputs = outputs.map_err(|error| failed(describe(&error)))?;
        outputs.drain();
        let (stdout, stderr) = outputs.into_bytes();
        match (has_ended, status) {
            (Ok(true), Ok(status)) => Ok(TrialResult {
                is_success: status.success(),
                stdout: Secret::wrapping(String::from_utf8_lossy(&stdout).into_owned()),
                error: reported(&stderr),
            }),
            (Ok(false), _) => Err(failed(format!("did not answer within {}", human(millis(LIMIT))))),
            (Err(error), _) | (_, Err(error)) => Err(failed(describe(&error))),
        }
    }
}

/// Reads an error that ycred has printed, with its hint.
fn reported(stderr: &[u8]) -> Option<Error> {
    let text = Zeroizing::new(String::from_utf8_lossy(stderr).into_owned());
    let line = |label: &str| {
        let prefix = format!("ycred: {label}: ");
        text.lines().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
    };
    let error = Error::refused(line("error")?);
    Some(match line("hint") {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

/// Asks a ycred for its version.
pub fn version(path: &Path, session: &Session<'_>) -> Option<String> {
    let trial = Trial { program: path.to_owned(), arguments: vec!["--version".to_owned()], ..Trial::default() };
    let result = trial.run(session).ok().filter(|result| result.is_success)?;
    // Under the name of a hook's link, the line may begin otherwise: `docker-credential-ycred (ycred) v1.2.3`.
    let mut words = result.stdout.expose().split_whitespace().map(|word| word.trim_start_matches('v'));
    let version = words.find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    (version.len() <= 40).then(|| version.to_owned())
}

/// Returns how to call ycred in a shell: by its name, if PATH leads to this program.
pub fn ycred_command(session: &Session<'_>) -> String {
    let running = system::process::executable();
    let found = program::find("ycred", session);
    match (running, found) {
        (Some(running), Some(found)) if program::is_same(&found, &running) => "ycred".to_owned(),
        (Some(running), _) => shell::word(&running),
        (None, _) => "ycred".to_owned(),
    }
}

/// Returns the path of ycred that a link should lead to.
pub fn ycred_path(session: &Session<'_>) -> Option<PathBuf> {
    let running = system::process::executable()?;
    let found = program::find("ycred", session).filter(|found| program::is_same(found, &running));
    Some(found.unwrap_or(running))
}

/// Returns the program that a command leads to. A name without a slash is searched in PATH.
///
/// # Errors
/// What is wrong with it: there is no such file, or it is not executable.
pub fn resolve(command: &str, directory: &Path, session: &Session<'_>) -> Result<PathBuf, Finding> {
    if !command.contains(std::path::is_separator) {
        return program::find(command, session)
            .ok_or_else(|| Finding::fail(format!("the program {command} is not in PATH")));
    }
    let path = directory.join(command);
    match fs::metadata(&path) {
        Err(error) => Err(Finding::fail(format!("{}: {}", path.display(), describe(&error)))),
        Ok(metadata) if !metadata.is_file() => Err(Finding::fail(format!("{}: is not a program", path.display()))),
        Ok(_) if !program::is_program(&path) => {
            Err(Finding::fail(format!("{}: is not executable", path.display()))
                .fix(system::fixes::make_executable(&path)))
        }
        Ok(_) => Ok(path),
    }
}

/// Returns true if a command is found also by programs that were started from a desktop.
pub fn is_found_by_desktop(command: &str) -> bool {
    command.contains(std::path::is_separator)
        || std::env::split_paths(DESKTOP_PATH).any(|directory| program::is_program(&directory.join(command)))
}

/// Loads the profile that a client's configuration names, or the one that is used without a name, and examines its files.
/// `setup` is the command that gives this place of the configuration another profile.
///
/// # Errors
/// What is wrong with it.
pub fn profile(named: Option<&str>, setup: &str, session: &Session<'_>) -> Result<Profile, Finding> {
    let reference = match named {
        Some(text) => ProfileRef::NameOrPath { by: "--profile", text: text.into() },
        None => ProfileRef::Unnamed,
    };
    let profile = session.profile(&reference).map_err(|error| {
        let finding = Finding::of_error(&error);
        let is_name = |name: &&str| !name.contains(std::path::is_separator);
        match named.filter(is_name).filter(|name| !find::names(session.places).contains(*name)) {
            // A profile with a similar name may be another account. It was probably renamed.
            Some(_) => finding.fix(format!("choose one that `ycred list` shows: {setup}")),
            None => finding,
        }
    })?;
    let mut findings = profile_files::settings(&profile);
    findings.extend(profile_files::secrets(&profile));
    let is_failure = |finding: &Finding| finding.verdict == crate::commands::check::Verdict::Fail;
    match findings.into_iter().find(is_failure) {
        Some(failure) => Err(failure),
        None => Ok(profile),
    }
}

/// Returns what to do about a host in a client's configuration that the profile does not list. It may be misspelt there.
/// `profile_argument` is the profile as the configuration names it.
pub fn foreign_host(
    client: &str,
    host: &str,
    profile: &Profile,
    profile_argument: Option<&str>,
    session: &Session<'_>,
) -> String {
    let ycred = ycred_command(session);
    let word = shell::word(host);
    match profile.hosts.near(host) {
        Some(near) => {
            let selection = vec!["--host".to_owned(), near];
            let setup = setup_command(client, selection, profile_argument).replacen("ycred", &ycred, 1);
            format!("{ycred} unsetup {client} --host {word} && {setup}")
        }
        None => {
            let edit = profile.settings.edit_for_host(host);
            format!(
                "if the entry is wrong or misspelt, remove it: {ycred} unsetup {client} --host {word}; if it is right and you \
                 trust the host with your IAM token, {edit}"
            )
        }
    }
}

/// Says which host of the profile is probably meant, after what is wrong with this one.
pub fn meant(host: &str, profile: &Profile) -> String {
    let Some(near) = profile.hosts.near(host) else { return String::new() };
    let is_own = profile.settings.list("hosts").is_ok_and(|hosts| hosts.contains(&near));
    match profile.settings.place_in_words("hosts").filter(|_| is_own) {
        Some(place) => format!("; it lists {near} (if that is misspelt, or both are right, edit {place})"),
        None => format!("; it lists {near} (if both are right, add this one to `hosts`)"),
    }
}

/// After this time, a check makes no more calls, so that its findings are reported within [`CLIENT_LIMIT`].
const CALLS_LIMIT: Duration = Duration::from_secs(18);

/// Runs a hook, unless the run is offline or the check has taken too long. `read` returns what the answer is, without the
/// secret in it.
///
/// Returns `None` if it was not run.
pub fn answer<T>(
    trial: &Trial,
    examination: &Examination,
    session: &Session<'_>,
    read: impl Fn(&TrialResult) -> Result<T>,
) -> Option<Result<T>> {
    let took = session.clock.elapsed().saturating_sub(session.request_started.get());
    if examination.is_offline || took > CALLS_LIMIT {
        return None;
    }
    Some(trial.run(session).and_then(|result| match (&result.error, result.is_success) {
        (Some(error), false) => Err(error.clone()),
        (_, _) => read(&result),
    }))
}

/// Keeps the secret of an answer out of all messages.
///
/// # Errors
/// Internal (5): the answer has none. `what` names it.
pub fn hide(secret: Option<&str>, what: &str) -> Result<()> {
    match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => {
            let _masked = Secret::new(secret.to_owned());
            Ok(())
        }
        None => Err(Error::internal(format!("the answer has no {what}"))),
    }
}
