//! A second copy of a log, in another store: a directory on another disk, or a bucket that nobody can delete from.
//!
//! What C2SP's tlog-mirror asks of a mirror holds here: it takes a new tree head only with a proof that it extends the
//! one that it has, never goes back, and puts the checkpoint in place last, when everything that it speaks of is there.
//!
//! # How a round goes
//!
//! 1. The source's checkpoint is read and its signature verified, with the key that the mirror was started with.
//! 2. It is held against the mirror's own checkpoint. A smaller one is refused ([`MirrorError::Backward`]); one that is
//!    not an extension is refused and *kept*, under `forks/`, because two signed tree heads that contradict each other
//!    are evidence against whoever has the key ([`MirrorError::Fork`]).
//! 3. New entries are read, some mebibytes at a time. Before anything of them is written, the tree with them is proved
//!    consistent with the signed one: a damaged or forged source cannot get bytes into a store that nobody can
//!    correct. Tiles are computed, never copied. Packs of content and of sealed pieces come before the entries that name them, and only if each part
//!    has the hash that it is called by.
//! 4. Every 65,536 entries the position is noted, in `mirror/position`. A crash anywhere before: what was written lies beyond
//!    the mirror's checkpoint, where no reader looks, and the next round, from the noted position, writes the same bytes
//!    under the same names. The note is not trusted: the tree at it is proved against the signed one first.
//! 5. Anchors are copied.
//! 6. The checkpoint is replaced, with the very bytes of 1. This is the commit point.
//!
//! The work of a round grows with what is new, and with the logarithm of the log.
//!
//! # What expires
//!
//! When the log says that exchanges have expired, what only they name goes from the mirror too ([`Mirror::prune`]), and nothing
//! else does, whatever is missing in the log's own packs: a part goes only if the entries that the *mirror's* tree has say
//! so, every one that names it, and if the log itself does not have it any more. An object that is still locked stays
//! until it is not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tabellion_evidence::audit::Packed;
use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::content;
use tabellion_evidence::entry::Entry;
use tabellion_evidence::tile;
use tabellion_evidence::tree::{self, Hash, Tiles as _};
use tabellion_store::{Store, StoreError};

use crate::edge::{Edge, Objects};
use crate::prune::{CANDIDATES_MAX, Names, Said};
use crate::read::tree_error;
use crate::{LedgerError, Reader};

const CHECKPOINT: &str = "log/checkpoint";
const KEY: &str = "log.vkey";
const POSITION: &str = "mirror/position";
const ANCHORS: &str = "anchors";
/// How many entries were looked through for what expired, all of which is gone.
const PRUNED: &str = "mirror/pruned";

/// The position is noted whenever the tree is a multiple of this: two levels of full tiles, so that hardly any partial
/// ones are written at it.
const STRIDE: u64 = if cfg!(test) { 2 * tile::WIDTH } else { tile::WIDTH * tile::WIDTH };
/// So many bytes of entries are held and written at once, and one bundle.
const BATCH_BYTES: usize = if cfg!(test) { 4 << 10 } else { 8 << 20 };
/// Of anchors that are completed later, so many of the newest are looked at again.
const ANCHORS_OPEN: usize = 64;

/// After so long it is tried again to remove what could not be; each time after twice as long, and after a day at most.
const PRUNE_AGAIN: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(60) };
const PRUNE_AGAIN_MAX: Duration = Duration::from_secs(24 * 3600);

/// Why a round was not finished. Nothing that it wrote is visible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// The source cannot be read, or is damaged.
    #[error("the log to be mirrored cannot be read")]
    Source(#[source] LedgerError),
    /// The log's own tiles or entries are not those that were signed.
    #[error("the log to be mirrored is damaged: it does not have the tree that its checkpoint signs")]
    SourceDamaged,
    /// The mirror cannot be read.
    #[error("the mirror cannot be read")]
    Mirror(#[source] LedgerError),
    /// The mirror's store failed, or refused.
    #[error("the mirror cannot be written")]
    Write(#[from] StoreError),
    /// The mirror's tree is not the one that its checkpoint signs.
    #[error("the mirror is damaged: it does not have the tree that its checkpoint signs")]
    Damaged,
    /// The mirror is of a log with another key.
    #[error("the mirror is another log's: its key is not this log's")]
    OtherLog,
    /// The source was rolled back, or an older copy of it was put in its place.
    #[error("the log has {size} entries and its mirror {mirrored}: it was rolled back")]
    Backward {
        /// The source's size.
        size: u64,
        /// The mirror's.
        mirrored: u64,
    },
    /// Two tree heads, both signed by the log's key, contradict each other.
    #[error(
        "the log's checkpoint of {size} entries does not extend the mirror's of {mirrored}: the log has forked. The proof is kept in the mirror, as {evidence}"
    )]
    Fork {
        /// The source's size.
        size: u64,
        /// The mirror's.
        mirrored: u64,
        /// The object with the source's checkpoint; the other is the mirror's `log/checkpoint`.
        evidence: String,
    },
}

