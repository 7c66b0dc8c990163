//! Clients whose files ycred does not edit: `setup` creates the link that the client runs, and prints what to add.

pub mod check;

use std::path::{Path, PathBuf};

use crate::base::error::Result;
use crate::commands::clients::client::{SetupCall, Use, profile_in};
use crate::commands::clients::profiles::Chosen;
use crate::commands::clients::program;
use crate::commands::clients::public;
use crate::commands::clients::report::{ChangeReport, Report};
use crate::commands::clients::undo::unlink_by_form;
use crate::commands::clients::values;
use crate::disk::files;
use crate::edit::target::TargetFile;
use crate::session::Session;
use crate::system::programs;

/// Returns the text of a file, or an empty one.
pub fn read(path: &Path) -> String {
    TargetFile::read(path).ok().and_then(|target| target.text).unwrap_or_default()
}

/// Returns the number of the first line that is not a comment and matches.
pub fn line_with(text: &str, is_match: impl Fn(&str) -> bool) -> Option<usize> {
    text.lines().position(|line| !is_comment(line) && is_match(line)).map(|at| at + 1)
}

/// Returns true if a line contains a word as a whole, for example as the last part of a path.
pub fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let is_start = !line[..at].ends_with(is_part);
        is_start && !line[at + word.len()..].starts_with(is_part)
    })
}

/// Returns the file and the number of the line that names a link.
pub fn naming_line(files: &[PathBuf], link: &Path) -> Option<(PathBuf, usize)> {
    let name = programs::own_name(link)?;
    files.iter().find_map(|file| {
        let line = line_with(&read(file), |line| has_word(line, name))?;
        Some((file.clone(), line))
    })
}

/// Returns the lines that name ycred by a hook's link or by its command: those that contain `option`.
pub fn uses_in(files: &[PathBuf], option: &str, hook: &str) -> Vec<Use> {
    let use_in = |file: &PathBuf, number: usize, line: &str| {
        let is_whole = |at: &usize| !line[..*at].ends_with(is_part);
        let link = line.match_indices(hook).map(|(at, _)| at).find(is_whole);
        let profile = match (link, line.contains(option)) {
            (Some(at), true) => suffix(&line[at + hook.len()..]),
            (None, true) if has_word(line, "ycred") => profile_in(line),
            _ => return None,
        };
        Some(Use { file: file.clone(), label: format!("line {}", number + 1), profile, note: None })
    };
    let uses = |file: &PathBuf| {
        let text = read(file);
        let lines = text.lines().enumerate().filter(|(_, line)| !is_comment(line));
        lines.filter_map(|(number, line)| use_in(file, number, line)).collect::<Vec<_>>()
    };
    files.iter().flat_map(uses).collect()
}

/// Returns the profile in the rest of a link's name.
fn suffix(rest: &str) -> Option<String> {
    let rest = rest.strip_prefix('-')?;
    let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}

/// Returns the profile in a link's name.
pub fn suffix_of(program: &str, hook: &str) -> Option<String> {
    let rest = programs::own_name(Path::new(program))?.strip_prefix(hook)?.strip_prefix('-')?;
    Some(public::profile(rest).to_owned())
}

/// Returns a host, with or without a path, as it may be printed: what has other characters may be a password.
pub fn place(text: &str) -> &str {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-*:/".contains(c));
    if is_plain { text } else { public::HIDDEN }
}

/// Returns the number of the line at an offset.
pub fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Returns true if the character can be part of a program's name.
fn is_part(c: char) -> bool {
    c.is_alphanumeric() || "-_.".contains(c)
}

/// Returns true for a line that the client ignores.
pub fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with(['#', ';'])
}

/// Returns the name of a hook's link for a profile: the suffix is the profile, unless it is the default one.
///
/// # Errors
/// As [`Chosen::suffix`].
pub fn link_name(hook: &str, chosen: &Chosen, session: &Session<'_>) -> Result<String> {
    let suffix = chosen.suffix("a link's name", session)?;
    Ok(suffix.map_or_else(|| hook.to_owned(), |profile| format!("{hook}-{profile}")))
}

/// Creates a hook's link in the directory of ycred, else in `~/.local/bin`.
///
/// # Errors
/// As [`values::link`].
pub fn link(call: &SetupCall<'_>, name: &str, ycred: &str, session: &Session<'_>) -> Result<(PathBuf, ChangeReport)> {
    let ycred = Path::new(ycred);
    let beside = ycred.parent().map(Path::to_owned);
    let name = programs::own_file_name(name);
    let existing = beside.as_ref().map(|directory| directory.join(&name)).filter(|path| program::is_same(path, ycred));
    let local = session.places.home.as_ref().map(|home| home.join(".local/bin"));
    let directory = beside.filter(|directory| program::is_writable(directory)).or(local).unwrap_or_default();
    let path = existing.unwrap_or_else(|| directory.join(name));
    let change = values::link(call, &path, ycred)?;
    Ok((path, change))
}

/// Without a journal, removes a hook's links, unless a file names them.
///
/// # Errors
/// As [`unlink_by_form`].
pub fn undo_without_journal(hook: &str, call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let beside = program::running(session).ok().and_then(|ycred| Path::new(&ycred.path).parent().map(Path::to_owned));
    let local = session.places.home.as_ref().map(|home| home.join(".local/bin"));
    let mut directories: Vec<PathBuf> = beside.into_iter().chain(local).collect();
    directories.dedup();
    let mut report = Report::default();
    for directory in directories {
        let entries = files::paths(&directory).into_iter();
        let is_link = |path: &PathBuf| {
            let name = programs::own_name(path).and_then(|name| name.strip_prefix(hook));
            name.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let mut links: Vec<PathBuf> = entries.filter(is_link).collect();
        links.sort();
        for link in links {
            report.add(unlink_by_form(call, &link, session)?);
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_name_ycred_have_their_profile() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("x");
        let text = "# o=/a/ycred-pnpm-no\no=/a/ycred-pnpm\no=/a/ycred-pnpm-prod\no=[\"/a/ycred\", \"--profile\", \"stage\"]\no=[\"ycred-pnpm-p\"]\nx=/a/ycred-pnpm\n";
        crate::disk::store::replace(&file, text.as_bytes(), false).expect("written");
        let found = uses_in(&[file], "o=", "ycred-pnpm").into_iter().map(|place| (place.label, place.profile));
        let found: Vec<(String, Option<String>)> = found.collect();
        let line = |number: usize, profile: Option<&str>| (format!("line {number}"), profile.map(str::to_owned));
        assert_eq!(found, [line(2, None), line(3, Some("prod")), line(4, Some("stage")), line(5, Some("p"))]);
    }

    #[test]
    fn a_word_is_found_as_a_whole_and_outside_comments() {
        assert!(has_word("//h/:tokenHelper=/x/ycred-pnpm", "ycred-pnpm"));
        assert!(!has_word("//h/:tokenHelper=/x/ycred-pnpm-prod", "ycred-pnpm"));
        assert!(has_word("tokenHelper=ycred pnpm", "ycred") && !has_word("my-ycred", "ycred"));
        let is_match = |line: &str| has_word(line, "b");
        assert_eq!(line_with("# b\n ; b\na\nb\n", is_match), Some(4));
        assert_eq!(line_with("# b\n", is_match), None);
    }
}
