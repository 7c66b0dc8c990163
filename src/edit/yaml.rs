//! Parses the first document of a YAML file into a tree with byte offsets.
//!
//! Only the first document counts, as for the programs that read these files.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::edit::tree::{NodeValue, Style, TreeNode};

/// A syntax error.
#[derive(Debug)]
pub struct SyntaxError {
    /// Counted from 1.
    pub line: usize,
    /// The reason. It quotes nothing from the file, which may contain secrets.
    pub why: String,
}

/// The maximum nesting depth. Real configuration files stay far below it.
pub const MAX_DEPTH: usize = 64;

/// Parses the first document. An empty one is null.
///
/// # Errors
/// The first syntax error.
pub fn parse(text: &str) -> Result<TreeNode, SyntaxError> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Tree { text, offsets: Offsets::of(text, text.len() - body.len()), open: Vec::new() };
    for event in Parser::new_from_str(body) {
        let (event, span) = event.map_err(|error| SyntaxError {
            line: error.marker().line(),
            why: format!("not valid YAML: {}", error.info()),
        })?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        if let Some(root) = parser.add(event, span)? {
            return Ok(root);
        }
    }
    Ok(TreeNode { span: text.len()..text.len(), ..TreeNode::null() })
}

/// The byte offset of each character. The parser counts characters.
enum Offsets {
    Ascii(usize),
    Table(Vec<usize>),
}

impl Offsets {
    fn of(text: &str, start: usize) -> Self {
        let body = &text[start..];
        if body.is_ascii() {
            return Self::Ascii(start);
        }
        Self::Table(body.char_indices().map(|(at, _)| start + at).chain([text.len()]).collect())
    }

    fn byte(&self, index: usize) -> usize {
        match self {
            Self::Ascii(start) => start + index,
            Self::Table(table) => table.get(index).or(table.last()).copied().unwrap_or_default(),
        }
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        self.byte(span.start.index())..self.byte(span.end.index())
    }
}

/// The collections that have not ended yet, outermost first, each with the key that waits for its value.
struct Tree<'a> {
    text: &'a str,
    offsets: Offsets,
    open: Vec<(TreeNode, Option<TreeNode>)>,
}

impl Tree<'_> {
    /// Adds an event. Returns the root when it is complete.
    fn add(&mut self, event: Event<'_>, span: Span) -> Result<Option<TreeNode>, SyntaxError> {
        let error_here = |why: &str| SyntaxError { line: span.start.line(), why: why.to_owned() };
        let bytes = self.offsets.bytes(span);
        let node = match event {
            Event::MappingStart(..) | Event::SequenceStart(..) if self.open.len() >= MAX_DEPTH => {
                return Err(error_here("nested too deeply"));
            }
            Event::MappingStart(anchor, ref tag) | Event::SequenceStart(anchor, ref tag) => {
                let is_map = matches!(event, Event::MappingStart(..));
                let value = if is_map { NodeValue::Map(Vec::new()) } else { NodeValue::List(Vec::new()) };
                self.open
                    .push((TreeNode { span: bytes, value, style: Style::Block, anchor, has_tag: tag.is_some() }, None));
                return Ok(None);
            }
            Event::MappingEnd | Event::SequenceEnd => {
                let Some((node, _)) = self.open.pop() else { return Err(error_here("unexpected end")) };
                with_end(self.text, node, &bytes)
            }
            Event::Scalar(content, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                let value = if is_plain { plain_value(&content) } else { NodeValue::Text(content.into_owned()) };
                let span = self.scalar_span(bytes, style).ok_or_else(|| error_here("unsupported string"))?;
                TreeNode { span, value, style: Style::Scalar, anchor, has_tag: tag.is_some() }
            }
            Event::Alias(id) => {
                TreeNode { span: bytes, value: NodeValue::Alias(id), style: Style::Scalar, anchor: 0, has_tag: false }
            }
            _ => return Ok(None),
        };
        let Some((parent, key)) = self.open.last_mut() else { return Ok(Some(node)) };
        match (&mut parent.value, key.take()) {
            (NodeValue::List(items), _) => items.push(node),
            (NodeValue::Map(members), Some(name)) => {
                let node = if node.span.is_empty() { after_colon(self.text, &name, node) } else { node };
                members.push((name, node));
            }
            (NodeValue::Map(_), None) => *key = Some(node),
            _ => return Err(error_here("unexpected value inside a scalar")),
        }
        Ok(None)
    }

    /// Returns the span of a scalar. The parser's own may include white space, and after a quoted string also a comment.
    fn scalar_span(&self, span: Range<usize>, style: ScalarStyle) -> Option<Range<usize>> {
        let content = self.text.get(span.clone())?;
        let length = match style {
            ScalarStyle::SingleQuoted => quoted_length(content, '\'')?,
            ScalarStyle::DoubleQuoted => quoted_length(content, '"')?,
            _ => content.trim_end().len(),
        };
        Some(span.start..span.start + length)
    }
}

