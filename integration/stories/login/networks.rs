//! A login that is shared with processes in a sandbox without a network.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::emulator::Config;
use crate::emulator::auth::TOKEN;
use crate::emulator::faults::{Endpoint, Fault};
use crate::expect::{fails_with, prints_token};
use crate::harness::machine::{require_root, require_tracer};
use crate::harness::strace::traced;
use crate::harness::waiting::{HOUR, WAIT_LIMIT, is_free, wait_until};
use crate::harness::{Call, Running, require_client, run_all, skip};
use crate::server::Stage;
use crate::sources::person::Person;
use crate::stories::login::process::{renewal_process, send};

/// Puts a call into a sandbox without a network. `None` if this user cannot make one.
fn sandbox(person: &Person) -> Option<(PathBuf, &'static str)> {
    let unshare = require_client("unshare")?;
    let works = |option: &str| person.world.sandbox.call(&unshare, [option, "true"]).run().status.success();
    // Root needs no user namespace, and nobody else may go without one.
    let option = ["-n", "-cn"].into_iter().find(|option| works(option));
    if option.is_none() {
        skip("this user cannot create a network namespace");
    }
    Some((unshare, option?))
}

/// Runs a program on a network where nobody answers at this port: the server accepts nothing, and its queue is full.
const SILENT: &str = r#"
import os, socket, subprocess, sys, time
port, command = int(sys.argv[1]), sys.argv[2:]
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
server = socket.create_server(("127.0.0.1", port), backlog=0)
clients = [socket.socket() for _ in range(8)]
for client in clients:
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", port))
parent = os.getpid()
if os.fork() == 0:
    for descriptor in range(3):
        os.dup2(os.open("/dev/null", os.O_RDWR), descriptor)
    for _ in range(600):
        if os.getppid() != parent:
            break
        time.sleep(0.1)
    os._exit(0)
os.execvp(command[0], command)
"#;

/// A person whose token has expired, and who can renew the login.
fn expired() -> Person {
    let person = Person::new();
    person.log_in();
    person.age(13 * HOUR);
    person
}

#[test]
fn a_renewal_that_gets_no_connection_holds_up_callers_on_another_network_for_one_attempt() {
    if !require_root(&["unshare"]) {
        return;
    }
    let person = expired();
    let url = person.world.emulator.auth_url();
    let port = url.rsplit(':').next().expect("a port");
    let silent =
        person.token(&["--timeout", "20s", "-v"]).under(Path::new("unshare"), &["-n", "python3", "-c", SILENT, port]);
    let silent = silent.limit(WAIT_LIMIT).start();
    wait_until("the login is being renewed", || !is_free(&person.file(".lock")));
    thread::sleep(Duration::from_millis(500));
    // An attempt to connect takes three seconds.
    let calls = (0..3).map(|_| person.token(&["--timeout", "8s"]));
    let tokens: Vec<String> = run_all(calls).into_iter().map(prints_token).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    // It tries again, and finds their token.
    let run = silent.finish().exits(0).stderr_has("no connection within 3s; trying again");
    assert_eq!(run.stdout.trim_end(), tokens[0], "{run}");
    assert_eq!(person.tokens(), 2, "the login, and one renewal");
}

/// A network where the auth host does not answer. It ends with this value.
struct SilentNetwork(Running);

impl SilentNetwork {
    fn of(person: &Person) -> SilentNetwork {
        let url = person.world.emulator.auth_url();
        let port = url.rsplit(':').next().expect("a port");
        let script = "echo begun; exec sleep 60";
        let network = person.world.sandbox.call("unshare", ["-n", "python3", "-c", SILENT, port, "sh", "-c", script]);
        let network = network.limit(WAIT_LIMIT).start();
        wait_until("the network is there", || !network.stdout().is_empty());
        SilentNetwork(network)
    }

    /// Starts a call there.
    fn start(&self, call: Call) -> Running {
        let number = self.0.id().to_string();
        call.under(Path::new("nsenter"), &["-t", &number, "-n"]).limit(WAIT_LIMIT).start()
    }
}

/// Such a network, and a person with an [`expired`] token on another one. `None` if this user cannot make networks.
fn beside_a_silent_network() -> Option<(Person, SilentNetwork)> {
    if !require_root(&["unshare", "nsenter"]) {
        return None;
    }
    let person = expired();
    let network = SilentNetwork::of(&person);
    Some((person, network))
}

