//! A directory with a copy of the program, a configuration and an emulator, and calls of the program in it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use ycred_emulator::{Config, Emulator, TOKENS};

/// How long a program may run before it is killed and the test fails.
const LIMIT: Duration = Duration::from_secs(120);

/// A machine for one test.
pub struct Machine {
    root: TempDir,
    pub emulator: Emulator,
    environment: BTreeMap<OsString, OsString>,
}

/// The program under test. The default is the one that cargo has built.
const PROGRAM: &str = "YCRED_TEST_PORTABLE";

/// Returns the program under test.
fn program_under_test() -> PathBuf {
    std::env::var_os(PROGRAM).map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_ycred")), PathBuf::from)
}

/// Returns true if the program under test runs under Wine.
pub fn is_under_wine() -> bool {
    !cfg!(windows) && program_under_test().extension().is_some_and(|extension| extension == "exe")
}

/// Returns true if the program under test is one for Windows.
pub fn is_windows() -> bool {
    cfg!(windows) || is_under_wine()
}

impl Machine {
    /// Creates a machine with a profile `default` of source `authorized-key`, whose lines end with CRLF.
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("ycred win ").tempdir().expect("a temporary directory");
        let machine = Self { root, emulator: Emulator::start(Config::default()), environment: BTreeMap::new() }
            .with_directories();
        machine.profile("default", "key.json");
        machine
    }

    fn with_directories(mut self) -> Self {
        for directory in ["bin", "config", "home", "work"] {
            fs::create_dir(self.path(directory)).expect("a directory");
            only_for_owner(&self.path(directory));
        }
        for (name, directory) in
            [("YCRED_CONFIG_DIR", "config"), ("YCRED_CACHE_DIR", "cache"), ("YCRED_STATE_DIR", "state")]
        {
            self.set(name, self.shown(self.path(directory)));
        }
        self.program(&self.program_name("ycred"));
        self
    }

    /// Returns a path below the machine's directory, in the form of the system that runs the tests.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(relative)
    }

    /// Returns a path in the form of Windows: with a drive and backslashes.
    pub fn shown(&self, path: impl AsRef<Path>) -> String {
        let path = path.as_ref().to_str().expect("UTF-8");
        if is_under_wine() { format!("Z:{}", path.replace('/', "\\")) } else { path.to_owned() }
    }

    /// Sets a variable for every program.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.insert(name.into(), value.into());
    }

    /// Writes a file that only its owner can read.
    pub fn file(&self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, content).expect("written");
        only_for_owner(&path);
        path
    }

    /// Writes a profile for a new key in `key_file`, which is as the profile names it.
    pub fn profile(&self, name: &str, key_file: &str) {
        let key = self.emulator.new_service_account_key();
        self.file(
            format!("config/{}", key_file.rsplit(['\\', '/']).next().expect("a name")),
            key.file().json().replace('\n', "\r\n"),
        );
        let url = self.emulator.url();
        let lines =
            ["source = \"authorized-key\"", &format!("key-file = '{key_file}'"), &format!("iam-url = \"{url}\"")];
        self.file(format!("config/{name}.toml"), lines.join("\r\n"));
    }

    /// Returns the name of the file for one of ycred's names.
    pub fn program_name(&self, name: &str) -> String {
        if is_windows() { format!("{name}.exe") } else { name.to_owned() }
    }

    /// Returns the path of one of ycred's names.
    pub fn program_path(&self, name: &str) -> PathBuf {
        self.path("bin").join(self.program_name(name))
    }

    /// Adds a copy of the program in `bin`, which is first in `PATH`.
    pub fn program(&self, name: &str) -> PathBuf {
        let path = self.path("bin").join(name);
        fs::copy(program_under_test(), &path).expect("a copy");
        if let Some(library) = std::env::var_os("YCRED_TEST_WINE_DLL") {
            fs::copy(library, self.path("bin/bcryptprimitives.dll")).expect("a copy");
        }
        path
    }

    /// Copies the program into another directory.
    pub fn copy_to(&self, directory: &Path) -> PathBuf {
        let path = directory.join(self.program_name("ycred"));
        fs::copy(self.program_path("ycred"), &path).expect("a copy");
        if let Some(library) = std::env::var_os("YCRED_TEST_WINE_DLL") {
            fs::copy(library, directory.join("bcryptprimitives.dll")).expect("a copy");
        }
        path
    }

    /// Returns a call of `ycred`.
    pub fn ycred(&self, arguments: &[&str]) -> Call {
        self.call(&self.program_path("ycred"), arguments)
    }

    /// Returns a call of a program.
    pub fn call(&self, program: &Path, arguments: &[&str]) -> Call {
        let mut command = if is_under_wine() { Command::new("wine") } else { Command::new(program) };
        if is_under_wine() {
            command.arg(program).env_clear();
            for name in ["PATH", "HOME", "WINEPREFIX", "WINEDEBUG"] {
                command.envs(std::env::var_os(name).map(|value| (name, value)));
            }
            // Wine puts these directories in front of PATH.
            command.env("WINEPATH", self.shown(self.path("bin")));
        } else {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let directories = std::iter::once(self.path("bin")).chain(std::env::split_paths(&path));
            if cfg!(unix) {
                command.env_clear().env("HOME", self.path("home"));
            }
            command.env("PATH", std::env::join_paths(directories).expect("no quotes"));
        }
        command.args(arguments).envs(&self.environment).current_dir(self.path("work"));
        Call { command, stdin: None }
    }

    /// Returns the number of token requests.
    pub fn requests(&self) -> usize {
        self.emulator.requests(TOKENS)
    }

    /// Returns the files of the cache.
    #[cfg(unix)]
    pub fn cache(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("cache/v1")).into_iter().flatten();
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }

    /// Checks that the output is one token that the cloud has issued.
    #[track_caller]
    pub fn assert_token(&self, run: &Run) -> String {
        run.assert(0);
        let token = run.stdout.trim_end().to_owned();
        assert!(self.emulator.tokens().contains(&token), "expected a token of the emulator\n{run:?}");
        token
    }
}

