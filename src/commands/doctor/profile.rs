//! `profile`: the profile that ycred uses here, its settings, and the other profiles.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::base::environment::{XDG_CONFIG_HOME, XDG_RUNTIME_DIR, YCRED_PROFILE};
use crate::base::hosts::{Host, Pattern};
use crate::cloud::http::Http;
use crate::commands::check::{Check, Examination, Finding, LOCAL_LIMIT, Verdict, profile_files};
use crate::commands::clients;
use crate::commands::clients::client::{Client, setup_command};
use crate::edit::target::TargetFile;
use crate::profile::find::FoundProfile;
use crate::profile::{Profile, ProfileRef, SelectedBy, find};
use crate::session::Session;

pub const CHECK: Check = Check {
    id: "profile",
    about: "the profile that ycred uses here, and who may change it; other profiles that are broken",
    parts: &["ca-file", "hosts", "others"],
    limit: LOCAL_LIMIT,
    needs_network: false,
    run,
};

fn run(examination: &Examination) -> Vec<Finding> {
    let mut findings = match examination.profile() {
        Ok(profile) => serving(profile, examination),
        Err(error) => vec![match several(examination) {
            Some(first) => Finding::fail(error.reason()).fix(format!("ycred use {first}")),
            None => Finding::of_error(&error),
        }],
    };
    if let Ok(profile) = examination.profile() {
        findings.extend(examination.with_session(|session| not_asked_about(profile, session)));
    }
    findings.extend(others(examination));
    findings
}

/// The clients that are set up for one host after another, and what such a host is.
const BY_HOST: [(&str, &str); 2] = [("docker", "a registry"), ("git", "a git server")];

/// Reports the hosts of a profile for which neither docker nor git is set up. What other clients ask about cannot be seen.
fn not_asked_about(profile: &Profile, session: &Session<'_>) -> Option<Finding> {
    let found: Vec<_> = BY_HOST
        .iter()
        .filter_map(|(name, what)| Some((clients::named(name).filter(|client| (client.is_found)(session))?, *what)))
        .collect();
    let places = found.iter().flat_map(|(client, _)| (client.uses)(session));
    let asked: Vec<String> = places.filter_map(|place| Some(Host::parse(&place.label)?.to_string())).collect();
    let listed = profile.settings.list("hosts").unwrap_or_default();
    let single = |text: &String| Pattern::parse(text).ok()?.single();
    let is_asked = |host: &String| asked.contains(host) || podman_asks_about(host, session);
    let hosts: Vec<String> = listed.iter().filter_map(single).filter(|host| !is_asked(host)).collect();
    if hosts.is_empty() || found.is_empty() {
        return None;
    }
    let selected = match profile.selected_by {
        SelectedBy::Named(_) => profile.name.as_deref(),
        _ => None,
    };
    let host = if let [host] = &hosts[..] { host.as_str() } else { "HOST" };
    let command = |(client, what): &(&Client, &str)| {
        let selection = vec!["--host".to_owned(), host.to_owned()];
        format!("{} ({what})", setup_command(client.name, selection, selected))
    };
    let names: Vec<&str> = found.iter().map(|(client, _)| client.name).collect();
    let verb = if names.len() == 1 { "is not" } else { "are not" };
    let them = if hosts.len() == 1 { "it" } else { "them" };
    let what = format!("`hosts` has {}; {} {verb} set up for {them}", hosts.join(", "), names.join(" and "));
    let finding = Finding::skip(what).part("hosts").fix(found.iter().map(command).collect::<Vec<_>>().join(", or "));
    Some(hosts.into_iter().fold(finding, Finding::named))
}

fn serving(profile: &Profile, examination: &Examination) -> Vec<Finding> {
    let mut findings = profile_files::settings(profile);
    if let Some(path) = &profile.ca_file {
        if let Err(error) = find::check_named_file(path, "ca-file") {
            findings.push(Finding::of_error(&error).part("ca-file"));
        } else if let Err(error) = Http::new(&examination.environment, Some(path)).check_roots() {
            let finding = Finding::of_error(&error).part("ca-file");
            findings.push(if uses_tls(profile) { finding } else { Finding { verdict: Verdict::Warn, ..finding } });
        }
    }
    if findings.is_empty() {
        let file = profile.settings.file.as_ref().map(|file| format!(", {}", file.display())).unwrap_or_default();
        let source = profile.source.name;
        findings.push(Finding::ok(format!("{profile} ({}): {source}{file}", reason(profile))));
    }
    findings
}

