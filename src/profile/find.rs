//! Finds a profile's file and checks who can write it. A profile is trusted like code, because it names commands, URLs
//! and hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result, describe};
use crate::base::suggest::nearest;
use crate::disk::files;
use crate::disk::places::Places;
use crate::disk::trust;
use crate::profile::file::{self, ProfileFile};
use crate::system;
use crate::system::access;

/// Checks that a profile name matches `[a-z0-9][a-z0-9.-]{0,62}`. The name may be part of a link's name, and Terraform
/// does not find a helper with upper case or `_v` in its name.
///
/// # Errors
/// Usage (2): the name does not match.
pub fn check_name(name: &str) -> Result<()> {
    if Path::new(name).extension().is_some_and(|ending| ending == "toml") {
        let error = Error::usage(format!("\"{name}\" is not a profile name: it looks like a file"));
        return Err(error.hint(format!("use the name of the profile: {}", stem(name))));
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let is_valid = matches!(bytes.first(), Some(first) if allowed(*first))
        && bytes.len() <= 63
        && bytes.iter().all(|byte| allowed(*byte) || matches!(byte, b'.' | b'-'));
    if is_valid && system::files::is_device_name(name) {
        return Err(Error::usage(format!("\"{name}\" is not a profile name: it is the name of a device"))
            .hint("choose another name"));
    }
    if is_valid {
        return Ok(());
    }
    Err(Error::usage(format!("\"{name}\" is not a profile name"))
        .hint("use 1 to 63 of a-z, 0-9, dot and dash, starting with a letter or digit; a path must contain a slash"))
}

/// Returns the hint about the bare name of a file where a path is accepted too.
pub fn hint_for_file(name: &str) -> Option<String> {
    let is_file = Path::new(name).extension().is_some_and(|ending| ending == "toml");
    is_file.then(|| format!("use ./{name} for the file, or {} for the profile", stem(name)))
}

fn stem(name: &str) -> String {
    Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Returns the error for a profile that does not exist, to a call that could use it.
pub fn not_found(name: &str, places: &Places) -> Error {
    unknown(name, places)
        .hint(format!("list your profiles with `ycred list`, or create this one: ycred init {name} --key-file FILE"))
}

/// Returns the error for a profile that does not exist. It has a hint only if there is one with a similar name.
pub fn unknown(name: &str, places: &Places) -> Error {
    let paths: Vec<String> = places.profile_candidates(name).iter().map(|path| path.display().to_string()).collect();
    let error = Error::profile(format!("profile {name}: no such file: {}", paths.join(", ")));
    match near_name(name, places) {
        Some(near) => error.hint(near_hint(&near)),
        None => error,
    }
}

/// Returns the profile whose name is similar to this one.
pub fn near_name(name: &str, places: &Places) -> Option<String> {
    nearest(name, names(places).iter().map(String::as_str)).map(str::to_owned)
}

/// Returns the hint that suggests this profile.
pub fn near_hint(near: &str) -> String {
    format!("did you mean {near}? To see all profiles, run `ycred list`")
}

/// Returns the command that creates a first profile: from yc's, if yc has been used here.
pub fn first_command(places: &Places) -> &'static str {
    if places.has_yc() { "ycred import --write" } else { "ycred init --key-file FILE" }
}

/// The name of the profile that is used if none is named.
pub const DEFAULT: &str = "default";

/// Returns the names of all profiles, including invalid ones.
pub fn names(places: &Places) -> BTreeSet<String> {
    places.profile_directories().flat_map(|directory| names_in(directory).unwrap_or_default()).collect()
}

/// Returns the profile that an alias leads to, or the name itself if it is not an alias of a profile that exists. What is
/// wrong with that profile is wrong with the alias too.
pub fn behind(name: &str, places: &Places) -> String {
    let is_there = |name: &str| places.profile_candidates(name).into_iter().find(|path| path.exists());
    let target = is_there(name).and_then(|path| alias_target(&path).ok().flatten());
    target.filter(|target| check_name(target).is_ok() && is_there(target).is_some()).unwrap_or_else(|| name.to_owned())
}

/// Checks that the directories of profiles can be listed, as far as they exist.
///
/// # Errors
/// Profile (3): one of them cannot be listed, or is not a directory.
pub fn check_directories(places: &Places) -> Result<()> {
    files(places).map(drop)
}

/// Returns the names of the profiles in a directory.
fn names_in(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    system::files::for_each_name(directory, |name| {
        // Files with other names are not profiles, because no name selects them.
        names.extend(name.to_str().and_then(|name| name.strip_suffix(".toml")).map(str::to_owned));
    })?;
    names.retain(|name| check_name(name).is_ok());
    Ok(names)
}

/// The profiles that are there if none is named.
pub enum FoundProfile {
    Default(ProfileFile),
    /// There is no default, and this is the only profile that is not an alias.
    Only {
        name: String,
        file: ProfileFile,
    },
    /// There is no default. These are the profiles that are not aliases.
    Several(Vec<String>),
    Nothing,
}

/// Returns the user's default profile, the first that is looked for.
///
/// # Errors
/// As [`open`], except that a dangling link, or a file in place of the directory, is not found here but by
/// [`default_of_machine`] and [`default_or_only`].
pub fn default_of_user(places: &Places) -> Result<Option<ProfileFile>> {
    places.profile_candidates(DEFAULT).first().map_or(Ok(None), |path| open_existing(path, drop))
}

/// Returns the machine's default profile, for example in `/etc/ycred`. For callers for which [`default_of_user`] has found
/// nothing.
///
/// # Errors
/// As [`open`]; or there is something else in place of a directory of profiles.
pub fn default_of_machine(places: &Places) -> Result<Option<ProfileFile>> {
    for (index, directory) in places.profile_directories().enumerate() {
        let path = directory.join(format!("{DEFAULT}.toml"));
        if index == 0 {
            refuse_dangling_link(&path)?;
        } else if let Some(file) = open(&path)? {
            return Ok(Some(file));
        }
        refuse_unusable_directory(directory)?;
    }
    Ok(None)
}

/// Continues after [`default_of_user`] has found nothing: looks for another default, or else for the only profile.
///
/// A hit makes four system calls more with the only profile than with a default. So this function lists each directory
/// once and opens the one file.
///
/// # Errors
/// Profile (3): a directory cannot be listed; or as [`open`].
pub fn default_or_only(places: &Places) -> Result<FoundProfile> {
    listed(places, |mut found| match found.remove(DEFAULT) {
        Some(path) => Ok(open(&path)?.map(FoundProfile::Default)),
        None => only_of(found),
    })
}

/// Returns the only profile, [`FoundProfile::Several`] or [`FoundProfile::Nothing`], whether or not there is a default. A
/// default that is not an alias is a profile like the others.
///
/// # Errors
/// As [`default_or_only`].
pub fn only(places: &Places) -> Result<FoundProfile> {
    listed(places, only_of)
}

/// How often to list the directories if a file is gone before it is read.
const LISTINGS: usize = 3;

/// Lists the profiles and selects one. If a listed file is gone when it is read, lists them again: it may have been renamed.
fn listed(
    places: &Places,
    select: impl Fn(BTreeMap<String, PathBuf>) -> Result<Option<FoundProfile>>,
) -> Result<FoundProfile> {
    for _ in 0..LISTINGS {
        if let Some(found) = select(files(places)?)? {
            return Ok(found);
        }
    }
    Ok(FoundProfile::Nothing)
}

/// Lists the names in all directories. The file of a name is the one that comes first.
fn files(places: &Places) -> Result<BTreeMap<String, PathBuf>> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut missing = Vec::new();
    for directory in places.profile_directories() {
        let names = match names_in(directory) {
            Err(error) if is_missing(&error) => {
                missing.push(directory);
                continue;
            }
            names => names.map_err(|error| cannot_list(directory, &error))?,
        };
        for name in names {
            let path = directory.join(format!("{name}.toml"));
            found.entry(name).or_insert(path);
        }
    }
    // If the user's directory is there, the machine's is not checked: that would be one more system call on a hit.
    if found.is_empty() || missing.first().copied() == places.config.as_deref() {
        for directory in missing {
            refuse_unusable_directory(directory)?;
        }
    }
    Ok(found)
}

