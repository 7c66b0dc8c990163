//! Profiles: a profile determines which account's tokens to get, and how. It is a TOML file, or the environment if
//! there is no file.
//!
//! A profile is trusted like code, because it names commands, URLs and hosts. So ycred first checks who can write it.
//! Each error in a profile names the file and the line.

pub mod file;
pub mod find;
mod hint;
pub mod keys;
pub mod text;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::hosts::{Allowed, DEFAULT_ENDPOINT, Host, Pattern};
use crate::base::mask;
use crate::base::secret::Secret;
use crate::base::suggest::nearest;
use crate::base::supplied_token::{SuppliedToken, TOKEN_VARIABLES};
use crate::cache::freshness::RenewalRules;
use crate::cloud::discovery::{DISCOVER, Discovery};
use crate::cloud::iam;
use crate::cloud::installation::{Iam, Installation};
use crate::disk::places::Places;
use crate::obtain::Grant;
use crate::profile::file::ProfileFile;
use crate::profile::find::FoundProfile;
use crate::sources::login::client::LoginClient;
use crate::sources::settings::{SettingPlace, Settings};
use crate::sources::source::{Assignment, Source, SourceInput};
use crate::sources::{self, Resource, SOURCES, access_key, impersonate, r#static};
use crate::system;

/// Default of the key `timeout`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);
/// Default of the key `min-ttl`.
const DEFAULT_MIN_TTL: Duration = Duration::from_secs(60);
const DEFAULT_AUTH_URL: &str = "https://auth.yandex.cloud";

/// A profile with checked settings. Loading it makes no request and reads no secret.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Name or absolute path, also for passing the profile to another process. `None` for the environment.
    pub name: Option<String>,
    pub source: &'static Source,
    pub settings: Settings,
    pub impersonate: Vec<String>,
    pub installation: Installation,
    pub hosts: Allowed,
    pub ca_file: Option<PathBuf>,
    pub refresh_before: Option<Duration>,
    pub max_age: Option<Duration>,
    pub min_ttl: Duration,
    pub timeout: Duration,
    pub is_caching: bool,
    pub selected_by: SelectedBy,
    /// The alias that led to this profile, if one did.
    pub alias: Option<AliasPlace>,
}

