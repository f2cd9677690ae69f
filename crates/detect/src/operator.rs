//! What is put in the place of a finding: operators, and how they are applied to a text.
//!
//! [`Operator`] is one of them, as a policy writes it; [`anonymize`] applies them to the spans that somebody found, and
//! [`deanonymize`] undoes those that can be undone. How spans that touch, contain or cross each other are settled, and
//! what the operators with Presidio's names do, is what Presidio's anonymizer does, so that whoever calls Presidio gets
//! from here what they got there.
//!
//! Pure like the rest of the crate. An operator that needs a secret derives it from [`Keys`]: a keyed hash from the
//! token key; a nonce from the value that it encrypts; what must differ from call to call (Presidio's salts and
//! initialization vectors) from bytes that the caller draws. No error quotes a value.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use aes_gcm_siv::aead::{Aead, Payload};
use aes_gcm_siv::{Aes256GcmSiv, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use serde::de::value::{MapAccessDeserializer, MapDeserializer};
use serde::{Deserialize, Deserializer, de};
use sha2::{Digest, Sha256, Sha512};

use crate::Pseudonyms;
use crate::normal::Normalized;
use crate::pseudonym::normalize;

/// A mask that would hide fewer letters and digits than this hides them all: of a short value, "the last four" is the
/// value.
const MASKED_LEAST: usize = 4;

/// A salt has at least 128 bits, as Presidio wants.
const SALT_BYTES_LEAST: usize = 16;

/// The longest text that operators may make: of crossing spans, or of a long replacement, much can be made out of little.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// The years that a date is believed to have.
const YEARS: std::ops::RangeInclusive<u32> = 1500..=2199;

/// From this age on, an age identifies (45 CFR 164.514(b)(2)(i)(C)).
const AGE_TOP: u32 = 90;

/// Nobody is older.
const AGE_MAX: u32 = 130;

/// Why an operator cannot be had or did not work. None of these quotes a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// A mask that is no single character.
    #[error("`char` of an operator `mask` must be one character")]
    MaskChar,
    /// A mask with `count` and with what it should keep.
    #[error("an operator `mask` has either `count`, or `keep_first` and `keep_last`")]
    MaskBoth,
    /// A salt that could be guessed.
    #[error("a salt must have at least 16 bytes (128 bits)")]
    SaltShort,
    /// Neither 128, 192 nor 256 bits.
    #[error("a key must have 128, 192 or 256 bits")]
    KeySize,
    /// No key for `encrypt` or `decrypt`.
    #[error("there is no encryption key")]
    KeyMissing,
    /// What is to be decrypted was not encrypted with this key, or was changed.
    #[error("the text cannot be decrypted with this key")]
    Undecryptable,
    /// An operator that takes no part in this direction.
    #[error("the operator `{0}` does not undo anything")]
    Irreversible(&'static str),
    /// An operator that only undoes.
    #[error("the operator `decrypt` does not hide anything")]
    Reveals,
    /// Nobody said what to do with an entity.
    #[error("there is no operator for this entity, and no default")]
    NoOperator,
    /// A span that is not one of this text's.
    #[error("a span lies outside the text, or not between characters")]
    Span,
    /// The text would become longer than 64 MiB.
    #[error("the text would become too long")]
    TooLong,
}

/// The hash function of an operator.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

/// What makes a hash impossible to guess at.
#[derive(Clone, PartialEq, Eq)]
pub enum Seasoning {
    /// HMAC under a key that is derived from the token key, over the entity and the normalized value: the same value has
    /// the same hash in every record of an installation.
    Keyed,
    /// The hash of the value and, after it, these bytes: Presidio's `salt`.
    Salt(Vec<u8>),
    /// The same with other bytes for each finding: Presidio's default. Equal values have different hashes.
    Fresh,
}

/// What a mask covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// So many characters, whatever they are, from the start or from the end.
    Count {
        /// How many; all when there are fewer.
        count: usize,
        /// From the end instead of from the start.
        from_end: bool,
    },
    /// All letters and digits but the first and the last few; what stands between them stays, so that the form can
    /// be seen. If fewer than four would be hidden, all are.
    AllBut {
        /// How many stay at the start.
        first: usize,
        /// How many stay at the end.
        last: usize,
    },
}

/// What is put in the place of a finding.
///
/// In a policy either a name (`"token"`) or a table: `{ type = "mask", keep_last = 4 }`. Unknown members are refused.
///
/// | `type` | members | gives |
/// |---|---|---|
/// | `replace` | `new_value` | that text; `<ENTITY>` without one |
/// | `redact` | | nothing |
/// | `mask` | `char` (`*`), and `count` with `from_end`, or `keep_first` and `keep_last` | the value with characters hidden |
/// | `hash` | `algorithm` (`sha256`, `sha512`), `salt` | HMAC under the installation's key; with a salt, the hash of value and salt |
/// | `token` | | the keyed pseudonym, `[ENTITY:token]` |
/// | `encrypt` | | AES-256-GCM-SIV under the encryption key, to be undone by `decrypt` |
/// | `decrypt` | | what was encrypted |
/// | `keep` | | the value |
/// | `generalize` | | of a date its year, of an age its decade or `90+`; of anything else `<ENTITY>` |
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operator {
    /// Another text; `<ENTITY>` without one.
    Replace {
        /// The text.
        new_value: Option<String>,
    },
    /// Nothing.
    Redact,
    /// The value with characters hidden.
    Mask {
        /// What stands for a hidden character; without one they are left out.
        char: Option<char>,
        /// Which are hidden.
        cover: Cover,
    },
    /// A hash, in hexadecimal.
    Hash {
        /// The hash function.
        algorithm: Algorithm,
        /// What goes in besides the value.
        seasoning: Seasoning,
    },
    /// The keyed pseudonym, `[ENTITY:token]`.
    Token,
    /// Encrypted and authenticated under [`Keys::encryption`].
    Encrypt,
    /// Undoes [`Operator::Encrypt`].
    Decrypt,
    /// As Presidio encrypts: AES-CBC with PKCS #7 padding, the initialization vector before the ciphertext, in URL-safe
    /// base64. Nothing shows if it was changed. Only for who calls this as Presidio; no policy can ask for it.
    EncryptCbc(CbcKey),
    /// Undoes [`Operator::EncryptCbc`].
    DecryptCbc(CbcKey),
    /// The value itself.
    Keep,
    /// Of a date its year, of an age its decade or `90+`.
    Generalize,
}

