//! Checkpoints: a log's name, size and root in a signed note. (C2SP
//! `tlog-checkpoint`, and `tlog-cosignature` for witnesses.)
//!
//! Whoever holds a log's secret key can sign any checkpoint. That a log signed
//! two that contradict each other, or went back to an older one, shows only to
//! somebody who kept the other: [`cosignatures`] says who did.

use crate::Verified;
use crate::note::{self, Note, NoteError, SigningKey, VerifierKey};
use crate::tile::parse_decimal;
use crate::tree::Hash;

/// A tree head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root of their tree.
    pub root: Hash,
    /// Further lines, which mean nothing to us. We write none.
    pub extensions: Vec<String>,
}

/// Why a checkpoint is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The signed text is not origin, size and root.
    #[error("checkpoint is malformed")]
    Malformed,
    /// It is another log's: its origin is not the name of the key.
    #[error("checkpoint is of another log")]
    Origin,
    /// The key signs something else than checkpoints, or the other way round.
    #[error("key is of the wrong kind for this")]
    Key,
    /// The note around it is refused.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl Checkpoint {
    /// A checkpoint without extensions.
    pub fn new(origin: impl Into<String>, size: u64, root: Hash) -> Self {
        Self { origin: origin.into(), size, root, extensions: Vec::new() }
    }

    /// The text that is signed.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64());
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Reads what [`Checkpoint::to_text`] writes. Says nothing about whether
    /// anybody signed it; that is [`verify`].
    pub fn parse_text(text: &str) -> Result<Self, CheckpointError> {
        let lines = text.strip_suffix('\n').ok_or(CheckpointError::Malformed)?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Malformed);
        };
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if origin.is_empty() || extensions.iter().any(String::is_empty) {
            return Err(CheckpointError::Malformed);
        }
        Ok(Self {
            origin: origin.to_owned(),
            size: parse_decimal(size).ok_or(CheckpointError::Malformed)?,
            root: Hash::from_base64(root).ok_or(CheckpointError::Malformed)?,
            extensions,
        })
    }
}

/// Signs a checkpoint and gives the whole note.
///
/// # Panics
///
/// When the origin is not the key's name, or an extension line is empty or has
/// control characters.
pub fn sign(checkpoint: &Checkpoint, key: &SigningKey) -> String {
    assert_eq!(checkpoint.origin, key.verifier().name(), "a log signs under its name");
    let text = checkpoint.to_text();
    debug_assert_eq!(Checkpoint::parse_text(&text).as_ref(), Ok(checkpoint));
    note::sign(&text, key)
}

/// Checks that the log with this key signed the checkpoint, and that it is
/// that log's. Signatures by other keys are ignored.
pub fn verify(bytes: &[u8], key: &VerifierKey) -> Result<Verified<Checkpoint>, CheckpointError> {
    if !key.algorithm().is_log() {
        return Err(CheckpointError::Key);
    }
    let opened = Note::parse(bytes)?.verify(std::slice::from_ref(key))?;
    let checkpoint = Checkpoint::parse_text(&opened.text)?;
    if checkpoint.origin != key.name() {
        return Err(CheckpointError::Origin);
    }
    Ok(Verified::new(checkpoint))
}

/// A witness's word that it saw the checkpoint, and that it extends every
/// earlier one that it saw of this log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// The witness.
    pub witness: VerifierKey,
    /// When, by its clock, in POSIX seconds.
    pub time: u64,
}

/// Which of the witnesses' keys cosigned the checkpoint; none is an answer too.
/// A bad cosignature by one of them refuses the checkpoint. One of the time 0
/// says nothing about the newest tree (`tlog-cosignature`), so it does not
/// count. The log's own signature is [`verify`]'s business.
pub fn cosignatures(bytes: &[u8], witnesses: &[VerifierKey]) -> Result<Vec<Cosignature>, CheckpointError> {
    if witnesses.iter().any(|key| !key.algorithm().is_witness()) {
        return Err(CheckpointError::Key);
    }
    let note = Note::parse(bytes)?;
    Checkpoint::parse_text(note.text())?;
    let signers = note.signers(witnesses)?;
    Ok(signers
        .into_iter()
        .filter_map(|signer| match signer.time.expect("a cosignature has a time") {
            0 => None,
            time => Some(Cosignature { witness: signer.key, time }),
        })
        .collect())
}
