//! Bundles: what an examiner receives, checkable without the log. (`docs/format.md`, section *The bundle*.)
//!
//! A bundle is a bag (RFC 8493): payload below `data/`, and beside it what holds it together. The payload has exact
//! entries, a proof for each against one checkpoint, and the content that they name. The record of the export, an
//! entry of the same log that was written before the bundle was handed out, commits to the payload's manifest: so
//! whoever takes something out of the payload, or puts something in, and makes the manifests anew, is found out.
//!
//! Whom it trusts: what the caller passes ([`Trust`]). Where that is nothing, the bundle's own key, policy and roots are
//! used, and all that a success then means is that the bundle agrees with itself; [`Checked`] says which it was.
//!
//! What it cannot show: that nothing else of the selection is in the log. For that the log itself has to be asked.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::anchor::TimeError;
use crate::audit::{self, check_body};
use crate::checkpoint::{self, Checkpoint, CheckpointError};
use crate::cose::{self, CoseError};
use crate::custody;
use crate::entry::{Entry, EntryError, Kind, Manifest, Part, commitment};
use crate::note::{NoteError, VerifierKey, parse_keys};
use crate::ots::{BlockHeader, HeaderError, OtsError};
use crate::policy::{Policy, PolicyError};
use crate::proof::{Proof, ProofFileError};
use crate::timestamp::{Roots, TimestampError};
use crate::tree::{self, Hash, ProofError, sha256};

pub mod completeness;
pub mod graph;
pub mod page;
mod trees;
mod unpack;

pub use trees::TreeProof;
pub use unpack::{UnpackError, unpack};

/// The version of the bundle's layout.
pub const VERSION: u32 = 1;

/// RFC 8493, section 2.1.1.
pub const BAGIT: &str = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
/// The list of the payload's files.
pub const MANIFEST: &str = "manifest-sha256.txt";
/// The list of all others.
pub const TAG_MANIFEST: &str = "tagmanifest-sha256.txt";
/// What the payload is of.
pub const CONTENTS: &str = "data/bundle.json";
/// The tree head that the proofs lead to.
pub const CHECKPOINT: &str = "data/log/checkpoint";
/// The log's keys, as the exporter has them.
pub const VKEY: &str = "data/log/log.vkey";
/// Whose cosignatures the exporter relies on. (C2SP `tlog-policy`.)
pub const POLICY: &str = "data/log/policy";
/// The roots of timestamp authorities, as the exporter has them, in PEM.
pub const ROOTS: &str = "data/anchors/roots.pem";
/// What the numbers of the whole log's entries come to.
pub const COMPLETENESS: &str = "data/completeness.json";
/// The custody entries, one a line.
pub const CUSTODY: &str = "data/custody.jsonl";
/// The same as a CASE/UCO graph.
pub const GRAPH: &str = "data/custody.case.jsonld";
/// The page that shows the bundle.
pub const PAGE: &str = "index.html";
/// The record of the export.
pub const EXPORT_ENTRY: &str = "export/entry.json";
/// That it is in the log.
pub const EXPORT_PROOF: &str = "export/entry.tlog-proof";
/// That the log then had what it had at [`CHECKPOINT`]: a hash a line, in base64.
pub const EXPORT_CONSISTENCY: &str = "export/consistency";

/// More is no list of what a bundle can have.
const CONTENTS_BYTES_MAX: usize = 32 << 20;

/// So many problems are listed. There is no end to what somebody can make wrong.
const PROBLEMS_MAX: usize = 1000;

/// Files of a bundle by their paths below its directory.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The exact bytes of an entry.
pub fn entry_path(index: u64) -> String {
    format!("data/entries/{index}.json")
}

/// Its proof.
pub fn proof_path(index: u64) -> String {
    format!("data/proofs/{index}.tlog-proof")
}

/// The same proof as a COSE receipt.
pub fn receipt_path(index: u64) -> String {
    format!("data/receipts/{index}.cbor")
}

/// An older checkpoint.
pub fn older_path(size: u64) -> String {
    format!("data/checkpoints/{size}")
}

/// A COSE receipt that the bundle's tree extends an older checkpoint's.
pub fn older_receipt_path(size: u64) -> String {
    format!("data/checkpoints/{size}.cbor")
}

/// How the tree of so many entries became the bundle's: a [`TreeProof`].
pub fn tree_path(size: u64) -> String {
    format!("data/trees/{size}")
}

/// An anchor, by its name in the log's directory of anchors.
pub fn anchor_path(name: &str) -> String {
    format!("data/anchors/{name}")
}