/// Takes the access of others away. On Windows, a temporary directory is private already.
pub fn only_for_owner(path: &Path) {
    set_mode(path, if path.is_dir() { 0o700 } else { 0o600 });
}

/// Sets the mode, which Wine shows as an access control list.
#[cfg(unix)]
pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}

#[cfg(windows)]
pub fn set_mode(_: &Path, _: u32) {}

/// A program with its arguments, ready to start.
pub struct Call {
    command: Command,
    stdin: Option<Vec<u8>>,
}

impl Call {
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub fn stdin(mut self, content: &str) -> Self {
        self.stdin = Some(content.as_bytes().to_vec());
        self
    }

    /// Passes the program and its arguments to another program, which runs it.
    #[cfg(unix)]
    pub fn run_by(mut self, runner: &[&str]) -> Self {
        let mut command = Command::new(runner[0]);
        command.args(&runner[1..]).arg(self.command.get_program()).args(self.command.get_args()).env_clear();
        for (name, value) in self.command.get_envs() {
            command.envs(value.map(|value| (name, value)));
        }
        command.current_dir(self.command.get_current_dir().expect("a directory"));
        self.command = command;
        self
    }

    /// Starts the program. It is killed with the test.
    pub fn start(mut self) -> Running {
        self.command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        if let (Some(mut pipe), Some(content)) = (child.stdin.take(), self.stdin) {
            pipe.write_all(&content).expect("a short request fits into the pipe");
        }
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Running { outputs: Some([Output::of(stdout.expect("a pipe")), Output::of(stderr.expect("a pipe"))]), child }
    }

    pub fn run(self) -> Run {
        self.start().finish()
    }
}

/// The output of a running program.
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Output {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let thread = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut piece) {
                shared.lock().expect("no panic").extend_from_slice(&piece[..count]);
            }
        });
        Self { bytes, thread }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("no panic")).into_owned()
    }
}

/// Waits until a condition holds.
#[track_caller]
pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LIMIT, "the condition does not hold in time");
        sleep(Duration::from_millis(10));
    }
}

/// A running program.
pub struct Running {
    child: Child,
    outputs: Option<[Output; 2]>,
}

impl Running {
    /// Returns what the program has printed on stderr so far.
    pub fn stderr(&self) -> String {
        self.outputs.as_ref().map(|[_, stderr]| stderr.text()).unwrap_or_default()
    }

    /// Returns what the program has printed on stdout so far.
    #[cfg(unix)]
    pub fn stdout(&self) -> String {
        self.outputs.as_ref().map(|[stdout, _]| stdout.text()).unwrap_or_default()
    }

    /// Ends the program without any warning.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until the program exits.
    pub fn finish(mut self) -> Run {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(began.elapsed() < LIMIT, "the program does not end");
            sleep(Duration::from_millis(5));
        };
        let [stdout, stderr] = self.outputs.take().expect("not taken").map(|output| {
            wait_until(|| output.thread.is_finished());
            output.text()
        });
        Run { code: status.code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a program has printed, and its exit code.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Checks the exit code.
    #[track_caller]
    pub fn assert(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Checks that stderr contains a string.
    #[track_caller]
    pub fn says(&self, part: &str) -> &Self {
        assert!(self.stderr.contains(part), "expected {part:?}\n{self:?}");
        self
    }

    /// Checks that stderr is empty.
    #[track_caller]
    pub fn is_silent(&self) -> &Self {
        assert_eq!(self.stderr, "", "{self:?}");
        self
    }
}
