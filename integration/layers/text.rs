//! Reads Rust source as text: blanks out comments, literals and test modules, and splits the rest into tokens.

/// Blanks out every comment, and replaces every character of a string or character literal with `"`.
///
/// Keeps line breaks, so that line numbers do not change.
pub fn without_comments_and_literals(source: &str) -> String {
    let source: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < source.len() {
        let rest = &source[at..];
        let is_inside_word = at > 0 && is_word(source[at - 1]);
        let length = match rest {
            ['/', '/', ..] => blank(&mut code, rest, line_comment(rest), ' '),
            ['/', '*', ..] => blank(&mut code, rest, block_comment(rest), ' '),
            ['"', ..] => blank(&mut code, rest, quoted(rest, '"'), '"'),
            ['\'', ..] => match character(rest) {
                Some(length) => blank(&mut code, rest, length, '"'),
                None => copy(&mut code, rest),
            },
            ['r' | 'b' | 'c', ..] if !is_inside_word => match raw_string(rest) {
                Some(length) => blank(&mut code, rest, length, '"'),
                None => copy(&mut code, rest),
            },
            _ => copy(&mut code, rest),
        };
        at += length;
    }
    code
}

fn copy(code: &mut String, rest: &[char]) -> usize {
    code.push(rest[0]);
    1
}

fn blank(code: &mut String, rest: &[char], length: usize, with: char) -> usize {
    code.extend(rest[..length].iter().map(|c| if *c == '\n' { '\n' } else { with }));
    length
}

fn line_comment(rest: &[char]) -> usize {
    rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Returns the length of a literal that starts at this quote and may contain escapes.
fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Returns the length of the character literal that starts here; `None` for a lifetime.
fn character(rest: &[char]) -> Option<usize> {
    match rest {
        ['\'', '\\', ..] => Some(quoted(rest, '\'')),
        ['\'', _, '\'', ..] => Some(3),
        _ => None,
    }
}

/// Returns the length of the raw string that starts here, such as `br#"…"#`; `None` if it is not one.
fn raw_string(rest: &[char]) -> Option<usize> {
    let prefix = rest.iter().take_while(|c| matches!(c, 'r' | 'b' | 'c')).count();
    if prefix > 2 || !rest[..prefix].contains(&'r') {
        return None;
    }
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    if rest.get(prefix + hashes) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = prefix + hashes + 1;
    let length = rest[body..].windows(end.len()).position(|window| *window == end[..])?;
    Some(body + length + end.len())
}

/// Returns true if the character can be part of an identifier.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// An identifier, number or punctuation mark, and its line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

impl Token {
    pub fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| is_word(c) && !c.is_ascii_digit())
    }
}

/// Splits code without comments into tokens. `::` is one token; literals are skipped.
pub fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let line: Vec<char> = line.chars().collect();
        let mut at = 0;
        while at < line.len() {
            let length = match &line[at..] {
                [c, ..] if c.is_whitespace() || *c == '"' => {
                    at += 1;
                    continue;
                }
                [c, ..] if is_word(*c) => line[at..].iter().take_while(|c| is_word(**c)).count(),
                [':', ':', ..] => 2,
                _ => 1,
            };
            tokens.push(Token { text: line[at..at + length].iter().collect(), line: number + 1 });
            at += length;
        }
    }
    tokens
}

/// Blanks out the items marked `#[cfg(test)]`.
///
/// Also returns the names of test modules with their own files (`#[cfg(test)] mod tests;`).
pub fn without_tests(code: &str) -> (String, Vec<String>) {
    let tokens = tokens(code);
    let words: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    let mut lines: Vec<&str> = code.lines().collect();
    let mut files = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if !words[at..].starts_with(&["#", "[", "cfg", "(", "test", ")", "]"]) {
            at += 1;
            continue;
        }
        let end = end_of_item(&words, at);
        if let Some(name) = words[at..end].windows(3).find(|window| window[0] == "mod" && window[2] == ";") {
            files.push(name[1].to_owned());
        }
        // In formatted code an item shares no line with another one.
        let last = tokens.get(end - 1).map_or(lines.len(), |token| token.line);
        lines[tokens[at].line - 1..last].fill("");
        at = end;
    }
    (lines.join("\n"), files)
}

/// Returns the index after the item that starts at this token: after its block, or after its semicolon if it has no
/// block.
fn end_of_item(words: &[&str], start: usize) -> usize {
    let mut depth = 0;
    for (at, word) in words.iter().enumerate().skip(start) {
        match *word {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(*word, ";" | "}") {
            return at + 1;
        }
    }
    words.len()
}

/// Counts the lines that are not blank.
pub fn lines_of_code(code: &str) -> usize {
    code.lines().filter(|line| !line.trim().is_empty()).count()
}

/// Counts the lines of the function of this name, except blank ones. `None` if the function does not exist.
pub fn lines_of_function(code: &str, name: &str) -> Option<usize> {
    let tokens = tokens(code);
    let words: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    let start = words.windows(2).position(|window| window == ["fn", name])?;
    let end = end_of_item(&words, start);
    let (first, last) = (tokens[start].line, tokens[end - 1].line);
    Some(code.lines().skip(first - 1).take(last + 1 - first).filter(|line| !line.trim().is_empty()).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_without_changing_line_numbers() {
        let source = "a /* b /* c */\nd */ e // f\n\"g \\\" crate::h\" 'i' '\\'' 'j: loop r#\"k \" l\"# br\"m\" for_r";
        let code = without_comments_and_literals(source);
        let words: Vec<String> = tokens(&code).into_iter().map(|token| token.text).collect();
        assert_eq!(words, ["a", "e", "'", "j", ":", "loop", "for_r"]);
        assert_eq!(code.lines().count(), source.lines().count());
    }

    #[test]
    fn items_for_tests_are_blanked() {
        let (code, files) = without_tests(
            "use a;\n#[cfg(test)]\nmod tests {\n  fn b() { c[1]; }\n}\nfn d() {}\n#[cfg(test)]\nmod e;\n#[cfg(test)]\nuse f;\nfn g() {}",
        );
        assert_eq!(lines_of_code(&code), 3, "{code}");
        assert!(code.contains("fn d") && code.contains("fn g") && !code.contains("use f"), "{code}");
        assert_eq!(files, ["e"]);
    }

    #[test]
    fn blank_lines_do_not_count_in_the_length_of_a_function() {
        let code = "fn a() {}\nfn obtain(\n  x: u8,\n) -> [u8; 2] {\n  if x { y() }\n\n  z\n}\nfn b() {}\n";
        assert_eq!(lines_of_function(code, "obtain"), Some(6));
        assert_eq!(lines_of_function(code, "a"), Some(1));
        assert_eq!(lines_of_function(code, "c"), None);
    }
}
