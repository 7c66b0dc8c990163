//! Verifies JWTs by the rules of the documentation (docs, iam/operations/iam-token/create-for-sa.md): header `typ`
//! JWT, `alg` PS256 and `kid`, claims `iss`, `aud`, `iat`, `exp` with exp - iat at most an hour; the key exists,
//! belongs to the account, and has made the signature.
//!
//! It verifies with the `rsa` crate, because clients often sign with ring or OpenSSL. A second implementation does not
//! forgive the mistakes of the first.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::RsaPublicKey;
use rsa::pss::{Signature, VerifyingKey};
use rsa::sha2::Sha256;
use rsa::signature::Verifier;
use serde_json::Value;

/// PS256's salt is as long as its hash (RFC 7518, 3.5); go-sdk v1 says in a comment that other lengths are not
/// accepted.
const SALT: usize = 32;
/// The longest validity of a JWT, in seconds.
const LONGEST: i64 = 3600;

/// The claims of a JWT. They are not verified.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims {
    /// The header.
    pub(crate) header: Value,
    /// The payload.
    pub(crate) payload: Value,
}

impl Claims {
    /// Reads header and payload. A part that cannot be read is null.
    pub(crate) fn peek(jwt: &str) -> Claims {
        let mut parts = jwt.split('.').map(|part| {
            let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
            serde_json::from_slice(&bytes).unwrap_or_default()
        });
        Claims { header: parts.next().unwrap_or_default(), payload: parts.next().unwrap_or_default() }
    }

    /// Returns the key id.
    pub(crate) fn kid(&self) -> Option<&str> {
        self.header.get("kid")?.as_str()
    }

    /// Returns the issuer.
    pub(crate) fn iss(&self) -> Option<&str> {
        self.payload.get("iss")?.as_str()
    }

    /// Returns the audiences. SDKs write them as a string or as an array of strings.
    pub(crate) fn aud(&self) -> Vec<String> {
        match self.payload.get("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => many.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns a time claim in seconds since 1970. RFC 7519 allows fractions.
    pub(crate) fn time(&self, name: &str) -> Option<i64> {
        let value = self.payload.get(name)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a cast from f64 saturates, and such a time is rejected anyway"
        )]
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64))
    }
}

/// A key that the emulator knows.
#[derive(Debug, Clone)]
pub(crate) struct KnownKey {
    /// The id of the account that it belongs to.
    pub(crate) owner: String,
    /// The public key.
    pub(crate) public: RsaPublicKey,
}

/// What a JWT is verified against.
pub(crate) struct Expected<'a> {
    /// The accepted audiences.
    pub(crate) audiences: &'a [String],
    /// The emulator's time, in seconds since 1970.
    pub(crate) now: i64,
    /// How far in the future `iat` may lie, in seconds.
    pub(crate) tolerance: i64,
}

/// Verifies a JWT. Returns its account, or the reason to reject it.
pub(crate) fn verify(
    jwt: &str,
    key: impl FnOnce(&str) -> Option<KnownKey>,
    expected: &Expected<'_>,
) -> Result<String, String> {
    let parts: Vec<&str> = jwt.split('.').collect();
    let &[header, payload, signature] = parts.as_slice() else {
        return Err("JWT does not have three parts".to_owned());
    };
    for part in [header, payload] {
        let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| "JWT is not base64url without padding".to_owned())?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| "JWT part is not JSON".to_owned())?;
        if !value.is_object() {
            return Err("JWT part is not a JSON object".to_owned());
        }
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "JWT is not base64url without padding".to_owned())?;
    let claims = Claims::peek(jwt);
    for (name, wanted) in [("typ", "JWT"), ("alg", "PS256")] {
        let found = claims.header.get(name).and_then(Value::as_str);
        let Some(found) = found else { return Err(format!("JWT header: {name} is missing")) };
        if found != wanted {
            return Err(format!("JWT header: {name} is {found:?}, expected {wanted:?}"));
        }
    }
    if claims.header.get("crit").is_some() {
        return Err("JWT header: crit names extensions that are not supported".to_owned());
    }
    let kid = claims.kid().ok_or("JWT header: kid is missing")?;
    let key = key(kid).ok_or_else(|| format!("JWT header: key {kid} does not exist"))?;
    let iss = claims.iss().ok_or("JWT: iss is missing")?;
    if iss != key.owner {
        return Err(format!("JWT: key {kid} does not belong to {iss}"));
    }
    let signed = &jwt[..header.len() + 1 + payload.len()];
    let signature = Signature::try_from(signature.as_slice()).map_err(|_| "JWT: signature is malformed".to_owned())?;
    VerifyingKey::<Sha256>::new_with_salt_len(key.public, SALT)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| format!("JWT: signature is not a PS256 signature (salt length {SALT}) by key {kid}"))?;
    verify_claims(&claims, expected)?;
    Ok(iss.to_owned())
}

/// Verifies the claims of a JWT with a valid signature.
fn verify_claims(claims: &Claims, expected: &Expected<'_>) -> Result<(), String> {
    let aud = claims.aud();
    // All audiences must match: the documentation describes no JWT that is valid elsewhere too.
    if aud.is_empty() || !aud.iter().all(|aud| expected.audiences.contains(aud)) {
        return Err(format!("JWT: aud is {aud:?}, expected {:?}", expected.audiences));
    }
    let time = |name: &str| claims.time(name).ok_or_else(|| format!("JWT: {name} is missing or not a number"));
    let (iat, exp, now) = (time("iat")?, time("exp")?, expected.now);
    let life = exp.saturating_sub(iat);
    if life <= 0 {
        return Err(format!("JWT: exp - iat is {life}"));
    }
    if life > LONGEST {
        return Err(format!("JWT: exp - iat is {life}, more than {LONGEST}"));
    }
    let early = iat.saturating_sub(now);
    if early > expected.tolerance {
        return Err(format!("JWT: iat is {early} s in the future"));
    }
    if exp <= now {
        return Err(format!("JWT: expired {} s ago", now.saturating_sub(exp)));
    }
    // Optional, but the .NET SDK sends it, so it must be valid (RFC 7519, 4.1.5).
    if claims.payload.get("nbf").is_some() && time("nbf")?.saturating_sub(now) > expected.tolerance {
        return Err("JWT: nbf is in the future".to_owned());
    }
    Ok(())
}
