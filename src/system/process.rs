//! This process and its children, as the operating system has them.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::system::os;

/// The effective user id, which decides whether a file is ours.
pub fn effective_uid() -> u32 {
    os::effective_uid()
}

/// The file that this process runs; also where there is no `/proc` to ask.
pub fn executable() -> Option<PathBuf> {
    std::env::current_exe().ok().or_else(os::executable)
}

/// Keeps this process's memory, and with it every token, out of core dumps and away from other processes of the user. A
/// kernel that refuses is no reason to refuse the user.
pub fn disable_core_dumps() {
    os::disable_core_dumps();
}

/// Ends as a child of ours did: by the same signal where it was one, as if it had taken our place, whatever was caught of it.
/// What is left of us then (the first process of a container survives its own signals) says it as shells do, by the exit code
/// that is returned.
pub fn end_as(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            // SAFETY: SIG_DFL runs no code of ours, and raise takes a plain integer.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
            u8::try_from(128 + signal).unwrap_or(u8::MAX)
        }
    }
}

/// Becomes a program. Returns only where that cannot be.
pub fn become_program(command: &mut Command) -> io::Error {
    command.exec()
}

/// Puts a program into a process group of its own.
pub fn in_own_group(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

/// Makes a child end when we are killed, instead of going on unseen. (What it has started itself is not reached.)
pub fn kill_child_on_exit(command: &mut Command) {
    os::kill_child_on_exit(command);
}

/// What waiting for a descriptor came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Readable {
    /// The patience was over first.
    NotYet,
    Some,
    /// Nobody will write any more, so that no further read will block.
    ToTheEnd,
}

/// Waits until standard input has something to read, or has ended.
pub fn wait_for_stdin(patience: Duration) -> Readable {
    let mut poll = libc::pollfd { fd: libc::STDIN_FILENO, events: libc::POLLIN, revents: 0 };
    let patience = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one pollfd, whose address and count are right. An error (EINTR, a file that cannot be polled) counts as
    // readable: the read that follows tells.
    match unsafe { libc::poll(&raw mut poll, 1, patience) } {
        0 => Readable::NotYet,
        _ if poll.revents & libc::POLLHUP != 0 => Readable::ToTheEnd,
        _ => Readable::Some,
    }
}

/// Ends a whole process group, which a command of a profile was started in.
pub fn kill_group(leader: u32) {
    if let Ok(pid) = i32::try_from(leader) {
        // SAFETY: kill takes plain integers. A group that is gone already gives ESRCH, which is what was wanted.
        unsafe { libc::kill(-pid, libc::SIGKILL) };
    }
}
