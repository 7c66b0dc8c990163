//! pip's configuration file, and the option in it that makes pip run `keyring`.

use std::path::PathBuf;

use crate::base::environment::{PIP_CONFIG_FILE, XDG_CONFIG_HOME};
use crate::base::error::{Error, Result};
use crate::session::Session;
use crate::system::directories;

/// The section of all commands.
pub const SECTION: &str = "global";
/// The option that makes pip run `keyring`.
pub const OPTION: &str = "keyring-provider";
/// pip accepts both spellings.
pub const SPELLINGS: [&str; 2] = [OPTION, "keyring_provider"];

/// Returns the file that `pip config set` edits.
///
/// # Errors
/// Usage (2): pip reads no file, or there is no home directory.
pub fn path(session: &Session<'_>) -> Result<PathBuf> {
    if let Some(path) = session.environment.get(PIP_CONFIG_FILE) {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
        // pip takes the null device for "no configuration".
        return match std::fs::metadata(&path) {
            Ok(file) if !file.is_file() => {
                Err(Error::usage(format!("{PIP_CONFIG_FILE}={}: pip reads no configuration", path.display()))
                    .hint(format!("unset {PIP_CONFIG_FILE}")))
            }
            _ => Ok(path),
        };
    }
    if let Some(roaming) = directories::roaming(session.environment) {
        return Ok(roaming.join("pip").join("pip.ini"));
    }
    let home = session.places.home.as_ref().ok_or_else(|| Error::usage("no home directory").hint("set HOME"))?;
    // pip prefers this directory where it exists.
    let macos = home.join("Library/Application Support/pip");
    let xdg = || session.environment.absolute(XDG_CONFIG_HOME).unwrap_or_else(|| home.join(".config"));
    Ok(if macos.is_dir() { macos } else { xdg().join("pip") }.join("pip.conf"))
}
