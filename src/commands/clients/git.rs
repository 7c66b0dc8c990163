//! git: ycred as the credential helper of one server. git itself edits a copy of its configuration.

mod check;
mod config;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::base::error::{Error, Result, describe};
use crate::base::hosts::Scheme;
use crate::commands::clients::client::{Client, SetupCall, Use, profile_in_line, public_profile_in};
use crate::commands::clients::git::config::{is_ours, locks, path};
use crate::commands::clients::profiles::{self, Chosen};
use crate::commands::clients::program;
use crate::commands::clients::public;
use crate::commands::clients::report::{ChangeReport, Report};
use crate::disk::store;
use crate::edit::change::{EditPlan, Editor, OwnerLock};
use crate::edit::journal::{Exact, Journal, JournalEntry, What};
use crate::edit::target::TargetFile;
use crate::edit::undo::{Undone, difference, take_out, undo};
use crate::session::Session;
use crate::system;

pub const CLIENT: Client = Client {
    name: "git",
    about: "git asks ycred about one https server",
    flags: &["host"],
    is_found: |session| program::find("git", session).is_some(),
    choice: Some("--host HOST"),
    owner: OWNER,
    setup,
    selects,
    undo_option: |call, session, entry, text| {
        undo_option(&Git::find(session, Some(call.editor))?, entry, text, call.is_set("force"))
    },
    redo_option: |call, session, entry, text| write(entry, &Git::find(session, Some(call.editor))?, text),
    shown: |call, session, entry, text| shown(entry, text, call, session).unwrap_or_default(),
    undo_without_journal,
    file_naming_link,
    uses,
    selection: |place, _| config::selection(&place.label),
    check: Some(&check::CHECK),
    locks,
    ..Client::PLAIN
};

const OWNER: OwnerLock = OwnerLock::BesideReal("git");

/// git, and where the copies that it edits are.
struct Git {
    program: PathBuf,
    copies: Option<PathBuf>,
}

/// A directory that nobody else can enter, with a copy of git's configuration. The copy may contain secrets.
struct WorkingCopy {
    directory: PathBuf,
    file: PathBuf,
}

impl WorkingCopy {
    fn new(copies: Option<&Path>, text: &str) -> Result<Self> {
        let parent = copies.map_or_else(std::env::temp_dir, Path::to_owned);
        let directory = store::make_working_directory(&parent)
            .map_err(|error| Error::profile(format!("{}: {}", parent.display(), describe(&error))))?;
        let copy = Self { file: directory.join("config"), directory };
        store::replace(&copy.file, text.as_bytes(), false)
            .map_err(|error| Error::profile(format!("{}: {}", copy.file.display(), describe(&error))))?;
        Ok(copy)
    }
}

impl Drop for WorkingCopy {
    fn drop(&mut self) {
        store::remove_working_directory(&self.directory);
    }
}

impl Git {
    /// Finds git. Copies are in the directory of `editor`, or, if it is not there yet, among the temporary files.
    fn find(session: &Session<'_>, editor: Option<&Editor>) -> Result<Self> {
        let program =
            program::find("git", session).ok_or_else(|| Error::usage("git is not in PATH").hint("install git"))?;
        Ok(Self { program, copies: editor.map(Editor::working_directory).transpose()?.flatten() })
    }

