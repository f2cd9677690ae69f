//! Telephone numbers: libphonenumber says which are valid; shape and context say which of the valid ones are meant.
//!
//! Half of all groups of digits are a valid number somewhere, so validity alone proves little without a country code.
//! The library is given digits and a plus sign, never foreign text.

use rlibphonenumber::phonenumber_matcher::{Leniency, PHONE_MATCHER_FACTORY};
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, PhoneNumberType, Region};

use super::{Check, Validator, Verdict};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "phone_international" => international,
        "phone_loose" => loose,
        "phone_matcher" => matcher,
        "phone_national" => national,
        "phone_ph_mobile" => philippine_mobile,
        "phone_tr" => turkish,
        _ => return None,
    })
}

/// Tried, in this order, for a number that begins with the trunk prefix 0.
const TRUNK: &[(Region, i32)] = &[
    (Region::GB, 44),
    (Region::DE, 49),
    (Region::FR, 33),
    (Region::IL, 972),
    (Region::IT, 39),
    (Region::JP, 81),
    (Region::AU, 61),
    (Region::NL, 31),
    (Region::CH, 41),
    (Region::AT, 43),
    (Region::BE, 32),
    (Region::SE, 46),
    (Region::IN, 91),
    (Region::BR, 55),
    (Region::TR, 90),
    (Region::KR, 82),
    (Region::ZA, 27),
    (Region::CN, 86),
    (Region::PH, 63),
    (Region::ID, 62),
    (Region::MY, 60),
    (Region::TH, 66),
    (Region::VN, 84),
    (Region::PK, 92),
    (Region::NG, 234),
    (Region::EG, 20),
    (Region::IE, 353),
    (Region::FI, 358),
    (Region::NZ, 64),
    (Region::TW, 886),
    (Region::AR, 54),
];

/// Tried for a number without one.
const PLAIN: &[(Region, i32)] = &[
    (Region::US, 1),
    (Region::IN, 91),
    (Region::BR, 55),
    (Region::ES, 34),
    (Region::CN, 86),
    (Region::FR, 33),
    (Region::PL, 48),
    (Region::PT, 351),
    (Region::MX, 52),
    (Region::NO, 47),
    (Region::DK, 45),
    (Region::SG, 65),
    (Region::IL, 972),
    (Region::DE, 49),
];

fn valid(number: &PhoneNumber) -> bool {
    PHONE_NUMBER_UTIL.is_valid_number(number)
}

fn parse(text: &str, region: Option<Region>) -> Option<PhoneNumber> {
    PHONE_NUMBER_UTIL.parse(text, region).ok()
}

/// The region of these in which the digits are a valid number, as it is dialled there. The number is put together here:
/// the library's own reading of it, which understands much more than digits, takes ten times as long.
fn valid_in(text: &str, regions: &[(Region, i32)]) -> Option<Region> {
    let trunkless = text.strip_prefix('0');
    regions.iter().copied().find_map(|(region, code)| {
        // Italy's numbers keep their zero.
        let national = trunkless.filter(|_| region != Region::IT).unwrap_or(text);
        let number = put_together(code, national)?;
        PHONE_NUMBER_UTIL.is_valid_number_for_region(&number, region).then_some(region)
    })
}

fn put_together(code: i32, national: &str) -> Option<PhoneNumber> {
    let zeros = national.bytes().take_while(|b| *b == b'0').count();
    Some(PhoneNumber {
        country_code: code,
        national_number: national.parse().ok()?,
        italian_leading_zero: (zeros > 0).then_some(true),
        number_of_leading_zeros: i32::try_from(zeros).ok().filter(|zeros| *zeros > 1),
        ..PhoneNumber::default()
    })
}

/// A number with its country code, `+` and digits: put together here if it is valid so, else as the library reads it.
fn with_country_code(spelling: &str) -> Option<PhoneNumber> {
    let digits = &spelling[1..];
    // ITU-T E.164, annex D: zones 1 and 7, the codes of two digits, and all others of three.
    let length = match digits.as_bytes() {
        [b'1' | b'7', ..] => 1,
        [b'2', b'0' | b'7', ..]
        | [b'3', b'0'..=b'4' | b'6' | b'9', ..]
        | [b'4', b'0' | b'1' | b'3'..=b'9', ..]
        | [b'5', b'1'..=b'8', ..]
        | [b'6', b'0'..=b'6', ..]
        | [b'8', b'1' | b'2' | b'4' | b'6', ..]
        | [b'9', b'0'..=b'5' | b'8', ..] => 2,
        _ => 3,
    };
    let (code, national) = digits.split_at_checked(length)?;
    put_together(code.parse().ok()?, national).filter(valid).or_else(|| parse(spelling, None))
}

