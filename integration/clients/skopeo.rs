//! skopeo with a real registry, which itself verifies the tokens that its token server gives out for ours.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use super::{
    Cloud, Gate, StandIn, assert_nowhere, basic_value, digest, json_answer, registry, runs_of, trust, wrapper,
};
use crate::authority::Authority;
use crate::harness::{Call, Run, Running, Sandbox, require_client};

/// A sandbox where skopeo knows ycred as its helper for some hosts.
struct Bench {
    sandbox: Sandbox,
    cloud: Cloud,
    authority: Authority,
    skopeo: PathBuf,
    runs: PathBuf,
}

impl Bench {
    fn new() -> Option<Bench> {
        let skopeo = require_client("skopeo")?;
        let mut sandbox = Sandbox::new();
        let cloud = Cloud::start();
        let authority = Authority::new();
        let link = sandbox.link_at("tmp/docker-credential-ycred");
        let (_, runs) = wrapper(&sandbox, "bin/docker-credential-ycred", &link);
        // Some machines have no policy of their own, and without one skopeo copies nothing.
        sandbox.file("home/.config/containers/policy.json", r#"{"default": [{"type": "insecureAcceptAnything"}]}"#);
        let ca = trust(&sandbox, &authority);
        let runtime = sandbox.path("home/run");
        fs::create_dir(&runtime).expect("a runtime directory");
        sandbox.seal().set("SSL_CERT_FILE", ca).set("XDG_RUNTIME_DIR", runtime);
        Some(Bench { sandbox, cloud, authority, skopeo, runs })
    }

    /// ycred is asked about this host; `ours`: whether its profile lists it.
    fn use_host(&self, host: &str, ours: bool) {
        let host = host.to_owned();
        let configuration = json!({"credHelpers": {&host: "ycred"}}).to_string();
        self.sandbox.file("home/run/containers/auth.json", configuration);
        self.cloud.profile(&self.sandbox, "default", if ours { std::slice::from_ref(&host) } else { &[] });
    }

    fn skopeo(&self, arguments: &[&str]) -> Call {
        self.sandbox.call(&self.skopeo, arguments)
    }

    fn inspect(&self, host: &str) -> Run {
        self.skopeo(&["inspect", "--raw", &format!("docker://{host}/team/image:1")]).run()
    }

    /// An image as skopeo's `dir:` transport keeps it.
    fn image(&self) -> String {
        let configuration = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        let name = digest(configuration.as_bytes());
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": kind, "layers": [],
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": configuration.len(),
                "digest": name},
        });
        self.sandbox.file("tmp/image/version", "Directory Transport Version: 1.1\n");
        self.sandbox.file("tmp/image/manifest.json", manifest.to_string());
        self.sandbox.file(format!("tmp/image/{}", name.trim_start_matches("sha256:")), configuration);
        format!("dir:{}", self.sandbox.path("tmp/image").display())
    }
}

/// What stands before a registry of this kind: it changes Basic credentials for a token that the registry trusts, as the
/// cloud's own registry does.
fn token_server(authority: &Authority, gate: Gate) -> StandIn {
    let certificate = authority.certificate(&[]);
    let encoded = CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).expect("a certificate");
    let chain = [base64::engine::general_purpose::STANDARD.encode(encoded)];
    let key = PrivatePkcs8KeyDer::from_pem_slice(certificate.key.as_bytes()).expect("its key");
    let random = SystemRandom::new();
    let key =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der(), &random).expect("P-256");
    StandIn::tls(authority, move |request| {
        if !gate.admits_basic(request) {
            let refusal = json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]});
            return json_answer(401, refusal).header("WWW-Authenticate", "Basic realm=\"tokens\"");
        }
        let access: Vec<Value> = request
            .parameter("scope")
            .iter()
            .filter_map(|scope| {
                let mut parts = scope.split(':');
                let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?);
                Some(json!({"type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>()}))
            })
            .collect();
        // For ever, so that nobody has to look at a clock.
        let claims = json!({
            "iss": "tests", "sub": "iam", "aud": "registry", "iat": 0, "nbf": 0, "exp": 32_000_000_000_i64,
            "jti": "1", "access": access,
        });
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": chain});
        let base64 = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let signed = format!("{}.{}", base64.encode(header.to_string()), base64.encode(claims.to_string()));
        let signature = key.sign(&random, signed.as_bytes()).expect("a signature");
        json_answer(200, json!({"token": format!("{signed}.{}", base64.encode(signature))}))
    })
}

/// The registry program itself, on a port of its own choice.
struct Registry {
    running: Running,
    host: String,
}

impl Registry {
    fn start(bench: &Bench, tokens: &StandIn) -> Option<Registry> {
        let program = require_client("docker-registry")?;
        let sandbox = &bench.sandbox;
        let certificate = bench.authority.certificate(&[]);
        // JSON is YAML.
        let configuration = json!({
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": sandbox.path("tmp/registry")}},
            "http": {"addr": "127.0.0.1:0", "secret": "none", "tls": {
                "certificate": sandbox.file("tmp/registry.pem", &certificate.certificate),
                "key": sandbox.file("tmp/registry.key", &certificate.key)}},
            "auth": {"token": {"realm": format!("{}/token", tokens.url()), "service": "registry", "issuer": "tests",
                "rootcertbundle": trust(sandbox, &bench.authority)}},
        });
        let configuration = sandbox.file("tmp/registry.yml", configuration.to_string());
        let running = sandbox.call(program, ["serve".as_ref(), configuration.as_os_str()]).start();
        let end = Instant::now() + Duration::from_secs(30);
        let port = loop {
            let said = running.stderr();
            let port = said.split_once("listening on 127.0.0.1:").and_then(|(_, rest)| {
                let (port, _) = rest.split_once(',')?;
                port.parse::<u16>().ok()
            });
            match port {
                Some(port) => break port,
                None => assert!(Instant::now() < end, "the registry does not listen:\n{said}"),
            }
            thread::sleep(Duration::from_millis(20));
        };
        Some(Registry { running, host: format!("localhost:{port}") })
    }
}

