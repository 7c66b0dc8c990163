//! Finds programs: the path of ycred that clients should run, and the clients themselves.

use std::path::{Path, PathBuf};

use crate::base::environment::PATH;
use crate::base::error::{Error, Result};
use crate::commands::clients::client::SetupCall;
use crate::session::Session;
use crate::system::{files, process, programs};

/// The path of ycred to write into configuration files.
pub struct YcredPath {
    pub path: String,
    /// Why the path may stop working.
    pub note: Option<String>,
}

/// Returns true if a file is one of these, however it is spelled.
pub fn is_one_of(file: &Path, known: &[PathBuf]) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    known.iter().any(|path| real(path) == real(file))
}

/// Returns the path that `--command` gives; else the first entry of PATH that is this ycred. A link there is not
/// resolved, because the link stays when the program behind it gets another version.
///
/// # Errors
/// Usage (2): `--command` is not an executable file, or the path is not UTF-8.
pub fn ycred(call: &SetupCall<'_>, session: &Session<'_>) -> Result<YcredPath> {
    if let Some(path) = call.matches.get_one::<String>("command") {
        let path = crate::disk::places::absolute(path.as_ref(), session.places.home.as_deref())
            .map_err(|why| Error::usage(format!("--command: {path}: {why}")))?;
        return match is_program(Path::new(&path)) {
            true => Ok(YcredPath { path, note: None }),
            false => Err(Error::usage(format!("--command: {path}: not an executable file"))),
        };
    }
    running(session)
}

/// Returns the first entry of PATH that is this ycred, else its own path.
///
/// # Errors
/// Usage (2): the path cannot be found, or is not UTF-8.
pub fn running(session: &Session<'_>) -> Result<YcredPath> {
    let running = process::executable()
        .ok_or_else(|| Error::usage("cannot find the path of ycred").hint("pass --command PATH"))?;
    let in_path = ["ycred", "kubectl-ycred"].into_iter().find_map(|name| {
        let file = programs::own_file_name(name);
        directories(session).map(|directory| directory.join(&file)).find(|path| is_same(path, &running))
    });
    let utf8 = |path: PathBuf| {
        path.into_os_string()
            .into_string()
            .map_err(|_| Error::usage("the path of ycred is not UTF-8").hint("pass --command PATH"))
    };
    if let Some(path) = in_path {
        return Ok(YcredPath { path: utf8(path)?, note: None });
    }
    let path = utf8(running)?;
    let is_passing = ["/target/", "/Cellar/", "/nix/store/", "/tmp/"].iter().any(|part| path.contains(part));
    let note = is_passing.then(|| {
        format!("clients would run {path}, which may be moved or deleted; install ycred into a directory of PATH, or pass --command FILE")
    });
    Ok(YcredPath { path, note })
}

/// Returns the directories in PATH. A relative one depends on the working directory, so it is left out.
pub fn directories(session: &Session<'_>) -> impl Iterator<Item = PathBuf> {
    let path = session.environment.get(PATH).map(std::ffi::OsStr::to_owned).unwrap_or_default();
    std::env::split_paths(&path).filter(|directory| directory.is_absolute()).collect::<Vec<_>>().into_iter()
}

/// Finds a program in PATH.
pub fn find(name: &str, session: &Session<'_>) -> Option<PathBuf> {
    let names = programs::file_names(name);
    directories(session)
        .flat_map(|directory| names.iter().map(move |name| directory.join(name)).collect::<Vec<_>>())
        .find(|path| is_program(path))
}

/// Finds a symbolic link in PATH, also one that leads nowhere.
pub fn find_link(name: &str, session: &Session<'_>) -> Option<PathBuf> {
    let (name, are_files) = (programs::own_file_name(name), files::LINKS_ARE_FILES);
    directories(session)
        .map(|directory| directory.join(&name))
        .find(|path| path.is_symlink() || are_files && path.is_file())
}

/// Returns true if one of these programs is in PATH.
pub fn is_any_found(names: &[&str], session: &Session<'_>) -> bool {
    names.iter().any(|name| find(name, session).is_some())
}

pub fn is_program(path: &Path) -> bool {
    programs::is_program(path)
}

/// Returns true if this user can probably create a file in a directory.
pub fn is_writable(directory: &Path) -> bool {
    files::is_writable_directory(directory)
}

/// Returns true if a path leads to this ycred.
pub fn is_running(path: &Path) -> bool {
    process::executable().is_some_and(|running| is_same(path, &running))
}

/// Returns true if both paths lead to one file.
pub fn is_same(path: &Path, other: &Path) -> bool {
    programs::is_same(path, other)
}
