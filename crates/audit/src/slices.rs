//! A large log, slice by slice, in order, so that memory does not grow with
//! it, and so that a run can go on where an earlier one ended.
//!
//! 1. The root of the tiles at the right edge is held against the signed one.
//!    From there down, every tile that is read is proven by the one above it.
//! 2. Of each slice, every entry is hashed and held against the proven tiles,
//!    read, and held against its content; what entries say of their sessions
//!    and exchanges is folded.
//! 3. If nothing is wrong so far, the [`State`] says so.
//!
//! Of entries before a slice it remembers the sessions, the exchanges that are
//! open, and eight bytes of each id. Should an id or a response look wrong by
//! these, the entries are read a second time to say which ones it is about.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tabellion_evidence::audit::{self, Event, Name, Packed, Problem, Side};
use tabellion_evidence::custody;
use tabellion_evidence::sessions::Sessions;
use tabellion_evidence::tile::WIDTH;
use tabellion_evidence::tree::Hash;

use crate::entries::{Entries, Scope};
use crate::erasures::Erasures;
use crate::report::{Checked, LISTED_MAX, Phase, Problems};
use crate::{BUNDLES_AT_ONCE, BUNDLES_MISSING_MAX, Heads, Run, SourceError, Ticker, tree};

/// The entries of a slice.
pub const SLICE_ENTRIES: u64 = BUNDLES_AT_ONCE * WIDTH;

/// Room for so many ids is made at first.
const IDS_AT_ONCE: u64 = 1 << 24;

/// At most so many suspicious entries are looked at a second time.
const SUSPECTS_MAX: usize = 100_000;

/// How far a log has been verified, to go on from there.
///
/// What it is trusted for: that the entries before `size`, and their content,
/// were read and nothing was wrong with them. What it is *not* trusted for is
/// which entries these are: the log's tiles must lead from `root` to the root
/// that is signed now, or it is refused. Whoever can change the file can make
/// a verification skip what is wrong before `size`, and no more; the report
/// says that it rests on it. So keep it where you would keep a checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    v: u32,
    /// The log's key.
    vkey: String,
    /// Entries before this one were verified.
    size: u64,
    /// The root of the tree that they make.
    root: Hash,
    /// Their content was verified, too.
    content: bool,
    sessions: Sessions,
    custody: custody::State,
    /// Requests without a response, by exchange.
    open: BTreeMap<Name, u64>,
    checked: Checked,
    /// Entries that say that others were no longer to be kept, the first of them.
    #[serde(default)]
    expiries: Vec<u64>,
}

/// The version of a state.
const STATE_VERSION: u32 = 2;

impl State {
    /// Entries before this one were verified.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Why it does not belong to a log with this key.
    fn refused(&self, vkey: &str, has_content: bool, size: u64) -> Option<&'static str> {
        if self.v != STATE_VERSION {
            return Some("it is of another version");
        }
        if self.vkey != vkey {
            return Some("it is of another log");
        }
        if self.content != has_content {
            return Some("it says something else about content than can be checked here");
        }
        (self.size > size).then_some("it has more entries than the log")
    }
}

/// What is remembered of entries from slice to slice.
#[derive(Default)]
struct Memory {
    open: HashMap<Name, u64>,
    ids: Vec<u64>,
    /// Responses to exchanges that are not open, by exchange.
    strays: HashSet<Name>,
    exchanges: u64,
}

/// Eight bytes of an id. Two ids that have the same are read again, so nobody
/// gains from finding such.
fn shortened(id: &Name) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

impl Memory {
    fn take(&mut self, read: &mut Entries) {
        let ids: Vec<u64> = read.ids.par_iter().map(|(id, _)| shortened(id)).collect();
        self.ids.extend(ids);
        for (exchange, entry, side) in read.events.drain(..) {
            match side {
                Side::Request => {
                    self.exchanges += 1;
                    self.open.insert(exchange, entry);
                }
                Side::Response => {
                    if self.open.remove(&exchange).is_none() && self.strays.len() < SUSPECTS_MAX {
                        self.strays.insert(exchange);
                    }
                }
            }
        }
    }

    /// The shortened ids that more than one entry has.
    fn twice(&mut self) -> HashSet<u64> {
        self.ids.par_sort_unstable();
        let same = self.ids.chunk_by(|a, b| a == b).filter(|same| same.len() > 1);
        same.take(SUSPECTS_MAX).map(|same| same[0]).collect()
    }
}

