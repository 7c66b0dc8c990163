//! Turns a change of a tree into a change of the text, and proves it.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::edit::tree::{NodeValue, Style, TreeChange, TreeNode};
use crate::edit::yaml::SyntaxError;
use crate::edit::{ini, json, render, yaml};

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// YAML, or JSON, which is edited as JSON: programs that write one of them accept the other.
    Yaml,
    Json,
    Ini,
}

/// A piece of text and its replacement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splice {
    pub at: usize,
    pub before: String,
    pub after: String,
}

/// Why a file is not edited.
#[derive(Debug)]
pub enum EditRefusal {
    Syntax(SyntaxError),
    /// The place has an anchor, an alias or a tag, or a value that cannot be replaced as text.
    Unsupported(&'static str),
    /// The new text would not mean what was planned.
    Unproven,
}

impl Format {
    /// # Errors
    /// The first syntax error.
    pub fn parse(self, text: &str) -> Result<TreeNode, SyntaxError> {
        match self.of_text(text) {
            Self::Yaml => yaml::parse(text),
            Self::Json => json::parse(text),
            Self::Ini => ini::parse(text),
        }
    }

    fn of_text(self, text: &str) -> Self {
        let is_json = self == Self::Yaml && text.trim_start().starts_with('{') && json::parse(text).is_ok();
        if is_json { Self::Json } else { self }
    }
}

/// Makes one change in a text. Returns the new text and the difference.
///
/// # Errors
/// The text cannot be parsed, or the new text cannot be proven: parsed, it must equal the planned tree.
pub fn apply(format: Format, text: &str, change: &TreeChange) -> Result<(String, Splice), EditRefusal> {
    let root = format.parse(text).map_err(EditRefusal::Syntax)?;
    let planned = change.planned(&root).ok_or_else(|| match change {
        TreeChange::Insert(pointer, ..) if root.at(pointer).is_some() => {
            EditRefusal::Unsupported("what is around the value is not a mapping")
        }
        _ => MISSING,
    })?;
    let file = File { text, root: &root, format: format.of_text(text), newline: newline(text) };
    let (range, after) = match change {
        TreeChange::Replace(pointer, value) => file.replace(root.at(pointer), value)?,
        TreeChange::Insert(pointer, key, value) => file.insert(root.at(pointer), key, value)?,
        TreeChange::Remove(pointer) => file.remove(pointer)?,
    };
    let before = text.get(range.clone()).ok_or(EditRefusal::Unproven)?.to_owned();
    let new = format!("{}{after}{}", &text[..range.start], &text[range.end..]);
    match format.parse(&new) {
        Ok(tree) if tree == planned => Ok((new, Splice { at: range.start, before, after })),
        _ => Err(EditRefusal::Unproven),
    }
}

/// Replaces raw text at a place, for restoring it. The new text must parse to the planned tree.
///
/// # Errors
/// As [`apply`].
pub fn apply_raw(format: Format, text: &str, change: &TreeChange, raw: &str) -> Result<String, EditRefusal> {
    let root = format.parse(text).map_err(EditRefusal::Syntax)?;
    let planned = change.planned(&root).ok_or(EditRefusal::Unproven)?;
    let TreeChange::Replace(pointer, _) = change else { return Err(EditRefusal::Unproven) };
    let span = root.at(pointer).ok_or(EditRefusal::Unproven)?.span.clone();
    let new = format!("{}{raw}{}", &text[..span.start], &text[span.end..]);
    match format.parse(&new) {
        Ok(tree) if tree == planned => Ok(new),
        _ => Err(EditRefusal::Unproven),
    }
}

/// Returns the line end of a file.
pub fn newline(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

struct File<'a> {
    text: &'a str,
    root: &'a TreeNode,
    format: Format,
    newline: &'static str,
}

type Replacement = Result<(Range<usize>, String), EditRefusal>;

const MISSING: EditRefusal = EditRefusal::Unsupported("the place does not exist");
const ENTANGLED: EditRefusal = EditRefusal::Unsupported("an anchor, an alias or a tag is in the way");

impl File<'_> {
    fn replace(&self, node: Option<&TreeNode>, value: &TreeNode) -> Replacement {
        let node = node.ok_or(MISSING)?;
        if node.is_entangled() {
            return Err(ENTANGLED);
        }
        let raw = &self.text[node.span.clone()];
        let new = match self.format {
            Format::Ini => value.as_text().ok_or(MISSING)?.to_owned(),
            Format::Json => self.json_value(value, self.indent_at(node.span.start)),
            Format::Yaml => {
                let is_block_map = node.style == Style::Block && matches!(node.value, NodeValue::Map(_));
                match render::block(value, self.column(node.span.start), self.newline) {
                    Some(block) if is_block_map => block,
                    // A block scalar's span is without its `|` or `>`. Replacing the span would leave that behind.
                    _ if node.style == Style::Scalar && raw.contains('\n') => {
                        return Err(EditRefusal::Unsupported("a value over several lines is in the way"));
                    }
                    _ if raw.is_empty() => format!(" {}", render::flow(value)),
                    _ => render::flow(value),
                }
            }
        };
        Ok((node.span.clone(), new))
    }

