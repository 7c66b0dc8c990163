//! What a new profile means for the default one: the profile that was in use stays in use.

use crate::base::error::clean;
use crate::disk::places::Places;
use crate::profile::ProfileRef;
use crate::profile::find::{self, DEFAULT, FoundProfile};
use crate::session::Session;

/// The name of a profile that is created without one.
pub const DEFAULT_NAME: &str = "main";

/// Returns the profile of which `default.toml` must become an alias, if it must.
///
/// A profile that is used because it is the only one stays in use when a second one is created. A profile that is created without a
/// name becomes the default if no default exists.
pub fn alias_to_write(name: &str, is_named: bool, places: &Places) -> Option<String> {
    match find::without_name(places) {
        Ok(FoundProfile::Only { name: first, .. }) => (first != name).then_some(first),
        Ok(FoundProfile::Nothing | FoundProfile::Several(_)) => (!is_named).then(|| name.to_owned()),
        Ok(FoundProfile::Default(_)) | Err(_) => None,
    }
}

/// Returns the line that says which profile stays the default beside a new one, and how to change that. Returns `None` if no other
/// profile is the default.
pub fn kept(name: &str, session: &Session<'_>) -> Option<String> {
    let (path, target) = match find::without_name(session.places) {
        Ok(FoundProfile::Default(file)) => {
            let target = find::alias_target(&file.path).ok().flatten();
            (file.path, target)
        }
        Err(_) => (session.places.config.as_ref()?.join(format!("{DEFAULT}.toml")), None),
        Ok(FoundProfile::Only { .. } | FoundProfile::Several(_) | FoundProfile::Nothing) => return None,
    };
    let shown = target.as_deref().unwrap_or(DEFAULT);
    if shown == name {
        return None;
    }
    let default = session.profile(&ProfileRef::Name { by: "init", name: DEFAULT.to_owned() });
    let problem = default.err().map(|error| format!(", which cannot be used: {}", error.reason())).unwrap_or_default();
    let how = match target {
        Some(_) => format!("ycred use {name}"),
        // `use` replaces only an alias.
        None => format!("ycred rename {DEFAULT} {}, then ycred use {name}", free_name(session)),
    };
    let path = path.display();
    Some(clean(&format!("{path}: the default profile is still {shown}{problem}; to change it: {how}")))
}

/// Returns a name for the profile that is called `default`.
fn free_name(session: &Session<'_>) -> String {
    let names = find::names(session.places);
    let mut candidates = [DEFAULT_NAME, "former-default"].into_iter();
    candidates.find(|name| !names.contains(*name)).unwrap_or("NAME").to_owned()
}
