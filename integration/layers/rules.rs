//! The rules for the structure of a crate. Each function returns the faults it finds, one string each.

use std::collections::{BTreeMap, BTreeSet};

use super::cycles::{Graph, cycles};
use super::text::{lines_of_code, lines_of_function, tokens, without_tests};
use super::tree::{Arrow, File, Tree};

/// A module or folder at the root of the crate.
pub struct Layer {
    /// `x` for `x.rs` and `x/`.
    pub name: &'static str,
    /// What it contains, for messages.
    pub holds: &'static str,
}

/// The line of a module comment that lets a file exceed the maximum length: `//! One subject: the parser of requests.`
pub const ONE_SUBJECT: &str = "//! One subject: ";

const RULE: &str = "an interface is in a layer below both of its sides";

/// No file and no folder imports itself through others. To its siblings, a folder is `x.rs` together with `x/`.
pub fn cycle_faults(tree: &Tree) -> Vec<String> {
    let mut graph = Graph::new();
    for arrow in &tree.arrows {
        graph.entry(&arrow.from).or_default().insert(&arrow.to);
    }
    let mut faults: Vec<String> = cycles(&graph)
        .iter()
        .map(|cycle| {
            let is_step = |arrow: &&Arrow, from: &str, to: &str| arrow.from == from && arrow.to == to;
            let steps = edges_of(&cycle.shortest);
            let steps = steps.iter().flat_map(|(from, to)| tree.arrows.iter().filter(|a| is_step(a, from, to)));
            cycle_fault("files", &cycle.members, steps.collect())
        })
        .collect();
    // One graph per folder. Its nodes are the children of the folder, its edges the imports between files inside them.
    let mut levels: BTreeMap<String, BTreeMap<(String, String), Vec<&Arrow>>> = BTreeMap::new();
    for arrow in &tree.arrows {
        let (from, to) = (segments(&arrow.from), segments(&arrow.to));
        let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
        if let (Some(_), Some(_)) = (from.get(common), to.get(common)) {
            let folder = |segments: &[&str]| segments[..=common].join("/");
            let level = levels.entry(from[..common].join("/")).or_default();
            level.entry((folder(&from), folder(&to))).or_default().push(arrow);
        }
    }
    for edges in levels.values() {
        let mut graph = Graph::new();
        for (from, to) in edges.keys() {
            graph.entry(from).or_default().insert(to);
        }
        for cycle in cycles(&graph) {
            let steps =
                edges_of(&cycle.shortest).into_iter().flat_map(|(from, to)| &edges[&(from.to_owned(), to.to_owned())]);
            let steps: Vec<&Arrow> = steps.copied().collect();
            // Skip a cycle of files, which is reported above.
            let files: BTreeSet<&str> = steps.iter().flat_map(|arrow| [&*arrow.from, &*arrow.to]).collect();
            if files.len() > cycle.shortest.len() {
                faults.push(cycle_fault("folders", &cycle.members, steps));
            }
        }
    }
    faults
}

/// Code for one operating system is in one folder. Other files contain none of these strings, not even in string
/// literals.
pub fn platform_faults(tree: &Tree, folder: &str, strings: &[&str]) -> Vec<String> {
    let inside = format!("{folder}/");
    let outside =
        tree.files.iter().filter(|file| !file.path.starts_with(&inside) && file.path != format!("{folder}.rs"));
    let mut faults = Vec::new();
    for file in outside {
        let (lines, _) = without_tests(&file.source);
        for string in strings {
            let line = lines.lines().find(|line| !line.trim_start().starts_with("//") && line.contains(string));
            if let Some(line) = line {
                faults.push(format!(
                    "{} has `{string}`: {}\n    move code for one operating system to {folder}/, behind a portable interface",
                    file.path,
                    line.trim()
                ));
            }
        }
    }
    faults
}

/// Returns the edges of a cycle, including the one back to its start.
fn edges_of<'a>(cycle: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    (0..cycle.len()).map(|at| (cycle[at], cycle[(at + 1) % cycle.len()])).collect()
}

fn cycle_fault(of: &str, members: &[&str], steps: Vec<&Arrow>) -> String {
    let mut fault = format!("{} {of} import each other: {}", members.len(), members.join(", "));
    for arrow in &steps {
        fault += &format!("\n    {}", description(arrow));
    }
    // The import with the fewest names is the easiest one to remove.
    if let Some(arrow) = steps.iter().min_by_key(|arrow| arrow.names.len()) {
        let names: Vec<&str> = arrow.names.iter().map(String::as_str).collect();
        fault += &format!("\n    {RULE}; move {} into a file that both sides can import", names.join(", "));
    }
    fault
}

