//! Descriptors: which ones a program inherits, and how a file is opened in one call.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// More descriptors than this are not checked, because each takes a system call.
const DESCRIPTORS_MAX: libc::rlim_t = 65_536;

/// Makes exec close all descriptors but the standard streams, one by one. Async-signal-safe.
pub fn close_each_on_exec() {
    // SAFETY: getrlimit fills the struct, which is plain data. fcntl takes plain integers, and fails harmlessly on a
    // descriptor that is not open.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        let known = libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0;
        let most = if known { limit.rlim_cur.min(DESCRIPTORS_MAX) } else { DESCRIPTORS_MAX };
        for descriptor in 3..libc::c_int::try_from(most).unwrap_or(libc::c_int::MAX) {
            libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}

/// Opens a file for reading in one system call.
///
/// std calls `open`, after which musl sets the close-on-exec flag again with one more system call. `openat` does not.
///
/// # Errors
/// Those of open(2). `InvalidInput` for a path with NUL.
pub fn open_in_one_call(path: &Path, flags: libc::c_int) -> io::Result<File> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    loop {
        // SAFETY: the string ends with NUL and outlives the call.
        let descriptor =
            unsafe { libc::openat(libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC | flags) };
        if descriptor >= 0 {
            // SAFETY: the call has just returned this descriptor, and nothing else owns it.
            return Ok(File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
