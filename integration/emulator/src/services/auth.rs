//! The auth host, `auth.yandex.cloud`: OAuth 2.0 on a listener of its own. `POST /oauth/token` dispatches by grant type.

use super::granted::Granted;
use super::{exchange, login};
use crate::faults::Fault;
use crate::form::{self, Form};
use crate::refusal::Refusal;
use crate::routes::Endpoint;
use crate::server::Request;
use crate::state::State;

/// Responds to a token request of one grant type.
type Grant = fn(&State, &Request, &Form, Option<&Fault>) -> Result<Granted, Refusal>;

/// Every grant type that the host knows.
const GRANTS: &[(&str, Grant)] = &[
    (exchange::GRANT, exchange::exchange),
    ("authorization_code", login::redeem_code),
    ("refresh_token", login::refresh),
];

/// Responds to a request to the auth host.
pub(crate) fn respond(
    state: &State,
    endpoint: Endpoint,
    request: &Request,
    fault: Option<&Fault>,
) -> Result<Granted, Refusal> {
    match endpoint {
        Endpoint::OauthToken => token(state, request, fault),
        Endpoint::Authorize => login::authorize(state, request),
        _ => Err(Refusal::other(404, "Not found").because(format!("no such path: {}", request.path))),
    }
}

fn token(state: &State, request: &Request, fault: Option<&Fault>) -> Result<Granted, Refusal> {
    if request.method != "POST" {
        return Err(Refusal::other(405, "Method not allowed").because(format!("{} is not POST", request.method)));
    }
    let form = form::read(request)?;
    let grant = form::field(&form, "grant_type")?;
    match GRANTS.iter().find(|(name, _)| *name == grant) {
        Some((_, respond)) => respond(state, request, &form, fault),
        None => Err(Refusal::oauth(400, "unsupported_grant_type", format!("{grant} is not a grant type"))),
    }
}
