//! Who can access a file, and the commands that show or change that.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::shell;
use crate::system::unix::files::{
    ModeObstacle, is_own, is_writable_by_others, is_writable_directory, mode, mode_obstacle, owner,
};
use crate::system::unix::fixes::START_FILE;
use crate::system::unix::process::effective_uid;

/// Returns why a file must not be trusted like code, and a hint with the command that changes that.
pub fn reason_for_distrust(path: &Path, metadata: &Metadata) -> Option<(String, String)> {
    if mode(metadata) & 0o002 != 0 {
        let why = format!("anyone may write it (mode {:04o})", mode(metadata));
        return Some((why, mode_hint("chmod o-w", path, &shell::word(path), metadata)));
    }
    foreign_owner(metadata).map(|owner| {
        let why = format!("it belongs to another user ({owner}), who may write it");
        (why, format!("if you trust it, {}", own_copy(path)))
    })
}

/// Returns why other users can replace the files in a directory, and a hint.
pub fn reason_for_distrust_of_directory(path: &Path, metadata: &Metadata, _: bool) -> Option<(String, String)> {
    if is_writable_by_others(metadata) {
        let why = format!("can be written by others (mode {:04o})", mode(metadata));
        return Some((why, mode_hint("chmod go-w", path, &shell::word(path), metadata)));
    }
    foreign_owner(metadata)
        .map(|owner| (format!("belongs to another user ({owner})"), "move it to a directory of your own".to_owned()))
}

/// Returns the owner of a file, if that is another user, who is not root.
fn foreign_owner(metadata: &Metadata) -> Option<u32> {
    let (user, owner) = (effective_uid(), owner(metadata));
    (user != 0 && owner != user && owner != 0).then_some(owner)
}

/// Returns what to do about the mode of a file: this command, if it works here, and otherwise a copy. `shown` is the path
/// as the command has it.
fn mode_hint(command: &str, path: &Path, shown: &str, metadata: &Metadata) -> String {
    let (why, is_owner) = match mode_obstacle(path, metadata) {
        None => return format!("{command} {shown}"),
        Some(ModeObstacle::OtherOwner) => ("only its owner can change the mode", false),
        Some(ModeObstacle::ReadOnly) => ("its file system is read-only", true),
        Some(ModeObstacle::NoModes) => ("its file system may ignore chmod", true),
    };
    match (metadata.is_dir(), is_owner) {
        (true, _) => format!("{why}, so move the file to another directory of your own"),
        (false, true) => format!("{why}, so {}", copy_elsewhere(path)),
        (false, false) => format!("{why}; if you trust it, {}", own_copy(path)),
    }
}

/// Returns how to make a file one's own. This needs no right but to read it.
fn own_copy(path: &Path) -> String {
    let directory = path.parent().filter(|directory| is_writable_directory(directory));
    if directory.is_none() {
        return copy_elsewhere(path);
    }
    let (file, copy) = (shell::word(path), shell::word(path.with_extension("copy")));
    format!("make it your own: install -m 600 {file} {copy} && mv -f {copy} {file}")
}

fn copy_elsewhere(path: &Path) -> String {
    format!("use a copy of your own elsewhere: install -m 600 {} COPY", shell::word(path))
}

/// Returns the command that makes a file executable, or what to do instead.
pub fn executable_hint(path: &Path, metadata: &Metadata) -> String {
    mode_hint("chmod +x", path, &shell::word(path), metadata)
}

/// Returns how other users can read a file of this user with a secret, and the command that changes that. `shown` is the
/// path as the command has it.
pub fn reason_for_exposure(path: &Path, metadata: &Metadata, shown: &str) -> Option<(String, String)> {
    // Kubernetes mounts secrets read-only and readable by a group. The user cannot change that.
    let is_exposed = mode(metadata) & 0o077 != 0 && is_own(metadata) && mode(metadata) & 0o200 != 0;
    is_exposed.then(|| (format!("mode {:04o}", mode(metadata)), mode_hint("chmod 600", path, shown, metadata)))
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
    format!("ls -l {}", shell::word(path))
}

/// Returns the command that shows who can access a directory.
pub fn show_directory_command(path: &Path) -> String {
    format!("ls -ld {}", shell::word(path))
}

/// Says how a user gets a directory in PATH that can be written.
pub fn hint_for_new_directory() -> String {
    format!(
        "run this, then the command again, and put the export into the start file of your shell, such as {START_FILE}, for new \
         terminals: mkdir -p ~/.local/bin && export PATH=~/.local/bin:$PATH"
    )
}

/// Returns how to create a link to a file in one of these places.
pub fn link_hint(target: &Path, places: &[PathBuf]) -> String {
    let places: Vec<String> = places.iter().map(shell::word).collect();
    format!("create it in one of these places: ln -s {} {}", shell::word(target), places.join(" or "))
}

/// Returns the command that removes a file.
pub fn remove_command(path: &Path) -> String {
    format!("rm {}", shell::word(path))
}
