//! From bytes that passed to what is recorded of them: commit to the exact bytes, redact, append.
//!
//! A [`Draft`] is an entry in the making. Everything that enters one goes through its methods, which redact; so nothing
//! reaches the log, and through it a disk, unredacted.
//!
//! Chat APIs send the whole history again with every turn. A part that was recorded before is known by a keyed hash of
//! its raw bytes and is neither scanned nor stored again, so the work grows with the new text.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use lru::LruCache;
use sha2::{Digest, Sha256};
use tabellion_detect::{Found, Redacted, Redactor};
use tabellion_evidence::entry::{self, Content, Entry, Kind, Manifest, Omitted, Original, Part, Redaction};
use tabellion_evidence::tree::Hash;
use tabellion_gateway::dialect::{Dialect, Split, split_request, split_response};
use tabellion_ledger::{self as ledger, Append, AppendError, Ledger};

use crate::metrics::Metrics;
use crate::secrets::Secrets;

/// The longest case, actor, tag, model or trace that is kept, in characters.
const LABEL_CHARS_MAX: usize = 256;
/// The longest method and path that is kept, in characters.
const OPERATION_CHARS_MAX: usize = 2_000;
/// Tags beyond these are left out.
const TAGS_MAX: usize = 32;
/// An entry longer than this puts its lists into a manifest. Less than a leaf's 65,535 bytes.
const ENTRY_BYTES_ROOMY: usize = 48_000;
/// How many bytes of redacted parts are remembered so that they need not be redacted again.
const KNOWN_BYTES_MAX: usize = 64 << 20;

/// Which way a body went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

/// Records, and knows what that takes.
pub(crate) struct Notary {
    ledger: Arc<Ledger>,
    redactor: Redactor,
    policy: Hash,
    secrets: Secrets,
    /// Of this process, and in memory only.
    known_key: [u8; 32],
    known: Mutex<KnownParts>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Of the part before, so much decides: more than the engine reads of it.
const BEFORE_BYTES: usize = 256;

/// What redaction made of a part.
struct KnownPart {
    redacted: ledger::Part,
    findings: BTreeMap<String, u32>,
    tokens: Vec<String>,
}

/// Parts that the log has, by a keyed hash of their raw bytes.
struct KnownParts {
    parts: LruCache<Hash, Arc<KnownPart>>,
    bytes: usize,
}

impl KnownParts {
    fn remember(&mut self, key: Hash, part: Arc<KnownPart>) {
        self.bytes += part.redacted.bytes().len();
        if let Some(old) = self.parts.put(key, part) {
            self.bytes -= old.redacted.bytes().len();
        }
        while self.bytes > KNOWN_BYTES_MAX {
            let Some((_, old)) = self.parts.pop_lru() else { break };
            self.bytes -= old.redacted.bytes().len();
        }
    }
}

impl Notary {
    pub(crate) fn new(ledger: Arc<Ledger>, redactor: Redactor, secrets: Secrets, metrics: Arc<Metrics>) -> Self {
        let mut known_key = [0; 32];
        // Without randomness another secret serves: the hashes are only ever in memory.
        if getrandom::fill(&mut known_key).is_err() {
            known_key = *secrets.token;
        }
        let policy = Hash(redactor.engine().policy());
        let known = Mutex::new(KnownParts { parts: LruCache::unbounded(), bytes: 0 });
        Self { ledger, redactor, policy, secrets, known_key, known, metrics }
    }

    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// What was said before may have decided what was found, so a part is known only after the same words.
    fn known_key(&self, raw: &[u8], before: Option<&str>) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update(self.known_key);
        let before = before.map_or(&[][..], |before| &before.as_bytes()[before.len().saturating_sub(BEFORE_BYTES)..]);
        hasher.update((before.len() as u64).to_be_bytes());
        hasher.update(before);
        hasher.update(raw);
        Hash(hasher.finalize().into())
    }

