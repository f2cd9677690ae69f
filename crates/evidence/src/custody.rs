//! Custody: who held which key, which holds are in force, what was approved.
//! (`docs/format.md`, section *Custody*.)
//!
//! [`State`] is a fold over the entries of a log, in order. It keeps what acts
//! of custody say, never what exchanges do. [`State::judge`] says what is wrong
//! with an entry that would come next: the server asks it before it writes one,
//! and a verifier after it has read one, so that nothing is written that does
//! not verify.
//!
//! Which role may do what is one table, [`RIGHTS`].
//!
//! What it cannot see: whoever owns the log's machine can act without any key;
//! then the entry names none. That such an act needs an approval all the same,
//! by somebody whose signing key never was on that machine, is what approvals
//! are for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::entry::{Entry, Erase, Kind, Reveal, present};
use crate::sessions::micros;
use crate::tree::{Hash, sha256};

/// What somebody's key is for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, std::hash::Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Applications: they are recorded, and read nothing.
    Writer,
    /// Quality assurance: reads and searches content.
    Reader,
    /// Opens cases, places holds, reveals, erases, exports, approves.
    Officer,
    /// Checks proofs and custody, and sees no content.
    Auditor,
    /// Issues keys, and sees no content.
    Admin,
}

impl Role {
    /// All of them, in the order of [`RIGHTS`].
    pub const ALL: [Self; 5] = [Self::Writer, Self::Reader, Self::Officer, Self::Auditor, Self::Admin];

    /// As it stands in the entry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Reader => "reader",
            Self::Officer => "officer",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Whether it may.
    pub fn may(self, right: Right) -> bool {
        RIGHTS.iter().any(|row| row.right == right && row.roles[self as usize])
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that only some roles may do.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Right {
    /// Have an exchange recorded.
    Record,
    /// Append an entry as it is.
    Append,
    /// Have a text analyzed.
    Detect,
    /// Read entries, tiles and checkpoints.
    Log,
    /// Find exchanges and read their redacted content.
    Content,
    /// Read who did what: keys, holds, cases, their chains.
    Custody,
    /// Read figures.
    Metrics,
    /// Hand out a bundle.
    Export,
    /// Open a sealed original.
    Reveal,
    /// Erase.
    Erase,
    /// Place or lift a hold.
    Hold,
    /// Open or close a case.
    Case,
    /// Ask for an approval, or give one.
    Approve,
    /// Issue or revoke a key.
    Keys,
}

/// A row of the table.
#[derive(Copy, Clone, Debug)]
pub struct Row {
    /// What.
    pub right: Right,
    /// It, in the documentation.
    pub what: &'static str,
    /// Who may, in the order of [`Role::ALL`].
    pub roles: [bool; 5],
}

const fn row(right: Right, what: &'static str, roles: [u8; 5]) -> Row {
    let [writer, reader, officer, auditor, admin] = roles;
    Row { right, what, roles: [writer == 1, reader == 1, officer == 1, auditor == 1, admin == 1] }
}

/// Who may do what: the only place that says so. The columns are
/// writer, reader, officer, auditor, admin.
pub const RIGHTS: [Row; 14] = [
    row(Right::Record, "call a model through the gateway", [1, 0, 0, 0, 0]),
    row(Right::Append, "append an entry as it is (`POST /log/add`)", [1, 0, 0, 0, 0]),
    row(Right::Detect, "have text analyzed (`/presidio`)", [1, 1, 1, 0, 0]),
    row(Right::Log, "read entries, tiles and checkpoints (`/log`)", [0, 1, 1, 1, 0]),
    row(Right::Content, "search, and read redacted content", [0, 1, 1, 0, 0]),
    row(Right::Custody, "read keys, holds, cases and their chains", [0, 0, 1, 1, 1]),
    row(Right::Metrics, "read `/metrics`", [0, 1, 1, 1, 1]),
    row(Right::Export, "hand out a bundle or a report", [0, 0, 1, 0, 0]),
    row(Right::Reveal, "reveal a sealed original", [0, 0, 1, 0, 0]),
    row(Right::Erase, "erase, have what is no longer kept expire", [0, 0, 1, 0, 0]),
    row(Right::Hold, "place or lift a legal hold", [0, 0, 1, 0, 0]),
    row(Right::Case, "open or close a case", [0, 0, 1, 0, 0]),
    row(Right::Approve, "ask for an approval, or give one", [0, 0, 1, 0, 0]),
    row(Right::Keys, "issue or revoke a key", [0, 0, 0, 0, 1]),
];

impl Right {
    /// What it takes to have an entry of a kind written; `None` of what nobody asks for.
    pub fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "exchange.request" | "exchange.response" => Self::Record,
            "custody.export" | "custody.report" => Self::Export,
            "custody.reveal" => Self::Reveal,
            "custody.erase" | "custody.expire" => Self::Erase,
            "custody.hold.place" | "custody.hold.lift" => Self::Hold,
            "case.open" | "case.close" => Self::Case,
            "custody.request" | "custody.approve" => Self::Approve,
            "custody.key.issue" | "custody.key.revoke" | "custody.policy.change" => Self::Keys,
            _ => return None,
        })
    }
}

