//! Sandboxes and child processes for the tests.
//!
//! A sandbox has its own home directory and a minimal environment. Its child processes cannot outlive the test. Nothing
//! here depends on the replies of ycred.

#![allow(dead_code, reason = "not every suite uses all of it")]

pub mod control;
pub mod dns;
pub mod files;
pub mod leftovers;
pub mod literals;
pub mod machine;
pub mod previous;
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

/// The binary under test: the one that cargo has built, or the one in `YCRED_TEST_BINARY` while the tests are compiled.
///
/// `YCRED_TEST_BINARY=/path/to/ycred cargo test --test integration` compiles this file again if the variable has changed.
pub const YCRED: &str = match option_env!("YCRED_TEST_BINARY") {
    Some(path) => path,
    None => env!("CARGO_BIN_EXE_ycred"),
};

/// The binary under test was built elsewhere: it is a release build, without what debug builds add for tests.
pub const IS_SHIPPED: bool = option_env!("YCRED_TEST_BINARY").is_some();

/// CI sets this variable to require every client program.
const REQUIRE_CLIENTS: &str = "YCRED_TEST_REQUIRE_CLIENTS";

/// How long a program may run before it is killed and the test fails. Generous enough for the slowest client on a busy
/// machine.
const LIMIT: Duration = Duration::from_secs(90);

/// A temporary directory with its own home, configuration, cache and state, and the environment of child processes.
pub struct Sandbox {
    root: TempDir,
    environment: BTreeMap<OsString, OsString>,
    runs: AtomicUsize,
}

impl Sandbox {
    pub fn new() -> Sandbox {
        leftovers::look_at_the_end_of_the_run();
        let root = tempfile::Builder::new().prefix("ycred-").tempdir().expect("a temporary directory");
        let mut sandbox = Sandbox { root, environment: BTreeMap::new(), runs: AtomicUsize::new(0) };
        // `caches` is for tests that need many caches. It must exist, because ycred checks every directory above a
        // cache.
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
        // ycred creates these two, so that tests see the modes that it sets.
        sandbox.set("YCRED_CACHE_DIR", sandbox.path("cache"));
        sandbox.set("YCRED_STATE_DIR", sandbox.path("state"));
        sandbox
    }

    /// Returns a path inside the sandbox: `home`, `config`, `cache`, `state`, `bin`, `work`, `tmp`, or below one of
    /// them.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(relative)
    }

    /// Sets a variable for every child process that starts from now on.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) -> &mut Sandbox {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Removes a variable for every child process that starts from now on.
    pub fn unset(&mut self, name: &str) -> &mut Sandbox {
        self.environment.remove(OsStr::new(name));
        self
    }

    /// Keeps clients off the network: for any host beyond loopback, the proxy variables name a port that refuses
    /// connections.
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

    /// Writes a profile that supplies the token `t1.NAME.x` and needs no network.
    pub fn static_profile(&self, name: &str) {
        self.file(format!("config/{name}.token"), format!("t1.{name}.x\n"));
        self.profile(name, &format!("source = \"static\"\ntoken-file = \"{name}.token\"\n"));
    }

    /// Returns a sandbox with these profiles; see [`Self::static_profile`].
    pub fn with_profiles(names: &[&str]) -> Self {
        let sandbox = Self::new();
        names.iter().for_each(|name| sandbox.static_profile(name));
        sandbox
    }

    /// Writes a file with mode 0600 and creates the directories above it.
    pub fn file(&self, relative: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> PathBuf {
        self.write(relative.as_ref(), contents.as_ref(), 0o600)
    }

    /// Writes an executable script. `contents` starts with the `#!` line.
    pub fn script(&self, relative: impl AsRef<Path>, contents: &str) -> PathBuf {
        let path = self.path(relative);
        let name = path.file_name().expect("a name").to_string_lossy();
        let written = self.write(&path.with_file_name(format!(".{name}.written")), contents.as_bytes(), 0o600);
        // Another process writes it: a child that another thread starts meanwhile would inherit the open file for a moment, and
        // the script could not be run ("Text file busy").
        let status = Command::new("install").args(["-m", "755"]).args([&written, &path]).status().expect("install");
        assert!(status.success(), "{}: {status}", path.display());
        fs::remove_file(&written).expect("the written file");
        path
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

    /// Creates a symlink to the binary in `bin`, which is first in PATH: `docker-credential-ycred`,
    /// `git-credential-ycred-prod` …
    pub fn link(&self, name: &str) -> PathBuf {
        self.link_at(Path::new("bin").join(name))
    }

    /// Creates a symlink to the binary anywhere in the sandbox.
    pub fn link_at(&self, relative: impl AsRef<Path>) -> PathBuf {
        let path = self.path(relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).unwrap_or_else(|error| panic!("{}: {error}", parent.display()));
        }
        symlink(YCRED, &path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Returns a call of the binary under test with these arguments.
    pub fn ycred<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Call {
        self.call(YCRED, arguments)
    }

    /// Returns a call of any program, in `work` and with the environment of the sandbox.
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

    /// Returns every file below `relative`, sorted.
    pub fn files(&self, relative: impl AsRef<Path>) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut pending = vec![self.path(relative)];
        while let Some(directory) = pending.pop() {
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            for entry in entries {
                let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    pending.push(entry.path());
                } else {
                    files.push(entry.path());
                }
            }
        }
        files.sort();
        files
    }
}

