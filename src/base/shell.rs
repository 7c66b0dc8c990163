//! Words of commands in hints, which people copy into a shell.

use std::ffi::OsStr;

/// Returns a path or another value as one word of a shell, in quotes if it needs them.
pub fn word(value: impl AsRef<OsStr>) -> String {
    let text = value.as_ref().to_string_lossy();
    let is_plain = |c: char| c.is_alphanumeric() || "-_./+@:,%=".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.into_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_a_shell_would_split_or_expand_is_quoted() {
        for plain in ["/home/x/.config/ycred/prod.toml", "a=b", "./é", "user@host:1"] {
            assert_eq!(word(plain), plain);
        }
        assert_eq!(word("/a b"), "'/a b'");
        assert_eq!(word("it's"), r"'it'\''s'");
        for special in ["", "$x", "`x`", "*", "a;b", "a&b", "~", "\"", "\\", "a\tb", "(x)", "#"] {
            assert_eq!(word(special), format!("'{special}'"));
        }
    }
}
