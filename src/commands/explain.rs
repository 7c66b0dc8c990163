//! `explain`: shows each setting with its origin, what else was looked at, and whether a host gets the token.
//!
//! The values are those that a call would use, from the same code. Nothing is requested, locked or written.

mod keys;
mod model;
mod render;
mod selection;

use std::path::Path;

use clap::{Arg, ArgAction};

use crate::base::error::{Error, Result};
use crate::base::hosts::{Host, Scheme};
use crate::base::shell;
use crate::cloud::http::proxy::proxy_for;
use crate::cloud::http::trust::roots;
use crate::commands::command::{Command, CommandCall, HostClient, profile_argument, selected_profile};
use crate::commands::explain::keys::{keys, keys_of_broken};
use crate::commands::explain::model::{Explanation, HostVerdict};
use crate::commands::explain::selection::candidates;
use crate::process::flags::Example;
use crate::process::painting::{Colour, Paint};
use crate::process::{Done, Outcome, Reply};
use crate::profile::{Profile, ProfileRef, find};
use crate::session::Session;
use crate::session::facts::code_of;
use crate::session::host::HostDecision;

pub const COMMAND: Command = Command {
    examples: &[
        Example { call: "ycred explain", about: "show each setting of the profile that ycred uses, and its origin" },
        Example { call: "ycred explain --host registry.example", about: "show whether a host gets the token, and why" },
    ],
    paints: &[
        Paint::Start("# problem:", Colour::Bad),
        Paint::Start("# cannot be used:", Colour::Bad),
        Paint::Start("# to fix it:", Colour::Advice),
        Paint::Start("# looked at, in this order:", Colour::Heading),
        Paint::Word("yes:", Colour::Good),
        Paint::Word("no:", Colour::Bad),
    ],
    needs_places: false,
    ..Command::new("explain", "show where each setting comes from, and which hosts get the token", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    command
        .arg(profile_argument())
        .arg(Arg::new("host").long("host").value_name("HOST").help("say whether this host gets the token"))
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("print JSON"))
        .after_help(
            "It uses no network. Exit codes: 0 done, 1 the host does not get the token, 3 the profile cannot be used.",
        )
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let reference = selected_profile(call)?;
    let explanation = explain(&reference, call, session);
    let error = match &explanation.loaded {
        Err(error) => Some(error),
        Ok(_) => explanation.facts.as_ref().and_then(|(facts, _)| facts.lasting_error()),
    };
    let is_wrong = error.is_some_and(|error| code_of(error.kind) == 3);
    let code = match &explanation.host {
        _ if is_wrong => 3,
        Some(verdict) if !verdict.is_released() => 1,
        _ => 0,
    };
    let stdout = match call.matches.get_flag("json") {
        true => format!("{}\n", render::json(&explanation, code)),
        false => render::text(&explanation),
    };
    Ok(Outcome::Done(Done { reply: Reply::text(stdout).with_code(code), ..Done::default() }))
}

fn explain(reference: &ProfileRef, call: &CommandCall, session: &Session<'_>) -> Explanation {
    let loaded = session.profile(reference).map_err(|error| match call.value("name") {
        Some(typed) if is_host(typed, session) => {
            Error::profile(format!("{typed} is not a profile, but looks like a host"))
                .hint(format!("ycred explain --host {}", shell::word(typed)))
        }
        _ => error,
    });
    let host = call.value("host").map(|typed| verdict(typed, loaded.as_ref(), call));
    let candidates = candidates(reference, loaded.as_ref().ok(), session);
    let Ok(profile) = &loaded else {
        return Explanation {
            keys: keys_of_broken(reference, session),
            candidates,
            facts: None,
            proxies: Vec::new(),
            roots: None,
            host,
            loaded,
        };
    };
    let options = &call.options;
    let facts = session.facts(profile, options, true);
    let next = session.next_call(profile, options, &facts);
    let urls = profile.installation.known_urls();
    Explanation {
        keys: keys(profile, options),
        candidates,
        facts: Some((facts, next)),
        proxies: urls.into_iter().map(|url| (url.clone(), proxy_for(&url, session.environment))).collect(),
        roots: Some(roots(session.environment, profile.ca_file.as_deref())),
        host,
        loaded,
    }
}

/// Returns true if an argument in place of a profile is plainly a host, and there is no such profile. Anything that may be a
/// secret is not.
fn is_host(typed: &str, session: &Session<'_>) -> bool {
    let (scheme, rest) = typed.split_once("://").map_or((None, typed), |(scheme, rest)| (Some(scheme), rest));
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (name, port) = authority.rsplit_once(':').map_or((authority, None), |(name, port)| (name, Some(port)));
    let is_label = |label: &str| {
        (1..=40).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let has_form = name.split('.').all(is_label)
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
        && scheme.is_none_or(|scheme| matches!(scheme, "http" | "https"))
        && (scheme.is_some() || port.is_some() || name.contains('.'));
    let is_profile = || find::near_name(typed, session.places).is_some() || Path::new(typed).exists();
    has_form && !is_profile()
}

fn verdict(typed: &str, loaded: Result<&Profile, &Error>, call: &CommandCall) -> HostVerdict {
    let host = Host::parse(typed);
    let hooks = host.as_ref().map_or_else(Vec::new, |host| {
        let decide = |client: HostClient| match client.is_https_only && host.scheme == Some(Scheme::Http) {
            true => (client, HostDecision::NotListed),
            false => (client, HostDecision::of(client.scope, host, loaded)),
        };
        (call.host_clients)().into_iter().map(decide).collect()
    });
    HostVerdict { typed: typed.to_owned(), host, hooks }
}
