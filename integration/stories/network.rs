//! The network (F61 to F67): what is tried again, what is not, and what each failure is called.

use std::fs;
use std::net::{Ipv6Addr, TcpListener};
use std::time::{Duration, SystemTime};

use super::tunnel::Tunnel;
use crate::authority::Authority;
use crate::emulator::faults::{Endpoint, Fault};
use crate::emulator::log::Presented;
use crate::emulator::{CREATE_FOR_SERVICE_ACCOUNT, Config, Emulator, Tls};
use crate::expect::{handed, one_token, refused, refused_with_hint, warned};
use crate::harness::files::set_mode;
use crate::harness::machine::{in_own_network, strace};
use crate::harness::waiting::{HeldLock, PATIENCE};
use crate::harness::{Sandbox, skip};
use crate::server::{Response, Server, Stage};
use crate::world::World;

// ---------------------------------------------------------------------------------------------------- status codes

#[test]
fn a_4xx_other_than_429_is_never_asked_again() {
    for (status, code, name) in [
        (400, 1, "INVALID_ARGUMENT"),
        (401, 1, "UNAUTHENTICATED"),
        (403, 1, "PERMISSION_DENIED"),
        (404, 1, "NOT_FOUND"),
        (408, 4, ""),
        (409, 1, ""),
    ] {
        let world = World::new();
        world.emulator.fault(Fault::refuse(status).message("in the clouds own words"));
        let words = [&format!("{status}"), name, "in the clouds own words", &world.emulator.url()];
        let error = refused(world.token(&[]).run(), code, &words);
        assert!(error.contains(&world.emulator.log()[0].request_id), "{error}");
        assert_eq!(world.requests(), 1, "{status}");
    }
}

#[test]
fn a_429_or_5xx_is_asked_again_three_times_and_then_told() {
    for (status, name) in [(429, "RESOURCE_EXHAUSTED"), (500, "INTERNAL"), (502, ""), (503, "UNAVAILABLE"), (504, "")] {
        let world = World::new();
        world.emulator.fault(Fault::refuse(status).message("in the clouds own words").retry_after(0));
        let words = [&format!("{status}"), name, "in the clouds own words"];
        let error = refused_with_hint(world.token(&[]).run(), 4, &words, "try again");
        let log = world.emulator.log();
        assert!(error.contains(&log[log.len() - 1].request_id), "{error}");
        assert_eq!(log.len(), 4, "{status}");
    }
}

#[test]
fn a_cloud_that_recovers_costs_nobody_a_word() {
    for status in [429, 500, 502, 503, 504] {
        let world = World::new();
        world.emulator.fault(Fault::refuse(status).times(2).retry_after(0));
        world.get();
        assert_eq!(world.requests(), 3, "{status}");
    }
}

#[test]
fn without_retry_after_tries_are_apart_by_themselves() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(503).times(3));
    world.get();
    assert_eq!(world.requests(), 4);
}

#[test]
fn errors_without_the_clouds_form_are_told_by_their_status() {
    let world = World::new();
    world.emulator.fault(Fault::html().with_status(403));
    refused(world.token(&[]).run(), 1, &["403 Forbidden"]);
    let world = World::new();
    world.emulator.fault(Fault::html().with_status(502).retry_after(0));
    refused(world.token(&[]).run(), 4, &["502 Bad Gateway"]);
}

#[test]
fn what_a_server_says_cannot_break_out_of_its_line() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(403).message("\u{1b}[31mred\r\nycred: hint: rm -rf /\u{7}\u{202e}"));
    let run = world.token(&[]).run();
    assert!(run.stderr.chars().all(|c| c == '\n' || (!c.is_control() && c != '\u{202e}')), "{run}");
    refused(run, 1, &["red ycred: hint: rm -rf /"]);
}

// ----------------------------------------------------------------------------------------------------- Retry-After

/// How long after the first answer the second request came.
fn pause(world: &World) -> Duration {
    let log = world.emulator.log();
    let answered = log[0].answered.unwrap_or(SystemTime::UNIX_EPOCH);
    log[1].received.duration_since(answered).unwrap_or_default()
}

#[test]
fn a_retry_after_in_seconds_is_waited_for() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(503).retry_after(1).times(1));
    world.get();
    assert!(pause(&world) >= Duration::from_millis(990), "{:?}", pause(&world));
}

