//! Witnesses, as far as the log has to do with them. How they are reached is the caller's affair ([`Witnesses`]).
//!
//! Two moments matter. Before anything is signed after a start, the witnesses are shown what was signed last: one that
//! has cosigned more knows a newer state of this log than the disk does, so the disk was rolled back, and signing on it
//! would be a fork. And each new checkpoint is shown to them before it is put in its place.
//!
//! Asking never holds up an append: entries were durable and acknowledged before.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::signer::Signer;
use crate::{LedgerError, Reader};

/// Submits checkpoints to witnesses and checks what they answer.
pub trait Witnesses: Send + Sync {
    /// Shows the witnesses a signed checkpoint, and returns no later than after `wait`. The tiles of the checkpoint's tree
    /// are there to be read. Called again with the same checkpoint, it also returns what has come in since.
    fn submit(&self, checkpoint: &str, reader: &Reader, wait: Duration) -> Answers;

    /// Told what was published: how many witnesses had cosigned it.
    fn published(&self, cosigned: usize);
}

/// What the witnesses made of a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// The signature lines of those that cosigned it, checked.
    pub lines: String,
    /// How many witnesses cosigned it.
    pub cosigned: usize,
    /// How many have not answered, or not in a way that says anything.
    pub silent: usize,
    /// Witnesses that have cosigned a larger tree of this log, and its size.
    pub ahead: Vec<(String, u64)>,
    /// Witnesses that say that this checkpoint contradicts one that they cosigned.
    pub contradicted: Vec<String>,
}

/// How a log deals with its witnesses.
#[derive(Clone)]
pub struct Witnessing {
    /// The way to them.
    pub witnesses: Arc<dyn Witnesses>,
    /// How many must have cosigned a checkpoint.
    pub quorum: usize,
    /// Whether a checkpoint that lacks the quorum is held back. Otherwise it is published as it is.
    pub hold: bool,
    /// How long a publication waits for them.
    pub wait: Duration,
    /// How long a start waits for them.
    pub wait_at_start: Duration,
    /// Whether a start is refused when fewer than the quorum (or none at all) answer.
    pub refuse_silence: bool,
}

impl fmt::Debug for Witnessing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witnessing").field("quorum", &self.quorum).field("hold", &self.hold).finish_non_exhaustive()
    }
}

impl Witnessing {
    /// Refuses to go on from a state that a witness contradicts.
    pub(crate) fn check_start(&self, signer: &Signer, reader: &Reader) -> Result<(), LedgerError> {
        // No witness can know a key that was made a moment ago.
        let Some(note) = signer.note_at_start() else { return Ok(()) };
        let ours = signer.last().map_or(0, |last| last.size);
        let answers = self.witnesses.submit(&note, reader, self.wait_at_start);
        if let Some((witness, size)) = answers.ahead.into_iter().next() {
            return Err(LedgerError::Behind { witness, size, ours });
        }
        if let Some(witness) = answers.contradicted.into_iter().next() {
            return Err(LedgerError::Contradicted { witness });
        }
        if self.refuse_silence && answers.silent > 0 && answers.cosigned < self.quorum.max(1) {
            return Err(LedgerError::WitnessesSilent);
        }
        Ok(())
    }
}
