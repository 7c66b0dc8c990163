//! Stdin, stdout, stderr: a protocol's channels, exact to the byte, closed, full, and fed with what does not belong there.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::records::{record, records, token_in};
use crate::emulator::faults::Fault;
use crate::harness::machine::require_tracer;
use crate::harness::strace::{Step, traced};
use crate::harness::{YCRED, require_client};
use crate::hooks::{Form, HOOKS, Hook, V1, expiry_in, forms, gave};
use crate::world::World;

/// Every form of every hook whose reply is known to the byte, with that reply.
fn exact() -> impl Iterator<Item = (&'static Form, fn(&str, &str) -> String)> {
    forms().filter_map(|(_, form)| Some((form, form.reply?)))
}

#[test]
fn a_hooks_reply_is_exact_to_the_byte_and_stderr_is_empty_on_a_miss_and_on_a_hit() {
    for (form, reply) in exact() {
        let world = World::new();
        for what in ["miss", "hit"] {
            let run = form.call(&world.sandbox, &[]).run().succeeds().quietly();
            let expected = reply(&world.last_token(), &expiry_in(&run.stdout));
            assert_eq!(run.stdout, expected, "{}, {what}\n{run}", form.name);
        }
        assert_eq!(world.requests(), 1, "{}", form.name);
    }
}

#[test]
fn verbosity_changes_nothing_on_stdout_in_success() {
    for (form, reply) in exact() {
        for flags in [&["-v"][..], &["-vvv"], &["--verbose"]] {
            let world = World::new();
            for what in ["miss", "hit"] {
                let run = form.call(&world.sandbox, flags).run().succeeds();
                let expected = reply(&world.last_token(), &expiry_in(&run.stdout));
                assert_eq!(run.stdout, expected, "{}, {what}\n{run}", form.name);
                assert!(!run.stderr.is_empty() && run.stderr.lines().all(|line| line.starts_with("ycred: debug: ")));
            }
        }
    }
}

#[test]
fn a_hooks_refusal_is_exact_to_the_byte_at_any_verbosity_and_is_one_error_and_one_hint_on_stderr() {
    for (hook, form) in forms() {
        for flags in [&[][..], &["-v"], &["-vvv"]] {
            let world = World::new();
            world.emulator.fault(Fault::refuse(403).message("Permission denied, says the test"));
            let run = form.call(&world.sandbox, flags).run().exits((hook.failure)(1));
            assert_eq!(run.stdout, (form.refusal)(&run), "{}\n{run}", form.name);
            assert!(run.stderr.contains("Permission denied, says the test (request id "), "{run}");
            let others: Vec<&str> = run.stderr.lines().filter(|line| !line.starts_with("ycred: debug: ")).collect();
            assert_eq!(others.len(), 2, "{run}");
            assert!(others[0].starts_with("ycred: error: ") && others[1].starts_with("ycred: hint: "), "{run}");
            assert_eq!(flags.is_empty(), run.stderr.lines().count() == 2, "{run}");
        }
    }
}

#[test]
fn calls_that_hand_nothing_out_are_exact_to_the_byte_too() {
    let world = World::new();
    let version = format!("docker-credential-ycred (ycred) v{}\n", env!("CARGO_PKG_VERSION"));
    let hosts = json!({"cr.yandex": "iam", "cr.cloud.yandex.net": "iam", "container-registry.cloud.yandex.net": "iam",
        "registry.yandexcloud.net": "iam", "registry.pe.yandexcloud.net": "iam"});
    let stored = r#"{"ServerURL":"https://cr.yandex","Username":"u","Secret":"p"}"#;
    let request = "protocol=https\nhost=cr.yandex\n\n";
    for (words, stdin, stdout) in [
        (&["docker", "erase"][..], "cr.yandex", ""),
        (&["docker", "store"], stored, ""),
        (&["docker", "version"], "", version.as_str()),
        (&["docker", "-v"], "", version.as_str()),
        (&["docker", "--version"], "", version.as_str()),
        (&["git", "store"], request, ""),
        (&["git", "erase"], request, ""),
        (&["git", "capability"], "", "version 0\ncapability authtype\n"),
        (&["git", "frobnicate"], request, ""),
        (&["terraform", "forget", "cr.yandex"], "", ""),
    ] {
        world.ycred(words).stdin(stdin).run().succeeds().quietly().stdout_is(stdout);
    }
    let run = world.ycred(&["docker", "list"]).run().succeeds().quietly();
    assert_eq!(serde_json::from_str::<Value>(&run.stdout).expect("JSON"), hosts);
    world.ycred(&["terraform", "store", "cr.yandex"]).stdin("{\"token\":\"x\"}").run().exits(2).stdout_is("");
    assert_eq!(world.emulator.calls(), 0);
    assert!(!world.sandbox.path("cache").exists(), "no cache is made for nothing");
}

