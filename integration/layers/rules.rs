//! The rules of a crate's structure. Each returns its faults, one string for each, and none if the rule holds.

use std::collections::{BTreeMap, BTreeSet};

use super::circles::{Graph, circles};
use super::text::{lines_of_code, lines_of_function, tokens, without_tests};
use super::tree::{Arrow, File, Tree};

/// A name at the top of the crate, and what it holds.
pub struct Layer {
    /// `x` for `x.rs` and `x/`.
    pub name: &'static str,
    pub holds: &'static str,
}

/// A file longer than the limit says so at its head: `//! One subject: the parser of requests.`
pub const ONE_SUBJECT: &str = "//! One subject: ";

const WHY: &str = "a contract lives below both of its sides";

/// No file imports itself by way of others, and no folder does. `x.rs` and `x/` are one folder to their neighbours.
pub fn circle_faults(tree: &Tree) -> Vec<String> {
    let mut graph = Graph::new();
    for arrow in &tree.arrows {
        graph.entry(&arrow.from).or_default().insert(&arrow.to);
    }
    let mut faults: Vec<String> = circles(&graph)
        .iter()
        .map(|circle| {
            let is_step = |arrow: &&Arrow, from: &str, to: &str| arrow.from == from && arrow.to == to;
            let steps = ring(&circle.shortest);
            let steps = steps.iter().flat_map(|(from, to)| tree.arrows.iter().filter(|a| is_step(a, from, to)));
            circle_fault("files", &circle.members, steps.collect())
        })
        .collect();
    // One graph for each folder: its children, tied by what is inside of them.
    let mut levels: BTreeMap<String, BTreeMap<(String, String), Vec<&Arrow>>> = BTreeMap::new();
    for arrow in &tree.arrows {
        let (from, to) = (place(&arrow.from), place(&arrow.to));
        let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
        if let (Some(_), Some(_)) = (from.get(common), to.get(common)) {
            let folder = |place: &[&str]| place[..=common].join("/");
            let level = levels.entry(from[..common].join("/")).or_default();
            level.entry((folder(&from), folder(&to))).or_default().push(arrow);
        }
    }
    for ties in levels.values() {
        let mut graph = Graph::new();
        for (from, to) in ties.keys() {
            graph.entry(from).or_default().insert(to);
        }
        for circle in circles(&graph) {
            let steps =
                ring(&circle.shortest).into_iter().flat_map(|(from, to)| &ties[&(from.to_owned(), to.to_owned())]);
            let steps: Vec<&Arrow> = steps.copied().collect();
            // A circle of files has been reported as such.
            let files: BTreeSet<&str> = steps.iter().flat_map(|arrow| [&*arrow.from, &*arrow.to]).collect();
            if files.len() > circle.shortest.len() {
                faults.push(circle_fault("folders", &circle.members, steps));
            }
        }
    }
    faults
}

/// What only one operating system has stands in one folder. Searches the code for these strings outside of it, and the string
/// literals too, where a path such as `/proc` would stand.
pub fn platform_faults(tree: &Tree, folder: &str, words: &[&str]) -> Vec<String> {
    let inside = format!("{folder}/");
    let outside =
        tree.files.iter().filter(|file| !file.path.starts_with(&inside) && file.path != format!("{folder}.rs"));
    let mut faults = Vec::new();
    for file in outside {
        let (lines, _) = without_tests(&file.source);
        for word in words {
            let found = lines.lines().find(|line| !line.trim_start().starts_with("//") && line.contains(word));
            if let Some(line) = found {
                faults.push(format!(
                    "{} has `{word}`: {}\n    what only one operating system has stands in {folder}/, in the product's words",
                    file.path,
                    line.trim()
                ));
            }
        }
    }
    faults
}

fn ring<'a>(way: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    (0..way.len()).map(|at| (way[at], way[(at + 1) % way.len()])).collect()
}

fn circle_fault(of: &str, members: &[&str], steps: Vec<&Arrow>) -> String {
    let mut fault = format!("{} {of} import each other: {}", members.len(), members.join(", "));
    for arrow in &steps {
        fault += &format!("\n    {}", described(arrow));
    }
    // The thinnest arrow is the easiest one to turn.
    if let Some(arrow) = steps.iter().min_by_key(|arrow| arrow.names.len()) {
        let names: Vec<&str> = arrow.names.iter().map(String::as_str).collect();
        fault += &format!("\n    {WHY}; move {} into a file that both sides can import", names.join(", "));
    }
    fault
}

