//! Finds every hint in the source of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::literals::unescape;

/// Calls that give an error its hint, and the one that makes a command of `chmod`.
const CALLS: [&str; 4] = ["hint", "replace_hint", "map_hint", "mode_hint"];

/// Names under which hints are kept before a call gets them.
const HOLDERS: [&str; 5] = ["let hint ", "let decide ", "hint) = ", "hint: \"", "hint: format!"];

/// Functions that return hints or parts of them.
const FUNCTIONS: [&str; 25] = [
    "fn hint_with_place",
    "fn hint_for_host",
    "fn hint_for_file",
    "fn edit_for_host",
    "fn reason_for_distrust",
    "fn reason_for_exposure",
    "fn private_command",
    "fn renewal_hint",
    "fn hint_for_existing",
    "fn hint_to_create",
    "fn see_help",
    "fn mode_hint",
    "fn own_copy",
    "fn copy_elsewhere",
    "fn login_command",
    "fn connection_hint",
    "fn name_hint",
    "fn portal_hint",
    "fn hint_if_not_tls",
    "fn rejection_hint",
    "fn password_hint",
    "fn near_hint",
    "fn syntax_hint",
    "fn link_hint",
    "fn hint_for_new_directory",
];

/// Returns the hints of the program: the string literals that become one, sorted.
///
/// `faults` gets the calls whose argument has no literal and no name from the lists above.
pub fn hints(faults: &mut Vec<String>) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut hints = BTreeSet::new();
    let files: Vec<(String, String)> = sources(&root)
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).expect("a source file");
            let code = without_comments(text.split("#[cfg(test)]").next().unwrap_or_default());
            (path.strip_prefix(&root).expect("below src").display().to_string(), code)
        })
        .collect();
    let named = files
        .iter()
        .flat_map(|(_, code)| code.match_indices("const ").map(move |(at, start)| (code, at + start.len())))
        .filter_map(|(code, at)| {
            let (name, _) = code[at..].split_once(": &str =")?;
            Some((name, literals(&code[at..end_of_statement(code, at)])))
        });
    // Each system has its own constant of a name.
    let mut constants: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, literals) in named {
        constants.entry(name).or_default().extend(literals);
    }
    for (file, code) in &files {
        hints_of(file, code, &constants, &mut hints, faults);
    }
    hints
}

/// Returns the source of the tests.
pub fn tests() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration");
    let files = sources(&root).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.map(|path| fs::read_to_string(path).expect("a source file")).collect()
}

fn sources(root: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the sources").flatten() {
            if entry.path().is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files.sort();
    files
}

fn hints_of(
    file: &str,
    code: &str,
    constants: &BTreeMap<&str, Vec<String>>,
    hints: &mut BTreeSet<String>,
    faults: &mut Vec<String>,
) {
    for (at, _) in code.match_indices("hint(") {
        let open = at + "hint".len();
        let name_start = code[..open].trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').len();
        if code[..name_start].ends_with("fn ") || !CALLS.contains(&&code[name_start..open]) {
            continue;
        }
        let argument = code[open + 1..end(code, open)].trim();
        let constant = argument.rsplit("::").next().and_then(|name| constants.get(name));
        let found = constant.cloned().unwrap_or_else(|| literals(argument));
        let is_forwarded = ["hint", "see_help", "choices()", "decide(", "edit_for_host(", "fix", "Error::hint"]
            .iter()
            .any(|name| argument.contains(name));
        if found.is_empty() && !is_forwarded {
            let line = code[..at].matches('\n').count() + 1;
            faults.push(format!("{file}:{line}: where does this hint come from? {argument}"));
        }
        hints.extend(found);
    }
    for (at, holder) in HOLDERS.iter().flat_map(|holder| code.match_indices(holder)) {
        // `hint: "` is also the end of a literal.
        let line = code[..at].rsplit('\n').next().unwrap_or_default();
        if line.matches('"').count() % 2 == 1 {
            continue;
        }
        let at = at + holder.find('"').unwrap_or(holder.len());
        hints.extend(literals(&code[at..end_of_statement(code, at)]));
    }
    for (at, _) in FUNCTIONS.iter().flat_map(|function| code.match_indices(function)) {
        let body = match code[at..].starts_with("fn ") {
            true => {
                let open = at + code[at..].find('{').expect("a body");
                &code[open..end(code, open)]
            }
            false => &code[at..end_of_statement(code, at)],
        };
        hints.extend(literals(body));
    }
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line }).collect::<Vec<_>>().join("\n")
}

/// Returns the end of the string literal that starts here, after its last quote.
fn end_of_literal(code: &str, start: usize) -> usize {
    let bytes = code.as_bytes();
    let mut at = start + 1;
    while bytes.get(at).is_some_and(|byte| *byte != b'"') {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// Calls `each` with every byte outside of literals, from `start`, until it returns true. Returns that place.
fn scan(code: &str, start: usize, mut each: impl FnMut(u8) -> bool) -> usize {
    let bytes = code.as_bytes();
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_literal(code, at),
            // A character, and not a lifetime.
            b'\'' if bytes.get(at + 2) == Some(&b'\'') => at += 3,
            b'\'' if bytes.get(at + 1) == Some(&b'\\') => at += 4,
            byte => {
                if each(byte) {
                    return at;
                }
                at += 1;
            }
        }
    }
    bytes.len()
}

/// Returns the place of the bracket that closes the one at `open`.
fn end(code: &str, open: usize) -> usize {
    let mut depth = 0;
    scan(code, open, |byte| {
        depth += i32::from(b"([{".contains(&byte)) - i32::from(b")]}".contains(&byte));
        depth == 0
    })
}

/// Returns the end of the statement, of the field or of the match arm.
fn end_of_statement(code: &str, start: usize) -> usize {
    let mut depth = 0;
    scan(code, start, |byte| {
        depth += i32::from(b"([{".contains(&byte)) - i32::from(b")]}".contains(&byte));
        depth < 0 || depth == 0 && (byte == b';')
    })
}

/// Returns the literals of at least two words.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let bytes = code.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let stop = end_of_literal(code, at).min(code.len());
                let text = unescape(&code[at + 1..stop.saturating_sub(1).max(at + 1)]);
                if text.trim().contains(' ') {
                    found.push(text);
                }
                at = stop;
            }
            // A character, and not a lifetime.
            b'\'' if bytes.get(at + 2) == Some(&b'\'') => at += 3,
            b'\'' if bytes.get(at + 1) == Some(&b'\\') => at += 4,
            _ => at += 1,
        }
    }
    found
}
