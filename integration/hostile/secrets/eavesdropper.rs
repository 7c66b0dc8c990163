//! A cloud that repeats what it hears, in every answer that a server can give.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::emulator::access_keys::EPHEMERAL_ACCESS_KEYS;
use crate::emulator::{METADATA, auth};
use crate::server::{Delivery, Request, Response, Server, Stage};
use crate::sources::shapeless;
use crate::sources::workload::GITHUB;

/// What the cloud does with what it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOptions {
    /// Gives a token.
    Good,
    /// Refuses with google.rpc.Status, quoting the request.
    QuotesInStatus,
    /// Refuses with plain text, quoting the request.
    QuotesInText,
    /// Quotes it in every header that is read.
    QuotesInHeaders,
    /// Redirects to an address with the request in it.
    Redirects,
    /// Answers 200 with the request in place of a token, and in the content type.
    Garbles,
    /// Gives a token that is none, with the real one in it.
    GivesBadToken,
    /// Breaks off in the middle of the token.
    BreaksOff,
    /// Refuses for the moment, quoting the request.
    IsBusy,
}

pub const MANNERS: [LoginOptions; 9] = [
    LoginOptions::Good,
    LoginOptions::QuotesInStatus,
    LoginOptions::QuotesInText,
    LoginOptions::QuotesInHeaders,
    LoginOptions::Redirects,
    LoginOptions::Garbles,
    LoginOptions::GivesBadToken,
    LoginOptions::BreaksOff,
    LoginOptions::IsBusy,
];

/// A cloud that repeats what it hears, and remembers it.
pub struct Eavesdropper {
    pub server: Server,
    pub shared: Arc<Mutex<Heard>>,
}

#[derive(Default)]
pub struct Heard {
    pub manner: Option<LoginOptions>,
    /// What it was shown since it was last told how to behave: JWTs, OAuth tokens, bearers.
    pub shown: Vec<(String, String)>,
    /// What it gave since then.
    pub given: Vec<String>,
    /// The same of all time.
    pub all_shown: Vec<(String, String)>,
    pub all_given: Vec<String>,
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Eavesdropper {
    pub fn start() -> Eavesdropper {
        let shared = Arc::new(Mutex::new(Heard::default()));
        let server = Server::start(None, {
            let shared = Arc::clone(&shared);
            move |request| lock(&shared).answer(request)
        });
        Eavesdropper { server, shared }
    }

    pub fn behave(&self, manner: LoginOptions) {
        let mut heard = lock(&self.shared);
        let Heard { shown, given, all_shown, all_given, .. } = &mut *heard;
        all_shown.append(shown);
        all_given.append(given);
        heard.manner = Some(manner);
    }
}

impl Heard {
    pub fn answer(&mut self, request: &Request) -> Response {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let mut quoted = request.text();
        for name in ["jwt", "yandexPassportOauthToken"] {
            if let Some(text) = body.get(name).and_then(Value::as_str) {
                self.shown.push((name.to_owned(), text.to_owned()));
                quoted += &format!(" {text}");
            }
        }
        if let Some(token) = auth::read_form(request).ok().and_then(|mut form| form.remove("subject_token")) {
            quoted += &format!(" {token}");
            self.shown.push(("subject token".to_owned(), token));
        }
        if let Some(bearer) = request.bearer() {
            self.shown.push(("bearer".to_owned(), bearer.to_owned()));
            quoted += &format!(" Bearer {bearer}");
        }
        let flat: String = quoted.chars().filter(|c| c.is_ascii_graphic()).collect();
        let token = shapeless(120);
        self.given.push(token.clone());
        let good = match request.path.as_str() {
            METADATA | auth::TOKEN => json!({"access_token": token, "expires_in": 40_000, "token_type": "Bearer"}),
            GITHUB => json!({"value": token}),
            EPHEMERAL_ACCESS_KEYS => {
                let (id, secret) = (shapeless(20), shapeless(43));
                self.given.extend([id.clone(), secret.clone()]);
                let expires = "2099-01-01T00:00:00Z";
                json!({"accessKeyId": id, "secret": secret, "sessionToken": token, "expiresAt": expires})
            }
            _ => json!({"iamToken": token, "expiresAt": "2099-01-01T00:00:00Z"}),
        };
        let status = |code: u16, message: &str| {
            let details = json!([{"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": flat}]);
            Response::json(code, json!({"code": 16, "message": message, "details": details}).to_string())
        };
        match self.manner.unwrap_or(LoginOptions::Good) {
            LoginOptions::Good => Response::json(200, good.to_string()),
            LoginOptions::QuotesInStatus => status(401, &format!("who showed {quoted}?")),
            // Short, as whoever shows plain text at all shows no long one; and in pieces.
            LoginOptions::QuotesInText => {
                let end =
                    |text: &str| text.chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect::<String>();
                Response::text(403, format!("no: {}", end(&flat)))
            }
            LoginOptions::QuotesInHeaders => Response::text(403, "")
                .header("x-request-id", flat.as_str())
                .header("x-server-trace-id", flat.as_str())
                .header("Retry-After", flat.as_str())
                .header("Date", flat.as_str()),
            LoginOptions::Redirects => {
                Response::new(302).header("Location", format!("https://evil.example/{flat}/?{flat}"))
            }
            LoginOptions::Garbles => Response::typed(200, &format!("text/x-{flat}"), format!("{quoted} {token}")),
            LoginOptions::GivesBadToken => {
                Response::json(200, good.to_string().replace(&token, &format!("{token} \\\" {token}")))
            }
            LoginOptions::BreaksOff => Response::json(200, good.to_string()).delivered(Delivery::Break(Stage::MidBody)),
            LoginOptions::IsBusy => status(503, &format!("not now, {quoted}")).header("Retry-After", "50"),
        }
    }
}
