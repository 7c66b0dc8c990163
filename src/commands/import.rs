//! `import`: profiles out of what yc has in its configuration, or out of the environment. Says what it would write;
//! writes when told to.
//!
//! yc's files are read, never written, and its token cache is not touched. Facts: yandex-cloud.md 10.2 and 12; what is not
//! known of them is read leniently, and what is not understood is told at `-v`.

pub mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction};
use serde::Serializer as _;
use zeroize::Zeroizing;

use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result, clean, describe};
use crate::base::hosts::{Allowed, DEFAULT_ENDPOINT, Host};
use crate::base::secret::Secret;
use crate::base::token::is_iam_token;
use crate::cloud::iam;
use crate::commands::command::{Command, CommandCall};
use crate::disk::{files, store};
use crate::process::Outcome;
use crate::process::Reply;
use crate::profile::find::check_name;
use crate::profile::text::{quote, setting};
use crate::profile::{Profile, find};
use crate::session::Session;
use crate::sources::{authorized_key, oauth};
use crate::{profile, sources};

use crate::commands::import::yaml::{Node, Wrong};
use crate::sources::source::{Assignment, KeptSecret};

pub const COMMAND: Command =
    Command::new("import", "make profiles from yc's configuration or from the environment", arguments, run);

fn arguments(command: clap::Command) -> clap::Command {
    let names = Arg::new("profiles")
        .value_name("PROFILE[=NAME]")
        .action(ArgAction::Append)
        .help("only these profiles of yc's, perhaps under another name; with --environment the new profile's name");
    let from = Arg::new("from")
        .long("from")
        .value_name("FILE")
        .help("yc's config.yaml or credhelper-config.yaml; default: ~/.config/yandex-cloud/config.yaml");
    let environment = Arg::new("environment")
        .long("environment")
        .action(ArgAction::SetTrue)
        .conflicts_with("from")
        .help("make a profile from the variables that serve where there is no profile");
    let write = Arg::new("write")
        .long("write")
        .action(ArgAction::SetTrue)
        .help("write the files; without it they are only shown");
    let force = Arg::new("force").long("force").action(ArgAction::SetTrue).help("replace profiles that are there");
    command.args([names, from, environment, write, force])
}

/// Where yc keeps its configuration, below the home.
const YC_CONFIG: &str = ".config/yandex-cloud/config.yaml";
/// Beside it: which profile yc's docker helper uses for which registry.
const HELPER_CONFIG: &str = "credhelper-config.yaml";
/// The hosts that `yc container registry configure-docker` writes.
const YC_REGISTRIES: [&str; 3] = ["cr.yandex", "cr.cloud.yandex.net", "container-registry.cloud.yandex.net"];
/// The name of yc's profile `default`, where that is not the current one and `default` is to be the one that is.
const NOT_THE_DEFAULT: &str = "yc-default";

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    if call.options.profile.is_some() {
        return Err(Error::usage("import takes the profiles' names as they are, without --profile")
            .hint("ycred import NAME, or NAME=OTHER to call it otherwise"));
    }
    let directory = session.places.config.as_ref().ok_or_else(|| {
        Error::profile("there is no home directory to keep a profile in").hint("set YCRED_CONFIG_DIR")
    })?;
    let wanted = call.matches.get_many::<String>("profiles").into_iter().flatten().map(String::as_str);
    let wanted = wanted.map(Selection::read).collect::<Result<Vec<_>>>()?;
    let found = if call.matches.get_flag("environment") {
        from_environment(&wanted, session)?
    } else {
        from_yc(call.text("from").map(Path::new), &wanted, session)?
    };
    let force = call.matches.get_flag("force");
    let plan = Plan::of(found, &wanted, force, directory, session)?;
    let text = if call.matches.get_flag("write") {
        plan.write()?;
        plan.report("written", (!plan.files.is_empty()).then_some("what there is now: ycred list"))
    } else {
        let more = (!plan.files.is_empty()).then_some("nothing is written yet: the same with --write does it");
        plan.report("would be written", more)
    };
    Ok(Outcome::reply(Reply::text(text)))
}

/// A profile that was asked for by name, and what to call it.
struct Selection<'a> {
    theirs: &'a str,
    ours: Option<&'a str>,
}

