//! Where bytes are kept: named objects that are written once, and a few small ones that are replaced.
//!
//! Two layers. [`Disk`] is what is asked of an operating system: files, names, and the two kinds of `sync`. It is
//! small so that [`SimDisk`], which loses power on demand and then keeps, loses or reorders whatever was not synced,
//! can be *stricter* than any real disk. [`Store`] is what the rest of Tabellion sees, and its promises hold on every
//! `Disk`:
//!
//! - [`Store::create`] and [`Store::replace`] are atomic and durable: when they return, the object is there after a
//!   power cut; when they fail or never return, the object is as it was before, or as it should have become.
//! - Nothing is promised about an object of which neither has returned.
//!
//! The write-ahead log lies on [`Disk`] itself, because it has to say when it syncs.
//!
//! Whoever can write to the disk can change every object. This crate detects nothing; `verify` does.

#[cfg(feature = "bucket")]
mod bucket;
mod disk;
mod objects;
mod sim;

#[cfg(feature = "bucket")]
pub use bucket::{BucketSettings, BucketStore, Check, Finding, SettingsError, Verdict};
pub use disk::{Disk, DiskFile, Protection, RealDisk};
pub use objects::{DiskStore, Store, StoreError};
pub use sim::SimDisk;
