//! What the states of Asia, Africa and Oceania call persons, companies and vehicles.

use super::americas::{same_separators, stands_alone};
use super::checksum::{iso7064_mod_11_2, luhn, luhn_mod, verhoeff, weighted_sum};
use super::{Check, Validator, Verdict};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "ae_emirates_id" => ae_emirates_id,
        "au_abn" => au_abn,
        "au_acn" => au_acn,
        "au_medicare" => au_medicare,
        "au_tfn" => au_tfn,
        "cn_resident_id" => cn_resident_id,
        "cn_resident_id_old" => cn_resident_id_old,
        "hk_id" => hk_id,
        "il_id" => il_id,
        "in_aadhaar" => in_aadhaar,
        "in_gstin" => in_gstin,
        "in_pan" => in_pan,
        "in_pan_misread" => in_pan_misread,
        "in_vehicle" => in_vehicle,
        "in_vehicle_old" => in_vehicle_old,
        "in_voter" => in_voter,
        "jp_my_number" => jp_my_number,
        "kr_brn" => kr_brn,
        "kr_driver_license" => kr_driver_license,
        "kr_frn" => kr_frn,
        "kr_rrn" => kr_rrn,
        "ng_nin" => ng_nin,
        "ph_tin" => ph_tin,
        "sg_nric_fin" => sg_nric_fin,
        "sg_uen" => sg_uen,
        "th_tnin" => th_tnin,
        "tw_id" => tw_id,
        "za_id" => za_id,
        _ => return None,
    })
}

/// Whether a month can have this day. The year, which many numbers shorten to two digits, does not count.
pub(super) fn is_day(month: u8, day: u8) -> bool {
    let most = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => 0,
    };
    (1..=most).contains(&day)
}

/// `YYMMDD`, in any century in which that was a day.
fn is_short_date(digits: &[u8; 6]) -> bool {
    let [y1, y2, m1, m2, d1, d2] = *digits;
    let (month, day) = (m1 * 10 + m2, d1 * 10 + d2);
    // 1900 was no leap year and 2000 was one, so a year that ends with 00 may be one.
    is_day(month, day) && ((month, day) != (2, 29) || (y1 * 10 + y2).is_multiple_of(4))
}

/// `YYYYMMDD`, from 1900 to 2099.
fn is_date(digits: &[u8; 8]) -> bool {
    let [c1, c2, rest @ ..] = *digits;
    let leap_century = (c1, c2) != (1, 9) || rest[..2] != [0, 0] || rest[2..] != [0, 2, 2, 9];
    matches!((c1, c2), (1, 9) | (2, 0)) && leap_century && is_short_date(&rest)
}

fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |n, &d| n * 10 + u32::from(d))
}

fn all_equal(digits: &[u8]) -> bool {
    digits.iter().all(|d| d == &digits[0])
}

/// The digits of a candidate of which `skip` letters and digits come first and `N` digits next.
fn digits_after<const N: usize>(bytes: &[u8], skip: usize) -> Option<[u8; N]> {
    let bytes: &[u8; N] = bytes.get(skip..)?.first_chunk()?;
    bytes.iter().all(u8::is_ascii_digit).then(|| bytes.map(|b| b - b'0'))
}

// ---- Australia

/// Australian Business Register, "Format of the ABN": one less in the first digit, weights, modulo 89.
fn au_abn(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let mut digits = check.digits::<11>()?;
    digits[0] = digits[0].checked_sub(1)?;
    weighted_sum(&digits, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]).is_multiple_of(89).then(|| check.keep())
}

/// ASIC, "Australian Company Number (ACN) format": weights 8 to 1, the complement modulo 10.
fn au_acn(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<9>()?;
    let sum = weighted_sum(&digits, &[8, 7, 6, 5, 4, 3, 2, 1, 1]);
    (sum.is_multiple_of(10) && !all_equal(&digits)).then(|| check.keep())
}

/// Services Australia (AIHW METeOR 270101, "Medicare card number"): begins with 2 to 6, weights 1, 3, 7, 9; the ninth
/// digit is the check digit, the tenth counts the cards issued and is not 0.
fn au_medicare(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<10>()?;
    let sum = weighted_sum(&digits[..8], &[1, 3, 7, 9, 1, 3, 7, 9]);
    (matches!(digits[0], 2..=6) && sum % 10 == u32::from(digits[8])).then(|| check.keep())
}

