//! `login`: logs a person in with a browser, for a profile with source `login`.

mod browser;
pub mod callback;
pub mod flow;
pub mod notice;
mod page;
mod paste;
pub mod renew;

use std::time::Duration;

use clap::{Arg, ArgAction};

use crate::base::clock::human;
use crate::base::error::{Error, Result};
use crate::base::suggest::nearest;
use crate::commands::command::{Command, CommandCall, Group, profile_argument, selected_profile};
use crate::process::flags::Example;
use crate::process::{Outcome, Reply};
use crate::profile::find::{self, FoundProfile};
use crate::profile::{Profile, ProfileRef};
use crate::session::Session;
use crate::sources::login::client::LoginClient;
use crate::system::files::is_path;
use flow::{LoggedIn, LoginOptions};

pub const COMMAND: Command = Command {
    group: Group::SetUp,
    examples: &[
        Example { call: "ycred login", about: "log in with the default profile" },
        Example { call: "ycred login work --no-browser", about: "log in on a machine without a browser" },
    ],
    ..Command::new("login", "log in with a browser (for profiles with source login)", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    command.arg(profile_argument()).arg(no_browser()).after_help(
        "The login must be completed within 5 minutes; --timeout changes that.\n\
             For 30 seconds after a failed login, no browser opens unless you pass --force-refresh.",
    )
}

/// The flag `--no-browser` of `login` and `init`.
pub fn no_browser() -> Arg {
    Arg::new("no-browser")
        .long("no-browser")
        .action(ArgAction::SetTrue)
        .help("don't open a browser; print the URL and read the result from stdin")
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let profile_ref = selected_profile(call)?;
    let profile = session.profile(&profile_ref).map_err(|error| match hint_to_create(&profile_ref, session) {
        Some(hint) => error.replace_hint(hint),
        None => error,
    })?;
    let timeout = call.options.timeout.unwrap_or(flow::LOGIN_TIMEOUT);
    let report = log_in(&profile, call, timeout, session)?;
    Ok(Outcome::reply(Reply::text(format!("{profile}: {report}\n"))))
}

/// Returns a hint with the command that creates the profile, or `None` if the profile exists.
fn hint_to_create(profile_ref: &ProfileRef, session: &Session<'_>) -> Option<String> {
    let name = match profile_ref {
        ProfileRef::NameOrPath { text, .. } => text.to_str()?,
        ProfileRef::Name { name, .. } => name,
        ProfileRef::Unnamed => {
            let nothing = matches!(find::without_name(session.places), Ok(FoundProfile::Nothing));
            return nothing.then(|| "to create a profile and log in, run `ycred init --login`".to_owned());
        }
    };
    let is_missing = !is_path(name.as_ref())
        && session.places.profile_candidates(name).iter().all(|path| path.symlink_metadata().is_err());
    let has_near_name = || nearest(name, find::names(session.places).iter().map(String::as_str)).is_some();
    (is_missing && !has_near_name())
        .then(|| format!("to create the profile and log in, run `ycred init {name} --login`"))
}

/// Logs a person in. Returns the report to print.
///
/// # Errors
/// Usage (2): the profile's source is not `login`. Otherwise as [`flow::log_in`].
pub fn log_in(profile: &Profile, call: &CommandCall, timeout: Duration, session: &Session<'_>) -> Result<String> {
    if !profile.source.needs_login {
        return Err(Error::usage(format!("{profile}: source \"{}\" doesn't need a login", profile.source.name))
            .hint("to create a profile that logs in with a browser, run `ycred init NAME --login`"));
    }
    // Report any error in the profile before a browser opens.
    profile.open()?;
    let login = LoginClient::of(&profile.source_input(None))?;
    let login_options = LoginOptions {
        opens_browser: !call.matches.get_flag("no-browser"),
        ignores_cool_down: call.options.force_refresh,
    };
    let LoggedIn { credential, is_renewable } = session
        .with_context(profile, &call.options, Duration::ZERO, timeout, |cx| {
            flow::log_in(&login, login_options, session, cx)
        })
        .map_err(|error| error.context(profile))?;
    // The report says how long the login lasts.
    notice::mark(&login.store, session);
    let left = human(credential.left(session.clock.now()));
    Ok(match is_renewable {
        true => format!("logged in; the token is valid for {left} and renewed automatically"),
        false => {
            format!("logged in for {left}; after that, log in again: the organization doesn't issue refresh tokens")
        }
    })
}
