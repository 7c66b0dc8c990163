//! Who can change a file that ycred trusts like code: a profile, or the certificates that it names.

use std::fs::{self, Metadata};
use std::path::Path;

use crate::base::error::{Error, Result};
use crate::system::access;

/// Rejects a file that untrusted users can write. `metadata` is that of the opened file: another one may have the name
/// by now.
///
/// # Errors
/// Profile (3): anyone can write the file, or it belongs to a user other than this one and root. The hint has the
/// command that changes that.
pub fn check_file(path: &Path, metadata: &Metadata) -> Result<()> {
    match access::reason_for_distrust(path, metadata) {
        Some((why, fix)) => Err(Error::profile(why).hint(fix)),
        None => Ok(()),
    }
}

/// Rejects a file in a directory where untrusted users can replace it, as sshd does with its `StrictModes`. Judges every
/// directory above the file, and above the file that a link leads to.
///
/// In a directory with the sticky bit, such as `/tmp`, users can replace only their own files. A directory may be
/// writable for this user's own group, because many systems give each user a group.
///
/// # Errors
/// Profile (3): anyone can write the directory, or it belongs to a user other than this one and root. The hint has the
/// command that changes that.
pub fn check_directories(path: &Path) -> Result<()> {
    let real = crate::system::files::real_path(path).ok();
    let directories = path.ancestors().skip(1).chain(real.iter().flat_map(|real| real.ancestors().skip(1)));
    for directory in directories.filter(|directory| !directory.as_os_str().is_empty()) {
        // A directory that cannot be read is one that this user cannot replace files in either.
        let Ok(metadata) = fs::metadata(directory) else { continue };
        let is_nearest = [Some(path), real.as_deref()].into_iter().flatten().any(|it| it.parent() == Some(directory));
        if let Some((why, fix)) = access::reason_for_distrust_of_directory(directory, &metadata, is_nearest) {
            let directory = directory.display();
            let why = format!("{}: its directory {directory} {why}, who may replace it", path.display());
            return Err(Error::profile(why).hint(fix));
        }
    }
    Ok(())
}