/// Waits until another process renews the login of this call, and returns both.
fn caller_and_renewal(person: &Person, call: &Running) -> (i32, i32) {
    let (caller, lock) = (i32::try_from(call.id()).expect("a process id"), person.file(".lock"));
    wait_until("the login is being renewed", || !is_free(&lock));
    wait_until("another process renews it", || renewal_process(&lock) != caller);
    (caller, renewal_process(&lock))
}

#[test]
fn a_renewal_that_is_killed_before_it_has_a_connection_leaves_the_refresh_token_as_it_was() {
    let Some((person, network)) = beside_a_silent_network() else { return };
    // The second one would be the last that may send a refresh token in doubt.
    for _ in 0..2 {
        let call = network.start(person.token(&["--no-cache", "--timeout", "20s"]));
        let (caller, renewal) = caller_and_renewal(&person, &call);
        send(libc::SIGSTOP, caller);
        send(libc::SIGKILL, renewal);
        drop(call);
        wait_until("the renewal has ended", || is_free(&person.file(".lock")));
        fs::write(person.file(".lock"), "").expect("a writable file");
    }
    assert_eq!(person.state().get("sent_at"), None);
    person.get();
    assert_eq!(person.tokens(), 2, "the login, and one renewal");
    drop(network);
}

#[test]
fn a_short_call_without_a_connection_says_so_and_the_next_one_makes_one_attempt() {
    if !require_root(&["unshare", "nsenter"]) {
        return;
    }
    for limit in ["5s", "10s"] {
        let person = expired();
        let network = SilentNetwork::of(&person);
        // The time for the last attempt is too short.
        let call = network.start(person.token(&["--timeout", limit]));
        fails_with(call.finish(), 4, &["no connection within 3s"]);
        wait_until("the last attempt has ended too", || is_free(&person.file(".lock")));
        // Otherwise the failure would be returned without an attempt.
        person.age(Duration::from_secs(5));
        let run = network.start(person.token(&["--timeout", "20s", "-v"])).finish();
        let run = run.exits(4).stderr_has("started a process").stderr_has("no connection within 3s");
        assert_eq!(run.stderr.matches("trying again").count(), 0, "{run}");
    }
}

#[test]
fn a_renewal_that_is_stopped_in_a_later_attempt_to_connect_is_named() {
    let Some((person, network)) = beside_a_silent_network() else { return };
    let call = network.start(person.token(&["--no-cache", "--timeout", "14s", "-v"]));
    wait_until("the first attempt has ended", || call.stderr().contains("trying again"));
    fs::write(person.file(".lock"), "").expect("a writable file");
    let (_, process) = caller_and_renewal(&person, &call);
    send(libc::SIGSTOP, process);
    let run = call.finish();
    send(libc::SIGKILL, process);
    run.exits(4).stderr_has(&format!("process {process} has been renewing this login for "));
    drop(network);
}

#[test]
fn a_refresh_token_in_doubt_changes_nothing_about_a_call_without_a_connection() {
    if !require_root(&["unshare", "nsenter"]) {
        return;
    }
    let person = expired();
    person.world.emulator.fault(Fault::broken(Stage::BeforeAnswer).on(Endpoint::OauthToken).times(1));
    fails_with(person.token(&["--no-cache"]).run(), 4, &["got no answer"]);
    person.age(Duration::from_secs(10));
    // In a new network namespace, loopback is down.
    let call = person.token(&["--no-cache"]).under(Path::new("unshare"), &["-n"]);
    fails_with(call.run(), 4, &["/oauth/token: ", "no route to the host"]);
    let network = SilentNetwork::of(&person);
    let run = network.start(person.token(&["--no-cache", "--timeout", "8s", "-v"])).finish();
    let run = run.exits(4).stderr_has("trying again");
    assert!(!run.stderr.contains("got no answer"), "{run}");
    assert!(person.state()["sent_at"].is_i64(), "{}", person.state());
    wait_until("the last attempt has ended too", || is_free(&person.file(".lock")));
    person.get();
    assert_eq!(person.tokens(), 3);
    drop(network);
}

#[test]
fn a_stream_of_refreshes_that_get_no_connection_keeps_nobody_from_renewing_the_login() {
    let Some((person, network)) = beside_a_silent_network() else { return };
    let mut stream = Vec::new();
    let mut wait = || {
        for _ in 0..10 {
            stream.push(network.start(person.token(&["--force-refresh", "--no-cache", "--timeout", "20s"])));
            thread::sleep(Duration::from_millis(200));
        }
    };
    wait();
    let calls = ["--no-cache", "--force-refresh"].map(|option| person.token(&[option, "--timeout", "12s"]).start());
    wait();
    for call in calls {
        prints_token(call.finish());
    }
    drop((stream, network));
}

