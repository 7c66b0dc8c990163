//! podman and buildah with ycred as their credential helper: build an image, push it to a real registry and pull it.
//!
//! These tests need root. For an ordinary user, podman and buildah need sub-uids and a user namespace.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::client::{assert_not_stored, for_each_failure, runs_of, wrapper};
use super::registry::{Registry, token_server};
use super::test_server::{Gate, TestServer, basic_value, registry, trust};
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Call, Run, require_client, skip};
use crate::world::World;

const PODMAN: Tool = Tool { name: "podman", build: "build" };
const BUILDAH: Tool = Tool { name: "buildah", build: "bud" };

/// One of the two clients.
#[derive(Clone, Copy)]
struct Tool {
    name: &'static str,
    /// The subcommand that builds an image.
    build: &'static str,
}

/// A sandbox with a storage for images, and the tool configured to use ycred for some hosts.
struct Bench {
    world: World,
    authority: Authority,
    tool: Tool,
    program: PathBuf,
    runs: PathBuf,
}

impl Bench {
    fn new(tool: Tool) -> Option<Bench> {
        let program = require_client(tool.name)?;
        // SAFETY: `geteuid` cannot fail and touches no memory.
        if unsafe { libc::geteuid() } != 0 {
            skip(&format!("{} needs root here", tool.name));
            return None;
        }
        let mut world = World::without_profile(Config::default());
        let authority = Authority::new();
        let link = world.sandbox.link_at("tmp/docker-credential-ycred");
        let (_, runs) = wrapper(&world.sandbox, "bin/docker-credential-ycred", &link);
        world
            .sandbox
            .file("home/.config/containers/policy.json", r#"{"default": [{"type": "insecureAcceptAnything"}]}"#);
        let runtime = world.sandbox.path("home/run");
        fs::create_dir(&runtime).expect("a runtime directory");
        // A JSON string is also a TOML string. The driver `vfs` needs no mounts, and all directories are in the
        // sandbox.
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = {}\nrunroot = {}\n",
            json!(world.sandbox.path("tmp/graph")),
            json!(world.sandbox.path("tmp/run"))
        );
        let engine = format!(
            "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\ntmp_dir = {}\nvolume_path = {}\n\
             [network]\nnetwork_config_dir = {}\n",
            json!(world.sandbox.path("tmp/engine")),
            json!(world.sandbox.path("tmp/volumes")),
            json!(world.sandbox.path("tmp/net"))
        );
        let storage = world.sandbox.file("tmp/storage.conf", storage);
        let engine = world.sandbox.file("tmp/containers.conf", engine);
        let ca = trust(&world.sandbox, &authority);
        world
            .sandbox
            .seal()
            .set("SSL_CERT_FILE", ca)
            .set("XDG_RUNTIME_DIR", runtime)
            .set("CONTAINERS_STORAGE_CONF", storage)
            .set("CONTAINERS_CONF", engine)
            .set("BUILDAH_ISOLATION", "chroot");
        Some(Bench { world, authority, tool, program, runs })
    }

    /// Configures the tool to use ycred for this host. `is_listed`: the profile lists it.
    fn use_host(&self, host: &str, is_listed: bool) {
        self.configure(host);
        self.world.profile_for("default", is_listed.then(|| host.to_owned()).as_slice());
    }

    fn configure(&self, host: &str) {
        let configuration = json!({"credHelpers": {host: "ycred"}}).to_string();
        self.world.sandbox.file("home/.docker/config.json", configuration);
    }

    fn call(&self, arguments: &[&str]) -> Call {
        self.world.sandbox.call(&self.program, arguments)
    }

    fn pull(&self, host: &str) -> Run {
        self.call(&["pull", "--quiet", &image(host)]).run()
    }

    /// Builds an image with one file in it.
    fn build(&self, host: &str) {
        self.world.sandbox.file("work/Containerfile", "FROM scratch\nCOPY hello /hello\n");
        self.world.sandbox.file("work/hello", "from the test\n");
        self.call(&[self.tool.build, "-t", &image(host), "."]).run().succeeds();
    }
}

fn image(host: &str) -> String {
    format!("{host}/team/image:1")
}

