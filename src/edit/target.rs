//! A configuration file of another program: how it is found, read and written.
//!
//! * A link is followed, and stays a link.
//! * A file is replaced by a new one with the same owner, mode and attributes, or its content is replaced if that is not
//!   possible.
//! * A file that cannot be read is never replaced.
#![expect(clippy::disallowed_methods, reason = "the only place that writes files of other programs")]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::base::clock::{Clock, Deadline, Timestamp};
use crate::base::error::{Error, Result, describe};
use crate::base::identity::{hex, value_digest};
use crate::base::random;
use crate::disk::{files, permission, store};
use crate::system;
use crate::system::{access, attributes};

/// A file as it was read.
pub struct TargetFile {
    /// The path as the other program spells it.
    pub spelled: PathBuf,
    /// The path without links.
    pub real: PathBuf,
    /// `None` if there is no such file.
    pub text: Option<String>,
    snapshot: Option<Snapshot>,
}

/// What identifies a file and its content.
#[derive(PartialEq, Eq)]
struct Snapshot {
    identity: (u64, u64),
    size: u64,
    modified: i64,
    changed: i64,
}

impl Snapshot {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            identity: system::files::identity(metadata),
            size: metadata.len(),
            modified: system::files::modified_nanos(metadata),
            changed: system::files::changed_nanos(metadata),
        }
    }
}

/// The result of writing.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    Done,
    /// Another program has changed the file since it was read. Nothing was written.
    ChangedMeanwhile,
}

