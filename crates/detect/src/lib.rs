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
//! It is no proof that nothing is left: names, addresses and whatever no rule describes stay in the text.

use std::sync::Arc;

mod binary;
mod engine;
mod json;
mod normal;
pub mod operator;
mod pseudonym;
mod redact;
mod rules;
#[cfg(test)]
mod tests;
mod validate;

pub use engine::Engine;
pub use pseudonym::Pseudonyms;
pub use redact::{Found, Redacted, Redactor, counts};
pub use rules::RuleError;

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
    /// The validator that agreed, if the rule has one.
    pub validator: Option<Arc<str>>,
    /// The context word that raised the score.
    pub context: Option<Arc<str>>,
}

impl Finding {
    /// Why this was found, in one line, without the value.
    pub fn explanation(&self) -> String {
        let mut text = format!("{} by {} at {:.2}", self.entity, self.recognizer, self.score);
        if let Some(validator) = &self.validator {
            text.push_str(&format!(", validated by {validator}"));
        }
        if let Some(word) = &self.context {
            text.push_str(&format!(", raised by the word \"{word}\""));
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
