//! A pseudo-terminal with scripted input, and what commands write to it: colour, and what they wait for.

use std::fs;
use std::time::Duration;

use crate::emulator::faults::Fault;
use crate::harness::waiting::wait_until;
use crate::harness::{Call, Run, Sandbox, YCRED};
use crate::sources::person::Person;
use crate::world::World;

/// A Python program that runs a command in a new terminal.
///
/// The last argument is a list of `OUTPUT=>INPUT` steps, separated by `|`. Each input is typed once its output has
/// appeared, after that of the step before.
pub const TERMINAL: &str = r#"
import ctypes, os, pty, select, sys, time
pid, master = pty.fork()
if pid == 0:
    # The terminal is a session of its own, which a killed test does not end: PR_SET_PDEATHSIG, SIGKILL.
    ctypes.CDLL(None).prctl(1, 9)
    os.execvp(sys.argv[1], sys.argv[1:-1])
steps = sys.argv[-1].encode().decode("unicode_escape")
seen, matched, steps, end = b"", 0, [step.split("=>") for step in steps.split("|")], time.monotonic() + 60
while time.monotonic() < end:
    if select.select([master], [], [], 0.05)[0]:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    at = seen.find(steps[0][0].encode(), matched) if steps else -1
    if at >= 0:
        matched = at + len(steps[0][0].encode())
        os.write(master, steps.pop(0)[1].encode())
sys.stdout.write(seen.decode())
if time.monotonic() >= end:
    os.kill(pid, 9)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

/// Returns a call of ycred in a terminal of its own, which types these steps.
pub fn at_terminal(sandbox: &Sandbox, arguments: &[&str], steps: &str) -> Call {
    let script = sandbox.script("terminal.py", TERMINAL).into_os_string().into_string().expect("UTF-8");
    let arguments = [&[script.as_str(), YCRED], arguments, &[steps]].concat();
    sandbox.call("/usr/bin/python3", arguments)
}

/// The same for a shell script, in which `$0` is ycred.
fn shell_at_terminal(sandbox: &Sandbox, script: &str) -> Call {
    let python = sandbox.script("terminal.py", TERMINAL).into_os_string().into_string().expect("UTF-8");
    sandbox.call("/usr/bin/python3", [python.as_str(), "/bin/sh", "-c", script, YCRED, "never printed=>"])
}

const NOTHING: &str = "never printed=>";
const ESCAPE: char = '\u{1b}';

fn at_a_terminal_of(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    at_terminal(sandbox, arguments, NOTHING).run()
}

#[test]
fn commands_for_people_use_colour_where_the_terminal_and_the_user_allow_it() {
    let sandbox = Sandbox::with_profiles(&["prod", "default"]);
    sandbox.profile("bad", "sorce = 1\n");
    let list = || at_terminal(&sandbox, &["list"], NOTHING);
    let run = list().run().exits(0);
    assert!(
        run.stdout.contains("\u{1b}[32m*\u{1b}[0m default") && run.stdout.contains("\u{1b}[1;31mbroken\u{1b}[0m"),
        "{run}"
    );
    for (host, code, verdict) in [("cr.yandex", 0, "\u{1b}[32myes:"), ("x.example", 1, "\u{1b}[1;31mno:")] {
        let run = at_a_terminal_of(&sandbox, &["explain", "--host", host]).exits(code);
        assert!(run.stdout.contains(verdict), "{run}");
        let plain = sandbox.ycred(["explain", "--host", host]).run().exits(code);
        assert!(!plain.stdout.contains(ESCAPE), "{plain}");
    }
    let run = at_a_terminal_of(&sandbox, &["explain", "bad"]).exits(3);
    assert!(run.stdout.contains("\u{1b}[1;31m# cannot be used:\u{1b}[0m"), "{run}");
    let run = at_a_terminal_of(&sandbox, &["use", "gone"]).exits(3);
    assert!(run.stdout.contains("\u{1b}[1;31mycred: error:\u{1b}[0m profile gone: no such file"), "{run}");
    assert!(run.stdout.contains("\u{1b}[1mycred: hint:\u{1b}[0m "), "{run}");
    // Without the sequences, the text is that of a run without a terminal.
    let plain = list().env("NO_COLOR", "1").run().exits(0).stdout.replace("\r\n", "\n");
    assert_eq!(plain, sandbox.ycred(["list"]).run().exits(0).stdout);
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb"), ("CI", "true")] {
        let run = list().env(name, value).run().exits(0);
        assert!(!run.stdout.contains(ESCAPE), "{name}\n{run}");
    }
    assert!(list().env("NO_COLOR", "").env("TERM", "xterm").run().stdout.contains(ESCAPE), "an empty one is unset");
}

