//! The documentation against the tables: what there is has a page, and nothing is written about that is not there.

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

/// Every page in Markdown: the root's, docs/ and packaging/.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for directory in ["", "docs", "docs/hooks", "packaging"] {
        let entries = fs::read_dir(root().join(directory)).unwrap_or_else(|error| panic!("{directory}: {error}"));
        let files = entries.map(|entry| entry.expect("a directory entry").path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    }
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// A fenced block: what stands behind the backticks, its text, and the line that it begins on.
struct Block {
    info: String,
    text: String,
    line: usize,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(info), None) => open = Some(Block { info: info.to_owned(), text: String::new(), line: number + 1 }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// What the page says in code: fenced blocks without their comments, and what stands between single backticks.
fn code(page: &str) -> String {
    let mut fenced = false;
    let mut code = String::new();
    for line in page.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            code.push_str(line.split(" #").next().unwrap_or_default());
        } else {
            code.extend(line.split('`').skip(1).step_by(2).flat_map(|span| [span, "\n"]));
        }
        code.push('\n');
    }
    code
}

#[test]
fn every_hook_has_a_page_with_something_to_paste_and_a_row_in_the_readme() {
    let readme = read("README.md");
    for protocol in TABLE {
        let hook = protocol;
        let page = format!("docs/hooks/{}.md", hook.name);
        let row = readme.lines().find(|line| line.starts_with('|') && line.contains(&format!("({page})")));
        let row = row.unwrap_or_else(|| panic!("README.md has no row for {page}"));
        let text = read(&page);
        assert!(!blocks(&text).is_empty(), "{page} has nothing to paste");
        for word in [Some(format!("ycred {}", hook.name)), hook.symlink.map(str::to_owned)].into_iter().flatten() {
            assert!(row.contains(&word), "README.md's row for {page} does not say {word}");
        }
        assert!(text.contains(hook.symlink.unwrap_or("ycred")), "{page} does not name what is called");
        for flag in hook.flags {
            assert!(text.contains(&format!("--{}", flag.long)), "{page} does not tell of --{}", flag.long);
            for choice in flag.choices {
                assert!(text.contains(&format!("`{choice}`")), "{page} does not tell of {choice}");
            }
        }
    }
}

#[test]
fn every_command_and_flag_is_in_the_readme() {
    let readme = read("README.md");
    for command in COMMANDS {
        assert!(readme.contains(&format!("| `ycred {}` |", command.name)), "no row for {}", command.name);
    }
    for flag in FLAGS {
        assert!(readme.contains(&format!("`--{}`", flag.long)), "not a word of --{}", flag.long);
    }
}

#[test]
fn every_key_of_every_source_is_explained() {
    let page = read("docs/profiles.md");
    let readme = read("README.md");
    let row = |key: &str| page.lines().any(|line| line.starts_with(&format!("| `{key}` |")));
    for key in COMMON_KEYS {
        assert!(row(key.name), "docs/profiles.md has no row for {}", key.name);
    }
    for source in SOURCES {
        let section = page.split("\n### ").find(|section| section.lines().next() == Some(source.name));
        let section = section.unwrap_or_else(|| panic!("docs/profiles.md has no section on {}", source.name));
        assert!(section.contains("```toml profile\n"), "no example of source {}", source.name);
        let summary = readme.lines().find(|line| line.starts_with(&format!("| `{}` |", source.name)));
        let summary = summary.unwrap_or_else(|| panic!("README.md has no row for source {}", source.name));
        for key in source.keys {
            assert!(section.contains(&format!("| `{}` |", key.name)), "{}: no row for {}", source.name, key.name);
            assert!(summary.contains(&format!("`{}`", key.name)), "README.md: {} lacks {}", source.name, key.name);
        }
    }
}

