//! The output of `status`: text for people, a table of all profiles, and JSON (docs/status.md).

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::base::clock::{Timestamp, human};
use crate::base::error::{Error, Kind, clean};
use crate::base::shell;
use crate::base::supplied_token::TOKEN_VARIABLES;
use crate::cache::freshness::{FetchReason, TokenState};
use crate::commands::clients::client::Use;
use crate::commands::command::HostClient;
use crate::commands::status::row::{ClientsOfProfile, Row, WiredClient};
use crate::profile::{Profile, SelectedBy, find};
use crate::session::Session;
use crate::session::facts::{Facts, FailureFacts, LoginFacts, TokenFacts, TokenPlace};

/// Returns the lines about one profile.
pub fn text(row: &Row, clients: &[WiredClient], hooks: &[HostClient], session: &Session<'_>) -> String {
    let now = session.clock.now();
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "{label:9} {}", clean(&value));
    };
    line("profile", profile_line(row));
    let facts = &row.facts;
    // A verification that failed has a line of its own.
    let is_verified_as = |reason: &str| {
        let failed = row.verification.as_ref().and_then(|verification| verification.as_ref().err());
        failed.is_some_and(|error| error.reason().contains(reason))
    };
    if let Some(profile) = &row.profile {
        if let Some(account) = account_line(profile, facts) {
            line("account", account);
        }
        line("source", source_line(profile));
        line(
            "token",
            facts.token.as_ref().map_or_else(|| no_token(profile, facts, now), |token| token_line(token, now)),
        );
        for (session_name, expires, left) in &row.keys {
            let what = format!("access key for Object Storage, session \"{session_name}\"");
            line("key", format!("{what}: {} left (until {expires})", human(*left)));
        }
        if let Some(login) = &facts.login {
            line("login", login_line(login, now));
        }
        if let Some((began, ended)) = facts.attempt {
            let what = if facts.failure.is_some() { "failed" } else { "renewed" };
            let took = ended.since(began).max(0);
            line("last", format!("{what} {ended}, took {}.{:02}s", took / 1000, took % 1000 / 10));
        }
        if let Some(failure) = &facts.failure {
            let is_problem = facts.error.as_ref().is_some_and(|error| error.reason() == failure.message);
            // If it is the problem, that line says it.
            if !is_problem && !is_verified_as(&failure.message) {
                let ago = human(now.since(failure.at).max(0));
                let variables = match failure.is_of_other_variables {
                    true => ", with other proxy or certificate variables than those set now",
                    false => "",
                };
                line("failure", format!("{} ({ago} ago{variables})", failure.message));
            }
            // An error of the profile has a line of its own. Advice about variables that are not set now would mislead.
            let is_said = facts.error.is_some() || is_verified_as(&failure.message);
            if let Some(hint) = failure.hint.clone().filter(|_| !is_said && !failure.is_of_other_variables) {
                line("fix", hint);
            }
        }
        if let Some(holder) = &facts.holder {
            line("now", format!("{holder} has been asking for a token since {}", holder.since));
        }
    }
    match &row.verification {
        Some(Ok(what)) => line("verified", what.clone()),
        Some(Err(error)) => {
            line("verified", format!("no: {}", error.reason()));
            line("fix", error.hint_text().unwrap_or_else(|| "try again".into()));
        }
        None => {}
    }
    if let Some(error) = facts.error.as_ref().filter(|error| !is_verified_as(&error.reason())) {
        line("problem", error.reason());
        if let Some(hint) = error.hint_text() {
            line("fix", hint);
        }
    }
    line("clients", clients_line(&ClientsOfProfile::of(row, clients, hooks, session)));
    text
}