impl Run<'_> {
    pub(crate) fn sliced(&mut self, heads: &Heads, keep: &mut dyn FnMut(&State)) -> Result<(), SourceError> {
        let (head, source) = (&heads.checkpoint, self.source);
        let size = head.size;
        let mut problems = Problems::default();
        let (root, proven) = tree::check_edge(source, head, &mut problems)?;
        self.problems.append(problems);
        self.report.root = root;
        self.extends_by_tiles(heads)?;

        let mut files = self.files()?;
        let has_content = files.is_some() && source.has_content() && !self.options.foreign;
        let mut memory = Memory::default();
        let from = self.take_up(heads, proven, has_content, &mut memory)?;
        let mut erasures = Erasures::default();
        let mut sealed = None;
        let packs = match &files {
            Some(files) if has_content => {
                sealed = Some(self.packs(Packed::Sealed, &files.sealed, size, from)?);
                Some(self.packs(Packed::Content, &files.packs, size, from)?)
            }
            _ => {
                self.unchecked("content", "the content could not be had here, so no part and no body was checked");
                None
            }
        };
        if let Some(files) = &mut files {
            self.problems.append(std::mem::take(&mut files.problems));
        }
        let slice = (self.options.slice.unwrap_or(SLICE_ENTRIES) / WIDTH).max(1) * WIDTH;
        let bundles = size.div_ceil(WIDTH) - from / WIDTH;
        let ticker = Ticker::new(self.progress, Phase::Bundles, bundles);
        let (mut first, mut missing, mut read_all) = (from, 0, true);
        // Sizes can be anything, and cost nothing.
        let looked_for = self.looked_for(size.div_ceil(WIDTH), files.as_ref());
        if looked_for < size.div_ceil(WIDTH) {
            self.missing_from(looked_for, size);
            read_all = false;
        }
        let end = size.min(looked_for.saturating_mul(WIDTH));
        // Growing by doubling would take twice as much for a while. A size that is made up takes no memory: none is
        // touched before there are entries.
        memory.ids.reserve_exact((end - from).min(IDS_AT_ONCE) as usize);
        let scope = Scope {
            source,
            size,
            first: from,
            last: size,
            files: files.as_ref(),
            packs: packs.as_ref(),
            sealed: sealed.as_ref(),
            foreign: self.options.foreign,
            roots: false,
            ticker: &ticker,
        };
        let slice_at = |first: u64| first..end.min((first / slice + 1).saturating_mul(slice));
        let bundles_of = |slice: &std::ops::Range<u64>| slice.start / WIDTH..slice.end.div_ceil(WIDTH);
        let read_slice = |slice: std::ops::Range<u64>| {
            let scope = Scope { first: slice.start, last: slice.end, ..scope };
            scope.read(bundles_of(&slice))
        };
        let mut ahead = None;
        while first < end {
            let here = slice_at(first);
            let (last, read_to) = (here.end, bundles_of(&here).end);
            let mut read = match ahead.take() {
                Some(read) => read,
                None => read_slice(here)?,
            };
            missing += read.missing;
            // Without a list, there is no telling how many more there are.
            let ends = files.is_none() && missing > BUNDLES_MISSING_MAX && read_to < size.div_ceil(WIDTH);
            if ends {
                self.missing_from(read_to, size);
            }
            // What one thread does with a slice takes an eighth of the time. The others read the next one meanwhile.
            let (taken, next) = rayon::join(
                || -> Result<(), SourceError> {
                    let mut problems = Problems::default();
                    tree::check_range(source, head, proven, &read, &mut self.report.checked, &mut problems)?;
                    self.problems.append(std::mem::take(&mut read.problems));
                    self.problems.append(problems);
                    self.report.checked.add(&read.checked);
                    self.follow(&mut read);
                    erasures.take(std::mem::take(&mut read.erasures));
                    erasures.settle();
                    memory.take(&mut read);
                    Ok(())
                },
                || (!ends && last < end).then(|| read_slice(slice_at(last))).transpose(),
            );
            taken?;
            ahead = next?;
            read_all &= read.unreadable.is_empty();
            if ends {
                break;
            }
            first = last;
            // What is missing may turn out to be erased, and may not: until then there is nothing to go on from.
            if self.options.keeps_state && proven && self.problems.is_empty() && erasures.lacks_nothing() {
                self.keep(heads, first, has_content, &memory, &erasures, keep)?;
            }
        }
        if let Some(files) = &files {
            let mut problems = Problems::default();
            let (tiles, beyond) = tree::older_tiles(source, size, files, &mut problems)?;
            self.report.checked.tiles += tiles;
            self.problems.append(problems);
            let packs_beyond = files.packs.iter().chain(&files.sealed).filter(|&&pack| pack >= size).count() as u64;
            let bundles_beyond = files
                .bundles
                .iter()
                .filter(|(number, widths)| widths.iter().any(|&width| *number * WIDTH + u64::from(width) > size))
                .count() as u64;
            let beyond = beyond + packs_beyond + bundles_beyond;
            if beyond > 0 {
                self.unchecked(
                    "beyond",
                    format!("{beyond} files are beyond the checkpoint; nothing signed names them yet"),
                );
            }
        }
        if let Some(packs) = &packs
            && read_all
        {
            packs.misplaced(from, size, &mut self.problems);
        }
        if let Some(sealed) = &sealed
            && read_all
        {
            sealed.misplaced(from, size, &mut self.problems);
        }
        self.erased(erasures, &Scope { files: None, ..scope })?;
        if !read_all {
            self.unchecked(
                "unreadable",
                "some entries could not be read, so what others say of them was not held against them",
            );
        }
        self.settle(size, from, read_all, memory)
    }

    /// Goes on from a state, if there is one that belongs to this log. Gives
    /// the first entry that is to be read.
    fn take_up(
        &mut self,
        heads: &Heads,
        proven: bool,
        has_content: bool,
        memory: &mut Memory,
    ) -> Result<u64, SourceError> {
        let Some(state) = &self.options.state else { return Ok(0) };
        let head = &heads.checkpoint;
        let vkey = heads.key.as_ref().map(ToString::to_string).unwrap_or_default();
        if let Some(why) = state.refused(&vkey, has_content, head.size) {
            self.problems.push(Problem::State { why });
            return Ok(0);
        }
        let root = tree::root_of_tiles(self.source, state.size, head.size)?.ok();
        if !proven || root != Some(state.root) {
            self.problems.push(Problem::State { why: "the log does not extend the tree that it is about" });
            return Ok(0);
        }
        self.sessions = state.sessions.clone().resume(self.rules.clone());
        self.custody.clone_from(&state.custody);
        memory.open.extend(&state.open);
        self.report.checked = state.checked;
        self.report.expiries.clone_from(&state.expiries);
        memory.exchanges = state.checked.exchanges;
        self.unchecked(
            "state",
            format!(
                "entries before {} were not read again: that nothing is wrong with them rests on the state that was \
                 given; that they are still the same was proved. Their ids were not held against later ones",
                state.size
            ),
        );
        Ok(state.size)
    }

    fn keep(
        &mut self,
        heads: &Heads,
        size: u64,
        content: bool,
        memory: &Memory,
        erasures: &Erasures,
        keep: &mut dyn FnMut(&State),
    ) -> Result<(), SourceError> {
        let (Some(key), Ok(root)) = (&heads.key, tree::root_of_tiles(self.source, size, heads.checkpoint.size)?) else {
            return Ok(());
        };
        // A response that has no request so far is wrong, whatever comes.
        if !memory.strays.is_empty() {
            return Ok(());
        }
        let mut checked = Checked { exchanges: memory.exchanges, ..self.report.checked };
        erasures.count(&mut checked);
        let mut expiries = self.report.expiries.clone();
        expiries.extend(&erasures.expiries);
        expiries.truncate(LISTED_MAX);
        let open = memory.open.iter().map(|(&exchange, &entry)| (exchange, entry)).collect();
        keep(&State {
            v: STATE_VERSION,
            vkey: key.to_string(),
            size,
            root,
            content,
            sessions: self.sessions.clone(),
            custody: self.custody.clone(),
            open,
            checked,
            expiries,
        });
        Ok(())
    }

    /// Says which entries have the same id or do not belong to an exchange.
    fn settle(&mut self, size: u64, from: u64, read_all: bool, mut memory: Memory) -> Result<(), SourceError> {
        let twice = memory.twice();
        if !twice.is_empty() || !memory.strays.is_empty() {
            // A stray response may belong to what was verified before.
            let from = if memory.strays.is_empty() { from } else { 0 };
            let (mut ids, mut events): (Vec<(Name, u64)>, Vec<Event>) = Default::default();
            let ticker = Ticker::new(&|_| {}, Phase::Bundles, 0);
            let all = size.div_ceil(WIDTH);
            let mut next = from / WIDTH;
            while next < all {
                let end = all.min(next + BUNDLES_AT_ONCE);
                let scope = Scope {
                    source: self.source,
                    size,
                    first: from,
                    last: size,
                    files: None,
                    packs: None,
                    sealed: None,
                    foreign: false,
                    roots: false,
                    ticker: &ticker,
                };
                let read = scope.read(next..end)?;
                ids.extend(read.ids.into_iter().filter(|(id, _)| twice.contains(&shortened(id))));
                events.extend(read.events.into_iter().filter(|event| memory.strays.contains(&event.0)));
                next = end;
            }
            ids.par_sort_unstable();
            events.par_sort_unstable();
            self.problems.extend(audit::ids_twice(&ids));
            let pairs = audit::pair(&events);
            self.problems.extend(pairs.problems);
            if read_all {
                self.problems.extend(pairs.alone.into_iter().map(|entry| Problem::ResponseAlone { entry }));
            }
            for (exchange, _, side) in &events {
                if *side == Side::Response {
                    memory.open.remove(exchange);
                }
            }
        }
        let mut open: Vec<u64> = memory.open.into_values().collect();
        open.sort_unstable();
        self.report.checked.exchanges = memory.exchanges;
        self.report.checked.open_exchanges = open.len() as u64;
        open.truncate(LISTED_MAX);
        self.report.open_exchanges = open;
        Ok(())
    }
}
