//! Compares the documentation with the tables of hooks, commands, flags, sources and keys.
//!
//! Every entry has a page or a row, and the pages name only entries that exist.

mod commands;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ycred::base::environment::Environment;
use ycred::commands::COMMANDS;
use ycred::disk::places::Places;
use ycred::hooks::HOOKS as TABLE;
use ycred::process::flags::FLAGS;
use ycred::profile::Profile;
use ycred::profile::keys::COMMON_KEYS;
use ycred::sources::SOURCES;

use crate::clients::versions;
use crate::harness::Sandbox;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn read(relative: impl AsRef<Path>) -> String {
    let path = root().join(relative);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the paths of the Markdown pages: the root, docs/, packaging/ and the emulator.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for directory in
        ["", "docs", "docs/hooks", "docs/kubernetes", "docs/reference", "packaging", "integration/emulator"]
    {
        let entries = fs::read_dir(root().join(directory)).unwrap_or_else(|error| panic!("{directory}: {error}"));
        let files = entries.map(|entry| entry.expect("a directory entry").path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// A fenced code block.
struct Block {
    /// The string after the opening backticks.
    info: String,
    content: String,
    /// The line of the opening backticks, counted from 1.
    line: usize,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(info), None) => {
                open = Some(Block { info: info.to_owned(), content: String::new(), line: number + 1 })
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.content.push_str(line);
                block.content.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "unclosed code block");
    blocks
}

/// Returns the code on a page: fenced blocks without their comments, and inline code.
fn code(page: &str) -> String {
    let mut is_fenced = false;
    let mut code = String::new();
    for line in page.lines() {
        if line.starts_with("```") {
            is_fenced = !is_fenced;
        } else if is_fenced {
            code.push_str(line.split(" #").next().unwrap_or_default());
        } else {
            code.extend(line.split('`').skip(1).step_by(2).flat_map(|span| [span, "\n"]));
        }
        code.push('\n');
    }
    code
}

#[test]
fn every_hook_has_a_page_with_a_code_block_and_a_row_in_the_table_of_clients() {
    let table = read("docs/compatibility.md");
    for hook in TABLE {
        let page = format!("docs/hooks/{}.md", hook.name);
        let link = format!("(hooks/{}.md)", hook.name);
        let row = table.lines().find(|line| line.starts_with("| [") && line.contains(&link));
        let row = row.unwrap_or_else(|| panic!("docs/compatibility.md has no row for {page}"));
        let content = read(&page);
        assert!(!blocks(&content).is_empty(), "{page} has no code block");
        for name in [Some(format!("ycred {}", hook.name)), hook.symlink.map(str::to_owned)].into_iter().flatten() {
            assert!(row.contains(&name), "docs/compatibility.md's row for {page} does not contain {name}");
        }
        assert!(
            content.contains(hook.symlink.unwrap_or("ycred")),
            "{page} does not name the command that the client runs"
        );
        for flag in hook.flags {
            assert!(content.contains(&format!("--{}", flag.long)), "{page} does not mention --{}", flag.long);
            for choice in flag.choices {
                assert!(content.contains(&format!("`{choice}`")), "{page} does not mention {choice}");
            }
        }
    }
}

/// The second table: every hook that speaks a protocol of another program.
#[test]
fn the_protocol_of_every_hook_is_in_the_table_of_protocols() {
    let page = read("docs/compatibility.md");
    for hook in TABLE.iter().filter(|hook| hook.name != "token") {
        assert!(
            page.contains(&format!("\n| `{}` |", hook.name)),
            "docs/compatibility.md: no protocol for {}",
            hook.name
        );
    }
}

#[test]
fn every_command_and_flag_is_in_the_readme() {
    let readme = read("README.md");
    for command in COMMANDS {
        assert!(readme.contains(&format!("| `ycred {}` |", command.name)), "no row for {}", command.name);
    }
    for flag in FLAGS {
        assert!(readme.contains(&format!("`--{}`", flag.long)), "README.md does not mention --{}", flag.long);
    }
}

#[test]
fn the_readme_has_a_row_for_each_command_and_no_other() {
    let readme = read("README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `ycred ")?.split_once("` |"));
    let rows: Vec<&str> = rows.map(|(name, _)| name).collect();
    let help = ycred::cli::help::help("", ycred::cli::help::Detail::Short);
    let (_, groups) = help.split_once("Set up:\n").expect("the first group");
    let (groups, _) = groups.split_once("\nHooks").expect("the group of hooks");
    let commands = groups.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    assert_eq!(rows, commands.collect::<Vec<_>>(), "in the order of the help");
}

#[test]
fn the_changelog_and_the_pages_name_each_command() {
    let changelog = read("CHANGELOG.md");
    let words = changelog.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect::<BTreeSet<_>>();
    let is_page = |page: &&PathBuf| !page.ends_with("CHANGELOG.md");
    let code: String = pages().iter().filter(is_page).map(|page| code(&read(page))).collect();
    for command in COMMANDS {
        assert!(words.contains(command.name), "CHANGELOG.md does not name {}", command.name);
        let call = format!("ycred {}", command.name);
        let is_whole =
            |at: usize| !code[at + call.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
        assert!(code.match_indices(&call).any(|(at, _)| is_whole(at)), "no page has a call of {call}");
    }
}

/// A message that sends the user to `ycred help TOPIC` names a topic.
#[test]
fn messages_and_pages_name_only_topics_that_exist() {
    use ycred::cli::help::topics::TOPICS;
    let mut texts: Vec<(String, String)> =
        pages().iter().map(|page| (page.display().to_string(), code(&read(page)))).collect();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources").flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => texts.push((path.display().to_string(), read(path))),
            }
        }
    }
    let mut seen = 0;
    for (place, text) in &texts {
        for (at, call) in text.match_indices("ycred help ") {
            let rest = &text[at + call.len()..];
            let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default();
            let is_known = matches!(name, "TOPIC" | "COMMAND") || TOPICS.iter().any(|topic| topic.name == name);
            assert!(is_known || COMMANDS.iter().any(|it| it.name == name), "{place}: `ycred help {name}`");
            seen += 1;
        }
    }
    assert!(seen > 0 && texts.len() > 100, "{seen} in {} files", texts.len());
}

