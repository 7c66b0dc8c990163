//! Workload identity federations and federated credentials (docs, iam/operations/wlif/setup-wlif.md). A federation knows
//! an issuer, its keys and the audiences that its tokens may name. A federated credential ties a federation, a service
//! account and one subject together.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::sha2::Sha256;
use rsa::signature::Verifier as _;
use rsa::{BigUint, RsaPublicKey, pkcs1v15};
use serde_json::Value;

use crate::jwt::Claims;

/// A workload identity federation.
#[derive(Debug, Clone)]
pub(crate) struct Federation {
    pub(crate) id: String,
    pub(crate) issuer: String,
    pub(crate) audiences: Vec<String>,
    /// The issuer's keys (RFC 7517), as its `jwks_url` gives them.
    pub(crate) jwks: Value,
}

/// All federations and federated credentials.
#[derive(Debug, Default)]
pub(crate) struct Federations {
    federations: Vec<Federation>,
    /// Federation, service account, external subject.
    credentials: BTreeSet<(String, String, String)>,
}

impl Federations {
    /// Adds a federation.
    pub(crate) fn add(&mut self, federation: Federation) {
        self.federations.push(federation);
    }

    /// Adds a federated credential.
    pub(crate) fn add_credential(&mut self, federation: &str, account: &str, subject: &str) {
        self.credentials.insert((federation.to_owned(), account.to_owned(), subject.to_owned()));
    }

    /// Deletes all federated credentials of a service account.
    pub(crate) fn delete_credentials(&mut self, account: &str) {
        self.credentials.retain(|(_, of, _)| of != account);
    }

    /// Returns true if there is such a federated credential.
    pub(crate) fn has_credential(&self, federation: &str, account: &str, subject: &str) -> bool {
        self.credentials.contains(&(federation.to_owned(), account.to_owned(), subject.to_owned()))
    }

    /// Verifies a subject token. Returns its federation and subject, or the reason to reject it.
    pub(crate) fn verify(&self, token: &str, now: i64, tolerance: i64) -> Result<(String, String), String> {
        let parts: Vec<&str> = token.split('.').collect();
        let &[header, payload, signature] = parts.as_slice() else {
            return Err("subject token: a JWT has three parts".to_owned());
        };
        let claims = Claims::peek(token);
        if !claims.header.is_object() || !claims.payload.is_object() {
            return Err("subject token: is not a JWT".to_owned());
        }
        if claims.header.get("crit").is_some() {
            return Err("subject token: crit names extensions that are not supported".to_owned());
        }
        let iss = claims.iss().ok_or("subject token: iss is missing")?;
        let of_issuer: Vec<&Federation> =
            self.federations.iter().filter(|federation| federation.issuer == iss).collect();
        if of_issuer.is_empty() {
            return Err(format!("subject token: there is no federation with issuer {iss}"));
        }
        let aud = claims.aud();
        // One matching audience is enough (RFC 7519, 4.1.3).
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
        if !verify_signature(alg, key, signed.as_bytes(), &signature)? {
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
}

/// Verifies a signature with the algorithm of the key. Rejects a token that names another algorithm.
fn verify_signature(alg: &str, key: &Value, signed: &[u8], signature: &[u8]) -> Result<bool, String> {
    let part = |name: &str| {
        let text = key[name].as_str().unwrap_or_default();
        URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("the issuer's key: {name} is malformed"))
    };
    match (alg, key["kty"].as_str()) {
        ("RS256", Some("RSA")) => {
            let (n, e) = (BigUint::from_bytes_be(&part("n")?), BigUint::from_bytes_be(&part("e")?));
            let public = RsaPublicKey::new(n, e).map_err(|_| "the issuer's key is not an RSA key".to_owned())?;
            let signature = pkcs1v15::Signature::try_from(signature);
            let verifier = pkcs1v15::VerifyingKey::<Sha256>::new(public);
            Ok(signature.is_ok_and(|signature| verifier.verify(signed, &signature).is_ok()))
        }
        ("ES256", Some("EC")) => {
            let point = [vec![4], part("x")?, part("y")?].concat();
            let verifier = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point)
                .map_err(|_| "the issuer's key is not a P-256 key".to_owned())?;
            let signature = p256::ecdsa::Signature::from_slice(signature);
            Ok(signature.is_ok_and(|signature| verifier.verify(signed, &signature).is_ok()))
        }
        _ => Err(format!("subject token: alg {alg} is not the key's")),
    }
}
