//! Escape sequences and bidi controls, which must never reach the terminal.

use std::fs;

use serde_json::json;

use crate::emulator::faults::Fault;
use crate::harness::Run;
use crate::harness::files::make_private;
use crate::hooks::HOOKS;
use crate::world::World;

/// Text with every kind of character that must not reach a terminal.
const UNSAFE: &str = "one\u{1b}[31mtwo\u{1b}]0;title\u{7}three\u{9b}32mfour\u{90}five\r\nsix\u{8}\u{7f}\0seven\u{202e}eight\
    \u{2066}nine\u{200f}ten\u{2028}eleven\u{85}twelve\u{1b}Pthirteen\u{1b}\\fourteen\u{61c}\u{feff}\u{200b}end";

/// Asserts that both streams are safe for a terminal, and that stderr has at most one error and one hint.
#[track_caller]
fn is_clean(run: &Run) {
    for (name, text) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
        let unsafe_char = text.chars().find(|c| {
            (c.is_control() && *c != '\n')
                || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        });
        assert_eq!(unsafe_char, None, "on {name}\n{run}");
    }
    for line in run.stderr.lines() {
        assert!(line.starts_with("ycred: "), "a line without ycred's prefix\n{run}");
        assert!(line.chars().count() <= 500, "a line of {} characters\n{run}", line.chars().count());
    }
    let lines = run.stderr.lines().filter(|line| !line.starts_with("ycred: debug: ")).count();
    assert!(lines <= 2, "more than an error and a hint\n{run}");
}

#[test]
fn escape_sequences_and_bidi_controls_from_a_server_never_reach_the_terminal() {
    let world = World::new();
    for fault in [
        Fault::refuse(401).message(UNSAFE),
        Fault::refuse(401).message(UNSAFE.repeat(50)),
        Fault::body(UNSAFE),
        Fault::body(format!("{{\"iamToken\":{}}}", json!(UNSAFE))),
        Fault::body(json!({"iamToken": "t1.a.b", "expiresAt": UNSAFE}).to_string()),
        Fault::refuse(302).header("Location", "https://evil.example/\u{9b}31m"),
        Fault::refuse(403).header("x-request-id", "a\u{9b}31mb"),
    ] {
        world.emulator.clear_faults();
        world.emulator.fault(fault);
        for form in HOOKS.iter().map(|hook| &hook.forms[0]) {
            for flags in [&["-vvv"][..], &["--no-cache"]] {
                let arguments: Vec<&str> = flags.iter().chain(form.words).copied().collect();
                let run = world.ycred(&arguments).stdin(form.stdin).env("PATH", world.sandbox.path("bin")).run();
                is_clean(&run);
            }
        }
        let _ = fs::remove_dir_all(world.sandbox.path("cache"));
    }
    // The rest of the server's message is still printed.
    world.emulator.clear_faults();
    world.emulator.fault(Fault::refuse(401).message(UNSAFE));
    let run = world.ycred(&["token"]).run().exits(1);
    assert!(run.stderr.contains("onetwo") && run.stderr.contains("end"), "{run}");
    world.emulator.attach(Some("ajemetadata000000000"));
    world
        .sandbox
        .profile("vm", &format!("source = \"metadata\"\nmetadata-addr = \"{}\"\n", world.emulator.metadata_addr()));
    is_clean(&world.ycred(&["token", "-p", "vm", "-vvv"]).run().exits(1));
}