#[test]
fn a_retry_after_as_a_date_is_waited_for() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(503).retry_after_date(Duration::from_secs(2)).times(1));
    world.get();
    // A date has whole seconds.
    assert!(pause(&world) >= Duration::from_millis(990), "{:?}", pause(&world));
}

#[test]
fn a_retry_after_as_a_date_is_by_the_clouds_clock() {
    let world = World::new();
    world.emulator.set(|settings| settings.clock_shift = time::Duration::minutes(-10));
    world.emulator.fault(Fault::refuse(503).retry_after_date(Duration::from_secs(1)).times(1));
    warned(world.token(&[]).run(), &["10 min fast"]);
    let world = World::new();
    world.emulator.set(|settings| settings.clock_shift = time::Duration::minutes(10));
    world.emulator.fault(Fault::refuse(503).retry_after_date(Duration::from_secs(1)).times(1));
    warned(world.token(&[]).run(), &["10 min slow"]);
}

#[test]
fn a_retry_after_beyond_the_deadline_fails_at_once() {
    for late in [Fault::refuse(503).retry_after(30), Fault::refuse(429).retry_after_date(Duration::from_secs(30))] {
        let world = World::new();
        world.emulator.fault(late);
        // Well below the 20 seconds that it has: the limit is on waiting, not on speed.
        refused(world.token(&[]).limit(Duration::from_secs(15)).run(), 4, &[]);
        assert_eq!(world.requests(), 1);
    }
}

#[test]
fn a_retry_after_that_makes_no_sense_is_as_none() {
    let world = World::new();
    for (number, text) in ["soon", "-5", "1.5", "99999999999999999999999", ""].into_iter().enumerate() {
        world.emulator.fault(Fault::refuse(503).retry_after(text).times(1));
        handed(world.token(&["--force-refresh"]).run());
        assert_eq!(world.requests(), 2 * (number + 1), "{text:?}");
    }
    world.emulator.fault(Fault::refuse(503).retry_after(u64::MAX));
    refused(world.token(&["--force-refresh"]).run(), 4, &["503"]);
}

// ------------------------------------------------------------------------------------------------------ broken wires

#[test]
fn a_connection_that_breaks_at_any_stage_is_tried_again() {
    for stage in [Stage::BeforeAnswer, Stage::MidHeaders, Stage::MidBody, Stage::Reset] {
        let world = World::new();
        world.emulator.fault(Fault::broken(stage).times(1));
        world.get();
        assert_eq!(world.requests(), 2, "{stage:?}");
    }
}

#[test]
fn a_connection_that_always_breaks_is_tried_four_times_and_then_told() {
    for stage in [Stage::BeforeAnswer, Stage::MidHeaders, Stage::MidBody, Stage::Reset] {
        let world = World::new();
        world.emulator.fault(Fault::broken(stage));
        refused(world.token(&[]).run(), 4, &[&world.emulator.url()]);
        assert_eq!(world.requests(), 4, "{stage:?}");
    }
}

#[test]
fn a_page_for_people_in_place_of_a_token_is_told_as_such() {
    let world = World::new();
    world.emulator.fault(Fault::html());
    refused_with_hint(world.token(&[]).run(), 4, &["200", "text/html", "not with a token"], "captive portal");
    assert_eq!(world.requests(), 1);
}

#[test]
fn an_empty_answer_is_told_as_such() {
    let world = World::new();
    world.emulator.fault(Fault::body(""));
    refused(world.token(&[]).run(), 4, &["an empty body"]);
}

#[test]
fn json_of_another_shape_is_no_token() {
    for body in ["{}", "[]", "null", "{\"iamToken\": 1}", "{\"iamToken\": \"t1.x.y\"", "42"] {
        let world = World::new();
        world.emulator.fault(Fault::body(body));
        refused(world.token(&[]).run(), 4, &["not with a token"]);
    }
}

