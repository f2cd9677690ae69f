//! How a log lies in files: the names of tiles and entry bundles, and the
//! bytes of a bundle. (C2SP `tlog-tiles`.)
//!
//! All paths are relative to `log/`. Parsing accepts exactly what the
//! formatting functions write: one name, one spelling.

use std::fmt::Write as _;

/// Hashes in a full tile, and entries in a full bundle.
pub const WIDTH: u64 = 256;

/// The longest entry: its length is written in 16 bits.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// Levels that a tile's name may have (0..=63). Trees of less than 2⁶⁴ leaves
/// reach level 7.
const LEVEL_MAX: u8 = 63;

/// Which tile, and how much of it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, std::hash::Hash)]
pub struct TileId {
    /// 0: leaf hashes. Above: roots of full tiles of the level below.
    pub level: u8,
    /// Position within the level.
    pub index: u64,
    /// Hashes in it: 256 of a full tile, less of a partial one.
    pub width: u16,
}

impl TileId {
    /// `tile/0/x001/067.p/3`.
    pub fn path(&self) -> String {
        format!("tile/{}/{}{}", self.level, index_path(self.index), suffix(self.width))
    }

    /// Reads what [`TileId::path`] writes.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let level = u8::try_from(parse_decimal(level)?).ok().filter(|level| *level <= LEVEL_MAX)?;
        let (index, width) = parse_position(rest)?;
        Some(Self { level, index, width })
    }

    /// Whether it is full.
    pub fn is_full(&self) -> bool {
        u64::from(self.width) == WIDTH
    }
}

/// `tile/entries/x001/067.p/3`.
pub fn entries_path(index: u64, width: u16) -> String {
    format!("tile/entries/{}{}", index_path(index), suffix(width))
}

/// Reads what [`entries_path`] writes: index and width.
pub fn parse_entries_path(path: &str) -> Option<(u64, u16)> {
    parse_position(path.strip_prefix("tile/entries/")?)
}

/// Groups of three digits, all but the last with an `x` before them:
/// 1234067 is `x001/x234/067`.
pub fn index_path(n: u64) -> String {
    let mut path = format!("{:03}", n % 1000);
    let mut rest = n / 1000;
    while rest > 0 {
        path.insert_str(0, &format!("x{:03}/", rest % 1000));
        rest /= 1000;
    }
    path
}

/// Reads what [`index_path`] writes.
pub fn parse_index_path(path: &str) -> Option<u64> {
    let mut n: u64 = 0;
    let mut groups = path.split('/').peekable();
    while let Some(group) = groups.next() {
        let digits = if groups.peek().is_some() { group.strip_prefix('x')? } else { group };
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let group: u64 = digits.parse().ok()?;
        n = n.checked_mul(1000)?.checked_add(group)?;
    }
    // Refuses leading groups of zeros.
    (index_path(n) == path).then_some(n)
}

fn suffix(width: u16) -> String {
    let mut text = String::new();
    if u64::from(width) != WIDTH {
        let _ = write!(text, ".p/{width}");
    }
    text
}

fn parse_position(path: &str) -> Option<(u64, u16)> {
    let (index, width) = match path.split_once(".p/") {
        None => (path, WIDTH as u16),
        Some((index, width)) => {
            let width = parse_decimal(width).filter(|width| (1..WIDTH).contains(width))?;
            (index, width as u16)
        }
    };
    Some((parse_index_path(index)?, width))
}

/// A decimal number without leading zeros or sign.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// How many hashes a tree of `size` leaves has at a tile level.
fn hashes_at(size: u64, level: u8) -> u64 {
    size.checked_shr(8 * u32::from(level)).unwrap_or(0)
}

/// How many hashes the tile at a position has in a tree of `size` leaves.
pub(crate) fn width_at(size: u64, level: u8, index: u64) -> u16 {
    let before = index.saturating_mul(WIDTH);
    hashes_at(size, level).saturating_sub(before).min(WIDTH) as u16
}

/// The width of the partial tile that a tree of `size` leaves has at a level;
/// 0 if it has none.
pub fn partial_width(size: u64, level: u8) -> u16 {
    (hashes_at(size, level) % WIDTH) as u16
}

/// Every tile that a tree of `size` leaves has, level by level, each level
/// from the left; at most one on each level is partial.
pub fn tiles_of(size: u64) -> impl Iterator<Item = TileId> {
    tiles_since(0, size)
}

/// The tiles that a tree of `new` leaves has and one of `old` leaves has not:
/// what an append must write. A partial tile that grew counts as another one.
pub fn tiles_between(old: u64, new: u64) -> Vec<TileId> {
    tiles_since(old, new).collect()
}

fn tiles_since(old: u64, new: u64) -> impl Iterator<Item = TileId> {
    // 8 = 64 bits of size in levels of 8.
    (0..8u8).flat_map(move |level| {
        let (had, has) = (hashes_at(old, level), hashes_at(new, level));
        let full = (had / WIDTH..has / WIDTH).map(move |index| TileId { level, index, width: WIDTH as u16 });
        let partial = (has > had && has % WIDTH != 0).then_some(TileId {
            level,
            index: has / WIDTH,
            width: (has % WIDTH) as u16,
        });
        full.chain(partial)
    })
}

/// Why bytes are not the bundle that they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// It ends inside an entry or before its last one.
    #[error("bundle ends inside entry {0} of it")]
    Short(u16),
    /// Something follows the last entry.
    #[error("bundle goes on after its last entry")]
    Long,
}

/// Appends an entry to a bundle: its length in 16 bits, its bytes.
///
/// # Panics
///
/// When the entry is longer than [`ENTRY_BYTES_MAX`].
/// [`Entry::to_bytes`](crate::entry::Entry::to_bytes) never gives a longer one.
pub fn encode_entry(bundle: &mut Vec<u8>, entry: &[u8]) {
    let length = u16::try_from(entry.len()).expect("an entry has at most 65,535 bytes");
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
}

/// The `width` entries of a bundle.
pub fn parse_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::with_capacity(usize::from(width).min(bytes.len() / 2));
    let mut rest = bytes;
    for nth in 0..width {
        let (length, after) = rest.split_first_chunk::<2>().ok_or(BundleError::Short(nth))?;
        let (entry, after) =
            after.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(BundleError::Short(nth))?;
        entries.push(entry);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(BundleError::Long);
    }
    Ok(entries)
}
