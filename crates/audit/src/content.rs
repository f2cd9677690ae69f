//! Packs and bodies: that every part which an entry names is there, once and
//! in its place, and that the parts make the bodies.
//!
//! First all packs are read and their parts hashed, which gives an index in
//! memory. Then, bundle by bundle, each body is put together again; its parts
//! are read a second time, so that what is held in memory does not grow with
//! the content.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use tabellion_evidence::audit::{self, Packed, Parts, Placed, Problem, pack_file};
use tabellion_evidence::entry::{Content, Manifest, Part};
use tabellion_evidence::tree::{Hash, sha256};

use crate::report::{Checked, Phase, Problems};
use crate::{Source, SourceError, Ticker};

/// The packs of a log, and which entry is the first to name each part.
pub(crate) struct Packs {
    packed: Packed,
    /// Number, end of the batch, length.
    packs: Vec<(u64, u64, u64)>,
    parts: Parts,
    first_named: Vec<AtomicU64>,
    /// Of packs before this one, the parts were not hashed.
    hashed_from: u64,
}

/// No entry has named it.
const NOBODY: u64 = u64::MAX;

impl Packs {
    /// Reads the packs of a log of `size` entries. `numbers` are those that
    /// are there, ascending; those that a writer has already put beyond `size`
    /// are read for their parts only. Of packs before `hashed_from`, the parts
    /// are not hashed.
    pub(crate) fn read(
        source: &dyn Source,
        (packed, numbers): (Packed, &[u64]),
        size: u64,
        hashed_from: u64,
        ticker: &Ticker<'_>,
        checked: &mut Checked,
        problems: &mut Problems,
    ) -> Result<Self, SourceError> {
        let read = |number: u64| -> Result<(u64, u64, Vec<Placed>, Vec<Problem>), SourceError> {
            let file = packed.file(number);
            let found = match source.read(&file)? {
                Some(bytes) => {
                    let apart = if number < hashed_from { audit::places_of } else { audit::parts_of };
                    let (placed, problems) = apart(packed, number, &bytes);
                    (number, bytes.len() as u64, placed, problems)
                }
                // A log that recovers takes back what it had not published.
                None if number >= size => (number, 0, Vec::new(), Vec::new()),
                None => (number, 0, Vec::new(), vec![Problem::Missing { file }]),
            };
            ticker.tick();
            Ok(found)
        };
        let read: Vec<_> = numbers.par_iter().map(|&number| read(number)).collect::<Result<_, _>>()?;
        let mut packs = Vec::new();
        let (mut within, mut beyond) = (Vec::new(), Vec::new());
        for (position, (number, length, placed, found)) in read.into_iter().enumerate() {
            problems.extend(found);
            let whole = number < size && number >= hashed_from;
            match packed {
                Packed::Content => {
                    checked.content_bytes += length;
                    checked.packs += u64::from(whole);
                    checked.parts += if whole { placed.len() as u64 } else { 0 };
                }
                Packed::Sealed => {
                    checked.sealed_bytes += length;
                    checked.sealed += if whole { placed.len() as u64 } else { 0 };
                }
            }
            if number < size {
                let end = numbers.get(position + 1).map_or(size, |&next| next.min(size));
                packs.push((number, end, length));
                within.extend(placed);
            } else {
                beyond.extend(placed);
            }
        }
        let mut all = within.clone();
        all.extend(beyond.iter());
        all.par_sort_unstable();
        problems.extend(Parts::from_sorted(all).twice(packed));
        within.par_sort_unstable();
        let parts = Parts::from_sorted(within);
        let first_named = (0..parts.len()).map(|_| AtomicU64::new(NOBODY)).collect();
        Ok(Self { packed, packs, parts, first_named, hashed_from })
    }

    /// Says what is wrong with the places of parts, once all entries were
    /// read. Only packs whose batch is within `first..last` are judged.
    pub(crate) fn misplaced(&self, first: u64, last: u64, problems: &mut Problems) {
        let mut previous = None;
        for (placed, named) in self.parts.iter().zip(&self.first_named) {
            // A second place of a part was reported as that already.
            if previous.replace(placed.part) == Some(placed.part) {
                continue;
            }
            let end = self.packs[self.position(placed.pack)].1;
            if placed.pack < first || end > last {
                continue;
            }
            let named = Some(named.load(Ordering::Relaxed)).filter(|&entry| entry != NOBODY);
            // Damage to its name was reported too.
            if !(placed.damaged && named.is_none()) {
                problems.extend(Parts::misplaced(self.packed, placed, named, end));
            }
        }
    }

    /// Notes that an entry names a sealed piece; false if it is nowhere.
    pub(crate) fn name(&self, entry: u64, piece: &Hash) -> bool {
        let found = self.parts.find(piece);
        if let Some(number) = found {
            self.first_named[number].fetch_min(entry, Ordering::Relaxed);
        }
        found.is_some()
    }