/// Counts profiles. Aliases do not count. A profile that cannot be read does, since it is meant to be one. Returns `None` if
/// one of the files is gone.
fn only_of(mut found: BTreeMap<String, PathBuf>) -> Result<Option<FoundProfile>> {
    if found.len() == 1
        && let Some((name, path)) = found.first_key_value()
        && let Some(file) = open_existing(path, system::files::leave_open)?
        && !is_alias(&file)
    {
        return Ok(Some(FoundProfile::Only { name: name.clone(), file }));
    }
    let mut is_gone = false;
    found.retain(|_, path| match open(path) {
        Ok(Some(file)) => !is_alias(&file),
        Ok(None) => {
            is_gone = true;
            false
        }
        Err(_) => true,
    });
    Ok(match found.len() {
        _ if is_gone => None,
        0 => Some(FoundProfile::Nothing),
        1 if let Some((name, path)) = found.pop_first() => open(&path)?.map(|file| FoundProfile::Only { name, file }),
        _ => Some(FoundProfile::Several(found.into_keys().collect())),
    })
}

/// Returns what serves if no profile is named and no variable selects a source.
///
/// # Errors
/// As [`default_or_only`].
pub fn without_name(places: &Places) -> Result<FoundProfile> {
    match default_of_user(places)? {
        Some(file) => Ok(FoundProfile::Default(file)),
        None => default_or_only(places),
    }
}

