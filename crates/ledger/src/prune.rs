//! Removing what is no longer to be kept: content that only expired entries name, and sealed pieces that only erased or
//! expired ones do.
//!
//! The log says first what expired ([`Kind::Expire`]); the entries and the tree stay as they are, and what goes are parts of packs.
//! A part may be named by later entries too, so before it goes, all others are asked. Entries keep being appended meanwhile:
//!
//! 1. The parts that the expired entries name become *candidates*. From now on the sequencer drops from them what an entry
//!    names that it is given ([`Pruning`]). A crash anywhere before 4 is done for a pack: nothing happened to it.
//! 2. Everything that was sequenced before is waited for, until it is in the catalog.
//! 3. All entries are read, and what one names that has not expired is no candidate any more.
//! 4. For some packs at a time, while the sequencer waits: the catalog notes what is about to leave them, durably; they are
//!    rewritten, or removed; the catalog is made to say what they have now. A crash in between: the next start of the ledger looks into
//!    the packs that are noted, and the next pruning goes on.
//! 5. What is published is removed from the write-ahead log. The catalog notes up to which entry all that expired is gone.
//!
//! Whoever appends may hold a part for stored that has gone since. So an append brings the bytes of the parts that it takes
//! for known ([`crate::Append::known`]), and the sequencer stores again what went.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tabellion_evidence::audit::Packed;
use tabellion_evidence::content;
use tabellion_evidence::entry::{Entry, Heading, Kind, Manifest};
use tabellion_evidence::ranges::Ranges;
use tabellion_evidence::tile::WIDTH;
use tabellion_evidence::tree::Hash;

use crate::{Append, Catalog, Ledger, LedgerError, Reader};

/// So many candidates are looked for at once: about 100 MiB.
pub(crate) const CANDIDATES_MAX: usize = if cfg!(test) { 3 } else { 1 << 20 };
/// So many packs are rewritten while appends wait, and about so many bytes.
const PACKS_AT_ONCE: usize = 32;
const BYTES_AT_ONCE: usize = 4 << 20;
/// Of so many that went it is remembered that appends may hold them for stored.
const GONE_MAX: usize = 4 << 20;
/// How long a publication is waited for.
const WAIT: Duration = Duration::from_secs(60);
/// An append that holds a part for stored is under way for less than that, once whoever appends was told.
const UNDER_WAY: Duration = Duration::from_secs(3600);

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Parts of content.
    pub parts: u64,
    /// Sealed pieces.
    pub pieces: u64,
    /// Their bytes.
    pub bytes: u64,
    /// There is more to remove, which has to wait for an hour.
    pub more: bool,
}

/// What the sequencer and a pruning tell each other.
#[derive(Default)]
pub(crate) struct Pruning {
    /// Parts that go, unless an entry names them first.
    candidates: HashSet<Hash>,
    /// Parts that went and that appends may hold for stored.
    gone: HashSet<Hash>,
    /// When the last ones went.
    since: Option<Instant>,
    /// The sequencer's own memory of what the catalog has is wrong.
    forget: bool,
    /// What the catalog says of some packs may be wrong, or may not be what the disk has. Nothing is appended until that is
    /// mended, by another call or by a restart.
    unsettled: bool,
    /// The next position that is given out.
    pub(crate) next: u64,
}

impl Pruning {
    /// Nothing is pruned, and this is the next position.
    pub(crate) fn at(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// Takes in what appends name: those parts stay, and those that went are stored again. False if appends have to be
    /// refused.
    pub(crate) fn admit<'a>(&mut self, appends: impl Iterator<Item = &'a mut Append>) -> bool {
        let idle = self.candidates.is_empty() && self.gone.is_empty();
        for append in appends {
            let known = std::mem::take(&mut append.known);
            if idle {
                continue;
            }
            for part in append.parts.iter().chain(&known) {
                self.candidates.remove(&part.hash());
            }
            append.parts.extend(known.into_iter().filter(|part| self.gone.contains(&part.hash())));
        }
        !self.unsettled
    }

    /// Takes in that a part is stored, perhaps again.
    pub(crate) fn stored(&mut self, part: &Hash) {
        self.gone.remove(part);
    }

    /// Whether the sequencer has to forget what it found in the catalog; asked once.
    pub(crate) fn take_forget(&mut self) -> bool {
        std::mem::take(&mut self.forget)
    }
}

pub(crate) fn lock(pruning: &Mutex<Pruning>) -> MutexGuard<'_, Pruning> {
    pruning.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the log says has expired, and was erased.
