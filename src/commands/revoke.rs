//! `revoke`: ends a token in the cloud: the profile's cached one, or one that comes on standard input.

use std::time::Duration;

use clap::{Arg, ArgAction};

use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::base::token::{Credential, token_text};
use crate::cloud::iam;
use crate::commands::command::{Command, CommandCall};
use crate::process::{Outcome, Reply};
use crate::profile::{Profile, find};
use crate::session::Session;

pub const COMMAND: Command =
    Command::new("revoke", "end the cached token in the cloud, or one from standard input", arguments, run);

fn arguments(command: clap::Command) -> clap::Command {
    command
        .arg(Arg::new("token").value_name("-").action(ArgAction::Append).help("take the token from standard input"))
        .after_help("Standard input is read without - too, where it is no terminal; if it is empty, the cached token is meant.\nEvery program that has been given the same token loses it.")
}

/// More than a token may have; a line feed and a BOM fit in.
const LARGEST: usize = 8 * 1024;

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let words: Vec<&String> = call.matches.get_many("token").into_iter().flatten().collect();
    let by_stdin = match words.as_slice() {
        [] => false,
        [word] if *word == "-" => true,
        [name] if find::names(session.places).contains(*name) => {
            return Err(Error::usage("which profile is meant is said with --profile")
                .hint(format!("ycred revoke --profile {name}")));
        }
        _ => {
            // It may well be a token, and every user of this machine has seen it by now.
            words.iter().for_each(|word| drop(Secret::new((*word).clone())));
            return Err(Error::usage("a token is not given on the command line, where everybody can read it")
                .hint("give it on standard input: ycred revoke -"));
        }
    };
    let given = match by_stdin || !session.stdin.borrow().is_terminal() {
        true => read(call, session)?,
        false => None,
    };
    if by_stdin && given.is_none() {
        return Err(Error::usage("there is no token on standard input").hint("ycred revoke - < FILE"));
    }
    let profile = session.profile(&call.wanted())?;
    let token = match given {
        Some(token) => token,
        None => cached(&profile, session)?,
    };
    let timeout = call.options.timeout.unwrap_or(profile.timeout);
    let subject = session
        .ask(&profile, &call.options, Duration::ZERO, timeout, |cx| iam::revoke(&profile.installation, &token, cx))
        .map_err(|error| error.context(&profile))?;
    // Best effort: what stays is refused by the first server that sees it.
    session.reject_token(&profile, &call.options, &token);
    Ok(Outcome::reply(Reply::text(format!("{profile}: the token of {subject} is revoked\n"))))
}

fn read(call: &CommandCall, session: &Session<'_>) -> Result<Option<Secret>> {
    let input = session.read_stdin(LARGEST, &call.options)?;
    let text = std::str::from_utf8(&input).map_err(|_| Error::usage("what is on standard input is no token"))?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let token = token_text(Secret::new(text.to_owned()));
    token.map(Some).map_err(|why| Error::usage(format!("what is on standard input is no token: it {why}")))
}

fn cached(profile: &Profile, session: &Session<'_>) -> Result<Secret> {
    let grant = profile.open()?;
    let record = session.cache().entry(grant.identity()).load().map_err(|error| error.context(profile))?;
    // Where nothing is cached, a login still has its last token, and would hand it out.
    let own = || {
        let login = profile.login().ok().flatten().filter(|_| grant.inner().is_none())?;
        login.place.load().ok()?.access.map(|access| access.credential())
    };
    let now = session.clock.now();
    let is_living = |credential: &Credential| credential.left(now).longer > 0;
    let cached = record.and_then(|record| record.credential()).filter(is_living);
    let living = cached.or_else(|| own().filter(is_living));
    living.map(|credential| credential.secret).ok_or_else(|| {
        Error::usage(format!("{profile}: no living token is cached"))
            .hint("another one is revoked by giving it on standard input: ycred revoke -")
    })
}
