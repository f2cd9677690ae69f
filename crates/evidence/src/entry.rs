//! Entries: what a leaf of the log says. (`docs/format.md`, section *Entries*.)
//!
//! An entry is written once, by [`Entry::to_bytes`]; from then on its bytes
//! are the evidence, and nobody writes them again from the parsed form.
//! [`Entry::parse`] therefore keeps no unknown members and promises no way
//! back. It refuses whatever two readers could understand differently:
//! members that occur twice, on any level, and numbers of another kind.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::custody::Act;
use crate::tile::ENTRY_BYTES_MAX;
use crate::tree::Hash;

/// The version of the entry format.
pub const VERSION: u32 = 1;

/// Room that few entries exceed.
const ENTRY_BYTES_USUAL: usize = 1280;

/// The role of the first part of every content.
pub const FRAME: &str = "frame";

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, std::hash::Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A request was received.
    Request,
    /// The answer to a request ended.
    Response,
    /// Recording started.
    Start,
    /// Recording stopped, in order.
    Stop,
    /// Recording started after it had not been stopped in order.
    Recover,
    /// Nothing was to be recorded for a while; recording goes on.
    Heartbeat,
    /// Something passed and was not recorded.
    Gap,
    /// A bundle was exported.
    Export,
    /// A key was issued.
    KeyIssue,
    /// A key was revoked.
    KeyRevoke,
    /// A legal hold was placed.
    HoldPlace,
    /// A legal hold was lifted.
    HoldLift,
    /// Somebody asked for the approval of an act.
    ApprovalRequest,
    /// An officer approved an act.
    Approve,
    /// Other acts need an approval from now on.
    PolicyChange,
    /// A case was opened.
    CaseOpen,
    /// A case was closed.
    CaseClose,
    /// A sealed original, or its salts, were given out.
    Reveal,
    /// Keys and salts of originals were destroyed.
    Erase,
    /// The time that exchanges are kept for was over: their content was removed, and what opens their originals destroyed.
    Expire,
    /// A report was made.
    Report,
    /// One that a later version wrote.
    Other(String),
}

impl Kind {
    /// As it stands in the entry.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Request => "exchange.request",
            Self::Response => "exchange.response",
            Self::Start => "custody.start",
            Self::Stop => "custody.stop",
            Self::Recover => "custody.recover",
            Self::Heartbeat => "custody.heartbeat",
            Self::Gap => "custody.gap",
            Self::Export => "custody.export",
            Self::KeyIssue => "custody.key.issue",
            Self::KeyRevoke => "custody.key.revoke",
            Self::HoldPlace => "custody.hold.place",
            Self::HoldLift => "custody.hold.lift",
            Self::ApprovalRequest => "custody.request",
            Self::Approve => "custody.approve",
            Self::PolicyChange => "custody.policy.change",
            Self::CaseOpen => "case.open",
            Self::CaseClose => "case.close",
            Self::Reveal => "custody.reveal",
            Self::Erase => "custody.erase",
            Self::Expire => "custody.expire",
            Self::Report => "custody.report",
            Self::Other(kind) => kind,
        }
    }
}

impl Kind {
    /// Whether it is about custody: an act, what the log says of itself, or a case.
    pub fn is_custody(&self) -> bool {
        self.as_str().starts_with("custody.") || self.as_str().starts_with("case.")
    }
}

impl From<&str> for Kind {
    fn from(kind: &str) -> Self {
        match kind {
            "exchange.request" => Self::Request,
            "exchange.response" => Self::Response,
            "custody.start" => Self::Start,
            "custody.stop" => Self::Stop,
            "custody.recover" => Self::Recover,
            "custody.heartbeat" => Self::Heartbeat,
            "custody.gap" => Self::Gap,
            "custody.export" => Self::Export,
            "custody.key.issue" => Self::KeyIssue,
            "custody.key.revoke" => Self::KeyRevoke,
            "custody.hold.place" => Self::HoldPlace,
            "custody.hold.lift" => Self::HoldLift,
            "custody.request" => Self::ApprovalRequest,
            "custody.approve" => Self::Approve,
            "custody.policy.change" => Self::PolicyChange,
            "case.open" => Self::CaseOpen,
            "case.close" => Self::CaseClose,
            "custody.reveal" => Self::Reveal,
            "custody.erase" => Self::Erase,
            "custody.expire" => Self::Expire,
            "custody.report" => Self::Report,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(deserializer)?.as_str()))
    }
}

