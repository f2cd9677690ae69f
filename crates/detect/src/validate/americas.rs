//! What the states of the Americas call persons, and what their banks, insurers and clinics call them.

use super::asia::is_day;
use super::checksum::{luhn, weighted_sum};
use super::{Check, Validator, Verdict, is_part_of_number, is_word};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "aba_routing" => aba_routing,
        "age" => age,
        "br_cnpj" => br_cnpj,
        "br_cpf" => br_cpf,
        "ca_sin" => ca_sin,
        "identifier" => identifier,
        "mx_curp" => mx_curp,
        "separate" => separate,
        "ssn" => ssn,
        "us_dea" => us_dea,
        "us_itin" => us_itin,
        "us_npi" => us_npi,
        "us_plate" => us_plate,
        "us_state_zip" => us_state_zip,
        "us_zip" => us_zip,
        _ => return None,
    })
}

/// The candidate is not a part of a longer word, number or identifier: no decimals, no group between dashes, no amount.
/// A comma on either side is no obstacle, because it separates columns; nor is a letter outside ASCII, because Chinese,
/// Japanese, Korean and Thai are written without spaces around numbers.
pub(super) fn stands_alone(check: &Check<'_>) -> Option<()> {
    let joined_before = match check.before() {
        [.., d, b'.' | b'-' | b'/'] => d.is_ascii_digit(),
        [.., last] => *last == b'$' || last.is_ascii_alphanumeric(),
        [] => false,
    };
    let joined_after = match check.after(check.end) {
        [b'.' | b'-' | b'/', d, ..] => d.is_ascii_digit(),
        [first, ..] => first.is_ascii_alphanumeric(),
        [] => false,
    };
    (!joined_before && !joined_after).then_some(())
}

/// Nothing but that.
fn separate(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check).map(|()| check.keep())
}

/// Whether all separators are the same one.
pub(super) fn same_separators(check: &Check<'_>) -> bool {
    let mut separators = check.value().bytes().filter(|b| !b.is_ascii_alphanumeric());
    separators.next().is_none_or(|first| separators.all(|s| s == first))
}

fn all_equal(digits: &[u8]) -> bool {
    digits.iter().all(|d| d == &digits[0])
}

// ---- United States

/// Social Security Administration, "SSN randomization": no area 000, 666, 900-999, no group 00, no serial 0000. Also
/// not the numbers that advertisements made famous, and not one digit nine times.
fn ssn(check: &Check<'_>) -> Option<Verdict> {
    let text = check.value().as_bytes();
    let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_digit).collect();
    let digits: &[u8; 9] = digits.as_slice().try_into().ok()?;
    let refused = matches!(&digits[..3], b"000" | b"666")
        || digits[0] == b'9'
        || &digits[3..5] == b"00"
        || &digits[5..] == b"0000"
        || all_equal(digits)
        || matches!(digits, b"123456789" | b"078051120" | b"219099999");
    let after = check.after(check.end);
    let alone = !after.first().is_some_and(|&b| is_word(b)) && !is_part_of_number(check.before(), after);
    (!refused && same_separators(check) && alone).then(|| check.keep())
}

/// IRS, Internal Revenue Manual 3.21.263: 9xx, and 50-65, 70-88, 90-92 or 94-99 in the middle.
fn us_itin(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<9>()?;
    let middle = digits[3] * 10 + digits[4];
    (digits[0] == 9 && matches!(middle, 50..=65 | 70..=88 | 90..=92 | 94..=99)).then(|| check.keep())
}

/// ABA Routing Number Policy: the Federal Reserve's districts (00-12, thrifts 21-32, electronic 61-72, cheques 80), and
/// weights 3, 7, 1.
fn aba_routing(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<9>()?;
    let district = matches!(digits[0] * 10 + digits[1], 0..=12 | 21..=32 | 61..=72 | 80);
    let valid = weighted_sum(&digits, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10);
    (district && valid && !all_equal(&digits)).then(|| check.keep())
}

/// CMS, "Requirements for National Provider Identifier (NPI) and NPI Check Digit": Luhn, after the issuer's prefix 80840.
fn us_npi(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<10>()?;
    let mut prefixed = [0; 15];
    prefixed[..5].copy_from_slice(&[8, 0, 8, 4, 0]);
    prefixed[5..].copy_from_slice(&digits);
    (matches!(digits[0], 1 | 2) && !all_equal(&digits[..9]) && luhn(&prefixed)).then(|| check.keep())
}

