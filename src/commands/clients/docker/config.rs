//! docker's configuration file: where it is, and what in it names ycred.

use std::path::PathBuf;

use crate::base::environment::DOCKER_CONFIG;
use crate::base::error::{Error, Result};
use crate::commands::clients::public;
use crate::session::Session;

/// The object that has a helper for each registry.
pub const HELPERS: &str = "credHelpers";
/// The first part of the name of a helper's program.
pub const PREFIX: &str = "docker-credential-";

/// Returns the path of the file that docker reads.
///
/// # Errors
/// Usage (2): there is no home directory.
pub fn default_path(session: &Session<'_>) -> Result<PathBuf> {
    if let Some(directory) = session.environment.get(DOCKER_CONFIG) {
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.into());
        return Ok(directory.join("config.json"));
    }
    let home = session.places.home.as_ref();
    let home = home.ok_or_else(|| Error::usage("no home directory").hint("pass --file FILE"))?;
    Ok(home.join(".docker/config.json"))
}

/// Returns true if a helper is ycred.
pub fn is_ours(helper: &str) -> bool {
    helper == "ycred" || helper.strip_prefix("ycred-").is_some_and(public::is_profile_name)
}

/// docker itself uses no lock, but tools that change its file do.
pub fn locks(session: &Session<'_>) -> Vec<PathBuf> {
    default_path(session).map(|path| path.with_extension("json.lock")).into_iter().collect()
}