/// How an exchange ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, std::hash::Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The answer came whole.
    Complete,
    /// The provider answered with an error, or broke off.
    Error,
    /// The client did not wait for the end.
    ClientGone,
    /// Tabellion was stopped in the middle.
    Interrupted,
    /// Nothing was sent upstream.
    Refused,
}

impl Outcome {
    /// As it stands in the entry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Error => "error",
            Self::ClientGone => "client_gone",
            Self::Interrupted => "interrupted",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why there is no content.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, std::hash::Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Omitted {
    /// The body has no bytes.
    Empty,
    /// The body is nothing that can be read and redacted.
    Binary,
    /// The body is longer than the limit in force.
    TooLarge,
}

/// One leaf of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// [`VERSION`].
    pub v: u32,
    /// What it is about.
    pub kind: Kind,
    /// Its own ULID.
    pub id: String,
    /// The exchange's ULID; of a request, its `id`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub exchange: Option<String>,
    /// UTC, RFC 3339 with microseconds.
    pub time: String,
    /// The session that numbered this entry: one run of one producer.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub producer: Option<String>,
    /// The entry's number in its session, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub seq: Option<u64>,
    /// The configured upstream's name.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub upstream: Option<String>,
    /// Method and path, redacted.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub operation: Option<String>,
    /// As the request, or in a response the provider, named it; redacted.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub model: Option<String>,
    /// The caller's case, redacted.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub case: Option<String>,
    /// Who called, redacted.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub actor: Option<String>,
    /// What else the caller said, redacted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The redacted body.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub content: Option<Content>,
    /// Commitments to the exact bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub original: Option<Original>,
    /// What was redacted, under which rules.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub redaction: Option<Redaction>,
    /// Of a response: how the exchange ended.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub outcome: Option<Outcome>,
    /// The HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub status: Option<u16>,
    /// Why the outcome is not `complete`: a fixed word.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub reason: Option<String>,
    /// The provider's own count.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub usage: Option<Usage>,
    /// The `traceparent` that came with the request.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub trace: Option<String>,
    /// Of `custody.start`: the log's key, as a verifier key. Of a request or an act of custody: the ID of the key that was
    /// used.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub key: Option<String>,
    /// Of `custody.start` and `custody.recover`: where the session before this one ended.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub former: Option<Former>,
    /// Of `custody.gap`: what was not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub gap: Option<Gap>,
    /// Of a custody act: why, in the words of whoever did it; redacted.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub why: Option<String>,
    /// Of `custody.export` and `custody.report`: what was handed out.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub export: Option<Export>,
    /// Of an act of custody: what it is about.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub act: Option<Box<Act>>,
    /// Of `custody.reveal`: what was given out.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub reveal: Option<Reveal>,
    /// Of `custody.erase` and `custody.expire`: what was erased.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub erase: Option<Erase>,
    /// Of `custody.start`: the age recipients that originals are sealed to in this session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
}

/// What of an original was given out, or is about to be: the entry is written first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reveal {
    /// The entry whose original it is.
    pub entry: u64,
    /// The part that it is, as `original.parts` counts them; without it the whole.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub part: Option<u64>,
    /// How many bytes of the original; 0 if only salts.
    pub bytes: u64,
    /// The salt of the commitment was given out too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub salt: bool,
}

/// Which originals nobody can open any more, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erase {
    /// The entries, in ranges `[first, last]`, ascending, apart from each other.
    pub entries: Vec<(u64, u64)>,
    /// What was asked for; redacted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selection: BTreeMap<String, String>,
    /// The law that it is done under, in the words of whoever did it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub basis: Option<String>,
}

impl Erase {
    /// Names entries, in ranges.
    pub fn ranges(mut entries: Vec<u64>) -> Vec<(u64, u64)> {
        entries.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for entry in entries {
            match ranges.last_mut() {
                Some((_, last)) if entry <= last.saturating_add(1) => *last = entry,
                _ => ranges.push((entry, entry)),
            }
        }
        ranges
    }

    /// How many entries they are.
    pub fn count(&self) -> u64 {
        self.entries.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Whether an entry is among them.
    pub fn names(&self, entry: u64) -> bool {
        let after = self.entries.partition_point(|&(first, _)| first <= entry);
        after > 0 && entry <= self.entries[after - 1].1
    }

    fn is_sound(&self) -> bool {
        let ordered = self.entries.iter().all(|(first, last)| first <= last && *last < NUMBERS);
        ordered && !self.entries.is_empty() && self.entries.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0)
    }
}

