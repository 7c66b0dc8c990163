//! `list`: the profiles that there are, and which is the default. A broken one is listed with what is wrong with it.

use std::fmt::Write as _;

use crate::base::error::{Result, clean};
use crate::commands::command::{Command, CommandCall};
use crate::process::{Outcome, Reply};
use crate::profile::{Profile, ProfileRef, find};
use crate::session::Session;

pub const COMMAND: Command = Command::new("list", "list the profiles", arguments, run);

fn arguments(command: clap::Command) -> clap::Command {
    command
}

fn run(_: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let names = find::names(session.places);
    let chosen = session.profile(&ProfileRef::Unnamed).ok().and_then(|profile| profile.name);
    let mut text = String::new();
    for name in &names {
        let mark = if chosen.as_ref() == Some(name) { '*' } else { ' ' };
        let path = session.places.profile_candidates(name).into_iter().find(|path| path.exists()).unwrap_or_default();
        let what = match Profile::load(
            &ProfileRef::Given { by: "list", name: name.clone() },
            session.environment,
            session.places,
        ) {
            Ok(profile) if profile.name.as_ref() != Some(name) => {
                format!("alias of {}", profile.name.unwrap_or_default())
            }
            Ok(profile) => profile.source.name.to_owned(),
            Err(error) => format!("broken: {}", error.reason()),
        };
        // A directory's name may hold anything, and this goes to a terminal.
        let _ = writeln!(text, "{mark} {name:20} {what:16} {}", clean(&path.display().to_string()));
    }
    if names.is_empty() {
        let places: Vec<String> =
            session.places.profile_directories().map(|directory| directory.display().to_string()).collect();
        let _ = writeln!(text, "no profiles in {}; make one: ycred init --key-file FILE", places.join(" or "));
    }
    Ok(Outcome::reply(Reply::text(text)))
}
