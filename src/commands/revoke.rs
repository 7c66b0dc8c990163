//! `revoke`: revokes a token in the cloud, either the profile's cached token or one from standard input.

use std::time::Duration;

use clap::{Arg, ArgAction};

use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::base::token::{Credential, check_token};
use crate::cloud::iam;
use crate::commands::command::{Command, CommandCall};
use crate::process::flags::Example;
use crate::process::stdin::RequestEnd;
use crate::process::{Outcome, Reply};
use crate::profile::{Profile, find};
use crate::session::Session;

pub const COMMAND: Command = Command {
    examples: &[
        Example { call: "ycred revoke", about: "revoke the cached token of the default profile" },
        Example { call: "ycred revoke - < token.txt", about: "revoke the token in a file" },
    ],
    ..Command::new("revoke", "revoke the cached token, or one from standard input", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    command
        .arg(Arg::new("token").value_name("-").action(ArgAction::Append).help("read the token from standard input"))
        .after_help(
            "Without `-`: at a terminal, or if standard input is empty, the cached token is revoked; otherwise the token\n\
             on standard input. With `-`: the token on standard input; if that is empty, ycred fails.\n\
             The token stops working in every program that uses it.",
        )
}

/// The most bytes read from standard input: more than the longest token with a line feed and a BOM.
const LARGEST: usize = 8 * 1024;

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let arguments: Vec<&String> = call.matches.get_many("token").into_iter().flatten().collect();
    let is_from_stdin = match arguments.as_slice() {
        [] => false,
        [argument] if *argument == "-" => true,
        [name] if find::names(session.places).contains(*name) => {
            return Err(Error::usage(format!("unexpected argument \"{name}\""))
                .hint(format!("to revoke the token of profile {name}, run `ycred revoke --profile {name}`")));
        }
        _ => {
            // It may be a token, so register it as a secret: no message may contain it.
            arguments.iter().for_each(|argument| drop(Secret::new((*argument).clone())));
            return Err(Error::usage("unexpected argument: other users can read a token on the command line")
                .hint("pass the token on standard input: ycred revoke - < FILE"));
        }
    };
    let given = match is_from_stdin || !session.stdin.borrow().is_terminal() {
        true => read_token(call, session)?,
        false => None,
    };
    if is_from_stdin && given.is_none() {
        return Err(Error::usage("missing token on standard input").hint("run `ycred revoke - < FILE`"));
    }
    let profile = session.profile(&call.profile_by_flag())?;
    let token = match given {
        Some(token) => token,
        None => cached_token(&profile, session)?,
    };
    let timeout = call.options.timeout.unwrap_or(profile.timeout);
    let subject = session
        .with_context(&profile, &call.options, Duration::ZERO, timeout, |cx| {
            iam::revoke(&profile.installation, &token, cx)
        })
        .map_err(|error| error.context(&profile))?;
    // Best effort: if the token stays in the cache, the first server that gets it rejects it.
    session.reject_token(&profile, &call.options, &token);
    Ok(Outcome::reply(Reply::text(format!("{profile}: revoked the token of {subject}\n"))))
}

/// Reads a token from standard input. Returns `None` if standard input is empty.
fn read_token(call: &CommandCall, session: &Session<'_>) -> Result<Option<Secret>> {
    let input = session.read_stdin(RequestEnd::EndOfStdin, LARGEST, &call.options)?;
    let text = std::str::from_utf8(&input).map_err(|_| Error::usage("standard input is not a token"))?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let token = check_token(Secret::new(text.to_owned()));
    token.map(Some).map_err(|why| Error::usage(format!("standard input is not a token: it {why}")))
}

/// Returns the profile's valid token from the cache, or otherwise from the login.
fn cached_token(profile: &Profile, session: &Session<'_>) -> Result<Secret> {
    let grant = profile.open()?;
    let record = session.cache().entry(grant.identity()).load().map_err(|error| error.context(profile))?;
    // A login keeps its last token and returns it even if nothing is cached.
    let login_token = || {
        let login = profile.login().ok().flatten().filter(|_| grant.inner().is_none())?;
        login.store.load().ok()?.access.map(|access| access.credential())
    };
    let now = session.clock.now();
    let is_valid = |credential: &Credential| !credential.is_expired(now);
    let cached = record.and_then(|record| record.credential()).filter(is_valid);
    let token = cached.or_else(|| login_token().filter(is_valid));
    token.map(|credential| credential.secret).ok_or_else(|| {
        Error::usage(format!("{profile}: no valid token in the cache"))
            .hint("to revoke another token, pass it on standard input: ycred revoke - < FILE")
    })
}
