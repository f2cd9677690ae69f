//! Rules as files: what a recognizer is called, where a candidate may start, what it looks like, who checks it, and
//! which words near it make it likelier.
//!
//! The embedded files are parsed by the same code as a user's own. Unknown members are refused: a rule with a misspelt
//! `validator` would otherwise find too much, or too little, in silence.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::meta::Regex;
use regex_automata::nfa::thompson::{self, State, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::{Class, Hir, HirKind};
use serde::Deserialize;
use toml::Spanned;

use crate::lexicon::Lexicon;
use crate::operator::Operator;
use crate::policy::{Depth, PRESETS, Policy, RawPath, RawPolicy};
use crate::validate::{self, Validator};

/// The embedded rule files, in the order in which [`crate::Engine::embedded`] reads them.
pub(crate) const EMBEDDED: &[(&str, &str)] = &[
    ("common.toml", include_str!("../../../defaults/recognizers/common.toml")),
    ("africa/nigeria.toml", include_str!("../../../defaults/recognizers/africa/nigeria.toml")),
    ("africa/south-africa.toml", include_str!("../../../defaults/recognizers/africa/south-africa.toml")),
    ("americas/canada.toml", include_str!("../../../defaults/recognizers/americas/canada.toml")),
    ("americas/latin.toml", include_str!("../../../defaults/recognizers/americas/latin.toml")),
    ("americas/us.toml", include_str!("../../../defaults/recognizers/americas/us.toml")),
    ("asia/china.toml", include_str!("../../../defaults/recognizers/asia/china.toml")),
    ("asia/india.toml", include_str!("../../../defaults/recognizers/asia/india.toml")),
    ("asia/japan.toml", include_str!("../../../defaults/recognizers/asia/japan.toml")),
    ("asia/korea.toml", include_str!("../../../defaults/recognizers/asia/korea.toml")),
    ("asia/southeast.toml", include_str!("../../../defaults/recognizers/asia/southeast.toml")),
    ("asia/west.toml", include_str!("../../../defaults/recognizers/asia/west.toml")),
    ("contact.toml", include_str!("../../../defaults/recognizers/contact.toml")),
    ("crypto.toml", include_str!("../../../defaults/recognizers/crypto.toml")),
    ("device.toml", include_str!("../../../defaults/recognizers/device.toml")),
    ("europe/de.toml", include_str!("../../../defaults/recognizers/europe/de.toml")),
    ("europe/east.toml", include_str!("../../../defaults/recognizers/europe/east.toml")),
    ("europe/es.toml", include_str!("../../../defaults/recognizers/europe/es.toml")),
    ("europe/it.toml", include_str!("../../../defaults/recognizers/europe/it.toml")),
    ("europe/nordic.toml", include_str!("../../../defaults/recognizers/europe/nordic.toml")),
    ("europe/pl.toml", include_str!("../../../defaults/recognizers/europe/pl.toml")),
    ("europe/tr.toml", include_str!("../../../defaults/recognizers/europe/tr.toml")),
    ("europe/uk.toml", include_str!("../../../defaults/recognizers/europe/uk.toml")),
    ("europe/vat.toml", include_str!("../../../defaults/recognizers/europe/vat.toml")),
    ("europe/west.toml", include_str!("../../../defaults/recognizers/europe/west.toml")),
    ("finance.toml", include_str!("../../../defaults/recognizers/finance.toml")),
    ("health.toml", include_str!("../../../defaults/recognizers/health.toml")),
    ("location.toml", include_str!("../../../defaults/recognizers/location.toml")),
    ("address.toml", include_str!("../../../defaults/recognizers/address.toml")),
    ("titles.toml", include_str!("../../../defaults/recognizers/titles.toml")),
    ("names.toml", include_str!("../../../defaults/recognizers/names.toml")),
    ("network.toml", include_str!("../../../defaults/recognizers/network.toml")),
    ("oceania/australia.toml", include_str!("../../../defaults/recognizers/oceania/australia.toml")),
    ("online.toml", include_str!("../../../defaults/recognizers/online.toml")),
    ("secrets/ai.toml", include_str!("../../../defaults/recognizers/secrets/ai.toml")),
    ("secrets/chat.toml", include_str!("../../../defaults/recognizers/secrets/chat.toml")),
    ("secrets/ci.toml", include_str!("../../../defaults/recognizers/secrets/ci.toml")),
    ("secrets/cloud.toml", include_str!("../../../defaults/recognizers/secrets/cloud.toml")),
    ("secrets/databases.toml", include_str!("../../../defaults/recognizers/secrets/databases.toml")),
    ("secrets/generic.toml", include_str!("../../../defaults/recognizers/secrets/generic.toml")),
    ("secrets/keys.toml", include_str!("../../../defaults/recognizers/secrets/keys.toml")),
    ("secrets/named.toml", include_str!("../../../defaults/recognizers/secrets/named.toml")),
    ("secrets/payment.toml", include_str!("../../../defaults/recognizers/secrets/payment.toml")),
    ("secrets/saas.toml", include_str!("../../../defaults/recognizers/secrets/saas.toml")),
    ("secrets/vcs.toml", include_str!("../../../defaults/recognizers/secrets/vcs.toml")),
    ("time.toml", include_str!("../../../defaults/recognizers/time.toml")),
    ("travel.toml", include_str!("../../../defaults/recognizers/travel.toml")),
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
        source: Box<dyn std::error::Error + Send + Sync>,
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
    /// What a file says of a policy contradicts itself.
    #[error("{file}: {problem}")]
    Policy {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There are more rules than can be numbered.
    #[error("there are more than 65,000 recognizers")]
    TooMany,
    /// All rules together cannot be searched for.
    #[error("the literals of all rules together are too large")]
    Literals(#[source] aho_corasick::BuildError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    threshold: Option<f32>,
    extends: Option<String>,
    recognizers: Option<Recognizers>,
    // A policy's members. They are listed here, and not flattened in, because only so can unknown ones be refused.
    default: Option<Operator>,
    depth: Option<Depth>,
    #[serde(default)]
    operators: BTreeMap<String, Operator>,
    #[serde(default)]
    thresholds: BTreeMap<String, f32>,
    entities: Option<Vec<String>>,
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    allow_patterns: Vec<String>,
    #[serde(default)]
    path: Vec<RawPath>,
    #[serde(default)]
    set: Set,
    #[serde(default)]
    languages: Vec<String>,
    country: Option<String>,
    #[serde(default)]
    lists: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    recognizer: Vec<RawRecognizer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRecognizer {
    name: Spanned<String>,
    entity: String,
    source: String,
    set: Option<Set>,
    languages: Option<Vec<String>>,
    country: Option<String>,
    detector: Option<Detector>,
    depth: Option<Depth>,
    #[serde(default)]
    trigger: RawTrigger,
    #[serde(default)]
    boundary: Boundary,
    #[serde(default = "default_window")]
    window: usize,
    #[serde(default)]
    pattern: Vec<RawPattern>,
    #[serde(default)]
    words: Vec<String>,
    validator: Option<String>,
    #[serde(default)]
    context: Vec<String>,
    #[serde(default)]
    against: Vec<String>,
    r#match: Vec<String>,
    no_match: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTrigger {
    #[serde(default)]
    literals: Vec<String>,
    #[serde(default)]
    back: String,
    #[serde(default)]
    back_max: usize,
    digits: Option<[usize; 2]>,
    word: Option<[usize; 2]>,
    #[serde(default)]
    letters: bool,
    #[serde(default)]
    value: bool,
    #[serde(default)]
    drawn: bool,
    digit_within: Option<usize>,
    fresh: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPattern {
    name: Option<String>,
    regex: String,
    score: f32,
    #[serde(default)]
    needs_context: bool,
    validator: Option<String>,
}

/// What looks for what no pattern describes. It takes the place of a recognizer's trigger and patterns.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Detector {
    /// [`crate::address`]
    Address,
    /// [`crate::tagger`], for the recognizer's entity.
    Tagger,
}

impl Detector {
    /// From which depth on it is asked.
    pub(crate) fn depth(self) -> Depth {
        match self {
            Detector::Address => Depth::Text,
            Detector::Tagger => Depth::Tagger,
        }
    }
}

fn default_window() -> usize {
    256
}

/// Which recognizers are used.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Set {
    /// What is the same everywhere, the United States' identifiers, and secrets.
    #[default]
    Default,
    /// These and every other country's.
    All,
}

/// Which of the embedded recognizers a policy uses.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Recognizers {
    /// Those of [`Set::Default`].
    Default,
    /// Those of [`Set::All`].
    All,
    /// Only its own.
    None,
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
    /// … or up to `back_max` of these bytes before it, or before a group of digits.
    pub(crate) back: Option<Box<[bool; 256]>>,
    pub(crate) back_max: usize,
    /// At a group of digits, if so many digits stand there and in the groups after it.
    pub(crate) digits: Option<(usize, usize)>,
    /// At a word of so many letters and digits …
    pub(crate) word: Option<(usize, usize)>,
    /// … even if no digit is near.
    pub(crate) letters: bool,
    /// At a value under a key.
    pub(crate) value: bool,
    /// Only if something that may be drawn by lot begins within the window.
    pub(crate) drawn: bool,
    /// Only if a digit stands so near.
    pub(crate) digit_within: Option<usize>,
    /// Only if the run of base64url's characters that it stands in began so near before.
    pub(crate) fresh: Option<usize>,
}

impl Trigger {
    /// Nothing says where a candidate may start.
    pub(crate) fn anywhere(&self) -> bool {
        self.literals.is_empty() && self.digits.is_none() && self.word.is_none() && !self.value
    }
}

pub(crate) struct Pattern {
    pub(crate) name: Arc<str>,
    /// As the file has it.
    pub(crate) source: String,
    /// Compiled when it is first needed: most texts need few of them, and all of them together take longer than a
    /// program may take to start.
    regex: OnceLock<Compiled>,
    pub(crate) score: f32,
    pub(crate) needs_context: bool,
    pub(crate) validator: Option<(Arc<str>, Validator)>,
}

/// A pattern, compiled twice.
struct Compiled {
    /// A pattern that begins with a few bytes of a class, as few as possible, is tried after each number of them: an
    /// automaton that has to remember how many there were is many times as large.
    lead: Option<Lead>,
    /// The bytes that the rest may begin with.
    first: FirstBytes,
    /// Says where the match ends, or, at nearly every place, that there is none. An automaton of its own, tried at one place
    /// and without a cache: a tenth of what [`Regex`] takes to say no. `None` if it would be too large.
    dense: Option<Dense>,
    /// Says where the groups are.
    regex: Regex,
    /// The match has a group that is the value; else the whole match is.
    has_group: bool,
}

struct Lead {
    class: FirstBytes,
    least: usize,
    most: usize,
}

/// No longer one is tried so: hostile texts would have the rest tried at every byte.
const LEAD_MAX: usize = 32;

impl Lead {
    /// Takes the lead off an expression.
    fn split(hir: Hir) -> (Option<Lead>, Hir) {
        if let HirKind::Concat(parts) = hir.kind()
            && let [first, rest @ ..] = parts.as_slice()
            && let HirKind::Repetition(repetition) = first.kind()
            && let (false, least, Some(most)) = (repetition.greedy, repetition.min as usize, repetition.max)
            && let HirKind::Class(Class::Bytes(_)) = repetition.sub.kind()
            && most as usize <= LEAD_MAX
        {
            let lead = Lead { class: FirstBytes::of(&repetition.sub).0, least, most: most as usize };
            return (Some(lead), Hir::concat(rest.to_vec()));
        }
        (None, hir)
    }
}

/// An automaton, and the state in which it begins if that depends on nothing.
struct Dense {
    automaton: dense::DFA<Vec<u32>>,
    start: Option<StateID>,
}

impl Dense {
    /// Where a match that begins at the start of `input` ends, and how many bytes were looked at; `None` in place of both
    /// when the automaton gives up, which ours never do.
    fn end(&self, input: &Input<'_>) -> Option<(Option<usize>, usize)> {
        let automaton = &self.automaton;
        let mut state = match self.start {
            Some(start) => start,
            None => automaton.start_state_forward(input).ok()?,
        };
        let mut end = None;
        let bytes = input.haystack();
        for (looked, &byte) in bytes[input.get_range()].iter().enumerate() {
            state = automaton.next_state(state, byte);
            if automaton.is_special_state(state) {
                // A state says that there was a match when one more byte was read.
                if automaton.is_match_state(state) {
                    end = Some(input.start() + looked);
                } else if automaton.is_dead_state(state) {
                    return Some((end, looked + 1));
                } else if automaton.is_quit_state(state) {
                    return None;
                }
            }
        }
        state = match bytes.get(input.end()) {
            Some(&byte) => automaton.next_state(state, byte),
            None => automaton.next_eoi_state(state),
        };
        if automaton.is_match_state(state) {
            end = Some(input.end());
        } else if automaton.is_quit_state(state) {
            return None;
        }
        Some((end, input.end() + 1 - input.start()))
    }
}

/// No automaton is larger than this. A dozen of ours would be, and are tried by [`Regex`].
const DENSE_BYTES_MAX: usize = 256 << 10;

/// The bytes that a match may begin with.
#[derive(Clone, Copy)]
pub(crate) struct FirstBytes([u64; 4]);

impl FirstBytes {
    const NONE: FirstBytes = FirstBytes([0; 4]);
    const ALL: FirstBytes = FirstBytes([u64::MAX; 4]);

    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    fn add(&mut self, first: u8, last: u8) {
        for byte in first..=last {
            self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
        }
    }

    fn join(&mut self, other: FirstBytes) {
        for (mine, other) in self.0.iter_mut().zip(other.0) {
            *mine |= other;
        }
    }

    /// Of a whole pattern.
    fn beginning(hir: &Hir) -> FirstBytes {
        let (bytes, empty) = Self::of(hir);
        if empty { Self::ALL } else { bytes }
    }

    /// Of an expression, and whether it may match nothing and so begin with what follows it.
    fn of(hir: &Hir) -> (FirstBytes, bool) {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => (Self::NONE, true),
            HirKind::Literal(literal) => {
                let mut bytes = Self::NONE;
                bytes.add(literal.0[0], literal.0[0]);
                (bytes, false)
            }
            HirKind::Class(Class::Bytes(class)) => {
                let mut bytes = Self::NONE;
                for range in class.ranges() {
                    bytes.add(range.start(), range.end());
                }
                (bytes, false)
            }
            HirKind::Class(Class::Unicode(_)) => (Self::ALL, false),
            HirKind::Repetition(repetition) => {
                let (bytes, empty) = Self::of(&repetition.sub);
                (bytes, empty || repetition.min == 0)
            }
            HirKind::Capture(capture) => Self::of(&capture.sub),
            HirKind::Concat(parts) => {
                let mut all = Self::NONE;
                for part in parts {
                    let (bytes, empty) = Self::of(part);
                    all.join(bytes);
                    if !empty {
                        return (all, false);
                    }
                }
                (all, true)
            }
            HirKind::Alternation(parts) => {
                let mut all = (Self::NONE, false);
                for part in parts {
                    let (bytes, empty) = Self::of(part);
                    all.0.join(bytes);
                    all.1 |= empty;
                }
                all
            }
        }
    }
}

/// What may stand after a group of digits, for [`Shape`]: a class for each byte.
pub(crate) fn class_after_digits(byte: Option<u8>) -> usize {
    match byte {
        Some(b' ') => 0,
        Some(b'-') => 1,
        Some(b'.') => 2,
        Some(b'/') => 3,
        Some(b'(' | b')') => 4,
        Some(b':') => 5,
        Some(b'_') => 6,
        Some(b) if b.is_ascii_alphabetic() => 7,
        _ => 8,
    }
}

/// How many of these classes there are.
pub(crate) const CLASSES_AFTER_DIGITS: usize = 9;
/// Longer groups of digits are taken together.
pub(crate) const GROUP_MAX: usize = 20;

/// With which first groups of digits, and what after them, a match may begin: for each length, the classes as bits. Most
/// numbers are none of a rule's because of that alone, and a look into a table says so.
#[derive(Clone, Copy)]
pub(crate) struct Shape(pub(crate) [u16; GROUP_MAX + 1]);

impl Shape {
    const ANY: Shape = Shape([u16::MAX; GROUP_MAX + 1]);

    /// Of patterns that are tried where a group of digits begins, and whose matches no digit or letter may follow.
    fn of(patterns: &[Pattern]) -> Shape {
        let mut shape = Shape([0; GROUP_MAX + 1]);
        for pattern in patterns {
            let Some(one) = Self::of_one(&pattern.source) else { return Self::ANY };
            shape.0.iter_mut().zip(one.0).for_each(|(mine, other)| *mine |= other);
        }
        shape
    }

    fn of_one(pattern: &str) -> Option<Shape> {
        let nfa = thompson::NFA::compiler()
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .configure(thompson::Config::new().utf8(false).shrink(false).which_captures(WhichCaptures::None))
            .build(pattern)
            .ok()?;
        let mut shape = Shape([0; GROUP_MAX + 1]);
        let mut states = vec![nfa.start_anchored()];
        follow(&nfa, &mut states);
        for length in 1..=DIGITS_MAX {
            let mut next: Vec<StateID> = states
                .iter()
                .flat_map(|&state| transitions(&nfa, state))
                .filter(|t| t.start <= b'9' && t.end >= b'0')
                .map(|t| t.next)
                .collect();
            follow(&nfa, &mut next);
            states = next;
            let ended = states.iter().any(|&state| matches!(nfa.state(state), State::Match { .. }));
            let mut classes = if ended { u16::MAX } else { 0 };
            if !ended {
                for t in states.iter().flat_map(|&state| transitions(&nfa, state)) {
                    for byte in (t.start..=t.end).filter(|b| !b.is_ascii_digit()) {
                        classes |= 1 << class_after_digits(Some(byte));
                    }
                }
            }
            shape.0[length.min(GROUP_MAX)] |= classes;
            if states.is_empty() {
                break;
            }
        }
        Some(shape)
    }
}

/// No group of digits in a pattern is longer.
const DIGITS_MAX: usize = 64;

/// Where a state leads, with which bytes.
fn transitions(nfa: &thompson::NFA, state: StateID) -> Vec<thompson::Transition> {
    match nfa.state(state) {
        State::ByteRange { trans } => vec![*trans],
        State::Sparse(transitions) => transitions.transitions.to_vec(),
        State::Dense(transitions) => (0..=255)
            .filter_map(|b| transitions.matches_byte(b).map(|next| thompson::Transition { start: b, end: b, next }))
            .collect(),
        _ => Vec::new(),
    }
}

/// Adds the states that are reached without a byte, whatever stands there.
fn follow(nfa: &thompson::NFA, states: &mut Vec<StateID>) {
    let mut seen = vec![false; nfa.states().len()];
    let mut open = std::mem::take(states);
    while let Some(id) = open.pop() {
        if std::mem::replace(&mut seen[id], true) {
            continue;
        }
        match nfa.state(id) {
            State::Look { next, .. } | State::Capture { next, .. } => open.push(*next),
            State::Union { alternates } => open.extend(alternates.iter().copied()),
            State::BinaryUnion { alt1, alt2 } => open.extend([*alt1, *alt2]),
            _ => states.push(id),
        }
    }
}

/// Bytes, not code points: spans are snapped to characters afterwards, and automata for bytes are small.
fn build(pattern: &str) -> Result<Compiled, Box<dyn std::error::Error + Send + Sync>> {
    let (lead, rest) = Lead::split(parse_pattern(pattern)?);
    let regex = Regex::builder()
        .configure(Regex::config().nfa_size_limit(Some(4 << 20)).utf8_empty(false))
        .build_from_hir(&rest)?;
    let nfa = thompson::NFA::compiler()
        .configure(thompson::Config::new().utf8(false).shrink(false).which_captures(WhichCaptures::None))
        .build_from_hir(&rest)?;
    let dense = dense::Builder::new()
        .configure(
            dense::Config::new()
                .start_kind(StartKind::Anchored)
                .dfa_size_limit(Some(DENSE_BYTES_MAX))
                .determinize_size_limit(Some(4 * DENSE_BYTES_MAX)),
        )
        .build_from_nfa(&nfa)
        .ok()
        .map(|automaton| Dense { start: automaton.universal_start_state(Anchored::Yes), automaton });
    Ok(Compiled { lead, first: FirstBytes::beginning(&rest), dense, has_group: regex.captures_len() > 1, regex })
}

fn parse_pattern(pattern: &str) -> Result<Hir, Box<dyn std::error::Error + Send + Sync>> {
    Ok(regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern)?)
}

impl Pattern {
    fn compiled(&self) -> &Compiled {
        self.regex.get_or_init(|| build(&self.source).expect("a user's patterns were compiled when they were read"))
    }

    /// Where the value is, if the pattern matches at the start of `input`, which is anchored; adds to `steps` how many
    /// bytes were looked at.
    pub(crate) fn find(&self, input: &Input<'_>, steps: &mut usize) -> Option<(usize, usize)> {
        let compiled = self.compiled();
        let Some(lead) = &compiled.lead else { return compiled.find(input, steps) };
        let bytes = &input.haystack()[input.start()..input.end()];
        for skipped in 0..=lead.most {
            let &byte = bytes.get(skipped)?;
            if skipped >= lead.least
                && compiled.first.has(byte)
                && let Some(found) = compiled.find(&input.clone().span(input.start() + skipped..input.end()), steps)
            {
                return Some(found);
            }
            if !lead.class.has(byte) {
                break;
            }
        }
        None
    }
}

impl Compiled {
    fn find(&self, input: &Input<'_>, steps: &mut usize) -> Option<(usize, usize)> {
        let end = match self.dense.as_ref().and_then(|dense| dense.end(input)) {
            Some((end, looked)) => {
                *steps += looked;
                end?
            }
            None => {
                *steps += input.end() - input.start();
                self.regex.search_half(input)?.offset()
            }
        };
        if !self.has_group {
            return Some((input.start(), end));
        }
        // No other match ends earlier; within it, the groups cost less to find.
        let mut captures = self.regex.create_captures();
        self.regex.search_captures(&input.clone().span(input.start()..end), &mut captures);
        (1..captures.group_len()).find_map(|i| captures.get_group(i)).map(|span| (span.start, span.end))
    }
}

pub(crate) struct Recognizer {
    pub(crate) name: Arc<str>,
    pub(crate) entity: Arc<str>,
    pub(crate) languages: Vec<String>,
    pub(crate) country: Option<String>,
    pub(crate) trigger: Trigger,
    pub(crate) detector: Option<Detector>,
    /// Policies that go less deep do without it.
    pub(crate) depth: Depth,
    pub(crate) first: FirstBytes,
    pub(crate) shape: Shape,
    pub(crate) boundary: Boundary,
    pub(crate) window: usize,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) context: Vec<String>,
    pub(crate) against: Vec<String>,
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

/// What files say, taken together.
pub(crate) struct Rules {
    pub(crate) recognizers: Vec<Recognizer>,
    pub(crate) threshold: Option<f32>,
    pub(crate) policy: Policy,
    /// What identifies all of it: the names and texts of the files that were used.
    pub(crate) files: Vec<(String, String)>,
}

/// How many policies may stand on each other.
const EXTENDS_MAX: usize = 4;

/// The embedded rules with policies on top of them, each of which stands on those before it. `set` overrides what the
/// policies say of the embedded rules. Patterns of embedded rules are not compiled before they are needed.
pub(crate) fn load(policies: &[(&str, &str)], set: Option<Set>) -> Result<Rules, RuleError> {
    let mut stack: Vec<(String, String)> = Vec::new();
    for (name, text) in policies {
        let mut chain = vec![((*name).to_owned(), (*text).to_owned())];
        while let Some(base) = parse(&chain[chain.len() - 1])?.extends {
            let preset = PRESETS.iter().find(|(name, _)| *name == base);
            let Some((name, text)) = preset.filter(|_| chain.len() < EXTENDS_MAX) else {
                return Err(RuleError::Policy {
                    file: (*name).to_owned(),
                    problem: "it extends no policy that there is",
                });
            };
            chain.push(((*name).to_owned(), (*text).to_owned()));
        }
        stack.extend(chain.into_iter().rev());
    }
    let mut chosen = Recognizers::Default;
    for file in &stack {
        chosen = parse(file)?.recognizers.unwrap_or(chosen);
    }
    let embedded = match (set, chosen) {
        (Some(set), _) => Some(set),
        (None, Recognizers::Default) => Some(Set::Default),
        (None, Recognizers::All) => Some(Set::All),
        (None, Recognizers::None) => None,
    };
    let mut files: Vec<(String, String)> = Vec::new();
    // Without any of its rules, its lists of words are still there to be named.
    files.extend(EMBEDDED.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
    let trusted = files.len();
    files.extend(stack);
    compile_all(files, embedded, trusted)
}

/// Rules from these files alone.
pub(crate) fn alone(files: &[(&str, &str)]) -> Result<Rules, RuleError> {
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    compile_all(files, Some(Set::All), 0)
}

fn parse((name, text): &(String, String)) -> Result<File, RuleError> {
    toml::from_str(text).map_err(|source| RuleError::Syntax { file: name.clone(), source: Box::new(source) })
}

/// Compiles files of which the first `trusted` are our own; of those, only the recognizers in `set`.
fn compile_all(files: Vec<(String, String)>, set: Option<Set>, trusted: usize) -> Result<Rules, RuleError> {
    let mut parsed = Vec::with_capacity(files.len());
    let mut lists = BTreeMap::new();
    for file in &files {
        let mut file = parse(file)?;
        lists.append(&mut file.lists);
        parsed.push(file);
    }
    let mut threshold = None;
    let mut recognizers = Vec::new();
    let mut policy = Policy::default();
    for (number, (file, (name, text))) in parsed.into_iter().zip(&files).enumerate() {
        let ours = number < trusted;
        threshold = file.threshold.or(threshold);
        for raw in file.recognizer {
            if ours && set.is_none_or(|set| raw.set.unwrap_or(file.set) > set) {
                continue;
            }
            let line = text[..raw.name.span().start.min(text.len())].matches('\n').count() + 1;
            let place = Place { file: name, line, recognizer: raw.name.get_ref().clone() };
            let languages = raw.languages.clone().unwrap_or_else(|| file.languages.clone());
            let country = raw.country.clone().or_else(|| file.country.clone());
            recognizers.push(compile(&place, raw, languages, country, &lists, ours)?);
        }
        let raw = RawPolicy {
            default: file.default,
            depth: file.depth,
            operators: file.operators,
            thresholds: file.thresholds,
            entities: file.entities,
            allow: file.allow,
            allow_patterns: file.allow_patterns,
            path: file.path,
        };
        policy.add(raw, &lists).map_err(|problem| RuleError::Policy { file: name.clone(), problem })?;
    }
    Ok(Rules { recognizers, threshold, policy, files })
}

/// Where a rule stands, for errors.
struct Place<'a> {
    file: &'a str,
    line: usize,
    recognizer: String,
}

impl Place<'_> {
    fn refuse(&self, problem: &'static str) -> RuleError {
        RuleError::Rule { file: self.file.to_owned(), line: self.line, recognizer: self.recognizer.clone(), problem }
    }

    fn bad_pattern(&self, source: Box<dyn std::error::Error + Send + Sync>) -> RuleError {
        RuleError::Pattern { file: self.file.to_owned(), line: self.line, recognizer: self.recognizer.clone(), source }
    }
}

