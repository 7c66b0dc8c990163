//! HTTP and SOCKS proxies.

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ycred::base::clock::Deadline;
use ycred::base::diagnostics::Diagnostics;
use ycred::base::environment::Environment;
use ycred::base::secret::Secret;
use ycred::cloud::http::retry::RetryPolicy;
use ycred::cloud::http::{BeforeWrite, Http, HttpRequest, ProofHeader};
use ycred::system::clock::clock;

use crate::emulator::faults::Fault;
use crate::emulator::{Config, Emulator, Tls};
use crate::expect::{fails_with, fails_with_hint, prints_token, token_on_stdout};
use crate::harness::machine::in_own_network;
use crate::harness::waiting::WAIT_LIMIT;
use crate::harness::{Call, Sandbox};
use crate::server::Response;
use crate::stories::tunnel::Tunnel;
use crate::world::World;

/// A cloud behind a proxy, and the CONNECT request for it. Only the proxy can resolve the cloud's name.
fn behind_a_proxy() -> (World, String) {
    let names = vec!["iam.test.example".to_owned()];
    let world = World::without_profile(Config { names, ..Config::with_tls(Tls::Good) });
    let port = world.emulator.address().port();
    let url = format!("https://iam.test.example:{port}");
    world.emulator.write_ca(world.sandbox.path("config/ca.pem")).expect("a certificate");
    let settings = world.settings().replace(&world.emulator.url(), &url);
    world.sandbox.profile("default", &format!("{settings}ca-file = \"ca.pem\"\ntimeout = \"10s\"\n"));
    (world, format!("CONNECT iam.test.example:{port}"))
}

#[test]
fn a_proxy_gets_a_connect_request_and_sees_neither_jwt_nor_token() {
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let (world, connect) = behind_a_proxy();
        let tunnel = Tunnel::to(&world.emulator);
        prints_token(world.token(&[]).env(name, tunnel.url()).run());
        assert_eq!(tunnel.targets(), [connect], "{name}");
        assert_eq!(tunnel.requests()[0].header("proxy-authorization"), None);
        assert_eq!(world.requests(), 1);
    }
}

#[test]
fn https_proxy_overrides_all_proxy_and_lower_case_overrides_upper_case() {
    let (world, connect) = behind_a_proxy();
    let (good, other) = (Tunnel::to(&world.emulator), Tunnel::to(&world.emulator));
    let names = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    for first in 0..names.len() {
        let call = names.iter().enumerate().skip(first).fold(world.token(&["--force-refresh"]), |call, (at, name)| {
            call.env(name, if at == first { good.url() } else { other.url() })
        });
        prints_token(call.run());
    }
    assert_eq!(good.targets(), vec![connect; names.len()]);
    assert_eq!(other.targets(), Vec::<String>::new());
}

#[test]
fn a_proxys_user_and_password_are_sent_to_it_and_never_printed() {
    let (world, _) = behind_a_proxy();
    let tunnel = Tunnel::to(&world.emulator);
    let proxy = tunnel.url().replace("http://", "http://us%40er:hunter22%21hunter@");
    let run = world.token(&["-v"]).env("HTTPS_PROXY", &proxy).run().exits(0).never_prints("hunter22");
    token_on_stdout(&run);
    let expected = basic("us@er", "hunter22!hunter");
    assert_eq!(tunnel.requests()[0].header("proxy-authorization"), Some(expected.as_str()));
    let broken = Tunnel::responding(|_| Response::new(502));
    let proxy = broken.url().replace("http://", "http://user:hunter22hunter@");
    let call = world.token(&["--force-refresh"]).env("HTTPS_PROXY", &proxy);
    let run = call.run().never_prints("hunter22");
    fails_with(run, 4, &["the proxy"]);
}

fn basic(name: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}")))
}

