//! The published SDKs of Yandex Cloud, against the emulator.
//!
//! * The SDKs build their own JWTs and OAuth requests, so they check the emulator independently of ycred.
//! * They accept the tokens that ycred prints.
//!
//! The SDKs use gRPC and the emulator REST. `sdk/gateway.py` translates between them with the stubs of the Python SDK.
//! The endpoint of the Python SDK is configurable. The hosts of the Node SDK are fixed, so a proxy redirects it to the
//! gateway.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::test_server::lock;
use super::versions::{SDK_NODE, SDK_PYTHON};
use crate::authority::Authority;
use crate::emulator::keys::{AuthorizedKey, RsaKey};
use crate::emulator::log::Presented;
use crate::emulator::{Config, Emulator, METADATA, TOKENS};
use crate::harness::{Call, Run, Running, Sandbox, YCRED, require_client};
use crate::packages;
use crate::server::{Response, Server};

/// The only audience that the Node SDK uses.
const NODE_AUDIENCE: &str = "https://iam.api.cloud.yandex.net/iam/v1/tokens";
/// The hosts that the Node SDK connects to.
const HOSTS: [&str; 2] = ["iam.api.cloud.yandex.net", "resource-manager.api.cloud.yandex.net"];

/// The emulator and its gRPC gateway.
struct Cloud {
    emulator: Emulator,
    sandbox: Sandbox,
    gateway: Running,
    port: u16,
    python: PathBuf,
}

/// Returns the path of a script in `sdk`.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/clients/sdk").join(name)
}

impl Cloud {
    fn start() -> Option<Cloud> {
        Cloud::with(Config::default())
    }

    fn with(config: Config) -> Option<Cloud> {
        let python = packages::python(SDK_PYTHON)?.join("python");
        let (emulator, sandbox, authority) = (Emulator::start(config), Sandbox::new(), Authority::new());
        let certificate = authority.certificate(&HOSTS);
        let certificate_file = sandbox.file("tmp/gateway.pem", certificate.certificate);
        let key = sandbox.file("tmp/gateway.key", certificate.key);
        sandbox.file("tmp/ca.pem", authority.pem());
        let arguments = [script("gateway.py"), PathBuf::from(emulator.url()), certificate_file, key];
        let gateway = sandbox.call(&python, arguments).start();
        let end = Instant::now() + Duration::from_secs(60);
        let port = loop {
            if let Some(port) = gateway.stdout().lines().find_map(|line| line.strip_prefix("port ")?.parse().ok()) {
                break port;
            }
            assert!(Instant::now() < end, "the gateway does not listen: {}", gateway.stderr());
            std::thread::sleep(Duration::from_millis(20));
        };
        // The Python SDK derives the audience of its JWTs from the endpoint.
        emulator.set(|settings| settings.audiences.push(format!("https://iam.localhost:{port}{TOKENS}")));
        Some(Cloud { emulator, sandbox, gateway, port, python })
    }

    /// Creates a key of a new service account. Returns the key and the path of its file.
    fn key(&self) -> (AuthorizedKey, String) {
        let key = self.emulator.new_service_account_key();
        let path = self.sandbox.path("tmp/key.json");
        key.write(&path).expect("a key file");
        (key, path.to_string_lossy().into_owned())
    }

    /// Returns a call of the Python SDK with these credentials.
    fn python(&self, credentials: &[&str]) -> Call {
        let script = script("client.py");
        let arguments =
            std::iter::once(script.to_string_lossy().into_owned()).chain(credentials.iter().map(|&one| one.into()));
        let call = self.sandbox.call(&self.python, arguments).env("SDK_CA", self.sandbox.path("tmp/ca.pem"));
        call.env("SDK_ENDPOINT", format!("localhost:{}", self.port))
    }

    /// Returns the last token that the API received, after checking that it is valid.
    #[track_caller]
    fn received_token(&self) -> String {
        let log = self.gateway.stdout();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let call =
            lines.rfind(|line| line["call"] == "clouds").unwrap_or_else(|| panic!("no call reached the API\n{log}"));
        let token = call["authorization"]
            .as_str()
            .and_then(|header| header.strip_prefix("Bearer "))
            .expect("a token")
            .to_owned();
        assert!(self.emulator.is_live(&token), "the token is not valid");
        token
    }

    /// Returns the account of the last token that the API received.
    fn subject(&self) -> String {
        self.emulator.subject_of(&self.received_token()).expect("a subject")
    }

