//! A client's row in the table, and a call of `setup` or `unsetup` for it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::ArgMatches;

use crate::base::error::{Error, Result};
use crate::base::hosts::{Host, Scheme};
use crate::base::shell;
use crate::commands::check::Check;
use crate::commands::clients::public;
use crate::commands::clients::report::{self, Report};
use crate::commands::command::HostClient;
use crate::disk::places;
use crate::edit::change::{Editor, OwnerLock};
use crate::edit::journal::JournalEntry;
use crate::edit::undo::Undone;
use crate::profile::{Profile, ProfileRef};
use crate::session::Session;

/// Makes a change once more, in this text, and returns the new text and the entry about it.
pub type RedoOption = fn(&SetupCall<'_>, &Session<'_>, &JournalEntry, Option<&str>) -> Result<(String, JournalEntry)>;

/// A program that can use ycred as a hook.
pub struct Client {
    pub name: &'static str,
    /// What `setup` does for it, for help.
    pub about: &'static str,
    /// The flags of `setup` that this client accepts, besides the common ones.
    pub flags: &'static [&'static str],
    /// Returns true if the program or its configuration is on this machine.
    pub is_found: fn(&Session<'_>) -> bool,
    /// The programs that read its configuration, if that alone makes `is_found` true.
    pub programs: &'static [&'static str],
    /// The arguments that `setup --all` cannot choose, such as `--host HOST`. `None` if there are none.
    pub choice: Option<&'static str>,
    /// The client cannot choose a profile, so it gets the default one.
    pub uses_default: bool,
    /// `setup` prints text for the user to add to a file, so `setup --all` only names the command.
    pub is_pasted: bool,
    /// The lock that the client uses for its file.
    pub owner: OwnerLock,
    /// # Errors
    /// See [`crate::base::error::Kind`].
    pub setup: fn(&SetupCall<'_>, &Session<'_>) -> Result<Report>,
    /// Returns true if the flags of `unsetup` select this entry of the journal.
    ///
    /// # Errors
    /// Those of the flags.
    pub selects: fn(&SetupCall<'_>, &Session<'_>, &JournalEntry) -> Result<bool>,
    /// Undoes an entry of the kind [`What::Option`](crate::edit::journal::What) in the text of a file that has changed since.
    ///
    /// # Errors
    /// See [`crate::base::error::Kind`].
    pub undo_option: fn(&SetupCall<'_>, &Session<'_>, &JournalEntry, &str) -> Result<Undone>,
    /// Returns true if another program has written its own value again in place of ycred's, so that nothing is left to undo.
    pub is_given_up: fn(&JournalEntry, &str) -> bool,
    /// Makes the change of such an entry once more, in another text. Without a text, there is no file.
    ///
    /// # Errors
    /// See [`crate::base::error::Kind`].
    pub redo_option: RedoOption,
    /// Returns the place of an entry in a text, without secrets.
    pub shown: fn(&SetupCall<'_>, &Session<'_>, &JournalEntry, &str) -> String,
    /// If the journal has no entry for this client, finds what names ycred in its configuration, and removes it.
    ///
    /// # Errors
    /// See [`crate::base::error::Kind`].
    pub undo_without_journal: fn(&SetupCall<'_>, &Session<'_>) -> Result<Report>,
    /// Returns the places that name ycred after everything that `setup` wrote was undone, each with a line about it. Looks at
    /// the file as it is or, in a dry run, as it would be.
    pub remaining: fn(&SetupCall<'_>, &Session<'_>) -> Vec<(String, String)>,
    /// Returns the client's configuration file that names this link, if there is one. Looks at the file as it is or, in a dry
    /// run, as it would be.
    pub file_naming_link: fn(&SetupCall<'_>, &Session<'_>, &Path) -> Option<PathBuf>,
    /// Returns the places of the client's configuration that name ycred. Reads files only.
    pub uses: fn(&Session<'_>) -> Vec<Use>,
    /// Returns the arguments of `setup` that select one place and no other.
    pub selection: fn(&Use, &Session<'_>) -> Vec<String>,
    /// The check of `doctor` for this client.
    pub check: Option<&'static Check>,
    /// Returns the client's lock files, which exist only while it is changing its configuration.
    pub locks: fn(&Session<'_>) -> Vec<PathBuf>,
}

/// A place of a client's configuration that names ycred.
pub struct Use {
    pub file: PathBuf,
    /// The place in the file, for people: `user NAME`.
    pub label: String,
    /// The name or path of the profile there. `None` if the call names none, so that the default serves.
    pub profile: Option<String>,
    /// Why another account may serve this place, for people.
    pub note: Option<String>,
}

impl Use {
    /// Returns the place and its note.
    pub fn description(&self) -> String {
        let note = self.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        format!("{}{note}", self.label)
    }
}

/// Returns the command that sets up one place of a client once more, with a profile. `selection` is that of the client. All
/// messages take the command from here: without the arguments that select the place, `setup` would change another account.
pub fn setup_command(client: &str, selection: Vec<String>, profile: Option<&str>) -> String {
    let mut command = format!("ycred setup {client}");
    let profile = profile.into_iter().flat_map(|profile| ["--profile".to_owned(), profile.to_owned()]);
    let mut arguments = selection.into_iter().chain(profile);
    while let Some(argument) = arguments.next() {
        let _ = match argument.strip_prefix("--").filter(|name| *name != "tofu") {
            Some(name) => write!(command, " {}", flag(name, &arguments.next().unwrap_or_default())),
            None => write!(command, " {}", shell::word(argument)),
        };
    }
    command
}

/// Returns a flag with its value, as a person types it in a shell. A value that begins with a dash would be taken for a flag.
pub fn flag(name: &str, value: &str) -> String {
    match value.starts_with('-') {
        true => format!("--{name}={}", shell::word(value)),
        false => format!("--{name} {}", shell::word(value)),
    }
}

/// Returns the profile that a command names, by `--profile`, `-p` or the suffix of a link. The command may have the quotes
/// and separators of any format.
pub fn profile_in(command: &str) -> Option<String> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '~');
    let mut words = command.split(|c| !is_part(c)).filter(|word| !matches!(*word, "" | "-"));
    while let Some(word) = words.next() {
        if matches!(word, "--profile" | "-p") {
            return words.next().map(|profile| public::profile(profile).to_owned());
        }
        let program = word.rsplit('/').next().unwrap_or_default();
        if let Some(at) = program.find("ycred-")
            && matches!(&program[..at], "" | "docker-credential-" | "git-credential-" | "terraform-credentials-")
        {
            return Some(public::profile(&program[at + "ycred-".len()..]).to_owned());
        }
    }
    None
}

