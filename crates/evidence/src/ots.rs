//! OpenTimestamps proofs: that a digest went into a Bitcoin block. (The format
//! is that of the reference implementation, `python-opentimestamps`.)
//!
//! A proof is a tree. It starts at the digest of a file; each operation makes
//! a new message of the one before it; and where a branch ends, somebody
//! attests the message there: a calendar promises to get it into a block
//! (pending), or a block has it as its Merkle root (Bitcoin). Nothing in a
//! proof is signed: what it is worth is whether a block header that the
//! verifier holds from elsewhere has that root ([`BlockHeader::attest`]).
//!
//! What is read is written again byte for byte, attestations of unknown kinds
//! included.

use std::fmt;
use std::time::Duration;

use ripemd::Ripemd160;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::Verified;
use crate::time::Time;
use crate::tree::Hash;

/// What a proof file begins with.
const MAGIC: &[u8] = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94";

/// The only version there is.
const VERSION: u64 = 1;

/// The longest proof that is read. With one calendar it takes about 1 kB.
pub const PROOF_BYTES_MAX: usize = 64 << 10;

/// The reference implementation's limit on messages and operands.
const MESSAGE_BYTES_MAX: usize = 4_096;

/// The reference implementation's limit on an attestation's payload.
const PAYLOAD_BYTES_MAX: usize = 8_192;

/// The reference implementation's limit on a calendar's address.
const URI_BYTES_MAX: usize = 1_000;

/// The reference implementation's limit on operations behind each other.
const DEPTH_MAX: usize = 256;

/// The most operations and attestations that a proof may have.
const NODES_MAX: usize = 4_096;

const PENDING: [u8; 8] = [0x83, 0xdf, 0xe3, 0x0d, 0x2e, 0xf9, 0x0c, 0x8e];
const BITCOIN: [u8; 8] = [0x05, 0x88, 0x96, 0x0d, 0x73, 0xd7, 0x19, 0x01];

/// Why a proof is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OtsError {
    /// Longer, deeper or wider than anything sensible.
    #[error("the proof is too large")]
    TooLarge,
    /// The bytes are not a proof.
    #[error("the proof is malformed")]
    Malformed,
    /// It begins with another hash function than SHA-256, or has an operation
    /// that is not supported (Keccak-256) or does not exist.
    #[error("the proof has an operation that is not supported")]
    Operation,
    /// It is about other bytes.
    #[error("the proof is about other bytes")]
    Digest,
}

/// What makes a message of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// `f0`: the operand behind the message.
    Append(Vec<u8>),
    /// `f1`: the operand before the message.
    Prepend(Vec<u8>),
    /// `f2`: the bytes backwards.
    Reverse,
    /// `f3`: lower-case hexadecimal.
    Hexlify,
    /// `02`.
    Sha1,
    /// `03`.
    Ripemd160,
    /// `08`.
    Sha256,
}

impl Op {
    fn apply(&self, message: &[u8]) -> Result<Vec<u8>, OtsError> {
        let made = match self {
            Self::Append(operand) => [message, operand].concat(),
            Self::Prepend(operand) => [operand, message].concat(),
            Self::Reverse => message.iter().rev().copied().collect(),
            Self::Hexlify => hex::encode(message).into_bytes(),
            Self::Sha1 => Sha1::digest(message).to_vec(),
            Self::Ripemd160 => Ripemd160::digest(message).to_vec(),
            Self::Sha256 => Sha256::digest(message).to_vec(),
        };
        if made.len() > MESSAGE_BYTES_MAX { Err(OtsError::TooLarge) } else { Ok(made) }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Append(operand) => {
                bytes.push(0xf0);
                write_bytes(bytes, operand);
            }
            Self::Prepend(operand) => {
                bytes.push(0xf1);
                write_bytes(bytes, operand);
            }
            Self::Reverse => bytes.push(0xf2),
            Self::Hexlify => bytes.push(0xf3),
            Self::Sha1 => bytes.push(0x02),
            Self::Ripemd160 => bytes.push(0x03),
            Self::Sha256 => bytes.push(0x08),
        }
    }
}

