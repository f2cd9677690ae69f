//! Telephones, their cards, vehicles, and whatever else has a number from its maker.

use crate::validate::checksum::luhn;
use crate::validate::{Check, Validator, Verdict, is_part_of_number};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "device_identifier" => device_identifier,
        "iccid" => iccid,
        "imei" => imei,
        "imsi" => imsi,
        "plate" => plate,
        "vin" => vin,
        _ => return None,
    })
}

/// The digits, if they are a number of their own and not one digit again and again.
fn digits(check: &Check<'_>) -> Option<Vec<u8>> {
    let digits: Vec<u8> = check.value().bytes().filter(u8::is_ascii_digit).map(|b| b - b'0').collect();
    let first = *digits.first()?;
    let alone = !is_part_of_number(check.before(), check.after(check.end));
    (alone && digits.iter().any(|&d| d != first)).then_some(digits)
}

/// 3GPP TS 23.003, 6.2: 8 digits of type allocation (which begin with a reporting body's two), 6 of serial, Luhn's. With
/// 16 digits the last two are the software's version and there is no check digit, so a word must stand nearby.
fn imei(check: &Check<'_>) -> Option<Verdict> {
    let digits = digits(check)?;
    // GSMA TS.06: 01 (CTIA), 35 (TÜV SÜD, BABT), 86 (TAF), 91 (MSAI), 99 (GHA); 10, 30, 33, 44, 45, 49 and 50 to 54 of old.
    let body = matches!(digits[0] * 10 + digits[1], 1 | 10 | 30 | 33 | 35 | 44 | 45 | 49..=54 | 86 | 91 | 98 | 99);
    match digits.len() {
        15 if luhn(&digits) => Some(if body { check.keep() } else { check.rescore(0.1) }),
        16 | 17 if body && check.context => Some(check.rescore(0.2)),
        _ => None,
    }
}

/// ITU-T E.212: a country code for mobile networks (2xx to 7xx, or 901), then network and subscriber.
fn imsi(check: &Check<'_>) -> Option<Verdict> {
    let digits = digits(check)?;
    let country = digits.iter().take(3).fold(0u32, |n, &d| n * 10 + u32::from(d));
    (matches!(digits.len(), 14 | 15) && matches!(country, 202..=750 | 901)).then(|| check.keep())
}

/// ITU-T E.118: 89 for telecommunications, country, issuer, account; 19 or 20 digits with Luhn's (or 18 or 19 before it
/// is added, which nobody writes).
fn iccid(check: &Check<'_>) -> Option<Verdict> {
    let digits = digits(check)?;
    (digits.starts_with(&[8, 9]) && matches!(digits.len(), 19 | 20) && luhn(&digits)).then(|| check.keep())
}

/// 49 CFR 565.15: letters count as in EBCDIC, weights 8 to 2 on both sides of the check digit in the ninth place, which
/// is the remainder by 11.
fn vin_checks(vin: &[u8; 17]) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let value = |b: u8| match b {
        b'0'..=b'9' => u32::from(b - b'0'),
        b'A'..=b'I' => u32::from(b - b'A' + 1),
        b'J'..=b'R' => u32::from(b - b'J' + 1),
        _ => u32::from(b - b'S' + 2),
    };
    let sum: u32 = vin.iter().zip(WEIGHTS).map(|(&b, w)| value(b) * w).sum();
    vin[8] == if sum % 11 == 10 { b'X' } else { b'0' + (sum % 11) as u8 }
}

