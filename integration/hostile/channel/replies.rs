//! Byte-exact replies on success, on failure and after a panic.

use serde_json::{Value, json};

use crate::emulator::faults::Fault;
use crate::harness::IS_SHIPPED;
use crate::hooks::{Form, expiry_in, forms};
use crate::world::World;

/// Returns every form with a known reply, and that reply.
fn forms_with_reply() -> impl Iterator<Item = (&'static Form, fn(&str, &str) -> String)> {
    forms().filter_map(|(_, form)| Some((form, form.reply?)))
}

#[test]
fn on_a_miss_and_on_a_hit_the_reply_is_byte_exact_and_stderr_is_empty() {
    for (form, reply) in forms_with_reply() {
        let world = World::new();
        for case in ["miss", "hit"] {
            let run = form.call(&world.sandbox, &[]).run().succeeds().stderr_is_empty();
            let expected = reply(&world.last_token(), &expiry_in(&run.stdout));
            assert_eq!(run.stdout, expected, "{}, {case}\n{run}", form.name);
        }
        assert_eq!(world.requests(), 1, "{}", form.name);
    }
}

#[test]
fn verbosity_does_not_change_stdout_on_success() {
    for (form, reply) in forms_with_reply() {
        for flags in [&["-v"][..], &["-vvv"], &["--verbose"]] {
            let world = World::new();
            for case in ["miss", "hit"] {
                let run = form.call(&world.sandbox, flags).run().succeeds();
                let expected = reply(&world.last_token(), &expiry_in(&run.stdout));
                assert_eq!(run.stdout, expected, "{}, {case}\n{run}", form.name);
                assert!(!run.stderr.is_empty() && run.stderr.lines().all(|line| line.starts_with("ycred: debug: ")));
            }
        }
    }
}

#[test]
fn a_refusal_is_byte_exact_at_any_verbosity_with_one_error_and_one_hint_on_stderr() {
    for (hook, form) in forms() {
        for flags in [&[][..], &["-v"], &["-vvv"]] {
            let world = World::new();
            world.emulator.fault(Fault::refuse(403).message("Permission denied, says the test"));
            let run = form.call(&world.sandbox, flags).run().exits((hook.failure)(1));
            assert_eq!(run.stdout, (form.refusal)(&run), "{}\n{run}", form.name);
            assert!(run.stderr.contains("Permission denied, says the test (request id "), "{run}");
            let lines: Vec<&str> = run.stderr.lines().filter(|line| !line.starts_with("ycred: debug: ")).collect();
            assert_eq!(lines.len(), 2, "{run}");
            assert!(lines[0].starts_with("ycred: error: ") && lines[1].starts_with("ycred: hint: "), "{run}");
            assert_eq!(flags.is_empty(), run.stderr.lines().count() == 2, "{run}");
        }
    }
}

#[test]
fn operations_without_a_token_have_byte_exact_replies() {
    let world = World::new();
    let version = format!("docker-credential-ycred (ycred) v{}\n", env!("CARGO_PKG_VERSION"));
    let hosts = json!({"cr.yandex": "iam", "cr.cloud.yandex.net": "iam", "container-registry.cloud.yandex.net": "iam",
        "registry.yandexcloud.net": "iam", "registry.pe.yandexcloud.net": "iam"});
    let stored = r#"{"ServerURL":"https://cr.yandex","Username":"u","Secret":"p"}"#;
    let request = "protocol=https\nhost=cr.yandex\n\n";
    for (arguments, stdin, stdout) in [
        (&["docker", "erase"][..], "cr.yandex", ""),
        (&["docker", "store"], stored, ""),
        (&["docker", "version"], "", version.as_str()),
        (&["git", "store"], request, ""),
        (&["git", "erase"], request, ""),
        (&["git", "capability"], "", "version 0\ncapability authtype\n"),
        (&["git", "frobnicate"], request, ""),
        (&["terraform", "forget", "cr.yandex"], "", ""),
    ] {
        world.ycred(arguments).stdin(stdin).run().succeeds().stderr_is_empty().stdout_is(stdout);
    }
    // As docker's helper, `-v` and `--version` are docker's; otherwise they are ycred's.
    let link = world.sandbox.link("docker-credential-ycred");
    for flag in ["-v", "--version"] {
        world.sandbox.call(&link, [flag]).run().succeeds().stdout_is(&version);
    }
    world.ycred(&["docker", "-v"]).run().exits(1);
    let run = world.ycred(&["docker", "list"]).run().succeeds().stderr_is_empty();
    assert_eq!(serde_json::from_str::<Value>(&run.stdout).expect("JSON"), hosts);
    world.ycred(&["terraform", "store", "cr.yandex"]).stdin("{\"token\":\"x\"}").run().exits(2).stdout_is("");
    assert_eq!(world.emulator.calls(), 0);
    assert!(!world.sandbox.path("cache").exists(), "the cache directory was created without need");
}

