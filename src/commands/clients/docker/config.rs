//! docker's configuration file: where it is, and what in it names ycred.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::base::environment::{
    CONTAINERS_REGISTRIES_CONF, DOCKER_CONFIG, REGISTRY_AUTH_FILE, XDG_CONFIG_HOME, XDG_RUNTIME_DIR,
};
use crate::base::error::{Error, Result};
use crate::base::hosts::DEFAULT_ENDPOINT;
use crate::base::shell;
use crate::commands::clients::client::{Use, profile_in};
use crate::commands::clients::program;
use crate::commands::clients::public;
use crate::disk::files;
use crate::edit::splice::Format;
use crate::edit::target::TargetFile;
use crate::edit::tree::TreeNode;
use crate::session::Session;

/// The object that has a helper for each registry.
pub const HELPERS: &str = "credHelpers";
/// The first part of the name of a helper's program.
pub const PREFIX: &str = "docker-credential-";

/// Returns the path of the file that docker reads.
///
/// # Errors
/// Usage (2): there is no home directory.
pub fn default_path(session: &Session<'_>) -> Result<PathBuf> {
    if let Some(directory) = session.environment.get(DOCKER_CONFIG) {
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.into());
        return Ok(directory.join("config.json"));
    }
    let home = session.places.home.as_ref();
    let home = home.ok_or_else(|| Error::usage("no home directory").hint("pass --file FILE"))?;
    Ok(home.join(".docker/config.json"))
}

/// Returns true if a helper is ycred.
pub fn is_ours(helper: &str) -> bool {
    helper == "ycred" || helper.strip_prefix("ycred-").is_some_and(public::is_profile_name)
}

/// Returns each registry with its helper. docker merges objects of the same name, and reads names in any case.
pub fn helpers(root: &TreeNode) -> Vec<(String, String)> {
    let is_helpers = |key: &TreeNode| key.as_text().is_some_and(|key| key.eq_ignore_ascii_case(HELPERS));
    let objects = root.members().iter().filter(|(key, _)| is_helpers(key));
    let entries = objects.flat_map(|(_, helpers)| helpers.members());
    entries.filter_map(|(host, helper)| Some((host.as_text()?.to_owned(), helper.as_text()?.to_owned()))).collect()
}

/// Returns the name of `credHelpers` if it is written otherwise. docker reads that too, but which of two objects would count
/// depends on their order.
pub fn other_spelling(root: &TreeNode) -> Option<&str> {
    let mut names = root.members().iter().filter_map(|(key, _)| key.as_text());
    names.find(|name| name.eq_ignore_ascii_case(HELPERS) && *name != HELPERS)
}

/// A file with logins that podman, skopeo and buildah read before docker's.
pub struct PodmanFile {
    pub path: PathBuf,
    /// The command that removes a login, without the registry.
    pub logout: String,
}

/// Returns the files of podman, skopeo and buildah, in the order in which they are read.
pub fn podman_files(session: &Session<'_>) -> Vec<PodmanFile> {
    let environment = session.environment;
    let home = session.places.home.as_ref();
    let chosen = environment.get(REGISTRY_AUTH_FILE).map(PathBuf::from);
    let runtime = environment.absolute(XDG_RUNTIME_DIR).map(|directory| directory.join("containers/auth.json"));
    let configuration = environment.absolute(XDG_CONFIG_HOME).or_else(|| home.map(|home| home.join(".config")));
    let configuration = configuration.map(|directory| directory.join("containers/auth.json"));
    // Without a flag, podman removes a login from the first of them.
    let usual = [chosen, runtime].into_iter().flatten().collect::<Vec<_>>();
    let first = usual.first().cloned();
    let logout = |path: &PathBuf| match first.as_ref() == Some(path) {
        true => "podman logout".to_owned(),
        false => format!("podman logout --authfile {}", shell::word(path)),
    };
    let files = usual.into_iter().chain(configuration);
    files.map(|path| PodmanFile { logout: logout(&path), path }).collect()
}

/// Returns the files in which podman, skopeo and buildah have helpers for all registries.
pub fn registries_files(session: &Session<'_>) -> Vec<PathBuf> {
    if let Some(path) = session.environment.get(CONTAINERS_REGISTRIES_CONF) {
        return vec![path.into()];
    }
    let own = session.environment.absolute(XDG_CONFIG_HOME);
    let own = own.or_else(|| session.places.home.as_ref().map(|home| home.join(".config")));
    let directories = own.into_iter().chain([PathBuf::from("/etc")]).map(|directory| directory.join("containers"));
    let in_directory = |directory: PathBuf| {
        let mut more = files::paths(&directory.join("registries.conf.d"));
        more.retain(|path| path.extension().is_some_and(|ending| ending == "conf"));
        std::iter::once(directory.join("registries.conf")).chain(more)
    };
    directories.flat_map(in_directory).collect()
}

/// Returns true if a file of podman names a helper for all registries.
pub fn has_general_helper(text: &str, helper: &str) -> bool {
    let Ok(table) = DeTable::parse(text) else { return false };
    match table.get_ref().get("credential-helpers").map(|value| value.get_ref()) {
        Some(DeValue::Array(names)) => {
            names.iter().any(|name| matches!(name.get_ref(), DeValue::String(name) if *name == helper))
        }
        _ => false,
    }
}

/// docker itself uses no lock, but tools that change its file do.
pub fn locks(session: &Session<'_>) -> Vec<PathBuf> {
    default_path(session).map(|path| path.with_extension("json.lock")).into_iter().collect()
}

/// The registries of each endpoint that people use. docker's classic builder asks for each entry, so there are few.
pub const REGISTRIES: [(&str, &[&str]); 2] =
    [(DEFAULT_ENDPOINT, &["cr.yandex", "registry.yandexcloud.net"]), ("api.yandexcloud.kz", &["cr.yandexcloud.kz"])];

/// Returns the arguments of `setup` that select a registry. Those that `setup` chooses itself need no flag, unless they have different profiles.
pub fn selection(place: &Use, session: &Session<'_>) -> Vec<String> {
    let is_usual = |host: &str| REGISTRIES.iter().any(|(_, hosts)| hosts.contains(&host));
    let places = uses_in(&place.file);
    let mut profiles = places.iter().filter(|known| is_usual(&known.label)).map(|known| &known.profile);
    let first = profiles.next();
    let is_chosen = is_usual(&place.label) && profiles.all(|profile| Some(profile) == first);
    let host = (!is_chosen).then(|| ["--host".to_owned(), place.label.clone()]);
    let is_default = default_path(session).is_ok_and(|path| program::is_one_of(&place.file, &[path]));
    let file = (!is_default).then(|| ["--file".to_owned(), place.file.display().to_string()]);
    host.into_iter().chain(file).flatten().collect()
}

/// Returns the registries in a file that ycred serves.
pub fn uses_in(path: &Path) -> Vec<Use> {
    let text = TargetFile::read(path).ok().and_then(|target| target.text).unwrap_or_default();
    let root = Format::Json.parse(&text).unwrap_or_else(|_| TreeNode::null());
    let ours = helpers(&root).into_iter().filter(|(_, helper)| is_ours(helper));
    ours.map(|(host, helper)| Use { file: path.to_owned(), label: host, profile: profile_in(&helper), note: None })
        .collect()
}
