//! Words of commands in hints, which people copy into a shell.

use std::ffi::OsStr;

/// Returns a path or another value as one word of a shell, in quotes if it needs them.
pub fn word(value: impl AsRef<OsStr>) -> String {
    let text = value.as_ref().to_string_lossy();
    if cfg!(windows) { windows_word(&text) } else { posix_word(&text) }
}

fn posix_word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./+@:,%=".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// For the command prompt and for PowerShell. Both know double quotes, and names of files contain none.
fn windows_word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || r"-_./\+:=".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("\"{}\"", text.replace('"', "\\\"")),
    }
}

/// Splits a command into words as a shell does.
pub fn split(command: &str) -> Vec<String> {
    parse(command).0
}

/// Returns true if a quote has no end, which a shell does not accept.
pub fn has_open_quote(command: &str) -> bool {
    parse(command).1
}

fn parse(command: &str) -> (Vec<String>, bool) {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut rest = command.chars();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(rest.next()),
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    (words, quote.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_a_shell_would_split_or_expand_is_quoted() {
        for plain in ["/home/x/.config/ycred/prod.toml", "a=b", "./é", "user@host:1"] {
            assert_eq!(posix_word(plain), plain);
        }
        assert_eq!(posix_word("/a b"), "'/a b'");
        assert_eq!(posix_word("it's"), r"'it'\''s'");
        for special in ["", "$x", "`x`", "*", "a;b", "a&b", "~", "\"", "\\", "a\tb", "(x)", "#"] {
            assert_eq!(posix_word(special), format!("'{special}'"));
        }
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        for (word, expected) in [
            ("/usr/bin/ycred", "/usr/bin/ycred"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("$HOME", "'$HOME'"),
            ("~/x", "'~/x'"),
        ] {
            assert_eq!(posix_word(word), expected);
        }
    }

    #[test]
    fn a_value_that_a_shell_of_windows_would_split_is_quoted() {
        for plain in [r"C:\keys\prod.json", "prod", "a=b"] {
            assert_eq!(windows_word(plain), plain);
        }
        for special in ["", r"C:\Program Files\ycred", "a&b", "it's", "a,b", "(x)", "a;b", "@x"] {
            assert_eq!(windows_word(special), format!("\"{special}\""));
        }
        assert_eq!(windows_word("a\"b"), r#""a\"b""#);
    }

    #[test]
    fn a_command_is_split_as_a_shell_does() {
        assert_eq!(split("/opt/my\\ dir/ycred git --profile prod"), ["/opt/my dir/ycred", "git", "--profile", "prod"]);
        assert_eq!(split("'/opt/my dir/ycred' git \"a b\" ''"), ["/opt/my dir/ycred", "git", "a b", ""]);
        assert_eq!(split(""), Vec::<String>::new());
    }
}
