//! Source `command`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::emulator::Config;
use crate::expect::{fails_with, fails_with_hint, prints_token};
use crate::harness::Sandbox;
use crate::harness::machine::strace;
use crate::harness::waiting::{MINUTE, wait_until};
use crate::world::World;

/// A sandbox with a default profile that runs this script, and the file in which the script counts its runs.
fn sandbox_with_script(script: &str, more: &str) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let runs = sandbox.path("tmp/runs");
    let script = format!("#!/bin/sh\necho run >> '{}'\n{script}\n", runs.display());
    sandbox.script("config/give", &script);
    sandbox.profile("default", &format!("source = \"command\"\ncommand = [\"./give\", \"me\"]\n{more}\n"));
    (sandbox, runs)
}

/// Ten times the deadline that the tests of hanging commands set.
const RUN_LIMIT: Duration = Duration::from_secs(20);

fn run_count(runs: &std::path::Path) -> usize {
    fs::read_to_string(runs).map_or(0, |log| log.lines().count())
}

#[test]
fn a_command_may_print_a_bare_token_or_the_json_of_yc_or_the_api() {
    for printed in [
        "t1.from-a-command.x",
        "{\"iam_token\": \"t1.from-a-command.x\", \"expires_at\": \"2999-01-01T00:00:00.123456789Z\"}",
        "{\"iamToken\": \"t1.from-a-command.x\", \"expiresAt\": \"2999-01-01T03:00:00+03:00\"}",
        "{\"iam_token\": \"t1.from-a-command.x\"}",
        "{\"iam_token\": \"t1.from-a-command.x\", \"expires_at\": 32472144000}",
    ] {
        let (sandbox, runs) = sandbox_with_script(&format!("printf '%s\\n' '{printed}'"), "");
        sandbox.ycred(["token"]).run().exits(0).stderr_is_empty().stdout_is("t1.from-a-command.x\n");
        sandbox.ycred(["token"]).run().exits(0).stderr_is_empty().stdout_is("t1.from-a-command.x\n");
        assert_eq!(run_count(&runs), 1, "{printed}");
    }
}

#[test]
fn a_command_runs_in_the_profiles_directory_without_stdin_and_its_stderr_is_not_printed() {
    let (sandbox, _) =
        sandbox_with_script("cat >&2; pwd >&2; echo noise >&2; printf 't1.%s.%s' \"$1\" \"$(basename \"$PWD\")\"", "");
    sandbox.ycred(["token"]).stdin("from the terminal").run().exits(0).stderr_is_empty().stdout_is("t1.me.config\n");
}

#[test]
fn a_failed_command_is_reported_with_its_last_stderr_line_and_not_run_again_at_once() {
    let (sandbox, runs) = sandbox_with_script("echo first >&2; echo 'please log in' >&2; exit 7", "");
    let error = fails_with(sandbox.ycred(["token"]).run(), 1, &["command ./give", "exit status: 7", "please log in"]);
    assert!(!error.contains("first"), "{error}");
    fails_with(sandbox.ycred(["token"]).run(), 1, &["please log in", "remembered"]);
    assert_eq!(run_count(&runs), 1, "failures of local commands are remembered too");
    let (sandbox, _) = sandbox_with_script("kill -9 $$", "");
    fails_with(sandbox.ycred(["token"]).run(), 1, &["signal: 9"]);
}

#[test]
fn a_command_that_cannot_be_run_is_named() {
    let sandbox = Sandbox::new();
    sandbox.profile("default", "source = \"command\"\ncommand = [\"no-such-program-anywhere\", \"secret-argument\"]\n");
    let run = sandbox.ycred(["token"]).env("PATH", sandbox.path("bin")).run().never_prints("secret-argument");
    fails_with_hint(run, 3, &["command no-such-program-anywhere", "program not found"], "absolute path");
}

#[test]
fn the_output_of_a_command_must_be_a_token() {
    for printed in ["", "two words", "{}", "{\"token\": 1}", "<!DOCTYPE html>", "жетон", "{\"iam_token\": \"\"}"] {
        let (sandbox, _) = sandbox_with_script(&format!("printf '%s' '{printed}'"), "");
        fails_with(sandbox.ycred(["token"]).run(), 1, &["command ./give", "neither a token nor JSON"]);
    }
    let (sandbox, _) = sandbox_with_script("head -c 100000 /dev/zero | tr '\\0' x", "");
    fails_with(sandbox.ycred(["token"]).run(), 1, &["command ./give"]);
    let (sandbox, _) = sandbox_with_script("printf '\\377\\376'", "");
    fails_with(sandbox.ycred(["token"]).run(), 1, &["command ./give", "not UTF-8"]);
}