#[test]
fn the_version_that_kubectl_speaks_is_echoed_and_an_unknown_one_is_an_error_in_its_own_shape() {
    let world = World::new();
    let group = "client.authentication.k8s.io";
    let info = |version: &str| json!({"kind": "ExecCredential", "apiVersion": version, "spec": {}}).to_string();
    for (given, expected) in [
        (Some(info(&format!("{group}/v1"))), "v1"),
        (Some(info(&format!("{group}/v1beta1"))), "v1beta1"),
        (Some(String::new()), "v1beta1"),
        (None, "v1beta1"),
    ] {
        let call = world.ycred(&["kubectl"]);
        let call = if let Some(given) = given { call.env("KUBERNETES_EXEC_INFO", given) } else { call };
        let reply: Value = serde_json::from_str(&call.run().succeeds().quietly().stdout).expect("JSON");
        assert_eq!(reply["apiVersion"], format!("{group}/{expected}"));
    }
    let before = world.emulator.calls();
    for given in
        [info(&format!("{group}/v2")), info("v1"), info(""), "{}".into(), "[]".into(), "{".into(), "null".into()]
    {
        let run = world.ycred(&["kubectl"]).env("KUBERNETES_EXEC_INFO", given).run().exits(2);
        let status: Value = serde_json::from_str(&run.stdout).expect("one JSON document");
        assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(400)), "{run}");
        assert_eq!(run.stdout.matches('\n').count(), 1, "{run}");
    }
    assert_eq!(world.emulator.calls(), before);
}

#[test]
fn what_git_erases_is_that_very_token_and_no_newer_one() {
    let world = World::new();
    let request = |token: &str| format!("protocol=https\nhost=cr.yandex\nusername=iam\npassword={token}\n\n");
    let erase = |token: &str| {
        world.ycred(&["git", "erase"]).stdin(request(token)).run().succeeds().quietly().stdout_is("");
    };
    world.ycred(&["git", "get"]).stdin(request("")).run().succeeds();
    let old = world.last_token();
    world.ycred(&["token", "--force-refresh"]).run().succeeds().quietly();
    let new = world.last_token();
    erase(&old);
    erase("");
    erase("something else");
    assert_eq!(world.is_a_hit(world.ycred(&["token"])), new);
    erase(&new);
    let asked = world.requests();
    world.ycred(&["token"]).run().succeeds().quietly();
    assert_eq!(world.requests(), asked + 1, "the rejected token was served again");
    // Newer gits hand it back as a credential.
    let newest = world.last_token();
    let request =
        format!("capability[]=authtype\nprotocol=https\nhost=cr.yandex\nauthtype=Bearer\ncredential={newest}\n\n");
    world.ycred(&["git", "erase"]).stdin(request).run().succeeds().quietly().stdout_is("");
    world.ycred(&["token"]).run().succeeds().quietly();
    assert_eq!(world.requests(), asked + 2);
}

// ------------------------------------------------------------------------------------------------- closed, full, gone