/// What a bundle or a report has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// SHA-256 of the bundle's `manifest-sha256.txt`, or of the report's `SHA256SUMS`.
    pub manifest: Hash,
    /// What was asked for; redacted.
    pub selection: BTreeMap<String, String>,
    /// How many exchanges the bundle has.
    pub exchanges: u64,
    /// SHA-256 of the page that shows the bundle, without the copy of it that the page has.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub page: Option<Hash>,
}

/// The last entry of the session before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// The session.
    pub producer: String,
    /// The number of its last entry.
    pub seq: u64,
}

/// What passed and was not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// A fixed word for why.
    pub reason: String,
    /// How many exchanges, or answers to recorded requests; at least one.
    pub count: u64,
    /// When the first of them was lost.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub since: Option<String>,
    /// When the last of them was lost.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub until: Option<String>,
}

/// The redacted body that an entry speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// SHA-256 of the whole redacted body.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub sha256: Option<Hash>,
    /// Length of the whole redacted body.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub bytes: Option<u64>,
    /// The frame, and what its zero bytes stand for, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "objects")]
    pub parts: Vec<Part>,
    /// The part that holds a [`Manifest`], when `parts` would be too long.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub manifest: Option<Hash>,
    /// The body was put together from a stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub assembled: bool,
    /// Why there is nothing else here.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub omitted: Option<Omitted>,
}

/// A piece of a redacted body, stored in a content pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// [`FRAME`] of the first; then what the API calls it (`system`, `user`…).
    pub role: String,
    /// Its name.
    pub sha256: Hash,
    /// Its length.
    pub bytes: u64,
    /// How many of each entity were found in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub findings: BTreeMap<String, u32>,
}

/// Commitments to the exact bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    /// Length of the body as it crossed the wire.
    pub bytes: u64,
    /// Commitment to it; see [`commitment`].
    pub commitment: Hash,
    /// Commitments to the parts after the frame, before redaction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Hash>,
    /// The sealed original: the SHA-256 of each sealed piece. One is the whole
    /// body; of more, the first is the frame, and the others go in its places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sealed: Vec<Hash>,
}

/// What was redacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redaction {
    /// SHA-256 of the rules in force; written as `sha256:` and hexadecimal.
    #[serde(with = "prefixed")]
    pub policy: Hash,
    /// How many of each entity, in everything that the entry holds or names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub findings: BTreeMap<String, u32>,
    /// `ENTITY:token`, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<String>,
    /// The external detectors that answered, and how many of the findings are theirs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub external: BTreeMap<String, u32>,
    /// The external detectors that did not, and a fixed word for why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub external_failures: BTreeMap<String, String>,
}

/// The provider's own count of tokens.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Read by the model.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub input: Option<u64>,
    /// Written by the model.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub output: Option<u64>,
}

/// The lists that were too long for the entry; a part of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// As `content.parts` would be.
    #[serde(deserialize_with = "objects")]
    pub content: Vec<Part>,
    /// As `original.parts` would be.
    #[serde(default)]
    pub original: Vec<Hash>,
    /// As `redaction.tokens` would be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<String>,
    /// As `original.sealed` would be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sealed: Vec<Hash>,
}

/// A hash with the name of its function before it.
mod prefixed {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::tree::Hash;

    pub(super) fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("sha256:{hash}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let hex = text.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
        hex.ok_or_else(|| de::Error::custom("not a sha-256 value with its prefix"))
    }
}

/// Why bytes are no entry, or an entry cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// More than 65,535 bytes. When writing: move the parts into a manifest.
    #[error("entry is longer than 65,535 bytes")]
    TooLong,
    /// Not a JSON object, or a member is missing or of another kind.
    #[error("entry is malformed")]
    Malformed,
    /// A member occurs twice in one object.
    #[error("entry has a member twice")]
    Duplicate,
    /// `v` is not 1.
    #[error("entry is of an unknown version")]
    Version,
    /// `content` is neither a body nor omitted, or both.
    #[error("entry has contradictory content")]
    Content,
    /// An exchange's entry does not name its exchange, or a request another
    /// one than its own.
    #[error("entry does not name its exchange")]
    Exchange,
    /// A response without an outcome.
    #[error("response has no outcome")]
    Outcome,
    /// A session without a number, a number without a session, or a session
    /// without a usable name.
    #[error("entry does not say both its session and its number")]
    Number,
    /// A `custody.gap` that does not say what was lost.
    #[error("gap does not say what was lost")]
    Gap,
    /// A `custody.erase` or `custody.expire` that does not say what was erased, or not in order.
    #[error("erasure does not say what was erased")]
    Erase,
}

