//! Secrets in files: only key files, token files and records may contain them.

use super::calls::calls;
use super::fragments::Fragments;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::YCRED;
use crate::harness::files::set_mode;
use crate::hostile::records::{record, token_in};
use crate::sources::random_secret;
use crate::world::World;

#[test]
fn a_docker_login_password_is_neither_stored_nor_printed() {
    let world = World::new();
    let mut fragments = Fragments::default();
    let password = random_secret(40);
    fragments.add("password", &password);
    for (host, code) in [("cr.yandex", 0), ("https://ghcr.io", 1), ("", 1)] {
        let stored = json!({"ServerURL": host, "Username": "u", "Secret": password}).to_string();
        for stdin in [stored.clone(), stored[..stored.len() - 1].to_owned(), format!("[{stored}]")] {
            let run = world.ycred(&["-vvv", "docker", "store"]).stdin(stdin.as_str()).run();
            assert_eq!(run.status.code(), Some(if stdin == stored { code } else { 1 }), "{run}");
            assert_eq!(fragments.find_in(run.stderr.as_bytes()), None, "{run}");
            assert_eq!(fragments.find_in(run.stdout.as_bytes()), None, "{run}");
        }
    }
    world.ycred(&["terraform", "store", "cr.yandex"]).stdin(json!({"token": password}).to_string()).run().exits(2);
    for path in world.sandbox.files("") {
        assert_eq!(fragments.find_in(&fs::read(&path).expect("a file")), None, "{}", path.display());
    }
}

#[test]
fn a_key_file_that_others_can_read_causes_one_warning_on_a_miss_and_none_on_a_hit() {
    let world = World::new();
    let key = world.sandbox.path("config/key.json");
    for loose in [0o644, 0o640, 0o604] {
        set_mode(&key, loose);
        let run = world.ycred(&["token", "--force-refresh"]).run().succeeds();
        world.token_printed_by(&run);
        let expected = format!(
            "ycred: warning: {path} can be read by others (mode {loose:04o}): chmod 600 {path}\n",
            path = key.display()
        );
        assert_eq!(run.stderr, expected);
        world.assert_hit(world.ycred(&["token"]));
    }
    set_mode(&key, 0o600);
    world.ycred(&["token", "--force-refresh"]).run().succeeds().stderr_is_empty();
    // Kubernetes mounts secrets with this mode, and users cannot change it.
    set_mode(&key, 0o440);
    world.ycred(&["token", "--force-refresh"]).run().succeeds().stderr_is_empty();
    for (source, file) in [("oauth", "oauth-token-file"), ("static", "token-file")] {
        let secret = if source == "oauth" { world.emulator.new_oauth().0 } else { "t1.abcdefgh.x".to_owned() };
        let path = world.sandbox.file("config/secret", secret);
        set_mode(&path, 0o644);
        let toml = format!("source = \"{source}\"\n{file} = \"secret\"\niam-url = \"{}\"\n", world.emulator.url());
        world.sandbox.profile("loose", &toml);
        let run = world.ycred(&["token", "-p", "loose"]).run().succeeds();
        assert_eq!(run.lines_of_stderr("ycred: warning: ").len(), 1, "{source}\n{run}");
        assert!(run.stderr.contains("can be read by others (mode 0644)"), "{source}\n{run}");
    }
}

#[test]
fn after_any_command_only_the_record_contains_the_token() {
    let world = World::new();
    for (arguments, stdin) in calls() {
        world.ycred(arguments).stdin(stdin).run().succeeds();
    }
    let record = record(&world.sandbox.path("cache"));
    assert_eq!(token_in(&record), world.last_token());
    for path in world.sandbox.files("") {
        if path == record || path.starts_with(world.sandbox.path("runs")) {
            continue;
        }
        let content = fs::read(&path).expect("a file");
        for token in world.emulator.tokens() {
            assert!(!content.windows(token.len()).any(|window| window == token.as_bytes()), "{}", path.display());
        }
    }
}

#[test]
fn a_profiles_command_cannot_write_to_the_stdout_of_ycred() {
    // ycred reads the command's stdout through a pipe, so its own stdout has only the reply.
    let world = World::new();
    let script = world.sandbox.script("bin/noisy", "#!/bin/sh\necho noise >&2\necho t1.abcdefgh.x\n");
    world.sandbox.profile("default", &format!("source = \"command\"\ncommand = [\"{}\"]\n", script.display()));
    let output = Command::new(YCRED)
        .arg("token")
        .env_clear()
        .env("HOME", world.sandbox.path("home"))
        .env("YCRED_CONFIG_DIR", world.sandbox.path("config"))
        .env("YCRED_CACHE_DIR", world.sandbox.path("cache"))
        .stdin(Stdio::null())
        .process_group(0)
        .output()
        .expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "t1.abcdefgh.x\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
