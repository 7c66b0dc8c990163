//! Libraries that call docker's credential helpers themselves: docker-py, ORAS for Python, and Helm.
//!
//! Helm is a Python package here. It contains Helm's Go code, including ORAS's Go library.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::client::{for_each_failure, runs_of, wrapper};
use super::docker::{Daemon, unbase64};
use super::registry::{Registry, token_server};
use super::test_server::{Gate, basic_value, registry, trust};
use super::versions::{HELM, PYTHON};
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::Run;
use crate::packages::python;
use crate::server::{Response, Server};
use crate::world::World;

const DOCKER_PY_PULLS: &str = "import docker, sys
docker.from_env().images.pull(sys.argv[1], tag='1')
";

const DOCKER_PY_BUILDS: &str = "import docker, io
for line in docker.from_env().api.build(fileobj=io.BytesIO(b'FROM scratch')): pass
";

const ORAS_PUSHES_AND_PULLS: &str = "import oras.client, sys
client = oras.client.OrasClient()
client.push(target=sys.argv[1], files=['hello'])
print(client.pull(target=sys.argv[1], outdir='back'))
";

/// Pulls without the two minutes of pauses between its five attempts.
const ORAS_PULLS: &str = "import oras.client, sys, time
time.sleep = lambda _: None
oras.client.OrasClient().pull(target=sys.argv[1], outdir='back')
";

const HELM_PUSHES_AND_PULLS: &str = "import helm_python as helm, sys
with helm.RegistryClient() as client:
    client.push(helm.package('chart', destination='.'), sys.argv[1])
with helm.RegistryClient() as client:
    client.pull(sys.argv[1] + '/hello', version='1.2.3', destination='back')
";

const HELM_PULLS: &str = "import helm_python as helm, sys
with helm.RegistryClient() as client:
    client.pull(sys.argv[1] + '/hello', version='1.2.3', destination='back')
";

/// A sandbox with docker configured to use ycred for some hosts, and a Python with the libraries.
struct Bench {
    world: World,
    authority: Authority,
    python: PathBuf,
    runs: PathBuf,
}

impl Bench {
    fn new(packages: &[&str]) -> Option<Bench> {
        let python = python(packages)?.join("python");
        let mut world = World::without_profile(Config::default());
        let authority = Authority::new();
        let link = world.sandbox.link_at("tmp/docker-credential-ycred");
        let (_, runs) = wrapper(&world.sandbox, "bin/docker-credential-ycred", &link);
        let ca = trust(&world.sandbox, &authority);
        world.sandbox.seal().set("SSL_CERT_FILE", &ca).set("REQUESTS_CA_BUNDLE", &ca);
        Some(Bench { world, authority, python, runs })
    }

    /// Makes docker's configuration use ycred for these hosts.
    fn configure(&self, hosts: &[&str]) {
        let helpers: serde_json::Map<_, _> = hosts.iter().map(|host| ((*host).to_owned(), json!("ycred"))).collect();
        self.world.sandbox.file("home/.docker/config.json", json!({"credHelpers": helpers}).to_string());
    }

    /// Makes docker's configuration use ycred for this host. `is_listed`: the profile lists it.
    fn use_host(&self, host: &str, is_listed: bool) {
        self.configure(&[host]);
        self.world.profile_for("default", is_listed.then(|| host.to_owned()).as_slice());
    }

    fn python(&self, script: &str, arguments: &[&str]) -> Run {
        self.world.sandbox.call(&self.python, [&["-c", script], arguments].concat()).run()
    }

    /// Runs `client` against a real, listed registry. Checks that only the token was sent, and that ycred made one IAM
    /// request.
    #[track_caller]
    fn with_real_registry(&self, client: impl FnOnce(&str)) {
        let tokens = token_server(&self.authority, Gate::of(&self.world));
        let Some(registry) = Registry::start(&self.world.sandbox, &self.authority, &tokens) else { return };
        self.use_host(&registry.host, true);
        client(&registry.host);
        let seen = tokens.authorizations();
        let expected = basic_value("iam", &self.world.last_token());
        assert!(!seen.is_empty() && seen.iter().all(|header| *header == expected), "the token server saw {seen:?}");
        assert_eq!(self.world.requests(), 1, "IAM requests");
    }

    /// Checks that the client contacts an unlisted registry without credentials and that ycred prints nothing.
    ///
    /// `refusal` is part of the message in which the client reports the refusal of the registry.
    #[track_caller]
    fn stays_anonymous(&self, script: &str, reference: impl Fn(&str) -> String, refusal: &str) {
        let tokens = token_server(&self.authority, Gate::of(&self.world));
        let Some(registry) = Registry::start(&self.world.sandbox, &self.authority, &tokens) else { return };
        self.use_host(&registry.host, false);
        let run = self.python(script, &[&reference(&registry.host)]).fails().stderr_has(refusal);
        assert!(runs_of(&self.runs) >= 1, "the helper was not run\n{run}");
        assert!(!run.stderr.contains("ycred: "), "an unlisted host is not an error\n{run}");
        assert!(!tokens.requests().is_empty(), "no request was sent without credentials\n{run}");
        tokens.assert_no_credentials();
        assert_eq!(self.world.requests(), 0, "IAM requests");
    }

