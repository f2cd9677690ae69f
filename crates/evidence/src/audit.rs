//! The checks that verifying a whole log is made of, and how a finding is
//! named. (`docs/format.md`, section *What a verifier does*.)
//!
//! Each check is a function of bytes that somebody else read, so that they
//! can run on any number of threads: a bundle, a tile, a pack, a body. What
//! holds them together is small and comes last: [`Nodes`] is the tree,
//! [`Parts`] says which pack has which part, [`pair`] holds responses against
//! requests.
//!
//! Nothing here trusts anything. The root of [`Nodes`] is as right as the
//! leaves that went in; it says something once it is the one of a checkpoint
//! that was verified. A [`Problem`] has places, hashes and counts, and never
//! a byte of an entry or a part.

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::checkpoint::CheckpointError;
use crate::content::{PART_HEADER_BYTES, PLACEHOLDER, PackError};
use crate::custody;
use crate::entry::{Content, Entry, EntryError, Kind, Part};
use crate::proof::ProofFileError;
use crate::sessions::{Numbering, Said};
use crate::tile::{self, BundleError, TileId, WIDTH};
use crate::tree::{self, Hash, Tiles, leaf_hash, node_hash, sha256};

/// Something that is not as it must be.
///
/// Its text is one line for people; [`Problem::code`] is the same for scripts,
/// and stays what it is. Files are named as in a data directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A file that must be there is not.
    #[error("{file} is missing")]
    Missing {
        /// The file.
        file: String,
    },
    /// Many files in a row are not there.
    #[error("{file} and {more} more like it are missing")]
    MissingMany {
        /// The first of them.
        file: String,
        /// How many follow.
        more: u64,
    },
    /// A file that no log of this size has.
    #[error("{} is not a file of this log", .file.escape_debug())]
    Unexpected {
        /// The file.
        file: String,
    },
    /// A file beyond the checkpoint that does not follow on what is there.
    #[error("{file} is beyond the checkpoint and does not follow on the entries that are there")]
    Gap {
        /// The file.
        file: String,
    },
    /// A tile beyond the checkpoint that has hashes from within the log.
    #[error("{file} is beyond the checkpoint and repeats hashes that the log has elsewhere")]
    Repeats {
        /// The file.
        file: String,
    },
    /// The file with the log's keys is not one key a line, all of one name.
    #[error("{file} is not the verifier keys of a log, one a line")]
    Key {
        /// The file.
        file: String,
    },
    /// The log's key is not the one that the caller trusts.
    #[error("{file} is not the key that was given")]
    KeyDiffers {
        /// The file.
        file: String,
    },
    /// The caller gave no key, and there is none beside the evidence.
    #[error("no key was given to check the signature with")]
    KeyAbsent,
    /// The checkpoint is malformed, of another log or not signed by its key.
    #[error("{file} is refused: {error}")]
    Checkpoint {
        /// The file.
        file: String,
        /// Why.
        error: CheckpointError,
    },
    /// A cosignature by one of the witnesses is bad.
    #[error("{file} has cosignatures that are refused: {error}")]
    Cosignature {
        /// The file.
        file: String,
        /// Why.
        error: CheckpointError,
    },
    /// Not as many witnesses cosigned as were asked for.
    #[error("{file} is cosigned by {have} of the witnesses, and {need} were asked for")]
    Quorum {
        /// The file.
        file: String,
        /// How many did.
        have: usize,
        /// How many have to.
        need: usize,
    },
    /// The witnesses that cosigned are not those that the policy wants.
    #[error("{file} is cosigned by {have} of the policy's witnesses, which is not its quorum")]
    Policy {
        /// The file.
        file: String,
        /// How many did.
        have: usize,
    },
    /// The older checkpoint that was given is refused.
    #[error("the older checkpoint is refused: {error}")]
    Older {
        /// Why.
        error: CheckpointError,
    },
    /// The log has become shorter: it was rolled back or cut off.
    #[error("{file} has {size} entries, and the older checkpoint had {older}: the log was rolled back")]
    RolledBack {
        /// The checkpoint.
        file: String,
        /// Its size.
        size: u64,
        /// The size of the older one.
        older: u64,
    },
    /// The log does not begin with what was signed before.
    #[error("{file} does not extend the older checkpoint of {older} entries: the log was forked")]
    Forked {
        /// The checkpoint.
        file: String,
        /// The size of the older one.
        older: u64,
    },
    /// The entries have another root than the checkpoint.
    #[error("{file} has another root than the entries")]
    Root {
        /// The checkpoint.
        file: String,
    },
    /// The root cannot be computed from what is there.
    #[error("{file} cannot be held against the entries, because some of them are missing or damaged")]
    RootUnknown {
        /// The checkpoint.
        file: String,
    },
    /// A tile is not as many hashes as its name says.
    #[error("{file} does not have {width} hashes")]
    TileLength {
        /// The tile.
        file: String,
        /// How many it should have.
        width: u16,
    },
    /// A tile is not what its entries, or the tiles below it, lead to.
    #[error("{file} is damaged: hash {hash} of it is not that of what is below it")]
    Tile {
        /// The tile.
        file: String,
        /// The position within the tile.
        hash: u16,
    },
    /// A tile does not have the hash that a tile above it, which leads to the
    /// signed root, has for it.
    #[error("{file} is damaged: it does not lead to the tile above it")]
    TileAbove {
        /// The tile.
        file: String,
    },
    /// The tiles at the right edge have another root than the checkpoint.
    #[error("{file} has another root than the tiles")]
    RootOfTiles {
        /// The checkpoint.
        file: String,
    },
    /// A bundle cannot be taken apart.
    #[error("{file} is damaged: {error}")]
    Bundle {
        /// The bundle.
        file: String,
        /// Why.
        error: BundleError,
    },
    /// An entry is not the one that the signed tree has.
    #[error("{file} is damaged: entry {entry} is not the one in the signed tree")]
    EntryChanged {
        /// The bundle.
        file: String,
        /// The entry.
        entry: u64,
    },
    /// An entry and its leaf hash differ, and the tree does not tell which is right.
    #[error("{file} and {tile} do not agree on entry {entry}")]
    Disagree {
        /// The bundle.
        file: String,
        /// The tile.
        tile: String,
        /// The entry.
        entry: u64,
    },
    /// Two versions of a bundle have different entries.
    #[error("{file} has another entry {entry} than the log")]
    BundleDiffers {
        /// The one of another size.
        file: String,
        /// The first entry that differs.
        entry: u64,
    },
    /// An entry cannot be read.
    #[error("{file} has an entry {entry} that is refused: {error}")]
    Entry {
        /// The bundle.
        file: String,
        /// The entry.
        entry: u64,
        /// Why.
        error: EntryError,
    },
    /// Two entries have the same id.
    #[error("entry {entry} has the id of entry {first}")]
    IdTwice {
        /// The later one.
        entry: u64,
        /// The earlier one.
        first: u64,
    },
    /// An exchange has two responses.
    #[error("entry {entry} is a second response to an exchange that entry {first} closed")]
    ResponseTwice {
        /// The later one.
        entry: u64,
        /// The earlier one.
        first: u64,
    },
    /// A response stands before its request.
    #[error("entry {entry} is a response, and its request is entry {request}, after it")]
    ResponseEarly {
        /// The response.
        entry: u64,
        /// The request.
        request: u64,
    },
    /// A response has no request.
    #[error("entry {entry} is a response, and no request of its exchange is in the log")]
    ResponseAlone {
        /// The response.
        entry: u64,
    },
    /// A pack cannot be taken apart.
    #[error("{file} is damaged: {error}")]
    Pack {
        /// The pack.
        file: String,
        /// Why.
        error: PackError,
    },
    /// A pack has no parts; none is written then.
    #[error("{file} has no parts")]
    PackEmpty {
        /// The pack.
        file: String,
    },
    /// The bytes of a part are not those that it is named after.
    #[error("{file} is damaged: part {part} of it does not have its hash")]
    PartHash {
        /// The pack.
        file: String,
        /// The part.
        part: Hash,
    },
    /// An entry names a part that is damaged.
    #[error("entry {entry} names part {part}, which is damaged in {file}")]
    PartDamaged {
        /// The pack.
        file: String,
        /// The part.
        part: Hash,
        /// The entry.
        entry: u64,
    },
    /// An entry names a sealed piece that is nowhere, and no later one says that it was erased or expired.
    #[error("entry {entry} names the sealed piece {part}, which is in no pack")]
    SealedMissing {
        /// The entry.
        entry: u64,
        /// The piece.
        part: Hash,
    },
    /// A part is stored more than once.
    #[error("{file} has part {part}, which {first} has already")]
    PartTwice {
        /// The later pack.
        file: String,
        /// The part.
        part: Hash,
        /// The earlier pack.
        first: String,
    },
    /// No entry names a part.
    #[error("{file} has part {part}, which no entry names")]
    PartUnnamed {
        /// The pack.
        file: String,
        /// The part.
        part: Hash,
    },
    /// A part is first named by an entry of another batch than the pack's.
    #[error("{file} has part {part}, which entry {entry} is the first to name, in another batch than the pack's")]
    PartElsewhere {
        /// The pack.
        file: String,
        /// The part.
        part: Hash,
        /// The entry.
        entry: u64,
    },
    /// An entry names a part that is in no pack, and no later one says that it expired; or a manifest, which stays.
    #[error("entry {entry} names part {part}, which no pack has")]
    PartMissing {
        /// The entry.
        entry: u64,
        /// The part.
        part: Hash,
    },
    /// An entry names a part that only a later pack has, as if it had been removed and stored again, and no later entry says
    /// that it expired.
    #[error("entry {entry} names part {part}, which only {file} has, a later pack than that of its batch")]
    PartLater {
        /// The pack.
        file: String,
        /// The part.
        part: Hash,
        /// The entry.
        entry: u64,
    },
    /// A part is longer or shorter than the entry says.
    #[error("entry {entry} names part {part} with another length than it has")]
    PartLength {
        /// The entry.
        entry: u64,
        /// The part.
        part: Hash,
    },
    /// A manifest cannot be read.
    #[error("entry {entry} names manifest {part}, which is refused: {error}")]
    Manifest {
        /// The entry.
        entry: u64,
        /// The part.
        part: Hash,
        /// Why.
        error: EntryError,
    },
    /// A frame has not as many places as there are parts.
    #[error("entry {entry} has a frame {part} that does not have a place for each part")]
    Frame {
        /// The entry.
        entry: u64,
        /// The frame.
        part: Hash,
    },
    /// The parts do not make the body that the entry commits to.
    #[error("entry {entry} has parts that do not make the body that it speaks of")]
    Body {
        /// The entry.
        entry: u64,
    },
    /// A proof file is refused.
    #[error("the proof is refused: {error}")]
    Proof {
        /// Why.
        error: ProofFileError,
    },
    /// A proof file does not hold the entry that it is about.
    #[error("the proof does not hold the entry that it is about")]
    ProofEntry,
    /// A state that somebody kept is of another log, or of another version.
    #[error("the state is refused: {why}")]
    State {
        /// Why.
        why: &'static str,
    },
    /// What a check found that is made elsewhere: of anchors, of a policy.
    #[error("{text}")]
    Outside {
        /// Its short word.
        code: &'static str,
        /// What it found.
        text: String,
    },
    /// Something is missing, twice or out of order, by its number.
    #[error(transparent)]
    Numbering(#[from] Numbering),
    /// An act of custody, or the use of a key, is against the rules.
    #[error(transparent)]
    Custody(#[from] custody::Wrong),
}

impl Problem {
    /// A short word for what is wrong. It does not change from one version to
    /// the next.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } | Self::MissingMany { .. } => "missing",
            Self::Unexpected { .. } => "unexpected",
            Self::Gap { .. } => "gap",
            Self::Repeats { .. } => "repeats",
            Self::Key { .. } => "key",
            Self::KeyDiffers { .. } => "key-differs",
            Self::KeyAbsent => "key-absent",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Cosignature { .. } => "cosignature",
            Self::Quorum { .. } => "quorum",
            Self::Policy { .. } => "policy",
            Self::Older { .. } => "older",
            Self::RolledBack { .. } => "rolled-back",
            Self::Forked { .. } => "forked",
            Self::Root { .. } => "root",
            Self::RootUnknown { .. } => "root-unknown",
            Self::TileLength { .. } => "tile-length",
            Self::Tile { .. } | Self::TileAbove { .. } => "tile",
            Self::RootOfTiles { .. } => "root",
            Self::Bundle { .. } => "bundle",
            Self::EntryChanged { .. } => "entry-changed",
            Self::Disagree { .. } => "entry-or-tile",
            Self::BundleDiffers { .. } => "bundle-differs",
            Self::Entry { .. } => "entry",
            Self::IdTwice { .. } => "id-twice",
            Self::ResponseTwice { .. } => "response-twice",
            Self::ResponseEarly { .. } => "response-early",
            Self::ResponseAlone { .. } => "response-alone",
            Self::Pack { .. } => "pack",
            Self::PackEmpty { .. } => "pack-empty",
            Self::PartHash { .. } => "part-hash",
            Self::PartDamaged { .. } => "part-damaged",
            Self::SealedMissing { .. } => "sealed-missing",
            Self::PartTwice { .. } => "part-twice",
            Self::PartUnnamed { .. } => "part-unnamed",
            Self::PartElsewhere { .. } | Self::PartLater { .. } => "part-elsewhere",
            Self::PartMissing { .. } => "part-missing",
            Self::PartLength { .. } => "part-length",
            Self::Manifest { .. } => "manifest",
            Self::Frame { .. } => "frame",
            Self::Body { .. } => "body",
            Self::Proof { .. } => "proof",
            Self::ProofEntry => "proof-entry",
            Self::State { .. } => "state",
            Self::Outside { code, .. } => code,
            Self::Numbering(numbering) => numbering.code(),
            Self::Custody(wrong) => wrong.fault.code(),
        }
    }

    /// The file that it is about.
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::Missing { file }
            | Self::MissingMany { file, .. }
            | Self::Unexpected { file }
            | Self::Gap { file }
            | Self::Repeats { file }
            | Self::Key { file }
            | Self::KeyDiffers { file }
            | Self::Checkpoint { file, .. }
            | Self::Cosignature { file, .. }
            | Self::Quorum { file, .. }
            | Self::Policy { file, .. }
            | Self::RolledBack { file, .. }
            | Self::Forked { file, .. }
            | Self::Root { file }
            | Self::RootUnknown { file }
            | Self::TileLength { file, .. }
            | Self::Tile { file, .. }
            | Self::TileAbove { file }
            | Self::RootOfTiles { file }
            | Self::Bundle { file, .. }
            | Self::EntryChanged { file, .. }
            | Self::Disagree { file, .. }
            | Self::BundleDiffers { file, .. }
            | Self::Entry { file, .. }
            | Self::Pack { file, .. }
            | Self::PackEmpty { file }
            | Self::PartHash { file, .. }
            | Self::PartDamaged { file, .. }
            | Self::PartTwice { file, .. }
            | Self::PartUnnamed { file, .. }
            | Self::PartElsewhere { file, .. }
            | Self::PartLater { file, .. } => Some(file),
            _ => None,
        }
    }

    /// The index of the entry that it is about.
    pub fn entry(&self) -> Option<u64> {
        match self {
            Self::EntryChanged { entry, .. }
            | Self::Disagree { entry, .. }
            | Self::BundleDiffers { entry, .. }
            | Self::Entry { entry, .. }
            | Self::IdTwice { entry, .. }
            | Self::ResponseTwice { entry, .. }
            | Self::ResponseEarly { entry, .. }
            | Self::ResponseAlone { entry }
            | Self::PartDamaged { entry, .. }
            | Self::PartElsewhere { entry, .. }
            | Self::PartLater { entry, .. }
            | Self::PartMissing { entry, .. }
            | Self::PartLength { entry, .. }
            | Self::SealedMissing { entry, .. }
            | Self::Manifest { entry, .. }
            | Self::Frame { entry, .. }
            | Self::Body { entry } => Some(*entry),
            Self::Numbering(numbering) => Some(numbering.entry()),
            Self::Custody(wrong) => Some(wrong.entry),
            _ => None,
        }
    }

    /// The part that it is about.
    pub fn part(&self) -> Option<Hash> {
        match self {
            Self::PartHash { part, .. }
            | Self::PartDamaged { part, .. }
            | Self::PartTwice { part, .. }
            | Self::PartUnnamed { part, .. }
            | Self::PartElsewhere { part, .. }
            | Self::PartLater { part, .. }
            | Self::PartMissing { part, .. }
            | Self::PartLength { part, .. }
            | Self::SealedMissing { part, .. }
            | Self::Manifest { part, .. }
            | Self::Frame { part, .. } => Some(*part),
            _ => None,
        }
    }
}