/// Who vouches for the message at the end of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attestation {
    /// A calendar has it, and promises more. Worth nothing as evidence.
    Pending {
        /// The calendar's address.
        uri: String,
    },
    /// It is the Merkle root of the block at this height.
    Bitcoin {
        /// The block's height.
        height: u64,
    },
    /// Of a kind that means nothing here.
    Unknown {
        /// Its tag.
        tag: [u8; 8],
        /// What it says.
        payload: Vec<u8>,
    },
}

impl Attestation {
    fn parse(tag: [u8; 8], payload: &[u8]) -> Result<Self, OtsError> {
        let mut reader = Bytes { bytes: payload, nodes: 0 };
        let attestation = match tag {
            PENDING => {
                let uri = reader.long(URI_BYTES_MAX)?;
                let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._/:".contains(byte);
                if !uri.iter().all(plain) {
                    return Err(OtsError::Malformed);
                }
                Self::Pending { uri: String::from_utf8(uri.to_vec()).map_err(|_| OtsError::Malformed)? }
            }
            BITCOIN => Self::Bitcoin { height: reader.number()? },
            _ => return Ok(Self::Unknown { tag, payload: payload.to_vec() }),
        };
        if reader.bytes.is_empty() { Ok(attestation) } else { Err(OtsError::Malformed) }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let mut said = Vec::new();
        let (tag, payload) = match self {
            Self::Pending { uri } => {
                write_bytes(&mut said, uri.as_bytes());
                (&PENDING, &said)
            }
            Self::Bitcoin { height } => {
                write_number(&mut said, *height);
                (&BITCOIN, &said)
            }
            Self::Unknown { tag, payload } => (tag, payload),
        };
        bytes.push(0x00);
        bytes.extend_from_slice(tag);
        write_bytes(bytes, payload);
    }
}

/// What follows from a message: at least one branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamp(Vec<Branch>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Branch {
    End(Attestation),
    Then(Op, Timestamp),
}

impl Timestamp {
    /// Reads what a calendar answers: a timestamp without the file's head.
    pub fn parse(bytes: &[u8]) -> Result<Self, OtsError> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(OtsError::TooLarge);
        }
        let mut reader = Bytes { bytes, nodes: 0 };
        let timestamp = Self::read(&mut reader, 0)?;
        if reader.bytes.is_empty() { Ok(timestamp) } else { Err(OtsError::Malformed) }
    }

    /// The bytes that [`Timestamp::parse`] reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    /// A step, and what follows it.
    pub fn after(op: Op, then: Self) -> Self {
        Self(vec![Branch::Then(op, then)])
    }

    fn read(reader: &mut Bytes<'_>, depth: usize) -> Result<Self, OtsError> {
        if depth > DEPTH_MAX {
            return Err(OtsError::TooLarge);
        }
        let mut branches = Vec::new();
        loop {
            let tag = reader.byte()?;
            if tag != 0xff {
                branches.push(Branch::read(reader, tag, depth)?);
                return Ok(Self(branches));
            }
            let tag = reader.byte()?;
            branches.push(Branch::read(reader, tag, depth)?);
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let last = self.0.len().saturating_sub(1);
        for (number, branch) in self.0.iter().enumerate() {
            if number < last {
                bytes.push(0xff);
            }
            match branch {
                Branch::End(attestation) => attestation.write(bytes),
                Branch::Then(op, then) => {
                    op.write(bytes);
                    then.write(bytes);
                }
            }
        }
    }

    /// Takes in what another says of the same message.
    fn merge(&mut self, other: Self) {
        for branch in other.0 {
            match branch {
                Branch::End(_) if self.0.contains(&branch) => {}
                Branch::End(_) => self.0.push(branch),
                Branch::Then(op, then) => {
                    let same = self.0.iter_mut().find_map(|own| match own {
                        Branch::Then(known, after) if *known == op => Some(after),
                        _ => None,
                    });
                    match same {
                        Some(after) => after.merge(then),
                        None => self.0.push(Branch::Then(op, then)),
                    }
                }
            }
        }
    }

    fn visit<'a>(&'a self, message: &[u8], seen: &mut impl FnMut(&[u8], &'a Attestation)) -> Result<(), OtsError> {
        for branch in &self.0 {
            match branch {
                Branch::End(attestation) => seen(message, attestation),
                Branch::Then(op, then) => then.visit(&op.apply(message)?, seen)?,
            }
        }
        Ok(())
    }

    /// Merges `upgrade` in wherever the message is `at`, which it is about.
    fn merge_at(&mut self, message: &[u8], at: &[u8], upgrade: &Self) -> Result<bool, OtsError> {
        let mut found = false;
        for branch in &mut self.0 {
            if let Branch::Then(op, then) = branch {
                found |= then.merge_at(&op.apply(message)?, at, upgrade)?;
            }
        }
        if message == at {
            self.merge(upgrade.clone());
            found = true;
        }
        Ok(found)
    }
}