#[test]
fn each_stream_is_judged_by_itself() {
    let sandbox = Sandbox::with_profiles(&["prod", "default"]);
    let file = sandbox.path("tmp/file");
    let read = || fs::read_to_string(&file).expect("the output");
    shell_at_terminal(&sandbox, &format!("exec \"$0\" list > {}", file.display())).run().exits(0);
    assert!(read().contains("* default") && !read().contains(ESCAPE), "{}", read());
    let run = shell_at_terminal(&sandbox, &format!("\"$0\" use gone 2> {}; exec \"$0\" list", file.display())).run();
    assert!(read().starts_with("ycred: error: ") && !read().contains(ESCAPE), "{}", read());
    assert!(run.stdout.contains("\u{1b}[32m*"), "stdout is still a terminal\n{run}");
}

#[test]
fn hooks_and_commands_for_programs_never_write_escape_sequences() {
    let world = World::new();
    world.profile("prod", "hosts = [\"cr.yandex\"]");
    let calls: &[&[&str]] = &[
        &["token"],
        &["token", "-p", "gone"],
        &["env"],
        &["env", "-p", "gone"],
        &["exec", "true"],
        &["exec", "-p", "gone", "true"],
        &["exec", "--nonesuch"],
        &["completions", "bash"],
        &["kubectl"],
        &["kubectl", "-p", "gone"],
        &["docker", "list"],
        &["git", "capability"],
        &["aws", "-p", "gone"],
        &["serve", "-p", "gone", "--listen", "127.0.0.1:0", "--allow-uid", "4711"],
    ];
    for call in calls {
        // The cloud is slow, but there is no progress line.
        world.emulator.fault(Fault::slow(Duration::from_millis(900)));
        let run =
            at_terminal(&world.sandbox, call, NOTHING).env("YCRED_CACHE_DIR", world.sandbox.path("caches/new")).run();
        let _ = fs::remove_dir_all(world.sandbox.path("caches/new"));
        assert!(!run.stdout.contains(ESCAPE) && !run.stdout.contains("waiting for"), "{run}");
        assert!(!run.stdout.is_empty() || call[0] == "exec", "{run}");
    }
}

#[test]
fn a_slow_cloud_is_shown_with_the_time_and_the_line_is_erased() {
    let world = World::new();
    world.get();
    world.emulator.fault(Fault::held());
    let log = world.sandbox.path("tmp/typescript");
    let script = "import os, pty, sys\nlog = open(sys.argv[1], 'wb', 0)\ndef read(fd):\n    piece = os.read(fd, 4096)\n    log.write(piece)\n    \
                  return piece\nsys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[2:], read)))";
    let arguments = ["-c", script, log.to_str().expect("UTF-8"), YCRED, "refresh"];
    let running = world.sandbox.call("/usr/bin/python3", arguments).start();
    let seen = || fs::read_to_string(&log).unwrap_or_default();
    let host = world.emulator.url().trim_start_matches("http://").to_owned();
    let line = format!("waiting for {host}");
    wait_until("the line is shown and counts", || seen().contains(&format!("{line} (1 s)")));
    world.emulator.clear_faults();
    running.finish().exits(0);
    let seen = seen();
    let (before, after) = seen.rsplit_once("\r\u{1b}[K").expect("erased");
    assert!(before.contains(&line) && after.starts_with("profile default: token expires at"), "{seen:?}");
    assert!(!after.contains(ESCAPE), "{seen:?}");
    // Not where the user wants none, and not without a terminal.
    world.emulator.fault(Fault::slow(Duration::from_millis(1500)));
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb"), ("CI", "1")] {
        let run = at_terminal(&world.sandbox, &["refresh"], NOTHING).env(name, value).run().exits(0);
        assert!(!run.stdout.contains("waiting") && !run.stdout.contains(ESCAPE), "{name}\n{run}");
    }
    world.ycred(&["refresh"]).run().exits(0).stderr_is_empty();
}

