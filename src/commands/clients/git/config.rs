//! git's configuration file: where it is, and which helpers in it are ycred.

use std::path::PathBuf;

use crate::base::environment::{GIT_CONFIG_GLOBAL, XDG_CONFIG_HOME};
use crate::base::error::{Error, Result};
use crate::commands::clients::program;
use crate::commands::clients::public;
use crate::session::Session;
use crate::system::directories::home_of_git;

/// Returns the file that `git config --global` edits.
///
/// # Errors
/// Usage (2): there is no home directory.
pub fn path(session: &Session<'_>) -> Result<PathBuf> {
    if let Some(path) = session.environment.get(GIT_CONFIG_GLOBAL) {
        return Ok(std::path::absolute(path).unwrap_or_else(|_| path.into()));
    }
    let home = home_of_git(session.environment, session.places.home.as_deref());
    let home = home.ok_or_else(|| Error::usage("no home directory").hint("set GIT_CONFIG_GLOBAL"))?;
    let usual = home.join(".gitconfig");
    let xdg = session.environment.absolute(XDG_CONFIG_HOME).unwrap_or_else(|| home.join(".config")).join("git/config");
    Ok(if !usual.exists() && xdg.exists() { xdg } else { usual })
}

/// Returns true if a helper's value runs ycred: `ycred …`, or a path of ycred before ` git …`.
pub fn is_ours(value: &str) -> bool {
    let program = value.split(" git").next().unwrap_or_default();
    let suffix = value.split(' ').next().and_then(|name| name.strip_prefix("ycred-"));
    program::is_named(program, "ycred") || value.starts_with("ycred ") || suffix.is_some_and(public::is_profile_name)
}

/// git's lock is beside the file that a link leads to.
pub fn locks(session: &Session<'_>) -> Vec<PathBuf> {
    let lock = |path: PathBuf| {
        let mut name = crate::system::files::real_path(&path).unwrap_or(path).into_os_string();
        name.push(".lock");
        PathBuf::from(name)
    };
    path(session).map(lock).into_iter().collect()
}

/// Returns the arguments of `setup` that select a server.
pub fn selection(host: &str) -> Vec<String> {
    vec!["--host".to_owned(), host.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_setup_writes_is_recognized_on_every_system() {
        for value in [
            "ycred",
            "ycred git --profile prod",
            "ycred-prod",
            "/usr/bin/ycred git --profile prod",
            r"/opt/my\ dir/ycred git --profile prod",
            r"C:\\Users\\me\\ycred.exe git --profile prod",
            r"C:\\Program\ Files\\ycred.exe git",
        ] {
            assert!(is_ours(value), "{value}");
        }
        for value in ["", "store", "manager", "/usr/bin/yc git", r"C:\\x\\ycred.exe.old git", "!ycred-other.sh git"] {
            assert!(!is_ours(value), "{value}");
        }
    }
}
