//! People who log in at the auth host: the authorization-code flow with PKCE (RFC 7636), and refresh tokens. A request
//! that breaks a rule of the RFCs is rejected.

use std::sync::MutexGuard;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::sha2::{Digest as _, Sha256};
use serde_json::json;

use super::granted::{self, Granted};
use super::proof;
use crate::faults::Fault;
use crate::form::{Form, field};
use crate::message;
use crate::refusal::Refusal;
use crate::server::{Request, Response};
use crate::settings::Page;
use crate::state::{Cloud, State};
use crate::store::logins::{Code, PERSON, Refresh};

/// How long a code is valid. RFC 6749, 4.1.2 recommends at most ten minutes.
const CODE_LIFE: Duration = Duration::from_secs(600);
/// How long a refresh token is valid (docs, iam/concepts/authorization/refresh-token.md).
const REFRESH_LIFE: Duration = Duration::from_secs(31 * 24 * 3600);

/// `GET /oauth/authorize`.
pub(crate) fn authorize(state: &State, request: &Request) -> Result<Granted, Refusal> {
    if request.method != "GET" {
        return Err(Refusal::other(405, "Method not allowed").because(format!("{} is not GET", request.method)));
    }
    let wrong = |why: &str| Refusal::oauth(400, "invalid_request", why);
    let need = |name: &str| {
        let mut found = request.query.split('&').filter(|pair| pair.split('=').next() == Some(name));
        match (found.next(), found.next(), request.parameter(name)) {
            (Some(_), None, Some(value)) if !value.is_empty() => Ok(value),
            (Some(_), Some(_), _) => Err(wrong(&format!("{name} occurs twice"))),
            _ => Err(wrong(&format!("{name} is missing"))),
        }
    };
    let mut cloud = state.cloud();
    cloud.logins.asked += 1;
    let settings = cloud.settings.login.clone();
    if need("client_id")? != settings.client {
        return Err(wrong("unknown client"));
    }
    let redirect = need("redirect_uri")?;
    if !is_loopback(&redirect) {
        return Err(wrong("redirect_uri is not http://127.0.0.1:PORT/auth/callback"));
    }
    let given = need("state")?;
    if given.len() < 22 {
        return Err(wrong("state is shorter than 128 bits"));
    }
    if need("response_type")? != "code" {
        return Err(wrong("response_type is not code"));
    }
    if need("code_challenge_method")? != "S256" {
        return Err(wrong("code_challenge_method is not S256"));
    }
    let challenge = need("code_challenge")?;
    if decoded(&challenge) != Some(32) {
        return Err(wrong("code_challenge is not a SHA-256"));
    }
    let thumbprint = need("dpop_jkt")?;
    if decoded(&thumbprint) != Some(64) {
        return Err(wrong("dpop_jkt is not a SHA-512"));
    }
    let scope = need("scope")?;
    let scopes: Vec<&str> = scope.split(' ').collect();
    if !scopes.contains(&"openid") {
        return Err(wrong("scope has no openid"));
    }
    if let Some(hint) = request.parameter("yc_federation_hint")
        && settings.federation.as_ref() != Some(&hint)
    {
        return Err(wrong("unknown federation"));
    }
    let back = if settings.deny {
        format!("{redirect}?error=access_denied&error_description=The+person+said+no&state={given}")
    } else {
        let code = cloud.logins.new_secret();
        let expires = cloud.now() + CODE_LIFE;
        let offline = scopes.contains(&"offline_access");
        let record = Code { redirect: redirect.clone(), challenge, thumbprint, expires, used: false, offline };
        cloud.logins.codes.insert(code.clone(), record);
        format!("{redirect}?code={code}&state={given}")
    };
    let html = |head: &str, body: &str| {
        let page =
            format!("<!DOCTYPE html>\n<html><head><title>Log in</title>{head}</head><body>{body}</body></html>\n");
        Response::typed(200, "text/html; charset=utf-8", page)
    };
    let escaped = back.replace('&', "&amp;");
    let response = match settings.page {
        Page::Redirect => Response::new(302).header("Location", &back),
        Page::Auto => html(&format!("<meta http-equiv=\"refresh\" content=\"0;url={escaped}\">"), "<p>One moment</p>"),
        Page::Button => html("", &format!("<h1>Log in</h1><p><a href=\"{escaped}\">Yes, it is me</a></p>")),
    };
    Ok((response, None))
}

/// Returns true for the only redirect URI that the cloud accepts, with any port.
fn is_loopback(redirect: &str) -> bool {
    let port = redirect.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.strip_suffix("/auth/callback"));
    port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

