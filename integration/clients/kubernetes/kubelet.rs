//! The DaemonSet that installs the image credential provider, and the kubelet's call of what it has installed.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::manifests::{documents, of_kind, pod_of, rendered};
use super::pod::Pod;
use crate::emulator::Config;
use crate::harness::Run;
use crate::harness::files::{mode, names};
use crate::world::World;

/// The flags that the page tells users to set.
const BIN_DIR: &str = "/opt/ycred/bin";
const CONFIG: &str = "/etc/ycred/credential-provider.yaml";

/// Runs both init containers of the DaemonSet, one after the other.
fn install(pod: &Pod<'_>) -> [Run; 2] {
    ["program", "configuration"].map(|name| pod.container(name).run().succeeds().stderr_is_empty())
}

/// Pulls an image as the kubelet of this node does: with the configuration and the program that its flags name, in the
/// environment of a system service.
fn pull(world: &World, node: &Pod<'_>, image: &str, environment: &[(&str, String)]) -> Option<Run> {
    let config = fs::read_to_string(node.node(CONFIG)).expect("the kubelet's configuration");
    let config = documents(&config)?.remove(0);
    let provider = &config["providers"][0];
    let program = format!("{BIN_DIR}/{}", provider["name"].as_str().expect("a name"));
    let mount = |name: &str, path: &str| json!({"name": name, "mountPath": path});
    let host = |name: &str, path: &str| json!({"name": name, "hostPath": {"path": path, "type": "DirectoryOrCreate"}});
    let spec = json!({
        "volumes": [host("kubelet-bin", BIN_DIR), host("kubelet-etc", "/etc/ycred"), host("kubelet-run", "/run")],
        "containers": [{
            "name": "kubelet", "image": "node/ycred:1",
            "command": [program], "args": provider["args"], "env": provider["env"],
            "securityContext": {"runAsUser": 0, "runAsGroup": 0},
            "volumeMounts": [mount("kubelet-bin", BIN_DIR), mount("kubelet-etc", "/etc/ycred"), mount("kubelet-run", "/run")],
        }],
    });
    let _ = fs::remove_dir_all(world.sandbox.path("tmp/kubelet"));
    for volume in ["kubelet-bin", "kubelet-etc", "kubelet-run"] {
        let _ = fs::remove_file(node.volume(volume));
    }
    let mut kubelet = Pod::new(&world.sandbox, &spec, &[], "")?;
    for (name, value) in environment {
        kubelet = kubelet.env(name, value);
    }
    let request = json!({"kind": "CredentialProviderRequest",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "image": image});
    Some(kubelet.container("kubelet").stdin(format!("{request}\n")).run())
}

/// Returns the password for the only registry in a response.
#[track_caller]
fn password(run: &Run, registry: &str) -> String {
    let response: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
    let auth = &response["auth"][registry];
    assert_eq!((&response["kind"], &auth["username"]), (&json!("CredentialProviderResponse"), &json!("iam")), "{run}");
    auth["password"].as_str().expect("a password").to_owned()
}

#[test]
fn on_a_virtual_machine_the_installed_provider_gets_the_node_s_token() {
    let Some((manifests, _)) = rendered("kubelet") else { return };
    let world = World::without_profile(Config::default());
    world.emulator.attach(Some("ajenodes000000000000"));
    let Some(pod) = Pod::new(&world.sandbox, pod_of(of_kind(&manifests, "DaemonSet")), &manifests, "") else { return };
    install(&pod)[0].clone().stdout_has("/node/bin: installed ycred");

    let bin = names(&pod.node(BIN_DIR));
    assert!(bin.contains(&pod.node(BIN_DIR).join("ycred")) && bin.len() == 7, "{bin:?}");
    let configuration: Vec<PathBuf> = names(&pod.node("/etc/ycred"));
    assert_eq!(configuration, ["credential-provider.yaml", "default.toml"].map(|it| pod.node("/etc/ycred").join(it)));
    assert!(configuration.iter().all(|file| mode(file) == 0o600));

    // The shipped profile names the metadata service by its usual address, which the emulator replaces.
    let metadata = [("YC_METADATA_ADDR", world.emulator.metadata_addr())];
    let Some(run) = pull(&world, &pod, "cr.yandex/crp0/app:1", &metadata) else { return };
    let password_of_first = password(&run.succeeds().stderr_is_empty(), "cr.yandex");
    assert_eq!(password_of_first, world.last_token());
    assert_eq!(names(&pod.node("/run")), [pod.node("/run/ycred")], "the cache");
    let run = pull(&world, &pod, "registry.yandexcloud.net/a/b:1", &metadata).expect("as before");
    assert_eq!(password(&run, "registry.yandexcloud.net"), password_of_first, "from the cache");
    assert_eq!(world.emulator.tokens().len(), 1);

    // A restarted pod changes nothing, so it does no harm to a kubelet that is running the program.
    let [program, configuration] = install(&pod);
    program.stdout_has("is already installed");
    configuration.stdout_has("unchanged");
}

