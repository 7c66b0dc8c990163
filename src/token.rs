//! Secrets, moments, and how long a token still lives. Pure: the time is always an argument.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

// ---------------------------------------------------------------------------------------------------------------- Secret

/// A text that must not get out: no `Display`, no `Serialize`, a blind `Debug`, wiped when the last copy goes.
///
/// Every secret is known to the error renderer from its making on, which masks any piece of it of eight bytes and more.
///
/// ```
/// let secret = ycred::token::Secret::new("t1.9euelZq".into());
/// assert_eq!(format!("{secret:?}"), "Secret(***)");
/// ```
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

/// What [`Secret::mask_known`] knows, the latest last. Held until the process ends or becomes another: an error about a
/// secret is rendered after the code that held it has returned.
static KNOWN: Mutex<Vec<Secret>> = Mutex::new(Vec::new());

/// How many secrets are known at most, of those that nobody holds any more: no single call comes near it, and a process
/// that serves for weeks does not grow.
const MOST_KNOWN: usize = 256;

/// The shortest piece of a secret that counts as the secret.
const PIECE: usize = 8;

impl Secret {
    pub fn new(text: String) -> Self {
        let secret = Self(Arc::new(Zeroizing::new(text)));
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        // The same once more, as a record that is read anew has it: the one copy moves to the end.
        if let Some(at) = known.iter().rposition(|other| *other == secret) {
            let same = known.remove(at);
            known.push(same.clone());
            return same;
        }
        if known.len() >= MOST_KNOWN
            && let Some(at) = known.iter().position(|other| Arc::strong_count(&other.0) == 1)
        {
            known.remove(at);
        }
        known.push(secret.clone());
        secret
    }

    /// A text with a secret somewhere in it, such as a request's body: wiped and never shown like any other, but
    /// messages may speak of its other parts. The secret inside has a `Secret` of its own, by which it is masked.
    pub fn wrapping(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    /// The text itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Drops the renderer's copies, so that the buffers are wiped before the process ends or becomes another.
    pub fn forget_known() {
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The text with every piece (eight bytes and more) of any known secret replaced by `***`.
    pub fn mask_known(text: &str) -> String {
        let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pieces: HashSet<&[u8]> = HashSet::new();
        for secret in known.iter() {
            // The armour of a PEM is no secret, and messages speak of it.
            for line in
                secret.expose().lines().filter(|line| !line.starts_with("-----") && !line.starts_with("PLEASE DO NOT"))
            {
                pieces.extend(line.as_bytes().windows(PIECE));
            }
        }
        if pieces.is_empty() {
            return text.to_owned();
        }
        let mut masked = vec![false; text.len()];
        for (at, window) in text.as_bytes().windows(PIECE).enumerate() {
            if pieces.contains(window) {
                masked[at..at + PIECE].fill(true);
            }
        }
        let mut out = String::with_capacity(text.len());
        let mut in_mask = false;
        for (at, c) in text.char_indices() {
            if !masked[at] {
                out.push(c);
            } else if !in_mask {
                out.push_str("***");
            }
            in_mask = masked[at];
        }
        out
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

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

// ------------------------------------------------------------------------------------------------------------- Timestamp

/// A moment: milliseconds since 1970-01-01T00:00:00Z. Arithmetic saturates.
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

    /// The same moment as a clock shows it that is `skew` milliseconds ahead.
    pub fn shifted(self, skew: i64) -> Self {
        Self(self.0.saturating_add(skew))
    }

    /// Milliseconds from `earlier` to here; negative if this is the earlier one.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    pub fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Reads RFC 3339 with 0 to 9 fraction digits and any offset.
    pub fn parse(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text.trim(), &Rfc3339).ok()?;
        Some(Self(i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()?))
    }
}

/// RFC 3339 in UTC, whole seconds, `Z`: the one form that every client reads (Bazel refuses fractions).
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.unix_seconds().clamp(-62_135_596_800, 253_402_300_799); // years 1 to 9999
        let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            moment.year(),
            u8::from(moment.month()),
            moment.day(),
            moment.hour(),
            moment.minute(),
            moment.second()
        )
    }
}

/// A length in milliseconds, saturating.
pub fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// A length for people: `90s`, `12m`, `11h 59m`.
pub fn human(ms: i64) -> String {
    let seconds = ms.unsigned_abs() / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0..=1, _) => format!("{seconds}s"),
        (0, minutes, _) => format!("{minutes}m"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

/// Reads `90s`, `15m`, `12h`, `1h30m`.
///
/// # Errors
/// Anything else, in words that fit behind the name of the setting.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a duration such as 90s, 15m, 12h or 1h30m");
    let mut total: u64 = 0;
    let mut rest = text;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = match rest.as_bytes()[digits] {
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return Err(wrong()),
        };
        if unit >= last_unit {
            return Err(wrong());
        }
        last_unit = unit;
        total = number.checked_mul(unit).and_then(|seconds| total.checked_add(seconds)).ok_or_else(wrong)?;
        rest = &rest[digits + 1..];
    }
    // A year: beyond it is a slip of the finger, and sums of times stay far from overflow.
    if text.is_empty() || total > 365 * 24 * 3600 { Err(wrong()) } else { Ok(Duration::from_secs(total)) }
}

