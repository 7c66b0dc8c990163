//! Verifies proofs of possession (DPoP, RFC 9449) with an ES256 implementation that ycred does not use. Where the cloud
//! is known to differ from the RFC (its thumbprints use SHA-512), the emulator follows the cloud.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::{EncodedPoint, FieldBytes};
use rsa::sha2::{Digest as _, Sha512};
use serde_json::{Map, Value};

use crate::refusal::Refusal;
use crate::routes::OAUTH_TOKEN;
use crate::server::Request;
use crate::state::Cloud;
use crate::store::logins::random;
use crate::times;

/// Checks the proof of possession in a token request. Returns the thumbprint of its key.
pub(super) fn check(cloud: &mut Cloud, request: &Request) -> Result<String, Refusal> {
    let wrong = |why: &str| Refusal::oauth(400, "invalid_dpop_proof", why);
    let proofs: Vec<&str> = request
        .headers()
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("dpop"))
        .map(|(_, value)| value.as_str())
        .collect();
    let [proof] = proofs.as_slice() else { return Err(wrong("there must be one DPoP header")) };
    let url = format!("{}{}", cloud.auth_url, OAUTH_TOKEN);
    let proof = verify(proof, &request.method, &url).map_err(wrong)?;
    let tolerance = i64::try_from(cloud.settings.login.tolerance.as_secs()).unwrap_or(i64::MAX);
    if (times::unix(cloud.now()) - proof.iat).abs() > tolerance {
        return Err(wrong("iat is too far from the current time"));
    }
    if let Some(status) = cloud.settings.login.nonce
        && (cloud.logins.nonce.is_empty() || proof.nonce.as_ref() != Some(&cloud.logins.nonce))
    {
        cloud.logins.nonce = random();
        let nonce = cloud.logins.nonce.clone();
        return Err(Refusal::oauth(status, "use_dpop_nonce", "a nonce is required").header("DPoP-Nonce", nonce));
    }
    if !cloud.logins.proofs.insert(proof.jti) {
        return Err(wrong("the proof has been used"));
    }
    Ok(proof.thumbprint)
}

/// The contents of a proof.
struct ProofHeader {
    thumbprint: String,
    iat: i64,
    jti: String,
    nonce: Option<String>,
}

/// Verifies a proof, except for the checks that need the clock or earlier proofs (RFC 9449, 4.3).
fn verify(proof: &str, method: &str, url: &str) -> Result<ProofHeader, &'static str> {
    let parts: Vec<&str> = proof.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { return Err("the proof is not a JWS") };
    let object =
        |part: &str| -> Option<Map<String, Value>> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let header_object = object(header).ok_or("its header is not a JSON object")?;
    let claims = object(payload).ok_or("its payload is not a JSON object")?;
    let text = |object: &Map<String, Value>, name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    if text(&header_object, "typ").as_deref() != Some("dpop+jwt") {
        return Err("typ is not dpop+jwt");
    }
    if text(&header_object, "alg").as_deref() != Some("ES256") {
        return Err("alg is not ES256");
    }
    let jwk = header_object.get("jwk").and_then(Value::as_object).ok_or("jwk is missing")?;
    if jwk.contains_key("d") {
        return Err("jwk is a private key");
    }
    if text(jwk, "kty").as_deref() != Some("EC") || text(jwk, "crv").as_deref() != Some("P-256") {
        return Err("jwk is not a P-256 key");
    }
    let (x, y) = (text(jwk, "x").unwrap_or_default(), text(jwk, "y").unwrap_or_default());
    let coordinate = |text: &str| -> Option<FieldBytes> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == 32).then(|| FieldBytes::clone_from_slice(&bytes))
    };
    let (Some(px), Some(py)) = (coordinate(&x), coordinate(&y)) else { return Err("jwk has no coordinates") };
    let point = EncodedPoint::from_affine_coordinates(&px, &py, false);
    let key = VerifyingKey::from_encoded_point(&point).map_err(|_| "jwk is not a point on P-256")?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "the signature is not base64url")?;
    let signature = Signature::from_slice(&signature).map_err(|_| "the signature is not r and s of 32 bytes each")?;
    key.verify(format!("{header}.{payload}").as_bytes(), &signature).map_err(|_| "the signature is wrong")?;
    if text(&claims, "htm").as_deref() != Some(method) {
        return Err("htm is not the request method");
    }
    if text(&claims, "htu").as_deref() != Some(url) {
        return Err("htu is not the request URL");
    }
    let iat = claims.get("iat").and_then(Value::as_i64).ok_or("iat is missing")?;
    let jti =
        text(&claims, "jti").filter(|jti| jti.len() >= 16).ok_or("jti is missing or shorter than 16 characters")?;
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha512::digest(canonical));
    Ok(ProofHeader { thumbprint, iat, jti, nonce: text(&claims, "nonce") })
}
