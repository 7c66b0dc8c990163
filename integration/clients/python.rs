//! pip and uv with ycred as `keyring`, against a package index that requires the token.

use std::fs;
use std::path::PathBuf;

use super::client::{runs_of, wrapper};
use super::test_server::{Gate, TestServer, basic_value, trust};
use super::versions::{PIP_23, PIP_26, UV};
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Call, Run, Sandbox, YCRED};
use crate::packages;
use crate::server::{Request, Response};
use crate::world::World;

const WHEEL: &str = "tiny-1.0-py3-none-any.whl";

/// Returns the only package of the index.
fn wheel(sandbox: &Sandbox, python: &str) -> Vec<u8> {
    let pack = format!(
        "import zipfile\n\
         with zipfile.ZipFile('../tmp/{WHEEL}', 'w') as z:\n \
          z.writestr('tiny.py', 'ANSWER = 42\\n')\n \
          z.writestr('tiny-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n')\n \
          z.writestr('tiny-1.0.dist-info/WHEEL', \
             'Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n \
          z.writestr('tiny-1.0.dist-info/RECORD', \
             'tiny.py,,\\ntiny-1.0.dist-info/METADATA,,\\ntiny-1.0.dist-info/WHEEL,,\\ntiny-1.0.dist-info/RECORD,,\\n')\n"
    );
    sandbox.call(python, ["-c", &pack]).run().succeeds();
    fs::read(sandbox.path(format!("tmp/{WHEEL}"))).expect("the packed wheel")
}

/// Starts an index with one package. Every request needs Basic credentials.
fn index(authority: &Authority, gate: Gate, wheel: Vec<u8>) -> TestServer {
    TestServer::tls(authority, move |request: &Request| {
        if !gate.admits_basic(request) {
            return Response::text(401, "who are you?").header("WWW-Authenticate", "Basic realm=\"index\"");
        }
        match request.path.as_str() {
            "/simple/tiny/" => Response::typed(200, "text/html", format!("<a href=\"/files/{WHEEL}\">{WHEEL}</a>")),
            path if path == format!("/files/{WHEEL}") => Response::typed(200, "application/zip", wheel.clone()),
            _ => Response::text(404, "no such page"),
        }
    })
}

/// A sandbox with a package index, an installed client, and ycred as `keyring`.
struct Bench {
    world: World,
    index: TestServer,
    /// The `bin` directory of the virtual environment.
    bin: PathBuf,
    ca: PathBuf,
    runs: PathBuf,
}

impl Bench {
    /// `is_listed`: the profile lists the index.
    fn new(package: &str, is_listed: bool) -> Option<Bench> {
        let bin = packages::python(&[package])?;
        let mut world = World::without_profile(Config::default());
        let authority = Authority::new();
        let wheel = wheel(&world.sandbox, &bin.join("python").display().to_string());
        let index = index(&authority, Gate::of(&world), wheel);
        let host = index.host();
        world.profile_for("default", is_listed.then(|| host.clone()).as_slice());
        let link = world.sandbox.link_at("tmp/keyring");
        let (_, runs) = wrapper(&world.sandbox, "bin/keyring", &link);
        let ca = trust(&world.sandbox, &authority);
        world.sandbox.seal().set("SSL_CERT_FILE", &ca).set("UV_NO_CACHE", "1").set("UV_PYTHON_DOWNLOADS", "never");
        Some(Bench { world, index, bin, ca, runs })
    }

    /// Returns the URL of the index, with an optional `USER@`.
    fn url(&self, user: &str) -> String {
        format!("https://{user}{}/simple/", self.index.host())
    }

