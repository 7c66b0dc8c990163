//! The request log: what each client presented and received. It holds fingerprints of secrets, never the secrets.

use std::time::SystemTime;

use rsa::sha2::{Digest, Sha256};
use serde::Serialize;
use serde_json::Value;

use crate::faults::Fault;
use crate::form;
use crate::jwt::Claims;
use crate::routes::{Endpoint, Listener};
use crate::server::Request;
use crate::times;

/// Returns a short digest of a secret. Equal secrets have equal digests.
pub fn fingerprint(secret: &str) -> String {
    Sha256::digest(secret).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The credential that a client presented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Presented {
    /// Nothing, or nothing that the emulator understands.
    Nothing,
    /// A JWT, with its claims.
    Jwt {
        /// The key's id.
        kid: Option<String>,
        /// The account.
        iss: Option<String>,
        /// The audiences.
        aud: Vec<String>,
        /// When it was issued, in seconds since 1970.
        iat: Option<i64>,
        /// When it expires, in seconds since 1970.
        exp: Option<i64>,
        /// The fingerprint of the JWT.
        fingerprint: String,
    },
    /// An OAuth token.
    Oauth {
        /// The fingerprint of the OAuth token.
        fingerprint: String,
    },
    /// An IAM token in the `Authorization` header.
    Bearer {
        /// The fingerprint of the IAM token.
        fingerprint: String,
        /// The service account that the request is for.
        #[serde(skip_serializing_if = "Option::is_none")]
        service_account_id: Option<String>,
    },
    /// The header `Metadata-Flavor: Google`.
    MetadataFlavor,
    /// Another issuer's token, for token exchange.
    SubjectToken {
        /// The service account that the request is for.
        service_account_id: String,
        /// The issuer.
        iss: Option<String>,
        /// The token's subject.
        sub: Option<String>,
        /// The fingerprint of the token.
        fingerprint: String,
    },
}

impl Presented {
    /// Returns what a request presents, valid or not.
    pub(crate) fn read(listener: Listener, request: &Request) -> Presented {
        if listener == Listener::Metadata {
            return match request.header("metadata-flavor") {
                Some(_) => Presented::MetadataFlavor,
                None => Presented::Nothing,
            };
        }
        if let Some((form, token)) =
            form::read(request).ok().and_then(|form| form.get("subject_token").cloned().map(|token| (form, token)))
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

/// A token that was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Issued {
    /// The token's subject.
    pub subject: String,
    /// When it expires, as the response says.
    #[serde(serialize_with = "write_time")]
    pub expires_at: SystemTime,
    /// The fingerprint of the token.
    pub fingerprint: String,
    /// Whether it was issued before and returned again.
    pub repeated: bool,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// The number of the request, counted from 1. Clearing the log does not reset it.
    pub number: u64,
    /// When it was read, by this machine's clock.
    #[serde(serialize_with = "write_time")]
    pub received: SystemTime,
    /// When the response was ready, by this machine's clock. `None` while it waits.
    #[serde(serialize_with = "write_optional_time")]
    pub answered: Option<SystemTime>,
    /// The connection. Requests with the same number on one listener shared it.
    pub connection: u64,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The method.
    pub method: String,
    /// The path, without a query.
    pub path: String,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// The credential that the client presented.
    pub presented: Presented,
    /// The status of the response. `None` while it waits, and if the connection was broken before it.
    pub status: Option<u16>,
    /// Why the request was rejected.
    pub refused: Option<String>,
    /// The fault that was applied.
    pub fault: Option<Fault>,
    /// The token that was issued.
    pub issued: Option<Issued>,
    /// The id in the response's `x-request-id`.
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

/// The most entries kept. A full log drops its older half.
const MOST: usize = 200_000;

/// The log.
#[derive(Default)]
pub(crate) struct Log {
    entries: Vec<Entry>,
    count: u64,
}

impl Log {
    /// Returns the number of the next request.
    pub(crate) fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, entry: Entry) {
        if self.entries.len() >= MOST {
            self.entries.drain(..MOST / 2);
        }
        self.entries.push(entry);
    }

    /// Completes an entry, unless it has been cleared in the meantime.
    pub(crate) fn finish(&mut self, number: u64, complete: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.number == number) {
            complete(entry);
        }
    }

    /// Returns the number of requests to this path.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.entries.iter().filter(|entry| entry.path == path).count()
    }

    /// Returns all entries, oldest first.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Deletes all entries.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}
