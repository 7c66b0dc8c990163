//! Tokens, and how long one still lives. Pure: the time is always an argument.

use std::ffi::OsStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::base::clock::{Timestamp, human};
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;

/// Takes text as a token, or says why it cannot be one. Nothing is demanded of its form but that it fits into a header,
/// a JSON string and a shell word: 1 to 4096 bytes of printable ASCII without blank, quote or backslash.
///
/// 4096 is the limit of `RevokeIamTokenRequest.iam_token` (cloudapi, iam_token_service.proto).
pub fn token_text(text: Secret) -> Result<Secret, &'static str> {
    match text.expose() {
        "" => Err("is empty"),
        text if text.len() > 4096 => Err("is longer than 4096 bytes"),
        text if !text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\')) => {
            Err("has characters that no token has (blanks, quotes, a backslash, controls or non-ASCII)")
        }
        _ => Ok(text),
    }
}

/// Whether the Terraform provider would take a `YC_TOKEN` for an IAM token
/// (`yandex-framework/provider/config/config.go`, `Credentials`): it starts with `t1.` and has two dots.
pub fn is_iam_token(value: &OsStr) -> bool {
    let bytes = value.as_encoded_bytes();
    bytes.starts_with(b"t1.") && bytes.iter().filter(|byte| **byte == b'.').count() == 2
}

/// The longest life believed, and the one assumed where the source names none.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);
const UNKNOWN_LIFE: Duration = Duration::from_secs(5 * 60);

/// A token and what is known of its life.
#[derive(Clone, Debug)]
pub struct Credential {
    pub secret: Secret,
    /// When its life began as far as we know: when it was received, by the clock that `expires` is by, or by ours where
    /// it would have been dead on arrival by that one.
    pub issued: Timestamp,
    /// When it dies, by the cloud's clock (by ours where the source told a length instead of a moment).
    pub expires: Timestamp,
    /// The cloud's clock less ours, in milliseconds; 0 where they agree to 30 s, or the source told a length.
    pub skew: i64,
    /// Its source named no end, so that one is assumed.
    pub assumed: bool,
}

/// Reads a member that tells a token's end: of another type than it should be it counts as not there, since a token that
/// is good is not thrown away for that.
///
/// # Errors
/// Where it is not JSON at all.
pub fn lenient_moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Some(text),
        _ => None,
    })
}

