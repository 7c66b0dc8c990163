//! A hostile world: processes killed at every step, disks that fail at every call, homes that are none, closed and full
//! channels, look-alike hosts, and whoever would like to see a secret.
//!
//! What must hold is the promise: no trouble with the cache, the disk or the channel ever costs a token that could be
//! had, and no secret is anywhere but where it belongs.

mod channel;
mod crash;
mod disk;
mod dispatch;
mod hosts;
mod places;
mod secrets;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use crate::emulator::{Config, Emulator, TOKENS};
use crate::harness::{Call, Run, Sandbox, YCRED, require_client};

/// The user that nobody is.
const NOBODY: u32 = 65534;
/// A user that no password database has.
const STRANGER: u32 = 54321;

/// An emulated cloud, a sandbox, and in it the profile `default` of an account with a key.
struct World {
    sandbox: Sandbox,
    cloud: Emulator,
}

impl World {
    fn new() -> World {
        let world = World { sandbox: Sandbox::new(), cloud: Emulator::start(Config::default()) };
        world.profile("default", "");
        // Room for the caches of many runs. That it is there counts: ycred looks at every directory above.
        fs::create_dir(world.sandbox.path("caches")).expect("a directory");
        world
    }

    /// Writes a profile with a key of its own, and these lines besides.
    fn profile(&self, name: &str, more: &str) -> PathBuf {
        let key = self.cloud.new_service_account_key();
        key.write(self.sandbox.path(format!("config/{name}.json"))).expect("a key file");
        self.sandbox.profile(name, &self.toml(name, more))
    }

    fn toml(&self, name: &str, more: &str) -> String {
        let url = self.cloud.url();
        format!("source = \"authorized-key\"\nkey-file = \"{name}.json\"\niam-url = \"{url}\"\n{more}\n")
    }

    fn ycred(&self, arguments: &[&str]) -> Call {
        self.sandbox.ycred(arguments)
    }

    /// How often a token was asked for.
    fn asked(&self) -> usize {
        self.cloud.requests(TOKENS)
    }

    /// The token handed out last.
    #[track_caller]
    fn last_token(&self) -> String {
        self.cloud.tokens().pop().expect("a token was handed out")
    }

    /// The run printed one token of the cloud's, whole, and nothing else.
    #[track_caller]
    fn printed_a_token(&self, run: &Run) -> String {
        let token = run.stdout.strip_suffix('\n').unwrap_or_default().to_owned();
        assert!(self.cloud.tokens().contains(&token), "expected one of the cloud's tokens\n{run}");
        token
    }

    /// What was meant by "costs no token": exit 0, one token, at most one line of warning that names `place`.
    #[track_caller]
    fn is_unharmed(&self, run: &Run, place: &Path) -> String {
        assert_eq!(run.status.code(), Some(0), "expected success\n{run}");
        assert!(run.stderr.lines().count() <= 1, "expected one warning at most\n{run}");
        if !run.stderr.is_empty() {
            assert!(run.stderr.starts_with("ycred: warning: "), "expected a warning\n{run}");
            let place = place.display().to_string();
            assert!(run.stderr.contains(&place), "expected {place} in the warning\n{run}");
        }
        self.printed_a_token(run)
    }

    /// The next run is served from the cache, silently and without a request.
    #[track_caller]
    fn is_a_hit(&self, call: Call) -> String {
        let before = self.cloud.calls();
        let run = call.run().succeeds().quietly();
        assert_eq!(self.cloud.calls(), before, "expected no request\n{run}");
        self.printed_a_token(&run)
    }

    /// The one record that is in this cache directory.
    #[track_caller]
    fn record(&self, cache: &Path) -> PathBuf {
        let mut records = records(cache);
        assert_eq!(records.len(), 1, "expected one record in {}: {records:?}", cache.display());
        records.remove(0)
    }