impl<'a> Selection<'a> {
    fn read(word: &'a str) -> Result<Self> {
        let (theirs, ours) = match word.split_once('=') {
            Some((theirs, ours)) => (theirs, Some(ours)),
            None => (word, None),
        };
        ours.map_or(Ok(()), check_name)?;
        Ok(Self { theirs, ours })
    }
}

/// What was found, in our terms; nothing of it is written yet.
#[derive(Default)]
struct ImportSource {
    drafts: Vec<Draft>,
    /// The name, ours, that `default` is to stand for.
    default: Option<String>,
    /// What else a person should know, a line each.
    remarks: Vec<String>,
    /// Hosts and the profiles, ours, that yc's docker helper has for them.
    registries: BTreeMap<String, String>,
}

/// A profile to be.
struct Draft {
    name: String,
    /// What it was, for its first line.
    origin: String,
    source: &'static str,
    settings: Vec<(&'static str, Setting)>,
    kept: Option<KeptSecret>,
    remarks: Vec<String>,
}

struct Setting {
    values: Vec<String>,
    is_list: bool,
}

impl Draft {
    fn new(name: String, origin: String, source: &'static str) -> Self {
        Self { name, origin, source, settings: Vec::new(), kept: None, remarks: Vec::new() }
    }

    fn set(&mut self, key: &'static str, value: &str) {
        self.settings.push((key, Setting { values: vec![value.to_owned()], is_list: false }));
    }

    /// Relative to the profile, so that the directory can be moved.
    fn kept_path(&self) -> Option<String> {
        self.kept.as_ref().map(|kept| format!("{KEYS}/{}.{}", self.name, kept.ending))
    }

    fn text(&self) -> String {
        let mut text =
            format!("# Made by `ycred import` from {}.\nsource = {}\n", clean(&self.origin), quote(self.source));
        if let (Some(kept), Some(path)) = (&self.kept, self.kept_path()) {
            setting(&mut text, kept.key, &[path], false);
        }
        for (key, Setting { values, is_list }) in &self.settings {
            setting(&mut text, key, values, *is_list);
        }
        text
    }

    fn keep(&mut self, kept: KeptSecret) {
        if let Some(remark) = kept.remark {
            self.remarks.push(format!("{}: {}", self.name, remark.replace("{name}", &self.name)));
        }
        self.kept = Some(kept);
    }