/// `code`, `file`, `entry`, `part` as far as there are any, and `message`.
impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("code", self.code())?;
        if let Some(file) = self.file() {
            map.serialize_entry("file", file)?;
        }
        if let Some(entry) = self.entry() {
            map.serialize_entry("entry", &entry)?;
        }
        if let Some(part) = self.part() {
            map.serialize_entry("part", &part)?;
        }
        map.serialize_entry("message", &self.to_string())?;
        map.end()
    }
}

/// An entry in a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its hash in the tree.
    pub hash: Hash,
}

/// Takes a bundle of `width` entries apart and hashes each.
pub fn leaves(bundle: &[u8], width: u16) -> Result<Vec<Leaf<'_>>, BundleError> {
    let entries = tile::parse_bundle(bundle, width)?;
    Ok(entries.into_iter().map(|bytes| Leaf { bytes, hash: leaf_hash(bytes) }).collect())
}

/// The root of a perfect subtree; of a full tile, its hash in the tile above.
///
/// # Panics
///
/// When the number of hashes is no power of two.
pub fn subtree_root(hashes: &[Hash]) -> Hash {
    assert!(hashes.len().is_power_of_two(), "a perfect subtree has a power of two of leaves");
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        for pair in 0..row.len() / 2 {
            row[pair] = node_hash(&row[2 * pair], &row[2 * pair + 1]);
        }
        row.truncate(row.len() / 2);
    }
    row[0]
}

