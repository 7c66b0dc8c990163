//! `google.rpc.Status`: how the cloud's APIs say what went wrong.

use serde::Deserialize;

use crate::cloud::http::failure::ServerError;

/// `google.rpc.Status` as the API's JSON has it.
#[derive(Deserialize)]
struct Status {
    code: Option<i64>,
    message: String,
    /// Read leniently: the message counts, in whatever company it comes.
    details: Option<serde_json::Value>,
}

/// The API's error in its own words, with the id that support asks for.
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
    // Capped here, so that a talkative server does not push the request id, and what else we say, off the line.
    let message: String = message.chars().take(250).collect();
    Some(ServerError { message: format!("{name}: {message}"), request_id, code: None })
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
        assert!(explain(b"<html>").is_none());
    }
}
