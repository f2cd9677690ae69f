//! What logs and witnesses say to each other, and how a witness decides. (C2SP
//! `tlog-witness`.)
//!
//! [`judge`] is the whole of a witness's conscience: whoever runs it has to keep
//! what it accepted, before the cosignature leaves the house, and must not
//! judge two submissions for one log at a time.

use crate::Verified;
use crate::checkpoint::{self, Checkpoint, CheckpointError, Cosignature};
use crate::note::{NOTE_BYTES_MAX, Note, NoteError, VerifierKey};
use crate::tile::parse_decimal;
use crate::tree::{self, Hash};

/// The most hashes that a submission may have.
pub const HASHES_MAX: usize = 63;

/// The longest submission that is read.
pub const SUBMISSION_BYTES_MAX: usize = 64 + HASHES_MAX * 45 + NOTE_BYTES_MAX;

/// The body of an `add-checkpoint` request, read, not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The size that the log believes to be the witness's newest.
    pub old: u64,
    /// From that size to the checkpoint's.
    pub proof: Vec<Hash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

/// Why a witness does not cosign, in the order in which it finds out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// 400: the bytes are not a submission.
    #[error("the request is malformed")]
    Malformed,
    /// 404: this witness does not know the log.
    #[error("the log is unknown")]
    Unknown,
    /// 403: no key of the log signed it, or a signature by one is bad.
    #[error("the checkpoint is not signed by the log")]
    Unsigned,
    /// 400: the old size is larger than the checkpoint's.
    #[error("the old size is larger than the checkpoint's")]
    OldSize,
    /// 409: the old size is not that of the newest cosigned checkpoint, which
    /// is this.
    #[error("the old size is not that of the newest checkpoint, {size}")]
    Conflict {
        /// The size of the newest cosigned checkpoint.
        size: u64,
    },
    /// 422: the checkpoint does not extend the newest one, as far as the proof
    /// shows.
    #[error("the checkpoint is not shown to extend the newest one")]
    Inconsistent,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::OldSize => 400,
            Self::Unsigned => 403,
            Self::Unknown => 404,
            Self::Conflict { .. } => 409,
            Self::Inconsistent => 422,
        }
    }
}

impl Submission {
    /// Reads a request's body.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        const BAD: Refusal = Refusal::Malformed;
        if bytes.len() > SUBMISSION_BYTES_MAX {
            return Err(BAD);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| BAD)?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(BAD)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(parse_decimal).ok_or(BAD)?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == HASHES_MAX {
                return Err(BAD);
            }
            proof.push(Hash::from_base64(line).ok_or(BAD)?);
        }
        Ok(Self { old, proof, checkpoint: checkpoint.to_owned() })
    }

    /// The request's body.
    pub fn to_text(&self) -> String {
        let mut text = format!("old {}\n", self.old);
        for hash in &self.proof {
            text.push_str(&hash.to_base64());
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }
}

/// A submission whose checkpoint the log has signed, whatever else is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    submission: Submission,
    checkpoint: Verified<Checkpoint>,
}

/// Checks who signed a submission's checkpoint. `keys` gives the keys that are
/// trusted for an origin; none, if it is unknown.
pub fn authenticate<'k>(
    submission: Submission,
    keys: impl FnOnce(&str) -> &'k [VerifierKey],
) -> Result<Signed, Refusal> {
    let note = Note::parse(submission.checkpoint.as_bytes()).map_err(|_| Refusal::Malformed)?;
    let head = Checkpoint::parse_text(note.text()).map_err(|_| Refusal::Malformed)?;
    let keys = keys(&head.origin);
    if keys.is_empty() {
        return Err(Refusal::Unknown);
    }
    if head.origin.len() > usize::from(u8::MAX) {
        // Some cosignatures cannot hold it (`tlog-cosignature`).
        return Err(Refusal::Unknown);
    }
    // One good signature is enough, and a bad one by any of these too much.
    note.verify(keys).map_err(|_| Refusal::Unsigned)?;
    Ok(Signed { submission, checkpoint: Verified::new(head) })
}

