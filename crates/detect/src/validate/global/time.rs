//! Dates and times of day.

use crate::validate::{Check, Validator, Verdict};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "date" => date,
        "date_compact" => date_compact,
        "date_named" => date_named,
        "time" => time,
        "year" => year,
        _ => return None,
    })
}

fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0'))
}

/// Whether the Gregorian calendar has such a day, as far as the month says: the year may be unknown or have two digits.
fn is_day(year: Option<u32>, month: u32, day: u32) -> bool {
    let leap = year.is_none_or(|y| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400)));
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

fn is_year(year: u32) -> bool {
    (1000..2200).contains(&year)
}

/// A part of a longer number: of a version, a fraction, a path, an identifier.
fn goes_on(check: &Check<'_>) -> bool {
    matches!(check.before(), [.., d, b'/' | b'-' | b'.' | b':' | b',' | b'+'] if d.is_ascii_digit())
        || matches!(check.after(check.end), [b'/' | b'-' | b'.' | b':' | b'%', d, ..] if d.is_ascii_digit())
        || matches!(check.after(check.end), [b'%', ..])
}

/// Year first, or day and month in either order and then the year, or month and year; perhaps a time of day behind it,
/// which the pattern has checked.
fn date(check: &Check<'_>) -> Option<Verdict> {
    let text = check.value().as_bytes();
    let length = text.iter().take_while(|b| b.is_ascii_digit() || matches!(b, b'/' | b'-' | b'.')).count();
    let mut groups = text[..length].split(|b| !b.is_ascii_digit()).filter(|g| !g.is_empty());
    if goes_on(check) {
        return None;
    }
    let (a, b) = (groups.next()?, groups.next()?);
    let (x, y) = (number(a), number(b));
    let plausible = match groups.next() {
        Some(c) if a.len() == 4 => is_year(x) && is_day(Some(x), y, number(c)),
        Some(c) if !is_day(None, y, x) && !is_day(None, x, y) => c.len() == 2 && is_day(None, y, number(c)),
        Some(c) => {
            let year = Some(number(c)).filter(|_| c.len() == 4);
            (is_day(year, y, x) || is_day(year, x, y)) && year.is_none_or(is_year)
        }
        // Month and year. Two digits of it may also be a day: `5/21`.
        None => (1..=12).contains(&x) && (b.len() == 2 || is_year(y)) || b.len() == 2 && is_day(None, y, x),
    };
    // `1.2.34` and `2024.1.15` are versions as often.
    let version = text[..length].contains(&b'.')
        && (a.len() == 4 || b.len() <= 2 && length < 8 || length == 8 && text[5] == b'.');
    plausible.then(|| if version { check.rescore(0.3) } else { check.keep() })
}

/// What is counted in numbers that look like years: `in 2048 pixels`.
const COUNTED: &[&str] = &[
    "px",
    "pixel",
    "token",
    "byte",
    "bit",
    "row",
    "item",
    "user",
    "people",
    "person",
    "record",
    "word",
    "line",
    "file",
    "char",
    "character",
    "point",
    "time",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "meter",
    "metre",
    "mile",
    "km",
    "ms",
    "mb",
    "kb",
    "gb",
    "mhz",
    "dollar",
    "euro",
    "usd",
    "eur",
    "case",
    "page",
    "sample",
    "step",
    "request",
    "message",
    "unit",
    "piece",
    "employee",
    "student",
    "customer",
    "vote",
    "square",
    "or",
    "x",
];

/// A year by itself, of living memory or a little before.
fn year(check: &Check<'_>) -> Option<Verdict> {
    let after = check.after(check.end);
    let letters = after.strip_prefix(b" ").unwrap_or_default();
    let word = &letters[..letters.iter().take(12).take_while(|b| b.is_ascii_alphabetic()).count()];
    let word = word.to_ascii_lowercase();
    let counted = COUNTED.iter().any(|c| word == c.as_bytes() || word.strip_suffix(b"s") == Some(c.as_bytes()));
    (!counted && !goes_on(check)).then(|| check.keep())
}

/// `20240115` and `20240115T103000Z`, ISO 8601's basic format.
fn date_compact(check: &Check<'_>) -> Option<Verdict> {
    let text = check.value().as_bytes();
    let (year, month, day) = (number(text.get(..4)?), number(text.get(4..6)?), number(text.get(6..8)?));
    ((1900..2100).contains(&year) && is_day(Some(year), month, day) && !goes_on(check)).then(|| check.keep())
}

