//! Reads the system clocks.
#![expect(clippy::disallowed_methods, reason = "the only place that reads the wall clock")]

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::base::clock::{Clock, Timestamp, millis};

struct SystemClock {
    started: Instant,
}

/// Returns the process's clock. Its monotonic part starts at the first call.
pub fn clock() -> &'static dyn Clock {
    // Static, so that all threads can use it.
    static CLOCK: OnceLock<SystemClock> = OnceLock::new();
    CLOCK.get_or_init(|| SystemClock { started: Instant::now() })
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp(millis(since)),
            Err(before) => Timestamp(-millis(before.duration())),
        }
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, length: Duration) {
        std::thread::sleep(length);
    }
}
