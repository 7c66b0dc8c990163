//! podman and buildah, which build an image from nothing, send it to a real registry and fetch it again.
//!
//! They read the same configuration as skopeo, but with a storage of their own. As an ordinary user they want sub-uids and a
//! user namespace, so these tests are root's.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::registry::{Registry, token_server};
use super::{Cloud, StandIn, assert_nowhere, basic_value, registry, runs_of, trust, wrapper};
use crate::authority::Authority;
use crate::harness::{Call, Run, Sandbox, require_client, skip};

/// The two, which differ in few words.
const PODMAN: Tool = Tool { name: "podman", build: "build" };
const BUILDAH: Tool = Tool { name: "buildah", build: "bud" };

#[derive(Clone, Copy)]
struct Tool {
    name: &'static str,
    build: &'static str,
}

/// A sandbox with a storage, where the tool knows ycred as its helper for some hosts.
struct Bench {
    sandbox: Sandbox,
    cloud: Cloud,
    authority: Authority,
    tool: Tool,
    program: PathBuf,
    runs: PathBuf,
}

impl Bench {
    fn new(tool: Tool) -> Option<Bench> {
        let program = require_client(tool.name)?;
        // SAFETY: asks for a number.
        if unsafe { libc::geteuid() } != 0 {
            skip(&format!("{} runs here as root alone", tool.name));
            return None;
        }
        let mut sandbox = Sandbox::new();
        let cloud = Cloud::start();
        let authority = Authority::new();
        let link = sandbox.link_at("tmp/docker-credential-ycred");
        let (_, runs) = wrapper(&sandbox, "bin/docker-credential-ycred", &link);
        sandbox.file("home/.config/containers/policy.json", r#"{"default": [{"type": "insecureAcceptAnything"}]}"#);
        let runtime = sandbox.path("home/run");
        fs::create_dir(&runtime).expect("a runtime directory");
        // A JSON string is a TOML string. Plain directories need no mounts, and nothing is kept outside of the sandbox.
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = {}\nrunroot = {}\n",
            json!(sandbox.path("tmp/graph")),
            json!(sandbox.path("tmp/run"))
        );
        let engine = format!(
            "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\ntmp_dir = {}\nvolume_path = {}\n\
             [network]\nnetwork_config_dir = {}\n",
            json!(sandbox.path("tmp/engine")),
            json!(sandbox.path("tmp/volumes")),
            json!(sandbox.path("tmp/net"))
        );
        let storage = sandbox.file("tmp/storage.conf", storage);
        let engine = sandbox.file("tmp/containers.conf", engine);
        let ca = trust(&sandbox, &authority);
        sandbox
            .seal()
            .set("SSL_CERT_FILE", ca)
            .set("XDG_RUNTIME_DIR", runtime)
            .set("CONTAINERS_STORAGE_CONF", storage)
            .set("CONTAINERS_CONF", engine)
            .set("BUILDAH_ISOLATION", "chroot");
        Some(Bench { sandbox, cloud, authority, tool, program, runs })
    }

    /// ycred is asked about this host; `ours`: whether its profile lists it.
    fn use_host(&self, host: &str, ours: bool) {
        self.configure(host);
        self.cloud.profile_for(&self.sandbox, "default", host, ours);
    }

    fn configure(&self, host: &str) {
        let configuration = json!({"credHelpers": {host: "ycred"}}).to_string();
        self.sandbox.file("home/.docker/config.json", configuration);
    }

    fn call(&self, arguments: &[&str]) -> Call {
        self.sandbox.call(&self.program, arguments)
    }

    fn pull(&self, host: &str) -> Run {
        self.call(&["pull", "--quiet", &image(host)]).run()
    }

    /// Builds an image with one file in it.
    fn build(&self, host: &str) {
        self.sandbox.file("work/Containerfile", "FROM scratch\nCOPY hello /hello\n");
        self.sandbox.file("work/hello", "from the test\n");
        self.call(&[self.tool.build, "-t", &image(host), "."]).run().succeeds();
    }
}

fn image(host: &str) -> String {
    format!("{host}/team/image:1")
}

