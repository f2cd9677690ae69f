//! The write-ahead log: what was acknowledged and is not yet in the tiles.
//!
//! A segment is a file `wal/<first index>`, written from front to back, a batch of appends at a time. A batch counts
//! once its `fdatasync` has returned; only then are its appends acknowledged. So after a crash
//!
//! - an invalid batch at the end was never acknowledged, and is dropped;
//! - an invalid batch with a valid later one behind it *was* acknowledged, because the later one was only written
//!   after it: that is damage, and the log does not open.
//!
//! A batch whose write failed was refused to its callers. The next one overwrites it, or stands in a new segment,
//! whose first index then ends the old one.
//!
//! ```text
//! segment  "TBLWAL1\n"  16 random bytes  batch…
//! batch    "TBat"  u32 length of body  u64 index of the first entry  u32 entries
//!          u32 CRC-32C of the segment's random bytes, these fields and the body
//!          body: for each entry: u32 length, bytes, u32 parts, each: u32 length, bytes; where the highest bit of the
//!          number of parts is set, also u32 sealed pieces, at least one, each: u32 length, bytes
//! ```
//!
//! The random bytes keep anybody who chooses an entry's content from making it look like a batch. Whoever can write
//! to `wal/` can forge what was not yet published; the tiles are out of its reach.

use std::io;

use tabellion_store::{Disk, DiskFile};

use crate::Part;
use crate::edge::empty;

const SEGMENT_MAGIC: &[u8; 8] = b"TBLWAL1\n";
const BATCH_MAGIC: &[u8; 4] = b"TBat";
const SEGMENT_HEAD: usize = 8 + 16;
const BATCH_HEAD: usize = 4 + 4 + 8 + 4 + 4;
/// In the number of an entry's parts: sealed pieces follow them.
const SEALED: u32 = 1 << 31;
/// A segment that has grown to this is followed by a new one.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Room is reserved in steps, so that `fdatasync` seldom has to write the file's length too …
const RESERVE_BYTES: u64 = 16 << 20;
/// … and filled with zeros in smaller steps, together with the batch that comes to their end. In room that was only
/// reserved the file system notes with each sync which of the blocks are in use by now; where zeros are, it writes the
/// batch and nothing else: of 20 KiB in 0.10 ms in place of 0.18 ms, with 50 µs of processor time in place of 77 µs. To
/// fill more at once would make single appends slow. (The tests damage and cut segments at every byte.)
const ZEROS_BYTES: u64 = if cfg!(test) { 1 << 10 } else { 256 << 10 };

/// An entry and the parts of its content that are not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) entry: Vec<u8>,
    pub(crate) parts: Vec<Part>,
    /// Pieces of its sealed original.
    pub(crate) sealed: Vec<Part>,
}

impl Record {
    /// Roughly how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let stored = self.parts.iter().chain(&self.sealed);
        64 + self.entry.len() + stored.map(|part| 64 + part.bytes().len()).sum::<usize>()
    }
}

/// Why the write-ahead log cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalError {
    #[error("wal/{segment:020} is damaged at byte {offset}, in what had been acknowledged")]
    Damaged { segment: u64, offset: u64 },
    #[error(transparent)]
    Disk(#[from] io::Error),
}

struct Segment {
    first: u64,
    nonce: [u8; 16],
    file: Box<dyn DiskFile>,
    /// Where the next batch goes.
    end: u64,
    /// Up to where there are zeros after it.
    zeros: u64,
    reserved: u64,
}

/// The log, open for writing.
pub(crate) struct Wal<D> {
    disk: D,
    current: Option<Segment>,
    /// Room for a batch, used again for the next.
    batch: Vec<u8>,
    /// First indexes of the older segments, ascending.
    older: Vec<u64>,
}

