//! `exec --serve`: a child that finds a living token, and keys, as long as it runs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::emulator::access_keys::EPHEMERAL_ACCESS_KEYS;
use crate::emulator::faults::{Endpoint, Fault};
use crate::emulator::{Config, METADATA};
use crate::expect::{handed, refused_with_hint};
use crate::harness::machine::strace;
use crate::harness::waiting::{HOUR, MINUTE, PATIENCE, wait_until};
use crate::harness::{Call, Run, Running, YCRED, require_client, skip};
use crate::world::World;

/// A child that tells its environment, and then waits to be told to end.
const WAITING: &str = "env -0 > environment.new; mv environment.new environment; for turn in $(seq 4000); do [ -e over ] && break; sleep 0.02; done";

/// A child under `exec --serve` that waits.
struct Served<'a> {
    world: &'a World,
    running: Running,
    environment: Vec<(String, String)>,
}

impl<'a> Served<'a> {
    #[track_caller]
    fn start(world: &'a World, flags: &[&str]) -> Served<'a> {
        let words = [&["exec", "--serve"], flags, &["--", "sh", "-c", WAITING]].concat();
        Served::of(world, world.sandbox.ycred(words))
    }

    #[track_caller]
    fn of(world: &'a World, call: Call) -> Served<'a> {
        let file = world.sandbox.path("work/environment");
        let _ = fs::remove_file(&file);
        let running = call.start();
        wait_until("the child has started", || file.exists());
        let text = fs::read_to_string(&file).expect("its environment");
        let pairs = text.split_terminator('\0').map(|pair| pair.split_once('=').expect("a pair"));
        let environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Served { world, running, environment }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    fn port(&self) -> u16 {
        let url = self.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI").expect("a URL");
        let rest = url.strip_prefix("http://127.0.0.1:").expect("on loopback");
        rest.strip_suffix("/credentials").expect("the path").parse().expect("a port")
    }

    #[track_caller]
    fn password(&self) -> &str {
        self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").expect("a password")
    }

    #[track_caller]
    fn metadata(&self) -> Answer {
        ask(self.port(), "GET", METADATA, &["Metadata-Flavor: Google"])
    }

    /// The token that the endpoint hands out.
    #[track_caller]
    fn token(&self) -> String {
        let answer = self.metadata();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let reply: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(reply["token_type"], "Bearer");
        assert!(reply["expires_in"].as_u64().is_some_and(|seconds| seconds >= 1), "{reply}");
        reply["access_token"].as_str().expect("a token").to_owned()
    }

    #[track_caller]
    fn key(&self) -> Value {
        let answer = ask(self.port(), "GET", "/credentials", &[&format!("Authorization: {}", self.password())]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// Lets the child end.
    #[track_caller]
    fn end(self) -> Run {
        let over = self.world.sandbox.file("work/over", "");
        let run = self.running.finish();
        fs::remove_file(over).expect("removed");
        run
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    body: String,
}

#[track_caller]
fn ask(port: u16, method: &str, path: &str, headers: &[&str]) -> Answer {
    let host = format!("Host: 127.0.0.1:{port}");
    let headers: Vec<&str> = match headers.iter().any(|header| header.starts_with("Host:")) {
        true => headers.to_vec(),
        false => [&[host.as_str()], headers].concat(),
    };
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connects");
    connection.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(connection, "{method} {path} HTTP/1.1\r\n{}\r\n\r\n", headers.join("\r\n")).expect("sent");
    let mut text = String::new();
    connection.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, body: body.to_owned() }
}

// ---------------------------------------------------------------------------------------------- the child is itself

#[test]
fn the_end_of_the_child_is_ours() {
    let world = World::new();
    let exec = |words: &[&str]| world.sandbox.ycred([&["exec", "--serve"], words].concat()).run();
    exec(&["true"]).exits(0).quietly();
    exec(&["--", "sh", "-c", "cat; echo said; exit 7"]).exits(7).quietly().stdout_is("said\n");
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGINT, libc::SIGSEGV] {
        let run = exec(&["sh", "-c", &format!("kill -{signal} $$")]);
        assert_eq!(run.status.signal(), Some(signal), "{run}");
        assert_eq!(run.stderr, "", "{run}");
    }
    exec(&["no-such-program"]).exits(127).stderr_has("there is no such program");
    exec(&["/"]).exits(126);
    exec(&["-p", "none", "true"]).exits(125);
    world.sandbox.ycred(["exec", "--with-token", "true"]).run().exits(125).stderr_has("--serve");
    assert_eq!(world.requests(), 1);
    // A pipe that the child has let go of has ended: we hold no end of it.
    let run = world.sandbox.call(
        "sh",
        [
            "-c",
            "\"$0\" exec --serve sh -c 'exec >&-; for turn in $(seq 4000); do [ -e seen ] && break; sleep 0.02; done' | { cat; touch seen; }",
            YCRED,
        ],
    );
    run.run().exits(0).quietly();
}

#[test]
fn signals_that_are_sent_to_us_reach_the_child_and_are_left_to_it() {
    let world = World::new();
    let script =
        "for s in HUP INT QUIT TERM USR1 USR2 ALRM; do trap \"echo $s\" $s; done; trap 'echo over; exit 3' WINCH
echo ready; for turn in $(seq 4000); do sleep 0.02; done";
    let running = world.sandbox.ycred(["exec", "--serve", "sh", "-c", script]).start();
    wait_until("the child is ready", || running.stdout().contains("ready"));
    let signals = [
        ("HUP", libc::SIGHUP),
        ("INT", libc::SIGINT),
        ("QUIT", libc::SIGQUIT),
        ("TERM", libc::SIGTERM),
        ("USR1", libc::SIGUSR1),
        ("USR2", libc::SIGUSR2),
        ("ALRM", libc::SIGALRM),
    ];
    for (name, signal) in signals {
        running.signal(signal);
        wait_until(name, || running.stdout().lines().any(|line| line == name));
    }
    running.signal(libc::SIGWINCH);
    let run = running.finish().exits(3).quietly();
    assert_eq!(run.stdout, "ready\nHUP\nINT\nQUIT\nTERM\nUSR1\nUSR2\nALRM\nover\n", "each of them once");
}

#[test]
fn the_child_has_the_signals_that_we_were_given_and_no_descriptor_of_ours() {
    let world = World::new();
    let signals = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status";
    let seen = |words: &[&str]| world.sandbox.call("sh", words).run().exits(0).stdout;
    // sh itself, so that only what is inherited differs.
    for before in ["", "trap '' INT HUP PIPE CHLD XFSZ; "] {
        let direct = seen(&["-c", &format!("{before}exec sh -c \"$0\""), signals]);
        let served = seen(&["-c", &format!("{before}exec \"$1\" exec --serve sh -c \"$0\""), signals, YCRED]);
        assert_eq!(served, direct, "{before}");
    }
    let open = "ls /proc/$$/fd";
    let served = world.sandbox.ycred(["exec", "--serve", "sh", "-c", open]).run().exits(0).stdout;
    assert_eq!(served, seen(&["-c", open]));
}

#[test]
fn a_child_that_stops_by_itself_stops_us_and_goes_on_with_us() {
    let world = World::new();
    let running = world.sandbox.ycred(["exec", "--serve", "sh", "-c", "kill -STOP $$; echo on"]).start();
    let state = || fs::read_to_string(format!("/proc/{}/stat", running.id())).unwrap_or_default();
    wait_until("we stop too", || state().contains(") T "));
    running.signal(libc::SIGCONT);
    running.finish().exits(0).stdout_is("on\n").quietly();
}

#[test]
fn what_stops_and_continues_us_alone_does_so_with_the_child() {
    let world = World::new();
    let script =
        "echo $$ > child.new; mv child.new child; for turn in $(seq 4000); do [ -e over ] && break; sleep 0.02; done";
    let running = world.sandbox.ycred(["exec", "--serve", "sh", "-c", script]).start();
    let file = world.sandbox.path("work/child");
    wait_until("the child has started", || file.exists());
    let child = fs::read_to_string(file).expect("its id").trim().to_owned();
    let is_stopped = |id: &str| fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default().contains(") T ");
    let both = |stopped: bool| [child.clone(), running.id().to_string()].iter().all(|id| is_stopped(id) == stopped);
    for _ in 0..3 {
        running.signal(libc::SIGTSTP);
        wait_until("both have stopped", || both(true));
        running.signal(libc::SIGCONT);
        wait_until("both go on", || both(false));
    }
    world.sandbox.file("work/over", "");
    running.finish().exits(0).quietly();
}

/// Becomes another program as one that is not a shell would start it.
const STARTER: &str = "
import os, signal, sys
if sys.argv[1] == 'held back':
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1])
elif sys.argv[1] == 'ignored':
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
elif sys.argv[1] == 'alarm':
    signal.setitimer(signal.ITIMER_REAL, 0.5)
os.execvp(sys.argv[2], sys.argv[2:])
";

#[test]
fn however_we_are_started_the_childs_end_is_seen_and_its_signals_are_as_without_us() {
    let Some(python) = require_client("python3") else { return };
    let world = World::new();
    world.get();
    // Blocked and ignored, of the 31 that programs have; the C library keeps some above for itself.
    let seen = |how: &str, words: &[&str]| -> Vec<u64> {
        let words = [&["-c", STARTER, how], words, &["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]].concat();
        let run = world.sandbox.call(&python, words).run().exits(0);
        let sets = run.stdout.split_whitespace().filter_map(|word| u64::from_str_radix(word, 16).ok());
        sets.map(|set| set & 0x7fff_ffff).collect()
    };
    for how in ["held back", "ignored", "plain"] {
        let direct = seen(how, &[]);
        assert_eq!(direct.len(), 2, "{how}");
        assert_eq!(seen(how, &[YCRED, "exec", "--serve"]), direct, "{how}");
    }
    // A timer that whoever started us has set (`perl -e 'alarm 5; exec @ARGV'`) is for the program.
    let words = ["-c", STARTER, "alarm", YCRED, "exec", "--serve", "sh", "-c"];
    let words = [&words[..], &["trap 'exit 6' ALRM; for turn in $(seq 4000); do sleep 0.02; done"]].concat();
    world.sandbox.call(&python, words).run().exits(6).quietly();
}

#[test]
fn a_source_that_runs_commands_hides_nothing_of_the_child() {
    let world = World::new();
    world.sandbox.script("config/count", "#!/bin/sh\necho x >> counted\necho t1.$(wc -l < counted).x\n");
    world.sandbox.profile("counting", "source = \"command\"\ncommand = [\"./count\"]\nmax-age = \"1s\"\n");
    let served = Served::start(&world, &["-p", "counting"]);
    let first = served.token();
    wait_until("the command has been run again", || served.token() != first);
    served.end().exits(0).quietly();
}

/// Runs a command line in a terminal of its own, and types what stands behind each text once that has been seen.
pub(super) const TERMINAL: &str = r#"
import os, pty, select, sys, time
pid, master = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:-1])
steps = sys.argv[-1].encode().decode("unicode_escape")
seen, steps, end = b"", [step.split("=>") for step in steps.split("|")], time.monotonic() + 60
while time.monotonic() < end:
    if select.select([master], [], [], 0.05)[0]:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    if steps and steps[0][0].encode() in seen:
        os.write(master, steps.pop(0)[1].encode())
sys.stdout.write(seen.decode())
if time.monotonic() >= end:
    os.kill(pid, 9)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

#[test]
fn the_terminal_is_the_childs() {
    let Some(python) = require_client("python3") else { return };
    let world = World::new();
    let terminal = world.sandbox.script("terminal.py", TERMINAL).into_os_string().into_string().expect("plain text");
    let child = "trap 'echo int' INT; test -t 0 && test -t 1 && test -t 2 && echo a terminal
for turn in $(seq 100); do [ -z \"$line\" ] || break; read line; done; echo got $line; exit 9";
    let words = [&terminal, YCRED, "exec", "--serve", "sh", "-c", child, "a terminal=>\\x03|int=>words\\n"];
    let run = world.sandbox.call(&python, words).run().exits(9);
    assert_eq!(run.stdout.matches("int").count(), 1, "Ctrl-C reaches the child once\n{run}");
    assert!(run.stdout.contains("got words"), "{run}");
    // It could not tell two from one if both came before it looked: we send none at all.
    let Some(strace) = strace() else { return };
    let calls = world.sandbox.path("work/calls");
    let [strace, calls] = [strace, calls].map(|path| path.into_os_string().into_string().expect("plain text"));
    let traced = ["-f", "-qq", "-o", &calls, "-e", "trace=kill,tkill,tgkill", YCRED, "exec", "--serve", "sh", "-c"];
    let typed = [child, "a terminal=>\\x03|int=>words\\n"];
    let words = [&[terminal.as_str(), strace.as_str()], &traced[..], &typed].concat();
    world.sandbox.call(&python, words).run().exits(9);
    let sent = fs::read_to_string(calls).expect("the calls");
    assert!(!sent.contains("kill("), "{sent}");
    // Ctrl-Z stops both and `fg` goes on with both, for a shell with job control.
    let Some(bash) = require_client("bash") else { return };
    // What is typed is seen too, so it is spelt otherwise than what is waited for.
    let job = format!("{YCRED} exec --serve sh -c 'echo sta\"\"rted; read line; echo go\"\"t $line'");
    let steps = format!("bash=>{job}\\n|started=>\\x1a|line'\\r\\nbash=>fg\\n|fg\\r\\n=>words\\n|got words=>exit 4\\n");
    let words = [&terminal, bash.to_str().expect("plain text"), "--norc", "--noediting", "-i", &steps];
    let run = world.sandbox.call(&python, words).run().exits(4);
    assert!(run.stdout.contains("got words"), "{run}");
    // A shell inside that is suspended has the terminal again when it goes on, or it would end for want of it.
    let job = format!("{YCRED} exec --serve bash --norc --noediting -i\\necho in$((40+2))ner");
    let typed = "in42ner=>suspend\\n|Stopped=>fg\\n|fg\\r\\n=>echo ba$((40+3))ck; exit 4\\n|ba43ck=>exit $?\\n";
    let steps = format!("bash=>{job}\\n|{typed}");
    let words = [&terminal, bash.to_str().expect("plain text"), "--norc", "--noediting", "-i", &steps];
    let run = world.sandbox.call(&python, words).run().exits(4);
    assert!(run.stdout.contains("ba43ck"), "{run}");
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_terminal_that_is_taken_away_ends_the_child_too() {
    let Some(python) = require_client("python3") else { return };
    let world = World::new();
    // The leader of a terminal's session alone is told of its end, and here that is us.
    let script = "import os, pty, sys
pid, master = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
os.read(master, 1)
os.close(master)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";
    let child = "trap 'exit 8' HUP; echo ready; for turn in $(seq 4000); do sleep 0.02; done";
    let words = ["-c", script, YCRED, "exec", "--serve", "sh", "-c", child];
    world.sandbox.call(&python, words).run().exits(8);
}

// ------------------------------------------------------------------------------------------------- what the child finds

#[test]
fn the_environment_changes_as_documented_and_nowhere_else() {
    let mut world = World::new();
    for name in ["YC_TOKEN", "YC_IAM_TOKEN", "YC_OAUTH_TOKEN", "YC_SERVICE_ACCOUNT_KEY_FILE", "YCRED_EXPIRES_AT"] {
        world.sandbox.set(name, "stale");
    }
    let of_aws = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_SECURITY_TOKEN",
        "AWS_CREDENTIAL_EXPIRATION",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    ];
    for name in of_aws {
        world.sandbox.set(name, "stale");
    }
    world.sandbox.set("AWS_PROFILE", "mine").set("AWS_REGION", "ru-central1");
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/hooks/exec.md")).expect("the page");
    for name in of_aws {
        assert!(page.contains(&format!("`{name}`")), "the page does not tell of {name}");
    }
    let served = Served::start(&world, &[]);
    let port = served.port();
    let names = |served: &Served<'_>| -> Vec<String> {
        let own = ["PATH", "HOME", "TMPDIR", "LANG", "PWD", "OLDPWD", "SHLVL", "_"];
        let mut names: Vec<String> = served.environment.iter().map(|(name, _)| name.clone()).collect();
        names.retain(|name| !own.contains(&name.as_str()));
        names.sort();
        names
    };
    let usual = [
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_PROFILE",
        "AWS_REGION",
        "YCRED_CACHE_DIR",
        "YCRED_CONFIG_DIR",
        "YCRED_METADATA_ADDR",
        "YCRED_PROFILE",
        "YCRED_STATE_DIR",
        "YC_METADATA_ADDR",
    ];
    assert_eq!(names(&served), usual);
    assert_eq!(served.variable("YC_METADATA_ADDR"), Some(format!("127.0.0.1:{port}").as_str()));
    assert_eq!(served.password().len(), 43, "256 bits in base64url");
    let password = served.password().to_owned();
    served.end().exits(0).quietly();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "the port is closed with the child");

    let served = Served::start(&world, &["--with-token"]);
    assert_ne!(served.password(), password);
    let token = served.token();
    for name in ["YC_TOKEN", "YC_IAM_TOKEN"] {
        assert_eq!(served.variable(name), Some(token.as_str()), "{name}");
    }
    assert!(served.variable("YCRED_EXPIRES_AT").is_some_and(|time| time.ends_with('Z')));
    served.end().exits(0).quietly();

    // A proxy is nothing for loopback, where somebody might think so.
    world.sandbox.set("http_proxy", "http://127.0.0.1:1").set("NO_PROXY", "a.example");
    let served = Served::start(&world, &[]);
    assert_eq!(served.variable("NO_PROXY"), Some("a.example,127.0.0.1"));
    assert_eq!(served.variable("no_proxy"), None);
    served.end().exits(0).quietly();
    world.sandbox.unset("NO_PROXY");
    let served = Served::start(&world, &[]);
    assert_eq!((served.variable("NO_PROXY"), served.variable("no_proxy")), (Some("127.0.0.1"), Some("127.0.0.1")));
    served.end().exits(0).quietly();
    assert_eq!(world.requests(), 1);
}

#[test]
fn only_what_is_asked_for_rightly_is_answered() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let (port, token) = (served.port(), served.token());
    let google = "Metadata-Flavor: Google";
    let right = format!("Authorization: {}", served.password());
    let tries: &[(&str, &str, &[&str], u16)] = &[
        ("GET", METADATA, &[google], 200),
        ("GET", &format!("{METADATA}?alt=json"), &["metadata-flavor: google"], 200),
        ("GET", METADATA, &[google, &format!("Host: localhost:{port}")], 200),
        ("GET", METADATA, &[], 403),
        ("GET", METADATA, &["Metadata-Flavor: Amazon"], 403),
        ("GET", METADATA, &[google, "Host: metadata.example"], 403),
        ("GET", METADATA, &[google, "Host: 127.0.0.1"], 403),
        ("GET", METADATA, &[google, "X-Forwarded-For: 10.0.0.1"], 403),
        ("GET", METADATA, &[google, "Forwarded: for=10.0.0.1"], 403),
        ("POST", METADATA, &[google], 405),
        ("GET", "/computeMetadata/v1/instance/id", &[google], 404),
        ("GET", "/computeMetadata/v1/instance/service-accounts/default/identity", &[google], 404),
        ("GET", "/latest/meta-data/", &[google], 404),
        ("GET", "/", &[google], 404),
        ("GET", "/credentials", &[&right], 200),
        ("GET", "/credentials", &[], 401),
        ("GET", "/credentials", &[google], 401),
        ("GET", "/credentials", &["Authorization: Bearer"], 403),
        ("GET", "/credentials", &[&right[..right.len() - 1]], 403),
        ("GET", "/credentials", &[&format!("{right}x")], 403),
        ("GET", "/credentials", &[&right, "X-Forwarded-For: 10.0.0.1"], 403),
        ("GET", "/credentials", &[&right, "Host: evil.example"], 403),
        ("GET", "/credentials/", &[&right], 404),
    ];
    for (method, path, headers, status) in tries {
        let answer = ask(port, method, path, headers);
        assert_eq!(answer.status, *status, "{method} {path} {headers:?}: {}", answer.body);
        assert!(*status == 200 || !answer.body.contains(&token), "{}", answer.body);
    }
    // A client that speaks IPv4 through a socket of IPv6, as Java's do.
    let mapped = (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port);
    let mut connection = TcpStream::connect(mapped).expect("connects");
    write!(connection, "GET {METADATA} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{google}\r\n\r\n").expect("sent");
    let mut text = String::new();
    connection.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains(&token), "{text}");
    let key = served.key();
    let keys = world.emulator.access_keys();
    assert_eq!(keys.len(), 1);
    assert_eq!(
        (&key["AccessKeyId"], &key["SecretAccessKey"]),
        (&keys[0].id.as_str().into(), &keys[0].secret.as_str().into())
    );
    assert_eq!(key["Token"], keys[0].session_token.as_str());
    assert_eq!(key.as_object().map(|members| members.len()), Some(4));
    served.end().exits(0).quietly();
    assert_eq!((world.requests(), world.emulator.requests(EPHEMERAL_ACCESS_KEYS)), (1, 1));
}

