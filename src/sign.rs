//! PS256 by ring, behind jsonwebtoken's provider hook: the crate writes the JWT, ring signs it, and no second crypto
//! backend comes into the tree.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::signature::{self, Signer};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;

use crate::token::Secret;

/// Signs claims as a JWT with PS256 (RFC 7518, 3.5: salt as long as the hash, which is what ring does) and the key's
/// id.
///
/// # Errors
/// In words that fit behind the key file's name; nothing of the key is in them.
pub fn ps256(claims: &impl Serialize, key_id: &str, private_key_pem: &Secret) -> Result<Secret, &'static str> {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |algorithm, key| match algorithm {
            Algorithm::PS256 => Ok(Box::new(RingPs256(key.clone()))),
            _ => Err(ErrorKind::InvalidAlgorithm.into()),
        },
        verifier_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
        key_utils: KeyUtils::new_unimplemented(),
    };
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let _ = PROVIDER.install_default();
    });
    // Judged before the crate sees it, so that what is wrong with a key is told in our words.
    let der = read_key(private_key_pem)?;
    let mut header = Header::new(Algorithm::PS256);
    header.kid = Some(key_id.to_owned());
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_rsa_der(der.secret_der()))
        .map(Secret::new)
        .map_err(|_| "its private key cannot sign")
}

/// Reads the PEM, with whatever text stands before it ("PLEASE DO NOT REMOVE THIS LINE!"), in PKCS#8 or PKCS#1.
fn read_key(pem: &Secret) -> Result<PrivateKeyDer<'static>, &'static str> {
    let der = PrivateKeyDer::from_pem_slice(pem.expose().trim().as_bytes())
        .map_err(|_| "its private_key is not a PEM private key")?;
    match key_pair(der.secret_der()) {
        Ok(pair) if pair.public().modulus_len() < 256 => Err("its private key is shorter than 2048 bits"),
        Ok(_) => Ok(der),
        Err(_) => Err("its private_key is not a whole RSA key"),
    }
}

fn key_pair(der: &[u8]) -> Result<RsaKeyPair, ring::error::KeyRejected> {
    RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der))
}

struct RingPs256(EncodingKey);

impl Signer<Vec<u8>> for RingPs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let pair = key_pair(self.0.as_bytes()).map_err(signature::Error::from_source)?;
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(signature::Error::from_source)?;
        Ok(signature)
    }
}

impl JwtSigner for RingPs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::PS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_told_without_showing_it() {
        for (pem, why) in [
            ("", "its private_key is not a PEM private key"),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "its private_key is not a whole RSA key",
            ),
            (
                "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                "its private_key is not a PEM private key",
            ),
        ] {
            assert_eq!(ps256(&serde_json::json!({}), "kid", &Secret::new(pem.into())).expect_err("no key"), why);
        }
    }
}