/// Returns true if ycred is the helper for a host in the files of podman, buildah and skopeo, which `setup` does not edit.
fn podman_asks_about(host: &str, session: &Session<'_>) -> bool {
    let home = session.places.home.as_ref().map(|home| home.join(".config"));
    let own = session.environment.absolute(XDG_CONFIG_HOME).or(home);
    let runtime = session.environment.absolute(XDG_RUNTIME_DIR);
    let text = |directory: &PathBuf, name: &str| {
        let target = TargetFile::read(&directory.join("containers").join(name));
        target.ok().and_then(|target| target.text).unwrap_or_default()
    };
    let names_host = |directory: &PathBuf| {
        let text = text(directory, "auth.json");
        text.contains("ycred") && text.contains(&format!("\"{host}\""))
    };
    // There, a helper is asked about every registry.
    own.iter().chain(&runtime).any(names_host)
        || own.iter().any(|directory| text(directory, "registries.conf").contains("\"ycred"))
}

/// Returns false if all requests of a profile go to a server without TLS, so that no certificate is read.
fn uses_tls(profile: &Profile) -> bool {
    let installation = &profile.installation;
    let is_plain = |url: &str| url.starts_with("http://");
    !(is_plain(&installation.iam_setting())
        && (is_plain(&installation.auth_url) || !matches!(profile.source.name, "login" | "workload")))
}

/// Returns why this profile is used.
fn reason(profile: &Profile) -> String {
    match profile.selected_by {
        SelectedBy::Named(by) => format!("by {by}"),
        SelectedBy::Default => "the default".to_owned(),
        SelectedBy::Environment(_) => "there is no default profile".to_owned(),
        SelectedBy::Only => "the only profile".to_owned(),
    }
}

/// Returns the first of several profiles, if none serves because there is no default.
fn several(examination: &Examination) -> Option<String> {
    let is_unnamed =
        matches!(examination.profile_ref, ProfileRef::Unnamed) && examination.environment.get(YCRED_PROFILE).is_none();
    match find::without_name(&examination.places) {
        Ok(FoundProfile::Several(names)) if is_unnamed => names.into_iter().next(),
        _ => None,
    }
}

/// Returns one warning for all other profiles that are broken.
fn others(examination: &Examination) -> Option<Finding> {
    let is_broken = |name: &String| {
        let named = ProfileRef::Name { by: "doctor", name: name.clone() };
        let (environment, places) = (&examination.environment, &examination.places);
        Profile::load(&named, environment, places, examination.clock.now()).is_err()
    };
    let names = find::names(&examination.places);
    let serving = match examination.profile() {
        Ok(profile) => profile.name.clone(),
        // Its error has a line of its own.
        Err(_) => match &examination.profile_ref {
            ProfileRef::NameOrPath { text, .. } => text.to_str().map(str::to_owned),
            _ => unnamed(&names, examination),
        },
    };
    // An alias is as broken as the profile that it leads to, which counts once.
    let behind = |name: &str| find::behind(name, &examination.places);
    let serving = serving.map(|name| behind(&name));
    let others: BTreeSet<String> = names.iter().map(|name| behind(name)).collect();
    let broken: Vec<String> =
        others.into_iter().filter(|name| Some(name) != serving.as_ref() && is_broken(name)).collect();
    let first = broken.first()?;
    let noun = if broken.len() == 1 { "profile is" } else { "profiles are" };
    Some(
        Finding::warn(format!("{} other {noun} broken: {}", broken.len(), broken.join(", ")))
            .part("others")
            .fix(format!("ycred doctor profile --profile {first}")),
    )
}

/// Returns the name of the profile that should serve without a flag, also if it cannot be read.
fn unnamed(names: &BTreeSet<String>, examination: &Examination) -> Option<String> {
    match examination.environment.text(YCRED_PROFILE) {
        Ok(Some(name)) => Some(name.to_owned()),
        _ if names.len() == 1 => names.first().cloned(),
        _ => Some(find::DEFAULT.to_owned()),
    }
}
