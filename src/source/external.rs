//! `command`: whatever program already knows how to get a token; and the running of commands for the sources that read a
//! secret from one.

use std::ffi::OsString;
use std::fmt;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command as Process, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Caching, Grant, Opening, Source};
use crate::environment::{self as env, Environment};
use crate::error::{Error, Result};
use crate::identity::{Identity, hex, value_digest};
use crate::obtain::Context;
use crate::profile::{Key, Settings};
use crate::system;
use crate::token::{Credential, Expiry, Secret, human, millis};

pub const SOURCE: Source = Source {
    name: "command",
    about: "a program that prints a token, such as yc",
    keys: &[Key {
        name: "command",
        value: "COMMAND",
        about: "the program and its arguments: [\"yc\", \"iam\", \"create-token\", \"--format\", \"json\"]",
    }],
    // Whose token a command gives may change behind our back (`yc config profile activate`).
    max_age: Some(Duration::from_secs(300)),
    open,
    from_environment: |_: &Environment| None,
};

fn open(opening: &Opening<'_>) -> Result<Box<dyn Grant>> {
    if !opening.settings.has("command") {
        return Err(opening
            .settings
            .missing("source \"command\" needs `command`")
            .hint("write command = [\"yc\", \"iam\", \"create-token\", \"--format\", \"json\"]"));
    }
    let command = Command::from_settings(opening.settings, "command")?;
    let identity = command.identify(Identity::of(SOURCE.name), "command");
    Ok(Box::new(External { command, identity, caching: opening.caching }))
}

struct External {
    command: Command,
    identity: Identity,
    caching: Caching,
}

/// `yc iam create-token --format json`, and the same in the spelling of the API.
#[derive(Deserialize)]
struct Printed {
    #[serde(alias = "iamToken")]
    iam_token: Secret,
    #[serde(alias = "expiresAt")]
    expires_at: Option<String>,
}

impl Grant for External {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let output = self.command.run(cx)?;
        let text = output.expose().trim();
        let no_token = || {
            Error::refused(format!(
                "{}: {}: what it printed is neither a token nor the JSON of `yc iam create-token`",
                cx.profile, self.command
            ))
            .hint("run the command by hand and look at what it prints")
        };
        let (token, expiry) = if text.starts_with('{') {
            let Printed { iam_token, expires_at } = serde_json::from_str(text).map_err(|_| no_token())?;
            (iam_token, expires_at)
        } else {
            (Secret::new(text.to_owned()), None)
        };
        if crate::token::token_text(token.clone()).is_err() {
            return Err(no_token());
        }
        Credential::new(token, &Expiry::At(expiry), cx.clock.now(), 0, &self.command.to_string())
    }

    fn account(&self) -> Result<String> {
        Ok(format!("whoever {} is logged in as", self.command))
    }
}

/// A program of a profile, with its arguments.
pub struct Command {
    words: Vec<String>,
    /// The profile's directory, in which it runs.
    directory: PathBuf,
    /// What a ycred started by it finds in its environment: a digest of the words and the directory.
    mark: String,
    nested: bool,
}

impl Command {
    /// # Errors
    /// Profile (3): there is none, or it is one text instead of a list.
    pub fn from_settings(settings: &Settings, key: &str) -> Result<Self> {
        let words = settings.list(key)?;
        if words.is_empty() {
            return Err(settings.complain(key, "is empty"));
        }
        if words.len() == 1 && words.iter().any(|word| word.contains(' ')) && !PathBuf::from(&words[0]).exists() {
            return Err(settings
                .complain(key, "is one text with blanks in it, and no shell takes it apart")
                .hint("write a list: [\"prog\", \"arg\"]"));
        }
        let directory = settings.directory.clone();
        let mark = hex(&value_digest(format!("{words:?} {directory:?}").as_bytes())[..16]);
        let nested = settings
            .environment()
            .get(env::YCRED_RUNNING)
            .is_some_and(|marks| marks.to_string_lossy().split(',').any(|other| other == mark));
        Ok(Self { words, directory, mark, nested })
    }

    pub fn identify(&self, identity: Identity, key: &str) -> Identity {
        let identity = self
            .words
            .iter()
            .enumerate()
            .fold(identity, |identity, (at, word)| identity.with(&format!("{key}[{at}]"), word));
        identity.with(&format!("{key}-directory"), &self.directory)
    }

