//! Durations such as `90s`, `1h30m` and `-10m`, and times in the cloud's form.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

/// Parses durations such as `500ms`, `90s`, `15m`, `12h` and `1h30m`, with or without a sign.
pub fn parse(text: &str) -> Result<time::Duration, String> {
    let bad = || format!("`{text}` is not a duration; expected a form like 500ms, 90s, 15m, 12h or 1h30m");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return Err(bad());
    }
    let mut millis: i64 = 0;
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let count: i64 = rest[..unit].parse().map_err(|_| bad())?;
        let end = rest[unit..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| unit + at);
        let scale = match &rest[unit..end] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(bad()),
        };
        millis = count.checked_mul(scale).and_then(|more| millis.checked_add(more)).ok_or_else(bad)?;
        rest = &rest[end..];
    }
    // At most a century, which keeps every sum of a date and a duration within the range of dates.
    if millis > 100 * 366 * 24 * 3_600_000 {
        return Err(bad());
    }
    Ok(time::Duration::milliseconds(sign * millis))
}

/// Parses a duration that must not be negative.
pub fn parse_unsigned(text: &str) -> Result<Duration, String> {
    Duration::try_from(parse(text)?).map_err(|_| format!("`{text}` is negative"))
}

/// Formats a duration in the form that `parse` reads.
pub fn render(span: time::Duration) -> String {
    let millis = span.whole_milliseconds();
    let (unit, scale) = [("h", 3_600_000), ("m", 60_000), ("s", 1000)]
        .into_iter()
        .find(|(_, scale)| millis != 0 && millis % scale == 0)
        .unwrap_or(if millis == 0 { ("s", 1) } else { ("ms", 1) });
    format!("{}{unit}", millis / scale)
}

/// Formats a time by RFC 3339 with nanoseconds, as the cloud writes `expiresAt` (sample in docs, ephemeral-keys.md).
pub fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let (date, clock) = (time.date(), time.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
        clock.nanosecond()
    )
}

/// Shifts a time by a signed duration.
pub fn shifted(time: SystemTime, by: time::Duration) -> SystemTime {
    match by.is_negative() {
        true => time - by.unsigned_abs(),
        false => time + by.unsigned_abs(),
    }
}

/// Returns the seconds since 1970, as in JWTs.
pub fn unix(time: SystemTime) -> i64 {
    OffsetDateTime::from(time).unix_timestamp()
}

/// For `#[serde(with = …)]`: a signed duration as a string.
pub mod signed {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the duration.
    pub fn serialize<S: Serializer>(span: &time::Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::render(*span))
    }

    /// Reads the duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<time::Duration, D::Error> {
        super::parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// For `#[serde(with = …)]`: a duration as a string.
pub mod plain {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the duration.
    pub fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::render(time::Duration::try_from(*span).unwrap_or(time::Duration::MAX)))
    }

    /// Reads the duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        super::parse_unsigned(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// For `#[serde(with = …)]`: an optional duration as a string.
pub mod optional {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the duration.
    pub fn serialize<S: Serializer>(span: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => super::plain::serialize(span, to),
            None => to.serialize_none(),
        }
    }

    /// Reads the duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| super::parse_unsigned(&text)).transpose().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_formats_durations() {
        for (text, seconds) in [("90s", 90), ("1h30m", 5400), ("12h", 43200), ("-10m", -600), ("0s", 0), ("+1m", 60)] {
            assert_eq!(parse(text).unwrap(), time::Duration::seconds(seconds), "{text}");
        }
        for text in ["", "5", "s", "1d", "-", "1h-5m", "99999999999h", "1000000h"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["90s", "90m", "12h", "-10m", "0s", "1500ms"] {
            assert_eq!(render(parse(text).unwrap()), text);
        }
        assert!(parse_unsigned("-1s").is_err());
    }

    #[test]
    fn times_have_nanoseconds() {
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_765_866_231, 383_485_065);
        assert_eq!(rfc3339(time), "2025-12-16T06:23:51.383485065Z");
        assert_eq!(rfc3339(shifted(time, time::Duration::seconds(-1_765_866_231))), "1970-01-01T00:00:00.383485065Z");
    }
}
