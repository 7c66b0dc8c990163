//! Runs the containers of a pod as a container runtime does, without one.
//!
//! A container gets a root file system of its own with its volumes, its user, no capabilities, and only its own
//! environment. It shares the network of this machine, where the test's servers are. There is no seccomp filter.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::clients::kubectl::kubectl;
use crate::harness::files::set_mode;
use crate::harness::machine::require_root;
use crate::harness::{Call, Sandbox, YCRED, find};

/// Mounts the root file system and the volumes, then starts the program. The arguments are the directory for the root, the
/// options of `setpriv`, and the program.
///
/// The binary of the tests is linked dynamically, so every image gets this machine's libraries.
const START: &str = r#"
root=$1; shift
mount -t tmpfs -o mode=0755 none "$root"
cd "$root"
bind() { mkdir -p ".$2"; mount --rbind "$1" ".$2"; [ "$3" = rw ] || mount -o "remount,bind,$3" ".$2"; }
for directory in /lib /lib64 /usr/lib; do [ ! -d "$directory" ] || bind "$directory" "$directory" ro; done
mkdir -p proc dev .tools .old tmp; mount --rbind /proc proc; mount --rbind /dev dev
for tool in setpriv env; do : > ".tools/$tool"; mount --bind "$(command -v "$tool")" ".tools/$tool"; done
IMAGE
VOLUMES
mount -o remount,ro,bind "$root"
pivot_root . .old
exec /.tools/setpriv --bounding-set=-all --inh-caps=-all --no-new-privs --clear-groups "$@"
"#;

/// A pod and its volumes.
pub struct Pod<'a> {
    sandbox: &'a Sandbox,
    spec: Value,
    /// Where its volumes and the directories of its node are.
    place: PathBuf,
    environment: Vec<(String, String)>,
    kubectl: PathBuf,
}

