//! Random files and random changes: the new file means what was planned, or the change is refused.

use std::fmt::Write as _;

use super::{Format, apply};
use crate::base::random::below;
use crate::edit::tree::{NodeValue, Pointer, TreeChange, TreeNode};

/// Writes random files, in random styles and with random comments.
struct Writer {
    newline: &'static str,
}

const SCALARS: [&str; 16] = [
    "plain",
    "\"quoted # text\"",
    "'it''s'",
    "1",
    "yes",
    "~",
    "null",
    "\"\"",
    "a b",
    "--flag=x",
    "\"жук\\n\"",
    "'{'",
    "x#y",
    "\"}]\"",
    "&a anchored",
    "http://h:1/",
];
const KEYS: [&str; 8] = ["name", "exec", "a", "\"b c\"", "'d'", "ключ", "users", "e-f"];

impl Writer {
    fn comment(&self) -> String {
        match below(6) {
            0 => format!(" # c{}", below(9)),
            _ => String::new(),
        }
    }

    /// Random blank lines and comment lines.
    fn gap(&self, indent: usize) -> String {
        match below(8) {
            0 => self.newline.to_owned(),
            1 => format!("{}# own line: [}}{}", " ".repeat(indent), self.newline),
            _ => String::new(),
        }
    }

    fn flow(&self, depth: usize) -> String {
        let comma = if below(5) == 0 { "," } else { "" };
        match below(if depth > 3 { 1 } else { 4 }) {
            1 => format!("[{}]", (0..below(3)).map(|_| self.flow(depth + 1)).collect::<Vec<_>>().join(", ")),
            2 => {
                let count = below(3);
                let members: Vec<String> = (0..count)
                    .map(|at| format!("{}: {}", KEYS[(at + depth) % KEYS.len()], self.flow(depth + 1)))
                    .collect();
                format!("{{{}{}}}", members.join(", "), if count > 0 { comma } else { "" })
            }
            _ => SCALARS[below(SCALARS.len())].to_owned(),
        }
    }

    /// Writes a value after `key:` or `-`, with the line break.
    fn value(&self, text: &mut String, indent: usize, depth: usize) {
        let (newline, comment) = (self.newline, self.comment());
        match below(if depth > 3 { 3 } else { 7 }) {
            0 => {
                let _ = write!(text, " {}{comment}{newline}", self.flow(depth));
            }
            1 => {
                let _ = write!(text, "{comment}{newline}");
            }
            2 => {
                let pad = " ".repeat(indent + 2);
                let _ = write!(text, " |{newline}{pad}line: 1{newline}{pad}# no comment{newline}");
            }
            3 => {
                let _ = write!(text, "{comment}{newline}");
                self.list(text, indent + 2 * below(2), depth + 1);
            }
            _ => {
                let _ = write!(text, "{comment}{newline}");
                self.map(text, indent + 1 + below(4), depth + 1);
            }
        }
    }

    fn map(&self, text: &mut String, indent: usize, depth: usize) {
        let first = below(KEYS.len());
        for at in 0..=below(3) {
            text.push_str(&self.gap(indent));
            let _ = write!(text, "{}{}:", " ".repeat(indent), KEYS[(first + at) % KEYS.len()]);
            self.value(text, indent, depth);
        }
    }

    fn list(&self, text: &mut String, indent: usize, depth: usize) {
        for _ in 0..=below(2) {
            text.push_str(&self.gap(indent));
            let _ = write!(text, "{}- {}{}{}", " ".repeat(indent), self.flow(depth), self.comment(), self.newline);
        }
    }

    fn file(&self) -> String {
        let mut text = String::from(if below(8) == 0 { "\u{feff}" } else { "" });
        self.map(&mut text, 0, 0);
        if below(4) == 0 { text.trim_end().to_owned() } else { text }
    }
}

