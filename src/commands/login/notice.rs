//! The notice that a login ends soon. Commands for people print it, once a day for each login; hooks never do.
//!
//! When it was printed is kept in a directory of its own. So it changes neither the state of a login, which processes renew under
//! its lock, nor the marker, which the cache watches.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::{Timestamp, human, millis};
use crate::base::diagnostics::Warning;
use crate::disk::store::{self, FileState};
use crate::profile::{Profile, ProfileRef, find};
use crate::session::Session;
use crate::sources::login::state::LoginStore;

/// How long before its end a login is reported.
const BEFORE: Duration = Duration::from_secs(3 * DAY);
/// How often.
const EVERY: Duration = Duration::from_secs(DAY);
const DAY: u64 = 24 * 3600;
/// At most as many profiles are looked at, so that a command does not become slow.
const PROFILES_MAX: usize = 100;
/// The directory below the state directory.
const DIRECTORY: &str = "notices";

/// When a notice was printed.
#[derive(Serialize, Deserialize)]
struct Printed {
    at: Timestamp,
}

/// Warns of the login that ends first, if it ends soon and nothing has said so for a day.
pub fn warn(session: &Session<'_>) {
    if session.diagnostics.has_warning() || session.places_error.is_some() {
        return;
    }
    let now = session.clock.now();
    let is_soon = |ends: &Timestamp| (1..=millis(BEFORE)).contains(&ends.since(now));
    let ending = |name: String| {
        let reference = ProfileRef::Name { by: "login", name: name.clone() };
        let profile = Profile::load(&reference, session.environment, session.places, now).ok()?;
        let is_own = profile.name.as_ref() == Some(&name) && profile.source.needs_login;
        let login = if is_own { profile.login().ok()?? } else { return None };
        let ends = login.store.load().ok()?.ends().filter(is_soon)?;
        Some((ends, name, login))
    };
    let mut endings: Vec<_> = find::names(session.places).into_iter().take(PROFILES_MAX).filter_map(ending).collect();
    endings.sort_by_key(|(ends, ..)| ends.0);
    for (ends, name, login) in endings {
        // The mark comes first: where it cannot be kept, every command would repeat the notice.
        if is_due(&login.store, session) && mark(&login.store, session) {
            let left = human(ends.since(now));
            session.diagnostics.warn(
                Warning::LoginEndsSoon,
                format!("the login of profile {name} ends in {left}, at {ends}: run `ycred login {name}`"),
            );
            return;
        }
    }
}

/// Records that a notice for this login is printed now. Returns false if that is impossible.
pub fn mark(login: &LoginStore, session: &Session<'_>) -> bool {
    let Some(path) = path(login, session) else { return false };
    let Some(directory) = path.parent() else { return false };
    let content = serde_json::to_vec(&Printed { at: session.clock.now() }).unwrap_or_default();
    store::make_private(directory).and_then(|()| store::replace(&path, &content, false)).is_ok()
}

/// Deletes the record of the last notice for this login, because the login has ended.
pub fn clear(login: &LoginStore, session: &Session<'_>) {
    if let Some(path) = path(login, session) {
        // What is left says nothing about anybody.
        let _ = store::remove(&path);
    }
}

fn is_due(login: &LoginStore, session: &Session<'_>) -> bool {
    let Some(Ok(FileState::Content(content))) = path(login, session).map(|path| store::read(&path)) else {
        return true;
    };
    let printed = serde_json::from_slice::<Printed>(&content);
    // A time in the future is from a clock that was wrong.
    !printed.is_ok_and(|printed| (0..millis(EVERY)).contains(&session.clock.now().since(printed.at)))
}

fn path(login: &LoginStore, session: &Session<'_>) -> Option<PathBuf> {
    let state = session.places.state.as_ref().ok()?;
    let marker = login.marker();
    Some(state.join(DIRECTORY).join(marker.file_stem()?).with_extension("notice"))
}
