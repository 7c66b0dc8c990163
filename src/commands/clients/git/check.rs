//! `doctor`'s check of git: the helpers of each server that ycred serves, in the order in which git asks them.

use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};
use crate::base::hosts::{Host, Scheme};
use crate::base::shell;
use crate::commands::check::{Check, Examination, Finding};
use crate::commands::clients::client::{profile_in_line, setup_command};
use crate::commands::clients::git::config::{self, is_ours};
use crate::commands::clients::program;
use crate::commands::clients::public;
use crate::commands::clients::trial::{self, CLIENT_LIMIT, Trial, TrialResult};
use crate::session::Session;

pub const CHECK: Check = Check {
    id: "git",
    about: "git's servers that ycred serves: the order of the helpers, the command, and its answer",
    parts: &["config", "chain", "helper", "hosts", "profile", "answer"],
    limit: CLIENT_LIMIT,
    needs_network: false,
    run,
};

fn run(examination: &Examination) -> Vec<Finding> {
    examination.with_session(|session| examine(examination, session))
}

fn examine(examination: &Examination, session: &Session<'_>) -> Vec<Finding> {
    let Some(git) = program::find("git", session) else { return vec![Finding::skip("git is not in PATH")] };
    let settings = match settings(git, session) {
        Ok(settings) => settings,
        Err(error) => return vec![Finding::of_error(&error).part("config")],
    };
    let mut servers: Vec<Server<'_>> = Vec::new();
    for (key, value) in &settings {
        let host = key.strip_prefix("credential.https://").and_then(|rest| rest.strip_suffix(".helper"));
        if let Some(host) = host.filter(|_| is_ours(value)) {
            servers.retain(|server| server.host != host);
            servers.push(Server { host, command: value });
        }
    }
    if servers.is_empty() {
        return vec![Finding::skip("no server is served by ycred").fix("ycred setup git --host HOST")];
    }
    let mut findings: Vec<Finding> = servers
        .iter()
        .flat_map(|server| {
            let findings = server.examine(&settings, examination, session);
            findings.into_iter().map(|finding| finding.named(server.host)).collect::<Vec<_>>()
        })
        .collect();
    if findings.is_empty() {
        let hosts: Vec<&str> = servers.iter().map(|server| server.host).collect();
        findings.push(Finding::serves(&hosts));
    }
    findings
}

/// Returns git's settings in the order in which git reads them: names, and values.
fn settings(git: PathBuf, session: &Session<'_>) -> Result<Vec<(String, String)>> {
    let list = Trial {
        program: git,
        arguments: ["config", "--null", "--list"].map(str::to_owned).into(),
        variables: vec![("LC_ALL".to_owned(), "C".to_owned())],
        directory: Some(PathBuf::from("/")),
        ..Trial::default()
    };
    let result = list.run(session)?;
    if !result.is_success {
        return Err(Error::profile("git cannot read its configuration").hint("see why: git config --global --list"));
    }
    let entries = result.stdout.expose().split('\0').filter(|entry| !entry.is_empty());
    let pair = |entry: &str| {
        let (key, value) = entry.split_once('\n').unwrap_or((entry, ""));
        (key.to_owned(), value.to_owned())
    };
    Ok(entries.map(pair).filter(|(key, _)| key.starts_with("credential.")).collect())
}

/// A server that ycred serves.
struct Server<'a> {
    host: &'a str,
    command: &'a str,
}

