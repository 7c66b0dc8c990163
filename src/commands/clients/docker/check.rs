//! `doctor`'s check of docker: the configuration as docker reads it, and the helper of each registry that ycred serves.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::base::hosts::Host;
use crate::base::shell;
use crate::commands::check::{Check, Examination, Finding};
use crate::commands::clients::client::{Use, setup_command};
use crate::commands::clients::docker::config::{self, HELPERS, PREFIX, default_path, helpers, is_ours};
use crate::commands::clients::docker::yc::{HELPER, YcRegistries};
use crate::commands::clients::profiles;
use crate::commands::clients::program;
use crate::commands::clients::trial::{self, CLIENT_LIMIT, Trial, TrialResult};
use crate::edit::splice::Format;
use crate::edit::target::TargetFile;
use crate::edit::tree::TreeNode;
use crate::profile::find;
use crate::session::Session;
use crate::system::{fixes, programs};

pub const CHECK: Check = Check {
    id: "docker",
    about: "docker's registries that ycred serves: the configuration, the helper, and its answer",
    parts: &["config", "store", "helper", "hosts", "profile", "answer", "password", "variable", "yc"],
    limit: CLIENT_LIMIT,
    needs_network: false,
    run,
};

/// Replaces docker's whole configuration of credentials.
const AUTH_CONFIG: &str = "DOCKER_AUTH_CONFIG";

const PROGRAMS: [&str; 5] = ["docker", "podman", "skopeo", "buildah", "crane"];

fn run(examination: &Examination) -> Vec<Finding> {
    examination.with_session(|session| examine(examination, session))
}

fn examine(examination: &Examination, session: &Session<'_>) -> Vec<Finding> {
    let Ok(path) = default_path(session) else { return vec![Finding::skip("there is no home directory")] };
    let root = match read(&path) {
        Ok(Some(root)) => root,
        Ok(None) => return vec![nothing(session)],
        Err(finding) => return vec![finding],
    };
    let entries = helpers(&root);
    let (mut findings, mut hosts) = (Vec::new(), Vec::new());
    for (host, helper) in &entries {
        if is_ours(helper) {
            hosts.push(host.clone());
            let entry = Entry { host, helper };
            findings.extend(entry.examine(examination, session).into_iter().map(|finding| finding.named(host)));
        }
    }
    if let Some(helper) = root.member("credsStore").and_then(TreeNode::as_text).filter(|helper| is_ours(helper)) {
        findings.push(
            Finding::warn(format!("{}: credsStore is {helper}, which stores no passwords", path.display()))
                .part("store")
                .fix(format!(
                    "remove credsStore from {}, then run: {} setup docker",
                    path.display(),
                    trial::ycred_command(session)
                )),
        );
    }
    findings.extend(yc(&root, &path, &entries, session));
    if let Some(name) = config::other_spelling(&root) {
        let what = format!("{}: {HELPERS} is written as {name}; setup cannot edit that", path.display());
        findings.push(Finding::warn(what).part("config").fix(format!("rename {name} to {HELPERS} in that file")));
    }
    findings.extend(passwords(&path, &root, &hosts, session));
    if !hosts.is_empty() && session.environment.get(AUTH_CONFIG).is_some() {
        let what = format!("{AUTH_CONFIG} is set, and newer versions of docker use it instead of helpers");
        findings.push(Finding::warn(what).part("variable").fix(fixes::unset(&[AUTH_CONFIG])));
    }
    if findings.is_empty() {
        findings.push(match hosts.is_empty() {
            true => nothing(session),
            false => ok(&hosts, &entries),
        });
    }
    findings
}

fn nothing(session: &Session<'_>) -> Finding {
    match program::is_any_found(&PROGRAMS, session) {
        true => Finding::skip("no registry is served by ycred")
            .fix(format!("{} setup docker", trial::ycred_command(session))),
        false => Finding::skip("neither docker nor podman is in PATH"),
    }
}

fn ok(hosts: &[String], entries: &[(String, String)]) -> Finding {
    let names = entries.iter().filter(|(_, helper)| is_ours(helper)).map(|(_, helper)| format!("{PREFIX}{helper}"));
    let is_hidden = names.into_iter().any(|name| !trial::is_found_by_desktop(&name));
    // A helper has no path in docker's configuration, so nothing can be changed there.
    let note = match is_hidden {
        true => " (in programs started from a terminal)",
        false => "",
    };
    let finding = Finding::serves(hosts);
    Finding { what: finding.what + note, ..finding }
}

/// Reads the configuration as docker does: JSON without comments and without a byte order mark.
fn read(path: &Path) -> Result<Option<TreeNode>, Finding> {
    let text = match TargetFile::read(path) {
        Ok(target) => target.text,
        Err(error) => return Err(Finding::of_error(&error).part("config")),
    };
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    Format::Json.parse(&text).map(Some).map_err(|error| {
        let what = format!("{}:{}: {}; docker ignores the whole file", path.display(), error.line, error.why);
        let (names_ycred, finding) = (text.contains("ycred"), Finding::fail(what));
        let finding =
            if names_ycred { finding } else { Finding { verdict: crate::commands::check::Verdict::Warn, ..finding } };
        finding.part("config").fix(correction(path, &text, error.line))
    })
}

