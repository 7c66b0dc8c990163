//! Undoes what an entry of the journal describes, in the text of its file.

use crate::edit::journal::{Exact, JournalEntry, Stored, What, digest, follow};
use crate::edit::splice::{self, EditRefusal, Format, Splice};
use crate::edit::tree::{Pointer, TreeChange, TreeNode};

/// The result of undoing an entry.
#[derive(Debug)]
pub enum Undone {
    /// The new content of the file. `None` if the file did not exist before.
    Restored(Option<String>),
    /// Nothing that ycred wrote is there any more.
    Absent,
    /// Somebody has changed what ycred wrote.
    Changed,
}

/// Undoes an entry. If the file is as the last setup left it, the original bytes come back. Otherwise only the place is
/// restored, if the value there still means what ycred wrote; `force` restores it in any case.
///
/// # Errors
/// The file cannot be parsed or edited.
pub fn undo(entry: &JournalEntry, text: &str, force: bool) -> Result<Undone, EditRefusal> {
    if let Some(original) = entry.exact.as_ref().and_then(|exact| exact.undo(text)) {
        let is_removed = entry.created && original.is_empty();
        return Ok(Undone::Restored((!is_removed).then_some(original)));
    }
    let undone = match &entry.what {
        What::Value { format, path, before, ours, containers } => {
            let root = format.parse(text).map_err(EditRefusal::Syntax)?;
            let (pointer, steps) = follow(&root, path);
            let Some(node) = root.at(&pointer).filter(|_| steps == path.len()) else { return Ok(Undone::Absent) };
            let means = |stored: &Stored| stored.node(*format).is_some_and(|value| node.has_meaning_of(&value));
            match ours.iter().find(|stored| means(stored)) {
                None if before.as_ref().is_some_and(means) => return Ok(Undone::Absent),
                None if !force => return Ok(Undone::Changed),
                found => restore(*format, text, &pointer, found, before.as_ref(), *containers, node)?,
            }
        }
        What::Text { ours } => match text.matches(ours.as_str()).count() {
            1 => text.replacen(ours.as_str(), "", 1),
            _ if force && entry.created => String::new(),
            0 if text.is_empty() => return Ok(Undone::Absent),
            _ => return Ok(Undone::Changed),
        },
        // The client undoes these.
        What::Option { .. } | What::Link { .. } => return Ok(Undone::Changed),
    };
    let is_removed = entry.created && is_without_content(entry, &undone);
    Ok(Undone::Restored((!is_removed).then_some(undone)))
}

impl Exact {
    /// Describes a change of a whole file.
    pub fn of(splice: Splice, after: &str) -> Self {
        Self { splice, digest: digest(after) }
    }

    fn undo(&self, text: &str) -> Option<String> {
        let Splice { at, before, after } = &self.splice;
        let is_as_written = digest(text) == self.digest && text.get(*at..at + after.len()) == Some(after);
        is_as_written.then(|| format!("{}{before}{}", &text[..*at], &text[at + after.len()..]))
    }
}

/// Puts `before` in place of a value, or removes the value and the containers that ycred created.
fn restore(
    format: Format,
    text: &str,
    pointer: &Pointer,
    ours: Option<&Stored>,
    before: Option<&Stored>,
    containers: usize,
    node: &TreeNode,
) -> Result<String, EditRefusal> {
    if let Some(before) = before {
        let value = before.node(format).ok_or(EditRefusal::Unproven)?;
        let change = TreeChange::Replace(pointer.clone(), value);
        // In the style that ycred wrote, the original text fits.
        if ours.is_some_and(|ours| ours.raw == text[node.span.clone()])
            && let Ok(restored) = splice::apply_raw(format, text, &change, &before.raw)
        {
            return Ok(restored);
        }
        return splice::apply(format, text, &change).map(|(text, _)| text);
    }
    let (mut text, _) = splice::apply(format, text, &TreeChange::Remove(pointer.clone()))?;
    let mut pointer = pointer.clone();
    for _ in 0..containers {
        pointer.pop();
        let root = format.parse(&text).map_err(EditRefusal::Syntax)?;
        if pointer.is_empty() || !root.at(&pointer).is_some_and(TreeNode::is_empty) {
            break;
        }
        text = splice::apply(format, &text, &TreeChange::Remove(pointer.clone()))?.0;
    }
    Ok(text)
}

fn is_without_content(entry: &JournalEntry, text: &str) -> bool {
    match &entry.what {
        What::Value { format, .. } => format.parse(text).is_ok_and(|root| root.is_empty()),
        _ => text.trim().is_empty(),
    }
}

/// Returns the difference of two texts as one splice, for a change that another program has made.
pub fn difference(before: &str, after: &str) -> Splice {
    let is_border = |at: usize| before.is_char_boundary(at) && after.is_char_boundary(at);
    let mut start = before.bytes().zip(after.bytes()).take_while(|(one, other)| one == other).count();
    while !is_border(start) {
        start -= 1;
    }
    let most = before.len().min(after.len()) - start;
    let mut tail =
        before.bytes().rev().zip(after.bytes().rev()).take(most).take_while(|(one, other)| one == other).count();
    while !before.is_char_boundary(before.len() - tail) || !after.is_char_boundary(after.len() - tail) {
        tail -= 1;
    }
    Splice {
        at: start,
        before: before[start..before.len() - tail].into(),
        after: after[start..after.len() - tail].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_the_shortest_piece() {
        let splice = |at, before: &str, after: &str| Splice { at, before: before.into(), after: after.into() };
        assert_eq!(difference("abc", "abc"), splice(3, "", ""));
        assert_eq!(difference("aXc", "aYYc"), splice(1, "X", "YY"));
        assert_eq!(difference("aa", "aaa"), splice(2, "", "a"));
        assert_eq!(difference("жa", "зa"), splice(0, "ж", "з"));
        assert_eq!(difference("", "x"), splice(0, "", "x"));
    }
}
