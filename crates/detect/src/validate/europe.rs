//! What the states of Europe call persons, companies, vehicles and places.
//!
//! A checksum that fails drops a candidate, except where the state itself does not promise the checksum. What cannot be
//! told from bare digits is left to the rule's score: with one check digit, a tenth of all numbers pass.

use super::checksum::{luhn, mod_11_10, number, weighted_sum};
use super::{Check, Validator, Verdict};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "uk_nhs" => uk_nhs,
        "uk_nino" => uk_nino,
        "uk_postcode" => uk_postcode,
        "uk_driving_licence" => uk_driving_licence,
        "uk_vehicle_age" => uk_vehicle_age,
        "de_bsnr" => de_bsnr,
        "de_lanr" => de_lanr,
        "de_tax_id" => de_tax_id,
        "de_vat_id" => de_vat_id,
        "de_pension" => de_pension,
        "de_health" => de_health,
        "de_id_card" => de_id_card,
        "de_passport" => de_passport,
        "de_document_checked" => de_document_checked,
        "de_driving_licence" => de_driving_licence,
        "de_plate" => de_plate,
        "es_nif" => es_nif,
        "es_nie" => es_nie,
        "es_cif" => es_cif,
        "fi_identity_code" => fi_identity_code,
        "it_fiscal_code" => it_fiscal_code,
        "it_vat" => it_vat,
        "pl_pesel" => pl_pesel,
        "se_personnummer" => se_personnummer,
        "se_organisationsnummer" => se_organisationsnummer,
        "tr_national_id" => tr_national_id,
        "fr_nir" => fr_nir,
        "nl_bsn" => nl_bsn,
        "be_national_number" => be_national_number,
        "ch_ahv" => ch_ahv,
        "at_svnr" => at_svnr,
        "pt_nif" => pt_nif,
        "dk_cpr" => dk_cpr,
        "no_fodselsnummer" => no_fodselsnummer,
        "birth_number" => birth_number,
        "ro_cnp" => ro_cnp,
        "bg_egn" => bg_egn,
        "gr_amka" => gr_amka,
        "ie_ppsn" => ie_ppsn,
        "eu_vat" => eu_vat,
        _ => return None,
    })
}

/// The digits of a candidate that is not a part of a longer number: digits that a point or a hyphen joins to others are.
fn lone_digits<const N: usize>(check: &Check<'_>) -> Option<[u8; N]> {
    let joined = matches!(check.before(), [.., d, b'.' | b'-'] if d.is_ascii_digit())
        || matches!(check.after(check.end), [b'.' | b'-', d, ..] if d.is_ascii_digit());
    if joined { None } else { check.digits() }
}

/// What a letter or a digit counts for where letters go on from nine (ICAO 9303-3, 4.9): `A` is 10, `Z` is 35.
fn base36(byte: u8) -> u8 {
    if byte.is_ascii_digit() { byte - b'0' } else { byte.wrapping_sub(b'A').wrapping_add(10) }
}

/// The place of a capital in the alphabet, from 1.
fn ordinal(letter: u8) -> u8 {
    letter.wrapping_sub(b'A').wrapping_add(1)
}

/// ASCII digits as numbers; `None` if one is not a digit.
fn numerals<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut digits = [0; N];
    if bytes.len() != N {
        return None;
    }
    for (digit, byte) in digits.iter_mut().zip(bytes) {
        *digit = byte.is_ascii_digit().then(|| byte - b'0')?;
    }
    Some(digits)
}

fn two(digits: &[u8]) -> u32 {
    u32::from(digits[0]) * 10 + u32::from(digits[1])
}

