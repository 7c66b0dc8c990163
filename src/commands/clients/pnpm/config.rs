//! pnpm's configuration file of the user, and the option in it that names ycred.

use std::path::PathBuf;

use crate::base::environment::NPM_CONFIG_USERCONFIG;
use crate::session::Session;

/// The name of the link.
pub const HOOK: &str = "ycred-pnpm";

/// The end of the key that names a helper for a registry.
pub const OPTION: &str = ":tokenHelper";

/// Returns the user's `.npmrc`. pnpm accepts a `tokenHelper` from no other file that all its versions read.
pub fn path(session: &Session<'_>) -> Option<PathBuf> {
    let by_variable =
        session.environment.get(NPM_CONFIG_USERCONFIG).map(PathBuf::from).filter(|path| path.is_absolute());
    by_variable.or_else(|| session.places.home.as_ref().map(|home| home.join(".npmrc")))
}
