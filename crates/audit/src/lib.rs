//! Verifies a log: every entry, every tile, every pack, every body, from
//! public keys alone. (`docs/format.md`, section *What a verifier does*.)
//!
//! 1. The checkpoint is read, once and first, and its signature checked. What
//!    a running writer adds from then on is beyond it.
//! 2. All names are listed. Each file under `log/` and `content/` is accounted
//!    for in what follows, or is a problem.
//! 3. Packs: every part is hashed.
//! 4. Bundles: every entry is hashed and parsed; every body is put together
//!    from its parts.
//! 5. Tiles: the root is computed from the entries alone and held against the
//!    checkpoint, and then every tile against the tree that was computed.
//! 6. What entries say of each other and of parts is held together.
//!
//! It goes on after a problem, as far as what it found lets it. Memory grows
//! with the number of entries and parts (about 150 bytes each), not with their
//! bytes; each thread holds a pack or a bundle besides.
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
mod files;
mod proof;
mod report;
mod source;
mod tree;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use tabellion_evidence::audit;
use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::note::{Note, VerifierKey};
use tabellion_evidence::tile::{self, WIDTH};

pub use proof::{ProofReport, verify_proof};
pub use report::{Checked, LISTED_MAX, Phase, Progress, Report, Witnessed};
pub use source::{DirectorySource, Source, SourceError, StoreSource};
pub use tabellion_evidence::audit::Problem;

use content::Packs;
use entries::{Entries, Scope};
use files::Files;
use report::Problems;

const VKEY: &str = "log.vkey";
const CHECKPOINT: &str = "log/checkpoint";

