//! IPv6, name resolution and closed ports.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::time::Duration;

use crate::emulator::{Config, Tls};
use crate::expect::{fails_with, fails_with_hint};
use crate::harness::machine::in_own_network;
use crate::harness::skip;
use crate::harness::waiting::WAIT_LIMIT;
use crate::server::{Response, Server};
use crate::world::World;

#[test]
fn ipv6_works() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return skip("this machine has no IPv6");
    }
    let address = (Ipv6Addr::LOCALHOST, 0).into();
    for tls in [Tls::Off, Tls::Good] {
        let world = World::with(Config { address, ..Config::with_tls(tls) });
        assert!(world.emulator.url().contains("[::1]"));
        world.emulator.write_ca(world.sandbox.path("config/ca.pem")).expect("a certificate");
        world.configure("ca-file = \"ca.pem\"");
        let token = world.get();
        assert_eq!(world.get(), token);
    }
}

#[test]
fn a_name_that_does_not_resolve_is_reported() {
    in_own_network(&[], || {
        let world = World::new();
        world
            .sandbox
            .profile("default", &world.settings().replace(&world.emulator.url(), "https://iam.no-such-name.invalid"));
        fails_with_hint(
            world.token(&[]).run(),
            4,
            &["https://iam.no-such-name.invalid", "cannot be resolved"],
            "HTTPS_PROXY",
        );
    });
}

#[test]
fn a_name_server_that_does_not_respond_is_abandoned_at_the_deadline() {
    in_own_network(&["10.9.8.53/32"], || {
        let silent = std::net::UdpSocket::bind("10.9.8.53:53").expect("a private port 53");
        let world = World::new();
        let url = "https://iam.no-such-name.invalid";
        world.sandbox.profile("default", &world.settings().replace(&world.emulator.url(), url));
        // The C library would wait for 30 seconds.
        let resolver = world.sandbox.file("tmp/resolv.conf", "nameserver 10.9.8.53\noptions timeout:30 attempts:1\n");
        let script = "mount --bind \"$0\" /etc/resolv.conf || exit 99\nexec \"$@\"";
        let before = ["-m", "sh", "-c", script].map(std::ffi::OsString::from).into_iter();
        let arguments =
            [resolver.into(), crate::harness::YCRED.into(), "token".into(), "--timeout".into(), "3s".into()];
        let run = world.sandbox.call("unshare", before.chain(arguments)).limit(Duration::from_secs(25)).run();
        if run.status.code() == Some(99) {
            return skip("this user may not mount");
        }
        fails_with(run, 4, &[url, "within"]);
        silent.set_nonblocking(true).expect("a socket");
        assert!(silent.recv_from(&mut [0; 512]).is_ok(), "the name server must have received a query");
    });
}

#[test]
fn a_port_where_nothing_listens_is_reported() {
    let world = World::new();
    let gone = Server::start(None, |_| Response::new(404)).url();
    world.sandbox.profile("default", &world.settings().replace(&world.emulator.url(), &gone));
    fails_with_hint(world.token(&[]).run(), 4, &[&gone, "nothing listens there"], "check the network");
}

#[test]
fn a_server_that_accepts_no_connection_is_not_one_that_does_not_answer() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    // Once its queue is full, the kernel answers no further connection.
    let mut queued = Vec::new();
    for _ in 0..5000 {
        match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            Ok(stream) => queued.push(stream),
            Err(_) => break,
        }
    }
    let world = World::new();
    let settings = world.settings().replace(&world.emulator.url(), &format!("http://{address}"));
    world.sandbox.profile("default", &settings);
    let run = world.token(&["--timeout", "3s"]).limit(WAIT_LIMIT).run();
    fails_with_hint(run, 4, &[&format!("http://{address}/iam/v1/tokens: no connection within")], "--timeout");
    drop(queued);
}