fn described(arrow: &Arrow) -> String {
    let names: Vec<&str> = arrow.names.iter().map(String::as_str).collect();
    format!("{}:{} -> {} ({})", arrow.from, arrow.line, arrow.to, names.join(", "))
}

fn place(path: &str) -> Vec<&str> {
    let mut place: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    if place.last() == Some(&"mod") {
        place.pop();
    }
    place
}

fn top(path: &str) -> &str {
    place(path)[0]
}

/// The names at the top of the tree.
fn tops(tree: &Tree) -> BTreeSet<&str> {
    tree.files.iter().map(|file| top(&file.path)).collect()
}

/// An import leads down: to a layer below its own in this order from top to bottom. Every name at the top is a layer.
pub fn order_faults(tree: &Tree, layers: &[Layer]) -> Vec<String> {
    let rank = |name: &str| layers.iter().position(|layer| layer.name == name);
    let mut faults = Vec::new();
    for name in tops(tree).into_iter().filter(|name| rank(name).is_none()) {
        faults.push(format!("{name} is not a layer: move it into one, or add a row to the table of layers"));
    }
    for layer in layers.iter().filter(|layer| !tops(tree).contains(layer.name)) {
        faults.push(format!("the table of layers has {} ({}), and the tree does not", layer.name, layer.holds));
    }
    for arrow in &tree.arrows {
        let (from, to) = (top(&arrow.from), top(&arrow.to));
        let (Some(above), Some(below)) = (rank(from), rank(to)) else { continue };
        if above > below {
            faults.push(format!(
                "{} points up: {from} ({}) is below {to} ({}); {WHY}",
                described(arrow),
                layers[above].holds,
                layers[below].holds
            ));
        }
    }
    faults
}

/// The top of the tree can be taken in at a glance.
pub fn breadth_faults(tree: &Tree, most: usize) -> Vec<String> {
    let tops: Vec<&str> = tops(tree).into_iter().collect();
    match tops.len() > most {
        true => vec![format!("{} names at the top, at most {most}: {}", tops.len(), tops.join(", "))],
        false => Vec::new(),
    }
}

/// A file can be read in one sitting, or its head says why it is longer.
pub fn length_faults(tree: &Tree, most: usize) -> Vec<String> {
    let is_too_long = |file: &&File| lines_of_code(&file.code) > most && !says_one_subject(&file.source);
    let too_long = tree.files.iter().filter(is_too_long);
    too_long
        .map(|file| {
            format!(
                "{} has {} lines of code, at most {most}: split it by subject, or say `{ONE_SUBJECT}…` at its head",
                file.path,
                lines_of_code(&file.code)
            )
        })
        .collect()
}

fn says_one_subject(source: &str) -> bool {
    let head = source.lines().take_while(|line| line.starts_with("//!"));
    head.into_iter().any(|line| line.starts_with(ONE_SUBJECT) && line.len() > ONE_SUBJECT.len())
}

/// A type that other files see (`pub`, `pub(crate)` …) has a name of its own in the crate.
pub fn name_faults(tree: &Tree) -> Vec<String> {
    let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in &tree.files {
        for (name, line) in visible_types(&file.code) {
            types.entry(name).or_default().push(format!("{}:{line}", file.path));
        }
    }
    let shared = types.into_iter().filter(|(_, places)| places.len() > 1);
    shared.map(|(name, places)| format!("{} types are named {name}: {}", places.len(), places.join(", "))).collect()
}

fn visible_types(code: &str) -> Vec<(String, usize)> {
    let tokens = tokens(code);
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut types = Vec::new();
    for at in (0..tokens.len()).filter(|at| text(*at) == "pub") {
        let mut next = at + 1;
        if text(next) == "(" {
            while !matches!(text(next), ")" | "") {
                next += 1;
            }
            next += 1;
        }
        if text(next) == "unsafe" {
            next += 1;
        }
        if matches!(text(next), "struct" | "enum" | "trait" | "type" | "union") {
            types.push((text(next + 1).to_owned(), tokens[at].line));
        }
    }
    types
}