    fn endpoint(&mut self, text: &str) {
        // The port goes without saying, and so does the default.
        let endpoint = text.strip_suffix(":443").unwrap_or(text);
        if endpoint != DEFAULT_ENDPOINT {
            self.set("endpoint", endpoint);
        }
    }
}

/// Below the configuration directory: what profiles name and nobody else may read.
const KEYS: &str = "keys";

// -------------------------------------------------------------------------------------------------------- environment

/// The profile that stands for what the environment says where there is none.
fn from_environment(wanted: &[Selection<'_>], session: &Session<'_>) -> Result<ImportSource> {
    let name = match wanted {
        [] => "default",
        [Selection { theirs, ours: None }] => theirs,
        _ => return Err(Error::usage("the environment makes one profile: give one name for it, or none")),
    };
    check_name(name)?;
    let environment = session.environment;
    let Some((source, assignments)) = sources::from_environment(environment) else {
        return Err(Error::profile("the environment says nothing that a profile could be made of")
            .hint("set YC_SERVICE_ACCOUNT_KEY_FILE, or another of the variables that docs/profiles.md lists"));
    };
    // What serves nobody without a profile would serve nobody with one.
    Profile::from_environment(environment, session.places)?.open()?;
    let mut draft = Draft::new(name.to_owned(), "the environment".to_owned(), source.name);
    let value = |variable: &str| plain(environment, variable);
    for assignment in assignments {
        match assignment {
            // Secrets that last go into files, since the variable will be gone; one that lives for hours does not.
            Assignment::Secret { variable, .. } if let Some(keep) = source.keep => {
                let text = Secret::wrapping(value(variable)?);
                draft.keep(keep(text).map_err(|error| error.context(variable))?);
            }
            Assignment::Secret { key, variable } => {
                draft.set(key, variable);
                draft.remarks.push(format!(
                    "{name}: {variable} is an IAM token, which lives for hours: the profile reads the variable, and keeps \
                     nothing"
                ));
            }
            Assignment::Value { key, value, .. } => {
                let is_file = source.keys.iter().any(|known| known.name == key && known.value == "FILE");
                draft.set(key, &if is_file { absolute(&value)? } else { value });
            }
        }
    }
    if environment.get(env::YC_ENDPOINT).is_some() {
        draft.endpoint(&value(env::YC_ENDPOINT)?);
    }
    if environment.get(env::YCRED_AUTH_URL).is_some() {
        draft.set("auth-url", &value(env::YCRED_AUTH_URL)?);
    }
    if environment.get(env::YCRED_IMPERSONATE).is_some() {
        let accounts = value(env::YCRED_IMPERSONATE)?.split(',').map(|account| account.trim().to_owned()).collect();
        draft.settings.push(("impersonate", Setting { values: accounts, is_list: true }));
    }
    Ok(ImportSource { drafts: vec![draft], ..ImportSource::default() })
}

fn plain(environment: &Environment, variable: &str) -> Result<String> {
    let value = environment.text(variable).map_err(|_| Error::profile(format!("{variable} is not plain text")))?;
    Ok(value.unwrap_or_default().to_owned())
}

fn absolute(path: &str) -> Result<String> {
    let absolute = if path.starts_with('~') { Ok(PathBuf::from(path)) } else { std::path::absolute(path) };
    let absolute =
        absolute.map_err(|error| Error::profile(format!("{path}: cannot be made absolute")).because(error))?;
    absolute.into_os_string().into_string().map_err(|_| Error::profile(format!("{path}: is not plain text")))
}

// ----------------------------------------------------------------------------------------------------------------- yc

/// A YAML file of yc's, and what complaints about it begin with.
struct YcFile {
    path: PathBuf,
    root: Node,
}

impl YcFile {
    /// None: it is empty.
    fn read(path: &Path, session: &Session<'_>) -> Result<Option<Self>> {
        let hint = "name the file with --from FILE; `ycred import --environment` reads the variables instead";
        if !path.exists() {
            return Err(Error::profile(format!("{}: there is no such file", path.display())).hint(hint));
        }
        let text = files::read_secret(path, session.notes).map_err(|error| error.replace_hint(hint))?;
        match Node::read(&text) {
            Ok(root) => Ok(root.map(|root| Self { path: path.to_owned(), root })),
            Err(Wrong { line, why }) => Err(Error::profile(format!("{}:{line}: {why}", path.display()))
                .hint("yc itself shows what it reads there: yc config profile list")),
        }
    }

    fn error_at(&self, line: usize, why: &str) -> Error {
        Error::profile(format!("{}:{line}: {why}", self.path.display()))
    }

    /// What is wrong with one profile, and how the others are had without it.
    fn profile_error(&self, line: usize, theirs: &str, why: &str) -> Error {
        let error = self.error_at(line, &format!("profile {theirs}: {why}"));
        let all = self.root.member("profiles").and_then(Node::members).unwrap_or_default().iter();
        let others: Vec<String> = all
            .filter(|(name, settings)| name != theirs && settings.members().is_some())
            .map(|(name, _)| if name.contains(char::is_whitespace) { format!("'{name}'") } else { name.clone() })
            .collect();
        match others.is_empty() {
            true => error,
            false => error.hint(format!("import the others by name: ycred import {}", others.join(" "))),
        }
    }
}

fn from_yc(from: Option<&Path>, wanted: &[Selection<'_>], session: &Session<'_>) -> Result<ImportSource> {
    let path = match (from, &session.places.home) {
        (Some(path), _) => path.to_owned(),
        (None, Some(home)) => home.join(YC_CONFIG),
        (None, None) => {
            return Err(Error::profile("there is no home directory to look for yc's configuration in")
                .hint("name the file: ycred import --from FILE"));
        }
    };
    let empty = || Error::profile(format!("{}: has no profiles", path.display())).hint("make one first: yc init");
    let file = YcFile::read(&path, session)?.ok_or_else(empty)?;
    if file.root.member("profiles").is_none() && is_helper_config(&file.root) {
        // The names are what config.yaml makes of them.
        let auxiliary_slot = path.with_file_name("config.yaml");
        let config = if auxiliary_slot.exists() { YcFile::read(&auxiliary_slot, session)? } else { None };
        let names = match &config {
            Some(config) => Names::of(config, &[])?,
            None => Names::default(),
        };
        return registries(&file, &names).map(|registries| ImportSource { registries, ..ImportSource::default() });
    }
    let profiles = file.root.member("profiles").and_then(Node::members).filter(|members| !members.is_empty());
    let profiles = profiles.ok_or_else(empty)?;
    for Selection { theirs, .. } in wanted {
        if !profiles.iter().any(|(name, _)| name == theirs) {
            let known: Vec<&str> = profiles.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::usage(format!("{}: has no profile {theirs}", path.display()))
                .hint(format!("it has {}", known.join(", "))));
        }
    }
    let names = Names::of(&file, wanted)?;
    let mut found = ImportSource::default();
    for (theirs, settings) in profiles {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted.theirs == theirs) {
            continue;
        }
        let ours = names.ours(theirs)?;
        if ours != *theirs {
            found.remarks.push(format!("{theirs}: is called {ours} here"));
        }
        match draft(&file, theirs, &ours, settings, session)? {
            Some(draft) => found.drafts.push(draft),
            None => found.remarks.push(format!("{theirs}: has no credentials, and is left out")),
        }
    }
    if let Some(current) = &names.current {
        let ours = names.ours(current)?;
        // `default.toml` is the alias, unless a person has said otherwise.
        let is_taken = found.drafts.iter().any(|draft| draft.name == "default");
        if !is_taken && found.drafts.iter().any(|draft| draft.name == ours) {
            found.default = Some(ours);
        }
    }
    let helper = path.with_file_name(HELPER_CONFIG);
    if helper != path
        && helper.exists()
        && let Some(file) = YcFile::read(&helper, session)?
    {
        found.registries = registries(&file, &names)?;
    }
    Ok(found)
}

/// Lines of `host: profile`, and `default: profile`.
fn is_helper_config(root: &Node) -> bool {
    let fits = |(name, node): &(String, Node)| (name == "default" || name.contains('.')) && node.text().is_some();
    root.members().is_some_and(|members| !members.is_empty() && members.iter().all(fits))
}

/// What yc's profiles are called here.
#[derive(Default)]
struct Names {
    current: Option<String>,
    /// Theirs to ours, where a person has chosen.
    chosen: BTreeMap<String, String>,
    all: Vec<String>,
}

impl Names {
    fn of(file: &YcFile, wanted: &[Selection<'_>]) -> Result<Self> {
        let current = file.root.member("current").and_then(Node::text).map(str::to_owned);
        let chosen = wanted.iter().filter_map(|wanted| Some((wanted.theirs.to_owned(), wanted.ours?.to_owned())));
        let all = file.root.member("profiles").and_then(Node::members).unwrap_or_default();
        let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted.theirs == name);
        let all: Vec<String> = all.iter().map(|(name, _)| name.clone()).filter(|name| is_wanted(name)).collect();
        let names = Self { current, chosen: chosen.collect(), all };
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        for theirs in &names.all {
            let ours = names.ours(theirs)?;
            if let Some(other) = taken.insert(ours.clone(), theirs) {
                return Err(Error::usage(format!(
                    "yc's profiles {other} and {theirs} would both be called {ours} here"
                ))
                .hint(format!("choose names: ycred import '{other}={ours}' '{theirs}={ours}-2'")));
            }
        }
        Ok(names)
    }