fn is_date(year: u32, month: u32, day: u32) -> bool {
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// A date whose year is written with two digits. The 29th of February of a year `00` may be that of 2000.
fn is_short_date(year: u32, month: u32, day: u32) -> bool {
    is_date(2000 + year, month, day)
}

/// NHS Data Dictionary, NHS NUMBER: ten digits, weights 10 to 2, modulus 11. Zeros pass the arithmetic only. What none
/// of the four nations issues (England and Wales 400-499 and 600-799, Northern Ireland 320-399, Scotland's CHI numbers,
/// which begin with a date of birth) counts for less.
fn uk_nhs(check: &Check<'_>) -> Option<Verdict> {
    let d = lone_digits::<10>(check)?;
    if !weighted_sum(&d, &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11) || d == [0; 10] {
        return None;
    }
    let issued = matches!(number(&d[..3]), 320..=499 | 600..=799) || is_short_date(two(&d[4..]), two(&d[2..]), two(&d));
    Some(if issued { check.keep() } else { check.rescore(0.25) })
}

/// HMRC, National Insurance Manual NIM39110: prefixes that are not allocated.
fn uk_nino(check: &Check<'_>) -> Option<Verdict> {
    let n = check.alphanumerics::<9>()?;
    let prefix = &n[..2];
    let allocated = !prefix.iter().any(|l| b"DFIQUV".contains(l))
        && prefix[1] != b'O'
        && ![b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ"].iter().any(|p| p.as_slice() == prefix);
    allocated.then(|| check.keep())
}

/// Royal Mail, Postcode Address File: the postcode areas, those of the Crown dependencies, and BX for what has no place.
const UK_POSTCODE_AREAS: [&[u8]; 125] = [
    b"AB", b"AL", b"B", b"BA", b"BB", b"BD", b"BH", b"BL", b"BN", b"BR", b"BS", b"BT", b"BX", b"CA", b"CB", b"CF",
    b"CH", b"CM", b"CO", b"CR", b"CT", b"CV", b"CW", b"DA", b"DD", b"DE", b"DG", b"DH", b"DL", b"DN", b"DT", b"DY",
    b"E", b"EC", b"EH", b"EN", b"EX", b"FK", b"FY", b"G", b"GL", b"GU", b"GY", b"HA", b"HD", b"HG", b"HP", b"HR",
    b"HS", b"HU", b"HX", b"IG", b"IM", b"IP", b"IV", b"JE", b"KA", b"KT", b"KW", b"KY", b"L", b"LA", b"LD", b"LE",
    b"LL", b"LN", b"LS", b"LU", b"M", b"ME", b"MK", b"ML", b"N", b"NE", b"NG", b"NN", b"NP", b"NR", b"NW", b"OL",
    b"OX", b"PA", b"PE", b"PH", b"PL", b"PO", b"PR", b"RG", b"RH", b"RM", b"S", b"SA", b"SE", b"SG", b"SK", b"SL",
    b"SM", b"SN", b"SO", b"SP", b"SR", b"SS", b"ST", b"SW", b"SY", b"TA", b"TD", b"TF", b"TN", b"TQ", b"TR", b"TS",
    b"TW", b"UB", b"W", b"WA", b"WC", b"WD", b"WF", b"WN", b"WR", b"WS", b"WV", b"YO", b"ZE",
];

/// A postcode of an area that there is; another may be a code of anything, and so may one that ends as a size in bytes
/// does ("G4 8GB").
fn uk_postcode(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value().to_ascii_uppercase();
    let digit = value.find(|c: char| !c.is_ascii_alphabetic())?;
    let area = &value.as_bytes()[..digit];
    if area.is_empty() {
        return None;
    }
    let known = area == b"GIR" || UK_POSTCODE_AREAS.contains(&area);
    let size = value.ends_with("GB") || value.ends_with("TB");
    Some(if known && !size { check.keep() } else { check.rescore(0.1) })
}

/// DVLA, Driver Validation Service, driver number: five of the surname, filled up with nines; the decade of birth; the
/// month, with 50 added for a woman; the day; the year's last digit; two initials or nines; two check characters, whose
/// arithmetic is not published.
fn uk_driving_licence(check: &Check<'_>) -> Option<Verdict> {
    let n = check.alphanumerics::<16>()?;
    let surname = n[..5].iter().position(|&b| b == b'9').unwrap_or(5);
    let d = numerals::<6>(&n[5..11])?;
    let month = two(&d[1..]) % 50;
    let plausible = surname > 0
        && n[..surname].iter().all(u8::is_ascii_alphabetic)
        && n[surname..5].iter().all(|&b| b == b'9')
        && is_short_date(u32::from(d[0]) * 10 + u32::from(d[5]), month, two(&d[3..]));
    plausible.then(|| check.keep())
}

/// DVLA INF104: the age identifier of a current mark is the year's last two digits from March (02 to 29 so far and soon)
/// and those and 50 from September (51 to 79).
fn uk_vehicle_age(check: &Check<'_>) -> Option<Verdict> {
    let n = check.alphanumerics::<7>()?;
    let age = two(&numerals::<2>(&n[2..4])?);
    matches!(age, 2..=29 | 51..=79).then(|| check.keep())
}

/// KBV, Richtlinie zur Vergabe der Arzt- und Betriebsstättennummern: nine digits without a check digit. Zeros are not one.
fn de_bsnr(check: &Check<'_>) -> Option<Verdict> {
    (lone_digits::<9>(check)? != [0; 9]).then(|| check.keep())
}

/// KBV, the same guideline: six digits, a check digit (weights 4 and 9, modulus 10), two digits of the specialty.
fn de_lanr(check: &Check<'_>) -> Option<Verdict> {
    let d = lone_digits::<9>(check)?;
    let sum = weighted_sum(&d[..6], &[4, 9, 4, 9, 4, 9]);
    ((10 - sum % 10) % 10 == u32::from(d[6]) && d != [0; 9]).then(|| check.keep())
}

/// § 139b AO; BZSt, Steuer-ID: MOD 11,10; of the first ten digits exactly one stands two or three times. Numbers in
/// which none does, as in specimens, count for less.
fn de_tax_id(check: &Check<'_>) -> Option<Verdict> {
    let d = lone_digits::<11>(check)?;
    if d[0] == 0 || !mod_11_10(&d) {
        return None;
    }
    let mut times = [0; 10];
    for &digit in &d[..10] {
        times[usize::from(digit)] += 1;
    }
    let repeated = times.iter().filter(|&&n| n > 1).count();
    match times.iter().max() {
        Some(2 | 3) if repeated == 1 => Some(check.keep()),
        Some(1..=3) => Some(check.rescore(0.15)),
        _ => None,
    }
}

/// § 27a UStG; MOD 11,10. The office does not promise the check digit, so that a number without it is only less likely.
fn de_vat_id(check: &Check<'_>) -> Option<Verdict> {
    Some(if mod_11_10(&check.digits::<9>()?) { check.keep() } else { check.rescore(0.35) })
}

/// VKVV § 2: area, date of birth (50 added to the day where numbers ran out), the surname's initial as two digits, a
/// serial number; weights 2 1 2 5 7 1 2 1 2 1 2 1, sums of the products' digits, modulus 10.
fn de_pension(check: &Check<'_>) -> Option<Verdict> {
    let n = check.alphanumerics::<12>()?;
    let initial = ordinal(n[8]);
    let (front, serial) = (numerals::<8>(&n[..8])?, numerals::<3>(&n[9..])?);
    let mut d = [0; 12];
    d[..8].copy_from_slice(&front);
    (d[8], d[9]) = (initial / 10, initial % 10);
    d[10..].copy_from_slice(&serial[..2]);
    let sum: u32 = d
        .iter()
        .zip([2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1])
        .map(|(&d, weight)| u32::from(d) * weight)
        .map(|product| product / 10 + product % 10)
        .sum();
    let day = two(&d[2..]);
    let day = if day > 50 { day - 50 } else { day };
    let valid = sum % 10 == u32::from(serial[2]) && is_short_date(two(&d[6..]), two(&d[4..]), day);
    valid.then(|| check.keep())
}

/// § 290 SGB V, GKV-Spitzenverband: the letter as two digits, weights 1 and 2, sums of the products' digits, modulus 10.
fn de_health(check: &Check<'_>) -> Option<Verdict> {
    let n = check.alphanumerics::<10>()?;
    let (letter, rest) = (ordinal(n[0]), numerals::<9>(&n[1..])?);
    let mut d = [letter / 10, letter % 10, 0, 0, 0, 0, 0, 0, 0, 0];
    d[2..].copy_from_slice(&rest[..8]);
    let sum: u32 = d
        .iter()
        .zip([1, 2, 1, 2, 1, 2, 1, 2, 1, 2])
        .map(|(&d, weight)| u32::from(d) * weight)
        .map(|product| product / 10 + product % 10)
        .sum();
    (sum % 10 == u32::from(rest[8])).then(|| check.keep())
}

/// ICAO 9303-3, 4.9: weights 7 3 1, letters from 10, modulus 10; the last one is the check digit.
fn is_document_checked(characters: &[u8]) -> bool {
    let Some((check, rest)) = characters.split_last() else { return false };
    let sum: u32 = rest.iter().zip([7, 3, 1].iter().cycle()).map(|(&b, weight)| u32::from(base36(b)) * weight).sum();
    check.is_ascii_digit() && sum % 10 == u32::from(check - b'0')
}

/// Nine characters of which the last checks the others, as the field takes them to be. Identity cards begin with one of
/// L to Y; those before 2010 were T and eight digits, which checked nothing.
fn de_id_card(check: &Check<'_>) -> Option<Verdict> {
    let n = check.alphanumerics::<9>()?;
    if n[0] == b'T' && n[1..].iter().all(u8::is_ascii_digit) {
        return Some(check.rescore(0.2));
    }
    is_document_checked(&n).then(|| if b"LMNPRTVWXY".contains(&n[0]) { check.keep() } else { check.rescore(0.2) })
}

/// The same of passports, which begin with one of C to K.
fn de_passport(check: &Check<'_>) -> Option<Verdict> {
    let n = check.alphanumerics::<9>()?;
    is_document_checked(&n).then(|| if b"CFGHJK".contains(&n[0]) { check.keep() } else { check.rescore(0.2) })
}

/// A German serial number (PAuswG § 5, PassG § 4: nine characters) with the check digit that the machine-readable zone
/// adds.
fn de_document_checked(check: &Check<'_>) -> Option<Verdict> {
    is_document_checked(&check.alphanumerics::<10>()?).then(|| check.keep())
}

/// FeV, Anlage 8: authority (four), serial (five), check character, copy. Weights 9 to 1, letters from 10, modulus 11,
/// where X is ten.
fn de_driving_licence(check: &Check<'_>) -> Option<Verdict> {
    let n = check.alphanumerics::<11>()?;
    let sum: u32 = n[..9].iter().zip((1..=9).rev()).map(|(&b, weight)| u32::from(base36(b)) * weight).sum();
    let expected = b"0123456789X"[(sum % 11) as usize];
    (n[9] == expected).then(|| check.keep())
}

/// FZV § 9: neither the end of a longer name joined by hyphens nor the beginning of a longer number.
fn de_plate(check: &Check<'_>) -> Option<Verdict> {
    let joined = matches!(check.before(), [.., b'-'])
        || matches!(check.after(check.end), [b'-' | b'.', d, ..] if d.is_ascii_digit());
    (!joined).then(|| check.keep())
}

/// The control letters of RD 1553/2005, by the number modulo 23.
const ES_LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";

/// RD 1553/2005, DNI/NIF: up to eight digits and the letter of the number modulo 23.
fn es_nif(check: &Check<'_>) -> Option<Verdict> {
    let (letter, rest) = check.value().as_bytes().split_last()?;
    let mut number = 0;
    let mut digits = 0;
    for byte in rest.iter().filter(|b| b.is_ascii_digit()) {
        number = number * 10 + usize::from(byte - b'0');
        digits += 1;
        if digits > 8 {
            return None;
        }
    }
    (digits > 0 && letter.to_ascii_uppercase() == ES_LETTERS[number % 23]).then(|| check.keep())
}

/// RD 557/2011, NIE: X, Y or Z stands for 0, 1 or 2; then as the NIF.
fn is_nie(n: &[u8; 9]) -> bool {
    let Some(d) = numerals::<7>(&n[1..8]) else { return false };
    let number = u64::from(n[0].wrapping_sub(b'X')) * 10_000_000 + number(&d);
    (b'X'..=b'Z').contains(&n[0]) && n[8] == ES_LETTERS[(number % 23) as usize]
}

fn es_nie(check: &Check<'_>) -> Option<Verdict> {
    is_nie(&check.alphanumerics::<9>()?).then(|| check.keep())
}

/// Orden EHA/451/2008, the NIF of what is not a natural person: Luhn's digit, or the letter for it (A is 1, J is 0); K, L
/// and M (children, Spaniards abroad, foreigners) have the letter of the NIF.
fn is_cif(n: &[u8; 9]) -> bool {
    let Some(d) = numerals::<7>(&n[1..8]) else { return false };
    if matches!(n[0], b'K' | b'L' | b'M') {
        return n[8] == ES_LETTERS[(number(&d) % 23) as usize];
    }
    let mut luhned = [0; 8];
    luhned[..7].copy_from_slice(&d);
    let Some(digit) = (0..10).find(|&digit| {
        luhned[7] = digit;
        luhn(&luhned)
    }) else {
        return false;
    };
    let letter = b"JABCDEFGHI"[usize::from(digit)];
    match n[0] {
        b'A' | b'B' | b'E' | b'H' => n[8] == digit + b'0',
        b'N' | b'P' | b'Q' | b'R' | b'S' | b'W' => n[8] == letter,
        b'C' | b'D' | b'F' | b'G' | b'J' | b'U' | b'V' => n[8] == digit + b'0' || n[8] == letter,
        _ => false,
    }
}

fn es_cif(check: &Check<'_>) -> Option<Verdict> {
    is_cif(&check.alphanumerics::<9>()?).then(|| check.keep())
}

/// Laki väestötietojärjestelmästä 661/2009, DVV: date, the sign of the century, an individual number, and the control
/// character of all nine digits modulo 31.
fn fi_identity_code(check: &Check<'_>) -> Option<Verdict> {
    let n: [u8; 11] = check.value().as_bytes().try_into().ok()?;
    let century = match n[6].to_ascii_uppercase() {
        b'+' => 1800,
        b'-' | b'U'..=b'Y' => 1900,
        b'A'..=b'F' => 2000,
        _ => return None,
    };
    let (date, individual) = (numerals::<6>(&n[..6])?, numerals::<3>(&n[7..10])?);
    let control = b"0123456789ABCDEFHJKLMNPRSTUVWXY"[((number(&date) * 1000 + number(&individual)) % 31) as usize];
    let valid = n[10].to_ascii_uppercase() == control
        && number(&individual) >= 2
        && is_date(century + two(&date[4..]), two(&date[2..]), two(&date));
    valid.then(|| check.keep())
}

/// What the characters in the odd places of a fiscal code count for, `0` to `9` and `A` to `J` alike.
const IT_ODD: [u8; 26] = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];

/// DM 23 dicembre 1976: consonants before vowels before `X` in the names' letters; the date (40 added to a woman's day),
/// with letters for digits where two persons would have the same code; the control letter, modulus 26. One whose control
/// letter is wrong still has the form that nothing else has, and may be a person's with a slip of the pen.
fn it_fiscal_code(check: &Check<'_>) -> Option<Verdict> {
    let n = check.alphanumerics::<16>()?;
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        _ => b"LMNPQRSTUV".iter().position(|&l| l == b).map(|place| place as u8),
    };
    let name = |letters: &[u8]| {
        let letters = &letters[letters.iter().take_while(|l| !b"AEIOU".contains(l)).count()..];
        let letters = &letters[letters.iter().take_while(|l| b"AEIOU".contains(l)).count()..];
        letters.iter().all(|&l| l == b'X')
    };
    let year = [digit(n[6])?, digit(n[7])?];
    let month = b"ABCDEHLMPRST".iter().position(|&l| l == n[8])? as u32 + 1;
    let day = two(&[digit(n[9])?, digit(n[10])?]);
    let day = if day > 40 { day - 40 } else { day };
    let place = [digit(n[12])?, digit(n[13])?, digit(n[14])?];
    let shaped = name(&n[..3])
        && name(&n[3..6])
        && is_short_date(two(&year), month, day)
        && (matches!(n[11], b'A'..=b'M' | b'Z'))
        && place != [0; 3];
    if !shaped {
        return None;
    }
    let value = |b: u8| if b.is_ascii_digit() { b - b'0' } else { b.wrapping_sub(b'A') };
    let sum: u32 = n[..15]
        .iter()
        .enumerate()
        .map(|(i, &b)| u32::from(if i % 2 == 0 { IT_ODD[usize::from(value(b) % 26)] } else { value(b) }))
        .sum();
    Some(if n[15] == b'A' + (sum % 26) as u8 { check.keep() } else { check.rescore(0.3) })
}

