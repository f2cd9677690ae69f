//! The signing key, and the memory of what was signed with it.
//!
//! Both lie apart from the data (`<data>.keys/`), so that restoring the data from a backup, or rolling its disk back,
//! does not roll back what the signer knows. It signs a tree head only with a proof that the tree extends the last
//! one that it signed: whoever holds two checkpoints of this key can rely on one extending the other, as long as
//! nobody but the signer has the key.
//!
//! Whoever can read `log.key` can forge the log for those who hold no older checkpoint, cosignature or timestamp.
//! Whoever can write `signed` can make the signer sign a rolled-back tree, with the same limits.

use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::note::SigningKey;
use tabellion_evidence::tree::{self, Hash};
use tabellion_store::Store;

use crate::LedgerError;

pub(crate) const KEY: &str = "log.key";
const SIGNED: &str = "signed";

pub(crate) struct Signer {
    store: Box<dyn Store>,
    key: SigningKey,
    last: Option<Checkpoint>,
}

impl Signer {
    /// Loads the key, or makes one when `fresh` says that there is no log yet.
    pub(crate) fn open(store: Box<dyn Store>, origin: Option<&str>, fresh: bool) -> Result<Self, LedgerError> {
        let key = match store.read(KEY)? {
            Some(bytes) => {
                let text = String::from_utf8(bytes).map_err(|_| LedgerError::Key)?;
                SigningKey::parse(text.trim_end()).map_err(|_| LedgerError::Key)?
            }
            None if fresh => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).map_err(|_| LedgerError::Random)?;
                let origin = match origin {
                    Some(origin) => origin.to_owned(),
                    None => default_origin()?,
                };
                let key = SigningKey::from_seed(&origin, seed).map_err(|_| LedgerError::Origin)?;
                store.replace(KEY, format!("{}\n", &*key.to_text()).as_bytes())?;
                key
            }
            None => return Err(LedgerError::KeyMissing),
        };
        if origin.is_some_and(|origin| origin != key.verifier().name()) {
            return Err(LedgerError::OriginChanged);
        }
        let last = match store.read(SIGNED)? {
            Some(bytes) => {
                let signed = checkpoint::verify(&bytes, key.verifier()).map_err(|_| LedgerError::SignerState)?;
                Some(signed.into_inner())
            }
            None => None,
        };
        Ok(Self { store, key, last })
    }

    /// The log's name.
    pub(crate) fn origin(&self) -> &str {
        self.key.verifier().name()
    }

    /// The log's public key, as a line of `log.vkey`.
    pub(crate) fn vkey(&self) -> String {
        format!("{}\n", self.key.verifier())
    }

    /// The last tree head that was signed.
    pub(crate) fn last(&self) -> Option<&Checkpoint> {
        self.last.as_ref()
    }

    /// Signs a tree head, if `proof` shows that it extends the last one. The signer remembers it durably *before*
    /// anybody sees the signature: a crash in between makes the log publish it at the next start.
    pub(crate) fn sign(&mut self, size: u64, root: Hash, proof: &[Hash]) -> Result<String, LedgerError> {
        let (old_size, old_root) =
            self.last.as_ref().map_or_else(|| (0, tree::empty_root()), |last| (last.size, last.root));
        tree::verify_consistency(old_size, &old_root, size, &root, proof).map_err(|_| LedgerError::Diverged)?;
        let next = Checkpoint::new(self.origin(), size, root);
        let note = checkpoint::sign(&next, &self.key);
        self.store.replace(SIGNED, note.as_bytes())?;
        self.last = Some(next);
        Ok(note)
    }

    /// The signed note of the last tree head again.
    pub(crate) fn last_note(&self) -> Option<String> {
        self.last.as_ref().map(|last| checkpoint::sign(last, &self.key))
    }
}

/// A log that nobody named gets a name that no other log has.
fn default_origin() -> Result<String, LedgerError> {
    let mut random = [0; 6];
    getrandom::fill(&mut random).map_err(|_| LedgerError::Random)?;
    Ok(format!("tabellion.local/{}", random.map(|byte| format!("{byte:02x}")).concat()))
}