impl<'a> Pod<'a> {
    /// Creates the pod's volumes. `objects` are the ConfigMaps and Secrets that exist, and `token` is the token of its
    /// service account for every audience.
    pub fn new(sandbox: &'a Sandbox, spec: &Value, objects: &[Value], token: &str) -> Option<Pod<'a>> {
        if !require_root(&["unshare", "setpriv", "mount", "pivot_root"]) {
            return None;
        }
        let pod = Pod {
            sandbox,
            spec: spec.clone(),
            place: sandbox.path("caches"),
            environment: Vec::new(),
            kubectl: kubectl()?,
        };
        for volume in spec["volumes"].as_array().into_iter().flatten() {
            let directory = pod.volume(volume["name"].as_str().expect("a name"));
            if let Some(path) = volume["hostPath"]["path"].as_str() {
                assert_eq!(volume["hostPath"]["type"], "DirectoryOrCreate");
                fs::create_dir_all(pod.node(path)).expect("a directory");
                symlink(pod.node(path), &directory).expect("a link");
                continue;
            }
            fs::create_dir_all(&directory).expect("a directory");
            if volume["emptyDir"].is_object() {
                set_mode(&directory, 0o777);
                continue;
            }
            let sources = match volume["projected"]["sources"].as_array() {
                Some(sources) => sources.clone(),
                None => vec![volume.clone()],
            };
            let mut files: Vec<(String, String)> = Vec::new();
            for source in sources {
                if let Some(path) = source["serviceAccountToken"]["path"].as_str() {
                    files.push((path.to_owned(), token.to_owned()));
                    continue;
                }
                let (kind, name, optional) = match source["configMap"]["name"].as_str() {
                    Some(name) => ("ConfigMap", name, &source["configMap"]["optional"]),
                    None => {
                        let secret = &source["secret"];
                        let name = secret["name"].as_str().or(secret["secretName"].as_str());
                        ("Secret", name.expect("a kind of volume"), &secret["optional"])
                    }
                };
                let object = objects.iter().find(|it| it["kind"] == kind && it["metadata"]["name"] == name);
                assert!(object.is_some() || *optional == true, "there is no {kind} {name}");
                let data = object.and_then(|object| object["data"].as_object());
                files.extend(
                    data.into_iter()
                        .flatten()
                        .map(|(file, text)| (file.clone(), text.as_str().unwrap_or("").to_owned())),
                );
            }
            mount_files(&directory, &files);
        }
        Some(pod)
    }

    /// Sets a variable in every container, in addition to those in the manifest.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns where a directory of the node is.
    pub fn node(&self, path: &str) -> PathBuf {
        self.place.join("node").join(path.trim_start_matches('/'))
    }

    pub fn volume(&self, name: &str) -> PathBuf {
        let volumes = self.place.join("volumes");
        fs::create_dir_all(&volumes).expect("a directory");
        volumes.join(name)
    }

    /// Adds a volume that the cluster mounts into every container.
    pub fn mount(&mut self, name: &str, path: &str, files: &[(String, String)]) {
        let directory = self.volume(name);
        fs::create_dir_all(&directory).expect("a directory");
        mount_files(&directory, files);
        for list in ["initContainers", "containers"] {
            for container in self.spec[list].as_array_mut().into_iter().flatten() {
                let mounts = container["volumeMounts"].as_array_mut().expect("mounts");
                mounts.push(serde_json::json!({"name": name, "mountPath": path, "readOnly": true}));
            }
        }
    }

    /// Returns a call that runs a container.
    #[track_caller]
    pub fn container(&self, name: &str) -> Call {
        let all = ["initContainers", "containers"].into_iter().flat_map(|list| self.spec[list].as_array());
        let container = all.flatten().find(|container| container["name"] == name).expect("a container");
        let strings = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().map(|text| text.as_str().expect("a string").to_owned()).collect()
        };
        let image = container["image"].as_str().expect("an image");
        let (setup, entry_point, path) = if image.contains("/ycred:") {
            (format!(": > ycred; mount --bind '{YCRED}' ycred"), vec!["/ycred".to_owned()], "/")
        } else {
            // An ordinary image with a shell.
            let kubectl = self.kubectl.display();
            let setup = format!(
                "bind /usr /usr ro; for link in bin sbin; do ln -s usr/$link $link; done; mkdir image; : > image/kubectl; \
                 mount --bind {kubectl} image/kubectl"
            );
            (setup, Vec::new(), "/image:/usr/local/bin:/usr/bin:/bin")
        };
        let mut volumes = String::new();
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let volume = self.volume(mount["name"].as_str().expect("a name"));
            let volume = volume.canonicalize().expect("the manifest has this volume");
            let mode = if mount["readOnly"] == true { "ro" } else { "rw" };
            volumes +=
                &format!("bind '{}' '{}' {mode}\n", volume.display(), mount["mountPath"].as_str().expect("a path"));
        }
        let root = self.sandbox.path(format!("tmp/{name}"));
        fs::create_dir_all(&root).expect("a directory");
        let id = |field: &str| {
            let (own, of_pod) = (&container["securityContext"][field], &self.spec["securityContext"][field]);
            own.as_u64().or(of_pod.as_u64()).unwrap_or_else(|| panic!("{name}: no {field}")).to_string()
        };
        let script = START.replace("IMAGE", &setup).replace("VOLUMES", &volumes);
        let mut arguments: Vec<String> =
            ["-m", "--propagation", "private", "sh", "-euc", &script, "sh"].map(str::to_owned).into();
        arguments.push(root.display().to_string());
        arguments.extend([format!("--reuid={}", id("runAsUser")), format!("--regid={}", id("runAsGroup"))]);
        arguments.extend(["/.tools/env".to_owned(), "-i".to_owned(), format!("PATH={path}")]);
        for variable in container["env"].as_array().into_iter().flatten() {
            let (name, value) = (variable["name"].as_str().expect("a name"), variable["value"].as_str());
            arguments.push(format!("{name}={}", value.expect("a value")));
        }
        arguments.extend(self.environment.iter().map(|(name, value)| format!("{name}={value}")));
        let command = strings(&container["command"]);
        arguments.extend(if command.is_empty() { entry_point } else { command });
        arguments.extend(strings(&container["args"]));
        self.sandbox.call(find("unshare").expect("unshare"), arguments)
    }
}

/// Writes files as the kubelet does: links to a directory that it replaces as a whole.
fn mount_files(directory: &Path, files: &[(String, String)]) {
    let data = directory.join("..2026_11_26_12_00_00.1");
    fs::create_dir(&data).expect("a directory");
    symlink(data.file_name().expect("a name"), directory.join("..data")).expect("a link");
    for (name, content) in files {
        fs::write(data.join(name), content).expect("a file");
        symlink(Path::new("..data").join(name), directory.join(name)).expect("a link");
    }
}
