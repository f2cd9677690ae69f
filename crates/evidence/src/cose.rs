//! COSE receipts: the proofs of this log in the encoding of SCITT. (RFC 9942,
//! with verifiable data structure 1, `RFC9162_SHA256`; Signed Statements of
//! RFC 9943; the signatures are COSE_Sign1, RFC 9052, with EdDSA.)
//!
//! A receipt says the same as a proof file: that an entry is in the tree, or
//! that one tree extends another, under a root that the log signed. It is
//! signed with the log's own key. What is signed begins with the byte `0x84`,
//! which no text begins with, so no receipt passes for a checkpoint, nor the
//! other way round.
//!
//! Which bytes are the leaf, RFC 9942 leaves to each log. Here they are the
//! entry, which is JSON, and not a statement around it. So a statement of ours
//! is made from an entry that is in the log already: its payload is the leaf.
//! `docs/format.md`, section *COSE*, says what follows from that.

use coset::cbor::Value;
use coset::iana;
use coset::{
    CborSerializable as _, CoseSign1, CoseSign1Builder, Header, HeaderBuilder, Label, TaggedCborSerializable as _,
};

use crate::Verified;
use crate::checkpoint::Checkpoint;
use crate::note::{SigningKey, VerifierKey};
use crate::proof::{HASHES_MAX, Proof, ProofFileError};
use crate::tile::ENTRY_BYTES_MAX;
use crate::tree::{self, Hash, ProofError};

/// The longest receipt that is read: the longest proof with its headers takes
/// 3 kB.
pub const RECEIPT_BYTES_MAX: usize = 16 << 10;

/// The most receipts that a statement may carry.
const RECEIPTS_MAX: usize = 8;

/// The longest statement that is read.
pub const STATEMENT_BYTES_MAX: usize = ENTRY_BYTES_MAX + RECEIPTS_MAX * RECEIPT_BYTES_MAX + (4 << 10);

/// `receipts`, `vds`, `vdp`: RFC 9942, section 4.
const RECEIPTS: i64 = 394;
const VDS: i64 = 395;
const VDP: i64 = 396;
/// `RFC9162_SHA256`.
const RFC9162_SHA256: i64 = 1;
const INCLUSION: i64 = -1;
const CONSISTENCY: i64 = -2;
/// `CWT Claims`, of which 1 is the issuer and 2 the subject: RFC 9597.
const CWT_CLAIMS: i64 = 15;
const ISSUER: i64 = 1;
const SUBJECT: i64 = 2;

/// Why a receipt or a statement is refused, or cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoseError {
    /// Longer than anything sensible.
    #[error("the receipt is too large")]
    TooLarge,
    /// The bytes are not tagged COSE_Sign1, or a proof in it is not one.
    #[error("the receipt is malformed")]
    Malformed,
    /// It is of another kind of log, or signed in another way, or it has a
    /// critical header.
    #[error("the receipt is of a kind that is not supported")]
    Kind,
    /// It has no proof of what was asked.
    #[error("the receipt does not prove this")]
    Absent,
    /// The hashes do not fit the sizes.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The log did not sign the root that the hashes lead to: the entry, the
    /// hashes or the signature is another.
    #[error("the receipt's signature does not fit the entry and the proof")]
    Signature,
    /// The log's key did not sign the statement.
    #[error("the statement's signature is wrong")]
    Statement,
    /// A tree of one entry has a proof without hashes, which RFC 9942's
    /// grammar forbids; so has one tree beside itself.
    #[error("a receipt needs a proof with at least one hash")]
    Empty,
    /// What is to be put in a receipt is not proved.
    #[error(transparent)]
    Unproved(#[from] ProofFileError),
}

/// An entry's place in a tree that the log signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Included {
    /// How many entries the tree has.
    pub size: u64,
    /// The position of the entry.
    pub index: u64,
    /// The root that was signed.
    pub root: Hash,
}

/// A receipt that an entry is in the tree of a checkpoint that the log signed
/// before: the same statement in another encoding. `subject` says what the
/// entry is about (RFC 9943 demands a word); of ours, the entry's id.
pub fn sign_inclusion(proof: &Proof, entry: &[u8], subject: &str, key: &SigningKey) -> Result<Vec<u8>, CoseError> {
    let checkpoint = proof.verify(entry, key.verifier())?;
    let proved = [checkpoint.size, proof.index];
    sign(INCLUSION, proved, &proof.hashes, &checkpoint, subject, key)
}

