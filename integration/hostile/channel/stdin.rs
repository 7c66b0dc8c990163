//! Stdin that hooks do not read, that never ends, or that carries several requests.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::emulator::faults::Fault;
use crate::harness::machine::require_tracer;
use crate::harness::strace::{Step, traced};
use crate::harness::{YCRED, require_client};
use crate::hooks::{HOOKS, Hook, V1, forms};
use crate::world::World;

/// Returns the system calls that read descriptor 0.
fn reads_of_stdin(steps: &[Step]) -> Vec<&Step> {
    let is_read = |step: &&Step| {
        let names = ["read", "readv", "pread64", "recvfrom", "recvmsg", "splice", "sendfile", "copy_file_range"];
        names.contains(&step.name.as_str()) && step.line.starts_with(&format!("{}(0<", step.name))
    };
    steps.iter().filter(is_read).collect()
}

#[test]
fn hooks_without_a_request_do_not_read_stdin() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let without_request = forms().map(|(_, form)| form).filter(|form| form.stdin.is_empty()).map(|form| form.words);
    let without_operation = [&["docker", "version"][..], &["goauth", "https://cr.yandex/"]];
    for arguments in without_request.chain(without_operation) {
        for case in ["miss or hit", "hit"] {
            let steps = Step::of(&world.sandbox, |strace| {
                traced(&world.sandbox, strace, arguments)
                    .env("KUBERNETES_EXEC_INFO", V1)
                    .stdin("the user's own typing\n")
            });
            assert_eq!(reads_of_stdin(&steps), Vec::<&Step>::new(), "{arguments:?}, {case}");
            let terminal = steps.iter().find(|step| step.line.contains("/dev/tty"));
            assert_eq!(terminal, None, "{arguments:?}");
        }
    }
    // Control: the check finds the read of a hook that reads stdin.
    let steps =
        Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, &["docker", "get"]).stdin("cr.yandex"));
    assert!(!reads_of_stdin(&steps).is_empty());
}

#[test]
fn an_endless_stdin_does_not_delay_hooks_that_do_not_read_it() {
    let world = World::new();
    let script = "sleep 60 | { \"$@\" && kill 0; }";
    for (hook, form) in forms().filter(|(hook, form)| hook.returns_token && form.stdin.is_empty()) {
        // After a success the script kills its process group, so the run ends by SIGTERM and not after a minute.
        let run = world
            .sandbox
            .call("sh", ["-c", script, "sh", YCRED].iter().chain(form.words))
            .limit(Duration::from_secs(30))
            .run();
        assert_eq!(run.status.signal(), Some(libc::SIGTERM), "{run}");
        hook.assert_gave_token(&run, &world.last_token());
    }
}

#[test]
fn an_unfinished_request_fails_at_the_deadline() {
    let world = World::new();
    // `sleep` holds the pipe open until the script kills the process group.
    let script = "sleep 60 | { \"$@\"; echo \"exit $?\"; kill 0; }";
    let requests = HOOKS.iter().filter(|hook| hook.reads_one_request()).map(|hook| (hook.forms[0].words, hook.usage));
    for (arguments, code) in requests.chain([(&["terraform", "store", "cr.yandex"][..], 2)]) {
        let run = world
            .sandbox
            .call("sh", ["-c", script, "sh", YCRED].iter().chain(arguments).chain(&["--timeout", "1s"]))
            .limit(Duration::from_secs(30))
            .run();
        assert!(run.stdout.ends_with(&format!("exit {code}\n")), "{run}");
        assert!(run.stderr.contains("ycred: error: stdin did not end in time\n"), "{run}");
        assert_eq!(run.lines_of_stderr("ycred: hint: ").len(), 1, "{run}");
    }
}