#[derive(Default)]
pub(crate) struct Said {
    /// Whose content goes.
    pub(crate) expired: Ranges,
    /// Whose sealed pieces go.
    pub(crate) erased: Ranges,
    /// Those of them that are to be pruned.
    pub(crate) fresh: Ranges,
    /// The entry up to which all is said.
    upto: u64,
}

impl Said {
    fn read(reader: &Reader, custody: Vec<(u64, Kind)>, pruned: u64, size: u64) -> Result<Self, LedgerError> {
        let mut said = Self { upto: pruned, ..Self::default() };
        for (index, kind) in custody {
            if matches!(kind, Kind::Expire | Kind::Erase) && index < size {
                said.take(index, &reader.entry(index, size)?, pruned);
            }
        }
        said.order();
        Ok(said)
    }

    /// Takes in an entry. What those before `pruned` say is pruned already.
    pub(crate) fn take(&mut self, index: u64, entry: &[u8], pruned: u64) {
        let Ok(Heading { kind: kind @ (Kind::Expire | Kind::Erase), .. }) = Heading::parse(entry) else { return };
        // What is no proper entry says nothing, and `verify` says that.
        let Ok(entry) = Entry::parse(entry) else { return };
        for (first, last) in entry.erase.into_iter().flat_map(|erase| erase.entries) {
            // Nothing can be said of entries that come later.
            let last = last.min(index.saturating_sub(1));
            if first > last {
                continue;
            }
            self.erased.add(first, last);
            if kind == Kind::Expire {
                self.expired.add(first, last);
            }
            if index >= pruned {
                self.fresh.add(first, last);
            }
        }
        self.upto = self.upto.max(index + 1);
    }

    pub(crate) fn order(&mut self) {
        for ranges in [&mut self.expired, &mut self.erased, &mut self.fresh] {
            ranges.order();
        }
    }
}

/// What an entry names.
#[derive(Default)]
pub(crate) struct Names {
    /// Parts of content, without the manifest.
    pub(crate) parts: Vec<Hash>,
    pub(crate) sealed: Vec<Hash>,
    /// It always stays, also where another entry has it for a part.
    pub(crate) manifest: Option<Hash>,
}

impl Names {
    /// `manifest` gives the bytes of a manifest.
    pub(crate) fn of(
        entry: &Entry,
        manifest: impl FnOnce(&Hash) -> Result<Vec<u8>, LedgerError>,
    ) -> Result<Self, LedgerError> {
        let mut names = Self::default();
        names.sealed.extend(entry.original.iter().flat_map(|original| &original.sealed));
        let Some(content) = &entry.content else { return Ok(names) };
        names.parts.extend(content.parts.iter().map(|part| part.sha256));
        if let Some(hash) = &content.manifest {
            names.manifest = Some(*hash);
            let damaged = |_| LedgerError::Damaged { name: format!("the manifest {hash}") };
            let manifest = Manifest::parse(&manifest(hash)?).map_err(damaged)?;
            names.parts.extend(manifest.content.iter().map(|part| part.sha256));
            names.sealed.extend(manifest.sealed);
        }
        Ok(names)
    }
}

/// Which entries have expired, as the first `size` entries say.
///
/// # Errors
///
/// The log or the catalog cannot be read.
pub fn expired(reader: &Reader, catalog: &Catalog, size: u64) -> Result<Ranges, LedgerError> {
    Ok(Said::read(reader, catalog.custody()?, 0, size)?.expired)
}

impl Ledger {
    /// Removes the content that only expired entries name, and the sealed pieces that only erased or expired ones name
    /// and of which `opens` says that nothing opens them, as far as the published checkpoint says so. Reads all entries if
    /// the log says of any that they expired and it was not called since, or not to its end; nothing else. Returns early, with what was removed so far, when `stop`
    /// is set. One call at a time; others wait.
    ///
    /// # Errors
    ///
    /// The log, the catalog or the packs could not be read or written; the next call goes on.
    pub fn prune(&self, opens: &dyn Fn(&Hash) -> bool, stop: &AtomicBool) -> Result<Pruned, LedgerError> {
        let mut work = Work { ledger: self, opens, stop, done: Pruned::default() };
        let mut left = self.pruner.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *left, Left::Half) {
            Left::Nothing => {}
            Left::Half => work.settle()?,
            Left::Unknown => {
                *left = Left::Unknown;
                return Err(LedgerError::NeedsRestart);
            }
        }
        let pruned = work.prune();
        lock(&self.shared.pruning).candidates.clear();
        *left = match &pruned {
            Ok(()) => Left::Nothing,
            Err(LedgerError::Store(error)) if error.needs_restart() => Left::Unknown,
            Err(_) => Left::Half,
        };
        pruned.map(|()| work.done)
    }
}

