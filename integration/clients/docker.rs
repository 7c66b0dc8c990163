//! The docker CLI against a registry that requires Basic credentials, and against a daemon that records its requests.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use super::client::{assert_not_stored, for_each_failure, runs_of, wrapper};
use super::test_server::{Gate, TestServer, basic_value, registry};
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Call, Run, Sandbox, require_client};
use crate::world::World;

/// A sandbox with a registry, and docker configured to use ycred for it. The name of the symlink selects the profile.
struct Bench {
    world: World,
    registry: TestServer,
    docker: PathBuf,
    runs: PathBuf,
}

impl Bench {
    fn new() -> Option<Bench> {
        let bench = Bench::without_profile(true)?;
        bench.configure(&json!({"credHelpers": {bench.host(): "ycred-prod"}}));
        Some(bench)
    }

    /// Leaves docker unconfigured. `is_listed`: the profile lists the registry.
    fn without_profile(is_listed: bool) -> Option<Bench> {
        let docker = require_client("docker")?;
        let mut world = World::without_profile(Config::default());
        let registry = registry(&Authority::new(), Some(Gate::of(&world)));
        let host = registry.host();
        world.profile_for("prod", is_listed.then(|| host.clone()).as_slice());
        // The wrapper executes the symlink, because its name selects the profile.
        let link = world.sandbox.link_at("tmp/docker-credential-ycred-prod");
        let (_, runs) = wrapper(&world.sandbox, "bin/docker-credential-ycred-prod", &link);
        let no_daemon = format!("unix://{}", world.sandbox.path("tmp/no-daemon.sock").display());
        world.sandbox.seal().set("DOCKER_HOST", no_daemon);
        Some(Bench { world, registry, docker, runs })
    }

    fn host(&self) -> String {
        self.registry.host()
    }

    fn configure(&self, configuration: &Value) {
        self.world.sandbox.file("home/.docker/config.json", configuration.to_string());
    }

    fn docker(&self, arguments: &[&str]) -> Call {
        self.world.sandbox.call(&self.docker, arguments)
    }

    fn inspect(&self) -> Run {
        self.docker(&["manifest", "inspect", "--insecure", &format!("{}/team/image", self.host())]).run()
    }
}

