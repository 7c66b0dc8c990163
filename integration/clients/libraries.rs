//! Programs that read docker's configuration and call its helpers by code of their own: docker-py, ORAS for Python, and Helm,
//! whose own Go code (with ORAS's Go library in it) comes as a Python package.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::client::{runs_of, troubles, wrapper};
use super::docker::{Daemon, unbase64};
use super::registry::{Registry, token_server};
use super::stand_in::{Gate, basic_value, registry, trust};
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

/// Without the two minutes that it waits between its five tries.
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

/// A sandbox where docker's configuration names ycred for some hosts, and a Python with the libraries.
struct Bench {
    world: World,
    authority: Authority,
    python: PathBuf,
    runs: PathBuf,
}

impl Bench {
    fn new(packages: &[&str]) -> Option<Bench> {
        let python = python(packages)?.join("python");
        let mut world = World::bare(Config::default());
        let authority = Authority::new();
        let link = world.sandbox.link_at("tmp/docker-credential-ycred");
        let (_, runs) = wrapper(&world.sandbox, "bin/docker-credential-ycred", &link);
        let ca = trust(&world.sandbox, &authority);
        world.sandbox.seal().set("SSL_CERT_FILE", &ca).set("REQUESTS_CA_BUNDLE", &ca);
        Some(Bench { world, authority, python, runs })
    }

    /// ycred is asked about these hosts.
    fn configure(&self, hosts: &[&str]) {
        let helpers: serde_json::Map<_, _> = hosts.iter().map(|host| ((*host).to_owned(), json!("ycred"))).collect();
        self.world.sandbox.file("home/.docker/config.json", json!({"credHelpers": helpers}).to_string());
    }

    /// The same, and the profile lists the first of them, if it is `ours`.
    fn use_host(&self, host: &str, ours: bool) {
        self.configure(&[host]);
        self.world.profile_for("default", ours.then(|| host.to_owned()).as_slice());
    }

    fn python(&self, script: &str, arguments: &[&str]) -> Run {
        self.world.sandbox.call(&self.python, [&["-c", script], arguments].concat()).run()
    }

    /// A real registry that is ours, and a check of what it and the cloud saw.
    #[track_caller]
    fn with_real_registry(&self, work: impl FnOnce(&str)) {
        let tokens = token_server(&self.authority, Gate::of(&self.world));
        let Some(registry) = Registry::start(&self.world.sandbox, &self.authority, &tokens) else { return };
        self.use_host(&registry.host, true);
        work(&registry.host);
        let seen = tokens.authorizations();
        let ours = basic_value("iam", &self.world.last_token());
        assert!(!seen.is_empty() && seen.iter().all(|header| *header == ours), "the token server saw {seen:?}");
        assert_eq!(self.world.requests(), 1, "IAM requests");
    }

    /// A registry that is not ours is tried without a token and without a word from us; `refusal` is what the client makes of
    /// the answer.
    #[track_caller]
    fn stays_anonymous(&self, script: &str, reference: impl Fn(&str) -> String, refusal: &str) {
        let tokens = token_server(&self.authority, Gate::of(&self.world));
        let Some(registry) = Registry::start(&self.world.sandbox, &self.authority, &tokens) else { return };
        self.use_host(&registry.host, false);
        let run = self.python(script, &[&reference(&registry.host)]).fails().stderr_has(refusal);
        assert!(runs_of(&self.runs) >= 1, "the helper was not asked\n{run}");
        assert!(!run.stderr.contains("ycred: "), "not ours is no error\n{run}");
        assert!(!tokens.requests().is_empty(), "it was not even tried without us\n{run}");
        tokens.saw_nobody_named_iam();
        assert_eq!(self.world.requests(), 0, "IAM requests");
    }

    /// What keeps a user from a token reaches that user in the client's own words, which `told` finds.
    #[track_caller]
    fn tells_why(&mut self, script: &str, reference: impl Fn(&str) -> String, told: impl Fn(&Run) -> String) {
        let registry = registry(&self.authority, Some(Gate::of(&self.world)));
        // Some ask the helper only when the registry has sent them away, and that must be cr.yandex, too.
        let address = registry.server.address();
        let way_there = Server::start(None, move |_| Response::tunnel(address));
        for name in ["HTTPS_PROXY", "https_proxy"] {
            self.world.sandbox.set(name, way_there.url());
        }
        troubles(&self.world, &registry.host(), |host, words| {
            self.configure(&[host]);
            let run = self.python(script, &[&reference(host)]).fails();
            for word in words {
                assert!(told(&run).contains(word), "the user is not told {word:?}\n{run}");
            }
        });
        registry.saw_nobody_named_iam();
        assert_eq!(self.world.requests(), 2, "IAM requests");
    }
}

