//! git fetching over https from its own server program, which demands Bearer or Basic credentials.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::client::{runs_of, wrapper};
use super::stand_in::{Gate, StandIn, basic_value, trust};
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Call, Run, find, skip};
use crate::server::{Request, Response};
use crate::world::World;

/// From this release on git speaks of schemes (`authtype`) with its helpers.
const BEARER_SINCE: (u32, u32) = (2, 46);

/// A git that knows of Bearer, or one that does not: distributions' own is often older than the one before it on PATH.
fn git(modern: bool) -> Option<PathBuf> {
    let mut candidates: Vec<PathBuf> = find("git").into_iter().collect();
    candidates.extend(["/usr/local/bin/git", "/usr/bin/git"].map(PathBuf::from));
    let found = candidates.into_iter().find(|path| version(path).is_some_and(|it| (it >= BEARER_SINCE) == modern));
    if found.is_none() {
        let (age, (major, minor)) = (if modern { "newer" } else { "older" }, BEARER_SINCE);
        skip(&format!("no git {age} than {major}.{minor}"));
    }
    found
}

fn version(git: &Path) -> Option<(u32, u32)> {
    let output = Command::new(git).arg("version").env_clear().output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.strip_prefix("git version ")?.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// The schemes that the server offers, and takes.
#[derive(Clone, Copy)]
struct Offers {
    bearer: bool,
    basic: bool,
}

const BOTH: Offers = Offers { bearer: true, basic: true };
const ONLY_BASIC: Offers = Offers { bearer: false, basic: true };

/// Answers as `git http-backend` does, to whom the gate lets in.
fn answer(git: &Path, repositories: &Path, gate: &Gate, offers: Offers, request: &Request) -> Response {
    let admitted = (offers.bearer && gate.admits_bearer(request)) || (offers.basic && gate.admits_basic(request));
    if !admitted {
        let mut refusal = Response::new(401);
        for (offered, header) in [(offers.bearer, "Bearer realm=\"git\""), (offers.basic, "Basic realm=\"git\"")] {
            if offered {
                refusal = refusal.header("WWW-Authenticate", header);
            }
        }
        return refusal;
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
        .expect("git's own server program");
    // The requests of these tests fit into a pipe.
    child.stdin.take().expect("a pipe").write_all(&request.body).expect("the backend reads its request");
    let output = child.wait_with_output().expect("the backend's answer").stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("a head in the backend's answer");
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let mut response = Response::new(200);
    response.body = output[end + 4..].to_vec();
    for line in head.lines() {
        match line.split_once(": ") {
            Some(("Status", status)) => response.status = status[..3].parse().expect("a status code"),
            Some((name, value)) => response = response.header(name, value),
            None => panic!("the backend's head has {line:?}"),
        }
    }
    response
}

/// A sandbox with a repository behind a server, and ycred as git's helper for it.
struct Forge {
    world: World,
    server: StandIn,
    git: PathBuf,
    runs: PathBuf,
}

impl Forge {
    fn new(modern: bool, offers: Offers) -> Option<Forge> {
        Forge::with(modern, offers, true, true)
    }

    /// `ours`: whether the profile lists the server. `tls`: whether it speaks https.
    fn with(modern: bool, offers: Offers, ours: bool, tls: bool) -> Option<Forge> {
        let git = git(modern)?;
        let mut world = World::bare(Config::default());
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
            move |request: &Request| answer(&git, &repositories, &gate, offers, request)
        };
        let authority = Authority::new();
        let server = if tls { StandIn::tls(&authority, handler) } else { StandIn::plain(handler) };
        let host = server.host();
        world.profile_for("default", ours.then(|| host.clone()).as_slice());
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

    /// Clones twice and checks that every credential that the server saw is this one.
    #[track_caller]
    fn assert_clones_with(&self, header: impl Fn(&str) -> String) {
        self.clone_to("first").succeeds().quietly();
        assert_eq!(
            fs::read_to_string(self.world.sandbox.path("work/first/greeting")).expect("a working tree"),
            "hello\n"
        );
        self.clone_to("second").succeeds().quietly();
        let expected = header(&self.world.last_token());
        let seen = self.server.authorizations();
        assert!(!seen.is_empty() && seen.iter().all(|header| *header == expected), "the server saw {seen:?}");
        assert_eq!(self.world.requests(), 1, "IAM requests");
    }

    /// The server takes the token no more: git says so to ycred, and the next fetch has another.
    #[track_caller]
    fn assert_erase_brings_another_token(&self) {
        self.list().succeeds();
        let first = self.world.last_token();
        self.world.revoke(&first);
        self.list().fails().stderr_has("Authentication failed");
        assert_eq!(self.world.requests(), 1, "a rejected token is not renewed before it is asked for");
        self.list().succeeds().quietly().stdout_has("refs/heads/main");
        assert_eq!(self.world.requests(), 2, "IAM requests");
        assert_ne!(self.world.last_token(), first);
        self.list().succeeds();
        assert_eq!(self.world.requests(), 2, "IAM requests");
    }

    #[track_caller]
    fn assert_a_refused_key_ends_it(&self) {
        let refusal = self.world.refuse();
        let run = self.list().fails().stdout_is("").stderr_has("credential helper 'ycred' told us to quit");
        let errors = run.lines_of_stderr("ycred: error: ");
        assert!(errors.len() == 1 && errors[0].contains(refusal), "one line with the reason\n{run}");
        assert!(run.lines_of_stderr("ycred: hint: ").len() <= 1, "at most one hint\n{run}");
        assert_eq!(runs_of(&self.runs), 1, "runs of the helper");
        self.list().fails();
        assert_eq!(self.world.requests(), 1, "IAM requests");
        assert_eq!(self.server.authorizations(), Vec::<String>::new());
    }

    /// git went on as if there were no helper, which without a terminal ends here.
    #[track_caller]
    fn assert_left_alone(&self) {
        let run = self.list().fails().stderr_has("could not read Username").stderr_has("terminal prompts disabled");
        assert!(runs_of(&self.runs) >= 1, "git did not ask\n{run}");
        assert_eq!(run.lines_of_stderr("ycred: "), Vec::<&str>::new(), "not ours is no error\n{run}");
        assert_eq!(self.server.authorizations(), Vec::<String>::new());
        assert_eq!(self.world.requests(), 0, "IAM requests");
    }
}

#[test]
fn a_git_that_knows_bearer_sends_bearer_where_the_server_offers_it() {
    let Some(forge) = Forge::new(true, BOTH) else { return };
    forge.assert_clones_with(|token| format!("Bearer {token}"));
}

#[test]
fn a_git_that_knows_bearer_sends_basic_where_the_server_offers_nothing_else() {
    let Some(forge) = Forge::new(true, ONLY_BASIC) else { return };
    forge.assert_clones_with(|token| basic_value("iam", token));
}

#[test]
fn a_git_that_does_not_wait_to_be_asked_sends_bearer_with_its_first_request() {
    let Some(forge) = Forge::new(true, BOTH) else { return };
    forge.git(&["-c", "http.proactiveAuth=auto", "ls-remote", &forge.url()]).run().succeeds().quietly();
    let bearer = format!("Bearer {}", forge.world.last_token());
    for request in forge.server.requests() {
        assert_eq!(request.header("authorization"), Some(bearer.as_str()), "{} {}", request.method, request.target);
    }
    assert_eq!(forge.world.requests(), 1, "IAM requests");
}

#[test]
fn an_older_git_sends_basic_whatever_the_server_offers() {
    let Some(forge) = Forge::new(false, BOTH) else { return };
    forge.assert_clones_with(|token| basic_value("iam", token));
}

#[test]
fn a_bearer_token_is_not_kept_by_a_helper_that_keeps_passwords() {
    let Some(forge) = Forge::new(true, BOTH) else { return };
    forge.git(&["config", "--global", "--add", "credential.helper", "store"]).run().succeeds();
    forge.list().succeeds();
    let kept = fs::read_to_string(forge.world.sandbox.path("home/.git-credentials")).unwrap_or_default();
    assert_eq!(kept, "");
}

#[test]
fn a_token_that_the_server_rejects_is_dropped_and_replaced() {
    let Some(forge) = Forge::new(true, BOTH) else { return };
    forge.assert_erase_brings_another_token();
}

#[test]
fn a_token_that_the_server_rejects_from_an_older_git_is_dropped_and_replaced() {
    let Some(forge) = Forge::new(false, BOTH) else { return };
    forge.assert_erase_brings_another_token();
}

#[test]
fn a_refused_key_makes_git_quit_with_the_reason() {
    let Some(forge) = Forge::new(true, BOTH) else { return };
    forge.assert_a_refused_key_ends_it();
}

#[test]
fn a_refused_key_makes_an_older_git_quit_with_the_reason() {
    let Some(forge) = Forge::new(false, BOTH) else { return };
    forge.assert_a_refused_key_ends_it();
}

#[test]
fn a_server_that_is_not_ours_gets_no_token_and_git_goes_on() {
    let Some(forge) = Forge::with(true, BOTH, false, true) else { return };
    forge.assert_left_alone();
}

#[test]
fn plain_http_gets_no_token_even_from_a_listed_host() {
    let Some(forge) = Forge::with(true, BOTH, true, false) else { return };
    forge.assert_left_alone();
}
