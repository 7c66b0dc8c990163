//! Package managers without a credential hook, under `ycred exec`, which puts the token into their environment.
//!
//! Each runs against a registry with one small package that requires the token.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::test_server::{Gate, TestServer, basic_value, digest, json_response, trust};
use super::versions::{NODE, PYTHON};
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Call, Run, Sandbox, require_client};
use crate::packages::{node, python};
use crate::server::{Request, Response};
use crate::world::World;

/// A sandbox with `ycred` in PATH, and a registry.
struct Bench {
    world: World,
    registry: TestServer,
}

impl Bench {
    /// Starts the registry. `respond` gets its URL and each request that has a valid token.
    fn new(respond: impl Fn(&str, &Request) -> Response + Send + Sync + 'static) -> Bench {
        Bench::with(None, respond)
    }

    /// [`Bench::new`], over TLS if there is an authority.
    fn with(
        authority: Option<&Authority>,
        respond: impl Fn(&str, &Request) -> Response + Send + Sync + 'static,
    ) -> Bench {
        let mut world = World::without_profile(Config::default());
        let gate = Gate::of(&world);
        let handler = move |request: &Request| {
            if gate.admits_bearer(request) || gate.admits_basic(request) {
                return respond(&format!("http://{}", request.header("host").unwrap_or_default()), request);
            }
            Response::text(401, "who are you?").header("WWW-Authenticate", "Basic realm=\"packages\"")
        };
        let registry = match authority {
            Some(authority) => TestServer::tls(authority, handler),
            None => TestServer::plain(handler),
        };
        world.sandbox.link("ycred");
        world.profile_for("default", &[]);
        world.sandbox.seal();
        Bench { world, registry }
    }

    /// Returns a call of a program under `ycred exec`.
    fn exec(&self, arguments: &[&str]) -> Call {
        self.world.sandbox.ycred([&["exec", "--"], arguments].concat())
    }

    /// Checks that the registry received only this credential, and that ycred made one IAM request.
    #[track_caller]
    fn assert_only_sent(&self, header: &str) {
        let seen = self.registry.authorizations();
        assert!(!seen.is_empty() && seen.iter().all(|sent| sent == header), "the registry saw {seen:?}");
        assert_eq!(self.world.requests(), 1, "IAM requests");
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.world.last_token())
    }

    fn basic(&self) -> String {
        basic_value("iam", &self.world.last_token())
    }

    /// Runs the program without `ycred exec`. Checks that it fails with the message that the documentation explains.
    #[track_caller]
    fn assert_fails_without_exec(&self, arguments: &[&str], message: &str) {
        let run = self.world.sandbox.call(arguments[0], &arguments[1..]).run().fails();
        assert!(run.stdout.contains(message) || run.stderr.contains(message), "expected {message:?}\n{run}");
    }

    /// Rejects the key. Checks that `ycred exec` prints the reason and does not start the program.
    #[track_caller]
    fn assert_not_started_without_token(&self, call: impl Fn() -> Run) {
        let before = self.registry.requests().len();
        self.world.profile_for("default", &[]);
        let refusal = self.world.refuse();
        let run = call();
        assert_eq!(run.status.code(), Some(125), "{run}");
        assert!(run.lines_of_stderr("ycred: error: ")[0].contains(refusal), "{run}");
        assert_eq!(run.lines_of_stderr("ycred: hint: ").len(), 1, "{run}");
        assert_eq!(run.stderr.lines().count(), 2, "expected only ycred's two lines\n{run}");
        assert_eq!(self.registry.requests().len(), before);
    }
}

/// Returns a package in npm's format.
fn npm_package(sandbox: &Sandbox) -> Vec<u8> {
    sandbox.file("tmp/npm/package/package.json", r#"{"name": "hello", "version": "1.0.0"}"#);
    sandbox.file("tmp/npm/package/index.js", "module.exports = 'from the test'\n");
    let packed = sandbox.path("tmp/hello-1.0.0.tgz");
    sandbox
        .call("tar", ["-czf", &packed.to_string_lossy(), "-C", &sandbox.path("tmp/npm").to_string_lossy(), "package"])
        .run()
        .succeeds();
    std::fs::read(packed).expect("a package")
}

/// Starts an npm registry with one package, and writes the `.npmrc` for it.
fn npm_bench() -> Bench {
    let package = npm_package(&Sandbox::new());
    let sha1: String = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &package)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let bench = Bench::new(move |url, request| match request.path.as_str() {
        "/npm/hello" => json_response(
            200,
            json!({"name": "hello", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {"name": "hello",
                "version": "1.0.0", "dist": {"tarball": format!("{url}/npm/hello/-/hello-1.0.0.tgz"), "shasum": sha1}}}}),
        ),
        "/npm/hello/-/hello-1.0.0.tgz" => Response::typed(200, "application/octet-stream", package.clone()),
        "/npm/mine" if request.method == "PUT" => json_response(201, json!({"ok": true})),
        _ => json_response(404, json!({"error": "not found"})),
    });
    // As in docs/hooks/npm.md.
    let host = bench.registry.host();
    bench
        .world
        .sandbox
        .file("home/.npmrc", format!("registry=http://{host}/npm/\n//{host}/npm/:_authToken=${{YC_IAM_TOKEN}}\n"));
    bench
}

