//! Undoes what `setup` has configured: by the journal from the newest entry to the oldest; without an entry, by
//! recognizing what ycred writes.

use std::cell::RefCell;
use std::path::Path;

use crate::base::error::{Error, Result};
use crate::commands::clients::client::SetupCall;
use crate::commands::clients::profiles;
use crate::commands::clients::program;
use crate::commands::clients::report::{ChangeReport, Report};
use crate::edit::change::EditPlan;
use crate::edit::installed::is_installed;
use crate::edit::journal::{JournalEntry, What};
use crate::edit::place::redo;
use crate::edit::splice::EditRefusal;
use crate::edit::undo::{Undone, take_out, undo};
use crate::profile::find;
use crate::session::Session;
use crate::system::{access, files, process, programs};

/// Sets up a client, unless the journal's entries about it are damaged: what stood in its file first would be lost.
///
/// # Errors
/// Profile (3): an entry is damaged. Otherwise those of the client.
pub fn setup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    call.editor.remove_abandoned_lock();
    match call.editor.journal()?.damaged(Some(call.client.name)).next() {
        Some(damaged) => Err(damaged.clone()),
        None => {
            let mut report = (call.client.setup)(call, session)?;
            report.add(Report { notes: profiles::notes(call, &report, session), ..Report::default() });
            report.changes.extend(remove_dead_links(call, session)?);
            Ok(report)
        }
    }
}

/// Removes the links that setup has created for profiles that do not exist any more, unless a configuration names them.
/// Such a link is left when a profile was renamed or removed, and its client has got another one.
fn remove_dead_links(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Vec<ChangeReport>> {
    let mut changes = Vec::new();
    // What is pasted may be in any file.
    if call.client.is_pasted {
        return Ok(changes);
    }
    let journal = call.editor.journal()?;
    for entry in journal.of_client(call.client.name).filter(|entry| matches!(entry.what, What::Link { .. })) {
        // A name such as `ycred-bazel` has no profile.
        let profile = programs::own_name(&entry.file).and_then(|name| name.split_once("-ycred-"));
        let is_dead = profile.is_some_and(|(_, name)| matches!(find::by_name(name, session.places), Ok(None)));
        if is_dead && name_of(call, &entry.file, session).is_none() && call.editor.unlink(entry)? {
            let mut report = ChangeReport::new(call.client.name, &entry.file, "link");
            (report.is_changed, report.summary) = (true, "removed the link, whose profile is gone".to_owned());
            changes.push(report);
        }
    }
    Ok(changes)
}

/// Undoes what the flags of a call for one client select.
///
/// # Errors
/// As [`crate::edit::change::Editor::journal`], and those of the flags.
pub fn unsetup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    call.editor.remove_abandoned_lock();
    let journal = call.editor.journal()?;
    let mut entries = Vec::new();
    for entry in journal.of_client(call.client.name).rev() {
        if (call.client.selects)(call, session, entry)? {
            entries.push(entry.clone());
        }
    }
    let is_link = |entry: &JournalEntry| matches!(entry.what, What::Link { .. });
    // The flags may select a place that somebody else has written, beside those that the journal knows.
    let is_unknown = entries.is_empty() || entries.iter().all(is_link) && call.is_partial() && !call.client.is_pasted;
    let mut report = match is_unknown && journal.damaged(Some(call.client.name)).next().is_none() {
        true => (call.client.undo_without_journal)(call, session)?,
        false => Report::default(),
    };
    report.add(undo_entries(&entries, |_| Some(call), session));
    if !entries.is_empty() && !call.is_partial() {
        name_remaining(&mut report, call, session);
    }
    report.failures.extend(journal.damaged(Some(call.client.name)).cloned());
    name_left_links(&mut report);
    call.editor.remove_unused_lock();
    Ok(report)
}

