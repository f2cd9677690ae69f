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
use std::time::{Duration, Instant};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use lru::LruCache;
use sha2::{Digest, Sha256};
use tabellion_detect::{Clean, Found, Joined, Names, Redacted, Redactor};
use tabellion_evidence::entry::{self, Content, Entry, Gap, Kind, Manifest, Omitted, Original, Part, Redaction};
use tabellion_evidence::salt::Node;
use tabellion_evidence::tree::Hash;
use tabellion_gateway::dialect::{Dialect, Facts, Split, read_request, read_response};
use tabellion_ledger::{self as ledger, Append, AppendError, Ledger};

use crate::depth::{Routes, Rules};
use crate::external::{self, Checked, Externals, Unchecked};
use crate::metrics::Metrics;
use crate::model;
use crate::originals::{Originals, Raw};
use crate::secrets::Secrets;

/// The longest case, actor, tag, model or trace that is kept, in characters.
const LABEL_CHARS_MAX: usize = 256;
/// The longest method and path that is kept, in characters.
const OPERATION_CHARS_MAX: usize = 2_000;
/// The longest reason for a custody act that is kept, in characters.
const WHY_CHARS_MAX: usize = 2_000;
/// Tags beyond these are left out.
pub(crate) const TAGS_MAX: usize = 32;
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
    routes: Routes,
    externals: Externals,
    originals: Originals,
    /// Has taken in what is before a credential.
    actors: Hmac<Sha256>,
    /// Of this process, and in memory only.
    known_key: [u8; 32],
    known: Mutex<KnownParts>,
    /// This run, in every entry that it records.
    producer: String,
    /// When something was last recorded.
    recorded: Mutex<Instant>,
    /// What passed unrecorded and is not declared yet, by reason.
    lost: Mutex<BTreeMap<&'static str, Lost>>,
    lost_wakes: tokio::sync::Notify,
    pub(crate) metrics: Arc<Metrics>,
}

/// What passed unrecorded.
#[derive(Clone)]
struct Lost {
    count: u64,
    since: String,
    until: String,
}

/// Of the part before, so much decides: more than the engine reads of it.
const BEFORE_BYTES: usize = 256;

/// What redaction made of a part.
struct KnownPart {
    redacted: ledger::Part,
    findings: BTreeMap<String, u32>,
    /// Which of them are external detectors'.
    external: BTreeMap<String, u32>,
    tokens: Vec<String>,
    /// What it adds to the names that later parts are searched for.
    names: Names,
}

impl KnownPart {
    /// About how much memory it takes.
    fn size(&self) -> usize {
        self.redacted.bytes().len() + self.names.len() * NAME_BYTES
    }
}

/// About what a remembered name takes.
const NAME_BYTES: usize = 96;

/// Parts that the log has, by a keyed hash of their raw bytes.
struct KnownParts {
    parts: LruCache<Hash, Arc<KnownPart>>,
    bytes: usize,
}

impl KnownParts {
    fn remember(&mut self, key: Hash, part: Arc<KnownPart>) {
        self.bytes += part.size();
        if let Some(old) = self.parts.put(key, part) {
            self.bytes -= old.size();
        }
        while self.bytes > KNOWN_BYTES_MAX {
            let Some((_, old)) = self.parts.pop_lru() else { break };
            self.bytes -= old.size();
        }
    }
}

impl Notary {
    pub(crate) fn new(
        ledger: Arc<Ledger>,
        routes: Routes,
        externals: Externals,
        secrets: &Secrets,
        originals: Originals,
        metrics: Arc<Metrics>,
    ) -> Self {
        let known_key = known_key(secrets);
        let mut actors = Hmac::new_from_slice(&*secrets.token).expect("hmac takes keys of any length");
        actors.update(b"tabellion actor v1\n");
        let known = Mutex::new(KnownParts { parts: LruCache::unbounded(), bytes: 0 });
        Self {
            ledger,
            routes,
            externals,
            originals,
            actors,
            known_key,
            known,
            producer: ulid::Ulid::generate().to_string(),
            recorded: Mutex::new(Instant::now()),
            lost: Mutex::default(),
            lost_wakes: tokio::sync::Notify::new(),
            metrics,
        }
    }

    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// What this run calls itself in the log.
    pub(crate) fn producer(&self) -> &str {
        &self.producer
    }

    pub(crate) fn originals(&self) -> &Originals {
        &self.originals
    }

