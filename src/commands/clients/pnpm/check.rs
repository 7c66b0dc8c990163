//! `doctor`'s check of pnpm: each `tokenHelper` in the user's `.npmrc` that is ycred.

use crate::base::error::Result;
use crate::base::shell;
use crate::commands::check::{Check, Examination, Finding};
use crate::commands::clients::client::profile_in;
use crate::commands::clients::paste::check::{PastedCommand, conclude};
use crate::commands::clients::paste::{is_comment, place, suffix_of};
use crate::commands::clients::pnpm::config::{HOOK, OPTION, path};
use crate::commands::clients::trial::{self, CLIENT_LIMIT, Trial, TrialResult};
use crate::edit::target::TargetFile;
use crate::session::Session;

pub const CHECK: Check = Check {
    id: "pnpm",
    about: "pnpm's registries that ycred serves: the tokenHelper, and its answer",
    parts: &["config", "command", "profile", "answer"],
    limit: CLIENT_LIMIT,
    needs_network: false,
    run,
};

fn run(examination: &Examination) -> Vec<Finding> {
    examination.with_session(|session| examine(examination, session))
}

fn examine(examination: &Examination, session: &Session<'_>) -> Vec<Finding> {
    let Some(path) = path(session) else { return vec![Finding::skip("there is no home directory")] };
    let text = match TargetFile::read(&path) {
        Ok(target) => target.text.unwrap_or_default(),
        Err(error) => return vec![Finding::of_error(&error).part("config")],
    };
    let (mut findings, mut registries) = (Vec::new(), Vec::new());
    let lines = text.lines().enumerate().filter(|(_, line)| !is_comment(line));
    for (number, (registry, words)) in lines.filter_map(|(number, line)| Some((number + 1, helper(line)?))) {
        let command = PastedCommand {
            client: "pnpm",
            place: format!("{}:{number}", path.display()),
            profile: suffix_of(&words[0], HOOK).or_else(|| profile_in(&words.join(" "))),
            program: words[0].clone(),
            host: None,
        };
        let trial = Trial { arguments: words[1..].to_vec(), ..Trial::default() };
        findings.extend(command.examine(|_| Some(trial), header, examination, session));
        registries.push(registry);
    }
    let named = |finding: Finding| registries.iter().fold(finding, |finding, registry| finding.named(registry));
    let findings = findings.into_iter().map(named).collect();
    conclude("pnpm", &["pnpm"], findings, &registries, session)
}

/// Returns the registry and the command of a line that names ycred as its `tokenHelper`.
fn helper(line: &str) -> Option<(String, Vec<String>)> {
    let (key, value) = line.split_once('=')?;
    let registry = key.trim().strip_suffix(OPTION)?.trim_matches('/');
    let value = value.trim();
    // Versions before 12 take the whole value for a path.
    let words = match PastedCommand::is_ours(value, HOOK) {
        true => vec![value.to_owned()],
        false => shell::split(value),
    };
    PastedCommand::is_ours(words.first()?, HOOK).then(|| (place(registry).to_owned(), words))
}

fn header(result: &TrialResult) -> Result<()> {
    trial::hide(result.stdout.expose().trim().strip_prefix("Bearer "), "header")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helper_of_a_line_is_read_as_pnpm_does() {
        let words = |line: &str| helper(line).map(|(registry, words)| (registry, words.join("|")));
        let some = |words: &str| Some(("r.example/npm".to_owned(), words.to_owned()));
        assert_eq!(words("//r.example/npm/:tokenHelper=/a b/ycred-pnpm-prod"), some("/a b/ycred-pnpm-prod"));
        assert_eq!(words("//r.example/npm/:tokenHelper = ycred pnpm -p x"), some("ycred|pnpm|-p|x"));
        assert_eq!(words("//r.example/npm/:tokenHelper=/opt/other"), None);
        assert_eq!(words("//r.example/npm/:_authToken=ycred"), None);
    }
}
