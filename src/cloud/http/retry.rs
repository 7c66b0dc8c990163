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

/// How long and how often to try a request.
pub struct RetryPolicy<'a> {
    pub clock: &'a dyn Clock,
    pub deadline: Deadline,
    /// The maximum number of requests.
    pub attempts: u32,
    pub diagnostics: &'a Diagnostics<'a>,
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
/// With `is_one_time`, repeats only what the server has certainly not acted on ([`Error::is_unused`]).
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
    for attempt in 1.. {
        let left = policy.deadline.left(policy.clock);
        if left.is_zero() {
            // The error of the last attempt says more than this one.
            let no_time =
                || Error::unavailable(format!("{url}: the time limit was reached before the request")).timed_out();
            return Err(last_error.unwrap_or_else(no_time));
        }
        let budget = if policy.attempts == 1 || is_one_time { left } else { left / 2 };
        let wait = policy.diagnostics.waiting(|| host_of(url).to_owned());
        let sent = send(budget);
        drop(wait);
        let Failure { error, is_temporary } = match sent {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let wait = error.retry_after.unwrap_or_else(|| random::between(Duration::ZERO, pause));
        let is_last = attempt >= policy.attempts;
        let may_repeat = is_temporary && (!is_one_time || error.is_unused());
        if !may_repeat || is_last || wait >= policy.deadline.left(policy.clock) {
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