/// What a round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Entries in the mirror before.
    pub from: u64,
    /// Entries in the mirror now.
    pub size: u64,
    /// Objects written.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What went from the copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Parts and sealed pieces.
    pub parts: u64,
    /// Those that are to go and did not: a lock keeps them, or the log still has them itself.
    pub kept: u64,
}

/// Reads what entries name, in a log without a catalog.
struct Lists<'a> {
    reader: &'a Reader,
    packs: Vec<u64>,
    /// The pack that was read last.
    last: Option<(u64, HashMap<Hash, Vec<u8>>)>,
}

impl<'a> Lists<'a> {
    fn new(reader: &'a Reader, size: u64) -> Result<Self, LedgerError> {
        let packs = reader.packs(Packed::Content, 0, size)?;
        Ok(Self { reader, packs: packs.into_iter().map(|(number, _)| number).collect(), last: None })
    }

    fn names(&mut self, index: u64, entry: &Entry) -> Result<Names, LedgerError> {
        Names::of(entry, |manifest| {
            // It has the entry's own commitments, so it is no other entry's, and in its batch's pack.
            let at = self.packs.partition_point(|&number| number <= index);
            let pack = at.checked_sub(1).map_or(0, |at| self.packs[at]);
            let name = Packed::Content.file(pack);
            if self.last.as_ref().is_none_or(|(number, _)| *number != pack) {
                let bytes = self.reader.store().read(&name)?.unwrap_or_default();
                let parts = content::parse_pack(&bytes).map_err(|_| LedgerError::Damaged { name: name.clone() })?;
                self.last = Some((pack, parts.into_iter().map(|(hash, bytes, _)| (hash, bytes.to_vec())).collect()));
            }
            let found = self.last.as_ref().and_then(|(_, parts)| parts.get(manifest).cloned());
            found.ok_or(LedgerError::Damaged { name })
        })
    }
}

/// A log and its copy.
pub struct Mirror {
    source: Reader,
    copy: Reader,
    /// Whether partial tiles are removed once a full one has replaced them. In a store that locks objects they stay.
    prune: bool,
    /// Anchors that this process has copied, or found to be there.
    anchored: BTreeSet<String>,
    /// When what could not be removed is tried again, and after how long.
    again: Option<(Instant, Duration)>,
    /// How many entries this process has looked through for what expired, and whether any said so of what is not all removed.
    looked: u64,
    pending: bool,
}

impl Mirror {
    /// Mirrors the log of one store into another. One process at a time may do so.
    pub fn new(source: Arc<dyn Store>, copy: Arc<dyn Store>, prune: bool) -> Self {
        Self {
            source: Reader::new(source),
            copy: Reader::new(copy),
            prune,
            anchored: BTreeSet::new(),
            again: None,
            looked: 0,
            pending: false,
        }
    }

