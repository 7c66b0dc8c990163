//! Reads a source's secret from its origin: a file, a variable, or the output of a program.

use std::fmt;
use std::path::PathBuf;

use crate::base::error::Result;
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::cloud::Context;
use crate::disk::files;
use crate::sources::program::Program;
use crate::sources::settings::Settings;

/// A kind of secret, and the profile keys that say where it is.
#[derive(Debug)]
pub struct SecretKind {
    /// Name of the secret in messages, such as `OAuth token`.
    pub what: &'static str,
    /// The key that names a file.
    pub file: &'static str,
    /// The key that names a variable.
    pub variable: &'static str,
    /// The key that contains a command, if the source accepts one.
    pub command: Option<&'static str>,
    /// True if the secret is a part of the content, such as a private key in JSON. Then messages do not redact the
    /// content as a whole.
    pub is_part_of_content: bool,
    /// True if another program renews the file. That program chooses the file's mode, so ycred does not warn about it.
    pub is_short_lived: bool,
}

/// The origin of one secret.
pub struct Origin {
    kind: &'static SecretKind,
    pub location: Location,
    /// The variable that names the file, without a profile.
    file_variable: Option<&'static str>,
}

/// The place to read a secret from.
pub enum Location {
    File(PathBuf),
    /// Name and value of the variable.
    Variable(String, Secret),
    Command(Program),
}

impl Origin {
    /// Reads the origin from a profile's settings. Returns `None` if none of the keys is set.
    ///
    /// # Errors
    /// Profile (3): the value of a key is wrong, or the variable is not set.
    pub fn from_settings(settings: &Settings, kind: &'static SecretKind) -> Result<Option<Self>> {
        let location = if let Some(path) = settings.path(kind.file)? {
            Location::File(path)
        } else if let Some((name, value)) = settings.variable(kind.variable)? {
            let value = value.to_owned();
            let secret = if kind.is_part_of_content { Secret::wrapping(value) } else { Secret::new(value) };
            Location::Variable(name.to_owned(), secret)
        } else if let Some(command) = kind.command.filter(|command| settings.has(command)) {
            Location::Command(Program::from_settings(settings, command)?)
        } else {
            return Ok(None);
        };
        Ok(Some(Self { kind, location, file_variable: settings.variable_of(kind.file) }))
    }

    /// Adds the origin to an identity: path and content of a file, digest of a variable's value, or arguments and
    /// directory of a program.
    #[must_use]
    pub fn identify(&self, identity: Identity) -> Identity {
        match &self.location {
            Location::File(path) => identity.with_file_of(self.file_variable, self.kind.file, path),
            Location::Variable(name, value) => {
                identity.with_secret(self.kind.variable, name, value.expose().as_bytes())
            }
            Location::Command(program) => program.identify(identity, self.kind.command.unwrap_or_default()),
        }
    }

    /// Reads the secret, including any white space around it. Runs the program if the origin is one. Warns if others can
    /// read the file, unless the secret is short-lived.
    ///
    /// # Errors
    /// Profile (3): the file cannot be read. For a program, as [`Program::run`].
    pub fn read(&self, cx: &Context<'_>) -> Result<Secret> {
        match &self.location {
            Location::File(path) if !self.kind.is_short_lived => {
                let text = files::read_secret(path, cx.diagnostics);
                text.map(|text| Secret::wrapping(text.to_string())).map_err(|error| error.context(self.file()))
            }
            Location::Command(program) => program.run(cx),
            Location::File(_) | Location::Variable(..) => self.read_quietly(),
        }
    }

    /// Reads the secret without running a program and without warnings. For a program, the result is empty.
    ///
    /// # Errors
    /// Profile (3): the file cannot be read.
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

    /// Returns true if reading the secret runs a program.
    pub fn is_program(&self) -> bool {
        matches!(self.location, Location::Command(_))
    }

    fn file(&self) -> String {
        let variable = self.file_variable.map(|variable| format!("{variable}: ")).unwrap_or_default();
        format!("{variable}{} file", self.kind.what)
    }
}

/// Writes `OAuth token file PATH`, with the variable that names the file, or the name of the variable, or `command PROGRAM`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Location::File(path) => write!(f, "{} {}", self.file(), path.display()),
            Location::Variable(name, _) => f.write_str(name),
            Location::Command(program) => program.fmt(f),
        }
    }
}