/// Returns one line for each profile.
pub fn table(rows: &[Row], session: &Session<'_>) -> String {
    if rows.is_empty() {
        let places: Vec<String> =
            session.places.profile_directories().map(|directory| directory.display().to_string()).collect();
        return format!(
            "no profiles in {}; to create one, run `{}`\n",
            clean(&places.join(" or ")),
            find::first_command(session.places)
        );
    }
    let current = session.profile(&crate::profile::ProfileRef::Unnamed).ok();
    let mut text = String::new();
    for row in rows {
        let is_current = match (&current, &row.profile) {
            (Some(current), Some(profile)) => current.name == profile.name,
            _ => false,
        };
        let mark = if is_current { '*' } else { ' ' };
        let name = row.name.clone().unwrap_or_else(|| "(environment)".into());
        let facts = &row.facts;
        let left = facts.token.as_ref().filter(|token| token.is_usable).map_or("-".into(), |token| human(token.left));
        let what = match &facts.error {
            Some(error) => error.reason(),
            None => facts.account.as_ref().map_or_else(String::new, ToString::to_string),
        };
        let source = row.profile.as_ref().map_or("-", |profile| profile.source.name);
        let line = format!(
            "{mark} {:20} {source:14} {:11} {left:8} {}",
            clean(&name),
            state_name(facts.token.as_ref(), row.profile.is_none()),
            clean(&what)
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Returns the JSON object of one profile, without the version.
pub fn json(row: &Row, clients: &[WiredClient]) -> Value {
    let facts = &row.facts;
    let time = |time: Timestamp| json!(time.to_string());
    let optional = |text: Option<String>| text.map(|text| clean(&text));
    let account = facts.account.as_ref().map(
        |account| json!({ "kind": account.kind.name(), "id": optional(account.id.clone()), "name": optional(account.name.clone()) }),
    );
    let token = match &facts.token {
        None => json!({ "state": "none", "expires_at": null, "expires_at_unix": null, "seconds_left": null }),
        Some(token) => json!({
            "state": state_name(Some(token), false), "expires_at": time(token.expires),
            "expires_at_unix": token.expires.unix_seconds(), "seconds_left": token.left / 1000,
            "usable": token.is_usable, "expiry_assumed": token.is_assumed,
            "renewal_at": token.renewal_at.map(time), "retry_at": token.backs_off_until.map(time),
        }),
    };
    let login = facts.login.as_ref().map(|login| match login {
        LoginFacts::Nobody => json!({ "state": "none" }),
        LoginFacts::Active { is_renewable, in_doubt_since, renewed } => json!({
            "state": "active", "renewable": is_renewable, "renewed_at": renewed.map(time),
            "in_doubt_since": in_doubt_since.map(time),
        }),
        LoginFacts::Over { at, reason } => json!({ "state": "over", "at": at.map(time), "reason": clean(reason) }),
    });
    let keys: Vec<_> = row
        .keys
        .iter()
        .map(|(name, expires, left)| {
            json!({
                "session": clean(name), "expires_at": time(*expires), "expires_at_unix": expires.unix_seconds(),
                "seconds_left": left / 1000,
            })
        })
        .collect();
    let place =
        |place: &Use| json!({ "file": clean(&place.file.display().to_string()), "place": clean(&place.description()) });
    let clients: Vec<_> = clients
        .iter()
        .map(
            |client| json!({ "client": client.client.name, "uses": client.uses.iter().map(place).collect::<Vec<_>>() }),
        )
        .collect();
    let verified = row.verification.as_ref().map(|verification| match verification {
        Ok(what) => json!({ "accepted": true, "message": clean(what) }),
        Err(error) => json!({ "accepted": false, "message": error.reason() }),
    });
    let error = facts.error.as_ref().map(error_json);
    let file = row.profile.as_ref().and_then(|profile| profile.settings.file.as_ref());
    json!({
        "profile": optional(row.name.clone()),
        "file": optional(file.map(|file| file.display().to_string())),
        "selected_by": row.profile.as_ref().map(selected_by),
        "account": account,
        "source": row.profile.as_ref().map(|profile| profile.source.name),
        "token": token,
        "keys": keys,
        "login": login,
        "last_attempt": facts.attempt.map(|(began, ended)| json!({ "began_at": time(began), "ended_at": time(ended) })),
        "last_failure": facts.failure.as_ref().map(failure_json),
        "clients": clients,
        "verified": verified,
        "error": error,
        "exit_code": row.code(),
    })
}

/// Returns the JSON object for a command line that could not be used. It has the fields of [`json`].
pub fn unusable_json(error: &Error) -> Value {
    json!({
        "version": 1, "profile": null, "file": null, "selected_by": null, "account": null, "source": null,
        "token": { "state": "none", "expires_at": null, "expires_at_unix": null, "seconds_left": null },
        "keys": [], "login": null, "last_attempt": null, "last_failure": null, "clients": [], "verified": null,
        "error": error_json(error), "exit_code": error.kind.exit_code(),
    })
}

fn error_json(error: &Error) -> Value {
    json!({ "kind": kind_name(error.kind), "message": error.reason(), "hint": error.hint_text() })
}

fn failure_json(failure: &FailureFacts) -> Value {
    let request_id = failure.message.split("(request id ").nth(1).and_then(|rest| rest.split(')').next());
    json!({
        "kind": kind_name(failure.kind), "message": clean(&failure.message),
        "hint": failure.hint.as_deref().map(clean), "at": failure.at.to_string(),
        "at_unix": failure.at.unix_seconds(), "request_id": request_id.map(clean),
    })
}

/// Returns the name of a kind of failure, in JSON.
fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Refused => "refused",
        Kind::Usage => "usage",
        Kind::Profile => "profile",
        Kind::Unavailable => "unavailable",
        Kind::Internal => "internal",
    }
}

/// Returns what selected a profile.
pub fn selected_by(profile: &Profile) -> String {
    match &profile.selected_by {
        SelectedBy::Named(by) => (*by).to_owned(),
        SelectedBy::Default => "default".into(),
        SelectedBy::Environment(variable) => variable.unwrap_or("environment").to_owned(),
        SelectedBy::Only => "only".into(),
    }
}

fn profile_line(row: &Row) -> String {
    let Some(profile) = &row.profile else {
        return row.name.clone().map_or_else(|| "none".to_owned(), |name| format!("{name} (cannot be used)"));
    };
    let why = match &profile.selected_by {
        SelectedBy::Named("status") => String::new(),
        SelectedBy::Named(by) => format!(" (by {by})"),
        SelectedBy::Default => " (the default)".into(),
        SelectedBy::Environment(_) => return profile.to_string(),
        SelectedBy::Only => " (the only profile)".into(),
    };
    let alias = profile.alias.as_ref().map(|alias| format!(", alias in {}:{}", alias.file.display(), alias.line));
    format!("{}{why}{}", profile.name.clone().unwrap_or_default(), alias.unwrap_or_default())
}

/// Returns whose token it is. `None` if that is unknown, and a failure below says more.
fn account_line(profile: &Profile, facts: &Facts) -> Option<String> {
    match &facts.account {
        Some(account) => Some(account.to_string()),
        None if facts.error.is_some() || facts.failure.is_some() => None,
        None if profile.source.is_passed_through && profile.impersonate.is_empty() => {
            Some("unknown, because the token is passed through unread".to_owned())
        }
        None if facts.token.is_none() => Some("unknown until a token is fetched".to_owned()),
        None => Some("unknown".to_owned()),
    }
}

fn source_line(profile: &Profile) -> String {
    // Nobody has chosen a source for a token that is supplied in a variable.
    if profile.source.is_passed_through
        && profile.impersonate.is_empty()
        && let Some(variable) = profile.settings.values_of("-env").find(|name| TOKEN_VARIABLES.contains(name))
    {
        return format!("the token in the variable {variable}");
    }
    let impersonated = match profile.impersonate.as_slice() {
        [] => String::new(),
        accounts => format!(", impersonating {}", accounts.join(", ")),
    };
    let file = profile.settings.file.as_ref().map(|file| format!(" ({})", file.display())).unwrap_or_default();
    format!("{}{impersonated}{file}", profile.source.name)
}

fn no_token(profile: &Profile, facts: &Facts, now: Timestamp) -> String {
    if profile.source.is_passed_through && profile.impersonate.is_empty() {
        return "passed through from its origin, which renews it; its expiry is unknown".into();
    }
    match (facts.withheld_until, &facts.error) {
        (Some(until), _) => format!(
            "one is cached, {} left (until {until}), but not used while the file is missing; it is used again when the same \
             file is back",
            human(until.since(now).max(0))
        ),
        (None, Some(_)) if !facts.is_known => "unknown, because of the problem below".into(),
        (None, Some(_)) => "none is cached".into(),
        (None, None) => "none is cached; the next call fetches one".into(),
    }
}

fn token_line(token: &TokenFacts, now: Timestamp) -> String {
    let (left, expires) = (human(token.left), token.expires);
    let assumed = if token.is_assumed { ", a guess, because the source gives no expiry" } else { "" };
    // Otherwise a reader compares it with that of `exec`, and wonders which one counts.
    let for_clients =
        token.expires_for_clients.map(|at| format!("; to be safe, clients get {}", at.time())).unwrap_or_default();
    let until = format!("{left} left (until {expires}{assumed}{for_clients})");
    let renewal = token.renewal_at.map(|at| format!(", due for renewal at {at}")).unwrap_or_default();
    let supplied = match token.place {
        TokenPlace::Variable(variable) => format!(", supplied in {variable} by `ycred exec` or `ycred env`"),
        TokenPlace::Record | TokenPlace::Login => String::new(),
    };
    match token.state {
        TokenState::Fresh => format!("fresh, {until}{renewal}{supplied}"),
        TokenState::Refreshable(_) => match token.backs_off_until {
            Some(at) => format!("due for renewal, {until}, next attempt at {at} or later"),
            None => format!("due for renewal, {until}"),
        },
        TokenState::Unsuitable(FetchReason::MinTtl) => {
            format!("{until}, less than min-ttl: the next call fetches another one first")
        }
        TokenState::Unsuitable(FetchReason::Future) => {
            format!("{until}, stored before this machine's clock was set back: the next call fetches another one first")
        }
        TokenState::Unsuitable(FetchReason::Expiry) => match now.since(expires) {
            1.. => format!("expired {} ago (at {expires})", human(now.since(expires))),
            _ => format!("expired (at {expires} by the cloud's clock)"),
        },
    }
}

fn login_line(login: &LoginFacts, now: Timestamp) -> String {
    match login {
        LoginFacts::Nobody => "nobody is logged in".into(),
        LoginFacts::Active { in_doubt_since: Some(since), .. } => {
            format!("active; the answer to a renewal is outstanding or lost since {}", since.short(now))
        }
        LoginFacts::Active { is_renewable: true, renewed, .. } => match renewed {
            Some(at) => format!("active, renewed {at}"),
            None => "active".into(),
        },
        LoginFacts::Active { is_renewable: false, .. } => {
            "active until the token expires: the organization issues no refresh tokens".into()
        }
        LoginFacts::Over { reason, .. } => format!("over: {reason}"),
    }
}

fn clients_line(clients: &ClientsOfProfile) -> String {
    let mut parts: Vec<String> =
        clients.own.iter().map(|(client, labels)| format!("{client}: {}", labels.join(", "))).collect();
    match (parts.is_empty(), clients.other_profiles.is_empty()) {
        (true, true) => return "none uses ycred yet; to see what can: ycred setup".to_owned(),
        (true, false) => parts.push("none uses this profile".to_owned()),
        (false, _) => {}
    }
    let known: Vec<&str> = clients.other_profiles.iter().flatten().map(String::as_str).collect();
    match known.as_slice() {
        [] => {}
        [other] => {
            parts.push(format!("others use the profile {other}; to see it: ycred status {}", shell::word(*other)));
        }
        several => parts.push(format!("others use the profiles {}; to see one: ycred status NAME", several.join(", "))),
    }
    if clients.other_profiles.contains(&None) {
        parts.push("others use a profile that does not exist; to find them: ycred setup".to_owned());
    }
    parts.join("; ")
}

/// Returns the state of a token as one word, for JSON and the table.
fn state_name(token: Option<&TokenFacts>, is_broken: bool) -> &'static str {
    match token.map(|token| token.state) {
        _ if is_broken => "broken",
        None => "none",
        Some(TokenState::Fresh) => "fresh",
        Some(TokenState::Refreshable(_)) => "refreshable",
        Some(TokenState::Unsuitable(_)) => "expired",
    }
}
