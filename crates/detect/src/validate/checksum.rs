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

/// The sum of the digits, each times its weight.
pub(crate) fn weighted_sum(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(&d, w)| u32::from(d) * w).sum()
}

/// ISO/IEC 7064, MOD 11,10: one check digit, at the end.
pub(crate) fn mod_11_10(digits: &[u8]) -> bool {
    let Some((&check, digits)) = digits.split_last() else { return false };
    let product = digits.iter().fold(10, |product, &d| {
        let sum = (u32::from(d) + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (11 - product) % 10 == u32::from(check)
}

/// The digits as one number, of which there are at most 19.
pub(crate) fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number, &d| number * 10 + u64::from(d))
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

    #[test]
    fn mod_11_10_knows_every_single_digit_error() {
        let number: Vec<u8> = b"136695976".iter().map(|b| b - b'0').collect();
        assert!(mod_11_10(&number));
        for i in 0..number.len() {
            for d in (0..10).filter(|&d| d != number[i]) {
                let mut wrong = number.clone();
                wrong[i] = d;
                assert!(!mod_11_10(&wrong), "digit {i} as {d}");
            }
        }
        assert!(!mod_11_10(&[]));
    }

    #[test]
    fn weights_and_places() {
        assert_eq!(weighted_sum(&[1, 2, 3], &[3, 2, 1]), 10);
        assert_eq!(number(&[0, 4, 2]), 42);
        assert_eq!(number(&[9; 19]), 9_999_999_999_999_999_999);
    }
}