/// A part of the redacted content.
pub fn part_path(part: &Hash) -> String {
    format!("data/content/{part}")
}

/// Where a sealed piece lies, as an ordinary age file.
pub fn sealed_path(piece: &Hash) -> String {
    format!("data/sealed/{piece}.age")
}

/// Where an original lies that was opened.
pub fn original_path(index: u64) -> String {
    format!("data/originals/{index}.bin")
}

/// Where the salt of an opened original's commitment lies, in hexadecimal on a line.
pub fn salt_path(index: u64) -> String {
    format!("data/originals/{index}.salt")
}

/// What of an age file is stored in the log: what comes after its header, which ends with the line of its MAC. (age's
/// specification, "Header".)
fn age_payload(file: &[u8]) -> Option<&[u8]> {
    let mac = memchr::memmem::find(file, b"\n--- ")? + 1;
    let end = memchr::memchr(b'\n', &file[mac..])?;
    Some(&file[mac + end + 1..])
}

/// What a payload says of itself: [`CONTENTS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// [`VERSION`].
    pub v: u32,
    /// What was asked for, redacted: `{"case": "C-1042"}`.
    pub selection: BTreeMap<String, String>,
    /// The exchanges, in the order of their requests.
    pub exchanges: Vec<Exchange>,
    /// The custody entries of the log up to the checkpoint, without heartbeats.
    pub custody: Vec<u64>,
    /// The sizes of the older checkpoints, ascending.
    pub older: Vec<u64>,
    /// The names of the anchors, in the order of their sizes.
    pub anchors: Vec<String>,
}

/// Where an exchange's entries stand in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// Its ULID.
    pub exchange: String,
    /// The index of the request.
    pub request: u64,
    /// The index of the response; `None` while there was none.
    pub response: Option<u64>,
}

/// The custody entries, one a line with its index: [`CUSTODY`].
pub fn custody_lines<'a>(entries: impl IntoIterator<Item = (u64, &'a [u8])>) -> String {
    let line =
        |(index, entry): (u64, &[u8])| format!("{{\"index\":{index},\"entry\":{}}}\n", String::from_utf8_lossy(entry));
    entries.into_iter().map(line).collect()
}

/// A `sha256sum` of files: `hash  path` in the order of the paths.
pub fn manifest<'a>(files: impl Iterator<Item = (&'a String, &'a Vec<u8>)>) -> String {
    files.map(|(path, bytes)| format!("{}  {path}\n", sha256(bytes))).collect()
}

/// Whether a file is payload.
pub fn is_payload(path: &str) -> bool {
    path.starts_with("data/")
}

