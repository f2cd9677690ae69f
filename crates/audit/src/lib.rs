//! Verifies a log: every entry, every tile, every pack, every body, from
//! public keys alone. (`docs/format.md`, section *What a verifier does*.)
//!
//! 1. The checkpoint is read, once and first, and its signature checked. What
//!    a running writer adds from then on is beyond it.
//! 2. All names are listed. Each file under `log/`, `content/` and `sealed/` is accounted
//!    for in what follows, or is a problem.
//! 3. Packs: every part, and every sealed piece, is hashed.
//! 4. Bundles: every entry is hashed and parsed; every body is put together
//!    from its parts.
//! 5. Tiles: the root is computed from the entries alone and held against the
//!    checkpoint, and then every tile against the tree that was computed.
//! 6. What entries say of each other and of parts is held together.
//!
//! It goes on after a problem, as far as what it found lets it. A log of more
//! than a million entries, or one of which a state is kept, is verified slice
//! by slice (`slices.rs`): then memory does not grow with the entries but for
//! eight bytes each, nor with their bytes; it does with the parts of the
//! content (about 70 bytes each). Each thread holds a pack or a bundle besides.
//!
//! Whom it trusts: [`Options::vkey`], and the witnesses. Without a key from
//! the caller it takes the one that lies beside the log, which whoever could
//! change the log could change too, and says so. What a log cannot show by
//! itself, that it was rolled back or that others were shown another one, it
//! finds only with an older checkpoint or with witnesses.
//!
//! What it cannot see: where exactly a pack begins and ends. A part that was
//! moved to another pack of the same batch, or to another place within its
//! pack, has the same bytes and the same name, and nothing signs the rest.

pub mod anchors;
mod content;
mod entries;
mod erasures;
mod files;
mod proof;
mod report;
mod slices;
mod source;
mod tree;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rayon::prelude::*;
use tabellion_evidence::audit::{self, Name};
use tabellion_evidence::checkpoint::{self, Checkpoint, CheckpointError};
use tabellion_evidence::custody;
use tabellion_evidence::note::{Note, VerifierKey, parse_keys};
use tabellion_evidence::policy::Policy;
use tabellion_evidence::sessions::{Rules, Sessions};
use tabellion_evidence::tile::{self, WIDTH};

pub use proof::{ProofReport, verify_proof};
pub use report::{Checked, LISTED_MAX, Phase, Progress, Report, Statement, Witnessed};
pub use slices::{SLICE_ENTRIES, State};
pub use source::{DirectorySource, Source, SourceError, StoreSource};
use tabellion_evidence::audit::Packed;
pub use tabellion_evidence::audit::Problem;
pub use tabellion_evidence::sessions::{Completeness, DeclaredGap};

use content::Packs;
use entries::{Entries, Scope};
use erasures::Erasures;
use files::Files;
use report::{About, Problems};

const VKEY: &str = "log.vkey";
const CHECKPOINT: &str = "log/checkpoint";

/// What to hold the log against.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The log's key, from elsewhere than the log.
    pub vkey: Option<VerifierKey>,
    /// Further keys of the log, such as its ML-DSA-44 key. The newest checkpoint
    /// must be signed with each; older ones, and those of proofs, may be from
    /// before there was the key.
    pub vkeys_beside: Vec<VerifierKey>,
    /// A policy, which takes the place of `witnesses` and `quorum`, and of the
    /// keys if it names logs.
    pub policy: Option<Policy>,
    /// Witnesses whose cosignatures count. Keys of one name are one witness's.
    pub witnesses: Vec<VerifierKey>,
    /// How many of them must have cosigned.
    pub quorum: usize,
    /// Signed checkpoints that somebody kept. The log must extend each.
    pub older: Vec<Vec<u8>>,
    /// Only these entries, with their content and the tiles above them.
    pub range: Option<Range<u64>>,
    /// The longest time that a session may say nothing.
    pub quiet_max: Option<Duration>,
    /// The entries are somebody else's than Tabellion's: only their hashes are
    /// looked at.
    pub foreign: bool,
    /// A log of more entries than this is verified slice by slice, in slices of
    /// as many; when `None`, one of more than a million, in those of
    /// [`SLICE_ENTRIES`].
    pub slice: Option<u64>,
    /// What was verified before, and is not read again.
    pub state: Option<State>,
    /// The log is verified slice by slice, so that there are states to keep.
    pub keeps_state: bool,
    /// How many threads read and hash; as many as there are cores when `None`.
    pub threads: Option<usize>,
}

