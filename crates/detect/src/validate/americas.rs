//! What the states of the Americas call persons.

use super::{Check, Validator, Verdict, is_part_of_number, is_word};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "ssn" => ssn,
        _ => return None,
    })
}

/// Social Security Administration, "SSN randomization": no area 000, 666, 900-999, no group 00, no serial 0000. Also
/// not the numbers that advertisements made famous, and not one digit nine times.
fn ssn(check: &Check<'_>) -> Option<Verdict> {
    let text = check.value().as_bytes();
    let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_digit).collect();
    let digits: &[u8; 9] = digits.as_slice().try_into().ok()?;
    let mut separators = text.iter().filter(|b| !b.is_ascii_digit());
    if let (Some(a), Some(b)) = (separators.next(), separators.next())
        && a != b
    {
        return None;
    }
    let refused = matches!(&digits[..3], b"000" | b"666")
        || digits[0] == b'9'
        || &digits[3..5] == b"00"
        || &digits[5..] == b"0000"
        || digits.iter().all(|d| d == &digits[0])
        || matches!(digits, b"123456789" | b"078051120" | b"219099999");
    let after = check.after(check.end);
    let alone = !after.first().is_some_and(|&b| is_word(b)) && !is_part_of_number(check.before(), after);
    (!refused && alone).then(|| check.keep())
}
