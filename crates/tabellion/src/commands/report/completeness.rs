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

#[cfg(test)]
mod tests {
    use tabellion_evidence::entry::Gap as EntryGap;

    use super::*;

    const KEY: &str = "log.example+00000000+AA==";

    fn entry(kind: Kind, number: u64, minute: u64) -> Entry {
        let mut entry = Entry::new(kind, format!("e{number}"), format!("2026-11-25T10:{minute:02}:00.000000Z"));
        entry.producer = Some("one".to_owned());
        entry.seq = Some(number);
        entry
    }

    fn start() -> Entry {
        Entry { key: Some(KEY.to_owned()), ..entry(Kind::Start, 0, 0) }
    }

    fn gap(minute: u64, since: u64, until: u64) -> Entry {
        let at = |minute| Some(format!("2026-11-25T10:{minute:02}:00.000000Z"));
        let gap = EntryGap { reason: "disk_full".to_owned(), count: 3, since: at(since), until: at(until) };
        Entry { gap: Some(gap), ..entry(Kind::Gap, 2, minute) }
    }

    /// What is said of the time from 10:10 to 10:20.
    fn judged(entries: &[Entry]) -> Completeness {
        let at = |minute: u64| Some(format!("2026-11-25T10:{minute:02}:00.000000Z"));
        let selection = Selection {
            said: Default::default(),
            id: None,
            case: None,
            upstream: Some("openai".to_owned()),
            operation: None,
            model: None,
            since: at(10),
            until: at(20),
        };
        let mut completeness = Completeness::new(KEY);
        for (index, entry) in (0..).zip(entries) {
            completeness.take(index, entry, selection.has_time(&entry.time));
        }
        completeness.finish(&selection);
        completeness
    }

    #[test]
    fn nothing_is_missing_only_where_the_numbers_say_so() {
        let whole = [start(), entry(Kind::Request, 1, 12), entry(Kind::Request, 2, 15), entry(Kind::Heartbeat, 3, 25)];
        let said = judged(&whole);
        assert_eq!((said.reasons.as_slice(), said.range()), (&[][..], Some((1, 2))));
        assert_eq!(said.remarks, Vec::<String>::new());

        let hole = [start(), entry(Kind::Request, 1, 12), entry(Kind::Request, 4, 15), entry(Kind::Heartbeat, 5, 25)];
        assert!(judged(&hole).reasons[0].contains("numbers 2 to 3"));
        // One that shows later is about what came before it: it may be of the period.
        let late = [start(), entry(Kind::Request, 1, 12), entry(Kind::Heartbeat, 3, 25)];
        assert!(judged(&late).verdict().starts_with("it cannot be said"));
        // One that showed before the period is not.
        let early = [start(), entry(Kind::Request, 2, 5), entry(Kind::Request, 3, 12), entry(Kind::Heartbeat, 4, 25)];
        assert_eq!(judged(&early).reasons, Vec::<String>::new());

        let mut unnumbered = whole.clone();
        (unnumbered[1].producer, unnumbered[1].seq) = (None, None);
        assert!(judged(&unnumbered).reasons.iter().any(|reason| reason.contains("no number")));
    }

    #[test]
    fn a_declared_loss_counts_where_it_touches_the_period() {
        let with = |gap: Entry| [start(), entry(Kind::Request, 1, 12), gap, entry(Kind::Heartbeat, 3, 29)];
        assert!(judged(&with(gap(16, 13, 14))).reasons[0].contains("3 were not recorded: disk_full"));
        // Written after the period, and about it.
        assert_eq!(judged(&with(gap(25, 19, 22))).reasons.len(), 1);
        assert_eq!(judged(&with(gap(28, 21, 22))).reasons.len(), 0);
        assert_eq!(judged(&with(gap(13, 1, 2))).reasons.len(), 0);
    }

    #[test]
    fn of_a_time_after_the_newest_entry_nothing_is_known() {
        let said = judged(&[start(), entry(Kind::Request, 1, 12)]);
        assert!(said.reasons.is_empty() && said.remarks[0].contains("Of any time after it nothing is known"));
    }
}
