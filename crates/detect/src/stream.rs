//! A text that comes in chunks: what is found in it, as soon as nothing that may still come can change that, and how much
//! of it is certain. The result is that of scanning the whole text at once, however it was cut.
//!
//! A place is certain up to the last space that no candidate covers, a little before the end ([`HOLD_BYTES`]) and before
//! any candidate that is not at its end (a private key may have 16 KB). What stands before it matters only as context, so
//! that much is kept of it, and no more. Candidates that cover each other for more than [`PENDING_MAX`] without a space
//! between are cut there: whoever sends such a text gets findings on both sides of the cut.
//!
//! Detectors ([`Engine::with_detected`]) are asked of a whole text, because a name in its last line may say what stands in
//! its first; of one that is longer than [`WHOLE_BYTES_MAX`], of so much at once.

use crate::columns::Columns;
use crate::engine::{HOLD_BYTES, WHOLE_BYTES_MAX};
use crate::{Engine, Finding, Query};

/// So much of what is certain is kept: context reaches back 60 bytes, a table's row and a line's head further.
const KEPT_BYTES: usize = 4096;
/// Looking again costs a pass over what is kept, so it waits until so much came …
const STEP_BYTES: usize = 1024;
/// … and takes so much at once, if that much came at once.
const STEP_BYTES_MAX: usize = 64 << 10;
/// More is never held back, but for what came at once.
const PENDING_MAX: usize = 64 << 10;
/// A table shows in its first three lines, of which each may be so long.
const HEAD_BYTES: usize = 3 * KEPT_BYTES;

/// A scan of a text in chunks.
pub struct Stream<'a> {
    engine: &'a Engine,
    query: Query<'a>,
    columns: Option<Columns>,
    /// The end of what is certain, and everything after it.
    buffer: String,
    /// Bytes of the text before the buffer.
    before: usize,
    /// Where the buffer goes on with what is not certain.
    certain: usize,
    /// The buffer's length when it was looked at last.
    looked: usize,
    whole: Option<Whole>,
}

/// What waits until the detectors are asked.
#[derive(Default)]
struct Whole {
    text: String,
    /// Bytes of the text before.
    before: usize,
    /// What the rules found in it and after it.
    findings: Vec<Finding>,
}

impl Whole {
    /// Where the text may be cut: after the last line's end, or else the last space, of those before `certain` that no
    /// finding covers.
    fn cut(&self, certain: usize) -> usize {
        let limit = self.text.floor_char_boundary(WHOLE_BYTES_MAX.min(certain.saturating_sub(self.before)));
        let bytes = &self.text.as_bytes()[..limit];
        let free = |at: &usize| {
            let place = self.before + at + 1;
            let count = self.findings.partition_point(|f| f.start < place);
            count.checked_sub(1).is_none_or(|last| self.findings[last].end <= place)
        };
        let spaces = || memchr::memrchr_iter(b' ', bytes);
        memchr::memrchr_iter(b'\n', bytes).find(free).or_else(|| spaces().find(free)).map_or(limit, |at| at + 1)
    }

    /// What is found up to a place.
    fn take(&mut self, end: usize, engine: &Engine, query: &Query<'_>) -> Vec<Finding> {
        let before = self.before;
        let shifted = |f: Finding, by: isize| Finding {
            start: f.start.wrapping_add_signed(by),
            end: f.end.wrapping_add_signed(by),
            ..f
        };
        let count = self.findings.partition_point(|f| f.start < before + end);
        let own = self.findings.drain(..count).map(|f| shifted(f, -(before as isize))).collect();
        let found = engine.with_detected(&self.text[..end], query, own);
        self.text.drain(..end);
        self.before += end;
        found.into_iter().map(|f| shifted(f, before as isize)).collect()
    }
}

impl<'a> Stream<'a> {
    /// Of a text that stands under and after `query`'s context.
    pub fn new(engine: &'a Engine, query: Query<'a>) -> Self {
        let whole = engine.detects().then(Whole::default);
        Self { engine, query, columns: None, buffer: String::new(), before: 0, certain: 0, looked: 0, whole }
    }

    /// Takes more text. Returns what has become certain, in order, in bytes from the start of the text.
    pub fn feed(&mut self, chunk: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut rest = chunk;
        // A large chunk in steps, so that memory does not grow with it.
        while !rest.is_empty() {
            let step = rest.ceil_char_boundary(STEP_BYTES_MAX.min(rest.len()));
            self.buffer.push_str(&rest[..step]);
            rest = &rest[step..];
            if self.buffer.len() >= self.looked + STEP_BYTES && !self.may_become_a_table() {
                self.look(false, &mut findings);
            }
        }
        let certain = self.before + self.certain;
        let Some(whole) = &mut self.whole else { return findings };
        whole.text.push_str(chunk);
        whole.findings.append(&mut findings);
        while whole.text.len() > WHOLE_BYTES_MAX {
            let end = whole.cut(certain);
            if end == 0 {
                break;
            }
            findings.extend(whole.take(end, self.engine, &self.query));
        }
        findings
    }

    /// How many bytes of the text are certain: nothing in them will be found any more.
    pub fn certain(&self) -> usize {
        self.whole.as_ref().map_or(self.before + self.certain, |whole| whole.before)
    }

    /// The rest, when no more text comes.
    pub fn finish(mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.look(true, &mut findings);
        let Some(mut whole) = self.whole else { return findings };
        whole.findings.append(&mut findings);
        let end = whole.text.len();
        whole.take(end, self.engine, &self.query)
    }

    /// Whether the first three lines are not there yet.
    fn may_become_a_table(&self) -> bool {
        self.before == 0
            && self.certain == 0
            && self.buffer.len() < HEAD_BYTES
            && memchr::memchr_iter(b'\n', self.buffer.as_bytes()).take(3).count() < 3
    }

    fn look(&mut self, last: bool, findings: &mut Vec<Finding>) {
        let part = self.engine.part(&self.buffer, self.certain, &self.query, &mut self.columns, last);
        let mut end = part.end;
        let mut found = part.findings;
        if !last && end - self.certain == 0 && self.buffer.len() - self.certain > PENDING_MAX {
            // Nowhere to cut: everything so far is taken as it looks now.
            let whole = self.engine.part(&self.buffer, self.certain, &self.query, &mut self.columns, true);
            end = self.buffer.floor_char_boundary(self.buffer.len() - HOLD_BYTES);
            found = whole.findings;
            found.retain(|finding| finding.start < end);
            end = found.last().map_or(end, |finding| end.max(finding.end));
        }
        for mut finding in found {
            finding.start += self.before;
            finding.end += self.before;
            findings.push(finding);
        }
        self.certain = end;
        let drop = self.buffer.floor_char_boundary(self.certain.saturating_sub(KEPT_BYTES));
        // Moving what is kept costs as much as it is long, so only when there is as much to drop.
        if drop >= KEPT_BYTES {
            self.buffer.drain(..drop);
            self.before += drop;
            self.certain -= drop;
            self.columns = self.columns.take().map(|columns| columns.shifted(drop));
        }
        self.looked = self.buffer.len();
    }
}
