//! Logins of people: authorization codes, refresh tokens and used proofs.

use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore as _;

/// The subject of the tokens that people get.
pub const PERSON: &str = "ajeperson00000000000";

/// An authorization code.
pub(crate) struct Code {
    pub(crate) redirect: String,
    pub(crate) challenge: String,
    pub(crate) thumbprint: String,
    pub(crate) expires: SystemTime,
    pub(crate) used: bool,
    /// Whether `offline_access` was requested.
    pub(crate) offline: bool,
}

/// A refresh token.
#[derive(Clone)]
pub(crate) struct Refresh {
    pub(crate) thumbprint: String,
    pub(crate) expires: SystemTime,
    /// Whether it was revoked, or used although it was valid for one use.
    pub(crate) over: bool,
}

/// Every login so far.
#[derive(Default)]
pub struct Logins {
    pub(crate) codes: HashMap<String, Code>,
    pub(crate) refresh: HashMap<String, Refresh>,
    /// The ids of all proofs used.
    pub(crate) proofs: BTreeSet<String>,
    /// The nonce that proofs must name.
    pub(crate) nonce: String,
    secrets: Vec<String>,
    /// How often a code or a one-time refresh token was used again.
    pub reused: usize,
    /// How often the login page was opened.
    pub asked: usize,
}

impl Logins {
    /// Returns all codes and refresh tokens, oldest first: the secrets that must not leak.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// Ends every login, as an administrator would.
    pub fn end_all(&mut self) {
        self.refresh.values_mut().for_each(|refresh| refresh.over = true);
    }

    /// Returns the number of valid refresh tokens.
    pub fn valid_refresh_tokens(&self) -> usize {
        self.refresh.values().filter(|refresh| !refresh.over).count()
    }

    /// Creates a code or a refresh token.
    pub(crate) fn new_secret(&mut self) -> String {
        let secret = random();
        self.secrets.push(secret.clone());
        secret
    }
}

/// Returns 256 random bits.
pub(crate) fn random() -> String {
    let mut bytes = [0; 32];
    rand::thread_rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}
