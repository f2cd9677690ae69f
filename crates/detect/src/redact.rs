//! Replaces what was found by `[ENTITY:token]`.
//!
//! A text is scanned again after it was redacted, until nothing more is found: a replacement changes what stands beside
//! what remains, and redacting redacted text must change nothing (chats are sent again with every turn). Every round
//! takes something out of the text for good; [`ROUNDS_MAX`] bounds what somebody could make of that.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::operator::{Keys, Operator};
use crate::{Context, Engine, Finding, Names, Pseudonyms, Query, binary, json, pseudonym, token};

const ROUNDS_MAX: usize = 8;

/// What was found, without where.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The entity.
    pub entity: Arc<str>,
    /// The rule's name.
    pub recognizer: Arc<str>,
    /// 0.0 to 1.0.
    pub score: f32,
}

/// Text after redaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Redacted {
    /// The text, with `[ENTITY:token]` in place of what was found.
    pub text: String,
    /// Everything that was found.
    pub findings: Vec<Found>,
    /// `ENTITY:token`, each once, in the order of first appearance.
    pub tokens: Vec<String>,
    /// The names that were found with certainty, for the texts that come after this one: see [`Joined::knowing`].
    pub names: Names,
}

/// What other detectors found: in which text, where. [`Redactor::asked`] says in which texts they may look.
#[derive(Clone, Debug, Default)]
pub struct Further(HashMap<String, Vec<Finding>>);

impl Further {
    /// Adds what was found in a text. A span that is not in it, on the boundaries of characters, is left out.
    pub fn add(&mut self, text: &str, findings: impl IntoIterator<Item = Finding>) {
        let inside = |finding: &Finding| finding.start < finding.end && text.get(finding.start..finding.end).is_some();
        let mut findings = findings.into_iter().filter(inside).peekable();
        if findings.peek().is_some() {
            self.0.entry(text.to_owned()).or_default().extend(findings);
        }
    }
}

/// Short texts in which one redactor found nothing, with the key under which they stood: the same models, roles and
/// numbers come with every exchange. Give it to no other redactor.
#[derive(Debug, Default)]
pub struct Clean {
    known: HashSet<Box<str>>,
    /// The key and the text that are looked up.
    entry: String,
}

/// A text that is longer is seldom the same again, and neither is a key.
const CLEAN_BYTES_MAX: usize = 128;
/// When there are more, all are forgotten.
const CLEAN_MAX: usize = 4096;

impl Clean {
    /// Whether nothing was found in the text last time. What was said before it may decide, so then it is not known.
    fn has(&mut self, text: &str, context: Context<'_>) -> bool {
        let key = context.key.unwrap_or("");
        self.entry.clear();
        if context.before.is_some() || text.len() > CLEAN_BYTES_MAX || key.len() > CLEAN_BYTES_MAX {
            return false;
        }
        // No text has a zero byte here, so that no two pairs read the same.
        self.entry.push_str(text);
        self.entry.push('\0');
        self.entry.push_str(key);
        self.known.contains(self.entry.as_str())
    }

    /// Remembers what was asked about last.
    fn add(&mut self) {
        if self.entry.is_empty() {
            return;
        }
        if self.known.len() == CLEAN_MAX {
            self.known.clear();
        }
        self.known.insert(self.entry.as_str().into());
    }
}

/// A redactor that also takes out what others found.
#[derive(Clone, Copy)]
pub struct Joined<'a> {
    redactor: &'a Redactor,
    further: &'a Further,
    known: Option<&'a Names>,
}

impl<'a> Joined<'a> {
    /// The same, after texts in which these names were found ([`Redacted::names`]).
    pub fn knowing(self, names: &'a Names) -> Self {
        Self { known: Some(names), ..self }
    }

