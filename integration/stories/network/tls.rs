//! TLS and certificate authorities, the form of a request, and cache hits without network access.

use std::fs;

use crate::authority::Authority;
use crate::emulator::log::Presented;
use crate::emulator::{Config, Tls};
use crate::expect::{fails_with, fails_with_hint, prints_token, token_on_stdout};
use crate::harness::files::set_mode;
use crate::harness::machine::strace;
use crate::harness::waiting::HeldLock;
use crate::world::World;

#[test]
fn a_ca_file_is_trusted_in_addition_to_the_usual_roots() {
    let world = World::with_tls(Tls::Good);
    world.get();
    // An unrelated ca-file does not replace the usual roots, which the variable sets here.
    let world = World::with(Config::with_tls(Tls::Good));
    let ca = world.sandbox.file("tmp/ca.pem", world.emulator.ca_pem());
    world.sandbox.file("config/other.pem", Authority::new().pem());
    world.configure("ca-file = \"other.pem\"");
    prints_token(world.token(&[]).env("SSL_CERT_FILE", ca).run());
}

#[test]
fn an_untrusted_certificate_is_reported_with_its_defect_and_no_credential_is_sent() {
    for (tls, expected, hint) in [
        (Tls::Expired, "has expired", "clock"),
        (Tls::Early, "not valid yet", "clock"),
        (Tls::WrongName, "is not valid for 127.0.0.1", "URL"),
        (Tls::SelfSigned, "signed by an authority that is not among", "ca-file"),
    ] {
        let world = World::with_tls(tls);
        fails_with_hint(world.token(&[]).run(), 3, &[&world.emulator.url(), expected], hint);
        assert_eq!(world.emulator.calls(), 0, "{tls:?}");
        assert_eq!(world.emulator.server().connections(), 1, "{tls:?}: certificate errors are not retried");
    }
}

#[test]
fn an_unknown_authority_is_reported_with_a_ca_file_hint() {
    let world = World::with(Config::with_tls(Tls::Good));
    fails_with_hint(world.token(&[]).run(), 3, &["signed by an authority", "this machine's roots"], "ca-file");
    // With an unrelated ca-file, the error names that file.
    let other = world.sandbox.file("config/other.pem", Authority::new().pem());
    world.configure("ca-file = \"other.pem\"");
    fails_with(world.token(&[]).run(), 3, &["signed by an authority", &other.to_string_lossy()]);
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn an_unusable_ca_file_is_named() {
    let world = World::with(Config::with_tls(Tls::Good));
    world.configure("ca-file = \"ca.pem\"");
    fails_with(world.token(&[]).run(), 3, &["config/ca.pem", "no such file"]);
    let ca = world.sandbox.file("config/ca.pem", "no certificate");
    fails_with(world.token(&["--force-refresh"]).run(), 3, &["config/ca.pem", "no certificate"]);
    world.sandbox.file("config/ca.pem", world.emulator.ca_pem());
    set_mode(&ca, 0o666);
    let run = world.token(&["--force-refresh"]).run();
    fails_with_hint(run, 3, &["config/ca.pem", "anyone may write it"], "chmod o-w");
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_server_without_tls_is_reported() {
    let world = World::new();
    let url = world.emulator.url().replace("http://", "https://");
    world.sandbox.profile("default", &world.settings().replace(&world.emulator.url(), &url));
    fails_with(world.token(&[]).run(), 4, &[&url]);
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_token_request_is_a_post_with_a_jwt() {
    let world = World::with_tls(Tls::Good);
    world.get();
    let entry = world.emulator.log()[0].clone();
    assert!(matches!(entry.presented, Presented::Jwt { .. }), "{entry:?}");
    assert_eq!((entry.method.as_str(), entry.status), ("POST", Some(200)));
}

#[test]
fn a_hit_makes_no_network_call_takes_no_lock_and_opens_no_key() {
    let Some(strace) = strace() else { return };
    let world = World::new();
    let token = world.get();
    let _held = HeldLock::of(&world.lock_file());
    let trace = world.sandbox.path("tmp/trace");
    let arguments = [
        "-f",
        "-qq",
        "-s",
        "4096",
        "-e",
        "trace=network,flock,openat,open,rename,renameat,renameat2,unlink,mkdir,write",
        "-o",
    ];
    let arguments = arguments.map(std::ffi::OsString::from).into_iter();
    let rest = [trace.clone().into(), crate::harness::YCRED.into(), "token".into()];
    let run = world.sandbox.call(strace, arguments.chain(rest)).run().exits(0).stderr_is_empty();
    assert_eq!(token_on_stdout(&run), token);
    let calls = fs::read_to_string(&trace).expect("a trace");
    // A tracer without root cannot read the process's memory and sees no file names, so count the opened files as well.
    assert!(calls.contains("write(1, "), "expected a complete trace: {calls}");
    assert_eq!(calls.matches("O_NONBLOCK").count(), 2, "the profile and the record\n{calls}");
    for forbidden in ["socket(", "connect(", "flock(", "key.json", "rename", "mkdir(", "unlink(", "O_CREAT", ".lock"] {
        assert!(!calls.contains(forbidden), "{forbidden} in\n{calls}");
    }
    assert_eq!(calls.matches("write(").count(), 1, "expected one write\n{calls}");
}
