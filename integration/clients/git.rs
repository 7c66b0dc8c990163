//! git with ycred as its credential helper, against `git http-backend` behind a server that requires Bearer or Basic.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::client::{runs_of, wrapper};
use super::test_server::{Gate, TestServer, basic_value, trust};
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Call, Run, find, skip};
use crate::server::{Request, Response};
use crate::world::World;

/// The first version of git that supports `authtype`, and thereby Bearer, in the credential protocol.
const BEARER_SINCE: (u32, u32) = (2, 46);

/// Finds a git that supports Bearer, or an older one: in PATH, or where distributions install it. Otherwise calls
/// [`skip`].
fn git(has_bearer: bool) -> Option<PathBuf> {
    let mut candidates: Vec<PathBuf> = find("git").into_iter().collect();
    candidates.extend(["/usr/local/bin/git", "/usr/bin/git"].map(PathBuf::from));
    let has_wanted = |version| (version >= BEARER_SINCE) == has_bearer;
    let git = candidates.into_iter().find(|path| version(path).is_some_and(has_wanted));
    if git.is_none() {
        let (age, (major, minor)) = (if has_bearer { "newer" } else { "older" }, BEARER_SINCE);
        skip(&format!("no git {age} than {major}.{minor}"));
    }
    git
}

fn version(git: &Path) -> Option<(u32, u32)> {
    let output = Command::new(git).arg("version").env_clear().output().ok()?;
    let output = String::from_utf8(output.stdout).ok()?;
    let mut numbers = output.strip_prefix("git version ")?.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// The authentication schemes that the server offers and accepts.
#[derive(Clone, Copy)]
struct Offers {
    bearer: bool,
    basic: bool,
}

const BOTH: Offers = Offers { bearer: true, basic: true };
const ONLY_BASIC: Offers = Offers { bearer: false, basic: true };

/// Serves a request with `git http-backend` if it has valid credentials, and refuses it otherwise.
fn respond(git: &Path, repositories: &Path, gate: &Gate, offers: Offers, request: &Request) -> Response {
    let is_admitted = (offers.bearer && gate.admits_bearer(request)) || (offers.basic && gate.admits_basic(request));
    if !is_admitted {
        let mut response = Response::new(401);
        for (is_offered, header) in [(offers.bearer, "Bearer realm=\"git\""), (offers.basic, "Basic realm=\"git\"")] {
            if is_offered {
                response = response.header("WWW-Authenticate", header);
            }
        }
        return response;
    }
    let mut child = Command::new(git)
        .arg("http-backend")
        .env_clear()
        .env("GIT_PROJECT_ROOT", repositories)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("REQUEST_METHOD", &request.method)
        .env("CONTENT_TYPE", request.header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", request.header("content-encoding").unwrap_or_default())
        .env("GIT_PROTOCOL", request.header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git http-backend");
    // Cannot block: the requests of these tests fit into a pipe.
    child.stdin.take().expect("a pipe").write_all(&request.body).expect("the backend reads its request");
    let output = child.wait_with_output().expect("the backend's response").stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("a head in the backend's response");
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let mut response = Response::new(200);
    response.body = output[end + 4..].to_vec();
    for line in head.lines() {
        match line.split_once(": ") {
            Some(("Status", status)) => response.status = status[..3].parse().expect("a status code"),
            Some((name, value)) => response = response.header(name, value),
            None => panic!("unexpected line in the backend's head: {line:?}"),
        }
    }
    response
}

/// A sandbox with a git server, and git configured to use ycred as its credential helper.
struct Forge {
    world: World,
    server: TestServer,
    git: PathBuf,
    runs: PathBuf,
}

impl Forge {
    fn new(has_bearer: bool, offers: Offers) -> Option<Forge> {
        Forge::with(has_bearer, offers, true, true)
    }

    /// * `has_bearer`: the version of git supports Bearer
    /// * `is_listed`: the profile lists the server
    /// * `tls`: the server uses https
    fn with(has_bearer: bool, offers: Offers, is_listed: bool, tls: bool) -> Option<Forge> {
        let git = git(has_bearer)?;
        let mut world = World::without_profile(Config::default());
        world
            .sandbox
            .seal()
            .set("GIT_CONFIG_NOSYSTEM", "1")
            .set("GIT_TERMINAL_PROMPT", "0")
            .set("GIT_AUTHOR_NAME", "t")
            .set("GIT_AUTHOR_EMAIL", "t@example.com")
            .set("GIT_COMMITTER_NAME", "t")
            .set("GIT_COMMITTER_EMAIL", "t@example.com");
        world.sandbox.file("tmp/source/greeting", "hello\n");
        for arguments in [
            &["init", "--quiet", "--initial-branch=main", "../tmp/source"][..],
            &["-C", "../tmp/source", "add", "greeting"],
            &["-C", "../tmp/source", "commit", "--quiet", "--message=greeting"],
            &["clone", "--quiet", "--bare", "../tmp/source", "../tmp/repositories/a.git"],
        ] {
            world.sandbox.call(&git, arguments).run().succeeds();
        }
        let handler = {
            let (git, gate, repositories) = (git.clone(), Gate::of(&world), world.sandbox.path("tmp/repositories"));
            move |request: &Request| respond(&git, &repositories, &gate, offers, request)
        };
        let authority = Authority::new();
        let server = if tls { TestServer::tls(&authority, handler) } else { TestServer::plain(handler) };
        let host = server.host();
        world.profile_for("default", is_listed.then(|| host.clone()).as_slice());
        let link = world.sandbox.link_at("tmp/git-credential-ycred");
        let (_, runs) = wrapper(&world.sandbox, "bin/git-credential-ycred", &link);
        let ca = trust(&world.sandbox, &authority);
        world.sandbox.file(
            "home/.gitconfig",
            format!("[http]\n\tsslCAInfo = {}\n[credential]\n\thelper = ycred\n", ca.display()),
        );
        Some(Forge { world, server, git, runs })
    }

    fn url(&self) -> String {
        format!("{}/a.git", self.server.url())
    }

    fn git(&self, arguments: &[&str]) -> Call {
        self.world.sandbox.call(&self.git, arguments)
    }

    fn clone_to(&self, name: &str) -> Run {
        self.git(&["clone", "--quiet", &self.url(), name]).run()
    }

    fn list(&self) -> Run {
        self.git(&["ls-remote", &self.url()]).run()
    }

    /// Clones twice. Checks that the server received only this credential and that ycred made one IAM request.
    #[track_caller]
    fn assert_clones_with(&self, header: impl Fn(&str) -> String) {
        self.clone_to("first").succeeds().stderr_is_empty();
        assert_eq!(
            fs::read_to_string(self.world.sandbox.path("work/first/greeting")).expect("a working tree"),
            "hello\n"
        );
        self.clone_to("second").succeeds().stderr_is_empty();
        let expected = header(&self.world.last_token());
        let seen = self.server.authorizations();
        assert!(!seen.is_empty() && seen.iter().all(|header| *header == expected), "the server saw {seen:?}");
        assert_eq!(self.world.requests(), 1, "IAM requests");
    }

    /// Revokes the token. Checks that git reports it to ycred with `erase`, and that the next fetch uses a new token.
    #[track_caller]
    fn assert_rejected_token_is_replaced(&self) {
        self.list().succeeds();
        let first = self.world.last_token();
        self.world.revoke(&first);
        self.list().fails().stderr_has("Authentication failed");
        assert_eq!(self.world.requests(), 1, "ycred requests a new token only for the next command");
        self.list().succeeds().stderr_is_empty().stdout_has("refs/heads/main");
        assert_eq!(self.world.requests(), 2, "IAM requests");
        assert_ne!(self.world.last_token(), first);
        self.list().succeeds();
        assert_eq!(self.world.requests(), 2, "IAM requests");
    }

    /// Rejects the key. Checks that git quits with the message, and that ycred makes only one IAM request.
    #[track_caller]
    fn assert_rejected_key_makes_git_quit(&self) {
        let refusal = self.world.refuse();
        let run = self.list().fails().stdout_is("").stderr_has("credential helper 'ycred' told us to quit");
        let errors = run.lines_of_stderr("ycred: error: ");
        assert!(
            errors.len() == 1 && errors[0].contains(refusal),
            "expected one error line with the cloud's message\n{run}"
        );
        assert!(run.lines_of_stderr("ycred: hint: ").len() <= 1, "expected at most one hint\n{run}");
        assert_eq!(runs_of(&self.runs), 1, "runs of the helper");
        self.list().fails();
        assert_eq!(self.world.requests(), 1, "IAM requests");
        assert_eq!(self.server.authorizations(), Vec::<String>::new());
    }

    /// Checks that git gets no token, continues as if there were no helper, and fails because it cannot prompt.
    #[track_caller]
    fn assert_no_token_sent(&self) {
        let run = self.list().fails().stderr_has("could not read Username").stderr_has("terminal prompts disabled");
        assert!(runs_of(&self.runs) >= 1, "git did not run the helper\n{run}");
        assert_eq!(run.lines_of_stderr("ycred: "), Vec::<&str>::new(), "an unlisted host is not an error\n{run}");
        assert_eq!(self.server.authorizations(), Vec::<String>::new());
        assert_eq!(self.world.requests(), 0, "IAM requests");
    }
}

#[test]
fn a_newer_git_sends_bearer_if_the_server_offers_it() {
    let Some(forge) = Forge::new(true, BOTH) else { return };
    forge.assert_clones_with(|token| format!("Bearer {token}"));
}

#[test]
fn a_newer_git_sends_basic_if_the_server_offers_only_that() {
    let Some(forge) = Forge::new(true, ONLY_BASIC) else { return };
    forge.assert_clones_with(|token| basic_value("iam", token));
}

#[test]
fn git_with_proactive_auth_sends_bearer_with_its_first_request() {
    let Some(forge) = Forge::new(true, BOTH) else { return };
    forge.git(&["-c", "http.proactiveAuth=auto", "ls-remote", &forge.url()]).run().succeeds().stderr_is_empty();
    let bearer = format!("Bearer {}", forge.world.last_token());
    for request in forge.server.requests() {
        assert_eq!(request.header("authorization"), Some(bearer.as_str()), "{} {}", request.method, request.target);
    }
    assert_eq!(forge.world.requests(), 1, "IAM requests");
}

#[test]
fn an_older_git_always_sends_basic() {
    let Some(forge) = Forge::new(false, BOTH) else { return };
    forge.assert_clones_with(|token| basic_value("iam", token));
}

#[test]
fn a_bearer_token_is_not_stored_by_another_helper() {
    let Some(forge) = Forge::new(true, BOTH) else { return };
    forge.git(&["config", "--global", "--add", "credential.helper", "store"]).run().succeeds();
    forge.list().succeeds();
    let stored = fs::read_to_string(forge.world.sandbox.path("home/.git-credentials")).unwrap_or_default();
    assert_eq!(stored, "");
}

#[test]
fn a_token_that_the_server_rejects_is_replaced() {
    let Some(forge) = Forge::new(true, BOTH) else { return };
    forge.assert_rejected_token_is_replaced();
}

#[test]
fn a_token_that_the_server_rejects_is_replaced_for_an_older_git() {
    let Some(forge) = Forge::new(false, BOTH) else { return };
    forge.assert_rejected_token_is_replaced();
}

#[test]
fn a_rejected_key_makes_git_quit_with_the_reason() {
    let Some(forge) = Forge::new(true, BOTH) else { return };
    forge.assert_rejected_key_makes_git_quit();
}

#[test]
fn a_rejected_key_makes_an_older_git_quit_with_the_reason() {
    let Some(forge) = Forge::new(false, BOTH) else { return };
    forge.assert_rejected_key_makes_git_quit();
}

#[test]
fn an_unlisted_server_gets_no_token_and_git_continues() {
    let Some(forge) = Forge::with(true, BOTH, false, true) else { return };
    forge.assert_no_token_sent();
}

#[test]
fn plain_http_gets_no_token_even_from_a_listed_host() {
    let Some(forge) = Forge::with(true, BOTH, true, false) else { return };
    forge.assert_no_token_sent();
}

#[test]
fn git_gets_a_token_through_what_setup_wrote_and_the_configuration_comes_back() {
    let Some(forge) = Forge::new(false, BOTH) else { return };
    let sandbox = &forge.world.sandbox;
    sandbox.link("ycred");
    let path = sandbox.path("home/.gitconfig");
    let text = fs::read_to_string(&path).expect("the file").replace("[credential]\n\thelper = ycred\n", "");
    fs::write(&path, &text).expect("written");
    forge.list().fails();
    sandbox.ycred(["setup", "git", "--host", &forge.server.host()]).run().succeeds().stderr_is_empty();
    forge.list().succeeds().stderr_is_empty().stdout_has("refs/heads/main");
    assert_eq!(forge.world.requests(), 1, "IAM requests");
    sandbox.ycred(["unsetup", "--all"]).run().succeeds();
    assert_eq!(fs::read_to_string(&path).expect("the file"), text);
}
