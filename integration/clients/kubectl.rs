//! kubectl against an API server that demands the bearer token.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::client::{runs_of, wrapper};
use super::stand_in::{Gate, StandIn, json_answer, trust};
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Call, Run, YCRED, require_client, run_all};
use crate::server::Request;
use crate::world::World;

/// Google's packages put a dispatcher in kubectl's place, which runs the plugin once more to ask for the server's version
/// and then becomes one of the real programs beside it. Counts of runs are about the real one.
fn kubectl() -> Option<PathBuf> {
    let found = require_client("kubectl")?;
    let program = found.canonicalize().expect("kubectl's own path");
    let directory = program.parent().expect("a directory");
    let mut beside: Vec<(u32, PathBuf)> = std::fs::read_dir(directory)
        .expect("kubectl's directory")
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let minor = entry.file_name().to_str()?.strip_prefix("kubectl.1.")?.parse().ok()?;
            Some((minor, entry.path()))
        })
        .collect();
    beside.sort();
    Some(beside.pop().map_or(found, |(_, path)| path))
}

/// The smallest API server that `kubectl get --raw /version` and `kubectl get namespaces` are content with.
fn api_server(authority: &Authority, gate: Gate) -> StandIn {
    StandIn::tls(authority, move |request: &Request| {
        if !gate.admits_bearer(request) {
            return json_answer(
                401,
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": "Unauthorized", "reason": "Unauthorized", "code": 401}),
            );
        }
        match request.path.as_str() {
            "/version" => json_answer(200, json!({"major": "1", "minor": "32", "gitVersion": "v1.32.4"})),
            "/api" => json_answer(200, json!({"kind": "APIVersions", "versions": ["v1"]})),
            "/apis" => json_answer(200, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})),
            "/api/v1" => json_answer(
                200,
                json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
                    {"name": "namespaces", "singularName": "namespace", "namespaced": false, "kind": "Namespace",
                     "verbs": ["get", "list"]}]}),
            ),
            "/api/v1/namespaces" => json_answer(
                200,
                json!({"kind": "NamespaceList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": [
                    {"metadata": {"name": "the-only-namespace", "creationTimestamp": "2026-01-01T00:00:00Z"},
                     "status": {"phase": "Active"}}]}),
            ),
            _ => json_answer(404, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404})),
        }
    })
}

/// A sandbox whose kubeconfig names this API server and ycred as its plugin, behind a wrapper that counts the runs.
struct Cluster {
    world: World,
    gate: Gate,
    server: StandIn,
    kubectl: PathBuf,
    runs: PathBuf,
}

impl Cluster {
    fn new(version: &str) -> Option<Cluster> {
        let kubectl = kubectl()?;
        let mut world = World::bare(Config::default());
        let authority = Authority::new();
        let gate = Gate::of(&world);
        let server = api_server(&authority, gate.clone());
        world.profile_for("default", &[]);
        let (plugin, runs) = wrapper(&world.sandbox, "plugin", Path::new(YCRED));
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
        assert!(!seen.is_empty(), "the server was asked nothing");
        assert!(seen.iter().all(|header| *header == format!("Bearer {token}")), "the server saw {seen:?}");
    }
}

#[test]
fn a_good_token_takes_one_run_a_command_and_one_iam_request_for_both() {
    let Some(cluster) = Cluster::new("v1") else { return };
    cluster.version().succeeds().quietly().stdout_has("v1.32.4");
    assert_eq!(runs_of(&cluster.runs), 1, "runs of the plugin");
    cluster.namespaces().succeeds().quietly().stdout_has("the-only-namespace");
    assert_eq!(runs_of(&cluster.runs), 2, "runs of the plugin");
    assert_eq!(cluster.world.requests(), 1, "IAM requests");
    cluster.assert_only_token_seen(&cluster.world.last_token());
}

#[test]
fn an_old_kubeconfig_that_asks_for_v1beta1_is_answered_in_v1beta1() {
    let Some(cluster) = Cluster::new("v1beta1") else { return };
    cluster.version().succeeds().quietly().stdout_has("v1.32.4");
    cluster.assert_only_token_seen(&cluster.world.last_token());
}

#[test]
fn a_401_runs_the_plugin_again_and_asks_the_cloud_nothing_more() {
    let Some(cluster) = Cluster::new("v1") else { return };
    cluster.gate.turn_away(1);
    cluster.namespaces().succeeds().stdout_has("the-only-namespace");
    assert_eq!(runs_of(&cluster.runs), 2, "runs of the plugin");
    assert_eq!(cluster.world.requests(), 1, "IAM requests");
}