fn description(arrow: &Arrow) -> String {
    let names: Vec<&str> = arrow.names.iter().map(String::as_str).collect();
    format!("{}:{} -> {} ({})", arrow.from, arrow.line, arrow.to, names.join(", "))
}

/// Splits the path of a file into the names of its module path.
fn segments(path: &str) -> Vec<&str> {
    let mut segments: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    if segments.last() == Some(&"mod") {
        segments.pop();
    }
    segments
}

/// Returns the first segment of the path of a file.
fn top_module(path: &str) -> &str {
    segments(path)[0]
}

/// Returns the modules at the root of the tree.
fn top_modules(tree: &Tree) -> BTreeSet<&str> {
    tree.files.iter().map(|file| top_module(&file.path)).collect()
}

/// A file imports only from its own layer and from those below it. `layers` is ordered from top to bottom and complete.
pub fn order_faults(tree: &Tree, layers: &[Layer]) -> Vec<String> {
    let rank = |name: &str| layers.iter().position(|layer| layer.name == name);
    let mut faults = Vec::new();
    for name in top_modules(tree).into_iter().filter(|name| rank(name).is_none()) {
        faults.push(format!("{name} is not a layer: move it into one, or add a row to the table of layers"));
    }
    for layer in layers.iter().filter(|layer| !top_modules(tree).contains(layer.name)) {
        faults.push(format!("the table of layers has {} ({}), and the tree does not", layer.name, layer.holds));
    }
    for arrow in &tree.arrows {
        let (from, to) = (top_module(&arrow.from), top_module(&arrow.to));
        let (Some(above), Some(below)) = (rank(from), rank(to)) else { continue };
        if above > below {
            faults.push(format!(
                "{} points up: {from} ({}) is below {to} ({}); {RULE}",
                description(arrow),
                layers[above].holds,
                layers[below].holds
            ));
        }
    }
    faults
}

/// The root of the tree has at most `max` modules.
pub fn breadth_faults(tree: &Tree, max: usize) -> Vec<String> {
    let modules: Vec<&str> = top_modules(tree).into_iter().collect();
    match modules.len() > max {
        true => vec![format!("{} names at the top, at most {max}: {}", modules.len(), modules.join(", "))],
        false => Vec::new(),
    }
}

/// A file has at most `max` lines of code, or a [`ONE_SUBJECT`] line.
pub fn length_faults(tree: &Tree, max: usize) -> Vec<String> {
    let is_too_long = |file: &&File| lines_of_code(&file.code) > max && !has_one_subject(&file.source);
    let too_long = tree.files.iter().filter(is_too_long);
    too_long
        .map(|file| {
            format!(
                "{} has {} lines of code, at most {max}: split it, or add `{ONE_SUBJECT}…` to its module comment",
                file.path,
                lines_of_code(&file.code)
            )
        })
        .collect()
}

fn has_one_subject(source: &str) -> bool {
    let head = source.lines().take_while(|line| line.starts_with("//!"));
    head.into_iter().any(|line| line.starts_with(ONE_SUBJECT) && line.len() > ONE_SUBJECT.len())
}

