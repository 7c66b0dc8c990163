//! The kubeconfig files, as kubectl finds and merges them.

use std::path::{Path, PathBuf};

use crate::base::environment::KUBECONFIG;
use crate::base::error::{Error, Result};
use crate::commands::clients::client::SetupCall;
use crate::commands::clients::client::Use;
use crate::commands::clients::program;
use crate::edit::change::OwnerLock;
use crate::edit::splice::Format;
use crate::edit::tree::TreeNode;
use crate::session::Session;
use crate::system::directories::home_of_kubectl;

/// kubectl's lock is beside the path as it is spelled.
pub const OWNER: OwnerLock = OwnerLock::BesideSpelled("kubectl");

/// One file of the list.
pub struct Kubeconfig {
    pub path: PathBuf,
    pub root: TreeNode,
}

/// Returns the paths that kubectl reads, without duplicates.
///
/// # Errors
/// Usage (2): there is no home directory.
pub fn paths(explicit: Option<PathBuf>, session: &Session<'_>) -> Result<Vec<PathBuf>> {
    if let Some(path) = explicit {
        return Ok(vec![path]);
    }
    let Some(list) = session.environment.get(KUBECONFIG) else {
        let home = home_of_kubectl(session.environment, session.places.home.as_deref());
        let home = home.ok_or_else(|| Error::usage("no home directory").hint("pass --kubeconfig FILE"))?;
        return Ok(vec![home.join(".kube/config")]);
    };
    let mut paths = Vec::new();
    for path in std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()) {
        let path = std::path::absolute(&path).unwrap_or(path);
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Reads the files. Missing ones are left out, as kubectl does.
///
/// # Errors
/// Profile (3): a file cannot be read or parsed, or all are missing.
pub fn read(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Vec<Kubeconfig>> {
    let paths = paths(call.path("kubeconfig", session)?, session)?;
    let mut files = Vec::new();
    for path in &paths {
        let Some(text) = call.editor.read(path, OWNER)?.text else { continue };
        let root = Format::Yaml.parse(&text).map_err(|error| {
            Error::profile(format!("{}:{}: {}", path.display(), error.line, error.why))
                .hint("kubectl cannot read the file either; fix that line, then run the command again")
        })?;
        files.push(Kubeconfig { path: path.clone(), root });
    }
    if files.is_empty() {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Error::profile(format!("no kubeconfig: {} does not exist", names.join(" and ")))
            .hint("create one first: yc managed-kubernetes cluster get-credentials NAME --external"));
    }
    Ok(files)
}

/// Returns the item of a list with this name: of the first file that has it, which is the one that kubectl uses.
pub fn named<'a>(files: &'a [Kubeconfig], list: &str, name: &str) -> Option<(&'a Path, &'a TreeNode)> {
    files.iter().find_map(|file| {
        let items = file.root.member(list)?.items();
        let item = items.iter().find(|item| item.member("name").and_then(TreeNode::as_scalar) == Some(name))?;
        Some((file.path.as_path(), item))
    })
}

/// Returns true if a file has more than one user with this name, which kubectl refuses.
pub fn has_two(root: &TreeNode, name: &str) -> bool {
    let users = root.member("users").map(TreeNode::items).unwrap_or_default();
    users.iter().filter(|user| user.member("name").and_then(TreeNode::as_scalar) == Some(name)).count() > 1
}

/// Returns the names of all users, in order, each with the file that kubectl takes it from.
pub fn users(files: &[Kubeconfig]) -> Vec<(String, PathBuf)> {
    let mut users: Vec<(String, PathBuf)> = Vec::new();
    for file in files {
        for user in file.root.member("users").map(TreeNode::items).unwrap_or_default() {
            let Some(name) = user.member("name").and_then(TreeNode::as_scalar) else { continue };
            if !users.iter().any(|(known, _)| known == name) {
                users.push((name.to_owned(), file.path.clone()));
            }
        }
    }
    users
}

/// Returns the user of a context.
///
/// # Errors
/// Usage (2): there is no such context, or it has no user.
pub fn user_of_context(files: &[Kubeconfig], context: &str) -> Result<String> {
    let (_, item) = named(files, "contexts", context).ok_or_else(|| {
        Error::usage(format!("no context {context} in the kubeconfig")).hint("kubectl config get-contexts lists them")
    })?;
    let user = item.member("context").and_then(|context| context.member("user")).and_then(TreeNode::as_scalar);
    user.filter(|user| !user.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| Error::usage(format!("context {context} has no user")).hint("name the user: --user NAME"))
}

/// Returns the current context: of the first file that sets one.
pub fn current_context(files: &[Kubeconfig]) -> Option<&str> {
    files.iter().find_map(|file| {
        file.root.member("current-context").and_then(TreeNode::as_scalar).filter(|context| !context.is_empty())
    })
}

/// Returns the locks that kubectl creates: one for each file of the list.
pub fn locks(session: &Session<'_>) -> Vec<PathBuf> {
    let lock = |path: PathBuf| {
        let mut name = path.into_os_string();
        name.push(".lock");
        PathBuf::from(name)
    };
    paths(None, session).unwrap_or_default().into_iter().map(lock).collect()
}

/// Returns the arguments of `setup` that select a user.
pub fn selection(place: &Use, session: &Session<'_>) -> Vec<String> {
    let user = place.label.strip_prefix("user ").map(|user| ["--user".to_owned(), user.to_owned()]);
    let is_read = paths(None, session).is_ok_and(|paths| program::is_one_of(&place.file, &paths));
    let file = (!is_read).then(|| ["--kubeconfig".to_owned(), place.file.display().to_string()]);
    user.into_iter().chain(file).flatten().collect()
}
