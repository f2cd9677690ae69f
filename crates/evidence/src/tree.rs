//! The hash tree of RFC 6962, section 2.1: roots, proofs, and how to get them
//! from tiles.
//!
//! Nothing here trusts a tile: what [`root`], [`frontier`] and the proofs give
//! is as right as the tiles that they were computed from. Hold a root against
//! a [`Checkpoint`](crate::checkpoint::Checkpoint) that was verified.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::tile;

/// A SHA-256 value. Written in lower-case hexadecimal, except in C2SP's text
/// formats, which have base64.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, std::hash::Hash)]
pub struct Hash(pub [u8; 32]);

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a sha-256 value in lower-case hexadecimal")]
pub struct HashError;

impl Hash {
    /// Length in bytes.
    pub const BYTES: usize = 32;

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A hash from 32 bytes; `None` of any other number.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    fn hex<'a>(&self, digits: &'a mut [u8; 2 * Self::BYTES]) -> &'a str {
        hex::encode_to_slice(self.0, digits).expect("twice as many digits as bytes");
        std::str::from_utf8(digits).expect("digits are ascii")
    }

    /// Standard base64 with padding, as checkpoints and proofs have it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads what [`Hash::to_base64`] writes, and no other spelling.
    pub fn from_base64(text: &str) -> Option<Self> {
        // 44 = 32 bytes in groups of 3, each as 4 characters, rounded up.
        if text.len() != 44 {
            return None;
        }
        Self::from_slice(&STANDARD.decode(text).ok()?)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex(&mut [0; 2 * Self::BYTES]))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(HashError);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| HashError)?;
        Ok(Self(bytes))
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.hex(&mut [0; 2 * Self::BYTES]))
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// SHA-256 of `bytes`, without a prefix: the name of a part.
pub fn sha256(bytes: impl AsRef<[u8]>) -> Hash {
    Hash(Sha256::digest(bytes.as_ref()).into())
}

/// The hash of a leaf: `SHA-256(0x00 || entry)`.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0x00]);
    hasher.update(entry);
    Hash(hasher.finalize().into())
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0x01]);
    hasher.update(left.0);
    hasher.update(right.0);
    Hash(hasher.finalize().into())
}

/// The root of a tree without leaves: `SHA-256("")`.
pub fn empty_root() -> Hash {
    sha256(b"")
}

/// Joins neighbouring subtrees, each smaller than the one to its left, as
/// RFC 6962 joins them: from the right. `None` if there are none.
fn join(subtrees: &[Hash]) -> Option<Hash> {
    let (last, rest) = subtrees.split_last()?;
    Some(rest.iter().rfold(*last, |right, left| node_hash(left, &right)))
}

/// The right edge of a tree: the roots of the perfect subtrees that its size
/// is the binary sum of, largest first. This is what is needed to append.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// The edge of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf hash.
    ///
    /// # Panics
    ///
    /// When the tree has 2⁶⁴−1 leaves.
    pub fn push(&mut self, leaf: Hash) {
        self.push_with(leaf, |_, _, _| {});
    }

    /// Appends a leaf hash and calls back for each perfect subtree that it
    /// completes, with its level (0 is the leaf itself), its index among those
    /// of its level, and its root. Levels 0, 8, 16… are what tiles hold.
    ///
    /// # Panics
    ///
    /// When the tree has 2⁶⁴−1 leaves.
    pub fn push_with(&mut self, leaf: Hash, mut completed: impl FnMut(u8, u64, Hash)) {
        let index = self.size;
        self.size = index.checked_add(1).expect("a tree has less than 2^64 leaves");
        let mut hash = leaf;
        completed(0, index, hash);
        // Each one at the end of the index in binary is a subtree that waits
        // for this one to its right.
        for level in 1..=index.trailing_ones() {
            let left = self.subtrees.pop().expect("one subtree for each bit of the size");
            hash = node_hash(&left, &hash);
            completed(level as u8, index >> level, hash);
        }
        self.subtrees.push(hash);
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        join(&self.subtrees).unwrap_or_else(empty_root)
    }

    /// A frontier from what [`Frontier::parts`] gave. `None` if the number of
    /// hashes is not the one that the size has.
    pub fn from_parts(size: u64, subtrees: Vec<Hash>) -> Option<Self> {
        (subtrees.len() == size.count_ones() as usize).then_some(Self { size, subtrees })
    }

    /// The subtrees' roots, largest first.
    pub fn parts(&self) -> &[Hash] {
        &self.subtrees
    }
}

/// Where tiles come from.
pub trait Tiles {
    /// Why a tile could not be had.
    type Error;

    /// The first `width` (1..=256) hashes of a tile, 32 bytes each. A source
    /// that only has a wider version of the tile may give that one as it is.
    fn tile(&self, level: u8, index: u64, width: u16) -> Result<Vec<u8>, Self::Error>;
}

