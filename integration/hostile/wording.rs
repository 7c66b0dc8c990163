//! What users read when TLS, HTTP, TOML, JSON, PEM or the start of a program fails: a sentence of ycred, and never the debug
//! form of a library's error.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::files::set_mode;
use crate::harness::waiting::wait_until;
use crate::harness::{Call, Run, Running, require_client};
use crate::server::{Delivery, Response, Server, Stage};
use crate::world::World;

/// Checks one failure: a code other than 0 and 5, one error, at most one hint, and the words of a user. Returns the error.
#[track_caller]
fn reads_well(what: &str, run: &Run) -> String {
    assert!(run.status.code().is_some_and(|code| code != 0 && code != 5), "{what}\n{run}");
    let lines: Vec<&str> = run.stderr.lines().collect();
    let error = lines.first().and_then(|line| line.strip_prefix("ycred: error: ")).unwrap_or_default();
    assert!(!error.is_empty() && lines.len() <= 2, "{what}\n{run}");
    assert!(lines.get(1).is_none_or(|line| line.starts_with("ycred: hint: ")), "{what}\n{run}");
    for form in [
        "Other(",
        "Some(",
        "Ok(",
        "Err(",
        "Os {",
        "(global)",
        "(os error",
        "Error {",
        "kind:",
        "::",
        "None",
        "rustls",
        "serde",
        "ureq",
        "webpki",
        "toml_",
    ] {
        assert!(!run.stderr.contains(form), "{what}: {form}\n{run}");
    }
    // The names of types are words such as `UnknownIssuer`.
    let is_type = |word: &&str| {
        let capitals = word.char_indices().filter(|(_, c)| c.is_ascii_uppercase()).count();
        let has_hump =
            word.as_bytes().windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
        capitals >= 2
            && has_hump
            && ![
                "OAuth",
                "GitHub",
                "OpenSSL",
                "subjectAltName",
                "basicConstraints",
                "ExecCredential",
                "CredentialProviderRequest",
            ]
            .contains(word)
    };
    let text = run.stderr.replace(['/', '=', ':', '"', '`', '(', ')', ','], " ");
    // The paths of a sandbox have random names.
    let words = text.split_whitespace().filter(|word| !word.starts_with("ycred-"));
    assert_eq!(words.filter(|word| word.bytes().all(|b| b.is_ascii_alphabetic())).find(is_type), None, "{what}\n{run}");
    assert!(error.split_whitespace().count() >= 4, "{what}: too short to help\n{run}");
    error.to_owned()
}

/// Checks that different faults have different messages.
fn all_differ(errors: &[(String, String)]) {
    let different: BTreeSet<&String> = errors.iter().map(|(_, error)| error).collect();
    assert_eq!(different.len(), errors.len(), "two faults have one message: {errors:#?}");
}

/// Starts `openssl s_server`, and returns it with its port.
fn openssl(world: &World, more: &[&str]) -> Option<(Running, u16)> {
    let openssl = require_client("openssl")?;
    let (key, certificate) = (world.sandbox.path("config/server.key"), world.sandbox.path("config/server.pem"));
    if !key.exists() {
        let request = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "9000",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1,DNS:localhost",
            "-keyout",
        ];
        let call =
            world.sandbox.call(&openssl, request).and([key.as_os_str(), "-out".as_ref(), certificate.as_os_str()]);
        call.run().succeeds();
    }
    let call = world.sandbox.call(&openssl, ["s_server", "-www", "-accept", "127.0.0.1:0", "-key"]);
    let call = call.and([key.as_os_str(), "-cert".as_ref(), certificate.as_os_str()]).and(more).stdin("");
    let running = call.start();
    let port = |running: &Running| {
        let text = running.stdout();
        text.lines().find_map(|line| line.strip_prefix("ACCEPT ")?.rsplit_once(':')?.1.trim().parse::<u16>().ok())
    };
    wait_until("openssl listens", || port(&running).is_some());
    let port = port(&running)?;
    Some((running, port))
}

