//! Files: the few ways in which ycred opens them, and their owners and modes.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]
#![expect(clippy::disallowed_methods, reason = "renames on behalf of disk/store.rs")]

use std::ffi::CString;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::system::unix::descriptors::open_in_one_call;
use crate::system::unix::os;
use crate::system::unix::process::{effective_gid, effective_uid};

/// Opens for reading a file that ycred does not own. Follows links and does not block on a FIFO.
///
/// # Errors
/// Those of open(2).
pub fn open_for_reading(path: &Path) -> io::Result<File> {
    open_in_one_call(path, libc::O_NONBLOCK)
}

/// Leaves a file open until the process ends, because closing it would be one more system call on a hit.
///
/// Keeps only the first few open, for processes that run for long.
pub fn leave_open(file: File) {
    static LEFT_OPEN: AtomicUsize = AtomicUsize::new(0);
    if LEFT_OPEN.fetch_add(1, Ordering::Relaxed) < 8 {
        std::mem::forget(file);
    }
}

/// Calls `each` with every name in a directory.
///
/// # Errors
/// Those of open(2) and getdents(2).
pub fn for_each_name(directory: &Path, mut each: impl FnMut(&OsStr)) -> io::Result<()> {
    let every = |name: &OsStr| {
        each(name);
        ControlFlow::Continue(())
    };
    if let (Some(file), _) = os::for_each_name(directory, None, every)? {
        leave_open(file);
    }
    Ok(())
}

/// Calls `each` with the names in a directory from `position` on, until it says to stop. Returns the position after the
/// last name, or `None` at the end.
///
/// A position is valid in later processes too, as far as the file system keeps to its order. After changes, some names
/// may be left out or come twice.
///
/// # Errors
/// Those of open(2) and getdents(2).
pub fn names_from(
    directory: &Path,
    position: Option<i64>,
    each: impl FnMut(&OsStr) -> ControlFlow<()>,
) -> io::Result<Option<i64>> {
    os::for_each_name(directory, position, each).map(|(_, next)| next)
}

/// Opens for reading a file that ycred owns. Follows no link and does not block on a FIFO.
///
/// # Errors
/// Those of open(2). See [`is_other_object`].
pub fn open_own(path: &Path) -> io::Result<File> {
    open_in_one_call(path, libc::O_NOFOLLOW | libc::O_NONBLOCK)
}

/// Opens a file that ycred owns for writing. Follows no link.
///
/// # Errors
/// Those of open(2).
pub fn open_own_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Opens a directory, to lock it. Does not block on a FIFO in its place.
///
/// # Errors
/// Those of open(2).
pub fn open_directory(path: &Path) -> io::Result<File> {
    open_in_one_call(path, libc::O_DIRECTORY | libc::O_NONBLOCK)
}

/// Creates a file that only its owner can read and write. Follows no link.
///
/// # Errors
/// Those of open(2). `AlreadyExists` if the path exists.
pub fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Renames a file, unless the new name exists. A link is renamed itself.
///
/// # Errors
/// Those of rename(2). `AlreadyExists` if the new name exists; `InvalidInput` or `Unsupported` if the file system cannot check
/// that itself.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let string = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes()).map_err(io::Error::other);
    os::rename_new(&string(from)?, &string(to)?)
}

/// Opens a lock file, or creates it. Follows no link.
///
/// Opens it for writing, because NFS maps flock to a byte-range lock, and an exclusive one needs a writable file.
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

/// Opens a lock file that exists. Otherwise as [`open_lock`].
///
/// # Errors
/// Those of open(2).
pub fn open_existing_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// Opens a log for appending, or creates it. Follows no link and does not block on a FIFO.
///
/// # Errors
/// Those of open(2).
pub fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

/// Whether a lock file can be removed while it is locked.
pub const CAN_REMOVE_LOCKS: bool = true;

/// Whether a directory can be locked.
pub const CAN_LOCK_DIRECTORIES: bool = true;

/// Returns true for a path below `/dev` or `/proc`, such as `/dev/stdin`: it names another file in another process.
pub fn is_of_one_process(path: &Path) -> bool {
    path.starts_with("/dev") || path.starts_with("/proc")
}

