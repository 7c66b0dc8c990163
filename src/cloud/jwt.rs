//! Signs JWTs with PS256 and ES256.
//!
//! Written here rather than by a crate: a JWT is two pieces of JSON in base64url, and ring signs them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PSS_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::base::pem;
use crate::base::secret::Secret;

/// Signs claims as a JWT with PS256, with the key's id in the header.
///
/// The salt is as long as the hash (RFC 7518, 3.5), as ring makes it.
///
/// # Errors
/// The message fits after the key file's name. It contains nothing of the key.
pub fn ps256(claims: &impl Serialize, key_id: &str, private_key_pem: &Secret) -> Result<Secret, &'static str> {
    let pair = read_key(private_key_pem)?;
    let header = Header { typ: "JWT", alg: "PS256", kid: Some(key_id), jwk: None };
    encode(&header, claims, |message| {
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut signature).ok()?;
        Some(signature)
    })
}

/// Returns the public key that belongs to a private RSA key, in PKCS1.
///
/// # Errors
/// As [`ps256`].
pub fn public_key(private_key_pem: &Secret) -> Result<Vec<u8>, &'static str> {
    Ok(read_key(private_key_pem)?.public().as_ref().to_vec())
}

/// The header of a JWT (RFC 7515, 4.1).
#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwk: Option<PublicKey<'a>>,
}

/// A public P-256 key (RFC 7518, 6.2.1).
#[derive(Serialize)]
struct PublicKey<'a> {
    kty: &'a str,
    crv: &'a str,
    x: &'a str,
    y: &'a str,
}

/// Writes a JWT in the compact form (RFC 7515, 3.1), with the signature that `sign` returns.
fn encode(
    header: &Header<'_>,
    claims: &impl Serialize,
    sign: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) -> Result<Secret, &'static str> {
    let cannot_sign = "its private key cannot sign";
    let header = serde_json::to_vec(header).map_err(|_| cannot_sign)?;
    let claims = serde_json::to_vec(claims).map_err(|_| cannot_sign)?;
    let mut jwt = URL_SAFE_NO_PAD.encode(header);
    jwt.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut jwt);
    let signature = sign(jwt.as_bytes()).ok_or(cannot_sign)?;
    jwt.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
    Ok(Secret::new(jwt))
}

/// Reads an RSA key in PEM, PKCS#8 or PKCS#1. Ignores text before it ("PLEASE DO NOT REMOVE THIS LINE!").
fn read_key(pem: &Secret) -> Result<RsaKeyPair, &'static str> {
    let blocks = pem::blocks(pem.expose());
    let is_key = |block: &&pem::Block<'_>| block.label.ends_with("PRIVATE KEY");
    let block = match blocks.iter().find(is_key) {
        Some(block) if block.label == "ENCRYPTED PRIVATE KEY" || pem.expose().contains("ENCRYPTED") => {
            return Err("its private_key is encrypted, and ycred cannot ask for the password");
        }
        Some(block) if matches!(block.label, "EC PRIVATE KEY" | "DSA PRIVATE KEY" | "OPENSSH PRIVATE KEY") => {
            return Err("its private_key is not an RSA key in PEM (PKCS#8 or PKCS#1)");
        }
        Some(block) if block.is_broken => return Err("its private_key is cut off or damaged"),
        Some(block) => block.to_text(),
        None if !blocks.is_empty() => return Err("its private_key is another PEM object, not a private key"),
        None => return Err("its private_key is not a PEM private key"),
    };
    let der = PrivateKeyDer::from_pem_slice(block.as_bytes()).map_err(|_| "its private_key is cut off or damaged")?;
    match key_pair(der.secret_der()) {
        Ok(pair) if pair.public().modulus_len() < 256 => Err("its private key is shorter than 2048 bits"),
        Ok(pair) => Ok(pair),
        Err(_) => Err("its private_key is not a valid RSA key"),
    }
}

fn key_pair(der: &[u8]) -> Result<RsaKeyPair, ring::error::KeyRejected> {
    RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der))
}

/// The P-256 key that a login's refresh token is bound to. It signs the proofs of possession (DPoP, RFC 9449).
pub struct ProofKey {
    /// PKCS#8 in base64url.
    pkcs8: Secret,
    /// The public point's coordinates in base64url.
    x: String,
    y: String,
}