#[test]
fn a_proxy_that_requires_a_password_is_explained() {
    let (world, _) = behind_a_proxy();
    let proxy = Tunnel::responding(|_| Response::new(407).header("Proxy-Authenticate", "Basic realm=\"corp\""));
    let host = proxy.url().replace("http://", "");
    for name in VARIABLES {
        let run = world.token(&["--force-refresh"]).env(name, proxy.url()).run();
        // The hint must stay readable, although messages mask what looks like a user and a password in a URL.
        let hint = format!("in {name}, put user and password in front of the host");
        assert!(run.stderr.contains("USER:PASSWORD@HOST:PORT"), "{run}");
        fails_with_hint(run, 3, &[&host, "407", "password"], &hint);
    }
    assert_eq!(proxy.requests().len(), VARIABLES.len());
    assert_eq!(world.emulator.server().connections(), 0);
    // What the hint says can be done.
    let tunnel = Tunnel::to(&world.emulator);
    let with_password = tunnel.url().replace("http://", "http://user:hunter22%21hunter@");
    let call = |url: &str| world.token(&["--force-refresh"]).env("https_proxy", url);
    prints_token(call(&with_password).run());
    prints_token(call(with_password.strip_prefix("http://").expect("a URL")).run());
}

#[test]
fn an_unreachable_proxy_is_named() {
    let (world, _) = behind_a_proxy();
    let run = world.token(&[]).env("HTTPS_PROXY", "http://127.0.0.1:1").run();
    fails_with_hint(run, 4, &["the proxy 127.0.0.1:1"], "HTTPS_PROXY");
}

