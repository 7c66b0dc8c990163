//! IamTokenService over REST (cloudapi, iam/v1/iam_token_service.proto): its three calls.

use serde_json::json;

use super::granted::Granted;
use crate::faults::Fault;
use crate::jwt::{self, Expected};
use crate::message::{fields, required, violation};
use crate::refusal::Refusal;
use crate::server::{Request, Response};
use crate::state::{Cloud, State};
use crate::times;

/// `POST /iam/v1/tokens`, IamTokenService.Create: exchanges a JWT or an OAuth token for an IAM token. Needs no
/// authorization.
pub(crate) fn create(state: &State, request: &Request, fault: Option<&Fault>) -> Result<Granted, Refusal> {
    let fields = fields(request, &[("yandexPassportOauthToken", 4000), ("jwt", 8000)])?;
    let subject = match (fields.get("yandexPassportOauthToken"), fields.get("jwt")) {
        (Some(oauth), None) => {
            let known = state.cloud().oauth.get(oauth).cloned();
            known.ok_or_else(|| Refusal::unauthenticated("OAuth token is invalid or has expired"))?
        }
        (None, Some(jwt)) => {
            let (audiences, now, tolerance) = {
                let cloud = state.cloud();
                let audiences = [cloud.own_audiences.as_slice(), &cloud.settings.audiences].concat();
                (audiences, times::unix(cloud.now()), cloud.settings.iat_tolerance)
            };
            let tolerance = i64::try_from(tolerance.as_secs()).unwrap_or(i64::MAX);
            let key = |kid: &str| state.cloud().keys.get(kid).cloned();
            jwt::verify(jwt, key, &Expected { audiences: &audiences, now, tolerance })
                .map_err(Refusal::unauthenticated)?
        }
        // The cloud's own message, as a bug report of GoogleCloudPlatform's terraformer quotes it.
        _ => return Err(violation("identity", "One of the options must be selected")),
    };
    Ok(issue(&mut state.cloud(), &subject, fault))
}

/// `POST /iam/v1/tokens:createForServiceAccount`: impersonation.
pub(crate) fn create_for_service_account(
    state: &State,
    request: &Request,
    fault: Option<&Fault>,
) -> Result<Granted, Refusal> {
    let mut cloud = state.cloud();
    let caller = cloud.authenticate(request)?;
    let fields = fields(request, &[("serviceAccountId", 50)])?;
    let account = required(&fields, "serviceAccountId")?;
    if !cloud.accounts.may_impersonate(&caller, account) {
        let reason = match cloud.accounts.contains(account) {
            true => format!("{caller} may not impersonate {account}"),
            false => format!("there is no service account {account}"),
        };
        // The same response in both cases, as clouds do it, so that a stranger can't find out which accounts exist.
        return Err(Refusal::denied("Permission denied").because(reason));
    }
    Ok(issue(&mut cloud, account, fault))
}

/// `POST /iam/v1/tokens:revoke`. "Any authenticated user can revoke an IAM token" (docs, iam/concepts/authorization).
pub(crate) fn revoke(state: &State, request: &Request) -> Result<Granted, Refusal> {
    let mut cloud = state.cloud();
    cloud.authenticate(request)?;
    let fields = fields(request, &[("iamToken", 4096)])?;
    let token = required(&fields, "iamToken")?;
    let now = cloud.now();
    // The cloud's response to an expired or revoked token isn't documented. The emulator reports a wrong argument.
    if let Err(reason) = cloud.tokens.check(token, now) {
        return Err(violation("iamToken", reason));
    }
    let subject = cloud.tokens.revoke(token).unwrap_or_default();
    Ok((Response::json(200, json!({"subjectId": subject}).to_string()), None))
}

/// Issues a token and returns the response of both calls that create one (CreateIamTokenResponse): these two fields and
/// nothing else.
fn issue(cloud: &mut Cloud, subject: &str, fault: Option<&Fault>) -> Granted {
    let (token, issued) = cloud.issue(subject, fault);
    let body = json!({"iamToken": token, "expiresAt": times::rfc3339(issued.expires_at)});
    (Response::json(200, body.to_string()), Some(issued))
}
