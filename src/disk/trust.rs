//! Who can change a file that ycred trusts like code: a profile, or the certificates that it names.

use std::fs::{self, Metadata};
use std::path::Path;

use crate::base::error::{Error, Result};
use crate::system;

/// Rejects a file that untrusted users can write. `metadata` is that of the opened file: another one may have the name
/// by now.
///
/// # Errors
/// Profile (3): anyone can write the file, or it belongs to a user other than this one and root. The hint has the
/// `chmod` or `chown` command.
pub fn check_file(path: &Path, metadata: &Metadata) -> Result<()> {
    if system::files::mode(metadata) & 0o002 != 0 {
        return Err(Error::profile(format!("anyone may write it (mode {:04o})", system::files::mode(metadata)))
            .hint(format!("chmod o-w {}", path.display())));
    }
    let user = system::process::effective_uid();
    let owner = system::files::owner(metadata);
    if user != 0 && owner != user && owner != 0 {
        return Err(Error::profile(format!("it belongs to another user ({owner}), who may write it")).hint(format!(
            "if you trust it, make it your own: sudo chown {user} {path} && chmod 600 {path}",
            path = path.display()
        )));
    }
    Ok(())
}

/// Rejects a file in a directory where untrusted users can replace it, as sshd does with its `StrictModes`. Judges every
/// directory above the file, and above the file that a link leads to.
///
/// In a directory with the sticky bit, such as `/tmp`, users can replace only their own files. A directory may be
/// writable for this user's own group, because many systems give each user a group.
///
/// # Errors
/// Profile (3): anyone can write the directory, or it belongs to a user other than this one and root. The hint has the
/// `chmod` command.
pub fn check_directories(path: &Path) -> Result<()> {
    let real = fs::canonicalize(path).ok();
    let directories = path.ancestors().skip(1).chain(real.iter().flat_map(|real| real.ancestors().skip(1)));
    for directory in directories.filter(|directory| !directory.as_os_str().is_empty()) {
        // A directory that cannot be read is one that this user cannot replace files in either.
        let Ok(metadata) = fs::metadata(directory) else { continue };
        if system::files::is_writable_by_others(&metadata) {
            let mode = system::files::mode(&metadata);
            return Err(Error::profile(format!(
                "{}: its directory {} can be written by others (mode {mode:04o}), who may replace it",
                path.display(),
                directory.display()
            ))
            .hint(format!("chmod go-w {}", directory.display())));
        }
        let user = system::process::effective_uid();
        let owner = system::files::owner(&metadata);
        if user != 0 && owner != user && owner != 0 {
            return Err(Error::profile(format!(
                "{}: its directory {} belongs to another user ({owner}), who may replace it",
                path.display(),
                directory.display()
            ))
            .hint("move it to a directory of your own"));
        }
    }
    Ok(())
}
