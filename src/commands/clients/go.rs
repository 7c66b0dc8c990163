//! go: ycred in `GOAUTH`, in go's own file of settings.

mod check;
mod config;

use std::cell::RefCell;

use crate::base::environment::GOAUTH;
use crate::base::error::{Error, Result};
use crate::commands::clients::client::{Client, SetupCall, Use, profile_in_line, public_profile_in};
use crate::commands::clients::go::config::{is_ours, methods, path, value};
use crate::commands::clients::profiles;
use crate::commands::clients::program;
use crate::commands::clients::public;
use crate::commands::clients::report::{ChangeReport, Report};
use crate::edit::change::{EditPlan, OwnerLock};
use crate::edit::journal::{Exact, JournalEntry, What};
use crate::edit::splice;
use crate::edit::target::TargetFile;
use crate::edit::undo::{Undone, difference, undo};
use crate::session::Session;

pub const CLIENT: Client = Client {
    name: "go",
    about: "go asks ycred about module proxies and private modules",
    is_found: |session| program::find("go", session).is_some(),
    setup,
    undo_option: |call, _, entry, text| undo_entry(entry, text, call.is_set("force")),
    shown: |_, _, _, text| value(text).map(shown).unwrap_or_default(),
    undo_without_journal,
    uses,
    check: Some(&check::CHECK),
    ..Client::PLAIN
};

/// go's default method.
const DEFAULT: &str = "netrc";

fn setup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let text = TargetFile::read(&path(session)?)?.text.unwrap_or_default();
    let served =
        methods(value(&text).unwrap_or_default()).into_iter().find(|method| is_ours(method)).map(profile_in_line);
    let chosen = profiles::chosen_or_kept(call, served, session)?;
    let ycred = program::ycred(call, session)?;
    let profile = chosen.written();
    if [&ycred.path, &profile].iter().any(|word| word.contains([' ', ';', '\'', '"'])) {
        return Err(
            Error::usage(format!("GOAUTH cannot contain {}", ycred.path)).hint("pass --command PATH without blanks")
        );
    }
    let method = format!("{} goauth --profile {profile}", ycred.path);
    let report = RefCell::new(None);
    let (_, is_changed) = call.editor.edit(&path(session)?, OwnerLock::None, |target, journal| {
        let text = target.text.clone().unwrap_or_default();
        let mut planned = ChangeReport::new(CLIENT.name, &target.spelled, GOAUTH);
        (planned.profile, planned.account) = (Some(chosen.argument.clone()), Some(chosen.account.clone()));
        let value_of = |text: &str| value(text).unwrap_or(DEFAULT).to_owned();
        if methods(&value_of(&text)).first() == Some(&method.as_str()) {
            planned.summary = format!("{GOAUTH}: already set up with ycred {}", chosen.description());
            *report.borrow_mut() = Some(planned);
            return Ok(EditPlan { after: target.text.clone(), put: Vec::new(), remove: Vec::new() });
        }
        let key = entry(target, Vec::new(), Vec::new());
        let (original, is_new) = match journal.find(&key).map(|entry| (entry, undo_entry(entry, &text, false))) {
            Some((entry, Ok(Undone::Restored(original)))) => (original.unwrap_or_default(), entry.created),
            // What ycred wrote and somebody changed is still ycred's as long as it runs ycred.
            Some((entry, Ok(Undone::Changed))) => {
                (with_value(&text, value_before(entry, &text).as_deref()), entry.created)
            }
            _ => (text.clone(), target.text.is_none()),
        };
        let before = value(&original).map(str::to_owned);
        let former = value_of(&original);
        // go refuses `off` together with another method.
        let others = methods(&former).into_iter().filter(|method| !is_ours(method) && *method != "off");
        let ours = std::iter::once(method.as_str()).chain(others).collect::<Vec<_>>().join("; ");
        let new = with_value(&original, Some(&ours));
        planned.summary = format!("{GOAUTH}: ycred {}", chosen.description());
        planned.before = value(&text).map(shown).unwrap_or_default();
        planned.after = shown(&ours);
        let exact = Some(Exact::of(difference(&original, &new), &new));
        let entry = entry(target, before.into_iter().collect(), vec![ours]);
        *report.borrow_mut() = Some(planned);
        Ok(EditPlan {
            after: Some(new),
            put: vec![JournalEntry { created: is_new, exact, ..entry }],
            remove: Vec::new(),
        })
    })?;
    let change = report.into_inner().ok_or_else(|| Error::internal("the edit made no plan"))?;
    let mut report = Report { changes: vec![ChangeReport { is_changed, ..change }], ..Report::default() };
    report.notes.extend(ycred.note);
    report.notes.extend(chosen.kept_note);
    if session.environment.get(GOAUTH).is_some() {
        report.notes.push(format!("{GOAUTH} is set in the environment, and go prefers it: unset {GOAUTH}"));
    }
    Ok(report)
}

fn shown(value: &str) -> String {
    let methods: Vec<String> = methods(value).into_iter().map(public::command).collect();
    format!("{GOAUTH}={}", methods.join("; "))
}

