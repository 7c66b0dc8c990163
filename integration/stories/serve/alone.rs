//! `ycred serve`: the metadata endpoint without a child, for the users that it lists.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use super::served::{HttpResponse, request};
use crate::emulator::METADATA;
use crate::emulator::faults::Fault;
use crate::expect::{fails_with, fails_with_hint};
use crate::harness::machine::{is_root, require_root};
use crate::harness::waiting::{HOUR, wait_until};
use crate::harness::{Call, Running, YCRED};
use crate::world::World;

/// The users of two other containers, and a user that is not listed.
const LISTED: [u32; 2] = [54321, 54322];
const STRANGER: u32 = 54323;

/// Returns a port that is free now.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("an address").port()
}

/// Returns a call of `ycred serve` for a port and users.
fn serve(world: &World, port: u16, users: &[u32]) -> Call {
    let users = users.iter().flat_map(|user| ["--allow-uid".to_owned(), user.to_string()]);
    world.sandbox.ycred(["serve", "--listen"]).and([format!("127.0.0.1:{port}")]).and(users)
}

/// Starts the call and waits until it listens.
#[track_caller]
fn listening(call: Call, port: u16) -> Running {
    let running = call.start();
    wait_until("ycred listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    running
}

/// Requests the token as this user.
fn metadata_as(world: &World, user: u32, port: u16) -> Call {
    let url = format!("http://127.0.0.1:{port}{METADATA}");
    let id = [format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()];
    let curl = ["curl", "-sS", "--noproxy", "*", "-H", "Metadata-Flavor: Google", "-w", " %{http_code}"];
    world.sandbox.call("setpriv", id).and(curl).and([url]).within("/")
}

fn own_user() -> u32 {
    // SAFETY: geteuid cannot fail and touches nothing.
    unsafe { libc::geteuid() }
}

#[test]
fn listed_users_get_the_token_and_no_other_user_does_not_even_ycreds_own() {
    if !require_root(&["setpriv", "curl"]) {
        return;
    }
    let world = World::new();
    let port = free_port();
    let serving = listening(serve(&world, port, &LISTED), port);
    for user in LISTED {
        let run = metadata_as(&world, user, port).run().succeeds();
        assert!(run.stdout.ends_with(" 200") && run.stdout.contains(&world.last_token()), "{run}");
    }
    for user in [STRANGER, own_user()] {
        let run = metadata_as(&world, user, port).run().succeeds();
        assert!(run.stdout.ends_with(" 403") && !run.stdout.contains(&world.last_token()), "{run}");
    }
    serving.signal(libc::SIGTERM);
    serving.finish().exits(0).stderr_is_empty().stdout_is("");
    assert_eq!(world.requests(), 1);
}

/// A running `ycred serve` that lists the user of the requests: the own user of the tests, or another one for root.
///
/// Root cannot be listed, so root becomes another user for requests.
struct Serving<'a> {
    world: &'a World,
    port: u16,
    running: Running,
}

