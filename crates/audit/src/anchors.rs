//! What anchors prove of when entries were recorded. (`docs/format.md`,
//! section *Anchors*.)
//!
//! Everything here returns facts: what is proved, what is contradicted, what
//! could not be checked. It needs the log's key and its tiles, and does not
//! rest on the rest of the verification: the root that an anchor is about is
//! computed from the tiles, and shown to be one that the signed checkpoint
//! extends.
//!
//! - *Existed no later than*: an authority or a block that the verifier trusts
//!   vouches for the root of the first `size` entries.
//! - *Recorded not before*: an entry holds the hash of such a token. Nobody
//!   could know it before the token was made, so that entry and all after it
//!   took their places in this log later than the token's time. What they say
//!   may be older.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tabellion_evidence::anchor::{self, Bounds, Kind, Name, TOLERANCE, TimeError};
use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::entry::Entry;
use tabellion_evidence::note::{VerifierKey, parse_keys};
use tabellion_evidence::ots::{Attestation, BLOCK_ACCURACY, BlockHeader, HeaderError, OtsError, OtsProof};
use tabellion_evidence::tile::{self, WIDTH};
use tabellion_evidence::time::Time;
use tabellion_evidence::timestamp::{Expected, Policy, Roots, TimestampError, Token};
use tabellion_evidence::tree::{self, sha256};

use crate::entries::width_of;
use crate::files::bundle_file;
use crate::tree::SourceTiles;
use crate::{CHECKPOINT, Source, SourceError, VKEY};

/// The most anchors that are looked at; one an hour for a hundred years.
const ANCHORS_MAX: usize = 1_000_000;

/// The entry that declares an anchor is looked for in so many bundles behind
/// what it is about: an authority answers within seconds.
const DECLARED_WITHIN: u64 = 256;

/// Asks a node for the header of the block at a height; an error says why
/// there is none.
pub type AskNode<'a> = &'a dyn Fn(u64) -> Result<BlockHeader, String>;

/// Whom the verifier believes about time.
pub struct Trust<'a> {
    /// The roots of timestamp authorities.
    pub roots: Option<Roots>,
    /// The policy that their tokens must be given under.
    pub policy: Option<Policy>,
    /// Headers of Bitcoin blocks that the verifier holds from elsewhere.
    pub headers: Vec<BlockHeader>,
    /// A Bitcoin node.
    pub node: Option<AskNode<'a>>,
    /// The least work, in bits, that a block header must have taken.
    pub work_bits_min: u32,
}

/// What anchors say of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Anchors {
    /// What is proved, by size.
    pub existed: Vec<Existed>,
    /// What is proved of when entries were recorded at the earliest, by entry.
    pub not_before: Vec<NotBefore>,
    /// What is contradicted.
    pub contradicted: Vec<Contradiction>,
    /// What could not be checked.
    pub unchecked: Vec<Unchecked>,
}

/// The first entries of the log existed no later than a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Existed {
    /// The anchor's file.
    pub file: String,
    /// How many entries.
    pub size: u64,
    /// The latest time, with the evidence's own inaccuracy added.
    pub no_later_than: Time,
    /// Whose word it is: a certificate's subject, or a block.
    pub by: String,
}

/// Entries took their places in the log no earlier than a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotBefore {
    /// The first of them.
    pub entry: u64,
    /// The earliest time, with the evidence's own inaccuracy taken off.
    pub time: Time,
    /// The file of the anchor that this entry holds the hash of.
    pub file: String,
}

/// Why an anchor speaks against the log, or against itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// A token that does not verify.
    #[error("{0}")]
    Token(TimestampError),
    /// A proof that cannot be read or is about other bytes.
    #[error("{0}")]
    Ots(OtsError),
    /// A block header that does not attest what the proof says.
    #[error("{0}")]
    Header(HeaderError),
    /// The log has fewer entries: it was rolled back, or the file is not its.
    #[error("it is about {size} entries, and the log has only {log}")]
    Beyond {
        /// How many entries it is about.
        size: u64,
        /// How many the log has.
        log: u64,
    },
    /// The tiles say that the log never had this root.
    #[error("the log's tiles do not lead from the entries that it is about to the checkpoint")]
    Diverged,
    /// An entry that it is about is newer.
    #[error("{0}: it is back-dated, or the log's clock was ahead")]
    Time(TimeError),
    /// An anchor of fewer entries, or one that the log declared before, says
    /// that it was later.
    #[error("{other}, which came before, has a later time: one of them is back-dated or post-dated")]
    Order {
        /// The other anchor's file.
        other: String,
    },
}

