//! The salts of commitments: a tree of keys over the entries' IDs, out of which
//! single ones can be punched. (`docs/format.md`, section *Salts*.)
//!
//! Every prefix of an ID has a key. The key of a prefix that is longer by one
//! character follows from it, and an entry's salts follow from the key of its
//! whole ID; nothing leads upwards or sideways. So whoever keeps the keys of
//! the siblings along one ID's path, and none above it, can derive the salts of
//! every other entry, and nobody can ever derive that one's. (A puncturable
//! pseudorandom function by Goldreich, Goldwasser and Micali's tree; *How to
//! construct random functions*, 1986, as Boneh and Waters use it, 2013.)

use std::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroize;

/// The characters of a ULID, each of which has 5 bits.
pub const DEPTH: usize = 26;

/// How many characters there are to choose from, and so how many keys lie
/// below one.
pub const WIDTH: usize = 32;

/// Crockford's base32.
const ALPHABET: &[u8; WIDTH] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// An ID as the way to its key: a number below 32 for each character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path([u8; DEPTH]);

impl Path {
    /// The path of a ULID in capital letters; `None` if it is none.
    pub fn of(id: &str) -> Option<Self> {
        let bytes: &[u8; DEPTH] = id.as_bytes().try_into().ok()?;
        let mut path = [0; DEPTH];
        for (symbol, byte) in path.iter_mut().zip(bytes) {
            *symbol = SYMBOLS[usize::from(*byte)];
            if *symbol == NONE {
                return None;
            }
        }
        // A ULID has 128 bits, and 26 characters have room for 130.
        (path[0] < 8).then_some(Self(path))
    }

    /// The numbers.
    pub fn symbols(&self) -> &[u8; DEPTH] {
        &self.0
    }
}

const NONE: u8 = 0xff;

/// The number of each character.
const SYMBOLS: [u8; 256] = {
    let mut symbols = [NONE; 256];
    let mut n = 0;
    while n < WIDTH {
        symbols[ALPHABET[n] as usize] = n as u8;
        n += 1;
    }
    symbols
};

/// The key of a prefix. Whoever has it has the salts of every entry whose ID
/// begins so. It is wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Node([u8; 32]);

impl Node {
    /// A key that is known.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Its bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of the prefix that is longer by a character:
    /// `SHA-256(key || character's number)`.
    pub fn child(&self, symbol: u8) -> Self {
        self.descend(&[symbol])
    }

    /// The key at the end of a path from here.
    pub fn descend(&self, symbols: &[u8]) -> Self {
        let mut input = [0; 33];
        input[..32].copy_from_slice(&self.0);
        for &symbol in symbols {
            input[32] = symbol;
            let key: [u8; 32] = Sha256::digest(input).into();
            input[..32].copy_from_slice(&key);
        }
        let mut node = Self([0; 32]);
        node.0.copy_from_slice(&input[..32]);
        input.zeroize();
        node
    }

    /// The `n`-th salt of the entry whose whole ID this is the key of:
    /// `SHA-256(key || n)`, *n* in 32 bits. 0 is the whole body's, *k* + 1 that
    /// of the *k*-th of `original.parts`. Who is given one learns no other.
    pub fn salt(&self, n: u32) -> [u8; 32] {
        let mut input = [0; 36];
        input[..32].copy_from_slice(&self.0);
        input[32..].copy_from_slice(&n.to_be_bytes());
        let salt = Sha256::digest(input).into();
        input.zeroize();
        salt
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Node(…)")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_ulids_only() {
        let path = Path::of("01JDA5N00000000000000000ZY").unwrap();
        assert_eq!(path.symbols()[..7], [0, 1, 18, 13, 10, 5, 21]);
        assert_eq!(path.symbols()[24..], [31, 30]);
        for id in
            ["", "01JDA", "01jda5n0000000000000000000", "81JDA5N0000000000000000000", "01JDA5N000000000000000000I"]
        {
            assert_eq!(Path::of(id), None, "{id}");
        }
        assert!(Path::of("01JDA5N00000000000000000000").is_none(), "a character too many");
        assert!(Path::of("7ZZZZZZZZZZZZZZZZZZZZZZZZZ").is_some());
    }

    #[test]
    fn every_step_and_every_number_gives_another_key() {
        let root = Node::new([3; 32]);
        let mut keys: Vec<[u8; 32]> = (0..32).map(|symbol| *root.child(symbol).expose()).collect();
        keys.extend((0..32).map(|n| root.salt(n)));
        keys.push([3; 32]);
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 65);
        assert_eq!(root.descend(&[1, 2]), root.child(1).child(2));
        assert_eq!(format!("{root:?}"), "Node(…)");
    }
}
