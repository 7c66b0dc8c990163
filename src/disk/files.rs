//! Reads files that ycred does not own: keys, tokens and certificates.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::base::diagnostics::{Diagnostics, Warning};
use crate::base::error::describe;
use crate::base::error::{Error, Result};
use crate::base::identity::{hex, value_digest};
use crate::base::shell;
use crate::system;
use crate::system::process::StartFailure;

/// The maximum size in bytes. An authorized key has 4 KiB, a bundle of certificates a quarter of a MiB.
const SIZE_MAX: u64 = 1024 * 1024;

/// Reads a whole regular file. Follows links, because Kubernetes mounts secrets as links.
///
/// # Errors
/// Profile (3), with the path. Unavailable (4) if too many files are open.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    read_checked(path, |_, _| Ok(()))
}

thread_local! {
    /// Files whose contents matter beyond the call that reads them, and the digest of each content that was read.
    #[allow(clippy::missing_const_for_thread_local, reason = "it is const, which clippy does not see for every system")]
    static WATCHED: RefCell<Vec<(PathBuf, Vec<String>)>> = const { RefCell::new(Vec::new()) };
}

/// How many files are watched, for processes that run for long.
const WATCHED_MAX: usize = 32;

/// Watches a file from now on: [`has_read_other`] tells which contents of it this thread has read.
pub fn watch(path: &Path) {
    WATCHED.with_borrow_mut(|watched| {
        watched.retain(|(other, _)| other != path);
        if watched.len() == WATCHED_MAX {
            watched.remove(0);
        }
        watched.push((path.to_owned(), Vec::new()));
    });
}

/// Returns true if this thread has read another content than the one with this digest since it has begun to watch the file.
pub fn has_read_other(path: &Path, digest: &str) -> bool {
    WATCHED.with_borrow(|watched| {
        let mut contents = watched.iter().filter(|(other, _)| other == path).flat_map(|(_, digests)| digests);
        contents.any(|other| other != digest)
    })
}

fn note_read(path: &Path, content: &[u8]) {
    WATCHED.with_borrow_mut(|watched| {
        if let Some((_, digests)) = watched.iter_mut().find(|(other, _)| other == path) {
            digests.push(hex(&value_digest(content)));
        }
    });
}

/// [`read`], after a check of the opened file.
///
/// # Errors
/// As [`read`], and those of the check, with the path.
pub fn read_checked(path: &Path, check: impl FnOnce(&Path, &Metadata) -> Result<()>) -> Result<Zeroizing<Vec<u8>>> {
    let error_at = |why: String| Error::profile(format!("{}: {why}", path.display()));
    let mut file = system::files::open_for_reading(path).map_err(|error| cannot_open(path, &error))?;
    let metadata = file.metadata().map_err(|error| error_at(describe(&error)))?;
    check_regular(path, &metadata)?;
    check(path, &metadata).map_err(|error| error.context(path.display()))?;
    if metadata.len() > SIZE_MAX {
        return Err(error_at(format!("is larger than {SIZE_MAX} bytes")));
    }
    let content = read_promised(&mut file, metadata.len()).map_err(|error| error_at(describe(&error)))?;
    note_read(path, &content);
    Ok(content)
}

/// Returns the error for a file or directory that cannot be read.
///
/// Its kind is Unavailable if too many files are open, and Profile otherwise.
pub fn cannot_read(what: impl fmt::Display, error: &io::Error) -> Error {
    match StartFailure::of(error) {
        StartFailure::FileLimit => Error::unavailable(format!("{what}: too many files are open"))
            .hint(system::fixes::RAISE_FILE_LIMIT)
            .unshared(),
        _ => Error::profile(format!("{what}: {}", describe(error))),
    }
}

fn cannot_open(path: &Path, error: &io::Error) -> Error {
    cannot_read(path.display(), error)
        .hint(format!("check the path and its permissions: {}", system::access::show_command(path)))
}