/// DEA, "Pharmacist's Manual", section on verifying a registration number: the sum of the first, third and fifth digit
/// and twice that of the second, fourth and sixth ends with the seventh.
fn us_dea(check: &Check<'_>) -> Option<Verdict> {
    let bytes = check.alphanumerics::<9>()?;
    let digits: [u8; 7] = std::array::from_fn(|i| bytes[i + 2].wrapping_sub(b'0'));
    if digits.iter().any(|&d| d > 9) {
        return None;
    }
    let sum = weighted_sum(&digits[..6], &[1, 2, 1, 2, 1, 2]);
    (sum % 10 == u32::from(digits[6]) && !all_equal(&digits)).then(|| check.keep())
}

/// First and last of some three-digit prefixes.
type Prefixes = &'static [(u16, u16)];

/// First three digits of the ZIP codes of each state: USPS Publication 65, L002.
const ZIP_PREFIXES: &[(&[u8; 2], Prefixes)] = &[
    (b"AA", &[(340, 340)]),
    (b"AE", &[(90, 98)]),
    (b"AK", &[(995, 999)]),
    (b"AL", &[(350, 369)]),
    (b"AP", &[(962, 966)]),
    (b"AR", &[(716, 729)]),
    (b"AS", &[(967, 967)]),
    (b"AZ", &[(850, 865)]),
    (b"CA", &[(900, 961)]),
    (b"CO", &[(800, 816)]),
    (b"CT", &[(60, 69)]),
    (b"DC", &[(200, 205), (569, 569)]),
    (b"DE", &[(197, 199)]),
    (b"FL", &[(320, 349)]),
    (b"GA", &[(300, 319), (398, 399)]),
    (b"GU", &[(969, 969)]),
    (b"HI", &[(967, 968)]),
    (b"IA", &[(500, 528)]),
    (b"ID", &[(832, 838)]),
    (b"IL", &[(600, 629)]),
    (b"IN", &[(460, 479)]),
    (b"KS", &[(660, 679)]),
    (b"KY", &[(400, 427)]),
    (b"LA", &[(700, 714)]),
    (b"MA", &[(10, 27), (55, 55)]),
    (b"MD", &[(206, 219)]),
    (b"ME", &[(39, 49)]),
    (b"MI", &[(480, 499)]),
    (b"MN", &[(550, 567)]),
    (b"MO", &[(630, 658)]),
    (b"MP", &[(969, 969)]),
    (b"MS", &[(386, 397)]),
    (b"MT", &[(590, 599)]),
    (b"NC", &[(270, 289)]),
    (b"ND", &[(580, 588)]),
    (b"NE", &[(680, 693)]),
    (b"NH", &[(30, 38)]),
    (b"NJ", &[(70, 89)]),
    (b"NM", &[(870, 884)]),
    (b"NV", &[(889, 898)]),
    (b"NY", &[(5, 5), (63, 63), (100, 149)]),
    (b"OH", &[(430, 459)]),
    (b"OK", &[(730, 749)]),
    (b"OR", &[(970, 979)]),
    (b"PA", &[(150, 196)]),
    (b"PR", &[(6, 9)]),
    (b"RI", &[(28, 29)]),
    (b"SC", &[(290, 299)]),
    (b"SD", &[(570, 577)]),
    (b"TN", &[(370, 385)]),
    (b"TX", &[(733, 733), (750, 799), (885, 885)]),
    (b"UT", &[(840, 847)]),
    (b"VA", &[(201, 201), (220, 246)]),
    (b"VI", &[(8, 8)]),
    (b"VT", &[(50, 59)]),
    (b"WA", &[(980, 994)]),
    (b"WI", &[(530, 549)]),
    (b"WV", &[(247, 268)]),
    (b"WY", &[(820, 831)]),
];

fn zip_prefix(value: &[u8]) -> Option<u16> {
    value.get(..3)?.iter().try_fold(0, |p, d| d.is_ascii_digit().then(|| p * 10 + u16::from(d - b'0')))
}

/// A ZIP code whose first three digits some state has.
fn us_zip(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let prefix = zip_prefix(check.value().as_bytes())?;
    let known = ZIP_PREFIXES.iter().any(|(_, ranges)| ranges.iter().any(|&(a, b)| (a..=b).contains(&prefix)));
    known.then(|| check.keep())
}