    fn lock_known(&self) -> MutexGuard<'_, KnownParts> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pseudonym for a caller that nobody named, from the provider key that it uses.
    pub(crate) fn actor_of_key(&self, credential: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.secrets.token).expect("hmac takes keys of any length");
        mac.update(b"tabellion actor v1\n");
        mac.update(credential);
        format!("k_{}", &hex::encode(mac.finalize().into_bytes())[..8])
    }

    /// The start of a commitment to bytes that come one after the other.
    pub(crate) fn commit(&self, entry_id: &str) -> Commitment {
        let mut hasher = Sha256::new();
        hasher.update(entry::salt(&self.secrets.salt, entry_id, 0));
        Commitment { hasher, bytes: 0 }
    }

    /// Appends a draft; returns its index once it is durable.
    pub(crate) async fn append(&self, draft: Draft) -> Result<u64, AppendError> {
        let started = std::time::Instant::now();
        let Draft { mut entry, mut parts, fresh, findings, tokens, states_policy, .. } = draft;
        let policy = self.policy;
        for (entity, count) in &findings {
            self.metrics.findings(entity, u64::from(*count));
        }
        if states_policy || !findings.is_empty() || entry.content.is_some() {
            entry.redaction = Some(Redaction { policy, findings, tokens });
        }
        let bytes = match entry.to_bytes() {
            Ok(bytes) if bytes.len() <= ENTRY_BYTES_ROOMY => bytes,
            _ => {
                parts.push(move_lists(&mut entry));
                entry.to_bytes().map_err(|_| AppendError::TooLong)?
            }
        };
        let index = self.ledger.append(Append { entry: bytes, parts }).await?;
        self.metrics.append_seconds(started.elapsed());
        if !fresh.is_empty() {
            let mut known = self.lock_known();
            for (key, part) in fresh {
                known.remember(key, part);
            }
        }
        Ok(index)
    }
}

/// Moves what can grow out of an entry into a part of its own, and names that.
fn move_lists(entry: &mut Entry) -> ledger::Part {
    let mut manifest = Manifest::default();
    if let Some(content) = &mut entry.content {
        manifest.content = std::mem::take(&mut content.parts);
    }
    if let Some(original) = &mut entry.original {
        manifest.original = std::mem::take(&mut original.parts);
    }
    if let Some(redaction) = &mut entry.redaction {
        manifest.tokens = std::mem::take(&mut redaction.tokens);
    }
    let part = ledger::Part::new(manifest.to_bytes());
    if let Some(content) = &mut entry.content {
        content.manifest = Some(part.hash());
    }
    part
}

/// A commitment in the making: `SHA-256(salt || bytes)`.
pub(crate) struct Commitment {
    hasher: Sha256,
    bytes: u64,
}

impl Commitment {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// How many bytes there were so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn finish(self) -> (u64, Hash) {
        (self.bytes, Hash(self.hasher.finalize().into()))
    }
}

/// An entry in the making.
pub(crate) struct Draft {
    pub(crate) entry: Entry,
    parts: Vec<ledger::Part>,
    fresh: Vec<(Hash, Arc<KnownPart>)>,
    findings: BTreeMap<String, u32>,
    tokens: Vec<String>,
    seen: BTreeSet<String>,
    states_policy: bool,
}

impl Draft {
    /// An entry about something that happens now.
    pub(crate) fn new(kind: Kind, exchange: Option<&str>) -> Self {
        let mut entry = Entry::new(kind, ulid::Ulid::generate().to_string(), now());
        if let Some(exchange) = exchange {
            entry.exchange = Some(exchange.to_owned());
        }
        Self {
            entry,
            parts: Vec::new(),
            fresh: Vec::new(),
            findings: BTreeMap::new(),
            tokens: Vec::new(),
            seen: BTreeSet::new(),
            states_policy: false,
        }
    }

    /// Names the rules in force, though there is nothing to redact.
    pub(crate) fn state_policy(&mut self) {
        self.states_policy = true;
    }

    /// Whether anything was found.
    pub(crate) fn redacted(&self) -> bool {
        !self.findings.is_empty()
    }

    /// Redacts a short text that a caller or a provider chose, and counts what was found.
    pub(crate) fn label(&mut self, notary: &Notary, text: &str) -> String {
        self.short(notary, text, LABEL_CHARS_MAX)
    }

    /// Redacts a method and a path with its query. What was percent-encoded is decoded first, because that is how an
    /// e-mail address stands in a path; also what was so twice, as a URL within a URL is.
    pub(crate) fn operation(&mut self, notary: &Notary, method: &str, path: &str) -> String {
        let decoded = decoded(path);
        // Nothing that looks like a line break or another control character gets into a record's label.
        let decoded: String = decoded.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        format!("{method} {}", self.short(notary, &decoded, OPERATION_CHARS_MAX))
    }

