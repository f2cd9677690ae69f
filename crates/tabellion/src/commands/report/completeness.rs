//! Whether it can be said that no exchange of a period is missing, and if not, why.
//!
//! What it rests on: every entry has a number, given in the same durable write as its place; a request is durable before it
//! is sent on; what an upstream that fails open lets pass is declared (`docs/format.md`, *Sessions and numbers*).

use tabellion_evidence::audit::Name;
use tabellion_evidence::entry::{Entry, Kind};
use tabellion_evidence::sessions::{Numbering, Rules, Said, Sessions};

use super::Selection;

/// So many reasons are listed.
const REASONS_MAX: usize = 50;

/// The fold, and what it came to.
#[derive(Default)]
pub(super) struct Completeness {
    fold: Option<Sessions>,
    problems: Vec<Numbering>,
    /// The first and the last entry of the period.
    range: Option<(u64, u64)>,
    unnumbered: u64,
    gaps: Vec<Gap>,
    newest: Option<String>,
    pub(super) sessions: u64,
    /// Why it cannot be said that nothing is missing. None: it can.
    pub(super) reasons: Vec<String>,
    /// What a reader should know besides.
    pub(super) remarks: Vec<String>,
}

struct Gap {
    entry: u64,
    reason: String,
    count: u64,
    since: Option<String>,
    until: Option<String>,
}

impl Completeness {
    pub(super) fn new(key: &str) -> Self {
        let rules = Rules { key: Some(Name::of(key)), ..Rules::default() };
        Self { fold: Some(Sessions::new(rules)), ..Self::default() }
    }

    /// Takes in the next entry of the log.
    pub(super) fn take(&mut self, index: u64, entry: &Entry, in_period: bool) {
        if let Some(fold) = &mut self.fold {
            fold.take(index, &Said::of(entry), &mut |found| self.problems.push(found));
        }
        if in_period {
            self.range = Some((self.range.map_or(index, |(first, _)| first), index));
            self.unnumbered += u64::from(entry.producer.is_none());
        }
        if let Some(gap) = entry.gap.as_ref().filter(|_| entry.kind == Kind::Gap) {
            self.gaps.push(Gap {
                entry: index,
                reason: gap.reason.clone(),
                count: gap.count,
                since: gap.since.clone(),
                until: gap.until.clone(),
            });
        }
        if self.newest.as_ref().is_none_or(|newest| *newest < entry.time) {
            self.newest = Some(entry.time.clone());
        }
    }

    /// Comes to what can be said of the period.
    pub(super) fn finish(&mut self, selection: &Selection) {
        let Some(fold) = self.fold.take() else { return };
        let completeness = fold.finish(&mut |found| self.problems.push(found));
        self.sessions = completeness.sessions;
        let first = self.range.map_or(0, |(first, _)| first);
        // What shows before the period's first entry is about what came before that.
        for problem in self.problems.iter().filter(|problem| problem.entry() >= first) {
            self.reasons.push(problem.to_string());
        }
        if self.unnumbered > 0 {
            let text = format!(
                "{} entries of the period have no number: whether one among them is missing does not show",
                self.unnumbered
            );
            self.reasons.push(text);
        }
        for gap in &self.gaps {
            let before = selection.since.as_ref().zip(gap.until.as_ref()).is_some_and(|(since, until)| until < since);
            let after = selection.until.as_ref().zip(gap.since.as_ref()).is_some_and(|(until, since)| since >= until);
            if !before && !after {
                let text = format!("entry {} declares that {} were not recorded: {}", gap.entry, gap.count, gap.reason);
                self.reasons.push(text);
            }
        }
        let more = self.reasons.len().saturating_sub(REASONS_MAX);
        if more > 0 {
            self.reasons.truncate(REASONS_MAX);
            self.reasons.push(format!("and {more} more"));
        }
        if completeness.recovered > 0 {
            self.remarks.push(format!(
                "{} sessions of the log were not stopped in order. What was under way then is closed as interrupted. Where an \
                 upstream is configured to fail open, something may have passed that nobody could declare any more.",
                completeness.recovered
            ));
        }
        let newest = self.newest.clone().unwrap_or_default();
        match &selection.until {
            Some(until) if *until <= newest => {}
            _ => self
                .remarks
                .push(format!("The newest entry of the log is of {newest}. Of any time after it nothing is known.")),
        }
        if selection.case.is_some() {
            self.remarks.push(
                "The case is what the callers said. An exchange that nobody said it of is not in this report."
                    .to_owned(),
            );
        }
    }

    pub(super) fn range(&self) -> Option<(u64, u64)> {
        self.range
    }

    /// In one line.
    pub(super) fn verdict(&self) -> String {
        if self.reasons.is_empty() {
            return "none is missing, by the numbers of the entries".to_owned();
        }
        format!("it cannot be said that none is missing: {}", self.reasons[0])
    }
}