    fn sink(&self) -> Sink<'a> {
        Sink { known: self.known, ..Sink::with(Others::Found(self.further)) }
    }

    /// As [`Redactor::text`].
    pub fn text(&self, text: &str) -> Redacted {
        self.redactor.redact_text(text, self.sink()).0
    }

    /// As [`Redactor::json_after`].
    pub fn json(&self, json: &str, before: Option<&str>) -> Option<Redacted> {
        json::redact(self.redactor, json, false, before, self.sink()).map(|(redacted, _)| redacted)
    }

    /// As [`Redactor::text`], for a text that may have come before.
    pub fn label(&self, text: &str, clean: &mut Clean) -> Redacted {
        self.redactor.redact_text(text, self.remembering(clean)).0
    }

    /// As [`Redactor::json_frame`], for a frame of which much may have come before.
    pub fn json_frame(&self, frame: &str, clean: &mut Clean) -> Option<Redacted> {
        json::redact(self.redactor, frame, true, None, self.remembering(clean)).map(|(redacted, _)| redacted)
    }

    fn remembering<'c>(&'c self, clean: &'c mut Clean) -> Sink<'c> {
        // What others found is of one document.
        let clean = self.further.0.is_empty().then_some(clean);
        Sink { clean, ..self.sink() }
    }
}

/// What other detectors have to do with a pass over a document.
#[derive(Default)]
pub(crate) enum Others<'a> {
    #[default]
    None,
    /// They looked before, and found this.
    Found(&'a Further),
    /// They are to look: these are the texts. Nothing is redacted.
    Asked(Vec<String>),
}

/// Finds and replaces: an engine and a token key.
pub struct Redactor {
    engine: Arc<Engine>,
    pseudonyms: Pseudonyms,
    encryption: Option<[u8; 32]>,
}

/// What one redaction finds, over all strings of a document.
#[derive(Default)]
pub(crate) struct Sink<'a> {
    findings: Vec<Found>,
    tokens: Vec<String>,
    seen: HashSet<String>,
    others: Others<'a>,
    clean: Option<&'a mut Clean>,
    /// The names of earlier texts, and those of this one.
    known: Option<&'a Names>,
    names: Names,
}

impl<'a> Sink<'a> {
    pub(crate) fn with(others: Others<'a>) -> Self {
        Self { others, ..Self::default() }
    }

    pub(crate) fn finish(self, text: String) -> (Redacted, Others<'a>) {
        (Redacted { text, findings: self.findings, tokens: self.tokens, names: self.names }, self.others)
    }

    /// Whether the pass only asks what others are to look at.
    pub(crate) fn asks(&self) -> bool {
        matches!(self.others, Others::Asked(_))
    }
}

impl Redactor {
    /// With these rules and this key.
    pub fn new(engine: Arc<Engine>, pseudonyms: Pseudonyms) -> Self {
        Self { engine, pseudonyms, encryption: None }
    }

    /// With a key for the operator `encrypt`, for policies that ask for it; without one, it leaves `<ENTITY>`.
    pub fn encrypting(mut self, key: [u8; 32]) -> Self {
        self.encryption = Some(key);
        self
    }

    /// The rules.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Redacts plain text. A zero byte becomes U+FFFD, because a frame's holes are zero bytes.
    pub fn text(&self, text: &str) -> Redacted {
        self.redact_text(text, Sink::default()).0
    }

