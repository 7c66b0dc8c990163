//! cargo: a sparse registry that demands the token, asked for by its credential provider.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::client::{runs_of, wrapper};
use super::stand_in::{Gate, StandIn, digest, json_answer, lock, trust};
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Call, Run, Sandbox};
use crate::server::{Request, Response};
use crate::world::World;

/// The cargo that builds these tests.
const CARGO: &str = env!("CARGO");

/// The only crate, packed on the spot.
fn package(sandbox: &Sandbox) -> Vec<u8> {
    let manifest = "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";
    sandbox.file("tmp/pack/tiny-1.0.0/Cargo.toml", manifest);
    sandbox.file("tmp/pack/tiny-1.0.0/src/lib.rs", "pub const ANSWER: u32 = 42;\n");
    sandbox.call("tar", ["-czf", "../tmp/tiny.crate", "-C", "../tmp/pack", "tiny-1.0.0"]).run().succeeds();
    fs::read(sandbox.path("tmp/tiny.crate")).expect("the packed crate")
}

fn entry(name: &str, package: &[u8]) -> Value {
    let sum = digest(package);
    json!({"name": name, "vers": "1.0.0", "deps": [], "features": {}, "yanked": false,
        "cksum": sum.trim_start_matches("sha256:")})
}

/// A registry with one crate, all of it behind the token; what is published there is there at once.
fn registry(authority: &Authority, gate: Gate, package: Vec<u8>) -> StandIn {
    let published = Arc::new(Mutex::new(false));
    StandIn::tls(authority, move |request: &Request| {
        if !gate.admits_bearer(request) {
            return json_answer(401, json!({"errors": [{"detail": "who are you?"}]}))
                .header("WWW-Authenticate", "Cargo login_url=\"https://console.example/\"");
        }
        let host = request.header("host").unwrap_or_default();
        match request.path.as_str() {
            "/index/config.json" => json_answer(
                200,
                json!({"dl": format!("https://{host}/dl/{{crate}}"), "api": format!("https://{host}"), "auth-required": true}),
            ),
            "/index/ti/ny/tiny" => Response::text(200, entry("tiny", &package).to_string()),
            "/index/mi/ne/mine" if *lock(&published) => Response::text(200, entry("mine", b"").to_string()),
            "/dl/tiny" => Response::typed(200, "application/gzip", package.clone()),
            "/api/v1/crates/new" => {
                *lock(&published) = true;
                json_answer(200, json!({"warnings": {"invalid_categories": [], "invalid_badges": [], "other": []}}))
            }
            _ => Response::text(404, "not found"),
        }
    })
}

struct Bench {
    world: World,
    registry: StandIn,
    runs: PathBuf,
}

impl Bench {
    /// `provider`: what stands in the configuration behind `credential-provider =`, with `YCRED` for our program and `LINK` for
    /// the link that names the hook.
    fn new(provider: &str, ours: bool) -> Bench {
        let mut world = World::bare(Config::default());
        let authority = Authority::new();
        let registry = registry(&authority, Gate::of(&world), package(&world.sandbox));
        let host = registry.host();
        world.profile_for("prod", ours.then(|| host.clone()).as_slice());
        let (program, runs) = wrapper(&world.sandbox, "tmp/ycred", Path::new(crate::harness::YCRED));
        let link = world.sandbox.link("ycred-cargo-prod");
        let provider =
            provider.replace("YCRED", &program.display().to_string()).replace("LINK", &link.display().to_string());
        let ca = trust(&world.sandbox, &authority);
        world.sandbox.file(
            "home/.cargo/config.toml",
            format!(
                "[registries.yc]\nindex = \"sparse+https://{host}/index/\"\ncredential-provider = {provider}\n\
                 [http]\ncainfo = \"{}\"\n[net]\nretry = 0\n",
                ca.display()
            ),
        );
        let manifest = "[package]\nname = \"mine\"\nversion = \"1.0.0\"\nedition = \"2021\"\ndescription = \"x\"\nlicense = \"MIT\"\n";
        world.sandbox.file(
            "work/Cargo.toml",
            format!("{manifest}[dependencies]\ntiny = {{ version = \"1.0.0\", registry = \"yc\" }}\n"),
        );
        world.sandbox.file("work/src/lib.rs", "pub fn answer() -> u32 {\n    tiny::ANSWER\n}\n");
        let tools = Path::new(CARGO).parent().expect("its directory");
        let path = format!("{}:{}:/usr/bin:/bin", world.sandbox.path("bin").display(), tools.display());
        world.sandbox.seal().set("PATH", path);
        Bench { world, registry, runs }
    }

    fn cargo(&self, words: &[&str]) -> Call {
        self.world.sandbox.call(CARGO, words)
    }

