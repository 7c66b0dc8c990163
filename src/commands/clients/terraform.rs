//! Terraform and OpenTofu: ycred as the credentials helper for private registries, in a file of its own.

mod check;
pub mod config;
mod syntax;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};
use crate::base::shell;
use crate::commands::clients::client::{Client, SetupCall, Use, flag, profile_in};
use crate::commands::clients::profiles;
use crate::commands::clients::program;
use crate::commands::clients::public;
use crate::commands::clients::report::{self, ChangeReport, Report};
use crate::commands::clients::terraform::config::{
    OWN_FILE, PREFIX, chosen_file, directories, extra_files, helpers, is_ours, main_files,
};
use crate::commands::clients::undo::unlink_by_form;
use crate::commands::clients::values;
use crate::edit::change::{EditPlan, OwnerLock};
use crate::edit::journal::{Exact, JournalEntry, What};
use crate::edit::splice;
use crate::edit::target::TargetFile;
use crate::edit::undo::{Undone, difference, undo};
use crate::session::Session;
use crate::system::programs;

pub const CLIENT: Client = Client {
    name: "terraform",
    about: "Terraform and OpenTofu ask ycred about private registries",
    flags: &["file", "tofu"],
    is_found: |session| program::is_any_found(&["terraform", "tofu"], session),
    setup,
    selects,
    undo_without_journal,
    file_naming_link,
    uses,
    selection: |place, session| config::selection(&place.file, session),
    check: Some(&check::CHECK),
    ..Client::PLAIN
};

fn setup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let directories = directories(call.is_set("tofu"), session)?;
    let file = call.path("file", session)?;
    let target = file.clone().unwrap_or_else(|| directories.configuration.join(OWN_FILE));
    let in_target = TargetFile::read(&target).ok().and_then(|target| target.text).unwrap_or_default();
    let served = helpers(&in_target).into_iter().filter(|(_, helper)| is_ours(helper));
    let chosen = profiles::chosen_or_kept(call, served.map(|(_, helper)| profile_in(&helper)), session)?;
    let suffix = chosen.suffix("a helper's name", session)?;
    let helper = suffix.map_or_else(|| "ycred".to_owned(), |profile| format!("ycred-{profile}"));
    let mut files = main_files(session);
    files.extend(extra_files(&directories.configuration));
    // The block that setup has written is replaced.
    files.retain(|path| !is_replaced(call, path, &target));
    refuse_another_helper(&files, &helper)?;
    let ycred = program::ycred(call, session)?;
    let mut report = Report::default();
    let link = directories.plugins.join(programs::own_file_name(&format!("{PREFIX}{helper}")));
    let (linked, mut change) = values::with_link(call, Some(&link), Path::new(&ycred.path), || {
        write_block(call, &target, file.is_some(), &helper)
    })?;
    report.changes.extend(linked);
    if change.is_changed {
        change.summary = format!("credentials_helper \"{helper}\": ycred {}", chosen.description());
    }
    (change.profile, change.account) = (Some(chosen.argument), Some(chosen.account));
    report.changes.push(change);
    report.notes.extend(ycred.note);
    report.notes.extend(chosen.kept_note);
    for path in files.iter().filter(|path| **path != target) {
        let text = TargetFile::read(path)?.text.unwrap_or_default();
        if let Some((line, why)) = syntax::error(&text) {
            report.notes.push(format!("terraform cannot read {}:{line}: {why}", path.display()));
        }
    }
    if file.is_none()
        && let Some((variable, hiding)) = chosen_file(session)
    {
        let hiding = hiding.display().to_string();
        report.notes.push(format!(
            "{variable} is set, so terraform reads {hiding} instead; to add the helper there: ycred setup terraform --file {}",
            shell::word(&hiding)
        ));
    }
    let profile = call.profile_argument()?.map(|profile| format!(" {}", flag("profile", &profile))).unwrap_or_default();
    report.notes.push(format!(
        "the helper serves private registries; for the Yandex provider: ycred exec{profile} -- terraform apply"
    ));
    Ok(report)
}

