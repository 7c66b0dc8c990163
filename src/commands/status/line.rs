//! `status --short`: one line for prompts. It costs as little as a cache hit of a hook, so it has a parser of its own
//! (`cli/status_line`).

use crate::base::clock::human;
use crate::base::error::{Kind, clean};
use crate::commands::status::row::{expired_variable, selected_name};
use crate::process::Reply;
use crate::process::flags::Options;
use crate::profile::ProfileRef;
use crate::session::Session;
use crate::session::facts::Facts;

/// Returns the line and the exit code. Without a profile, the line is empty and the code is 0.
pub fn reply(reference: &ProfileRef, options: &Options, session: &Session<'_>) -> Reply {
    let (name, facts, is_passed_through) = match session.profile(reference) {
        Ok(profile) => {
            let facts = session.facts(&profile, options, false);
            let Some(name) = profile.name else { return Reply::default() };
            (name, facts, profile.source.is_passed_through && profile.impersonate.is_empty())
        }
        Err(error) => match selected_name(reference, session) {
            Some(name) => (name, Facts::failed(error), false),
            // The token in this variable is the cause, and no profile.
            None => match expired_variable(session) {
                Some(variable) => (variable.to_owned(), Facts::failed(error), false),
                None => return Reply::default(),
            },
        },
    };
    // A path may contain control characters. Cleaning costs more than the rest, and names need none.
    let is_plain = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    let name = if is_plain { name } else { clean(&name) };
    Reply::text([&name, " ", &word(&facts, is_passed_through), "\n"].concat()).with_code(facts.code())
}

fn word(facts: &Facts, is_passed_through: bool) -> String {
    match (&facts.error, &facts.token) {
        (Some(error), _) if error.kind == Kind::Refused && facts.login.is_some() => "login!".into(),
        (Some(error), _) if error.kind == Kind::Refused => "refused".into(),
        (Some(error), _) if error.kind != Kind::Unavailable => "broken".into(),
        (_, Some(token)) if token.is_usable => human(token.left).replace(' ', ""),
        // Whether such a token has expired is not known.
        (None, None) if is_passed_through => "ok".into(),
        _ => "expired".into(),
    }
}