    /// A record that an untroubled run has left, to be put into other cache directories.
    #[track_caller]
    fn left_record(&self) -> LeftRecord {
        let cache = self.sandbox.path("caches/first");
        self.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache).run().succeeds();
        let path = self.record(&cache);
        LeftRecord {
            content: fs::read(&path).expect("the record"),
            name: path.file_name().expect("its name").to_owned(),
            token: self.last_token(),
            cache,
        }
    }
}

/// See [`World::left_record`].
struct LeftRecord {
    /// Where it was left.
    cache: PathBuf,
    name: std::ffi::OsString,
    content: Vec<u8>,
    token: String,
}

impl LeftRecord {
    fn put_into(&self, cache: &Path) {
        make_private(&cache.join("v1"));
        write_private(&cache.join("v1").join(&self.name), &self.content);
    }
}

/// The records below a cache directory.
fn records(cache: &Path) -> Vec<PathBuf> {
    names(&cache.join("v1")).into_iter().filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
}

/// Temporary files and things set aside below a cache directory.
fn litter(cache: &Path) -> Vec<PathBuf> {
    let is_litter = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("tmp-") || name.starts_with("set-aside-")
    };
    names(&cache.join("v1")).into_iter().filter(is_litter).collect()
}

fn names(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    names.sort();
    names
}