/// E.164 if the value can be read as a number: with a country code, of North America, or by trying the regions in
/// order. The digits alone otherwise, so that spellings of an invalid number agree at least with each other.
pub(crate) fn e164(value: &str) -> String {
    let digits = || value.chars().filter(char::is_ascii_digit).collect::<String>();
    let core = &value[..core_end(value)];
    if let Some(number) = international_spelling(core).and_then(|s| with_country_code(&s)) {
        return format(&number);
    }
    let plain = digits_of(core);
    let regions = if plain.starts_with('0') { TRUNK } else { PLAIN };
    if plain.len() >= 7
        && plain.len() <= 15
        && let Some(region) = valid_in(&plain, regions)
        && let Some(number) = parse(&plain, Some(region))
    {
        return format(&number);
    }
    digits()
}

fn format(number: &PhoneNumber) -> String {
    PHONE_NUMBER_UTIL.format(number, PhoneNumberFormat::E164).into_owned()
}

fn digits_of(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// `+CC…` for what begins with a plus sign or 00; without the trunk zero in parentheses.
fn international_spelling(text: &str) -> Option<String> {
    let text = text.trim_start_matches('(');
    let rest = text.strip_prefix('+').or_else(|| text.strip_prefix("00").filter(|r| !r.starts_with('0')))?;
    let rest = rest.replacen("(0)", "", 1);
    let digits = digits_of(&rest);
    (7..=15).contains(&digits.len()).then(|| format!("+{digits}"))
}

/// Where the number ends and the extension begins.
fn core_end(text: &str) -> usize {
    let end = text.find(|c: char| c.is_ascii_alphabetic() || c == '#' || c == ';' || c == ',').unwrap_or(text.len());
    text[..end].trim_end_matches(|c: char| !c.is_ascii_digit()).len()
}

/// Ends at which the number may be cut, longest first: all of it, then before a group that a space sets apart.
fn ends(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let core = core_end(text);
    let bytes = text.as_bytes();
    let whole = std::iter::once((core, text.len()));
    let shorter =
        (1..core).rev().filter(move |&i| bytes[i - 1].is_ascii_digit() && bytes[i] == b' ').map(|i| (i, i)).take(4);
    whole.chain(shorter)
}

/// The number is a part of something longer: `12.34`, `1/2`, a version, an identifier.
fn stands_alone(check: &Check<'_>, end: usize) -> bool {
    let before = &check.text.as_bytes()[..check.start];
    let after = &check.text.as_bytes()[end..];
    let part_before = match before {
        // `30+20221128`: a sum, a version.
        [.., last] if check.value().starts_with('+') => last.is_ascii_digit(),
        [.., digit, b'-' | b'/'] => digit.is_ascii_alphanumeric(),
        [.., digit, b'.' | b',' | b':'] => digit.is_ascii_digit(),
        [.., last] => matches!(last, b'=' | b'$') && after.first() == Some(&b'.') || matches!(last, b'#' | b'@'),
        [] => false,
    };
    let part_after = match after {
        [b'.' | b'-' | b'/' | b',' | b':' | b'=' | b'_', next, ..] => next.is_ascii_digit() || *next == b'-',
        [b'%', ..] => true,
        [next, ..] => next.is_ascii_alphanumeric() || *next == b'_',
        [] => false,
    };
    !part_before && !part_after
}

/// Without a parenthesis that opens and does not close: it stands around more than the number.
fn unwrapped<'a>(check: &Check<'a>) -> Check<'a> {
    let text = check.value();
    let open = text.starts_with('(') && !text.contains(')');
    Check { start: check.start + usize::from(open), ..*check }
}

