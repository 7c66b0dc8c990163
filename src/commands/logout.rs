//! `logout`: forgets what ycred holds for a profile, or for all, and says what that was. The token itself lives on in
//! the cloud: other programs may have been given the same one. Access keys that it bought are forgotten with it.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use clap::{Arg, ArgAction};

use super::{Call, Command};
use crate::Outcome;
use crate::cache::{Forgotten, Slot, describe};
use crate::clock::Deadline;
use crate::error::{Error, Result};
use crate::profile::DEFAULT_TIMEOUT;
use crate::protocol::Reply;
use crate::session::Session;
use crate::source::{self, Grant, access_key};
use crate::store::Lock;

pub const COMMAND: Command = Command {
    name: "logout",
    about: "forget the cached token of a profile, or of all",
    arguments: |command| {
        command.arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("forget every cached token"))
    },
    needs_places: true,
    run,
};

fn run(call: &Call, session: &Session<'_>) -> Result<Outcome> {
    let cache = session.cache();
    let disk = |error: io::Error| {
        Error::internal(format!("{}: the cache cannot be emptied", cache.place()))
            .because(describe(&error))
            .hint(format!("remove it by hand: rm -r {}", cache.place()))
    };
    if call.matches.get_flag("all") {
        if call.options.profile.is_some() {
            return Err(Error::usage("--all and --profile are two different things").hint("leave one of them out"));
        }
        let deadline = Deadline::of_run(call.options.timeout.unwrap_or(DEFAULT_TIMEOUT));
        let mut forgotten = 0;
        for slot in cache.slots().map_err(disk)? {
            let found = forget(&slot, &deadline, session).map_err(disk)?;
            forgotten += usize::from(found != Forgotten::Nothing);
        }
        cache.clear_litter().map_err(disk)?;
        return Ok(Outcome::reply(Reply::text(format!("{}: {forgotten} cached tokens forgotten\n", cache.place()))));
    }
    let profile = session.profile(&call.wanted())?;
    let grant = source::open(&profile)?;
    let deadline = Deadline::of_run(call.options.timeout.unwrap_or(profile.timeout));
    let mut text = String::new();
    // Access keys first: one that is being minted waits for a token of the grant.
    let keys = cache.slots_where(|record| access_key::request_of(record.settings(), grant.identity())).map_err(disk)?;
    for (slot, request) in keys {
        if let Forgotten::Token(expires) = forget(&slot, &deadline, session).map_err(disk)? {
            let session_name = request.session_name;
            let _ = writeln!(
                text,
                "{profile}: the cached access key of session {session_name} is forgotten (the cloud honours it until {expires})"
            );
        }
    }
    let mut link: Option<&dyn Grant> = Some(grant.as_ref());
    while let Some(grant) = link {
        let entry = cache.entry(grant.identity());
        if let Forgotten::Token(expires) = forget(&entry.slot, &deadline, session).map_err(disk)? {
            let account = grant.account().unwrap_or_else(|_| "an account".into());
            let _ = writeln!(
                text,
                "{profile}: the cached token of {account} is forgotten (the cloud honours it until {expires})"
            );
        }
        link = grant.inner();
    }
    if text.is_empty() {
        text = format!("{profile}: no token is cached\n");
    }
    Ok(Outcome::reply(Reply::text(text)))
}

/// Forgets; and if a fetch is under way, waits for its end and forgets what it may have stored between its last look at the
/// record and its rename.
fn forget(slot: &Slot<'_>, deadline: &Deadline, session: &Session<'_>) -> io::Result<Forgotten> {
    let forgotten = slot.forget(session.clock.now())?;
    while let Lock::Busy = slot.try_lock() {
        if deadline.left(session.clock).is_zero() {
            return Ok(forgotten);
        }
        session.clock.sleep(Duration::from_millis(20));
    }
    match slot.forget(session.clock.now())? {
        Forgotten::Nothing => Ok(forgotten),
        found => Ok(found),
    }
}
