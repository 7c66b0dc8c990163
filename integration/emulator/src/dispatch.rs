//! Handles a request: logs it, applies its fault, passes it to its service and logs the response.

use std::time::{Duration, SystemTime};

use rand::Rng;

use crate::control;
use crate::faults::{self, Fault};
use crate::log::{Entry, Presented};
use crate::refusal::Refusal;
use crate::routes::{Endpoint, Listener};
use crate::server::{Delivery, Request, Response, Stage};
use crate::services::granted::Granted;
use crate::services::{access_keys, auth, endpoints, login, metadata, subjects, tokens};
use crate::state::State;

/// The longest time for which a response is held.
const LONGEST_HOLD: Duration = Duration::from_secs(60);
/// The longest time for which a response is delayed.
const LONGEST_DELAY: Duration = Duration::from_secs(600);

/// Responds to a request and logs it.
pub(crate) fn respond(state: &State, listener: Listener, request: &Request) -> Response {
    if listener == Listener::Iam && request.path.starts_with(control::PREFIX) {
        return control::respond(state, request);
    }
    let endpoint = Endpoint::at(listener, &request.path);
    let request_id = new_request_id();
    let (number, fault, releases) = receive(state, listener, endpoint, request, &request_id);
    if let Some(fault) = &fault {
        if let Some(delay) = fault.delay {
            state.wait(&state.released, delay.min(LONGEST_DELAY), |cloud| cloud.stopping);
        }
        if fault.hold {
            state.wait(&state.released, LONGEST_HOLD, |cloud| cloud.stopping || cloud.releases != releases);
        }
    }
    let substitute = fault.as_ref().and_then(|fault| substitute_response(fault, listener, &request_id));
    let (response, issued, refused) = match substitute {
        Some(response) => {
            let refused = format!("a fault sets the response to {}", response.status);
            (response, None, Some(refused))
        }
        None => match serve(state, listener, endpoint, request, fault.as_ref()) {
            Ok((response, issued)) => (response, issued, None),
            Err(refusal) => {
                let response = match listener {
                    Listener::Iam => refusal.response(&request_id),
                    Listener::Auth => refusal.oauth_response(),
                    Listener::Metadata => Response::text(refusal.status, refusal.message.clone()),
                };
                (response, None, Some(refusal.reason.unwrap_or(refusal.message)))
            }
        },
    };
    let response = finish(state, response, fault.as_ref(), &request_id);
    let unanswered = matches!(response.delivery, Delivery::Break(Stage::BeforeAnswer | Stage::Reset));
    state.cloud().log.finish(number, |entry| {
        entry.answered = Some(SystemTime::now());
        entry.status = (!unanswered).then_some(response.status);
        entry.refused = refused;
        entry.issued = issued;
    });
    state.logged.notify_all();
    response
}

/// Logs a request and picks its fault. Returns the entry's number, the fault, and the count of releases so far.
fn receive(
    state: &State,
    listener: Listener,
    endpoint: Endpoint,
    request: &Request,
    request_id: &str,
) -> (u64, Option<Fault>, u64) {
    let presented = Presented::read(listener, request);
    let mut cloud = state.cloud();
    let fault = faults::take(&mut cloud.faults, endpoint);
    let number = cloud.log.next();
    cloud.log.push(Entry {
        number,
        received: SystemTime::now(),
        answered: None,
        connection: request.connection,
        endpoint,
        method: request.method.clone(),
        path: request.path.clone(),
        user_agent: request.header("user-agent").map(str::to_owned),
        presented,
        status: None,
        refused: None,
        fault: fault.clone(),
        issued: None,
        request_id: request_id.to_owned(),
    });
    let releases = cloud.releases;
    drop(cloud);
    state.logged.notify_all();
    (number, fault, releases)
}

/// Passes a request to the service behind its endpoint.
fn serve(
    state: &State,
    listener: Listener,
    endpoint: Endpoint,
    request: &Request,
    fault: Option<&Fault>,
) -> Result<Granted, Refusal> {
    if listener == Listener::Metadata {
        return metadata::respond(state, request, fault);
    }
    if let Some(route) = state.route(&request.path) {
        return Ok((route(request), None));
    }
    if listener == Listener::Auth {
        return auth::respond(state, endpoint, request, fault);
    }
    if let Some(outcome) = endpoints::respond(state, request) {
        return outcome;
    }
    if endpoint == Endpoint::Other {
        return Err(Refusal::other(404, "Not found").because(format!("no such path: {}", request.path)));
    }
    if endpoint == Endpoint::Subjects {
        return subjects::get(state, request);
    }
    if request.method != "POST" {
        return Err(Refusal::other(405, "Method not allowed").because(format!("{} is not POST", request.method)));
    }
    match endpoint {
        Endpoint::CreateForServiceAccount => tokens::create_for_service_account(state, request, fault),
        Endpoint::Revoke => tokens::revoke(state, request),
        Endpoint::RevokeRefresh => login::revoke_refresh(state, request),
        Endpoint::EphemeralAccessKeys => access_keys::create(state, request, fault),
        _ => tokens::create(state, request, fault),
    }
}

/// Returns the response that a fault substitutes for the cloud's, if any.
fn substitute_response(fault: &Fault, listener: Listener, request_id: &str) -> Option<Response> {
    let status = fault.status;
    if fault.html {
        let page = "<!DOCTYPE html>\n<html><head><title>Sign in to the network</title></head>\
                    <body><h1>Welcome</h1><p>Please accept the terms of use.</p></body></html>\n";
        return Some(Response::typed(status.unwrap_or(200), "text/html; charset=utf-8", page));
    }
    if let Some(body) = &fault.body {
        return Some(Response::json(status.unwrap_or(200), body.clone()));
    }
    let status = status?;
    let message = fault.message.clone().unwrap_or_else(|| "A fault of the emulator rejects this request".to_owned());
    Some(match listener {
        Listener::Iam => Refusal::other(status, message).response(request_id),
        Listener::Auth => {
            let error = if status < 500 { "invalid_request" } else { "server_error" };
            Refusal::oauth(status, error, message).oauth_response()
        }
        Listener::Metadata => Response::text(status, message),
    })
}

/// Adds the common headers, and applies the fault to the delivery.
fn finish(state: &State, mut response: Response, fault: Option<&Fault>, request_id: &str) -> Response {
    let cloud = state.cloud();
    if cloud.settings.send_date {
        response = response.header("Date", httpdate::fmt_http_date(cloud.date()));
    }
    response = response.header("x-request-id", request_id).header("x-server-trace-id", new_request_id());
    let Some(fault) = fault else { return response };
    if let Some(text) = &fault.retry_after {
        response = response.header("Retry-After", text);
    }
    if let Some(ahead) = fault.retry_after_date {
        response = response.header("Retry-After", httpdate::fmt_http_date(cloud.date() + ahead));
    }
    for (name, value) in &fault.headers {
        response = response.header(name, value);
    }
    response.delay = fault.late.unwrap_or_default().min(LONGEST_DELAY);
    response.delivery = match (fault.break_at, fault.drip, fault.endless) {
        (Some(stage), _, _) => Delivery::Break(stage),
        (None, Some(drip), _) => Delivery::Drip { bytes: drip.bytes, every: drip.every },
        (None, None, true) => Delivery::Endless,
        (None, None, false) => Delivery::Whole,
    };
    response
}

/// Returns a new request id in the documented form, a UUID.
fn new_request_id() -> String {
    let bits: u128 = rand::thread_rng().r#gen();
    let hex = format!("{bits:032x}");
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}
