//! pnpm with ycred as its `tokenHelper`, against a registry that requires the token.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::client::{runs_of, wrapper};
use super::test_server::{Gate, TestServer, json_response, trust};
use super::versions::PNPM;
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Call, Run, Sandbox};
use crate::packages;
use crate::server::{Request, Response};
use crate::world::World;

/// Returns the only package of the registry.
fn package(sandbox: &Sandbox) -> Vec<u8> {
    sandbox.file("tmp/pack/package/package.json", r#"{"name":"tiny","version":"1.0.0","main":"index.js"}"#);
    sandbox.file("tmp/pack/package/index.js", "module.exports = 42\n");
    sandbox.call("tar", ["-czf", "../tmp/tiny.tgz", "-C", "../tmp/pack", "package"]).run().succeeds();
    fs::read(sandbox.path("tmp/tiny.tgz")).expect("the packed package")
}

/// Starts a registry with one package. Every request needs Bearer credentials.
fn registry(authority: &Authority, gate: Gate, package: Vec<u8>) -> TestServer {
    let digest = ring::digest::digest(&ring::digest::SHA512, &package);
    let integrity =
        format!("sha512-{}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest.as_ref()));
    TestServer::tls(authority, move |request: &Request| {
        if !gate.admits_bearer(request) {
            return json_response(401, json!({"error": "who are you?"})).header("WWW-Authenticate", "Bearer");
        }
        let host = request.header("host").unwrap_or_default();
        match request.path.as_str() {
            "/npm/x/tiny" => json_response(
                200,
                json!({"name": "tiny", "dist-tags": {"latest": "1.0.0"}, "time": {"1.0.0": "2020-01-01T00:00:00.000Z"},
                    "versions": {"1.0.0": {"name": "tiny", "version": "1.0.0", "dist": {
                        "integrity": integrity, "tarball": format!("https://{host}/npm/x/tiny/-/tiny-1.0.0.tgz")}}}}),
            ),
            "/npm/x/tiny/-/tiny-1.0.0.tgz" => Response::typed(200, "application/octet-stream", package.clone()),
            _ => json_response(404, json!({"error": "not found"})),
        }
    })
}

/// A sandbox with a registry, a project that depends on its package, and pnpm configured to use ycred.
struct Bench {
    world: World,
    registry: TestServer,
    pnpm: PathBuf,
    runs: PathBuf,
}

impl Bench {
    fn new(version: &str) -> Option<Bench> {
        let modules = packages::node_with_scripts(&[&format!("pnpm@{version}")])?;
        let mut world = World::without_profile(Config::default());
        let authority = Authority::new();
        let registry = registry(&authority, Gate::of(&world), package(&world.sandbox));
        // pnpm does not send the host, so the profile lists none.
        world.profile_for("default", &[]);
        let link = world.sandbox.link("ycred-pnpm");
        let (helper, runs) = wrapper(&world.sandbox, "tmp/helper", &link);
        let ca = trust(&world.sandbox, &authority);
        let path = format!("{}/npm/x/", registry.host());
        world.sandbox.file(
            "home/.npmrc",
            format!(
                "registry=https://{path}\ncafile={}\nfetch-retries=0\n//{path}:tokenHelper={}\n",
                ca.display(),
                helper.display()
            ),
        );
        world.sandbox.file("work/package.json", r#"{"name":"work","version":"0.0.0","dependencies":{"tiny":"1.0.0"}}"#);
        world.sandbox.seal().set("NODE_EXTRA_CA_CERTS", ca).set("CI", "1");
        Some(Bench { world, registry, pnpm: modules.join(".bin/pnpm"), runs })
    }

    fn install(&self) -> Call {
        self.world.sandbox.call(&self.pnpm, ["install", "--no-lockfile", "--ignore-scripts"])
    }

    /// Checks that the package is installed, that only the token was sent to the registry, and that ycred made one IAM
    /// request.
    #[track_caller]
    fn assert_installed(&self, run: &Run) {
        assert!(self.world.sandbox.path("work/node_modules/tiny/index.js").exists(), "{run}");
        let expected = format!("Bearer {}", self.world.last_token());
        let seen = self.registry.authorizations();
        assert!(!seen.is_empty() && seen.iter().all(|header| *header == expected), "{seen:?}\n{run}");
        assert_eq!(self.world.requests(), 1, "IAM requests\n{run}");
    }
}

#[test]
fn each_version_of_pnpm_installs_with_the_token() {
    for version in PNPM {
        let Some(bench) = Bench::new(version) else { return };
        let run = bench.install().run().succeeds();
        bench.assert_installed(&run);
        assert!(runs_of(&bench.runs) >= 1, "the helper was not run\n{run}");
    }
}

/// pnpm 12 accepts a command with arguments and searches PATH, so it needs no symlink.
#[test]
fn pnpm_12_accepts_a_command_with_a_profile() {
    let Some(bench) = Bench::new("12.21.0") else { return };
    fs::rename(bench.world.sandbox.path("config/default.toml"), bench.world.sandbox.path("config/prod.toml"))
        .expect("the renamed profile");
    bench.world.sandbox.link("ycred");
    let configuration = fs::read_to_string(bench.world.sandbox.path("home/.npmrc")).expect("the configuration");
    let (before, _) = configuration.split_once("tokenHelper=").expect("the setting");
    bench.world.sandbox.file("home/.npmrc", format!("{before}tokenHelper=ycred pnpm --profile prod\n"));
    let run = bench.install().run().succeeds();
    bench.assert_installed(&run);
}

#[test]
fn a_rejected_key_fails_the_installation_after_one_iam_request() {
    for version in PNPM {
        let Some(bench) = Bench::new(version) else { return };
        bench.world.refuse();
        let run = bench.install().run().fails();
        // No version shows the messages of the helper. Version 12 continues without a token.
        let message =
            if version.starts_with("12.") { "ERR_PNPM_FETCH_401" } else { "ERR_PNPM_TOKEN_HELPER_ERROR_STATUS" };
        assert!(run.stdout.contains(message) || run.stderr.contains(message), "{run}");
        assert_eq!(bench.registry.authorizations(), Vec::<String>::new());
        assert_eq!(bench.world.requests(), 1, "IAM requests");
    }
}

#[test]
fn pnpm_gets_a_token_through_the_link_and_the_line_of_setup() {
    for version in PNPM {
        let Some(bench) = Bench::new(version) else { return };
        let sandbox = &bench.world.sandbox;
        sandbox.link("ycred");
        bench.world.profile_for("default", &[bench.registry.host()]);
        let npmrc = fs::read_to_string(sandbox.path("home/.npmrc")).expect("the configuration");
        let npmrc = npmrc.lines().filter(|line| !line.contains("tokenHelper")).map(|line| format!("{line}\n"));
        let npmrc: String = npmrc.collect();
        fs::remove_file(sandbox.path("bin/ycred-pnpm")).expect("the link");
        sandbox.file("home/.npmrc", &npmrc);
        bench.install().run().fails();
        let report = sandbox.ycred(["setup", "pnpm", "--json"]).run().succeeds().stderr_is_empty();
        let report: serde_json::Value = serde_json::from_str(&report.stdout).expect("JSON");
        assert_eq!(report["pastes"][0]["file"], sandbox.path("home/.npmrc").display().to_string());
        let line = report["pastes"][0]["text"].as_str().expect("text");
        sandbox.file("home/.npmrc", format!("{npmrc}{line}\n"));
        let run = bench.install().run().succeeds();
        bench.assert_installed(&run);
        // npm rewrites the file: the line and so the link stay.
        sandbox.call("npm", ["config", "set", "fund=false", "--location=user"]).run().succeeds();
        let rewritten = fs::read_to_string(sandbox.path("home/.npmrc")).expect("the file");
        assert!(rewritten.contains("fund=false") && rewritten.contains("tokenHelper"), "{rewritten}");
        sandbox.ycred(["unsetup", "--all"]).run().exits(3).stderr_has("ycred-pnpm: needed by");
        sandbox
            .call("npm", ["config", "delete", line.split('=').next().expect("a key"), "--location=user"])
            .run()
            .succeeds();
        sandbox.ycred(["unsetup", "--all"]).run().succeeds();
        let left = fs::read_to_string(sandbox.path("home/.npmrc")).expect("the file");
        assert!(left.contains("fund=false") && !left.contains("tokenHelper"), "{left}");
        assert!(!sandbox.path("bin/ycred-pnpm").is_symlink());
    }
}