/// A key of 128, 192 or 256 bits, as Presidio takes it: the bytes of a string.
#[derive(Clone, PartialEq, Eq)]
pub struct CbcKey(Vec<u8>);

impl CbcKey {
    /// Of the right size.
    pub fn new(bytes: &[u8]) -> Result<Self, OperatorError> {
        match bytes.len() {
            16 | 24 | 32 => Ok(Self(bytes.to_vec())),
            _ => Err(OperatorError::KeySize),
        }
    }
}

/// Keys and salts are not for logs.
impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Operator({})", self.name())
    }
}

/// As a policy writes it.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    Replace {
        new_value: Option<String>,
    },
    Redact {},
    Mask {
        #[serde(default = "asterisk")]
        char: String,
        count: Option<usize>,
        from_end: Option<bool>,
        keep_first: Option<usize>,
        keep_last: Option<usize>,
    },
    Hash {
        #[serde(default)]
        algorithm: Algorithm,
        salt: Option<String>,
    },
    Token {},
    Encrypt {},
    Decrypt {},
    Keep {},
    Generalize {},
}

fn asterisk() -> String {
    "*".to_owned()
}

impl TryFrom<Written> for Operator {
    type Error = OperatorError;

    fn try_from(written: Written) -> Result<Self, OperatorError> {
        Ok(match written {
            Written::Replace { new_value } => Operator::Replace { new_value },
            Written::Redact {} => Operator::Redact,
            Written::Mask { char, count, from_end, keep_first, keep_last } => {
                let mut chars = char.chars();
                let (Some(char), None) = (chars.next(), chars.next()) else { return Err(OperatorError::MaskChar) };
                let keeps = keep_first.is_some() || keep_last.is_some();
                if keeps && (count.is_some() || from_end.is_some()) {
                    return Err(OperatorError::MaskBoth);
                }
                let cover = if count.is_none() && from_end.is_none() {
                    Cover::AllBut { first: keep_first.unwrap_or(0), last: keep_last.unwrap_or(0) }
                } else {
                    Cover::Count { count: count.unwrap_or(usize::MAX), from_end: from_end.unwrap_or(false) }
                };
                Operator::Mask { char: Some(char), cover }
            }
            Written::Hash { algorithm, salt: None } => Operator::Hash { algorithm, seasoning: Seasoning::Keyed },
            Written::Hash { algorithm, salt: Some(salt) } => Operator::salted(algorithm, salt.as_bytes())?,
            Written::Token {} => Operator::Token,
            Written::Encrypt {} => Operator::Encrypt,
            Written::Decrypt {} => Operator::Decrypt,
            Written::Keep {} => Operator::Keep,
            Written::Generalize {} => Operator::Generalize,
        })
    }
}

impl<'de> Deserialize<'de> for Operator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable;
        impl<'de> de::Visitor<'de> for NameOrTable {
            type Value = Written;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an operator's name, or a table with its `type`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Written, E> {
                Written::deserialize(MapDeserializer::new([("type", name)].into_iter()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Written, A::Error> {
                Written::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_any(NameOrTable)?.try_into().map_err(de::Error::custom)
    }
}

/// What operators are keyed with.
pub struct Keys<'a> {
    /// Makes tokens and keyed hashes.
    pub pseudonyms: &'a Pseudonyms,
    /// Encrypts, where a policy says so.
    pub encryption: Option<&'a [u8; 32]>,
    /// Random bytes that no other call is given. Salts and initialization vectors are derived from them.
    pub fresh: [u8; 32],
}

/// A span of a text, and what was found there. Offsets are bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// What was found.
    pub entity: String,
    /// Of the first byte.
    pub start: usize,
    /// After the last byte.
    pub end: usize,
    /// Decides between spans.
    pub score: f64,
}

/// What an operator put where. Offsets are bytes of the new text.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// What had been found.
    pub entity: String,
    /// Of the first byte.
    pub start: usize,
    /// After the last byte.
    pub end: usize,
    /// What stands there now.
    pub text: String,
    /// The operator's name.
    pub operator: &'static str,
}

/// A text after its operators. Items stand in order from its end, as Presidio lists them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Anonymized {
    /// The new text.
    pub text: String,
    /// What was done.
    pub items: Vec<Item>,
}

/// What becomes of spans of different entities that cross.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conflicts {
    /// Both stay, and each operator is given its whole span: Presidio's default. What they share is written twice if
    /// both keep it.
    #[default]
    Both,
    /// What they share goes to the one with the higher score; of equal ones, to the first.
    Cut,
}

/// Operators by entity.
#[derive(Clone, Debug, Default)]
pub struct Operators {
    /// For these entities.
    pub by_entity: HashMap<String, Operator>,
    /// For every other.
    pub default: Option<Operator>,
}

impl Operators {
    fn of(&self, entity: &str) -> Option<&Operator> {
        self.by_entity.get(entity).or(self.default.as_ref())
    }
}

impl Operator {
    /// A hash of the value and a salt.
    pub fn salted(algorithm: Algorithm, salt: &[u8]) -> Result<Self, OperatorError> {
        if salt.len() < SALT_BYTES_LEAST {
            return Err(OperatorError::SaltShort);
        }
        Ok(Operator::Hash { algorithm, seasoning: Seasoning::Salt(salt.to_vec()) })
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Operator::Replace { .. } => "replace",
            Operator::Redact => "redact",
            Operator::Mask { .. } => "mask",
            Operator::Hash { .. } => "hash",
            Operator::Token => "token",
            Operator::Encrypt | Operator::EncryptCbc(_) => "encrypt",
            Operator::Decrypt | Operator::DecryptCbc(_) => "decrypt",
            Operator::Keep => "keep",
            Operator::Generalize => "generalize",
        }
    }

    /// What it puts in the place of `value`, which is the `number`th that this call's keys are used for.
    pub fn apply(&self, entity: &str, value: &str, keys: &Keys<'_>, number: usize) -> Result<String, OperatorError> {
        Ok(match self {
            Operator::Replace { new_value: Some(text) } if !text.is_empty() => text.clone(),
            Operator::Replace { .. } => placeholder(entity),
            Operator::Redact => String::new(),
            Operator::Mask { char, cover } => mask(value, *char, *cover),
            Operator::Hash { algorithm, seasoning } => match seasoning {
                Seasoning::Keyed => keyed_hash(*algorithm, entity, value, keys),
                Seasoning::Salt(salt) => hash(*algorithm, value, salt),
                Seasoning::Fresh => hash(*algorithm, value, &keys.draw("salt", number)),
            },
            Operator::Token => format!("[{entity}:{}]", keys.pseudonyms.token(entity, value)),
            Operator::Encrypt => seal(keys.encryption.ok_or(OperatorError::KeyMissing)?, entity, value),
            Operator::Decrypt => unseal(keys.encryption.ok_or(OperatorError::KeyMissing)?, entity, value)?,
            Operator::EncryptCbc(key) => {
                let drawn = keys.draw("iv", number);
                encrypt_cbc(key, drawn.first_chunk().expect("32 bytes have a first 16"), value)
            }
            Operator::DecryptCbc(key) => decrypt_cbc(key, value)?,
            Operator::Keep => value.to_owned(),
            Operator::Generalize => generalize(entity, value).unwrap_or_else(|| placeholder(entity)),
        })
    }
}

