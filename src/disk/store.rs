//! Files that ycred owns: how they are read, replaced, locked and cleaned up, whatever they contain.
//!
//! * Links are never followed.
//! * Files are created with mode 0600 and directories with 0700.
//! * Replacing is atomic: a reader sees the old content or the new one, never a mixture.
//! * Nothing is created in a directory that belongs neither to this user nor to root.
//! * A foreign object in the place of a file is moved out of the way.
#![expect(
    clippy::disallowed_methods,
    reason = "the only place that writes, renames, removes and locks files that ycred owns"
)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::base::clock::Timestamp;
use crate::base::random;
use crate::disk::files;
pub use crate::disk::lock::{
    Lock, LockGuard, LockHolder, lock_holder, poll, recorded_holder, take_over, try_lock, try_lock_directory,
    try_lock_existing, wait_for_lock,
};
use crate::disk::permission;
use crate::system;

/// What exists at the path of a file that ycred owns.
pub enum FileState {
    Nothing,
    /// An object that ycred did not create: a link, a directory, a FIFO, another user's file, a file of absurd size.
    Foreign,
    Content(Zeroizing<Vec<u8>>),
}

/// The maximum size of a file that ycred owns, in bytes.
const SIZE_MAX: u64 = 64 * 1024;

/// Reads a file that ycred owns.
///
/// Follows no link, does not block on a FIFO, and reads only regular files of this user.
///
/// # Errors
/// The file exists but cannot be read, such as EIO, or EACCES on a parent directory.
pub fn read(path: &Path) -> io::Result<FileState> {
    let opened = system::files::open_own(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => {
            return match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Ok(FileState::Nothing),
                _ if system::files::is_other_object(&error) => Ok(FileState::Foreign),
                // Directories and sockets fail with other errors on other systems. A file of this user that cannot be
                // read does not have the mode that ycred gave it.
                _ if fs::symlink_metadata(path)
                    .is_ok_and(|metadata| !is_ours(&metadata) || error.kind() == ErrorKind::PermissionDenied) =>
                {
                    Ok(FileState::Foreign)
                }
                _ => Err(error),
            };
        }
    };
    let metadata = file.metadata()?;
    if !is_ours(&metadata) || metadata.len() > SIZE_MAX {
        return Ok(FileState::Foreign);
    }
    files::read_promised(&mut file, metadata.len()).map(FileState::Content)
}

/// Checks that a directory does not belong to another user. A missing directory is fine.
///
/// # Errors
/// The directory belongs to another user. The message names the owner.
pub fn refuse_foreign_directory(directory: &Path) -> io::Result<()> {
    match fs::metadata(directory) {
        Ok(metadata) => {
            refuse_foreign(directory, &metadata)?;
            system::access::refuse_open_directory(directory)
        }
        Err(_) => Ok(()),
    }
}

fn is_open_to_everybody(metadata: &fs::Metadata) -> bool {
    let mode = system::files::mode(metadata);
    mode & 0o002 != 0 && mode & 0o1000 == 0
}

fn is_ours(metadata: &fs::Metadata) -> bool {
    metadata.is_file() && system::files::is_own(metadata)
}

