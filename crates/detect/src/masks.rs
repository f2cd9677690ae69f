//! What kind of byte stands where, sixty-four at a time, as bits.

use wide::i8x16;

/// A bit for each of 64 bytes, the first one lowest.
#[derive(Clone, Copy, Default)]
pub(crate) struct Masks {
    /// Letters and digits of ASCII, and everything outside ASCII.
    pub(crate) word: u64,
    pub(crate) digit: u64,
    pub(crate) upper: u64,
    /// The first bytes of characters of three bytes from scripts that write without spaces (and of some that do not):
    /// U+0800 to U+D7FF.
    pub(crate) lead: u64,
    /// Outside ASCII.
    pub(crate) outside: u64,
    /// One of [`SPECIALS`].
    pub(crate) special: u64,
}

/// The punctuation at which something may begin. Each costs a comparison for every byte of every text.
pub(crate) const SPECIALS: &[u8; 10] = b"@+$:=[&%~#";

/// Bytes are compared as signed numbers, so that those outside ASCII are below all others.
fn within(x: i8x16, first: u8, last: u8) -> i8x16 {
    x.simd_gt(i8x16::splat((first - 1) as i8)) & i8x16::splat((last + 1) as i8).simd_gt(x)
}

pub(crate) fn masks(bytes: &[u8; 64]) -> Masks {
    let mut masks = Masks::default();
    for (i, sixteen) in bytes.as_chunks::<16>().0.iter().enumerate() {
        let bits = |x: i8x16| u64::from(x.to_bitmask()) << (16 * i);
        let x = i8x16::new(sixteen.map(|b| b as i8));
        let digit = within(x, b'0', b'9');
        let letter = within(x | i8x16::splat(0x20), b'a', b'z');
        let special = SPECIALS.map(|s| x.simd_eq(i8x16::splat(s as i8))).into_iter().fold(i8x16::ZERO, |a, b| a | b);
        let outside = bits(x);
        masks.word |= bits(digit | letter) | outside;
        masks.digit |= bits(digit);
        masks.upper |= bits(within(x, b'A', b'Z'));
        masks.special |= bits(special);
        if outside != 0 {
            masks.outside |= outside;
            masks.lead |= bits(within(x, 0xe0, 0xed));
        }
    }
    masks
}

/// The positions of a mask's bits.
pub(crate) struct Bits(pub(crate) u64);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let bit = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (bit < 64).then_some(bit as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_what_it_is() {
        for b in 0..=255u8 {
            for at in [0, 7, 8, 31, 63] {
                let mut block = [b' '; 64];
                block[at] = b;
                let m = masks(&block);
                let bit = |is: bool| if is { 1u64 << at } else { 0 };
                assert_eq!(m.word, bit(b.is_ascii_alphanumeric() || !b.is_ascii()), "{b}");
                assert_eq!(m.digit, bit(b.is_ascii_digit()), "{b}");
                assert_eq!(m.upper, bit(b.is_ascii_uppercase()), "{b}");
                assert_eq!(m.special, bit(SPECIALS.contains(&b)), "{b}");
                assert_eq!(m.outside, bit(!b.is_ascii()), "{b}");
                assert_eq!(m.lead, bit((0xe0..=0xed).contains(&b)), "{b}");
            }
        }
    }

    #[test]
    fn bits_are_their_positions() {
        assert_eq!(Bits(0).count(), 0);
        assert_eq!(Bits(1 | 1 << 5 | 1 << 63).collect::<Vec<_>>(), [0, 5, 63]);
    }
}
