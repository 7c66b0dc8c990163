//! The cloud's own SDKs, as they are published: they make their JWTs and OAuth requests themselves, so the emulator's judgement is
//! held against somebody else's client, and they take what ycred prints.
//!
//! The SDKs speak gRPC and the emulator REST, so `sdk/gateway.py`, made of the Python SDK's own stubs, stands in between and
//! passes on what comes. The Python SDK is told where the cloud is; the Node SDK's hosts are fixed, and its gRPC is led to
//! ours by a proxy.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::stand_in::lock;
use super::versions::{SDK_NODE, SDK_PYTHON};
use crate::authority::Authority;
use crate::emulator::keys::{AuthorizedKey, RsaKey};
use crate::emulator::log::Presented;
use crate::emulator::{Config, Emulator, METADATA, TOKENS};
use crate::harness::{Call, Run, Running, Sandbox, YCRED, require_client};
use crate::packages;
use crate::server::{Response, Server};

/// The one audience that the Node SDK knows.
const RUSSIAN: &str = "https://iam.api.cloud.yandex.net/iam/v1/tokens";
/// The hosts that the Node SDK asks.
const HOSTS: [&str; 2] = ["iam.api.cloud.yandex.net", "resource-manager.api.cloud.yandex.net"];

/// The emulator behind its gRPC door.
struct Cloud {
    emulator: Emulator,
    sandbox: Sandbox,
    gateway: Running,
    port: u16,
    python: PathBuf,
}

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
        let door = sandbox.file("tmp/door.pem", certificate.certificate);
        let key = sandbox.file("tmp/door.key", certificate.key);
        sandbox.file("tmp/ca.pem", authority.pem());
        let words = [script("gateway.py"), PathBuf::from(emulator.url()), door, key];
        let gateway = sandbox.call(&python, words).start();
        let end = Instant::now() + Duration::from_secs(60);
        let port = loop {
            if let Some(port) = gateway.stdout().lines().find_map(|line| line.strip_prefix("port ")?.parse().ok()) {
                break port;
            }
            assert!(Instant::now() < end, "the gateway does not start: {}", gateway.stderr());
            std::thread::sleep(Duration::from_millis(20));
        };
        // The Python SDK's JWTs are for the endpoint that it is given.
        emulator.set(|settings| settings.audiences.push(format!("https://iam.localhost:{port}{TOKENS}")));
        Some(Cloud { emulator, sandbox, gateway, port, python })
    }

    /// A key of a new account, and its file.
    fn key(&self) -> (AuthorizedKey, String) {
        let key = self.emulator.new_service_account_key();
        let path = self.sandbox.path("tmp/key.json");
        key.write(&path).expect("a key file");
        (key, path.to_string_lossy().into_owned())
    }

    /// The Python SDK with these credentials.
    fn python(&self, words: &[&str]) -> Call {
        let script = script("client.py");
        let words = std::iter::once(script.to_string_lossy().into_owned()).chain(words.iter().map(|&word| word.into()));
        let call = self.sandbox.call(&self.python, words).env("SDK_CA", self.sandbox.path("tmp/ca.pem"));
        call.env("SDK_ENDPOINT", format!("localhost:{}", self.port))
    }

    /// Whose token the API was shown last.
    #[track_caller]
    fn shown(&self) -> String {
        let text = self.gateway.stdout();
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let call = lines.rfind(|line| line["call"] == "clouds").unwrap_or_else(|| panic!("nobody asked\n{text}"));
        let token =
            call["authorization"].as_str().and_then(|text| text.strip_prefix("Bearer ")).expect("a token").to_owned();
        assert!(self.emulator.is_live(&token), "a token that is not the emulator's");
        token
    }

    fn subject(&self) -> String {
        self.emulator.subject_of(&self.shown()).expect("a subject")
    }

    /// A refusal by the emulator for this reason, in the words that it shows and in those that it logs.
    #[track_caller]
    fn refuses(&self, run: Run, reason: &str) {
        let run = run.exits(1);
        assert!(run.stdout.starts_with("refused: "), "{run}");
        let entry = self.emulator.log().pop().expect("a request");
        assert_eq!((entry.path.as_str(), entry.status), (TOKENS, Some(401)), "{run}");
        let refused = entry.refused.expect("a reason");
        assert!(refused.contains(reason), "{refused:?} does not say {reason:?}\n{run}");
    }
}