/// What the call before left.
#[derive(Clone, Copy, Default)]
pub(crate) enum Left {
    #[default]
    Nothing,
    /// Packs that the catalog has to look into.
    Half,
    /// Packs of which only a restart tells what they are.
    Unknown,
}

struct Work<'a> {
    ledger: &'a Ledger,
    opens: &'a dyn Fn(&Hash) -> bool,
    stop: &'a AtomicBool,
    done: Pruned,
}

impl Work<'_> {
    fn prune(&mut self) -> Result<(), LedgerError> {
        let size = self.begin(HashSet::new())?;
        // A verifier must find it said when it finds it gone.
        let size = size.min(self.ledger.reader.checkpoint()?.size);
        let (custody, pruned) = {
            let catalog = self.ledger.catalog();
            (catalog.custody()?, catalog.pruned()?)
        };
        let said = Said::read(&self.ledger.reader, custody, pruned, size)?;
        let (mut parts, mut sealed) = (HashSet::new(), HashSet::new());
        for (first, last) in said.fresh.iter() {
            let mut at = first;
            while at <= last {
                let number = at / WIDTH;
                for (index, bytes) in (number * WIDTH..).zip(self.ledger.reader.entries(number, size)?) {
                    if !(at..=last).contains(&index) {
                        continue;
                    }
                    let Ok(entry) = Entry::parse(&bytes) else { continue };
                    let names = self.names(&entry)?;
                    if said.expired.has(index) {
                        parts.extend(names.parts);
                    }
                    sealed.extend(names.sealed);
                }
                at = (number + 1) * WIDTH;
                if parts.len() + sealed.len() >= CANDIDATES_MAX {
                    self.slice(&said, std::mem::take(&mut parts), std::mem::take(&mut sealed))?;
                }
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                if lock(&self.ledger.shared.pruning).gone.len() > GONE_MAX {
                    self.done.more = true;
                    return Ok(());
                }
            }
        }
        self.slice(&said, parts, sealed)?;
        if !self.stop.load(Ordering::Relaxed) {
            self.ledger.catalog().note_pruned(said.upto)?;
        }
        if !said.fresh.is_empty() {
            // It was in the write-ahead log too.
            self.ledger.shared.lock().renew = true;
            self.ledger.shared.sequencer_wakes.notify_one();
        }
        Ok(())
    }

    fn names(&self, entry: &Entry) -> Result<Names, LedgerError> {
        Names::of(entry, |manifest| {
            let found = self.ledger.catalog().part(&self.ledger.reader, manifest)?;
            found.ok_or_else(|| LedgerError::Missing { name: format!("the manifest {manifest}") })
        })
    }

    /// 1 and 2. Returns how many entries there are to look at.
    fn begin(&self, candidates: HashSet<Hash>) -> Result<u64, LedgerError> {
        let shared = &self.ledger.shared;
        let next = {
            let mut pruning = lock(&shared.pruning);
            if pruning.since.is_some_and(|since| since.elapsed() > UNDER_WAY) {
                pruning.gone.clear();
                pruning.since = None;
            }
            pruning.candidates = candidates;
            pruning.next
        };
        let deadline = Instant::now() + WAIT;
        while shared.cataloged.load(Ordering::Acquire) < next {
            if Instant::now() > deadline || self.stop.load(Ordering::Relaxed) {
                return Err(LedgerError::Unpublished);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(next)
    }

    /// 1 to 4 for some parts and pieces.
    fn slice(&mut self, said: &Said, parts: HashSet<Hash>, mut sealed: HashSet<Hash>) -> Result<(), LedgerError> {
        if parts.is_empty() && sealed.is_empty() {
            return Ok(());
        }
        let mut places: BTreeMap<(Packed, u64), Vec<Hash>> = BTreeMap::new();
        let mut asked: HashSet<Hash> = parts.clone();
        let size = self.begin(parts)?;
        // 3.
        for number in 0..size.div_ceil(WIDTH) {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            for (index, bytes) in (number * WIDTH..).zip(self.ledger.reader.entries(number, size)?) {
                let (keeps_parts, keeps_sealed) = (!said.expired.has(index), !said.erased.has(index));
                let Ok(entry) = Entry::parse(&bytes) else { continue };
                let names = self.names(&entry)?;
                if let Some(manifest) = &names.manifest {
                    asked.remove(manifest);
                }
                for part in names.parts.iter().filter(|_| keeps_parts) {
                    asked.remove(part);
                }
                for piece in names.sealed.iter().filter(|_| keeps_sealed) {
                    sealed.remove(piece);
                }
            }
        }
        {
            let mut pruning = lock(&self.ledger.shared.pruning);
            pruning.candidates.retain(|part| asked.contains(part));
        }
        for (packed, hashes) in [(Packed::Content, &asked), (Packed::Sealed, &sealed)] {
            for hash in hashes {
                // Locked for each, because appends wait for it too.
                if let Some(pack) = self.ledger.catalog().pack_of(packed, hash)? {
                    places.entry((packed, pack)).or_default().push(*hash);
                }
            }
        }
        // 4.
        let mut places = places.into_iter().peekable();
        while places.peek().is_some() && !self.stop.load(Ordering::Relaxed) {
            let started = Instant::now();
            self.rewrite(&mut places)?;
            // Appends go on for as long as they waited.
            std::thread::sleep(started.elapsed());
        }
        Ok(())
    }

    /// 4, of the next packs.
    fn rewrite(
        &mut self,
        places: &mut std::iter::Peekable<impl Iterator<Item = ((Packed, u64), Vec<Hash>)>>,
    ) -> Result<(), LedgerError> {
        let store = self.ledger.reader.store();
        let mut pruning = lock(&self.ledger.shared.pruning);
        let mut leaving: Vec<(Packed, u64, Vec<Hash>)> = Vec::new();
        let mut objects: Vec<(String, Vec<u8>)> = Vec::new();
        let mut bytes_read = 0;
        let mut done = Pruned::default();
        while leaving.len() < PACKS_AT_ONCE
            && bytes_read < BYTES_AT_ONCE
            && let Some(((packed, pack), mut hashes)) = places.next()
        {
            hashes.retain(|hash| match packed {
                Packed::Content => pruning.candidates.remove(hash),
                Packed::Sealed => !(self.opens)(hash),
            });
            let name = packed.file(pack);
            let Some(bytes) = store.read(&name)?.filter(|_| !hashes.is_empty()) else { continue };
            bytes_read += bytes.len();
            let parts = content::parse_pack(&bytes).map_err(|_| LedgerError::Damaged { name: name.clone() })?;
            let go: BTreeSet<Hash> = hashes.iter().copied().collect();
            let mut left = Vec::new();
            for (hash, part, _) in parts {
                if go.contains(&hash) {
                    done.parts += u64::from(packed == Packed::Content);
                    done.pieces += u64::from(packed == Packed::Sealed);
                    done.bytes += part.len() as u64;
                } else {
                    content::encode_named_part(&mut left, &hash, part);
                }
            }
            leaving.push((packed, pack, hashes));
            objects.push((name, left));
        }
        if leaving.is_empty() {
            return Ok(());
        }
        self.ledger.catalog().leave(&leaving)?;
        let objects: Vec<_> =
            objects.iter().map(|(name, left)| (&**name, Some(&**left).filter(|left| !left.is_empty()))).collect();
        let written = store.rewrite(&objects);
        let settled = self.ledger.catalog().settle(&self.ledger.reader);
        if let Err(error) = written {
            // After a sync that failed, what is read here may not be what a restart finds.
            pruning.unsettled = error.needs_restart() || settled.is_err();
            pruning.went(settled.unwrap_or_default());
            return Err(error.into());
        }
        match settled {
            Ok(gone) => pruning.went(gone),
            Err(error) => {
                pruning.unsettled = true;
                return Err(error);
            }
        }
        self.done.parts += done.parts;
        self.done.pieces += done.pieces;
        self.done.bytes += done.bytes;
        Ok(())
    }

    /// What an earlier call left half done.
    fn settle(&self) -> Result<(), LedgerError> {
        let mut pruning = lock(&self.ledger.shared.pruning);
        let gone = self.ledger.catalog().settle(&self.ledger.reader)?;
        pruning.went(gone);
        pruning.unsettled = false;
        Ok(())
    }
}

impl Pruning {
    fn went(&mut self, parts: Vec<Hash>) {
        self.gone.extend(parts);
        self.since = Some(Instant::now());
        self.forget = true;
    }
}

/// What a ledger has of it.
pub(crate) type SharedPruning = Arc<Mutex<Pruning>>;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tabellion_evidence::entry::{Content, Erase, Original, Outcome, Part as Listed};
    use tabellion_evidence::tree;
    use tabellion_store::{DiskStore, SimDisk};

    use super::*;
    use crate::tests::{Keys, disk};
    use crate::{Mirror, Options, Part, Removed};

    const TIME: &str = "2026-11-25T10:00:00.000000Z";

    fn id(n: u64) -> String {
        format!("01JD{n:022}")
    }

    fn part(text: &str) -> Part {
        Part::new(text.as_bytes())
    }

    /// An entry of exchange `n` that names these parts, and carries them as new, or as known.
    fn entry(kind: Kind, n: u64, parts: &[&str], sealed: &[&str], known: bool) -> Append {
        let mut entry = Entry::new(kind.clone(), id(if kind == Kind::Response { n + 1000 } else { n }), TIME);
        entry.exchange = Some(id(n));
        entry.outcome = (kind == Kind::Response).then_some(Outcome::Complete);
        let listed = |(position, text): (usize, &&str)| Listed {
            role: if position == 0 { "frame" } else { "user" }.to_owned(),
            sha256: part(text).hash(),
            bytes: text.len() as u64,
            findings: BTreeMap::new(),
        };
        let content = Content {
            sha256: Some(tree::sha256(parts.concat())),
            bytes: Some(parts.concat().len() as u64),
            parts: parts.iter().enumerate().map(listed).collect(),
            ..Content::default()
        };
        entry.content = Some(content);
        let original = |sealed: &[&str]| Original {
            bytes: 1,
            commitment: tree::sha256(b""),
            parts: Vec::new(),
            sealed: sealed.iter().map(|text| part(text).hash()).collect(),
        };
        entry.original = (!sealed.is_empty()).then(|| original(sealed));
        let texts = |texts: &[&str]| texts.iter().map(|text| part(text)).collect::<Vec<_>>();
        let (parts, known) = if known { (Vec::new(), texts(parts)) } else { (texts(parts), Vec::new()) };
        Append { entry: entry.to_bytes().unwrap(), parts, known, sealed: texts(sealed) }
    }

    fn says(kind: Kind, n: u64, entries: &[(u64, u64)]) -> Append {
        let mut entry = Entry::new(kind, id(n), TIME);
        entry.erase = Some(Erase { entries: entries.to_vec(), selection: BTreeMap::new(), basis: None });
        Append { entry: entry.to_bytes().unwrap(), ..Append::default() }
    }

    /// Two exchanges of a conversation, and one by itself, of which the last is in the packs of the first.
    fn log() -> Vec<Append> {
        vec![
            entry(Kind::Request, 0, &["frame 0", "hello"], &["sealed 0"], false),
            entry(Kind::Response, 0, &["answer 0"], &[], false),
            entry(Kind::Request, 1, &["frame 1", "hello", "more"], &["sealed 1"], false),
            entry(Kind::Response, 1, &["answer 1"], &[], false),
            entry(Kind::Request, 2, &["alone"], &["sealed 2"], false),
            entry(Kind::Response, 2, &["answer 2"], &[], false),
        ]
    }

    fn options(catalog: Option<&Path>) -> Options {
        let publish_every = Duration::from_millis(1);
        Options { publish_every, catalog: catalog.map(Path::to_owned), ..Options::default() }
    }

    fn open(disk: &SimDisk, catalog: Option<&Path>) -> Result<Ledger, LedgerError> {
        Ledger::open_on(disk.clone(), DiskStore::new(Keys(disk.clone())), options(catalog))
    }

    /// All parts that there are, each with its pack; nothing is there twice.
    fn there(disk: &SimDisk, packed: Packed) -> BTreeMap<String, u64> {
        let reader = Reader::new(Arc::new(DiskStore::new(disk.clone())));
        let size = reader.checkpoint().unwrap().size;
        let mut there = BTreeMap::new();
        for (pack, name) in reader.packs(packed, 0, size).unwrap() {
            let bytes = reader.store().read(&name).unwrap().unwrap();
            assert!(!bytes.is_empty(), "an empty pack is removed");
            for (_, bytes, _) in content::parse_pack(&bytes).unwrap() {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                assert_eq!(there.insert(text.clone(), pack), None, "{text} is there twice");
            }
        }
        there
    }

    fn texts(there: &BTreeMap<String, u64>) -> Vec<&str> {
        there.keys().map(String::as_str).collect()
    }

    const WHOLE: [&str; 8] = ["alone", "answer 0", "answer 1", "answer 2", "frame 0", "frame 1", "hello", "more"];
    /// When exchanges 0 and 2 have expired.
    const LEFT: [&str; 4] = ["answer 1", "frame 1", "hello", "more"];

    fn never() -> AtomicBool {
        AtomicBool::new(false)
    }

    fn publish(ledger: &Ledger, appends: Vec<Append>) {
        let last = appends.into_iter().map(|append| ledger.append_blocking(append).unwrap()).last();
        let deadline = Instant::now() + WAIT;
        while *ledger.published().borrow() <= last.unwrap_or(0) {
            assert!(Instant::now() < deadline, "nothing is published");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_only_expired_entries_name_goes_and_comes_again_when_it_is_named_again() {
        let disk = disk();
        let ledger = open(&disk, None).unwrap();
        publish(&ledger, log());
        let nothing = ledger.prune(&|_| false, &never()).unwrap();
        assert_eq!((nothing, texts(&there(&disk, Packed::Content))), (Pruned::default(), WHOLE.to_vec()));

        publish(&ledger, vec![says(Kind::Expire, 10, &[(0, 1), (4, 5)])]);
        // Something still opens the last one.
        let opens = |piece: &Hash| *piece == part("sealed 2").hash();
        let pruned = ledger.prune(&opens, &never()).unwrap();
        assert_eq!((pruned.parts, pruned.pieces), (4, 1));
        assert_eq!(texts(&there(&disk, Packed::Content)), LEFT);
        assert_eq!(texts(&there(&disk, Packed::Sealed)), ["sealed 1", "sealed 2"]);
        let reader = ledger.reader().clone();
        assert_eq!(ledger.catalog().part(&reader, &part("alone").hash()).unwrap(), None);
        let kept = |text: &str| ledger.catalog().part(&reader, &part(text).hash()).unwrap();
        assert_eq!(kept("more").as_deref(), Some(&b"more"[..]), "it has another place in its pack");
        assert_eq!(ledger.prune(&|_| false, &never()).unwrap(), Pruned::default(), "there is nothing more to do");

        // Whoever appends holds for stored what is not any more.
        publish(&ledger, vec![entry(Kind::Request, 3, &["frame 0", "hello", "answer 0"], &[], true)]);
        let again = there(&disk, Packed::Content);
        assert_eq!((again["frame 0"], again["answer 0"]), (7, 7));
        assert!(again["hello"] < 7);
        // And now it is stored.
        publish(&ledger, vec![entry(Kind::Request, 4, &["frame 0", "alone"], &[], false)]);
        publish(&ledger, vec![entry(Kind::Request, 5, &["frame 0", "alone"], &[], true)]);
        let again = there(&disk, Packed::Content);
        assert_eq!((again["frame 0"], again["alone"]), (7, 8));

        // An erasure takes sealed pieces only, also those that an earlier one left.
        publish(&ledger, vec![says(Kind::Erase, 11, &[(2, 2), (4, 4)])]);
        let pruned = ledger.prune(&|_| false, &never()).unwrap();
        assert_eq!((pruned.parts, pruned.pieces), (0, 2));
        assert_eq!(texts(&there(&disk, Packed::Sealed)), Vec::<&str>::new());
    }

    #[test]
    fn what_an_entry_names_while_it_is_about_to_go_stays() {
        let disk = disk();
        let ledger = open(&disk, None).unwrap();
        publish(&ledger, log());
        publish(&ledger, vec![says(Kind::Expire, 10, &[(0, 1), (4, 5)])]);
        let mut work = Work { ledger: &ledger, opens: &|_| false, stop: &never(), done: Pruned::default() };
        let candidates = ["frame 0", "answer 0", "alone"].map(|text| part(text).hash());
        let size = work.begin(candidates.into()).unwrap();
        assert_eq!(size, 7);
        // They come after the entries that are asked.
        publish(&ledger, vec![entry(Kind::Request, 3, &["frame 0"], &[], true)]);
        publish(&ledger, vec![entry(Kind::Request, 4, &["answer 0"], &[], false)]);
        let pack = ledger.catalog().pack_of(Packed::Content, &candidates[0]).unwrap().unwrap();
        let mut places = BTreeMap::from([((Packed::Content, pack), candidates.to_vec())]).into_iter().peekable();
        work.rewrite(&mut places).unwrap();
        let left = there(&disk, Packed::Content);
        assert!(left["frame 0"] < 7 && left["answer 0"] < 7, "{left:?}");
    }

    #[test]
    fn a_mirror_removes_what_the_log_removed_and_what_expired_and_nothing_else() {
        let disk = disk();
        let ledger = open(&disk, None).unwrap();
        publish(&ledger, log());
        let copy = SimDisk::new();
        let store = |disk: &SimDisk| -> Arc<dyn tabellion_store::Store> { Arc::new(DiskStore::new(disk.clone())) };
        let mut mirror = Mirror::new(store(&disk), store(&copy), true);
        let mut round = |ledger: &Ledger| {
            let deadline = Instant::now() + WAIT;
            while ledger.reader().checkpoint().unwrap().size < *ledger.published().borrow() {
                assert!(Instant::now() < deadline);
            }
            mirror.round(&|_, _| {}).unwrap();
            mirror.prune().unwrap()
        };
        assert_eq!(round(&ledger), Removed::default());
        publish(&ledger, vec![says(Kind::Expire, 10, &[(0, 1), (4, 5)])]);
        let waits = round(&ledger);
        assert_eq!((waits.parts, waits.kept), (0, 6), "the log still has it itself");
        ledger.prune(&|_| false, &never()).unwrap();
        assert_eq!(round(&ledger).parts, 6);
        for packed in [Packed::Content, Packed::Sealed] {
            assert_eq!(there(&copy, packed), there(&disk, packed));
        }
        // Named again, so stored again, and expired again.
        publish(&ledger, vec![entry(Kind::Request, 3, &["alone"], &[], false)]);
        publish(&ledger, vec![entry(Kind::Response, 3, &["alone"], &[], true)]);
        round(&ledger);
        assert!(there(&copy, Packed::Content).contains_key("alone"));
        publish(&ledger, vec![says(Kind::Expire, 11, &[(7, 8)])]);
        ledger.prune(&|_| false, &never()).unwrap();
        assert_eq!(round(&ledger), Removed { parts: 1, kept: 0 });
        assert_eq!(texts(&there(&copy, Packed::Content)), LEFT);
        // Somebody takes from the log what did not expire.
        let name = Packed::Content.file(there(&disk, Packed::Content)["hello"]);
        store(&disk).rewrite(&[(&name, None)]).unwrap();
        publish(&ledger, vec![says(Kind::Expire, 12, &[(0, 1)])]);
        assert_eq!(round(&ledger), Removed::default());
        assert_eq!(texts(&there(&copy, Packed::Content)), LEFT);
    }

    #[test]
    fn a_manifest_stays_also_where_somebody_said_it_word_for_word() {
        let disk = disk();
        let ledger = open(&disk, None).unwrap();
        let listed =
            Listed { role: "frame".into(), sha256: part("kept body").hash(), bytes: 9, findings: BTreeMap::new() };
        let manifest = Manifest { content: vec![listed], ..Manifest::default() };
        let manifest = String::from_utf8(manifest.to_bytes()).unwrap();
        let mut kept = Entry::new(Kind::Request, id(0), TIME);
        kept.exchange = Some(id(0));
        let sha256 = Some(tree::sha256(b"kept body"));
        let named = Some(part(&manifest).hash());
        kept.content = Some(Content { sha256, bytes: Some(9), manifest: named, ..Content::default() });
        let parts = vec![part("kept body"), part(&manifest)];
        publish(&ledger, vec![Append { entry: kept.to_bytes().unwrap(), parts, ..Append::default() }]);
        publish(&ledger, vec![entry(Kind::Request, 1, &["f", &manifest], &[], false)]);
        // Also when both have expired, for then it says what went.
        for (n, expired) in [(10, (1, 1)), (11, (0, 1))] {
            publish(&ledger, vec![says(Kind::Expire, n, &[expired])]);
            ledger.prune(&|_| false, &never()).unwrap();
            assert!(there(&disk, Packed::Content).contains_key(&manifest));
        }
        assert_eq!(there(&disk, Packed::Content).len(), 1);
    }

    /// Whatever happens to the disk while it is pruned: what is not expired is there once, and in the end the rest is gone.
    fn comes_through(disk: &SimDisk, context: &str) {
        let found = there(disk, Packed::Content);
        for text in LEFT {
            assert!(found.contains_key(text), "{context}: {text} is missing");
        }
        let ledger = open(disk, None).unwrap_or_else(|error| panic!("{context}: {error}"));
        publish(&ledger, vec![entry(Kind::Request, 7, &["frame 0", "hello"], &[], false)]);
        ledger.prune(&|_| false, &never()).unwrap_or_else(|error| panic!("{context}: {error}"));
        let left = there(disk, Packed::Content);
        let mut expected = LEFT.to_vec();
        expected.push("frame 0");
        expected.sort_unstable();
        assert_eq!(texts(&left), expected, "{context}");
        assert_eq!(texts(&there(disk, Packed::Sealed)), ["sealed 1"], "{context}");
    }

    fn expired() -> SimDisk {
        let disk = disk();
        let ledger = open(&disk, None).unwrap();
        publish(&ledger, log());
        publish(&ledger, vec![says(Kind::Expire, 10, &[(0, 1), (4, 5)])]);
        ledger.close();
        disk.crash(|_| 1)
    }

    #[test]
    fn a_power_cut_at_any_step_leaves_what_is_kept_and_the_rest_goes_later() {
        let expired = expired();
        let mut cuts = 0;
        for step in 0.. {
            let disk = expired.crash(|_| 1);
            let ledger = open(&disk, None).unwrap();
            disk.power_off_at(disk.steps() + step);
            let whole = ledger.prune(&|_| false, &never()).is_ok();
            for fate in [0, 1, 2] {
                cuts += 1;
                comes_through(&disk.crash(|_| fate), &format!("step {step}, fate {fate}"));
            }
            for kept in 0..disk.pending() {
                cuts += 1;
                comes_through(&disk.crash(|at| u8::from(at == kept)), &format!("step {step}, only {kept}"));
            }
            if whole {
                break;
            }
        }
        assert!(cuts > 30, "only {cuts} power cuts were tried");
    }

    #[test]
    fn a_disk_that_fails_at_any_step_costs_one_call_and_nothing_that_is_kept() {
        let expired = expired();
        let mut failed = 0;
        for step in 0.. {
            let disk = expired.crash(|_| 1);
            let ledger = open(&disk, None).unwrap();
            disk.fail_at(disk.steps() + step, std::io::ErrorKind::StorageFull);
            let whole = ledger.prune(&|_| false, &never()).is_ok();
            failed += usize::from(!whole);
            // Appends go on, if no sync failed, and hold what went for stored.
            let again = entry(Kind::Request, 8, &["frame 1", "alone"], &[], true);
            if ledger.append_blocking(again).is_ok() {
                // What could not be published is, after a restart.
                ledger.close();
                let disk = disk.crash(|_| 1);
                open(&disk, None).unwrap();
                let there = there(&disk, Packed::Content);
                assert!(LEFT.iter().chain(&["alone"]).all(|text| there.contains_key(*text)), "step {step}: {there:?}");
            } else {
                drop(ledger);
                comes_through(&disk.crash(|_| 1), &format!("step {step}"));
            }
            if whole {
                break;
            }
        }
        assert!(failed > 5, "it failed {failed} times only");
    }

    #[test]
    fn a_catalog_that_a_crash_left_behind_is_put_right_at_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.db");
        for rewritten in [false, true] {
            let disk = expired();
            let _ = std::fs::remove_file(&path);
            let ledger = open(&disk, Some(&path)).unwrap();
            let hash = part("alone").hash();
            let pack = ledger.catalog().pack_of(Packed::Content, &hash).unwrap().unwrap();
            ledger.catalog().leave(&[(Packed::Content, pack, vec![hash])]).unwrap();
            if rewritten {
                let name = Packed::Content.file(pack);
                let bytes = ledger.reader().store().read(&name).unwrap().unwrap();
                let mut left = Vec::new();
                for (other, part, _) in content::parse_pack(&bytes).unwrap() {
                    if other != hash {
                        content::encode_named_part(&mut left, &other, part);
                    }
                }
                let left = Some(&*left).filter(|left| !left.is_empty());
                ledger.reader().store().rewrite(&[(&name, left)]).unwrap();
                assert_eq!(ledger.catalog().part(ledger.reader(), &hash).unwrap(), None, "it is about to leave");
            }
            ledger.close();
            drop(ledger);
            let ledger = open(&disk, Some(&path)).unwrap();
            publish(&ledger, vec![entry(Kind::Request, 9, &["alone"], &[], false)]);
            let pack = there(&disk, Packed::Content)["alone"];
            assert_eq!(pack == 7, rewritten, "it is stored again only if it went");
        }
    }

    #[test]
    fn what_a_power_cut_takes_back_from_the_catalog_does_not_store_a_part_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.db");
        let copy = |from: &str, to: &str| {
            for suffix in ["", "-wal"] {
                let [from, to] = [from, to].map(|name| directory.path().join(format!("{name}{suffix}")));
                let _ = std::fs::remove_file(&to);
                let _ = std::fs::copy(from, to);
            }
        };
        let disk = expired();
        let ledger = open(&disk, Some(&path)).unwrap();
        let hash = part("alone").hash();
        let pack = ledger.catalog().pack_of(Packed::Content, &hash).unwrap().unwrap();
        ledger.catalog().leave(&[(Packed::Content, pack, vec![hash])]).unwrap();
        // The other half of a pruning, and what came after it, is not durable in the catalog.
        copy("catalog.db", "saved.db");
        ledger.prune(&|_| false, &never()).unwrap();
        publish(&ledger, vec![entry(Kind::Request, 9, &["alone"], &[], false)]);
        ledger.close();
        drop(ledger);
        let _ = std::fs::remove_file(directory.path().join("catalog.db-shm"));
        copy("saved.db", "catalog.db");
        let ledger = open(&disk, Some(&path)).unwrap();
        publish(&ledger, vec![entry(Kind::Request, 12, &["alone"], &[], false)]);
        assert!(there(&disk, Packed::Content).contains_key("alone"));
        assert_eq!(ledger.catalog().pack_of(Packed::Content, &hash).unwrap(), Some(7));
    }
}
