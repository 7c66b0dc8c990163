//! Files of other programs: the attributes that a new file must share with the one that it replaces.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;

use crate::system::unix::files::identity;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod macos;

#[cfg(target_os = "linux")]
use linux as os;
#[cfg(not(target_os = "linux"))]
use macos as os;

/// Opens an existing file for writing. Does not truncate it.
///
/// # Errors
/// Those of open(2).
pub fn open_for_overwriting(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Creates an empty file without permissions, as kubectl does for its lock.
///
/// # Errors
/// Those of open(2). `AlreadyExists` if the path exists.
pub fn create_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o000).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Gives `to` the owner, group, mode, access control list and label of `from`.
///
/// # Errors
/// One of them cannot be given. `to` is then unfit to replace `from`.
pub fn copy_attributes(from: &File, to: &File) -> io::Result<()> {
    let (old, new) = (from.metadata()?, to.metadata()?);
    if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        fchown(to, Some(old.uid()), Some(old.gid()))?;
    }
    to.set_permissions(old.permissions())?;
    os::copy_extended_attributes(from, to)
}

/// Returns the number of names (hard links) of a file.
pub fn names_of(_: &File, metadata: &Metadata) -> u64 {
    metadata.nlink()
}

/// Returns the device and the inode, which identify an open file under any name.
///
/// # Errors
/// Those of fstat(2).
pub fn identity_of(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|metadata| identity(&metadata))
}

/// Returns [`identity_of`] of what has this name. Follows no link.
///
/// # Errors
/// Those of lstat(2).
pub fn identity_at(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| identity(&metadata))
}

/// Returns true if replacing a file is impossible at its place, but changing its content may work: the file is a mount
/// of its own, or the directory does not allow new files.
pub fn is_fixed_in_place(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EXDEV | libc::EACCES | libc::EPERM | libc::EROFS))
}

/// Returns an error for which [`is_fixed_in_place`] is true.
pub fn fixed_in_place() -> io::Error {
    io::Error::from_raw_os_error(libc::EPERM)
}
