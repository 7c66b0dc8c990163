//! Parses a profile's file: settings or an alias. Each error names the file and the line.

use std::ops::Range;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::base::suggest::nearest;
use crate::disk::places::Places;
use crate::profile::keys::COMMON_KEYS;
use crate::sources::settings::{SettingPlace, Settings};
use crate::sources::source::Source;
use crate::sources::{self, SOURCES};

/// The path and content of a profile.
pub struct ProfileFile {
    pub path: PathBuf,
    pub text: String,
}

impl ProfileFile {
    /// Parses the file as TOML.
    ///
    /// # Errors
    /// Profile (3): the file is not TOML.
    pub fn parse(&self) -> Result<DeTable<'_>> {
        // Only the first line of the parser's message: the others quote the file, which may contain a misplaced secret.
        DeTable::parse(&self.text).map(toml::Spanned::into_inner).map_err(|error| {
            let why = plain(error.message());
            let at = error.span().unwrap_or(0..0);
            let line = self.text.lines().nth(self.line(&at) - 1).unwrap_or_default();
            let defect = self.error_at(at, why);
            match syntax_hint(line, why) {
                Some(hint) => defect.hint(hint),
                None => defect,
            }
        })
    }

    /// Returns the number of the line that contains the start of `at`.
    pub fn line(&self, at: &Range<usize>) -> usize {
        self.text.as_bytes()[..at.start.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// Returns `profile PATH:LINE`, the prefix of messages.
    pub fn place(&self, at: Range<usize>) -> String {
        format!("profile {}:{}", self.path.display(), self.line(&at))
    }

    /// Returns an error about a part of the file.
    pub fn error_at(&self, at: Range<usize>, why: &str) -> Error {
        Error::profile(format!("{}: {why}", self.place(at)))
    }
}

/// Returns the target of an alias and its place in the file. Returns `None` if the file is not an alias.
///
/// # Errors
/// Profile (3): the file contains other keys too, or the target is not a string.
pub fn alias(file: &ProfileFile, table: &DeTable<'_>) -> Result<Option<(String, Range<usize>)>> {
    let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == "use") else { return Ok(None) };
    if table.len() > 1 {
        return Err(file
            .error_at(key.span(), "a profile with `use` cannot contain other keys")
            .hint("move the other keys to the profile that `use` names"));
    }
    match value.get_ref().as_str() {
        Some(target) => {
            Secret::hide_multiline(target);
            Ok(Some((target.to_owned(), value.span())))
        }
        None => Err(file.error_at(value.span(), "`use` must be a profile name in quotes")),
    }
}

/// Reads the settings of a profile.
///
/// # Errors
/// Profile (3): a key is unknown or belongs to another source, or a value is neither a string nor a list of strings.
pub fn settings(
    file: &ProfileFile,
    table: &DeTable<'_>,
    environment: &Environment,
    places: &Places,
) -> Result<Settings> {
    let mut settings = Settings::of_file(&file.path, environment, places);
    if let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == "source")
        && value.get_ref().as_str().is_none()
    {
        return Err(file.error_at(key.span(), "`source` must be a string in quotes"));
    }
    let source_name =
        table.iter().find(|(key, _)| key.get_ref() == "source").and_then(|(_, value)| value.get_ref().as_str());
    let source = source_name.and_then(sources::named);
    let source_place = |key: &toml::Spanned<_>| SettingPlace::Line(file.line(&key.span()));
    match (source, table.iter().find(|(key, _)| key.get_ref() == "source")) {
        (None, Some((key, value))) => {
            // Which other keys are right depends on the source, so the caller reports this one.
            let name = value.get_ref().as_str().unwrap_or_default().to_owned();
            settings.add("source", vec![name], false, source_place(key));
            return Ok(settings);
        }
        (None, None) if !table.iter().any(|(key, _)| nearest(key.get_ref(), ["source"].into_iter()).is_some()) => {
            return Ok(settings);
        }
        _ => {}
    }
    // In the order of the file, so that the first of several errors is reported.
    let mut pairs: Vec<_> = table.iter().collect();
    pairs.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in pairs {
        let name: &str = key.get_ref().as_ref();
        let is_common = name == "source" || COMMON_KEYS.iter().any(|key| key.name == name);
        let own = source.and_then(|source| source.keys.iter().find(|key| key.name == name));
        if !is_common && own.is_none() {
            return Err(unknown_key(file, key.span(), name, source));
        }
        let (values, is_list) = match value.get_ref() {
            DeValue::String(text) => (vec![text.to_string()], false),
            // A port may be a number without quotes.
            DeValue::Integer(number) if own.is_some_and(|key| key.value == "PORT") => (vec![number.to_string()], false),
            DeValue::Array(items) => {
                let items: Option<Vec<String>> =
                    items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
                (
                    items.ok_or_else(|| {
                        file.error_at(value.span(), &format!("`{name}` must be a list of strings in quotes"))
                    })?,
                    true,
                )
            }
            _ => {
                return Err(file
                    .error_at(value.span(), &format!("`{name}` must be a string in quotes"))
                    .hint(format!("write {name} = \"VALUE\"")));
            }
        };
        settings.add(name, values, is_list, SettingPlace::Line(file.line(&key.span())));
    }
    Ok(settings)
}