    /// Profiles' names are file names, parts of link names and of terraform's: small letters, digits, dot, dash.
    fn ours(&self, theirs: &str) -> Result<String> {
        if let Some(chosen) = self.chosen.get(theirs) {
            return Ok(chosen.clone());
        }
        if theirs == "default" && self.current.as_ref().is_some_and(|current| current != "default") {
            return Ok(NOT_THE_DEFAULT.to_owned());
        }
        map_name(theirs).ok_or_else(|| {
            Error::usage(format!("yc's profile {theirs:?} has nothing in its name that one of ours may have"))
                .hint(format!("choose a name: ycred import {}", quote(&format!("{theirs}=NAME"))))
        })
    }
}

fn map_name(theirs: &str) -> Option<String> {
    let mapped = theirs.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-");
    let mapped: String = mapped.trim_matches(['-', '.']).chars().take(63).collect();
    // An ending that looks like a file's is refused in a name.
    let mapped = mapped.strip_suffix(".toml").map(str::to_owned).unwrap_or(mapped);
    let mapped = mapped.trim_end_matches(['-', '.']).to_owned();
    check_name(&mapped).is_ok().then_some(mapped)
}

/// Settings of yc's that ycred has no use for.
const STAY: [&str; 8] = [
    "cloud-id",
    "folder-id",
    "folder-name",
    "organization-id",
    "compute-default-zone",
    "format",
    "storage-endpoint",
    "services",
];

/// One of yc's profiles in our terms. None: it says nothing of whose tokens are wanted.
fn draft(file: &YcFile, theirs: &str, ours: &str, settings: &Node, session: &Session<'_>) -> Result<Option<Draft>> {
    let text = |key: &str| settings.member(key).and_then(Node::text);
    let is_person = ["federation-id", "subject-id", "userpool-id", "username"].iter().any(|key| text(key).is_some());
    // A mapping; or the JSON of the key's file as one text.
    let key = settings
        .member("service-account-key")
        .filter(|key| key.text().is_some() || key.members().is_some_and(|fields| !fields.is_empty()));
    // "true", perhaps another word for it; whatever else stands there was not meant to switch it off.
    let off = ["false", "no", "off", "0"];
    let on_machine =
        text("instance-service-account").is_some_and(|text| !off.iter().any(|off| text.eq_ignore_ascii_case(off)));
    let ways = [
        (key.is_some(), "service-account-key", "authorized-key"),
        (text("token").is_some(), "token", "oauth"),
        (on_machine, "instance-service-account", "metadata"),
        (is_person, "federation-id", "login"),
    ];
    let mut ways = ways.into_iter().filter(|(is_there, ..)| *is_there).map(|(_, key, source)| (key, source));
    let Some((way, source)) = ways.next() else { return Ok(None) };
    let mut draft = Draft::new(ours.to_owned(), format!("yc's profile {theirs}"), source);
    let others: Vec<&str> = ways.map(|(key, _)| key).collect();
    if !others.is_empty() {
        draft.remarks.push(format!("{ours}: has {} too, which {way} outranks", others.join(", ")));
    }
    match source {
        "authorized-key" => {
            let line = key.map_or(settings.line, |key| key.line);
            let json = Secret::wrapping(key.map(key_file).unwrap_or_default());
            let kept = authorized_key::keep(json).map_err(|error| {
                let profile_error = file.profile_error(line, theirs, "service-account-key");
                let error = error.context(profile_error.reason());
                match profile_error.hint_text() {
                    Some(others) => error.replace_hint(others),
                    None => error,
                }
            })?;
            draft.keep(kept);
        }
        "oauth" => {
            let token = settings.member("token");
            let (line, value) = (token.map_or(0, |token| token.line), text("token").unwrap_or_default());
            let why = match oauth::is_oauth_token(value) {
                _ if is_iam_token(value.as_ref()) => Some("the token is an IAM token, which lives for hours"),
                true => None,
                false => Some("the token is not one OAuth token"),
            };
            if let Some(why) = why {
                return Err(file.profile_error(line, theirs, why));
            }
            draft.keep(oauth::keep(Secret::wrapping(value.to_owned()))?);
        }
        "login" => {
            if let Some(federation) = text("federation-id") {
                draft.set("federation-id", federation);
            }
            draft.remarks.push(format!("{ours}: is a person's: log in with `ycred login --profile {ours}`"));
        }
        _ => {}
    }
    if let Some(endpoint) = settings.member("endpoint")
        && let Some(value) = endpoint.text()
    {
        let host = Host::parse(value).filter(|host| host.scheme.is_none() && !value.contains('/'));
        host.ok_or_else(|| file.profile_error(endpoint.line, theirs, "endpoint is not host or host:port"))?;
        draft.endpoint(value);
    }
    // The global flag of this name is documented; as a setting it has not been seen.
    if let Some(impersonate) = settings.member("impersonate-service-account-id")
        && let Some(account) = impersonate.text()
    {
        if !iam::is_account_id(account) {
            let why = "impersonate-service-account-id is not a service account's id";
            return Err(file.profile_error(impersonate.line, theirs, why));
        }
        draft.set("impersonate", account);
    }
    let known =
        ["token", "service-account-key", "instance-service-account", "endpoint", "impersonate-service-account-id"];
    let person = ["federation-id", "subject-id", "userpool-id", "username"];
    let mut stay = Vec::new();
    for (name, node) in settings.members().unwrap_or_default() {
        if STAY.contains(&name.as_str()) {
            stay.push(name.as_str());
        } else if !known.contains(&name.as_str()) && !person.contains(&name.as_str()) {
            let place = format!("{}:{}", file.path.display(), node.line);
            session.notes.debug(|| format!("{place}: `{name}` of profile {theirs} is not known, and is let be"));
        }
    }
    if !stay.is_empty() {
        draft.remarks.push(format!("{ours}: {} stay with yc, ycred has no use for them", stay.join(", ")));
    }
    Ok(Some(draft))
}

/// The inline key as the file that it once was, its fields in yc's order.
fn key_file(key: &Node) -> String {
    if let Some(json) = key.text() {
        return format!("{json}\n");
    }
    // A PEM ends with a line feed, which a block scalar may have lost.
    let whole = |text: &str| if text.contains("-----") { format!("{text}\n") } else { text.to_owned() };
    let fields = key.members().unwrap_or_default().iter();
    let fields: Vec<(&str, Zeroizing<String>)> =
        fields.filter_map(|(name, node)| Some((name.as_str(), Zeroizing::new(whole(node.text()?))))).collect();
    let mut json = Vec::new();
    let mut writer = serde_json::Serializer::pretty(&mut json);
    // Texts alone, into memory: nothing can go wrong.
    let _ = writer.collect_map(fields.iter().map(|(name, text)| (name, text.as_str())));
    json.push(b'\n');
    String::from_utf8(json).unwrap_or_default()
}

/// Host and profile, ours, of each line of yc's docker helper; its default for the hosts that yc configures.
fn registries(file: &YcFile, names: &Names) -> Result<BTreeMap<String, String>> {
    let mut registries = BTreeMap::new();
    let lines = file.root.members().unwrap_or_default();
    let mut default = None;
    for (host, profile) in lines {
        let Some(profile) = profile.text() else { return Err(file.error_at(profile.line, "is not host: profile")) };
        let ours = names.ours(profile)?;
        if host == "default" {
            default = Some(ours);
        } else {
            registries.insert(host.clone(), ours);
        }
    }
    if let Some(default) = default {
        for host in YC_REGISTRIES {
            registries.entry(host.to_owned()).or_insert_with(|| default.clone());
        }
    }
    Ok(registries)
}

// --------------------------------------------------------------------------------------------------------------- plan

/// Files to write, in this order, and what to say.
struct Plan {
    keys: PathBuf,
    files: Vec<Planned>,
    remarks: Vec<String>,
    registries: BTreeMap<String, String>,
    /// Of each profile that was found, to whom its token may go.
    allowed: BTreeMap<String, Allowed>,
    /// Profiles that registries have, and nobody else.
    lacking: BTreeSet<String>,
}

struct Planned {
    path: PathBuf,
    content: Content,
    overwrite: bool,
}

enum Content {
    Profile(String),
    StoredToken(Secret, String),
}

impl Content {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Profile(text) => text.as_bytes(),
            Self::StoredToken(secret, _) => secret.expose().as_bytes(),
        }
    }
}