    /// Whether a part is anywhere.
    pub(crate) fn has(&self, part: &Hash) -> bool {
        self.parts.find(part).is_some()
    }

    /// Where an entry finds a part: in the pack of its own batch or an earlier one. One that is in a later pack was stored
    /// again, after it had been removed, and is not what this entry names.
    fn find_for(&self, entry: u64, part: &Hash) -> Option<usize> {
        self.parts.find(part).filter(|&number| self.parts.at(number).pack <= entry)
    }

    /// What is wrong with a part that an entry lacks.
    fn lacking(&self, entry: u64, part: Hash) -> Problem {
        match self.parts.find(&part) {
            Some(number) => Problem::PartLater { file: self.packed.file(self.parts.at(number).pack), part, entry },
            None => Problem::PartMissing { entry, part },
        }
    }

    fn position(&self, pack: u64) -> usize {
        self.packs.binary_search_by_key(&pack, |&(number, ..)| number).expect("every part came out of one of them")
    }
}

/// Packs are read in pieces of so many bytes: what one bundle names lies close
/// together, and a call for each part would cost more than hashing it.
const WINDOW_BYTES: u64 = 1 << 20;
/// Each thread keeps so many of them: 32 MiB.
const WINDOWS_MAX: usize = 32;

/// Reads parts; one for each thread.
pub(crate) struct PartReader<'a> {
    source: &'a dyn Source,
    packs: &'a Packs,
    /// By pack and position.
    windows: HashMap<(u64, u64), Arc<Vec<u8>>>,
}

/// The bytes of a part.
struct Piece {
    bytes: Arc<Vec<u8>>,
    start: usize,
    end: usize,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

/// What came of a body.
enum Body {
    /// It is right, and so long.
    Right(u64),
    /// Parts of it are not there; those that are, are right.
    Lacking,
    /// What keeps it from being looked at has been reported.
    Reported,
}

/// Why a body cannot be checked.
enum Stop {
    Problem(Problem),
    Source(SourceError),
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl<'a> PartReader<'a> {
    pub(crate) fn new(source: &'a dyn Source, packs: &'a Packs) -> Self {
        Self { source, packs, windows: HashMap::new() }
    }

    fn read(&mut self, placed: &Placed) -> Result<Piece, Stop> {
        // It was there, and as long, when it was indexed.
        let gone = || Stop::Problem(Problem::Missing { file: pack_file(placed.pack) });
        let read = |start: u64, length: u64| -> Result<Arc<Vec<u8>>, Stop> {
            let bytes = self.source.read_range(&pack_file(placed.pack), start, length as usize)?;
            bytes.map(Arc::new).ok_or_else(gone)
        };
        let length = u64::from(placed.length);
        let nth = placed.offset / WINDOW_BYTES;
        let start = nth * WINDOW_BYTES;
        if placed.offset + length > start + WINDOW_BYTES {
            return Ok(Piece { bytes: read(placed.offset, length)?, start: 0, end: length as usize });
        }
        let bytes = match self.windows.get(&(placed.pack, nth)) {
            Some(bytes) => bytes.clone(),
            None => {
                let pack_length = self.packs.packs[self.packs.position(placed.pack)].2;
                let bytes = read(start, WINDOW_BYTES.min(pack_length - start))?;
                if self.windows.len() == WINDOWS_MAX {
                    self.windows.clear();
                }
                self.windows.insert((placed.pack, nth), bytes.clone());
                bytes
            }
        };
        let start = (placed.offset - start) as usize;
        Ok(Piece { bytes, start, end: start + length as usize })
    }

    /// A part that an entry names, noting that it does; `None` if it is damaged, which is reported.
    fn named(&self, entry: u64, number: usize, problems: &mut Problems) -> Option<&'a Placed> {
        self.packs.first_named[number].fetch_min(entry, Ordering::Relaxed);
        let placed = self.packs.parts.at(number);
        if placed.damaged {
            problems.push(Problem::PartDamaged { file: pack_file(placed.pack), part: placed.part, entry });
            return None;
        }
        Some(placed)
    }

    /// Checks the body that an entry speaks of. Whether parts of it are lacking.
    pub(crate) fn check(
        &mut self,
        entry: u64,
        content: &Content,
        checked: &mut Checked,
        problems: &mut Problems,
    ) -> Result<bool, SourceError> {
        if content.omitted.is_some() {
            return Ok(false);
        }
        match self.body(entry, content, problems) {
            Ok(Body::Right(bytes)) => {
                checked.bodies += 1;
                checked.body_bytes += bytes;
                Ok(false)
            }
            Ok(Body::Lacking) => Ok(true),
            Ok(Body::Reported) => Ok(false),
            Err(Stop::Problem(problem)) => {
                problems.push(problem);
                Ok(false)
            }
            Err(Stop::Source(error)) => Err(error),
        }
    }

