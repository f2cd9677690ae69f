//! Entry bundles: every entry hashed, read, and held against its content.

use std::cell::Cell;

use rayon::prelude::*;
use tabellion_evidence::audit::{self, Event, Facts, Name, Problem};
use tabellion_evidence::custody;
use tabellion_evidence::entry::{Content, Entry};
use tabellion_evidence::scan;
use tabellion_evidence::sessions::Said;
use tabellion_evidence::tile::WIDTH;
use tabellion_evidence::tree::Hash;

use crate::content::{Packs, PartReader};
use crate::erasures::Erasures;
use crate::files::{Files, bundle_file};
use crate::report::{Checked, Problems};
use crate::{BUNDLES_AT_ONCE, Source, SourceError, Ticker};

/// What bundles say, in order.
#[derive(Default)]
pub(crate) struct Entries {
    /// The first bundle.
    pub(crate) first: u64,
    /// The leaf hashes; zeros of a bundle that is not readable.
    pub(crate) leaves: Vec<Hash>,
    /// The roots of the full bundles among them.
    pub(crate) above: Vec<Hash>,
    /// Bundles that are missing or cannot be taken apart.
    pub(crate) unreadable: Vec<u64>,
    /// Those of them that are missing.
    pub(crate) missing: u64,
    pub(crate) ids: Vec<(Name, u64)>,
    pub(crate) events: Vec<Event>,
    /// What entries say of their sessions, in order, until it is taken.
    pub(crate) said: Vec<(u64, Said)>,
    /// What entries say that custody is about, in order, until it is taken.
    pub(crate) custody: Vec<(u64, Box<custody::Said>)>,
    /// What is not there, and what entries say was removed.
    pub(crate) erasures: Erasures,
    pub(crate) checked: Checked,
    pub(crate) problems: Problems,
}

/// Which entries are read.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) source: &'a dyn Source,
    /// The size of the log.
    pub(crate) size: u64,
    /// The entries that are parsed; of the others in a bundle only the hash
    /// matters.
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) files: Option<&'a Files>,
    pub(crate) packs: Option<&'a Packs>,
    /// The packs of sealed pieces.
    pub(crate) sealed: Option<&'a Packs>,
    /// The entries are somebody else's: only their hashes matter.
    pub(crate) foreign: bool,
    /// The roots of full bundles are wanted.
    pub(crate) roots: bool,
    pub(crate) ticker: &'a Ticker<'a>,
}

