//! docker, podman, skopeo and other programs that read docker's configuration: `credHelpers` for the cloud's registries.

mod check;
mod config;
mod yc;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};
use crate::base::hosts::DEFAULT_ENDPOINT;
use crate::commands::clients::client::{Client, SetupCall, Use, flag};
use crate::commands::clients::docker::config::{HELPERS, PREFIX, REGISTRIES, default_path, is_ours, locks, uses_in};
use crate::commands::clients::docker::yc::YcRegistries;
use crate::commands::clients::profiles::{self, Chosen};
use crate::commands::clients::program;
use crate::commands::clients::public;
use crate::commands::clients::report::{ChangeReport, Report};
use crate::commands::clients::undo;
use crate::commands::clients::values::{self, ConfigFile, PlannedSetting, find, keys};
use crate::edit::change::{EditPlan, OwnerLock};
use crate::edit::journal::{JournalEntry, What};
use crate::edit::place::EMPTY_OBJECT;
use crate::edit::splice::{self, Format};
use crate::edit::target::TargetFile;
use crate::edit::tree::{TreeChange, TreeNode};
use crate::session::Session;
use crate::system::{access, programs};

pub const CLIENT: Client = Client {
    name: "docker",
    about: "docker, podman and skopeo ask ycred about the cloud's registries",
    flags: &["host", "file"],
    is_found,
    programs: PROGRAMS,
    setup,
    selects,
    undo_without_journal,
    remaining,
    file_naming_link,
    uses,
    selection: config::selection,
    check: Some(&check::CHECK),
    locks,
    ..Client::PLAIN
};

const PROGRAMS: &[&str] = &["docker", "podman", "skopeo", "buildah", "crane"];

fn is_found(session: &Session<'_>) -> bool {
    program::is_any_found(PROGRAMS, session) || default_path(session).is_ok_and(|path| path.exists())
}

fn path(call: &SetupCall<'_>, session: &Session<'_>) -> Result<PathBuf> {
    call.path("file", session)?.map_or_else(|| default_path(session), Ok)
}

fn setup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let path = path(call, session)?;
    let asked = call.values("host");
    let kept = kept(&path, &asked, call, session)?;
    let chosen = profiles::chosen_or_kept(call, kept.iter().map(|place| place.profile.clone()), session)?;
    let ycred = program::ycred(call, session)?;
    let root = Format::Json.parse(&call.editor.text(&path).unwrap_or_default()).unwrap_or_else(|_| TreeNode::null());
    let is_chosen = profiles::is_chosen(call, session)?;
    let of_yc = YcRegistries::of(&root, &path, &chosen, &asked, is_chosen, session);
    if let Some(error) = of_yc.refused.into_iter().next() {
        return Err(error);
    }
    let profile_of = |host: &str| of_yc.others.get(host).unwrap_or(&chosen);
    for host in &asked {
        profile_of(host).check_host(host, None)?;
    }
    // With several profiles, each registry keeps its own.
    let are_several = kept.iter().any(|place| place.profile != kept[0].profile);
    let stays = |host: &String| are_several && kept.iter().any(|place| place.label == *host);
    let served = of_yc.usual.iter().chain(of_yc.others.keys());
    let hosts: Vec<String> = hosts(&root, &asked, &chosen, served).into_iter().filter(|host| !stays(host)).collect();
    let helpers = hosts
        .iter()
        .map(|host| Ok((host.as_str(), helper(profile_of(host), session)?)))
        .collect::<Result<Vec<(&str, String)>>>()?;
    if helpers.is_empty() && !are_several {
        return Err(Error::usage(format!(
            "the endpoint of profile {} has no registry that ycred knows",
            chosen.name()
        ))
        .hint("name one that the profile lists: ycred setup docker --host HOST"));
    }
    let names: BTreeSet<&String> = helpers.iter().map(|(_, helper)| helper).collect();
    let links = names
        .iter()
        .map(|name| link_path(&programs::own_file_name(&format!("{PREFIX}{name}")), Path::new(&ycred.path), session))
        .collect::<Result<Vec<_>>>()?;
    let links: Vec<PathBuf> = links.into_iter().flatten().collect();
    let file = ConfigFile {
        path: &path,
        format: Format::Json,
        empty: EMPTY_OBJECT,
        consequence: "docker ignores the whole file otherwise",
    };
    let is_forced = call.is_set("force");
    let mut report = Report::default();
    let (linked, mut changes) = values::with_links(call, &links, Path::new(&ycred.path), || {
        values::set(call, &file, |root| {
            refuse_other_spelling(root, &path)?;
            helpers.iter().map(|(host, helper)| setting(root, host, helper, profile_of(host), is_forced)).collect()
        })
    })?;
    for change in &mut changes {
        let chosen = profile_of(&change.place);
        change.profile = Some(chosen.argument.clone());
        change.account = Some(chosen.account.clone());
    }
    report.changes.extend(linked);
    report.changes.extend(changes);
    for place in kept.iter().filter(|_| are_several) {
        if let Some(profile) = &place.profile {
            profiles::check_kept(profile, &CLIENT.setup_command(place, Some("NAME"), session), call, session)
                .map_err(|error| error.context(&place.label))?;
        }
        let mut change = ChangeReport::new(CLIENT.name, &path, place.label.clone());
        let profile = place.profile.as_ref().map_or("the default profile".to_owned(), |name| format!("profile {name}"));
        change.summary = format!("{}: already set up with ycred, keeps {profile}", place.label);
        change.profile.clone_from(&place.profile);
        report.changes.push(change);
    }
    report.notes.extend(ycred.note);
    let left = of_yc.left.iter().map(|(host, why)| format!("{}: {host}: left with yc: {why}", path.display()));
    report.notes.extend(left);
    report.notes.extend(chosen.kept_note);
    add_notes(&mut report, &path, session);
    Ok(report)
}

