//! The child's environment, and the endpoints that it names.

use super::served::{ServedChild, WAITING, request};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use crate::emulator::METADATA;
use crate::emulator::access_keys::EPHEMERAL_ACCESS_KEYS;
use crate::expect::fails_with_hint;
use crate::harness::machine::strace;
use crate::harness::{YCRED, require_client, skip};
use crate::world::World;

#[test]
fn the_environment_changes_exactly_as_documented() {
    let mut world = World::new();
    for name in [
        "YC_TOKEN",
        "YC_IAM_TOKEN",
        "YC_OAUTH_TOKEN",
        "YC_SERVICE_ACCOUNT_KEY_FILE",
        "YCRED_EXPIRES_AT",
        "YCRED_TOKEN_ID",
    ] {
        world.sandbox.set(name, "stale");
    }
    let aws_variables = [
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
    for name in aws_variables {
        world.sandbox.set(name, "stale");
    }
    world.sandbox.set("AWS_PROFILE", "mine").set("AWS_REGION", "ru-central1");
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/hooks/exec.md")).expect("the page");
    for name in aws_variables {
        assert!(page.contains(&format!("`{name}`")), "the page does not mention {name}");
    }
    let served = ServedChild::start(&world, &[]);
    let port = served.port();
    let names = |served: &ServedChild<'_>| -> Vec<String> {
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
    served.end().exits(0).stderr_is_empty();
    assert!(
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(),
        "the port must be closed once the child has ended"
    );

    let served = ServedChild::start(&world, &["--with-token"]);
    assert_ne!(served.password(), password);
    let token = served.token();
    for name in ["YC_TOKEN", "YC_IAM_TOKEN"] {
        assert_eq!(served.variable(name), Some(token.as_str()), "{name}");
    }
    assert!(served.variable("YCRED_EXPIRES_AT").is_some_and(|time| time.ends_with('Z')));
    served.end().exits(0).stderr_is_empty();

    // With a proxy configured, loopback is exempted from it.
    world.sandbox.set("http_proxy", "http://127.0.0.1:1").set("NO_PROXY", "a.example");
    let served = ServedChild::start(&world, &[]);
    assert_eq!(served.variable("NO_PROXY"), Some("a.example,127.0.0.1"));
    assert_eq!(served.variable("no_proxy"), None);
    served.end().exits(0).stderr_is_empty();
    world.sandbox.unset("NO_PROXY");
    let served = ServedChild::start(&world, &[]);
    assert_eq!((served.variable("NO_PROXY"), served.variable("no_proxy")), (Some("127.0.0.1"), Some("127.0.0.1")));
    served.end().exits(0).stderr_is_empty();
    assert_eq!(world.requests(), 1);
}

#[test]
fn only_valid_requests_get_credentials() {
    let world = World::new();
    let served = ServedChild::start(&world, &[]);
    let (port, token) = (served.port(), served.token());
    let google = "Metadata-Flavor: Google";
    let authorization = format!("Authorization: {}", served.password());
    let requests: &[(&str, &str, &[&str], u16)] = &[
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
        ("GET", "/credentials", &[&authorization], 200),
        ("GET", "/credentials", &[], 401),
        ("GET", "/credentials", &[google], 401),
        ("GET", "/credentials", &["Authorization: Bearer"], 403),
        ("GET", "/credentials", &[&authorization[..authorization.len() - 1]], 403),
        ("GET", "/credentials", &[&format!("{authorization}x")], 403),
        ("GET", "/credentials", &[&authorization, "X-Forwarded-For: 10.0.0.1"], 403),
        ("GET", "/credentials", &[&authorization, "Host: evil.example"], 403),
        ("GET", "/credentials/", &[&authorization], 404),
    ];
    for (method, path, headers, status) in requests {
        let response = request(port, method, path, headers);
        assert_eq!(response.status, *status, "{method} {path} {headers:?}: {}", response.body);
        assert!(*status == 200 || !response.body.contains(&token), "{}", response.body);
    }
    // A client that uses IPv4 through an IPv6 socket, as Java does.
    let mapped = (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port);
    let mut connection = TcpStream::connect(mapped).expect("connects");
    write!(connection, "GET {METADATA} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{google}\r\n\r\n").expect("sent");
    let mut reply = String::new();
    connection.read_to_string(&mut reply).expect("a response");
    assert!(reply.starts_with("HTTP/1.1 200 ") && reply.contains(&token), "{reply}");
    let key = served.key();
    let keys = world.emulator.access_keys();
    assert_eq!(keys.len(), 1);
    assert_eq!(
        (&key["AccessKeyId"], &key["SecretAccessKey"]),
        (&keys[0].id.as_str().into(), &keys[0].secret.as_str().into())
    );
    assert_eq!(key["Token"], keys[0].session_token.as_str());
    assert_eq!(key.as_object().map(|members| members.len()), Some(4));
    served.end().exits(0).stderr_is_empty();
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
    let served = ServedChild::start(&world, &[]);
    let url = format!("http://127.0.0.1:{}{METADATA}", served.port());
    let curl = curl.to_str().expect("UTF-8");
    let arguments = ["-s", "-w", " %{http_code}", "-H", "Metadata-Flavor: Google", url.as_str()];
    let same = world.sandbox.call(curl, arguments).run().exits(0);
    assert!(same.stdout.contains(&served.token()) && same.stdout.ends_with(" 200"), "{same}");
    let other = ["--reuid=65534", "--regid=65534", "--clear-groups", curl];
    let run = world.sandbox.call(setpriv, [&other[..], &arguments].concat()).within("/").run().exits(0);
    assert!(run.stdout.ends_with(" 403"), "{run}");
    run.never_prints(&served.token());
    served.end().exits(0).stderr_is_empty();
}

#[test]
fn if_users_cannot_be_identified_there_is_one_warning_and_no_metadata_endpoint() {
    let (Some(unshare), Some(strace)) = (require_client("unshare"), strace()) else { return };
    let world = World::new();
    // Neither the kernel's answer about one socket nor its table of all sockets is available.
    let script = "mount -t tmpfs tmpfs /proc || exit 99; exec \"$@\"";
    let trace = world.sandbox.path("tmp/trace");
    // Without -f, only ycred itself is traced.
    let head = ["-qq", "-e", "trace=write", "-e", "inject=write:error=EPERM:when=1", "-o"];
    let command = ["unshare", "-m", "sh", "-c", script, "sh", YCRED, "exec", "--serve", "sh", "-c", WAITING];
    if world.sandbox.call(&unshare, ["-m", "true"]).run().status.code() != Some(0) {
        return skip("this user may not make a mount namespace");
    }
    // The token is cached, so that the question about the socket is the first thing that ycred writes.
    world.get();
    let served = ServedChild::start_call(&world, world.sandbox.call(strace, head).and([&trace]).and(command));
    assert_eq!(served.variable("YC_METADATA_ADDR"), None);
    let token = served.variable("YC_TOKEN").expect("the token variable, as without --serve").to_owned();
    assert!(world.emulator.is_live(&token));
    assert_eq!(served.metadata().status, 404);
    assert!(served.key()["AccessKeyId"].is_string(), "the password protects keys, so the users need not be known");
    let run = served.end().exits(0);
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    run.stderr_has("ycred: warning: exec --serve: no metadata endpoint").stderr_has("/proc/net/tcp");
}

#[test]
fn without_a_loopback_interface_the_child_is_not_started() {
    let Some(unshare) = require_client("unshare") else { return };
    let world = World::new();
    world.get();
    if world.sandbox.call(&unshare, ["-n", "true"]).run().status.code() != Some(0) {
        return skip("this user may not make a network namespace");
    }
    // In a new network namespace loopback is down: a port can be bound but not reached.
    let arguments = ["-n", YCRED, "exec", "--serve", "sh", "-c", "echo started"];
    let run = world.sandbox.call(&unshare, arguments).run();
    fails_with_hint(run, 125, &["exec --serve", "127.0.0.1"], "loopback interface");
}
