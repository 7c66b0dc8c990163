//! What `status` shows of one profile.

use std::collections::BTreeSet;
use std::path::Path;

use crate::base::clock::Timestamp;
use crate::base::environment::YCRED_PROFILE;
use crate::base::error::Error;
use crate::base::mask;
use crate::base::supplied_token::{SuppliedToken, TOKEN_VARIABLES};
use crate::commands::clients::client::{Client, Use};
use crate::commands::command::HostClient;
use crate::commands::status::verify::{Verification, verify};
use crate::process::flags::Options;
use crate::profile::find::FoundProfile;
use crate::profile::{Profile, ProfileRef, find};
use crate::session::Session;
use crate::session::facts::{Facts, code_of};
use crate::sources;

/// What there is to show of one profile.
pub struct Row {
    /// The profile's name or path. `None` without a profile, or if none is selected.
    pub name: Option<String>,
    /// `None` if it cannot be read.
    pub profile: Option<Profile>,
    pub facts: Facts,
    /// The cached access keys: session, expiry, and remaining validity in milliseconds.
    pub keys: Vec<(String, Timestamp, i64)>,
    pub verification: Option<Verification>,
}

/// The places of a client's configuration that name ycred.
pub struct WiredClient {
    pub client: &'static Client,
    pub uses: Vec<Use>,
}

/// The clients of this machine, from the point of view of one profile.
pub struct ClientsOfProfile {
    /// Each client that uses the profile, and the places in its configuration that do.
    pub own: Vec<(&'static str, Vec<String>)>,
    /// The other profiles that clients use. `None` stands for those that do not exist: what is in place of one may be a secret.
    pub other_profiles: Vec<Option<String>>,
}

impl ClientsOfProfile {
    /// `hooks` are those whose clients name a host.
    pub fn of(row: &Row, clients: &[WiredClient], hooks: &[HostClient], session: &Session<'_>) -> Self {
        let unnamed = match session.profile(&ProfileRef::Unnamed) {
            Ok(profile) => profile.name,
            Err(_) => selected_name(&ProfileRef::Unnamed, session),
        };
        let behind = |name: &String| match find::check_name(name) {
            Ok(()) => find::behind(name, session.places),
            Err(_) => name.clone(),
        };
        let profile_of = |place: &Use| place.profile.as_ref().or(unnamed.as_ref()).map(behind);
        let this = row.name.as_ref().map(behind);
        let of_client = |WiredClient { client, uses }: &WiredClient| {
            let is_unlisted =
                |place: &Use| row.profile.as_ref().is_some_and(|profile| client.is_unlisted(place, profile, hooks));
            let describe = |place: &Use| match is_unlisted(place) {
                true => format!("{} (gets no token: not in `hosts`)", place.description()),
                false => place.description(),
            };
            let own = uses.iter().filter(|place| profile_of(place) == this);
            (client.name, own.map(describe).collect::<Vec<_>>())
        };
        let own = clients.iter().map(of_client).filter(|(_, places)| !places.is_empty()).collect();
        let names = find::names(session.places);
        let existing =
            |name: &String| names.contains(name) || Path::new(name).is_absolute() && Path::new(name).is_file();
        let others = clients.iter().flat_map(|client| &client.uses).map(profile_of).filter(|profile| *profile != this);
        let others: BTreeSet<_> = others.map(|profile| profile.filter(existing)).collect();
        Self { own, other_profiles: others.into_iter().collect() }
    }
}

impl Row {
    pub fn of(reference: &ProfileRef, options: &Options, session: &Session<'_>) -> Self {
        match session.profile(reference) {
            Ok(profile) => {
                let facts = session.facts(&profile, options, true);
                let now = session.clock.now();
                let keys = session.access_keys(&profile, options).unwrap_or_default().into_iter();
                let keys = keys.map(|(key, credential)| (key.session_name, credential.expires, credential.left(now)));
                Self {
                    name: profile.name.clone(),
                    facts,
                    keys: keys.collect(),
                    profile: Some(profile),
                    verification: None,
                }
            }
            Err(error) => Self {
                name: selected_name(reference, session),
                profile: None,
                facts: Facts::failed(error),
                keys: Vec::new(),
                verification: None,
            },
        }
    }

    /// Asks the cloud about the token, then looks again.
    pub fn verified(self, options: &Options, session: &Session<'_>) -> Self {
        let Some(profile) = self.profile.as_ref().filter(|_| self.code() != 3) else { return self };
        let verification = verify(profile, options, session);
        Self { facts: session.facts(profile, options, true), verification: Some(verification), ..self }
    }

    /// Returns the exit code for this profile.
    pub fn code(&self) -> u8 {
        let failed = self.verification.as_ref().and_then(|verification| verification.as_ref().err());
        failed.map_or_else(|| self.facts.code(), |error: &Error| code_of(error.kind))
    }
}

/// Returns the name of a profile that cannot be read: the one that the call names, or the default, or the only one. Follows an
/// alias. `None` if no profile is selected.
pub fn selected_name(reference: &ProfileRef, session: &Session<'_>) -> Option<String> {
    let named = match reference {
        ProfileRef::NameOrPath { text, .. } => Some(text.to_string_lossy().into_owned()),
        ProfileRef::Name { name, .. } => Some(name.clone()),
        ProfileRef::Unnamed => session.environment.get(YCRED_PROFILE).map(|text| text.to_string_lossy().into_owned()),
    };
    let follow = |name: String| {
        let path = session.places.profile_candidates(&name).into_iter().find(|path| path.exists());
        path.and_then(|path| find::alias_target(&path).ok().flatten()).unwrap_or(name)
    };
    match named {
        Some(name) if find::check_name(&name).is_ok() => Some(follow(name)),
        // Anything else may be a secret.
        Some(text) if mask::is_path(&text) => Some(text),
        Some(_) => Some("profile".to_owned()),
        None if session.places_error.is_some() => Some(find::DEFAULT.to_owned()),
        None if sources::from_environment(session.environment, session.clock.now()).is_some() => None,
        None => match find::without_name(session.places) {
            // Then the cause is the variable and not the profile.
            Ok(FoundProfile::Only { .. }) if expired_variable(session).is_some() => None,
            Ok(FoundProfile::Only { name, .. }) => Some(name),
            Err(_) if let Some(name) = only_unreadable(session) => Some(name),
            Ok(FoundProfile::Default(_)) | Err(_) => Some(follow(find::DEFAULT.to_owned())),
            Ok(FoundProfile::Several(_) | FoundProfile::Nothing) => None,
        },
    }
}

/// Returns the name of the only profile, if there is no default and it cannot be read.
fn only_unreadable(session: &Session<'_>) -> Option<String> {
    let is_alias = |name: &String| {
        let path = session.places.profile_candidates(name).into_iter().find(|path| path.exists());
        path.is_some_and(|path| matches!(find::alias_target(&path), Ok(Some(_))))
    };
    let mut names = find::names(session.places).into_iter().filter(|name| name == find::DEFAULT || !is_alias(name));
    names.next().filter(|name| name != find::DEFAULT && names.next().is_none())
}

/// Returns the variable with a token that an outer ycred has supplied and that has expired.
pub fn expired_variable(session: &Session<'_>) -> Option<&'static str> {
    let is_expired = |variable: &&'static str| {
        let supplied = SuppliedToken::in_variable(session.environment, variable);
        supplied.is_some_and(|supplied| supplied.is_expired(session.clock.now()))
    };
    TOKEN_VARIABLES.into_iter().find(is_expired)
}