impl<D: Disk> Wal<D> {
    /// Opens the log and returns what it holds from entry `from` on, in order.
    pub(crate) fn open(disk: D, from: u64) -> Result<(Self, Vec<Record>), WalError> {
        if disk.create_directory("wal")? {
            disk.sync_directory("")?;
        }
        let mut older: Vec<u64> =
            disk.list("wal")?.iter().filter(|name| name.len() == 20).filter_map(|name| name.parse().ok()).collect();
        older.sort_unstable();
        let mut records = Vec::new();
        let mut next = None;
        for (position, &first) in older.iter().enumerate() {
            let end = older.get(position + 1).copied();
            // A segment starts where the one before ended, or the log has a hole.
            if next.is_some_and(|next| next < first) {
                return Err(WalError::Damaged { segment: first, offset: 0 });
            }
            next = Some(read_segment(&disk, first, end, from, &mut records)?);
        }
        if older.first().is_some_and(|&first| first > from) {
            return Err(WalError::Damaged { segment: older[0], offset: 0 });
        }
        Ok((Self { disk, current: None, batch: Vec::new(), older }, records))
    }

    /// Writes records that start at entry `first` and makes them durable, all or none of them.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] when nothing of it will be found again: the caller may go on.
    /// [`Failure::Unknown`] when the sync itself failed. What the disk holds is then unknown, also of what a second
    /// sync would report as fine, so nobody may write any more.
    pub(crate) fn append(&mut self, first: u64, records: &[Record]) -> Result<(), Failure> {
        if self.current.as_ref().is_none_or(|segment| segment.end >= SEGMENT_BYTES) {
            self.start_segment(first)?;
        }
        let segment = self.current.as_mut().expect("a segment was just started");
        let batch = &mut self.batch;
        empty(batch);
        encode(batch, &segment.nonce, first, records);
        let end = segment.end + batch.len() as u64;
        if end > segment.reserved {
            let reserved = end.next_multiple_of(RESERVE_BYTES);
            segment.file.reserve(reserved).map_err(Failure::Refused)?;
            segment.reserved = reserved;
        }
        let mut zeros = segment.zeros;
        if end > zeros {
            zeros = end.next_multiple_of(ZEROS_BYTES);
            batch.resize((zeros - segment.end) as usize, 0);
        }
        segment.file.write_at(segment.end, batch).map_err(Failure::Refused)?;
        segment.file.sync().map_err(|_| Failure::Unknown)?;
        segment.end = end;
        segment.zeros = zeros;
        Ok(())
    }

    fn start_segment(&mut self, first: u64) -> Result<(), Failure> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|error| Failure::Refused(io::Error::other(error)))?;
        let path = path(first);
        let file = self.disk.create(&path).map_err(Failure::Refused)?;
        file.reserve(RESERVE_BYTES).map_err(Failure::Refused)?;
        file.write_at(0, &[&SEGMENT_MAGIC[..], &nonce].concat()).map_err(Failure::Refused)?;
        // A sync is not tried twice: the second could call a success what the first has lost.
        file.sync().map_err(|_| Failure::Unknown)?;
        self.disk.sync_directory("wal").map_err(|_| Failure::Unknown)?;
        if let Some(old) = self.current.take() {
            self.older.push(old.first);
        }
        self.older.retain(|&older| older != first);
        self.current =
            Some(Segment { first, nonce, file, end: SEGMENT_HEAD as u64, zeros: 0, reserved: RESERVE_BYTES });
        Ok(())
    }

    /// Goes on in a new segment, from entry `first` on, so that what was written before can be removed.
    ///
    /// # Errors
    ///
    /// As [`Wal::append`].
    pub(crate) fn renew(&mut self, first: u64) -> Result<(), Failure> {
        match &self.current {
            Some(current) if current.end > SEGMENT_HEAD as u64 => self.start_segment(first),
            Some(_) => Ok(()),
            None if self.older.is_empty() => Ok(()),
            None => self.start_segment(first),
        }
    }

    /// Removes the segments of which nothing is needed once all entries before `integrated` are in the tiles.
    pub(crate) fn trim(&mut self, integrated: u64) -> io::Result<()> {
        while let Some(&first) = self.older.first() {
            let end = self.older.get(1).copied().or(self.current.as_ref().map(|segment| segment.first));
            if end.is_none_or(|end| end > integrated) {
                break;
            }
            self.disk.remove(&path(first))?;
            self.older.remove(0);
        }
        Ok(())
    }
}

/// Why a batch was not written.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused(io::Error),
    Unknown,
}