impl<T: Tiles + ?Sized> Tiles for &T {
    type Error = T::Error;

    fn tile(&self, level: u8, index: u64, width: u16) -> Result<Vec<u8>, T::Error> {
        (**self).tile(level, index, width)
    }
}

/// Why something could not be computed from tiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError<E> {
    /// Asked for an entry or a size that the tree does not have. The caller's
    /// mistake.
    #[error("beyond the size of the tree")]
    Size,
    /// A tile is shorter than asked for, or no whole number of hashes.
    #[error("tile {level}/{index} has the wrong length")]
    Tile {
        /// Level of the tile.
        level: u8,
        /// Index within the level.
        index: u64,
    },
    /// The source failed.
    #[error("no tile")]
    Source(#[source] E),
}

/// Tiles of a tree of `size` leaves; each is fetched at most once.
struct Reader<'a, T> {
    size: u64,
    tiles: &'a T,
    seen: BTreeMap<(u8, u64), Vec<u8>>,
}

impl<'a, T: Tiles> Reader<'a, T> {
    fn new(size: u64, tiles: &'a T) -> Self {
        Self { size, tiles, seen: BTreeMap::new() }
    }

    fn tile(&mut self, level: u8, index: u64) -> Result<&[u8], TreeError<T::Error>> {
        let key = (level, index);
        if !self.seen.contains_key(&key) {
            let width = tile::width_at(self.size, level, index);
            let bytes = self.tiles.tile(level, index, width).map_err(TreeError::Source)?;
            if bytes.len() % Hash::BYTES != 0 || bytes.len() < usize::from(width) * Hash::BYTES {
                return Err(TreeError::Tile { level, index });
            }
            self.seen.insert(key, bytes);
        }
        Ok(&self.seen[&key])
    }

    /// The root of the perfect subtree of 2^`level` leaves at `index`.
    fn perfect(&mut self, level: u32, index: u64) -> Result<Hash, TreeError<T::Error>> {
        // A tile has the nodes of every eighth level; those between are
        // hashed from the tile's run of 2^(level mod 8).
        let run = 1usize << (level % 8);
        let first = u128::from(index) * run as u128;
        let (tile_level, tile_index) = ((level / 8) as u8, (first / 256) as u64);
        let start = (first % 256) as usize * Hash::BYTES;
        let bytes = self
            .tile(tile_level, tile_index)?
            .get(start..start + run * Hash::BYTES)
            .ok_or(TreeError::Tile { level: tile_level, index: tile_index })?;
        let mut row: Vec<Hash> = bytes.chunks_exact(Hash::BYTES).filter_map(Hash::from_slice).collect();
        while row.len() > 1 {
            row = row.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
        }
        Ok(row[0])
    }

    /// The perfect subtrees, largest first, that make up leaves
    /// `begin..end`; `begin` is a multiple of the largest one's size.
    fn subtrees(&mut self, begin: u64, end: u64) -> Result<Vec<Hash>, TreeError<T::Error>> {
        let mut hashes = Vec::new();
        let mut begin = begin;
        while begin < end {
            let level = (end - begin).ilog2();
            hashes.push(self.perfect(level, begin >> level)?);
            begin += 1 << level;
        }
        Ok(hashes)
    }

    /// The hash of leaves `begin..end`, as RFC 6962 defines it.
    fn range(&mut self, begin: u64, end: u64) -> Result<Hash, TreeError<T::Error>> {
        let subtrees = self.subtrees(begin, end)?;
        Ok(join(&subtrees).unwrap_or_else(empty_root))
    }
}

/// The largest power of two that is less than `n`, which is at least 2.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// The right edge of the tree of `size` leaves, from its tiles.
pub fn frontier<T: Tiles>(size: u64, tiles: &T) -> Result<Frontier, TreeError<T::Error>> {
    let subtrees = Reader::new(size, tiles).subtrees(0, size)?;
    Ok(Frontier { size, subtrees })
}

/// The root that the tree had when it had `size` leaves, from the tiles of a
/// tree of `tree_size_of_tiles` leaves.
pub fn root<T: Tiles>(size: u64, tree_size_of_tiles: u64, tiles: &T) -> Result<Hash, TreeError<T::Error>> {
    if size > tree_size_of_tiles {
        return Err(TreeError::Size);
    }
    Reader::new(tree_size_of_tiles, tiles).range(0, size)
}

