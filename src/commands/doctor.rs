//! `doctor`: looks for what keeps programs from getting a token, and says how to fix it. Changes nothing.

mod clock;
mod environment;
mod key;
mod links;
mod lock;
mod login;
mod network;
mod profile;
mod redact;
mod report;
mod runner;
mod store;
mod token;

use std::sync::Arc;

use clap::{Arg, ArgAction};
use serde_json::json;

use crate::base::error::{Error, Result};
use crate::base::shell;
use crate::base::suggest::nearest;
use crate::commands::check::{Check, Examination, NO_PROFILE, Verdict};
use crate::commands::clients::{CLIENTS, trial};
use crate::commands::command::{Command, CommandCall};
use crate::commands::doctor::redact::Redactor;
use crate::commands::doctor::report::{DoctorReport, Field, system_name};
use crate::commands::doctor::runner::CheckResult;
use crate::disk::places::Places;
use crate::process::flags::Example;
use crate::process::painting::{Colour, Paint};
use crate::process::{Outcome, Reply};
use crate::profile::find;
use crate::session::Session;

pub const COMMAND: Command = Command {
    examples: &[
        Example { call: "ycred doctor", about: "check everything, and show how to fix what is wrong" },
        Example { call: "ycred doctor kubectl docker", about: "check only the setup of these two clients" },
        Example { call: "ycred doctor --offline --strict", about: "check without the network; fail on warnings too" },
        Example { call: "ycred doctor --report", about: "print a report without names, to paste into an issue" },
    ],
    paints: &[
        Paint::Start("[ok]", Colour::Good),
        Paint::Start("[warn]", Colour::Caution),
        Paint::Start("[fail]", Colour::Bad),
        Paint::Start("[skip]", Colour::Quiet),
        Paint::Word("fix:", Colour::Advice),
        Paint::Word("to use it:", Colour::Advice),
    ],
    // An invalid directory is one of the findings.
    needs_places: false,
    failure_document: Some(|error| format!("{}\n", report::unusable_json(error))),
    ..Command::new("doctor", "find what keeps programs from getting a token", arguments, run)
};

/// The checks of ycred itself. Those of the clients follow, in the order of [`CLIENTS`].
const OWN_CHECKS: &[&Check] = &[
    &environment::CHECK,
    &profile::CHECK,
    &key::CHECK,
    &store::CHECK,
    &lock::CHECK,
    &clock::CHECK,
    &network::CHECK,
    &token::CHECK,
    &login::CHECK,
    &links::CHECK,
];

/// Returns all checks, in the order in which they run.
pub fn checks() -> Vec<&'static Check> {
    OWN_CHECKS.iter().copied().chain(CLIENTS.iter().filter_map(|client| client.check)).collect()
}

fn arguments(command: clap::Command) -> clap::Command {
    let switch =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let width = checks().iter().map(|check| check.id.len()).max().unwrap_or_default();
    let about: Vec<String> = checks().iter().map(|check| format!("  {:width$}  {}", check.id, check.about)).collect();
    command
        .arg(
            Arg::new("check")
                .value_name("CHECK")
                .num_args(0..)
                .action(ArgAction::Append)
                .help("what to check [default: everything]"),
        )
        .arg(switch("offline", "do not use the network and run no hook"))
        .arg(switch("strict", "exit with 1 on warnings too"))
        .arg(switch("json", "print the report as JSON"))
        .arg(switch("list", "list the checks and exit"))
        .arg(switch("report", "replace names, hosts, paths and ids, for pasting into an issue"))
        .after_help(format!(
            "Checks:\n{}\n\nThe exit code is 0 without a failure, 1 with one, and 2 for an unknown check.",
            about.join("\n")
        ))
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let is_set = |name: &str| call.matches.get_flag(name);
    let named: Vec<&String> = call.matches.get_many::<String>("check").into_iter().flatten().collect();
    let selection = named.iter().map(|name| Selection::parse(name, session.places)).collect::<Result<Vec<_>>>()?;
    if is_set("list") {
        return Ok(Outcome::reply(Reply::text(list(is_set("json")))));
    }
    let chosen: Vec<&'static Check> = checks()
        .into_iter()
        .filter(|check| selection.is_empty() || selection.iter().any(|it| it.check.id == check.id))
        .collect();
    let mut examination = Examination::new(session, call.profile_by_flag(), call.options.clone(), (call.links)());
    examination.is_offline = is_set("offline");
    let examination = Arc::new(examination);
    let wait = session.diagnostics.waiting(|| format!("{} checks", chosen.len()));
    let mut results = runner::run(&chosen, &examination);
    let cause = cause_without_profile(&results, &examination);
    let is_caused = cause.is_some();
    // First, as in a run of all checks.
    results.splice(0..0, cause);
    drop(wait);
    let is_selected = |id: &str, part: &str| {
        selection.is_empty()
            || is_caused && id == profile::CHECK.id
            || selection.iter().any(|it| it.check.id == id && it.part.is_none_or(|it| it == part))
    };
    // A fix must work as it is printed, also where PATH does not lead to this program.
    let ycred = trial::ycred_command(session);
    let runnable = |text: &str| match text.strip_prefix("ycred ") {
        Some(rest) => format!("{ycred} {rest}"),
        None => text.to_owned(),
    };
    let report = match is_set("report") {
        true => {
            let redactor = Redactor::new(&results, &examination);
            DoctorReport::new(&results, is_selected, |text, _| redactor.redact(text))
        }
        false => {
            let home = session.places.home.as_ref().map(|home| home.display().to_string());
            DoctorReport::new(&results, is_selected, |text, field| match (field, &home) {
                // A fix is for a shell, which does not expand `~` in quotes.
                (Field::What, Some(home)) if home.len() > 1 => with_tilde(text, home),
                (Field::Fix, _) => runnable(text),
                _ => text.to_owned(),
            })
        }
    };
    let text = match (is_set("json"), is_set("report")) {
        (true, _) => format!("{}\n", report.json()),
        (false, true) => {
            format!("ycred {} on {}\n\n```text\n{}```\n", env!("CARGO_PKG_VERSION"), system_name(), report.text())
        }
        (false, false) => report.text(),
    };
    Ok(Outcome::reply(Reply::text(text).with_code(u8::from(report.is_failure(is_set("strict"))))))
}