/// DPR 633/1972 art. 35, DM 23 dicembre 1976: Luhn's digit; the eighth to tenth digits say which office gave it.
fn is_it_vat(d: &[u8; 11]) -> bool {
    luhn(d) && d[..7] != [0; 7]
}

fn it_vat(check: &Check<'_>) -> Option<Verdict> {
    let d = lone_digits::<11>(check)?;
    let office = matches!(number(&d[7..10]), 1..=100 | 120 | 121 | 888 | 999);
    is_it_vat(&d).then(|| if office { check.keep() } else { check.rescore(0.1) })
}

/// Ustawa o ewidencji ludności, art. 15: date of birth, with 80, 20, 40 or 60 added to the month for 1800, 2000, 2100 or
/// 2200; weights 1 3 7 9, modulus 10.
fn pl_pesel(check: &Check<'_>) -> Option<Verdict> {
    let d = lone_digits::<11>(check)?;
    let month = two(&d[2..]);
    let century = [1900, 2000, 2100, 2200, 1800][(month / 20) as usize];
    let sum = weighted_sum(&d, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]);
    let valid = sum.is_multiple_of(10) && is_date(century + two(&d), month % 20, two(&d[4..]));
    valid.then(|| check.keep())
}

/// Folkbokföringslagen § 18, Skatteverket SKV 704: date of birth (60 added to the day of a coordination number), a serial
/// number, and Luhn's digit over the ten last digits.
fn se_personnummer(check: &Check<'_>) -> Option<Verdict> {
    let (d, year) = match lone_digits::<12>(check) {
        Some(d) => {
            let century = two(&d);
            if !(18..=20).contains(&century) {
                return None;
            }
            (d, century * 100 + two(&d[2..]))
        }
        None => {
            let mut d = [0; 12];
            d[2..].copy_from_slice(&lone_digits::<10>(check)?);
            (d, 2000 + two(&d[2..]))
        }
    };
    let day = two(&d[6..]);
    let day = if day > 60 { day - 60 } else { day };
    (luhn(&d[2..]) && is_date(year, two(&d[4..]), day)).then(|| check.keep())
}

