//! The signing keys, and the memory of what was signed with it.
//!
//! Both lie apart from the data (`<data>.keys/`), so that restoring the data from a backup, or rolling its disk back,
//! does not roll back what the signer knows. It signs a tree head only with a proof that the tree extends the last
//! one that it signed: whoever holds two checkpoints of this key can rely on one extending the other, as long as
//! nobody but the signer has the key.
//!
//! Whoever can read the keys can forge the log for those who hold no older checkpoint, cosignature or timestamp.
//! Whoever can write `signed` can make the signer sign a rolled-back tree, with the same limits.

use std::time::{SystemTime, UNIX_EPOCH};

use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::note::{self, KeyError, Note, SigningKey};
use tabellion_evidence::tree::{self, Hash};
use tabellion_store::Store;

use crate::LedgerError;

pub(crate) const KEY: &str = "log.key";
/// The ML-DSA-44 key, whose signature outlasts quantum computers. A log that was made before there were such keys gets
/// one at its next start.
const SECOND_KEY: &str = "log-ml-dsa-44.key";
const SIGNED: &str = "signed";

pub(crate) struct Signer {
    store: Box<dyn Store>,
    key: SigningKey,
    /// None for a name that is too long for it.
    second: Option<SigningKey>,
    /// Whether the key was made just now.
    new: bool,
    last: Option<Signed>,
}

/// The last tree head that was signed, and the note as it was signed.
struct Signed {
    head: Checkpoint,
    note: String,
}

impl Signer {
    /// Loads the keys, or makes them when `fresh` says that there is no log yet.
    pub(crate) fn open(store: Box<dyn Store>, origin: Option<&str>, fresh: bool) -> Result<Self, LedgerError> {
        let found = read_key(&*store, KEY)?;
        let new = found.is_none();
        let key = match found {
            Some(key) => key,
            None if fresh => {
                let origin = match origin {
                    Some(origin) => origin.to_owned(),
                    None => default_origin()?,
                };
                let key = SigningKey::from_seed(&origin, seed()?).map_err(|_| LedgerError::Origin)?;
                store.replace(KEY, format!("{}\n", &*key.to_text()).as_bytes())?;
                key
            }
            None => return Err(LedgerError::KeyMissing),
        };
        let name = key.verifier().name();
        if origin.is_some_and(|origin| origin != name) {
            return Err(LedgerError::OriginChanged);
        }
        let mut last = match store.read(SIGNED)? {
            Some(bytes) => {
                let head = checkpoint::verify(&bytes, key.verifier()).map_err(|_| LedgerError::SignerState)?;
                let note = String::from_utf8(bytes).map_err(|_| LedgerError::SignerState)?;
                Some(Signed { head: head.into_inner(), note })
            }
            None => None,
        };
        let second = match read_key(&*store, SECOND_KEY)? {
            Some(second) if second.verifier().name() == name => Some(second),
            Some(_) => return Err(LedgerError::Key),
            // What was signed last has a signature by a second key, which another one cannot take the place of.
            None if last.as_ref().is_some_and(|last| signatures_of(&last.note, name) > 1) => {
                return Err(LedgerError::KeyMissing);
            }
            None => match SigningKey::ml_dsa_from_seed(name, seed()?) {
                Ok(second) => {
                    store.replace(SECOND_KEY, format!("{}\n", &*second.to_text()).as_bytes())?;
                    Some(second)
                }
                Err(KeyError::Name) => None,
                Err(_) => return Err(LedgerError::Key),
            },
        };
        if let Some(last) = &mut last
            && second.is_some()
            && signatures_of(&last.note, name) == 1
        {
            last.note = sign(&last.head, &key, second.as_ref());
            store.replace(SIGNED, last.note.as_bytes())?;
        }
        Ok(Self { store, key, second, new, last })
    }

    /// The log's name.
    pub(crate) fn origin(&self) -> &str {
        self.key.verifier().name()
    }

    /// The log's public keys, one a line: `log.vkey`.
    pub(crate) fn vkeys(&self) -> String {
        let keys = [Some(&self.key), self.second.as_ref()];
        keys.into_iter().flatten().map(|key| format!("{}\n", key.verifier())).collect()
    }

    /// The last tree head that was signed.
    pub(crate) fn last(&self) -> Option<&Checkpoint> {
        self.last.as_ref().map(|last| &last.head)
    }

    /// Signs a tree head, if `proof` shows that it extends the last one. The signer remembers it durably *before*
    /// anybody sees the signature: a crash in between makes the log publish it at the next start.
    pub(crate) fn sign(&mut self, size: u64, root: Hash, proof: &[Hash]) -> Result<String, LedgerError> {
        let (old_size, old_root) = self.last().map_or_else(|| (0, tree::empty_root()), |last| (last.size, last.root));
        tree::verify_consistency(old_size, &old_root, size, &root, proof).map_err(|_| LedgerError::Diverged)?;
        let head = Checkpoint::new(self.origin(), size, root);
        let note = sign(&head, &self.key, self.second.as_ref());
        self.store.replace(SIGNED, note.as_bytes())?;
        self.last = Some(Signed { head, note: note.clone() });
        Ok(note)
    }

    /// The signed note of the last tree head again.
    pub(crate) fn last_note(&self) -> Option<&str> {
        self.last.as_ref().map(|last| &*last.note)
    }

    /// What witnesses are asked about at a start. Where nothing was signed, as far as is known here, that is the empty
    /// tree, which contradicts nothing; `None` when the key is new.
    pub(crate) fn note_at_start(&self) -> Option<String> {
        if self.new {
            return None;
        }
        let empty = || sign(&Checkpoint::new(self.origin(), 0, tree::empty_root()), &self.key, self.second.as_ref());
        Some(self.last_note().map_or_else(empty, str::to_owned))
    }
}

fn sign(head: &Checkpoint, key: &SigningKey, second: Option<&SigningKey>) -> String {
    let mut note = checkpoint::sign(head, key);
    if let Some(second) = second {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        note.push_str(&note::cosign(&head.to_text(), now, second));
    }
    note
}

/// How many signatures under this name a note has.
fn signatures_of(note: &str, name: &str) -> usize {
    let note = Note::parse(note.as_bytes()).expect("it was verified");
    note.signatures().iter().filter(|signature| signature.name == name).count()
}

fn read_key(store: &dyn Store, name: &str) -> Result<Option<SigningKey>, LedgerError> {
    let Some(bytes) = store.read(name)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|_| LedgerError::Key)?;
    SigningKey::parse(text.trim_end()).map(Some).map_err(|_| LedgerError::Key)
}

fn seed() -> Result<[u8; 32], LedgerError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| LedgerError::Random)?;
    Ok(seed)
}

/// A log that nobody named gets a name that no other log has.
fn default_origin() -> Result<String, LedgerError> {
    let mut random = [0; 6];
    getrandom::fill(&mut random).map_err(|_| LedgerError::Random)?;
    Ok(format!("tabellion.local/{}", random.map(|byte| format!("{byte:02x}")).concat()))
}