/// A contradiction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contradiction {
    /// The anchor's file.
    pub file: String,
    /// What is wrong.
    #[serde(serialize_with = "as_text")]
    pub wrong: Wrong,
}

fn as_text<S: serde::Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.wrong)
    }
}

/// Something that could not be checked, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unchecked {
    /// The file; of the anchors as a whole, their directory.
    pub file: String,
    /// Why not.
    pub why: String,
}

impl fmt::Display for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.why)
    }
}

/// Checks the anchors beside a log. An error means that the evidence could not
/// be read, and says nothing about it.
pub fn check(source: &dyn Source, key: Option<&VerifierKey>, trust: &Trust<'_>) -> Result<Anchors, SourceError> {
    let mut run = Run { source, trust, said: Anchors::default(), sound: Vec::new() };
    // Listed before the checkpoint is read: a running log may add to both.
    let Some(mut files) = source.list(anchor::DIRECTORY)? else {
        run.unchecked(anchor::DIRECTORY, "anchors cannot be had from here");
        return Ok(run.said);
    };
    let beside = match key {
        Some(_) => None,
        None => source
            .read(VKEY)?
            .and_then(|bytes| Some(parse_keys(std::str::from_utf8(&bytes).ok()?).ok()?.swap_remove(0))),
    };
    let checkpoint = match (source.read(CHECKPOINT)?, key.or(beside.as_ref())) {
        (Some(bytes), Some(key)) => checkpoint::verify(&bytes, key).ok(),
        _ => None,
    };
    let Some(checkpoint) = checkpoint else {
        run.unchecked(anchor::DIRECTORY, "the checkpoint does not verify, so nothing says what they are about");
        return Ok(run.said);
    };
    if files.len() > ANCHORS_MAX {
        run.unchecked(
            anchor::DIRECTORY,
            format!("there are more than {ANCHORS_MAX} anchors; the others were not looked at"),
        );
        files.truncate(ANCHORS_MAX);
    }
    let mut names = Vec::new();
    for file in files {
        match Name::parse(&file) {
            Some(name) => names.push(name),
            None => run.unchecked(&format!("{}/{file}", anchor::DIRECTORY), "no anchor is called that"),
        }
    }
    names.sort_unstable();
    for name in &names {
        let complete = Name { kind: Kind::OpenTimestamps, ..*name };
        // A promise that was kept has nothing more to say.
        if name.kind != Kind::Pending || !names.contains(&complete) {
            run.anchor(&checkpoint, *name)?;
        }
    }
    run.order();
    run.declared(&checkpoint)?;
    Ok(run.said)
}

/// An anchor that verified.
struct Sound {
    name: Name,
    hash: String,
    /// It was made no earlier.
    earliest: Time,
    /// What it vouches for existed by then.
    latest: Time,
    /// Where the log says that it holds it.
    declared: Option<u64>,
}

struct Run<'a> {
    source: &'a dyn Source,
    trust: &'a Trust<'a>,
    said: Anchors,
    sound: Vec<Sound>,
}

