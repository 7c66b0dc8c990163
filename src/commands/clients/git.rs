//! git: ycred as the credential helper of one server. git itself edits a copy of its configuration.

mod check;
mod config;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::base::error::{Error, Result, describe};
use crate::base::hosts::{Host, Scheme};
use crate::base::random;
use crate::commands::clients::client::{Client, SetupCall, Use, profile_in};
use crate::commands::clients::git::config::{is_ours, locks, path};
use crate::commands::clients::profiles::{self, Chosen};
use crate::commands::clients::program;
use crate::commands::clients::report::{ChangeReport, Report, without_arguments};
use crate::disk::store;
use crate::edit::change::{EditPlan, OwnerLock};
use crate::edit::journal::{Exact, Journal, JournalEntry, What};
use crate::edit::target::TargetFile;
use crate::edit::undo::{Undone, difference, undo};
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
    undo_option: |session, entry, text, is_forced| undo_option(&Git::find(session)?, entry, text, is_forced),
    by_form,
    names_link,
    uses,
    check: Some(&check::CHECK),
    locks,
    ..Client::PLAIN
};

const OWNER: OwnerLock = OwnerLock::BesideReal("git");

/// git, and a private directory for the copy that it edits.
struct Git {
    program: PathBuf,
    directory: PathBuf,
}

impl Git {
    fn find(session: &Session<'_>) -> Result<Self> {
        let program =
            program::find("git", session).ok_or_else(|| Error::usage("git is not in PATH").hint("install git"))?;
        Ok(Self { program, directory: std::env::temp_dir() })
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
        let copy = self.directory.join(format!("ycred-{}", random::id()));
        let failed = |why: &str| Error::profile(format!("git cannot edit its configuration: {why}"));
        let edited = (|| {
            store::replace(&copy, text.as_bytes(), false).map_err(|error| failed(&describe(&error)))?;
            let before = self.others(&copy, key)?;
            for arguments in edits {
                if !self.config(&copy, arguments)?.1 {
                    return Err(failed("git config failed"));
                }
            }
            if self.others(&copy, key)? != before {
                return Err(failed("other settings would change"));
            }
            TargetFile::read(&copy)?.text.ok_or_else(|| failed("the copy is gone"))
        })();
        let _ = store::remove(&copy);
        edited
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
        let copy = self.directory.join(format!("ycred-{}", random::id()));
        store::replace(&copy, text.as_bytes(), false)
            .map_err(|error| Error::profile(format!("{}: {}", copy.display(), describe(&error))))?;
        let values = self.config(&copy, &["--null", "--get-all", key]);
        let _ = store::remove(&copy);
        let (values, _) = values?;
        let mut values: Vec<String> = values.split('\0').map(str::to_owned).collect();
        values.pop();
        Ok(values)
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
    let git = Git::find(session)?;
    let hosts = call.values("host");
    if hosts.is_empty() {
        return Err(Error::usage("no server given").hint("name it: ycred setup git --host git.example.com"));
    }
    let chosen = profiles::chosen_or_default(call, session)?;
    let ycred = program::ycred(call, session)?;
    let command = format!("{} git --profile {}", escaped(&ycred.path), escaped(&chosen.argument));
    let path = path(session)?;
    let mut report = Report::default();
    for host in &hosts {
        check_host(host, &chosen)?;
        report.changes.push(setup_host(host, &command, &git, &path, &chosen, call)?);
    }
    report.notes.extend(ycred.note);
    Ok(report)
}

/// Escapes what a shell would interpret. git passes an absolute path to a shell, and takes a quoted one for a name.
fn escaped(text: &str) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || "/._-+:@%,".contains(c);
    text.chars().map(|c| if is_safe(c) { c.to_string() } else { format!("\\{c}") }).collect()
}

fn check_host(host: &str, chosen: &Chosen) -> Result<()> {
    let parsed = Host::parse(host).filter(|parsed| parsed.scheme.is_none() && parsed.to_string() == host);
    let parsed = parsed.ok_or_else(|| {
        Error::usage(format!("--host: {host} is not a host or host:port")).hint("write it as in the URL, in lower case")
    })?;
    if chosen.profile.hosts.covers(&Host { scheme: Some(Scheme::Https), ..parsed }) {
        return Ok(());
    }
    Err(Error::usage(format!("--host: {host} may not get a token of profile {}", chosen.argument))
        .hint(chosen.profile.settings.edit_for_host(host)))
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
        let (original, is_new) = without_ours(&text, target, host, &key, git, journal)?;
        let before = git.values(&original, &key)?;
        let new = git.set(&original, &key, &ours)?;
        planned.summary = format!("{host}: ycred {}", chosen.description());
        (planned.before, planned.after) = (lines(&before), lines(&ours));
        let what = What::Option { name: key.clone(), before, ours: ours.clone() };
        let exact = Some(Exact::of(difference(&original, &new), &new));
        let entry = JournalEntry { created: is_new, exact, ..JournalEntry::new(CLIENT.name, &target.real, host, what) };
        *report.borrow_mut() = Some(planned);
        Ok(EditPlan { after: Some(new), put: vec![entry], remove: Vec::new() })
    })?;
    let report = report.into_inner().ok_or_else(|| Error::internal("the edit made no plan"))?;
    Ok(ChangeReport { is_changed, ..report })
}