/// Replaces a file atomically: writes a temporary file in the same directory, and renames it.
///
/// `is_durable` adds an fsync, for data that cannot be fetched again (a rotated refresh token). A token record does not
/// need one: a torn record is a miss.
///
/// # Errors
/// The file cannot be written. The old content is then still there, and no temporary file is left.
pub fn replace(path: &Path, content: &[u8], is_durable: bool) -> io::Result<()> {
    system::signals::ignore_file_size_signal();
    let directory = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let temporary = directory.join(format!("{TEMPORARY}{}", random::id()));
    let written = write_new(&temporary, content, is_durable).and_then(|()| put_in_place(&temporary, path, is_durable));
    if written.is_err() {
        // Best effort: the next sweep removes it otherwise.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Overwrites an existing file in place, which a full disk has room for. A reader may see a mixture of the old and the new content.
///
/// # Errors
/// There is no such file of this user, or it cannot be written.
pub fn overwrite(path: &Path, content: &[u8]) -> io::Result<()> {
    system::signals::ignore_file_size_signal();
    let mut file = system::files::open_own_for_writing(path)?;
    if !is_ours(&file.metadata()?) {
        return Err(ErrorKind::PermissionDenied.into());
    }
    file.write_all(content)?;
    file.set_len(content.len() as u64)
}

pub(super) fn put_in_place(temporary: &Path, path: &Path, is_durable: bool) -> io::Result<()> {
    set_aside_if_foreign(path)?;
    system::files::rename(temporary, path, is_durable)?;
    if is_durable && let Some(directory) = path.parent() {
        // Makes the new name durable too. Not every file system supports this.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
    Ok(())
}

/// Disk space reserved for a secret that can be obtained only once, before it is requested.
pub struct ReservedSpace {
    temporary: PathBuf,
    path: PathBuf,
}

/// Reserves space for a file of `size` bytes. The name of the temporary file begins with `owner`, for
/// [`remove_temporary_files_of`].
///
/// # Errors
/// A file of this size cannot be written.
pub fn reserve(path: &Path, owner: &str, size: usize) -> io::Result<ReservedSpace> {
    system::signals::ignore_file_size_signal();
    let directory = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let temporary = directory.join(format!("{TEMPORARY}{owner}{}", random::id()));
    let reserved = ReservedSpace { temporary, path: path.to_owned() };
    write_new(&reserved.temporary, &vec![b' '; size], size > 0)?;
    Ok(reserved)
}

impl ReservedSpace {
    /// Replaces the file durably, using the reserved space for `content`.
    ///
    /// # Errors
    /// The file cannot be written. The old content is then still there.
    pub fn fill(self, content: &[u8]) -> io::Result<()> {
        match self.write(content) {
            // Another process has removed it in the meantime.
            Err(error) if error.kind() == ErrorKind::NotFound => replace(&self.path, content, true),
            written => written.and_then(|()| self.put_in_place()),
        }
    }

    /// Writes `content` durably into the reserved space, which does not have its name yet.
    ///
    /// # Errors
    /// It cannot be written. `NotFound` if another process has removed it.
    pub fn write(&self, content: &[u8]) -> io::Result<()> {
        let mut file = system::files::open_own_for_writing(&self.temporary)?;
        file.write_all(content)?;
        file.set_len(content.len() as u64)?;
        system::files::sync(&file)
    }

    /// Replaces the file by what was written.
    ///
    /// # Errors
    /// It cannot be renamed. `NotFound` if another process has removed it.
    pub fn put_in_place(self) -> io::Result<()> {
        put_in_place(&self.temporary, &self.path, true)
    }
}

/// Removes the space that was reserved for `owner`, except that for `kept`. A process that has reserved it cannot replace
/// the file any more. Best effort.
pub fn remove_temporary_files_of(directory: &Path, owner: &str, kept: Option<&str>) {
    for name in names(directory).unwrap_or_default() {
        let is_of = |owner: &str| name.strip_prefix(TEMPORARY).is_some_and(|rest| rest.starts_with(owner));
        if is_of(owner) && !kept.is_some_and(is_of) {
            let _ = fs::remove_file(directory.join(name));
        }
    }
}

impl Drop for ReservedSpace {
    fn drop(&mut self) {
        // After `fill` there is nothing to remove.
        let _ = fs::remove_file(&self.temporary);
    }
}

pub(super) const TEMPORARY: &str = "tmp-";
const SET_ASIDE: &str = "set-aside-";

fn write_new(path: &Path, content: &[u8], is_durable: bool) -> io::Result<()> {
    let mut file = system::files::create_private(path)?;
    file.write_all(content)?;
    if is_durable { system::files::sync(&file) } else { Ok(()) }
}

/// Renames a foreign object at `path`, so that it is not lost and does not block the path.
fn set_aside_if_foreign(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !is_ours(&metadata) || metadata.len() > SIZE_MAX => {
            let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
            let mut aside = std::ffi::OsString::from(SET_ASIDE);
            aside.push(name);
            // A fixed name replaces the last such object, so they do not fill the disk. If that one cannot be replaced
            // (a directory), take a new name.
            system::files::rename(path, &directory.join(&aside), false).or_else(|_| {
                aside.push(random::id());
                system::files::rename(path, &directory.join(&aside), false)
            })
        }
        _ => Ok(()),
    }
}

/// Removes a file that ycred owns. A missing file is not an error.
///
/// # Errors
/// The file cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Err(error),
        _ => Ok(()),
    }
}