#[test]
fn escape_sequences_from_commands_paths_and_clients_never_reach_the_terminal() {
    let world = World::new();
    let text = world.sandbox.file("tmp/foul", UNSAFE);
    let script = world.sandbox.script("bin/foul", &format!("#!/bin/sh\ncat '{}' >&2; exit 3\n", text.display()));
    world.sandbox.profile("command", &format!("source = \"command\"\ncommand = [\"{}\"]\n", script.display()));
    let run = world.ycred(&["-vvv", "token", "-p", "command"]).run().exits(1);
    is_clean(&run);
    assert!(run.stderr.contains("end"), "the error lacks the command's last line\n{run}");

    // A path may contain everything but NUL and `/`.
    let odd = UNSAFE.replace(['\0', '/'], "");
    let directory = world.sandbox.path(format!("tmp/{odd}"));
    make_private(&directory);
    let profile = directory.join("default.toml");
    fs::write(&profile, "source = \"authorized-key\"\nkey-file = \"gone.json\"\n").expect("a profile");
    let call = |arguments: &[&str]| world.ycred(arguments).env("YCRED_CONFIG_DIR", &directory);
    is_clean(&call(&["-vvv", "token"]).run().exits(3));
    is_clean(&call(&["kubectl"]).run().exits(3));
    is_clean(&call(&["docker", "get"]).stdin("cr.yandex").run().exits(3));
    fs::write(&profile, format!("source = \"metadata\"\n{} = \"x\"\n", json!(UNSAFE))).expect("a profile");
    is_clean(&call(&["token"]).run().exits(3));
    fs::write(&profile, format!("source = {}\n", json!(UNSAFE).to_string().replace("\\b", "\\u0008")))
        .expect("a profile");
    is_clean(&call(&["token"]).run().exits(3));
    // A warning contains the path of the cache.
    let file = directory.join("file");
    fs::write(&file, "").expect("a file");
    let run = world.ycred(&["token"]).env("YCRED_CACHE_DIR", file.join("cache")).run().succeeds();
    is_clean(&run);
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    // Arguments, and requests of clients.
    for arguments in [
        &["token", "-p", &odd][..],
        &["token", "--format", &odd],
        &["token", "--host", &odd],
        &[&odd],
        &["use", &odd],
        &["terraform", "get", &odd],
        &["terraform", &odd, "x"],
        &["docker", &odd],
        &["exec", &odd],
        &["goauth", &odd],
        &["keyring", &odd, "x"],
        &["keyring", "get", &odd, "iam"],
        &["pnpm", &odd],
        &["bazel", &odd],
        &["cargo", &odd],
    ] {
        is_clean(&world.ycred(arguments).env("PATH", world.sandbox.path("bin")).run());
    }
    for uri in [UNSAFE.to_owned(), format!("https://cr.yandex/{UNSAFE}"), format!("https://{UNSAFE}")] {
        is_clean(&world.ycred(&["bazel", "get"]).stdin(json!({"uri": uri}).to_string()).run().exits(1));
        let registry = json!({"index-url": uri});
        for args in [json!([]), json!([UNSAFE]), json!(["--profile", UNSAFE])] {
            let request = json!({"v": 1, "registry": registry, "kind": UNSAFE, "args": args}).to_string();
            is_clean(&world.ycred(&["cargo"]).stdin(request).run().succeeds());
        }
    }
    let stored = json!({"ServerURL": UNSAFE, "Username": UNSAFE, "Secret": UNSAFE}).to_string();
    is_clean(&world.ycred(&["docker", "store"]).stdin(stored).run().exits(1));
    is_clean(
        &world.ycred(&["kubectl"]).env("KUBERNETES_EXEC_INFO", json!({"kind": UNSAFE}).to_string()).run().exits(2),
    );
    let version = json!({"kind": "ExecCredential", "apiVersion": UNSAFE}).to_string();
    is_clean(&world.ycred(&["kubectl"]).env("KUBERNETES_EXEC_INFO", version).run().exits(2));
}

#[test]
fn the_paths_that_commands_print_have_no_escape_sequences_and_no_tokens() {
    let world = World::new();
    let token = world.issue_token();
    for name in [token.clone(), format!("a{}", UNSAFE.replace(['\0', '/'], ""))] {
        let directory = world.sandbox.path(format!("tmp/{name}"));
        for arguments in [&["list"][..], &["status", "--all"], &["logout", "--all"]] {
            let mut call = world.ycred(arguments);
            for variable in ["YCRED_CONFIG_DIR", "YCRED_CACHE_DIR", "YCRED_STATE_DIR"] {
                call = call.env(variable, &directory);
            }
            let run = call.run();
            is_clean(&run);
            assert!(!run.stdout.contains(&token) && !run.stderr.contains(&token), "{run}");
            assert!(run.stdout.contains("tmp/"), "no path is printed\n{run}");
        }
    }
}