    /// What was said before may have decided what was found, so a part is known only after the same words: those just before
    /// it, and, where names are remembered, everything before it, which the key of the part before stands for.
    /// And it is known only by the rules that redacted it.
    fn known_key(&self, rules: &Rules, raw: &[u8], before: Option<&str>, earlier: Option<Hash>) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update(self.known_key);
        hasher.update(rules.policy.0);
        hasher.update(earlier.map_or([0; 32], |key| key.0));
        let before = before.map_or(&[][..], |before| &before.as_bytes()[before.len().saturating_sub(BEFORE_BYTES)..]);
        hasher.update((before.len() as u64).to_be_bytes());
        hasher.update(before);
        hasher.update(raw);
        Hash(hasher.finalize().into())
    }

    /// The rules for an upstream's exchanges.
    pub(crate) fn rules_of(&self, upstream: &str) -> Arc<Rules> {
        self.routes.of(upstream).clone()
    }

    /// Forgets which parts the log has, because some went.
    pub(crate) fn forget_known(&self) {
        let mut known = self.lock_known();
        known.parts.clear();
        known.bytes = 0;
    }

    fn lock_known(&self) -> MutexGuard<'_, KnownParts> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pseudonym for a caller that nobody named, from the provider key that it uses.
    pub(crate) fn actor_of_key(&self, credential: &[u8]) -> String {
        let mut mac = self.actors.clone();
        mac.update(credential);
        format!("k_{}", &hex::encode(mac.finalize().into_bytes())[..8])
    }

    /// A text as the log has it.
    pub(crate) fn redacted(&self, text: &str) -> String {
        self.routes.usual().redactor.text(text).text
    }

    /// The tokens under which a value is found; see [`Redactor::subject_tokens`].
    pub(crate) fn subject_tokens(&self, value: &str) -> Vec<String> {
        self.routes.usual().redactor.subject_tokens(value)
    }

    /// The start of a commitment to bytes that come one after the other.
    pub(crate) fn commit(&self, entry_id: &str) -> Commitment {
        let leaf = self.originals.leaf(entry_id);
        let mut hasher = Sha256::new();
        hasher.update(leaf.salt(0));
        Commitment { hasher, bytes: 0, leaf }
    }

    /// For how long nothing has been recorded.
    pub(crate) fn quiet(&self) -> Duration {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn lock_lost(&self) -> MutexGuard<'_, BTreeMap<&'static str, Lost>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an exchange, or the answer to a recorded request, passed and could not be recorded. It is declared as
    /// soon as the log can be written.
    pub(crate) fn lost(&self, error: AppendError) {
        let reason = reason_of(error);
        tracing::error!(%error, "an exchange passed unrecorded, as the configuration of its upstream allows");
        self.metrics.gap(reason);
        let time = now();
        let mut lost = self.lock_lost();
        let entry = lost.entry(reason).or_insert_with(|| Lost { count: 0, since: time.clone(), until: String::new() });
        entry.count += 1;
        entry.until = time;
        drop(lost);
        self.lost_wakes.notify_one();
    }

    /// Returns when there may be something to declare.
    pub(crate) async fn lost_wakes(&self) {
        self.lost_wakes.notified().await;
    }

    /// Declares what passed unrecorded, a `custody.gap` for each reason. What cannot be declared now is kept.
    pub(crate) async fn declare_lost(&self) -> Result<(), AppendError> {
        loop {
            let Some((reason, lost)) = self.lock_lost().pop_first() else { return Ok(()) };
            let mut draft = Draft::new(Kind::Gap, None);
            draft.entry.gap = Some(Gap {
                reason: reason.to_owned(),
                count: lost.count,
                since: Some(lost.since.clone()),
                until: Some(lost.until.clone()),
            });
            draft.state_policy();
            if let Err(error) = self.append(draft).await {
                let mut kept = self.lock_lost();
                let entry = kept.entry(reason).or_insert_with(|| Lost { count: 0, ..lost.clone() });
                entry.count += lost.count;
                entry.since = lost.since;
                return Err(error);
            }
            self.metrics.custody("gap");
        }
    }

    /// Appends a draft; returns its index once it is durable.
    pub(crate) async fn append(&self, draft: Draft) -> Result<u64, AppendError> {
        let started = Instant::now();
        let policy = draft.rules(self).policy;
        let Draft {
            mut entry,
            mut parts,
            known,
            fresh,
            findings,
            tokens,
            mut external,
            states_policy,
            checked,
            raw,
            ..
        } = draft;
        for detector in checked.answered {
            external.entry(detector).or_default();
        }
        let external_failures = checked.failures;
        for (entity, count) in &findings {
            self.metrics.findings(entity, u64::from(*count));
        }
        if states_policy || !findings.is_empty() || !external_failures.is_empty() || entry.content.is_some() {
            entry.redaction = Some(Redaction { policy, findings, tokens, external, external_failures });
        }
        entry.producer = Some(self.producer.clone());
        let mut sealing = None;
        if let (Some(raw), Some(original)) = (raw, &mut entry.original) {
            let sealed = self.originals.seal(&entry.id, &raw).await?;
            original.sealed.clone_from(&sealed.names);
            sealing = Some(sealed);
        }
        let sealed = sealing.as_mut().map(|sealing| std::mem::take(&mut sealing.payloads)).unwrap_or_default();
        let written = match entry.to_bytes_unnumbered() {
            Ok((bytes, at)) if bytes.len() <= ENTRY_BYTES_ROOMY => Ok((bytes, at)),
            _ => {
                parts.push(move_lists(&mut entry));
                entry.to_bytes_unnumbered().map_err(|_| AppendError::TooLong)
            }
        };
        let appended = match written {
            Ok((bytes, number_at)) => {
                self.ledger.append_numbered(Append { entry: bytes, parts, sealed, known }, number_at).await
            }
            Err(error) => Err(error),
        };
        let index = match (appended, sealing) {
            (Ok(index), Some(sealing)) => {
                self.originals.appended(&entry.id, sealing);
                index
            }
            (Err(error), Some(_)) => {
                self.originals.not_appended(&entry.id, error).await;
                return Err(error);
            }
            (appended, None) => appended?,
        };
        *self.recorded.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
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

/// A key for hashes that are only ever in memory; without randomness another secret serves.
pub(crate) fn known_key(secrets: &Secrets) -> [u8; 32] {
    let mut key = [0; 32];
    if getrandom::fill(&mut key).is_err() {
        key = *secrets.token;
    }
    key
}

/// A fixed word for why something was not recorded.
pub(crate) fn reason_of(error: AppendError) -> &'static str {
    match error {
        AppendError::Full => "disk_full",
        AppendError::Disk => "disk_failed",
        AppendError::Stopped => "recorder_failed",
        AppendError::Busy => "busy",
        AppendError::TooLong => "too_long",
        _ => "closed",
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
        // Without content there is no manifest to be named, and no list that is long.
        if entry.content.as_ref().is_some_and(|content| content.omitted.is_none()) {
            manifest.sealed = std::mem::take(&mut original.sealed);
        }
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
    /// The entry's salts follow from it.
    leaf: Node,
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

    /// The commitment to bytes of the `n`-th part.
    fn to_part(&self, n: u32, bytes: &[u8]) -> Hash {
        entry::commitment(&self.leaf.salt(n + 1), bytes)
    }

    fn finish(self) -> (u64, Hash) {
        (self.bytes, Hash(self.hasher.finalize().into()))
    }
}

/// An entry in the making.
pub(crate) struct Draft {
    /// Boxed, because a draft is moved from function to function, and has its place in the future of each.
    pub(crate) entry: Box<Entry>,
    parts: Vec<ledger::Part>,
    /// Those that the log has already.
    known: Vec<ledger::Part>,
    fresh: Vec<(Hash, Arc<KnownPart>)>,
    findings: BTreeMap<String, u32>,
    tokens: Vec<String>,
    seen: BTreeSet<String>,
    external: BTreeMap<String, u32>,
    states_policy: bool,
    checked: Checked,
    /// The names in the exchange so far.
    names: Names,
    /// What is to be sealed.
    raw: Option<Raw>,
    /// What redacts; the usual rules, if there are none.
    rules: Option<Arc<Rules>>,
}

impl Draft {
    /// An entry about something that happens now.
    pub(crate) fn new(kind: Kind, exchange: Option<&str>) -> Self {
        let mut entry = Box::new(Entry::new(kind, ulid::Ulid::generate().to_string(), now()));
        if let Some(exchange) = exchange {
            entry.exchange = Some(exchange.to_owned());
        }
        Self {
            entry,
            parts: Vec::new(),
            known: Vec::new(),
            fresh: Vec::new(),
            findings: BTreeMap::new(),
            tokens: Vec::new(),
            seen: BTreeSet::new(),
            external: BTreeMap::new(),
            states_policy: false,
            checked: Checked::default(),
            names: Names::default(),
            raw: None,
            rules: None,
        }
    }

    /// Has the bytes sealed to which the entry commits, before it is appended.
    pub(crate) fn seal(&mut self, bytes: Bytes) {
        self.raw = Some(Raw::new(bytes));
    }

    /// Whether its original is to be sealed.
    pub(crate) fn seals(&self) -> bool {
        self.raw.is_some()
    }

    /// An entry about an upstream's exchange, which is redacted by the rules for that.
    pub(crate) fn of_exchange(kind: Kind, exchange: Option<&str>, rules: Arc<Rules>) -> Self {
        Self { rules: Some(rules), ..Self::new(kind, exchange) }
    }

    /// What redacts.
    pub(crate) fn rules(&self, notary: &Notary) -> Arc<Rules> {
        self.rules.as_ref().unwrap_or_else(|| notary.routes.usual()).clone()
    }

    /// The names that were found in what was recorded into it.
    pub(crate) fn take_names(&mut self) -> Names {
        std::mem::take(&mut self.names)
    }

    /// Has it searched for the names of an earlier part of the exchange.
    pub(crate) fn know(&mut self, names: Names) {
        self.names = names;
    }

    /// Names the rules in force, though there is nothing to redact.
    pub(crate) fn state_policy(&mut self) {
        self.states_policy = true;
    }

    /// Whether anything was found.
    pub(crate) fn redacted(&self) -> bool {
        !self.findings.is_empty()
    }

    /// Whether external detectors, or the model, are to be asked.
    pub(crate) fn asks(&self, notary: &Notary) -> bool {
        !notary.externals.is_empty(self.rules(notary).asks_model())
    }

    /// Asks the external detectors, and the model, about texts before they are redacted, if there are any; what they find is
    /// taken out of whatever else goes into this draft.
    pub(crate) async fn check(&mut self, notary: &Notary, texts: Vec<String>) -> Result<(), Unchecked> {
        let model = self.rules(notary).asks_model();
        notary.externals.check(texts, model, &notary.metrics, &mut self.checked).await
    }

    /// Takes over who failed in another draft.
    pub(crate) fn failed_as(&mut self, other: Self) {
        self.checked.failures = other.checked.failures;
    }

    /// Redacts a short text that a caller or a provider chose, and counts what was found.
    pub(crate) fn label(&mut self, notary: &Notary, text: &str) -> String {
        self.short(notary, text, LABEL_CHARS_MAX)
    }

    /// Why somebody does something, redacted.
    pub(crate) fn why(&mut self, notary: &Notary, text: &str) {
        self.entry.why = Some(self.short(notary, text, WHY_CHARS_MAX));
    }

    /// An address as its token, whatever the policy leaves in texts: the one that it has there, where it has one.
    pub(crate) fn address(&mut self, notary: &Notary, address: std::net::IpAddr) -> String {
        let text = address.to_canonical().to_string();
        let tokens = notary.subject_tokens(&text);
        let Some(token) = tokens.into_iter().find(|token| token.starts_with("IP_ADDRESS:")) else {
            return notary.actor_of_key(text.as_bytes()).replacen("k_", "a_", 1);
        };
        self.count(&BTreeMap::from([("IP_ADDRESS".to_owned(), 1)]), std::slice::from_ref(&token), &BTreeMap::new());
        format!("[{token}]")
    }

    /// Redacts a method and a path with its query. What was percent-encoded is decoded first, because that is how an
    /// e-mail address stands in a path; also what was so twice, as a URL within a URL is.
    pub(crate) fn operation(&mut self, notary: &Notary, method: &str, path: &str) -> String {
        format!("{method} {}", self.short(notary, &path_text(path), OPERATION_CHARS_MAX))
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
        let rules = self.rules(notary);
        let redactor = rules.redactor.with(&self.checked.further);
        let redacted = rules.remembering(|clean| redactor.label(text, clean));
        let counts = tabellion_detect::counts(&redacted.findings);
        self.count(&counts, &redacted.tokens, &external_counts(&redacted.findings));
        match redacted.text.char_indices().nth(chars_max) {
            Some((end, _)) => format!("{}…", &redacted.text[..end]),
            None => redacted.text,
        }
    }

    fn count(&mut self, findings: &BTreeMap<String, u32>, tokens: &[String], external: &BTreeMap<String, u32>) {
        for (into, from) in [(&mut self.findings, findings), (&mut self.external, external)] {
            for (name, count) in from {
                *into.entry(name.clone()).or_default() += count;
            }
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
        original.into_iter().for_each(|original| self.withhold(original));
    }

    /// Commits to the bytes, and says nothing of the content.
    pub(crate) fn withhold(&mut self, original: Commitment) {
        let (bytes, commitment) = original.finish();
        self.entry.original = Some(Original { bytes, commitment, parts: Vec::new(), sealed: Vec::new() });
    }

    /// Redacts a body, in parts, and commits to each of them and to the whole.
    pub(crate) fn content(&mut self, notary: &Notary, body: Body<'_>, original: Commitment) {
        let started = Instant::now();
        let rules = self.rules(notary);
        let redactor = rules.redactor.with(&self.checked.further);
        let pieces = redact_split(&rules, redactor, &body, &mut self.names).unwrap_or_else(|| {
            let redactor = redactor.knowing(&self.names);
            let whole = redactor.json(&body.text, None).unwrap_or_else(|| redactor.text(&body.text));
            self.names.join(&whole.names);
            Pieces { frame: Piece::new(known(whole), None), parts: Vec::new() }
        });
        // What was not looked at by everybody is looked at again when it comes again.
        let remembers = self.checked.failures.is_empty();
        let Body { text: body, split, frame: raw_frame, .. } = body;
        let split = if pieces.parts.is_empty() { Split::default() } else { split };
        if let (Some(raw), Some((frame, _)), false) = (&mut self.raw, &raw_frame, split.parts.is_empty()) {
            raw.cut(&body, frame, split.parts.iter().map(|span| span.range.clone()));
        }

        let Pieces { frame, parts } = pieces;
        let mut listed = vec![frame.part.listed("frame")];
        let mut whole = Sha256::new();
        let mut bytes = 0;
        let mut rest = parts.iter();
        for (position, stretch) in frame.part.redacted.bytes().split(|&byte| byte == 0).enumerate() {
            let part = if position == 0 { None } else { rest.next() };
            for bytes_of in [part.map_or(&[][..], |piece| piece.part.redacted.bytes()), stretch] {
                whole.update(bytes_of);
                bytes += bytes_of.len() as u64;
            }
        }
        listed.extend(parts.iter().zip(&split.parts).map(|(piece, span)| piece.part.listed(&span.role)));
        for Piece { part, is_new, key } in std::iter::once(frame).chain(parts) {
            self.count(&part.findings, &part.tokens, &part.external);
            let parts = if is_new { &mut self.parts } else { &mut self.known };
            parts.push(part.redacted.clone());
            self.fresh.extend(key.filter(|_| remembers).map(|key| (key, part)));
        }
        let commitments = split
            .parts
            .iter()
            .zip(0..)
            .map(|(span, n)| original.to_part(n, &body.as_bytes()[span.range.clone()]))
            .collect();
        self.entry.content = Some(Content {
            sha256: Some(Hash(whole.finalize().into())),
            bytes: Some(bytes),
            parts: listed,
            ..Content::default()
        });
        let (bytes, commitment) = original.finish();
        self.entry.original = Some(Original { bytes, commitment, parts: commitments, sealed: Vec::new() });
        notary.metrics.redact_seconds(started.elapsed());
    }
}

/// A body, split, with what the log has of it.
pub(crate) struct Body<'a> {
    text: Cow<'a, str>,
    /// What it says of itself, not redacted.
    pub(crate) facts: Facts,
    split: Split,
    /// What is left without the parts; `None` without parts.
    frame: Option<(String, Known)>,
    /// Of each part of the split. Held from here on, so that what was not asked about because it is known stays known.
    known: Vec<Known>,
}

struct Known {
    /// The key under which a part of a request is known. Answers are new; only requests repeat what was said before.
    key: Option<Hash>,
    part: Option<Arc<KnownPart>>,
}

impl Known {
    fn find(
        notary: &Notary,
        rules: &Rules,
        side: Side,
        raw: &str,
        before: Option<&str>,
        earlier: Option<Hash>,
    ) -> Self {
        let key = (side == Side::Request).then(|| notary.known_key(rules, raw.as_bytes(), before, earlier));
        let part = key.and_then(|key| notary.lock_known().parts.get(&key).cloned());
        Self { key, part }
    }
}

impl<'a> Body<'a> {
    pub(crate) fn read(notary: &Notary, rules: &Rules, dialect: Dialect, side: Side, text: Cow<'a, str>) -> Self {
        let (facts, split) = match side {
            Side::Request => read_request(dialect, &text),
            Side::Response => read_response(dialect, &text),
        };
        let mut known = Vec::with_capacity(split.parts.len());
        let mut before = None;
        let remembers = rules.redactor.engine().remembers_names();
        let mut earlier = None;
        for span in &split.parts {
            let raw = &text[span.range.clone()];
            let part = Known::find(notary, rules, side, raw, before.replace(raw), earlier);
            earlier = part.key.filter(|_| remembers);
            known.push(part);
        }
        let frame = Some(&split).filter(|split| !split.parts.is_empty());
        let frame = frame.and_then(|split| String::from_utf8(split.frame(text.as_bytes())).ok());
        let frame = frame.map(|frame| {
            // A frame has a zero byte and no part has one, so neither is taken for the other.
            let known = Known::find(notary, rules, side, &frame, None, earlier);
            (frame, known)
        });
        Self { text, facts, split, frame, known }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The texts that external detectors are to look at: those in what is not known.
    pub(crate) fn asked(&self, redactor: &Redactor) -> Vec<String> {
        self.asked_split(redactor)
            .or_else(|| redactor.asked_of_json(&self.text))
            .unwrap_or_else(|| redactor.asked(&self.text))
    }

    fn asked_split(&self, redactor: &Redactor) -> Option<Vec<String>> {
        let (frame, known) = self.frame.as_ref()?;
        let mut texts = match known.part {
            Some(_) => Vec::new(),
            None => redactor.asked_of_frame(frame)?,
        };
        for (raw, _, known) in self.parts() {
            if known.part.is_none() {
                texts.extend(redactor.asked_of_json(raw)?);
            }
        }
        Some(texts)
    }

    /// Each part, and the one before it.
    fn parts(&self) -> impl Iterator<Item = (&str, Option<&str>, &Known)> {
        let mut before = None;
        self.split.parts.iter().zip(&self.known).map(move |(span, known)| {
            let raw = &self.text[span.range.clone()];
            (raw, before.replace(raw), known)
        })
    }
}

/// `None` when the pieces do not fit each other: then the body is redacted as one. Each part is searched for the names of
/// those before it, which `names` has and gets; the frame, which changes with every turn, for all of them.
fn redact_split(rules: &Rules, redactor: Joined<'_>, body: &Body<'_>, names: &mut Names) -> Option<Pieces> {
    let (raw, seen) = body.frame.as_ref()?;
    let mut parts = Vec::with_capacity(body.split.parts.len());
    for (raw, said, seen) in body.parts() {
        let piece = Piece::of(seen, || redactor.knowing(names).json(raw, said))?;
        names.join(&piece.part.names);
        parts.push(piece);
    }
    let redact = |clean: &mut Clean| redactor.knowing(names).json_frame(raw, clean);
    let frame = Piece::of(seen, || rules.remembering(redact))?;
    let holes = frame.part.redacted.bytes().iter().filter(|&&byte| byte == 0).count();
    if holes != body.split.parts.len() {
        return None;
    }
    Some(Pieces { frame, parts })
}

struct Pieces {
    frame: Piece,
    parts: Vec<Piece>,
}

struct Piece {
    part: Arc<KnownPart>,
    /// Perhaps not in the log yet.
    is_new: bool,
    /// The key under which it is to be remembered.
    key: Option<Hash>,
}

impl Piece {
    fn new(part: KnownPart, key: Option<Hash>) -> Self {
        Self { part: Arc::new(part), is_new: true, key }
    }

    /// What is known of it, or else what redaction makes of it.
    fn of(seen: &Known, redact: impl FnOnce() -> Option<Redacted>) -> Option<Self> {
        Some(match &seen.part {
            Some(part) => Self { part: part.clone(), is_new: false, key: None },
            None => Self::new(known(redact()?), seen.key),
        })
    }
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
    let Redacted { text, findings, tokens, names } = redacted;
    let external = external_counts(&findings);
    let findings = tabellion_detect::counts(&findings);
    KnownPart { redacted: ledger::Part::new(text.into_bytes()), findings, external, tokens, names }
}

/// How many findings are whose, of the external detectors and the model.
fn external_counts(findings: &[Found]) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    let other = |found: &Found| {
        let recognizer = &found.recognizer;
        let name = recognizer.strip_prefix(external::RECOGNIZER).or_else(|| recognizer.strip_prefix(model::RECOGNIZER));
        name.map(str::to_owned)
    };
    for detector in findings.iter().filter_map(other) {
        *counts.entry(detector).or_insert(0) += 1;
    }
    counts
}

/// A path as it is recorded, before it is redacted.
pub(crate) fn path_text(path: &str) -> String {
    // Nothing that looks like a line break or another control character gets into a record's label.
    decoded(path).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
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
}
