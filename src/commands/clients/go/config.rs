//! go's own file of settings, and the methods in `GOAUTH`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::base::environment::GOAUTH;
use crate::base::error::{Error, Result, describe};
use crate::commands::clients::program;
use crate::session::Session;
use crate::system;

/// Returns the file that `go env -w` edits.
///
/// # Errors
/// Usage (2): go is missing, or reads no file.
pub fn path(session: &Session<'_>) -> Result<PathBuf> {
    let go = program::find("go", session).ok_or_else(|| Error::usage("go is not in PATH").hint("install go"))?;
    system::signals::reset_sigchld();
    let output = Command::new(&go)
        .args(["env", "GOENV"])
        .env("GOTOOLCHAIN", "local")
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::usage(format!("{}: {}", go.display(), describe(&error))))?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match path.as_str() {
        "off" => Err(Error::usage("GOENV=off: go reads no file of settings").hint("unset GOENV")),
        path if Path::new(path).is_absolute() => Ok(path.into()),
        _ => Err(Error::usage(format!("{} env GOENV: printed no path", go.display())).hint("run it by hand")),
    }
}

/// Splits a value of `GOAUTH`.
pub fn methods(value: &str) -> Vec<&str> {
    value.split(';').map(str::trim).filter(|method| !method.is_empty()).collect()
}

/// Returns true if a method is ycred.
pub fn is_ours(method: &str) -> bool {
    program::is_named(method.split(" goauth").next().unwrap_or_default(), "ycred")
}

/// Returns the value in the file: of the last line with the name, as in go.
pub fn value(text: &str) -> Option<&str> {
    text.lines().filter_map(|line| line.strip_prefix(GOAUTH)?.strip_prefix('=')).next_back().map(str::trim_end)
}
