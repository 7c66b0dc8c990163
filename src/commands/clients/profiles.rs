//! Which profile a client gets. A wrong choice would change the account silently, so an unclear case is an
//! error that `--profile` decides.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::base::environment::YCRED_PROFILE;
use crate::base::error::{Error, Result};
use crate::base::hosts::{Host, Scheme};
use crate::base::shell;
use crate::commands::clients::client::SetupCall;
use crate::commands::clients::public;
use crate::commands::clients::report::Report;
use crate::disk::places;
use crate::profile::find::{self, FoundProfile};
use crate::profile::{Profile, ProfileRef};
use crate::session::Session;
use crate::system::files::is_path;

/// A profile as clients will name it.
pub struct Chosen {
    /// The name or path that was given.
    pub argument: String,
    pub profile: Profile,
    /// The account, for people.
    pub account: String,
    /// A flag, a variable or the client's configuration names the profile.
    pub is_named: bool,
    /// A line about a profile that the client keeps although another one would be chosen.
    pub kept_note: Option<String>,
    elsewhere: Elsewhere,
    login: LoginElsewhere,
}

/// The login that a client finds if it runs without the variable that selects the directory of logins here.
enum LoginElsewhere {
    Same,
    Nobody { variable: &'static str },
}

impl LoginElsewhere {
    /// # Errors
    /// Usage (2): it is another login, perhaps of another account.
    fn of(argument: &str, profile: &Profile, session: &Session<'_>) -> Result<Self> {
        let Some((variable, places)) = session.places.without_state_variable(session.environment) else {
            return Ok(Self::Same);
        };
        let state_of = |profile: &Profile| profile.login().ok().flatten().and_then(|login| login.store.load().ok());
        let Some(here) = state_of(profile) else { return Ok(Self::Same) };
        let reference = ProfileRef::NameOrPath { by: "--profile", text: argument.into() };
        let there = Profile::load(&reference, session.environment, &places, session.clock.now())?;
        match state_of(&there) {
            None => Ok(Self::Nobody { variable }),
            Some(there) if there.is_same_login(&here) => Ok(Self::Same),
            Some(_) => Err(Error::usage(format!(
                "without {variable}, which the client may not have, the profile {argument} has another login"
            ))
            .hint(format!(
                "to use that login: unset {variable}; to use this one, log in without {variable}: ycred login {argument}"
            ))),
        }
    }
}

/// What a client finds by the same name if it runs without the variable that selects the directory of profiles here.
enum Elsewhere {
    Same,
    Nothing { variable: &'static str },
    Other { variable: &'static str, file: PathBuf },
}

impl Elsewhere {
    fn of(argument: &str, profile: &Profile, session: &Session<'_>) -> Self {
        let Some((variable, places)) = session.places.without_variable(session.environment) else { return Self::Same };
        let reference = ProfileRef::NameOrPath { by: "--profile", text: argument.into() };
        match Profile::load(&reference, session.environment, &places, session.clock.now()) {
            Ok(found) if is_same_file(&found, profile) => Self::Same,
            Ok(found) => Self::Other { variable, file: found.settings.file.unwrap_or_default() },
            Err(_) => {
                let candidates = match is_path(argument.as_ref()) {
                    true => vec![PathBuf::from(argument)],
                    false => places.profile_candidates(argument),
                };
                match candidates.into_iter().find(|path| find::is_present(path)) {
                    Some(file) => Self::Other { variable, file },
                    None => Self::Nothing { variable },
                }
            }
        }
    }
}

/// Returns true if two profiles are one file that reads its relative paths in one directory.
pub fn is_same_file(one: &Profile, other: &Profile) -> bool {
    let real = |path: &Path| crate::system::files::real_path(path).ok();
    let file = |profile: &Profile| profile.settings.file.as_deref().and_then(real);
    let directory = |profile: &Profile| real(&profile.settings.directory);
    file(one).is_some() && file(one) == file(other) && directory(one) == directory(other)
}

impl Chosen {
    /// Checks that a host of `--host` may get a token, as the client asks for it: with this scheme, if it names one.
    ///
    /// # Errors
    /// Usage (2): it is not a host, or the profile does not allow it.
    pub fn check_host(&self, host: &str, scheme: Option<Scheme>) -> Result<()> {
        let parsed = Host::parse(host).filter(|parsed| parsed.scheme.is_none() && parsed.to_string() == host);
        let parsed = parsed.ok_or_else(|| {
            Error::usage(format!("--host: {host} is not a host or host:port"))
                .hint("write it as in the URL, without scheme and path, in lower case")
        })?;
        if self.profile.hosts.covers(&Host { scheme, ..parsed }) {
            return Ok(());
        }
        Err(Error::usage(format!("--host: {host} may not get a token of profile {}", self.name()))
            .hint(self.profile.hint_for_host(host)))
    }

    /// Loads a profile.
    ///
    /// # Errors
    /// As [`Session::profile`]; or the key cannot be read.
    pub fn load(argument: String, session: &Session<'_>) -> Result<Self> {
        Self::load_by("--profile", argument, session)
    }

    fn load_by(by: &'static str, argument: String, session: &Session<'_>) -> Result<Self> {
        let profile = session.profile(&ProfileRef::NameOrPath { by, text: argument.clone().into() })?;
        let account = match profile.open().and_then(|grant| grant.account()) {
            Ok(account) => account,
            // The profile is for another machine, such as a CI job.
            Err(error) => match profile.secret_variables().find(|name| session.environment.get(name).is_none()) {
                Some(variable) => format!("account unknown, because {variable} is not set here"),
                None => return Err(error),
            },
        };
        let elsewhere = Elsewhere::of(&argument, &profile, session);
        let login = LoginElsewhere::of(&argument, &profile, session)?;
        Ok(Self { argument, profile, account, is_named: false, kept_note: None, elsewhere, login })
    }

    /// Returns what to write into a configuration: the path, if the name would lead to another profile without the variable
    /// that is set here.
    pub fn written(&self) -> String {
        match (&self.elsewhere, &self.profile.settings.file) {
            (Elsewhere::Other { .. }, Some(file)) => file.display().to_string(),
            _ => self.argument.clone(),
        }
    }

    /// Returns the suffix of a link's name for this profile. Returns `None` for the default one.
    ///
    /// # Errors
    /// Usage (2): the profile is a path, or another one has its name where the client looks; `what` cannot hold a path.
    pub fn suffix(&self, what: &str, session: &Session<'_>) -> Result<Option<&str>> {
        if is_path(self.argument.as_ref()) {
            return Err(Error::usage(format!("{what} cannot contain the path of a profile"))
                .hint("give the profile a name in the configuration directory, and pass --profile NAME"));
        }
        self.refuse_other()?;
        // Without the variable, a client that names no profile would get what is found then.
        let is_free = match (&self.elsewhere, session.places.without_variable(session.environment)) {
            (Elsewhere::Nothing { .. }, Some((_, places))) => {
                matches!(find::without_name(&places), Ok(FoundProfile::Nothing))
            }
            _ => true,
        };
        let is_default = !self.is_named && self.argument == find::DEFAULT && is_free;
        Ok((!is_default).then_some(&self.argument))
    }

    /// Refuses a profile that the client would not find by its name.
    ///
    /// # Errors
    /// Usage (2): without the variable, the name leads to another profile.
    pub fn refuse_other(&self) -> Result<()> {
        let Elsewhere::Other { variable, file } = &self.elsewhere else { return Ok(()) };
        let name = &self.argument;
        Err(Error::usage(format!(
            "without {variable}, which the client may not have, the profile {name} is another one: {}",
            file.display()
        ))
        .hint(format!("to use that one: unset {variable}; to use this one, give it another name with `ycred rename`")))
    }

    /// Returns lines about what a client finds only with the variables that are set here, or by a path.
    pub fn notes(&self) -> Vec<String> {
        let login = match self.login {
            LoginElsewhere::Same => None,
            LoginElsewhere::Nobody { variable } => Some(format!(
                "programs find the login of profile {} only where {variable} is set as it is here",
                self.argument
            )),
        };
        self.place_note().into_iter().chain(login).collect()
    }

    fn place_note(&self) -> Option<String> {
        let (name, file) = (&self.argument, self.profile.settings.file.as_ref()?);
        match &self.elsewhere {
            Elsewhere::Same => None,
            Elsewhere::Nothing { variable } => Some(format!(
                "profile {name} is {}, which programs find only where {variable} is set as it is here",
                file.display()
            )),
            Elsewhere::Other { variable, file: other } => Some(format!(
                "profile {name} is written as its path, because without {variable} that name is {}",
                other.display()
            )),
        }
    }

    /// Returns true if the name that a client's configuration has already leads to another profile without the variable that is
    /// set here.
    pub fn is_another_elsewhere(&self) -> bool {
        matches!(self.elsewhere, Elsewhere::Other { .. })
    }

    /// Returns the name of the profile, and the alias by which it was chosen.
    pub fn name(&self) -> String {
        match self.alias() {
            Some((name, alias)) => format!("{name} (by the alias {alias})"),
            None => self.argument.clone(),
        }
    }

    /// Returns `profile P (service account aje…)`.
    pub fn description(&self) -> String {
        match self.alias() {
            Some((name, alias)) => format!("profile {name} (by the alias {alias}; {})", self.account),
            None => format!("profile {} ({})", self.argument, self.account),
        }
    }

    fn alias(&self) -> Option<(&str, &str)> {
        let name = self.profile.name.as_deref()?;
        (name != self.argument).then_some((name, self.argument.as_str()))
    }
}

/// Returns the profile of `--profile`, else the only profile.
///
/// # Errors
/// Usage (2): there is no only profile.
pub fn chosen_or_only(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Chosen> {
    match call.profile_argument()? {
        Some(argument) => Chosen::load(argument, session),
        None => Chosen::load(only(call, session)?, session),
    }
}

/// Returns the profile of `--profile`, else that of `YCRED_PROFILE`, else the default one, else the only profile.
///
/// # Errors
/// Usage (2): none of them exists.
pub fn chosen_or_default(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Chosen> {
    let chosen = match (call.profile_argument()?, of_variable(session)?) {
        (Some(argument), _) => Chosen::load(argument, session)?,
        (None, Some(argument)) => Chosen::load_by(YCRED_PROFILE, argument, session)?,
        (None, None) => return default_or_only(call, session),
    };
    Ok(Chosen { is_named: true, ..chosen })
}

/// Returns true if this call chooses a profile for places that run ycred already. `YCRED_PROFILE` may be set for other
/// reasons, so it doesn't count for all clients.
///
/// # Errors
/// Usage (2): the flag or the variable is not UTF-8.
pub fn is_chosen(call: &SetupCall<'_>, session: &Session<'_>) -> Result<bool> {
    let has_variable = !call.is_for_all && of_variable(session)?.is_some();
    Ok(has_variable || call.is_set("force") || call.profile_argument()?.is_some())
}

/// Returns the profile for a place that may run ycred already. There it keeps the profile that somebody has chosen, unless
/// this call chooses one. `served` has the profiles that the client's places of this call name.
///
/// # Errors
/// As [`chosen_or_default`]. Usage (2): the profile that a place names does not exist, or is another one elsewhere.
pub fn chosen_or_kept(
    call: &SetupCall<'_>,
    served: impl IntoIterator<Item = Option<String>>,
    session: &Session<'_>,
) -> Result<Chosen> {
    let served: BTreeSet<Option<String>> = served.into_iter().collect();
    let is_kept = served.len() == 1 && !is_chosen(call, session)?;
    match served.first().filter(|_| is_kept) {
        Some(Some(kept)) => load_kept(kept, call, session),
        // Whatever the variable says, the client gets the default profile.
        Some(None) => default_or_only(call, session),
        None => chosen_or_default(call, session),
    }
}

/// Checks that the profile in a client's configuration exists. `command` is the one that chooses another.
///
/// # Errors
/// Usage (2): it does not.
pub fn check_kept(kept: &str, command: &str, call: &SetupCall<'_>, session: &Session<'_>) -> Result<()> {
    if is_path(kept.as_ref()) || find::by_name(kept, session.places)?.is_some() {
        return Ok(());
    }
    let kept = public::profile(kept);
    Err(Error::usage(format!("{} uses the profile {kept}, which does not exist", call.client.name))
        .hint(format!("choose one that `ycred list` shows: {command}")))
}

fn load_kept(kept: &str, call: &SetupCall<'_>, session: &Session<'_>) -> Result<Chosen> {
    let command = || format!("ycred setup {}{} --profile NAME", call.client.name, call.arguments_of_one());
    check_kept(kept, &command(), call, session)?;
    let chosen = Chosen::load(kept.to_owned(), session)?;
    chosen.refuse_other()?;
    let kept_note = match chosen_or_default(call, session) {
        Ok(usual) if !is_same_file(&usual.profile, &chosen.profile) => Some(format!(
            "{} keeps the profile {}; to change it: {}",
            call.client.name,
            public::profile(kept),
            command()
        )),
        _ => None,
    };
    Ok(Chosen { is_named: true, kept_note, ..chosen })
}

/// Returns the profile in `YCRED_PROFILE`, as it is written into configuration files.
fn of_variable(session: &Session<'_>) -> Result<Option<String>> {
    let text = session.environment.text(YCRED_PROFILE);
    let text = text.map_err(|_| Error::usage(format!("{YCRED_PROFILE}: not valid UTF-8")))?;
    let Some(path) = text.filter(|text| is_path(text.as_ref())) else { return Ok(text.map(str::to_owned)) };
    let absolute = places::absolute(path.as_ref(), None);
    absolute.map(Some).map_err(|why| Error::usage(format!("{YCRED_PROFILE}: {path}: {why}")))
}

/// Returns lines about variables of this run that clients may not have.
pub fn notes(call: &SetupCall<'_>, report: &Report, session: &Session<'_>) -> Vec<String> {
    let mut profiles: Vec<&String> = report.changes.iter().filter_map(|change| change.profile.as_ref()).collect();
    profiles.sort();
    profiles.dedup();
    let load = |argument: &&String| Chosen::load((*argument).clone(), session).ok();
    let mut notes: Vec<String> = profiles.iter().filter_map(load).flat_map(|chosen| chosen.notes()).collect();
    if let (Ok(Some(variable)), Ok(None)) = (of_variable(session), call.profile_argument())
        && let Some(profile) = profiles.first()
    {
        let client = call.client.name;
        notes.push(match **profile == variable {
            true => format!("{YCRED_PROFILE} has selected the profile {}", public::profile(&variable)),
            false if call.client.uses_default => {
                format!("where {YCRED_PROFILE} is set, as it is here, {client} gets the profile that it names")
            }
            false => format!("{YCRED_PROFILE} does not select the profile of {client}; --profile does"),
        });
    }
    notes
}

/// Returns the default profile, else the only one.
///
/// # Errors
/// Usage (2): neither exists.
pub fn default_or_only(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Chosen> {
    match find::by_name("default", session.places)? {
        Some(_) => Chosen::load("default".to_owned(), session),
        None => Chosen::load(only(call, session)?, session),
    }
}

/// Returns the profile that serves a client that names none.
pub fn usual(session: &Session<'_>) -> Option<Chosen> {
    let name = match find::by_name(find::DEFAULT, session.places).ok()? {
        Some(_) => find::DEFAULT.to_owned(),
        None => match find::only(session.places) {
            Ok(FoundProfile::Only { name, .. }) => name,
            _ => return None,
        },
    };
    Chosen::load(name, session).ok()
}

/// Returns the name of the only profile, which is also used if none is named and there is no default.
///
/// # Errors
/// Usage (2): there are no profiles, or more than one. Otherwise as [`find::only`].
pub fn only(call: &SetupCall<'_>, session: &Session<'_>) -> Result<String> {
    match find::only(session.places)? {
        FoundProfile::Only { name, .. } => Ok(name),
        FoundProfile::Several(names) => Err(none_chosen(&names, &call.arguments(), call, session)),
        FoundProfile::Default(_) | FoundProfile::Nothing => Err(Error::usage("no profile to use")
            .hint(format!("create one first: {}", find::first_command(session.places)))),
    }
}

/// Returns the error for several profiles: it names each with its account, and the hint has the command that chooses each of
/// those that can be used. `arguments` select the places of the client.
pub fn none_chosen(names: &[String], arguments: &str, call: &SetupCall<'_>, session: &Session<'_>) -> Error {
    const SHOWN: usize = 4;
    let command = |name: &str| match call.client.uses_default {
        true => format!("ycred use {}", shell::word(name)),
        false => format!("ycred setup {}{arguments} --profile {}", call.client.name, shell::word(name)),
    };
    let (mut commands, mut accounts, mut unusable) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        match Chosen::load(name.clone(), session) {
            Ok(chosen) => {
                commands.push(command(name));
                accounts.push(format!("{name} ({})", chosen.account));
            }
            Err(_) => unusable.push(format!("{name} (cannot be used)")),
        }
    }
    accounts.extend(unusable);
    if accounts.len() > SHOWN {
        let more = accounts.len() - SHOWN;
        accounts.truncate(SHOWN);
        accounts.push(format!("{more} more"));
    }
    if commands.len() > SHOWN {
        commands.truncate(SHOWN);
        commands.push("another profile of `ycred list`".to_owned());
    }
    let error =
        Error::usage(format!("{} profiles, and setup does not choose one: {}", names.len(), accounts.join(", ")));
    let commands = commands.join(", or ");
    error.hint(match commands.is_empty() {
        true => "see what is wrong with each of them: ycred list".to_owned(),
        false => format!("choose one: {commands}"),
    })
}
