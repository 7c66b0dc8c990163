//! `install`: copies ycred and its links into a directory. For images without `cp`, such as ycred's own, so the help does
//! not list it.

use std::path::PathBuf;

use clap::Arg;

use crate::base::clock::Deadline;
use crate::base::error::{Result, clean};
use crate::commands::command::{Command, CommandCall};
use crate::disk::program::InstallTarget;
use crate::process::flags::Example;
use crate::process::{Outcome, Reply};
use crate::profile::DEFAULT_TIMEOUT;
use crate::session::Session;

pub const COMMAND: Command = Command {
    examples: &[
        Example {
            call: "ycred install /opt/ycred/bin",
            about: "in an image: for a volume that other containers share",
        },
        Example {
            call: "ycred install --files /secrets /run/ycred",
            about: "copy mounted files, readable only for this user",
        },
    ],
    needs_places: false,
    ..Command::new("install", "copy ycred and its links into a directory", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    let path = |name: &'static str| Arg::new(name).value_parser(clap::value_parser!(PathBuf));
    command
        .arg(path("directory").value_name("DIR").required(true).help("directory to install into; created if missing"))
        .arg(
            path("files")
                .long("files")
                .value_name("SOURCE")
                .help("copy the files in SOURCE into DIR instead, readable only for this user"),
        )
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let path = |name| call.matches.get_one::<PathBuf>(name);
    let directory = path("directory").cloned().unwrap_or_default();
    let deadline = Deadline::of_run(call.options.timeout.unwrap_or(DEFAULT_TIMEOUT));
    let target = InstallTarget::open(&directory, &deadline, session.clock)?;
    let shown = clean(&directory.display().to_string());
    let report = match path("files") {
        Some(source) => {
            let (changed, all) = target.install_files(source)?;
            match changed.len() {
                0 => format!("{shown}: {all} files, unchanged"),
                _ => format!("{shown}: {all} files, replaced {}", clean(&changed.join(", "))),
            }
        }
        None => {
            let version = env!("CARGO_PKG_VERSION");
            match target.install_program(&(call.links)())? {
                true => format!("{shown}: installed ycred {version}"),
                false => format!("{shown}: ycred {version} is already installed"),
            }
        }
    };
    Ok(Outcome::reply(Reply::text(format!("{report}\n"))))
}
