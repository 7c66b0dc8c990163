//! The settings of a profile, each with the place where it was written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::clock::parse_duration;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::hosts::{Host, Scheme, is_loopback};
use crate::disk::places;
use crate::disk::places::Places;

/// A profile's settings as they were written, each with its place, checked for name and form.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What complaints start with, up to the line.
    origin: String,
    /// The file that they stand in; none: the environment.
    pub file: Option<PathBuf>,
    /// Relative paths start here.
    pub directory: PathBuf,
    /// Where login sessions are, or why there is no such place.
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
    place: WrittenAt,
}

/// Where a setting was written.
#[derive(Clone, Copy, Debug)]
pub enum WrittenAt {
    /// In the profile's file.
    Line(usize),
    /// In the environment.
    Variable(&'static str),
    Unknown,
}

impl Settings {
    /// None yet, of a file.
    pub fn of_file(path: &Path, environment: &Environment, places: &Places) -> Self {
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        Self {
            origin: format!("profile {}", path.display()),
            file: Some(path.to_owned()),
            ..Self::empty(directory, environment, places)
        }
    }

    /// None yet, of the environment.
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
    pub fn add(&mut self, key: &str, values: Vec<String>, is_list: bool, place: WrittenAt) {
        self.entries.push(Entry { key: key.into(), values, is_list, place });
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// An error about a setting: file, line, key, why; without a file the variable that set it.
    pub fn error_at(&self, key: &str, why: &str) -> Error {
        match self.entry(key).map_or(WrittenAt::Unknown, |entry| entry.place) {
            WrittenAt::Line(line) => Error::profile(format!("{}:{line}: `{key}` {why}", self.origin)),
            WrittenAt::Variable(variable) => Error::profile(format!("{}: `{variable}` {why}", self.origin)),
            WrittenAt::Unknown => Error::profile(format!("{}: `{key}` {why}", self.origin)),
        }
    }

    /// An error about what is not there.
    pub fn missing(&self, why: &str) -> Error {
        Error::profile(format!("{}: {why}", self.origin))
    }

    pub fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// One text.
    ///
    /// # Errors
    /// Profile (3): it is a list, or empty.
    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.entry(key) {
            None => Ok(None),
            Some(entry) if entry.is_list => Err(self.error_at(key, "takes one text, not a list")),
            Some(entry) => match entry.values.first().map(String::as_str) {
                None | Some("") => Err(self.error_at(key, "is empty")),
                Some(text) if text.contains('\0') => Err(self.error_at(key, "holds a NUL")),
                text => Ok(text),
            },
        }
    }

    /// A list, or one text as a list of one.
    ///
    /// # Errors
    /// Profile (3): an entry is empty.
    pub fn list(&self, key: &str) -> Result<Vec<String>> {
        match self.entry(key) {
            None => Ok(Vec::new()),
            Some(entry) if entry.values.iter().any(|value| value.is_empty() || value.contains('\0')) => {
                Err(self.error_at(key, "has an empty entry"))
            }
            Some(entry) => Ok(entry.values.clone()),
        }
    }

    /// A path: `~` is the home, a relative one is relative to the profile's own directory.
    ///
    /// # Errors
    /// Profile (3): empty, or `~` without a home.
    pub fn path(&self, key: &str) -> Result<Option<PathBuf>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let path = places::expand_home(Path::new(text), self.home.as_deref()).map_err(|why| self.error_at(key, why))?;
        Ok(Some(self.directory.join(path)))
    }

    /// A duration.
    ///
    /// # Errors
    /// Profile (3).
    pub fn duration(&self, key: &str) -> Result<Option<Duration>> {
        self.text(key)?
            .map(|text| parse_duration(text).map_err(|why| self.error_at(key, &format!(": {why}"))))
            .transpose()
    }

    /// A base URL: https, or http to a loopback host; no userinfo, query or fragment; without the slash at the end. In the
    /// one spelling that a server knows itself by, since a JWT names it: small letters, without the port that goes
    /// without saying.
    ///
    /// # Errors
    /// Profile (3).
    pub fn base_url(&self, key: &str) -> Result<Option<String>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let url = text.trim_end_matches('/');
        if url.contains(['?', '#', '@', ' ', '\\']) {
            return Err(self.error_at(key, "is a base URL: scheme, host, perhaps port and path, nothing more"));
        }
        let host = url.contains("://").then(|| Host::parse(url)).flatten();
        let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
        let written = |scheme: &str, usual: u16, host: Host| {
            format!("{scheme}://{}{path}", Host { port: host.port.filter(|port| *port != usual), ..host })
        };
        match host {
            Some(host) if host.scheme == Some(Scheme::Https) => Ok(Some(written("https", 443, host))),
            Some(host) if is_loopback(&host.name) => Ok(Some(written("http", 80, host))),
            Some(_) => Err(self
                .error_at(key, "is plain http, which would show the token to the network")
                .hint("write https://…; http is for loopback alone")),
            None => Err(self.error_at(key, "is not a URL such as https://iam.example.net")),
        }
    }

    /// The value of the variable that a setting names. None: the setting is not there.
    ///
    /// # Errors
    /// Profile (3): the variable is not set, or not text.
    pub fn variable(&self, key: &str) -> Result<Option<(&str, &str)>> {
        let Some(name) = self.text(key)? else { return Ok(None) };
        match self.environment.text(name) {
            Ok(Some(value)) => Ok(Some((name, value))),
            Ok(None) => Err(self
                .error_at(key, &format!("names the variable {name}, which is not set"))
                .hint(format!("export {name}, or use another profile"))),
            Err(_) => Err(self.error_at(key, &format!("names the variable {name}, whose value is not plain text"))),
        }
    }

    /// The values of all settings whose key ends in this.
    pub fn values_of(&self, ending: &str) -> impl Iterator<Item = &str> {
        let entries = self.entries.iter().filter(move |entry| entry.key.ends_with(ending));
        entries.flat_map(|entry| entry.values.iter().map(String::as_str))
    }

    /// For a source's own look at the environment (`YC_METADATA_ADDR`).
    pub fn environment(&self) -> &Environment {
        &self.environment
    }
}
