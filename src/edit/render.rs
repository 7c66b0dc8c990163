//! Writes values as text, in the style of the file around them.

use crate::edit::tree::{NodeValue, TreeNode};
use crate::edit::yaml::is_special;

/// Writes a value on one line, with brackets. The result is JSON if the value has only JSON's scalars, and always YAML.
pub fn flow(node: &TreeNode) -> String {
    match &node.value {
        NodeValue::Null => "null".into(),
        NodeValue::Text(text) => quote(text),
        NodeValue::Other(text) => text.clone(),
        // A node with an alias, anchor or tag (`is_entangled`) is never written.
        NodeValue::Alias(_) => String::new(),
        NodeValue::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        NodeValue::Map(members) => {
            let members = members.iter().map(|(key, value)| format!("{}: {}", flow(key), flow(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Writes a value with one member per line, as programs write JSON for people. `indent` is that of the line with the
/// opening bracket.
pub fn pretty(node: &TreeNode, indent: &str, unit: &str, newline: &str) -> String {
    let deeper = format!("{indent}{unit}");
    let lines: Vec<String> = match &node.value {
        NodeValue::Map(members) if !members.is_empty() => {
            let member = |(key, value): &(TreeNode, TreeNode)| {
                format!("{}: {}", flow(key), pretty(value, &deeper, unit, newline))
            };
            members.iter().map(member).collect()
        }
        NodeValue::List(items) if !items.is_empty() => {
            items.iter().map(|item| pretty(item, &deeper, unit, newline)).collect()
        }
        _ => return flow(node),
    };
    let (open, close) = if matches!(node.value, NodeValue::Map(_)) { ('{', '}') } else { ('[', ']') };
    let separator = format!(",{newline}{deeper}");
    format!("{open}{newline}{deeper}{}{newline}{indent}{close}", lines.join(&separator))
}

/// Writes a value in YAML's block style, as kubectl does. The first line has no indentation.
///
/// Returns `None` for a value that has no block form: a scalar or an empty collection.
pub fn block(node: &TreeNode, indent: usize, newline: &str) -> Option<String> {
    let start_of_line = format!("{newline}{}", " ".repeat(indent));
    let lines: Vec<String> = match &node.value {
        NodeValue::Map(members) if !members.is_empty() => members
            .iter()
            .map(|(key, value)| {
                // kubectl does not indent the items of a list.
                let deeper = if matches!(value.value, NodeValue::List(_)) { indent } else { indent + 2 };
                match block(value, deeper, newline) {
                    Some(block) => format!("{}:{newline}{}{block}", scalar(key), " ".repeat(deeper)),
                    None => format!("{}: {}", scalar(key), scalar(value)),
                }
            })
            .collect(),
        NodeValue::List(items) if !items.is_empty() => items
            .iter()
            .map(|item| format!("- {}", block(item, indent + 2, newline).unwrap_or_else(|| scalar(item))))
            .collect(),
        _ => return None,
    };
    Some(lines.join(&start_of_line))
}

/// Writes a scalar without quotes if every reader takes it for a string.
fn scalar(node: &TreeNode) -> String {
    match &node.value {
        NodeValue::Text(text) if is_plain(text) => text.clone(),
        _ => flow(node),
    }
}

fn is_plain(text: &str) -> bool {
    let is_start = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.');
    let rest = text.strip_prefix("--").unwrap_or(text);
    rest.starts_with(is_start)
        && !is_special(text)
        && !text.ends_with([':', ' '])
        && !text.contains(": ")
        && !text.contains(" #")
        && text.chars().all(|c| c.is_ascii_alphanumeric() || " /._-=:+@,;`'()".contains(c))
}

/// Writes a string in double quotes. JSON's escapes are valid in YAML too.
pub fn quote(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::{json, yaml};

    fn value() -> TreeNode {
        TreeNode::map([
            ("a", TreeNode::text("x")),
            (
                "list",
                TreeNode::list([
                    TreeNode::text("--p=1"),
                    TreeNode::text("yes"),
                    TreeNode::map([("n", TreeNode::text("1"))]),
                ]),
            ),
            ("empty", TreeNode::list([])),
            ("null", TreeNode::null()),
            ("no", TreeNode::other("false")),
            ("text", TreeNode::text("a: b # \"c\"\n\u{1}жук")),
            ("map", TreeNode::map([("k", TreeNode::text(""))])),
        ])
    }

    #[test]
    fn every_style_is_read_back_as_the_same_value() {
        let value = value();
        assert_eq!(yaml::parse(&flow(&value)).expect("YAML"), value);
        assert_eq!(json::parse(&flow(&value)).expect("JSON"), value);
        assert_eq!(json::parse(&pretty(&value, "\t", "\t", "\r\n")).expect("JSON"), value);
        let block = format!("x:\n    {}\n", block(&value, 4, "\n").expect("a block"));
        assert_eq!(yaml::parse(&block).expect("YAML").member("x"), Some(&value), "{block}");
    }

    #[test]
    fn strings_that_a_reader_might_take_for_something_else_have_quotes() {
        for text in
            ["", "1", "-1", "yes", "~", "a: b", "a #b", "- a", "*a", "&a", "a:", "'a'", "%a", "@a", "--", "---", "жук"]
        {
            let item = TreeNode::list([TreeNode::text(text)]);
            assert_eq!(block(&item, 0, "\n"), Some(format!("- {}", quote(text))));
        }
        for text in ["--profile", "/usr/bin/ycred", "client.authentication.k8s.io/v1", "Never", "a b"] {
            assert_eq!(block(&TreeNode::list([TreeNode::text(text)]), 0, "\n"), Some(format!("- {text}")));
        }
    }
}
