//! A cloud that quotes every secret it receives in its responses.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::emulator::access_keys::EPHEMERAL_ACCESS_KEYS;
use crate::emulator::{METADATA, auth};
use crate::server::{Delivery, Request, Response, Server, Stage};
use crate::sources::random_secret;
use crate::sources::workload::GITHUB;

/// How the cloud responds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// Issues a token.
    Good,
    /// Refuses with a google.rpc.Status that quotes the request.
    QuotesInStatus,
    /// Refuses with plain text that quotes the request.
    QuotesInText,
    /// Refuses and quotes the request in every header that ycred reads.
    QuotesInHeaders,
    /// Redirects to a URL that contains the request.
    Redirects,
    /// Responds with 200, and with the request in place of the JSON and in the content type.
    Garbles,
    /// Issues an invalid token that contains a valid one.
    GivesBadToken,
    /// Closes the connection in the middle of the body.
    BreaksOff,
    /// Refuses temporarily and quotes the request.
    IsBusy,
}

pub const BEHAVIORS: [Behavior; 9] = [
    Behavior::Good,
    Behavior::QuotesInStatus,
    Behavior::QuotesInText,
    Behavior::QuotesInHeaders,
    Behavior::Redirects,
    Behavior::Garbles,
    Behavior::GivesBadToken,
    Behavior::BreaksOff,
    Behavior::IsBusy,
];

/// A cloud that quotes every secret it receives, and records it.
pub struct EchoingCloud {
    pub server: Server,
    pub traffic: Arc<Mutex<Traffic>>,
}

/// The secrets that the cloud has received, with their names, and those that it has issued.
#[derive(Default)]
pub struct Traffic {
    pub behavior: Option<Behavior>,
    /// JWTs, OAuth tokens, subject tokens and bearer tokens received since the last call of [`EchoingCloud::behave`].
    pub received: Vec<(String, String)>,
    /// Tokens and keys issued since then.
    pub issued: Vec<String>,
    /// Everything received before that call.
    pub all_received: Vec<(String, String)>,
    /// Everything issued before that call.
    pub all_issued: Vec<String>,
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EchoingCloud {
    pub fn start() -> EchoingCloud {
        let traffic = Arc::new(Mutex::new(Traffic::default()));
        let server = Server::start(None, {
            let traffic = Arc::clone(&traffic);
            move |request| lock(&traffic).respond(request)
        });
        EchoingCloud { server, traffic }
    }

    /// Sets the behavior, and moves the traffic so far to `all_received` and `all_issued`.
    pub fn behave(&self, behavior: Behavior) {
        let mut traffic = lock(&self.traffic);
        let Traffic { received, issued, all_received, all_issued, .. } = &mut *traffic;
        all_received.append(received);
        all_issued.append(issued);
        traffic.behavior = Some(behavior);
    }
}

impl Traffic {
    fn respond(&mut self, request: &Request) -> Response {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let mut quoted = request.text();
        for name in ["jwt", "yandexPassportOauthToken"] {
            if let Some(secret) = body.get(name).and_then(Value::as_str) {
                self.received.push((name.to_owned(), secret.to_owned()));
                quoted += &format!(" {secret}");
            }
        }
        if let Some(token) = auth::read_form(request).ok().and_then(|mut form| form.remove("subject_token")) {
            quoted += &format!(" {token}");
            self.received.push(("subject token".to_owned(), token));
        }
        if let Some(bearer) = request.bearer() {
            self.received.push(("bearer".to_owned(), bearer.to_owned()));
            quoted += &format!(" Bearer {bearer}");
        }
        let flat: String = quoted.chars().filter(|c| c.is_ascii_graphic()).collect();
        let token = random_secret(120);
        self.issued.push(token.clone());
        let good = match request.path.as_str() {
            METADATA | auth::TOKEN => json!({"access_token": token, "expires_in": 40_000, "token_type": "Bearer"}),
            GITHUB => json!({"value": token}),
            EPHEMERAL_ACCESS_KEYS => {
                let (id, secret) = (random_secret(20), random_secret(43));
                self.issued.extend([id.clone(), secret.clone()]);
                let expires = "2099-01-01T00:00:00Z";
                json!({"accessKeyId": id, "secret": secret, "sessionToken": token, "expiresAt": expires})
            }
            _ => json!({"iamToken": token, "expiresAt": "2099-01-01T00:00:00Z"}),
        };
        let status = |code: u16, message: &str| {
            let details = json!([{"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": flat}]);
            Response::json(code, json!({"code": 16, "message": message, "details": details}).to_string())
        };
        match self.behavior.unwrap_or(Behavior::Good) {
            Behavior::Good => Response::json(200, good.to_string()),
            Behavior::QuotesInStatus => status(401, &format!("who showed {quoted}?")),
            // Only the end of the request: a client that prints plain text from a server may print only short texts.
            Behavior::QuotesInText => {
                let end =
                    |text: &str| text.chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect::<String>();
                Response::text(403, format!("no: {}", end(&flat)))
            }
            Behavior::QuotesInHeaders => Response::text(403, "")
                .header("x-request-id", flat.as_str())
                .header("x-server-trace-id", flat.as_str())
                .header("Retry-After", flat.as_str())
                .header("Date", flat.as_str()),
            Behavior::Redirects => {
                Response::new(302).header("Location", format!("https://evil.example/{flat}/?{flat}"))
            }
            Behavior::Garbles => Response::typed(200, &format!("text/x-{flat}"), format!("{quoted} {token}")),
            Behavior::GivesBadToken => {
                Response::json(200, good.to_string().replace(&token, &format!("{token} \\\" {token}")))
            }
            Behavior::BreaksOff => Response::json(200, good.to_string()).delivered(Delivery::Break(Stage::MidBody)),
            Behavior::IsBusy => status(503, &format!("not now, {quoted}")).header("Retry-After", "50"),
        }
    }
}