/// A tree, as the hashes that tiles hold: every eighth level of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nodes {
    /// From the leaves upward; none is empty, unless the tree is.
    levels: Vec<Vec<Hash>>,
}

/// How a tile compares with the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileState {
    /// It has the tree's hashes.
    Same,
    /// It has the tree's hashes, and goes on beyond the tree's end.
    Beyond,
    /// It is not as many hashes as it should be.
    Length,
    /// The first hash that is another.
    Differs(u16),
}

impl Nodes {
    /// The tree above leaf hashes. `above` has the roots of its full tiles of
    /// leaves, in order: most of the work, which many threads can share.
    ///
    /// # Panics
    ///
    /// When there are not as many roots as full tiles.
    pub fn new(leaves: Vec<Hash>, above: Vec<Hash>) -> Self {
        assert_eq!(above.len(), leaves.len() / WIDTH as usize, "a root for each full tile");
        let mut levels = vec![leaves];
        let mut row = above;
        while !row.is_empty() {
            let above = row.chunks_exact(WIDTH as usize).map(subtree_root).collect();
            levels.push(row);
            row = above;
        }
        Self { levels }
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.levels[0].len() as u64
    }

    /// The hashes of the tile at a position, as many as the tree has.
    pub fn tile_at(&self, level: u8, index: u64) -> &[Hash] {
        let Some(row) = self.levels.get(usize::from(level)) else { return &[] };
        let start = usize::try_from(index.saturating_mul(WIDTH)).unwrap_or(usize::MAX).min(row.len());
        &row[start..(start + WIDTH as usize).min(row.len())]
    }

