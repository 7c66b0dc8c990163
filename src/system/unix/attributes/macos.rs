//! Access control lists and extended attributes on macOS.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// Copies the access control list and the extended attributes.
///
/// # Errors
/// Those of fcopyfile(3).
pub fn copy_extended_attributes(from: &File, to: &File) -> io::Result<()> {
    let what = libc::COPYFILE_ACL | libc::COPYFILE_XATTR;
    // SAFETY: both descriptors are open, and a null state is allowed.
    match unsafe { libc::fcopyfile(from.as_raw_fd(), to.as_raw_fd(), std::ptr::null_mut(), what) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
