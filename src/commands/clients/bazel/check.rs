//! `doctor`'s check of bazel: each credential helper in the user's `.bazelrc` that is ycred.

use serde_json::{Value, json};

use crate::base::error::Result;
use crate::base::hosts::{Host, HostScope, Scheme};
use crate::base::shell;
use crate::commands::check::{Check, Examination, Finding};
use crate::commands::clients::bazel::config::{FLAG, HOOK, paths};
use crate::commands::clients::paste::check::{PastedCommand, conclude};
use crate::commands::clients::paste::{is_comment, place, suffix_of};
use crate::commands::clients::trial::{self, CLIENT_LIMIT, Trial, TrialResult};
use crate::edit::target::TargetFile;
use crate::session::Session;

pub const CHECK: Check = Check {
    id: "bazel",
    about: "bazel's hosts that ycred serves: the credential helper, and its answer",
    parts: &["config", "command", "hosts", "profile", "answer"],
    limit: CLIENT_LIMIT,
    needs_network: false,
    run,
};

fn run(examination: &Examination) -> Vec<Finding> {
    examination.with_session(|session| examine(examination, session))
}

fn examine(examination: &Examination, session: &Session<'_>) -> Vec<Finding> {
    let (mut findings, mut hosts) = (Vec::new(), Vec::new());
    for path in paths(session) {
        let text = match TargetFile::read(&path) {
            Ok(target) => target.text.unwrap_or_default(),
            Err(error) => return vec![Finding::of_error(&error).part("config")],
        };
        let lines = text.lines().enumerate().filter(|(_, line)| !is_comment(line));
        for (number, (pattern, program)) in
            lines.flat_map(|(number, line)| helpers(line).into_iter().map(move |helper| (number + 1, helper)))
        {
            let host = pattern.as_deref().and_then(Host::parse);
            let host = host.map(|host| Host { scheme: Some(Scheme::Https), ..host });
            let command = PastedCommand {
                client: "bazel",
                place: format!("{}:{number}", path.display()),
                profile: suffix_of(&program, HOOK),
                program,
                host: host.map(|host| (host, HostScope::Apis)),
            };
            let asked = pattern.clone().filter(|_| command.host.is_some());
            let trial = |host: Option<String>| {
                let stdin = json!({ "uri": format!("https://{}/", host?) }).to_string();
                Some(Trial { arguments: vec!["get".to_owned()], stdin, ..Trial::default() })
            };
            let call = |profile: &crate::profile::Profile| trial(asked.or_else(|| profile.hosts.singles().next()));
            findings.extend(command.examine(call, headers, examination, session));
            hosts.push(pattern.as_deref().map_or("every host", place).to_owned());
        }
    }
    conclude("bazel", &["bazel", "bazelisk"], findings, &hosts, session)
}

/// Returns the credential helpers of a line that are ycred, each with its pattern of hosts. A helper in the workspace is not
/// known here.
fn helpers(line: &str) -> Vec<(Option<String>, String)> {
    let words = shell::split(line);
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let Some(rest) = word.strip_prefix(FLAG) else { continue };
        let value = match rest.strip_prefix('=') {
            Some(value) => value,
            None if rest.is_empty() => words.get(at + 1).map(String::as_str).unwrap_or_default(),
            None => continue,
        };
        let (pattern, program) = match value.split_once('=') {
            Some((pattern, program)) if !pattern.contains('/') => (Some(pattern.to_owned()), program),
            _ => (None, value),
        };
        if PastedCommand::is_ours(program, HOOK) && !program.starts_with('%') {
            found.push((pattern, program.to_owned()));
        }
    }
    found
}

fn headers(result: &TrialResult) -> Result<()> {
    let answer: Option<Value> = serde_json::from_str(result.stdout.expose()).ok();
    let header = answer.as_ref().and_then(|answer| answer["headers"]["Authorization"][0].as_str());
    trial::hide(header.and_then(|header| header.strip_prefix("Bearer ")), "header")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_read_with_their_patterns() {
        let ours = |pattern: Option<&str>, program: &str| (pattern.map(str::to_owned), program.to_owned());
        assert_eq!(
            helpers(
                "common --credential_helper=r.example=/a/ycred-bazel-prod --jobs=2 --credential_helper /b/ycred-bazel"
            ),
            [ours(Some("r.example"), "/a/ycred-bazel-prod"), ours(None, "/b/ycred-bazel")]
        );
        assert_eq!(
            helpers("build '--credential_helper=*.example=ycred-bazel'"),
            [ours(Some("*.example"), "ycred-bazel")]
        );
        for other in [
            "common --credential_helper=r.example=/opt/other",
            "common --credential_helper=%workspace%/ycred-bazel",
            "common --credential_helper_timeout=5s",
            "common --credential_helper",
        ] {
            assert!(helpers(other).is_empty(), "{other}");
        }
    }
}
