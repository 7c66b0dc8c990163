//! Tokens and their validity. Pure functions: the time is always an argument.

use std::ffi::OsStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::base::account::Account;
use crate::base::clock::{Timestamp, human};
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::base::spelling::unquoted;

/// Checks that a string can be a token: 1 to 4096 bytes of printable ASCII without blanks, quotes and backslashes.
///
/// Such a string fits into a header, a JSON string and a shell word. 4096 is the limit of
/// `RevokeIamTokenRequest.iam_token` (cloudapi, iam_token_service.proto).
///
/// # Errors
/// What is wrong with the string, without its subject: `is empty`.
pub fn check_token(value: Secret) -> Result<Secret, &'static str> {
    match value.expose() {
        "" => Err("is empty"),
        value if value.len() > 4096 => Err("is longer than 4096 bytes"),
        value if !value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\')) => {
            Err("contains characters that tokens never have (blanks, quotes, backslashes, controls or non-ASCII)")
        }
        _ => Ok(value),
    }
}

/// Returns true if the Terraform provider accepts this value of `YC_TOKEN` as an IAM token.
///
/// Such a value starts with `t1.` and has two dots (`yandex-framework/provider/config/config.go`, `Credentials`).
pub fn is_iam_token(value: &OsStr) -> bool {
    let text = value.to_string_lossy();
    let bytes = unquoted(&text).as_bytes();
    bytes.starts_with(b"t1.") && bytes.iter().filter(|byte| **byte == b'.').count() == 2
}

/// The maximum lifetime of a token. A later expiry is moved to this point.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// The lifetime to assume if the source gives no expiry.
pub const LIFETIME_ASSUMED: Duration = Duration::from_secs(5 * 60);

/// A token and its validity.
#[derive(Clone, Debug)]
pub struct Credential {
    pub secret: Secret,
    /// When this process received the token, by the same clock as `expires`.
    ///
    /// By this machine's clock if the token would otherwise count as expired on arrival.
    pub issued: Timestamp,
    /// When the token expires, by the cloud's clock. By this machine's clock if the source gave a number of seconds.
    pub expires: Timestamp,
    /// The cloud's clock minus this machine's clock, in milliseconds.
    ///
    /// 0 if they differ by less than 30 s, or if the source gave a number of seconds.
    pub skew: i64,
    /// The source gave no expiry, so `expires` is an assumption.
    pub assumed: bool,
    /// `expires` was reported by another ycred, which has made it earlier than the real expiry: see [`Self::advertised`].
    pub is_reported: bool,
    /// Whose token it is, if the source knows.
    pub account: Option<Account>,
}

/// Deserializes an expiry time. A value of another type counts as missing, so that it does not cost a valid token.
///
/// # Errors
/// The input is not JSON.
pub fn lenient_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Some(text),
        _ => None,
    })
}