    /// Runs `git config` on a file. Returns its output and whether it succeeded.
    fn config(&self, file: &Path, arguments: &[&str]) -> Result<(String, bool)> {
        system::signals::reset_sigchld();
        let output = Command::new(&self.program)
            .arg("config")
            .arg("--file")
            .arg(file)
            .args(arguments)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Error::usage(format!("{}: {}", self.program.display(), describe(&error))))?;
        Ok((String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success()))
    }

    /// Lets git edit a copy of `text`. Returns the new text, if git reads the same from it except for `key`.
    fn edit(&self, text: &str, key: &str, edits: &[Vec<&str>]) -> Result<String> {
        let failed = |why: &str| Error::profile(format!("git cannot edit its configuration: {why}"));
        let copy = WorkingCopy::new(self.copies.as_deref(), text)?;
        let before = self.others(&copy.file, key)?;
        for arguments in edits {
            if !self.config(&copy.file, arguments)?.1 {
                return Err(failed("git config failed"));
            }
        }
        if self.others(&copy.file, key)? != before {
            return Err(failed("other settings would change"));
        }
        TargetFile::read(&copy.file)?.text.ok_or_else(|| failed("the copy is gone"))
    }

    /// Returns all settings but one.
    fn others(&self, file: &Path, key: &str) -> Result<Vec<String>> {
        let (list, is_valid) = self.config(file, &["--null", "--list"])?;
        if !is_valid {
            return Err(Error::profile("git cannot read its configuration").hint("see: git config --global --list"));
        }
        let is_other = |setting: &&str| !setting.is_empty() && setting.split('\n').next() != Some(key);
        Ok(list.split('\0').filter(is_other).map(str::to_owned).collect())
    }

    /// Returns the values of a key in a text.
    fn values(&self, text: &str, key: &str) -> Result<Vec<String>> {
        let copy = WorkingCopy::new(self.copies.as_deref(), text)?;
        let (values, _) = self.config(&copy.file, &["--null", "--get-all", key])?;
        let mut values: Vec<String> = values.split('\0').map(str::to_owned).collect();
        values.pop();
        Ok(values)
    }

    /// Returns true if git reads the same from two texts, except for `key`.
    fn is_same_but(&self, key: &str, one: &str, other: &str) -> Result<bool> {
        let others = |text: &str| self.others(&WorkingCopy::new(self.copies.as_deref(), text)?.file, key);
        Ok(others(one)? == others(other)?)
    }

    /// Removes values of a key. The lines of the others stay as they are, if git can tell them from those.
    fn reduce(&self, text: &str, key: &str, values: &[String], rest: &[String]) -> Result<String> {
        let removed: BTreeSet<&String> = values.iter().filter(|value| !rest.contains(value)).collect();
        let edits: Vec<Vec<&str>> =
            removed.iter().map(|value| vec!["--fixed-value", "--unset-all", key, value.as_str()]).collect();
        let reduced = self.edit(text, key, &edits).ok().filter(|_| !edits.is_empty());
        match reduced.filter(|text| self.values(text, key).is_ok_and(|left| left == rest)) {
            Some(text) => Ok(text),
            None => self.set(text, key, rest),
        }
    }

    /// Gives a key these values, in place of all others.
    fn set(&self, text: &str, key: &str, values: &[String]) -> Result<String> {
        let mut edits: Vec<Vec<&str>> = Vec::new();
        match values.split_first() {
            Some((first, rest)) => {
                edits.push(vec!["--replace-all", key, first]);
                edits.extend(rest.iter().map(|value| vec!["--add", key, value]));
            }
            None => edits.push(vec!["--unset-all", key]),
        }
        self.edit(text, key, &edits)
    }
}

fn setup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let git = Git::find(session, Some(call.editor))?;
    let hosts = call.values("host");
    if hosts.is_empty() {
        return Err(Error::usage("no server given").hint("name it: ycred setup git --host git.example.com"));
    }
    let ycred = program::ycred(call, session)?;
    let path = path(session)?;
    let text = call.editor.read(&path, OWNER)?.text.unwrap_or_default();
    let mut report = Report::default();
    let choose = |host: String| {
        let values = git.values(&text, &key_of(&host))?;
        let served = values.iter().filter(|value| is_ours(value)).map(|value| profile_in_line(value));
        let chosen = profiles::chosen_or_kept(call, served, session)?;
        chosen.check_host(&host, Some(Scheme::Https))?;
        Ok((host, chosen))
    };
    // All are checked before the first is set up.
    for (host, chosen) in hosts.into_iter().map(choose).collect::<Result<Vec<_>>>()? {
        let command = format!("{} git --profile {}", escaped(&ycred.path), escaped(&chosen.written()));
        report.changes.push(setup_host(&host, &command, &git, &path, &chosen, call)?);
        report.notes.extend(chosen.kept_note);
    }
    report.notes.extend(ycred.note);
    Ok(report)
}

/// Escapes what a shell would interpret. git passes an absolute path to a shell, and takes a quoted one for a name.
fn escaped(text: &str) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || "/._-+:@%,".contains(c);
    text.chars().map(|c| if is_safe(c) { c.to_string() } else { format!("\\{c}") }).collect()
}

/// Returns the key in the form in which git lists it: the section and the name in lower case.
fn key_of(host: &str) -> String {
    format!("credential.https://{host}.helper")
}

