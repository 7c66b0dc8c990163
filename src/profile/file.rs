//! A profile's file: TOML, or an alias, with file and line in every complaint.

use std::ops::Range;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::suggest::nearest;
use crate::disk::places::Places;
use crate::profile::keys::COMMON_KEYS;
use crate::sources::settings::{Settings, WrittenAt};
use crate::sources::source::Source;
use crate::sources::{self, SOURCES};

/// A profile's text, and where in it something stands.
pub struct ProfileFile {
    pub path: PathBuf,
    pub text: String,
}

impl ProfileFile {
    pub fn parse(&self) -> Result<DeTable<'_>> {
        // The parser's message is its own; what it quotes of the input may be a secret in the wrong place, so it is not
        // shown.
        DeTable::parse(&self.text).map(toml::Spanned::into_inner).map_err(|error| {
            self.error_at(error.span().unwrap_or(0..0), error.message().lines().next().unwrap_or("is not TOML"))
                .hint("a setting is written key = \"value\"")
        })
    }

    fn line(&self, at: &Range<usize>) -> usize {
        self.text.as_bytes()[..at.start.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    pub fn place(&self, at: Range<usize>) -> String {
        format!("profile {}:{}", self.path.display(), self.line(&at))
    }

    pub fn error_at(&self, at: Range<usize>, why: &str) -> Error {
        Error::profile(format!("{}: {why}", self.place(at)))
    }
}

/// The target of an alias, where the file is one.
pub fn alias(file: &ProfileFile, table: &DeTable<'_>) -> Result<Option<(String, Range<usize>)>> {
    let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == "use") else { return Ok(None) };
    if table.len() > 1 {
        return Err(file
            .error_at(key.span(), "an alias (`use`) stands alone in its file")
            .hint("put the other settings into the profile that it names"));
    }
    match value.get_ref().as_str() {
        Some(target) => Ok(Some((target.to_owned(), value.span()))),
        None => Err(file.error_at(value.span(), "`use` takes a profile's name, in quotes")),
    }
}

/// Reads the settings, each known to its source, and of the right form.
///
/// # Errors
/// Profile (3), with file and line.
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
        return Err(file.error_at(key.span(), "`source` takes one text in quotes"));
    }
    let source_name =
        table.iter().find(|(key, _)| key.get_ref() == "source").and_then(|(_, value)| value.get_ref().as_str());
    let source = source_name.and_then(sources::named);
    // In the order of the file, so that of two faults the upper one is told.
    let mut pairs: Vec<_> = table.iter().collect();
    pairs.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in pairs {
        let name: &str = key.get_ref().as_ref();
        let known = name == "source" || COMMON_KEYS.iter().any(|key| key.name == name);
        let own = source.and_then(|source| source.keys.iter().find(|key| key.name == name));
        if !known && own.is_none() {
            return Err(unknown_key(file, key.span(), name, source));
        }
        let (values, is_list) = match value.get_ref() {
            DeValue::String(text) => (vec![text.to_string()], false),
            // A number is one with quotes and without.
            DeValue::Integer(number) if own.is_some_and(|key| key.value == "PORT") => (vec![number.to_string()], false),
            DeValue::Array(items) => {
                let items: Option<Vec<String>> =
                    items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
                (
                    items.ok_or_else(|| {
                        file.error_at(value.span(), &format!("`{name}`: a list holds texts, each in quotes"))
                    })?,
                    true,
                )
            }
            _ => {
                return Err(file
                    .error_at(value.span(), &format!("`{name}` takes a text in quotes"))
                    .hint(format!("write {name} = \"…\"")));
            }
        };
        settings.add(name, values, is_list, WrittenAt::Line(file.line(&key.span())));
    }
    Ok(settings)
}

fn unknown_key(file: &ProfileFile, at: Range<usize>, name: &str, source: Option<&Source>) -> Error {
    let own = source.map_or(&[][..], |source| source.keys);
    // A key of another source is known, in the wrong place; what is near to it is not what was meant.
    if let Some(other) = SOURCES.iter().find(|other| other.keys.iter().any(|key| key.name == name))
        && source.is_some()
    {
        return file.error_at(at, &format!("`{name}` belongs to source \"{}\"", other.name));
    }
    let known = COMMON_KEYS.iter().chain(own).map(|key| key.name).chain(["source", "use"]);
    if let Some(known) = nearest(name, known) {
        return file.error_at(at, &format!("unknown key `{name}`")).hint(format!("did you mean `{known}`?"));
    }
    let own: Vec<&str> = own.iter().map(|key| key.name).collect();
    file.error_at(at, &format!("unknown key `{name}`")).hint(if own.is_empty() {
        "write source = \"…\" first; README.md lists the keys of each source".to_owned()
    } else {
        format!("this source's own keys are {}; README.md lists all", own.join(", "))
    })
}