/// Returns the profile that a command line names, word by word as a shell reads it. Unlike [`profile_in`], finds a path with
/// blanks, and does not hide what may be a secret.
pub fn profile_in_line(line: &str) -> Option<String> {
    let words = shell::split(line);
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        if matches!(word.as_str(), "--profile" | "-p") {
            return words.next().cloned();
        }
        if let Some(profile) = word.strip_prefix("--profile=") {
            return Some(profile.to_owned());
        }
    }
    profile_in(line)
}

/// [`profile_in_line`] as it may be printed.
pub fn public_profile_in(line: &str) -> Option<String> {
    profile_in_line(line).map(|profile| public::profile(&profile).to_owned())
}

/// The flags of one call of `setup` or `unsetup`.
pub struct SetupCall<'a> {
    pub client: &'static Client,
    pub matches: &'a ArgMatches,
    /// The value of `--profile`.
    pub profile: ProfileRef,
    pub editor: &'a Editor,
    /// All clients.
    pub clients: &'static [&'static Client],
    /// The call is for all clients, so flags of one client do not apply.
    pub is_for_all: bool,
    /// Returns the names of the links that an installation has.
    pub links: fn() -> Vec<&'static str>,
}

impl Client {
    /// A client without anything special.
    pub const PLAIN: Self = Self {
        name: "",
        about: "",
        flags: &[],
        is_found: |_| false,
        programs: &[],
        choice: None,
        uses_default: false,
        is_pasted: false,
        owner: OwnerLock::None,
        setup: |_, _| Ok(Report::default()),
        selects: |_, _, _| Ok(true),
        undo_option: |_, _, _, _| Ok(Undone::Changed),
        is_given_up: |_, _| false,
        redo_option: |_, _, _, _| Err(Error::internal("the client has one entry in its file")),
        shown: |_, _, entry, text| report::shown(entry, text),
        undo_without_journal: |_, _| Ok(Report::default()),
        remaining: |_, _| Vec::new(),
        file_naming_link: |_, _, _| None,
        uses: |_| Vec::new(),
        selection: |_, _| Vec::new(),
        check: None,
        locks: |_| Vec::new(),
    };

    /// See [`setup_command`].
    pub fn setup_command(&self, place: &Use, profile: Option<&str>, session: &Session<'_>) -> String {
        setup_command(self.name, (self.selection)(place, session), profile)
    }

    /// Returns true if a place of the configuration names a host that gets no token, because the profile does not list it.
    /// `hooks` are those whose clients name a host.
    pub fn is_unlisted(&self, place: &Use, profile: &Profile, hooks: &[HostClient]) -> bool {
        let Some(asked) = hooks.iter().find(|known| known.name == self.name) else { return false };
        let Some(host) = Host::parse(&place.label).filter(|_| self.flags.contains(&"host")) else { return false };
        let host = if asked.is_https_only { Host { scheme: Some(Scheme::Https), ..host } } else { host };
        !profile.hosts.covers_for(asked.scope, &host)
    }
}

