//! Reads yc's configuration. Facts: docs/reference/yandex-cloud.md 10.2 and 12. Where those are incomplete, parsing is
//! lenient, and `-v` lists the settings that it ignores.

use crate::base::error::{Error, Result};
use crate::base::hosts::Host;
use crate::base::secret::Secret;
use crate::base::shell;
use crate::base::token::is_iam_token;
use crate::cloud::iam;
use crate::commands::import::draft::{Draft, ImportSource, Selection};
use crate::commands::import::yaml::{Node, YamlError};
use crate::disk::files;
use crate::disk::places::YC_CONFIG;
use crate::profile::find::{self, FoundProfile, check_name};
use crate::session::Session;
use crate::sources::{authorized_key, oauth};
use serde::Serializer as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The file in the same directory that assigns a profile to each registry, for yc's docker helper.
pub(super) const HELPER_CONFIG: &str = "credhelper-config.yaml";
/// The hosts that `yc container registry configure-docker` writes.
pub(super) const YC_REGISTRIES: [&str; 3] = ["cr.yandex", "cr.cloud.yandex.net", "container-registry.cloud.yandex.net"];
/// The new name of yc's profile `default` if another profile is yc's current one or the one in use here. Then `default` is an
/// alias of that one.
pub(super) const NOT_THE_DEFAULT: &str = "yc-default";

/// One of yc's YAML files.
pub(super) struct YcFile {
    pub(super) path: PathBuf,
    pub(super) root: Node,
}

impl YcFile {
    /// Reads and parses a file. Returns `None` if it is empty.
    ///
    /// # Errors
    /// Profile (3): the file is missing or unreadable, or is not valid YAML.
    pub(super) fn read(path: &Path, session: &Session<'_>) -> Result<Option<Self>> {
        let hint = "pass the file with --from FILE, or run `ycred import --environment` to use variables instead";
        if !path.exists() {
            return Err(Error::profile(format!("{}: no such file", path.display())).hint(hint));
        }
        let text = files::read_secret(path, session.diagnostics).map_err(|error| error.replace_hint(hint))?;
        match Node::read(&text) {
            Ok(root) => Ok(root.map(|root| Self { path: path.to_owned(), root })),
            Err(YamlError { line, why }) => Err(Error::profile(format!("{}:{line}: {why}", path.display()))
                .hint("fix the file, or check how yc reads it: yc config profile list")),
        }
    }

    /// Returns an error with the file and line.
    pub(super) fn error_at(&self, line: usize, why: &str) -> Error {
        Error::profile(format!("{}:{line}: {why}", self.path.display()))
    }

    /// Returns an error about one profile. The hint is the command that imports the others.
    pub(super) fn profile_error(&self, line: usize, yc_name: &str, why: &str) -> Error {
        let error = self.error_at(line, &format!("profile {yc_name}: {why}"));
        let all = self.root.member("profiles").and_then(Node::members).unwrap_or_default().iter();
        let others: Vec<String> = all
            .filter(|(name, settings)| name != yc_name && settings.members().is_some())
            .map(|(name, _)| shell::word(name))
            .collect();
        match others.is_empty() {
            true => error,
            false => error.hint(format!("import the others by name: ycred import {}", others.join(" "))),
        }
    }
}

