//! Addresses and keys on public ledgers. Most carry a checksum of 30 bits or more, which is proof enough.

use sha2::{Digest, Sha256};

use crate::validate::{Check, Validator, Verdict};

pub(super) fn by_name(name: &str) -> Option<Validator> {
    Some(match name {
        "base58check" => base58check_address,
        "base58check_key" => base58check_key,
        "bech32" => bech32,
        "cashaddr" => cashaddr,
        "ethereum" => ethereum,
        "monero" => monero,
        "ripple" => ripple,
        "solana" => solana,
        "stellar" => stellar,
        _ => return None,
    })
}

// ---- Base58

const BITCOIN: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const RIPPLE: &[u8; 58] = b"rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz";

/// The bytes that a number in base 58 stands for, a leading zero for each leading zero digit.
fn base58(text: &[u8], alphabet: &[u8; 58]) -> Option<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::with_capacity(text.len());
    for &c in text {
        let mut carry = alphabet.iter().position(|&a| a == c)?;
        for byte in &mut bytes {
            carry += usize::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(carry as u8);
            carry >>= 8;
        }
    }
    bytes.extend(text.iter().take_while(|&&c| c == alphabet[0]).map(|_| 0));
    bytes.reverse();
    Some(bytes)
}

/// The payload of Base58Check: the last four bytes are the first of the double SHA-256 of the others.
fn base58check(text: &[u8], alphabet: &[u8; 58]) -> Option<Vec<u8>> {
    let mut bytes = base58(text, alphabet)?;
    let at = bytes.len().checked_sub(4)?;
    let check = Sha256::digest(Sha256::digest(&bytes[..at]));
    (check[..4] == bytes[at..]).then(|| {
        bytes.truncate(at);
        bytes
    })
}

/// A version of one byte (Bitcoin, Litecoin, Dogecoin, Dash, TRON) or of two (Zcash) before a hash of 20.
fn base58check_address(check: &Check<'_>) -> Option<Verdict> {
    let payload = base58check(check.value().as_bytes(), BITCOIN)?;
    matches!(payload.len(), 21 | 22).then(|| check.keep())
}

/// BIP 32 extended keys (78 bytes) and private keys in the wallet import format (version 0x80, 0xb0, 0x9e or 0xef, 32
/// bytes, perhaps a 1 for a compressed public key).
fn base58check_key(check: &Check<'_>) -> Option<Verdict> {
    let payload = base58check(check.value().as_bytes(), BITCOIN)?;
    let import = matches!(payload.first(), Some(0x80 | 0xb0 | 0x9e | 0xef)) && matches!(payload.len(), 33 | 34);
    (import || payload.len() == 78).then(|| check.keep())
}

/// XRP Ledger, "Base58 Encodings": version 0 and 20 bytes, in an alphabet of its own.
fn ripple(check: &Check<'_>) -> Option<Verdict> {
    let payload = base58check(check.value().as_bytes(), RIPPLE)?;
    (payload.len() == 21 && payload[0] == 0).then(|| check.keep())
}

/// 32 bytes without a checksum: only what a word nearby calls so.
fn solana(check: &Check<'_>) -> Option<Verdict> {
    let text = check.value().as_bytes();
    let kinds = [u8::is_ascii_digit, u8::is_ascii_lowercase, u8::is_ascii_uppercase];
    let mixed = kinds.iter().all(|kind| text.iter().any(kind));
    (mixed && base58(text, BITCOIN)?.len() == 32).then(|| check.keep())
}

/// Monero's base 58 turns 8 bytes into 11 characters, block by block; the last four bytes are the first of the
/// Keccak-256 of the others. Networks 18, 19 (with a payment id) and 42 (a subaddress).
fn monero(check: &Check<'_>) -> Option<Verdict> {
    let mut bytes = Vec::with_capacity(80);
    for block in check.value().as_bytes().chunks(11) {
        let length = match block.len() {
            11 => 8,
            7 => 5,
            _ => return None,
        };
        let mut number = 0u128;
        for c in block {
            number = number * 58 + BITCOIN.iter().position(|a| a == c)? as u128;
        }
        if number >> (8 * length) != 0 {
            return None;
        }
        bytes.extend_from_slice(&number.to_be_bytes()[16 - length..]);
    }
    let at = bytes.len().checked_sub(4)?;
    (matches!(bytes[0], 18 | 19 | 42) && keccak256(&bytes[..at])[..4] == bytes[at..]).then(|| check.keep())
}

// ---- Bech32

const BECH32: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// The values of the characters after the last `1`, and what stands before it; in one case of letters.
fn bech32_parts(text: &str) -> Option<(String, Vec<u8>)> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) && text.bytes().any(|b| b.is_ascii_lowercase()) {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let (prefix, data) = text.rsplit_once('1')?;
    let values = data.bytes().map(|b| BECH32.iter().position(|&c| c == b).map(|v| v as u8));
    Some((prefix.to_owned(), values.collect::<Option<_>>()?))
}