/// ISO 3779: 17 characters without I, O and Q, of which the last four are digits. North America (1 to 5) and China (L)
/// prescribe the check digit; elsewhere its place is free, so a word must stand nearby.
fn vin(check: &Check<'_>) -> Option<Verdict> {
    let vin = check.alphanumerics::<17>()?;
    let (letters, digits) = vin
        .iter()
        .fold((0, 0), |(l, d), b| (l + i32::from(b.is_ascii_alphabetic()), d + i32::from(b.is_ascii_digit())));
    let year = !matches!(vin[9], b'U' | b'Z' | b'0');
    if letters < 2
        || digits < 5
        || vin.iter().any(|b| matches!(b, b'I' | b'O' | b'Q'))
        || !vin[13..].iter().all(u8::is_ascii_digit)
    {
        return None;
    }
    match (vin_checks(&vin), vin[0]) {
        (true, _) => Some(if year { check.keep() } else { check.rescore(0.2) }),
        (false, b'1'..=b'5' | b'L') => None,
        (false, _) => check.context.then(|| check.rescore(0.2)),
    }
}

/// What a maker or a system calls a device: letters and digits, drawn or counted, with at least one digit in four and
/// not a word with a year.
fn device_identifier(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value();
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let first = value.bytes().next()?;
    let nothing = value.bytes().filter(u8::is_ascii_alphanumeric).all(|b| b == first);
    let joined =
        matches!(check.after(check.end), [b'.' | b'@' | b'(' | b'=' | b'/', b, ..] if b.is_ascii_alphanumeric());
    let date = matches!(value.as_bytes(), [_, _, _, _, b'-', _, _, b'-', ..]) && digits == 8;
    let length = value.bytes().filter(u8::is_ascii_alphanumeric).count();
    // A number of ten digits and less is a constant or a count as often.
    let counted = digits == value.len() && digits < 11;
    (length >= 8 && !counted && digits * 5 >= length && digits >= 2 && !nothing && !joined && !date)
        .then(|| check.keep())
}

/// Letters and digits, five to nine of them, as registration authorities give out; not a number, not a word.
fn plate(check: &Check<'_>) -> Option<Verdict> {
    let characters = check.value().bytes().filter(u8::is_ascii_alphanumeric);
    let (letters, digits) =
        characters.fold((0, 0), |(l, d), b| if b.is_ascii_digit() { (l, d + 1) } else { (l + 1, d) });
    ((5..=9).contains(&(letters + digits)) && letters >= 1 && digits >= 1).then(|| check.keep())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::global::tests::{verdict, verdict_in_context};

    #[test]
    fn every_changed_digit_of_an_imei_is_noticed() {
        let imei_number = "490154203237518";
        assert_eq!(verdict(imei, imei_number).map(|v| v.1), Some(None));
        for i in 0..15 {
            let mut wrong = imei_number.as_bytes().to_vec();
            wrong[i] = if wrong[i] == b'9' { b'0' } else { wrong[i] + 1 };
            assert_eq!(verdict(imei, std::str::from_utf8(&wrong).unwrap()), None);
        }
        assert!(verdict_in_context(imei, "3520990017614823").is_some());
        assert!(verdict(imei, "000000000000000").is_none());
    }

    #[test]
    fn north_american_vins_need_their_check_digit() {
        for good in ["1M8GDM9AXKP042788", "1HGCM82633A004352", "5YJSA1DG9DFP14705"] {
            assert_eq!(verdict(vin, good).map(|v| v.1), Some(None), "{good}");
            let mut wrong = good.as_bytes().to_vec();
            wrong[8] = if wrong[8] == b'4' { b'5' } else { b'4' };
            assert_eq!(verdict_in_context(vin, std::str::from_utf8(&wrong).unwrap()), None);
        }
        assert!(verdict_in_context(vin, "WVWZZZ1JZXW000001").is_some());
        assert!(verdict(vin, "WVWZZZ1JZXW000001").is_none());
        assert!(verdict_in_context(vin, "ABCDEFGHJKLMNPRST").is_none());
    }

    #[test]
    fn cards_of_telephones_have_luhn() {
        assert!(verdict(iccid, "8991101200003204514").is_some());
        assert!(verdict(iccid, "8991101200003204515").is_none());
        assert!(verdict(imsi, "310150123456789").is_some());
        assert!(verdict(imsi, "110150123456789").is_none());
    }
}
