//! Signed notes and their keys. (C2SP `signed-note`.)
//!
//! A note is a text and signatures over it. [`Note::parse`] reads one and
//! believes nothing; [`Note::verify`] is what makes its text worth reading.
//! Keys are known by name *and* id; signatures by other keys are ignored, so
//! that anybody may add theirs. Three algorithms: Ed25519 for the log's own
//! signatures (`0x01`) and for witnesses' cosignatures (`0x04`), and ML-DSA-44
//! (`0x06`, FIPS 204), which outlasts quantum computers, for both.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use zeroize::{Zeroize as _, Zeroizing};

use ml_dsa::Keypair as _;
use ml_dsa::MlDsa44;

use crate::Verified;
use crate::checkpoint::Checkpoint;
use crate::tree::sha256;

/// The longest note that is read: 64 signatures of post-quantum size (5 kB,
/// 7 kB in base64) and a text take half of it.
pub const NOTE_BYTES_MAX: usize = 1 << 20;

/// The most signatures that are read; the specification asks for at least 16.
pub const SIGNATURES_MAX: usize = 64;

/// What begins a signature line: an em dash and a space.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// What a key signs, and how.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `0x01`: Ed25519 over the note's text.
    Ed25519,
    /// `0x04`: Ed25519 over a time and the note's text; a witness's.
    CosignatureV1,
    /// `0x06`: ML-DSA-44 over the names of signer and log, a time, and size
    /// and root of a checkpoint; a log's or a witness's.
    SubtreeV1,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "Ed25519",
            Self::CosignatureV1 => "Ed25519, cosignature/v1",
            Self::SubtreeV1 => "ML-DSA-44, subtree/v1",
        })
    }
}

/// The bytes of an ML-DSA-44 public key (FIPS 204, table 2).
const ML_DSA_44_KEY_BYTES: usize = 1312;

/// The longest name, of signer or log, that an ML-DSA-44 signature can hold.
const SUBTREE_NAME_BYTES_MAX: usize = 255;

impl Algorithm {
    fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
            Self::SubtreeV1 => 0x06,
        }
    }

    /// Whether it signs checkpoints as their log.
    pub fn is_log(self) -> bool {
        matches!(self, Self::Ed25519 | Self::SubtreeV1)
    }

    /// Whether it signs a time with a checkpoint, as witnesses do.
    pub fn is_witness(self) -> bool {
        matches!(self, Self::CosignatureV1 | Self::SubtreeV1)
    }
}

/// Why text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not `name+id+base64`, or the base64 is not that of a key.
    #[error("key is malformed")]
    Malformed,
    /// A name is not empty and has no spaces, control characters or `+`.
    #[error("key has a name that no key may have")]
    Name,
    /// The algorithm is none of [`Algorithm`].
    #[error("key is of a kind that is not supported")]
    Algorithm,
    /// The id is not the one that follows from name and key: a typing error,
    /// or a key under another's name.
    #[error("key does not belong to its id")]
    Id,
    /// The bytes are no point of the curve, or one that proves nothing.
    #[error("key is not a usable ed25519 key")]
    Point,
}

fn check_name(name: &str) -> Result<(), KeyError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.contains(bad) {
        return Err(KeyError::Name);
    }
    Ok(())
}

fn key_id(name: &str, algorithm: Algorithm, public: &[u8]) -> u32 {
    let mut bytes = Vec::with_capacity(name.len() + 2 + public.len());
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(b'\n');
    bytes.push(algorithm.byte());
    bytes.extend_from_slice(public);
    let hash = sha256(bytes).0;
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// What the text of a key says, of either kind.
struct KeyText<'a> {
    name: &'a str,
    id: u32,
    algorithm: Algorithm,
    key: Zeroizing<Vec<u8>>,
}