/// A session has fewer entries than this, so that every reader of JSON reads
/// the number alike (RFC 8259, section 6).
pub const NUMBERS: u64 = 1 << 53;

/// The longest name of a session, in bytes.
pub const PRODUCER_BYTES_MAX: usize = 64;

impl Entry {
    /// An entry that says nothing yet but what it is. A request's exchange is
    /// itself; a response's must be set.
    pub fn new(kind: Kind, id: impl Into<String>, time: impl Into<String>) -> Self {
        let id = id.into();
        let exchange = (kind == Kind::Request).then(|| id.clone());
        Self {
            v: VERSION,
            kind,
            id,
            exchange,
            time: time.into(),
            producer: None,
            seq: None,
            upstream: None,
            operation: None,
            model: None,
            case: None,
            actor: None,
            tags: BTreeMap::new(),
            content: None,
            original: None,
            redaction: None,
            outcome: None,
            status: None,
            reason: None,
            usage: None,
            trace: None,
            key: None,
            former: None,
            gap: None,
            why: None,
            export: None,
            act: None,
            reveal: None,
            erase: None,
            recipients: Vec::new(),
        }
    }

    /// The bytes that go into the log.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EntryError> {
        self.check()?;
        let mut bytes = Vec::with_capacity(ENTRY_BYTES_USUAL);
        serde_json::to_writer(&mut bytes, self).expect("an entry has no maps with keys other than strings");
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLong);
        }
        Ok(bytes)
    }

    /// [`Entry::to_bytes`] of an entry whose number is not known yet, and where
    /// in the bytes the one digit stands in whose place it goes.
    ///
    /// # Panics
    ///
    /// When the entry has no `producer`.
    pub fn to_bytes_unnumbered(&mut self) -> Result<(Vec<u8>, usize), EntryError> {
        assert!(self.producer.is_some(), "whoever numbers has a session");
        self.seq = Some(0);
        let bytes = self.to_bytes()?;
        // In a string the quotation marks would be escaped, and only texts stand before it.
        let name = b",\"seq\":";
        let at = bytes.windows(name.len()).position(|window| window == name).expect("it was just written");
        Ok((bytes, at + name.len()))
    }

    /// Reads an entry. Members that are not known are ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLong);
        }
        refuse_duplicates(bytes)?;
        // Another version may have other members, so that it cannot be read is no news.
        let entry: Self = from_object(bytes).map_err(|error| match from_object::<Version>(bytes) {
            Ok(version) if version.v != VERSION => EntryError::Version,
            _ => error,
        })?;
        entry.check()?;
        Ok(entry)
    }

    /// What the members must say about each other.
    fn check(&self) -> Result<(), EntryError> {
        if self.v != VERSION {
            return Err(EntryError::Version);
        }
        match self.kind {
            Kind::Request if self.exchange.as_ref() != Some(&self.id) => {
                return Err(EntryError::Exchange);
            }
            Kind::Response if self.exchange.is_none() => return Err(EntryError::Exchange),
            Kind::Response if self.outcome.is_none() => return Err(EntryError::Outcome),
            _ => {}
        }
        match (&self.producer, self.seq) {
            (None, None) => {}
            (Some(producer), Some(seq)) if is_session(producer, seq) => {}
            _ => return Err(EntryError::Number),
        }
        if self.former.as_ref().is_some_and(|former| !is_session(&former.producer, former.seq)) {
            return Err(EntryError::Number);
        }
        if self.kind == Kind::Gap && self.gap.as_ref().is_none_or(|gap| gap.count == 0) {
            return Err(EntryError::Gap);
        }
        if matches!(self.kind, Kind::Erase | Kind::Expire) && !self.erase.as_ref().is_some_and(Erase::is_sound) {
            return Err(EntryError::Erase);
        }
        match &self.content {
            Some(content) => content.check(),
            None => Ok(()),
        }
    }
}

fn is_session(producer: &str, seq: u64) -> bool {
    (1..=PRODUCER_BYTES_MAX).contains(&producer.len()) && seq < NUMBERS
}

/// What an entry is about, for whoever needs to know only that: read without checking the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// What it is about.
    pub kind: Kind,
    /// The exchange's ULID.
    pub exchange: Option<String>,
}

