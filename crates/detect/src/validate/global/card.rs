//! What PCI DSS calls account data: card numbers, security codes, expiry dates and the stripe's tracks.

use crate::validate::checksum::luhn;
use crate::validate::{Check, Validator, Verdict, is_part_of_number, is_word};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "card" => card,
        "card_expiry" => card_expiry,
        "card_security_code" => card_security_code,
        "card_track" => card_track,
        _ => return None,
    })
}

/// Whether an issuer has cards with these first digits and this length. ISO/IEC 7812 ranges as the networks publish.
fn issued(digits: &[u8]) -> bool {
    let n = digits.len();
    let first = |k: usize| digits[..k].iter().fold(0u32, |p, &d| p * 10 + u32::from(d));
    let (p2, p3, p4, p6) = (first(2), first(3), first(4), first(6));
    match p2 {
        40..=49 => matches!(n, 13 | 16 | 18 | 19),
        51..=55 => n == 16,
        34 | 37 => n == 15,
        36 | 38 | 39 => (14..=19).contains(&n),
        30 if p3 <= 305 || p3 == 309 => (14..=19).contains(&n),
        35 => (3528..=3589).contains(&p4) && (16..=19).contains(&n),
        18 => p4 == 1800 && n == 15,
        21 => p4 == 2131 && n == 15,
        22..=27 if (2221..=2720).contains(&p4) => n == 16,
        22 => (2200..=2205).contains(&p4) && (16..=19).contains(&n),
        50 | 56..=58 => {
            (12..=19).contains(&n)
                && (n == 16 || [5018, 5020, 5038, 5612, 5893].contains(&p4) || p3 == 506 || p3 == 508)
        }
        60..=69 => {
            let maestro = [6304, 6390, 6759, 6761, 6762, 6763, 6767, 6771].contains(&p4);
            let discover = p4 == 6011 || (644..=659).contains(&p3) || (622126..=622925).contains(&p6);
            let others = p2 == 62 || p2 == 60 || p2 == 65 || (637..=639).contains(&p3) || p4 == 6334 || p4 == 6767;
            (discover || others) && (16..=19).contains(&n) || maestro && (12..=19).contains(&n)
        }
        81 | 82 => (16..=19).contains(&n),
        97 => p4 == 9792 && n == 16,
        _ => false,
    }
}

/// Luhn's check digit alone, with a first digit that ISO/IEC 7812 gives to airlines (UATP), travel or banking. Not 13,
/// 16 or 19 digits from 1: those count milliseconds, microseconds or nanoseconds since 1970 (unless they are in groups).
fn perhaps_issued(digits: &[u8]) -> bool {
    matches!((digits[0], digits.len()), (1, 14 | 15) | (3..=6, 13..=19))
}

/// Luhn, and a prefix and a length that an issuer uses. With a context word nearby the prefix does not matter.
fn card(check: &Check<'_>) -> Option<Verdict> {
    let text = check.value().as_bytes();
    let digits: Vec<u8> = text.iter().filter(|b| b.is_ascii_digit()).map(|b| b - b'0').collect();
    let mut ends = (1..=text.len()).rev().filter(|&i| text[i - 1].is_ascii_digit());
    let mut left = digits.len();
    while left >= 12 {
        let end = ends.next()?;
        let digits = &digits[..left];
        left -= 1;
        let after = check.after(check.start + end);
        if after.first().is_some_and(|&b| is_word(b)) || is_part_of_number(check.before(), after) {
            continue;
        }
        if !luhn(digits) || digits.iter().all(|&d| d == digits[0]) || !grouped(&text[..end], after) {
            continue;
        }
        if text[..end].contains(&b' ') && is_hexdump(check.before(), after) {
            continue;
        }
        if issued(digits) {
            return Some(check.cut(end));
        }
        if check.context || perhaps_issued(digits) || digits.len() == 16 && end > 16 {
            return Some(Verdict { score: Some(0.3), ..check.cut(end) });
        }
    }
    None
}

/// The same separator between all groups, which have at least two digits each, or one each; or groups of four, whatever
/// stands between them.
fn grouped(text: &[u8], after: &[u8]) -> bool {
    let groups = || text.split(|b| !b.is_ascii_digit());
    let mut separators = text.iter().filter(|b| !b.is_ascii_digit());
    let Some(first) = separators.next() else { return true };
    let one_separator = separators.all(|s| s == first);
    let goes_on = matches!(after, [s, d, ..] if s == first && d.is_ascii_digit());
    one_separator && (groups().all(|g| g.len() >= 2) || groups().all(|g| g.len() == 1) && !goes_on)
        || groups().all(|g| g.len() == 4)
}

/// Other groups of four stand before or after, with a letter from a to f in one of them.
fn is_hexdump(before: &[u8], after: &[u8]) -> bool {
    let all = |group: &[u8]| group.iter().all(u8::is_ascii_hexdigit);
    let letter = |group: &&[u8]| !group.iter().all(u8::is_ascii_digit);
    let ahead = before.rchunks_exact(5).take(7).take_while(|g| g[4] == b' ' && all(&g[..4])).map(|g| &g[..4]);
    let behind = after.chunks_exact(5).take(7).take_while(|g| g[0] == b' ' && all(&g[1..])).map(|g| &g[1..]);
    ahead.chain(behind).any(|group| letter(&group))
}

