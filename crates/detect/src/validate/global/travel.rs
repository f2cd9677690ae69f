//! The machine-readable zone of passports, identity cards and visas, ICAO Doc 9303.

use crate::validate::{Check, Validator, Verdict};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "mrz" => mrz,
        _ => return None,
    })
}

/// Doc 9303 part 3, 4.9: weights 7, 3, 1; letters from 10; the filler is 0.
fn checks(field: impl IntoIterator<Item = u8>, digit: u8) -> bool {
    let sum: u32 = field
        .into_iter()
        .zip([7, 3, 1].into_iter().cycle())
        .map(|(b, weight)| {
            let value = match b {
                b'0'..=b'9' => u32::from(b - b'0'),
                b'A'..=b'Z' => u32::from(b - b'A') + 10,
                _ => 0,
            };
            value * weight
        })
        .sum();
    u32::from(digit.wrapping_sub(b'0')) == sum % 10 || digit == b'<' && sum == 0
}

/// The number, the birth date and the expiry date of the line that passports, visas and cards of two lines have in
/// common: number 1-9, its digit, nationality, birth and its digit, sex, expiry and its digit.
fn second_line_checks(line: &[u8]) -> bool {
    let field = |from: usize, to: usize| checks(line[from..to].iter().copied(), line[to]);
    field(0, 9) && field(13, 19) && field(21, 27) && line[13..19].iter().all(|b| b.is_ascii_digit() || *b == b'<')
}

/// TD3 (2 lines of 44: parts 4 and 7), TD2 (2 of 36: parts 6 and 7) or TD1 (3 of 30: part 5). Visas (V) have no digit
/// over the whole. A single second line of 44 or 36 is one too.
fn mrz(check: &Check<'_>) -> Option<Verdict> {
    let text = check.value().as_bytes();
    let zone: Vec<u8> = text.iter().copied().filter(|b| b.is_ascii_alphanumeric() || *b == b'<').collect();
    let visa = zone[0] == b'V';
    let two_lines = |line: &[u8], digit_over_all: bool| {
        let end = line.len() - 1;
        let all = || line[..10].iter().chain(&line[13..20]).chain(&line[21..end]).copied();
        second_line_checks(line) && (!digit_over_all || checks(all(), line[end]))
    };
    let holds = match zone.len() {
        88 => two_lines(&zone[44..], !visa),
        72 => two_lines(&zone[36..], !visa),
        44 | 36 => two_lines(&zone, true),
        90 => {
            let field = |from: usize, to: usize| checks(zone[from..to].iter().copied(), zone[to]);
            let all = zone[5..30].iter().chain(&zone[30..37]).chain(&zone[38..45]).chain(&zone[48..59]);
            // A document number of more than nine characters goes on in the optional field.
            (field(5, 14) || zone[14] == b'<') && field(30, 36) && field(38, 44) && checks(all.copied(), zone[59])
        }
        _ => false,
    };
    holds.then(|| check.keep())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::global::tests::verdict;

    // The specimens of Doc 9303, parts 4 to 7.
    const TD3: &str = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10";
    const TD2: &str = "I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<\nD231458907UTO7408122F1204159<<<<<<<6";
    const TD1: &str = "I<UTOD231458907<<<<<<<<<<<<<<<\n7408122F1204159UTO<<<<<<<<<<<6\nERIKSSON<<ANNA<MARIA<<<<<<<<<<";
    const VISA: &str = "V<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL8988901C4XXX4009078F96121096ZE184226B<<<<<<";

    #[test]
    fn specimens_hold_and_wrong_dates_do_not() {
        for zone in [TD3, TD2, TD1, VISA] {
            assert!(verdict(mrz, zone).is_some(), "{zone}");
        }
        let line = TD3.split('\n').nth(1).unwrap();
        assert!(verdict(mrz, line).is_some());
        for (zone, birth) in [(TD3, "740812"), (TD2, "740812"), (TD1, "740812"), (VISA, "400907")] {
            let at = zone.find(birth).unwrap();
            for i in at..at + 7 {
                let mut wrong = zone.as_bytes().to_vec();
                wrong[i] = if wrong[i] == b'9' { b'0' } else { wrong[i] + 1 };
                assert_eq!(verdict(mrz, std::str::from_utf8(&wrong).unwrap()), None);
            }
        }
    }
}