/// Creates a directory and its missing parents with mode 0700, or changes the mode of an existing one.
///
/// # Errors
/// The directory cannot be created, or it belongs to another user, or its nearest existing parent belongs neither
/// to this user nor to root. Under `sudo` with the caller's HOME, root would otherwise leave files there that the caller can no
/// longer access.
pub fn make_private(directory: &Path) -> io::Result<()> {
    let Some(metadata) = existing_private(directory)? else {
        return system::files::create_private_directories(directory);
    };
    if system::files::mode(&metadata) & 0o077 != 0 {
        system::files::make_directory_private(directory)?;
    }
    system::access::refuse_open_directory(directory)
}

/// Checks without writing that a private directory exists or could be created.
///
/// # Errors
/// As [`make_private`].
pub fn check_private(directory: &Path) -> io::Result<()> {
    match existing_private(directory)? {
        Some(_) => Ok(()),
        None => permission::check_creatable(directory),
    }
}

/// Checks without writing that a file in a private directory could be replaced or removed.
///
/// # Errors
/// This user cannot create files in the directory.
pub fn check_replaceable(path: &Path) -> io::Result<()> {
    match path.parent().map(fs::metadata) {
        Some(Ok(directory)) if system::files::mode(&directory) & 0o077 == 0 => permission::check_changeable(path),
        // `make_private` creates the directory, or makes it accessible to its owner.
        _ => Ok(()),
    }
}