/// What to hold the log against.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The log's key, from elsewhere than the log.
    pub vkey: Option<VerifierKey>,
    /// Witnesses whose cosignatures count.
    pub witnesses: Vec<VerifierKey>,
    /// How many of them must have cosigned.
    pub quorum: usize,
    /// A signed checkpoint that somebody kept. The log must extend it.
    pub older: Option<Vec<u8>>,
    /// Only these entries, with their content and the tiles above them.
    pub range: Option<Range<u64>>,
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
    let mut run = Run { source, options, progress, report: Report::default(), problems: Problems::default() };
    if let Some(heads) = run.heads()? {
        match &options.range {
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
}

/// The checkpoint, and one that the log must extend.
struct Heads {
    checkpoint: Checkpoint,
    older: Option<Checkpoint>,
}

/// At most this many bundles are read before what they said is put together.
const BUNDLES_AT_ONCE: u64 = 4_096;

/// This many bundles may be missing beside as many as are there, before those
/// after them are not looked for: sizes can be anything, and cost nothing.
const BUNDLES_MISSING_MAX: u64 = 1_000;

impl Run<'_> {
    fn note(&mut self, note: impl Into<String>) {
        self.report.notes.push(note.into());
    }

    fn finish(mut self) -> Report {
        self.report.verified = self.problems.list.is_empty();
        self.report.problems = self.problems.list;
        self.report.problems_more = self.problems.more;
        self.report
    }

    /// The key to check with. The one beside the log is looked at in any case.
    fn key(&mut self) -> Result<Option<VerifierKey>, SourceError> {
        let file = || VKEY.to_owned();
        let given = self.options.vkey.clone();
        let beside = match self.source.read(VKEY)? {
            Some(bytes) => {
                let key = std::str::from_utf8(&bytes)
                    .ok()
                    .and_then(|text| text.strip_suffix('\n'))
                    .and_then(|line| VerifierKey::parse(line).ok());
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
        if given.is_none() && beside.is_some() {
            self.note(
                "the key was taken from the log itself, where whoever changes the log can change it; \
                 give the key that you hold from elsewhere",
            );
        }
        Ok(given.or(beside))
    }

    /// Reads the checkpoint and what vouches for it. What comes back may be
    /// unsigned; then that is a problem already, and it only says where to
    /// look.
    fn heads(&mut self) -> Result<Option<Heads>, SourceError> {
        let file = || CHECKPOINT.to_owned();
        let Some(bytes) = self.source.read(CHECKPOINT)? else {
            self.key()?;
            self.problems.push(Problem::Missing { file: file() });
            self.note("there is no checkpoint, so nothing else could be checked");
            return Ok(None);
        };
        let key = self.key()?;
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
        self.witnessed(&bytes);
        let older = match (&self.options.older, &key) {
            (Some(older), Some(key)) => match checkpoint::verify(older, key) {
                Ok(older) => Some(older.into_inner()),
                Err(error) => {
                    self.problems.push(Problem::Older { error });
                    None
                }
            },
            _ => None,
        };
        if self.options.older.is_none() {
            self.note(
                "no older checkpoint was given, so a log that was rolled back, or a second one by the same key, \
                 would not show",
            );
        }
        let unsigned = || Checkpoint::parse_text(Note::parse(&bytes).ok()?.text()).ok();
        let Some(checkpoint) = checkpoint.or_else(unsigned) else {
            self.note("the checkpoint cannot be read, so nothing else could be checked");
            return Ok(None);
        };
        if !checkpoint.extensions.is_empty() {
            self.note("the checkpoint has lines that mean nothing to this version");
        }
        self.report.origin = Some(checkpoint.origin.clone());
        self.report.size = Some(checkpoint.size);
        Ok(Some(Heads { checkpoint, older }))
    }

    fn witnessed(&mut self, bytes: &[u8]) {
        match checkpoint::cosignatures(bytes, &self.options.witnesses) {
            Ok(cosignatures) => {
                self.report.cosignatures = cosignatures.into_iter().map(Witnessed::from).collect();
            }
            Err(error) => self.problems.push(Problem::Cosignature { file: CHECKPOINT.to_owned(), error }),
        }
        let have = self.report.cosignatures.len();
        if have < self.options.quorum {
            self.problems.push(Problem::Quorum { file: CHECKPOINT.to_owned(), have, need: self.options.quorum });
        }
        if self.options.witnesses.is_empty() {
            self.note("no witnesses were given, so only the log itself vouches for its checkpoint");
        }
    }

    /// Lists what is there, and says so if it cannot be listed.
    fn files(&mut self) -> Result<Option<Files>, SourceError> {
        let files = Files::list(self.source)?;
        match &files {
            Some(files) if files.unfinished > 0 => {
                let count = files.unfinished;
                self.note(format!("{count} files that a crash left unfinished (*.tmp) were not looked at"));
            }
            Some(_) => {}
            None => self.note(
                "the files cannot be listed here, so those that do not belong to this log, and older versions of \
                 tiles, were not looked at",
            ),
        }
        Ok(files)
    }

    fn whole(&mut self, heads: &Heads) -> Result<(), SourceError> {
        let size = heads.checkpoint.size;
        let mut files = self.files()?;
        let packs = match &files {
            Some(files) if self.source.has_content() => Some(self.packs(&files.packs, size, 0)?),
            _ => {
                self.note("the content could not be had here, so no part and no body was checked");
                None
            }
        };
        if let Some(files) = &mut files {
            self.problems.append(std::mem::take(&mut files.problems));
        }

        let mut entries = self.bundles(size, files.as_ref(), packs.as_ref())?;
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
                ticker: &Ticker::new(&|_| {}, Phase::Bundles, 0),
            };
            match entries.extend(&scope, files)? {
                0 => {}
                more => {
                    self.note(format!("{more} entries beyond the checkpoint follow on the log and are not signed yet"))
                }
            }
        }
        let beyond = files.iter().flat_map(|files| &files.packs).filter(|&&pack| pack >= size).count();
        if beyond > 0 {
            self.note(format!("{beyond} packs are beyond the checkpoint; nothing signed names their parts yet"));
        }

        // The tiles, and with them the root.
        let ticker = Ticker::new(self.progress, Phase::Tiles, tile::tiles_of(size.min(entries.size())).count() as u64);
        let outcome = tree::check(self.source, &heads.checkpoint, &mut entries, whole, files.as_ref(), &ticker)?;
        self.report.root = outcome.root;
        self.report.checked.tiles += outcome.tiles;
        self.problems.append(outcome.problems);
        if let Some(older) = &heads.older {
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
        self.relations(entries, read_all, true);
        if !read_all {
            self.note("some entries could not be read, so what others say of them was not held against them");
        }
        Ok(())
    }

    fn packs(&mut self, numbers: &[u64], size: u64, hashed_from: u64) -> Result<Packs, SourceError> {
        let ticker = content::ticker(self.progress, numbers.len());
        let (checked, problems) = (&mut self.report.checked, &mut self.problems);
        Packs::read(self.source, numbers, size, hashed_from, &ticker, checked, problems)
    }

    /// Reads every bundle that a log of this size has, as far as there are any.
    fn bundles(&mut self, size: u64, files: Option<&Files>, packs: Option<&Packs>) -> Result<Entries, SourceError> {
        let needed = size.div_ceil(WIDTH);
        let looked_for = match files {
            Some(files) => {
                let there = files.bundles.range(..needed).count() as u64;
                needed.min(2 * there + BUNDLES_MISSING_MAX)
            }
            None => needed,
        };
        let ticker = Ticker::new(self.progress, Phase::Bundles, looked_for);
        let scope = Scope { source: self.source, size, first: 0, last: size, files, packs, ticker: &ticker };
        let mut entries = Entries::default();
        let mut next = 0;
        while next < looked_for {
            let end = looked_for.min(next + BUNDLES_AT_ONCE);
            let mut read = scope.read(next..end)?;
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
            let file = files::bundle_file(next, entries::width_of(next, size));
            self.problems.push(Problem::MissingMany { file, more: needed - next - 1 });
        }
        Ok(entries)
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
            self.note(format!("the log ends at entry {}, before the end of the range", head.size));
        }
        if first >= last {
            self.note("the range has no entries");
        }
        self.note(
            "only a range was checked: responses may belong to requests before it, requests to responses after it, \
             and files elsewhere were not looked at",
        );
        let bundles = first / WIDTH..if first < last { last.div_ceil(WIDTH) } else { first / WIDTH };
        let mut files = None;
        if first < last && self.source.has_content() {
            files = Files::list(self.source)?;
        }
        let packs = match &files {
            Some(files) => Some(self.packs_of_range(files, head.size, first, last, bundles.clone())?),
            None => {
                if first < last {
                    self.note("the content could not be had here, so no part and no body was checked");
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
            ticker: &ticker,
        };
        let mut entries = scope.read(bundles)?;
        let mut problems = Problems::default();
        let root = tree::check_range(self.source, head, &entries, &mut self.report.checked, &mut problems)?;
        self.problems.append(problems);
        self.report.root = root;
        if let Some(older) = &heads.older {
            let root = match older.size <= head.size {
                true => tree::root_of_tiles(self.source, older.size, head.size)?.ok(),
                false => None,
            };
            self.extends(head, older, root);
        }
        self.report.checked.add(&entries.checked);
        self.problems.append(std::mem::take(&mut entries.problems));
        if let Some(packs) = &packs
            && entries.unreadable.is_empty()
        {
            packs.misplaced(first, last, &mut self.problems);
        }
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
        let packs = self.packs(&files.packs[begin..end], size, 0)?;
        let ticker = Ticker::new(&|_| {}, Phase::Bundles, 0);
        let scope = Scope {
            source: self.source,
            size: self.report.size.unwrap_or(size),
            first,
            last,
            files: None,
            packs: None,
            ticker: &ticker,
        };
        let lacking = scope.any_content(bundles, &packs, |reader, content| Ok(!reader.knows_all(content)?))?;
        let found = std::mem::replace(&mut self.problems, problems);
        if !lacking || begin == 0 {
            self.problems.append(found);
            return Ok(packs);
        }
        // What was wrong with these is found again.
        self.report.checked = Checked::default();
        self.packs(&files.packs[..end], size, files.packs[begin])
    }
}