impl<'a> Serving<'a> {
    fn start(world: &'a World) -> Serving<'a> {
        let port = free_port();
        let user = if is_root() { LISTED[0] } else { own_user() };
        Serving { world, port, running: listening(serve(world, port, &[user]), port) }
    }

    /// Returns the response to a request of the listed user.
    #[track_caller]
    fn request(&self, method: &str, path: &str, headers: &[&str]) -> HttpResponse {
        if !is_root() {
            return request(self.port, method, path, headers);
        }
        let mut curl = vec!["-sS", "--noproxy", "*", "-X", method, "-w", "\n%{http_code}"];
        headers.iter().for_each(|header| curl.extend(["-H", header]));
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let id = [format!("--reuid={}", LISTED[0]), format!("--regid={}", LISTED[0]), "--clear-groups".to_owned()];
        let call = self.world.sandbox.call("setpriv", id).and(["curl"]).and(curl).and([url]).within("/");
        let run = call.run().succeeds();
        let (body, status) = run.stdout.rsplit_once('\n').expect("a status");
        HttpResponse { status: status.parse().expect("a status"), body: body.to_owned() }
    }

    #[track_caller]
    fn metadata(&self) -> HttpResponse {
        self.request("GET", METADATA, &["Metadata-Flavor: Google"])
    }

    #[track_caller]
    fn end(self, signal: i32) -> String {
        self.running.signal(signal);
        self.running.finish().exits(0).stdout_is("").stderr
    }
}

#[test]
fn it_serves_the_token_endpoint_only() {
    let world = World::new();
    let serving = Serving::start(&world);
    let google = "Metadata-Flavor: Google";
    for (method, path, headers, status) in [
        ("GET", METADATA, &[google][..], 200),
        ("GET", METADATA, &[], 403),
        ("GET", METADATA, &[google, "Host: metadata.example"], 403),
        ("GET", METADATA, &[google, "X-Forwarded-For: 10.0.0.1"], 403),
        ("POST", METADATA, &[google], 405),
        ("GET", "/computeMetadata/v1/instance/id", &[google], 404),
        // There is no password for the access keys, so there are none.
        ("GET", "/credentials", &[google], 404),
        ("GET", "/credentials", &["Authorization: "], 404),
        ("GET", "/", &[google], 404),
    ] {
        let response = serving.request(method, path, headers);
        assert_eq!(response.status, status, "{method} {path} {headers:?}: {}", response.body);
        assert_eq!(response.body.contains(&world.last_token()), status == 200, "{method} {path} {headers:?}");
    }
    assert_eq!(serving.end(libc::SIGTERM), "");
}

#[test]
fn it_ends_with_a_signal_and_closes_the_port() {
    let world = World::new();
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let serving = Serving::start(&world);
        let port = serving.port;
        assert_eq!(serving.end(signal), "");
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "the port is open");
    }
}

#[test]
fn as_the_first_process_of_a_container_it_ends_with_sigterm() {
    if !require_root(&["unshare"]) {
        return;
    }
    let world = World::new();
    let port = free_port();
    let own = serve(&world, port, &LISTED);
    // The shell outside sends the signal to its child, which is process 1 of the new namespace.
    let script = "unshare --pid --fork --mount-proc sh -c 'exec \"$@\"' sh \"$@\" & child=$!
        for turn in $(seq 2000); do [ -e go ] && break; sleep 0.02; done
        kill -TERM $(cat /proc/$child/task/$child/children); wait $child";
    let arguments = ["-c", script, "sh", YCRED, "serve", "--listen"].map(str::to_owned);
    let arguments = arguments.into_iter().chain([format!("127.0.0.1:{port}"), "--allow-uid=54321".to_owned()]);
    let call = world.sandbox.call("sh", arguments).with_environment_of(&own);
    let running = listening(call, port);
    world.wait_for_requests(1);
    world.sandbox.file("work/go", "");
    running.finish().exits(0).stderr_is_empty();
}

#[test]
fn a_signal_ends_it_while_the_cloud_does_not_respond() {
    let world = World::new();
    world.emulator.fault(Fault::held());
    let port = free_port();
    let running = listening(serve(&world, port, &LISTED), port);
    world.wait_for_requests(1);
    running.signal(libc::SIGTERM);
    running.finish().exits(0).stderr_is_empty();
}

#[test]
fn wrong_flags_are_refused_before_it_listens() {
    let world = World::new();
    let call = |listen: &str, users: &[&str]| {
        let users = users.iter().flat_map(|user| ["--allow-uid", user]);
        world.sandbox.ycred(["serve", "--listen", listen]).and(users).run()
    };
    let port = free_port();
    let good = format!("127.0.0.1:{port}");
    for listen in [&format!("0.0.0.0:{port}"), &format!("[::1]:{port}"), &format!("localhost:{port}"), "127.0.0.1:0"] {
        let hint = "ycred: hint: use a port above 1023, such as --listen 127.0.0.1:8181";
        fails_with_hint(call(listen, &["1000"]), 2, &["--listen: the address is not 127.0.0.1"], hint);
    }
    for user in ["any", "*", "1000-2000", "1000,1001", "-1", "nobody", ""] {
        fails_with(call(&good, &["1000", user]), 2, &["--allow-uid: expected a user ID"]);
    }
    fails_with_hint(call(&good, &["0"]), 2, &["--allow-uid: root is not allowed"], "--allow-uid 1000");
    fails_with(call(&good, &[]), 2, &["missing --allow-uid"]);
    fails_with(world.sandbox.ycred(["serve", "--allow-uid", "1000"]).run(), 2, &["missing --listen"]);
    assert_eq!(world.emulator.calls(), 0);
    fails_with(serve(&world, port, &LISTED).and(["-p", "none"]).run(), 3, &["none"]);

    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a port");
    let error = format!("serve: cannot listen on {good}");
    fails_with_hint(serve(&world, port, &LISTED).run(), 4, &[&error], "choose a port");
}

