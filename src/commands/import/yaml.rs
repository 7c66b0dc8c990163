//! The little of YAML that other programs' configuration files are: a tree of mappings, lists and texts, each with the
//! line that it stands on.
//!
//! Nothing is resolved: a scalar is its text (`true`, `~` and `0x1` too), a tag says nothing, and an alias is refused, so
//! that a tree is never larger than its file.

use std::collections::HashSet;

use saphyr_parser::{Event, Parser, ScalarStyle};
use zeroize::Zeroizing;

/// A value and its line, from 1.
pub struct Node {
    pub line: usize,
    pub value: Value,
}

/// A scalar as its text, or what holds more of them.
pub enum Value {
    /// Wiped when it goes: such files hold keys.
    Text(Zeroizing<String>),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// What is wrong, in words that quote nothing of the file, and the line.
#[derive(Debug)]
pub struct Wrong {
    pub line: usize,
    pub why: String,
}

/// Deeper than any configuration goes.
const DEEPEST: usize = 32;

impl Node {
    /// Reads the first document of a file. None: it is empty.
    ///
    /// # Errors
    /// What is wrong, and on which line.
    pub fn read(text: &str) -> Result<Option<Self>, Wrong> {
        // What is being filled, outermost first, with the key that waits for its value.
        let mut open: Vec<(Self, Option<String>)> = Vec::new();
        for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
            let (event, span) = event.map_err(|error| Wrong {
                line: error.marker().line(),
                why: format!("is not YAML: {}", error.info()),
            })?;
            let line = span.start.line();
            let wrong = |why: &str| Wrong { line, why: why.to_owned() };
            let done = match event {
                Event::MappingStart(..) | Event::SequenceStart(..) if open.len() >= DEEPEST => {
                    return Err(wrong("is nested too deeply"));
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
                    if let Some(line) = node.as_ref().and_then(Self::repeated) {
                        return Err(Wrong { line, why: "has the same key twice".to_owned() });
                    }
                    node
                }
                Event::Scalar(text, style, ..) => {
                    let is_null = style == ScalarStyle::Plain && matches!(&*text, "~" | "null");
                    let text = if is_null { String::new() } else { text.into_owned() };
                    Some(Self { line, value: Value::Text(Zeroizing::new(text)) })
                }
                Event::Alias(_) => return Err(wrong("has an alias (*name), which is not followed")),
                Event::DocumentEnd => return Ok(None),
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => continue,
            };
            let Some(node) = done else { return Err(wrong("ends what never began")) };
            match open.last_mut() {
                None => return Ok(Some(node)),
                Some((Self { value: Value::List(items), .. }, _)) => items.push(node),
                Some((Self { value: Value::Map(members), .. }, key)) => match key.take() {
                    Some(name) => members.push((name, node)),
                    None => {
                        let Value::Text(name) = &node.value else { return Err(wrong("has a key that is no text")) };
                        *key = Some(name.to_string());
                    }
                },
                Some((Self { value: Value::Text(_), .. }, _)) => return Err(wrong("has a text with something inside")),
            }
        }
        Ok(None)
    }

    /// The line of a member whose name another one has already.
    fn repeated(&self) -> Option<usize> {
        let mut seen = HashSet::new();
        self.members()?.iter().find(|(name, _)| !seen.insert(name.as_str())).map(|(_, node)| node.line)
    }

    /// The text, without blanks around it; none where it is empty or null, or no text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The members of a mapping; none where it is no mapping.
    pub fn members(&self) -> Option<&[(String, Self)]> {
        match &self.value {
            Value::Map(members) => Some(members),
            Value::Text(_) | Value::List(_) => None,
        }
    }

    /// A member of a mapping.
    pub fn member(&self, name: &str) -> Option<&Self> {
        self.members()?.iter().find(|(key, _)| key == name).map(|(_, node)| node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Node {
        Node::read(text).unwrap_or_else(|wrong| panic!("{}: {}", wrong.line, wrong.why)).expect("not empty")
    }

    #[test]
    fn mappings_lists_and_texts_are_read_with_their_lines() {
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
    fn what_is_no_yaml_or_more_than_a_tree_is_refused_with_its_line() {
        let (deep, bottomless) = (format!("a: {}", "[".repeat(40)), "[".repeat(100_000));
        for (text, line, why) in [
            ("a: 1\nb: [1\nc: 2\n", 3, ""),
            ("a: 1\n\tb: 2\n", 2, ""),
            ("a: \"open\n", 2, ""),
            ("a: &x [1, 2]\nb: *x\n", 2, "alias"),
            ("a: 1\nb: 2\na: 3\n", 3, "twice"),
            ("[1]: 2\n", 1, "no text"),
            (&deep, 1, "nested too deeply"),
            (&bottomless, 1, "recursion limit"),
        ] {
            let wrong = Node::read(text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(wrong.line.abs_diff(line) <= 1 && wrong.why.contains(why), "{}: {}", wrong.line, wrong.why);
        }
    }
}
