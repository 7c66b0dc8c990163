//! Which profile of ycred replaces one of yc's: the one with the same account. A wrong choice would change the account
//! silently, so an unclear case is an error.

use std::path::Path;

use crate::base::error::{Error, Result};
use crate::base::shell;
use crate::commands::clients::client::SetupCall;
use crate::commands::clients::profiles::{self, Chosen};
use crate::commands::clients::program;
use crate::commands::clients::public;
use crate::commands::import::account::{self, KnownAccount};
use crate::profile::find::{self, FoundProfile};
use crate::profile::{Profile, ProfileRef};
use crate::session::Session;

/// The name of yc's profile that maps to none of ycred's by name.
const DEFAULT: &str = "default";

/// A profile of yc's that runs in a client's configuration.
pub struct YcProfile<'a> {
    /// `None` if the configuration names none.
    pub name: Option<&'a str>,
    /// The home directory that yc reads.
    pub home: Option<&'a Path>,
}

impl YcProfile<'_> {
    /// Returns the account. Returns `None` if yc's configuration cannot be read.
    pub fn account(&self, session: &Session<'_>) -> Option<KnownAccount> {
        account::of_yc(self.home?, self.name?, session)
    }

    /// Returns the account that yc uses now, if `chosen` has another one.
    pub fn account_beside(&self, chosen: &Profile, session: &Session<'_>) -> Option<KnownAccount> {
        let name = self.name.map(str::to_owned).or_else(|| account::current_of_yc(self.home?, session))?;
        let of_yc = account::of_yc(self.home?, &name, session)?;
        (account::of_profile(chosen).as_ref() != Some(&of_yc) && !runs_yc(chosen, &name)).then_some(of_yc)
    }
}

/// Returns the profile that replaces yc's for a kubeconfig user. `given` is the one that setup has given to this user before, when
/// it ran yc in the same way. `arguments` select the user.
///
/// # Errors
/// Usage (2): there is no such profile, it belongs to another account, or several can be meant.
pub fn for_user(
    yc: &YcProfile<'_>,
    given: Option<Chosen>,
    arguments: &str,
    call: &SetupCall<'_>,
    session: &Session<'_>,
) -> Result<Chosen> {
    match (yc.name.filter(|name| *name != DEFAULT), given) {
        (Some(name), given) if !exists(name, session)? => given.map_or_else(|| by_name(name, yc, session), Ok),
        (Some(name), _) => by_name(name, yc, session),
        (None, Some(given)) => Ok(given),
        (None, None) => for_default(yc, arguments, call, session),
    }
}

/// Returns a digest of the account of a profile. Returns `None` if it is not known without a request.
pub fn digest_of(profile: &Profile) -> Option<String> {
    account::of_profile(profile).map(|account| account.digest())
}

/// Returns the only profile, else the one with the account of yc's profile `default`.
fn for_default(yc: &YcProfile<'_>, arguments: &str, call: &SetupCall<'_>, session: &Session<'_>) -> Result<Chosen> {
    let FoundProfile::Several(names) = find::only(session.places)? else {
        return Chosen::load(profiles::only(call, session)?, session);
    };
    let account = yc.account(session);
    if let Some(account) = &account
        && let Some(chosen) = of_account(&names, account, session)
    {
        return Ok(chosen);
    }
    let error = profiles::none_chosen(&names, arguments, call, session);
    Err(match account {
        Some(account) => error.context(format!("yc's profile {DEFAULT} is for {account}")),
        None => error,
    })
}

