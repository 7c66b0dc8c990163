//! Stories of ycred against the emulator, whose log of requests is the oracle: what a user sees, and what it cost.
//!
//! Time is not waited for where it can be helped: a record is made older on disk ([`Story::age`]), the cloud's clock is
//! shifted, an answer is held back until the test lets it go. Upper bounds on time are only there so that a hang ends.

mod access_keys;
mod crowds;
mod every_source;
mod identity;
mod import;
mod installations;
mod kubelet;
mod life;
pub mod login;
mod logout;
mod network;
mod profiles;
mod serve;
mod serverless;
mod sources;
mod time;
mod workload;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::emulator::keys::AuthorizedKey;
use crate::emulator::{Config, Emulator, TOKENS};
use crate::harness::{Call, Run, Running, Sandbox, skip};
use crate::server::{Request, Response, Server};

/// Long enough for anything that is bound to happen on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(60);

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A user with a cloud: a sandbox, an emulator, and a `default` profile with an authorized key.
struct Story {
    sandbox: Sandbox,
    emulator: Emulator,
    key: AuthorizedKey,
}

impl Story {
    fn new() -> Story {
        Story::with(Config::default())
    }

    fn with(config: Config) -> Story {
        let story = Story::bare(config);
        story.profile("");
        story
    }

    /// The same without any profile; the key is `config/key.json`.
    fn bare(config: Config) -> Story {
        let (sandbox, emulator) = (Sandbox::new(), Emulator::start(config));
        let key = emulator.new_service_account_key();
        key.write(sandbox.path("config/key.json")).expect("a key file");
        Story { sandbox, emulator, key }
    }

    /// The settings of the default profile, which tests add to.
    fn settings(&self) -> String {
        format!("source = \"authorized-key\"\nkey-file = \"key.json\"\niam-url = \"{}\"\n", self.emulator.url())
    }

    /// Writes the default profile with these lines besides.
    fn profile(&self, more: &str) {
        self.sandbox.profile("default", &format!("{}{more}\n", self.settings()));
    }

    /// A second profile with an account and a key of its own.
    fn another(&self, name: &str) -> AuthorizedKey {
        let key = self.emulator.new_service_account_key();
        key.write(self.sandbox.path(format!("config/{name}.json"))).expect("a key file");
        self.sandbox.profile(
            name,
            &format!(
                "source = \"authorized-key\"\nkey-file = \"{name}.json\"\niam-url = \"{}\"\n",
                self.emulator.url()
            ),
        );
        key
    }

    /// `ycred token` with further words.
    fn token(&self, more: &[&str]) -> Call {
        self.sandbox.ycred(["token"].iter().chain(more))
    }

    /// The token that an untroubled `ycred token` prints.
    #[track_caller]
    fn get(&self) -> String {
        handed(self.token(&[]).run())
    }

    /// How often a token was asked for with a JWT or an OAuth token.
    fn requests(&self) -> usize {
        self.emulator.requests(TOKENS)
    }

    /// Every record of the cache.
    fn records(&self) -> Vec<PathBuf> {
        let is_record = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "json");
        self.sandbox.files("cache/v1").into_iter().filter(is_record).collect()
    }

    /// Changes every record.
    #[track_caller]
    fn edit(&self, change: impl Fn(&mut Value)) {
        let records = self.records();
        assert!(!records.is_empty(), "there is no record");
        for path in records {
            let mut record = serde_json::from_slice(&fs::read(&path).expect("a record")).expect("JSON");
            change(&mut record);
            fs::write(&path, record.to_string()).expect("the record again");
        }
    }

    /// Lets every record be as it would be when so much time had passed.
    #[track_caller]
    fn age(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).expect("a sensible time");
        self.edit(|record| shift(record, -by));
    }

    /// The lock file of the only identity.
    #[track_caller]
    fn lock_file(&self) -> PathBuf {
        let is_lock =
            |path: &PathBuf| path.to_string_lossy().ends_with(".lock") && !path.to_string_lossy().contains(".relief");
        let locks: Vec<PathBuf> = self.sandbox.files("cache/v1").into_iter().filter(is_lock).collect();
        assert_eq!(locks.len(), 1, "lock files: {locks:?}");
        locks[0].clone()
    }

    /// Waits until the cloud has been asked so often.
    #[track_caller]
    fn wait_for_requests(&self, count: usize) {
        assert!(
            self.emulator.wait_for_requests(TOKENS, count, PATIENCE),
            "{} requests instead of {count}",
            self.requests()
        );
    }
}

/// Moves every moment in a record.
fn shift(record: &mut Value, by: i64) {
    let times = ["asked", "began", "ended", "retry_at", "issued", "expires", "fetched", "at", "until"];
    let Value::Object(members) = record else { return };
    for (name, value) in members {
        match value {
            Value::Object(_) => shift(value, by),
            Value::Number(number) if times.contains(&name.as_str()) => {
                *value = (number.as_i64().expect("a moment") + by).into();
            }
            _ => {}
        }
    }
}

/// It ended well and said nothing but the token, which is returned.
#[track_caller]
fn handed(run: Run) -> String {
    one_token(&run.exits(0).quietly())
}

/// It ended well, with one warning that says all this; the token.
#[track_caller]
fn warned(run: Run, words: &[&str]) -> String {
    let run = run.exits(0);
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert!(lines.len() == 1 && lines[0].starts_with("ycred: warning: "), "one warning expected\n{run}");
    for word in words {
        assert!(lines[0].contains(word), "{word:?} expected in the warning\n{run}");
    }
    one_token(&run)
}