#[test]
fn errors_of_tls_are_sentences() {
    let authority = Authority::new();
    let world = World::new();
    authority.write(world.sandbox.path("config/ca.pem")).expect("a certificate");
    let ask = |url: &str, ca: &str| {
        let toml = format!(
            "source = \"authorized-key\"\nkey-file = \"key.json\"\niam-url = \"{url}\"\nca-file = \"{ca}\"\ntimeout = \"4s\"\n"
        );
        world.sandbox.profile("default", &toml);
        world.token(&["--no-cache"]).run()
    };
    let mut errors = Vec::new();
    let never = |_: &crate::server::Request| Response::text(200, "not reached");
    for (what, config) in [
        ("expired", authority.expired_config(&[])),
        ("not yet valid", authority.early_config(&[])),
        ("wrong name", authority.foreign_config(&["elsewhere.example"])),
        ("unknown issuer", Authority::new().server_config(&[])),
    ] {
        let server = Server::start(Some(config), never);
        errors.push((what.to_owned(), ask(&server.url(), "ca.pem")));
    }
    let plain = Server::start(None, never);
    errors.push(("garbage".into(), ask(&plain.url().replace("http://", "https://"), "ca.pem")));
    for (what, more) in [
        ("CA as server certificate", &[][..]),
        ("no common version", &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]),
        ("no common cipher", &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"]),
        ("client certificate wanted", &["-Verify", "1", "-tls1_2"]),
        ("client certificate wanted, TLS 1.3", &["-Verify", "1", "-tls1_3"]),
    ] {
        let Some((server, port)) = openssl(&world, more) else { return };
        errors.push((what.to_owned(), ask(&format!("https://127.0.0.1:{port}"), "server.pem")));
        drop(server);
    }
    for (what, run) in &errors {
        let error = reads_well(what, run);
        println!("{what}: {error}");
    }
    assert!(errors.len() >= 9);
    let said = |what: &str, part: &str| {
        let (_, run) = errors.iter().find(|(name, _)| name == what).expect("tried");
        assert!(run.stderr.contains(part), "{what}\n{run}");
    };
    said("CA as server certificate", "CA:TRUE");
    said("no common version", "TLS 1.2");
    said("unknown issuer", "ca-file");
    said("garbage", "is not valid TLS");
}

/// Makes a response.
type Answer = fn() -> Response;

/// Starts a server that sends these bytes to every client, and returns its port. Its thread ends with the last of `count`.
fn raw(reply: &'static [u8], count: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(count) {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.set_read_timeout(Some(std::time::Duration::from_secs(2)));
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(reply);
        }
    });
    port
}

