//! `network`: one request to the server that issues the profile's tokens: name, proxy, TLS and HTTP.

use std::net::ToSocketAddrs as _;
use std::time::Duration;

use crate::base::error::Error;
use crate::base::hosts::Host;
use crate::cloud::Context;
use crate::cloud::auth;
use crate::cloud::http::failure::PORTAL_HINT;
use crate::cloud::http::{CONNECT_TIMEOUT, Http, HttpRequest};
use crate::commands::check::{Check, Connection, Examination, Finding};
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
    let Ok(profile) = examination.profile() else { return vec![Finding::skip("no profile serves")] };
    let Some(connection) = examination.connection(|| connect(examination)) else {
        return vec![Finding::skip(format!("source {} asks no server", profile.source.name))];
    };
    let url = &connection.url;
    let proxy = Http::new(&examination.environment, None).proxy_for(url);
    match (&connection.error, proxy) {
        // A proxy variable that is wrong has an error of its own.
        (Some(_), Err(error)) => vec![Finding::of_error(&error).part("proxy")],
        (Some(error), _) => vec![Finding::of_error(error)],
        (None, Ok(Some(proxy))) => vec![Finding::ok(format!("{url} answers through the proxy {proxy}"))],
        (None, _) => vec![direct(url)],
    }
}

/// Reports a direct connection, and how the server's name was found.
fn direct(url: &str) -> Finding {
    let host = url.split_once("://").and_then(|(_, rest)| Host::parse(rest.split('/').next().unwrap_or_default()));
    let Some(host) = host else { return Finding::ok(format!("{url} answers")) };
    match (host.name.as_str(), host.port.unwrap_or(443)).to_socket_addrs() {
        Ok(addresses) => {
            let count = addresses.count();
            let plural = if count == 1 { "" } else { "es" };
            Finding::ok(format!("{url} answers (directly, {count} address{plural})"))
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

/// A server, and a path that no call uses.
struct Server {
    url: String,
    headers: &'static [(&'static str, &'static str)],
    is_direct: bool,
    /// Success would mean that something else than the cloud answers.
    is_refusing: bool,
}

fn server(profile: &Profile, cx: &Context<'_>) -> crate::base::error::Result<Option<Server>> {
    let with = |url: String| Some(Server { url, headers: &[], is_direct: false, is_refusing: true });
    Ok(match profile.source.name {
        "metadata" => {
            let url = metadata::service_url(&profile.source_input(None))?;
            Some(Server { url, headers: &[("metadata-flavor", "Google")], is_direct: true, is_refusing: false })
        }
        "login" | "workload" => with(format!("{}/oauth/", profile.installation.auth_url)),
        "static" | "command" if profile.impersonate.is_empty() => None,
        _ => with(format!("{}/iam/v1/", profile.installation.iam_url(cx)?)),
    })
}

fn ask(server: &Server, cx: &Context<'_>) -> Connection {
    let Server { url, headers, is_direct, is_refusing } = server;
    let request =
        HttpRequest { url, headers, body: None, connect: CONNECT_TIMEOUT, direct: *is_direct, is_one_time: false };
    let (error, skew) = match cx.send(&request, auth::explain) {
        Ok(response) if *is_refusing => (response.json::<serde_json::Value>(url).err(), response.skew),
        Ok(response) => (None, response.skew),
        // Nothing has this path, so a refusal is the expected answer.
        Err(error) if is_answer(&error, *is_refusing) => (None, error.clock_skew),
        Err(error) if is_block(&error) => {
            (Some(error.context("a proxy or firewall answers, not the cloud").hint(PORTAL_HINT)), None)
        }
        Err(error) => (Some(error), None),
    };
    Connection { url: url.clone(), error, skew }
}

/// Returns true for a refusal by the server itself, and false for a redirect, a proxy's answer or an overloaded server.
///
/// From an API of the cloud, a status with which firewalls block counts only with a body of the cloud.
fn is_answer(error: &Error, is_api: bool) -> bool {
    match error.status {
        None | Some(407 | 429) => false,
        Some(_) if is_api && is_block(error) => error.is_answer,
        Some(status) => (400..500).contains(&status) || status == 501,
    }
}

/// Returns true for a status with which firewalls and proxies block requests.
fn is_block(error: &Error) -> bool {
    matches!(error.status, Some(401 | 403 | 451))
}