#[test]
fn another_user_gets_no_token() {
    let (Some(setpriv), Some(curl)) = (require_client("setpriv"), require_client("curl")) else { return };
    // SAFETY: takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return skip("only root can be another user");
    }
    let world = World::new();
    let served = Served::start(&world, &[]);
    let url = format!("http://127.0.0.1:{}{METADATA}", served.port());
    let curl = curl.to_str().expect("plain text");
    let words = ["-s", "-w", " %{http_code}", "-H", "Metadata-Flavor: Google", url.as_str()];
    let same = world.sandbox.call(curl, words).run().exits(0);
    assert!(same.stdout.contains(&served.token()) && same.stdout.ends_with(" 200"), "{same}");
    let other = ["--reuid=65534", "--regid=65534", "--clear-groups", curl];
    let run = world.sandbox.call(setpriv, [&other[..], &words].concat()).within("/").run().exits(0);
    assert!(run.stdout.ends_with(" 403"), "{run}");
    run.never_says(&served.token());
    served.end().exits(0).quietly();
}

#[test]
fn where_users_cannot_be_told_there_is_no_metadata_and_one_warning() {
    let Some(unshare) = require_client("unshare") else { return };
    let world = World::new();
    let script = "mount -t tmpfs tmpfs /proc || exit 99; exec \"$@\"";
    let words = ["-m", "sh", "-c", script, "sh", YCRED, "exec", "--serve", "sh", "-c", WAITING];
    if world.sandbox.call(&unshare, ["-m", "true"]).run().status.code() != Some(0) {
        return skip("this user may not make a mount namespace");
    }
    let served = Served::of(&world, world.sandbox.call(&unshare, words));
    assert_eq!(served.variable("YC_METADATA_ADDR"), None);
    let token = served.variable("YC_TOKEN").expect("the token as without --serve").to_owned();
    assert!(world.emulator.is_live(&token));
    assert_eq!(served.metadata().status, 404);
    assert!(served.key()["AccessKeyId"].is_string(), "with a password one need not be told");
    let run = served.end().exits(0);
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    run.stderr_has("ycred: warning: exec --serve: no metadata endpoint").stderr_has("/proc/net/tcp");
}

