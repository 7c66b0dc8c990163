//! The formats of `ycred token`, each read by the programs that it is for.
//!
//! The commands are those of docs/hooks/token.md. None of them passes the token in an argument list.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::test_server::{Gate, TestServer, basic_value, digest, json_response, trust};
use super::versions::{NODE, PYTHON};
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Run, require_client};
use crate::packages::{node, python};
use crate::server::{Request, Response};
use crate::world::World;

/// A sandbox with `ycred` in PATH, and a server that requires a token.
struct Bench {
    world: World,
    server: TestServer,
}

impl Bench {
    fn new() -> Bench {
        let world = World::without_profile(Config::default());
        let gate = Gate::of(&world);
        let server = TestServer::plain(move |request| {
            if gate.admits_bearer(request) || gate.admits_basic(request) {
                return json_response(200, json!({"welcome": true}));
            }
            Response::text(401, "who are you?").header("WWW-Authenticate", "Basic realm=\"test\"")
        });
        Bench::with(world, server)
    }

    fn with(mut world: World, server: TestServer) -> Bench {
        world.sandbox.link("ycred");
        // ycred supplies a token for plain http only to a listed loopback host.
        world.profile_for("default", &[server.host()]);
        let (url, host) = (server.url(), server.host());
        world.sandbox.seal().set("URL", url).set("SERVER", host);
        Bench { world, server }
    }

    /// Runs a command of the documentation in bash.
    fn bash(&self, command: &str) -> Run {
        self.world.sandbox.call("bash", ["-o", "pipefail", "-c", command]).run()
    }

    /// Checks that the server received one request with this credential, and that ycred made one IAM request.
    #[track_caller]
    fn assert_received_once(&self, header: &str) {
        assert_eq!(self.server.authorizations(), [header]);
        assert_eq!(self.world.requests(), 1, "IAM requests");
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.world.last_token())
    }

    fn basic(&self) -> String {
        basic_value("iam", &self.world.last_token())
    }
}

#[test]
fn curl_reads_a_configuration_a_header_and_a_netrc_file() {
    let Some(_) = require_client("curl") else { return };
    for command in [
        "ycred token --format curl | curl -sS --fail -K - $URL/x",
        "ycred token --format header | curl -sS --fail -H @- $URL/x",
    ] {
        let bench = Bench::new();
        bench.bash(command).succeeds().stderr_is_empty().stdout_is("{\"welcome\":true}");
        bench.assert_received_once(&bench.bearer());
    }
    let bench = Bench::new();
    let command = "curl -sS --fail --netrc-file <(ycred token --format netrc --host $SERVER) $URL/x";
    bench.bash(command).succeeds().stderr_is_empty().stdout_is("{\"welcome\":true}");
    bench.assert_received_once(&bench.basic());
}

#[test]
fn curl_fails_without_a_token_after_ycred_prints_the_reason() {
    let Some(_) = require_client("curl") else { return };
    let bench = Bench::new();
    let refusal = bench.world.refuse();
    // ycred prints the reason. Then curl sends the request without a token and prints the server's refusal.
    let run = bench.bash("ycred token --format curl | curl -sS --fail -K - $URL/x").fails().stdout_is("");
    assert!(run.lines_of_stderr("ycred: error: ")[0].contains(refusal), "{run}");
    assert_eq!(bench.server.authorizations(), Vec::<String>::new());
}

#[test]
fn wget_and_requests_read_the_netrc_file_of_a_home() {
    let Some(_) = require_client("wget") else { return };
    let Some(python) = python(PYTHON) else { return };
    let bench = Bench::new();
    let write = "(umask 077; ycred token --format netrc --host $SERVER > ~/.netrc)";
    bench.bash(write).succeeds().stderr_is_empty();
    bench.bash("wget --quiet --output-document=- $URL/x").succeeds().stdout_is("{\"welcome\":true}");
    bench.assert_received_once(&bench.basic());
    let script = "import os, requests; r = requests.get(os.environ['URL'] + '/x'); r.raise_for_status(); print(r.text)";
    bench.world.sandbox.call(python.join("python"), ["-c", script]).run().succeeds().stdout_is("{\"welcome\":true}\n");
    assert_eq!(bench.server.authorizations(), [bench.basic(), bench.basic()]);
}