    /// Checks that the run failed, and that the emulator logged a refusal for this reason.
    #[track_caller]
    fn assert_refused(&self, run: Run, reason: &str) {
        let run = run.exits(1);
        assert!(run.stdout.starts_with("refused: "), "{run}");
        let entry = self.emulator.log().pop().expect("a request");
        assert_eq!((entry.path.as_str(), entry.status), (TOKENS, Some(401)), "{run}");
        let refused = entry.refused.expect("a reason");
        assert!(refused.contains(reason), "expected {reason:?} in {refused:?}\n{run}");
    }
}

/// Checks that the SDK listed the clouds. It may also have logged to stdout.
fn assert_clouds_listed(run: Run) -> Run {
    run.exits(0).stdout_has("clouds: a-cloud-of-ones-own\n")
}

#[test]
fn the_emulator_accepts_a_jwt_of_the_python_sdk() {
    let Some(cloud) = Cloud::start() else { return };
    let (key, file) = cloud.key();
    assert_clouds_listed(cloud.python(&["key", &file]).run());
    assert_eq!(cloud.subject(), key.service_account_id);
    let log = cloud.emulator.log();
    let Presented::Jwt { kid, iss, iat, exp, .. } = &log[0].presented else { panic!("{:?}", log[0].presented) };
    assert_eq!((kid.as_ref(), iss.as_ref()), (Some(&key.id), Some(&key.service_account_id)));
    assert_eq!(exp.expect("exp") - iat.expect("iat"), 3600, "one hour, the maximum in the documentation");
    assert_eq!(log.len(), 1);
}

#[test]
fn the_emulator_refuses_every_invalid_jwt_of_the_python_sdk() {
    let Some(cloud) = Cloud::start() else { return };
    let (key, file) = cloud.key();
    cloud.assert_refused(cloud.python(&["key", &file]).env("SDK_LIFE", "3660").run(), "more than 3600");
    cloud.assert_refused(cloud.python(&["key", &file]).env("SDK_LIFE", "-5").run(), "exp - iat is -5");
    cloud.emulator.set(|settings| settings.audiences.clear());
    cloud.assert_refused(cloud.python(&["key", &file]).run(), "aud is");
    cloud.emulator.set(|settings| settings.audiences.push(format!("https://iam.localhost:{}{TOKENS}", cloud.port)));
    // Another key with the same id.
    let forged = AuthorizedKey { rsa: RsaKey::another(), ..key.clone() };
    forged.write(&file).expect("a key file");
    cloud.assert_refused(cloud.python(&["key", &file]).run(), "not a PS256 signature");
    // The key with the id of another service account.
    AuthorizedKey { service_account_id: "ajesomebodyelse00000".into(), ..key.clone() }
        .write(&file)
        .expect("a key file");
    cloud.assert_refused(cloud.python(&["key", &file]).run(), "does not belong to ajesomebodyelse00000");
    key.write(&file).expect("a key file");
    cloud.emulator.set(|settings| settings.clock_shift = time::Duration::minutes(-10));
    cloud.assert_refused(cloud.python(&["key", &file]).run(), "in the future");
    cloud.emulator.set(|settings| settings.clock_shift = time::Duration::ZERO);
    cloud.emulator.delete_key(&key.id);
    cloud.assert_refused(cloud.python(&["key", &file]).run(), "does not exist");
}

#[test]
fn the_python_sdk_gets_tokens_with_an_oauth_token_and_from_the_metadata_service() {
    let Some(cloud) = Cloud::start() else { return };
    let (oauth, subject) = cloud.emulator.new_oauth();
    assert_clouds_listed(cloud.python(&["oauth", &oauth]).run());
    assert_eq!(cloud.subject(), subject);
    cloud.assert_refused(cloud.python(&["oauth", "y0_somebodyelses"]).run(), "OAuth");
    cloud.emulator.attach(Some("ajeofthemachine00000"));
    assert_clouds_listed(cloud.python(&["metadata"]).env("YC_METADATA_ADDR", cloud.emulator.metadata_addr()).run());
    assert_eq!(cloud.subject(), "ajeofthemachine00000");
    assert_eq!(cloud.emulator.requests(METADATA), 1);
    cloud.emulator.attach(None);
    let run = cloud.python(&["metadata"]).env("YC_METADATA_ADDR", cloud.emulator.metadata_addr()).run().exits(1);
    assert!(run.stdout.contains("404"), "{run}");
}