/// Reads the selected profiles, or all, from yc's configuration.
///
/// # Errors
/// Profile (3): a file is missing or invalid. Usage (2): a selected profile doesn't exist, or two names collide.
pub(super) fn from_yc(
    from: Option<&Path>,
    selections: &[Selection<'_>],
    session: &Session<'_>,
) -> Result<ImportSource> {
    let path = match (from, &session.places.home) {
        (Some(path), _) => path.to_owned(),
        (None, Some(home)) => home.join(YC_CONFIG),
        (None, None) => {
            return Err(Error::profile("cannot find yc's configuration: no home directory")
                .hint("pass the file: ycred import --from FILE"));
        }
    };
    let empty =
        || Error::profile(format!("{}: no profiles in the file", path.display())).hint("create one first: yc init");
    let file = YcFile::read(&path, session)?.ok_or_else(empty)?;
    if file.root.member("profiles").is_none() && is_helper_config(&file.root) {
        // `--from` is the docker helper's file. How profiles are renamed depends on config.yaml next to it.
        let config_path = path.with_file_name("config.yaml");
        let config = if config_path.exists() { YcFile::read(&config_path, session)? } else { None };
        let names = match &config {
            Some(config) => Names::of(config, &[], session)?,
            None => Names::default(),
        };
        return registries(&file, &names).map(|registries| ImportSource { registries, ..ImportSource::default() });
    }
    let profiles = file.root.member("profiles").and_then(Node::members).filter(|members| !members.is_empty());
    let profiles = profiles.ok_or_else(empty)?;
    for Selection { yc_name, .. } in selections {
        if !profiles.iter().any(|(name, _)| name == yc_name) {
            let known: Vec<&str> = profiles.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::usage(format!("{}: no profile {yc_name} in the file", path.display()))
                .hint(format!("choose from: {}", known.join(", "))));
        }
    }
    let names = Names::of(&file, selections, session)?;
    let mut import_source = ImportSource::default();
    for (yc_name, settings) in profiles {
        if !selections.is_empty() && !selections.iter().any(|selection| selection.yc_name == yc_name) {
            continue;
        }
        let new_name = names.new_name(yc_name)?;
        match draft(&file, yc_name, &new_name, settings, session)? {
            Some(mut draft) => {
                if new_name != *yc_name {
                    draft.remarks.insert(0, format!("{yc_name}: renamed to {new_name}"));
                }
                import_source.drafts.push(draft);
            }
            None => import_source.remarks.push(format!("{yc_name}: skipped, because it has no credentials")),
        }
    }
    if let Some(current) = &names.current {
        let new_name = names.new_name(current)?;
        // `default.toml` becomes an alias of the current profile, unless the user has called another one `default`.
        let is_taken = import_source.drafts.iter().any(|draft| draft.name == "default");
        if !is_taken && import_source.drafts.iter().any(|draft| draft.name == new_name) {
            import_source.default = Some(new_name);
        }
    }
    let helper = path.with_file_name(HELPER_CONFIG);
    if helper != path
        && helper.exists()
        && let Some(file) = YcFile::read(&helper, session)?
    {
        import_source.registries = registries(&file, &names)?;
    }
    Ok(import_source)
}

/// Returns true if every line is `host: profile` or `default: profile`, as in the docker helper's file.
pub(super) fn is_helper_config(root: &Node) -> bool {
    let is_entry = |(name, node): &(String, Node)| (name == "default" || name.contains('.')) && node.text().is_some();
    root.members().is_some_and(|members| !members.is_empty() && members.iter().all(is_entry))
}

/// The new names of yc's profiles.
#[derive(Default)]
pub(super) struct Names {
    /// yc's name of its current profile.
    pub(super) current: Option<String>,
    /// The new names that the user has chosen, by yc's name.
    pub(super) chosen: BTreeMap<String, String>,
    /// yc's names of the selected profiles.
    pub(super) selected: Vec<String>,
    /// Another profile is used if none is named, so none of yc's may take the name `default`.
    pub(super) is_default_taken: bool,
}