/// A receipt that the tree of `newer` extends that of `older`, both signed
/// before.
pub fn sign_consistency(
    older: &Verified<Checkpoint>,
    newer: &Verified<Checkpoint>,
    hashes: &[Hash],
    key: &SigningKey,
) -> Result<Vec<u8>, CoseError> {
    if [older, newer].iter().any(|one| one.origin != key.verifier().name()) {
        return Err(CoseError::Kind);
    }
    if older.size == 0 || older.size == newer.size {
        return Err(CoseError::Empty);
    }
    tree::verify_consistency(older.size, &older.root, newer.size, &newer.root, hashes)?;
    sign(CONSISTENCY, [older.size, newer.size], hashes, newer, &newer.origin, key)
}

fn sign(
    kind: i64,
    [first, second]: [u64; 2],
    hashes: &[Hash],
    checkpoint: &Checkpoint,
    subject: &str,
    key: &SigningKey,
) -> Result<Vec<u8>, CoseError> {
    if hashes.is_empty() {
        return Err(CoseError::Empty);
    }
    let path = hashes.iter().map(|hash| Value::Bytes(hash.0.to_vec())).collect();
    let proof = Value::Array(vec![first.into(), second.into(), Value::Array(path)]);
    let proofs = Value::Array(vec![Value::Bytes(proof.to_vec().map_err(|_| CoseError::Malformed)?)]);
    let receipt = CoseSign1Builder::new()
        .protected(protected(key.verifier(), subject).value(VDS, Value::from(RFC9162_SHA256)).build())
        .unprotected(HeaderBuilder::new().value(VDP, Value::Map(vec![(Value::from(kind), proofs)])).build())
        .create_detached_signature(&checkpoint.root.0, b"", |message| key.sign_other(message))
        .build();
    receipt.to_tagged_vec().map_err(|_| CoseError::Malformed)
}

fn protected(key: &VerifierKey, subject: &str) -> HeaderBuilder {
    let claims = [(ISSUER, key.name()), (SUBJECT, subject)];
    let claims = claims.map(|(label, text)| (Value::from(label), Value::from(text)));
    HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .key_id(key.id().to_be_bytes().to_vec())
        .value(CWT_CLAIMS, Value::Map(claims.to_vec()))
}

/// A Signed Statement of the log about one of its entries, which is its
/// payload, with a receipt that it is in the log: a Transparent Statement.
pub fn sign_statement(proof: &Proof, entry: &[u8], subject: &str, key: &SigningKey) -> Result<Vec<u8>, CoseError> {
    let receipt = sign_inclusion(proof, entry, subject, key)?;
    let content_type = iana::CoapContentFormat::Json;
    let statement = CoseSign1Builder::new()
        .protected(protected(key.verifier(), subject).content_format(content_type).build())
        .unprotected(HeaderBuilder::new().value(RECEIPTS, Value::Array(vec![Value::Bytes(receipt)])).build())
        .payload(entry.to_vec())
        .create_signature(b"", |message| key.sign_other(message))
        .build();
    statement.to_tagged_vec().map_err(|_| CoseError::Malformed)
}

/// Checks that the log with this key signed a tree that has the entry.
pub fn verify_inclusion(receipt: &[u8], entry: &[u8], key: &VerifierKey) -> Result<Verified<Included>, CoseError> {
    let (receipt, proofs) = read_receipt(receipt, INCLUSION)?;
    let leaf = tree::leaf_hash(entry);
    let [size, index] = proofs.numbers;
    let root = tree::inclusion_root(index, size, &leaf, &proofs.hashes)?;
    check(&receipt, Some(&root.0), key).ok_or(CoseError::Signature)?;
    Ok(Verified::new(Included { size, index, root }))
}

/// Checks that the log with this key signed a tree that extends that of
/// `older`; gives the size and root of the larger one.
pub fn verify_consistency(
    receipt: &[u8],
    older: &Verified<Checkpoint>,
    key: &VerifierKey,
) -> Result<Verified<Checkpoint>, CoseError> {
    let (receipt, proofs) = read_receipt(receipt, CONSISTENCY)?;
    let [old, new] = proofs.numbers;
    if old != older.size || older.origin != key.name() {
        return Err(CoseError::Absent);
    }
    let root = tree::consistency_root(old, &older.root, new, &proofs.hashes)?;
    check(&receipt, Some(&root.0), key).ok_or(CoseError::Signature)?;
    Ok(Verified::new(Checkpoint::new(key.name(), new, root)))
}

/// A statement that was checked, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The entry.
    pub entry: Vec<u8>,
    /// Its place in the log.
    pub included: Included,
}