#[test]
fn the_python_sdk_accepts_ycreds_token() {
    let Some(cloud) = Cloud::start() else { return };
    let key = cloud.emulator.new_service_account_key();
    key.write(cloud.sandbox.path("config/key.json")).expect("a key file");
    let url = cloud.emulator.url();
    let profile = format!("source = \"authorized-key\"\nkey-file = \"key.json\"\niam-url = \"{url}\"\n");
    cloud.sandbox.profile("default", &profile);
    for _ in 0..2 {
        assert_clouds_listed(cloud.python(&["iam-token", YCRED, "token"]).run());
        assert_eq!(cloud.subject(), key.service_account_id);
    }
    assert_eq!(cloud.emulator.requests(TOKENS), 1);
}

/// A proxy that redirects every host to the gateway and records the requested hosts.
struct Redirect {
    server: Server,
    hosts: Arc<Mutex<Vec<String>>>,
}

impl Redirect {
    fn to(cloud: &Cloud) -> Redirect {
        let gateway = std::net::SocketAddr::from(([127, 0, 0, 1], cloud.port));
        let hosts = Arc::new(Mutex::new(Vec::new()));
        let server = Server::start(None, {
            let hosts = Arc::clone(&hosts);
            move |request| {
                lock(&hosts).push(request.target.clone());
                Response::tunnel(gateway)
            }
        });
        Redirect { server, hosts }
    }

    /// Returns a call of the Node SDK with these credentials.
    fn node(&self, cloud: &Cloud, node: &Path, modules: &Path, credentials: &[&str]) -> Call {
        let script = script("client.js");
        let arguments =
            std::iter::once(script.to_string_lossy().into_owned()).chain(credentials.iter().map(|&one| one.into()));
        let ca = cloud.sandbox.path("tmp/ca.pem");
        // Different versions of gRPC read different variables for their root certificates.
        let call = cloud.sandbox.call(node, arguments).env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", &ca);
        let call = call.env("NODE_PATH", modules);
        call.env("NODE_EXTRA_CA_CERTS", &ca).env("grpc_proxy", self.server.url())
    }
}

#[test]
fn the_node_sdk_exchanges_its_credentials_and_accepts_ycreds_token() {
    let (Some(node), Some(modules)) = (require_client("node"), packages::node(SDK_NODE)) else { return };
    let Some(cloud) = Cloud::start() else { return };
    let redirect = Redirect::to(&cloud);
    let sdk = |credentials: &[&str]| redirect.node(&cloud, &node, &modules, credentials).run();
    let (key, file) = cloud.key();
    // The audience of its JWTs is fixed, and the emulator does not accept it by default.
    cloud.assert_refused(sdk(&["key", &file]), "aud is");
    cloud.emulator.set(|settings| settings.audiences.push(NODE_AUDIENCE.to_owned()));
    assert_clouds_listed(sdk(&["key", &file]));
    assert_eq!(cloud.subject(), key.service_account_id);
    for host in HOSTS {
        assert!(lock(&redirect.hosts).iter().any(|requested| *requested == format!("{host}:443")), "{host}");
    }
    cloud.assert_refused(sdk(&["long-jwt", &file]), "more than 3600");
    AuthorizedKey { rsa: RsaKey::another(), ..key.clone() }.write(&file).expect("a key file");
    cloud.assert_refused(sdk(&["key", &file]), "not a PS256 signature");
    let (oauth, subject) = cloud.emulator.new_oauth();
    assert_clouds_listed(sdk(&["oauth", &oauth]));
    assert_eq!(cloud.subject(), subject);
    let token = cloud.emulator.issue("ajeanother0000000000");
    let token = cloud.sandbox.ycred(["token"]).env("YC_IAM_TOKEN", token).run().exits(0).stdout;
    assert_clouds_listed(sdk(&["iam-token", token.trim()]));
    assert_eq!(cloud.subject(), "ajeanother0000000000");
}

#[test]
fn the_node_sdk_uses_the_metadata_service_at_its_real_address() {
    let (Some(node), Some(modules)) = (require_client("node"), packages::node(SDK_NODE)) else { return };
    if packages::python(SDK_PYTHON).is_none() {
        return;
    }
    crate::harness::machine::in_own_network(&["169.254.169.254/32"], || {
        let metadata_address = "169.254.169.254:80".parse().expect("an address");
        let cloud = Cloud::with(Config { metadata_address, ..Config::default() }).expect("a gateway");
        cloud.emulator.attach(Some("ajeofthefunction0000"));
        let redirect = Redirect::to(&cloud);
        assert_clouds_listed(redirect.node(&cloud, &node, &modules, &["metadata"]).run());
        assert_eq!(cloud.subject(), "ajeofthefunction0000");
        assert_eq!(cloud.emulator.requests(METADATA), 1);
    });
}
