//! pip: ycred as the program `keyring`, and the option of pip that runs it.

mod check;
mod config;

use std::path::Path;

use crate::base::environment::PIP_KEYRING_PROVIDER;
use crate::base::error::{Error, Result};
use crate::commands::clients::client::{Client, SetupCall, Use};
use crate::commands::clients::keyring::{self, SUBPROCESS};
use crate::commands::clients::pip::config::{OPTION, SECTION, SPELLINGS, path};
use crate::commands::clients::profiles::Chosen;
use crate::commands::clients::program;
use crate::commands::clients::public;
use crate::commands::clients::report::Report;
use crate::commands::clients::values::{self, ConfigFile, PlannedSetting, find, keys};
use crate::edit::splice::Format;
use crate::edit::target::TargetFile;
use crate::edit::tree::TreeNode;
use crate::session::Session;

pub const CLIENT: Client = Client {
    name: "pip",
    about: "pip asks ycred about the cloud's package indexes",
    is_found: |session| program::is_any_found(&["pip", "pip3"], session),
    uses_default: true,
    setup,
    undo_without_journal: keyring::undo_without_journal,
    uses,
    check: Some(&check::CHECK),
    ..Client::PLAIN
};

/// Programs that are pip, or run it as a module.
const PROGRAMS: [&str; 4] = ["pip", "pip3", "python3", "python"];

fn setup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    if !program::is_any_found(&PROGRAMS, session) {
        return Err(Error::usage("neither pip nor python3 is in PATH").hint("install pip"));
    }
    let chosen = keyring::chosen(call, session)?;
    let ycred = program::ycred(call, session)?;
    let link = keyring::link_path(session)?;
    let path = path(session)?;
    let file = ConfigFile { path: &path, format: Format::Ini, empty: "", consequence: "pip cannot read it either" };
    let is_forced = call.is_set("force");
    let (linked, mut changes) = values::with_link(call, link.as_deref(), Path::new(&ycred.path), || {
        values::set(call, &file, |root| setting(root, &chosen, is_forced).map(|setting| vec![setting]))
    })?;
    for change in &mut changes {
        (change.profile, change.account) = (Some(chosen.argument.clone()), Some(chosen.account.clone()));
    }
    let mut report = Report { changes: linked.into_iter().chain(changes).collect(), ..Report::default() };
    report.notes.extend(ycred.note);
    report.notes.extend(keyring::path_note(link.as_deref(), session));
    report.notes.push(
        "pip before 26 needs the user name `iam` in the URL of the index, in front of the host and an @".to_owned(),
    );
    if session.environment.get(PIP_KEYRING_PROVIDER).is_some_and(|value| value != SUBPROCESS) {
        report.notes.push(format!("{PIP_KEYRING_PROVIDER} is set in the environment, and pip prefers it: unset it"));
    }
    Ok(report)
}

fn setting(root: &TreeNode, chosen: &Chosen, is_forced: bool) -> Result<PlannedSetting> {
    // The sections of pip's commands override `global`.
    for (section, options) in root.members() {
        let name = section.as_text().unwrap_or_default();
        let other = SPELLINGS.iter().find_map(|spelling| options.member(spelling)).and_then(TreeNode::as_text);
        if let Some(other) = other.filter(|other| *other != SUBPROCESS)
            && (name != SECTION || !is_forced)
        {
            let why = match public::helper(other) {
                "" => "the value is empty".to_owned(),
                public::HIDDEN => "pip uses another provider".to_owned(),
                known => format!("pip uses the provider {known}"),
            };
            let error = Error::profile(format!("[{name}] {OPTION}: {why}"));
            return Err(match name == SECTION {
                true => error.hint("to replace it, pass --force"),
                false => error.hint(format!("remove it first: pip config unset {name}.{OPTION}")),
            });
        }
    }
    let spelling = SPELLINGS.into_iter().find(|spelling| find(root, &keys(&[SECTION, spelling])).is_some());
    Ok(PlannedSetting {
        label: format!("[{SECTION}] {OPTION}"),
        path: keys(&[SECTION, spelling.unwrap_or(OPTION)]),
        value: TreeNode::text(SUBPROCESS),
        summary: format!("[{SECTION}] {OPTION} = {SUBPROCESS}: ycred {}", chosen.description()),
    })
}

fn uses(session: &Session<'_>) -> Vec<Use> {
    let Ok(path) = path(session) else { return Vec::new() };
    let text = TargetFile::read(&path).ok().and_then(|target| target.text).unwrap_or_default();
    let root = Format::Ini.parse(&text).unwrap_or_else(|_| TreeNode::null());
    let value = SPELLINGS.iter().find_map(|spelling| find(&root, &keys(&[SECTION, spelling])));
    let is_used = value.and_then(TreeNode::as_text) == Some(SUBPROCESS) && keyring::is_linked(session);
    is_used
        .then(|| Use { file: path, label: format!("{SECTION}.{OPTION}"), profile: None, note: None })
        .into_iter()
        .collect()
}
