//! The AWS CLI and SDKs: a profile of AWS's own that gets access keys for Object Storage from ycred.

mod check;
mod config;
mod order;

use std::path::{Path, PathBuf};

use crate::base::environment::AWS_SHARED_CREDENTIALS_FILE;
use crate::base::error::{Error, Result};
use crate::base::hosts::DEFAULT_ENDPOINT;
use crate::base::shell;
use crate::commands::clients::aws::config::{PROCESS, in_home, is_ours, path, profile_of};
use crate::commands::clients::aws::order::{AwsFileKind, preferred};
use crate::commands::clients::client::{Client, SetupCall, Use, profile_in_line, public_profile_in};
use crate::commands::clients::profiles::{self, Chosen};
use crate::commands::clients::program;
use crate::commands::clients::public;
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
    programs: &["aws"],
    is_found: |session| program::find("aws", session).is_some() || path(session).is_ok_and(|path| path.exists()),
    setup,
    selects,
    undo_without_journal,
    uses,
    selection: |place, _| config::selection(section_in(&place.label)),
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
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_. ".contains(c);
    match !name.is_empty() && name.trim() == name && name.chars().all(is_plain) {
        true => Ok(name.to_owned()),
        false => Err(Error::usage(format!("--name: \"{name}\" is not a profile name"))
            .hint("use letters, digits, dots, dashes and blanks")),
    }
}

/// Returns the section of a profile as the file spells it, or else as setup writes it.
///
/// # Errors
/// Profile (3): there is more than one, of which AWS uses the last.
fn section_of(name: &str, root: &TreeNode) -> Result<String> {
    let sections = root.members().iter().filter_map(|(key, _)| key.as_text());
    let mut known = sections.filter(|section| profile_of(section).as_deref() == Some(name));
    match (known.next(), known.next()) {
        (Some(_), Some(_)) => Err(Error::profile(format!("the section [{}] occurs twice", written_section(name)))
            .hint("join the two sections first")),
        (Some(section), None) => Ok(section.to_owned()),
        (None, _) => Ok(written_section(name)),
    }
}

fn written_section(name: &str) -> String {
    match name {
        "default" => name.to_owned(),
        name if name.contains(' ') => format!("profile '{name}'"),
        name => format!("profile {name}"),
    }
}

fn setup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let name = name(call)?;
    let chosen = profiles::chosen_or_kept(call, served(&name, session)?, session)?;
    let ycred = program::ycred(call, session)?;
    let path = path(session)?;
    for (path, kind) in files(session)? {
        refuse_repeated(&path, call)?;
        refuse_preferred(&path, kind, &name)?;
    }
    let file =
        ConfigFile { path: &path, format: Format::Ini, empty: "", consequence: "the AWS CLI cannot read it either" };
    let process = format!("{} aws --profile {}", quoted(&ycred.path), quoted(&chosen.written()));
    let is_forced = call.is_set("force");
    let mut changes =
        values::set(call, &file, |root| settings(root, &section_of(&name, root)?, &process, &chosen, is_forced))?;
    for change in &mut changes {
        (change.profile, change.account) = (Some(chosen.argument.clone()), Some(chosen.account.clone()));
    }
    let mut report = Report { changes, ..Report::default() };
    report.notes.extend(ycred.note);
    report.notes.extend(chosen.kept_note);
    Ok(report)
}

/// Returns the profile in the process of AWS's profile, if that is ycred.
fn served(name: &str, session: &Session<'_>) -> Result<Option<Option<String>>> {
    let text = TargetFile::read(&path(session)?)?.text.unwrap_or_default();
    let Ok(root) = Format::Ini.parse(&text) else { return Ok(None) };
    let of_name = |(key, _): &&(TreeNode, TreeNode)| key.as_text().and_then(profile_of).as_deref() == Some(name);
    let section = root.members().iter().find(of_name).map(|(_, section)| section);
    let process = section.and_then(|section| section.member(PROCESS)).and_then(TreeNode::as_text);
    Ok(process.filter(|process| is_ours(process)).map(profile_in_line))
}