/// What an act of custody is about. Which members there are depends on the
/// kind of the entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Of `custody.key.issue` and `custody.key.revoke`: the key's ID.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub key: Option<String>,
    /// Of `custody.key.issue`: what it is for.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub role: Option<String>,
    /// Of `custody.key.issue`: whose it is; redacted.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub holder: Option<String>,
    /// Of `custody.key.issue`: SHA-256 of the key's text.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub sha256: Option<Hash>,
    /// Of `custody.key.issue`, of a key that signs: its Ed25519 public key, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub public: Option<String>,
    /// Of `custody.key.issue`: until when it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub expires: Option<String>,
    /// Of `custody.key.issue`, of a writer's: the only upstreams that it is for; all, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<String>,
    /// Of `custody.hold.place`: these exchanges. (A case is named by the entry's `case`.)
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exchanges: Vec<String>,
    /// Of `custody.hold.place`: whatever has one of these tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<String>,
    /// Of `custody.hold.place`: the words by which `exchanges` were found; redacted.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub query: Option<String>,
    /// Of `custody.hold.lift`: the `id` of the `custody.hold.place`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub hold: Option<String>,
    /// Of `custody.request`: the kind of the act that somebody wants to do.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub kind: Option<String>,
    /// Of `custody.request`, and of an act whose other members do not say it: what exactly.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
    /// Of `custody.approve`: what was signed.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub statement: Option<String>,
    /// Of `custody.approve`: the Ed25519 signature, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub signature: Option<String>,
    /// Of `custody.policy.change`: the kinds of acts that need an approval from now on, if these change. What else changes
    /// is in `details`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub approve: Option<BTreeSet<String>>,
    /// The index of the `custody.approve` that this act used.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub approval: Option<u64>,
    /// The address from which it was asked for, as a token.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub from: Option<String>,
}

/// What needs an approval until the log says otherwise.
pub const APPROVE: [&str; 1] = ["custody.hold.lift"];

/// What may be made to need an approval.
pub const APPROVABLE: [&str; 3] = ["custody.hold.lift", "custody.reveal", "custody.erase"];

/// The longest time for which an approval can be given, in microseconds: 31 days.
pub const APPROVAL_MICROS_MAX: i64 = 31 * 24 * 3600 * 1_000_000;

/// The public ID of a key that is a secret text: of its SHA-256, the first
/// half.
pub fn key_id(hash: &Hash) -> String {
    format!("k_{}", &hash.to_string()[..32])
}

