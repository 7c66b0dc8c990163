//! kubectl with ycred as its exec plugin, against an API server that requires the token.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::client::{runs_of, wrapper};
use super::test_server::{Gate, TestServer, json_response, trust};
use crate::authority::Authority;
use crate::emulator::Config;
use crate::emulator::auth::TOKEN;
use crate::emulator::exchange::Algorithm;
use crate::harness::{Call, Run, Sandbox, YCRED, require_client, run_all, skip};
use crate::server::Request;
use crate::sources::workload::SUBJECT;
use crate::world::World;

/// Finds kubectl.
///
/// Google's packages install a dispatcher as `kubectl`. It runs the plugin once more to get the version of the server,
/// then executes one of the real programs next to it. The tests count runs of the plugin, so this returns a real one.
pub fn kubectl() -> Option<PathBuf> {
    let kubectl = require_client("kubectl")?;
    let program = kubectl.canonicalize().expect("kubectl's own path");
    let directory = program.parent().expect("a directory");
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(directory)
        .expect("kubectl's directory")
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let minor = entry.file_name().to_str()?.strip_prefix("kubectl.1.")?.parse().ok()?;
            Some((minor, entry.path()))
        })
        .collect();
    versions.sort();
    Some(versions.pop().map_or(kubectl, |(_, path)| path))
}

/// Starts an API server with just enough for `kubectl get --raw /version`, `kubectl get namespaces` and `kubectl get pods`.
pub fn api_server(authority: &Authority, gate: Gate) -> TestServer {
    TestServer::tls(authority, move |request: &Request| {
        if !gate.admits_bearer(request) {
            return json_response(
                401,
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": "Unauthorized", "reason": "Unauthorized", "code": 401}),
            );
        }
        match request.path.as_str() {
            "/version" => json_response(200, json!({"major": "1", "minor": "32", "gitVersion": "v1.32.4"})),
            "/api" => json_response(200, json!({"kind": "APIVersions", "versions": ["v1"]})),
            "/apis" => json_response(200, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})),
            "/api/v1" => json_response(
                200,
                json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
                    {"name": "namespaces", "singularName": "namespace", "namespaced": false, "kind": "Namespace",
                     "verbs": ["get", "list"]},
                    {"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": ["get", "list"]}]}),
            ),
            "/api/v1/namespaces" => json_response(
                200,
                json!({"kind": "NamespaceList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": [
                    {"metadata": {"name": "the-only-namespace", "creationTimestamp": "2026-01-01T00:00:00Z"},
                     "status": {"phase": "Active"}}]}),
            ),
            "/api/v1/namespaces/default/pods" => json_response(
                200,
                json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": [
                    {"metadata": {"name": "the-only-pod", "namespace": "default",
                     "creationTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Running"}}]}),
            ),
            _ => json_response(404, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404})),
        }
    })
}

/// A sandbox with an API server, and a kubeconfig that uses ycred as the plugin.
struct Cluster {
    world: World,
    gate: Gate,
    server: TestServer,
    kubectl: PathBuf,
    runs: PathBuf,
}

impl Cluster {
    fn new(version: &str) -> Option<Cluster> {
        Cluster::with(version, |_| PathBuf::from(YCRED))
    }

