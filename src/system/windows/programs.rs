//! Programs: their files and names, and how to start them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use windows_sys::Win32::Foundation::ERROR_BAD_EXE_FORMAT;
use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_BACKUP_SEMANTICS;

use super::attributes;
use super::child::{Job, spawn_in_job};
use super::handle::code;
use super::search;

/// The variable with the user's shell, and the shell without it.
pub const SHELL: (&str, &str) = ("COMSPEC", "cmd.exe");

/// Returns true if both paths lead to one file, or to copies of one file.
pub fn is_same(path: &Path, other: &Path) -> bool {
    let open = |path: &Path| OpenOptions::new().read(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path);
    let (Ok(one), Ok(two)) = (open(path), open(other)) else { return false };
    let identity = |file| attributes::identity_of(file).ok();
    let is_one_file = identity(&one).is_some() && identity(&one) == identity(&two);
    let size = |file: &File| file.metadata().ok().filter(|it| it.is_file()).map(|it| it.len());
    is_one_file || (size(&one).is_some() && size(&one) == size(&two) && has_same_content(one, two))
}

fn has_same_content(mut one: File, mut two: File) -> bool {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    one.read_to_end(&mut ours).is_ok() && two.read_to_end(&mut theirs).is_ok() && ours == theirs
}

/// Returns the name of the file of one of ycred's own names.
pub fn own_file_name(name: &str) -> String {
    format!("{name}.exe")
}

/// Returns the name that [`own_file_name`] has made a file name of. `None` for a file of another kind.
pub fn own_name(path: &Path) -> Option<&str> {
    let is_program = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("exe"));
    path.file_stem().filter(|_| is_program)?.to_str()
}

/// Returns true if the file can be run as a program. Its name decides.
pub fn is_program(path: &Path) -> bool {
    search::is_program(path)
}

/// Returns the names of files that run as `program`: with one of the extensions of `PATHEXT`.
pub fn file_names(program: &str) -> Vec<OsString> {
    search::names(program.as_ref(), &search::extensions())
}

/// Returns the file that [`command_in`] runs in a directory, if `PATH` has this value.
pub fn find_in(program: &OsStr, directory: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    search::find_with(program, directory, path)
}

/// Returns the program that a shim of scoop runs: a file beside it names that program. `None` for other programs, and if
/// the shim adds arguments.
pub fn behind_shim(path: &Path) -> Option<PathBuf> {
    let shim = path.with_extension("shim");
    let text = fs::metadata(&shim).ok().filter(|it| it.len() < 4096).and_then(|_| fs::read_to_string(shim).ok())?;
    target_of_shim(&text).filter(|target| is_program(target))
}

fn target_of_shim(text: &str) -> Option<PathBuf> {
    let value = |key: &str| {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        let value =
            lines.filter(|(name, _)| name.trim().eq_ignore_ascii_case(key)).map(|(_, value)| value.trim()).next();
        value.map(|value| value.trim_matches('"')).filter(|value| !value.is_empty())
    };
    let target = value("path").map(PathBuf::from).filter(|target| target.is_absolute());
    target.filter(|_| value("args").is_none())
}

/// Creates a command, after searching the program in `PATH`.
///
/// std would also search the directory of ycred and, for a program with its extension missing, would not find scripts.
///
/// # Errors
/// There is no such program.
pub fn command(program: &OsStr) -> io::Result<Command> {
    search::find(program, None).map(Command::new).ok_or_else(|| why_not_found(program, Path::new("")))
}

/// Creates a command that runs in a directory. A program with a relative path is relative to it.
///
/// # Errors
/// There is no such program.
pub fn command_in(program: &OsStr, directory: &Path) -> io::Result<Command> {
    let file = search::find(program, Some(directory)).ok_or_else(|| why_not_found(program, directory))?;
    let mut command = Command::new(file);
    command.current_dir(directory);
    Ok(command)
}

/// Returns the error for a program that was not found. A script of PowerShell exists, but Windows does not run it as a program.
fn why_not_found(program: &OsStr, directory: &Path) -> io::Error {
    match search::find_file(program, directory) {
        Some(_) => io::Error::from_raw_os_error(code(ERROR_BAD_EXE_FORMAT)),
        None => io::ErrorKind::NotFound.into(),
    }
}

/// A program with all the programs that it starts.
pub struct ProcessGroup(Option<Job>);

impl ProcessGroup {
    /// Starts a program. All of them end when ycred does.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<(Child, Self)> {
        spawn_in_job(command).map(|(child, job)| (child, Self(job)))
    }

    /// Ends all of them.
    pub fn kill(&self, leader: &mut Child) {
        match &self.0 {
            Some(job) => job.kill(),
            None => {
                let _ = leader.kill();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_without_arguments_stands_for_its_program() {
        let target = Some(PathBuf::from(r"C:\scoop\apps\ycred\current\ycred.exe"));
        let path = r#"path = "C:\scoop\apps\ycred\current\ycred.exe""#;
        assert_eq!(target_of_shim(&format!("{path}\r\n")), target);
        assert_eq!(target_of_shim(r"path = C:\scoop\apps\ycred\current\ycred.exe"), target);
        assert_eq!(target_of_shim(&format!("{path}\nargs = \n")), target);
        assert_eq!(target_of_shim(&format!("{path}\nargs = --profile x\n")), None);
        assert_eq!([target_of_shim(""), target_of_shim("path = ycred.exe")], [None, None]);
    }
}
