//! `network`: one request to the server that issues the profile's tokens: name, proxy, TLS and HTTP.

use std::net::ToSocketAddrs as _;
use std::time::Duration;

use crate::base::error::{Error, Kind};
use crate::base::hosts::Host;
use crate::base::secret::Secret;
use crate::cloud::Context;
use crate::cloud::auth;
use crate::cloud::http::{CONNECT_TIMEOUT, Http, HttpRequest};
use crate::commands::check::{Check, Connection, Examination, Finding, NO_PROFILE};
use crate::profile::Profile;
use crate::sources::metadata;

pub const CHECK: Check = Check {
    id: "network",
    about: "the server that issues tokens answers: name, proxy, TLS, HTTP",
    parts: &["proxy", "dns"],
    limit: Duration::from_secs(15),
    needs_network: true,
    run,
};

/// The time limit of the request.
const LIMIT: Duration = Duration::from_secs(10);

fn run(examination: &Examination) -> Vec<Finding> {
    let Ok(profile) = examination.profile() else { return vec![Finding::skip(NO_PROFILE)] };
    let Some(connection) = examination.connection(|| connect(examination)) else {
        return vec![Finding::skip(format!("source {} asks no server", profile.source.name))];
    };
    let url = &connection.url;
    // The path of the request would only raise questions.
    let server = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let proxy = Http::new(&examination.environment, None).proxy_for(url);
    match (&connection.error, proxy) {
        // A proxy variable that is wrong has an error of its own.
        (Some(_), Err(error)) => vec![Finding::of_error(&error).part("proxy")],
        (Some(error), _) => {
            let finding = Finding::of_error(&profile.with_place_of_url(error.clone()));
            let what = if url.is_empty() { finding.what } else { finding.what.replace(url, &server) };
            vec![Finding { what, ..finding }]
        }
        (None, Ok(Some(proxy))) => {
            vec![Finding::ok(format!("{server} answers through the proxy {proxy}; {}", origin(profile)))]
        }
        (None, _) => vec![direct(&server, &origin(profile))],
    }
}

/// Returns where the URL of the first server is set, for people.
fn origin(profile: &Profile) -> String {
    let keys: &[&str] = match profile.source.name {
        "metadata" => &["metadata-addr"],
        "login" | "workload" => &["auth-url"],
        _ => &["iam-url", "endpoint"],
    };
    let settings = &profile.settings;
    let set = keys.iter().find_map(|key| settings.place_in_words(key));
    let usual = || {
        let by_source = |key: &&str| (profile.source.default_of)(settings, profile.name.is_some(), key);
        keys.iter().find_map(by_source).and_then(|(_, variable)| variable).map(|variable| format!("in {variable}"))
    };
    // `in VARIABLE` is meant for other sentences.
    let place = set.or_else(usual).map(|place| place.trim_start_matches("in ").to_owned());
    place.map_or_else(|| "the URL is the default".to_owned(), |place| format!("the URL is set by {place}"))
}

/// Reports a direct connection, and how the server's name was found.
fn direct(url: &str, origin: &str) -> Finding {
    let host = url.split_once("://").and_then(|(_, rest)| Host::parse(rest.split('/').next().unwrap_or_default()));
    let Some(host) = host else { return Finding::ok(format!("{url} answers; {origin}")) };
    match (host.name.as_str(), host.port.unwrap_or(443)).to_socket_addrs() {
        Ok(addresses) => {
            let count = addresses.count();
            let plural = if count == 1 { "" } else { "es" };
            Finding::ok(format!("{url} answers (directly, {count} address{plural}); {origin}"))
        }
        // ycred asks getent then, which uses the C library of the system.
        Err(_) => {
            let what = format!("{url} answers, but only getent finds its name, so each request takes longer");
            let fix = "use the archive for linux-gnu, or make the name servers in /etc/resolv.conf know the name";
            Finding::warn(what).part("dns").fix(fix)
        }
    }
}

/// Makes a request without a credential to the first server that the profile's source asks, if it asks one.
pub fn connect(examination: &Examination) -> Option<Connection> {
    let profile = examination.profile().ok()?;
    examination.with_session(|session| {
        let asked = session.with_context(profile, &examination.options, Duration::ZERO, LIMIT, |cx| {
            let cx = Context { attempts: 1, ..*cx };
            Ok(server(profile, &cx)?.map(|server| ask(&server, &cx)))
        });
        asked.unwrap_or_else(|error| Some(Connection { url: String::new(), error: Some(error), skew: None }))
    })
}

/// A request that asks for nothing.
struct Server {
    url: String,
    headers: &'static [(&'static str, &'static str)],
    /// As [`HttpRequest::body`].
    body: Option<(&'static str, Secret)>,
    is_direct: bool,
    /// An API of the cloud: it refuses the request with an error object, so any other answer is not its own.
    is_api: bool,
}

fn server(profile: &Profile, cx: &Context<'_>) -> crate::base::error::Result<Option<Server>> {
    // The paths are those of real calls, so the cloud itself refuses the requests: they have no credential.
    let api = |url: String, body| Some(Server { url, headers: &[], body, is_direct: false, is_api: true });
    Ok(match profile.source.name {
        "metadata" => {
            let url = metadata::service_url(&profile.source_input(None))?;
            let headers = &[("metadata-flavor", "Google")];
            Some(Server { url, headers, body: None, is_direct: true, is_api: false })
        }
        "login" | "workload" => {
            let form = Secret::wrapping("grant_type=".to_owned());
            let body = ("application/x-www-form-urlencoded", form);
            api(format!("{}/oauth/token", profile.installation.auth_url), Some(body))
        }
        "static" | "command" if profile.impersonate.is_empty() => None,
        _ => api(format!("{}/iam/v1/subjects/none", profile.installation.iam_url(cx)?), None),
    })
}

fn ask(server: &Server, cx: &Context<'_>) -> Connection {
    let Server { url, headers, body, is_direct, is_api } = server;
    let body = body.as_ref().map(|(content_type, body)| (*content_type, body));
    let request = HttpRequest { url, headers, body, connect: CONNECT_TIMEOUT, direct: *is_direct, is_one_time: false };
    let (error, skew) = match cx.send(&request, auth::explain) {
        Ok(response) if *is_api => (response.json::<serde_json::Value>(url).err(), response.skew),
        Ok(response) => (None, response.skew),
        Err(error) if is_answer(&error, *is_api) => (None, error.clock_skew),
        Err(error) if *is_api && is_foreign_page(&error) => {
            (Some(error.context("something else than the cloud answers, such as a proxy or a firewall")), None)
        }
        Err(error) => (Some(error), None),
    };
    Connection { url: url.clone(), error, skew }
}

/// Returns true for a refusal by the server itself, and false for a redirect, another's page or an overloaded server.
fn is_answer(error: &Error, is_api: bool) -> bool {
    match error.status {
        None | Some(407 | 429) => false,
        Some(_) if is_api => error.is_answer && error.kind == Kind::Refused,
        Some(status) => (400..500).contains(&status) || status == 501,
    }
}

/// Returns true for a refusal by something else than the cloud, such as a firewall.
fn is_foreign_page(error: &Error) -> bool {
    !error.is_answer && error.status.is_some_and(|status| (400..500).contains(&status) && !matches!(status, 407 | 429))
}
