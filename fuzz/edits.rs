//! Edits of configuration files of other programs: what an edit writes means what was planned, or it is refused; and
//! unsetup brings back every byte.
//!
//! The first line of an input is the change (`replace`, `insert` or `remove`, a number that selects the place, and a
//! value); the rest is the file.

use std::path::Path;

use ycred::commands::clients::terraform::config;
use ycred::edit::journal::{Journal, JournalEntry, Step, What};
use ycred::edit::place::Place;
use ycred::edit::splice::{self, Format};
use ycred::edit::tree::{NodeValue, Pointer, TreeChange, TreeNode};
use ycred::edit::undo::{Undone, undo};

pub fn edit_yaml(input: &[u8]) {
    edit(Format::Yaml, input);
}

pub fn edit_json(input: &[u8]) {
    edit(Format::Json, input);
}

pub fn edit_ini(input: &[u8]) {
    edit(Format::Ini, input);
}

fn edit(format: Format, input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let (plan, text) = input.split_once('\n').unwrap_or(("", input));
    let Ok(root) = format.parse(text) else { return };
    check_spans(&root, text);
    let mut words = plan.split(' ');
    let (verb, number) =
        (words.next().unwrap_or_default(), words.next().and_then(|word| word.parse().ok()).unwrap_or(0));
    let value = value(format, words.next().unwrap_or("x"));
    let mut all = Vec::new();
    pointers(&root, &Vec::new(), &mut all);
    let pointer = all[number % all.len()].clone();
    let change = match verb {
        "insert" => TreeChange::Insert(pointer, "key".to_owned(), value.clone()),
        "remove" => TreeChange::Remove(pointer),
        _ => TreeChange::Replace(pointer, value.clone()),
    };
    if let Ok((after, splice)) = splice::apply(format, text, &change) {
        let planned = change.planned(&root).expect("a place");
        assert_eq!(format.parse(&after).expect("what was written can be read"), planned, "{change:?}");
        let end = splice.at + splice.after.len();
        assert_eq!(after[splice.at..end], splice.after);
        assert_eq!(format!("{}{}{}", &after[..splice.at], splice.before, &after[end..]), text);
    }
    set_and_undo(format, text, &root, value);
}

/// Sets a value as `setup` does, then undoes it.
fn set_and_undo(format: Format, text: &str, root: &TreeNode, value: TreeNode) {
    let key = |key: &str| Step::Key(key.to_owned());
    let (section, option) = if format == Format::Json { ("credHelpers", "cr.yandex") } else { ("profile yc", "exec") };
    let path = vec![key(section), key(option)];
    let place = Place { client: "fuzz", file: Path::new("/nowhere"), label: "place".to_owned(), format, path };
    let journal = Journal::read(Path::new("/nowhere")).expect("no journal");
    let Ok(planned) = place.set(Some(text), &value, &journal) else { return };
    let Some(entry) = planned.entry else { return };
    match undo(&entry, planned.text.as_deref().unwrap_or_default(), false) {
        Ok(Undone::Restored(Some(restored))) => assert_eq!(restored, text, "every byte comes back"),
        Ok(Undone::Restored(None)) => panic!("the file existed"),
        other => panic!("{other:?}: nothing has changed since"),
    }
    // If the rest of the file has changed, only the value is known.
    let What::Value { before, .. } = &entry.what else { panic!("a value") };
    let has_before = before.is_some();
    if let Ok(Undone::Restored(Some(restored))) =
        undo(&JournalEntry { exact: None, ..entry }, planned.text.as_deref().unwrap_or_default(), false)
    {
        let restored = format.parse(&restored).expect("what was restored can be read");
        assert!(!has_before || restored == *root, "the value comes back");
    }
}

/// The span of each value lies in that of its container.
fn check_spans(node: &TreeNode, text: &str) {
    assert!(text.get(node.span.clone()).is_some(), "{:?}", node.span);
    for (key, value) in node.members() {
        check_spans(key, text);
        check_spans(value, text);
    }
    node.items().iter().for_each(|item| check_spans(item, text));
}

/// Returns a value for the format, with this word in it.
fn value(format: Format, word: &str) -> TreeNode {
    let word: String = word.chars().filter(|c| !c.is_control()).take(40).collect();
    match (format, word.len() % 3) {
        (Format::Ini, _) => TreeNode::text(word.trim()),
        (_, 0) => TreeNode::map([("command", TreeNode::text(word)), ("args", TreeNode::list([TreeNode::text("a")]))]),
        (_, 1) => TreeNode::list([TreeNode::text(word), TreeNode::null()]),
        _ => TreeNode::text(word),
    }
}

/// Returns the pointers to all values.
fn pointers(node: &TreeNode, here: &Pointer, all: &mut Vec<Pointer>) {
    all.push(here.clone());
    let children: Vec<&TreeNode> = match &node.value {
        NodeValue::Map(members) => members.iter().map(|(_, value)| value).collect(),
        NodeValue::List(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    for (at, child) in children.into_iter().enumerate() {
        let pointer: Pointer = here.iter().copied().chain([at]).collect();
        pointers(child, &pointer, all);
    }
}

/// Reads an entry of the journal from the first line, and undoes it in the rest.
pub fn edit_undo(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let (entry, text) = input.split_once('\n').unwrap_or((input, ""));
    let Ok(entry) = serde_json::from_str::<JournalEntry>(entry) else { return };
    for is_forced in [false, true] {
        let Ok(Undone::Restored(Some(restored))) = undo(&entry, text, is_forced) else { continue };
        if let (What::Value { format, .. }, None) = (&entry.what, &entry.exact) {
            assert!(format.parse(&restored).is_ok(), "{restored:?}");
        }
    }
}

/// Looks for the helper in a configuration of Terraform.
pub fn terraform_config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for (line, helper) in config::helpers(text) {
        assert!(line >= 1 && line <= text.matches('\n').count() + 1 && text.contains(&helper));
    }
}
