//! Who can access a file, and the commands that show or change that.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use crate::system::unix::files::{is_own, is_writable_by_others, mode, owner};
use crate::system::unix::process::effective_uid;

/// Returns why a file must not be trusted like code, and a hint with the command that changes that.
pub fn reason_for_distrust(path: &Path, metadata: &Metadata) -> Option<(String, String)> {
    let shown = path.display();
    if mode(metadata) & 0o002 != 0 {
        return Some((format!("anyone may write it (mode {:04o})", mode(metadata)), format!("chmod o-w {shown}")));
    }
    foreign_owner(metadata).map(|(user, owner)| {
        let why = format!("it belongs to another user ({owner}), who may write it");
        (why, format!("if you trust it, make it your own: sudo chown {user} {shown} && chmod 600 {shown}"))
    })
}

/// Returns why other users can replace the files in a directory, and a hint.
pub fn reason_for_distrust_of_directory(path: &Path, metadata: &Metadata, _: bool) -> Option<(String, String)> {
    if is_writable_by_others(metadata) {
        let why = format!("can be written by others (mode {:04o})", mode(metadata));
        return Some((why, format!("chmod go-w {}", path.display())));
    }
    foreign_owner(metadata).map(|(_, owner)| {
        (format!("belongs to another user ({owner})"), "move it to a directory of your own".to_owned())
    })
}

/// Returns this user and the owner of a file, if that is another user, who is not root.
fn foreign_owner(metadata: &Metadata) -> Option<(u32, u32)> {
    let (user, owner) = (effective_uid(), owner(metadata));
    (user != 0 && owner != user && owner != 0).then_some((user, owner))
}

/// Returns how other users can read a file of this user with a secret, and the command that changes that. `shown` is the
/// path as the command has it.
pub fn reason_for_exposure(_: &Path, metadata: &Metadata, shown: &str) -> Option<(String, String)> {
    // Kubernetes mounts secrets read-only and readable by a group. The user cannot change that.
    let is_exposed = mode(metadata) & 0o077 != 0 && is_own(metadata) && mode(metadata) & 0o200 != 0;
    is_exposed.then(|| (format!("mode {:04o}", mode(metadata)), format!("chmod 600 {shown}")))
}

/// Does nothing: the owner and the mode say everything, and disk/store.rs checks them.
///
/// # Errors
/// None.
pub fn refuse_open_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns the command that shows who can access a file.
pub fn show_command(path: &Path) -> String {
    format!("ls -l {}", path.display())
}

/// Returns the command that shows who can access a directory.
pub fn show_directory_command(path: &Path) -> String {
    format!("ls -ld {}", path.display())
}

/// Returns the command that creates a link to a file in a directory.
pub fn link_command(target: &Path, directory: &str) -> String {
    format!("ln -s {} {directory}", target.display())
}

/// Returns the command that removes a file.
pub fn remove_command(path: &Path) -> String {
    format!("rm {}", path.display())
}