impl TargetFile {
    /// Reads a file. A missing one is not an error, but a link to a missing one is.
    ///
    /// # Errors
    /// Profile (3): it cannot be read, is too large, not a regular file, or not UTF-8.
    pub fn read(spelled: &Path) -> Result<Self> {
        let missing = |real: PathBuf| Self { spelled: spelled.to_owned(), real, text: None, snapshot: None };
        let error_at = |why: &str| Error::profile(format!("{}: {why}", spelled.display()));
        let real = match system::files::real_path(spelled) {
            Ok(real) => real,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if fs::symlink_metadata(spelled).is_ok() {
                    return Err(error_at("is a link to a file that does not exist")
                        .hint(format!("fix or remove the link: {}", access::show_command(spelled))));
                }
                return Ok(missing(missing_path(spelled)));
            }
            Err(error) => return Err(error_at(&describe(&error))),
        };
        // Before reading, so that a change during reading is noticed.
        let metadata = fs::metadata(&real).map_err(|error| error_at(&describe(&error)))?;
        let text = files::read_text(&real)?;
        Ok(Self {
            spelled: spelled.to_owned(),
            real,
            text: Some(text.to_string()),
            snapshot: Some(Snapshot::of(&metadata)),
        })
    }

    /// Reads a file while its owner does not change it, which `lock` shows. An owner that keeps its lock for longer than
    /// `deadline` is not waited for.
    ///
    /// kubectl empties its file before it writes the new content, so a reader must look at the lock too.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_settled(spelled: &Path, lock: Option<&Path>, deadline: &Deadline, clock: &dyn Clock) -> Result<Self> {
        let Some(lock) = lock else { return Self::read(spelled) };
        let is_free = || fs::symlink_metadata(lock).is_err();
        let settled = store::poll(deadline, clock, || {
            let target = is_free().then(|| Self::read(spelled))?;
            let is_settled = is_free() && target.as_ref().map_or(true, Self::is_unchanged);
            is_settled.then_some(target)
        });
        settled.unwrap_or_else(|| Self::read(spelled))
    }

    fn is_unchanged(&self) -> bool {
        match (&self.snapshot, fs::metadata(&self.real)) {
            (Some(snapshot), Ok(metadata)) => *snapshot == Snapshot::of(&metadata),
            (None, Err(error)) => error.kind() == ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Writes the file. `copies` is a private directory for a copy of the file while its content is replaced.
    ///
    /// # Errors
    /// Profile (3): the file cannot be written. Unavailable (4): the disk is full. The file is unchanged.
    pub fn write(&self, text: &str, copies: &Path) -> Result<Written> {
        system::signals::ignore_file_size_signal();
        if !self.is_unchanged() {
            return Ok(Written::ChangedMeanwhile);
        }
        let written = match &self.text {
            None => self.create(text),
            Some(old) => self.replace(text, old, copies),
        };
        match written {
            Ok(()) => Ok(Written::Done),
            Err(error) if self.text.is_none() && error.kind() == ErrorKind::AlreadyExists => {
                Ok(Written::ChangedMeanwhile)
            }
            Err(error) => Err(cannot_write(&self.real, &error)),
        }
    }

    /// Checks without writing that the file could be created, replaced by `after`, or removed.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn check(&self, after: Option<&str>) -> Result<()> {
        let in_place = |error: io::Error| match attributes::is_fixed_in_place(&error) {
            true => system::files::check_writable(&self.real),
            false => Err(error),
        };
        let checked = match (&self.text, after) {
            (text, after) if text.as_deref() == after => Ok(()),
            (None, _) => self.directory().and_then(|directory| {
                permission::check_creatable(directory)?;
                refuse_foreign_ancestor(directory)
            }),
            (Some(_), None) => permission::check_changeable(&self.real),
            // The new file could not be given the owner of the old one.
            (Some(_), Some(_)) if !self.is_own() => system::files::check_writable(&self.real),
            (Some(_), Some(_)) => permission::check_changeable(&self.real).or_else(in_place),
        };
        checked.map_err(|error| cannot_write(&self.real, &error))
    }

    fn is_own(&self) -> bool {
        let is_root = system::process::effective_uid() == 0;
        is_root || fs::metadata(&self.real).is_ok_and(|metadata| system::files::is_own(&metadata))
    }

    fn directory(&self) -> io::Result<&Path> {
        self.real.parent().ok_or_else(|| ErrorKind::InvalidInput.into())
    }

    /// Removes the file.
    ///
    /// # Errors
    /// Profile (3): the file cannot be removed.
    pub fn remove(&self) -> Result<Written> {
        if !self.is_unchanged() {
            return Ok(Written::ChangedMeanwhile);
        }
        fs::remove_file(&self.real).map_err(|error| cannot_write(&self.real, &error))?;
        sync_directory(&self.real);
        Ok(Written::Done)
    }

    /// Creates the file and its directory, both private. Fails if the file exists.
    fn create(&self, text: &str) -> io::Result<()> {
        let directory = self.directory()?;
        refuse_foreign_ancestor(directory)?;
        system::files::create_private_directories(directory)?;
        let temporary = temporary_beside(&self.real);
        let created = write_temporary(&temporary, text, None).and_then(|()| fs::hard_link(&temporary, &self.real));
        let _ = fs::remove_file(&temporary);
        created?;
        sync_directory(&self.real);
        Ok(())
    }

    fn replace(&self, text: &str, old: &str, copies: &Path) -> io::Result<()> {
        let file = system::files::open_for_reading(&self.real)?;
        // Renaming would leave the other names with the old content.
        if attributes::names_of(&file, &file.metadata()?) > 1 {
            return self.overwrite(text, old, copies);
        }
        let temporary = temporary_beside(&self.real);
        let replaced = write_temporary(&temporary, text, Some(&file))
            .and_then(|()| system::files::rename(&temporary, &self.real, true));
        if replaced.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        match replaced {
            Ok(()) => {
                sync_directory(&self.real);
                Ok(())
            }
            Err(error) if attributes::is_fixed_in_place(&error) => self.overwrite(text, old, copies),
            Err(error) => Err(error),
        }
    }

    /// Replaces the content of the file. Until the new content is complete, copies of the old and the new one
    /// exist, so that the next run can restore the old one if this process is killed.
    fn overwrite(&self, text: &str, old: &str, copies: &Path) -> io::Result<()> {
        let mut file = attributes::open_for_overwriting(&self.real)?;
        let copy = Copy::of(&self.real, copies);
        write_temporary(&copy.old, old, None).and_then(|()| write_temporary(&copy.new, text, None)).inspect_err(
            |_| {
                copy.remove();
            },
        )?;
        let written = overwrite_with(&mut file, text);
        if written.is_err() {
            // The old content fits, because it has been there.
            io::Seek::rewind(&mut file)?;
            overwrite_with(&mut file, old)?;
        }
        copy.remove();
        written
    }
}

fn refuse_foreign_ancestor(directory: &Path) -> io::Result<()> {
    let ancestor = directory.ancestors().find(|ancestor| ancestor.exists());
    ancestor.map_or(Ok(()), store::refuse_foreign_directory)
}

/// Copies of a file's old and new content.
struct Copy {
    old: PathBuf,
    new: PathBuf,
}

impl Copy {
    fn of(real: &Path, copies: &Path) -> Self {
        let name = hex(&value_digest(real.as_os_str().as_encoded_bytes())[..16]);
        Self { old: copies.join(format!("copy-{name}.old")), new: copies.join(format!("copy-{name}.new")) }
    }

    fn remove(&self) {
        // Once either is gone, `restore_torn` restores nothing, because it needs both.
        for path in [&self.old, &self.new] {
            let _ = fs::remove_file(path);
        }
    }
}

/// Returns true if a process has begun to replace the content of a file, and has not finished.
pub fn has_copy(real: &Path, copies: &Path) -> bool {
    let copy = Copy::of(real, copies);
    copy.old.exists() || copy.new.exists()
}

