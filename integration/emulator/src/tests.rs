//! Tests of the emulator over real connections: each rule of the documentation, broken one at a time.

mod access_keys;
mod control;
mod exchange;
mod login;
mod metadata;
mod tokens;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::pss;
use rsa::sha2::Sha256;
use rsa::signature::{RandomizedSigner, SignatureEncoding};
use serde_json::{Value, json};

use crate::keys::{AuthorizedKey, RsaKey};
use crate::{Emulator, TOKENS, times};

/// A response as a client sees it.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    }

    /// Returns the token of a granted request.
    fn token(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.body);
        self.json()["iamToken"].as_str().expect("a token").to_owned()
    }
}

/// Sends a request. Returns `None` if the connection broke before a status line.
pub fn send(to: SocketAddr, head: &str, body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(to).expect("the emulator listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    let length = body.len();
    write!(stream, "{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").expect("a request sent");
    let mut text = Vec::new();
    // A connection that breaks on purpose may end in an error. What came before it counts.
    let _ = stream.read_to_end(&mut text);
    let text = String::from_utf8(text).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// Sends a POST of JSON to the IAM endpoint, with or without a bearer token.
pub fn post(emulator: &Emulator, path: &str, bearer: Option<&str>, body: &str) -> Answer {
    let authorization = bearer.map(|bearer| format!("\r\nAuthorization: Bearer {bearer}")).unwrap_or_default();
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json{authorization}");
    send(emulator.address(), &head, body).expect("a response")
}

/// Requests an IAM token for a JWT.
fn exchange(emulator: &Emulator, jwt: &str) -> Answer {
    post(emulator, TOKENS, None, &json!({"jwt": jwt}).to_string())
}

/// Returns header and payload of a valid JWT.
fn claims(emulator: &Emulator, key: &AuthorizedKey) -> (Value, Value) {
    let now = times::unix(emulator.now());
    let header = json!({"typ": "JWT", "alg": "PS256", "kid": key.id});
    let aud = format!("{}{TOKENS}", emulator.url());
    (header, json!({"iss": key.service_account_id, "aud": aud, "iat": now, "exp": now + 600}))
}

/// Returns the part of a JWT that is signed.
fn encode(header: &Value, payload: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string()))
}

/// Signs with RSASSA-PSS and a salt of this length.
fn sign(header: &Value, payload: &Value, key: &RsaKey, salt: usize) -> String {
    let signed = encode(header, payload);
    let signer = pss::SigningKey::<Sha256>::new_with_salt_len(key.private.clone(), salt);
    let signature = signer.sign_with_rng(&mut rand::thread_rng(), signed.as_bytes()).to_vec();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Returns a valid JWT.
fn good_jwt(emulator: &Emulator, key: &AuthorizedKey) -> String {
    let (header, payload) = claims(emulator, key);
    sign(&header, &payload, &key.rsa, 32)
}