    /// All of a level of tiles.
    pub fn level(&self, level: u8) -> &[Hash] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// The root that the tree had with `size` leaves; `None` if it never had
    /// as many.
    pub fn root(&self, size: u64) -> Option<Hash> {
        tree::root(size, self.size(), self).ok()
    }

    /// Holds the bytes of a tile against the tree.
    pub fn compare(&self, id: TileId, bytes: &[u8]) -> TileState {
        if bytes.len() != usize::from(id.width) * Hash::BYTES {
            return TileState::Length;
        }
        let known = self.tile_at(id.level, id.index);
        match bytes.chunks_exact(Hash::BYTES).zip(known).position(|(found, known)| found != known.0) {
            Some(position) => TileState::Differs(position as u16),
            None if usize::from(id.width) > known.len() => TileState::Beyond,
            None => TileState::Same,
        }
    }
}

/// No such tile in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such tile")]
pub struct NoTile;

impl Tiles for Nodes {
    type Error = NoTile;

    fn tile(&self, level: u8, index: u64, width: u16) -> Result<Vec<u8>, NoTile> {
        let hashes = self.tile_at(level, index).get(..usize::from(width)).ok_or(NoTile)?;
        Ok(hashes.iter().flat_map(|hash| hash.0).collect())
    }
}