#[test]
fn without_a_loopback_there_is_no_child() {
    let Some(unshare) = require_client("unshare") else { return };
    let world = World::new();
    world.get();
    if world.sandbox.call(&unshare, ["-n", "true"]).run().status.code() != Some(0) {
        return skip("this user may not make a network namespace");
    }
    // A new network namespace has a loopback that is down, where a port can be had and reached by nobody.
    let words = ["-n", YCRED, "exec", "--serve", "sh", "-c", "echo started"];
    let run = world.sandbox.call(&unshare, words).run();
    refused_with_hint(run, 125, &["exec --serve", "127.0.0.1"], "loopback interface");
}

// ------------------------------------------------------------------------------------------------- the life of a token

#[test]
fn three_hundred_at_once_make_one_request() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let before = served.token();
    world.sandbox.ycred(["logout"]).run().exits(0);
    // Nothing is at hand while they come.
    world.emulator.fault(Fault::slow(Duration::from_millis(300)).times(1));
    let port = served.port();
    let clients: Vec<_> =
        (0..300).map(|_| thread::spawn(move || ask(port, "GET", METADATA, &["Metadata-Flavor: Google"]))).collect();
    let bodies: Vec<Answer> = clients.into_iter().map(|client| client.join().expect("no panic")).collect();
    let token = served.token();
    assert_ne!(token, before, "what was logged out of is not handed out");
    for answer in bodies {
        assert!(answer.status == 200 && answer.body.contains(&token), "{answer:?}");
    }
    served.end().exits(0).quietly();
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_token_is_renewed_ahead_of_need_and_its_record_is_everybodys() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let first = served.token();
    assert_eq!(first, world.get(), "from the record");
    // In the soft window: the old one at once, and a new one is got meanwhile.
    world.age(11 * HOUR);
    assert_eq!(served.token(), first);
    world.wait_for_requests(2);
    wait_until("the new one is handed out", || served.token() != first);
    let second = served.token();
    assert_eq!(second, world.get());
    // And again as soon as that is due, however short it lived.
    world.age(11 * HOUR);
    wait_until("the next one is handed out", || served.token() != second);
    let second = served.token();
    // What another process got is handed out too.
    world.sandbox.ycred(["refresh"]).run().exits(0);
    let third = served.token();
    assert_ne!(third, second);
    assert_eq!(third, world.get());
    served.end().exits(0).quietly();
    assert_eq!(world.requests(), 4);
}

