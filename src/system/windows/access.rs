//! Who can access a file, and how to change that.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::windows::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, READ_CONTROL,
};

use super::acl::{self, Access};
use super::fixes;

/// Checks that other ordinary users cannot write to an existing directory, and that it is not a link.
///
/// # Errors
/// They can, or the directory is a link.
pub fn refuse_open_directory(directory: &Path) -> io::Result<()> {
    let opened = OpenOptions::new()
        .access_mode(READ_CONTROL)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(directory);
    let file = match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let refuse = |why: &str| Err(io::Error::new(ErrorKind::PermissionDenied, format!("{} {why}", directory.display())));
    if fs::symlink_metadata(directory)?.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0 {
        return refuse("is a link");
    }
    let access = Access::of(&file)?;
    if access.is_writable_by_others {
        return refuse("can be written by other users");
    }
    if access.has_trusted_owner() { Ok(()) } else { refuse("belongs to another user") }
}

/// Returns why a file must not be trusted like code, and a hint with the command that changes that.
pub fn reason_for_distrust(path: &Path, _: &Metadata) -> Option<(String, String)> {
    let access = match access_of(path) {
        Ok(access) => access,
        Err(reason) => return Some(reason),
    };
    if access.is_writable_by_others {
        return Some(("other users may write it".into(), fixes::make_private(path)));
    }
    (!access.has_trusted_owner()).then(|| {
        let own = format!("takeown /f \"{}\"", path.display());
        let why = format!("it belongs to another user ({}), who may write it", access.owner);
        (why, format!("if you trust it, make it your own: {own}"))
    })
}

/// Returns why other users can replace the files in a directory, and a hint. If it is the nearest directory of a file,
/// also why they can add files to it: to the directories above it they can add some on every drive.
pub fn reason_for_distrust_of_directory(path: &Path, _: &Metadata, is_nearest: bool) -> Option<(String, String)> {
    let access = match access_of(path) {
        Ok(access) => access,
        Err(reason) => return Some(reason),
    };
    let move_it = || "move it to a directory of your own".to_owned();
    let above = path.parent().and_then(|above| access_of(above).ok());
    if can_be_replaced(&access, above.as_ref(), is_nearest) {
        // A list for this user alone would be wrong for a drive, and for a directory that others use.
        let hint = if is_nearest && above.is_some() { fixes::make_directory_private(path) } else { move_it() };
        return Some(("can be written by others".into(), hint));
    }
    (!access.has_trusted_owner()).then(|| (format!("belongs to another user ({})", access.owner), move_it()))
}

/// Returns true if others can replace the files in a directory, or the directory itself. `above` is the directory that it is in:
/// the root of a drive has none, and nobody can delete or rename it.
fn can_be_replaced(access: &Access, above: Option<&Access>, is_nearest: bool) -> bool {
    // Who may delete a directory but add none beside it can take it away, and put nothing in its place.
    let is_replaceable = access.is_removable_by_others && above.is_some_and(|above| above.is_extensible_by_others);
    access.is_replaceable_by_others || is_replaceable || (is_nearest && access.is_writable_by_others)
}

fn access_of(path: &Path) -> Result<Access, (String, String)> {
    let opened = OpenOptions::new().access_mode(READ_CONTROL).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path);
    opened
        .and_then(|file| Access::of(&file))
        .map_err(|error| (format!("has an access control list that cannot be read: {error}"), show_command(path)))
}

/// Returns how other users can read a file of this user with a secret, and the command that changes that.
pub fn reason_for_exposure(path: &Path, _: &Metadata, _: &str) -> Option<(String, String)> {
    let access = access_of(path).ok()?;
    let is_own = || acl::current_user().is_ok_and(|user| user == access.owner);
    (access.is_readable_by_others && is_own()).then(|| ("its access control list".into(), fixes::make_private(path)))
}

/// Returns the command that shows who may run a file.
pub fn executable_hint(path: &Path, _: &Metadata) -> String {
    format!("check who may run it: {}", show_command(path))
}

/// Returns the command that shows who can access a file.
pub fn show_command(path: &Path) -> String {
    format!("icacls \"{}\"", path.display())
}

/// Returns the command that shows who can access a directory.
pub fn show_directory_command(path: &Path) -> String {
    show_command(path)
}

/// Says how a user gets a directory in PATH that can be written.
pub fn hint_for_new_directory() -> String {
    "add the directory of ycred.exe to PATH (Settings, System, About, Advanced system settings), open a new terminal, and run the \
     command again"
        .to_owned()
}

/// Returns the command that creates a link to a file in the first of these places.
pub fn link_hint(target: &Path, places: &[PathBuf]) -> String {
    let link = places.first().map(|place| place.display().to_string()).unwrap_or_default();
    format!("create it: cmd /c mklink /h \"{link}\" \"{}\"", target.display())
}

/// Returns the command that removes a file.
pub fn remove_command(path: &Path) -> String {
    fixes::remove(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rights that `icacls` shows as M: everything but to change the list and the owner, and to delete what is in a directory.
    const MODIFY: u32 = 0x0013_01BF;
    const READ_AND_EXECUTE: u32 = 0x0012_00A9;
    const ADD_DIRECTORIES: u32 = 0x0000_0004;
    const FULL: u32 = 0x001F_01FF;

    #[test]
    fn a_private_directory_on_a_drive_that_everybody_uses_is_safe() {
        let access = |granted| Access::granting("S-1-5-32-544".to_owned(), granted);
        let can_be_replaced =
            |own, above: Option<u32>, is_nearest| can_be_replaced(&access(own), above.map(access).as_ref(), is_nearest);
        assert!(!can_be_replaced(MODIFY, None, false), "the root of a freshly formatted drive");
        assert!(!can_be_replaced(ADD_DIRECTORIES, None, false), "the root of the system's drive");
        assert!(!can_be_replaced(0, Some(MODIFY), true), "a private directory in it");
        assert!(!can_be_replaced(READ_AND_EXECUTE, Some(ADD_DIRECTORIES), false));
        assert!(can_be_replaced(MODIFY, Some(MODIFY), false), "others can rename it, and create another one");
        assert!(!can_be_replaced(MODIFY, Some(READ_AND_EXECUTE), false), "others can only take it away");
        assert!(can_be_replaced(MODIFY, None, true), "others can write the file's own directory");
        assert!(can_be_replaced(FULL, None, false), "others can delete every file on the drive");
    }
}