/// [`lenient_moment`], for seconds from now: with a fraction or in quotes they are what they say.
///
/// # Errors
/// As there.
pub fn lenient_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[allow(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
    let whole = |seconds: f64| seconds as i64;
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(whole)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

/// What a source says of a token's end.
pub enum Expiry {
    /// A moment in RFC 3339 by the cloud's clock; unreadable or absurd ones count as unknown.
    At(Option<String>),
    /// Seconds from now.
    In(Option<i64>),
}

impl Credential {
    /// Builds a credential from an answer received `now` by our clock, `skew` being the cloud's clock less ours where
    /// the source told the time.
    ///
    /// # Errors
    /// The text cannot be a token, or by its source's own clock it is dead on arrival; `origin` names the source.
    pub fn new(text: Secret, expiry: &Expiry, now: Timestamp, skew: Option<i64>, origin: &str) -> Result<Self> {
        let secret = token_text(text)
            .map_err(|why| Error::unavailable(format!("{origin} gave something that is no token: it {why}")))?;
        // Go's zero time and the like are "unknown" in the clothes of a moment.
        let year_2000 = Timestamp(946_684_800_000);
        let (issued, skew, end) = match expiry {
            Expiry::At(text) => {
                let there = now.shifted(skew.unwrap_or(0));
                let moment = text.as_deref().and_then(Timestamp::parse).filter(|moment| *moment > year_2000);
                // Just made, and over by a clock that nobody has compared with another: then it is the clock that is
                // wrong.
                (there, skew.unwrap_or(0), moment.filter(|moment| skew.is_some() || *moment > there))
            }
            Expiry::In(seconds) => {
                let length = seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
                (now, 0, length.map(|length| now.plus(length.min(LONGEST_LIFE))))
            }
        };
        let expires = end.unwrap_or_else(|| issued.plus(UNKNOWN_LIFE));
        // `Date` may be wrong where our clock is right: dead is what is dead by both.
        let issued = if expires > issued { issued } else { issued.min(now) };
        if expires <= issued {
            return Err(Error::unavailable(format!(
                "{origin} gave a token that expired at {expires}, {} ago",
                human(issued.since(expires))
            ))
            .hint("check this machine's clock and try again"));
        }
        Ok(Self { secret, issued, expires: expires.min(issued.plus(LONGEST_LIFE)), skew, assumed: end.is_none() })
    }

    /// What is left at `now` by our clock, and by our clock mended by the skew found when the token was fetched. A
    /// clock may have been mended since, so neither is the truth: the shorter decides when to renew, the longer whether
    /// it is dead.
    pub fn left(&self, now: Timestamp) -> Left {
        let (ours, theirs) = (self.expires.since(now), self.expires.since(now.shifted(self.skew)));
        Left { shorter: ours.min(theirs), longer: ours.max(theirs) }
    }

    /// The whole life, in milliseconds.
    pub fn life(&self) -> i64 {
        self.expires.since(self.issued)
    }

    /// The expiry to tell a client: by this machine's clock, earlier than the real one by the lesser of a minute and
    /// half of what is left, never in the past.
    ///
    /// With a current skew, the expiry by the corrected clock is the real one. Later the clock may have been corrected in the
    /// meantime, and the shorter reckoning is the one that can do no harm.
    pub fn advertised(&self, now: Timestamp, skew: SkewReading) -> Timestamp {
        let left = self.left(now);
        let real = match skew {
            SkewReading::Current => self.expires.since(now.shifted(self.skew)),
            SkewReading::Earlier => left.shorter,
        };
        let left = if real > 0 { real } else { left.longer.max(0) };
        // Rounded up, since clients get whole seconds and one in the past makes kubectl ask again for every request.
        let shaved = left - (left / 2).min(60_000);
        Timestamp(now.0.saturating_add(shaved).saturating_add(999).div_euclid(1000).saturating_mul(1000))
    }
}

/// When the skew of a credential was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkewReading {
    /// Within the last minute.
    Current,
    Earlier,
}

/// What is left of a life, in milliseconds; negative once it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    pub shorter: i64,
    pub longer: i64,
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
        }
    }

    #[test]
    fn token_texts() {
        let check = |text: &str| token_text(Secret::new(text.into())).is_ok();
        assert!(check("t1.x.y") && check("CggVAgAAA") && check(&"x".repeat(4096)));
        for bad in ["", "a b", "a\n", "a\"b", "a'b", "a\\b", "жетон", "a\0", &"x".repeat(4097)] {
            assert!(!check(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_wrong_clock_neither_kills_a_live_token_nor_revives_a_dead_one() {
        let fast = credential(3_600_000, -600_000); // our clock is ten minutes ahead
        assert_eq!(fast.left(NOW), Left { shorter: 3_000_000, longer: 3_600_000 });
        let slow = credential(3_600_000, 600_000);
        assert_eq!(slow.left(NOW), Left { shorter: 3_600_000, longer: 4_200_000 });
    }

    #[test]
    fn the_advertised_expiry_is_shaved_by_our_clock_and_never_past() {
        let at = |life, skew, current| {
            let reading = if current { SkewReading::Current } else { SkewReading::Earlier };
            credential(life, skew).advertised(NOW, reading).since(NOW)
        };
        assert_eq!(at(3_600_000, 0, true), 3_540_000);
        assert_eq!(at(60_000, 0, true), 30_000);
        assert_eq!(at(1_000, 0, true), 1_000, "rounded up to a whole second, not into the past");
        assert_eq!(
            at(3_600_000, -600_000, true),
            3_540_000,
            "a fast clock: the real expiry as this clock will show it"
        );
        assert_eq!(at(3_600_000, 600_000, true), 3_540_000);
        assert_eq!(at(3_600_000, -600_000, false), 2_940_000, "perhaps mended since: the shorter");
        assert_eq!(at(300_000, -600_000, false), 240_000, "dead by the bare clock alone: the longer");
        let dead = credential(1000, 0).advertised(NOW.plus(Duration::from_secs(60)), SkewReading::Current);
        assert_eq!(dead.since(NOW), 60_000, "never in the past, even for a dead one");
    }

    #[test]
    fn an_unknown_or_absurd_expiry_is_five_minutes_and_a_long_one_a_day() {
        let life = |expiry| {
            Credential::new(Secret::new("t1.x".into()), &expiry, NOW, Some(0), "the test").map(|c| c.life())
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
