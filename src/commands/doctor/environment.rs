//! `environment`: variables that contradict each other, and directories that variables name.

use std::path::Path;

use crate::base::environment::{
    YCRED_CACHE_DIR, YCRED_CONFIG_DIR, YCRED_EXPIRES_AT, YCRED_LOG, YCRED_STATE_DIR, YCRED_TOKEN_ID,
};
use crate::base::mask;
use crate::base::supplied_token::{SuppliedToken, TOKEN_VARIABLES};
use crate::commands::check::{Check, Examination, Finding, LOCAL_LIMIT};
use crate::profile::SelectedBy;
use crate::sources;
use crate::system::directories::HOME;
use crate::system::{files, fixes, process};

pub const CHECK: Check = Check {
    id: "environment",
    about: "variables that contradict each other or have an expired token; the home directory; sudo",
    parts: &["directories", "home", "sudo", "variables", "token", "log"],
    limit: LOCAL_LIMIT,
    needs_network: false,
    run,
};

fn run(examination: &Examination) -> Vec<Finding> {
    let mut findings = directories(examination);
    findings.extend(home(examination));
    findings.extend(expired_token(examination));
    findings.extend(sources(examination));
    findings.extend(log(examination));
    if findings.is_empty() {
        findings.push(Finding::ok(summary(examination)));
    }
    findings
}

fn summary(examination: &Examination) -> String {
    let set: Vec<&str> =
        sources::variables().into_iter().filter(|name| examination.environment.get(name).is_some()).collect();
    match (set.is_empty(), selecting(examination)) {
        (true, _) => "no variable supplies a credential".to_owned(),
        (false, Some(variable)) => format!("{variable} supplies the credential"),
        (false, None) => format!("{} is set but not used, because a profile is used", set.join(", ")),
    }
}

/// Returns the variable that selects the source, without a profile.
fn selecting(examination: &Examination) -> Option<&'static str> {
    match examination.profile().ok()?.selected_by {
        SelectedBy::Environment(variable) => variable,
        _ => None,
    }
}

fn directories(examination: &Examination) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(error) = &examination.places_error {
        findings.push(Finding::fail(error.reason()).part("directories").fix(fixes::unset(&[YCRED_CONFIG_DIR])));
    }
    let variables = [YCRED_CACHE_DIR, YCRED_STATE_DIR];
    for name in variables {
        let Some(value) = examination.environment.get(name) else { continue };
        if !Path::new(value).is_absolute() {
            let what = format!("{name} must be an absolute path, so it is not used");
            findings.push(Finding::warn(what).part("directories").fix(fixes::unset(&[name])));
        }
    }
    findings
}

fn home(examination: &Examination) -> Option<Finding> {
    let variable = examination.environment.get(HOME).map(Path::new);
    let finding = match (variable, &examination.places.home) {
        (Some(path), _) if path.is_relative() => {
            Finding::warn(format!("{HOME} is not an absolute path, so there is no home directory"))
                .fix(fixes::unset(&[HOME]))
        }
        (Some(path), _) if !path.is_dir() => {
            Finding::warn(format!("the home directory {} does not exist", path.display()))
                .fix(format!("create it, or set {HOME} to a directory that exists"))
        }
        (None, None) if examination.places_error.is_none() => {
            Finding::warn("there is no home directory, so clients' configuration files are not found")
                .fix(format!("set {HOME}"))
        }
        _ => return by_sudo(examination),
    };
    Some(finding.part("home"))
}

/// Under sudo with the caller's home directory, root would leave files there that the caller cannot change.
fn by_sudo(examination: &Examination) -> Option<Finding> {
    let home = examination.places.home.as_ref()?;
    let is_foreign = std::fs::metadata(home).is_ok_and(|metadata| !files::is_own(&metadata));
    let is_root = process::effective_uid() == 0;
    (is_root && is_foreign && examination.environment.get("SUDO_USER").is_some()).then(|| {
        Finding::warn(format!("root uses the home directory {} of another user", home.display()))
            .part("sudo")
            .fix("run ycred without sudo, or with root's own home directory: sudo -H ycred doctor")
    })
}

fn expired_token(examination: &Examination) -> Option<Finding> {
    let now = examination.clock.now();
    let is_expired = |name: &&str| {
        TOKEN_VARIABLES
            .iter()
            .find(|known| *known == name)
            .and_then(|name| SuppliedToken::in_variable(&examination.environment, name))
            .is_some_and(|supplied| supplied.is_expired(now))
    };
    let expired: Vec<&str> = TOKEN_VARIABLES.into_iter().filter(|name| is_expired(name)).collect();
    if expired.is_empty() {
        return None;
    }
    let names = expired.join(" and ");
    Some(
        Finding::warn(format!("the token in {names} has expired; `ycred exec` or `ycred env` set it"))
            .part("token")
            .fix(fixes::unset(&[&expired[..], &[YCRED_EXPIRES_AT, YCRED_TOKEN_ID]].concat())),
    )
}

fn sources(examination: &Examination) -> Option<Finding> {
    let environment = &examination.environment;
    let is_supplied = |name: &str| {
        TOKEN_VARIABLES
            .iter()
            .find(|known| **known == name)
            .is_some_and(|name| SuppliedToken::in_variable(environment, name).is_some())
    };
    // The address of the metadata service is not a credential.
    let is_credential = |name: &&str| name.contains("TOKEN") || name.contains("KEY") || name.contains("ACCOUNT");
    let mut set: Vec<&str> = sources::variables()
        .into_iter()
        .filter(is_credential)
        .filter(|name| environment.get(name).is_some() && !is_supplied(name))
        .collect();
    // The same token twice is one account.
    let token = TOKEN_VARIABLES.map(|name| environment.get(name));
    if token[0].is_some() && token[0] == token[1] {
        set.retain(|name| *name != TOKEN_VARIABLES[1]);
    }
    let used = selecting(examination);
    let unused: Vec<&str> = set.iter().copied().filter(|name| Some(*name) != used).collect();
    if set.len() < 2 || unused.is_empty() {
        return None;
    }
    Some(
        Finding::warn(format!(
            "{} are set: {}",
            set.join(" and "),
            match used {
                Some(variable) => format!("ycred uses {variable}, but other programs may use another one"),
                None => "ycred uses a profile, but other programs may use one of these variables".to_owned(),
            }
        ))
        .part("variables")
        .fix(fixes::unset(&unused)),
    )
}

fn log(examination: &Examination) -> Option<Finding> {
    let value = examination.environment.get(YCRED_LOG)?;
    let text = value.to_string_lossy();
    let path = Path::new(value);
    let what = match &*text {
        "1" | "stderr" => return None,
        _ if !path.is_absolute() || !mask::is_path(&text) => {
            format!("{YCRED_LOG} must be \"stderr\", \"1\" or an absolute path; nothing is logged")
        }
        _ if path.is_dir() || path.parent().is_none_or(|parent| !parent.is_dir()) => {
            format!("{YCRED_LOG}: {}: no file can be written there; nothing is logged", path.display())
        }
        _ => return None,
    };
    Some(Finding::warn(what).part("log").fix(fixes::unset(&[YCRED_LOG])))
}