fn entry(target: &TargetFile, before: Vec<String>, ours: Vec<String>) -> JournalEntry {
    let what = What::Option { name: GOAUTH.to_owned(), before, ours };
    JournalEntry::new(CLIENT.name, &target.real, GOAUTH, what)
}

/// Gives the option another value, or removes it. All other lines stay.
fn with_value(text: &str, value: Option<&str>) -> String {
    let newline = splice::newline(text);
    let is_line = |line: &&str| line.strip_prefix(GOAUTH).is_some_and(|rest| rest.starts_with('='));
    let new = value.map(|value| format!("{GOAUTH}={value}{newline}"));
    let position = text.split_inclusive('\n').position(|line| is_line(&line));
    let mut lines: Vec<String> = text.split_inclusive('\n').filter(|line| !is_line(line)).map(str::to_owned).collect();
    if let Some(new) = new {
        let at = position.unwrap_or(lines.len()).min(lines.len());
        if at == lines.len() && lines.last().is_some_and(|last| !last.ends_with('\n')) {
            lines.push(newline.to_owned());
        }
        lines.insert(if position.is_some() { at } else { lines.len() }, new);
    }
    lines.concat()
}

/// Returns what the option was before setup, and the methods that others have added since.
fn value_before(entry: &JournalEntry, text: &str) -> Option<String> {
    let What::Option { before, ours, .. } = &entry.what else { return None };
    let known: Vec<&str> = before.iter().chain(ours).flat_map(|value| methods(value)).collect();
    let added = methods(value(text).unwrap_or_default());
    let added: Vec<&str> = added.into_iter().filter(|method| !is_ours(method) && !known.contains(method)).collect();
    let former = before.first().map(String::as_str).unwrap_or_default();
    let all: Vec<&str> = methods(former).into_iter().chain(added).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Takes ycred's method out of a file that has changed since.
fn undo_entry(entry: &JournalEntry, text: &str, is_forced: bool) -> Result<Undone> {
    match undo(entry, text, is_forced) {
        Ok(Undone::Changed) => {}
        Ok(undone) => return Ok(undone),
        Err(_) => return Ok(Undone::Changed),
    }
    let What::Option { before, ours, .. } = &entry.what else { return Ok(Undone::Changed) };
    let Some(current) = value(text).filter(|current| methods(current).iter().any(|method| is_ours(method))) else {
        return Ok(Undone::Absent);
    };
    if Some(current) != ours.first().map(String::as_str) && !is_forced {
        return Ok(Undone::Changed);
    }
    Ok(Undone::Restored(Some(with_value(text, before.first().map(String::as_str)))))
}

/// Without a journal, removes ycred's methods.
fn undo_without_journal(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let Ok(path) = path(session) else { return Ok(Report::default()) };
    let report = RefCell::new(Report::default());
    call.editor.edit(&path, OwnerLock::None, |target, _| {
        let text = target.text.clone().unwrap_or_default();
        let current = value(&text).map(str::to_owned).unwrap_or_default();
        let rest: Vec<&str> = methods(&current).into_iter().filter(|method| !is_ours(method)).collect();
        let mut found = Report::default();
        let mut after = target.text.clone();
        if rest.len() < methods(&current).len() {
            let mut change = ChangeReport::new(CLIENT.name, &target.spelled, GOAUTH);
            (change.is_changed, change.summary) = (true, format!("{GOAUTH}: removed ycred"));
            let rest = rest.join("; ");
            change.before = shown(&current);
            change.after = if rest.is_empty() { String::new() } else { shown(&rest) };
            after = Some(with_value(&text, (!rest.is_empty()).then_some(rest.as_str())));
            found.changes.push(change);
        }
        *report.borrow_mut() = found;
        Ok(EditPlan { after, put: Vec::new(), remove: Vec::new() })
    })?;
    Ok(report.into_inner())
}

fn uses(session: &Session<'_>) -> Vec<Use> {
    let Ok(path) = path(session) else { return Vec::new() };
    let text = TargetFile::read(&path).ok().and_then(|target| target.text).unwrap_or_default();
    let methods = value(&text).map(methods).unwrap_or_default();
    let ours = methods.iter().find(|method| is_ours(method));
    ours.map(|method| Use { file: path, label: GOAUTH.to_owned(), profile: public_profile_in(method), note: None })
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_of_the_option_changes() {
        for (text, with, without) in [
            ("", "GOAUTH=x\n", ""),
            ("A=1\n", "A=1\nGOAUTH=x\n", "A=1\n"),
            ("A=1", "A=1\nGOAUTH=x\n", "A=1"),
            ("GOAUTH=a\nB=2\n", "GOAUTH=x\nB=2\n", "B=2\n"),
            ("A=1\r\nGOAUTH=a\r\n", "A=1\r\nGOAUTH=x\r\n", "A=1\r\n"),
            ("# GOAUTH=c\nGOAUTHX=y\n", "# GOAUTH=c\nGOAUTHX=y\nGOAUTH=x\n", "# GOAUTH=c\nGOAUTHX=y\n"),
        ] {
            assert_eq!(with_value(text, Some("x")), with);
            assert_eq!(with_value(text, None), without);
        }
        assert_eq!(value("GOAUTH=a\nGOAUTH=b; c \n"), Some("b; c"));
    }
}
