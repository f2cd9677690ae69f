//! Giving out positions, durably.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tabellion_evidence::tree::Hash;
use tabellion_store::Disk;

use crate::filter::Filter;
use crate::prune::{self, Pruning, SharedPruning};
use crate::wal::{Failure, Record, Wal};
use crate::{Append, Catalog, LedgerError, Part};

/// So many parts that come again and again are not looked up each time.
const FOUND_MAX: usize = if cfg!(test) { 2 } else { 4096 };

/// An append that waits for its position.
pub(crate) struct Queued {
    pub(crate) append: Append,
    /// Where in the entry the number goes, in place of one digit.
    pub(crate) number_at: Option<usize>,
}

impl From<Append> for Queued {
    fn from(append: Append) -> Self {
        Self { append, number_at: None }
    }
}

pub(crate) struct Sequencer<D> {
    wal: Wal<D>,
    catalog: Arc<Mutex<Catalog>>,
    next: u64,
    /// Parts that are sequenced and not yet in the catalog, with the index of the entry that brought them.
    recent: HashMap<Hash, u64>,
    /// All parts, as far as it knows of them.
    filter: Filter,
    /// Parts that the catalog was found to have, lately.
    found: HashSet<Hash>,
    published: u64,
    /// How many entries this process has numbered.
    numbered: u64,
    pruning: SharedPruning,
}

impl<D: Disk> Sequencer<D> {
    pub(crate) fn new(wal: Wal<D>, catalog: Arc<Mutex<Catalog>>, next: u64) -> Self {
        Self {
            wal,
            catalog,
            next,
            recent: HashMap::new(),
            filter: Filter::new(),
            found: HashSet::new(),
            published: next,
            numbered: 0,
            pruning: Arc::new(Mutex::new(Pruning::at(next))),
        }
    }

    pub(crate) fn pruning(&self) -> SharedPruning {
        self.pruning.clone()
    }

    pub(crate) fn catalog(&self) -> Arc<Mutex<Catalog>> {
        self.catalog.clone()
    }

    /// Counts entries that the write-ahead log already has.
    pub(crate) fn skip(&mut self, entries: u64) {
        self.next += entries;
        prune::lock(&self.pruning).next = self.next;
    }

    /// Learns that entries before `size` are published and in the catalog.
    pub(crate) fn published(&mut self, size: u64) {
        if size > self.published {
            self.published = size;
            self.recent.retain(|_, &mut index| index >= size);
            // A segment that cannot be removed now is removed later; it is of no consequence until then.
            let _ = self.wal.trim(size);
            self.read_catalog();
        }
    }

    /// Removes from the write-ahead log what is published, all of it.
    pub(crate) fn renew(&mut self) -> Result<(), Failure> {
        self.wal.renew(self.next)?;
        self.wal.trim(self.published).map_err(Failure::Refused)
    }

    /// Reads on in the catalog. Also once before anything is appended: of a new log that is all there is to read, and what
    /// comes later the filter is told; begun only when thousands of parts have come, under load, it would never end.
    pub(crate) fn read_catalog(&mut self) {
        // A catalog that cannot be read now can be later; until then it is asked more often.
        let mut catalog = self.catalog.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.filter.read_on(&mut catalog, self.published);
    }

    /// Gives the entries their positions, drops the parts that the log has already, and makes all of it durable.
    /// Returns the first position.
    ///
    /// Numbers are given here, with the positions, and count only if the write succeeds: what was refused leaves no
    /// hole in them.
    pub(crate) fn sequence(&mut self, appends: Vec<impl Into<Queued>>) -> Result<(u64, Vec<Record>), Failure> {
        let first = self.next;
        let mut appends: Vec<Queued> = appends.into_iter().map(Into::into).collect();
        let mut numbered = self.numbered;
        for Queued { append, number_at } in &mut appends {
            if let Some(at) = *number_at {
                append.entry.splice(at..=at, numbered.to_string().into_bytes());
                numbered += 1;
            }
        }
        let pruning = self.pruning.clone();
        let mut pruning = prune::lock(&pruning);
        if !pruning.admit(appends.iter_mut().map(|queued| &mut queued.append)) {
            return Err(Failure::Refused(io::Error::other("what the catalog says of pruned packs may be wrong")));
        }
        if pruning.take_forget() {
            self.found.clear();
        }
        let mut known = self.known_parts(&appends)?;
        let mut fresh: Vec<(Hash, u64)> = Vec::new();
        let mut records = Vec::with_capacity(appends.len());
        for (index, Queued { mut append, .. }) in (first..).zip(appends) {
            append.parts.retain(|part| {
                let is_fresh = !self.recent.contains_key(&part.hash()) && known.insert(part.hash());
                if is_fresh {
                    fresh.push((part.hash(), index));
                }
                is_fresh
            });
            records.push(Record { entry: append.entry, parts: append.parts, sealed: append.sealed });
        }
        self.wal.append(first, &records)?;
        self.next += records.len() as u64;
        self.numbered = numbered;
        pruning.next = self.next;
        for (part, _) in &fresh {
            self.filter.insert(part);
            pruning.stored(part);
        }
        self.recent.extend(fresh);
        Ok((first, records))
    }

    fn known_parts(&mut self, appends: &[Queued]) -> Result<HashSet<Hash>, Failure> {
        let parts = appends.iter().flat_map(|queued| &queued.append.parts).map(Part::hash);
        let open = |hash: &Hash| !self.filter.lacks(hash) && !self.recent.contains_key(hash);
        let (mut known, asked): (HashSet<_>, HashSet<_>) =
            parts.filter(open).partition(|hash| self.found.contains(hash));
        if !asked.is_empty() {
            // Storing a part twice would be found by `verify`, so a catalog that does not answer refuses the append.
            let mut catalog = self.catalog.lock().unwrap_or_else(PoisonError::into_inner);
            let found = catalog
                .known_parts(&asked)
                .map_err(|_: LedgerError| Failure::Refused(io::Error::other("the catalog failed")))?;
            if self.found.len() + found.len() > FOUND_MAX {
                self.found.clear();
            }
            self.found.extend(found.iter().take(FOUND_MAX));
            known.extend(found);
        }
        Ok(known)
    }
}
