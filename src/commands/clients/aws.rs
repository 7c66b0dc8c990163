//! The AWS CLI and SDKs: a profile of AWS's own that gets access keys for Object Storage from ycred.

mod check;
mod config;

use std::path::Path;

use crate::base::environment::AWS_SHARED_CREDENTIALS_FILE;
use crate::base::error::{Error, Result};
use crate::base::hosts::DEFAULT_ENDPOINT;
use crate::commands::clients::aws::config::{PROCESS, in_home, is_ours, path};
use crate::commands::clients::client::{Client, SetupCall, Use, profile_in};
use crate::commands::clients::profiles::{self, Chosen};
use crate::commands::clients::program;
use crate::commands::clients::report::{ChangeReport, Report};
use crate::commands::clients::values::{self, ConfigFile, PlannedSetting, find, keys};
use crate::edit::change::{EditPlan, OwnerLock};
use crate::edit::journal::JournalEntry;
use crate::edit::splice::{self, Format};
use crate::edit::target::TargetFile;
use crate::edit::tree::{TreeChange, TreeNode};
use crate::session::Session;

pub const CLIENT: Client = Client {
    name: "aws",
    about: "a profile of the AWS CLI and SDKs gets access keys for Object Storage",
    flags: &["name"],
    is_found: |session| program::find("aws", session).is_some() || path(session).is_ok_and(|path| path.exists()),
    setup,
    selects,
    by_form,
    uses,
    check: Some(&check::CHECK),
    ..Client::PLAIN
};

const DEFAULT_NAME: &str = "yc";

/// The region and the endpoint of Object Storage, by the endpoint of the installation.
const STORAGE: [(&str, &str, &str); 2] = [
    (DEFAULT_ENDPOINT, "ru-central1", "https://storage.yandexcloud.net"),
    ("api.yandexcloud.kz", "kz1", "https://storage.yandexcloud.kz"),
];

fn name(call: &SetupCall<'_>) -> Result<String> {
    let name = call.value("name").unwrap_or(DEFAULT_NAME);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !name.is_empty() && name.chars().all(is_plain) {
        true => Ok(name.to_owned()),
        false => Err(Error::usage(format!("--name: \"{name}\" is not a profile name"))
            .hint("use letters, digits, dots and dashes")),
    }
}

fn section_of(name: &str) -> String {
    if name == "default" { name.to_owned() } else { format!("profile {name}") }
}

fn setup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let name = name(call)?;
    let chosen = profiles::chosen_or_default(call, session)?;
    let ycred = program::ycred(call, session)?;
    let path = path(session)?;
    refuse_static_keys(&in_home(AWS_SHARED_CREDENTIALS_FILE, "credentials", session)?, &[&name])?;
    refuse_static_keys(&path, &[&section_of(&name)])?;
    let file =
        ConfigFile { path: &path, format: Format::Ini, empty: "", consequence: "the AWS CLI cannot read it either" };
    let process = format!("{} aws --profile {}", quoted(&ycred.path), quoted(&chosen.argument));
    let is_forced = call.is_set("force");
    let mut changes =
        values::set(call, &file, |root| settings(root, &section_of(&name), &process, &chosen, is_forced))?;
    for change in &mut changes {
        (change.profile, change.account) = (Some(chosen.argument.clone()), Some(chosen.account.clone()));
    }
    let mut report = Report { changes, ..Report::default() };
    report.notes.extend(ycred.note);
    Ok(report)
}

