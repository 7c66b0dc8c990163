//! The real clients, each against a server that takes nothing but the emulator's tokens.
//!
//! Every test looks at both ends: what the client got and said, what its server saw, and how many requests the emulator
//! counted. A client that is not installed skips its tests visibly.

mod aws;
mod bazel;
mod cargo;
mod docker;
mod git;
mod go;
mod kubectl;
mod libraries;
mod package_managers;
pub mod packages;
mod pnpm;
mod podman;
mod python;
mod registry;
mod sdk;
mod serve;
mod skopeo;
mod terraform;
mod token;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::authority::Authority;
use crate::emulator::faults::Fault;
use crate::emulator::{Config, Emulator, TOKENS};
use crate::harness::Sandbox;
use crate::server::{Request, Response, Server};

/// What the tests want of Python and of npm, each in one list, so that it is installed once. Helm, which is large, is apart.
const PYTHON: &[&str] =
    &["docker==7.2.0", "oras==0.2.43", "requests==2.34.2", "httpie==3.2.4", "twine==7.0.0", "grpcio==1.85.1"];
const NODE: &[&str] = &[
    "yarn@1.22.22",
    "@yarnpkg/cli-dist@4.9.2",
    "nuget-exe@5.8.0",
    "@bufbuild/buf@1.75.0",
    "@modelcontextprotocol/sdk@1.32.2",
    "mcp-remote@0.15.1",
];

/// The emulator, with one service account.
struct Cloud {
    gate: Gate,
}

impl Cloud {
    fn start() -> Cloud {
        let emulator = Arc::new(Emulator::start(Config::default()));
        Cloud { gate: Gate { emulator, unlucky: Arc::new(AtomicUsize::new(0)) } }
    }

    /// Gives the account a key and writes a profile for it, which lists these hosts.
    fn profile(&self, sandbox: &Sandbox, name: &str, hosts: &[String]) {
        let key = self.gate.emulator.new_service_account_key();
        key.write(sandbox.path(format!("config/{name}.json"))).expect("a key file");
        let toml = format!(
            "source = \"authorized-key\"\nkey-file = \"{name}.json\"\niam-url = \"{}\"\nhosts = {}\n",
            self.gate.emulator.url(),
            // An array of strings is written alike in JSON and TOML.
            json!(hosts),
        );
        sandbox.profile(name, &toml);
    }

    /// [`Self::profile`], which lists this host if it is `ours`.
    fn profile_for(&self, sandbox: &Sandbox, name: &str, host: &str, ours: bool) {
        self.profile(sandbox, name, ours.then(|| host.to_owned()).as_slice());
    }

    /// How often a token was asked for.
    fn exchanges(&self) -> usize {
        self.gate.emulator.requests(TOKENS)
    }

    /// The token handed out last.
    #[track_caller]
    fn token(&self) -> String {
        self.gate.emulator.tokens().pop().expect("a token was handed out")
    }

    /// A token that ycred knows nothing of.
    fn mint(&self) -> String {
        self.gate.emulator.issue("ajesomebodyelse00000")
    }

    fn revoke(&self, token: &str) {
        assert!(self.gate.emulator.revoke(token), "not a token of the emulator's");
    }

    /// From now on tokens live only so long.
    fn lifetime(&self, life: Duration) {
        self.gate.emulator.set(|settings| settings.life = life);
    }

    /// From now on the cloud refuses every key; its words.
    fn refuse(&self) -> &'static str {
        const WORDS: &str = "The key 'from the test' was deleted";
        self.gate.emulator.fault(Fault::refuse(401).message(WORDS));
        WORDS
    }

    /// From now on the cloud is out of order for longer than any run waits; its words.
    fn break_down(&self) -> &'static str {
        const WORDS: &str = "Back in a moment, says the test";
        self.gate.emulator.fault(Fault::refuse(503).message(WORDS).retry_after(50));
        WORDS
    }

    /// Lets a client meet what keeps a user from a token, each with the words that must reach that user, however the client
    /// shows them: `meet` is given the registry to ask about, and the words. `host` is one that the client can reach.
    fn troubles(&self, sandbox: &Sandbox, host: &str, meet: impl Fn(&str, &[&str])) {
        // Built in, so that it is ours even without a profile.
        meet("cr.yandex", &["no profile", "ycred init"]);
        let hosts = [host.to_owned()];
        self.profile(sandbox, "default", &hosts);
        meet(host, &[self.refuse(), "yc iam key list"]);
        self.gate.emulator.clear_faults();
        // Another key, so that no refusal is remembered.
        self.profile(sandbox, "default", &hosts);
        meet(host, &[self.break_down(), "503"]);
        self.gate.emulator.clear_faults();
    }

    /// What a server asks whom to let in.
    fn gate(&self) -> Gate {
        self.gate.clone()
    }
}

/// Lets in who shows a living token of the emulator's.
#[derive(Clone)]
struct Gate {
    emulator: Arc<Emulator>,
    unlucky: Arc<AtomicUsize>,
}

impl Gate {
    /// The next so many are sent away whatever they show.
    fn turn_away(&self, count: usize) {
        self.unlucky.store(count, Ordering::SeqCst);
    }

    fn admits_bearer(&self, request: &Request) -> bool {
        request.bearer().is_some_and(|token| self.admits(token))
    }

