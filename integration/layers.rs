//! Checks the structure of the source tree.
//!
//! * A file imports only from its own layer and from the layers below it. An interface is in a layer below both of its
//!   sides.
//! * Nothing imports itself through others: no file and no folder.
//! * Files and functions have a maximum length, and no two visible types share a name.
//!
//! The checker reads the source as text: `use crate::…`, `super::` and paths in the code, but not unit tests. `mod x;`
//! is not an import. A file may exceed the maximum if it says why: see [`rules::ONE_SUBJECT`].

mod cycles;
mod imports;
mod rules;
mod text;
mod tree;

use std::path::Path;

use rules::Layer;
use tree::Tree;

/// The layers of `src`, from top to bottom. Each may import from those below it.
const LAYERS: &[Layer] = &[
    Layer { name: "main", holds: "the process: stdio, clock, exit, exec" },
    Layer { name: "lib", holds: "one run, from input to outcome" },
    Layer { name: "cli", holds: "parses arguments into a call of a hook or a command" },
    Layer { name: "hooks", holds: "the table of hooks, one file for each wire format" },
    Layer { name: "commands", holds: "the table of commands" },
    Layer { name: "serve", holds: "exec --serve: the child and its endpoints" },
    Layer { name: "session", holds: "one run: profile, obtain, reply" },
    Layer { name: "process", holds: "the input and the outcome of a run" },
    Layer { name: "profile", holds: "finds and reads a profile" },
    Layer { name: "sources", holds: "the table of sources" },
    Layer { name: "obtain", holds: "gets a token from the cache or from a grant" },
    Layer { name: "cloud", holds: "requests to the cloud" },
    Layer { name: "cache", holds: "records, locks, attempts" },
    Layer { name: "edit", holds: "edits configuration files of other programs" },
    Layer { name: "disk", holds: "access to ycred's own files" },
    Layer { name: "system", holds: "functions of the operating system" },
    Layer { name: "base", holds: "errors, secrets, time: used by all layers" },
];

/// The layers of `integration`, from top to bottom.
const TEST_LAYERS: &[Layer] = &[
    Layer { name: "main", holds: "the test binary" },
    Layer { name: "layers", holds: "this check" },
    Layer { name: "requirements", holds: "failures seen in similar tools, and the tests that cover them" },
    Layer { name: "docs", holds: "the documentation against the tables" },
    Layer { name: "messages", holds: "every message of the program in one list" },
    Layer { name: "clients", holds: "the real clients" },
    Layer { name: "release", holds: "the files that ship: installed and used" },
    Layer { name: "hostile", holds: "faults in cache, disk and channel, other hosts, and leaks of secrets" },
    Layer { name: "stories", holds: "output and requests, as users see them" },
    Layer { name: "hooks", holds: "the hooks as their clients call them, one row each" },
    Layer { name: "sources", holds: "the sources as the suites use them, one row each" },
    Layer { name: "world", holds: "the fixture of every suite: a sandbox and an emulator" },
    Layer { name: "expect", holds: "checks of what a run printed" },
    Layer { name: "packages", holds: "clients that come as packages" },
    Layer { name: "object_storage", holds: "an emulated Object Storage" },
    Layer { name: "harness", holds: "a sandbox, and the programs that run in it" },
];

/// Separate crates inside `integration`: the emulator, which the tests use as a library, and the stories for Windows.
const OTHER_CRATES: &[&str] = &["emulator", "portable"];

const MAX_LAYERS: usize = 17;
const MAX_LINES: usize = 500;
const MAX_LINES_OF_MAIN: usize = 60;
const MAX_LINES_OF_OBTAIN: usize = 80;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Fails the test with all faults of a source tree.
#[track_caller]
fn assert_no_faults(tree: &str, faults: impl IntoIterator<Item = Vec<String>>) {
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{tree} has {} faults:\n\n{}\n", faults.len(), faults.join("\n\n"));
}

#[test]
fn src_follows_the_rules_of_its_structure() {
    let tree = Tree::read(&root().join("src"), &["ycred"]);
    assert_no_faults(
        "src",
        [
            rules::cycle_faults(&tree),
            rules::order_faults(&tree, LAYERS),
            rules::breadth_faults(&tree, MAX_LAYERS),
            rules::length_faults(&tree, MAX_LINES),
            rules::name_faults(&tree, &["system/unix", "system/windows"]),
            rules::file_faults(&tree, "main.rs", MAX_LINES_OF_MAIN),
            rules::platform_faults(&tree, "system", &["libc::", "std::os::", "/proc/", "target_os"]),
            rules::function_faults(&tree, "obtain.rs", "obtain", MAX_LINES_OF_OBTAIN),
        ],
    );
}

#[test]
fn integration_follows_the_rules_of_its_structure() {
    let tree = Tree::read(&root().join("integration"), &[]).without(OTHER_CRATES);
    assert_no_faults(
        "integration",
        [rules::cycle_faults(&tree), rules::order_faults(&tree, TEST_LAYERS), rules::length_faults(&tree, MAX_LINES)],
    );
}

#[test]
fn the_emulator_follows_the_rules_of_its_structure() {
    let tree = Tree::read(&root().join("integration/emulator/src"), &["ycred_emulator"]);
    assert_no_faults("the emulator", [rules::cycle_faults(&tree), rules::length_faults(&tree, MAX_LINES)]);
}
