//! The model's file, used where it lies.
//!
//! All numbers are little-endian. A head of [`HEAD`] bytes: the magic, the sizes of the three tables (`u32`), the scale
//! (`f32`: what a weight of 1 is worth), and what a label adds after another (8 × 8 `f32`, the last row for the
//! sentence's first token). Then
//!
//! 1. clusters: a `u32` each, the path in its tree in the low 18 bits, the tree above it;
//! 2. the lexicon: buckets of eight `u64`, an [`Entry`] under a 16-bit fingerprint; what does not fit into its bucket
//!    is in one of the next three;
//! 3. weights: buckets of four rows, a fingerprint and a byte for each label: the weight and
//!    128. No two rows of a bucket have one fingerprint; an empty row is zeros.
//!
//! The file is ours, embedded or made by the trainer: [`Model::new`] checks its sizes, and no content of it can make
//! more than a wrong tag.

use super::Label;

/// The head's length.
pub const HEAD: usize = 24 + 8 * 8 * 4;
/// The first bytes of a model.
pub const MAGIC: &[u8; 8] = b"TBLTAG01";
/// Entries in a bucket of the lexicon.
pub const ENTRIES: usize = 8;
/// In how many buckets, one after another, an entry may be.
pub const PROBES: usize = 4;
/// Rows in a bucket of weights.
pub const ROWS: usize = 4;

/// The lists of the lexicon, as bits.
pub mod list {
    #![allow(missing_docs, reason = "their names say it; `train/gather.py` has the same")]
    pub const FIRST: u16 = 1 << 0;
    pub const FIRST_RARE: u16 = 1 << 1;
    pub const LAST: u16 = 1 << 2;
    pub const LAST_RARE: u16 = 1 << 3;
    pub const CITY_BIG: u16 = 1 << 4;
    pub const CITY: u16 = 1 << 5;
    pub const CITY_SMALL: u16 = 1 << 6;
    pub const COUNTRY: u16 = 1 << 7;
    pub const REGION: u16 = 1 << 8;
    pub const PHRASE: u16 = 1 << 9;
    pub const GROUP: u16 = 1 << 10;
    pub const TITLE: u16 = 1 << 11;
    pub const ORG_WORD: u16 = 1 << 12;
    pub const CALENDAR: u16 = 1 << 13;
    pub const PLACE_WORD: u16 = 1 << 14;
    pub const ORG: u16 = 1 << 15;
}

/// What the lexicon knows of a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The cluster of the word written small; 0 for none.
    pub lower: u16,
    /// The cluster of the word with a capital.
    pub capital: u16,
    /// How common it is, 0 to 7.
    pub common: u8,
    /// How often it has a capital: 1 to 7, 0 if that is not known.
    pub share: u8,
    /// The lists it is on.
    pub lists: u16,
    /// It is hardly ever part of a name.
    pub dull: bool,
}

impl Entry {
    /// As it is in the file, above a fingerprint.
    pub fn pack(self, fingerprint: u16) -> u64 {
        u64::from(fingerprint)
            | u64::from(self.lower & 0xfff) << 16
            | u64::from(self.capital & 0xfff) << 28
            | u64::from(self.common & 7) << 40
            | u64::from(self.share & 7) << 43
            | u64::from(self.lists) << 46
            | u64::from(self.dull) << 62
    }

    fn unpack(x: u64) -> Self {
        Self {
            lower: (x >> 16 & 0xfff) as u16,
            capital: (x >> 28 & 0xfff) as u16,
            common: (x >> 40 & 7) as u8,
            share: (x >> 43 & 7) as u8,
            lists: (x >> 46) as u16,
            dull: x >> 62 & 1 != 0,
        }
    }
}

/// The bucket and the fingerprint of a word's hash.
#[inline]
pub fn entry_place(hash: u64, buckets: usize) -> (usize, u16) {
    ((((hash >> 32) * buckets as u64) >> 32) as usize, (hash as u16).max(1))
}

