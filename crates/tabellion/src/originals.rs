//! Sealed originals and the salts of commitments, as the notary needs them: it can seal and destroy, never open.

use std::collections::HashSet;
use std::path::Path as FilePath;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use sha2::{Digest as _, Sha256};
use tabellion_evidence::entry::{Entry, Erase, Kind};
use tabellion_evidence::salt::{Node, Path};
use tabellion_evidence::tile::WIDTH;
use tabellion_evidence::tree::Hash;
use tabellion_ledger::{self as ledger, AppendError, Ledger, LedgerError};
use tabellion_vault::{Erased, Keyring, Piece, Recipients, VaultError};

use crate::config::Config;
use crate::failure::Failure;
use crate::retention::Expiry;

/// So many sealed pieces are remembered, to be named again instead of sealed again.
const KNOWN_MAX: usize = 1 << 16;

/// What there is to seal of an exchange's side.
pub(crate) struct Raw {
    /// The bytes as they crossed the wire.
    bytes: Bytes,
    /// The frame, and where in the bytes the parts lie, if those make up the bytes.
    cut: Option<(String, Vec<std::ops::Range<usize>>)>,
}

impl Raw {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, cut: None }
    }

    /// Says how a text can be taken apart, if it is these very bytes.
    pub(crate) fn cut(&mut self, text: &str, frame: &str, parts: impl Iterator<Item = std::ops::Range<usize>>) {
        if self.bytes == text.as_bytes() {
            self.cut = Some((frame.to_owned(), parts.collect()));
        }
    }

    fn pieces(&self) -> Vec<&[u8]> {
        match &self.cut {
            None => vec![&self.bytes[..]],
            Some((frame, parts)) => {
                let parts = parts.iter().map(|range| &self.bytes[range.clone()]);
                std::iter::once(frame.as_bytes()).chain(parts).collect()
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// A sealed original on its way into the log.
pub(crate) struct Sealing {
    /// The names of all of its pieces, in order.
    pub(crate) names: Vec<Hash>,
    /// Those of them that the log does not have yet.
    pub(crate) payloads: Vec<ledger::Part>,
    /// What is to be remembered once it does.
    fresh: Vec<(Hash, Hash)>,
}

/// The keyring, and to whom originals are sealed.
pub(crate) struct Originals {
    keyring: Keyring,
    recipients: Option<Recipients>,
    /// Their texts, for the record.
    pub(crate) recipient_texts: Vec<String>,
    /// Of this process, and in memory only.
    known_key: [u8; 32],
    /// Sealed pieces that the log has, by a keyed hash of their raw bytes.
    known: Mutex<LruCache<Hash, Hash>>,
}

impl Originals {
    /// Opens the keyring; makes one for a log that has none yet.
    pub(crate) fn open(config: &Config, keys: &FilePath, fresh: bool, known_key: [u8; 32]) -> Result<Self, Failure> {
        let recipient_texts = config.vault.recipients.clone();
        let recipients = (!recipient_texts.is_empty()).then(|| Recipients::parse(&recipient_texts)).transpose()?;
        let keyring = Keyring::open(keys, fresh)?;
        let known = Mutex::new(LruCache::new(std::num::NonZero::new(KNOWN_MAX).expect("more than none")));
        Ok(Self { keyring, recipients, recipient_texts, known_key, known })
    }

    /// The key that a new entry's salts follow from.
    pub(crate) fn leaf(&self, id: &str) -> Node {
        let leaf = Path::of(id).map(|path| self.keyring.leaf(&path));
        if let Some(Ok(Some(leaf))) = leaf {
            return leaf;
        }
        // A salt that nobody has can be guessed by nobody. What it costs is that this entry's commitment proves nothing.
        tracing::error!(entry = id, "an entry's salts cannot be derived, so nobody will be able to prove it exact");
        let mut random = [0; 32];
        if getrandom::fill(&mut random).is_err() {
            random = Sha256::new().chain_update(self.known_key).chain_update(id).finalize().into();
        }
        Node::new(random)
    }

    /// Whether an entry's original was erased.
    pub(crate) fn is_erased(&self, id: &str) -> bool {
        Path::of(id).is_some_and(|path| matches!(self.keyring.leaf(&path), Ok(None)))
    }

    /// Seals an original for an entry that is about to be appended; returns when its keys are durable.
    pub(crate) async fn seal(&self, entry: &str, raw: &Raw) -> Result<Sealing, AppendError> {
        let Some(recipients) = &self.recipients else { return Err(AppendError::Closed) };
        for again in [false, true] {
            let (sealing, kept) = crate::pipeline::apart(raw.len(), || self.sealing(recipients, raw, again))?;
            match self.keyring.keep(entry, kept).await {
                Ok(()) => return Ok(sealing),
                // It was erased while this was on its way.
                Err(VaultError::Gone) => self.lock_known().clear(),
                Err(error) => return Err(append_error(&error)),
            }
        }
        // Erased twice on its way: what was kept of it meanwhile goes.
        self.not_appended(entry, AppendError::Disk).await;
        Err(AppendError::Disk)
    }

    /// Pieces that are known are named again, unless everything is to be sealed anew.
    fn sealing(&self, recipients: &Recipients, raw: &Raw, anew: bool) -> Result<(Sealing, Vec<Piece>), AppendError> {
        let pieces = raw.pieces();
        let mut sealing = Sealing { names: Vec::with_capacity(pieces.len()), payloads: Vec::new(), fresh: Vec::new() };
        let mut kept = Vec::with_capacity(pieces.len());
        for bytes in pieces {
            let key = Hash(Sha256::new().chain_update(self.known_key).chain_update(bytes).finalize().into());
            let here = sealing.fresh.iter().find(|(known, _)| *known == key).map(|(_, name)| *name);
            let known = here.or_else(|| if anew { None } else { self.lock_known().get(&key).copied() });
            let name = match known {
                Some(name) => {
                    // One that occurs twice in this body is new only once.
                    if here.is_none() {
                        kept.push(Piece::Known(name));
                    }
                    name
                }
                None => {
                    let sealed = recipients.seal(bytes).map_err(|error| append_error(&error))?;
                    let payload = ledger::Part::new(sealed.payload);
                    let name = payload.hash();
                    sealing.payloads.push(payload);
                    sealing.fresh.push((key, name));
                    kept.push(Piece::New(name, sealed.header));
                    name
                }
            };
            sealing.names.push(name);
        }
        Ok((sealing, kept))
    }

    /// Forgets what was sealed for an entry that the log did not take. If it may have taken it, the next start finds out.
    pub(crate) async fn not_appended(&self, entry: &str, error: AppendError) {
        if !matches!(error, AppendError::Stopped | AppendError::Closed)
            && let Err(error) = self.keyring.release(entry).await
        {
            tracing::warn!(%error, "the keyring keeps keys of an entry that was not recorded, until the next start");
        }
    }

    /// Remembers pieces that the log has by now.
    pub(crate) fn appended(&self, entry: &str, sealing: Sealing) {
        self.keyring.appended(entry);
        let mut known = self.lock_known();
        for (key, name) in sealing.fresh {
            known.put(key, name);
        }
    }

    fn lock_known(&self) -> MutexGuard<'_, LruCache<Hash, Hash>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out an erasure that the log says.
    pub(crate) async fn erase(&self, ledger: &Ledger, erase: &Erase) -> Result<Erased, Failure> {
        let erased = self.keyring.erase(ids_of(ledger, erase)?).await;
        self.lock_known().clear();
        erased.map_err(|error| {
            Failure::from(error).hint("the erasure is on the record, and will be carried out at the next start")
        })
    }

    /// Carries out what the log says has expired.
    pub(crate) async fn expire(&self, expiry: &Expiry) -> Result<Erased, Failure> {
        let erased = self.keyring.expire(expiry.ids.clone(), &expiry.kept, &expiry.from).await;
        self.lock_known().clear();
        erased.map_err(|error| {
            Failure::from(error).hint("that they expired is on the record, and will be carried out at the next start")
        })
    }

    /// Whether there is anything left that opens a sealed piece. What cannot be told may be.
    pub(crate) fn opens(&self, piece: &Hash) -> bool {
        self.keyring.opens(piece).unwrap_or(true)
    }

    /// Carries out what the log says was erased and what a crash, or an older copy of the keyring, left undone; drops the
    /// keys of entries that were never appended. Of the log, it reads what came after the last time that this was known.
    pub(crate) async fn recover(&self, keys: &FilePath, ledger: &Ledger) -> Result<(), Failure> {
        let unsettled = self.keyring.unsettled();
        let size = size(ledger)?;
        if unsettled.size > size {
            return Err(Failure::evidence("the keyring is newer than the log")
                .hint("bring the log back: keys of entries that are not here would be dropped"));
        }
        let (mut appended, mut erasures) = (HashSet::new(), Vec::new());
        for number in unsettled.size / WIDTH..size.div_ceil(WIDTH) {
            for bytes in ledger.reader().entries(number, size)? {
                let Ok(entry) = Entry::parse(&bytes) else { continue };
                erasures.extend(entry.erase.filter(|_| matches!(entry.kind, Kind::Erase | Kind::Expire)));
                appended.insert(entry.id);
            }
        }
        let orphans = Keyring::drop_orphans(keys, unsettled, &appended)?;
        if orphans > 0 {
            tracing::info!(entries = orphans, "dropped keys of entries that were not appended");
        }
        let mut ids = Vec::new();
        for erase in &erasures {
            ids.extend(ids_of(ledger, erase)?);
        }
        if !ids.is_empty() {
            self.keyring.erase_again(ids).await?;
        }
        Ok(self.keyring.settle(size).await?)
    }

    /// Notes how far the log has come, so that the next start need not read what came before.
    pub(crate) async fn settle(&self, ledger: &Ledger) -> Result<(), Failure> {
        let size = size(ledger)?;
        Ok(self.keyring.settle(size).await?)
    }
}

/// How many entries the log has; not the checkpoint's size, which may wait for witnesses.
fn size(ledger: &Ledger) -> Result<u64, LedgerError> {
    Ok(ledger.catalog().position()?.map_or(0, |(size, _)| size))
}

/// The ids of the entries that an erasure names, if they are there.
fn ids_of(ledger: &Ledger, erase: &Erase) -> Result<Vec<String>, Failure> {
    let size = size(ledger)?;
    let mut ids = Vec::new();
    for &(first, last) in &erase.entries {
        for index in first..=last.min(size.saturating_sub(1)) {
            // What cannot be read as an entry has neither salts nor an original.
            if let Ok(entry) = Entry::parse(&ledger.reader().entry(index, size)?) {
                ids.push(entry.id);
            }
        }
    }
    Ok(ids)
}

/// What a failure to seal means for an append: it does not happen.
fn append_error(error: &VaultError) -> AppendError {
    tracing::error!(%error, "an original could not be sealed");
    match error {
        VaultError::Full => AppendError::Full,
        VaultError::Stopped => AppendError::Stopped,
        _ => AppendError::Disk,
    }
}