    pub(crate) fn tags<'a>(&mut self, notary: &Notary, tags: impl Iterator<Item = (&'a str, &'a str)>) {
        for (name, value) in tags.take(TAGS_MAX) {
            let (name, value) = (self.label(notary, name), self.label(notary, value));
            self.entry.tags.insert(name, value);
        }
    }

    fn short(&mut self, notary: &Notary, text: &str, chars_max: usize) -> String {
        // Cutting before redaction could cut a value in two, and half of one would not be found.
        if text.len() > 32 * chars_max {
            return "(too long)".to_owned();
        }
        let redacted = notary.redactor.text(text);
        let (counts, tokens) = (tabellion_detect::counts(&redacted.findings), redacted.tokens);
        self.count(&counts, &tokens);
        match redacted.text.char_indices().nth(chars_max) {
            Some((end, _)) => format!("{}…", &redacted.text[..end]),
            None => redacted.text,
        }
    }

    fn count(&mut self, findings: &BTreeMap<String, u32>, tokens: &[String]) {
        for (entity, count) in findings {
            *self.findings.entry(entity.clone()).or_default() += count;
        }
        for token in tokens {
            if self.seen.insert(token.clone()) {
                self.tokens.push(token.clone());
            }
        }
    }

    /// Says that there is no content, and commits to the bytes.
    pub(crate) fn omit(&mut self, why: Omitted, original: Option<Commitment>) {
        self.entry.content = Some(Content { omitted: Some(why), ..Content::default() });
        self.entry.original = original.map(|commitment| {
            let (bytes, commitment) = commitment.finish();
            Original { bytes, commitment, parts: Vec::new() }
        });
    }

    /// Redacts a body, in parts, and commits to each of them and to the whole.
    pub(crate) fn content(&mut self, notary: &Notary, dialect: Dialect, side: Side, body: &str, original: Commitment) {
        let started = std::time::Instant::now();
        let split = match side {
            Side::Request => split_request(dialect, body),
            Side::Response => split_response(dialect, body),
        };
        let pieces = self.redact_split(notary, side, body, &split).unwrap_or_else(|| {
            let whole = notary.redactor.json(body).unwrap_or_else(|| notary.redactor.text(&unescaped(body)));
            Pieces { frame: known(whole), parts: Vec::new() }
        });
        let split = if pieces.parts.is_empty() { Split::default() } else { split };

        let mut listed = vec![pieces.frame.listed("frame")];
        let mut whole = Sha256::new();
        let mut bytes = 0;
        let mut rest = pieces.parts.iter();
        for (position, stretch) in pieces.frame.redacted.bytes().split(|&byte| byte == 0).enumerate() {
            let part = if position == 0 { None } else { rest.next() };
            for bytes_of in [part.map_or(&[][..], |piece| piece.part.redacted.bytes()), stretch] {
                whole.update(bytes_of);
                bytes += bytes_of.len() as u64;
            }
        }
        self.count(&pieces.frame.findings, &pieces.frame.tokens);
        self.parts.push(pieces.frame.redacted.clone());
        for (Piece { part, is_new, key }, span) in pieces.parts.into_iter().zip(&split.parts) {
            listed.push(part.listed(&span.role));
            self.count(&part.findings, &part.tokens);
            if is_new {
                self.parts.push(part.redacted.clone());
            }
            self.fresh.extend(key.map(|key| (key, part)));
        }
        let commitments = split
            .parts
            .iter()
            .zip(1..)
            .map(|(span, n)| {
                let salt = entry::salt(&notary.secrets.salt, &self.entry.id, n);
                entry::commitment(&salt, &body.as_bytes()[span.range.clone()])
            })
            .collect();
        self.entry.content = Some(Content {
            sha256: Some(Hash(whole.finalize().into())),
            bytes: Some(bytes),
            parts: listed,
            ..Content::default()
        });
        let (bytes, commitment) = original.finish();
        self.entry.original = Some(Original { bytes, commitment, parts: commitments });
        notary.metrics.redact_seconds(started.elapsed());
    }

    /// `None` when the pieces do not fit each other: then the body is redacted as one.
    fn redact_split(&self, notary: &Notary, side: Side, body: &str, split: &Split) -> Option<Pieces> {
        if split.parts.is_empty() {
            return None;
        }
        let frame = String::from_utf8(split.frame(body.as_bytes())).ok()?;
        let frame = known(notary.redactor.json_frame(&frame)?);
        let holes = frame.redacted.bytes().iter().filter(|&&byte| byte == 0).count();
        if holes != split.parts.len() {
            return None;
        }
        let mut parts = Vec::with_capacity(split.parts.len());
        let mut before = None;
        for span in &split.parts {
            let raw = &body[span.range.clone()];
            let said = before.replace(raw);
            // Answers are new; only requests repeat what was said before.
            let key = (side == Side::Request).then(|| notary.known_key(raw.as_bytes(), said));
            if let Some(key) = key
                && let Some(part) = notary.lock_known().parts.get(&key)
            {
                parts.push(Piece { part: part.clone(), is_new: false, key: None });
                continue;
            }
            parts.push(Piece { part: Arc::new(known(notary.redactor.json_after(raw, said)?)), is_new: true, key });
        }
        Some(Pieces { frame, parts })
    }
}

