//! The keys of a profile: the value that a call would use, and where it comes from.

use std::time::Duration;

use crate::base::clock::human;
use crate::base::error::clean;
use crate::base::hosts::DEFAULT_ENDPOINT;
use crate::process::flags::Options;
use crate::profile::file;
use crate::profile::find;
use crate::profile::keys::COMMON_KEYS;
use crate::profile::{Profile, ProfileRef};
use crate::session::Session;
use crate::sources::settings::{SettingPlace, Settings};
use crate::sources::source::Key;
use crate::sources::{self, SOURCES};

/// A key with its value and its origin.
pub struct ExplainedKey {
    pub name: String,
    /// `None` if it is not set and has no default.
    pub value: Option<KeyValue>,
    pub origin: KeyOrigin,
    /// More about the value, such as what the profile has in place of a flag's value.
    pub note: Option<String>,
}

/// The value of a key.
pub enum KeyValue {
    Text(String),
    List(Vec<String>),
    /// There is a value, but it may be a secret.
    NotShown,
}

/// Where a value comes from.
pub enum KeyOrigin {
    /// A line of the profile's file.
    Line(String, usize),
    Variable(&'static str),
    Flag(&'static str),
    Default,
    NotSet,
}

impl KeyOrigin {
    /// Returns the kind and the place, for JSON.
    pub fn parts(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Line(file, line) => ("line", Some(format!("{file}:{line}"))),
            Self::Variable(name) => ("variable", Some((*name).to_owned())),
            Self::Flag(flag) => ("flag", Some((*flag).to_owned())),
            Self::Default => ("default", None),
            Self::NotSet => ("not-set", None),
        }
    }
}

/// Returns every key that a profile with this source may have.
pub fn keys(profile: &Profile, options: &Options) -> Vec<ExplainedKey> {
    let settings = &profile.settings;
    let source = ExplainedKey {
        name: "source".into(),
        value: Some(KeyValue::Text(profile.source.name.to_owned())),
        origin: origin(settings, "source").unwrap_or(KeyOrigin::Default),
        note: None,
    };
    let own = profile.source.keys.iter().map(|key| own_key(profile, key));
    // A variable may set a key that a file cannot have: the JSON of a key.
    let known =
        |name: &str| name == "source" || COMMON_KEYS.iter().chain(profile.source.keys).any(|key| key.name == name);
    let others = settings.names().filter(|name| !known(name)).map(|name| configured(settings, name));
    let common = COMMON_KEYS.iter().map(|key| common_key(profile, key, options));
    std::iter::once(source).chain(own).chain(others).chain(common).collect()
}

/// Returns the keys of a file that cannot be used, without values: they may be secrets in the wrong place.
pub fn keys_of_broken(reference: &ProfileRef, session: &Session<'_>) -> Vec<ExplainedKey> {
    let found = match reference {
        ProfileRef::Name { name, .. } => find::by_name(name, session.places),
        ProfileRef::NameOrPath { text, .. } => match text.to_str().filter(|name| find::check_name(name).is_ok()) {
            Some(name) => find::by_name(name, session.places),
            None => return Vec::new(),
        },
        ProfileRef::Unnamed => find::by_name(find::DEFAULT, session.places),
    };
    let Ok(Some(found)) = found else { return Vec::new() };
    let Ok(table) = found.parse() else { return Vec::new() };
    let target = file::alias(&found, &table).ok().flatten().map(|(target, _)| target);
    let aliased = target.and_then(|target| find::by_name(&target, session.places).ok().flatten());
    let found = aliased.as_ref().unwrap_or(&found);
    let Ok(table) = found.parse() else { return Vec::new() };
    let is_known = |name: &str| {
        name == "source"
            || COMMON_KEYS.iter().chain(SOURCES.iter().flat_map(|source| source.keys)).any(|key| key.name == name)
    };
    let mut keys: Vec<ExplainedKey> = table
        .iter()
        .filter(|(key, _)| is_known(key.get_ref()))
        .map(|(key, _)| ExplainedKey {
            name: key.get_ref().to_string(),
            value: Some(KeyValue::NotShown),
            origin: KeyOrigin::Line(found.path.display().to_string(), found.line(&key.span())),
            note: None,
        })
        .collect();
    keys.sort_by_key(|key| match &key.origin {
        KeyOrigin::Line(_, line) => *line,
        _ => 0,
    });
    keys
}

fn origin(settings: &Settings, key: &str) -> Option<KeyOrigin> {
    Some(match settings.place_of(key)? {
        SettingPlace::Line(line) => {
            KeyOrigin::Line(settings.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default(), line)
        }
        SettingPlace::Variable(variable) => KeyOrigin::Variable(variable),
        // Without a profile: the name of the variable is the value.
        SettingPlace::Unknown => {
            let named = settings.values_of("-env").next();
            let selecting = sources::variables().into_iter().find(|variable| Some(*variable) == named);
            selecting.map_or(KeyOrigin::Default, KeyOrigin::Variable)
        }
    })
}

/// Returns a key as the file or the variable has it.
fn configured(settings: &Settings, name: &str) -> ExplainedKey {
    let (value, note) = match settings.raw(name) {
        None => (None, None),
        // Further arguments may be secrets.
        Some((values, true)) if name == "command" || name.ends_with("-command") => {
            let hidden = values.len().saturating_sub(1);
            let note = (hidden > 0).then(|| format!("and {hidden} arguments, which are not shown"));
            (Some(KeyValue::List(values.iter().take(1).cloned().collect())), note)
        }
        Some((values, true)) => (Some(KeyValue::List(values.to_vec())), None),
        Some((values, false)) => (Some(KeyValue::Text(values.concat())), None),
    };
    let origin = if value.is_some() { origin(settings, name).unwrap_or(KeyOrigin::Default) } else { KeyOrigin::NotSet };
    ExplainedKey { name: name.to_owned(), value, origin, note }
}

/// Explains a key of the source.
fn own_key(profile: &Profile, key: &Key) -> ExplainedKey {
    let settings = &profile.settings;
    let explained = configured(settings, key.name);
    // Only for paths: what cannot be one counts as a secret from then on.
    if key.value == "FILE"
        && let (Some(KeyValue::Text(text)), Ok(Some(path))) = (&explained.value, settings.path(key.name))
    {
        let path = path.display().to_string();
        let note = (*text != path).then(|| format!("written as {}", clean(text)));
        return ExplainedKey { value: Some(KeyValue::Text(path)), note, ..explained };
    }
    if explained.value.is_none()
        && let Some((value, variable)) = (profile.source.default_of)(settings, profile.name.is_some(), key.name)
    {
        let origin = variable.map_or(KeyOrigin::Default, KeyOrigin::Variable);
        return ExplainedKey { value: Some(KeyValue::Text(value)), origin, ..explained };
    }
    // The name of a variable. Its value is a secret, so only its size is shown.
    if let (Some(KeyValue::Text(name)), true) = (&explained.value, key.name.ends_with("-env")) {
        let size = settings.environment().get(name).map(std::ffi::OsStr::len);
        let note = size.map_or_else(|| "not set".to_owned(), |size| format!("set, {size} bytes"));
        return ExplainedKey { note: Some(note), ..explained };
    }
    explained
}

/// Explains a key that every profile may have, with the value that the profile has after loading.
fn common_key(profile: &Profile, key: &Key, options: &Options) -> ExplainedKey {
    let settings = &profile.settings;
    let explained = configured(settings, key.name);
    let text = |text: String| Some(KeyValue::Text(text));
    let duration = |value: Duration| text(seconds(value));
    let value = match key.name {
        "endpoint" => text(settings.text("endpoint").ok().flatten().unwrap_or(DEFAULT_ENDPOINT).to_owned()),
        "iam-url" => text(profile.installation.iam_setting()),
        "auth-url" => text(profile.installation.auth_url.clone()),
        "audience" => profile.installation.known_audience().map(KeyValue::Text),
        "ca-file" => profile.ca_file.as_ref().map(|path| KeyValue::Text(path.display().to_string())),
        "refresh-before" => profile.refresh_before.and_then(duration),
        "max-age" => profile.max_age.and_then(duration),
        "min-ttl" => duration(options.min_ttl.unwrap_or(profile.min_ttl)),
        "timeout" => duration(options.timeout.unwrap_or(profile.timeout)),
        "cache" => text(if profile.is_caching && !options.no_cache { "file" } else { "none" }.to_owned()),
        _ => return explained,
    };
    let flag = match key.name {
        "min-ttl" => options.min_ttl.map(|_| "--min-ttl"),
        "timeout" => options.timeout.map(|_| "--timeout"),
        "cache" => options.no_cache.then_some("--no-cache"),
        _ => None,
    };
    let note = match (key.name, flag, &explained.value) {
        (_, Some(_), Some(KeyValue::Text(other))) => Some(format!("in place of \"{}\" in the profile", clean(other))),
        ("refresh-before", None, None) => Some("a tenth of the token's total validity".to_owned()),
        ("iam-url", None, None) => Some("from endpoint".to_owned()),
        ("audience", None, None) => Some("the URL that the JWT is sent to".to_owned()),
        ("max-age", None, None) if value.is_some() => Some("the default of this source".to_owned()),
        _ => None,
    };
    let origin = match (flag, &value, &explained.value) {
        (Some(flag), ..) => KeyOrigin::Flag(flag),
        (None, _, Some(_)) => explained.origin,
        (None, Some(_), None) => KeyOrigin::Default,
        (None, None, None) if note.is_some() => KeyOrigin::Default,
        (None, None, None) => KeyOrigin::NotSet,
    };
    ExplainedKey { name: explained.name, value, origin, note }
}

/// Formats a duration as a profile has it.
fn seconds(length: Duration) -> String {
    let text = human(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)).replace(' ', "");
    match crate::base::clock::parse_duration(&text) {
        Ok(parsed) if parsed == length => text,
        _ => format!("{}s", length.as_secs()),
    }
}
