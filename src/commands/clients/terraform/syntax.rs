//! Finds the first error in a configuration file of Terraform, which is HCL 1 or JSON. Terraform goes on without a file that it
//! cannot parse.

use crate::edit::splice::Format;

/// How deep objects and lists can be.
const DEPTH: usize = 64;

/// Returns the line of the first error, and what it is. What only Terraform can judge is not an error.
pub fn error(text: &str) -> Option<(usize, String)> {
    let body = text.trim_start_matches('\u{feff}').trim_start();
    if body.starts_with('{') {
        let skipped = text.len() - body.len();
        let error = Format::Json.parse(body).err()?;
        return Some((text[..skipped].matches('\n').count() + error.line, error.why));
    }
    let mut parser = Parser { text, at: 0 };
    let why = parser.items(false, DEPTH).err()?;
    let before = text.get(..parser.at).unwrap_or(text);
    Some((before.matches('\n').count() + 1, why.to_owned()))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

type Parsed = Result<(), &'static str>;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Skips blanks and comments, and returns the next character.
    fn next(&mut self) -> Result<Option<char>, &'static str> {
        loop {
            let rest = self.rest();
            let skipped = if rest.starts_with('#') || rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if let Some(comment) = rest.strip_prefix("/*") {
                2 + comment.find("*/").ok_or("a comment has no end")? + 2
            } else {
                rest.len() - rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}').len()
            };
            if skipped == 0 {
                return Ok(rest.chars().next());
            }
            self.at += skipped;
        }
    }

    fn skip(&mut self, c: char) {
        self.at += c.len_utf8();
    }

    /// Reads the items of an object, or of the file if `is_inner` is false.
    fn items(&mut self, is_inner: bool, depth: usize) -> Parsed {
        let depth = depth.checked_sub(1).ok_or("too many braces")?;
        loop {
            match self.next()? {
                None if is_inner => return Err("a brace is not closed"),
                None => return Ok(()),
                Some('}') if is_inner => {
                    self.skip('}');
                    return Ok(());
                }
                Some(',') if self.at > 0 => self.skip(','),
                Some(_) => self.item(depth)?,
            }
        }
    }

    fn item(&mut self, depth: usize) -> Parsed {
        let mut has_key = false;
        loop {
            match self.next()? {
                Some('"') => self.string()?,
                Some(c) if is_word(c) => self.word(),
                Some('=') if has_key => {
                    self.skip('=');
                    return self.value(depth);
                }
                Some('{') if has_key => {
                    self.skip('{');
                    return self.items(true, depth);
                }
                _ if has_key => return Err("expected = or {"),
                _ => return Err("expected a name"),
            }
            has_key = true;
        }
    }

    fn value(&mut self, depth: usize) -> Parsed {
        let rest = self.next().map(|_| self.rest())?;
        if let Some(heredoc) = rest.strip_prefix("<<") {
            return self.heredoc(heredoc);
        }
        match rest.chars().next() {
            Some('"') => self.string(),
            Some('{') => {
                self.skip('{');
                self.items(true, depth)
            }
            Some('[') => {
                self.skip('[');
                self.list(depth)
            }
            Some(c) if is_word(c) || c == '+' => {
                self.word();
                Ok(())
            }
            _ => Err("expected a value"),
        }
    }

    fn list(&mut self, depth: usize) -> Parsed {
        let depth = depth.checked_sub(1).ok_or("too many brackets")?;
        loop {
            match self.next()? {
                None => return Err("a bracket is not closed"),
                Some(']') => {
                    self.skip(']');
                    return Ok(());
                }
                Some(',') => self.skip(','),
                Some(_) => self.value(depth)?,
            }
        }
    }

    fn word(&mut self) {
        let rest = self.rest();
        self.at += rest.find(|c: char| !(is_word(c) || c == '+')).unwrap_or(rest.len());
    }

    /// Reads a string. What is in `${…}` may contain quotes.
    fn string(&mut self) -> Parsed {
        let (mut braces, mut is_escaped) = (0_usize, false);
        let mut former = ' ';
        for (at, c) in self.rest().char_indices().skip(1) {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '{' if former == '$' || braces > 0 => braces += 1,
                '}' if braces > 0 => braces -= 1,
                '\n' if braces == 0 => return Err("a string has no end"),
                '"' if braces == 0 => {
                    self.at += at + 1;
                    return Ok(());
                }
                _ => {}
            }
            former = c;
        }
        Err("a string has no end")
    }

    fn heredoc(&mut self, rest: &'a str) -> Parsed {
        let (name, body) = rest.split_once('\n').ok_or("a heredoc has no end")?;
        let name = name.trim_start_matches('-').trim();
        let mut length = self.rest().len() - body.len();
        for line in body.split_inclusive('\n') {
            length += line.len();
            if line.trim() == name {
                self.at += length;
                return Ok(());
            }
        }
        Err("a heredoc has no end")
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use super::error;

    #[test]
    fn what_terraform_reads_has_no_error() {
        for text in [
            "",
            "# a\n// b\n/* c\n*/\n",
            "plugin_cache_dir = \"$HOME/.terraform.d/plugin-cache\"\ndisable_checkpoint = true\n",
            "credentials \"app.terraform.io\" {\n  token = \"a.b\"\n}\n",
            "credentials_helper \"ycred\" {\n  args = []\n}\n",
            "provider_installation {\n  network_mirror {\n    url = \"https://x/\"\n    include = [\"r/*/*\", \"s/*\",]\n  }\n  direct {}\n}\n",
            "host \"h\" { services = { \"a.v1\" = \"https://x\", b = 1.5e3 } }",
            "x = \"${lookup(\"a\", {b = \"c\"})}\"\ny = <<EOF\n\"{[\nEOF\nz = -1\r\n",
            "x = <<-END\n  {\n  END\n",
            "{\"credentials_helper\": {\"ycred\": {}}}\n",
            "\u{feff}x = 1",
        ] {
            assert_eq!(error(text), None, "{text}");
        }
    }

    #[test]
    fn the_line_of_the_first_error_is_found() {
        for (text, line) in [
            ("bad {{{", 1),
            ("a = 1\nb =\n", 3),
            ("a = 1\n}\n", 2),
            ("a {\n  b = 1\n", 3),
            ("a\n", 2),
            ("= 1", 1),
            ("\na = \"x\nb = 1\n", 2),
            ("a = [1, 2\n", 2),
            ("a = 1\n/* b\n", 2),
            ("x = <<EOF\na\n", 1),
            ("\n{\"a\": }", 2),
        ] {
            assert_eq!(error(text).map(|(line, _)| line), Some(line), "{text}");
        }
        assert!(error(&"a {".repeat(10_000)).is_some(), "without end");
    }
}
