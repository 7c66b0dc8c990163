//! Clients that are packages of other languages: prepared at first use into the build's own directory, with pinned versions,
//! and left there for the next run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::harness::{require_client, skip};

/// Where they are kept.
const ROOT: &str = env!("CARGO_TARGET_TMPDIR");
/// How long a preparation may take, all its steps and waiting for somebody else's together.
const LIMIT: Duration = Duration::from_secs(400);

/// The `python` of a virtual environment with these packages, each `name==version`.
#[track_caller]
pub fn python(name: &str, packages: &[&str]) -> Option<PathBuf> {
    let python = require_client("python3")?;
    let directory = prepared(name, packages, |directory| {
        let mut install = Command::new(directory.join("bin/pip"));
        install.args(["install", "--quiet", "--disable-pip-version-check", "--retries", "2"]).args(packages);
        let mut make = Command::new(&python);
        make.args(["-m", "venv"]).arg(directory);
        vec![make, install]
    })?;
    Some(directory.join("bin/python"))
}

/// A directory with these packages, each `name@version`, in its `node_modules`.
#[track_caller]
pub fn node(name: &str, packages: &[&str]) -> Option<PathBuf> {
    let npm = require_client("npm")?;
    prepared(name, packages, |directory| {
        let mut install = Command::new(&npm);
        install.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", "--prefix"]).arg(directory);
        install.args(packages);
        vec![install]
    })
}

/// A directory that holds the packages. A preparation that was interrupted is begun anew; one that fails (a registry out of
/// reach) skips the test that wanted it.
#[track_caller]
fn prepared(name: &str, packages: &[&str], steps: impl Fn(&Path) -> Vec<Command>) -> Option<PathBuf> {
    // One at a time; and what has failed for one test is not tried again for the next.
    static FAILED: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(why) = failed.get(name) {
        skip(why);
        return None;
    }
    let directory = Path::new(ROOT).join(name);
    let (done, wanted) = (directory.join("prepared"), packages.join(" "));
    let is_done = || fs::read_to_string(&done).is_ok_and(|found| found == wanted);
    let end = Instant::now() + LIMIT;
    // Another run of the tests may be at it.
    let lock = match fs::File::create(Path::new(ROOT).join(format!("{name}.lock"))) {
        Ok(lock) => lock,
        Err(error) => {
            skip(&format!("{name} cannot be prepared in {ROOT}: {error}"));
            return None;
        }
    };
    while fs2::FileExt::try_lock_exclusive(&lock).is_err() {
        if Instant::now() > end {
            skip(&format!("somebody else prepares {name} and does not come to an end"));
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    if is_done() {
        return Some(directory);
    }
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("a directory");
    for step in steps(&directory) {
        if let Err(why) = run(step, end) {
            let why = format!("{wanted} cannot be installed: {why}");
            failed.insert(name.to_owned(), why.clone());
            skip(&why);
            return None;
        }
    }
    fs::write(&done, &wanted).expect("a note that it is done");
    Some(directory)
}

fn run(mut command: Command, end: Instant) -> Result<(), String> {
    let said = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    let copy = |file: &fs::File| file.try_clone().map(Stdio::from).map_err(|error| error.to_string());
    command.stdin(Stdio::null()).stdout(copy(said.as_file())?).stderr(copy(said.as_file())?);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            return Err("it takes too long".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let text = fs::read_to_string(said.path()).unwrap_or_default();
    if status.success() { Ok(()) } else { Err(text.trim().lines().last().unwrap_or("no word why").to_owned()) }
}
