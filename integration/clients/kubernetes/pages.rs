//! The pages about tools that run in a cluster: what they tell users to paste is merged, validated and run.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use serde_json::{Value, json};

use super::manifests::{documents, is_restricted, of_kind, pod_of};
use super::pod::Pod;
use crate::authority::Authority;
use crate::clients::kubectl::{api_server, kubectl};
use crate::clients::test_server::Gate;
use crate::clients::versions::KUBERNETES;
use crate::emulator::Config;
use crate::emulator::exchange::{Algorithm, Issuer};
use crate::harness::{Sandbox, require_client};
use crate::packages;
use crate::world::World;

/// Returns the content of the only code block of a page with this info string.
#[track_caller]
pub fn block(page: &str, info: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/kubernetes/{page}.md"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let found: Vec<&str> = text.split(&format!("```{info}\n")).skip(1).collect();
    assert_eq!(found.len(), 1, "{page} has not one block {info:?}");
    found[0].split("\n```").next().expect("an end").to_owned() + "\n"
}

/// A cloud with a federated credential for the service account of a tool.
struct Cloud {
    world: World,
    account: String,
    token: String,
    _issuer: Issuer,
}

impl Cloud {
    fn for_subject(subject: &str) -> Cloud {
        let world = World::without_profile(Config::default());
        let issuer = world.emulator.new_federation(Algorithm::Rs256);
        let account = world.emulator.new_service_account();
        world.emulator.new_federated_credential(&issuer, &account, subject);
        let token = issuer.token(subject);
        Cloud { world, account, token, _issuer: issuer }
    }

    /// Returns the pod of a tool with the page's patch. `user` is the user of its container, which is called `container`.
    fn patched(&self, page: &str, user: u32, container: &str, change: impl Fn(&mut Value)) -> Option<Pod<'_>> {
        let patch = block(page, "yaml patch");
        let patched = documents(&patch)?.remove(0);
        let labels = json!({"app": page});
        let mut base = json!({
        "apiVersion": "apps/v1", "kind": patched["kind"], "metadata": {"name": patched["metadata"]["name"]},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    // A file in a volume of the tool's own, which the patch must keep.
                    "volumes": [{"name": "own", "emptyDir": {}}],
                    "containers": [{
                        "name": container, "image": "registry.example.com/tool:1",
                        "securityContext": {"runAsUser": user, "runAsGroup": user},
                        "volumeMounts": [{"name": "own", "mountPath": "/own"}]}],
                }}}});
        if patched["kind"] == "StatefulSet" {
            base["spec"]["serviceName"] = page.into();
        }
        let sandbox = &self.world.sandbox;
        sandbox.file("work/overlay/base.yaml", base.to_string());
        sandbox.file("work/overlay/patch.yaml", patch);
        let directory = sandbox
            .file("work/overlay/kustomization.yaml", "resources: [base.yaml]\npatches: [{path: patch.yaml}]\n")
            .with_file_name("");
        let run = sandbox.call(kubectl()?, ["kustomize".into(), directory]).run().succeeds();
        validate(sandbox, &run.stdout)?;
        let documents = documents(&run.stdout)?;
        let mut spec = pod_of(of_kind(&documents, patched["kind"].as_str().expect("a kind"))).clone();
        assert_eq!(spec["containers"].as_array().map(Vec::len), Some(1), "the patch names another container");
        // The tool's pod may have no defaults of its own.
        let installer = &spec["initContainers"][0];
        is_restricted(installer, page);
        assert_eq!(installer["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{page}");
        assert_eq!(installer["securityContext"]["runAsNonRoot"], true, "{page}");
        change(&mut spec);
        let pod = Pod::new(sandbox, &spec, &[], &self.token)?;
        let pod = pod.env("YCRED_AUTH_URL", &self.world.emulator.auth_url());
        // In place of the page's placeholder.
        Some(pod.env("YCRED_SERVICE_ACCOUNT_ID", &self.account))
    }
}

