//! Runs checks. Each has a thread and a time limit of its own, so that one that hangs or panics does not end the others.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::base::clock::human;
use crate::base::clock::millis;
use crate::commands::check::{Check, Examination, Finding};

/// A check with its findings.
pub struct CheckResult {
    pub check: &'static Check,
    pub findings: Vec<Finding>,
    pub took: Duration,
}

/// Runs the checks one after the other, so that they do not disturb each other.
pub fn run(checks: &[&'static Check], examination: &Arc<Examination>) -> Vec<CheckResult> {
    checks
        .iter()
        .map(|check| {
            let began = examination.clock.elapsed();
            let findings = match check.needs_network && examination.is_offline {
                true => vec![Finding::skip("not checked with --offline")],
                false => run_one(check, examination),
            };
            let took = examination.clock.elapsed().saturating_sub(began);
            CheckResult { check, findings, took }
        })
        .collect()
}

fn run_one(check: &'static Check, examination: &Arc<Examination>) -> Vec<Finding> {
    let (send, receive) = mpsc::sync_channel(1);
    let (for_thread, run) = (Arc::clone(examination), check.run);
    let guarded = move |examination: &Examination| panic::catch_unwind(AssertUnwindSafe(|| run(examination)));
    let started = thread::Builder::new().spawn(move || {
        // The receiver is gone if the check took too long.
        let _ = send.send(guarded(&for_thread));
    });
    let outcome = match started {
        Ok(_) => receive.recv_timeout(check.limit).or_else(|error| match rest(check, examination) {
            Some(rest) if error == mpsc::RecvTimeoutError::Timeout => receive.recv_timeout(rest),
            _ => Err(error),
        }),
        // Without threads, the check's own time limits must suffice.
        Err(_) => Ok(guarded(examination)),
    };
    match outcome {
        Ok(Ok(findings)) if findings.is_empty() => vec![Finding::ok("nothing to report")],
        Ok(Ok(findings)) => findings,
        Ok(Err(panic)) => vec![of_panic(&*panic)],
        Err(mpsc::RecvTimeoutError::Timeout) => {
            let limit = human(millis(check.limit + rest(check, examination).unwrap_or_default()));
            vec![
                Finding::fail(format!("the check did not finish within {limit}"))
                    .fix(format!("see where it hangs: ycred doctor {} -v", check.id)),
            ]
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => vec![Finding::fail("the check ended without a result")],
    }
}

/// How long a call may take to return after it has reached its time limit.
const GRACE: Duration = Duration::from_secs(10);

/// Returns how much longer than its limit a check may take, because the user allows calls more time than that.
fn rest(check: &Check, examination: &Examination) -> Option<Duration> {
    let allowed = examination.call_limit().filter(|_| check.needs_network)?;
    allowed.checked_add(GRACE)?.checked_sub(check.limit)
}

fn of_panic(panic: &(dyn std::any::Any + Send)) -> Finding {
    let why = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Finding::fail(format!("internal error in the check: {}", why.unwrap_or("panic")))
        .fix("report this as a bug in ycred, with the output of: ycred doctor --report")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::Verdict;
    use crate::commands::check::tests::examination;

    const fn check(limit: Duration, run: fn(&Examination) -> Vec<Finding>) -> Check {
        Check { id: "test", about: "", parts: &[], limit, needs_network: false, run }
    }

    const LONG: Duration = Duration::from_secs(60);

    static FINE: Check = check(LONG, |_| vec![Finding::ok("fine")]);
    static SILENT: Check = check(LONG, |_| Vec::new());
    static PANICS: Check = check(LONG, |_| panic!("out of order"));
    static HANGS: Check = check(Duration::from_millis(1), |_| {
        // Longer than any test run; the thread ends with the process.
        thread::sleep(LONG * 60);
        Vec::new()
    });
    static NETWORK: Check = Check { needs_network: true, ..check(LONG, |_| panic!("the network was used")) };

    static SLOW: Check = Check {
        needs_network: true,
        ..check(Duration::from_millis(1), |_| {
            thread::sleep(Duration::from_millis(100));
            vec![Finding::ok("slow")]
        })
    };

    #[test]
    fn a_check_has_the_time_that_the_user_allows_to_calls() {
        let mut examination = examination();
        let mut run_slow = |timeout| {
            examination.options.timeout = timeout;
            run(&[&SLOW], &Arc::new(std::mem::replace(&mut examination, super::tests::examination())))
                .remove(0)
                .findings
        };
        assert_eq!(run_slow(None)[0].verdict, Verdict::Fail);
        assert_eq!(run_slow(Some(LONG))[0].what, "slow");
    }

    #[test]
    fn a_check_that_panics_or_hangs_does_not_end_the_others() {
        let mut examination = examination();
        examination.is_offline = true;
        let examination = Arc::new(examination);
        let results = run(&[&PANICS, &HANGS, &NETWORK, &SILENT, &FINE], &examination);
        let verdicts: Vec<_> = results.iter().map(|result| result.findings[0].verdict).collect();
        use Verdict::{Fail, Ok, Skip};
        assert_eq!(verdicts, [Fail, Fail, Skip, Ok, Ok]);
        assert!(results[0].findings[0].what.contains("out of order"));
        assert!(results[1].findings[0].what.contains("did not finish"));
        assert_eq!(results[4].findings[0].what, "fine");
    }
}
