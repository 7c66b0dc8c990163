//! Files that ycred owns: opened without following links, replaced whole, locked on the side, set aside when they are
//! not what they should be, and swept. Nothing here knows what the files hold.
//!
//! Rules: a file is 0600 and a directory 0700 from the moment of its making; a reader sees the old content or the new
//! one, never a mixture; nothing is made under a directory that belongs to somebody else.
#![expect(clippy::disallowed_methods, reason = "the one place that writes, renames, removes and locks files of ours")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::clock::{Clock, Deadline, Timestamp};
use crate::base::random;
use crate::disk::files;
use crate::system;

/// What stands at a path of ours.
pub enum FileState {
    Nothing,
    /// Something that we did not write: a link, a directory, a FIFO, another user's file, a file of absurd size.
    Foreign,
    Content(Zeroizing<Vec<u8>>),
}

/// The most that a file of ours may hold.
const LARGEST: u64 = 64 * 1024;

/// Reads a file of ours: no link is followed, a FIFO does not block, and nothing but a regular file of our own user is
/// read.
///
/// # Errors
/// Only what the disk says beyond "not there" (EIO, EACCES on the way).
pub fn read(path: &Path) -> io::Result<FileState> {
    let opened = system::files::open_own(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => {
            return match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Ok(FileState::Nothing),
                _ if system::files::is_other_object(&error) => Ok(FileState::Foreign),
                // A directory or socket opens with other errors on other systems; a file of ours that we may not read
                // is not as we made it.
                _ if fs::symlink_metadata(path)
                    .is_ok_and(|found| !is_ours(&found) || error.kind() == ErrorKind::PermissionDenied) =>
                {
                    Ok(FileState::Foreign)
                }
                _ => Err(error),
            };
        }
    };
    let found = file.metadata()?;
    if !is_ours(&found) || found.len() > LARGEST {
        return Ok(FileState::Foreign);
    }
    files::read_promised(&mut file, found.len()).map(FileState::Content)
}

/// Refuses a directory that belongs to another user; one that is not there is none.
///
/// # Errors
/// A refusal, naming the owner.
pub fn refuse_foreign_directory(directory: &Path) -> io::Result<()> {
    match fs::metadata(directory) {
        Ok(found) => refuse_foreign(directory, &found),
        Err(_) => Ok(()),
    }
}

fn is_open_to_others(found: &fs::Metadata) -> bool {
    let mode = system::files::mode(found);
    mode & 0o022 != 0 && mode & 0o1000 == 0
}

fn is_ours(found: &fs::Metadata) -> bool {
    found.is_file() && system::files::is_own(found)
}

