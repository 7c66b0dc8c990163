//! The auth host: OAuth 2.0 at `auth.yandex.cloud`, on a listener of its own. `POST /oauth/token` by grant type
//! ([`GRANTS`]); a grant is one file.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::faults::{Endpoint, Fault};
use super::login;
use super::refusal::Refusal;
use super::tokens::Granted;
use super::{State, exchange, log::Issued};
use crate::server::{Request, Response, decode};

/// The token endpoint.
pub const TOKEN: &str = "/oauth/token";

/// A form, each name once.
pub type Form = HashMap<String, String>;

/// Judges a token request of one grant type.
type Grant = fn(&State, &Request, &Form, Option<&Fault>) -> Result<Granted, Refusal>;

/// Every grant type that the host knows.
const GRANTS: &[(&str, Grant)] =
    &[(exchange::GRANT, exchange::exchange), ("authorization_code", login::code), ("refresh_token", login::refresh)];

/// Answers a request.
pub fn answer(state: &State, endpoint: Endpoint, request: &Request, fault: Option<&Fault>) -> Result<Granted, Refusal> {
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
    let form = read_form(request)?;
    let grant = field(&form, "grant_type")?;
    match GRANTS.iter().find(|(name, _)| *name == grant) {
        Some((_, judge)) => judge(state, request, &form, fault),
        None => Err(Refusal::oauth(400, "unsupported_grant_type", format!("{grant} is not a grant type"))),
    }
}

/// Reads `application/x-www-form-urlencoded`; a name that comes twice is refused (RFC 6749, 3.2).
pub fn read_form(request: &Request) -> Result<Form, Refusal> {
    let wrong = |why: &str| Refusal::oauth(400, "invalid_request", why);
    let kind = request.header("content-type").unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
        return Err(wrong("the content type must be application/x-www-form-urlencoded"));
    }
    let text = std::str::from_utf8(&request.body).map_err(|_| wrong("the body is not text"))?;
    let mut form = Form::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| wrong("a parameter has no value"))?;
        if form.insert(decode(name), decode(value)).is_some() {
            return Err(wrong("a parameter comes twice"));
        }
    }
    Ok(form)
}

/// A parameter that must be there.
pub fn field<'a>(form: &'a Form, name: &str) -> Result<&'a str, Refusal> {
    match form.get(name).map(String::as_str) {
        Some("") | None => Err(Refusal::oauth(400, "invalid_request", format!("{name} is missing"))),
        Some(value) => Ok(value),
    }
}

/// The answer with an access token, and what else is in it (RFC 6749, 5.1); `expires_in` is what is left.
pub fn granted(state: &State, token: &str, issued: Issued, more: &[(&str, Value)]) -> Granted {
    let left = issued.expires_at.duration_since(state.world().now()).unwrap_or_default().as_secs();
    let mut body = json!({"access_token": token, "token_type": "Bearer", "expires_in": left});
    for (name, value) in more {
        body[*name] = value.clone();
    }
    (Response::json(200, body.to_string()), Some(issued))
}
