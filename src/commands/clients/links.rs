//! The links through which clients call ycred, for installations without them, such as `cargo install`.

use std::path::{Path, PathBuf};

use crate::base::error::Result;
use crate::commands::clients::client::{Client, SetupCall, Use};
use crate::commands::clients::program;
use crate::commands::clients::report::Report;
use crate::commands::clients::values;
use crate::edit::journal::JournalEntry;
use crate::edit::undo::Undone;
use crate::session::Session;

pub const CLIENT: Client = Client {
    name: "links",
    about: "creates the links by which clients run ycred, in its directory",
    flags: &["dir"],
    is_found: |_| false,
    choice: None,
    setup,
    unsetup,
    uses: |_: &Session<'_>| -> Vec<Use> { Vec::new() },
    check: None,
    locks: |_| Vec::new(),
};

fn setup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let ycred = program::ycred(call, session)?;
    let directory = call.path("dir", session)?;
    let directory = directory.or_else(|| Path::new(&ycred.path).parent().map(PathBuf::from)).unwrap_or_default();
    let mut report = Report::default();
    for name in (call.links)() {
        match values::link(call, &directory.join(name), Path::new(&ycred.path)) {
            Ok(change) => report.changes.push(change),
            Err(error) => report.add(Report::failed(error)),
        }
    }
    report.notes.extend(ycred.note);
    Ok(report)
}

fn unsetup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let directory = call.path("dir", session)?;
    let journal = call.editor.journal()?;
    let is_selected = |entry: &&JournalEntry| directory.as_deref().is_none_or(|only| entry.file.parent() == Some(only));
    let entries: Vec<JournalEntry> = journal.of_client(CLIENT.name).filter(is_selected).rev().cloned().collect();
    Ok(values::undo_all(call, &entries, |_, _, _| Ok(Undone::Changed)))
}
