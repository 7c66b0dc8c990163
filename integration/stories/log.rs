//! The log of `-v` and `YCRED_LOG`, and what it says about hosts.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::expect::{fails_with, prints_token, prints_token_with_warning};
use crate::harness::files::set_mode;
use crate::harness::{Call, run_all};
use crate::world::World;

/// A call of docker's hook for this host.
fn docker(world: &World, host: &str) -> Call {
    world.sandbox.ycred(["docker", "get"]).stdin(host)
}

#[test]
fn the_log_says_which_profile_was_read_and_why_a_host_gets_a_token_or_not() {
    let world = World::new();
    world.configure("hosts = \"registry.example.com:5000\"");
    let file = world.sandbox.path("config/default.toml").display().to_string();
    let log = |host: &str| docker(&world, host).env("YCRED_LOG", "stderr").run().stderr;
    for (host, parts) in [
        ("cr.yandex", vec!["cr.yandex may get the token of profile default", "a host of the cloud"]),
        ("registry.example.com:5000", vec!["registry.example.com:5000 may get the token", "in `hosts`"]),
        ("other.example.com", vec!["other.example.com not answered: profile default", "not in `hosts` of", &file]),
        ("http://cr.yandex", vec!["not answered"]),
    ] {
        let text = log(host);
        assert!(text.contains(&format!("profile default: source authorized-key from {file}")), "{host}: {text}");
        let line = text.lines().find(|line| line.contains("docker: ")).unwrap_or_else(|| panic!("{host}: {text}"));
        assert!(parts.iter().all(|part| line.contains(part)), "{host}: {line}");
        assert!(!text.contains("t1."), "{text}");
    }
    // A broken profile: an error for the cloud's hosts, and "not mine" for all others, which only the log explains.
    world.sandbox.profile("default", "source = 1\n");
    let run = docker(&world, "other.example.com").run().exits(1).stderr_is_empty();
    run.stdout_has("credentials not found");
    let text = log("other.example.com");
    assert!(text.contains("other.example.com not answered: the profile is unusable") && text.contains(":1"), "{text}");
}

#[test]
fn ycred_log_switches_the_log_on_and_any_other_value_is_one_warning() {
    let world = World::new();
    let token = world.get();
    let call = |value: &str| world.token(&[]).env("YCRED_LOG", value);
    for value in ["1", "stderr"] {
        let run = call(value).run().exits(0).stdout_is(&format!("{token}\n"));
        assert!(run.stderr.starts_with("ycred: debug: ") && run.stderr.lines().count() >= 2, "{run}");
    }
    for value in ["true", "0", "log.txt", "./log", "~/log", "STDERR", " /tmp/x", "y0_AgAAAABBBBCCCCDDDD"] {
        assert_eq!(prints_token_with_warning(call(value).run(), &["YCRED_LOG must be"]), token);
        call(value).run().never_prints("AgAAAAB");
    }
    assert_eq!(prints_token(call("").run()), token, "empty is unset");
    assert!(world.sandbox.files("work").is_empty());
    // A more important warning comes first.
    let run = call("true").env("YCRED_CACHE_DIR", "relative").run();
    prints_token_with_warning(run, &["YCRED_CACHE_DIR"]);
}

#[test]
fn a_log_file_is_private_appended_to_and_has_everything_that_a_client_may_hide() {
    let world = World::new();
    let path = world.sandbox.path("tmp/log");
    let call = |arguments: &[&str]| world.ycred(arguments).env("YCRED_LOG", &path);
    prints_token(call(&["token"]).run());
    let first = fs::read_to_string(&path).expect("the log");
    assert!(first.lines().count() >= 3 && first.contains("requesting a new token"), "{first}");
    assert_eq!(fs::metadata(&path).expect("the log").permissions().mode() & 0o777, 0o600);
    prints_token(call(&["token"]).run());
    let second = fs::read_to_string(&path).expect("the log");
    assert!(second.starts_with(&first) && second.contains("cached token"), "{second}");
    let is_line = |line: &str| line.starts_with("ycred: debug: 20") && line.contains("Z [");
    assert!(second.lines().all(is_line), "each line has time and process: {second}");
    // Errors, hints and warnings are in it too; -v still prints to stderr.
    fails_with(call(&["token", "-p", "gone"]).run(), 3, &["profile gone"]);
    prints_token_with_warning(call(&["token", "--min-ttl", "20h"]).run(), &["sooner than the requested"]);
    let third = fs::read_to_string(&path).expect("the log");
    for part in ["ycred: error: ", "ycred: hint: ", "ycred: warning: ", "profile gone"] {
        assert!(third.contains(part), "{part}: {third}");
    }
    call(&["token", "-v"]).run().succeeds().stderr_has("ycred: debug: ");
    // It has no secrets and no line that is too long.
    let key = fs::read_to_string(world.sandbox.path("config/key.json")).expect("the key");
    let log = fs::read_to_string(&path).expect("the log");
    assert!(!log.contains("t1.") && !log.contains(&key[200..240]));
    assert!(log.lines().all(|line| line.chars().count() <= 500));
}

