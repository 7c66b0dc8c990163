//! Files: the few ways in which ycred opens them, and who can access them.
//!
//! Windows has no modes. ycred's directories and files get an access control list when they are created; a list that
//! ycred did not create stays unchanged. [`mode`] and [`owner`] are constants, and [`super::access`] checks the lists.
#![expect(unsafe_code, reason = "calls of the Windows API without a safe wrapper in std")]
#![expect(clippy::disallowed_methods, reason = "renames with retries, on behalf of disk/store.rs")]

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::os::windows::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::windows::io::AsRawHandle as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_CANT_ACCESS_FILE, ERROR_INVALID_FUNCTION, ERROR_LOCK_VIOLATION, ERROR_NOT_SUPPORTED,
    ERROR_SHARING_VIOLATION,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_WRITE_DATA,
    LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, MoveFileExW,
};
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::acl::{self, Access};
use super::handle::{check, code};
use super::names;
use super::names::wide_path;

pub use super::names::{has_misplaced_colon, is_device_name, is_path};

/// Opens for reading a file that ycred does not own. Follows links.
///
/// # Errors
/// Those of `CreateFileW`. `InvalidInput` for a device.
pub fn open_for_reading(path: &Path) -> io::Result<File> {
    refuse_device(path)?;
    patiently(READ_PAUSES, || OpenOptions::new().read(true).open(path))
}

/// Opens for reading a file that ycred owns. Follows no link.
///
/// # Errors
/// Those of `CreateFileW`. See [`is_other_object`].
pub fn open_own(path: &Path) -> io::Result<File> {
    // Others could have put a record of theirs there, and read those of this user.
    if let Some(directory) = path.parent() {
        super::access::refuse_open_directory(directory)?;
    }
    let open = || OpenOptions::new().read(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path);
    let file = if path.is_dir() { open() } else { patiently(READ_PAUSES, open) }?;
    refuse_link(&file)?;
    // In a directory of this user, another user's file can only be one that was moved there.
    if Access::of(&file)?.has_trusted_owner() { Ok(file) } else { Err(other_object()) }
}

/// Opens a file that ycred owns for writing. Follows no link.
///
/// # Errors
/// Those of `CreateFileW`.
pub fn open_own_for_writing(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)?;
    refuse_link(&file).map(|()| file)
}

/// Creates a file that only its owner, administrators and the system can access. Follows no link.
///
/// # Errors
/// Those of `CreateFileW`. `AlreadyExists` if the path exists.
pub fn create_private(path: &Path) -> io::Result<File> {
    acl::create_private_file(path)
}

/// Opens a lock file, or creates it. Follows no link.
///
/// # Errors
/// Those of `CreateFileW`.
pub fn open_lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)?;
    refuse_link(&file).map(|()| file)
}

/// Opens a lock file that exists. Otherwise as [`open_lock`].
///
/// # Errors
/// Those of `CreateFileW`.
pub fn open_existing_lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)?;
    refuse_link(&file).map(|()| file)
}

/// Opens a log for appending, or creates it. Follows no link.
///
/// # Errors
/// Those of `CreateFileW`.
pub fn open_log(path: &Path) -> io::Result<File> {
    refuse_device(path)?;
    let open = |options: &mut OpenOptions| options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path);
    let file = match open(OpenOptions::new().append(true)) {
        Err(error) if error.kind() == ErrorKind::NotFound => match acl::create_private_file(path).map(drop) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => open(OpenOptions::new().append(true))?,
        },
        opened => opened?,
    };
    refuse_link(&file).map(|()| file)
}

/// Whether a lock file can be removed while it is locked. Another process may have it open, and would then keep its name
/// from being used again.
pub const CAN_REMOVE_LOCKS: bool = false;

/// Whether a directory can be locked.
pub const CAN_LOCK_DIRECTORIES: bool = false;

/// Not needed, because no directory can be locked.
///
/// # Errors
/// `Unsupported`.
pub fn move_into_and_remove(_: &Path, _: &File, _: &str) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Returns true for a path that may lead to something else in another process: here, a device such as `con`.
pub fn is_of_one_process(path: &Path) -> bool {
    refuse_device(path).is_err()
}

/// Checks that this user may read a file. Windows can tell only by opening it.
pub fn check_readable(path: &Path) -> io::Result<()> {
    open_for_reading(path).map(drop)
}

/// Returns true if this user may create files in a directory.
pub fn is_writable_directory(path: &Path) -> bool {
    path.is_dir() && check_writable(path).is_ok()
}