/// Returns true if the only helper in a file is in the block that setup has written into `target`.
fn is_replaced(call: &SetupCall<'_>, path: &Path, target: &Path) -> bool {
    let Ok(file) = TargetFile::read(target) else { return false };
    let text = file.text.unwrap_or_default();
    let key = JournalEntry::new(CLIENT.name, &file.real, "credentials_helper", What::Text { ours: String::new() });
    program::is_one_of(path, &[target.to_owned()])
        && helpers(&text).iter().all(|(_, helper)| is_ours(helper))
        && call.editor.journal().is_ok_and(|journal| {
            journal.find(&key).is_some_and(|entry| matches!(undo(entry, &text, false), Ok(Undone::Restored(_))))
        })
}

/// Terraform accepts one type of helper. With another one, it would report an error on each run. `--force` would not help.
fn refuse_another_helper(files: &[PathBuf], helper: &str) -> Result<()> {
    for path in files {
        let Some(text) = TargetFile::read(path)?.text else { continue };
        for (line, other) in helpers(&text) {
            if other != helper {
                let name = match public::helper(&other) {
                    "" => "one without a name",
                    public::HIDDEN => "one of another program",
                    name => name,
                };
                return Err(Error::profile(format!(
                    "{}:{line}: another credentials helper is set: {name}",
                    path.display()
                ))
                .hint("terraform allows only one; remove that block first"));
            }
        }
    }
    Ok(())
}

fn block(helper: &str, newline: &str) -> String {
    [
        "# Added by `ycred setup terraform`; `ycred unsetup terraform` removes it.",
        &format!("credentials_helper \"{helper}\" {{"),
        "  args = []",
        "}",
        "",
    ]
    .join(newline)
}

/// Writes the file of ycred's own, or adds the block to the file that the user names.
fn write_block(call: &SetupCall<'_>, path: &Path, is_shared: bool, helper: &str) -> Result<ChangeReport> {
    let report = RefCell::new(None);
    let (_, is_changed) = call.editor.edit(path, OwnerLock::None, |target, journal| {
        let text = target.text.clone().unwrap_or_default();
        if let Some((line, why)) = syntax::error(&text) {
            return Err(Error::profile(format!("{}:{line}: {why}", target.spelled.display()))
                .hint("terraform cannot read the file either; fix that line, then run the command again"));
        }
        let mut planned = ChangeReport::new(CLIENT.name, &target.spelled, "credentials_helper");
        let key =
            JournalEntry::new(CLIENT.name, &target.real, "credentials_helper", What::Text { ours: String::new() });
        let ours = block(helper, splice::newline(&text));
        // Somebody may have changed the block, but not which helper it names. Terraform merges a second one with it.
        if text.contains(&ours) || helpers(&text).iter().any(|(_, known)| known == helper) {
            planned.summary = "credentials_helper: already set up".to_owned();
            *report.borrow_mut() = Some(planned);
            return Ok(EditPlan { after: target.text.clone(), put: Vec::new(), remove: Vec::new() });
        }
        let known = journal.find(&key);
        let (original, is_new) = match known.map(|entry| (entry, undo(entry, &text, false))) {
            Some((entry, Ok(Undone::Restored(original)))) => (original.unwrap_or_default(), entry.created),
            _ => (text.clone(), target.text.is_none()),
        };
        if !is_shared && !original.trim().is_empty() {
            return Err(Error::profile(format!("{}: exists, and setup did not write it", target.spelled.display()))
                .hint("move the file away, then run the command again"));
        }
        let separator = if original.is_empty() || original.ends_with('\n') { "" } else { splice::newline(&original) };
        let new = format!("{original}{separator}{ours}");
        let what = What::Text { ours: format!("{separator}{ours}") };
        let exact = Some(Exact::of(difference(&original, &new), &new));
        let shown = |text: &str| known.map(|entry| report::shown(entry, text)).unwrap_or_default();
        (planned.before, planned.after) = (shown(&text).trim_start().to_owned(), ours);
        *report.borrow_mut() = Some(planned);
        let entry = JournalEntry { created: is_new, exact, ..JournalEntry { what, ..key } };
        Ok(EditPlan { after: Some(new), put: vec![entry], remove: Vec::new() })
    })?;
    let report = report.into_inner().ok_or_else(|| Error::internal("the edit made no plan"))?;
    Ok(ChangeReport { is_changed, ..report })
}

fn selects(call: &SetupCall<'_>, session: &Session<'_>, entry: &JournalEntry) -> Result<bool> {
    let is_link = matches!(entry.what, What::Link { .. });
    Ok(is_link || call.real_path("file", session)?.is_none_or(|file| entry.file == file))
}