/// Checks objects against the newest schemas of Kubernetes.
fn validate(sandbox: &Sandbox, yaml: &str) -> Option<()> {
    let python = packages::python(KUBERNETES)?.join("python");
    let file = sandbox.file("work/objects.yaml", yaml);
    sandbox.call(python, ["-m", "kubernetes_validate", "--strict"]).and([file]).run().succeeds();
    Some(())
}

/// Runs kubectl in a container of a tool, with a kubeconfig whose server is one that accepts only IAM tokens.
#[track_caller]
fn deploys_with(cloud: &Cloud, page: &str, user: u32, container: &str, mut kubeconfig: Value) -> Option<()> {
    let authority = Authority::new();
    let server = api_server(&authority, Gate::of(&cloud.world));
    let cluster = &mut kubeconfig["clusters"][0]["cluster"];
    cluster["server"] = format!("https://127.0.0.1:{}", server.port()).into();
    cluster["certificate-authority-data"] = base64::engine::general_purpose::STANDARD.encode(authority.pem()).into();
    let mut pod = cloud.patched(page, user, container, |spec| {
        spec["containers"][0]["command"] =
            json!(["kubectl", "--kubeconfig=/kubeconfig/config", "--cache-dir=/own/cache", "get", "namespaces"]);
    })?;
    pod.mount("kubeconfig", "/kubeconfig", &[("config".to_owned(), kubeconfig.to_string())]);
    pod.container("ycred").run().succeeds().stderr_is_empty();
    for _ in 0..2 {
        pod.container(container).run().succeeds().stderr_is_empty().stdout_has("the-only-namespace");
    }
    let token = cloud.world.last_token();
    assert_eq!(cloud.world.emulator.subject_of(&token).as_ref(), Some(&cloud.account));
    assert_eq!(cloud.world.emulator.tokens().len(), 1, "the second run must find the cached token");
    Some(())
}

#[test]
fn argo_cd_deploys_to_a_cluster_with_the_settings_of_the_page() {
    let secret = block("argo-cd", "yaml cluster");
    let Some(mut documents) = documents(&secret) else { return };
    let secret_object = documents.remove(0);
    let config = secret_object["stringData"]["config"].as_str().expect("a string");
    let config: Value = serde_json::from_str(config).expect("JSON");
    let exec = &config["execProviderConfig"];
    // How Argo CD turns these settings into those of the Go library (`Cluster.RawRestConfig`).
    let mut user = json!({"apiVersion": exec["apiVersion"], "command": exec["command"], "args": exec["args"],
        "interactiveMode": "Never"});
    user["env"] = exec["env"].clone();
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "users": [{"name": "it", "user": {"exec": user}}]});
    let cloud = Cloud::for_subject("system:serviceaccount:argocd:argocd-application-controller");
    assert_eq!(secret_object["metadata"]["labels"]["argocd.argoproj.io/secret-type"], "cluster");
    let Some(()) = validate(&cloud.world.sandbox, &secret) else { return };
    let _ = deploys_with(&cloud, "argo-cd", 999, "argocd-application-controller", kubeconfig);
}

#[test]
fn flux_deploys_to_a_cluster_with_the_kubeconfig_of_the_page() {
    let Some(mut documents) = documents(&block("flux", "yaml kubeconfig")) else { return };
    let cloud = Cloud::for_subject("system:serviceaccount:flux-system:kustomize-controller");
    let _ = deploys_with(&cloud, "flux", 65534, "manager", documents.remove(0));
}