    /// Brings the copy to where the log is: see the module's page. `progress` is told entries, of how many.
    ///
    /// # Errors
    ///
    /// See [`MirrorError`]; the copy is as it was, apart from what no reader looks at.
    pub fn round(&mut self, progress: &dyn Fn(u64, u64)) -> Result<Round, MirrorError> {
        // 1.
        let keys = self.source.vkeys().map_err(MirrorError::Source)?;
        let (key, beside) = keys.split_first().ok_or(MirrorError::Source(LedgerError::Key))?;
        let note = self.source.checkpoint_note().map_err(MirrorError::Source)?;
        let held = match self.copy.checkpoint_note() {
            Ok(held) => Some(held),
            Err(LedgerError::Missing { .. }) => None,
            Err(error) => return Err(MirrorError::Mirror(error)),
        };
        match self.copy.vkey() {
            Ok(known) if known == *key => {}
            Ok(_) => return Err(MirrorError::OtherLog),
            Err(LedgerError::Missing { .. }) if held.is_none() => {}
            Err(error) => return Err(MirrorError::Mirror(error)),
        }
        let new = checkpoint::verify(&note, key).map_err(|_| MirrorError::Source(LedgerError::Checkpoint))?;
        let new = new.into_inner();
        // A log signs with all of its keys.
        for key in beside {
            checkpoint::verify(&note, key).map_err(|_| MirrorError::Source(LedgerError::Checkpoint))?;
        }
        let old = match &held {
            Some(held) => {
                let old = checkpoint::verify(held, key).map_err(|_| MirrorError::Mirror(LedgerError::Checkpoint))?;
                Some(old.into_inner())
            }
            None => None,
        };

        // 2.
        if let Some(old) = &old {
            self.extends(old, &new, &note)?;
        }
        let mut round = Round { from: old.as_ref().map_or(0, |old| old.size), size: new.size, ..Round::default() };
        let vkey = self.source.store().read(KEY).map_err(|error| MirrorError::Source(error.into()))?;
        if let Some(vkey) = vkey
            && self.copy.store().read(KEY)?.as_ref() != Some(&vkey)
        {
            self.copy.store().replace(KEY, &vkey)?;
        }

        // 3 and 4.
        self.entries(old.as_ref(), &new, &mut round, progress)?;
        // 5.
        self.anchors(&mut round)?;
        // 6.
        if held.as_ref() != Some(&note) {
            self.copy.store().replace(CHECKPOINT, &note)?;
            round.objects += 1;
            round.bytes += note.len() as u64;
        }
        Ok(round)
    }

    /// Removes from the copy what only expired entries name, as the module's page says. Reads all entries if the log says
    /// of any that they expired and not all of that is removed; else those that are new.
    ///
    /// # Errors
    ///
    /// See [`MirrorError`]; some of it may be removed, and the next call goes on.
    pub fn prune(&mut self) -> Result<Removed, MirrorError> {
        if self.again.is_some_and(|(at, _)| Instant::now() < at) {
            return Ok(Removed::default());
        }
        let size = self.copy.checkpoint().map_err(MirrorError::Mirror)?.size;
        let noted = self.copy.store().read(PRUNED)?;
        let noted = noted.and_then(|text| std::str::from_utf8(&text).ok()?.trim_end().parse::<u64>().ok()).unwrap_or(0);
        let mut said = Said::default();
        // In a bucket, each tile is a request: so only what is new.
        self.each(self.looked.max(noted).min(size)..size, size, |index, entry| {
            said.take(index, entry, 0);
            Ok(())
        })?;
        self.pending |= !said.fresh.is_empty();
        self.looked = size;
        let mut removed = Removed::default();
        let pending = self.pending;
        if pending {
            said = Said::default();
            self.each(0..size, size, |index, entry| {
                said.take(index, entry, noted);
                Ok(())
            })?;
            said.order();
            self.remove(&said, size, &mut removed)?;
        }
        if removed.kept > 0 {
            // Locked, or the log has not removed it yet.
            let wait = self.again.map_or(PRUNE_AGAIN, |(_, wait)| (2 * wait).min(PRUNE_AGAIN_MAX));
            self.again = Some((Instant::now() + wait, wait));
        } else {
            (self.again, self.pending) = (None, false);
            if pending || size - noted.min(size) >= STRIDE {
                self.copy.store().replace(PRUNED, format!("{size}\n").as_bytes())?;
            }
        }
        Ok(removed)
    }

