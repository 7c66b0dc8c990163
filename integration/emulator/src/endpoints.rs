//! The list of an installation's endpoints (cloudapi `yandex/cloud/endpoint/api_endpoint_service.proto`; docs,
//! `api-design-guide/concepts/endpoints.md`). The real one is at the API's root and has some hundred entries; here it is
//! beside IAM and has two.

use serde_json::{Value, json};

use super::State;
use super::refusal::Refusal;
use super::tokens::Granted;
use crate::server::{Request, Response};

/// The path of the list.
pub const LIST: &str = "/endpoints";
/// The path of one entry.
pub const IAM: &str = "/endpoints/iam";

/// Answers a request for the list, or for an entry of it; nothing if this is neither.
pub fn answer(state: &State, request: &Request) -> Option<Result<Granted, Refusal>> {
    let id = match request.path.strip_prefix(LIST)? {
        "" => None,
        rest => Some(rest.strip_prefix('/')?),
    };
    if request.method != "GET" {
        return Some(Err(Refusal::other(405, "Method not allowed")));
    }
    // Addresses have a port and no scheme.
    let iam = state.world().iam_address.clone();
    let all = [json!({"id": "endpoint", "address": iam}), json!({"id": "iam", "address": iam})];
    let body = match id {
        None => json!({"endpoints": all}),
        Some(id) => match all.iter().find(|entry| entry.get("id").and_then(Value::as_str) == Some(id)) {
            Some(entry) => entry.clone(),
            None => return Some(Err(Refusal::other(404, format!("Endpoint {id} not found")))),
        },
    };
    Some(Ok((Response::json(200, body.to_string()), None)))
}
