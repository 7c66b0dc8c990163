//! A value at a place of a file: plans to set it, and describes the change for the journal.

use std::path::Path;

use crate::edit::journal::{Exact, Journal, JournalEntry, Step, Stored, What, follow};
use crate::edit::splice::{self, EditRefusal, Format};
use crate::edit::tree::{TreeChange, TreeNode};
use crate::edit::undo::{Undone, difference, take_out, undo};

/// A place in a file, and its entry in the journal.
pub struct Place<'a> {
    pub client: &'a str,
    pub file: &'a Path,
    pub label: String,
    pub format: Format,
    pub path: Vec<Step>,
}

/// The result of planning a value.
pub struct PlannedValue {
    pub text: Option<String>,
    /// `None` if the value is there already.
    pub entry: Option<JournalEntry>,
    /// Entries of other changes of this file that must be written again.
    pub others: Vec<JournalEntry>,
}

/// What docker reads from a file without content.
pub const EMPTY_OBJECT: &str = "{}\n";

/// Makes the change of an entry once more, in another text.
///
/// # Errors
/// As [`Place::set`]; or only the client can make it.
pub fn redo(entry: &JournalEntry, text: Option<&str>) -> Result<(String, JournalEntry), EditRefusal> {
    let What::Value { format, path, ours, .. } = &entry.what else { return Err(EditRefusal::Unproven) };
    let value = ours.first().and_then(|ours| ours.node(*format)).ok_or(EditRefusal::Unproven)?;
    let (label, path) = (entry.label.clone(), path.clone());
    Place { client: &entry.client, file: &entry.file, label, format: *format, path }.write(text, &value)
}

/// Returns true if a value has a command that runs ycred, or the suffix of docker's link to it.
fn runs_ycred(value: &TreeNode) -> bool {
    let is_program = |text: &str| {
        let program = text.split_whitespace().next().unwrap_or_default().trim_matches(['"', '\'']);
        program.rsplit(['/', '\\']).next().is_some_and(|name| name.starts_with("ycred"))
    };
    value.as_text().is_some_and(is_program)
        || value.items().iter().any(runs_ycred)
        || value.members().iter().any(|(_, value)| runs_ycred(value))
}

