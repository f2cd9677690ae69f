//! Proof files: that an entry is in a log, checkable with the log's key alone.
//! (C2SP `tlog-proof`.)
//!
//! `extra` is not covered by any signature. Ours holds the entry, which is
//! true once [`Proof::verify`] was given it and said yes, and not before.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Verified;
use crate::checkpoint::{self, Checkpoint, CheckpointError};
use crate::note::VerifierKey;
use crate::tile::parse_decimal;
use crate::tree::{self, Hash, ProofError};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The longest proof file that is read: twice the longest note.
pub const PROOF_BYTES_MAX: usize = 2 << 20;

/// A tree of less than 2⁶⁴ leaves has at most 64 levels above them.
pub const HASHES_MAX: usize = 64;

/// A proof file that was read, not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Whatever the writer put there; of ours, the entry.
    pub extra: Option<Vec<u8>>,
    /// The position of the entry.
    pub index: u64,
    /// From the leaf's sibling to the root's child.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

/// Why a proof file is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofFileError {
    /// Longer than [`PROOF_BYTES_MAX`] or more hashes than [`HASHES_MAX`].
    #[error("proof file is too large")]
    TooLarge,
    /// The bytes are not a proof file.
    #[error("proof file is malformed")]
    Malformed,
    /// The checkpoint is refused.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The entry is not where the proof says.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl Proof {
    /// Reads a proof file.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFileError> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(ProofFileError::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ProofFileError::Malformed)?;
        parse_text(text)
    }

    /// The file.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            text.push_str("extra ");
            STANDARD.encode_string(extra, &mut text);
            text.push('\n');
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            text.push_str(&hash.to_base64());
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Checks that the log with this key signed a checkpoint of a tree that
    /// has `entry` at [`Proof::index`]; gives that checkpoint.
    pub fn verify(&self, entry: &[u8], key: &VerifierKey) -> Result<Verified<Checkpoint>, ProofFileError> {
        let checkpoint = checkpoint::verify(self.checkpoint.as_bytes(), key)?;
        let leaf = tree::leaf_hash(entry);
        tree::verify_inclusion(self.index, checkpoint.size, &leaf, &self.hashes, &checkpoint.root)?;
        Ok(checkpoint)
    }
}

fn parse_text(text: &str) -> Result<Proof, ProofFileError> {
    const BAD: ProofFileError = ProofFileError::Malformed;
    let (head, checkpoint) = text.split_once("\n\n").ok_or(BAD)?;
    let mut lines = head.split('\n').peekable();
    if lines.next() != Some(HEADER) {
        return Err(BAD);
    }
    let extra = match lines.peek().and_then(|line| line.strip_prefix("extra ")) {
        None => None,
        Some(base64) => {
            lines.next();
            Some(STANDARD.decode(base64).map_err(|_| BAD)?)
        }
    };
    let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(BAD)?;
    let index = parse_decimal(index).ok_or(BAD)?;
    let mut hashes = Vec::new();
    for line in lines {
        if hashes.len() == HASHES_MAX {
            return Err(ProofFileError::TooLarge);
        }
        hashes.push(Hash::from_base64(line).ok_or(BAD)?);
    }
    Ok(Proof { extra, index, hashes, checkpoint: checkpoint.to_owned() })
}
