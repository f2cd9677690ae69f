//! What a bundle has to say of its tree: who cosigned its head, which older heads it extends, and when others saw it.

use std::str::FromStr as _;
use std::time::Duration;

use super::{
    CHECKPOINT, Check, Contents, Log, POLICY, ROOTS, Wrong, anchor_path, older_path, older_receipt_path, tree_path,
};
use crate::anchor::{self, Bounds, Kind, Name, TOLERANCE};
use crate::checkpoint::{self, Checkpoint};
use crate::cose;
use crate::entry::Entry;
use crate::ots::{Attestation, BLOCK_ACCURACY, OtsProof};
use crate::policy::Policy;
use crate::proof::HASHES_MAX;
use crate::time::Time;
use crate::timestamp::{ChainError, Expected, Roots, TimestampError, Token};
use crate::tree::{self, Hash, ProofError, sha256};

/// How the tree of so many entries, of which the file's name says how many, became the bundle's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeProof {
    /// The root that it had.
    pub root: Hash,
    /// The consistency proof (RFC 9162, section 2.1.4).
    pub hashes: Vec<Hash>,
}

impl TreeProof {
    /// The file: the root, and then the proof, a hash a line in base64.
    pub fn to_text(&self) -> String {
        std::iter::once(&self.root).chain(&self.hashes).map(|hash| hash.to_base64() + "\n").collect()
    }

    /// Reads what [`TreeProof::to_text`] writes. Says nothing about whether it is true.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut hashes = super::parse_hashes(bytes)?;
        if hashes.is_empty() || hashes.len() > HASHES_MAX + 1 {
            return None;
        }
        Some(Self { root: hashes.remove(0), hashes })
    }

    fn verify(&self, size: u64, head: &Checkpoint) -> Result<(), ProofError> {
        tree::verify_consistency(size, &self.root, head.size, &head.root, &self.hashes)
    }
}

/// An anchor that verified.
struct Sound {
    path: String,
    hash: String,
    earliest: Time,
}

