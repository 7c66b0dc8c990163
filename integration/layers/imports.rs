//! Finds the paths through which a file uses other files of its crate, in `use` and elsewhere.

use super::text::{Token, tokens};

/// A path in the code, resolved from the root of the crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    pub path: Vec<String>,
    pub line: usize,
}

/// Finds every path in this code that starts at one of these:
///
/// * the crate: `crate::`, or one of `crate_names`
/// * the module of the file: `self::`, `super::`
/// * a module that the file declares
///
/// `module` is the path of the file in the crate.
pub fn imports(code: &str, module: &[String], crate_names: &[&str]) -> Vec<Import> {
    let tokens = tokens(code);
    let children = declared_modules(code);
    let mut reader = Reader { tokens: &tokens, module: module.to_vec(), children, crate_names, imports: Vec::new() };
    reader.read();
    reader.imports
}

/// Returns the names in `mod name;`: modules with their own files.
pub fn declared_modules(code: &str) -> Vec<String> {
    let tokens = tokens(code);
    let declarations = tokens.windows(3).filter(|window| window[0].text == "mod" && window[2].text == ";");
    declarations.map(|window| window[1].text.clone()).collect()
}

struct Reader<'a> {
    tokens: &'a [Token],
    /// The module of the current token: the file's, or a `mod name { … }` inside it.
    module: Vec<String>,
    children: Vec<String>,
    crate_names: &'a [&'a str],
    imports: Vec<Import>,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut at = 0;
        // The depth of braces at which each inline module starts.
        let (mut depth, mut inline) = (0, Vec::new());
        while at < self.tokens.len() {
            match self.text(at) {
                "mod" if self.text(at + 2) == "{" => {
                    self.module.push(self.text(at + 1).to_owned());
                    inline.push(depth);
                    at += 2;
                    continue;
                }
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    if inline.last() == Some(&depth) {
                        inline.pop();
                        self.module.pop();
                    }
                }
                "use" => {
                    at = self.tree(at + 1, None);
                    continue;
                }
                _ if self.starts_path(at) => {
                    at = self.tree(at, None);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.text.as_str())
    }

    /// True if a path starts at this token: a name before `::` that does not follow `::` or `.`.
    fn starts_path(&self, at: usize) -> bool {
        let previous = if at == 0 { "" } else { self.text(at - 1) };
        self.tokens[at].is_name() && self.text(at + 1) == "::" && !matches!(previous, "::" | "." | "mod")
    }

    /// Reads a path, including groups in braces. Returns the index of the next token.
    fn tree(&mut self, mut at: usize, prefix: Option<Vec<String>>) -> usize {
        let mut path: Vec<String> = Vec::new();
        let whole = |path: &[String]| [prefix.clone().unwrap_or_default(), path.to_vec()].concat();
        let line = self.tokens.get(at).map_or(0, |token| token.line);
        loop {
            match self.text(at) {
                "{" => {
                    at += 1;
                    while !matches!(self.text(at), "}" | "") {
                        at = self.tree(at, Some(whole(&path)));
                        if self.text(at) == "," {
                            at += 1;
                        }
                    }
                    return at + 1;
                }
                "*" => at += 1,
                // `::name` is another crate.
                "::" if path.is_empty() => return at + 1,
                "self" if prefix.is_some() && path.is_empty() => at += 1,
                _ if self.tokens.get(at).is_some_and(Token::is_name) => {
                    path.push(self.text(at).to_owned());
                    at += 1;
                }
                _ => return at + 1,
            }
            match (self.text(at), self.text(at + 1)) {
                ("::", "<") => break,
                ("::", _) => at += 1,
                ("as", _) => {
                    at += 2;
                    break;
                }
                _ => break,
            }
        }
        if let Some(path) = self.resolve(&whole(&path)) {
            self.imports.push(Import { path, line });
        }
        at
    }

    /// Resolves a path from the root of the crate. `None` if it is outside the crate, or a name in the file itself.
    fn resolve(&self, path: &[String]) -> Option<Vec<String>> {
        let (head, rest) = path.split_first()?;
        let mut from = match head.as_str() {
            "crate" => Vec::new(),
            name if self.crate_names.contains(&name) => Vec::new(),
            "self" => self.module.clone(),
            "super" => self.module[..self.module.len().checked_sub(1)?].to_vec(),
            name if self.children.iter().any(|child| child == name) => {
                [&self.module[..], std::slice::from_ref(head)].concat()
            }
            _ => return None,
        };
        for name in rest {
            if name == "super" {
                from.pop();
            } else {
                from.push(name.clone());
            }
        }
        Some(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths_in(code: &str) -> Vec<String> {
        let module = ["a", "b"].map(str::to_owned);
        imports(code, &module, &["ycred"]).into_iter().map(|import| import.path.join("::")).collect()
    }

    #[test]
    fn nested_groups_are_read() {
        let code = "pub(crate) use crate::{x::{self, Y, z::{Z as W, *}}, super_x};\nuse std::{fs, io::Read};";
        assert_eq!(paths_in(code), ["x", "x::Y", "x::z::Z", "x::z", "super_x"]);
    }

    #[test]
    fn relative_paths_are_resolved_from_the_module_of_the_file() {
        assert_eq!(paths_in("use super::X; use self::y::Y; use super::super::Z;"), ["a::X", "a::b::y::Y", "Z"]);
        assert_eq!(paths_in("use ycred::x::X; fn f() { crate::y::g(super::h::<u8>()) }"), ["x::X", "y::g", "a::h"]);
        assert_eq!(
            paths_in("mod inner { use super::X; use super::super::Y; } use super::Z;"),
            ["a::b::X", "a::Y", "a::Z"]
        );
    }

    #[test]
    fn only_the_use_of_a_declared_module_is_an_import() {
        assert_eq!(paths_in("mod child; pub mod other;"), [""; 0]);
        assert_eq!(paths_in("mod child; const A: &[B] = &[child::C, other::D, x.child::<u8>()];"), ["a::b::child::C"]);
        assert_eq!(paths_in("mod child; use child::C;"), ["a::b::child::C"]);
    }
}
