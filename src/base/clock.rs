//! Time: timestamps, durations, the process's clock, and the deadline of a run. The time is always an argument.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time, in milliseconds since 1970-01-01T00:00:00Z. Arithmetic saturates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn plus(self, length: Duration) -> Self {
        Self(self.0.saturating_add(millis(length)))
    }

    pub fn minus(self, length: Duration) -> Self {
        Self(self.0.saturating_sub(millis(length)))
    }

    /// Returns this time on a clock that is `skew` milliseconds ahead.
    pub fn shifted(self, skew: i64) -> Self {
        Self(self.0.saturating_add(skew))
    }

    /// Returns the milliseconds from `earlier` to this time. Negative if this time is earlier.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    pub fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Formats this time for a message: `12:03Z`, or with the date if it is not within twelve hours of `now`.
    pub fn short(self, now: Self) -> String {
        let text = self.to_string();
        let is_near = now.since(self).unsigned_abs() < 12 * 3_600_000;
        if is_near { format!("{}Z", &text[11..16]) } else { format!("{}Z", &text[..16]) }
    }

    /// Formats this time without its date: `12:03:59Z`.
    pub fn time(self) -> String {
        self.to_string().split_off(11)
    }

    /// Parses RFC 3339 with up to 9 fraction digits and any offset.
    pub fn parse(text: &str) -> Option<Self> {
        let time = OffsetDateTime::parse(text.trim(), &Rfc3339).ok()?;
        Some(Self(i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()?))
    }
}

/// RFC 3339 in UTC with whole seconds and `Z`: the format that every client accepts (Bazel rejects fractions).
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.unix_seconds().clamp(-62_135_596_800, 253_402_300_799); // years 1 to 9999
        let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second()
        )
    }
}

/// Returns a duration in milliseconds. Saturates.
pub fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// Formats milliseconds for display: `90s`, `12m`, `11h 59m`. Ignores the sign.
pub fn human(ms: i64) -> String {
    let seconds = ms.unsigned_abs() / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0..=1, _) => format!("{seconds}s"),
        (0, minutes, _) => format!("{minutes}m"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

/// Describes a skew: `this machine's clock is 10 min fast`, or hours or days.
pub fn clock_off(skew: i64) -> String {
    format!("this machine's clock is {} {}", rounded(skew), if skew < 0 { "fast" } else { "slow" })
}

/// Formats a skew in its largest unit, rounded. Below two of a unit, the next smaller one is used.
fn rounded(skew: i64) -> String {
    let seconds = skew.unsigned_abs() / 1000;
    let in_units = |length: u64| (seconds + length / 2) / length;
    match (in_units(60), in_units(3600), in_units(86_400)) {
        (0..=1, ..) => human(skew),
        (minutes, ..=1, _) => format!("{minutes} min"),
        (_, hours, ..=1) => format!("{hours} h"),
        (.., days) => format!("{days} days"),
    }
}

/// Parses a duration: `90s`, `15m`, `12h`, `1h30m`.
///
/// # Errors
/// The message fits after the name of the setting.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let error = || format!("\"{text}\" is not a duration; expected a form like 90s, 15m, 12h or 1h30m");
    let mut total: u64 = 0;
    let mut rest = text;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let number: u64 = rest[..digits].parse().map_err(|_| error())?;
        let unit = match rest.as_bytes()[digits] {
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return Err(error()),
        };
        if unit >= last_unit {
            return Err(error());
        }
        last_unit = unit;
        total = number.checked_mul(unit).and_then(|seconds| total.checked_add(seconds)).ok_or_else(error)?;
        rest = &rest[digits + 1..];
    }
    // More than a year is a typing error. The limit also keeps sums of times far from an overflow.
    if text.is_empty() || total > 365 * 24 * 3600 { Err(error()) } else { Ok(Duration::from_secs(total)) }
}

/// The process's clock.
///
/// Tokens use the wall clock, which continues while a laptop sleeps. Waiting uses the monotonic clock.
pub trait Clock: Sync {
    /// Returns the wall-clock time.
    fn now(&self) -> Timestamp;
    /// Returns the monotonic clock: how long this process has been running.
    fn elapsed(&self) -> Duration;
    fn sleep(&self, length: Duration);
}

/// The time by which a run must end, by the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    end: Duration,
    /// The full time limit of the run, which the user knows. For messages.
    pub limit: Duration,
    /// When this process stops waiting for another one and makes the request itself, by the monotonic clock.
    patience: Duration,
}

/// The share of the time limit that a process waits for another one.
///
/// If the cloud then responds within a tenth of the time limit, the process ends within nine tenths.
const PATIENCE: f64 = 0.78;
/// With a short time limit, at least this much is left for the request.
const LEFT_FOR_REQUEST: Duration = Duration::from_millis(300);

