//! Undoes what an entry of the journal describes, in the text of its file.

use crate::edit::journal::{Journal, JournalEntry, Stored, What, follow};
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
    if let Some(original) = before(entry, text) {
        return Ok(Undone::Restored(original));
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
                found => {
                    let restored = restore(*format, text, &pointer, found, before.as_ref(), *containers, node)?;
                    by_splice(entry, *format, text, &restored).unwrap_or(restored)
                }
            }
        }
        What::Text { ours } => match without_text(ours, text) {
            Some(rest) => rest,
            None if force && entry.created => String::new(),
            None if !names_ycred(ours, text) => return Ok(Undone::Absent),
            None => return Ok(Undone::Changed),
        },
        // The client undoes these.
        What::Option { .. } | What::Link { .. } => return Ok(Undone::Changed),
    };
    let is_removed = entry.created && is_without_content(entry, &undone);
    Ok(Undone::Restored((!is_removed).then_some(undone)))
}

/// Returns true if a text still has a line of a piece that names ycred.
fn names_ycred(ours: &str, text: &str) -> bool {
    let mut lines = ours.lines().map(str::trim).filter(|line| line.contains("ycred"));
    lines.any(|line| text.contains(line))
}

/// Returns the text without a piece that was added at its end, if it occurs once. An editor may have changed all line ends.
fn without_text(ours: &str, text: &str) -> Option<String> {
    let unix = ours.replace("\r\n", "\n");
    let spellings = [ours.to_owned(), unix.replace('\n', "\r\n"), unix];
    let found = spellings.into_iter().find(|spelling| text.contains(spelling.as_str()))?;
    let (start, end) = text.split_once(found.as_str())?;
    if end.contains(found.as_str()) {
        return None;
    }
    // The piece begins with the line end that was missing in the file. What was added after it needs that line end.
    let separator = ["\r\n", "\n"].into_iter().find(|newline| found.starts_with(newline)).unwrap_or_default();
    let kept = if end.is_empty() { "" } else { separator };
    Some(format!("{start}{kept}{end}"))
}

/// Replaces what the change wrote by what stood there, if it is in the file in one piece and the result means the same as
/// `restored`. So blanks and blank lines come back too.
fn by_splice(entry: &JournalEntry, format: Format, text: &str, restored: &str) -> Option<String> {
    let planned = format.parse(restored).ok()?;
    entry.exact.iter().chain(&entry.former).find_map(|exact| {
        let Splice { before, after, .. } = &exact.splice;
        let is_once = !after.trim().is_empty() && text.matches(after.as_str()).count() == 1;
        let replaced = is_once.then(|| text.replacen(after.as_str(), before, 1))?;
        format.parse(&replaced).is_ok_and(|tree| tree == planned).then_some(replaced)
    })
}

/// Returns the file before a change, if it is exactly as the change left it. The inner `None` means that there was no file.
fn before(entry: &JournalEntry, text: &str) -> Option<Option<String>> {
    let original = entry.undo_exactly(text)?;
    let is_removed = entry.created && original.is_empty();
    Some((!is_removed).then_some(original))
}

/// The result of taking one change out of a file.
pub struct TakenOut {
    pub undone: Undone,
    /// Entries of other changes of this file that must be written again.
    pub others: Vec<JournalEntry>,
}

/// Takes one change out of a file that has others of ycred.
///
/// As long as the file is exactly as ycred left it, the later changes are undone first and then made again, so that in
/// whatever order all of them are undone, every byte comes back. `undo` undoes an entry, and `redo` makes its change anew.
///
/// # Errors
/// Those of `undo`.
pub fn take_out<E>(
    entry: &JournalEntry,
    text: &str,
    journal: &Journal,
    undo: impl Fn(&JournalEntry, &str) -> Result<Undone, E>,
    redo: impl Fn(&JournalEntry, Option<&str>) -> Result<(String, JournalEntry), E>,
) -> Result<TakenOut, E> {
    let others: Vec<&JournalEntry> =
        journal.entries().iter().filter(|other| other.file == entry.file && !other.is_same_place(entry)).collect();
    let (base, later) = rewind(entry, text, &others);
    let again = |undone: Option<String>| {
        let (mut text, mut entries) = (undone, Vec::new());
        for later in later.iter().rev() {
            let (new, entry) = redo(later, text.as_deref())?;
            text = Some(new);
            let (sequence, directories, account) = (later.sequence, later.directories.clone(), later.account.clone());
            entries.push(JournalEntry { sequence, directories, account, ..entry });
        }
        Ok::<_, E>((text, entries))
    };
    if !later.is_empty()
        && let Ok(Undone::Restored(undone)) = undo(entry, &base)
        && let Ok((text, again)) = again(undone)
    {
        let is_exact = before(entry, &base).is_some();
        let others = inherit(entry, &others, again, is_exact);
        return Ok(TakenOut { undone: Undone::Restored(text), others });
    }
    let undone = undo(entry, text)?;
    let others = match undone {
        Undone::Restored(_) => inherit(entry, &others, Vec::new(), before(entry, text).is_some()),
        Undone::Absent | Undone::Changed => Vec::new(),
    };
    Ok(TakenOut { undone, others })
}

/// Undoes the changes that were made after `entry`, as far as the file is exactly as they left it. Returns the text and
/// these changes, the newest first.
fn rewind<'a>(entry: &JournalEntry, text: &str, others: &[&'a JournalEntry]) -> (String, Vec<&'a JournalEntry>) {
    let (mut base, mut later, mut rest) = (text.to_owned(), Vec::new(), others.to_vec());
    while before(entry, &base).is_none() {
        let Some((at, Some(former))) =
            rest.iter().enumerate().find_map(|(at, other)| before(other, &base).map(|former| (at, former)))
        else {
            break;
        };
        base = former;
        later.push(rest.remove(at));
    }
    (base, later)
}

/// Hands over to the other entries of a file what the undone entry knows: that ycred created the file and its directories,
/// and, unless every byte has been restored, which containers ycred created. Returns the entries that this has changed.
fn inherit(
    undone: &JournalEntry,
    others: &[&JournalEntry],
    again: Vec<JournalEntry>,
    is_exact: bool,
) -> Vec<JournalEntry> {
    let mut changed = Vec::new();
    for other in others {
        let new = again.iter().find(|new| new.is_same_place(other));
        let mut entry = new.unwrap_or(other).clone();
        let is_same = |entry: &JournalEntry, other: &JournalEntry| {
            entry.created == other.created && entry.directories == other.directories
        };
        let is_new = new.is_some();
        entry.inherit_file(undone);
        let has_containers = !is_exact && inherit_containers(&mut entry.what, &undone.what);
        if is_new || has_containers || !is_same(&entry, other) {
            changed.push(entry);
        }
    }
    changed
}

/// Returns true if a value has become responsible for more containers.
fn inherit_containers(heir: &mut What, undone: &What) -> bool {
    let (
        What::Value { path: own_path, containers: own, .. },
        What::Value { path: undone_path, containers: of_undone, .. },
    ) = (heir, undone)
    else {
        return false;
    };
    let outermost = undone_path.len() - of_undone;
    let shared = own_path.iter().zip(undone_path).take_while(|(own, other)| own == other).count();
    let inherited = own_path.len().saturating_sub(outermost);
    let is_more = *of_undone > 0 && shared >= outermost && shared < own_path.len() && inherited > *own;
    if is_more {
        *own = inherited;
    }
    is_more
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