/// A renewal of a login stores then that it sends its refresh token. A proxy that has not connected cannot have used it.
#[test]
fn what_must_happen_before_a_request_is_sent_happens_after_the_proxy_has_connected() {
    let (world, _) = behind_a_proxy();
    let url = format!("https://iam.test.example:{}/no-such-path", world.emulator.address().port());
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("http://{}", silent.local_addr().expect("an address"));
    let responding = |status| Tunnel::responding(move |_| Response::new(status));
    let (tunnel, refusing) = (Tunnel::to(&world.emulator), [403, 407, 502].map(responding));
    let proxies = [&silent].into_iter().cloned().chain(refusing.iter().map(Tunnel::url));
    for (proxy, is_connected) in [(tunnel.url(), true)].into_iter().chain(proxies.map(|url| (url, false))) {
        let environment = Environment::new([("HTTPS_PROXY".into(), (&proxy).into())]);
        let http = Http::new(&environment, Some(&world.sandbox.path("config/ca.pem")));
        let count = Arc::new(AtomicUsize::new(0));
        let before: BeforeWrite = Arc::new({
            let count = Arc::clone(&count);
            move || {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        });
        let (headers, make, unused) = ([], || Ok(Secret::new("proof".to_owned())), || ());
        let (is_one_time, connect) = (true, Duration::from_secs(1));
        let body = Secret::new("{}".to_owned());
        let body = Some(("application/json", &body));
        let request = HttpRequest { url: &url, headers: &headers, body, connect, direct: false, is_one_time };
        let proof = ProofHeader { header: "dpop", make: &make, before: Some(&before), unused: &unused };
        let diagnostics = Diagnostics::new(false, &|_| (), None);
        let policy = RetryPolicy {
            clock: clock(),
            deadline: Deadline::after(clock(), Duration::from_secs(60)),
            attempts: 1,
            attempt_time: None,
            diagnostics: &diagnostics,
        };
        let error = http.send_with_proof(&request, Some(proof), |_| None, &policy).err().expect("no such path");
        assert_eq!(
            (count.load(Ordering::Relaxed), error.is_unsent),
            (usize::from(is_connected), !is_connected),
            "{proxy}"
        );
    }
    assert_eq!(world.emulator.server().connections(), 1);
}

/// The variables that can name a proxy.
const VARIABLES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// Returns the words of the hint that name a proxy variable.
fn variables_in(run: &crate::harness::Run) -> Vec<String> {
    let hints = run.lines_of_stderr("ycred: hint: ").join("\n");
    let words = hints.split(|c: char| !c.is_ascii_alphabetic() && c != '_');
    words.filter(|word| word.to_ascii_lowercase().ends_with("_proxy")).map(str::to_owned).collect()
}

#[test]
fn a_hint_names_the_proxy_variable_that_is_in_play() {
    let (world, _) = behind_a_proxy();
    let rejecting = Tunnel::responding(|_| Response::new(403));
    let page = Tunnel::responding(|_| Response::new(407));
    for name in VARIABLES {
        for (proxy, more) in [
            ("http://127.0.0.1:1", None),
            ("http://no-such-proxy.invalid:3128", None),
            ("socks5://127.0.0.1:1", None),
            ("socks5://no-such-proxy.invalid:1080", None),
            (&*rejecting.url(), Some("NO_PROXY")),
            (&*page.url(), None),
        ] {
            let run = world.token(&["--force-refresh", "--timeout", "3s"]).env(name, proxy).run().fails();
            let expected: Vec<&str> = [name].into_iter().chain(more).collect();
            assert_eq!(variables_in(&run), expected, "{proxy}\n{run}");
        }
    }
    // The proxy is not asked for the name, so `HTTPS_PROXY` is set already.
    let run = world.token(&["--force-refresh"]).env("HTTPS_PROXY", "socks5://127.0.0.1:1").run();
    fails_with_hint(run, 4, &["the host name cannot be resolved"], "write socks5h:// in HTTPS_PROXY");
}

/// With `socks5`, this machine resolves the server and the proxy, so that either name can be the unknown one.
#[test]
fn a_proxy_whose_name_is_unknown_is_corrected_in_its_variable() {
    let (world, _) = behind_a_proxy();
    // An address, so that only the proxy has a name.
    let settings = world.settings().replace(&world.emulator.url(), "https://192.0.2.1");
    world.sandbox.profile("default", &settings);
    for name in VARIABLES {
        for scheme in ["http", "https", "socks4", "socks4a", "socks5", "socks5h"] {
            let proxy = format!("{scheme}://no-such-proxy.invalid:3128");
            let run = world.token(&["--force-refresh", "--timeout", "3s"]).env(name, &proxy).run();
            let expected = ["the name of the proxy no-such-proxy.invalid:3128 cannot be resolved"];
            fails_with_hint(run, 4, &expected, &format!("correct the proxy in {name}, or check the network"));
        }
    }
}

#[test]
fn no_hint_names_a_proxy_for_a_host_that_none_serves() {
    let (world, _) = behind_a_proxy();
    let exempt = world.token(&[]).env("HTTPS_PROXY", "http://127.0.0.1:1").env("no_proxy", "test.example");
    let run = exempt.run();
    assert!(run.stderr.contains("; no_proxy lists the host, so the proxy in HTTPS_PROXY is not used"), "{run}");
    fails_with(run, 4, &["the host name cannot be resolved"]);
    // This machine, over http and https, by name and address: nothing listens, no TLS, a page, a proxy's status.
    let world = World::new();
    let port = world.emulator.address().port();
    for (scheme, host) in [("http", "127.0.0.1"), ("http", "localhost"), ("https", "127.0.0.1"), ("https", "localhost")]
    {
        for (port, fault) in [(1, Fault::html()), (port, Fault::html()), (port, Fault::html().with_status(407))] {
            world.emulator.clear_faults();
            world.emulator.fault(fault);
            let url = format!("{scheme}://{host}:{port}");
            world.sandbox.profile("default", &world.settings().replace(&world.emulator.url(), &url));
            for name in VARIABLES {
                let call = world.token(&["--force-refresh", "--timeout", "3s"]).env(name, "http://127.0.0.1:1");
                let run = call.run().fails();
                assert_eq!(variables_in(&run), Vec::<String>::new(), "{url}\n{run}");
                assert!(!run.stderr.contains("proxy 127") && !run.stderr.contains("the proxy"), "{url}\n{run}");
            }
        }
    }
    // Without a variable, one may be missing.
    let (world, _) = behind_a_proxy();
    let run = world.token(&[]).run();
    assert_eq!(variables_in(&run), ["HTTPS_PROXY"], "{run}");
}

#[test]
fn a_proxy_variable_without_a_valid_url_is_an_error_that_hides_its_value() {
    let (world, _) = behind_a_proxy();
    for name in ["HTTPS_PROXY", "all_proxy"] {
        for value in ["http://user:hunter22hunter@", "http://", "://x"] {
            let run = world.token(&["--force-refresh"]).env(name, value).run().never_prints("hunter22");
            fails_with_hint(run, 3, &[name], name);
        }
    }
}

#[test]
fn loopback_is_never_proxied() {
    let mut world = World::new();
    let unreachable = "http://127.0.0.1:1";
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        world.sandbox.set(name, unreachable);
    }
    world.get();
    let world = World::with_tls(Tls::Good);
    prints_token(world.token(&[]).env("HTTPS_PROXY", unreachable).run());
}

