//! Names: /etc/hosts, name servers over UDP and TCP, search domains, IPv6, and what `getent` knows beyond these.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use crate::emulator::authority::TEST_NAME;
use crate::emulator::{Config, Tls};
use crate::expect::{fails_with, token_on_stdout};
use crate::harness::dns::{NameServer, Transport, Zone};
use crate::harness::machine::in_own_network;
use crate::harness::{Call, Run, YCRED, skip};
use crate::world::World;

const FIRST: &str = "10.9.8.53";
const SECOND: &str = "10.9.8.54";
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Returns a world whose profile names the emulator by [`TEST_NAME`] and by https.
fn world(address: IpAddr) -> World {
    let world = World::with(Config { address: (address, 0).into(), ..Config::with_tls(Tls::Good) });
    world.emulator.write_ca(world.sandbox.path("config/ca.pem")).expect("a certificate");
    name_it(&world, TEST_NAME);
    world
}

/// Lets the profile name the emulator by another name. JWTs stay for its own URL.
fn name_it(world: &World, name: &str) {
    let url = world.emulator.url();
    let port = url.rsplit_once(':').expect("a port").1;
    let settings = world.settings().replace(&url, &format!("https://{name}:{port}"));
    let more = format!("audience = \"{url}/iam/v1/tokens\"\nca-file = \"ca.pem\"\n");
    world.sandbox.profile("default", &format!("{settings}{more}"));
}

/// Returns a call of `ycred token` with these files in place of /etc/hosts and /etc/resolv.conf.
fn call(world: &World, hosts: &str, resolver: &str) -> Call {
    let hosts = world.sandbox.file("tmp/hosts", hosts);
    let options = if resolver.contains("options") { "" } else { "options timeout:2 attempts:1\n" };
    let resolver = world.sandbox.file("tmp/resolv.conf", format!("{resolver}{options}"));
    let script =
        "mount --bind \"$0\" /etc/hosts && mount --bind \"$1\" /etc/resolv.conf || exit 99\nshift\nexec \"$@\"";
    let before = ["-m", "sh", "-c", script].map(OsString::from).into_iter();
    let rest = [hosts.into(), resolver.into(), YCRED.into(), "token".into(), "-v".into()];
    world.sandbox.call("unshare", before.chain(rest))
}

/// Checks that a token was printed. Returns false, after [`skip`], if this user may not mount.
#[track_caller]
fn gets_a_token(world: &World, run: Run) -> Option<Run> {
    if run.status.code() == Some(99) {
        skip("this user may not mount");
        return None;
    }
    let run = run.succeeds();
    let token = token_on_stdout(&run);
    assert!(world.emulator.tokens().contains(&token), "not a token\n{run}");
    Some(run)
}

#[test]
fn a_name_in_etc_hosts_needs_no_name_server() {
    in_own_network(&[], || {
        let world = world(V4);
        gets_a_token(&world, call(&world, &format!("127.0.0.1 {TEST_NAME}\n"), "").run());
    });
}

#[test]
fn a_name_server_is_asked_over_udp_and_over_tcp_if_the_answer_is_too_long() {
    // Each in a network of its own: a process that another test is starting may still hold the socket of the first server.
    for is_too_long_for_udp in [false, true] {
        in_own_network(&["10.9.8.53/32"], || {
            let server =
                NameServer::start(FIRST, Zone { names: vec![(TEST_NAME, V4)], is_too_long_for_udp, ..Zone::default() });
            let world = world(V4);
            if gets_a_token(&world, call(&world, "", &format!("nameserver {FIRST}\n")).run()).is_some() {
                assert!(server.was_asked(Transport::Udp, TEST_NAME), "asked over UDP");
                assert_eq!(server.was_asked(Transport::Tcp, TEST_NAME), is_too_long_for_udp, "asked over TCP");
            }
        });
    }
}

#[test]
fn a_name_with_only_an_ipv6_address_works() {
    in_own_network(&["10.9.8.53/32"], || {
        let address = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let _server = NameServer::start(FIRST, Zone { names: vec![(TEST_NAME, address)], ..Zone::default() });
        let world = world(address);
        gets_a_token(&world, call(&world, "", &format!("nameserver {FIRST}\n")).run());
    });
}

#[test]
fn a_short_name_is_looked_up_in_the_search_domains() {
    in_own_network(&["10.9.8.53/32"], || {
        let server = NameServer::start(FIRST, Zone { names: vec![("iam.corp.test", V4)], ..Zone::default() });
        let world = world(V4);
        name_it(&world, "iam");
        let run = call(&world, "", &format!("search other.test corp.test\nnameserver {FIRST}\n")).run();
        if run.status.code() == Some(99) {
            return skip("this user may not mount");
        }
        // It found the emulator, whose certificate is not for this name.
        let run = run.exits(3);
        assert!(!run.stderr.contains("cannot be resolved"), "{run}");
        assert!(server.was_asked(Transport::Udp, "iam.corp.test"), "{run}");
    });
}

