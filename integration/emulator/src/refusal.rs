//! Errors as the cloud writes them: google.rpc.Status in JSON (docs, _includes/errors-handling.md).

use serde_json::json;

use crate::server::Response;

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Why, in words. The cloud's own words for refused JWTs are not documented, so most of these are the emulator's.
    pub message: String,
    /// More than the caller is told, for the log.
    pub reason: Option<String>,
    /// The auth host's word for it (RFC 6749, 5.2); the message is its description.
    pub error: Option<&'static str>,
    /// Further headers of the answer.
    pub headers: Vec<(&'static str, String)>,
}

impl Refusal {
    /// The request is wrong in form: INVALID_ARGUMENT.
    pub fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::other(400, message)
    }

    /// The credential is not good: UNAUTHENTICATED.
    pub fn unauthenticated(message: impl Into<String>) -> Refusal {
        Refusal::other(401, message)
    }

    /// The caller is known and may not: PERMISSION_DENIED.
    pub fn denied(message: impl Into<String>) -> Refusal {
        Refusal::other(403, message)
    }

    /// Any other status.
    pub fn other(status: u16, message: impl Into<String>) -> Refusal {
        Refusal { status, message: message.into(), reason: None, error: None, headers: Vec::new() }
    }

    /// A refusal of the auth host.
    pub fn oauth(status: u16, error: &'static str, description: impl Into<String>) -> Refusal {
        Refusal { error: Some(error), ..Refusal::other(status, description) }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Refusal {
        self.headers.push((name, value.into()));
        self
    }

    /// With a reason that only the log tells.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Refusal {
        self.reason = Some(reason.into());
        self
    }

    /// The gRPC code that belongs to the HTTP status, by the table of errors-handling.md; UNKNOWN for what is not in
    /// it.
    pub fn code(&self) -> u8 {
        match self.status {
            400 => 3,
            404 => 5,
            403 => 7,
            429 => 8,
            405 | 501 => 12,
            500 => 13,
            503 => 14,
            401 => 16,
            _ => 2,
        }
    }

    /// The answer.
    pub fn response(&self, request_id: &str) -> Response {
        let info = json!({"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": request_id});
        let body = json!({"code": self.code(), "message": self.message, "details": [info]});
        Response::json(self.status, body.to_string())
    }

    /// The answer of the auth host (RFC 6749, 5.2).
    pub fn oauth_response(&self) -> Response {
        let body = json!({"error": self.error.unwrap_or("invalid_request"), "error_description": self.message});
        let response = Response::json(self.status, body.to_string());
        self.headers.iter().fold(response, |response, (name, value)| response.header(name, value))
    }
}