/// Returns the error for several profiles without a default.
pub fn no_default(names: &[String]) -> Error {
    const SHOWN: usize = 5;
    let more = if names.len() > SHOWN { ", …" } else { "" };
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    Error::profile(format!("{} profiles and no default: {shown}{more}", names.len()))
        .hint("make one the default with `ycred use NAME`, or select one with --profile NAME")
}

fn cannot_list(directory: &Path, error: &io::Error) -> Error {
    files::cannot_read(format_args!("{}: cannot list the profiles", directory.display()), error)
        .hint(format!("it must be a directory that you can read: {}", access::show_directory_command(directory)))
}

fn is_alias(file: &ProfileFile) -> bool {
    // Most profiles need not be parsed to see that they are not aliases.
    file.text.contains("use") && file.parse().is_ok_and(|table| matches!(file::alias(file, &table), Ok(Some(_))))
}

/// Finds a profile by its name. Returns `None` if no directory contains it.
///
/// # Errors
/// As [`open`]; or there is something else in place of a directory of profiles.
pub fn by_name(name: &str, places: &Places) -> Result<Option<ProfileFile>> {
    for directory in places.profile_directories() {
        if let Some(file) = open(&directory.join(format!("{name}.toml")))? {
            return Ok(Some(file));
        }
        refuse_unusable_directory(directory)?;
    }
    Ok(None)
}

/// Maximum size of a profile, in bytes. Real ones are far smaller.
const MAX_SIZE: u64 = 256 * 1024;

/// Reads a profile after checking who can write it. Returns `None` if the file does not exist.
///
/// # Errors
/// Profile (3): the file cannot be read, is too large or not UTF-8; or as [`trust::check_file`].
pub fn open(path: &Path) -> Result<Option<ProfileFile>> {
    let file = open_existing(path, drop)?;
    if file.is_none() {
        refuse_dangling_link(path)?;
    }
    Ok(file)
}

/// Rejects a dangling link. It was meant to be a profile, and using another identity instead would be wrong.
fn refuse_dangling_link(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(Error::profile(format!("{}: is a dangling symbolic link", path.display()))
            .hint(format!("fix or remove the link: {}", access::show_command(path)))),
        Err(_) => Ok(()),
    }
}