/// Returns the length of the quoted string at the start of `content`, quotes included.
fn quoted_length(content: &str, quote: char) -> Option<usize> {
    let mut chars = content.char_indices();
    if chars.next()?.1 != quote {
        return None;
    }
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote == '"' => drop(chars.next()),
            // A doubled single quote stands for one.
            '\'' if quote == '\'' && content[at + 1..].starts_with('\'') => drop(chars.next()),
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Completes a collection. The parser reports the end of a block only where the next token starts, after comments and
/// blank lines, so a block ends with its last value. Only a flow collection has a bracket at its end.
fn with_end(text: &str, node: TreeNode, end: &Range<usize>) -> TreeNode {
    let (first, last) = match &node.value {
        NodeValue::Map(members) => (members.first().map(|(key, _)| key), members.last().map(|(_, value)| value)),
        NodeValue::List(items) => (items.first(), items.last()),
        _ => (None, None),
    };
    let (style, span) = match (end.is_empty(), first, last) {
        (false, ..) => (Style::Flow, node.span.start..after_bracket(text, end.start)),
        (true, Some(first), Some(last)) => (Style::Block, first.span.start..last.span.end),
        (true, ..) => (Style::Block, node.span.clone()),
    };
    TreeNode { style, span, ..node }
}

/// Returns the end of the bracket that the parser reports here. After a trailing comma, it reports the comma.
fn after_bracket(text: &str, mut at: usize) -> usize {
    while let Some(c) = text[at..].chars().next() {
        match c {
            '#' => at += text[at..].find('\n').unwrap_or(text.len() - at),
            '}' | ']' => return at + 1,
            c => at += c.len_utf8(),
        }
    }
    at
}

/// Moves an empty value behind the colon. The parser places it before.
fn after_colon(text: &str, key: &TreeNode, node: TreeNode) -> TreeNode {
    let after_key = &text[key.span.end..];
    let blanks = after_key.len() - after_key.trim_start().len();
    if !after_key[blanks..].starts_with(':') {
        return node;
    }
    let place = key.span.end + blanks + 1;
    TreeNode { span: place..place, ..node }
}

/// Returns the value of a plain scalar: null, a string, or what some reader takes for a number, a Boolean or a date.
fn plain_value(text: &str) -> NodeValue {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => NodeValue::Null,
        text if is_special(text) => NodeValue::Other(text.to_owned()),
        text => NodeValue::Text(text.to_owned()),
    }
}

/// Returns true if a reader of YAML 1.1 or 1.2 might not take the plain scalar for a string.
pub fn is_special(text: &str) -> bool {
    const WORDS: [&str; 14] = ["", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "=", "<<", ".nan"];
    let digits = text.trim_start_matches(['+', '-']);
    let is_number =
        digits.len() + 1 >= text.len() && digits.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit());
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word)) || is_number || digits.eq_ignore_ascii_case(".inf")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(text: &str, node: &TreeNode, path: &str, out: &mut Vec<String>) {
        match &node.value {
            NodeValue::Map(members) => members.iter().for_each(|(key, value)| {
                spans(text, value, &format!("{path}/{}", key.as_scalar().unwrap_or("?")), out);
            }),
            NodeValue::List(items) => items.iter().enumerate().for_each(|(at, item)| {
                spans(text, item, &format!("{path}/{at}"), out);
            }),
            _ => out.push(format!("{path} {:?}", &text[node.span.clone()])),
        }
    }

    #[test]
    fn every_value_has_its_place_without_comments() {
        let text = "\u{feff}# жук\nusers:\n- name: жук # y\n  user:\n    exec: # z\n      # first\n      args:\n      - a\n      \
                    - \"b # \\\" c\" # end\n      - 'it''s' # end\n      env:\n      # after\n- {c: [1,\t2, ], d: , # }\n  } # t\n- |\n  abc\n  # text\n\n# c\nlast: x \t# no\n---\na: b\n";
        let root = parse(text).expect("valid");
        let mut all = Vec::new();
        spans(text, &root, "", &mut all);
        let expected = [
            "/users/0/name \"жук\"",
            "/users/0/user/exec/args/0 \"a\"",
            "/users/0/user/exec/args/1 \"\\\"b # \\\\\\\" c\\\"\"",
            "/users/0/user/exec/args/2 \"'it''s'\"",
            "/users/0/user/exec/env \"\"",
            "/users/1/c/0 \"1\"",
            "/users/1/c/1 \"2\"",
            "/users/1/d \"\"",
            "/users/2 \"abc\\n  # text\"",
            "/last \"x\"",
        ];
        assert_eq!(all, expected);
        let user = root.at(&[0, 0]).expect("the first user");
        let exec = user.member("user").and_then(|user| user.member("exec")).expect("exec");
        assert!(text[exec.span.clone()].starts_with("args:") && text[exec.span.clone()].ends_with("env:"), "{exec:?}");
        let flow = root.at(&[0, 1]).expect("the second user");
        assert_eq!((&text[flow.span.clone()], flow.style), ("{c: [1,\t2, ], d: , # }\n  }", Style::Flow));
    }

    #[test]
    fn plain_scalars_are_strings_only_if_every_reader_agrees() {
        let root =
            parse("a: yes\nb: 1_0\nc: --x\nd: -1\ne: .5\nf: ~\ng: 'yes'\nh: !!str 1\ni: v1\nj: 0x1f\nk: 2001-01-01\n")
                .expect("valid");
        let kinds: String = root
            .members()
            .iter()
            .map(|(_, value)| match value.value {
                NodeValue::Null => 'n',
                NodeValue::Text(_) => 't',
                _ => 'o',
            })
            .collect();
        assert_eq!(kinds, "ootoonttto".replace("ttto", "ttt") + "oo");
    }

    #[test]
    fn anchors_tags_and_syntax_errors_are_reported() {
        let root = parse("a: &x {b: c}\nd: *x\ne: !t f\ng: {<<: *x}\nh: [i]\n").expect("valid");
        let entangled: Vec<bool> = root.members().iter().map(|(_, value)| value.is_entangled()).collect();
        assert_eq!(entangled, [true, true, true, true, false]);
        assert_eq!(parse("a: 1\nb: [1\nc: 2\n").expect_err("broken").line, 3);
        assert!(parse(&"[".repeat(200)).is_err());
        assert_eq!(parse("# nothing\n").expect("empty"), TreeNode::null());
    }
}
