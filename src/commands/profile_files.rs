//! The user's profiles as files: the aliases of a profile, and the places that name it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::base::environment::YCRED_PROFILE;
use crate::base::error::{Error, Result, clean};
use crate::commands::clients::client::{Client, Use, profile_in};
use crate::commands::clients::{self, CLIENTS};
pub use crate::commands::profile_lock::lock;
use crate::disk::store;
use crate::edit::change::Editor;
use crate::edit::journal::{JournalEntry, What};
use crate::profile::find::{self, DEFAULT, FoundProfile};
use crate::profile::{Profile, ProfileRef};
use crate::session::Session;
use crate::system::{access, programs};

/// Returns the directory of the user's profiles.
///
/// # Errors
/// Profile (3): no such directory is known.
pub fn directory<'a>(session: &Session<'a>) -> Result<&'a Path> {
    session.places.config.as_deref().ok_or_else(|| {
        Error::profile("cannot find the configuration directory: no home directory").hint("set YCRED_CONFIG_DIR")
    })
}

/// Returns the user's file of a profile.
///
/// # Errors
/// Profile (3): there is no such profile, it belongs to the machine, or the directory to another user.
pub fn of_user(name: &str, directory: &Path, session: &Session<'_>) -> Result<PathBuf> {
    store::refuse_foreign_directory(directory).map_err(|error| {
        Error::profile(format!("{}: {error}", directory.display()))
            .hint("run the same command as that user, so that the files keep their owner")
    })?;
    let path = directory.join(format!("{name}.toml"));
    if path.symlink_metadata().is_ok() {
        return Ok(path);
    }
    let candidates = session.places.profile_candidates(name);
    match candidates.iter().find(|other| other.symlink_metadata().is_ok()) {
        Some(other) => {
            Err(Error::profile(format!("{}: a profile of this machine, which ycred does not change", other.display()))
                .hint("ask the administrator of this machine, or create a profile of your own with that name"))
        }
        None => Err(find::unknown(name, session.places).hint("list your profiles with `ycred list`")),
    }
}

/// An alias of a profile, by its content or as a link to its file.
pub struct Alias {
    pub name: String,
    pub path: PathBuf,
    pub is_link: bool,
}

/// Returns the user's aliases of a profile.
pub fn aliases(name: &str, path: &Path, directory: &Path, session: &Session<'_>) -> Vec<Alias> {
    let mut aliases = Vec::new();
    for other in find::names(session.places).into_iter().filter(|other| other != name) {
        let file = path;
        let path = directory.join(format!("{other}.toml"));
        // Two links may lead to one file elsewhere. Neither depends on the other's name.
        let is_link = std::fs::read_link(&path).is_ok_and(|target| directory.join(target) == file);
        if is_link || matches!(find::alias_target(&path), Ok(Some(target)) if target == name) {
            aliases.push(Alias { name: other, path, is_link });
        }
    }
    aliases
}

/// The profile that is used if none is named, without the environment.
#[derive(PartialEq, Eq)]
pub enum Unnamed {
    Default(String),
    Only(String),
    Several(Vec<String>),
    Nothing,
    Broken,
}

impl Unnamed {
    pub fn of(session: &Session<'_>) -> Self {
        match find::without_name(session.places) {
            Ok(FoundProfile::Default(file)) => {
                let alias = find::alias_target(&file.path).ok().flatten();
                Self::Default(alias.unwrap_or_else(|| DEFAULT.to_owned()))
            }
            Ok(FoundProfile::Only { name, .. }) => Self::Only(name),
            Ok(FoundProfile::Several(names)) => Self::Several(names),
            Ok(FoundProfile::Nothing) => Self::Nothing,
            Err(_) => Self::Broken,
        }
    }

    /// Describes the change from `before` for people, and which clients it concerns. Returns an empty string if nothing has
    /// changed.
    pub fn change_since(&self, before: &Self, session: &Session<'_>) -> String {
        let change = self.change(before);
        // The only profile does not serve a call that names `default`.
        let is_served = |profile: &str| profile == DEFAULT && matches!(self, Self::Default(_));
        let clients = places_of_clients(|profile| profile.is_none_or(is_served), session);
        if change.is_empty() || clients.is_empty() {
            return change;
        }
        match self {
            Self::Default(_) | Self::Only(_) => format!("{change}it serves these clients from now on: {clients}\n"),
            Self::Several(_) | Self::Nothing | Self::Broken => {
                format!("{change}these clients get no token until then: {clients}\n")
            }
        }
    }

    fn change(&self, before: &Self) -> String {
        match self {
            _ if self == before => String::new(),
            Self::Default(name) if name == DEFAULT => format!("the profile {DEFAULT} is now used if none is named\n"),
            Self::Default(name) => format!("the default profile is now {name}\n"),
            Self::Only(name) => {
                format!("{name} is now the only profile, so it is used if none is named\n")
            }
            Self::Several(_) => match before {
                Self::Several(_) => String::new(),
                _ => "there is no default profile now; to choose one, run `ycred use NAME`\n".to_owned(),
            },
            Self::Nothing => "no profile is left; to create one, run `ycred init`\n".to_owned(),
            Self::Broken => String::new(),
        }
    }
}