    fn body(&mut self, entry: u64, content: &Content, problems: &mut Problems) -> Result<Body, Stop> {
        let manifest;
        let parts: &[Part] = match content.manifest {
            None => &content.parts,
            Some(part) => {
                // A manifest stays, whatever expires.
                let Some(number) = self.packs.parts.find(&part) else {
                    return Err(Stop::Problem(Problem::PartMissing { entry, part }));
                };
                let Some(placed) = self.named(entry, number, problems) else { return Ok(Body::Reported) };
                let bytes = self.read(placed)?;
                manifest = Manifest::parse(bytes.as_ref())
                    .map_err(|error| Stop::Problem(Problem::Manifest { entry, part, error }))?;
                &manifest.content
            }
        };
        let mut places = Vec::with_capacity(parts.len());
        let mut lacking = 0;
        for part in parts {
            let Some(number) = self.packs.find_for(entry, &part.sha256) else {
                lacking += 1;
                continue;
            };
            let Some(placed) = self.named(entry, number, problems) else { continue };
            if u64::from(placed.length) == part.bytes {
                places.push(placed);
            } else {
                problems.push(Problem::PartLength { entry, part: part.sha256 });
            }
        }
        if lacking > 0 {
            // Without the body, nothing else shows what is wrong with parts that were not hashed before.
            let unhashed = places.into_iter().filter(|placed| placed.pack < self.packs.hashed_from).collect();
            self.hash(entry, unhashed)?;
            return Ok(Body::Lacking);
        }
        if places.len() < parts.len() {
            return Ok(Body::Reported);
        }
        // The parts are asked for in order, each once.
        let mut next = places.iter();
        let checked =
            audit::check_body(entry, content, parts, |_| self.read(next.next().expect("a place for each part")))?;
        match checked {
            Ok(bytes) => Ok(Body::Right(bytes)),
            Err(problem) => {
                // Parts that were not hashed before may be what is wrong.
                self.hash(entry, places)?;
                Err(Stop::Problem(problem))
            }
        }
    }

    /// Parts have their hashes.
    fn hash(&mut self, entry: u64, places: Vec<&Placed>) -> Result<(), Stop> {
        for placed in places {
            if sha256(self.read(placed)?) != placed.part {
                let file = pack_file(placed.pack);
                return Err(Stop::Problem(Problem::PartDamaged { file, part: placed.part, entry }));
            }
        }
        Ok(())
    }

    /// The manifest that an entry names; nothing if there is none or it cannot be read, which is reported elsewhere.
    fn manifest(&mut self, content: &Content) -> Result<Option<Manifest>, SourceError> {
        let Some(number) = content.manifest.and_then(|manifest| self.packs.parts.find(&manifest)) else {
            return Ok(None);
        };
        match self.read(self.packs.parts.at(number)) {
            Ok(bytes) => Ok(Manifest::parse(bytes.as_ref()).ok()),
            Err(Stop::Problem(_)) => Ok(None),
            Err(Stop::Source(error)) => Err(error),
        }
    }

    /// The sealed pieces that an entry's manifest lists.
    pub(crate) fn sealed_elsewhere(&mut self, content: &Content) -> Result<Vec<Hash>, SourceError> {
        Ok(self.manifest(content)?.map(|manifest| manifest.sealed).unwrap_or_default())
    }

    /// What is wrong with the parts that an entry lacks, if nothing excuses it.
    pub(crate) fn lacking(&mut self, entry: u64, content: &Content) -> Result<Vec<Problem>, SourceError> {
        let manifest = self.manifest(content)?;
        let parts = manifest.as_ref().map_or(&content.parts, |manifest| &manifest.content);
        let lacking = parts.iter().filter(|part| self.packs.find_for(entry, &part.sha256).is_none());
        Ok(lacking.map(|part| self.packs.lacking(entry, part.sha256)).collect())
    }

    /// Whether an entry lacks none of the parts that it names, as far as that can be read.
    pub(crate) fn knows_all(&mut self, entry: u64, content: &Content) -> Result<bool, SourceError> {
        if content.manifest.is_some_and(|manifest| !self.packs.has(&manifest)) {
            return Ok(false);
        }
        Ok(self.lacking(entry, content)?.is_empty())
    }
}

/// Counts packs as they are read.
pub(crate) fn ticker<'a>(progress: &'a (dyn Fn(crate::Progress) + Sync), total: usize) -> Ticker<'a> {
    Ticker::new(progress, Phase::Packs, total as u64)
}