/// Returns why selected checks were skipped for lack of a profile, if the check of the profile was not selected too.
fn cause_without_profile(results: &[CheckResult], examination: &Arc<Examination>) -> Option<CheckResult> {
    let is_without = |result: &CheckResult| result.findings.iter().any(|finding| finding.what == NO_PROFILE);
    if !results.iter().any(is_without) || results.iter().any(|result| result.check.id == profile::CHECK.id) {
        return None;
    }
    let mut result = runner::run(&[&profile::CHECK], examination).pop()?;
    result.findings.retain(|finding| finding.verdict == Verdict::Fail);
    Some(result)
}

/// A check, or a part of one, on the command line.
struct Selection {
    check: &'static Check,
    part: Option<&'static str>,
}

impl Selection {
    fn parse(name: &str, places: &Places) -> Result<Self> {
        let (id, part) = name.split_once('.').map_or((name, None), |(id, part)| (id, Some(part)));
        let known = checks();
        let check = known.iter().find(|check| check.id == id);
        let part = part.map(|part| check.and_then(|check| check.parts.iter().find(|known| **known == part)));
        match (check, part) {
            (Some(check), None) => Ok(Self { check, part: None }),
            (Some(check), Some(Some(part))) => Ok(Self { check, part: Some(part) }),
            _ => {
                let hint = match nearest(name, known.iter().map(|check| check.id)) {
                    _ if find::names(places).contains(name) => {
                        format!("to check a profile: ycred doctor --profile {}", shell::word(name))
                    }
                    Some(near) => format!("did you mean {near}?"),
                    None => match find::near_name(name, places) {
                        Some(near) => format!("did you mean the profile {near}? ycred doctor --profile {near}"),
                        None => "`ycred doctor --list` lists the checks".to_owned(),
                    },
                };
                Err(Error::usage(format!("unknown check \"{name}\"")).hint(hint))
            }
        }
    }
}

fn list(is_json: bool) -> String {
    let checks = checks();
    if is_json {
        let checks: Vec<_> =
            checks.iter().map(|check| json!({ "id": check.id, "about": check.about, "parts": check.parts })).collect();
        return format!("{}\n", json!({ "version": 1, "checks": checks }));
    }
    let parts = |check: &Check| match check.parts {
        [] => String::new(),
        parts => format!(" (parts: {})", parts.join(", ")),
    };
    checks.iter().map(|check| format!("{:12} {}{}\n", check.id, check.about, parts(check))).collect()
}

/// Shows the home directory as `~`.
fn with_tilde(text: &str, home: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(home) {
        let (before, after) = (&rest[..at], &rest[at + home.len()..]);
        let is_start = !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_'));
        let is_end = !after.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
        out.push_str(before);
        out.push_str(if is_start && is_end { "~" } else { home });
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_directory_is_a_tilde() {
        let shown = |text: &str| with_tilde(text, "/home/me");
        assert_eq!(shown("/home/me/k: x (/home/me)"), "~/k: x (~)");
        assert_eq!(shown("/home/men/k /x/home/me/k"), "/home/men/k /x/home/me/k");
    }

    #[test]
    fn a_check_and_a_part_can_be_selected() {
        let (all, places) = (checks(), Places::none());
        let mut ids: Vec<&str> = all.iter().map(|check| check.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all.len(), "each id is unique");
        for check in all {
            assert!(Selection::parse(check.id, &places).is_ok_and(|it| it.part.is_none()));
            for part in check.parts {
                let name = format!("{}.{part}", check.id);
                assert!(Selection::parse(&name, &places).is_ok_and(|it| it.part == Some(part)));
            }
        }
        for (bad, hint) in [("kubctl", "did you mean kubectl?"), ("kubectl.x", "kubectl"), ("", "--list")] {
            let error = Selection::parse(bad, &places).err().expect("unknown");
            assert!(error.kind.exit_code() == 2 && error.render().contains(hint), "{}", error.render());
        }
    }
}
