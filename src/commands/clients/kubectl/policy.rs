//! kubectl's list of the plugins that it may run (kuberc).

use std::path::PathBuf;

use crate::base::environment::KUBERC;
use crate::commands::clients::kubectl::stanza;
use crate::edit::splice::Format;
use crate::edit::target::TargetFile;
use crate::edit::tree::TreeNode;
use crate::session::Session;
use crate::system::directories::home_of_kubectl;

/// Returns a line about kubectl's list of allowed plugins, if it would not let ycred run.
pub fn note(command: &str, session: &Session<'_>) -> Option<String> {
    let path = match session.environment.get(KUBERC) {
        Some(path) if path == "off" => return None,
        Some(path) => PathBuf::from(path),
        None => home_of_kubectl(session.environment, session.places.home.as_deref())?.join(".kube/kuberc"),
    };
    let root = Format::Yaml.parse(&TargetFile::read(&path).ok()?.text?).ok()?;
    let policy = root.member("credentialPluginPolicy").and_then(TreeNode::as_scalar)?;
    let name = stanza::base_name(command);
    let allows = |entry: &TreeNode| {
        let entry = entry.member("command").or_else(|| entry.member("name")).and_then(TreeNode::as_scalar);
        entry.is_some_and(|entry| entry == command || entry == name)
    };
    let is_listed =
        root.member("credentialPluginAllowlist").map(TreeNode::items).unwrap_or_default().iter().any(allows);
    let path = path.display();
    match policy {
        "Allowlist" if !is_listed => {
            Some(format!("{path} does not allow ycred; add to credentialPluginAllowlist: - command: {command}"))
        }
        "DenyAll" => {
            Some(format!("{path} allows no plugins (credentialPluginPolicy: DenyAll), so kubectl will not run ycred"))
        }
        _ => None,
    }
}