#[test]
fn with_any_of_the_three_descriptors_closed_the_token_gets_into_no_file_but_the_record() {
    if require_client("bash").is_none() {
        return;
    }
    for closed in 0..8 {
        let world = World::new();
        let redirections: String = [(1, " <&-"), (2, " >&-"), (4, " 2>&-")]
            .into_iter()
            .filter_map(|(bit, text)| (closed & bit != 0).then_some(text))
            .collect();
        let script = format!("\"$@\"{redirections}; exit $?");
        for what in ["miss", "hit"] {
            // A hook that reads no stdin, and one that does: without any it has no request.
            for words in [&["token"][..], &["docker", "get"]] {
                let run = world
                    .sandbox
                    .call("bash", ["-c", &script, "bash", YCRED].iter().chain(words))
                    .stdin("cr.yandex")
                    .run();
                let reads_nothing = words.len() == 2 && closed & 1 != 0;
                assert_eq!(run.status.code(), Some(if reads_nothing { 1 } else { 0 }), "{what}{redirections}\n{run}");
                let token = world.last_token();
                let is_open = closed & 2 == 0 && !reads_nothing;
                assert_eq!(run.stdout.contains(&token), is_open, "{what}{redirections}\n{run}");
                assert!(!run.stderr.contains(&token), "{what}{redirections}\n{run}");
            }
        }
        let token = world.last_token();
        let record = record(&world.sandbox.path("cache"));
        for path in world.sandbox.files("") {
            if path == record || path.starts_with(world.sandbox.path("runs")) {
                continue;
            }
            let text = fs::read(&path).expect("a file");
            let found = text.windows(token.len()).any(|window| window == token.as_bytes());
            assert!(!found, "{} has the token, with{redirections}", path.display());
        }
        // Nor did anything else get in: the record is whole, the lock empty.
        assert_eq!(token_in(&record), token);
        assert_eq!(fs::read(record.with_extension("lock")).expect("the lock"), b"");
    }
}

#[test]
fn a_full_stdout_is_exit_5_and_one_line_and_the_token_is_kept() {
    let world = World::new();
    for (_, form) in forms() {
        let words: Vec<&str> =
            ["-c", "exec \"$@\" >/dev/full", "sh", YCRED].iter().chain(form.words).copied().collect();
        let run = world.sandbox.call("sh", words).env("KUBERNETES_EXEC_INFO", V1).stdin(form.stdin).run().exits(5);
        assert_eq!(run.stdout, "");
        assert_eq!(
            run.stderr, "ycred: error: the reply could not be written: No space left on device (os error 28)\n",
            "{}",
            form.name
        );
    }
    assert_eq!(world.requests(), 1);
    world.is_a_hit(world.ycred(&["token"]));
}

#[test]
fn a_reader_that_has_gone_is_exit_5_and_one_line_and_the_token_is_kept() {
    let world = World::new();
    for words in [&["token"][..], &["kubectl"], &["env"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(YCRED)
            .args(words)
            .env_clear()
            .env("HOME", world.sandbox.path("home"))
            .env("YCRED_CONFIG_DIR", world.sandbox.path("config"))
            .env("YCRED_CACHE_DIR", world.sandbox.path("cache"))
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .process_group(0)
            .output()
            .expect("it runs");
        assert_eq!((output.status.code(), output.status.signal()), (Some(5), None), "{words:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr, "ycred: error: the reply could not be written: Broken pipe (os error 32)\n", "{words:?}");
    }
    world.is_a_hit(world.ycred(&["token"]));
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_stderr_that_cannot_be_written_to_costs_nothing() {
    let world = World::new();
    let script = "exec \"$@\" 2>/dev/full";
    for words in [&["-vvv", "token"][..], &["token"]] {
        let run = world.sandbox.call("sh", ["-c", script, "sh", YCRED].iter().chain(words)).run().succeeds();
        world.printed_a_token(&run);
    }
    world.emulator.fault(Fault::refuse(403));
    world.sandbox.call("sh", ["-c", script, "sh", YCRED, "token", "--force-refresh"]).run().exits(1).stdout_is("");
}

// ---------------------------------------------------------------------------------------------------------------- stdin

/// Which calls read descriptor 0.
fn reads_of_stdin(steps: &[Step]) -> Vec<&Step> {
    let reading = |step: &&Step| {
        let names = ["read", "readv", "pread64", "recvfrom", "recvmsg", "splice", "sendfile", "copy_file_range"];
        names.contains(&step.name.as_str()) && step.line.starts_with(&format!("{}(0<", step.name))
    };
    steps.iter().filter(reading).collect()
}

#[test]
fn hooks_without_a_request_leave_stdin_alone() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let without_request = forms().map(|(_, form)| form).filter(|form| form.stdin.is_empty()).map(|form| form.words);
    let without_operation = [&["docker", "version"][..], &["goauth", "https://cr.yandex/"]];
    for words in without_request.chain(without_operation) {
        for what in ["miss or hit", "hit"] {
            let steps = Step::of(&world.sandbox, |strace| {
                traced(&world.sandbox, strace, words).env("KUBERNETES_EXEC_INFO", V1).stdin("the user's own typing\n")
            });
            assert_eq!(reads_of_stdin(&steps), Vec::<&Step>::new(), "{words:?}, {what}");
            let terminal = steps.iter().find(|step| step.line.contains("/dev/tty"));
            assert_eq!(terminal, None, "{words:?}");
        }
    }
    // The oracle sees a read where there is one.
    let steps =
        Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, &["docker", "get"]).stdin("cr.yandex"));
    assert!(!reads_of_stdin(&steps).is_empty());
}

