//! The settings of a profile. Each setting remembers its line or variable, for messages.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::clock::parse_duration;
use crate::base::environment::{self as env, Environment};
use crate::base::error::{Error, Result};
use crate::base::hosts::{Host, Scheme, is_loopback};
use crate::base::mask;
use crate::base::secret::Secret;
use crate::disk::places;
use crate::disk::places::Places;
use crate::system::fixes;

/// The settings of a profile, with the keys already checked. The getters check the values.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Prefix of error messages, before the line number: `profile PATH` or `the environment`.
    origin: String,
    /// The profile's file. `None` for settings from the environment.
    pub file: Option<PathBuf>,
    /// Base of relative paths.
    pub directory: PathBuf,
    /// The directory of logins, or the reason why it does not exist.
    pub state: Result<PathBuf, String>,
    home: Option<PathBuf>,
    entries: Vec<Entry>,
    environment: Environment,
}

#[derive(Clone, Debug)]
struct Entry {
    key: String,
    values: Vec<String>,
    is_list: bool,
    place: SettingPlace,
}

/// The place that a setting was read from.
#[derive(Clone, Copy, Debug)]
pub enum SettingPlace {
    /// A line of the profile's file, counted from 1.
    Line(usize),
    /// An environment variable.
    Variable(&'static str),
    Unknown,
}

impl Settings {
    /// Creates an empty set of settings for a file.
    pub fn of_file(path: &Path, environment: &Environment, places: &Places) -> Self {
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        Self {
            origin: format!("profile {}", path.display()),
            file: Some(path.to_owned()),
            ..Self::empty(directory, environment, places)
        }
    }

    /// Creates an empty set of settings for the environment.
    pub fn of_environment(environment: &Environment, places: &Places) -> Self {
        Self::empty(std::env::current_dir().unwrap_or_default(), environment, places)
    }

    fn empty(directory: PathBuf, environment: &Environment, places: &Places) -> Self {
        Self {
            origin: "the environment".into(),
            file: None,
            state: places.state.clone(),
            directory,
            home: places.home.clone(),
            entries: Vec::new(),
            environment: environment.clone(),
        }
    }

    /// Adds a setting.
    pub fn add(&mut self, key: &str, values: Vec<String>, is_list: bool, place: SettingPlace) {
        values.iter().for_each(|value| Secret::hide_multiline(value));
        self.entries.push(Entry { key: key.into(), values, is_list, place });
    }

    /// Returns a copy that contains only this setting.
    #[must_use]
    pub fn replaced_by(&self, key: &str, value: &str) -> Self {
        let mut replaced = Self { entries: Vec::new(), ..self.clone() };
        replaced.add(key, vec![value.to_owned()], false, SettingPlace::Unknown);
        replaced
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Returns an error about a setting, with file, line and key; or with the variable if there is no file.
    pub fn error_at(&self, key: &str, why: &str) -> Error {
        match self.entry(key).map_or(SettingPlace::Unknown, |entry| entry.place) {
            SettingPlace::Line(line) => Error::profile(format!("{}:{line}: `{key}` {why}", self.origin)),
            SettingPlace::Variable(variable) => Error::profile(format!("{}: `{variable}` {why}", self.origin)),
            SettingPlace::Unknown => Error::profile(format!("{}: `{key}` {why}", self.origin)),
        }
    }

    /// Returns the variable that a setting was read from.
    pub fn variable_of(&self, key: &str) -> Option<&'static str> {
        match self.entry(key)?.place {
            SettingPlace::Variable(variable) => Some(variable),
            SettingPlace::Line(_) | SettingPlace::Unknown => None,
        }
    }

    /// Returns the place of a setting.
    pub fn place_of(&self, key: &str) -> Option<SettingPlace> {
        self.entry(key).map(|entry| entry.place)
    }

    /// Returns where a setting is, for people. `None` if it is not set, or in an unknown place.
    pub fn place_in_words(&self, key: &str) -> Option<String> {
        match self.entry(key)?.place {
            SettingPlace::Line(line) => Some(format!("`{key}` in {}:{line}", self.origin)),
            SettingPlace::Variable(variable) => Some(format!("in {variable}")),
            SettingPlace::Unknown => None,
        }
    }