#[test]
fn an_endless_answer_is_cut_off() {
    let world = World::new();
    world.emulator.fault(Fault::endless());
    refused(world.token(&[]).run(), 4, &["larger than 65536 bytes"]);
    // Nor is it read into memory first: 64 MiB of address space hold the program and no more.
    let words = ["-c", "ulimit -v 65536 && exec \"$@\"", "sh", crate::harness::YCRED, "token", "--force-refresh"];
    refused(world.sandbox.call("sh", words).run(), 4, &["larger than 65536 bytes"]);
    let world = World::new();
    world.emulator.fault(Fault::body(format!("{{\"iamToken\":\"t1.x.y\",\"pad\":\"{}\"}}", "x".repeat(65_536))));
    refused(world.token(&[]).run(), 4, &["larger than 65536 bytes"]);
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_dripping_answer_ends_with_the_deadline() {
    let world = World::new();
    world.configure("timeout = \"3s\"");
    world.emulator.fault(Fault::dripping(1, Duration::from_millis(500)));
    refused_with_hint(world.token(&[]).limit(PATIENCE).run(), 4, &["no answer within"], "--timeout");
    assert!((1..=4).contains(&world.requests()), "{} requests", world.requests());
}

#[test]
fn a_slow_answer_within_the_time_is_waited_for() {
    let world = World::new();
    world.emulator.fault(Fault::dripping(200, Duration::from_millis(50)));
    world.get();
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_cloud_that_does_not_answer_ends_with_the_deadline() {
    let world = World::new();
    world.emulator.fault(Fault::held());
    refused(world.token(&["--timeout", "2s"]).limit(PATIENCE).run(), 4, &["no answer within"]);
    assert!((1..=4).contains(&world.requests()), "{} requests", world.requests());
}

// ------------------------------------------------------------------------------------------------------- redirects

#[test]
fn no_redirect_carries_credentials() {
    let elsewhere = Server::start(None, |_| Response::json(200, "{\"iamToken\":\"t1.stolen.x\"}"));
    for status in [301, 302, 303, 307, 308] {
        let world = World::new();
        let account = world.emulator.new_service_account();
        world.configure(&format!("impersonate = \"{account}\""));
        for endpoint in [Endpoint::Tokens, Endpoint::CreateForServiceAccount] {
            let to = format!("{}/x", elsewhere.url());
            world.emulator.clear_faults();
            world.emulator.fault(Fault::refuse(status).on(endpoint).header("Location", &to));
            refused(world.token(&["--force-refresh"]).run(), 4, &["redirected", &to, &status.to_string()]);
        }
        assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (2, 1));
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn plain_http_is_for_this_machine_alone() {
    let world = World::new();
    for url in
        ["http://iam.example.test", "http://10.0.0.1:8080", "ftp://127.0.0.1", "iam.example.test", "http://u@127.0.0.1"]
    {
        world.sandbox.profile("default", &world.settings().replace(&world.emulator.url(), url));
        refused(world.token(&[]).run(), 3, &["default.toml:3", "iam-url"]);
    }
    let port = world.emulator.address().port();
    world
        .sandbox
        .profile("default", &world.settings().replace(&world.emulator.url(), &format!("http://localhost:{port}")));
    world.get();
}

// --------------------------------------------------------------------------------------------------------- proxies

/// A cloud behind a proxy: its name is known to the proxy alone.
fn behind_a_proxy() -> (World, String) {
    let names = vec!["iam.test.example".to_owned()];
    let world = World::bare(Config { names, ..Config::with_tls(Tls::Good) });
    let port = world.emulator.address().port();
    let url = format!("https://iam.test.example:{port}");
    world.emulator.write_ca(world.sandbox.path("config/ca.pem")).expect("a certificate");
    let settings = world.settings().replace(&world.emulator.url(), &url);
    world.sandbox.profile("default", &format!("{settings}ca-file = \"ca.pem\"\ntimeout = \"10s\"\n"));
    (world, format!("CONNECT iam.test.example:{port}"))
}

#[test]
fn a_proxy_is_asked_to_connect_and_sees_neither_jwt_nor_token() {
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let (world, connect) = behind_a_proxy();
        let tunnel = Tunnel::to(&world.emulator);
        handed(world.token(&[]).env(name, tunnel.url()).run());
        assert_eq!(tunnel.targets(), [connect], "{name}");
        assert_eq!(tunnel.requests()[0].header("proxy-authorization"), None);
        assert_eq!(world.requests(), 1);
    }
}

#[test]
fn https_proxy_comes_before_all_proxy_and_lower_case_before_upper() {
    let (world, connect) = behind_a_proxy();
    let (good, other) = (Tunnel::to(&world.emulator), Tunnel::to(&world.emulator));
    let names = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    for first in 0..names.len() {
        let call = names.iter().enumerate().skip(first).fold(world.token(&["--force-refresh"]), |call, (at, name)| {
            call.env(name, if at == first { good.url() } else { other.url() })
        });
        handed(call.run());
    }
    assert_eq!(good.targets(), vec![connect; names.len()]);
    assert_eq!(other.targets(), Vec::<String>::new());
}

#[test]
fn the_user_and_password_of_a_proxy_are_sent_to_it_and_shown_to_nobody() {
    let (world, _) = behind_a_proxy();
    let tunnel = Tunnel::to(&world.emulator);
    let proxy = tunnel.url().replace("http://", "http://us%40er:hunter22%21hunter@");
    let run = world.token(&["-v"]).env("HTTPS_PROXY", &proxy).run().exits(0).never_says("hunter22");
    one_token(&run);
    let expected = basic("us@er", "hunter22!hunter");
    assert_eq!(tunnel.requests()[0].header("proxy-authorization"), Some(expected.as_str()));
    let broken = Tunnel::answering(|_| Response::new(502));
    let proxy = broken.url().replace("http://", "http://user:hunter22hunter@");
    let call = world.token(&["--force-refresh"]).env("HTTPS_PROXY", &proxy);
    let run = call.run().never_says("hunter22");
    refused(run, 4, &["the proxy"]);
}

fn basic(name: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}")))
}

#[test]
fn a_proxy_that_wants_a_password_is_explained() {
    let (world, _) = behind_a_proxy();
    let proxy = Tunnel::answering(|_| Response::new(407).header("Proxy-Authenticate", "Basic realm=\"corp\""));
    let host = proxy.url().replace("http://", "");
    let run = world.token(&[]).env("HTTPS_PROXY", proxy.url()).run();
    refused_with_hint(run, 3, &[&host, "407", "password"], "HTTPS_PROXY");
    assert_eq!(proxy.requests().len(), 1);
    assert_eq!(world.emulator.server().connections(), 0);
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let (world, _) = behind_a_proxy();
    let run = world.token(&[]).env("HTTPS_PROXY", "http://127.0.0.1:1").run();
    refused_with_hint(run, 4, &["the proxy 127.0.0.1:1"], "HTTPS_PROXY");
}

#[test]
fn a_proxy_variable_that_holds_no_url_is_an_error_that_does_not_show_it() {
    let (world, _) = behind_a_proxy();
    for name in ["HTTPS_PROXY", "all_proxy"] {
        for value in ["http://user:hunter22hunter@", "http://", "://x"] {
            let run = world.token(&["--force-refresh"]).env(name, value).run().never_says("hunter22");
            refused_with_hint(run, 3, &[name], name);
        }
    }
}

#[test]
fn loopback_is_never_proxied() {
    let mut world = World::new();
    let dead = "http://127.0.0.1:1";
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        world.sandbox.set(name, dead);
    }
    world.get();
    let world = tls_story(Tls::Good);
    handed(world.token(&[]).env("HTTPS_PROXY", dead).run());
}