thread_local! {
    /// What the bundle that a thread reads is in.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// How many entries bundle `number` of a log of `size` entries has.
pub(crate) fn width_of(number: u64, size: u64) -> u16 {
    size.saturating_sub(number.saturating_mul(WIDTH)).min(WIDTH) as u16
}

/// One bundle: its hashes, if it is readable.
struct Bundle {
    hashes: Option<Vec<Hash>>,
    missing: bool,
    root: Option<Hash>,
    rest: Entries,
}

impl Scope<'_> {
    /// Reads bundles, in parallel.
    pub(crate) fn read(&self, bundles: std::ops::Range<u64>) -> Result<Entries, SourceError> {
        let mut all = Entries { first: bundles.start, ..Entries::default() };
        let read: Vec<Bundle> = bundles
            .clone()
            .into_par_iter()
            .map_init(
                || self.packs.map(|packs| PartReader::new(self.source, packs)),
                |reader, number| {
                    let bundle = self.bundle(number, reader.as_mut());
                    self.ticker.tick();
                    bundle
                },
            )
            .collect::<Result<_, _>>()?;
        let entries: usize = read.iter().map(|bundle| bundle.rest.ids.len()).sum();
        all.leaves.reserve(read.len() * WIDTH as usize);
        all.ids.reserve(entries);
        all.events.reserve(entries);
        all.said.reserve(entries);
        for (number, bundle) in bundles.zip(read) {
            let width = width_of(number, self.size);
            match bundle.hashes {
                Some(hashes) => all.leaves.extend(hashes),
                None => {
                    all.unreadable.push(number);
                    all.missing += u64::from(bundle.missing);
                    all.leaves.resize(all.leaves.len() + usize::from(width), Hash([0; 32]));
                }
            }
            if self.roots && u64::from(width) == WIDTH {
                all.above.push(bundle.root.unwrap_or(Hash([0; 32])));
            }
            all.take(bundle.rest);
        }
        Ok(all)
    }

    fn bundle(&self, number: u64, reader: Option<&mut PartReader<'_>>) -> Result<Bundle, SourceError> {
        // Fresh memory for each bundle would cost a good part of hashing it.
        let mut bytes = BUFFER.take();
        let bundle = self.bundle_in(number, reader, &mut bytes);
        BUFFER.set(bytes);
        bundle
    }

    fn bundle_in(
        &self,
        number: u64,
        reader: Option<&mut PartReader<'_>>,
        bytes: &mut Vec<u8>,
    ) -> Result<Bundle, SourceError> {
        let mut rest = Entries::default();
        let width = width_of(number, self.size);
        let file = bundle_file(number, width);
        let unreadable = |problem, missing| {
            let mut rest = Entries::default();
            rest.problems.push(problem);
            Ok(Bundle { hashes: None, missing, root: None, rest })
        };
        // The full one may have taken the place of a partial one.
        let mut full = false;
        let found = match self.source.read_into(&file, bytes)? {
            false if u64::from(width) < WIDTH => {
                full = true;
                self.source.read_into(&bundle_file(number, WIDTH as u16), bytes)?
            }
            found => found,
        };
        if !found {
            return unreadable(Problem::Missing { file }, true);
        }
        let mut leaves = match audit::leaves(bytes, if full { WIDTH as u16 } else { width }) {
            Ok(leaves) => leaves,
            Err(error) => return unreadable(Problem::Bundle { file, error }, false),
        };
        leaves.truncate(usize::from(width));
        rest.checked.bundles += 1;
        self.older_versions(number, width, &leaves, &mut rest)?;
        if !self.foreign {
            rest.ids.reserve(leaves.len());
            rest.events.reserve(leaves.len());
            rest.said.reserve(leaves.len());
        }
        let mut reader = reader;
        for (index, leaf) in (number * WIDTH..).zip(&leaves) {
            if !(self.first..self.last).contains(&index) {
                continue;
            }
            if self.foreign {
                rest.checked.entries += 1;
                rest.checked.entry_bytes += leaf.bytes.len() as u64;
            } else {
                rest.entry(index, leaf.bytes, &file, reader.as_deref_mut(), self.sealed)?;
            }
        }
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf.hash).collect();
        let root = (self.roots && u64::from(width) == WIDTH).then(|| audit::subtree_root(&hashes));
        Ok(Bundle { hashes: Some(hashes), missing: false, root, rest })
    }

    /// Partial bundles from when the log was smaller have the same entries.
    fn older_versions(
        &self,
        number: u64,
        width: u16,
        leaves: &[audit::Leaf<'_>],
        rest: &mut Entries,
    ) -> Result<(), SourceError> {
        let widths = self.files.and_then(|files| files.bundles.get(&number)).map_or(&[][..], Vec::as_slice);
        if widths.is_empty() {
            return Ok(());
        }
        let known: Vec<Hash> = leaves.iter().map(|leaf| leaf.hash).collect();
        for &older in widths.iter().filter(|&&older| older < width) {
            let file = bundle_file(number, older);
            // Gone by now, like all partial ones of a full bundle.
            let Some(bytes) = self.source.read(&file)? else { continue };
            rest.compare(file, &bytes, older, number, &known);
        }
        Ok(())
    }

    /// Whether `is` says so of any entry's content.
    pub(crate) fn any_content<'b>(
        &'b self,
        bundles: std::ops::Range<u64>,
        packs: &'b Packs,
        is: impl Fn(&mut PartReader<'_>, u64, &Content) -> Result<bool, SourceError> + Sync,
    ) -> Result<bool, SourceError> {
        let found = bundles.into_par_iter().map(|number| -> Result<bool, SourceError> {
            let mut reader = PartReader::new(self.source, packs);
            for (index, entry) in self.parsed(number)? {
                if let Some(content) = &entry.content
                    && is(&mut reader, index, content)?
                {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        found.try_reduce(|| false, |a, b| Ok(a || b))
    }

    /// The entries of a bundle, those of them that can be read.
    fn parsed(&self, number: u64) -> Result<Vec<(u64, Entry)>, SourceError> {
        let width = width_of(number, self.size);
        let mut found = (width, self.source.read(&bundle_file(number, width))?);
        // The full one may have taken its place.
        if found.1.is_none() {
            found = (WIDTH as u16, self.source.read(&bundle_file(number, WIDTH as u16))?);
        }
        let leaves = found.1.as_deref().and_then(|bytes| audit::leaves(bytes, found.0).ok()).unwrap_or_default();
        let within = (number * WIDTH..).zip(leaves).filter(|(index, _)| (self.first..self.last).contains(index));
        Ok(within.filter_map(|(index, leaf)| Some((index, Entry::parse(leaf.bytes).ok()?))).collect())
    }

    /// Says which parts and pieces it is that entries lack, by reading these a second time.
    pub(crate) fn missing(&self, erasures: &Erasures) -> Result<Problems, SourceError> {
        let mut numbers: Vec<u64> = erasures.content.groups(WIDTH).chain(erasures.sealed.groups(WIDTH)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut problems = Problems::default();
        for some in numbers.chunks(BUNDLES_AT_ONCE as usize) {
            let found: Vec<Problems> = some
                .par_iter()
                .map_init(
                    || self.packs.map(|packs| PartReader::new(self.source, packs)),
                    |reader, &number| self.missing_in(number, erasures, reader.as_mut()),
                )
                .collect::<Result<_, _>>()?;
            found.into_iter().for_each(|found| problems.append(found));
        }
        Ok(problems)
    }

    fn missing_in(
        &self,
        number: u64,
        erasures: &Erasures,
        mut reader: Option<&mut PartReader<'_>>,
    ) -> Result<Problems, SourceError> {
        let mut problems = Problems::default();
        let mut entries = self.parsed(number)?.into_iter().peekable();
        for index in number * WIDTH..(number + 1) * WIDTH {
            let entry = entries.next_if(|(at, _)| *at == index).map(|(_, entry)| entry);
            let (content, sealed) = (erasures.content.has(index), erasures.sealed.has(index));
            if !content && !sealed {
                continue;
            }
            let mut found = Vec::new();
            if let (Some(entry), Some(reader)) = (entry, reader.as_deref_mut()) {
                let body = entry.content.filter(|content| content.omitted.is_none());
                if let Some(body) = body.as_ref().filter(|_| content) {
                    found.extend(reader.lacking(index, body)?);
                }
                if let Some(packs) = self.sealed.filter(|_| sealed) {
                    let mut pieces = entry.original.map(|original| original.sealed).unwrap_or_default();
                    if let Some(body) = &body {
                        pieces.extend(reader.sealed_elsewhere(body)?);
                    }
                    let missing = pieces.into_iter().filter(|piece| !packs.has(piece));
                    found.extend(missing.map(|part| Problem::SealedMissing { entry: index, part }));
                }
            }
            // It was another one when it was read before.
            if found.is_empty() {
                let file = bundle_file(number, width_of(number, self.size));
                found.push(Problem::EntryChanged { file, entry: index });
            }
            problems.extend(found);
        }
        Ok(problems)
    }
}

impl Entries {
    /// How many leaves there are.
    pub(crate) fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    pub(crate) fn take(&mut self, later: Self) {
        self.ids.extend(later.ids);
        self.events.extend(later.events);
        self.said.extend(later.said);
        self.custody.extend(later.custody);
        self.erasures.take(later.erasures);
        self.checked.add(&later.checked);
        self.problems.append(later.problems);
    }

    fn entry(
        &mut self,
        index: u64,
        bytes: &[u8],
        file: &str,
        reader: Option<&mut PartReader<'_>>,
        sealed: Option<&Packs>,
    ) -> Result<(), SourceError> {
        self.checked.entries += 1;
        self.checked.entry_bytes += bytes.len() as u64;
        // Most entries can be read fast. Those that speak of a body or of a sealed original are read again to check it.
        if let Some((facts, has_body)) = scan::facts(bytes)
            && !(has_body && reader.is_some())
        {
            self.note(index, facts);
            return Ok(());
        }
        let Some(entry) = self.facts(index, bytes, file) else { return Ok(()) };
        self.erasures.say(index, &entry);
        let mut pieces = entry.original.map(|original| original.sealed).unwrap_or_default();
        if let (Some(reader), Some(content)) = (reader, &entry.content) {
            if reader.check(index, content, &mut self.checked, &mut self.problems)? {
                self.erasures.content.add(index, index);
            }
            pieces.extend(reader.sealed_elsewhere(content)?);
        }
        // Each of them is noted as named.
        if let Some(sealed) = sealed
            && pieces.iter().filter(|piece| !sealed.name(index, piece)).count() > 0
        {
            self.erasures.sealed.add(index, index);
        }
        Ok(())
    }

    fn note(&mut self, index: u64, facts: Facts) {
        self.ids.push((facts.id, index));
        self.events.extend(facts.exchange.map(|(exchange, side)| (exchange, index, side)));
        self.said.push((index, facts.said));
        self.custody.extend(facts.custody.map(|said| (index, said)));
    }

    fn facts(&mut self, index: u64, bytes: &[u8], file: &str) -> Option<Entry> {
        match Entry::parse(bytes) {
            Ok(entry) => {
                self.note(index, Facts::of(&entry));
                Some(entry)
            }
            Err(error) => {
                self.problems.push(Problem::Entry { file: file.to_owned(), entry: index, error });
                None
            }
        }
    }

    /// Holds a version of a bundle against the leaves that it must have,
    /// as far as both go.
    fn compare(&mut self, file: String, bytes: &[u8], width: u16, number: u64, leaves: &[Hash]) {
        self.checked.bundles += 1;
        match audit::leaves(bytes, width) {
            Err(error) => self.problems.push(Problem::Bundle { file, error }),
            Ok(found) => {
                if let Some(position) = found.iter().zip(leaves).position(|(found, leaf)| found.hash != *leaf) {
                    let entry = number * WIDTH + position as u64;
                    self.problems.push(Problem::BundleDiffers { file, entry });
                }
            }
        }
    }

    /// Follows what a running or crashed writer has put beyond the checkpoint,
    /// as long as each bundle follows on the one before. Only ids and hashes
    /// are taken from there; the ids are what shows entries that were merely
    /// copied. Returns how many entries that are.
    pub(crate) fn extend(&mut self, scope: &Scope<'_>, files: &Files) -> Result<u64, SourceError> {
        let full = WIDTH as u16;
        let (mut number, mut have) = (scope.size / WIDTH, (scope.size % WIDTH) as u16);
        loop {
            let mut widths: Vec<u16> = files.bundles.get(&number).map_or_else(Vec::new, Vec::clone);
            widths.retain(|&width| width > have);
            // It may be there only since the directory was listed.
            if widths.last() != Some(&full) {
                widths.push(full);
            }
            let start = (number * WIDTH) as usize;
            let mut read = None;
            while let Some(width) = widths.pop() {
                if let Some(bytes) = scope.source.read(&bundle_file(number, width))? {
                    read = Some((width, bytes));
                    break;
                }
            }
            let Some((width, bytes)) = read else { break };
            let file = bundle_file(number, width);
            let before = self.problems.list.len() as u64 + self.problems.more;
            let known = self.leaves[start..].to_vec();
            self.compare(file.clone(), &bytes, width, number, &known);
            if self.problems.list.len() as u64 + self.problems.more > before {
                break;
            }
            let leaves = audit::leaves(&bytes, width).expect("it was compared");
            for (index, leaf) in (number * WIDTH..).zip(&leaves).skip(usize::from(have)) {
                self.facts_beyond(index, leaf.bytes, &file);
                self.leaves.push(leaf.hash);
            }
            let known = self.leaves[start..].to_vec();
            for smaller in widths {
                let file = bundle_file(number, smaller);
                if let Some(bytes) = scope.source.read(&file)? {
                    self.compare(file, &bytes, smaller, number, &known);
                }
            }
            if width < full {
                break;
            }
            self.above.push(audit::subtree_root(&self.leaves[start..start + WIDTH as usize]));
            (number, have) = (number + 1, 0);
        }
        // What comes after a hole. Some of it may be in the log by now, and
        // what is partial may be gone.
        let size = self.leaves.len() as u64;
        for (&number, widths) in files.bundles.range(size.div_ceil(WIDTH)..) {
            for &width in widths {
                let file = bundle_file(number, width);
                let Some(before) = number.checked_sub(1) else { continue };
                if scope.source.read(&file)?.is_some() && scope.source.read(&bundle_file(before, full))?.is_none() {
                    self.problems.push(Problem::Gap { file });
                }
            }
        }
        Ok(size - scope.size)
    }

    /// Of an entry beyond the checkpoint: its id only. Its exchange and its
    /// session may be anything until it is signed.
    fn facts_beyond(&mut self, index: u64, bytes: &[u8], file: &str) {
        let (events, said, custody) = (self.events.len(), self.said.len(), self.custody.len());
        self.facts(index, bytes, file);
        self.events.truncate(events);
        self.said.truncate(said);
        self.custody.truncate(custody);
    }
}

impl Checked {
    pub(crate) fn add(&mut self, other: &Self) {
        self.entries += other.entries;
        self.entry_bytes += other.entry_bytes;
        self.tiles += other.tiles;
        self.bundles += other.bundles;
        self.packs += other.packs;
        self.parts += other.parts;
        self.content_bytes += other.content_bytes;
        self.bodies += other.bodies;
        self.body_bytes += other.body_bytes;
        self.sealed += other.sealed;
        self.sealed_bytes += other.sealed_bytes;
        self.erased += other.erased;
        self.expired += other.expired;
        self.removed += other.removed;
        self.exchanges += other.exchanges;
        self.open_exchanges += other.open_exchanges;
    }
}
