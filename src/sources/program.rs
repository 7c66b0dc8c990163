//! A program that a profile names, such as one that prints a secret: started, bounded, and read.

use std::ffi::OsString;
use std::fmt;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::clock::{human, millis};
use crate::base::environment as env;
use crate::base::error::{Error, Result, describe};
use crate::base::identity::{Identity, hex, value_digest};
use crate::base::secret::Secret;
use crate::cloud::Context;
use crate::sources::settings::Settings;
use crate::system;

/// A program of a profile, with its arguments.
pub struct Program {
    words: Vec<String>,
    /// The profile's directory, in which it runs.
    directory: PathBuf,
    /// What a ycred started by it finds in its environment: a digest of the words and the directory.
    mark: String,
}

impl Program {
    /// # Errors
    /// Profile (3): there is none, or it is one text instead of a list, or we were started by this very command.
    pub fn from_settings(settings: &Settings, key: &str) -> Result<Self> {
        let words = settings.list(key)?;
        if words.is_empty() {
            return Err(settings.error_at(key, "is empty"));
        }
        if words.len() == 1 && words.iter().any(|word| word.contains(' ')) && !PathBuf::from(&words[0]).exists() {
            return Err(settings
                .error_at(key, "is one text with blanks in it, and no shell takes it apart")
                .hint("write a list: [\"prog\", \"arg\"]"));
        }
        let directory = settings.directory.clone();
        let mark = hex(&value_digest(format!("{words:?} {directory:?}").as_bytes())[..16]);
        // Judged before the cache is asked: the ycred that runs the command holds the lock that this one would wait
        // for.
        let running = settings.environment().get(env::YCRED_RUNNING);
        if running.is_some_and(|marks| marks.to_string_lossy().split(',').any(|other| other == mark)) {
            return Err(settings
                .error_at(key, "calls ycred with the profile that runs it, without end")
                .hint("name another profile in the command with --profile"));
        }
        Ok(Self { words, directory, mark })
    }

    /// The words, and where they are run, as part of whose token it is.
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
    /// Profile (3): it cannot be started. Refused (1): it failed; the last line of its stderr is told. Unavailable (4):
    /// it took too long.
    pub fn run(&self, cx: &Context<'_>) -> Result<Secret> {
        let error_at = |error: fn(String) -> Error, why: String| error(format!("{self}: {why}"));
        let left = cx.deadline.left(cx.clock);
        let mut marks: OsString =
            cx.http.environment().get(env::YCRED_RUNNING).map(|marks| marks.to_owned()).unwrap_or_default();
        if !marks.is_empty() {
            marks.push(",");
        }
        marks.push(&self.mark);
        let mut process = Command::new(&self.words[0]);
        process
            .args(&self.words[1..])
            .current_dir(&self.directory)
            .env(env::YCRED_RUNNING, marks)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        system::process::in_own_group(&mut process);
        system::process::kill_child_on_exit(&mut process);
        system::signals::reset_sigchld();
        let mut child = process
            .spawn()
            .map_err(|error| {
                error_at(Error::profile, format!("cannot be run: {}", describe(&error)))
                    .hint("give the program's absolute path; it is looked for in PATH, and GUI programs and daemons have a short one")
            })?;
        cx.notes.debug(|| format!("{}: runs {self}", cx.profile));
        let group = child.id();
        let (send, outputs) = mpsc::channel();
        // Both pipes are drained while it runs, or a full one would stop it.
        for (is_stdout, mut pipe) in [(true, Pipe::Out(child.stdout.take())), (false, Pipe::Err(child.stderr.take()))] {
            let send = send.clone();
            let reader = thread::Builder::new().spawn(move || send.send((is_stdout, pipe.drain())));
            if let Err(error) = reader {
                system::process::kill_group(group);
                let _ = child.wait();
                let why = format!("cannot be listened to: {}", describe(&error));
                return Err(
                    error_at(Error::unavailable, why).hint("this machine or user has too many processes; try again")
                );
            }
        }
        drop(send);
        let ended = wait(&mut child, cx);
        // What it has left running holds its pipes open and would outlive the deadline.
        system::process::kill_group(group);
        let status = match ended {
            Ok(Some(status)) => status,
            Ok(None) => {
                let _ = child.wait();
                let why = format!("has not ended within {}, and was killed", human(millis(left)));
                return Err(error_at(Error::unavailable, why).hint(
                    "run it by hand; does it wait for input? --timeout or `timeout` in the profile gives it longer",
                ));
            }
            Err(error) => return Err(error_at(Error::unavailable, error.to_string())),
        };
        let (mut output, mut errors) = (Zeroizing::new(Vec::new()), Zeroizing::new(Vec::new()));
        // The pipes end with the group; one that has been carried out of it is not waited for.
        for (is_stdout, bytes) in std::iter::from_fn(|| outputs.recv_timeout(PIPES_END).ok()) {
            *(if is_stdout { &mut output } else { &mut errors }) = bytes;
        }
        if !status.success() {
            // It may have said on stderr what it had on stdout.
            let output = Zeroizing::new(String::from_utf8_lossy(&output).into_owned());
            // Words long enough to be secrets, not prose that it repeats.
            for word in output.split_whitespace().filter(|word| word.len() >= 16) {
                let _known = Secret::new(word.to_owned());
            }
            // Of a ycred that was called, the reason comes before the hint.
            let errors = String::from_utf8_lossy(&errors);
            let last = errors.trim().lines().rfind(|line| !line.starts_with("ycred: hint: ")).unwrap_or_default();
            let last: String = last.chars().take(250).collect();
            let why = if last.is_empty() { format!("{status}, and no message") } else { format!("{status}: {last}") };
            return Err(error_at(Error::refused, why).hint("run the command by hand, and mend what it complains about"));
        }
        if output.len() > LARGEST_OUTPUT {
            return Err(error_at(
                Error::refused,
                format!("printed more than {LARGEST_OUTPUT} bytes, which no token has"),
            ));
        }
        String::from_utf8(std::mem::take(&mut *output)).map(Secret::wrapping).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            error_at(Error::refused, "printed something that is not text".into())
        })
    }
}

/// The program's name alone: arguments may hold what should not be shown.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command {}", self.words.first().map_or("", String::as_str))
    }
}

const LARGEST_OUTPUT: usize = 64 * 1024;

/// How long the last bytes may take from a pipe whose writers are gone.
const PIPES_END: Duration = Duration::from_secs(1);

/// Waits for its end; none where the deadline comes first.
fn wait(child: &mut std::process::Child, cx: &Context<'_>) -> std::io::Result<Option<std::process::ExitStatus>> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if cx.deadline.left(cx.clock).is_zero() {
            return Ok(None);
        }
        cx.clock.sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
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