fn parse_key(text: &str) -> Result<KeyText<'_>, KeyError> {
    let mut fields = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(KeyError::Malformed);
    };
    check_name(name)?;
    if id.len() != 8 || !id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(KeyError::Malformed);
    }
    let id = u32::from_str_radix(id, 16).map_err(|_| KeyError::Malformed)?;
    let bytes = Zeroizing::new(STANDARD.decode(key).map_err(|_| KeyError::Malformed)?);
    let (algorithm, key) = bytes.split_first().ok_or(KeyError::Malformed)?;
    let algorithm = match algorithm {
        0x01 => Algorithm::Ed25519,
        0x04 => Algorithm::CosignatureV1,
        0x06 => Algorithm::SubtreeV1,
        _ => return Err(KeyError::Algorithm),
    };
    Ok(KeyText { name, id, algorithm, key: Zeroizing::new(key.to_vec()) })
}

/// A public key under a name: `name+id+base64`.
#[derive(Clone)]
pub struct VerifierKey {
    name: String,
    id: u32,
    algorithm: Algorithm,
    public: Arc<[u8]>,
    key: Public,
}

/// A public key, ready to verify with.
#[derive(Clone)]
enum Public {
    Ed25519(ed25519_dalek::VerifyingKey),
    MlDsa44(Arc<ml_dsa::VerifyingKey<MlDsa44>>),
}

impl Public {
    fn read(algorithm: Algorithm, public: &[u8]) -> Result<Self, KeyError> {
        if algorithm == Algorithm::SubtreeV1 {
            // Every string of this length is a key.
            let encoded = public.try_into().map_err(|_| KeyError::Malformed)?;
            return Ok(Self::MlDsa44(Arc::new(ml_dsa::VerifyingKey::decode(encoded))));
        }
        let public = public.try_into().map_err(|_| KeyError::Malformed)?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(public).map_err(|_| KeyError::Point)?;
        if key.is_weak() { Err(KeyError::Point) } else { Ok(Self::Ed25519(key)) }
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Self::MlDsa44(key) => ml_dsa::Signature::<MlDsa44>::try_from(signature)
                .is_ok_and(|signature| key.verify_with_context(message, b"", &signature)),
        }
    }
}

impl PartialEq for VerifierKey {
    fn eq(&self, other: &Self) -> bool {
        // The id follows from these.
        self.name == other.name && self.algorithm == other.algorithm && self.public == other.public
    }
}

impl Eq for VerifierKey {}

impl VerifierKey {
    pub(crate) fn new(name: &str, algorithm: Algorithm, public: &[u8]) -> Result<Self, KeyError> {
        check_name(name)?;
        if algorithm == Algorithm::SubtreeV1 && name.len() > SUBTREE_NAME_BYTES_MAX {
            return Err(KeyError::Name);
        }
        let key = Public::read(algorithm, public)?;
        let id = key_id(name, algorithm, public);
        Ok(Self { name: name.to_owned(), id, algorithm, public: public.into(), key })
    }

    /// Reads `name+id+base64`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let said = parse_key(text)?;
        let key = Self::new(said.name, said.algorithm, &said.key)?;
        if key.id != said.id {
            return Err(KeyError::Id);
        }
        Ok(key)
    }

    /// The name; of a log's key, the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of a hash over name, algorithm and key. It finds
    /// the key; it does not prove it.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What the key signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The bytes of the key itself: 32 of Ed25519, 1312 of ML-DSA-44.
    pub fn public_key(&self) -> &[u8] {
        &self.public
    }

    /// Checks what [`SigningKey::sign_other`] signs.
    pub(crate) fn check_other(&self, message: &[u8], signature: &[u8]) -> bool {
        self.algorithm == Algorithm::Ed25519 && self.key.verifies(message, signature)
    }

    /// Whether a signature claims to be by this key.
    fn claims(&self, signature: &Signature) -> bool {
        self.name == signature.name && self.id == signature.id
    }

    /// Checks a signature over a note's text. `Some` holds the time that a
    /// cosignature speaks of.
    fn check(&self, text: &str, bytes: &[u8]) -> Result<Option<u64>, NoteError> {
        let (time, message, signature) = if self.algorithm == Algorithm::Ed25519 {
            (None, text.as_bytes().to_vec(), bytes)
        } else {
            let (time, signature) = bytes.split_first_chunk::<8>().ok_or(NoteError::Signature)?;
            let time = u64::from_be_bytes(*time);
            if time > COSIGNATURE_TIME_MAX {
                return Err(NoteError::Signature);
            }
            let message = timed_message(self.algorithm, &self.name, time, text).ok_or(NoteError::Signature)?;
            (Some(time), message, signature)
        };
        if self.key.verifies(&message, signature) { Ok(time) } else { Err(NoteError::Signature) }
    }
}