#[test]
fn a_python_script_reads_headers_and_the_json_that_yc_prints() {
    let Some(python) = python(PYTHON) else { return };
    let bench = Bench::new();
    let script = "
import datetime, json, os, requests, subprocess
def ycred(form): return json.loads(subprocess.check_output(['ycred', 'token', '--format', form]))
requests.get(os.environ['URL'], headers=ycred('headers-json')).raise_for_status()
answer = ycred('json')
assert datetime.datetime.fromisoformat(answer['expires_at'].replace('Z', '+00:00')).tzinfo
requests.get(os.environ['URL'], headers={'Authorization': 'Bearer ' + answer['iam_token']}).raise_for_status()
";
    bench.world.sandbox.call(python.join("python"), ["-c", script]).run().succeeds().stderr_is_empty();
    assert_eq!(bench.server.authorizations(), [bench.bearer(), bench.bearer()]);
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn httpie_reads_a_header_from_a_file() {
    let Some(python) = python(PYTHON) else { return };
    let bench = Bench::new();
    let http = python.join("http");
    let command = format!(
        "{} --ignore-stdin --check-status --body $URL/x Authorization:@<(ycred token --format bearer)",
        http.display()
    );
    bench.bash(&command).succeeds().stdout_has("\"welcome\":true");
    bench.assert_received_once(&bench.bearer());
}

#[test]
fn git_reads_the_netrc_file_of_a_home() {
    let Some(git) = require_client("git") else { return };
    let world = World::without_profile(Config::default());
    let gate = Gate::of(&world);
    // The response of an empty repository (gitprotocol-http, "Smart Server Response").
    let server = TestServer::plain(move |request| {
        if !gate.admits_basic(request) {
            return Response::new(401).header("WWW-Authenticate", "Basic realm=\"git\"");
        }
        let line = format!("{} capabilities^{{}}\0agent=test\n", "0".repeat(40));
        let body = format!("001e# service=git-upload-pack\n0000{:04x}{line}0000", line.len() + 4);
        Response::typed(200, "application/x-git-upload-pack-advertisement", body)
    });
    let mut bench = Bench::with(world, server);
    bench.world.sandbox.set("GIT_TERMINAL_PROMPT", "0").set("GIT_CONFIG_NOSYSTEM", "1");
    bench.bash("(umask 077; ycred token --format netrc --host $SERVER > ~/.netrc)").succeeds();
    bench
        .world
        .sandbox
        .call(git, ["ls-remote", &format!("{}/a.git", bench.server.url())])
        .run()
        .succeeds()
        .stderr_is_empty();
    assert!(bench.server.authorizations().iter().all(|header| *header == bench.basic()));
    assert!(!bench.server.authorizations().is_empty());
}

#[test]
fn apt_reads_a_netrc_file_in_its_configuration() {
    const PACKAGE: &[u8] = b"not really a package: apt-get download looks at its size and digest alone";
    let Some(_) = require_client("apt-get") else { return };
    let world = World::without_profile(Config::default());
    let (gate, authority) = (Gate::of(&world), Authority::new());
    let name = |bytes: &[u8]| digest(bytes).trim_start_matches("sha256:").to_owned();
    let packages = format!(
        "Package: hello\nVersion: 1.0\nArchitecture: all\nMaintainer: t <t@example.com>\nDescription: t\n\
         Filename: ./hello_1.0_all.deb\nSize: {}\nSHA256: {}\n",
        PACKAGE.len(),
        name(PACKAGE)
    );
    let release = format!("Suite: t\nSHA256:\n {} {} Packages\n", name(packages.as_bytes()), packages.len());
    let server = TestServer::tls(&authority, move |request| {
        if !gate.admits_basic(request) {
            return Response::new(401).header("WWW-Authenticate", "Basic realm=\"debian\"");
        }
        match request.path.rsplit('/').next() {
            Some("Release") => Response::text(200, release.clone()),
            Some("Packages") => Response::text(200, packages.clone()),
            Some("hello_1.0_all.deb") => Response::typed(200, "application/octet-stream", PACKAGE),
            _ => Response::new(404),
        }
    });
    let bench = Bench::with(world, server);
    let ca = trust(&bench.world.sandbox, &authority);
    for directory in ["state/lists/partial", "cache/archives/partial", "etc"] {
        std::fs::create_dir_all(bench.world.sandbox.path("tmp/apt").join(directory)).expect("a directory");
    }
    let root = bench.world.sandbox.path("tmp/apt").display().to_string();
    bench
        .world
        .sandbox
        .file("tmp/apt/etc/sources.list", format!("deb [trusted=yes] {}/debian/1 ./\n", bench.server.url()));
    let options = format!(
        "Dir::State \"{root}/state\";\nDir::State::status \"/dev/null\";\nDir::Cache \"{root}/cache\";\n\
         Dir::Etc \"{root}/etc\";\nDir::Log \"{root}\";\nAcquire::https::CAInfo \"{}\";\nAcquire::Retries \"0\";\n\
         Acquire::Languages \"none\";\nAPT::Sandbox::User \"root\";\nAPT::Architecture \"amd64\";\n",
        ca.display()
    );
    let options = bench.world.sandbox.file("tmp/apt/options", options);
    let apt = |arguments: &[&str]| bench.world.sandbox.call("apt-get", arguments).env("APT_CONFIG", &options).run();
    // Without the netrc file, the repository refuses apt.
    apt(&["update", "--error-on=any"]).fails().stderr_has("401");
    let write = format!("(umask 077; ycred token --format netrc --host $SERVER > {root}/etc/auth.conf)");
    bench.bash(&write).succeeds().stderr_is_empty();
    apt(&["update", "--error-on=any"]).succeeds();
    apt(&["download", "hello"]).succeeds();
    assert_eq!(std::fs::read(bench.world.sandbox.path("work/hello_1.0_all.deb")).expect("the package"), PACKAGE);
    let seen = bench.server.authorizations();
    assert!(!seen.is_empty() && seen.iter().all(|header| *header == bench.basic()), "{seen:?}");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

/// Starts an MCP server with the streamable HTTP transport and one tool.
fn mcp_server(world: &World) -> TestServer {
    let gate = Gate::of(world);
    TestServer::plain(move |request: &Request| {
        if !gate.admits_bearer(request) {
            return json_response(401, json!({"error": "invalid_token"}));
        }
        let Ok(message) = serde_json::from_slice::<Value>(&request.body) else { return Response::new(405) };
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                json!({"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}},
                "serverInfo": {"name": "test", "version": "1"}})
            }
            "tools/list" => json!({"tools": [{"name": "greet", "inputSchema": {"type": "object"}}]}),
            _ if message.get("id").is_none() => return Response::new(202),
            _ => json!({}),
        };
        json_response(200, json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
    })
}

/// An MCP client that uses http itself, with the headers that ycred prints.
const MCP_OVER_HTTP: &str = "
import { execFileSync } from 'node:child_process';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
const headers = JSON.parse(execFileSync('ycred', ['token', '--format', 'headers-json']));
const transport = new StreamableHTTPClientTransport(new URL(process.env.URL), { requestInit: { headers } });
const client = new Client({ name: 'test', version: '1' });
await client.connect(transport);
console.log((await client.listTools()).tools[0].name);
await client.close();
";

/// An MCP client that starts a bridge to the server, as desktop agents do.
const MCP_OVER_A_BRIDGE: &str = "
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
const [bridge, url] = process.argv.slice(2);
const transport = new StdioClientTransport({ command: 'ycred', env: process.env,
    args: ['exec', '--', 'node', bridge, url, '--transport', 'http-only', '--header', 'Authorization:Bearer ${YC_IAM_TOKEN}'] });
const client = new Client({ name: 'test', version: '1' });
await client.connect(transport);
console.log((await client.listTools()).tools[0].name);
await client.close();
";

/// Writes a script, with a `node_modules` beside it in which node finds the packages.
fn script(bench: &Bench, modules: &Path, source: &str) -> PathBuf {
    std::os::unix::fs::symlink(modules, bench.world.sandbox.path("work/node_modules")).expect("a link");
    bench.world.sandbox.file("work/script.mjs", source)
}

#[test]
fn an_mcp_client_sends_the_headers_that_ycred_prints() {
    let Some(modules) = node(NODE) else { return };
    let world = World::without_profile(Config::default());
    let server = mcp_server(&world);
    let bench = Bench::with(world, server);
    let script = script(&bench, &modules, MCP_OVER_HTTP);
    bench.world.sandbox.call("node", [script]).run().succeeds().stdout_is("greet\n");
    let seen = bench.server.authorizations();
    assert!(seen.len() >= 3 && seen.iter().all(|header| *header == bench.bearer()), "{seen:?}");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn an_mcp_bridge_under_exec_gets_the_token_from_its_environment() {
    let Some(modules) = node(NODE) else { return };
    let world = World::without_profile(Config::default());
    let server = mcp_server(&world);
    let mut bench = Bench::with(world, server);
    let configuration = bench.world.sandbox.path("tmp/mcp-remote");
    bench.world.sandbox.set("MCP_REMOTE_CONFIG_DIR", configuration);
    let script = script(&bench, &modules, MCP_OVER_A_BRIDGE);
    let bridge = modules.join("mcp-remote/dist/proxy.js");
    let arguments = [script.as_os_str(), bridge.as_os_str(), bench.server.url().as_ref()].map(ToOwned::to_owned);
    bench.world.sandbox.call("node", arguments).run().succeeds().stdout_is("greet\n");
    let seen = bench.server.authorizations();
    assert!(seen.len() >= 3 && seen.iter().all(|header| *header == bench.bearer()), "{seen:?}");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

/// A gRPC server and a client of it.
///
/// The client reads the output of `ycred token --format grpc` from stdin and sends it as metadata. The server checks
/// the token with the [`Bench`]'s server. With an argument, the script runs only the server.
const GRPC: &str = "
import concurrent.futures, grpc, json, os, sys, urllib.request
class Service(grpc.GenericRpcHandler):
    def service(self, call):
        return grpc.unary_unary_rpc_method_handler(self.answer) if call.method == '/test.Greeter/Greet' else None
    def answer(self, request, context):
        shown = [value for key, value in context.invocation_metadata() if key == 'authorization']
        try:
            check = urllib.request.Request(os.environ['URL'], headers={'Authorization': shown[0]})
            urllib.request.urlopen(check).read()
        except Exception as error:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, repr(error))
        return b''
server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
server.add_generic_rpc_handlers([Service()])
port = server.add_insecure_port('127.0.0.1:0')
server.start()
if sys.argv[1:]:
    print(port, flush=True)
    server.wait_for_termination(60)
else:
    metadata = tuple(json.load(sys.stdin).items())
    with grpc.insecure_channel('127.0.0.1:%d' % port) as channel:
        channel.unary_unary('/test.Greeter/Greet')(b'', metadata=metadata, timeout=30)
server.stop(None)
";

#[test]
fn a_grpc_client_uses_the_metadata_that_ycred_prints() {
    let Some(python) = python(PYTHON) else { return };
    let bench = Bench::new();
    bench.world.sandbox.file("work/greet.py", GRPC);
    let greet = |format: &str| {
        bench.bash(&format!("ycred token --format {format} | {} greet.py", python.join("python").display()))
    };
    // gRPC may log the end of the server to stderr.
    assert!(greet("grpc").succeeds().lines_of_stderr("ycred").is_empty());
    bench.assert_received_once(&bench.bearer());
    // gRPC rejects upper case in metadata, so `headers-json` does not work.
    greet("headers-json").fails().stderr_has("Invalid metadata");
}

#[test]
fn buf_reads_the_header_for_a_grpc_server() {
    let (Some(python), Some(modules)) = (python(PYTHON), node(NODE)) else { return };
    let bench = Bench::new();
    let machine = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x64" };
    let buf = modules.join(format!("@bufbuild/buf-linux-{machine}/bin/buf"));
    bench.world.sandbox.file(
        "work/greet.proto",
        "syntax = \"proto3\";\npackage test;\nmessage Nothing {}\nservice Greeter { rpc Greet(Nothing) returns (Nothing); }\n",
    );
    let script = bench.world.sandbox.file("work/greet.py", GRPC);
    let server = bench.world.sandbox.call(python.join("python"), [script.as_os_str(), "serve".as_ref()]).start();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !server.stdout().ends_with('\n') {
        assert!(std::time::Instant::now() < end, "the server does not listen:\n{}", server.stderr());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let command = format!(
        "ycred token --format header | {} curl --schema greet.proto --protocol grpc --http2-prior-knowledge -H @- -d '{{}}' \
         http://127.0.0.1:{}/test.Greeter/Greet",
        buf.display(),
        server.stdout().trim()
    );
    bench.bash(&command).succeeds().stdout_is("{}\n");
    bench.assert_received_once(&bench.bearer());
}
