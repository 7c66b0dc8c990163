//! On which systems the requirements are tested, from the places and the `cfg` attributes of their tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A requirement: its id, and the names of its tests, if it has any.
pub type Row = (&'static str, Option<&'static [&'static str]>);

/// A system, as a bit of a set.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Systems(u8);

const LINUX: Systems = Systems(1);
const MACOS: Systems = Systems(2);
const WINDOWS: Systems = Systems(4);
const UNIX: Systems = Systems(3);
const ALL: Systems = Systems(7);

impl Systems {
    fn has(self, other: Systems) -> bool {
        self.0 & other.0 != 0
    }

    fn and(self, other: Systems) -> Systems {
        Systems(self.0 & other.0)
    }
}

/// What shows a requirement on Windows, or why nothing does.
enum OnWindows {
    /// Names of tests that run under Wine.
    Tested(&'static [&'static str]),
    /// Windows has nothing of this kind.
    NotApplicable(&'static str),
    /// Windows has it, but no test can show it here.
    NotTestable(&'static str),
    /// No test shows it yet.
    NotTested(&'static str),
}
use OnWindows::{NotApplicable, NotTestable, NotTested, Tested};

const NO_FAULTS: OnWindows = NotTestable("Wine cannot make a system call fail");
const NO_TRACE: OnWindows = NotTestable("Wine does not list the system calls of a program");

/// The requirements that depend on the system. What the others are about does not, and their tests on Linux run the same code.
#[rustfmt::skip]
const ON_WINDOWS: &[(&str, OnWindows)] = &[
    ("F01", Tested(&["twenty_processes_make_one_request"])),
    ("F05", Tested(&["killed_processes_leave_a_usable_cache"])),
    ("F07", NO_FAULTS),
    ("F08", NO_FAULTS),
    ("F09", Tested(&["a_lock_excludes_others_and_leaves_the_content_readable"])),
    ("F10", Tested(&["the_cache_is_private"])),
    ("F15", Tested(&["a_file_that_is_open_for_reading_is_replaced_at_the_latest_when_it_is_closed"])),
    ("F16", Tested(&["killed_processes_leave_a_usable_cache"])),
    ("F17", NO_FAULTS),
    ("F21", Tested(&["a_cache_that_others_can_write_is_not_used"])),
    ("F22", NotApplicable("the directories are those of `%APPDATA%` and `%LOCALAPPDATA%`, not of HOME")),
    ("F23", NotApplicable("without USERPROFILE, Windows itself knows the home directory")),
    ("F26", NotApplicable("ycred does not follow links in its own directories there")),
    ("F43", Tested(&["a_token_is_fetched_once_and_then_cached"])),
    ("F45", Tested(&["a_token_is_fetched_once_and_then_cached"])),
    ("F46", NotTested("no story closes a standard stream")),
    ("F47", Tested(&["a_login_is_kept_and_renewed_by_a_process_of_its_own"])),
    ("F48", Tested(&["a_command_of_a_profile_gets_its_directory_and_ends_at_the_deadline"])),
    ("F49", Tested(&["kubectl_gets_an_exec_credential"])),
    ("F50", NotTested("no story closes stdout")),
    ("F52", Tested(&["the_only_missing_key_file_is_named_with_its_path"])),
    ("F53", Tested(&["docker_finds_the_helper_by_its_name"])),
    ("F54", Tested(&["docker_finds_the_helper_by_its_name"])),
    ("F56", Tested(&["git_gets_a_password_for_its_host_alone"])),
    ("F59", Tested(&["a_script_is_found_by_its_extension_and_its_exit_code_is_returned", "ctrl_c_reaches_the_program_and_ycred_waits_for_it"])),
    ("F60", NotTestable("from Linux, no argument that is not UTF-16 can be passed to Wine")),
    ("F64", NotTested("no story uses TLS")),
    ("F67", NO_TRACE),
    ("F68", Tested(&["a_private_directory_gives_access_to_its_owner_only", "the_cache_is_private"])),
    ("F69", Tested(&["a_profile_that_others_can_write_is_refused"])),
    ("F70", NotTestable("Wine shows a link as the file that it leads to")),
    ("F74", NotTestable("only Windows writes error reports")),
    ("F75", Tested(&["a_key_file_that_others_can_read_causes_a_warning"])),
    ("F77", Tested(&["docker_gets_a_helper_and_everything_goes_again", "a_kubeconfig_with_crlf_comes_back_to_the_byte"])),
    ("F78", Tested(&["a_kubeconfig_with_crlf_comes_back_to_the_byte"])),
    ("F79", NO_TRACE),
    ("F80", NotApplicable("there are no images for Windows")),
    ("F84", Tested(&["docker_finds_the_helper_by_its_name"])),
];

/// The systems on which the tests of a file run.
fn systems_of_file(path: &str, text: &str) -> Systems {
    let by_place = match path {
        _ if path.starts_with("src/system/windows") => WINDOWS,
        _ if path.starts_with("src/system/unix/linux") => LINUX,
        _ if path.starts_with("src/system/unix/macos") => MACOS,
        _ if path.starts_with("src/system/unix") => UNIX,
        _ if path.starts_with("src/system/") => ALL,
        // Wine does not run them.
        _ if path.starts_with("src/") => UNIX,
        // The harness of the other tests needs Linux.
        _ => LINUX,
    };
    text.lines()
        .filter(|line| line.starts_with("#![cfg("))
        .fold(by_place, |systems, line| systems.and(systems_of(line)))
}

/// The systems for which an attribute compiles an item.
fn systems_of(attribute: &str) -> Systems {
    let attribute = attribute.trim().trim_start_matches("#!").trim_start_matches('#');
    match attribute {
        "[cfg(unix)]" => UNIX,
        "[cfg(windows)]" => WINDOWS,
        "[cfg(target_os = \"linux\")]" => LINUX,
        "[cfg(not(windows))]" => UNIX,
        _ => ALL,
    }
}

/// Returns each test of a file, with the systems on which it runs.
fn tests_of(path: &str, text: &str) -> Vec<(String, Systems)> {
    // Those that are `cfg(unix)` drive the Windows program from Linux.
    let story = path.strip_prefix("integration/portable/");
    let story = story.map(|path| if path.starts_with("windows/") { WINDOWS } else { ALL });
    let of_file = systems_of_file(path, text);
    let (mut found, mut attributes, mut module) = (Vec::new(), ALL, ALL);
    for line in text.lines() {
        let code = line.trim_start();
        if code.starts_with("#[") {
            attributes = attributes.and(systems_of(code));
        } else if (line.starts_with("mod ") || line.starts_with("pub mod ")) && line.ends_with('{') {
            (module, attributes) = (attributes, ALL);
        } else if let Some(rest) = code.strip_prefix("fn ") {
            let name = rest.split('(').next().unwrap_or_default().to_owned();
            found.push((name, story.unwrap_or_else(|| of_file.and(module).and(attributes))));
            attributes = ALL;
        } else if !code.starts_with("//") && !code.is_empty() {
            attributes = ALL;
        }
        if line == "}" {
            module = ALL;
        }
    }
    found
}

/// Returns the systems on which each function runs, for all functions of all sources.
fn all_tests(sources: &[PathBuf], root: &Path) -> BTreeMap<String, Systems> {
    let mut tests: BTreeMap<String, Systems> = BTreeMap::new();
    for file in sources {
        let text = std::fs::read_to_string(file).expect("a source file");
        let path = file.strip_prefix(root).unwrap_or(Path::new("")).to_string_lossy().into_owned();
        for (name, systems) in tests_of(&path, &text) {
            let known = tests.entry(name).or_insert(Systems(0));
            known.0 |= systems.0;
        }
    }
    tests
}

/// Returns the section of the page.
pub fn section(requirements: &[Row], sources: &[PathBuf], root: &Path) -> String {
    let tests = all_tests(sources, root);
    let mut page = String::from(
        "\n## Platforms\n\n\
         The table is made from the places of the tests, from their `cfg` attributes, and from the list in\n\
         `integration/requirements/platforms.rs`.\n\n\
         * **Linux**: `.ci/run` runs the tests on every commit.\n\
         * **macOS**: *workflow* means a unit test or a portable story, which `.github/workflows/platforms.yml` runs on a Mac. It has not \
         run yet. No\n  other test can run here. `.ci/platforms native` runs the same tests on Linux.\n\
         * **Windows**: `.ci/platforms windows` runs the tests under Wine. *Same code* means that the requirement does not depend on the \
         system: its tests\n  on Linux run the same code.\n\n\
         | | Linux | macOS | Windows |\n|---|---|---|---|\n",
    );
    for (id, proof) in requirements {
        let runs_on = |names: &[&str], system| {
            names.iter().any(|name| tests.get(*name).is_some_and(|systems| systems.has(system)))
        };
        let on_windows = ON_WINDOWS.iter().find(|(listed, _)| listed == id).map(|(_, what)| what);
        // A story for Windows may be a portable one.
        let stories = if let Some(Tested(names)) = on_windows { names } else { &[][..] };
        let (linux, macos) = match proof {
            Some(names) => (
                if runs_on(names, LINUX) { "tested" } else { "not testable here" },
                if runs_on(names, MACOS) || runs_on(stories, MACOS) { "workflow" } else { "not testable here" },
            ),
            None => ("not applicable", "not applicable"),
        };
        let windows = match (on_windows, proof) {
            (Some(Tested(names)), _) => {
                format!("tested: {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" · "))
            }
            (Some(NotApplicable(why)), _) => format!("not applicable: {why}"),
            (Some(NotTestable(why)), _) => format!("not testable here: {why}"),
            (Some(NotTested(why)), _) => format!("not tested: {why}"),
            (None, Some(_)) => "same code".to_owned(),
            (None, None) => "not applicable".to_owned(),
        };
        let _ = writeln!(page, "| {id} | {linux} | {macos} | {windows} |");
    }
    page
}

/// Checks that the tests in the list run on Windows.
pub fn faults(requirements: &[Row], sources: &[PathBuf], root: &Path) -> Vec<String> {
    let tests = all_tests(sources, root);
    let mut faults = Vec::new();
    for (id, on_windows) in ON_WINDOWS {
        if !requirements.iter().any(|(known, _)| known == id) {
            faults.push(format!("{id}: no such requirement"));
        }
        if let Tested(names) = on_windows {
            let runs = |name: &str| tests.get(name).is_some_and(|systems| systems.has(WINDOWS));
            faults.extend(
                names.iter().filter(|name| !runs(name)).map(|name| format!("{id}: {name} does not run on Windows")),
            );
        }
    }
    faults
}

#[test]
fn the_systems_of_a_test_follow_from_its_place_and_its_attributes() {
    let systems = |path: &str, text: &str| tests_of(path, text).into_iter().map(|(_, it)| it.0).collect::<Vec<_>>();
    let plain = "#[cfg(test)]\nmod tests {\n    #[test]\n    fn one() {\n    }\n}\n";
    assert_eq!(systems("src/x.rs", plain), [UNIX.0]);
    assert_eq!(systems("src/system/x.rs", plain), [ALL.0]);
    assert_eq!(systems("src/system/windows/x.rs", plain), [WINDOWS.0]);
    assert_eq!(systems("integration/x.rs", "#[test]\nfn one() {}\n"), [LINUX.0]);
    assert_eq!(systems("integration/portable/x.rs", "#[test]\nfn one() {}\n"), [ALL.0]);
    assert_eq!(systems("integration/portable/windows/x.rs", "#[test]\nfn one() {}\n"), [WINDOWS.0]);
    assert_eq!(systems("integration/portable/windows/x.rs", "#![cfg(unix)]\n#[test]\nfn one() {}\n"), [WINDOWS.0]);
    let unix = plain.replace("#[cfg(test)]\n", "#[cfg(test)]\n#[cfg(unix)]\n");
    assert_eq!(systems("src/system/x.rs", &unix), [UNIX.0]);
    let two = "#[cfg(test)]\nmod tests {\n    #[test]\n    #[cfg(unix)]\n    fn one() {\n    }\n    #[test]\n    fn two() {\n    }\n}\n";
    assert_eq!(systems("src/system/x.rs", two), [UNIX.0, ALL.0]);
}