#[test]
fn a_hanging_command_is_killed_with_its_children_at_the_deadline() {
    let (sandbox, _) =
        sandbox_with_script("sleep 1000 & echo $! > ../tmp/child; echo $$ > ../tmp/self; wait", "timeout = \"2s\"");
    let call = sandbox.ycred(["token"]).limit(RUN_LIMIT);
    fails_with_hint(call.run(), 4, &["command ./give", "killed"], "--timeout");
    for name in ["self", "child"] {
        let id = fs::read_to_string(sandbox.path("tmp").join(name)).expect("a process id");
        let stat = PathBuf::from(format!("/proc/{}/stat", id.trim()));
        // Gone, or a zombie that no parent has reaped.
        wait_until("the process has ended", || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")));
    }
}

#[test]
fn a_command_that_leaves_a_child_with_its_stdout_open_does_not_hang_the_caller() {
    let (sandbox, _) = sandbox_with_script("sleep 1000 & echo t1.quick.x", "timeout = \"2s\"");
    // The command ends when its own process does. Its remaining children are killed.
    assert_eq!(prints_token(sandbox.ycred(["token"]).limit(RUN_LIMIT).run()), "t1.quick.x");
}

/// Once the leader has been waited for, its number may be that of another group.
#[test]
fn a_group_is_killed_before_its_leader_is_waited_for() {
    let Some(strace) = strace() else { return };
    for (script, code) in [("echo t1.quick.x", 0), ("exit 3", 1), ("sleep 1000", 4)] {
        let (sandbox, _) = sandbox_with_script(script, "timeout = \"1s\"");
        let log = sandbox.path("tmp/trace");
        let call = sandbox.call(&strace, ["-qq", "-e", "trace=kill,wait4,waitid", "-e", "signal=none", "-o"]);
        call.and([log.as_os_str(), crate::harness::YCRED.as_ref(), "token".as_ref()]).run().exits(code);
        let log = fs::read_to_string(log).expect("a trace");
        let first = |is_it: fn(&str) -> bool| {
            log.lines().position(is_it).unwrap_or_else(|| panic!("{script}: not all calls are there\n{log}"))
        };
        let killed = first(|line| line.starts_with("kill(-"));
        let reaped = first(|line| line.starts_with("wait") && !line.contains("WNOWAIT"));
        assert!(killed < reaped, "{script}: {log}");
    }
}

#[test]
fn a_command_that_calls_ycred_with_the_same_profile_is_rejected() {
    let sandbox = Sandbox::new();
    let ycred = crate::harness::YCRED;
    sandbox.profile("default", &format!("source = \"command\"\ncommand = [\"{ycred}\", \"token\"]\n"));
    let run = sandbox.ycred(["token"]).run();
    let file = sandbox.path("config/default.toml");
    let error = format!("ycred: error: profile default: {}:2: `command` runs ycred", file.display());
    assert_eq!(run.stderr.matches("ycred: error: ").count(), 1, "{run}");
    assert!(run.stderr.starts_with(&error), "{error}\n{run}");
    fails_with_hint(run, 3, &["runs ycred with the same profile"], "select another profile in the command");
    // Also through a script and without the cache.
    sandbox.script("config/give", &format!("#!/bin/sh\nexec '{ycred}' token -p default --no-cache\n"));
    sandbox.profile("default", "source = \"command\"\ncommand = [\"./give\"]\n");
    fails_with(sandbox.ycred(["token"]).run(), 3, &["runs ycred with the same profile"]);
    // Also where another profile is in between.
    for (name, other) in [("default", "other"), ("other", "default")] {
        let command = format!("command = [\"{ycred}\", \"token\", \"--profile\", \"{other}\"]");
        sandbox.profile(name, &format!("source = \"command\"\n{command}\n"));
    }
    fails_with_hint(sandbox.ycred(["token"]).run(), 3, &["default.toml:2: `command` runs"], "select another profile");
}

#[test]
fn a_command_may_call_ycred_with_another_profile() {
    let world = World::new();
    let ycred = crate::harness::YCRED;
    world
        .sandbox
        .profile("outer", &format!("source = \"command\"\ncommand = [\"{ycred}\", \"token\", \"-p\", \"default\"]\n"));
    let token = prints_token(world.token(&["-p", "outer"]).run());
    assert_eq!(world.emulator.subject_of(&token), Some(world.key.service_account_id.clone()));
}

#[test]
fn the_token_of_a_command_is_renewed_after_five_minutes() {
    let world = World::without_profile(Config::default());
    let runs = world.sandbox.path("tmp/runs");
    let script = format!(
        "#!/bin/sh\necho run >> '{0}'\nn=$(wc -l < '{0}')\necho \"{{\\\"iam_token\\\":\\\"t1.number-$n.x\\\",\\\"expires_at\\\":\\\"2999-01-01T00:00:00Z\\\"}}\"\n",
        runs.display()
    );
    world.sandbox.script("config/give", &script);
    world.sandbox.profile("default", "source = \"command\"\ncommand = [\"./give\"]\n");
    assert_eq!(world.get(), "t1.number-1.x");
    world.age(4 * MINUTE);
    assert_eq!(world.get(), "t1.number-1.x");
    world.age(2 * MINUTE);
    assert_eq!(world.get(), "t1.number-2.x");
    assert_eq!(run_count(&runs), 2);
}

#[test]
fn a_command_works_if_sigchld_is_ignored() {
    let (sandbox, _) = sandbox_with_script("echo t1.quick.x", "");
    // Some daemons and cron wrappers start programs like this.
    let call = sandbox.call("sh", ["-c", "trap '' CHLD; exec \"$@\"", "sh", crate::harness::YCRED, "token"]);
    assert_eq!(prints_token(call.run()), "t1.quick.x");
}
