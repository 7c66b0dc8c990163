//! `refresh`: fetches a new token now, and says until when it lives. Access keys that old ones bought are minted anew.

use std::fmt::Write as _;
use std::time::Duration;

use crate::base::clock::human;
use crate::base::error::Result;
use crate::base::notes::Warning;
use crate::base::token::Credential;
use crate::cache::record::Record;
use crate::commands::command::{Command, CommandCall, named, wanted};
use crate::obtain::ObtainedToken;
use crate::process::flags::Options;
use crate::process::{Outcome, Reply};
use crate::profile::Profile;
use crate::session::Session;
use crate::sources::access_key::KeyRequest;
use crate::sources::{Resource, access_key};

pub const COMMAND: Command = Command::new("refresh", "fetch a new token now, whatever the cache has", arguments, run);

fn arguments(command: clap::Command) -> clap::Command {
    command.arg(named())
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let profile = session.profile(&wanted(call)?)?;
    let options = Options { force_refresh: true, ..call.options.clone() };
    let credential = session.obtain(&profile, &options, Duration::ZERO)?.credential;
    let left = |credential: &Credential| human(credential.left(session.clock.now()).longer);
    let mut text = format!("{profile}: token until {} ({} left)\n", credential.expires, left(&credential));
    for request in keys_of(&profile, &options, session)? {
        let session_name = request.session_name.clone();
        match session.obtain_need(&profile, &options, &Resource::AccessKey(request), Duration::ZERO) {
            Ok(ObtainedToken { credential, .. }) => {
                let (expires, left) = (credential.expires, left(&credential));
                let _ = writeln!(text, "{profile}: access key of session {session_name} until {expires} ({left} left)");
            }
            // Perhaps nobody asks for it any more, and its policy is gone: no reason to fail.
            Err(error) => session.notes.warn(
                Warning::ServedAlthoughRenewingFailed,
                format!("the access key of session {session_name} stays as it is: {}", error.reason()),
            ),
        }
    }
    Ok(Outcome::reply(Reply::text(text)))
}

/// Which living access keys of the profile the cache has.
fn keys_of(profile: &Profile, options: &Options, session: &Session<'_>) -> Result<Vec<KeyRequest>> {
    if options.no_cache || !profile.cached {
        return Ok(Vec::new());
    }
    let (grant, now) = (profile.open()?, session.clock.now());
    let living = |record: &Record| record.credential().is_some_and(|credential| credential.left(now).longer > 0);
    let request =
        |record: &Record| access_key::request_of(record.settings(), grant.identity()).filter(|_| living(record));
    let cache = session.cache();
    let keys = cache.slots_where(request).unwrap_or_default();
    Ok(keys.into_iter().map(|(_, request)| request).collect())
}
