//! The files of a crate and the imports between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::imports::{declared_modules, imports};
use super::text::{tokens, without_comments_and_literals, without_tests};

/// A source file of the crate.
pub struct File {
    /// The path from the root of the tree, such as `hooks/kubectl.rs`.
    pub path: String,
    /// The module path, such as `hooks::kubectl`; empty for `lib.rs`, and `main` for `main.rs`.
    pub module: Vec<String>,
    pub source: String,
    /// The source without comments, literals and tests.
    pub code: String,
}

/// All imports between two files: `from` uses these names of `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrow {
    pub from: String,
    pub to: String,
    /// The line of the first import.
    pub line: usize,
    pub names: BTreeSet<String>,
}

/// The source tree of a crate.
pub struct Tree {
    pub files: Vec<File>,
    pub arrows: Vec<Arrow>,
}

impl Tree {
    /// Reads the Rust files below a directory, except those of nested crates.
    pub fn read(root: &Path, crate_names: &[&str]) -> Tree {
        let mut sources = Vec::new();
        let mut pending = vec![root.to_path_buf()];
        while let Some(directory) = pending.pop() {
            let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
            for path in entries.map(|entry| entry.expect("a directory entry").path()) {
                if path.is_dir() && !path.join("Cargo.toml").exists() {
                    pending.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let name = path.strip_prefix(root).expect("a path below the root").display().to_string();
                    let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
                    sources.push((name, source));
                }
            }
        }
        sources.sort();
        assert!(!sources.is_empty(), "{} has no Rust files", root.display());
        Tree::of(sources, crate_names)
    }

    /// Builds the tree of these files, given by path and source. `crate_names` are the names of the crate besides
    /// `crate`.
    pub fn of<S: Into<String>>(sources: impl IntoIterator<Item = (S, S)>, crate_names: &[&str]) -> Tree {
        let mut files: Vec<File> = Vec::new();
        let mut tests = Vec::new();
        for (path, source) in sources {
            let (path, source) = (path.into(), source.into());
            let (code, test_files) = without_tests(&without_comments_and_literals(&source));
            let module = module_of(&path);
            tests.extend(test_files.into_iter().map(|name| [&module[..], &[name]].concat()));
            files.push(File { path, module, source, code });
        }
        files.retain(|file| !tests.iter().any(|test| file.module.starts_with(test)));
        let arrows = arrows(&files, crate_names);
        Tree { files, arrows }
    }

    /// Removes these modules at the root, and the imports from and to them.
    pub fn without(mut self, names: &[&str]) -> Tree {
        let is_kept = |path: &str| !names.contains(&path.split(['/', '.']).next().unwrap_or_default());
        self.files.retain(|file| is_kept(&file.path));
        self.arrows.retain(|arrow| is_kept(&arrow.from) && is_kept(&arrow.to));
        self
    }
}

/// Returns the module path of a file.
fn module_of(path: &str) -> Vec<String> {
    let mut module: Vec<String> = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|name| name == "mod") || module == ["lib"] {
        module.pop();
    }
    module
}

fn arrows(files: &[File], crate_names: &[&str]) -> Vec<Arrow> {
    // `main.rs` is the root of the crate if there is no `lib.rs`.
    let has_library = files.iter().any(|file| file.module.is_empty());
    let paths: BTreeMap<&[String], &str> = files
        .iter()
        .map(|file| {
            let is_root = !has_library && file.path == "main.rs";
            (if is_root { &[][..] } else { &file.module[..] }, file.path.as_str())
        })
        .collect();
    let mut arrows: BTreeMap<(&str, &str), Arrow> = BTreeMap::new();
    for file in files {
        let is_main = file.path == "main.rs";
        let module = if is_main { &[][..] } else { &file.module[..] };
        for import in imports(&file.code, module, crate_names) {
            // The longest prefix of the path that is a file. The rest names something in that file.
            let target = (0..=import.path.len()).rev().find_map(|end| Some((end, *paths.get(&import.path[..end])?)));
            let Some((end, to)) = target else { continue };
            if to == file.path || (end == 0 && is_external(files, to, import.path.first())) {
                continue;
            }
            let arrow = arrows.entry((&file.path, to)).or_insert_with(|| Arrow {
                from: file.path.clone(),
                to: to.to_owned(),
                line: import.line,
                names: BTreeSet::new(),
            });
            let name = import.path[end..].first().or(import.path.last());
            arrow.names.extend(name.cloned());
        }
    }
    arrows.into_values().collect()
}

/// Returns true if the root imports this name from another crate: `use ycred_emulator as emulator;`.
fn is_external(files: &[File], root: &str, name: Option<&String>) -> bool {
    let Some(name) = name else { return false };
    let code = files.iter().find(|file| file.path == root).map_or("", |file| file.code.as_str());
    let own = declared_modules(code);
    let tokens = tokens(code);
    let uses = tokens.iter().enumerate().filter(|(_, token)| token.text == "use").map(|(at, _)| &tokens[at + 1..]);
    let external = uses.filter(|rest| {
        let head = rest.first().map_or("", |token| token.text.as_str());
        !["crate", "self", "super"].contains(&head) && !own.iter().any(|module| module == head)
    });
    external.flat_map(|rest| rest.iter().take_while(|token| token.text != ";")).any(|token| token.text == *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrows_of(files: &[(&str, &str)]) -> Vec<String> {
        let tree = Tree::of(files.iter().copied(), &["ycred"]);
        tree.arrows.iter().map(|arrow| format!("{} -> {}", arrow.from, arrow.to)).collect()
    }

    #[test]
    fn an_import_is_of_the_innermost_file_of_its_path() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::c::{D, e::F}; use crate::b::G;"),
            ("b.rs", "mod c;"),
            ("b/c.rs", "pub mod e { pub struct F; }"),
        ];
        assert_eq!(arrows_of(&files), ["a.rs -> b.rs", "a.rs -> b/c.rs"]);
    }

    #[test]
    fn main_uses_the_library_by_the_name_of_the_crate() {
        let files =
            [("lib.rs", "pub mod a;"), ("main.rs", "use ycred::a::B; fn main() { ycred::run() }"), ("a.rs", "")];
        assert_eq!(arrows_of(&files), ["main.rs -> a.rs", "main.rs -> lib.rs"]);
    }

    #[test]
    fn tests_comments_and_other_crates_are_not_imports() {
        let files = [
            ("main.rs", "use other_crate as emulator;\nuse other_crate::{authority, server};\nmod a; mod b;"),
            (
                "a.rs",
                "// crate::b\nuse crate::emulator::E;\nuse crate::server::S;\n#[cfg(test)]\nmod tests {\n  use crate::b::B;\n}\n#[cfg(test)]\nmod more;",
            ),
            ("a/more.rs", "use crate::b::B;"),
            ("b.rs", "const X: &str = \"crate::a::A\";"),
        ];
        assert_eq!(arrows_of(&files), [""; 0]);
    }
}