#[test]
fn callers_without_a_connection_make_four_attempts_in_a_crowd_and_in_a_chain() {
    if !require_root(&["unshare", "nsenter"]) {
        return;
    }
    for (callers, more) in [(5, ""), (1, "impersonate = \"ajeu0000000000000001\"")] {
        let person = Person::with(Config::default(), more);
        person.log_in();
        person.age(13 * HOUR);
        let network = SilentNetwork::of(&person);
        let calls: Vec<_> = (0..callers).map(|_| network.start(person.token(&["--timeout", "30s"]))).collect();
        for call in calls {
            let run = call.finish();
            // Each attempt takes three seconds.
            assert!(run.took > Duration::from_secs(12), "{more} {:?}\n{run}", run.took);
            fails_with(run, 4, &["no connection within 3s"]);
        }
    }
}

#[test]
fn a_renewal_that_fails_without_a_network_does_not_reach_a_caller_that_has_one() {
    for arguments in [&[][..], &["--no-cache"]] {
        let person = Person::new();
        let Some((unshare, option)) = sandbox(&person) else { return };
        person.log_in();
        let without = |call: Call| call.under(&unshare, &[option]);
        for _ in 0..3 {
            person.age(13 * HOUR);
            let before = person.tokens();
            let calls = (0..8).map(|number| match number % 2 {
                0 => without(person.token(arguments)),
                _ => person.token(&[arguments, &["--timeout", "60s"]].concat()),
            });
            let mut tokens = Vec::new();
            for (number, run) in run_all(calls).into_iter().enumerate() {
                // Those without a network may find the token of the others.
                if number % 2 == 1 || run.status.success() {
                    tokens.push(prints_token(run));
                } else {
                    fails_with(run, 4, &["127.0.0.1"]);
                }
            }
            assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
            assert_eq!(person.tokens(), before + 1);
        }
    }
}

#[test]
fn the_auth_hosts_answer_counts_in_each_network() {
    let person = Person::new();
    let Some((unshare, option)) = sandbox(&person) else { return };
    person.log_in();
    person.age(13 * HOUR);
    person
        .world
        .emulator
        .fault(Fault { hold: true, ..Fault::refuse(403) }.on(Endpoint::OauthToken).message("no, says the test"));
    let first = person.token(&["--no-cache"]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, WAIT_LIMIT));
    let second = person.token(&["-v", "--no-cache"]).under(&unshare, &[option]).start();
    wait_until("the second call has begun", || second.stderr().contains("ycred: "));
    thread::sleep(Duration::from_millis(500));
    person.world.emulator.clear_faults();
    for call in [first, second] {
        let run = call.finish();
        assert!(run.stderr.contains("no, says the test"), "{run}");
    }
    assert_eq!(person.tokens(), 2);
}

#[test]
fn a_sandbox_of_the_process_that_renews_a_login_does_not_reach_the_callers_that_wait_for_it() {
    if !require_tracer() {
        return;
    }
    let person = Person::new();
    person.log_in();
    person.age(13 * HOUR);
    // The renewal process pauses when it first syncs a file, so the other callers wait for it. It can create no socket.
    let strace = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,socket"].map(str::to_owned).into_iter();
    let faults = ["inject=fsync:delay_enter=3000000:when=1", "inject=socket:error=EAFNOSUPPORT"];
    let strace: Vec<String> =
        strace.chain(faults.iter().flat_map(|fault| ["-e".to_owned(), (*fault).to_owned()])).collect();
    let first = traced(&person.world.sandbox, &strace, &["token", "--timeout", "60s"]).start();
    let lock = person.file(".lock");
    wait_until("the login is being renewed", || !is_free(&lock));
    let others: Vec<_> = (0..3).map(|_| person.token(&["--timeout", "60s"]).start()).collect();
    let tokens: Vec<String> = others.into_iter().map(|call| prints_token(call.finish())).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    // It fails, or finds their token.
    let first = first.finish();
    assert!(first.status.success() || first.stderr.contains("Address family not supported"), "{first}");
    assert_eq!(person.tokens(), 2, "the login, and one renewal");
}
