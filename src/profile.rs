//! Finds, judges and reads a profile: the file that says whose token it is, or the environment where there is none.
//!
//! A profile is trusted like code (it names commands, URLs, hosts), so who may write it is checked first; and every
//! complaint about its content names the file and the line.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::base::clock::parse_duration;
use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::hosts::{Allowed, DEFAULT_ENDPOINT, Host, Pattern, Scheme, is_loopback};
use crate::cloud::discovery::{Discovery, WORD as DISCOVER};
use crate::cloud::installation::{Iam, Installation};
use crate::disk::files;
use crate::disk::places::Places;
use crate::source::{Source, workload};
use crate::{source, system};

/// The deadline of a run where nothing else is said.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);
const DEFAULT_AUTH_URL: &str = "https://auth.yandex.cloud";

/// One setting that a profile may have.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    /// What stands for the value in help and man page.
    pub value: &'static str,
    pub about: &'static str,
}

/// The settings that any source may have, next to `source`; a source adds its own.
pub const COMMON_KEYS: &[Key] = &[
    Key { name: "impersonate", value: "ACCOUNT", about: "service account to become; a list is a chain" },
    Key { name: "endpoint", value: "HOST", about: "installation root: api.cloud.yandex.net, api.yandexcloud.kz" },
    Key {
        name: "iam-url",
        value: "URL",
        about: "base URL in place of https://iam.<endpoint>; \"discover\" asks the endpoint",
    },
    Key { name: "auth-url", value: "URL", about: "base URL in place of https://auth.yandex.cloud" },
    Key { name: "audience", value: "TEXT", about: "the JWT's aud; default the URL that the JWT is sent to" },
    Key { name: "ca-file", value: "FILE", about: "PEM certificates to trust in addition to the usual roots" },
    Key { name: "hosts", value: "HOST", about: "further hosts that the token may go to: host, host:port, *.domain" },
    Key {
        name: "refresh-before",
        value: "DURATION",
        about: "renew when less than this is left; default a tenth of the life",
    },
    Key {
        name: "max-age",
        value: "DURATION",
        about: "renew what is older than this; default 60s metadata, 5m command, else none",
    },
    Key { name: "min-ttl", value: "DURATION", about: "fetch first when less than this is left; default 60s" },
    Key { name: "timeout", value: "DURATION", about: "one deadline for everything that a run does; default 20s" },
    Key { name: "cache", value: "file|none", about: "whether tokens are kept on disk" },
];

/// The variables that stand for these keys where there is no profile file, whatever the source.
const COMMON_VARIABLES: [(&str, &str); 3] =
    [(env::YC_ENDPOINT, "endpoint"), (env::YCRED_AUTH_URL, "auth-url"), (env::YCRED_IMPERSONATE, "impersonate")];
/// And those of one source each.
const OWN_VARIABLES: [(&str, &str); 3] = [
    (env::YC_SERVICE_ACCOUNT_KEY_FILE, "key-file"),
    (env::YCRED_SERVICE_ACCOUNT_ID, "service-account-id"),
    (env::YCRED_SUBJECT_TOKEN_FILE, "subject-token-file"),
];

/// A profile that has been read: settings checked for form, nothing fetched, no secret read.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What to call it when another program is to use the same one: a name, or an absolute path. None: the environment.
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
    pub cached: bool,
}