    /// Takes in some of the mirror's `size` entries. They are read from the log, which may be nearer, and held against the
    /// mirror's tiles.
    fn each(
        &self,
        some: std::ops::Range<u64>,
        size: u64,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), MirrorError>,
    ) -> Result<(), MirrorError> {
        for number in some.start / tile::WIDTH..some.end.div_ceil(tile::WIDTH) {
            let whole = (number + 1) * tile::WIDTH <= size;
            let entries = if whole {
                let entries = self.source.entries(number, size).map_err(MirrorError::Source)?;
                let leaves = self.copy.tiles().tile(0, number, tile::WIDTH as u16).map_err(MirrorError::Mirror)?;
                let same = entries.len() as u64 == tile::WIDTH
                    && entries.iter().zip(leaves.chunks(32)).all(|(entry, leaf)| tree::leaf_hash(entry).0 == *leaf);
                if !same {
                    return Err(MirrorError::SourceDamaged);
                }
                entries
            } else {
                self.copy.entries(number, size).map_err(MirrorError::Mirror)?
            };
            for (index, entry) in (number * tile::WIDTH..).zip(&entries) {
                if some.contains(&index) {
                    take(index, entry)?;
                }
            }
        }
        Ok(())
    }

    fn remove(&self, said: &Said, size: u64, removed: &mut Removed) -> Result<(), MirrorError> {
        let mut lists = Lists::new(&self.source, size).map_err(MirrorError::Source)?;
        let (mut parts, mut sealed) = (HashMap::new(), HashMap::new());
        for (first, last) in said.fresh.iter() {
            for at in first / tile::WIDTH..=last / tile::WIDTH {
                let (from, until) = (first.max(at * tile::WIDTH), (last + 1).min((at + 1) * tile::WIDTH));
                self.each(from..until.min(size), size, |index, entry| {
                    let Ok(entry) = Entry::parse(entry) else { return Ok(()) };
                    let names = lists.names(index, &entry).map_err(MirrorError::Source)?;
                    if said.expired.has(index) {
                        parts.extend(names.parts.into_iter().map(|part| (part, BTreeSet::new())));
                    }
                    sealed.extend(names.sealed.into_iter().map(|piece| (piece, BTreeSet::new())));
                    Ok(())
                })?;
                if parts.len() + sealed.len() >= CANDIDATES_MAX {
                    self.remove_some(said, size, &mut lists, [&mut parts, &mut sealed], removed)?;
                }
            }
        }
        self.remove_some(said, size, &mut lists, [&mut parts, &mut sealed], removed)
    }

    /// Removes what no other entry names, of parts and of sealed pieces.
    fn remove_some(
        &self,
        said: &Said,
        size: u64,
        lists: &mut Lists<'_>,
        [parts, sealed]: [&mut HashMap<Hash, BTreeSet<u64>>; 2],
        removed: &mut Removed,
    ) -> Result<(), MirrorError> {
        let mut packs = [Packed::Content, Packed::Sealed].map(|packed| (packed, Vec::new()));
        for (packed, list) in &mut packs {
            let listed = self.copy.packs(*packed, 0, size).map_err(MirrorError::Mirror)?;
            list.extend(listed.into_iter().map(|(number, _)| number).filter(|&number| number < size));
        }
        self.each(0..size, size, |index, entry| {
            let Ok(entry) = Entry::parse(entry) else { return Ok(()) };
            let names = lists.names(index, &entry).map_err(MirrorError::Source)?;
            if let Some(manifest) = &names.manifest {
                parts.remove(manifest);
            }
            let goes = [said.expired.has(index), said.erased.has(index)];
            for (((candidates, names), goes), (_, list)) in
                [(&mut *parts, names.parts), (&mut *sealed, names.sealed)].into_iter().zip(goes).zip(&packs)
            {
                // Of an entry, what is new with it is in its own batch's pack.
                let pack = list.partition_point(|&number| number <= index).checked_sub(1).map(|at| list[at]);
                for name in names {
                    if !goes {
                        candidates.remove(&name);
                    } else if let (Some(candidate), Some(pack)) = (candidates.get_mut(&name), pack) {
                        candidate.insert(pack);
                    }
                }
            }
            Ok(())
        })?;
        for ((packed, _), candidates) in packs.into_iter().zip([parts, sealed]) {
            let mut touched: BTreeMap<u64, BTreeSet<Hash>> = BTreeMap::new();
            for (name, packs) in candidates.drain() {
                for pack in packs {
                    touched.entry(pack).or_default().insert(name);
                }
            }
            for (pack, names) in touched {
                self.rewrite(&packed.file(pack), &names, removed)?;
            }
        }
        Ok(())
    }

    /// Removes parts from one of the copy's packs, those that the log's own does not have any more.
    fn rewrite(&self, name: &str, names: &BTreeSet<Hash>, removed: &mut Removed) -> Result<(), MirrorError> {
        let Some(pack) = self.copy.store().read(name)? else { return Ok(()) };
        let ours = self.source.store().read(name).map_err(|error| MirrorError::Source(error.into()))?;
        let ours = ours.unwrap_or_default();
        let damaged = |_| LedgerError::Damaged { name: name.to_owned() };
        let ours = content::parse_pack(&ours).map_err(damaged).map_err(MirrorError::Source)?;
        let ours: BTreeSet<Hash> = ours.into_iter().map(|(hash, ..)| hash).collect();
        let (mut left, mut gone) = (Vec::new(), 0);
        let parts = content::parse_pack(&pack).map_err(damaged).map_err(MirrorError::Mirror)?;
        let there = parts.len();
        for (hash, bytes, _) in parts {
            if names.contains(&hash) && !ours.contains(&hash) {
                gone += 1;
            } else {
                removed.kept += u64::from(names.contains(&hash));
                content::encode_named_part(&mut left, &hash, bytes);
            }
        }
        // In a bucket, an older version may have it still.
        if gone == 0 && (self.prune || ours.len() != there) {
            return Ok(());
        }
        match self.copy.store().rewrite(&[(name, Some(&*left).filter(|left| !left.is_empty()))]) {
            Ok(()) => removed.parts += gone,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => removed.kept += gone.max(1),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether the source's tree extends the mirror's.
    fn extends(&self, old: &Checkpoint, new: &Checkpoint, note: &[u8]) -> Result<(), MirrorError> {
        if new.size < old.size {
            // It may be a fork as well; that it is no continuation is enough.
            return Err(MirrorError::Backward { size: new.size, mirrored: old.size });
        }
        if self.consistent(old.size, &old.root, new)? {
            return Ok(());
        }
        // Whose fault is it? If the source has the tree that it signed, there are two.
        let root = self.source.root(new.size, new.size).map_err(MirrorError::Source)?;
        if new.size > old.size && root != new.root {
            return Err(MirrorError::SourceDamaged);
        }
        let name = tree::sha256(note).0[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let evidence = format!("forks/{}-{name}", new.size);
        self.copy.store().create(&[(&evidence, note)])?;
        Err(MirrorError::Fork { size: new.size, mirrored: old.size, evidence })
    }

    /// Whether a tree is a prefix of the one that was signed.
    fn consistent(&self, size: u64, root: &Hash, signed: &Checkpoint) -> Result<bool, MirrorError> {
        let proof = tree::consistency_proof(size, signed.size, &self.source.tiles())
            .map_err(tree_error)
            .map_err(MirrorError::Source)?;
        Ok(tree::verify_consistency(size, root, signed.size, &signed.root, &proof).is_ok())
    }

    fn entries(
        &self,
        old: Option<&Checkpoint>,
        new: &Checkpoint,
        round: &mut Round,
        progress: &dyn Fn(u64, u64),
    ) -> Result<(), MirrorError> {
        if old.is_some_and(|old| old.size == new.size) {
            return Ok(());
        }
        let mut edge = self.start(old, new)?;
        let mut objects = Objects::default();
        let mut packs = Vec::new();
        if edge.size() < new.size {
            for packed in [Packed::Content, Packed::Sealed] {
                packs.extend(self.source.packs(packed, edge.size(), new.size).map_err(MirrorError::Source)?);
            }
        }
        packs.retain(|&(index, _)| index < new.size);
        packs.sort_unstable();
        let mut packs = packs.into_iter().peekable();
        while edge.size() < new.size {
            progress(edge.size(), new.size);
            let stop = (edge.size() / STRIDE + 1).saturating_mul(STRIDE).min(new.size);
            let entries = self.read(edge.size(), stop, new.size)?;
            let slices: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
            objects.clear();
            let replaced = edge.append(&slices, &mut objects);
            if !self.consistent(edge.size(), &edge.root(), new)? {
                return Err(MirrorError::SourceDamaged);
            }
            while let Some((_, name)) = packs.next_if(|&(index, _)| index < edge.size()) {
                let pack = self.pack(&name)?;
                round.wrote(&pack);
                self.copy.store().create(&[(&name, &pack)])?;
            }
            // Between two positions that matter, partial tiles would be written for nothing.
            let whole = edge.size() == stop;
            let written: Vec<_> = objects.iter().filter(|(name, _)| whole || !name.contains(".p/")).collect();
            written.iter().for_each(|(_, bytes)| round.wrote(bytes));
            self.copy.store().create(&written)?;
            if self.prune {
                for directory in replaced {
                    self.copy.store().remove_all(&directory)?;
                }
            }
            if whole && edge.size() < new.size {
                self.copy.store().replace(POSITION, format!("{}\n", edge.size()).as_bytes())?;
            }
        }
        Ok(())
    }

    /// Where copying starts: at the noted position if the tree there is a prefix of the signed one, or else at the
    /// mirror's checkpoint.
    fn start(&self, old: Option<&Checkpoint>, new: &Checkpoint) -> Result<Edge, MirrorError> {
        let size = old.map_or(0, |old| old.size);
        let noted = self.copy.store().read(POSITION)?;
        let noted = noted.and_then(|text| std::str::from_utf8(&text).ok()?.trim_end().parse::<u64>().ok());
        if let Some(noted) = noted.filter(|&noted| noted > size && noted <= new.size && noted % STRIDE == 0)
            && let Ok(edge) = Edge::load(&self.copy, noted)
            && self.consistent(noted, &edge.root(), new)?
        {
            return Ok(edge);
        }
        let edge = Edge::load(&self.copy, size).map_err(|error| match error {
            LedgerError::Missing { .. } | LedgerError::Damaged { .. } | LedgerError::Diverged => MirrorError::Damaged,
            error => MirrorError::Mirror(error),
        })?;
        match old {
            Some(old) if edge.root() != old.root => Err(MirrorError::Damaged),
            _ => Ok(edge),
        }
    }

    /// Entries from `from` on, at most up to `stop`: whole bundles, until they are enough.
    fn read(&self, from: u64, stop: u64, size: u64) -> Result<Vec<Vec<u8>>, MirrorError> {
        let mut entries: Vec<Vec<u8>> = Vec::new();
        let (mut next, mut bytes) = (from, 0);
        while next < stop && bytes < BATCH_BYTES {
            let bundle = self.source.entries(next / tile::WIDTH, size).map_err(MirrorError::Source)?;
            let fresh = bundle.into_iter().skip((next % tile::WIDTH) as usize);
            let before = entries.len();
            entries.extend(fresh.inspect(|entry| bytes += entry.len()));
            if entries.len() == before {
                return Err(MirrorError::SourceDamaged);
            }
            next = from + entries.len() as u64;
        }
        Ok(entries)
    }

    fn pack(&self, name: &str) -> Result<Vec<u8>, MirrorError> {
        let damaged = || MirrorError::Source(LedgerError::Damaged { name: name.to_owned() });
        let read = self.source.store().read(name).map_err(|error| MirrorError::Source(error.into()))?;
        let pack = read.ok_or_else(|| MirrorError::Source(LedgerError::Missing { name: name.to_owned() }))?;
        let parts = content::parse_pack(&pack).map_err(|_| damaged())?;
        if parts.iter().any(|(hash, bytes, _)| tree::sha256(bytes) != *hash) {
            return Err(damaged());
        }
        Ok(pack)
    }

    /// Anchors are small files that nobody changes, but for `.ots`, which are completed when the attestation is there.
    fn anchors(&mut self, round: &mut Round) -> Result<(), MirrorError> {
        let names = self.source.store().list(ANCHORS).map_err(|error| MirrorError::Source(error.into()))?;
        let names: Vec<String> = names.into_iter().filter(|name| !name.ends_with('/')).collect();
        let is_open = |name: &str| name.ends_with(".ots");
        let mut open: Vec<&String> = names.iter().filter(|name| is_open(name)).collect();
        open.sort_by_key(|name| (name.len(), (*name).clone()));
        let open: BTreeSet<&String> = open.into_iter().rev().take(ANCHORS_OPEN).collect();
        if self.anchored.is_empty() && !names.is_empty() {
            self.anchored.extend(self.copy.store().list(ANCHORS)?);
        }
        for name in &names {
            let known = self.anchored.contains(name);
            if known && !open.contains(name) {
                continue;
            }
            let path = format!("{ANCHORS}/{name}");
            let read = self.source.store().read(&path).map_err(|error| MirrorError::Source(error.into()))?;
            let Some(anchor) = read else { continue };
            if !known {
                if is_open(name) {
                    self.copy.store().replace(&path, &anchor)?;
                } else {
                    self.copy.store().create(&[(&path, &anchor)])?;
                }
                round.wrote(&anchor);
            } else if self.copy.store().read(&path)?.as_ref() != Some(&anchor) {
                self.copy.store().replace(&path, &anchor)?;
                round.wrote(&anchor);
            }
            self.anchored.insert(name.clone());
        }
        Ok(())
    }
}

impl Round {
    fn wrote(&mut self, object: &[u8]) {
        self.objects += 1;
        self.bytes += object.len() as u64;
    }
}