/// Undoes everything: each entry of the journal, then what other clients have without a journal, then links that nothing
/// names.
///
/// # Errors
/// As [`crate::edit::change::Editor::journal`].
pub fn unsetup_all(calls: &[SetupCall<'_>], session: &Session<'_>) -> Result<Report> {
    let Some(first) = calls.first() else { return Ok(Report::default()) };
    first.editor.remove_abandoned_lock();
    let journal = first.editor.journal()?;
    let entries: Vec<JournalEntry> = journal.entries().iter().rev().cloned().collect();
    let call_of = |entry: &JournalEntry| calls.iter().find(|call| call.client.name == entry.client);
    let mut report = undo_entries(&entries, call_of, session);
    let has_entry = |call: &&SetupCall<'_>| {
        let name = call.client.name;
        entries.iter().any(|entry| entry.client == name) || journal.damaged(Some(name)).next().is_some()
    };
    for call in calls {
        match has_entry(&call) {
            true => name_remaining(&mut report, call, session),
            false => report.add((call.client.undo_without_journal)(call, session).unwrap_or_else(Report::failed)),
        }
    }
    report.failures.extend(journal.damaged(None).cloned());
    name_left_links(&mut report);
    first.editor.remove_unused_lock();
    Ok(report)
}

/// Undoes entries, given from the newest to the oldest: first those in files, then the links that these have named.
fn undo_entries<'a, 'b: 'a>(
    entries: &[JournalEntry],
    call_of: impl Fn(&JournalEntry) -> Option<&'a SetupCall<'b>>,
    session: &Session<'_>,
) -> Report {
    let mut report = Report::default();
    let is_link = |entry: &&JournalEntry| matches!(entry.what, What::Link { .. });
    let (links, values): (Vec<&JournalEntry>, Vec<&JournalEntry>) = entries.iter().partition(is_link);
    let mut kept = Vec::new();
    for entry in values {
        let undone = call_of(entry).map_or_else(|| Err(unknown(entry)), |call| undo_in_file(call, entry, session));
        match undone {
            Ok(change) => report.changes.push(change),
            Err(error) => {
                kept.push(entry.file.as_path());
                report.add(Report::failed(error));
            }
        }
    }
    let is_done = report.failures.is_empty();
    for (at, entry) in links.iter().enumerate() {
        // A file that could not be restored may still name the link. It may be one that cannot be parsed.
        let is_needed = call_of(entry).is_some_and(|call| {
            let may_name = |file: &&Path| call.editor.may_contain(file, helper_of(&entry.file));
            !removes_needed_links(call) && kept.iter().any(may_name)
        });
        if is_needed {
            continue;
        }
        // The last client that is undone removes a shared link, and reports it.
        let is_reported_later = links[at + 1..].iter().any(|later| later.file == entry.file);
        match call_of(entry).map_or_else(|| Err(unknown(entry)), |call| unlink(call, entry, is_done, session)) {
            Ok(change) => report.changes.extend(change.filter(|_| !is_reported_later)),
            Err(error) => report.add(Report::failed(error)),
        }
    }
    report
}

/// Describes an entry of another version of ycred.
fn unknown(entry: &JournalEntry) -> Error {
    Error::profile(format!("{}: {}: unknown client {}", entry.file.display(), entry.label, entry.client))
        .hint("undo it with the version of ycred that has set it up")
}

