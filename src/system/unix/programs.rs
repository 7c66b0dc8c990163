//! Programs: their files and names, and how to start them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use crate::system::unix::files;
use crate::system::unix::process::{ParentEnd, end_child_with_parent, in_own_group, kill_group};

/// The variable with the user's shell, and the shell without it.
pub const SHELL: (&str, &str) = ("SHELL", "/bin/sh");

/// Returns the names of files that run as `program`.
pub fn file_names(program: &str) -> Vec<OsString> {
    vec![program.into()]
}

/// Returns the absolute path of the file that execvp(3) runs in a directory if `PATH` has this value, without resolving links.
pub fn find_in(program: &OsStr, directory: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    let program = Path::new(program);
    if program.components().count() > 1 || program.is_absolute() {
        return Some(directory.join(program));
    }
    let program = program.to_str()?;
    std::env::split_paths(path?).map(|place| directory.join(place).join(program)).find(|file| is_program(file))
}

/// Returns `None`: there are no shims.
pub fn behind_shim(_: &Path) -> Option<PathBuf> {
    None
}

/// Returns the name of the file of one of ycred's own names.
pub fn own_file_name(name: &str) -> String {
    name.to_owned()
}

/// Returns the name that [`own_file_name`] has made a file name of.
pub fn own_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// Returns true if the file can be run as a program.
pub fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && files::mode(&metadata) & 0o111 != 0)
}

/// Returns true if both paths lead to one file.
pub fn is_same(path: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|metadata| files::identity(&metadata));
    identity(path).is_some_and(|one| identity(other) == Some(one))
}

/// Creates the command for a program, which execvp(3) will search in `PATH`.
///
/// # Errors
/// None.
pub fn command(program: &OsStr) -> io::Result<Command> {
    Ok(Command::new(program))
}

/// Creates the command for a program that runs in a directory.
///
/// # Errors
/// None.
pub fn command_in(program: &OsStr, directory: &Path) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.current_dir(directory);
    Ok(command)
}

/// A program with all the programs that it starts.
pub struct ProcessGroup(u32);

impl ProcessGroup {
    /// Starts a program in its own process group. It ends when ycred is killed.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<(Child, Self)> {
        in_own_group(command);
        end_child_with_parent(command, ParentEnd::Kill);
        let child = command.spawn()?;
        let group = Self(child.id());
        Ok((child, group))
    }

    /// Ends all of them.
    pub fn kill(&self, _: &mut Child) {
        kill_group(self.0);
    }
}
