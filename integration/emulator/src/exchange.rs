//! Workload identity federation: tokens of other issuers for a service account's, by token exchange (RFC 8693; docs,
//! iam/operations/wlif/setup-wlif.md; cloudapi, iam/v1/workload). A federation knows an issuer, its keys and the
//! audiences that its tokens may name; a federated credential ties it, a service account and one subject together.
//!
//! The cloud's own words and error codes for refused tokens are not documented: RFC 8693, 2.2.2, asks for
//! `invalid_request` whatever is wrong with a subject token, and that is what this says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::sha2::Sha256;
use rsa::signature::{SignatureEncoding as _, Signer as _, Verifier as _};
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, RsaPublicKey, pkcs1v15};
use serde_json::{Value, json};

use super::auth::{self, Form};
use super::faults::Fault;
use super::jwt::Claims;
use super::keys::{self, RsaKey};
use super::refusal::Refusal;
use super::tokens::Granted;
use super::{Emulator, State, times};
use crate::server::Request;

/// The grant type.
pub const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The parameters that are "always" these values.
const ALWAYS: &[(&str, &str)] = &[
    ("grant_type", GRANT),
    ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
];

/// A workload identity federation.
#[derive(Debug, Clone)]
struct Federation {
    id: String,
    issuer: String,
    audiences: Vec<String>,
    /// The issuer's keys (RFC 7517), as its `jwks_url` gives them.
    jwks: Value,
}

/// All federations and federated credentials.
#[derive(Debug, Default)]
pub struct Federations {
    federations: Vec<Federation>,
    /// Federation, service account, external subject.
    credentials: BTreeSet<(String, String, String)>,
}

/// Judges a token exchange.
pub fn exchange(state: &State, _: &Request, form: &Form, fault: Option<&Fault>) -> Result<Granted, Refusal> {
    for (name, value) in ALWAYS {
        if auth::field(form, name)? != *value {
            return Err(invalid(format!("{name} must be {value}")));
        }
    }
    let (account, token) = (auth::field(form, "audience")?, auth::field(form, "subject_token")?);
    if let Some(name) = form.keys().find(|name| {
        !["audience", "subject_token"].contains(&name.as_str()) && ALWAYS.iter().all(|(known, _)| known != name)
    }) {
        return Err(invalid(format!("{name} is not a parameter of this grant")));
    }
    let (now, tolerance) = {
        let world = state.world();
        (times::unix(world.now()), world.settings.iat_tolerance)
    };
    let tolerance = i64::try_from(tolerance.as_secs()).unwrap_or(i64::MAX);
    let (federation, subject) = judge(&state.world().federations, token, now, tolerance).map_err(invalid)?;
    let mut world = state.world();
    if !world.federations.credentials.contains(&(federation.clone(), account.to_owned(), subject.clone())) {
        let reason = format!("{account} has no federated credential of federation {federation} for {subject}");
        return Err(invalid("no federated credential matches the subject token").because(reason));
    }
    let (token, issued) = world.issue(account, fault);
    drop(world);
    Ok(auth::granted(state, &token, issued, &[]))
}

fn invalid(description: impl Into<String>) -> Refusal {
    Refusal::oauth(400, "invalid_request", description)
}