/// A number with its country code.
pub(crate) fn international(check: &Check<'_>) -> Option<Verdict> {
    let check = &unwrapped(check);
    let text = check.value();
    let mut possible = None;
    for (core, end) in ends(text) {
        if !stands_alone(check, check.start + end) {
            continue;
        }
        let Some(number) = international_spelling(&text[..core]).and_then(|s| with_country_code(&s)) else { continue };
        if valid(&number) {
            return Some(check.cut(end));
        }
        if possible.is_none() && PHONE_NUMBER_UTIL.is_possible_number(&number) {
            possible = Some(end);
        }
    }
    // No such number was ever assigned; but somebody wrote it as one.
    possible.map(|end| Verdict {
        score: Some(if text.contains([' ', '-', '.', '(']) { 0.5 } else { 0.4 }),
        ..check.cut(end)
    })
}

/// A number as it is written inside its country, with separators that show what it is.
pub(crate) fn national(check: &Check<'_>) -> Option<Verdict> {
    let check = &unwrapped(check);
    let text = check.value();
    for (core, end) in ends(text) {
        if !stands_alone(check, check.start + end) {
            continue;
        }
        if let Some(score) = national_score(&text[..core], check.least).filter(|&score| score >= check.least) {
            return Some(Verdict { score: Some(score), ..check.cut(end) });
        }
    }
    None
}

/// Validity is asked for last: where the score would be below `least` all the same, it is not asked for at all.
fn national_score(text: &str, least: f32) -> Option<f32> {
    let groups: Vec<&str> = text.split(|c: char| !c.is_ascii_digit()).filter(|g| !g.is_empty()).collect();
    if is_date(&groups) || !separators_are_plausible(text) || are_single_digits(&groups) {
        return None;
    }
    let lengths: Vec<usize> = groups.iter().map(|g| g.len()).collect();
    let digits = groups.concat();
    if let Some(international) = international_spelling(text) {
        return with_country_code(&international).filter(valid).map(|_| 0.5);
    }
    let parenthesized = text.starts_with('(');
    match lengths[..] {
        [3, 3, 4] | [1, 3, 3, 4] | [3, 7] | [6, 4] if lengths.len() < 4 || groups[0] == "1" => {
            let national = &digits[digits.len() - 10..];
            let nanp = matches!(national.as_bytes()[0], b'2'..=b'9') && matches!(national.as_bytes()[3], b'2'..=b'9');
            if nanp && valid_in(national, &[(Region::US, 1), (Region::CA, 1)]).is_some() {
                return Some(if lengths.len() == 2 && !parenthesized { 0.4 } else { 0.6 });
            }
        }
        _ => {}
    }
    // `91-415-555-0132`: a country code that lost its plus sign.
    if let [1..=3, 3, 3, 4] = lengths[..]
        && with_country_code(&format!("+{digits}")).is_some_and(|n| valid(&n))
    {
        return Some(0.5);
    }
    // `02111-1307` is a ZIP code, `0 4294967295` two numbers.
    if groups.len() < 2 || !(8..=12).contains(&digits.len()) || matches!(lengths[..], [5, 4] | [1, 8..=12]) {
        return None;
    }
    if digits.starts_with('0') && digits.len() >= 9 {
        return valid_in(&digits, TRUNK).map(|_| 0.5);
    }
    let brazil = matches!(lengths[..], [2, 5, 4] | [2, 4, 4]);
    if brazil && valid_in(&digits, &[(Region::BR, 55)]).is_some() {
        return Some(if parenthesized || text.contains('-') { 0.5 } else { 0.4 });
    }
    if least > 0.4 {
        return None;
    }
    valid_in(&digits, PLAIN).map(|_| 0.4)
}

/// Anything of the right length that a word nearby calls a telephone number.
pub(crate) fn loose(check: &Check<'_>) -> Option<Verdict> {
    let check = &unwrapped(check);
    let text = check.value();
    for (core, end) in ends(text) {
        let digits = text[..core].bytes().filter(u8::is_ascii_digit).count();
        if !(6..=15).contains(&digits) || !stands_alone(check, check.start + end) {
            continue;
        }
        let core = &text[..core];
        let groups: Vec<&str> = core.split(|c: char| !c.is_ascii_digit()).filter(|g| !g.is_empty()).collect();
        if is_date(&groups) || !separators_are_plausible(core) || are_single_digits(&groups) {
            continue;
        }
        // Without separators and without a country it must at least be a number somewhere.
        if groups.len() == 1 {
            let regions = if core.starts_with('0') { TRUNK } else { PLAIN };
            if digits < 7 || !check.context && valid_in(core, regions).is_none() {
                continue;
            }
        } else if groups.iter().any(|g| g.len() > 8) {
            continue;
        }
        return Some(check.cut(end));
    }
    None
}