impl Branch {
    fn read(reader: &mut Bytes<'_>, tag: u8, depth: usize) -> Result<Self, OtsError> {
        reader.nodes += 1;
        if reader.nodes > NODES_MAX {
            return Err(OtsError::TooLarge);
        }
        let operand = |reader: &mut Bytes<'_>| match reader.long(MESSAGE_BYTES_MAX)? {
            [] => Err(OtsError::Malformed),
            operand => Ok(operand.to_vec()),
        };
        let op = match tag {
            0x00 => {
                let tag = reader.take(8)?.try_into().expect("8 bytes");
                return Attestation::parse(tag, reader.long(PAYLOAD_BYTES_MAX)?).map(Self::End);
            }
            0xf0 => Op::Append(operand(reader)?),
            0xf1 => Op::Prepend(operand(reader)?),
            0xf2 => Op::Reverse,
            0xf3 => Op::Hexlify,
            0x02 => Op::Sha1,
            0x03 => Op::Ripemd160,
            0x08 => Op::Sha256,
            _ => return Err(OtsError::Operation),
        };
        Timestamp::read(reader, depth + 1).map(|then| Self::Then(op, then))
    }
}

/// A proof about a file, by the SHA-256 of its bytes. It was read, not
/// checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtsProof {
    digest: Hash,
    timestamp: Timestamp,
}

/// Something that vouches for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The message: of a block, its Merkle root.
    pub message: Vec<u8>,
    /// Who vouches.
    pub attestation: Attestation,
}

impl OtsProof {
    /// A proof, of what follows from a file's digest.
    pub fn new(digest: Hash, timestamp: Timestamp) -> Self {
        Self { digest, timestamp }
    }