/// A client may keep its end of the pipe open until it has the reply.
#[test]
fn a_request_ends_where_its_protocol_ends_it_and_not_with_stdin() {
    let world = World::new();
    let kubelet = Hook::named("kubelet").forms[0].stdin;
    let stored = |host: &str| json!({"ServerURL": host, "Username": "u", "Secret": "s"}).to_string();
    // The pieces are written one after the other; `sleep` then holds the pipe open until the script kills the process group.
    let script = "{ printf '%s' \"$1\"; sleep 0.1; printf '%s' \"$2\"; sleep 60; } | { shift 2; \"$@\"; echo \"exit $?\"; kill 0; }";
    let (open, close) = kubelet.split_at(kubelet.len() - 1);
    for (pieces, arguments, reply) in [
        (["protocol=https\nhost=cr.yandex\n", "\n"], &["git", "get"][..], "password=t1."),
        (["protocol=https\nhost=cr.", "yandex\n\nhost=evil.example\n"], &["git", "get"], "password=t1."),
        (["protocol=https\nhost=evil.example\n\n", ""], &["git", "get"], "exit 0\n"),
        (["protocol=https\nhost=cr.yandex\nusername=deploy-bot\n\n", ""], &["git", "get"], "exit 0\n"),
        (["protocol=https\nhost=cr.yandex\npassword=x\n\n", ""], &["git", "erase"], "exit 0\n"),
        (["protocol=https\nhost=cr.yandex\npassword=x\n\n", ""], &["git", "store"], "exit 0\n"),
        (["{\"uri\":\"https://cr.yandex/{}\"", "}"], &["bazel", "get"], "Bearer t1."),
        (["{\"uri\":\"https://cr.yandex/\",\"more\":{}", "}\n"], &["bazel", "get"], "Bearer t1."),
        ([open, close], &["kubelet"], "\"password\":\"t1."),
        ([&stored("cr.yandex"), ""], &["docker", "store"], "exit 0\n"),
        ([&stored("{}"), ""], &["docker", "store"], "exit 1\n"),
        (["{\"token\":\"x\"", "}"], &["terraform", "store", "cr.yandex"], "exit 2\n"),
    ] {
        let run = world
            .sandbox
            .call("sh", ["-c", script, "sh"].iter().chain(&pieces).chain(&[YCRED]).chain(arguments))
            .limit(Duration::from_secs(15))
            .run();
        assert!(run.stdout.contains(reply), "{pieces:?}\n{run}");
        assert!(!run.stderr.contains("did not end in time"), "{run}");
    }
}

/// Bazel gives up after ten seconds without printing a reason. Therefore ycred fails after eight at the latest, even if
/// flags and profile allow more, both for an unfinished request and for a cloud that does not respond. The limit of 60
/// seconds is far above eight seconds and far below the ten minutes that flags and profile allow here.
#[test]
fn bazel_gets_an_error_before_its_own_timeout() {
    let world = World::new();
    world.profile("default", "timeout = \"10m\"");
    world.emulator.fault(Fault::held());
    let script = "sleep 600 | { \"$@\"; echo \"exit $?\"; kill 0; }";
    let arguments = ["-c", script, "sh", YCRED, "bazel", "get", "--timeout", "10m"];
    let unfinished = world.sandbox.call("sh", arguments).limit(Duration::from_secs(60)).start();
    let request = r#"{"uri":"https://cr.yandex/"}"#;
    let calls = [&["bazel", "get"][..], &["bazel", "get", "--timeout=10m"]];
    let unanswered =
        calls.map(|arguments| world.ycred(arguments).stdin(request).limit(Duration::from_secs(60)).start());
    for running in unanswered {
        let run = running.finish().exits(4).stdout_is("");
        assert!(run.stderr.starts_with("ycred: error: "), "{run}");
        // The hint must not suggest a longer timeout, which would not help.
        assert!(
            run.stderr.ends_with(
                "ycred: hint: try again; a longer --timeout does not help, because bazel waits no longer than this\n"
            ),
            "{run}"
        );
    }
    let run = unfinished.finish().stdout_is("exit 2\n");
    assert!(run.stderr.contains("ycred: error: stdin did not end in time\n"), "{run}");
}