    /// Creates one whose plugin is another ycred, which the function puts into the sandbox.
    fn with(version: &str, program: impl FnOnce(&Sandbox) -> PathBuf) -> Option<Cluster> {
        let kubectl = kubectl()?;
        let mut world = World::without_profile(Config::default());
        let authority = Authority::new();
        let gate = Gate::of(&world);
        let server = api_server(&authority, gate.clone());
        world.profile_for("default", &[]);
        let (plugin, runs) = wrapper(&world.sandbox, "plugin", &program(&world.sandbox));
        let ca = trust(&world.sandbox, &authority);
        let kubeconfig = world.sandbox.file(
            "home/.kube/config",
            json!({
                "apiVersion": "v1", "kind": "Config", "current-context": "test",
                "clusters": [{"name": "test", "cluster": {
                    "server": format!("https://localhost:{}", server.port()), "certificate-authority": ca}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "users": [{"name": "test", "user": {"exec": {
                    "apiVersion": format!("client.authentication.k8s.io/{version}"), "command": plugin,
                    "args": ["kubectl"], "interactiveMode": "Never", "provideClusterInfo": true}}}],
            })
            .to_string(),
        );
        world.sandbox.seal().set("KUBECONFIG", kubeconfig);
        Some(Cluster { world, gate, server, kubectl, runs })
    }

    fn kubectl(&self, arguments: &[&str]) -> Call {
        self.world.sandbox.call(&self.kubectl, arguments)
    }

    fn version(&self) -> Run {
        self.kubectl(&["get", "--raw", "/version"]).run()
    }

    fn namespaces(&self) -> Run {
        self.kubectl(&["get", "namespaces"]).run()
    }

    #[track_caller]
    fn assert_only_token_seen(&self, token: &str) {
        let seen = self.server.authorizations();
        assert!(!seen.is_empty(), "no request had credentials");
        assert!(seen.iter().all(|header| *header == format!("Bearer {token}")), "the server saw {seen:?}");
    }
}

#[test]
fn two_commands_run_the_plugin_once_each_and_share_one_iam_request() {
    let Some(cluster) = Cluster::new("v1") else { return };
    cluster.version().succeeds().stderr_is_empty().stdout_has("v1.32.4");
    assert_eq!(runs_of(&cluster.runs), 1, "runs of the plugin");
    cluster.namespaces().succeeds().stderr_is_empty().stdout_has("the-only-namespace");
    assert_eq!(runs_of(&cluster.runs), 2, "runs of the plugin");
    assert_eq!(cluster.world.requests(), 1, "IAM requests");
    cluster.assert_only_token_seen(&cluster.world.last_token());
}

/// The three commands of the README, on a machine with a kubeconfig as yc writes it.
#[test]
fn the_first_commands_of_the_readme_lead_to_the_pods() {
    let Some(kubectl) = kubectl() else { return };
    let mut world = World::without_profile(Config::default());
    let authority = Authority::new();
    let server = api_server(&authority, Gate::of(&world));
    let key = world.emulator.new_service_account_key();
    key.write(world.sandbox.path("work/key.json")).expect("a key");
    let ca = trust(&world.sandbox, &authority);
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "yc-prod",
        "clusters": [{"name": "yc-managed-k8s-cat1", "cluster": {"certificate-authority": ca,
            "server": format!("https://localhost:{}", server.port())}}],
        "contexts": [{"name": "yc-prod", "context": {"cluster": "yc-managed-k8s-cat1", "user": "yc-managed-k8s-cat1"}}],
        "users": [{"name": "yc-managed-k8s-cat1", "user": {"exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1", "command": "/nonexistent/yc",
            "args": ["k8s", "create-token", "--profile=default"], "interactiveMode": "IfAvailable"}}}]});
    world.sandbox.file("home/.kube/config", kubeconfig.to_string());
    world.sandbox.link("ycred");
    world.sandbox.script("bin/kubectl", &format!("#!/bin/sh\nexec '{}' \"$@\"\n", kubectl.display()));
    world.sandbox.seal();

    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README.md");
    let block = readme.split("```sh\n").find(|block| block.contains("kubectl get pods\n")).expect("the commands");
    let script = block.split("```").next().expect("an end");
    assert_eq!(script.lines().count(), 3, "{script}");
    // In place of the cloud's own address.
    let here =
        script.replace("--key-file key.json", &format!("--key-file key.json --iam-url {}", world.emulator.url()));
    assert_ne!(here, script);
    let run = world.sandbox.call("sh", ["-euc", &here]).run().succeeds();
    run.stdout_has(&key.service_account_id).stdout_has("the-only-pod").never_prints(&world.last_token());
    assert_eq!(world.requests(), 1, "IAM requests");
}