#[test]
fn an_image_goes_to_a_real_registry_and_comes_back_for_one_iam_request() {
    let Some(bench) = Bench::new() else { return };
    let tokens = token_server(&bench.authority, bench.cloud.gate());
    let Some(registry) = Registry::start(&bench, &tokens) else { return };
    bench.use_host(&registry.host, true);
    let there = format!("docker://{}/team/image:1", registry.host);

    bench.skopeo(&["copy", &bench.image(), &there]).run().succeeds().quietly();
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    let back = format!("dir:{}", bench.sandbox.path("tmp/back").display());
    bench.skopeo(&["copy", &there, &back]).run().succeeds().quietly();
    assert_eq!(runs_of(&bench.runs), 2, "runs of the helper");
    let sent = fs::read(bench.sandbox.path("tmp/image/manifest.json")).expect("the image sent");
    let got = fs::read(bench.sandbox.path("tmp/back/manifest.json")).expect("the image that came back");
    assert_eq!(got, sent);

    let seen = tokens.authorizations();
    let ours = basic_value("iam", &bench.cloud.token());
    assert!(seen.len() >= 2 && seen.iter().all(|header| *header == ours), "the token server saw {seen:?}");
    assert_eq!(bench.cloud.exchanges(), 1, "IAM requests");
    let said = registry.running.stderr();
    assert!(!said.contains(&bench.cloud.token()), "the registry itself never sees the IAM token");
}

#[test]
fn a_real_registry_that_is_not_ours_gets_no_token_and_keeps_skopeo_out() {
    let Some(bench) = Bench::new() else { return };
    let tokens = token_server(&bench.authority, bench.cloud.gate());
    let Some(registry) = Registry::start(&bench, &tokens) else { return };
    bench.use_host(&registry.host, false);
    let run = bench.inspect(&registry.host).fails().stdout_is("");
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    assert_eq!(run.lines_of_stderr("ycred: "), Vec::<&str>::new(), "not ours is no error\n{run}");
    assert!(!tokens.requests().is_empty(), "skopeo did not even try without us\n{run}");
    let seen = tokens.authorizations();
    assert!(!seen.iter().any(|header| header.starts_with("Basic aWFt")), "somebody named iam: {seen:?}");
    assert_eq!(bench.cloud.exchanges(), 0, "IAM requests");
}

#[test]
fn a_public_registry_that_is_not_ours_is_read_as_if_ycred_were_not_there() {
    let Some(bench) = Bench::new() else { return };
    let registry = registry(&bench.authority, None);
    bench.use_host(&registry.host(), false);
    // Any other words than the protocol's own for "not mine" would end skopeo here.
    bench.inspect(&registry.host()).succeeds().quietly().stdout_has("schemaVersion");
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    assert_eq!(registry.authorizations(), Vec::<String>::new());
    assert_eq!(bench.cloud.exchanges(), 0, "IAM requests");
}

#[test]
fn a_registry_that_wants_basic_sees_iam_and_the_token() {
    let Some(bench) = Bench::new() else { return };
    let registry = registry(&bench.authority, Some(bench.cloud.gate()));
    bench.use_host(&registry.host(), true);
    bench.inspect(&registry.host()).succeeds().quietly().stdout_has("schemaVersion");
    let seen = registry.authorizations();
    let ours = basic_value("iam", &bench.cloud.token());
    assert!(!seen.is_empty() && seen.iter().all(|header| *header == ours), "the registry saw {seen:?}");
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    assert_eq!(bench.cloud.exchanges(), 1, "IAM requests");
}

#[test]
fn a_refused_key_ends_skopeo_with_the_reason_on_both_streams_of_the_helper() {
    let Some(bench) = Bench::new() else { return };
    let registry = registry(&bench.authority, Some(bench.cloud.gate()));
    bench.use_host(&registry.host(), true);
    let refusal = bench.cloud.refuse();
    let run = bench.inspect(&registry.host()).fails().stdout_is("");
    // What the helper wrote to stderr passes through; what it wrote to stdout is what skopeo quotes.
    let errors = run.lines_of_stderr("ycred: error: ");
    assert!(errors.len() == 1 && errors[0].contains(refusal), "one line with the reason\n{run}");
    let quoted = run.stderr.lines().find(|line| line.contains("error getting credentials")).unwrap_or_default();
    assert!(quoted.contains(refusal), "skopeo quotes the reason\n{run}");
    assert_eq!(bench.cloud.exchanges(), 1, "IAM requests");
    assert_eq!(registry.authorizations(), Vec::<String>::new());
}

#[test]
fn login_and_logout_succeed_keep_nothing_and_cost_no_token() {
    let Some(bench) = Bench::new() else { return };
    let registry = registry(&bench.authority, Some(bench.cloud.gate()));
    let host = registry.host();
    bench.use_host(&host, true);
    bench.skopeo(&["login", &host]).run().succeeds().quietly().stdout_has("Existing credentials are valid");
    let password = bench.cloud.mint();
    bench
        .skopeo(&["login", "--username", "iam", "--password-stdin", &host])
        .stdin(password.as_str())
        .run()
        .succeeds()
        .stdout_has("Login Succeeded");
    assert_nowhere(&bench.sandbox, &password);
    bench.skopeo(&["logout", &host]).run().succeeds().quietly().stdout_has("Removed login credentials");
    bench.inspect(&host).succeeds();
    assert_eq!(bench.cloud.exchanges(), 1, "IAM requests");
}