/// Runs a test with a cloud at a non-loopback address in a separate network namespace.
fn at_a_non_loopback_address(test: impl FnOnce(&Emulator, &Sandbox) + Send) {
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
        test(&emulator, &sandbox);
    });
}

/// Starts a SOCKS5 proxy (RFC 1928, without authentication) for one connection, which always leads to this address.
///
/// Returns the proxy's address and a channel that receives the client's request.
fn start_socks5_proxy(to: std::net::SocketAddr) -> (std::net::SocketAddr, std::sync::mpsc::Receiver<Vec<u8>>) {
    use std::io::{Read as _, Write as _};
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, requests) = std::sync::mpsc::channel();
    // The thread ends with the connection, or with the process.
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept()?;
        let mut greeting = [0; 2];
        client.read_exact(&mut greeting)?;
        client.read_exact(&mut vec![0; usize::from(greeting[1])])?;
        client.write_all(&[5, 0])?;
        let mut request = [0; 4];
        client.read_exact(&mut request)?;
        // An IPv4 address or a length-prefixed name, then the port (RFC 1928, section 5).
        let mut length = [4; 1];
        if request[3] == 3 {
            client.read_exact(&mut length)?;
        }
        let mut rest = vec![0; usize::from(length[0]) + 2];
        client.read_exact(&mut rest)?;
        let _ = sender.send([request.to_vec(), rest].concat());
        let mut server = std::net::TcpStream::connect(to)?;
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
        std::io::copy(&mut server, &mut client)
    });
    (address, requests)
}

#[test]
fn a_socks5_proxy_gets_the_resolved_address_as_from_curl() {
    at_a_non_loopback_address(|emulator, sandbox| {
        for variable in ["ALL_PROXY", "https_proxy"] {
            let (proxy, requests) = start_socks5_proxy(emulator.address());
            let call = sandbox.ycred(["token", "--no-cache"]).env(variable, format!("socks5://{proxy}"));
            prints_token(call.run());
            let request = requests.recv_timeout(WAIT_LIMIT).expect("a request to the proxy");
            assert_eq!(request[..4], [5, 1, 0, 1], "CONNECT to an IPv4 address");
            assert_eq!(request[4..8], [10, 9, 8, 7]);
        }
    });
}

#[test]
fn a_socks5h_proxy_gets_the_name_to_resolve() {
    let names = vec!["iam.nowhere.example".to_owned()];
    let world = World::without_profile(Config { names, ..Config::with_tls(Tls::Good) });
    world.emulator.write_ca(world.sandbox.path("config/ca.pem")).expect("a certificate");
    let url = format!("https://iam.nowhere.example:{}", world.emulator.address().port());
    let settings = "source = \"authorized-key\"\nkey-file = \"key.json\"\nca-file = \"ca.pem\"\n";
    world.sandbox.profile("default", &format!("{settings}iam-url = \"{url}\"\n"));
    let (proxy, requests) = start_socks5_proxy(world.emulator.address());
    prints_token(world.token(&["--no-cache"]).env("HTTPS_PROXY", format!("socks5h://{proxy}")).run());
    let request = requests.recv_timeout(WAIT_LIMIT).expect("a request to the proxy");
    assert_eq!(request[..4], [5, 1, 0, 3], "CONNECT to a name");
    assert!(request[4..].starts_with(b"iam.nowhere.example"));
}

