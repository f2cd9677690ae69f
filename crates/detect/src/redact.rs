//! Replaces what was found by `[ENTITY:token]`.
//!
//! A text is scanned again after it was redacted, until nothing more is found: a replacement changes what stands beside
//! what remains, and redacting redacted text must change nothing (chats are sent again with every turn). Every round
//! takes something out of the text for good; [`ROUNDS_MAX`] bounds what somebody could make of that.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::operator::{Keys, Operator};
use crate::{Context, Engine, Pseudonyms, Query, binary, json, pseudonym, token};

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
    encryption: Option<[u8; 32]>,
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
        let text = if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) };
        let mut sink = Sink::default();
        let redacted = self.string(&text, Context::NONE, &mut sink);
        sink.finish(redacted.unwrap_or_else(|| text.into_owned()))
    }

    /// Redacts a JSON text: any value, with whitespace around it. What nothing is found in stays byte for byte. `None`
    /// when it does not lex as JSON: use [`Redactor::text`] then.
    pub fn json(&self, json: &str) -> Option<Redacted> {
        json::redact(self, json, false, None)
    }

    /// The same for a JSON text that comes after another in a conversation, whose end is context for it.
    pub fn json_after(&self, json: &str, before: Option<&str>) -> Option<Redacted> {
        json::redact(self, json, false, before)
    }

    /// The same for a frame: a zero byte where a value may stand is a hole, and is kept.
    pub fn json_frame(&self, frame: &str) -> Option<Redacted> {
        json::redact(self, frame, true, None)
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
        for round in 0..ROUNDS_MAX {
            match self.round(current.as_deref().unwrap_or(text), context, sink, round == 0) {
                Some(next) => current = Some(next),
                None => break,
            }
        }
        current
    }

    /// Redacts the whole of a string, whatever it is: somebody said what always stands there.
    pub(crate) fn whole(&self, text: &str, entity: &Arc<str>, sink: &mut Sink) -> Option<String> {
        if text.trim().is_empty() || token::tokens_in(text) == [(0, text.len())] {
            return None;
        }
        let recognizer: Arc<str> = Arc::from("path");
        let finding = Found { entity: entity.clone(), recognizer, score: 1.0 };
        self.replacement(finding, None, text, sink, true)
    }

    /// `None` when there is nothing to replace. What may stay is reported in the first round only.
    fn round(&self, text: &str, context: Context<'_>, sink: &mut Sink, first: bool) -> Option<String> {
        let policy = self.engine.redaction();
        let usual = self.engine.threshold();
        let only: Option<Vec<&str>> = policy.entities.as_ref().map(|only| only.iter().map(String::as_str).collect());
        let query = Query { context, threshold: policy.lowest(usual), entities: only.as_deref(), language: None };
        let findings = self.engine.analyze(text, &query);
        let mut out: Option<String> = None;
        let mut done = 0;
        for finding in findings {
            let value = &text[finding.start..finding.end];
            if !policy.counts(&finding.entity, finding.score, value, usual) {
                continue;
            }
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

    /// What stands for a value; `None` when it may stay as it is.
    fn replacement(
        &self,
        found: Found,
        context: Option<&str>,
        value: &str,
        sink: &mut Sink,
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
