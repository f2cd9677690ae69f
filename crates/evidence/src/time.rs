//! Points in time, UTC, to the microsecond: what entries, tokens and block
//! headers say, made comparable.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// Microseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

/// Nothing here speaks of a later time: the end of the year 9999.
const MAX_US: u64 = 253_402_300_799_999_999;

impl Time {
    /// A time after 1970 and before the year 10000; others are cut to that.
    pub fn from_unix(since: Duration) -> Self {
        Self(u64::try_from(since.as_micros()).unwrap_or(MAX_US).min(MAX_US))
    }

    /// The time since 1970.
    pub fn unix(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// So much later.
    pub fn plus(self, time: Duration) -> Self {
        Self::from_unix(self.unix().saturating_add(time))
    }

    /// So much earlier, but not before 1970.
    pub fn minus(self, time: Duration) -> Self {
        Self::from_unix(self.unix().saturating_sub(time))
    }

    /// Reads RFC 3339 in UTC, as entries have it: `2026-11-25T08:50:00.000000Z`.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if separators.iter().any(|&(at, separator)| bytes.get(at) != Some(&separator)) {
            return None;
        }
        let digits: Vec<u8> = (0..19)
            .filter(|at| !separators.iter().any(|(s, _)| s == at))
            .map(|at| bytes.get(at).copied())
            .collect::<Option<_>>()?;
        Self::parse_digits(&digits, bytes.get(19..)?)
    }

    /// Reads an ASN.1 `GeneralizedTime` in UTC, with or without a fraction
    /// (RFC 3161, section 2.4.2).
    pub(crate) fn parse_generalized(bytes: &[u8]) -> Option<Self> {
        let (digits, rest) = bytes.split_at_checked(14)?;
        Self::parse_digits(digits, rest)
    }

    /// `YYYYMMDDhhmmss`, and then `Z` or a fraction and `Z`.
    fn parse_digits(digits: &[u8], rest: &[u8]) -> Option<Self> {
        let number = |bytes: &[u8]| {
            bytes.iter().try_fold(0_u32, |n, digit| digit.is_ascii_digit().then(|| n * 10 + u32::from(digit - b'0')))
        };
        let two = |at: usize| number(digits.get(at..at + 2)?).and_then(|n| u8::try_from(n).ok());
        let year = u16::try_from(number(digits.get(..4)?)?).ok()?;
        let date = der::DateTime::new(year, two(4)?, two(6)?, two(8)?, two(10)?, two(12)?).ok()?;
        let fraction = match rest.strip_suffix(b"Z")? {
            [] => 0,
            [b'.', fraction @ ..] if (1..=32).contains(&fraction.len()) => {
                let mut six = [b'0'; 6];
                for (to, from) in six.iter_mut().zip(fraction) {
                    *to = *from;
                }
                number(fraction.get(6..).unwrap_or_default().get(..8).unwrap_or_default())?;
                number(&six)?
            }
            _ => return None,
        };
        Some(Self::from_unix(date.unix_duration() + Duration::from_micros(fraction.into())))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = der::DateTime::from_unix_duration(Duration::from_secs(self.0 / 1_000_000))
            .expect("no time is after the year 9999");
        let (year, month, day) = (date.year(), date.month(), date.day());
        let (hour, minute, second) = (date.hour(), date.minutes(), date.seconds());
        let micros = self.0 % 1_000_000;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for text in ["2026-11-25T08:50:00.000000Z", "1970-01-01T00:00:00.000001Z", "9999-12-31T23:59:59.999999Z"] {
            assert_eq!(Time::parse_rfc3339(text).unwrap().to_string(), text);
        }
        let base = Time::parse_rfc3339("2024-02-29T23:59:59Z").unwrap();
        assert_eq!(base.unix().as_secs(), 1_709_251_199);
        for (text, micros) in
            [("20240229235959Z", 0), ("20240229235959.5Z", 500_000), ("20240229235959.1234567Z", 123_456)]
        {
            assert_eq!(
                Time::parse_generalized(text.as_bytes()),
                Some(base.plus(Duration::from_micros(micros))),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "20240229235959",
            "20230229235959Z",
            "2024022923595Z",
            "20240229235959.Z",
            "20240229235959+0100",
            "2024022923595aZ",
            "20240229235959.1x34567Z",
        ] {
            assert_eq!(Time::parse_generalized(text.as_bytes()), None, "{text}");
        }
        for text in
            ["2024-02-29 23:59:59Z", "2024-02-29T23:59:59", "2024-02-29T23:59:59+01:00", "2024-13-01T00:00:00Z", "2024"]
        {
            assert_eq!(Time::parse_rfc3339(text), None, "{text}");
        }
    }
}