/// A ZIP code after its state: `Springfield, IL 62704`, `Austin TX 78701`. Without a name before the state, two capitals
/// and five digits may be a part number, and the score is lower.
fn us_state_zip(check: &Check<'_>) -> Option<Verdict> {
    let prefix = zip_prefix(check.value().as_bytes())?;
    let before = check.before().trim_ascii_end();
    let (before, state) = before.split_last_chunk::<2>()?;
    let (_, ranges) = ZIP_PREFIXES.iter().find(|(name, _)| *name == state)?;
    if !ranges.iter().any(|&(a, b)| (a..=b).contains(&prefix)) {
        return None;
    }
    match before.trim_ascii_end() {
        [.., letter, b','] if letter.is_ascii_alphabetic() || *letter == b'.' => Some(check.keep()),
        city => {
            let word = city.rsplit(|b| !b.is_ascii_alphabetic()).next().unwrap_or_default();
            let name = matches!(word, [first, rest @ ..]
                if first.is_ascii_uppercase() && rest.len() > 1 && rest.iter().all(u8::is_ascii_lowercase));
            Some(check.rescore(if name { 0.5 } else { 0.4 }))
        }
    }
}

/// A plate of five to eight letters and digits (states issue such as 7ABC123, ABC 1234, 123-XYZ) that is neither a
/// year, nor a time, nor a measure.
fn us_plate(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let value = check.value().as_bytes();
    let letters = value.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let digits = value.iter().filter(|b| b.is_ascii_digit()).count();
    let small = value.iter().any(u8::is_ascii_lowercase);
    let large = value.iter().any(u8::is_ascii_uppercase);
    let measure = ["AM", "PM", "USD", "EUR", "GBP", "KB", "MB", "GB", "TB", "KM", "KG"];
    if value.contains(&b' ') && measure.iter().any(|unit| check.value().ends_with(unit)) {
        return None;
    }
    ((4..=8).contains(&(letters + digits)) && digits > 0 && (letters > 0 || digits > 4) && !(small && large))
        .then(|| check.keep())
}

/// What a word nearby calls a number (of a record, a member, an account): four digits at least, five if they are all;
/// not a date.
fn identifier(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let value = check.value();
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let letters = value.bytes().any(|b| b.is_ascii_alphabetic());
    if value.starts_with("0x") || digits < if letters { 4 } else { 5 } {
        return None;
    }
    let groups: Vec<&str> = value.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let number = |g: &str| g.parse::<u32>().unwrap_or(u32::MAX);
    let year = |g: &str| g.len() == 4 && (1900..2100).contains(&number(g));
    let small = |g: &str| g.len() <= 2 && (1..=31).contains(&number(g));
    let date = match groups[..] {
        [y, m, d] | [d, m, y] if year(y) => small(m) && small(d),
        [a, b] => year(a) && year(b),
        _ => false,
    };
    (!date).then(|| check.keep())
}

/// What follows a number that is no person's age: `aged 90 days`, `turned 90 degrees`; in the singular.
const NO_YEARS: &[&str] = &[
    "day",
    "week",
    "month",
    "hour",
    "hr",
    "h",
    "minute",
    "min",
    "second",
    "sec",
    "s",
    "ms",
    "millisecond",
    "degree",
    "percent",
    "page",
    "point",
    "dollar",
    "euro",
    "tag",
    "tage",
    "tagen",
    "woche",
    "wochen",
    "monate",
    "monaten",
    "jour",
    "moi",
    "dia",
    "d\u{ed}a",
    "mese",
    "giorni",
    "dagen",
    "weken",
];

/// The years of a person: not a part of a longer number, no share, no other unit; nor what HTTP caches call age.
fn age(check: &Check<'_>) -> Option<Verdict> {
    let before = check.before();
    let joined = before.last().is_some_and(|b| b.is_ascii_digit() || b"$#".contains(b))
        || matches!(before, [.., d, b'.' | b',' | b':' | b'-' | b'/'] if d.is_ascii_digit());
    let near = before[before.len().saturating_sub(24)..].to_ascii_lowercase();
    let cache = [&b"max-age"[..], b"maxage", b"max_age", b"cache", b"timer", b"timeout"]
        .iter()
        .any(|w| near.windows(w.len()).any(|n| n == *w));
    let after = &check.text[check.end..];
    let goes_on = match after.as_bytes() {
        [d, ..] if d.is_ascii_digit() => true,
        [b'.' | b',' | b':' | b'/', d, ..] => d.is_ascii_digit(),
        [b'%', ..] | [b' ', b'%', ..] => true,
        _ => after.starts_with('\u{b0}'),
    };
    let word = after.trim_start_matches([' ', '-']);
    let length = word.find(|c: char| !c.is_alphabetic()).unwrap_or(word.len());
    let word = word[..length].trim_end_matches(['s', 'S']);
    let other_unit = NO_YEARS.iter().any(|unit| word.eq_ignore_ascii_case(unit));
    (!joined && !cache && !goes_on && !other_unit).then(|| check.keep())
}