/// The federation and the subject that a token speaks for, or why it does not.
fn judge(known: &Federations, token: &str, now: i64, tolerance: i64) -> Result<(String, String), String> {
    let parts: Vec<&str> = token.split('.').collect();
    let &[header, payload, signature] = parts.as_slice() else {
        return Err("subject token: a JWT has three parts".to_owned());
    };
    let claims = Claims::peek(token);
    if !claims.header.is_object() || !claims.payload.is_object() {
        return Err("subject token: is no JWT".to_owned());
    }
    if claims.header.get("crit").is_some() {
        return Err("subject token: crit names extensions that are not supported".to_owned());
    }
    let iss = claims.iss().ok_or("subject token: iss is missing")?;
    let of_issuer: Vec<&Federation> = known.federations.iter().filter(|federation| federation.issuer == iss).collect();
    if of_issuer.is_empty() {
        return Err(format!("subject token: there is no federation with issuer {iss}"));
    }
    let aud = claims.aud();
    // One of them is enough (RFC 7519, 4.1.3).
    let federation = of_issuer
        .iter()
        .find(|federation| aud.iter().any(|aud| federation.audiences.contains(aud)))
        .ok_or_else(|| format!("subject token: aud is {aud:?}, which the federation does not have"))?;
    let kid = claims.kid().ok_or("subject token: kid is missing")?;
    let keys = federation.jwks["keys"].as_array().map_or(&[][..], Vec::as_slice);
    let key = keys.iter().find(|key| key["kid"] == kid).ok_or_else(|| format!("subject token: no key {kid}"))?;
    let signed = &token[..header.len() + 1 + payload.len()];
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "subject token: is not base64url".to_owned())?;
    let alg = claims.header.get("alg").and_then(Value::as_str).unwrap_or_default();
    if !verify(alg, key, signed.as_bytes(), &signature)? {
        return Err(format!("subject token: the signature is not by key {kid}"));
    }
    let exp = claims.time("exp").ok_or("subject token: exp is missing")?;
    if exp <= now {
        return Err("subject token: is expired".to_owned());
    }
    for name in ["iat", "nbf"] {
        if claims.time(name).is_some_and(|time| time.saturating_sub(now) > tolerance) {
            return Err(format!("subject token: {name} is in the future"));
        }
    }
    let sub = claims.payload.get("sub").and_then(Value::as_str).ok_or("subject token: sub is missing")?;
    Ok((federation.id.clone(), sub.to_owned()))
}

/// Verifies with the algorithm that the key is for, never the one that the token alone asks for.
fn verify(alg: &str, key: &Value, signed: &[u8], signature: &[u8]) -> Result<bool, String> {
    let part = |name: &str| {
        let text = key[name].as_str().unwrap_or_default();
        URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("the issuer's key: {name} is malformed"))
    };
    match (alg, key["kty"].as_str()) {
        ("RS256", Some("RSA")) => {
            let (n, e) = (BigUint::from_bytes_be(&part("n")?), BigUint::from_bytes_be(&part("e")?));
            let public = RsaPublicKey::new(n, e).map_err(|_| "the issuer's key is no RSA key".to_owned())?;
            let signature = pkcs1v15::Signature::try_from(signature);
            let verifier = pkcs1v15::VerifyingKey::<Sha256>::new(public);
            Ok(signature.is_ok_and(|signature| verifier.verify(signed, &signature).is_ok()))
        }
        ("ES256", Some("EC")) => {
            let point = [vec![4], part("x")?, part("y")?].concat();
            let verifier = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point)
                .map_err(|_| "the issuer's key is no P-256 key".to_owned())?;
            let signature = p256::ecdsa::Signature::from_slice(signature);
            Ok(signature.is_ok_and(|signature| verifier.verify(signed, &signature).is_ok()))
        }
        _ => Err(format!("subject token: alg {alg} is not the key's")),
    }
}

/// What an issuer signs with.
#[derive(Clone)]
enum Key {
    Rs256(Arc<RsaKey>),
    Es256(Box<p256::ecdsa::SigningKey>),
}

/// The algorithms of issuers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// As GitHub, GitLab and Kubernetes sign.
    Rs256,
    /// As others do.
    Es256,
}

/// An OIDC provider that a federation trusts: it mints subject tokens.
#[derive(Clone)]
pub struct Issuer {
    /// Its URL, a token's `iss`.
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
    /// Header and payload of a sound token for this subject: ten minutes of life, by the emulator's clock.
    pub fn claims(&self, subject: &str) -> (Value, Value) {
        let now = times::unix(self.state.world().now());
        let alg = match self.key {
            Key::Rs256(_) => "RS256",
            Key::Es256(_) => "ES256",
        };
        let header = json!({"alg": alg, "kid": self.kid, "typ": "JWT"});
        // What makes two tokens of one second two tokens.
        let jti = keys::new_id();
        let payload = json!({
            "iss": self.url, "sub": subject, "aud": self.audience, "iat": now, "nbf": now, "exp": now + 600, "jti": jti,
        });
        (header, payload)
    }

    /// Signs, whatever it says.
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

    /// A sound token for this subject.
    pub fn token(&self, subject: &str) -> String {
        let (header, payload) = self.claims(subject);
        self.sign(&header, &payload)
    }

    /// A sound token with other claims, or some of them taken away by null.
    pub fn token_with(&self, subject: &str, changes: &Value) -> String {
        let (header, mut payload) = self.claims(subject);
        if let (Value::Object(payload), Value::Object(changes)) = (&mut payload, changes) {
            payload.extend(changes.clone());
            payload.retain(|_, value| !value.is_null());
        }
        self.sign(&header, &payload)
    }