/// BIP 173 and BIP 350: the remainder is 1 for Bech32 and 0x2bc830a3 for Bech32m. Cardano's addresses (CIP 19) are
/// longer than the 90 characters of BIP 173.
fn bech32(check: &Check<'_>) -> Option<Verdict> {
    let (prefix, values) = bech32_parts(check.value())?;
    let expanded = prefix.bytes().map(|b| b >> 5).chain([0]).chain(prefix.bytes().map(|b| b & 31));
    let remainder = expanded.chain(values.iter().copied()).fold(1u32, |sum, value| {
        const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
        let top = sum >> 25;
        let shifted = (sum & 0x1ff_ffff) << 5 ^ u32::from(value);
        (0..5).filter(|i| top >> i & 1 == 1).fold(shifted, |s, i| s ^ GENERATOR[i as usize])
    });
    (values.len() >= 6 && matches!(remainder, 1 | 0x2bc8_30a3)).then(|| check.keep())
}

/// Bitcoin Cash, "Address format": 40 bits of checksum over the prefix, which may be left out.
fn cashaddr(check: &Check<'_>) -> Option<Verdict> {
    let value = check.value();
    if value.bytes().any(|b| b.is_ascii_uppercase()) && value.bytes().any(|b| b.is_ascii_lowercase()) {
        return None;
    }
    let lower = value.to_ascii_lowercase();
    let (prefix, data) = lower.rsplit_once(':').unwrap_or(("bitcoincash", &lower));
    let mut values = Vec::with_capacity(64);
    values.extend(prefix.bytes().map(|b| b & 31));
    values.push(0);
    for b in data.bytes() {
        values.push(BECH32.iter().position(|&c| c == b)? as u8);
    }
    let remainder = values.iter().fold(1u64, |sum, &value| {
        const GENERATOR: [u64; 5] = [0x98_f2bc_8e61, 0x79_b76d_99e2, 0xf3_3e5f_b3c4, 0xae_2eab_e2a8, 0x1e_4f43_e470];
        let top = sum >> 35;
        let shifted = (sum & 0x7_ffff_ffff) << 5 ^ u64::from(value);
        (0..5).filter(|i| top >> i & 1 == 1).fold(shifted, |s, i| s ^ GENERATOR[i as usize])
    });
    (remainder == 1).then(|| check.keep())
}

// ---- Keccak

/// EIP-55: a letter is a capital where the Keccak-256 of the small letters has a 1. Without capitals, or without small
/// letters, there is no checksum, and the score is lower.
fn ethereum(check: &Check<'_>) -> Option<Verdict> {
    let hex = check.value().get(2..)?.as_bytes();
    if hex.iter().all(|b| b == &hex[0]) || hex.len() != 40 {
        return None;
    }
    let mixed = hex.iter().any(u8::is_ascii_uppercase) && hex.iter().any(u8::is_ascii_lowercase);
    if !mixed {
        return Some(check.rescore(0.4));
    }
    let hash = keccak256(&hex.to_ascii_lowercase());
    let as_hashed = hex.iter().enumerate().all(|(i, b)| {
        let nibble = hash[i / 2] >> (4 * (1 - i % 2)) & 15;
        b.is_ascii_digit() || b.is_ascii_uppercase() == (nibble >= 8)
    });
    as_hashed.then(|| check.keep())
}

/// Keccak-256 as it was submitted (padding 0x01), which is not SHA3-256, of less than 136 bytes or more.
fn keccak256(message: &[u8]) -> [u8; 32] {
    const RATE: usize = 136;
    let mut state = [0u64; 25];
    let mut blocks = message.chunks_exact(RATE);
    let mut absorb = |block: &[u8]| {
        for (lane, bytes) in state.iter_mut().zip(block.chunks_exact(8)) {
            *lane ^= u64::from_le_bytes(bytes.try_into().expect("chunks of 8"));
        }
        keccak_f(&mut state);
    };
    for block in &mut blocks {
        absorb(block);
    }
    let mut last = [0u8; RATE];
    let rest = blocks.remainder();
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x01;
    last[RATE - 1] |= 0x80;
    absorb(&last);
    let mut hash = [0; 32];
    for (bytes, lane) in hash.chunks_exact_mut(8).zip(state) {
        bytes.copy_from_slice(&lane.to_le_bytes());
    }
    hash
}