/// Of a client that lets the helper's stderr through and quotes its stdout.
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
fn docker_py_hands_the_daemon_iam_and_the_token_for_one_iam_request() {
    let Some(mut bench) = Bench::new(PYTHON) else { return };
    let daemon = Daemon::start(&mut bench.world.sandbox);
    let host = "registry.example:5000";
    bench.use_host(host, true);
    bench.python(DOCKER_PY_PULLS, &[&image(host)]).succeeds().quietly();
    let pulled = daemon.asked("/images/create");
    assert_eq!(pulled.len(), 1, "{pulled:?}");
    let sent: Value = serde_json::from_slice(&unbase64(pulled[0].header("x-registry-auth"))).expect("a JSON header");
    assert_eq!(sent, json!({"Username": "iam", "Password": bench.world.last_token(), "ServerAddress": host}));
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");

    // A build gets the credentials of every registry in the configuration: what is not ours is left out.
    bench.configure(&[host, "elsewhere.example"]);
    bench.python(DOCKER_PY_BUILDS, &[]).succeeds().quietly();
    let built = daemon.asked("/build");
    let sent: Value = serde_json::from_slice(&unbase64(built[0].header("x-registry-config"))).expect("a JSON header");
    assert_eq!(sent[host]["Password"], json!(bench.world.last_token()));
    assert!(sent["elsewhere.example"].is_null(), "{sent}");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn docker_py_raises_the_reason_and_what_mends_it() {
    let Some(mut bench) = Bench::new(PYTHON) else { return };
    let daemon = Daemon::start(&mut bench.world.sandbox);
    bench.tells_why(DOCKER_PY_PULLS, image, quoted);
    assert_eq!(daemon.asked("/images/create").len(), 0, "it is not tried anonymously");
}

#[test]
fn docker_py_asks_for_an_image_of_somebody_else_without_a_token() {
    let Some(mut bench) = Bench::new(PYTHON) else { return };
    let daemon = Daemon::start(&mut bench.world.sandbox);
    bench.use_host("elsewhere.example", false);
    bench.python(DOCKER_PY_PULLS, &["elsewhere.example/team/image"]).succeeds().quietly();
    assert_eq!(daemon.asked("/images/create")[0].header("x-registry-auth"), None);
    assert_eq!((runs_of(&bench.runs), bench.world.requests()), (1, 0));
}

#[test]
fn oras_for_python_pushes_and_pulls_for_one_iam_request() {
    let Some(bench) = Bench::new(PYTHON) else { return };
    bench.world.sandbox.file("work/hello", "from the test\n");
    bench.with_real_registry(|host| {
        bench.python(ORAS_PUSHES_AND_PULLS, &[&artifact(host)]).succeeds().stdout_has("back/hello");
        let back = bench.world.sandbox.path("work/back/hello");
        assert_eq!(std::fs::read_to_string(back).expect("the artifact that came back"), "from the test\n");
    });
}

#[test]
fn oras_for_python_tells_the_reason_and_stays_anonymous_elsewhere() {
    let Some(bench) = Bench::new(PYTHON) else { return };
    bench.stays_anonymous(ORAS_PULLS, artifact, "Cannot respond to request for authentication");
    let Some(mut bench) = Bench::new(PYTHON) else { return };
    bench.tells_why(ORAS_PULLS, artifact, |run| {
        // It logs what the helper wrote to stderr, and nothing gets past it.
        run.stderr.split_once("Credential helper 'docker-credential-ycred' failed: ").unwrap_or_default().1.to_owned()
    });
}

#[test]
fn helm_pushes_and_pulls_a_chart_for_one_iam_request() {
    let Some(bench) = Bench::new(HELM) else { return };
    std::fs::create_dir(bench.world.sandbox.path("work/back")).expect("a directory");
    bench.world.sandbox.file("work/chart/Chart.yaml", "apiVersion: v2\nname: hello\nversion: 1.2.3\n");
    bench.with_real_registry(|host| {
        bench.python(HELM_PUSHES_AND_PULLS, &[&charts(host)]).succeeds();
        assert!(bench.world.sandbox.path("work/back/hello-1.2.3.tgz").exists(), "the chart came back");
    });
}

#[test]
fn helm_tells_the_reason_and_stays_anonymous_elsewhere() {
    let Some(bench) = Bench::new(HELM) else { return };
    bench.stays_anonymous(HELM_PULLS, charts, "401: unauthorized: authentication required");
    let Some(mut bench) = Bench::new(HELM) else { return };
    bench.tells_why(HELM_PULLS, charts, quoted);
}
