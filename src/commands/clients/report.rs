//! What `setup` and `unsetup` report: the files, and the changes without secrets.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use crate::base::error::{Error, clean};
use crate::edit::diff;

/// The report about one client.
#[derive(Default)]
pub struct Report {
    pub changes: Vec<ChangeReport>,
    /// Lines for the user that do not belong to one change.
    pub notes: Vec<String>,
    /// Why a part was not done, although the rest was.
    pub failure: Option<Error>,
}

/// A place in a file, changed or not.
pub struct ChangeReport {
    pub client: &'static str,
    pub file: String,
    /// The place in the file: `user NAME`.
    pub place: String,
    /// What happened, for people, without the file.
    pub summary: String,
    pub is_changed: bool,
    /// The texts before and after, without secrets.
    pub before: String,
    pub after: String,
    pub profile: Option<String>,
    pub account: Option<String>,
}

impl ChangeReport {
    pub fn new(client: &'static str, file: &Path, place: impl Into<String>) -> Self {
        Self {
            client,
            file: file.display().to_string(),
            place: place.into(),
            summary: String::new(),
            is_changed: false,
            before: String::new(),
            after: String::new(),
            profile: None,
            account: None,
        }
    }
}

impl Report {
    pub fn failed(error: Error) -> Self {
        Self { failure: Some(error), ..Self::default() }
    }

    /// Adds another report. The first failure stays.
    pub fn add(&mut self, other: Self) {
        self.changes.extend(other.changes);
        self.notes.extend(other.notes);
        self.failure = self.failure.take().or(other.failure);
    }

    /// Returns the report for people. Quiet reports have one line for each change, and nothing else.
    pub fn text(&self, is_quiet: bool) -> String {
        let mut text = String::new();
        for change in self.changes.iter().filter(|change| change.is_changed || !is_quiet) {
            let _ = writeln!(text, "{}", clean(&format!("{}: {}", change.file, change.summary)));
            if is_quiet || !change.is_changed {
                continue;
            }
            for line in diff::lines(&change.before, &change.after) {
                let (sign, line) = line.split_at(2);
                let indent = line.len() - line.trim_start().len();
                let _ = writeln!(text, "{sign}{}{}", &line[..indent].replace('\t', "    "), clean(&line[indent..]));
            }
        }
        for note in self.notes.iter().filter(|_| !is_quiet) {
            let _ = writeln!(text, "{}", clean(note));
        }
        text
    }

    pub fn json(&self, is_dry_run: bool) -> serde_json::Value {
        let text = |text: &str| text.lines().map(clean_line).collect::<Vec<_>>().join("\n");
        let changes: Vec<_> = self
            .changes
            .iter()
            .map(|change| {
                json!({
                    "client": change.client, "file": clean(&change.file), "place": clean(&change.place),
                    "summary": clean(&change.summary), "changed": change.is_changed,
                    "before": text(&change.before), "after": text(&change.after),
                    "profile": change.profile, "account": change.account,
                })
            })
            .collect();
        let notes: Vec<String> = self.notes.iter().map(|note| clean(note)).collect();
        json!({ "version": 1, "dry_run": is_dry_run, "changes": changes, "notes": notes })
    }
}

fn clean_line(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    format!("{}{}", &line[..indent], clean(&line[indent..]))
}

/// Returns the first word of a command that another program has configured. The others may be secrets.
pub fn without_arguments(command: &str) -> String {
    match command.trim().split_once(char::is_whitespace) {
        Some((program, _)) => format!("{program} …"),
        None => command.trim().to_owned(),
    }
}

/// Removes the indentation that all lines but the first share.
pub fn dedent(raw: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let rest = raw.lines().skip(1).filter(|line| !line.trim().is_empty());
    let shared = rest.map(indent).min().unwrap_or(0);
    let lines = raw.lines().enumerate().map(|(number, line)| match number {
        0 => line,
        _ => line.get(shared..).unwrap_or_default(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_only_lines_that_differ() {
        let mut change = ChangeReport::new("kubectl", Path::new("/k"), "user u");
        change.summary = "user u: \u{1b}[1mset up".into();
        let mut report = Report { changes: vec![change], notes: vec!["note".into()], failure: None };
        assert_eq!(report.text(false), "/k: user u: set up\nnote\n");
        assert_eq!(report.text(true), "");
        report.changes[0].is_changed = true;
        report.changes[0].before = dedent("a: 1\n      b: 2\n        c: 3");
        report.changes[0].after = dedent("a: 1\n      b: 4\n        c: 3");
        assert_eq!(report.text(false), "/k: user u: set up\n- b: 2\n+ b: 4\nnote\n");
        assert_eq!(report.text(true), "/k: user u: set up\n");
    }
}
