//! Installs this program, its links and configuration files into a directory, such as one of a Kubernetes node.
//!
//! * Each file is replaced atomically: a process that runs it meanwhile gets the old program or the new one.
//! * A killed installation leaves at most a temporary file, which the next one removes.
//! * The program comes first, so no link is ever left without it.
#![expect(
    clippy::disallowed_methods,
    reason = "unlike the files in disk/store.rs, these are for other users and other programs"
)]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::base::clock::{Clock, Deadline};
use crate::base::error::{Error, Result, describe};
use crate::base::random;
use crate::disk::{files, store};
use crate::system;

/// The name of the installed program.
pub const PROGRAM: &str = "ycred";
/// The first part of the names of temporary files.
const TEMPORARY: &str = ".ycred-install-";
/// The name of its file.
fn program() -> String {
    system::programs::own_file_name(PROGRAM)
}

const PROGRAM_MODE: u32 = 0o755;
const CONFIGURATION_MODE: u32 = 0o600;

/// A directory that this process installs into. Other installations into it wait.
pub struct InstallTarget<'a> {
    directory: &'a Path,
    /// Holds the lock; `None` if the file system has no locks.
    lock: Option<File>,
}

impl<'a> InstallTarget<'a> {
    /// Opens the directory, creates it if it is missing, and removes what killed installations have left.
    ///
    /// # Errors
    /// Usage (2): the directory cannot be used. Unavailable (4): another installation has been running until the
    /// deadline.
    pub fn open(directory: &'a Path, deadline: &Deadline, clock: &dyn Clock) -> Result<Self> {
        system::signals::ignore_file_size_signal();
        create_directory(directory).map_err(|error| failed(directory, &error))?;
        let target = Self { directory, lock: lock(directory, deadline, clock)? };
        if target.lock.is_some() {
            target.remove_temporary_files();
        }
        Ok(target)
    }

    /// Installs this program and its links. Returns false if there was nothing to change.
    ///
    /// # Errors
    /// Usage (2), Unavailable (4): as [`Self::open`]; the disk is full. Everything that is installed is complete.
    pub fn install_program(&self, links: &[&str]) -> Result<bool> {
        let mut source = system::process::open_program()
            .map_err(|error| Error::internal("cannot read this program").because(describe(&error)))?;
        let mut is_changed = self.put(program().as_ref(), &mut source, PROGRAM_MODE)?;
        for link in links {
            is_changed |= self.put_link(link)?;
        }
        self.make_durable(is_changed);
        Ok(is_changed)
    }

    /// Copies the regular files of a directory, readable only for their owner. Follows links, and skips names that
    /// start with two dots, because Kubernetes mounts configuration in this form. Returns the names of the files that
    /// have changed, and the number of all files.
    ///
    /// # Errors
    /// Profile (3): a file cannot be read. Otherwise as [`Self::install_program`].
    pub fn install_files(&self, from: &Path) -> Result<(Vec<String>, usize)> {
        let unreadable = |error: io::Error| Error::usage(format!("{}: {}", from.display(), describe(&error)));
        let mut names = files::list(from).map_err(unreadable)?;
        names.retain(|name| !name.as_encoded_bytes().starts_with(b"..") && from.join(name).is_file());
        names.sort();
        let mut changed = Vec::new();
        for name in &names {
            let content = files::read(&from.join(name))?;
            if self.put(name.as_ref(), &mut io::Cursor::new(&content[..]), CONFIGURATION_MODE)? {
                changed.push(name.to_string_lossy().into_owned());
            }
        }
        self.make_durable(!changed.is_empty());
        Ok((changed, names.len()))
    }

    /// Replaces a file, unless it has this content and this mode already.
    fn put(&self, name: &Path, source: &mut (impl Read + io::Seek), mode: u32) -> Result<bool> {
        let path = self.directory.join(name);
        let temporary = self.temporary();
        let written = (|| {
            if has_content(&path, source, mode)? {
                return Ok(false);
            }
            source.rewind()?;
            let mut file = system::files::create_private(&temporary)?;
            io::copy(source, &mut file)?;
            system::files::set_mode(&file, mode)?;
            system::files::sync(&file)?;
            // Closed before the rename: a program that is open for writing cannot be run.
            drop(file);
            system::files::rename(&temporary, &path, true)?;
            Ok(true)
        })();
        written.map_err(|error| self.give_up(&temporary, &path, &error))
    }

    /// Creates a relative link to the program, in place of whatever has this name.
    fn put_link(&self, name: &str) -> Result<bool> {
        let (path, program) = (self.directory.join(system::programs::own_file_name(name)), program());
        if system::files::leads_to(&path, program.as_ref()) {
            return Ok(false);
        }
        let temporary = self.temporary();
        let linked = system::files::create_link(program.as_ref(), &temporary);
        linked
            .and_then(|()| system::files::rename(&temporary, &path, true))
            .map_err(|error| self.give_up(&temporary, &path, &error))?;
        Ok(true)
    }

