//! Error responses in the form of the cloud: google.rpc.Status in JSON (docs, _includes/errors-handling.md), or OAuth's.

use serde_json::json;

use crate::server::Response;

/// A rejected request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The message. The cloud's own messages for rejected JWTs are not documented, so most of these are the emulator's.
    pub message: String,
    /// A more precise reason, for the log only.
    pub reason: Option<String>,
    /// The error code of the auth host (RFC 6749, 5.2). `message` is its description.
    pub error: Option<&'static str>,
    /// Further headers of the response.
    pub headers: Vec<(&'static str, String)>,
}

impl Refusal {
    /// Creates an INVALID_ARGUMENT: the request is malformed.
    pub(crate) fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::other(400, message)
    }

    /// Creates an UNAUTHENTICATED: the credential is not valid.
    pub(crate) fn unauthenticated(message: impl Into<String>) -> Refusal {
        Refusal::other(401, message)
    }

    /// Creates a PERMISSION_DENIED: the caller lacks a role.
    pub(crate) fn denied(message: impl Into<String>) -> Refusal {
        Refusal::other(403, message)
    }

    /// Creates a refusal with any status.
    pub(crate) fn other(status: u16, message: impl Into<String>) -> Refusal {
        Refusal { status, message: message.into(), reason: None, error: None, headers: Vec::new() }
    }

    /// Creates a refusal of the auth host.
    pub(crate) fn oauth(status: u16, error: &'static str, description: impl Into<String>) -> Refusal {
        Refusal { error: Some(error), ..Refusal::other(status, description) }
    }

    /// Adds a header.
    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Refusal {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds a reason for the log.
    #[must_use]
    pub(crate) fn because(mut self, reason: impl Into<String>) -> Refusal {
        self.reason = Some(reason.into());
        self
    }

    /// Returns the gRPC code of the HTTP status by the table in errors-handling.md, or UNKNOWN.
    pub(crate) fn code(&self) -> u8 {
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

    /// Returns the response of the IAM endpoint.
    pub(crate) fn response(&self, request_id: &str) -> Response {
        let info = json!({"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": request_id});
        let body = json!({"code": self.code(), "message": self.message, "details": [info]});
        Response::json(self.status, body.to_string())
    }

    /// Returns the response of the auth host (RFC 6749, 5.2).
    pub(crate) fn oauth_response(&self) -> Response {
        let body = json!({"error": self.error.unwrap_or("invalid_request"), "error_description": self.message});
        let response = Response::json(self.status, body.to_string());
        self.headers.iter().fold(response, |response, (name, value)| response.header(name, value))
    }
}
