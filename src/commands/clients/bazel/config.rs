//! bazel's configuration file of the user, and the flag in it that names ycred.

use std::path::PathBuf;

use crate::session::Session;

/// The name of the link.
pub const HOOK: &str = "ycred-bazel";
/// The flag that names a credential helper.
pub const FLAG: &str = "--credential_helper";

/// Returns the files that bazel reads for the user.
pub fn paths(session: &Session<'_>) -> Vec<PathBuf> {
    session.places.home.iter().map(|home| home.join(".bazelrc")).collect()
}
