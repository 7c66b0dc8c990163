//! The macOS versions of the Linux functions.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]
#![expect(clippy::disallowed_methods, reason = "lists directories by std")]

use std::ffi::{CStr, OsStr, c_char};
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The command that sets the clock.
pub const SET_CLOCK: &str = "sudo sntp -sS time.apple.com";

/// No such path exists here: only std knows the program of this process.
pub const PROGRAM: &str = "";

/// Returns the effective user id.
pub fn effective_uid() -> u32 {
    // SAFETY: geteuid takes no arguments, writes no memory and cannot fail (POSIX).
    unsafe { libc::geteuid() }
}

/// Returns the array of this process's variables, which the C library initialises.
pub fn environment() -> *const *const c_char {
    // SAFETY: takes no arguments; the pointer that it returns is always valid, and nothing in this program writes there.
    unsafe { *libc::_NSGetEnviron() as *const *const c_char }
}

/// Returns `None`: only std knows the path here.
pub fn executable() -> Option<PathBuf> {
    None
}

/// Returns `None`: a path works as long as the file exists.
pub fn own_program() -> Option<PathBuf> {
    None
}

/// Renames a file, unless the new name exists. A file system that cannot do that fails with `ENOTSUP`.
///
/// # Errors
/// Those of renamex_np(2).
pub fn rename_new(from: &CStr, to: &CStr) -> io::Result<()> {
    // SAFETY: renamex_np(2) reads the two strings up to their ends, and keeps neither.
    match unsafe { libc::renamex_np(from.as_ptr(), to.as_ptr(), libc::RENAME_EXCL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes exec close all descriptors but the standard streams. Async-signal-safe.
pub fn close_other_descriptors_on_exec() {
    super::descriptors::close_each_on_exec();
}

/// Does nothing: macOS writes no core dumps unless an administrator enables them.
pub fn disable_core_dumps() {}

/// Does nothing: macOS has no signal for the end of a parent.
pub fn end_child_with_parent(_: &mut Command, _: libc::c_int) {}

/// See [`super::files::for_each_name`] and [`super::files::names_from`].
///
/// A position is a number of names: the positions of telldir(3) end with the stream.
pub fn for_each_name(
    directory: &Path,
    position: Option<i64>,
    mut each: impl FnMut(&OsStr) -> ControlFlow<()>,
) -> io::Result<(Option<File>, Option<i64>)> {
    let start = position.and_then(|position| usize::try_from(position).ok()).unwrap_or(0);
    for (index, entry) in fs::read_dir(directory)?.enumerate().skip(start) {
        if each(&entry?.file_name()).is_break() {
            return Ok((None, i64::try_from(index + 1).ok()));
        }
    }
    Ok((None, None))
}

/// Returns the address of `errno`, which a signal handler must restore.
///
/// # Safety
/// The pointer belongs to the calling thread and is valid as long as the thread runs.
pub unsafe fn errno() -> *mut libc::c_int {
    // SAFETY: takes no arguments and writes no memory.
    unsafe { libc::__error() }
}

/// False: `si_code` is 0 for every signal that a handler gets, also for those of the terminal (psignal_internal in XNU's
/// bsd/kern/kern_sig.c).
pub const TELLS_SENDER_OF_SIGNALS: bool = false;

/// Writes a file to its disk, after [`File::sync_all`] has failed: that uses F_FULLFSYNC, which shares of a network and of a
/// virtual machine do not know.
///
/// # Errors
/// `error`, or those of fsync(2).
pub fn sync_otherwise(file: &File, error: io::Error) -> io::Result<()> {
    let is_unknown =
        matches!(error.raw_os_error(), Some(libc::ENOTSUP | libc::EOPNOTSUPP | libc::ENOTTY | libc::EINVAL));
    // SAFETY: takes a plain integer, and the descriptor is open.
    match is_unknown {
        true if unsafe { libc::fsync(file.as_raw_fd()) } == 0 => Ok(()),
        true => Err(io::Error::last_os_error()),
        false => Err(error),
    }
}

/// There are no user namespaces.
pub fn is_mapped_user(_: u32) -> bool {
    true
}

/// File systems without modes are not recognised.
pub fn may_ignore_modes(_: &CStr) -> bool {
    false
}