/// The hash that makes the ID of a key that signs.
pub fn public_hash(public: &[u8; 32]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(b"tabellion public key v1\n");
    hasher.update(public);
    Hash(hasher.finalize().into())
}

/// Names an act, and exactly what it does, in 32 bytes. `None` when a name or
/// a value has a control character, or a name a `=`.
pub fn digest(kind: &str, details: &BTreeMap<String, String>) -> Option<Hash> {
    let plain = |text: &str| !text.chars().any(char::is_control);
    let mut text = format!("tabellion act v1\n{kind}\n");
    for (name, value) in details {
        if !plain(name) || name.contains('=') || !plain(value) {
            return None;
        }
        text.push_str(&format!("{name}={value}\n"));
    }
    plain(kind).then(|| sha256(text))
}

/// What an officer signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The log's name.
    pub log: String,
    /// The index of the `custody.request`.
    pub request: u64,
    /// Its `id`: nobody knew it before.
    pub nonce: String,
    /// The kind of the act.
    pub act: String,
    /// What exactly; see [`digest`].
    pub details: Hash,
    /// Until when the approval may be used.
    pub expires: String,
    /// The ID of the key that signs.
    pub key: String,
    /// Why; redacted, on one line.
    pub reason: String,
}

/// The first line of a statement, which no other thing that is signed begins with.
const STATEMENT: &str = "tabellion approval v1";

impl Statement {
    /// Reads a statement: the lines of [`Statement`]'s text, and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let mut line = |name: &str| lines.next()?.strip_prefix(name);
        line(STATEMENT).filter(|rest| rest.is_empty())?;
        let log = line("log ")?.to_owned();
        let request = line("request ")?.parse().ok()?;
        let statement = Self {
            log,
            request,
            nonce: line("nonce ")?.to_owned(),
            act: line("act ")?.to_owned(),
            details: line("details sha256:")?.parse().ok()?,
            expires: line("expires ")?.to_owned(),
            key: line("key ")?.to_owned(),
            reason: line("reason ")?.to_owned(),
        };
        // One meaning, one spelling.
        (statement.to_string() == text).then_some(statement)
    }
}

/// The bytes that are signed.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log, request, nonce, act, details, expires, key, reason } = self;
        write!(
            f,
            "{STATEMENT}\nlog {log}\nrequest {request}\nnonce {nonce}\nact {act}\ndetails sha256:{details}\nexpires \
             {expires}\nkey {key}\nreason {reason}\n"
        )
    }
}

/// What an entry says that custody is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What it is about.
    pub kind: Kind,
    /// Its own ULID.
    pub id: String,
    /// When, in microseconds of POSIX time, if it can be read.
    pub time: Option<i64>,
    /// Who.
    pub actor: Option<String>,
    /// With which key.
    pub key: Option<String>,
    /// The case.
    pub case: Option<String>,
    /// Of an exchange: the upstream.
    pub upstream: Option<String>,
    /// What exactly.
    pub act: Act,
    /// Of `custody.reveal`: what is given out.
    pub reveal: Option<Reveal>,
    /// Of `custody.erase`: what is erased.
    pub erase: Option<Erase>,
}

impl Said {
    /// What an entry says; `None` of one that custody is not about, as nearly all.
    pub fn of(entry: &Entry) -> Option<Box<Self>> {
        let exchange = matches!(entry.kind, Kind::Request | Kind::Response);
        // The key of a start is the log's.
        let key = entry.key.clone().filter(|_| entry.kind != Kind::Start);
        let about = key.is_some() || entry.act.is_some() || (!exchange && Right::of(entry.kind.as_str()).is_some());
        about.then(|| {
            Box::new(Self {
                kind: entry.kind.clone(),
                id: if exchange { String::new() } else { entry.id.clone() },
                time: micros(&entry.time),
                actor: entry.actor.clone().filter(|_| !exchange),
                key,
                case: entry.case.clone().filter(|_| !exchange),
                upstream: entry.upstream.clone().filter(|_| exchange),
                act: entry.act.as_deref().cloned().filter(|_| !exchange).unwrap_or_default(),
                reveal: entry.reveal.clone().filter(|_| !exchange),
                erase: entry.erase.clone().filter(|_| !exchange),
            })
        })
    }