/// Those of the keys that are of the log that a checkpoint says it is of.
fn keys_of<'a>(keys: impl Iterator<Item = &'a VerifierKey>, checkpoint: Option<&[u8]>) -> Vec<VerifierKey> {
    let head = checkpoint.and_then(|bytes| Checkpoint::parse_text(Note::parse(bytes).ok()?.text()).ok());
    keys.filter(|key| head.as_ref().is_some_and(|head| head.origin == key.name())).cloned().collect()
}

/// Who says something: a few of these entries.
fn said_by(entries: &[u64]) -> String {
    let few: Vec<String> = entries.iter().take(5).map(u64::to_string).collect();
    match entries.len() {
        1 => format!("entry {} says", few[0]),
        many => format!("entries {}{} say", few.join(", "), if many > few.len() { " and more" } else { "" }),
    }
}

/// Says how far it has come, one step at a time and from any thread.
struct Ticker<'a> {
    progress: &'a (dyn Fn(Progress) + Sync),
    phase: Phase,
    total: u64,
    done: AtomicU64,
}

impl<'a> Ticker<'a> {
    fn new(progress: &'a (dyn Fn(Progress) + Sync), phase: Phase, total: u64) -> Self {
        Self { progress, phase, total, done: AtomicU64::new(0) }
    }

    fn tick(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        (self.progress)(Progress { phase: self.phase, done, total: self.total });
    }
}

/// Verifies a log, on all cores. An error means that the evidence could not be
/// read, and says nothing about it; what is wrong with it is in the report.
pub fn verify(
    source: &dyn Source,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, SourceError> {
    verify_keeping(source, options, progress, &mut |_| {})
}

/// [`verify`], handing over after each slice what has been verified so far, as
/// long as nothing is wrong. (With [`Options::keeps_state`].)
pub fn verify_keeping(
    source: &dyn Source,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
    keep: &mut (dyn FnMut(&State) + Send),
) -> Result<Report, SourceError> {
    match options.threads {
        None => verify_here(source, options, progress, keep),
        Some(threads) => {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.map_err(|error| SourceError::new("threads", error))?;
            pool.install(|| verify_here(source, options, progress, keep))
        }
    }
}

fn verify_here(
    source: &dyn Source,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
    keep: &mut dyn FnMut(&State),
) -> Result<Report, SourceError> {
    let rules = Rules {
        partial: options.range.is_some(),
        quiet_max: options.quiet_max.map(|max| i64::try_from(max.as_micros()).unwrap_or(i64::MAX)),
        key: None,
        listed_max: LISTED_MAX,
    };
    let (report, problems) = (Report::default(), Problems::default());
    let (sessions, custody, beside) = (Sessions::default(), custody::State::default(), Vec::new());
    let mut run = Run { source, options, progress, report, problems, rules, sessions, custody, beside };
    if let Some(heads) = run.heads()? {
        match &options.range {
            None if options.keeps_state || heads.checkpoint.size > options.slice.unwrap_or(WHOLE_ENTRIES_MAX) => {
                run.sliced(&heads, keep)?;
            }
            None => run.whole(&heads)?,
            Some(range) => run.range(&heads, range.clone())?,
        }
    }
    Ok(run.finish())
}

struct Run<'a> {
    source: &'a dyn Source,
    options: &'a Options,
    progress: &'a (dyn Fn(Progress) + Sync),
    report: Report,
    problems: Problems,
    rules: Rules,
    sessions: Sessions,
    custody: custody::State,
    /// Further keys of the log.
    beside: Vec<VerifierKey>,
}

/// The checkpoint, and one that the log must extend.
struct Heads {
    checkpoint: Checkpoint,
    /// The key that signed it; `None` if that was not seen.
    key: Option<VerifierKey>,
    older: Vec<Checkpoint>,
}

/// A log of so many entries is held in memory as a whole (by about 150 bytes
/// each), which lets more be said about what is wrong with it.
const WHOLE_ENTRIES_MAX: u64 = 1 << 20;