#[test]
fn a_cloud_that_is_down_costs_no_token_and_is_told_once() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let first = served.token();
    world.emulator.fault(Fault::refuse(503).message("Back in a moment, says the test"));
    world.age(11 * HOUR);
    for _ in 0..20 {
        assert_eq!(served.token(), first);
    }
    world.age(HOUR);
    for _ in 0..20 {
        let answer = served.metadata();
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.body.starts_with("ycred: ") && answer.body.contains("Back in a moment"), "{answer:?}");
        assert_eq!(answer.body.lines().count(), 1);
    }
    // And when it has been asked in vain once more.
    let asked = world.requests();
    wait_until("the cloud is asked again", || served.metadata().status == 503 && world.requests() >= asked + 4);
    wait_until("it has failed again", || served.metadata().status == 503);
    let told = served.running.stderr();
    assert_eq!(told.matches("ycred: error: ").count(), 1, "{told}");
    world.emulator.clear_faults();
    wait_until("there is a token again", || served.metadata().status == 200);
    assert_ne!(served.token(), first);
    let run = served.end().exits(0);
    assert_eq!(run.stderr, told, "nothing more was said");
}

#[test]
fn a_key_is_renewed_too_and_a_refusal_of_it_costs_no_token() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    world.emulator.fault(Fault::refuse(403).message("No access key, says the test").on(Endpoint::EphemeralAccessKeys));
    let authorization = format!("Authorization: {}", served.password());
    let answer = ask(served.port(), "GET", "/credentials", &[&authorization]);
    assert!(answer.status == 503 && answer.body.contains("No access key, says the test"), "{answer:?}");
    let token = served.token();
    assert!(world.emulator.is_live(&token));
    world.emulator.clear_faults();
    // Another process need not wait until the refusal is forgotten.
    world.sandbox.ycred(["--force-refresh", "aws"]).run().exits(0).quietly();
    let first = served.key()["AccessKeyId"].clone();
    world.age(50 * MINUTE);
    assert_eq!(served.key()["AccessKeyId"], first);
    wait_until("the new one is handed out", || served.key()["AccessKeyId"] != first);
    served.end().exits(0);
}

