//! `refresh`: fetches a new token now, and says until when it lives.

use std::time::Duration;

use super::{Call, Command};
use crate::Outcome;
use crate::error::Result;
use crate::invocation::Options;
use crate::protocol::Reply;
use crate::session::Session;
use crate::token::human;

pub const COMMAND: Command = Command {
    name: "refresh",
    about: "fetch a new token now, whatever the cache has",
    arguments: |command| command,
    needs_places: true,
    run,
};

fn run(call: &Call, session: &Session<'_>) -> Result<Outcome> {
    let profile = session.profile(&call.wanted())?;
    let options = Options { force_refresh: true, ..call.options.clone() };
    let credential = session.obtain(&profile, &options, Duration::ZERO)?.credential;
    let left = human(credential.left(session.clock.now()).longer);
    Ok(Outcome::reply(Reply::text(format!("{profile}: token until {} ({left} left)\n", credential.expires))))
}