/// Returns true if opening a file failed because the path is a link or a socket.
pub fn is_other_object(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO))
}

/// Takes an exclusive lock. Returns false if another process holds it.
///
/// # Errors
/// Those of flock(2).
pub fn try_lock_exclusive(file: &File) -> io::Result<bool> {
    // The full path avoids std's method of the same name, which clippy.toml bans.
    match fs2::FileExt::try_lock_exclusive(file) {
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Ok(false),
        result => result.map(|()| true),
    }
}

/// Takes a lock that others may have at the same time. Returns false if another process holds an exclusive one.
///
/// # Errors
/// Those of flock(2).
pub fn try_lock_shared(file: &File) -> io::Result<bool> {
    match fs2::FileExt::try_lock_shared(file) {
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Ok(false),
        result => result.map(|()| true),
    }
}

/// Renames a file, and replaces an existing one.
///
/// # Errors
/// Those of rename(2).
pub fn rename(from: &Path, to: &Path, _is_durable: bool) -> io::Result<()> {
    fs::rename(from, to)
}

/// Moves a file into an open directory, whatever its path is by now, and removes it there.
///
/// # Errors
/// Those of renameat(2) and unlinkat(2). `NotFound` if there is no such file, or the directory was removed.
pub fn move_into_and_remove(path: &Path, directory: &File, name: &str) -> io::Result<()> {
    let string = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
    let (path, name) = (string(path.as_os_str().as_encoded_bytes())?, string(name.as_bytes())?);
    let directory = directory.as_raw_fd();
    let check = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: both names end with a null byte and outlive the call, and the descriptor is open.
    check(unsafe { libc::renameat(libc::AT_FDCWD, path.as_ptr(), directory, name.as_ptr()) })?;
    // SAFETY: the same.
    check(unsafe { libc::unlinkat(directory, name.as_ptr(), 0) })
}

/// Puts a program in the place of another one, which may be running.
///
/// # Errors
/// Those of rename(2).
pub fn replace_program(from: &Path, to: &Path, _: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Removes a program, which may be running.
///
/// # Errors
/// Those of unlink(2).
pub fn remove_program(path: &Path, _: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// Returns true if a profile's name is a path: it contains a separator.
pub fn is_path(text: &OsStr) -> bool {
    text.as_encoded_bytes().contains(&b'/')
}

/// Returns false: a colon has no meaning in a path.
pub fn has_misplaced_colon(_: &OsStr) -> bool {
    false
}

/// Returns false: devices have no special names.
pub fn is_device_name(_: &str) -> bool {
    false
}

/// Creates a directory and its missing parents, accessible only to their owner.
///
/// # Errors
/// Those of mkdir(2).
pub fn create_private_directories(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Creates a directory and its missing parents, which only their owner can write, and anyone can read, whatever the umask.
///
/// # Errors
/// Those of mkdir(2) and chmod(2).
pub fn create_public_directories(directory: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    missing
        .into_iter()
        .filter(|created| !created.as_os_str().is_empty())
        .try_for_each(|created| fs::set_permissions(created, Permissions::from_mode(0o755)))
}

/// Makes a directory accessible only to its owner.
///
/// # Errors
/// Those of chmod(2).
pub fn make_directory_private(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o700))
}

/// Makes an open file accessible only to its owner.
///
/// # Errors
/// Those of fchmod(2).
pub fn make_file_private(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o600))
}

/// Sets the permission bits of an open file, whatever the umask is.
///
/// # Errors
/// Those of fchmod(2).
pub fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))
}