/// No row of a key that there is not, which would be an error to whoever writes it.
#[test]
fn no_key_is_explained_that_does_not_exist() {
    let page = read("docs/profiles.md");
    let own = SOURCES.iter().flat_map(|source| source.keys);
    let known: BTreeSet<&str> = COMMON_KEYS.iter().chain(own).map(|key| key.name).chain(["source"]).collect();
    let mut seen = 0;
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let name = line.split('`').nth(1).unwrap_or_default();
        if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
            assert!(known.contains(name), "docs/profiles.md explains {name}, which is no key");
            seen += 1;
        }
    }
    assert_eq!(seen, known.len(), "each key has one row");
}

#[test]
fn nothing_is_written_about_a_command_that_does_not_exist() {
    let hooks = TABLE.iter().map(|protocol| protocol.name);
    let known: BTreeSet<&str> = COMMANDS.iter().map(|command| command.name).chain(hooks).collect();
    let mut seen = BTreeSet::new();
    for page in pages() {
        let text = code(&fs::read_to_string(&page).expect("a page"));
        for (at, _) in text.match_indices("ycred ") {
            // `docker-credential-ycred get` is another command line, and kubectl's own message speaks of one that failed.
            let before = &text[..at];
            if before.ends_with(['-', '/', '=']) || before.ends_with("executable ") {
                continue;
            }
            let rest = &text[at + "ycred ".len()..];
            let word = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len())];
            if word.starts_with(|c: char| c.is_ascii_lowercase()) {
                assert!(known.contains(word), "{}: `ycred {word}`", page.display());
                seen.insert(word.to_owned());
            }
        }
    }
    assert!(seen.len() >= known.len() - 1, "the pages are not read as they should be: {seen:?}");
}

#[test]
fn every_profile_in_the_pages_is_one() {
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
        let text = fs::read_to_string(&page).expect("a page");
        for block in blocks(&text).into_iter().filter(|block| block.info == "toml profile") {
            let name = format!("block-{count}");
            let place = format!("{}:{}", page.display(), block.line);
            // With the library, down to the source's own judgement of its keys …
            let path = sandbox.profile(&name, &block.text);
            let profile = Profile::from_text(&name, &path, &block.text, &environment, &places);
            let profile = profile.unwrap_or_else(|error| panic!("{place}: {}", error.render()));
            if let Err(error) = profile.open() {
                panic!("{place}: {}", error.render());
            }
            count += 1;
        }
    }
    assert!(count >= SOURCES.len(), "{count} profiles");
    // … and by the program.
    let list = sandbox.ycred(["list"]).run().succeeds();
    assert_eq!(list.stdout.lines().count(), count, "{list}");
    assert!(!list.stdout.contains("broken"), "{list}");
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().expect("a directory").join(file) };
            let content =
                fs::read_to_string(&target).unwrap_or_else(|error| panic!("{}: {link}: {error}", page.display()));
            let anchors: Vec<String> = content.lines().filter(|line| line.starts_with('#')).map(anchor_of).collect();
            assert!(
                anchor.is_empty() || anchors.iter().any(|known| known == anchor),
                "{}: {link}: none of {anchors:?}",
                page.display()
            );
            count += 1;
        }
    }
    assert!(count > 20, "{count} links");
}

/// As GitHub makes it from a heading.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The codes themselves are in one place.
#[test]
fn every_exit_code_is_explained() {
    use ycred::base::error::Kind;
    let page = read("docs/troubleshooting.md");
    for kind in [Kind::Refused, Kind::Usage, Kind::Profile, Kind::Unavailable, Kind::Internal] {
        assert!(page.contains(&format!("\n| {} |", kind.exit_code())), "{kind:?}");
    }
}

#[test]
fn the_readme_names_the_toolchain_that_the_manifest_does() {
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'));
    let version = version.expect("Cargo.toml names a rust-version");
    assert!(read("README.md").contains(&format!("Rust {version} or later")), "README.md names another than {version}");
}

#[test]
fn the_readme_names_the_versions_that_are_tried() {
    let readme = read("README.md");
    for package in versions::named_in_the_readme() {
        let version = package.rsplit(['=', '@']).next().unwrap_or_default();
        let row = readme.lines().find(|line| line.starts_with("| [") && line.contains(version));
        assert!(row.is_some(), "README.md does not name {package}");
    }
}
