//! The manifests in `packaging/kubernetes`, rendered by kubectl and checked against Kubernetes' own schemas.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::clients::kubectl::kubectl;
use crate::clients::versions::KUBERNETES;
use crate::harness::Sandbox;
use crate::packages;

/// The directories with manifests.
pub const DIRECTORIES: [&str; 3] = ["kubelet", "pull-secret", "sidecar"];
/// The versions of Kubernetes whose schemas the manifests follow.
const VERSIONS: [&str; 3] = ["1.31", "1.34", "1.37"];

pub fn packaging(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/kubernetes").join(relative)
}

/// Returns the documents that `kubectl apply -k` would send, and the YAML.
pub fn rendered(directory: &str) -> Option<(Vec<Value>, String)> {
    let sandbox = Sandbox::new();
    let run = sandbox.call(kubectl()?, ["kustomize".into(), packaging(directory)]).run().succeeds().stderr_is_empty();
    Some((documents(&run.stdout)?, run.stdout))
}

/// Parses YAML documents.
pub fn documents(yaml: &str) -> Option<Vec<Value>> {
    let python = packages::python(KUBERNETES)?.join("python");
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))";
    let run = Sandbox::new().call(python, ["-c", script]).stdin(yaml).run().succeeds().stderr_is_empty();
    Some(serde_json::from_str(&run.stdout).expect("JSON"))
}

/// Returns the only document of this kind.
#[track_caller]
pub fn of_kind<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<&Value> = documents.iter().filter(|document| document["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "documents of kind {kind}");
    found[0]
}

/// Returns the specification of the pods of an object.
pub fn pod_of(document: &Value) -> &Value {
    match document["kind"].as_str() {
        Some("DaemonSet" | "Deployment" | "StatefulSet") => &document["spec"]["template"]["spec"],
        Some("CronJob") => &document["spec"]["jobTemplate"]["spec"]["template"]["spec"],
        _ => &document["spec"],
    }
}

pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"].into_iter().flat_map(|list| pod[list].as_array().into_iter().flatten())
}

#[test]
fn every_manifest_follows_the_schemas_of_three_versions_of_kubernetes() {
    let Some(bin) = packages::python(KUBERNETES) else { return };
    let sandbox = Sandbox::new();
    let mut files = vec![packaging("pull-secret/secret.yaml")];
    for directory in DIRECTORIES {
        let Some((_, yaml)) = rendered(directory) else { return };
        files.push(sandbox.file(format!("work/{directory}.yaml"), yaml));
    }
    let validate = |version: &str, file: &Path| {
        let options = ["-m", "kubernetes_validate", "--strict", "-k", version].map(AsRef::as_ref);
        sandbox.call(bin.join("python"), options.into_iter().chain([file.as_os_str()])).run()
    };
    for version in VERSIONS {
        for file in &files {
            let run = validate(version, file).succeeds();
            assert!(run.stdout.contains("passed") && !run.stdout.contains("ERROR"), "{run}");
        }
    }
    // The validator does find mistakes.
    let text = std::fs::read_to_string(files.last().expect("a file")).expect("readable");
    let wrong = sandbox.file("work/wrong.yaml", text.replace("volumeMounts:", "volumeMount:"));
    let run = validate(VERSIONS[0], &wrong).fails();
    assert!(run.stdout.contains("volumeMount") || run.stderr.contains("volumeMount"), "{run}");
}

/// Asserts that a container has no privileges, a read-only root and limits.
#[track_caller]
pub fn is_restricted(container: &Value, name: &str) {
    let context = &container["securityContext"];
    assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
    assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
    assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]), "{name}");
    assert!(context["capabilities"]["add"].is_null() && context["privileged"].is_null(), "{name}");
    for limit in ["cpu", "memory"] {
        assert!(container["resources"]["limits"][limit].is_string(), "{name} has no limit for {limit}");
    }
}

#[test]
fn every_container_is_restricted_and_has_limits() {
    let mut checked = 0;
    for directory in DIRECTORIES {
        let Some((documents, _)) = rendered(directory) else { return };
        for pod in documents.iter().map(pod_of).filter(|pod| pod["containers"].is_array()) {
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{directory}");
            for field in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(pod[field].is_null(), "{directory}: {field}");
            }
            for container in containers(pod) {
                let context = &container["securityContext"];
                let name = format!("{directory}: {}", container["name"]);
                is_restricted(container, &name);
                let image = container["image"].as_str().unwrap_or_default();
                assert!(image.contains('/') && image.contains(':'), "{name}: no image in kustomization.yaml: {image}");
                // Only what installs on the node is root.
                let user = context["runAsUser"].as_u64().or(pod["securityContext"]["runAsUser"].as_u64());
                let is_root = directory == "kubelet" && container["args"][0] == "install";
                assert_eq!(user == Some(0), is_root, "{name}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 8, "{checked} containers");
}
