//! Finds programs: the path of ycred that clients should run, and the clients themselves.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::base::environment::PATH;
use crate::base::error::{Error, Result};
use crate::commands::clients::client::SetupCall;
use crate::session::Session;
use crate::system::{files, process, programs};

/// The name by which kubectl finds ycred as a plugin: `kubectl ycred status` is `ycred status`.
pub const KUBECTL_PLUGIN: &str = "kubectl-ycred";

/// Returns true if a program's name is a link's with a suffix, which selects a profile. That of kubectl's plugin selects
/// none.
pub fn has_suffix(name: &str, link: &str) -> bool {
    link != KUBECTL_PLUGIN && name.strip_prefix(link).is_some_and(|rest| rest.starts_with('-'))
}

/// The path of ycred to write into configuration files.
pub struct YcredPath {
    pub path: String,
    /// Why the path may stop working.
    pub note: Option<String>,
}

/// Returns true if a program in a configuration has this name, with or without a path. A configuration may come from Windows,
/// or be written for it, so its separators and its `.exe` are known on every system.
pub fn is_named(program: &str, name: &str) -> bool {
    let file = program.rsplit(['/', '\\']).next().unwrap_or_default();
    match file.len().checked_sub(".exe".len()).and_then(|at| file.split_at_checked(at)) {
        Some((stem, extension)) if extension.eq_ignore_ascii_case(".exe") => stem.eq_ignore_ascii_case(name),
        _ => file == name,
    }
}

/// Returns true if a file is one of these, however it is spelled.
pub fn is_one_of(file: &Path, known: &[PathBuf]) -> bool {
    let real = |path: &Path| crate::system::files::real_path(path).unwrap_or_else(|_| path.to_owned());
    known.iter().any(|path| real(path) == real(file))
}

/// Returns the path that `--command` gives; else the first entry of PATH that is this ycred. A link there is not
/// resolved, because the link stays when the program behind it gets another version.
///
/// # Errors
/// Usage (2): `--command` is not an executable file or not ycred, or the path is not UTF-8.
pub fn ycred(call: &SetupCall<'_>, session: &Session<'_>) -> Result<YcredPath> {
    if let Some(path) = call.matches.get_one::<String>("command") {
        let path = crate::disk::places::absolute(path.as_ref(), session.places.home.as_deref())
            .map_err(|why| Error::usage(format!("--command: {path}: {why}")))?;
        let file = Path::new(&path);
        if !is_program(file) {
            return Err(Error::usage(format!("--command: {path}: not an executable file")));
        }
        // A script that runs ycred has its name.
        let has_name = programs::own_name(file).is_some_and(|name| matches!(name, "ycred" | KUBECTL_PLUGIN));
        if !has_name && !is_ycred(file) {
            return Err(Error::usage(format!("--command: {path}: not ycred"))
                .hint("pass the path of ycred, or of a program named ycred that runs it"));
        }
        return Ok(YcredPath { path, note: None });
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
    let in_path = ["ycred", KUBECTL_PLUGIN].into_iter().find_map(|name| {
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

/// Returns true if a directory has a program of this name.
pub fn has(directory: &Path, name: &str) -> bool {
    programs::file_names(name).iter().any(|name| is_program(&directory.join(name)))
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

/// Returns true if a program runs this file: it is that file, or a package manager's shim for it.
pub fn leads_to(path: &Path, program: &Path) -> bool {
    is_same(path, program) || programs::behind_shim(path).is_some_and(|target| is_same(&target, program))
}

/// Returns true if both paths lead to one file.
pub fn is_same(path: &Path, other: &Path) -> bool {
    programs::is_same(path, other)
}

/// Identifies a program as ycred, because its file name proves nothing. Every version of ycred contains this string, and a
/// wrapper of ycred may contain it too.
///
/// The attribute `#[used]` keeps the compiler from dropping it.
#[used]
static MARKER: &str = "ycred-program-marker";

/// Returns true if a path leads to this program, or to a program that contains `MARKER`, also behind a package manager's shim.
pub fn is_ycred(path: &Path) -> bool {
    let is_ycred = |path: &Path| is_running(path) || contains_marker(path).unwrap_or(false);
    is_program(path) && (is_ycred(path) || programs::behind_shim(path).is_some_and(|target| is_ycred(&target)))
}

/// The bytes of a program that are searched at once.
const CHUNK: usize = 1 << 20;

/// The chunks of a program that are searched. Programs of ycred are smaller.
const CHUNKS_MAX: usize = 256;

fn contains_marker(path: &Path) -> io::Result<bool> {
    let mut file = files::open_for_reading(path)?;
    let mut chunk = Vec::new();
    for _ in 0..CHUNKS_MAX {
        // The marker may begin in one chunk and end in the next.
        chunk.drain(..chunk.len().saturating_sub(MARKER.len()));
        if (&mut file).take(CHUNK as u64).read_to_end(&mut chunk)? == 0 {
            return Ok(false);
        }
        if String::from_utf8_lossy(&chunk).contains(MARKER) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_its_name_with_any_path_and_with_the_extension_of_windows() {
        for program in
            ["ycred", "/opt/my dir/ycred", r"C:\Users\me\ycred.exe", r"C:\\x\\YCRED.EXE", "C:/x/ycred.exe", "ycred.exe"]
        {
            assert!(is_named(program, "ycred"), "{program}");
        }
        for program in ["", "ycred-prod", "/x/ycred/other", "YCRED", r"C:\x\ycred.cmd", "ycred.exe.txt", "yc", "é.exe"]
        {
            assert!(!is_named(program, "ycred"), "{program}");
        }
    }
}