#[test]
fn a_revoked_token_is_offered_until_refresh_brings_another() {
    let Some(cluster) = Cluster::new("v1") else { return };
    cluster.namespaces().succeeds();
    let first = cluster.world.last_token();
    cluster.world.revoke(&first);

    // kubectl says nothing to a plugin about a 401, so all that ycred can do is not to hammer the cloud.
    cluster.version().fails().stderr_has("You must be logged in to the server");
    assert!(runs_of(&cluster.runs) > 2, "the plugin ran {} times", runs_of(&cluster.runs));
    assert_eq!(cluster.world.requests(), 1, "IAM requests");

    cluster.world.sandbox.ycred(["refresh"]).run().succeeds();
    assert_eq!(cluster.world.requests(), 2, "IAM requests");
    assert_ne!(cluster.world.last_token(), first);
    cluster.version().succeeds().quietly();
    assert_eq!(cluster.world.requests(), 2, "IAM requests");
}

#[test]
fn a_refused_key_is_explained_by_every_run_but_asked_about_once() {
    let Some(cluster) = Cluster::new("v1") else { return };
    let refusal = cluster.world.refuse();
    let run = cluster.namespaces().fails();
    let runs = runs_of(&cluster.runs);
    assert!(runs >= 2, "kubectl ran the failing plugin {runs} times\n{run}");
    assert_eq!(cluster.world.requests(), 1, "IAM requests\n{run}");
    assert!(cluster.server.requests().is_empty(), "the server was asked all the same");

    let errors = run.lines_of_stderr("ycred: error: ");
    assert_eq!(errors.len(), runs, "one error line a run\n{run}");
    assert!(errors.iter().all(|line| line.contains(refusal)), "the cloud's reason in every one\n{run}");
    assert!(run.lines_of_stderr("ycred: hint: ").len() <= runs, "at most one hint a run\n{run}");
    assert_eq!(run.lines_of_stderr("ycred: ").len(), errors.len() + run.lines_of_stderr("ycred: hint: ").len());
    // kubectl's own last line, and nothing of the Status on stdout.
    run.stderr_has("getting credentials: exec: executable ").stderr_has("failed with exit code 1").stdout_is("");
}

#[test]
fn a_cloud_that_asks_for_patience_is_left_in_peace_by_all_further_runs() {
    let Some(cluster) = Cluster::new("v1") else { return };
    let words = cluster.world.break_down();
    let run = cluster.namespaces().fails();
    let runs = runs_of(&cluster.runs);
    assert!(runs >= 2, "kubectl ran the failing plugin {runs} times\n{run}");
    assert_eq!(cluster.world.requests(), 1, "IAM requests\n{run}");
    let errors = run.lines_of_stderr("ycred: error: ");
    assert!(errors.len() == runs && errors.iter().all(|line| line.contains(words)), "the reason in each\n{run}");
}

#[test]
fn eight_kubectls_at_once_share_one_iam_request() {
    let Some(cluster) = Cluster::new("v1") else { return };
    for run in run_all((0..8).map(|_| cluster.kubectl(&["get", "--raw", "/version"]))) {
        run.succeeds().quietly();
    }
    assert_eq!(runs_of(&cluster.runs), 8, "runs of the plugin");
    assert_eq!(cluster.world.requests(), 1, "IAM requests");
    cluster.assert_only_token_seen(&cluster.world.last_token());
}

#[test]
fn a_token_about_to_die_is_handed_on_with_an_expiry_that_does_not_make_kubectl_ask_again() {
    let Some(cluster) = Cluster::new("v1") else { return };
    cluster.world.emulator.set(|settings| settings.life = std::time::Duration::from_secs(90));
    cluster.namespaces().succeeds().quietly().stdout_has("the-only-namespace");
    // An expiry in the past would cost a run for every HTTP request.
    assert_eq!(runs_of(&cluster.runs), 1, "runs of the plugin");
}

#[test]
fn kubectl_finds_ycred_as_a_subcommand_of_its_own() {
    let Some(cluster) = Cluster::new("v1") else { return };
    cluster.world.sandbox.link("kubectl-ycred");
    let run = cluster.kubectl(&["ycred", "token"]).run().succeeds().quietly();
    run.stdout_is(&format!("{}\n", cluster.world.last_token()));
}