#[test]
fn other_output_erases_the_progress_line_first() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(503).delayed(Duration::from_millis(1200)).times(1));
    let run = at_a_terminal_of(&world.sandbox, &["refresh", "-v"]).exits(0);
    let lines: Vec<&str> = run.stdout.split("\r\n").collect();
    let shown: Vec<&&str> = lines.iter().filter(|line| line.contains("waiting for")).collect();
    assert!(!shown.is_empty(), "{run}");
    for line in shown {
        // What stays on a line comes after the last erasure.
        let left = line.rsplit("\u{1b}[K").next().unwrap_or_default();
        assert!(left.starts_with("ycred: debug: ") || left.starts_with("profile default"), "{line:?}\n{run}");
    }
}

#[test]
fn signs_that_a_terminal_without_utf8_cannot_show_become_ascii() {
    let sandbox = Sandbox::with_profiles(&["prod"]);
    sandbox.file(
        "home/.kube/config",
        "users:\n- name: me\n  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: yc, args: [k8s, create-token]}}\n",
    );
    let setup = |locale: &str| {
        let call = at_terminal(&sandbox, &["setup", "kubectl", "--user", "me", "--dry-run"], NOTHING);
        // Python would change the locale of its children.
        call.env("LANG", locale).env("PYTHONCOERCECLOCALE", "0").env("PYTHONUTF8", "1").run().exits(0)
    };
    assert!(setup("C.UTF-8").stdout.contains("yc → ycred profile prod"));
    let run = setup("C");
    assert!(run.stdout.contains("yc -> ycred profile prod") && run.stdout.is_ascii(), "{run}");
    assert!(run.stdout.contains("\u{1b}[31m- "), "removed lines have a colour\n{run}");
    // Not in a file, which may be read elsewhere.
    let call = sandbox.ycred(["setup", "kubectl", "--user", "me", "--dry-run"]).env("LANG", "C");
    call.run().exits(0).stdout_has("yc → ycred profile prod");
}

// ------------------------------------------------------------------------------------------------- a login that ends soon

const DAY: i64 = 24 * 3600 * 1000;

/// Changes the time of the stored login's end, or of its notice.
fn set(person: &Person, ending: &str, key: &str, change: impl Fn(i64) -> i64) {
    let path = person.file(ending);
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    state[key] = change(state[key].as_i64().expect("a time")).into();
    fs::write(&path, state.to_string()).expect("writable");
}

#[test]
fn a_login_that_ends_within_three_days_is_reported_once_a_day_by_commands_for_people() {
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.refresh_tokens = true);
    person.log_in();
    let list = || person.world.ycred(&["list"]).run().exits(0);
    // Another day, so that the login itself has said nothing.
    let next_day = || set(&person, ".notice", "at", |at| at - DAY);
    next_day();
    list().stderr_is_empty();
    // The refresh token is valid for 31 days.
    set(&person, ".json", "refresh_until", |at| at - 28 * DAY);
    let state = fs::read(person.file(".json")).expect("a state");
    for _ in 0..3 {
        person.get();
        person.world.ycred(&["env"]).run().exits(0).stderr_is_empty();
    }
    let run = list();
    let warning = "ycred: warning: the login of profile default ends in ";
    assert!(run.stderr.starts_with(warning) && run.stderr.contains("run `ycred login default`"), "{run}");
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    list().stderr_is_empty();
    person.world.ycred(&["use", "gone"]).run().exits(3);
    next_day();
    list().stderr_has(warning);
    assert_eq!(fs::read(person.file(".json")).expect("a state"), state, "the login's state is not written");
    // A clock that was wrong when the notice was printed.
    set(&person, ".notice", "at", |at| at + 40 * DAY);
    list().stderr_has(warning);
    // Where nothing can be kept, a command is silent rather than repeating itself.
    fs::remove_dir_all(person.world.sandbox.path("state/notices")).expect("removed");
    person.world.sandbox.file("state/notices", "in the way");
    list().stderr_is_empty();
    fs::remove_file(person.world.sandbox.path("state/notices")).expect("removed");
    // A login that is over or renewed is not one that ends soon.
    set(&person, ".json", "refresh_until", |at| at + 28 * DAY);
    list().stderr_is_empty();
}

#[test]
fn a_login_without_a_refresh_token_is_reported_before_its_token_expires() {
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.refresh_tokens = false);
    person.log_in();
    let list = || person.world.ycred(&["list"]).run().exits(0);
    list().stderr_is_empty();
    set(&person, ".notice", "at", |at| at - DAY);
    list().stderr_has("the login of profile default ends in ");
    list().stderr_is_empty();
}