    /// Returns the values of a setting as they are written, and whether they are a list. They may be secrets in the wrong place.
    pub fn raw(&self, key: &str) -> Option<(&[String], bool)> {
        self.entry(key).map(|entry| (entry.values.as_slice(), entry.is_list))
    }

    /// Returns the keys of all settings.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }

    /// Returns an error about a missing setting, or about several settings.
    pub fn missing(&self, why: &str) -> Error {
        Error::profile(format!("{}: {why}", self.origin))
    }

    pub fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Returns a string.
    ///
    /// # Errors
    /// Profile (3): the value is a list, is empty or contains NUL.
    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.entry(key) {
            None => Ok(None),
            Some(entry) if entry.is_list => Err(self.error_at(key, "must be a string, not a list")),
            Some(entry) => match entry.values.first().map(String::as_str) {
                None | Some("") => Err(self.error_at(key, "is empty")),
                Some(text) if text.contains('\0') => Err(self.error_at(key, "contains a NUL character")),
                Some(text) if mask::looks_like_secret(text) => Err(self.misplaced_secret(key, text)),
                text => Ok(text),
            },
        }
    }

    /// Returns the error for a value that seems to be a secret, and makes sure that no message contains it.
    fn misplaced_secret(&self, key: &str, text: &str) -> Error {
        let _masked = Secret::new(text.to_owned());
        let error = self.error_at(key, "looks like a secret, so its value is not shown");
        if key.ends_with("-env") {
            error.hint(format!("set `{key}` to the name of the variable that contains the secret"))
        } else if key.ends_with("-file") {
            self.hint_for_path(key, error)
        } else {
            error.hint("correct the value; a secret belongs into a file or a variable")
        }
    }

    fn hint_for_path(&self, key: &str, error: Error) -> Error {
        match self.entry(key).map(|entry| entry.place) {
            Some(SettingPlace::Variable(variable)) if key == "key-file" => {
                error.hint(format!("set {variable} to the path of the key file, or to the JSON in that file"))
            }
            Some(SettingPlace::Variable(variable)) => error.hint(format!("set {variable} to the path of a file")),
            _ => error.hint(format!("set `{key}` to the path of a file; if it has no slash, write ./NAME")),
        }
    }

    /// Returns a list of strings. A single string is a list of one.
    ///
    /// # Errors
    /// Profile (3): an entry is empty or contains NUL.
    pub fn list(&self, key: &str) -> Result<Vec<String>> {
        match self.entry(key) {
            None => Ok(Vec::new()),
            Some(entry) if entry.values.iter().any(|value| value.is_empty() || value.contains('\0')) => {
                Err(self.error_at(key, "has an entry that is empty or contains NUL"))
            }
            Some(entry) => Ok(entry.values.clone()),
        }
    }

    /// Tells the user how to allow a host in the profile. Shows the whole `hosts` line, because a second line with this key
    /// would be an error.
    pub fn edit_for_host(&self, host: &str) -> String {
        let Some(file) = &self.file else {
            return format!("use a profile that lists the host: hosts = [\"{host}\"]");
        };
        let listed = self.list("hosts").unwrap_or_default();
        let hosts: Vec<String> =
            listed.iter().map(String::as_str).chain([host]).map(|host| format!("\"{host}\"")).collect();
        let verb = if self.has("hosts") { "change the line to" } else { "add the line" };
        format!("in {}, {verb}: hosts = [{}]", file.display(), hosts.join(", "))
    }

