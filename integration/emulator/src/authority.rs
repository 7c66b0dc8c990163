//! A throw-away certificate authority, created in memory for each server that needs TLS.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The names of the local machine. Every valid certificate has them.
pub const LOOPBACK: [&str; 4] = ["localhost", "127.0.0.1", "::1", TEST_NAME];

/// A name for tests of name resolution, which let it resolve to the local machine.
pub const TEST_NAME: &str = "iam.cloud.test";

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A server's certificate and its key in PEM, for servers that run as other programs.
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS#8.
    pub key: String,
}

/// When a certificate is valid.
#[derive(Clone, Copy)]
enum Validity {
    /// From 1975 to 2999, so that tests with shifted clocks do not fail because of it.
    Always,
    /// In 2020 only.
    Past,
    /// Not before 2200.
    Future,
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

impl Authority {
    /// Creates an authority with a key of its own.
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        // A unique name, so that a client that trusts another authority sees an unknown issuer rather than a bad
        // signature.
        let name = format!("throw-away authority {:016x}", rand::random::<u64>());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        period(&mut params, Validity::Always);
        let issuer = CertifiedIssuer::self_signed(params, new_key()).expect("a certificate authority");
        Authority { issuer }
    }

    /// Returns the authority's certificate in PEM, which a client has to trust.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes the authority's certificate to a file.
    pub fn write(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.pem())
    }

    /// Returns the configuration of a TLS server with a certificate for loopback and these names.
    pub fn server_config(&self, names: &[&str]) -> Arc<rustls::ServerConfig> {
        let names: Vec<&str> = LOOPBACK.iter().chain(names).copied().collect();
        self.signed(&names, Validity::Always)
    }

    /// Like `server_config`, but expired years ago.
    pub fn expired_config(&self, names: &[&str]) -> Arc<rustls::ServerConfig> {
        let names: Vec<&str> = LOOPBACK.iter().chain(names).copied().collect();
        self.signed(&names, Validity::Past)
    }

    /// Like `server_config`, but not valid before 2200. A machine with a reset clock sees certificates like this.
    pub fn early_config(&self, names: &[&str]) -> Arc<rustls::ServerConfig> {
        let names: Vec<&str> = LOOPBACK.iter().chain(names).copied().collect();
        self.signed(&names, Validity::Future)
    }

    /// Returns a configuration with a valid certificate for these names only, not for loopback.
    pub fn foreign_config(&self, names: &[&str]) -> Arc<rustls::ServerConfig> {
        self.signed(names, Validity::Always)
    }

    /// Returns a configuration with a self-signed certificate for loopback and these names.
    pub fn self_signed_config(names: &[&str]) -> Arc<rustls::ServerConfig> {
        let names: Vec<&str> = LOOPBACK.iter().chain(names).copied().collect();
        let key = new_key();
        let certificate = server_params(&names, Validity::Always).self_signed(&key).expect("a self-signed certificate");
        config(certificate.der().clone(), &key)
    }

    /// Returns a certificate for loopback and these names in PEM.
    pub fn certificate(&self, names: &[&str]) -> Certificate {
        let names: Vec<&str> = LOOPBACK.iter().chain(names).copied().collect();
        let key = new_key();
        let signed = server_params(&names, Validity::Always).signed_by(&key, &self.issuer).expect("a certificate");
        Certificate { certificate: signed.pem(), key: key.serialize_pem() }
    }

    fn signed(&self, names: &[&str], validity: Validity) -> Arc<rustls::ServerConfig> {
        let key = new_key();
        let certificate = server_params(names, validity).signed_by(&key, &self.issuer).expect("a certificate");
        config(certificate.der().clone(), &key)
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("an ECDSA key")
}

fn server_params(names: &[&str], validity: Validity) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names that a certificate can carry");
    params.distinguished_name.push(DnType::CommonName, "throw-away server of the tests");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    period(&mut params, validity);
    params
}

fn period(params: &mut CertificateParams, validity: Validity) {
    let (from, until) = match validity {
        Validity::Always => (1975, 2999),
        Validity::Past => (2020, 2021),
        Validity::Future => (2200, 2999),
    };
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
}

fn config(certificate: CertificateDer<'static>, key: &KeyPair) -> Arc<rustls::ServerConfig> {
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a PKCS#8 key");
    // Not the process-wide default, which the client chooses.
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a key that fits its certificate");
    Arc::new(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Framing, Response, Server};
    use rustls::pki_types::ServerName;
    use rustls::pki_types::pem::PemObject;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    /// Fetches from a server with this configuration, with a rustls client that trusts this authority.
    fn fetch(authority: &Authority, served: Arc<rustls::ServerConfig>) -> Result<String, String> {
        let server = Server::start(Some(served), |_| Response::text(200, "over TLS").framed(Framing::Close));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connection = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(server.address()).unwrap());
        let mut answer = String::new();
        stream
            .write_all(b"GET / HTTP/1.1\r\n\r\n")
            .and_then(|()| stream.read_to_string(&mut answer))
            .map_err(|error| error.to_string())?;
        Ok(answer)
    }

    #[test]
    fn a_client_trusts_only_the_valid_certificate() {
        let authority = Authority::new();
        let good = fetch(&authority, authority.server_config(&["iam.example"])).unwrap();
        assert!(good.ends_with("over TLS"), "{good}");
        for (bad, why) in [
            (authority.expired_config(&[]), "expired"),
            (authority.early_config(&[]), "not valid yet"),
            (authority.foreign_config(&["iam.example"]), "not valid for name"),
            (Authority::self_signed_config(&[]), "UnknownIssuer"),
            (Authority::new().server_config(&[]), "UnknownIssuer"),
        ] {
            let error = fetch(&authority, bad).unwrap_err();
            assert!(error.contains(why), "{error} does not say {why}");
        }
    }
}