/// A cloud at an address that is not loopback, in a network of its own.
fn at_an_address(world: impl FnOnce(&Emulator, &Sandbox) + Send) {
    in_own_network(&["10.9.8.7/32"], || {
        let address = "10.9.8.7:0".parse().expect("an address");
        let names = vec!["10.9.8.7".to_owned()];
        let emulator = Emulator::start(Config { address, names, ..Config::with_tls(Tls::Good) });
        let sandbox = Sandbox::new();
        let key = emulator.new_service_account_key();
        key.write(sandbox.path("config/key.json")).expect("a key file");
        emulator.write_ca(sandbox.path("config/ca.pem")).expect("a certificate");
        let settings = "source = \"authorized-key\"\nkey-file = \"key.json\"\nca-file = \"ca.pem\"\n";
        sandbox.profile("default", &format!("{settings}iam-url = \"{}\"\n", emulator.url()));
        world(&emulator, &sandbox);
    });
}

/// A SOCKS5 proxy (RFC 1928, without authentication) for one connection after another, which connects to one address.
fn socks5(to: std::net::SocketAddr) -> (std::net::SocketAddr, std::sync::mpsc::Receiver<Vec<u8>>) {
    use std::io::{Read as _, Write as _};
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, asked) = std::sync::mpsc::channel();
    // It ends with the test's process; the test makes one connection.
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept()?;
        let mut greeting = [0; 2];
        client.read_exact(&mut greeting)?;
        client.read_exact(&mut vec![0; usize::from(greeting[1])])?;
        client.write_all(&[5, 0])?;
        let mut request = [0; 4];
        client.read_exact(&mut request)?;
        // An IPv4 address, or a name with its length in front (RFC 1928, 5); then the port.
        let mut length = [4; 1];
        if request[3] == 3 {
            client.read_exact(&mut length)?;
        }
        let mut rest = vec![0; usize::from(length[0]) + 2];
        client.read_exact(&mut rest)?;
        let _ = tell.send([request.to_vec(), rest].concat());
        let mut server = std::net::TcpStream::connect(to)?;
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
        std::io::copy(&mut server, &mut client)
    });
    (address, asked)
}

