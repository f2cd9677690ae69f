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

/// Luhn's check character over another alphabet: ISO/IEC 7812-1 with `base` instead of 10.
pub(crate) fn luhn_mod(values: &[u8], base: u32) -> bool {
    let sum: u32 = values
        .iter()
        .rev()
        .enumerate()
        .map(|(i, &v)| {
            let v = u32::from(v) * (1 + i as u32 % 2);
            v / base + v % base
        })
        .sum();
    sum.is_multiple_of(base)
}

/// The sum of the digits, each times its weight. What stands beyond the shorter of the two does not count.
pub(crate) fn weighted_sum(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(&d, &w)| u32::from(d) * w).sum()
}

/// ISO 7064 MOD 11-2, the check character being a value from 0 to 10 at the end.
pub(crate) fn iso7064_mod_11_2(values: &[u8]) -> bool {
    let Some((&check, rest)) = values.split_last() else { return false };
    let sum = rest.iter().fold(0, |sum, &v| (sum + u32::from(v)) * 2 % 11);
    (sum + u32::from(check)) % 11 == 1
}

/// Verhoeff's check digit: multiplication in the dihedral group of the pentagon, over a permutation of each place.
pub(crate) fn verhoeff(digits: &[u8]) -> bool {
    const PLACES: [[u8; 10]; 8] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
        [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
        [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
        [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
        [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
        [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
        [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
    ];
    let product = digits.iter().rev().enumerate().fold(0, |a, (i, &d)| {
        let b = PLACES[i % 8][usize::from(d) % 10];
        match (a < 5, b < 5) {
            (true, true) => (a + b) % 5,
            (true, false) => 5 + (a + b) % 5,
            (false, true) => 5 + (a - b) % 5,
            (false, false) => (5 + a - b) % 5,
        }
    });
    product == 0
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

    /// Whether each change of one digit, and each exchange of two different neighbours, is noticed.
    fn notices(check: fn(&[u8]) -> bool, number: &[u8], swaps: bool) {
        assert!(check(number));
        for i in 0..number.len() {
            for d in (0..10).filter(|&d| d != number[i]) {
                let mut wrong = number.to_vec();
                wrong[i] = d;
                assert!(!check(&wrong), "digit {i} as {d}");
            }
            if swaps && i > 0 && number[i] != number[i - 1] {
                let mut wrong = number.to_vec();
                wrong.swap(i, i - 1);
                assert!(!check(&wrong), "digits {i} and {} exchanged", i - 1);
            }
        }
    }

    #[test]
    fn verhoeff_notices_changes_and_exchanges() {
        notices(verhoeff, &[2, 3, 6, 3], true);
        notices(verhoeff, &[3, 9, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1], true);
        assert!(verhoeff(&[3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 9]));
    }

    #[test]
    fn mod_11_2_notices_changes_and_exchanges() {
        notices(iso7064_mod_11_2, &[0, 7, 9, 4, 0], true);
        assert!(iso7064_mod_11_2(&[0, 7, 9, 10]));
        assert!(!iso7064_mod_11_2(&[]));
    }

    #[test]
    fn luhn_over_ten_values_is_luhn() {
        for n in 0..10_000u32 {
            let digits = [(n / 1000) as u8, (n / 100 % 10) as u8, (n / 10 % 10) as u8, (n % 10) as u8];
            assert_eq!(luhn(&digits), luhn_mod(&digits, 10));
        }
    }

    #[test]
    fn a_weighted_sum_stops_with_the_shorter() {
        assert_eq!(weighted_sum(&[1, 2, 3], &[10, 1]), 12);
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