/// Australian Taxation Office, "TFN algorithm": weights, modulo 11; eight digits in old numbers.
fn au_tfn(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let valid = match check.digits::<9>() {
        Some(digits) => weighted_sum(&digits, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11) && !all_equal(&digits),
        None => {
            let digits = check.digits::<8>()?;
            weighted_sum(&digits, &[10, 7, 8, 4, 6, 3, 5, 1]).is_multiple_of(11) && !all_equal(&digits)
        }
    };
    valid.then(|| check.keep())
}

// ---- India

/// UIDAI, "Aadhaar numbering scheme": begins with 2 to 9, Verhoeff; not a palindrome.
fn in_aadhaar(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<12>()?;
    let palindrome = digits.iter().eq(digits.iter().rev());
    (digits[0] >= 2 && same_separators(check) && !palindrome && verhoeff(&digits)).then(|| check.keep())
}

/// Fourth letter of a permanent account number: what its holder is.
const PAN_HOLDERS: &[u8] = b"ABCFGHJLPT";

/// Income Tax Department, "Permanent Account Number": five letters of which the fourth is the kind of holder, four
/// digits, a letter. The arithmetic of that letter is not published.
fn in_pan(check: &Check<'_>) -> Option<Verdict> {
    let bytes = check.alphanumerics::<10>()?;
    let capitals = !check.value().bytes().any(|b| b.is_ascii_lowercase());
    Some(match (PAN_HOLDERS.contains(&bytes[3]), capitals) {
        (true, true) => check.keep(),
        (true, false) => check.rescore(0.3),
        (false, _) => check.rescore(0.2),
    })
}

/// Ten letters and digits with four digits in a row: what is left of a permanent account number when somebody read an O
/// as a 0.
fn in_pan_misread(check: &Check<'_>) -> Option<Verdict> {
    let bytes = check.alphanumerics::<10>()?;
    let letters = bytes.iter().any(u8::is_ascii_alphabetic);
    (letters && bytes.windows(4).any(|four| four.iter().all(u8::is_ascii_digit))).then(|| check.keep())
}

/// GSTN, "Structure of GSTIN": a state, a permanent account number, which registration of it, Z, and Luhn modulo 36. A
/// number with a wrong check character is still written like no other; but not for the codes that few states have.
fn in_gstin(check: &Check<'_>) -> Option<Verdict> {
    let bytes = check.alphanumerics::<15>()?;
    let values = bytes.map(|b| if b.is_ascii_digit() { b - b'0' } else { b - b'A' + 10 });
    let state = u32::from(values[0]) * 10 + u32::from(values[1]);
    let letters = bytes[2..7].iter().filter(|b| b.is_ascii_uppercase()).count();
    if luhn_mod(&values, 36) && letters == 5 && matches!(state, 1..=38 | 97 | 99) {
        return Some(check.keep());
    }
    match letters {
        _ if !(1..=37).contains(&state) => None,
        5 => Some(check.rescore(0.6)),
        3 | 4 => Some(check.rescore(0.2)),
        _ => None,
    }
}

/// Election Commission of India, "EPIC number": three letters and seven digits, of which the last is Luhn's on recent
/// cards.
fn in_voter(check: &Check<'_>) -> Option<Verdict> {
    let bytes = check.alphanumerics::<10>()?;
    let digits = digits_after::<7>(&bytes, 3)?;
    Some(if luhn(&digits) { check.keep() } else { check.rescore(0.3) })
}

/// Ministry of Road Transport and Highways, G.S.R. 901(E) of 2014 and before: codes of states and union territories,
/// old ones among them, each with the highest district that has offices.
const INDIAN_STATES: &[u8] =
    b"AN01AP40AR26AS34BR57CG31CH04CT31DD03DL14DN09GA12GJ39HP99HR99JH24JK24KA71KL99LA02LD09MH58ML10\
MN07MP72MZ09NL10OD35OR35PB99PY05RJ64SK08TG38TN99TR08TS38UA20UK20UP96WB98";

/// `KA 01 AB 1234`: a state, a district of it, a series, a number.
fn in_vehicle(check: &Check<'_>) -> Option<Verdict> {
    let bytes: Vec<u8> = check.value().bytes().filter(u8::is_ascii_alphanumeric).collect();
    let (state, rest) = bytes.split_at_checked(2)?;
    if rest.ends_with(b"0000") {
        return None;
    }
    let district: Vec<u8> = rest.iter().take(2).take_while(|b| b.is_ascii_digit()).map(|b| b - b'0').collect();
    let known = INDIAN_STATES.chunks_exact(4).any(|entry| {
        let most = number(&[entry[2] - b'0', entry[3] - b'0']);
        state.eq_ignore_ascii_case(&entry[..2]) && (1..=most).contains(&number(&district))
    });
    let capitals = !bytes.iter().any(u8::is_ascii_lowercase);
    Some(if known && capitals { check.keep() } else { check.rescore(0.3) })
}

