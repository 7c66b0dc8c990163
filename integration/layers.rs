//! The structure of the sources against its rules: imports lead down, and files and names can be found.
//!
//! A contract lives below both of its sides, a folder is a layer or a kind, and arrows point down. The checker reads
//! `use crate::…`, `super::` and paths in the code as text, outside of unit tests; `mod x;` is not an import. A file over the
//! limit says why at its head: see [`rules::ONE_SUBJECT`].

mod circles;
mod imports;
mod rules;
mod text;
mod tree;

use std::path::Path;

use rules::Layer;
use tree::Tree;

/// The names at the top of `src`, from top to bottom: each may import those below it.
const LAYERS: &[Layer] = &[
    Layer { name: "main", holds: "the process: stdio, clock, exit, exec" },
    Layer { name: "lib", holds: "the program on one page" },
    Layer { name: "cli", holds: "arguments to a call of a hook or a command" },
    Layer { name: "hooks", holds: "the table of hooks, one file for each wire format" },
    Layer { name: "commands", holds: "the table of commands" },
    Layer { name: "serve", holds: "exec --serve: the child and its endpoints" },
    Layer { name: "session", holds: "one run: profile, obtain, reply" },
    Layer { name: "process", holds: "what a process is given and must do" },
    Layer { name: "profile", holds: "finds and reads a profile" },
    Layer { name: "sources", holds: "the table of sources" },
    Layer { name: "obtain", holds: "from a grant to a token, through the cache" },
    Layer { name: "cloud", holds: "requests to the cloud" },
    Layer { name: "cache", holds: "records, locks, attempts" },
    Layer { name: "disk", holds: "which files may be touched, and how" },
    Layer { name: "system", holds: "what the operating system is asked for" },
    Layer { name: "base", holds: "errors, secrets, time: what everything is written in" },
];

/// The names at the top of `integration`, from top to bottom.
const TEST_LAYERS: &[Layer] = &[
    Layer { name: "main", holds: "the test binary" },
    Layer { name: "layers", holds: "this check" },
    Layer { name: "requirements", holds: "what broke tools of this kind, and the tests that cover it" },
    Layer { name: "docs", holds: "the documentation against the tables" },
    Layer { name: "messages", holds: "every message of the program in one list" },
    Layer { name: "clients", holds: "the real clients" },
    Layer { name: "hostile", holds: "faults in cache, disk and channel, other hosts, and leaks of secrets" },
    Layer { name: "stories", holds: "what a user sees, and what it costs" },
    Layer { name: "hooks", holds: "the hooks as their clients call them, one row each" },
    Layer { name: "sources", holds: "the sources as suites use them, one row each" },
    Layer { name: "world", holds: "a user with a cloud: the fixture of every suite" },
    Layer { name: "expect", holds: "what a run of ycred must have said" },
    Layer { name: "packages", holds: "clients that come as packages" },
    Layer { name: "object_storage", holds: "a stand-in for Object Storage" },
    Layer { name: "harness", holds: "a sandbox, and the programs that run in it" },
];

/// A crate of its own, of which `integration` is a user.
const EMULATOR: &[&str] = &["emulator"];

const MOST_NAMES: usize = 17;
const MOST_LINES: usize = 500;
const MOST_LINES_OF_MAIN: usize = 60;
const MOST_LINES_OF_OBTAIN: usize = 80;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn holds(what: &str, faults: impl IntoIterator<Item = Vec<String>>) {
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{what} has {} faults:\n\n{}\n", faults.len(), faults.join("\n\n"));
}

#[test]
fn src_has_one_way_layers() {
    let tree = Tree::read(&root().join("src"), &["ycred"]);
    holds(
        "src",
        [
            rules::circle_faults(&tree),
            rules::order_faults(&tree, LAYERS),
            rules::breadth_faults(&tree, MOST_NAMES),
            rules::length_faults(&tree, MOST_LINES),
            rules::name_faults(&tree),
            rules::file_faults(&tree, "main.rs", MOST_LINES_OF_MAIN),
            rules::platform_faults(&tree, "system", &["libc::", "std::os::", "/proc/", "target_os"]),
            rules::function_faults(&tree, "obtain.rs", "obtain", MOST_LINES_OF_OBTAIN),
        ],
    );
}

#[test]
fn integration_has_one_way_layers() {
    let tree = Tree::read(&root().join("integration"), &[]).without(EMULATOR);
    holds(
        "integration",
        [rules::circle_faults(&tree), rules::order_faults(&tree, TEST_LAYERS), rules::length_faults(&tree, MOST_LINES)],
    );
}

#[test]
fn emulator_has_one_way_layers() {
    let tree = Tree::read(&root().join("integration/emulator/src"), &["ycred_emulator"]);
    holds("the emulator", [rules::circle_faults(&tree), rules::length_faults(&tree, MOST_LINES)]);
}