impl SetupCall<'_> {
    /// Returns true if the flags select a part of what the client has configured.
    pub fn is_partial(&self) -> bool {
        self.client.flags.iter().any(|flag| self.value(flag).is_some())
    }

    /// Returns the value of a flag.
    pub fn value(&self, flag: &str) -> Option<&str> {
        if self.is_for_all {
            return None;
        }
        self.matches.try_get_one::<String>(flag).ok().flatten().map(String::as_str)
    }

    /// Returns all values of a flag, each once.
    pub fn values(&self, flag: &str) -> Vec<String> {
        if self.is_for_all {
            return Vec::new();
        }
        let mut values: Vec<String> = Vec::new();
        for value in self.matches.try_get_many::<String>(flag).ok().flatten().into_iter().flatten() {
            if !values.contains(value) {
                values.push(value.clone());
            }
        }
        values
    }

    /// Returns the arguments that select places of the client, to repeat them in a command.
    pub fn arguments(&self) -> String {
        // `setup --all` selects all of kubectl's users. Other clients have no `--all` of their own.
        let is_all = self.is_set("all") && (!self.is_for_all || self.client.flags.contains(&"user"));
        format!("{}{}", self.arguments_of_one(), if is_all { " --all" } else { "" })
    }

    /// Returns the arguments that select places of the client, without `--all`.
    pub fn arguments_of_one(&self) -> String {
        let flags = self.client.flags.iter();
        flags.flat_map(|name| self.values(name).into_iter().map(|value| format!(" {}", flag(name, &value)))).collect()
    }

    pub fn is_set(&self, flag: &str) -> bool {
        self.matches.try_get_one::<bool>(flag).ok().flatten() == Some(&true)
    }

    /// Returns the path in a flag as the journal has it: absolute, and without links if the file is there.
    ///
    /// # Errors
    /// As [`Self::path`].
    pub fn real_path(&self, flag: &str, session: &Session<'_>) -> Result<Option<PathBuf>> {
        Ok(self.path(flag, session)?.map(|path| crate::system::files::real_path(&path).unwrap_or(path)))
    }

    /// Returns the path in a flag, absolute.
    ///
    /// # Errors
    /// Usage (2): the path cannot be made absolute.
    pub fn path(&self, flag: &str, session: &Session<'_>) -> Result<Option<PathBuf>> {
        let Some(path) = self.value(flag) else { return Ok(None) };
        places::absolute(path.as_ref(), session.places.home.as_deref())
            .map(|path| Some(PathBuf::from(path)))
            .map_err(|why| Error::usage(format!("--{flag}: {path}: {why}")))
    }

    /// Returns the profile of `--profile`, as it is written into configuration files. Returns `None` without the flag.
    ///
    /// # Errors
    /// Usage (2): it is not UTF-8.
    pub fn profile_argument(&self) -> Result<Option<String>> {
        let ProfileRef::NameOrPath { text, .. } = &self.profile else { return Ok(None) };
        let text = text.to_str().ok_or_else(|| Error::usage("--profile: not valid UTF-8"))?;
        if !text.contains(std::path::is_separator) {
            return Ok(Some(text.to_owned()));
        }
        let absolute = places::absolute(text.as_ref(), None);
        absolute.map(Some).map_err(|why| Error::usage(format!("--profile: {text}: {why}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_of_a_command_is_found_in_every_format() {
        for (command, profile) in [
            ("ycred", None),
            ("/usr/bin/ycred git", None),
            ("ycred-prod", Some("prod")),
            ("/usr/bin/docker-credential-ycred-prod.eu-1", Some("prod.eu-1")),
            ("command: /x/ycred\n  args:\n  - kubectl\n  - --profile\n  - prod\n", Some("prod")),
            ("\"/opt/my dir/ycred\" aws --profile=prod", Some("prod")),
            ("ycred goauth -p 'prod'; netrc", Some("prod")),
            ("{command: ycred, args: [kubectl, --profile, /etc/x/p.toml]}", Some("/etc/x/p.toml")),
            ("/home/ycred-user/bin/ycred kubectl", None),
        ] {
            assert_eq!(profile_in(command).as_deref(), profile, "{command}");
        }
    }

    #[test]
    fn the_profile_of_a_command_line_is_found_as_a_shell_reads_it() {
        for (line, profile) in [
            ("/usr/bin/ycred git", None),
            ("ycred-prod", Some("prod")),
            (r"/opt/my\ dir/ycred git --profile /etc/my\ dir/x", Some("/etc/my dir/x")),
            ("\"/opt/my dir/ycred\" aws --profile=\"/etc/my dir/x.toml\"", Some("/etc/my dir/x.toml")),
            ("ycred goauth -p ./x", Some("./x")),
        ] {
            assert_eq!(profile_in_line(line).as_deref(), profile, "{line}");
        }
    }
}
