//! Finds a profile by its name, and judges who may have written it: a profile is trusted like code, since it names
//! commands, URLs and hosts.

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

/// Checks a profile's name: `[a-z0-9][a-z0-9.-]{0,62}`. Terraform finds no helper whose name has capitals or `_v`.
///
/// # Errors
/// Usage (2).
pub fn check_name(name: &str) -> Result<()> {
    if Path::new(name).extension().is_some_and(|ending| ending == "toml") {
        return Err(Error::usage(format!("\"{name}\" looks like a file, and a name has no .toml"))
            .hint(format!("for the file write ./{name}, for the profile {}", name.trim_end_matches(".toml"))));
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let fits = matches!(bytes.first(), Some(first) if allowed(*first))
        && bytes.len() <= 63
        && bytes.iter().all(|byte| allowed(*byte) || matches!(byte, b'.' | b'-'));
    if fits {
        return Ok(());
    }
    Err(Error::usage(format!("\"{name}\" is not a profile's name")).hint(
        "a name is 1 to 63 of a-z, 0-9, dot and dash, and starts with a letter or digit; a path has a slash in it",
    ))
}

pub fn not_found(name: &str, places: &Places) -> Error {
    let looked: Vec<String> = places.profile_candidates(name).iter().map(|path| path.display().to_string()).collect();
    Error::profile(format!("profile {name}: there is no {}", looked.join(" and no ")))
        .hint(format!("`ycred list` shows the profiles that there are; `ycred init {name} --key-file FILE` makes one"))
}

/// Every name that a profile could be had by, whatever is wrong with it.
pub fn names(places: &Places) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for directory in places.profile_directories() {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        names.extend(entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".toml").map(str::to_owned)));
    }
    // What stands there under other names is no profile: it cannot be named.
    names.retain(|name| check_name(name).is_ok());
    names
}

pub fn by_name(name: &str, places: &Places) -> Result<Option<ProfileFile>> {
    for path in places.profile_candidates(name) {
        if let Some(found) = open(&path)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The most that a profile may hold; it is a screenful.
const LARGEST: u64 = 256 * 1024;

/// Reads a profile after judging who may have written it. None: there is no such file.
pub fn open(path: &Path) -> Result<Option<ProfileFile>> {
    let error_at = |why: &dyn fmt::Display| Error::profile(format!("profile {}: {why}", path.display()));
    let mut file = match system::files::open_for_reading(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            // A link that leads nowhere was somebody's profile; another identity must not serve in its place.
            return match fs::symlink_metadata(path) {
                Ok(_) => Err(error_at(&"is a link to what is not there").hint(format!("ls -l {}", path.display()))),
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
    if meta.len() > LARGEST {
        return Err(error_at(&format!("is larger than {LARGEST} bytes")));
    }
    let bytes = files::read_promised(&mut file, meta.len()).map_err(|error| error_at(&error))?.to_vec();
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        Error::profile(format!("profile {}:{line}: is not UTF-8", path.display()))
    })?;
    Ok(Some(ProfileFile { path: path.to_owned(), text }))
}

/// Refuses a file that is trusted like code but that others may write.
///
/// # Errors
/// Profile (3), with the chmod in the hint.
pub fn check_trust(path: &Path, meta: &fs::Metadata) -> Result<()> {
    if system::files::mode(meta) & 0o002 != 0 {
        return Err(Error::profile(format!("anyone may write it (mode {:04o})", system::files::mode(meta)))
            .hint(format!("chmod o-w {}", path.display())));
    }
    let us = system::process::effective_uid();
    if us != 0 && system::files::owner(meta) != us && system::files::owner(meta) != 0 {
        return Err(Error::profile(format!(
            "it belongs to another user ({}), who may write it",
            system::files::owner(meta)
        ))
        .hint(format!(
            "if you trust it, copy it and use the copy, or: sudo chown {us} {path} && chmod 600 {path}",
            path = path.display()
        )));
    }
    Ok(())
}

/// [`check_trust`], for a file that a profile names.
///
/// # Errors
/// Profile (3): also where it is not there.
pub fn check_named_file(path: &Path, what: &str) -> Result<()> {
    let meta = fs::metadata(path).map_err(|error| {
        Error::profile(format!("{what} {}: {}", path.display(), crate::base::error::describe(&error)))
            .hint(format!("correct `{what}` in the profile, or remove it"))
    })?;
    check_trust(path, &meta).map_err(|error| error.context(format!("{what} {}", path.display())))
}

/// The name that `default.toml` is an alias of, if it is one: for `list` and `use`.
///
/// # Errors
/// Profile (3) where the file cannot be read at all.
pub fn alias_target(path: &Path) -> Result<Option<String>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let table = file.parse()?;
    Ok(file::alias(&file, &table)?.map(|(target, _)| target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["prod", "a", "0", "prod.eu-1", &"x".repeat(63)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "Prod", "-x", ".x", "a_b", "a b", "жук", "a/b", &"x".repeat(64), "x.toml"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name("x.toml").expect_err("a file").render().contains("./x.toml"));
    }
}
