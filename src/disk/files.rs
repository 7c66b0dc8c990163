//! Files that others own and we only read: keys, tokens, certificates.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::base::error::describe;
use crate::base::error::{Error, Result};
use crate::base::notes::{Notes, Warning};
use crate::system;

/// The most that such a file may hold: an authorized key has 4 KiB, a bundle of authorities a quarter of a MiB.
const LARGEST: u64 = 1024 * 1024;

/// Reads a whole file; links are followed (Kubernetes mounts secrets so), anything but a regular file is refused.
///
/// # Errors
/// Profile (3), naming the path.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let error_at = |why: String| Error::profile(format!("{}: {why}", path.display()));
    // O_NONBLOCK: a FIFO in its place must not hang us.
    let opened = system::files::open_for_reading(path);
    let mut file = opened.map_err(|error| {
        error_at(describe(&error))
            .hint(format!("check the path in the profile, and that you may read it: ls -l {}", path.display()))
    })?;
    let found = file.metadata().map_err(|error| error_at(describe(&error)))?;
    if !found.is_file() {
        return Err(error_at("is not a regular file".into()));
    }
    if found.len() > LARGEST {
        return Err(error_at(format!("is larger than {LARGEST} bytes")));
    }
    read_promised(&mut file, found.len()).map_err(|error| error_at(describe(&error)))
}

/// Reads as many bytes as the file's stat has promised, in one call where it keeps its word; the call that would only
/// say "end" is saved.
///
/// # Errors
/// What the disk says.
pub fn read_promised(file: &mut File, size: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(vec![0; usize::try_from(size).unwrap_or(0)]);
    let mut filled = 0;
    while filled < content.len() {
        match file.read(&mut content[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    content.truncate(filled);
    Ok(content)
}

/// Reads a file with a long-lived secret in it, and warns where it is ours and others can read it.
///
/// # Errors
/// As [`read`]; also where it is not UTF-8.
pub fn read_secret(path: &Path, notes: &Notes<'_>) -> Result<Zeroizing<String>> {
    let text = read_text(path)?;
    if let Ok(found) = std::fs::metadata(path)
        && system::files::mode(&found) & 0o077 != 0
        && system::files::is_own(&found)
        // Kubernetes mounts secrets for a group, read-only; nobody can chmod there.
        && system::files::mode(&found) & 0o200 != 0
    {
        let mode = system::files::mode(&found);
        notes.warn(
            Warning::KeyFileReadable,
            format!("{path} can be read by others (mode {mode:04o}): chmod 600 {path}", path = path.display()),
        );
    }
    Ok(text)
}

/// Reads a whole file as text.
///
/// # Errors
/// As [`read`]; also where it is not UTF-8.
pub fn read_text(path: &Path) -> Result<Zeroizing<String>> {
    let content = read(path)?;
    let text =
        std::str::from_utf8(&content).map_err(|_| Error::profile(format!("{}: is not UTF-8 text", path.display())))?;
    Ok(Zeroizing::new(text.to_owned()))
}
