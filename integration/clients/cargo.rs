//! cargo with ycred as its credential provider, against a sparse registry that requires the token.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::client::{runs_of, wrapper};
use super::test_server::{Gate, TestServer, digest, json_response, lock, trust};
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Call, Run, Sandbox};
use crate::server::{Request, Response};
use crate::world::World;

/// The cargo that builds these tests.
const CARGO: &str = env!("CARGO");

/// Returns the only crate of the registry.
fn package(sandbox: &Sandbox) -> Vec<u8> {
    let manifest = "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";
    sandbox.file("tmp/pack/tiny-1.0.0/Cargo.toml", manifest);
    sandbox.file("tmp/pack/tiny-1.0.0/src/lib.rs", "pub const ANSWER: u32 = 42;\n");
    sandbox.call("tar", ["-czf", "../tmp/tiny.crate", "-C", "../tmp/pack", "tiny-1.0.0"]).run().succeeds();
    fs::read(sandbox.path("tmp/tiny.crate")).expect("the packed crate")
}

/// Returns the line of a crate in the index.
fn entry(name: &str, package: &[u8]) -> Value {
    let sum = digest(package);
    json!({"name": name, "vers": "1.0.0", "deps": [], "features": {}, "yanked": false,
        "cksum": sum.trim_start_matches("sha256:")})
}

/// Starts a registry with one crate. Every request needs the token. A published crate is available immediately.
fn registry(authority: &Authority, gate: Gate, package: Vec<u8>) -> TestServer {
    let is_published = Arc::new(Mutex::new(false));
    TestServer::tls(authority, move |request: &Request| {
        if !gate.admits_bearer(request) {
            return json_response(401, json!({"errors": [{"detail": "who are you?"}]}))
                .header("WWW-Authenticate", "Cargo login_url=\"https://console.example/\"");
        }
        let host = request.header("host").unwrap_or_default();
        match request.path.as_str() {
            "/index/config.json" => json_response(
                200,
                json!({"dl": format!("https://{host}/dl/{{crate}}"), "api": format!("https://{host}"), "auth-required": true}),
            ),
            "/index/ti/ny/tiny" => Response::text(200, entry("tiny", &package).to_string()),
            "/index/mi/ne/mine" if *lock(&is_published) => Response::text(200, entry("mine", b"").to_string()),
            "/dl/tiny" => Response::typed(200, "application/gzip", package.clone()),
            "/api/v1/crates/new" => {
                *lock(&is_published) = true;
                json_response(200, json!({"warnings": {"invalid_categories": [], "invalid_badges": [], "other": []}}))
            }
            _ => Response::text(404, "not found"),
        }
    })
}

/// A sandbox with a registry, a project that depends on its crate, and cargo configured to use ycred.
struct Bench {
    world: World,
    registry: TestServer,
    runs: PathBuf,
}

