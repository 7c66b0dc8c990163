//! Clients that come as Python or npm packages, prepared once and kept under cargo's directory for tests.
//!
//! ```ignore
//! let Some(bin) = python(&["httpie==3.2.4"]) else { return };      // bin/python, bin/http
//! let Some(modules) = node(&["pnpm@10.17.1"]) else { return };     // node_modules/.bin/pnpm
//! ```
//!
//! A set of packages is a directory of its own, named by a digest of the list, so ask for the same list wherever one will do.
//! Whoever comes first installs, under a lock that other tests and other processes wait for; `ready` says that it is whole.
//! Where that fails (no registry, no pip), every test that needs it says why it is skipped; it is tried once a run.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{find, skip};

/// For one step of an installation. Registries answer in seconds; a large wheel on a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(240);

/// What became of each set in this run.
static PREPARED: Mutex<Option<HashMap<String, Result<PathBuf, String>>>> = Mutex::new(None);

/// The `bin` directory of a virtual environment with these packages (`name==version`), or why the test is skipped.
#[track_caller]
pub fn python(packages: &[&str]) -> Option<PathBuf> {
    let Some(interpreter) = interpreter() else {
        skip("there is no python3 that can make virtual environments");
        return None;
    };
    assert!(packages.iter().all(|package| package.contains("==")), "{packages:?} name their versions");
    // An environment belongs to the interpreter that it was made with.
    let name = format!("python-{}", fingerprint(&[&[interpreter.to_string_lossy().as_ref()], packages].concat()));
    let root = prepared(&name, |root| {
        bounded(Command::new(interpreter).args(["-m", "venv"]).arg(root))?;
        // Wheels only: what runs here is what was published, and nothing needs a compiler.
        let options = ["install", "--quiet", "--no-input", "--disable-pip-version-check", "--only-binary", ":all:"];
        bounded(
            Command::new(root.join("bin/pip")).args(options).args(["--timeout", "20", "--retries", "2"]).args(packages),
        )
    })?;
    Some(root.join("bin"))
}

/// The `node_modules` with these packages (`name@version`), or why the test is skipped. Their install scripts do not run:
/// what they fetch from elsewhere, a test must not depend on.
#[track_caller]
pub fn node(packages: &[&str]) -> Option<PathBuf> {
    modules(packages, &["--ignore-scripts"])
}

/// [`node`], for packages that are not whole before their install scripts have run (pnpm 12 puts its program in place).
#[track_caller]
pub fn node_with_scripts(packages: &[&str]) -> Option<PathBuf> {
    modules(packages, &["--foreground-scripts"])
}

#[track_caller]
fn modules(packages: &[&str], scripts: &[&str]) -> Option<PathBuf> {
    let Some(npm) = find("npm").filter(|_| find("node").is_some()) else {
        skip("node or npm is not on PATH");
        return None;
    };
    let versioned = |package: &&str| package.trim_start_matches('@').contains('@');
    assert!(packages.iter().all(versioned), "{packages:?} name their versions");
    let root = prepared(&format!("node-{}", fingerprint(&[packages, scripts].concat())), |root| {
        fs::create_dir(root).map_err(|error| format!("{}: {error}", root.display()))?;
        let options = ["install", "--no-audit", "--no-fund", "--no-update-notifier"];
        let bounds = ["--fetch-retries=2", "--fetch-timeout=20000", "--loglevel=error"];
        bounded(
            Command::new(&npm)
                .args(options)
                .args(scripts)
                .args(bounds)
                .arg("--prefix")
                .arg(root)
                .args(packages)
                .current_dir(root),
        )
    })?;
    Some(root.join("node_modules"))
}

/// The first `python3` with the module; Debian's own comes without where `python3-venv` is not installed.
fn interpreter() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let mut candidates = find("python3").into_iter().chain([PathBuf::from("/usr/bin/python3")]);
    let usable = |python: &PathBuf| bounded(Command::new(python).args(["-c", "import venv, ensurepip"])).is_ok();
    FOUND.get_or_init(|| candidates.find(usable)).as_deref()
}

