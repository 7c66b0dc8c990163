//! The metadata service of a virtual machine (docs, compute/operations/vm-connect/auth-inside-vm.md), on a listener of
//! its own and, like the real one, in plain http.

use serde_json::json;

use super::granted::Granted;
use crate::faults::Fault;
use crate::refusal::Refusal;
use crate::routes::METADATA;
use crate::server::{Request, Response};
use crate::state::State;

/// Responds to a request to the metadata service.
pub(crate) fn respond(state: &State, request: &Request, fault: Option<&Fault>) -> Result<Granted, Refusal> {
    // The documentation shows the header in every request. Google's service has the same interface. It rejects requests
    // without the header and forwarded ones, so that a page in a browser can't fetch the token.
    if request.header("metadata-flavor") != Some("Google") {
        return Err(Refusal::denied("Missing header: Metadata-Flavor: Google"));
    }
    if request.header("x-forwarded-for").is_some() {
        return Err(Refusal::denied("Forwarded requests are not answered"));
    }
    if request.path != METADATA {
        return Err(Refusal::other(404, "Not found"));
    }
    if request.method != "GET" {
        return Err(Refusal::other(405, "Only GET"));
    }
    let mut cloud = state.cloud();
    let Some(account) = cloud.settings.metadata_account.clone() else {
        return Err(Refusal::other(404, "No service account is attached to this instance"));
    };
    let (token, issued) = cloud.issue(&account, fault);
    let left = issued.expires_at.duration_since(cloud.now()).unwrap_or_default().as_secs();
    let body = json!({"access_token": token, "expires_in": left, "token_type": "Bearer"});
    Ok((Response::json(200, body.to_string()), Some(issued)))
}