/// The hashes of a tile; `None` if it is not `width` of them.
pub fn tile_hashes(bytes: &[u8], width: u16) -> Option<Vec<Hash>> {
    if bytes.len() != usize::from(width) * Hash::BYTES {
        return None;
    }
    bytes.chunks_exact(Hash::BYTES).map(Hash::from_slice).collect()
}

/// What an entry says about others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its id.
    pub id: Name,
    /// The exchange, of a request or a response.
    pub exchange: Option<(Name, Side)>,
    /// What it says of its session.
    pub said: Said,
    /// What it says that custody is about; nothing, as nearly all, when `None`.
    pub custody: Option<Box<custody::Said>>,
}

/// Which side of an exchange an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// `exchange.request`.
    Request,
    /// `exchange.response`.
    Response,
}

/// An id in 32 bytes: itself, or of one that does not fit its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, std::hash::Hash)]
pub struct Name([u8; 32]);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Hash(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Hash::deserialize(deserializer).map(|hash| Self(hash.0))
    }
}

impl Name {
    /// The name of an id.
    pub fn of(id: &str) -> Self {
        Self::of_bytes(id.as_bytes())
    }

    pub(crate) fn of_bytes(id: &[u8]) -> Self {
        // The last byte is the length of one that fits, at most 31, and 255
        // of a hash: a ULID has 26.
        let mut name = [0; 32];
        if id.len() < 32 {
            name[..id.len()].copy_from_slice(id);
            name[31] = id.len() as u8;
        } else {
            name = sha256(id).0;
            name[31] = 0xff;
        }
        Self(name)
    }
}

impl Facts {
    /// What an entry says.
    pub fn of(entry: &Entry) -> Self {
        let side = match entry.kind {
            Kind::Request => Some(Side::Request),
            Kind::Response => Some(Side::Response),
            _ => None,
        };
        let exchange = entry.exchange.as_deref().zip(side).map(|(id, side)| (Name::of(id), side));
        Self { id: Name::of(&entry.id), exchange, said: Said::of(entry), custody: custody::Said::of(entry) }
    }
}

/// A request or a response at its place: exchange, entry, side.
pub type Event = (Name, u64, Side);

/// How requests and responses stand to each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs {
    /// How many exchanges there are.
    pub exchanges: u64,
    /// Requests without a response, ascending. That is no fault.
    pub open: Vec<u64>,
    /// Responses without a request, ascending. That is one, unless some of
    /// the log was not read.
    pub alone: Vec<u64>,
    /// What is wrong whatever else there is.
    pub problems: Vec<Problem>,
}

/// Holds responses against requests. The events are sorted. (A second request
/// has the first one's id, which [`ids_twice`] finds.)
pub fn pair(sorted: &[Event]) -> Pairs {
    let mut pairs = Pairs::default();
    for exchange in sorted.chunk_by(|a, b| a.0 == b.0) {
        pairs.exchanges += 1;
        let first = |side| exchange.iter().find(|event| event.2 == side).map(|event| event.1);
        let (request, response) = (first(Side::Request), first(Side::Response));
        match (request, response) {
            (Some(request), None) => pairs.open.push(request),
            (None, Some(response)) => pairs.alone.push(response),
            (Some(request), Some(entry)) if entry < request => {
                pairs.problems.push(Problem::ResponseEarly { entry, request });
            }
            _ => {}
        }
        let responses = exchange.iter().filter(|event| event.2 == Side::Response).skip(1);
        pairs.problems.extend(
            responses.filter_map(|event| response.map(|first| Problem::ResponseTwice { entry: event.1, first })),
        );
    }
    pairs.open.sort_unstable();
    pairs.alone.sort_unstable();
    pairs
}