/// Checks without writing that this user may write a file, or create files in a directory.
///
/// # Errors
/// Those of `CreateFileW`.
pub fn check_writable(path: &Path) -> io::Result<()> {
    // FILE_ADD_FILE of a directory is FILE_WRITE_DATA of a file.
    OpenOptions::new().access_mode(FILE_WRITE_DATA).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path).map(drop)
}

/// Returns the error for a name that is taken.
pub fn already_exists() -> io::Error {
    ErrorKind::AlreadyExists.into()
}

/// Opens a directory, which cannot be locked here.
///
/// # Errors
/// Those of `CreateFileW`.
pub fn open_directory(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)
}

/// Directories cannot be locked here, and no file needs such a lock.
///
/// # Errors
/// Always.
pub fn try_lock_shared(_: &File) -> io::Result<bool> {
    Err(ErrorKind::Unsupported.into())
}

/// Locks one byte far beyond the end of a file. Returns false if another process holds the lock.
///
/// A locked byte cannot be read, and the content of the file must stay readable.
///
/// # Errors
/// The file system has no locks.
pub fn try_lock_exclusive(file: &File) -> io::Result<bool> {
    // SAFETY: an OVERLAPPED is plain data; the handle is open, and without FILE_FLAG_OVERLAPPED the call is synchronous.
    let locked = unsafe {
        let mut place: OVERLAPPED = std::mem::zeroed();
        place.Anonymous.Anonymous.Offset = u32::MAX - 1;
        place.Anonymous.Anonymous.OffsetHigh = i32::MAX.cast_unsigned();
        let flags = LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY;
        check(LockFileEx(file.as_raw_handle(), flags, 0, 1, 0, &raw mut place))
    };
    match locked {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(code(ERROR_LOCK_VIOLATION)) => Ok(false),
        // Some redirected drives.
        Err(error) if [ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED].map(code).contains(&raw(&error)) => {
            Err(ErrorKind::Unsupported.into())
        }
        Err(error) => Err(error),
    }
}

/// The pauses between attempts to open a file, in milliseconds.
const READ_PAUSES: &[u64] = &[1, 2, 4, 8];
/// The pauses between attempts to replace a record. It is a cache, so ycred soon gives up.
const RECORD_PAUSES: &[u64] = &[5, 10, 20, 40, 80];
/// The pauses between attempts to replace data that cannot be fetched again: two seconds in all.
const DURABLE_PAUSES: &[u64] = &[5, 10, 20, 40, 80, 160, 320, 640, 725];

/// Repeats an operation while another program, such as a virus scanner or an indexer, has the file open.
fn patiently<T>(pauses: &[u64], mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut pauses = pauses.iter();
    loop {
        match operation() {
            Err(error) if is_in_use(&error) => match pauses.next() {
                Some(pause) => std::thread::sleep(Duration::from_millis(*pause)),
                None => return Err(error),
            },
            result => return result,
        }
    }
}

fn is_in_use(error: &io::Error) -> bool {
    [ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION].map(code).contains(&raw(error))
}

fn raw(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

/// Renames a file, and replaces an existing one. Tries longer if the content `is_durable`.
///
/// # Errors
/// Those of `MoveFileExW`.
pub fn rename(from: &Path, to: &Path, is_durable: bool) -> io::Result<()> {
    patiently(if is_durable { DURABLE_PAUSES } else { RECORD_PAUSES }, || fs::rename(from, to))
}

/// Puts a program in the place of another one, which may be running. That one then gets the name `aside`.
///
/// # Errors
/// Those of `MoveFileExW`.
pub fn replace_program(from: &Path, to: &Path, aside: &Path) -> io::Result<()> {
    match patiently(RECORD_PAUSES, || fs::rename(from, to)) {
        Err(error) if is_in_use(&error) && to.exists() => {
            fs::rename(to, aside)?;
            fs::rename(from, to).inspect_err(|_| {
                let _ = fs::rename(aside, to);
            })?;
            let _ = fs::remove_file(aside);
            Ok(())
        }
        result => result,
    }
}

/// Removes a program. If it is running, also by another name, its file gets the name `aside`, which can be removed later.
///
/// # Errors
/// Those of `DeleteFileW` and `MoveFileExW`.
pub fn remove_program(path: &Path, aside: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if is_in_use(&error) => fs::rename(path, aside),
        result => result,
    }
}

/// Renames a file, unless the new name exists. A link is renamed itself.
///
/// # Errors
/// Those of `MoveFileExW`. `AlreadyExists` if the new name exists.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (wide_path(from)?, wide_path(to)?);
    // SAFETY: both strings are NUL-terminated.
    patiently(DURABLE_PAUSES, || check(unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), 0) }))
}

