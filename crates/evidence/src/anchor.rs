//! Anchors: outside evidence of when a log had a certain root. Which bytes it
//! is about, what its file is called, and what its time must fit.
//! (`docs/format.md`, section *Anchors*.)
//!
//! The evidence itself is read by [`crate::timestamp`] and [`crate::ots`].

use std::fmt;
use std::time::Duration;

use crate::checkpoint::Checkpoint;
use crate::tile::parse_decimal;
use crate::time::Time;

/// The directory of anchors.
pub const DIRECTORY: &str = "anchors";

/// How far the clocks of honest authorities and logs may be apart.
pub const TOLERANCE: Duration = Duration::from_secs(60);

/// The kind of the entry by which the log says that it holds an anchor.
pub const ENTRY_KIND: &str = "custody.anchor";

/// The tag of such an entry that has the file's SHA-256.
pub const ENTRY_SHA256: &str = "sha256";

/// The tag of such an entry that has the file's name.
pub const ENTRY_FILE: &str = "file";

/// The bytes that an anchor is about: the first three lines of the checkpoint,
/// which is all of its text that we ever write. They follow from the log's
/// name and its first `size` entries, so a verifier needs no old checkpoint.
pub fn message(checkpoint: &Checkpoint) -> String {
    Checkpoint::new(&*checkpoint.origin, checkpoint.size, checkpoint.root).to_text()
}

/// What kind of evidence a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An authority's answer (RFC 3161), as it was received.
    Rfc3161,
    /// An OpenTimestamps proof that leads to a Bitcoin block.
    OpenTimestamps,
    /// An OpenTimestamps proof that leads to calendars so far.
    Pending,
}

/// The name of an anchor's file: `12.tsr`, `12.ots`, `12.pending.ots`; a
/// second one about the same size is `12-2.tsr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// How many entries the log had.
    pub size: u64,
    /// 1, or more where there are several.
    pub number: u64,
    /// What it holds.
    pub kind: Kind,
}

impl Name {
    /// Reads a file's name, without its directory.
    pub fn parse(name: &str) -> Option<Self> {
        let (kind, stem) = [(Kind::Rfc3161, ".tsr"), (Kind::Pending, ".pending.ots"), (Kind::OpenTimestamps, ".ots")]
            .into_iter()
            .find_map(|(kind, end)| Some((kind, name.strip_suffix(end)?)))?;
        let (size, number) = match stem.split_once('-') {
            None => (stem, 1),
            Some((size, number)) => (size, parse_decimal(number).filter(|&number| number > 1)?),
        };
        Some(Self { size: parse_decimal(size)?, number, kind })
    }

    /// The file's path in a data directory.
    pub fn path(&self) -> String {
        format!("{DIRECTORY}/{self}")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.kind {
            Kind::Rfc3161 => "tsr",
            Kind::OpenTimestamps => "ots",
            Kind::Pending => "pending.ots",
        };
        match self.number {
            1 => write!(f, "{}.{end}", self.size),
            number => write!(f, "{}-{number}.{end}", self.size),
        }
    }
}

/// Why a time cannot be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeError {
    /// Before anybody had asked.
    #[error("the time is before it was asked for: back-dated, or a clock is wrong")]
    BackDated,
    /// After the answer had come.
    #[error("the time is after it was answered: post-dated, or a clock is wrong")]
    PostDated,
    /// Before an entry that it is about.
    #[error("the time is before an entry that it is about")]
    BeforeEntry,
}

/// What is known of when an anchor came to be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// When it was asked for and answered, by our clock; of an anchor that is
    /// found in a log, nobody knows any more.
    pub asked: Option<(Time, Time)>,
    /// The time of the newest entry that it is about, by the log.
    pub newest_entry: Option<Time>,
    /// How far two clocks may be apart.
    pub tolerance: Duration,
}

impl Bounds {
    /// Checks a time that is true within `accuracy`. A token that is
    /// back-dated has a good signature, so this is what finds it.
    pub fn check(&self, time: Time, accuracy: Duration) -> Result<(), TimeError> {
        let (earliest, latest) = (time.minus(accuracy).minus(self.tolerance), time.plus(accuracy).plus(self.tolerance));
        if let Some((asked, answered)) = self.asked {
            if latest < asked {
                return Err(TimeError::BackDated);
            }
            if earliest > answered {
                return Err(TimeError::PostDated);
            }
        }
        if self.newest_entry.is_some_and(|entry| latest < entry) {
            return Err(TimeError::BeforeEntry);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["0.tsr", "12.tsr", "12-2.tsr", "18446744073709551615.ots", "7.pending.ots", "7-10.pending.ots"] {
            assert_eq!(Name::parse(name).unwrap().to_string(), name);
        }
        for name in
            ["", ".tsr", "012.tsr", "12-1.tsr", "12-0.tsr", "12-02.tsr", "12.tsr.tmp", "+1.ots", "1.pending", "1 .ots"]
        {
            assert_eq!(Name::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_time_must_be_when_it_was_asked_for() {
        let at = |seconds| Time::from_unix(Duration::from_secs(seconds));
        let bounds = Bounds {
            asked: Some((at(1_000), at(1_010))),
            newest_entry: Some(at(990)),
            tolerance: Duration::from_secs(60),
        };
        let check = |seconds| bounds.check(at(seconds), Duration::from_secs(1));
        assert_eq!(check(939), Ok(()));
        assert_eq!(check(938), Err(TimeError::BackDated));
        assert_eq!(check(1_071), Ok(()));
        assert_eq!(check(1_072), Err(TimeError::PostDated));
        let found = Bounds { asked: None, ..bounds };
        assert_eq!(found.check(at(929), Duration::from_secs(1)), Ok(()));
        assert_eq!(found.check(at(928), Duration::from_secs(1)), Err(TimeError::BeforeEntry));
        assert_eq!(found.check(at(1 << 33), Duration::ZERO), Ok(()));
    }
}
