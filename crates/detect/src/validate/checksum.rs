//! Check digits that more than one number has.

/// Luhn's check digit (ISO/IEC 7812-1, annex B).
pub(crate) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, &d)| {
            let d = u32::from(d);
            if i % 2 == 0 { d } else { d / 5 + d * 2 % 10 }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luhn_knows_every_single_digit_error() {
        let number: Vec<u8> = b"4111111111111111".iter().map(|b| b - b'0').collect();
        assert!(luhn(&number));
        for i in 0..number.len() {
            for d in (0..10).filter(|&d| d != number[i]) {
                let mut wrong = number.clone();
                wrong[i] = d;
                assert!(!luhn(&wrong), "digit {i} as {d}");
            }
        }
    }
}