/// Replaces the file at `path` whole: a temporary file in the same directory, 0600 at creation, renamed over it.
///
/// `durable` adds an fsync, for what cannot be fetched again (a rotated refresh token). A token record goes without: a
/// torn one is a miss.
///
/// # Errors
/// What the disk says; the old content is then still there, and no temporary file.
pub fn replace(path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
    system::signals::ignore_file_size_signal();
    let directory = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let temporary = directory.join(format!("{TEMPORARY}{}", random::id()));
    let written = write_new(&temporary, content, durable).and_then(|()| put_in_place(&temporary, path, durable));
    if written.is_err() {
        // Best effort: the sweep finds what this cannot remove.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn put_in_place(temporary: &Path, path: &Path, durable: bool) -> io::Result<()> {
    set_aside_if_foreign(path)?;
    fs::rename(temporary, path)?;
    if durable && let Some(directory) = path.parent() {
        // The name is on disk only with its directory. Not every file system can do that; the content is there anyway.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
    Ok(())
}

/// Room on the disk for what is about to be got and cannot be got twice: taken before it is asked for.
pub struct ReservedSpace {
    temporary: PathBuf,
    path: PathBuf,
}

/// Takes room for a file of at most `size` bytes.
///
/// # Errors
/// What the disk says: nothing of that size can be kept here.
pub fn reserve(path: &Path, size: usize) -> io::Result<ReservedSpace> {
    system::signals::ignore_file_size_signal();
    let directory = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let reserved =
        ReservedSpace { temporary: directory.join(format!("{TEMPORARY}{}", random::id())), path: path.to_owned() };
    write_new(&reserved.temporary, &vec![b' '; size], true)?;
    Ok(reserved)
}

impl ReservedSpace {
    /// Replaces the file by this content, durably: into blocks that are there already.
    ///
    /// # Errors
    /// What the disk says; the old content is then still there.
    pub fn fill(self, content: &[u8]) -> io::Result<()> {
        let opened = system::files::open_own_for_writing(&self.temporary);
        let mut file = match opened {
            // Somebody has cleaned up meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => return replace(&self.path, content, true),
            opened => opened?,
        };
        file.write_all(content)?;
        file.set_len(content.len() as u64)?;
        file.sync_all()?;
        put_in_place(&self.temporary, &self.path, true)
    }
}

impl Drop for ReservedSpace {
    fn drop(&mut self) {
        // It is not there any more where it was filled.
        let _ = fs::remove_file(&self.temporary);
    }
}

const TEMPORARY: &str = "tmp-";
const SET_ASIDE: &str = "set-aside-";

fn write_new(path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
    let mut file = system::files::create_private(path)?;
    file.write_all(content)?;
    if durable { file.sync_all() } else { Ok(()) }
}

/// Moves what stands in a record's place and is none out of the way, so that it is neither lost nor in the way for
/// ever.
fn set_aside_if_foreign(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !is_ours(&found) || found.len() > LARGEST => {
            let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
            let mut aside = std::ffi::OsString::from(SET_ASIDE);
            aside.push(name);
            // One per name, so that a disk that keeps doing this does not fill up; what is there already and cannot be
            // replaced (a directory) makes us take a fresh name.
            fs::rename(path, directory.join(&aside)).or_else(|_| {
                aside.push(random::id());
                fs::rename(path, directory.join(&aside))
            })
        }
        _ => Ok(()),
    }
}

/// Removes a file of ours; that it is not there is fine.
///
/// # Errors
/// What the disk says.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Err(error),
        _ => Ok(()),
    }
}

/// Makes `directory` with every parent that is missing, all 0700, or tightens the one that is there.
///
/// # Errors
/// What the disk says; and a refusal, naming the owner, where it or the nearest existing ancestor belongs to another
/// user: under `sudo` with the caller's HOME, root would leave files there that lock the caller out for ever.
pub fn make_private(directory: &Path) -> io::Result<()> {
    match fs::symlink_metadata(directory).and_then(|_| fs::metadata(directory)) {
        Ok(found) => {
            refuse_foreign(directory, &found)?;
            if !found.is_dir() {
                return Err(io::Error::new(
                    ErrorKind::NotADirectory,
                    format!("{} is not a directory", directory.display()),
                ));
            }
            if system::files::mode(&found) & 0o077 != 0 {
                system::files::make_directory_private(directory)?;
            }
            return Ok(());
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let ancestor = directory.ancestors().skip(1).find(|ancestor| fs::metadata(ancestor).is_ok());
    let ancestor = ancestor.ok_or(ErrorKind::NotFound)?;
    refuse_foreign(ancestor, &fs::metadata(ancestor)?)?;
    system::files::create_private_directories(directory)
}

/// Takes from others the right to write into a directory of ours that holds a private one, since they could put another
/// in its place. (`/tmp` and the like, where the sticky bit forbids that, stay as they are, and so does what is not
/// there.)
///
/// # Errors
/// What the disk says.
pub fn tighten(directory: &Path) -> io::Result<()> {
    match fs::metadata(directory) {
        Ok(found) if system::files::is_own(&found) && is_open_to_others(&found) => {
            system::files::make_directory_private(directory)
        }
        _ => Ok(()),
    }
}

fn refuse_foreign(path: &Path, found: &fs::Metadata) -> io::Result<()> {
    if system::files::is_own(found) {
        return Ok(());
    }
    let whose = format!(
        "{} belongs to user {}, not to {}",
        path.display(),
        system::files::owner(found),
        system::process::effective_uid()
    );
    Err(io::Error::new(ErrorKind::PermissionDenied, whose))
}

/// Marks a directory as a cache for backup programs (<https://bford.info/cachedir/>), and says when it was last swept:
/// the tag's own modification time.
const CACHE_TAG: &str = "CACHEDIR.TAG";
const CACHE_TAG_TEXT: &[u8] =
    b"Signature: 8a477f597d28d172789f06886806bc55\n# Tokens cached by ycred. Safe to delete.\n";

/// Collects litter, at most once an hour and 64 entries at a time: records for which `dead` says so, temporary files
/// older than an hour, things set aside a day ago. Lock files stay: unlinking one breaks the exclusion of those who
/// hold it open.
pub fn sweep(directory: &Path, now: Timestamp, dead: impl Fn(&[u8]) -> bool) {
    const HOUR: Duration = Duration::from_secs(3600);
    let tag = directory.join(CACHE_TAG);
    match fs::symlink_metadata(&tag) {
        Ok(found) if now.since(modified(&found)).unsigned_abs() < HOUR.as_millis() as u64 => return,
        _ => {}
    }
    // Renewing the tag comes first: whoever comes next within the hour leaves the sweeping to us.
    if replace(&tag, CACHE_TAG_TEXT, false).is_err() {
        return;
    }
    let Ok(mut stream) = fs::read_dir(directory) else { return };
    let mut entries: Vec<_> = stream.by_ref().flatten().collect();
    // Left open until the process ends: std panics where a sick disk fails the closing, which would cost the token.
    std::mem::forget(stream);
    // From another place each time, or a directory with many live records would keep its litter for ever.
    if !entries.is_empty() {
        let from = random::below(entries.len());
        entries.rotate_left(from);
    }
    for entry in entries.into_iter().take(64) {
        let (name, path) = (entry.file_name(), entry.path());
        let Some(name) = name.to_str() else { continue };
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        let age = now.since(modified(&found));
        let litter = if name.starts_with(TEMPORARY) {
            age > HOUR.as_millis() as i64
        } else if name.starts_with(SET_ASIDE) {
            age > 24 * HOUR.as_millis() as i64
        } else if name.ends_with(RECORD) {
            // Not looked into before it has lain still for a day, so that a sweep costs a stat for each live record.
            age > 24 * HOUR.as_millis() as i64
                && matches!(read(&path), Ok(FileState::Content(content)) if dead(&content))
        } else {
            false
        };
        if litter {
            let _ = if found.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) };
        }
    }
}

