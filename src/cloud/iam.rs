//! Calls of the IAM API over REST: tokens, access keys and revocation.
//!
//! Most are from cloudapi `yandex/cloud/iam/v1/iam_token_service.proto`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::base::token::{Credential, Expiry, lenient_time};
use crate::cloud::http::{CONNECT_TIMEOUT, HttpRequest, HttpResponse};
use crate::cloud::installation::{Installation, TOKENS_PATH};
use crate::cloud::{Context, rpc_status};

/// The credential to exchange for a token: exactly one of the two (`CreateIamTokenRequest.identity`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CreateIamTokenRequest<'a> {
    /// At most 8000 characters.
    Jwt(&'a str),
    /// At most 4000 characters.
    YandexPassportOauthToken(&'a str),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateForServiceAccountRequest<'a> {
    service_account_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RevokeRequest<'a> {
    iam_token: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RevokeResponse {
    subject_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RevokeRefreshTokenRequest<'a> {
    /// At most 1000 characters.
    refresh_token: &'a str,
}

#[derive(Deserialize)]
struct GetSubjectResponse {
    subject: Subject,
}

#[derive(Deserialize)]
struct Subject {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateIamTokenResponse {
    pub iam_token: Secret,
    #[serde(default, deserialize_with = "lenient_time")]
    pub expires_at: Option<String>,
}

/// Returns true if a string can be the id of a service account.
pub fn is_account_id(id: &str) -> bool {
    // Ids have 20 characters today. The API's limit is 50 (cloudapi, iam_token_service.proto).
    (1..=50).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Requests a token for a JWT or an OAuth token (`Create`).
///
/// # Errors
/// As [`crate::cloud::http::Http::send`].
pub fn create(
    installation: &Installation,
    identity: &CreateIamTokenRequest<'_>,
    cx: &Context<'_>,
) -> Result<Credential> {
    call(installation, TOKENS_PATH, &body(identity)?, None, cx)
}

/// Requests a token of a service account for a caller that may impersonate it (`CreateForServiceAccount`).
///
/// # Errors
/// As [`crate::cloud::http::Http::send`].
pub fn create_for_service_account(
    installation: &Installation,
    caller: &Secret,
    account: &str,
    cx: &Context<'_>,
) -> Result<Credential> {
    let path = format!("{TOKENS_PATH}:createForServiceAccount");
    call(installation, &path, &body(&CreateForServiceAccountRequest { service_account_id: account })?, Some(caller), cx)
        .map_err(|error| error.context(format!("impersonating {account}")))
}

/// The path of `TemporaryAccessKeyService.CreateEphemeral`, below the base URL
/// (cloudapi `yandex/cloud/iam/v1/awscompatibility/temporary_access_key_service.proto`).
const EPHEMERAL_ACCESS_KEYS_PATH: &str = "/iam/aws-compatibility/v1/ephemeralAccessKeys";

/// A request for an ephemeral access key. The key belongs to the caller.
pub struct EphemeralKeyRequest<'a> {
    /// 1 to 64 of `[\w+=,.@-]`.
    pub session_name: &'a str,
    /// At most 2048 characters of JSON.
    pub policy: Option<&'a str>,
    /// 15 minutes to 12 hours, and at most the remaining validity of the caller's token.
    pub duration: Duration,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateEphemeralRequest<'a> {
    session_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    /// A protobuf Duration in JSON: `3600s`.
    duration: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EphemeralKey {
    pub access_key_id: Secret,
    pub secret: Secret,
    pub session_token: Secret,
    #[serde(default, deserialize_with = "lenient_time")]
    pub expires_at: Option<String>,
}

/// A new access key, with the details of the response that determine its expiry.
pub struct EphemeralKeyResponse {
    pub key: EphemeralKey,
    /// The URL of the response, for messages.
    pub url: String,
    /// When the response arrived, by this machine's clock.
    pub received: Timestamp,
    /// The clock skew: see [`HttpResponse::skew`].
    pub skew: Option<i64>,
}

/// Requests an access key of Object Storage for the caller (`CreateEphemeral`).
///
/// # Errors
/// As [`crate::cloud::http::Http::send`].
pub fn create_ephemeral_access_key(
    installation: &Installation,
    caller: &Secret,
    key_request: &EphemeralKeyRequest<'_>,
    cx: &Context<'_>,
) -> Result<EphemeralKeyResponse> {
    let message = CreateEphemeralRequest {
        session_name: key_request.session_name,
        policy: key_request.policy,
        duration: format!("{}s", key_request.duration.as_secs()),
    };
    let (url, response) = send(installation, EPHEMERAL_ACCESS_KEYS_PATH, &body(&message)?, Some(caller), cx)
        .map_err(|error| error.context("asking for an access key"))?;
    let key = response.json(&url)?;
    cx.warn_of_clock(response.skew.unwrap_or(0));
    Ok(EphemeralKeyResponse { key, url, received: response.received, skew: response.skew })
}

fn body(message: &impl Serialize) -> Result<Secret> {
    serde_json::to_string(message)
        .map(Secret::wrapping)
        .map_err(|_| Error::internal("cannot serialize the request as JSON"))
}

/// Revokes a token, authorized by the token itself (`Revoke`). Returns the id of its subject.
///
/// # Errors
/// As [`crate::cloud::http::Http::send`].
pub fn revoke(installation: &Installation, token: &Secret, cx: &Context<'_>) -> Result<String> {
    let path = format!("{TOKENS_PATH}:revoke");
    let (url, response) =
        send(installation, &path, &body(&RevokeRequest { iam_token: token.expose() })?, Some(token), cx)?;
    let RevokeResponse { subject_id } = response.json(&url)?;
    Ok(subject_id.unwrap_or_else(|| "an unknown subject".into()))
}

/// Revokes the refresh token of a login (`RefreshTokenService.Revoke`, cloudapi
/// `yandex/cloud/iam/v1/refresh_token_service.proto`).
///
/// # Errors
/// As [`crate::cloud::http::Http::send`].
pub fn revoke_refresh_token(
    installation: &Installation,
    caller: &Secret,
    refresh_token: &Secret,
    cx: &Context<'_>,
) -> Result<()> {
    let message = body(&RevokeRefreshTokenRequest { refresh_token: refresh_token.expose() })?;
    send(installation, "/iam/v1/refreshTokens:revoke", &message, Some(caller), cx).map(|_| ())
}

/// Asks for the name of an account (`SubjectDetailsService.Get`, cloudapi
/// `yandex/cloud/iam/v1/subject_details_service.proto`). Not every account may look itself up.
///
/// # Errors
/// As [`crate::cloud::http::Http::send`].
pub fn subject_name(installation: &Installation, caller: &Secret, id: &str, cx: &Context<'_>) -> Result<String> {
    let url = format!("{}/iam/v1/subjects/{id}", installation.iam_url(cx)?);
    let bearer = Secret::wrapping(format!("Bearer {}", caller.expose()));
    let headers = [("authorization", bearer.expose())];
    let request = HttpRequest {
        url: &url,
        headers: &headers,
        body: None,
        connect: CONNECT_TIMEOUT,
        direct: false,
        is_one_time: false,
    };
    let response = cx.send(&request, rpc_status::explain)?;
    let GetSubjectResponse { subject } = response.json(&url)?;
    Ok(subject.name.unwrap_or_default())
}

/// The start of a hint for a 403: the credential is good, so another one would not help.
pub const FORBIDDEN: &str =
    "the cloud accepts the credential but denies the request: check the account's roles, and that it is not suspended";

fn call(
    installation: &Installation,
    path: &str,
    body: &Secret,
    caller: Option<&Secret>,
    cx: &Context<'_>,
) -> Result<Credential> {
    let (url, response) = send(installation, path, body, caller, cx)?;
    credential(&response, &url, cx)
}

/// Posts a request body. Returns the response and its URL.
fn send(
    installation: &Installation,
    path: &str,
    body: &Secret,
    caller: Option<&Secret>,
    cx: &Context<'_>,
) -> Result<(String, HttpResponse)> {
    let url = format!("{}{path}", installation.iam_url(cx)?);
    let bearer = caller.map(|token| Secret::wrapping(format!("Bearer {}", token.expose())));
    let headers: Vec<(&'static str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.expose())).collect();
    let request = HttpRequest {
        url: &url,
        headers: &headers,
        body: Some(("application/json", body)),
        connect: CONNECT_TIMEOUT,
        direct: false,
        is_one_time: false,
    };
    let response = cx.send(&request, rpc_status::explain)?;
    Ok((url, response))
}

fn credential(response: &HttpResponse, url: &str, cx: &Context<'_>) -> Result<Credential> {
    let CreateIamTokenResponse { iam_token, expires_at } = response.json(url)?;
    cx.warn_of_clock(response.skew.unwrap_or(0));
    Credential::new(iam_token, &Expiry::At(expires_at), response.received, response.skew, url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_form_of_the_api() {
        let json = |identity: &CreateIamTokenRequest<'_>| serde_json::to_string(identity).expect("JSON");
        assert_eq!(json(&CreateIamTokenRequest::Jwt("a.b.c")), r#"{"jwt":"a.b.c"}"#);
        assert_eq!(
            json(&CreateIamTokenRequest::YandexPassportOauthToken("y0_x")),
            r#"{"yandexPassportOauthToken":"y0_x"}"#
        );
        let account = CreateForServiceAccountRequest { service_account_id: "aje1" };
        assert_eq!(serde_json::to_string(&account).expect("JSON"), r#"{"serviceAccountId":"aje1"}"#);
        let key = |policy| CreateEphemeralRequest { session_name: "ycred", policy, duration: "3600s".into() };
        assert_eq!(serde_json::to_string(&key(None)).expect("JSON"), r#"{"sessionName":"ycred","duration":"3600s"}"#);
        assert_eq!(
            serde_json::to_string(&key(Some(r#"{"Version":"2012-10-17"}"#))).expect("JSON"),
            r#"{"sessionName":"ycred","policy":"{\"Version\":\"2012-10-17\"}","duration":"3600s"}"#
        );
    }

    #[test]
    fn responses_may_have_more_fields_and_no_expiry() {
        let created: CreateIamTokenResponse =
            serde_json::from_str(r#"{"iamToken":"t1.x","expiresAt":null,"newField":{}}"#).expect("read");
        assert!(created.iam_token.expose() == "t1.x" && created.expires_at.is_none());
        assert!(serde_json::from_str::<CreateIamTokenResponse>(r#"{"expiresAt":"2026-01-01T00:00:00Z"}"#).is_err());
    }
}
