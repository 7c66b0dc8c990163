//! What `setup` and `unsetup` report: the files, and the changes without secrets.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::base::error::{Error, clean};
use crate::commands::clients::public;
use crate::edit::diff;
use crate::edit::journal::{JournalEntry, Step, What, follow};
use crate::edit::render;
use crate::edit::splice::Format;
use crate::edit::tree::TreeNode;

/// The report about one client.
#[derive(Default)]
pub struct Report {
    pub changes: Vec<ChangeReport>,
    /// Lines for the user that do not belong to one change.
    pub notes: Vec<String>,
    /// What the user must add to files, because ycred does not edit them.
    pub pastes: Vec<Paste>,
    /// Links to ycred that `unsetup` has left, because they may be needed by other users.
    pub left_links: Vec<PathBuf>,
    /// Why parts were not done, although the rest was.
    pub failures: Vec<Error>,
    /// The clients on this machine, if they were asked for.
    pub clients: Vec<ClientRow>,
}

/// A client that was found on this machine.
pub struct ClientRow {
    pub name: &'static str,
    /// The places of its configuration that name ycred.
    pub places: Vec<String>,
    /// Those of them that get no token, each with the reason.
    pub faults: Vec<(String, String)>,
    /// The command that sets it up.
    pub command: String,
}

impl ClientRow {
    fn text(&self) -> String {
        if self.places.is_empty() {
            return format!("{:10} not set up: {}", self.name, self.command);
        }
        let is_sound = |place: &&String| !self.faults.iter().any(|(fault, _)| fault == *place);
        let sound: Vec<&str> = self.places.iter().filter(is_sound).map(String::as_str).collect();
        let faults: Vec<String> = self.faults.iter().map(|(place, why)| format!("{place} ({why})")).collect();
        let mut parts = Vec::new();
        if !sound.is_empty() {
            let change = format!("to change it: {}", self.command);
            parts.push(format!("set up: {}", sound.join(", ")));
            if faults.is_empty() {
                parts.push(change);
            }
        }
        if !faults.is_empty() {
            let how = format!("how to fix it: ycred doctor {}", self.name);
            parts.push(format!("not working: {}; {how}", faults.join(", ")));
        }
        format!("{:10} {}", self.name, clean(&parts.join("; ")))
    }
}

/// Text for the user to add to a file.
pub struct Paste {
    pub file: String,
    /// The section of the file, if it has one already.
    pub under: Option<String>,
    pub text: String,
}

impl Paste {
    pub fn new(file: impl Into<String>, text: impl Into<String>) -> Self {
        Self { file: file.into(), under: None, text: text.into() }
    }
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
        Self { failures: vec![error], ..Self::default() }
    }

    /// Adds another report.
    pub fn add(&mut self, other: Self) {
        self.changes.extend(other.changes);
        // The same line of several clients is printed once.
        let new: Vec<String> = other.notes.into_iter().filter(|note| !self.notes.contains(note)).collect();
        self.notes.extend(new);
        self.pastes.extend(other.pastes);
        self.left_links.extend(other.left_links);
        self.failures.extend(other.failures);
        self.clients.extend(other.clients);
    }

    /// Returns one error for all failures. It names each of them; the report has them with their hints, unless it is quiet.
    pub fn failure(&self, is_quiet: bool) -> Option<Error> {
        let (first, others) = self.failures.split_first()?;
        if others.is_empty() {
            return Some(first.clone());
        }
        let reasons: Vec<String> = self.failures.iter().map(Error::reason).collect();
        let error = Error::new(first.kind, reasons.join("; "));
        if self.failures.iter().all(|failure| failure.hint_text().is_none()) {
            return Some(error);
        }
        let hint = first.hint_text().filter(|hint| others.iter().all(|other| other.hint_text().as_ref() == Some(hint)));
        Some(error.hint(hint.unwrap_or_else(|| match is_quiet {
            true => "the same command without --quiet shows how to fix each of them".to_owned(),
            false => "the report shows how to fix each of them".to_owned(),
        })))
    }

    /// Returns the report for people. Quiet reports have one line for each change, and nothing else.
    pub fn text(&self, is_quiet: bool) -> String {
        let mut text: String = self.clients.iter().map(|client| client.text() + "\n").collect();
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
        if is_quiet {
            return text;
        }
        for paste in &self.pastes {
            let under = paste.under.as_ref().map(|under| format!(" under {under}")).unwrap_or_default();
            let _ = writeln!(text, "{}", clean(&format!("add to {}{under}:", paste.file)));
            for line in paste.text.lines() {
                let _ = writeln!(text, "  {}", clean_line(line));
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "{}", clean(note));
        }
        if self.failures.len() > 1 {
            for failure in &self.failures {
                let _ = writeln!(text, "failed: {}", failure.reason());
                if let Some(hint) = failure.hint_text() {
                    let _ = writeln!(text, "  {hint}");
                }
            }
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
        let paste = |paste: &Paste| {
            json!({
                "file": clean(&paste.file), "under": paste.under.as_deref().map(clean), "text": text(&paste.text),
            })
        };
        let pastes: Vec<_> = self.pastes.iter().map(paste).collect();
        let failure = |error: &Error| json!({ "message": error.reason(), "hint": error.hint_text(), "exit_code": error.kind.exit_code() });
        let client = |client: &ClientRow| {
            let places: Vec<String> = client.places.iter().map(|place| clean(place)).collect();
            let fault = |(place, why): &(String, String)| json!({ "place": clean(place), "reason": why });
            let faults: Vec<_> = client.faults.iter().map(fault).collect();
            json!({
                "name": client.name, "set_up": !places.is_empty(), "places": places, "faults": faults, "command": client.command,
            })
        };
        let clients: Vec<_> = self.clients.iter().map(client).collect();
        let failures: Vec<_> = self.failures.iter().map(failure).collect();
        json!({
            "version": 1, "dry_run": is_dry_run, "changes": changes, "pastes": pastes, "notes": notes, "failures": failures,
            "clients": clients,
        })
    }
}

