//! Accounts and the banks that keep them: IBAN, BIC.

use super::countries::is_country;
use crate::validate::{Check, Validator, Verdict, is_word};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "bic" => bic,
        "iban" => iban,
        _ => return None,
    })
}

/// Country and the structure of its national part (BBAN): SWIFT, IBAN Registry, release 99. `n` is digits, `a` capital
/// letters, `c` either.
const BBAN: &[(&[u8; 2], &str)] = &[
    (b"AD", "8n12c"),
    (b"AE", "19n"),
    (b"AL", "8n16c"),
    (b"AT", "16n"),
    (b"AZ", "4a20c"),
    (b"BA", "16n"),
    (b"BE", "12n"),
    (b"BG", "4a6n8c"),
    (b"BH", "4a14c"),
    (b"BI", "23n"),
    (b"BR", "23n1a1c"),
    (b"BY", "4c4n16c"),
    (b"CH", "5n12c"),
    (b"CR", "18n"),
    (b"CY", "8n16c"),
    (b"CZ", "20n"),
    (b"DE", "18n"),
    (b"DJ", "23n"),
    (b"DK", "14n"),
    (b"DO", "4c20n"),
    (b"EE", "16n"),
    (b"EG", "25n"),
    (b"ES", "20n"),
    (b"FI", "14n"),
    (b"FK", "2a12n"),
    (b"FO", "14n"),
    (b"FR", "10n11c2n"),
    (b"GB", "4a14n"),
    (b"GE", "2a16n"),
    (b"GI", "4a15c"),
    (b"GL", "14n"),
    (b"GR", "7n16c"),
    (b"GT", "4c20c"),
    (b"HN", "4a20n"),
    (b"HR", "17n"),
    (b"HU", "24n"),
    (b"IE", "4a14n"),
    (b"IL", "19n"),
    (b"IQ", "4a15n"),
    (b"IS", "22n"),
    (b"IT", "1a10n12c"),
    (b"JO", "4a4n18c"),
    (b"KW", "4a22c"),
    (b"KZ", "3n13c"),
    (b"LB", "4n20c"),
    (b"LC", "4a24c"),
    (b"LI", "5n12c"),
    (b"LT", "16n"),
    (b"LU", "3n13c"),
    (b"LV", "4a13c"),
    (b"LY", "21n"),
    (b"MC", "10n11c2n"),
    (b"MD", "2c18c"),
    (b"ME", "18n"),
    (b"MK", "3n10c2n"),
    (b"MN", "16n"),
    (b"MR", "23n"),
    (b"MT", "4a5n18c"),
    (b"MU", "4a19n3a"),
    (b"NI", "4a20n"),
    (b"NL", "4a10n"),
    (b"NO", "11n"),
    (b"OM", "3n16c"),
    (b"PK", "4a16c"),
    (b"PL", "24n"),
    (b"PS", "4a21c"),
    (b"PT", "21n"),
    (b"QA", "4a21c"),
    (b"RO", "4a16c"),
    (b"RS", "18n"),
    (b"RU", "14n15c"),
    (b"SA", "2n18c"),
    (b"SC", "4a20n3a"),
    (b"SD", "14n"),
    (b"SE", "20n"),
    (b"SI", "15n"),
    (b"SK", "20n"),
    (b"SM", "1a10n12c"),
    (b"SO", "19n"),
    (b"ST", "21n"),
    (b"SV", "4a20n"),
    (b"TL", "19n"),
    (b"TN", "20n"),
    (b"TR", "5n1n16c"),
    (b"UA", "6n19c"),
    (b"VA", "18n"),
    (b"VG", "4a16n"),
    (b"XK", "16n"),
    (b"YE", "4a4n18c"),
];

fn bban(country: [u8; 2]) -> Option<&'static str> {
    let found = BBAN.binary_search_by(|(c, _)| (*c).cmp(&country)).ok()?;
    Some(BBAN[found].1)
}

/// The structure's runs: how many of which class.
fn runs(structure: &str) -> impl Iterator<Item = (usize, u8)> {
    let mut count = 0;
    structure.bytes().filter_map(move |b| match b {
        b'0'..=b'9' => {
            count = count * 10 + usize::from(b - b'0');
            None
        }
        class => Some((std::mem::take(&mut count), class)),
    })
}