impl Signed {
    /// What the log signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The submission.
    pub fn submission(&self) -> &Submission {
        &self.submission
    }

    /// The log's part of the note: the text, and the signatures by these keys.
    pub fn note_by(&self, keys: &[VerifierKey]) -> String {
        let note = Note::parse(self.submission.checkpoint.as_bytes()).expect("it was read before");
        let mut text = format!("{}\n", note.text());
        let by = |key: &VerifierKey, name: &str, id| key.name() == name && key.id() == id;
        for signature in note.signatures() {
            if keys.iter().any(|key| by(key, &signature.name, signature.id)) {
                text.push_str(&signature.to_line());
            }
        }
        text
    }
}

/// Whether a witness whose newest checkpoint of this log is `last` may cosign.
pub fn judge(signed: &Signed, last: Option<&Checkpoint>) -> Result<(), Refusal> {
    let (submission, head) = (&signed.submission, &signed.checkpoint);
    if submission.old > head.size {
        return Err(Refusal::OldSize);
    }
    let (size, root) = last.map_or_else(|| (0, tree::empty_root()), |last| (last.size, last.root));
    if submission.old != size {
        return Err(Refusal::Conflict { size });
    }
    tree::verify_consistency(size, &root, head.size, &head.root, &submission.proof).map_err(|_| Refusal::Inconsistent)
}

/// How far a submission shows that its log has forked.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Fork {
    /// Two signed checkpoints contradict each other, by themselves or by the
    /// proof: nobody but a holder of the log's key can have made this.
    Proved,
    /// A signed checkpoint came with a proof that does not hold. Anybody can
    /// make that of an honest checkpoint; it is worth asking the log.
    Suspected,
}

/// What a submission says beside a checkpoint of the same log that was signed
/// too; `None` when nothing is wrong with the two.
pub fn fork(signed: &Signed, last: &Checkpoint) -> Option<Fork> {
    let (submission, head) = (&signed.submission, &signed.checkpoint);
    if head.size == last.size {
        return (head.root != last.root).then_some(Fork::Proved);
    }
    if submission.old != last.size || head.size < last.size {
        return None;
    }
    match tree::verify_consistency(last.size, &last.root, head.size, &head.root, &submission.proof) {
        Ok(()) => None,
        // The proof leads to the new root, from another old one.
        Err(_) => match tree::proven_root(last.size, head.size, &head.root, &submission.proof) {
            Some(old) if old != last.root => Some(Fork::Proved),
            _ => Some(Fork::Suspected),
        },
    }
}

/// Takes a witness's answer: of its signature lines those by `keys`, checked
/// against the checkpoint that was submitted. Others are ignored; a bad one by
/// one of the keys refuses the answer.
pub fn take_cosignatures(
    checkpoint: &str,
    answer: &[u8],
    keys: &[VerifierKey],
) -> Result<Vec<(Cosignature, String)>, CheckpointError> {
    let submitted = Note::parse(checkpoint.as_bytes())?;
    let answer = std::str::from_utf8(answer).map_err(|_| NoteError::Malformed)?;
    let note = format!("{}\n{answer}", submitted.text());
    let parsed = Note::parse(note.as_bytes())?;
    // An answer that ends the text early would have it speak of something else.
    if parsed.text() != submitted.text() {
        return Err(NoteError::Malformed.into());
    }
    let found = checkpoint::cosignatures(note.as_bytes(), keys)?;
    let line = |cosignature: &Cosignature| {
        let key = &cosignature.witness;
        let by = parsed.signatures().iter().filter(|one| one.name == key.name() && one.id == key.id());
        // Of several by one key the newest counts; times come first in the bytes.
        by.max_by(|a, b| a.bytes[..8].cmp(&b.bytes[..8])).expect("it was just found").to_line()
    };
    Ok(found
        .into_iter()
        .map(|cosignature| {
            let line = line(&cosignature);
            (cosignature, line)
        })
        .collect())
}