fn check_regular(path: &Path, metadata: &Metadata) -> Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let error = Error::profile(format!("{}: is not a regular file", path.display()));
    Err(match system::files::is_pipe(metadata) {
        true => error.hint("a pipe can be read only once: save what it contains as a file, and name that file"),
        false => error,
    })
}

/// Checks without opening a file that [`read`] would not fail at once.
///
/// # Errors
/// As [`read`].
pub fn check_readable(path: &Path) -> Result<()> {
    let metadata = fs::metadata(path).map_err(|error| cannot_open(path, &error))?;
    check_regular(path, &metadata)?;
    system::files::check_readable(path).map_err(|error| cannot_open(path, &error))
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

/// Returns the names in a directory.
///
/// # Errors
/// The directory cannot be read.
pub fn list(directory: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    // std would panic if the directory cannot be closed, on a faulty disk.
    system::files::names_from(directory, None, |name| {
        names.extend((name != "." && name != "..").then(|| name.to_owned()));
        ControlFlow::Continue(())
    })?;
    Ok(names)
}

/// Returns the paths in a directory. Empty if it cannot be read.
pub fn paths(directory: &Path) -> Vec<PathBuf> {
    list(directory).unwrap_or_default().into_iter().map(|name| directory.join(name)).collect()
}

/// Reads a file that contains a long-lived secret. Warns if this user owns it and can write it, and other users can
/// read it.
///
/// # Errors
/// As [`read`]. Profile (3) if the content is not UTF-8.
pub fn read_secret(path: &Path, diagnostics: &Diagnostics<'_>) -> Result<Zeroizing<String>> {
    let text = read_text(path)?;
    if let Ok(metadata) = std::fs::metadata(path)
        && let Some((how, fix)) = system::access::reason_for_exposure(path, &metadata, &shell::word(path))
    {
        diagnostics.warn(Warning::KeyFileReadable, format!("{} can be read by others ({how}): {fix}", path.display()));
    }
    Ok(text)
}

/// Reads a whole text file. Accepts UTF-16 with a byte order mark, which PowerShell and Notepad write.
///
/// # Errors
/// As [`read`]. Profile (3) if the content is not text.
pub fn read_text(path: &Path) -> Result<Zeroizing<String>> {
    let content = read(path)?;
    decode(&content).map_err(|line| Error::profile(format!("{}: line {line} is not UTF-8 text", path.display())))
}

/// Decodes UTF-8, or UTF-16 with a byte order mark.
///
/// # Errors
/// The number of the first line that is neither.
pub fn decode(content: &[u8]) -> Result<Zeroizing<String>, usize> {
    let wide = |units: &mut dyn Iterator<Item = u16>| {
        char::decode_utf16(units).collect::<Result<String, _>>().map(Zeroizing::new).map_err(|_| 1)
    };
    let pairs = || content[2..].chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    match content {
        [0xff, 0xfe, rest @ ..] | [0xfe, 0xff, rest @ ..] if rest.len() % 2 != 0 => Err(1),
        [0xff, 0xfe, ..] => wide(&mut pairs().map(u16::from_le_bytes)),
        [0xfe, 0xff, ..] => wide(&mut pairs().map(u16::from_be_bytes)),
        _ => std::str::from_utf8(content)
            .map(|text| Zeroizing::new(text.to_owned()))
            .map_err(|error| content[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_decoded_as_editors_write_it() {
        let wide = |text: &str, bytes: fn(u16) -> [u8; 2]| {
            std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(bytes).collect::<Vec<u8>>()
        };
        let text = "a\r\nж\u{1f511}";
        for content in [text.as_bytes().to_vec(), wide(text, u16::to_le_bytes), wide(text, u16::to_be_bytes)] {
            assert_eq!(decode(&content).expect("text").as_str(), text);
        }
        assert_eq!(decode(b"a\nb\n\xffc").expect_err("Latin-1"), 3);
        assert_eq!(decode(&[0xff, 0xfe, 0x00, 0xd8]).expect_err("half a character"), 1);
    }
}