#[test]
fn an_unsupported_proxy_scheme_is_an_error_and_is_not_bypassed() {
    at_a_non_loopback_address(|emulator, sandbox| {
        for kind in ["ftp", "quic"] {
            let call = sandbox.ycred(["token", "--no-cache", "--timeout", "5s"]);
            let run = call.env("HTTPS_PROXY", format!("{kind}://127.0.0.1:1")).limit(WAIT_LIMIT).run();
            fails_with(run.fails().stdout_is(""), 3, &["HTTPS_PROXY"]);
        }
        assert_eq!(emulator.server().connections(), 0);
    });
}

#[test]
fn no_proxy_is_obeyed_for_addresses_blocks_and_wildcards() {
    at_a_non_loopback_address(|emulator, sandbox| {
        let tunnel = Tunnel::to(emulator);
        let call = |no_proxy: &str| {
            let call = sandbox.ycred(["token", "--no-cache"]).env("HTTPS_PROXY", tunnel.url());
            prints_token(call.env("NO_PROXY", no_proxy).run());
            tunnel.requests().len()
        };
        assert_eq!(call("example.com, 11.0.0.0/8"), 1, "expected a request through the proxy");
        for direct in ["10.9.8.7", "10.0.0.0/8", "example.com 10.9.8.0/24", "*"] {
            assert_eq!(call(direct), 1, "{direct}: expected a direct connection");
        }
        assert_eq!(emulator.calls(), 5);
    });
}

#[test]
fn a_name_exempted_by_no_proxy_is_not_sent_to_the_proxy() {
    let (world, connect) = behind_a_proxy();
    let tunnel = Tunnel::to(&world.emulator);
    for exempt in ["iam.test.example", "test.example", ".test.example", "*.example", "x,\ttest.example"] {
        let call = world.token(&["--timeout", "3s", "--force-refresh"]).env("HTTPS_PROXY", tunnel.url());
        // This machine cannot resolve the name, so the run fails. The proxy must not get a request.
        call.env("no_proxy", exempt).limit(WAIT_LIMIT).run().exits(4).stdout_is("");
        assert_eq!(tunnel.targets(), Vec::<String>::new(), "{exempt}");
    }
    let call = world.token(&["--force-refresh"]).env("HTTPS_PROXY", tunnel.url());
    prints_token(call.env("NO_PROXY", "m.test.example,est.example").run());
    assert_eq!(tunnel.targets(), [connect]);
}

#[test]
fn a_proxy_that_accepts_and_never_answers_is_named_with_its_variable() {
    let (world, _) = behind_a_proxy();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let proxy = format!("http://{}", listener.local_addr().expect("an address"));
    let call = world.token(&["--timeout", "2s"]).env("HTTPS_PROXY", &proxy).limit(WAIT_LIMIT);
    fails_with_hint(call.run(), 4, &["within", "through the proxy 127.0.0.1:"], "check the proxy in HTTPS_PROXY");
}

#[test]
fn a_proxy_that_refuses_the_connection_is_what_nothing_listens_at() {
    let (world, _) = behind_a_proxy();
    let call = world.token(&["--timeout", "2s"]).env("HTTPS_PROXY", "http://127.0.0.1:1");
    let error = "nothing listens at the proxy 127.0.0.1:1 (connection refused)";
    fails_with_hint(call.run(), 4, &[error], "check the proxy in HTTPS_PROXY");
}