#[test]
fn a_socks_proxy_is_spoken_to_as_curl_does() {
    at_an_address(|emulator, sandbox| {
        for variable in ["ALL_PROXY", "https_proxy"] {
            let (proxy, asked) = socks5(emulator.address());
            let call = sandbox.ycred(["token", "--no-cache"]).env(variable, format!("socks5://{proxy}"));
            handed(call.run());
            let request = asked.recv_timeout(PATIENCE).expect("the proxy was asked");
            assert_eq!(request[..4], [5, 1, 0, 1], "CONNECT to an IPv4 address");
            assert_eq!(request[4..8], [10, 9, 8, 7]);
        }
    });
}

#[test]
fn a_socks5h_proxy_is_given_the_name_and_resolves_it_itself() {
    let names = vec!["iam.nowhere.example".to_owned()];
    let world = World::bare(Config { names, ..Config::with_tls(Tls::Good) });
    world.emulator.write_ca(world.sandbox.path("config/ca.pem")).expect("a certificate");
    let url = format!("https://iam.nowhere.example:{}", world.emulator.address().port());
    let settings = "source = \"authorized-key\"\nkey-file = \"key.json\"\nca-file = \"ca.pem\"\n";
    world.sandbox.profile("default", &format!("{settings}iam-url = \"{url}\"\n"));
    let (proxy, asked) = socks5(world.emulator.address());
    handed(world.token(&["--no-cache"]).env("HTTPS_PROXY", format!("socks5h://{proxy}")).run());
    let request = asked.recv_timeout(PATIENCE).expect("the proxy was asked");
    assert_eq!(request[..4], [5, 1, 0, 3], "CONNECT to a name");
    assert!(request[4..].starts_with(b"iam.nowhere.example"));
}

#[test]
fn a_proxy_of_a_kind_that_is_not_spoken_is_an_error_and_nothing_goes_past_it() {
    at_an_address(|emulator, sandbox| {
        for kind in ["ftp", "quic"] {
            let call = sandbox.ycred(["token", "--no-cache", "--timeout", "5s"]);
            let run = call.env("HTTPS_PROXY", format!("{kind}://127.0.0.1:1")).limit(PATIENCE).run();
            refused(run.fails().stdout_is(""), 3, &["HTTPS_PROXY"]);
        }
        assert_eq!(emulator.server().connections(), 0);
    });
}

#[test]
fn no_proxy_is_obeyed_for_names_subdomains_and_blocks() {
    at_an_address(|emulator, sandbox| {
        let tunnel = Tunnel::to(emulator);
        let call = |no_proxy: &str| {
            let call = sandbox.ycred(["token", "--no-cache"]).env("HTTPS_PROXY", tunnel.url());
            handed(call.env("NO_PROXY", no_proxy).run());
            tunnel.requests().len()
        };
        assert_eq!(call("example.com, 11.0.0.0/8"), 1, "through the proxy");
        for direct in ["10.9.8.7", "10.0.0.0/8", "example.com 10.9.8.0/24", "*"] {
            assert_eq!(call(direct), 1, "{direct}: directly");
        }
        assert_eq!(emulator.calls(), 5);
    });
}