/// How a profile was asked for, which decides what may be in the name.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// `--profile` or `YCRED_PROFILE`, named in complaints: a name or a path.
    Typed { by: &'static str, text: std::ffi::OsString },
    /// A symlink's suffix or a client's input: a name, never a path.
    Given { by: &'static str, name: String },
    /// Nobody named one: `default`, or the environment where there is none.
    Unnamed,
}

impl Profile {
    /// Finds and reads the profile that is wanted.
    ///
    /// # Errors
    /// Usage (2) for a name that cannot be one; Profile (3) for one that is not there, that others may write, or that
    /// is wrong, with file and line.
    pub fn load(wanted: &Wanted, environment: &Environment, places: &Places) -> Result<Self> {
        match wanted {
            Wanted::Typed { by, text } if has_separator(text) => {
                let path = std::path::absolute(Path::new(text)).map_err(|error| {
                    Error::usage(format!("{by}: cannot make {} absolute", Path::new(text).display())).because(error)
                })?;
                let found = open(&path)?.ok_or_else(|| {
                    Error::profile(format!("profile {}: no such file", path.display()))
                        .hint("`ycred list` shows the profiles that there are")
                })?;
                Self::read(found, path.to_string_lossy().into_owned(), environment, places, true)
            }
            Wanted::Typed { by, text } => {
                let name =
                    text.to_str().ok_or_else(|| Error::usage(format!("{by}: a profile's name is plain text")))?;
                Self::named(by, name, environment, places)
            }
            Wanted::Given { by, name } => Self::named(by, name, environment, places),
            Wanted::Unnamed => match find("default", places)? {
                Some(found) => Self::read(found, "default".into(), environment, places, true),
                None => Self::from_environment(environment, places),
            },
        }
    }

    fn named(by: &str, name: &str, environment: &Environment, places: &Places) -> Result<Self> {
        check_name(name).map_err(|error| error.context(by))?;
        let found = find(name, places)?.ok_or_else(|| not_found(name, places))?;
        Self::read(found, name.to_owned(), environment, places, true)
    }

    fn read(found: Found, name: String, environment: &Environment, places: &Places, follow: bool) -> Result<Self> {
        let source_file = SourceFile { path: found.path.clone(), text: found.text };
        let table = source_file.parse()?;
        if let Some((target, at)) = alias(&source_file, &table)? {
            if !follow {
                return Err(source_file
                    .complain(at, "an alias of an alias")
                    .hint("name the profile that is meant itself"));
            }
            check_name(&target).map_err(|_| {
                source_file
                    .complain(at.clone(), &format!("\"{target}\" is not a profile's name"))
                    .hint("an alias names a profile: 1 to 63 of a-z, 0-9, dot and dash")
            })?;
            let found = find(&target, places)?
                .ok_or_else(|| not_found(&target, places).context(format!("{}: alias", source_file.place(at))))?;
            return Self::read(found, target, environment, places, false);
        }
        Self::from_settings(Some(name), Settings::from_table(&source_file, &table, environment, places)?)
    }

    /// Reads a profile that is not written yet.
    ///
    /// # Errors
    /// Profile (3).
    pub fn from_text(name: &str, path: &Path, text: &str, environment: &Environment, places: &Places) -> Result<Self> {
        Self::read(Found { path: path.to_owned(), text: text.to_owned() }, name.to_owned(), environment, places, false)
    }

    /// The environment in a profile's place (docs/profiles.md); metadata is never probed unasked.
    ///
    /// # Errors
    /// Profile (3): nothing in it says whose token is wanted, or what says so is wrong.
    pub fn from_environment(environment: &Environment, places: &Places) -> Result<Self> {
        let mut settings = Settings::of_environment(environment, places);
        let Some((source, values)) = source::from_environment(environment) else {
            let wanted = [
                env::YC_IAM_TOKEN,
                env::YC_SERVICE_ACCOUNT_KEY_FILE,
                env::YC_TOKEN,
                env::YC_OAUTH_TOKEN,
                env::YCRED_SERVICE_ACCOUNT_ID,
                env::YC_METADATA_ADDR,
            ];
            return Err(Error::profile(format!(
                "no profile: no {}, and none of {} is set",
                places
                    .profile_candidates("default")
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", no "),
                wanted.join(", ")
            ))
            .hint("run `ycred init --key-file FILE` to make one, or name one with --profile"));
        };
        settings.set("source", source.name);
        for (key, value) in values {
            settings.set(key, &value);
        }
        for (variable, key) in COMMON_VARIABLES {
            let value =
                environment.text(variable).map_err(|_| Error::profile(format!("{variable} is not plain text")))?;
            match value {
                Some(value) if key == "impersonate" => {
                    settings.set_list(key, value.split(',').map(|account| account.trim().to_owned()).collect());
                }
                Some(value) => settings.set(key, value),
                None => {}
            }
        }
        Self::from_settings(None, settings)
    }

    fn from_settings(name: Option<String>, settings: Settings) -> Result<Self> {
        let source = settings.source()?;
        let endpoint = settings.text("endpoint")?.unwrap_or(DEFAULT_ENDPOINT);
        let endpoint = Endpoint::parse(endpoint).ok_or_else(|| {
            settings.complain(
                "endpoint",
                "is not a host such as api.cloud.yandex.net, with or without port, without scheme",
            )
        })?;
        let iam = match settings.text("iam-url")? {
            Some(DISCOVER) => Iam::Discovered(Discovery::of(endpoint.to_string())),
            _ => {
                let url = settings.base_url("iam-url");
                let url = url.map_err(|error| error.hint(format!("or write \"{DISCOVER}\", to ask the endpoint")))?;
                Iam::At(url.unwrap_or_else(|| format!("https://iam.{endpoint}")))
            }
        };
        let auth_url = settings.base_url("auth-url")?.unwrap_or_else(|| DEFAULT_AUTH_URL.to_owned());
        let audience = settings.text("audience")?.map(str::to_owned);
        let listed = settings.list("hosts")?;
        let listed = listed
            .iter()
            .map(|host| Pattern::parse(host).map_err(|why| settings.complain("hosts", &format!("\"{host}\" {why}"))))
            .collect::<Result<Vec<_>>>()?;
        let impersonate = settings.list("impersonate")?;
        if let Some(account) = impersonate.iter().find(|account| !is_account_id(account)) {
            return Err(settings.complain("impersonate", &format!("\"{account}\" is not a service account's id")));
        }
        let timeout = settings.duration("timeout")?.unwrap_or(DEFAULT_TIMEOUT);
        if timeout < Duration::from_secs(1) {
            return Err(settings.complain("timeout", "is shorter than one second"));
        }
        let cached = match settings.text("cache")? {
            None | Some("file") => true,
            Some("none") => false,
            Some(_) => return Err(settings.complain("cache", "is neither \"file\" nor \"none\"")),
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
            min_ttl: settings.duration("min-ttl")?.unwrap_or(Duration::from_secs(60)),
            timeout,
            cached,
            settings,
        })
    }
}

