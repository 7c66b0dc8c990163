//! Checks whether this machine lets a test act as root, trace system calls or create a network.
//!
//! If it does not, the test is skipped and reports the reason.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;

use super::{leftovers, require_client, skip};

/// Returns true if this process runs as root.
pub fn is_root() -> bool {
    // SAFETY: geteuid cannot fail and touches nothing.
    unsafe { libc::geteuid() == 0 }
}

/// Returns true if this process is root and the tools are installed. Otherwise calls [`skip`].
#[track_caller]
pub fn require_root(tools: &[&str]) -> bool {
    if !is_root() {
        skip("only root can become another user, mount or chown");
        return false;
    }
    tools.iter().all(|tool| require_client(tool).is_some())
}

/// Returns true if system calls can be traced and made to fail. Otherwise calls [`skip`].
///
/// ycred forbids dumps, so only root's strace can read the paths in its system calls.
#[track_caller]
pub fn require_tracer() -> bool {
    if !is_root() {
        skip("only root can trace a process that forbids dumps");
        return false;
    }
    require_client("strace").is_some()
}

/// Finds a strace that can trace on this machine. Otherwise calls [`skip`].
pub fn strace() -> Option<PathBuf> {
    let strace = require_client("strace")?;
    let works = std::process::Command::new(&strace)
        .args(["-f", "-qq", "-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        skip("strace cannot trace on this machine");
    }
    works.then_some(strace)
}

/// Set for a test that [`run_in_user_namespace`] has started.
pub const IN_USER_NAMESPACE: &str = "YCRED_TEST_APART";

/// Runs a test in its own network namespace, with these addresses on the loopback interface.
///
/// For an ordinary user, runs the test again as root of a user namespace. If the machine forbids that, skips the test.
pub fn in_own_network(addresses: &[&str], test: impl FnOnce() + Send) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let builder = thread::Builder::new().name(name);
    thread::scope(|scope| {
        let thread = builder.spawn_scoped(scope, || {
            // SAFETY: touches no memory. Moves only this thread, which ends with the test, into a new network
            // namespace.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return run_in_user_namespace();
            }
            let up = ["link set lo up".to_owned()];
            let commands = up.into_iter().chain(addresses.iter().map(|address| format!("addr add {address} dev lo")));
            for arguments in commands {
                let status = std::process::Command::new("ip").args(arguments.split(' ')).status();
                if !status.is_ok_and(|status| status.success()) {
                    return skip(&format!("`ip {arguments}` fails on this machine"));
                }
            }
            test();
        });
        if let Err(panic) = thread.expect("a thread").join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs the current test again as root of a user namespace.
///
/// Uses `unshare`, because a process with several threads cannot create a user namespace for itself.
fn run_in_user_namespace() {
    let unshare = |arguments: &[&std::ffi::OsStr]| {
        let mut command = std::process::Command::new("unshare");
        command.arg("-rn").args(arguments).env(IN_USER_NAMESPACE, "1").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn()?;
        let group = child.id();
        leftovers::kill_with_this_process(group);
        let output = child.wait_with_output();
        leftovers::is_over(group);
        output
    };
    let works = unshare(&["true".as_ref()]).is_ok_and(|output| output.status.success());
    if std::env::var_os(IN_USER_NAMESPACE).is_some() || !works {
        return skip("this user cannot create a network namespace");
    }
    let (program, name) =
        (std::env::current_exe().expect("a program"), thread::current().name().unwrap_or("").to_owned());
    let output = unshare(&[program.as_ref(), "--exact".as_ref(), name.as_ref(), "--nocapture".as_ref()]);
    let output = output.expect("unshare runs");
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && printed.contains("1 passed"), "{name} as root of a user namespace:\n{printed}");
    for line in printed.lines().filter(|line| line.starts_with("SKIPPED")) {
        let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
    }
}