/// The entries that have an id which an earlier one has. The ids are sorted.
pub fn ids_twice(sorted: &[(Name, u64)]) -> impl Iterator<Item = Problem> {
    sorted
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|same| same.len() > 1)
        .flat_map(|same| same[1..].iter().map(|&(_, entry)| Problem::IdTwice { entry, first: same[0].1 }))
}

/// Where a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    /// Its name.
    pub part: Hash,
    /// The pack.
    pub pack: u64,
    /// Where its bytes start in the pack.
    pub offset: u64,
    /// How many bytes it has.
    pub length: u32,
    /// The bytes do not have the hash.
    pub damaged: bool,
}

/// What packs hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Packed {
    /// Parts of redacted content, below `content/`.
    Content,
    /// Pieces of sealed originals, below `sealed/`.
    Sealed,
}

impl Packed {
    /// The directory of such packs.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Sealed => "sealed",
        }
    }

    /// The name of a pack.
    pub fn file(self, number: u64) -> String {
        format!("{}/{}", self.directory(), tile::index_path(number))
    }
}

/// The name of a content pack.
pub fn pack_file(number: u64) -> String {
    Packed::Content.file(number)
}

/// Takes a pack apart and hashes every part, going on after one that is
/// damaged. Gives what it found, and what was wrong.
pub fn parts_of(packed: Packed, number: u64, pack: &[u8]) -> (Vec<Placed>, Vec<Problem>) {
    take_apart(packed, number, pack, |part, bytes| sha256(bytes) != part)
}

/// [`parts_of`] without hashing: for finding parts in packs that are verified
/// another time.
pub fn places_of(packed: Packed, number: u64, pack: &[u8]) -> (Vec<Placed>, Vec<Problem>) {
    take_apart(packed, number, pack, |_, _| false)
}

fn take_apart(
    packed: Packed,
    number: u64,
    pack: &[u8],
    is_damaged: impl Fn(Hash, &[u8]) -> bool,
) -> (Vec<Placed>, Vec<Problem>) {
    let file = || packed.file(number);
    let (mut placed, mut problems) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < pack.len() {
        let Some((header, body)) = pack[at..].split_first_chunk::<PART_HEADER_BYTES>() else {
            problems.push(Problem::Pack { file: file(), error: PackError::Short(at) });
            break;
        };
        let (name, length) = header.split_first_chunk::<32>().expect("36 bytes");
        let length = u32::from_be_bytes(length.try_into().expect("36 - 32 bytes"));
        let Some(bytes) = usize::try_from(length).ok().and_then(|length| body.get(..length)) else {
            problems.push(Problem::Pack { file: file(), error: PackError::Short(at) });
            break;
        };
        let part = Hash(*name);
        let damaged = is_damaged(part, bytes);
        if damaged {
            problems.push(Problem::PartHash { file: file(), part });
        }
        let offset = at + PART_HEADER_BYTES;
        placed.push(Placed { part, pack: number, offset: offset as u64, length, damaged });
        at = offset + bytes.len();
    }
    if pack.is_empty() {
        problems.push(Problem::PackEmpty { file: file() });
    }
    (placed, problems)
}

/// Which pack has which part: a sorted list, and where in it each group of
/// leading bits starts. (Names are hashes, so the groups are about as long.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    sorted: Vec<Placed>,
    starts: Vec<usize>,
    shift: u32,
}

impl Parts {
    /// From places in ascending order.
    pub fn from_sorted(sorted: Vec<Placed>) -> Self {
        debug_assert!(sorted.is_sorted());
        // About four names to a group; 2 to 2^28 groups.
        let bits = (sorted.len() / 4 + 2).ilog2().clamp(1, 28);
        let shift = 64 - bits;
        let mut starts = Vec::with_capacity((1 << bits) + 1);
        let mut at = 0;
        for group in 0..1_u64 << bits {
            while sorted.get(at).is_some_and(|placed| prefix(&placed.part) >> shift < group) {
                at += 1;
            }
            starts.push(at);
        }
        starts.push(sorted.len());
        Self { sorted, starts, shift }
    }

    /// How many places there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The number of the first place of a part.
    pub fn find(&self, part: &Hash) -> Option<usize> {
        let group = (prefix(part) >> self.shift) as usize;
        let (start, end) = (self.starts[group], self.starts[group + 1]);
        let within = self.sorted[start..end].partition_point(|placed| placed.part < *part);
        let found = start + within;
        self.sorted.get(found).is_some_and(|placed| placed.part == *part).then_some(found)
    }

    /// A place by its number.
    pub fn at(&self, number: usize) -> &Placed {
        &self.sorted[number]
    }

