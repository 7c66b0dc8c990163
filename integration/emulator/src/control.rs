//! The control interface, by which another process sets faults and settings and reads the log. Tests in the same process
//! use the methods of `Emulator`.

use serde::Serialize;
use serde_json::Value;

use crate::faults::Fault;
use crate::server::{Request, Response};
use crate::settings::Settings;
use crate::state::State;

/// The prefix of the control interface's paths.
pub(crate) const PREFIX: &str = "/_emulator";

/// A summary of the control interface, printed by `--help` and returned by `GET /_emulator`.
pub const HELP: &str = r#"While it runs, it can be told to misbehave, and asked what it saw:
  GET    /_emulator/log        every request so far: what was shown and answered, and why it was refused
  DELETE /_emulator/log        forget them
  PUT    /_emulator/faults     what is to go wrong: one fault or a list of them, in place of those before
  POST   /_emulator/faults     the same, in addition to those before
  GET    /_emulator/faults     the faults as they stand, with what is left of `times`
  DELETE /_emulator/faults     no more faults; answers that were held are sent
  PUT    /_emulator/settings   change some settings
  GET    /_emulator/settings   all settings
  DELETE /_emulator/settings   back to how it was started

A fault is a JSON object; the first one that covers a request and is not used up is applied. All members are optional:
  "endpoint"          any, iam, tokens, create-for-service-account, revoke, metadata, oauth-token,
                      ephemeral-access-keys, authorize, revoke-refresh, other      (default: any)
  "times", "skip"     for the next so many requests (default: until told otherwise), after so many that pass
  "delay"             "500ms", "10s": answer late;      "hold": true: answer when the faults are taken away
  "status", "message" refuse with this HTTP status and message
  "retry-after"       "3", or any text;                 "retry-after-date": "3s": as an HTTP date
  "html": true        a page for people;                "body": "text" instead of the right answer
  "headers"           {"Location": "https://example.com/"}
  "break"             before-answer, mid-headers, mid-body, reset
  "drip"              {"bytes": 1, "every": "50ms"};    "endless": true: an answer without an end
  "life"              "90s": tokens that live only so long;   "repeat": true: the same token again

Settings: "life", "clock-shift" ("-10m": all of the cloud's clock), "date-shift" (only the Date header), "send-date",
  "iat-tolerance", "audiences" (a list), "repeat" (repeat a token while more than this is left of it, or null),
  "metadata-account" (an account's id, or null for a machine without one), "token-form" (t1, old),
  "login": {"page" (redirect, auto, button), "deny", "refresh-tokens", "one-time" (a refresh token is good once, and the
    answer brings the next), "nonce" (400, 401 or null: demand one in proofs), "tolerance" (of a proof's iat), "client",
    "federation"}; what is left out is as at the start
"#;

/// Responds to a request to the control interface.
pub(crate) fn respond(state: &State, request: &Request) -> Response {
    let what = request.path.strip_prefix(PREFIX).unwrap_or_default();
    let result = match (request.method.as_str(), what) {
        ("GET", "" | "/") => return Response::text(200, HELP),
        ("GET", "/log") => Ok(show(state.cloud().log.entries())),
        ("DELETE", "/log") => {
            state.cloud().log.clear();
            Ok(Response::new(204))
        }
        ("GET", "/faults") => Ok(show(&state.cloud().faults)),
        ("PUT", "/faults") => read_faults(&request.body).map(|faults| {
            state.replace_faults(faults);
            show(&state.cloud().faults)
        }),
        ("POST", "/faults") => read_faults(&request.body).map(|faults| {
            state.cloud().faults.extend(faults);
            show(&state.cloud().faults)
        }),
        ("DELETE", "/faults") => {
            state.replace_faults(Vec::new());
            Ok(Response::new(204))
        }
        ("GET", "/settings") => Ok(show(&state.cloud().settings)),
        ("PUT", "/settings") => {
            let mut cloud = state.cloud();
            merge(&cloud.settings, &request.body).map(|settings| {
                cloud.settings = settings;
                show(&cloud.settings)
            })
        }
        ("DELETE", "/settings") => {
            let mut cloud = state.cloud();
            cloud.settings = cloud.initial_settings.clone();
            Ok(Response::new(204))
        }
        _ => return Response::text(404, HELP),
    };
    result.unwrap_or_else(|error| Response::text(400, format!("{error}\n\n{HELP}")))
}

fn show(value: &(impl Serialize + ?Sized)) -> Response {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    Response::json(200, text)
}

fn read_faults(body: &[u8]) -> serde_json::Result<Vec<Fault>> {
    match serde_json::from_slice(body)? {
        many @ Value::Array(_) => serde_json::from_value(many),
        one => Ok(vec![serde_json::from_value(one)?]),
    }
}

/// Returns the settings with the members of the body replaced.
fn merge(settings: &Settings, body: &[u8]) -> serde_json::Result<Settings> {
    let changes: serde_json::Map<String, Value> = serde_json::from_slice(body)?;
    let mut whole = serde_json::to_value(settings)?;
    if let Value::Object(members) = &mut whole {
        members.extend(changes);
    }
    serde_json::from_value(whole)
}
