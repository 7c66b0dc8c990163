//! `login`: the login of a person, and what `ycred login` needs.

use crate::base::clock::human;
use crate::base::environment::BROWSER;
use crate::base::shell;
use crate::commands::check::{Check, Examination, Finding, LOCAL_LIMIT, NO_PROFILE};
use crate::commands::clients::program;
use crate::system::browser::URL_OPENERS;
use crate::system::loopback::Listener;

pub const CHECK: Check = Check {
    id: "login",
    about: "the login of a person; the browser and the local port that `ycred login` needs",
    parts: &["browser", "port"],
    limit: LOCAL_LIMIT,
    needs_network: false,
    run,
};

fn run(examination: &Examination) -> Vec<Finding> {
    let Ok(profile) = examination.profile() else { return vec![Finding::skip(NO_PROFILE)] };
    let client = match profile.login() {
        Ok(Some(client)) => client,
        Ok(None) => return vec![Finding::skip(format!("source {} needs no login", profile.source.name))],
        Err(error) => return vec![Finding::of_error(&error)],
    };
    let command = match &profile.name {
        Some(name) => format!("ycred login --profile {}", shell::word(name)),
        None => "ycred login".to_owned(),
    };
    let now = examination.clock.now();
    let mut findings = vec![match client.store.load() {
        Ok(state) => match (&state.over, &state.refresh_token, state.unexpired(now)) {
            (Some(end), _, _) => Finding::fail(format!("{profile}: the login has ended: {}", end.reason)).fix(command),
            (None, None, None) => Finding::fail(format!("{profile}: the login has expired")).fix(command),
            (None, None, Some(token)) => {
                let left = human(token.left(now));
                Finding::ok(format!("{profile}: logged in for {left} more, without a refresh token"))
            }
            (None, Some(_), _) => match state.key(&client.store) {
                Ok(_) => Finding::ok(format!("{profile}: logged in, and the login can be renewed")),
                Err(error) => Finding::fail(error.reason()).fix(command),
            },
        },
        Err(error) => Finding::fail(error.reason()).fix(command),
    }];
    findings.extend(browser(examination));
    if let Err(error) = Listener::bind(client.port.unwrap_or(0), None).and_then(|listener| listener.check()) {
        let port = client.port.map_or_else(|| "a local port".to_owned(), |port| format!("port {port}"));
        let why = error.why();
        findings.push(
            Finding::warn(format!("cannot listen on {port} of 127.0.0.1, where the browser returns to: {why}"))
                .part("port")
                .fix("choose a free port with `redirect-port` in the profile, or remove the key"),
        );
    }
    findings
}

fn browser(examination: &Examination) -> Option<Finding> {
    if examination.environment.get(BROWSER).is_some() {
        return None;
    }
    let names: Vec<&str> = URL_OPENERS.iter().filter_map(|command| command.first().copied()).collect();
    let is_found = examination.with_session(|session| program::is_any_found(&names, session));
    (!is_found).then(|| {
        Finding::ok("no browser is found here, so `ycred login` shows a URL to open elsewhere").part("browser")
    })
}
