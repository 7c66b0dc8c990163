//! Parses the subset of YAML that other programs' configuration files use: a tree of mappings, lists and strings. Each
//! node has its line number.
//!
//! Scalars are not resolved: `true` and `0x1` are strings, and a null is an empty string. Tags are ignored. Aliases are
//! an error, so a tree is never larger than its file.

use std::collections::HashSet;

use saphyr_parser::{Event, Parser, ScalarStyle};
use zeroize::Zeroizing;

/// A value and its line number, counted from 1.
pub struct Node {
    pub line: usize,
    pub value: Value,
}

/// The value of a node.
pub enum Value {
    /// A scalar. It is zeroed when dropped, because it may be a key.
    Text(Zeroizing<String>),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// A syntax error.
#[derive(Debug)]
pub struct YamlError {
    pub line: usize,
    /// The reason. It quotes nothing from the file, which may contain secrets.
    pub why: String,
}

/// The maximum nesting depth. Real configuration files stay far below it.
const MAX_DEPTH: usize = 32;

impl Node {
    /// Parses the first document of a file. Returns `None` if it is empty.
    ///
    /// # Errors
    /// The first syntax error.
    pub fn read(text: &str) -> Result<Option<Self>, YamlError> {
        // The mappings and lists that have not ended yet, outermost first, each with the key that waits for its value.
        let mut open: Vec<(Self, Option<String>)> = Vec::new();
        for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
            let (event, span) = event.map_err(|error| YamlError {
                line: error.marker().line(),
                why: format!("not valid YAML: {}", error.info()),
            })?;
            let line = span.start.line();
            let error_here = |why: &str| YamlError { line, why: why.to_owned() };
            let complete = match event {
                Event::MappingStart(..) | Event::SequenceStart(..) if open.len() >= MAX_DEPTH => {
                    return Err(error_here("nested too deeply"));
                }
                Event::MappingStart(..) => {
                    open.push((Self { line, value: Value::Map(Vec::new()) }, None));
                    continue;
                }
                Event::SequenceStart(..) => {
                    open.push((Self { line, value: Value::List(Vec::new()) }, None));
                    continue;
                }
                Event::MappingEnd | Event::SequenceEnd => {
                    let node = open.pop().map(|(node, _)| node);
                    if let Some(line) = node.as_ref().and_then(Self::line_of_duplicate_key) {
                        return Err(YamlError { line, why: "duplicate key".to_owned() });
                    }
                    node
                }
                Event::Scalar(text, style, ..) => {
                    let is_null = style == ScalarStyle::Plain && matches!(&*text, "~" | "null");
                    let text = if is_null { String::new() } else { text.into_owned() };
                    Some(Self { line, value: Value::Text(Zeroizing::new(text)) })
                }
                Event::Alias(_) => return Err(error_here("aliases (*name) are not supported")),
                Event::DocumentEnd => return Ok(None),
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => continue,
            };
            let Some(node) = complete else { return Err(error_here("unexpected end of a mapping or list")) };
            match open.last_mut() {
                None => return Ok(Some(node)),
                Some((Self { value: Value::List(items), .. }, _)) => items.push(node),
                Some((Self { value: Value::Map(members), .. }, key)) => match key.take() {
                    Some(name) => members.push((name, node)),
                    None => {
                        let Value::Text(name) = &node.value else { return Err(error_here("key is not a string")) };
                        *key = Some(name.to_string());
                    }
                },
                Some((Self { value: Value::Text(_), .. }, _)) => {
                    return Err(error_here("unexpected value inside a string"));
                }
            }
        }
        Ok(None)
    }

    /// Returns the line of the first member whose name occurs twice.
    fn line_of_duplicate_key(&self) -> Option<usize> {
        let mut seen = HashSet::new();
        self.members()?.iter().find(|(name, _)| !seen.insert(name.as_str())).map(|(_, node)| node.line)
    }

    /// Returns the string without surrounding whitespace. Returns `None` if it is empty or null, or not a string.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Returns the members of a mapping, or `None` if the node is not a mapping.
    pub fn members(&self) -> Option<&[(String, Self)]> {
        match &self.value {
            Value::Map(members) => Some(members),
            Value::Text(_) | Value::List(_) => None,
        }
    }

    /// Returns the member of this name, if the node is a mapping.
    pub fn member(&self, name: &str) -> Option<&Self> {
        self.members()?.iter().find(|(key, _)| key == name).map(|(_, node)| node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Node {
        Node::read(text).unwrap_or_else(|error| panic!("{}: {}", error.line, error.why)).expect("not empty")
    }

    #[test]
    fn mappings_lists_and_strings_have_their_lines() {
        let node = read(
            "# yc's own\ncurrent: prod\nprofiles:\n  prod:\n    token: \"y0_x\"\n    key: |\n      one\n      two\n  'two words': {}\nlist: [a, ~]\n",
        );
        assert_eq!(node.member("current").and_then(Node::text), Some("prod"));
        let prod = node.member("profiles").and_then(|profiles| profiles.member("prod")).expect("prod");
        assert_eq!(prod.member("token").map(|token| (token.line, token.text())), Some((5, Some("y0_x"))));
        assert_eq!(prod.member("key").and_then(Node::text), Some("one\ntwo"));
        let names: Vec<&str> = node
            .member("profiles")
            .and_then(Node::members)
            .expect("two")
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["prod", "two words"]);
        assert!(matches!(&node.member("list").expect("a list").value, Value::List(items) if items[1].text().is_none()));
        assert!(matches!(Node::read(""), Ok(None)) && matches!(Node::read("# nothing\n"), Ok(None)));
    }

    #[test]
    fn a_syntax_error_has_its_line() {
        let (deep, bottomless) = (format!("a: {}", "[".repeat(40)), "[".repeat(100_000));
        for (text, line, why) in [
            ("a: 1\nb: [1\nc: 2\n", 3, ""),
            ("a: 1\n\tb: 2\n", 2, ""),
            ("a: \"open\n", 2, ""),
            ("a: &x [1, 2]\nb: *x\n", 2, "alias"),
            ("a: 1\nb: 2\na: 3\n", 3, "duplicate"),
            ("[1]: 2\n", 1, "not a string"),
            (&deep, 1, "nested too deeply"),
            (&bottomless, 1, "recursion limit"),
        ] {
            let error = Node::read(text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(error.line.abs_diff(line) <= 1 && error.why.contains(why), "{}: {}", error.line, error.why);
        }
    }
}
