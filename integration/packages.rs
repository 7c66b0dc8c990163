//! Installs clients that are Python or npm packages, once, in cargo's directory for tests.
//!
//! ```ignore
//! let Some(bin) = python(&["httpie==3.2.4"]) else { return };      // bin/python, bin/http
//! let Some(modules) = node(&["pnpm@10.17.1"]) else { return };     // node_modules/.bin/pnpm
//! ```
//!
//! Each list of packages has its own directory, named by a digest of the list. Use as few different lists as possible.
//!
//! * The first test that needs a list installs it. Other tests and processes wait for its lock.
//! * A `.ready` file marks a complete installation.
//! * If the installation fails (no registry, no pip), it is not repeated in this run. Each test that needs it is
//!   skipped and reports the reason.

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

/// Time limit of one step of an installation. Generous enough for a large wheel on a busy machine.
const WAIT_LIMIT: Duration = Duration::from_secs(240);

/// The result of each installation in this run.
static INSTALLATIONS: Mutex<Option<HashMap<String, Result<PathBuf, String>>>> = Mutex::new(None);

/// Returns the `bin` directory of a virtual environment with these packages (`name==version`). If that fails, calls
/// [`skip`].
#[track_caller]
pub fn python(packages: &[&str]) -> Option<PathBuf> {
    let Some(interpreter) = interpreter() else {
        skip("no python3 can create virtual environments");
        return None;
    };
    assert!(packages.iter().all(|package| package.contains("==")), "{packages:?}: every package needs a version");
    // A virtual environment works only with the interpreter that created it.
    let name = format!("python-{}", fingerprint(&[&[interpreter.to_string_lossy().as_ref()], packages].concat()));
    let root = installation(&name, |root| {
        run_installer(Command::new(interpreter).args(["-m", "venv"]).arg(root))?;
        // Wheels only, so that no compiler is needed.
        let options = ["install", "--quiet", "--no-input", "--disable-pip-version-check", "--only-binary", ":all:"];
        run_installer(
            Command::new(root.join("bin/pip")).args(options).args(["--timeout", "20", "--retries", "2"]).args(packages),
        )
    })?;
    Some(root.join("bin"))
}

/// Returns a `node_modules` with these packages (`name@version`). If that fails, calls [`skip`].
///
/// Install scripts do not run, because tests must not depend on their downloads.
#[track_caller]
pub fn node(packages: &[&str]) -> Option<PathBuf> {
    modules(packages, &["--ignore-scripts"])
}

/// [`node`] for packages that need their install scripts (pnpm 12 moves its program into place).
#[track_caller]
pub fn node_with_scripts(packages: &[&str]) -> Option<PathBuf> {
    modules(packages, &["--foreground-scripts"])
}

#[track_caller]
fn modules(packages: &[&str], scripts: &[&str]) -> Option<PathBuf> {
    let Some(npm) = find("npm").filter(|_| find("node").is_some()) else {
        skip("node or npm is not in PATH");
        return None;
    };
    let versioned = |package: &&str| package.trim_start_matches('@').contains('@');
    assert!(packages.iter().all(versioned), "{packages:?}: every package needs a version");
    let root = installation(&format!("node-{}", fingerprint(&[packages, scripts].concat())), |root| {
        fs::create_dir(root).map_err(|error| format!("{}: {error}", root.display()))?;
        let options = ["install", "--no-audit", "--no-fund", "--no-update-notifier"];
        let bounds = ["--fetch-retries=2", "--fetch-timeout=20000", "--loglevel=error"];
        run_installer(
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

/// Finds the first `python3` that can create virtual environments. Debian's cannot unless `python3-venv` is installed.
fn interpreter() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let mut candidates = find("python3").into_iter().chain([PathBuf::from("/usr/bin/python3")]);
    let usable = |python: &PathBuf| run_installer(Command::new(python).args(["-c", "import venv, ensurepip"])).is_ok();
    FOUND.get_or_init(|| candidates.find(usable)).as_deref()
}

fn fingerprint(parts: &[&str]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, parts.join("\n").as_bytes());
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the directory of this name, which `install` creates if it is missing or incomplete. If that fails, calls
/// [`skip`].
#[track_caller]
fn installation(name: &str, install: impl FnOnce(&Path) -> Result<(), String>) -> Option<PathBuf> {
    // Hold the lock during the installation: one at a time is enough.
    let mut installations = INSTALLATIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let results = installations.get_or_insert_default();
    let result = results.entry(name.to_owned()).or_insert_with(|| prepare(name, install)).clone();
    drop(installations);
    result.map_err(|reason| skip(&reason)).ok()
}

/// Returns the directory of this name. Locks it, and calls `install` if the `.ready` file is missing.
fn prepare(name: &str, install: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (root, ready) = (parent.join(name), parent.join(format!("{name}.ready")));
    let failed = |error: io::Error| format!("{}: {error}", root.display());
    fs::create_dir_all(parent).map_err(failed)?;
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(parent.join(format!("{name}.lock")));
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

/// Waits for the lock while another process installs the same packages.
fn wait_for(lock: &File) -> io::Result<()> {
    let end = Instant::now() + 2 * WAIT_LIMIT;
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

/// Runs an installer with a time limit.
///
/// # Errors
/// The last line that the installer printed.
fn run_installer(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_owned();
    let failure = |what: String| format!("{}: {what}", Path::new(OsStr::new(&program)).display());
    let printed = tempfile::NamedTempFile::new().map_err(|error| failure(error.to_string()))?;
    let output = || printed.reopen().map_err(|error| failure(error.to_string()));
    command.stdin(Stdio::null()).stdout(output()?).stderr(output()?).process_group(0);
    let mut child = command.spawn().map_err(|error| failure(error.to_string()))?;
    let end = Instant::now() + WAIT_LIMIT;
    let status = loop {
        match child.try_wait().map_err(|error| failure(error.to_string()))? {
            Some(status) => break status,
            None if Instant::now() < end => thread::sleep(Duration::from_millis(20)),
            None => {
                let group = i32::try_from(child.id()).expect("a process id");
                // SAFETY: `kill` touches no memory. The child started its own group and has not been waited for, so the
                // id is its own.
                unsafe { libc::kill(-group, libc::SIGKILL) };
                let _ = child.wait();
                return Err(failure(format!("killed after {WAIT_LIMIT:?}")));
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    let text = fs::read(printed.path()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    Err(failure(text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("failed without output").to_owned()))
}

#[test]
fn an_incomplete_installation_is_repeated_and_a_complete_one_is_kept() {
    let name = format!("packages-{}", std::process::id());
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
    let install = |root: &Path| fs::create_dir(root).map_err(|error| error.to_string());
    // An installation that was killed.
    fs::create_dir_all(place.join("half")).expect("a directory");
    assert_eq!(prepare(&name, install), Ok(place.clone()));
    assert!(!place.join("half").exists(), "the incomplete installation is still there");
    fs::write(place.join("kept"), "").expect("a file");
    assert_eq!(prepare(&name, |_| Err("not again".to_owned())), Ok(place.clone()));
    assert!(place.join("kept").exists());
    let refused = prepare(&format!("{name}-refused"), |_| {
        run_installer(Command::new("sh").args(["-c", "echo one; echo why >&2; exit 3"]))
    });
    assert_eq!(refused, Err("sh: why".to_owned()));
    fs::remove_dir_all(&place).expect("cleaned up");
    for left in [".ready", ".lock", "-refused.lock"] {
        fs::remove_file(place.with_file_name(format!("{name}{left}"))).expect("cleaned up");
    }
}