/// The permutation, FIPS 202 section 3.
fn keccak_f(state: &mut [u64; 25]) {
    let mut lfsr = 1u8;
    for _ in 0..24 {
        // Theta.
        let columns: [u64; 5] = std::array::from_fn(|x| (0..5).fold(0, |c, y| c ^ state[x + 5 * y]));
        for x in 0..5 {
            let d = columns[(x + 4) % 5] ^ columns[(x + 1) % 5].rotate_left(1);
            for y in 0..5 {
                state[x + 5 * y] ^= d;
            }
        }
        // Rho and pi.
        let (mut x, mut y) = (1, 0);
        let mut lane = state[1];
        for t in 0..24u32 {
            (x, y) = (y, (2 * x + 3 * y) % 5);
            let rotated = lane.rotate_left((t + 1) * (t + 2) / 2 % 64);
            lane = std::mem::replace(&mut state[x + 5 * y], rotated);
        }
        // Chi.
        for row in state.chunks_exact_mut(5) {
            let old: [u64; 5] = std::array::from_fn(|x| row[x]);
            for x in 0..5 {
                row[x] = old[x] ^ !old[(x + 1) % 5] & old[(x + 2) % 5];
            }
        }
        // Iota.
        for j in 0..7 {
            if lfsr & 1 == 1 {
                state[0] ^= 1 << ((1u32 << j) - 1);
            }
            lfsr = lfsr << 1 ^ if lfsr & 0x80 == 0 { 0 } else { 0x71 };
        }
    }
}

// ---- Base32

/// Stellar, SEP-23: 35 or 43 bytes in base 32, the last two the CRC16 (XMODEM) of the others, small end first.
fn stellar(check: &Check<'_>) -> Option<Verdict> {
    let mut bytes = Vec::with_capacity(48);
    let (mut bits, mut count) = (0u32, 0);
    for b in check.value().bytes() {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'2'..=b'7' => b - b'2' + 26,
            _ => return None,
        };
        bits = bits << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    let at = bytes.len().checked_sub(2)?;
    let crc = bytes[..at].iter().fold(0u16, |crc, &b| {
        (0..8).fold(crc ^ u16::from(b) << 8, |c, _| c << 1 ^ if c & 0x8000 == 0 { 0 } else { 0x1021 })
    });
    (matches!(bytes.len(), 35 | 43) && crc.to_le_bytes() == bytes[at..]).then(|| check.keep())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::global::tests::verdict;

    /// Each is kept, and dropped when any of its characters is another.
    fn holds(validator: Validator, address: &str) {
        assert!(verdict(validator, address).is_some(), "{address}");
        for i in 0..address.len() {
            let mut wrong = address.as_bytes().to_vec();
            wrong[i] = if wrong[i] == b'2' { b'3' } else { b'2' };
            assert_eq!(verdict(validator, std::str::from_utf8(&wrong).unwrap()), None, "{address} at {i}");
        }
    }

    #[test]
    fn keccak_is_not_sha3() {
        let hex = |hash: [u8; 32]| hash.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(keccak256(b"")), "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
        assert_eq!(hex(keccak256(b"abc")), "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
        assert_ne!(keccak256(&[7; 136]), keccak256(&[7; 135]));
    }

    #[test]
    fn base58check_holds() {
        holds(base58check_address, "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ");
        holds(base58check_address, "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy");
        holds(base58check_address, "DH5yaieqoZN36fDVciNyRueRGvGLR3mr7L");
        holds(base58check_address, "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t");
        holds(base58check_key, "5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ");
        holds(ripple, "rHb9CJAWyB4rj91VRWn96DkukG4bwdtyTh");
    }

    #[test]
    fn bech32_and_its_successors_hold() {
        holds(bech32, "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq");
        holds(bech32, "bc1p5d7rjq7g6rdk2yhzks9smlaqtedr4dekq08ge8ztwac72sfr9rusxg3297");
        holds(bech32, "addr1vx2fxv2umyhttkxyxp8x0dlpdt3k6cwng5pxj3jhsydzers66hrl8");
        holds(cashaddr, "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a");
        assert!(verdict(cashaddr, "qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a").is_some());
    }

    #[test]
    fn capitals_are_a_checksum() {
        assert_eq!(verdict(ethereum, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed").map(|v| v.1), Some(None));
        assert_eq!(verdict(ethereum, "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed"), None);
        assert_eq!(verdict(ethereum, "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed").map(|v| v.1), Some(Some(0.4)));
        assert_eq!(verdict(ethereum, "0x0000000000000000000000000000000000000000"), None);
    }

    #[test]
    fn monero_and_stellar_hold() {
        holds(
            monero,
            "44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A",
        );
        holds(stellar, "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ");
    }

    #[test]
    fn solana_is_32_bytes() {
        assert!(verdict(solana, "7EcDhSYGxXyscszYEp35KHN8vvw3svAuLKTzXwCFLtV").is_some());
        assert!(verdict(solana, "7EcDhSYGxXyscszYEp35KHN8vvw3svAuLKTzXwCFL0V").is_none());
        assert!(verdict(solana, "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ").is_none());
    }
}