impl Names {
    /// Reads the names from yc's configuration.
    ///
    /// # Errors
    /// Usage (2): a name cannot be converted, or two names collide.
    pub(super) fn of(file: &YcFile, selections: &[Selection<'_>], session: &Session<'_>) -> Result<Self> {
        let current = file.root.member("current").and_then(Node::text).map(str::to_owned);
        let chosen = selections
            .iter()
            .filter_map(|selection| Some((selection.yc_name.to_owned(), selection.new_name?.to_owned())));
        let all = file.root.member("profiles").and_then(Node::members).unwrap_or_default();
        let is_selected =
            |name: &str| selections.is_empty() || selections.iter().any(|selection| selection.yc_name == name);
        let selected = all.iter().map(|(name, _)| name.clone()).filter(|name| is_selected(name)).collect();
        let is_default_taken = match find::without_name(session.places) {
            Ok(FoundProfile::Only { .. }) => true,
            Ok(FoundProfile::Default(file)) => matches!(find::alias_target(&file.path), Ok(Some(_))),
            Ok(FoundProfile::Several(_) | FoundProfile::Nothing) | Err(_) => false,
        };
        let names = Self { current, chosen: chosen.collect(), selected, is_default_taken };
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        for yc_name in &names.selected {
            let new_name = names.new_name(yc_name)?;
            if let Some(other) = taken.insert(new_name.clone(), yc_name) {
                return Err(Error::usage(format!(
                    "names of yc's profiles {other} and {yc_name} collide: both become {new_name}"
                ))
                .hint(format!(
                    "rename one: ycred import {} {}",
                    shell::word(format!("{other}={new_name}")),
                    shell::word(format!("{yc_name}={new_name}-2"))
                )));
            }
        }
        Ok(names)
    }

    /// Returns the new name of a profile.
    ///
    /// A name has only lower-case letters, digits, dots and dashes, because it becomes part of file names, link names
    /// and Terraform's helper names.
    pub(super) fn new_name(&self, yc_name: &str) -> Result<String> {
        if let Some(chosen) = self.chosen.get(yc_name) {
            return Ok(chosen.clone());
        }
        let is_current = self.current.as_ref().is_none_or(|current| current == "default");
        if yc_name == "default" && (!is_current || self.is_default_taken) {
            return Ok(NOT_THE_DEFAULT.to_owned());
        }
        convert_name(yc_name).ok_or_else(|| {
            Error::usage(format!("cannot convert the name of yc's profile {yc_name:?} to a profile name"))
                .hint(format!("choose a name: ycred import {}", shell::word(format!("{yc_name}=NAME"))))
        })
    }
}

/// Converts yc's name of a profile to a valid name. Returns `None` if no valid character remains.
pub(super) fn convert_name(yc_name: &str) -> Option<String> {
    let converted = yc_name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-");
    let converted: String = converted.trim_matches(['-', '.']).chars().take(63).collect();
    // A name must not end in `.toml`.
    let converted = converted.strip_suffix(".toml").map(str::to_owned).unwrap_or(converted);
    let converted = converted.trim_end_matches(['-', '.']).to_owned();
    check_name(&converted).is_ok().then_some(converted)
}

/// yc's settings that don't affect tokens.
pub(super) const UNUSED_SETTINGS: [&str; 8] = [
    "cloud-id",
    "folder-id",
    "folder-name",
    "organization-id",
    "compute-default-zone",
    "format",
    "storage-endpoint",
    "services",
];

/// Converts one of yc's profiles. Returns `None` if the yc profile has no credentials.
///
/// # Errors
/// Profile (3): a setting is invalid.
pub(super) fn draft(
    file: &YcFile,
    yc_name: &str,
    new_name: &str,
    settings: &Node,
    session: &Session<'_>,
) -> Result<Option<Draft>> {
    let text = |key: &str| settings.member(key).and_then(Node::text);
    let is_person = ["federation-id", "subject-id", "userpool-id", "username"].iter().any(|key| text(key).is_some());
    // A mapping, or a string with the JSON of the key file.
    let key = settings
        .member("service-account-key")
        .filter(|key| key.text().is_some() || key.members().is_some_and(|fields| !fields.is_empty()));
    // yc writes "true". Any value that isn't clearly false counts as true.
    let off = ["false", "no", "off", "0"];
    let uses_metadata =
        text("instance-service-account").is_some_and(|text| !off.iter().any(|off| text.eq_ignore_ascii_case(off)));
    let candidates = [
        (key.is_some(), "service-account-key", "authorized-key"),
        (text("token").is_some(), "token", "oauth"),
        (uses_metadata, "instance-service-account", "metadata"),
        (is_person, "federation-id", "login"),
    ];
    let mut credentials =
        candidates.into_iter().filter(|(is_set, ..)| *is_set).map(|(_, setting, source)| (setting, source));
    let Some((setting, source)) = credentials.next() else { return Ok(None) };
    let mut draft = Draft::new(new_name.to_owned(), format!("yc's profile {yc_name}"), source);
    let others: Vec<&str> = credentials.map(|(setting, _)| setting).collect();
    if !others.is_empty() {
        let others = others.join(", ");
        draft.remarks.push(format!("{new_name}: {others} ignored, because {setting} takes precedence"));
    }
    match source {
        "authorized-key" => {
            let line = key.map_or(settings.line, |key| key.line);
            let json = Secret::wrapping(key.map(key_file).unwrap_or_default());
            let secret = authorized_key::secret_file(json).map_err(|error| {
                let profile_error = file.profile_error(line, yc_name, "service-account-key");
                let error = error.context(profile_error.reason());
                match profile_error.hint_text() {
                    Some(hint) => error.replace_hint(hint),
                    None => error,
                }
            })?;
            draft.set_secret(secret);
        }
        "oauth" => {
            let token = settings.member("token");
            let (line, value) = (token.map_or(0, |token| token.line), text("token").unwrap_or_default());
            let why = match oauth::is_oauth_token(value) {
                _ if is_iam_token(value.as_ref()) => Some("the token is an IAM token, which expires within hours"),
                true => None,
                false => Some("the token is not an OAuth token"),
            };
            if let Some(why) = why {
                return Err(file.profile_error(line, yc_name, why));
            }
            draft.set_secret(oauth::secret_file(Secret::wrapping(value.to_owned()))?);
        }
        "login" => {
            if let Some(federation) = text("federation-id") {
                draft.set("federation-id", federation);
            }
            draft
                .remarks
                .push(format!("{new_name}: belongs to a person; to log in, run `ycred login --profile {new_name}`"));
        }
        _ => {}
    }
    if let Some(endpoint) = settings.member("endpoint")
        && let Some(value) = endpoint.text()
    {
        let host = Host::parse(value).filter(|host| host.scheme.is_none() && !value.contains('/'));
        host.ok_or_else(|| file.profile_error(endpoint.line, yc_name, "endpoint is not a host or host:port"))?;
        draft.set_endpoint(value);
    }
    // Documented as a global flag of yc; not yet seen as a setting.
    if let Some(impersonate) = settings.member("impersonate-service-account-id")
        && let Some(account) = impersonate.text()
    {
        if !iam::is_account_id(account) {
            let why = "impersonate-service-account-id is not the ID of a service account";
            return Err(file.profile_error(impersonate.line, yc_name, why));
        }
        draft.set("impersonate", account);
    }
    let known =
        ["token", "service-account-key", "instance-service-account", "endpoint", "impersonate-service-account-id"];
    let person_settings = ["federation-id", "subject-id", "userpool-id", "username"];
    let mut unused = Vec::new();
    for (name, node) in settings.members().unwrap_or_default() {
        if UNUSED_SETTINGS.contains(&name.as_str()) {
            unused.push(name.as_str());
        } else if !known.contains(&name.as_str()) && !person_settings.contains(&name.as_str()) {
            let place = format!("{}:{}", file.path.display(), node.line);
            session.diagnostics.debug(|| format!("{place}: ignored the unknown setting `{name}` of profile {yc_name}"));
        }
    }
    if !unused.is_empty() {
        draft
            .remarks
            .push(format!("{new_name}: {} not imported, because tokens don't depend on them", unused.join(", ")));
    }
    Ok(Some(draft))
}

/// Restores the JSON key file from the inline key. The fields keep yc's order.
pub(super) fn key_file(key: &Node) -> String {
    if let Some(json) = key.text() {
        return format!("{json}\n");
    }
    // A PEM block ends with a line feed, which a block scalar may have lost.
    let complete = |text: &str| if text.contains("-----") { format!("{text}\n") } else { text.to_owned() };
    let fields = key.members().unwrap_or_default().iter();
    let fields: Vec<(&str, Zeroizing<String>)> =
        fields.filter_map(|(name, node)| Some((name.as_str(), Zeroizing::new(complete(node.text()?))))).collect();
    let mut json = Vec::new();
    let mut writer = serde_json::Serializer::pretty(&mut json);
    // Cannot fail, because it writes strings to memory.
    let _ = writer.collect_map(fields.iter().map(|(name, text)| (name, text.as_str())));
    json.push(b'\n');
    String::from_utf8(json).unwrap_or_default()
}

/// Returns the new name of the profile for each host in the docker helper's file. Its `default` applies to the hosts
/// that yc configures.
pub(super) fn registries(file: &YcFile, names: &Names) -> Result<BTreeMap<String, String>> {
    let mut registries = BTreeMap::new();
    let lines = file.root.members().unwrap_or_default();
    let mut default = None;
    for (host, profile) in lines {
        let Some(profile) = profile.text() else { return Err(file.error_at(profile.line, "expected HOST: PROFILE")) };
        let new_name = names.new_name(profile)?;
        if host == "default" {
            default = Some(new_name);
        } else {
            registries.insert(host.clone(), new_name);
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
    fn names_of_yc_profiles_become_valid_profile_names() {
        for (yc_name, new_name) in [
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
            assert_eq!(convert_name(yc_name).as_deref(), new_name, "{yc_name}");
        }
        assert_eq!(convert_name(&"x".repeat(100)).map(|name| name.len()), Some(63));
    }
}