/// Closes the file. On Windows, closing costs little in comparison with opening, so leaving it open would gain nothing.
pub fn leave_open(_: File) {}

/// Calls `each` with every name in a directory.
///
/// # Errors
/// Those of `FindFirstFileW`.
pub fn for_each_name(directory: &Path, mut each: impl FnMut(&OsStr)) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        each(&entry?.file_name());
    }
    Ok(())
}

/// Calls `each` with the names in a directory from `position` on, until it says to stop. Returns the position after the
/// last name, or `None` at the end.
///
/// A position is a number of names. After changes, some names may be left out or come twice.
///
/// # Errors
/// Those of `FindFirstFileW`.
pub fn names_from(
    directory: &Path,
    position: Option<i64>,
    mut each: impl FnMut(&OsStr) -> ControlFlow<()>,
) -> io::Result<Option<i64>> {
    let start = position.and_then(|position| usize::try_from(position).ok()).unwrap_or(0);
    for (index, entry) in fs::read_dir(directory)?.enumerate().skip(start) {
        if each(&entry?.file_name()).is_break() {
            return Ok(i64::try_from(index + 1).ok());
        }
    }
    Ok(None)
}

/// Returns true if opening a file failed because the path is a link or belongs to another user.
pub fn is_other_object(error: &io::Error) -> bool {
    raw(error) == code(ERROR_CANT_ACCESS_FILE)
}

fn other_object() -> io::Error {
    io::Error::from_raw_os_error(code(ERROR_CANT_ACCESS_FILE))
}

/// Symbolic links, junctions and other reparse points lead elsewhere.
fn refuse_link(file: &File) -> io::Result<()> {
    if file.metadata()?.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0 { Err(other_object()) } else { Ok(()) }
}

fn refuse_device(path: &Path) -> io::Result<()> {
    let is_named_so = path.file_name().and_then(|name| name.to_str()).is_some_and(names::is_device_name);
    if is_named_so || names::is_device_path(path) {
        Err(io::Error::new(ErrorKind::InvalidInput, "is a device, not a file"))
    } else {
        Ok(())
    }
}

/// Writes the content and the attributes of a file to its disk.
///
/// # Errors
/// Those of `FlushFileBuffers`.
pub fn sync(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Returns the real path of a file, without links, in the form in which people write it.
///
/// # Errors
/// Those of `CreateFileW` and `GetFinalPathNameByHandleW`.
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path).map(names::without_prefix)
}

/// Creates a directory and its missing parents. They inherit their access control list.
///
/// # Errors
/// Those of `CreateDirectoryW`.
pub fn create_public_directories(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)
}

/// Does nothing: Windows has no modes.
///
/// # Errors
/// None.
pub fn set_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

/// Creates a hard link, for which no privilege is needed. Where there are none, creates a copy.
///
/// # Errors
/// Those of `CreateHardLinkW` and `CopyFileW`.
pub fn create_link(target: &Path, path: &Path) -> io::Result<()> {
    let target = path.parent().unwrap_or(path).join(target);
    fs::hard_link(&target, path).or_else(|_| fs::copy(&target, path).map(|_| ()))
}

/// Whether a link is a file of its own, which does not show where it leads.
pub const LINKS_ARE_FILES: bool = true;

/// Returns true if a link, or a copy in its place, is the target.
pub fn leads_to(link: &Path, target: &Path) -> bool {
    super::programs::is_same(link, &link.parent().unwrap_or(link).join(target))
}

/// Creates a directory and its missing parents, accessible only to their owner, administrators and the system.
///
/// # Errors
/// Those of `CreateDirectoryW`.
pub fn create_private_directories(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    match (acl::create_private_directory(directory), directory.parent()) {
        (Err(error), Some(parent)) if error.kind() == ErrorKind::NotFound => {
            create_private_directories(parent)?;
            acl::create_private_directory(directory)
        }
        (result, _) => result,
    }
}

