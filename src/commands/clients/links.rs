//! The links through which clients call ycred, for installations without them, such as `cargo install`.

use std::path::{Path, PathBuf};

use crate::base::error::Result;
use crate::commands::clients::client::{Client, SetupCall};
use crate::commands::clients::keyring;
use crate::commands::clients::program;
use crate::commands::clients::report::Report;
use crate::commands::clients::undo;
use crate::commands::clients::values;
use crate::disk::files;
use crate::edit::journal::JournalEntry;
use crate::session::Session;
use crate::system::programs;

pub const CLIENT: Client = Client {
    name: "links",
    about: "creates the links by which clients run ycred, in its directory",
    flags: &["dir"],
    setup,
    selects,
    undo_without_journal,
    ..Client::PLAIN
};

fn setup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let ycred = program::ycred(call, session)?;
    let directory = call.path("dir", session)?;
    let directory = directory.or_else(|| Path::new(&ycred.path).parent().map(PathBuf::from)).unwrap_or_default();
    let mut report = Report::default();
    for name in (call.links)() {
        match values::link(call, &directory.join(programs::own_file_name(name)), Path::new(&ycred.path)) {
            Ok(change) => report.changes.push(change),
            Err(error) => report.add(Report::failed(error)),
        }
    }
    report.notes.extend(ycred.note);
    Ok(report)
}

fn selects(call: &SetupCall<'_>, session: &Session<'_>, entry: &JournalEntry) -> Result<bool> {
    Ok(call.path("dir", session)?.is_none_or(|directory| entry.file.parent() == Some(directory.as_path())))
}

/// Without a journal, removes the links to ycred that no known configuration names.
fn undo_without_journal(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let mut directories: Vec<PathBuf> = call.path("dir", session)?.into_iter().collect();
    let ycred = program::running(session);
    // The only name of this ycred may be a link of krew's.
    let own_path = ycred.as_ref().ok().map(|ycred| PathBuf::from(&ycred.path));
    if directories.is_empty() {
        let ycred = ycred?;
        directories.extend(Path::new(&ycred.path).parent().map(PathBuf::from));
        directories.extend(session.places.home.iter().map(|home| home.join(".local/bin")));
        directories.extend(keyring::directory(session));
        directories.dedup();
    }
    let is_name = |name: &str| {
        let is_link = |link: &&str| name == *link || program::has_suffix(name, link);
        name == keyring::NAME || (call.links)().iter().any(is_link)
    };
    let mut report = Report::default();
    for directory in directories {
        let entries = files::paths(&directory).into_iter();
        let is_link = |path: &PathBuf| programs::own_name(path).is_some_and(is_name) && Some(path) != own_path.as_ref();
        let mut links: Vec<PathBuf> = entries.filter(is_link).collect();
        links.sort();
        for link in links {
            report.add(undo::unlink_by_form(call, &link, session)?);
        }
    }
    Ok(report)
}