fn goes_there_and_comes_back(tool: Tool) {
    let Some(bench) = Bench::new(tool) else { return };
    let tokens = token_server(&bench.authority, bench.cloud.gate());
    let Some(registry) = Registry::start(&bench.sandbox, &bench.authority, &tokens) else { return };
    let host = &registry.host;
    bench.use_host(host, true);
    bench.build(host);
    assert_eq!(bench.cloud.exchanges(), 0, "an image from scratch needs no registry");
    bench.call(&["push", "--quiet", &image(host)]).run().succeeds().quietly();
    bench.call(&["rmi", &image(host)]).run().succeeds();
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    bench.pull(host).succeeds().quietly();
    bench.call(&["images"]).run().succeeds().stdout_has(&format!("{host}/team/image"));
    assert_eq!(runs_of(&bench.runs), 2, "runs of the helper");
    let seen = tokens.authorizations();
    let ours = basic_value("iam", &bench.cloud.token());
    assert!(seen.len() >= 2 && seen.iter().all(|header| *header == ours), "the token server saw {seen:?}");
    assert_eq!(bench.cloud.exchanges(), 1, "IAM requests");
}

#[test]
fn podman_builds_pushes_and_pulls_an_image_for_one_iam_request() {
    goes_there_and_comes_back(PODMAN);
}

#[test]
fn buildah_builds_pushes_and_pulls_an_image_for_one_iam_request() {
    goes_there_and_comes_back(BUILDAH);
}

/// What the registry saw of somebody who has no token.
fn stays_anonymous(bench: &Bench, registry: &StandIn, run: &Run) {
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    assert_eq!(run.lines_of_stderr("ycred: "), Vec::<&str>::new(), "not ours is no error\n{run}");
    assert!(!registry.requests().is_empty(), "{} did not even try without us\n{run}", bench.tool.name);
    registry.saw_nobody_named_iam();
    assert_eq!(bench.cloud.exchanges(), 0, "IAM requests");
}

#[test]
fn a_registry_that_is_not_ours_gets_no_token_from_podman_and_buildah() {
    for tool in [PODMAN, BUILDAH] {
        let Some(bench) = Bench::new(tool) else { return };
        let registry = registry(&bench.authority, Some(bench.cloud.gate()));
        bench.use_host(&registry.host(), false);
        let run = bench.pull(&registry.host()).fails().stderr_has("unauthorized");
        stays_anonymous(&bench, &registry, &run);
    }
}

/// Before they speak to anybody they ask the helper, and end with its reason: in full from its stderr, and quoted from its
/// stdout.
#[test]
fn podman_and_buildah_end_with_the_reason_and_what_mends_it() {
    for tool in [PODMAN, BUILDAH] {
        let Some(bench) = Bench::new(tool) else { return };
        let registry = registry(&bench.authority, Some(bench.cloud.gate()));
        bench.cloud.troubles(&bench.sandbox, &registry.host(), |host, words| {
            bench.configure(host);
            let run = bench.pull(host).fails().stdout_is("");
            let ours = run.lines_of_stderr("ycred: ").join("\n");
            let quoted = run.stderr.lines().find(|line| line.contains("error getting credentials")).unwrap_or_default();
            for word in words {
                assert!(ours.contains(word), "the helper says {word:?}\n{run}");
                assert!(quoted.contains(word), "{} quotes {word:?}\n{run}", tool.name);
            }
        });
        assert_eq!(registry.requests().len(), 0, "it is not tried anonymously");
        assert_eq!(bench.cloud.exchanges(), 2, "IAM requests");
    }
}

#[test]
fn podman_and_buildah_log_in_and_out_and_keep_nothing() {
    for tool in [PODMAN, BUILDAH] {
        let Some(bench) = Bench::new(tool) else { return };
        let registry = registry(&bench.authority, Some(bench.cloud.gate()));
        let host = registry.host();
        bench.use_host(&host, true);
        // A login with a password keeps it in this file, whatever docker's says, unless a helper is named here.
        bench.sandbox.file("home/run/containers/auth.json", json!({"credHelpers": {&host: "ycred"}}).to_string());
        bench.call(&["login", &host]).run().succeeds().quietly().stdout_has("Existing credentials are valid");
        let password = bench.cloud.mint();
        bench
            .call(&["login", "--username", "iam", "--password-stdin", &host])
            .stdin(password.as_str())
            .run()
            .succeeds()
            .stdout_has("Login Succeeded");
        assert_nowhere(&bench.sandbox, &password);
        bench.call(&["logout", &host]).run().succeeds().quietly().stdout_has("Removed login credentials");
        bench.pull(&host).succeeds();
        assert_eq!(bench.cloud.exchanges(), 1, "IAM requests");
    }
}
