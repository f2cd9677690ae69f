//! Tiles against the tree that the entries make.
//!
//! The root is computed from the entries alone. When it is the signed one, all
//! entries are right, and whatever tile differs is damaged. When it is not,
//! the leaf hashes in the tiles are tried in place of those entries that do
//! not have them: when that gives the signed root, the tiles are right, and
//! the entries that differ are the damaged ones. When neither does, the two
//! are said to disagree.

use std::collections::{BTreeSet, HashSet};

use rayon::prelude::*;
use tabellion_evidence::audit::{self, Nodes, Problem, TileState};
use tabellion_evidence::checkpoint::Checkpoint;
use tabellion_evidence::tile::{self, TileId, WIDTH};
use tabellion_evidence::tree::{self, Hash, Tiles, TreeError};

use crate::entries::{Entries, width_of};
use crate::files::{Files, bundle_file, tile_file};
use crate::report::{Checked, Problems};
use crate::{CHECKPOINT, Source, SourceError, Ticker};

const FULL: u16 = WIDTH as u16;

/// Reads a tile, or the full one that has taken its place.
fn read_tile(source: &dyn Source, id: TileId) -> Result<Option<Vec<u8>>, SourceError> {
    match source.read(&tile_file(id))? {
        None if !id.is_full() => {
            let full = source.read(&tile_file(TileId { width: FULL, ..id }))?;
            // One that is not full is damaged, and must not look like ours.
            let length = usize::from(id.width) * Hash::BYTES;
            Ok(full.map(
                |bytes| if bytes.len() == WIDTH as usize * Hash::BYTES { bytes[..length].to_vec() } else { bytes },
            ))
        }
        found => Ok(found),
    }
}

/// What is wrong with a tile that must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Missing,
    Length,
    Differs(u16),
}

impl Fault {
    fn problem(self, id: TileId) -> Problem {
        let file = tile_file(id);
        match self {
            Self::Missing => Problem::Missing { file },
            Self::Length => Problem::TileLength { file, width: id.width },
            Self::Differs(hash) => Problem::Tile { file, hash },
        }
    }
}

fn faults(
    source: &dyn Source,
    nodes: &Nodes,
    ids: &[TileId],
    ticker: &Ticker<'_>,
) -> Result<Vec<(TileId, Fault)>, SourceError> {
    let check = |&id: &TileId| -> Result<Option<(TileId, Fault)>, SourceError> {
        ticker.tick();
        let Some(bytes) = read_tile(source, id)? else { return Ok(Some((id, Fault::Missing))) };
        Ok(match nodes.compare(id, &bytes) {
            TileState::Same => None,
            TileState::Length | TileState::Beyond => Some((id, Fault::Length)),
            TileState::Differs(hash) => Some((id, Fault::Differs(hash))),
        })
    };
    ids.par_iter().filter_map(|id| check(id).transpose()).collect()
}

/// What came out.
pub(crate) struct Outcome {
    /// The root of the entries, if all are there.
    pub(crate) root: Option<Hash>,
    /// The tree that leads to the signed root, or else that of the entries.
    pub(crate) best: Option<Nodes>,
    /// How many tiles were looked at.
    pub(crate) tiles: u64,
    pub(crate) problems: Problems,
}