/// The names, without ending, that have a record or a lock in a directory; none where there is no directory.
///
/// # Errors
/// What the disk says.
pub fn record_names(directory: &Path) -> io::Result<BTreeSet<String>> {
    let stem = |name: &str| {
        let stem = name.strip_suffix(RECORD).or_else(|| name.strip_suffix(".lock"))?;
        (!is_litter(name)).then(|| stem.trim_end_matches(".relief").to_owned())
    };
    Ok(names(directory)?.iter().filter_map(|name| stem(name)).collect())
}

/// Removes temporary files and what was set aside, however young.
///
/// # Errors
/// What the disk says.
pub fn remove_temporary_files(directory: &Path) -> io::Result<()> {
    names(directory)?.iter().filter(|name| is_litter(name)).try_for_each(|name| {
        let path = directory.join(name);
        // A directory that was set aside holds nothing of ours.
        if path.is_dir() { Ok(()) } else { remove(&path) }
    })
}

/// Removes temporary files that killed processes left more than an hour ago.
pub fn remove_old_temporary_files(directory: &Path, now: Timestamp) {
    for name in names(directory).unwrap_or_default() {
        let path = directory.join(&name);
        let age = fs::symlink_metadata(&path).map_or(0, |found| now.since(modified(&found)));
        if name.starts_with(TEMPORARY) && age > 3_600_000 {
            let _ = fs::remove_file(path);
        }
    }
}

/// The names in a directory up to their first dot, without litter; none where there is no directory.
///
/// # Errors
/// What the disk says.
pub fn names_before_dot(directory: &Path) -> io::Result<BTreeSet<String>> {
    let first = |name: &String| name.split('.').next().unwrap_or_default().to_owned();
    Ok(names(directory)?.iter().filter(|name| !is_litter(name) && name.contains('.')).map(first).collect())
}

fn is_litter(name: &str) -> bool {
    name.starts_with(TEMPORARY) || name.starts_with(SET_ASIDE)
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            entries.filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose()).collect()
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The ending of a record's file name, by which the sweep knows one.
pub const RECORD: &str = ".json";

fn modified(found: &fs::Metadata) -> Timestamp {
    Timestamp(system::files::modified_nanos(found).div_euclid(1_000_000))
}