    /// A token for this subject that lives so long.
    pub fn token_for(&self, subject: &str, life: Duration) -> String {
        let exp = times::unix(self.state.world().now() + life);
        self.token_with(subject, &json!({"exp": exp}))
    }

    /// The same issuer with another key under the same id.
    pub fn impostor(&self) -> Issuer {
        let key = match self.key {
            Key::Rs256(_) => Key::Rs256(RsaKey::another()),
            Key::Es256(_) => Key::Es256(Box::new(p256::ecdsa::SigningKey::random(&mut rand::thread_rng()))),
        };
        Issuer { key, ..self.clone() }
    }

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

impl Emulator {
    /// A new federation with an issuer of its own.
    pub fn new_federation(&self, algorithm: Algorithm) -> Issuer {
        let id = keys::new_id();
        let issuer = Issuer {
            url: format!("https://{id}.issuer.example"),
            audience: format!("https://{id}.audience.example"),
            federation: id,
            kid: keys::new_id(),
            key: match algorithm {
                Algorithm::Rs256 => Key::Rs256(RsaKey::shared()),
                Algorithm::Es256 => Key::Es256(Box::new(p256::ecdsa::SigningKey::random(&mut rand::thread_rng()))),
            },
            state: Arc::clone(&self.state),
        };
        let (id, audiences) = (issuer.federation.clone(), vec![issuer.audience.clone()]);
        let federation = Federation { id, issuer: issuer.url.clone(), audiences, jwks: issuer.jwks() };
        self.state.world().federations.federations.push(federation);
        issuer
    }

    /// Ties a subject of an issuer to a service account.
    pub fn new_federated_credential(&self, issuer: &Issuer, account: &str, subject: &str) {
        let credential = (issuer.federation.clone(), account.to_owned(), subject.to_owned());
        self.state.world().federations.credentials.insert(credential);
    }

    /// Takes all federated credentials of a service account away, as an administrator would.
    pub fn delete_federated_credentials(&self, account: &str) {
        self.state.world().federations.credentials.retain(|(_, of, _)| of != account);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Answer, send};
    use super::super::{Config, auth};
    use super::*;

    const ACCOUNT: &str = "aje00000000000000001";
    const SUBJECT: &str = "repo:owner/name:ref:refs/heads/main";

    fn cloud(algorithm: Algorithm) -> (Emulator, Issuer) {
        let emulator = Emulator::start(Config::default());
        let issuer = emulator.new_federation(algorithm);
        emulator.new_federated_credential(&issuer, ACCOUNT, SUBJECT);
        (emulator, issuer)
    }

    fn parameters(token: &str) -> Vec<(String, String)> {
        let own = [("audience", ACCOUNT), ("subject_token", token)];
        ALWAYS.iter().copied().chain(own).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn post(emulator: &Emulator, parameters: &[(String, String)]) -> Answer {
        let form: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let head =
            format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded", auth::TOKEN);
        send(emulator.auth.address(), &head, &form.join("&")).expect("an answer")
    }

    fn present(emulator: &Emulator, token: &str) -> Answer {
        post(emulator, &parameters(token))
    }

    #[track_caller]
    fn is_refused(answer: &Answer, why: &str) {
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{}", answer.body);
        let description = answer.json()["error_description"].as_str().unwrap_or_default().to_owned();
        assert!(description.contains(why), "{description}: {why} expected");
    }

    #[test]
    fn a_sound_subject_token_buys_a_token_of_the_account() {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
            let (emulator, issuer) = cloud(algorithm);
            let answer = present(&emulator, &issuer.token(SUBJECT));
            assert_eq!(answer.status, 200, "{}", answer.body);
            let body = answer.json();
            let token = body["access_token"].as_str().expect("a token");
            assert_eq!(emulator.subject_of(token).as_deref(), Some(ACCOUNT));
            assert_eq!(
                (&body["token_type"], body["expires_in"].as_u64().map(|left| left / 100)),
                (&json!("Bearer"), Some(431))
            );
            // One of several audiences is enough.
            let many = issuer.token_with(SUBJECT, &json!({"aud": ["x", issuer.audience]}));
            assert_eq!(present(&emulator, &many).status, 200);
        }
    }

