//! go with ycred in `GOAUTH`, against a module proxy that requires the token.

use std::fs;
use std::path::PathBuf;

use super::client::{runs_of, wrapper};
use super::test_server::{Gate, TestServer, basic_value, trust};
use super::versions::GO;
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Call, Run, Sandbox, YCRED};
use crate::packages;
use crate::server::{Request, Response};
use crate::world::World;

const MODULE: &str = "module example.com/tiny\n\ngo 1.21\n";

/// Returns the only module of the proxy.
fn module(sandbox: &Sandbox, python: &str) -> Vec<u8> {
    let pack = "import zipfile, sys\n\
         with zipfile.ZipFile('../tmp/tiny.zip', 'w') as z:\n \
          z.writestr('example.com/tiny@v1.0.0/go.mod', sys.argv[1])\n \
          z.writestr('example.com/tiny@v1.0.0/tiny.go', 'package tiny\\n\\nconst Answer = 42\\n')\n";
    sandbox.call(python, ["-c", pack, MODULE]).run().succeeds();
    fs::read(sandbox.path("tmp/tiny.zip")).expect("the packed module")
}

/// Starts a proxy with one module. Every request needs Basic credentials.
fn proxy(authority: &Authority, gate: Gate, module: Vec<u8>) -> TestServer {
    TestServer::tls(authority, move |request: &Request| {
        if !gate.admits_basic(request) {
            return Response::text(401, "who are you?").header("WWW-Authenticate", "Basic realm=\"proxy\"");
        }
        match request.path.as_str() {
            "/go/x/example.com/tiny/@v/v1.0.0.info" => {
                Response::json(200, r#"{"Version":"v1.0.0","Time":"2020-01-01T00:00:00Z"}"#)
            }
            "/go/x/example.com/tiny/@v/v1.0.0.mod" => Response::text(200, MODULE),
            "/go/x/example.com/tiny/@v/v1.0.0.zip" => Response::typed(200, "application/zip", module.clone()),
            _ => Response::text(404, "not found"),
        }
    })
}

/// A sandbox with a module proxy and go configured to use ycred.
struct Bench {
    world: World,
    proxy: TestServer,
    go: PathBuf,
    runs: PathBuf,
}

impl Bench {
    fn new(version: &str, hosts: impl FnOnce(&TestServer) -> Vec<String>) -> Option<Bench> {
        let bin = packages::python(&[version])?;
        let library =
            fs::read_dir(bin.with_file_name("lib")).expect("its libraries").flatten().next().expect("Python's library");
        let go = library.path().join("site-packages/go/bin/go");
        let mut world = World::without_profile(Config::default());
        let authority = Authority::new();
        let module = module(&world.sandbox, &bin.join("python").display().to_string());
        let proxy = proxy(&authority, Gate::of(&world), module);
        world.profile_for("prod", &hosts(&proxy));
        let (program, runs) = wrapper(&world.sandbox, "bin/ycred", YCRED.as_ref());
        let ca = trust(&world.sandbox, &authority);
        world
            .sandbox
            .seal()
            .set("SSL_CERT_FILE", ca)
            .set("GOPROXY", format!("https://{}/go/x", proxy.host()))
            .set("GOAUTH", format!("{} goauth --profile prod", program.display()))
            .set("GOSUMDB", "off")
            .set("GOTOOLCHAIN", "local")
            .set("GOFLAGS", "-modcacherw")
            .set("GOTELEMETRY", "off");
        world.sandbox.file("work/go.mod", "module example.com/work\n\ngo 1.21\n\nrequire example.com/tiny v1.0.0\n");
        Some(Bench { world, proxy, go, runs })
    }

    fn download(&self, more: &[&str]) -> Call {
        let arguments = ["mod", "download"].into_iter().chain(more.iter().copied()).chain(["example.com/tiny@v1.0.0"]);
        self.world.sandbox.call(&self.go, arguments)
    }

    /// Checks that the module was downloaded, that only the token was sent to the proxy, and that ycred made one IAM
    /// request.
    #[track_caller]
    fn assert_downloaded(&self, run: &Run) {
        assert!(self.world.sandbox.path("home/go/pkg/mod/example.com/tiny@v1.0.0/tiny.go").exists(), "{run}");
        let expected = basic_value("iam", &self.world.last_token());
        let seen = self.proxy.authorizations();
        assert!(!seen.is_empty() && seen.iter().all(|header| *header == expected), "{seen:?}\n{run}");
        assert_eq!(self.world.requests(), 1, "IAM requests\n{run}");
    }
}

#[test]
fn go_sends_the_token_with_every_request_to_a_proxy() {
    for version in GO {
        let Some(bench) = Bench::new(version, |proxy| vec![proxy.host()]) else { return };
        let run = bench.download(&[]).run().succeeds();
        bench.assert_downloaded(&run);
        assert_eq!(runs_of(&bench.runs), 1, "runs of the command\n{run}");
        let without = bench.proxy.requests().iter().filter(|request| request.header("authorization").is_none()).count();
        assert_eq!(without, 0, "requests without credentials\n{run}");
    }
}

/// Without a URL, ycred cannot name the hosts that a wildcard covers. go runs it again with the URL that was refused.
#[test]
fn a_host_matched_by_a_wildcard_gets_the_token_when_go_names_it() {
    let Some(mut bench) = Bench::new(GO[1], |_| vec!["*.corp.example".into()]) else { return };
    // The host does not exist, so this checks only the reply to the call that go would make.
    let run = bench.world.sandbox.ycred(["goauth", "-p", "prod", "https://go.corp.example/x/@v/list"]).run().succeeds();
    assert_eq!(
        run.stdout,
        format!("https://go.corp.example\n\nAuthorization: {}\n\n", basic_value("iam", &bench.world.last_token()))
    );
    // A command that prints nothing at the first call. go uses the reply to the second call, which gets the URL.
    let second = format!("#!/bin/sh\n[ $# -gt 0 ] && exec '{YCRED}' goauth --profile prod \"$@\"\nexit 0\n");
    let second = bench.world.sandbox.script("tmp/second", &second);
    bench.world.profile_for("prod", &[bench.proxy.host()]);
    bench.world.sandbox.set("GOAUTH", second);
    let run = bench.download(&[]).run().succeeds();
    assert!(bench.world.sandbox.path("home/go/pkg/mod/example.com/tiny@v1.0.0/tiny.go").exists(), "{run}");
    assert!(bench.proxy.authorizations().contains(&basic_value("iam", &bench.world.last_token())), "{run}");
}

#[test]
fn an_unlisted_proxy_gets_no_token() {
    for version in GO {
        let Some(bench) = Bench::new(version, |_| Vec::new()) else { return };
        let run = bench.download(&[]).run().fails();
        assert!(runs_of(&bench.runs) >= 2, "expected a second run with the URL\n{run}");
        assert_eq!(bench.proxy.authorizations(), Vec::<String>::new());
        assert!(!run.stderr.contains("t1."), "{run}");
    }
}

#[test]
fn go_shows_the_rejection_of_a_key_with_x_after_one_iam_request() {
    let Some(bench) = Bench::new(GO[1], |proxy| vec![proxy.host()]) else { return };
    let message = bench.world.refuse();
    let run = bench.download(&["-x"]).run().fails();
    assert!(run.stderr.contains(message), "{run}");
    assert_eq!(bench.world.requests(), 1, "IAM requests");
}

#[test]
fn go_gets_a_token_through_what_setup_wrote_and_the_file_comes_back() {
    let Some(mut bench) = Bench::new(GO[1], |proxy| vec![proxy.host()]) else { return };
    let sandbox = &mut bench.world.sandbox;
    sandbox.unset("GOAUTH");
    let program = sandbox.path("bin/ycred").display().to_string();
    std::os::unix::fs::symlink(&bench.go, sandbox.path("bin/go")).expect("a link");
    let text = "GOAUTH=netrc\nGONOSUMDB=x.example\n";
    let path = sandbox.file("home/.config/go/env", text);
    bench.download(&[]).run().fails();
    bench.world.ycred(&["setup", "go", "-p", "prod", "--command", &program]).run().succeeds().stderr_is_empty();
    let run = bench.download(&[]).run().succeeds();
    bench.assert_downloaded(&run);
    // go rewrites its file.
    bench.world.sandbox.call(&bench.go, ["env", "-w", "GONOSUMDB=y.example"]).run().succeeds();
    bench.world.ycred(&["unsetup", "--all"]).run().succeeds();
    assert_eq!(fs::read_to_string(&path).expect("the file"), text.replace("x.example", "y.example"));
    // Without a journal, and with nothing there before.
    fs::remove_file(&path).expect("removed");
    bench.world.ycred(&["setup", "go", "-p", "prod", "--command", &program]).run().succeeds();
    bench.world.ycred(&["unsetup", "go"]).run().succeeds();
    assert!(!path.exists());
}
