//! The files that store a login.

use super::renewal::LOGIN_HINT;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::expect::{fails_with, fails_with_hint, prints_token};
use crate::harness::machine::strace;
use crate::harness::waiting::HOUR;
use crate::sources::person::Person;

#[test]
fn a_killed_login_leaves_no_partial_state() {
    let person = Person::new();
    let login = person.login(&["--no-browser"]).start();
    person.address(&login);
    login.signal(libc::SIGINT);
    assert_eq!(login.finish().status.code(), None, "ended by the signal");
    fails_with_hint(person.token(&[]).run(), 1, &["nobody is logged in"], LOGIN_HINT);
    person.log_in();
    person.get();
}

#[test]
fn login_files_and_directories_are_accessible_to_their_owner_only() {
    let person = Person::new();
    let shell = format!("umask 000; exec '{}' login", crate::harness::YCRED);
    person.world.sandbox.call("sh", ["-c", &shell]).run().exits(0);
    let mode = |path: &std::path::Path| fs::metadata(path).expect("an existing file").permissions().mode() & 0o777;
    for path in person.world.sandbox.files("state") {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(
            name.starts_with(|c: char| c.is_ascii_hexdigit())
                && name.split('.').next().is_some_and(|stem| stem.len() == 32),
            "{name}"
        );
    }
    for directory in ["state", "state/v1"] {
        assert_eq!(mode(&person.world.sandbox.path(directory)), 0o700, "{directory}");
    }
    // The next login tightens a loosened mode.
    fs::set_permissions(person.world.sandbox.path("state/v1"), fs::Permissions::from_mode(0o755)).expect("loosened");
    person.log_in();
    assert_eq!(mode(&person.world.sandbox.path("state/v1")), 0o700);
}

#[test]
fn a_login_that_cannot_be_saved_is_an_error_before_a_browser_opens() {
    let person = Person::new();
    person.world.sandbox.file("state", "in the way");
    fails_with(person.login(&[]).run(), 3, &["state/v1: cannot save the login"]);
    let nowhere = person.login(&[]).env("YCRED_STATE_DIR", "relative").run();
    fails_with_hint(
        nowhere,
        3,
        &["cannot save a login", "YCRED_STATE_DIR must be an absolute path"],
        "YCRED_STATE_DIR",
    );
    assert_eq!(person.asked(), 0);
}

#[test]
fn an_invalid_state_file_counts_as_not_logged_in() {
    let person = Person::new();
    person.log_in();
    let state = person.file(".json");
    let good = fs::read(&state).expect("a state");
    for bad in [&b""[..], b"{", b"{}", &good[..good.len() / 2], &[0xff; 100_000]] {
        fs::write(&state, bad).expect("damaged");
        fails_with_hint(person.token(&["--no-cache"]).run(), 1, &[], LOGIN_HINT);
    }
    fs::remove_file(&state).expect("removed");
    std::os::unix::fs::symlink("/etc/passwd", &state).expect("a link");
    fails_with_hint(person.token(&["--no-cache"]).run(), 1, &["not a login file of this user"], LOGIN_HINT);
    person.log_in();
    prints_token(person.token(&["--no-cache"]).run());
    // The marker of another login invalidates this one.
    fs::write(person.file(".session"), "another").expect("a marker");
    fails_with_hint(person.token(&[]).run(), 1, &["nobody is logged in"], LOGIN_HINT);
}