fn make_directory(path: &Path) {
    fs::create_dir(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// A program, its arguments and its environment, ready to start.
#[derive(Clone)]
pub struct Call {
    program: OsString,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    directory: PathBuf,
    stdin: Option<Vec<u8>>,
    limit: Duration,
    // Files instead of pipes: no child process can block on a full pipe, and no threads are needed to drain a thousand
    // pipes.
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Call {
    /// Sets a variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Call {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Adds the variables of another call.
    pub fn with_environment_of(mut self, other: &Call) -> Call {
        self.environment.extend(other.environment.clone());
        self
    }

    /// Removes a variable.
    pub fn without(mut self, name: &str) -> Call {
        self.environment.remove(OsStr::new(name));
        self
    }

    /// Sets stdin. The default is `/dev/null`.
    pub fn stdin(mut self, content: impl Into<Vec<u8>>) -> Call {
        self.stdin = Some(content.into());
        self
    }

    /// Adds arguments.
    pub fn and<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Call {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Makes another program run this one.
    pub fn under(mut self, program: impl Into<OsString>, arguments: &[&str]) -> Call {
        let inner = std::mem::replace(&mut self.program, program.into());
        self.arguments.splice(0..0, arguments.iter().map(OsString::from).chain([inner]));
        self
    }

    /// Sets the working directory.
    pub fn within(mut self, directory: impl Into<PathBuf>) -> Call {
        self.directory = directory.into();
        self
    }

    /// Sets the time after which the program is killed and the test fails.
    pub fn limit(mut self, limit: Duration) -> Call {
        self.limit = limit;
        self
    }

    /// Starts the program in its own process group, so that its children can be killed with it.
    #[track_caller]
    pub fn start(self) -> Running {
        let create = |path: &Path| File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (stdout, stderr) = (create(&self.stdout).into(), create(&self.stderr).into());
        self.start_with(stdout, stderr)
    }

    #[track_caller]
    fn start_with(self, stdout: Stdio, stderr: Stdio) -> Running {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .current_dir(&self.directory)
            .stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0);
        give_children_default_signals();
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{error}: {}", self.description()));
        leftovers::kill_with_this_process(child.id());
        if let (Some(mut pipe), Some(content)) = (child.stdin.take(), self.stdin.clone()) {
            // On a thread, because the program may not read its stdin. If the program has exited, the write fails, which
            // does not matter.
            thread::spawn(move || drop(pipe.write_all(&content)));
        }
        Running { child, call: self, started, is_done: false }
    }

    /// Starts the program and waits until it exits.
    #[track_caller]
    pub fn run(self) -> Run {
        self.start().finish()
    }

    fn description(&self) -> String {
        let mut description = String::from("$");
        for (name, value) in &self.environment {
            description += &format!(" {}={:?}", name.to_string_lossy(), value.to_string_lossy());
        }
        description += &format!(" {}", self.program.to_string_lossy());
        for argument in &self.arguments {
            description += &format!(" {:?}", argument.to_string_lossy());
        }
        if let Some(stdin) = &self.stdin {
            description += &format!("\n  stdin: {:?}", String::from_utf8_lossy(stdin));
        }
        description
    }
}

/// Makes child processes start with the default action for signals that this process inherited as ignored, as under
/// `nohup`.
///
/// Replaces "ignore" by a handler that does nothing. Unlike an ignored signal, a handler is not inherited.
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

/// A running program. Dropping it kills its process group.
pub struct Running {
    child: Child,
    call: Call,
    started: Instant,
    is_done: bool,
}

impl Running {
    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the process alone, not to its group.
    pub fn signal(&self, signal: i32) {
        if !self.is_done {
            let id = i32::try_from(self.child.id()).expect("a process id");
            // SAFETY: `kill` touches no memory. The child has not been waited for, so the id still belongs to it.
            unsafe { libc::kill(id, signal) };
        }
    }

    /// Sends a signal to the process and to those that it started, as far as they have stayed in its group.
    pub fn signal_group(&self, signal: i32) {
        if !self.is_done {
            let group = i32::try_from(self.child.id()).expect("a process id");
            // SAFETY: `kill` touches no memory. The child started its own group and has not been waited for, so the id
            // is its own.
            unsafe { libc::kill(-group, signal) };
        }
    }

    /// Returns what the program has printed so far.
    pub fn stdout(&self) -> String {
        read_lossy(&self.call.stdout)
    }

    pub fn stderr(&self) -> String {
        read_lossy(&self.call.stderr)
    }

    /// Waits until the program exits. At its time limit, kills it and fails the test.
    #[track_caller]
    pub fn finish(mut self) -> Run {
        let mut pause = Duration::from_micros(200);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the state of the child process") {
                break status;
            }
            if self.started.elapsed() > self.call.limit {
                self.kill();
                let run = self.outcome(ExitStatus::from_raw(libc::SIGKILL));
                panic!("killed after {:?}, still running\n{run}", self.call.limit);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        };
        self.is_over();
        self.outcome(status)
    }

    fn outcome(&self, status: ExitStatus) -> Run {
        Run {
            command: self.call.description(),
            status,
            took: self.started.elapsed(),
            stdout: read_lossy(&self.call.stdout),
            stderr: read_lossy(&self.call.stderr),
        }
    }

    fn kill(&mut self) {
        if !self.is_done {
            self.signal_group(libc::SIGKILL);
            let _ = self.child.wait();
            self.is_over();
        }
    }

    fn is_over(&mut self) {
        self.is_done = true;
        leftovers::is_over(self.child.id());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts all programs, then waits for each.
#[track_caller]
pub fn run_all(calls: impl IntoIterator<Item = Call>) -> Vec<Run> {
    let running: Vec<Running> = calls.into_iter().map(Call::start).collect();
    running.into_iter().map(Running::finish).collect()
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The result of a program: its exit status and its output.
#[derive(Clone)]
pub struct Run {
    pub command: String,
    pub status: ExitStatus,
    pub took: Duration,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Checks that it exited with code 0.
    #[track_caller]
    pub fn succeeds(self) -> Run {
        assert!(self.status.success(), "expected success\n{self}");
        self
    }

    /// Checks that it exited with this code, and not by a signal.
    #[track_caller]
    pub fn exits(self, code: i32) -> Run {
        assert_eq!(self.status.code(), Some(code), "expected exit code {code}\n{self}");
        self
    }

    /// Checks that it exited with a code other than 0, and not by a signal.
    #[track_caller]
    pub fn fails(self) -> Run {
        assert!(self.status.code().is_some_and(|code| code != 0), "expected failure\n{self}");
        self
    }

    /// Checks that stderr is empty.
    #[track_caller]
    pub fn stderr_is_empty(self) -> Run {
        assert_eq!(self.stderr, "", "expected nothing on stderr\n{self}");
        self
    }

    /// Checks that stdout equals this string.
    #[track_caller]
    pub fn stdout_is(self, expected: &str) -> Run {
        assert_eq!(self.stdout, expected, "unexpected stdout\n{self}");
        self
    }

    /// Checks that stdout contains this string.
    #[track_caller]
    pub fn stdout_has(self, part: &str) -> Run {
        assert!(self.stdout.contains(part), "expected {part:?} in stdout\n{self}");
        self
    }

    /// Checks that stderr contains this string.
    #[track_caller]
    pub fn stderr_has(self, part: &str) -> Run {
        assert!(self.stderr.contains(part), "expected {part:?} in stderr\n{self}");
        self
    }

    /// Checks that neither stream contains this secret.
    #[track_caller]
    pub fn never_prints(self, secret: &str) -> Run {
        assert!(!self.stdout.contains(secret) && !self.stderr.contains(secret), "did not expect {secret:?}\n{self}");
        self
    }

    /// Removes from stderr what `ycred login` prints while it waits: the URL and the instructions.
    pub fn without_address(mut self) -> Run {
        let has_label = |line: &&str| {
            ["ycred: error: ", "ycred: hint: ", "ycred: warning: "].iter().any(|label| line.starts_with(label))
        };
        self.stderr = self.stderr.lines().filter(has_label).map(|line| format!("{line}\n")).collect();
        self
    }

    /// Returns the lines of stderr that start with this string.
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

/// Finds an executable in PATH.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0))
}

/// Finds a client program in PATH. If it is missing, calls [`skip`] and returns `None`.
#[track_caller]
pub fn require_client(name: &str) -> Option<PathBuf> {
    let program = find(name);
    if program.is_none() {
        skip(&format!("{name} is not in PATH"));
    }
    program
}

/// Reports that a test is skipped. Fails the test instead if [`REQUIRE_CLIENTS`] is set.
#[track_caller]
pub fn skip(reason: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    assert!(
        std::env::var_os(REQUIRE_CLIENTS).is_none_or(|value| value.is_empty()),
        "{test}: {reason}, and {REQUIRE_CLIENTS} is set"
    );
    // Not `eprintln!`: the test runner captures it, and hides it if the test passes.
    let _ = std::io::stderr().write_all(format!("SKIPPED {test}: {reason}\n").as_bytes());
}

/// CI sets this variable to a file for the rows of [`report_faults`].
const ROWS: &str = "YCRED_TEST_ROWS";

/// Reports how many injected faults cost no token: a row of the table in `docs/robustness.md`.
///
/// Call it after the assertions. `.ci/run` prints the rows and compares them with the page.
pub fn report_faults(what: &str, times: usize) {
    assert!(times > 0, "{what} was never tried");
    // Each row is one write, because other tests write at the same time. Not `eprintln!`, as in [`skip`].
    let row = format!("{what}\t{times}\n");
    let _ = std::io::stderr().write_all(format!("TRIED\t{row}").as_bytes());
    if let Some(path) = std::env::var_os(ROWS) {
        let file = OpenOptions::new().append(true).create(true).open(&path);
        file.and_then(|mut file| file.write_all(row.as_bytes())).expect("the file that YCRED_TEST_ROWS names");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_see_only_the_environment_of_the_sandbox() {
        let mut sandbox = Sandbox::new();
        sandbox.set("ONE", "1").set("TWO", "2").unset("TWO");
        let run =
            sandbox.call("/usr/bin/env", [""; 0]).env("THREE", "3").without("LANG").run().succeeds().stderr_is_empty();
        let names: Vec<&str> = run.stdout.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        let expected =
            ["HOME", "ONE", "PATH", "THREE", "TMPDIR", "YCRED_CACHE_DIR", "YCRED_CONFIG_DIR", "YCRED_STATE_DIR"];
        assert_eq!(names, expected);
    }

    #[test]
    fn the_binary_under_test_is_the_one_that_was_asked_for() {
        if let Some(path) = std::env::var_os("YCRED_TEST_BINARY") {
            assert_eq!(path, YCRED, "set YCRED_TEST_BINARY for `cargo test`, not for the test binary alone");
        }
        assert!(Path::new(YCRED).is_absolute() && Path::new(YCRED).exists(), "{YCRED}");
    }

    #[test]
    fn children_do_not_inherit_ignored_signals() {
        let run = Sandbox::new().call("sed", ["-n", "s/^SigIgn:\t//p", "/proc/self/status"]).run().succeeds();
        let mask = u64::from_str_radix(run.stdout.trim(), 16).expect("a mask");
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
            assert_eq!(mask & (1 << (signal - 1)), 0, "signal {signal} is ignored\n{run}");
        }
    }

    #[test]
    fn children_read_the_given_stdin_and_start_in_work() {
        let sandbox = Sandbox::new();
        let run = sandbox.call("sh", ["-c", "cat; pwd"]).stdin("given\n").run().succeeds();
        let work = sandbox.path("work").canonicalize().expect("the directory");
        assert_eq!(run.stdout, format!("given\n{}\n", work.display()));
    }

    #[test]
    #[should_panic(expected = "still running")]
    fn a_child_that_does_not_exit_is_killed_with_its_children_and_fails_the_test() {
        let sandbox = Sandbox::new();
        sandbox.call("sh", ["-c", "sleep 1000 & sleep 1000"]).limit(Duration::from_millis(200)).run();
    }

    #[test]
    fn dropping_a_child_kills_the_processes_that_it_started() {
        let sandbox = Sandbox::new();
        let running = sandbox.call("sh", ["-c", "sleep 1000 & echo $!; wait"]).start();
        let end = Instant::now() + LIMIT;
        while !running.stdout().ends_with('\n') {
            assert!(Instant::now() < end, "the child did not start");
            thread::sleep(Duration::from_millis(5));
        }
        let grandchild = PathBuf::from(format!("/proc/{}/stat", running.stdout().trim()));
        drop(running);
        // A process that nobody waits for becomes a zombie, which has Z in the third field.
        let is_gone = || fs::read_to_string(&grandchild).map_or(true, |stat| stat.contains(") Z "));
        while !is_gone() {
            assert!(Instant::now() < end, "the grandchild is still running");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn many_children_run_at_once() {
        let sandbox = Sandbox::new();
        let runs = run_all((0..50).map(|number| sandbox.call("echo", [number.to_string()])));
        let outputs: Vec<String> = runs.into_iter().map(|run| run.succeeds().stdout).collect();
        assert_eq!(outputs, (0..50).map(|number| format!("{number}\n")).collect::<Vec<_>>());
    }

    #[test]
    fn profiles_and_their_directory_are_private() {
        let sandbox = Sandbox::new();
        let mode = |path: PathBuf| fs::metadata(path).expect("the file").permissions().mode() & 0o777;
        assert_eq!(mode(sandbox.profile("default", "")), 0o600);
        assert_eq!(mode(sandbox.script("bin/x", "")), 0o755);
        assert_eq!(mode(sandbox.path("config")), 0o700);
    }
}
