//! Finds a profile's file and checks who can write it. A profile is trusted like code, because it names commands, URLs
//! and hosts.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use crate::base::error::{Error, Result};
use crate::disk::files;
use crate::disk::places::Places;
use crate::profile::file::{self, ProfileFile};
use crate::system;

/// Checks that a profile name matches `[a-z0-9][a-z0-9.-]{0,62}`. The name may be part of a link's name, and Terraform
/// does not find a helper with upper case or `_v` in its name.
///
/// # Errors
/// Usage (2): the name does not match.
pub fn check_name(name: &str) -> Result<()> {
    if Path::new(name).extension().is_some_and(|ending| ending == "toml") {
        return Err(Error::usage(format!("\"{name}\" is not a profile name: it looks like a file"))
            .hint(format!("use ./{name} for the file, or {} for the profile", name.trim_end_matches(".toml"))));
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let is_valid = matches!(bytes.first(), Some(first) if allowed(*first))
        && bytes.len() <= 63
        && bytes.iter().all(|byte| allowed(*byte) || matches!(byte, b'.' | b'-'));
    if is_valid {
        return Ok(());
    }
    Err(Error::usage(format!("\"{name}\" is not a profile name"))
        .hint("use 1 to 63 of a-z, 0-9, dot and dash, starting with a letter or digit; a path must contain a slash"))
}

/// Returns the error for a profile that does not exist.
pub fn not_found(name: &str, places: &Places) -> Error {
    let paths: Vec<String> = places.profile_candidates(name).iter().map(|path| path.display().to_string()).collect();
    Error::profile(format!("profile {name}: no such file: {}", paths.join(", ")))
        .hint(format!("list your profiles with `ycred list`, or create this one: ycred init {name} --key-file FILE"))
}

/// Returns the names of all profiles, including invalid ones.
pub fn names(places: &Places) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for directory in places.profile_directories() {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        names.extend(entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".toml").map(str::to_owned)));
    }
    // Files with other names are not profiles, because no name selects them.
    names.retain(|name| check_name(name).is_ok());
    names
}

/// Finds a profile by its name. Returns `None` if no directory contains it.
///
/// # Errors
/// As [`open`].
pub fn by_name(name: &str, places: &Places) -> Result<Option<ProfileFile>> {
    for path in places.profile_candidates(name) {
        if let Some(file) = open(&path)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Maximum size of a profile, in bytes. Real ones are far smaller.
const MAX_SIZE: u64 = 256 * 1024;

/// Reads a profile after checking who can write it. Returns `None` if the file does not exist.
///
/// # Errors
/// Profile (3): the file cannot be read, is too large or not UTF-8; or as [`check_trust`].
pub fn open(path: &Path) -> Result<Option<ProfileFile>> {
    let error_at = |why: &dyn fmt::Display| Error::profile(format!("profile {}: {why}", path.display()));
    let mut file = match system::files::open_for_reading(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            // A dangling link is an error: it was meant to be a profile, and using another identity instead would be
            // wrong.
            return match fs::symlink_metadata(path) {
                Ok(_) => Err(error_at(&"is a dangling symbolic link")
                    .hint(format!("fix or remove the link: ls -l {}", path.display()))),
                Err(_) => Ok(None),
            };
        }
        Err(error) => {
            return Err(error_at(&format!("cannot be read: {error}"))
                .hint(format!("make it readable: chmod u+r {}", path.display())));
        }
    };
    let meta = file.metadata().map_err(|error| error_at(&error))?;
    if !meta.is_file() {
        return Err(error_at(&"is not a regular file"));
    }
    check_trust(path, &meta).map_err(|error| error.context(format!("profile {}", path.display())))?;
    if meta.len() > MAX_SIZE {
        return Err(error_at(&format!("is larger than {MAX_SIZE} bytes")));
    }
    let bytes = files::read_promised(&mut file, meta.len()).map_err(|error| error_at(&error))?.to_vec();
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        Error::profile(format!("profile {}:{line}: is not UTF-8", path.display()))
    })?;
    Ok(Some(ProfileFile { path: path.to_owned(), text }))
}

/// Rejects a file that untrusted users can write.
///
/// # Errors
/// Profile (3): anyone can write the file, or it belongs to a user other than this one and root. The hint has the
/// `chmod` or `chown` command.
pub fn check_trust(path: &Path, meta: &fs::Metadata) -> Result<()> {
    if system::files::mode(meta) & 0o002 != 0 {
        return Err(Error::profile(format!("anyone may write it (mode {:04o})", system::files::mode(meta)))
            .hint(format!("chmod o-w {}", path.display())));
    }
    let user = system::process::effective_uid();
    if user != 0 && system::files::owner(meta) != user && system::files::owner(meta) != 0 {
        return Err(Error::profile(format!(
            "it belongs to another user ({}), who may write it",
            system::files::owner(meta)
        ))
        .hint(format!(
            "if you trust it, make it your own: sudo chown {user} {path} && chmod 600 {path}",
            path = path.display()
        )));
    }
    Ok(())
}

/// [`check_trust`], for a file that a profile names. `what` is the key.
///
/// # Errors
/// As [`check_trust`]; or the file does not exist.
pub fn check_named_file(path: &Path, what: &str) -> Result<()> {
    let meta = fs::metadata(path).map_err(|error| {
        Error::profile(format!("{what} {}: {}", path.display(), crate::base::error::describe(&error)))
            .hint(format!("correct or remove `{what}` in the profile"))
    })?;
    check_trust(path, &meta).map_err(|error| error.context(format!("{what} {}", path.display())))
}

/// Returns the target if a profile is an alias. `use` and `import` call this for `default.toml`.
///
/// # Errors
/// As [`open`]; or the file is not TOML or not a valid alias.
pub fn alias_target(path: &Path) -> Result<Option<String>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let table = file.parse()?;
    Ok(file::alias(&file, &table)?.map(|(target, _)| target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["prod", "a", "0", "prod.eu-1", &"x".repeat(63)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "Prod", "-x", ".x", "a_b", "a b", "жук", "a/b", &"x".repeat(64), "x.toml"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name("x.toml").expect_err("a file").render().contains("./x.toml"));
    }
}