    /// Runs it: no stdin, its own process group, killed with everything it started at the deadline.
    ///
    /// # Errors
    /// Profile (3): it cannot be started, or calls ycred with this very profile. Refused (1): it failed; the last line of
    /// its stderr is told. Unavailable (4): it took too long.
    pub fn run(&self, cx: &Context<'_>) -> Result<Secret> {
        let complain = |error: fn(String) -> Error, why: String| error(format!("{}: {self}: {why}", cx.profile));
        if self.nested {
            return Err(complain(Error::profile, "it calls ycred with the profile that runs it, without end".into())
                .hint("name another profile in it with --profile"));
        }
        let left = cx.deadline.left(cx.clock);
        let mut marks: OsString =
            cx.http.environment().get(env::YCRED_RUNNING).map(|marks| marks.to_owned()).unwrap_or_default();
        if !marks.is_empty() {
            marks.push(",");
        }
        marks.push(&self.mark);
        let mut child = Process::new(&self.words[0])
            .args(&self.words[1..])
            .current_dir(&self.directory)
            .env(env::YCRED_RUNNING, marks)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| {
                complain(Error::profile, format!("cannot be run: {}", crate::cache::describe(&error)))
                    .hint("give the program's absolute path; it is looked for in PATH, and GUI programs and daemons have a short one")
            })?;
        cx.notes.debug(|| format!("{}: runs {self}", cx.profile));
        let group = child.id();
        let (send, outputs) = mpsc::channel();
        // Both pipes are drained while it runs, or a full one would stop it.
        for (is_stdout, mut pipe) in [(true, Pipe::Out(child.stdout.take())), (false, Pipe::Err(child.stderr.take()))] {
            let send = send.clone();
            thread::spawn(move || send.send((is_stdout, pipe.drain())));
        }
        drop(send);
        let mut output = Zeroizing::new(Vec::new());
        let mut errors = Vec::new();
        for _ in 0..2 {
            match outputs.recv_timeout(cx.deadline.left(cx.clock)) {
                Ok((true, bytes)) => output = bytes,
                Ok((false, bytes)) => errors = bytes.to_vec(),
                Err(_) => {
                    system::kill_group(group);
                    let _ = child.wait();
                    return Err(complain(
                        Error::unavailable,
                        format!("has not ended within {}, and was killed", human(millis(left))),
                    )
                    .hint(
                        "run it by hand; does it wait for input? --timeout or `timeout` in the profile gives it longer",
                    ));
                }
            }
        }
        let status = wait(&mut child, cx).map_err(|why| {
            system::kill_group(group);
            let _ = child.wait();
            complain(Error::unavailable, why)
        })?;
        // Whatever it left running would hold nothing of ours, but would outlive the deadline.
        system::kill_group(group);
        // Known to the renderer before anything is told: a command may print a token, fail, and repeat it on stderr.
        let known = Secret::new(String::from_utf8_lossy(&output).into_owned());
        if !status.success() {
            let last = String::from_utf8_lossy(&errors).trim().lines().next_back().unwrap_or_default().to_owned();
            let why = if last.is_empty() { format!("{status}, and no message") } else { format!("{status}: {last}") };
            return Err(complain(Error::refused, why).hint("run the command by hand, and mend what it complains about"));
        }
        if output.len() > LARGEST_OUTPUT {
            return Err(complain(
                Error::refused,
                format!("printed more than {LARGEST_OUTPUT} bytes, which no token has"),
            ));
        }
        match std::str::from_utf8(&output) {
            Ok(_) => Ok(known),
            Err(_) => Err(complain(Error::refused, "printed something that is not text".into())),
        }
    }
}

/// The program's name alone: arguments may hold what should not be shown.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command {}", self.words.first().map_or("", String::as_str))
    }
}

const LARGEST_OUTPUT: usize = 64 * 1024;

/// Its pipes are closed, so it is about to end; a program that closed them and lingers is not waited for beyond the deadline.
fn wait(child: &mut std::process::Child, cx: &Context<'_>) -> Result<std::process::ExitStatus, String> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if cx.deadline.left(cx.clock).is_zero() => {
                return Err("has not ended in time, and was killed".into());
            }
            Ok(None) => cx.clock.sleep(Duration::from_millis(2)),
            Err(error) => return Err(error.to_string()),
        }
    }
}

enum Pipe {
    Out(Option<std::process::ChildStdout>),
    Err(Option<std::process::ChildStderr>),
}

impl Pipe {
    /// Reads to the end, keeping no more than is needed to see that it is too much.
    fn drain(&mut self) -> Zeroizing<Vec<u8>> {
        let reader: &mut dyn std::io::Read = match self {
            Self::Out(Some(pipe)) => pipe,
            Self::Err(Some(pipe)) => pipe,
            _ => return Zeroizing::new(Vec::new()),
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
        let _ = reader.take(LARGEST_OUTPUT as u64 + 1).read_to_end(&mut bytes);
        // The rest is thrown away, so that the program can end.
        let _ = std::io::copy(reader, &mut std::io::sink());
        bytes
    }
}