/// Returns `None` if the directory does not exist and may be created.
fn existing_private(directory: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(directory).and_then(|_| fs::metadata(directory)) {
        Ok(metadata) => {
            refuse_foreign(directory, &metadata)?;
            if !metadata.is_dir() {
                return Err(io::Error::new(
                    ErrorKind::NotADirectory,
                    format!("{} is not a directory", directory.display()),
                ));
            }
            return Ok(Some(metadata));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let ancestor = directory.ancestors().skip(1).find(|ancestor| fs::metadata(ancestor).is_ok());
    let ancestor = ancestor.ok_or(ErrorKind::NotFound)?;
    let metadata = fs::metadata(ancestor)?;
    // Root's own directories serve every user: /tmp, or the volume of a container. Its mode says who may write.
    if !system::files::is_root(&metadata) {
        refuse_foreign(ancestor, &metadata)?;
    }
    Ok(None)
}

/// Makes the parent of a private directory private, if everybody can write to it and this user owns it: anybody could
/// otherwise replace the private directory.
///
/// A parent that only a group can write to stays as it is, because that is the user's choice. Directories with the sticky bit, such as `/tmp`, and missing
/// ones stay unchanged.
///
/// # Errors
/// The mode cannot be changed.
pub fn tighten(directory: &Path) -> io::Result<()> {
    match fs::metadata(directory) {
        Ok(metadata) if system::files::is_own(&metadata) && is_open_to_everybody(&metadata) => {
            system::files::make_directory_private(directory)
        }
        _ => Ok(()),
    }
}

fn refuse_foreign(path: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    if system::files::is_own(metadata) {
        return Ok(());
    }
    let message = format!(
        "{} belongs to user {}, not to {}",
        path.display(),
        system::files::owner(metadata),
        system::process::effective_uid()
    );
    Err(io::Error::new(ErrorKind::PermissionDenied, message))
}

/// Returns the names, without extension, of all records and locks in a directory. Empty without a directory.
///
/// # Errors
/// The directory cannot be read.
pub fn record_names(directory: &Path) -> io::Result<BTreeSet<String>> {
    let stem = |name: &str| {
        let stem = name.strip_suffix(RECORD).or_else(|| name.strip_suffix(LOCK))?;
        // A lock's name has more parts: `.relief`, and the sharing group of the processes that use it.
        (!is_leftover_name(name)).then(|| stem.split('.').next().unwrap_or_default().to_owned())
    };
    Ok(names(directory)?.iter().filter_map(|name| stem(name)).collect())
}

/// Returns the file names of all locks of a record.
///
/// # Errors
/// The directory cannot be read.
pub fn lock_names(directory: &Path, record: &str) -> io::Result<Vec<String>> {
    let mut names = names(directory)?;
    names.retain(|name| name.strip_prefix(record).is_some_and(|rest| rest.starts_with('.') && rest.ends_with(LOCK)));
    Ok(names)
}

/// Removes temporary files and foreign objects that were moved away, of any age.
///
/// # Errors
/// The directory cannot be read, or a file cannot be removed.
pub fn remove_temporary_files(directory: &Path) -> io::Result<()> {
    remove_leftovers(directory, &names(directory)?)
}

/// [`remove_temporary_files`], for a directory with these names.
///
/// # Errors
/// A file cannot be removed.
pub fn remove_leftovers(directory: &Path, names: &[String]) -> io::Result<()> {
    let remove = |name: &String| {
        let path = directory.join(name);
        if !path.is_dir() {
            return remove(&path);
        }
        // Any other directory is foreign, so it contains no token.
        if name.starts_with(TEMPORARY) {
            remove_working_directory(&path);
        }
        Ok(())
    };
    names.iter().filter(|name| is_leftover_name(name)).map(remove).fold(Ok(()), io::Result::and)
}

/// Removes temporary files older than an hour, which killed processes left.
pub fn remove_old_temporary_files(directory: &Path, now: Timestamp) {
    for name in names(directory).unwrap_or_default() {
        let path = directory.join(&name);
        let age = fs::symlink_metadata(&path).map_or(0, |metadata| now.since(modified(&metadata)));
        if name.starts_with(TEMPORARY) && age > 3_600_000 {
            let _ = fs::remove_file(path);
        }
    }
}

/// The start of the names of working directories.
const WORKING: &str = "working-";

/// Creates a directory that only this user can enter, for copies of a file that another program edits.
///
/// # Errors
/// The directory cannot be created.
pub fn make_working_directory(parent: &Path) -> io::Result<PathBuf> {
    let directory = parent.join(format!("{WORKING}{}", random::id()));
    // A directory of this name that exists already could be another user's.
    if fs::symlink_metadata(&directory).is_ok() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    system::files::create_private_directories(&directory)?;
    refuse_foreign(&directory, &fs::symlink_metadata(&directory)?)?;
    Ok(directory)
}

/// Removes a working directory with the files in it.
pub fn remove_working_directory(directory: &Path) {
    for path in files::paths(directory) {
        let _ = fs::remove_file(path);
    }
    let _ = fs::remove_dir(directory);
}

/// Removes working directories older than an hour, which killed processes left.
pub fn remove_old_working_directories(parent: &Path, now: Timestamp) {
    for name in names(parent).unwrap_or_default().iter().filter(|name| name.starts_with(WORKING)) {
        let directory = parent.join(name);
        let age = fs::symlink_metadata(&directory).map_or(0, |metadata| now.since(modified(&metadata)));
        if directory.is_dir() && age > 3_600_000 {
            remove_working_directory(&directory);
        }
    }
}

/// Returns the file names in a directory up to the first dot, without leftovers. Empty without a directory.
///
/// # Errors
/// The directory cannot be read.
pub fn names_before_dot(directory: &Path) -> io::Result<BTreeSet<String>> {
    let first = |name: &String| name.split('.').next().unwrap_or_default().to_owned();
    Ok(names(directory)?.iter().filter(|name| !is_leftover_name(name) && name.contains('.')).map(first).collect())
}

pub(super) fn is_leftover_name(name: &str) -> bool {
    name.starts_with(TEMPORARY) || name.starts_with(SET_ASIDE)
}

/// Returns the file names in a directory that are UTF-8. Empty without a directory.
///
/// # Errors
/// The directory cannot be read.
pub fn names(directory: &Path) -> io::Result<Vec<String>> {
    names_from(directory, None, |_| true).map(|part| part.names)
}

/// The names in a directory, or a part of them.
#[derive(Default)]
pub struct NameList {
    pub names: Vec<String>,
    /// Where the rest begins. `None` at the end of the directory.
    pub next: Option<i64>,
}

/// Returns the names from a position on, as [`names`] does, until `goes_on` says to stop. It gets the number of names so far.
///
/// # Errors
/// The directory cannot be read.
pub fn names_from(
    directory: &Path,
    position: Option<i64>,
    mut goes_on: impl FnMut(usize) -> bool,
) -> io::Result<NameList> {
    let mut names = Vec::new();
    let next = system::files::names_from(directory, position, |name| {
        names.extend(name.to_str().filter(|name| !matches!(*name, "." | "..")).map(str::to_owned));
        if goes_on(names.len()) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    match next {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(NameList::default()),
        next => next.map(|next| NameList { names, next }),
    }
}

/// The extension of a record file.
pub const RECORD: &str = ".json";
/// The extensions of the usual lock files. Those of a sharing group with variables of its own begin with its digest.
pub const LOCK: &str = ".lock";
pub const RELIEF_LOCK: &str = ".relief.lock";

pub(super) fn modified(metadata: &fs::Metadata) -> Timestamp {
    Timestamp(system::files::modified_nanos(metadata).div_euclid(1_000_000))
}

/// Opens a log for appending. If it is larger than `most` bytes, first renames it to `PATH.1`.
///
/// # Errors
/// The file cannot be opened, or is not a regular file of this user.
pub fn open_log(path: &Path, most: u64) -> io::Result<File> {
    let file = system::files::open_log(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || !system::files::is_own(&metadata) {
        return Err(ErrorKind::PermissionDenied.into());
    }
    if metadata.len() <= most {
        return Ok(file);
    }
    let mut old = path.as_os_str().to_owned();
    old.push(".1");
    // Another process may have renamed it in the meantime.
    if fs::symlink_metadata(path).is_ok_and(|now| system::files::identity(&now) == system::files::identity(&metadata)) {
        fs::rename(path, old)?;
    }
    system::files::open_log(path)
}

/// Writes a file that users edit (a profile) atomically, with mode 0600.
///
/// If the path is a link, the file that it points to is replaced and the link stays.
///
/// # Errors
/// The file cannot be written. `AlreadyExists` if it exists and `overwrite` is false.
pub fn write_config(path: &Path, content: &[u8], overwrite: bool) -> io::Result<()> {
    let target =
        if overwrite { system::files::real_path(path).unwrap_or_else(|_| path.to_owned()) } else { path.to_owned() };
    if let Some(directory) = target.parent() {
        if let Some((ancestor, metadata)) =
            directory.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?)))
        {
            refuse_foreign(ancestor, &metadata)?;
        }
        system::files::create_private_directories(directory)?;
    }
    if overwrite {
        let temporary = target.with_file_name(format!(".ycred-{TEMPORARY}{}", random::id()));
        return write_new(&temporary, content, true)
            .and_then(|()| system::files::rename(&temporary, &target, true))
            .inspect_err(|_| {
                let _ = fs::remove_file(&temporary);
            });
    }
    // hard_link fails if the name is taken. So no existing file is lost in a race, and no profile is incomplete.
    let temporary = target.with_file_name(format!(".ycred-{TEMPORARY}{}", random::id()));
    let linked = write_new(&temporary, content, true).and_then(|()| match fs::hard_link(&temporary, &target) {
        // FAT and some network file systems have no hard links.
        Err(error) if error.kind() != ErrorKind::AlreadyExists && !target.exists() => write_new(&target, content, true),
        linked => linked,
    });
    let _ = fs::remove_file(&temporary);
    linked
}

/// Gives a file that users edit a second name, unless that name exists. A link gets the second name itself.
///
/// # Errors
/// The name cannot be created. `AlreadyExists` if it exists.
pub fn add_name(path: &Path, new: &Path) -> io::Result<()> {
    fs::hard_link(path, new)
}

/// Renames a file that users edit, unless the new name exists.
///
/// # Errors
/// The file cannot be renamed. `AlreadyExists` if the new name exists.
pub fn rename_new(path: &Path, new: &Path) -> io::Result<()> {
    match system::files::rename_new(path, new) {
        // Some file systems and old kernels cannot check the new name themselves.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
            match fs::symlink_metadata(new) {
                Ok(_) => Err(ErrorKind::AlreadyExists.into()),
                Err(_) => fs::rename(path, new),
            }
        }
        renamed => renamed,
    }
}

/// Replaces a name by a file that users edit. Unlike [`write_config`], replaces a link itself, and not its target.
///
/// # Errors
/// The file cannot be written. The old one is then still there.
pub fn replace_name(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_file_name(format!(".ycred-{TEMPORARY}{}", random::id()));
    write_new(&temporary, content, true).and_then(|()| system::files::rename(&temporary, path, true)).inspect_err(
        |_| {
            let _ = fs::remove_file(&temporary);
        },
    )
}

#[cfg(test)]
#[cfg(unix)]
#[allow(clippy::disallowed_types, reason = "the tests set up modes and links")]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    fn content(metadata: io::Result<FileState>) -> Option<Vec<u8>> {
        match metadata {
            Ok(FileState::Content(content)) => Some(content.to_vec()),
            _ => None,
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_private() {
        let dir = directory();
        let path = dir.path().join("x.json");
        replace(&path, b"a longer text", false).expect("first");
        replace(&path, b"short", true).expect("second");
        assert_eq!(content(read(&path)).as_deref(), Some(&b"short"[..]), "nothing is left of the longer content");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1, "no leftovers");
    }

    #[test]
    fn only_an_own_file_is_overwritten_in_place() {
        let dir = directory();
        let path = dir.path().join("x");
        assert!(overwrite(&path, b"new").is_err() && !path.exists());
        replace(&path, b"a longer text", false).expect("first");
        overwrite(&path, b"new").expect("overwritten");
        assert_eq!(content(read(&path)).as_deref(), Some(&b"new"[..]));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        assert!(overwrite(&link, b"other").is_err());
        assert_eq!(content(read(&path)).as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn a_foreign_object_is_moved_away_by_the_next_replace() {
        let dir = directory();
        let victim = dir.path().join("victim");
        fs::write(&victim, "untouched").expect("victim");
        let path = dir.path().join("x.json");
        for make in [
            (|path: &Path| std::os::unix::fs::symlink(path.with_file_name("victim"), path))
                as fn(&Path) -> io::Result<()>,
            |path| fs::create_dir(path).and_then(|()| fs::write(path.join("inside"), "x")),
            |path| fs::write(path, vec![b'x'; 100_000]),
            |path| std::os::unix::net::UnixListener::bind(path).map(drop),
        ] {
            make(&path).expect("planted");
            assert!(matches!(read(&path), Ok(FileState::Foreign)));
            replace(&path, b"{}", false).expect("replaced");
            assert_eq!(content(read(&path)).as_deref(), Some(&b"{}"[..]));
            fs::remove_file(&path).expect("removed");
        }
        assert_eq!(fs::read_to_string(&victim).expect("still there"), "untouched");
    }

    #[test]
    fn reserved_space_is_used_or_released() {
        let dir = directory();
        let path = dir.path().join("x.json");
        drop(reserve(&path, "", 1000).expect("space"));
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0, "released");
        reserve(&path, "", 1000).expect("space").fill(b"short").expect("filled");
        assert_eq!(content(read(&path)).as_deref(), Some(&b"short"[..]), "nothing is left of the reserved content");
        reserve(&path, "", 10).expect("space").fill(b"longer than was thought").expect("filled");
        assert_eq!(content(read(&path)).as_deref(), Some(&b"longer than was thought"[..]));
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1, "no leftovers");
    }

    #[test]
    fn directories_become_private() {
        let dir = directory();
        let deep = dir.path().join("a/b/v1");
        make_private(&deep).expect("made");
        for path in [&deep, deep.parent().expect("b"), deep.parent().and_then(Path::parent).expect("a")] {
            assert_eq!(fs::metadata(path).expect("there").permissions().mode() & 0o777, 0o700, "{}", path.display());
        }
        fs::set_permissions(&deep, Permissions::from_mode(0o777)).expect("mode changed");
        make_private(&deep).expect("private");
        assert_eq!(fs::metadata(&deep).expect("there").permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn an_existing_profile_is_overwritten_only_on_request() {
        let dir = directory();
        let path = dir.path().join("new/prod.toml");
        write_config(&path, b"one", false).expect("first");
        assert_eq!(write_config(&path, b"two", false).expect_err("taken").kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("readable"), b"one");
        write_config(&path, b"two", true).expect("overwrite");
        assert_eq!(fs::read(&path).expect("readable"), b"two");
        assert_eq!(fs::read_dir(path.parent().expect("new")).expect("readable").count(), 1, "no leftovers");
    }
}