#[test]
fn npm_installs_and_publishes_with_the_token_from_its_environment() {
    let Some(_) = require_client("npm") else { return };
    let bench = npm_bench();
    let quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=0"];
    let install = || bench.exec(&[&["npm", "install", "hello"], &quiet[..]].concat()).run();
    bench.world.sandbox.file("work/package.json", "{}");
    install().succeeds();
    assert!(bench.world.sandbox.path("work/node_modules/hello/index.js").exists());
    bench.world.sandbox.file("work/mine/package.json", r#"{"name": "mine", "version": "1.0.0"}"#);
    let publish = bench.exec(&[&["npm", "publish"], &quiet[..]].concat()).within(bench.world.sandbox.path("work/mine"));
    publish.run().succeeds().stdout_has("mine@1.0.0");
    bench.assert_only_sent(&bench.bearer());
    bench.assert_not_started_without_token(install);
    std::fs::remove_dir_all(bench.world.sandbox.path("work/node_modules")).expect("the installed package");
    bench.assert_fails_without_exec(&[&["npm", "install", "hello"], &quiet[..]].concat(), "npm error code E401");
}

#[test]
fn yarn_installs_with_the_token_from_its_environment() {
    let Some(modules) = node(NODE) else { return };
    let yarn = modules.join("yarn/bin/yarn.js").display().to_string();
    let bench = npm_bench();
    // Otherwise yarn sends the token only for scoped packages.
    bench.world.sandbox.file("work/.npmrc", "always-auth=true\n");
    bench
        .world
        .sandbox
        .file("work/package.json", r#"{"name": "t", "license": "MIT", "dependencies": {"hello": "1.0.0"}}"#);
    let install = || bench.exec(&["node", &yarn, "install", "--no-progress", "--non-interactive"]).run();
    install().succeeds();
    assert!(bench.world.sandbox.path("work/node_modules/hello/index.js").exists());
    bench.assert_only_sent(&bench.bearer());
    bench.assert_not_started_without_token(install);
}

#[test]
fn modern_yarn_installs_with_the_token_from_its_environment() {
    let Some(modules) = node(NODE) else { return };
    let yarn = modules.join("@yarnpkg/cli-dist/bin/yarn.js").display().to_string();
    let bench = npm_bench();
    bench
        .world
        .sandbox
        .file("work/package.json", r#"{"name": "t", "license": "MIT", "dependencies": {"hello": "1.0.0"}}"#);
    // As in docs/hooks/npm.md, except for plain http and telemetry.
    bench.world.sandbox.file(
        "work/.yarnrc.yml",
        format!(
            "npmRegistryServer: \"{}/npm\"\nnpmAlwaysAuth: true\nnpmAuthToken: \"${{YC_IAM_TOKEN}}\"\nnodeLinker: node-modules\n\
             unsafeHttpWhitelist: [localhost]\nenableTelemetry: false\nhttpRetry: 0\n",
            bench.registry.url()
        ),
    );
    bench.assert_fails_without_exec(
        &["node", &yarn, "install", "--no-immutable"],
        "Environment variable not found (YC_IAM_TOKEN)",
    );
    let install = || bench.exec(&["node", &yarn, "install", "--no-immutable"]).run();
    install().succeeds();
    assert!(bench.world.sandbox.path("work/node_modules/hello/index.js").exists());
    bench.assert_only_sent(&bench.bearer());
    bench.assert_not_started_without_token(install);
}

#[test]
fn maven_fetches_a_parent_with_the_token_from_its_environment() {
    const POM: &str = "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
        <groupId>t</groupId><artifactId>parent</artifactId><version>1</version><packaging>pom</packaging></project>";
    let Some(_) = require_client("mvn") else { return };
    let bench = Bench::new(|_, request| match request.path.strip_prefix("/maven/t/parent/1/parent-1.pom") {
        Some("") => Response::text(200, POM),
        _ => Response::new(404),
    });
    bench.world.sandbox.file(
        "work/pom.xml",
        format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
             <parent><groupId>t</groupId><artifactId>parent</artifactId><version>1</version><relativePath/></parent>\
             <artifactId>child</artifactId><packaging>pom</packaging><repositories><repository><id>cloud-registry</id>\
             <url>{}/maven</url></repository></repositories></project>",
            bench.registry.url()
        ),
    );
    // As in docs/hooks/maven.md, with two differences. The path is an argument, because Maven's `user.home` is not
    // HOME. A mirror keeps Maven off the network, because Java ignores the proxy variables.
    let settings = bench.world.sandbox.file(
        "home/.m2/settings.xml",
        format!(
            "<settings><localRepository>{}</localRepository><mirrors><mirror><id>nowhere</id><mirrorOf>central</mirrorOf>\
             <url>http://127.0.0.1:1/</url></mirror></mirrors><servers><server><id>cloud-registry</id><username>iam</username>\
             <password>${{env.YC_IAM_TOKEN}}</password></server></servers></settings>",
            bench.world.sandbox.path("tmp/m2").display()
        ),
    );
    let settings = settings.display().to_string();
    let validate = || bench.exec(&["mvn", "--batch-mode", "--settings", &settings, "validate"]).run();
    validate().succeeds().stdout_has("BUILD SUCCESS");
    bench.assert_only_sent(&bench.basic());
    bench.assert_not_started_without_token(validate);
    std::fs::remove_dir_all(bench.world.sandbox.path("tmp/m2")).expect("the downloaded parent");
    let without_exec = ["mvn", "--batch-mode", "--settings", &settings, "validate"];
    bench.assert_fails_without_exec(&without_exec, "status: 401 Unauthorized");
}

/// Writes a wheel with one module.
fn wheel(sandbox: &Sandbox, python: &Path) -> PathBuf {
    const SCRIPT: &str = "
import zipfile
info = 'hello-1.0.dist-info/'
with zipfile.ZipFile('hello-1.0-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('hello.py', 'text = \"from the test\"')
    wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: hello\\nVersion: 1.0\\n')
    wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(info + 'RECORD', '')
";
    sandbox.call(python, ["-c", SCRIPT]).run().succeeds();
    sandbox.path("work/hello-1.0-py3-none-any.whl")
}

#[test]
fn pip_installs_from_an_index_whose_password_is_in_its_environment() {
    let Some(bin) = python(PYTHON) else { return };
    let sandbox = Sandbox::new();
    let package = std::fs::read(wheel(&sandbox, &bin.join("python"))).expect("a wheel");
    let name = digest(&package).replace(':', "=");
    let bench = Bench::new(move |_, request| match request.path.as_str() {
        "/pypi/simple/hello/" => Response::typed(
            200,
            "text/html",
            format!(
                "<!DOCTYPE html><a href=\"../../hello-1.0-py3-none-any.whl#{name}\">hello-1.0-py3-none-any.whl</a>"
            ),
        ),
        "/pypi/hello-1.0-py3-none-any.whl" => Response::typed(200, "application/octet-stream", package.clone()),
        _ => Response::new(404),
    });
    let requirements =
        format!("--index-url http://iam:${{YC_IAM_TOKEN}}@{}/pypi/simple/\nhello==1.0\n", bench.registry.host());
    bench.world.sandbox.file("work/requirements.txt", requirements);
    let pip = bin.join("pip").display().to_string();
    let options = ["--disable-pip-version-check", "--no-cache-dir", "--retries", "0", "--target", "there"];
    let install = || bench.exec(&[&[&pip, "install", "-r", "requirements.txt"], &options[..]].concat()).run();
    let run = install().succeeds();
    assert!(bench.world.sandbox.path("work/there/hello.py").exists());
    let run = run.never_prints(&bench.world.last_token());
    assert!(run.stdout.contains("****"), "pip shows the URL without the password\n{run}");
    bench.assert_only_sent(&bench.basic());
    bench.assert_not_started_without_token(install);
    let without_exec = [&[pip.as_str(), "install", "-r", "requirements.txt", "--no-input"], &options[..]].concat();
    bench.assert_fails_without_exec(&without_exec, "No matching distribution found for hello==1.0");
}

#[test]
fn twine_uploads_with_the_password_from_its_environment() {
    let Some(bin) = python(PYTHON) else { return };
    let authority = Authority::new();
    let mut bench =
        Bench::with(Some(&authority), |_, request| match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/pypi/legacy/") => Response::text(200, "ok"),
            _ => Response::new(404),
        });
    let ca = trust(&bench.world.sandbox, &authority);
    bench.world.sandbox.set("REQUESTS_CA_BUNDLE", ca);
    wheel(&bench.world.sandbox, &bin.join("python"));
    // As in docs/hooks/python.md.
    let command = format!(
        "TWINE_USERNAME=iam TWINE_PASSWORD=$YC_IAM_TOKEN {} upload --non-interactive --disable-progress-bar \
         --repository-url {}/pypi/legacy/ *.whl",
        bin.join("twine").display(),
        bench.registry.url()
    );
    let upload = || bench.exec(&["sh", "-c", &command]).run();
    upload().succeeds().never_prints(&bench.world.last_token());
    let uploaded = bench.registry.requests();
    assert!(
        uploaded.iter().any(|request| request.text().contains("hello-1.0-py3-none-any.whl")),
        "the wheel was uploaded"
    );
    bench.assert_only_sent(&bench.basic());
    bench.assert_not_started_without_token(upload);
    bench.assert_fails_without_exec(&["sh", "-c", &command], "Unauthorized");
}

#[test]
fn nuget_installs_and_pushes_with_the_password_from_its_environment() {
    let Some(mono) = require_client("mono") else { return };
    let Some(modules) = node(NODE) else { return };
    let (mono, nuget) = (mono.display().to_string(), modules.join("nuget-exe/nuget-5.8.0.exe").display().to_string());
    let build = Sandbox::new();
    build.file(
        "work/hello.nuspec",
        "<?xml version=\"1.0\"?><package><metadata><id>hello</id><version>1.0.0</version><authors>t</authors>\
         <description>t</description></metadata><files><file src=\"hello.txt\" target=\"content\"/></files></package>",
    );
    build.file("work/hello.txt", "from the test\n");
    build.call(&mono, [&nuget, "pack", "hello.nuspec", "-NonInteractive"]).run().succeeds();
    let package = std::fs::read(build.path("work/hello.1.0.0.nupkg")).expect("a package");
    let bench = Bench::new(move |url, request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/nuget/v3/index.json") => {
            let resources = [
                ("flat", "PackageBaseAddress/3.0.0"),
                ("registrations", "RegistrationsBaseUrl"),
                ("registrations", "RegistrationsBaseUrl/3.4.0"),
                ("push", "PackagePublish/2.0.0"),
            ];
            let resources: Vec<_> = resources
                .iter()
                .map(|(path, kind)| json!({"@id": format!("{url}/nuget/{path}/"), "@type": kind}))
                .collect();
            json_response(200, json!({"version": "3.0.0", "resources": resources}))
        }
        ("GET", "/nuget/registrations/hello/index.json") => {
            let leaf = json!({"@id": format!("{url}/nuget/leaf"), "packageContent": format!("{url}/nuget/flat/hello/1.0.0/hello.1.0.0.nupkg"),
                "catalogEntry": {"@id": format!("{url}/nuget/entry"), "id": "hello", "version": "1.0.0", "listed": true}});
            json_response(
                200,
                json!({"count": 1, "items": [{"@id": format!("{url}/nuget/page"), "count": 1, "lower": "1.0.0",
                "upper": "1.0.0", "items": [leaf]}]}),
            )
        }
        ("GET", "/nuget/flat/hello/1.0.0/hello.1.0.0.nupkg") => {
            Response::typed(200, "application/octet-stream", package.clone())
        }
        ("PUT", "/nuget/push/") => Response::new(201),
        _ => Response::new(404),
    });
    // As in docs/hooks/nuget.md, except for plain http.
    bench.world.sandbox.file(
        "work/NuGet.Config",
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><configuration><packageSources><clear/>\
             <add key=\"cloud\" value=\"{}/nuget/v3/index.json\"/></packageSources><packageSourceCredentials><cloud>\
             <add key=\"Username\" value=\"iam\"/><add key=\"ClearTextPassword\" value=\"%YC_IAM_TOKEN%\"/>\
             </cloud></packageSourceCredentials></configuration>",
            bench.registry.url()
        ),
    );
    let common = ["-ConfigFile", "NuGet.Config", "-NonInteractive"];
    let install_hello = ["install", "hello", "-Version", "1.0.0", "-OutputDirectory", "there", "-NoCache"];
    let install = || bench.exec(&[&[mono.as_str(), &nuget], &install_hello[..], &common[..]].concat()).run();
    install().succeeds().stdout_has("Successfully installed");
    assert!(bench.world.sandbox.path("work/there/hello.1.0.0/content/hello.txt").exists());
    let package = build.path("work/hello.1.0.0.nupkg").display().to_string();
    bench
        .exec(&[&[mono.as_str(), &nuget, "push", &package, "-Source", "cloud"], &common[..]].concat())
        .run()
        .succeeds();
    bench.assert_only_sent(&bench.basic());
    bench.assert_not_started_without_token(install);
    std::fs::remove_dir_all(bench.world.sandbox.path("work/there")).expect("the installed package");
    let without_exec = [&[mono.as_str(), &nuget], &install_hello[..], &common[..]].concat();
    bench.assert_fails_without_exec(&without_exec, "401 (Unauthorized)");
}
