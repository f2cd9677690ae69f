//! Giving out positions, durably.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tabellion_evidence::tree::{self, Hash};
use tabellion_store::Disk;

use crate::wal::{Failure, Record, Wal};
use crate::{Append, Catalog, LedgerError};

pub(crate) struct Sequencer<D> {
    wal: Wal<D>,
    catalog: Arc<Mutex<Catalog>>,
    next: u64,
    /// Parts that are sequenced and not yet in the catalog, with the index of the entry that brought them.
    recent: HashMap<Hash, u64>,
    published: u64,
}

impl<D: Disk> Sequencer<D> {
    pub(crate) fn new(wal: Wal<D>, catalog: Arc<Mutex<Catalog>>, next: u64) -> Self {
        Self { wal, catalog, next, recent: HashMap::new(), published: next }
    }

    pub(crate) fn catalog(&self) -> Arc<Mutex<Catalog>> {
        self.catalog.clone()
    }

    /// Counts entries that the write-ahead log already has.
    pub(crate) fn skip(&mut self, entries: u64) {
        self.next += entries;
    }

    /// Learns that entries before `size` are published and in the catalog.
    pub(crate) fn published(&mut self, size: u64) {
        if size > self.published {
            self.published = size;
            self.recent.retain(|_, &mut index| index >= size);
            // A segment that cannot be removed now is removed later; it is of no consequence until then.
            let _ = self.wal.trim(size);
        }
    }

    /// Gives the entries their positions, drops the parts that the log has already, and makes all of it durable.
    /// Returns the first position.
    pub(crate) fn sequence(&mut self, appends: Vec<Append>) -> Result<(u64, Vec<Record>), Failure> {
        let first = self.next;
        let mut fresh: Vec<(Hash, u64)> = Vec::new();
        let mut in_group = HashSet::new();
        let mut records = Vec::with_capacity(appends.len());
        for (index, append) in (first..).zip(appends) {
            let mut parts = Vec::new();
            for part in append.parts {
                let hash = tree::sha256(&part);
                if !in_group.contains(&hash) && !self.has_part(&hash)? {
                    in_group.insert(hash);
                    fresh.push((hash, index));
                    parts.push(part.to_vec());
                }
            }
            records.push(Record { entry: append.entry, parts });
        }
        self.wal.append(first, &records)?;
        self.next += records.len() as u64;
        self.recent.extend(fresh);
        Ok((first, records))
    }

    fn has_part(&self, hash: &Hash) -> Result<bool, Failure> {
        if self.recent.contains_key(hash) {
            return Ok(true);
        }
        // Storing a part twice would be found by `verify`, so a catalog that does not answer refuses the append.
        let catalog = self.catalog.lock().unwrap_or_else(PoisonError::into_inner);
        catalog.has_part(hash).map_err(|_: LedgerError| Failure::Refused(io::Error::other("the catalog failed")))
    }
}