/// Names of months that are words of other meaning where no year stands beside them.
const WORDS: &[&str] = &["ago", "gen", "mag", "mai", "mar", "march", "maj", "may", "mei", "out", "set", "sept"];

/// A month by its name, with a day, a year, or both, and perhaps a time, which the pattern has checked.
fn date_named(check: &Check<'_>) -> Option<Verdict> {
    let letter = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || !b.is_ascii());
    if letter(check.before().last()) || letter(check.after(check.end).first()) || goes_on(check) {
        return None;
    }
    let text = check.value();
    let bytes = text.as_bytes();
    let (mut day, mut year) = (false, false);
    // Of the first two numbers; what stands behind them is the time of day.
    let mut at = 0;
    for group in text.split(|c: char| !c.is_ascii_digit()).filter(|g| !g.is_empty()).take(2) {
        at += text[at..].find(group)?;
        let n = number(group.as_bytes());
        let short_year = at > 0 && matches!(bytes[at - 1], b'-' | b'/' | b'.' | b'\'');
        match group.len() {
            4 if is_year(n) && !year => year = true,
            1 | 2 if (1..=31).contains(&n) && !day => day = true,
            2 if short_year && !year => year = true,
            // Hours.
            1 | 2 if day && bytes.get(at + group.len()) == Some(&b':') => {}
            // `12 May 5 people`.
            1 | 2 if day => return Some(check.cut(text[..at].trim_end_matches([' ', ',', '.', '-']).len())),
            _ => return None,
        }
        at += group.len();
    }
    let name = text.split(|c: char| !c.is_alphabetic()).find(|w| WORDS.contains(w));
    // The point behind an abbreviated month may end the sentence as well.
    let end = if text.to_ascii_lowercase().ends_with(".m.") { text.len() } else { text.trim_end_matches('.').len() };
    let score = (name.is_some() && !year).then_some(0.3);
    (day || year).then_some(Verdict { score, ..check.cut(end) })
}

/// Hours below 24, or 1 to 12 with a half of the day behind them. Not a part of a date, of an address or of a zone.
fn time(check: &Check<'_>) -> Option<Verdict> {
    let text = check.value().as_bytes();
    let hours = number(&text[..text.iter().take_while(|b| b.is_ascii_digit()).count().min(2)]);
    let half = text.iter().any(|b| matches!(b, b'm' | b'M'));
    let joined = matches!(check.before(), [.., d, b':' | b'-' | b'+' | b'.' | b'/'] if d.is_ascii_alphanumeric())
        || matches!(check.after(check.end), [b':' | b'/' | b'%', d, ..] if d.is_ascii_alphanumeric())
        || matches!(check.after(check.end), [b'-' | b'.', d, ..] if d.is_ascii_alphanumeric() && !half && text.len() < 6
            && !d.is_ascii_digit());
    let fits = if half { (1..=12).contains(&hours) } else { hours < 24 };
    let seconds = text.iter().filter(|b| **b == b':').count() == 2;
    (fits && !joined).then(|| if half { check.keep() } else { check.rescore(if seconds { 0.5 } else { 0.3 }) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::global::tests::verdict;

    #[test]
    fn dates_are_days_of_the_calendar() {
        for good in ["29/2/2024", "2/29/2024", "2024-02-29", "31.12.99", "5/21", "05/2021", "21/5/21", "1789-07-14"] {
            assert!(verdict(date, good).is_some(), "{good}");
        }
        for bad in ["29/2/2023", "2023-02-29", "32/1/2020", "13/13/2020", "2024-13-01", "13/2021", "31/31"] {
            assert_eq!(verdict(date, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_month_needs_a_day_or_a_year() {
        for good in ["May 12th, 2020", "12 de mayo de 2020", "1. Januar 2020", "May-2020", "21-May", "21-May-21"] {
            assert!(matches!(verdict(date_named, good), Some((_, None))), "{good}");
        }
        assert_eq!(verdict(date_named, "may 12").map(|v| v.1), Some(Some(0.3)));
        for bad in ["May", "May 12345", "41 May 2020 77"] {
            assert_eq!(verdict(date_named, bad), None, "{bad}");
        }
    }

    #[test]
    fn hours_end() {
        for good in ["10:30", "23:59:59", "3:05 pm", "12pm"] {
            assert!(verdict(time, good).is_some(), "{good}");
        }
        for bad in ["24:10", "13:00 pm", "0am"] {
            assert_eq!(verdict(time, bad), None, "{bad}");
        }
    }
}