/// "It MUST NOT exceed 2^63 - 1": `tlog-cosignature`, Format.
pub(crate) const COSIGNATURE_TIME_MAX: u64 = i64::MAX as u64;

/// What a signature with a time is over (`tlog-cosignature`, "Ed25519 signed
/// message" and "ML-DSA-44 signed message"). `None` when the algorithm signs
/// checkpoints only and this is none, or its origin is too long for it.
fn timed_message(algorithm: Algorithm, signer: &str, time: u64, text: &str) -> Option<Vec<u8>> {
    if algorithm == Algorithm::CosignatureV1 {
        return Some(format!("cosignature/v1\ntime {time}\n{text}").into_bytes());
    }
    let head = Checkpoint::parse_text(text).ok()?;
    let mut message = b"subtree/v1\n\0".to_vec();
    let name = |message: &mut Vec<u8>, name: &str| {
        message.push(u8::try_from(name.len()).ok()?);
        message.extend_from_slice(name.as_bytes());
        Some(())
    };
    name(&mut message, signer)?;
    message.extend_from_slice(&time.to_be_bytes());
    name(&mut message, &head.origin)?;
    // A checkpoint is the subtree from the first entry on.
    message.extend_from_slice(&0_u64.to_be_bytes());
    message.extend_from_slice(&head.size.to_be_bytes());
    message.extend_from_slice(&head.root.0);
    Some(message)
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[self.algorithm.byte()], &*self.public].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(bytes))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

/// The most keys that a log or a witness may have.
pub const KEYS_MAX: usize = 8;

/// Reads the keys of one signer, one a line (`log.vkey`): at least one, not more than [`KEYS_MAX`], all of one name, none
/// twice.
pub fn parse_keys(text: &str) -> Result<Vec<VerifierKey>, KeyError> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let mut keys: Vec<VerifierKey> = Vec::new();
    for line in text.split('\n') {
        let key = VerifierKey::parse(line)?;
        if keys.len() == KEYS_MAX || keys.iter().any(|other| other.name != key.name || *other == key) {
            return Err(KeyError::Malformed);
        }
        keys.push(key);
    }
    Ok(keys)
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

/// A secret key under a name. It is wiped from memory when dropped, and its
/// `Debug` shows the public half.
pub struct SigningKey {
    verifier: VerifierKey,
    key: Secret,
}

enum Secret {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    MlDsa44(Box<ml_dsa::SigningKey<MlDsa44>>),
}

impl Secret {
    fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(match self {
            Self::Ed25519(key) => key.to_bytes(),
            Self::MlDsa44(key) => (*key.as_seed()).into(),
        })
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Self::MlDsa44(key) => {
                // Deterministic, because this crate has no randomness; FIPS 204, section 3.4, allows it.
                let signature = key.expanded_key().sign_deterministic(message, b"");
                signature.expect("the context is empty").encode().to_vec()
            }
        }
    }
}

impl SigningKey {
    /// A log's key, from 32 random bytes.
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Result<Self, KeyError> {
        Self::new(name, Algorithm::Ed25519, seed)
    }

