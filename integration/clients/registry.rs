//! A real container registry: Debian's `docker-registry` behind a token server.
//!
//! The token server exchanges IAM tokens for the registry's own tokens, which the registry verifies itself.

use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use super::test_server::{Gate, TestServer, json_response, trust};
use crate::authority::Authority;
use crate::harness::{Running, Sandbox, require_client};

/// Starts the token server. It exchanges Basic credentials for a token that the registry accepts, as the cloud's own
/// registry does.
pub(super) fn token_server(authority: &Authority, gate: Gate) -> TestServer {
    let certificate = authority.certificate(&[]);
    let encoded = CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).expect("a certificate");
    let chain = [base64::engine::general_purpose::STANDARD.encode(encoded)];
    let key = PrivatePkcs8KeyDer::from_pem_slice(certificate.key.as_bytes()).expect("its key");
    let random = SystemRandom::new();
    let key =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der(), &random).expect("P-256");
    TestServer::tls(authority, move |request| {
        if !gate.admits_basic(request) {
            let refusal = json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]});
            return json_response(401, refusal).header("WWW-Authenticate", "Basic realm=\"tokens\"");
        }
        let access: Vec<Value> = request
            .parameter("scope")
            .iter()
            .filter_map(|scope| {
                let mut parts = scope.split(':');
                let (kind, name) = (parts.next()?, parts.next()?);
                // Grant both actions: ORAS for Python uses its first token to push and to pull.
                Some(json!({"type": kind, "name": name, "actions": ["pull", "push"]}))
            })
            .collect();
        // Always valid, so that the tests do not depend on the clock.
        let claims = json!({
            "iss": "tests", "sub": "iam", "aud": "registry", "iat": 0, "nbf": 0, "exp": 32_000_000_000_i64,
            "jti": "1", "access": access,
        });
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": chain});
        let base64 = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let signed = format!("{}.{}", base64.encode(header.to_string()), base64.encode(claims.to_string()));
        let signature = key.sign(&random, signed.as_bytes()).expect("a signature");
        json_response(200, json!({"token": format!("{signed}.{}", base64.encode(signature))}))
    })
}

/// A running registry, on a free port.
pub(super) struct Registry {
    pub(super) running: Running,
    pub(super) host: String,
}

impl Registry {
    /// Starts the registry. If it is not installed, calls [`skip`](crate::harness::skip).
    pub(super) fn start(sandbox: &Sandbox, authority: &Authority, tokens: &TestServer) -> Option<Registry> {
        let program = require_client("docker-registry")?;
        let certificate = authority.certificate(&[]);
        // JSON is YAML.
        let configuration = json!({
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": sandbox.path("tmp/registry")}},
            "http": {"addr": "127.0.0.1:0", "secret": "none", "tls": {
                "certificate": sandbox.file("tmp/registry.pem", &certificate.certificate),
                "key": sandbox.file("tmp/registry.key", &certificate.key)}},
            "auth": {"token": {"realm": format!("{}/token", tokens.url()), "service": "registry", "issuer": "tests",
                "rootcertbundle": trust(sandbox, authority)}},
        });
        let configuration = sandbox.file("tmp/registry.yml", configuration.to_string());
        let running = sandbox.call(program, ["serve".as_ref(), configuration.as_os_str()]).start();
        let end = Instant::now() + Duration::from_secs(30);
        let port = loop {
            let log = running.stderr();
            let port = log.split_once("listening on 127.0.0.1:").and_then(|(_, rest)| {
                let (port, _) = rest.split_once(',')?;
                port.parse::<u16>().ok()
            });
            match port {
                Some(port) => break port,
                None => assert!(Instant::now() < end, "the registry does not listen:\n{log}"),
            }
            thread::sleep(Duration::from_millis(20));
        };
        Some(Registry { running, host: format!("localhost:{port}") })
    }
}