fn path(first: u64) -> String {
    format!("wal/{first:020}")
}

fn checksum(nonce: &[u8; 16], head: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(nonce), head), body)
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("bodies are limited to far less than 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Encodes a batch into an empty buffer.
fn encode(batch: &mut Vec<u8>, nonce: &[u8; 16], first: u64, records: &[Record]) {
    batch.resize(BATCH_HEAD, 0);
    for record in records {
        put(batch, &record.entry);
        let mark = if record.sealed.is_empty() { 0 } else { SEALED };
        batch.extend_from_slice(&(record.parts.len() as u32 | mark).to_be_bytes());
        for part in &record.parts {
            put(batch, part.bytes());
        }
        if !record.sealed.is_empty() {
            batch.extend_from_slice(&(record.sealed.len() as u32).to_be_bytes());
            for piece in &record.sealed {
                put(batch, piece.bytes());
            }
        }
    }
    let length = u32::try_from(batch.len() - BATCH_HEAD).expect("batches are limited to far less than 4 GiB");
    batch[..4].copy_from_slice(BATCH_MAGIC);
    batch[4..8].copy_from_slice(&length.to_be_bytes());
    batch[8..16].copy_from_slice(&first.to_be_bytes());
    batch[16..20].copy_from_slice(&(records.len() as u32).to_be_bytes());
    let (head, body) = batch.split_at(BATCH_HEAD);
    let crc = checksum(nonce, &head[..20], body);
    batch[20..24].copy_from_slice(&crc.to_be_bytes());
}

/// A batch at the start of `bytes`: the index of its first entry, its records, its length.
fn decode(nonce: &[u8; 16], bytes: &[u8]) -> Option<(u64, Vec<Record>, usize)> {
    let head = bytes.get(..BATCH_HEAD)?;
    if &head[..4] != BATCH_MAGIC {
        return None;
    }
    let number = |range: std::ops::Range<usize>| Some(u32::from_be_bytes(head.get(range)?.try_into().ok()?));
    let length = number(4..8)? as usize;
    let body = bytes.get(BATCH_HEAD..BATCH_HEAD.checked_add(length)?)?;
    if checksum(nonce, &head[..20], body) != number(20..24)? {
        return None;
    }
    let first = u64::from_be_bytes(head[8..16].try_into().ok()?);
    let mut rest = body;
    let records = (0..number(16..20)?)
        .map(|_| {
            let entry = take(&mut rest)?.to_vec();
            let number = take_number(&mut rest)?;
            let parts = take_parts(number & !SEALED, &mut rest)?;
            let sealed = match number & SEALED {
                0 => Vec::new(),
                _ => take_number(&mut rest)
                    .filter(|&number| number > 0)
                    .and_then(|number| take_parts(number, &mut rest))?,
            };
            Some(Record { entry, parts, sealed })
        })
        .collect::<Option<Vec<_>>>()?;
    rest.is_empty().then_some((first, records, BATCH_HEAD + length))
}

fn take_parts(number: u32, rest: &mut &[u8]) -> Option<Vec<Part>> {
    (0..number).map(|_| take(rest).map(Part::new)).collect()
}

fn take_number(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_be_bytes(*number))
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_number(rest)? as usize;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

/// Reads a segment's records from entry `from` up to, not including, entry `end`. Returns the index after its last.
fn read_segment(
    disk: &dyn Disk,
    first: u64,
    end: Option<u64>,
    from: u64,
    records: &mut Vec<Record>,
) -> Result<u64, WalError> {
    let Some(file) = disk.open(&path(first))? else { return Ok(first) };
    let length = file.length()? as usize;
    parse_segment(&file.read_at(0, length)?, first, end, from, records)
}

/// The same for a segment's bytes.
fn parse_segment(
    bytes: &[u8],
    first: u64,
    end: Option<u64>,
    from: u64,
    records: &mut Vec<Record>,
) -> Result<u64, WalError> {
    let mut next = first;
    let mut offset = SEGMENT_HEAD;
    let nonce: [u8; 16] = match bytes.get(..SEGMENT_HEAD) {
        Some(head) if &head[..8] == SEGMENT_MAGIC => head[8..].try_into().expect("16 bytes"),
        // The crash came before the segment's head was durable, so nothing in it was acknowledged. A later segment
        // would contradict that unless it starts at the same entry.
        _ if end.is_none_or(|end| end == first) => return Ok(first),
        _ => return Err(WalError::Damaged { segment: first, offset: 0 }),
    };
    while end.is_none_or(|end| next < end) {
        match decode(&nonce, &bytes[offset..]) {
            Some((index, batch, length)) if index == next => {
                for record in batch {
                    if next >= from && end.is_none_or(|end| next < end) {
                        records.push(record);
                    }
                    next += 1;
                }
                offset += length;
            }
            _ => break,
        }
    }
    let damaged = WalError::Damaged { segment: first, offset: offset as u64 };
    match end {
        Some(end) if next < end => Err(damaged),
        Some(end) => Ok(end),
        None if later_batch(&nonce, bytes.get(offset + 1..).unwrap_or_default(), next) => Err(damaged),
        None => Ok(next),
    }
}

/// Whether some valid batch of entries after `next` lies in `bytes`.
fn later_batch(nonce: &[u8; 16], bytes: &[u8], next: u64) -> bool {
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(4).position(|window| window == BATCH_MAGIC) {
        at += found;
        if decode(nonce, &bytes[at..]).is_some_and(|(first, ..)| first > next) {
            return true;
        }
        at += 1;
    }
    false
}

/// What whoever can write to `wal/` can make of a segment: anything, be it with checksums that are right.
#[cfg(feature = "fuzz")]
pub(crate) fn fuzz(data: &[u8]) {
    let parse = |segment: &[u8]| {
        let mut records = Vec::new();
        if let Ok(next) = parse_segment(segment, 0, None, 0, &mut records) {
            assert_eq!(next, records.len() as u64);
        }
        let _ = parse_segment(segment, 0, Some(2), 1, &mut records);
    };
    parse(data);
    let nonce = [7; 16];
    let mut segment = [&SEGMENT_MAGIC[..], &nonce].concat();
    let mut next = 0;
    // Bodies that end in 0xff, each claiming to have up to three entries.
    for body in data.split(|&byte| byte == 0xff).take(64) {
        let entries = body.len() as u32 % 4;
        let mut batch = vec![0; BATCH_HEAD];
        batch[..4].copy_from_slice(BATCH_MAGIC);
        batch[4..8].copy_from_slice(&(body.len() as u32).to_be_bytes());
        batch[8..16].copy_from_slice(&u64::to_be_bytes(next));
        batch[16..20].copy_from_slice(&entries.to_be_bytes());
        let crc = checksum(&nonce, &batch[..20], body);
        batch[20..24].copy_from_slice(&crc.to_be_bytes());
        batch.extend_from_slice(body);
        if let Some((first, records, length)) = decode(&nonce, &batch) {
            assert_eq!((first, length), (next, batch.len()));
            let mut again = Vec::new();
            encode(&mut again, &nonce, first, &records);
            assert_eq!(again, batch, "there is one way to write what was read");
            next += records.len() as u64;
        }
        segment.extend_from_slice(&batch);
        parse(&segment);
    }
}

#[cfg(test)]
mod tests {
    use tabellion_store::SimDisk;

    use super::*;

    fn record(text: &str) -> Record {
        // Every other one with a sealed piece.
        let sealed = if text.len().is_multiple_of(2) { vec![Part::new(*b"sealed")] } else { Vec::new() };
        Record { entry: text.as_bytes().to_vec(), parts: vec![Part::new(*b"part"), Part::new([])], sealed }
    }

    fn written(batches: &[&[&str]]) -> (SimDisk, usize) {
        let disk = SimDisk::new();
        let (mut wal, found) = Wal::open(disk.clone(), 0).unwrap();
        assert!(found.is_empty());
        let mut next = 0;
        for batch in batches {
            let records: Vec<_> = batch.iter().map(|text| record(text)).collect();
            wal.append(next, &records).unwrap();
            next += records.len() as u64;
        }
        let length = wal.current.unwrap().end as usize;
        (disk, length)
    }

    fn texts(disk: &SimDisk, from: u64) -> Result<Vec<String>, WalError> {
        let (_, records) = Wal::open(disk.clone(), from)?;
        Ok(records.into_iter().map(|record| String::from_utf8(record.entry).unwrap()).collect())
    }

    #[test]
    fn returns_what_was_written_from_an_index_on() {
        let (disk, _) = written(&[&["a", "b"], &["c"]]);
        assert_eq!(texts(&disk, 0).unwrap(), ["a", "b", "c"]);
        assert_eq!(texts(&disk, 1).unwrap(), ["b", "c"]);
        assert!(texts(&disk, 3).unwrap().is_empty());
        assert!(texts(&disk, 9).unwrap().is_empty(), "all of it is integrated");
    }

    #[test]
    fn refuses_a_hole_before_the_first_record() {
        let disk = SimDisk::new();
        let (mut wal, _) = Wal::open(disk.clone(), 7).unwrap();
        wal.append(7, &[record("h")]).unwrap();
        assert!(matches!(texts(&disk, 5), Err(WalError::Damaged { segment: 7, .. })));
    }

    #[test]
    fn a_damaged_byte_loses_at_most_the_last_batch_and_is_an_error_before_it() {
        let (disk, length) = written(&[&["first"], &["second"], &["third"]]);
        let path = "wal/00000000000000000000";
        let bytes = disk.files()[path].clone();
        let mut third = Vec::new();
        encode(&mut third, &[0; 16], 2, &[record("third")]);
        let last = length - third.len();
        for at in SEGMENT_HEAD..length {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let copy = SimDisk::new();
            copy.create_directory("wal").unwrap();
            copy.create(path).unwrap().write_at(0, &damaged).unwrap();
            if at < last {
                assert!(matches!(texts(&copy, 0), Err(WalError::Damaged { .. })), "byte {at}");
            } else {
                assert_eq!(texts(&copy, 0).unwrap(), ["first", "second"], "byte {at}");
            }
        }
    }

    #[test]
    fn cut_at_every_length_it_returns_a_prefix() {
        let (disk, length) = written(&[&["first"], &["second"]]);
        let path = "wal/00000000000000000000";
        let bytes = disk.files()[path].clone();
        for cut in 0..=length {
            let copy = SimDisk::new();
            copy.create_directory("wal").unwrap();
            copy.create(path).unwrap().write_at(0, &bytes[..cut]).unwrap();
            let found = texts(&copy, 0).unwrap();
            assert!(["first", "second"].starts_with(&found.iter().map(String::as_str).collect::<Vec<_>>()));
            assert_eq!(found.len() == 2, cut == length);
        }
    }

    #[test]
    fn entries_cannot_pose_as_batches() {
        // Somebody who sees one log's format but not its random bytes writes a batch into an entry.
        let mut forged = Vec::new();
        encode(&mut forged, &[0; 16], 5, &[record("forged")]);
        let disk = SimDisk::new();
        let (mut wal, _) = Wal::open(disk.clone(), 0).unwrap();
        wal.append(0, &[record("a")]).unwrap();
        let end = wal.current.as_ref().unwrap().end;
        wal.append(1, &[Record { entry: forged, parts: Vec::new(), sealed: Vec::new() }]).unwrap();
        let file = disk.open("wal/00000000000000000000").unwrap().unwrap();
        file.write_at(end, b"torn").unwrap();
        assert_eq!(texts(&disk, 0).unwrap(), ["a"], "a torn batch with a forged one in it is only torn");
    }

    #[test]
    fn trims_what_is_integrated_and_nothing_else() {
        let disk = SimDisk::new();
        let (mut wal, _) = Wal::open(disk.clone(), 0).unwrap();
        wal.append(0, &[record("a"), record("b")]).unwrap();
        wal.start_segment(2).unwrap();
        wal.append(2, &[record("c")]).unwrap();
        wal.trim(1).unwrap();
        assert_eq!(texts(&disk, 0).unwrap(), ["a", "b", "c"]);
        wal.trim(2).unwrap();
        assert_eq!(texts(&disk, 2).unwrap(), ["c"]);
        assert!(texts(&disk, 0).is_err(), "a reader that needs more than there is must be told");
    }
}