/// Holds the entries of a whole log, and every tile, against the checkpoint.
/// `entries` may go on beyond it; `whole` says that they reach it.
pub(crate) fn check(
    source: &dyn Source,
    head: &Checkpoint,
    entries: &mut Entries,
    whole: bool,
    files: Option<&Files>,
    ticker: &Ticker<'_>,
) -> Result<Outcome, SourceError> {
    let (mut tiles, mut problems) = (0, Problems::default());
    let checkpoint = || CHECKPOINT.to_owned();
    let leaves = std::mem::take(&mut entries.leaves);
    let above = std::mem::take(&mut entries.above);
    let unreadable: BTreeSet<u64> = entries.unreadable.iter().copied().collect();
    if !whole {
        problems.push(Problem::RootUnknown { file: checkpoint() });
        let known = |index: &u64| (index + 1) * WIDTH <= leaves.len() as u64 && !unreadable.contains(index);
        let ids: Vec<TileId> = (0..leaves.len() as u64 / WIDTH)
            .filter(known)
            .map(|index| TileId { level: 0, index, width: FULL })
            .collect();
        let nodes = Nodes::new(leaves, above);
        tiles += ids.len() as u64;
        problems.extend(
            faults(source, &nodes, &ids, ticker)?
                .into_iter()
                .map(|(id, fault)| disagreement(id, fault, head.size, true)),
        );
        return Ok(Outcome { root: None, best: None, tiles, problems });
    }

    let nodes = Nodes::new(leaves, above);
    let root = unreadable.is_empty().then(|| nodes.root(head.size)).flatten();
    let ids: Vec<TileId> = tile::tiles_of(head.size).collect();
    tiles += ids.len() as u64;
    let found = faults(source, &nodes, &ids, ticker)?;
    if root == Some(head.root) {
        problems.extend(found.iter().map(|&(id, fault)| fault.problem(id)));
        tiles += other_tiles(source, &nodes, head.size, files, &mut problems)?;
        return Ok(Outcome { root, best: Some(nodes), tiles, problems });
    }

    // Something is wrong with the entries, unless it is the checkpoint.
    let differing = |&&(id, fault): &&(TileId, Fault)| id.level == 0 && matches!(fault, Fault::Differs(_));
    let mut substituted = nodes.level(0).to_vec();
    let mut above = nodes.level(1).to_vec();
    let mut resolved = true;
    let suspects: BTreeSet<u64> =
        found.iter().filter(differing).map(|(id, _)| id.index).chain(unreadable.iter().copied()).collect();
    for &index in &suspects {
        let id = TileId { level: 0, index, width: width_of(index, head.size) };
        let hashes = read_tile(source, id)?.and_then(|bytes| audit::tile_hashes(&bytes, id.width));
        match hashes {
            Some(hashes) => {
                let start = (index * WIDTH) as usize;
                substituted[start..start + hashes.len()].copy_from_slice(&hashes);
                if let Some(above) = above.get_mut(index as usize) {
                    *above = audit::subtree_root(&substituted[start..start + WIDTH as usize]);
                }
            }
            None => resolved &= !unreadable.contains(&index),
        }
    }
    let by_tiles = Nodes::new(substituted, above);
    if by_tiles.root(head.size) == Some(head.root) {
        for &index in suspects.difference(&unreadable) {
            let start = index * WIDTH;
            let differ = nodes.tile_at(0, index).iter().zip(by_tiles.tile_at(0, index));
            for (entry, _) in (start..).zip(differ).filter(|(_, (entry, tile))| entry != tile) {
                problems.push(Problem::EntryChanged { file: bundle_file(index, width_of(index, head.size)), entry });
            }
        }
        problems.extend(faults(source, &by_tiles, &ids, ticker)?.into_iter().map(|(id, fault)| fault.problem(id)));
        tiles += other_tiles(source, &by_tiles, head.size, files, &mut problems)?;
        return Ok(Outcome { root, best: Some(by_tiles), tiles, problems });
    }
    problems.push(if unreadable.is_empty() {
        Problem::Root { file: checkpoint() }
    } else {
        Problem::RootUnknown { file: checkpoint() }
    });
    let about = |id: &TileId| unreadable.is_empty() || (id.level == 0 && !unreadable.contains(&id.index));
    problems.extend(
        found.into_iter().filter(|(id, _)| about(id)).map(|(id, fault)| disagreement(id, fault, head.size, false)),
    );
    if unreadable.is_empty() {
        tiles += other_tiles(source, &nodes, head.size, files, &mut problems)?;
    }
    let best = if unreadable.is_empty() { Some(nodes) } else { resolved.then_some(by_tiles) };
    Ok(Outcome { root, best, tiles, problems })
}

/// A leaf hash that is not its entry's, where the tree does not tell which of
/// the two is wrong.
fn disagreement(id: TileId, fault: Fault, size: u64, full: bool) -> Problem {
    match fault {
        Fault::Differs(hash) if id.level == 0 => Problem::Disagree {
            file: bundle_file(id.index, if full { FULL } else { width_of(id.index, size) }),
            tile: tile_file(id),
            entry: id.index * WIDTH + u64::from(hash),
        },
        fault => fault.problem(id),
    }
}

/// Tiles that a tree of this size does not have: partial ones from when it was
/// smaller, and those that the writer has put there for a larger one.
fn other_tiles(
    source: &dyn Source,
    nodes: &Nodes,
    size: u64,
    files: Option<&Files>,
    problems: &mut Problems,
) -> Result<u64, SourceError> {
    let Some(files) = files else { return Ok(0) };
    let mut tiles = 0;
    for &id in &files.tiles {
        let has = size.checked_shr(8 * u32::from(id.level)).unwrap_or(0).saturating_sub(id.index.saturating_mul(WIDTH));
        if has.min(WIDTH) == u64::from(id.width) {
            continue;
        }
        // A partial one may be gone by now.
        let Some(bytes) = source.read(&tile_file(id))? else { continue };
        tiles += 1;
        let file = tile_file(id);
        match nodes.compare(id, &bytes) {
            TileState::Same => {}
            TileState::Length => problems.push(Problem::TileLength { file, width: id.width }),
            TileState::Differs(hash) => problems.push(Problem::Tile { file, hash }),
            // A writer puts a full tile there before the bundle that fills it,
            // and partial ones before the partial bundle, so that these may be
            // ahead by as much. Partial tiles above those of leaves come
            // after all that they stand on.
            TileState::Beyond => {
                let claims = u128::from(id.index) * u128::from(WIDTH) + u128::from(id.width);
                let ahead = claims.checked_shl(8 * u32::from(id.level)).filter(|_| id.level < 8);
                let ready = match id.level == 0 || id.is_full() {
                    true => (nodes.size() / WIDTH + 1) * WIDTH,
                    false => nodes.size(),
                };
                if ahead.is_none_or(|leaves| leaves > u128::from(ready)) {
                    problems.push(Problem::Gap { file });
                } else if repeats(nodes, id, &bytes) {
                    problems.push(Problem::Repeats { file });
                }
            }
        }
    }
    Ok(tiles)
}

