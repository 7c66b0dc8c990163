//! Servers for clients: access control by token, a log of requests, and a registry with one image.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::authority::Authority;
use crate::emulator::Emulator;
use crate::harness::Sandbox;
use crate::server::{Request, Response, Server};
use crate::world::World;

/// Admits requests with a valid token of the emulator.
#[derive(Clone)]
pub struct Gate {
    emulator: Arc<Emulator>,
    /// How many requests to refuse regardless of their token.
    refusals: Arc<AtomicUsize>,
}

impl Gate {
    /// Creates a gate that admits every valid token of this world's cloud.
    pub fn of(world: &World) -> Gate {
        Gate { emulator: Arc::clone(&world.emulator), refusals: Arc::new(AtomicUsize::new(0)) }
    }

    /// Refuses the next `count` requests regardless of their token.
    pub fn refuse_next(&self, count: usize) {
        self.refusals.store(count, Ordering::SeqCst);
    }

    pub fn admits_bearer(&self, request: &Request) -> bool {
        request.bearer().is_some_and(|token| self.admits(token))
    }

    pub fn admits_basic(&self, request: &Request) -> bool {
        let Some(encoded) = request.header("authorization").and_then(|header| header.strip_prefix("Basic ")) else {
            return false;
        };
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
        let pair = String::from_utf8(decoded).unwrap_or_default();
        pair.strip_prefix("iam:").is_some_and(|token| self.admits(token))
    }

    pub fn admits(&self, token: &str) -> bool {
        let refusal = self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1));
        refusal.is_err() && self.emulator.is_live(token)
    }
}

/// A server for a client, and a log of its requests.
pub struct TestServer {
    pub server: Server,
    log: Arc<Mutex<Vec<Request>>>,
}

impl TestServer {
    /// Starts a server over TLS. Its certificate is also valid for `cr.yandex`, for clients that connect through a
    /// proxy.
    pub fn tls(authority: &Authority, handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> TestServer {
        TestServer::start(Some(authority.server_config(&["cr.yandex"])), handler)
    }

    /// Starts a server over plain http.
    pub fn plain(handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> TestServer {
        TestServer::start(None, handler)
    }

    fn start(
        tls: Option<Arc<rustls::ServerConfig>>,
        handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> TestServer {
        TestServer::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), tls, handler)
    }

    fn start_on(
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> TestServer {
        let log = Arc::new(Mutex::new(Vec::new()));
        let server = Server::start_on(address, tls, {
            let log = Arc::clone(&log);
            move |request: &Request| {
                lock(&log).push(request.clone());
                handler(request)
            }
        });
        TestServer { server: server.expect("a free port on loopback"), log }
    }

    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Returns the host and port by which clients connect.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port())
    }

    pub fn url(&self) -> String {
        let scheme = self.server.url();
        let scheme = scheme.split("://").next().unwrap_or_default();
        format!("{scheme}://{}", self.host())
    }

    pub fn requests(&self) -> Vec<Request> {
        lock(&self.log).clone()
    }

    /// Checks that no request had credentials. Some clients send an empty user and password instead of none.
    #[track_caller]
    pub fn assert_no_credentials(&self) {
        let seen = self.authorizations();
        assert!(seen.iter().all(|header| header == "Basic Og=="), "unexpected credentials: {seen:?}");
    }

    /// Returns the value of each `Authorization` header so far, in order.
    pub fn authorizations(&self) -> Vec<String> {
        self.requests().iter().filter_map(|request| request.header("authorization").map(str::to_owned)).collect()
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn json_response(status: u16, value: Value) -> Response {
    Response::json(status, value.to_string())
}

/// Returns the value of `Authorization` for this user and password.
pub fn basic_value(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// Writes the authority's certificate for clients to trust.
pub fn trust(sandbox: &Sandbox, authority: &Authority) -> PathBuf {
    sandbox.file("tmp/ca.pem", authority.pem())
}

/// Starts a registry with one image in every repository. It requires Basic credentials if there is a gate.
///
/// Implements just enough for `docker manifest inspect`, `skopeo inspect` and a pull of that image.
pub fn registry(authority: &Authority, gate: Option<Gate>) -> TestServer {
    TestServer::tls(authority, images(gate))
}

/// [`registry`] at this address, for `cr.yandex`.
pub fn registry_on(address: SocketAddr, authority: &Authority, gate: Gate) -> TestServer {
    TestServer::start_on(address, Some(authority.server_config(&["cr.yandex"])), images(Some(gate)))
}

/// Returns the responses of a registry.
fn images(gate: Option<Gate>) -> impl Fn(&Request) -> Response + Send + Sync + 'static {
    const CONFIGURATION: &str = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "layers": [],
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": CONFIGURATION.len(),
            "digest": digest(CONFIGURATION.as_bytes())},
    })
    .to_string();
    move |request| {
        if gate.as_ref().is_some_and(|gate| !gate.admits_basic(request)) {
            let refusal = json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]});
            return json_response(401, refusal).header("WWW-Authenticate", "Basic realm=\"registry\"");
        }
        let path = request.path.as_str();
        if path.contains("/manifests/") {
            Response::typed(200, MANIFEST_TYPE, manifest.clone())
                .header("Docker-Content-Digest", digest(manifest.as_bytes()))
        } else if path.contains("/blobs/") {
            Response::typed(200, "application/octet-stream", CONFIGURATION)
        } else if path == "/v2/" {
            json_response(200, json!({})).header("Docker-Distribution-Api-Version", "registry/2.0")
        } else {
            json_response(404, json!({"errors": [{"code": "NOT_FOUND", "message": "not found"}]}))
        }
    }
}

/// Returns the digest of a blob, `sha256:…`.
pub fn digest(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