/// Without a journal, removes the block that setup writes, and the link that it names.
fn undo_without_journal(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let mut report = Report::default();
    let selected = call.real_path("file", session)?;
    let is_selected =
        |place: &Use| selected.as_ref().is_none_or(|file| program::is_one_of(&place.file, std::slice::from_ref(file)));
    let mut places: Vec<Use> = uses(session).into_iter().filter(is_selected).collect();
    // `--file` may name one that only `--file` has made known.
    if let Some(file) = selected.as_ref().filter(|_| places.is_empty()) {
        let text = call.editor.text(file).unwrap_or_default();
        let helper = helpers(&text).into_iter().map(|(_, helper)| helper).find(|helper| is_ours(helper));
        places.extend(helper.map(|label| Use { file: file.clone(), label, profile: None, note: None }));
    }
    for place in places {
        let is_own_file = place.file.file_name().is_some_and(|name| name == OWN_FILE);
        let planned = RefCell::new((false, String::new()));
        call.editor.edit(&place.file, OwnerLock::None, |target, _| {
            let text = target.text.clone().unwrap_or_default();
            let blocks = ["\n", "\r\n"].map(|newline| block(&place.label, newline));
            let found = blocks.into_iter().find(|block| text.contains(block.as_str())).unwrap_or_default();
            let rest = text.replacen(&found, "", 1);
            let is_removed = is_own_file && rest.trim().is_empty();
            *planned.borrow_mut() = (is_removed, found);
            Ok(EditPlan { after: (!is_removed).then_some(rest), put: Vec::new(), remove: Vec::new() })
        })?;
        let (is_removed, found) = planned.into_inner();
        if found.is_empty() {
            let what = format!("{}: names {}, but not as setup writes it", place.file.display(), place.label);
            report.add(Report::failed(Error::profile(what).hint("edit the file yourself: remove what names ycred")));
            continue;
        }
        let mut change = ChangeReport::new(CLIENT.name, &place.file, "credentials_helper");
        (change.is_changed, change.before) = (true, found);
        change.summary = match is_removed {
            true => format!("credentials_helper \"{}\": removed the file", place.label),
            false => format!("credentials_helper \"{}\": removed", place.label),
        };
        report.changes.push(change);
        for is_tofu in [false, true] {
            let Ok(directories) = directories(is_tofu, session) else { continue };
            let link = directories.plugins.join(programs::own_file_name(&format!("{PREFIX}{}", place.label)));
            report.add(unlink_by_form(call, &link, session)?);
        }
    }
    Ok(report)
}

fn file_naming_link(call: &SetupCall<'_>, session: &Session<'_>, link: &Path) -> Option<PathBuf> {
    let helper = programs::own_name(link)?.strip_prefix(PREFIX)?;
    // A file of `--file` is known only from the journal.
    let noted = call.editor.journal().ok().and_then(|journal| {
        let is_helper = |text: &str| helpers(text).iter().any(|(_, found)| found == helper);
        let names = |entry: &&JournalEntry| matches!(&entry.what, What::Text { ours } if is_helper(ours));
        journal.of_client(CLIENT.name).find(names).map(|entry| entry.file.clone())
    });
    let uses = uses_by(|file| call.editor.text(file), session);
    uses.into_iter().find(|place| place.label == helper).map(|place| place.file).or(noted)
}

fn uses(session: &Session<'_>) -> Vec<Use> {
    uses_by(|file| TargetFile::read(file).ok().and_then(|target| target.text), session)
}

fn uses_by(read: impl Fn(&Path) -> Option<String>, session: &Session<'_>) -> Vec<Use> {
    let mut files = main_files(session);
    for is_tofu in [false, true] {
        if let Ok(directories) = directories(is_tofu, session) {
            files.extend(extra_files(&directories.configuration));
            files.push(directories.configuration.join(OWN_FILE));
        }
    }
    files.dedup();
    let mut uses: Vec<Use> = Vec::new();
    for file in files {
        let text = read(&file).unwrap_or_default();
        for (_, helper) in helpers(&text) {
            if is_ours(&helper) && !uses.iter().any(|known| known.file == file) {
                let profile = profile_in(&helper);
                uses.push(Use { file: file.clone(), label: helper, profile, note: None });
            }
        }
    }
    uses
}