/// Older and foreigners' plates: letters, and a number that is not 0.
fn in_vehicle_old(check: &Check<'_>) -> Option<Verdict> {
    let digits = check.value().trim_start_matches(|c: char| c.is_ascii_alphabetic());
    digits.bytes().any(|d| d != b'0').then(|| check.keep())
}

// ---- Japan

/// Ministry of Internal Affairs and Communications, ordinance 85 of 2014, article 5: weights 2 to 7 from the right.
fn jp_my_number(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<12>()?;
    let expected = match weighted_sum(&digits[..11], &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11 {
        0 | 1 => 0,
        r => 11 - r,
    };
    (same_separators(check) && !all_equal(&digits) && expected == u32::from(digits[11])).then(|| check.keep())
}

// ---- Korea

/// National Tax Service: weights 1, 3, 7 …, the ninth digit times five with its carry.
fn kr_brn(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<10>()?;
    let sum = weighted_sum(&digits, &[1, 3, 7, 1, 3, 7, 1, 3, 5, 1]) + u32::from(digits[8]) * 5 / 10;
    (sum.is_multiple_of(10) && !all_equal(&digits)).then(|| check.keep())
}

/// Korean National Police Agency: the region that issued it (11 to 26, and 28), year, serial number, check digits.
fn kr_driver_license(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<12>()?;
    matches!(digits[0] * 10 + digits[1], 11..=26 | 28).then(|| check.keep())
}

/// The check digit of numbers issued until October 2020, which later ones have by chance; `offset` is 11 for residents
/// and 13 for foreigners.
fn korean(check: &Check<'_>, kinds: std::ops::RangeInclusive<u8>, offset: u32) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<13>()?;
    if !kinds.contains(&digits[6]) || !is_short_date(digits.first_chunk()?) {
        return None;
    }
    let sum = weighted_sum(&digits[..12], &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
    let valid = (offset - sum % 11) % 10 == u32::from(digits[12]) && number(&digits[7..9]) <= 95;
    Some(match (valid, check.value().contains('-')) {
        (true, _) => check.keep(),
        (false, true) => check.rescore(0.5),
        (false, false) => check.rescore(0.2),
    })
}

/// Enforcement Rule of the Resident Registration Act, article 2: birth date, sex and century 1 to 4, region, check digit.
fn kr_rrn(check: &Check<'_>) -> Option<Verdict> {
    korean(check, 1..=4, 11)
}

/// Enforcement Rule of the Immigration Act: birth date, sex and century 5 to 8, office, check digit.
fn kr_frn(check: &Check<'_>) -> Option<Verdict> {
    korean(check, 5..=8, 13)
}

// ---- Nigeria

/// National Identity Management Commission, "NIN": eleven digits, Verhoeff.
fn ng_nin(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<11>()?;
    (!all_equal(&digits) && verhoeff(&digits)).then(|| check.keep())
}

// ---- Philippines

/// Bureau of Internal Revenue: eight digits, a check digit modulo 11, and a branch of three or five digits.
fn ph_tin(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits: Vec<u8> = check.value().bytes().filter(u8::is_ascii_digit).map(|b| b - b'0').collect();
    let sum = weighted_sum(&digits[..8.min(digits.len())], &[9, 8, 7, 6, 5, 4, 3, 2]);
    let valid = matches!(digits.len(), 9 | 12 | 14) && sum % 11 == u32::from(digits[8]);
    (valid && digits[..9] != [0; 9]).then(|| check.keep())
}

// ---- Singapore

/// Immigration and Checkpoints Authority: weights 2, 7, 6, 5, 4, 3, 2, an offset by series (S, T; F, G; M), and a letter
/// of that series. Without a right letter it may still be one that somebody mistyped.
fn sg_nric_fin(check: &Check<'_>) -> Option<Verdict> {
    let bytes = check.alphanumerics::<9>()?;
    let digits = digits_after::<7>(&bytes, 1)?;
    let sum = weighted_sum(&digits, &[2, 7, 6, 5, 4, 3, 2]);
    let (offset, letters) = match bytes[0] {
        b'S' => (0, b"JZIHGFEDCBA"),
        b'T' => (4, b"JZIHGFEDCBA"),
        b'F' => (0, b"XWUTRQPNMLK"),
        b'G' => (4, b"XWUTRQPNMLK"),
        b'M' => (3, b"XWUTRQPNJLK"),
        _ => return Some(check.rescore(0.1)),
    };
    let valid = letters[(sum as usize + offset) % 11] == bytes[8];
    let capitals = !check.value().bytes().any(|b| b.is_ascii_lowercase());
    Some(match (valid, capitals) {
        (true, true) => check.keep(),
        (true, false) => check.rescore(0.4),
        (false, _) => check.rescore(0.2),
    })
}

/// Kinds of entities in the third format.
const SG_ENTITIES: &[u8] = b"CCCDCHCLCMCPCSCXDPFBFCFMFNGAGBGSHCHSLLLPMBMCMDMHMMMQNBNRPAPBPFRFRPSMSSTCTUVHXL";

/// ACRA, "Unique Entity Number": businesses (eight digits), local companies (a year and five digits), other entities
/// (T, S or R, a year, a kind, four digits), each with its own weights and letters.
fn sg_uen(check: &Check<'_>) -> Option<Verdict> {
    let valid = if let Some(bytes) = check.alphanumerics::<9>() {
        let sum = weighted_sum(&digits_after::<8>(&bytes, 0)?, &[10, 4, 9, 3, 8, 2, 7, 1]);
        b"XMKECAWLJDB"[sum as usize % 11] == bytes[8]
    } else {
        let bytes = check.alphanumerics::<10>()?;
        if let Some(digits) = digits_after::<9>(&bytes, 0) {
            let sum = weighted_sum(&digits, &[10, 8, 6, 4, 9, 7, 5, 3, 1]);
            (1800..2100).contains(&number(&digits[..4])) && b"ZKCMDNERGWH"[sum as usize % 11] == bytes[9]
        } else {
            const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWX0123456789";
            let mut values = [0; 10];
            for (value, b) in values.iter_mut().zip(&bytes) {
                *value = ALPHABET.iter().position(|c| c == b)? as u8;
            }
            let sum = weighted_sum(&values[..9], &[4, 3, 5, 3, 10, 2, 2, 5, 7]);
            SG_ENTITIES.chunks_exact(2).any(|kind| kind == &bytes[3..5])
                && (sum as usize + 6) % 11 == usize::from(values[9])
        }
    };
    valid.then(|| check.keep())
}

// ---- Thailand

/// Department of Provincial Administration: weights 13 to 2, modulo 11; a province after the kind of person.
fn th_tnin(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<13>()?;
    let province =
        matches!(digits[1] * 10 + digits[2], 10..=27 | 30..=49 | 50..=58 | 60..=67 | 70..=77 | 80..=86 | 90..=96);
    let sum = weighted_sum(&digits[..12], &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    (digits[0] != 0 && province && (11 - sum % 11) % 10 == u32::from(digits[12])).then(|| check.keep())
}

// ---- South Africa

/// Department of Home Affairs, Identification Act 68 of 1997: birth date, sequence, citizenship 0 to 2, an 8 or 9, Luhn.
fn za_id(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<13>()?;
    (is_short_date(digits.first_chunk()?) && digits[10] <= 2 && digits[11] >= 8 && luhn(&digits)).then(|| check.keep())
}

// ---- China, Hong Kong, Taiwan

/// GB/T 2260: the first two digits of a code of a province.
fn is_province(digits: &[u8]) -> bool {
    matches!(number(&digits[..2]), 11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83 | 91)
}

/// GB 11643-1999: a place (GB/T 2260), a birth date, a sequence, ISO 7064 MOD 11-2.
fn cn_resident_id(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let bytes = check.alphanumerics::<18>()?;
    let digits = digits_after::<17>(&bytes, 0)?;
    let last = match bytes[17] {
        b'X' => 10,
        d if d.is_ascii_digit() => d - b'0',
        _ => return None,
    };
    let mut values = [last; 18];
    values[..17].copy_from_slice(&digits);
    (is_province(&digits) && is_date(digits[6..].first_chunk()?) && iso7064_mod_11_2(&values)).then(|| check.keep())
}

/// GB 11643-1989: the same with a year of two digits and no check digit.
fn cn_resident_id_old(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<15>()?;
    (is_province(&digits) && is_short_date(digits[6..].first_chunk()?)).then(|| check.keep())
}

/// Hong Kong Immigration Department: one or two letters (A is 10, none is 36), six digits, weights 9 to 2, modulo 11,
/// where 10 is written A.
fn hk_id(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let bytes: Vec<u8> = check.value().bytes().filter(u8::is_ascii_alphanumeric).collect();
    let (letters, rest) = bytes.split_at_checked(bytes.len().checked_sub(7)?)?;
    let letter = |b: &u8| b.to_ascii_uppercase().wrapping_sub(b'A').wrapping_add(10);
    let mut values = [36; 9];
    match letters {
        [a] => values[1] = letter(a),
        [a, b] => (values[0], values[1]) = (letter(a), letter(b)),
        _ => return None,
    }
    values[2..8].copy_from_slice(&digits_after::<6>(rest, 0)?);
    values[8] = match rest[6] {
        b'A' | b'a' => 10,
        d if d.is_ascii_digit() => d - b'0',
        _ => return None,
    };
    weighted_sum(&values, &[9, 8, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11).then(|| check.keep())
}

/// Taiwan, Ministry of the Interior: a letter for a place, standing for two digits, then sex (1, 2; foreigners 8, 9, or
/// until 2020 a letter A to D), and weights 8 to 1.
fn tw_id(check: &Check<'_>) -> Option<Verdict> {
    /// The letters in the order of their numbers, from 10.
    const PLACES: &[u8; 26] = b"ABCDEFGHJKLMNPQRSTUVXYWZIO";
    stands_alone(check)?;
    let bytes = check.alphanumerics::<10>()?;
    let place = |b: u8| PLACES.iter().position(|&p| p == b).map(|i| i as u8 + 10);
    let first = place(bytes[0])?;
    let mut digits = [0; 11];
    (digits[0], digits[1]) = (first / 10, first % 10);
    digits[2] = match bytes[1] {
        d @ (b'1' | b'2' | b'8' | b'9') => d - b'0',
        letter @ b'A'..=b'D' => place(letter)? % 10,
        _ => return None,
    };
    digits[3..].copy_from_slice(&digits_after::<8>(&bytes, 2)?);
    weighted_sum(&digits, &[1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1]).is_multiple_of(10).then(|| check.keep())
}

// ---- Israel, United Arab Emirates

/// Population Authority: nine digits, Luhn.
fn il_id(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<9>()?;
    (!all_equal(&digits) && luhn(&digits)).then(|| check.keep())
}

/// Federal Authority for Identity and Citizenship: 784 (ISO 3166), a birth year, seven digits, Luhn.
fn ae_emirates_id(check: &Check<'_>) -> Option<Verdict> {
    stands_alone(check)?;
    let digits = check.digits::<15>()?;
    (digits[..3] == [7, 8, 4] && (1900..2100).contains(&number(&digits[3..7])) && luhn(&digits)).then(|| check.keep())
}

#[cfg(test)]
mod tests {
    use super::super::americas::tests::{refuses_changes, scores, survives};
    use super::*;

    #[test]
    fn keeps_published_specimens_and_refuses_what_differs_in_a_digit() {
        for (validator, value) in [
            ("au_abn", "51 824 753 556"),
            ("au_medicare", "2123456701"),
            ("au_tfn", "123 456 782"),
            ("in_aadhaar", "3998 7654 3211"),
            ("jp_my_number", "123456789018"),
            ("ng_nin", "12345678902"),
            ("za_id", "7503305044089"),
            ("cn_resident_id", "11010519491231002X"),
            ("hk_id", "A123456(3)"),
            ("hk_id", "G123456(A)"),
            ("hk_id", "AB987654(3)"),
            ("il_id", "039337423"),
            ("ae_emirates_id", "784-1980-1234567-8"),
            ("ph_tin", "123456782"),
        ] {
            // A card's issue number and a person's kind have no check digit of their own, and not each fails it.
            refuses_changes(by_name, validator, value, if validator == "au_medicare" { 9 } else { 0 });
        }
    }

    #[test]
    fn keeps_specimens_whose_check_digit_does_not_notice_everything() {
        for (validator, value, unnoticed) in [
            ("au_acn", "004 085 616", 12),
            ("kr_brn", "220-81-62517", 5),
            ("th_tnin", "3-1006-00445-63-5", 9),
            ("tw_id", "A123456789", 30),
            ("tw_id", "A800000014", 30),
        ] {
            refuses_changes(by_name, validator, value, unnoticed);
        }
    }

    #[test]
    fn what_fails_arithmetic_that_is_not_for_everyone_scores_less() {
        let score = |name, value| scores(by_name, name, value);
        assert_eq!(score("in_gstin", "27AAPFU0939F1ZV"), Some(None));
        assert_eq!(score("in_gstin", "27AAPFU0939F1ZA"), Some(Some(0.6)));
        assert_eq!(score("in_gstin", "39AAPFU0939F1ZV"), None);
        assert_eq!(score("in_gstin", "00AAPFU0939F1ZV"), None);
        assert_eq!(score("kr_rrn", "960121-1021413"), Some(None));
        assert_eq!(score("kr_rrn", "960121-1021414"), Some(Some(0.5)));
        assert_eq!(score("kr_rrn", "9601211021414"), Some(Some(0.2)));
        assert_eq!(score("kr_rrn", "960141-1021413"), None);
        assert_eq!(score("kr_rrn", "960121-5021413"), None);
        assert_eq!(score("kr_frn", "050912-6000012"), Some(None));
        assert_eq!(score("kr_frn", "050912-6000011"), Some(Some(0.5)));
        assert_eq!(score("in_pan", "ABCPE1234F"), Some(None));
        assert_eq!(score("in_pan", "abcpe1234f"), Some(Some(0.3)));
        assert_eq!(score("in_pan", "ABCDE1234F"), Some(Some(0.2)));
        assert_eq!(score("in_pan_misread", "ABC0E1234F"), Some(None));
        assert_eq!(score("in_pan_misread", "ABCDE123FG"), None);
        assert_eq!(score("in_pan_misread", "1234567890"), None);
        assert_eq!(score("in_vehicle", "KA53ME3456"), Some(None));
        assert_eq!(score("in_vehicle", "KA99ME3456"), Some(Some(0.3)));
        assert_eq!(score("in_vehicle", "KA53ME0000"), None);
        assert_eq!(score("in_vehicle_old", "MCX1243"), Some(None));
        assert_eq!(score("in_vehicle_old", "MCX0000"), None);
    }

    #[test]
    fn each_series_of_singapore_has_its_letters() {
        for value in ["S1234567D", "T1234567J", "F1234567N", "G1234567X", "M1234567K"] {
            assert_eq!(scores(by_name, "sg_nric_fin", value), Some(None), "{value}");
            let wrong = format!("{}Z", &value[..8]);
            assert_eq!(scores(by_name, "sg_nric_fin", &wrong), Some(Some(0.2)), "{wrong}");
        }
        for value in ["00192200M", "197401143C", "S16FC0121D", "T01FC6132D"] {
            assert_eq!(scores(by_name, "sg_uen", value), Some(None), "{value}");
            for letter in ('A'..='Z').filter(|&l| !value.ends_with(l)) {
                let wrong = format!("{}{letter}", &value[..value.len() - 1]);
                assert_eq!(scores(by_name, "sg_uen", &wrong), None, "{wrong}");
            }
        }
        assert_eq!(scores(by_name, "sg_uen", "S16ZZ0121D"), None);
    }

    #[test]
    fn dates_are_of_the_calendar() {
        assert!(is_date(&[2, 0, 0, 0, 0, 2, 2, 9]));
        assert!(!is_date(&[1, 9, 0, 0, 0, 2, 2, 9]));
        assert!(!is_date(&[1, 9, 9, 9, 0, 2, 2, 9]));
        assert!(!is_date(&[1, 8, 9, 9, 0, 2, 2, 1]));
        assert!(!is_date(&[1, 9, 9, 9, 1, 3, 0, 1]));
        assert!(!is_date(&[1, 9, 9, 9, 0, 4, 3, 1]));
        assert!(is_short_date(&[0, 0, 0, 2, 2, 9]));
    }

    #[test]
    fn tables_are_sorted_and_well_formed() {
        let states: Vec<_> = INDIAN_STATES.chunks(4).collect();
        assert!(states.iter().all(|s| s.len() == 4 && s[2..].iter().all(u8::is_ascii_digit)));
        assert!(states.windows(2).all(|w| w[0][..2] < w[1][..2]));
        let kinds: Vec<_> = SG_ENTITIES.chunks(2).collect();
        assert!(kinds.iter().all(|k| k.len() == 2) && kinds.windows(2).all(|w| w[0] < w[1]));
    }

    #[test]
    fn nothing_panics_on_what_a_foreign_pattern_may_give() {
        survives(by_name);
    }
}