fn fingerprint(parts: &[&str]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, parts.join("\n").as_bytes());
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The directory of this name, made by `install` if it is not there or not whole.
#[track_caller]
fn prepared(name: &str, install: impl FnOnce(&Path) -> Result<(), String>) -> Option<PathBuf> {
    // Held meanwhile: one installation at a time is enough for two cores.
    let mut prepared = PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = prepared.get_or_insert_default();
    let outcome = known.entry(name.to_owned()).or_insert_with(|| prepare(name, install)).clone();
    drop(prepared);
    outcome.map_err(|reason| skip(&reason)).ok()
}

fn prepare(name: &str, install: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (root, ready) = (place.join(name), place.join(format!("{name}.ready")));
    let failed = |error: io::Error| format!("{}: {error}", root.display());
    fs::create_dir_all(place).map_err(failed)?;
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(place.join(format!("{name}.lock")));
    wait_for(&lock.map_err(failed)?).map_err(failed)?;
    if !ready.exists() {
        if root.exists() {
            fs::remove_dir_all(&root).map_err(failed)?;
        }
        install(&root)?;
        File::create(&ready).map_err(failed)?;
    }
    Ok(root)
}

/// Another process that installs the same is waited for, as long as it may take.
fn wait_for(lock: &File) -> io::Result<()> {
    let end = Instant::now() + 2 * PATIENCE;
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(Duration::from_millis(50)),
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other("another process has held the lock for too long"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
}

/// Runs an installer in time; a failure is its last line.
fn bounded(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_owned();
    let told = |what: String| format!("{}: {what}", Path::new(OsStr::new(&program)).display());
    let said = tempfile::NamedTempFile::new().map_err(|error| told(error.to_string()))?;
    let output = || said.reopen().map_err(|error| told(error.to_string()));
    command.stdin(Stdio::null()).stdout(output()?).stderr(output()?).process_group(0);
    let mut child = command.spawn().map_err(|error| told(error.to_string()))?;
    let end = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().map_err(|error| told(error.to_string()))? {
            Some(status) => break status,
            None if Instant::now() < end => thread::sleep(Duration::from_millis(20)),
            None => {
                let group = i32::try_from(child.id()).expect("a process id");
                // SAFETY: the group is the one that the child was started in, and the child is not yet waited for.
                unsafe { libc::kill(-group, libc::SIGKILL) };
                let _ = child.wait();
                return Err(told(format!("killed after {PATIENCE:?}")));
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    let text = fs::read(said.path()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    Err(told(text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it failed without a word").to_owned()))
}

#[test]
fn a_set_that_was_not_finished_is_made_again_and_a_whole_one_is_kept() {
    let name = format!("packages-{}", std::process::id());
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
    let install = |root: &Path| fs::create_dir(root).map_err(|error| error.to_string());
    // What an installation that was killed leaves behind.
    fs::create_dir_all(place.join("half")).expect("a directory");
    assert_eq!(prepare(&name, install), Ok(place.clone()));
    assert!(!place.join("half").exists(), "made again");
    fs::write(place.join("kept"), "").expect("a file");
    assert_eq!(prepare(&name, |_| Err("not again".to_owned())), Ok(place.clone()));
    assert!(place.join("kept").exists());
    let refused = prepare(&format!("{name}-refused"), |_| {
        bounded(Command::new("sh").args(["-c", "echo one; echo why >&2; exit 3"]))
    });
    assert_eq!(refused, Err("sh: why".to_owned()));
    fs::remove_dir_all(&place).expect("cleaned up");
    for left in [".ready", ".lock", "-refused.lock"] {
        fs::remove_file(place.with_file_name(format!("{name}{left}"))).expect("cleaned up");
    }
}
