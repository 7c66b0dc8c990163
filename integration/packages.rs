//! Clients that come as packages of a language: installed once, at first use, beside the build's own products.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::{require_client, skip};

/// How long a registry may take, in seconds.
const PATIENCE: &str = "300";

/// A virtual environment with these packages, each `name==version`: its Python. Where they cannot be had, the test says
/// so and is over.
#[track_caller]
pub fn python(name: &str, packages: &[&str]) -> Option<PathBuf> {
    let python = require_client("python3")?;
    let place = installed(name, packages, |place| {
        let own = place.join("bin/python");
        run(Command::new(&python).args(["-m", "venv"]).arg(place))?;
        run(Command::new(own).args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:"]).args(packages))
    })?;
    Some(place.join("bin/python"))
}

/// A directory whose `node_modules` has these packages, each `name@version`. Where they cannot be had, the test says so
/// and is over.
#[track_caller]
pub fn node(name: &str, packages: &[&str]) -> Option<PathBuf> {
    let npm = require_client("npm")?;
    installed(name, packages, |place| {
        fs::create_dir_all(place).map_err(|error| error.to_string())?;
        let quiet = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error", "--prefix"];
        run(Command::new(&npm).args(quiet).arg(place).args(packages))
    })
}

/// The directory of that name, filled by `install` unless it has been with the same packages.
#[track_caller]
fn installed(name: &str, packages: &[&str], install: impl FnOnce(&Path) -> Result<(), String>) -> Option<PathBuf> {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (place, mark) = (base.join(name), base.join(format!("{name}.installed")));
    // One installs, be it in this process or in another run of the tests; the others wait for it.
    let lock = File::create(base.join(format!("{name}.lock"))).expect("a lock file beside the packages");
    fs2::FileExt::lock_exclusive(&lock).expect("the lock");
    let wanted = packages.join("\n");
    if fs::read_to_string(&mark).is_ok_and(|there| there == wanted) {
        return Some(place);
    }
    let _ = fs::remove_dir_all(&place);
    if let Err(why) = install(&place) {
        skip(&format!("{} could not be installed: {why}", packages.join(", ")));
        return None;
    }
    fs::write(&mark, wanted).expect("a mark beside the packages");
    Some(place)
}

/// Runs an installer for as long as it may take; what it said, if it failed.
fn run(command: &mut Command) -> Result<(), String> {
    let words: Vec<_> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(ToOwned::to_owned).collect();
    let output = Command::new("timeout").arg(PATIENCE).args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{}: {said}", output.status)) }
}