    /// Returns an absolute path. `~` is the home directory; a relative path starts at the profile's directory.
    ///
    /// # Errors
    /// As [`Self::text`]; the value cannot be a path and may be a secret; or the path starts with `~` and there is no
    /// home directory.
    pub fn path(&self, key: &str) -> Result<Option<PathBuf>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let path = places::expand_home(Path::new(text), self.home.as_deref()).map_err(|why| self.error_at(key, why))?;
        let path = self.directory.join(path);
        // `text` has refused what looks like a secret.
        if !mask::has_form_of_path(text) && !path.exists() {
            let _masked = Secret::new(text.to_owned());
            let what = if key == "key-file" { "the path of a file nor a key in JSON" } else { "the path of a file" };
            let not = if key == "key-file" { "neither" } else { "not" };
            let error = self.error_at(key, &format!("is {not} {what}; it may be a secret, so it is not shown"));
            return Err(self.hint_for_path(key, error));
        }
        Ok(Some(path))
    }

    /// Returns a duration.
    ///
    /// # Errors
    /// As [`Self::text`]; or the value is not a duration.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>> {
        self.text(key)?.map(|text| parse_duration(text).map_err(|why| self.error_at(key, &why))).transpose()
    }

    /// Returns a base URL: https, or http to a loopback host, without userinfo, query or fragment.
    ///
    /// The URL is normalized: scheme and host in lower case, no default port, no slash at the end. It may become the
    /// audience of a JWT, and the server accepts only this spelling.
    ///
    /// # Errors
    /// As [`Self::text`]; or the value is not such a URL.
    pub fn base_url(&self, key: &str) -> Result<Option<String>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let url = text.trim_end_matches('/');
        if url.contains(['?', '#', '@', ' ', '\\']) {
            return Err(self.error_at(key, "must contain only scheme, host, optional port and optional path"));
        }
        let host = url.contains("://").then(|| Host::parse(url)).flatten();
        let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
        let normalized = |scheme: &str, default_port: u16, host: Host| {
            format!("{scheme}://{}{path}", Host { port: host.port.filter(|port| *port != default_port), ..host })
        };
        match host {
            Some(host) if host.scheme == Some(Scheme::Https) => Ok(Some(normalized("https", 443, host))),
            Some(host) if is_loopback(&host.name) => Ok(Some(normalized("http", 80, host))),
            Some(_) => Err(self
                .error_at(key, "uses plain http, which would expose the token on the network")
                .hint("use https://…; http is allowed only for loopback addresses")),
            None => Err(self.error_at(key, "is not a URL such as https://iam.example.net")),
        }
    }

    /// Returns the name and value of the variable that a setting names. Returns `None` if the setting is missing.
    ///
    /// # Errors
    /// As [`Self::text`]; or the variable is not set or not UTF-8.
    pub fn variable(&self, key: &str) -> Result<Option<(&str, &str)>> {
        let Some(name) = self.text(key)? else { return Ok(None) };
        match self.environment.text(name) {
            Ok(Some(value)) => Ok(Some((name, value))),
            Ok(None) if !is_variable_name(name) => Err(self.misplaced_secret(key, name)),
            Ok(None) => Err(self
                .error_at(
                    key,
                    &match self.environment.is_empty(name) {
                        true => format!("names the variable {name}, which is set, but empty"),
                        false => format!("names the variable {name}, which is not set"),
                    },
                )
                .hint(match self.environment.get(env::YCRED_TOKEN_ID) {
                    // The token that `exec` supplied is not used for a profile that a flag names.
                    Some(_) => {
                        let set = fixes::set(name, "VALUE");
                        format!("`ycred exec` may have removed it: {set} in the program's environment")
                    }
                    None => format!("{}, or use another profile", fixes::set(name, "VALUE")),
                })),
            Err(_) => Err(self.error_at(key, &format!("names the variable {name}, which is not UTF-8"))),
        }
    }

    /// Returns the values of all settings with a key that ends in `ending`.
    pub fn values_of(&self, ending: &str) -> impl Iterator<Item = &str> {
        // `command-env` names variables that a program reads, not ycred.
        let is_one = move |entry: &&Entry| entry.key.ends_with(ending) && entry.key != "command-env";
        let entries = self.entries.iter().filter(is_one);
        entries.flat_map(|entry| entry.values.iter().map(String::as_str))
    }

    /// Returns the environment, for sources that read variables directly (`YC_METADATA_ADDR`).
    pub fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// Returns true if a shell could set a variable of this name.
fn is_variable_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && name.len() <= 64
}
