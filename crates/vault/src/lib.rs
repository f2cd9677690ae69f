//! Sealed originals: sealing, opening, and destroying what opens them.
//!
//! An original is sealed, piece by piece, to the public keys of officers. What
//! comes out is an ordinary age file (<https://age-encryption.org/v1>), cut in
//! two: the *payload*, which goes into the log's sealed packs and may lie on
//! storage that nobody can delete from, and the *header*, in which the piece's
//! own key is wrapped for each recipient, and which goes into the
//! [`Keyring`] and nowhere else. Whoever destroys the header has destroyed the
//! original. The keyring also holds the keys that the salts of commitments
//! follow from ([`tabellion_evidence::salt`]).
//!
//! # How a piece becomes durable
//!
//! 1. [`Recipients::seal`], in memory. A crash here: nothing happened.
//! 2. [`Keyring::keep`]: one transaction for all who wait; it returns when the
//!    header, and that the entry names the piece, are durable. A crash from
//!    here on leaves a header that nothing names: [`Keyring::settle`], at the
//!    next start, drops it.
//! 3. The ledger appends the payload with the entry that names it. A crash
//!    before: as in 2. After: the original can be opened.
//!
//! # How an entry's original is erased
//!
//! 1. The log says so, in a `custody.erase`. A crash before: nothing happened.
//! 2. [`Keyring::erase`], one transaction: the entry names no piece any more;
//!    pieces that no entry names lose their header; the key that the entry's
//!    salts follow from is replaced by its siblings. A crash before the
//!    commit, or before 1 was answered: the next start finds the entry in the
//!    log and does this.
//! 3. The database's own log is cut off, and the files are searched for what
//!    was destroyed. If it is there still, in space that SQLite has not
//!    cleared, everything is written anew, and searched again. A crash before:
//!    the next start does 2 once more, and writes everything anew.
//!
//! What this crate cannot do: erase what somebody copied. A backup of the
//! keyring, a snapshot of its file system, and blocks that a solid-state disk
//! keeps behind its own back outlive an erasure (`docs/vault.md`).
//!
//! Whom it trusts: whoever can read the keyring can derive salts, and so test
//! guesses of originals, but open nothing; whoever can change it can make
//! originals impossible to open or to prove. Nobody can make it open something
//! else: what is opened is held against the commitment in the log.

mod keyring;
mod salts;
mod seal;
#[cfg(test)]
mod tests;

pub use keyring::{Erased, FILE, Keyring, Piece, Reading, Remaining, Unsettled};
pub use seal::{Identities, Recipients, Sealed, open};

pub use age::{Callbacks, secrecy};

/// Why something was not sealed, opened, kept or erased. Never says what was in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// A recipient is none that originals can be sealed to.
    #[error("recipient {number} is none of age's own kinds (age1…, age1tag1…, age1tagpq1…)")]
    Recipient {
        /// Which, counted from one.
        number: usize,
    },
    /// Recipients cannot be used together: those that quantum computers do not
    /// open are worth nothing beside others.
    #[error("recipients that are safe from quantum computers cannot be mixed with others")]
    Mixed,
    /// The identity file cannot be read.
    #[error("the identity file cannot be used")]
    Identity(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// None of the identities opens it.
    #[error("no identity here opens it")]
    NoIdentity,
    /// Header and payload do not belong together, or one was changed.
    #[error("the sealed piece is damaged")]
    Damaged,
    /// It holds more than was announced.
    #[error("the sealed piece holds more than the entry says")]
    TooLarge,
    /// A piece that was to be named again has no key any more.
    #[error("the piece was erased")]
    Gone,
    /// There is a log, and its keyring is gone.
    #[error("keyring.db is missing from the keys directory")]
    Missing,
    /// The keyring is not one of ours.
    #[error("keyring.db is malformed")]
    Malformed,
    /// The keyring's database failed.
    #[error("the keyring failed")]
    Database(#[from] rusqlite::Error),
    /// The keyring's disk is full.
    #[error("the keyring's disk is full")]
    Full,
    /// The keyring's file failed.
    #[error("the keyring's file failed")]
    Disk(#[source] std::io::Error),
    /// The keyring is closed, or a write failed in a way that needs a restart.
    #[error("the keyring takes nothing more until a restart")]
    Stopped,
    /// What was destroyed can still be found in the keyring's files.
    #[error("a destroyed key can still be found in the keyring's files")]
    StillThere,
    /// The operating system gave no random bytes.
    #[error("no random bytes")]
    Random,
}