/// Restores a file in which a killed process has replaced a part of the content. A file that another program has written
/// since stays.
///
/// # Errors
/// Profile (3): the file cannot be written.
pub fn restore_torn(real: &Path, copies: &Path) -> Result<()> {
    let copy = Copy::of(real, copies);
    if let (Ok(old), Ok(new), Ok(current)) = (fs::read(&copy.old), fs::read(&copy.new), fs::read(real)) {
        let written = current.iter().zip(&new).take_while(|(one, other)| one == other).count();
        // The start of the new content, then the rest of the old one.
        let is_torn =
            current != new && current != old && current.get(written..) == Some(old.get(written..).unwrap_or_default());
        if is_torn {
            let restored = attributes::open_for_overwriting(real).and_then(|mut file| {
                file.write_all(&old)?;
                file.set_len(old.len() as u64)?;
                system::files::sync(&file)
            });
            restored.map_err(|error| cannot_write(real, &error))?;
        }
    }
    copy.remove();
    Ok(())
}

fn overwrite_with(file: &mut File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)?;
    system::files::sync(file)
}

/// Returns the path without links of a file that does not exist.
fn missing_path(spelled: &Path) -> PathBuf {
    let directory = spelled.parent().and_then(|directory| system::files::real_path(directory).ok());
    match (directory, spelled.file_name()) {
        (Some(directory), Some(name)) => directory.join(name),
        _ => spelled.to_owned(),
    }
}

/// Returns the directories that do not exist and that a file needs, the innermost one first.
pub fn missing_directories(path: &Path) -> Vec<PathBuf> {
    let ancestors = path.ancestors().skip(1);
    ancestors.take_while(|directory| fs::symlink_metadata(directory).is_err()).map(Path::to_owned).collect()
}

/// Removes directories, the innermost one first, if they are empty. Returns those that are still there.
pub fn remove_empty_directories(directories: &[PathBuf]) -> Vec<PathBuf> {
    directories.iter().filter(|directory| fs::remove_dir(directory).is_err() && directory.exists()).cloned().collect()
}

/// Removes files that killed processes have left beside a target more than an hour ago.
pub fn remove_old_temporaries(target: &Path, now: Timestamp) {
    const HOUR_NANOS: i64 = 3_600_000_000_000;
    let Some(directory) = target.parent() else { return };
    let names = files::list(directory).unwrap_or_default();
    for name in names.iter().filter(|name| name.to_string_lossy().starts_with(TEMPORARY)) {
        let path = directory.join(name);
        let is_old = |metadata: fs::Metadata| {
            let age = now.0.saturating_mul(1_000_000).saturating_sub(system::files::modified_nanos(&metadata));
            metadata.is_file() && system::files::is_own(&metadata) && age > HOUR_NANOS
        };
        if fs::symlink_metadata(&path).is_ok_and(is_old) {
            let _ = fs::remove_file(path);
        }
    }
}

/// The start of the names of temporary files. They are beside the target, because a rename works only there.
pub const TEMPORARY: &str = ".ycred-tmp-";

/// Creates a symbolic link and its directory. Replaces an existing link atomically.
///
/// # Errors
/// The link cannot be created.
pub fn put_link(path: &Path, target: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        system::files::create_private_directories(directory)?;
    }
    let temporary = temporary_beside(path);
    system::files::create_link(target, &temporary)?;
    system::files::replace_program(&temporary, path, &temporary_beside(path)).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// Removes a link, or makes it lead where it did before.
///
/// # Errors
/// The link cannot be changed.
pub fn restore_link(path: &Path, before: Option<&Path>) -> io::Result<()> {
    match before {
        Some(before) => put_link(path, before),
        None => system::files::remove_program(path, &temporary_beside(path)),
    }
}

fn temporary_beside(path: &Path) -> PathBuf {
    path.with_file_name(format!("{TEMPORARY}{}", random::id()))
}

fn write_temporary(path: &Path, text: &str, like: Option<&File>) -> io::Result<()> {
    let mut file = system::files::create_private(path)?;
    file.write_all(text.as_bytes())?;
    if let Some(like) = like {
        // Without the same owner and attributes, others could read the new file, or could not read it any more.
        attributes::copy_attributes(like, &file).map_err(|error| match error.kind() {
            ErrorKind::StorageFull => error,
            _ => attributes::fixed_in_place(),
        })?;
    }
    system::files::sync(&file)
}

/// Makes the new name durable. Not every file system supports this.
fn sync_directory(path: &Path) {
    if let Some(directory) = path.parent() {
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Error {
    let new = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::unavailable,
        _ => Error::profile,
    };
    new(format!("{}: cannot write the file: {}", path.display(), describe(error))).hint(format!(
        "it is unchanged; check the directory and its permissions: {}",
        access::show_directory_command(path.parent().unwrap_or(path))
    ))
}