/// At most this many bundles are read before what they said is put together.
const BUNDLES_AT_ONCE: u64 = 512;

/// This many bundles may be missing beside as many as are there, before those
/// after them are not looked for: sizes can be anything, and cost nothing.
const BUNDLES_MISSING_MAX: u64 = 1_000;

impl Run<'_> {
    fn unchecked(&mut self, code: &'static str, text: impl Into<String>) {
        self.report.leave_unchecked(code, text);
    }

    fn finish(mut self) -> Report {
        let sessions = std::mem::take(&mut self.sessions);
        self.report.completeness = sessions.finish(&mut |wrong| self.problems.push(wrong.into()));
        let found = &self.report.completeness;
        let (unnumbered, open) = (found.unnumbered, found.open.len());
        if unnumbered > 0 {
            self.unchecked(
                "numbers",
                format!("{unnumbered} entries have no number, so whether one among them is missing does not show"),
            );
        }
        if self.options.range.is_some() && !self.options.foreign {
            self.unchecked("custody", "of a part of a log it is not known which keys and holds there were before it");
        }
        if open > 0 && self.options.range.is_none() {
            self.unchecked(
                "newest",
                "the last session has not ended, so whether anything came after its newest entry does not show",
            );
        }
        self.report.verified = self.problems.is_empty();
        self.say_what_is_proved();
        self.report.contradicted.clone_from(&self.problems.list);
        self.report.problems = self.problems.list;
        self.report.problems_more = self.problems.more;
        self.report
    }

    /// What the absence of problems comes to.
    fn say_what_is_proved(&mut self) {
        let report = &mut self.report;
        let (checked, problems) = (report.checked, &self.problems);
        let (Some(origin), Some(size)) = (report.origin.clone(), report.size) else { return };
        if problems.none_about(&[About::Signature]) {
            report.prove("signature", format!("the log's key signed a tree of {size} entries in the name of {origin}"));
        }
        if !report.cosignatures.is_empty() && problems.none_about(&[About::Witnesses]) {
            let count = report.cosignatures.len();
            report.prove("cosigned", format!("{count} of the given witnesses cosigned it"));
        }
        let whole = report.range.is_none();
        if problems.none_about(&[About::Signature, About::Tree]) && report.root.is_some() {
            let (entries, tiles) = (checked.entries, checked.tiles);
            report.prove("tree", format!("{entries} entries are those of the signed tree, by {tiles} tiles"));
            let older = self.options.older.len();
            if older > 0 && problems.none_about(&[About::Older]) {
                report.prove("extends", format!("the log holds all that it held by {older} older checkpoints"));
            }
        }
        if self.options.foreign {
            report.leave_unchecked("foreign", "the entries are another log's: what they say was not looked at");
            return;
        }
        if problems.none_about(&[About::Entries, About::Tree]) {
            report.prove("entries", format!("{} entries are well-formed", checked.entries));
        }
        if checked.packs > 0 && problems.none_about(&[About::Content, About::Entries, About::Tree]) {
            let (parts, bodies) = (checked.parts, checked.bodies);
            let text = format!("{parts} parts have their hashes, and {bodies} bodies are those that entries commit to");
            report.prove("content", text);
            if checked.sealed > 0 {
                let text =
                    format!("{} sealed pieces have their hashes, and no other is named by an entry", checked.sealed);
                report.prove("sealed", text);
            }
        }
        if checked.removed > 0 && problems.none_about(&[About::Content, About::Entries, About::Tree]) {
            let text = format!(
                "content of {} entries was removed, as {} (retention); its hashes are still in the tree",
                checked.removed,
                said_by(&report.expiries)
            );
            report.prove("expired", text);
        }
        if !problems.none_about(&[About::Tree, About::Entries, About::Signature]) {
            return;
        }
        if whole && problems.none_about(&[About::Exchanges]) {
            let (all, open) = (checked.exchanges, checked.open_exchanges);
            let text = format!("{all} exchanges have one request each, and all but {open} one response after it");
            report.prove("exchanges", text);
        }
        let found = &report.completeness;
        let (numbered, sessions, gaps) = (found.numbered, found.sessions, found.gaps.clone());
        let (lost, key_from) = (found.lost, found.key_from);
        if numbered > 0 && problems.none_about(&[About::Numbers]) {
            let text = format!("none is missing among the {numbered} numbered entries of {sessions} sessions");
            report.prove("numbers", text);
        }
        if let Some(from) = key_from
            && problems.none_about(&[About::Keys])
        {
            let text = format!("the key that signed is the one that every session from entry {from} on names");
            report.prove("keys", text);
        }
        if whole && self.custody.acts() > 0 && problems.none_about(&[About::Custody]) {
            let (acts, keys, holds) = (self.custody.acts(), self.custody.keys().len(), self.custody.holds().len());
            let text = format!(
                "{acts} acts of custody follow the rules: the keys that they and exchanges name were in force and could \
                 do it, and what needs an approval has one; {keys} keys were issued, {holds} holds are in force"
            );
            report.prove("custody", text);
        }
        if lost > 0 {
            let listed: Vec<String> = gaps
                .iter()
                .take(5)
                .map(|gap| format!("{} at entry {} ({})", gap.count, gap.entry, gap.reason))
                .collect();
            let more = if gaps.len() > listed.len() { ", and more" } else { "" };
            let text = format!("the log itself declares {lost} as not recorded: {}{more}", listed.join(", "));
            report.prove("declared", text);
        }
    }

    /// The keys that the caller holds: those of the options, or those that the
    /// policy has for the log that the checkpoint says it is of.
    fn given(&self, checkpoint: Option<&[u8]>) -> (Option<VerifierKey>, Vec<VerifierKey>) {
        if let Some(key) = &self.options.vkey {
            return (Some(key.clone()), self.options.vkeys_beside.clone());
        }
        let logs = self.options.policy.iter().flat_map(Policy::logs).map(|log| &log.key);
        let mut keys = keys_of(logs, checkpoint);
        if keys.is_empty() { (None, keys) } else { (Some(keys.remove(0)), keys) }
    }

    /// The key to check with. The one beside the log is looked at in any case.
    fn key(&mut self, checkpoint: Option<&[u8]>) -> Result<Option<VerifierKey>, SourceError> {
        let file = || VKEY.to_owned();
        let (given, further) = self.given(checkpoint);
        self.beside = further;
        let beside = match self.source.read(VKEY)? {
            Some(bytes) => {
                let text = std::str::from_utf8(&bytes).ok().filter(|text| text.ends_with('\n'));
                let mut keys = text.and_then(|text| parse_keys(text).ok()).unwrap_or_default();
                let key = if keys.is_empty() { None } else { Some(keys.remove(0)) };
                if given.is_none() {
                    self.beside = keys;
                } else if !self.beside.is_empty() && self.beside != keys {
                    self.problems.push(Problem::KeyDiffers { file: file() });
                }
                match (&key, &given) {
                    (None, _) => self.problems.push(Problem::Key { file: file() }),
                    (Some(key), Some(given)) if key != given => {
                        self.problems.push(Problem::KeyDiffers { file: file() });
                    }
                    _ => {}
                }
                key
            }
            None => {
                // A server of the log alone does not have to have it.
                if given.is_none() || self.source.list("log")?.is_some() {
                    self.problems.push(Problem::Missing { file: file() });
                }
                None
            }
        };
        if given.is_none() && self.options.policy.as_ref().is_some_and(|policy| !policy.logs().is_empty()) {
            self.problems.push(Problem::Checkpoint { file: CHECKPOINT.to_owned(), error: CheckpointError::Origin });
            return Ok(None);
        }
        if given.is_none() && beside.is_some() {
            self.unchecked(
                "key-elsewhere",
                "the key was taken from the log itself, where whoever changes the log can change it; \
                 give the key that you hold from elsewhere",
            );
        }
        let key = given.or(beside);
        self.rules.key = key.as_ref().map(|key| Name::of(&key.to_string()));
        self.sessions = Sessions::new(self.rules.clone());
        self.custody = custody::State::new(key.as_ref().map_or("", |key| key.name()));
        Ok(key)
    }

    /// Follows what entries say of their sessions, and of custody: of a part of a log, nobody knows which keys there were.
    fn follow(&mut self, read: &mut Entries) {
        for (entry, said) in read.said.drain(..) {
            self.sessions.take(entry, &said, &mut |wrong| self.problems.push(wrong.into()));
        }
        for (entry, said) in read.custody.drain(..).filter(|_| !self.rules.partial) {
            self.custody.take(entry, &said, &mut |wrong| self.problems.push(wrong.into()));
        }
    }

    /// Reads the checkpoint and what vouches for it. What comes back may be
    /// unsigned; then that is a problem already, and it only says where to
    /// look.
    fn heads(&mut self) -> Result<Option<Heads>, SourceError> {
        let file = || CHECKPOINT.to_owned();
        let Some(bytes) = self.source.read(CHECKPOINT)? else {
            self.key(None)?;
            self.problems.push(Problem::Missing { file: file() });
            self.unchecked("checkpoint", "there is no checkpoint, so nothing else could be checked");
            return Ok(None);
        };
        let key = self.key(Some(&bytes))?;
        let checkpoint = match &key {
            Some(key) => match checkpoint::verify(&bytes, key) {
                Ok(checkpoint) => Some(checkpoint.into_inner()),
                Err(error) => {
                    self.problems.push(Problem::Checkpoint { file: file(), error });
                    None
                }
            },
            None => {
                self.problems.push(Problem::KeyAbsent);
                None
            }
        };
        // A log signs with all of its keys. Without this, whoever breaks one kind could leave the other away.
        for key in std::mem::take(&mut self.beside) {
            if let Err(error) = checkpoint::verify(&bytes, &key) {
                self.problems.push(Problem::Checkpoint { file: file(), error });
            }
        }
        self.witnessed(&bytes);
        self.unchecked("time", "nobody else says when this checkpoint was signed: it has no timestamps");
        let mut older = Vec::new();
        if let Some(key) = &key {
            for kept in &self.options.older {
                match checkpoint::verify(kept, key) {
                    Ok(kept) => older.push(kept.into_inner()),
                    Err(error) => self.problems.push(Problem::Older { error }),
                }
            }
        }
        if self.options.older.is_empty() && self.options.state.is_none() {
            self.unchecked(
                "older",
                "no older checkpoint was given, so a log that was rolled back, or a second one by the same key, \
                 would not show",
            );
        }
        let key = key.filter(|_| checkpoint.is_some());
        let unsigned = || Checkpoint::parse_text(Note::parse(&bytes).ok()?.text()).ok();
        let Some(checkpoint) = checkpoint.or_else(unsigned) else {
            self.unchecked("checkpoint", "the checkpoint cannot be read, so nothing else could be checked");
            return Ok(None);
        };
        if !checkpoint.extensions.is_empty() {
            self.unchecked("extensions", "the checkpoint has lines that mean nothing to this version");
        }
        self.report.origin = Some(checkpoint.origin.clone());
        self.report.size = Some(checkpoint.size);
        Ok(Some(Heads { checkpoint, key, older }))
    }

    fn witnessed(&mut self, bytes: &[u8]) {
        let (witnesses, quorum, problem) = proof::witnesses(bytes, CHECKPOINT, self.options);
        self.report.cosignatures = witnesses;
        self.report.quorum = quorum;
        self.problems.extend(problem);
        if quorum.is_none() {
            self.unchecked("witnesses", "no witnesses were given, so only the log itself vouches for its checkpoint");
        }
    }

    /// Lists what is there, and says so if it cannot be listed.
    fn files(&mut self) -> Result<Option<Files>, SourceError> {
        let files = Files::list(self.source)?;
        match &files {
            Some(files) if files.unfinished > 0 => {
                let count = files.unfinished;
                self.unchecked(
                    "unfinished",
                    format!("{count} files that a crash left unfinished (*.tmp) were not looked at"),
                );
            }
            Some(_) => {}
            None => self.unchecked(
                "listing",
                "the files cannot be listed here, so those that do not belong to this log, and older versions of \
                 tiles, were not looked at",
            ),
        }
        Ok(files)
    }

    fn whole(&mut self, heads: &Heads) -> Result<(), SourceError> {
        let size = heads.checkpoint.size;
        let mut files = self.files()?;
        let mut sealed = None;
        let packs = match &files {
            Some(files) if self.source.has_content() => {
                sealed = Some(self.packs(Packed::Sealed, &files.sealed, size, 0)?);
                Some(self.packs(Packed::Content, &files.packs, size, 0)?)
            }
            _ => {
                self.unchecked("content", "the content could not be had here, so no part and no body was checked");
                None
            }
        };
        if let Some(files) = &mut files {
            self.problems.append(std::mem::take(&mut files.problems));
        }

        let mut entries = self.bundles(size, files.as_ref(), packs.as_ref(), sealed.as_ref())?;
        let whole = entries.leaves.len() as u64 == size;
        if let Some(files) = &files
            && whole
            && entries.unreadable.is_empty()
        {
            let scope = Scope {
                source: self.source,
                size,
                first: 0,
                last: size,
                files: Some(files),
                packs: None,
                sealed: None,
                foreign: self.options.foreign,
                roots: true,
                ticker: &Ticker::new(&|_| {}, Phase::Bundles, 0),
            };
            match entries.extend(&scope, files)? {
                0 => {}
                more => self.unchecked(
                    "beyond",
                    format!("{more} entries beyond the checkpoint follow on the log and are not signed yet"),
                ),
            }
        }
        let beyond = files
            .iter()
            .flat_map(|files| files.packs.iter().chain(&files.sealed))
            .filter(|&&pack| pack >= size)
            .count();
        if beyond > 0 {
            self.unchecked(
                "beyond",
                format!("{beyond} packs are beyond the checkpoint; nothing signed names their parts yet"),
            );
        }

        // The tiles, and with them the root.
        let ticker = Ticker::new(self.progress, Phase::Tiles, tile::tiles_of(size.min(entries.size())).count() as u64);
        let outcome = tree::check(self.source, &heads.checkpoint, &mut entries, whole, files.as_ref(), &ticker)?;
        self.report.root = outcome.root;
        self.report.checked.tiles += outcome.tiles;
        self.problems.append(outcome.problems);
        for older in &heads.older {
            let root = outcome.best.as_ref().and_then(|nodes| nodes.root(older.size));
            self.extends(&heads.checkpoint, older, root);
        }

        let read_all = whole && entries.unreadable.is_empty();
        self.report.checked.add(&entries.checked);
        self.problems.append(std::mem::take(&mut entries.problems));
        if let Some(packs) = &packs
            && read_all
        {
            packs.misplaced(0, size, &mut self.problems);
        }
        if let Some(sealed) = &sealed
            && read_all
        {
            sealed.misplaced(0, size, &mut self.problems);
        }
        let scope = Scope {
            source: self.source,
            size,
            first: 0,
            last: size,
            files: None,
            packs: packs.as_ref(),
            sealed: sealed.as_ref(),
            foreign: self.options.foreign,
            roots: false,
            ticker: &Ticker::new(&|_| {}, Phase::Bundles, 0),
        };
        self.erased(std::mem::take(&mut entries.erasures), &scope)?;
        self.relations(entries, read_all, true);
        if !read_all {
            self.unchecked(
                "unreadable",
                "some entries could not be read, so what others say of them was not held against them",
            );
        }
        Ok(())
    }

    fn packs(&mut self, packed: Packed, numbers: &[u64], size: u64, hashed_from: u64) -> Result<Packs, SourceError> {
        let ticker = content::ticker(self.progress, numbers.len());
        let (checked, problems) = (&mut self.report.checked, &mut self.problems);
        Packs::read(self.source, (packed, numbers), size, hashed_from, &ticker, checked, problems)
    }

    /// How many of the bundles that a log needs are looked for, by how many there are.
    fn looked_for(&self, needed: u64, files: Option<&Files>) -> u64 {
        match files {
            Some(files) => {
                let there = files.bundles.range(..needed).count() as u64;
                needed.min(2 * there + BUNDLES_MISSING_MAX)
            }
            None => needed,
        }
    }

    /// Says that bundles from this one on are missing.
    fn missing_from(&mut self, bundle: u64, size: u64) {
        let file = files::bundle_file(bundle, entries::width_of(bundle, size));
        self.problems.push_first(Problem::MissingMany { file, more: size.div_ceil(WIDTH) - bundle - 1 });
    }

    /// Reads every bundle that a log of this size has, as far as there are any.
    fn bundles(
        &mut self,
        size: u64,
        files: Option<&Files>,
        packs: Option<&Packs>,
        sealed: Option<&Packs>,
    ) -> Result<Entries, SourceError> {
        let needed = size.div_ceil(WIDTH);
        let looked_for = self.looked_for(needed, files);
        let ticker = Ticker::new(self.progress, Phase::Bundles, looked_for);
        let foreign = self.options.foreign;
        let ticker = &ticker;
        let scope = Scope {
            source: self.source,
            size,
            first: 0,
            last: size,
            files,
            packs,
            sealed,
            foreign,
            roots: true,
            ticker,
        };
        let mut entries = Entries::default();
        let mut next = 0;
        while next < looked_for {
            let end = looked_for.min(next + BUNDLES_AT_ONCE);
            let mut read = scope.read(next..end)?;
            self.follow(&mut read);
            entries.leaves.append(&mut read.leaves);
            entries.above.append(&mut read.above);
            entries.unreadable.append(&mut read.unreadable);
            entries.missing += read.missing;
            entries.take(read);
            next = end;
            // Without a list, there is no telling how many more there are.
            if files.is_none() && entries.missing > BUNDLES_MISSING_MAX {
                break;
            }
        }
        if next < needed {
            self.missing_from(next, size);
        }
        Ok(entries)
    }

    /// Counts what the log says was erased and expired, and says of what else is not there that it is missing.
    fn erased(&mut self, mut erasures: Erasures, scope: &Scope<'_>) -> Result<(), SourceError> {
        erasures.settle();
        erasures.count(&mut self.report.checked);
        self.report.expiries.append(&mut erasures.expiries);
        self.report.expiries.truncate(LISTED_MAX);
        self.problems.append(scope.missing(&erasures)?);
        Ok(())
    }

    /// Holds the root that the log had against that of the older checkpoint.
    fn extends(&mut self, head: &Checkpoint, older: &Checkpoint, root: Option<tabellion_evidence::Hash>) {
        let file = CHECKPOINT.to_owned();
        if older.size > head.size {
            self.problems.push(Problem::RolledBack { file, size: head.size, older: older.size });
        } else if root != Some(older.root) {
            self.problems.push(Problem::Forked { file, older: older.size });
        }
    }

    /// Holds the roots that the log had, by its tiles, against those of older
    /// checkpoints.
    fn extends_by_tiles(&mut self, heads: &Heads) -> Result<(), SourceError> {
        let head = &heads.checkpoint;
        for older in &heads.older {
            let root = match older.size <= head.size {
                true => tree::root_of_tiles(self.source, older.size, head.size)?.ok(),
                false => None,
            };
            self.extends(head, older, root);
        }
        Ok(())
    }

    /// Requests against responses, and ids against each other.
    fn relations(&mut self, mut entries: Entries, read_all: bool, whole: bool) {
        entries.ids.par_sort_unstable();
        entries.events.par_sort_unstable();
        self.problems.extend(audit::ids_twice(&entries.ids));
        let pairs = audit::pair(&entries.events);
        self.problems.extend(pairs.problems);
        self.report.checked.exchanges += pairs.exchanges;
        if whole && read_all {
            self.problems.extend(pairs.alone.into_iter().map(|entry| Problem::ResponseAlone { entry }));
        }
        if whole {
            self.report.checked.open_exchanges = pairs.open.len() as u64;
            self.report.open_exchanges = pairs.open;
            self.report.open_exchanges.truncate(LISTED_MAX);
        }
    }

    fn range(&mut self, heads: &Heads, range: Range<u64>) -> Result<(), SourceError> {
        let head = &heads.checkpoint;
        let (first, last) = (range.start.min(head.size), range.end.min(head.size));
        self.report.range = Some((first, last));
        if last < range.end {
            self.unchecked("range", format!("the log ends at entry {}, before the end of the range", head.size));
        }
        if first >= last {
            self.unchecked("range", "the range has no entries");
        }
        self.unchecked(
            "range",
            "only a range was checked: responses may belong to requests before it, requests to responses after it, \
             and files elsewhere were not looked at",
        );
        let bundles = first / WIDTH..if first < last { last.div_ceil(WIDTH) } else { first / WIDTH };
        let (mut files, mut sealed) = (None, None);
        if first < last && self.source.has_content() {
            files = Files::list(self.source)?;
        }
        if let Some(files) = &files {
            // Pieces that earlier entries brought are not looked for.
            let end = files.sealed.partition_point(|&pack| pack < last);
            let begin = files.sealed.partition_point(|&pack| pack <= first).saturating_sub(1).min(end);
            let size = files.sealed.get(end).map_or(head.size, |&next| next.min(head.size));
            sealed = Some(self.packs(Packed::Sealed, &files.sealed[begin..end], size, 0)?);
        }
        let packs = match &files {
            Some(files) => Some(self.packs_of_range(files, head.size, first, last, bundles.clone())?),
            None => {
                if first < last {
                    self.unchecked("content", "the content could not be had here, so no part and no body was checked");
                }
                None
            }
        };
        let ticker = Ticker::new(self.progress, Phase::Bundles, bundles.end - bundles.start);
        let scope = Scope {
            source: self.source,
            size: head.size,
            first,
            last,
            files: None,
            packs: packs.as_ref(),
            sealed: sealed.as_ref(),
            foreign: self.options.foreign,
            roots: false,
            ticker: &ticker,
        };
        let mut entries = scope.read(bundles)?;
        self.follow(&mut entries);
        let mut problems = Problems::default();
        let (root, proven) = tree::check_edge(self.source, head, &mut problems)?;
        tree::check_range(self.source, head, proven, &entries, &mut self.report.checked, &mut problems)?;
        self.problems.append(problems);
        self.report.root = root;
        self.extends_by_tiles(heads)?;
        self.report.checked.add(&entries.checked);
        self.problems.append(std::mem::take(&mut entries.problems));
        if let Some(packs) = &packs
            && entries.unreadable.is_empty()
        {
            packs.misplaced(first, last, &mut self.problems);
        }
        if let Some(sealed) = &sealed
            && entries.unreadable.is_empty()
        {
            sealed.misplaced(first, last, &mut self.problems);
        }
        let mut erasures = std::mem::take(&mut entries.erasures);
        erasures.settle();
        if !std::mem::take(&mut erasures.sealed).is_empty() {
            self.unchecked("sealed", "sealed pieces that are not in the range's own packs were not looked for");
        }
        if last < head.size && !std::mem::take(&mut erasures.content).is_empty() {
            self.unchecked(
                "expired",
                "content of the range is not there, and whether an entry after the range says that it expired was not looked \
                 for",
            );
        }
        self.erased(erasures, &scope)?;
        self.relations(entries, false, false);
        Ok(())
    }

    /// The packs that a range needs: those of its batches, and, if its entries
    /// name parts that are not there, all before them.
    fn packs_of_range(
        &mut self,
        files: &Files,
        size: u64,
        first: u64,
        last: u64,
        bundles: Range<u64>,
    ) -> Result<Packs, SourceError> {
        let end = files.packs.partition_point(|&pack| pack < last);
        let begin = files.packs.partition_point(|&pack| pack <= first).saturating_sub(1).min(end);
        // The end of the last batch is where the next pack begins.
        let size = files.packs.get(end).map_or(size, |&next| next.min(size));
        let problems = std::mem::take(&mut self.problems);
        let packs = self.packs(Packed::Content, &files.packs[begin..end], size, 0)?;
        let ticker = Ticker::new(&|_| {}, Phase::Bundles, 0);
        let scope = Scope {
            source: self.source,
            size: self.report.size.unwrap_or(size),
            first,
            last,
            files: None,
            packs: None,
            sealed: None,
            foreign: self.options.foreign,
            roots: false,
            ticker: &ticker,
        };
        let lacking =
            scope.any_content(bundles, &packs, |reader, index, content| Ok(!reader.knows_all(index, content)?))?;
        let found = std::mem::replace(&mut self.problems, problems);
        if !lacking || begin == 0 {
            self.problems.append(found);
            return Ok(packs);
        }
        // What was wrong with these is found again.
        self.report.checked = Checked::default();
        self.packs(Packed::Content, &files.packs[..end], size, files.packs[begin])
    }
}