    fn insert(&self, map: Option<&TreeNode>, key: &str, value: &TreeNode) -> Replacement {
        let map = map.ok_or(MISSING)?;
        if map.anchor != 0 || map.has_tag || map.members().iter().any(|(key, _)| key.is_merge_key()) {
            return Err(ENTANGLED);
        }
        match (&map.value, map.style) {
            _ if self.format == Format::Ini => self.insert_lines(map, key, value),
            (NodeValue::Null, _) => {
                let new = render::flow(&TreeNode::map([(key, value.clone())]));
                let is_behind_colon = map.span.is_empty() && self.text[..map.span.start].ends_with(':');
                Ok((map.span.clone(), if is_behind_colon { format!(" {new}") } else { new }))
            }
            (NodeValue::Map(members), Style::Flow) => Ok(self.insert_in_flow(map, members, key, value)),
            (NodeValue::Map(members), _) => {
                let first = members.first().ok_or(MISSING)?.0.span.start;
                let indent = self.column(first);
                let at = self.end_of_line(map.span.end);
                let member =
                    render::block(&TreeNode::map([(key, value.clone())]), indent, self.newline).ok_or(MISSING)?;
                Ok((at..at, format!("{}{}{member}", self.newline, " ".repeat(indent))))
            }
            _ => Err(EditRefusal::Unsupported("the value is not a mapping")),
        }
    }

    fn insert_in_flow(
        &self,
        map: &TreeNode,
        members: &[(TreeNode, TreeNode)],
        key: &str,
        value: &TreeNode,
    ) -> (Range<usize>, String) {
        let key = render::quote(key);
        let Some(((first, _), (_, last))) = members.first().zip(members.last()) else {
            // A file with nothing in it gets the style that docker writes.
            let is_root = std::ptr::eq(map, self.root);
            let new = if is_root || self.unit().is_some() {
                let indent = self.indent_at(map.span.start);
                let unit = self.unit().unwrap_or("\t");
                let value = render::pretty(value, &format!("{indent}{unit}"), unit, self.newline);
                format!("{{{0}{indent}{unit}{key}: {value}{0}{indent}}}", self.newline)
            } else {
                format!("{{{key}: {}}}", render::flow(value))
            };
            return (map.span.clone(), new);
        };
        let blanks = &self.text[map.span.start + 1..first.span.start];
        let at = last.span.end;
        if blanks.contains('\n') && blanks.trim().is_empty() {
            let indent = blanks.rsplit('\n').next().unwrap_or_default();
            (at..at, format!(",{blanks}{key}: {}", self.json_value(value, indent)))
        } else {
            (at..at, format!(", {key}: {}", render::flow(value)))
        }
    }

