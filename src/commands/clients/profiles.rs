//! Which profile a client gets. A wrong choice would change the account silently, so an unclear case is an
//! error that `--profile` decides.

use crate::base::error::{Error, Result};
use crate::base::shell;
use crate::commands::clients::client::SetupCall;
use crate::commands::clients::public;
use crate::commands::import::account;
use crate::profile::find::{self, FoundProfile};
use crate::profile::{Profile, ProfileRef};
use crate::session::Session;

/// A profile as clients will name it.
pub struct Chosen {
    /// The name or path to write.
    pub argument: String,
    pub profile: Profile,
    /// The account, for people.
    pub account: String,
}

impl Chosen {
    /// Loads a profile.
    ///
    /// # Errors
    /// As [`Session::profile`]; or the key cannot be read.
    pub fn load(argument: String, session: &Session<'_>) -> Result<Self> {
        let profile = session.profile(&ProfileRef::NameOrPath { by: "--profile", text: argument.clone().into() })?;
        let account = profile.open().and_then(|grant| grant.account())?;
        let account = account.split(" (key ").next().unwrap_or_default().to_owned();
        Ok(Self { argument, profile, account })
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

/// Returns the profile of `--profile`, else the default one, else the only profile.
///
/// # Errors
/// Usage (2): neither exists.
pub fn chosen_or_default(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Chosen> {
    match call.profile_argument()? {
        Some(argument) => Chosen::load(argument, session),
        None => default_or_only(call, session),
    }
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

/// Returns the name of the only profile, which is also used if none is named and there is no default.
///
/// # Errors
/// Usage (2): there are no profiles, or more than one. Otherwise as [`find::only`].
pub fn only(call: &SetupCall<'_>, session: &Session<'_>) -> Result<String> {
    match find::only(session.places)? {
        FoundProfile::Only { name, .. } => Ok(name),
        FoundProfile::Several(names) => {
            const SHOWN: usize = 4;
            let command = |name: &String| match call.client.uses_default {
                true => format!("ycred use {}", shell::word(name)),
                false => {
                    format!("ycred setup {}{} --profile {}", call.client.name, call.arguments(), shell::word(name))
                }
            };
            let mut commands: Vec<String> = names.iter().take(SHOWN).map(command).collect();
            if names.len() > SHOWN {
                commands.push("another profile of `ycred list`".to_owned());
            }
            let commands = commands.join(", or ");
            Err(Error::usage(format!("{} profiles, and none was chosen", names.len()))
                .hint(format!("choose one: {commands}")))
        }
        FoundProfile::Default(_) | FoundProfile::Nothing => {
            Err(Error::usage("no profile to use").hint("create one first: ycred init --key-file FILE"))
        }
    }
}

/// Returns the profile of ycred that replaces yc's profile `yc_name`. `yc_home` is the home directory that yc reads.
///
/// # Errors
/// Usage (2): there is no such profile, or it belongs to another account.
pub fn for_yc(yc_name: &str, yc_home: Option<&std::path::Path>, session: &Session<'_>) -> Result<Chosen> {
    let decide = |name: &str| {
        format!(
            "choose the profile yourself: --profile NAME, or import yc's: ycred import {} --write",
            shell::word(name)
        )
    };
    let Some(name) = account::profile_name(yc_name).filter(|_| public::is_profile_name(yc_name)) else {
        return Err(Error::usage("runs yc with a profile whose name no profile of ycred can have")
            .hint("choose a profile with --profile NAME"));
    };
    if find::by_name(&name, session.places)?.is_none() {
        return Err(Error::usage(format!(
            "runs yc with its profile {yc_name}, but there is no profile {name} of ycred"
        ))
        .hint(decide(yc_name)));
    }
    let chosen = Chosen::load(name, session)?;
    let of_yc = yc_home.and_then(|home| account::of_yc(home, yc_name, session));
    match of_yc {
        // Without yc's configuration, the name is all there is.
        None => Ok(chosen),
        Some(of_yc) if account::of_profile(&chosen.profile).as_ref() == Some(&of_yc) => Ok(chosen),
        // The profile asks yc itself.
        Some(_) if runs_yc(&chosen.profile, yc_name) => Ok(chosen),
        Some(of_yc) => Err(Error::usage(format!(
            "yc's profile {yc_name} is for {of_yc}, but ycred's profile {} is for {}",
            chosen.argument, chosen.account
        ))
        .hint(format!("if the user should change to that account: --profile {}", shell::word(&chosen.argument)))),
    }
}

/// Returns true if a profile of source `command` runs yc with this profile of yc's.
fn runs_yc(profile: &Profile, yc_name: &str) -> bool {
    let command = profile.settings.list("command").unwrap_or_default();
    let is_yc = command.first().is_some_and(|program| program.rsplit('/').next() == Some("yc"));
    let names_profile = command.iter().any(|argument| *argument == format!("--profile={yc_name}"))
        || command.windows(2).any(|pair| pair[0] == "--profile" && pair[1] == yc_name);
    profile.source.name == "command" && is_yc && names_profile
}