/// Deserializes a number of seconds. Accepts a fraction and a quoted number; any other value counts as missing.
///
/// # Errors
/// The input is not JSON.
pub fn lenient_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[allow(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
    let whole = |seconds: f64| seconds as i64;
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(whole)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

/// The expiry that a source gives for a token.
pub enum Expiry {
    /// A time in RFC 3339, by the cloud's clock. An unreadable or absurd time counts as unknown.
    At(Option<String>),
    /// A number of seconds from now.
    In(Option<i64>),
    /// A time by this machine's clock, as [`Credential::advertised`] returned it to another ycred.
    Reported(Timestamp),
}

impl Credential {
    /// Creates a credential from a response received at `now` by this machine's clock.
    ///
    /// `skew` is the cloud's clock minus this machine's clock, if the response had a time. `origin` names the source in
    /// errors.
    ///
    /// # Errors
    /// Unavailable (4): the string cannot be a token, or the token has expired already by the source's own clock.
    pub fn new(value: Secret, expiry: &Expiry, now: Timestamp, skew: Option<i64>, origin: &str) -> Result<Self> {
        let secret = check_token(value)
            .map_err(|why| Error::unavailable(format!("{origin} returned an invalid token: it {why}")))?;
        // Earlier times, such as Go's zero time, mean "unknown".
        let year_2000 = Timestamp(946_684_800_000);
        let (issued, skew, end) = match expiry {
            Expiry::At(time) => {
                let cloud_now = now.shifted(skew.unwrap_or(0));
                let end = time.as_deref().and_then(Timestamp::parse).filter(|end| *end > year_2000);
                // A new token that has expired by a clock of unknown skew: the clock is wrong, not the token.
                (cloud_now, skew.unwrap_or(0), end.filter(|end| skew.is_some() || *end > cloud_now))
            }
            Expiry::In(seconds) => {
                let length = seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
                (now, 0, length.map(|length| now.plus(length.min(LIFETIME_MAX))))
            }
            Expiry::Reported(time) => (now, 0, Some(*time)),
        };
        let expires = end.unwrap_or_else(|| issued.plus(LIFETIME_ASSUMED));
        // The server's `Date` may be wrong, so a token counts as expired only if it has expired by both clocks.
        let issued = if expires > issued { issued } else { issued.min(now) };
        if expires <= issued {
            return Err(Error::unavailable(format!(
                "{origin} returned a token that expired at {expires}, {} ago",
                human(issued.since(expires))
            ))
            .hint("check this machine's clock and try again"));
        }
        Ok(Self {
            secret,
            issued,
            expires: expires.min(issued.plus(LIFETIME_MAX)),
            skew,
            assumed: end.is_none(),
            is_reported: matches!(expiry, Expiry::Reported(_)),
            account: None,
        })
    }

    /// Returns this credential with its account.
    #[must_use]
    pub fn of(self, account: Account) -> Self {
        Self { account: Some(account), ..self }
    }

    /// Returns the remaining validity at `now`, by this machine's clock and by that clock corrected by the skew.
    ///
    /// Somebody may have set the clock since the skew was measured, so either value may be wrong. `min`
    /// decides when to renew, and `max` whether the token has expired.
    pub fn remaining(&self, now: Timestamp) -> RemainingValidity {
        let (as_is, corrected) = (self.expires.since(now), self.expires.since(now.shifted(self.skew)));
        RemainingValidity { min: as_is.min(corrected), max: as_is.max(corrected) }
    }

    /// Returns the remaining validity for display: by the cloud's clock, as far as it is known.
    ///
    /// A skew that was measured before somebody set this machine's clock gives an impossible value. Then this machine's
    /// clock counts.
    pub fn left(&self, now: Timestamp) -> i64 {
        let corrected = self.expires.since(now.shifted(self.skew));
        match corrected {
            1.. if corrected <= self.lifetime() => corrected,
            _ => self.expires.since(now).clamp(0, self.lifetime().max(0)),
        }
    }

    /// Returns true if the token has expired by both clocks. Until then it is usable.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.remaining(now).max <= 0
    }

    /// Returns the total lifetime in milliseconds.
    pub fn lifetime(&self) -> i64 {
        self.expires.since(self.issued)
    }

    /// Returns the expiry to report to a client, by this machine's clock.
    ///
    /// It is earlier than the real expiry by a minute or by half of the remaining validity, whichever is less. It is
    /// never in the past.
    ///
    /// With a current skew, the corrected clock gives the real expiry. With an earlier one, the clock may have been set
    /// since, so the shorter validity is the safe choice.
    pub fn advertised(&self, now: Timestamp, skew_age: SkewAge) -> Timestamp {
        let left = self.remaining(now);
        let real = match skew_age {
            SkewAge::Current => self.expires.since(now.shifted(self.skew)),
            SkewAge::Earlier => left.min,
        };
        let left = if real > 0 { real } else { left.max.max(0) };
        let reported = if self.is_reported { left } else { left - (left / 2).min(60_000) };
        // Rounded up to a whole second, because an expiry in the past makes kubectl call again for every request.
        Timestamp(now.0.saturating_add(reported).saturating_add(999).div_euclid(1000).saturating_mul(1000))
    }
}

/// When the skew of a credential was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkewAge {
    /// Within the last minute.
    Current,
    Earlier,
}

