//! `exec`: becomes another program, with a token in its environment: for Terraform's provider, scripts, anything that
//! reads `YC_TOKEN` or `YC_IAM_TOKEN`.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, ArgAction};

use crate::base::environment as env;
use crate::base::error::Result;
use crate::commands::command::{Command, CommandCall};
use crate::process::Outcome;
use crate::process::launch::Launch;
use crate::serve::{NO_TOKEN, ServeOptions, serve};
use crate::session::Session;
use crate::session::child::changes;

pub const COMMAND: Command = Command {
    failure_code: Some(NO_TOKEN),
    ..Command::new("exec", "run a program with a token in its environment", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
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
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let mut words = call.matches.get_many::<OsString>("command").into_iter().flatten().cloned();
    let program = match words.next() {
        Some(program) => program,
        None => session.environment.get(env::SHELL).map(ToOwned::to_owned).unwrap_or_else(|| "/bin/sh".into()),
    };
    let arguments = words.collect();
    let profile = session.profile(&call.wanted())?;
    let first = session.obtain(&profile, &call.options, Duration::ZERO)?;
    if call.matches.get_flag("serve") {
        let (options, with_token) = (call.options.clone(), call.matches.get_flag("with-token"));
        let order = ServeOptions { program, arguments, profile, options, first, with_token };
        return Ok(match serve(order, session) {
            Ok(status) => Outcome::EndAs(status),
            Err((error, code)) => Outcome::failed(&error, code),
        });
    }
    let expires = first.advertised(session.clock.now());
    let changes = changes(&profile, &first.credential.secret, expires);
    Ok(Outcome::Become(Launch { program, arguments, changes }))
}