    /// Of an exchange that used a key.
    pub(crate) fn used(kind: Kind, key: &str, time: Option<i64>, upstream: Option<&str>) -> Box<Self> {
        let (id, key, act) = (String::new(), Some(key.to_owned()), Act::default());
        let upstream = upstream.map(str::to_owned);
        Box::new(Self { kind, id, time, actor: None, key, case: None, upstream, act, reveal: None, erase: None })
    }

    /// What an approval of it has to be about.
    pub fn details(&self) -> BTreeMap<String, String> {
        match (&self.kind, &self.act.hold, &self.reveal, &self.erase) {
            (Kind::HoldLift, Some(hold), ..) => BTreeMap::from([("hold".to_owned(), hold.clone())]),
            (Kind::Reveal, _, Some(reveal), _) => reveal_details(reveal),
            (Kind::Erase | Kind::Expire, _, _, Some(erase)) => erase_details(erase),
            _ => self.act.details.clone(),
        }
    }
}

/// What an approval to give out an original is about.
pub fn reveal_details(reveal: &Reveal) -> BTreeMap<String, String> {
    let what = match (reveal.bytes > 0, reveal.salt) {
        (true, true) => "original and salt",
        (true, false) => "original",
        (false, _) => "salt",
    };
    let mut details =
        BTreeMap::from([("entry".to_owned(), reveal.entry.to_string()), ("what".to_owned(), what.to_owned())]);
    details.extend(reveal.part.map(|part| ("part".to_owned(), part.to_string())));
    details
}

/// What an approval to erase is about: which entries, as a hash of their ranges, and what was asked for.
pub fn erase_details(erase: &Erase) -> BTreeMap<String, String> {
    let ranges: String = erase.entries.iter().map(|(first, last)| format!("{first}-{last}\n")).collect();
    let mut details = erase.selection.clone();
    details.insert("entries".to_owned(), format!("sha256:{}", sha256(ranges)));
    details.insert("count".to_owned(), erase.count().to_string());
    details.extend(erase.basis.clone().map(|basis| ("basis".to_owned(), basis)));
    details
}

/// A key that was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// What it is for.
    pub role: Role,
    /// Whose it is.
    pub holder: String,
    /// SHA-256 of its text; `None` of one that signs.
    pub sha256: Option<Hash>,
    /// Its public key; `None` of one that is a secret text.
    pub public: Option<Hash>,
    /// Until when it may be used, as it was said.
    pub expires: Option<String>,
    /// The only upstreams that it is for; all, if there are none.
    pub upstreams: BTreeSet<String>,
    /// The entry that issued it.
    pub issued: u64,
    /// The entry that revoked it.
    pub revoked: Option<u64>,
}

impl Key {
    /// Whether it may be used for an upstream.
    pub fn is_for(&self, upstream: Option<&str>) -> bool {
        self.upstreams.is_empty() || upstream.is_some_and(|upstream| self.upstreams.contains(upstream))
    }

    /// Why it may not be used at a time, in microseconds of POSIX time.
    pub fn refused(&self, time: Option<i64>) -> Option<Fault> {
        if self.revoked.is_some() {
            return Some(Fault::KeyRevoked);
        }
        let expires = self.expires.as_deref()?;
        match (micros(expires), time) {
            (Some(expires), Some(time)) if time <= expires => None,
            _ => Some(Fault::KeyExpired),
        }
    }
}

/// A legal hold that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The `custody.hold.place`.
    pub placed: u64,
    /// Everything of this case.
    pub case: Option<String>,
    /// These exchanges.
    pub exchanges: BTreeSet<String>,
    /// Whatever has one of these tokens.
    pub tokens: BTreeSet<String>,
    /// The words by which the exchanges were found.
    pub query: Option<String>,
}

