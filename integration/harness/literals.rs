//! String literals in the source of the program, for the tests that read its messages.

/// Returns the text of a string literal: joins continued lines, and resolves the escapes that messages have.
pub fn unescape(literal: &str) -> String {
    let mut text = String::new();
    let mut rest = literal;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        rest = match after.strip_prefix('\n') {
            Some(next_line) => next_line.trim_start(),
            None => {
                let escaped = after.chars().next().unwrap_or('\\');
                match escaped {
                    'n' => text.push('\n'),
                    '"' | '\\' => text.push(escaped),
                    other => text.extend(['\\', other]),
                }
                after.get(escaped.len_utf8()..).unwrap_or_default()
            }
        };
    }
    text + rest
}

#[test]
fn lines_are_joined_and_escapes_are_resolved() {
    for (literal, text) in [
        ("a \\\n    b", "a b"),
        ("say \\\"x\\\"\\n", "say \"x\"\n"),
        ("C:\\\\new", "C:\\new"),
        ("\\u{1f}", "\\u{1f}"),
        ("plain", "plain"),
    ] {
        assert_eq!(unescape(literal), text);
    }
}
