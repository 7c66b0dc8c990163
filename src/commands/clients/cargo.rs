//! cargo: the lines that make ycred the credential provider of a registry.

mod check;
mod config;

use toml::de::{DeTable, DeValue};

use crate::base::error::{Error, Result};
use crate::base::hosts::{Host, Scheme};
use crate::commands::clients::cargo::config::{HOOK, PROVIDER, paths};
use crate::commands::clients::client::{Client, SetupCall, Use};
use crate::commands::clients::paste;
use crate::commands::clients::profiles::{self, Chosen};
use crate::commands::clients::program;
use crate::commands::clients::report::{Paste, Report};
use crate::edit::render;
use crate::edit::tree::TreeNode;
use crate::session::Session;

pub const CLIENT: Client = Client {
    name: "cargo",
    about: "cargo asks ycred about your crate registries",
    is_found: |session| program::find("cargo", session).is_some(),
    is_pasted: true,
    setup,
    undo_without_journal: |call, session| paste::undo_without_journal(HOOK, call, session),
    file_naming_link: |_, session, link| paste::naming_line(&paths(session), link).map(|(file, _)| file),
    uses,
    check: Some(&check::CHECK),
    ..Client::PLAIN
};

/// Returns the names of the registries that may get a token and have no provider yet.
fn registries(text: &str, chosen: &Chosen) -> Vec<String> {
    let Ok(root) = DeTable::parse(text) else { return Vec::new() };
    let registries = root.get_ref().get("registries").and_then(|registries| registries.get_ref().as_table());
    let is_ours = |registry: &DeValue<'_>| {
        let Some(registry) = registry.as_table() else { return false };
        let index = registry.get("index").and_then(|index| index.get_ref().as_str()).unwrap_or_default();
        let place = index.strip_prefix("sparse+https://").or_else(|| index.strip_prefix("https://"));
        let host = place.and_then(|place| Host::parse(place.split('/').next().unwrap_or_default()));
        let host = host.map(|host| Host { scheme: Some(Scheme::Https), ..host });
        host.is_some_and(|host| chosen.profile.hosts.covers(&host)) && registry.get(PROVIDER).is_none()
    };
    let registries = registries.into_iter().flatten().filter(|(_, registry)| is_ours(registry.get_ref()));
    registries.map(|(name, _)| name.get_ref().to_string()).collect()
}

fn setup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let chosen = profiles::chosen_or_default(call, session)?;
    if chosen.argument.contains(std::path::is_separator) {
        return Err(Error::usage("cargo's configuration cannot name the path of a profile")
            .hint("give the profile a name in the configuration directory, and pass --profile NAME"));
    }
    chosen.refuse_other()?;
    let ycred = program::ycred(call, session)?;
    let words = [ycred.path.as_str(), "--profile", &chosen.argument];
    let provider = format!("{PROVIDER} = {}", render::flow(&TreeNode::list(words.map(TreeNode::text))));
    let files = paths(session);
    let file = files.iter().find(|path| path.exists()).or(files.last());
    let mut report = Report::default();
    report.notes.push(format!("cargo gets its tokens from ycred {}", chosen.description()));
    report.notes.extend(chosen.notes());
    if let Some(file) = file {
        let text = paste::read(file);
        let names = registries(&text, &chosen);
        let place = file.display().to_string();
        for name in &names {
            let under = Some(format!("[registries.{name}]"));
            report.pastes.push(Paste { under, ..Paste::new(&place, &provider) });
        }
        if names.is_empty() && !text.lines().any(|line| line.trim() == provider) {
            let table = format!("[registries.NAME]\nindex = \"sparse+https://HOST/index/\"\n{provider}\n");
            report.pastes.push(Paste::new(place, table));
            report.notes.push("list HOST, the host of your registry, in the profile: hosts = [\"HOST\"]".to_owned());
        }
    }
    report.notes.extend(ycred.note);
    Ok(report)
}

fn uses(session: &Session<'_>) -> Vec<Use> {
    paste::uses_in(&paths(session), PROVIDER, HOOK)
}