#[test]
fn a_name_that_no_proxy_exempts_is_not_told_to_the_proxy() {
    let (world, connect) = behind_a_proxy();
    let tunnel = Tunnel::to(&world.emulator);
    for exempt in ["iam.test.example", "test.example", ".test.example", "*.example", "x,\ttest.example"] {
        let call = world.token(&["--timeout", "3s", "--force-refresh"]).env("HTTPS_PROXY", tunnel.url());
        // The name means nothing to this machine, so the way there ends; not at the proxy, which is all that matters.
        call.env("no_proxy", exempt).limit(PATIENCE).run().exits(4).stdout_is("");
        assert_eq!(tunnel.targets(), Vec::<String>::new(), "{exempt}");
    }
    let call = world.token(&["--force-refresh"]).env("HTTPS_PROXY", tunnel.url());
    handed(call.env("NO_PROXY", "m.test.example,est.example").run());
    assert_eq!(tunnel.targets(), [connect]);
}

// ------------------------------------------------------------------------------------------------- ways and no ways

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
fn a_name_that_does_not_resolve_is_told_as_such() {
    in_own_network(&[], || {
        let world = World::new();
        world
            .sandbox
            .profile("default", &world.settings().replace(&world.emulator.url(), "https://iam.no-such-name.invalid"));
        refused_with_hint(
            world.token(&[]).run(),
            4,
            &["https://iam.no-such-name.invalid", "cannot be resolved"],
            "HTTPS_PROXY",
        );
    });
}

#[test]
fn a_name_server_that_does_not_answer_ends_with_the_deadline() {
    in_own_network(&["10.9.8.53/32"], || {
        let silent = std::net::UdpSocket::bind("10.9.8.53:53").expect("port 53 of one's own");
        let world = World::new();
        let url = "https://iam.no-such-name.invalid";
        world.sandbox.profile("default", &world.settings().replace(&world.emulator.url(), url));
        // The C library would wait for half a minute.
        let resolver = world.sandbox.file("tmp/resolv.conf", "nameserver 10.9.8.53\noptions timeout:30 attempts:1\n");
        let script = "mount --bind \"$0\" /etc/resolv.conf || exit 99\nexec \"$@\"";
        let before = ["-m", "sh", "-c", script].map(std::ffi::OsString::from).into_iter();
        let words = [resolver.into(), crate::harness::YCRED.into(), "token".into(), "--timeout".into(), "3s".into()];
        let run = world.sandbox.call("unshare", before.chain(words)).limit(Duration::from_secs(25)).run();
        if run.status.code() == Some(99) {
            return skip("this user may not mount");
        }
        refused(run, 4, &[url, "no answer within"]);
        silent.set_nonblocking(true).expect("a socket");
        assert!(silent.recv_from(&mut [0; 512]).is_ok(), "it was asked");
    });
}

#[test]
fn a_port_where_nothing_listens_is_told_as_such() {
    let world = World::new();
    let gone = Server::start(None, |_| Response::new(404)).url();
    world.sandbox.profile("default", &world.settings().replace(&world.emulator.url(), &gone));
    refused_with_hint(world.token(&[]).run(), 4, &[&gone, "nothing listens there"], "check the network");
}

// ------------------------------------------------------------------------------------------------------------- TLS

fn tls_story(tls: Tls) -> World {
    let world = World::with(Config::with_tls(tls));
    world.emulator.write_ca(world.sandbox.path("config/ca.pem")).expect("a certificate");
    world.configure("ca-file = \"ca.pem\"");
    world
}

#[test]
fn a_ca_file_is_trusted_besides_the_usual_roots() {
    let world = tls_story(Tls::Good);
    world.get();
    // The usual roots are still there: one that a variable names, and a ca-file of somebody else.
    let world = World::with(Config::with_tls(Tls::Good));
    let ca = world.sandbox.file("tmp/ca.pem", world.emulator.ca_pem());
    world.sandbox.file("config/other.pem", Authority::new().pem());
    world.configure("ca-file = \"other.pem\"");
    handed(world.token(&[]).env("SSL_CERT_FILE", ca).run());
}