impl Bench {
    /// * `provider`: the value of `credential-provider`, with `YCRED` for the binary and `LINK` for the symlink of the
    ///   hook
    /// * `is_listed`: the profile lists the registry
    fn new(provider: &str, is_listed: bool) -> Bench {
        let mut world = World::without_profile(Config::default());
        let authority = Authority::new();
        let registry = registry(&authority, Gate::of(&world), package(&world.sandbox));
        let host = registry.host();
        world.profile_for("prod", is_listed.then(|| host.clone()).as_slice());
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

    fn cargo(&self, arguments: &[&str]) -> Call {
        self.world.sandbox.call(CARGO, arguments)
    }

    /// Checks that every credential sent to the registry is the token, and that ycred made one IAM request.
    #[track_caller]
    fn assert_only_token_sent(&self, run: &Run) {
        let expected = format!("Bearer {}", self.world.last_token());
        let seen = self.registry.authorizations();
        assert!(!seen.is_empty() && seen.iter().all(|header| *header == expected), "{seen:?}\n{run}");
        assert_eq!(self.world.requests(), 1, "IAM requests\n{run}");
    }
}

#[test]
fn cargo_fetches_with_the_token_in_every_form_of_the_configuration() {
    for (provider, by_wrapper) in
        [(r#"["YCRED", "--profile", "prod"]"#, true), (r#""YCRED cargo --profile prod""#, true), (r#"["LINK"]"#, false)]
    {
        let bench = Bench::new(provider, true);
        let run = bench.cargo(&["fetch", "--quiet"]).run().succeeds().stderr_is_empty();
        bench.assert_only_token_sent(&run);
        assert_eq!(runs_of(&bench.runs), usize::from(by_wrapper), "runs of the provider\n{run}");
    }
}

#[test]
fn cargo_builds_and_publishes_with_the_token() {
    let bench = Bench::new(r#"["YCRED", "-p", "prod"]"#, true);
    bench.cargo(&["check", "--quiet"]).run().succeeds().stderr_is_empty();
    let arguments = ["publish", "--quiet", "--no-verify", "--allow-dirty", "--registry", "yc"];
    let run = bench.cargo(&arguments).run().succeeds();
    bench.assert_only_token_sent(&run);
    assert!(bench.registry.requests().iter().any(|request| request.method == "PUT"), "{run}");
}

#[test]
fn a_registry_that_is_not_ours_gets_no_token() {
    let bench = Bench::new(r#"["YCRED", "-p", "prod"]"#, false);
    let run = bench.cargo(&["fetch"]).run().fails();
    assert_eq!(run.lines_of_stderr("ycred: "), Vec::<&str>::new(), "an unlisted host is not an error\n{run}");
    assert!(
        run.stderr.contains("no credential providers could handle the request"),
        "expected cargo's own message\n{run}"
    );
    assert!(runs_of(&bench.runs) >= 1, "{run}");
    assert_eq!(bench.registry.authorizations(), Vec::<String>::new());
    assert_eq!(bench.world.requests(), 0, "IAM requests");
}

/// cargo asks the last provider of `global-credential-providers` first. For an unlisted registry, ycred leaves the
/// request to the next provider.
#[test]
fn cargos_own_provider_stores_returns_and_deletes_the_token_of_an_unlisted_registry() {
    let bench = Bench::new(r#"["YCRED", "-p", "prod"]"#, false);
    let configuration = bench.world.sandbox.path("home/.cargo/config.toml");
    let content = fs::read_to_string(&configuration).expect("the configuration");
    let (before, after) = content.split_once("credential-provider = ").expect("the setting");
    let (provider, after) = after.split_once('\n').expect("a line");
    let command = provider.trim_matches(['[', ']']).replace("\", \"", " ");
    let content = format!("{before}\n{after}[registry]\nglobal-credential-providers = [\"cargo:token\", {command}]\n");
    fs::write(&configuration, content).expect("a writable configuration");
    let token = format!("Bearer {}", bench.world.issue_token());
    bench.cargo(&["login", "--registry", "yc"]).stdin(format!("{token}\n")).run().succeeds();
    bench.cargo(&["fetch", "--quiet"]).run().succeeds().stderr_is_empty();
    assert!(bench.registry.authorizations().iter().all(|header| *header == token));
    assert!(!bench.registry.authorizations().is_empty() && runs_of(&bench.runs) >= 2);
    bench.cargo(&["logout", "--registry", "yc"]).run().succeeds();
    assert_eq!(bench.world.requests(), 0, "IAM requests");
}

#[test]
fn cargo_reports_that_login_and_logout_are_not_supported() {
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
fn cargo_shows_the_rejection_of_a_key() {
    let bench = Bench::new(r#"["YCRED", "-p", "prod"]"#, true);
    let message = bench.world.refuse();
    let run = bench.cargo(&["fetch"]).run().fails();
    let cargos = run.stderr.lines().filter(|line| !line.starts_with("ycred: "));
    assert!(cargos.into_iter().any(|line| line.contains(message)), "expected the cloud's message\n{run}");
    assert_eq!(
        run.lines_of_stderr("ycred: error: ").len(),
        runs_of(&bench.runs),
        "expected one error line per run\n{run}"
    );
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn cargo_gets_a_token_through_the_line_of_setup() {
    let bench = Bench::new(r#"["YCRED", "-p", "prod"]"#, true);
    let sandbox = &bench.world.sandbox;
    sandbox.link("ycred");
    let path = sandbox.path("home/.cargo/config.toml");
    let text = fs::read_to_string(&path).expect("the configuration");
    let text: String =
        text.lines().filter(|line| !line.starts_with("credential-provider")).map(|line| format!("{line}\n")).collect();
    fs::write(&path, &text).expect("written");
    bench.cargo(&["fetch"]).run().fails();
    let report = sandbox.ycred(["setup", "cargo", "-p", "prod", "--json"]).run().succeeds().stderr_is_empty();
    let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
    let paste = &report["pastes"][0];
    assert_eq!((&paste["file"], &paste["under"]), (&path.display().to_string().into(), &"[registries.yc]".into()));
    let header = "[registries.yc]\n";
    fs::write(&path, text.replace(header, &format!("{header}{}\n", paste["text"].as_str().expect("text"))))
        .expect("written");
    let run = bench.cargo(&["fetch", "--quiet"]).run().succeeds().stderr_is_empty();
    bench.assert_only_token_sent(&run);
    assert_eq!(runs_of(&bench.runs), 0, "the provider is ycred itself");
}
