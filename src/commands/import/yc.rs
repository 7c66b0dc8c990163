//! Profiles out of yc's configuration. Facts: yandex-cloud.md 10.2 and 12; what is not known of it is read leniently, and
//! what is not understood is told at `-v`.

use crate::base::error::{Error, Result};
use crate::base::hosts::Host;
use crate::base::secret::Secret;
use crate::base::token::is_iam_token;
use crate::cloud::iam;
use crate::commands::import::draft::{Draft, ImportSource, Selection};
use crate::commands::import::yaml::{Node, Wrong};
use crate::disk::files;
use crate::profile::find::check_name;
use crate::profile::text::quote;
use crate::session::Session;
use crate::sources::{authorized_key, oauth};
use serde::Serializer as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where yc keeps its configuration, below the home.
pub(super) const YC_CONFIG: &str = ".config/yandex-cloud/config.yaml";
/// Beside it: which profile yc's docker helper uses for which registry.
pub(super) const HELPER_CONFIG: &str = "credhelper-config.yaml";
/// The hosts that `yc container registry configure-docker` writes.
pub(super) const YC_REGISTRIES: [&str; 3] = ["cr.yandex", "cr.cloud.yandex.net", "container-registry.cloud.yandex.net"];
/// The name of yc's profile `default`, where that is not the current one and `default` is to be the one that is.
pub(super) const NOT_THE_DEFAULT: &str = "yc-default";

/// A YAML file of yc's, and what complaints about it begin with.
pub(super) struct YcFile {
    pub(super) path: PathBuf,
    pub(super) root: Node,
}

impl YcFile {
    /// None: it is empty.
    pub(super) fn read(path: &Path, session: &Session<'_>) -> Result<Option<Self>> {
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

    pub(super) fn error_at(&self, line: usize, why: &str) -> Error {
        Error::profile(format!("{}:{line}: {why}", self.path.display()))
    }

    /// What is wrong with one profile, and how the others are had without it.
    pub(super) fn profile_error(&self, line: usize, theirs: &str, why: &str) -> Error {
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

pub(super) fn from_yc(from: Option<&Path>, wanted: &[Selection<'_>], session: &Session<'_>) -> Result<ImportSource> {
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
pub(super) fn is_helper_config(root: &Node) -> bool {
    let fits = |(name, node): &(String, Node)| (name == "default" || name.contains('.')) && node.text().is_some();
    root.members().is_some_and(|members| !members.is_empty() && members.iter().all(fits))
}

/// What yc's profiles are called here.
#[derive(Default)]
pub(super) struct Names {
    pub(super) current: Option<String>,
    /// Theirs to ours, where a person has chosen.
    pub(super) chosen: BTreeMap<String, String>,
    pub(super) all: Vec<String>,
}

impl Names {
    pub(super) fn of(file: &YcFile, wanted: &[Selection<'_>]) -> Result<Self> {
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
    pub(super) fn ours(&self, theirs: &str) -> Result<String> {
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

pub(super) fn map_name(theirs: &str) -> Option<String> {
    let mapped = theirs.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-");
    let mapped: String = mapped.trim_matches(['-', '.']).chars().take(63).collect();
    // An ending that looks like a file's is refused in a name.
    let mapped = mapped.strip_suffix(".toml").map(str::to_owned).unwrap_or(mapped);
    let mapped = mapped.trim_end_matches(['-', '.']).to_owned();
    check_name(&mapped).is_ok().then_some(mapped)
}

/// Settings of yc's that ycred has no use for.
pub(super) const STAY: [&str; 8] = [
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
pub(super) fn draft(
    file: &YcFile,
    theirs: &str,
    ours: &str,
    settings: &Node,
    session: &Session<'_>,
) -> Result<Option<Draft>> {
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
pub(super) fn key_file(key: &Node) -> String {
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
pub(super) fn registries(file: &YcFile, names: &Names) -> Result<BTreeMap<String, String>> {
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
}