    /// Reads a proof file. Every operation is computed once, so that what is
    /// read can be evaluated.
    pub fn parse(bytes: &[u8]) -> Result<Self, OtsError> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(OtsError::TooLarge);
        }
        let bytes = bytes.strip_prefix(MAGIC).ok_or(OtsError::Malformed)?;
        let mut reader = Bytes { bytes, nodes: 0 };
        if reader.number()? != VERSION {
            return Err(OtsError::Malformed);
        }
        if reader.byte()? != 0x08 {
            return Err(OtsError::Operation);
        }
        let digest = Hash::from_slice(reader.take(32)?).expect("32 bytes");
        let proof = Self { digest, timestamp: Timestamp::parse(reader.bytes)? };
        proof.timestamp.visit(&digest.0, &mut |_, _| {})?;
        Ok(proof)
    }

    /// The proof file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        write_number(&mut bytes, VERSION);
        bytes.push(0x08);
        bytes.extend_from_slice(&self.digest.0);
        self.timestamp.write(&mut bytes);
        bytes
    }

    /// Everything that vouches for this file, and for which message of its
    /// own. What it is worth is for [`BlockHeader::attest`] to say.
    pub fn attestations(&self, file: &[u8]) -> Result<Vec<Attested>, OtsError> {
        if crate::tree::sha256(file) != self.digest {
            return Err(OtsError::Digest);
        }
        let mut found = Vec::new();
        self.timestamp.visit(&self.digest.0, &mut |message, attestation| {
            found.push(Attested { message: message.to_vec(), attestation: attestation.clone() });
        })?;
        Ok(found)
    }

    /// Takes in what a calendar says, later, of a message that it attested.
    /// False when the proof has no such message.
    pub fn upgrade(&mut self, message: &[u8], timestamp: &Timestamp) -> Result<bool, OtsError> {
        // What could not be evaluated, or read again, must not get in.
        timestamp.visit(message, &mut |_, _| {})?;
        let mut upgraded = self.clone();
        if !upgraded.timestamp.merge_at(&self.digest.0, message, timestamp)? {
            return Ok(false);
        }
        Self::parse(&upgraded.to_bytes())?;
        *self = upgraded;
        Ok(true)
    }

    /// Whether a block is said to have it.
    pub fn is_complete(&self) -> bool {
        let mut complete = false;
        let visited = self.timestamp.visit(&self.digest.0, &mut |_, attestation| {
            complete |= matches!(attestation, Attestation::Bitcoin { .. });
        });
        visited.is_ok() && complete
    }
}

/// The bytes of a proof, as far as they were read.
struct Bytes<'a> {
    bytes: &'a [u8],
    nodes: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], OtsError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(OtsError::Malformed)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, OtsError> {
        Ok(self.take(1)?[0])
    }

    /// Seven bits a byte, the lowest first. Only the shortest form is taken,
    /// so that what is read is what is written.
    fn number(&mut self) -> Result<u64, OtsError> {
        let mut number = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(OtsError::Malformed) } else { Ok(number) };
            }
        }
        Err(OtsError::Malformed)
    }

    fn long(&mut self, max: usize) -> Result<&'a [u8], OtsError> {
        let length = usize::try_from(self.number()?).map_err(|_| OtsError::TooLarge)?;
        if length > max {
            return Err(OtsError::TooLarge);
        }
        self.take(length)
    }
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn write_bytes(bytes: &mut Vec<u8>, long: &[u8]) {
    write_number(bytes, long.len() as u64);
    bytes.extend_from_slice(long);
}

/// A Bitcoin block's header, which is all of a block that a proof needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader([u8; 80]);

impl fmt::Debug for BlockHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockHeader({})", self.id())
    }
}

/// A block's time may be ahead of the truth by two hours, and its miner set
/// it.
pub const BLOCK_ACCURACY: Duration = Duration::from_secs(2 * 60 * 60);

/// The least work, in bits, of a header that is believed without further
/// word. OpenTimestamps began in 2016, when a block took 2⁶⁹ hashes on
/// average; whoever makes up a header has as much to do as this says.
pub const WORK_BITS_MIN: u32 = 64;

/// Why a header attests nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// It is another block's.
    #[error("the block has another Merkle root")]
    Root,
    /// Its hash is above what it says itself that it must be.
    #[error("the block header has no proof of work")]
    Unworked,
    /// It took less work than is demanded.
    #[error("the block header took only 2^{bits} hashes")]
    TooEasy {
        /// The binary logarithm of the hashes that it takes on average.
        bits: u32,
    },
}

/// A block's word on when something existed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockTime {
    /// When, by the miner's clock; true within [`BLOCK_ACCURACY`].
    pub time: Time,
    /// The block's hash, as it is usually written.
    pub block: String,
}

impl BlockHeader {
    /// The 80 bytes of a header.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads 160 hexadecimal digits, with white space around them.
    pub fn parse_hex(text: &str) -> Option<Self> {
        Self::from_bytes(&hex::decode(text.trim()).ok()?)
    }

