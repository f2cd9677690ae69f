//! What is said in the end.

use serde::Serialize;
use tabellion_evidence::audit::Problem;
use tabellion_evidence::checkpoint::Cosignature;
use tabellion_evidence::tree::Hash;

/// At most this many problems, and open exchanges, are listed. The others are
/// counted.
pub const LISTED_MAX: usize = 1_000;

/// The outcome of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Nothing is wrong. What was not looked at is in `notes`.
    pub verified: bool,
    /// The log's name, as its checkpoint has it.
    pub origin: Option<String>,
    /// How many entries the checkpoint speaks of.
    pub size: Option<u64>,
    /// The root, computed from the entries (of a range: from the tiles).
    pub root: Option<Hash>,
    /// The range of entries that was asked for.
    pub range: Option<(u64, u64)>,
    /// How much was looked at.
    pub checked: Checked,
    /// Who else vouches for the checkpoint.
    pub cosignatures: Vec<Witnessed>,
    /// Whether they are enough; `None` when no witnesses were asked for.
    pub quorum: Option<bool>,
    /// Entries that are requests without a response, as far as they fit.
    pub open_exchanges: Vec<u64>,
    /// What is wrong, as far as it fits.
    pub problems: Vec<Problem>,
    /// How many problems did not fit.
    pub problems_more: u64,
    /// What could not be checked, and what is worth knowing.
    pub notes: Vec<String>,
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Entries that were hashed and read.
    pub entries: u64,
    /// Their bytes.
    pub entry_bytes: u64,
    /// Tiles that were held against the entries, partial ones included.
    pub tiles: u64,
    /// Entry bundles, partial ones included.
    pub bundles: u64,
    /// Content packs.
    pub packs: u64,
    /// Parts in them.
    pub parts: u64,
    /// The bytes of the packs.
    pub content_bytes: u64,
    /// Bodies that were put together from parts.
    pub bodies: u64,
    /// Their bytes.
    pub body_bytes: u64,
    /// Exchanges.
    pub exchanges: u64,
    /// Exchanges without a response yet.
    pub open_exchanges: u64,
}

/// A witness's cosignature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Witnessed {
    /// What the policy calls the witness; of one that was named by its key, the
    /// key's name.
    pub name: String,
    /// The witness's verifier key.
    pub witness: String,
    /// When, by its clock, in POSIX seconds.
    pub time: u64,
}

impl Witnessed {
    pub(crate) fn new(name: String, cosignature: &Cosignature) -> Self {
        Self { name, witness: cosignature.witness.to_string(), time: cosignature.time }
    }
}

/// Problems in the order in which they were found, the first ones only.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    pub(crate) list: Vec<Problem>,
    pub(crate) more: u64,
}

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        if self.list.len() < LISTED_MAX {
            self.list.push(problem);
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }

    pub(crate) fn append(&mut self, later: Self) {
        self.extend(later.list);
        self.more += later.more;
    }
}

/// How far a verification has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being read.
    pub phase: Phase,
    /// How many of them were.
    pub done: u64,
    /// How many there are.
    pub total: u64,
}

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Content packs.
    Packs,
    /// Entry bundles, and the bodies that their entries speak of.
    Bundles,
    /// Tiles.
    Tiles,
}
