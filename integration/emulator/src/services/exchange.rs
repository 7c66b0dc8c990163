//! Token exchange (RFC 8693; cloudapi, iam/v1/workload): exchanges a token of another issuer for an IAM token of a
//! service account.
//!
//! The cloud's own messages and error codes for rejected tokens are not documented. RFC 8693, 2.2.2, asks for
//! `invalid_request` for every invalid subject token, so this file returns that.

use super::granted::{self, Granted};
use crate::faults::Fault;
use crate::form::{Form, field};
use crate::refusal::Refusal;
use crate::server::Request;
use crate::state::State;
use crate::times;

/// The grant type.
pub(super) const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The parameters with fixed values.
const FIXED: &[(&str, &str)] = &[
    ("grant_type", GRANT),
    ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
];

/// Responds to a token exchange.
pub(super) fn exchange(state: &State, _: &Request, form: &Form, fault: Option<&Fault>) -> Result<Granted, Refusal> {
    for (name, value) in FIXED {
        if field(form, name)? != *value {
            return Err(invalid(format!("{name} must be {value}")));
        }
    }
    let (account, token) = (field(form, "audience")?, field(form, "subject_token")?);
    if let Some(name) = form.keys().find(|name| {
        !["audience", "subject_token"].contains(&name.as_str()) && FIXED.iter().all(|(known, _)| known != name)
    }) {
        return Err(invalid(format!("{name} is not a parameter of this grant")));
    }
    let mut cloud = state.cloud();
    let now = times::unix(cloud.now());
    let tolerance = i64::try_from(cloud.settings.iat_tolerance.as_secs()).unwrap_or(i64::MAX);
    let (federation, subject) = cloud.federations.verify(token, now, tolerance).map_err(invalid)?;
    if !cloud.federations.has_credential(&federation, account, &subject) {
        let reason = format!("{account} has no federated credential of federation {federation} for {subject}");
        return Err(invalid("no federated credential matches the subject token").because(reason));
    }
    let (token, issued) = cloud.issue(account, fault);
    drop(cloud);
    Ok(granted::oauth(state, &token, issued, &[]))
}

fn invalid(description: impl Into<String>) -> Refusal {
    Refusal::oauth(400, "invalid_request", description)
}