impl Place<'_> {
    fn key(&self) -> JournalEntry {
        let what =
            What::Value { format: self.format, path: self.path.clone(), before: None, ours: Vec::new(), containers: 0 };
        JournalEntry::new(self.client, self.file, self.label.clone(), what)
    }

    /// Plans to set the value of this place. A value that ycred wrote before is undone first, so that the journal keeps
    /// what stood there in the beginning. Without a text, there is no file yet.
    ///
    /// # Errors
    /// The file cannot be parsed, or the change cannot be proven.
    pub fn set(&self, text: Option<&str>, value: &TreeNode, journal: &Journal) -> Result<PlannedValue, EditRefusal> {
        let read = self.readable(text.unwrap_or_default());
        let current = self.format.parse(read).map_err(EditRefusal::Syntax)?;
        let (pointer, steps) = follow(&current, &self.path);
        let there = current.at(&pointer).filter(|_| steps == self.path.len());
        if there.is_some_and(|node| node.has_meaning_of(value)) {
            return Ok(PlannedValue { text: text.map(str::to_owned), entry: None, others: Vec::new() });
        }
        // What ycred wrote and somebody changed is still ycred's as long as it runs ycred.
        let mut original = self.without_ours(text, there.is_some_and(runs_ycred), journal)?;
        let (new, mut entry) = self.write(original.text.as_deref(), value)?;
        if original.entry.is_none() {
            self.keep_containers(&mut entry, &mut original.others, journal);
        }
        if let Some(former) = original.entry {
            entry.inherit(&former);
            if let (What::Value { ours, .. }, What::Value { ours: old, .. }) = (&mut entry.what, former.what) {
                ours.extend(old.into_iter().take(1));
            }
        }
        Ok(PlannedValue { text: Some(new), entry: Some(entry), others: original.others })
    }

    /// Keeps what is known of the file and of the containers around a value that was not there before setup and that somebody
    /// has removed since: the entry about another value in the same container takes it over, else the new one.
    fn keep_containers(&self, entry: &mut JournalEntry, others: &mut Vec<JournalEntry>, journal: &Journal) {
        let Some(stale) = journal.find(entry) else { return };
        let What::Value { before: None, containers, path, .. } = &stale.what else { return };
        let around = |path: &[Step]| path.split_last().map(|(_, around)| around.to_vec());
        let is_beside = |other: &&JournalEntry| {
            other.file == stale.file
                && other.label != stale.label
                && matches!(&other.what, What::Value { path: beside, .. } if around(beside) == around(path))
        };
        let mut heir = journal.entries().iter().find(is_beside).cloned();
        let taker = heir.as_mut().unwrap_or(entry);
        taker.inherit_file(stale);
        if let What::Value { containers: kept, .. } = &mut taker.what {
            *kept = (*kept).max(*containers);
        }
        others.extend(heir);
    }

    /// Returns the text without ycred's own value, the entry about it, if there is one, and the other entries that have
    /// changed with it. With `even_if_changed`, a value that differs from what ycred wrote is its own too.
    fn without_ours(
        &self,
        text: Option<&str>,
        even_if_changed: bool,
        journal: &Journal,
    ) -> Result<PlannedValue, EditRefusal> {
        let unchanged = || PlannedValue { text: text.map(str::to_owned), entry: None, others: Vec::new() };
        let (Some(entry), Some(text)) = (journal.find(&self.key()), text) else { return Ok(unchanged()) };
        let taken = take_out(entry, text, journal, |entry, text| undo(entry, text, even_if_changed), redo)?;
        Ok(match taken.undone {
            Undone::Restored(text) => PlannedValue { text, entry: Some(entry.clone()), others: taken.others },
            // A setup after somebody else's change begins anew.
            Undone::Absent | Undone::Changed => unchanged(),
        })
    }

    /// Writes a value, and describes the change.
    fn write(&self, text: Option<&str>, value: &TreeNode) -> Result<(String, JournalEntry), EditRefusal> {
        let original = text.unwrap_or_default();
        let read = self.readable(original);
        let root = self.format.parse(read).map_err(EditRefusal::Syntax)?;
        let (pointer, steps) = follow(&root, &self.path);
        let before = root.at(&pointer).filter(|_| steps == self.path.len());
        let (change, containers) = match before {
            Some(_) => (TreeChange::Replace(pointer, value.clone()), 0),
            None => self.insertion(pointer, steps, value)?,
        };
        let before = before.map(|node| Stored::of(read, node));
        let (new, splice) = splice::apply(self.format, read, &change)?;
        let written = self.format.parse(&new).map_err(EditRefusal::Syntax)?;
        let (pointer, _) = follow(&written, &self.path);
        let ours = vec![Stored::of(&new, written.at(&pointer).ok_or(EditRefusal::Unproven)?)];
        let what = What::Value { format: self.format, path: self.path.clone(), before, ours, containers };
        // The splice must restore the bytes of the file. They differ from the edited text if an empty JSON file was read as {}.
        let splice = if read == original { splice } else { difference(original, &new) };
        let exact = Some(Exact::of(splice, &new));
        let entry = JournalEntry::new(self.client, self.file, self.label.clone(), what);
        Ok((new, JournalEntry { created: text.is_none(), exact, ..entry }))
    }

    /// Returns what a text stands for: a JSON file without content is an empty object.
    fn readable<'b>(&self, text: &'b str) -> &'b str {
        if self.format == Format::Json && text.trim().is_empty() { EMPTY_OBJECT } else { text }
    }

    /// Returns the change that creates the missing end of the path.
    fn insertion(
        &self,
        pointer: Vec<usize>,
        steps: usize,
        value: &TreeNode,
    ) -> Result<(TreeChange, usize), EditRefusal> {
        let mut missing = self.path[steps..].iter().map(|step| match step {
            Step::Key(key) => Ok(key.clone()),
            Step::Item { .. } => Err(EditRefusal::Unsupported("the list has no such item")),
        });
        let first = missing.next().ok_or(EditRefusal::Unproven)??;
        let inner = missing.collect::<Result<Vec<_>, _>>()?;
        let value = inner.iter().rev().fold(value.clone(), |value, key| TreeNode::map([(key, value)]));
        Ok((TreeChange::Insert(pointer, first, value), inner.len()))
    }
}
