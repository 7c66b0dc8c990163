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
pub const HELP: &str = r#"Control interface, on the port of the IAM endpoint:
  GET    /_emulator            print this summary
  GET    /_emulator/log        list all requests with credentials (as fingerprints), responses and reasons for rejection
  DELETE /_emulator/log        clear the log
  PUT    /_emulator/faults     replace all faults with one fault or a list
  POST   /_emulator/faults     add one fault or a list
  GET    /_emulator/faults     list the faults with their remaining `times`
  DELETE /_emulator/faults     remove all faults and send the responses that were held
  PUT    /_emulator/settings   change some settings
  GET    /_emulator/settings   list all settings
  DELETE /_emulator/settings   restore the initial settings

A fault is a JSON object. The first fault that covers a request and isn't used up applies to it. Optional members:
  "endpoint"           any, iam, tokens, create-for-service-account, revoke, metadata, oauth-token, authorize,
                       revoke-refresh, ephemeral-access-keys, other [default: any]
  "times", "skip"      apply to this many requests [default: all], after leaving this many alone [default: 0]
  "delay"              process late: "500ms", "10s"
  "late"               process at once, respond late: "500ms", "10s"
  "hold": true         respond when the faults are removed, or after a minute
  "status", "message"  respond with this HTTP status and message
  "retry-after"        add Retry-After with this value: "3", or anything else
  "retry-after-date"   add Retry-After as an HTTP date this far ahead: "3s"
  "html": true         respond with an HTML page
  "body"               respond with this string, labelled as JSON
  "headers"            add headers: {"Location": "https://example.com/"}
  "break"              break the connection: before-answer, mid-headers, mid-body, reset
  "drip"               send the response in pieces: {"bytes": 1, "every": "50ms"}
  "endless": true      send the body over and over
  "life"               issue tokens that are valid for this long: "90s"
  "repeat": true       return the subject's latest token again

Settings:
  "life"               how long tokens are valid: "12h"
  "clock-shift"        how far the cloud's clock is ahead: "-10m"
  "date-shift"         how far the Date header is ahead of that clock
  "send-date"          whether to send Date
  "iat-tolerance"      how far in the future a JWT's iat may be
  "audiences"          a list of further audiences to accept
  "repeat"             return a token again while it is valid for longer than this, or null
  "metadata-account"   the id of the virtual machine's service account, or null
  "token-form"         t1, or old for the form before it
  "login"              an object; omitted members get their defaults:
    "page"             redirect, auto, button
    "deny"             whether the person refuses to log in
    "refresh-tokens"   whether to issue refresh tokens
    "one-time"         whether a refresh token is valid once and each response carries the next one
    "nonce"            require a nonce in proofs and ask for it with this status: 400, 401 or null
    "tolerance"        how far a proof's iat may be off
    "client"           the id of the OAuth client
    "federation"       the only federation id that yc_federation_hint may name, or null
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