/// Whether a tile has hashes beyond the tree's end that the tree has: entries
/// have ids, so that no two have the same hash.
fn repeats(nodes: &Nodes, id: TileId, bytes: &[u8]) -> bool {
    let known = nodes.tile_at(id.level, id.index).len();
    let beyond: HashSet<&[u8]> = bytes.chunks_exact(Hash::BYTES).skip(known).collect();
    nodes.level(id.level).par_iter().any(|hash| beyond.contains(&hash.0[..]))
}

/// The tiles of a source, as the tree of one size has them.
pub(crate) struct SourceTiles<'a>(pub(crate) &'a dyn Source);

/// A tile that is not there, or that the source failed to give.
pub(crate) enum NoTile {
    Missing(TileId),
    Source(SourceError),
}

impl Tiles for SourceTiles<'_> {
    type Error = NoTile;

    fn tile(&self, level: u8, index: u64, width: u16) -> Result<Vec<u8>, NoTile> {
        let id = TileId { level, index, width };
        read_tile(self.0, id).map_err(NoTile::Source)?.ok_or(NoTile::Missing(id))
    }
}

/// The root that the log had with `size` entries, by its tiles; or what keeps
/// it from being computed.
pub(crate) fn root_of_tiles(source: &dyn Source, size: u64, of: u64) -> Result<Result<Hash, Problem>, SourceError> {
    match tree::root(size, of, &SourceTiles(source)) {
        Ok(root) => Ok(Ok(root)),
        Err(TreeError::Source(NoTile::Source(error))) => Err(error),
        Err(TreeError::Source(NoTile::Missing(id))) => Ok(Err(Problem::Missing { file: tile_file(id) })),
        Err(TreeError::Tile { level, index }) => {
            let shift = 8 * u32::from(level);
            let width = of.checked_shr(shift).unwrap_or(0).saturating_sub(index * WIDTH).min(WIDTH) as u16;
            Ok(Err(Problem::TileLength { file: tile_file(TileId { level, index, width }), width }))
        }
        Err(_) => Ok(Err(Problem::RootUnknown { file: CHECKPOINT.to_owned() })),
    }
}

