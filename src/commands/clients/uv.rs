//! uv: ycred as the program `keyring`, and the option of uv to add.

mod check;
mod config;

use std::path::Path;

use crate::base::environment::UV_KEYRING_PROVIDER;
use crate::base::error::Result;
use crate::commands::clients::client::{Client, SetupCall, Use};
use crate::commands::clients::keyring::{self, SUBPROCESS};
use crate::commands::clients::paste::{self, line_with};
use crate::commands::clients::program;
use crate::commands::clients::report::{Paste, Report};
use crate::commands::clients::uv::config::{OPTION, path};
use crate::commands::clients::values;
use crate::session::Session;

pub const CLIENT: Client = Client {
    name: "uv",
    about: "uv asks ycred about the cloud's package indexes",
    is_found: |session| program::find("uv", session).is_some(),
    uses_default: true,
    is_pasted: true,
    setup,
    undo_without_journal: keyring::undo_without_journal,
    uses,
    check: Some(&check::CHECK),
    ..Client::PLAIN
};

/// Returns true if uv runs `keyring`.
fn is_on(session: &Session<'_>) -> bool {
    let text = path(session).map(|path| paste::read(&path)).unwrap_or_default();
    let is_set = line_with(&text, |line| {
        line.split_once('=').is_some_and(|(key, value)| key.trim() == OPTION && value.contains(SUBPROCESS))
    });
    is_set.is_some() || session.environment.get(UV_KEYRING_PROVIDER).is_some_and(|value| value == SUBPROCESS)
}

fn setup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let chosen = keyring::chosen(call, session)?;
    let ycred = program::ycred(call, session)?;
    let link = keyring::link_path(session)?;
    let mut report = Report::default();
    if let Some(link) = &link {
        let mut change = values::link(call, link, Path::new(&ycred.path))?;
        (change.profile, change.account) = (Some(chosen.argument.clone()), Some(chosen.account.clone()));
        report.changes.push(change);
    }
    report.notes.push(format!("uv gets its passwords from ycred {}", chosen.description()));
    if !is_on(session)
        && let Some(path) = path(session)
    {
        report.pastes.push(Paste::new(path.display().to_string(), format!("{OPTION} = \"{SUBPROCESS}\"")));
    }
    report.notes.extend(ycred.note);
    report.notes.extend(keyring::path_note(link.as_deref(), session));
    report.notes.push("uv needs the user name `iam` in the URL of the index, in front of the host and an @".to_owned());
    Ok(report)
}

fn uses(session: &Session<'_>) -> Vec<Use> {
    let is_used = is_on(session) && keyring::is_linked(session);
    let file = path(session).filter(|_| is_used);
    file.map(|file| Use { file, label: OPTION.to_owned(), profile: None, note: None }).into_iter().collect()
}