/// Builds an image, pushes it to a real registry and pulls it. Checks that each step runs the helper once, and that
/// ycred makes one IAM request.
fn assert_pushes_and_pulls(tool: Tool) {
    let Some(bench) = Bench::new(tool) else { return };
    let tokens = token_server(&bench.authority, Gate::of(&bench.world));
    let Some(registry) = Registry::start(&bench.world.sandbox, &bench.authority, &tokens) else { return };
    let host = &registry.host;
    bench.use_host(host, true);
    bench.build(host);
    assert_eq!(bench.world.requests(), 0, "an image from scratch needs no registry");
    bench.call(&["push", "--quiet", &image(host)]).run().succeeds().stderr_is_empty();
    bench.call(&["rmi", &image(host)]).run().succeeds();
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    bench.pull(host).succeeds().stderr_is_empty();
    bench.call(&["images"]).run().succeeds().stdout_has(&format!("{host}/team/image"));
    assert_eq!(runs_of(&bench.runs), 2, "runs of the helper");
    let seen = tokens.authorizations();
    let expected = basic_value("iam", &bench.world.last_token());
    assert!(seen.len() >= 2 && seen.iter().all(|header| *header == expected), "the token server saw {seen:?}");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn podman_builds_pushes_and_pulls_an_image_with_one_iam_request() {
    assert_pushes_and_pulls(PODMAN);
}

#[test]
fn buildah_builds_pushes_and_pulls_an_image_with_one_iam_request() {
    assert_pushes_and_pulls(BUILDAH);
}

/// Checks that the tool contacted the registry without credentials and that ycred printed nothing.
fn assert_anonymous(bench: &Bench, registry: &TestServer, run: &Run) {
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    assert_eq!(run.lines_of_stderr("ycred: "), Vec::<&str>::new(), "an unlisted host is not an error\n{run}");
    assert!(!registry.requests().is_empty(), "{} sent no request without credentials\n{run}", bench.tool.name);
    registry.assert_no_credentials();
    assert_eq!(bench.world.requests(), 0, "IAM requests");
}

#[test]
fn a_registry_that_is_not_ours_gets_no_token_from_podman_and_buildah() {
    for tool in [PODMAN, BUILDAH] {
        let Some(bench) = Bench::new(tool) else { return };
        let registry = registry(&bench.authority, Some(Gate::of(&bench.world)));
        bench.use_host(&registry.host(), false);
        let run = bench.pull(&registry.host()).fails().stderr_has("unauthorized");
        assert_anonymous(&bench, &registry, &run);
    }
}

/// Both run the helper before their first request. On failure, they pass through its stderr and quote its stdout.
#[test]
fn podman_and_buildah_fail_with_the_reason_and_the_fix() {
    for tool in [PODMAN, BUILDAH] {
        let Some(bench) = Bench::new(tool) else { return };
        let registry = registry(&bench.authority, Some(Gate::of(&bench.world)));
        for_each_failure(&bench.world, &registry.host(), |host, parts| {
            bench.configure(host);
            let run = bench.pull(host).fails().stdout_is("");
            let ours = run.lines_of_stderr("ycred: ").join("\n");
            let quoted = run.stderr.lines().find(|line| line.contains("error getting credentials")).unwrap_or_default();
            for part in parts {
                assert!(ours.contains(part), "expected {part:?} in ycred's lines\n{run}");
                assert!(quoted.contains(part), "expected {part:?} in the error of {}\n{run}", tool.name);
            }
        });
        assert_eq!(registry.requests().len(), 0, "no request was sent without credentials");
        assert_eq!(bench.world.requests(), 2, "IAM requests");
    }
}

#[test]
fn podman_and_buildah_log_in_and_out_and_store_nothing() {
    for tool in [PODMAN, BUILDAH] {
        let Some(bench) = Bench::new(tool) else { return };
        let registry = registry(&bench.authority, Some(Gate::of(&bench.world)));
        let host = registry.host();
        bench.use_host(&host, true);
        // A login stores its password in this file unless the file itself names a helper. docker's file does not count.
        bench.world.sandbox.file("home/run/containers/auth.json", json!({"credHelpers": {&host: "ycred"}}).to_string());
        bench.call(&["login", &host]).run().succeeds().stderr_is_empty().stdout_has("Existing credentials are valid");
        let password = bench.world.issue_token();
        bench
            .call(&["login", "--username", "iam", "--password-stdin", &host])
            .stdin(password.as_str())
            .run()
            .succeeds()
            .stdout_has("Login Succeeded");
        assert_not_stored(&bench.world.sandbox, &password);
        bench.call(&["logout", &host]).run().succeeds().stderr_is_empty().stdout_has("Removed login credentials");
        bench.pull(&host).succeeds();
        assert_eq!(bench.world.requests(), 1, "IAM requests");
    }
}

#[test]
fn podman_and_buildah_get_a_token_through_what_setup_wrote_and_the_configuration_comes_back() {
    for tool in [PODMAN, BUILDAH] {
        let Some(bench) = Bench::new(tool) else { return };
        let sandbox = &bench.world.sandbox;
        let tokens = token_server(&bench.authority, Gate::of(&bench.world));
        let Some(registry) = Registry::start(sandbox, &bench.authority, &tokens) else { return };
        let host = &registry.host;
        bench.world.profile_for("prod", std::slice::from_ref(host));
        sandbox.link("ycred");
        fs::remove_file(sandbox.path("bin/docker-credential-ycred")).expect("the wrapper");
        let text = format!("{{\n  \"credHelpers\": {{ \"{host}\": \"yc\" }}\n}}\n");
        let path = sandbox.file("home/.docker/config.json", &text);
        bench.build(host);
        bench.call(&["push", "--quiet", &image(host)]).run().fails();
        let run = sandbox.ycred(["setup", "docker", "-p", "prod"]).run().succeeds().stderr_is_empty();
        run.stdout_has("docker-credential-ycred-prod: linked to");
        bench.call(&["push", "--quiet", &image(host)]).run().succeeds().stderr_is_empty();
        bench.call(&["rmi", &image(host)]).run().succeeds();
        bench.pull(host).succeeds().stderr_is_empty();
        assert_eq!(bench.world.requests(), 1, "IAM requests");
        sandbox.ycred(["unsetup", "--all"]).run().succeeds();
        assert_eq!(fs::read_to_string(path).expect("the file"), text);
        assert!(!sandbox.path("bin/docker-credential-ycred-prod").is_symlink());
    }
}