fn unknown_key(file: &ProfileFile, at: Range<usize>, name: &str, source: Option<&Source>) -> Error {
    let own = source.map_or(&[][..], |source| source.keys);
    // If another source has this key, say so. Suggesting a similar key of this source would be wrong.
    if let Some(other) = SOURCES.iter().find(|other| other.keys.iter().any(|key| key.name == name))
        && let Some(source) = source
    {
        let why = format!("`{name}` is a key of source \"{}\", not of \"{}\"", other.name, source.name);
        return file.error_at(at, &why);
    }
    let known = COMMON_KEYS.iter().chain(own).map(|key| key.name).chain(["source", "use"]);
    if let Some(known) = nearest(name, known) {
        return file.error_at(at, &format!("unknown key `{name}`")).hint(format!("did you mean `{known}`?"));
    }
    let own: Vec<&str> = own.iter().map(|key| key.name).collect();
    file.error_at(at, &format!("unknown key `{name}`"))
        .hint(format!("use one of {}; `ycred init --help` lists the common keys too", own.join(", ")))
}

/// Returns how to correct a line, if the line or the parser's message shows one slip. Never quotes more than one character.
fn syntax_hint(line: &str, message: &str) -> Option<String> {
    const HINTS: [(&[&str], &str); 4] = [
        (&["duplicate"], "a key can occur only once: remove one of the two lines"),
        (&["quote", "basic", "literal"], "put the value in quotes on one line: key = \"value\""),
        (&["array"], "write a list as key = [\"one\", \"two\"]"),
        (&["=", "value", "key"], "write each setting as key = \"value\""),
    ];
    let by_message = HINTS.into_iter().find(|(words, _)| words.iter().any(|word| message.contains(word)));
    let by_message = || by_message.map(|(_, hint)| hint.to_owned());
    let Some((key, value)) = line.split_once('=').filter(|_| !message.contains("duplicate")) else {
        return by_message();
    };
    let (key, value) = (key.trim(), value.trim());
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '"' | '\'' | ' ' | '[');
    if let Some(c) = key.chars().find(|c| !is_allowed(*c)) {
        return Some(format!("`{c}` is not allowed in a key: write it with letters and dashes"));
    }
    if value.starts_with('"') && value.contains('\\') {
        return Some(
            "a backslash is an escape in double quotes: use single quotes, key-file = 'C:\\keys\\prod.json'".into(),
        );
    }
    let is_closed = value.contains(']') || !value.starts_with('[');
    if let Some(end) = value.chars().last().filter(|end| matches!(end, ',' | ';') && is_closed) {
        return Some(format!("remove the `{end}` at the end of the line"));
    }
    let list = value.strip_prefix('[').and_then(|list| list.strip_suffix(']'));
    if list.is_some_and(|list| list.split(',').any(|entry| !entry.trim().is_empty() && !entry.contains(['"', '\'']))) {
        return Some("put quotes around each entry: key = [\"one\", \"two\"]".into());
    }
    by_message()
}

/// Returns what the parser says is wrong, without the names of its grammar.
fn plain(message: &str) -> &str {
    let line = message.lines().next().unwrap_or("is not TOML");
    line.split_once(", expected literal string").map_or(line, |(plain, _)| plain)
}
