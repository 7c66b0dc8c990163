//! Reads `google.rpc.Status`, the form of the errors of the cloud's APIs.

use serde::Deserialize;

use crate::cloud::http::failure::ServerError;

/// A `google.rpc.Status` in JSON.
#[derive(Deserialize)]
struct Status {
    code: Option<i64>,
    message: String,
    /// Of any type, because an unexpected one must not hide the message.
    details: Option<serde_json::Value>,
}

/// Extracts the error and the request id from a response body.
pub fn explain(body: &[u8]) -> Option<ServerError> {
    let Status { code, message, details } = serde_json::from_slice(body).ok()?;
    let name = match code.unwrap_or_default() {
        3 => "INVALID_ARGUMENT",
        5 => "NOT_FOUND",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        16 => "UNAUTHENTICATED",
        _ => "error",
    };
    let details = details.as_ref().and_then(|details| details.as_array());
    let request_id =
        details.into_iter().flatten().find_map(|detail| Some(detail.get("requestId")?.as_str()?.to_owned()));
    // Shortened here, so that the request id and the rest of the message still fit on the line.
    let message: String = message.chars().take(250).collect();
    // Some proxies answer with a JSON object that has only a message.
    let (is_from_cloud, message) = (code.is_some(), format!("{name}: {message}"));
    Some(ServerError { message, request_id, code: None, is_from_cloud, is_from_server: is_from_cloud })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_with_its_request_id() {
        let body = br#"{"code":16,"message":"Token is invalid or has expired.","details":[{"@type":"type.googleapis.com/google.rpc.RequestInfo","requestId":"e38e71c3"}]}"#;
        let explained = explain(body).expect("a status");
        assert_eq!(explained.message, "UNAUTHENTICATED: Token is invalid or has expired.");
        assert_eq!(explained.request_id.as_deref(), Some("e38e71c3"));
        assert!(explained.is_from_cloud);
        assert!(explain(b"<html>").is_none());
        assert!(!explain(br#"{"message":"blocked by policy"}"#).expect("a message").is_from_cloud);
    }
}