    /// The block's hash, as it is usually written: backwards.
    pub fn id(&self) -> String {
        let mut hash = self.hash();
        hash.reverse();
        hex::encode(hash)
    }

    /// The Merkle root of its transactions, in the order of its bytes.
    pub fn merkle_root(&self) -> &[u8] {
        &self.0[36..68]
    }

    /// Checks that this block has the message as its Merkle root, and that it
    /// took work: at least 2^`work_bits_min` hashes. That the block is part of
    /// the longest chain is for whoever supplies the header to know.
    pub fn attest(&self, message: &[u8], work_bits_min: u32) -> Result<Verified<BlockTime>, HeaderError> {
        if self.merkle_root() != message {
            return Err(HeaderError::Root);
        }
        let target = self.target().ok_or(HeaderError::Unworked)?;
        let mut hash = self.hash();
        hash.reverse();
        if hash > target {
            return Err(HeaderError::Unworked);
        }
        let zeros = target.iter().take_while(|&&byte| byte == 0).count();
        let bits = target.get(zeros).map_or(256, |byte| zeros as u32 * 8 + byte.leading_zeros());
        if bits < work_bits_min {
            return Err(HeaderError::TooEasy { bits });
        }
        let time = u32::from_le_bytes(self.0[68..72].try_into().expect("4 bytes"));
        Ok(Verified::new(BlockTime { time: Time::from_unix(Duration::from_secs(time.into())), block: self.id() }))
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(Sha256::digest(self.0)).into()
    }