/// Of an exchange, what a hold may be about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held<'a> {
    /// The exchange.
    pub exchange: &'a str,
    /// Its case.
    pub case: Option<&'a str>,
    /// The tokens in its request and its response, those of their manifests among them.
    pub tokens: &'a [String],
}

impl Hold {
    /// Whether it covers an exchange.
    pub fn covers(&self, held: &Held<'_>) -> bool {
        self.exchanges.contains(held.exchange)
            || (self.case.is_some() && self.case.as_deref() == held.case)
            || held.tokens.iter().any(|token| self.tokens.contains(token))
    }
}

/// A case that was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// The entry that opened it last.
    pub opened: u64,
    /// The entry that closed it since.
    pub closed: Option<u64>,
}

/// A request for an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its `id`.
    pub id: String,
    /// The kind of the act.
    pub kind: String,
    /// What exactly.
    pub details: BTreeMap<String, String>,
    /// The act that was done with an approval of it.
    pub used: Option<u64>,
}

/// An approval that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Approval {
    request: u64,
    key: String,
    expires: String,
    /// The signature and what was signed were good.
    good: bool,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The key was not issued before.
    #[error("uses a key that was not issued before")]
    KeyUnissued,
    /// The key was revoked before.
    #[error("uses a key that was revoked before")]
    KeyRevoked,
    /// The key had expired.
    #[error("uses a key that had expired")]
    KeyExpired,
    /// The key's role may not do it.
    #[error("is an act that the role of its key may not do")]
    Role,
    /// The key is not for this upstream.
    #[error("uses a key that is not for this upstream")]
    Upstream,
    /// A key is issued that there is already.
    #[error("issues a key that there is already")]
    KeyTwice,
    /// A key is revoked that was not issued, or was revoked before.
    #[error("revokes a key that is not in force")]
    RevokeUnissued,
    /// A hold is lifted that is not in force.
    #[error("lifts a hold that is not in force")]
    HoldUnplaced,
    /// A case is opened that is open.
    #[error("opens a case that is open")]
    CaseOpen,
    /// A case is closed that is not open.
    #[error("closes a case that is not open")]
    CaseClosed,
    /// The act needs an approval.
    #[error("is an act that needs an approval, and names none")]
    ApprovalMissing,
    /// There is no such approval.
    #[error("names an approval that was not given before")]
    ApprovalUnknown,
    /// The approval, or another one of the same request, was used before.
    #[error("uses an approval a second time")]
    ApprovalUsed,
    /// The approval had expired, or its key had been revoked.
    #[error("uses an approval that was not valid any more")]
    ApprovalExpired,
    /// The approval is of another act.
    #[error("uses an approval of another act")]
    ApprovalOther,
    /// The approval was given by whoever acts.
    #[error("uses an approval by the one who acts")]
    ApprovalOwn,
    /// The approval is not what an officer signed about a request of this log.
    #[error("is an approval that its key did not sign, or not of a request of this log")]
    ApprovalForged,
    /// The entry does not say what it has to.
    #[error("does not say what an act of its kind has to")]
    Malformed,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::KeyUnissued,
        Self::KeyRevoked,
        Self::KeyExpired,
        Self::Role,
        Self::Upstream,
        Self::KeyTwice,
        Self::RevokeUnissued,
        Self::HoldUnplaced,
        Self::CaseOpen,
        Self::CaseClosed,
        Self::ApprovalMissing,
        Self::ApprovalUnknown,
        Self::ApprovalUsed,
        Self::ApprovalExpired,
        Self::ApprovalOther,
        Self::ApprovalOwn,
        Self::ApprovalForged,
        Self::Malformed,
    ];

    /// A short word for it, which stays what it is.
    pub fn code(self) -> &'static str {
        match self {
            Self::KeyUnissued => "key-unissued",
            Self::KeyRevoked => "key-revoked",
            Self::KeyExpired => "key-expired",
            Self::Role => "role",
            Self::Upstream => "key-upstream",
            Self::KeyTwice => "key-twice",
            Self::RevokeUnissued => "revoke-unissued",
            Self::HoldUnplaced => "hold-unplaced",
            Self::CaseOpen => "case-open",
            Self::CaseClosed => "case-closed",
            Self::ApprovalMissing => "approval-missing",
            Self::ApprovalUnknown => "approval-unknown",
            Self::ApprovalUsed => "approval-used",
            Self::ApprovalExpired => "approval-expired",
            Self::ApprovalOther => "approval-other",
            Self::ApprovalOwn => "approval-own",
            Self::ApprovalForged => "approval-forged",
            Self::Malformed => "act-malformed",
        }
    }
}