impl Keys<'_> {
    /// 32 bytes for one use in this call.
    fn draw(&self, use_: &str, number: usize) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.fresh).expect("HMAC takes a key of any length");
        mac.update(use_.as_bytes());
        mac.update(&[0]);
        mac.update(&(number as u64).to_be_bytes());
        mac.finalize().into_bytes().into()
    }
}

fn placeholder(entity: &str) -> String {
    format!("<{entity}>")
}

fn mask(value: &str, char: Option<char>, cover: Cover) -> String {
    let mut out = String::with_capacity(value.len());
    match cover {
        Cover::Count { count, from_end } => {
            let length = value.chars().count();
            let count = count.min(length);
            let hidden = if from_end { length - count..length } else { 0..count };
            for (i, c) in value.chars().enumerate() {
                if hidden.contains(&i) { out.extend(char) } else { out.push(c) }
            }
        }
        Cover::AllBut { first, last } => {
            let length = value.chars().filter(|c| c.is_alphanumeric()).count();
            let (first, last) = match length.checked_sub(first.saturating_add(last)) {
                Some(hidden) if hidden >= MASKED_LEAST => (first, last),
                _ => (0, 0),
            };
            let mut i = 0;
            for c in value.chars() {
                if !c.is_alphanumeric() {
                    out.push(c);
                    continue;
                }
                if (first..length - last).contains(&i) {
                    out.extend(char)
                } else {
                    out.push(c)
                }
                i += 1;
            }
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|nibble| b"0123456789abcdef"[nibble as usize] as char).collect()
}

fn hash(algorithm: Algorithm, value: &str, salt: &[u8]) -> String {
    match algorithm {
        Algorithm::Sha256 => hex(&Sha256::new().chain_update(value).chain_update(salt).finalize()),
        Algorithm::Sha512 => hex(&Sha512::new().chain_update(value).chain_update(salt).finalize()),
    }
}

fn keyed_hash(algorithm: Algorithm, entity: &str, value: &str, keys: &Keys<'_>) -> String {
    let key = keys.pseudonyms.derive("operator hash");
    let value = normalize(entity, value);
    let parts = [entity.as_bytes(), &[0], value.as_bytes()];
    match algorithm {
        Algorithm::Sha256 => {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes a key of any length");
            parts.iter().for_each(|part| mac.update(part));
            hex(&mac.finalize().into_bytes())
        }
        Algorithm::Sha512 => {
            let mut mac = Hmac::<Sha512>::new_from_slice(&key).expect("HMAC takes a key of any length");
            parts.iter().for_each(|part| mac.update(part));
            hex(&mac.finalize().into_bytes())
        }
    }
}

/// `nonce || ciphertext || tag` in URL-safe base64. The entity is authenticated too: a card number cannot be passed off
/// as a name. The nonce is derived from the value, so that equal values of one entity look equal, as their tokens do;
/// different ones have different nonces, and if two ever had the same, GCM-SIV would still hold.
fn seal(key: &[u8; 32], entity: &str, value: &str) -> String {
    let (cipher, mut mac) = sealing(key);
    mac.update(entity.as_bytes());
    mac.update(&[0]);
    mac.update(value.as_bytes());
    let nonce: [u8; 12] = *mac.finalize().into_bytes().first_chunk().expect("SHA-256 has 32 bytes");
    let payload = Payload { msg: value.as_bytes(), aad: entity.as_bytes() };
    let sealed = cipher.encrypt(&nonce.into(), payload).expect("a text in memory is shorter than GCM-SIV's limit");
    URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())
}

fn unseal(key: &[u8; 32], entity: &str, sealed: &str) -> Result<String, OperatorError> {
    let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| OperatorError::Undecryptable)?;
    let (nonce, sealed) = bytes.split_first_chunk::<12>().ok_or(OperatorError::Undecryptable)?;
    let payload = Payload { msg: sealed, aad: entity.as_bytes() };
    let value = sealing(key).0.decrypt(&(*nonce).into(), payload).map_err(|_| OperatorError::Undecryptable)?;
    String::from_utf8(value).map_err(|_| OperatorError::Undecryptable)
}

/// One key for the cipher and another for nonces, from one.
fn sealing(key: &[u8; 32]) -> (Aes256GcmSiv, Hmac<Sha256>) {
    let derive = |label: &[u8]| -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        mac.update(label);
        mac.finalize().into_bytes().into()
    };
    let cipher = Aes256GcmSiv::new(&derive(b"operator encrypt").into());
    let nonces = Hmac::new_from_slice(&derive(b"operator nonce")).expect("HMAC takes a key of any length");
    (cipher, nonces)
}

fn encrypt_cbc(key: &CbcKey, iv: &[u8; 16], value: &str) -> String {
    fn with<C: KeyIvInit + BlockModeEncrypt>(key: &[u8], iv: &[u8], value: &[u8]) -> Vec<u8> {
        C::new_from_slices(key, iv).expect("the sizes of keys are checked").encrypt_padded_vec::<Pkcs7>(value)
    }
    let encrypt = match key.0.len() {
        16 => with::<cbc::Encryptor<aes::Aes128>>,
        24 => with::<cbc::Encryptor<aes::Aes192>>,
        _ => with::<cbc::Encryptor<aes::Aes256>>,
    };
    URL_SAFE.encode([&iv[..], &encrypt(&key.0, iv, value.as_bytes())].concat())
}