/// Checks that the log with this key signed the statement, and that one of
/// its receipts is the log's, for its payload.
pub fn verify_statement(statement: &[u8], key: &VerifierKey) -> Result<Verified<Statement>, CoseError> {
    let read = read(statement, STATEMENT_BYTES_MAX)?;
    let entry = read.payload.clone().filter(|entry| entry.len() <= ENTRY_BYTES_MAX).ok_or(CoseError::Malformed)?;
    check(&read, None, key).ok_or(CoseError::Statement)?;
    let receipts = member(&read.unprotected, RECEIPTS).and_then(Value::as_array).ok_or(CoseError::Absent)?;
    if receipts.len() > RECEIPTS_MAX {
        return Err(CoseError::TooLarge);
    }
    let mut refused = CoseError::Absent;
    for receipt in receipts {
        match verify_inclusion(receipt.as_bytes().ok_or(CoseError::Malformed)?, &entry, key) {
            Ok(included) => return Ok(Verified::new(Statement { entry, included: included.into_inner() })),
            // Others' receipts may stand beside ours.
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Whether the bytes begin as tagged COSE_Sign1 does, and with a payload or
/// without: a statement, or a receipt.
pub fn is_statement(bytes: &[u8]) -> Option<bool> {
    read(bytes, STATEMENT_BYTES_MAX).ok().map(|read| read.payload.is_some())
}

fn read(bytes: &[u8], max: usize) -> Result<CoseSign1, CoseError> {
    if bytes.len() > max {
        return Err(CoseError::TooLarge);
    }
    let read = CoseSign1::from_tagged_slice(bytes).map_err(|_| CoseError::Malformed)?;
    let header = &read.protected.header;
    let eddsa = coset::Algorithm::Assigned(iana::Algorithm::EdDSA);
    if header.alg != Some(eddsa) || !header.crit.is_empty() {
        return Err(CoseError::Kind);
    }
    Ok(read)
}

/// One proof of a receipt.
struct Proofs {
    numbers: [u64; 2],
    hashes: Vec<Hash>,
}

/// Reads a receipt and its proof of this kind, of which there must be one: it
/// is not said which of several the signature is for.
fn read_receipt(bytes: &[u8], kind: i64) -> Result<(CoseSign1, Proofs), CoseError> {
    let receipt = read(bytes, RECEIPT_BYTES_MAX)?;
    if receipt.payload.is_some() || member(&receipt.protected.header, VDS) != Some(&Value::from(RFC9162_SHA256)) {
        return Err(CoseError::Kind);
    }
    let proofs = member(&receipt.unprotected, VDP).and_then(Value::as_map).ok_or(CoseError::Malformed)?;
    let mut of_kind = proofs.iter().filter(|(label, _)| *label == Value::from(kind));
    let proofs = match (of_kind.next(), of_kind.next()) {
        (Some((_, proofs)), None) => proofs.as_array().ok_or(CoseError::Malformed)?,
        (None, _) => return Err(CoseError::Absent),
        _ => return Err(CoseError::Malformed),
    };
    let [proof] = proofs.as_slice() else { return Err(CoseError::Kind) };
    let proof = Value::from_slice(proof.as_bytes().ok_or(CoseError::Malformed)?).map_err(|_| CoseError::Malformed)?;
    let proof = parse_proof(&proof).ok_or(CoseError::Malformed)?;
    Ok((receipt, proof))
}

fn parse_proof(proof: &Value) -> Option<Proofs> {
    let [first, second, path] = proof.as_array()?.as_slice() else { return None };
    let path = path.as_array()?;
    if path.is_empty() || path.len() > HASHES_MAX {
        return None;
    }
    let number = |value: &Value| u64::try_from(i128::from(value.as_integer()?)).ok();
    Some(Proofs {
        numbers: [number(first)?, number(second)?],
        hashes: path.iter().map(|hash| Hash::from_slice(hash.as_bytes()?)).collect::<Option<_>>()?,
    })
}

fn member(header: &Header, label: i64) -> Option<&Value> {
    header.rest.iter().find(|(known, _)| *known == Label::Int(label)).map(|(_, value)| value)
}

/// Whether the log's key signed it, over a payload that is elsewhere or its
/// own.
fn check(read: &CoseSign1, detached: Option<&[u8]>, key: &VerifierKey) -> Option<()> {
    let verify = |signature: &[u8], message: &[u8]| key.check_other(message, signature).then_some(()).ok_or(());
    match detached {
        Some(payload) => read.verify_detached_signature(payload, b"", verify).ok(),
        None => read.verify_signature(b"", verify).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint;
    use crate::tree::{Frontier, leaf_hash, node_hash};

    fn log() -> (SigningKey, Vec<Vec<u8>>, Proof, Verified<Checkpoint>) {
        let key = SigningKey::from_seed("log.example", [7; 32]).unwrap();
        let entries: Vec<Vec<u8>> = (0..3).map(|n| format!("{{\"n\":{n}}}").into_bytes()).collect();
        let mut frontier = Frontier::new();
        entries.iter().for_each(|entry| frontier.push(leaf_hash(entry)));
        let note = checkpoint::sign(&Checkpoint::new("log.example", 3, frontier.root()), &key);
        let verified = checkpoint::verify(note.as_bytes(), key.verifier()).unwrap();
        let hashes = vec![leaf_hash(&entries[0]), leaf_hash(&entries[2])];
        (key, entries, Proof { extra: None, index: 1, hashes, checkpoint: note }, verified)
    }

    /// Before a receipt's signature is `null` in the payload's place, and one bit from it `undefined`, which is read as
    /// the same: neither says anything.
    fn is_undefined(bytes: &[u8], changed: &[u8]) -> bool {
        let at = bytes.windows(3).position(|bytes| bytes == [0xf6, 0x58, 64]).unwrap();
        changed[at] == 0xf7
    }

    #[test]
    fn a_receipt_proves_its_entry_and_no_other() {
        let (key, entries, proof, _) = log();
        let receipt = sign_inclusion(&proof, &entries[1], "01J", &key).unwrap();
        let included = verify_inclusion(&receipt, &entries[1], key.verifier()).unwrap();
        assert_eq!((included.size, included.index), (3, 1));
        assert_eq!(verify_inclusion(&receipt, &entries[0], key.verifier()), Err(CoseError::Signature));
        let other = SigningKey::from_seed("log.example", [8; 32]).unwrap();
        assert_eq!(verify_inclusion(&receipt, &entries[1], other.verifier()), Err(CoseError::Signature));
        assert!(matches!(sign_inclusion(&proof, &entries[0], "01J", &key), Err(CoseError::Unproved(_))));
        for bit in 0..receipt.len() * 8 {
            let mut changed = receipt.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let checked = verify_inclusion(&changed, &entries[1], key.verifier());
            assert_eq!(checked.is_err(), !is_undefined(&receipt, &changed), "bit {bit}");
        }
        for length in 0..receipt.len() {
            assert!(verify_inclusion(&receipt[..length], &entries[1], key.verifier()).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_statement_holds_its_entry() {
        let (key, entries, proof, _) = log();
        let statement = sign_statement(&proof, &entries[1], "01J", &key).unwrap();
        assert_eq!(is_statement(&statement), Some(true));
        let checked = verify_statement(&statement, key.verifier()).unwrap();
        assert_eq!((&checked.entry, checked.included.index), (&entries[1], 1));
        let receipt = sign_inclusion(&proof, &entries[1], "01J", &key).unwrap();
        assert_eq!(is_statement(&receipt), Some(false));
        assert_eq!(verify_statement(&receipt, key.verifier()), Err(CoseError::Malformed));
        for bit in 0..statement.len() * 8 {
            let mut changed = statement.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let checked = verify_statement(&changed, key.verifier());
            assert_eq!(checked.is_err(), !is_undefined(&statement, &changed), "bit {bit}");
        }
    }

    #[test]
    fn a_receipt_shows_that_a_tree_extends_another() {
        let (key, entries, _, newer) = log();
        let pair = node_hash(&leaf_hash(&entries[0]), &leaf_hash(&entries[1]));
        let signed = |size, root| {
            let note = checkpoint::sign(&Checkpoint::new("log.example", size, root), &key);
            checkpoint::verify(note.as_bytes(), key.verifier()).unwrap()
        };
        let older = signed(2, pair);
        let receipt = sign_consistency(&older, &newer, &[leaf_hash(&entries[2])], &key).unwrap();
        assert_eq!(verify_consistency(&receipt, &older, key.verifier()).unwrap().root, newer.root);
        let forked = signed(2, leaf_hash(b"another"));
        assert_eq!(verify_consistency(&receipt, &forked, key.verifier()), Err(CoseError::Signature));
        assert!(sign_consistency(&forked, &newer, &[leaf_hash(&entries[2])], &key).is_err());
        assert_eq!(verify_inclusion(&receipt, &entries[0], key.verifier()), Err(CoseError::Absent));
        assert_eq!(sign_consistency(&newer, &newer, &[], &key), Err(CoseError::Empty));
    }

    #[test]
    fn a_tree_of_one_entry_gets_no_receipt() {
        let key = SigningKey::from_seed("log.example", [7; 32]).unwrap();
        let note = checkpoint::sign(&Checkpoint::new("log.example", 1, leaf_hash(b"{}")), &key);
        let proof = Proof { extra: None, index: 0, hashes: Vec::new(), checkpoint: note };
        assert_eq!(sign_inclusion(&proof, b"{}", "01J", &key), Err(CoseError::Empty));
    }
}
