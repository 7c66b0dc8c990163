//! Where a source's secret is: in a file, in a variable, or in what a program prints. One reader for all.

use std::fmt;
use std::path::PathBuf;

use crate::base::error::Result;
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::cloud::Context;
use crate::disk::files;
use crate::sources::program::Program;
use crate::sources::settings::Settings;

/// A kind of secret, and the settings that say where one is.
#[derive(Debug)]
pub struct SecretKind {
    /// As in "OAuth token file".
    pub what: &'static str,
    pub file: &'static str,
    pub variable: &'static str,
    pub command: Option<&'static str>,
    /// The secret is somewhere in the text, which is not one as a whole.
    pub is_document: bool,
    /// Whoever keeps its file fresh chooses the mode too: it is not judged.
    pub is_short_lived: bool,
}

/// Where one secret is.
pub struct Origin {
    kind: &'static SecretKind,
    pub location: Location,
}

pub enum Location {
    File(PathBuf),
    /// The variable's name, and its value.
    Variable(String, Secret),
    Command(Program),
}

impl Origin {
    /// Where the profile says that it is; none: it says nothing of it.
    ///
    /// # Errors
    /// Profile (3): the variable is not set, or the setting is wrong.
    pub fn from_settings(settings: &Settings, kind: &'static SecretKind) -> Result<Option<Self>> {
        let location = if let Some(path) = settings.path(kind.file)? {
            Location::File(path)
        } else if let Some((name, value)) = settings.variable(kind.variable)? {
            let value = value.to_owned();
            let secret = if kind.is_document { Secret::wrapping(value) } else { Secret::new(value) };
            Location::Variable(name.to_owned(), secret)
        } else if let Some(command) = kind.command.filter(|command| settings.has(command)) {
            Location::Command(Program::from_settings(settings, command)?)
        } else {
            return Ok(None);
        };
        Ok(Some(Self { kind, location }))
    }

    /// Adds it to an identity: a file by its path and content, a variable by a digest of its value, a program by its words.
    #[must_use]
    pub fn identify(&self, identity: Identity) -> Identity {
        match &self.location {
            Location::File(path) => identity.with_file(self.kind.file, path),
            Location::Variable(name, value) => {
                identity.with_secret(self.kind.variable, name, value.expose().as_bytes())
            }
            Location::Command(program) => program.identify(identity, self.kind.command.unwrap_or_default()),
        }
    }

    /// Reads it as it is, with whatever stands around it.
    ///
    /// # Errors
    /// Profile (3): the file cannot be read; and as [`Program::run`].
    pub fn read(&self, cx: &Context<'_>) -> Result<Secret> {
        match &self.location {
            Location::File(path) if !self.kind.is_short_lived => {
                let text = files::read_secret(path, cx.notes);
                text.map(|text| Secret::wrapping(text.to_string())).map_err(|error| error.context(self.file()))
            }
            Location::Command(program) => program.run(cx),
            Location::File(_) | Location::Variable(..) => self.read_quietly(),
        }
    }

    /// [`Self::read`], of what is at hand without running anything, and without a word on who else can read it.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_quietly(&self) -> Result<Secret> {
        match &self.location {
            Location::File(path) => {
                let text = files::read_text(path);
                text.map(|text| Secret::wrapping(text.to_string())).map_err(|error| error.context(self.file()))
            }
            Location::Variable(_, value) => Ok(value.clone()),
            Location::Command(_) => Ok(Secret::wrapping(String::new())),
        }
    }

    fn file(&self) -> String {
        format!("{} file", self.kind.what)
    }
}

/// `OAuth token file PATH`, the variable's name, or `command PROGRAM`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Location::File(path) => write!(f, "{} file {}", self.kind.what, path.display()),
            Location::Variable(name, _) => f.write_str(name),
            Location::Command(program) => program.fmt(f),
        }
    }
}
