//! Programs: their files and names, and how to start them.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command};

use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_BACKUP_SEMANTICS;

use super::attributes;
use super::child::{Job, spawn_in_job};
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
    path.is_file()
}

/// Returns the names of files that run as `program`, one for each extension of `PATHEXT`.
pub fn file_names(program: &str) -> Vec<OsString> {
    search::extensions().into_iter().map(|extension| format!("{program}{extension}").into()).collect()
}

/// Creates a command, after searching the program in `PATH`.
///
/// std would also search the directory of ycred and, for a program with its extension missing, would not find scripts.
///
/// # Errors
/// There is no such program.
pub fn command(program: &OsStr) -> io::Result<Command> {
    search::find(program, None).map(Command::new).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Creates a command that runs in a directory. A program with a relative path is relative to it.
///
/// # Errors
/// There is no such program.
pub fn command_in(program: &OsStr, directory: &Path) -> io::Result<Command> {
    let file = search::find(program, Some(directory)).ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(file);
    command.current_dir(directory);
    Ok(command)
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
