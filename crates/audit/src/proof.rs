//! A proof file: one entry, checked with the log's key and nothing else.

use std::collections::BTreeSet;

use serde::Serialize;
use tabellion_evidence::audit::Problem;
use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::entry::Entry;
use tabellion_evidence::note::{Note, NoteError, VerifierKey};
use tabellion_evidence::policy::Policy;
use tabellion_evidence::proof::Proof;
use tabellion_evidence::tree::{self, Hash};

use crate::report::{Statement, Witnessed};
use crate::{Options, keys_of};

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
    /// Whether they are enough; `None` when no witnesses were asked for.
    pub quorum: Option<bool>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What could not be checked.
    pub notes: Vec<String>,
    /// What is so, by signatures and hashes that were recomputed.
    pub proved: Vec<Statement>,
    /// What cannot be so: the problems.
    pub contradicted: Vec<Problem>,
    /// What neither was proved nor contradicted, and why.
    pub unchecked: Vec<Statement>,
}

impl ProofReport {
    /// Adds something that was proved, by a check that is made elsewhere.
    pub fn prove(&mut self, code: &'static str, text: impl Into<String>) {
        self.proved.push(Statement::new(code, text));
    }

    /// Adds something that could not be checked.
    pub fn leave_unchecked(&mut self, code: &'static str, text: impl Into<String>) {
        let text = text.into();
        self.notes.push(text.clone());
        self.unchecked.push(Statement::new(code, text));
    }

    /// Adds a contradiction: the proof is not verified.
    pub fn contradict(&mut self, problem: Problem) {
        self.verified = false;
        self.problems.push(problem.clone());
        self.contradicted.push(problem);
    }
}

/// Checks a proof file: with `options`' keys, witnesses and policy; what they
/// say of older checkpoints and ranges does not concern it. Without a key, only
/// that the entry leads to the root that the proof claims is checked, and that
/// is not enough to be verified.
pub fn verify_proof(bytes: &[u8], options: &Options) -> ProofReport {
    let mut report = ProofReport::default();
    let proof = Proof::parse(bytes);
    let checkpoint = proof.as_ref().ok().map(|proof| proof.checkpoint.as_bytes());
    let logs = options.policy.iter().flat_map(Policy::logs).map(|log| &log.key);
    let keys = match &options.vkey {
        Some(key) => [std::slice::from_ref(key), &options.vkeys_beside].concat(),
        None => keys_of(logs, checkpoint),
    };
    check(bytes, keys.first(), &mut report);
    if let Some(checkpoint) = checkpoint {
        for key in keys.iter().skip(1) {
            match checkpoint::verify(checkpoint, key) {
                Ok(_) | Err(checkpoint::CheckpointError::Note(NoteError::Unsigned)) => {}
                Err(error) => report.problems.push(Problem::Checkpoint { file: PROOF.to_owned(), error }),
            }
        }
        let (witnesses, quorum, problem) = self::witnesses(checkpoint, PROOF, options);
        report.cosignatures = witnesses;
        report.quorum = quorum;
        report.problems.extend(problem);
    }
    report.verified = report.problems.is_empty();
    report.contradicted.clone_from(&report.problems);
    if let (true, Some(origin), Some(size), Some(index)) =
        (report.verified, report.origin.clone(), report.size, report.index)
    {
        report.prove("signature", format!("the log's key signed a tree of {size} entries in the name of {origin}"));
        report.prove("inclusion", format!("the entry is number {index} of that tree, and is well-formed"));
        if !report.cosignatures.is_empty() {
            let count = report.cosignatures.len();
            report.prove("cosigned", format!("{count} of the given witnesses cosigned it"));
        }
    }
    if report.quorum.is_none() {
        let text = "no witnesses were given, so only the log itself vouches for its checkpoint";
        report.leave_unchecked("witnesses", text);
    }
    report.leave_unchecked("content", "a proof holds an entry and not its content, which was not checked");
    report.leave_unchecked("time", "nobody else says when this checkpoint was signed: it has no timestamps");
    report
}

/// Who cosigned a checkpoint, whether that is enough, and what is wrong.
pub(crate) fn witnesses(
    checkpoint: &[u8],
    file: &str,
    options: &Options,
) -> (Vec<Witnessed>, Option<bool>, Option<Problem>) {
    let file = || file.to_owned();
    let policy = options.policy.clone().or_else(|| Policy::threshold(&options.witnesses, options.quorum));
    let Some(policy) = policy else {
        let problem = Problem::Quorum { file: file(), have: 0, need: options.quorum };
        return (Vec::new(), Some(false), Some(problem));
    };
    if policy.witnesses().is_empty() && !policy.wants_cosignatures() {
        return (Vec::new(), None, None);
    }
    match policy.decide(checkpoint) {
        Ok(decision) => {
            // Keys of one name are one witness's.
            let names: BTreeSet<&str> = decision.witnesses.iter().map(|(name, _)| &**name).collect();
            let have = names.len();
            let problem = match (decision.quorum, &options.policy) {
                (true, _) => None,
                (false, Some(_)) => Some(Problem::Policy { file: file(), have }),
                (false, None) => Some(Problem::Quorum { file: file(), have, need: options.quorum }),
            };
            let witnesses = decision.witnesses.into_iter().map(|(name, one)| Witnessed::new(name, &one)).collect();
            (witnesses, Some(decision.quorum), problem)
        }
        Err(error) => (Vec::new(), Some(false), Some(Problem::Cosignature { file: file(), error })),
    }
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
