//! `use`: makes a profile the default by writing an alias to `default.toml`.

use std::fmt::Write as _;

use clap::Arg;

use crate::base::environment::YCRED_PROFILE;
use crate::base::error::{Error, Result};
use crate::commands::command::{Command, CommandCall};
use crate::commands::profile_files::{self, Unnamed};
use crate::disk::store;
use crate::process::flags::Example;
use crate::process::{Outcome, Reply};
use crate::profile::find::{DEFAULT, check_name};
use crate::profile::{ProfileRef, find};
use crate::session::Session;

pub const COMMAND: Command = Command {
    examples: &[
        Example { call: "ycred use prod", about: "make `prod` the default profile" },
        Example { call: "ycred use main", about: "change the default to `main`" },
    ],
    ..Command::new("use", "make a profile the default", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    command.arg(Arg::new("name").value_name("PROFILE").required(true).help("name of the profile"))
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let name = call.value("name").unwrap_or_default();
    check_name(name)?;
    let directory = profile_files::directory(session)?;
    let _lock = profile_files::lock(directory, session)?;
    let path = directory.join("default.toml");
    if name == "default" {
        return Err(Error::usage("cannot make `default` an alias of itself")
            .hint("name another profile; to see them, run `ycred list`"));
    }
    // The target must be a valid profile and not an alias, because an alias of an alias is not allowed.
    let target = session.profile(&ProfileRef::Name { by: "use", name: name.to_owned() })?;
    if target.name.as_deref() != Some(name) {
        let profile = target.name.unwrap_or_default();
        return Err(Error::usage(format!("{name} is an alias of {profile}")).hint(format!("run `ycred use {profile}`")));
    }
    match find::alias_target(&path) {
        Ok(Some(_)) => {}
        Ok(None) if !path.exists() => {}
        // A file that cannot be read as a profile may still contain the user's work.
        Ok(None) | Err(_) => {
            return Err(Error::profile(format!("{}: cannot replace a profile, only an alias", path.display()))
                .hint("rename it first: ycred rename default NAME"));
        }
    }
    let before = Unnamed::of(session);
    store::write_config(&path, format!("use = \"{name}\"\n").as_bytes(), true)
        .map_err(|error| Error::of_disk(format!("{}: cannot write the alias", path.display()), &error))?;
    let mut text = Unnamed::of(session).change_since(&before, session);
    if text.is_empty() {
        let _ = writeln!(text, "the default profile is now {name}");
    } else {
        let others =
            profile_files::places_of_clients(|profile| profile.is_some_and(|profile| profile != DEFAULT), session);
        if !others.is_empty() {
            let _ = writeln!(text, "these clients name a profile and keep it: {others}");
        }
    }
    if session.environment.get(YCRED_PROFILE).is_some() {
        text.push_str(
            "YCRED_PROFILE is set and takes precedence in this shell; to use the default, run `unset YCRED_PROFILE`\n",
        );
    }
    Ok(Outcome::reply(Reply::text(text)))
}
