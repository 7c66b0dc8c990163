//! Steps that clients share: setting values in one file, creating links, and undoing entries of the journal.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};
use crate::commands::clients::client::SetupCall;
use crate::commands::clients::report::{ChangeReport, Report, dedent, without_arguments};
use crate::edit::change::{EditPlan, OwnerLock, Place};
use crate::edit::journal::{Exact, Journal, JournalEntry, Step, What, follow};
use crate::edit::splice::{EditRefusal, Format};
use crate::edit::target::TargetFile;
use crate::edit::tree::TreeNode;
use crate::edit::undo::{Undone, difference, undo};

/// A file to set values in.
pub struct ConfigFile<'a> {
    pub path: &'a Path,
    pub format: Format,
    /// What a file without content stands for, such as `{}`.
    pub empty: &'static str,
    /// What the client does with a file that cannot be parsed, for the error.
    pub consequence: &'static str,
}

/// A value to set.
pub struct PlannedSetting {
    pub label: String,
    pub path: Vec<Step>,
    pub value: TreeNode,
    /// The report's line, without the file.
    pub summary: String,
}

/// Returns a path of keys.
pub fn keys(keys: &[&str]) -> Vec<Step> {
    keys.iter().map(|key| Step::Key((*key).to_owned())).collect()
}

/// Returns the value at a path.
pub fn find<'a>(root: &'a TreeNode, path: &[Step]) -> Option<&'a TreeNode> {
    let (pointer, steps) = follow(root, path);
    root.at(&pointer).filter(|_| steps == path.len())
}

/// Sets values in one file with one write. `plan` looks at the file and returns the values.
///
/// # Errors
/// Those of `plan`. Profile (3): the file cannot be parsed or edited; the hint has the values to paste.
pub fn set(
    call: &SetupCall<'_>,
    file: &ConfigFile<'_>,
    plan: impl Fn(&TreeNode) -> Result<Vec<PlannedSetting>>,
) -> Result<Vec<ChangeReport>> {
    let reports = RefCell::new(Vec::new());
    let (_, _) = call.editor.edit(file.path, OwnerLock::None, |target, journal| {
        let (edit, planned) = plan_settings(call, file, target, journal, &plan)?;
        *reports.borrow_mut() = planned;
        Ok(edit)
    })?;
    Ok(reports.into_inner())
}

fn plan_settings(
    call: &SetupCall<'_>,
    file: &ConfigFile<'_>,
    target: &TargetFile,
    journal: &Journal,
    plan: &impl Fn(&TreeNode) -> Result<Vec<PlannedSetting>>,
) -> Result<(EditPlan, Vec<ChangeReport>)> {
    let before = target.text.clone().unwrap_or_default();
    let is_blank = before.trim().is_empty();
    let mut text = if is_blank { file.empty.to_owned() } else { before.clone() };
    let root = file.format.parse(&text).map_err(|why| refused(file, target, &EditRefusal::Syntax(why), None))?;
    let (mut entries, mut reports) = (Vec::new(), Vec::new());
    for setting in plan(&root)? {
        let place = Place {
            client: call.client.name,
            file: &target.real,
            label: setting.label.clone(),
            format: file.format,
            path: setting.path.clone(),
        };
        let planned = place
            .set(&text, target.text.is_none(), &setting.value, journal)
            .map_err(|why| refused(file, target, &why, Some(&setting)))?;
        let mut report = ChangeReport::new(call.client.name, &target.spelled, setting.label);
        report.is_changed = planned.entry.is_some();
        report.summary = if report.is_changed { setting.summary } else { format!("{}: already set up", report.place) };
        if let Some(mut entry) = planned.entry {
            if is_blank && entries.is_empty() {
                // The first splice must lead back to the file as it was, not to what it stands for.
                entry.exact = Some(Exact::of(difference(&before, &planned.text), &planned.text));
            }
            (report.before, report.after) = (shown(&entry, &text), shown(&entry, &planned.text));
            entries.push(entry);
        }
        text = planned.text;
        reports.push(report);
    }
    let is_unchanged = entries.is_empty();
    let after = if is_unchanged { target.text.clone() } else { Some(text) };
    Ok((EditPlan { after, put: entries, remove: Vec::new() }, reports))
}

fn refused(file: &ConfigFile<'_>, target: &TargetFile, why: &EditRefusal, setting: Option<&PlannedSetting>) -> Error {
    let path = target.spelled.display();
    match (why, setting) {
        (EditRefusal::Syntax(why), _) => Error::profile(format!("{path}:{}: {}", why.line, why.why))
            .hint(format!("fix the file: {}", file.consequence)),
        (_, Some(setting)) => {
            Error::profile(format!("{path}: {}: cannot be edited without changing other parts", setting.label))
                .hint(format!("set it yourself to {}", crate::edit::render::flow(&setting.value)))
        }
        (_, None) => Error::profile(format!("{path}: cannot be edited")),
    }
}