fn undo_in_file(call: &SetupCall<'_>, entry: &JournalEntry, session: &Session<'_>) -> Result<ChangeReport> {
    let is_forced = call.is_set("force");
    let report = RefCell::new(None);
    let (_, is_changed) = call.editor.edit(&entry.file, call.client.owner, |target, journal| {
        let mut planned = ChangeReport::new(call.client.name, &target.spelled, entry.label.clone());
        let drop_entry = |text: Option<String>| EditPlan { after: text, put: Vec::new(), remove: vec![entry.clone()] };
        let (Some(text), Some(entry)) = (&target.text, journal.find(entry)) else {
            let is_known = journal.find(entry).is_some();
            // Perhaps it has only been moved, or its disk is not mounted: without the entry, what stood there would be lost.
            if is_known && !entry.created && !is_forced {
                return Err(Error::profile(format!(
                    "{}: {}: cannot be restored, because the file is gone",
                    target.spelled.display(),
                    entry.label
                ))
                .hint("put the file back, then run the command again; if it is gone for good, pass --force"));
            }
            planned.summary = format!("{}: nothing to undo, because the file is gone", entry.label);
            *report.borrow_mut() = Some(planned);
            return Ok(drop_entry(target.text.clone()));
        };
        let undo = |entry: &JournalEntry, text: &str| match undo(entry, text, is_forced) {
            Ok(Undone::Changed) if matches!(entry.what, What::Option { .. }) => {
                (call.client.undo_option)(call, session, entry, text)
            }
            Ok(Undone::Changed) if (call.client.is_given_up)(entry, text) => Ok(Undone::Absent),
            Ok(undone) => Ok(undone),
            Err(why) => Err(cannot_undo(&target.spelled, entry, &why)),
        };
        let redo = |entry: &JournalEntry, text: Option<&str>| match entry.what {
            What::Option { .. } => (call.client.redo_option)(call, session, entry, text),
            _ => redo(entry, text).map_err(|why| cannot_undo(&target.spelled, entry, &why)),
        };
        let taken = take_out(entry, text, journal, undo, redo)?;
        let plan = match taken.undone {
            Undone::Restored(after) => {
                let shown = |text: &str| (call.client.shown)(call, session, entry, text);
                (planned.before, planned.after) = (shown(text), shown(after.as_deref().unwrap_or_default()));
                planned.summary = match &after {
                    Some(after) if after == text => {
                        format!("{}: nothing to undo, because it was the same before setup", entry.label)
                    }
                    Some(_) => format!("{}: restored", entry.label),
                    None => format!("{}: removed the file, which setup had created", entry.label),
                };
                EditPlan { put: taken.others, ..drop_entry(after) }
            }
            Undone::Absent => {
                planned.summary = format!("{}: nothing to undo, because ycred is not there any more", entry.label);
                drop_entry(Some(text.clone()))
            }
            Undone::Changed => {
                let place = format!("{}: {}", target.spelled.display(), entry.label);
                return Err(Error::profile(format!("{place}: changed since `ycred setup`"))
                    .hint("to replace it by what was there before setup, pass --force"));
            }
        };
        *report.borrow_mut() = Some(planned);
        Ok(plan)
    })?;
    let report = report.into_inner().ok_or_else(|| Error::internal("the edit made no plan"))?;
    Ok(ChangeReport { is_changed, ..report })
}

fn cannot_undo(path: &Path, entry: &JournalEntry, why: &EditRefusal) -> Error {
    let path = path.display();
    match why {
        EditRefusal::Syntax(error) => Error::profile(format!("{path}:{}: {}", error.line, error.why))
            .hint("fix that line, then run the command again"),
        _ => Error::profile(format!("{path}: {}: cannot be restored without changing other parts", entry.label))
            .hint("edit the file yourself: remove what names ycred"),
    }
}

/// Returns true if links go although a file still names them. With flags that select some places, `--force` is about these
/// places, and the others need the link.
fn removes_needed_links(call: &SetupCall<'_>) -> bool {
    call.is_set("force") && !call.is_partial()
}

/// Removes a link that setup has created. A link that another client shares stays, and goes with that client. A link that a
/// configuration file still names stays too. If every file has been restored (`is_done`), that is an error; otherwise the
/// failure to restore the file has been reported already.
fn unlink(
    call: &SetupCall<'_>,
    entry: &JournalEntry,
    is_done: bool,
    session: &Session<'_>,
) -> Result<Option<ChangeReport>> {
    let sharers = call.editor.sharers(entry)?;
    if sharers.is_empty()
        && !removes_needed_links(call)
        && let Some(file) = name_of(call, &entry.file, session)
    {
        // Then another error has been reported, or the flags select only some of the places that need the link.
        if !is_done || call.is_partial() {
            return Ok(None);
        }
        let hint = "remove what names it from that file, then run the command again";
        return Err(Error::profile(format!("{}: needed by {file}", entry.file.display())).hint(hint));
    }
    let is_changed = call.editor.unlink(entry)?;
    let mut report = ChangeReport::new(call.client.name, &entry.file, "link");
    report.is_changed = is_changed;
    report.summary = match (is_changed, sharers.is_empty()) {
        (true, _) => "removed the link".to_owned(),
        (false, true) if is_installed(&entry.file) => {
            "left, because the installer of ycred has created it too".to_owned()
        }
        (false, true) => "nothing to undo, because the link is gone or leads elsewhere".to_owned(),
        (false, false) => format!("left for {}, which also uses the link", sharers.join(" and ")),
    };
    Ok(Some(report))
}