// ------------------------------------------------------------------------------------------------------------ Credential

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
    /// `skew_is_current`: the skew was measured about now, so the expiry by the mended clock is the real one. Later it
    /// may have been mended in the meantime, and the shorter reckoning is the one that can do no harm.
    pub fn advertised(&self, now: Timestamp, skew_is_current: bool) -> Timestamp {
        let left = self.left(now);
        let real = if skew_is_current { self.expires.since(now.shifted(self.skew)) } else { left.shorter };
        let left = if real > 0 { real } else { left.longer.max(0) };
        // Rounded up, since clients get whole seconds and one in the past makes kubectl ask again for every request.
        let shaved = left - (left / 2).min(60_000);
        Timestamp(now.0.saturating_add(shaved).saturating_add(999).div_euclid(1000).saturating_mul(1000))
    }
}

/// What is left of a life, in milliseconds; negative once it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    pub shorter: i64,
    pub longer: i64,
}

/// Held by tests that count on what is known to be a secret, and by those that forget it: all are one process.
#[cfg(test)]
pub(crate) static KNOWLEDGE: Mutex<()> = Mutex::new(());

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
    fn known_secrets_are_masked_in_any_piece_of_eight_bytes() {
        let _turn = KNOWLEDGE.lock().unwrap_or_else(PoisonError::into_inner);
        let _secret = Secret::new("correct-horse-battery-staple".into());
        assert_eq!(Secret::mask_known("said horse-battery today"), "said *** today");
        assert_eq!(Secret::mask_known("short: correct"), "short: correct");
        assert_eq!(Secret::mask_known("жжж correct-horse жжж"), "жжж *** жжж");
    }

    #[test]
    fn a_process_that_meets_secrets_without_end_knows_the_latest_and_those_in_use() {
        let _turn = KNOWLEDGE.lock().unwrap_or_else(PoisonError::into_inner);
        let in_use = Secret::new("in-use-from-the-first-day".into());
        drop(Secret::new("left-on-the-first-day".into()));
        for number in 0..4 * MOST_KNOWN {
            drop(Secret::new(format!("again-and-again{}", "!".repeat(number % 7))));
            drop(Secret::new(format!("number<{number:08}>")));
        }
        // Other tests' secrets are in it too, and may be held.
        assert!(KNOWN.lock().expect("no panic").len() < 2 * MOST_KNOWN);
        assert_eq!(Secret::mask_known("in-use-from-the-first-day, left-on-the-first-day"), "***, left-on***");
        let latest = format!("number<{:08}>", 4 * MOST_KNOWN - 1);
        assert_eq!(Secret::mask_known(&latest), "***");
        drop(in_use);
    }

    #[test]
    fn the_armour_of_a_key_is_no_secret() {
        let _turn = KNOWLEDGE.lock().unwrap_or_else(PoisonError::into_inner);
        let _key =
            Secret::new("-----BEGIN PRIVATE KEY-----\nTUlJRXZRSUJBREFOQmdrcWhr\n-----END PRIVATE KEY-----\n".into());
        assert_eq!(Secret::mask_known("no BEGIN PRIVATE KEY line"), "no BEGIN PRIVATE KEY line");
        assert_eq!(Secret::mask_known("has TUlJRXZRSUJB"), "has ***");
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
    fn moments_are_read_with_any_fraction_and_offset_and_written_in_whole_seconds() {
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
    fn an_unknown_or_absurd_expiry_is_five_minutes_and_a_long_one_a_day() {
        let life =
            |expiry| Credential::new(Secret::new("t1.x".into()), &expiry, NOW, Some(0), "the test").map(|c| c.life());
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

    #[test]
    fn a_wrong_clock_neither_kills_a_live_token_nor_revives_a_dead_one() {
        let fast = credential(3_600_000, -600_000); // our clock is ten minutes ahead
        assert_eq!(fast.left(NOW), Left { shorter: 3_000_000, longer: 3_600_000 });
        let slow = credential(3_600_000, 600_000);
        assert_eq!(slow.left(NOW), Left { shorter: 3_600_000, longer: 4_200_000 });
    }

    #[test]
    fn the_advertised_expiry_is_shaved_by_our_clock_and_never_past() {
        let at = |life, skew, current| credential(life, skew).advertised(NOW, current).since(NOW);
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
        let dead = credential(1000, 0).advertised(NOW.plus(Duration::from_secs(60)), true);
        assert_eq!(dead.since(NOW), 60_000, "never in the past, even for a dead one");
    }

    #[test]
    fn lengths_for_people() {
        assert_eq!(
            [human(5_000), human(90_000), human(600_000), human(43_140_000), human(-7_200_000)],
            ["5s", "90s", "10m", "11h 59m", "2h"]
        );
    }
}
