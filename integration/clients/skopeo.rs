//! skopeo with ycred as its credential helper, against a real and an emulated registry.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::client::{assert_not_stored, for_each_failure, runs_of, wrapper};
use super::registry::{Registry, token_server};
use super::test_server::{Gate, basic_value, digest, registry, trust};
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Call, Run, require_client};
use crate::world::World;

/// A sandbox with skopeo configured to use ycred for some hosts.
struct Bench {
    world: World,
    authority: Authority,
    skopeo: PathBuf,
    runs: PathBuf,
}

impl Bench {
    fn new() -> Option<Bench> {
        let skopeo = require_client("skopeo")?;
        let mut world = World::without_profile(Config::default());
        let authority = Authority::new();
        let link = world.sandbox.link_at("tmp/docker-credential-ycred");
        let (_, runs) = wrapper(&world.sandbox, "bin/docker-credential-ycred", &link);
        // skopeo needs a policy, which some machines lack.
        world
            .sandbox
            .file("home/.config/containers/policy.json", r#"{"default": [{"type": "insecureAcceptAnything"}]}"#);
        let ca = trust(&world.sandbox, &authority);
        let runtime = world.sandbox.path("home/run");
        fs::create_dir(&runtime).expect("a runtime directory");
        world.sandbox.seal().set("SSL_CERT_FILE", ca).set("XDG_RUNTIME_DIR", runtime);
        Some(Bench { world, authority, skopeo, runs })
    }

    /// Configures skopeo to use ycred for this host. `is_listed`: the profile lists it.
    fn use_host(&self, host: &str, is_listed: bool) {
        self.configure(host);
        self.world.profile_for("default", is_listed.then(|| host.to_owned()).as_slice());
    }

    fn configure(&self, host: &str) {
        let configuration = json!({"credHelpers": {host: "ycred"}}).to_string();
        self.world.sandbox.file("home/run/containers/auth.json", configuration);
    }

    fn skopeo(&self, arguments: &[&str]) -> Call {
        self.world.sandbox.call(&self.skopeo, arguments)
    }

    fn inspect(&self, host: &str) -> Run {
        self.skopeo(&["inspect", "--raw", &format!("docker://{host}/team/image:1")]).run()
    }

    /// Writes an image for skopeo's `dir:` transport. Returns its reference.
    fn image(&self) -> String {
        let configuration = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        let name = digest(configuration.as_bytes());
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": kind, "layers": [],
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": configuration.len(),
                "digest": name},
        });
        self.world.sandbox.file("tmp/image/version", "Directory Transport Version: 1.1\n");
        self.world.sandbox.file("tmp/image/manifest.json", manifest.to_string());
        self.world.sandbox.file(format!("tmp/image/{}", name.trim_start_matches("sha256:")), configuration);
        format!("dir:{}", self.world.sandbox.path("tmp/image").display())
    }
}

#[test]
fn skopeo_pushes_and_pulls_an_image_with_one_iam_request() {
    let Some(bench) = Bench::new() else { return };
    let tokens = token_server(&bench.authority, Gate::of(&bench.world));
    let Some(registry) = Registry::start(&bench.world.sandbox, &bench.authority, &tokens) else { return };
    bench.use_host(&registry.host, true);
    let remote = format!("docker://{}/team/image:1", registry.host);

    bench.skopeo(&["copy", &bench.image(), &remote]).run().succeeds().stderr_is_empty();
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    let back = format!("dir:{}", bench.world.sandbox.path("tmp/back").display());
    bench.skopeo(&["copy", &remote, &back]).run().succeeds().stderr_is_empty();
    assert_eq!(runs_of(&bench.runs), 2, "runs of the helper");
    let sent = fs::read(bench.world.sandbox.path("tmp/image/manifest.json")).expect("the pushed image");
    let got = fs::read(bench.world.sandbox.path("tmp/back/manifest.json")).expect("the pulled image");
    assert_eq!(got, sent);

    let seen = tokens.authorizations();
    let expected = basic_value("iam", &bench.world.last_token());
    assert!(seen.len() >= 2 && seen.iter().all(|header| *header == expected), "the token server saw {seen:?}");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
    let log = registry.running.stderr();
    assert!(!log.contains(&bench.world.last_token()), "the registry's log contains the IAM token");
}

#[test]
fn an_unlisted_private_registry_gets_no_token_and_refuses_skopeo() {
    let Some(bench) = Bench::new() else { return };
    let tokens = token_server(&bench.authority, Gate::of(&bench.world));
    let Some(registry) = Registry::start(&bench.world.sandbox, &bench.authority, &tokens) else { return };
    bench.use_host(&registry.host, false);
    let run = bench.inspect(&registry.host).fails().stdout_is("");
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    assert_eq!(run.lines_of_stderr("ycred: "), Vec::<&str>::new(), "an unlisted host is not an error\n{run}");
    assert!(!tokens.requests().is_empty(), "skopeo sent no request without credentials\n{run}");
    let seen = tokens.authorizations();
    assert!(!seen.iter().any(|header| header.starts_with("Basic aWFt")), "credentials of the user iam: {seen:?}");
    assert_eq!(bench.world.requests(), 0, "IAM requests");
}

#[test]
fn an_unlisted_public_registry_is_read_without_credentials() {
    let Some(bench) = Bench::new() else { return };
    let registry = registry(&bench.authority, None);
    bench.use_host(&registry.host(), false);
    // With any reply other than the protocol's "not found" response, skopeo would fail.
    bench.inspect(&registry.host()).succeeds().stderr_is_empty().stdout_has("schemaVersion");
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    assert_eq!(registry.authorizations(), Vec::<String>::new());
    assert_eq!(bench.world.requests(), 0, "IAM requests");
}