#[test]
fn a_url_of_the_profile_that_cannot_be_reached_is_named_with_its_line() {
    let world = World::new();
    let settings = world.settings().replace(&world.emulator.url(), "http://127.0.0.1:1");
    world.sandbox.profile("default", &settings);
    let line = 1 + settings.lines().position(|line| line.starts_with("iam-url")).expect("a URL");
    let place =
        format!("the URL is `iam-url` in profile {}:{line}", world.sandbox.path("config/default.toml").display());
    fails_with_hint(world.token(&["--timeout", "2s"]).run(), 4, &["nothing listens there"], &place);
    world.ycred(&["status"]).run().stdout_has(&place);
    // Something else than the cloud answers there.
    let world = World::new();
    for (status, fault) in [(404, Fault::html()), (405, Fault::body("")), (501, Fault::html()), (502, Fault::html())] {
        world.emulator.clear_faults();
        world.emulator.fault(fault.with_status(status).retry_after(0));
        let place = format!("`iam-url` in profile {}:", world.sandbox.path("config/default.toml").display());
        let run = world.token(&["--force-refresh"]).run().exits(4);
        assert!(run.stderr.contains(&place), "{status}\n{run}");
        assert_eq!(run.stderr.contains("overloaded"), status == 502, "{status}\n{run}");
    }
    // IAM has nothing below a path.
    for path in ["/v2", "/iam/v1/tokens"] {
        let world = World::new();
        let url = world.emulator.url();
        world.sandbox.profile("default", &world.settings().replace(&url, &format!("{url}{path}")));
        let place =
            format!("check the path of `iam-url` in profile {}:", world.sandbox.path("config/default.toml").display());
        fails_with_hint(world.token(&[]).run(), 1, &["404: NOT_FOUND"], &place);
        fails_with_hint(world.token(&[]).run(), 1, &["404: NOT_FOUND", "(remembered"], &place);
        world.ycred(&["status"]).run().stdout_has(&place);
    }
    // An answer of the cloud has nothing to do with the URL.
    let world = World::new();
    world.emulator.fault(Fault::refuse(403));
    let run = world.token(&[]).run().fails();
    assert!(!run.stderr.contains("the URL is"), "{run}");
}

#[test]
fn a_name_that_cannot_be_resolved_is_to_be_corrected_only_where_it_is_set() {
    in_own_network(&[], || {
        let world = World::new();
        let hint_with = |old: &str, new: &str, variables: &[(&str, &str)]| {
            let settings = world.settings();
            let line = settings.lines().find(|line| line.starts_with(old)).expect("the line").to_owned();
            world.sandbox.profile("default", &settings.replace(&line, new));
            let call = world.token(&["--timeout", "3s"]);
            let run = variables.iter().fold(call, |call, (name, value)| call.env(name, value)).run();
            let run = run.exits(4);
            assert!(run.stderr.contains("cannot be resolved"), "{run}");
            run.stderr.lines().find_map(|line| line.strip_prefix("ycred: hint: ")).expect("a hint").to_owned()
        };
        let network = "check the network and the VPN; behind a proxy, set HTTPS_PROXY";
        assert_eq!(hint_with("iam-url", "", &[]), network, "nobody has spelled the default");
        let place = |key: &str| {
            let file = world.sandbox.path("config/default.toml");
            format!("{network}; if the name is wrong, correct `{key}` in profile {}:3", file.display())
        };
        let default = ", whose default is https://iam.api.cloud.yandex.net";
        assert_eq!(hint_with("iam-url", "iam-url = \"https://iam.example\"", &[]), place("iam-url") + default);
        assert_eq!(hint_with("iam-url", "endpoint = \"api.example\"", &[]), place("endpoint"));
        // With the one URL set, the other has probably been forgotten.
        let workload = "source = \"workload\"\nservice-account-id = \"aje1\"\nsubject-token-file = \"token\"\n";
        world.sandbox.profile("default", &format!("{workload}iam-url = \"https://iam.example\"\n"));
        world.sandbox.file("config/token", "a.b.c");
        let run = world.token(&["--timeout", "3s"]).run();
        fails_with_hint(
            run,
            4,
            &["https://auth.yandex.cloud/"],
            "the URL is the default, because `auth-url` is not set",
        );
        let variables = [
            ("YCRED_SERVICE_ACCOUNT_ID", "aje1".to_owned()),
            ("YCRED_SUBJECT_TOKEN_FILE", world.sandbox.path("config/token").display().to_string()),
            ("YC_ENDPOINT", "api.example".to_owned()),
            ("YCRED_CONFIG_DIR", world.sandbox.path("work").display().to_string()),
        ];
        let call = |more: Option<(&str, String)>| {
            let call = world.token(&["--timeout", "3s"]);
            variables.iter().cloned().chain(more).fold(call, |call, (name, value)| call.env(name, value)).run()
        };
        fails_with_hint(call(None), 4, &["https://auth."], "because YCRED_AUTH_URL is not set");
        let set = call(Some(("YCRED_AUTH_URL", "https://auth.example".to_owned())));
        fails_with_hint(set, 4, &["https://auth.example/"], "if the name is wrong, correct YCRED_AUTH_URL");
    });
}