/// Returns the configuration file that names a link, for people.
fn name_of(call: &SetupCall<'_>, link: &Path, session: &Session<'_>) -> Option<String> {
    let mut files = call.clients.iter().filter_map(|client| (client.file_naming_link)(call, session, link));
    files.next().map(|file| file.display().to_string())
}

/// Returns the part of a link's name that configurations contain.
fn helper_of(link: &Path) -> &str {
    let name = programs::own_name(link).unwrap_or_default();
    &name[name.find("ycred").unwrap_or_default()..]
}

/// Without a journal, removes a link to ycred that no known configuration names.
///
/// A link that belongs to an installation stays, in any directory. Outside the home directory, these stay too: a link that a
/// package may have installed, because it has the plain name of a hook; a link of another user; and for root all links, because
/// those in a directory such as `/usr/local/bin` serve every user of the machine. The report names the last kind.
///
/// # Errors
/// Profile (3): the link cannot be removed.
pub fn unlink_by_form(call: &SetupCall<'_>, link: &Path, session: &Session<'_>) -> Result<Report> {
    let mut report = Report::default();
    // A link that was there before setup has just been restored.
    if call.editor.has_undone_link(link) {
        return Ok(report);
    }
    let is_copy = files::LINKS_ARE_FILES && program::is_running(link);
    let is_ours = is_copy
        || std::fs::read_link(link).is_ok_and(|target| {
            let is_gone = !link.exists();
            programs::own_name(&target) == Some("ycred") && is_gone || program::is_running(link)
        });
    let is_in_home = session.places.home.as_ref().is_some_and(|home| link.starts_with(home));
    let has_plain_name = programs::own_name(link).is_some_and(|file| (call.links)().contains(&file));
    let is_noted = call.editor.journal()?.entries().iter().any(|entry| entry.file == *link);
    let is_of_installation = is_installed(link) || is_of_package(link);
    if !is_ours
        || is_noted
        || is_of_installation
        || has_plain_name && !is_in_home
        || name_of(call, link, session).is_some()
    {
        return Ok(report);
    }
    if !is_in_home {
        if !std::fs::symlink_metadata(link).is_ok_and(|metadata| files::is_own(&metadata)) {
            return Ok(report);
        }
        if process::effective_uid() == 0 {
            report.left_links.push(link.to_owned());
            return Ok(report);
        }
    }
    call.editor.remove_link(link)?;
    let mut change = ChangeReport::new(call.client.name, link, "link");
    (change.is_changed, change.summary) = (true, "removed the link".to_owned());
    report.changes.push(change);
    Ok(report)
}

/// Returns true if a package manager has linked the link of a package, such as Homebrew's in the home directory: `setup` links to
/// the program itself.
fn is_of_package(link: &Path) -> bool {
    std::fs::read_link(link).is_ok_and(|target| target.file_name() == link.file_name())
}

/// Adds a line for each place that names ycred and that setup did not write. What the journal still has is named otherwise.
fn name_remaining(report: &mut Report, call: &SetupCall<'_>, session: &Session<'_>) {
    let Ok(journal) = call.editor.journal() else { return };
    let is_noted = |label: &str| journal.of_client(call.client.name).any(|entry| entry.label == label);
    let places = (call.client.remaining)(call, session).into_iter();
    report.notes.extend(places.filter(|(label, _)| !is_noted(label)).map(|(_, note)| note));
}

/// Adds a line that names the links that were left.
fn name_left_links(report: &mut Report) {
    report.left_links.sort();
    report.left_links.dedup();
    let (links, commands): (Vec<String>, Vec<String>) =
        report.left_links.iter().map(|link| (link.display().to_string(), access::remove_command(link))).unzip();
    if !links.is_empty() {
        report.notes.push(format!(
            "{}: left, because other users of this machine may need them; to remove them: {}",
            links.join(", "),
            commands.join(" && ")
        ));
    }
}
