//! Text as people, editors, shells and secret stores write it: with a byte order mark, quotes, or line breaks around it.

/// Removes a byte order mark and white space around a value. Editors and secret stores add them.
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// [`trimmed`], and removes a pair of quotes around the value. `docker --env-file` and systemd's `Environment=` may keep
/// them as a part of it.
pub fn unquoted(text: &str) -> &str {
    let text = trimmed(text);
    let inner = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    trimmed(inner('\'').or_else(|| inner('"')).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_blanks_and_one_pair_of_quotes_are_removed() {
        for text in ["x", "\u{feff}x", " x\r\n", "\u{feff} x\n\n", "'x'", "\"x\"\n", "' x '", "\u{feff}\"\u{feff}x\""] {
            assert_eq!(unquoted(text), "x", "{text:?}");
        }
        for text in ["'x\"", "'x", "x'", "\"", ""] {
            assert_eq!(unquoted(text), text, "{text:?}");
        }
        assert_eq!(trimmed("'x'\n"), "'x'");
    }
}