/// Cargo waits for each reply before it sends the next request, so ycred must reply to each line immediately.
#[test]
fn cargo_gets_a_reply_to_each_line_and_an_invalid_line_does_not_end_the_session() {
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
    let registry = "sparse+https://cr.yandex/";
    for (sent, reply) in [
        (request(registry, "get", json!([])), "{\"Ok\":{\"cache\":\"expires\","),
        (request("sparse+https://evil.example/", "get", json!([])), "{\"Err\":{\"kind\":\"url-not-supported\"}}"),
        (request("sparse+http://cr.yandex/", "get", json!([])), "{\"Err\":{\"kind\":\"url-not-supported\"}}"),
        (request(registry, "login", json!([])), "{\"Err\":{\"kind\":\"operation-not-supported\"}}"),
        (request(registry, "logout", json!([])), "{\"Err\":{\"kind\":\"operation-not-supported\"}}"),
        (request(registry, "someday", json!([])), "{\"Err\":{\"kind\":\"operation-not-supported\"}}"),
        (request("https://evil.example/", "login", json!([])), "{\"Err\":{\"kind\":\"url-not-supported\"}}"),
        ("nonsense".into(), "{\"Err\":{\"caused-by\":[],\"kind\":\"other\","),
        (String::new(), "{\"Err\":{\"caused-by\":[],\"kind\":\"other\","),
        (r#"{"v":2,"kind":"get"}"#.into(), "{\"Err\":{\"caused-by\":[\"update ycred"),
        (request(registry, "get", json!(["--profile", "gone"])), "{\"Err\":{\"caused-by\":["),
        (request(registry, "get", json!(["-p", "./default.toml"])), "{\"Err\":{\"caused-by\":[],\"kind\":\"other\","),
        (request(registry, "get", json!(["cargo", "--profile", "default"])), "{\"Ok\":{\"cache\":\"expires\","),
    ] {
        std::io::Write::write_all(&mut stdin, format!("{sent}\n").as_bytes()).expect("cargo's line is written");
        let line = next();
        assert!(line.starts_with(reply), "{sent}\n{line}");
    }
    // The last line may lack a line feed.
    std::io::Write::write_all(&mut stdin, request(registry, "get", json!([])).as_bytes()).expect("written");
    drop(stdin);
    assert!(next().starts_with("{\"Ok\":"));
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.lines().filter(|line| line.starts_with("ycred: error: ")).count(), 5, "{stderr}");
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_token_is_printed_in_a_new_session_without_a_terminal() {
    if require_client("setsid").is_none() {
        return;
    }
    let world = World::new();
    let run = world.sandbox.call("setsid", ["-w", YCRED, "token"]).run().succeeds().stderr_is_empty();
    world.token_printed_by(&run);
}

#[test]
fn an_endless_request_is_rejected_within_bounded_memory() {
    let world = World::new();
    let too_large = "the request on stdin is larger than 65536 bytes";
    let requests = HOOKS.iter().filter(|hook| hook.reads_one_request()).map(|hook| (hook.forms[0].words, hook));
    let others = [(&["docker", "store"][..], "docker"), (&["terraform", "store", "cr.yandex"], "terraform")];
    for (arguments, hook) in requests.chain(others.map(|(arguments, name)| (arguments, Hook::named(name)))) {
        let (code, stdout) = (hook.usage, (hook.rejection)(too_large));
        for source in ["yes host=cr.yandex", "cat /dev/zero"] {
            let script = format!("{source} 2>/dev/null | (ulimit -v 300000; \"$@\"; echo \"exit $?\")");
            let run = world
                .sandbox
                .call("sh", ["-c", &script, "sh", YCRED].iter().chain(arguments))
                .limit(Duration::from_secs(30))
                .run();
            assert_eq!(run.stdout, format!("{stdout}exit {code}\n"), "{source}\n{run}");
            assert_eq!(run.stderr, format!("ycred: error: {too_large}\n"), "{run}");
        }
    }
    assert_eq!(world.emulator.calls(), 0);
    // A large request within the limit is accepted.
    let padded = format!("protocol=https\nhost=cr.yandex\nx={}\n\n", "y".repeat(65_000));
    world.ycred(&["git", "get"]).stdin(padded).run().succeeds().stderr_is_empty().stdout_has("password=t1.");
}