/// A fault at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry} {fault}")]
pub struct Wrong {
    /// The entry.
    pub entry: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// The fold. It can be written down and taken up again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    origin: String,
    keys: BTreeMap<String, Key>,
    holds: BTreeMap<String, Hold>,
    cases: BTreeMap<String, Case>,
    requests: BTreeMap<u64, Request>,
    approvals: BTreeMap<u64, Approval>,
    approve: BTreeSet<String>,
    #[serde(default)]
    policy: BTreeMap<String, String>,
    acts: u64,
}

impl State {
    /// Nothing taken in yet, of the log of a name.
    pub fn new(origin: &str) -> Self {
        let approve = APPROVE.map(str::to_owned).into();
        Self { origin: origin.to_owned(), approve, ..Self::default() }
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The keys, by their IDs, those that were revoked or have expired among them.
    pub fn keys(&self) -> &BTreeMap<String, Key> {
        &self.keys
    }

    /// The holds in force, by the `id` of their places.
    pub fn holds(&self) -> &BTreeMap<String, Hold> {
        &self.holds
    }

    /// The cases that were opened.
    pub fn cases(&self) -> &BTreeMap<String, Case> {
        &self.cases
    }

    /// The requests for approvals, by their indices.
    pub fn requests(&self) -> &BTreeMap<u64, Request> {
        &self.requests
    }

    /// Which kinds of acts need an approval.
    pub fn approve(&self) -> &BTreeSet<String> {
        &self.approve
    }

    /// What else was last said of the policy: names and values.
    pub fn policy(&self) -> &BTreeMap<String, String> {
        &self.policy
    }

    /// How many acts of custody were taken in.
    pub fn acts(&self) -> u64 {
        self.acts
    }

    /// The first hold that covers an exchange: then nothing of it is erased, and nothing of it expires.
    pub fn covering(&self, held: &Held<'_>) -> Option<(&str, &Hold)> {
        self.holds.iter().find(|(_, hold)| hold.covers(held)).map(|(id, hold)| (&**id, hold))
    }

    /// What is wrong with an entry, if it comes next.
    pub fn judge(&self, said: &Said) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Some(id) = &said.key {
            faults.extend(match self.keys.get(id) {
                None => Some(Fault::KeyUnissued),
                Some(key) => key.refused(said.time).or_else(|| {
                    let may = Right::of(said.kind.as_str()).is_none_or(|right| key.role.may(right));
                    let there = said.kind != Kind::Request || key.is_for(said.upstream.as_deref());
                    if may { (!there).then_some(Fault::Upstream) } else { Some(Fault::Role) }
                }),
            });
        }
        faults.extend(self.judge_act(said));
        if said.act.approval.is_some() || self.approve.contains(said.kind.as_str()) {
            faults.extend(self.judge_approval(said));
        }
        faults
    }