/// Returns the places of clients that call ycred with such a profile: `kubectl: user me; docker: cr.yandex`. `None` is a call
/// that names no profile.
pub fn places_of_clients(is_listed: impl Fn(Option<&str>) -> bool, session: &Session<'_>) -> String {
    let of_client = |client: &&Client| {
        let places = (client.uses)(session).into_iter().filter(|place| is_listed(place.profile.as_deref()));
        let labels: Vec<String> = places.map(|place| place.label).collect();
        (!labels.is_empty()).then(|| format!("{}: {}", client.name, labels.join(", ")))
    };
    clean(&CLIENTS.iter().filter_map(of_client).collect::<Vec<_>>().join("; "))
}

/// Returns a line for each place outside of the profiles' directory that names a profile: configurations of clients, those
/// that `setup` remembers, commands of other profiles, and the variable. `other` is the profile that the commands in the
/// lines name.
pub fn mentions(name: &str, path: &Path, other: &str, session: &Session<'_>) -> String {
    let is_named = |profile: &str| profile == name || Path::new(profile) == path;
    let mut text = String::new();
    let mut seen: Vec<(PathBuf, String)> = Vec::new();
    let mut commands: Vec<(PathBuf, String)> = Vec::new();
    let mut changed: Vec<&str> = Vec::new();
    let real = |path: &Path| crate::system::files::real_path(path).unwrap_or_else(|_| path.to_owned());
    let mut add = |client: &Client, place: &Use, is_of_journal: bool| {
        let key = (real(&place.file), place.label.clone());
        let command = client.setup_command(place, Some(other), session);
        // The journal's label may be that of a part of the place.
        let is_repeated = is_of_journal && commands.contains(&(key.0.clone(), command.clone()));
        if seen.contains(&key) || is_repeated {
            return;
        }
        changed.push(client.name);
        commands.push((key.0.clone(), command.clone()));
        seen.push(key);
        let to_change = if client.is_pasted { "to see the new lines" } else { "to change it" };
        let place = clean(&format!("{}: {}", place.file.display(), place.label));
        let _ = writeln!(text, "{place} still names the profile {name}; {to_change}: {}", clean(&command));
    };
    for client in CLIENTS {
        for place in (client.uses)(session) {
            if place.profile.as_deref().is_some_and(is_named) {
                add(client, &place, false);
            }
        }
    }
    // Files that the environment of this run does not select.
    let journal = Editor::new(session.places, session.clock, true).and_then(|editor| editor.journal());
    let is_about = |entry: &&JournalEntry| {
        entry.file.symlink_metadata().is_ok() && profile_of_entry(entry).is_some_and(|profile| is_named(&profile))
    };
    let entries = journal.iter().flat_map(|journal| journal.entries()).filter(is_about);
    let (links, values): (Vec<_>, Vec<_>) = entries.partition(|entry| matches!(entry.what, What::Link { .. }));
    for entry in values {
        if let Some(client) = clients::named(&entry.client) {
            let place = Use { file: entry.file.clone(), label: entry.label.clone(), profile: None, note: None };
            add(client, &place, true);
        }
    }
    for entry in links {
        let place = clean(&format!("{}: {}", entry.file.display(), entry.label));
        let what_then = match clients::named(&entry.client) {
            Some(client) if !client.is_pasted && changed.contains(&client.name) => {
                "setup removes it when no configuration names it".to_owned()
            }
            _ => format!("to remove it when nothing uses it: {}", access::remove_command(&entry.file)),
        };
        let _ = writeln!(text, "{place} still names the profile {name}; {}", clean(&what_then));
    }
    for (profile, key) in commands_that_name(&is_named, session) {
        let _ = writeln!(text, "profile {profile}: `{key}` still names the profile {name}");
    }
    if session.environment.get(YCRED_PROFILE).is_some_and(|value| value == name) {
        let _ = writeln!(text, "YCRED_PROFILE still names {name} in this shell: export YCRED_PROFILE={other}");
    }
    text
}

/// Returns the profile in what `setup` wrote.
fn profile_of_entry(entry: &JournalEntry) -> Option<String> {
    match &entry.what {
        What::Value { ours, .. } => profile_in(&ours.first()?.flow),
        What::Option { ours, .. } => ours.iter().find_map(|value| profile_in(value)),
        What::Text { ours } => profile_in(ours),
        What::Link { .. } => programs::own_name(&entry.file).and_then(profile_in),
    }
}

/// Returns the profiles with commands that run ycred with a profile, and the keys of these commands.
fn commands_that_name(is_named: &impl Fn(&str) -> bool, session: &Session<'_>) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    for other in find::names(session.places) {
        let reference = ProfileRef::Name { by: "--profile", name: other.clone() };
        let now = session.clock.now();
        let Ok(profile) = Profile::load(&reference, session.environment, session.places, now) else { continue };
        if profile.name.as_ref() != Some(&other) {
            continue;
        }
        for key in profile.source.keys.iter().filter(|key| key.value == "COMMAND") {
            let command = profile.settings.list(key.name).unwrap_or_default();
            let program =
                command.first().and_then(|program| program.rsplit(std::path::is_separator).next()).unwrap_or_default();
            if program.contains("ycred") && profile_in(&command.join("\n")).is_some_and(|profile| is_named(&profile)) {
                found.push((other.clone(), key.name));
            }
        }
    }
    found
}