impl ProofKey {
    /// Generates a new key.
    ///
    /// # Errors
    /// The system provides no random numbers.
    pub fn generate() -> Result<Self, &'static str> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| "the system provides no random numbers for a key")?;
        Self::from_text(Secret::new(URL_SAFE_NO_PAD.encode(document.as_ref())))
    }

    /// Reads a key that [`Self::text`] returned.
    ///
    /// # Errors
    /// The message fits after the file's name.
    pub fn from_text(pkcs8: Secret) -> Result<Self, &'static str> {
        let pair = ec_key_pair(&decode(&pkcs8)?).map_err(|_| "its key is not a P-256 key")?;
        // Uncompressed: 4, then two coordinates of 32 bytes (SEC 1, 2.3.3).
        let point = pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
        Ok(Self { pkcs8, x, y })
    }

    /// Returns the key as a string to be stored.
    pub fn text(&self) -> &Secret {
        &self.pkcs8
    }

    /// Returns the thumbprint of the public key for `dpop_jkt`, in base64url.
    ///
    /// Uses SHA-512, as the cloud requires, and not SHA-256, as in RFC 7638 and RFC 9449
    /// (docs/reference/yandex-cloud.md, section 4.3).
    pub fn thumbprint(&self) -> String {
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, self.x, self.y);
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA512, canonical.as_bytes()))
    }

    /// Signs a proof with these claims: ES256, with the public key in the header (RFC 9449, 4.2).
    ///
    /// # Errors
    /// The key cannot sign. Not expected for a key that could be read.
    pub fn proof(&self, claims: &impl Serialize) -> Result<Secret, &'static str> {
        let pair = ec_key_pair(&decode(&self.pkcs8)?).map_err(|_| "its private key cannot sign")?;
        let jwk = PublicKey { kty: "EC", crv: "P-256", x: &self.x, y: &self.y };
        let header = Header { typ: "dpop+jwt", alg: "ES256", kid: None, jwk: Some(jwk) };
        encode(&header, claims, |message| Some(pair.sign(&SystemRandom::new(), message).ok()?.as_ref().to_vec()))
    }
}

fn decode(text: &Secret) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    URL_SAFE_NO_PAD.decode(text.expose()).map(Zeroizing::new).map_err(|_| "its key is not base64url")
}

fn ec_key_pair(der: &[u8]) -> Result<EcdsaKeyPair, ring::error::KeyRejected> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_contains_only_the_public_key() {
        let key = ProofKey::generate().expect("a key");
        let again = ProofKey::from_text(key.text().clone()).expect("reads what it wrote");
        assert_eq!(key.thumbprint(), again.thumbprint());
        assert_eq!(key.thumbprint().len(), 86, "64 bytes in base64url");
        let proof = again.proof(&serde_json::json!({"htm": "POST"})).expect("a proof");
        let parts: Vec<&str> = proof.expose().split('.').collect();
        let json = |part: &str| -> serde_json::Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
        };
        let header = json(parts[0]);
        let jwk = serde_json::json!({"crv": "P-256", "kty": "EC", "x": key.x, "y": key.y});
        assert_eq!(header, serde_json::json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}));
        assert_eq!(json(parts[1]), serde_json::json!({"htm": "POST"}));
        assert_eq!(URL_SAFE_NO_PAD.decode(parts[2]).expect("base64url").len(), 64, "raw r and s");
    }

    #[test]
    fn the_thumbprint_is_sha512_over_the_canonical_jwk() {
        // The P-256 key of RFC 7517, appendix A.1.
        let key = ProofKey {
            pkcs8: Secret::wrapping(String::new()),
            x: "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4".into(),
            y: "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM".into(),
        };
        assert_eq!(
            key.thumbprint(),
            "87wrLaz3s_FhzVDc1S8PBGMBK7SlogjruZ8x3hrvMMS28Zq4-1ugZG2qoqUcBatvWxzlCLGqHCRv4eVefHCsyg"
        );
    }

    #[test]
    fn invalid_proof_keys_are_rejected() {
        for text in ["", "!", "AAAA"] {
            assert!(ProofKey::from_text(Secret::wrapping(text.into())).is_err(), "{text}");
        }
    }

    #[test]
    fn a_jwt_is_its_header_and_its_claims_and_the_signature_of_both() {
        let header = Header { typ: "JWT", alg: "PS256", kid: Some("k\"1"), jwk: None };
        let mut signed = Vec::new();
        let jwt = encode(&header, &serde_json::json!({"iss": "a"}), |message| {
            signed = message.to_vec();
            Some(vec![0xff, 0xfe])
        });
        let jwt = jwt.expect("a JWT");
        let (message, signature) = jwt.expose().rsplit_once('.').expect("three parts");
        assert_eq!((message.as_bytes(), signature), (&signed[..], "__4"));
        let parts: Vec<Vec<u8>> =
            message.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url")).collect();
        assert_eq!(parts, [&br#"{"typ":"JWT","alg":"PS256","kid":"k\"1"}"#[..], br#"{"iss":"a"}"#]);
        assert_eq!(encode(&header, &(), |_| None).expect_err("no signature"), "its private key cannot sign");
    }

    #[test]
    fn an_invalid_key_is_reported_without_its_content() {
        for (pem, why) in [
            ("", "its private_key is not a PEM private key"),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "its private_key is not a valid RSA key",
            ),
            (
                "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                "its private_key is another PEM object, not a private key",
            ),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n", "its private_key is cut off or damaged"),
            (
                "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
                "its private_key is not an RSA key in PEM (PKCS#8 or PKCS#1)",
            ),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "its private_key is encrypted, and ycred cannot ask for the password",
            ),
        ] {
            assert_eq!(ps256(&serde_json::json!({}), "kid", &Secret::new(pem.into())).expect_err("no key"), why);
        }
    }
}