/// Returns the registries of this call that ycred serves already, unless the call chooses their profile.
fn kept(path: &Path, asked: &[String], call: &SetupCall<'_>, session: &Session<'_>) -> Result<Vec<Use>> {
    if profiles::is_chosen(call, session)? {
        return Ok(Vec::new());
    }
    let usual = profiles::chosen_or_default(call, session).ok();
    let is_usual = |host: &str| match &usual {
        Some(usual) => registries(usual).contains(&host),
        None => REGISTRIES.iter().any(|(_, hosts)| hosts.contains(&host)),
    };
    let is_meant = |place: &Use| match asked {
        [] => is_usual(&place.label),
        asked => asked.contains(&place.label),
    };
    Ok(uses_in(path).into_iter().filter(is_meant).collect())
}

/// Returns the registries of a profile's endpoint that people use.
fn registries(chosen: &Chosen) -> &'static [&'static str] {
    let endpoint = chosen.profile.settings.text("endpoint").ok().flatten().unwrap_or(DEFAULT_ENDPOINT);
    let endpoint = endpoint.strip_suffix(":443").unwrap_or(endpoint);
    REGISTRIES.iter().find(|(known, _)| *known == endpoint).map_or(&[], |(_, hosts)| hosts)
}

/// Returns the name of the helper for a profile, as docker's configuration has it.
fn helper(chosen: &Chosen, session: &Session<'_>) -> Result<String> {
    let suffix = chosen.suffix("a helper's name", session)?;
    Ok(suffix.map_or_else(|| "ycred".to_owned(), |profile| format!("ycred-{profile}")))
}

fn refuse_other_spelling(root: &TreeNode, path: &Path) -> Result<()> {
    let Some(name) = config::other_spelling(root) else { return Ok(()) };
    Err(Error::profile(format!("{}: {HELPERS} is written as {name}, which docker reads too", path.display()))
        .hint(format!("rename {name} to {HELPERS} in that file, then run the command again")))
}

