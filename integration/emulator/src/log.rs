//! The request log: who asked for what, and how it went. Never a secret itself, only its fingerprint.

use std::time::SystemTime;

use rsa::sha2::{Digest, Sha256};
use serde::Serialize;
use serde_json::Value;

use super::faults::{Endpoint, Fault};
use super::jwt::Claims;
use super::times;
use super::{Door, auth};
use crate::server::Request;

/// A short digest by which two mentions of one secret are seen to be the same.
pub fn fingerprint(secret: &str) -> String {
    Sha256::digest(secret).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What the caller showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Presented {
    /// Nothing that could be made sense of.
    Nothing,
    /// A JWT, with what it claims.
    Jwt {
        /// The key's id.
        kid: Option<String>,
        /// The account.
        iss: Option<String>,
        /// The audiences.
        aud: Vec<String>,
        /// Signed at, in seconds since 1970.
        iat: Option<i64>,
        /// Good until, in seconds since 1970.
        exp: Option<i64>,
        /// Of the JWT.
        fingerprint: String,
    },
    /// An OAuth token.
    Oauth {
        /// Of the OAuth token.
        fingerprint: String,
    },
    /// An IAM token in the `Authorization` header.
    Bearer {
        /// Of the IAM token.
        fingerprint: String,
        /// The service account that a token is asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        service_account_id: Option<String>,
    },
    /// The header `Metadata-Flavor: Google`.
    MetadataFlavor,
    /// Another issuer's token, to be exchanged.
    SubjectToken {
        /// The service account that a token is asked for.
        service_account_id: String,
        /// The issuer.
        iss: Option<String>,
        /// Whom the token speaks for.
        sub: Option<String>,
        /// Of the token.
        fingerprint: String,
    },
}

impl Presented {
    /// Reads it off a request, good or bad.
    pub fn read(door: Door, request: &Request) -> Presented {
        if door == Door::Metadata {
            return match request.header("metadata-flavor") {
                Some(_) => Presented::MetadataFlavor,
                None => Presented::Nothing,
            };
        }
        if let Some((form, token)) =
            auth::read_form(request).ok().and_then(|form| form.get("subject_token").cloned().map(|token| (form, token)))
        {
            let claims = Claims::peek(&token);
            return Presented::SubjectToken {
                service_account_id: form.get("audience").cloned().unwrap_or_default(),
                iss: claims.iss().map(str::to_owned),
                sub: claims.payload.get("sub").and_then(Value::as_str).map(str::to_owned),
                fingerprint: fingerprint(&token),
            };
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        if let Some(bearer) = request.bearer() {
            let service_account_id = text("serviceAccountId").map(str::to_owned);
            Presented::Bearer { fingerprint: fingerprint(bearer), service_account_id }
        } else if let Some(jwt) = text("jwt") {
            let claims = Claims::peek(jwt);
            Presented::Jwt {
                kid: claims.kid().map(str::to_owned),
                iss: claims.iss().map(str::to_owned),
                aud: claims.aud(),
                iat: claims.time("iat"),
                exp: claims.time("exp"),
                fingerprint: fingerprint(jwt),
            }
        } else if let Some(oauth) = text("yandexPassportOauthToken") {
            Presented::Oauth { fingerprint: fingerprint(oauth) }
        } else {
            Presented::Nothing
        }
    }
}

/// A token that was handed out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Issued {
    /// Whose token.
    pub subject: String,
    /// When it expires, as it was told to the caller.
    #[serde(serialize_with = "write_time")]
    pub expires_at: SystemTime,
    /// Of the token.
    pub fingerprint: String,
    /// Whether it had been handed out before.
    pub repeated: bool,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// Counts from 1, also over a cleared log.
    pub number: u64,
    /// When it had been read, by this machine's clock.
    #[serde(serialize_with = "write_time")]
    pub received: SystemTime,
    /// When its answer began to be sent, by this machine's clock; nothing while it waits.
    #[serde(serialize_with = "write_optional_time")]
    pub answered: Option<SystemTime>,
    /// Which connection; equal numbers on one listener shared it.
    pub connection: u64,
    /// Which endpoint that is.
    pub endpoint: Endpoint,
    /// The method.
    pub method: String,
    /// The path, without a query.
    pub path: String,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// What the caller showed.
    pub presented: Presented,
    /// The status answered; nothing while it waits, or when the connection was broken before it.
    pub status: Option<u16>,
    /// Why it was refused, in words.
    pub refused: Option<String>,
    /// What the emulator had been told to do to it.
    pub fault: Option<Fault>,
    /// The token handed out.
    pub issued: Option<Issued>,
    /// The id in the answer's `x-request-id`.
    pub request_id: String,
}

fn write_time<S: serde::Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&times::rfc3339(*time))
}

fn write_optional_time<S: serde::Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => write_time(time, to),
        None => to.serialize_none(),
    }
}

/// How many entries are kept; beyond it, the older half goes.
const MOST: usize = 200_000;

/// The log.
#[derive(Default)]
pub struct Log {
    entries: Vec<Entry>,
    count: u64,
}

impl Log {
    /// The number that the next request gets.
    pub fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: Entry) {
        if self.entries.len() >= MOST {
            self.entries.drain(..MOST / 2);
        }
        self.entries.push(entry);
    }

    /// Completes an entry, if it has not been cleared meanwhile.
    pub fn finish(&mut self, number: u64, complete: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.number == number) {
            complete(entry);
        }
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Forgets all entries.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}