fn decrypt_cbc(key: &CbcKey, text: &str) -> Result<String, OperatorError> {
    fn with<C: KeyIvInit + BlockModeDecrypt>(key: &[u8], iv: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        C::new_from_slices(key, iv).ok()?.decrypt_padded_vec::<Pkcs7>(value).ok()
    }
    let decrypt = match key.0.len() {
        16 => with::<cbc::Decryptor<aes::Aes128>>,
        24 => with::<cbc::Decryptor<aes::Aes192>>,
        _ => with::<cbc::Decryptor<aes::Aes256>>,
    };
    // Python's decoder takes both alphabets.
    let plain: String = text
        .trim_end_matches('=')
        .chars()
        .map(|c| match c {
            '+' => '-',
            '/' => '_',
            c => c,
        })
        .collect();
    let bytes = URL_SAFE_NO_PAD.decode(plain).map_err(|_| OperatorError::Undecryptable)?;
    let (iv, value) = bytes.split_first_chunk::<16>().ok_or(OperatorError::Undecryptable)?;
    let value = decrypt(&key.0, iv, value).ok_or(OperatorError::Undecryptable)?;
    String::from_utf8(value).map_err(|_| OperatorError::Undecryptable)
}

/// `None` when neither a year nor an age can be read.
fn generalize(entity: &str, value: &str) -> Option<String> {
    let folded = Normalized::new(value);
    let value = folded.as_ref().map_or(value, |n| n.text.as_str());
    let numbers = value.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let mut words = entity.split('_');
    if words.clone().any(|word| word == "AGE") {
        let age = numbers.filter_map(|digits| digits.parse::<u32>().ok()).next().filter(|age| *age <= AGE_MAX)?;
        return Some(match age {
            AGE_TOP.. => format!("{AGE_TOP}+"),
            _ => format!("{}-{}", age / 10 * 10, age / 10 * 10 + 9),
        });
    }
    if words.any(|word| matches!(word, "DATE" | "BIRTH" | "DOB" | "BIRTHDATE" | "BIRTHDAY")) {
        let year = numbers.filter_map(year).next()?;
        return Some(year.to_string());
    }
    None
}

/// The year of `1984`, of `19840312`, of `19840312101500`.
fn year(digits: &str) -> Option<u32> {
    let year = digits.get(..4)?.parse().ok().filter(|year| YEARS.contains(year))?;
    let dated = || {
        let part = |at: usize| digits[at..at + 2].parse::<u32>().unwrap_or(0);
        (1..=12).contains(&part(4)) && (1..=31).contains(&part(6))
    };
    match digits.len() {
        4 => Some(year),
        8 | 12 | 14 => dated().then_some(year),
        _ => None,
    }
}

/// Applies operators to what was found in a text, after settling spans that touch, contain or cross each other:
///
/// 1. spans of one entity that overlap become one, with the higher score;
/// 2. a span inside another one is dropped, whatever its score; of equal ones that with the highest score stays, of
///    equal scores the last;
/// 3. spans of different entities that cross: see [`Conflicts`];
/// 4. neighbours of one entity with nothing but spaces between become one.
pub fn anonymize(
    text: &str,
    spans: Vec<Span>,
    operators: &Operators,
    keys: &Keys<'_>,
    conflicts: Conflicts,
) -> Result<Anonymized, OperatorError> {
    check(text, &spans)?;
    let spans = settle(text, spans, conflicts);
    operate(
        text,
        spans,
        |entity| match operators.of(entity) {
            None => Ok(Cow::Owned(Operator::Replace { new_value: None })),
            Some(Operator::Decrypt | Operator::DecryptCbc(_)) => Err(OperatorError::Reveals),
            Some(operator) => Ok(Cow::Borrowed(operator)),
        },
        keys,
    )
}

/// Undoes operators in a text in which [`anonymize`] put their results at these spans.
pub fn deanonymize(
    text: &str,
    spans: Vec<Span>,
    operators: &Operators,
    keys: &Keys<'_>,
) -> Result<Anonymized, OperatorError> {
    check(text, &spans)?;
    operate(
        text,
        spans,
        |entity| match operators.of(entity) {
            None => Err(OperatorError::NoOperator),
            Some(operator @ (Operator::Decrypt | Operator::DecryptCbc(_) | Operator::Keep)) => {
                Ok(Cow::Borrowed(operator))
            }
            Some(operator) => Err(OperatorError::Irreversible(operator.name())),
        },
        keys,
    )
}

fn check(text: &str, spans: &[Span]) -> Result<(), OperatorError> {
    spans.iter().try_for_each(|span| text.get(span.start..span.end).map(drop).ok_or(OperatorError::Span))
}

/// From the end of the text to its start, so that what stands before a span has not moved when its turn comes. Where two
/// spans cross, the later one's replacement is followed by nothing of what they share, and the earlier one's stands
/// before it.
fn operate<'o>(
    text: &str,
    mut spans: Vec<Span>,
    operator: impl Fn(&str) -> Result<Cow<'o, Operator>, OperatorError>,
    keys: &Keys<'_>,
) -> Result<Anonymized, OperatorError> {
    spans.sort_by_key(|span| std::cmp::Reverse((span.start, span.end)));
    // Pieces of the new text from its end, and how long they are together.
    let mut pieces: Vec<Cow<'_, str>> = Vec::new();
    let mut length = 0;
    let mut done = text.len();
    let mut items = Vec::with_capacity(spans.len());
    for (number, span) in spans.into_iter().enumerate() {
        let operator = operator(&span.entity)?;
        let new = operator.apply(&span.entity, &text[span.start..span.end], keys, number)?;
        let after = &text[span.end.min(done)..done];
        pieces.push(Cow::Borrowed(after));
        length += after.len() + new.len();
        if length > TEXT_BYTES_MAX {
            return Err(OperatorError::TooLong);
        }
        // From the end until the whole length is known.
        items.push(Item {
            entity: span.entity,
            start: length,
            end: new.len(),
            text: new.clone(),
            operator: operator.name(),
        });
        pieces.push(Cow::Owned(new));
        done = span.start;
    }
    let before = &text[..done];
    length += before.len();
    let mut out = String::with_capacity(length);
    out.push_str(before);
    pieces.iter().rev().for_each(|piece| out.push_str(piece));
    for item in &mut items {
        item.start = length - item.start;
        item.end += item.start;
    }
    Ok(Anonymized { text: out, items })
}

/// See [`anonymize`]. In the time that sorting takes: somebody may send a hundred thousand spans.
fn settle(text: &str, mut spans: Vec<Span>, conflicts: Conflicts) -> Vec<Span> {
    spans.sort_by_key(|span| (span.start, span.end));
    let mut spans = contained(merged(spans));
    if conflicts == Conflicts::Cut {
        spans = cut(spans);
    }
    joined(text, spans)
}

