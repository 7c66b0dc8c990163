//! Steps that clients share: setting values in one file, and creating links.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};
use crate::commands::clients::client::SetupCall;
use crate::commands::clients::report::{ChangeReport, shown};
use crate::edit::change::{EditPlan, OwnerLock};
use crate::edit::journal::{Journal, JournalEntry, Step, follow};
use crate::edit::place::Place;
use crate::edit::splice::{EditRefusal, Format};
use crate::edit::target::TargetFile;
use crate::edit::tree::TreeNode;

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
    let read = if before.trim().is_empty() { file.empty } else { &before };
    let root = file.format.parse(read).map_err(|why| refused(file, target, &EditRefusal::Syntax(why), None))?;
    let (mut text, mut journal) = (target.text.clone(), journal.clone());
    let (mut entries, mut reports) = (Vec::<JournalEntry>::new(), Vec::new());
    for setting in plan(&root)? {
        let place = Place {
            client: call.client.name,
            file: &target.real,
            label: setting.label.clone(),
            format: file.format,
            path: setting.path.clone(),
        };
        let planned = place
            .set(text.as_deref(), &setting.value, &journal)
            .map_err(|why| refused(file, target, &why, Some(&setting)))?;
        let mut report = ChangeReport::new(call.client.name, &target.spelled, setting.label);
        report.is_changed = planned.entry.is_some();
        report.summary = if report.is_changed { setting.summary } else { format!("{}: already set up", report.place) };
        if let Some(entry) = &planned.entry {
            let shown = |text: &Option<String>| shown(entry, text.as_deref().unwrap_or_default());
            (report.before, report.after) = (shown(&text), shown(&planned.text));
        }
        for mut entry in planned.others.into_iter().chain(planned.entry) {
            // The first value has created the file for all of them.
            entry.created |= target.text.is_none();
            journal.note(entry.clone());
            entries.retain(|other| !other.is_same_place(&entry));
            entries.push(entry);
        }
        text = planned.text;
        reports.push(report);
    }
    let is_unchanged = entries.is_empty();
    let after = if is_unchanged { target.text.clone() } else { text };
    Ok((EditPlan { after, put: entries, remove: Vec::new() }, reports))
}

fn refused(file: &ConfigFile<'_>, target: &TargetFile, why: &EditRefusal, setting: Option<&PlannedSetting>) -> Error {
    let path = target.spelled.display();
    match (why, setting) {
        (EditRefusal::Syntax(why), _) => Error::profile(format!("{path}:{}: {}", why.line, why.why))
            .hint(format!("fix the file: {}", file.consequence)),
        (why, Some(setting)) => {
            let why = match why {
                EditRefusal::Unsupported(why) => format!("cannot be edited: {why}"),
                _ => "cannot be edited without changing other parts".to_owned(),
            };
            let place: Vec<&str> = setting.path.iter().map(Step::name).collect();
            Error::profile(format!("{path}: {}: {why}", setting.label)).hint(format!(
                "edit the file yourself: set {} to {}",
                place.join(" → "),
                crate::edit::render::flow(&setting.value)
            ))
        }
        (_, None) => Error::profile(format!("{path}: cannot be edited")),
    }
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

/// Creates links, then writes the configuration that names them, so that the configuration never names a missing program.
/// If the configuration cannot be written, new links go again.
///
/// # Errors
/// As [`link`], and those of `write`.
pub fn with_links<T>(
    call: &SetupCall<'_>,
    paths: &[PathBuf],
    ycred: &Path,
    write: impl FnOnce() -> Result<T>,
) -> Result<(Vec<ChangeReport>, T)> {
    let mut reports = Vec::new();
    let created = || -> Result<T> {
        for path in paths {
            reports.push(link(call, path, ycred)?);
        }
        write()
    };
    match created() {
        Ok(written) => Ok((reports, written)),
        Err(error) => {
            let is_new =
                |path: &Path| reports.iter().any(|report| report.is_changed && Path::new(&report.file) == path);
            if let Ok(journal) = call.editor.journal() {
                for entry in journal.of_client(call.client.name).filter(|entry| is_new(&entry.file)) {
                    // Best effort: a link that nothing names does no harm.
                    let _ = call.editor.unlink(entry);
                }
            }
            Err(error)
        }
    }
}

/// [`with_links`] for one link, or for none.
///
/// # Errors
/// As [`with_links`].
pub fn with_link<T>(
    call: &SetupCall<'_>,
    path: Option<&Path>,
    ycred: &Path,
    write: impl FnOnce() -> Result<T>,
) -> Result<(Option<ChangeReport>, T)> {
    let paths: Vec<PathBuf> = path.map(Path::to_owned).into_iter().collect();
    let (reports, written) = with_links(call, &paths, ycred, write)?;
    Ok((reports.into_iter().next(), written))
}