// ---- Canada

/// Service Canada, "The social insurance number": Luhn; none begins with 0 or 8.
fn ca_sin(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<9>()?;
    (!matches!(digits[0], 0 | 8) && same_separators(check) && !all_equal(&digits) && luhn(&digits))
        .then(|| check.keep())
}

// ---- Brazil

/// Receita Federal's check digit: 11 less the remainder by 11, and 0 for what would have two digits.
fn brazilian(values: &[u8], weights: &[u32]) -> u32 {
    match weighted_sum(values, weights) % 11 {
        0 | 1 => 0,
        r => 11 - r,
    }
}

/// Receita Federal, Instrução Normativa RFB 1.548/2015: two check digits modulo 11.
fn br_cpf(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<11>()?;
    let first = brazilian(&digits[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2]);
    let second = brazilian(&digits[..10], &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    (!all_equal(&digits) && first == u32::from(digits[9]) && second == u32::from(digits[10])).then(|| check.keep())
}

/// Receita Federal, Instrução Normativa RFB 2.229/2024: a letter counts as its ASCII code less 48, and the two check
/// digits are as they were.
fn br_cnpj(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let bytes = check.alphanumerics::<14>()?;
    let values = bytes.map(|b| b - b'0');
    let weights = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2];
    let first = brazilian(&values[..12], &weights[1..]);
    let second = brazilian(&values[..13], &weights);
    (!all_equal(&values[..12]) && first == u32::from(values[12]) && second == u32::from(values[13]))
        .then(|| check.keep())
}

// ---- Mexico

