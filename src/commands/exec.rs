//! `exec`: becomes another program, with a token in its environment: for Terraform's provider, scripts, anything that
//! reads `YC_TOKEN` or `YC_IAM_TOKEN`.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::{Arg, ArgAction};

use super::{Call, Command};
use crate::Outcome;
use crate::environment as env;
use crate::error::{Error, Result};
use crate::profile::Profile;
use crate::session::Session;
use crate::token::{Secret, Timestamp};

pub const COMMAND: Command = Command {
    name: "exec",
    about: "run a program with a token in its environment",
    arguments: |command| {
        command
            .arg(
                Arg::new("command")
                    .value_name("CMD")
                    .help("program and arguments; without one, your shell")
                    .action(ArgAction::Append)
                    .value_parser(clap::value_parser!(OsString))
                    .trailing_var_arg(true),
            )
            .after_help("The token is not renewed inside the program: ask for one that lives long enough with --min-ttl 6h.\nExit codes of its own: 125 no token, 126 the program cannot be run, 127 there is no such program.")
    },
    needs_places: false,
    run,
};

/// exec's own exit codes, as env(1), nice(1) and docker-run have them.
pub const NO_TOKEN: u8 = 125;

fn run(call: &Call, session: &Session<'_>) -> Result<Outcome> {
    match prepare(call, session) {
        Ok(launch) => Ok(Outcome::Become(launch)),
        Err(error) => Ok(Outcome::failed(&error, NO_TOKEN)),
    }
}

fn prepare(call: &Call, session: &Session<'_>) -> Result<Launch> {
    let mut words = call.matches.get_many::<OsString>("command").into_iter().flatten().cloned();
    let program = match words.next() {
        Some(program) => program,
        None => session.environment.get(env::SHELL).map(ToOwned::to_owned).unwrap_or_else(|| "/bin/sh".into()),
    };
    let profile = session.profile(&call.wanted())?;
    let obtained = session.obtain(&profile, &call.options, Duration::ZERO)?;
    let expires = obtained.credential.advertised(session.clock.now(), obtained.skew_is_current);
    Ok(Launch { program, arguments: words.collect(), changes: changes(&profile, &obtained.credential.secret, expires) })
}

/// A program to become.
pub struct Launch {
    pub program: OsString,
    pub arguments: Vec<OsString>,
    pub changes: Vec<Change>,
}

/// One change to the environment of a program.
pub enum Change {
    Set(&'static str, OsString),
    /// The token itself.
    SetSecret(&'static str, Secret),
    Unset(String),
}

/// What a program's environment gets and loses (docs/hooks/exec.md): the token; not what would outrank it
/// (`YC_SERVICE_ACCOUNT_KEY_FILE` beats `YC_TOKEN` in the Terraform provider), nor what the profile reads its secrets
/// from.
pub fn changes(profile: &Profile, token: &Secret, expires: Timestamp) -> Vec<Change> {
    let outranking = [env::YC_SERVICE_ACCOUNT_KEY_FILE, env::YC_OAUTH_TOKEN].into_iter();
    let mut changes: Vec<Change> =
        outranking.chain(profile.settings.secret_variables()).map(|name| Change::Unset(name.to_owned())).collect();
    // After the unsetting: a static profile may read YC_TOKEN itself.
    match &profile.name {
        Some(name) => changes.push(Change::Set(env::YCRED_PROFILE, name.into())),
        // A ycred inside takes the token from the environment, and must not impersonate with it once more.
        None => changes.extend([env::YCRED_PROFILE, env::YCRED_IMPERSONATE].map(|name| Change::Unset(name.into()))),
    }
    changes.push(Change::SetSecret(env::YC_TOKEN, token.clone()));
    changes.push(Change::SetSecret(env::YC_IAM_TOKEN, token.clone()));
    changes.push(Change::Set(env::YCRED_EXPIRES_AT, expires.to_string().into()));
    changes
}

/// The error and exit code for a program that could not be become.
pub fn not_run(program: &OsString, error: &std::io::Error) -> (Error, u8) {
    let name = Path::new(program).display();
    let why = crate::cache::describe(error);
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            (Error::usage(format!("{name}: there is no such program")).hint("check the spelling and PATH"), 127)
        }
        _ => (
            Error::usage(format!("{name}: cannot be run: {why}"))
                .hint(format!("check that it may be executed: ls -l {name}")),
            126,
        ),
    }
}
