//! What this machine allows a test to do: be root, trace, make a network. Where it does not, the test is skipped visibly.

use std::io::Write as _;
use std::path::PathBuf;
use std::thread;

use super::{require_client, skip};

pub fn is_root() -> bool {
    // SAFETY: geteuid cannot fail and touches nothing.
    unsafe { libc::geteuid() == 0 }
}

/// Whether this test can become another user; said where not.
#[track_caller]
pub fn require_root(tools: &[&str]) -> bool {
    if !is_root() {
        skip("only root can become another user, mount or chown");
        return false;
    }
    tools.iter().all(|tool| require_client(tool).is_some())
}

/// Whether system calls can be watched and made to fail here. Only root's strace sees the paths in a process that forbids
/// dumps.
#[track_caller]
pub fn require_tracer() -> bool {
    if !is_root() {
        skip("only root can trace a process that forbids dumps");
        return false;
    }
    require_client("strace").is_some()
}

/// Whether strace works here; says so if not.
pub fn strace() -> Option<PathBuf> {
    let strace = require_client("strace")?;
    let works = std::process::Command::new(&strace)
        .args(["-f", "-qq", "-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        skip("strace may not trace here");
    }
    works.then_some(strace)
}

/// Set for a test that runs in a user namespace of its own, where it may make a network.
pub const APART: &str = "YCRED_TEST_APART";

/// Runs a story in a network of its own, with these addresses on its loopback interface. An ordinary user gets one by
/// running this one test again, as the root of a user namespace. Where the machine does not allow that, the test is skipped.
pub fn in_own_network(addresses: &[&str], story: impl FnOnce() + Send) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let apart = thread::Builder::new().name(name);
    thread::scope(|scope| {
        let thread = apart.spawn_scoped(scope, || {
            // SAFETY: moves this thread alone, which ends with the story, into a new network namespace.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return run_apart();
            }
            let up = ["link set lo up".to_owned()];
            let all = up.into_iter().chain(addresses.iter().map(|address| format!("addr add {address} dev lo")));
            for words in all {
                let done = std::process::Command::new("ip").args(words.split(' ')).status();
                if !done.is_ok_and(|status| status.success()) {
                    return skip(&format!("`ip {words}` does not work here"));
                }
            }
            story();
        });
        if let Err(panic) = thread.expect("a thread").join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs the present test again as root of a user namespace, which only a process with one thread can make for itself.
fn run_apart() {
    let unshare = |words: &[&std::ffi::OsStr]| {
        let mut command = std::process::Command::new("unshare");
        command.arg("-rn").args(words).env(APART, "1");
        command.stdin(std::process::Stdio::null()).output()
    };
    let works = unshare(&["true".as_ref()]).is_ok_and(|output| output.status.success());
    if std::env::var_os(APART).is_some() || !works {
        return skip("this user may not make a network namespace");
    }
    let (this, name) = (std::env::current_exe().expect("a program"), thread::current().name().unwrap_or("").to_owned());
    let output = unshare(&[this.as_ref(), "--exact".as_ref(), name.as_ref(), "--nocapture".as_ref()]);
    let output = output.expect("unshare, which worked a moment ago");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{name} as root of a user namespace:\n{said}");
    for line in said.lines().filter(|line| line.starts_with("SKIPPED")) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}