fn setup_host(
    host: &str,
    command: &str,
    git: &Git,
    path: &Path,
    chosen: &Chosen,
    call: &SetupCall<'_>,
) -> Result<ChangeReport> {
    let (key, ours) = (key_of(host), vec![String::new(), command.to_owned()]);
    let report = RefCell::new(None);
    let (_, is_changed) = call.editor.edit(path, OWNER, |target, journal| {
        let text = target.text.clone().unwrap_or_default();
        let mut planned = ChangeReport::new(CLIENT.name, &target.spelled, host);
        (planned.profile, planned.account) = (Some(chosen.argument.clone()), Some(chosen.account.clone()));
        if git.values(&text, &key)? == ours {
            planned.summary = format!("{host}: already set up with ycred {}", chosen.description());
            *report.borrow_mut() = Some(planned);
            return Ok(EditPlan { after: target.text.clone(), put: Vec::new(), remove: Vec::new() });
        }
        let (original, former, others) = without_ours(target, host, &key, git, journal)?;
        let place = JournalEntry::new(CLIENT.name, &target.real, host, option(&key, &ours));
        let (new, mut entry) = write(&place, git, original.as_deref())?;
        if let Some(former) = former {
            entry.inherit_file(&former);
        }
        planned.summary = format!("{host}: ycred {}", chosen.description());
        (planned.before, planned.after) = (lines(host, &git.values(&text, &key)?), lines(host, &ours));
        let put = others.into_iter().chain([entry]).collect();
        *report.borrow_mut() = Some(planned);
        Ok(EditPlan { after: Some(new), put, remove: Vec::new() })
    })?;
    let report = report.into_inner().ok_or_else(|| Error::internal("the edit made no plan"))?;
    Ok(ChangeReport { is_changed, ..report })
}

/// Returns the section of a host, without secrets.
fn lines(host: &str, values: &[String]) -> String {
    let line = |value: &String| format!("helper = {}", public::command(value)).trim_end().to_owned() + "\n";
    let section = format!("[credential \"https://{host}\"]\n");
    (!values.is_empty()).then_some(section).into_iter().chain(values.iter().map(line)).collect()
}

/// Implements [`Client::shown`].
fn shown(entry: &JournalEntry, text: &str, call: &SetupCall<'_>, session: &Session<'_>) -> Result<String> {
    let What::Option { name, .. } = &entry.what else { return Ok(String::new()) };
    let git = Git::find(session, Some(call.editor))?;
    Ok(lines(&entry.label, &git.values(text, name)?))
}

fn option(key: &str, ours: &[String]) -> What {
    What::Option { name: key.to_owned(), before: Vec::new(), ours: ours.to_vec() }
}

/// Writes the values of an entry into a text, and completes the entry.
fn write(entry: &JournalEntry, git: &Git, text: Option<&str>) -> Result<(String, JournalEntry)> {
    let What::Option { name, ours, .. } = &entry.what else { return Err(Error::internal("not an option of git")) };
    let original = text.unwrap_or_default();
    let before = git.values(original, name)?;
    let new = git.set(original, name, ours)?;
    let what = What::Option { name: name.clone(), before, ours: ours.clone() };
    let exact = Some(Exact::of(difference(original, &new), &new));
    let written = JournalEntry::new(CLIENT.name, &entry.file, entry.label.clone(), what);
    Ok((new, JournalEntry { created: text.is_none(), exact, ..written }))
}

/// Returns the text without ycred's own values, the entry about them, and the other entries that have changed with it.
fn without_ours(
    target: &TargetFile,
    host: &str,
    key: &str,
    git: &Git,
    journal: &Journal,
) -> Result<(Option<String>, Option<JournalEntry>, Vec<JournalEntry>)> {
    let unchanged = || (target.text.clone(), None, Vec::new());
    let place = JournalEntry::new(CLIENT.name, &target.real, host, option(key, &[]));
    let (Some(entry), Some(text)) = (journal.find(&place), &target.text) else { return Ok(unchanged()) };
    let undo = |entry: &JournalEntry, text: &str| match undo(entry, text, false) {
        // What ycred wrote and somebody changed is still ycred's as long as it runs ycred.
        Ok(Undone::Changed) => match &entry.what {
            What::Option { name, .. } if git.values(text, name)?.iter().any(|value| is_ours(value)) => {
                let before = values_before(entry, &git.values(text, name)?);
                git.set(text, name, &before).map(|text| Undone::Restored(Some(text)))
            }
            _ => undo_option(git, entry, text, false),
        },
        Ok(undone) => Ok(undone),
        Err(_) => Ok(Undone::Changed),
    };
    let taken = take_out(entry, text, journal, undo, |entry, text| write(entry, git, text))?;
    Ok(match taken.undone {
        Undone::Restored(original) => (original, Some(entry.clone()), taken.others),
        Undone::Absent | Undone::Changed => unchanged(),
    })
}

/// Returns what stood in a place before setup, and what others have added to it since.
fn values_before(entry: &JournalEntry, current: &[String]) -> Vec<String> {
    let What::Option { before, ours, .. } = &entry.what else { return Vec::new() };
    let is_added =
        |value: &&String| !value.is_empty() && !is_ours(value) && !before.contains(value) && !ours.contains(value);
    before.iter().chain(current.iter().filter(is_added)).cloned().collect()
}