impl Server<'_> {
    fn setup(&self) -> String {
        self.command(profile_in_line(self.command).as_deref())
    }

    /// Returns the command that sets this server up with a profile.
    fn command(&self, profile: Option<&str>) -> String {
        setup_command("git", config::selection(self.host), profile)
    }

    fn examine(&self, settings: &[(String, String)], examination: &Examination, session: &Session<'_>) -> Vec<Finding> {
        let host = self.host;
        let mut findings = Vec::new();
        // The section moves to the end of the file. What somebody has added to it goes.
        let anew = format!("ycred unsetup git --host {} --force && {}", shell::word(host), self.setup());
        let chain = chain(settings, host);
        if !chain.contains(&self.command) {
            let what = format!("{host}: a later setting removes ycred from the list of helpers");
            return vec![Finding::fail(what).part("chain").fix(anew)];
        }
        let others: Vec<&str> = chain.iter().copied().filter(|value| !is_ours(value)).collect();
        if !others.is_empty() {
            let first = |value: &&str| shell::split(value).into_iter().next().unwrap_or_default();
            let names: Vec<String> = others.iter().map(|value| public::name_of(&first(value)).to_owned()).collect();
            let what = format!("{host}: git also uses the helper {}, which may store the token", names.join(", "));
            findings.push(Finding::warn(what).part("chain").fix(anew));
        }
        findings.extend(self.call(examination, session));
        findings
    }

    fn call(&self, examination: &Examination, session: &Session<'_>) -> Option<Finding> {
        let host = self.host;
        let words = shell::split(self.command.trim_start_matches('!'));
        let (first, arguments) = words.split_first()?;
        let name =
            if first.contains(std::path::is_separator) { first.clone() } else { format!("git-credential-{first}") };
        let path = match trial::resolve(&name, Path::new("/"), session) {
            Ok(path) => path,
            Err(finding) => {
                let fix = finding.fix.unwrap_or_else(|| self.setup());
                return Some(Finding::fail(format!("{host}: {}", finding.what)).part("helper").fix(fix));
            }
        };
        if !program::is_ycred(&path) {
            let what = format!("{host}: {} is not ycred, so it was not run", path.display());
            return Some(Finding::fail(what).part("helper").fix(self.setup()));
        }
        let named = profile_in_line(self.command);
        let profile = match trial::profile(named.as_deref(), &self.command(Some("NAME")), session) {
            Ok(profile) => profile,
            Err(finding) => {
                return Some(Finding { what: format!("{host}: {}", finding.what), ..finding.part("profile") });
            }
        };
        let parsed = Host::parse(host).map(|parsed| Host { scheme: Some(Scheme::Https), ..parsed });
        if !parsed.is_some_and(|parsed| profile.hosts.covers(&parsed)) {
            let what = format!(
                "{host}: {profile} does not list this server, so ycred does not answer for it{}",
                trial::meant(host, &profile)
            );
            let fix = trial::foreign_host("git", host, &profile, named.as_deref(), session);
            return Some(Finding::fail(what).part("hosts").fix(fix));
        }
        let trial = Trial {
            program: path,
            arguments: arguments.iter().cloned().chain(["get".to_owned()]).collect(),
            stdin: format!("protocol=https\nhost={host}\n\n"),
            ..Trial::default()
        };
        match trial::answer(&trial, examination, session, credential)? {
            Ok(_) => None,
            Err(error) => {
                let what = format!("{host}: the helper does not answer: {}", error.reason());
                let by_hand = format!("run it by hand: {} get", public::command(self.command));
                Some(Finding::fail(what).part("answer").fix(error.hint_text().unwrap_or(by_hand)))
            }
        }
    }
}

/// Returns the helpers that git asks about a server, in order. An empty value removes those before it.
fn chain<'a>(settings: &'a [(String, String)], host: &str) -> Vec<&'a str> {
    let mut chain = Vec::new();
    for (key, value) in settings {
        let is_general = key == "credential.helper";
        if !is_general && *key != format!("credential.https://{host}.helper") {
            continue;
        }
        match value.as_str() {
            "" => chain.clear(),
            value => chain.push(value),
        }
    }
    chain
}

fn credential(result: &TrialResult) -> Result<()> {
    let secret = result.stdout.expose().lines().find_map(|line| {
        line.strip_prefix("password=").or_else(|| line.strip_prefix("credential=")).filter(|value| !value.is_empty())
    });
    trial::hide(secret, "password")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_begins_after_the_last_empty_value() {
        let settings = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let (general, ours, other) =
            ("credential.helper", "credential.https://h.example.helper", "credential.https://x.example.helper");
        let all = settings(&[(general, "store"), (ours, ""), (ours, "ycred"), (other, "x")]);
        assert_eq!(chain(&all, "h.example"), ["ycred"]);
        let all = settings(&[(ours, ""), (ours, "ycred"), (general, "store")]);
        assert_eq!(chain(&all, "h.example"), ["ycred", "store"]);
        let all = settings(&[(ours, ""), (ours, "ycred"), (general, "")]);
        assert!(chain(&all, "h.example").is_empty());
    }
}
