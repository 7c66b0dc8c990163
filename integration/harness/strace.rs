//! Runs under strace: the system calls that a run makes, and faults put into them.

use std::collections::HashMap;
use std::fs;

use super::{Call, Sandbox, YCRED};

/// A system call that a run makes, and how many of its kind the process has made by then: where strace can be told to
/// strike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: String,
    /// Counts from 1.
    pub ordinal: usize,
    pub line: String,
}

impl Step {
    /// The calls of a run's first process, in order, as strace writes them, descriptors with their paths.
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
            // The second half of a call that another thread's came between.
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

/// strace's arguments for a run in which this happens at that step: `signal=KILL`, `error=ENOSPC`.
pub fn inject(step: &Step, what: &str) -> Vec<String> {
    let Step { name, ordinal, .. } = step;
    [
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={name}"),
        "-e",
        &format!("inject={name}:{what}:when={ordinal}"),
    ]
    .map(str::to_owned)
    .into()
}

/// The binary under strace with these arguments of strace's.
pub fn traced(sandbox: &Sandbox, strace: &[String], arguments: &[&str]) -> Call {
    let all = strace.iter().map(String::as_str).chain([YCRED]).chain(arguments.iter().copied());
    sandbox.call("strace", all)
}
