//! uv's configuration file, and the option in it that makes uv run `keyring`.

use std::path::PathBuf;

use crate::base::environment::XDG_CONFIG_HOME;
use crate::session::Session;
use crate::system::directories;

/// The option that makes uv run `keyring`.
pub const OPTION: &str = "keyring-provider";

/// Returns the user's configuration of uv.
pub fn path(session: &Session<'_>) -> Option<PathBuf> {
    let home = session.places.home.as_ref().map(|home| home.join(".config"));
    let chosen = session.environment.absolute(XDG_CONFIG_HOME);
    Some(directories::roaming(session.environment).or(chosen).or(home)?.join("uv/uv.toml"))
}