struct Pieces {
    frame: KnownPart,
    parts: Vec<Piece>,
}

struct Piece {
    part: Arc<KnownPart>,
    /// Perhaps not in the log yet.
    is_new: bool,
    /// The key under which it is to be remembered.
    key: Option<Hash>,
}

impl KnownPart {
    fn listed(&self, role: &str) -> Part {
        Part {
            role: role.to_owned(),
            sha256: self.redacted.hash(),
            bytes: self.redacted.bytes().len() as u64,
            findings: self.findings.clone(),
        }
    }
}

fn known(redacted: Redacted) -> KnownPart {
    let Redacted { text, findings, tokens } = redacted;
    let findings: BTreeMap<String, u32> = tabellion_detect::counts(&findings as &[Found]);
    KnownPart { redacted: ledger::Part::new(text.into_bytes()), findings, tokens }
}

/// How often a path is decoded: a URL in a URL in a URL, and then some.
const DECODED_TIMES_MAX: usize = 5;

/// A path as its reader understands it.
fn decoded(path: &str) -> String {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut decoded = match query {
        // In a query, and nowhere else, a plus sign is a space.
        Some(query) => format!("{path}?{}", query.replace('+', " ")),
        None => path.to_owned(),
    };
    for _ in 0..DECODED_TIMES_MAX {
        match percent_encoding::percent_decode_str(&decoded).decode_utf8_lossy() {
            Cow::Owned(further) => decoded = further,
            Cow::Borrowed(_) => break,
        }
    }
    decoded
}

/// Text that is not JSON, but may be nearly: many JSON texts, or one that is cut off, or too deep. Escapes in it would
/// keep what they spell from being found.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains("\\u") && !text.contains("\\/") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        // JSON within JSON has several.
        let escape = rest[at..].trim_start_matches('\\');
        let spelled = match escape.as_bytes().first() {
            Some(b'/') => Some(('/', 1)),
            Some(b'u') => escape
                .get(1..5)
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
                .and_then(|digits| char::from_u32(u32::from_str_radix(digits, 16).ok()?))
                .filter(|c| !c.is_control())
                .map(|c| (c, 5)),
            _ => None,
        };
        match spelled {
            Some((c, length)) => {
                out.push(c);
                rest = &escape[length..];
            }
            None => {
                out.push_str(&rest[at..rest.len() - escape.len()]);
                rest = escape;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Now, UTC, RFC 3339 with microseconds.
pub(crate) fn now() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_their_reader_reads_them() {
        for (path, expected) in [
            ("/v1/x", "/v1/x"),
            ("/a+b?c+d=%2B1", "/a+b?c d=+1"),
            ("/a%40b?c=%2540", "/a@b?c=@"),
            ("/%25252540", "/@"),
            ("/100%?x=%zz", "/100%?x=%zz"),
            ("/%ff", "/\u{fffd}"),
        ] {
            assert_eq!(decoded(path), expected, "{path}");
        }
        assert_eq!(
            decoded(&format!("/%{}40", "25".repeat(9))),
            format!("/%{}40", "25".repeat(4)),
            "there is an end to it"
        );
    }

    #[test]
    fn escapes_outside_of_json_are_read() {
        for (text, expected) in [
            ("plain \\n", "plain \\n"),
            (r"a\u0040b \\u0040 \/", "a@b @ /"),
            (r"\u004 \ux040 \ud800 \u0000 \", r"\u004 \ux040 \ud800 \u0000 \"),
            (r"é\u00e9\n\u0040", r"éé\n@"),
            (r"\u00é", r"\u00é"),
        ] {
            assert_eq!(unescaped(text), expected, "{text}");
        }
    }
}