#[test]
fn a_rotated_key_reaches_the_node_with_the_next_rollout() {
    let Some((manifests, _)) = rendered("kubelet") else { return };
    let world = World::without_profile(Config::default());
    let spec = pod_of(of_kind(&manifests, "DaemonSet"));
    let profile =
        format!("source = \"authorized-key\"\nkey-file = \"key.json\"\niam-url = \"{}\"\n", world.emulator.url());
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let key = world.emulator.new_service_account_key();
        let path = world.sandbox.path("work/key.json");
        key.write(&path).expect("a key");
        let mut objects = manifests.clone();
        let map = objects.iter_mut().find(|object| object["kind"] == "ConfigMap").expect("a ConfigMap");
        map["data"]["default.toml"] = profile.clone().into();
        objects.push(json!({"kind": "Secret", "metadata": {"name": "ycred-node-key"},
            "data": {"key.json": fs::read_to_string(&path).expect("a key")}}));
        let _ = fs::remove_dir_all(world.sandbox.path("caches/volumes"));
        let Some(pod) = Pod::new(&world.sandbox, spec, &objects, "") else { return };
        install(&pod)[1].clone().stdout_has("key.json");
        assert_eq!(mode(&pod.node("/etc/ycred/key.json")), 0o600);
        let Some(run) = pull(&world, &pod, "cr.yandex/crp0/app:1", &[]) else { return };
        tokens.push(password(&run.succeeds().stderr_is_empty(), "cr.yandex"));
    }
    assert_ne!(tokens[0], tokens[1]);
    assert_eq!(tokens, world.emulator.tokens());
}

#[test]
fn the_containers_cannot_write_anywhere_else_on_the_node() {
    let Some((manifests, _)) = rendered("kubelet") else { return };
    let spec = pod_of(of_kind(&manifests, "DaemonSet"));
    let volumes = spec["volumes"].as_array().expect("volumes");
    let mut host_paths: Vec<&str> = volumes.iter().filter_map(|volume| volume["hostPath"]["path"].as_str()).collect();
    host_paths.sort_unstable();
    assert_eq!(host_paths, ["/etc/ycred", BIN_DIR]);
    // Each container gets only one of them, and the one that stays gets none.
    let writable = |container: &Value| -> Vec<String> {
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        let writable = mounts.filter(|mount| mount["readOnly"] != true);
        writable.map(|mount| mount["name"].as_str().expect("a name").to_owned()).collect()
    };
    let all: Vec<Vec<String>> = super::manifests::containers(spec).map(writable).collect();
    assert_eq!(all, [vec!["bin".to_owned()], vec!["etc".to_owned()], vec![]]);
    let world = World::without_profile(Config::default());
    let Some(pod) = Pod::new(&world.sandbox, spec, &manifests, "") else { return };
    // As root, but without capabilities and on a read-only root.
    let probe = pod.container("program").run().succeeds();
    assert!(probe.stderr.is_empty());
    for directory in ["/usr", "/new"] {
        let mut elsewhere = spec.clone();
        elsewhere["initContainers"][0]["args"] = json!(["install", directory]);
        let _ = fs::remove_dir_all(world.sandbox.path("caches/volumes"));
        let pod = Pod::new(&world.sandbox, &elsewhere, &manifests, "").expect("as before");
        pod.container("program").run().exits(2).stderr_has("the file system is read-only");
    }
}
