//! Runs programs under strace: records their system calls and injects faults into them.

use std::collections::HashMap;
use std::fs;

use super::{Call, Sandbox, YCRED};

/// A system call of a run, as a place where strace can inject a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: String,
    /// The number of this call among the calls with its name, counted from 1.
    pub ordinal: usize,
    /// The call as strace writes it, without the process id.
    pub line: String,
}

impl Step {
    /// Returns the system calls of the first process of a run, in order. Descriptors are shown with their paths.
    ///
    /// `call` gets the arguments of strace.
    #[track_caller]
    pub fn of(sandbox: &Sandbox, call: impl FnOnce(&[String]) -> Call) -> Vec<Step> {
        let log = sandbox.path("tmp/strace.log");
        let arguments =
            ["-f", "-qq", "-y", "-s", "64", "-o", &log.display().to_string(), "-e", "signal=none"].map(str::to_owned);
        call(&arguments).run().succeeds();
        let text = String::from_utf8_lossy(&fs::read(&log).expect("strace's log")).into_owned();
        let first = text.split(' ').next().unwrap_or_default().to_owned();
        let mut counts = HashMap::new();
        let mut steps = Vec::new();
        for line in text.lines() {
            let Some(rest) = line.strip_prefix(first.as_str()) else { continue };
            let rest = rest.trim_start();
            // The second half of a call that another thread interrupted.
            if rest.starts_with('<') {
                continue;
            }
            let Some((name, _)) = rest.split_once('(') else { continue };
            let count: &mut usize = counts.entry(name.to_owned()).or_default();
            *count += 1;
            steps.push(Step { name: name.to_owned(), ordinal: *count, line: rest.to_owned() });
        }
        assert!(!steps.is_empty(), "strace wrote nothing:\n{text}");
        steps
    }
}

/// Returns the arguments that make strace inject this fault at this step: `signal=KILL`, `error=ENOSPC`.
pub fn inject(step: &Step, fault: &str) -> Vec<String> {
    let Step { name, ordinal, .. } = step;
    [
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={name}"),
        "-e",
        &format!("inject={name}:{fault}:when={ordinal}"),
    ]
    .map(str::to_owned)
    .into()
}

/// Returns the arguments that make strace inject this fault into the first process alone, not into its children.
pub fn inject_into_first(step: &Step, fault: &str) -> Vec<String> {
    inject(step, fault).into_iter().filter(|argument| argument != "-f").collect()
}

/// Returns a call of the binary under strace.
pub fn traced(sandbox: &Sandbox, strace: &[String], arguments: &[&str]) -> Call {
    let all = strace.iter().map(String::as_str).chain([YCRED]).chain(arguments.iter().copied());
    sandbox.call("strace", all)
}
