//! `links`: the names by which clients run ycred lead to this version.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::commands::check::{Check, Examination, Finding};
use crate::commands::clients::{program, trial};
use crate::disk::files;
use crate::session::Session;
use crate::system::{fixes, process, programs};

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
            Some(directory) => fixes::search_first(directory),
            None => "install ycred into a directory of PATH".to_owned(),
        };
        findings.push(Finding::warn("no ycred is found in PATH").part("path").fix(fix));
    }
    let mut names: Vec<String> = examination.links.iter().map(|name| (*name).to_owned()).collect();
    names.push("ycred".to_owned());
    names.extend(suffixed(&examination.links, session));
    let (mut same, mut of_same_version, mut seen) = (0, 0, Vec::new());
    for name in names {
        let Some(path) = first(&name, session) else { continue };
        if !path.exists() {
            findings.push(
                Finding::warn(format!("{} is a link to a file that does not exist", path.display()))
                    .part("dangling")
                    .fix(fixes::link(&running, &path)),
            );
            continue;
        }
        let Ok(real) = crate::system::files::real_path(&path) else { continue };
        if program::is_same(&real, &running) {
            same += 1;
            continue;
        }
        if seen.contains(&real) {
            continue;
        }
        if program::is_ycred(&path) {
            match version(&path, &running, examination, session) {
                Some(finding) => findings.push(finding),
                None => of_same_version += 1,
            }
        } else if name.contains("ycred") && program::is_program(&path) {
            findings.push(stranger(&name, &path, &running));
        }
        // No finding: a link's name without "ycred" in it, such as `keyring`, may also be the name of another program.
        seen.push(real);
    }
    if findings.is_empty() {
        findings.push(match (same, of_same_version) {
            (_, others) if others > 0 && examination.is_offline => {
                Finding::ok("the names in PATH lead to ycred; their versions were not compared")
            }
            (0, 0) => Finding::skip("no name in PATH leads to this program"),
            (1, 0) => Finding::ok("1 name in PATH leads to this version"),
            _ => Finding::ok("all names in PATH lead to this version"),
        });
    }
    findings
}

/// Compares the version of another ycred with this one. Returns `None` if they are the same.
fn version(path: &Path, running: &Path, examination: &Examination, session: &Session<'_>) -> Option<Finding> {
    if examination.is_offline {
        return None;
    }
    let this = env!("CARGO_PKG_VERSION");
    let what = match trial::version(path, session) {
        Some(version) if version == this => return None,
        Some(version) => format!("{} is ycred {version}, and this is {this}", path.display()),
        None => format!("{} is a ycred that does not tell its version, and this is {this}", path.display()),
    };
    Some(Finding::warn(what).part("version").fix(fixes::link(running, path)))
}

/// Reports another program under a name of ycred. Nobody but the user can say whether it may go.
fn stranger(name: &str, path: &Path, running: &Path) -> Finding {
    let finding = Finding::warn(format!("the first {name} in PATH is not ycred: {}", path.display())).part("path");
    let own = running.parent().filter(|directory| program::is_same(&directory.join(name), running));
    finding.fix(match own {
        Some(directory) => fixes::search_first(directory),
        None => format!("see what it is: {}", fixes::show(path)),
    })
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
        for file in files::list(&directory).unwrap_or_default().into_iter().map(PathBuf::from) {
            let Some(name) = programs::own_name(&file).map(str::to_owned) else { continue };
            let selects_profile = |link: &&str| link.contains("ycred") && program::has_suffix(&name, link);
            if links.iter().any(selects_profile) && !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found
}