fn listed(run: Run) -> Run {
    // The Node SDK logs to stdout too.
    run.exits(0).stdout_has("clouds: a-cloud-of-ones-own\n")
}

#[test]
fn the_python_sdk_buys_a_token_with_a_key_and_the_emulator_finds_nothing_wrong() {
    let Some(cloud) = Cloud::start() else { return };
    let (key, file) = cloud.key();
    listed(cloud.python(&["key", &file]).run());
    assert_eq!(cloud.subject(), key.service_account_id);
    let log = cloud.emulator.log();
    let Presented::Jwt { kid, iss, iat, exp, .. } = &log[0].presented else { panic!("{:?}", log[0].presented) };
    assert_eq!((kid.as_ref(), iss.as_ref()), (Some(&key.id), Some(&key.service_account_id)));
    assert_eq!(exp.expect("exp") - iat.expect("iat"), 3600, "the whole hour that the documentation allows");
    assert_eq!(log.len(), 1);
}

#[test]
fn a_jwt_of_the_python_sdk_with_anything_wrong_in_it_is_refused() {
    let Some(cloud) = Cloud::start() else { return };
    let (key, file) = cloud.key();
    cloud.refuses(cloud.python(&["key", &file]).env("SDK_LIFE", "3660").run(), "more than 3600");
    cloud.refuses(cloud.python(&["key", &file]).env("SDK_LIFE", "-5").run(), "exp - iat is -5");
    cloud.emulator.set(|settings| settings.audiences.clear());
    cloud.refuses(cloud.python(&["key", &file]).run(), "aud is");
    cloud.emulator.set(|settings| settings.audiences.push(format!("https://iam.localhost:{}{TOKENS}", cloud.port)));
    // Another key under the same name.
    let forged = AuthorizedKey { rsa: RsaKey::another(), ..key.clone() };
    forged.write(&file).expect("a key file");
    cloud.refuses(cloud.python(&["key", &file]).run(), "not a PS256 signature");
    // Somebody else's name on it.
    AuthorizedKey { service_account_id: "ajesomebodyelse00000".into(), ..key.clone() }
        .write(&file)
        .expect("a key file");
    cloud.refuses(cloud.python(&["key", &file]).run(), "does not belong to ajesomebodyelse00000");
    key.write(&file).expect("a key file");
    cloud.emulator.set(|settings| settings.clock_shift = time::Duration::minutes(-10));
    cloud.refuses(cloud.python(&["key", &file]).run(), "in the future");
    cloud.emulator.set(|settings| settings.clock_shift = time::Duration::ZERO);
    cloud.emulator.delete_key(&key.id);
    cloud.refuses(cloud.python(&["key", &file]).run(), "does not exist");
}

#[test]
fn the_python_sdk_buys_a_token_with_an_oauth_token_and_on_a_machine() {
    let Some(cloud) = Cloud::start() else { return };
    let (oauth, subject) = cloud.emulator.new_oauth();
    listed(cloud.python(&["oauth", &oauth]).run());
    assert_eq!(cloud.subject(), subject);
    cloud.refuses(cloud.python(&["oauth", "y0_somebodyelses"]).run(), "OAuth");
    cloud.emulator.attach(Some("ajeofthemachine00000"));
    listed(cloud.python(&["metadata"]).env("YC_METADATA_ADDR", cloud.emulator.metadata_addr()).run());
    assert_eq!(cloud.subject(), "ajeofthemachine00000");
    assert_eq!(cloud.emulator.requests(METADATA), 1);
    cloud.emulator.attach(None);
    let run = cloud.python(&["metadata"]).env("YC_METADATA_ADDR", cloud.emulator.metadata_addr()).run().exits(1);
    assert!(run.stdout.contains("404"), "{run}");
}