/// Holds the root of the tiles at the right edge against the checkpoint. The
/// root, and whether it is the signed one.
pub(crate) fn check_edge(
    source: &dyn Source,
    head: &Checkpoint,
    problems: &mut Problems,
) -> Result<(Option<Hash>, bool), SourceError> {
    let root = match root_of_tiles(source, head.size, head.size)? {
        Ok(root) => Some(root),
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    let proven = root == Some(head.root);
    if root.is_some() && !proven {
        problems.push(Problem::RootOfTiles { file: CHECKPOINT.to_owned() });
    }
    Ok((root, proven))
}

/// A tile's hashes, and whether they are proven.
type Row = Vec<(Hash, bool)>;

/// Holds the entries of some bundles against the checkpoint through the tiles
/// above them, from the root down: each tile is proven by the one above it,
/// and those at the right edge by the root, if that is `proven`.
pub(crate) fn check_range(
    source: &dyn Source,
    head: &Checkpoint,
    proven: bool,
    entries: &Entries,
    checked: &mut Checked,
    problems: &mut Problems,
) -> Result<(), SourceError> {
    let bundles = (entries.leaves.len() as u64).div_ceil(WIDTH);
    if bundles == 0 {
        return Ok(());
    }
    // Hashes of the level above, by position, with whether they are proven.
    let (first, last) = (entries.first, entries.first + bundles - 1);
    let mut above: Row = Vec::new();
    for level in (0..8_u8).rev() {
        let shift = 8 * u32::from(level);
        let (from, to) = (first >> shift, last >> shift);
        let width =
            |index: u64| head.size.checked_shr(shift).unwrap_or(0).saturating_sub(index * WIDTH).min(WIDTH) as u16;
        let check = |index: u64| -> Result<(Row, Vec<Problem>), SourceError> {
            let id = TileId { level, index, width: width(index) };
            let unknown = || vec![(Hash([0; 32]), false); usize::from(id.width)];
            let mut problems = Vec::new();
            let tile = match read_tile(source, id)? {
                None => {
                    problems.push(Problem::Missing { file: tile_file(id) });
                    None
                }
                Some(bytes) => {
                    let tile = audit::tile_hashes(&bytes, id.width);
                    if tile.is_none() {
                        problems.push(Problem::TileLength { file: tile_file(id), width: id.width });
                    }
                    tile
                }
            };
            let Some(tile) = tile else {
                let row = unknown();
                if level == 0 {
                    entries.differing(index, head.size, row.iter().map(|(hash, _)| hash), false, &mut problems);
                }
                return Ok((row, problems));
            };
            let right = if id.is_full() {
                // Its own hash stands at `index` of the level above, of which
                // `above` holds what begins with the first tile there.
                let start = (from / WIDTH) * WIDTH;
                match above.get((index - start) as usize) {
                    Some(&(hash, true)) if audit::subtree_root(&tile) == hash => true,
                    Some((_, true)) => {
                        problems.push(Problem::TileAbove { file: tile_file(id) });
                        false
                    }
                    _ => false,
                }
            } else {
                proven
            };
            if level == 0 {
                entries.differing(index, head.size, tile.iter(), right, &mut problems);
                return Ok((Row::new(), problems));
            }
            Ok((tile.into_iter().map(|hash| (hash, right)).collect(), problems))
        };
        let rows: Vec<(Row, Vec<Problem>)> =
            (from..=to).into_par_iter().filter(|&index| width(index) > 0).map(check).collect::<Result<_, _>>()?;
        let mut hashes = Vec::with_capacity(rows.iter().map(|(row, _)| row.len()).sum());
        // One that reaches back before these entries was counted with those.
        let starts_here = |index: u64| first == 0 || index << shift >= first;
        checked.tiles += (from..=to).filter(|&index| width(index) > 0 && starts_here(index)).count() as u64;
        for (row, found) in rows {
            hashes.extend(row);
            problems.extend(found);
        }
        above = hashes;
    }
    Ok(())
}

impl Entries {
    /// Says which leaves of a bundle are not the hashes of its tile, which is
    /// proven or not.
    fn differing<'a>(
        &self,
        index: u64,
        size: u64,
        tile: impl Iterator<Item = &'a Hash>,
        proven: bool,
        problems: &mut Vec<Problem>,
    ) {
        let start = ((index - self.first) * WIDTH) as usize;
        let leaves = self.leaves.get(start..).unwrap_or_default();
        let differ = leaves.iter().zip(tile).enumerate().filter(|(_, (leaf, hash))| leaf != hash);
        let mut differ = differ.map(|(nth, _)| index * WIDTH + nth as u64).peekable();
        if differ.peek().is_none() || self.unreadable.contains(&index) {
            return;
        }
        let width = width_of(index, size);
        let file = bundle_file(index, width);
        problems.extend(differ.map(|entry| match proven {
            true => Problem::EntryChanged { file: file.clone(), entry },
            false => {
                let tile = tile_file(TileId { level: 0, index, width });
                Problem::Disagree { file: file.clone(), tile, entry }
            }
        }));
    }
}

/// Tiles of other widths than a tree of this size has, held against those that
/// it has, as far as both go. Gives how many, and how many of them go on beyond
/// the tree's end.
pub(crate) fn older_tiles(
    source: &dyn Source,
    size: u64,
    files: &Files,
    problems: &mut Problems,
) -> Result<(u64, u64), SourceError> {
    let (mut tiles, mut beyond) = (0, 0);
    for &id in &files.tiles {
        let has = size.checked_shr(8 * u32::from(id.level)).unwrap_or(0).saturating_sub(id.index.saturating_mul(WIDTH));
        let has = has.min(WIDTH) as u16;
        if has == id.width {
            continue;
        }
        beyond += u64::from(id.width > has);
        // A partial one may be gone by now.
        let Some(bytes) = source.read(&tile_file(id))? else { continue };
        tiles += 1;
        let file = tile_file(id);
        if bytes.len() != usize::from(id.width) * Hash::BYTES {
            problems.push(Problem::TileLength { file, width: id.width });
        } else if has > 0
            && let Some(right) = read_tile(source, TileId { width: has, ..id })?
            && let Some(hash) = bytes.chunks(Hash::BYTES).zip(right.chunks(Hash::BYTES)).position(|(a, b)| a != b)
        {
            problems.push(Problem::Tile { file, hash: hash as u16 });
        }
    }
    Ok((tiles, beyond))
}