#[test]
fn a_stdin_that_never_ends_does_not_hold_up_those_who_do_not_read_it() {
    let world = World::new();
    let script = "sleep 60 | { \"$@\" && kill 0; }";
    for (_, form) in forms().filter(|(hook, form)| hook.gives_token && form.stdin.is_empty()) {
        // The group is killed at its end, so the run ends by that signal and not after a minute.
        let run = world
            .sandbox
            .call("sh", ["-c", script, "sh", YCRED].iter().chain(form.words))
            .limit(Duration::from_secs(30))
            .run();
        assert_eq!(run.status.signal(), Some(libc::SIGTERM), "{run}");
        gave(&run, &world.last_token());
    }
}

#[test]
fn a_request_that_never_ends_is_given_up_at_the_deadline() {
    let world = World::new();
    // The end of the pipe is with `sleep`, which the run's own end takes along.
    let script = "sleep 60 | { \"$@\"; echo \"exit $?\"; kill 0; }";
    let requests = HOOKS.iter().filter(|hook| hook.reads_one_request()).map(|hook| (hook.forms[0].words, hook.usage));
    for (words, code) in requests.chain([(&["terraform", "store", "cr.yandex"][..], 2)]) {
        let run = world
            .sandbox
            .call("sh", ["-c", script, "sh", YCRED].iter().chain(words).chain(&["--timeout", "1s"]))
            .limit(Duration::from_secs(30))
            .run();
        assert!(run.stdout.ends_with(&format!("exit {code}\n")), "{run}");
        assert!(run.stderr.contains("ycred: error: stdin has not ended in time\n"), "{run}");
        assert_eq!(run.lines_of_stderr("ycred: hint: ").len(), 1, "{run}");
    }
}

/// Bazel waits ten seconds and then tells no reason: neither a request that does not end nor a cloud that does not answer
/// takes longer than eight, whatever flags and profile allow. The limit is far beyond that and far below what they allow.
#[test]
fn bazel_gets_a_reason_before_its_patience_is_over() {
    let world = World::new();
    world.profile("default", "timeout = \"10m\"");
    world.emulator.fault(Fault::held());
    let script = "sleep 600 | { \"$@\"; echo \"exit $?\"; kill 0; }";
    let words = ["-c", script, "sh", YCRED, "bazel", "get", "--timeout", "10m"];
    let endless = world.sandbox.call("sh", words).limit(Duration::from_secs(60)).start();
    let request = r#"{"uri":"https://cr.yandex/"}"#;
    let calls = [&["bazel", "get"][..], &["bazel", "get", "--timeout=10m"]];
    let silent = calls.map(|words| world.ycred(words).stdin(request).limit(Duration::from_secs(60)).start());
    for running in silent {
        let run = running.finish().exits(4).stdout_is("");
        assert!(run.stderr.starts_with("ycred: error: "), "{run}");
        // Not that a longer timeout would help.
        assert!(run.stderr.ends_with("ycred: hint: try again: bazel waits no longer\n"), "{run}");
    }
    let run = endless.finish().stdout_is("exit 2\n");
    assert!(run.stderr.contains("ycred: error: stdin has not ended in time\n"), "{run}");
}

