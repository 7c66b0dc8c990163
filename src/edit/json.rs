//! Parses JSON into a tree with byte offsets, as strictly as RFC 8259: no comments, no trailing comma, no byte order mark.
//!
//! A scanner of its own, because the tree must have the places of all values, keep repeated names and share its type with
//! YAML. `serde_json` gives no places, and the editors for JSON accept comments, which docker rejects.

use crate::edit::tree::{NodeValue, Style, TreeNode};
use crate::edit::yaml::{MAX_DEPTH, SyntaxError};

/// Parses a whole file.
///
/// # Errors
/// The first syntax error.
pub fn parse(text: &str) -> Result<TreeNode, SyntaxError> {
    let mut scanner = Scanner { text, at: 0 };
    let root = scanner.value(0)?;
    scanner.skip_blanks();
    match scanner.peek() {
        None => Ok(root),
        Some(_) => Err(scanner.error("unexpected content after the end")),
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl Scanner<'_> {
    fn error(&self, why: &str) -> SyntaxError {
        let line =
            self.text.as_bytes()[..self.at.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1;
        SyntaxError { line, why: format!("not valid JSON: {why}") }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn accept(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, depth: usize) -> Result<TreeNode, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        self.skip_blanks();
        let start = self.at;
        let (value, style) = match self.peek() {
            Some(b'{') => (self.map(depth)?, Style::Flow),
            Some(b'[') => (self.list(depth)?, Style::Flow),
            Some(b'"') => (NodeValue::Text(self.string()?), Style::Scalar),
            Some(b'/' | b'#') => return Err(self.error("comments are not allowed")),
            Some(_) => (self.word()?, Style::Scalar),
            None => return Err(self.error("the file ends too early")),
        };
        Ok(TreeNode { span: start..self.at, value, style, anchor: 0, has_tag: false })
    }

    fn map(&mut self, depth: usize) -> Result<NodeValue, SyntaxError> {
        let mut members = Vec::new();
        self.at += 1;
        if self.accept(b'}') {
            return Ok(NodeValue::Map(members));
        }
        loop {
            self.skip_blanks();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.error("expected a name in double quotes"));
            }
            let name = NodeValue::Text(self.string()?);
            let key = TreeNode { span: start..self.at, value: name, style: Style::Scalar, anchor: 0, has_tag: false };
            if !self.accept(b':') {
                return Err(self.error("expected a colon"));
            }
            members.push((key, self.value(depth + 1)?));
            if self.accept(b'}') {
                return Ok(NodeValue::Map(members));
            }
            if !self.accept(b',') {
                return Err(self.error("expected a comma or a closing brace"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<NodeValue, SyntaxError> {
        let mut items = Vec::new();
        self.at += 1;
        if self.accept(b']') {
            return Ok(NodeValue::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.accept(b']') {
                return Ok(NodeValue::List(items));
            }
            if !self.accept(b',') {
                return Err(self.error("expected a comma or a closing bracket"));
            }
        }
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(0..=0x1f) | None => return Err(self.error("a string has no end")),
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        // serde_json resolves the escapes and checks them.
        let literal = self.text.get(start..self.at).unwrap_or_default();
        serde_json::from_str(literal).map_err(|_| self.error("a string has an invalid escape"))
    }

    fn word(&mut self) -> Result<NodeValue, SyntaxError> {
        let rest = &self.text[self.at..];
        let word = &rest[..rest.find([',', ']', '}', ' ', '\t', '\n', '\r', ':', '"', '{', '[']).unwrap_or(rest.len())];
        let value = match word {
            "null" => NodeValue::Null,
            word if serde_json::from_str::<serde_json::Value>(word).is_ok() => NodeValue::Other(word.to_owned()),
            _ => return Err(self.error("unexpected characters")),
        };
        self.at += word.len();
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_exactly_what_serde_json_accepts() {
        let texts = [
            "{}",
            "[]",
            "null",
            "1",
            "-1.5e3",
            "\"a\\u0041\\n\"",
            "{\"a\":1,\"a\":2}",
            " {\"a\" : [1, {}, \"x\"] } \r\n",
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "{'a':1}",
            "01",
            "1.",
            "tru",
            "nul",
            "\"\\x\"",
            "\"\t\"",
            "{}{}",
            "{\"a\":1 // c\n}",
            "/* c */ {}",
            "\u{feff}{}",
            "[1 2]",
            "{\"a\" 1}",
            "\"\\ud800\"",
            "{\"a\":}",
            "[,1]",
            "\u{a0}{}",
            "\"abc",
            "\"\\",
        ];
        for text in texts {
            let reference: Result<serde_json::Value, _> = serde_json::from_str(text);
            assert_eq!(parse(text).is_ok(), reference.is_ok(), "{text:?}");
        }
    }

    #[test]
    fn every_value_has_its_place() {
        let text = "{\n\t\"жук\": [1, \"x\"],\n\t\"b\": {}\n}\n";
        let root = parse(text).expect("valid");
        let place = |pointer: &[usize]| &text[root.at(pointer).expect("there").span.clone()];
        assert_eq!([place(&[0]), place(&[0, 1]), place(&[1])], ["[1, \"x\"]", "\"x\"", "{}"]);
        assert_eq!(&text[root.members()[0].0.span.clone()], "\"жук\"");
        assert_eq!(parse("{\n\"a\": 1,\n}").expect_err("comma").line, 3);
        assert!(
            parse("{} // x").is_err() && parse("{\"a\": /* */ 1}").expect_err("a comment").why.contains("comments")
        );
        assert!(parse(&"[".repeat(100)).expect_err("deep").why.contains("deeply"));
    }
}