#[test]
fn a_certificate_that_cannot_be_trusted_is_named_for_what_it_is_and_gets_no_credential() {
    for (tls, words, hint) in [
        (Tls::Expired, "has expired", "clock"),
        (Tls::Early, "not valid yet", "clock"),
        (Tls::WrongName, "for another name than 127.0.0.1", "URL"),
        (Tls::SelfSigned, "signed by an authority that is not among", "ca-file"),
    ] {
        let world = tls_story(tls);
        refused_with_hint(world.token(&[]).run(), 3, &[&world.emulator.url(), words], hint);
        assert_eq!(world.emulator.calls(), 0, "{tls:?}");
        assert_eq!(world.emulator.server().connections(), 1, "{tls:?}: trust is not a matter of trying again");
    }
}

#[test]
fn an_unknown_authority_is_told_with_the_setting_that_would_name_it() {
    let world = World::with(Config::with_tls(Tls::Good));
    refused_with_hint(world.token(&[]).run(), 3, &["signed by an authority", "this machine's roots"], "ca-file");
    // With the wrong ca-file, that file is named.
    let other = world.sandbox.file("config/other.pem", Authority::new().pem());
    world.configure("ca-file = \"other.pem\"");
    refused(world.token(&[]).run(), 3, &["signed by an authority", &other.to_string_lossy()]);
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_ca_file_that_is_none_is_named() {
    let world = World::with(Config::with_tls(Tls::Good));
    world.configure("ca-file = \"ca.pem\"");
    refused(world.token(&[]).run(), 3, &["config/ca.pem", "no such file"]);
    let ca = world.sandbox.file("config/ca.pem", "no certificate");
    refused(world.token(&["--force-refresh"]).run(), 3, &["config/ca.pem", "no certificate in it"]);
    world.sandbox.file("config/ca.pem", world.emulator.ca_pem());
    set_mode(&ca, 0o666);
    let run = world.token(&["--force-refresh"]).run();
    refused_with_hint(run, 3, &["config/ca.pem", "anyone may write it"], "chmod o-w");
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn what_is_no_tls_is_told_as_such() {
    let world = World::new();
    let url = world.emulator.url().replace("http://", "https://");
    world.sandbox.profile("default", &world.settings().replace(&world.emulator.url(), &url));
    refused(world.token(&[]).run(), 4, &[&url]);
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn the_user_agent_and_the_body_are_what_the_cloud_documents() {
    let world = tls_story(Tls::Good);
    world.get();
    let entry = world.emulator.log()[0].clone();
    assert!(matches!(entry.presented, Presented::Jwt { .. }), "{entry:?}");
    assert_eq!((entry.method.as_str(), entry.status), ("POST", Some(200)));
}

// ------------------------------------------------------------------------------------------------------------- hits

#[test]
fn a_hit_makes_no_network_call_takes_no_lock_and_opens_no_key() {
    let Some(strace) = strace() else { return };
    let world = World::new();
    let token = world.get();
    let _held = HeldLock::of(&world.lock_file());
    let trace = world.sandbox.path("tmp/trace");
    let words = [
        "-f",
        "-qq",
        "-s",
        "4096",
        "-e",
        "trace=network,flock,openat,open,rename,renameat,renameat2,unlink,mkdir,write",
        "-o",
    ];
    let words = words.map(std::ffi::OsString::from).into_iter();
    let rest = [trace.clone().into(), crate::harness::YCRED.into(), "token".into()];
    let run = world.sandbox.call(strace, words.chain(rest)).run().exits(0).quietly();
    assert_eq!(one_token(&run), token);
    let calls = fs::read_to_string(&trace).expect("a trace");
    // Its memory is closed to a tracer that is not root, who sees no file's name; so the opened files are counted as well.
    assert!(calls.contains("write(1, "), "the trace is one: {calls}");
    assert_eq!(calls.matches("O_NONBLOCK").count(), 2, "the profile and the record\n{calls}");
    for forbidden in ["socket(", "connect(", "flock(", "key.json", "rename", "mkdir(", "unlink(", "O_CREAT", ".lock"] {
        assert!(!calls.contains(forbidden), "{forbidden} in\n{calls}");
    }
    assert_eq!(calls.matches("write(").count(), 1, "one write in all\n{calls}");
}
