//! Reads files that ycred does not own: keys, tokens and certificates.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::base::diagnostics::{Diagnostics, Warning};
use crate::base::error::describe;
use crate::base::error::{Error, Result};
use crate::system;

/// The maximum size in bytes. An authorized key has 4 KiB, a bundle of certificates a quarter of a MiB.
const SIZE_MAX: u64 = 1024 * 1024;

/// Reads a whole regular file. Follows links, because Kubernetes mounts secrets as links.
///
/// # Errors
/// Profile (3), with the path.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let error_at = |why: String| Error::profile(format!("{}: {why}", path.display()));
    let opened = system::files::open_for_reading(path);
    let mut file = opened.map_err(|error| {
        error_at(describe(&error)).hint(format!("check the path and its permissions: ls -l {}", path.display()))
    })?;
    let metadata = file.metadata().map_err(|error| error_at(describe(&error)))?;
    if !metadata.is_file() {
        return Err(error_at("is not a regular file".into()));
    }
    if metadata.len() > SIZE_MAX {
        return Err(error_at(format!("is larger than {SIZE_MAX} bytes")));
    }
    read_promised(&mut file, metadata.len()).map_err(|error| error_at(describe(&error)))
}

/// Reads the first `size` bytes of a file, where `size` is from its metadata.
///
/// Usually takes one system call, because it stops after `size` bytes and does not look for the end of the file.
///
/// # Errors
/// The file cannot be read.
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

/// Reads a file that contains a long-lived secret. Warns if this user owns it and can write it, and other users can
/// read it.
///
/// # Errors
/// As [`read`]. Profile (3) if the content is not UTF-8.
pub fn read_secret(path: &Path, diagnostics: &Diagnostics<'_>) -> Result<Zeroizing<String>> {
    let text = read_text(path)?;
    if let Ok(metadata) = std::fs::metadata(path)
        && system::files::mode(&metadata) & 0o077 != 0
        && system::files::is_own(&metadata)
        // Kubernetes mounts secrets read-only and readable by a group. The user cannot change that.
        && system::files::mode(&metadata) & 0o200 != 0
    {
        let mode = system::files::mode(&metadata);
        diagnostics.warn(
            Warning::KeyFileReadable,
            format!("{path} can be read by others (mode {mode:04o}): chmod 600 {path}", path = path.display()),
        );
    }
    Ok(text)
}

/// Reads a whole file as UTF-8.
///
/// # Errors
/// As [`read`]. Profile (3) if the content is not UTF-8.
pub fn read_text(path: &Path) -> Result<Zeroizing<String>> {
    let content = read(path)?;
    let text =
        std::str::from_utf8(&content).map_err(|_| Error::profile(format!("{}: is not UTF-8 text", path.display())))?;
    Ok(Zeroizing::new(text.to_owned()))
}