#[test]
fn a_registry_that_requires_basic_gets_the_token() {
    let Some(bench) = Bench::new() else { return };
    let registry = registry(&bench.authority, Some(Gate::of(&bench.world)));
    bench.use_host(&registry.host(), true);
    bench.inspect(&registry.host()).succeeds().stderr_is_empty().stdout_has("schemaVersion");
    let seen = registry.authorizations();
    let expected = basic_value("iam", &bench.world.last_token());
    assert!(!seen.is_empty() && seen.iter().all(|header| *header == expected), "the registry saw {seen:?}");
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn a_rejected_key_fails_skopeo_with_the_reason_on_both_streams_of_the_helper() {
    let Some(bench) = Bench::new() else { return };
    let registry = registry(&bench.authority, Some(Gate::of(&bench.world)));
    bench.use_host(&registry.host(), true);
    let refusal = bench.world.refuse();
    let run = bench.inspect(&registry.host()).fails().stdout_is("");
    // skopeo passes through the helper's stderr and quotes its stdout.
    let errors = run.lines_of_stderr("ycred: error: ");
    assert!(
        errors.len() == 1 && errors[0].contains(refusal),
        "expected one error line with the cloud's message\n{run}"
    );
    let quoted = run.stderr.lines().find(|line| line.contains("error getting credentials")).unwrap_or_default();
    assert!(quoted.contains(refusal), "expected the cloud's message in skopeo's error\n{run}");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
    assert_eq!(registry.authorizations(), Vec::<String>::new());
}

#[test]
fn every_failure_makes_skopeo_fail_with_the_reason_and_the_fix() {
    let Some(bench) = Bench::new() else { return };
    let registry = registry(&bench.authority, Some(Gate::of(&bench.world)));
    for_each_failure(&bench.world, &registry.host(), |host, parts| {
        bench.configure(host);
        let run = bench.inspect(host).fails().stdout_is("");
        let quoted = run.stderr.lines().find(|line| line.contains("error getting credentials")).unwrap_or_default();
        for part in parts {
            assert!(quoted.contains(part), "expected {part:?} in skopeo's error\n{run}");
        }
    });
    assert_eq!(registry.requests().len(), 0, "no request was sent without credentials");
    assert_eq!(bench.world.requests(), 2, "IAM requests");
}

#[test]
fn as_the_helper_of_every_registry_ycred_supplies_tokens_only_to_listed_ones() {
    let Some(bench) = Bench::new() else { return };
    bench.world.sandbox.file(
        "home/.config/containers/registries.conf",
        "credential-helpers = [\"containers-auth.json\", \"ycred\"]\n",
    );
    let listed = registry(&bench.authority, Some(Gate::of(&bench.world)));
    let unlisted = registry(&bench.authority, None);
    bench.world.profile_for("default", &[listed.host()]);
    bench.inspect(&unlisted.host()).succeeds().stderr_is_empty();
    assert_eq!((runs_of(&bench.runs), bench.world.requests()), (1, 0));
    bench.inspect(&listed.host()).succeeds().stderr_is_empty();
    assert_eq!(unlisted.authorizations(), Vec::<String>::new());
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn skopeo_logs_in_and_out_stores_nothing_and_keeps_the_cached_token() {
    let Some(bench) = Bench::new() else { return };
    let registry = registry(&bench.authority, Some(Gate::of(&bench.world)));
    let host = registry.host();
    bench.use_host(&host, true);
    bench.skopeo(&["login", &host]).run().succeeds().stderr_is_empty().stdout_has("Existing credentials are valid");
    let password = bench.world.issue_token();
    bench
        .skopeo(&["login", "--username", "iam", "--password-stdin", &host])
        .stdin(password.as_str())
        .run()
        .succeeds()
        .stdout_has("Login Succeeded");
    assert_not_stored(&bench.world.sandbox, &password);
    bench.skopeo(&["logout", &host]).run().succeeds().stderr_is_empty().stdout_has("Removed login credentials");
    bench.inspect(&host).succeeds();
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn skopeo_gets_a_token_through_what_setup_wrote_and_the_configuration_comes_back() {
    let Some(bench) = Bench::new() else { return };
    let sandbox = &bench.world.sandbox;
    let tokens = token_server(&bench.authority, Gate::of(&bench.world));
    let Some(registry) = Registry::start(sandbox, &bench.authority, &tokens) else { return };
    bench.world.profile_for("default", std::slice::from_ref(&registry.host));
    sandbox.link("ycred");
    fs::remove_file(sandbox.path("bin/docker-credential-ycred")).expect("the wrapper");
    let text = json!({"auths": {}, "credHelpers": {&registry.host: "yc"}}).to_string();
    let path = sandbox.file("home/.docker/config.json", &text);
    let remote = format!("docker://{}/team/image:1", registry.host);
    let copy = |from: &str, to: &str| bench.skopeo(&["copy", from, to]).run();
    copy(&bench.image(), &remote).fails();
    // The host has yc's helper, so it needs no flag.
    sandbox
        .ycred(["setup", "docker"])
        .run()
        .succeeds()
        .stderr_is_empty()
        .stdout_has(&format!("{}: yc →", registry.host));
    copy(&bench.image(), &remote).succeeds().stderr_is_empty();
    let back = format!("dir:{}", sandbox.path("tmp/back").display());
    copy(&remote, &back).succeeds().stderr_is_empty();
    assert_eq!(bench.world.requests(), 1, "IAM requests");
    sandbox.ycred(["unsetup", "--all"]).run().succeeds();
    assert_eq!(fs::read_to_string(path).expect("the file"), text);
    assert!(!sandbox.path("bin/docker-credential-ycred").is_symlink());
    copy(&remote, &back).fails();
}