    fn admits_basic(&self, request: &Request) -> bool {
        let Some(encoded) = request.header("authorization").and_then(|header| header.strip_prefix("Basic ")) else {
            return false;
        };
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
        let pair = String::from_utf8(decoded).unwrap_or_default();
        pair.strip_prefix("iam:").is_some_and(|token| self.admits(token))
    }

    fn admits(&self, token: &str) -> bool {
        let unlucky = self.unlucky.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1));
        unlucky.is_err() && self.emulator.is_live(token)
    }
}

/// A server that a client talks to, and what it was asked.
struct StandIn {
    server: Server,
    log: Arc<Mutex<Vec<Request>>>,
}

impl StandIn {
    /// It can also prove that it is `cr.yandex`, to clients that come through a proxy.
    fn tls(authority: &Authority, handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> StandIn {
        StandIn::start(Some(authority.server_config(&["cr.yandex"])), handler)
    }

    fn plain(handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> StandIn {
        StandIn::start(None, handler)
    }

    fn start(
        tls: Option<Arc<rustls::ServerConfig>>,
        handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> StandIn {
        let log = Arc::new(Mutex::new(Vec::new()));
        let server = Server::start(tls, {
            let log = Arc::clone(&log);
            move |request| {
                lock(&log).push(request.clone());
                handler(request)
            }
        });
        StandIn { server, log }
    }

    fn port(&self) -> u16 {
        self.server.port()
    }

    /// The name by which clients know it.
    fn host(&self) -> String {
        format!("localhost:{}", self.port())
    }

    fn url(&self) -> String {
        let scheme = self.server.url();
        let scheme = scheme.split("://").next().unwrap_or_default();
        format!("{scheme}://{}", self.host())
    }

    fn requests(&self) -> Vec<Request> {
        lock(&self.log).clone()
    }

    /// Some clients show an empty name and password where they have none.
    #[track_caller]
    fn saw_nobody_named_iam(&self) {
        let seen = self.authorizations();
        assert!(seen.iter().all(|header| header == "Basic Og=="), "somebody showed credentials: {seen:?}");
    }

    /// Every `Authorization` that it was sent, in order.
    fn authorizations(&self) -> Vec<String> {
        self.requests().iter().filter_map(|request| request.header("authorization").map(str::to_owned)).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn json_answer(status: u16, value: Value) -> Response {
    Response::json(status, value.to_string())
}

/// The value of `Authorization` for this name and password.
fn basic_value(name: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}")))
}

/// Writes the authority's certificate for clients to trust.
fn trust(sandbox: &Sandbox, authority: &Authority) -> PathBuf {
    sandbox.file("tmp/ca.pem", authority.pem())
}

/// A script that notes each of its runs and then becomes `target`; and the file with the notes.
fn wrapper(sandbox: &Sandbox, relative: &str, target: &Path) -> (PathBuf, PathBuf) {
    let runs = sandbox.path(format!("tmp/{}.runs", relative.replace('/', "-")));
    let text = format!("#!/bin/sh\necho run >> '{}'\nexec '{}' \"$@\"\n", runs.display(), target.display());
    (sandbox.script(relative, &text), runs)
}

/// How often such a script has run.
fn runs_of(runs: &Path) -> usize {
    fs::read_to_string(runs).map_or(0, |text| text.lines().count())
}

/// No file in the sandbox holds this secret, neither as it is nor as docker's configuration would have it.
#[track_caller]
fn assert_nowhere(sandbox: &Sandbox, secret: &str) {
    let encoded = basic_value("iam", secret);
    let encoded = encoded.trim_start_matches("Basic ");
    for path in sandbox.files("") {
        // A socket is no file to read.
        let Ok(text) = fs::read(&path) else { continue };
        for form in [secret, encoded] {
            let found = text.windows(form.len()).any(|window| window == form.as_bytes());
            assert!(!found, "{} holds the secret", path.display());
        }
    }
}

/// A registry with one image in every repository, with Basic credentials before it or open to everybody. `docker manifest
/// inspect` and `skopeo inspect` are content with it.
fn registry(authority: &Authority, gate: Option<Gate>) -> StandIn {
    const CONFIGURATION: &str = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "layers": [],
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": CONFIGURATION.len(),
            "digest": digest(CONFIGURATION.as_bytes())},
    })
    .to_string();
    StandIn::tls(authority, move |request| {
        if gate.as_ref().is_some_and(|gate| !gate.admits_basic(request)) {
            let refusal = json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]});
            return json_answer(401, refusal).header("WWW-Authenticate", "Basic realm=\"registry\"");
        }
        let path = request.path.as_str();
        if path.contains("/manifests/") {
            Response::typed(200, MANIFEST_TYPE, manifest.clone())
                .header("Docker-Content-Digest", digest(manifest.as_bytes()))
        } else if path.contains("/blobs/") {
            Response::typed(200, "application/octet-stream", CONFIGURATION)
        } else if path == "/v2/" {
            json_answer(200, json!({})).header("Docker-Distribution-Api-Version", "registry/2.0")
        } else {
            json_answer(404, json!({"errors": [{"code": "NOT_FOUND", "message": "not found"}]}))
        }
    })
}

/// A blob's name.
fn digest(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