/// The file has at most so many lines of code.
pub fn file_faults(tree: &Tree, path: &str, most: usize) -> Vec<String> {
    let Some(file) = tree.files.iter().find(|file| file.path == path) else {
        return vec![format!("there is no file {path}")];
    };
    match lines_of_code(&file.code) {
        lines if lines > most => vec![format!("{path} has {lines} lines of code, at most {most}")],
        _ => Vec::new(),
    }
}

/// The function has at most so many lines of code.
pub fn function_faults(tree: &Tree, path: &str, function: &str, most: usize) -> Vec<String> {
    let file = tree.files.iter().find(|file| file.path == path);
    match file.and_then(|file| lines_of_function(&file.code, function)) {
        None => vec![format!("there is no function {function} in {path}")],
        Some(lines) if lines > most => vec![format!("{path}: {function} has {lines} lines of code, at most {most}")],
        Some(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: &[Layer] =
        &[Layer { name: "lib", holds: "all" }, Layer { name: "a", holds: "users" }, Layer { name: "b", holds: "used" }];

    fn tree(files: &[(&str, &str)]) -> Tree {
        Tree::of(files.iter().copied(), &["ycred"])
    }

    /// There is one fault, and it says all this.
    #[track_caller]
    fn one_fault(faults: &[String], words: &[&str]) {
        assert_eq!(faults.len(), 1, "{faults:#?}");
        for word in words {
            assert!(faults[0].contains(word), "{word:?} expected in {}", faults[0]);
        }
    }

    #[test]
    fn a_circle_of_two_files_is_a_fault_that_says_which_name_ties_it() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::{C, D};\n"),
            ("b.rs", "\nfn f() -> crate::a::E { todo!() }"),
        ]);
        let words = ["a.rs:1 -> b.rs (C, D)", "b.rs:2 -> a.rs (E)", WHY, "move E into"];
        one_fault(&circle_faults(&tree), &words);
    }

    #[test]
    fn a_parent_and_a_child_that_use_each_other_are_a_circle() {
        for import in ["use super::Hook;", "use crate::hooks::Hook;"] {
            let tree = tree(&[
                ("lib.rs", "mod hooks;"),
                ("hooks.rs", "mod kubectl;\nconst HOOKS: &[&Hook] = &[&kubectl::HOOK];\npub struct Hook;"),
                ("hooks/kubectl.rs", import),
            ]);
            one_fault(
                &circle_faults(&tree),
                &["hooks.rs:2 -> hooks/kubectl.rs (HOOK)", "kubectl.rs:1 -> hooks.rs (Hook)"],
            );
        }
        // To declare a child is not to use it.
        let tree = tree(&[("hooks.rs", "mod kubectl;\npub struct Hook;"), ("hooks/kubectl.rs", "use super::Hook;")]);
        assert_eq!(circle_faults(&tree), [""; 0]);
    }

    #[test]
    fn a_circle_of_two_folders_without_one_of_files_is_a_fault() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod one; mod two;"),
            ("a/one.rs", "use crate::b::one::X;"),
            ("a/two.rs", "pub struct Y;"),
            ("b/mod.rs", "mod one; mod two;"),
            ("b/one.rs", "pub struct X;"),
            ("b/two.rs", "use crate::a::two::Y;"),
        ]);
        one_fault(
            &circle_faults(&tree),
            &["2 folders", "a, b", "a/one.rs:1 -> b/one.rs (X)", "b/two.rs:1 -> a/two.rs (Y)"],
        );
    }

    #[test]
    fn a_circle_of_folders_below_the_top_is_a_fault() {
        let tree = tree(&[
            ("a.rs", "mod b; mod c;"),
            ("a/b.rs", "mod d;"),
            ("a/b/d.rs", "use crate::a::c::C;"),
            ("a/c.rs", "mod e; pub struct C;"),
            ("a/c/e.rs", "use super::super::b::B;"),
        ]);
        one_fault(&circle_faults(&tree), &["2 folders", "a/b, a/c"]);
    }

    #[test]
    fn an_arrow_up_is_a_fault_and_an_arrow_down_is_none() {
        let down = [("lib.rs", "mod a; mod b; use a::A;"), ("a.rs", "use crate::b::B;"), ("b.rs", "")];
        assert_eq!(order_faults(&tree(&down), LAYERS), [""; 0]);
        let up = [("lib.rs", ""), ("a.rs", ""), ("b/mod.rs", ""), ("b/c.rs", "use crate::{b::D, a::{self, A}};")];
        one_fault(&order_faults(&tree(&up), LAYERS), &["b/c.rs:1 -> a.rs (A, a)", "b (used) is below a (users)"]);
        let to_the_root = [("lib.rs", "pub struct L;"), ("a.rs", ""), ("b.rs", "use crate::L;")];
        one_fault(&order_faults(&tree(&to_the_root), LAYERS), &["b.rs:1 -> lib.rs (L)", "points up"]);
    }

    #[test]
    fn the_layers_are_the_names_at_the_top() {
        one_fault(
            &order_faults(&tree(&[("lib.rs", ""), ("a.rs", ""), ("b.rs", ""), ("c/d.rs", "")]), LAYERS),
            &["c is not a layer"],
        );
        one_fault(&order_faults(&tree(&[("lib.rs", ""), ("a.rs", "")]), LAYERS), &["b (used)", "the tree does not"]);
        let files = tree(&[("lib.rs", ""), ("a.rs", ""), ("a/c.rs", ""), ("b.rs", "")]);
        assert_eq!(breadth_faults(&files, 3), [""; 0]);
        one_fault(&breadth_faults(&files, 2), &["3 names", "a, b, lib"]);
    }

    #[test]
    fn a_file_that_is_too_long_is_a_fault_unless_it_has_one_subject() {
        let code = "fn f() {}\n\n// nothing\n".repeat(6);
        let tests = "#[cfg(test)]\nmod tests {\n fn g() {}\n}\n";
        let long = format!("{code}{tests}");
        assert_eq!(length_faults(&tree(&[("a.rs", &long)]), 6), [""; 0]);
        one_fault(&length_faults(&tree(&[("a.rs", &long)]), 5), &["a.rs has 6 lines of code, at most 5"]);
        let with_reason = format!("//! Functions.\n//!\n//! One subject: f.\n{long}");
        assert_eq!(length_faults(&tree(&[("a.rs", &with_reason)]), 5), [""; 0]);
        let without = format!("//! One subject: \n{long}");
        assert_eq!(length_faults(&tree(&[("a.rs", &without)]), 5).len(), 1);
    }

    #[test]
    fn two_types_of_one_name_are_a_fault_if_other_files_see_them() {
        let files = [
            ("a.rs", "pub struct Found;\nstruct Wire;\nimpl Iterator for A { type Item = B; }"),
            ("b.rs", "\npub(crate) enum Found { X }\nstruct Wire;\nfn found() {}"),
            (
                "c.rs",
                "pub(super) type Other = u8; pub trait Third {}\n#[cfg(test)]\nmod tests {\n  pub struct Third;\n}",
            ),
        ];
        one_fault(&name_faults(&tree(&files)), &["2 types are named Found: a.rs:1, b.rs:2"]);
    }

    #[test]
    fn a_file_and_a_function_have_a_length_of_their_own() {
        let files = tree(&[("main.rs", "fn main() {\n  run()\n}\n")]);
        assert_eq!(file_faults(&files, "main.rs", 3), [""; 0]);
        one_fault(&file_faults(&files, "main.rs", 2), &["main.rs has 3 lines"]);
        one_fault(&file_faults(&files, "gone.rs", 2), &["no file gone.rs"]);
        assert_eq!(function_faults(&files, "main.rs", "main", 3), [""; 0]);
        one_fault(&function_faults(&files, "main.rs", "main", 2), &["main has 3 lines"]);
        one_fault(&function_faults(&files, "main.rs", "gone", 2), &["no function gone"]);
    }

    #[test]
    fn a_platform_call_outside_of_its_folder_is_found() {
        let tree = tree(&[
            ("system/unix.rs", "use libc::kill;\n"),
            ("store.rs", "// libc::kill\nfn f() { libc::kill(1) }\n"),
            ("peer.rs", "const TABLE: &str = \"/proc/net/tcp\";\n#[cfg(test)]\nmod tests { use libc::x; }\n"),
        ]);
        let faults = platform_faults(&tree, "system", &["libc::", "/proc"]);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("peer.rs has `/proc`") || faults[1].starts_with("peer.rs has `/proc`"));
    }
}