#[test]
fn every_key_of_every_source_is_explained() {
    let page = read("docs/profiles.md");
    let row = |key: &str| page.lines().any(|line| line.starts_with(&format!("| `{key}` |")));
    for key in COMMON_KEYS {
        assert!(row(key.name), "docs/profiles.md has no row for {}", key.name);
    }
    for source in SOURCES {
        let section = page.split("\n### ").find(|section| section.lines().next() == Some(source.name));
        let section = section.unwrap_or_else(|| panic!("docs/profiles.md has no section on {}", source.name));
        assert!(section.contains("```toml profile\n"), "no example of source {}", source.name);
        let start = format!("| [`{0}`](#{0}) |", source.name);
        let summary = page.lines().find(|line| line.starts_with(&start));
        let summary = summary.unwrap_or_else(|| panic!("docs/profiles.md has no row for source {}", source.name));
        for key in source.keys {
            assert!(section.contains(&format!("| `{}` |", key.name)), "{}: no row for {}", source.name, key.name);
            assert!(summary.contains(&format!("`{}`", key.name)), "the row of {} lacks {}", source.name, key.name);
        }
    }
}

/// A profile with an unknown key is rejected, so a row for such a key would mislead.
#[test]
fn every_documented_key_exists() {
    let page = read("docs/profiles.md");
    let own = SOURCES.iter().flat_map(|source| source.keys);
    let known: BTreeSet<&str> = COMMON_KEYS.iter().chain(own).map(|key| key.name).chain(["source"]).collect();
    let mut seen = 0;
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let name = line.split('`').nth(1).unwrap_or_default();
        if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
            assert!(known.contains(name), "docs/profiles.md explains {name}, which is not a key");
            seen += 1;
        }
    }
    assert_eq!(seen, known.len(), "each key has one row");
}

#[test]
fn every_documented_command_exists() {
    let hooks = TABLE.iter().map(|hook| hook.name);
    let known: BTreeSet<&str> = COMMANDS.iter().map(|command| command.name).chain(hooks).chain(["help"]).collect();
    let mut seen = BTreeSet::new();
    for page in pages() {
        let code = code(&fs::read_to_string(&page).expect("a page"));
        for (at, _) in code.match_indices("ycred ") {
            // Skip `docker-credential-ycred get`, a call by symlink; kubectl's message about a plugin that failed; and
            // setup's report.
            let before = &code[..at];
            if before.ends_with(['-', '/', '=']) || before.ends_with("executable ") || before.ends_with("→ ") {
                continue;
            }
            let rest = &code[at + "ycred ".len()..];
            let name = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len())];
            if name.starts_with(|c: char| c.is_ascii_lowercase()) {
                assert!(known.contains(name), "{}: `ycred {name}`", page.display());
                seen.insert(name.to_owned());
            }
        }
    }
    assert!(seen.len() >= known.len() - 1, "only these commands were read from the pages: {seen:?}");
}

#[test]
fn every_profile_in_the_pages_is_valid() {
    let environment = Environment::new(
        [
            "HOME=/home/somebody",
            "IAM_TOKEN=t1.x.y",
            "OAUTH_TOKEN=y0_x",
            "GITLAB_OIDC_TOKEN=x.y.z",
            "ACTIONS_ID_TOKEN_REQUEST_URL=https://github.example/?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN=x",
        ]
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.into(), value.into())),
    );
    let places = Places::of(&environment).expect("places");
    let sandbox = Sandbox::new();
    let mut count = 0;
    for page in pages() {
        let content = fs::read_to_string(&page).expect("a page");
        for block in blocks(&content).into_iter().filter(|block| block.info == "toml profile") {
            let name = format!("block-{count}");
            let place = format!("{}:{}", page.display(), block.line);
            // The library reads the profile and checks the source's keys …
            let path = sandbox.profile(&name, &block.content);
            let profile = Profile::from_text(&name, &path, &block.content, &environment, &places);
            let profile = profile.unwrap_or_else(|error| panic!("{place}: {}", error.render()));
            if let Err(error) = profile.open() {
                panic!("{place}: {}", error.render());
            }
            count += 1;
        }
    }
    assert!(count >= SOURCES.len(), "{count} profiles");
    // … and the program lists it.
    let list = sandbox.ycred(["list"]).run().succeeds();
    let rows = list.stdout.lines().filter(|line| line.ends_with(".toml"));
    assert_eq!(rows.count(), count, "{list}");
    assert!(!list.stdout.contains("broken"), "{list}");
}

