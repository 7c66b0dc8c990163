//! `key`: the files and programs from which the profile's source gets its secret.

use std::path::Path;

use crate::commands::check::{Check, Examination, Finding, LOCAL_LIMIT, NO_PROFILE, profile_files};
use crate::commands::clients::program;
use crate::profile::Profile;
use crate::system::{fixes, programs};

pub const CHECK: Check = Check {
    id: "key",
    about: "the profile's key file or program: present, private, and of the right kind",
    parts: &["mode", "program"],
    limit: LOCAL_LIMIT,
    needs_network: false,
    run,
};

fn run(examination: &Examination) -> Vec<Finding> {
    let Ok(profile) = examination.profile() else { return vec![Finding::skip(NO_PROFILE)] };
    let mut findings = profile_files::secrets(profile);
    findings.extend(commands(profile, examination));
    if findings.is_empty() {
        let source = profile.source.name;
        let variables: Vec<&str> = profile.secret_variables().collect();
        let missing = variables.iter().find(|variable| examination.environment.get(variable).is_none());
        findings.push(match missing {
            _ if variables.is_empty() => Finding::skip(format!("source {source} has no key file")),
            None => Finding::ok(format!("the secret is in {}", variables.join(", "))),
            Some(missing) => match profile.open() {
                Err(error) => Finding::of_error(&error),
                Ok(_) => Finding::fail(format!("{profile}: the variable {missing} is not set"))
                    .fix(format!("{}, or use another profile", fixes::set(missing, "VALUE"))),
            },
        });
    }
    let has_no_file = findings.iter().all(|finding| finding.part == "mode");
    if has_no_file {
        findings.push(Finding::ok("the secret's file can be read"));
    }
    findings
}

/// Examines the programs that the profile runs, without running them.
fn commands(profile: &Profile, examination: &Examination) -> Vec<Finding> {
    let keys = profile.source.keys.iter().map(|key| key.name).filter(|name| name.ends_with("command"));
    let command = |key: &'static str| {
        let words = profile.settings.list(key).ok()?;
        let name = words.first()?;
        let path = Path::new(name);
        let found = match name.contains(std::path::is_separator) {
            true => Some(profile.settings.directory.join(path)).filter(|path| path.exists()),
            false => examination.with_session(|session| {
                program::find(name, session).or_else(|| {
                    program::directories(session).map(|directory| directory.join(name)).find(|path| path.is_file())
                })
            }),
        };
        Some(match found {
            None => Finding::fail(format!("{profile}: the program {name} of `{key}` is not found"))
                .fix(format!("install {name}, or correct `{key}` in the profile")),
            Some(path) if !programs::is_program(&path) => {
                let fix = fixes::make_executable(&path);
                Finding::fail(format!("{profile}: {} of `{key}` is not executable", path.display())).fix(fix)
            }
            Some(path) => Finding::ok(format!("{profile}: `{key}` runs {}", path.display())),
        })
    };
    keys.filter_map(command).map(|finding| finding.part("program")).collect()
}
