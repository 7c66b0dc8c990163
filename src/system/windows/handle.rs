//! Conversions that all calls of the Windows API need.

use std::ffi::OsStr;
use std::io;
use std::iter::once;
use std::os::windows::ffi::OsStrExt as _;

/// Returns the string as the API expects it: UTF-16 that ends with a NUL.
///
/// # Errors
/// The string contains a NUL.
pub fn wide(text: &OsStr) -> io::Result<Vec<u16>> {
    let wide: Vec<u16> = text.encode_wide().chain(once(0)).collect();
    match wide.iter().position(|unit| *unit == 0) {
        Some(end) if end + 1 == wide.len() => Ok(wide),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Returns the error of the last call if its result was FALSE.
///
/// # Errors
/// The result was FALSE.
pub fn check(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Converts an error code of the API into the form that [`io::Error::raw_os_error`] returns.
pub const fn code(error: u32) -> i32 {
    error.cast_signed()
}
