//! Extended attributes on Linux.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// Copies the extended attributes, which include access control lists and security labels.
///
/// # Errors
/// An attribute cannot be set. One that the new file has already, such as an inherited label, is not set again.
pub fn copy_extended_attributes(from: &File, to: &File) -> io::Result<()> {
    for name in attribute_names(from)? {
        let value = attribute(from, &name)?;
        if attribute(to, &name).is_ok_and(|existing| existing == value) {
            continue;
        }
        // SAFETY: the name is NUL-terminated, and the length is that of the value.
        let result = unsafe { libc::fsetxattr(to.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn attribute_names(file: &File) -> io::Result<Vec<CString>> {
    let list = sized(|buffer, size| {
        // SAFETY: the buffer has this size; with size 0 the kernel only returns the required size.
        unsafe { libc::flistxattr(file.as_raw_fd(), buffer.cast(), size) }
    });
    match list {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Vec::new()),
        list => Ok(list?
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .filter_map(|name| CString::new(name).ok())
            .collect()),
    }
}

fn attribute(file: &File, name: &CStr) -> io::Result<Vec<u8>> {
    sized(|buffer, size| {
        // SAFETY: the name is NUL-terminated, and the buffer has this size.
        unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), buffer.cast(), size) }
    })
}

/// Calls a function twice: for the size of its result, and for the result.
fn sized(call: impl Fn(*mut u8, usize) -> isize) -> io::Result<Vec<u8>> {
    let size = usize::try_from(call(std::ptr::null_mut(), 0)).map_err(|_| io::Error::last_os_error())?;
    let mut buffer = vec![0; size];
    let size = usize::try_from(call(buffer.as_mut_ptr(), size)).map_err(|_| io::Error::last_os_error())?;
    buffer.truncate(size);
    Ok(buffer)
}
