//! The token endpoint of the auth host: OAuth 2.0 (RFC 6749, 3.2) with IAM tokens as access tokens.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::base::error::Result;
use crate::base::secret::Secret;
use crate::base::token::{Credential, Expiry, lenient_seconds};
use crate::cloud::http::failure::ServerError;
use crate::cloud::http::{CONNECT_TIMEOUT, HttpRequest, ProofHeader};
use crate::cloud::installation::Installation;
use crate::cloud::{Context, http, rpc_status};

/// The path of the token endpoint, below the auth host's base URL.
pub const TOKEN_PATH: &str = "/oauth/token";

/// A response with an access token (RFC 6749, 5.1).
pub struct AuthResponse {
    pub token: TokenResponse,
    response: http::HttpResponse,
    url: String,
}

/// The body of a token response. Other fields are ignored.
///
/// `issued_token_type` is not required: RFC 8693 demands it, but the examples in the cloud's documentation do not have
/// it.
#[derive(Deserialize)]
pub struct TokenResponse {
    pub access_token: Secret,
    /// The remaining validity in seconds.
    #[serde(default, deserialize_with = "lenient_seconds")]
    pub expires_in: Option<i64>,
    pub refresh_token: Option<Secret>,
}

impl AuthResponse {
    /// Returns the host's clock minus this machine's clock, in milliseconds.
    pub fn skew(&self) -> i64 {
        self.response.skew.unwrap_or(0)
    }

    /// Returns the access token with its expiry. The response has a number of seconds, so the skew does not matter.
    ///
    /// # Errors
    /// Unavailable (4): the string cannot be a token.
    pub fn credential(&self) -> Result<Credential> {
        let expiry = Expiry::In(self.token.expires_in);
        Credential::new(self.token.access_token.clone(), &expiry, self.response.received, None, &self.url)
    }
}

/// Sends a form to the token endpoint.
///
/// # Errors
/// As [`crate::cloud::http::Http::send`]. A rejection contains the host's own error: `invalid_grant: …` (RFC 6749,
/// 5.2).
pub fn token(
    installation: &Installation,
    parameters: &[(&str, &str)],
    headers: &[(&'static str, &str)],
    cx: &Context<'_>,
) -> Result<AuthResponse> {
    proven_token(installation, parameters, headers, None, cx)
}

/// Sends a form as [`token`] does, with a new proof of possession in each attempt.
///
/// # Errors
/// As [`token`].
pub fn proven_token(
    installation: &Installation,
    parameters: &[(&str, &str)],
    headers: &[(&'static str, &str)],
    proof: Option<ProofHeader<'_>>,
    cx: &Context<'_>,
) -> Result<AuthResponse> {
    let url = token_url(installation);
    let body = form(parameters);
    let request = HttpRequest {
        url: &url,
        headers,
        body: Some(("application/x-www-form-urlencoded", &body)),
        connect: CONNECT_TIMEOUT,
        direct: false,
        is_one_time: proof.is_some(),
    };
    let response = cx.send_with_proof(&request, proof, explain)?;
    Ok(AuthResponse { token: response.json(&url)?, response, url })
}

/// Returns the URL of the token endpoint.
pub fn token_url(installation: &Installation) -> String {
    format!("{}{TOKEN_PATH}", installation.auth_url)
}

/// The characters to encode in a form and in a query: all but the unreserved ones (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes a value for a form or a query.
pub fn encode(value: &str) -> impl Iterator<Item = &str> {
    utf8_percent_encode(value, RESERVED)
}

/// Encodes parameters as `application/x-www-form-urlencoded`.
fn form(parameters: &[(&str, &str)]) -> Secret {
    // Enough capacity from the start: a string that grows leaves copies that are not wiped.
    let capacity = parameters.iter().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
    let mut form = String::with_capacity(capacity);
    for (name, value) in parameters {
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(name);
        form.push('=');
        form.extend(encode(value));
    }
    Secret::wrapping(form)
}

#[derive(Deserialize)]
struct ErrorBody {
    error: String,
    error_description: Option<String>,
}

/// Extracts the error from a response body, in the form of OAuth (RFC 6749, 5.2) or of the cloud's other APIs.
pub fn explain(body: &[u8]) -> Option<ServerError> {
    let Ok(ErrorBody { error, error_description }) = serde_json::from_slice(body) else {
        return rpc_status::explain(body);
    };
    let message = match error_description {
        Some(description) if !description.is_empty() => format!("{error}: {description}"),
        _ => error.clone(),
    };
    // The same limit as for the API's messages.
    let message = message.chars().take(250).collect();
    Some(ServerError { message, request_id: None, code: Some(error), is_from_cloud: true, is_from_server: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_percent_encoded() {
        let text = form(&[("grant_type", "urn:ietf:x"), ("subject_token", "a.b-c_d~e"), ("c", "я+ &=%")]);
        assert_eq!(
            text.expose(),
            "grant_type=urn%3Aietf%3Ax&subject_token=a.b-c_d~e&c=%D1%8F%2B%20%26%3D%25",
            "RFC 6749, appendix B"
        );
    }

    #[test]
    fn a_response_may_have_more_fields_or_less() {
        let token: TokenResponse = serde_json::from_str(
            r#"{"access_token":"t1.x","token_type":"Bearer","expires_in":43200,"issued_token_type":"x"}"#,
        )
        .expect("read");
        assert!(token.access_token.expose() == "t1.x" && token.expires_in == Some(43200));
        let token: TokenResponse =
            serde_json::from_str(r#"{"access_token":"t1.x","refresh_token":"r"}"#).expect("read");
        assert!(token.expires_in.is_none() && token.refresh_token.is_some());
        for (expires_in, read) in [("\"43200\"", Some(43200)), ("43200.9", Some(43200)), ("{}", None), ("true", None)] {
            let body = format!(r#"{{"access_token":"t1.x","expires_in":{expires_in}}}"#);
            assert_eq!(serde_json::from_str::<TokenResponse>(&body).expect("read").expires_in, read, "{expires_in}");
        }
        assert!(serde_json::from_str::<TokenResponse>(r#"{"token_type":"Bearer"}"#).is_err());
    }

    #[test]
    fn errors_are_read_in_both_forms() {
        let message = |body: &str| explain(body.as_bytes()).map(|explained| explained.message);
        assert_eq!(
            message(r#"{"error":"invalid_grant","error_description":"no such credential","error_uri":"x"}"#).as_deref(),
            Some("invalid_grant: no such credential")
        );
        assert_eq!(message(r#"{"error":"invalid_request"}"#).as_deref(), Some("invalid_request"));
        assert_eq!(message(r#"{"error":"server_error","error_description":""}"#).as_deref(), Some("server_error"));
        assert_eq!(
            message(r#"{"code":16,"message":"Token is invalid"}"#).as_deref(),
            Some("UNAUTHENTICATED: Token is invalid")
        );
        assert_eq!(message(r#"{"error":{"code":1}}"#), None);
        assert_eq!(message("<html>"), None);
    }
}