/// Regions in which the library's own matcher looks: Presidio's, and the largest of the others.
const MATCHED: &[Region] = &[
    Region::US,
    Region::GB,
    Region::DE,
    Region::FR,
    Region::IL,
    Region::IN,
    Region::CA,
    Region::BR,
    Region::JP,
    Region::CN,
];

/// What the library's matcher finds at leniency "valid": a number whose national prefix is there if the region writes
/// one, and that is no date and no page range. It costs some ten times what the other validators do. Its count of tries
/// goes below zero (in 2.2.15) if it is limited; the window limits the text.
fn matcher(check: &Check<'_>) -> Option<Verdict> {
    // What a word calls a number is found without it.
    if check.context && loose(check).is_some() {
        return None;
    }
    MATCHED.iter().find_map(|&region| matched(check, region)).map(|(verdict, _)| verdict)
}

fn matched(check: &Check<'_>, region: Region) -> Option<(Verdict, PhoneNumber)> {
    let found = PHONE_MATCHER_FACTORY
        .matcher_builder(check.value())
        .leniency(Leniency::Valid)
        .preferred_region(region)
        .build()
        .next()?;
    let verdict = Verdict { start: check.start + found.start, end: check.start + found.end(), score: None };
    let check = Check { start: verdict.start, ..*check };
    stands_alone(&check, verdict.end).then_some((verdict, found.number))
}

/// A number of a mobile network of the Philippines, with its country code or its trunk prefix.
fn philippine_mobile(check: &Check<'_>) -> Option<Verdict> {
    let (verdict, number) = matched(check, Region::PH)?;
    let kind = PHONE_NUMBER_UTIL.get_number_type(&number);
    let mobile = matches!(kind, PhoneNumberType::Mobile | PhoneNumberType::FixedLineOrMobile);
    (number.country_code == 63 && mobile).then_some(verdict)
}

/// A number of Türkiye.
fn turkish(check: &Check<'_>) -> Option<Verdict> {
    let (verdict, number) = matched(check, Region::TR)?;
    (number.country_code == 90).then_some(verdict)
}

/// `2024-01-15 …`, `15.01.2024`, `01/02/24`, `2019-2024`.
fn is_date(groups: &[&str]) -> bool {
    let number = |g: &str| g.parse::<u32>().unwrap_or(u32::MAX);
    let year = |g: &str| g.len() == 4 && (1900..2100).contains(&number(g));
    let small = |g: &str, most: u32| g.len() <= 2 && (1..=most).contains(&number(g));
    match groups {
        [y, m, d, ..] if year(y) && small(m, 12) && small(d, 31) => true,
        [a, b, y, ..] if year(y) && small(a, 31) && small(b, 31) => true,
        [a, b] if year(a) && year(b) => true,
        // `2010 -0700`: a year, and how far its clock is from Greenwich's.
        [a, b] if year(a) && b.len() == 4 && number(b) <= 1400 && matches!(&b[2..], "00" | "30" | "45") => true,
        [d] if d.len() == 8 => {
            let (y, rest) = d.split_at(4);
            year(y) && small(&rest[..2], 12) && small(&rest[2..], 31)
        }
        _ => false,
    }
}

/// `1 2 3 4 5 6 7`: a list. It is cheaper to say so than to ask what is valid where.
fn are_single_digits(groups: &[&str]) -> bool {
    groups.iter().filter(|g| g.len() == 1).count() > 1
}

/// Parentheses that close, and not dots and dashes and slashes all together.
fn separators_are_plausible(text: &str) -> bool {
    let mut open = 0i32;
    let mut kinds = [false; 3];
    for b in text.bytes() {
        match b {
            b'(' => open += 1,
            b')' => open -= 1,
            b'.' => kinds[0] = true,
            b'-' => kinds[1] = true,
            b'/' => kinds[2] = true,
            _ => {}
        }
        if !(0..=1).contains(&open) {
            return false;
        }
    }
    open == 0 && kinds.iter().filter(|&&k| k).count() <= 2
}