/// `profile prod` or `the environment`, for messages.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "profile {name}"),
            None => f.write_str("the environment's profile"),
        }
    }
}

// ----------------------------------------------------------------------------------------------------------------- names

fn has_separator(text: &OsStr) -> bool {
    text.as_encoded_bytes().contains(&b'/')
}

/// Checks a profile's name: `[a-z0-9][a-z0-9.-]{0,62}`. Terraform finds no helper whose name has capitals or `_v`.
///
/// # Errors
/// Usage (2).
pub fn check_name(name: &str) -> Result<()> {
    if Path::new(name).extension().is_some_and(|ending| ending == "toml") {
        return Err(Error::usage(format!("\"{name}\" looks like a file, and a name has no .toml"))
            .hint(format!("for the file write ./{name}, for the profile {}", name.trim_end_matches(".toml"))));
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let fits = matches!(bytes.first(), Some(first) if allowed(*first))
        && bytes.len() <= 63
        && bytes.iter().all(|byte| allowed(*byte) || matches!(byte, b'.' | b'-'));
    if fits {
        return Ok(());
    }
    Err(Error::usage(format!("\"{name}\" is not a profile's name")).hint(
        "a name is 1 to 63 of a-z, 0-9, dot and dash, and starts with a letter or digit; a path has a slash in it",
    ))
}

fn not_found(name: &str, places: &Places) -> Error {
    let looked: Vec<String> = places.profile_candidates(name).iter().map(|path| path.display().to_string()).collect();
    Error::profile(format!("profile {name}: there is no {}", looked.join(" and no ")))
        .hint(format!("`ycred list` shows the profiles that there are; `ycred init {name} --key-file FILE` makes one"))
}

/// Whether this can be a service account's id.
pub fn is_account_id(text: &str) -> bool {
    // Ids are 20 characters today; the API's limit is 50 (cloudapi, iam_token_service.proto).
    (1..=50).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// `host[:port]` of an installation; the port 443 goes without saying.
struct Endpoint {
    host: String,
    port: Option<u16>,
}

impl Endpoint {
    fn parse(text: &str) -> Option<Self> {
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

// ----------------------------------------------------------------------------------------------------------------- files

struct Found {
    path: PathBuf,
    text: String,
}

fn find(name: &str, places: &Places) -> Result<Option<Found>> {
    for path in places.profile_candidates(name) {
        if let Some(found) = open(&path)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The most that a profile may hold; it is a screenful.
const LARGEST: u64 = 256 * 1024;

/// Reads a profile after judging who may have written it. None: there is no such file.
fn open(path: &Path) -> Result<Option<Found>> {
    let complain = |why: &dyn fmt::Display| Error::profile(format!("profile {}: {why}", path.display()));
    let mut file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            // A link that leads nowhere was somebody's profile; another identity must not serve in its place.
            return match fs::symlink_metadata(path) {
                Ok(_) => Err(complain(&"is a link to what is not there").hint(format!("ls -l {}", path.display()))),
                Err(_) => Ok(None),
            };
        }
        Err(error) => {
            return Err(complain(&format!("cannot be read: {error}"))
                .hint(format!("make it readable: chmod u+r {}", path.display())));
        }
    };
    let meta = file.metadata().map_err(|error| complain(&error))?;
    if !meta.is_file() {
        return Err(complain(&"is not a regular file"));
    }
    judge(path, &meta).map_err(|error| error.context(format!("profile {}", path.display())))?;
    if meta.len() > LARGEST {
        return Err(complain(&format!("is larger than {LARGEST} bytes")));
    }
    let bytes = files::read_promised(&mut file, meta.len()).map_err(|error| complain(&error))?.to_vec();
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        Error::profile(format!("profile {}:{line}: is not UTF-8", path.display()))
    })?;
    Ok(Some(Found { path: path.to_owned(), text }))
}

/// Refuses a file that is trusted like code but that others may write.
///
/// # Errors
/// Profile (3), with the chmod in the hint.
pub fn judge(path: &Path, meta: &fs::Metadata) -> Result<()> {
    if meta.mode() & 0o002 != 0 {
        return Err(Error::profile(format!("anyone may write it (mode {:04o})", meta.mode() & 0o7777))
            .hint(format!("chmod o-w {}", path.display())));
    }
    let us = system::effective_uid();
    if us != 0 && meta.uid() != us && meta.uid() != 0 {
        return Err(Error::profile(format!("it belongs to another user ({}), who may write it", meta.uid())).hint(
            format!(
                "if you trust it, copy it and use the copy, or: sudo chown {us} {path} && chmod 600 {path}",
                path = path.display()
            ),
        ));
    }
    Ok(())
}

/// [`judge`], for a file that a profile names.
///
/// # Errors
/// Profile (3): also where it is not there.
pub fn judge_named(path: &Path, what: &str) -> Result<()> {
    let meta = fs::metadata(path).map_err(|error| {
        Error::profile(format!("{what} {}: {}", path.display(), crate::base::error::describe(&error)))
            .hint(format!("correct `{what}` in the profile, or remove it"))
    })?;
    judge(path, &meta).map_err(|error| error.context(format!("{what} {}", path.display())))
}

/// A profile's text, and where in it something stands.
struct SourceFile {
    path: PathBuf,
    text: String,
}

impl SourceFile {
    fn parse(&self) -> Result<DeTable<'_>> {
        // The parser's message is its own; what it quotes of the input may be a secret in the wrong place, so it is not
        // shown.
        DeTable::parse(&self.text).map(toml::Spanned::into_inner).map_err(|error| {
            self.complain(error.span().unwrap_or(0..0), error.message().lines().next().unwrap_or("is not TOML"))
                .hint("a setting is written key = \"value\"")
        })
    }

    fn line(&self, at: &Range<usize>) -> usize {
        self.text.as_bytes()[..at.start.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn place(&self, at: Range<usize>) -> String {
        format!("profile {}:{}", self.path.display(), self.line(&at))
    }

    fn complain(&self, at: Range<usize>, why: &str) -> Error {
        Error::profile(format!("{}: {why}", self.place(at)))
    }
}

/// The target of an alias, where the file is one.
fn alias(file: &SourceFile, table: &DeTable<'_>) -> Result<Option<(String, Range<usize>)>> {
    let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == "use") else { return Ok(None) };
    if table.len() > 1 {
        return Err(file
            .complain(key.span(), "an alias (`use`) stands alone in its file")
            .hint("put the other settings into the profile that it names"));
    }
    match value.get_ref().as_str() {
        Some(target) => Ok(Some((target.to_owned(), value.span()))),
        None => Err(file.complain(value.span(), "`use` takes a profile's name, in quotes")),
    }
}

/// The name that `default.toml` is an alias of, if it is one: for `list` and `use`.
///
/// # Errors
/// Profile (3) where the file cannot be read at all.
pub fn alias_target(path: &Path) -> Result<Option<String>> {
    let Some(found) = open(path)? else { return Ok(None) };
    let file = SourceFile { path: found.path, text: found.text };
    let table = file.parse()?;
    Ok(alias(&file, &table)?.map(|(target, _)| target))
}

// -------------------------------------------------------------------------------------------------------------- settings

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
    line: Option<usize>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(…)") // it holds secrets
    }
}