    /// Checks that the client's own messages, selected by `messages`, contain the reason why there is no token.
    #[track_caller]
    fn shows_the_reason(
        &mut self,
        script: &str,
        reference: impl Fn(&str) -> String,
        messages: impl Fn(&Run) -> String,
    ) {
        let registry = registry(&self.authority, Some(Gate::of(&self.world)));
        // Some clients run the helper only after the registry has refused them, so the registry must also serve cr.yandex.
        let address = registry.server.address();
        let proxy = Server::start(None, move |_| Response::tunnel(address));
        for name in ["HTTPS_PROXY", "https_proxy"] {
            self.world.sandbox.set(name, proxy.url());
        }
        for_each_failure(&self.world, &registry.host(), |host, parts| {
            self.configure(&[host]);
            let run = self.python(script, &[&reference(host)]).fails();
            for part in parts {
                assert!(messages(&run).contains(part), "expected {part:?} in the client's message\n{run}");
            }
        });
        registry.assert_no_credentials();
        assert_eq!(self.world.requests(), 2, "IAM requests");
    }
}

/// Returns stderr without ycred's lines, for a client that passes through the helper's stderr and quotes its stdout.
fn quoted(run: &Run) -> String {
    run.stderr.lines().filter(|line| !line.starts_with("ycred: ")).collect::<Vec<_>>().join("\n")
}

fn image(host: &str) -> String {
    format!("{host}/team/image")
}

fn artifact(host: &str) -> String {
    format!("{host}/team/artifact:1")
}

fn charts(host: &str) -> String {
    format!("oci://{host}/charts")
}

#[test]
fn docker_py_sends_the_token_to_the_daemon_with_one_iam_request() {
    let Some(mut bench) = Bench::new(PYTHON) else { return };
    let daemon = Daemon::start(&mut bench.world.sandbox);
    let host = "registry.example:5000";
    bench.use_host(host, true);
    bench.python(DOCKER_PY_PULLS, &[&image(host)]).succeeds().stderr_is_empty();
    let pulled = daemon.requests("/images/create");
    assert_eq!(pulled.len(), 1, "{pulled:?}");
    let sent: Value = serde_json::from_slice(&unbase64(pulled[0].header("x-registry-auth"))).expect("a JSON header");
    assert_eq!(sent, json!({"Username": "iam", "Password": bench.world.last_token(), "ServerAddress": host}));
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");

    // A build gets the credentials of every registry in the configuration, except unlisted ones.
    bench.configure(&[host, "elsewhere.example"]);
    bench.python(DOCKER_PY_BUILDS, &[]).succeeds().stderr_is_empty();
    let built = daemon.requests("/build");
    let sent: Value = serde_json::from_slice(&unbase64(built[0].header("x-registry-config"))).expect("a JSON header");
    assert_eq!(sent[host]["Password"], json!(bench.world.last_token()));
    assert!(sent["elsewhere.example"].is_null(), "{sent}");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn docker_py_raises_the_reason_and_the_fix() {
    let Some(mut bench) = Bench::new(PYTHON) else { return };
    let daemon = Daemon::start(&mut bench.world.sandbox);
    bench.shows_the_reason(DOCKER_PY_PULLS, image, quoted);
    assert_eq!(daemon.requests("/images/create").len(), 0, "no request was sent without credentials");
}

#[test]
fn docker_py_pulls_from_an_unlisted_registry_without_a_token() {
    let Some(mut bench) = Bench::new(PYTHON) else { return };
    let daemon = Daemon::start(&mut bench.world.sandbox);
    bench.use_host("elsewhere.example", false);
    bench.python(DOCKER_PY_PULLS, &["elsewhere.example/team/image"]).succeeds().stderr_is_empty();
    assert_eq!(daemon.requests("/images/create")[0].header("x-registry-auth"), None);
    assert_eq!((runs_of(&bench.runs), bench.world.requests()), (1, 0));
}

#[test]
fn oras_for_python_pushes_and_pulls_with_one_iam_request() {
    let Some(bench) = Bench::new(PYTHON) else { return };
    bench.world.sandbox.file("work/hello", "from the test\n");
    bench.with_real_registry(|host| {
        bench.python(ORAS_PUSHES_AND_PULLS, &[&artifact(host)]).succeeds().stdout_has("back/hello");
        let back = bench.world.sandbox.path("work/back/hello");
        assert_eq!(std::fs::read_to_string(back).expect("the pulled artifact"), "from the test\n");
    });
}

#[test]
fn oras_for_python_shows_the_reason_and_sends_an_unlisted_registry_no_credentials() {
    let Some(bench) = Bench::new(PYTHON) else { return };
    bench.stays_anonymous(ORAS_PULLS, artifact, "Cannot respond to request for authentication");
    let Some(mut bench) = Bench::new(PYTHON) else { return };
    bench.shows_the_reason(ORAS_PULLS, artifact, |run| {
        // It logs the helper's stderr and passes nothing through.
        run.stderr.split_once("Credential helper 'docker-credential-ycred' failed: ").unwrap_or_default().1.to_owned()
    });
}

#[test]
fn helm_pushes_and_pulls_a_chart_with_one_iam_request() {
    let Some(bench) = Bench::new(HELM) else { return };
    std::fs::create_dir(bench.world.sandbox.path("work/back")).expect("a directory");
    bench.world.sandbox.file("work/chart/Chart.yaml", "apiVersion: v2\nname: hello\nversion: 1.2.3\n");
    bench.with_real_registry(|host| {
        bench.python(HELM_PUSHES_AND_PULLS, &[&charts(host)]).succeeds();
        assert!(bench.world.sandbox.path("work/back/hello-1.2.3.tgz").exists(), "the chart was pulled");
    });
}

#[test]
fn helm_shows_the_reason_and_sends_an_unlisted_registry_no_credentials() {
    let Some(bench) = Bench::new(HELM) else { return };
    bench.stays_anonymous(HELM_PULLS, charts, "401: unauthorized: authentication required");
    let Some(mut bench) = Bench::new(HELM) else { return };
    bench.shows_the_reason(HELM_PULLS, charts, quoted);
}