/// Returns the text of an entry's place, with its name.
fn shown(entry: &JournalEntry, text: &str) -> String {
    match &entry.what {
        What::Value { format, path, .. } => {
            let root = format.parse(text).unwrap_or_else(|_| TreeNode::null());
            let Some(node) = find(&root, path) else { return String::new() };
            let name = match path.last() {
                Some(Step::Key(key)) => key.as_str(),
                _ => "",
            };
            let raw = dedent(&text[node.span.clone()]);
            let is_foreign_command = *format == Format::Ini && !raw.contains("ycred");
            let raw = if is_foreign_command { without_arguments(&raw) } else { raw };
            if raw.contains('\n') { raw } else { format!("{name}: {raw}") }
        }
        What::Text { ours } if text.contains(ours.as_str()) => ours.clone(),
        _ => String::new(),
    }
}

/// Undoes entries of the journal, given from the newest to the oldest. `other` undoes entries that only the client
/// understands.
pub fn undo_all(
    call: &SetupCall<'_>,
    entries: &[JournalEntry],
    other: impl Fn(&JournalEntry, &str, bool) -> Result<Undone>,
) -> Report {
    let mut report = Report::default();
    for entry in entries {
        let undone = match &entry.what {
            What::Link { .. } => unlink(call, entry),
            _ => undo_in_file(call, entry, &other),
        };
        match undone {
            Ok(change) => report.changes.push(change),
            Err(error) => report.add(Report::failed(error)),
        }
    }
    report
}

fn undo_in_file(
    call: &SetupCall<'_>,
    entry: &JournalEntry,
    other: &impl Fn(&JournalEntry, &str, bool) -> Result<Undone>,
) -> Result<ChangeReport> {
    let is_forced = call.is_set("force");
    let report = RefCell::new(None);
    let owner = if call.client.name == "git" { OwnerLock::BesideReal("git") } else { OwnerLock::None };
    let (_, is_changed) = call.editor.edit(&entry.file, owner, |target, journal| {
        let mut planned = ChangeReport::new(call.client.name, &target.spelled, entry.label.clone());
        let drop_entry = |text: Option<String>| EditPlan { after: text, put: Vec::new(), remove: vec![entry.clone()] };
        let (Some(text), Some(entry)) = (&target.text, journal.find(entry)) else {
            planned.summary = format!("{}: nothing to undo, because the file is gone", entry.label);
            *report.borrow_mut() = Some(planned);
            return Ok(drop_entry(target.text.clone()));
        };
        let undone = match undo(entry, text, is_forced) {
            Ok(Undone::Changed) if matches!(entry.what, What::Option { .. }) => other(entry, text, is_forced)?,
            Ok(undone) => undone,
            Err(EditRefusal::Syntax(why)) => {
                return Err(Error::profile(format!("{}:{}: {}", target.spelled.display(), why.line, why.why))
                    .hint("fix that line, then run the command again"));
            }
            Err(_) => Undone::Changed,
        };
        let plan = match undone {
            Undone::Restored(after) => {
                (planned.before, planned.after) =
                    (shown(entry, text), shown(entry, after.as_deref().unwrap_or_default()));
                planned.summary = match after {
                    Some(_) => format!("{}: restored", entry.label),
                    None => format!("{}: removed the file, which setup had created", entry.label),
                };
                drop_entry(after)
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

/// Creates a link to ycred. One that leads to ycred already stays.
///
/// # Errors
/// Profile (3): something else has this name, or the link cannot be created.
pub fn link(call: &SetupCall<'_>, path: &Path, ycred: &Path) -> Result<ChangeReport> {
    // A relative target survives a move of the directory.
    let is_beside = path.parent() == ycred.parent();
    let target = if is_beside { ycred.file_name().map(PathBuf::from).unwrap_or_default() } else { ycred.to_owned() };
    let is_changed = call.editor.link(call.client.name, path, &target)?;
    let mut report = ChangeReport::new(call.client.name, path, "link");
    report.is_changed = is_changed;
    report.summary = match is_changed {
        true => format!("linked to {}", ycred.display()),
        false => "linked to ycred already".to_owned(),
    };
    Ok(report)
}

/// Creates a link, then writes the configuration that names it, so that the configuration never names a missing program.
/// If the configuration cannot be written, a new link goes again.
///
/// # Errors
/// As [`link`], and those of `write`.
pub fn with_link<T>(
    call: &SetupCall<'_>,
    path: Option<&Path>,
    ycred: &Path,
    write: impl FnOnce() -> Result<T>,
) -> Result<(Option<ChangeReport>, T)> {
    let report = path.map(|path| link(call, path, ycred)).transpose()?;
    match write() {
        Ok(written) => Ok((report, written)),
        Err(error) => {
            if report.is_some_and(|report| report.is_changed)
                && let Ok(journal) = call.editor.journal()
                && let Some(entry) =
                    journal.of_client(call.client.name).find(|entry| Some(entry.file.as_path()) == path)
            {
                // Best effort: a link that nothing names does no harm.
                let _ = call.editor.unlink(entry);
            }
            Err(error)
        }
    }
}

fn unlink(call: &SetupCall<'_>, entry: &JournalEntry) -> Result<ChangeReport> {
    let is_changed = call.editor.unlink(entry)?;
    let mut report = ChangeReport::new(call.client.name, &entry.file, "link");
    report.is_changed = is_changed;
    report.summary =
        if is_changed { "removed the link" } else { "nothing to undo, because the link is gone" }.to_owned();
    Ok(report)
}