/// Rejects a directory of profiles in whose place, or in that of the directory above it, is something else: a dangling
/// link or a file. It was meant to hold profiles, and using another identity instead would be wrong.
///
/// A home directory that does not exist, such as `/dev/null`, is one level further up. It means that there are no profiles.
fn refuse_unusable_directory(directory: &Path) -> Result<()> {
    for path in directory.ancestors().take(2) {
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => return Ok(()),
            Ok(_) => {
                return match fs::metadata(path) {
                    Ok(meta) if meta.is_dir() => Ok(()),
                    Ok(_) => Err(cannot_list(path, &io::Error::from(io::ErrorKind::NotADirectory))),
                    Err(_) => refuse_dangling_link(path),
                };
            }
            Err(_) => {}
        }
    }
    Ok(())
}

/// Returns true if there is something in place of a profile or of its directory, usable or not.
pub fn is_present(path: &Path) -> bool {
    match path.symlink_metadata() {
        Err(error) if is_missing(&error) => {
            path.parent().is_some_and(|directory| refuse_unusable_directory(directory).is_err())
        }
        Ok(_) | Err(_) => true,
    }
}

/// Returns true if there is no file: neither it nor, perhaps, its directory exists.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// [`open`] without the search for a dangling link. `close` gets the file after it has been read.
fn open_existing(path: &Path, close: fn(fs::File)) -> Result<Option<ProfileFile>> {
    let error_at = |why: &dyn fmt::Display| Error::profile(format!("profile {}: {why}", path.display()));
    let mut file = match system::files::open_for_reading(path) {
        Ok(file) => file,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => {
            let what = format_args!("profile {}: cannot be read", path.display());
            let unreadable = files::cannot_read(what, &error);
            return Err(match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    let show = access::show_directory_command(path);
                    unreadable.hint(format!("make the file and its directories readable: {show}"))
                }
                _ => unreadable,
            });
        }
    };
    let meta = file.metadata().map_err(|error| error_at(&error))?;
    if !meta.is_file() {
        return Err(error_at(&"is not a regular file"));
    }
    trust::check_file(path, &meta).map_err(|error| error.context(format!("profile {}", path.display())))?;
    if meta.len() > MAX_SIZE {
        return Err(error_at(&format!("is larger than {MAX_SIZE} bytes")));
    }
    let bytes = files::read_promised(&mut file, meta.len()).map_err(|error| error_at(&describe(&error)))?.to_vec();
    close(file);
    let mut text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => files::decode(error.as_bytes())
            .map_err(|line| Error::profile(format!("profile {}:{line}: is not UTF-8", path.display())))?
            .to_string(),
    };
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(Some(ProfileFile { path: path.to_owned(), text }))
}

/// [`trust::check_file`], for a file that a profile names. `what` is the key.
///
/// # Errors
/// As [`trust::check_file`]; or the file does not exist.
pub fn check_named_file(path: &Path, what: &str) -> Result<()> {
    let meta = fs::metadata(path).map_err(|error| {
        Error::profile(format!("{what} {}: {}", path.display(), crate::base::error::describe(&error)))
            .hint(format!("correct or remove `{what}` in the profile"))
    })?;
    trust::check_file(path, &meta).map_err(|error| error.context(format!("{what} {}", path.display())))
}

/// Reads an alias, and finds the profile that it names. Returns `None` if one of them does not exist, or is not valid.
///
/// # Errors
/// As [`open`].
pub fn by_alias(path: &Path, places: &Places) -> Result<Option<(String, ProfileFile)>> {
    let Some(target) = alias_target(path)?.filter(|target| check_name(target).is_ok()) else { return Ok(None) };
    Ok(by_name(&target, places)?.map(|file| (target, file)))
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
        let hint = |name| check_name(name).expect_err("a file").hint_text().expect("a hint");
        assert_eq!(hint("x.toml"), "use the name of the profile: x");
        assert_eq!(hint_for_file("x.toml").as_deref(), Some("use ./x.toml for the file, or x for the profile"));
        assert_eq!(hint_for_file("x.tom"), None);
        assert_eq!(hint("./a/x.toml"), "use the name of the profile: x");
    }
}