/// Creates a symbolic link.
///
/// # Errors
/// Those of symlink(2). `AlreadyExists` if the path exists.
pub fn create_link(target: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

/// Whether a link is a file of its own, which does not show where it leads.
pub const LINKS_ARE_FILES: bool = false;

/// Returns true if a link leads to a target.
pub fn leads_to(link: &Path, target: &Path) -> bool {
    fs::read_link(link).is_ok_and(|found| found == target)
}

/// Returns true if this user may create files in a directory. A read-only file system does not allow it either.
pub fn is_writable_directory(path: &Path) -> bool {
    path.is_dir() && check_writable(path).is_ok()
}

/// Checks without opening it that this user may write a file, or create files in a directory.
///
/// # Errors
/// Those of faccessat(2).
pub fn check_writable(path: &Path) -> io::Result<()> {
    check_access(path, if path.is_dir() { libc::W_OK | libc::X_OK } else { libc::W_OK })
}

/// Returns the error for a name that is taken.
pub fn already_exists() -> io::Error {
    io::Error::from_raw_os_error(libc::EEXIST)
}

/// Checks without opening a file that this user may read it.
///
/// # Errors
/// Those of faccessat(2).
pub fn check_readable(path: &Path) -> io::Result<()> {
    check_access(path, libc::R_OK)
}

fn check_access(path: &Path, mode: libc::c_int) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the string ends with NUL and outlives the call.
    match unsafe { libc::faccessat(libc::AT_FDCWD, name.as_ptr(), mode, libc::AT_EACCESS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Why chmod(1) does not help this user.
pub enum ModeObstacle {
    /// The file belongs to another user. In a user namespace this may be one whom nobody can become there.
    OtherOwner,
    /// The file system is mounted read-only.
    ReadOnly,
    /// The file system has no modes of its own, or its server may ignore changes.
    NoModes,
}

/// Returns why this user cannot change the mode of a file, if so.
pub fn mode_obstacle(path: &Path, metadata: &Metadata) -> Option<ModeObstacle> {
    use std::os::unix::ffi::OsStrExt as _;
    let user = effective_uid();
    if user != metadata.uid() && (user != 0 || !os::is_mapped_user(metadata.uid())) {
        return Some(ModeObstacle::OtherOwner);
    }
    let name = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: the string ends with NUL, and `status` is plain data, for which zero is valid. Both outlive the call.
    let status = unsafe {
        let mut status: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(name.as_ptr(), &raw mut status) == 0).then_some(status)
    };
    if status.is_some_and(|status| status.f_flag & libc::ST_RDONLY != 0) {
        return Some(ModeObstacle::ReadOnly);
    }
    os::may_ignore_modes(&name).then_some(ModeObstacle::NoModes)
}

/// Returns true for a pipe, with a name or without.
pub fn is_pipe(metadata: &Metadata) -> bool {
    metadata.file_type().is_fifo()
}

/// Returns the permission bits, as in chmod(1).
pub fn mode(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o7777
}

/// Returns the owner's user id.
pub fn owner(metadata: &Metadata) -> u32 {
    metadata.uid()
}

/// Returns true if users other than the owner, root and this user's own group can create and replace files in this
/// directory.
pub fn is_writable_by_others(directory: &Metadata) -> bool {
    let mode = directory.mode();
    let by_foreign_group = mode & 0o020 != 0 && directory.gid() != effective_gid() && directory.gid() != 0;
    mode & 0o1000 == 0 && (mode & 0o002 != 0 || by_foreign_group)
}

/// Returns true if the file belongs to the user that this process runs as.
pub fn is_own(metadata: &Metadata) -> bool {
    metadata.uid() == effective_uid()
}

/// Returns true if the file belongs to root.
pub fn is_root(metadata: &Metadata) -> bool {
    metadata.uid() == 0
}

/// Returns the device and the inode, which identify a file under any name.
pub fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Returns when the content was modified, in nanoseconds since 1970.
pub fn modified_nanos(metadata: &Metadata) -> i64 {
    nanos(metadata.mtime(), metadata.mtime_nsec())
}

/// Returns when the content or the metadata changed, in nanoseconds since 1970.
pub fn changed_nanos(metadata: &Metadata) -> i64 {
    nanos(metadata.ctime(), metadata.ctime_nsec())
}

fn nanos(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// Writes the content and the attributes of a file to its disk.
///
/// # Errors
/// Those of fsync(2).
pub fn sync(file: &File) -> io::Result<()> {
    file.sync_all().or_else(|error| os::sync_otherwise(file, error))
}

/// Returns the real path of a file, without links.
///
/// # Errors
/// Those of realpath(3).
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path)
}
