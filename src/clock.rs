//! Time as an argument: the clock that main hands in, and the one deadline that a run has.

use std::time::Duration;

use crate::token::Timestamp;

/// The process's clock. The wall clock decides over tokens (a laptop that slept must notice); the steady one over
/// waiting.
pub trait Clock: Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// The steady clock: how long this process has been running.
    fn elapsed(&self) -> Duration;
    fn sleep(&self, length: Duration);
}

/// When everything a run does must have ended, by the steady clock.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    end: Duration,
    /// The length that it was set with, of which waiters draw their patience.
    pub whole: Duration,
}

impl Deadline {
    pub fn after(clock: &dyn Clock, length: Duration) -> Self {
        Self { end: clock.elapsed() + length, whole: length }
    }

    /// One for the whole run: counted from the start of the process, so that what came before counts too.
    pub fn of_run(length: Duration) -> Self {
        Self { end: length, whole: length }
    }

    /// One that was set at `start`, by the steady clock.
    pub fn since(start: Duration, length: Duration) -> Self {
        Self { end: start + length, whole: length }
    }

    pub fn left(&self, clock: &dyn Clock) -> Duration {
        self.end.saturating_sub(clock.elapsed())
    }

    /// When this share of the whole time is over, by the steady clock.
    pub fn point(&self, share: f64) -> Duration {
        self.end.saturating_sub(self.whole.mul_f64(1.0 - share))
    }

    /// An earlier deadline after `share` of what is left.
    #[must_use]
    pub fn share(&self, clock: &dyn Clock, share: f64) -> Self {
        Self::after(clock, self.left(clock).mul_f64(share))
    }

    /// The earlier of this and `length` from now.
    #[must_use]
    pub fn at_most(&self, clock: &dyn Clock, length: Duration) -> Self {
        Self::after(clock, self.left(clock).min(length))
    }
}

#[cfg(test)]
pub mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A clock that moves only when told to, or by sleeping.
    pub struct FixedClock(Mutex<(Timestamp, Duration)>);

    impl FixedClock {
        pub fn at(now: Timestamp) -> Self {
            Self(Mutex::new((now, Duration::ZERO)))
        }
        pub fn advance(&self, length: Duration) {
            let mut at = self.0.lock().expect("no panic");
            *at = (at.0.plus(length), at.1 + length);
        }
    }

    impl Clock for FixedClock {
        fn now(&self) -> Timestamp {
            self.0.lock().expect("no panic").0
        }
        fn elapsed(&self) -> Duration {
            self.0.lock().expect("no panic").1
        }
        fn sleep(&self, length: Duration) {
            self.advance(length);
        }
    }

    #[test]
    fn a_share_ends_before_the_whole() {
        let clock = FixedClock::at(Timestamp(0));
        let whole = Deadline::of_run(Duration::from_secs(20));
        clock.advance(Duration::from_secs(4));
        assert_eq!(whole.left(&clock), Duration::from_secs(16));
        assert_eq!(whole.share(&clock, 0.75).left(&clock), Duration::from_secs(12));
        assert_eq!(whole.point(0.8), Duration::from_secs(16));
        assert_eq!(whole.at_most(&clock, Duration::from_secs(5)).left(&clock), Duration::from_secs(5));
        clock.advance(Duration::from_secs(30));
        assert_eq!(whole.left(&clock), Duration::ZERO);
    }
}