/// Takes ycred's values out of a file that has changed since.
fn undo_option(git: &Git, entry: &JournalEntry, text: &str, is_forced: bool) -> Result<Undone> {
    let What::Option { name, before, ours } = &entry.what else { return Ok(Undone::Changed) };
    let current = git.values(text, name)?;
    let Some(command) = ours.last() else { return Ok(Undone::Absent) };
    if !current.contains(command) && !current.iter().any(|value| is_ours(value)) {
        return Ok(Undone::Absent);
    }
    if current != *ours && !is_forced {
        return Ok(Undone::Changed);
    }
    // What setup wrote may be there in one piece, so that comments and quotes of the user's values come back too.
    if let Some(Exact { splice, .. }) = &entry.exact
        && !splice.after.trim().is_empty()
        && text.matches(&splice.after).count() == 1
    {
        let restored = text.replacen(&splice.after, &splice.before, 1);
        if git.values(&restored, name)? == *before && git.is_same_but(name, &restored, text)? {
            return Ok(Undone::Restored(Some(restored)));
        }
    }
    git.set(text, name, before).map(|text| Undone::Restored(Some(text)))
}

fn selects(call: &SetupCall<'_>, _: &Session<'_>, entry: &JournalEntry) -> Result<bool> {
    let hosts = call.values("host");
    Ok(hosts.is_empty() || hosts.contains(&entry.label))
}

/// git runs `git-credential-NAME` for a helper `NAME`.
fn file_naming_link(call: &SetupCall<'_>, session: &Session<'_>, link: &Path) -> Option<PathBuf> {
    let helper = system::programs::own_name(link)?.strip_prefix("git-credential-")?;
    let (git, path) = (Git::find(session, Some(call.editor)).ok()?, path(session).ok()?);
    let copy = WorkingCopy::new(git.copies.as_deref(), &call.editor.text(&path)?).ok()?;
    let (list, _) = git.config(&copy.file, &["--null", "--get-regexp", r"^credential\..*helper$"]).ok()?;
    let mut values = list.split('\0').filter_map(|entry| entry.split_once('\n'));
    values.any(|(_, value)| value.split_whitespace().next() == Some(helper)).then_some(path)
}

/// Returns the values without ycred's, and without the empty value directly before each of them, which setup writes.
fn without_journal(values: &[String]) -> Vec<String> {
    let is_ours = |at: usize| values.get(at).is_some_and(|value| is_ours(value));
    let is_kept = |(at, value): &(usize, &String)| !(is_ours(*at) || value.is_empty() && is_ours(at + 1));
    values.iter().enumerate().filter(is_kept).map(|(_, value)| value.clone()).collect()
}

/// Without a journal, removes the helpers that name ycred, and the empty one before each.
fn undo_without_journal(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let hosts = call.values("host");
    let mut report = Report::default();
    for place in uses(session) {
        if !hosts.is_empty() && !hosts.contains(&place.label) {
            continue;
        }
        let (git, key) = (Git::find(session, Some(call.editor))?, key_of(&place.label));
        let planned = RefCell::new(None);
        call.editor.edit(&place.file, OWNER, |target, _| {
            let text = target.text.clone().unwrap_or_default();
            let values = git.values(&text, &key)?;
            let rest = without_journal(&values);
            let mut change = ChangeReport::new(CLIENT.name, &target.spelled, place.label.clone());
            change.is_changed = true;
            change.summary = format!("{}: removed ycred", place.label);
            (change.before, change.after) = (lines(&place.label, &values), lines(&place.label, &rest));
            *planned.borrow_mut() = Some(change);
            Ok(EditPlan { after: Some(git.reduce(&text, &key, &values, &rest)?), put: Vec::new(), remove: Vec::new() })
        })?;
        report.changes.extend(planned.into_inner());
    }
    Ok(report)
}

fn uses(session: &Session<'_>) -> Vec<Use> {
    let uses = || -> Result<Vec<Use>> {
        let (git, path) = (Git::find(session, None)?, path(session)?);
        if !path.exists() {
            return Ok(Vec::new());
        }
        let (list, _) = git.config(&path, &["--null", "--get-regexp", r"^credential\.https://.*\.helper$"])?;
        let entries = list.split('\0').filter_map(|entry| entry.split_once('\n'));
        let uses = entries.filter(|(_, value)| is_ours(value)).filter_map(|(key, value)| {
            let host = key.strip_prefix("credential.https://")?.strip_suffix(".helper")?;
            Some(Use { file: path.clone(), label: host.to_owned(), profile: public_profile_in(value), note: None })
        });
        Ok(uses.collect())
    };
    uses().unwrap_or_default()
}
