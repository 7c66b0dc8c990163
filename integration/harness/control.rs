//! Compares the end of a call with that of a control process, because a busy machine makes a clock a bad judge.
//!
//! A call ends when a client would see its end: the process has exited, and no other process has its output pipes open.

use std::io::{ErrorKind, PipeReader, Read as _};
use std::os::fd::AsRawFd as _;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use super::{Call, Run, Running, Sandbox, YCRED};

/// How much later than the control process a call may end.
pub const TOLERANCE: Duration = Duration::from_millis(500);

/// Sleeps, and then starts the binary under test, as a call starts and then waits.
const CONTROL: &str = "sleep \"$1\"; exec \"$0\" --version";

/// Calls that run beside a control process.
pub struct Timed {
    calls: Vec<Piped>,
    control: Piped,
}

/// What became of a call, and how much later than the control process it ended.
pub struct TimedRun {
    pub run: Run,
    pub lateness: Duration,
}

impl TimedRun {
    /// Returns true if it ended more than [`TOLERANCE`] after the control process.
    pub fn is_late(&self) -> bool {
        self.lateness > TOLERANCE
    }
}

impl Timed {
    /// Starts these calls with pipes for their output, and a control process that takes `limit`.
    #[track_caller]
    pub fn start(sandbox: &Sandbox, calls: impl IntoIterator<Item = Call>, limit: Duration) -> Timed {
        let calls = calls.into_iter().map(Piped::start).collect();
        let control = sandbox.call("sh", ["-c", CONTROL, YCRED, &format!("{:.3}", limit.as_secs_f64())]);
        Timed { calls, control: Piped::start(control) }
    }

    /// Sends a signal to the process groups of the calls, and kills the control process at the same moment.
    pub fn kill(&self, signal: i32) {
        self.calls.iter().for_each(|call| call.running.signal_group(signal));
        self.end_control();
    }

    /// Kills the control process: the calls must end now.
    pub fn end_control(&self) {
        self.control.running.signal_group(libc::SIGKILL);
    }

    /// Waits until all of the calls have ended.
    #[track_caller]
    pub fn finish(self) -> Vec<TimedRun> {
        let Timed { mut calls, mut control } = self;
        let mut pause = Duration::from_micros(200);
        loop {
            // One look at the clock for all: if this thread is late, it is late for all.
            let now = Instant::now();
            control.has_ended(now);
            let running = calls.iter_mut().map(|call| usize::from(!call.has_ended(now))).sum::<usize>();
            if running == 0 {
                break;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
        // The control process started last, so nothing is demanded that the calls had no time for.
        let control = control.end;
        let timed = |call: Piped| {
            let late = control.zip(call.end).map(|(control, end)| end.saturating_duration_since(control));
            TimedRun { run: call.outcome(), lateness: late.unwrap_or_default() }
        };
        calls.into_iter().map(timed).collect()
    }
}

/// A process, and the pipes for its stdout and stderr.
struct Piped {
    running: Running,
    pipes: [Option<PipeReader>; 2],
    output: [Vec<u8>; 2],
    status: Option<ExitStatus>,
    end: Option<Instant>,
}

impl Piped {
    #[track_caller]
    fn start(call: Call) -> Piped {
        let [(stdout, out), (stderr, err)] = [(); 2].map(|()| std::io::pipe().expect("a pipe"));
        for pipe in [&stdout, &stderr] {
            // SAFETY: sets a flag of an open descriptor, and touches no memory.
            unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        }
        let running = call.start_with(out.into(), err.into());
        Piped { running, pipes: [stdout, stderr].map(Some), output: Default::default(), status: None, end: None }
    }

    fn has_ended(&mut self, now: Instant) -> bool {
        if self.end.is_some() {
            return true;
        }
        for (pipe, output) in self.pipes.iter_mut().zip(&mut self.output) {
            let Some(reader) = pipe else { continue };
            match reader.read_to_end(output) {
                Ok(_) => *pipe = None,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
        }
        if self.status.is_none() {
            self.status = self.running.child.try_wait().expect("the state of the child process");
        }
        if self.status.is_some() && self.pipes.iter().all(Option::is_none) {
            self.end = Some(now);
            self.running.is_over();
            return true;
        }
        let limit = self.running.call.limit;
        assert!(
            self.running.started.elapsed() < limit,
            "{} or a process that it started still has its output open after {limit:?}: {}",
            self.running.id(),
            self.running.call.description()
        );
        false
    }

    fn outcome(self) -> Run {
        let [stdout, stderr] = self.output.each_ref().map(|output| String::from_utf8_lossy(output).into_owned());
        let took = self.end.expect("it has ended").duration_since(self.running.started);
        let command = self.running.call.description();
        Run { command, status: self.status.expect("it has ended"), took, stdout, stderr }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::harness::waiting::wait_until;

    fn run(scripts: &[&str], limit: Duration) -> Vec<TimedRun> {
        let sandbox = Sandbox::new();
        Timed::start(&sandbox, scripts.iter().map(|script| sandbox.call("sh", ["-c", script])), limit).finish()
    }

    #[test]
    fn a_call_is_late_if_it_or_a_holder_of_its_pipe_ends_after_the_control_process() {
        let late = [
            "echo out; echo err >&2; sleep 6",
            "echo out; echo err >&2; sleep 6 2>/dev/null &",
            "echo out; echo err >&2; sleep 6 >/dev/null &",
        ];
        let in_time = ["echo out; echo err >&2", "echo out; echo err >&2; sleep 6 >/dev/null 2>&1 &"];
        // Load can make neither sleep shorter.
        for (scripts, limit, is_late) in [(&late[..], 100, true), (&in_time[..], 6000, false)] {
            for timed in run(scripts, Duration::from_millis(limit)) {
                assert_eq!(timed.is_late(), is_late, "{:?} after the control process\n{}", timed.lateness, timed.run);
                assert_eq!((timed.run.stdout.as_str(), timed.run.stderr.as_str()), ("out\n", "err\n"));
            }
        }
    }

    #[test]
    fn a_killed_call_is_compared_with_a_control_process_that_is_killed_at_the_same_moment() {
        let sandbox = Sandbox::new();
        for (script, is_late) in [(": >$0; exec sleep 60", false), ("trap '' TERM; : >$0; sleep 6", true)] {
            let begun = sandbox.path(format!("begun-{is_late}"));
            let call = sandbox.call("sh", [OsStr::new("-c"), OsStr::new(script), begun.as_os_str()]);
            let timed = Timed::start(&sandbox, [call], Duration::from_secs(60));
            // The shell sets its trap first.
            wait_until("the shell has begun", || begun.exists());
            timed.kill(libc::SIGTERM);
            let run = timed.finish().remove(0);
            assert_eq!(run.is_late(), is_late, "{:?} after the control process\n{}", run.lateness, run.run);
        }
    }
}