#[test]
fn errors_of_http_are_sentences() {
    let world = World::new();
    let mut seen = Vec::new();
    let mut ask = |what: &str, url: &str| {
        let toml =
            format!("source = \"authorized-key\"\nkey-file = \"key.json\"\niam-url = \"{url}\"\ntimeout = \"2s\"\n");
        world.sandbox.profile("default", &toml);
        let run = world.token(&["--no-cache"]).run();
        seen.push((what.to_owned(), reads_well(what, &run).replace(url, "URL")));
    };
    let answers: &[(&str, Answer)] = &[
        ("400", || Response::text(400, "")),
        ("401", || Response::json(401, json!({"code": 16, "message": "The key is gone"}).to_string())),
        ("403", || Response::text(403, "")),
        ("404", || Response::typed(404, "text/html", "<html>not here</html>")),
        ("429", || Response::text(429, "").header("Retry-After", "60")),
        ("500", || Response::text(500, "")),
        ("502", || Response::typed(502, "text/html", "<html>Some(gateway)</html>")),
        ("redirect", || Response::new(302).header("Location", "https://portal.example/")),
        ("a page", || Response::typed(200, "text/html", "<html>sign in</html>")),
        ("nothing", || Response::text(200, "")),
        ("another type", || Response::json(200, "{\"iamToken\":7}")),
        ("a list", || Response::json(200, "[1,2]")),
        ("a bad token", || Response::json(200, "{\"iamToken\":\"a b\"}")),
        ("a broken body", || {
            Response::json(200, "{\"iamToken\":\"t1.aaaaaaaaaaaaaaaaaa.b\"}").delivered(Delivery::Break(Stage::MidBody))
        }),
        ("a long body", || Response::text(200, "x".repeat(100_000))),
    ];
    for (what, answer) in answers {
        let server = Server::start(None, move |_| answer());
        ask(what, &server.url());
    }
    for (what, reply) in [
        ("no HTTP", &b"SSH-2.0-OpenSSH_9.2\r\n"[..]),
        ("a closed connection", b""),
        ("half a header", b"HTTP/1.1 200 OK\r\nContent-"),
        ("a bad status", b"HTTP/1.1 abc OK\r\n\r\n"),
        ("a bad chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    ] {
        ask(what, &format!("http://127.0.0.1:{}", raw(reply, 8)));
    }
    ask("nobody listens", "http://127.0.0.1:1");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    ask("no answer", &format!("http://127.0.0.1:{}", silent.local_addr().expect("an address").port()));
    assert!(seen.len() >= 12);
    for (what, error) in &seen {
        println!("{what}: {error}");
    }
}

#[test]
fn errors_of_toml_are_sentences() {
    let world = World::new();
    let mut seen = Vec::new();
    for toml in [
        "source",
        "source = ",
        "source = authorized-key",
        "source = \"authorized-key",
        "source = 'x' key-file = 'y'",
        "= 1",
        "[table",
        "source = \"a\"\nsource = \"b\"",
        "source = \"\\q\"",
        "hosts = [\"a\" \"b\"]",
        "source = 7",
        "source = [\"metadata\"]",
        "source = \"authorized-key\"\ntimeout = 20",
        "source = \"authorized-key\"\nhosts = [1]",
        "a.b = 1",
        "[source]\nx = 1",
        "source = 2026-13-45",
        "source = 1__0",
        "\u{7f}",
        "source = \"authorized-key\"\nkey-file = { path = \"x\" }",
        "nonsense = 1",
    ] {
        world.sandbox.profile("default", toml);
        let run = world.token(&[]).run().exits(3);
        let error = reads_well(toml, &run);
        assert!(error.contains("default.toml:"), "{toml}\n{run}");
        println!("{toml:?}: {error}");
        seen.push(error);
    }
    assert!(seen.len() >= 10);
}

#[test]
fn errors_of_json_are_sentences() {
    let world = World::new();
    for content in [
        "",
        "{",
        "[]",
        "\"text\"",
        "7",
        "null",
        "{\"id\": 7}",
        "{\"id\": \"a\", \"id\": \"b\"}",
        "{\"id\": \"a\"} x",
        "{'id': 'a'}",
        "{\"private_key\": [1]}",
        "\u{feff}",
        "{\"key\": 1}",
    ] {
        world.sandbox.file("config/key.json", content);
        let error = reads_well(content, &world.token(&[]).run().exits(3));
        println!("{content:?}: {error}");
    }
    let requests = [
        "",
        "{",
        "[]",
        "{\"uri\": 7}",
        "{\"uri\": \"a\", \"uri\": \"b\"}",
        "{\"uri\":\"https://cr.yandex\"} x",
        "null",
        "\u{0}",
    ];
    for request in requests {
        reads_well(request, &world.ycred(&["bazel", "get"]).stdin(request).run());
        reads_well(request, &world.ycred(&["kubelet"]).stdin(request).run());
        reads_well(request, &world.ycred(&["docker", "store"]).stdin(request).run());
        if !request.contains('\0') && !request.is_empty() {
            reads_well(request, &world.ycred(&["kubectl"]).env("KUBERNETES_EXEC_INFO", request).run());
        }
    }
}

#[test]
fn errors_of_pem_are_sentences() {
    let world = World::new();
    let path = world.sandbox.path("config/key.json");
    let key: Value = serde_json::from_str(&fs::read_to_string(path).expect("the key")).expect("JSON");
    let pem = key["private_key"].as_str().expect("PEM");
    let body = pem.lines().find(|line| line.len() == 64).expect("base64");
    let mut errors = Vec::new();
    for (what, text) in [
        ("no block", "hunter22".to_owned()),
        ("no end", pem.replace("-----END PRIVATE KEY-----", "")),
        ("cut off", pem.replacen(&format!("{body}\n"), "", 1)),
        ("not base64", pem.replacen(body, "!!!", 1)),
        ("another object", pem.replace("PRIVATE", "PUBLIC")),
        (
            "another algorithm",
            pem.replace("BEGIN PRIVATE", "BEGIN EC PRIVATE").replace("END PRIVATE", "END EC PRIVATE"),
        ),
        (
            "encrypted",
            pem.replace("BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE").replace("END PRIVATE", "END ENCRYPTED PRIVATE"),
        ),
        ("empty block", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n".to_owned()),
    ] {
        let mut file = key.clone();
        file["private_key"] = json!(text);
        world.sandbox.file("config/key.json", file.to_string());
        let error = reads_well(what, &world.token(&[]).run().exits(3));
        println!("{what}: {error}");
        errors.push((what.to_owned(), error));
    }
    assert!(errors.len() >= 7);
    let world = World::with(Config::with_tls(crate::emulator::Tls::Good));
    let good = world.emulator.ca_pem();
    world.configure("ca-file = \"ca.pem\"");
    let mut errors = Vec::new();
    for (what, text) in [
        ("no certificate", "hello".to_owned()),
        ("no end", good.replace("-----END CERTIFICATE-----", "")),
        ("cut off", good.lines().filter(|line| line.len() != 64).collect::<Vec<_>>().join("\n")),
        ("OpenSSL's own", good.replace("CERTIFICATE", "TRUSTED CERTIFICATE")),
        ("the second is broken", format!("{good}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
    ] {
        world.sandbox.file("config/ca.pem", text);
        errors.push((what.to_owned(), reads_well(what, &world.token(&["--no-cache"]).run().exits(3))));
    }
    world.sandbox.file("config/ca.pem", b"\x30\x82\x01\x00".as_slice());
    errors.push(("DER".into(), reads_well("DER", &world.token(&["--no-cache"]).run().exits(3))));
    println!("{errors:#?}");
    // How people and secret stores write it.
    for (what, text) in [
        ("CRLF", good.replace('\n', "\r\n")),
        ("no last line break", good.trim_end().to_owned()),
        ("touching blocks", format!("{}{}", Authority::new().pem().trim_end(), good.trim_end())),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("indented", good.replace('\n', "\n    ")),
        ("one line", good.replace('\n', "\\n")),
        ("comments", format!("subject=/CN=x\n{good}\nissuer=y")),
        ("another label", good.replace("CERTIFICATE", "X509 CERTIFICATE")),
    ] {
        world.sandbox.file("config/ca.pem", &text);
        let run = world.token(&["--no-cache"]).run();
        assert!(run.status.success(), "{what}\n{run}");
    }
}

#[test]
fn errors_of_starting_a_program_name_the_actual_cause() {
    let world = World::new();
    let path = |name: &str| world.sandbox.path(format!("work/{name}")).to_string_lossy().into_owned();
    world.sandbox.script("work/no-interpreter", "#!/nonexistent/interpreter -x\n");
    world.sandbox.script("work/crlf", "#!/bin/sh\r\necho t1.x\r\n");
    world.sandbox.script("work/not-executable", "#!/bin/sh\n");
    set_mode(&world.sandbox.path("work/not-executable"), 0o644);
    world.sandbox.script("work/bad-interpreter", &format!("#!{}\n", path("not-executable")));
    let long = format!("{}=x", "y".repeat(200_000));
    let cases: Vec<(&str, Vec<String>, &str, i32)> = vec![
        ("missing", vec![path("missing")], "program not found", 127),
        ("not in PATH", vec!["no-such-program".into()], "program not found", 127),
        ("interpreter", vec![path("no-interpreter")], "its interpreter /nonexistent/interpreter does not exist", 126),
        ("CRLF", vec![path("crlf")], "has Windows line ends", 126),
        ("directory", vec![path("")], "it is a directory", 126),
        ("mode", vec![path("not-executable")], "it is not executable", 126),
        ("interpreter's mode", vec![path("bad-interpreter")], "permission denied", 126),
        ("too long", vec!["true".into(), long], "too long", 126),
    ];
    let mut errors = Vec::new();
    for (what, command, expected, code) in &cases {
        // A program with such arguments cannot be started by this test either.
        if *what != "too long" {
            let run = world.sandbox.ycred(["exec", "--"]).and(command).run().exits(*code);
            assert!(run.stderr.contains(expected), "{what}\n{run}");
            reads_well(what, &run);
        }
        world.sandbox.profile("command", &format!("source = \"command\"\ncommand = {}\n", json!(command)));
        let run = world.ycred(&["token", "-p", "command"]).run().exits(3);
        assert!(run.stderr.contains(expected), "{what}\n{run}");
        errors.push(((*what).to_owned(), reads_well(what, &run)));
    }
    all_differ(&errors);
}

/// Returns the call under this limit of bash's `ulimit`.
fn limited(world: &World, limit: &str, arguments: &[&str]) -> Call {
    let script = format!("ulimit {limit}; exec \"$@\"");
    world.sandbox.call("bash", ["-c", &script, "bash", crate::harness::YCRED].iter().chain(arguments))
}

#[test]
fn a_limit_of_the_system_is_temporary_and_named() {
    if require_client("bash").is_none() {
        return;
    }
    let world = World::new();
    world.sandbox.profile("command", "source = \"command\"\ncommand = [\"true\"]\n");
    // Three standard streams, and no room for the pipes of the command.
    let run = limited(&world, "-n 5", &["token", "-p", "command", "--no-cache"]).run().exits(4);
    assert!(reads_well("files", &run).contains("too many files are open"), "{run}");
    // At some limit there is no room for the profile, at others for the key or for a directory of profiles.
    for command in ["token", "refresh", "list"] {
        let mut is_named = false;
        for limit in 4..10 {
            let cache = world.sandbox.path(format!("caches/{command}-{limit}"));
            let run = limited(&world, &format!("-n {limit}"), &[command]).env("YCRED_CACHE_DIR", cache).run();
            assert!(matches!(run.status.code(), Some(0 | 4)), "{limit}\n{run}");
            // `list` prints the reason below its table.
            is_named |= [&run.stdout, &run.stderr].iter().any(|text| text.contains("too many files are open"));
        }
        assert!(is_named, "{command}");
    }
}
