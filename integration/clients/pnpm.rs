//! pnpm: a package registry that demands the token, told by `tokenHelper`.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::client::{runs_of, wrapper};
use super::stand_in::{Gate, StandIn, json_answer, trust};
use super::versions::PNPM;
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Call, Run, Sandbox};
use crate::packages;
use crate::server::{Request, Response};
use crate::world::World;

/// The only package, packed on the spot.
fn package(sandbox: &Sandbox) -> Vec<u8> {
    sandbox.file("tmp/pack/package/package.json", r#"{"name":"tiny","version":"1.0.0","main":"index.js"}"#);
    sandbox.file("tmp/pack/package/index.js", "module.exports = 42\n");
    sandbox.call("tar", ["-czf", "../tmp/tiny.tgz", "-C", "../tmp/pack", "package"]).run().succeeds();
    fs::read(sandbox.path("tmp/tiny.tgz")).expect("the packed package")
}

/// A registry with one package, behind Bearer credentials.
fn registry(authority: &Authority, gate: Gate, package: Vec<u8>) -> StandIn {
    let digest = ring::digest::digest(&ring::digest::SHA512, &package);
    let integrity =
        format!("sha512-{}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest.as_ref()));
    StandIn::tls(authority, move |request: &Request| {
        if !gate.admits_bearer(request) {
            return json_answer(401, json!({"error": "who are you?"})).header("WWW-Authenticate", "Bearer");
        }
        let host = request.header("host").unwrap_or_default();
        match request.path.as_str() {
            "/npm/x/tiny" => json_answer(
                200,
                json!({"name": "tiny", "dist-tags": {"latest": "1.0.0"}, "time": {"1.0.0": "2020-01-01T00:00:00.000Z"},
                    "versions": {"1.0.0": {"name": "tiny", "version": "1.0.0", "dist": {
                        "integrity": integrity, "tarball": format!("https://{host}/npm/x/tiny/-/tiny-1.0.0.tgz")}}}}),
            ),
            "/npm/x/tiny/-/tiny-1.0.0.tgz" => Response::typed(200, "application/octet-stream", package.clone()),
            _ => json_answer(404, json!({"error": "not found"})),
        }
    })
}

struct Bench {
    world: World,
    registry: StandIn,
    pnpm: PathBuf,
    runs: PathBuf,
}

impl Bench {
    fn new(version: &str) -> Option<Bench> {
        let place = packages::node_with_scripts(&[&format!("pnpm@{version}")])?;
        let mut world = World::bare(Config::default());
        let authority = Authority::new();
        let registry = registry(&authority, Gate::of(&world), package(&world.sandbox));
        // pnpm says no host, so the profile lists none.
        world.profile_for("default", &[]);
        let link = world.sandbox.link("ycred-pnpm");
        let (helper, runs) = wrapper(&world.sandbox, "tmp/helper", &link);
        let ca = trust(&world.sandbox, &authority);
        let place_of = format!("{}/npm/x/", registry.host());
        world.sandbox.file(
            "home/.npmrc",
            format!(
                "registry=https://{place_of}\ncafile={}\nfetch-retries=0\n//{place_of}:tokenHelper={}\n",
                ca.display(),
                helper.display()
            ),
        );
        world.sandbox.file("work/package.json", r#"{"name":"work","version":"0.0.0","dependencies":{"tiny":"1.0.0"}}"#);
        // What it is started by must not be another version's environment; its own proxy variables are honoured.
        world.sandbox.seal().set("NODE_EXTRA_CA_CERTS", ca).set("CI", "1");
        Some(Bench { world, registry, pnpm: place.join(".bin/pnpm"), runs })
    }

    fn install(&self) -> Call {
        self.world.sandbox.call(&self.pnpm, ["install", "--no-lockfile", "--ignore-scripts"])
    }

    #[track_caller]
    fn is_installed(&self, run: &Run) {
        assert!(self.world.sandbox.path("work/node_modules/tiny/index.js").exists(), "{run}");
        let ours = format!("Bearer {}", self.world.last_token());
        let seen = self.registry.authorizations();
        assert!(!seen.is_empty() && seen.iter().all(|header| *header == ours), "{seen:?}\n{run}");
        assert_eq!(self.world.requests(), 1, "IAM requests\n{run}");
    }
}

#[test]
fn each_pnpm_installs_from_a_registry_behind_the_token() {
    for version in PNPM {
        let Some(bench) = Bench::new(version) else { return };
        let run = bench.install().run().succeeds();
        bench.is_installed(&run);
        assert!(runs_of(&bench.runs) >= 1, "the helper was not run\n{run}");
    }
}

/// Pnpm 12 takes words and looks in PATH, so that no link is needed.
#[test]
fn pnpm_12_takes_our_own_name_and_a_profile() {
    let Some(bench) = Bench::new("12.21.0") else { return };
    fs::rename(bench.world.sandbox.path("config/default.toml"), bench.world.sandbox.path("config/prod.toml"))
        .expect("renamed");
    bench.world.sandbox.link("ycred");
    let configuration = fs::read_to_string(bench.world.sandbox.path("home/.npmrc")).expect("the configuration");
    let (before, _) = configuration.split_once("tokenHelper=").expect("the setting");
    bench.world.sandbox.file("home/.npmrc", format!("{before}tokenHelper=ycred pnpm --profile prod\n"));
    let run = bench.install().run().succeeds();
    bench.is_installed(&run);
}

#[test]
fn a_refused_key_fails_the_installation_and_is_asked_about_once() {
    for version in PNPM {
        let Some(bench) = Bench::new(version) else { return };
        bench.world.refuse();
        let run = bench.install().run().fails();
        // 12 goes on without a token, and none of them shows what the helper says.
        let says = if version.starts_with("12.") { "ERR_PNPM_FETCH_401" } else { "ERR_PNPM_TOKEN_HELPER_ERROR_STATUS" };
        assert!(run.stdout.contains(says) || run.stderr.contains(says), "{run}");
        assert_eq!(bench.registry.authorizations(), Vec::<String>::new());
        assert_eq!(bench.world.requests(), 1, "IAM requests");
    }
}