#[test]
fn kubectls_api_version_is_echoed_and_an_unknown_one_is_rejected_with_a_status() {
    let world = World::new();
    let group = "client.authentication.k8s.io";
    let info = |version: &str| json!({"kind": "ExecCredential", "apiVersion": version, "spec": {}}).to_string();
    for (exec_info, expected) in [
        (Some(info(&format!("{group}/v1"))), "v1"),
        (Some(info(&format!("{group}/v1beta1"))), "v1beta1"),
        (Some(String::new()), "v1beta1"),
        (None, "v1beta1"),
    ] {
        let call = world.ycred(&["kubectl"]);
        let call = if let Some(info) = exec_info { call.env("KUBERNETES_EXEC_INFO", info) } else { call };
        let reply: Value = serde_json::from_str(&call.run().succeeds().stderr_is_empty().stdout).expect("JSON");
        assert_eq!(reply["apiVersion"], format!("{group}/{expected}"));
    }
    let before = world.emulator.calls();
    for exec_info in
        [info(&format!("{group}/v2")), info("v1"), info(""), "{}".into(), "[]".into(), "{".into(), "null".into()]
    {
        let run = world.ycred(&["kubectl"]).env("KUBERNETES_EXEC_INFO", exec_info).run().exits(2);
        let status: Value = serde_json::from_str(&run.stdout).expect("one JSON document");
        assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(400)), "{run}");
        assert_eq!(run.stdout.matches('\n').count(), 1, "{run}");
    }
    assert_eq!(world.emulator.calls(), before);
}

#[test]
fn git_erase_deletes_only_the_token_it_names() {
    let world = World::new();
    let request = |token: &str| format!("protocol=https\nhost=cr.yandex\nusername=iam\npassword={token}\n\n");
    let erase = |token: &str| {
        world.ycred(&["git", "erase"]).stdin(request(token)).run().succeeds().stderr_is_empty().stdout_is("");
    };
    world.ycred(&["git", "get"]).stdin(request("")).run().succeeds();
    let old = world.last_token();
    world.ycred(&["token", "--force-refresh"]).run().succeeds().stderr_is_empty();
    let new = world.last_token();
    erase(&old);
    erase("");
    erase("something else");
    assert_eq!(world.assert_hit(world.ycred(&["token"])), new);
    erase(&new);
    let before = world.requests();
    world.ycred(&["token"]).run().succeeds().stderr_is_empty();
    assert_eq!(world.requests(), before + 1, "the erased token was served again");
    // Newer versions of git send the token as `credential`.
    let newest = world.last_token();
    let request =
        format!("capability[]=authtype\nprotocol=https\nhost=cr.yandex\nauthtype=Bearer\ncredential={newest}\n\n");
    world.ycred(&["git", "erase"]).stdin(request).run().succeeds().stderr_is_empty().stdout_is("");
    world.ycred(&["token"]).run().succeeds().stderr_is_empty();
    assert_eq!(world.requests(), before + 2);
}

#[test]
fn a_server_cannot_inject_a_line_into_a_reply() {
    let world = World::new();
    for bad in ["t1.a\nhost=evil.example", "t1.a\r\nquit=1", "t1.a\"}", "t1.a b", "t1.a\u{0}b", "t1.жетон", ""] {
        world.emulator.clear_faults();
        let response = json!({"iamToken": bad, "expiresAt": "2030-01-01T00:00:00Z"}).to_string();
        world.emulator.fault(Fault::body(response));
        for (hook, form) in forms() {
            let run = form.call(&world.sandbox, &["--no-cache"]).run().exits((hook.failure)(4));
            assert_eq!(run.stdout, (form.refusal)(&run), "{bad:?}\n{run}");
            assert!(!run.stdout.contains("evil.example") && run.stderr.lines().count() <= 2, "{bad:?}\n{run}");
        }
    }
}

#[test]
fn a_panic_exits_5_with_one_masked_line_and_an_empty_stdout() {
    let world = World::new();
    if IS_SHIPPED || cfg!(not(debug_assertions)) {
        // A release build cannot be made to panic.
        world.ycred(&["token"]).env("YCRED_DEBUG_PANIC", "x").run().succeeds().stderr_is_empty();
        return;
    }
    // Hooks with several replies may have written some of them before the panic.
    for (_, form) in forms().filter(|(hook, _)| (hook.failure)(5) == 5) {
        for flags in [&[][..], &["-vvv"]] {
            let run = form
                .call(&world.sandbox, flags)
                .env("YCRED_DEBUG_PANIC", "a defect\nof\u{1b}[31m the test: t1.9euelZqXsecretsecret.x")
                .run();
            let run = run.exits(5).stdout_is("");
            let lines: Vec<&str> = run.stderr.lines().filter(|line| !line.starts_with("ycred: debug: ")).collect();
            assert_eq!(lines, ["ycred: error: internal error: a defect of the test: ***"], "{run}");
        }
    }
    // A fragment of the cached token is masked, too.
    world.ycred(&["token"]).run().succeeds();
    let token = world.last_token();
    let fragment = &token[20..40];
    let run = world.ycred(&["token"]).env("YCRED_DEBUG_PANIC", format!("at {fragment} it broke")).run().exits(5);
    assert_eq!(run.stderr, "ycred: error: internal error: at *** it broke\n");
    world.assert_hit(world.ycred(&["token"]));
    // The same holds for commands that are not hooks.
    world.ycred(&["list"]).env("YCRED_DEBUG_PANIC", "x").run().exits(5).stdout_is("");
}