#[test]
fn getent_is_asked_for_a_name_that_the_first_of_two_name_servers_does_not_know() {
    in_own_network(&["10.9.8.53/32", "10.9.8.54/32"], || {
        // As with split DNS: the second server would know the name, and answers later.
        let first = NameServer::start(FIRST, Zone::default());
        let late = Zone { names: vec![(TEST_NAME, V4)], delay: Duration::from_secs(1), ..Zone::default() };
        let _second = NameServer::start(SECOND, late);
        let world = world(V4);
        let resolver = format!("nameserver {FIRST}\nnameserver {SECOND}\n");
        // The system's name service, which a static program cannot load.
        let script = format!("#!/bin/sh\n[ \"$*\" = 'ahosts {TEST_NAME}' ] && echo '127.0.0.1  STREAM {TEST_NAME}'\n");
        world.sandbox.script("bin/getent", &script);
        if let Some(run) = gets_a_token(&world, call(&world, "", &resolver).run()) {
            assert!(first.was_asked(Transport::Udp, TEST_NAME), "{run}");
            assert!(
                run.stderr.contains("getent knows it") && run.stderr.contains(TEST_NAME),
                "it says so with -v\n{run}"
            );
        }
        // A hit asks nobody.
        std::fs::remove_file(world.sandbox.path("bin/getent")).expect("the script");
        gets_a_token(&world, call(&world, "", "").run());
    });
}

#[test]
fn getent_changes_nothing_if_it_knows_nothing_or_does_not_end() {
    in_own_network(&["10.9.8.53/32"], || {
        let _server = NameServer::start(FIRST, Zone::default());
        let endless = "#!/bin/sh\necho $$ >\"$HOME/pid\"\nexec sleep 1000\n";
        for script in ["#!/bin/sh\nexit 2\n", "#!/bin/sh\necho nonsense\n", endless] {
            // A new cache each time, because ycred remembers failures.
            let world = world(V4);
            world.sandbox.script("bin/getent", script);
            let run = call(&world, "", &format!("nameserver {FIRST}\n")).run();
            if run.status.code() == Some(99) {
                return skip("this user may not mount");
            }
            let stderr =
                run.stderr.lines().filter(|line| !line.starts_with("ycred: debug: ")).collect::<Vec<_>>().join("\n");
            fails_with(Run { stderr: format!("{stderr}\n"), ..run }, 4, &[TEST_NAME, "cannot be resolved"]);
            if script == endless {
                let pid = std::fs::read_to_string(world.sandbox.path("home/pid")).expect("it ran");
                assert!(!std::path::Path::new(&format!("/proc/{}", pid.trim())).exists(), "getent is still running");
            }
        }
    });
}

#[test]
fn getent_is_asked_beside_a_name_server_that_does_not_answer() {
    in_own_network(&["10.9.8.53/32"], || {
        let _silent = UdpSocket::bind((FIRST, 53)).expect("the address is of this network");
        // As without a file, and longer than a connection may take.
        let resolver = format!("nameserver {FIRST}\noptions timeout:5 attempts:2\n");
        let knows = format!("#!/bin/sh\necho '127.0.0.1  STREAM {TEST_NAME}'\n");
        let with = |script: &str| {
            let world = world(V4);
            world.sandbox.script("bin/getent", script);
            let run = call(&world, "", &resolver).run();
            (world, run)
        };
        let (world, run) = with(&knows);
        let Some(run) = gets_a_token(&world, run) else { return };
        run.stderr_has("has not answered; getent knows it");
        // The system's own name service does not know it either, and nobody waits for the server.
        let (_, run) = with("#!/bin/sh\nexit 2\n");
        let run = run.exits(4).stderr_has("cannot be resolved\n").stderr_has("hint: check the network and the VPN");
        assert_eq!(run.stderr.matches("getent does not know it either").count(), 1, "one attempt\n{run}");
        // Nobody answers. musl may give up first, and then the message has no time.
        let (_, run) = with("#!/bin/sh\nexec sleep 1000\n");
        run.exits(4).stderr_has("cannot be resolved").stderr_has("hint: check the network and the VPN");
    });
}

/// Checks that a call with this time limit gets a token although the name server takes so long for each of two questions.
fn gets_a_token_by_a_slow_name_server(delay: Duration, getent: &str, limit: &str) {
    in_own_network(&["10.9.8.53/32"], || {
        let slow = Zone { names: vec![(TEST_NAME, V4)], delay, ..Zone::default() };
        let _server = NameServer::start(FIRST, slow);
        let world = world(V4);
        world.sandbox.script("bin/getent", getent);
        let resolver = format!("nameserver {FIRST}\noptions timeout:5 attempts:2\n");
        gets_a_token(&world, call(&world, "", &resolver).and(["--timeout", limit]).run());
    });
}

#[test]
fn the_answer_of_a_slow_name_server_counts_while_getent_runs() {
    // An attempt to connect has a little more than two seconds then.
    gets_a_token_by_a_slow_name_server(Duration::from_millis(700), "#!/bin/sh\nexec sleep 1000\n", "6s");
}

#[test]
fn getent_that_does_not_know_a_name_ends_no_short_lookup_early() {
    gets_a_token_by_a_slow_name_server(Duration::from_millis(250), "#!/bin/sh\nexit 2\n", "2s");
}