    /// The registry has seen our token as cargo sends it, and the cloud was asked once.
    #[track_caller]
    fn is_let_in(&self, run: &Run) {
        let ours = format!("Bearer {}", self.world.last_token());
        let seen = self.registry.authorizations();
        assert!(!seen.is_empty() && seen.iter().all(|header| *header == ours), "{seen:?}\n{run}");
        assert_eq!(self.world.requests(), 1, "IAM requests\n{run}");
    }
}

#[test]
fn cargo_fetches_from_a_registry_behind_the_token_however_we_are_configured() {
    for (provider, by_wrapper) in
        [(r#"["YCRED", "--profile", "prod"]"#, true), (r#""YCRED cargo --profile prod""#, true), (r#"["LINK"]"#, false)]
    {
        let bench = Bench::new(provider, true);
        let run = bench.cargo(&["fetch", "--quiet"]).run().succeeds().quietly();
        bench.is_let_in(&run);
        assert_eq!(runs_of(&bench.runs), usize::from(by_wrapper), "runs of the provider\n{run}");
    }
}

#[test]
fn cargo_builds_and_publishes_with_the_token() {
    let bench = Bench::new(r#"["YCRED", "-p", "prod"]"#, true);
    bench.cargo(&["check", "--quiet"]).run().succeeds().quietly();
    let words = ["publish", "--quiet", "--no-verify", "--allow-dirty", "--registry", "yc"];
    let run = bench.cargo(&words).run().succeeds();
    bench.is_let_in(&run);
    assert!(bench.registry.requests().iter().any(|request| request.method == "PUT"), "{run}");
}

#[test]
fn a_registry_that_is_not_ours_gets_no_token() {
    let bench = Bench::new(r#"["YCRED", "-p", "prod"]"#, false);
    let run = bench.cargo(&["fetch"]).run().fails();
    assert_eq!(run.lines_of_stderr("ycred: "), Vec::<&str>::new(), "not ours is no error\n{run}");
    assert!(run.stderr.contains("no credential providers could handle the request"), "cargo's own words\n{run}");
    assert!(runs_of(&bench.runs) >= 1, "{run}");
    assert_eq!(bench.registry.authorizations(), Vec::<String>::new());
    assert_eq!(bench.world.requests(), 0, "IAM requests");
}

/// Among the providers for all registries we are asked first, and leave what is not ours to the next.
#[test]
fn beside_cargos_own_provider_another_registrys_token_is_kept_found_and_forgotten() {
    let bench = Bench::new(r#"["YCRED", "-p", "prod"]"#, false);
    let configuration = bench.world.sandbox.path("home/.cargo/config.toml");
    let text = fs::read_to_string(&configuration).expect("the configuration");
    let (before, after) = text.split_once("credential-provider = ").expect("the setting");
    let (provider, after) = after.split_once('\n').expect("a line");
    let words = provider.trim_matches(['[', ']']).replace("\", \"", " ");
    let text = format!("{before}\n{after}[registry]\nglobal-credential-providers = [\"cargo:token\", {words}]\n");
    fs::write(&configuration, text).expect("written");
    let token = format!("Bearer {}", bench.world.mint());
    bench.cargo(&["login", "--registry", "yc"]).stdin(format!("{token}\n")).run().succeeds();
    bench.cargo(&["fetch", "--quiet"]).run().succeeds().quietly();
    assert!(bench.registry.authorizations().iter().all(|seen| *seen == token));
    assert!(!bench.registry.authorizations().is_empty() && runs_of(&bench.runs) >= 2);
    bench.cargo(&["logout", "--registry", "yc"]).run().succeeds();
    assert_eq!(bench.world.requests(), 0, "IAM requests");
}

#[test]
fn login_and_logout_are_not_supported_in_cargos_own_words() {
    let bench = Bench::new(r#"["YCRED", "-p", "prod"]"#, true);
    bench
        .cargo(&["login", "--registry", "yc"])
        .stdin("a-token\n")
        .run()
        .fails()
        .stderr_has("requested operation not supported");
    bench.cargo(&["logout", "--registry", "yc"]).run().fails().stderr_has("requested operation not supported");
}

#[test]
fn a_refused_key_is_told_by_cargo_itself() {
    let bench = Bench::new(r#"["YCRED", "-p", "prod"]"#, true);
    let words = bench.world.refuse();
    let run = bench.cargo(&["fetch"]).run().fails();
    let told = run.stderr.lines().filter(|line| !line.starts_with("ycred: ")).any(|line| line.contains(words));
    assert!(told, "the cloud's reason\n{run}");
    assert_eq!(run.lines_of_stderr("ycred: error: ").len(), runs_of(&bench.runs), "one line a run\n{run}");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}