/// Returns a command that makes the file JSON, where a simple one does.
fn correction(path: &Path, text: &str, line: usize) -> String {
    let body = text.trim_start_matches('\u{feff}');
    let is_comment = |line: &&str| line.trim_start().starts_with("//");
    let bare: String = body.split_inclusive('\n').filter(|line| !is_comment(line)).collect();
    match (Format::Json.parse(body).is_ok(), Format::Json.parse(&bare).is_ok()) {
        (true, _) => fixes::change(path, r"1s/^\xEF\xBB\xBF//", line),
        (false, true) if body.len() == text.len() => fixes::change(path, r"/^[[:space:]]*\/\//d", line),
        _ => fixes::edit(path, line),
    }
}

/// What clients do without a helper. None of them says that it is missing.
const WITHOUT_HELPER: &str = "docker asks the registry without credentials, and podman and skopeo stop with an error";

/// Returns the directory outside PATH that has the helper: that of ycred, or that of the user's own programs.
fn directory_elsewhere(name: &str, session: &Session<'_>) -> Option<PathBuf> {
    let beside = trial::ycred_path(session).and_then(|ycred| ycred.parent().map(Path::to_owned));
    let of_user = session.places.home.as_ref().map(|home| home.join(".local/bin"));
    let file = programs::own_file_name(name);
    beside.into_iter().chain(of_user).find(|directory| program::is_ycred(&directory.join(&file)))
}

/// A registry that ycred serves.
struct Entry<'a> {
    host: &'a str,
    helper: &'a str,
}

impl Entry<'_> {
    /// Returns the command that sets this registry up with a profile.
    fn command(&self, profile: Option<&str>, session: &Session<'_>) -> String {
        let file = default_path(session).unwrap_or_default();
        let place = Use { file, label: self.host.to_owned(), profile: None, note: None };
        setup_command("docker", config::selection(&place, session), profile)
    }

    fn examine(&self, examination: &Examination, session: &Session<'_>) -> Option<Finding> {
        let name = format!("{PREFIX}{}", self.helper);
        let named = self.helper.strip_prefix("ycred-");
        // A link for it would lead nowhere.
        if let Some(profile) = named.filter(|profile| matches!(find::by_name(profile, session.places), Ok(None))) {
            let near = find::near_name(profile, session.places);
            let what = format!("{}: the helper {name} uses the profile {profile}, which does not exist", self.host);
            let fix = match near {
                Some(near) => self.command(Some(&near), session),
                None => format!("choose one that `ycred list` shows: {}", self.command(Some("NAME"), session)),
            };
            return Some(Finding::fail(what).part("profile").fix(fix));
        }
        let Some(program) = find(&name, session) else {
            if let Some(directory) = directory_elsewhere(&name, session) {
                let what = format!(
                    "{}: the helper {name} is in {}, which is not in PATH, so {WITHOUT_HELPER}",
                    self.host,
                    directory.display()
                );
                return Some(Finding::fail(what).part("helper").fix(fixes::search_first(&directory)));
            }
            let fix = match trial::ycred_path(session) {
                Some(ycred) => link(&name, &ycred, session),
                None => self.command(named, session),
            };
            let what = format!("{}: the helper {name} is not in PATH, so {WITHOUT_HELPER}", self.host);
            return Some(Finding::fail(what).part("helper").fix(fix));
        };
        if !program::is_program(&program) {
            let what = format!("{}: {} is not a program", self.host, program.display());
            let fix = match (program.is_symlink(), trial::ycred_path(session)) {
                (true, Some(ycred)) => fixes::link(&ycred, &program),
                _ => fixes::make_executable(&program),
            };
            return Some(Finding::fail(what).part("helper").fix(fix));
        }
        if !program::is_ycred(&program) {
            let what = format!("{}: {} is not ycred, so it was not run", self.host, program.display());
            let fix = format!("see what it is: {}", fixes::show(&program));
            return Some(Finding::fail(what).part("helper").fix(fix));
        }
        let profile = match trial::profile(named, &self.command(Some("NAME"), session), session) {
            Ok(profile) => profile,
            Err(finding) => {
                let what = format!("{}: {}", self.host, finding.what);
                return Some(Finding { what, ..finding.part("profile") });
            }
        };
        if !Host::parse(self.host).is_some_and(|host| profile.hosts.covers(&host)) {
            let what = format!(
                "{}: {profile} does not list this registry, so ycred does not answer for it{}",
                self.host,
                trial::meant(self.host, &profile)
            );
            let fix = trial::foreign_host("docker", self.host, &profile, named, session);
            return Some(Finding::fail(what).part("hosts").fix(fix));
        }
        let trial = Trial {
            program: program.clone(),
            arguments: vec!["get".to_owned()],
            stdin: self.host.to_owned(),
            ..Trial::default()
        };
        match trial::answer(&trial, examination, session, credential)? {
            Ok(_) => None,
            Err(error) => {
                let what = format!("{}: {name} does not answer: {}", self.host, error.reason());
                let by_hand = format!("run it by hand: echo {} | {name} get", shell::word(self.host));
                Some(Finding::fail(what).part("answer").fix(error.hint_text().unwrap_or(by_hand)))
            }
        }
    }
}

