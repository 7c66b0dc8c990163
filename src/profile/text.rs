//! Writes profiles as TOML.

use std::fmt::Write as _;

/// Appends a setting as a line.
pub fn setting(text: &mut String, key: &str, values: &[impl AsRef<str>], is_list: bool) {
    let quoted: Vec<String> = values.iter().map(|value| quote(value.as_ref())).collect();
    let _ = match is_list {
        true => writeln!(text, "{key} = [{}]", quoted.join(", ")),
        false => writeln!(text, "{key} = {}", quoted.concat()),
    };
}

/// Returns the content of a profile that is an alias of the profile `name`.
pub fn alias(name: &str) -> String {
    format!("use = {}\n", quote(name))
}

/// Quotes a string as a TOML basic string.
pub fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(quote("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000A\"");
    }
}