/// Registro Nacional de Población, "Instructivo normativo para la asignación de la CURP" (DOF 18 October 2021): a birth
/// date, and a check digit over an alphabet that has an Ñ after the N.
fn mx_curp(check: &Check<'_>) -> Option<Verdict> {
    let bytes = check.alphanumerics::<18>()?;
    let number = |i: usize| (bytes[i].wrapping_sub(b'0'), bytes[i + 1].wrapping_sub(b'0'));
    let ((_, y), (m1, m2), (d1, d2)) = (number(4), number(6), number(8));
    let (month, day) = (m1.checked_mul(10)?.checked_add(m2)?, d1.checked_mul(10)?.checked_add(d2)?);
    if y > 9 || !is_day(month, day) {
        return None;
    }
    let values = bytes.map(|b| match b {
        b'0'..=b'9' => b - b'0',
        b'A'..=b'N' => b - b'A' + 10,
        _ => b - b'A' + 11,
    });
    let weights: [u32; 17] = std::array::from_fn(|i| 18 - i as u32);
    let expected = (10 - weighted_sum(&values[..17], &weights) % 10) % 10;
    (expected == u32::from(values[17])).then(|| check.keep())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    type ByName = fn(&str) -> Option<Validator>;

    /// `None` if the validator drops the value, else the score that it gives it instead of the pattern's.
    pub(in super::super) fn scores(by_name: ByName, validator: &str, value: &str) -> Option<Option<f32>> {
        let validator = by_name(validator).expect("a validator is registered");
        validator(&Check { text: value, start: 0, end: value.len(), context: false, least: 0.0 }).map(|v| v.score)
    }

    /// The value is kept, and of all values that differ from it in one digit at most `unnoticed` are.
    pub(in super::super) fn refuses_changes(by_name: ByName, validator: &str, value: &str, unnoticed: usize) {
        assert_eq!(scores(by_name, validator, value), Some(None), "{validator} {value}");
        let mut kept = Vec::new();
        for (i, old) in value.char_indices().filter(|(_, c)| c.is_ascii_digit()) {
            for new in ('0'..='9').filter(|&d| d != old) {
                let wrong = format!("{}{new}{}", &value[..i], &value[i + 1..]);
                if scores(by_name, validator, &wrong).is_some() {
                    kept.push(wrong);
                }
            }
        }
        assert!(kept.len() <= unnoticed, "{validator} {value}: {kept:?}");
    }

    /// All validators, on what a user's own pattern may hand them.
    pub(in super::super) fn survives(by_name: ByName) {
        let names = [
            "aba_routing age ae_emirates_id au_abn au_acn au_medicare au_tfn br_cnpj br_cpf ca_sin cn_resident_id",
            "cn_resident_id_old hk_id identifier il_id in_aadhaar in_gstin in_pan in_pan_misread in_vehicle in_vehicle_old in_voter jp_my_number",
            "kr_brn kr_driver_license kr_frn kr_rrn mx_curp ng_nin ph_tin separate sg_nric_fin sg_uen ssn th_tnin tw_id",
            "us_dea us_itin us_npi us_plate us_state_zip us_zip za_id",
        ];
        for validator in names.iter().flat_map(|line| line.split(' ')).filter_map(by_name) {
            for unit in ["", "9", "Z", "z", "é", "-", "9Z", "Z9", "9é", "00000000Z"] {
                for count in 0..24 {
                    let text = unit.repeat(count);
                    validator(&Check { text: &text, start: 0, end: text.len(), context: true, least: 0.0 });
                }
            }
        }
    }

    #[test]
    fn keeps_published_specimens_and_refuses_what_differs_in_a_digit() {
        for (validator, value) in [
            ("aba_routing", "111000025"),
            ("aba_routing", "0210-0002-1"),
            ("us_npi", "1234567893"),
            ("ca_sin", "130-692-544"),
            ("br_cpf", "111.444.777-35"),
            ("br_cnpj", "11.222.333/0001-81"),
            ("br_cnpj", "12.ABC.345/01DE-35"),
        ] {
            refuses_changes(by_name, validator, value, 0);
        }
        // Twice a digit is the same as twice the digit that differs by five; 17 or fewer less 10 has other divisors.
        refuses_changes(by_name, "us_dea", "AB1234563", 3);
        refuses_changes(by_name, "mx_curp", "BOXW310820HNERXN09", 10);
    }

    #[test]
    fn refuses_by_structure() {
        for (validator, value) in [
            ("aba_routing", "000000000"),
            ("aba_routing", "512345677"),
            ("br_cnpj", "00000000000000"),
            ("br_cpf", "111.111.111-11"),
            ("ca_sin", "046 454 286"),
            ("ca_sin", "130-692 544"),
            ("mx_curp", "BOXW310230HNERXN09"),
            ("us_itin", "911-89-1234"),
            ("us_itin", "811-70-1234"),
            ("us_npi", "3234567893"),
            ("us_plate", "2019"),
            ("us_zip", "00001"),
            ("identifier", "2024-01-15"),
            ("identifier", "1234"),
            ("identifier", "15-01-2024"),
        ] {
            assert_eq!(scores(by_name, validator, value), None, "{validator} {value}");
        }
    }

    #[test]
    fn itins_have_their_middles() {
        let middles: Vec<u32> =
            (0..100).filter(|m| scores(by_name, "us_itin", &format!("912-{m:02}-3456")).is_some()).collect();
        let expected: Vec<u32> = (50..=65).chain(70..=88).chain(90..=92).chain(94..=99).collect();
        assert_eq!(middles, expected);
    }

    #[test]
    fn an_age_is_in_years() {
        let keeps = |before: &str, after: &str| {
            let text = format!("{before}95{after}");
            let start = before.len();
            age(&Check { text: &text, start, end: start + 2, context: false, least: 0.0 }).is_some()
        };
        for after in ["", ".", ", a man", "-year-old", "yo", " years", " and well"] {
            assert!(keeps("aged ", after), "{after:?}");
        }
        for after in ["%", " %", ".5", "5", " days", "-day-old", " degrees", "\u{b0}", " MINUTES", ":00"] {
            assert!(!keeps("aged ", after), "{after:?}");
        }
        for before in ["max-age=", "Cache age: ", "1.", "$", "20", "10:"] {
            assert!(!keeps(before, ""), "{before:?}");
        }
    }

    #[test]
    fn a_zip_code_agrees_with_the_state_before_it() {
        let score = |text: &str, start: usize| {
            let check = Check { text, start, end: text.len(), context: false, least: 0.0 };
            us_state_zip(&check).map(|v| v.score)
        };
        assert_eq!(score("Springfield, IL 62704", 16), Some(None));
        assert_eq!(score("Springfield IL 62704", 15), Some(Some(0.5)));
        assert_eq!(score("part IL 62704", 8), Some(Some(0.4)));
        assert_eq!(score("Springfield, IL 94105", 16), None);
        assert_eq!(score("IX 62704", 3), None);
        assert!(ZIP_PREFIXES.windows(2).all(|w| w[0].0 < w[1].0));
    }

    #[test]
    fn nothing_panics_on_what_a_foreign_pattern_may_give() {
        survives(by_name);
    }
}