/// Step 1. A merged span stands where the last one that went into it stood.
fn merged(spans: Vec<Span>) -> Vec<Span> {
    let mut by_entity: BTreeMap<String, Vec<(usize, Span)>> = BTreeMap::new();
    for (position, span) in spans.into_iter().enumerate() {
        by_entity.entry(span.entity.clone()).or_default().push((position, span));
    }
    let mut kept: Vec<(usize, Span)> = Vec::new();
    for group in by_entity.into_values() {
        let from = kept.len();
        for (position, span) in group {
            match kept[from..].last_mut() {
                Some((place, last)) if span.start < last.end && last.start < span.end => {
                    last.end = last.end.max(span.end);
                    last.score = last.score.max(span.score);
                    *place = position;
                }
                _ => kept.push((position, span)),
            }
        }
    }
    kept.sort_by_key(|(position, _)| *position);
    kept.into_iter().map(|(_, span)| span).collect()
}

/// Step 2. Sorted by start, longer ones first, whatever may contain a span comes before it, and the largest end so far
/// decides.
fn contained(spans: Vec<Span>) -> Vec<Span> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|&i| (spans[i].start, std::cmp::Reverse(spans[i].end)));
    let mut dropped = vec![false; spans.len()];
    let mut largest: Option<usize> = None;
    for group in order.chunk_by(|&a, &b| (spans[a].start, spans[a].end) == (spans[b].start, spans[b].end)) {
        let end = spans[group[0]].end;
        let survivor = if largest.is_some_and(|largest| largest >= end) {
            None
        } else {
            group.iter().copied().max_by(|&a, &b| spans[a].score.total_cmp(&spans[b].score).then(a.cmp(&b)))
        };
        for &i in group {
            dropped[i] = Some(i) != survivor;
        }
        largest = largest.max(Some(end));
    }
    spans.into_iter().zip(dropped).filter(|(_, dropped)| !dropped).map(|(span, _)| span).collect()
}

/// Step 3. No span contains another any more: sorted by start they are sorted by end, and each can only cross those
/// beside it. A cut can leave one inside its neighbour, or empty; so the order is made again after each, as Presidio does.
fn cut(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| (span.start, span.end));
    let mut i = 0;
    while i + 1 < spans.len() {
        if spans[i].end <= spans[i + 1].start {
            i += 1;
            continue;
        }
        if spans[i].score >= spans[i + 1].score {
            spans[i + 1].start = spans[i].end;
            spans[i + 1].end = spans[i + 1].end.max(spans[i].end);
            // Its new place is after all that start before it.
            let mut j = i + 1;
            while j + 1 < spans.len() && (spans[j + 1].start, spans[j + 1].end) < (spans[j].start, spans[j].end) {
                spans.swap(j, j + 1);
                j += 1;
            }
        } else {
            spans[i].end = spans[i + 1].start;
            i += 1;
        }
    }
    spans.retain(|span| span.start < span.end);
    spans
}