    fn judge_act(&self, said: &Said) -> Option<Fault> {
        let act = &said.act;
        match &said.kind {
            Kind::KeyIssue => match issued(act) {
                None => Some(Fault::Malformed),
                Some((id, _)) => self.keys.contains_key(&id).then_some(Fault::KeyTwice),
            },
            Kind::KeyRevoke => match act.key.as_ref().map(|id| self.keys.get(id)) {
                None => Some(Fault::Malformed),
                Some(Some(key)) if key.revoked.is_none() => None,
                Some(_) => Some(Fault::RevokeUnissued),
            },
            Kind::HoldPlace => {
                let about = said.case.is_some() || !act.exchanges.is_empty() || !act.tokens.is_empty();
                (!about).then_some(Fault::Malformed)
            }
            Kind::HoldLift => match &act.hold {
                None => Some(Fault::Malformed),
                Some(hold) => (!self.holds.contains_key(hold)).then_some(Fault::HoldUnplaced),
            },
            Kind::CaseOpen => match &said.case {
                None => Some(Fault::Malformed),
                Some(case) => self.is_open(case).then_some(Fault::CaseOpen),
            },
            Kind::CaseClose => match &said.case {
                None => Some(Fault::Malformed),
                Some(case) => (!self.is_open(case)).then_some(Fault::CaseClosed),
            },
            Kind::ApprovalRequest => {
                let kind = act.kind.as_deref().and_then(|kind| digest(kind, &act.details));
                kind.is_none().then_some(Fault::Malformed)
            }
            Kind::Approve => self.approval(said).is_none_or(|approval| !approval.good).then_some(Fault::ApprovalForged),
            Kind::PolicyChange => (act.approve.is_none() && act.details.is_empty()).then_some(Fault::Malformed),
            _ => None,
        }
    }

    fn is_open(&self, case: &str) -> bool {
        self.cases.get(case).is_some_and(|case| case.closed.is_none())
    }

    fn judge_approval(&self, said: &Said) -> Option<Fault> {
        let Some(index) = said.act.approval else { return Some(Fault::ApprovalMissing) };
        let Some((approval, request)) = self.approvals.get(&index).and_then(|approval| {
            let request = self.requests.get(&approval.request).filter(|_| approval.good)?;
            Some((approval, request))
        }) else {
            return Some(Fault::ApprovalUnknown);
        };
        if request.kind != said.kind.as_str() || request.details != said.details() {
            return Some(Fault::ApprovalOther);
        }
        if request.used.is_some() {
            return Some(Fault::ApprovalUsed);
        }
        let in_time = micros(&approval.expires).zip(said.time).is_some_and(|(expires, time)| time <= expires);
        let approver = self.keys.get(&approval.key)?;
        if !in_time || approver.refused(said.time).is_some() {
            return Some(Fault::ApprovalExpired);
        }
        let holder = said.key.as_ref().and_then(|key| self.keys.get(key)).map(|key| &key.holder);
        // Without a key, it is somebody whom the operating system knows, as `name (uid 1000)`.
        let named = said.actor.as_deref().map(|actor| actor.split(" (uid ").next().unwrap_or(actor));
        let own = holder == Some(&approver.holder) || named == Some(&*approver.holder);
        own.then_some(Fault::ApprovalOwn)
    }

    /// The approval that an entry gives; `None` if it does not say which.
    fn approval(&self, said: &Said) -> Option<Approval> {
        let text = said.act.statement.as_deref()?;
        let statement = Statement::parse(text)?;
        let good = || {
            let request = self.requests.get(&statement.request)?;
            let key = self.keys.get(said.key.as_ref()?)?;
            let public = VerifyingKey::from_bytes(&key.public?.0).ok()?;
            let signature = STANDARD.decode(said.act.signature.as_deref()?).ok()?;
            let (expires, now) = (micros(&statement.expires)?, said.time?);
            let fits = statement.log == self.origin
                && said.key.as_ref() == Some(&statement.key)
                && statement.nonce == request.id
                && statement.act == request.kind
                && Some(statement.details) == digest(&request.kind, &request.details)
                && expires.saturating_sub(now) <= APPROVAL_MICROS_MAX;
            let signature = Signature::from_slice(&signature).ok()?;
            (fits && public.verify_strict(text.as_bytes(), &signature).is_ok()).then_some(())
        };
        let good = good().is_some();
        let Statement { request, key, expires, .. } = statement;
        Some(Approval { request, key, expires, good })
    }

