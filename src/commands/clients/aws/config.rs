//! The files of the AWS CLI and SDKs, and what in them runs ycred.

use std::path::PathBuf;

use crate::base::environment::AWS_CONFIG_FILE;
use crate::base::error::{Error, Result};
use crate::base::shell;
use crate::commands::clients::program;
use crate::edit::tree::TreeNode;
use crate::session::Session;

/// The option that names the program to run.
pub const PROCESS: &str = "credential_process";

/// Returns the file in a variable, or else the one with this name in `~/.aws`.
///
/// # Errors
/// Usage (2): there is no home directory.
pub fn in_home(variable: &str, name: &str, session: &Session<'_>) -> Result<PathBuf> {
    if let Some(path) = session.environment.get(variable) {
        return Ok(std::path::absolute(path).unwrap_or_else(|_| path.into()));
    }
    let missing =
        || Error::usage("no home directory").hint("set HOME, or AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE");
    Ok(session.places.home.as_ref().ok_or_else(missing)?.join(".aws").join(name))
}

/// Returns the configuration file.
///
/// # Errors
/// As [`in_home`].
pub fn path(session: &Session<'_>) -> Result<PathBuf> {
    in_home(AWS_CONFIG_FILE, "config", session)
}

/// Returns the profile that a section of the configuration file is about, as botocore reads it: the name is split like a
/// shell's words, so `[profile yc]`, `[profile "yc"]` and `[profile  yc]` are the same.
pub fn profile_of(section: &str) -> Option<String> {
    if section == "default" {
        return Some(section.to_owned());
    }
    let has_open_quote = shell::has_open_quote(section);
    let words = shell::split(section);
    match words.as_slice() {
        [_, name] if section.starts_with("profile") && !has_open_quote => Some(name.clone()),
        _ => None,
    }
}

/// Returns true if a process is ycred.
pub fn is_ours(process: &str) -> bool {
    let words = process.replace(['"', '\''], "");
    program::is_named(words.split(" aws").next().unwrap_or_default(), "ycred")
}

/// Finds an option that is in a section twice: the section, and the second option. AWS cannot read such a file at all.
pub fn repeated(root: &TreeNode) -> Option<(&str, &TreeNode)> {
    root.members().iter().find_map(|(section, options)| {
        let options = options.members();
        let is_repeated = |at: usize| options[..at].iter().any(|(other, _)| *other == options[at].0);
        let at = (0..options.len()).find(|at| is_repeated(*at))?;
        Some((section.as_text().unwrap_or_default(), &options[at].0))
    })
}

/// Returns the arguments of `setup` that select a section.
pub fn selection(section: &str) -> Vec<String> {
    vec!["--name".to_owned(), profile_of(section).unwrap_or_else(|| section.to_owned())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_as_by_botocore() {
        for (section, profile) in [
            ("default", Some("default")),
            ("profile yc", Some("yc")),
            ("profile \"yc\"", Some("yc")),
            ("profile 'yc'", Some("yc")),
            ("profile  yc ", Some("yc")),
            ("profile\tyc", Some("yc")),
            ("profile y'c'", Some("yc")),
            ("profile 'a b'", Some("a b")),
            ("profile a b", None),
            ("profile 'yc", None),
            ("profile", None),
            ("yc", None),
            ("sso-session yc", None),
        ] {
            assert_eq!(profile_of(section).as_deref(), profile, "{section}");
        }
    }
}