/// Returns the hosts to set up: those of the endpoint, `served`, which the file gives to yc, and those that were asked for.
fn hosts<'a>(
    root: &TreeNode,
    asked: &[String],
    chosen: &Chosen,
    served: impl Iterator<Item = &'a String>,
) -> Vec<String> {
    // With `--host`, a registry that ycred serves already keeps its profile, which may be another account.
    let is_kept = |host: &str| {
        let helper = find(root, &keys(&[HELPERS, host])).and_then(TreeNode::as_text);
        !asked.is_empty() && !asked.iter().any(|asked| asked == host) && helper.is_some_and(is_ours)
    };
    let usual = registries(chosen).iter().filter(|host| !is_kept(host)).map(|host| (*host).to_owned());
    let mut hosts: Vec<String> = Vec::new();
    for host in usual.chain(served.cloned()).chain(asked.iter().cloned()) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

fn setting(root: &TreeNode, host: &str, helper: &str, chosen: &Chosen, is_forced: bool) -> Result<PlannedSetting> {
    let path = keys(&[HELPERS, host]);
    let former = find(root, &path).and_then(TreeNode::as_text);
    if let Some(other) = former
        && other != "yc"
        && !is_ours(other)
        && !is_forced
    {
        let why = match public::helper(other) {
            "" => "an empty helper turns helpers off for it".to_owned(),
            public::HIDDEN => "docker uses another helper for it".to_owned(),
            name => format!("docker uses the helper {name} for it"),
        };
        return Err(Error::profile(format!("{host}: {why}")).hint("to replace it, pass --force"));
    }
    let origin = match former.map(public::helper) {
        None | Some("") => "no helper",
        Some(public::HIDDEN) => "another helper",
        Some(name) => name,
    };
    Ok(PlannedSetting {
        label: host.to_owned(),
        path,
        value: TreeNode::text(helper),
        summary: format!("{host}: {origin} → {helper}: ycred {}", chosen.description()),
    })
}

/// Returns where to create the link. Returns `None` if PATH has one that leads to this ycred.
fn link_path(name: &str, ycred: &Path, session: &Session<'_>) -> Result<Option<PathBuf>> {
    let existing = program::find(name, session);
    if let Some(existing) = &existing
        && program::leads_to(existing, ycred)
        && !existing.is_symlink()
    {
        return Ok(None);
    }
    if let Some(existing) = existing {
        return Ok(Some(existing));
    }
    let directories: Vec<PathBuf> = program::directories(session).collect();
    let beside =
        ycred.parent().filter(|directory| directories.iter().any(|known| known == directory)).map(Path::to_owned);
    // With scoop, ycred is not in a directory of PATH, but its shim is.
    let of_shim = program::find("ycred", session).filter(|shim| programs::behind_shim(shim).is_some());
    let beside = beside.or_else(|| of_shim?.parent().map(Path::to_owned));
    let local = session.places.home.as_ref().map(|home| home.join(".local/bin"));
    let local = local.filter(|local| directories.contains(local));
    let directory = beside.into_iter().chain(local).find(|directory| program::is_writable(directory));
    match directory {
        Some(directory) => Ok(Some(directory.join(name))),
        None => {
            let writable: Vec<PathBuf> = directories
                .iter()
                .filter(|directory| program::is_writable(directory))
                .map(|directory| directory.join(name))
                .collect();
            let error = Error::usage(format!("no directory in PATH for the link {name}"));
            Err(match writable.is_empty() {
                true => error.hint(access::hint_for_new_directory()),
                false => error.hint(access::link_hint(ycred, &writable)),
            })
        }
    }
}

/// Names credentials that shadow ycred, or that are of no use any more.
fn add_notes(report: &mut Report, path: &Path, session: &Session<'_>) {
    let hosts: Vec<String> =
        report.changes.iter().map(|change| change.place.clone()).filter(|place| place != "link").collect();
    let auths_of = |path: &Path| -> Vec<String> {
        let text = TargetFile::read(path).ok().and_then(|target| target.text).unwrap_or_default();
        let root = Format::Json.parse(&text).unwrap_or_else(|_| TreeNode::null());
        let auths = root.member("auths").map(TreeNode::members).unwrap_or_default();
        auths
            .iter()
            .filter_map(|(host, _)| host.as_text())
            .filter(|host| hosts.iter().any(|known| known == host))
            .map(str::to_owned)
            .collect()
    };
    for host in auths_of(path) {
        report.notes.push(format!(
            "{}: still has a password for {host}, which docker does not use any more: docker logout {host}",
            path.display()
        ));
    }
    for config::PodmanFile { path, logout } in config::podman_files(session) {
        for host in auths_of(&path) {
            report.notes.push(format!("podman prefers its own login for {host}: {logout} {host}"));
        }
    }
    // Programs show nothing else if the helper has no credentials for a registry.
    if report.changes.iter().any(|change| change.is_changed) {
        report.notes.push("if a pull says only `unauthorized`: ycred doctor docker; for another registry: ycred setup docker --host HOST"
            .to_owned());
    }
}

fn selects(call: &SetupCall<'_>, session: &Session<'_>, entry: &JournalEntry) -> Result<bool> {
    let hosts = call.values("host");
    let file = call.real_path("file", session)?;
    let is_link = matches!(entry.what, What::Link { .. });
    Ok(is_link || (hosts.is_empty() || hosts.contains(&entry.label)) && file.is_none_or(|file| entry.file == file))
}

/// Without a journal, removes the entries that name ycred, and their links.
fn undo_without_journal(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let (path, only_hosts) = (path(call, session)?, call.values("host"));
    let report = RefCell::new((Report::default(), Vec::new()));
    call.editor.edit(&path, OwnerLock::None, |target, _| {
        let (mut found, mut helpers) = (Report::default(), Vec::new());
        let mut text = target.text.clone().unwrap_or_default();
        while let Some((pointer, host, helper)) = ours_in(&text, &only_hosts) {
            let mut change = ChangeReport::new(CLIENT.name, &target.spelled, host.clone());
            (text, _) = splice::apply(Format::Json, &text, &TreeChange::Remove(pointer))
                .map_err(|_| Error::profile(format!("{}: {host}: cannot be edited", path.display())))?;
            change.is_changed = true;
            change.summary = format!("{host}: removed {helper}");
            change.before = format!("{host}: \"{helper}\"");
            found.changes.push(change);
            helpers.push(helper);
        }
        *report.borrow_mut() = (found, helpers);
        let after = target.text.as_ref().map(|_| text);
        Ok(EditPlan { after, put: Vec::new(), remove: Vec::new() })
    })?;
    let (mut report, mut helpers) = report.into_inner();
    helpers.dedup();
    for helper in helpers {
        if let Some(link) = program::find_link(&format!("{PREFIX}{helper}"), session) {
            report.add(undo::unlink_by_form(call, &link, session)?);
        }
    }
    Ok(report)
}

fn remaining(call: &SetupCall<'_>, session: &Session<'_>) -> Vec<(String, String)> {
    let Ok(path) = path(call, session) else { return Vec::new() };
    let note = |host: String, helper: &str| {
        let place = format!("{}: {host}: {helper}", path.display());
        let command = format!("ycred unsetup docker {}", flag("host", &host));
        (host, format!("{place} stays, because setup did not write it; to remove it: {command}"))
    };
    let text = call.editor.text(&path).unwrap_or_default();
    let helpers = Format::Json.parse(&text).map(|root| config::helpers(&root)).unwrap_or_default();
    helpers.into_iter().filter(|(_, helper)| is_ours(helper)).map(|(host, helper)| note(host, &helper)).collect()
}

/// Returns the file of docker's or podman's configuration that names a helper.
fn file_naming_link(call: &SetupCall<'_>, session: &Session<'_>, link: &Path) -> Option<PathBuf> {
    let helper = programs::own_name(link)?.strip_prefix(PREFIX)?;
    let general = config::registries_files(session);
    let names = |path: &&PathBuf| call.editor.text(path).is_some_and(|text| config::has_general_helper(&text, helper));
    if let Some(path) = general.iter().find(names) {
        return Some(path.clone());
    }
    let containers = config::podman_files(session).into_iter().map(|file| file.path);
    let noted = call.editor.journal().map(|journal| {
        let entries = journal.of_client(CLIENT.name).filter(|entry| matches!(entry.what, What::Value { .. }));
        entries.map(|entry| entry.file.clone()).collect::<Vec<_>>()
    });
    let files = default_path(session).into_iter().chain(containers).chain(noted.unwrap_or_default());
    files.into_iter().find(|path| {
        let text = call.editor.text(path).unwrap_or_default();
        let root = Format::Json.parse(&text).unwrap_or_else(|_| TreeNode::null());
        let is_named = |value: &TreeNode| value.as_text() == Some(helper);
        root.members().iter().any(|(key, value)| match key.as_text() {
            Some(HELPERS) => value.members().iter().any(|(_, value)| is_named(value)),
            Some("credsStore") => is_named(value),
            _ => false,
        })
    })
}

/// Finds the first entry that names ycred: its pointer, host and helper.
fn ours_in(text: &str, only_hosts: &[String]) -> Option<(Vec<usize>, String, String)> {
    let root = Format::Json.parse(text).ok()?;
    let objects = root.members().iter().enumerate().filter(|(_, (key, _))| key.as_text() == Some(HELPERS));
    for (at, (_, helpers)) in objects {
        for (position, (host, helper)) in helpers.members().iter().enumerate() {
            let (Some(host), Some(helper)) = (host.as_text(), helper.as_text()) else { continue };
            if is_ours(helper) && (only_hosts.is_empty() || only_hosts.iter().any(|only| only == host)) {
                return Some((vec![at, position], host.to_owned(), helper.to_owned()));
            }
        }
    }
    None
}

fn uses(session: &Session<'_>) -> Vec<Use> {
    default_path(session).map(|path| uses_in(&path)).unwrap_or_default()
}