impl Deadline {
    /// Creates a deadline that is `length` from now.
    pub fn after(clock: &dyn Clock, length: Duration) -> Self {
        Self::since(clock.elapsed(), length)
    }

    /// Creates the deadline of a run. It counts from the start of the process, so earlier work counts too.
    pub fn of_run(length: Duration) -> Self {
        Self::since(Duration::ZERO, length)
    }

    /// Creates a deadline that counts from `start`, a value of the monotonic clock.
    pub fn since(start: Duration, length: Duration) -> Self {
        let short = length.saturating_sub(LEFT_FOR_REQUEST).max(length / 2);
        Self { end: start + length, limit: length, patience: start + length.mul_f64(PATIENCE).min(short) }
    }

    /// Returns the remaining time.
    pub fn left(&self, clock: &dyn Clock) -> Duration {
        self.end.saturating_sub(clock.elapsed())
    }

    /// Returns true if this process has waited long enough for another one, and then for `spread`.
    pub fn is_out_of_patience(&self, clock: &dyn Clock, spread: Duration) -> bool {
        clock.elapsed() >= self.patience + spread
    }

    /// Returns an earlier deadline, after `share` of the remaining time.
    #[must_use]
    pub fn share(&self, clock: &dyn Clock, share: f64) -> Self {
        Self { limit: self.limit, ..self.at_most(clock, self.left(clock).mul_f64(share)) }
    }

    /// Returns the earlier of this deadline and `length` from now.
    #[must_use]
    pub fn at_most(&self, clock: &dyn Clock, length: Duration) -> Self {
        let shorter = Self::after(clock, self.left(clock).min(length));
        // A fetch inside another one has no patience left either, if the outer one has none.
        Self { limit: self.limit.min(length), patience: shorter.patience.min(self.patience), ..shorter }
    }
}

#[cfg(test)]
pub mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A clock that moves only by `advance` and `sleep`.
    pub struct FixedClock(Mutex<(Timestamp, Duration)>);

    impl FixedClock {
        pub fn at(now: Timestamp) -> Self {
            Self(Mutex::new((now, Duration::ZERO)))
        }
        pub fn advance(&self, length: Duration) {
            let mut at = self.0.lock().expect("no panic");
            *at = (at.0.plus(length), at.1 + length);
        }
        /// Sets the wall clock, as a person or a time server does.
        pub fn set(&self, now: Timestamp) {
            self.0.lock().expect("no panic").0 = now;
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
        assert!(!whole.is_out_of_patience(&clock, Duration::ZERO));
        assert_eq!(whole.at_most(&clock, Duration::from_secs(5)).left(&clock), Duration::from_secs(5));
        clock.advance(Duration::from_millis(11_600));
        assert!(
            whole.is_out_of_patience(&clock, Duration::ZERO)
                && !whole.is_out_of_patience(&clock, Duration::from_millis(1)),
            "after 15.6 of 20 seconds"
        );
        assert!(whole.share(&clock, 1.0).is_out_of_patience(&clock, Duration::ZERO), "and so is every part of it");
        clock.advance(Duration::from_secs(18));
        assert_eq!(whole.left(&clock), Duration::ZERO);
    }

    #[test]
    fn timestamps_parse_any_fraction_and_offset_and_print_whole_seconds() {
        for text in [
            "2026-11-21T10:11:12Z",
            "2026-11-21T10:11:12.383485065Z",
            "2026-11-21T13:11:12.5+03:00",
            "2026-11-21t10:11:12z",
        ] {
            assert_eq!(Timestamp::parse(text).expect(text).to_string(), "2026-11-21T10:11:12Z");
        }
        for text in ["", "tomorrow", "2026-11-21", "2026-13-41T00:00:00Z", "1795290924"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
        assert_eq!(Timestamp(i64::MAX).to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(Timestamp(i64::MIN).to_string(), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn durations() {
        let seconds = |text: &str| parse_duration(text).map(|d| d.as_secs()).ok();
        assert_eq!(
            [seconds("90s"), seconds("15m"), seconds("12h"), seconds("1h30m"), seconds("0s")],
            [Some(90), Some(900), Some(43200), Some(5400), Some(0)]
        );
        for bad in ["", "90", "s", "1d", "1m1h", "1.5h", "-1s", "1h 30m", "99999999999999999999h", "9000h"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_for_display() {
        assert_eq!(
            [human(5_000), human(90_000), human(600_000), human(43_140_000), human(-7_200_000)],
            ["5s", "90s", "10m", "11h 59m", "2h"]
        );
    }

    #[test]
    fn skews_for_display() {
        assert_eq!(
            [-600_000, 599_000, 45_000, -3_720_000, 72_000_000, -126_000_000, 130_000_000, -864_000_000].map(rounded),
            ["10 min", "10 min", "45s", "62 min", "20 h", "35 h", "2 days", "10 days"]
        );
    }
}
