//! The commands that fix what a check has found, as people enter them in a shell.

use std::path::Path;

use crate::base::shell::word;

/// Returns the command that sets the clock.
pub const SET_CLOCK: &str = super::os::SET_CLOCK;

/// The hint for a process that has too many open files.
pub const RAISE_FILE_LIMIT: &str = "raise the limit of open files (ulimit -n), then try again";

/// The hint for a user that has too many processes.
pub const RAISE_PROCESS_LIMIT: &str =
    "raise the limit of processes (ulimit -u, or pids.max of the container), then try again";

/// The hint if one of the two limits is reached.
pub const CHECK_LIMITS: &str = "check the limits on processes and open files (ulimit -a), then try again";

/// The hint if a sandbox or a policy forbids to start a program.
pub const ALLOW_PROGRAM: &str = match IS_MAC {
    true => "allow it there (System Settings, Privacy & Security), or run it outside",
    false => "allow it there (seccomp, AppArmor, SELinux, systemd's SystemCallFilter), or run it outside",
};

/// The hint if no thread can be started.
pub const ALLOW_THREADS: &str = match IS_MAC {
    true => "check the limit of processes (ulimit -u), and whether a sandbox forbids threads",
    false => "check the limit of processes (ulimit -u), and whether a sandbox forbids threads (seccomp)",
};

/// The hint if nobody can listen on the loopback interface.
pub const ALLOW_LOOPBACK: &str = match IS_MAC {
    true => "check that the loopback interface is up (sudo ifconfig lo0 up), and that the sandbox allows to listen",
    false => "check that the loopback interface is up (ip link set lo up), and that the sandbox allows to listen",
};

const IS_MAC: bool = cfg!(target_vendor = "apple");

/// The start file of a login shell: that of zsh on a Mac, which does not read `~/.profile`.
pub const START_FILE: &str = if IS_MAC { "~/.zprofile" } else { "~/.profile" };

/// Says how to search a directory for programs before the others, now and in new terminals.
pub fn search_first_always(directory: &Path) -> String {
    let directory = directory.display();
    format!("put {directory} first in PATH, for example in {START_FILE}: export PATH=\"{directory}:$PATH\"")
}

/// Returns the command that removes carriage returns at the ends of lines.
pub fn remove_carriage_returns(path: &Path) -> String {
    match IS_MAC {
        // The sed of BSD has no \r, and wants a suffix after -i.
        true => format!("sed -i '' $'s/\\r$//' {}", word(path)),
        false => format!("sed -i 's/\\r$//' {}", word(path)),
    }
}

/// Returns the command that shows which files a program needs.
pub fn show_needs(path: &Path) -> String {
    match IS_MAC {
        true => format!("otool -L {}", word(path)),
        false => format!("readelf -l {} | grep interpreter", word(path)),
    }
}

/// Says how to find out why a file is not a program.
pub fn examine_program(path: &Path) -> String {
    format!("see what it is: file {}", word(path))
}

/// Returns the command that shows what a file is.
pub fn show(path: &Path) -> String {
    format!("ls -l {}", word(path))
}

/// Returns the command that makes a file a program.
pub fn make_executable(path: &Path) -> String {
    format!("chmod +x {}", word(path))
}

/// Returns the command that gives a directory to its owner alone.
pub fn make_directory_private(path: &Path) -> String {
    format!("chmod 700 {}", word(path))
}

/// Returns the command that gives a file to its owner alone.
pub fn make_private(path: &Path) -> String {
    format!("chmod 600 {}", word(path))
}

/// Returns the command that makes a directory and its content this user's own.
pub fn make_own(path: &Path) -> String {
    format!("sudo chown -R {} {}", super::process::effective_uid(), word(path))
}

/// Returns the command that gives a file another name.
pub fn rename(path: &Path, name: &Path) -> String {
    format!("mv {} {}", word(path), word(name))
}

/// Returns the command that removes a file, which may be gone by then.
pub fn remove(path: &Path) -> String {
    format!("rm -f {}", word(path))
}

/// Returns the command that shows the free space of a file system.
pub fn show_space(path: &Path) -> String {
    format!("df {}", word(path))
}

/// Returns the command that ends a process.
pub fn end_process(process: u32) -> String {
    format!("kill {process}")
}

/// Returns the command that makes `link` lead to a program.
pub fn link(program: &Path, link: &Path) -> String {
    format!("ln -sfn {} {}", word(program), word(link))
}

/// Returns the command that makes `link` lead to a program, in a directory that may not exist.
pub fn link_in_new_directory(program: &Path, path: &Path) -> Option<String> {
    let directory = path.parent()?;
    Some(format!("mkdir -p {} && {}", word(directory), link(program, path)))
}

/// Returns the command that creates a link to ycred among the user's own programs.
pub fn new_link(name: &str) -> String {
    format!("ln -s \"$(command -v ycred)\" ~/.local/bin/{name}")
}

/// Returns the command that removes variables.
pub fn unset(names: &[&str]) -> String {
    format!("unset {}", names.join(" "))
}

/// Returns the command that sets a variable.
pub fn set(name: &str, value: &str) -> String {
    format!("export {name}={value}")
}

/// Returns the command that searches a directory for programs before the others.
pub fn search_first(directory: &Path) -> String {
    format!("export PATH={}:\"$PATH\"", word(directory))
}

/// Returns the command that opens a file in an editor.
pub fn edit(path: &Path, line: usize) -> String {
    format!("\"${{EDITOR:-vi}}\" +{line} {}", word(path))
}

/// Returns the command that changes a file by a script for GNU sed. Other systems have another sed, so a person does it there.
pub fn change(path: &Path, script: &str, line: usize) -> String {
    match cfg!(target_os = "linux") {
        true => format!("sed -i '{script}' {}", word(path)),
        false => edit(path, line),
    }
}