    fn redact_text<'a>(&self, text: &str, mut sink: Sink<'a>) -> (Redacted, Others<'a>) {
        let text = if memchr::memchr(0, text.as_bytes()).is_some() {
            Cow::Owned(text.replace('\0', "\u{fffd}"))
        } else {
            Cow::Borrowed(text)
        };
        let redacted = self.string(&text, Context::NONE, &mut sink);
        sink.finish(redacted.unwrap_or_else(|| text.into_owned()))
    }

    /// Redacts a JSON text: any value, with whitespace around it. What nothing is found in stays byte for byte. `None`
    /// when it does not lex as JSON: use [`Redactor::text`] then.
    pub fn json(&self, json: &str) -> Option<Redacted> {
        json::redact(self, json, false, None, Sink::default()).map(|(redacted, _)| redacted)
    }

    /// The same for a JSON text that comes after another in a conversation, whose end is context for it.
    pub fn json_after(&self, json: &str, before: Option<&str>) -> Option<Redacted> {
        json::redact(self, json, false, before, Sink::default()).map(|(redacted, _)| redacted)
    }

    /// The same for a frame: a zero byte where a value may stand is a hole, and is kept.
    pub fn json_frame(&self, frame: &str) -> Option<Redacted> {
        json::redact(self, frame, true, None, Sink::default()).map(|(redacted, _)| redacted)
    }

    /// The same redactor, which also takes out what other detectors found.
    pub fn with<'a>(&'a self, further: &'a Further) -> Joined<'a> {
        Joined { redactor: self, further, known: None }
    }

    /// The texts of a plain text in which other detectors may look before [`Joined::text`] redacts it.
    pub fn asked(&self, text: &str) -> Vec<String> {
        match self.redact_text(text, Sink::with(Others::Asked(Vec::new()))).1 {
            Others::Asked(texts) => texts,
            _ => Vec::new(),
        }
    }

    /// The same for [`Joined::json`]: every string, decoded, and those in JSON within strings; no numbers, no plain
    /// keys, no binary data, and nothing that the policy keeps from being scanned.
    pub fn asked_of_json(&self, json: &str) -> Option<Vec<String>> {
        self.asked_of(json, false)
    }

    /// The same for [`Joined::json_frame`].
    pub fn asked_of_frame(&self, frame: &str) -> Option<Vec<String>> {
        self.asked_of(frame, true)
    }

    fn asked_of(&self, json: &str, holes: bool) -> Option<Vec<String>> {
        match json::redact(self, json, holes, None, Sink::with(Others::Asked(Vec::new())))?.1 {
            Others::Asked(texts) => Some(texts),
            _ => None,
        }
    }

    /// The tokens under which a searcher finds a value, one for every reading that is plausible:
    /// `["EMAIL_ADDRESS:k7f3q2ab"]`. Empty when no rule can read it.
    pub fn subject_tokens(&self, value: &str) -> Vec<String> {
        let value = value.trim();
        let mut plausible: Vec<&str> = self.engine.entities();
        // Anything may be a password, so that nothing is said by calling it one.
        plausible.retain(|entity| *entity != "PASSWORD" && self.reads(value, entity));
        plausible.into_iter().map(|entity| format!("{entity}:{}", self.pseudonyms.token(entity, value))).collect()
    }

    /// Whether some rule for an entity reads all of a value. A searcher says what it is by asking: so the word of context is
    /// there that some patterns need, scores do not matter, and no other entity's rule takes it away.
    fn reads(&self, value: &str, entity: &str) -> bool {
        let whole = pseudonym::normalize(entity, value);
        self.engine.context_words(entity).any(|key| {
            let context = Context { key, before: None };
            let query = Query { context, threshold: Some(0.0), entities: Some(&[entity]), language: None };
            let found = self.engine.analyze(value, &query);
            found.iter().any(|f| pseudonym::normalize(entity, &value[f.start..f.end]) == whole)
        })
    }

    /// Redacts one string; `None` when nothing changes.
    pub(crate) fn string(&self, text: &str, context: Context<'_>, sink: &mut Sink<'_>) -> Option<String> {
        // Nothing is clean that may hold one of the exchange's names.
        let nameless = sink.names.is_empty() && sink.known.is_none_or(Names::is_empty);
        if let Some(clean) = &mut sink.clean
            && clean.has(text, context)
            && nameless
        {
            return None;
        }
        let found = sink.findings.len();
        let redacted = self.anew(text, context, sink);
        if redacted.is_none()
            && sink.findings.len() == found
            && let Some(clean) = &mut sink.clean
        {
            clean.add();
        }
        redacted
    }

    fn anew(&self, text: &str, context: Context<'_>, sink: &mut Sink<'_>) -> Option<String> {
        if let Some(token) = binary::whole(text) {
            return Some(token);
        }
        let mut current = binary::data_urls(text);
        if let Others::Asked(texts) = &mut sink.others {
            texts.push(current.unwrap_or_else(|| text.to_owned()));
            return None;
        }
        for round in 0..ROUNDS_MAX {
            match self.round(current.as_deref().unwrap_or(text), context, sink, round == 0) {
                Some(next) => current = Some(next),
                None => break,
            }
        }
        current
    }

    /// Redacts the whole of a string, whatever it is: somebody said what always stands there.
    pub(crate) fn whole(&self, text: &str, entity: &Arc<str>, sink: &mut Sink<'_>) -> Option<String> {
        if text.trim().is_empty() || token::tokens_in(text) == [(0, text.len())] {
            return None;
        }
        let recognizer: Arc<str> = Arc::from("path");
        let finding = Found { entity: entity.clone(), recognizer, score: 1.0 };
        self.replacement(finding, None, text, sink, true)
    }

    /// `None` when there is nothing to replace. What may stay is reported in the first round only.
    fn round(&self, text: &str, context: Context<'_>, sink: &mut Sink<'_>, first: bool) -> Option<String> {
        let policy = self.engine.redaction();
        let usual = self.engine.threshold();
        let only: Option<Vec<&str>> = policy.entities.as_ref().map(|only| only.iter().map(String::as_str).collect());
        let query = Query { context, threshold: policy.lowest(usual), entities: only.as_deref(), language: None };
        let mut findings = self.engine.analyze(text, &query);
        findings.retain(|f| policy.counts(&f.entity, f.score, &text[f.start..f.end], usual));
        // Of what is redacted already, others know nothing.
        if first
            && let Others::Found(further) = sink.others
            && let Some(others) = further.0.get(text)
        {
            findings = self.engine.joined(text, findings, others);
        }
        if self.engine.detects() {
            findings = self.remembered(text, findings, sink, usual);
        }
        let mut out: Option<String> = None;
        let mut done = 0;
        for finding in findings {
            let value = &text[finding.start..finding.end];
            let found = Found { entity: finding.entity, recognizer: finding.recognizer, score: finding.score };
            let Some(replacement) = self.replacement(found, finding.context.as_deref(), value, sink, first) else {
                continue;
            };
            let out = out.get_or_insert_with(|| String::with_capacity(text.len()));
            out.push_str(&text[done..finding.start]);
            out.push_str(&replacement);
            done = finding.end;
        }
        out.map(|mut out| {
            out.push_str(&text[done..]);
            out
        })
    }

    /// The findings with what was found in the exchange before, which what is certain of them is added to.
    fn remembered(&self, text: &str, findings: Vec<Finding>, sink: &mut Sink<'_>, usual: f32) -> Vec<Finding> {
        let policy = self.engine.redaction();
        let tokens = token::tokens_in(text);
        let mut all = findings;
        sink.names.learn(text, &all);
        for names in sink.known.into_iter().chain([&sink.names]) {
            let mut again = names.find(text, &all);
            again.retain(|f| {
                policy.counts(&f.entity, f.score, &text[f.start..f.end], usual)
                    && !tokens.iter().any(|token| token.0 < f.end && token.1 > f.start)
            });
            if !again.is_empty() {
                all.append(&mut again);
                all = self.engine.settled(all, text);
            }
        }
        all
    }

    /// What stands for a value; `None` when it may stay as it is.
    fn replacement(
        &self,
        found: Found,
        context: Option<&str>,
        value: &str,
        sink: &mut Sink<'_>,
        first: bool,
    ) -> Option<String> {
        let operator = self.engine.redaction().operator(&found.entity, &found.recognizer, context);
        let replacement = match operator {
            Operator::Token => {
                let token = format!("{}:{}", found.entity, self.pseudonyms.token(&found.entity, value));
                let text = format!("[{token}]");
                if sink.seen.insert(token.clone()) {
                    sink.tokens.push(token);
                }
                Some(text)
            }
            Operator::Keep => None,
            other => {
                let keys = Keys { pseudonyms: &self.pseudonyms, encryption: self.encryption.as_ref(), fresh: [0; 32] };
                // What cannot be done as asked must not leave the value where it is.
                let text =
                    other.apply(&found.entity, value, &keys, 0).unwrap_or_else(|_| format!("<{}>", found.entity));
                (text != value).then_some(text)
            }
        };
        if first || replacement.is_some() {
            sink.findings.push(found);
        }
        replacement
    }
}

/// How many of each entity.
pub fn counts(findings: &[Found]) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for finding in findings {
        *counts.entry(finding.entity.to_string()).or_insert(0) += 1;
    }
    counts
}