    /// What the hash must not be above, big-endian: `bits` is a floating-point
    /// number to the base 256, of a 23-bit mantissa and its length in bytes.
    fn target(&self) -> Option<[u8; 32]> {
        let bits = u32::from_le_bytes(self.0[72..76].try_into().expect("4 bytes"));
        let (length, mantissa) = ((bits >> 24) as usize, bits & 0x00ff_ffff);
        if mantissa == 0 || mantissa & 0x0080_0000 != 0 || !(3..=32).contains(&length) {
            return None;
        }
        let mut target = [0; 32];
        target[32 - length..][..3].copy_from_slice(&mantissa.to_be_bytes()[1..]);
        Some(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::sha256;

    /// Block 125552 of Bitcoin.
    const BLOCK: &str = "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a308000000000000e320b6c2fffc8d750423\
                         db8b1eb942ae710e951ed797f7affc8892b0f1fc122bc7f5d74df2b9441a42a14695";

    fn proof() -> (OtsProof, Timestamp) {
        let pending = Timestamp(vec![Branch::End(Attestation::Pending { uri: "https://calendar.example".into() })]);
        let unknown = Attestation::Unknown { tag: [9; 8], payload: vec![1, 2, 3] };
        let leaf = Timestamp(vec![
            Branch::End(unknown),
            Branch::Then(Op::Reverse, pending.clone()),
            Branch::Then(Op::Hexlify, Timestamp::after(Op::Sha1, Timestamp::after(Op::Ripemd160, pending.clone()))),
        ]);
        let steps = Timestamp::after(Op::Append(vec![7; 200]), Timestamp::after(Op::Sha256, leaf));
        (OtsProof::new(sha256(b"file"), steps), pending)
    }

    #[test]
    fn what_is_read_is_what_is_written() {
        let (proof, _) = proof();
        let bytes = proof.to_bytes();
        assert_eq!(OtsProof::parse(&bytes), Ok(proof.clone()));
        let attested = proof.attestations(b"file").unwrap();
        assert_eq!(attested.len(), 3);
        let mut message = [sha256(b"file").0.to_vec(), vec![7; 200]].concat();
        message = sha256(&message).0.to_vec();
        assert_eq!(attested[0].message, message);
        message.reverse();
        assert_eq!(attested[1].message, message);
        assert_eq!(proof.attestations(b"another file"), Err(OtsError::Digest));
        for length in 0..bytes.len() {
            assert!(OtsProof::parse(&bytes[..length]).is_err(), "cut at {length}");
        }
        assert_eq!(OtsProof::parse(&[&bytes[..], &[0]].concat()), Err(OtsError::Malformed));
    }

    #[test]
    fn an_upgrade_goes_where_its_message_is() {
        let (mut proof, _) = proof();
        assert!(!proof.is_complete());
        let block = Timestamp(vec![Branch::End(Attestation::Bitcoin { height: 800_000 })]);
        assert_eq!(proof.upgrade(b"no such message", &block), Ok(false));
        let pending = proof.attestations(b"file").unwrap()[1].message.clone();
        let upgrade = Timestamp::after(Op::Prepend(vec![1]), Timestamp::after(Op::Sha256, block));
        assert_eq!(proof.upgrade(&pending, &upgrade), Ok(true));
        assert!(proof.is_complete());
        let before = proof.clone();
        assert_eq!(proof.upgrade(&pending, &upgrade), Ok(true));
        assert_eq!(proof, before, "a second time adds nothing");
        let too_long = Timestamp::after(Op::Append(vec![0; 4_096]), upgrade);
        assert_eq!(proof.upgrade(&pending, &too_long), Err(OtsError::TooLarge));
        assert_eq!(OtsProof::parse(&proof.to_bytes()), Ok(proof));
    }

    #[test]
    fn limits_hold() {
        let head = |rest: &[u8]| [MAGIC, &[1, 8], &[0; 32], rest].concat();
        let end = [&[0x00][..], &BITCOIN, &[1, 5]].concat();
        assert!(OtsProof::parse(&head(&end)).is_ok());
        let deep = |steps: usize| [vec![0x08; steps], end.clone()].concat();
        assert!(OtsProof::parse(&head(&deep(256))).is_ok());
        assert_eq!(OtsProof::parse(&head(&deep(257))), Err(OtsError::TooLarge));
        // Each makes it twice as long.
        assert_eq!(OtsProof::parse(&head(&[vec![0xf3; 8], end.clone()].concat())), Err(OtsError::TooLarge));
        let wide = [[&[0xff][..], &end].concat().repeat(4_096), end.clone()].concat();
        assert_eq!(OtsProof::parse(&head(&wide)), Err(OtsError::TooLarge));
        for (bytes, error) in [
            (&[0x67][..], OtsError::Operation),
            (&[0xf0, 0], OtsError::Malformed),
            (&[0xf0, 0x81, 0x40], OtsError::TooLarge),
            (&[0xf0, 0x81, 0], OtsError::Malformed),
            (&[0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], OtsError::Malformed),
        ] {
            assert_eq!(OtsProof::parse(&head(bytes)), Err(error), "{bytes:02x?}");
        }
        let uri = [&[0x00][..], &PENDING, &[4, 3], b"a b"].concat();
        assert_eq!(OtsProof::parse(&head(&uri)), Err(OtsError::Malformed));
    }

    #[test]
    fn a_block_attests_its_root_and_nothing_else() {
        let header = BlockHeader::parse_hex(BLOCK).unwrap();
        assert_eq!(header.id(), "00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d");
        let root = header.merkle_root().to_vec();
        let attested = header.attest(&root, 49).unwrap();
        assert_eq!(attested.time.to_string(), "2011-05-21T17:26:31.000000Z");
        assert_eq!(header.attest(&root, WORK_BITS_MIN), Err(HeaderError::TooEasy { bits: 49 }));
        assert_eq!(header.attest(&[0; 32], 0), Err(HeaderError::Root));
        for bit in 0..640 {
            let mut changed = header;
            changed.0[bit / 8] ^= 1 << (bit % 8);
            assert!(changed.attest(&root, 48).is_err(), "bit {bit}");
        }
        assert!(BlockHeader::parse_hex(&BLOCK[2..]).is_none());
    }
}