fn two(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0'))
}

/// A month, and a year of two digits or of four from 2000 to 2099; not a part of a longer date or of a fraction.
fn card_expiry(check: &Check<'_>) -> Option<Verdict> {
    let text = check.value().as_bytes();
    let mut groups = text.split(|b| !b.is_ascii_digit()).filter(|g| !g.is_empty());
    let (month, year) = match (groups.next()?, groups.next()) {
        (month, Some(year)) => (month, year),
        (both, None) => both.split_at_checked(2)?,
    };
    let year_fits = year.len() == 2 || year.len() == 4 && year.starts_with(b"20");
    let glued = matches!(check.before(), [.., d, b'/' | b'-' | b'.'] if d.is_ascii_digit())
        || matches!(check.after(check.end), [b'/' | b'-' | b'.' | b':', d, ..] if d.is_ascii_digit())
        || matches!(check.after(check.end), [b'%', ..]);
    (groups.next().is_none() && (1..=12).contains(&two(month)) && year_fits && !glued).then(|| check.keep())
}

/// Three digits or four that are a number of their own.
fn card_security_code(check: &Check<'_>) -> Option<Verdict> {
    let after = check.after(check.end);
    let goes_on = matches!(after, [b'.' | b',' | b'/' | b'-', d, ..] if d.is_ascii_digit())
        || matches!(after, [b'%', ..] | [b'_', ..]);
    (!goes_on).then(|| check.keep())
}

/// ISO/IEC 7813: the primary account number with its Luhn digit, then an expiry date as YYMM, then a service code.
/// Track 1 has the name between two carets, track 2 only a separator.
fn card_track(check: &Check<'_>) -> Option<Verdict> {
    let text = check.value().as_bytes();
    let first = text.iter().position(u8::is_ascii_digit)?;
    let number = text[first..].iter().take_while(|b| b.is_ascii_digit()).count();
    let digits: Vec<u8> = text[first..first + number].iter().map(|b| b - b'0').collect();
    let separator = *text.get(first + number)?;
    let rest = &text[first + number + 1..];
    let date = match separator {
        b'^' => &rest[rest.iter().position(|&b| b == b'^')? + 1..],
        _ => rest,
    };
    // A card without an expiry date has another separator in its place.
    let month = date.get(2..4)?;
    let expires = date[0] == separator || month.iter().all(u8::is_ascii_digit) && (1..=12).contains(&two(month));
    (expires && (12..=19).contains(&number) && luhn(&digits) && digits.iter().any(|&d| d != digits[0]))
        .then(|| check.keep())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::global::tests::verdict;

    #[test]
    fn card_numbers_need_luhn_and_an_issuer() {
        assert_eq!(verdict(card, "4111111111111111"), Some(("4111111111111111", None)));
        assert_eq!(verdict(card, "4111111111111112"), None);
        assert_eq!(verdict(card, "122000000000003"), Some(("122000000000003", Some(0.3))));
        assert_eq!(verdict(card, "1748503543012"), None, "milliseconds");
        assert_eq!(verdict(card, "4012-8888 8888-1881"), Some(("4012-8888 8888-1881", None)));
        assert_eq!(verdict(card, "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"), Some(("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", None)));
    }

    #[test]
    fn a_row_of_a_hexdump_is_no_card() {
        let text = "2e54 4820 5858 4420 3120 2241";
        let at = text.find("5858").unwrap();
        let check = Check { text, start: at, end: text.len(), context: false, least: 0.0 };
        assert!(card(&check).is_none());
        assert!(is_hexdump(b"", b" 00ff x") && !is_hexdump(b"4111 1111 1111 1111 ", b""));
    }

    #[test]
    fn a_track_needs_its_number_and_its_month() {
        let track = "%B4111111111111111^DOE/JOHN^2912201000000000?";
        assert_eq!(verdict(card_track, track), Some((track, None)));
        assert_eq!(verdict(card_track, ";4111111111111111=29122010000000000?").map(|v| v.1), Some(None));
        assert_eq!(verdict(card_track, ";4111111111111112=29122010000000000?"), None);
        assert_eq!(verdict(card_track, ";4111111111111111=29132010000000000?"), None);
        assert_eq!(verdict(card_track, "%B4111111111111111^DOE/JOHN^2900201000000000?"), None);
    }

    #[test]
    fn an_expiry_date_is_a_month_and_a_year() {
        for good in ["04/29", "04/2029", "12-31", "1/27", "0429"] {
            assert!(verdict(card_expiry, good).is_some(), "{good}");
        }
        for bad in ["13/29", "00/29", "04/1999", "1329"] {
            assert_eq!(verdict(card_expiry, bad), None, "{bad}");
        }
    }
}