#[track_caller]
fn one_token(run: &Run) -> String {
    let token = run.stdout.strip_suffix('\n').unwrap_or_default();
    assert!(!token.is_empty() && !token.contains(char::is_whitespace), "one token expected\n{run}");
    token.to_owned()
}

/// It ended with this code, nothing on stdout, and one error line that says all this, perhaps with a hint; the error.
#[track_caller]
fn refused(run: Run, code: i32, words: &[&str]) -> String {
    let run = run.exits(code).stdout_is("");
    let lines: Vec<&str> = run.stderr.lines().collect();
    let shape = matches!(lines.as_slice(), [_] | [_, _])
        && lines[0].starts_with("ycred: error: ")
        && lines.get(1).is_none_or(|line| line.starts_with("ycred: hint: "))
        && lines.iter().all(|line| line.chars().count() <= 500);
    assert!(shape, "one error line and at most one hint expected\n{run}");
    for word in words {
        assert!(lines[0].contains(word), "{word:?} expected in the error\n{run}");
    }
    lines[0].strip_prefix("ycred: error: ").expect("an error").to_owned()
}

/// The same with a hint that says this.
#[track_caller]
fn refused_with_hint(run: Run, code: i32, words: &[&str], hint: &str) -> String {
    let hints = run.lines_of_stderr("ycred: hint: ").join("\n");
    assert!(hints.contains(hint), "{hint:?} expected in the hint\n{run}");
    refused(run, code, words)
}

/// Waits until this is so.
#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a call and waits until it has said something at `-v`: from then on it has begun.
#[track_caller]
fn started(call: Call) -> Running {
    let running = call.start();
    wait_until("the process says what it does", || !running.stderr().is_empty());
    running
}

/// The lock of the product, held by the test.
struct HeldLock(#[expect(dead_code, reason = "closing it releases the lock")] fs::File);

impl HeldLock {
    #[track_caller]
    fn of(path: &Path) -> HeldLock {
        let file = fs::OpenOptions::new().read(true).write(true).open(path).expect("the lock file");
        fs2::FileExt::try_lock_exclusive(&file).expect("nobody else holds it");
        HeldLock(file)
    }
}

/// A proxy that connects to one address, whatever it is asked for, and notes what it is asked.
struct Tunnel {
    server: Server,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Tunnel {
    fn to(emulator: &Emulator) -> Tunnel {
        let to = emulator.address();
        Tunnel::answering(move |_| Response::tunnel(to))
    }

    fn answering(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Tunnel {
        let log = Arc::new(Mutex::new(Vec::new()));
        let server = Server::start(None, {
            let log = Arc::clone(&log);
            move |request| {
                log.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                answer(request)
            }
        });
        Tunnel { server, log }
    }

    fn url(&self) -> String {
        self.server.url()
    }

    fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it was asked to connect to.
    fn targets(&self) -> Vec<String> {
        self.requests().iter().map(|request| format!("{} {}", request.method, request.target)).collect()
    }
}

/// Set for a test that runs in a user namespace of its own, where it may make a network.
const APART: &str = "YCRED_TEST_APART";

/// Runs a story in a network of its own, with these addresses on its loopback interface. An ordinary user gets one by
/// running this one test again, as the root of a user namespace. Where the machine does not allow that, the test is skipped.
pub fn in_own_network(addresses: &[&str], story: impl FnOnce() + Send) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let apart = thread::Builder::new().name(name);
    thread::scope(|scope| {
        let thread = apart.spawn_scoped(scope, || {
            // SAFETY: moves this thread alone, which ends with the story, into a new network namespace.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return run_apart();
            }
            let up = ["link set lo up".to_owned()];
            let all = up.into_iter().chain(addresses.iter().map(|address| format!("addr add {address} dev lo")));
            for words in all {
                let done = std::process::Command::new("ip").args(words.split(' ')).status();
                if !done.is_ok_and(|status| status.success()) {
                    return skip(&format!("`ip {words}` does not work here"));
                }
            }
            story();
        });
        if let Err(panic) = thread.expect("a thread").join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs the present test again as root of a user namespace, which only a process with one thread can make for itself.
fn run_apart() {
    let unshare = |words: &[&std::ffi::OsStr]| {
        let mut command = std::process::Command::new("unshare");
        command.arg("-rn").args(words).env(APART, "1");
        command.stdin(std::process::Stdio::null()).output()
    };
    let works = unshare(&["true".as_ref()]).is_ok_and(|output| output.status.success());
    if std::env::var_os(APART).is_some() || !works {
        return skip("this user may not make a network namespace");
    }
    let (this, name) = (std::env::current_exe().expect("a program"), thread::current().name().unwrap_or("").to_owned());
    let output = unshare(&[this.as_ref(), "--exact".as_ref(), name.as_ref(), "--nocapture".as_ref()]);
    let output = output.expect("unshare, which worked a moment ago");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{name} as root of a user namespace:\n{said}");
    for line in said.lines().filter(|line| line.starts_with("SKIPPED")) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// Whether strace works here; says so if not.
fn strace() -> Option<PathBuf> {
    let strace = crate::harness::require_client("strace")?;
    let works = std::process::Command::new(&strace)
        .args(["-f", "-qq", "-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        skip("strace may not trace here");
    }
    works.then_some(strace)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}
