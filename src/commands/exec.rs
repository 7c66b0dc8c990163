//! `exec`: becomes another program, with a token in its environment: for Terraform's provider, scripts, anything that
//! reads `YC_TOKEN` or `YC_IAM_TOKEN`.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command as Process;
use std::time::Duration;

use clap::{Arg, ArgAction};

use crate::Outcome;
use crate::base::clock::Timestamp;
use crate::base::environment as env;
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::commands::{Call, Command};
use crate::profile::Profile;
use crate::serve::{Order, serve};
use crate::session::Session;
use crate::system;

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
            .arg(Arg::new("serve").long("serve").action(ArgAction::SetTrue).help(
                "stay, and answer on loopback as the metadata service and AWS containers' credentials do, with a token and keys that never expire",
            ))
            .arg(
                Arg::new("with-token")
                    .long("with-token")
                    .action(ArgAction::SetTrue)
                    .requires("serve")
                    .help("with --serve: the token in the environment too"),
            )
            .after_help("The token is not renewed inside the program: ask for one that lives long enough with --min-ttl 6h, or use --serve.\nExit codes of its own: 125 no token, 126 the program cannot be run, 127 there is no such program.")
    },
    needs_places: false,
    run,
};

/// exec's own exit codes, as env(1), nice(1) and docker-run have them.
pub const NO_TOKEN: u8 = 125;

fn run(call: &Call, session: &Session<'_>) -> Result<Outcome> {
    prepare(call, session).or_else(|(error, code)| Ok(Outcome::failed(&error, code)))
}

fn prepare(call: &Call, session: &Session<'_>) -> Result<Outcome, (Error, u8)> {
    let own = |error| (error, NO_TOKEN);
    let mut words = call.matches.get_many::<OsString>("command").into_iter().flatten().cloned();
    let program = match words.next() {
        Some(program) => program,
        None => session.environment.get(env::SHELL).map(ToOwned::to_owned).unwrap_or_else(|| "/bin/sh".into()),
    };
    let arguments = words.collect();
    let profile = session.profile(&call.wanted()).map_err(own)?;
    let first = session.obtain(&profile, &call.options, Duration::ZERO).map_err(own)?;
    if call.matches.get_flag("serve") {
        let (options, with_token) = (call.options.clone(), call.matches.get_flag("with-token"));
        let order = Order { program, arguments, profile, options, first, with_token };
        return serve(order, session).map(Outcome::EndAs);
    }
    let expires = first.credential.advertised(session.clock.now(), first.skew_is_current);
    let changes = changes(&profile, &first.credential.secret, expires);
    Ok(Outcome::Become(Launch { program, arguments, changes }))
}

/// A program to become.
pub struct Launch {
    pub program: OsString,
    pub arguments: Vec<OsString>,
    pub changes: Vec<Change>,
}

impl Launch {
    /// The program with its environment, and with the signals that we were given.
    pub fn command(&self) -> Process {
        let mut command = Process::new(&self.program);
        command.args(&self.arguments);
        for change in &self.changes {
            match change {
                Change::Set(name, value) => command.env(name, value),
                Change::SetSecret(name, secret) => command.env(name, secret.expose()),
                Change::Unset(name) => command.env_remove(name),
            };
        }
        system::pass_on_signals(&mut command);
        command
    }
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
    // In this order: a static profile may read YC_TOKEN itself.
    common_changes(profile).into_iter().chain(token_changes(token, expires)).collect()
}

/// What a program loses and is told of the profile, however it gets at a token.
pub fn common_changes(profile: &Profile) -> Vec<Change> {
    let outranking = [env::YC_SERVICE_ACCOUNT_KEY_FILE, env::YC_OAUTH_TOKEN].into_iter();
    let mut changes: Vec<Change> =
        outranking.chain(profile.secret_variables()).map(|name| Change::Unset(name.to_owned())).collect();
    match &profile.name {
        Some(name) => changes.push(Change::Set(env::YCRED_PROFILE, name.into())),
        // A ycred inside takes the token from the environment, and must not impersonate with it once more.
        None => changes.extend([env::YCRED_PROFILE, env::YCRED_IMPERSONATE].map(|name| Change::Unset(name.into()))),
    }
    changes
}

/// The token itself, and until when.
pub fn token_changes(token: &Secret, expires: Timestamp) -> [Change; 3] {
    [
        Change::SetSecret(env::YC_TOKEN, token.clone()),
        Change::SetSecret(env::YC_IAM_TOKEN, token.clone()),
        Change::Set(env::YCRED_EXPIRES_AT, expires.to_string().into()),
    ]
}

/// The error and exit code for a program that could not be become.
pub fn not_run(program: &OsString, error: &std::io::Error) -> (Error, u8) {
    let name = Path::new(program).display();
    let why = crate::base::error::describe(error);
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