/// Why a profile is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelectedBy {
    /// A flag, an argument, a variable, a link's name or a request names it.
    Named(&'static str),
    /// It is the default profile.
    Default,
    /// There is no default profile, and a variable selects the source.
    Environment(Option<&'static str>),
    /// There is no default, no variable selects a source, and there is no other profile.
    Only,
}

/// The place of an alias.
#[derive(Clone, Debug)]
pub struct AliasPlace {
    pub file: PathBuf,
    pub line: usize,
}

/// A reference to a profile. The variant determines whether a path is allowed.
#[derive(Clone, Debug)]
pub enum ProfileRef {
    /// A name or path from `--profile` or `YCRED_PROFILE`. `by` names the flag or variable, for messages.
    NameOrPath { by: &'static str, text: std::ffi::OsString },
    /// A name from a symlink's suffix or a client's input. Never a path.
    Name { by: &'static str, name: String },
    /// No reference: `default`, or the environment if there is no default profile, or the only profile.
    Unnamed,
}

impl Profile {
    /// Finds and reads a profile.
    ///
    /// # Errors
    /// Usage (2): the name is invalid. Profile (3): the profile does not exist, untrusted users can write it, or it has
    /// an error.
    pub fn load(reference: &ProfileRef, environment: &Environment, places: &Places, now: Timestamp) -> Result<Self> {
        match reference {
            ProfileRef::NameOrPath { by, text } if system::files::is_path(text) => {
                if system::files::has_misplaced_colon(text) {
                    let shown = Path::new(text).display();
                    return Err(Error::usage(format!("{by}: {shown}: a path with a colon must be absolute"))
                        .hint("use an absolute path, such as C:\\keys\\prod.toml"));
                }
                let path = std::path::absolute(Path::new(text)).map_err(|error| {
                    Error::usage(format!("{by}: cannot make {} absolute", Path::new(text).display())).because(error)
                })?;
                if !mask::is_path(&text.to_string_lossy()) && !path.exists() {
                    // Registers the text as a secret, so that no message shows it.
                    let _masked = Secret::new(text.to_string_lossy().into_owned());
                    return Err(Error::usage(format!(
                        "{by}: neither the name nor the path of a profile; it may be a secret, so it is not shown"
                    ))
                    .hint("list your profiles with `ycred list`"));
                }
                let file = find::open(&path)?.ok_or_else(|| {
                    let variable = if *by == env::YCRED_PROFILE { format!("{by}: ") } else { String::new() };
                    Error::profile(format!("{variable}profile {}: no such file", path.display()))
                        .hint("list your profiles with `ycred list`")
                })?;
                Self::read(file, path.to_string_lossy().into_owned(), environment, places, true)
                    .map(|profile| profile.named_by(by))
            }
            ProfileRef::NameOrPath { by, text } => {
                let name = text.to_str().ok_or_else(|| Error::usage(format!("{by}: the profile name is not UTF-8")))?;
                Self::named(by, name, environment, places)
            }
            ProfileRef::Name { by, name } => Self::named(by, name, environment, places),
            ProfileRef::Unnamed => Self::unnamed(environment, places, now),
        }
    }

    /// Finds what serves if no profile is named: the default profile, the environment, or the only profile.
    fn unnamed(environment: &Environment, places: &Places, now: Timestamp) -> Result<Self> {
        let default = |file| Self::read(file, find::DEFAULT.into(), environment, places, true);
        if let Some(file) = find::default_of_user(places)? {
            return default(file);
        }
        if sources::from_environment(environment, now).is_some() {
            return match find::default_of_machine(places)? {
                Some(file) => default(file),
                None => Self::from_environment(environment, places, now),
            };
        }
        let found = find::default_or_only(places)?;
        // An expired token in the environment must not lead to another account without notice.
        let expired = || TOKEN_VARIABLES.into_iter().find_map(|it| SuppliedToken::in_variable(environment, it));
        match found {
            FoundProfile::Default(file) => default(file),
            _ if let Some(expired) = expired() => Err(expired.expired_error(environment, now)),
            // It belongs to a source in the environment, and the only profile would serve another account.
            FoundProfile::Only { name, .. } if environment.get(env::YCRED_IMPERSONATE).is_some() => {
                Err(Error::profile(format!(
                    "{} is set, but no variable selects a credential source",
                    env::YCRED_IMPERSONATE
                ))
                .hint(format!(
                    "to use profile \"{name}\", which ignores {}, pass --profile {name}",
                    env::YCRED_IMPERSONATE
                )))
            }
            FoundProfile::Only { name, file } => {
                Ok(Self { selected_by: SelectedBy::Only, ..Self::read(file, name, environment, places, false)? })
            }
            FoundProfile::Several(names) => Err(find::no_default(&names)),
            FoundProfile::Nothing => Err(Self::none_found(environment, places)),
        }
    }

    /// Returns the error if there is no profile and no variable selects a source.
    fn none_found(environment: &Environment, places: &Places) -> Error {
        let directories: Vec<String> =
            places.profile_directories().map(|directory| directory.display().to_string()).collect();
        let variables = sources::variables();
        // In CI, a secret that a job may not see is an empty variable.
        let empty: Vec<&str> = variables.iter().copied().filter(|name| environment.is_empty(name)).collect();
        let note = match empty.len() {
            0 => String::new(),
            1 => format!("; {} is set, but empty", empty[0]),
            _ => format!("; {} are set, but empty", empty.join(", ")),
        };
        Error::profile(format!(
            "no profile found in {}, and none of {} is set{note}",
            directories.join(" or "),
            variables.join(", ")
        ))
        .hint(format!(
            "create a profile with `{}`, or select one with --profile; in CI, set YC_SERVICE_ACCOUNT_KEY_FILE, or \
             YCRED_SERVICE_ACCOUNT_ID for workload identity",
            find::first_command(places)
        ))
    }

    fn named(by: &'static str, name: &str, environment: &Environment, places: &Places) -> Result<Self> {
        find::check_name(name).map_err(|error| match find::near_name(name, places) {
            // What is near the name of a profile is not a secret.
            Some(near) => Error::usage(format!("{by}: \"{name}\" is not a profile name")).hint(find::near_hint(&near)),
            None if mask::is_path(name) => match find::hint_for_file(name) {
                Some(hint) => error.replace_hint(hint).context(by),
                None => error.context(by),
            },
            // It may be a secret.
            None => Error::usage(format!("{by}: this is not a profile name (not shown, because it may be a secret)"))
                .hint(error.hint_text().unwrap_or_default()),
        })?;
        let file = find::by_name(name, places)?.ok_or_else(|| {
            let error = find::not_found(name, places);
            // A flag is in sight, a variable is not.
            if by == env::YCRED_PROFILE { error.context(by) } else { error }
        })?;
        Self::read(file, name.to_owned(), environment, places, true).map(|profile| profile.named_by(by))
    }

    fn named_by(self, by: &'static str) -> Self {
        Self { selected_by: SelectedBy::Named(by), ..self }
    }

    /// Reads a profile. `follow_alias` allows the file to be an alias.
    fn read(
        file: ProfileFile,
        name: String,
        environment: &Environment,
        places: &Places,
        follow_alias: bool,
    ) -> Result<Self> {
        let table = file.parse()?;
        if let Some((target, at)) = file::alias(&file, &table)? {
            if target == name {
                return Err(file
                    .error_at(at, "an alias of itself")
                    .hint("set `use` to the name of another profile; to see them, run `ycred list`"));
            }
            if !follow_alias {
                return Err(file
                    .error_at(at, "an alias of an alias is not allowed")
                    .hint(format!("in the profile that names \"{name}\", set use = \"{target}\"")));
            }
            find::check_name(&target).map_err(|_| {
                file.error_at(at.clone(), &format!("\"{target}\" is not a profile name"))
                    .hint("set `use` to the name of a profile: 1 to 63 characters from a-z, 0-9, dot and dash")
            })?;
            let alias = AliasPlace { file: file.path.clone(), line: file.line(&at) };
            let follow = |target, found| {
                Ok(Self { alias: Some(alias), ..Self::read(found, target, environment, places, false)? })
            };
            if let Some(found) = find::by_name(&target, places)? {
                return follow(target, found);
            }
            // `ycred rename` may have changed the alias since it was read.
            return match find::by_alias(&file.path, places)? {
                Some((target, found)) => follow(target, found),
                None => Err(find::not_found(&target, places).context(format!("{}: alias", file.place(at)))),
            };
        }
        Self::from_settings(Some(name), file::settings(&file, &table, environment, places)?)
    }

    /// Reads a profile from a string, before it is written to `path`.
    ///
    /// # Errors
    /// Profile (3): the profile has an error or is an alias.
    pub fn from_text(name: &str, path: &Path, text: &str, environment: &Environment, places: &Places) -> Result<Self> {
        Self::read(
            ProfileFile { path: path.to_owned(), text: text.to_owned() },
            name.to_owned(),
            environment,
            places,
            false,
        )
    }

    /// Creates a profile from the environment (docs/profiles.md). Does not probe the metadata service: a variable must
    /// select it.
    ///
    /// # Errors
    /// Profile (3): no variable selects a source, or the value of a variable is wrong.
    pub fn from_environment(environment: &Environment, places: &Places, now: Timestamp) -> Result<Self> {
        let mut settings = Settings::of_environment(environment, places);
        let Some((source, assignments)) = sources::from_environment(environment, now) else {
            return Err(Self::none_found(environment, places));
        };
        let mut add = |key, value: String, place| settings.add(key, vec![value], false, place);
        let selected_by = assignments.first().map(Assignment::variable);
        add("source", source.name.to_owned(), SettingPlace::Unknown);
        for assignment in assignments {
            match assignment {
                Assignment::Value { key, variable, value } => add(key, value, SettingPlace::Variable(variable)),
                Assignment::VariableName { key, variable } => add(key, variable.to_owned(), SettingPlace::Unknown),
            }
        }
        for (variable, key) in keys::COMMON_VARIABLES {
            let value = environment.text(variable).map_err(|_| Error::profile(format!("{variable} is not UTF-8")))?;
            let place = SettingPlace::Variable(variable);
            match value {
                Some(value) if key == "impersonate" => {
                    let accounts = value.split(',').map(|account| account.trim().to_owned()).collect();
                    settings.add(key, accounts, true, place);
                }
                Some(value) => settings.add(key, vec![value.to_owned()], false, place),
                None => {}
            }
        }
        Ok(Self { selected_by: SelectedBy::Environment(selected_by), ..Self::from_settings(None, settings)? })
    }

    fn from_settings(name: Option<String>, settings: Settings) -> Result<Self> {
        let source = source_of(&settings)?;
        let endpoint = settings.text("endpoint")?.unwrap_or(DEFAULT_ENDPOINT);
        let endpoint = Endpoint::parse(endpoint).ok_or_else(|| {
            settings.error_at(
                "endpoint",
                "must be a host such as api.cloud.yandex.net, with an optional port and without a scheme",
            )
        })?;
        let iam = match settings.text("iam-url")? {
            Some(DISCOVER) => Iam::Discovered(Discovery::of(endpoint.to_string())),
            _ => {
                let url = settings.base_url("iam-url");
                let url = url.map_err(|error| {
                    error.hint(format!("set a base URL, or \"{DISCOVER}\" to ask the endpoint for it"))
                })?;
                Iam::At(url.unwrap_or_else(|| format!("https://iam.{endpoint}")))
            }
        };
        let auth_url = settings.base_url("auth-url")?.unwrap_or_else(|| DEFAULT_AUTH_URL.to_owned());
        let audience = settings.text("audience")?.map(str::to_owned);
        let listed = settings.list("hosts")?;
        let listed = listed
            .iter()
            .map(|host| Pattern::parse(host).map_err(|why| settings.error_at("hosts", &format!("\"{host}\" {why}"))))
            .collect::<Result<Vec<_>>>()?;
        let impersonate = settings.list("impersonate")?;
        if let Some(account) = impersonate.iter().find(|account| !iam::is_account_id(account)) {
            return Err(settings.error_at("impersonate", &format!("\"{account}\" is not the ID of a service account")));
        }
        if settings.has("impersonate") && impersonate.is_empty() {
            let why = "is empty: name a service account, or remove the key to use the source's own account";
            return Err(settings.error_at("impersonate", why));
        }
        let timeout = settings.duration("timeout")?.unwrap_or(DEFAULT_TIMEOUT);
        if timeout < Duration::from_secs(1) {
            return Err(settings.error_at("timeout", "must be at least 1s"));
        }
        let is_caching = match settings.text("cache")? {
            None | Some("file") => true,
            Some("none") => false,
            Some(_) => return Err(settings.error_at("cache", "must be \"file\" or \"none\"")),
        };
        Ok(Self {
            name,
            source,
            impersonate,
            installation: Installation::new(iam, auth_url, audience),
            hosts: Allowed::new(&endpoint.host, &listed),
            ca_file: settings.path("ca-file")?,
            refresh_before: settings.duration("refresh-before")?,
            max_age: settings.duration("max-age")?.or(source.max_age),
            min_ttl: settings.duration("min-ttl")?.unwrap_or(DEFAULT_MIN_TTL),
            timeout,
            is_caching,
            selected_by: SelectedBy::Default,
            alias: None,
            settings,
        })
    }

    /// Replaces the source by the token in the environment, if `exec` has supplied it for this profile and has removed a
    /// variable that the source reads.
    ///
    /// # Errors
    /// Profile (3): that token has expired.
    pub fn or_supplied_token(self, environment: &Environment, now: Timestamp) -> Result<Self> {
        let removed = self.secret_variables().find(|variable| environment.get(variable).is_none());
        let supplied = self.name.as_deref().and_then(|name| SuppliedToken::for_profile(environment, name));
        let (Some(removed), Some(supplied)) = (removed, supplied) else { return Ok(self) };
        if supplied.is_expired(now) {
            return Err(Error::profile(format!(
                "{self}: the token that `ycred exec` supplied expired at {}, and it cannot be renewed here: `ycred exec` \
                 removed the variable {removed}, which the profile reads",
                supplied.expires
            ))
            .hint(format!("set {removed} again, or run the program again with `ycred exec`")));
        }
        let settings = self.settings.replaced_by(r#static::TOKEN_ENV, supplied.variable);
        Ok(Self { source: &r#static::SOURCE, impersonate: Vec::new(), settings, ..self })
    }

    /// Returns the URLs of the servers that a fetch asks through a proxy or over TLS.
    pub fn asked_urls(&self) -> Vec<String> {
        let [iam, auth] = self.installation.known_urls();
        let source = match self.source.name {
            "metadata" | "static" | "command" => None,
            "login" | "workload" => Some(auth),
            _ => Some(iam.clone()),
        };
        let impersonation = (!self.impersonate.is_empty()).then_some(iam);
        source.into_iter().chain(impersonation).collect()
    }

    /// Returns the input for [`Source::open`].
    pub fn source_input<'a>(&'a self, subject: Option<&'a Secret>) -> SourceInput<'a> {
        SourceInput {
            settings: &self.settings,
            installation: &self.installation,
            ca_file: self.ca_file.as_deref(),
            rules: RenewalRules { refresh_before: self.refresh_before, max_age: self.max_age },
            is_caching: self.is_caching,
            name: self.name.as_deref(),
            label: self,
            subject,
        }
    }

    /// Opens the grant of the source, wrapped in one grant for each account to impersonate.
    ///
    /// # Errors
    /// Profile (3): a setting is wrong or missing.
    pub fn open(&self) -> Result<Box<dyn Grant>> {
        self.open_for(None)
    }

    /// [`Self::open`], with the subject token from the client's request.
    ///
    /// # Errors
    /// As [`Self::open`]; or there is a subject token and the source cannot use it.
    pub fn open_for(&self, subject: Option<&Secret>) -> Result<Box<dyn Grant>> {
        // The client expects a token with the subject's permissions. One with the permissions of the profile's account
        // would be wrong.
        if subject.is_some() && !self.source.takes_subject {
            let name = self.source.name;
            return Err(Error::profile(format!(
                "{self}: the request contains a service account token, but source \"{name}\" cannot use it"
            ))
            .hint(
                "use a profile with source = \"workload\", or make the client send no token (kubelet: remove tokenAttributes)",
            ));
        }
        let input = self.source_input(subject);
        let source_grant = (self.source.open)(&input)?;
        Ok(self.impersonate.iter().fold(source_grant, |inner, account| impersonate::link(inner, account, &input)))
    }

    /// Opens the grant for a token or an access key. `home` replaces `~` in the policy's path.
    ///
    /// # Errors
    /// As [`Self::open`]. Usage (2): the policy's path is wrong.
    pub fn open_resource(&self, resource: &Resource, home: Option<&Path>) -> Result<Box<dyn Grant>> {
        match resource {
            Resource::Token { subject } => self.open_for(subject.as_ref()),
            Resource::AccessKey(request) => access_key::link(self.open()?, request, &self.source_input(None), home),
        }
    }

    /// Returns the login client if the source needs a person to log in.
    ///
    /// # Errors
    /// As [`LoginClient::of`].
    pub fn login(&self) -> Result<Option<LoginClient>> {
        self.source.needs_login.then(|| LoginClient::of(&self.source_input(None))).transpose()
    }

    /// Returns the variables that this profile reads secrets from. `exec` removes them from its child's environment.
    pub fn secret_variables(&self) -> impl Iterator<Item = &str> {
        let fixed = self.source.secret_variables.iter().filter(|(key, _)| self.settings.has(key));
        self.settings.values_of("-env").chain(fixed.map(|(_, variable)| *variable))
    }
}

fn source_of(settings: &Settings) -> Result<&'static Source> {
    let names = || SOURCES.iter().map(|source| source.name).collect::<Vec<_>>();
    let choices = || format!("use one of {}", names().join(", "));
    let Some(name) = settings.text("source").map_err(|error| error.hint(choices()))? else {
        return Err(settings
            .missing("missing `source`")
            .hint(format!("set `source` to one of {}", names().join(", "))));
    };
    sources::named(name).ok_or_else(|| {
        let why = format!("\"{name}\" is not a source");
        let hint =
            nearest(name, names().iter().copied()).map_or_else(choices, |known| format!("did you mean \"{known}\"?"));
        settings.error_at("source", &why).hint(hint)
    })
}

/// Writes `profile prod`, or `the environment (VARIABLE)` without a profile, for messages.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.selected_by) {
            (Some(name), _) => write!(f, "profile {name}"),
            (None, SelectedBy::Environment(Some(variable))) => write!(f, "the environment ({variable})"),
            (None, _) => f.write_str("the environment"),
        }
    }
}

/// The `host[:port]` of an installation. Port 443 is the default and is removed.
struct Endpoint {
    host: String,
    port: Option<u16>,
}

impl Endpoint {
    fn parse(text: &str) -> Option<Self> {
        // Not parsed, because almost every hit has this one.
        if text == DEFAULT_ENDPOINT {
            return Some(Self { host: text.to_owned(), port: None });
        }
        if text.contains(['/', '@', '?', '#']) {
            return None;
        }
        let host = Host::parse(text)?;
        Some(Self { host: host.name, port: host.port.filter(|port| *port != 443) })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::identity::Identity;

    fn installation(text: &str) -> Profile {
        let (environment, places) = (Environment::default(), Places::none());
        let text = format!("source = \"authorized-key\"\nkey-file = \"key.json\"\n{text}");
        Profile::from_text("x", Path::new("/c/x.toml"), &text, &environment, &places).expect("a profile")
    }

    #[test]
    fn each_installation_has_its_own_iam_audience_and_registries() {
        let host = |text: &str| Host::parse(text).expect("a host");
        for (text, audience, registry) in [
            ("", "https://iam.api.cloud.yandex.net/iam/v1/tokens", Some("cr.yandex")),
            (
                "endpoint = \"api.cloud.yandex.net:443\"\n",
                "https://iam.api.cloud.yandex.net/iam/v1/tokens",
                Some("registry.yandexcloud.net"),
            ),
            (
                "endpoint = \"api.yandexcloud.kz\"\n",
                "https://iam.api.yandexcloud.kz/iam/v1/tokens",
                Some("cr.yandexcloud.kz"),
            ),
            (
                "endpoint = \"api.yandexcloud.kz:443\"\n",
                "https://iam.api.yandexcloud.kz/iam/v1/tokens",
                Some("cr.yandexcloud.kz"),
            ),
            ("endpoint = \"api.cloud.example:8443\"\n", "https://iam.api.cloud.example:8443/iam/v1/tokens", None),
            ("iam-url = \"https://iam.example/\"\n", "https://iam.example/iam/v1/tokens", Some("cr.yandex")),
            (
                "iam-url = \"HTTPS://IAM.Example:443/a/B//\"\n",
                "https://iam.example/a/B/iam/v1/tokens",
                Some("cr.yandex"),
            ),
            ("iam-url = \"https://[0:0::1]:8443\"\n", "https://[::1]:8443/iam/v1/tokens", Some("cr.yandex")),
            ("iam-url = \"HTTP://LOCALHOST:80\"\n", "http://localhost/iam/v1/tokens", Some("cr.yandex")),
            ("iam-url = \"http://localhost:443\"\n", "http://localhost:443/iam/v1/tokens", Some("cr.yandex")),
            ("endpoint = \"api.yandexcloud.kz\"\naudience = \"x\"\n", "x", Some("cr.yandexcloud.kz")),
        ] {
            let profile = installation(text);
            assert_eq!(profile.installation.known_audience().as_deref(), Some(audience), "{text}");
            for name in ["cr.yandex", "registry.yandexcloud.net", "cr.yandexcloud.kz"] {
                let russian = registry.is_some_and(|registry| registry != "cr.yandexcloud.kz");
                let expected = Some(name) == registry || russian && name != "cr.yandexcloud.kz";
                assert_eq!(profile.hosts.covers(&host(name)), expected, "{text}: {name}");
            }
        }
    }

    #[test]
    fn identities_with_discovery_depend_on_the_endpoint() {
        let settings = |text: &str| installation(text).installation.identify(Identity::of("x")).settings();
        let plain = settings("");
        let discovered = settings("iam-url = \"discover\"\n");
        let elsewhere = settings("iam-url = \"discover\"\nendpoint = \"api.yandexcloud.kz\"\n");
        assert!(discovered.contains("discover https://api.cloud.yandex.net/endpoints"), "{discovered}");
        assert!(plain != discovered && discovered != elsewhere, "{elsewhere}");
        let discovered = installation("iam-url = \"discover\"\n").installation;
        assert_eq!(discovered.known_audience(), None, "unknown before discovery");
        let set = installation("iam-url = \"discover\"\naudience = \"x\"\n").installation;
        assert_eq!(set.known_audience().as_deref(), Some("x"));
    }

    #[test]
    fn an_endpoint_may_have_a_port() {
        let url = |text: &str| Endpoint::parse(text).map(|endpoint| format!("https://iam.{endpoint}"));
        assert_eq!(url("api.cloud.yandex.net").as_deref(), Some("https://iam.api.cloud.yandex.net"));
        assert_eq!(url("api.cloud.yandex.net:443").as_deref(), Some("https://iam.api.cloud.yandex.net"));
        assert_eq!(url("API.example:8443").as_deref(), Some("https://iam.api.example:8443"));
        for bad in ["https://api.cloud.yandex.net", "api/x", "a@b", "", "api.cloud.yandex.net:x"] {
            assert_eq!(url(bad), None, "{bad}");
        }
    }
}
