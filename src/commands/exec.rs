//! `exec`: runs a program with a token in its environment, for Terraform's provider, scripts and other programs that
//! read `YC_TOKEN` or `YC_IAM_TOKEN`. Without `--serve`, ycred replaces itself with the program.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, ArgAction};

use crate::base::environment as env;
use crate::base::error::{Error, Result};
use crate::commands::clients;
use crate::commands::command::{Command, CommandCall, Group};
use crate::process::Outcome;
use crate::process::flags::Example;
use crate::process::launch::Launch;
use crate::profile::find;
use crate::serve::{NO_TOKEN, ServeOptions, serve};
use crate::session::Session;
use crate::session::child_environment::changes;
use crate::system::programs;

pub const COMMAND: Command = Command {
    group: Group::Use,
    examples: &[
        Example { call: "ycred exec -- terraform plan", about: "run Terraform with a token" },
        Example { call: "ycred exec --profile prod --serve -- ./server", about: "run a program that outlives a token" },
    ],
    failure_code: Some(NO_TOKEN),
    is_plain: true,
    ..Command::new("exec", "run a program with a token in its environment", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    command
        .arg(
            Arg::new("command")
                .value_name("CMD")
                .help("program and its arguments [default: your shell]")
                .action(ArgAction::Append)
                .value_parser(clap::value_parser!(OsString))
                .trailing_var_arg(true),
        )
        .arg(Arg::new("serve").long("serve").action(ArgAction::SetTrue).help(
            "keep running and serve fresh credentials on loopback, as the metadata service and as an AWS container \
             credentials endpoint",
        ))
        .arg(
            Arg::new("with-token")
                .long("with-token")
                .action(ArgAction::SetTrue)
                .help("with --serve: also set the token in the environment"),
        )
        .after_help(
            "The token in the environment is not renewed. For a long run, pass --min-ttl 6h or use --serve.\n\
             Exit codes: 125 no token, 126 the program cannot be run, 127 the program was not found,\n\
             any other: the program's own.",
        )
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let mut command = call.matches.get_many::<OsString>("command").into_iter().flatten().cloned();
    let program = match command.next() {
        Some(program) => program,
        None => {
            let (variable, default) = programs::SHELL;
            session.environment.get(variable).map_or_else(|| default.into(), ToOwned::to_owned)
        }
    };
    let arguments = command.collect();
    if call.matches.get_flag("with-token") && !call.matches.get_flag("serve") {
        return Err(Error::usage("--with-token needs --serve")
            .hint("without --serve, the token is always set; omit --with-token"));
    }
    if let Some(name) = program.to_str()
        && find::check_name(name).is_ok()
        && session.places.profile_candidates(name).iter().any(|path| path.exists())
        && clients::program::find(name, session).is_none()
    {
        let error = Error::usage(format!("cannot run {name}: program not found"));
        let hint = format!("to run a program with this profile: ycred exec --profile {name} -- PROGRAM");
        return Ok(Outcome::failed(&error.hint(hint), 127));
    }
    let profile = session.profile(&call.profile_by_flag())?;
    let first = session.obtain(&profile, &call.options, Duration::ZERO)?;
    if call.matches.get_flag("serve") {
        let (options, with_token) = (call.options.clone(), call.matches.get_flag("with-token"));
        let serve_options = ServeOptions { program, arguments, profile, options, first, with_token };
        return Ok(match serve(serve_options, session) {
            Ok(status) => Outcome::EndAs(status),
            Err((error, code)) => Outcome::failed(&error, code),
        });
    }
    let expires = first.advertised(session.clock.now());
    let changes = changes(&profile, &first.credential.secret, expires);
    Ok(Outcome::Become(Launch {
        program,
        arguments,
        changes,
        search: session.environment.get(env::PATH).map(ToOwned::to_owned),
    }))
}