#[test]
fn the_verdict_of_status_is_that_of_a_hook_under_each_value_of_the_proxy_variable() {
    let world = World::new();
    // The proxies of this profile are ports of loopback on which nothing listens.
    world.profile("far", "");
    let text = world.sandbox.path("config/far.toml");
    let far = fs::read_to_string(&text).expect("a profile").replace(&world.emulator.url(), "https://iam.example");
    world.sandbox.profile("far", &far);
    let with = |proxy: &'static str| {
        move |call: Call| match proxy {
            "" => call,
            _ => call.env("HTTPS_PROXY", proxy),
        }
    };
    let proxies = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
    for proxy in proxies {
        with(proxy)(world.token(&["-p", "far"])).run().exits(4);
    }
    // Each of them has a failure of its own, also when the other one's is newer.
    for (proxy, other) in [(proxies[0], "127.0.0.1:2"), (proxies[1], "127.0.0.1:1")] {
        let run = with(proxy)(world.ycred(&["status", "far"])).run().exits(4);
        let address = proxy.trim_start_matches("http://");
        let run = run.stdout_has(&format!("nothing listens at the proxy {address}"));
        assert!(!run.stdout.contains(other) && !run.stdout.contains("\naccount"), "{run}");
    }
    // For a third value, it is only mentioned.
    let run = with("http://127.0.0.1:3")(world.ycred(&["status", "far"])).run().exits(0);
    run.stdout_has("the next call fetches one").stdout_has("with other proxy or certificate variables");
    // A value that no request can use fails every call.
    let missing = world.sandbox.path("tmp/missing.pem").display().to_string();
    let no_such_file = format!("SSL_CERT_FILE: {missing}: no such file");
    for (name, value, what) in [
        ("HTTPS_PROXY", "http://127.0.0.1:99999", "HTTPS_PROXY: not a proxy URL"),
        ("SSL_CERT_FILE", &missing, &no_such_file),
    ] {
        let run = world.ycred(&["status", "far"]).env(name, value).run().exits(3);
        run.stdout_has("problem   ").stdout_has(what).stdout_has("\nfix ");
        let run = world.ycred(&["explain", "far"]).env(name, value).run().exits(3);
        run.stdout_has(&format!("the next call fails: {what}"));
        world.token(&["-p", "far"]).env(name, value).run().exits(3);
        // A server on this machine is asked directly.
        world.ycred(&["status", "default"]).env(name, value).run().exits(0);
    }
    // A valid token needs no request.
    world.get();
    world.ycred(&["status"]).env("HTTPS_PROXY", "http://127.0.0.1:99999").run().exits(0);
}
