//! Content: the redacted bodies that entries speak of, in parts, in packs.
//! (`docs/format.md`, sections *Content pack* and *`content`*.)
//!
//! A pack carries its own hashes, so [`parse_pack`] finds damage, but not
//! replacement: that a part belongs to the log is shown only by an entry that
//! names its hash. A body is its frame with each zero byte replaced by the
//! next part.

use crate::tree::{Hash, sha256};

/// What stands in a frame for a part.
pub const PLACEHOLDER: u8 = 0x00;

/// Bytes before each part in a pack: its SHA-256, its length in 32 bits.
pub const PART_HEADER_BYTES: usize = 32 + 4;

/// Why bytes are not a pack. The offsets are of the part's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// It ends inside a part.
    #[error("pack ends inside the part at byte {0}")]
    Short(usize),
    /// A part does not have its hash.
    #[error("part at byte {0} of the pack does not have its hash")]
    Hash(usize),
}

/// Appends a part to a pack, and gives its name.
///
/// # Panics
///
/// When the part has 4 GiB or more.
pub fn encode_part(pack: &mut Vec<u8>, part: &[u8]) -> Hash {
    let hash = sha256(part);
    encode_named_part(pack, &hash, part);
    hash
}

/// Appends a part whose name, its SHA-256, is known already.
///
/// # Panics
///
/// When the part has 4 GiB or more.
pub fn encode_named_part(pack: &mut Vec<u8>, hash: &Hash, part: &[u8]) {
    let length = u32::try_from(part.len()).expect("a part has less than 4 GiB");
    pack.extend_from_slice(&hash.0);
    pack.extend_from_slice(&length.to_be_bytes());
    pack.extend_from_slice(part);
}

/// A part in a pack: its name, its bytes, and the offset at which the bytes
/// start within the pack.
pub type PackPart<'a> = (Hash, &'a [u8], usize);

/// The parts of a pack. Every hash is checked.
pub fn parse_pack(pack: &[u8]) -> Result<Vec<PackPart<'_>>, PackError> {
    let mut parts = Vec::new();
    let mut rest = pack;
    while !rest.is_empty() {
        let header = pack.len() - rest.len();
        let short = PackError::Short(header);
        let (hash, after) = rest.split_first_chunk::<32>().ok_or(short)?;
        let (length, after) = after.split_first_chunk::<4>().ok_or(short)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| short)?;
        let (part, after) = after.split_at_checked(length).ok_or(short)?;
        let hash = Hash(*hash);
        if sha256(part) != hash {
            return Err(PackError::Hash(header));
        }
        parts.push((hash, part, header + PART_HEADER_BYTES));
        rest = after;
    }
    Ok(parts)
}

/// The body: the frame with each zero byte replaced by the next part. `None`
/// if there are not as many parts as zero bytes.
pub fn assemble(frame: &[u8], parts: &[&[u8]]) -> Option<Vec<u8>> {
    if frame.iter().filter(|byte| **byte == PLACEHOLDER).count() != parts.len() {
        return None;
    }
    let mut body = Vec::with_capacity(frame.len() + parts.iter().map(|part| part.len()).sum::<usize>());
    let mut parts = parts.iter();
    for (nth, piece) in frame.split(|byte| *byte == PLACEHOLDER).enumerate() {
        if nth > 0 {
            body.extend_from_slice(parts.next()?);
        }
        body.extend_from_slice(piece);
    }
    Some(body)
}

/// Whether a split is one that every reader puts together to `body` again:
/// what a writer asks before it stores one.
pub fn split_check(body: &[u8], frame: &[u8], parts: &[&[u8]]) -> bool {
    !body.contains(&PLACEHOLDER) && assemble(frame, parts).as_deref() == Some(body)
}
