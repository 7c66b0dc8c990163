//! `use`: makes a profile the default, by an alias in `default.toml`.

use clap::Arg;

use crate::base::environment::YCRED_PROFILE;
use crate::base::error::{Error, Result};
use crate::commands::command::{Command, CommandCall};
use crate::disk::store;
use crate::process::{Outcome, Reply};
use crate::profile::find::check_name;
use crate::profile::{ProfileRef, find};
use crate::session::Session;

pub const COMMAND: Command = Command::new("use", "make a profile the default one", arguments, run);

fn arguments(command: clap::Command) -> clap::Command {
    command.arg(Arg::new("name").value_name("PROFILE").required(true).help("the profile's name"))
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let name = call.text("name").unwrap_or_default();
    check_name(name)?;
    let directory = session.places.config.as_ref().ok_or_else(|| {
        Error::profile("there is no home directory to keep a default in").hint("set YCRED_CONFIG_DIR")
    })?;
    let path = directory.join("default.toml");
    if name == "default" {
        return Err(Error::usage("the default cannot be an alias of itself")
            .hint("`ycred list` shows the profiles that there are"));
    }
    // It must be there and be right, and no alias itself: an alias goes one level.
    let target = session.profile(&ProfileRef::Given { by: "use", name: name.to_owned() })?;
    if target.name.as_deref() != Some(name) {
        return Err(Error::usage(format!("{name} is an alias itself, of {}", target.name.unwrap_or_default()))
            .hint("use the profile that it names"));
    }
    match find::alias_target(&path) {
        Ok(Some(_)) => {}
        Ok(None) if !path.exists() => {}
        // A broken file may be a person's work as much as a good one.
        Ok(None) | Err(_) => {
            return Err(Error::profile(format!(
                "{}: is a profile of its own, no alias, and is not replaced",
                path.display()
            ))
            .hint(format!(
                "give it a name first: mv {} {}",
                path.display(),
                directory.join("NAME.toml").display()
            )));
        }
    }
    store::write_config(&path, format!("use = \"{name}\"\n").as_bytes(), true)
        .map_err(|error| Error::profile(format!("{}: cannot be written", path.display())).because(error))?;
    let mut text = format!("the default profile is now {name}\n");
    if session.environment.get(YCRED_PROFILE).is_some() {
        text.push_str("but not in this shell, where YCRED_PROFILE names another: unset YCRED_PROFILE\n");
    }
    Ok(Outcome::reply(Reply::text(text)))
}
