//! What every test needs: a sandbox with its own home, a scrubbed environment, and children that cannot outlive the test.
//!
//! Nothing here knows what ycred answers; that is the tests' own business.

#![allow(dead_code, reason = "not every set of tests needs all of it")]

pub mod files;
pub mod machine;
pub mod strace;
pub mod waiting;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The binary under test.
pub const YCRED: &str = env!("CARGO_BIN_EXE_ycred");

/// CI sets this to say that every client program must be there.
const REQUIRE_CLIENTS: &str = "YCRED_TEST_REQUIRE_CLIENTS";

/// Long enough for the slowest client on the busiest machine; a test that gets here has failed.
const LIMIT: Duration = Duration::from_secs(90);

/// A directory with a home, a configuration, a cache and a state of its own, and the environment that children get.
pub struct Sandbox {
    root: TempDir,
    environment: BTreeMap<OsString, OsString>,
    runs: AtomicUsize,
}

impl Sandbox {
    pub fn new() -> Sandbox {
        let root = tempfile::Builder::new().prefix("ycred-").tempdir().expect("a temporary directory");
        let mut sandbox = Sandbox { root, environment: BTreeMap::new(), runs: AtomicUsize::new(0) };
        // `caches` has room for the caches of many runs; it must be there, as ycred looks at every directory above a cache.
        for directory in ["home", "bin", "config", "work", "tmp", "runs", "caches"] {
            make_directory(&sandbox.path(directory));
        }
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let usual = ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from);
        let places = [sandbox.path("bin")].into_iter().chain(std::env::split_paths(&inherited)).chain(usual);
        let path = std::env::join_paths(places).expect("a PATH without colons in its parts");
        sandbox.set("PATH", path);
        sandbox.set("HOME", sandbox.path("home"));
        sandbox.set("TMPDIR", sandbox.path("tmp"));
        sandbox.set("LANG", "C.UTF-8");
        sandbox.set("YCRED_CONFIG_DIR", sandbox.path("config"));
        // ycred makes these two itself, so that its modes are seen and not ours.
        sandbox.set("YCRED_CACHE_DIR", sandbox.path("cache"));
        sandbox.set("YCRED_STATE_DIR", sandbox.path("state"));
        sandbox
    }

    /// A place inside the sandbox: `home`, `config`, `cache`, `state`, `bin`, `work`, `tmp`, or below one of them.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(relative)
    }

    /// Sets a variable for every child from now on.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) -> &mut Sandbox {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Takes a variable from every child from now on.
    pub fn unset(&mut self, name: &str) -> &mut Sandbox {
        self.environment.remove(OsStr::new(name));
        self
    }

    /// Whatever a client tries to send beyond loopback meets a proxy that is not there, instead of the network.
    pub fn seal(&mut self) -> &mut Sandbox {
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            self.set(name, "http://127.0.0.1:1");
        }
        for name in ["NO_PROXY", "no_proxy"] {
            self.set(name, "127.0.0.1,localhost");
        }
        self
    }

    /// Writes `config/NAME.toml`.
    pub fn profile(&self, name: &str, toml: &str) -> PathBuf {
        self.file(format!("config/{name}.toml"), toml)
    }

    /// Writes a file that only its owner may read, making the directories above it.
    pub fn file(&self, relative: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> PathBuf {
        self.write(relative.as_ref(), contents.as_ref(), 0o600)
    }

    /// Writes a program: a script with its `#!` line.
    pub fn script(&self, relative: impl AsRef<Path>, contents: &str) -> PathBuf {
        self.write(relative.as_ref(), contents.as_bytes(), 0o755)
    }

    fn write(&self, relative: &Path, contents: &[u8], mode: u32) -> PathBuf {
        let path = self.path(relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).unwrap_or_else(|error| panic!("{}: {error}", parent.display()));
        }
        let written = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&path).and_then(
            |mut file: File| {
                file.write_all(contents)?;
                file.set_permissions(fs::Permissions::from_mode(mode))
            },
        );
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// A symlink to the binary in `bin`, which is first on PATH: `docker-credential-ycred`, `git-credential-ycred-prod` …
    pub fn link(&self, name: &str) -> PathBuf {
        self.link_at(Path::new("bin").join(name))
    }

    /// The same anywhere in the sandbox.
    pub fn link_at(&self, relative: impl AsRef<Path>) -> PathBuf {
        let path = self.path(relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).unwrap_or_else(|error| panic!("{}: {error}", parent.display()));
        }
        symlink(YCRED, &path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// The binary under test with these arguments.
    pub fn ycred<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Call {
        self.call(YCRED, arguments)
    }

    /// Any program with these arguments, in `work` and with the sandbox's environment.
    pub fn call<A: AsRef<OsStr>>(&self, program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = A>) -> Call {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        Call {
            program: program.as_ref().to_owned(),
            arguments: arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect(),
            environment: self.environment.clone(),
            directory: self.path("work"),
            stdin: None,
            limit: LIMIT,
            stdout: self.path(format!("runs/{number}.out")),
            stderr: self.path(format!("runs/{number}.err")),
        }
    }

    /// Every file below `relative`, for tests that look for what was left behind.
    pub fn files(&self, relative: impl AsRef<Path>) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut pending = vec![self.path(relative)];
        while let Some(directory) = pending.pop() {
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            for entry in entries {
                let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    pending.push(entry.path());
                } else {
                    found.push(entry.path());
                }
            }
        }
        found.sort();
        found
    }
}

