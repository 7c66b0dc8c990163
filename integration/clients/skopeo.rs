//! skopeo with a real registry, which itself verifies the tokens that its token server gives out for ours.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::client::{assert_nowhere, runs_of, troubles, wrapper};
use super::registry::{Registry, token_server};
use super::stand_in::{Gate, basic_value, digest, registry, trust};
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Call, Run, require_client};
use crate::world::World;

/// A sandbox where skopeo knows ycred as its helper for some hosts.
struct Bench {
    world: World,
    authority: Authority,
    skopeo: PathBuf,
    runs: PathBuf,
}

impl Bench {
    fn new() -> Option<Bench> {
        let skopeo = require_client("skopeo")?;
        let mut world = World::bare(Config::default());
        let authority = Authority::new();
        let link = world.sandbox.link_at("tmp/docker-credential-ycred");
        let (_, runs) = wrapper(&world.sandbox, "bin/docker-credential-ycred", &link);
        // Some machines have no policy of their own, and without one skopeo copies nothing.
        world
            .sandbox
            .file("home/.config/containers/policy.json", r#"{"default": [{"type": "insecureAcceptAnything"}]}"#);
        let ca = trust(&world.sandbox, &authority);
        let runtime = world.sandbox.path("home/run");
        fs::create_dir(&runtime).expect("a runtime directory");
        world.sandbox.seal().set("SSL_CERT_FILE", ca).set("XDG_RUNTIME_DIR", runtime);
        Some(Bench { world, authority, skopeo, runs })
    }

    /// ycred is asked about this host; `ours`: whether its profile lists it.
    fn use_host(&self, host: &str, ours: bool) {
        self.configure(host);
        self.world.profile_for("default", ours.then(|| host.to_owned()).as_slice());
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

    /// An image as skopeo's `dir:` transport keeps it.
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
fn an_image_goes_to_a_real_registry_and_comes_back_for_one_iam_request() {
    let Some(bench) = Bench::new() else { return };
    let tokens = token_server(&bench.authority, Gate::of(&bench.world));
    let Some(registry) = Registry::start(&bench.world.sandbox, &bench.authority, &tokens) else { return };
    bench.use_host(&registry.host, true);
    let there = format!("docker://{}/team/image:1", registry.host);

    bench.skopeo(&["copy", &bench.image(), &there]).run().succeeds().quietly();
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    let back = format!("dir:{}", bench.world.sandbox.path("tmp/back").display());
    bench.skopeo(&["copy", &there, &back]).run().succeeds().quietly();
    assert_eq!(runs_of(&bench.runs), 2, "runs of the helper");
    let sent = fs::read(bench.world.sandbox.path("tmp/image/manifest.json")).expect("the image sent");
    let got = fs::read(bench.world.sandbox.path("tmp/back/manifest.json")).expect("the image that came back");
    assert_eq!(got, sent);

    let seen = tokens.authorizations();
    let ours = basic_value("iam", &bench.world.last_token());
    assert!(seen.len() >= 2 && seen.iter().all(|header| *header == ours), "the token server saw {seen:?}");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
    let said = registry.running.stderr();
    assert!(!said.contains(&bench.world.last_token()), "the registry itself never sees the IAM token");
}

#[test]
fn a_real_registry_that_is_not_ours_gets_no_token_and_keeps_skopeo_out() {
    let Some(bench) = Bench::new() else { return };
    let tokens = token_server(&bench.authority, Gate::of(&bench.world));
    let Some(registry) = Registry::start(&bench.world.sandbox, &bench.authority, &tokens) else { return };
    bench.use_host(&registry.host, false);
    let run = bench.inspect(&registry.host).fails().stdout_is("");
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    assert_eq!(run.lines_of_stderr("ycred: "), Vec::<&str>::new(), "not ours is no error\n{run}");
    assert!(!tokens.requests().is_empty(), "skopeo did not even try without us\n{run}");
    let seen = tokens.authorizations();
    assert!(!seen.iter().any(|header| header.starts_with("Basic aWFt")), "somebody named iam: {seen:?}");
    assert_eq!(bench.world.requests(), 0, "IAM requests");
}

#[test]
fn a_public_registry_that_is_not_ours_is_read_as_if_ycred_were_not_there() {
    let Some(bench) = Bench::new() else { return };
    let registry = registry(&bench.authority, None);
    bench.use_host(&registry.host(), false);
    // Any other words than the protocol's own for "not mine" would end skopeo here.
    bench.inspect(&registry.host()).succeeds().quietly().stdout_has("schemaVersion");
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    assert_eq!(registry.authorizations(), Vec::<String>::new());
    assert_eq!(bench.world.requests(), 0, "IAM requests");
}

#[test]
fn a_registry_that_wants_basic_sees_iam_and_the_token() {
    let Some(bench) = Bench::new() else { return };
    let registry = registry(&bench.authority, Some(Gate::of(&bench.world)));
    bench.use_host(&registry.host(), true);
    bench.inspect(&registry.host()).succeeds().quietly().stdout_has("schemaVersion");
    let seen = registry.authorizations();
    let ours = basic_value("iam", &bench.world.last_token());
    assert!(!seen.is_empty() && seen.iter().all(|header| *header == ours), "the registry saw {seen:?}");
    assert_eq!(runs_of(&bench.runs), 1, "runs of the helper");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn a_refused_key_ends_skopeo_with_the_reason_on_both_streams_of_the_helper() {
    let Some(bench) = Bench::new() else { return };
    let registry = registry(&bench.authority, Some(Gate::of(&bench.world)));
    bench.use_host(&registry.host(), true);
    let refusal = bench.world.refuse();
    let run = bench.inspect(&registry.host()).fails().stdout_is("");
    // What the helper wrote to stderr passes through; what it wrote to stdout is what skopeo quotes.
    let errors = run.lines_of_stderr("ycred: error: ");
    assert!(errors.len() == 1 && errors[0].contains(refusal), "one line with the reason\n{run}");
    let quoted = run.stderr.lines().find(|line| line.contains("error getting credentials")).unwrap_or_default();
    assert!(quoted.contains(refusal), "skopeo quotes the reason\n{run}");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
    assert_eq!(registry.authorizations(), Vec::<String>::new());
}

#[test]
fn whatever_keeps_a_user_from_a_token_ends_skopeo_with_the_reason_and_what_mends_it() {
    let Some(bench) = Bench::new() else { return };
    let registry = registry(&bench.authority, Some(Gate::of(&bench.world)));
    troubles(&bench.world, &registry.host(), |host, words| {
        bench.configure(host);
        let run = bench.inspect(host).fails().stdout_is("");
        let quoted = run.stderr.lines().find(|line| line.contains("error getting credentials")).unwrap_or_default();
        for word in words {
            assert!(quoted.contains(word), "skopeo quotes {word:?}\n{run}");
        }
    });
    assert_eq!(registry.requests().len(), 0, "it is not tried anonymously");
    assert_eq!(bench.world.requests(), 2, "IAM requests");
}

#[test]
fn named_for_every_registry_at_once_ycred_answers_for_its_own_alone() {
    let Some(bench) = Bench::new() else { return };
    bench.world.sandbox.file(
        "home/.config/containers/registries.conf",
        "credential-helpers = [\"containers-auth.json\", \"ycred\"]\n",
    );
    let ours = registry(&bench.authority, Some(Gate::of(&bench.world)));
    let somebodys = registry(&bench.authority, None);
    bench.world.profile_for("default", &[ours.host()]);
    bench.inspect(&somebodys.host()).succeeds().quietly();
    assert_eq!((runs_of(&bench.runs), bench.world.requests()), (1, 0));
    bench.inspect(&ours.host()).succeeds().quietly();
    assert_eq!(somebodys.authorizations(), Vec::<String>::new());
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn login_and_logout_succeed_keep_nothing_and_cost_no_token() {
    let Some(bench) = Bench::new() else { return };
    let registry = registry(&bench.authority, Some(Gate::of(&bench.world)));
    let host = registry.host();
    bench.use_host(&host, true);
    bench.skopeo(&["login", &host]).run().succeeds().quietly().stdout_has("Existing credentials are valid");
    let password = bench.world.mint();
    bench
        .skopeo(&["login", "--username", "iam", "--password-stdin", &host])
        .stdin(password.as_str())
        .run()
        .succeeds()
        .stdout_has("Login Succeeded");
    assert_nowhere(&bench.world.sandbox, &password);
    bench.skopeo(&["logout", &host]).run().succeeds().quietly().stdout_has("Removed login credentials");
    bench.inspect(&host).succeeds();
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}