/// Finds a helper as docker does, also one that is not executable or a link that leads nowhere.
fn find(name: &str, session: &Session<'_>) -> Option<PathBuf> {
    program::find(name, session).or_else(|| {
        let mut candidates = program::directories(session).map(|directory| directory.join(name));
        candidates.find(|path| path.symlink_metadata().is_ok())
    })
}

/// Returns the command that creates the link beside ycred, or in the first directory of PATH that can be written.
fn link(name: &str, ycred: &Path, session: &Session<'_>) -> String {
    let directories: Vec<PathBuf> = program::directories(session).collect();
    let beside = ycred.parent().map(Path::to_owned).filter(|directory| directories.contains(directory));
    let writable = beside.into_iter().chain(directories).find(|directory| program::is_writable(directory));
    match writable {
        Some(directory) => fixes::link(ycred, &directory.join(programs::own_file_name(name))),
        None => format!("link {name} to {} in a directory of PATH", ycred.display()),
    }
}

fn credential(result: &TrialResult) -> Result<()> {
    let text = result.stdout.expose();
    let answer: Option<Value> = serde_json::from_str(text).ok();
    let secret = answer.as_ref().and_then(|answer| answer["Secret"].as_str()).filter(|secret| !secret.is_empty());
    if secret.is_none() && !result.is_success {
        return Err(Error::refused(text.lines().next().unwrap_or("no message").trim().to_owned()));
    }
    trial::hide(secret, "secret")
}

/// yc's helper without yc: docker-py and others stop with an error.
fn yc(root: &TreeNode, path: &Path, entries: &[(String, String)], session: &Session<'_>) -> Vec<Finding> {
    let hosts: Vec<&str> =
        entries.iter().filter(|(_, helper)| helper == HELPER).map(|(host, _)| host.as_str()).collect();
    if hosts.is_empty() || program::find("docker-credential-yc", session).is_some() {
        return Vec::new();
    }
    // `setup docker` replaces it where a profile may serve the registry.
    let left = profiles::usual(session).map(|usual| YcRegistries::of(root, path, &usual, &[], false, session).left);
    let left = left.unwrap_or_default();
    let finding = |hosts: &str, fix: String| {
        let what = format!("{hosts}: the helper yc is configured, but docker-credential-yc is not in PATH");
        Finding::warn(what).part("yc").fix(fix)
    };
    let is_left = |host: &&str| left.iter().any(|(left, _)| left == host);
    let others: Vec<&str> = hosts.into_iter().filter(|host| !is_left(host)).collect();
    let setup = format!("{} setup docker", trial::ycred_command(session));
    let of_others = (!others.is_empty()).then(|| finding(&others.join(", "), setup));
    of_others.into_iter().chain(left.iter().map(|(host, why)| finding(host, why.clone()).named(host))).collect()
}

/// Finds passwords for registries that ycred serves: dead weight in docker's file, and in front of ycred for podman.
fn passwords(path: &Path, root: &TreeNode, hosts: &[String], session: &Session<'_>) -> Vec<Finding> {
    let of = |root: &TreeNode| -> Vec<String> {
        let auths = root.member("auths").map(TreeNode::members).unwrap_or_default();
        let names = auths.iter().filter(|(_, value)| !value.is_empty()).filter_map(|(host, _)| host.as_text());
        names.filter(|host| hosts.iter().any(|known| known == host)).map(str::to_owned).collect()
    };
    let mut findings: Vec<Finding> = of(root)
        .into_iter()
        .map(|host| {
            let what =
                format!("{} still has a password for {host}, which docker does not use any more", path.display());
            Finding::warn(what).part("password").fix(format!("docker logout {}", shell::word(&host))).named(host)
        })
        .collect();
    for config::PodmanFile { path, logout } in config::podman_files(session) {
        let text = TargetFile::read(&path).ok().and_then(|target| target.text).unwrap_or_default();
        for host in Format::Json.parse(&text).map(|root| of(&root)).unwrap_or_default() {
            let what = format!("podman prefers its own login for {host}, in {}", path.display());
            let fix = format!("{logout} {}", shell::word(&host));
            findings.push(Finding::warn(what).part("password").fix(fix).named(host));
        }
    }
    findings
}
