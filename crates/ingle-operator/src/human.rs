//! Times and sizes as people read and write them.

use std::time::{Duration, UNIX_EPOCH};

use ingle::clock::Timestamp;

/// A text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a duration is a number and its unit, such as 90s, 30m, 12h, 7d or 1d12h")]
pub struct NotADuration;

/// Reads a duration such as `7d`, `1h` or `1h30m`.
///
/// # Errors
/// It is none.
pub fn duration(text: &str) -> Result<Duration, NotADuration> {
    humantime::parse_duration(text).map_err(|_| NotADuration)
}

const UNITS: [(u64, &str); 5] =
    [(365 * 86_400, "year"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];

/// How long something is, in its largest unit: `3 minutes`.
#[must_use]
pub fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    let unit = UNITS.iter().find(|(unit, _)| seconds >= *unit);
    let Some((unit, name)) = unit else { return "less than a second".to_owned() };
    let n = seconds / unit;
    format!("{n} {name}{}", if n == 1 { "" } else { "s" })
}

/// How long ago an instant was, or how far ahead it is: `3 minutes ago`, `just now`, `in 2 hours`, `never`.
#[must_use]
pub fn ago(instant: Timestamp, now: Timestamp) -> String {
    if instant == Timestamp::MAX {
        "never".to_owned()
    } else if instant.since(now).max(now.since(instant)) < Duration::from_secs(1) {
        "just now".to_owned()
    } else if instant > now {
        format!("in {}", age(instant.since(now)))
    } else {
        format!("{} ago", age(now.since(instant)))
    }
}

/// An instant in UTC (RFC 3339), to the millisecond.
#[must_use]
pub fn instant(instant: Timestamp) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(instant.as_millis());
    humantime::format_rfc3339_millis(time).to_string()
}

/// A text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a size is a number of bytes, such as 512, or one of B, KiB, MiB or GiB, such as 1.5KiB")]
pub struct NotASize;

/// The units of sizes, each 1024 of the one before.
const SIZES: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// Reads a size in bytes such as `512`, `8KiB` or `1.5 MiB`, as [`size`] writes it.
///
/// # Errors
/// It is none. A kB has 1000 bytes for some and 1024 for others, so it is no unit here.
pub fn bytes(text: &str) -> Result<u64, NotASize> {
    let len = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(len).ok_or(NotASize)?;
    let unit = unit.trim_start();
    let is_bytes = unit.is_empty();
    let power = SIZES.iter().position(|name| name.eq_ignore_ascii_case(unit));
    let power = power.or(is_bytes.then_some(0)).ok_or(NotASize)?;
    let factor = 1024_u64.pow(u32::try_from(power).map_err(|_| NotASize)?);
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or(NotASize);
    }
    let number = number.parse::<f64>().ok().filter(|_| power > 0).ok_or(NotASize)?;
    Ok((number * factor as f64).round() as u64)
}

/// How many bytes something has: `512 B`, `1.2 KiB`.
#[must_use]
pub fn size(bytes: usize) -> String {
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1023.95 && unit + 1 < SIZES.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let name = SIZES.get(unit).unwrap_or(&"");
    if unit == 0 { format!("{bytes} {name}") } else { format!("{amount:.1} {name}") }
}

/// A number with a comma before each three digits: `12,345`.
#[must_use]
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// How many of something there are: `1 session`, `12,345 sessions`.
#[must_use]
pub fn counted(n: usize, of: &str) -> String {
    format!("{} {of}{}", grouped(n as u64), if n == 1 { "" } else { "s" })
}

/// What an error says, as a sentence: with a capital letter and a full stop.
#[must_use]
pub fn sentence(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_time_is_told_in_its_largest_unit() {
        for (seconds, text) in [
            (0, "less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (7199, "1 hour"),
            (7200, "2 hours"),
            (86_400 * 30, "30 days"),
            (86_400 * 365, "1 year"),
            (86_400 * 800, "2 years"),
        ] {
            assert_eq!(age(secs(seconds)), text);
        }
    }

    #[test]
    fn a_size_is_read_as_it_is_written() {
        for (text, n) in [
            ("0", 0),
            ("512", 512),
            ("512 B", 512),
            ("8KiB", 8192),
            ("1.5kib", 1536),
            ("2 MiB", 2 << 20),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(bytes(text), Ok(n), "{text}");
        }
        for text in
            ["", "KiB", "8KB", "8kB", "8M", "1.5", "1.2.3KiB", "-1", "+1", "1e3", "∞", "8KiBs"]
        {
            assert_eq!(bytes(text), Err(NotASize), "{text}");
        }
        assert_eq!(bytes(&size(8192)), Ok(8192));
    }

    #[test]
    fn numbers_are_written_in_groups() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(n), text);
        }
        assert_eq!(
            [0, 1, 10_486].map(|n| counted(n, "item")),
            ["0 items", "1 item", "10,486 items"]
        );
    }

    #[test]
    fn an_instant_is_ago_or_ahead_or_never() {
        let now = Timestamp::from_millis(1_777_897_800_500);
        assert_eq!(ago(now, now), "just now");
        assert_eq!(ago(now.after(Duration::from_millis(999)), now), "just now");
        assert_eq!(ago(now.after(secs(7200)), now), "in 2 hours");
        assert_eq!(ago(now, now.after(secs(61))), "1 minute ago");
        assert_eq!(ago(Timestamp::MAX, now), "never");
        assert_eq!(instant(now), "2026-05-04T12:30:00.500Z");
        assert_eq!(instant(Timestamp::from_millis(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(instant(Timestamp::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn a_size_has_its_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (5 * 1024 * 1024 * 1024, "5.0 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_duration_is_read_with_its_unit() {
        for (text, seconds) in [("90s", 90), ("7d", 604_800), ("1h30m", 5400), ("1d 12h", 129_600)]
        {
            assert_eq!(duration(text), Ok(secs(seconds)), "{text}");
        }
        for text in ["", "7", "d", "-1h", "1 fortnight", "99999999999999999999d"] {
            assert_eq!(duration(text), Err(NotADuration), "{text}");
        }
    }
}
