//! Clients that come from a package registry and not from the system: each is installed once, into a directory beside the
//! tests' own, and found there by every later run. Where the registry cannot be reached the tests are skipped visibly.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex};

use super::lock;
use crate::harness::{find, require_client, skip};

/// Seconds that an installation may take.
const LIMIT: &str = "280";
/// Written last, so that an installation that was broken off is done again.
const COMPLETE: &str = "complete";

/// What came of each installation, so that a registry that is not there is waited for once.
static DONE: LazyLock<Mutex<HashMap<String, Option<PathBuf>>>> = LazyLock::new(Mutex::default);

/// A virtual environment of Python with these packages in it.
#[track_caller]
pub fn python(packages: &[&str]) -> Option<PathBuf> {
    let python = require_client("python3")?;
    installed(&packages.join("-"), |place| {
        succeeds(Command::new(python).args(["-m", "venv"]).arg(place))
            && succeeds(Command::new(place.join("bin/pip")).args(["install", "--quiet"]).args(packages))
    })
}

/// A directory of npm's with this package in it.
#[track_caller]
pub fn npm(package: &str) -> Option<PathBuf> {
    require_client("node")?;
    let npm = require_client("npm")?;
    installed(package, |place| {
        let words = ["install", "--no-fund", "--no-audit", "--loglevel=error", "--prefix"];
        succeeds(Command::new(npm).args(words).arg(place).arg(package))
    })
}

#[track_caller]
fn installed(name: &str, install: impl FnOnce(&Path) -> bool) -> Option<PathBuf> {
    let mut done = lock(&DONE);
    let place = done.entry(name.to_owned()).or_insert_with(|| {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(name);
        if place.join(COMPLETE).exists() {
            return Some(place);
        }
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
        install(&place).then(|| {
            fs::write(place.join(COMPLETE), "").unwrap_or_else(|error| panic!("{}: {error}", place.display()));
            place
        })
    });
    let place = place.clone();
    drop(done);
    if place.is_none() {
        skip(&format!("{name} cannot be installed from its registry"));
    }
    place
}

/// Runs it with the machine's own environment, within the limit.
fn succeeds(command: &mut Command) -> bool {
    let mut bounded = Command::new(find("timeout").unwrap_or_else(|| "timeout".into()));
    bounded.arg(LIMIT).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null()).stdout(Stdio::null());
    bounded.status().is_ok_and(|status| status.success())
}

#[test]
fn the_readme_names_the_versions_that_are_tried() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    let all = super::python::PACKAGES.iter().chain(&super::go::VERSIONS).chain(&super::pnpm::VERSIONS);
    for package in all {
        let version = package.rsplit('=').next().unwrap_or_default();
        let row = readme.lines().find(|line| line.starts_with("| [") && line.contains(version));
        assert!(row.is_some(), "README.md does not name {package}");
    }
}