#[test]
fn without_a_record_the_token_is_kept_in_memory() {
    let world = World::new();
    let served = Served::start(&world, &["--no-cache"]);
    let token = served.token();
    for _ in 0..50 {
        assert_eq!(served.token(), token);
        served.key();
    }
    served.end().exits(0).quietly();
    assert!(world.sandbox.files("cache").is_empty());
    // A key is bought with a token of its own where tokens are kept nowhere.
    assert_eq!((world.requests(), world.emulator.requests(EPHEMERAL_ACCESS_KEYS)), (2, 1));
    // A directory that cannot be: the same, with one warning.
    world.sandbox.file("work/file", "");
    let cache = world.sandbox.path("work/file/cache");
    let words = ["exec", "--serve", "--", "sh", "-c", WAITING];
    let served = Served::of(&world, world.sandbox.ycred(words).env("YCRED_CACHE_DIR", &cache));
    let token = served.token();
    for _ in 0..50 {
        assert_eq!(served.token(), token);
    }
    // Once it can be, what others leave there counts: a later token, and that it is to be forgotten.
    fs::remove_file(world.sandbox.path("work/file")).expect("removed");
    fs::create_dir(world.sandbox.path("work/file")).expect("made");
    let later = handed(world.token(&[]).env("YCRED_CACHE_DIR", &cache).run());
    assert_eq!(served.token(), later);
    world.sandbox.ycred(["logout"]).env("YCRED_CACHE_DIR", &cache).run().exits(0);
    let last = served.token();
    assert!(last != token && last != later);
    let run = served.end().exits(0);
    assert!(run.stderr.starts_with("ycred: warning: ") && run.stderr.lines().count() == 1, "{run}");
    assert_eq!(world.requests(), 5);
}