/// The proof that leaf `index` is in the tree of `size` leaves: RFC 6962,
/// section 2.1.1, from the leaf's sibling to the root's child.
pub fn inclusion_proof<T: Tiles>(index: u64, size: u64, tiles: &T) -> Result<Vec<Hash>, TreeError<T::Error>> {
    if index >= size {
        return Err(TreeError::Size);
    }
    let mut reader = Reader::new(size, tiles);
    let mut proof = Vec::new();
    let (mut begin, mut end) = (0, size);
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            proof.push(reader.range(middle, end)?);
            end = middle;
        } else {
            proof.push(reader.range(begin, middle)?);
            begin = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `old` leaves is a prefix of that of `new`
/// leaves: RFC 6962, section 2.1.2. Empty if `old` is 0 or `new`.
pub fn consistency_proof<T: Tiles>(old: u64, new: u64, tiles: &T) -> Result<Vec<Hash>, TreeError<T::Error>> {
    if old > new {
        return Err(TreeError::Size);
    }
    let mut proof = Vec::new();
    if old == 0 {
        return Ok(proof);
    }
    let mut reader = Reader::new(new, tiles);
    let (mut begin, mut end) = (0, new);
    while end != old {
        let middle = begin + split(end - begin);
        if old <= middle {
            proof.push(reader.range(middle, end)?);
            end = middle;
        } else {
            proof.push(reader.range(begin, middle)?);
            begin = middle;
        }
    }
    // The verifier has the old root; it needs the last subtree of the old tree
    // only where that is not the whole of it.
    if begin != 0 {
        proof.push(reader.range(begin, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The index is not in the tree, or the old tree is larger than the new.
    #[error("beyond the size of the tree")]
    Size,
    /// A tree of this size has a longer or a shorter proof.
    #[error("proof has the wrong number of hashes")]
    Length,
    /// The hashes do not lead to the root.
    #[error("proof does not lead to the root")]
    Root,
}

/// Checks that `leaf` is leaf `index` of the tree with `size` leaves and that
/// `root`. (RFC 9162, section 2.1.3.2.)
pub fn verify_inclusion(index: u64, size: u64, leaf: &Hash, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if inclusion_root(index, size, leaf, proof)? == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// The root that the proof leads to from `leaf`, for formats that do not say
/// which it must be.
pub(crate) fn inclusion_root(index: u64, size: u64, leaf: &Hash, proof: &[Hash]) -> Result<Hash, ProofError> {
    if index >= size {
        return Err(ProofError::Size);
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            // At the right edge, levels on which the node has no sibling are
            // skipped.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    Ok(hash)
}

/// Checks that the tree with `old_size` leaves and `old_root` is a prefix of
/// that with `new_size` leaves and `new_root`. (RFC 9162, section 2.1.4.2.)
///
/// Everything extends the empty tree: with `old_size` 0 the proof must be
/// empty and `old_root` that of the empty tree, and nothing is said about
/// `new_root`.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::Size);
    }
    if old_size == 0 || old_size == new_size {
        if !proof.is_empty() {
            return Err(ProofError::Length);
        }
        let expected = if old_size == new_size { *new_root } else { empty_root() };
        if *old_root != expected || (new_size == 0 && *new_root != empty_root()) {
            return Err(ProofError::Root);
        }
        return Ok(());
    }
    if consistency_root(old_size, old_root, new_size, proof)? == *new_root { Ok(()) } else { Err(ProofError::Root) }
}

/// The root of the larger tree that the proof leads to, from the smaller one,
/// of which there must be something.
pub(crate) fn consistency_root(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    proof: &[Hash],
) -> Result<Hash, ProofError> {
    if old_size == 0 || old_size >= new_size {
        return Err(ProofError::Size);
    }
    // Where the old tree is one perfect subtree, its root starts the path and
    // the proof leaves it out.
    let (first, rest) = if old_size.is_power_of_two() {
        (*old_root, proof)
    } else {
        let (first, rest) = proof.split_first().ok_or(ProofError::Length)?;
        (*first, rest)
    };
    let (old, new) = consistency_roots(old_size, new_size, first, rest)?;
    if old == *old_root { Ok(new) } else { Err(ProofError::Root) }
}

/// The root of the smaller tree that a consistency proof to `new_root` shows,
/// where the proof says it by itself: not when the old size is a power of two,
/// because the proof leaves the old root out then.
pub fn proven_root(old_size: u64, new_size: u64, new_root: &Hash, proof: &[Hash]) -> Option<Hash> {
    if old_size == 0 || old_size >= new_size || old_size.is_power_of_two() {
        return None;
    }
    let (first, rest) = proof.split_first()?;
    let (old, new) = consistency_roots(old_size, new_size, *first, rest).ok()?;
    (new == *new_root).then_some(old)
}

/// The roots of both trees, from the hash of a subtree that both have and the
/// rest of a consistency proof (RFC 9162, section 2.1.4.2).
fn consistency_roots(old_size: u64, new_size: u64, first: Hash, rest: &[Hash]) -> Result<(Hash, Hash), ProofError> {
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    Ok((old_hash, new_hash))
}