/// Lag (1974:174), Skatteverket SKV 709: the third digit is at least 2, so that it is no month; Luhn's digit; `16` may
/// stand before it.
fn se_organisationsnummer(check: &Check<'_>) -> Option<Verdict> {
    let d = match lone_digits::<10>(check) {
        Some(d) => d,
        None => match lone_digits::<12>(check)? {
            [1, 6, d @ ..] => d,
            _ => return None,
        },
    };
    (d[2] >= 2 && d[0] > 0 && luhn(&d)).then(|| check.keep())
}

/// NVI, T.C. kimlik numarası: the tenth digit is seven times the odd places less the even ones, the eleventh the sum of
/// the ten before it, both modulo 10.
fn tr_national_id(check: &Check<'_>) -> Option<Verdict> {
    let d = lone_digits::<11>(check)?;
    let odd = weighted_sum(&d[..9], &[1, 0, 1, 0, 1, 0, 1, 0, 1]);
    let even = weighted_sum(&d[..9], &[0, 1, 0, 1, 0, 1, 0, 1, 0]);
    let valid = d[0] > 0
        // Nine is minus one, as the even places count for.
        && (odd * 7 + even * 9) % 10 == u32::from(d[9])
        && weighted_sum(&d[..10], &[1; 10]) % 10 == u32::from(d[10]);
    valid.then(|| check.keep())
}

/// Code de la sécurité sociale R. 115-1, INSEE: sex, year, month, département and commune of birth, serial number, and
/// the key, 97 less the number modulo 97, where Corsica's 2A and 2B count as 19 and 18. Without a key there is nothing to
/// check but the form.
fn fr_nir(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value().bytes().filter(u8::is_ascii_alphanumeric);
    let mut d = [0; 15];
    let mut length = 0;
    for byte in value {
        *d.get_mut(length)? = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A' | b'a' if length == 6 && d[5] == 2 => {
                d[5] = 1;
                9
            }
            b'B' | b'b' if length == 6 && d[5] == 2 => {
                d[5] = 1;
                8
            }
            _ => return None,
        };
        length += 1;
    }
    let month = two(&d[3..]);
    let shaped = matches!(d[0], 1..=4 | 7 | 8)
        && matches!(month, 1..=12 | 20 | 30..=42 | 50..=99)
        && two(&d[5..]) > 0
        && number(&d[7..10]) > 0
        && number(&d[10..13]) > 0;
    let keyed = match length {
        13 => true,
        15 => 97 - number(&d[..13]) % 97 == number(&d[13..]),
        _ => false,
    };
    (shaped && keyed).then(|| check.keep())
}

/// Besluit burgerservicenummer: the eleven test, weights 9 to 2 and minus one.
fn is_bsn(d: &[u8; 9]) -> bool {
    // Ten is minus one.
    weighted_sum(d, &[9, 8, 7, 6, 5, 4, 3, 2, 10]).is_multiple_of(11) && d[..3] != [0; 3]
}

fn nl_bsn(check: &Check<'_>) -> Option<Verdict> {
    let d = match lone_digits::<9>(check) {
        Some(d) => d,
        None => {
            let mut d = [0; 9];
            d[1..].copy_from_slice(&lone_digits::<8>(check)?);
            d
        }
    };
    is_bsn(&d).then(|| check.keep())
}

/// AR/KB 3 April 1984, art. 3: date of birth (which may be unknown in part; 20 or 40 added to the month of a BIS number), a
/// serial number, and 97 less the nine digits modulo 97, with a 2 before them for who was born from 2000 on.
fn be_national_number(check: &Check<'_>) -> Option<Verdict> {
    let d = lone_digits::<11>(check)?;
    let (front, key) = (number(&d[..9]), number(&d[9..]));
    let keyed = 97 - front % 97 == key || 97 - (2_000_000_000 + front) % 97 == key;
    let month = two(&d[2..]);
    let dated = month < 60 && month % 20 <= 12 && two(&d[4..]) <= 31 && matches!(number(&d[6..9]), 1..=998);
    (keyed && dated).then(|| check.keep())
}

/// AHVV art. 133: thirteen digits that begin with the country, 756, and end as an EAN-13 does.
fn ch_ahv(check: &Check<'_>) -> Option<Verdict> {
    let d = lone_digits::<13>(check)?;
    let sum = weighted_sum(&d, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]);
    (d[..3] == [7, 5, 6] && sum.is_multiple_of(10)).then(|| check.keep())
}

/// ASVG § 31, Dachverband der Sozialversicherungsträger: three digits, a check digit (weights 3 7 9 . 5 8 4 2 1 6, modulus
/// 11, never ten), the date of birth, whose month may be 13 to 15 where numbers ran out.
fn at_svnr(check: &Check<'_>) -> Option<Verdict> {
    let d = lone_digits::<10>(check)?;
    let sum = weighted_sum(&d, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]);
    let (day, month, year) = (two(&d[4..]), two(&d[6..]), two(&d[8..]));
    let dated = is_short_date(year, month, day) || matches!((month, day), (13..=15, 1..=31));
    (d[0] > 0 && sum % 11 == u32::from(d[3]) && dated).then(|| check.keep())
}