    fn insert_lines(&self, map: &TreeNode, key: &str, value: &TreeNode) -> Replacement {
        let lines = |options: &[(TreeNode, TreeNode)]| -> String {
            let line = |(key, value): &(TreeNode, TreeNode)| {
                format!(
                    "{} = {}{}",
                    key.as_text().unwrap_or_default(),
                    value.as_text().unwrap_or_default(),
                    self.newline
                )
            };
            options.iter().map(line).collect()
        };
        if !std::ptr::eq(map, self.root) {
            let (at, missing_newline) = self.next_line(map.span.end);
            return Ok((at..at, format!("{missing_newline}{}", lines(&[(TreeNode::text(key), value.clone())]))));
        }
        // A new section comes last, after a blank line.
        let (at, missing_newline) = self.next_line(self.text.len());
        let is_first = self.text.trim_start_matches('\u{feff}').is_empty();
        let blank =
            if is_first || self.text.ends_with("\n\n") || self.text.ends_with("\n\r\n") { "" } else { self.newline };
        Ok((at..at, format!("{missing_newline}{blank}[{key}]{}{}", self.newline, lines(value.members()))))
    }

    fn remove(&self, pointer: &[usize]) -> Replacement {
        let (position, parent) = pointer.split_last().ok_or(MISSING)?;
        let map = self.root.at(parent).ok_or(MISSING)?;
        let members = map.members();
        let (key, value) = members.get(*position).ok_or(MISSING)?;
        if value.is_entangled() || map.anchor != 0 {
            return Err(ENTANGLED);
        }
        if map.style == Style::Flow {
            return Ok(match (members.get(position + 1), position.checked_sub(1).and_then(|at| members.get(at))) {
                (Some((next, _)), _) => (key.span.start..next.span.start, String::new()),
                (None, Some((_, previous))) => (previous.span.end..value.span.end, String::new()),
                (None, None) => (map.span.clone(), "{}".to_owned()),
            });
        }
        if members.len() == 1 && self.format == Format::Yaml {
            // A mapping without members has no block style.
            let before = self.text[..map.span.start].trim_end();
            let start = if before.ends_with(':') { before.len() } else { map.span.start };
            return Ok((start..map.span.end, if start == before.len() { " {}".into() } else { "{}".into() }));
        }
        let start_of_line = self.start_of_line(key.span.start);
        if !self.text[start_of_line..key.span.start].trim().is_empty() {
            // The first member of a list item shares its line with the dash.
            let next = members.get(position + 1).ok_or(EditRefusal::Unsupported("the only member of a list item"))?;
            return Ok((key.span.start..next.0.span.start, String::new()));
        }
        let end_of_line = self.end_of_line(value.span.end);
        let (end, _) = self.next_line(end_of_line);
        if end == self.text.len() && !self.text.ends_with('\n') {
            return Ok((self.text[..start_of_line].trim_end_matches(['\r', '\n']).len()..end, String::new()));
        }
        Ok((start_of_line..end, String::new()))
    }

    /// Writes a value in the style of a JSON file: with line breaks if the file has them.
    fn json_value(&self, value: &TreeNode, indent: &str) -> String {
        match self.unit() {
            Some(unit) => render::pretty(value, indent, unit, self.newline),
            None => render::flow(value),
        }
    }

    /// Returns the indentation of the first member of the root, if it is on a line of its own.
    fn unit(&self) -> Option<&str> {
        let first = self.root.members().first()?.0.span.start;
        let blanks = self.text.get(self.root.span.start + 1..first)?;
        (self.root.style == Style::Flow && blanks.trim().is_empty())
            .then(|| blanks.rsplit_once('\n'))?
            .map(|(_, unit)| unit)
    }