#[test]
fn a_kubeconfig_with_v1beta1_gets_a_reply_in_v1beta1() {
    let Some(cluster) = Cluster::new("v1beta1") else { return };
    cluster.version().succeeds().stderr_is_empty().stdout_has("v1.32.4");
    cluster.assert_only_token_seen(&cluster.world.last_token());
}

#[test]
fn after_a_401_kubectl_runs_the_plugin_again_without_another_iam_request() {
    let Some(cluster) = Cluster::new("v1") else { return };
    cluster.gate.refuse_next(1);
    cluster.namespaces().succeeds().stdout_has("the-only-namespace");
    assert_eq!(runs_of(&cluster.runs), 2, "runs of the plugin");
    assert_eq!(cluster.world.requests(), 1, "IAM requests");
}

#[test]
fn a_revoked_token_is_returned_until_refresh_fetches_another() {
    let Some(cluster) = Cluster::new("v1") else { return };
    cluster.namespaces().succeeds();
    let first = cluster.world.last_token();
    cluster.world.revoke(&first);

    // kubectl does not tell the plugin about a 401, so ycred keeps serving the cached token and makes no request.
    cluster.version().fails().stderr_has("You must be logged in to the server");
    assert!(runs_of(&cluster.runs) > 2, "the plugin ran {} times", runs_of(&cluster.runs));
    assert_eq!(cluster.world.requests(), 1, "IAM requests");

    cluster.world.sandbox.ycred(["refresh"]).run().succeeds();
    assert_eq!(cluster.world.requests(), 2, "IAM requests");
    assert_ne!(cluster.world.last_token(), first);
    cluster.version().succeeds().stderr_is_empty();
    assert_eq!(cluster.world.requests(), 2, "IAM requests");
}

#[test]
fn every_run_explains_a_rejected_key_after_one_iam_request() {
    let Some(cluster) = Cluster::new("v1") else { return };
    let refusal = cluster.world.refuse();
    let run = cluster.namespaces().fails();
    let runs = runs_of(&cluster.runs);
    assert!(runs >= 2, "kubectl ran the failing plugin {runs} times\n{run}");
    assert_eq!(cluster.world.requests(), 1, "IAM requests\n{run}");
    assert!(cluster.server.requests().is_empty(), "a request was sent without a token");

    let errors = run.lines_of_stderr("ycred: error: ");
    assert_eq!(errors.len(), runs, "expected one error line per run\n{run}");
    assert!(errors.iter().all(|line| line.contains(refusal)), "expected the cloud's message in each\n{run}");
    assert!(run.lines_of_stderr("ycred: hint: ").len() <= runs, "expected at most one hint per run\n{run}");
    assert_eq!(run.lines_of_stderr("ycred: ").len(), errors.len() + run.lines_of_stderr("ycred: hint: ").len());
    // kubectl's own last line. The Status is not passed through to stdout.
    run.stderr_has("getting credentials: exec: executable ").stderr_has("failed with exit code 1").stdout_is("");
}

#[test]
fn no_run_repeats_the_request_before_the_retry_after_of_the_cloud() {
    let Some(cluster) = Cluster::new("v1") else { return };
    let message = cluster.world.make_unavailable();
    let run = cluster.namespaces().fails();
    let runs = runs_of(&cluster.runs);
    assert!(runs >= 2, "kubectl ran the failing plugin {runs} times\n{run}");
    assert_eq!(cluster.world.requests(), 1, "IAM requests\n{run}");
    let errors = run.lines_of_stderr("ycred: error: ");
    assert!(
        errors.len() == runs && errors.iter().all(|line| line.contains(message)),
        "expected the cloud's message in each\n{run}"
    );
}

