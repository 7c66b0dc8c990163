//! Functions for this process and its children.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

use std::fs::File;
use std::io::{self, Write as _};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::system::unix::os;

/// Returns the effective user id, which decides whether this user owns a file.
pub fn effective_uid() -> u32 {
    os::effective_uid()
}

/// Returns the executable of this process. On Linux this works without `/proc` too.
pub fn executable() -> Option<PathBuf> {
    std::env::current_exe().ok().or_else(os::executable)
}

/// Opens the program that this process runs for reading, even if another file has its path by now.
///
/// # Errors
/// Those of open(2).
pub fn open_program() -> io::Result<File> {
    File::open(os::PROGRAM).or_else(|error| File::open(executable().ok_or(error)?))
}

/// Keeps this process's memory, which contains tokens, out of core dumps and away from other processes of the user.
///
/// A failure is ignored.
pub fn disable_core_dumps() {
    os::disable_core_dumps();
}

/// Ends this process as its child ended: with the same signal, or with the returned exit code.
///
/// The first process of a container survives its own signals. It gets the exit code that a shell would use for the
/// signal.
pub fn end_as(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            // SAFETY: SIG_DFL runs no code of this program, and raise takes a plain integer.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
            u8::try_from(128 + signal).unwrap_or(u8::MAX)
        }
    }
}

/// Replaces this process with a program. Returns only on failure.
pub fn become_program(command: &mut Command) -> io::Error {
    command.exec()
}

/// Starts a program in its own process group.
pub fn in_own_group(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

/// Makes the kernel kill the child when ycred is killed. Does not affect the child's own children.
pub fn kill_child_on_exit(command: &mut Command) {
    os::kill_child_on_exit(command);
}

/// The result of waiting for input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Readable {
    /// The time limit was reached.
    NotYet,
    Some,
    /// No writer is left, so no further read will block.
    AtEnd,
}

/// Waits until standard input is readable or has ended.
pub fn wait_for_stdin(timeout: Duration) -> Readable {
    let mut poll = libc::pollfd { fd: libc::STDIN_FILENO, events: libc::POLLIN, revents: 0 };
    let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // An error (EINTR, a file that cannot be polled) counts as readable: the following read reports it.
    // SAFETY: `poll` is one valid pollfd, and the count is 1.
    match unsafe { libc::poll(&raw mut poll, 1, timeout) } {
        0 => Readable::NotYet,
        _ if poll.revents & libc::POLLHUP != 0 => Readable::AtEnd,
        _ => Readable::Some,
    }
}

/// Writes to stdout without a buffer.
///
/// Unlike std's stdout, it fails if stdout is closed or open for reading only: a lost reply must not look like a success.
///
/// # Errors
/// Those of write(2). `BrokenPipe` also for a closed stdout.
pub fn write_stdout(piece: &[u8]) -> io::Result<()> {
    let closed = || io::Error::new(io::ErrorKind::BrokenPipe, "stdout is closed");
    if os::STDOUT_WAS_CLOSED.load(Ordering::Relaxed) {
        return Err(closed());
    }
    // SAFETY: std keeps descriptor 1 open while the process runs, and `ManuallyDrop` does not close it.
    let mut stdout = ManuallyDrop::new(unsafe { File::from_raw_fd(libc::STDOUT_FILENO) });
    let written = stdout.write_all(piece);
    written.map_err(|error| if error.raw_os_error() == Some(libc::EBADF) { closed() } else { error })
}

/// Kills a whole process group, such as that of a profile's command.
pub fn kill_group(leader: u32) {
    if let Ok(pid) = i32::try_from(leader) {
        // SAFETY: kill takes plain integers. ESRCH means that the group has ended already.
        unsafe { libc::kill(-pid, libc::SIGKILL) };
    }
}