/// Something in a bundle that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {wrong}")]
pub struct Problem {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub wrong: Wrong,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It is there, and no manifest lists it.
    #[error("is in no manifest")]
    Unlisted,
    /// It does not have the hash that the manifest says.
    #[error("is not the file that the manifest lists")]
    Changed,
    /// It cannot be read as what it must be.
    #[error("is malformed")]
    Malformed,
    /// The payload has it for nothing that it is of.
    #[error("belongs to nothing that the bundle is of")]
    Unexpected,
    /// The key is not the one that the caller trusts.
    #[error("is not the key that was given")]
    KeyDiffers,
    /// The checkpoint is refused.
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    /// The proof is refused.
    #[error("{0}")]
    Proof(#[from] ProofFileError),
    /// The proof is of another entry.
    #[error("is the proof of another entry")]
    ProofOfAnother,
    /// The proof leads to another checkpoint than the bundle's.
    #[error("leads to another checkpoint than the bundle's")]
    ProofElsewhere,
    /// The entry is refused.
    #[error("{0}")]
    Entry(#[from] EntryError),
    /// The entry is not what the bundle says that stands there.
    #[error("is not the entry that the bundle says")]
    EntryOfAnother,
    /// The response stands before the request.
    #[error("is a response that stands before its request")]
    ResponseEarly,
    /// The bundle has the same exchange or entry twice.
    #[error("is there twice")]
    Twice,
    /// A body is refused.
    #[error("{0}")]
    Body(audit::Problem),
    /// The record of the export commits to another payload.
    #[error("commits to another payload than this one")]
    ExportOfAnother,
    /// A tree is no beginning of another: an older one of the bundle's, or the bundle's of that of the export's record.
    #[error("{0}")]
    Consistency(#[from] ProofError),
    /// The COSE receipt is refused.
    #[error("{0}")]
    Receipt(#[from] CoseError),
    /// The COSE receipt is about another place, or another tree.
    #[error("is a receipt for another place or another tree than the bundle's")]
    ReceiptElsewhere,
    /// The policy cannot be read.
    #[error("{0}")]
    Policy(#[from] PolicyError),
    /// The policy does not accept this log.
    #[error("is not a policy for this log")]
    PolicyOfAnother,
    /// The checkpoint lacks cosignatures.
    #[error("does not have the cosignatures that the policy asks for")]
    Quorum,
    /// An older checkpoint is not the one that its name says, or not of the tree that the bundle's extends.
    #[error("is not the checkpoint of that size of this log")]
    OlderOfAnother,
    /// The roots cannot be read.
    #[error("has no certificates that can be read")]
    Roots,
    /// A token is refused.
    #[error("{0}")]
    Token(#[from] TimestampError),
    /// An OpenTimestamps proof is refused.
    #[error("{0}")]
    Ots(#[from] OtsError),
    /// A block does not attest what the proof says.
    #[error("{0}")]
    Block(#[from] HeaderError),
    /// The time cannot be right.
    #[error("{0}")]
    Time(#[from] TimeError),
    /// The completeness report contradicts what is proved.
    #[error("{0}")]
    Completeness(#[from] completeness::Contradiction),
    /// A sealed piece is another.
    #[error("is not the sealed piece that an entry names")]
    SealedOfAnother,
    /// An original, or its salt, is another.
    #[error("is not what the entry commits to with the salt beside it")]
    OriginalOfAnother,
    /// An act of custody is against its rules.
    #[error("{0}")]
    Custody(custody::Fault),
    /// The page's program is not the one that the export's record names.
    #[error("is not the page that the record of the export names")]
    PageOfAnother,
    /// The page shows another payload.
    #[error("has a copy of another payload than the bundle's")]
    PageCopy,
    /// What is there for reading says something else than the entries.
    #[error("does not say what the entries say: {0}")]
    Derived(&'static str),
}

impl Wrong {
    /// A short word for it, which does not change from one version to the next.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unlisted => "unlisted",
            Self::Changed => "changed",
            Self::Malformed => "malformed",
            Self::Unexpected => "unexpected",
            Self::KeyDiffers => "key-differs",
            Self::Checkpoint(_) => "checkpoint",
            Self::Proof(_) => "proof",
            Self::ProofOfAnother => "proof-of-another",
            Self::ProofElsewhere => "proof-elsewhere",
            Self::Entry(_) => "entry",
            Self::EntryOfAnother => "entry-of-another",
            Self::ResponseEarly => "response-early",
            Self::Twice => "twice",
            Self::Body(_) => "body",
            Self::ExportOfAnother => "export-of-another",
            Self::Consistency(_) => "consistency",
            Self::Receipt(_) => "receipt",
            Self::ReceiptElsewhere => "receipt-elsewhere",
            Self::Policy(_) => "policy",
            Self::PolicyOfAnother => "policy-of-another",
            Self::Quorum => "quorum",
            Self::OlderOfAnother => "older-of-another",
            Self::Roots => "roots",
            Self::Token(_) | Self::Ots(_) | Self::Block(_) => "anchor",
            Self::Time(_) => "anchor-time",
            Self::Completeness(_) => "completeness",
            Self::SealedOfAnother => "sealed",
            Self::OriginalOfAnother => "original",
            Self::Custody(_) => "custody",
            Self::PageOfAnother => "page-of-another",
            Self::PageCopy => "page-copy",
            Self::Derived(_) => "derived",
        }
    }
}

/// Whom the caller trusts from elsewhere. Nothing here: the bundle's own word is taken, and said to be that.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The log's keys, the one that signs every checkpoint first.
    pub keys: Vec<VerifierKey>,
    /// Which logs are known, and whose cosignatures are enough.
    pub policy: Option<Policy>,
    /// The roots of timestamp authorities.
    pub tsa_roots: Option<Roots>,
    /// Headers of Bitcoin blocks.
    pub headers: Vec<BlockHeader>,
    /// The least work, in bits, that a block header must have taken.
    pub work_bits_min: u32,
}

/// Something that was found out, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// A short word for it, which does not change from one version to the next.
    pub code: &'static str,
    /// What.
    pub text: String,
}

/// What was checked, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// The tree head, once its signature verified.
    pub checkpoint: Option<Checkpoint>,
    /// What was asked for.
    pub selection: BTreeMap<String, String>,
    /// How many exchanges.
    pub exchanges: u64,
    /// How many of them have no response.
    pub open_exchanges: u64,
    /// How many custody entries.
    pub custody: u64,
    /// How many parts of content.
    pub parts: u64,
    /// Entries of exchanges whose content is not all here, because it had expired; and which entry says so of each.
    pub expired: BTreeMap<u64, u64>,
    /// The record of the export, once it was proved.
    pub export: Option<Entry>,
    /// What is proved.
    pub proved: Vec<Statement>,
    /// What could not be checked, and why.
    pub unchecked: Vec<Statement>,
    /// What is wrong, the first thousand of it. Empty: verified.
    pub problems: Vec<Problem>,
}

/// How much of a bundle there is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    Whole,
    /// The payload, its manifest and the record of the export: the copy in a page.
    Payload,
}

/// Checks a bundle.
pub fn verify(files: &Files, trust: &Trust) -> Checked {
    verify_within(files, trust, Scope::Whole)
}

/// Checks a bundle, or what of it a page has a copy of.
pub fn verify_within(files: &Files, trust: &Trust, scope: Scope) -> Checked {
    let mut check = Check {
        files,
        trust,
        scope,
        checked: Checked::default(),
        wrongs: 0,
        receipts: (0, 0),
        expected: BTreeSet::new(),
        entries: BTreeMap::new(),
        lacking: BTreeMap::new(),
    };
    check.manifests();
    check.payload();
    check.checked
}

/// Whose checkpoint everything is held against.
struct Log {
    key: VerifierKey,
    note: Vec<u8>,
    head: Checkpoint,
}

struct Check<'a> {
    files: &'a Files,
    trust: &'a Trust,
    scope: Scope,
    checked: Checked,
    /// How many problems there are, those included that are not listed.
    wrongs: u64,
    /// How many receipts there are, and how many of them are wrong.
    receipts: (u64, u64),
    /// The files of the payload that something names.
    expected: BTreeSet<String>,
    /// The entries that are proved.
    entries: BTreeMap<u64, Entry>,
    /// What of the content that entries name is not there, until it is known whether it expired.
    lacking: BTreeMap<u64, Vec<Hash>>,
}

/// What only that belongs to which something else names.
const NAMED: [&str; 9] = [
    "data/sealed/",
    "data/originals/",
    "data/entries/",
    "data/proofs/",
    "data/receipts/",
    "data/content/",
    "data/checkpoints/",
    "data/trees/",
    "data/anchors/",
];

impl<'a> Check<'a> {
    fn wrong(&mut self, file: impl Into<String>, wrong: impl Into<Wrong>) {
        self.wrongs += 1;
        if self.checked.problems.len() < PROBLEMS_MAX {
            self.checked.problems.push(Problem { file: file.into(), wrong: wrong.into() });
        }
    }

    /// Says that something is proved, if nothing has gone wrong since there were so many problems.
    fn proved(&mut self, since: u64, code: &'static str, text: impl Into<String>) {
        if self.wrongs == since {
            self.checked.proved.push(Statement { code, text: text.into() });
        }
    }

    fn unchecked(&mut self, code: &'static str, text: impl Into<String>) {
        self.checked.unchecked.push(Statement { code, text: text.into() });
    }

    /// A file that must be there.
    fn file(&mut self, path: &str) -> Option<&'a [u8]> {
        let found = self.files.get(path).map(Vec::as_slice);
        if found.is_none() {
            self.wrong(path, Wrong::Missing);
        }
        found
    }

    /// A file that must be there because something names it.
    fn named(&mut self, path: &str) -> Option<&'a [u8]> {
        self.expected.insert(path.to_owned());
        self.file(path)
    }

    /// Each file is in the one manifest in which it must be, and is what it says.
    fn manifests(&mut self) {
        let files = self.files;
        let since = self.wrongs;
        if files.get("bagit.txt").is_none_or(|bytes| bytes != BAGIT.as_bytes()) {
            self.wrong("bagit.txt", if files.contains_key("bagit.txt") { Wrong::Malformed } else { Wrong::Missing });
        }
        let manifests = [(MANIFEST, true), (TAG_MANIFEST, false)];
        for (name, payload) in manifests.into_iter().take(if self.scope == Scope::Whole { 2 } else { 1 }) {
            let belongs = |path: &str| is_payload(path) == payload && path != TAG_MANIFEST;
            let Some(bytes) = self.file(name) else { continue };
            let Some(listed) = parse_manifest(bytes) else {
                self.wrong(name, Wrong::Malformed);
                continue;
            };
            for (path, hash) in &listed {
                match files.get(path) {
                    _ if !belongs(path) => self.wrong(name, Wrong::Malformed),
                    None => self.wrong(path, Wrong::Missing),
                    Some(bytes) if sha256(bytes) != *hash => self.wrong(path, Wrong::Changed),
                    Some(_) => {}
                }
            }
            for path in files.keys().filter(|path| belongs(path) && !listed.contains_key(*path)) {
                self.wrong(path, Wrong::Unlisted);
            }
        }
        if self.scope == Scope::Whole {
            let count = files.len();
            let text = format!("{count} files are those that the manifests list, and there are no others");
            return self.proved(since, "files", text);
        }
        let count = files.keys().filter(|path| is_payload(path)).count();
        let text = format!("{count} files of the payload are those that its manifest lists, and there are no others");
        self.proved(since, "files", text);
        let text = "this is the page's own copy of the payload: whether the files beside it are the same, only the bundle \
                    itself can show";
        self.unchecked("copy", text);
    }

    fn payload(&mut self) {
        let Some(log) = self.log() else { return };
        let Some(bytes) = self.file(CONTENTS) else { return };
        if bytes.len() >= CONTENTS_BYTES_MAX {
            return self.wrong(CONTENTS, Wrong::Malformed);
        }
        let contents = match serde_json::from_slice::<Contents>(bytes) {
            Ok(contents) if contents.v == VERSION => contents,
            _ => return self.wrong(CONTENTS, Wrong::Malformed),
        };
        self.checked.selection.clone_from(&contents.selection);
        let since = self.wrongs;
        self.exchanges(&log, &contents);
        self.originals(&contents);
        self.custody(&log, &contents);
        self.expired(since, &contents);
        self.rules(&log);
        if let (count, 0) = self.receipts {
            self.proved(self.wrongs, "receipts", format!("{count} COSE receipts prove the same of each entry"));
        }
        self.cosignatures(&log);
        self.older(&log, &contents);
        self.anchors(&log, &contents);
        self.completeness(&log, &contents);
        let files = self.files;
        for path in files.keys() {
            if NAMED.iter().any(|prefix| path.starts_with(prefix)) && !self.expected.contains(path) {
                self.wrong(path, Wrong::Unexpected);
            }
        }
        self.export(&log);
        self.checked.checkpoint = Some(log.head);
        self.unchecked("more", "whether the log has more that was asked for, a bundle cannot show: ask for the log");
    }

    /// The log's key, and the checkpoint that it signed.
    fn log(&mut self) -> Option<Log> {
        let own = self.file(VKEY)?;
        let own = std::str::from_utf8(own).ok().and_then(|text| parse_keys(text).ok());
        let Some(own) = own else {
            self.wrong(VKEY, Wrong::Malformed);
            return None;
        };
        let mut keys = self.trust.keys.clone();
        if keys.is_empty() {
            // A policy from elsewhere may know the log.
            let logs = self.trust.policy.iter().flat_map(Policy::logs).map(|log| &log.key);
            keys.extend(logs.filter(|key| own.contains(key)).cloned());
        }
        let given = !keys.is_empty();
        // Who has only the first key knows nothing of the others.
        if keys.first().is_some_and(|first| own.first() != Some(first)) || keys.len() > 1 && keys != own {
            self.wrong(VKEY, Wrong::KeyDiffers);
        }
        let trusted = if given { keys } else { own };
        let (key, beside) = trusted.split_first()?;
        let note = self.file(CHECKPOINT)?.to_vec();
        let since = self.wrongs;
        let head = match checkpoint::verify(&note, key) {
            Ok(head) => head.into_inner(),
            Err(error) => {
                self.wrong(CHECKPOINT, error);
                return None;
            }
        };
        for key in beside {
            match checkpoint::verify(&note, key) {
                // It may be from before there was the key.
                Ok(_) | Err(CheckpointError::Note(NoteError::Unsigned)) => {}
                Err(error) => self.wrong(CHECKPOINT, error),
            }
        }
        if given {
            self.proved(since, "key", format!("the log's key is the one that was given, {}", key.name()));
        } else {
            self.unchecked(
                "key",
                "the key is the bundle's own, so all that this says is that the bundle agrees with itself: give the log's key",
            );
        }
        let text =
            format!("the tree head, over {} entries with the root {}, is signed by that key", head.size, head.root);
        self.proved(since, "checkpoint", text);
        Some(Log { key: key.clone(), note, head })
    }

    fn exchanges(&mut self, log: &Log, contents: &Contents) {
        let since = self.wrongs;
        for exchange in &contents.exchanges {
            self.checked.exchanges += 1;
            self.checked.open_exchanges += u64::from(exchange.response.is_none());
            let sides = [(Some(exchange.request), Kind::Request), (exchange.response, Kind::Response)];
            for (index, kind) in sides {
                let Some(index) = index else { continue };
                let Some(entry) = self.entry(index, log) else { continue };
                if entry.kind != kind || entry.exchange.as_ref() != Some(&exchange.exchange) {
                    self.wrong(entry_path(index), Wrong::EntryOfAnother);
                }
                self.content(index, &entry);
                self.entries.insert(index, entry);
            }
            if exchange.response.is_some_and(|response| response < exchange.request) {
                self.wrong(CONTENTS, Wrong::ResponseEarly);
            }
        }
        let (exchanges, open, parts) = (self.checked.exchanges, self.checked.open_exchanges, self.checked.parts);
        let text = format!(
            "{exchanges} exchanges, {open} of them without an answer, are in the log as they are here: each entry, byte for \
             byte, at its place"
        );
        self.proved(since, "exchanges", text);
        // Else `expired` says it.
        if self.lacking.is_empty() {
            self.proved(
                since,
                "content",
                format!("{parts} parts of content make the bodies that the entries commit to"),
            );
        }
    }

    /// Content that is not there had expired, as a later entry says, or is missing.
    fn expired(&mut self, since: u64, contents: &Contents) {
        let mut lacking = std::mem::take(&mut self.lacking);
        if lacking.is_empty() {
            return;
        }
        for (&at, said) in self.entries.iter().filter(|(_, said)| said.kind == Kind::Expire) {
            for &(first, last) in said.erase.iter().flat_map(|erase| &erase.entries) {
                // It says nothing of what comes later.
                let last = last.min(at.saturating_sub(1));
                while first <= last
                    && let Some((&entry, _)) = lacking.range(first..=last).next()
                {
                    lacking.remove(&entry);
                    self.checked.expired.insert(entry, at);
                }
            }
        }
        for part in lacking.into_values().flatten() {
            self.wrong(part_path(&part), Wrong::Missing);
        }
        let parts = self.checked.parts;
        let text = format!(
            "{parts} parts of content have the hashes that the entries name, and make the bodies that these commit to, but \
             for what had expired"
        );
        self.proved(since, "content", text);
        let mut ids_of: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for exchange in &contents.exchanges {
            let sides = [Some(exchange.request), exchange.response].into_iter().flatten();
            let said: BTreeSet<u64> = sides.filter_map(|side| self.checked.expired.get(&side).copied()).collect();
            said.into_iter().for_each(|at| ids_of.entry(at).or_default().push(&exchange.exchange));
        }
        for (at, ids) in ids_of {
            let text = format!(
                "content of {} {} is not here: entry {at} of the log says that it had expired; its hashes are in the entries",
                if ids.len() == 1 { "exchange" } else { "exchanges" },
                ids.join(", ")
            );
            self.proved(since, "expired", text);
        }
    }

    /// Sealed pieces are those that the entries name; what was opened of them is what the entries commit to.
    fn originals(&mut self, contents: &Contents) {
        let since = self.wrongs;
        let indices = contents.exchanges.iter().flat_map(|exchange| [Some(exchange.request), exchange.response]);
        let (mut pieces, mut opened) = (0, 0);
        for index in indices.flatten() {
            let Some(original) = self.entries.get(&index).and_then(|entry| entry.original.clone()) else { continue };
            for piece in original.sealed.into_iter().chain(self.sealed_elsewhere(index)) {
                let path = sealed_path(&piece);
                let Some(file) = self.files.get(&path) else { continue };
                // The same piece may be of several entries.
                if !self.expected.insert(path.clone()) {
                    continue;
                }
                pieces += 1;
                if age_payload(file).map(sha256) != Some(piece) {
                    self.wrong(path, Wrong::SealedOfAnother);
                }
            }
            let path = original_path(index);
            if let Some(bytes) = self.files.get(&path) {
                opened += 1;
                self.expected.insert(path.clone());
                let Some(salt) = self.named(&salt_path(index)) else { continue };
                let mut bytes_of_salt = [0; 32];
                let line = salt.strip_suffix(b"\n").unwrap_or_default();
                match hex::decode_to_slice(line, &mut bytes_of_salt) {
                    Err(_) => self.wrong(salt_path(index), Wrong::Malformed),
                    Ok(()) if commitment(&bytes_of_salt, bytes) != original.commitment => {
                        self.wrong(path, Wrong::OriginalOfAnother);
                    }
                    Ok(()) => {}
                }
            }
        }
        if pieces > 0 {
            let text = format!("{pieces} sealed pieces are those that the entries name; an officer's key opens them");
            self.proved(since, "sealed", text);
        }
        if opened > 0 {
            let text = format!("{opened} originals are, byte for byte, what the entries commit to");
            self.proved(since, "originals", text);
        } else {
            let text = "the exact bytes are not in the bundle: whoever has them checks them with their salt";
            self.unchecked("originals", text);
        }
    }

    /// The sealed pieces of an entry whose lists were too long for it.
    fn sealed_elsewhere(&self, index: u64) -> Vec<Hash> {
        let content = self.entries.get(&index).and_then(|entry| entry.content.as_ref());
        let manifest = content.and_then(|content| self.files.get(&part_path(content.manifest.as_ref()?)));
        manifest.and_then(|bytes| Manifest::parse(bytes).ok()).map_or_else(Vec::new, |manifest| manifest.sealed)
    }

    /// Keys, roles and approvals: what the acts of custody say, in the log's order, and which keys the exchanges used.
    fn rules(&mut self, log: &Log) {
        let since = self.wrongs;
        let mut state = custody::State::new(log.key.name());
        let mut found = Vec::new();
        for (&index, entry) in &self.entries {
            if let Some(said) = custody::Said::of(entry) {
                state.take(index, &said, &mut |wrong| found.push(wrong));
            }
        }
        for wrong in found {
            self.wrong(entry_path(wrong.entry), Wrong::Custody(wrong.fault));
        }
        let text = "every key that was used was in force, and of a role that may; every approval was signed, in time, for \
                    exactly the act that used it";
        self.proved(since, "rules", text);
    }

    fn custody(&mut self, log: &Log, contents: &Contents) {
        let since = self.wrongs;
        for &index in &contents.custody {
            self.checked.custody += 1;
            let Some(entry) = self.entry(index, log) else { continue };
            if !entry.kind.is_custody() {
                self.wrong(entry_path(index), Wrong::EntryOfAnother);
            }
            self.entries.insert(index, entry);
        }
        let files = self.files;
        if let Some(lines) = self.file(CUSTODY) {
            let entries =
                contents.custody.iter().filter_map(|index| Some((*index, &**files.get(&entry_path(*index))?)));
            if custody_lines(entries).as_bytes() != lines {
                self.wrong(CUSTODY, Wrong::Derived("its lines are not the custody entries"));
            }
        }
        let text = format!("{} custody entries are in the log, and custody.jsonl has them all", contents.custody.len());
        self.proved(since, "custody", text);
        let since = self.wrongs;
        if let Some(bytes) = self.file(GRAPH) {
            match graph::check(bytes, contents, &self.entries, files) {
                Ok(()) => self.proved(since, "graph", "the CASE/UCO graph says of custody what the entries say"),
                Err(why) => self.wrong(GRAPH, Wrong::Derived(why)),
            }
        }
    }

    /// An entry, once its proofs say that the checkpoint's tree has it at its index.
    fn entry(&mut self, index: u64, log: &Log) -> Option<Entry> {
        let (path, proof) = (entry_path(index), proof_path(index));
        if self.expected.contains(&path) {
            self.wrong(path, Wrong::Twice);
            return None;
        }
        let bytes = self.named(&path)?;
        let read = Proof::parse(self.named(&proof)?);
        match read.and_then(|read| read.verify(bytes, &log.key).map(|_| read)) {
            Err(error) => self.wrong(proof, error),
            Ok(read) if read.index != index => self.wrong(proof, Wrong::ProofOfAnother),
            Ok(read) if read.checkpoint.as_bytes() != log.note => self.wrong(proof, Wrong::ProofElsewhere),
            Ok(_) => {}
        }
        // The only entry of a log has none (`docs/format.md`, *COSE*).
        if log.head.size > 1 {
            let (path, before) = (receipt_path(index), self.wrongs);
            if let Some(receipt) = self.named(&path) {
                match cose::verify_inclusion(receipt, bytes, &log.key) {
                    Err(error) => self.wrong(path, error),
                    Ok(said) if (said.size, said.root, said.index) != (log.head.size, log.head.root, index) => {
                        self.wrong(path, Wrong::ReceiptElsewhere);
                    }
                    Ok(_) => {}
                }
            }
            self.receipts = (self.receipts.0 + 1, self.receipts.1 + u64::from(self.wrongs > before));
        }
        match Entry::parse(bytes) {
            Ok(entry) => Some(entry),
            Err(error) => {
                self.wrong(path, error);
                None
            }
        }
    }

    /// The content that an entry names is what the entry commits to, if it is there.
    fn content(&mut self, index: u64, entry: &Entry) {
        let Some(content) = &entry.content else { return };
        if content.omitted.is_some() {
            return;
        }
        let manifest;
        let parts = match &content.manifest {
            None => &content.parts,
            Some(hash) => {
                let path = part_path(hash);
                let Some(bytes) = self.part(hash) else { return };
                match Manifest::parse(bytes) {
                    Ok(read) => manifest = read.content,
                    Err(error) => return self.wrong(path, error),
                }
                &manifest
            }
        };
        let (mut bytes_of, mut lacking) = (BTreeMap::new(), Vec::new());
        for part in parts {
            if !self.files.contains_key(&part_path(&part.sha256)) {
                lacking.push(part.sha256);
                continue;
            }
            let Some(bytes) = self.part(&part.sha256) else { return };
            if bytes.len() as u64 != part.bytes {
                let problem = audit::Problem::PartLength { entry: index, part: part.sha256 };
                self.wrong(entry_path(index), Wrong::Body(problem));
            }
            bytes_of.insert(part.sha256, bytes);
        }
        if !lacking.is_empty() {
            self.lacking.insert(index, lacking);
            return;
        }
        let fetch = |part: &Part| Ok::<_, std::convert::Infallible>(bytes_of[&part.sha256]);
        let Ok(checked) = check_body(index, content, parts, fetch);
        if let Err(problem) = checked {
            self.wrong(entry_path(index), Wrong::Body(problem));
        }
    }

    fn part(&mut self, hash: &Hash) -> Option<&'a [u8]> {
        let path = part_path(hash);
        let bytes = self.file(&path)?;
        if sha256(bytes) != *hash {
            self.wrong(path, Wrong::Changed);
            return None;
        }
        self.checked.parts += u64::from(self.expected.insert(path));
        Some(bytes)
    }

    fn completeness(&mut self, log: &Log, contents: &Contents) {
        let since = self.wrongs;
        let Some(bytes) = self.file(COMPLETENESS) else { return };
        let report = match completeness::Completeness::parse(bytes) {
            Some(report) => report,
            None => return self.wrong(COMPLETENESS, Wrong::Malformed),
        };
        if let Err(contradiction) = report.check(log.head.size, contents, &self.entries) {
            self.wrong(COMPLETENESS, contradiction);
        }
        if self.wrongs == since {
            let (complete, text) = report.in_words();
            if complete { self.proved(since, "completeness", text) } else { self.unchecked("completeness", text) }
        }
    }

    /// The record of the export is in the log, the log is the bundle's, and it commits to this payload.
    fn export(&mut self, log: &Log) {
        let since = self.wrongs;
        let (Some(bytes), Some(proof), Some(hashes)) =
            (self.file(EXPORT_ENTRY), self.file(EXPORT_PROOF), self.file(EXPORT_CONSISTENCY))
        else {
            return;
        };
        let read = Proof::parse(proof).and_then(|proof| Ok((proof.verify(bytes, &log.key)?, proof.index)));
        let (later, index) = match read {
            Ok(read) => read,
            Err(error) => return self.wrong(EXPORT_PROOF, error),
        };
        let Some(hashes) = parse_hashes(hashes) else { return self.wrong(EXPORT_CONSISTENCY, Wrong::Malformed) };
        if let Err(error) = tree::verify_consistency(log.head.size, &log.head.root, later.size, &later.root, &hashes) {
            self.wrong(EXPORT_CONSISTENCY, error);
        }
        let entry = match Entry::parse(bytes) {
            Ok(entry) => entry,
            Err(error) => return self.wrong(EXPORT_ENTRY, error),
        };
        let manifest = self.files.get(MANIFEST).map(sha256);
        match &entry.export {
            Some(export) if entry.kind == Kind::Export && Some(export.manifest) == manifest => {
                let text = format!(
                    "the export is on the record: entry {index} of the log, of {}, commits to this payload",
                    entry.time
                );
                self.proved(since, "export", text);
                if self.scope == Scope::Whole {
                    self.page(export.page);
                }
                self.checked.export = Some(entry);
            }
            _ => self.wrong(EXPORT_ENTRY, Wrong::ExportOfAnother),
        }
    }
}

fn parse_manifest(bytes: &[u8]) -> Option<BTreeMap<String, Hash>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut listed = BTreeMap::new();
    for line in text.lines() {
        let (hash, path) = line.split_once("  ")?;
        if listed.insert(path.to_owned(), hash.parse().ok()?).is_some() {
            return None;
        }
    }
    Some(listed)
}

fn parse_hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    std::str::from_utf8(bytes).ok()?.lines().map(Hash::from_base64).collect()
}