/// DL 463/79; Portaria 386/98: weights 9 to 2, eleven less the sum modulo 11, ten and more being zero; the first digits
/// say whose it is.
fn is_pt_nif(d: &[u8; 9]) -> bool {
    let sum = weighted_sum(d, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    let expected = if sum < 2 { 0 } else { 11 - sum };
    let holder = matches!(two(d), 10..=39 | 45 | 50..=69 | 70..=72 | 74 | 75 | 77..=79 | 80..=89 | 90 | 91 | 98 | 99);
    holder && expected == u32::from(d[8])
}

fn pt_nif(check: &Check<'_>) -> Option<Verdict> {
    is_pt_nif(&lone_digits::<9>(check)?).then(|| check.keep())
}

/// CPR-kontoret, Personnummeret i CPR: the date of birth and a serial number. Numbers given since 2007 need not pass modulus
/// 11 (weights 4 3 2 7 6 5 4 3 2 1), so that one that does not is only less likely.
fn dk_cpr(check: &Check<'_>) -> Option<Verdict> {
    let d = lone_digits::<10>(check)?;
    if !is_short_date(two(&d[4..]), two(&d[2..]), two(&d)) {
        return None;
    }
    let checked = weighted_sum(&d, &[4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11);
    Some(if checked { check.keep() } else { check.rescore(0.3) })
}

/// Folkeregisterforskriften § 2-2-1; Skatteetaten: date of birth (40 added to the day of a D number; to the month 40 or 80
/// for helping and test numbers), individual number, two check digits of modulus 11.
fn no_fodselsnummer(check: &Check<'_>) -> Option<Verdict> {
    let d = lone_digits::<11>(check)?;
    let checked = weighted_sum(&d, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]).is_multiple_of(11)
        && weighted_sum(&d, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11);
    let (day, month) = (two(&d), two(&d[2..]));
    let day = if day > 40 { day - 40 } else { day };
    (checked && is_short_date(two(&d[4..]), month % 40, day)).then(|| check.keep())
}

/// Zákon č. 133/2000 Sb. § 13; zákon č. 301/1995 Z. z. § 2: date of birth (50 added to a woman's month; 20 or 70 where
/// numbers ran out), and a serial number: four digits that make the whole divisible by 11 (or, until 1985, whose last is
/// 0 where the others leave 10), or three, unchecked, until 1953.
fn is_birth_number(d: &[u8]) -> bool {
    let (year, month, day) = (two(d), two(&d[2..]), two(&d[4..]));
    if let [front @ .., last] = d
        && d.len() == 10
    {
        let rest = number(front) % 11;
        let year = if year < 54 { 2000 + year } else { 1900 + year };
        let month = if month > 50 { month - 50 } else { month };
        let month = if month > 20 && year >= 2004 { month - 20 } else { month };
        (rest % 10 == u64::from(*last) && (rest < 10 || year < 1986)) && is_date(year, month, day)
    } else {
        let month = if month > 50 { month - 50 } else { month };
        d.len() == 9 && year < 54 && is_date(1900 + year, month, day) && d[6..] != [0; 3]
    }
}

fn birth_number(check: &Check<'_>) -> Option<Verdict> {
    if let Some(d) = lone_digits::<10>(check) {
        return is_birth_number(&d).then(|| check.keep());
    }
    is_birth_number(&lone_digits::<9>(check)?).then(|| check.rescore(0.35))
}

/// HG 1375/2006, OUG 97/2005: sex and century, date of birth, county, serial number; weights 2 7 9 1 4 6 3 5 8 2 7 9,
/// modulus 11, where ten is 1.
fn ro_cnp(check: &Check<'_>) -> Option<Verdict> {
    let d = lone_digits::<13>(check)?;
    let century = match d[0] {
        3 | 4 => 1800,
        5 | 6 => 2000,
        1 | 2 | 7..=9 => 1900,
        _ => return None,
    };
    let year = two(&d[1..]);
    let (month, day) = (two(&d[3..]), two(&d[5..]));
    let dated = is_date(century + year, month, day) || (d[0] >= 7 && is_short_date(year, month, day));
    let county = matches!(two(&d[7..]), 1..=48 | 51 | 52 | 70 | 80..=83);
    let sum = weighted_sum(&d, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
    let expected = if sum == 10 { 1 } else { sum };
    (dated && county && expected == u32::from(d[12])).then(|| check.keep())
}

/// Zakon za grazhdanskata registratsia, art. 11; GRAO: date of birth (20 or 40 added to the month for 1800 or 2000), serial
/// number; weights 2 4 8 5 10 9 7 3 6, modulus 11, where ten is 0.
fn is_egn(d: &[u8; 10]) -> bool {
    let month = two(&d[2..]);
    let Some(century) = [1900, 1800, 2000].get((month / 20) as usize) else { return false };
    weighted_sum(d, &[2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11 % 10 == u32::from(d[9])
        && is_date(century + two(d), month % 20, two(&d[4..]))
}

fn bg_egn(check: &Check<'_>) -> Option<Verdict> {
    is_egn(&lone_digits::<10>(check)?).then(|| check.keep())
}

/// Law 3655/2008 art. 153, IDIKA: date of birth, serial number, Luhn's digit.
fn gr_amka(check: &Check<'_>) -> Option<Verdict> {
    let d = lone_digits::<11>(check)?;
    (luhn(&d) && is_short_date(two(&d[4..]), two(&d[2..]), two(&d))).then(|| check.keep())
}

/// Social Welfare Consolidation Act 2005 s. 262; Revenue, format of the PPS number: weights 8 to 2, and 9 for the letter
/// after the check letter, modulus 23, where W is 0.
fn is_ppsn(digits: &[u8; 7], letter: u8, second: Option<u8>) -> bool {
    let second = match second {
        None | Some(b'W') => 0,
        Some(second) => u32::from(ordinal(second)),
    };
    let sum = weighted_sum(digits, &[8, 7, 6, 5, 4, 3, 2]) + 9 * second;
    letter == b"WABCDEFGHIJKLMNOPQRSTUV"[(sum % 23) as usize]
}

fn ie_ppsn(check: &Check<'_>) -> Option<Verdict> {
    let (n, second) = match check.alphanumerics::<8>() {
        Some(n) => (n, None),
        None => {
            let [n @ .., second] = check.alphanumerics::<9>()?;
            (n, Some(second))
        }
    };
    // T and X were written for a wife who used her husband's number; the arithmetic does not know them.
    let second = second.filter(|second| !b"TX".contains(second));
    let d = numerals::<7>(&n[..7])?;
    (d != [0; 7] && is_ppsn(&d, n[7], second)).then(|| check.keep())
}

/// The numbers under which the member states, and Great Britain, Northern Ireland, Switzerland and Norway, know those who
/// pay value added tax: Directive 2006/112/EC art. 215; the structures as VIES publishes them; the check digits as each
/// state publishes them.
fn eu_vat(check: &Check<'_>) -> Option<Verdict> {
    let mut buffer = [0; 20];
    let mut length = 0;
    for byte in check.value().bytes().filter(u8::is_ascii_alphanumeric) {
        *buffer.get_mut(length)? = byte.to_ascii_uppercase();
        length += 1;
    }
    let n = &buffer[..length];
    let (state, n) = n.split_at_checked(2)?;
    // Two to five digits after two letters are more often something else.
    let short = state == b"RO" && n.len() < 6;
    is_vat_of(state, n).then(|| if short { check.rescore(0.1) } else { check.keep() })
}

/// Whether `n` (capitals and digits) is a number of a state's.
fn is_vat_of(state: &[u8], n: &[u8]) -> bool {
    match state {
        b"AT" => n.strip_prefix(b"U").and_then(numerals::<8>).is_some_and(|d| is_at_vat(&d)),
        b"BE" => numerals::<10>(n).is_some_and(|d| d[0] < 2 && 97 - number(&d[..8]) % 97 == number(&d[8..])),
        b"BG" => match n.len() {
            9 => numerals(n).is_some_and(|d| is_bg_vat(&d)),
            _ => numerals(n).is_some_and(|d| is_bg_vat_of_person(&d)),
        },
        b"CY" => n.split_last().is_some_and(|(&letter, n)| numerals(n).is_some_and(|d| is_cy_vat(&d, letter))),
        b"CZ" => is_cz_vat(n),
        b"DE" => numerals::<9>(n).is_some_and(|d| d[0] > 0 && mod_11_10(&d)),
        b"DK" => {
            numerals::<8>(n).is_some_and(|d| d[0] > 0 && weighted_sum(&d, &[2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11))
        }
        b"EE" => numerals::<9>(n)
            .is_some_and(|d| d[..2] == [1, 0] && weighted_sum(&d, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)),
        b"EL" | b"GR" => numerals::<9>(n).is_some_and(|d| {
            let sum = weighted_sum(&d, &[256, 128, 64, 32, 16, 8, 4, 2]);
            d != [0; 9] && sum % 11 % 10 == u32::from(d[8])
        }),
        b"ES" => n.try_into().is_ok_and(|n| is_cif(n) || is_nie(n) || is_dni(n)),
        b"FI" => numerals::<8>(n)
            .is_some_and(|d| d != [0; 8] && weighted_sum(&d, &[7, 9, 10, 5, 8, 4, 2, 1]).is_multiple_of(11)),
        b"FR" => is_fr_vat(n),
        b"HR" => numerals::<11>(n).is_some_and(|d| mod_11_10(&d)),
        b"HU" => numerals::<8>(n)
            .is_some_and(|d| d != [0; 8] && weighted_sum(&d, &[9, 7, 3, 1, 9, 7, 3, 1]).is_multiple_of(10)),
        b"IE" => is_ie_vat(n),
        b"IT" => numerals(n).is_some_and(|d| is_it_vat(&d)),
        b"LT" => match n.len() {
            9 => numerals::<9>(n).is_some_and(|d| d[7] == 1 && is_lt_vat(&d)),
            _ => numerals::<12>(n).is_some_and(|d| d[10] == 1 && is_lt_vat(&d)),
        },
        b"LU" => numerals::<8>(n).is_some_and(|d| number(&d) > 0 && number(&d[..6]) % 89 == number(&d[6..])),
        b"LV" => numerals(n).is_some_and(|d| is_lv_vat(&d)),
        b"MT" => numerals::<8>(n)
            .is_some_and(|d| d[0] > 0 && weighted_sum(&d, &[3, 4, 6, 7, 8, 9, 10, 1]).is_multiple_of(37)),
        b"NL" => is_nl_vat(n),
        b"PL" => numerals::<10>(n).is_some_and(|d| {
            d[..3] != [0; 3] && weighted_sum(&d, &[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11 == u32::from(d[9])
        }),
        b"PT" => numerals(n).is_some_and(|d| is_pt_nif(&d)),
        b"RO" => is_ro_vat(n),
        b"SE" => n.split_at_checked(10).is_some_and(|(d, suffix)| {
            numerals::<10>(d).is_some_and(|d| luhn(&d) && d != [0; 10])
                && numerals::<2>(suffix).is_some_and(|d| matches!(two(&d), 1..=94))
        }),
        b"SI" => numerals::<8>(n).is_some_and(|d| {
            let sum = weighted_sum(&d, &[8, 7, 6, 5, 4, 3, 2]) % 11;
            d[0] > 0 && sum > 0 && (11 - sum) % 10 == u32::from(d[7])
        }),
        b"SK" => numerals::<10>(n)
            .is_some_and(|d| d[0] > 0 && matches!(d[2], 2..=4 | 7..=9) && number(&d).is_multiple_of(11)),
        b"GB" | b"XI" => is_gb_vat(n),
        // The Swiss number begins with the country's three letters, and ends with the tax in one of four languages.
        b"CH" => n.strip_prefix(b"E").and_then(|n| n.split_at_checked(9)).is_some_and(|(d, tax)| {
            [&b"MWST"[..], b"TVA", b"IVA", b"TPV", b""].contains(&tax) && numerals(d).is_some_and(|d| is_ch_uid(&d))
        }),
        b"NO" => n.strip_suffix(b"MVA").and_then(numerals::<9>).is_some_and(|d| {
            let sum = weighted_sum(&d, &[3, 2, 7, 6, 5, 4, 3, 2, 1]);
            matches!(d[0], 8 | 9) && sum.is_multiple_of(11)
        }),
        _ => false,
    }
}

/// BMF, UID-Nummer: Luhn's weights, and 96 less the sum.
fn is_at_vat(d: &[u8; 8]) -> bool {
    let sum: u32 = d[..7]
        .iter()
        .zip([1, 2, 1, 2, 1, 2, 1])
        .map(|(&d, weight)| u32::from(d) * weight)
        .map(|product| product / 10 + product % 10)
        .sum();
    (96 - sum) % 10 == u32::from(d[7])
}

/// Registar BULSTAT, nine digits: weights 1 to 8, modulus 11, and if that is ten, weights 3 to 10.
fn is_bg_vat(d: &[u8; 9]) -> bool {
    let first = weighted_sum(d, &[1, 2, 3, 4, 5, 6, 7, 8]) % 11;
    let sum = if first < 10 { first } else { weighted_sum(d, &[3, 4, 5, 6, 7, 8, 9, 10]) % 11 };
    *d != [0; 9] && sum % 10 == u32::from(d[8])
}

/// Ten digits: a citizen's number, a foreigner's (weights 21 to 1, modulus 10), or another's (modulus 11).
fn is_bg_vat_of_person(d: &[u8; 10]) -> bool {
    let foreigner = weighted_sum(d, &[21, 19, 17, 13, 11, 9, 7, 3, 1]) % 10;
    let other = (11 - weighted_sum(d, &[4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    *d != [0; 10] && (is_egn(d) || foreigner == u32::from(d[9]) || other == u32::from(d[9]))
}

/// Cyprus' Tax Department: the digits in odd places count as in an Italian fiscal code; the letter is the sum modulo 26.
fn is_cy_vat(d: &[u8; 8], letter: u8) -> bool {
    let sum: u32 =
        d.iter().enumerate().map(|(i, &d)| u32::from(if i % 2 == 0 { IT_ODD[usize::from(d)] } else { d })).sum();
    d[..2] != [1, 2] && letter == b'A' + (sum % 26) as u8
}

/// Zákon č. 235/2004 Sb.: a company's eight digits (weights 8 to 2, modulus 11), a birth number, or nine digits from 6 on.
fn is_cz_vat(n: &[u8]) -> bool {
    if let Some(d) = numerals::<8>(n) {
        let sum = weighted_sum(&d, &[8, 7, 6, 5, 4, 3, 2]) % 11;
        return d[0] < 9 && d != [0; 8] && (11 - sum) % 10 == u32::from(d[7]);
    }
    if let Some(d) = numerals::<9>(n) {
        let sum = weighted_sum(&d[1..], &[8, 7, 6, 5, 4, 3, 2]) % 11;
        // 8 less what is missing to ten, modulo 11.
        let special = d[0] == 6 && (18 - (21 - sum) % 11) % 10 == u32::from(d[8]);
        return special || is_birth_number(&d);
    }
    numerals::<10>(n).is_some_and(|d| is_birth_number(&d))
}

fn is_dni(n: &[u8; 9]) -> bool {
    numerals::<8>(&n[..8]).is_some_and(|d| n[8] == ES_LETTERS[(number(&d) % 23) as usize])
}

/// CGI art. 286 ter: a key, and the SIREN, which Luhn's digit ends (not Monaco's, which begin with 000). A key of digits is
/// 12 and three times the SIREN modulo 97; one with letters is of a series that only counts to 11.
fn is_fr_vat(n: &[u8]) -> bool {
    let Some((key, Some(d))) = n.split_at_checked(2).map(|(key, n)| (key, numerals::<9>(n))) else { return false };
    let siren = number(&d);
    if siren == 0 || !(luhn(&d) || d[..3] == [0; 3]) {
        return false;
    }
    if let Some(key) = numerals::<2>(key) {
        return (12 + 3 * (siren % 97)) % 97 == u64::from(two(&key));
    }
    let place = |b: &u8| b"0123456789ABCDEFGHJKLMNPQRSTUVWXYZ".iter().position(|a| a == b).map(|i| i as u64);
    let (Some(first), Some(second)) = (place(&key[0]), place(&key[1])) else { return false };
    let key = if first < 10 { (first * 24 + second).checked_sub(10) } else { (first * 34 + second).checked_sub(100) };
    key.is_some_and(|key| (siren + 1 + key / 11) % 11 == key % 11)
}

/// Revenue, VAT numbers: the PPS number's arithmetic; before 2013 the second character could be a letter or a sign, which
/// stands for a seventh digit in front.
fn is_ie_vat(n: &[u8]) -> bool {
    match *n {
        [ref d @ .., letter] if n.len() == 8 && d[1].is_ascii_digit() => {
            numerals::<7>(d).is_some_and(|d| is_ppsn(&d, letter, None))
        }
        [first, _, ref rest @ .., letter] if n.len() == 8 => {
            let mut d = [0; 7];
            let (Some([first]), Some(rest)) = (numerals::<1>(&[first]), numerals::<5>(rest)) else { return false };
            d[1..6].copy_from_slice(&rest);
            d[6] = first;
            is_ppsn(&d, letter, None)
        }
        [ref d @ .., letter, second] if n.len() == 9 => {
            numerals::<7>(d).is_some_and(|d| is_ppsn(&d, letter, Some(second)))
        }
        _ => false,
    }
}

/// VMI: weights 1 to 9 and again from 1, modulus 11, and if that is ten, from 3 on; ten is 0.
fn is_lt_vat(d: &[u8]) -> bool {
    let Some((&check, rest)) = d.split_last() else { return false };
    let sum = |from: usize| -> usize {
        rest.iter().enumerate().map(|(i, &d)| (1 + (i + from) % 9) * usize::from(d)).sum::<usize>() % 11
    };
    let first = sum(0);
    (if first < 10 { first } else { sum(2) % 10 }) == usize::from(check)
}

/// VID: a company's (weights 9 1 4 8 3 10 2 5 7 6 1, modulus 11, always 3), or a person's: with a date of birth, or since
/// 2017 from 32 on (weights 10 5 8 4 2 1 6 3 7 9, and 1).
fn is_lv_vat(d: &[u8; 11]) -> bool {
    if d[0] > 3 {
        return weighted_sum(d, &[9, 1, 4, 8, 3, 10, 2, 5, 7, 6, 1]) % 11 == 3;
    }
    let dated = d[6] < 3 && is_date(1800 + 100 * u32::from(d[6]) + two(&d[4..]), two(&d[2..]), two(d));
    let sum = 1 + weighted_sum(d, &[10, 5, 8, 4, 2, 1, 6, 3, 7, 9]);
    (dated || d[..2] == [3, 2]) && sum % 11 % 10 == u32::from(d[10])
}

/// Belastingdienst: a number that passes the eleven test, or since 2020 any that passes ISO/IEC 7064 MOD 97-10 with the
/// country before it; then B and a serial number.
fn is_nl_vat(n: &[u8]) -> bool {
    let Some((d, [b'B', serial @ ..])) = n.split_at_checked(9) else { return false };
    let (Some(d), Some(serial)) = (numerals::<9>(d), numerals::<2>(serial)) else { return false };
    // N, L and B are 23, 21 and 11.
    let checked = (((2321 * 1_000_000_000 + number(&d)) * 100 + 11) % 97 * 100 + u64::from(two(&serial))) % 97 == 1;
    two(&serial) > 0 && (is_bsn(&d) || checked)
}

/// ANAF, CUI: two to ten digits; weights 7 5 3 2 1 7 5 3 2 from the right, ten times the sum modulo 11, where ten is 0.
fn is_ro_vat(n: &[u8]) -> bool {
    if !(2..=10).contains(&n.len()) || n[0] == b'0' || !n.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let sum: u32 = n.iter().rev().skip(1).zip([2, 3, 5, 7, 1, 2, 3, 5, 7]).map(|(b, w)| u32::from(b - b'0') * w).sum();
    sum * 10 % 11 % 10 == u32::from(n[n.len() - 1] - b'0')
}

/// HMRC: nine digits whose weights 8 to 2 and two check digits make 0 modulo 97, or 42 since 2010; three more for a
/// branch; or a department's (below 500) or a health authority's three.
fn is_gb_vat(n: &[u8]) -> bool {
    if let [kind @ .., _, _, _] = n
        && n.len() == 5
    {
        return numerals::<3>(&n[2..]).is_some_and(|d| match kind {
            b"GD" => number(&d) < 500,
            b"HA" => number(&d) >= 500,
            _ => false,
        });
    }
    let branch = match n.len() {
        9 => true,
        12 => numerals::<3>(&n[9..]).is_some(),
        _ => false,
    };
    branch
        && numerals::<9>(&n[..9]).is_some_and(|d| {
            let sum = weighted_sum(&d, &[8, 7, 6, 5, 4, 3, 2, 10, 1]) % 97;
            number(&d[..7]) > 0 && (sum == 0 || (d[0] > 0 && sum == 42))
        })
}

/// BFS, UID: weights 5 4 3 2 7 6 5 4, modulus 11, never ten.
fn is_ch_uid(d: &[u8; 9]) -> bool {
    let sum = weighted_sum(d, &[5, 4, 3, 2, 7, 6, 5, 4]) % 11;
    *d != [0; 9] && (11 - sum) % 11 == u32::from(d[8])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict's score; 1 where the pattern's own stays.
    fn score(validator: &str, value: &str) -> Option<f32> {
        let check = Check { text: value, start: 0, end: value.len(), context: false, least: 0.0 };
        by_name(validator).expect("a validator of this name")(&check).map(|verdict| verdict.score.unwrap_or(1.0))
    }

    /// How many of the values that differ in one digit count as much.
    fn as_good(validator: &str, value: &str) -> usize {
        let places = value.bytes().enumerate().filter(|(_, b)| b.is_ascii_digit());
        places
            .flat_map(|(at, own)| (b'0'..=b'9').filter(move |&digit| digit != own).map(move |digit| (at, digit)))
            .filter(|&(at, digit)| {
                let mut other = value.as_bytes().to_vec();
                other[at] = digit;
                let other = String::from_utf8(other).expect("ASCII");
                score(validator, &other) == Some(1.0)
            })
            .count()
    }

    #[test]
    fn know_every_single_digit_error() {
        for (validator, value) in [
            ("uk_nhs", "401-023-2137"),
            ("uk_nhs", "7887623286"),
            ("de_tax_id", "86095742719"),
            ("de_vat_id", "DE 136 695 976"),
            ("de_health", "A123456780"),
            ("es_nif", "12345678Z"),
            ("es_nie", "X-9613851-N"),
            ("es_cif", "A58818501"),
            ("es_cif", "Q2826000H"),
            ("fi_identity_code", "131052-308T"),
            ("fi_identity_code", "020504A902E"),
            ("it_vat", "01333550323"),
            ("pl_pesel", "44051401458"),
            ("se_organisationsnummer", "556703-7485"),
            ("se_organisationsnummer", "165567037485"),
            ("tr_national_id", "10000000146"),
            ("nl_bsn", "111222333"),
            ("be_national_number", "85.07.30-033.28"),
            ("be_national_number", "02051012342"),
            ("ch_ahv", "756.9217.0769.85"),
            ("pt_nif", "501964843"),
            ("dk_cpr", "070761-4285"),
            ("no_fodselsnummer", "15108695088"),
            ("birth_number", "710319/2745"),
            ("ro_cnp", "1630615123457"),
            ("gr_amka", "01013099997"),
            ("ie_ppsn", "6433435F"),
            ("ie_ppsn", "6433435OA"),
            ("eu_vat", "ATU13585627"),
            ("eu_vat", "CY10259033P"),
            ("eu_vat", "DK13585628"),
            ("eu_vat", "EE100931558"),
            ("eu_vat", "FI20774740"),
            ("eu_vat", "FR40303265045"),
            ("eu_vat", "HU12892312"),
            ("eu_vat", "LU15027442"),
            ("eu_vat", "MT11679112"),
            ("eu_vat", "SI50223054"),
            ("eu_vat", "SK2022749619"),
            ("eu_vat", "NO995525828MVA"),
        ] {
            assert_eq!(score(validator, value), Some(1.0), "{validator} {value}");
            assert_eq!(as_good(validator, value), 0, "{validator} {value}");
        }
    }

    #[test]
    fn know_most_single_digit_errors() {
        // Digits that are not under the check digit, weights that share a factor with the modulus, the letter's remainder
        // of 26, and remainders that two check digits stand for.
        for (validator, value, more) in [
            ("uk_driving_licence", "MORGA657054SM9IJ", 150),
            ("de_lanr", "987654401", 40),
            ("de_pension", "15070649C103", 10),
            ("de_id_card", "L01X00T44", 10),
            ("de_passport", "C01234565", 10),
            ("de_document_checked", "L01X00T471", 10),
            ("de_driving_licence", "B072RRE2I55", 10),
            ("it_fiscal_code", "RSSMRA85T10A562S", 10),
            ("se_personnummer", "19871220-2384", 20),
            ("fr_nir", "1 85 05 78 006 084 91", 10),
            ("at_svnr", "1237 010180", 10),
            ("bg_egn", "7523169263", 10),
            ("eu_vat", "BG175074752", 10),
            ("eu_vat", "EL094259216", 20),
            ("eu_vat", "GB980780684", 10),
            ("eu_vat", "LV40003521600", 10),
            ("eu_vat", "NL004495445B01", 110),
            ("eu_vat", "RO18547290", 10),
            ("eu_vat", "LT119511515", 10),
        ] {
            assert_eq!(score(validator, value), Some(1.0), "{validator} {value}");
            assert!(as_good(validator, value) <= more, "{validator} {value}: {}", as_good(validator, value));
        }
    }

    #[test]
    fn vat_numbers_of_every_state() {
        for value in [
            "ATU13585627",
            "BE0428759497",
            "BG175074752",
            "BG7523169263",
            "CHE107787577IVA",
            "CHE-107.787.577 MWST",
            "CY10259033P",
            "CZ25123891",
            "CZ7103192745",
            "CZ640903926",
            "DE136695976",
            "DK13585628",
            "EE100931558",
            "EL094259216",
            "ESB58378431",
            "ES12345678Z",
            "ESX9613851N",
            "FI20774740",
            "FR40303265045",
            "FRK7399859412",
            "GB980780684",
            "GB980780684001",
            "GBGD001",
            "GBHA599",
            "HR33392005961",
            "HU12892312",
            "IE6433435F",
            "IE6433435OA",
            "IE8D79739I",
            "IT00743110157",
            "LT119511515",
            "LT100001919017",
            "LU15027442",
            "LV40003521600",
            "LV16117519997",
            "MT11679112",
            "NL004495445B01",
            "NL123456789B13",
            "NO995525828MVA",
            "PL8567346215",
            "PT501964843",
            "RO18547290",
            "SE123456789701",
            "SI50223054",
            "SK2022749619",
            "XI980780684",
        ] {
            assert_eq!(score("eu_vat", value), Some(1.0), "{value}");
        }
        for value in [
            "",
            "A",
            "AT",
            "ATU",
            "XX123456789",
            "ATU1358562",
            "BE2428759497",
            "CY12259033P",
            "GBGD501",
            "GBHA499",
            "IE64F",
            "IE6433435",
            "LT119511525",
            "NL004495445B00",
            "NL004495445",
            "RO0",
            "RO1",
            "SE123456789700",
            "CHE107787577ABC",
            "NO995525828",
            "NO095525828MVA",
            "FROO303265045",
            "FR40000000000",
            "DE123456789012345678901",
        ] {
            assert_eq!(score("eu_vat", value), None, "{value}");
        }
        assert_eq!(score("eu_vat", "RO19"), Some(0.1));
    }

    #[test]
    fn refuse_what_nobody_is_given() {
        for (validator, value) in [
            ("uk_nhs", "0000000000"),
            ("uk_nino", "BG123612A"),
            ("uk_nino", "NT998877A"),
            ("uk_nino", "AO123456C"),
            ("uk_driving_licence", "99999657054SM9IJ"),
            ("uk_driving_licence", "MO9G9657054SM9IJ"),
            ("uk_driving_licence", "MORGA602314SM9IJ"),
            ("uk_vehicle_age", "AB50ABC"),
            ("uk_vehicle_age", "AB01ABC"),
            ("de_bsnr", "000000000"),
            ("de_tax_id", "11111111111"),
            ("de_tax_id", "02345678901"),
            ("de_pension", "15071349C103"),
            ("es_cif", "Q28260008"),
            ("fi_identity_code", "290200+903C"),
            ("it_vat", "00000000000"),
            ("it_fiscal_code", "RASMRA85T10A000S"),
            ("it_fiscal_code", "RSSMRA85B31A562S"),
            ("pl_pesel", "44131401458"),
            ("se_personnummer", "198713202384"),
            ("se_personnummer", "218712202384"),
            ("se_organisationsnummer", "175567037485"),
            ("se_organisationsnummer", "551703-7484"),
            ("fr_nir", "185137800608400"),
            ("fr_nir", "1850578A0608491"),
            ("nl_bsn", "000000000"),
            ("ch_ahv", "7579217076985"),
            ("at_svnr", "1237320180"),
            ("pt_nif", "401964843"),
            ("dk_cpr", "3207614285"),
            ("birth_number", "540612123"),
            ("ro_cnp", "0630615123457"),
            ("bg_egn", "7573169263"),
            ("gr_amka", "32013099997"),
            ("ie_ppsn", "0000000W"),
        ] {
            assert_eq!(score(validator, value), None, "{validator} {value}");
        }
    }

    #[test]
    fn what_is_less_likely_counts_for_less() {
        assert_eq!(score("uk_nhs", "2213951837"), Some(0.25));
        let joined = Check { text: "ssn is 078-051121", start: 0, end: 10, context: false, least: 0.0 };
        assert!(de_plate(&joined).is_none());
        assert_eq!(score("de_plate", "HH-AB 1234"), Some(1.0));
        assert_eq!(score("uk_postcode", "SW1A 1AA"), Some(1.0));
        assert_eq!(score("uk_postcode", "GIR0AA"), Some(1.0));
        assert_eq!(score("uk_postcode", "AX1 1AA"), Some(0.1));
        assert_eq!(score("uk_postcode", "G4 8GB"), Some(0.1));
        assert_eq!(score("de_tax_id", "12345678903"), Some(0.15));
        assert_eq!(score("de_vat_id", "DE100000001"), Some(0.35));
        assert_eq!(score("de_id_card", "T22000129"), Some(0.2));
        assert_eq!(score("de_passport", "L01X00T44"), Some(0.2));
        assert_eq!(score("it_fiscal_code", "RSSMRA85T10A562X"), Some(0.3));
        assert_eq!(score("it_vat", "33125117045"), Some(0.1));
        assert_eq!(score("dk_cpr", "0101071234"), Some(0.3));
        assert_eq!(score("birth_number", "530612123"), Some(0.35));
    }

    #[test]
    fn digits_that_go_on_are_a_part_of_something_longer() {
        for (text, start, end) in [("1.44051401458", 2, 13), ("44051401458-7", 0, 11), ("44051401458.5", 0, 11)] {
            let check = Check { text, start, end, context: false, least: 0.0 };
            assert!(pl_pesel(&check).is_none(), "{text}");
        }
        let check = Check { text: "1,44051401458. ", start: 2, end: 13, context: false, least: 0.0 };
        assert!(pl_pesel(&check).is_some());
    }

    #[test]
    fn foreign_bytes_are_refused() {
        for validator in [
            "uk_nhs",
            "uk_nino",
            "uk_driving_licence",
            "uk_vehicle_age",
            "de_pension",
            "de_id_card",
            "de_driving_licence",
            "es_nif",
            "es_nie",
            "es_cif",
            "fi_identity_code",
            "it_fiscal_code",
            "fr_nir",
            "ie_ppsn",
            "eu_vat",
        ] {
            for value in
                ["", "é", "ü1234567é", "ééééééééééé", "AAAAAAAAAAAAAAAA", "0", "ZZZZZZZZZ", "9999999999999999999999"]
            {
                assert_eq!(score(validator, value), None, "{validator} {value}");
            }
        }
    }
}
