//! Finds the paths by which a file names other files of its crate: in `use`, and anywhere else.

use super::text::{Token, tokens};

/// A path that the code names, from the crate's root down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    pub path: Vec<String>,
    pub line: usize,
}

/// Every path in this code that begins at the crate (`crate::`, or one of these names of it), at the file's own module
/// (`self::`, `super::`), or at a module that the file declares. `module` is the file's own place.
pub fn imports(code: &str, module: &[String], crate_names: &[&str]) -> Vec<Import> {
    let tokens = tokens(code);
    let children = declared_modules(code);
    let mut reader = Reader { tokens: &tokens, module: module.to_vec(), children, crate_names, imports: Vec::new() };
    reader.read();
    reader.imports
}

/// The modules of `mod name;` in this code, which are files.
pub fn declared_modules(code: &str) -> Vec<String> {
    let tokens = tokens(code);
    let declared = tokens.windows(3).filter(|three| three[0].text == "mod" && three[2].text == ";");
    declared.map(|three| three[1].text.clone()).collect()
}

struct Reader<'a> {
    tokens: &'a [Token],
    /// The module that the present token is in: the file's, and inside `mod name { … }` that one.
    module: Vec<String>,
    children: Vec<String>,
    crate_names: &'a [&'a str],
    imports: Vec<Import>,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut at = 0;
        // The depth at which each inline module opened.
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

    /// A name at the head of a path: followed by `::`, and not itself behind `::` or `.`.
    fn starts_path(&self, at: usize) -> bool {
        let before = if at == 0 { "" } else { self.text(at - 1) };
        self.tokens[at].is_name() && self.text(at + 1) == "::" && !matches!(before, "::" | "." | "mod")
    }

    /// Reads a path, with its groups in braces, and returns the place behind it.
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
                // A path at the root of all crates leaves this one.
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
        if let Some(path) = self.resolved(&whole(&path)) {
            self.imports.push(Import { path, line });
        }
        at
    }

    /// The path from the crate's root; `None` if it leads out of the crate, or names something of the file's own.
    fn resolved(&self, path: &[String]) -> Option<Vec<String>> {
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

    fn found(code: &str) -> Vec<String> {
        let module = ["a", "b"].map(str::to_owned);
        imports(code, &module, &["ycred"]).into_iter().map(|import| import.path.join("::")).collect()
    }

    #[test]
    fn groups_are_read_to_any_depth() {
        let code = "pub(crate) use crate::{x::{self, Y, z::{Z as W, *}}, super_x};\nuse std::{fs, io::Read};";
        assert_eq!(found(code), ["x", "x::Y", "x::z::Z", "x::z", "super_x"]);
    }

    #[test]
    fn paths_lead_from_the_files_own_place() {
        assert_eq!(found("use super::X; use self::y::Y; use super::super::Z;"), ["a::X", "a::b::y::Y", "Z"]);
        assert_eq!(found("use ycred::x::X; fn f() { crate::y::g(super::h::<u8>()) }"), ["x::X", "y::g", "a::h"]);
        assert_eq!(
            found("mod inner { use super::X; use super::super::Y; } use super::Z;"),
            ["a::b::X", "a::Y", "a::Z"]
        );
    }

    #[test]
    fn a_declaration_is_no_import_and_the_use_of_a_declared_module_is_one() {
        assert_eq!(found("mod child; pub mod other;"), [""; 0]);
        assert_eq!(found("mod child; const A: &[B] = &[child::C, other::D, x.child::<u8>()];"), ["a::b::child::C"]);
        assert_eq!(found("mod child; use child::C;"), ["a::b::child::C"]);
    }
}