    fn start_of_line(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |line_feed| line_feed + 1)
    }

    /// Returns the end of a line, before its line break.
    fn end_of_line(&self, at: usize) -> usize {
        let rest = &self.text[at..];
        let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
        at + line.strip_suffix('\r').unwrap_or(line).len()
    }

    /// Returns the start of the next line, and the line break that is missing before it at the end of the file.
    fn next_line(&self, at: usize) -> (usize, &'static str) {
        match self.text[at..].find('\n') {
            Some(line_feed) => (at + line_feed + 1, ""),
            None if self.text.is_empty() || self.text.ends_with('\n') => (self.text.len(), ""),
            None => (self.text.len(), self.newline),
        }
    }

    /// Returns the column of a place, in characters.
    fn column(&self, at: usize) -> usize {
        self.text[self.start_of_line(at)..at].trim_start_matches('\u{feff}').chars().count()
    }

    /// Returns the white space at the start of a line.
    fn indent_at(&self, at: usize) -> &str {
        let line = &self.text[self.start_of_line(at)..];
        &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
    }
}

#[cfg(test)]
mod random;

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(format: Format, text: &str, change: TreeChange) -> String {
        let (new, splice) = apply(format, text, &change).unwrap_or_else(|refusal| panic!("{refusal:?}: {text}"));
        let mut back = new.clone();
        back.replace_range(splice.at..splice.at + splice.after.len(), &splice.before);
        assert_eq!(back, text, "the splice can be undone");
        new
    }

    fn value() -> TreeNode {
        TreeNode::map([("v", TreeNode::text("new")), ("l", TreeNode::list([TreeNode::text("x")]))])
    }

    #[test]
    fn yaml_is_replaced_in_its_own_style() {
        let block =
            "users:\n- name: x # c\n  user:\n    exec: # d\n      # e\n      v: o\n\n      # f\n      w: p # g\n# h\n";
        let at = || vec![0, 0, 1, 0];
        let expected =
            "users:\n- name: x # c\n  user:\n    exec: # d\n      # e\n      v: new\n      l:\n      - x # g\n# h\n";
        assert_eq!(edit(Format::Yaml, block, TreeChange::Replace(at(), value())), expected);
        let crlf = block.replace('\n', "\r\n");
        assert_eq!(edit(Format::Yaml, &crlf, TreeChange::Replace(at(), value())), expected.replace('\n', "\r\n"));
        let flow = "users: [{name: x, user: {exec: {v: o}}}] # c";
        let expected = "users: [{name: x, user: {exec: {\"v\": \"new\", \"l\": [\"x\"]}}}] # c";
        assert_eq!(edit(Format::Yaml, flow, TreeChange::Replace(at(), value())), expected);
    }

    #[test]
    fn yaml_members_are_added_and_removed() {
        let insert = |text: &str| edit(Format::Yaml, text, TreeChange::Insert(vec![0], "k".into(), value()));
        assert_eq!(insert("a:\n  b: c # d\ne: f\n"), "a:\n  b: c # d\n  k:\n    v: new\n    l:\n    - x\ne: f\n");
        assert_eq!(insert("a:\n  b: c"), "a:\n  b: c\n  k:\n    v: new\n    l:\n    - x");
        assert_eq!(insert("a: {}\n"), "a: {\"k\": {\"v\": \"new\", \"l\": [\"x\"]}}\n");
        assert_eq!(insert("a: # c\n"), "a: {\"k\": {\"v\": \"new\", \"l\": [\"x\"]}} # c\n");
        assert_eq!(insert("a: ~\n"), "a: {\"k\": {\"v\": \"new\", \"l\": [\"x\"]}}\n");
        let remove = |text: &str, pointer: &[usize]| edit(Format::Yaml, text, TreeChange::Remove(pointer.to_vec()));
        assert_eq!(remove("a:\n  b: c\n  k:\n    v: new\ne: f\n", &[0, 1]), "a:\n  b: c\ne: f\n");
        assert_eq!(remove("a:\n  b: c\n  k: v", &[0, 1]), "a:\n  b: c");
        assert_eq!(remove("a:\n  k:\n    v: n # c\nb: c\n", &[0, 0]), "a: {} # c\nb: c\n");
        assert_eq!(remove("a: {b: c, k: v}\n", &[0, 1]), "a: {b: c}\n");
        assert_eq!(remove("a: {k: v, b: c}\n", &[0, 0]), "a: {b: c}\n");
        assert_eq!(remove("- k: v\n  b: c\n", &[0, 0]), "- b: c\n");
    }

    #[test]
    fn json_keeps_its_indentation() {
        let insert =
            |text: &str, at: &[usize]| edit(Format::Json, text, TreeChange::Insert(at.to_vec(), "k".into(), value()));
        let tabs = "{\n\t\"a\": {\n\t\t\"b\": \"c\"\n\t}\n}\n";
        assert_eq!(
            insert(tabs, &[0]),
            "{\n\t\"a\": {\n\t\t\"b\": \"c\",\n\t\t\"k\": {\n\t\t\t\"v\": \"new\",\n\t\t\t\"l\": [\n\t\t\t\t\"x\"\n\t\t\t]\n\t\t}\n\t}\n}\n"
        );
        assert_eq!(insert("{\"a\":{}}", &[0]), "{\"a\":{\"k\": {\"v\": \"new\", \"l\": [\"x\"]}}}");
        assert_eq!(
            insert("{\n  \"a\": {}\n}", &[0]),
            "{\n  \"a\": {\n    \"k\": {\n      \"v\": \"new\",\n      \"l\": [\n        \"x\"\n      ]\n    }\n  }\n}"
        );
        assert!(insert("{}\n", &[]).starts_with("{\n\t\"k\": {\n\t\t\"v\""));
        let remove = |text: &str, at: &[usize]| edit(Format::Json, text, TreeChange::Remove(at.to_vec()));
        assert_eq!(remove("{\n\t\"a\": 1,\n\t\"b\": 2\n}", &[1]), "{\n\t\"a\": 1\n}");
        assert_eq!(remove("{\n\t\"a\": 1,\n\t\"b\": 2\n}", &[0]), "{\n\t\"b\": 2\n}");
        assert_eq!(remove("{ \"a\": 1 }", &[0]), "{}");
    }

    #[test]
    fn ini_options_are_added_at_the_end_of_their_section() {
        let option = || TreeChange::Insert(vec![0], "k".into(), TreeNode::text("v"));
        assert_eq!(edit(Format::Ini, "[a] # c\nb=c\n\n[d]\n", option()), "[a] # c\nb=c\nk = v\n\n[d]\n");
        assert_eq!(edit(Format::Ini, "[a]", option()), "[a]\nk = v\n");
        let section = || TreeChange::Insert(vec![], "profile k".into(), TreeNode::map([("v", TreeNode::text("new"))]));
        assert_eq!(edit(Format::Ini, "[a]\nb=c", section()), "[a]\nb=c\n\n[profile k]\nv = new\n");
        assert_eq!(edit(Format::Ini, "", section()), "[profile k]\nv = new\n");
        assert_eq!(
            edit(Format::Ini, "[a]\nb=c\nk=v\n", TreeChange::Replace(vec![0, 1], TreeNode::text("w"))),
            "[a]\nb=c\nk=w\n"
        );
        assert_eq!(edit(Format::Ini, "[a]\nb=c\nk=v\n", TreeChange::Remove(vec![0, 0])), "[a]\nk=v\n");
    }

    #[test]
    fn entangled_and_unprovable_changes_are_refused() {
        for (text, pointer) in [
            ("a: &x {b: c}\n", vec![0]),
            ("a: *x\n", vec![0]),
            ("a: {b: &x c}\n", vec![0]),
            ("a: !t {b: c}\n", vec![0]),
            ("a: |\n  b\n  c\n", vec![0]),
        ] {
            let text = format!("x: &x {{}}\n{text}");
            let pointer = vec![pointer[0] + 1];
            assert!(apply(Format::Yaml, &text, &TreeChange::Replace(pointer, value())).is_err(), "{text}");
        }
        let keep = "a:\n  b: |+\n    c\n\n\nd: e\n";
        assert!(matches!(
            apply(Format::Yaml, keep, &TreeChange::Insert(vec![0], "k".into(), TreeNode::text("v"))),
            Err(EditRefusal::Unproven)
        ));
        assert!(apply(Format::Json, "{\"a\": 1,}", &TreeChange::Remove(vec![0])).is_err());
    }
}
