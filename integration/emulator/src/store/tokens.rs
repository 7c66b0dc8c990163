//! IAM tokens: how they are issued, repeated, revoked and checked.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore;

use crate::faults::Fault;
use crate::log::{Issued, fingerprint};
use crate::settings::{Settings, TokenForm};

/// What the emulator knows about a token.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// The id of the account it was issued to.
    pub(crate) subject: String,
    /// When it expires, by the emulator's clock.
    pub(crate) expires: SystemTime,
    /// Whether it has been revoked.
    revoked: bool,
}

/// All tokens ever issued.
#[derive(Default)]
pub(crate) struct Tokens {
    records: HashMap<String, Record>,
    order: Vec<String>,
    latest: HashMap<String, String>,
}

/// How a token is issued.
pub(crate) struct Terms {
    life: Duration,
    repeat: Option<Duration>,
    form: TokenForm,
}

impl Terms {
    /// Returns the terms of the settings, as far as the fault doesn't change them.
    pub(crate) fn new(settings: &Settings, fault: Option<&Fault>) -> Terms {
        Terms {
            life: fault.and_then(|fault| fault.life).unwrap_or(settings.life),
            repeat: if fault.is_some_and(|fault| fault.repeat) { Some(Duration::ZERO) } else { settings.repeat },
            form: settings.token_form,
        }
    }
}

impl Tokens {
    /// Issues a token, or returns the subject's latest one again.
    pub(crate) fn issue(&mut self, subject: &str, now: SystemTime, terms: &Terms) -> (String, Issued) {
        if let Some(left) = terms.repeat {
            let latest = self.latest.get(subject);
            let known = latest.and_then(|token| self.records.get(token).map(|record| (token, record)));
            if let Some((token, record)) = known.filter(|(_, record)| !record.revoked && record.expires > now + left) {
                let (subject, expires_at) = (subject.to_owned(), record.expires);
                let note = Issued { subject, expires_at, fingerprint: fingerprint(token), repeated: true };
                return (token.clone(), note);
            }
        }
        let token = new_token(terms.form);
        let expires = now + terms.life;
        self.records.insert(token.clone(), Record { subject: subject.to_owned(), expires, revoked: false });
        self.latest.insert(subject.to_owned(), token.clone());
        self.order.push(token.clone());
        let subject = subject.to_owned();
        let note = Issued { subject, expires_at: expires, fingerprint: fingerprint(&token), repeated: false };
        (token, note)
    }

    /// Returns what is known about a token.
    pub(crate) fn get(&self, token: &str) -> Option<&Record> {
        self.records.get(token)
    }

    /// Revokes a token and returns its subject, if there is such a token.
    pub(crate) fn revoke(&mut self, token: &str) -> Option<String> {
        let record = self.records.get_mut(token)?;
        record.revoked = true;
        Some(record.subject.clone())
    }

    /// Returns a valid token's record, or the reason why the token isn't valid.
    pub(crate) fn check(&self, token: &str, now: SystemTime) -> Result<&Record, &'static str> {
        match self.records.get(token) {
            None => Err("the token is unknown"),
            Some(record) if record.revoked => Err("the token has been revoked"),
            Some(record) if record.expires <= now => Err("the token has expired"),
            Some(record) => Ok(record),
        }
    }

    /// Returns every token ever issued, oldest first.
    pub(crate) fn all(&self) -> &[String] {
        &self.order
    }
}

/// Creates a token: `t1.` and parts of 96 and 86 characters, as in the documented sample (docs, iam/concepts/
/// authorization/iam-token.md), or one of the older form.
fn new_token(form: TokenForm) -> String {
    let mut random = [0; 72 + 64];
    rand::thread_rng().fill_bytes(&mut random);
    let (claims, signature) = random.split_at(72);
    match form {
        TokenForm::T1 => format!("t1.{}.{}", URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode(signature)),
        TokenForm::Old => format!("CggVAgAAA{}", URL_SAFE_NO_PAD.encode(random)),
    }
}