impl Settings {
    fn from_table(file: &SourceFile, table: &DeTable<'_>, environment: &Environment, places: &Places) -> Result<Self> {
        let mut settings = Self {
            origin: format!("profile {}", file.path.display()),
            file: Some(file.path.clone()),
            state: places.state.clone(),
            directory: file.path.parent().map(Path::to_owned).unwrap_or_default(),
            home: places.home.clone(),
            entries: Vec::with_capacity(table.len()),
            environment: environment.clone(),
        };
        if let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == "source")
            && value.get_ref().as_str().is_none()
        {
            return Err(file.complain(key.span(), "`source` takes one text in quotes"));
        }
        let source_name =
            table.iter().find(|(key, _)| key.get_ref() == "source").and_then(|(_, value)| value.get_ref().as_str());
        let source = source_name.and_then(Source::named);
        for (key, value) in table {
            let (name, line) = (key.get_ref().as_ref(), Some(file.line(&key.span())));
            let known = name == "source" || COMMON_KEYS.iter().any(|key| key.name == name);
            let own = source.and_then(|source| source.keys.iter().find(|key| key.name == name));
            if !known && own.is_none() {
                return Err(unknown_key(file, key.span(), name, source));
            }
            let (values, is_list) = match value.get_ref() {
                DeValue::String(text) => (vec![text.to_string()], false),
                // A number is one with quotes and without.
                DeValue::Integer(number) if own.is_some_and(|key| key.value == "PORT") => {
                    (vec![number.to_string()], false)
                }
                DeValue::Array(items) => {
                    let items: Option<Vec<String>> =
                        items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
                    (
                        items.ok_or_else(|| {
                            file.complain(value.span(), &format!("`{name}`: a list holds texts, each in quotes"))
                        })?,
                        true,
                    )
                }
                _ => {
                    return Err(file
                        .complain(value.span(), &format!("`{name}` takes a text in quotes"))
                        .hint(format!("write {name} = \"…\"")));
                }
            };
            settings.entries.push(Entry { key: name.to_owned(), values, is_list, line });
        }
        // In the order of the file, so that of two faults the upper one is told.
        settings.entries.sort_by_key(|entry| entry.line);
        Ok(settings)
    }

    fn of_environment(environment: &Environment, places: &Places) -> Self {
        Self {
            origin: "the environment".into(),
            file: None,
            state: places.state.clone(),
            directory: std::env::current_dir().unwrap_or_default(),
            home: places.home.clone(),
            entries: Vec::new(),
            environment: environment.clone(),
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        self.entries.push(Entry { key: key.into(), values: vec![value.into()], is_list: false, line: None });
    }

    fn set_list(&mut self, key: &str, values: Vec<String>) {
        self.entries.push(Entry { key: key.into(), values, is_list: true, line: None });
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn source(&self) -> Result<&'static Source> {
        let names = || source::SOURCES.iter().map(|source| source.name).collect::<Vec<_>>();
        let Some(name) = self.text("source")? else {
            return Err(Error::profile(format!("{}: has no `source`", self.origin))
                .hint(format!("write source = \"…\", one of {}", names().join(", "))));
        };
        Source::named(name).ok_or_else(|| {
            let why = format!("\"{name}\" is not a source");
            let hint = nearest(name, names().iter().copied()).map_or_else(
                || format!("the sources are {}", names().join(", ")),
                |known| format!("did you mean \"{known}\"?"),
            );
            self.complain("source", &why).hint(hint)
        })
    }

    /// An error about a setting: file, line, key, why; without a file the variable that set it.
    pub fn complain(&self, key: &str, why: &str) -> Error {
        let variables = COMMON_VARIABLES.iter().chain(&OWN_VARIABLES).filter(|_| self.file.is_none());
        let key = variables.into_iter().find(|(_, known)| *known == key).map_or(key, |(variable, _)| variable);
        match self.entry(key).and_then(|entry| entry.line) {
            Some(line) => Error::profile(format!("{}:{line}: `{key}` {why}", self.origin)),
            None => Error::profile(format!("{}: `{key}` {why}", self.origin)),
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
            Some(entry) if entry.is_list => Err(self.complain(key, "takes one text, not a list")),
            Some(entry) => match entry.values.first().map(String::as_str) {
                None | Some("") => Err(self.complain(key, "is empty")),
                Some(text) if text.contains('\0') => Err(self.complain(key, "holds a NUL")),
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
                Err(self.complain(key, "has an empty entry"))
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
        let path = match text.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                let home = self
                    .home
                    .as_ref()
                    .ok_or_else(|| self.complain(key, "starts with ~, and there is no home directory"))?;
                home.join(rest.trim_start_matches('/'))
            }
            _ => self.directory.join(text),
        };
        Ok(Some(path))
    }

    /// A duration.
    ///
    /// # Errors
    /// Profile (3).
    pub fn duration(&self, key: &str) -> Result<Option<Duration>> {
        self.text(key)?
            .map(|text| parse_duration(text).map_err(|why| self.complain(key, &format!(": {why}"))))
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
            return Err(self.complain(key, "is a base URL: scheme, host, perhaps port and path, nothing more"));
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
                .complain(key, "is plain http, which would show the token to the network")
                .hint("write https://…; http is for loopback alone")),
            None => Err(self.complain(key, "is not a URL such as https://iam.example.net")),
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
                .complain(key, &format!("names the variable {name}, which is not set"))
                .hint(format!("export {name}, or use another profile"))),
            Err(_) => Err(self.complain(key, &format!("names the variable {name}, whose value is not plain text"))),
        }
    }

    /// The variables that this profile reads secrets from: what `exec` keeps from its child.
    pub fn secret_variables(&self) -> impl Iterator<Item = &str> {
        self.entries
            .iter()
            .filter(|entry| entry.key.ends_with("-env"))
            .flat_map(|entry| entry.values.iter().map(String::as_str))
            .chain(self.has(workload::GITHUB).then_some(env::ACTIONS_ID_TOKEN_REQUEST_TOKEN))
    }

    /// For a source's own look at the environment (`YC_METADATA_ADDR`).
    pub fn environment(&self) -> &Environment {
        &self.environment
    }
}

