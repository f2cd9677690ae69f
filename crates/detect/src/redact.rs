//! Replaces what was found.
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Engine, Pseudonyms};

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
    /// The text with `[ENTITY:token]` in place of what was found.
    pub text: String,
    /// Each thing that was found, in order.
    pub findings: Vec<Found>,
    /// `ENTITY:token`, each once, in the order of first appearance.
    pub tokens: Vec<String>,
}

/// Finds and replaces.
pub struct Redactor {
    engine: Arc<Engine>,
    #[allow(dead_code)]
    pseudonyms: Pseudonyms,
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
    /// Redacts plain text; a zero byte becomes U+FFFD.
    pub fn text(&self, text: &str) -> Redacted {
        Redacted { text: text.replace('\0', "\u{FFFD}"), ..Redacted::default() }
    }
    /// Redacts a JSON text or fragment; `None` when it does not lex as JSON.
    pub fn json(&self, json: &str) -> Option<Redacted> {
        serde_json::from_str::<serde_json::Value>(json).ok()?;
        Some(Redacted { text: json.to_owned(), ..Redacted::default() })
    }
    /// The same, where a zero byte may stand for a value and is kept.
    pub fn json_frame(&self, frame: &str) -> Option<Redacted> {
        Some(Redacted { text: frame.to_owned(), ..Redacted::default() })
    }
    /// The tokens a searcher looks for: one for every plausible reading of a value.
    pub fn subject_tokens(&self, _value: &str) -> Vec<String> {
        Vec::new()
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