    /// A witness's key (`0x04`), from 32 random bytes. Do not use one seed
    /// for two keys.
    pub fn cosigner_from_seed(name: &str, seed: [u8; 32]) -> Result<Self, KeyError> {
        Self::new(name, Algorithm::CosignatureV1, seed)
    }

    /// An ML-DSA-44 key (`0x06`) of a log or of a witness, from 32 random
    /// bytes. Do not use one seed for two keys.
    pub fn ml_dsa_from_seed(name: &str, seed: [u8; 32]) -> Result<Self, KeyError> {
        Self::new(name, Algorithm::SubtreeV1, seed)
    }

    fn new(name: &str, algorithm: Algorithm, mut seed: [u8; 32]) -> Result<Self, KeyError> {
        let (key, public) = if algorithm == Algorithm::SubtreeV1 {
            let key = ml_dsa::SigningKey::<MlDsa44>::from_seed(&seed.into());
            let public = key.verifying_key().encode().to_vec();
            debug_assert_eq!(public.len(), ML_DSA_44_KEY_BYTES);
            (Secret::MlDsa44(Box::new(key)), public)
        } else {
            let key = ed25519_dalek::SigningKey::from_bytes(&seed);
            let public = key.verifying_key().as_bytes().to_vec();
            (Secret::Ed25519(Box::new(key)), public)
        };
        seed.zeroize();
        Ok(Self { verifier: VerifierKey::new(name, algorithm, &public)?, key })
    }

    /// The public half.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// `PRIVATE+KEY+name+id+base64`, as the Go tools write it.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; 33]);
        bytes[0] = self.verifier.algorithm.byte();
        bytes[1..].copy_from_slice(&*self.key.seed());
        let key = Zeroizing::new(STANDARD.encode(bytes.as_slice()));
        Zeroizing::new(format!("{PRIVATE_PREFIX}{}+{:08x}+{}", self.verifier.name, self.verifier.id, key.as_str()))
    }

    /// Reads what [`SigningKey::to_text`] writes.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.strip_prefix(PRIVATE_PREFIX).ok_or(KeyError::Malformed)?;
        let said = parse_key(text)?;
        let seed = said.key.as_slice().try_into().map_err(|_| KeyError::Malformed)?;
        let key = Self::new(said.name, said.algorithm, seed)?;
        if key.verifier.id != said.id {
            return Err(KeyError::Id);
        }
        Ok(key)
    }

    /// Signs what is no note. Its first byte must not be one that text can
    /// begin with, so that neither passes for the other.
    pub(crate) fn sign_other(&self, message: &[u8]) -> Vec<u8> {
        assert_eq!(self.verifier.algorithm, Algorithm::Ed25519, "a witness's key cosigns");
        assert!(message.first().is_some_and(|&byte| (0x80..0xc0).contains(&byte)), "it is no text");
        self.key.sign(message)
    }

    fn line(&self, signature: Vec<u8>) -> String {
        Signature { name: self.verifier.name.clone(), id: self.verifier.id, bytes: signature }.to_line()
    }
}

const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifier)
    }
}

/// Signs a text and gives the whole note.
///
/// # Panics
///
/// When the text does not end in a newline or has other control characters,
/// or when the key signs with a time: such a note could not be read again.
pub fn sign(text: &str, key: &SigningKey) -> String {
    assert!(text.ends_with('\n') && is_clean(text), "a note's text is clean lines");
    assert_eq!(key.verifier.algorithm, Algorithm::Ed25519, "other keys cosign");
    format!("{text}\n{}", key.line(key.key.sign(text.as_bytes())))
}

/// A signature line with a time for a note's text, to be appended to the note: a
/// witness's, or a log's own by its ML-DSA-44 key.
///
/// # Panics
///
/// When the key signs without a time; when the time (POSIX seconds) is beyond
/// 2⁶³−1; when the key is an ML-DSA-44 key and the text is no checkpoint, or one
/// with an origin of more than 255 bytes.
pub fn cosign(text: &str, time: u64, key: &SigningKey) -> String {
    assert!(key.verifier.algorithm.is_witness(), "this key signs without a time");
    assert!(time <= COSIGNATURE_TIME_MAX, "a time before the year 292 billion");
    let message = timed_message(key.verifier.algorithm, &key.verifier.name, time, text).expect("a checkpoint");
    let mut signature = time.to_be_bytes().to_vec();
    signature.extend_from_slice(&key.key.sign(&message));
    key.line(signature)
}