/// The remaining validity in milliseconds, by two clocks. Negative if the token has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemainingValidity {
    /// By the clock that leaves less.
    pub min: i64,
    /// By the clock that leaves more.
    pub max: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_000_000_000);

    fn credential(life: i64, skew: i64) -> Credential {
        let issued = NOW.shifted(skew);
        Credential {
            secret: Secret::new("t1.aaaaaaaa.b".into()),
            issued,
            expires: issued.shifted(life),
            skew,
            assumed: false,
            is_reported: false,
            account: None,
        }
    }

    #[test]
    fn tokens_are_printable_ascii_of_at_most_4096_bytes() {
        let check = |value: &str| check_token(Secret::new(value.into())).is_ok();
        assert!(check("t1.x.y") && check("CggVAgAAA") && check(&"x".repeat(4096)));
        for bad in ["", "a b", "a\n", "a\"b", "a'b", "a\\b", "жетон", "a\0", &"x".repeat(4097)] {
            assert!(!check(bad), "{bad:?}");
        }
    }

    #[test]
    fn the_remaining_validity_is_computed_by_both_clocks() {
        let fast = credential(3_600_000, -600_000); // our clock is ten minutes ahead
        assert_eq!(fast.remaining(NOW), RemainingValidity { min: 3_000_000, max: 3_600_000 });
        let slow = credential(3_600_000, 600_000);
        assert_eq!(slow.remaining(NOW), RemainingValidity { min: 3_600_000, max: 4_200_000 });
    }

    #[test]
    fn the_validity_to_display_is_by_the_clouds_clock() {
        let hour = 3_600_000;
        for skew in [0, 20 * hour, -20 * hour] {
            let token = credential(12 * hour, skew);
            assert_eq!(token.left(NOW), 12 * hour, "{skew}");
            assert_eq!(token.left(NOW.shifted(2 * hour)), 10 * hour, "{skew}");
            // Somebody has set the clock right.
            assert_eq!(token.left(NOW.shifted(skew + 2 * hour)), 10 * hour, "{skew}");
        }
        assert_eq!(credential(hour, 0).left(NOW.shifted(2 * hour)), 0);
    }

    #[test]
    fn the_advertised_expiry_is_early_but_never_in_the_past() {
        let at = |life, skew, current| {
            let reading = if current { SkewAge::Current } else { SkewAge::Earlier };
            credential(life, skew).advertised(NOW, reading).since(NOW)
        };
        assert_eq!(at(3_600_000, 0, true), 3_540_000);
        assert_eq!(at(60_000, 0, true), 30_000);
        assert_eq!(at(1_000, 0, true), 1_000, "rounded up to a whole second, not into the past");
        assert_eq!(at(3_600_000, -600_000, true), 3_540_000, "a fast clock: the real expiry by this clock");
        assert_eq!(at(3_600_000, 600_000, true), 3_540_000);
        assert_eq!(at(3_600_000, -600_000, false), 2_940_000, "the clock may have been set since: the shorter one");
        assert_eq!(at(300_000, -600_000, false), 240_000, "expired by one clock only: the longer one");
        let expired = credential(1000, 0).advertised(NOW.plus(Duration::from_secs(60)), SkewAge::Current);
        assert_eq!(expired.since(NOW), 60_000, "never in the past, even for an expired token");
    }

    #[test]
    fn an_unknown_expiry_is_five_minutes_and_the_maximum_is_a_day() {
        let life = |expiry| {
            Credential::new(Secret::new("t1.x".into()), &expiry, NOW, Some(0), "the test").map(|c| c.lifetime())
        };
        for unknown in [None, Some(""), Some("null"), Some("soon"), Some("0001-01-01T00:00:00Z")] {
            assert_eq!(life(Expiry::At(unknown.map(str::to_owned))).ok(), Some(300_000), "{unknown:?}");
        }
        assert_eq!(life(Expiry::At(Some("9999-12-31T23:59:59Z".into()))).ok(), Some(86_400_000));
        assert_eq!(life(Expiry::In(Some(i64::MAX))).ok(), Some(86_400_000));
        assert_eq!(life(Expiry::In(Some(-5))).ok(), Some(300_000));
        assert_eq!(life(Expiry::In(None)).ok(), Some(300_000));
        assert_eq!(life(Expiry::In(Some(1))).ok(), Some(1000));
        assert!(life(Expiry::At(Some(NOW.minus(Duration::from_secs(60)).to_string()))).is_err());
    }
}