fn clean_line(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    format!("{}{}", &line[..indent], clean(&line[indent..]))
}

/// Returns the text of an entry's place, with its name. Of what ycred did not write, only public words are shown.
pub fn shown(entry: &JournalEntry, text: &str) -> String {
    match &entry.what {
        What::Value { format, path, ours, .. } => {
            let root = format.parse(text).unwrap_or_else(|_| TreeNode::null());
            let Some(node) = value_at(&root, path) else { return String::new() };
            let name = match path.last() {
                Some(Step::Key(key)) => key.as_str(),
                _ => "",
            };
            let is_ours = ours.iter().filter_map(|ours| ours.node(*format)).any(|ours| node.has_meaning_of(&ours));
            let value = match node.as_scalar() {
                Some(_) if is_ours => text.get(node.span.clone()).unwrap_or_default().to_owned(),
                Some(scalar) if *format == Format::Ini => public::command(scalar),
                Some(scalar) => render::quote(public::helper(scalar)),
                None => public::HIDDEN.to_owned(),
            };
            format!("{name}: {value}")
        }
        What::Text { ours } if text.contains(ours.as_str()) => ours.clone(),
        _ => String::new(),
    }
}

fn value_at<'a>(root: &'a TreeNode, path: &[Step]) -> Option<&'a TreeNode> {
    let (pointer, steps) = follow(root, path);
    root.at(&pointer).filter(|_| steps == path.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_only_lines_that_differ() {
        let mut change = ChangeReport::new("kubectl", Path::new("/k"), "user u");
        change.summary = "user u: \u{1b}[1mset up".into();
        let mut report = Report { changes: vec![change], notes: vec!["note".into()], ..Report::default() };
        assert_eq!(report.text(false), "/k: user u: set up\nnote\n");
        assert_eq!(report.text(true), "");
        report.changes[0].is_changed = true;
        report.changes[0].before = "a: 1\nb: 2\n  c: 3".into();
        report.changes[0].after = "a: 1\nb: 4\n  c: 3".into();
        assert_eq!(report.text(false), "/k: user u: set up\n- b: 2\n+ b: 4\nnote\n");
        assert_eq!(report.text(true), "/k: user u: set up\n");
    }

    #[test]
    fn several_failures_are_all_named() {
        let mut report = Report::failed(Error::profile("/k: one").hint("do this"));
        assert_eq!(report.failure(false).map(|error| error.render()), Some(report.failures[0].render()));
        report.add(Report::failed(Error::usage("/l: two").hint("do that")));
        assert_eq!(report.text(false), "failed: /k: one\n  do this\nfailed: /l: two\n  do that\n");
        let error = report.failure(false).expect("a failure");
        assert!(error.kind.exit_code() == 3 && error.render().contains("/k: one; /l: two"), "{}", error.render());
    }

    #[test]
    fn text_to_paste_keeps_its_indentation() {
        let paste = Paste::new("/n", "a:\n  - b\n");
        let mut report = Report { pastes: vec![paste], ..Report::default() };
        assert_eq!(report.text(false), "add to /n:\n  a:\n    - b\n");
        report.pastes[0].under = Some("[x]".into());
        assert!(report.text(false).starts_with("add to /n under [x]:\n"));
        assert_eq!(report.json(true)["pastes"][0]["text"], "a:\n  - b");
    }
}
