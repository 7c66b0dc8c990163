//! Standard descriptors that are closed, full, or without a reader.

use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};

use crate::emulator::faults::Fault;
use crate::harness::{YCRED, require_client};
use crate::hooks::{V1, forms};
use crate::hostile::records::{record, token_in};
use crate::world::World;

#[test]
fn with_any_standard_descriptor_closed_no_file_but_the_record_contains_the_token() {
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
        for case in ["miss", "hit"] {
            // One hook that does not read stdin, and one that reads its request there.
            for arguments in [&["token"][..], &["docker", "get"]] {
                let run = world
                    .sandbox
                    .call("bash", ["-c", &script, "bash", YCRED].iter().chain(arguments))
                    .stdin("cr.yandex")
                    .run();
                let lacks_request = arguments.len() == 2 && closed & 1 != 0;
                // A reply that nobody can read is not a success.
                let code = match (lacks_request, closed & 2 != 0) {
                    (true, _) => 1,
                    (false, true) => 5,
                    (false, false) => 0,
                };
                assert_eq!(run.status.code(), Some(code), "{case}{redirections}\n{run}");
                if closed & 6 == 2 && !lacks_request {
                    assert_eq!(run.stderr, "ycred: error: cannot write the reply: stdout is closed\n", "{case}");
                }
                let token = world.last_token();
                let is_printed = closed & 2 == 0 && !lacks_request;
                assert_eq!(run.stdout.contains(&token), is_printed, "{case}{redirections}\n{run}");
                assert!(!run.stderr.contains(&token), "{case}{redirections}\n{run}");
            }
        }
        let token = world.last_token();
        let record = record(&world.sandbox.path("cache"));
        for path in world.sandbox.files("") {
            if path == record || path.starts_with(world.sandbox.path("runs")) {
                continue;
            }
            let content = fs::read(&path).expect("a file");
            let has_token = content.windows(token.len()).any(|window| window == token.as_bytes());
            assert!(!has_token, "{} contains the token after{redirections}", path.display());
        }
        // A file opened as descriptor 0, 1 or 2 would also have received other output.
        assert_eq!(token_in(&record), token);
        assert_eq!(fs::read(record.with_extension("lock")).expect("the lock"), b"");
    }
}

#[test]
fn a_full_stdout_exits_5_with_one_error_line_and_the_token_stays_cached() {
    let world = World::new();
    for (_, form) in forms() {
        let arguments: Vec<&str> =
            ["-c", "exec \"$@\" >/dev/full", "sh", YCRED].iter().chain(form.words).copied().collect();
        let run = world.sandbox.call("sh", arguments).env("KUBERNETES_EXEC_INFO", V1).stdin(form.stdin).run().exits(5);
        assert_eq!(run.stdout, "");
        assert_eq!(run.stderr, "ycred: error: cannot write the reply: the disk is full\n", "{}", form.name);
    }
    assert_eq!(world.requests(), 1);
    world.assert_hit(world.ycred(&["token"]));
}

#[test]
fn a_closed_stdout_pipe_exits_5_with_one_error_line_and_the_token_stays_cached() {
    let world = World::new();
    for arguments in [&["token"][..], &["kubectl"], &["pnpm"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(YCRED)
            .args(arguments)
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
        assert_eq!((output.status.code(), output.status.signal()), (Some(5), None), "{arguments:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr, "ycred: error: cannot write the reply: Broken pipe\n", "{arguments:?}");
    }
    world.assert_hit(world.ycred(&["token"]));
    assert_eq!(world.requests(), 1);
}

/// A person stops reading (`ycred list | head`), or a script closes stdout: that is not a defect of ycred.
#[test]
fn a_command_for_people_ends_silently_if_nobody_reads_its_output() {
    let world = World::new();
    for arguments in [
        &["--help"][..],
        &["help", "init"],
        &["--version"],
        &["kubectl", "--help"],
        &["nonesuch"],
        &["use", "nonesuch"],
        &["list"],
        &["env"],
        &["completions", "bash"],
        &["completions", "fish"],
        &["use", "default"],
        &["refresh"],
        &["import", "--environment", "x"],
        &["logout"],
        &["logout", "--all"],
    ] {
        // The exit code must be the one that the command has with a reader.
        let expected = world.ycred(arguments).run().status.code();
        for redirection in ["| true", ">&-", "1</dev/null"] {
            // The reader of the pipe has gone before ycred starts.
            let script = match redirection {
                "| true" => "exec 3>&1; { sleep 0.2; \"$@\"; echo \"exit $?\" >&3; } | true".to_owned(),
                other => format!("\"$@\" {other}; echo \"exit $?\""),
            };
            let run = world.sandbox.call("sh", ["-c", &script, "sh", YCRED].iter().chain(arguments)).run();
            assert_eq!(run.stdout, format!("exit {}\n", expected.unwrap_or(-1)), "{redirection}\n{run}");
            assert!(!run.stderr.contains("pipe") && !run.stderr.contains("stdout"), "{redirection}\n{run}");
        }
    }
}

#[test]
fn a_full_disk_behind_stdout_is_not_a_defect() {
    let world = World::new();
    for arguments in [&["--help"][..], &["list"], &["env"], &["completions", "zsh"], &["logout", "--all"]] {
        let script = "\"$@\" >/dev/full";
        let run = world.sandbox.call("sh", ["-c", script, "sh", YCRED].iter().chain(arguments)).run().exits(4);
        assert!(run.stderr.contains("cannot write the output: the disk is full\n"), "{run}");
        assert_eq!(run.lines_of_stderr("ycred: error: ").len(), 1, "{run}");
    }
}

#[test]
fn an_unwritable_stderr_changes_neither_stdout_nor_the_exit_code() {
    let world = World::new();
    let script = "exec \"$@\" 2>/dev/full";
    for arguments in [&["-vvv", "token"][..], &["token"]] {
        let run = world.sandbox.call("sh", ["-c", script, "sh", YCRED].iter().chain(arguments)).run().succeeds();
        world.token_printed_by(&run);
    }
    world.emulator.fault(Fault::refuse(403));
    world.sandbox.call("sh", ["-c", script, "sh", YCRED, "token", "--force-refresh"]).run().exits(1).stdout_is("");
}