#[test]
fn links_between_the_pages_are_not_broken() {
    let mut count = 0;
    for page in pages() {
        let content = fs::read_to_string(&page).expect("a page");
        for link in content.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().expect("a directory").join(file) };
            // A link may lead to a directory, which has no anchors.
            if target.is_dir() && anchor.is_empty() {
                count += 1;
                continue;
            }
            let target =
                fs::read_to_string(&target).unwrap_or_else(|error| panic!("{}: {link}: {error}", page.display()));
            let anchors: Vec<String> = target.lines().filter(|line| line.starts_with('#')).map(anchor_of).collect();
            assert!(
                anchor.is_empty() || anchors.iter().any(|known| known == anchor),
                "{}: {link}: expected one of the anchors {anchors:?}",
                page.display()
            );
            count += 1;
        }
    }
    assert!(count > 20, "{count} links");
}

/// Readers start at the README: a page that no page links to is never read.
#[test]
fn every_page_is_reachable_from_the_readme() {
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reached = BTreeSet::from([canonical(&root().join("README.md"))]);
    let mut open: Vec<PathBuf> = reached.iter().cloned().collect();
    while let Some(page) = open.pop() {
        let content = fs::read_to_string(&page).expect("a page");
        for link in content.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if link.ends_with(".md") && !link.contains("://") {
                let target = canonical(&page.parent().expect("a directory").join(link));
                if reached.insert(target.clone()) {
                    open.push(target);
                }
            }
        }
    }
    let unreachable: Vec<PathBuf> = pages().into_iter().filter(|page| !reached.contains(&canonical(page))).collect();
    assert!(unreachable.is_empty(), "no link leads from README.md to {unreachable:?}");
}

/// Returns the anchor that GitHub derives from a heading.
fn anchor_of(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let characters = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    characters.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_exit_code_is_explained() {
    use ycred::base::error::Kind;
    let page = read("docs/troubleshooting.md");
    for kind in [Kind::Refused, Kind::Usage, Kind::Profile, Kind::Unavailable, Kind::Internal] {
        assert!(page.contains(&format!("\n| {} |", kind.exit_code())), "{kind:?}");
    }
}

#[test]
fn the_readme_names_the_same_rust_version_as_the_manifest() {
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'));
    let version = version.expect("Cargo.toml names a rust-version");
    assert!(read("README.md").contains(&format!("Rust {version} or later")), "README.md does not name Rust {version}");
}

#[test]
fn the_table_of_clients_names_the_tested_versions() {
    let page = read("docs/compatibility.md");
    for package in versions::named_in_the_documentation() {
        let version = package.rsplit(['=', '@']).next().unwrap_or_default();
        let row = page.lines().find(|line| line.starts_with("| [") && line.contains(version));
        assert!(row.is_some(), "docs/compatibility.md does not name {package}");
    }
}

/// A new measurement must not leave old figures on another page.
#[test]
fn the_comparison_has_the_figures_of_the_page_on_performance() {
    let (comparison, performance) = (read("docs/comparison.md"), read("docs/performance.md"));
    let rows =
        comparison.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" times |")?.split_once(" | "));
    let mut count = 0;
    for (tool, figure) in rows {
        // The name without its version, and without backticks.
        let name = tool.split(' ').find(|word| word.contains('-')).unwrap_or(tool).trim_matches('`');
        let mut measured = performance.lines().filter(|line| line.contains(name));
        assert!(measured.any(|line| line.contains(&format!("{figure} times"))), "{tool}: {figure} times: not measured");
        count += 1;
    }
    assert_eq!(count, 3);
}

#[test]
fn the_page_of_injected_faults_has_the_rows_of_the_tests() {
    let page = read("docs/robustness.md");
    let is_minimum = |cell: &str| cell.parse::<u32>().is_ok();
    let cells = page.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let documented: BTreeSet<String> =
        cells.filter(|cells| cells.len() == 5 && is_minimum(cells[2])).map(|cells| cells[1].to_owned()).collect();
    let mut reported = BTreeSet::new();
    let mut folders = vec![root().join("integration")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the tests").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(entry.path()).expect("a source file");
                let calls = source.split(concat!("report_", "faults(")).skip(1);
                reported.extend(
                    calls.filter_map(|call| Some(call.trim().strip_prefix('"')?.split_once('"')?.0.to_owned())),
                );
            }
        }
    }
    assert!(reported.len() > 15, "{reported:?}");
    assert_eq!(documented, reported);
}
