//! Finds personal data and secrets in text and in JSON, and replaces them by keyed tokens.
//!
//! Pure: no files, no network, no clock, no randomness, no log. The same text, rules and key give the same result
//! everywhere. Foreign text cannot make it panic, and costs time in proportion to its length.
//!
//! - [`Engine`] holds rules and finds; a [`Finding`] says where and which rule, never which value.
//! - [`Pseudonyms`] makes tokens from values with a key.
//! - [`operator`] has what else can be put in the place of a finding.
//! - [`Redactor`] puts tokens in the place of findings, in text and in JSON.
//!
//! It is no proof that nothing is left: names of people and whatever else no rule describes stay in the text.

use std::sync::Arc;

mod address;
mod binary;
mod columns;
mod encoded;
mod engine;
mod exchange;
mod json;
#[cfg(feature = "tagger")]
mod letterhead;
mod lexicon;
mod masks;
mod normal;
pub mod operator;
mod policy;
mod pseudonym;
mod redact;
mod rules;
mod stream;
#[cfg(feature = "tagger")]
pub mod tagger;
#[cfg(test)]
mod tests;
mod token;
mod validate;

pub use engine::Engine;
pub use exchange::Names;
pub use policy::Depth;
pub use pseudonym::Pseudonyms;
pub use redact::{Clean, Found, Further, Joined, Redacted, Redactor, counts};
pub use rules::{RuleError, Set};
pub use stream::Stream;

/// Where a recognizer found what; never the value.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What was found, under Presidio's name where it has one.
    pub entity: Arc<str>,
    /// Byte offset of the first byte.
    pub start: usize,
    /// Byte offset after the last byte.
    pub end: usize,
    /// 0.0 to 1.0.
    pub score: f32,
    /// The rule's name.
    pub recognizer: Arc<str>,
    /// The pattern's name: the rule's, unless it has one of its own.
    pub pattern: Arc<str>,
    /// The score before context.
    pub base: f32,
    /// The validator that agreed, if the rule has one.
    pub validator: Option<Arc<str>>,
    /// The context word that raised the score.
    pub context: Option<Arc<str>>,
    /// The word that lowered it.
    pub against: Option<Arc<str>>,
}

/// What a text stands under and after.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// A JSON key, a column's head: its words count like words beside the value.
    pub key: Option<&'a str>,
    /// What was said before, such as the chat's previous message; only its end is read.
    pub before: Option<&'a str>,
}

impl<'a> Context<'a> {
    /// No context.
    pub const NONE: Context<'static> = Context { key: None, before: None };

    /// Under a key.
    pub fn key(key: &'a str) -> Self {
        Self { key: Some(key), before: None }
    }
}

/// What is asked of [`Engine::analyze`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<'a> {
    /// What the text stands under and after.
    pub context: Context<'a>,
    /// The score from which a finding counts, if not the engine's.
    pub threshold: Option<f32>,
    /// Only these entities.
    pub entities: Option<&'a [&'a str]>,
    /// Only recognizers for this language (ISO 639), and those for any.
    pub language: Option<&'a str>,
}

/// What can be said of a recognizer.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it finds.
    pub entity: &'a str,
    /// Where that is used (ISO 3166).
    pub country: Option<&'a str>,
    /// In which languages (ISO 639); none for all.
    pub languages: &'a [String],
}

impl Finding {
    /// Something that another detector found; its name stands where a rule's would.
    pub fn of_other(entity: &str, recognizer: &Arc<str>, span: std::ops::Range<usize>, score: f32) -> Self {
        Self {
            entity: entity.into(),
            start: span.start,
            end: span.end,
            score,
            recognizer: recognizer.clone(),
            pattern: recognizer.clone(),
            base: score,
            validator: None,
            context: None,
            against: None,
        }
    }

    /// Why this was found, in one line, without the value.
    pub fn explanation(&self) -> String {
        let mut text = format!("{} by {}", self.entity, self.recognizer);
        if self.pattern != self.recognizer {
            text.push_str(&format!(" ({})", self.pattern));
        }
        text.push_str(&format!(" at {:.2}", self.base));
        if let Some(validator) = &self.validator {
            text.push_str(&format!(", validated by {validator}"));
        }
        if let Some(word) = &self.context {
            text.push_str(&format!(", raised to {:.2} by the word \"{word}\"", self.score));
        }
        if let Some(word) = &self.against {
            text.push_str(&format!(", lowered to {:.2} by the word \"{word}\"", self.score));
        }
        text
    }
}

/// The unit in which offsets are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offsets {
    /// UTF-8 bytes, as in Rust.
    Bytes,
    /// Unicode code points, as in Python.
    Chars,
    /// UTF-16 code units, as in JavaScript and Java.
    Utf16,
}

/// The byte offsets of sorted findings in `unit`, in one pass over the text.
pub fn convert_offsets(text: &str, findings: &[Finding], unit: Offsets) -> Vec<(usize, usize)> {
    let mut at = 0;
    let mut count = 0;
    let mut to = |byte: usize| {
        if unit == Offsets::Bytes {
            return byte;
        }
        for c in text[at..byte].chars() {
            count += if unit == Offsets::Utf16 { c.len_utf16() } else { 1 };
        }
        at = byte;
        count
    };
    findings.iter().map(|f| (to(f.start), to(f.end))).collect()
}