/// The outcome of one try for a side lock.
pub enum Lock {
    Held(LockGuard),
    Busy,
    /// This directory or file system cannot lock; losing mutual exclusion costs a request, never correctness.
    Impossible(io::Error),
}

/// A lock held until it is dropped, or the process ends however it ends.
pub struct LockGuard(
    #[expect(dead_code, reason = "owned for its Drop: closing the descriptor releases the lock")] File,
);

/// The first pause of a process that waits for a lock, and the longest; each is drawn between half of it and all of it.
const POLL_FIRST: Duration = Duration::from_millis(5);
const POLL_LONGEST: Duration = Duration::from_millis(50);

/// Attempts something again and again, with growing pauses, until it has a result; none once the deadline is over.
///
/// This is the one way in which ycred waits for a lock: a blocking flock on a sick NFS hangs for ever.
pub fn poll<T>(deadline: &Deadline, clock: &dyn Clock, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let mut pause = POLL_FIRST;
    loop {
        if let Some(result) = attempt() {
            return Some(result);
        }
        let left = deadline.left(clock);
        if left.is_zero() {
            return None;
        }
        clock.sleep(random::between(pause / 2, pause).min(left));
        pause = (pause * 2).min(POLL_LONGEST);
    }
}

/// Waits while a lock is busy. Returns [`Lock::Busy`] if it still is once the deadline is over.
pub fn wait_for_lock(deadline: &Deadline, clock: &dyn Clock, mut try_lock: impl FnMut() -> Lock) -> Lock {
    let settled = poll(deadline, clock, || match try_lock() {
        Lock::Busy => None,
        lock => Some(lock),
    });
    settled.unwrap_or(Lock::Busy)
}

/// Tries once for the lock file at `path`. Never blocks: a blocking flock on a sick NFS hangs for ever.
pub fn try_lock(path: &Path) -> Lock {
    let opened = system::files::open_lock(path);
    let file = match opened.and_then(|file| file.metadata().map(|found| (file, found))) {
        Ok((file, found)) if is_ours(&found) => {
            if system::files::mode(&found) & 0o077 != 0 {
                // Best effort: whoever can open it can hold it, which costs us a wait and no more.
                let _ = system::files::make_file_private(&file);
            }
            file
        }
        Ok(_) => return Lock::Impossible(io::Error::other(format!("{} is not a lock file of ours", path.display()))),
        Err(error) => return Lock::Impossible(error),
    };
    // A signal may interrupt even this; a file system that says so for ever cannot lock.
    for _ in 0..16 {
        // By its full path: std's own method of this name, which clippy.toml bans, would be taken otherwise.
        match fs2::FileExt::try_lock_exclusive(&file) {
            Ok(()) => return Lock::Held(LockGuard(file)),
            Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => return Lock::Busy,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Lock::Impossible(error),
        }
    }
    Lock::Impossible(ErrorKind::Interrupted.into())
}

/// Writes a file for people (a profile): 0600, whole, following a link that stands in its place so that a link stays
/// one.
///
/// # Errors
/// What the disk says; with `AlreadyExists` where `overwrite` is not given and something is there.
pub fn write_config(path: &Path, content: &[u8], overwrite: bool) -> io::Result<()> {
    let target = if overwrite { fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()) } else { path.to_owned() };
    if let Some(directory) = target.parent() {
        if let Some((ancestor, found)) = directory.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?))) {
            refuse_foreign(ancestor, &found)?;
        }
        system::files::create_private_directories(directory)?;
    }
    if overwrite {
        let temporary = target.with_file_name(format!(".ycred-{TEMPORARY}{}", random::id()));
        return write_new(&temporary, content, true).and_then(|()| fs::rename(&temporary, &target)).inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        });
    }
    // hard_link fails where the name is taken, so nobody's file is lost to a race, and a profile is there whole or not.
    let temporary = target.with_file_name(format!(".ycred-{TEMPORARY}{}", random::id()));
    let linked = write_new(&temporary, content, true).and_then(|()| match fs::hard_link(&temporary, &target) {
        // FAT and some network file systems have no links.
        Err(error) if error.kind() != ErrorKind::AlreadyExists && !target.exists() => write_new(&target, content, true),
        linked => linked,
    });
    let _ = fs::remove_file(&temporary);
    linked
}