    /// Takes in the next entry, and hands over what is wrong with it.
    pub fn take(&mut self, entry: u64, said: &Said, wrong: &mut dyn FnMut(Wrong)) {
        for fault in self.judge(said) {
            wrong(Wrong { entry, fault });
        }
        let act = &said.act;
        match &said.kind {
            Kind::Request | Kind::Response => return,
            Kind::KeyIssue => {
                if let Some((id, key)) = issued(act) {
                    self.keys.entry(id).or_insert(Key { issued: entry, ..key });
                }
            }
            Kind::KeyRevoke => {
                if let Some(key) = act.key.as_ref().and_then(|id| self.keys.get_mut(id)) {
                    key.revoked.get_or_insert(entry);
                }
            }
            Kind::HoldPlace => {
                let hold = Hold {
                    placed: entry,
                    case: said.case.clone(),
                    exchanges: act.exchanges.iter().cloned().collect(),
                    tokens: act.tokens.iter().cloned().collect(),
                    query: act.query.clone(),
                };
                self.holds.insert(said.id.clone(), hold);
            }
            Kind::HoldLift => drop(act.hold.as_ref().and_then(|hold| self.holds.remove(hold))),
            Kind::CaseOpen => {
                if let Some(case) = &said.case {
                    self.cases.insert(case.clone(), Case { opened: entry, closed: None });
                }
            }
            Kind::CaseClose => {
                if let Some(case) = said.case.as_ref().and_then(|case| self.cases.get_mut(case)) {
                    case.closed.get_or_insert(entry);
                }
            }
            Kind::ApprovalRequest => {
                if let Some(kind) = act.kind.clone() {
                    let request = Request { id: said.id.clone(), kind, details: act.details.clone(), used: None };
                    self.requests.insert(entry, request);
                }
            }
            Kind::Approve => {
                if let Some(approval) = self.approval(said) {
                    self.approvals.insert(entry, approval);
                }
            }
            Kind::PolicyChange => {
                if let Some(approve) = &act.approve {
                    self.approve.clone_from(approve);
                }
                if !act.details.is_empty() {
                    self.policy.clone_from(&act.details);
                }
            }
            _ => {}
        }
        if let Some(approval) = act.approval.and_then(|approval| self.approvals.get(&approval))
            && let Some(request) = self.requests.get_mut(&approval.request)
        {
            request.used.get_or_insert(entry);
        }
        self.acts += 1;
    }
}

/// The key that an act issues; `None` if it does not say all that it has to, or calls it by another ID than its own.
fn issued(act: &Act) -> Option<(String, Key)> {
    let public = match &act.public {
        None => None,
        Some(text) => Some(<[u8; 32]>::try_from(STANDARD.decode(text).ok()?).ok()?),
    };
    let hash = match (act.sha256, public) {
        (Some(hash), None) => hash,
        (None, Some(public)) => public_hash(&public),
        _ => return None,
    };
    let id = act.key.clone().filter(|id| *id == key_id(&hash))?;
    if let Some(expires) = &act.expires {
        micros(expires)?;
    }
    let key = Key {
        role: Role::of(act.role.as_deref()?)?,
        holder: act.holder.clone()?,
        sha256: act.sha256,
        public: public.map(Hash),
        expires: act.expires.clone(),
        upstreams: act.upstreams.iter().cloned().collect(),
        issued: 0,
        revoked: None,
    };
    Some((id, key))
}