fn length(structure: &str) -> usize {
    4 + runs(structure).map(|(count, _)| count).sum::<usize>()
}

/// Whether the national part has digits and letters where the country puts them.
fn fits(structure: &str, mut national: &[u8]) -> bool {
    for (count, class) in runs(structure) {
        let Some((run, rest)) = national.split_at_checked(count) else { return false };
        let belongs = |b: &u8| match class {
            b'n' => b.is_ascii_digit(),
            b'a' => b.is_ascii_alphabetic(),
            _ => b.is_ascii_alphanumeric(),
        };
        if !run.iter().all(belongs) {
            return false;
        }
        national = rest;
    }
    national.is_empty()
}

/// ISO 7064 mod 97-10 of digits and letters, A counting as 10.
fn mod97<'a>(characters: impl Iterator<Item = &'a u8>) -> u32 {
    characters.fold(0, |r, b| match b {
        b'0'..=b'9' => (r * 10 + u32::from(b - b'0')) % 97,
        _ => (r * 100 + u32::from(b.to_ascii_uppercase() - b'A') + 10) % 97,
    })
}

/// ISO 13616: the registry's length and structure, and mod 97 = 1 (ISO 7064). In capitals or in small letters, not in
/// both.
fn iban(check: &Check<'_>) -> Option<Verdict> {
    let text = check.value().as_bytes();
    let country = [text.first()?.to_ascii_uppercase(), text.get(1)?.to_ascii_uppercase()];
    let structure = bban(country)?;
    let length = length(structure);
    let mut compact = [0u8; 34];
    let mut n = 0;
    let mut end = 0;
    for (i, &b) in text.iter().enumerate() {
        if b.is_ascii_alphanumeric() {
            compact[n] = b;
            n += 1;
            if n == length {
                end = i + 1;
                break;
            }
        }
    }
    let compact = &compact[..n];
    if n != length || check.after(check.start + end).first().is_some_and(|&b| is_word(b)) {
        return None;
    }
    if compact.iter().any(u8::is_ascii_uppercase) && compact.iter().any(u8::is_ascii_lowercase) {
        return None;
    }
    let valid = fits(structure, &compact[4..]) && mod97(compact[4..].iter().chain(&compact[..4])) == 1;
    valid.then(|| check.cut(end))
}

/// ISO 9362: four letters for the institution, a country of ISO 3166-1 (or Kosovo's XK), two for the place, which is
/// not 0 or 1 first and not O second (those were test codes), and perhaps a branch.
fn bic(check: &Check<'_>) -> Option<Verdict> {
    let code = check.value().as_bytes();
    let country = [*code.get(4)?, *code.get(5)?];
    let place = (code.get(6)?, code.get(7)?);
    let known = is_country(country) || &country == b"XK";
    (known && !matches!(place.0, b'0' | b'1') && *place.1 != b'O').then(|| check.keep())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::global::tests::verdict;

    #[test]
    fn the_registry_is_sorted_and_well_formed() {
        assert!(BBAN.windows(2).all(|w| w[0].0 < w[1].0));
        for (country, structure) in BBAN {
            assert!((15..=34).contains(&length(structure)), "{}", String::from_utf8_lossy(*country));
            assert!(runs(structure).all(|(n, class)| n > 0 && matches!(class, b'n' | b'a' | b'c')));
        }
    }

    #[test]
    fn every_changed_character_of_an_iban_is_noticed() {
        for good in ["DE89370400440532013000", "GB29NWBK60161331926819", "MT84MALT011000012345MTLCAST001S"] {
            assert!(verdict(iban, good).is_some(), "{good}");
            for i in 0..good.len() {
                let mut wrong = good.as_bytes().to_vec();
                wrong[i] = if wrong[i] == b'7' { b'3' } else { b'7' };
                assert_eq!(verdict(iban, std::str::from_utf8(&wrong).unwrap()), None, "{good} at {i}");
            }
        }
    }

    #[test]
    fn a_bic_has_a_country() {
        assert!(verdict(bic, "DEUTDEFF500").is_some());
        assert!(verdict(bic, "BNPAFRPP").is_some());
        assert!(verdict(bic, "SCHEDULE").is_none());
        assert!(verdict(bic, "DEUTDE1F").is_none());
    }
}