impl Check<'_> {
    /// The root that the tree had at a size, once it is proved that the bundle's tree extends it.
    fn tree_of(&mut self, size: u64, log: &Log) -> Option<Hash> {
        let path = tree_path(size);
        let Some(read) = TreeProof::parse(self.named(&path)?) else {
            self.wrong(path, Wrong::Malformed);
            return None;
        };
        match read.verify(size, &log.head) {
            Ok(()) => Some(read.root),
            Err(error) => {
                self.wrong(path, error);
                None
            }
        }
    }

    /// Whether those have cosigned whom the policy asks for: the one that was given, or the bundle's own.
    pub(super) fn cosignatures(&mut self, log: &Log) {
        let since = self.wrongs;
        let Some(bytes) = self.file(POLICY) else { return };
        let own = match Policy::parse(bytes) {
            Ok(policy) => policy,
            Err(error) => return self.wrong(POLICY, error),
        };
        let trust = self.trust;
        let (policy, whose) = match &trust.policy {
            Some(given) => (given, "the policy that was given"),
            None => (&own, "the bundle's own policy"),
        };
        for policy in [&own, policy] {
            if !policy.logs().is_empty() && policy.logs().iter().all(|known| known.key != log.key) {
                return self.wrong(POLICY, Wrong::PolicyOfAnother);
            }
        }
        let decision = match policy.decide(&log.note) {
            Ok(decision) => decision,
            Err(error) => return self.wrong(CHECKPOINT, error),
        };
        if !decision.quorum {
            return self.wrong(CHECKPOINT, Wrong::Quorum);
        }
        let said: Vec<String> = decision
            .witnesses
            .iter()
            .map(|(name, one)| format!("{name} at {}", Time::from_unix(Duration::from_secs(one.time))))
            .collect();
        if !policy.wants_cosignatures() {
            let text = format!(
                "{whose} asks for no cosignature, so that there is no other tree under this key rests on the log's word"
            );
            self.unchecked("cosignatures", text);
        } else if trust.policy.is_none() {
            let text = format!(
                "the tree head is cosigned by {}, which {whose} asks for: give your own to rely on it",
                said.join(", ")
            );
            self.proved(since, "cosignatures", text);
        } else {
            self.proved(
                since,
                "cosignatures",
                format!("the tree head is cosigned by {}, which is what {whose} asks for", said.join(", ")),
            );
        }
    }

    /// The tree extends every older one that the log signed.
    pub(super) fn older(&mut self, log: &Log, contents: &Contents) {
        for &size in &contents.older {
            let since = self.wrongs;
            let path = older_path(size);
            if self.expected.contains(&path) {
                self.wrong(path, Wrong::Twice);
                continue;
            }
            let Some(note) = self.named(&path) else { continue };
            let root = self.tree_of(size, log);
            let older = match checkpoint::verify(note, &log.key) {
                Ok(older) => older,
                Err(error) => {
                    self.wrong(path, error);
                    continue;
                }
            };
            if older.size != size || root.is_some_and(|root| root != older.root) {
                self.wrong(path, Wrong::OlderOfAnother);
                continue;
            }
            // Of the empty tree, and of the same one, there is none.
            if size > 0 && size < log.head.size {
                let path = older_receipt_path(size);
                if let Some(receipt) = self.named(&path) {
                    match cose::verify_consistency(receipt, &older, &log.key) {
                        Err(error) => self.wrong(path, error),
                        Ok(newer) if (newer.size, newer.root) != (log.head.size, log.head.root) => {
                            self.wrong(path, Wrong::ReceiptElsewhere);
                        }
                        Ok(_) => {}
                    }
                }
            }
            let text = format!("the log still has all {size} entries that it had at an older checkpoint, unchanged");
            self.proved(since, "older", text);
        }
    }

    /// When others saw the tree, or an older one that it extends.
    pub(super) fn anchors(&mut self, log: &Log, contents: &Contents) {
        if contents.anchors.is_empty() {
            let text = "there is no anchor, so the times are those of the log's own clock, and of the witnesses";
            return self.unchecked("anchors", text);
        }
        let own = match self.files.get(ROOTS) {
            None => None,
            Some(bytes) => {
                self.expected.insert(ROOTS.to_owned());
                match Roots::parse(bytes) {
                    Ok(roots) => Some(roots),
                    Err(_) => return self.wrong(ROOTS, Wrong::Roots),
                }
            }
        };
        let mut sound = Vec::new();
        for file in &contents.anchors {
            let path = anchor_path(file);
            let Some(name) = Name::parse(file) else {
                self.wrong(path, Wrong::Malformed);
                continue;
            };
            if self.expected.contains(&path) {
                self.wrong(path, Wrong::Twice);
                continue;
            }
            let Some(bytes) = self.named(&path) else { continue };
            let Some(root) = self.tree_of(name.size, log) else { continue };
            let message = anchor::message(&Checkpoint::new(&*log.head.origin, name.size, root));
            match name.kind {
                Kind::Rfc3161 => self.token(name, path, bytes, &message, own.as_ref(), &mut sound),
                Kind::OpenTimestamps | Kind::Pending => self.ots(name, path, bytes, &message, &mut sound),
            }
        }
        self.declared(&sound);
    }

    fn token(
        &mut self,
        name: Name,
        path: String,
        bytes: &[u8],
        message: &str,
        own: Option<&Roots>,
        sound: &mut Vec<Sound>,
    ) {
        let token = match Token::parse(bytes) {
            Ok(token) => token,
            Err(error) => return self.wrong(path, error),
        };
        let given = self.trust.tsa_roots.as_ref();
        let Some(roots) = given.or(own) else {
            if !token.is_about(message.as_bytes()) {
                return self.wrong(path, TimestampError::Imprint);
            }
            return self.unchecked("anchors", format!("{path}: no roots were given, so nobody knows whose word it is"));
        };
        match token.verify(message.as_bytes(), roots, &Expected::default()) {
            Ok(said) => {
                let whose = if given.is_some() { "one that was given" } else { "the bundle's own" };
                let by = format!("{}, whose certificate leads to {} ({whose})", said.authority, said.root);
                self.sound(name, path, bytes, (said.time, said.accuracy), &by, sound);
            }
            // Another authority's word may be as good: it is the verifier who does not know it.
            Err(error @ TimestampError::Chain(ChainError::Issuer)) if given.is_some() => {
                if !token.is_about(message.as_bytes()) {
                    return self.wrong(path, TimestampError::Imprint);
                }
                self.unchecked("anchors", format!("{path}: {error}"));
            }
            Err(error) => self.wrong(path, error),
        }
    }

    fn ots(&mut self, name: Name, path: String, bytes: &[u8], message: &str, sound: &mut Vec<Sound>) {
        let attested = OtsProof::parse(bytes).and_then(|proof| proof.attestations(message.as_bytes()));
        let attested = match attested {
            Ok(attested) => attested,
            Err(error) => return self.wrong(path, error),
        };
        let mut why = "it is a calendar's promise, which proves nothing yet".to_owned();
        for one in attested {
            let Attestation::Bitcoin { height } = one.attestation else { continue };
            let Some(header) = self.trust.headers.iter().find(|header| header.merkle_root() == one.message) else {
                why = format!("the header of Bitcoin block {height} was not given");
                continue;
            };
            match header.attest(&one.message, self.trust.work_bits_min) {
                Ok(block) => {
                    let by = format!("Bitcoin block {height}, {}", block.block);
                    return self.sound(name, path, bytes, (block.time, BLOCK_ACCURACY), &by, sound);
                }
                Err(error) => return self.wrong(path, error),
            }
        }
        self.unchecked("anchors", format!("{path}: {why}"));
    }

    fn sound(
        &mut self,
        name: Name,
        path: String,
        bytes: &[u8],
        (time, accuracy): (Time, Duration),
        by: &str,
        sound: &mut Vec<Sound>,
    ) {
        let before = self.entries.range(..name.size);
        let newest_entry = before.filter_map(|(_, entry)| Time::parse_rfc3339(&entry.time)).max();
        let bounds = Bounds { asked: None, newest_entry, tolerance: TOLERANCE };
        if let Err(error) = bounds.check(time, accuracy) {
            return self.wrong(path, error);
        }
        let since = self.wrongs;
        let (size, latest) = (name.size, time.plus(accuracy));
        self.proved(
            since,
            "existed",
            format!("the first {size} entries existed no later than {latest}, by {by} ({path})"),
        );
        sound.push(Sound { path, hash: sha256(bytes).to_string(), earliest: time.minus(accuracy) });
    }

    /// The entries that hold an anchor's hash took their places later than it was made.
    fn declared(&mut self, sound: &[Sound]) {
        let hash_of = |entry: &Entry| entry.tags.get(anchor::ENTRY_SHA256).and_then(|hash| Hash::from_str(hash).ok());
        let mut found = Vec::new();
        for (index, entry) in self.entries.iter().filter(|(_, entry)| entry.kind.as_str() == anchor::ENTRY_KIND) {
            let Some(hash) = hash_of(entry).map(|hash| hash.to_string()) else { continue };
            found.extend(sound.iter().filter(|one| one.hash == hash).map(|one| (*index, one)));
        }
        for (index, one) in found {
            let text = format!("entries from {index} on took their places not before {} ({})", one.earliest, one.path);
            let since = self.wrongs;
            self.proved(since, "not-before", text);
        }
    }
}