#[test]
fn eight_kubectls_at_once_share_one_iam_request() {
    let Some(cluster) = Cluster::new("v1") else { return };
    for run in run_all((0..8).map(|_| cluster.kubectl(&["get", "--raw", "/version"]))) {
        run.succeeds().stderr_is_empty();
    }
    assert_eq!(runs_of(&cluster.runs), 8, "runs of the plugin");
    assert_eq!(cluster.world.requests(), 1, "IAM requests");
    cluster.assert_only_token_seen(&cluster.world.last_token());
}

#[test]
fn a_token_about_to_expire_does_not_make_kubectl_run_the_plugin_again() {
    let Some(cluster) = Cluster::new("v1") else { return };
    cluster.world.emulator.set(|settings| settings.life = std::time::Duration::from_secs(90));
    cluster.namespaces().succeeds().stderr_is_empty().stdout_has("the-only-namespace");
    // If the expiry were in the past, kubectl would run the plugin for every HTTP request.
    assert_eq!(runs_of(&cluster.runs), 1, "runs of the plugin");
}

#[test]
fn kubectl_finds_ycred_as_its_own_subcommand() {
    let Some(cluster) = Cluster::new("v1") else { return };
    cluster.world.sandbox.link("kubectl-ycred");
    let run = cluster.kubectl(&["ycred", "token"]).run().succeeds().stderr_is_empty();
    run.stdout_is(&format!("{}\n", cluster.world.last_token()));
}

#[test]
fn kubectl_inside_exec_works_although_exec_removes_the_variable_that_the_profile_reads() {
    let Some(cluster) = Cluster::new("v1") else { return };
    let World { emulator, sandbox, .. } = &cluster.world;
    let issuer = emulator.new_federation(Algorithm::Rs256);
    let account = emulator.new_service_account();
    emulator.new_federated_credential(&issuer, &account, SUBJECT);
    // GitLab's recipe: the job's ID token is in a variable.
    let auth_url = emulator.auth_url();
    let toml = format!(
        "source = \"workload\"\nservice-account-id = \"{account}\"\nauth-url = \"{auth_url}\"\n\
         subject-token-env = \"YC_ID_TOKEN\"\n"
    );
    sandbox.profile("default", &toml);
    let exec = sandbox.ycred(["exec", "--"]).env("YC_ID_TOKEN", issuer.token(SUBJECT));
    let call = exec.and([cluster.kubectl.as_os_str()]).and(["get", "namespaces"]);
    call.run().succeeds().stderr_is_empty().stdout_has("the-only-namespace");
    assert_eq!(emulator.requests(TOKEN), 1);
    let token = emulator.tokens().pop().expect("a token");
    cluster.assert_only_token_seen(&token);
    assert_eq!(emulator.subject_of(&token), Some(account));
}

#[test]
fn kubectl_gets_a_token_through_what_setup_wrote_and_the_file_comes_back() {
    let Some(cluster) = Cluster::new("v1") else { return };
    let world = &cluster.world;
    world.sandbox.link("ycred");
    let key = world.profile("prod", "");
    // As `yc managed-kubernetes cluster get-credentials` writes it. There is no yc on this machine.
    let (port, ca) = (cluster.server.port(), world.sandbox.path("home/.kube/config"));
    let test: serde_json::Value = serde_json::from_slice(&std::fs::read(&ca).expect("the file")).expect("JSON");
    let ca = test["clusters"][0]["cluster"]["certificate-authority"].as_str().expect("a path").to_owned();
    let text = format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority: {ca}\n    server: https://localhost:{port}\n  \
         name: yc-managed-k8s-cat1\ncontexts:\n- context:\n    cluster: yc-managed-k8s-cat1\n    user: yc-managed-k8s-cat1\n  \
         name: yc-test\ncurrent-context: yc-test\nkind: Config\npreferences: {{}}\nusers:\n- name: yc-managed-k8s-cat1\n  \
         user:\n    exec:\n      apiVersion: client.authentication.k8s.io/v1beta1\n      args:\n      - k8s\n      \
         - create-token\n      - --profile=prod\n      command: /home/somebody/yandex-cloud/bin/yc\n      env: null\n"
    );
    world.sandbox.file("home/.kube/config", &text);
    cluster.version().fails();
    let run = world.sandbox.ycred(["setup", "kubectl"]).run().succeeds().stderr_is_empty();
    run.stdout_has(&format!("yc profile prod → ycred profile prod (service account {})", key.service_account_id));
    cluster.version().succeeds().stderr_is_empty().stdout_has("v1.32.4");
    cluster.namespaces().succeeds().stdout_has("the-only-namespace");
    cluster.assert_only_token_seen(&world.last_token());
    world.sandbox.ycred(["unsetup", "--all"]).run().succeeds();
    assert_eq!(std::fs::read_to_string(world.sandbox.path("home/.kube/config")).expect("the file"), text);
}