fn compile(
    place: &Place<'_>,
    raw: RawRecognizer,
    languages: Vec<String>,
    country: Option<String>,
    lists: &BTreeMap<String, Vec<String>>,
    trusted: bool,
) -> Result<Recognizer, RuleError> {
    let refuse = |problem| place.refuse(problem);
    if raw.entity.is_empty()
        || !raw.entity.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        || !raw.entity.as_bytes()[0].is_ascii_uppercase()
        || raw.entity == "BINARY"
        || raw.entity.len() > 40
    {
        return Err(refuse("an entity is up to 40 of A-Z, 0-9 and _, and not BINARY"));
    }
    match raw.detector {
        None if raw.pattern.is_empty() && raw.words.is_empty() => {
            return Err(refuse("it has neither patterns nor words"));
        }
        Some(_) if !raw.pattern.is_empty() || !raw.words.is_empty() => {
            return Err(refuse("a detector has no patterns or words"));
        }
        _ => {}
    }
    if raw.window == 0 || raw.window > WINDOW_MAX || raw.trigger.back_max > WINDOW_MAX {
        return Err(refuse("a window is 1 to 16384 bytes"));
    }
    if raw.r#match.is_empty() || raw.no_match.is_empty() {
        return Err(refuse("it needs examples of what it must match and of what it must not"));
    }
    if raw.pattern.iter().any(|p| p.needs_context) && raw.context.is_empty() {
        return Err(refuse("a pattern needs context, and there are no context words"));
    }
    let named = |list: &[String]| {
        let mut words = Vec::new();
        for word in list {
            match word.strip_prefix('@') {
                None => words.push(word.to_lowercase()),
                Some(name) => words.extend(
                    lists.get(name).ok_or_else(|| refuse("no such list"))?.iter().map(|word| word.to_lowercase()),
                ),
            }
        }
        if words
            .iter()
            .any(|word| word.len() < 2 || word.starts_with(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric()))
        {
            return Err(refuse("a word of context has two letters or more, and begins with one"));
        }
        Ok(words)
    };
    let context = named(&raw.context)?;
    let against = named(&raw.against)?;
    let mut trigger = raw.trigger;
    let mut raw_patterns = raw.pattern;
    if !raw.words.is_empty() {
        let words = named(&raw.words)?;
        let alternatives: Vec<String> = words.iter().map(|word| regex_syntax::escape(word)).collect();
        // The longest first: the first that matches wins.
        let mut alternatives = alternatives;
        alternatives.sort_by_key(|word| std::cmp::Reverse(word.len()));
        raw_patterns.push(RawPattern {
            name: Some("words".into()),
            regex: format!("(?i)(?:{})", alternatives.join("|")),
            score: 1.0,
            needs_context: false,
            validator: None,
        });
        trigger.literals.extend(words);
    }
    if trigger.literals.iter().any(|l| l.len() < 2 && !l.starts_with(|c: char| c.is_ascii_punctuation())) {
        return Err(refuse("a literal of one letter would trigger everywhere"));
    }
    if trigger.literals.iter().any(|l| l.as_bytes().first().is_none_or(|&b| !Lexicon::may_begin(b))) {
        return Err(refuse("a literal begins with a letter, a digit, or one of @ + $ : = [ & % ~ #"));
    }
    let validator = |name: &Option<String>| match name {
        None => Ok(None),
        Some(name) => match validate::by_name(name) {
            Some(validator) => Ok(Some((Arc::from(name.as_str()), validator))),
            None => Err(refuse("no such validator")),
        },
    };
    let common = validator(&raw.validator)?;
    let mut patterns = Vec::with_capacity(raw_patterns.len());
    let mut first = FirstBytes::NONE;
    for pattern in raw_patterns {
        if !(0.0..=1.0).contains(&pattern.score) {
            return Err(refuse("a score is 0 to 1"));
        }
        first.join(FirstBytes::beginning(&parse_pattern(&pattern.regex).map_err(|error| place.bad_pattern(error))?));
        let regex = OnceLock::new();
        if !trusted {
            let _ = regex.set(build(&pattern.regex).map_err(|error| place.bad_pattern(error))?);
        }
        patterns.push(Pattern {
            name: Arc::from(pattern.name.as_deref().unwrap_or(&place.recognizer)),
            source: pattern.regex,
            regex,
            score: pattern.score,
            needs_context: pattern.needs_context,
            validator: validator(&pattern.validator)?.or_else(|| common.clone()),
        });
    }
    if raw.detector.is_some() {
        // It has a pattern's name, and its findings have scores of their own.
        patterns.push(Pattern {
            name: Arc::from(place.recognizer.as_str()),
            source: String::new(),
            regex: OnceLock::new(),
            score: 1.0,
            needs_context: false,
            validator: None,
        });
    }
    let back = if trigger.back_max > 0 {
        Some(byte_class(&trigger.back).ok_or_else(|| refuse("`back` is a list of bytes and ranges"))?)
    } else {
        None
    };
    let back_max = trigger.back_max;
    Ok(Recognizer {
        name: Arc::from(place.recognizer.as_str()),
        entity: Arc::from(raw.entity.as_str()),
        languages,
        country,
        trigger: Trigger {
            literals: trigger.literals,
            back,
            back_max: trigger.back_max,
            digits: trigger.digits.map(|[least, most]| (least, most)),
            word: trigger.word.map(|[least, most]| (least, most)),
            letters: trigger.letters,
            value: trigger.value,
            drawn: trigger.drawn,
            digit_within: trigger.digit_within,
            fresh: trigger.fresh,
        },
        detector: raw.detector,
        depth: raw.depth.unwrap_or_default().max(raw.detector.map_or(Depth::Fast, Detector::depth)),
        first,
        shape: if trigger.digits.is_some() && back_max == 0 && raw.boundary == Boundary::Word {
            Shape::of(&patterns)
        } else {
            Shape::ANY
        },
        boundary: raw.boundary,
        window: raw.window,
        patterns,
        context,
        against,
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
