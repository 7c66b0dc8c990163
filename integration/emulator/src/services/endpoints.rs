//! The list of an installation's API endpoints (cloudapi `yandex/cloud/endpoint/api_endpoint_service.proto`; docs,
//! `api-design-guide/concepts/endpoints.md`). The real one is at the API's root and has about a hundred entries. This one
//! is at the IAM endpoint and has two.

use serde_json::{Value, json};

use super::granted::Granted;
use crate::refusal::Refusal;
use crate::routes::ENDPOINT_LIST;
use crate::server::{Request, Response};
use crate::state::State;

/// Responds to a request for the list or one of its entries. Returns `None` if the request is neither.
pub(crate) fn respond(state: &State, request: &Request) -> Option<Result<Granted, Refusal>> {
    let id = match request.path.strip_prefix(ENDPOINT_LIST)? {
        "" => None,
        rest => Some(rest.strip_prefix('/')?),
    };
    if request.method != "GET" {
        return Some(Err(Refusal::other(405, "Method not allowed")));
    }
    // Addresses have a port and no scheme.
    let iam = state.cloud().iam_address.clone();
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