    /// Makes new names survive a loss of power. Not every file system supports this.
    fn make_durable(&self, is_changed: bool) {
        if is_changed && let Ok(directory) = File::open(self.directory) {
            let _ = directory.sync_all();
        }
    }

    fn give_up(&self, temporary: &Path, path: &Path, error: &io::Error) -> Error {
        let _ = fs::remove_file(temporary);
        failed(path, error)
    }

    fn temporary(&self) -> PathBuf {
        self.directory.join(format!("{TEMPORARY}{}", random::id()))
    }

    /// Best effort: what is left only takes space.
    fn remove_temporary_files(&self) {
        for name in files::list(self.directory).unwrap_or_default() {
            if name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
                let _ = fs::remove_file(self.directory.join(name));
            }
        }
    }
}

/// Creates a directory and its missing parents. Others may read them, because they run the program.
fn create_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    system::files::create_public_directories(directory)
}

/// Locks the directory itself, so that the lock leaves no file in it.
fn lock(directory: &Path, deadline: &Deadline, clock: &dyn Clock) -> Result<Option<File>> {
    // A file system or a platform may not be able to lock, or even to open, a directory. Two installations at once then
    // still replace each file atomically.
    let Ok(file) = File::open(directory) else { return Ok(None) };
    let result = store::poll(deadline, clock, || match system::files::try_lock_exclusive(&file) {
        Ok(true) => Some(true),
        Ok(false) => None,
        Err(error) if error.kind() == ErrorKind::Interrupted => None,
        Err(_) => Some(false),
    });
    match result {
        Some(is_locked) => Ok(is_locked.then_some(file)),
        None => Err(Error::unavailable(format!(
            "{}: another `ycred install` is writing to this directory",
            directory.display()
        ))
        .hint("try again when it has finished")),
    }
}

/// Returns true if a regular file has this mode and the content of `source`.
fn has_content(path: &Path, source: &mut (impl Read + io::Seek), mode: u32) -> io::Result<bool> {
    let size = source.seek(io::SeekFrom::End(0))?;
    source.rewind()?;
    let Ok(mut file) = system::files::open_own(path) else { return Ok(false) };
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() != size || system::files::mode(&metadata) != mode {
        return Ok(false);
    }
    let (mut ours, mut theirs) = ([0; 16 * 1024], [0; 16 * 1024]);
    loop {
        let n = source.read(&mut ours)?;
        if n == 0 {
            return Ok(true);
        }
        // An unreadable file is replaced.
        if file.read_exact(&mut theirs[..n]).is_err() || ours[..n] != theirs[..n] {
            return Ok(false);
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> Error {
    let message = format!("{}: cannot install: {}", path.display(), describe(error));
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Error::unavailable(message).hint("free some space, then try again")
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Error::usage(message).hint("choose a directory that this user may write to")
        }
        ErrorKind::IsADirectory | ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            Error::usage(message).hint("move it away, or choose another directory")
        }
        _ => Error::unavailable(message),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::system::clock::clock;

    fn open(directory: &Path) -> Result<InstallTarget<'_>> {
        InstallTarget::open(directory, &Deadline::since(clock().elapsed(), Duration::from_millis(200)), clock())
    }

    #[test]
    fn a_file_is_replaced_only_if_it_differs() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("x");
        let target = open(directory.path()).expect("a target");
        let put = |content: &str, mode| {
            target.put("x".as_ref(), &mut io::Cursor::new(content.as_bytes()), mode).expect("put")
        };
        let identity = || system::files::identity(&fs::symlink_metadata(&path).expect("a file"));
        assert!(put("one", 0o755));
        let first = identity();
        assert!(!put("one", 0o755) && identity() == first, "the same content and mode");
        for (content, mode) in [("two", 0o755), ("two and more", 0o755), ("tw", 0o755), ("tw", 0o600), ("", 0o600)] {
            assert!(put(content, mode), "{content} {mode:o}");
            assert_eq!(fs::read_to_string(&path).expect("readable"), content);
            assert_eq!(system::files::mode(&fs::metadata(&path).expect("a file")), mode);
        }
        fs::remove_file(&path).expect("removed");
        system::files::create_link(Path::new("elsewhere"), &path).expect("a link");
        assert!(put("one", 0o755) && fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()));
        assert!(!directory.path().join("elsewhere").exists(), "the link was followed");
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 1, "temporary files are left");
    }

    #[test]
    fn an_installation_waits_for_another_and_removes_only_what_dead_ones_have_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let left = directory.path().join(format!("{TEMPORARY}x"));
        fs::write(&left, "half of a program").expect("written");
        let first = open(directory.path()).expect("a target");
        assert!(!left.exists());
        fs::write(&left, "of the first, which is running").expect("written");
        let error = open(directory.path()).err().expect("the first is running");
        assert_eq!(error.kind, crate::base::error::Kind::Unavailable);
        assert!(left.exists());
        drop(first);
        open(directory.path()).expect("the first has ended");
    }
}