#[test]
fn a_log_that_cannot_be_written_has_no_effect() {
    let world = World::new();
    let token = world.get();
    let sandbox = &world.sandbox;
    let link = sandbox.path("tmp/link");
    symlink(sandbox.file("tmp/target", "mine\n"), &link).expect("a link");
    let fifo = sandbox.path("tmp/fifo");
    sandbox.call("mkfifo", [&fifo]).run().succeeds();
    fs::create_dir(sandbox.path("tmp/directory")).expect("a directory");
    for path in [
        link,
        fifo,
        sandbox.path("tmp/directory"),
        sandbox.path("tmp/none/log"),
        "/dev/full".into(),
        "/dev/null".into(),
    ] {
        for arguments in [&["token"][..], &["kubectl"], &["token", "-p", "gone"]] {
            let with = world.ycred(arguments).env("YCRED_LOG", &path).run();
            let without = world.ycred(arguments).run();
            assert_eq!((with.status, &with.stderr), (without.status, &without.stderr), "{with}");
        }
        assert_eq!(prints_token(world.token(&[]).env("YCRED_LOG", &path).run()), token);
    }
    assert_eq!(fs::read_to_string(sandbox.path("tmp/target")).expect("the target"), "mine\n");
}

#[test]
fn a_log_of_another_user_is_not_written() {
    if !crate::harness::machine::is_root() {
        return crate::harness::skip("only root can give a file to another user");
    }
    let world = World::new();
    let path = world.sandbox.file("tmp/log", "theirs\n");
    set_mode(&path, 0o666);
    std::os::unix::fs::chown(&path, Some(64_100), None).expect("changed the owner");
    prints_token(world.token(&[]).env("YCRED_LOG", &path).run());
    assert_eq!(fs::read_to_string(&path).expect("the file"), "theirs\n");
}

#[test]
fn a_log_above_four_mebibytes_is_renamed_once() {
    let world = World::new();
    world.get();
    let path = world.sandbox.file("tmp/log", "old\n".repeat(1_048_577));
    let call = || world.token(&[]).env("YCRED_LOG", &path);
    prints_token(call().run());
    let old = world.sandbox.path("tmp/log.1");
    assert_eq!(fs::metadata(&old).expect("the old log").len(), 4 * 1_048_577);
    let new = fs::read_to_string(&path).expect("the new log");
    assert!(new.starts_with("ycred: debug: ") && new.len() < 10_000, "{new}");
    // Below the limit nothing is renamed, and twenty processes at once write whole lines.
    run_all((0..20).map(|_| call())).into_iter().for_each(|run| drop(prints_token(run)));
    let all = fs::read_to_string(&path).expect("the log");
    assert!(all.starts_with(&new) && all.lines().all(|line| line.starts_with("ycred: debug: ")), "{all}");
    assert_eq!(fs::metadata(&old).expect("the old log").len(), 4 * 1_048_577);
}

#[test]
fn verbose_is_always_ours_and_v_is_dockers_only_under_its_name() {
    let world = World::new();
    let link = world.sandbox.link("docker-credential-ycred");
    for arguments in [&["--verbose", "get"][..], &["get", "--verbose"]] {
        for call in [world.sandbox.call(&link, arguments), world.sandbox.ycred(["docker"]).and(arguments)] {
            let run = call.stdin("cr.yandex").run().succeeds().stdout_has("\"Username\":\"iam\"");
            assert!(run.stderr.starts_with("ycred: debug: "), "{run}");
        }
    }
    let run = world.sandbox.ycred(["docker", "-v", "get"]).stdin("cr.yandex").run().succeeds();
    run.stdout_has("\"Username\":\"iam\"").stderr_has("ycred: debug: ");
    world.sandbox.ycred(["docker", "--help"]).run().succeeds().stdout_has("Usage: ycred docker");
    for flag in ["-v", "--version"] {
        let run = world.sandbox.call(&link, [flag]).run().succeeds().stderr_is_empty();
        assert!(run.stdout.starts_with("docker-credential-ycred"), "{run}");
    }
    world.sandbox.call(&link, ["--help"]).run().succeeds().stdout_has("Usage: docker-credential-ycred");
}

#[test]
fn the_log_of_a_flag_in_cargos_configuration_is_that_of_the_command_line() {
    let world = World::new();
    let request = |arguments: &str| {
        let registry = "{\"index-url\": \"sparse+https://cr.yandex/cargo/\"}";
        format!(
            "{{\"v\": 1, \"registry\": {registry}, \"kind\": \"get\", \"operation\": \"read\", \"args\": {arguments}}}\n"
        )
    };
    let call = |arguments: &str| world.sandbox.ycred(["--cargo-plugin"]).stdin(request(arguments)).run().exits(0);
    call("[]").stderr_is_empty();
    call("[\"-v\"]")
        .stderr_has("ycred: debug: cargo: cr.yandex may get the token of profile default")
        .stdout_has("Bearer");
}