#[test]
fn on_a_full_disk_a_valid_token_is_returned_and_nothing_is_sent() {
    let Some(strace) = strace() else { return };
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.one_time = true);
    person.log_in();
    let first = person.get();
    // Only the login's state is synced, so only its write fails.
    let call_on_full_disk = |arguments: &[&str]| {
        let trace = person.world.sandbox.path("tmp/trace");
        let head = ["-f", "-qq", "-e", "trace=fsync", "-e", "inject=fsync:error=ENOSPC", "-o"];
        let call = person.world.sandbox.call(&strace, head);
        let call =
            call.and([trace.as_os_str(), crate::harness::YCRED.as_ref(), "token".as_ref(), "--no-cache".as_ref()]);
        call.and(arguments)
    };
    person.age(11 * HOUR);
    assert_eq!(prints_token(call_on_full_disk(&[]).run()), first);
    assert_eq!(person.tokens(), 1, "the refresh token must not be used while it cannot be saved");
    person.age(2 * HOUR);
    let expected = ["the login is not renewed", "state/v1 cannot be written: the disk is full"];
    fails_with_hint(call_on_full_disk(&[]).run(), 4, &expected, "free some disk space");
    fails_with_hint(call_on_full_disk(&["--force-refresh"]).run(), 4, &expected, "free some disk space");
    assert_eq!(person.tokens(), 1);
    let left = person.world.sandbox.files("state");
    assert!(left.iter().all(|path| !path.to_string_lossy().contains("tmp-")), "{left:?}");
    // With space again, the refresh token is still valid.
    assert_ne!(prints_token(person.token(&["--no-cache"]).run()), first);
}

#[test]
fn a_hit_reads_only_the_marker_of_the_login() {
    if !crate::harness::machine::require_tracer() {
        return;
    }
    let Some(strace) = strace() else { return };
    let person = Person::new();
    person.log_in();
    person.get();
    let trace = person.world.sandbox.path("tmp/trace");
    let call = person.world.sandbox.call(&strace, ["-f", "-qq", "-y", "-o"]);
    prints_token(call.and([trace.as_os_str(), crate::harness::YCRED.as_ref(), "token".as_ref()]).run());
    let trace = fs::read_to_string(trace).expect("a trace");
    let state = person.world.sandbox.path("state").display().to_string();
    // The execve line contains the environment, which names the directory too.
    let touched: Vec<&str> = trace.lines().filter(|line| line.contains(&state) && !line.contains("execve")).collect();
    assert!(matches!(touched.as_slice(), [one] if one.contains(".session") && one.contains("stat")), "{touched:#?}");
    assert!(!trace.contains("socket(") && !trace.contains("flock("), "{trace}");
}

#[test]
fn a_login_killed_at_any_step_of_saving_is_complete_or_unchanged() {
    let Some(strace) = strace() else { return };
    let person = Person::new();
    person.log_in();
    let mut killed = 0;
    for call in ["fsync", "rename", "unlink", "openat"] {
        for number in 1..40 {
            person.age(13 * HOUR);
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let arguments = ["-f", "-qq", "-e", &format!("trace={call}"), "-e", &inject, "-o", "/dev/null"];
            let renewal = person.world.sandbox.call(&strace, arguments);
            let run = renewal.and([crate::harness::YCRED, "token", "--no-cache"]).run();
            let was_killed = run.stdout.is_empty();
            assert!(was_killed || run.status.success(), "{run}");
            prints_token(person.token(&["--no-cache"]).run());
            if !was_killed {
                break;
            }
            killed += 1;
        }
    }
    assert!(killed > 8, "{killed}");
    // A killed login leaves the previous login or none, never a mixture.
    for call in ["fsync", "rename"] {
        for number in 1..10 {
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let arguments = ["-f", "-qq", "-e", &format!("trace={call}"), "-e", &inject, "-o", "/dev/null"];
            let login = person.world.sandbox.call(&strace, arguments);
            let run = login.and([crate::harness::YCRED, "login", "--force-refresh"]).run();
            let token = person.token(&["--no-cache"]).run();
            if token.status.success() {
                prints_token(token);
            } else {
                fails_with_hint(token, 1, &["nobody is logged in"], LOGIN_HINT);
            }
            if run.status.success() {
                break;
            }
            person.log_in();
        }
    }
    person.login(&["--force-refresh"]).run().exits(0);
    person.get();
}
