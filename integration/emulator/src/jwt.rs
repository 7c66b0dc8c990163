//! Judging a JWT by what the documentation demands (docs, iam/operations/iam-token/create-for-sa.md): header `typ`
//! JWT, `alg` PS256 and `kid`, claims `iss`, `aud`, `iat`, `exp` with exp - iat at most an hour; the key exists,
//! belongs to the account, and has made the signature.
//!
//! ycred signs with ring; this verifies with the `rsa` crate, so that a mistake of the one is not forgiven by the
//! other.

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
/// The longest life that a JWT may have, in seconds.
const LONGEST: i64 = 3600;

/// What a JWT claims, read without believing it.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// The header.
    pub header: Value,
    /// The payload.
    pub payload: Value,
}

impl Claims {
    /// Reads what can be read; what cannot is null.
    pub fn peek(jwt: &str) -> Claims {
        let mut parts = jwt.split('.').map(|part| {
            let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
            serde_json::from_slice(&bytes).unwrap_or_default()
        });
        Claims { header: parts.next().unwrap_or_default(), payload: parts.next().unwrap_or_default() }
    }

    /// A text of the header.
    pub fn kid(&self) -> Option<&str> {
        self.header.get("kid")?.as_str()
    }

    /// The issuer.
    pub fn iss(&self) -> Option<&str> {
        self.payload.get("iss")?.as_str()
    }

    /// The audiences, written as a string or as an array of strings: SDKs do either.
    pub fn aud(&self) -> Vec<String> {
        match self.payload.get("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => many.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect(),
            _ => Vec::new(),
        }
    }

    /// A time claim, in seconds since 1970; RFC 7519 allows fractions.
    pub fn time(&self, name: &str) -> Option<i64> {
        let value = self.payload.get(name)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a cast from f64 saturates, and such a time is refused anyway"
        )]
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64))
    }
}

/// A key that the emulator knows.
#[derive(Debug, Clone)]
pub struct KnownKey {
    /// The account that it belongs to.
    pub owner: String,
    /// Its public half.
    pub public: RsaPublicKey,
}

/// What a JWT is held against.
pub struct Expected<'a> {
    /// Every audience that is accepted.
    pub audiences: &'a [String],
    /// The emulator's time, in seconds since 1970.
    pub now: i64,
    /// How far in the future `iat` may lie, in seconds.
    pub tolerance: i64,
}

/// Judges a JWT: the account it speaks for, or why it does not.
pub fn judge(jwt: &str, key: impl FnOnce(&str) -> Option<KnownKey>, expected: &Expected<'_>) -> Result<String, String> {
    let parts: Vec<&str> = jwt.split('.').collect();
    let &[header, payload, signature] = parts.as_slice() else {
        return Err("JWT has not three parts".to_owned());
    };
    for part in [header, payload] {
        let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| "JWT is not base64url without padding".to_owned())?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| "JWT holds no JSON".to_owned())?;
        if !value.is_object() {
            return Err("JWT holds no JSON object".to_owned());
        }
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "JWT is not base64url without padding".to_owned())?;
    let claims = Claims::peek(jwt);
    for (name, wanted) in [("typ", "JWT"), ("alg", "PS256")] {
        let found = claims.header.get(name).and_then(Value::as_str);
        if found != Some(wanted) {
            return Err(format!("JWT header: {name} is {}, not {wanted}", found.unwrap_or("missing")));
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
    judge_claims(&claims, expected)?;
    Ok(iss.to_owned())
}

/// The claims of a JWT whose signature is good.
fn judge_claims(claims: &Claims, expected: &Expected<'_>) -> Result<(), String> {
    let aud = claims.aud();
    // All of them: a JWT that is good elsewhere too is not what the documentation describes.
    if aud.is_empty() || !aud.iter().all(|aud| expected.audiences.contains(aud)) {
        return Err(format!("JWT: aud is {aud:?}, expected {:?}", expected.audiences));
    }
    let time = |name: &str| claims.time(name).ok_or_else(|| format!("JWT: {name} is missing or no number"));
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
    // Not demanded, but the .NET SDK sends it, so it must be sound (RFC 7519, 4.1.5).
    if claims.payload.get("nbf").is_some() && time("nbf")?.saturating_sub(now) > expected.tolerance {
        return Err("JWT: nbf is in the future".to_owned());
    }
    Ok(())
}
