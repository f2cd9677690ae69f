//! The secrets beside the signing key: 32 random bytes each, in hexadecimal, readable by their owner alone.

use std::path::Path;

use tabellion_store::{DiskStore, RealDisk, Store};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Keys that never enter the log.
pub(crate) struct Secrets {
    /// Makes tokens of values. Whoever has it can test guesses of what was redacted.
    pub(crate) token: Zeroizing<[u8; 32]>,
    /// Shows to a running server that a command is its owner's. Whoever can read the keys directory has it.
    pub(crate) local: Zeroizing<[u8; 32]>,
}

impl Secrets {
    /// The secrets of a log; made when there is no log yet.
    pub(crate) fn open(keys: &Path) -> Result<Self, Failure> {
        Self::read(&DiskStore::new(RealDisk::new(keys)), is_fresh(keys)?)
    }

    /// The secrets of a log that exists; `None` when there are none here.
    pub(crate) fn existing(keys: &Path) -> Result<Option<Self>, Failure> {
        let store = DiskStore::new(RealDisk::new(keys));
        if store.read("token.key")?.is_none() {
            return Ok(None);
        }
        Self::read(&store, false).map(Some)
    }

    fn read(store: &dyn Store, fresh: bool) -> Result<Self, Failure> {
        Ok(Self {
            token: secret(store, "token.key", fresh)?,
            // Nothing that is recorded hangs on it, so a lost one is made anew.
            local: secret(store, "local.key", true)?,
        })
    }
}

/// Whether the keys directory is that of a log that has not begun.
pub(crate) fn is_fresh(keys: &Path) -> Result<bool, Failure> {
    Ok(DiskStore::new(RealDisk::new(keys)).read("signed")?.is_none())
}

/// Whether there may be no keyring yet: the log has not begun, or is from before there were keyrings.
pub(crate) fn has_no_keyring_yet(keys: &Path) -> Result<bool, Failure> {
    Ok(is_fresh(keys)? || DiskStore::new(RealDisk::new(keys)).read("salt.key")?.is_some())
}

fn secret(store: &dyn Store, name: &str, fresh: bool) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let mut key = Zeroizing::new([0; 32]);
    match store.read(name)? {
        Some(text) => {
            let text = Zeroizing::new(text);
            hex::decode_to_slice(text.trim_ascii(), &mut *key)
                .map_err(|_| Failure::environment(format!("{name} is malformed")))?;
        }
        None if fresh => {
            getrandom::fill(&mut *key).map_err(|_| Failure::environment("no random bytes"))?;
            let text = Zeroizing::new(format!("{}\n", hex::encode(*key)));
            store.replace(name, text.as_bytes())?;
        }
        // A new key would give the same people other tokens, silently.
        None => {
            return Err(Failure::environment(format!("{name} is missing from the keys directory"))
                .hint("bring it back from where the keys are backed up"));
        }
    }
    Ok(key)
}
