//! `status`: shows whose token a profile has, until when, and why the last attempt failed.
//!
//! Only looks at what is there, so it answers at once, also where a call would fail. `--verify` asks the cloud.

pub mod line;
mod render;
pub mod row;
mod verify;

use clap::{Arg, ArgAction};
use serde_json::json;

use crate::base::error::Result;
use crate::commands::clients::CLIENTS;
use crate::commands::command::{Command, CommandCall, profile_argument, selected_profile};
use crate::commands::status::row::{Row, WiredClient, expired_variable};
use crate::process::flags::Example;
use crate::process::painting::{Colour, Paint};
use crate::process::{Done, Outcome, Reply};
use crate::profile::{Profile, ProfileRef, SelectedBy, find};
use crate::session::Session;

pub const COMMAND: Command = Command {
    examples: &[
        Example {
            call: "ycred status",
            about: "show the account, the token and the clients of the profile that ycred uses",
        },
        Example { call: "ycred status --all", about: "show one line for each profile" },
        Example {
            call: "PS1='$(ycred status --short) \\$ '",
            about: "show the remaining validity in the prompt of a shell",
        },
    ],
    paints: &[
        Paint::Label(Colour::Heading),
        Paint::Start("*", Colour::Good),
        Paint::Word("fresh", Colour::Good),
        Paint::Word("expired", Colour::Bad),
        Paint::Word("broken", Colour::Bad),
        Paint::Word("failed", Colour::Bad),
    ],
    needs_places: false,
    failure_document: Some(|error| format!("{}\n", render::unusable_json(error))),
    ..Command::new("status", "show whose token a profile has, and until when", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    let switch =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    command
        .arg(profile_argument())
        .arg(switch("all", "show every profile").conflicts_with("name"))
        .arg(switch("short", "print one line, for prompts").conflicts_with_all(["all", "json", "verify"]))
        .arg(switch("json", "print JSON"))
        .arg(switch("verify", "ask the cloud whether it accepts the token, and for the account's name"))
        .after_help(
            "Without --verify it uses no network.\n\
             Exit codes: 0 a hook would get a token, 1 a person must act (log in, or fix what the cloud rejects),\n\
             3 there is no usable profile, 4 the last attempt failed and there is no valid token.\n\
             --short prints NAME, followed by the remaining validity (10h12m) or by one of: expired, login!, refused,\n\
             broken, ok (a token that ycred passes on, whose expiry is unknown).",
        )
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let reference = selected_profile(call)?;
    if call.matches.get_flag("short") {
        return Ok(Outcome::reply(line::reply(&reference, &call.options, session)));
    }
    let (is_json, with_verify) = (call.matches.get_flag("json"), call.matches.get_flag("verify"));
    let row = |reference: &ProfileRef| {
        let row = Row::of(reference, &call.options, session);
        if with_verify { row.verified(&call.options, session) } else { row }
    };
    let (stdout, code) = if call.matches.get_flag("all") {
        let rows: Vec<Row> = every_profile(session).iter().map(row).collect();
        let stdout = match is_json {
            true => {
                let clients = wired_clients(session);
                let profiles: Vec<_> = rows.iter().map(|row| render::json(row, &clients)).collect();
                format!("{}\n", json!({ "version": 1, "profiles": profiles }))
            }
            false => render::table(&rows, session),
        };
        (stdout, code_of_all(&rows))
    } else {
        let row = row(&reference);
        let clients = wired_clients(session);
        let stdout = match is_json {
            true => {
                let mut json = render::json(&row, &clients);
                json["version"] = 1.into();
                format!("{json}\n")
            }
            false => render::text(&row, &clients, &(call.host_clients)(), session),
        };
        (stdout, row.code())
    };
    Ok(Outcome::Done(Done { reply: Reply::text(stdout).with_code(code), ..Done::default() }))
}

/// Returns 3 if a profile is wrong, else 1 if a person must act, else 4 if one has no token because of an outage.
fn code_of_all(rows: &[Row]) -> u8 {
    let codes: Vec<u8> = rows.iter().map(Row::code).collect();
    let none = if rows.is_empty() { 3 } else { 0 };
    [3, 1, 4].into_iter().find(|code| codes.contains(code)).unwrap_or(none)
}

/// Returns every profile that is not an alias of another one, and the environment if it serves.
fn every_profile(session: &Session<'_>) -> Vec<ProfileRef> {
    let is_alias = |name: &String| {
        let path = session.places.profile_candidates(name).into_iter().find(|path| path.exists());
        let target = path.and_then(|path| find::alias_target(&path).ok().flatten());
        target.is_some_and(|target| find::by_name(&target, session.places).is_ok_and(|file| file.is_some()))
    };
    let names = find::names(session.places).into_iter().filter(|name| !is_alias(name));
    let mut references: Vec<_> = names.map(|name| ProfileRef::Name { by: "status", name }).collect();
    let unnamed = Profile::load(&ProfileRef::Unnamed, session.environment, session.places, session.clock.now());
    let is_shown = match unnamed {
        Ok(profile) => matches!(profile.selected_by, SelectedBy::Environment(_)),
        // No row of a profile says these.
        Err(_) => {
            let is_selected = find::names(session.places).contains(find::DEFAULT);
            session.places_error.is_some()
                || find::check_directories(session.places).is_err()
                || (!is_selected && expired_variable(session).is_some())
        }
    };
    if is_shown {
        references.push(ProfileRef::Unnamed);
    }
    references
}

fn wired_clients(session: &Session<'_>) -> Vec<WiredClient> {
    let clients = CLIENTS.iter().map(|client| WiredClient { client, uses: (client.uses)(session) });
    clients.filter(|client| !client.uses.is_empty()).collect()
}
