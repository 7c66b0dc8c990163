//! `refresh`: fetches a new token, replaces the profile's cached access keys, and prints when each expires.

use std::fmt::Write as _;
use std::time::Duration;

use crate::base::clock::human;
use crate::base::diagnostics::Warning;
use crate::base::error::{Error, Result};
use crate::base::supplied_token::TOKEN_VARIABLES;
use crate::base::token::Credential;
use crate::commands::command::{Command, CommandCall, profile_argument, selected_profile};
use crate::obtain::ObtainedToken;
use crate::process::flags::{Example, Options};
use crate::process::{Outcome, Reply};
use crate::profile::Profile;
use crate::session::Session;
use crate::sources::Resource;

pub const COMMAND: Command = Command {
    examples: &[
        Example { call: "ycred refresh", about: "fetch a new token for the default profile" },
        Example { call: "ycred refresh prod", about: "fetch a new token for `prod`" },
    ],
    ..Command::new("refresh", "fetch a new token now, even if the cached one is valid", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    command.arg(profile_argument())
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let profile = session.profile(&selected_profile(call)?)?;
    let options = Options { force_refresh: true, ..call.options.clone() };
    let left = |credential: &Credential| human(credential.left(session.clock.now()));
    let keys = session.access_keys(&profile, &options)?;
    let mut text = String::new();
    if !profile.source.is_passed_through || !profile.impersonate.is_empty() {
        let credential = session.obtain(&profile, &options, Duration::ZERO)?.credential;
        let _ = writeln!(text, "{profile}: token expires at {} (in {})", credential.expires, left(&credential));
    } else if keys.is_empty() {
        let source = profile.source.name;
        return Err(Error::usage(format!(
            "{profile}: nothing to refresh: source \"{source}\" passes a token through, and only its origin can renew it"
        ))
        .hint(renewal_hint(&profile)));
    }
    for (request, _) in keys {
        let session_name = request.session_name.clone();
        match session.obtain_resource(&profile, &options, &Resource::AccessKey(request), Duration::ZERO) {
            Ok(ObtainedToken { credential, .. }) => {
                let (expires, left) = (credential.expires, left(&credential));
                let _ =
                    writeln!(text, "{profile}: access key of session {session_name} expires at {expires} (in {left})");
            }
            // Only a warning: the key may be unused by now and its policy file deleted.
            Err(error) => session.diagnostics.warn(
                Warning::ServedAlthoughRenewingFailed,
                format!("cannot renew the access key of session {session_name}: {}", error.reason()),
            ),
        }
    }
    Ok(Outcome::reply(Reply::text(text)))
}

/// Says how to renew the token of a profile that passes it through.
fn renewal_hint(profile: &Profile) -> String {
    match profile.settings.values_of("token-env").next() {
        Some(variable) if TOKEN_VARIABLES.contains(&variable) => {
            format!("unset {} to use a profile or another variable instead", TOKEN_VARIABLES.join(" "))
        }
        Some(variable) => format!("set the variable {variable} to a new token"),
        None => "run the program that writes the token file".to_owned(),
    }
}
