//! From sequenced entries to a signed, published tree.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tabellion_evidence::content;
use tabellion_evidence::tree;

use crate::catalog::{Batch, pack_name};
use crate::edge::{Edge, Objects};
use crate::read::tree_error;
use crate::signer::Signer;
use crate::wal::Record;
use crate::{Catalog, LedgerError, Reader};

pub(crate) struct Publisher {
    reader: Reader,
    signer: Signer,
    edge: Edge,
    catalog: Arc<Mutex<Catalog>>,
    /// A signed checkpoint that could not be put in its place yet.
    unpublished: Option<String>,
    /// How many entries [`Publisher::publish`] has reported as published. The tree has more after an error that came once
    /// it was signed.
    reported: u64,
    /// Directories of partial tiles that full ones have replaced.
    replaced: Vec<String>,
    /// What is being written.
    objects: Objects,
}

impl Publisher {
    /// Takes up a log where the signer left it.
    pub(crate) fn open(reader: Reader, signer: Signer, catalog: Arc<Mutex<Catalog>>) -> Result<Self, LedgerError> {
        let size = signer.last().map_or(0, |last| last.size);
        let edge = Edge::load(&reader, size).map_err(|error| match error {
            // What was signed had been durable. So this is not the data that was signed.
            LedgerError::Missing { .. } => LedgerError::Diverged,
            error => error,
        })?;
        if let Some(last) = signer.last()
            && edge.root() != last.root
        {
            return Err(LedgerError::Diverged);
        }
        if let Some(note) = signer.last_note()
            && reader.store().read("log/checkpoint")?.as_deref() != Some(note.as_bytes())
        {
            // A crash came between signing and publishing; or somebody put an older checkpoint here.
            reader.store().replace("log/checkpoint", note.as_bytes())?;
        }
        for (_, pack) in reader.packs(size, size)? {
            reader.store().remove(&pack)?;
        }
        if size > 0 {
            lock(&catalog).catch_up(&reader)?;
        }
        Ok(Self {
            reader,
            signer,
            edge,
            catalog,
            unpublished: None,
            reported: size,
            replaced: Vec::new(),
            objects: Objects::default(),
        })
    }

    pub(crate) fn reader(&self) -> Reader {
        self.reader.clone()
    }

    pub(crate) fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Whether a publication is half done.
    pub(crate) fn pending(&self) -> bool {
        self.unpublished.is_some()
    }

    /// Publishes records that follow on the last ones that it reported as published. After an error call it again with
    /// the same records, and any number of later ones behind them: those that were signed before the error came are
    /// in the tree, and are not taken into it again.
    pub(crate) fn publish(&mut self, records: &[Record]) -> Result<(), LedgerError> {
        self.finish()?;
        let signed = (self.edge.size() - self.reported) as usize;
        self.extend(&records[signed.min(records.len())..])?;
        self.reported = self.edge.size();
        Ok(())
    }

    fn extend(&mut self, records: &[Record]) -> Result<(), LedgerError> {
        let first = self.edge.size();
        let entries: Vec<&[u8]> = records.iter().map(|record| &*record.entry).collect();
        let mut parts = Vec::new();
        if !records.is_empty() {
            let objects = &mut self.objects;
            objects.clear();
            let mut edge = self.edge.clone();
            let replaced = edge.append(&entries, objects);
            if records.iter().any(|record| !record.parts.is_empty()) {
                objects.put(pack_name(first), |pack| {
                    let start = pack.len();
                    for part in records.iter().flat_map(|record| &record.parts) {
                        content::encode_named_part(pack, &part.hash(), part.bytes());
                        let length = part.bytes().len();
                        parts.push((part.hash(), pack.len() - start - length, length));
                    }
                });
            }
            self.reader.store().create(&objects.iter().collect::<Vec<_>>())?;

            let (size, root) = (edge.size(), edge.root());
            let old = self.signer.last().map_or(0, |last| last.size);
            let proof = tree::consistency_proof(old, size, &self.reader.tiles()).map_err(tree_error)?;
            let note = self.signer.sign(size, root, &proof)?;
            // Signed, so this is the tree from now on, whatever comes.
            self.edge = edge;
            self.unpublished = Some(note);
            self.replaced.extend(replaced);
            self.finish()?;
        }
        if self.edge.size() > self.reported {
            // In the order of the catalog's tree, which then is walked once.
            parts.sort_unstable();
            let mut catalog = lock(&self.catalog);
            let current = !records.is_empty() && catalog.position()?.map_or(0, |(size, _)| size) == first;
            if current {
                catalog.advance(&Batch { first, entries: &entries, parts: &parts, root: self.edge.root() })?;
            } else {
                // An error came before this; what it kept from the catalog is in the log.
                catalog.catch_up(&self.reader)?;
            }
        }
        // Published, so nobody writes them again; partial tiles are still removed. A crash right before leaves some
        // unprotected, which costs no promise.
        let sealed: Vec<&str> =
            self.objects.iter().map(|(name, _)| name).filter(|name| !name.contains(".p/")).collect();
        self.reader.store().seal(&sealed)?;
        self.objects.clear();
        while let Some(directory) = self.replaced.last() {
            self.reader.store().remove_all(directory)?;
            self.replaced.pop();
        }
        Ok(())
    }

    /// Puts a signed checkpoint in its place.
    fn finish(&mut self) -> Result<(), LedgerError> {
        if let Some(note) = &self.unpublished {
            self.reader.store().replace("log/checkpoint", note.as_bytes())?;
            self.unpublished = None;
        }
        Ok(())
    }
}

fn lock(catalog: &Mutex<Catalog>) -> MutexGuard<'_, Catalog> {
    catalog.lock().unwrap_or_else(PoisonError::into_inner)
}
