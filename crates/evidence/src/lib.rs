//! Everything that verifies: the hash tree and its tiles, signed notes and
//! checkpoints, proof files, content packs, entries.
//!
//! The formats are written down in `docs/format.md`; most of them are C2SP's
//! (`tlog-tiles`, `signed-note`, `tlog-checkpoint`, `tlog-cosignature`,
//! `tlog-proof`, `tlog-policy`, `tlog-witness`). This crate reads and writes their bytes. It does no I/O,
//! knows no clock, draws no random numbers and starts no threads: tiles come
//! through [`tree::Tiles`], and times, keys and salts are arguments.
//!
//! Whom it trusts: the verifier key that the caller passes, and nothing else.
//! Whatever was checked against a key comes back as [`Verified`]; functions
//! that only read (`parse`) say nothing about whether the bytes are true.
//! Foreign bytes give errors, never a panic.

pub mod anchor;
pub mod audit;
pub mod bundle;
pub mod checkpoint;
pub mod content;
pub mod cose;
pub mod custody;
pub mod entry;
pub mod note;
pub mod ots;
pub mod policy;
pub mod proof;
pub mod ranges;
pub mod salt;
pub mod scan;
pub mod sessions;
pub mod tile;
pub mod time;
pub mod timestamp;
pub mod tree;
pub mod witness;

mod verified;

pub use tree::Hash;
pub use verified::Verified;