#[cfg(test)]
#[allow(clippy::disallowed_types, reason = "the tests set up modes and links")]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    fn content(found: io::Result<FileState>) -> Option<Vec<u8>> {
        match found {
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
        assert_eq!(content(read(&path)).as_deref(), Some(&b"short"[..]), "no tail of the longer one");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1, "no litter");
    }

    #[test]
    fn what_is_no_file_of_ours_is_foreign_and_set_aside_by_the_next_replace() {
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
    fn room_that_was_taken_is_filled_or_given_back() {
        let dir = directory();
        let path = dir.path().join("x.json");
        drop(reserve(&path, 1000).expect("room"));
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0, "given back");
        reserve(&path, 1000).expect("room").fill(b"short").expect("filled");
        assert_eq!(content(read(&path)).as_deref(), Some(&b"short"[..]), "no tail of what was reserved");
        reserve(&path, 10).expect("room").fill(b"longer than was thought").expect("filled");
        assert_eq!(content(read(&path)).as_deref(), Some(&b"longer than was thought"[..]));
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1, "no litter");
    }

    #[test]
    fn a_lock_excludes_and_ends_with_its_holder() {
        let dir = directory();
        let path = dir.path().join("x.lock");
        let held = try_lock(&path);
        assert!(matches!(held, Lock::Held(_)));
        assert!(matches!(try_lock(&path), Lock::Busy));
        drop(held);
        assert!(matches!(try_lock(&path), Lock::Held(_)));
        assert!(path.exists(), "never unlinked");
    }

    #[test]
    fn where_nothing_can_be_locked_it_says_why() {
        let dir = directory();
        assert!(
            matches!(try_lock(&dir.path().join("missing/x.lock")), Lock::Impossible(error) if error.kind() == ErrorKind::NotFound)
        );
        let link = dir.path().join("link.lock");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).expect("link");
        assert!(matches!(try_lock(&link), Lock::Impossible(_)));
        assert!(!dir.path().join("elsewhere").exists(), "the link was not followed");
    }

    #[test]
    fn directories_are_private_even_if_found_loose() {
        let dir = directory();
        let deep = dir.path().join("a/b/v1");
        make_private(&deep).expect("made");
        for path in [&deep, deep.parent().expect("b"), deep.parent().and_then(Path::parent).expect("a")] {
            assert_eq!(fs::metadata(path).expect("there").permissions().mode() & 0o777, 0o700, "{}", path.display());
        }
        fs::set_permissions(&deep, Permissions::from_mode(0o777)).expect("loosened");
        make_private(&deep).expect("tightened");
        assert_eq!(fs::metadata(&deep).expect("there").permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn the_sweep_takes_litter_alone() {
        let dir = directory();
        let now = Timestamp(4_000_000_000_000); // far enough ahead that all of these are old
        for name in ["tmp-1", "set-aside-x.json", "dead.json", "live.json", "x.lock", "note.txt"] {
            fs::write(dir.path().join(name), name).expect("written");
        }
        sweep(dir.path(), now, |content| content == b"dead.json");
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .expect("readable")
            .flatten()
            .map(|e| e.file_name().into_string().expect("utf-8"))
            .collect();
        left.sort();
        assert_eq!(left, ["CACHEDIR.TAG", "live.json", "note.txt", "x.lock"]);
    }

    #[test]
    fn the_sweep_rests_for_an_hour() {
        let dir = directory();
        sweep(dir.path(), Timestamp(0), |_| false);
        let tag = modified(&fs::metadata(dir.path().join(CACHE_TAG)).expect("tag"));
        fs::write(dir.path().join("dead.json"), "x").expect("written");
        sweep(dir.path(), tag.plus(Duration::from_secs(3599)), |_| true);
        assert!(dir.path().join("dead.json").exists());
    }

    #[test]
    fn a_profile_is_not_overwritten_unasked() {
        let dir = directory();
        let path = dir.path().join("new/prod.toml");
        write_config(&path, b"one", false).expect("first");
        assert_eq!(write_config(&path, b"two", false).expect_err("taken").kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("readable"), b"one");
        write_config(&path, b"two", true).expect("told to");
        assert_eq!(fs::read(&path).expect("readable"), b"two");
        assert_eq!(fs::read_dir(path.parent().expect("new")).expect("readable").count(), 1, "no litter");
    }
}
