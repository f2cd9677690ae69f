//! Rules as files: what a recognizer is called, where a candidate may start, what it looks like, who checks it, and
//! which words near it make it likelier.
//!
//! The embedded files are parsed by the same code as a user's own. Unknown members are refused: a rule with a misspelt
//! `validator` would otherwise find too much, or too little, in silence.

use std::sync::Arc;

use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use serde::Deserialize;
use toml::Spanned;

use crate::validate::{self, Validator};

/// The embedded rule files, in the order in which [`crate::Engine::embedded`] reads them.
pub(crate) const EMBEDDED: &[(&str, &str)] = &[
    ("contact.toml", include_str!("../../../defaults/recognizers/contact.toml")),
    ("finance.toml", include_str!("../../../defaults/recognizers/finance.toml")),
    ("identity.toml", include_str!("../../../defaults/recognizers/identity.toml")),
    ("network.toml", include_str!("../../../defaults/recognizers/network.toml")),
    ("secrets.toml", include_str!("../../../defaults/recognizers/secrets.toml")),
];

/// No rule looks further than this from where its candidate starts, so that the work per candidate is bounded.
const WINDOW_MAX: usize = 16 * 1024;

/// Why rules cannot be loaded. Who wrote the file must mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The file is not TOML, or has not the members of a rules file.
    #[error("{file}: not a rules file")]
    Syntax {
        /// The file's name.
        file: String,
        /// What the parser said.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A pattern is not a regular expression, or is too large a one.
    #[error("{file}:{line}: recognizer {recognizer}: bad pattern")]
    Pattern {
        /// The file's name.
        file: String,
        /// The line on which the recognizer's name stands.
        line: usize,
        /// The recognizer's name.
        recognizer: String,
        /// What the regex compiler said.
        #[source]
        source: Box<regex_automata::meta::BuildError>,
    },
    /// A rule contradicts itself or names what does not exist.
    #[error("{file}:{line}: recognizer {recognizer}: {problem}")]
    Rule {
        /// The file's name.
        file: String,
        /// The line on which the recognizer's name stands.
        line: usize,
        /// The recognizer's name.
        recognizer: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// All rules together cannot be searched for.
    #[error("the literals of all rules together are too large")]
    Literals(#[source] aho_corasick::BuildError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    threshold: Option<f32>,
    #[serde(default)]
    recognizer: Vec<RawRecognizer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRecognizer {
    name: Spanned<String>,
    entity: String,
    source: String,
    trigger: RawTrigger,
    #[serde(default)]
    boundary: Boundary,
    #[serde(default = "default_window")]
    window: usize,
    pattern: Vec<RawPattern>,
    validator: Option<String>,
    #[serde(default)]
    context: Vec<String>,
    r#match: Vec<String>,
    no_match: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTrigger {
    #[serde(default)]
    literals: Vec<String>,
    #[serde(default)]
    back: String,
    #[serde(default)]
    back_max: usize,
    digits: Option<[usize; 2]>,
    #[serde(default)]
    iban: bool,
    #[serde(default)]
    whole: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPattern {
    regex: String,
    score: f32,
    #[serde(default)]
    needs_context: bool,
    validator: Option<String>,
}

fn default_window() -> usize {
    256
}

/// What must not stand before a candidate.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Boundary {
    /// A letter, a digit or an underscore.
    #[default]
    Word,
    /// Anything may stand there.
    None,
}

/// Where a candidate may start.
pub(crate) struct Trigger {
    /// At one of these (in any case of ASCII letters) …
    pub(crate) literals: Vec<String>,
    /// … or up to `back_max` of these bytes before it.
    pub(crate) back: Option<Box<[bool; 256]>>,
    pub(crate) back_max: usize,
    /// At a group of digits, if so many digits stand there and in the groups after it.
    pub(crate) digits: Option<(usize, usize)>,
    /// At two letters and two digits.
    pub(crate) iban: bool,
    /// At the start of a text that stands under a key.
    pub(crate) whole: bool,
}

pub(crate) struct Pattern {
    pub(crate) regex: Regex,
    /// The match has a group that is the value; else the whole match is.
    pub(crate) has_group: bool,
    pub(crate) score: f32,
    pub(crate) needs_context: bool,
    pub(crate) validator: Option<(Arc<str>, Validator)>,
}

/// A word that makes a rule's findings near it more likely.
#[derive(Debug)]
pub(crate) struct ContextWord {
    pub(crate) text: Arc<str>,
    /// Looks for it; making one for each look would cost more than looking.
    pub(crate) finder: memchr::memmem::Finder<'static>,
}

impl ContextWord {
    fn new(word: &str) -> Self {
        Self { text: Arc::from(word), finder: memchr::memmem::Finder::new(word.as_bytes()).into_owned() }
    }
}

pub(crate) struct Recognizer {
    pub(crate) name: Arc<str>,
    pub(crate) entity: Arc<str>,
    pub(crate) trigger: Trigger,
    pub(crate) boundary: Boundary,
    pub(crate) window: usize,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) context: Vec<ContextWord>,
    #[cfg_attr(not(test), allow(dead_code, reason = "read by the test of the rules"))]
    pub(crate) examples: Examples,
}

/// What a rule says of itself: texts in which it must find what stands between `«` and `»`, and texts in which it must
/// find nothing.
#[cfg_attr(not(test), allow(dead_code, reason = "read by the test of the rules"))]
pub(crate) struct Examples {
    pub(crate) source: String,
    pub(crate) matches: Vec<String>,
    pub(crate) no_matches: Vec<String>,
}

/// A parsed file: its recognizers, and the threshold if it sets one.
pub(crate) fn parse(name: &str, text: &str) -> Result<(Vec<Recognizer>, Option<f32>), RuleError> {
    let file: File =
        toml::from_str(text).map_err(|source| RuleError::Syntax { file: name.to_owned(), source: Box::new(source) })?;
    let recognizers = file
        .recognizer
        .into_iter()
        .map(|raw| {
            let line = text[..raw.name.span().start.min(text.len())].matches('\n').count() + 1;
            compile(name, line, raw)
        })
        .collect::<Result<_, _>>()?;
    Ok((recognizers, file.threshold))
}

fn compile(file: &str, line: usize, raw: RawRecognizer) -> Result<Recognizer, RuleError> {
    let recognizer = raw.name.into_inner();
    let refuse = |problem| RuleError::Rule { file: file.to_owned(), line, recognizer: recognizer.clone(), problem };

    if raw.entity.is_empty()
        || !raw.entity.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        || !raw.entity.as_bytes()[0].is_ascii_uppercase()
        || raw.entity == "BINARY"
        || raw.entity.len() > 40
    {
        return Err(refuse("an entity is up to 40 of A-Z, 0-9 and _, and not BINARY"));
    }
    let trigger = raw.trigger;
    if trigger.literals.is_empty() && trigger.digits.is_none() && !trigger.iban && !trigger.whole {
        return Err(refuse("nothing triggers it"));
    }
    if trigger.literals.iter().any(String::is_empty) {
        return Err(refuse("an empty literal would trigger everywhere"));
    }
    if raw.pattern.is_empty() {
        return Err(refuse("it has no pattern"));
    }
    if raw.window == 0 || raw.window > WINDOW_MAX || trigger.back_max > WINDOW_MAX {
        return Err(refuse("a window is 1 to 16384 bytes"));
    }
    if raw.r#match.is_empty() || raw.no_match.is_empty() {
        return Err(refuse("it needs examples of what it must match and of what it must not"));
    }
    if raw.pattern.iter().any(|p| p.needs_context) && raw.context.is_empty() {
        return Err(refuse("a pattern needs context, and there are no context words"));
    }

    let validator = |name: &Option<String>| match name {
        None => Ok(None),
        Some(name) => match validate::by_name(name) {
            Some(validator) => Ok(Some((Arc::from(name.as_str()), validator))),
            None => Err(refuse("no such validator")),
        },
    };
    let common = validator(&raw.validator)?;
    let mut patterns = Vec::with_capacity(raw.pattern.len());
    for pattern in raw.pattern {
        // Bytes, not code points: spans are snapped to characters afterwards, and ASCII automata are small.
        let regex = Regex::builder()
            .configure(Regex::config().nfa_size_limit(Some(4 << 20)).utf8_empty(false))
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .build(&pattern.regex)
            .map_err(|source| RuleError::Pattern {
                file: file.to_owned(),
                line,
                recognizer: recognizer.clone(),
                source: Box::new(source),
            })?;
        if !(0.0..=1.0).contains(&pattern.score) {
            return Err(refuse("a score is 0 to 1"));
        }
        patterns.push(Pattern {
            has_group: regex.captures_len() > 1,
            regex,
            score: pattern.score,
            needs_context: pattern.needs_context,
            validator: validator(&pattern.validator)?.or_else(|| common.clone()),
        });
    }
    let back = if trigger.back_max > 0 {
        Some(byte_class(&trigger.back).ok_or_else(|| refuse("`back` is a list of bytes and ranges"))?)
    } else {
        None
    };
    Ok(Recognizer {
        name: Arc::from(recognizer.as_str()),
        entity: Arc::from(raw.entity.as_str()),
        trigger: Trigger {
            literals: trigger.literals,
            back,
            back_max: trigger.back_max,
            digits: trigger.digits.map(|[least, most]| (least, most)),
            iban: trigger.iban,
            whole: trigger.whole,
        },
        boundary: raw.boundary,
        window: raw.window,
        patterns,
        context: raw.context.iter().map(|word| ContextWord::new(&word.to_lowercase())).collect(),
        examples: Examples { source: raw.source, matches: raw.r#match, no_matches: raw.no_match },
    })
}

/// `a-z0-9._-` as a table. A byte outside ASCII stands for all of them.
fn byte_class(spec: &str) -> Option<Box<[bool; 256]>> {
    let mut table = Box::new([false; 256]);
    let bytes = spec.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        if !bytes[i].is_ascii() {
            table[0x80..].fill(true);
            i += 1;
        } else if i + 2 < bytes.len() && bytes[i + 1] == b'-' {
            if bytes[i] > bytes[i + 2] {
                return None;
            }
            for b in bytes[i]..=bytes[i + 2] {
                table[b as usize] = true;
            }
            i += 3;
        } else {
            table[bytes[i] as usize] = true;
            i += 1;
        }
    }
    Some(table)
}