#[test]
fn a_static_token_is_read_anew_each_time() {
    let world = World::new();
    let file = world.sandbox.file("config/token", "t1.first.x\n");
    world.sandbox.profile("fixed", &format!("source = \"static\"\ntoken-file = \"{}\"\n", file.display()));
    let served = Served::start(&world, &["-p", "fixed"]);
    assert_eq!(served.token(), "t1.first.x");
    world.sandbox.file("config/token", "t1.second.x\n");
    assert_eq!(served.token(), "t1.second.x");
    fs::remove_file(&file).expect("removed");
    assert_eq!(served.metadata().status, 503);
    world.sandbox.file("config/token", "t1.third.x\n");
    assert_eq!(served.token(), "t1.third.x");
    assert_eq!(served.variable("YCRED_PROFILE"), Some("fixed"));
    served.end().exits(0).stderr_has("no such file");
}

#[test]
fn a_ycred_inside_uses_the_same_profile_and_record() {
    let world = World::new();
    world.profile("prod", "");
    let run = world.sandbox.ycred(["exec", "--serve", "-p", "prod", "--", YCRED, "token"]).run().exits(0).quietly();
    assert_eq!(world.emulator.tokens(), [run.stdout.trim()]);
    // Without a profile file it asks the endpoint, since it has nothing else.
    let world = World::bare(Config::default());
    let token = "t1.given.by-the-environment";
    let words = ["exec", "--serve", "--", YCRED, "-v", "token"];
    let run = world.sandbox.ycred(words).env("YC_IAM_TOKEN", token).run().exits(0);
    assert_eq!(run.stdout.trim(), token, "{run}");
    run.stderr_has("source metadata");
}

