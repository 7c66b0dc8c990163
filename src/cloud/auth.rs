//! The token endpoint of the auth host: OAuth 2.0 (RFC 6749, 3.2), which hands out IAM tokens as access tokens.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::base::error::Result;
use crate::base::secret::Secret;
use crate::base::token::{Credential, Expiry, lenient_seconds};
use crate::cloud::http::failure::ServerError;
use crate::cloud::http::{CONNECT, HttpRequest, Proof};
use crate::cloud::installation::Installation;
use crate::cloud::{Context, http, status};

/// The token endpoint, below the auth host's base URL.
pub const TOKEN_PATH: &str = "/oauth/token";

/// An answer with an access token (RFC 6749, 5.1), and when it came.
pub struct AuthResponse {
    pub token: TokenResponse,
    answer: http::HttpResponse,
    url: String,
}

/// What such an answer holds; whatever else is in it is let be. `issued_token_type`, which RFC 8693 demands, is not in
/// what the cloud's documentation shows.
#[derive(Deserialize)]
pub struct TokenResponse {
    pub access_token: Secret,
    /// Seconds from now.
    #[serde(default, deserialize_with = "lenient_seconds")]
    pub expires_in: Option<i64>,
    pub refresh_token: Option<Secret>,
}

impl AuthResponse {
    /// The host's clock less ours, in milliseconds, where they differ.
    pub fn skew(&self) -> i64 {
        self.answer.skew.unwrap_or(0)
    }

    /// The access token, with the life that the answer told of: a length, so that no clock has a say in it.
    ///
    /// # Errors
    /// Unavailable (4): it cannot be a token.
    pub fn credential(&self) -> Result<Credential> {
        let expiry = Expiry::In(self.token.expires_in);
        Credential::new(self.token.access_token.clone(), &expiry, self.answer.received, None, &self.url)
    }
}

/// Sends a form to the token endpoint.
///
/// # Errors
/// As [`crate::cloud::http::Http::send`]. Of a refusal the host's words are kept: `invalid_grant: …` (RFC 6749, 5.2).
pub fn token(
    installation: &Installation,
    parameters: &[(&str, &str)],
    headers: &[(&'static str, &str)],
    cx: &Context<'_>,
) -> Result<AuthResponse> {
    proven_token(installation, parameters, headers, None, cx)
}

/// [`token`], with a proof that is made anew for each try.
///
/// # Errors
/// As [`token`].
pub fn proven_token(
    installation: &Installation,
    parameters: &[(&str, &str)],
    headers: &[(&'static str, &str)],
    proof: Option<Proof<'_>>,
    cx: &Context<'_>,
) -> Result<AuthResponse> {
    let url = token_url(installation);
    let body = form(parameters);
    let request = HttpRequest {
        url: &url,
        headers,
        body: Some(("application/x-www-form-urlencoded", &body)),
        connect: CONNECT,
        direct: false,
    };
    let answer = cx.send_proven(&request, proof, explain)?;
    Ok(AuthResponse { token: answer.json(&url)?, answer, url })
}

/// Where tokens are asked for.
pub fn token_url(installation: &Installation) -> String {
    format!("{}{TOKEN_PATH}", installation.auth_url)
}

/// What stays as it is in a form and in a query (RFC 3986, 2.3).
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A value for a form or a query.
pub fn encode(text: &str) -> impl Iterator<Item = &str> {
    utf8_percent_encode(text, KEPT)
}

/// `application/x-www-form-urlencoded`.
fn form(parameters: &[(&str, &str)]) -> Secret {
    // Room for all of it from the start, since a text that grows leaves unwiped copies behind.
    let most = parameters.iter().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
    let mut text = String::with_capacity(most);
    for (name, value) in parameters {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.extend(encode(value));
    }
    Secret::wrapping(text)
}

#[derive(Deserialize)]
struct ErrorBody {
    error: String,
    error_description: Option<String>,
}

/// The host's error in its own words (RFC 6749, 5.2), or in those of the cloud's other APIs.
pub fn explain(body: &[u8]) -> Option<ServerError> {
    let Ok(ErrorBody { error, error_description }) = serde_json::from_slice(body) else { return status::explain(body) };
    let words = match error_description {
        Some(description) if !description.is_empty() => format!("{error}: {description}"),
        _ => error.clone(),
    };
    // Capped as the API's messages are.
    Some(ServerError { message: words.chars().take(250).collect(), request_id: None, code: Some(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded_and_has_room_for_the_worst() {
        let text = form(&[("grant_type", "urn:ietf:x"), ("subject_token", "a.b-c_d~e"), ("c", "я+ &=%")]);
        assert_eq!(
            text.expose(),
            "grant_type=urn%3Aietf%3Ax&subject_token=a.b-c_d~e&c=%D1%8F%2B%20%26%3D%25",
            "RFC 6749, appendix B"
        );
    }

    #[test]
    fn an_answer_may_have_more_fields_or_less() {
        let token: TokenResponse = serde_json::from_str(
            r#"{"access_token":"t1.x","token_type":"Bearer","expires_in":43200,"issued_token_type":"x"}"#,
        )
        .expect("read");
        assert!(token.access_token.expose() == "t1.x" && token.expires_in == Some(43200));
        let token: TokenResponse =
            serde_json::from_str(r#"{"access_token":"t1.x","refresh_token":"r"}"#).expect("read");
        assert!(token.expires_in.is_none() && token.refresh_token.is_some());
        for (told, read) in [("\"43200\"", Some(43200)), ("43200.9", Some(43200)), ("{}", None), ("true", None)] {
            let body = format!(r#"{{"access_token":"t1.x","expires_in":{told}}}"#);
            assert_eq!(serde_json::from_str::<TokenResponse>(&body).expect("read").expires_in, read, "{told}");
        }
        assert!(serde_json::from_str::<TokenResponse>(r#"{"token_type":"Bearer"}"#).is_err());
    }

    #[test]
    fn errors_are_read_in_either_form() {
        let words = |body: &str| explain(body.as_bytes()).map(|explained| explained.message);
        assert_eq!(
            words(r#"{"error":"invalid_grant","error_description":"no such credential","error_uri":"x"}"#).as_deref(),
            Some("invalid_grant: no such credential")
        );
        assert_eq!(words(r#"{"error":"invalid_request"}"#).as_deref(), Some("invalid_request"));
        assert_eq!(words(r#"{"error":"server_error","error_description":""}"#).as_deref(), Some("server_error"));
        assert_eq!(
            words(r#"{"code":16,"message":"Token is invalid"}"#).as_deref(),
            Some("UNAUTHENTICATED: Token is invalid")
        );
        assert_eq!(words(r#"{"error":{"code":1}}"#), None);
        assert_eq!(words("<html>"), None);
    }
}
