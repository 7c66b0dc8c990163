//! Repeats a request after a temporary failure, with growing pauses or after the server's `Retry-After`.

use std::time::Duration;

use crate::base::clock::{Clock, Deadline};
use crate::base::diagnostics::Diagnostics;
use crate::base::error::{Error, Result};
use crate::base::random;
use crate::cloud::http::failure::Failure;

/// The first and the longest pause between attempts. The actual pause is random, from 0 up to it ("full jitter").
const BACK_OFF_FIRST: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(4);

/// The maximum number of repeats after requests that were sent and not answered in time. The server may have carried out
/// each of them, and may be slow because it has too many.
const UNANSWERED_REPEATS_MAX: u32 = 2;

/// How much time must be left for an attempt to start, and how long it may take. The process holds a lock that others wait for, so
/// no attempt follows one that got no connection in time.
#[derive(Clone, Copy)]
pub struct AttemptTime {
    /// With less time left, no attempt starts.
    pub least: Duration,
    pub most: Duration,
}

/// How long and how often to try a request.
pub struct RetryPolicy<'a> {
    pub clock: &'a dyn Clock,
    pub deadline: Deadline,
    /// The maximum number of requests.
    pub attempts: u32,
    /// `None` if an attempt may have any part of the remaining time.
    pub attempt_time: Option<AttemptTime>,
    pub diagnostics: &'a Diagnostics<'a>,
}

impl RetryPolicy<'_> {
    /// Returns the time limit to name in messages.
    pub fn limit(&self) -> Duration {
        self.attempt_time.map_or(self.deadline.limit, |time| time.most.min(self.deadline.limit))
    }
}

/// Returns the host of a URL, with its port.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

/// Calls `send` until it succeeds, fails permanently, or the policy's limits are reached.
///
/// `send` gets the time limit of the attempt: half of the remaining time, so that another attempt is possible, or all of
/// it if the policy allows only one. `url` is for messages.
///
/// With `is_one_time`, repeats only what the server has certainly not acted on ([`Error::left_secret_unused`]).
///
/// # Errors
/// The error of the last attempt. Unavailable (4), if no time is left for the first one.
pub(super) fn retry<T>(
    url: &str,
    policy: &RetryPolicy<'_>,
    is_one_time: bool,
    mut send: impl FnMut(Duration) -> Result<T, Failure>,
) -> Result<T> {
    let mut pause = BACK_OFF_FIRST;
    let mut last_error: Option<Error> = None;
    let mut unanswered = 0;
    let AttemptTime { least, most } =
        policy.attempt_time.unwrap_or(AttemptTime { least: Duration::ZERO, most: Duration::MAX });
    for attempt in 1.. {
        let left = policy.deadline.left(policy.clock);
        if left.is_zero() || left < least {
            // The error of the last attempt says more than this one.
            let no_time = || {
                let what = format!("{url}: the time limit was reached before the request");
                Error::unavailable(what).timed_out().unsent()
            };
            return Err(last_error.unwrap_or_else(no_time));
        }
        let share = if policy.attempts == 1 || is_one_time { left } else { left / 2 };
        let budget = share.min(most);
        let wait = policy.diagnostics.waiting(|| host_of(url).to_owned());
        let sent = send(budget);
        drop(wait);
        let Failure { error, is_temporary } = match sent {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let wait = error.retry_after.unwrap_or_else(|| random::between(Duration::ZERO, pause));
        unanswered += u32::from(error.has_timed_out && !error.is_unsent);
        let is_last = attempt >= policy.attempts
            || unanswered > UNANSWERED_REPEATS_MAX
            || (policy.attempt_time.is_some() && error.has_got_no_connection());
        let may_repeat = is_temporary && (!is_one_time || error.left_secret_unused());
        let left = policy.deadline.left(policy.clock).saturating_sub(wait);
        if !may_repeat || is_last || left.is_zero() || left < least {
            return Err(error);
        }
        policy
            .diagnostics
            .debug(|| format!("attempt {attempt}: {}; next one in {} ms", error.reason(), wait.as_millis()));
        let _shown = policy.diagnostics.waiting(|| format!("{}, which is busy or cannot be reached", host_of(url)));
        policy.clock.sleep(wait);
        pause = (pause * 2).min(BACK_OFF_MAX);
        last_error = Some(error);
    }
    unreachable!("the loop ends by returning")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::clock::tests::FixedClock;

    #[test]
    fn no_attempt_starts_without_time_for_its_answer() {
        let seconds = Duration::from_secs;
        let diagnostics = Diagnostics::new(false, &|_| (), None);
        // Returns the time limit of each attempt. A busy server answers after `answer` seconds.
        let attempts = |start: u64, answer: u64, pause: u64| {
            let clock = FixedClock::at(Timestamp(0));
            let policy = RetryPolicy {
                clock: &clock,
                deadline: Deadline::of_run(seconds(38)),
                attempts: 4,
                attempt_time: Some(AttemptTime { least: seconds(30), most: seconds(30) }),
                diagnostics: &diagnostics,
            };
            clock.advance(seconds(start));
            let mut limits = Vec::new();
            let result: Result<()> = retry("https://h.example/x", &policy, true, |limit| {
                limits.push(limit.as_secs());
                clock.advance(seconds(answer));
                let mut error = Error::unavailable("busy");
                (error.status, error.retry_after) = (Some(503), Some(seconds(pause)));
                Err(Failure::temporary(error))
            });
            let error = result.expect_err("busy");
            assert!(error.left_secret_unused(), "{}", error.reason());
            (limits, clock.elapsed().as_secs())
        };
        assert_eq!(attempts(0, 0, 37), (vec![30], 0));
        assert_eq!(attempts(0, 1, 3), (vec![30, 30, 30], 9));
        assert_eq!(attempts(0, 0, 8), (vec![30, 30], 8));
        assert_eq!(attempts(0, 0, 9), (vec![30], 0));
        assert_eq!(attempts(9, 0, 0), (vec![], 9));
    }

    #[test]
    fn a_request_that_is_not_answered_in_time_is_repeated_at_most_twice() {
        let diagnostics = Diagnostics::new(false, &|_| (), None);
        let attempts = |failure: fn() -> Error| {
            let clock = FixedClock::at(Timestamp(0));
            let deadline = Deadline::of_run(Duration::from_secs(3600));
            let policy =
                RetryPolicy { clock: &clock, deadline, attempts: 6, attempt_time: None, diagnostics: &diagnostics };
            let mut count = 0;
            let result: Result<()> = retry("https://h.example/x", &policy, false, |_| {
                count += 1;
                Err(Failure::temporary(failure()))
            });
            result.expect_err("never answered");
            count
        };
        assert_eq!(attempts(|| Error::unavailable("no answer").timed_out()), 3);
        assert_eq!(attempts(|| Error::unavailable("no connection").timed_out().unsent()), 6);
        assert_eq!(attempts(|| Error::unavailable("busy")), 6);
    }
}