/// Quotes a word for all readers: botocore splits like a shell, others pass the line to one.
fn quoted(word: &str) -> String {
    let is_plain = word.chars().all(|c| c.is_alphanumeric() || "/._-+:@%,".contains(c));
    if is_plain { word.to_owned() } else { format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// The SDKs use static keys of the profile before `credential_process`, without a message.
fn refuse_static_keys(path: &Path, sections: &[&str]) -> Result<()> {
    let Some(text) = TargetFile::read(path)?.text else { return Ok(()) };
    let Ok(root) = Format::Ini.parse(&text) else { return Ok(()) };
    let has_key =
        |section: &&&str| root.member(section).is_some_and(|section| section.member("aws_access_key_id").is_some());
    match sections.iter().find(has_key) {
        Some(section) => {
            Err(Error::profile(format!("{}: [{section}] has static keys, which AWS prefers", path.display()))
                .hint("remove them, or choose another name: --name NAME"))
        }
        None => Ok(()),
    }
}

fn settings(
    root: &TreeNode,
    section: &str,
    process: &str,
    chosen: &Chosen,
    is_forced: bool,
) -> Result<Vec<PlannedSetting>> {
    if root.members().iter().filter(|(key, _)| key.as_text() == Some(section)).count() > 1 {
        return Err(Error::profile(format!("the section [{section}] occurs twice")).hint("join the two sections first"));
    }
    let former = find(root, &keys(&[section, PROCESS])).and_then(TreeNode::as_text);
    if let Some(other) = former
        && !is_ours(other)
        && !is_forced
    {
        let program = other.split_whitespace().next().unwrap_or_default().to_owned();
        return Err(Error::profile(format!("[{section}] has another credential_process: {program}"))
            .hint("to replace it, pass --force"));
    }
    let endpoint = chosen.profile.settings.text("endpoint").ok().flatten().unwrap_or(DEFAULT_ENDPOINT);
    let endpoint = endpoint.strip_suffix(":443").unwrap_or(endpoint);
    let storage = STORAGE.iter().find(|(known, ..)| *known == endpoint);
    let (region, url) = storage.map_or((None, None), |(_, region, url)| (Some(*region), Some(*url)));
    let options = [("region", region), ("endpoint_url", url), (PROCESS, Some(process))];
    let label = |option: &str| format!("[{section}] {option}");
    let setting = |(option, value): (&str, Option<&str>)| {
        let path = keys(&[section, option]);
        // What the user has set for the region and the endpoint stays.
        let is_kept = option != PROCESS && find(root, &path).is_some();
        let value = value.filter(|_| !is_kept)?;
        let summary = match option {
            PROCESS => format!("[{section}]: ycred {}", chosen.description()),
            _ => format!("{} = {value}", label(option)),
        };
        Some(PlannedSetting { label: label(option), path, value: TreeNode::text(value), summary })
    };
    Ok(options.into_iter().filter_map(setting).collect())
}

/// Returns the section of `--name`, in brackets.
fn selected_section(call: &SetupCall<'_>) -> Option<String> {
    call.value("name").map(|name| format!("[{}]", section_of(name)))
}

fn selects(call: &SetupCall<'_>, _: &Session<'_>, entry: &JournalEntry) -> Result<bool> {
    Ok(selected_section(call).is_none_or(|section| entry.label.starts_with(&section)))
}

/// Without a journal, removes the option that names ycred. Region and endpoint may be the user's own.
fn by_form(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let (path, only) = (&path(session)?, selected_section(call));
    let only = only.as_deref();
    let report = std::cell::RefCell::new(Report::default());
    call.editor.edit(path, OwnerLock::None, |target, _| {
        let mut found = Report::default();
        let mut text = target.text.clone().unwrap_or_default();
        while let Some((pointer, section)) = ours_in(&text, only) {
            (text, _) = splice::apply(Format::Ini, &text, &TreeChange::Remove(pointer))
                .map_err(|_| Error::profile(format!("{}: {section}: cannot be edited", path.display())))?;
            let mut change = ChangeReport::new(CLIENT.name, &target.spelled, section.clone());
            change.is_changed = true;
            change.summary = format!("{section}: removed {PROCESS}");
            found.changes.push(change);
        }
        *report.borrow_mut() = found;
        let after = target.text.as_ref().map(|_| text);
        Ok(EditPlan { after, put: Vec::new(), remove: Vec::new() })
    })?;
    Ok(report.into_inner())
}

/// Finds the first option that names ycred: its pointer and its section in brackets.
fn ours_in(text: &str, only: Option<&str>) -> Option<(Vec<usize>, String)> {
    let root = Format::Ini.parse(text).ok()?;
    root.members().iter().enumerate().find_map(|(at, (key, section))| {
        let name = format!("[{}]", key.as_text()?);
        let position = section.position(PROCESS)?;
        let is_match = section.member(PROCESS)?.as_text().is_some_and(is_ours) && only.is_none_or(|only| only == name);
        is_match.then(|| (vec![at, position], name))
    })
}

fn uses(session: &Session<'_>) -> Vec<Use> {
    let Ok(path) = path(session) else { return Vec::new() };
    let text = TargetFile::read(&path).ok().and_then(|target| target.text).unwrap_or_default();
    let root = Format::Ini.parse(&text).unwrap_or_else(|_| TreeNode::null());
    let sections = root.members().iter();
    sections
        .filter_map(|(key, section)| {
            let process = section.member(PROCESS).and_then(TreeNode::as_text).filter(|process| is_ours(process))?;
            Some(Use { file: path.clone(), label: format!("[{}]", key.as_text()?), profile: profile_in(process) })
        })
        .collect()
}
