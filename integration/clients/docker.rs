//! The docker command line against a registry that demands Basic credentials, and against a daemon that notes what it gets.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use super::client::{assert_nowhere, runs_of, troubles, wrapper};
use super::stand_in::{Gate, StandIn, basic_value, registry};
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Call, Run, Sandbox, require_client};
use crate::world::World;

/// A sandbox where docker's configuration names ycred for the registry, through a symlink with a profile in its name.
struct Bench {
    world: World,
    registry: StandIn,
    docker: PathBuf,
    runs: PathBuf,
}

impl Bench {
    fn new() -> Option<Bench> {
        let bench = Bench::bare(true)?;
        bench.configure(&json!({"credHelpers": {bench.host(): "ycred-prod"}}));
        Some(bench)
    }

    /// `ours`: whether the profile lists the registry.
    fn bare(ours: bool) -> Option<Bench> {
        let docker = require_client("docker")?;
        let mut world = World::bare(Config::default());
        let registry = registry(&Authority::new(), Some(Gate::of(&world)));
        let host = registry.host();
        world.profile_for("prod", ours.then(|| host.clone()).as_slice());
        // The wrapper hands the link's name on: the profile is in it.
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
fn an_image_is_inspected_with_basic_credentials_for_one_run_and_one_iam_request() {
    let Some(bench) = Bench::new() else { return };
    bench.inspect().succeeds().quietly().stdout_has("\"schemaVersion\": 2");
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    let seen = bench.registry.authorizations();
    let ours = basic_value("iam", &bench.world.last_token());
    assert!(!seen.is_empty() && seen.iter().all(|header| *header == ours), "the registry saw {seen:?}");

    bench.inspect().succeeds().quietly();
    assert_eq!(runs_of(&bench.runs), 2, "runs of the helper");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn a_refused_key_is_shown_by_docker_and_asked_about_once() {
    let Some(bench) = Bench::new() else { return };
    let refusal = bench.world.refuse();
    let run = bench.inspect().fails().stdout_is("").stderr_has("no basic auth credentials");
    let errors = run.lines_of_stderr("ycred: error: ");
    assert_eq!(errors.len(), runs_of(&bench.runs), "one error line a run\n{run}");
    assert!(!errors.is_empty() && errors.iter().all(|line| line.contains(refusal)), "the cloud's reason\n{run}");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
    assert_eq!(bench.registry.authorizations(), Vec::<String>::new());
}

#[test]
fn another_registry_gets_no_token_even_where_ycred_is_asked_about_all_of_them() {
    let Some(bench) = Bench::bare(false) else { return };
    bench.configure(&json!({"credsStore": "ycred-prod"}));
    let run = bench.inspect().fails().stderr_has("no basic auth credentials");
    assert!(runs_of(&bench.runs) >= 1, "docker did not ask\n{run}");
    assert_eq!(run.lines_of_stderr("ycred: "), Vec::<&str>::new(), "not ours is no error\n{run}");
    assert_eq!(bench.registry.authorizations(), Vec::<String>::new());
    assert_eq!(bench.world.requests(), 0, "IAM requests");
}

#[test]
fn login_with_a_password_keeps_nothing_and_logout_costs_no_token() {
    let Some(bench) = Bench::new() else { return };
    bench.inspect().succeeds();
    let (host, password) = (bench.host(), bench.world.mint());
    bench
        .docker(&["login", "--username", "iam", "--password-stdin", &host])
        .stdin(password.as_str())
        .run()
        .succeeds()
        .stdout_has("Login Succeeded");
    assert_eq!(bench.registry.authorizations().pop(), Some(basic_value("iam", &password)));
    assert_nowhere(&bench.world.sandbox, &password);
    bench.docker(&["logout", &host]).run().succeeds().quietly().stdout_has("Removing login credentials");
    bench.inspect().succeeds();
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn login_to_a_registry_that_is_not_ours_is_refused_with_the_reason_and_keeps_nothing() {
    let Some(bench) = Bench::bare(false) else { return };
    bench.configure(&json!({"credsStore": "ycred-prod"}));
    // The registry takes it; that ycred would not keep it is what must fail.
    let password = bench.world.mint();
    let run = bench
        .docker(&["login", "--username", "iam", "--password-stdin", &bench.host()])
        .stdin(password.as_str())
        .run()
        .fails()
        .stderr_has("Error saving credentials: error storing credentials - err: exit status 1, out: ");
    assert!(run.stderr.contains(&bench.host()), "the reason names the host\n{run}");
    assert_nowhere(&bench.world.sandbox, &password);
}

#[test]
fn pull_hands_the_daemon_iam_and_the_token_for_one_iam_request() {
    let Some(mut bench) = Bench::new() else { return };
    let daemon = Daemon::start(&mut bench.world.sandbox);
    bench.docker(&["pull", &format!("{}/team/image", bench.host())]).run().succeeds().quietly();
    let pulled = daemon.asked("/images/create");
    assert_eq!(pulled.len(), 1, "{pulled:?}");
    let sent: Value = serde_json::from_slice(&unbase64(pulled[0].header("x-registry-auth"))).expect("a JSON header");
    assert_eq!(sent, json!({"username": "iam", "password": bench.world.last_token(), "serveraddress": bench.host()}));
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn a_pull_with_a_refused_key_is_anonymous_but_not_silent() {
    let Some(mut bench) = Bench::new() else { return };
    let refusal = bench.world.refuse();
    let daemon = Daemon::start(&mut bench.world.sandbox);
    let run = bench.docker(&["pull", &format!("{}/team/image", bench.host())]).run().succeeds();
    let errors = run.lines_of_stderr("ycred: error: ");
    assert!(errors.len() == 1 && errors[0].contains(refusal), "one line with the reason\n{run}");
    let pulled = daemon.asked("/images/create");
    let sent: Value = serde_json::from_slice(&unbase64(pulled[0].header("x-registry-auth"))).expect("a JSON header");
    assert_eq!(sent.get("password"), None);
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn whatever_keeps_a_user_from_a_token_is_shown_before_docker_goes_on_anonymously() {
    let Some(mut bench) = Bench::new() else { return };
    bench.world.sandbox.link("docker-credential-ycred");
    let daemon = Daemon::start(&mut bench.world.sandbox);
    troubles(&bench.world, &bench.host(), |host, words| {
        bench.configure(&json!({"credHelpers": {host: "ycred"}}));
        let run = bench.docker(&["pull", &format!("{host}/team/image")]).run().succeeds();
        for word in words {
            assert!(run.stderr.contains(word), "the user is not told {word:?}\n{run}");
        }
    });
    assert_eq!(daemon.asked("/images/create").len(), 3);
    assert_eq!(bench.world.requests(), 2, "IAM requests");
}

#[test]
fn login_without_a_name_logs_in_with_our_token_and_keeps_nothing() {
    let Some(mut bench) = Bench::new() else { return };
    let daemon = Daemon::start(&mut bench.world.sandbox);
    bench.docker(&["login", &bench.host()]).run().succeeds().stdout_has("Login Succeeded");
    let logins = daemon.asked("/auth");
    assert_eq!(logins.len(), 1, "{logins:?}");
    let sent: Value = serde_json::from_slice(&logins[0].body).expect("a JSON body");
    assert_eq!((&sent["username"], &sent["password"]), (&json!("iam"), &json!(bench.world.last_token())));
    let kept =
        std::fs::read_to_string(bench.world.sandbox.path("home/.docker/config.json")).expect("docker's configuration");
    let kept: Value = serde_json::from_str(&kept).expect("JSON");
    assert_eq!(kept["auths"], json!({bench.host(): {}}));
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

pub(super) fn unbase64(text: Option<&str>) -> Vec<u8> {
    let text = text.expect("the header").trim_end_matches('=');
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

/// What the daemon was asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A docker daemon that says yes to everything: no engine can run where these tests do, and none is needed to see what
/// the command line sends it.
pub(super) struct Daemon {
    socket: PathBuf,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Listens inside the sandbox, whose docker speaks to it from now on.
    pub(super) fn start(sandbox: &mut Sandbox) -> Daemon {
        let socket = sandbox.path("tmp/docker.sock");
        sandbox.set("DOCKER_HOST", format!("unix://{}", socket.display()));
        let listener = UnixListener::bind(&socket).expect("a socket in the sandbox");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let acceptor = thread::spawn({
            let (asked, stop) = (Arc::clone(&asked), Arc::clone(&stop));
            move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let asked = Arc::clone(&asked);
                    // A connection that breaks off shows in what the client says.
                    thread::spawn(move || drop(stream.and_then(|stream| serve(stream, &asked))));
                }
            }
        });
        Daemon { socket, asked, stop, acceptor: Some(acceptor) }
    }

    /// The requests with this in their target.
    pub(super) fn asked(&self, part: &str) -> Vec<Asked> {
        let asked = self.asked.lock().expect("no panic in the daemon");
        asked.iter().filter(|asked| asked.target.contains(part)).cloned().collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor; where the sandbox went first, with the socket in it, nobody can, and nobody waits.
        if UnixStream::connect(&self.socket).is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            drop(acceptor.join());
        }
    }
}

/// One request a connection: the client is told that it closes.
fn serve(mut stream: UnixStream, asked: &Mutex<Vec<Asked>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut text = Vec::new();
    let (mut head, size, length) = loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece)?;
        if count == 0 || text.len() > 64 * 1024 {
            return Ok(());
        }
        text.extend_from_slice(&piece[..count]);
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        let Ok(httparse::Status::Complete(size)) = request.parse(&text) else { continue };
        let headers: Vec<(String, String)> = request
            .headers
            .iter()
            .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
            .collect();
        let target = request.path.unwrap_or_default().to_owned();
        let asked = Asked { target, headers, body: Vec::new() };
        let length: usize = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        break (asked, size, length.min(64 * 1024));
    };
    let mut body = text.split_off(size);
    while body.len() < length {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        body.extend_from_slice(&piece[..count]);
    }
    let answer =
        match Path::new(head.target.split('?').next().unwrap_or_default()).file_name().and_then(|name| name.to_str()) {
            Some("_ping") => "",
            // docker-py asks before anything else.
            Some("version") => "{\"ApiVersion\": \"1.45\"}",
            Some("auth") => "{\"Status\": \"Login Succeeded\", \"IdentityToken\": \"\"}",
            Some("create") => "{\"status\": \"Status: Downloaded newer image\"}\r\n",
            _ => "{}",
        };
    head.body = body;
    asked.lock().expect("no panic in the daemon").push(head);
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nApi-Version: 1.45\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{answer}",
        answer.len()
    )
}
