//! Reading a published log: what every command and every derived store does.

use std::sync::Arc;

use tabellion_evidence::audit::Packed;
use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::note::{VerifierKey, parse_keys};
use tabellion_evidence::proof::Proof;
use tabellion_evidence::tile::{self, TileId};
use tabellion_evidence::tree::{self, Hash, Tiles, TreeError};
use tabellion_store::Store;

use crate::LedgerError;

/// A published log, read object by object. Works beside the process that writes it.
#[derive(Clone)]
pub struct Reader {
    store: Arc<dyn Store>,
}

impl Reader {
    /// Reads the log whose data directory the store is.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The store itself.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The log's public key as the data directory has it. Whoever can change the data can change this too.
    /// Of several the first, which is the Ed25519 key.
    pub fn vkey(&self) -> Result<VerifierKey, LedgerError> {
        let mut keys = self.vkeys()?;
        Ok(keys.swap_remove(0))
    }

    /// All of the log's public keys, as the data directory has them.
    pub fn vkeys(&self) -> Result<Vec<VerifierKey>, LedgerError> {
        let bytes = self.object("log.vkey")?;
        std::str::from_utf8(&bytes).ok().and_then(|text| parse_keys(text).ok()).ok_or(LedgerError::Key)
    }

    /// The newest checkpoint's bytes.
    pub fn checkpoint_note(&self) -> Result<Vec<u8>, LedgerError> {
        self.object("log/checkpoint")
    }

    /// The newest checkpoint, its signature checked with the key that lies beside it.
    pub fn checkpoint(&self) -> Result<Checkpoint, LedgerError> {
        let verified =
            checkpoint::verify(&self.checkpoint_note()?, &self.vkey()?).map_err(|_| LedgerError::Checkpoint)?;
        Ok(verified.into_inner())
    }

    /// The bytes of the entry bundle `number` of a tree of `size` entries.
    pub fn bundle(&self, number: u64, size: u64) -> Result<Vec<u8>, LedgerError> {
        let width = (size - (number * tile::WIDTH).min(size)).min(tile::WIDTH) as u16;
        self.partial(
            &format!("log/{}", tile::entries_path(number, width)),
            &format!("log/{}", tile::entries_path(number, tile::WIDTH as u16)),
        )
    }

    /// The entries of bundle `number` of a tree of `size` entries.
    pub fn entries(&self, number: u64, size: u64) -> Result<Vec<Vec<u8>>, LedgerError> {
        let width = (size - (number * tile::WIDTH).min(size)).min(tile::WIDTH);
        let bytes = self.bundle(number, size)?;
        let name = || format!("log/{}", tile::entries_path(number, width as u16));
        // A full bundle may have taken the partial one's place since.
        let entries = tile::parse_bundle(&bytes, width as u16)
            .or_else(|_| tile::parse_bundle(&bytes, tile::WIDTH as u16))
            .map_err(|_| LedgerError::Damaged { name: name() })?;
        Ok(entries.into_iter().take(width as usize).map(<[u8]>::to_vec).collect())
    }

    /// One entry of a tree of `size` entries.
    pub fn entry(&self, index: u64, size: u64) -> Result<Vec<u8>, LedgerError> {
        let mut entries = self.entries(index / tile::WIDTH, size)?;
        let within = (index % tile::WIDTH) as usize;
        if within < entries.len() { Ok(entries.swap_remove(within)) } else { Err(LedgerError::Beyond { index }) }
    }

    /// A proof that the entry is in the newest tree, with the entry itself as its extra line.
    pub fn prove(&self, index: u64) -> Result<Proof, LedgerError> {
        let checkpoint = String::from_utf8(self.checkpoint_note()?).map_err(|_| LedgerError::Checkpoint)?;
        let size = self.checkpoint()?.size;
        if index >= size {
            return Err(LedgerError::Beyond { index });
        }
        let hashes = tree::inclusion_proof(index, size, &self.tiles()).map_err(tree_error)?;
        Ok(Proof { extra: Some(self.entry(index, size)?), index, hashes, checkpoint })
    }

    /// The tree's root when it had `size` entries, from the tiles of the tree of `of` entries.
    pub fn root(&self, size: u64, of: u64) -> Result<Hash, LedgerError> {
        tree::root(size, of, &self.tiles()).map_err(tree_error)
    }

    /// The tiles.
    pub fn tiles(&self) -> StoreTiles<'_> {
        StoreTiles { store: &*self.store }
    }

    /// The packs of a tree of `size` entries that start at entry `from` or later: index and name, ascending.
    /// Packs beyond `size`, which are not published yet, are there too.
    pub fn packs(&self, packed: Packed, from: u64, size: u64) -> Result<Vec<(u64, String)>, LedgerError> {
        let mut packs = Vec::new();
        // `x001` holds what starts with it, however long it is. While all indexes from `from` on have as many groups
        // of digits as `from`, a directory that comes before `from`'s own can be left out.
        let first = tile::index_path(from);
        let skip = (first.len() == tile::index_path(size).len()).then_some(first.as_str());
        self.packs_below(packed, packed.directory(), skip, &mut packs)?;
        packs.retain(|&(index, _)| index >= from);
        packs.sort_unstable();
        Ok(packs)
    }

    fn packs_below(
        &self,
        packed: Packed,
        directory: &str,
        skip: Option<&str>,
        packs: &mut Vec<(u64, String)>,
    ) -> Result<(), LedgerError> {
        for name in self.store.list(directory)? {
            let path = format!("{directory}/{name}");
            let below = &path[packed.directory().len() + 1..];
            if let Some(prefix) = below.strip_suffix('/') {
                if skip.is_none_or(|first| first.get(..prefix.len()).is_none_or(|start| prefix >= start)) {
                    self.packs_below(packed, &path[..path.len() - 1], skip, packs)?;
                }
            } else if let Some(index) = tile::parse_index_path(below) {
                packs.push((index, path));
            }
        }
        Ok(())
    }

    fn object(&self, name: &str) -> Result<Vec<u8>, LedgerError> {
        self.store.read(name)?.ok_or_else(|| LedgerError::Missing { name: name.to_owned() })
    }

    /// A partial object, or the full one that has taken its place.
    fn partial(&self, name: &str, full: &str) -> Result<Vec<u8>, LedgerError> {
        match self.store.read(name)? {
            Some(bytes) => Ok(bytes),
            None => self.store.read(full)?.ok_or_else(|| LedgerError::Missing { name: name.to_owned() }),
        }
    }
}

/// The tiles in a store.
pub struct StoreTiles<'a> {
    store: &'a dyn Store,
}

impl Tiles for StoreTiles<'_> {
    type Error = LedgerError;

    fn tile(&self, level: u8, index: u64, width: u16) -> Result<Vec<u8>, LedgerError> {
        let name = |width| format!("log/{}", TileId { level, index, width }.path());
        // One that is partial in the tree that was asked about may be full on the disk by now.
        match self.store.read(&name(width))? {
            Some(bytes) => Ok(bytes),
            None => self.store.read(&name(tile::WIDTH as u16))?.ok_or(LedgerError::Missing { name: name(width) }),
        }
    }
}

pub(crate) fn tree_error(error: TreeError<LedgerError>) -> LedgerError {
    match error {
        TreeError::Source(error) => error,
        _ => LedgerError::Diverged,
    }
}