/// What `.ci/release` runs, and nothing else does, because there is something to install.
mod release {
    use super::*;

    /// kubectl with the program of every archive and package for this machine.
    #[test]
    fn kubectl_gets_a_token_through_the_program_of_each_shipped_file() {
        let Some(dist) = std::env::var_os("YCRED_TEST_DIST").map(PathBuf::from) else {
            return skip("YCRED_TEST_DIST is not set: nothing was built to be installed");
        };
        let mut shipped: Vec<PathBuf> =
            std::fs::read_dir(dist).expect("the directory").map(|it| it.expect("an entry").path()).collect();
        let ends = if cfg!(target_arch = "aarch64") {
            ["aarch64-unknown-linux-musl.tar.gz", "_arm64.deb", ".aarch64.rpm", "-"]
        } else {
            ["x86_64-unknown-linux-musl.tar.gz", "_amd64.deb", ".x86_64.rpm", "x86_64-unknown-linux-gnu.tar.gz"]
        };
        shipped.retain(|path| ends.iter().any(|end| path.to_str().is_some_and(|path| path.ends_with(end))));
        assert!(shipped.len() >= 3, "an archive and two packages: {shipped:?}");
        for file in shipped {
            let unpacked = |sandbox: &Sandbox| {
                let place = sandbox.path("work/unpacked");
                let is_package = file.extension().is_some_and(|extension| extension == "deb");
                if is_package {
                    sandbox.call("dpkg-deb", [Path::new("-x"), &file, &place]).run().succeeds();
                } else {
                    std::fs::create_dir(&place).expect("a directory");
                    // It unpacks packages of rpm too.
                    sandbox.call("bsdtar", [Path::new("-xf"), &file, Path::new("-C"), &place]).run().succeeds();
                }
                let is_program =
                    |path: &PathBuf| path.file_name().is_some_and(|name| name == "ycred") && !path.is_dir();
                let found = sandbox.files("work/unpacked").into_iter().filter(|path| !path.is_symlink());
                let programs: Vec<PathBuf> = found
                    .filter(|path| path.ends_with("bin/ycred") || path.parent() == archive_root(&place).as_deref())
                    .filter(is_program)
                    .collect();
                assert_eq!(programs.len(), 1, "{}: {programs:?}", file.display());
                programs[0].clone()
            };
            let Some(cluster) = Cluster::with("v1", unpacked) else { return };
            let run = cluster.version().succeeds();
            assert!(run.stdout.contains("v1.32.4"), "{}: {run}", file.display());
            assert_eq!(runs_of(&cluster.runs), 1, "{}", file.display());
        }
    }

    /// Returns the one directory in an unpacked archive.
    fn archive_root(place: &Path) -> Option<PathBuf> {
        std::fs::read_dir(place).ok()?.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
            path.file_name().is_some_and(|name| name.to_str().is_some_and(|name| name.starts_with("ycred-v")))
        })
    }
}
