//! The tree of salts as the keyring has it.
//!
//! At first there are the 32 keys of the first character, made from a key that
//! is not kept. A prefix below which something was erased is *opened*: a row
//! with the 32 keys below it, that of the erased entry's own way being zeros.
//! A key stands in exactly one row, or follows from exactly one that does.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use tabellion_evidence::salt::{DEPTH, Node, Path, WIDTH};
use tabellion_evidence::tree::Hash;
use zeroize::Zeroizing;

use crate::VaultError;

/// The characters of an ID that are its time. Their keys serve for all entries
/// of a millisecond, and most of them for all of an hour.
const TIME: usize = 10;
/// Opened prefixes beyond so many are read again when they are needed.
const OPENED_MAX: usize = 256;

/// The 32 keys below a prefix.
type Keys = Zeroizing<Vec<u8>>;

/// Derives, and remembers enough that a new entry costs no query.
pub(crate) struct Salts {
    db: Connection,
    opened: HashMap<Box<[u8]>, Keys>,
    /// The keys from some depth down to the time's last character, for the entry that came last.
    trail: Trail,
}

#[derive(Default)]
struct Trail {
    time: [u8; TIME],
    /// The depth of the first key.
    from: usize,
    nodes: Vec<Node>,
}

impl Salts {
    pub(crate) fn new(db: Connection) -> Self {
        Self { db, opened: HashMap::new(), trail: Trail::default() }
    }

    /// The key of an entry, or one above it and what leads from there; `None` if it was erased.
    pub(crate) fn above(&mut self, path: &Path) -> Result<Option<(Node, usize)>, VaultError> {
        let symbols = path.symbols();
        let same = self.trail.time.iter().zip(symbols).take_while(|(a, b)| a == b).count();
        if self.trail.nodes.is_empty() || same < self.trail.from {
            let Some((node, depth)) = self.lowest(symbols)? else { return Ok(None) };
            if depth > TIME {
                return Ok(Some((node, depth)));
            }
            self.trail.from = depth;
            self.trail.nodes = vec![node];
        } else {
            self.trail.nodes.truncate(same - self.trail.from + 1);
        }
        let trail = &mut self.trail;
        for &symbol in &symbols[trail.from + trail.nodes.len() - 1..TIME] {
            let next = trail.nodes.last().expect("there is always one").child(symbol);
            trail.nodes.push(next);
        }
        trail.time.copy_from_slice(&symbols[..TIME]);
        Ok(trail.nodes.last().map(|node| (node.clone(), TIME)))
    }

    /// The key on the way that is kept, and its depth.
    fn lowest(&mut self, symbols: &[u8; DEPTH]) -> Result<Option<(Node, usize)>, VaultError> {
        for depth in 0..DEPTH {
            if !self.opened.contains_key(&symbols[..depth]) {
                let Some(keys) = opened(&self.db, &symbols[..depth])? else { return Ok(None) };
                if self.opened.len() >= OPENED_MAX {
                    self.opened.clear();
                }
                self.opened.insert(symbols[..depth].into(), keys);
            }
            if let Some(node) = key(&self.opened[&symbols[..depth]], symbols[depth]) {
                return Ok(Some((node, depth + 1)));
            }
        }
        Ok(None)
    }

    /// Whether the keyring has the header of a piece.
    pub(crate) fn opens(&self, name: &Hash) -> Result<bool, VaultError> {
        Ok(self.db.prepare_cached("SELECT 1 FROM piece WHERE name = ?")?.exists(params![name.0])?)
    }

    /// Forgets everything, because keys were destroyed.
    pub(crate) fn forget(&mut self) {
        self.opened.clear();
        self.trail = Trail::default();
    }
}

fn opened(db: &Connection, prefix: &[u8]) -> Result<Option<Keys>, VaultError> {
    let mut statement = db.prepare_cached("SELECT keys FROM opened WHERE prefix = ?")?;
    let keys = statement.query_row(params![prefix], |row| row.get::<_, Vec<u8>>(0)).optional()?;
    match keys {
        Some(keys) if keys.len() != 32 * WIDTH => Err(VaultError::Malformed),
        keys => Ok(keys.map(Zeroizing::new)),
    }
}