/// The token in a record, which must be whole.
#[track_caller]
fn token_in(record: &Path) -> String {
    let text = fs::read(record).unwrap_or_else(|error| panic!("{}: {error}", record.display()));
    let value: Value = serde_json::from_slice(&text)
        .unwrap_or_else(|error| panic!("{} is torn: {error}: {}", record.display(), String::from_utf8_lossy(&text)));
    value["token"]["secret"].as_str().expect("a record with a token").to_owned()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode()
        & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Makes a file as old as this.
fn age(path: &Path, age: Duration) {
    let when = SystemTime::now() - age;
    let file = fs::File::options().write(true).open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.set_times(fs::FileTimes::new().set_modified(when).set_accessed(when)).expect("its times are set");
}

fn is_root() -> bool {
    // SAFETY: geteuid cannot fail and touches nothing.
    unsafe { libc::geteuid() == 0 }
}

/// Whether this test can become another user; said where not.
#[track_caller]
fn require_root(tools: &[&str]) -> bool {
    if !is_root() {
        crate::harness::skip("only root can become another user, mount or chown");
        return false;
    }
    tools.iter().all(|tool| require_client(tool).is_some())
}

/// Whether system calls can be watched and made to fail here. Only root's strace sees the paths in a process that forbids
/// dumps.
#[track_caller]
pub fn require_tracer() -> bool {
    if !is_root() {
        crate::harness::skip("only root can trace a process that forbids dumps");
        return false;
    }
    require_client("strace").is_some()
}

/// A directory that everybody can reach, with the binary in it, and in it a home, configuration and cache of `nobody`'s.
struct Commons {
    root: TempDir,
    /// Who its files belong to.
    user: u32,
}

impl Commons {
    fn new(world: &World, user: u32) -> Commons {
        let root = tempfile::Builder::new().prefix("ycred-commons-").tempdir().expect("a temporary directory");
        let commons = Commons { root, user };
        set_mode(commons.root.path(), 0o755);
        for directory in ["bin", "config", "home", "work"] {
            fs::create_dir(commons.path(directory)).expect("a directory");
        }
        let binary = commons.path("bin/ycred");
        // A second name costs nothing; across file systems a copy does as well.
        fs::hard_link(YCRED, &binary).or_else(|_| fs::copy(YCRED, &binary).map(drop)).expect("the binary");
        let key = world.cloud.new_service_account_key();
        key.write(commons.path("config/default.json")).expect("a key file");
        fs::write(commons.path("config/default.toml"), world.toml("default", "")).expect("a profile");
        for path in ["config", "config/default.json", "config/default.toml", "home", "work"] {
            commons.give(path, user);
        }
        set_mode(&commons.path("home"), 0o700);
        commons
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    fn give(&self, relative: &str, user: u32) {
        chown(self.path(relative), Some(user), Some(user)).expect("root gives files away");
    }

    /// The binary run as that user, with a home and the platform's own places in it.
    fn call(&self, world: &World, arguments: &[&str]) -> Call {
        let who = [format!("--reuid={}", self.user), format!("--regid={}", self.user), "--clear-groups".into()];
        let program = self.path("bin/ycred").into_os_string();
        let arguments = who
            .iter()
            .map(Into::into)
            .chain(["--".into(), program])
            .chain(arguments.iter().map(Into::into))
            .collect::<Vec<std::ffi::OsString>>();
        world
            .sandbox
            .call("setpriv", arguments)
            .within(self.path("work"))
            .env("HOME", self.path("home"))
            .env("YCRED_CONFIG_DIR", self.path("config"))
            .without("YCRED_CACHE_DIR")
            .without("YCRED_STATE_DIR")
            .without("TMPDIR")
    }

    /// Everything below, with its owner.
    fn contents(&self, relative: &str) -> Vec<(PathBuf, u32)> {
        let mut found = Vec::new();
        let mut pending = vec![self.path(relative)];
        while let Some(directory) = pending.pop() {
            for path in names(&directory) {
                let meta = fs::symlink_metadata(&path).expect("still there");
                if meta.is_dir() {
                    pending.push(path.clone());
                }
                found.push((path, meta.uid()));
            }
        }
        found.sort();
        found
    }
}

// ------------------------------------------------------------------------------------------------------- system calls

/// A system call that a run makes, and how many of its kind the process has made by then: where strace can be told to
/// strike.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    name: String,
    /// Counts from 1.
    ordinal: usize,
    line: String,
}

impl Step {
    /// The calls of a run's first process, in order, as strace writes them, descriptors with their paths.
    #[track_caller]
    fn of(world: &World, call: impl FnOnce(&[String]) -> Call) -> Vec<Step> {
        let log = world.sandbox.path("tmp/strace.log");
        let arguments =
            ["-f", "-qq", "-y", "-s", "64", "-o", &log.display().to_string(), "-e", "signal=none"].map(str::to_owned);
        call(&arguments).run().succeeds();
        let text = String::from_utf8_lossy(&fs::read(&log).expect("strace's log")).into_owned();
        let first = text.split(' ').next().unwrap_or_default().to_owned();
        let mut counts = std::collections::HashMap::new();
        let mut steps = Vec::new();
        for line in text.lines() {
            let Some(rest) = line.strip_prefix(first.as_str()) else { continue };
            let rest = rest.trim_start();
            // The second half of a call that another thread's came between.
            if rest.starts_with('<') {
                continue;
            }
            let Some((name, _)) = rest.split_once('(') else { continue };
            let count: &mut usize = counts.entry(name.to_owned()).or_default();
            *count += 1;
            steps.push(Step { name: name.to_owned(), ordinal: *count, line: rest.to_owned() });
        }
        assert!(!steps.is_empty(), "strace wrote nothing:\n{text}");
        steps
    }
}

/// strace's arguments for a run in which this happens at that step: `signal=KILL`, `error=ENOSPC`.
fn inject(step: &Step, what: &str) -> Vec<String> {
    let Step { name, ordinal, .. } = step;
    [
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={name}"),
        "-e",
        &format!("inject={name}:{what}:when={ordinal}"),
    ]
    .map(str::to_owned)
    .into()
}

/// The binary under strace with these arguments of strace's.
fn traced(world: &World, strace: &[String], arguments: &[&str]) -> Call {
    let all = strace.iter().map(String::as_str).chain([YCRED]).chain(arguments.iter().copied());
    world.sandbox.call("strace", all)
}

/// A directory as ycred makes them.
fn make_private(path: &Path) {
    fs::create_dir_all(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    set_mode(path, 0o700);
}

/// A file as ycred makes them.
fn write_private(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    set_mode(path, 0o600);
}
