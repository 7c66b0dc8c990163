//! `list`: prints the profiles and marks the default with `*`. The errors of broken profiles follow below.

use std::fmt::Write as _;

use crate::base::environment::YCRED_PROFILE;
use crate::base::error::{Error, Result, clean};
use crate::commands::command::{Command, CommandCall};
use crate::commands::status::row::selected_name;
use crate::process::flags::{Example, Options};
use crate::process::painting::{Colour, Paint};
use crate::process::{Outcome, Reply};
use crate::profile::{Profile, ProfileRef, find};
use crate::session::Session;
use crate::session::facts::code_of;

pub const COMMAND: Command = Command {
    examples: &[
        Example { call: "ycred list", about: "list the profiles and mark the default" },
        Example { call: "YCRED_CONFIG_DIR=/etc/team ycred list", about: "list the profiles of another directory" },
    ],
    paints: &[
        Paint::Start("*", Colour::Good),
        Paint::Word("broken", Colour::Bad),
        Paint::Word("unusable", Colour::Bad),
    ],
    ..Command::new("list", "list profiles", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    command
}

/// Returns why a profile gets no token on this machine, although its file is right: a file or a variable is missing.
fn unusable(profile: &Profile, session: &Session<'_>) -> Option<String> {
    let facts = session.facts(profile, &Options::default(), false);
    facts.lasting_error().filter(|error| code_of(error.kind) == 3).map(Error::reason)
}

fn run(_: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let names = find::names(session.places);
    let unlisted = find::check_directories(session.places);
    if names.is_empty() {
        unlisted.clone()?;
    }
    let (mut text, mut errors) = (String::new(), String::new());
    let current = match session.profile(&ProfileRef::Unnamed) {
        Ok(profile) => profile.name,
        Err(error) => match selected_name(&ProfileRef::Unnamed, session) {
            // A broken profile is the default too.
            Some(name) if names.contains(&name) => Some(name),
            // No profile is used where the variable names none.
            _ if session.environment.get(YCRED_PROFILE).is_some() => {
                let _ = writeln!(errors, "{}", error.reason());
                None
            }
            // The alias names one that does not exist.
            name => name.map(|_| find::DEFAULT.to_owned()),
        },
    };
    for name in &names {
        let mark = if current.as_ref() == Some(name) { '*' } else { ' ' };
        let path = session.places.profile_candidates(name).into_iter().find(|path| path.exists()).unwrap_or_default();
        let description = match Profile::load(
            &ProfileRef::Name { by: "list", name: name.clone() },
            session.environment,
            session.places,
            session.clock.now(),
        ) {
            Ok(profile) if profile.name.as_ref() != Some(name) => {
                format!("alias of {}", profile.name.unwrap_or_default())
            }
            Ok(profile) => match unusable(&profile, session) {
                Some(why) => {
                    let _ = writeln!(errors, "{name}: {why}; details: ycred status {name}");
                    "unusable here".to_owned()
                }
                None => profile.source.name.to_owned(),
            },
            // The profile behind it has a line and an error of its own.
            Err(_) if find::behind(name, session.places) != *name => {
                format!("alias of {}", find::behind(name, session.places))
            }
            Err(error) => {
                let _ = writeln!(errors, "{}", error.reason());
                "broken".to_owned()
            }
        };
        // The path may contain control characters, and the output goes to a terminal.
        let _ = writeln!(text, "{mark} {name:20} {description:16} {}", clean(&path.display().to_string()));
    }
    text.push_str(&errors);
    let code = unlisted.map_or_else(
        |error| {
            let _ = writeln!(text, "{}", error.reason());
            error.kind.exit_code()
        },
        |()| 0,
    );
    if names.is_empty() {
        let places: Vec<String> =
            session.places.profile_directories().map(|directory| directory.display().to_string()).collect();
        let _ = writeln!(
            text,
            "no profiles in {}; to create one, run `{}`",
            clean(&places.join(" or ")),
            find::first_command(session.places)
        );
    }
    Ok(Outcome::reply(Reply::text(text).with_code(code)))
}
