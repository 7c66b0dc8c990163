//! pnpm: a link as its `tokenHelper`, and the line to add for each registry.

mod check;
mod config;

use std::path::{Path, PathBuf};

use crate::base::error::Result;
use crate::base::hosts::{Host, Scheme};
use crate::commands::clients::client::{Client, SetupCall, Use};
use crate::commands::clients::paste;
use crate::commands::clients::pnpm::config::{HOOK, OPTION, path};
use crate::commands::clients::profiles::{self, Chosen};
use crate::commands::clients::program;
use crate::commands::clients::report::{Paste, Report};
use crate::session::Session;

pub const CLIENT: Client = Client {
    name: "pnpm",
    about: "pnpm asks ycred about the cloud's npm registries",
    is_found: |session| program::find("pnpm", session).is_some(),
    is_pasted: true,
    setup,
    undo_without_journal: |call, session| paste::undo_without_journal(HOOK, call, session),
    file_naming_link: |_, session, link| paste::naming_line(&[path(session)?], link).map(|(file, _)| file),
    uses,
    check: Some(&check::CHECK),
    ..Client::PLAIN
};

/// Returns the registries of the user and of the project in the working directory that may get a token, as
/// `//HOST/PATH/`.
fn registries(text: &str, chosen: &Chosen) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in text.lines() {
        let Some((key, url)) = line.split_once('=').map(|(key, url)| (key.trim(), url.trim())) else { continue };
        if key != "registry" && !key.ends_with(":registry") {
            continue;
        }
        let Some(place) = url.strip_prefix("https:").filter(|place| place.starts_with("//")) else { continue };
        let host = place[2..].split('/').next().unwrap_or_default();
        let parsed = Host::parse(host).map(|host| Host { scheme: Some(Scheme::Https), ..host });
        let place = format!("{}/", place.trim_end_matches('/'));
        // A URL with a query or a password is not a registry's.
        let is_plain = place.chars().all(|c| c.is_ascii_alphanumeric() || "/.-_:".contains(c));
        if is_plain && parsed.is_some_and(|host| chosen.profile.hosts.covers(&host)) && !found.contains(&place) {
            found.push(place);
        }
    }
    found
}

fn setup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let chosen = profiles::chosen_or_default(call, session)?;
    let ycred = program::ycred(call, session)?;
    let (link, mut change) = paste::link(call, &paste::link_name(HOOK, &chosen, session)?, &ycred.path, session)?;
    (change.profile, change.account) = (Some(chosen.argument.clone()), Some(chosen.account.clone()));
    let mut report = Report { changes: vec![change], ..Report::default() };
    report.notes.push(format!("the link uses ycred {}", chosen.description()));
    if let Some(path) = path(session) {
        let text = paste::read(&path);
        let mut registries = registries(&format!("{text}\n{}", paste::read(Path::new(".npmrc"))), &chosen);
        if registries.is_empty() {
            registries.push("//registry.yandexcloud.net/npm/REGISTRY-ID/".to_owned());
            report.notes.push("replace REGISTRY-ID by the ID of your registry".to_owned());
        }
        let lines = registries.iter().map(|registry| format!("{registry}:tokenHelper={}\n", link.display()));
        let missing: String = lines.filter(|line| !text.lines().any(|known| known.trim() == line.trim())).collect();
        if !missing.is_empty() {
            report.pastes.push(Paste::new(path.display().to_string(), missing));
        }
    }
    report.notes.extend(ycred.note);
    Ok(report)
}

fn uses(session: &Session<'_>) -> Vec<Use> {
    let files: Vec<PathBuf> = path(session).into_iter().collect();
    paste::uses_in(&files, OPTION, HOOK)
}