/// Step 4.
fn joined(text: &str, spans: Vec<Span>) -> Vec<Span> {
    let mut out: Vec<Span> = Vec::with_capacity(spans.len());
    for mut span in spans {
        if let Some(last) = out.last()
            && last.entity == span.entity
            && let Some(between) = text.get(last.end..span.start)
            && !between.is_empty()
            && between.bytes().all(|byte| byte == b' ')
        {
            span.start = last.start;
            out.pop();
        }
        out.push(span);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: [u8; 32] = [9; 32];

    fn pseudonyms() -> Pseudonyms {
        Pseudonyms::new(std::array::from_fn(|i| i as u8))
    }

    fn keys(pseudonyms: &Pseudonyms) -> Keys<'_> {
        Keys { pseudonyms, encryption: Some(&[3; 32]), fresh: FRESH }
    }

    fn written(toml: &str) -> Result<Operator, String> {
        #[derive(Deserialize)]
        struct Policy {
            operator: Operator,
        }
        toml::from_str::<Policy>(&format!("operator = {toml}"))
            .map(|policy| policy.operator)
            .map_err(|error| error.message().to_owned())
    }

    fn apply(toml: &str, entity: &str, value: &str) -> String {
        written(toml).unwrap().apply(entity, value, &keys(&pseudonyms()), 0).unwrap()
    }

    fn span(entity: &str, start: usize, end: usize, score: f64) -> Span {
        Span { entity: entity.into(), start, end, score }
    }

    fn operators(list: &[(&str, Operator)]) -> Operators {
        let mut operators = Operators::default();
        for (entity, operator) in list {
            match *entity {
                "DEFAULT" => operators.default = Some(operator.clone()),
                entity => drop(operators.by_entity.insert(entity.into(), operator.clone())),
            }
        }
        operators
    }

    fn run(text: &str, spans: &[Span], list: &[(&str, Operator)]) -> Anonymized {
        anonymize(text, spans.to_vec(), &operators(list), &keys(&pseudonyms()), Conflicts::Both).unwrap()
    }

    fn replace(text: &str) -> Operator {
        Operator::Replace { new_value: Some(text.into()) }
    }

    fn items(anonymized: &Anonymized) -> Vec<(&str, usize, usize, &str, &str)> {
        anonymized.items.iter().map(|i| (&*i.entity, i.start, i.end, &*i.text, i.operator)).collect()
    }

    #[test]
    fn operators_are_read_from_a_policy() {
        for (toml, entity, value, expected) in [
            (r#""replace""#, "PERSON", "Jo", "<PERSON>"),
            (r#"{ type = "replace", new_value = "somebody" }"#, "PERSON", "Jo", "somebody"),
            (r#""redact""#, "PERSON", "Jo", ""),
            (r#""keep""#, "PERSON", "Jo", "Jo"),
            (r#""mask""#, "PERSON", "Zoë Doe", "*** ***"),
            (
                r##"{ type = "mask", char = "#", keep_last = 4 }"##,
                "CREDIT_CARD",
                "4111-1111-1111-1234",
                "####-####-####-1234",
            ),
            (
                r#"{ type = "mask", keep_first = 6, keep_last = 4 }"#,
                "CREDIT_CARD",
                "4111 1111 1111 1234",
                "4111 11** **** 1234",
            ),
            (r#"{ type = "mask", char = "•", keep_last = 4 }"#, "US_SSN", "536-90-4399", "•••-••-4399"),
            // A security code's last four would be the security code.
            (r#"{ type = "mask", keep_last = 4 }"#, "CVV", "1234", "****"),
            (r#"{ type = "mask", keep_last = 4 }"#, "ID", "1234567", "*******"),
            (r#"{ type = "mask", keep_last = 4 }"#, "ID", "12345678", "****5678"),
            (r#"{ type = "mask", keep_last = 18446744073709551 }"#, "ID", "12345678", "********"),
            (r#"{ type = "mask", count = 6, from_end = true }"#, "PHONE_NUMBER", "03-445333", "03-******"),
            (r#"{ type = "mask", count = 20 }"#, "NAME", "Zoë Doe", "*******"),
            (r#"{ type = "mask", from_end = true }"#, "NAME", "Zoë Doe", "*******"),
            (r#""token""#, "EMAIL_ADDRESS", "A@Example.com", "[EMAIL_ADDRESS:5i7vyiyx]"),
            (r#""generalize""#, "DATE_TIME", "12 March 1984", "1984"),
            (r#""generalize""#, "DATE_TIME", "1984-03-12T10:15:00Z", "1984"),
            (r#""generalize""#, "DATE_TIME", "19840312", "1984"),
            (r#""generalize""#, "DATE_OF_BIRTH", "１２/０３/１９８４", "1984"),
            (r#""generalize""#, "DATE_TIME", "03/12/84", "<DATE_TIME>"),
            (r#""generalize""#, "DATE_TIME", "19841399", "<DATE_TIME>"),
            (r#""generalize""#, "AGE", "aged 45", "40-49"),
            (r#""generalize""#, "AGE", "7-year-old", "0-9"),
            (r#""generalize""#, "AGE", "89", "80-89"),
            (r#""generalize""#, "AGE", "90 years", "90+"),
            (r#""generalize""#, "AGE_OVER_89", "101", "90+"),
            (r#""generalize""#, "AGE", "ninety-one", "<AGE>"),
            (r#""generalize""#, "AGE", "999", "<AGE>"),
            (r#""generalize""#, "LANGUAGE", "45", "<LANGUAGE>"),
            (r#""generalize""#, "PERSON", "Jo 1984", "<PERSON>"),
        ] {
            assert_eq!(apply(toml, entity, value), expected, "{toml} {value}");
        }
    }

    #[test]
    fn what_a_policy_may_not_say_is_refused_and_said() {
        for (toml, said) in [
            (r#""shred""#, "unknown variant `shred`"),
            (r#"{ new_value = "x" }"#, "missing field `type`"),
            (r#"{ type = "redact", new_value = "x" }"#, "unknown field `new_value`"),
            (r#"{ type = "token", key = "x" }"#, "unknown field `key`"),
            (r#"{ type = "encrypt", key = "x" }"#, "unknown field `key`"),
            (r#"{ type = "mask", chars = "x" }"#, "unknown field `chars`"),
            (r#"{ type = "mask", char = "" }"#, "one character"),
            (r#"{ type = "mask", char = "ab" }"#, "one character"),
            (r#"{ type = "mask", count = -1 }"#, "invalid value"),
            (r#"{ type = "mask", count = 4, keep_last = 4 }"#, "either `count`"),
            (r#"{ type = "hash", algorithm = "md5" }"#, "unknown variant `md5`"),
            (r#"{ type = "hash", salt = "short" }"#, "16 bytes"),
            ("7", "an operator's name, or a table"),
        ] {
            let error = written(toml).expect_err(toml);
            assert!(error.contains(said), "{toml}: {error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let salted = Operator::salted(Algorithm::Sha256, b"a secret of 16 b").unwrap();
        assert_eq!(format!("{salted:?}"), "Operator(hash)");
    }

    #[test]
    fn hashes_agree_with_python() {
        // hashlib.sha256(b"Jane Doe" + b"my_secure_salt16"), hashlib.sha512(b"123456" + b"test_salt_16byte")
        assert_eq!(
            apply(r#"{ type = "hash", salt = "my_secure_salt16" }"#, "NAME", "Jane Doe"),
            "4180ab6f00d4379f01e57fc87593247f05fe2a3e3ad7b2b223d41d593ff3374e"
        );
        assert_eq!(
            apply(r#"{ type = "hash", algorithm = "sha512", salt = "test_salt_16byte" }"#, "N", "123456"),
            "3a19179a550de9c20ff6c99d8dfd43e819835d4981fd972ac1280b393cd793576386cafd7a955d0802760bc3169609c25f8bbf0e6b3c93\
             c7a44ebadc223f1fa6"
        );
        // derived = hmac.new(bytes(range(32)), b"\0operator hash", "sha256").digest();
        // hmac.new(derived, b"EMAIL_ADDRESS\0a@example.com", "sha256").hexdigest()
        assert_eq!(
            apply(r#""hash""#, "EMAIL_ADDRESS", "A@Example.com"),
            "b83c5db605271a4acf04b18de4546cc3e686fd6e6324e15f8b874bcad847b255"
        );
        assert_eq!(
            apply(r#"{ type = "hash", algorithm = "sha512" }"#, "EMAIL_ADDRESS", "a@example.com")[..32],
            *"537237c524caef5af4986761e3ea1d93"
        );
    }

    #[test]
    fn a_keyed_hash_says_who_and_a_fresh_one_does_not() {
        let keyed = |value| apply(r#""hash""#, "PHONE_NUMBER", value);
        assert_eq!(keyed("+1 415 555 0132"), keyed("(415) 555-0132"));
        assert_ne!(apply(r#""hash""#, "A", "x"), apply(r#""hash""#, "B", "x"));
        let fresh = Operator::Hash { algorithm: Algorithm::Sha256, seasoning: Seasoning::Fresh };
        let hashed = run("Jo Jo", &[span("A", 0, 2, 1.0), span("B", 3, 5, 1.0)], &[("DEFAULT", fresh)]);
        assert_ne!(hashed.items[0].text, hashed.items[1].text);
        assert_eq!(hashed.text.len(), 64 + 1 + 64);
    }

    #[test]
    fn what_is_encrypted_comes_back_and_only_so() {
        let pseudonyms = pseudonyms();
        let keys = keys(&pseudonyms);
        let hide = |entity: &str, value: &str| Operator::Encrypt.apply(entity, value, &keys, 0).unwrap();
        let show = |entity: &str, value: &str, keys: &Keys<'_>| Operator::Decrypt.apply(entity, value, keys, 0);
        for value in ["", "x", "Chloë", "4111 1111 1111 1111"] {
            assert_eq!(show("PERSON", &hide("PERSON", value), &keys).unwrap(), value);
        }
        let sealed = hide("PERSON", "Chloë");
        assert_eq!(sealed, hide("PERSON", "Chloë"), "equal values look equal");
        assert_ne!(sealed[..16], hide("PERSON", "Chloe")[..16], "different ones have different nonces");
        // As another entity, under another key, changed anywhere, cut anywhere.
        let refused = Err(OperatorError::Undecryptable);
        assert_eq!(show("NAME", &sealed, &keys), refused);
        let other = Keys { pseudonyms: &pseudonyms, encryption: Some(&[4; 32]), fresh: FRESH };
        assert_eq!(show("PERSON", &sealed, &other), refused);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(show("PERSON", std::str::from_utf8(&changed).unwrap(), &keys), refused, "{at}");
            assert_eq!(show("PERSON", &sealed[..at], &keys), refused, "{at}");
        }
        let without = Keys { pseudonyms: &pseudonyms, encryption: None, fresh: FRESH };
        assert_eq!(Operator::Encrypt.apply("A", "x", &without, 0), Err(OperatorError::KeyMissing));
    }

    #[test]
    fn encrypts_as_presidio_does() {
        let pseudonyms = pseudonyms();
        let keys = keys(&pseudonyms);
        // Made by presidio-anonymizer, with `+` in place of `-`.
        let theirs = "e6HnOMnIxbd4a8Qea44LshQDnjvxwzBIaAz+YqHNnMW2mC5r3AWoay8Spsoajyyy";
        let key = CbcKey::new(b"1111111111111111").unwrap();
        let decrypt = |text: &str| Operator::DecryptCbc(key.clone()).apply("NUMBER", text, &keys, 0);
        assert_eq!(decrypt(theirs).unwrap(), "text_for_encryption");
        assert_eq!(decrypt(&theirs.replace('+', "-")).unwrap(), "text_for_encryption");
        for broken in ["", "x", "====", "not base64!", &theirs[..20], &theirs[..63]] {
            assert_eq!(decrypt(broken), Err(OperatorError::Undecryptable), "{broken}");
        }
        for size in [16, 24, 32] {
            let key = CbcKey::new(&vec![b'k'; size]).unwrap();
            let sealed = Operator::EncryptCbc(key.clone()).apply("A", "Chloë", &keys, 1).unwrap();
            assert_eq!(sealed.len(), 44);
            assert_eq!(Operator::DecryptCbc(key).apply("A", &sealed, &keys, 0).unwrap(), "Chloë");
        }
        for size in [0, 10, 15, 17, 31, 33, 64] {
            assert!(CbcKey::new(&vec![b'k'; size]) == Err(OperatorError::KeySize), "{size}");
        }
    }

    #[test]
    fn each_entity_has_its_operator_and_the_rest_the_default() {
        let text = "hello world, my name is Jane Doe. My number is: 03-4453334";
        let spans = [span("NAME", 24, 32, 0.8), span("PHONE_NUMBER", 48, 57, 0.95)];
        let count = |count, from_end| Operator::Mask { char: Some('*'), cover: Cover::Count { count, from_end } };
        let masked = run(text, &spans, &[("DEFAULT", count(20, false)), ("PHONE_NUMBER", count(6, true))]);
        assert_eq!(masked.text, "hello world, my name is ********. My number is: 03-******4");
        assert_eq!(
            items(&masked),
            [("PHONE_NUMBER", 48, 57, "03-******", "mask"), ("NAME", 24, 32, "********", "mask")]
        );
        let redacted = run(text, &spans, &[("NAME", Operator::Redact), ("PHONE_NUMBER", replace(""))]);
        assert_eq!(redacted.text, "hello world, my name is . My number is: <PHONE_NUMBER>4");
        assert_eq!(
            items(&redacted),
            [("PHONE_NUMBER", 40, 54, "<PHONE_NUMBER>", "replace"), ("NAME", 24, 24, "", "redact")]
        );
        assert_eq!(run(text, &spans, &[]).text, "hello world, my name is <NAME>. My number is: <PHONE_NUMBER>4");
        assert_eq!(run("", &[], &[]), Anonymized::default());
        assert_eq!(run("one two three", &[], &[]).text, "one two three");
    }

    #[test]
    fn spans_of_one_entity_become_one() {
        let text = "hello world, my name is Jane Doe. My number is: 03-4453334";
        let crossing = run(text, &[span("FULL_NAME", 24, 32, 0.6), span("FULL_NAME", 29, 33, 0.6)], &[]);
        assert_eq!(crossing.text, "hello world, my name is <FULL_NAME> My number is: 03-4453334");
        for text in ["My name is David Jones", "My name is David   Jones"] {
            let second = text.len() - 5;
            let spans = [span("PERSON", 11, 16, 0.8), span("PERSON", second, second + 5, 0.8)];
            let spaced = run(text, &spans, &[("PERSON", replace("BIP"))]);
            assert_eq!(items(&spaced), [("PERSON", 11, 14, "BIP", "replace")]);
        }
        let list = "a@x.com b@y.com c@z.com";
        let spans = [(0, 7), (8, 15), (16, 23)].map(|(start, end)| span("EMAIL_ADDRESS", start, end, 1.0));
        assert_eq!(run(list, &spans, &[]).text, "<EMAIL_ADDRESS>");
        assert_eq!(run(&list.replace(' ', "\n"), &spans, &[]).items.len(), 3);
        // A chain: each crosses the next.
        let chain: Vec<Span> = (0..5).map(|i| span("A", i * 2, i * 2 + 3, 0.1)).collect();
        assert_eq!(run("abcdefghijklm", &chain, &[]).text, "<A>lm");
    }

    #[test]
    fn a_span_inside_another_is_dropped_and_of_equal_ones_the_weaker() {
        let text = "hello world, my name is Jane Doe. My number is: 034453334";
        let spans = [
            span("PHONE_NUMBER", 48, 57, 0.95),
            span("FIRST_NAME", 24, 28, 0.9),
            span("LAST_NAME", 29, 32, 0.6),
            span("NAME", 24, 32, 0.8),
        ];
        let done = run(text, &spans, &[("DEFAULT", replace("X"))]);
        assert_eq!(items(&done), [("PHONE_NUMBER", 41, 42, "X", "replace"), ("NAME", 24, 25, "X", "replace")]);
        let equal = |a, b| run("Jane", &[span("A", 0, 4, a), span("B", 0, 4, b)], &[]).text;
        assert_eq!((equal(0.5, 0.4), equal(0.4, 0.5), equal(0.5, 0.5)), ("<A>".into(), "<B>".into(), "<B>".into()));
    }

    #[test]
    fn spans_that_cross_keep_both_or_are_cut() {
        let text = "I'm George Washington Square Park";
        let spans = [span("NAME", 4, 21, 0.8), span("LOCATION", 11, 33, 0.8)];
        let keep = || ("DEFAULT", Operator::Keep);
        let first = run(text, &spans, &[("NAME", Operator::Keep), ("LOCATION", replace(""))]);
        assert_eq!(first.text, "I'm George Washington<LOCATION>");
        let second = run(text, &spans, &[("NAME", replace("")), ("LOCATION", Operator::Keep)]);
        assert_eq!(
            items(&second),
            [("LOCATION", 10, 32, "Washington Square Park", "keep"), ("NAME", 4, 10, "<NAME>", "replace")]
        );
        let both = run(text, &spans, &[keep()]);
        assert_eq!(both.text, "I'm George WashingtonWashington Square Park");
        assert_eq!(
            items(&both),
            [("LOCATION", 21, 43, "Washington Square Park", "keep"), ("NAME", 4, 21, "George Washington", "keep")]
        );

        let text = "Fake card number 4151 3217 6243 3448.com that overlaps with nonexisting URL.";
        let cut = |url| {
            let spans = vec![span("CREDIT_CARD", 17, 36, 0.8), span("URL", 32, 40, url)];
            let pseudonyms = pseudonyms();
            let cut = anonymize(text, spans, &operators(&[keep()]), &keys(&pseudonyms), Conflicts::Cut).unwrap();
            assert_eq!(cut.text, text);
            cut.items.iter().map(|i| (i.start, i.end, i.text.clone())).collect::<Vec<_>>()
        };
        assert_eq!(cut(0.8), [(36, 40, ".com".into()), (17, 36, "4151 3217 6243 3448".into())]);
        assert_eq!(cut(1.0), [(32, 40, "3448.com".into()), (17, 32, "4151 3217 6243 ".into())]);
    }

    #[test]
    fn cutting_ends_and_leaves_nothing_crossing() {
        // All sets of three spans in six bytes, with all orders of scores.
        let ranges: Vec<(usize, usize)> = (0..6).flat_map(|a| (a..=6).map(move |b| (a, b))).collect();
        for &a in &ranges {
            for &b in &ranges {
                for &c in &ranges {
                    for scores in [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.2, 0.3, 0.1], [0.1, 0.1, 0.1]] {
                        let spans = vec![
                            span("A", a.0, a.1, scores[0]),
                            span("B", b.0, b.1, scores[1]),
                            span("C", c.0, c.1, scores[2]),
                        ];
                        let left = settle("abcdef", spans, Conflicts::Cut);
                        assert!(left.windows(2).all(|w| w[0].end <= w[1].start), "{a:?} {b:?} {c:?} {left:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn spans_that_are_none_of_the_texts_are_refused() {
        let pseudonyms = pseudonyms();
        for (start, end) in [(0, 9), (9, 9), (3, 2), (2, 3), (usize::MAX, usize::MAX)] {
            let spans = vec![span("A", start, end, 1.0)];
            let done = anonymize("abé", spans.clone(), &Operators::default(), &keys(&pseudonyms), Conflicts::Both);
            assert_eq!(done, Err(OperatorError::Span), "{start}..{end}");
            let done = deanonymize("abé", spans, &Operators::default(), &keys(&pseudonyms));
            assert_eq!(done, Err(OperatorError::Span), "{start}..{end}");
        }
    }

    #[test]
    fn what_can_be_undone_is_undone() {
        let pseudonyms = pseudonyms();
        let keys = keys(&pseudonyms);
        let text = "Lorem Ipsum is a Software Engineer, Chloë";
        let spans = vec![span("NAME", 0, 11, 0.8), span("TITLE", 17, 34, 0.8), span("KEPT", 36, 42, 0.8)];
        let key = |byte| CbcKey::new(&[byte; 16]).unwrap();
        let hide = operators(&[
            ("DEFAULT", Operator::EncryptCbc(key(b'1'))),
            ("TITLE", Operator::Encrypt),
            ("KEPT", Operator::Keep),
        ]);
        let hidden = anonymize(text, spans, &hide, &keys, Conflicts::Both).unwrap();
        assert!(!hidden.text.contains("Lorem") && !hidden.text.contains("Software"));
        let spans = || hidden.items.iter().map(|i| span(&i.entity, i.start, i.end, 1.0)).collect::<Vec<_>>();
        let show = operators(&[
            ("DEFAULT", Operator::DecryptCbc(key(b'1'))),
            ("TITLE", Operator::Decrypt),
            ("KEPT", Operator::Keep),
        ]);
        assert_eq!(deanonymize(&hidden.text, spans(), &show, &keys).unwrap().text, text);
        // Only what undoes undoes, and only what hides hides.
        let undo = |list: &[(&str, Operator)]| deanonymize(&hidden.text, spans(), &operators(list), &keys).unwrap_err();
        assert_eq!(undo(&[]), OperatorError::NoOperator);
        assert_eq!(undo(&[("DEFAULT", Operator::Redact)]), OperatorError::Irreversible("redact"));
        assert_eq!(undo(&[("DEFAULT", Operator::DecryptCbc(key(b'2')))]), OperatorError::Undecryptable);
        assert_eq!(
            anonymize("x", vec![span("A", 0, 1, 1.0)], &show, &keys, Conflicts::Both),
            Err(OperatorError::Reveals)
        );
    }

    #[test]
    fn a_hundred_thousand_spans_take_no_longer_than_sorting_them() {
        let text = "x".repeat(101_000);
        let spans: Vec<Span> =
            (0..100_000).map(|i| span(if i % 2 == 0 { "A" } else { "B" }, i, i + 1000, 0.5)).collect();
        assert_eq!(run(&text, &spans, &[]).text, "<A><B>x");
    }

    #[test]
    fn a_text_that_grows_without_bound_is_refused() {
        let pseudonyms = pseudonyms();
        let text = "x ".repeat(1000);
        // Of different entities, so that they are not merged.
        let spans: Vec<Span> = (0..1000).map(|i| span(&format!("E{i}"), 2 * i, 2 * i + 1, 0.5)).collect();
        let long = operators(&[("DEFAULT", replace(&"y".repeat(100_000)))]);
        let done = anonymize(&text, spans, &long, &keys(&pseudonyms), Conflicts::Both);
        assert_eq!(done, Err(OperatorError::TooLong));
    }
}
