//! Bundles: what an examiner receives, checkable without the log. (`docs/format.md`, section *The bundle*.)
//!
//! A bundle is a bag (RFC 8493): payload below `data/`, and beside it what holds it together. The payload has exact
//! entries, a proof for each against one checkpoint, and the content that they name. The record of the export, an
//! entry of the same log that was written before the bundle was handed out, commits to the payload's manifest: so
//! whoever takes something out of the payload, or puts something in, and makes the manifests anew, is found out.
//!
//! Whom it trusts: the verifier key that the caller passes. With the one in the bundle, all that a success means is
//! that the bundle agrees with itself.
//!
//! What it cannot show: that nothing else of the selection is in the log. For that the log itself has to be asked.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::audit::{self, check_body};
use crate::checkpoint::{self, Checkpoint, CheckpointError};
use crate::entry::{Entry, EntryError, Kind, Manifest, Part};
use crate::note::{NoteError, VerifierKey, parse_keys};
use crate::proof::{Proof, ProofFileError};
use crate::tree::{self, Hash, ProofError, sha256};

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

/// A part of the redacted content.
pub fn part_path(part: &Hash) -> String {
    format!("data/content/{part}")
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
    /// The log of the export's record is not an extension of the bundle's.
    #[error("{0}")]
    Consistency(#[from] ProofError),
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
        }
    }
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
    /// The record of the export, once it was proved.
    pub export: Option<Entry>,
    /// What is wrong, the first thousand of it. Empty: verified.
    pub problems: Vec<Problem>,
}

/// Checks a bundle, with keys of the log that the caller has from elsewhere, the one that signs every checkpoint first,
/// or without any.
pub fn verify(files: &Files, keys: &[VerifierKey]) -> Checked {
    let mut check = Check { files, checked: Checked::default() };
    check.manifests();
    check.payload(keys);
    check.checked
}

struct Check<'a> {
    files: &'a Files,
    checked: Checked,
}