impl Plan {
    fn of(
        found: ImportSource,
        wanted: &[Selection<'_>],
        force: bool,
        directory: &Path,
        session: &Session<'_>,
    ) -> Result<Self> {
        let is_there = |name: &str| {
            found.drafts.iter().any(|draft| draft.name == name)
                || session.places.profile_candidates(name).iter().any(|path| path.exists())
        };
        let lacking = found.registries.values().filter(|name| !is_there(name)).cloned().collect();
        let mut plan = Self {
            keys: directory.join(KEYS),
            lacking,
            files: Vec::new(),
            remarks: found.remarks,
            registries: found.registries,
            allowed: BTreeMap::new(),
        };
        let mut default = None;
        for draft in found.drafts {
            let name = draft.name.clone();
            if plan.add(draft, !wanted.is_empty(), force, directory, session)? && found.default.as_ref() == Some(&name)
            {
                default = Some(name);
            }
        }
        if let Some(name) = default {
            plan.add_default(&name, force, directory)?;
        }
        Ok(plan)
    }

    /// A profile and its key, the key first: a profile is there whole or not at all. False: another one is there, and stays.
    fn add(
        &mut self,
        draft: Draft,
        is_asked: bool,
        force: bool,
        directory: &Path,
        session: &Session<'_>,
    ) -> Result<bool> {
        let path = directory.join(format!("{}.toml", draft.name));
        let text = draft.text();
        if sources::named(draft.source).is_some() {
            let profile = Profile::from_text(&draft.name, &path, &text, session.environment, session.places);
            let profile = profile.map_err(|error| error.context(&draft.origin))?;
            self.allowed.insert(draft.name.clone(), profile.hosts);
        }
        let kept_path = draft.kept_path().map(|relative| directory.join(relative));
        let mut files = vec![];
        if let (Some(kept), Some(path)) = (draft.kept, kept_path) {
            let content = Content::StoredToken(kept.content, kept.about);
            files.push(Planned { path, content, overwrite: force });
        }
        files.push(Planned { path, content: Content::Profile(text), overwrite: force });
        files.retain(|file| !file.is_there_already());
        if files.is_empty() {
            self.remarks.push(format!("{}: is there already, just so", draft.name));
            return Ok(true);
        }
        if let Some(taken) = files.iter().find(|file| !force && file.path.symlink_metadata().is_ok()) {
            let path = taken.path.display();
            if is_asked {
                return Err(Error::usage(format!("{path}: there is another one already"))
                    .hint("replace it with --force, or choose another name: ycred import PROFILE=NAME"));
            }
            self.remarks
                .push(format!("{}: is left out, {path} is there and is another; --force replaces it", draft.name));
            return Ok(false);
        }
        self.files.append(&mut files);
        self.remarks.extend(draft.remarks);
        Ok(true)
    }

    /// What yc calls its current profile, as an alias; only an alias is replaced, as by `use`.
    fn add_default(&mut self, name: &str, force: bool, directory: &Path) -> Result<()> {
        let path = directory.join("default.toml");
        let content = Content::Profile(profile::text::alias(name));
        let file = Planned { path, content, overwrite: force };
        let current = find::alias_target(&file.path);
        match current {
            Ok(Some(other)) if other == name => {}
            Ok(None) if file.path.symlink_metadata().is_err() => self.files.push(file),
            Ok(Some(_)) if force => self.files.push(file),
            Ok(Some(other)) => {
                self.remarks.push(format!("the default stays {other}; `ycred use {name}` makes it yc's current one"));
            }
            Ok(None) | Err(_) => {
                self.remarks.push(format!("{}: is a profile of its own and stays the default", file.path.display()));
            }
        }
        Ok(())
    }

    fn write(&self) -> Result<()> {
        for (done, file) in self.files.iter().enumerate() {
            let written = match &file.content {
                Content::StoredToken(..) => store::make_private(&self.keys),
                Content::Profile(_) => Ok(()),
            };
            let written = written.and_then(|()| store::write_config(&file.path, file.content.bytes(), file.overwrite));
            // Another import was quicker, with the very same.
            let written = written.or_else(|error| if file.is_there_already() { Ok(()) } else { Err(error) });
            written.map_err(|error| {
                let error = Error::profile(format!("{}: cannot be written", file.path.display()))
                    .because(describe(&error))
                    .hint("set YCRED_CONFIG_DIR to a directory of yours; what is written already is whole");
                match done {
                    0 => error,
                    done => error.context(format!("{done} of {} files are written", self.files.len())),
                }
            })?;
        }
        Ok(())
    }

    /// For people: every file with its mode and content, but for secrets; then what to know and to do.
    fn report(&self, done: &str, end: Option<&str>) -> String {
        let mut text = String::new();
        if self.files.iter().any(|file| matches!(file.content, Content::StoredToken(..))) {
            let _ = writeln!(text, "{} (0700) {done}", clean(&format!("{}/", self.keys.display())));
        }
        for file in &self.files {
            let _ = writeln!(text, "{} (0600) {done}:", clean(&file.path.display().to_string()));
            match &file.content {
                Content::Profile(content) => {
                    for line in content.lines() {
                        let _ = writeln!(text, "    {}", clean(line));
                    }
                }
                Content::StoredToken(_, about) => {
                    let _ = writeln!(text, "    ({})", clean(about));
                }
            }
        }
        if self.files.is_empty() && self.registries.is_empty() {
            text.push_str("there is nothing to write\n");
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "{}", clean(remark));
        }
        if !self.registries.is_empty() {
            text.push_str("yc's docker helper, as ~/.docker/config.json has it for ycred (docs/hooks/docker.md):\n");
            let helpers: BTreeMap<&String, String> =
                self.registries.iter().map(|(host, profile)| (host, format!("ycred-{profile}"))).collect();
            let json = serde_json::json!({ "credHelpers": helpers });
            for line in serde_json::to_string_pretty(&json).unwrap_or_default().lines() {
                let _ = writeln!(text, "    {}", clean(line));
            }
            text.push_str("and the links that these names are, in a directory on PATH:\n");
            for profile in self.registries.values().collect::<BTreeSet<_>>() {
                let link = format!("~/.local/bin/docker-credential-ycred-{profile}");
                let _ = writeln!(text, "    ln -s \"$(command -v ycred)\" {link}");
            }
            let usual = Allowed::new(DEFAULT_ENDPOINT, &[]);
            for (host, profile) in &self.registries {
                if self.lacking.contains(profile) {
                    let remark = format!("{host}: there is no profile {profile}, which docker would ask");
                    let _ = writeln!(text, "{}", clean(&remark));
                    continue;
                }
                let allowed = self.allowed.get(profile).unwrap_or(&usual);
                if !Host::parse(host).is_some_and(|host| allowed.covers(&host)) {
                    let remark = format!("{host}: profile {profile} gives it no token unless its `hosts` lists it");
                    let _ = writeln!(text, "{}", clean(&remark));
                }
            }
        }
        if let Some(end) = end {
            let _ = writeln!(text, "{end}");
        }
        text
    }
}