/// Does nothing: ycred changes no access control list that it did not create.
///
/// # Errors
/// None.
pub fn make_directory_private(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Does nothing: ycred changes no access control list that it did not create.
///
/// # Errors
/// None.
pub fn make_file_private(_: &File) -> io::Result<()> {
    Ok(())
}

/// Returns false: pipes are not in directories.
pub fn is_pipe(_: &Metadata) -> bool {
    false
}

/// Returns the mode of a private file or directory, as in chmod(1).
pub fn mode(metadata: &Metadata) -> u32 {
    if metadata.is_dir() { 0o700 } else { 0o600 }
}

/// Returns the constant that [`super::process::effective_uid`] returns too.
pub fn owner(_: &Metadata) -> u32 {
    super::process::effective_uid()
}

/// Returns true: the functions that open a file check its owner.
pub fn is_own(_: &Metadata) -> bool {
    true
}

/// Returns false: the owner of a directory says nothing about who may write it.
pub fn is_root(_: &Metadata) -> bool {
    false
}

/// Returns numbers that usually change when another file takes the place of this one.
pub fn identity(metadata: &Metadata) -> (u64, u64) {
    (0, metadata.creation_time())
}

/// Returns when the content was modified, in nanoseconds since 1970.
pub fn modified_nanos(metadata: &Metadata) -> i64 {
    nanos(metadata.last_write_time())
}

/// Returns when the file was created, in nanoseconds since 1970. std does not have the time of the last change.
pub fn changed_nanos(metadata: &Metadata) -> i64 {
    nanos(metadata.creation_time())
}

/// Converts a FILETIME, which counts 100 ns since 1601.
fn nanos(time: u64) -> i64 {
    const UNIX_EPOCH: i64 = 116_444_736_000_000_000;
    time.cast_signed().saturating_sub(UNIX_EPOCH).saturating_mul(100)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use windows_sys::Win32::Storage::FileSystem::READ_CONTROL;

    use super::*;
    use crate::system::windows::access;

    fn open_directory(path: &Path) -> File {
        let flags = FILE_FLAG_BACKUP_SEMANTICS;
        OpenOptions::new().access_mode(READ_CONTROL).custom_flags(flags).open(path).expect("opens")
    }

    #[test]
    fn a_private_directory_gives_access_to_its_owner_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let deep = dir.path().join("a b/c");
        create_private_directories(&deep).expect("created");
        for path in [deep.clone(), dir.path().join("a b")] {
            let access = Access::of(&open_directory(&path)).expect("readable");
            let user = acl::current_user().expect("a user");
            let private = Access::granting(user, 0);
            assert_eq!(access, private, "{}", path.display());
        }
        access::refuse_open_directory(&deep).expect("private");
        create_private_directories(&deep).expect("exists already");
    }

    #[test]
    fn a_private_file_gives_access_to_its_owner_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x");
        create_private(&path).expect("created").write_all(b"x").expect("written");
        let access = Access::of(&File::open(&path).expect("opens")).expect("readable");
        assert!(!access.is_readable_by_others && !access.is_writable_by_others && access.has_trusted_owner());
        assert_eq!(create_private(&path).expect_err("exists").kind(), ErrorKind::AlreadyExists);
        let metadata = fs::metadata(&path).expect("there");
        assert_eq!(access::reason_for_distrust(&path, &metadata), None);
        assert_eq!(access::reason_for_exposure(&path, &metadata, ""), None);
    }

    #[test]
    fn a_lock_excludes_others_and_leaves_the_content_readable() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.lock");
        let mut first = open_lock(&path).expect("opens");
        first.write_all(b"pid").expect("written");
        assert!(try_lock_exclusive(&first).expect("locks"));
        let mut second = open_lock(&path).expect("opens");
        assert!(!try_lock_exclusive(&second).expect("busy"));
        let mut content = String::new();
        second.read_to_string(&mut content).expect("readable while locked");
        assert_eq!(content, "pid");
        drop(first);
        assert!(try_lock_exclusive(&second).expect("free"));
    }

    #[test]
    fn a_file_that_is_open_for_reading_is_replaced_at_the_latest_when_it_is_closed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        fs::write(&old, "old").expect("written");
        fs::write(&new, "new").expect("written");
        let reader = open_own(&old).expect("opens");
        let closing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(60));
            drop(reader);
        });
        rename(&new, &old, true).expect("replaced");
        closing.join().expect("no panic");
        assert_eq!(fs::read_to_string(&old).expect("readable"), "new");
    }

    #[test]
    fn an_operation_is_repeated_within_bounds() {
        let mut attempts = 0;
        let failing = patiently::<()>(&[0, 0, 0], || {
            attempts += 1;
            Err(io::Error::from_raw_os_error(code(ERROR_SHARING_VIOLATION)))
        });
        assert!(failing.is_err() && attempts == 4, "{attempts}");
        attempts = 0;
        let other = patiently::<()>(&[0, 0, 0], || {
            attempts += 1;
            Err(ErrorKind::NotFound.into())
        });
        assert!(other.is_err() && attempts == 1, "{attempts}");
    }

    #[test]
    fn devices_are_not_files() {
        for path in ["nul", r"c:\x\con.toml", r"\\.\pipe\x"] {
            assert_eq!(open_for_reading(Path::new(path)).expect_err(path).kind(), ErrorKind::InvalidInput);
        }
    }
}
