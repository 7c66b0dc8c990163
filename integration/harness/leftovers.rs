//! Sees to it that no process of a test outlives the run, and fails the run if one does.
//!
//! Two things end the processes of a run. [`kill_with_this_process`] covers a run that is killed. A run that ends by
//! itself adopts every orphan below it, and its last act is to look for processes that are still running.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, Once, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How many seconds processes may take to end after the last test: this variable, or the default. A renewal of a login
/// is a process of its own that outlives its caller.
const GRACE: (&str, u64) = ("YCRED_TEST_GRACE", 45);

/// Kills the process groups that it has been given, once its stdin ends.
const GUARD: &str = "trap '' HUP INT TERM QUIT; groups=' '
while read -r change group; do
    case $change in
        +) groups=\"$groups$group \" ;;
        -) groups=\"${groups%% $group *} ${groups#* $group }\" ;;
    esac
done
for group in $groups; do kill -s KILL -- \"-$group\"; done 2>/dev/null";

/// The guard process and the pipe to it.
struct Guard {
    process: Child,
    orders: Mutex<ChildStdin>,
}

static GUARD_PROCESS: OnceLock<Guard> = OnceLock::new();

fn guard() -> &'static Guard {
    GUARD_PROCESS.get_or_init(|| {
        let mut command = Command::new("sh");
        command.args(["-c", GUARD]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut process = command.spawn().expect("a shell");
        let orders = Mutex::new(process.stdin.take().expect("a pipe"));
        Guard { process, orders }
    })
}

fn order(change: char, group: u32) {
    let mut orders = guard().orders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // One write: the run may be killed at any moment.
    orders.write_all(format!("{change} {group}\n").as_bytes()).expect("the guard is running");
}

/// Makes the processes of this group end with the run, even if the run is killed.
pub fn kill_with_this_process(group: u32) {
    order('+', group);
}

/// Forgets a group whose leader has been waited for: its number may be used again.
pub fn is_over(group: u32) {
    order('-', group);
}

/// Makes the run fail at its end if a process that a test started is still running then.
pub fn look_at_the_end_of_the_run() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        guard();
        // SAFETY: `prctl` sets a flag of this process: orphans below it become its children. `look` is a function of
        // this program, which is there until the process ends.
        unsafe {
            libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
            libc::atexit(look);
        }
    });
}

extern "C" fn look() {
    let grace = std::env::var(GRACE.0).ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(GRACE.1);
    let end = Instant::now() + Duration::from_secs(grace);
    let guard = guard().process.id();
    loop {
        let left: Vec<Process> = descendants().into_iter().filter(|process| process.id != guard).collect();
        if left.is_empty() {
            return;
        }
        if Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        for process in &left {
            let line = format!("LEFT RUNNING by a test: {} {}\n", process.id, process.command);
            let _ = std::io::stderr().write_all(line.as_bytes());
            if let Ok(id) = i32::try_from(process.id) {
                // SAFETY: touches no memory. A descendant keeps its id until somebody waits for it.
                unsafe { libc::kill(id, libc::SIGKILL) };
            }
        }
        // SAFETY: ends the process. What tests have printed is written: the test runner has returned.
        unsafe { libc::_exit(102) };
    }
}

struct Process {
    id: u32,
    parent: u32,
    command: String,
}

/// Returns the processes below this one, except those that have ended and that nobody has waited for.
fn descendants() -> Vec<Process> {
    let mut all: Vec<Process> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name may contain anything, also brackets.
            let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
            let (state, parent) = (fields.next()?, fields.next()?.parse().ok()?);
            let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default().replace('\0', " ");
            (!matches!(state, "Z" | "X")).then_some(Process { id, parent, command })
        })
        .collect();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![std::process::id()];
    while let Some(parent) = parents.pop() {
        let (children, others) = all.into_iter().partition(|process| process.parent == parent);
        all = others;
        let children: Vec<Process> = children;
        parents.extend(children.iter().map(|process| process.id));
        found.extend(children);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::GRACE;
    use crate::harness::waiting::wait_until;
    use crate::harness::{Call, Sandbox};

    /// Returns a call of one of the two tests below, in a test process of its own.
    fn run_again(sandbox: &Sandbox, name: &str) -> Call {
        let program = std::env::current_exe().expect("this program");
        let name = format!("harness::leftovers::tests::{name}");
        sandbox.call(program, ["--exact", &name, "--ignored", "--nocapture"]).env(GRACE.0, "1")
    }

    fn is_running(id: &str) -> bool {
        let stat = std::fs::read_to_string(Path::new("/proc").join(id).join("stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Returns the process id that a test below has printed.
    fn id(printed: &str) -> Option<&str> {
        Some(printed.split_once("process ")?.1.split_once('.')?.0)
    }

    #[test]
    fn a_run_fails_if_a_process_of_a_test_is_still_running_at_its_end() {
        let sandbox = Sandbox::new();
        let run = run_again(&sandbox, "leaves_a_process").run().exits(102).stdout_has("1 passed");
        let id = id(&run.stdout).expect("a process");
        run.clone().stderr_has(&format!("LEFT RUNNING by a test: {id} sleep 300"));
        wait_until("the process is killed", || !is_running(id));
    }

    #[test]
    fn a_killed_run_leaves_no_process() {
        let sandbox = Sandbox::new();
        let running = run_again(&sandbox, "waits_for_a_process").start();
        wait_until("the test has started a process", || id(&running.stdout()).is_some());
        let id = id(&running.stdout()).expect("a process").to_owned();
        assert!(is_running(&id));
        running.signal(libc::SIGKILL);
        wait_until("the process is killed", || !is_running(&id));
    }

    #[test]
    #[ignore = "leaves a process; another test runs this one"]
    fn leaves_a_process() {
        let sandbox = Sandbox::new();
        let run = sandbox.call("sh", ["-c", "setsid sleep 300 >/dev/null 2>&1 & echo $!"]).run().succeeds();
        println!("process {}.", run.stdout.trim());
    }

    #[test]
    #[ignore = "waits until it is killed; another test runs this one"]
    fn waits_for_a_process() {
        let sandbox = Sandbox::new();
        let running = sandbox.call("sh", ["-c", "sleep 300 & echo $!; wait"]).start();
        wait_until("the process has started", || running.stdout().ends_with('\n'));
        println!("process {}.", running.stdout().trim());
        running.finish();
    }
}
