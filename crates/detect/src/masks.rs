//! What kind of byte stands where, sixty-four at a time: loops without branches, which compilers turn into vector
//! instructions, and their results as bits.

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

const WORD: u8 = 1;
const DIGIT: u8 = 1 << 1;
const UPPER: u8 = 1 << 2;
const SPECIAL: u8 = 1 << 3;
const LEAD: u8 = 1 << 4;
const OUTSIDE: u8 = 1 << 5;

fn within(b: u8, first: u8, last: u8) -> u8 {
    u8::from(b.wrapping_sub(first) <= last - first)
}

pub(crate) fn masks(bytes: &[u8; 64]) -> Masks {
    let mut flags = [0u8; 64];
    let mut outside = 0u8;
    for (flag, &b) in flags.iter_mut().zip(bytes) {
        let digit = within(b, b'0', b'9');
        let upper = within(b, b'A', b'Z');
        let lower = within(b, b'a', b'z');
        let beyond = b >> 7;
        outside |= beyond;
        let mut special = 0;
        for &s in SPECIALS {
            special |= u8::from(b == s);
        }
        *flag = ((digit | upper | lower | beyond) * WORD) | (digit * DIGIT) | (upper * UPPER) | (special * SPECIAL);
    }
    if outside != 0 {
        for (flag, &b) in flags.iter_mut().zip(bytes) {
            *flag |= (within(b, 0xe0, 0xed) * LEAD) | ((b >> 7) * OUTSIDE);
        }
    }
    Masks {
        word: pack(&flags, WORD),
        digit: pack(&flags, DIGIT),
        upper: pack(&flags, UPPER),
        special: pack(&flags, SPECIAL),
        lead: if outside != 0 { pack(&flags, LEAD) } else { 0 },
        outside: if outside != 0 { pack(&flags, OUTSIDE) } else { 0 },
    }
}

/// Gathers one bit of each byte. The multiplication moves the lowest bit of each of eight bytes into the highest byte,
/// side by side.
fn pack(flags: &[u8; 64], bit: u8) -> u64 {
    let shift = bit.trailing_zeros();
    let mut mask = 0;
    for (i, eight) in flags.as_chunks::<8>().0.iter().enumerate() {
        let bits = (u64::from_le_bytes(*eight) >> shift) & 0x0101_0101_0101_0101;
        mask |= (bits.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    mask
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