impl Check<'_> {
    fn wrong(&mut self, file: impl Into<String>, wrong: impl Into<Wrong>) {
        if self.checked.problems.len() < PROBLEMS_MAX {
            self.checked.problems.push(Problem { file: file.into(), wrong: wrong.into() });
        }
    }

    fn file(&mut self, path: &str) -> Option<&[u8]> {
        if !self.files.contains_key(path) {
            self.wrong(path, Wrong::Missing);
        }
        self.files.get(path).map(Vec::as_slice)
    }

    /// Each file is in the one manifest in which it must be, and is what it says.
    fn manifests(&mut self) {
        let files = self.files;
        if files.get("bagit.txt").is_none_or(|bytes| bytes != BAGIT.as_bytes()) {
            self.wrong("bagit.txt", if files.contains_key("bagit.txt") { Wrong::Malformed } else { Wrong::Missing });
        }
        for (name, payload) in [(MANIFEST, true), (TAG_MANIFEST, false)] {
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
    }

    fn payload(&mut self, keys: &[VerifierKey]) {
        let Some(own) = self.file(VKEY) else { return };
        let own = std::str::from_utf8(own).ok().and_then(|text| parse_keys(text).ok());
        let Some(own) = own else { return self.wrong(VKEY, Wrong::Malformed) };
        // Who has only the first key knows nothing of the others.
        if keys.first().is_some_and(|first| own.first() != Some(first)) || keys.len() > 1 && keys != own {
            self.wrong(VKEY, Wrong::KeyDiffers);
        }
        let trusted = if keys.is_empty() { &own } else { keys };
        let Some((key, beside)) = trusted.split_first() else { return };
        let Some(note) = self.file(CHECKPOINT).map(<[u8]>::to_vec) else { return };
        let head = match checkpoint::verify(&note, key) {
            Ok(head) => head.into_inner(),
            Err(error) => return self.wrong(CHECKPOINT, error),
        };
        for key in beside {
            match checkpoint::verify(&note, key) {
                // It may be from before there was the key.
                Ok(_) | Err(CheckpointError::Note(NoteError::Unsigned)) => {}
                Err(error) => self.wrong(CHECKPOINT, error),
            }
        }
        let Some(bytes) = self.file(CONTENTS) else { return };
        if bytes.len() >= CONTENTS_BYTES_MAX {
            return self.wrong(CONTENTS, Wrong::Malformed);
        }
        let contents = match serde_json::from_slice::<Contents>(bytes) {
            Ok(contents) if contents.v == VERSION => contents,
            _ => return self.wrong(CONTENTS, Wrong::Malformed),
        };
        self.checked.selection.clone_from(&contents.selection);
        let mut expected = BTreeSet::new();
        let mut indices = BTreeSet::new();
        for exchange in &contents.exchanges {
            self.checked.exchanges += 1;
            self.checked.open_exchanges += u64::from(exchange.response.is_none());
            let sides = [(Some(exchange.request), Kind::Request), (exchange.response, Kind::Response)];
            for (index, kind) in sides {
                let Some(index) = index else { continue };
                if !indices.insert(index) {
                    self.wrong(entry_path(index), Wrong::Twice);
                    continue;
                }
                let Some(entry) = self.entry(index, &note, key, &mut expected) else { continue };
                if entry.kind != kind || entry.exchange.as_ref() != Some(&exchange.exchange) {
                    self.wrong(entry_path(index), Wrong::EntryOfAnother);
                }
                self.content(index, &entry, &mut expected);
            }
            if exchange.response.is_some_and(|response| response < exchange.request) {
                self.wrong(CONTENTS, Wrong::ResponseEarly);
            }
        }
        for &index in &contents.custody {
            self.checked.custody += 1;
            if !indices.insert(index) {
                self.wrong(entry_path(index), Wrong::Twice);
                continue;
            }
            let Some(entry) = self.entry(index, &note, key, &mut expected) else { continue };
            if !entry.kind.as_str().starts_with("custody.") {
                self.wrong(entry_path(index), Wrong::EntryOfAnother);
            }
        }
        let files = self.files;
        for path in files.keys() {
            let proven =
                ["data/entries/", "data/proofs/", "data/content/"].iter().any(|prefix| path.starts_with(prefix));
            if proven && !expected.contains(path) {
                self.wrong(path, Wrong::Unexpected);
            }
        }
        self.export(&head, key);
        self.checked.checkpoint = Some(head);
    }

    /// An entry, once its proof says that the checkpoint's tree has it at its index.
    fn entry(&mut self, index: u64, note: &[u8], key: &VerifierKey, expected: &mut BTreeSet<String>) -> Option<Entry> {
        let (path, proof) = (entry_path(index), proof_path(index));
        expected.extend([path.clone(), proof.clone()]);
        let bytes = self.file(&path)?.to_vec();
        let read = Proof::parse(self.file(&proof)?);
        match read.and_then(|read| read.verify(&bytes, key).map(|_| read)) {
            Err(error) => self.wrong(proof, error),
            Ok(read) if read.index != index => self.wrong(proof, Wrong::ProofOfAnother),
            Ok(read) if read.checkpoint.as_bytes() != note => self.wrong(proof, Wrong::ProofElsewhere),
            Ok(_) => {}
        }
        match Entry::parse(&bytes) {
            Ok(entry) => Some(entry),
            Err(error) => {
                self.wrong(path, error);
                None
            }
        }
    }

    /// The content that an entry names is there, and is what the entry commits to.
    fn content(&mut self, index: u64, entry: &Entry, expected: &mut BTreeSet<String>) {
        let Some(content) = &entry.content else { return };
        if content.omitted.is_some() {
            return;
        }
        let manifest;
        let parts = match &content.manifest {
            None => &content.parts,
            Some(hash) => {
                let path = part_path(hash);
                let Some(bytes) = self.part(hash, expected) else { return };
                match Manifest::parse(&bytes) {
                    Ok(read) => manifest = read.content,
                    Err(error) => return self.wrong(path, error),
                }
                &manifest
            }
        };
        let mut bytes_of = BTreeMap::new();
        for part in parts {
            let Some(bytes) = self.part(&part.sha256, expected) else { return };
            if bytes.len() as u64 != part.bytes {
                let problem = audit::Problem::PartLength { entry: index, part: part.sha256 };
                self.wrong(entry_path(index), Wrong::Body(problem));
            }
            bytes_of.insert(part.sha256, bytes);
        }
        let fetch = |part: &Part| Ok::<_, std::convert::Infallible>(&bytes_of[&part.sha256]);
        let Ok(checked) = check_body(index, content, parts, fetch);
        if let Err(problem) = checked {
            self.wrong(entry_path(index), Wrong::Body(problem));
        }
    }

    fn part(&mut self, hash: &Hash, expected: &mut BTreeSet<String>) -> Option<Vec<u8>> {
        let path = part_path(hash);
        let bytes = self.file(&path)?.to_vec();
        if sha256(&bytes) != *hash {
            self.wrong(path, Wrong::Changed);
            return None;
        }
        self.checked.parts += u64::from(expected.insert(path));
        Some(bytes)
    }

    /// The record of the export is in the log, the log is the bundle's, and it commits to this payload.
    fn export(&mut self, head: &Checkpoint, key: &VerifierKey) {
        let (Some(bytes), Some(proof), Some(hashes)) = (
            self.file(EXPORT_ENTRY).map(<[u8]>::to_vec),
            self.file(EXPORT_PROOF).map(<[u8]>::to_vec),
            self.file(EXPORT_CONSISTENCY).map(<[u8]>::to_vec),
        ) else {
            return;
        };
        let later = match Proof::parse(&proof).and_then(|proof| proof.verify(&bytes, key)) {
            Ok(later) => later.into_inner(),
            Err(error) => return self.wrong(EXPORT_PROOF, error),
        };
        let Some(hashes) = parse_hashes(&hashes) else { return self.wrong(EXPORT_CONSISTENCY, Wrong::Malformed) };
        if let Err(error) = tree::verify_consistency(head.size, &head.root, later.size, &later.root, &hashes) {
            self.wrong(EXPORT_CONSISTENCY, error);
        }
        let entry = match Entry::parse(&bytes) {
            Ok(entry) => entry,
            Err(error) => return self.wrong(EXPORT_ENTRY, error),
        };
        let manifest = self.files.get(MANIFEST).map(sha256);
        match &entry.export {
            Some(export) if entry.kind == Kind::Export && Some(export.manifest) == manifest => {
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
