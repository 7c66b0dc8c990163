//! cargo's configuration files of the user, and the key in them that names ycred.

use std::path::PathBuf;

use crate::base::environment::CARGO_HOME;
use crate::session::Session;

/// The name of the link.
pub const HOOK: &str = "ycred-cargo";
/// The key that names a registry's provider.
pub const PROVIDER: &str = "credential-provider";

/// Returns the files that cargo may read for the user. It reads only the first that exists: of both, the one with the old name.
pub fn paths(session: &Session<'_>) -> Vec<PathBuf> {
    let home = session.places.home.as_ref().map(|home| home.join(".cargo"));
    let directory = session.environment.absolute(CARGO_HOME).or(home);
    directory.into_iter().flat_map(|directory| [directory.join("config"), directory.join("config.toml")]).collect()
}
