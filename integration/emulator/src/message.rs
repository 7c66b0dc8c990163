//! Request messages of the cloud's REST API: JSON objects, checked by the rules of their proto files.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::refusal::Refusal;
use crate::server::Request;

/// Reads a JSON object of strings. `known` lists the allowed names with their maximum lengths.
pub(crate) fn fields(request: &Request, known: &[(&str, usize)]) -> Result<HashMap<String, String>, Refusal> {
    let content_type = request.header("content-type").unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::invalid(format!("Content-Type is `{essence}`, not application/json")));
    }
    let object: Map<String, Value> = serde_json::from_slice(&request.body)
        .map_err(|error| Refusal::invalid(format!("Request body is not a JSON object: {error}")))?;
    let mut fields = HashMap::new();
    for (name, value) in object {
        let Some((_, limit)) = known.iter().find(|(known, _)| *known == name) else {
            return Err(Refusal::invalid(format!("Request body: unknown field `{name}`")));
        };
        match value {
            Value::String(text) if text.chars().count() > *limit => {
                return Err(violation(&name, &format!("must be at most {limit} characters long")));
            }
            Value::String(text) => _ = fields.insert(name, text),
            // In proto3's JSON, null means that the field was not sent.
            Value::Null => {}
            _ => return Err(Refusal::invalid(format!("Request body: `{name}` is not a string"))),
        }
    }
    Ok(fields)
}

/// Returns a required, non-empty field (`(required) = true` in the proto file).
pub(crate) fn required<'a>(fields: &'a HashMap<String, String>, name: &str) -> Result<&'a str, Refusal> {
    match fields.get(name) {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(violation(name, "is required")),
    }
}

/// Returns the error for a field that breaks a rule of the proto file.
pub(crate) fn violation(field: &str, rule: &str) -> Refusal {
    Refusal::invalid(format!("Validation failed:\n  - {field}: {rule}"))
}