/// No two types that other files can see (`pub`, `pub(crate)` …) have the same name.
///
/// `variants` are folders of which only one is compiled. The same file of two of them may have the same types.
pub fn name_faults(tree: &Tree, variants: &[&str]) -> Vec<String> {
    let common_path = |path: &str| {
        let folder = variants.iter().find(|folder| path.starts_with(&format!("{folder}/")));
        folder.map(|folder| path[folder.len()..].to_owned())
    };
    let mut types: BTreeMap<String, Vec<(&str, usize)>> = BTreeMap::new();
    for file in &tree.files {
        for (name, line) in visible_types(&file.code) {
            types.entry(name).or_default().push((&*file.path, line));
        }
    }
    let is_one_interface = |places: &[(&str, usize)]| {
        let files: BTreeSet<_> = places.iter().map(|(path, _)| path).collect();
        let common: BTreeSet<_> = files.iter().map(|path| common_path(path)).collect();
        files.len() == places.len() && common.len() == 1 && !common.contains(&None)
    };
    let shared = types.into_iter().filter(|(_, places)| places.len() > 1 && !is_one_interface(places));
    shared
        .map(|(name, places)| {
            let shown: Vec<String> = places.iter().map(|(path, line)| format!("{path}:{line}")).collect();
            format!("{} types are named {name}: {}", shown.len(), shown.join(", "))
        })
        .collect()
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

/// The file has at most `max` lines of code.
pub fn file_faults(tree: &Tree, path: &str, max: usize) -> Vec<String> {
    let Some(file) = tree.files.iter().find(|file| file.path == path) else {
        return vec![format!("there is no file {path}")];
    };
    match lines_of_code(&file.code) {
        lines if lines > max => vec![format!("{path} has {lines} lines of code, at most {max}")],
        _ => Vec::new(),
    }
}

/// The function has at most `max` lines of code.
pub fn function_faults(tree: &Tree, path: &str, function: &str, max: usize) -> Vec<String> {
    let file = tree.files.iter().find(|file| file.path == path);
    match file.and_then(|file| lines_of_function(&file.code, function)) {
        None => vec![format!("there is no function {function} in {path}")],
        Some(lines) if lines > max => vec![format!("{path}: {function} has {lines} lines of code, at most {max}")],
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

    /// Checks that there is one fault and that its message contains these parts.
    #[track_caller]
    fn assert_one_fault(faults: &[String], parts: &[&str]) {
        assert_eq!(faults.len(), 1, "{faults:#?}");
        for part in parts {
            assert!(faults[0].contains(part), "{part:?} expected in {}", faults[0]);
        }
    }

    #[test]
    fn a_cycle_of_two_files_is_a_fault_that_names_what_to_move() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::{C, D};\n"),
            ("b.rs", "\nfn f() -> crate::a::E { todo!() }"),
        ]);
        let parts = ["a.rs:1 -> b.rs (C, D)", "b.rs:2 -> a.rs (E)", RULE, "move E into"];
        assert_one_fault(&cycle_faults(&tree), &parts);
    }

    #[test]
    fn a_parent_and_a_child_that_import_each_other_are_a_cycle() {
        for import in ["use super::Hook;", "use crate::hooks::Hook;"] {
            let tree = tree(&[
                ("lib.rs", "mod hooks;"),
                ("hooks.rs", "mod kubectl;\nconst HOOKS: &[&Hook] = &[&kubectl::HOOK];\npub struct Hook;"),
                ("hooks/kubectl.rs", import),
            ]);
            assert_one_fault(
                &cycle_faults(&tree),
                &["hooks.rs:2 -> hooks/kubectl.rs (HOOK)", "kubectl.rs:1 -> hooks.rs (Hook)"],
            );
        }
        // Declaring a child module is not an import.
        let tree = tree(&[("hooks.rs", "mod kubectl;\npub struct Hook;"), ("hooks/kubectl.rs", "use super::Hook;")]);
        assert_eq!(cycle_faults(&tree), [""; 0]);
    }

    #[test]
    fn a_cycle_of_two_folders_without_a_cycle_of_files_is_a_fault() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod one; mod two;"),
            ("a/one.rs", "use crate::b::one::X;"),
            ("a/two.rs", "pub struct Y;"),
            ("b/mod.rs", "mod one; mod two;"),
            ("b/one.rs", "pub struct X;"),
            ("b/two.rs", "use crate::a::two::Y;"),
        ]);
        assert_one_fault(
            &cycle_faults(&tree),
            &["2 folders", "a, b", "a/one.rs:1 -> b/one.rs (X)", "b/two.rs:1 -> a/two.rs (Y)"],
        );
    }

    #[test]
    fn a_cycle_of_nested_folders_is_a_fault() {
        let tree = tree(&[
            ("a.rs", "mod b; mod c;"),
            ("a/b.rs", "mod d;"),
            ("a/b/d.rs", "use crate::a::c::C;"),
            ("a/c.rs", "mod e; pub struct C;"),
            ("a/c/e.rs", "use super::super::b::B;"),
        ]);
        assert_one_fault(&cycle_faults(&tree), &["2 folders", "a/b, a/c"]);
    }

    #[test]
    fn an_import_from_a_higher_layer_is_a_fault() {
        let down = [("lib.rs", "mod a; mod b; use a::A;"), ("a.rs", "use crate::b::B;"), ("b.rs", "")];
        assert_eq!(order_faults(&tree(&down), LAYERS), [""; 0]);
        let up = [("lib.rs", ""), ("a.rs", ""), ("b/mod.rs", ""), ("b/c.rs", "use crate::{b::D, a::{self, A}};")];
        assert_one_fault(
            &order_faults(&tree(&up), LAYERS),
            &["b/c.rs:1 -> a.rs (A, a)", "b (used) is below a (users)"],
        );
        let to_the_root = [("lib.rs", "pub struct L;"), ("a.rs", ""), ("b.rs", "use crate::L;")];
        assert_one_fault(&order_faults(&tree(&to_the_root), LAYERS), &["b.rs:1 -> lib.rs (L)", "points up"]);
    }

    #[test]
    fn the_layers_are_the_modules_at_the_root() {
        assert_one_fault(
            &order_faults(&tree(&[("lib.rs", ""), ("a.rs", ""), ("b.rs", ""), ("c/d.rs", "")]), LAYERS),
            &["c is not a layer"],
        );
        assert_one_fault(
            &order_faults(&tree(&[("lib.rs", ""), ("a.rs", "")]), LAYERS),
            &["b (used)", "the tree does not"],
        );
        let files = tree(&[("lib.rs", ""), ("a.rs", ""), ("a/c.rs", ""), ("b.rs", "")]);
        assert_eq!(breadth_faults(&files, 3), [""; 0]);
        assert_one_fault(&breadth_faults(&files, 2), &["3 names", "a, b, lib"]);
    }

    #[test]
    fn a_long_file_is_a_fault_unless_it_has_one_subject() {
        let code = "fn f() {}\n\n// nothing\n".repeat(6);
        let tests = "#[cfg(test)]\nmod tests {\n fn g() {}\n}\n";
        let long = format!("{code}{tests}");
        assert_eq!(length_faults(&tree(&[("a.rs", &long)]), 6), [""; 0]);
        assert_one_fault(&length_faults(&tree(&[("a.rs", &long)]), 5), &["a.rs has 6 lines of code, at most 5"]);
        let with_reason = format!("//! Functions.\n//!\n//! One subject: f.\n{long}");
        assert_eq!(length_faults(&tree(&[("a.rs", &with_reason)]), 5), [""; 0]);
        let without = format!("//! One subject: \n{long}");
        assert_eq!(length_faults(&tree(&[("a.rs", &without)]), 5).len(), 1);
    }

    #[test]
    fn two_visible_types_with_the_same_name_are_a_fault() {
        let files = [
            ("a.rs", "pub struct Found;\nstruct Wire;\nimpl Iterator for A { type Item = B; }"),
            ("b.rs", "\npub(crate) enum Found { X }\nstruct Wire;\nfn found() {}"),
            (
                "c.rs",
                "pub(super) type Other = u8; pub trait Third {}\n#[cfg(test)]\nmod tests {\n  pub struct Third;\n}",
            ),
        ];
        assert_one_fault(&name_faults(&tree(&files), &[]), &["2 types are named Found: a.rs:1, b.rs:2"]);
    }

    #[test]
    fn two_variants_of_a_file_can_have_the_same_types() {
        let variants = ["system/one", "system/two"];
        let both = [("system/one/a.rs", "pub struct X;"), ("system/two/a.rs", "pub enum X {}")];
        assert_eq!(name_faults(&tree(&both), &variants), [""; 0]);
        assert_one_fault(&name_faults(&tree(&both), &[]), &["2 types are named X"]);
        let elsewhere = [("system/one/a.rs", "pub struct X;"), ("system/two/b.rs", "pub enum X {}")];
        assert_one_fault(&name_faults(&tree(&elsewhere), &variants), &["2 types are named X"]);
        let twice = [("system/one/a.rs", "pub struct X;\npub enum X {}")];
        assert_one_fault(&name_faults(&tree(&twice), &variants), &["2 types are named X"]);
    }

    #[test]
    fn a_file_and_a_function_can_have_their_own_maximum_length() {
        let files = tree(&[("main.rs", "fn main() {\n  run()\n}\n")]);
        assert_eq!(file_faults(&files, "main.rs", 3), [""; 0]);
        assert_one_fault(&file_faults(&files, "main.rs", 2), &["main.rs has 3 lines"]);
        assert_one_fault(&file_faults(&files, "gone.rs", 2), &["no file gone.rs"]);
        assert_eq!(function_faults(&files, "main.rs", "main", 3), [""; 0]);
        assert_one_fault(&function_faults(&files, "main.rs", "main", 2), &["main has 3 lines"]);
        assert_one_fault(&function_faults(&files, "main.rs", "gone", 2), &["no function gone"]);
    }

    #[test]
    fn a_platform_call_outside_of_its_folder_is_a_fault() {
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
