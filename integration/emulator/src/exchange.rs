//! Issuers of subject tokens, for clients that use workload identity federation.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::pkcs1v15;
use rsa::sha2::Sha256;
use rsa::signature::{SignatureEncoding as _, Signer as _};
use rsa::traits::PublicKeyParts as _;
use serde_json::{Value, json};

use crate::keys::{self, RsaKey};
use crate::state::State;
use crate::store::federations::Federation;
use crate::times;

/// The private key of an issuer.
#[derive(Clone)]
enum Key {
    Rs256(Arc<RsaKey>),
    Es256(Box<p256::ecdsa::SigningKey>),
}

/// The algorithm that an issuer signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA, which GitHub, GitLab and Kubernetes use.
    Rs256,
    /// ECDSA with P-256.
    Es256,
}

/// An OIDC provider that a federation trusts. It issues subject tokens.
#[derive(Clone)]
pub struct Issuer {
    /// The issuer's URL, which is a token's `iss`.
    pub url: String,
    /// The audience that the federation accepts.
    pub audience: String,
    /// The federation's id.
    pub federation: String,
    /// The key's id.
    pub kid: String,
    key: Key,
    state: Arc<State>,
}

impl Issuer {
    /// Creates an issuer with a key of its own, for a federation with this id.
    pub(crate) fn new(state: Arc<State>, federation: String, algorithm: Algorithm) -> Issuer {
        Issuer {
            url: format!("https://{federation}.issuer.example"),
            audience: format!("https://{federation}.audience.example"),
            federation,
            kid: keys::new_id(),
            key: match algorithm {
                Algorithm::Rs256 => Key::Rs256(RsaKey::shared()),
                Algorithm::Es256 => Key::Es256(Box::new(p256::ecdsa::SigningKey::random(&mut rand::thread_rng()))),
            },
            state,
        }
    }

    /// Returns the federation that trusts this issuer.
    pub(crate) fn federation(&self) -> Federation {
        let (id, audiences) = (self.federation.clone(), vec![self.audience.clone()]);
        Federation { id, issuer: self.url.clone(), audiences, jwks: self.jwks() }
    }

    /// Returns header and payload of a valid token for this subject, which expires after ten minutes.
    pub fn claims(&self, subject: &str) -> (Value, Value) {
        let now = times::unix(self.state.cloud().now());
        let alg = match self.key {
            Key::Rs256(_) => "RS256",
            Key::Es256(_) => "ES256",
        };
        let header = json!({"alg": alg, "kid": self.kid, "typ": "JWT"});
        // Makes two tokens of the same second differ.
        let jti = keys::new_id();
        let payload = json!({
            "iss": self.url, "sub": subject, "aud": self.audience, "iat": now, "nbf": now, "exp": now + 600, "jti": jti,
        });
        (header, payload)
    }

    /// Signs a header and a payload, valid or not.
    pub fn sign(&self, header: &Value, payload: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(payload));
        let signature = match &self.key {
            Key::Rs256(key) => {
                pkcs1v15::SigningKey::<Sha256>::new(key.private.clone()).sign(signed.as_bytes()).to_vec()
            }
            Key::Es256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(signed.as_bytes());
                signature.to_vec()
            }
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Returns a valid token for this subject.
    pub fn token(&self, subject: &str) -> String {
        let (header, payload) = self.claims(subject);
        self.sign(&header, &payload)
    }

    /// Returns a token with these changes to its claims; null removes a claim.
    pub fn token_with(&self, subject: &str, changes: &Value) -> String {
        let (header, mut payload) = self.claims(subject);
        if let (Value::Object(payload), Value::Object(changes)) = (&mut payload, changes) {
            payload.extend(changes.clone());
            payload.retain(|_, value| !value.is_null());
        }
        self.sign(&header, &payload)
    }

    /// Returns a token for this subject that is valid for this long.
    pub fn token_for(&self, subject: &str, life: Duration) -> String {
        let exp = times::unix(self.state.cloud().now() + life);
        self.token_with(subject, &json!({"exp": exp}))
    }

    /// Returns the same issuer with another key under the same id.
    pub fn impostor(&self) -> Issuer {
        let key = match self.key {
            Key::Rs256(_) => Key::Rs256(RsaKey::another()),
            Key::Es256(_) => Key::Es256(Box::new(p256::ecdsa::SigningKey::random(&mut rand::thread_rng()))),
        };
        Issuer { key, ..self.clone() }
    }

    /// Returns the issuer's public key as its `jwks_url` would (RFC 7517).
    fn jwks(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let key = match &self.key {
            Key::Rs256(key) => {
                let (n, e) = (key.private.n().to_bytes_be(), key.private.e().to_bytes_be());
                json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.kid, "n": encode(&n), "e": encode(&e)})
            }
            Key::Es256(key) => {
                let point = key.verifying_key().to_encoded_point(false);
                let (x, y) = (point.x().expect("a point"), point.y().expect("a point"));
                json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "x": encode(x), "y": encode(y)})
            }
        };
        json!({"keys": [key]})
    }
}