    /// The places, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Placed> {
        self.sorted.iter()
    }

    /// The places of parts that have an earlier one.
    pub fn twice(&self, packed: Packed) -> impl Iterator<Item = Problem> {
        self.sorted.chunk_by(|a, b| a.part == b.part).filter(|same| same.len() > 1).flat_map(move |same| {
            same[1..].iter().map(move |placed| Problem::PartTwice {
                file: packed.file(placed.pack),
                part: placed.part,
                first: packed.file(same[0].pack),
            })
        })
    }

    /// What is wrong with a place, given the first entry that names the part
    /// and where the next pack, or the log, ends the batch.
    pub fn misplaced(packed: Packed, placed: &Placed, first_named: Option<u64>, end: u64) -> Option<Problem> {
        let (file, part) = (packed.file(placed.pack), placed.part);
        match first_named {
            None => Some(Problem::PartUnnamed { file, part }),
            Some(entry) if (placed.pack..end).contains(&entry) => None,
            Some(entry) => Some(Problem::PartElsewhere { file, part, entry }),
        }
    }
}

fn prefix(hash: &Hash) -> u64 {
    u64::from_be_bytes(hash.0[..8].try_into().expect("8 of 32 bytes"))
}

/// Puts a body together, part by part, and holds it against what the entry
/// says of it. `parts` are the frame and those after it, of the content or of
/// its manifest; `fetch` gives the bytes of one. Gives the body's length.
pub fn check_body<B: AsRef<[u8]>, E>(
    entry: u64,
    content: &Content,
    parts: &[Part],
    mut fetch: impl FnMut(&Part) -> Result<B, E>,
) -> Result<Result<u64, Problem>, E> {
    let Some((frame, parts)) = parts.split_first() else { return Ok(Err(Problem::Body { entry })) };
    let frame_bytes = fetch(frame)?;
    let places = frame_bytes.as_ref().iter().filter(|byte| **byte == PLACEHOLDER).count();
    if places != parts.len() {
        return Ok(Err(Problem::Frame { entry, part: frame.sha256 }));
    }
    // Before anything is hashed, so that nobody can make a body of terabytes
    // from a few parts.
    let literal = frame_bytes.as_ref().len() - places;
    let length = parts.iter().try_fold(literal as u64, |sum, part| sum.checked_add(part.bytes));
    let (Some(length), Some(sha256)) = (length.filter(|length| content.bytes == Some(*length)), content.sha256) else {
        return Ok(Err(Problem::Body { entry }));
    };
    let mut hasher = Sha256::new();
    let mut parts = parts.iter();
    for (nth, piece) in frame_bytes.as_ref().split(|byte| *byte == PLACEHOLDER).enumerate() {
        if nth > 0 {
            let part = parts.next().expect("as many parts as places");
            hasher.update(fetch(part)?.as_ref());
        }
        hasher.update(piece);
    }
    let right = Hash(hasher.finalize().into()) == sha256;
    Ok(if right { Ok(length) } else { Err(Problem::Body { entry }) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::encode_part;
    use crate::tree::Frontier;

    fn hash(n: u64) -> Hash {
        sha256(n.to_be_bytes())
    }

    fn nodes(size: u64) -> Nodes {
        let leaves: Vec<Hash> = (0..size).map(hash).collect();
        let above = leaves.chunks_exact(256).map(subtree_root).collect();
        Nodes::new(leaves, above)
    }

    #[test]
    fn nodes_have_the_root_of_every_earlier_size() {
        let tree = nodes(600);
        let mut frontier = Frontier::new();
        for size in 0..=600 {
            assert_eq!(tree.root(size), Some(frontier.root()), "size {size}");
            frontier.push(hash(size));
        }
        assert_eq!(tree.root(601), None);
    }

    #[test]
    fn a_tile_with_any_bit_flipped_differs() {
        let tree = nodes(258);
        for id in tile::tiles_of(258) {
            let bytes = tree.tile(id.level, id.index, id.width).unwrap();
            assert_eq!(tree.compare(id, &bytes), TileState::Same);
            assert_eq!(tree.compare(id, &bytes[1..]), TileState::Length);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(tree.compare(id, &flipped), TileState::Differs((bit / 256) as u16));
            }
        }
        let beyond = TileId { level: 0, index: 1, width: 3 };
        let bytes: Vec<u8> = (256..259).flat_map(|n| hash(n).0).collect();
        assert_eq!(tree.compare(beyond, &bytes), TileState::Beyond);
    }

    #[test]
    fn finds_every_part_and_no_other() {
        for count in [0, 1, 2, 3, 100, 1000] {
            let place = |n| Placed { part: hash(n), pack: n, offset: 0, length: 0, damaged: false };
            let mut sorted: Vec<Placed> = (0..count).map(place).collect();
            sorted.sort_unstable();
            let parts = Parts::from_sorted(sorted);
            for n in 0..count {
                assert_eq!(parts.at(parts.find(&hash(n)).unwrap()).pack, n);
            }
            assert!((count..count + 100).all(|n| parts.find(&hash(n)).is_none()));
            assert_eq!(parts.find(&Hash([0; 32])), None);
            assert_eq!(parts.find(&Hash([0xff; 32])), None);
            assert_eq!(parts.twice(Packed::Content).count(), 0);
        }
    }

    #[test]
    fn a_pack_with_any_bit_flipped_or_cut_anywhere_has_a_problem_or_other_parts() {
        let mut pack = Vec::new();
        let names: Vec<Hash> = [&b"first"[..], b"", b"third"].map(|part| encode_part(&mut pack, part)).to_vec();
        let (placed, problems) = parts_of(Packed::Content, 0, &pack);
        assert_eq!(placed.iter().map(|placed| placed.part).collect::<Vec<_>>(), names);
        assert!(problems.is_empty());
        for bit in 0..pack.len() * 8 {
            let mut flipped = pack.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!parts_of(Packed::Content, 0, &flipped).1.is_empty(), "bit {bit}");
        }
        for cut in 0..pack.len() {
            let (placed, problems) = parts_of(Packed::Content, 0, &pack[..cut]);
            assert!(!problems.is_empty() || placed.len() < names.len(), "cut at {cut}");
        }
        let damaged = parts_of(Packed::Content, 0, &[&pack[..40], b"X", &pack[41..]].concat());
        assert_eq!(damaged.0.len(), 3, "goes on after a damaged part");
        assert!(damaged.0[0].damaged && !damaged.0[1].damaged);
    }

    #[test]
    fn pairs_requests_and_responses() {
        let run = |events: &[(&str, Side)]| {
            let mut events: Vec<Event> =
                (0..).zip(events).map(|(index, (id, side))| (Name::of(id), index, *side)).collect();
            events.sort_unstable();
            pair(&events)
        };
        use Side::{Request, Response};
        let fine = run(&[("a", Request), ("b", Request), ("a", Response)]);
        assert_eq!((fine.exchanges, fine.open, fine.alone, fine.problems), (2, vec![1], vec![], vec![]));
        let early = run(&[("a", Response), ("a", Request)]);
        assert_eq!(early.problems, [Problem::ResponseEarly { entry: 0, request: 1 }]);
        let twice = run(&[("a", Request), ("a", Response), ("a", Response), ("a", Response)]);
        assert_eq!(
            twice.problems,
            [Problem::ResponseTwice { entry: 2, first: 1 }, Problem::ResponseTwice { entry: 3, first: 1 }]
        );
        assert_eq!(run(&[("a", Request), ("b", Response)]).alone, [1]);
    }

    #[test]
    fn names_differ_where_ids_do() {
        let ids = ["", "a", "a\0", "01ARZ3NDEKTSV4RRFFQ69G5FAV", &"x".repeat(31), &"x".repeat(32), &"x".repeat(33)];
        for (i, a) in ids.iter().enumerate() {
            for (j, b) in ids.iter().enumerate() {
                assert_eq!(Name::of(a) == Name::of(b), i == j);
            }
        }
        let ids = [(Name::of("a"), 1), (Name::of("a"), 4), (Name::of("a"), 9), (Name::of("b"), 2)];
        let twice: Vec<Problem> = ids_twice(&ids).collect();
        assert_eq!(twice, [Problem::IdTwice { entry: 4, first: 1 }, Problem::IdTwice { entry: 9, first: 1 }]);
    }

    #[test]
    fn refuses_a_body_that_is_not_what_the_entry_says() {
        let pieces: [&[u8]; 3] = [b"[\0,\0]", b"1", b"22"];
        let part = |role: &str, bytes: &[u8]| Part {
            role: role.to_owned(),
            sha256: sha256(bytes),
            bytes: bytes.len() as u64,
            findings: Default::default(),
        };
        let parts = vec![part("frame", pieces[0]), part("user", pieces[1]), part("user", pieces[2])];
        let content = Content { sha256: Some(sha256("[1,22]")), bytes: Some(6), ..Default::default() };
        let check = |content: &Content, parts: &[Part]| {
            let fetch = |part: &Part| {
                Ok::<_, std::convert::Infallible>(*pieces.iter().find(|piece| sha256(piece) == part.sha256).unwrap())
            };
            match check_body(7, content, parts, fetch) {
                Ok(checked) => checked,
                Err(never) => match never {},
            }
        };
        let body = Err(Problem::Body { entry: 7 });
        assert_eq!(check(&content, &parts), Ok(6));
        assert_eq!(check(&Content { bytes: Some(7), ..content.clone() }, &parts), body);
        assert_eq!(check(&Content { sha256: Some(sha256("[22,1]")), ..content.clone() }, &parts), body);
        assert_eq!(check(&content, &[parts[0].clone(), parts[2].clone(), parts[1].clone()]), body);
        assert_eq!(check(&content, &[]), body);
        assert!(matches!(check(&content, &parts[..2]), Err(Problem::Frame { entry: 7, .. })));
        assert!(matches!(check(&content, &parts[1..]), Err(Problem::Frame { .. })));
    }
}