fn unknown_key(file: &SourceFile, at: Range<usize>, name: &str, source: Option<&Source>) -> Error {
    let own = source.map_or(&[][..], |source| source.keys);
    // A key of another source is known, in the wrong place; what is near to it is not what was meant.
    if let Some(other) = source::SOURCES.iter().find(|other| other.keys.iter().any(|key| key.name == name))
        && source.is_some()
    {
        return file.complain(at, &format!("`{name}` belongs to source \"{}\"", other.name));
    }
    let known = COMMON_KEYS.iter().chain(own).map(|key| key.name).chain(["source", "use"]);
    if let Some(known) = nearest(name, known) {
        return file.complain(at, &format!("unknown key `{name}`")).hint(format!("did you mean `{known}`?"));
    }
    let own: Vec<&str> = own.iter().map(|key| key.name).collect();
    file.complain(at, &format!("unknown key `{name}`")).hint(if own.is_empty() {
        "write source = \"…\" first; README.md lists the keys of each source".to_owned()
    } else {
        format!("this source's own keys are {}; README.md lists all", own.join(", "))
    })
}

/// The known word that is nearest to a mistyped one, if any is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = word.to_ascii_lowercase().replace('_', "-");
    known
        .map(|known| (distance(&typed, known), known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Edits between two words (Damerau's optimal string alignment: a swap of neighbours is one edit).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = usize::from(a[i - 1] != b[j - 1]);
                let mut least = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + changed);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::identity::Identity;

    #[test]
    fn names() {
        for good in ["prod", "a", "0", "prod.eu-1", &"x".repeat(63)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "Prod", "-x", ".x", "a_b", "a b", "жук", "a/b", &"x".repeat(64), "x.toml"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name("x.toml").expect_err("a file").render().contains("./x.toml"));
    }

    #[test]
    fn the_nearest_word_is_offered_only_when_it_is_near() {
        let keys = || COMMON_KEYS.iter().map(|key| key.name).chain(["key-file"]);
        assert_eq!(nearest("keyfile", keys()), Some("key-file"));
        assert_eq!(nearest("key_file", keys()), Some("key-file"));
        assert_eq!(nearest("hsots", keys()), Some("hosts"));
        assert_eq!(nearest("Timeout", keys()), Some("timeout"));
        assert_eq!(nearest("password", keys()), None);
    }

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
    fn what_is_to_be_discovered_is_told_apart_by_whom_to_ask() {
        let settings = |text: &str| installation(text).installation.identify(Identity::of("x")).settings();
        let plain = settings("");
        let discovered = settings("iam-url = \"discover\"\n");
        let elsewhere = settings("iam-url = \"discover\"\nendpoint = \"api.yandexcloud.kz\"\n");
        assert!(discovered.contains("discover https://api.cloud.yandex.net/endpoints"), "{discovered}");
        assert!(plain != discovered && discovered != elsewhere, "{elsewhere}");
        let discovered = installation("iam-url = \"discover\"\n").installation;
        assert_eq!(discovered.known_audience(), None, "nobody knows yet");
        let set = installation("iam-url = \"discover\"\naudience = \"x\"\n").installation;
        assert_eq!(set.known_audience().as_deref(), Some("x"));
    }

    #[test]
    fn endpoints_come_with_and_without_port() {
        let url = |text: &str| Endpoint::parse(text).map(|endpoint| format!("https://iam.{endpoint}"));
        assert_eq!(url("api.cloud.yandex.net").as_deref(), Some("https://iam.api.cloud.yandex.net"));
        assert_eq!(url("api.cloud.yandex.net:443").as_deref(), Some("https://iam.api.cloud.yandex.net"));
        assert_eq!(url("API.example:8443").as_deref(), Some("https://iam.api.example:8443"));
        for bad in ["https://api.cloud.yandex.net", "api/x", "a@b", "", "api.cloud.yandex.net:x"] {
            assert_eq!(url(bad), None, "{bad}");
        }
    }
}