impl Planned {
    fn is_there_already(&self) -> bool {
        files::read(&self.path).is_ok_and(|content| *content == *self.content.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_yc_become_names_of_ours() {
        for (theirs, ours) in [
            ("prod", Some("prod")),
            ("Prod_EU", Some("prod-eu")),
            ("my profile", Some("my-profile")),
            ("_x_", Some("x")),
            ("a.b", Some("a.b")),
            ("prod.toml", Some("prod")),
            ("user@example.com", Some("user-example.com")),
            ("жук", None),
            ("..", None),
            ("", None),
        ] {
            assert_eq!(map_name(theirs).as_deref(), ours, "{theirs}");
        }
        assert_eq!(map_name(&"x".repeat(100)).map(|name| name.len()), Some(63));
    }

    #[test]
    fn a_profile_says_where_it_is_from_and_names_its_key_by_a_relative_path() {
        let mut draft = Draft::new("kz".into(), "yc's profile KZ\nsource = \"static\"".into(), "login");
        draft.set("federation-id", "bpf0000000000000000a");
        draft.endpoint("api.yandexcloud.kz:443");
        let expected = "# Made by `ycred import` from yc's profile KZ source = \"static\".\nsource = \"login\"\n\
                        federation-id = \"bpf0000000000000000a\"\nendpoint = \"api.yandexcloud.kz\"\n";
        assert_eq!(draft.text(), expected);
        let mut draft = Draft::new("me".into(), "x".into(), "oauth");
        draft.keep(oauth::keep(Secret::wrapping("y0_x".into())).expect("a token"));
        draft.endpoint("api.cloud.yandex.net:443");
        assert!(draft.text().ends_with("source = \"oauth\"\noauth-token-file = \"keys/me.oauth-token\"\n"));
    }
}