#[test]
fn docker_inspects_an_image_with_one_run_of_the_helper_and_one_iam_request() {
    let Some(bench) = Bench::new() else { return };
    bench.inspect().succeeds().stderr_is_empty().stdout_has("\"schemaVersion\": 2");
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    let seen = bench.registry.authorizations();
    let expected = basic_value("iam", &bench.world.last_token());
    assert!(!seen.is_empty() && seen.iter().all(|header| *header == expected), "the registry saw {seen:?}");

    bench.inspect().succeeds().stderr_is_empty();
    assert_eq!(runs_of(&bench.runs), 2, "runs of the helper");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn docker_shows_the_rejection_of_a_key_after_one_iam_request() {
    let Some(bench) = Bench::new() else { return };
    let refusal = bench.world.refuse();
    let run = bench.inspect().fails().stdout_is("").stderr_has("no basic auth credentials");
    let errors = run.lines_of_stderr("ycred: error: ");
    assert_eq!(errors.len(), runs_of(&bench.runs), "expected one error line per run\n{run}");
    assert!(
        !errors.is_empty() && errors.iter().all(|line| line.contains(refusal)),
        "expected the cloud's message\n{run}"
    );
    assert_eq!(bench.world.requests(), 1, "IAM requests");
    assert_eq!(bench.registry.authorizations(), Vec::<String>::new());
}

#[test]
fn an_unlisted_registry_gets_no_token_even_from_the_default_store() {
    let Some(bench) = Bench::without_profile(false) else { return };
    bench.configure(&json!({"credsStore": "ycred-prod"}));
    let run = bench.inspect().fails().stderr_has("no basic auth credentials");
    assert!(runs_of(&bench.runs) >= 1, "docker did not run the helper\n{run}");
    assert_eq!(run.lines_of_stderr("ycred: "), Vec::<&str>::new(), "an unlisted host is not an error\n{run}");
    assert_eq!(bench.registry.authorizations(), Vec::<String>::new());
    assert_eq!(bench.world.requests(), 0, "IAM requests");
}

#[test]
fn a_login_with_a_password_stores_nothing_and_logout_keeps_the_cached_token() {
    let Some(bench) = Bench::new() else { return };
    bench.inspect().succeeds();
    let (host, password) = (bench.host(), bench.world.issue_token());
    bench
        .docker(&["login", "--username", "iam", "--password-stdin", &host])
        .stdin(password.as_str())
        .run()
        .succeeds()
        .stdout_has("Login Succeeded");
    assert_eq!(bench.registry.authorizations().pop(), Some(basic_value("iam", &password)));
    assert_not_stored(&bench.world.sandbox, &password);
    bench.docker(&["logout", &host]).run().succeeds().stderr_is_empty().stdout_has("Removing login credentials");
    bench.inspect().succeeds();
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn a_login_to_an_unlisted_registry_fails_and_stores_nothing() {
    let Some(bench) = Bench::without_profile(false) else { return };
    bench.configure(&json!({"credsStore": "ycred-prod"}));
    // The registry accepts the password. The login fails because ycred rejects `store`.
    let password = bench.world.issue_token();
    let run = bench
        .docker(&["login", "--username", "iam", "--password-stdin", &bench.host()])
        .stdin(password.as_str())
        .run()
        .fails()
        .stderr_has("Error saving credentials: error storing credentials - err: exit status 1, out: ");
    assert!(run.stderr.contains(&bench.host()), "expected the host in the error\n{run}");
    assert_not_stored(&bench.world.sandbox, &password);
}

#[test]
fn a_pull_sends_the_token_to_the_daemon_with_one_iam_request() {
    let Some(mut bench) = Bench::new() else { return };
    let daemon = Daemon::start(&mut bench.world.sandbox);
    bench.docker(&["pull", &format!("{}/team/image", bench.host())]).run().succeeds().stderr_is_empty();
    let pulled = daemon.requests("/images/create");
    assert_eq!(pulled.len(), 1, "{pulled:?}");
    let sent: Value = serde_json::from_slice(&unbase64(pulled[0].header("x-registry-auth"))).expect("a JSON header");
    assert_eq!(sent, json!({"username": "iam", "password": bench.world.last_token(), "serveraddress": bench.host()}));
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn a_pull_with_a_rejected_key_is_anonymous_but_prints_the_reason() {
    let Some(mut bench) = Bench::new() else { return };
    let refusal = bench.world.refuse();
    let daemon = Daemon::start(&mut bench.world.sandbox);
    let run = bench.docker(&["pull", &format!("{}/team/image", bench.host())]).run().succeeds();
    let errors = run.lines_of_stderr("ycred: error: ");
    assert!(
        errors.len() == 1 && errors[0].contains(refusal),
        "expected one error line with the cloud's message\n{run}"
    );
    let pulled = daemon.requests("/images/create");
    let sent: Value = serde_json::from_slice(&unbase64(pulled[0].header("x-registry-auth"))).expect("a JSON header");
    assert_eq!(sent.get("password"), None);
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn docker_shows_every_failure_before_it_continues_anonymously() {
    let Some(mut bench) = Bench::new() else { return };
    bench.world.sandbox.link("docker-credential-ycred");
    let daemon = Daemon::start(&mut bench.world.sandbox);
    for_each_failure(&bench.world, &bench.host(), |host, parts| {
        bench.configure(&json!({"credHelpers": {host: "ycred"}}));
        let run = bench.docker(&["pull", &format!("{host}/team/image")]).run().succeeds();
        for part in parts {
            assert!(run.stderr.contains(part), "expected {part:?} on stderr\n{run}");
        }
    });
    assert_eq!(daemon.requests("/images/create").len(), 3);
    assert_eq!(bench.world.requests(), 2, "IAM requests");
}

#[test]
fn a_login_without_a_user_name_uses_the_token_and_stores_nothing() {
    let Some(mut bench) = Bench::new() else { return };
    let daemon = Daemon::start(&mut bench.world.sandbox);
    bench.docker(&["login", &bench.host()]).run().succeeds().stdout_has("Login Succeeded");
    let logins = daemon.requests("/auth");
    assert_eq!(logins.len(), 1, "{logins:?}");
    let sent: Value = serde_json::from_slice(&logins[0].body).expect("a JSON body");
    assert_eq!((&sent["username"], &sent["password"]), (&json!("iam"), &json!(bench.world.last_token())));
    let configuration =
        std::fs::read_to_string(bench.world.sandbox.path("home/.docker/config.json")).expect("docker's configuration");
    let configuration: Value = serde_json::from_str(&configuration).expect("JSON");
    assert_eq!(configuration["auths"], json!({bench.host(): {}}));
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

/// Decodes the value of a header in base64url.
pub(super) fn unbase64(value: Option<&str>) -> Vec<u8> {
    let value = value.expect("the header").trim_end_matches('=');
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(value).expect("base64url")
}

/// A request to the daemon.
#[derive(Clone, Debug)]
pub(super) struct DaemonRequest {
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl DaemonRequest {
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A docker daemon that accepts every request and records it. It replaces the real one, which cannot run in these
/// tests.
pub(super) struct Daemon {
    socket: PathBuf,
    log: Arc<Mutex<Vec<DaemonRequest>>>,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Starts the daemon on a socket in the sandbox. From now on docker in this sandbox connects to it.
    pub(super) fn start(sandbox: &mut Sandbox) -> Daemon {
        let socket = sandbox.path("tmp/docker.sock");
        sandbox.set("DOCKER_HOST", format!("unix://{}", socket.display()));
        let listener = UnixListener::bind(&socket).expect("a socket in the sandbox");
        let log = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let acceptor = thread::spawn({
            let (log, stop) = (Arc::clone(&log), Arc::clone(&stop));
            move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let log = Arc::clone(&log);
                    // If the connection breaks, the client reports it.
                    thread::spawn(move || drop(stream.and_then(|stream| serve(stream, &log))));
                }
            }
        });
        Daemon { socket, log, stop, acceptor: Some(acceptor) }
    }

    /// Returns the requests with this string in their target.
    pub(super) fn requests(&self, part: &str) -> Vec<DaemonRequest> {
        let log = self.log.lock().expect("no panic in the daemon");
        log.iter().filter(|request| request.target.contains(part)).cloned().collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor. If the sandbox is gone, so is the socket, and the thread is left behind.
        if UnixStream::connect(&self.socket).is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            drop(acceptor.join());
        }
    }
}

/// Serves one request, and closes the connection.
fn serve(mut stream: UnixStream, log: &Mutex<Vec<DaemonRequest>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut received = Vec::new();
    let (mut head, size, length) = loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece)?;
        if count == 0 || received.len() > 64 * 1024 {
            return Ok(());
        }
        received.extend_from_slice(&piece[..count]);
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        let Ok(httparse::Status::Complete(size)) = request.parse(&received) else { continue };
        let headers: Vec<(String, String)> = request
            .headers
            .iter()
            .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
            .collect();
        let target = request.path.unwrap_or_default().to_owned();
        let head = DaemonRequest { target, headers, body: Vec::new() };
        let length: usize = head.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        break (head, size, length.min(64 * 1024));
    };
    let mut body = received.split_off(size);
    while body.len() < length {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        body.extend_from_slice(&piece[..count]);
    }
    let reply =
        match Path::new(head.target.split('?').next().unwrap_or_default()).file_name().and_then(|name| name.to_str()) {
            Some("_ping") => "",
            // docker-py's first request.
            Some("version") => "{\"ApiVersion\": \"1.45\"}",
            Some("auth") => "{\"Status\": \"Login Succeeded\", \"IdentityToken\": \"\"}",
            Some("create") => "{\"status\": \"Status: Downloaded newer image\"}\r\n",
            _ => "{}",
        };
    head.body = body;
    log.lock().expect("no panic in the daemon").push(head);
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nApi-Version: 1.45\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{reply}",
        reply.len()
    )
}

#[test]
fn docker_gets_a_token_through_what_setup_wrote_and_the_configuration_comes_back() {
    let Some(bench) = Bench::without_profile(true) else { return };
    let sandbox = &bench.world.sandbox;
    sandbox.link("ycred");
    std::fs::remove_file(sandbox.path("bin/docker-credential-ycred-prod")).expect("the wrapper");
    let text = "{\n\t\"auths\": {},\n\t\"credHelpers\": {\n\t\t\"cr.yandex\": \"yc\"\n\t}\n}";
    sandbox.file("home/.docker/config.json", text);
    bench.inspect().fails();
    sandbox.ycred(["setup", "docker", "-p", "prod", "--host", &bench.host()]).run().succeeds().stderr_is_empty();
    bench.inspect().succeeds().stderr_is_empty().stdout_has("\"schemaVersion\": 2");
    assert_eq!(bench.registry.authorizations().pop(), Some(basic_value("iam", &bench.world.last_token())));
    sandbox.ycred(["unsetup", "--all"]).run().succeeds();
    assert_eq!(std::fs::read_to_string(sandbox.path("home/.docker/config.json")).expect("the file"), text);
    assert!(!sandbox.path("bin/docker-credential-ycred-prod").exists());
}

#[test]
fn docker_pulls_through_what_setup_wrote_and_after_a_logout_only_ours_goes() {
    let Some(mut bench) = Bench::without_profile(true) else { return };
    let host = bench.host();
    std::fs::remove_file(bench.world.sandbox.path("bin/docker-credential-ycred-prod")).expect("the wrapper");
    bench.world.sandbox.link("ycred");
    let daemon = Daemon::start(&mut bench.world.sandbox);
    let sandbox = &bench.world.sandbox;
    let config = json!({
        "auths": {"other.example": {"auth": "bWU6cGFzcw=="}, "gone.example": {"auth": "bWU6cGFzcw=="}},
        "credHelpers": {&host: "yc", "gcr.io": "gcloud"}, "psFormat": "table {{.ID}}",
    });
    let path = sandbox.file("home/.docker/config.json", config.to_string());
    sandbox.ycred(["setup", "docker", "-p", "prod"]).run().succeeds().stderr_is_empty();
    bench.docker(&["pull", &format!("{host}/team/image")]).run().succeeds().stderr_is_empty();
    let pulled = daemon.requests("/images/create");
    let sent: Value = serde_json::from_slice(&unbase64(pulled[0].header("x-registry-auth"))).expect("a JSON header");
    assert_eq!(sent, json!({"username": "iam", "password": bench.world.last_token(), "serveraddress": host}));
    // docker rewrites the whole file.
    bench.docker(&["logout", "gone.example"]).run().succeeds();
    let rewritten = std::fs::read_to_string(&path).expect("the file");
    assert!(rewritten.contains("ycred-prod") && !rewritten.contains("gone.example"), "{rewritten}");
    sandbox.ycred(["unsetup", "docker"]).run().succeeds();
    let left: Value = serde_json::from_str(&std::fs::read_to_string(&path).expect("the file")).expect("JSON");
    let mut expected = config;
    expected["auths"].as_object_mut().expect("an object").remove("gone.example");
    assert_eq!(left, expected, "only ycred's values go");
}
