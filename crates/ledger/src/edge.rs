//! The right edge of the tree: from new entries to the objects that a larger tree has.

use std::ops::Range;
use std::sync::Arc;

use tabellion_evidence::tile::{self, TileId};
use tabellion_evidence::tree::{self, Frontier, Hash, Tiles};

use crate::read::tree_error;
use crate::{LedgerError, Reader};

/// Objects to be written, one behind the other in one buffer, which serves again for the next ones: fresh memory for
/// megabytes would cost more than filling it.
#[derive(Default)]
pub(crate) struct Objects {
    bytes: Vec<u8>,
    names: Vec<(String, Range<usize>)>,
}

impl Objects {
    /// Adds the object that `write` appends, and gives its bytes.
    pub(crate) fn put(&mut self, name: String, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.names.push((name, start..self.bytes.len()));
        &self.bytes[start..]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.names.iter().map(|(name, range)| (&**name, &self.bytes[range.clone()]))
    }

    pub(crate) fn clear(&mut self) {
        self.names.clear();
        empty(&mut self.bytes);
    }
}

/// A buffer of this size is kept, however little of it was needed.
const KEPT_BYTES: usize = 1 << 20;

/// Empties a buffer, and lets one go that was made for far more than it had. What is empty already says nothing of how
/// much is needed.
pub(crate) fn empty(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_BYTES && !buffer.is_empty() && buffer.len() < buffer.capacity() / 4 {
        *buffer = Vec::with_capacity(buffer.len());
    }
    buffer.clear();
}

/// What is needed to append to a tree: its frontier, its partial tiles and its partial entry bundle.
#[derive(Clone)]
pub(crate) struct Edge {
    frontier: Frontier,
    /// The hashes of the rightmost, partial tile of each level.
    tiles: Vec<Vec<Hash>>,
    bundle: Arc<[u8]>,
}

impl Edge {
    /// The edge of a tree that is in the store.
    pub(crate) fn load(reader: &Reader, size: u64) -> Result<Self, LedgerError> {
        let tiles = reader.tiles();
        let mut edge = Self { frontier: Frontier::new(), tiles: Vec::new(), bundle: Arc::default() };
        for level in 0_u8.. {
            let Some(above) = size.checked_shr(8 * u32::from(level)).filter(|&above| above > 0) else { break };
            let width = tile::partial_width(size, level);
            let hashes = if width == 0 {
                Vec::new()
            } else {
                let mut bytes = tiles.tile(level, above / tile::WIDTH, width)?;
                bytes.truncate(usize::from(width) * 32);
                if bytes.len() != usize::from(width) * 32 {
                    return Err(LedgerError::Diverged);
                }
                bytes.chunks_exact(32).map(|hash| Hash(hash.try_into().expect("32 bytes"))).collect()
            };
            edge.tiles.push(hashes);
        }
        // From what was read, and not read again: so that whoever compares the root knows that the hashes which the next
        // tiles begin with are those of this tree.
        edge.frontier = tree::frontier(size, &Loaded(&edge.tiles)).map_err(tree_error)?;
        if tile::partial_width(size, 0) > 0 {
            // What is not in the tiles must not get into a bundle that the next checkpoint vouches for.
            let entries = reader.entries(size / tile::WIDTH, size)?;
            if !entries.iter().map(|entry| tree::leaf_hash(entry)).eq(edge.tiles[0].iter().copied()) {
                return Err(LedgerError::Diverged);
            }
            let mut bundle = Vec::new();
            entries.iter().for_each(|entry| tile::encode_entry(&mut bundle, entry));
            edge.bundle = bundle.into();
        }
        Ok(edge)
    }

    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Appends entries. Puts to `objects` those under `log/` that the larger tree has and the smaller had not, and
    /// returns the directories of partial ones that a full one has replaced.
    pub(crate) fn append(&mut self, entries: &[&[u8]], objects: &mut Objects) -> Vec<String> {
        let mut replaced = Vec::new();
        let mut size = self.frontier.size();
        let mut rest = entries;
        while !rest.is_empty() {
            let room = tile::WIDTH - size % tile::WIDTH;
            let (now, later) = rest.split_at(rest.len().min(room as usize));
            let number = size / tile::WIDTH;
            size += now.len() as u64;
            let width = (size - number * tile::WIDTH) as u16;
            let path = format!("log/{}", tile::entries_path(number, width));
            if u64::from(width) == tile::WIDTH {
                replaced.push(format!("{path}.p"));
            }
            let bundle = objects.put(path, |bundle| {
                bundle.extend_from_slice(&self.bundle);
                now.iter().for_each(|entry| tile::encode_entry(bundle, entry));
            });
            self.bundle = if u64::from(width) < tile::WIDTH { bundle.into() } else { Arc::default() };
            rest = later;
        }
        let mut put_tile = |id: TileId, hashes: &[Hash]| {
            let path = format!("log/{}", id.path());
            if id.is_full() {
                replaced.push(format!("{path}.p"));
            }
            objects.put(path, |tile| hashes.iter().for_each(|hash| tile.extend_from_slice(&hash.0)));
        };
        for entry in entries {
            let tiles = &mut self.tiles;
            self.frontier.push_with(tree::leaf_hash(entry), |level, position, hash| {
                // Tiles hold every eighth level of the tree.
                if level % 8 != 0 {
                    return;
                }
                let level = level / 8;
                if tiles.len() <= usize::from(level) {
                    tiles.push(Vec::new());
                }
                let hashes = &mut tiles[usize::from(level)];
                hashes.push(hash);
                if hashes.len() as u64 == tile::WIDTH {
                    let id = TileId { level, index: position / tile::WIDTH, width: tile::WIDTH as u16 };
                    put_tile(id, hashes);
                    hashes.clear();
                }
            });
        }
        for (level, hashes) in self.tiles.iter().enumerate().filter(|(_, hashes)| !hashes.is_empty()) {
            let id =
                TileId { level: level as u8, index: (size >> (8 * level)) / tile::WIDTH, width: hashes.len() as u16 };
            put_tile(id, hashes);
        }
        replaced
    }
}

/// The rightmost tiles, which are all that a frontier is made of.
struct Loaded<'a>(&'a [Vec<Hash>]);

impl Tiles for Loaded<'_> {
    type Error = LedgerError;

    fn tile(&self, level: u8, _index: u64, _width: u16) -> Result<Vec<u8>, LedgerError> {
        let hashes = self.0.get(usize::from(level)).map_or(&[][..], Vec::as_slice);
        Ok(hashes.iter().flat_map(|hash| hash.0).collect())
    }
}