#[test]
fn a_profile_inside_that_asks_the_metadata_service_asks_the_real_one() {
    let world = World::new();
    let account = world.emulator.new_service_account();
    world.emulator.attach(Some(&account));
    world.sandbox.profile("vm", "source = \"metadata\"\n");
    let words = ["exec", "--serve", YCRED, "token", "-p", "vm"];
    let inside = |words: &[&str]| {
        let call = world.sandbox.ycred(words).env("YC_METADATA_ADDR", world.emulator.metadata_addr());
        handed(call.run())
    };
    let token = inside(&words);
    assert_eq!(world.emulator.subject_of(&token), Some(account.clone()), "not the default profile's");
    assert_eq!(inside(&["token", "-p", "vm"]), token, "one record inside and outside");
    // And so it does within another one.
    assert_eq!(inside(&["exec", "--serve", YCRED, "exec", "--serve", YCRED, "token", "-p", "vm"]), token);
}

#[test]
fn thousands_of_requests_take_no_memory() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let resident = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", served.running.id())).expect("a status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
        line.split_whitespace().nth(1).and_then(|size| size.parse().ok()).expect("KiB")
    };
    let ask = |count: usize| {
        for number in 0..count {
            served.token();
            if number % 10 == 0 {
                served.key();
            }
            // Every so often another token, so that old ones would heap up.
            if number % 100 == 0 {
                world.edit(|record| {
                    if let Some(token) = record.pointer_mut("/token/secret") {
                        let text = token.as_str().expect("a secret").to_owned();
                        *token = if text.contains('|') { text } else { format!("t1.{number:0>3000}.x") }.into();
                    }
                });
            }
        }
    };
    ask(300);
    let before = resident();
    ask(2000);
    let after = resident();
    assert!(after < before + 2048, "{before} KiB became {after} KiB");
    served.end().exits(0).quietly();
    assert_eq!(world.requests(), 1);
}