impl Heading {
    /// Reads an entry's heading, and of the entry no more than that takes: both members stand near its start.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        struct Reading<'a>(&'a mut Option<Kind>, &'a mut Option<String>);

        impl<'de> Visitor<'de> for Reading<'_> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a json object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
                while self.0.is_none() || self.1.is_none() {
                    let Some(name) = members.next_key::<Cow<'_, str>>()? else { return Ok(()) };
                    match &*name {
                        "kind" => *self.0 = Some(members.next_value()?),
                        "exchange" => *self.1 = Some(members.next_value()?),
                        _ => drop(members.next_value::<IgnoredAny>()?),
                    }
                }
                Err(serde::de::Error::custom("nothing more is asked"))
            }
        }

        let (mut kind, mut exchange) = (None, None);
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let read = reader.deserialize_map(Reading(&mut kind, &mut exchange)).and_then(|()| reader.end());
        match (kind, exchange, read) {
            (Some(kind), exchange @ Some(_), _) | (Some(kind), exchange, Ok(())) => Ok(Self { kind, exchange }),
            _ => Err(EntryError::Malformed),
        }
    }
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

impl Content {
    fn check(&self) -> Result<(), EntryError> {
        let body = self.sha256.is_some() && self.bytes.is_some();
        let listed = self.parts.first().is_some_and(|part| part.role == FRAME);
        let none = self.sha256.is_none() && self.bytes.is_none() && self.parts.is_empty() && self.manifest.is_none();
        let consistent = match (&self.omitted, &self.manifest) {
            (Some(_), _) => none,
            (None, Some(_)) => body && self.parts.is_empty(),
            (None, None) => body && listed,
        };
        if consistent { Ok(()) } else { Err(EntryError::Content) }
    }

    /// Whether `body` is the body that this speaks of.
    pub fn is_of(&self, body: &[u8]) -> bool {
        self.bytes == Some(body.len() as u64) && self.sha256 == Some(crate::tree::sha256(body))
    }
}

impl Manifest {
    /// The bytes of the part.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest has no maps with keys other than strings")
    }

    /// Reads a manifest. Members that are not known are ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        refuse_duplicates(bytes)?;
        let manifest: Self = from_object(bytes)?;
        if manifest.content.first().is_none_or(|part| part.role != FRAME) {
            return Err(EntryError::Content);
        }
        Ok(manifest)
    }
}

/// A member that is there is not `null`: one meaning, one spelling.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| Some(value))
}

fn objects<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let values = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|Object(value)| value).collect())
}

/// Reads a struct from a JSON object only. Serde's derived readers would take
/// an array of the members' values for one as well.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a json object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(serde::de::value::MapAccessDeserializer::new(members))
            }
        }

        deserializer.deserialize_map(Members(std::marker::PhantomData)).map(Object)
    }
}

fn from_object<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, EntryError> {
    match serde_json::from_slice(bytes) {
        Ok(Object(value)) => Ok(value),
        Err(_) => Err(EntryError::Malformed),
    }
}

/// Reads the whole of a JSON text for nothing but members that occur twice.
/// (Serde's derived readers notice only those that they know.)
fn refuse_duplicates(bytes: &[u8]) -> Result<(), EntryError> {
    let mut found = false;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Unique(&mut found).deserialize(&mut reader).and_then(|()| reader.end());
    match read {
        Ok(()) => Ok(()),
        Err(_) if found => Err(EntryError::Duplicate),
        Err(_) => Err(EntryError::Malformed),
    }
}

/// A JSON object that every reader reads alike.
pub(crate) fn parse_unambiguous(bytes: &[u8]) -> Option<serde_json::Value> {
    refuse_duplicates(bytes).ok()?;
    serde_json::from_slice(bytes).ok().filter(serde_json::Value::is_object)
}

/// Walks any value. Sets the flag, and fails, at a member that occurs twice.
struct Unique<'a>(&'a mut bool);

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a json value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Unique(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name) {
                *self.0 = true;
                members.next_value::<IgnoredAny>()?;
                return Err(serde::de::Error::custom("duplicate member"));
            }
            members.next_value_seed(Unique(self.0))?;
        }
        Ok(())
    }
}

/// What an entry holds of bytes that it does not hold:
/// `SHA-256(salt || bytes)`.
pub fn commitment(salt: &[u8; 32], bytes: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(salt);
    hasher.update(bytes);
    Hash(hasher.finalize().into())
}