impl Run<'_> {
    fn unchecked(&mut self, file: &str, why: impl Into<String>) {
        self.said.unchecked.push(Unchecked { file: file.to_owned(), why: why.into() });
    }

    fn wrong(&mut self, name: Name, wrong: Wrong) {
        self.said.contradicted.push(Contradiction { file: name.path(), wrong });
    }

    fn anchor(&mut self, head: &Checkpoint, name: Name) -> Result<(), SourceError> {
        let Some(bytes) = self.source.read(&name.path())? else { return Ok(()) };
        if name.size > head.size {
            self.wrong(name, Wrong::Beyond { size: name.size, log: head.size });
            return Ok(());
        }
        let tiles = SourceTiles(self.source);
        let root = match tree::root(name.size, head.size, &tiles) {
            Ok(root) => root,
            Err(_) => {
                self.unchecked(&name.path(), "tiles are missing or damaged, so its root is not known");
                return Ok(());
            }
        };
        let extends = tree::consistency_proof(name.size, head.size, &tiles)
            .is_ok_and(|proof| tree::verify_consistency(name.size, &root, head.size, &head.root, &proof).is_ok());
        if !extends {
            self.wrong(name, Wrong::Diverged);
            return Ok(());
        }
        let message = anchor::message(&Checkpoint::new(&*head.origin, name.size, root));
        let newest_entry = self.newest_entry(name.size, head.size)?;
        match name.kind {
            Kind::Rfc3161 => self.token(name, &bytes, &message, newest_entry),
            Kind::OpenTimestamps | Kind::Pending => self.ots(name, &bytes, &message, newest_entry),
        }
        Ok(())
    }

    fn token(&mut self, name: Name, bytes: &[u8], message: &str, newest_entry: Option<Time>) {
        let token = match Token::parse(bytes) {
            Ok(token) => token,
            Err(error) => return self.wrong(name, Wrong::Token(error)),
        };
        let Some(roots) = &self.trust.roots else {
            if !token.is_about(message.as_bytes()) {
                return self.wrong(name, Wrong::Token(TimestampError::Imprint));
            }
            return self.unchecked(&name.path(), "no roots were given, so nobody knows whose word it is");
        };
        let expected = Expected { nonce: None, policy: self.trust.policy };
        let timestamp = match token.verify(message.as_bytes(), roots, &expected) {
            Ok(timestamp) => timestamp,
            // Another authority's word may be as good: it is the verifier who does not know it.
            Err(error @ TimestampError::Chain(tabellion_evidence::timestamp::ChainError::Issuer)) => {
                return self.unchecked(&name.path(), error.to_string());
            }
            Err(error) => return self.wrong(name, Wrong::Token(error)),
        };
        let time = (timestamp.time, timestamp.accuracy, newest_entry);
        self.sound(name, bytes, time, timestamp.authority.clone());
    }

    fn ots(&mut self, name: Name, bytes: &[u8], message: &str, newest_entry: Option<Time>) {
        let attested = OtsProof::parse(bytes).and_then(|proof| proof.attestations(message.as_bytes()));
        let attested = match attested {
            Ok(attested) => attested,
            Err(error) => return self.wrong(name, Wrong::Ots(error)),
        };
        let mut why = "it is a calendar's promise, which proves nothing yet".to_owned();
        for one in attested {
            let Attestation::Bitcoin { height } = one.attestation else { continue };
            let given = self.trust.headers.iter().find(|header| header.merkle_root() == one.message).copied();
            let header = match (given, self.trust.node) {
                (Some(header), _) => header,
                (None, Some(node)) => match node(height) {
                    Ok(header) => header,
                    Err(error) => {
                        why = format!("the node did not say what block {height} is: {error}");
                        continue;
                    }
                },
                (None, None) => {
                    why = format!("the header of Bitcoin block {height} was not given");
                    continue;
                }
            };
            match header.attest(&one.message, self.trust.work_bits_min) {
                Ok(block) => {
                    let by = format!("Bitcoin block {height}, {}", block.block);
                    return self.sound(name, bytes, (block.time, BLOCK_ACCURACY, newest_entry), by);
                }
                Err(error) => return self.wrong(name, Wrong::Header(error)),
            }
        }
        self.unchecked(&name.path(), why);
    }

    fn sound(
        &mut self,
        name: Name,
        bytes: &[u8],
        (time, accuracy, newest_entry): (Time, Duration, Option<Time>),
        by: String,
    ) {
        let bounds = Bounds { asked: None, newest_entry, tolerance: TOLERANCE };
        if let Err(error) = bounds.check(time, accuracy) {
            return self.wrong(name, Wrong::Time(error));
        }
        let latest = time.plus(accuracy);
        self.said.existed.push(Existed { file: name.path(), size: name.size, no_later_than: latest, by });
        let hash = sha256(bytes).to_string();
        self.sound.push(Sound { name, hash, earliest: time.minus(accuracy), latest, declared: None });
    }

    /// The newest time among the entries of the last bundle of the log of
    /// `size` entries.
    fn newest_entry(&self, size: u64, log: u64) -> Result<Option<Time>, SourceError> {
        let Some(last) = size.checked_sub(1) else { return Ok(None) };
        let entries = self.bundle(last / WIDTH, log)?;
        let within = (last % WIDTH) as usize + 1;
        Ok(entries.iter().take(within).filter_map(|entry| Time::parse_rfc3339(&entry.time)).max())
    }

    /// The entries of a bundle, as far as they can be read.
    fn bundle(&self, number: u64, size: u64) -> Result<Vec<Entry>, SourceError> {
        let width = width_of(number, size);
        for width in [width, WIDTH as u16] {
            if let Some(bytes) = self.source.read(&bundle_file(number, width))? {
                let entries = tile::parse_bundle(&bytes, width).unwrap_or_default();
                return Ok(entries.into_iter().map_while(|bytes| Entry::parse(bytes).ok()).collect());
            }
        }
        Ok(Vec::new())
    }

    /// A token is asked for when its size is the newest. So one of fewer
    /// entries is not later than one of more. (A block comes hours after what
    /// it is about, so its time says nothing of this.)
    fn order(&mut self) {
        let mut newest: Option<(Time, Name)> = None;
        let mut wrong = Vec::new();
        for sound in &self.sound {
            if let Some((earliest, other)) = newest
                && other.size < sound.name.size
                && earliest > sound.latest.plus(TOLERANCE)
            {
                wrong.push((sound.name, Wrong::Order { other: other.path() }));
            }
            if sound.name.kind == Kind::Rfc3161 && newest.is_none_or(|(time, _)| sound.earliest > time) {
                newest = Some((sound.earliest, sound.name));
            }
        }
        for (name, wrong) in wrong {
            self.wrong(name, wrong);
        }
    }

    /// Looks for the entries that hold an anchor's hash.
    fn declared(&mut self, head: &Checkpoint) -> Result<(), SourceError> {
        for at in 0..self.sound.len() {
            let (from, hash) = (self.sound[at].name.size, self.sound[at].hash.clone());
            let bundles = from / WIDTH..head.size.div_ceil(WIDTH).min(from / WIDTH + DECLARED_WITHIN);
            'found: for bundle in bundles {
                for (index, entry) in (bundle * WIDTH..).zip(self.bundle(bundle, head.size)?) {
                    let names = |entry: &Entry| entry.tags.get(anchor::ENTRY_SHA256).is_some_and(|said| *said == hash);
                    if index >= from && entry.kind.as_str() == anchor::ENTRY_KIND && names(&entry) {
                        self.sound[at].declared = Some(index);
                        break 'found;
                    }
                }
            }
        }
        let mut declared: Vec<(u64, Time, Name)> =
            self.sound.iter().filter_map(|sound| Some((sound.declared?, sound.earliest, sound.name))).collect();
        declared.sort_unstable();
        self.said.not_before =
            declared.iter().map(|&(entry, time, name)| NotBefore { entry, time, file: name.path() }).collect();
        // Whoever vouches for the log with such an entry in it cannot have done so before.
        let mut wrong = Vec::new();
        let mut before: Option<(Time, Name)> = None;
        let mut declared = declared.into_iter().peekable();
        for later in &self.sound {
            while let Some((_, time, name)) = declared.next_if(|(entry, ..)| *entry < later.name.size) {
                before = before.max(Some((time, name)));
            }
            if let Some((_, name)) = before.filter(|(time, _)| *time > later.latest.plus(TOLERANCE)) {
                wrong.push((later.name, Wrong::Order { other: name.path() }));
            }
        }
        for (name, wrong) in wrong {
            if !self.said.contradicted.iter().any(|known| known.file == name.path()) {
                self.wrong(name, wrong);
            }
        }
        // What is contradicted proves nothing.
        let contradicted = &self.said.contradicted;
        self.said.existed.retain(|one| contradicted.iter().all(|wrong| wrong.file != one.file));
        self.said.not_before.retain(|one| contradicted.iter().all(|wrong| wrong.file != one.file));
        Ok(())
    }
}
