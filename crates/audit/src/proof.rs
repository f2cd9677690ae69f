//! A proof file: one entry, checked with the log's key and nothing else.

use serde::Serialize;
use tabellion_evidence::audit::Problem;
use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::entry::Entry;
use tabellion_evidence::note::{Note, VerifierKey};
use tabellion_evidence::proof::Proof;
use tabellion_evidence::tree::{self, Hash};

use crate::report::Witnessed;

/// What stands in the place of the checkpoint's file name.
const PROOF: &str = "the proof's checkpoint";

/// The outcome of checking a proof file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProofReport {
    /// Nothing is wrong. What was not looked at is in `notes`.
    pub verified: bool,
    /// The log's name.
    pub origin: Option<String>,
    /// How many entries the log had.
    pub size: Option<u64>,
    /// Its root.
    pub root: Option<Hash>,
    /// The position of the entry.
    pub index: Option<u64>,
    /// The entry's kind.
    pub kind: Option<String>,
    /// The entry's id.
    pub id: Option<String>,
    /// The exchange that it belongs to.
    pub exchange: Option<String>,
    /// When, by the log.
    pub time: Option<String>,
    /// The entry itself.
    #[serde(skip)]
    pub entry: Option<Vec<u8>>,
    /// Who else vouches for the checkpoint.
    pub cosignatures: Vec<Witnessed>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What could not be checked.
    pub notes: Vec<String>,
}

/// Checks a proof file. Without a key, only that the entry leads to the root
/// that the proof claims is checked, and that is not enough to be verified.
pub fn verify_proof(bytes: &[u8], vkey: Option<&VerifierKey>, witnesses: &[VerifierKey], quorum: usize) -> ProofReport {
    let mut report = ProofReport::default();
    check(bytes, vkey, &mut report);
    if let Ok(proof) = Proof::parse(bytes) {
        let file = || PROOF.to_owned();
        match checkpoint::cosignatures(proof.checkpoint.as_bytes(), witnesses) {
            Ok(cosignatures) => report.cosignatures = cosignatures.into_iter().map(Witnessed::from).collect(),
            Err(error) => report.problems.push(Problem::Cosignature { file: file(), error }),
        }
        let have = report.cosignatures.len();
        if have < quorum {
            report.problems.push(Problem::Quorum { file: file(), have, need: quorum });
        }
    }
    if witnesses.is_empty() {
        report.notes.push("no witnesses were given, so only the log itself vouches for its checkpoint".to_owned());
    }
    report.notes.push("a proof holds an entry and not its content, which was not checked".to_owned());
    report.notes.push("nobody else says when this checkpoint was signed: it has no timestamps".to_owned());
    report.verified = report.problems.is_empty();
    report
}

fn check(bytes: &[u8], vkey: Option<&VerifierKey>, report: &mut ProofReport) {
    let proof = match Proof::parse(bytes) {
        Ok(proof) => proof,
        Err(error) => return report.problems.push(Problem::Proof { error }),
    };
    report.index = Some(proof.index);
    let Some(entry) = &proof.extra else { return report.problems.push(Problem::ProofEntry) };
    let claimed = match vkey {
        Some(key) => proof.verify(entry, key).map(|checkpoint| Some(checkpoint.into_inner())),
        None => {
            report.problems.push(Problem::KeyAbsent);
            without_key(&proof, entry)
        }
    };
    match claimed {
        Ok(Some(checkpoint)) => {
            report.origin = Some(checkpoint.origin);
            report.size = Some(checkpoint.size);
            report.root = Some(checkpoint.root);
        }
        Ok(None) => {}
        Err(error) => return report.problems.push(Problem::Proof { error }),
    }
    match Entry::parse(entry) {
        Ok(said) => {
            report.kind = Some(said.kind.as_str().to_owned());
            report.id = Some(said.id);
            report.exchange = said.exchange;
            report.time = Some(said.time);
            report.entry = Some(entry.clone());
        }
        Err(error) => {
            report.problems.push(Problem::Entry { file: "the proof".to_owned(), entry: proof.index, error });
        }
    }
}

fn without_key(proof: &Proof, entry: &[u8]) -> Result<Option<Checkpoint>, tabellion_evidence::proof::ProofFileError> {
    let note = Note::parse(proof.checkpoint.as_bytes()).map_err(checkpoint::CheckpointError::from)?;
    let claimed = Checkpoint::parse_text(note.text())?;
    tree::verify_inclusion(proof.index, claimed.size, &tree::leaf_hash(entry), &proof.hashes, &claimed.root)?;
    Ok(Some(claimed))
}