    fn pip(&self, user: &str) -> Call {
        let (url, ca) = (self.url(user), self.ca.display().to_string());
        let arguments =
            ["install", "--quiet", "--isolated", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"];
        let more = ["--no-input", "--retries=0", "--keyring-provider=subprocess", "--target=site"];
        let arguments: Vec<&str> =
            arguments.into_iter().chain(more).chain(["--index-url", &url, "--cert", &ca, "tiny"]).collect();
        self.world.sandbox.call(self.bin.join("pip"), arguments)
    }

    fn uv(&self, user: &str, more: &[&str]) -> Call {
        let (url, python) = (self.url(user), self.bin.join("python").display().to_string());
        let arguments = ["pip", "install", "--quiet", "--no-config", "--no-deps", "--keyring-provider=subprocess"];
        let target = ["--target=site", "--python", &python, "tiny"];
        let arguments: Vec<&str> = arguments.into_iter().chain(more.iter().copied()).chain(target).collect();
        self.world.sandbox.call(self.bin.join("uv"), arguments).env("UV_DEFAULT_INDEX", url)
    }

    /// Checks that the package is installed, that the index received only the token, that no file contains it, and that
    /// ycred made one IAM request.
    #[track_caller]
    fn assert_installed(&self, run: &Run) {
        assert!(self.world.sandbox.path("work/site/tiny.py").exists(), "{run}");
        let expected = basic_value("iam", &self.world.last_token());
        let seen = self.index.authorizations();
        // pip first sends the user with an empty password.
        let empty = basic_value("iam", "");
        assert!(
            seen.contains(&expected) && seen.iter().all(|header| *header == expected || *header == empty),
            "{seen:?}\n{run}"
        );
        assert!(runs_of(&self.runs) >= 1, "keyring was not run\n{run}");
        assert_eq!(self.world.requests(), 1, "IAM requests\n{run}");
        for file in self.world.sandbox.files("work").into_iter().chain(self.world.sandbox.files("home")) {
            let content = fs::read(&file).expect("a file");
            let token = self.world.last_token();
            assert!(!content.windows(token.len()).any(|piece| piece == token.as_bytes()), "{}", file.display());
        }
    }
}

#[test]
fn pip_23_installs_with_the_token() {
    let Some(bench) = Bench::new(PIP_23, true) else { return };
    let run = bench.pip("iam@").run().succeeds();
    bench.assert_installed(&run);
}

#[test]
fn pip_26_installs_with_and_without_a_user_in_the_url() {
    for user in ["iam@", ""] {
        let Some(bench) = Bench::new(PIP_26, true) else { return };
        let run = bench.pip(user).run().succeeds();
        bench.assert_installed(&run);
    }
}

#[test]
fn uv_installs_with_and_without_a_user_in_the_url() {
    let Some(bench) = Bench::new(UV, true) else { return };
    let run = bench.uv("iam@", &[]).run().succeeds();
    bench.assert_installed(&run);

    let Some(bench) = Bench::new(UV, true) else { return };
    bench.world.sandbox.file(
        "work/uv.toml",
        format!("[[index]]\nname = \"yc\"\nurl = \"{}\"\ndefault = true\nauthenticate = \"always\"\n", bench.url("")),
    );
    let python = bench.bin.join("python").display().to_string();
    let arguments =
        ["pip", "install", "--quiet", "--config-file=uv.toml", "--no-deps", "--keyring-provider=subprocess"];
    let target = ["--target=site", "--python", &python, "tiny"];
    let run = bench.world.sandbox.call(bench.bin.join("uv"), arguments.into_iter().chain(target)).run().succeeds();
    bench.assert_installed(&run);
}

#[test]
fn an_unlisted_index_gets_no_token_and_pip_continues_without_one() {
    for (package, user) in [(PIP_23, "iam@"), (PIP_26, "iam@"), (PIP_26, "")] {
        let Some(bench) = Bench::new(package, false) else { return };
        let run = bench.pip(user).run().fails();
        assert!(runs_of(&bench.runs) >= 1, "keyring was not run\n{run}");
        assert_eq!(run.lines_of_stderr("ycred: "), Vec::<&str>::new(), "an unlisted host is not an error\n{run}");
        assert!(!run.stderr.contains("upgrade keyring") && !run.stderr.contains("unrecognized"), "{run}");
        assert_eq!(bench.world.requests(), 0, "IAM requests");
    }
    let Some(bench) = Bench::new(UV, false) else { return };
    let run = bench.uv("iam@", &[]).run().fails();
    assert_eq!(run.lines_of_stderr("ycred: "), Vec::<&str>::new(), "an unlisted host is not an error\n{run}");
    assert!(runs_of(&bench.runs) >= 1 && bench.world.requests() == 0, "{run}");
}

#[test]
fn a_rejected_key_costs_one_iam_request_and_pip_23_shows_the_reason() {
    for (package, is_shown) in [(PIP_23, true), (PIP_26, false)] {
        let Some(bench) = Bench::new(package, true) else { return };
        let message = bench.world.refuse();
        let run = bench.pip("iam@").run().fails();
        let errors = run.lines_of_stderr("ycred: error: ");
        assert_eq!(!errors.is_empty(), is_shown, "{run}");
        assert!(errors.iter().all(|line| line.contains(message)), "expected the cloud's message\n{run}");
        assert_eq!(bench.world.requests(), 1, "IAM requests");
    }
}

/// The next `keyring` in PATH has a password for the unlisted index.
#[test]
fn the_next_keyring_in_path_gets_requests_for_unlisted_hosts() {
    let Some(bench) = Bench::new(PIP_26, false) else { return };
    let token = bench.world.issue_token();
    let next = format!(
        "#!/bin/sh\necho \"$*\" >> '{}'\necho '{{\"username\": \"iam\", \"password\": \"{token}\"}}'\n",
        bench.world.sandbox.path("tmp/next").display()
    );
    let next = bench.world.sandbox.script("later/keyring", &next);
    let path = format!(
        "{}:{}:/usr/bin:/bin",
        bench.world.sandbox.path("bin").display(),
        next.parent().expect("one").display()
    );
    let run = bench.pip("iam@").env("PATH", path).run().succeeds();
    assert!(bench.world.sandbox.path("work/site/tiny.py").exists(), "{run}");
    let calls = fs::read_to_string(bench.world.sandbox.path("tmp/next")).expect("a run of the next keyring");
    assert!(calls.starts_with("--mode=creds --output=json get https://localhost:"), "{calls}");
    assert_eq!(bench.world.requests(), 0, "IAM requests");
}

/// The real keyring comes after ycred in PATH. It stores passwords that are set through ycred, and returns them.
#[test]
fn the_real_keyring_stores_and_returns_passwords_of_unlisted_hosts() {
    let Some(bin) = packages::python(&["keyring==25.7.0", "keyrings.alt==5.0.2"]) else { return };
    let mut sandbox = Sandbox::new();
    let link = sandbox.link("keyring");
    let path = format!("{}:{}:/usr/bin:/bin", sandbox.path("bin").display(), bin.display());
    sandbox.set("PATH", path).set("PYTHON_KEYRING_BACKEND", "keyrings.alt.file.PlaintextKeyring");
    let keyring = |arguments: &[&str]| sandbox.call(&link, arguments);
    keyring(&["set", "https://other.example/", "me"]).stdin("hunter22\n").run().succeeds();
    keyring(&["get", "https://other.example/", "me"]).run().succeeds().stderr_is_empty().stdout_is("hunter22\n");
    keyring(&["get", "https://other.example/", "you"]).run().exits(1).stderr_is_empty().stdout_is("");
    keyring(&["--mode", "creds", "get", "https://other.example/", "me"]).run().succeeds().stdout_is("me\nhunter22\n");
    keyring(&["-b", "keyrings.alt.file.PlaintextKeyring", "get", "https://other.example/", "me"])
        .run()
        .succeeds()
        .stdout_is("hunter22\n");
    keyring(&["--help"]).run().succeeds().stdout_has("--keyring-path");
    keyring(&["--list-backends"]).run().succeeds().stdout_has("keyrings.alt.file.PlaintextKeyring");
    keyring(&["del", "https://other.example/", "me"]).run().succeeds();
    keyring(&["get", "https://other.example/", "me"]).run().exits(1).stdout_is("");
    // A call as `ycred keyring` passes on all arguments except ycred's own flags.
    let by_name = |arguments: &[&str]| sandbox.call(YCRED, arguments);
    by_name(&["keyring", "-p", "gone", "set", "https://other.example/", "me"]).stdin("hunter23\n").run().succeeds();
    by_name(&["-p", "gone", "keyring", "get", "https://other.example/", "me"]).run().succeeds().stdout_is("hunter23\n");
}

#[test]
fn pip_gets_a_token_through_what_setup_wrote_and_the_file_comes_back() {
    for version in [PIP_23, PIP_26] {
        let Some(bench) = Bench::new(version, true) else { return };
        let sandbox = &bench.world.sandbox;
        fs::remove_file(sandbox.path("bin/keyring")).expect("the wrapper");
        sandbox.link("ycred");
        let text = "# mine\n[global]\nretries = 0\n";
        let path = sandbox.file("home/.config/pip/pip.conf", text);
        let directory = sandbox.path("home/.local/lib/ycred");
        let search = format!("{}:{}:/usr/bin:/bin", directory.display(), sandbox.path("bin").display());
        let pip = |arguments: &[&str]| sandbox.call(bench.bin.join("pip"), arguments).env("PATH", &search);
        let (url, ca) = (bench.url("iam@"), bench.ca.display().to_string());
        let install = || {
            let options = ["install", "--quiet", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"];
            let more = ["--no-input", "--target=site", "--index-url", &url, "--cert", &ca, "tiny"];
            pip(&[&options[..], &more].concat())
        };
        install().run().fails();
        sandbox.ycred(["setup", "pip"]).run().succeeds().stderr_is_empty().stdout_has("export PATH=");
        // The file is the one that pip edits.
        let listed = pip(&["config", "debug"]).run().succeeds();
        assert!(listed.stdout.contains(&format!("{}, exists: True", path.display())), "{listed}");
        install().run().succeeds();
        assert!(sandbox.path("work/site/tiny.py").exists());
        assert!(bench.index.authorizations().contains(&basic_value("iam", &bench.world.last_token())));
        // pip rewrites its file, without comments.
        pip(&["config", "set", "global.timeout", "7"]).run().succeeds();
        let rewritten = fs::read_to_string(&path).expect("the file");
        sandbox.ycred(["unsetup", "--all"]).run().succeeds();
        let restored = fs::read_to_string(&path).expect("the file");
        assert_eq!(restored, rewritten.replace("keyring-provider = subprocess\n", ""), "only ycred's line goes");
        assert!(restored.contains("timeout = 7") && !directory.join("keyring").is_symlink());
        fs::write(&path, text).expect("written");
        sandbox.ycred(["setup", "pip"]).run().succeeds();
        sandbox.ycred(["unsetup", "pip"]).run().succeeds();
        assert_eq!(fs::read_to_string(&path).expect("the file"), text);
    }
}

#[test]
fn uv_gets_a_token_through_the_link_and_the_line_of_setup() {
    let Some(bench) = Bench::new(UV, true) else { return };
    let sandbox = &bench.world.sandbox;
    fs::remove_file(sandbox.path("bin/keyring")).expect("the wrapper");
    sandbox.link("ycred");
    let report = sandbox.ycred(["setup", "uv", "--json"]).run().succeeds().stderr_is_empty();
    let report: serde_json::Value = serde_json::from_str(&report.stdout).expect("JSON");
    let paste = &report["pastes"][0];
    assert_eq!(paste["file"], sandbox.path("home/.config/uv/uv.toml").display().to_string());
    let directory = sandbox.path("home/.local/lib/ycred");
    let search = format!("{}:{}:/usr/bin:/bin", directory.display(), sandbox.path("bin").display());
    let python = bench.bin.join("python").display().to_string();
    let install = || {
        let arguments = ["pip", "install", "--quiet", "--no-deps", "--target=site", "--python", &python, "tiny"];
        let call = sandbox.call(bench.bin.join("uv"), arguments).env("UV_DEFAULT_INDEX", bench.url("iam@"));
        call.env("PATH", &search)
    };
    install().run().fails();
    sandbox.file("home/.config/uv/uv.toml", paste["text"].as_str().expect("text"));
    install().run().succeeds();
    assert!(sandbox.path("work/site/tiny.py").exists());
    assert!(bench.index.authorizations().contains(&basic_value("iam", &bench.world.last_token())));
    let again = sandbox.ycred(["setup", "uv"]).run().succeeds();
    assert!(!again.stdout.contains("add to"), "{again}");
    sandbox.ycred(["unsetup", "--all"]).run().succeeds();
    assert!(!directory.join("keyring").is_symlink());
}
