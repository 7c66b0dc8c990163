//! The commands that fix what a check has found, for the command prompt and for PowerShell. `cmd /c` runs those that only the
//! command prompt has, and expands variables as it does.

use std::path::Path;

use super::acl;
use crate::base::shell::word;

/// Returns the command that sets the clock.
pub const SET_CLOCK: &str = "w32tm /resync";

/// The hint for a process that has too many open files.
pub const RAISE_FILE_LIMIT: &str = "close other programs, then try again";

/// The hint for a user that has too many processes.
pub const RAISE_PROCESS_LIMIT: &str = "end other programs, then try again";

/// The hint if one of the two limits is reached.
pub const CHECK_LIMITS: &str = "end other programs, then try again";

/// The hint if a sandbox or a policy forbids to start a program.
pub const ALLOW_PROGRAM: &str =
    "allow it there (AppLocker, App Control for Business, an antivirus program), or run it outside";

/// The hint if no thread can be started.
pub const ALLOW_THREADS: &str = "end other programs, and check whether a sandbox forbids threads";

/// The hint if nobody can listen on the loopback interface.
pub const ALLOW_LOOPBACK: &str = "check that the firewall and the sandbox allow to listen on 127.0.0.1";

/// Says how to search a directory for programs before the others, now and in new terminals.
pub fn search_first_always(directory: &Path) -> String {
    format!(
        "put {} first in PATH (Settings, System, About, Advanced system settings), and open a new terminal",
        directory.display()
    )
}

/// Returns the command that opens a file in an editor: no command removes carriage returns.
pub fn remove_carriage_returns(path: &Path) -> String {
    edit(path, 1)
}

/// Returns the command that shows a file: no command shows which files a program needs.
pub fn show_needs(path: &Path) -> String {
    show(path)
}

/// Says what files Windows runs.
pub fn examine_program(path: &Path) -> String {
    format!(
        "Windows runs .com, .exe, .bat and .cmd files; name the program that runs this one, such as: powershell -File {}",
        quoted(path)
    )
}

/// Returns the command that shows what a file is.
pub fn show(path: &Path) -> String {
    format!("cmd /c dir /q {}", quoted(path))
}

/// Returns what makes a file a program: its name.
pub fn make_executable(path: &Path) -> String {
    format!("give {} the name of a program, such as one with .exe", quoted(path))
}

/// Returns the command that gives a directory and its content to this user alone.
pub fn make_directory_private(path: &Path) -> String {
    take_from_others(path, ":(OI)(CI)F")
}

/// Returns the command that gives a file to this user alone.
pub fn make_private(path: &Path) -> String {
    take_from_others(path, ":F")
}

/// Entries that were not inherited stay unless they are removed. Accounts have numbers, because icacls does not find the names of
/// some (those of Entra), and others differ by language.
fn take_from_others(path: &Path, rights: &str) -> String {
    let (user, others) = (acl::current_user(), acl::GROUPS_OF_OTHERS.map(|group| format!("*{group}")).join(" "));
    let user = user.map_or_else(|_| "%USERNAME%".to_owned(), |user| format!("*{user}"));
    format!("cmd /c icacls {} /inheritance:r /remove:g {others} /grant:r \"{user}{rights}\"", quoted(path))
}

/// Returns the command that makes a directory and its content this user's own.
pub fn make_own(path: &Path) -> String {
    format!("takeown /r /f {}", quoted(path))
}

/// Returns the command that gives a file another name.
pub fn rename(path: &Path, name: &Path) -> String {
    format!("cmd /c move {} {}", quoted(path), quoted(name))
}

/// Returns the command that removes a file.
pub fn remove(path: &Path) -> String {
    format!("cmd /c del {}", quoted(path))
}

/// Returns the command that shows the free space of a drive, in its last line.
pub fn show_space(path: &Path) -> String {
    format!("cmd /c dir {}", quoted(path))
}

/// Returns the command that ends a process.
pub fn end_process(process: u32) -> String {
    format!("taskkill /f /pid {process}")
}

/// Returns the command that puts a program under another name. A hard link would need the old file to be removed before.
pub fn link(program: &Path, link: &Path) -> String {
    format!("cmd /c copy /y {} {}", quoted(program), quoted(link))
}

/// Returns `None`: no single command creates the directory too.
pub fn link_in_new_directory(_: &Path, _: &Path) -> Option<String> {
    None
}

/// Returns the command that puts ycred under another name beside itself.
pub fn new_link(name: &str) -> String {
    let program = super::process::executable().unwrap_or_else(|| "ycred.exe".into());
    link(&program, &program.with_file_name(format!("{name}.exe")))
}

/// Says which variables to remove: the two shells have no common command.
pub fn unset(names: &[&str]) -> String {
    match names {
        [name] => format!("remove the variable {name}"),
        names => format!("remove the variables {}", names.join(" and ")),
    }
}

/// Says how to set a variable.
pub fn set(name: &str, value: &str) -> String {
    format!("set the variable {name} to {value}")
}

/// Says to search a directory for programs before the others.
pub fn search_first(directory: &Path) -> String {
    format!("put {} first in PATH", word(directory))
}

/// Returns the command that opens a file in an editor.
pub fn edit(path: &Path, _: usize) -> String {
    format!("notepad {}", quoted(path))
}

/// Returns the command that opens a file in an editor. There is no sed.
pub fn change(path: &Path, _: &str, line: usize) -> String {
    edit(path, line)
}

/// No name of a file contains a quote.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}