/// Quotes a word for all readers: botocore splits like a shell, others pass the line to one.
fn quoted(word: &str) -> String {
    let is_plain = word.chars().all(|c| c.is_alphanumeric() || "/._-+:@%,".contains(c));
    if is_plain { word.to_owned() } else { format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// Returns the two files that AWS reads.
fn files(session: &Session<'_>) -> Result<[(PathBuf, AwsFileKind); 2]> {
    let credentials = in_home(AWS_SHARED_CREDENTIALS_FILE, "credentials", session)?;
    Ok([(credentials, AwsFileKind::Credentials), (path(session)?, AwsFileKind::Configuration)])
}

/// A repeated option makes AWS refuse the whole file, for every profile.
fn refuse_repeated(path: &Path, call: &SetupCall<'_>) -> Result<()> {
    let text = call.editor.text(path).unwrap_or_default();
    let Ok(root) = Format::Ini.parse(&text) else { return Ok(()) };
    let Some((section, key)) = config::repeated(&root) else { return Ok(()) };
    let line = text[..key.span.start].matches('\n').count() + 1;
    let name = public::word(key.as_text().unwrap_or_default());
    let section = if profile_of(section).is_some() { format!("[{section}]") } else { "a section".to_owned() };
    Err(Error::profile(format!("{}:{line}: {name} is there twice in {section}", path.display()))
        .hint("AWS cannot read the file; remove one of the two lines, then run the command again"))
}

/// AWS never runs ycred for a profile that has another origin of credentials, and says nothing about it.
fn refuse_preferred(path: &Path, kind: AwsFileKind, name: &str) -> Result<()> {
    let Some(text) = TargetFile::read(path)?.text else { return Ok(()) };
    let Ok(root) = Format::Ini.parse(&text) else { return Ok(()) };
    match preferred(&root, kind, name) {
        Some(found) => {
            let what = found.description();
            Err(Error::profile(format!("{}: [{}] has {what}, which AWS prefers", path.display(), found.section))
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
    let former = find(root, &keys(&[section, PROCESS])).and_then(TreeNode::as_text);
    if let Some(other) = former
        && !other.is_empty()
        && !is_ours(other)
        && !is_forced
    {
        let first = shell::split(other).into_iter().next().unwrap_or_default();
        let program = public::name_of(&first);
        return Err(Error::profile(format!("[{section}] has another credential_process: it runs {program}"))
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

/// Returns the section at the start of a label, without its brackets.
fn section_in(label: &str) -> &str {
    label.strip_prefix('[').and_then(|label| label.split_once(']')).map_or("", |(section, _)| section)
}

/// Returns true if a section in brackets, with what follows, is the one that `--name` selects.
fn is_selected(label: &str, call: &SetupCall<'_>) -> bool {
    let section = section_in(label);
    call.value("name").is_none_or(|name| profile_of(section).as_deref() == Some(name))
}

fn selects(call: &SetupCall<'_>, _: &Session<'_>, entry: &JournalEntry) -> Result<bool> {
    Ok(is_selected(&entry.label, call))
}

/// Without a journal, removes the option that names ycred. Region and endpoint may be the user's own.
fn undo_without_journal(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let path = &path(session)?;
    let is_selected = |section: &str| is_selected(section, call);
    let report = std::cell::RefCell::new(Report::default());
    call.editor.edit(path, OwnerLock::None, |target, _| {
        let mut found = Report::default();
        let mut text = target.text.clone().unwrap_or_default();
        while let Some((pointer, section, process)) = ours_in(&text, is_selected) {
            (text, _) = splice::apply(Format::Ini, &text, &TreeChange::Remove(pointer))
                .map_err(|_| Error::profile(format!("{}: {section}: cannot be edited", path.display())))?;
            let mut change = ChangeReport::new(CLIENT.name, &target.spelled, section.clone());
            change.is_changed = true;
            change.summary = format!("{section}: removed {PROCESS}");
            change.before = format!("{PROCESS} = {}", public::command(&process));
            found.changes.push(change);
        }
        *report.borrow_mut() = found;
        let after = target.text.as_ref().map(|_| text);
        Ok(EditPlan { after, put: Vec::new(), remove: Vec::new() })
    })?;
    Ok(report.into_inner())
}

/// Finds the first option that names ycred: its pointer, its section in brackets, and its value.
fn ours_in(text: &str, is_selected: impl Fn(&str) -> bool) -> Option<(Vec<usize>, String, String)> {
    let root = Format::Ini.parse(text).ok()?;
    root.members().iter().enumerate().find_map(|(at, (key, section))| {
        let name = format!("[{}]", key.as_text()?);
        let position = section.position(PROCESS)?;
        let process = section.member(PROCESS)?.as_text().filter(|process| is_ours(process) && is_selected(&name))?;
        Some((vec![at, position], name.clone(), process.to_owned()))
    })
}

fn uses(session: &Session<'_>) -> Vec<Use> {
    let Ok(files) = files(session) else { return Vec::new() };
    let read = |(path, kind): (PathBuf, AwsFileKind)| {
        let text = TargetFile::read(&path).ok().and_then(|target| target.text).unwrap_or_default();
        (path, kind, Format::Ini.parse(&text).unwrap_or_else(|_| TreeNode::null()))
    };
    let [credentials, configuration] = files.map(read);
    let sections = configuration.2.members().iter();
    sections
        .filter_map(|(key, section)| {
            let process = section.member(PROCESS).and_then(TreeNode::as_text).filter(|process| is_ours(process))?;
            let section = key.as_text()?;
            let name = profile_of(section).unwrap_or_default();
            let mut found = [&credentials, &configuration].into_iter();
            let instead = found.find_map(|(_, kind, root)| Some(preferred(root, *kind, &name)?.description()));
            let note = instead.map(|what| format!("AWS prefers its {what}"));
            let file = configuration.0.clone();
            Some(Use { file, label: format!("[{section}]"), profile: public_profile_in(process), note })
        })
        .collect()
}