fn is_clean(text: &str) -> bool {
    text.bytes().all(|b| b >= 0x20 || b == b'\n')
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name of the key that it claims to be by.
    pub name: String,
    /// The id of that key.
    pub id: u32,
    /// The signature proper, without the key id.
    pub bytes: Vec<u8>,
}

impl Signature {
    /// The line, with its newline.
    pub fn to_line(&self) -> String {
        let bytes = [&self.id.to_be_bytes()[..], &self.bytes].concat();
        format!("{SIGNATURE_PREFIX}{} {}\n", self.name, STANDARD.encode(bytes))
    }
}

/// A note that was read, not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

/// A key that signed a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The key.
    pub key: VerifierKey,
    /// When, in POSIX seconds, by its own clock; of a signature with a time.
    pub time: Option<u64>,
}

/// A note whose text at least one known key signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What was signed.
    pub text: String,
    /// By whom, each key once.
    pub signers: Vec<Signer>,
}

/// Why a note is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Longer than [`NOTE_BYTES_MAX`] or more signatures than
    /// [`SIGNATURES_MAX`].
    #[error("note is too large")]
    TooLarge,
    /// The bytes are not a signed note.
    #[error("note is malformed")]
    Malformed,
    /// None of the keys that were passed signed it.
    #[error("note is not signed by a known key")]
    Unsigned,
    /// A signature that claims to be by a known key is not.
    #[error("note has a bad signature")]
    Signature,
}

impl Note {
    /// Reads a note.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLarge);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed)?;
        if !is_clean(note) {
            return Err(NoteError::Malformed);
        }
        // The text may have empty lines; the last one ends it.
        let end = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
        let (text, signatures) = (&note[..=end], &note[end + 2..]);
        let lines = signatures.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == SIGNATURES_MAX {
                return Err(NoteError::TooLarge);
            }
            signatures.push(parse_signature(line).ok_or(NoteError::Malformed)?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The text, which nobody may have signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, which may be anybody's.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Checks every signature that claims to be by one of `keys`. One bad
    /// signature among those refuses the note; signatures by others are
    /// ignored; at least one of `keys` must have signed.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Verified<Opened>, NoteError> {
        let signers = self.signers(keys)?;
        if signers.is_empty() {
            return Err(NoteError::Unsigned);
        }
        Ok(Verified::new(Opened { text: self.text.clone(), signers }))
    }

    /// As [`Note::verify`], where nobody having signed is an answer too. Of
    /// several cosignatures by one key the newest counts.
    pub(crate) fn signers(&self, keys: &[VerifierKey]) -> Result<Vec<Signer>, NoteError> {
        let mut signers: Vec<Signer> = Vec::new();
        for signature in &self.signatures {
            for key in keys.iter().filter(|key| key.claims(signature)) {
                let time = key.check(&self.text, &signature.bytes)?;
                match signers.iter_mut().find(|signer| signer.key == *key) {
                    Some(signer) => signer.time = signer.time.max(time),
                    None => signers.push(Signer { key: key.clone(), time }),
                }
            }
        }
        Ok(signers)
    }
}

fn parse_signature(line: &str) -> Option<Signature> {
    let (name, base64) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
    check_name(name).ok()?;
    let bytes = STANDARD.decode(base64).ok()?;
    let (id, signature) = bytes.split_first_chunk::<4>()?;
    if signature.is_empty() {
        return None;
    }
    Some(Signature { name: name.to_owned(), id: u32::from_be_bytes(*id), bytes: signature.to_vec() })
}
