//! From sequenced entries to a signed, published tree.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tabellion_evidence::audit::Packed;
use tabellion_evidence::content;
use tabellion_evidence::tree;

use crate::catalog::{News, Place};
use crate::edge::{Edge, Objects};
use crate::read::tree_error;
use crate::signer::Signer;
use crate::wal::Record;
use crate::witnessing::{Answers, Witnessing};
use crate::{Catalog, LedgerError, Part, Reader};

pub(crate) struct Publisher {
    reader: Reader,
    signer: Signer,
    edge: Edge,
    catalog: Arc<Mutex<Catalog>>,
    /// What is in the signed tree and not in the catalog.
    news: Option<News>,
    witnessing: Option<Witnessing>,
    /// A signed checkpoint that could not be put in its place yet, or that is held back.
    unpublished: Option<String>,
    /// The checkpoint in its place, without cosignatures, and what the witnesses said of it, if not all have cosigned it.
    lacking: Option<(String, Answers)>,
    /// Whether a new checkpoint was put in its place since that was asked.
    placed: bool,
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
    pub(crate) fn open(
        reader: Reader,
        signer: Signer,
        catalog: Arc<Mutex<Catalog>>,
        witnessing: Option<Witnessing>,
    ) -> Result<Self, LedgerError> {
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
        if let Some(witnessing) = &witnessing {
            witnessing.check_start(&signer, &reader)?;
        }
        let mut unpublished = None;
        if let (Some(note), Some(head)) = (signer.last_note(), signer.last()) {
            // What is in its place may have cosignatures behind what was signed.
            let placed = reader.store().read("log/checkpoint")?.unwrap_or_default();
            if !placed.starts_with(note.as_bytes()) {
                // A crash came between signing and publishing; or it was held back; or somebody put an older one here; or
                // a key was added, which makes other signatures under the same head.
                let hold = witnessing.as_ref().is_some_and(|witnessing| witnessing.hold);
                if hold && !placed.starts_with(head.to_text().as_bytes()) {
                    unpublished = Some(note.to_owned());
                } else {
                    reader.store().replace("log/checkpoint", note.as_bytes())?;
                }
            }
        }
        for packed in [Packed::Content, Packed::Sealed] {
            for (_, pack) in reader.packs(packed, size, size)? {
                reader.store().remove(&pack)?;
            }
        }
        if size > 0 {
            lock(&catalog).catch_up_to(&reader, size)?;
        }
        let lacking = witnessing.as_ref().and(signer.last_note()).map(|note| (note.to_owned(), Answers::default()));
        Ok(Self {
            reader,
            signer,
            edge,
            catalog,
            news: None,
            witnessing,
            unpublished,
            lacking,
            placed: false,
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

    /// Whether not all witnesses have cosigned the checkpoint that is in its place.
    pub(crate) fn lacks_cosignatures(&self) -> bool {
        self.lacking.is_some()
    }

    /// Whether a new checkpoint was put in its place since this was last asked.
    pub(crate) fn take_placed(&mut self) -> bool {
        std::mem::take(&mut self.placed)
    }

    /// Whether a publication is half done.
    pub(crate) fn pending(&self) -> bool {
        self.unpublished.is_some()
    }

    /// How much longer the catalog can wait for what it does not have; `None` when it has everything.
    pub(crate) fn catalog_due_in(&self) -> Option<Duration> {
        self.news.as_ref().map(News::due_in)
    }

    /// How many entries are in the catalog.
    pub(crate) fn cataloged(&self) -> u64 {
        self.news.as_ref().map_or(self.edge.size(), News::first)
    }

    /// Brings the catalog to where the signed tree is.
    pub(crate) fn catch_up_catalog(&mut self) -> Result<(), LedgerError> {
        let Some(news) = &mut self.news else { return Ok(()) };
        let mut catalog = lock(&self.catalog);
        // Somebody else may have brought it on.
        if !catalog.advance(news, self.edge.size(), self.edge.root())? {
            catalog.catch_up_to(&self.reader, self.edge.size())?;
        }
        self.news = None;
        Ok(())
    }

    /// Publishes records that follow on the last ones that it reported as published. After an error call it again with
    /// the same records, and any number of later ones behind them: those that were signed before the error came are
    /// in the tree, and are not taken into it again.
    pub(crate) fn publish(&mut self, records: &[Record]) -> Result<(), LedgerError> {
        if self.news.as_ref().is_some_and(News::is_full) {
            self.catch_up_catalog()?;
        }
        if records.is_empty() {
            self.finish()?;
        }
        let signed = (self.edge.size() - self.reported) as usize;
        self.extend(&records[signed.min(records.len())..])?;
        self.reported = self.edge.size();
        Ok(())
    }

    fn extend(&mut self, records: &[Record]) -> Result<(), LedgerError> {
        let first = self.edge.size();
        let entries: Vec<&[u8]> = records.iter().map(|record| &*record.entry).collect();
        if !records.is_empty() {
            let (mut parts, mut sealed) = (Vec::new(), Vec::new());
            let objects = &mut self.objects;
            objects.clear();
            let mut edge = self.edge.clone();
            let replaced = edge.append(&entries, objects);
            put_pack(objects, Packed::Content, first, records.iter().flat_map(|record| &record.parts), &mut parts);
            put_pack(objects, Packed::Sealed, first, records.iter().flat_map(|record| &record.sealed), &mut sealed);
            self.reader.store().create(&objects.iter().collect::<Vec<_>>())?;

            let (size, root) = (edge.size(), edge.root());
            let old = self.signer.last().map_or(0, |last| last.size);
            let proof = tree::consistency_proof(old, size, &self.reader.tiles()).map_err(tree_error)?;
            let note = self.signer.sign(size, root, &proof)?;
            // Signed, so this is the tree from now on, whatever comes.
            self.edge = edge;
            self.news.get_or_insert_with(|| News::new(first)).add(first, &entries, &parts, &sealed);
            self.unpublished = Some(note);
            self.replaced.extend(replaced);
            self.finish()?;
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

    /// Puts a signed checkpoint in its place, with the cosignatures that it gets in time. Without one, adds cosignatures
    /// that have come in since to the one that is there.
    fn finish(&mut self) -> Result<(), LedgerError> {
        let new = self.unpublished.is_some();
        let Some(note) = self.unpublished.clone().or_else(|| self.lacking.as_ref().map(|(note, _)| note.clone()))
        else {
            return Ok(());
        };
        let mut answers = Answers::default();
        if let Some(witnessing) = &self.witnessing {
            answers = witnessing.witnesses.submit(&note, &self.reader, witnessing.wait);
            if new && witnessing.hold && answers.cosigned < witnessing.quorum {
                return Ok(());
            }
        }
        let known = self.lacking.as_ref().map_or(0, |(_, known)| known.cosigned);
        if new || answers.cosigned > known {
            self.reader.store().replace("log/checkpoint", format!("{note}{}", answers.lines).as_bytes())?;
            self.placed |= new;
            self.unpublished = None;
            if let Some(witnessing) = &self.witnessing {
                witnessing.witnesses.published(answers.cosigned);
            }
        }
        self.lacking = (answers.silent > 0).then_some((note, answers));
        Ok(())
    }
}

/// Adds the pack of what a batch stores, if that is anything, and notes where in it each part is.
fn put_pack<'a>(
    objects: &mut Objects,
    packed: Packed,
    first: u64,
    parts: impl Iterator<Item = &'a Part>,
    places: &mut Vec<Place>,
) {
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return;
    }
    objects.put(packed.file(first), |pack| {
        let start = pack.len();
        for part in parts {
            content::encode_named_part(pack, &part.hash(), part.bytes());
            let length = part.bytes().len();
            places.push((part.hash(), pack.len() - start - length, length));
        }
    });
}

fn lock(catalog: &Mutex<Catalog>) -> MutexGuard<'_, Catalog> {
    catalog.lock().unwrap_or_else(PoisonError::into_inner)
}
