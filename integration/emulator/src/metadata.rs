//! The metadata service of a virtual machine (docs, compute/operations/vm-connect/auth-inside-vm.md), on a listener of
//! its own: plain http, as the real one.

use serde_json::json;

use super::faults::Fault;
use super::refusal::Refusal;
use super::tokens::Granted;
use super::{METADATA, State};
use crate::server::{Request, Response};

/// Answers a request.
pub fn answer(state: &State, request: &Request, fault: Option<&Fault>) -> Result<Granted, Refusal> {
    // The documentation shows the header in every request. That a request without it is refused, and that a forwarded
    // one is, is how the Google service behaves whose interface this is: else a page in a browser could fetch the
    // token.
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
    let mut world = state.world();
    let Some(account) = world.settings.metadata_account.clone() else {
        return Err(Refusal::other(404, "No service account is attached to this instance"));
    };
    let (token, issued) = world.issue(&account, fault);
    let left = issued.expires_at.duration_since(world.now()).unwrap_or_default().as_secs();
    let body = json!({"access_token": token, "expires_in": left, "token_type": "Bearer"});
    Ok((Response::json(200, body.to_string()), Some(issued)))
}