fn lines(values: &[String]) -> String {
    let shown = |value: &String| if is_ours(value) { value.clone() } else { without_arguments(value) };
    values.iter().map(|value| format!("helper = {}\n", shown(value))).collect()
}

/// Returns the text without ycred's own values, and whether setup has created the file.
fn without_ours(
    text: &str,
    target: &TargetFile,
    host: &str,
    key: &str,
    git: &Git,
    journal: &Journal,
) -> Result<(String, bool)> {
    let what = What::Option { name: key.to_owned(), before: Vec::new(), ours: Vec::new() };
    let Some(entry) = journal.find(&JournalEntry::new(CLIENT.name, &target.real, host, what)) else {
        return Ok((text.to_owned(), target.text.is_none()));
    };
    let undone = match undo(entry, text, false) {
        Ok(Undone::Changed) => undo_option(git, entry, text, false)?,
        Ok(undone) => undone,
        Err(_) => Undone::Changed,
    };
    match undone {
        Undone::Restored(original) => Ok((original.unwrap_or_default(), entry.created)),
        Undone::Absent | Undone::Changed => Ok((text.to_owned(), false)),
    }
}

/// Takes ycred's values out of a file that has changed since.
fn undo_option(git: &Git, entry: &JournalEntry, text: &str, is_forced: bool) -> Result<Undone> {
    let What::Option { name, before, ours } = &entry.what else { return Ok(Undone::Changed) };
    let current = git.values(text, name)?;
    let Some(command) = ours.last() else { return Ok(Undone::Absent) };
    if !current.contains(command) {
        return Ok(Undone::Absent);
    }
    if current != *ours && !is_forced {
        return Ok(Undone::Changed);
    }
    git.set(text, name, before).map(|text| Undone::Restored(Some(text)))
}

fn selects(call: &SetupCall<'_>, _: &Session<'_>, entry: &JournalEntry) -> Result<bool> {
    let hosts = call.values("host");
    Ok(hosts.is_empty() || hosts.contains(&entry.label))
}

/// git runs `git-credential-NAME` for a helper `NAME`.
fn names_link(_: &SetupCall<'_>, session: &Session<'_>, link: &Path) -> Option<PathBuf> {
    let helper = system::programs::own_name(link)?.strip_prefix("git-credential-")?;
    let (git, path) = (Git::find(session).ok()?, path(session).ok()?);
    let (list, _) = git.config(&path, &["--null", "--get-regexp", r"^credential\..*helper$"]).ok()?;
    let mut values = list.split('\0').filter_map(|entry| entry.split_once('\n'));
    values.any(|(_, value)| value.split_whitespace().next() == Some(helper)).then_some(path)
}

/// Without a journal, removes the helpers that name ycred, and the empty one before each.
fn by_form(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let hosts = call.values("host");
    let mut report = Report::default();
    for place in uses(session) {
        if !hosts.is_empty() && !hosts.contains(&place.label) {
            continue;
        }
        let (git, key) = (Git::find(session)?, key_of(&place.label));
        let planned = RefCell::new(None);
        call.editor.edit(&place.file, OWNER, |target, _| {
            let text = target.text.clone().unwrap_or_default();
            let values = git.values(&text, &key)?;
            let rest: Vec<String> =
                values.iter().filter(|value| !value.is_empty() && !is_ours(value)).cloned().collect();
            let mut change = ChangeReport::new(CLIENT.name, &target.spelled, place.label.clone());
            change.is_changed = true;
            change.summary = format!("{}: removed ycred", place.label);
            (change.before, change.after) = (lines(&values), lines(&rest));
            *planned.borrow_mut() = Some(change);
            Ok(EditPlan { after: Some(git.set(&text, &key, &rest)?), put: Vec::new(), remove: Vec::new() })
        })?;
        report.changes.extend(planned.into_inner());
    }
    Ok(report)
}

fn uses(session: &Session<'_>) -> Vec<Use> {
    let uses = || -> Result<Vec<Use>> {
        let (git, path) = (Git::find(session)?, path(session)?);
        if !path.exists() {
            return Ok(Vec::new());
        }
        let (list, _) = git.config(&path, &["--null", "--get-regexp", r"^credential\.https://.*\.helper$"])?;
        let entries = list.split('\0').filter_map(|entry| entry.split_once('\n'));
        let uses = entries.filter(|(_, value)| is_ours(value)).filter_map(|(key, value)| {
            let host = key.strip_prefix("credential.https://")?.strip_suffix(".helper")?;
            Some(Use { file: path.clone(), label: host.to_owned(), profile: profile_in(value) })
        });
        Ok(uses.collect())
    };
    uses().unwrap_or_default()
}
