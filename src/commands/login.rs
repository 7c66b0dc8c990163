//! `login`: lets a person log in with a browser, for a profile whose source is `login`.

mod browser;
pub mod callback;
pub mod flow;
mod page;
mod paste;

use std::time::Duration;

use clap::{Arg, ArgAction};

use crate::base::clock::human;
use crate::base::error::{Error, Result};
use crate::commands::command::{Command, CommandCall, profile_argument, selected_profile};
use crate::process::{Outcome, Reply};
use crate::profile::{Profile, ProfileRef};
use crate::session::Session;
use crate::sources::login::client::LoginClient;
use flow::{LoggedIn, LoginOptions};

pub const COMMAND: Command =
    Command::new("login", "log in with a browser, for a profile of source login", arguments, run);

fn arguments(command: clap::Command) -> clap::Command {
    command
        .arg(profile_argument())
        .arg(no_browser())
        .after_help("A person has five minutes, or --timeout. After a failed login no browser is opened for 30 s, but with --force-refresh.")
}

pub fn no_browser() -> Arg {
    Arg::new("no-browser")
        .long("no-browser")
        .action(ArgAction::SetTrue)
        .help("print the address only, and take the one that the browser ends at from stdin")
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let wanted = selected_profile(call)?;
    let profile = session.profile(&wanted).map_err(|error| match make(&wanted, session) {
        Some(command) => error.replace_hint(command),
        None => error,
    })?;
    let timeout = call.options.timeout.unwrap_or(flow::PATIENCE);
    let told = log_in(&profile, call, timeout, session)?;
    Ok(Outcome::reply(Reply::text(format!("{profile}: {told}\n"))))
}

/// The command that makes the profile, where it is missing rather than broken.
fn make(wanted: &ProfileRef, session: &Session<'_>) -> Option<String> {
    let name = match wanted {
        ProfileRef::Typed { text, .. } => text.to_str()?,
        ProfileRef::Given { name, .. } => name,
        ProfileRef::Unnamed => "default",
    };
    let is_missing = !name.contains('/')
        && session.places.profile_candidates(name).iter().all(|path| path.symlink_metadata().is_err());
    is_missing.then(|| format!("make it, and log in: ycred init {name} --login"))
}

/// Lets a person log in, and says what came of it.
///
/// # Errors
/// Usage (2): the profile's tokens come from elsewhere; and as [`flow::log_in`].
pub fn log_in(profile: &Profile, call: &CommandCall, timeout: Duration, session: &Session<'_>) -> Result<String> {
    if !profile.source.needs_person {
        return Err(Error::usage(format!(
            "{profile}: its source is \"{}\", which needs no login",
            profile.source.name
        ))
        .hint("`ycred init NAME --login` makes a profile that does"));
    }
    // Whatever else may be wrong with it is told before a browser opens.
    profile.open()?;
    let login = LoginClient::of(&profile.opening(None))?;
    let manner = LoginOptions { browser: !call.matches.get_flag("no-browser"), again: call.options.force_refresh };
    let LoggedIn { credential, renews } = session
        .ask(profile, &call.options, Duration::ZERO, timeout, |cx| flow::log_in(&login, manner, session, cx))
        .map_err(|error| error.context(profile))?;
    let left = human(credential.left(session.clock.now()).longer);
    Ok(match renews {
        true => format!("logged in; the token lives another {left} and renews itself"),
        false => {
            format!("logged in for {left}; after that log in again, since the organisation gives no refresh tokens")
        }
    })
}
