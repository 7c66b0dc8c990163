//! The outcome of a request that a service grants.

use serde_json::{Value, json};

use crate::log::Issued;
use crate::server::Response;
use crate::state::State;

/// The response to a granted request, and the token in it.
pub(crate) type Granted = (Response, Option<Issued>);

/// Returns the auth host's response with an access token and further members (RFC 6749, 5.1).
pub(crate) fn oauth(state: &State, token: &str, issued: Issued, more: &[(&str, Value)]) -> Granted {
    let left = issued.expires_at.duration_since(state.cloud().now()).unwrap_or_default().as_secs();
    let mut body = json!({"access_token": token, "token_type": "Bearer", "expires_in": left});
    for (name, value) in more {
        body[*name] = value.clone();
    }
    (Response::json(200, body.to_string()), Some(issued))
}
