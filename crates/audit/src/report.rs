//! What is said in the end.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tabellion_evidence::audit::Problem;
use tabellion_evidence::checkpoint::Cosignature;
use tabellion_evidence::sessions::{Completeness, Numbering};
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
    /// Whether anything is missing, by the numbers of entries.
    pub completeness: Completeness,
    /// Who else vouches for the checkpoint.
    pub cosignatures: Vec<Witnessed>,
    /// Whether they are enough; `None` when no witnesses were asked for.
    pub quorum: Option<bool>,
    /// Entries that are requests without a response, as far as they fit.
    pub open_exchanges: Vec<u64>,
    /// Entries that say that others were no longer to be kept, as far as they fit.
    pub expiries: Vec<u64>,
    /// What is wrong, as far as it fits.
    pub problems: Vec<Problem>,
    /// How many problems did not fit.
    pub problems_more: u64,
    /// What could not be checked, and what is worth knowing.
    pub notes: Vec<String>,
    /// What is so, by signatures and hashes that were recomputed.
    pub proved: Vec<Statement>,
    /// What cannot be so: the problems, as far as they fit.
    pub contradicted: Vec<Problem>,
    /// What neither was proved nor contradicted, and why.
    pub unchecked: Vec<Statement>,
}

/// A sentence of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// A short word for it, which stays what it is.
    pub code: &'static str,
    /// It, for people.
    pub text: String,
}

impl Statement {
    /// A sentence.
    pub fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// For checks that are made elsewhere, on evidence that this crate does not read: of anchors, of a policy.
impl Report {
    /// Adds something that was proved.
    pub fn prove(&mut self, code: &'static str, text: impl Into<String>) {
        self.proved.push(Statement::new(code, text));
    }

    /// Adds a contradiction: the log is not verified.
    pub fn contradict(&mut self, problem: Problem) {
        self.verified = false;
        self.problems.push(problem.clone());
        self.contradicted.push(problem);
    }

    /// Adds something that could not be checked.
    pub fn leave_unchecked(&mut self, code: &'static str, text: impl Into<String>) {
        let text = text.into();
        self.notes.push(text.clone());
        self.unchecked.push(Statement::new(code, text));
    }

    /// Takes back that something could not be checked: it was.
    pub fn checked_after_all(&mut self, code: &'static str) {
        let unchecked = &mut self.unchecked;
        let notes = &mut self.notes;
        unchecked.retain(|statement| {
            let stays = statement.code != code;
            if !stays {
                notes.retain(|note| *note != statement.text);
            }
            stays
        });
    }
}

/// What a problem is about, and what is not proved because of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum About {
    Signature,
    Witnesses,
    Older,
    Tree,
    Entries,
    Content,
    Exchanges,
    Numbers,
    Keys,
    Custody,
    Elsewhere,
}

impl About {
    fn of(problem: &Problem) -> Self {
        match problem {
            Problem::Key { .. } | Problem::KeyDiffers { .. } | Problem::KeyAbsent | Problem::Checkpoint { .. } => {
                Self::Signature
            }
            Problem::Cosignature { .. } | Problem::Quorum { .. } => Self::Witnesses,
            Problem::Older { .. } | Problem::RolledBack { .. } | Problem::Forked { .. } | Problem::State { .. } => {
                Self::Older
            }
            Problem::Entry { .. } => Self::Entries,
            Problem::Missing { file } | Problem::Unexpected { file }
                if file.starts_with("content/") || file.starts_with("sealed/") =>
            {
                Self::Content
            }
            Problem::Pack { .. }
            | Problem::PackEmpty { .. }
            | Problem::PartHash { .. }
            | Problem::PartDamaged { .. }
            | Problem::PartTwice { .. }
            | Problem::PartUnnamed { .. }
            | Problem::PartElsewhere { .. }
            | Problem::PartMissing { .. }
            | Problem::PartLater { .. }
            | Problem::SealedMissing { .. }
            | Problem::PartLength { .. }
            | Problem::Manifest { .. }
            | Problem::Frame { .. }
            | Problem::Body { .. } => Self::Content,
            Problem::IdTwice { .. }
            | Problem::ResponseTwice { .. }
            | Problem::ResponseEarly { .. }
            | Problem::ResponseAlone { .. } => Self::Exchanges,
            Problem::Numbering(Numbering::Key { .. }) => Self::Keys,
            Problem::Numbering(_) => Self::Numbers,
            Problem::Custody(_) => Self::Custody,
            Problem::Outside { .. } => Self::Elsewhere,
            _ => Self::Tree,
        }
    }
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Sealed pieces in packs.
    #[serde(default)]
    pub sealed: u64,
    /// The bytes of those packs.
    #[serde(default)]
    pub sealed_bytes: u64,
    /// Entries whose originals the log says were erased.
    #[serde(default)]
    pub erased: u64,
    /// Entries that the log says were no longer to be kept.
    #[serde(default)]
    pub expired: u64,
    /// Those of them whose content is not all there any more.
    #[serde(default)]
    pub removed: u64,
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
    /// What those are about that did not fit, too.
    about: BTreeSet<About>,
}

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        self.about.insert(About::of(&problem));
        if self.list.len() < LISTED_MAX {
            self.list.push(problem);
        } else {
            self.more += 1;
        }
    }

    /// Puts one before the others, because it says most.
    pub(crate) fn push_first(&mut self, problem: Problem) {
        self.about.insert(About::of(&problem));
        self.list.insert(0, problem);
        if self.list.len() > LISTED_MAX {
            self.list.pop();
            self.more += 1;
        }
    }

    pub(crate) fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }

    pub(crate) fn append(&mut self, later: Self) {
        self.about.extend(later.about.iter().copied());
        self.extend(later.list);
        self.more += later.more;
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether there is none about any of these.
    pub(crate) fn none_about(&self, about: &[About]) -> bool {
        about.iter().all(|about| !self.about.contains(about))
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