/// Cargo waits for each reply before it says more, so each must come at once and not at the end.
#[test]
fn cargo_is_replied_to_line_by_line_and_a_line_that_is_none_ends_nothing() {
    let world = World::new();
    let mut child = Command::new(YCRED)
        .arg("--cargo-plugin")
        .env_clear()
        .env("HOME", world.sandbox.path("home"))
        .env("YCRED_CONFIG_DIR", world.sandbox.path("config"))
        .env("YCRED_CACHE_DIR", world.sandbox.path("cache"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("it runs");
    let (mut stdin, stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::BufRead::lines(std::io::BufReader::new(stdout)) {
            let _ = sender.send(line.unwrap_or_default());
        }
    });
    let next = || lines.recv_timeout(Duration::from_secs(30)).expect("a line");
    assert_eq!(next(), r#"{"v":[1]}"#);
    let request = |url: &str, kind: &str, args: Value| {
        json!({"v": 1, "registry": {"index-url": url, "name": "x", "headers": ["WWW-Authenticate: Cargo"]}, "kind": kind,
            "operation": "read", "args": args})
        .to_string()
    };
    let ours = "sparse+https://cr.yandex/";
    for (said, reply) in [
        (request(ours, "get", json!([])), "{\"Ok\":{\"cache\":\"expires\","),
        (request("sparse+https://evil.example/", "get", json!([])), "{\"Err\":{\"kind\":\"url-not-supported\"}}"),
        (request("sparse+http://cr.yandex/", "get", json!([])), "{\"Err\":{\"kind\":\"url-not-supported\"}}"),
        (request(ours, "login", json!([])), "{\"Err\":{\"kind\":\"operation-not-supported\"}}"),
        (request(ours, "logout", json!([])), "{\"Err\":{\"kind\":\"operation-not-supported\"}}"),
        (request(ours, "someday", json!([])), "{\"Err\":{\"kind\":\"operation-not-supported\"}}"),
        (request("https://evil.example/", "login", json!([])), "{\"Err\":{\"kind\":\"url-not-supported\"}}"),
        ("nonsense".into(), "{\"Err\":{\"caused-by\":[],\"kind\":\"other\","),
        (String::new(), "{\"Err\":{\"caused-by\":[],\"kind\":\"other\","),
        (r#"{"v":2,"kind":"get"}"#.into(), "{\"Err\":{\"caused-by\":[\"update ycred"),
        (request(ours, "get", json!(["--profile", "gone"])), "{\"Err\":{\"caused-by\":["),
        (request(ours, "get", json!(["-p", "./default.toml"])), "{\"Err\":{\"caused-by\":[],\"kind\":\"other\","),
        (request(ours, "get", json!(["cargo", "--profile", "default"])), "{\"Ok\":{\"cache\":\"expires\","),
    ] {
        std::io::Write::write_all(&mut stdin, format!("{said}\n").as_bytes()).expect("written");
        let line = next();
        assert!(line.starts_with(reply), "{said}\n{line}");
    }
    // The last line may come without its end.
    std::io::Write::write_all(&mut stdin, request(ours, "get", json!([])).as_bytes()).expect("written");
    drop(stdin);
    assert!(next().starts_with("{\"Ok\":"));
    let output = child.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(0));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.lines().filter(|line| line.starts_with("ycred: error: ")).count(), 5, "{stderr}");
    assert_eq!(world.requests(), 1);
}

#[test]
fn without_a_terminal_and_without_a_session_it_works() {
    if require_client("setsid").is_none() {
        return;
    }
    let world = World::new();
    let run = world.sandbox.call("setsid", ["-w", YCRED, "token"]).run().succeeds().quietly();
    world.printed_a_token(&run);
}

#[test]
fn an_endless_request_is_refused_with_bounded_memory() {
    let world = World::new();
    let too_large = "the request on stdin is larger than 65536 bytes";
    let requests = HOOKS.iter().filter(|hook| hook.reads_one_request()).map(|hook| (hook.forms[0].words, hook));
    let others = [(&["docker", "store"][..], "docker"), (&["terraform", "store", "cr.yandex"], "terraform")];
    for (words, hook) in requests.chain(others.map(|(words, name)| (words, Hook::named(name)))) {
        let (code, stdout) = (hook.usage, (hook.rejection)(too_large));
        for source in ["yes host=cr.yandex", "cat /dev/zero"] {
            let script = format!("{source} 2>/dev/null | (ulimit -v 300000; \"$@\"; echo \"exit $?\")");
            let run = world
                .sandbox
                .call("sh", ["-c", &script, "sh", YCRED].iter().chain(words))
                .limit(Duration::from_secs(30))
                .run();
            assert_eq!(run.stdout, format!("{stdout}exit {code}\n"), "{source}\n{run}");
            assert_eq!(run.stderr, format!("ycred: error: {too_large}\n"), "{run}");
        }
    }
    assert_eq!(world.emulator.calls(), 0);
    // The most that is taken is taken.
    let padded = format!("protocol=https\nhost=cr.yandex\nx={}\n\n", "y".repeat(65_000));
    world.ycred(&["git", "get"]).stdin(padded).run().succeeds().quietly().stdout_has("password=t1.");
}

// ----------------------------------------------------------------------------------------------------------- not UTF-8

fn foul(text: &[u8]) -> OsString {
    OsString::from_vec(text.to_vec())
}

#[test]
fn what_is_not_utf_8_never_panics_and_is_told_in_one_line() {
    let world = World::new();
    let raw = foul(b"\xff\xfe\xc3(");
    let words = |text: &[&str]| -> Vec<OsString> { text.iter().map(OsString::from).chain([raw.clone()]).collect() };
    for arguments in [
        words(&[]),
        words(&["token"]),
        words(&["token", "--profile"]),
        words(&["token", "--format"]),
        words(&["token", "--min-ttl"]),
        words(&["token", "--host"]),
        words(&["kubectl"]),
        words(&["docker"]),
        words(&["docker", "get"]),
        words(&["git"]),
        words(&["terraform", "get"]),
        words(&["use"]),
        words(&["init"]),
        words(&["env", "--shell"]),
        words(&["completions"]),
    ] {
        let run = world.sandbox.ycred(&arguments).stdin("cr.yandex").run();
        let code = run.status.code();
        assert!(code.is_some_and(|code| (1..=3).contains(&code)), "{arguments:?}\n{run}");
        assert!(!run.stderr.contains("panic") && run.stderr.lines().count() <= 2, "{run}");
        assert!(run.stderr.starts_with("ycred: error: "), "{run}");
    }
    // A program of that name is looked for, in vain.
    world.sandbox.ycred(words(&["exec", "--"])).run().exits(127);
    for variable in [
        "KUBERNETES_EXEC_INFO",
        "YCRED_PROFILE",
        "YC_IAM_TOKEN",
        "YC_TOKEN",
        "YC_SERVICE_ACCOUNT_KEY_FILE",
        "YC_METADATA_ADDR",
        "YC_ENDPOINT",
        "HTTPS_PROXY",
        "NO_PROXY",
        "YCRED_RUNNING",
        "SHELL",
        "LANG",
        "CACHE_DIRECTORY",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "HOME",
        "YCRED_CACHE_DIR",
        "YCRED_STATE_DIR",
    ] {
        let run = world.ycred(&["kubectl"]).env(variable, raw.clone()).run();
        let used = ["KUBERNETES_EXEC_INFO", "YCRED_PROFILE"].contains(&variable);
        assert_eq!(run.status.code(), Some(if used { 2 } else { 0 }), "{variable}\n{run}");
        if used {
            let status: Value = serde_json::from_str(&run.stdout).expect("a metav1.Status");
            assert_eq!(status["kind"], "Status", "{variable}\n{run}");
        }
    }
    for stdin in [&b"\xff\xfe"[..], b"cr.yandex\xff", b"host=cr.yandex\nprotocol=https\nx=\xff\n\n"] {
        world.ycred(&["git", "get"]).stdin(stdin).run().succeeds().quietly().stdout_is("");
        let run = world.ycred(&["docker", "get"]).stdin(stdin).run().exits(1);
        assert!(run.stdout.starts_with("ycred: "), "{run}");
    }
}

#[test]
fn paths_that_are_not_utf_8_work() {
    let world = World::new();
    let odd = world.sandbox.path("work").parent().expect("the root").join(foul(b"odd \xff\xfe dir"));
    fs::create_dir(&odd).expect("a directory of that name");
    for file in ["default.toml", "key.json"] {
        fs::copy(world.sandbox.path("config").join(file), odd.join(file)).expect("copied");
    }
    let cache = odd.join("cache");
    let call = || world.ycred(&["token"]).env("YCRED_CONFIG_DIR", &odd).env("YCRED_CACHE_DIR", &cache);
    let run = call().run().succeeds().quietly();
    world.printed_a_token(&run);
    world.is_a_hit(call());
    assert_eq!(records(&cache).len(), 1);
    // By its path, too.
    let path = odd.join("default.toml");
    let arguments = [OsString::from("token"), "--profile".into(), path.clone().into_os_string()];
    world.is_a_hit(world.sandbox.ycred(&arguments).env("YCRED_CACHE_DIR", &cache));
    // Two names that look alike where they are shown share nothing.
    let twin = odd.parent().expect("the root").join(foul(b"odd \xfe\xff dir"));
    fs::create_dir(&twin).expect("another directory");
    for file in ["default.toml", "key.json"] {
        fs::copy(odd.join(file), twin.join(file)).expect("copied");
    }
    let before = world.requests();
    world.ycred(&["token"]).env("YCRED_CONFIG_DIR", &twin).env("YCRED_CACHE_DIR", &cache).run().succeeds().quietly();
    assert_eq!((world.requests(), records(&cache).len()), (before + 1, 2));
    // And a complaint about them is a line of text.
    fs::remove_file(odd.join("key.json")).expect("the key goes");
    let run = call().run().exits(3);
    assert!(run.stderr.is_char_boundary(0) && run.stderr.lines().count() <= 2, "{run}");
}

// ----------------------------------------------------------------------------------------------------------- injection

/// What parts one line from the next for some reader or other.
const BREAKS: &[&str] = &[
    "\r", "\n", "\r\n", "\0", "%0a", "%0A", "%0d%0a", "%00", "%2e", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\t", " ",
    "\\n",
];

#[test]
fn a_request_of_gits_with_a_break_in_it_gets_nothing() {
    let world = World::new();
    for text in BREAKS {
        for request in [
            format!("protocol=https\nhost=cr.yandex{text}evil.example\n\n"),
            format!("protocol=https\nhost=evil.example{text}cr.yandex\n\n"),
            format!("protocol=https{text}\nhost=evil.example\n\n"),
            format!("protocol=https\nhost={text}cr.yandex.evil.example\n\n"),
        ] {
            // A line feed that makes a line of its own is no injection: without a key it is no request at all.
            world.ycred(&["git", "get"]).stdin(request.as_str()).run().succeeds().quietly().stdout_is("");
        }
        if *text == "\n" {
            continue;
        }
        for request in [
            format!("protocol=https\nhost=cr.yandex{text}\n\n"),
            format!("protocol=https\nhost={text}cr.yandex\n\n"),
            format!("protocol=https{text}\nhost=cr.yandex\n\n"),
            format!("protocol=https\nhost{text}=cr.yandex\n\n"),
        ] {
            world.ycred(&["git", "get"]).stdin(request.as_str()).run().succeeds().quietly().stdout_is("");
        }
        if ["\r", "\r\n", "\0"].contains(text) {
            // Refused wherever it stands, since another reader may see two lines.
            let request = format!("protocol=https\nhost=cr.yandex\npath=x{text}y\n\n");
            world.ycred(&["git", "get"]).stdin(request).run().succeeds().quietly().stdout_is("");
        }
    }
    for request in [
        "protocol=https\nhost=\n\n",
        "protocol=https\nhost= \n\n",
        "protocol=https\n\n",
        "host=cr.yandex\n\n",
        "protocol=http\nhost=cr.yandex\n\n",
        "protocol=HTTPS\nhost=cr.yandex\n\n",
        "protocol=\nhost=cr.yandex\n\n",
        "protocol=ssh\nhost=cr.yandex\n\n",
        "url=https://cr.yandex\n\n",
        "protocol=https\nhost\n\n",
        "",
        "\n",
        "\nprotocol=https\nhost=cr.yandex\n\n",
        "protocol=https\nhost=cr.yandex\nhost=evil.example\n\n",
        "protocol=https\nhost=user@cr.yandex\n\n",
        "protocol=https\nhost=cr.yandex/path\n\n",
        "protocol=https\nprotocol=http\nhost=cr.yandex\n\n",
    ] {
        world.ycred(&["git", "get"]).stdin(request).run().succeeds().quietly().stdout_is("");
    }
    assert_eq!(world.emulator.calls(), 0);
    // Keys of a later git are no reason to refuse.
    let known = "protocol=https\nhost=cr.yandex\npath=a/b\nnew-key=%0a\nstate[]=x\nwwwauth[]=Basic realm=\"x\"\n\n";
    world.ycred(&["git", "get"]).stdin(known).run().succeeds().quietly().stdout_has("username=iam\n");
}

#[test]
fn a_request_of_dockers_with_a_break_in_it_is_not_ours() {
    let world = World::new();
    for text in BREAKS {
        for request in [
            format!("cr.yandex{text}evil.example"),
            format!("evil.example{text}cr.yandex"),
            format!("https://cr.yandex{text}evil.example/"),
            format!("https://evil.example/{text}cr.yandex"),
            format!("https://cr.yandex{text}@evil.example/"),
        ] {
            let run = world.ycred(&["docker", "get"]).stdin(request.as_str()).run();
            run.exits(1).quietly().stdout_is("credentials not found in native keychain\n");
        }
    }
    assert_eq!(world.emulator.calls(), 0);
    // A line end behind the address is docker's own doing.
    for end in ["", "\n", "\r\n"] {
        let run = world.ycred(&["docker", "get"]).stdin(format!("https://cr.yandex{end}")).run().succeeds().quietly();
        let reply: Value = serde_json::from_str(&run.stdout).expect("JSON");
        assert_eq!(reply["ServerURL"], "https://cr.yandex");
    }
}

#[test]
fn a_host_of_terraforms_with_a_break_in_it_is_not_ours() {
    let world = World::new();
    for text in BREAKS.iter().filter(|text| **text != "\0") {
        for host in [
            format!("cr.yandex{text}evil.example"),
            format!("evil.example{text}cr.yandex"),
            format!("cr.yandex{text}"),
            format!("{text}cr.yandex"),
        ] {
            world.ycred(&["terraform", "get", &host]).run().succeeds().quietly().stdout_is("{}\n");
        }
    }
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_server_cannot_put_a_line_into_a_reply() {
    let world = World::new();
    for bad in ["t1.a\nhost=evil.example", "t1.a\r\nquit=1", "t1.a\"}", "t1.a b", "t1.a\u{0}b", "t1.жетон", ""] {
        world.emulator.clear_faults();
        let answer = json!({"iamToken": bad, "expiresAt": "2030-01-01T00:00:00Z"}).to_string();
        world.emulator.fault(Fault::body(answer));
        for (hook, form) in forms() {
            let run = form.call(&world.sandbox, &["--no-cache"]).run().exits((hook.failure)(4));
            assert_eq!(run.stdout, (form.refusal)(&run), "{bad:?}\n{run}");
            assert!(!run.stdout.contains("evil.example") && run.stderr.lines().count() <= 2, "{bad:?}\n{run}");
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------- panic

#[cfg(not(debug_assertions))]
#[test]
fn a_release_has_no_panic_on_demand() {
    let world = World::new();
    world.ycred(&["token"]).env("YCRED_DEBUG_PANIC", "x").run().succeeds().quietly();
}

#[cfg(debug_assertions)]
#[test]
fn a_panic_is_exit_5_with_one_clean_line_and_nothing_on_stdout() {
    let world = World::new();
    // What a conversation has said before, it has said.
    for (_, form) in forms().filter(|(hook, _)| (hook.failure)(5) == 5) {
        for flags in [&[][..], &["-vvv"]] {
            let run = form
                .call(&world.sandbox, flags)
                .env("YCRED_DEBUG_PANIC", "a defect\nof\u{1b}[31m the test: t1.9euelZqXsecretsecret.x")
                .run();
            let run = run.exits(5).stdout_is("");
            let lines: Vec<&str> = run.stderr.lines().filter(|line| !line.starts_with("ycred: debug: ")).collect();
            assert_eq!(lines, ["ycred: error: a defect of ycred: a defect of the test: ***"], "{run}");
        }
    }
    // With the very token at hand that is masked.
    world.ycred(&["token"]).run().succeeds();
    let token = world.last_token();
    let piece = &token[20..40];
    let run = world.ycred(&["token"]).env("YCRED_DEBUG_PANIC", format!("at {piece} it broke")).run().exits(5);
    assert_eq!(run.stderr, "ycred: error: a defect of ycred: at *** it broke\n");
    world.is_a_hit(world.ycred(&["token"]));
    // Commands for people do it alike.
    world.ycred(&["list"]).env("YCRED_DEBUG_PANIC", "x").run().exits(5).stdout_is("");
}