fn make_directory(path: &Path) {
    fs::create_dir(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// A program about to run.
#[derive(Clone)]
pub struct Call {
    program: OsString,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    directory: PathBuf,
    stdin: Option<Vec<u8>>,
    limit: Duration,
    // Files, not pipes: a thousand children need no thousand threads to drain them, and none can block on a full pipe.
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Call {
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Call {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// With another call's variables besides.
    pub fn with_environment_of(mut self, other: &Call) -> Call {
        self.environment.extend(other.environment.clone());
        self
    }

    pub fn without(mut self, name: &str) -> Call {
        self.environment.remove(OsStr::new(name));
        self
    }

    /// What the program reads; without this it gets `/dev/null`.
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Call {
        self.stdin = Some(text.into());
        self
    }

    /// With further arguments.
    pub fn and<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Call {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    pub fn within(mut self, directory: impl Into<PathBuf>) -> Call {
        self.directory = directory.into();
        self
    }

    /// Kills it after this long, and fails the test.
    pub fn limit(mut self, limit: Duration) -> Call {
        self.limit = limit;
        self
    }

    /// Starts it in a process group of its own, so that whatever it starts dies with it.
    #[track_caller]
    pub fn start(self) -> Running {
        let create = |path: &Path| File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .current_dir(&self.directory)
            .stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(create(&self.stdout))
            .stderr(create(&self.stderr))
            .process_group(0);
        give_children_default_signals();
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{error}: {}", self.described()));
        if let (Some(mut pipe), Some(text)) = (child.stdin.take(), self.stdin.clone()) {
            // A child that does not read must not block the test; one that has gone already is its own business.
            thread::spawn(move || drop(pipe.write_all(&text)));
        }
        Running { child, call: self, started, done: false }
    }

    #[track_caller]
    pub fn run(self) -> Run {
        self.start().finish()
    }

    fn described(&self) -> String {
        let mut text = String::from("$");
        for (name, value) in &self.environment {
            text += &format!(" {}={:?}", name.to_string_lossy(), value.to_string_lossy());
        }
        text += &format!(" {}", self.program.to_string_lossy());
        for argument in &self.arguments {
            text += &format!(" {:?}", argument.to_string_lossy());
        }
        if let Some(stdin) = &self.stdin {
            text += &format!("\n  stdin: {:?}", String::from_utf8_lossy(stdin));
        }
        text
    }
}

/// Makes children start with the default action for signals that this process was started to ignore, as under `nohup`: a
/// handler, unlike an ignored signal, is not inherited. This process goes on ignoring them.
fn give_children_default_signals() {
    static ONCE: Once = Once::new();
    extern "C" fn nothing(_: libc::c_int) {}
    ONCE.call_once(|| {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
            // SAFETY: the handler does nothing, so it may run at any time; `signal` restarts interrupted calls.
            unsafe {
                let former = libc::signal(signal, libc::SIG_IGN);
                let new = if former == libc::SIG_IGN { nothing as *const () as libc::sighandler_t } else { former };
                libc::signal(signal, new);
            }
        }
    });
}

/// A program that runs. Dropped, it is killed with all that it started.
pub struct Running {
    child: Child,
    call: Call,
    started: Instant,
    done: bool,
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the process alone, not to its group.
    pub fn signal(&self, signal: i32) {
        if !self.done {
            let id = i32::try_from(self.child.id()).expect("a process id");
            // SAFETY: the child is ours and not yet waited for, so the id is its own.
            unsafe { libc::kill(id, signal) };
        }
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        text_of(&self.call.stdout)
    }

    pub fn stderr(&self) -> String {
        text_of(&self.call.stderr)
    }

    /// Waits for its end, or kills it when its time is over, which fails the test.
    #[track_caller]
    pub fn finish(mut self) -> Run {
        let mut pause = Duration::from_micros(200);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("waiting for our own child") {
                break status;
            }
            if self.started.elapsed() > self.call.limit {
                self.kill();
                let run = self.outcome(ExitStatus::from_raw(libc::SIGKILL));
                panic!("killed after {:?}, as it had not ended\n{run}", self.call.limit);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        };
        self.done = true;
        self.outcome(status)
    }

    fn outcome(&self, status: ExitStatus) -> Run {
        Run {
            command: self.call.described(),
            status,
            took: self.started.elapsed(),
            stdout: text_of(&self.call.stdout),
            stderr: text_of(&self.call.stderr),
        }
    }

    fn kill(&mut self) {
        if !self.done {
            let group = i32::try_from(self.child.id()).expect("a process id");
            // SAFETY: the group is the one that the child was started in, and the child is not yet waited for.
            unsafe { libc::kill(-group, libc::SIGKILL) };
            let _ = self.child.wait();
            self.done = true;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts all of them before it waits for any.
#[track_caller]
pub fn run_all(calls: impl IntoIterator<Item = Call>) -> Vec<Run> {
    let running: Vec<Running> = calls.into_iter().map(Call::start).collect();
    running.into_iter().map(Running::finish).collect()
}

fn text_of(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// What became of a program.
#[derive(Clone)]
pub struct Run {
    pub command: String,
    pub status: ExitStatus,
    pub took: Duration,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// It exited 0.
    #[track_caller]
    pub fn succeeds(self) -> Run {
        assert!(self.status.success(), "expected success\n{self}");
        self
    }

    /// It exited with this code, and not by a signal.
    #[track_caller]
    pub fn exits(self, code: i32) -> Run {
        assert_eq!(self.status.code(), Some(code), "expected exit code {code}\n{self}");
        self
    }

    /// It exited with some code other than 0, and not by a signal.
    #[track_caller]
    pub fn fails(self) -> Run {
        assert!(self.status.code().is_some_and(|code| code != 0), "expected failure\n{self}");
        self
    }

    /// It printed nothing for people.
    #[track_caller]
    pub fn quietly(self) -> Run {
        assert_eq!(self.stderr, "", "expected nothing on stderr\n{self}");
        self
    }

    #[track_caller]
    pub fn stdout_is(self, text: &str) -> Run {
        assert_eq!(self.stdout, text, "unexpected stdout\n{self}");
        self
    }

    #[track_caller]
    pub fn stdout_has(self, text: &str) -> Run {
        assert!(self.stdout.contains(text), "expected {text:?} in stdout\n{self}");
        self
    }

    #[track_caller]
    pub fn stderr_has(self, text: &str) -> Run {
        assert!(self.stderr.contains(text), "expected {text:?} in stderr\n{self}");
        self
    }

    /// Neither stream holds this text; for secrets.
    #[track_caller]
    pub fn never_says(self, text: &str) -> Run {
        assert!(!self.stdout.contains(text) && !self.stderr.contains(text), "did not expect {text:?}\n{self}");
        self
    }

    /// Without what `ycred login` tells while it waits: the address and what to do with it.
    pub fn without_address(mut self) -> Run {
        let is_known = |line: &&str| {
            ["ycred: error: ", "ycred: hint: ", "ycred: warning: "].iter().any(|start| line.starts_with(start))
        };
        self.stderr = self.stderr.lines().filter(is_known).map(|line| format!("{line}\n")).collect();
        self
    }

    /// The lines of stderr that begin so.
    pub fn lines_of_stderr(&self, start: &str) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with(start)).collect()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.command)?;
        writeln!(f, "  {} after {:.1?}", self.status, self.took)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if text.is_empty() {
                writeln!(f, "  {name}: (empty)")?;
            } else {
                writeln!(f, "  {name}:")?;
                for line in text.lines() {
                    writeln!(f, "    {line}")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a program stands on PATH.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0))
}

/// Where a client program stands. Absent, the test says so and is over; where all clients must be there, it fails.
#[track_caller]
pub fn require_client(name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        skip(&format!("{name} is not on PATH"));
    }
    found
}

/// Says that a test cannot run here; where all clients must be there, that is a failure.
#[track_caller]
pub fn skip(reason: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    assert!(
        std::env::var_os(REQUIRE_CLIENTS).is_none_or(|value| value.is_empty()),
        "{test}: {reason}, and {REQUIRE_CLIENTS} is set"
    );
    // Straight to the descriptor: what goes through `eprintln!` is hidden when the test passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}

/// Says how often something was tried that must never cost a token, once it has been shown that it did not: a row of the table
/// in `docs/robustness.md`, which `.ci/run` prints anew and compares.
pub fn tried(what: &str, times: usize) {
    assert!(times > 0, "{what} was not tried at all");
    // Straight to the descriptor, as in [`skip`].
    let _ = writeln!(std::io::stderr(), "TRIED\t{what}\t{times}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_see_the_sandbox_and_nothing_of_the_machine() {
        let mut sandbox = Sandbox::new();
        sandbox.set("ONE", "1").set("TWO", "2").unset("TWO");
        let run = sandbox.call("/usr/bin/env", [""; 0]).env("THREE", "3").without("LANG").run().succeeds().quietly();
        let names: Vec<&str> = run.stdout.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        let expected =
            ["HOME", "ONE", "PATH", "THREE", "TMPDIR", "YCRED_CACHE_DIR", "YCRED_CONFIG_DIR", "YCRED_STATE_DIR"];
        assert_eq!(names, expected);
    }

    #[test]
    fn children_ignore_no_signal_that_this_process_ignores() {
        let run = Sandbox::new().call("sed", ["-n", "s/^SigIgn:\t//p", "/proc/self/status"]).run().succeeds();
        let mask = u64::from_str_radix(run.stdout.trim(), 16).expect("a mask");
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
            assert_eq!(mask & (1 << (signal - 1)), 0, "signal {signal} is ignored\n{run}");
        }
    }

    #[test]
    fn children_read_what_they_are_given_and_start_in_work() {
        let sandbox = Sandbox::new();
        let run = sandbox.call("sh", ["-c", "cat; pwd"]).stdin("given\n").run().succeeds();
        let work = sandbox.path("work").canonicalize().expect("the directory");
        assert_eq!(run.stdout, format!("given\n{}\n", work.display()));
    }

    #[test]
    #[should_panic(expected = "as it had not ended")]
    fn a_child_that_does_not_end_is_killed_with_its_own_children_and_fails_the_test() {
        let sandbox = Sandbox::new();
        sandbox.call("sh", ["-c", "sleep 1000 & sleep 1000"]).limit(Duration::from_millis(200)).run();
    }

    #[test]
    fn what_a_child_has_started_dies_when_the_child_is_let_go() {
        let sandbox = Sandbox::new();
        let running = sandbox.call("sh", ["-c", "sleep 1000 & echo $!; wait"]).start();
        let end = Instant::now() + LIMIT;
        while !running.stdout().ends_with('\n') {
            assert!(Instant::now() < end, "the child did not start");
            thread::sleep(Duration::from_millis(5));
        }
        let grandchild = PathBuf::from(format!("/proc/{}/stat", running.stdout().trim()));
        drop(running);
        // Dead or a zombie, if nobody collects it: what the third field says.
        let gone = || fs::read_to_string(&grandchild).map_or(true, |stat| stat.contains(") Z "));
        while !gone() {
            assert!(Instant::now() < end, "it lives on");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn many_children_run_at_once() {
        let sandbox = Sandbox::new();
        let runs = run_all((0..50).map(|number| sandbox.call("echo", [number.to_string()])));
        let said: Vec<String> = runs.into_iter().map(|run| run.succeeds().stdout).collect();
        assert_eq!(said, (0..50).map(|number| format!("{number}\n")).collect::<Vec<_>>());
    }

    #[test]
    fn the_files_of_a_profile_are_its_owners_alone() {
        let sandbox = Sandbox::new();
        let mode = |path: PathBuf| fs::metadata(path).expect("the file").permissions().mode() & 0o777;
        assert_eq!(mode(sandbox.profile("default", "")), 0o600);
        assert_eq!(mode(sandbox.script("bin/x", "")), 0o755);
        assert_eq!(mode(sandbox.path("config")), 0o700);
    }
}