#[test]
fn atlantis_runs_terraform_with_a_token_that_is_only_in_its_environment() {
    let Some(_) = require_client("terraform") else { return };
    let Some(mut documents) = documents(&block("atlantis", "yaml workflows")) else { return };
    let workflow = documents.remove(0)["workflows"]["default"].take();
    let cloud = Cloud::for_subject("system:serviceaccount:infra:atlantis");
    let main = "resource \"terraform_data\" \"it\" {\n  provisioner \"local-exec\" {\n    \
                command = \"test $YC_TOKEN = $YC_IAM_TOKEN && echo $YC_TOKEN > /own/token\"\n  }\n}\n";
    let mut steps = Vec::new();
    for stage in ["plan", "apply"] {
        for step in workflow[stage]["steps"].as_array().expect("steps") {
            steps.push(step["run"].as_str().expect("a command").to_owned());
        }
    }
    assert_eq!(steps.len(), 4);
    for (at, step) in steps.iter().enumerate() {
        let _ = fs::remove_dir_all(cloud.world.sandbox.path("work/overlay"));
        // Atlantis runs each step in the directory of the project. The volumes stay, as in one pod.
        let volumes = cloud.world.sandbox.path("caches/volumes");
        let kept = cloud.world.sandbox.path("caches/kept");
        if volumes.exists() {
            fs::rename(&volumes, &kept).expect("renamed");
        }
        let pod = cloud.patched("atlantis", 100, "atlantis", |spec| {
            spec["containers"][0]["command"] = json!(["/bin/sh", "-c", format!("cd /own && {step}")]);
        });
        let Some(pod) = pod else { return };
        if kept.exists() {
            fs::remove_dir_all(&volumes).expect("removed");
            fs::rename(&kept, &volumes).expect("renamed");
        } else {
            fs::write(pod.volume("own").join("main.tf"), main).expect("written");
            pod.container("ycred").run().succeeds();
        }
        let pod = ["HOME", "TMPDIR"].into_iter().fold(pod, |pod, name| pod.env(name, "/own"));
        let pod = pod.env("PLANFILE", "/own/plan.tfplan").env("WORKSPACE", "staging").env("CHECKPOINT_DISABLE", "1");
        let run = pod.container("atlantis").run().succeeds().stderr_is_empty();
        for token in cloud.world.emulator.tokens() {
            run.clone().never_prints(&token);
        }
        let expected = ["successfully initialized", "workspace \"staging\"", "1 to add", "1 added"][at];
        run.stdout_has(expected);
        if at == 3 {
            let token = fs::read_to_string(pod.volume("own").join("token")).expect("the token");
            assert_eq!(token.trim(), cloud.world.last_token());
            // The plan file contains no token.
            let plan = fs::read(pod.volume("own").join("plan.tfplan")).expect("the plan");
            let token = token.trim().as_bytes();
            assert!(!plan.windows(token.len()).any(|window| window == token));
        }
    }
    assert_eq!(cloud.world.emulator.tokens().len(), 1);
}

#[test]
fn a_job_of_the_gitlab_runner_gets_a_token_for_its_id_token() {
    let Some(mut documents) = documents(&block("gitlab-runner", "yaml job")) else { return };
    let job = documents.remove(0)["deploy"].take();
    let cloud = Cloud::for_subject("project_path:group/project:ref_type:branch:ref:main");
    let world = &cloud.world;
    world.sandbox.link("ycred");
    // The runner joins the lines to one script, which ends at the first failure.
    let script = job["script"].as_array().expect("a script").iter().map(|line| line.as_str().expect("a command"));
    let script = script.collect::<Vec<_>>().join("\n");
    let file = world.sandbox.path("work/id-token");
    let call = |token: &str| {
        let call = world.sandbox.call("sh", ["-euc", &script]).env("GITLAB_OIDC_TOKEN", token);
        // The variables of the page, except for the places and the placeholder.
        let variables = job["variables"].as_object().expect("variables");
        assert_eq!(variables.keys().collect::<Vec<_>>(), ["YCRED_SERVICE_ACCOUNT_ID", "YCRED_SUBJECT_TOKEN_FILE"]);
        call.env("YCRED_SERVICE_ACCOUNT_ID", cloud.account.as_str())
            .env("YCRED_SUBJECT_TOKEN_FILE", &file)
            .env("YCRED_AUTH_URL", world.emulator.auth_url())
    };
    let run = call(&cloud.token).run().succeeds().stderr_is_empty().stdout_has("deployed");
    run.never_prints(&world.last_token()).never_prints(&cloud.token);
    assert_eq!(crate::harness::files::mode(&file), 0o600);
    assert_eq!(world.emulator.tokens().len(), 1);
    assert!(job["id_tokens"]["GITLAB_OIDC_TOKEN"]["aud"].is_string());
    // Another branch.
    let run = call("eyJhbGciOiJub25lIn0.e30.").run().fails();
    assert!(!run.stdout.contains("deployed"), "{run}");
}