#[test]
fn the_python_sdk_takes_what_ycred_prints() {
    let Some(cloud) = Cloud::start() else { return };
    let key = cloud.emulator.new_service_account_key();
    key.write(cloud.sandbox.path("config/key.json")).expect("a key file");
    let url = cloud.emulator.url();
    let profile = format!("source = \"authorized-key\"\nkey-file = \"key.json\"\niam-url = \"{url}\"\n");
    cloud.sandbox.profile("default", &profile);
    for _ in 0..2 {
        listed(cloud.python(&["iam-token", YCRED, "token"]).run());
        assert_eq!(cloud.subject(), key.service_account_id);
    }
    assert_eq!(cloud.emulator.requests(TOKENS), 1);
}

/// Leads every host to the cloud's gRPC door, and says which were asked for.
struct Detour {
    server: Server,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Detour {
    fn to(cloud: &Cloud) -> Detour {
        let door = std::net::SocketAddr::from(([127, 0, 0, 1], cloud.port));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let server = Server::start(None, {
            let asked = Arc::clone(&asked);
            move |request| {
                lock(&asked).push(request.target.clone());
                Response::tunnel(door)
            }
        });
        Detour { server, asked }
    }

    /// The Node SDK with these credentials.
    fn node(&self, cloud: &Cloud, node: &Path, modules: &Path, words: &[&str]) -> Call {
        let script = script("client.js");
        let words = std::iter::once(script.to_string_lossy().into_owned()).chain(words.iter().map(|&word| word.into()));
        let ca = cloud.sandbox.path("tmp/ca.pem");
        // Two ways of trusting, for gRPC's default roots, by its version.
        let call = cloud.sandbox.call(node, words).env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", &ca);
        let call = call.env("NODE_PATH", modules);
        call.env("NODE_EXTRA_CA_CERTS", &ca).env("grpc_proxy", self.server.url())
    }
}

#[test]
fn the_node_sdk_buys_tokens_and_takes_what_ycred_prints() {
    let (Some(node), Some(modules)) = (require_client("node"), packages::node(SDK_NODE)) else { return };
    let Some(cloud) = Cloud::start() else { return };
    let detour = Detour::to(&cloud);
    let sdk = |words: &[&str]| detour.node(&cloud, &node, &modules, words).run();
    let (key, file) = cloud.key();
    // Its audience is fixed, and this cloud is another.
    cloud.refuses(sdk(&["key", &file]), "aud is");
    cloud.emulator.set(|settings| settings.audiences.push(RUSSIAN.to_owned()));
    listed(sdk(&["key", &file]));
    assert_eq!(cloud.subject(), key.service_account_id);
    for host in HOSTS {
        assert!(lock(&detour.asked).iter().any(|asked| *asked == format!("{host}:443")), "{host}");
    }
    cloud.refuses(sdk(&["long-jwt", &file]), "more than 3600");
    AuthorizedKey { rsa: RsaKey::another(), ..key.clone() }.write(&file).expect("a key file");
    cloud.refuses(sdk(&["key", &file]), "not a PS256 signature");
    let (oauth, subject) = cloud.emulator.new_oauth();
    listed(sdk(&["oauth", &oauth]));
    assert_eq!(cloud.subject(), subject);
    let token = cloud.emulator.issue("ajewhoever0000000000");
    let token = cloud.sandbox.ycred(["token"]).env("YC_IAM_TOKEN", token).run().exits(0).stdout;
    listed(sdk(&["iam-token", token.trim()]));
    assert_eq!(cloud.subject(), "ajewhoever0000000000");
}

#[test]
fn the_node_sdk_asks_the_metadata_service_at_its_real_address() {
    let (Some(node), Some(modules)) = (require_client("node"), packages::node(SDK_NODE)) else { return };
    if packages::python(SDK_PYTHON).is_none() {
        return;
    }
    crate::harness::machine::in_own_network(&["169.254.169.254/32"], || {
        let metadata_address = "169.254.169.254:80".parse().expect("an address");
        let cloud = Cloud::with(Config { metadata_address, ..Config::default() }).expect("prepared a moment ago");
        cloud.emulator.attach(Some("ajeofthefunction0000"));
        let detour = Detour::to(&cloud);
        listed(detour.node(&cloud, &node, &modules, &["metadata"]).run());
        assert_eq!(cloud.subject(), "ajeofthefunction0000");
        assert_eq!(cloud.emulator.requests(METADATA), 1);
    });
}
