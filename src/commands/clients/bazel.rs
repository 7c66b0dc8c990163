//! bazel: a link as its credential helper, and the lines that name it.

mod check;
mod config;

use std::path::{MAIN_SEPARATOR, Path};

use crate::base::error::Result;
use crate::commands::clients::bazel::config::{FLAG, HOOK, paths};
use crate::commands::clients::client::{Client, SetupCall, Use};
use crate::commands::clients::paste;
use crate::commands::clients::profiles;
use crate::commands::clients::program;
use crate::commands::clients::report::{Paste, Report};
use crate::session::Session;

pub const CLIENT: Client = Client {
    name: "bazel",
    about: "bazel asks ycred about downloads and caches",
    flags: &["host"],
    is_found: |session| program::is_any_found(&["bazel", "bazelisk"], session),
    is_pasted: true,
    setup,
    undo_without_journal: |call, session| paste::undo_without_journal(HOOK, call, session),
    file_naming_link: |_, session, link| paste::naming_line(&paths(session), link).map(|(file, _)| file),
    uses,
    check: Some(&check::CHECK),
    ..Client::PLAIN
};

const USUAL: &str = "registry.yandexcloud.net";

fn setup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let chosen = profiles::chosen_or_default(call, session)?;
    let mut hosts = call.values("host");
    for host in &hosts {
        chosen.check_host(host, None)?;
    }
    if hosts.is_empty() && chosen.check_host(USUAL, None).is_ok() {
        hosts.push(USUAL.to_owned());
    }
    let ycred = program::ycred(call, session)?;
    let (link, mut change) = paste::link(call, &paste::link_name(HOOK, &chosen, session)?, &ycred.path, session)?;
    (change.profile, change.account) = (Some(chosen.argument.clone()), Some(chosen.account.clone()));
    let mut report = Report { changes: vec![change], ..Report::default() };
    report.notes.push(format!("the link uses ycred {}", chosen.description()));
    for path in paths(session) {
        let text = paste::read(&path);
        let lines = hosts.iter().map(|host| format!("common {FLAG}={host}={}\n", written(&link)));
        let missing: String = lines.filter(|line| !text.lines().any(|known| known.trim() == line.trim())).collect();
        if !missing.is_empty() {
            report.pastes.push(Paste::new(path.display().to_string(), missing));
        }
    }
    report.notes.extend(ycred.note);
    Ok(report)
}

/// Returns a path as bazel reads it in its configuration, where a backslash is an escape.
fn written(path: &Path) -> String {
    path.display().to_string().replace(MAIN_SEPARATOR, "/")
}

fn uses(session: &Session<'_>) -> Vec<Use> {
    paste::uses_in(&paths(session), FLAG, HOOK)
}
