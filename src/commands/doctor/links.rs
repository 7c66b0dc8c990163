//! `links`: the names by which clients run ycred lead to this version.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::commands::check::{Check, Examination, Finding, shell_path};
use crate::commands::clients::{program, trial};
use crate::session::Session;
use crate::system::{process, programs};

pub const CHECK: Check = Check {
    id: "links",
    about: "the links to ycred in PATH lead to this version",
    parts: &["path", "version", "dangling"],
    limit: Duration::from_secs(20),
    needs_network: false,
    run,
};

fn run(examination: &Examination) -> Vec<Finding> {
    examination.with_session(|session| examine(examination, session))
}

fn examine(examination: &Examination, session: &Session<'_>) -> Vec<Finding> {
    let Some(running) = process::executable() else {
        return vec![Finding::skip("the path of the running program is unknown")];
    };
    let mut findings = Vec::new();
    if program::find("ycred", session).is_none() {
        let fix = match running.parent() {
            Some(directory) => format!("export PATH={}:\"$PATH\"", shell_path(directory)),
            None => "install ycred into a directory of PATH".to_owned(),
        };
        findings.push(Finding::warn("no ycred is found in PATH").part("path").fix(fix));
    }
    let mut names: Vec<String> = examination.links.iter().map(|name| (*name).to_owned()).collect();
    names.push("ycred".to_owned());
    names.extend(suffixed(&examination.links, session));
    let (mut same, mut versions) = (0, Vec::new());
    for name in names {
        let Some(path) = first(&name, session) else { continue };
        if !path.exists() {
            findings.push(
                Finding::warn(format!("{} is a link to a file that does not exist", path.display()))
                    .part("dangling")
                    .fix(format!("ln -sfn {} {}", shell_path(&running), shell_path(&path))),
            );
            continue;
        }
        let Ok(real) = fs::canonicalize(&path) else { continue };
        if program::is_same(&real, &running) {
            same += 1;
            continue;
        }
        // Another program may have this name: `keyring` is one of the links.
        if !trial::is_ycred(&path) || versions.contains(&real) {
            continue;
        }
        if let Some(version) = trial::version(&real, session).filter(|version| version != env!("CARGO_PKG_VERSION")) {
            let this = env!("CARGO_PKG_VERSION");
            let fix = format!("ln -sfn {} {}", shell_path(&running), shell_path(&path));
            findings.push(
                Finding::warn(format!("{} is ycred {version}, and this is {this}", path.display()))
                    .part("version")
                    .fix(fix),
            );
        }
        versions.push(real);
    }
    if findings.is_empty() {
        let names = if same == 1 { "1 name in PATH leads" } else { "all names in PATH lead" };
        findings.push(Finding::ok(format!("{names} to this version")));
    }
    findings
}

/// Returns the first entry of PATH with a name, also a link that leads nowhere.
fn first(name: &str, session: &Session<'_>) -> Option<PathBuf> {
    let is_there = |path: &PathBuf| path.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir());
    let name = programs::own_file_name(name);
    program::directories(session).map(|directory| directory.join(&name)).find(is_there)
}

/// Returns the names in PATH that select a profile, such as `docker-credential-ycred-prod`.
fn suffixed(links: &[&'static str], session: &Session<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for directory in program::directories(session) {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let file = PathBuf::from(entry.file_name());
            let Some(name) = programs::own_name(&file).map(str::to_owned) else { continue };
            let has_suffix = |link: &&&str| {
                link.contains("ycred") && name.strip_prefix(**link).is_some_and(|rest| rest.starts_with('-'))
            };
            if links.iter().any(|link| has_suffix(&link)) && !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found
}