/// Returns the number of bytes in a base64url string.
fn decoded(text: &str) -> Option<usize> {
    URL_SAFE_NO_PAD.decode(text).ok().map(|bytes| bytes.len())
}

/// `grant_type=authorization_code`.
pub(super) fn redeem_code(
    state: &State,
    request: &Request,
    form: &Form,
    fault: Option<&Fault>,
) -> Result<Granted, Refusal> {
    let refuse = |why: &str| Refusal::oauth(400, "invalid_grant", why);
    let mut cloud = state.cloud();
    let thumbprint = proof::check(&mut cloud, request)?;
    client(&cloud, form)?;
    let (given, verifier, redirect) =
        (field(form, "code")?, field(form, "code_verifier")?, field(form, "redirect_uri")?);
    let now = cloud.now();
    let Some(code) = cloud.logins.codes.get_mut(given) else { return Err(refuse("unknown code")) };
    if code.used {
        cloud.logins.reused += 1;
        return Err(refuse("the code has been used"));
    }
    // Used up, even if the rest of the request is wrong.
    code.used = true;
    if code.expires <= now {
        return Err(refuse("the code has expired"));
    }
    if code.redirect != redirect {
        return Err(refuse("redirect_uri differs from the authorization request"));
    }
    if !(43..=128).contains(&verifier.len()) || URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) != code.challenge {
        return Err(refuse("code_verifier does not match the code_challenge"));
    }
    if code.thumbprint != thumbprint {
        return Err(refuse("the proof is by another key than the one in the authorization request"));
    }
    let refreshes = code.offline && cloud.settings.login.refresh_tokens;
    Ok(issue(state, cloud, refreshes.then_some(thumbprint), fault))
}

/// `grant_type=refresh_token`.
pub(super) fn refresh(
    state: &State,
    request: &Request,
    form: &Form,
    fault: Option<&Fault>,
) -> Result<Granted, Refusal> {
    let refuse = |why: &str| Refusal::oauth(400, "invalid_grant", why);
    let mut cloud = state.cloud();
    let thumbprint = proof::check(&mut cloud, request)?;
    client(&cloud, form)?;
    let given = field(form, "refresh_token")?;
    let (now, one_time) = (cloud.now(), cloud.settings.login.one_time);
    let Some(record) = cloud.logins.refresh.get_mut(given) else {
        return Err(refuse("unknown refresh token"));
    };
    if record.over {
        cloud.logins.reused += 1;
        return Err(refuse("the refresh token has been used or revoked"));
    }
    if record.expires <= now {
        return Err(refuse("the refresh token has expired"));
    }
    if record.thumbprint != thumbprint {
        return Err(refuse("the proof is by another key than the refresh token is bound to"));
    }
    record.over = one_time;
    Ok(issue(state, cloud, one_time.then_some(thumbprint), fault))
}

/// Issues a token. If `bound_to` is a thumbprint, also issues a refresh token bound to that key.
fn issue(state: &State, mut cloud: MutexGuard<'_, Cloud>, bound_to: Option<String>, fault: Option<&Fault>) -> Granted {
    let (token, issued) = cloud.issue(PERSON, fault);
    let mut more = vec![("scope", json!("openid"))];
    if let Some(thumbprint) = bound_to {
        let refresh = cloud.logins.new_secret();
        let expires = cloud.now() + REFRESH_LIFE;
        cloud.logins.refresh.insert(refresh.clone(), Refresh { thumbprint, expires, over: false });
        more.push(("refresh_token", json!(refresh)));
    }
    drop(cloud);
    granted::oauth(state, &token, issued, &more)
}

/// Checks the id of the OAuth client.
fn client(cloud: &Cloud, form: &Form) -> Result<(), Refusal> {
    match field(form, "client_id")? == cloud.settings.login.client {
        true => Ok(()),
        false => Err(Refusal::oauth(401, "invalid_client", "unknown client")),
    }
}

/// `POST /iam/v1/refreshTokens:revoke` (cloudapi, iam/v1/refresh_token_service.proto), which takes the refresh token itself.
pub(crate) fn revoke_refresh(state: &State, request: &Request) -> Result<Granted, Refusal> {
    let mut cloud = state.cloud();
    cloud.authenticate(request)?;
    let fields = message::fields(request, &[("refreshToken", 1000)])?;
    let given = message::required(&fields, "refreshToken")?;
    let Some(record) = cloud.logins.refresh.get_mut(given) else {
        return Err(Refusal::other(404, "Refresh token not found"));
    };
    record.over = true;
    Ok((Response::json(200, "{}"), None))
}