/// A key among those below a prefix; `None` where there are zeros.
fn key(keys: &Keys, symbol: u8) -> Option<Node> {
    let bytes: [u8; 32] = keys[usize::from(symbol) * 32..][..32].try_into().expect("32 times 32 bytes");
    (bytes != [0; 32]).then(|| Node::new(bytes))
}

fn write(db: &Connection, prefix: &[u8], keys: &Keys) -> Result<(), VaultError> {
    let sql = "INSERT INTO opened(prefix, keys) VALUES (?, ?) ON CONFLICT(prefix) DO UPDATE SET keys = excluded.keys";
    db.prepare_cached(sql)?.execute(params![prefix, &keys[..]])?;
    Ok(())
}

/// Starts a tree.
pub(crate) fn plant(db: &Connection) -> Result<(), VaultError> {
    let mut keys = Zeroizing::new(vec![0; 32 * WIDTH]);
    getrandom::fill(&mut keys).map_err(|_| VaultError::Random)?;
    write(db, &[], &keys)
}

/// Punches a prefix out of the tree, and so every ID that begins with it. Gives keys that were kept and are not any more, of
/// each row one; none if there was nothing left.
pub(crate) fn puncture(db: &Connection, prefix: &[u8]) -> Result<Vec<Node>, VaultError> {
    // What was opened below it goes: all of its rows begin with it.
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    let mut below = db.prepare_cached("DELETE FROM opened WHERE prefix >= ? AND prefix < ? RETURNING keys")?;
    let rows = below.query_map(params![prefix, end], |row| row.get::<_, Vec<u8>>(0))?;
    let mut destroyed = Vec::new();
    for keys in rows {
        let keys = Zeroizing::new(keys?);
        destroyed.extend((0..WIDTH as u8).find_map(|symbol| key(&keys, symbol)));
    }
    for depth in 0..prefix.len() {
        let Some(mut keys) = opened(db, &prefix[..depth])? else { break };
        let Some(mut node) = key(&keys, prefix[depth]) else { continue };
        destroyed.push(node.clone());
        clear(&mut keys, prefix[depth]);
        write(db, &prefix[..depth], &keys)?;
        for below in depth + 1..prefix.len() {
            let mut keys = Zeroizing::new(Vec::with_capacity(32 * WIDTH));
            (0..WIDTH as u8).for_each(|symbol| keys.extend_from_slice(node.child(symbol).expose()));
            clear(&mut keys, prefix[below]);
            write(db, &prefix[..below], &keys)?;
            node = node.child(prefix[below]);
        }
        break;
    }
    Ok(destroyed)
}

/// The fewest prefixes that have all of `expired` below them and none of `kept`, and nothing that could come at `from` or
/// later. Both are sorted.
pub(crate) fn cover(expired: &[Path], kept: &[Path], from: &Path) -> Vec<Vec<u8>> {
    let mut prefixes = Vec::new();
    cover_below(expired, kept, from.symbols(), 0, &mut prefixes);
    prefixes
}

fn cover_below(expired: &[Path], kept: &[Path], from: &[u8; DEPTH], depth: usize, prefixes: &mut Vec<Vec<u8>>) {
    let Some(first) = expired.first() else { return };
    let prefix = &first.symbols()[..depth];
    if depth == DEPTH || (kept.is_empty() && prefix < &from[..depth]) {
        prefixes.push(prefix.to_vec());
        return;
    }
    let of = |paths: &[Path], symbol: u8| {
        let at_most = |symbol| paths.partition_point(|path| path.symbols()[depth] < symbol);
        at_most(symbol)..at_most(symbol + 1)
    };
    for symbol in 0..WIDTH as u8 {
        let (expired, kept) = (&expired[of(expired, symbol)], &kept[of(kept, symbol)]);
        cover_below(expired, kept, from, depth + 1, prefixes);
    }
}

fn clear(keys: &mut Keys, symbol: u8) {
    keys[usize::from(symbol) * 32..][..32].fill(0);
}

/// For tests: the tree as it is kept.
#[cfg(test)]
impl Salts {
    pub(crate) fn puncture(&mut self, prefix: &[u8]) -> Vec<Node> {
        let destroyed = puncture(&self.db, prefix).unwrap();
        self.forget();
        destroyed
    }

    pub(crate) fn rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut statement = self.db.prepare("SELECT prefix, keys FROM opened").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }
}
