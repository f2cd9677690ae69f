//! What the numbers of a whole log's entries come to, as far as a bundle can say it: `data/completeness.json`.
//!
//! It is written by whoever exports, from all entries. A bundle does not have those, so a verifier cannot make it anew.
//! But it can be held against what is proved: the entries that it counts must be as many as the signed tree has, and
//! every entry of the bundle must stand where the report says that its session is. So nobody can leave a session, or an
//! entry of one, out of the report without the sum being wrong.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Contents, VERSION};
use crate::entry::{Entry, Kind};
use crate::sessions::DeclaredGap;

/// The longest report that is read.
const BYTES_MAX: usize = 32 << 20;

/// The report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Completeness {
    /// [`VERSION`].
    pub v: u32,
    /// How many entries the log has.
    pub size: u64,
    /// Entries without a number, from before there were any.
    pub unnumbered: u64,
    /// The sessions, in the order of their first entries.
    pub sessions: Vec<Session>,
    /// What the log says itself that it did not record.
    pub gaps: Vec<DeclaredGap>,
    /// What is wrong with the numbers, in words; nothing, if nothing is missing.
    pub wrong: Vec<String>,
    /// The exchanges of the whole log.
    pub exchanges: u64,
}

/// A session: one run of one producer of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Its name.
    pub producer: String,
    /// The index of its first entry.
    pub first: u64,
    /// The index of its last entry.
    pub last: u64,
    /// How many entries it has.
    pub entries: u64,
    /// The highest number in it. Numbers begin with 0, so there is nothing missing if it has one more entries.
    pub number_max: u64,
    /// Whether it ends with its stop.
    pub stopped: bool,
}

/// How a report contradicts what is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Contradiction {
    /// It is of a log of another size.
    #[error("speaks of another number of entries than the log has")]
    Size,
    /// The entries that it counts are not as many as there are.
    #[error("does not account for every entry of the log")]
    Sum,
    /// A session has other entries than its numbers allow, and nothing is said to be wrong.
    #[error("says that nothing is missing, and its numbers say otherwise")]
    Missing,
    /// An entry of the bundle is in no session, or not where it could be.
    #[error("does not have the session of entry {entry}, or not where the entry stands")]
    Entry {
        /// The entry.
        entry: u64,
    },
    /// The declared losses are not those that the custody entries declare.
    #[error("does not list the losses that the custody entries declare")]
    Gaps,
}

impl Completeness {
    /// The file.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("it has only text and numbers")
    }

    /// Reads the file.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > BYTES_MAX {
            return None;
        }
        serde_json::from_slice(bytes).ok().filter(|read: &Self| read.v == VERSION)
    }

    /// Whether nothing is missing by the numbers, and nothing is said to be wrong.
    pub fn is_complete(&self) -> bool {
        self.unnumbered == 0 && self.wrong.is_empty() && self.gaps.is_empty()
    }

    /// Holds the report against a log of `size` entries and those of them that are proved.
    pub fn check(&self, size: u64, contents: &Contents, entries: &BTreeMap<u64, Entry>) -> Result<(), Contradiction> {
        if self.size != size {
            return Err(Contradiction::Size);
        }
        let counted = self.sessions.iter().try_fold(self.unnumbered, |sum, session| sum.checked_add(session.entries));
        if counted != Some(size) {
            return Err(Contradiction::Sum);
        }
        let whole = |session: &Session| session.number_max.checked_add(1) == Some(session.entries);
        if self.wrong.is_empty() && !self.sessions.iter().all(whole) {
            return Err(Contradiction::Missing);
        }
        let by_name: BTreeMap<&str, &Session> =
            self.sessions.iter().map(|session| (&*session.producer, session)).collect();
        if by_name.len() != self.sessions.len() {
            return Err(Contradiction::Sum);
        }
        for (&index, entry) in entries {
            let (Some(producer), Some(number)) = (&entry.producer, entry.seq) else { continue };
            let fits = by_name.get(&**producer).is_some_and(|session| {
                let start = entry.kind != Kind::Start || session.first == index;
                let stop = entry.kind != Kind::Stop || session.stopped;
                (session.first..=session.last).contains(&index) && number <= session.number_max && start && stop
            });
            if !fits {
                return Err(Contradiction::Entry { entry: index });
            }
        }
        let custody: BTreeSet<u64> = contents.custody.iter().copied().collect();
        let declared = entries.iter().filter(|(index, entry)| custody.contains(index) && entry.kind == Kind::Gap);
        let declared = declared.map(|(&index, entry)| (index, entry.gap.as_ref().map_or(0, |gap| gap.count)));
        if !declared.eq(self.gaps.iter().map(|gap| (gap.entry, gap.count))) {
            return Err(Contradiction::Gaps);
        }
        Ok(())
    }

    /// What it comes to, and whether that is that nothing is missing.
    pub(super) fn in_words(&self) -> (bool, String) {
        let (size, sessions, exchanges) = (self.size, self.sessions.len(), self.exchanges);
        if self.is_complete() {
            let text = format!(
                "the exporter's report accounts for all {size} entries of the log, {exchanges} exchanges among them: {sessions} \
                 sessions, whose numbers have no gap, and no declared loss"
            );
            return (true, text);
        }
        let lost: u64 = self.gaps.iter().map(|gap| gap.count).sum();
        let text = format!(
            "the exporter's report accounts for all {size} entries of the log, and says that it is not complete: {} entries \
             without a number, {lost} exchanges or answers that the log says were not recorded, {} faults of the numbers",
            self.unnumbered,
            self.wrong.len()
        );
        (false, text)
    }
}
