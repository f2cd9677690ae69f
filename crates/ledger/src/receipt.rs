//! The log's signature on what it signed before, in another encoding (COSE, RFC 9942).
//!
//! A receipt says that a root is the log's, as a checkpoint does. So one is made only of checkpoints that carry the log's
//! signature already: the signer, and its memory of the newest tree, have been asked about every such root. Nothing new
//! is promised here, and nothing has to be remembered.

use std::path::Path;

use tabellion_evidence::Verified;
use tabellion_evidence::checkpoint::Checkpoint;
use tabellion_evidence::cose::{self, CoseError};
use tabellion_evidence::note::SigningKey;
use tabellion_evidence::proof::Proof;
use tabellion_evidence::tree::Hash;
use tabellion_store::{DiskStore, RealDisk, Store as _};

use crate::LedgerError;
use crate::signer::KEY;

/// The log's key, for receipts and nothing else.
pub struct ReceiptSigner(SigningKey);

impl ReceiptSigner {
    /// Loads the key of a keys directory.
    pub fn open(keys: &Path) -> Result<Self, LedgerError> {
        let bytes = DiskStore::new(RealDisk::new(keys)).read(KEY)?.ok_or(LedgerError::KeyMissing)?;
        let text = zeroize::Zeroizing::new(String::from_utf8(bytes).map_err(|_| LedgerError::Key)?);
        SigningKey::parse(text.trim_end()).map(Self).map_err(|_| LedgerError::Key)
    }

    /// A receipt for an entry that the proof shows to be in the log.
    pub fn inclusion(&self, proof: &Proof, entry: &[u8], subject: &str) -> Result<Vec<u8>, CoseError> {
        cose::sign_inclusion(proof, entry, subject, &self.0)
    }

    /// The same, around the entry.
    pub fn statement(&self, proof: &Proof, entry: &[u8], subject: &str) -> Result<Vec<u8>, CoseError> {
        cose::sign_statement(proof, entry, subject, &self.0)
    }

    /// A receipt that one tree extends another.
    pub fn consistency(
        &self,
        older: &Verified<Checkpoint>,
        newer: &Verified<Checkpoint>,
        hashes: &[Hash],
    ) -> Result<Vec<u8>, CoseError> {
        cose::sign_consistency(older, newer, hashes, &self.0)
    }
}