/// Returns the profile that replaces yc's for a registry. Returns `None` if `usual`, the profile of this call, is for the same
/// account, or if nothing says which one it is.
///
/// # Errors
/// Usage (2): there is no such profile, or it belongs to another account.
pub fn for_registry(yc: &YcProfile<'_>, usual: &Chosen, session: &Session<'_>) -> Result<Option<Chosen>> {
    let Some(name) = yc.name else { return Ok(None) };
    let account = yc.account(session);
    let is_usual = match &account {
        Some(account) => account::of_profile(&usual.profile).as_ref() == Some(account),
        None => name == DEFAULT,
    };
    if is_usual || runs_yc(&usual.profile, name) {
        return Ok(None);
    }
    let names = match find::only(session.places)? {
        FoundProfile::Several(names) => names,
        FoundProfile::Only { name, .. } => vec![name],
        FoundProfile::Default(_) | FoundProfile::Nothing => Vec::new(),
    };
    match account.and_then(|account| of_account(&names, &account, session)) {
        Some(chosen) => Ok(Some(chosen)),
        None => {
            let chosen = by_name(name, yc, session)?;
            // `usual` may be an alias of it.
            Ok((!profiles::is_same_file(&chosen.profile, &usual.profile)).then_some(chosen))
        }
    }
}

/// Returns the profile with an account: the only one, or the one that `import` makes of yc's profile `default`.
fn of_account(names: &[String], account: &KnownAccount, session: &Session<'_>) -> Option<Chosen> {
    if !account.is_certain() {
        return None;
    }
    let is_same = |name: &&String| {
        let reference = ProfileRef::NameOrPath { by: "--profile", text: (*name).into() };
        session.profile(&reference).is_ok_and(|profile| account::of_profile(&profile).as_ref() == Some(account))
    };
    let same: Vec<&String> = names.iter().filter(is_same).collect();
    let imported = || same.iter().find(|name| account::is_name_of_default(name));
    let name = match same.as_slice() {
        [only] => only,
        _ => imported()?,
    };
    Chosen::load((*name).clone(), session).ok()
}

fn exists(yc_name: &str, session: &Session<'_>) -> Result<bool> {
    match account::profile_name(yc_name) {
        Some(name) => Ok(find::by_name(&name, session.places)?.is_some()),
        None => Ok(false),
    }
}

/// Returns the profile with the name of yc's.
///
/// # Errors
/// Usage (2): there is no such profile, or it belongs to another account.
fn by_name(yc_name: &str, yc: &YcProfile<'_>, session: &Session<'_>) -> Result<Chosen> {
    let decide = |name: &str| {
        format!(
            "import yc's: ycred import {} --write, or choose another account yourself: --profile NAME",
            shell::word(name)
        )
    };
    let Some(name) = account::profile_name(yc_name).filter(|_| public::is_profile_name(yc_name)) else {
        return Err(Error::usage("runs yc with a profile whose name no profile of ycred can have")
            .hint("choose a profile with --profile NAME"));
    };
    if !exists(yc_name, session)? {
        return Err(Error::usage(format!(
            "runs yc with its profile {yc_name}, but there is no profile {name} of ycred"
        ))
        .hint(decide(yc_name)));
    }
    let chosen = Chosen::load(name, session)?;
    match yc.account(session) {
        // Without yc's configuration, the name is all there is.
        None => Ok(chosen),
        Some(of_yc) if account::of_profile(&chosen.profile).as_ref() == Some(&of_yc) => Ok(chosen),
        // The profile asks yc itself.
        Some(_) if runs_yc(&chosen.profile, yc_name) => Ok(chosen),
        Some(of_yc) => Err(Error::usage(format!(
            "yc's profile {yc_name} is for {of_yc}, but ycred's profile {} is for {}",
            chosen.argument, chosen.account
        ))
        .hint(format!("if it should change to that account: --profile {}", shell::word(&chosen.argument)))),
    }
}

/// Returns true if a profile of source `command` runs yc with this profile of yc's.
fn runs_yc(profile: &Profile, yc_name: &str) -> bool {
    let command = profile.settings.list("command").unwrap_or_default();
    let is_yc = command.first().is_some_and(|program| program::is_named(program, "yc"));
    let names_profile = command.iter().any(|argument| *argument == format!("--profile={yc_name}"))
        || command.windows(2).any(|pair| pair[0] == "--profile" && pair[1] == yc_name);
    profile.source.name == "command" && is_yc && names_profile
}