    #[test]
    fn each_parameter_must_be_there_once_with_its_value_and_no_other() {
        let (emulator, issuer) = cloud(Algorithm::Es256);
        let good = parameters(&issuer.token(SUBJECT));
        for (at, (name, value)) in good.iter().enumerate() {
            let mut less = good.clone();
            less.remove(at);
            is_refused(&post(&emulator, &less), &format!("{name} is missing"));
            let mut twice = good.clone();
            twice.push((name.clone(), value.clone()));
            is_refused(&post(&emulator, &twice), "twice");
        }
        for name in ["requested_token_type", "subject_token_type"] {
            let mut other = good.clone();
            for (_, value) in other.iter_mut().filter(|(known, _)| known == name) {
                *value = "urn:ietf:params:oauth:token-type:jwt".to_owned();
            }
            is_refused(&post(&emulator, &other), &format!("{name} must be"));
        }
        let more: Vec<_> = good.iter().cloned().chain([("scope".to_owned(), "x".to_owned())]).collect();
        is_refused(&post(&emulator, &more), "scope is not a parameter");
        let mut other = good;
        other[0].1 = "password".to_owned();
        assert_eq!(post(&emulator, &other).json()["error"], "unsupported_grant_type");
    }

    #[test]
    fn each_claim_is_judged() {
        let (emulator, issuer) = cloud(Algorithm::Es256);
        let now = times::unix(emulator.now());
        for (changes, why) in [
            (json!({"iss": "https://other.example"}), "no federation with issuer https://other.example"),
            (json!({"iss": null}), "iss is missing"),
            (json!({"aud": "other"}), "aud is"),
            (json!({"aud": null}), "aud is"),
            (json!({"exp": now - 1}), "is expired"),
            (json!({"exp": null}), "exp is missing"),
            (json!({"iat": now + 60}), "iat is in the future"),
            (json!({"nbf": now + 60}), "nbf is in the future"),
            (json!({"sub": null}), "sub is missing"),
            (json!({"sub": format!("{SUBJECT}x")}), "no federated credential matches"),
            (json!({"sub": SUBJECT.to_uppercase()}), "no federated credential matches"),
        ] {
            is_refused(&present(&emulator, &issuer.token_with(SUBJECT, &changes)), why);
        }
        let other = emulator.new_federation(Algorithm::Es256);
        is_refused(&present(&emulator, &other.token(SUBJECT)), "no federated credential matches");
        emulator.delete_federated_credentials(ACCOUNT);
        is_refused(&present(&emulator, &issuer.token(SUBJECT)), "no federated credential matches");
    }

    #[test]
    fn the_signature_must_be_the_issuers_by_the_keys_own_algorithm() {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
            let (emulator, issuer) = cloud(algorithm);
            is_refused(&present(&emulator, &issuer.impostor().token(SUBJECT)), "the signature is not by key");
            let (mut header, payload) = issuer.claims(SUBJECT);
            for alg in ["none", "HS256", "PS256", if algorithm == Algorithm::Rs256 { "ES256" } else { "RS256" }] {
                header["alg"] = alg.into();
                is_refused(&present(&emulator, &issuer.sign(&header, &payload)), "is not the key's");
            }
            let (mut header, _) = issuer.claims(SUBJECT);
            header["kid"] = "other".into();
            is_refused(&present(&emulator, &issuer.sign(&header, &payload)), "no key other");
            header["kid"] = Value::Null;
            is_refused(&present(&emulator, &issuer.sign(&header, &payload)), "kid is missing");
            let (mut header, _) = issuer.claims(SUBJECT);
            header["crit"] = json!(["x"]);
            is_refused(&present(&emulator, &issuer.sign(&header, &payload)), "crit");
            let good = issuer.token(SUBJECT);
            let (signed, signature) = good.rsplit_once('.').expect("three parts");
            is_refused(&present(&emulator, &format!("{signed}.")), "the signature is not by key");
            is_refused(&present(&emulator, &format!("{signed}.!")), "is not base64url");
            is_refused(&present(&emulator, signed), "three parts");
            // Another payload under the same signature.
            let other = issuer.token("somebody else");
            let (other, _) = other.rsplit_once('.').expect("three parts");
            is_refused(&present(&emulator, &format!("{other}.{signature}")), "the signature is not by key");
            is_refused(&present(&emulator, "a.b.c"), "is no JWT");
        }
    }
}