/// The bucket and the fingerprint of a feature's key.
#[inline]
pub fn row_place(key: u32, buckets: usize) -> (usize, u8) {
    (((u64::from(key) * buckets as u64) >> 32) as usize, (key as u8).max(1))
}

/// A model's tables.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    clusters: &'a [[u8; 4]],
    lexicon: &'a [[[u8; 8]; ENTRIES]],
    rows: &'a [[[u8; 8]; ROWS]],
    /// What a weight of 1 is worth.
    pub scale: f32,
    /// What a label adds after another; the last row is for a sentence's first token.
    pub after: [[f32; 8]; 8],
}

impl<'a> Model<'a> {
    /// The model in `bytes`, unless they are not one.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        if !head.starts_with(MAGIC) {
            return None;
        }
        let word = |at: usize| -> [u8; 4] { head[at..at + 4].try_into().expect("four bytes of the head") };
        let size = |at: usize| u32::from_le_bytes(word(at)) as usize;
        let (clusters, rest) = rest.split_at_checked(size(8).checked_mul(4)?)?;
        let (lexicon, rows) = rest.split_at_checked(size(12).checked_mul(8 * ENTRIES)?)?;
        if rows.len() != size(16).checked_mul(8 * ROWS)? || lexicon.is_empty() || rows.is_empty() {
            return None;
        }
        let mut after = [[0.0; 8]; 8];
        for (i, x) in after.iter_mut().flatten().enumerate() {
            *x = f32::from_le_bytes(word(24 + 4 * i));
        }
        Some(Self {
            clusters: clusters.as_chunks().0,
            lexicon: lexicon.as_chunks().0.as_chunks().0,
            rows: rows.as_chunks().0.as_chunks().0,
            scale: f32::from_le_bytes(word(20)),
            after,
        })
    }

    /// What the lexicon has under a hash.
    #[inline]
    pub fn entry(&self, hash: u64) -> Option<Entry> {
        let (bucket, fingerprint) = entry_place(hash, self.lexicon.len());
        let mut at = bucket;
        for _ in 0..PROBES {
            let mut full = true;
            for entry in &self.lexicon[at] {
                let entry = u64::from_le_bytes(*entry);
                if entry as u16 == fingerprint {
                    return Some(Entry::unpack(entry));
                }
                full &= entry != 0;
            }
            if !full {
                return None;
            }
            at = if at + 1 == self.lexicon.len() { 0 } else { at + 1 };
        }
        None
    }

    /// A cluster's path, the tree's number above it; 0 for none.
    #[inline]
    pub fn path(&self, cluster: u16) -> u32 {
        self.clusters.get(cluster as usize).map_or(0, |c| u32::from_le_bytes(*c))
    }

    /// Adds a feature's weights, without a branch: whether and where a row matches cannot be foreseen.
    #[inline]
    pub fn add(&self, key: u32, sums: &mut Rows) {
        let (bucket, fingerprint) = row_place(key, self.rows.len());
        let mut row = 0u64;
        for bytes in &self.rows[bucket] {
            let x = u64::from_le_bytes(*bytes);
            row |= x & 0u64.wrapping_sub(u64::from(x as u8 == fingerprint));
        }
        sums.even += row & LANES;
        sums.odd += row >> 8 & LANES;
        sums.count += i32::from(row != 0);
    }
}

/// Every second byte.
const LANES: u64 = 0x00ff_00ff_00ff_00ff;

/// Rows that were added up, in lanes of 16 bits: room for 257 rows of bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rows {
    even: u64,
    odd: u64,
    count: i32,
}

impl Rows {
    /// What the rows are worth for each label.
    #[inline]
    pub fn sums(self, scale: f32) -> [f32; Label::COUNT] {
        std::array::from_fn(|label| {
            // A row is its fingerprint, then the labels.
            let byte = label + 1;
            let lanes = if byte % 2 == 0 { self.even } else { self.odd };
            let lane = (lanes >> (byte / 2 * 16) & 0xffff) as i32;
            (lane - 128 * self.count) as f32 * scale
        })
    }
}
