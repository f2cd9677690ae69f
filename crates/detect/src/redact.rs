//! Replaces what was found by `[ENTITY:token]`.
//!
//! A text is scanned again after it was redacted, until nothing more is found: a replacement changes what stands beside
//! what remains, and redacting redacted text must change nothing (chats are sent again with every turn). Every round
//! takes something out of the text for good; [`ROUNDS_MAX`] bounds what somebody could make of that.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::{Context, Engine, Pseudonyms, Query, binary, json, pseudonym};

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
}

/// Finds and replaces: an engine and a token key.
pub struct Redactor {
    engine: Arc<Engine>,
    pseudonyms: Pseudonyms,
}

/// What one redaction finds, over all strings of a document.
#[derive(Default)]
pub(crate) struct Sink {
    findings: Vec<Found>,
    tokens: Vec<String>,
    seen: HashSet<String>,
}

impl Sink {
    pub(crate) fn finish(self, text: String) -> Redacted {
        Redacted { text, findings: self.findings, tokens: self.tokens }
    }
}

impl Redactor {
    /// With these rules and this key.
    pub fn new(engine: Arc<Engine>, pseudonyms: Pseudonyms) -> Self {
        Self { engine, pseudonyms }
    }

    /// The rules.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Redacts plain text. A zero byte becomes U+FFFD, because a frame's holes are zero bytes.
    pub fn text(&self, text: &str) -> Redacted {
        let text = if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) };
        let mut sink = Sink::default();
        let redacted = self.string(&text, Context::NONE, &mut sink);
        sink.finish(redacted.unwrap_or_else(|| text.into_owned()))
    }

    /// Redacts a JSON text: any value, with whitespace around it. What nothing is found in stays byte for byte. `None`
    /// when it does not lex as JSON: use [`Redactor::text`] then.
    pub fn json(&self, json: &str) -> Option<Redacted> {
        json::redact(self, json, false)
    }

    /// The same for a frame: a zero byte where a value may stand is a hole, and is kept.
    pub fn json_frame(&self, frame: &str) -> Option<Redacted> {
        json::redact(self, frame, true)
    }

    /// The tokens under which a searcher finds a value, one for every reading that is plausible:
    /// `["EMAIL_ADDRESS:k7f3q2ab"]`. Empty when no rule can read it.
    pub fn subject_tokens(&self, value: &str) -> Vec<String> {
        let value = value.trim();
        let mut entities: Vec<Arc<str>> = Vec::new();
        // A searcher says what it is by asking: so every word of context is there, and scores do not matter.
        for key in [None, Some("phone"), Some("ssn"), Some("card"), Some("api key"), Some("telegram")] {
            let context = Context { key, before: None };
            for finding in self.engine.analyze(value, &Query { context, threshold: Some(0.0), ..Query::default() }) {
                let whole = pseudonym::normalize(&finding.entity, value)
                    == pseudonym::normalize(&finding.entity, &value[finding.start..finding.end]);
                // Anything may be a password, so that nothing is said by calling it one.
                if whole && &*finding.entity != "PASSWORD" && !entities.contains(&finding.entity) {
                    entities.push(finding.entity);
                }
            }
        }
        entities.into_iter().map(|entity| format!("{entity}:{}", self.pseudonyms.token(&entity, value))).collect()
    }

    /// Redacts one string; `None` when nothing changes.
    pub(crate) fn string(&self, text: &str, context: Context<'_>, sink: &mut Sink) -> Option<String> {
        if let Some(token) = binary::whole(text) {
            return Some(token);
        }
        let mut current = binary::data_urls(text);
        for _ in 0..ROUNDS_MAX {
            match self.round(current.as_deref().unwrap_or(text), context, sink) {
                Some(next) => current = Some(next),
                None => break,
            }
        }
        current
    }

    fn round(&self, text: &str, context: Context<'_>, sink: &mut Sink) -> Option<String> {
        let findings = self.engine.scan(text, context);
        if findings.is_empty() {
            return None;
        }
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for finding in findings {
            let token = self.pseudonyms.token(&finding.entity, &text[finding.start..finding.end]);
            let token = format!("{}:{token}", finding.entity);
            out.push_str(&text[done..finding.start]);
            out.push('[');
            out.push_str(&token);
            out.push(']');
            done = finding.end;
            sink.findings.push(Found { entity: finding.entity, recognizer: finding.recognizer, score: finding.score });
            if sink.seen.insert(token.clone()) {
                sink.tokens.push(token);
            }
        }
        out.push_str(&text[done..]);
        Some(out)
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