/// Returns the pointers to all values.
fn pointers(node: &TreeNode, here: &Pointer, all: &mut Vec<Pointer>) {
    let children: Vec<&TreeNode> = match &node.value {
        NodeValue::Map(members) => members.iter().map(|(_, value)| value).collect(),
        NodeValue::List(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    all.push(here.clone());
    for (at, child) in children.into_iter().enumerate() {
        let pointer: Pointer = here.iter().copied().chain([at]).collect();
        pointers(child, &pointer, all);
    }
}

fn random_value() -> TreeNode {
    match below(3) {
        0 => TreeNode::text(["new", "", "--x=y", "yes", "a: b # c", "жук"][below(6)]),
        1 => TreeNode::list([TreeNode::text("kubectl"), TreeNode::text("--profile")]),
        _ => TreeNode::map([
            ("command", TreeNode::text("/x/ycred")),
            ("args", TreeNode::list([TreeNode::text("a")])),
            ("n", TreeNode::null()),
        ]),
    }
}

/// Returns a change at a random place.
fn random_change(root: &TreeNode) -> TreeChange {
    let mut all = Vec::new();
    pointers(root, &Vec::new(), &mut all);
    let pointer = all[below(all.len())].clone();
    match below(3) {
        0 => TreeChange::Replace(pointer, random_value()),
        1 => TreeChange::Insert(pointer, "new-key".into(), random_value()),
        _ => TreeChange::Remove(pointer),
    }
}

#[test]
fn a_random_change_means_what_was_planned_or_is_refused() {
    let (mut done, mut refused) = (0, 0);
    for _ in 0..4000 {
        let text = Writer { newline: if below(4) == 0 { "\r\n" } else { "\n" } }.file();
        let Ok(root) = Format::Yaml.parse(&text) else { continue };
        let change = random_change(&root);
        let Ok((new, splice)) = apply(Format::Yaml, &text, &change) else {
            refused += 1;
            continue;
        };
        let planned = change.planned(&root).unwrap_or_else(|| panic!("{change:?} has no place in\n{text}"));
        assert_eq!(Format::Yaml.parse(&new).expect("YAML"), planned, "{change:?}\n{text}\n---\n{new}");
        // Everything outside the splice is there, byte for byte.
        let (start, end) = (splice.at, splice.at + splice.after.len());
        assert_eq!(&new[start..end], splice.after);
        assert_eq!(format!("{}{}{}", &new[..start], splice.before, &new[end..]), text);
        // A change keeps all comments, except those inside a value that it replaces or removes.
        let comments = |text: &str| text.matches("# ").count();
        assert!(comments(&new) + comments(&splice.before) >= comments(&text), "{text}\n---\n{new}");
        done += 1;
    }
    assert!(done > 1200, "only {done} changes were made, {refused} refused");
}

#[test]
fn a_random_change_of_json_means_what_was_planned() {
    for _ in 0..2000 {
        let value = random_json(0);
        let text = if below(2) == 0 { value.to_string() } else { format!("{value:#}\n") };
        let root = Format::Json.parse(&text).expect("JSON");
        let change = random_change(&root);
        let Some(planned) = change.planned(&root) else { continue };
        // A null has no place for members in JSON, and is replaced by a mapping.
        let (new, _) = apply(Format::Json, &text, &change).unwrap_or_else(|why| panic!("{why:?}: {change:?}\n{text}"));
        assert_eq!(Format::Json.parse(&new).expect("JSON"), planned, "{change:?}\n{text}\n---\n{new}");
        assert!(serde_json::from_str::<serde_json::Value>(&new).is_ok(), "{new}");
    }
}

fn random_json(depth: usize) -> serde_json::Value {
    use serde_json::{Value, json};
    match below(if depth > 3 { 3 } else { 5 }) {
        _ if depth == 0 => json!({"a": random_json(1), "b": random_json(1)}),
        0 => json!(below(9)),
        1 => json!("x, } \" жук"),
        2 => Value::Null,
        3 => (0..below(3)).map(|_| random_json(depth + 1)).collect(),
        _ => Value::Object((0..below(3)).map(|at| (format!("k{at}"), random_json(depth + 1))).collect()),
    }
}
