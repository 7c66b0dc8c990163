//! Foreign hosts: ycred declines them silently, even if profile, home or cloud are unusable.

use std::fs;

use serde_json::json;

use crate::emulator::faults::Fault;
use crate::emulator::{Config, Emulator};
use crate::harness::machine::require_tracer;
use crate::harness::strace::{Step, traced};
use crate::harness::{Call, Sandbox, YCRED};
use crate::hooks::{link_all, programs};
use crate::world::World;

#[test]
fn a_foreign_host_is_declined_without_a_profile_a_home_or_a_socket() {
    let sandbox = Sandbox::new();
    link_all(&sandbox);
    let bare =
        |call: Call| ["HOME", "YCRED_CACHE_DIR", "YCRED_STATE_DIR", "PATH"].into_iter().fold(call, Call::without);
    for client in programs() {
        for by_symlink in [false, true] {
            client.assert_not_found(&bare(client.call_for_host(&sandbox, by_symlink, "ghcr.io")).run(), "ghcr.io");
        }
    }
    if !require_tracer() {
        return;
    }
    let world = World::new();
    for client in programs() {
        let (operands, stdin) = (client.host.request)("ghcr.io");
        let strace = |arguments: &[String]| {
            // `Step::of` requires exit code 0, but docker's response to a foreign host is exit code 1. The shell hides
            // it.
            let all: Vec<&str> = ["-c", "\"$@\"; :", "sh", "strace"]
                .into_iter()
                .chain(arguments.iter().map(String::as_str))
                .chain([YCRED, client.hook.name])
                .chain(operands.iter().map(String::as_str))
                .collect();
            world.sandbox.call("sh", all).stdin(stdin.as_str())
        };
        let steps = Step::of(&world.sandbox, strace);
        let socket = steps.iter().find(|step| ["socket", "connect", "sendto"].contains(&step.name.as_str()));
        assert_eq!(socket, None, "{client:?}");
        let creation = steps.iter().find(|step| step.line.contains("O_CREAT") || step.name.starts_with("mkdir"));
        assert_eq!(creation, None, "{client:?}");
    }
    // Control: the check finds the socket of a fetch.
    let steps = Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, &["token"]));
    assert!(steps.iter().any(|step| step.name == "connect"));
}

/// Profiles with errors that make their list of hosts unknown.
const BROKEN: &[(&str, &str)] = &[
    ("toml", "source = "),
    ("key", "source = \"authorized-key\"\nkey-fiel = \"x\"\nhosts = [\"git.example\"]\n"),
    ("source", "source = \"nothing\"\nhosts = [\"git.example\"]\n"),
    ("host", "source = \"metadata\"\nhosts = [\"*\"]\n"),
    ("url", "source = \"metadata\"\niam-url = \"http://evil.example\"\nhosts = [\"git.example\"]\n"),
    ("alias", "use = \"nowhere\"\n"),
    ("empty", ""),
    ("binary", "\u{0}\u{1}"),
];

#[test]
fn a_broken_or_missing_profile_is_reported_only_for_accepted_hosts() {
    for (what, text) in BROKEN.iter().copied().chain([("missing", "")]) {
        let sandbox = Sandbox::new();
        link_all(&sandbox);
        if what != "missing" {
            sandbox.profile("default", text);
        }
        for client in programs() {
            for by_symlink in [false, true] {
                for host in ["ghcr.io", "git.example", "cr.yandex.evil.example"] {
                    client.assert_not_found(&client.call_for_host(&sandbox, by_symlink, host).run(), host);
                }
                let run = client.call_for_host(&sandbox, by_symlink, "cr.yandex").run().exits((client.hook.failure)(3));
                assert!(run.stderr.starts_with("ycred: error: "), "{what}\n{run}");
                assert!(run.stderr.lines().count() <= 2, "{what}\n{run}");
                assert_eq!(run.stdout, (client.hook.forms[0].refusal)(&run), "{what}\n{run}");
            }
        }
        // Operations that store or erase report no error: they do not need a profile.
        let stored = |host: &str| json!({"ServerURL": host, "Username": "u", "Secret": "p"}).to_string();
        sandbox.ycred(["docker", "store"]).stdin(stored("cr.yandex")).run().succeeds().stderr_is_empty().stdout_is("");
        sandbox.ycred(["docker", "erase"]).stdin("cr.yandex").run().succeeds().stderr_is_empty().stdout_is("");
        let erase = "protocol=https\nhost=cr.yandex\nusername=iam\npassword=t1.x.y\n\n";
        sandbox.ycred(["git", "erase"]).stdin(erase).run().succeeds().stderr_is_empty().stdout_is("");
        sandbox.ycred(["terraform", "forget", "cr.yandex"]).run().succeeds().stderr_is_empty().stdout_is("");
        let run = sandbox.ycred(["docker", "store"]).stdin(stored("ghcr.io")).run().exits(1).stderr_is_empty();
        assert!(run.stdout.contains("ghcr.io") && run.stdout.contains("does not store passwords"), "{run}");
    }
}

#[test]
fn a_missing_named_profile_is_reported_only_for_accepted_hosts() {
    let world = World::new();
    for client in programs() {
        let Some(link) = client.hook.symlink() else { continue };
        let link = format!("{link}-gone");
        world.sandbox.link(&link);
        client.assert_not_found(&client.call_by_symlink(&world.sandbox, &link, "ghcr.io").run(), "ghcr.io");
        let run = client.call_by_symlink(&world.sandbox, &link, "cr.yandex").run().exits((client.hook.failure)(3));
        assert!(run.stderr.contains("profile gone"), "{run}");
    }
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_symlinks_suffix_is_never_a_path() {
    let world = World::new();
    fs::copy(world.sandbox.path("config/default.toml"), world.sandbox.path("work/evil.toml")).expect("copied");
    for suffix in ["evil.toml", "..", ".", "default.toml", "-default", "DEFAULT\u{e9}", "a b"] {
        let link = world.sandbox.link(&format!("docker-credential-ycred-{suffix}"));
        let run = world.sandbox.call(&link, ["get"]).stdin("cr.yandex").run();
        assert!(run.status.code().is_some_and(|code| code == 2 || code == 3), "{suffix}\n{run}");
        assert!(!run.stdout.contains("t1."), "{suffix}\n{run}");
    }
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn the_token_command_prints_no_token_for_a_foreign_host() {
    let world = World::new();
    for host in ["ghcr.io", "cr.yandex.evil.example", "http://cr.yandex", "user@cr.yandex", "cr.yandex."] {
        world.ycred(&["token", "--format", "netrc", "--host", host]).run().exits(2).stdout_is("");
    }
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_foreign_host_is_declined_as_usual_while_the_cloud_is_down() {
    let world = World::new();
    link_all(&world.sandbox);
    world.emulator.fault(Fault::refuse(503));
    // The URL of an emulator that has stopped.
    let url = Emulator::start(Config::default()).url();
    world.sandbox.profile("default", &format!("source = \"metadata\"\niam-url = \"{url}\"\n"));
    for client in programs() {
        client.assert_not_found(&client.call_for_host(&world.sandbox, true, "docker.io").run(), "docker.io");
    }
}
