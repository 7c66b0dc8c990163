//! Parses INI files as Python's configparser does, which the AWS CLI and pip use: a map of sections, each a map of options.

use std::ops::Range;

use crate::edit::tree::{NodeValue, Style, TreeNode};
use crate::edit::yaml::SyntaxError;

/// Parses a whole file. A name in brackets starts a section. An indented line continues the option above.
///
/// # Errors
/// The first line that is not an option.
pub fn parse(text: &str) -> Result<TreeNode, SyntaxError> {
    let mut sections: Vec<(TreeNode, TreeNode)> = Vec::new();
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut at = text.len() - body.len();
    // True after a header or an option: an indented line then continues the option.
    let mut has_option = false;
    for (number, line) in body.split_inclusive('\n').enumerate() {
        let start = at;
        at += line.len();
        let error_here = |why: &str| SyntaxError { line: number + 1, why: why.to_owned() };
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let place = start + line.len() - line.trim_start().len();
        let span = place..place + trimmed.len();
        if line.starts_with([' ', '\t']) && has_option {
            if let Some((_, section)) = sections.last_mut()
                && let NodeValue::Map(options) = &mut section.value
                && let Some((_, option)) = options.last_mut()
            {
                extend(option, trimmed, &span);
                section.span.end = span.end;
            }
            continue;
        }
        if let Some(rest) = trimmed.strip_prefix('[') {
            let name = rest.split_once(']').map(|(name, _)| name).ok_or_else(|| error_here("a section has no end"))?;
            let key = node(NodeValue::Text(name.to_owned()), span.start..span.start + name.len() + 2, Style::Scalar);
            sections.push((key, node(NodeValue::Map(Vec::new()), span.end..span.end, Style::Block)));
            has_option = false;
            continue;
        }
        let Some((_, section)) = sections.last_mut() else {
            return Err(error_here("an option before the first section"));
        };
        let delimiter = trimmed.find(['=', ':']).ok_or_else(|| error_here("not an option: NAME = VALUE"))?;
        let name = trimmed[..delimiter].trim_end();
        let value = trimmed[delimiter + 1..].trim_start();
        let key = node(NodeValue::Text(name.to_lowercase()), span.start..span.start + name.len(), Style::Scalar);
        let value = node(NodeValue::Text(value.to_owned()), span.end - value.len()..span.end, Style::Scalar);
        if let NodeValue::Map(options) = &mut section.value {
            options.push((key, value));
        }
        section.span.end = span.end;
        has_option = true;
    }
    let end = sections.last().map_or(text.len(), |(_, section)| section.span.end);
    Ok(node(NodeValue::Map(sections), 0..end, Style::Block))
}

fn node(value: NodeValue, span: Range<usize>, style: Style) -> TreeNode {
    TreeNode { span, value, style, anchor: 0, has_tag: false }
}

fn extend(option: &mut TreeNode, line: &str, span: &Range<usize>) {
    if let NodeValue::Text(text) = &mut option.value {
        text.push('\n');
        text.push_str(line);
    }
    option.span.end = span.end;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_options_have_their_places() {
        let text = "# c\n[default] # x\nregion=ru\n; c\n[profile 'a b']\n s3 =\n   max = 1\n\n   # c\n   min = 2\nKey : v ; no comment\n[empty]";
        let root = parse(text).expect("valid");
        let options = |section: &str| -> Vec<(String, &str)> {
            let options = root.member(section).map(TreeNode::members).unwrap_or_default();
            let of = |(key, value): &(TreeNode, TreeNode)| {
                (format!("{} {:?}", key.as_text().unwrap_or("?"), value.as_text()), &text[value.span.clone()])
            };
            options.iter().map(of).collect()
        };
        assert_eq!(options("default"), [("region Some(\"ru\")".to_owned(), "ru")]);
        assert_eq!(options("profile 'a b'").len(), 2);
        assert_eq!(options("profile 'a b'")[0].0, "s3 Some(\"\\nmax = 1\\nmin = 2\")");
        assert_eq!(options("profile 'a b'")[1], ("key Some(\"v ; no comment\")".to_owned(), "v ; no comment"));
        assert_eq!(root.member("empty"), Some(&TreeNode::map::<String>([])));
        for (text, line) in [("a=1\n", 1), ("[a]\nb\n", 2), ("[a\n", 1)] {
            assert_eq!(parse(text).expect_err(text).line, line);
        }
        assert_eq!(parse("").expect("empty"), TreeNode::map::<String>([]));
    }
}