#[test]
fn a_rejected_key_ends_it_and_an_unavailable_cloud_does_not() {
    let world = World::new();
    let refusal = world.refuse();
    fails_with_hint(serve(&world, free_port(), &LISTED).run(), 1, &[refusal], "yc iam key list");

    world.emulator.clear_faults();
    world.profile("default", "");
    let message = world.make_unavailable();
    let serving = Serving::start(&world);
    for _ in 0..3 {
        let response = serving.metadata();
        assert_eq!(response.status, 503);
        assert!(response.body.contains(message), "{}", response.body);
    }
    let stderr = serving.end(libc::SIGTERM);
    assert_eq!(stderr.lines().filter(|line| line.starts_with("ycred: error: ")).count(), 1, "{stderr}");
    assert!(stderr.contains(message), "{stderr}");
}

#[test]
fn it_renews_the_token_and_serves_the_one_that_others_have_renewed() {
    let world = World::new();
    let serving = Serving::start(&world);
    assert!(serving.metadata().body.contains(&world.last_token()));
    let first = world.last_token();
    world.age(11 * HOUR);
    // Still valid, so the response does not wait for the renewal.
    assert!(serving.metadata().body.contains(&first));
    wait_until("the token is renewed", || world.requests() == 2);
    wait_until("the new token is served", || serving.metadata().body.contains(&world.last_token()));
    assert_ne!(world.last_token(), first);
    world.token(&["--force-refresh"]).run().succeeds();
    assert!(serving.metadata().body.contains(&world.last_token()));
    assert_eq!(world.requests(), 3);
    assert_eq!(serving.end(libc::SIGTERM), "");
}

#[test]
fn a_forced_refresh_is_made_before_the_first_request_is_answered() {
    if !require_root(&["setpriv", "curl"]) {
        return;
    }
    for flags in [&["--force-refresh"][..], &["--force-refresh", "--no-cache"]] {
        let world = World::new();
        let cached = world.get();
        let port = free_port();
        let serving = listening(serve(&world, port, &LISTED).and(flags), port);
        let run = metadata_as(&world, LISTED[0], port).run().succeeds();
        assert!(run.stdout.contains(&world.last_token()) && !run.stdout.contains(&cached), "{run}");
        serving.signal(libc::SIGTERM);
        serving.finish().exits(0).stderr_is_empty();
        assert_eq!(world.requests(), 2, "{flags:?}");
    }
}

#[test]
fn the_warning_of_the_first_fetch_is_printed_once() {
    if !require_root(&["setpriv", "curl"]) {
        return;
    }
    let world = World::new();
    let port = free_port();
    let serving = listening(serve(&world, port, &LISTED).and(["--min-ttl", "20h"]), port);
    metadata_as(&world, LISTED[0], port).run().succeeds();
    serving.signal(libc::SIGTERM);
    let run = serving.finish().exits(0);
    assert_eq!(run.stderr.matches("ycred: warning:").count(), 1, "{run}");
}

#[test]
fn it_ends_with_sigterm_even_if_that_was_ignored_when_it_started() {
    let world = World::new();
    let port = free_port();
    let shell = ["-c".to_owned(), "trap '' TERM; exec \"$@\"".to_owned(), "sh".to_owned(), YCRED.to_owned()];
    let users = ["--allow-uid".to_owned(), LISTED[0].to_string()];
    let call = world.sandbox.call("sh", shell).and(["serve", "--listen"]).and([format!("127.0.0.1:{port}")]).and(users);
    let serving = listening(call, port);
    serving.signal(libc::SIGTERM);
    serving.finish().exits(0).stderr_is_empty();
}
