//! An older ycred, built from the history of this repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::skip;

/// The commit of the older ycred. It has the same formats of the cache and of logins, without the optional fields.
const COMMIT: &str = "3722a0cca3d37c9a345f23b394e493fef8df7c8f";

/// Builds the older ycred from the history, once. If the history or a crate is missing, calls [`skip`], which fails the
/// test in CI, and returns `None`. `.ci/run` downloads the crates.
#[track_caller]
pub fn previous_ycred() -> Option<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BUILT.get_or_init(|| build(Path::new(env!("CARGO_MANIFEST_DIR")))) {
        Ok(path) => Some(path.clone()),
        Err(why) => {
            skip(&format!("the older ycred cannot be built: {why}"));
            None
        }
    }
}

fn build(root: &Path) -> Result<PathBuf, String> {
    // Beside the program under test, so that the target directory may be anywhere.
    let target = Path::new(super::YCRED).parent().expect("a directory").join("previous");
    let binary = target.join(format!("ycred-{}", &COMMIT[..12]));
    if binary.exists() {
        return Ok(binary);
    }
    let sources = target.join(format!("sources-{}-{}", &COMMIT[..12], std::process::id()));
    fs::create_dir_all(&sources).map_err(|error| format!("{}: {error}", sources.display()))?;
    let built = check_out_and_build(root, &sources, &target).and_then(|built| {
        // Another test process may do the same.
        fs::rename(built, &binary).map_err(|error| error.to_string())
    });
    let _ = fs::remove_dir_all(&sources);
    built.map(|()| binary)
}

fn check_out_and_build(root: &Path, sources: &Path, target: &Path) -> Result<PathBuf, String> {
    let archive = sources.join("sources.tar");
    run(Command::new("git").args(["archive", "--output"]).arg(&archive).arg(COMMIT).current_dir(root))?;
    run(Command::new("tar").arg("-xf").arg(&archive).current_dir(sources))?;
    let own_target = target.join("build");
    run(Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--offline", "--bin", "ycred"])
        // Quick to build, not to run.
        .args(["--config", "profile.dev.debug=0", "--config", "profile.dev.package.\"*\".opt-level=0"])
        .arg("--target-dir")
        .arg(&own_target)
        .current_dir(sources))?;
    let copy = sources.join("ycred");
    fs::copy(own_target.join("debug/ycred"), &copy).map_err(|error| error.to_string())?;
    Ok(copy)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
