//! Files, as the operating system has them: opened in the few ways that ycred needs, with their owners and modes.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::system::process::effective_uid;

/// Opens a file that somebody else wrote, for reading. Links are followed; a FIFO does not block.
///
/// # Errors
/// Those of open(2).
pub fn open_for_reading(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Opens a file of ycred's own for reading. No link is followed; a FIFO does not block.
///
/// # Errors
/// Those of open(2); see [`is_other_object`].
pub fn open_own(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// Opens a file of ycred's own for writing. No link is followed.
///
/// # Errors
/// Those of open(2).
pub fn open_own_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Creates a file that only its owner may read and write. No link is followed.
///
/// # Errors
/// Those of open(2); with `AlreadyExists` where there is something.
pub fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Opens a lock file, which is created if there is none. No link is followed.
///
/// It is opened for writing, since NFS maps flock to a byte-range lock, and an exclusive one needs a writable file.
///
/// # Errors
/// Those of open(2).
pub fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

/// Whether a file of ycred's own could not be opened because something else has its name: a link, or a socket.
pub fn is_other_object(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO))
}

/// Creates a directory with every parent that is missing, all of them for their owner alone.
///
/// # Errors
/// Those of mkdir(2).
pub fn create_private_directories(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Makes a directory its owner's alone.
///
/// # Errors
/// Those of chmod(2).
pub fn make_directory_private(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o700))
}

/// Makes an open file its owner's alone.
///
/// # Errors
/// Those of fchmod(2).
pub fn make_file_private(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o600))
}

/// The permission bits, as chmod(1) takes them.
pub fn mode(found: &Metadata) -> u32 {
    found.mode() & 0o7777
}

/// The owner's user id.
pub fn owner(found: &Metadata) -> u32 {
    found.uid()
}

/// Returns true if the file belongs to the user that this process runs as.
pub fn is_own(found: &Metadata) -> bool {
    found.uid() == effective_uid()
}

/// Which file it is, by whatever name: device and inode.
pub fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// When the content was modified, in nanoseconds since 1970.
pub fn modified_nanos(found: &Metadata) -> i64 {
    nanos(found.mtime(), found.mtime_nsec())
}

/// When the file was changed in any way, in nanoseconds since 1970.
pub fn changed_nanos(found: &Metadata) -> i64 {
    nanos(found.ctime(), found.ctime_nsec())
}

fn nanos(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
