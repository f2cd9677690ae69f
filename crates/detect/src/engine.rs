//! The rules, compiled, and the pass over the text.
//!
//! 1. Make the text plain ([`crate::normal`]); offsets map back at the end.
//! 2. One pass, sixty-four bytes at a time ([`crate::masks`]): where words begin, the lexicon ([`crate::lexicon`]) says
//!    which literals stand there; where digits begin is noted.
//! 3. Each literal, number and value under a key is a place where candidates may *start*. Which rules are tried there, a
//!    table says, by the length of the word or the count of digits; most rules need a word of context to reach the
//!    threshold, and are not tried where none of theirs stands near. The words of context are looked up only there.
//! 4. For the rules that are left: the patterns, anchored there and bounded by the rule's window; context; the validator.
//! 5. Of overlapping findings one that the policy replaces stays before one that it keeps, or a telephone number in a
//!    link would go into the record with the link; then the one with the higher score; of equal ones the longer; then the earlier; then the
//!    one whose entity's name comes first. What a loser has outside the winners is kept if it has four letters or
//!    digits: a part of a card number is still a part of a card number.
//!
//! Work is linear in the text: a candidate costs at most the sum of its rules' windows, a start is tried once per rule,
//! and a rule that found something goes on after it. `steps` counts that bound, and tests hold it against input length.
//!
//! Text that is already redacted (`[ENTITY:token]`) is neither found nor read as context.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex_automata::{Anchored, Input};
use sha2::{Digest, Sha256};

use crate::address;
use crate::columns::Columns;
use crate::encoded;
#[cfg(feature = "tagger")]
use crate::letterhead;
use crate::lexicon::{self, Entry, Lexicon};
use crate::masks::{Bits, masks};
use crate::normal::{Normalized, Spelled};
use crate::policy::{Depth, PRESETS, Policy};
use crate::rules::{
    self, Boundary, CLASSES_AFTER_DIGITS, Detector, GROUP_MAX, Recognizer, RuleError, Rules, Set, class_after_digits,
};
#[cfg(feature = "tagger")]
use crate::tagger::{self, Tagger};
use crate::token::{Tokens, tail};
use crate::validate::Check;
use crate::{Context, Finding, Query};

/// The score from which a finding counts, unless a rules file says otherwise.
const THRESHOLD: f32 = 0.5;

/// What a context word adds, and what a score with one is at least: Presidio's values. A word against takes as much.
const CONTEXT_RAISE: f32 = 0.35;
const CONTEXT_LEAST: f32 = 0.4;

/// How far context reaches: a sentence before, a label after.
const BEFORE_BYTES: usize = 60;
const AFTER_BYTES: usize = 24;
/// How far context may be from where a candidate starts, which is longer than it is from where it ends.
const NEAR_BYTES: usize = 128;
/// The same in blocks.
const NEAR_BLOCKS: usize = NEAR_BYTES / 64;
/// How far away a key and the message before count as, where two words compete.
const KEY_DISTANCE: usize = 20;
const PREVIOUS_DISTANCE: usize = BEFORE_BYTES + 1;
/// Of the message before, its end.
const PREVIOUS_BYTES: usize = 160;

/// Words longer than this are tried by the rules for words of this length.
const WORD_MAX: usize = 200;
/// No more digits are counted from one place.
const DIGITS_NEAR: usize = 48;
/// A word of letters belongs to the digits after it if it is not longer.
const PREFIX_MAX: usize = 8;
/// What was drawn by lot is a word of so many letters, or of fewer with digits among them.
const LONG_LEAST: usize = 18;
const MIXED_LEAST: usize = 6;
/// In so many values that stand in each other, without a space or a separator, secrets are looked for.
const VALUES_WITHIN_MAX: usize = 16;
/// A key in text is looked for so far back.
const KEY_BACK: usize = 64;

/// What stands less than this before the end of a part of a text may look different when more of it comes: words of
/// context after a value, the rest of a number, an address that is spelled out.
pub(crate) const HOLD_BYTES: usize = 320;

/// A longer text is gone through in parts: what is noted of every word may take ten times the text's own memory.
pub(crate) const WHOLE_BYTES_MAX: usize = 1 << 20;

/// Text encoded in text encoded in text.
const NESTING_MAX: usize = 3;

/// So many letters and digits of a finding are worth hiding when another finding took the rest.
const REMAINDER_LEAST: usize = 4;

/// How sure it is that the line between a person's and a street's is a firm.
#[cfg(feature = "tagger")]
const LETTERHEAD_SCORE: f32 = 0.6;

/// Compiled rules. It has no state besides them: share it in an `Arc`.
pub struct Engine {
    recognizers: Vec<Recognizer>,
    needs: Vec<Needs>,
    /// Whether the policy keeps what a rule finds.
    yields: Vec<bool>,
    lexicon: Lexicon,
    /// The rules for which a word is context.
    by_context: Vec<Set64>,
    /// The rules whose matches may begin with a byte, and those that move back first.
    by_first: Vec<Set64>,
    /// The rules that a literal triggers.
    by_literal: Vec<Vec<u16>>,
    /// The rules for a number, by the digits near; and by the length of its first group and what stands after it.
    by_digits: Vec<Tried>,
    by_shape: Vec<Set64>,
    /// Whether any rule that digits trigger may follow a letter.
    digits_after_letters: bool,
    /// The rules for a word, by its length.
    by_word: Vec<Tried>,
    /// The rules for a word without digits, by its length; and these lengths, as bits.
    by_letters: Vec<Tried>,
    letters_lengths: u64,
    by_value: Vec<u16>,
    /// Words that make a value interesting, and what tells that a key has none of them, which is the usual answer.
    value_words: Set64,
    value_keys: AhoCorasick,
    anywhere: Vec<u16>,
    /// The rules for what no pattern describes.
    detectors: Vec<(Detector, u16)>,
    policy: [u8; 32],
    redaction: Policy,
    threshold: f32,
}

/// Rules that are tried at the same kind of place.
#[derive(Clone, Default)]
struct Tried {
    /// They may reach the threshold by themselves.
    strong: Set64,
    /// They need a word of context.
    weak: Set64,
}

/// A set of rules or of the lexicon's words, by number.
#[derive(Clone, Default)]
struct Set64(Box<[u64]>);

impl Set64 {
    /// Room for so many.
    fn room(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)].into())
    }

    fn of(members: &[u16], count: usize) -> Self {
        let mut set = Self::room(count);
        members.iter().for_each(|&member| set.insert(member));
        set
    }

    fn insert(&mut self, member: u16) {
        self.0[usize::from(member >> 6)] |= 1 << (member & 63);
    }

    fn has(&self, member: u16) -> bool {
        self.0.get(usize::from(member >> 6)).is_some_and(|bits| (bits >> (member & 63)) & 1 == 1)
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }

    fn join(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, other)| *mine |= other);
    }
}

/// What a rule asks of the words near a candidate.
struct Needs {
    context: Set64,
    against: Set64,
    any_context: bool,
    any_against: bool,
    /// The most that it can score without context.
    alone: f32,
}

/// For which rules there is a word of context.
#[derive(Clone, Copy)]
enum Near {
    Nothing,
    /// Those in [`Scan::near_rules`].
    Some,
    /// Every rule is tried, with context or without.
    Anything,
}

/// A word of context in the text.
#[derive(Clone, Copy)]
struct Hit {
    start: usize,
    end: usize,
    word: u16,
}

/// A candidate that passed, in offsets of the normalized text.
#[derive(Clone)]
struct Candidate {
    /// Where its rule began to look: a value may stand after what gives it away.
    anchor: usize,
    start: usize,
    end: usize,
    score: f32,
    rule: usize,
    pattern: usize,
    base: f32,
    context: Option<u16>,
    against: Option<u16>,
}

/// What the pass over a text saw.
#[derive(Default)]
struct Survey {
    /// Where words begin: a bit a byte.
    starts: Vec<u64>,
    /// Where literals stand: the number of their rules.
    literals: Vec<(usize, u16)>,
    /// Words that may stand for a character of an address.
    spelled: Vec<Spelled>,
    /// Where groups of digits begin.
    numbers: Vec<usize>,
    /// Where words begin that may be long enough for the rules for words without digits.
    words: Vec<usize>,
    /// Where words begin that may be encoded text.
    runs: Vec<usize>,
    /// Where `:` and `=` stand.
    assigns: Vec<usize>,
}

/// The words of context in a text, looked up in a block of it when one is asked for.
struct Hits {
    /// Where words begin: a bit a byte.
    starts: Vec<u64>,
    /// For each block that was looked at, which are in it.
    blocks: Vec<Option<(u32, u32)>>,
    all: Vec<Hit>,
}

impl Hits {
    fn new(starts: Vec<u64>) -> Self {
        Self { blocks: vec![None; starts.len()], starts, all: Vec::new() }
    }

    /// Looks up the words that begin in `from..=to`, which is bounded.
    fn look(&mut self, lexicon: &Lexicon, bytes: &[u8], tokens: &Tokens, from: usize, to: usize) {
        for block in from / 64..(to / 64 + 1).min(self.starts.len()) {
            if self.blocks[block].is_none() {
                let first = self.all.len() as u32;
                for bit in Bits(self.starts[block]) {
                    let start = block * 64 + bit;
                    lexicon.context_at(bytes, start, |word, end| {
                        if !tokens.inside(start) {
                            self.all.push(Hit { start, end, word });
                        }
                    });
                }
                self.blocks[block] = Some((first, self.all.len() as u32));
            }
        }
    }

    /// Those of `from..=to`, which were looked up.
    fn within(&self, from: usize, to: usize) -> impl Iterator<Item = Hit> {
        let last = (to / 64 + 1).min(self.blocks.len());
        let blocks = self.blocks.get(from / 64..last).unwrap_or_default().iter().flatten();
        let hits = blocks.flat_map(|&(first, last)| &self.all[first as usize..last as usize]);
        hits.filter(move |hit| (from..=to).contains(&hit.start)).copied()
    }
}

/// What is certain of a part of a text.
pub(crate) struct Part {
    pub(crate) findings: Vec<Finding>,
    /// Where the certain part ends.
    pub(crate) end: usize,
}

/// A scan of one text.
struct Scan<'a> {
    engine: &'a Engine,
    text: &'a str,
    /// Nothing begins before.
    from: usize,
    /// Where the first candidate begins that more text could change.
    open: usize,
    query: &'a Query<'a>,
    threshold: f32,
    /// The weak rules are tried everywhere: somebody asked for everything.
    thorough: bool,
    tokens: Tokens,
    hits: Hits,
    /// Where long words begin, and groups of digits.
    runs: Vec<usize>,
    numbers: Vec<usize>,
    /// The words in what the text stands under, in the message before, and the heads of its columns: once a rule asks.
    /// Most strings of a JSON text interest no rule, so that what is prepared for each of them is what costs.
    key: OnceCell<Vec<u16>>,
    previous: OnceCell<Vec<u16>>,
    columns: OnceCell<Option<Columns>>,
    /// The rules for which a word of context is near the place that was asked for last.
    near_rules: Set64,
    near_at: Option<(usize, Near)>,
    candidates: Vec<Candidate>,
    /// Where each rule goes on after what it found, once one has found something.
    resume: Vec<usize>,
    /// An upper bound of the bytes looked at.
    steps: usize,
}

impl Engine {
    /// The rules in `defaults/recognizers`, those of the default set or all, under the default policy.
    pub fn embedded(set: Set) -> Engine {
        let default = PRESETS[0];
        rules::load(&[default], Some(set)).and_then(Engine::build).expect("a test loads the embedded rules")
    }

    /// The embedded rules under one of the policies in `defaults/policies`; `None` if there is none of that name.
    pub fn preset(name: &str) -> Option<Engine> {
        let preset = PRESETS.iter().find(|(own, _)| *own == name)?;
        Some(rules::load(&[*preset], None).and_then(Engine::build).expect("a test loads the embedded policies"))
    }

    /// The names of the policies in `defaults/policies`.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    /// The embedded rules under a policy from a file (its name and its TOML), which may add recognizers of its own. It
    /// stands on the default policy, or on the one that it `extends`.
    ///
    /// # Errors
    ///
    /// When it is not a policy, or a rule in it cannot work; the error names the file, the line and the rule.
    pub fn with_policy(name: &str, text: &str) -> Result<Engine, RuleError> {
        rules::load(&[PRESETS[0], (name, text)], None).and_then(Engine::build)
    }

    /// The same, as deep as is said here, whatever the policy says. What identifies it ([`Engine::policy`]) is another than
    /// without.
    ///
    /// # Errors
    ///
    /// As [`Engine::with_policy`].
    pub fn with_policy_at(name: &str, text: &str, depth: Depth) -> Result<Engine, RuleError> {
        let over = format!("depth = \"{}\"\n", depth.as_str());
        rules::load(&[PRESETS[0], (name, text), ("depth", &over)], None).and_then(Engine::build)
    }

    /// Rules from files (their names and their TOML) alone, by the parser that reads the embedded ones.
    ///
    /// # Errors
    ///
    /// As [`Engine::with_policy`].
    pub fn from_rules(files: &[(&str, &str)]) -> Result<Engine, RuleError> {
        rules::alone(files).and_then(Engine::build)
    }

    fn build(rules: Rules) -> Result<Engine, RuleError> {
        let Rules { mut recognizers, threshold, policy: redaction, files } = rules;
        recognizers.retain(|r| r.depth <= redaction.depth);
        let mut policy = Sha256::new();
        policy.update((recognizers.len() as u64).to_be_bytes());
        for (name, text) in files {
            // With lengths, so that moving text from one file to another makes another policy.
            for part in [name, text] {
                policy.update((part.len() as u64).to_be_bytes());
                policy.update(part.as_bytes());
            }
        }
        let threshold = threshold.unwrap_or(THRESHOLD);
        if recognizers.len() >= usize::from(u16::MAX) {
            return Err(RuleError::TooMany);
        }

        let yields = recognizers.iter().map(|r| redaction.keeps(&r.entity, &r.name)).collect();
        let mut builder = lexicon::Builder::default();
        let mut by_literal: Vec<Vec<u16>> = Vec::new();
        let mut literals: BTreeMap<String, usize> = BTreeMap::new();
        let mut words = Vec::new();
        for (rule, recognizer) in recognizers.iter().enumerate() {
            for literal in &recognizer.trigger.literals {
                let number = *literals.entry(literal.to_ascii_lowercase()).or_insert(by_literal.len());
                if number == by_literal.len() {
                    by_literal.push(Vec::new());
                    builder.literal(literal, number as u16);
                }
                if by_literal[number].last() != Some(&(rule as u16)) {
                    by_literal[number].push(rule as u16);
                }
            }
            let mut numbers = |list: &[String]| list.iter().map(|word| builder.word(word)).collect::<Vec<_>>();
            words.push((numbers(&recognizer.context), numbers(&recognizer.against)));
        }
        let count = builder.words();
        let needs: Vec<Needs> = recognizers
            .iter()
            .zip(&words)
            .map(|(recognizer, (context, against))| Needs {
                context: Set64::of(context, count),
                against: Set64::of(against, count),
                any_context: !context.is_empty(),
                any_against: !against.is_empty(),
                alone: recognizer
                    .patterns
                    .iter()
                    .map(|pattern| if pattern.needs_context { 0.0 } else { pattern.score })
                    .fold(0.0, f32::max),
            })
            .collect();

        let none = Set64::room(recognizers.len());
        let mut by_context = vec![none.clone(); count];
        let mut by_first = vec![none.clone(); 256];
        let mut by_shape = vec![none.clone(); (GROUP_MAX + 1) * CLASSES_AFTER_DIGITS];
        let untried = Tried { strong: none.clone(), weak: none };
        let mut by_digits = vec![untried.clone(); DIGITS_NEAR + 1];
        let mut by_word = vec![untried.clone(); WORD_MAX + 1];
        let mut by_letters = vec![untried; WORD_MAX + 1];
        let mut letters_lengths = 0;
        let mut by_value = Vec::new();
        let mut value_words = Vec::new();
        let mut anywhere = Vec::new();
        let mut detectors = Vec::new();
        let mut digits_after_letters = false;
        for (rule, recognizer) in recognizers.iter().enumerate() {
            let trigger = &recognizer.trigger;
            for &word in &words[rule].0 {
                by_context[usize::from(word)].insert(rule as u16);
            }
            for byte in 0..=255 {
                if trigger.back.is_some() || recognizer.first.has(byte) {
                    by_first[usize::from(byte)].insert(rule as u16);
                }
            }
            for (length, classes) in recognizer.shape.0.iter().enumerate() {
                for class in (0..CLASSES_AFTER_DIGITS).filter(|class| (classes >> class) & 1 == 1) {
                    by_shape[length * CLASSES_AFTER_DIGITS + class].insert(rule as u16);
                }
            }
            let strong = needs[rule].alone >= threshold;
            let add = |table: &mut [Tried], least: usize, most: usize| {
                let end = most.min(table.len() - 1);
                for rules in &mut table[least.min(end)..=end] {
                    if strong { &mut rules.strong } else { &mut rules.weak }.insert(rule as u16);
                }
            };
            if let Some((least, most)) = trigger.digits {
                add(&mut by_digits, least, most);
                digits_after_letters |= recognizer.boundary == Boundary::None;
            }
            if let Some((least, most)) = trigger.word {
                add(&mut by_word, least, most);
                if trigger.letters {
                    add(&mut by_letters, least, most);
                    letters_lengths |= (least..=most.min(63)).fold(0, |bits, length| bits | 1u64 << length);
                }
            }
            if trigger.value {
                by_value.push(rule as u16);
                value_words.extend_from_slice(&words[rule].0);
            }
            match recognizer.detector {
                Some(detector) => detectors.push((detector, rule as u16)),
                None if trigger.anywhere() => anywhere.push(rule as u16),
                _ => {}
            }
        }
        let longest = |word: &str| word.split(' ').max_by_key(|part| part.len()).unwrap_or_default().to_owned();
        let value_keys =
            by_value.iter().flat_map(|rule| &recognizers[usize::from(*rule)].context).map(|word| longest(word));
        let value_keys = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(value_keys)
            .map_err(RuleError::Literals)?;
        Ok(Engine {
            value_keys,
            lexicon: builder.build().map_err(RuleError::Literals)?,
            needs,
            yields,
            recognizers,
            by_context,
            by_first,
            by_literal,
            by_digits,
            by_shape,
            digits_after_letters,
            by_word,
            by_letters,
            letters_lengths,
            by_value,
            value_words: Set64::of(&value_words, count),
            anywhere,
            detectors,
            policy: policy.finalize().into(),
            redaction,
            threshold,
        })
    }

    /// SHA-256 over the rule files and the set: identifies the policy under which something was redacted.
    pub fn policy(&self) -> [u8; 32] {
        self.policy
    }

    /// How far its policy's detection goes.
    pub fn depth(&self) -> Depth {
        self.redaction.depth
    }

    /// What is done with what is found.
    pub(crate) fn redaction(&self) -> &Policy {
        &self.redaction
    }

    /// The score from which a finding counts.
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Every entity that some rule can find, in alphabetical order.
    pub fn entities(&self) -> Vec<&str> {
        let mut entities: Vec<&str> = self.recognizers.iter().map(|r| &*r.entity).collect();
        entities.sort_unstable();
        entities.dedup();
        entities
    }

    /// A word of context for each rule for an entity that has some, and none.
    pub(crate) fn context_words(&self, entity: &str) -> impl Iterator<Item = Option<&str>> {
        let rules = self.recognizers.iter().filter(move |r| *r.entity == *entity);
        std::iter::once(None).chain(rules.filter_map(|r| r.context.first()).map(|word| Some(word.as_str())))
    }

    /// The recognizers: their names, entities, countries and languages, in the order of the files.
    pub fn recognizers(&self) -> impl Iterator<Item = crate::About<'_>> {
        self.recognizers.iter().map(|r| crate::About {
            name: &r.name,
            entity: &r.entity,
            country: r.country.as_deref(),
            languages: &r.languages,
        })
    }

    /// What is found in `text`, in order and without overlaps, with at least the threshold's score.
    pub fn scan(&self, text: &str, context: Context<'_>) -> Vec<Finding> {
        self.analyze(text, &Query { context, ..Query::default() })
    }

    /// The same with another threshold, and only for some entities.
    pub fn analyze(&self, text: &str, query: &Query<'_>) -> Vec<Finding> {
        if text.len() > WHOLE_BYTES_MAX {
            let mut stream = crate::Stream::new(self, *query);
            let mut findings = stream.feed(text);
            findings.extend(stream.finish());
            return findings;
        }
        let mut steps = 0;
        let found = self.find(text, query, 0, &mut steps).into_iter().map(|candidate| self.finding(candidate));
        self.with_detected(text, query, found.collect())
    }

    fn finding(&self, c: Candidate) -> Finding {
        let recognizer = &self.recognizers[c.rule];
        let pattern = &recognizer.patterns[c.pattern];
        Finding {
            entity: recognizer.entity.clone(),
            start: c.start,
            end: c.end,
            score: c.score,
            recognizer: recognizer.name.clone(),
            pattern: pattern.name.clone(),
            base: c.base,
            validator: pattern.validator.as_ref().map(|(name, _)| name.clone()),
            context: c.context.map(|word| self.lexicon.word(word)),
            against: c.against.map(|word| self.lexicon.word(word)),
        }
    }

    /// What is found, resolved, in offsets of `text`; in what is encoded in it too, down to [`NESTING_MAX`].
    fn find(&self, text: &str, query: &Query<'_>, nesting: usize, steps: &mut usize) -> Vec<Candidate> {
        let (mut normalized, mut survey) = self.plain(text);
        let plain = normalized.as_ref().map_or(text, |n| n.text.as_str());
        let mut scan = Scan::new(self, plain, query, &mut survey);
        scan.all(&survey);
        *steps += scan.steps;
        let Scan { mut candidates, runs, .. } = scan;
        self.encoded(plain, query, 0, &runs, nesting, steps, &mut candidates);
        let mut found = resolve(candidates, self, plain);
        if let Some(normalized) = &mut normalized {
            for candidate in &mut found {
                (candidate.start, candidate.end) = normalized.original(candidate.start, candidate.end);
            }
        }
        found
    }

    /// The text as a reader sees it, if that is not how it is written, and what stands where in it.
    fn plain(&self, text: &str) -> (Option<Normalized>, Survey) {
        let normalized = Normalized::new(text);
        let survey = self.survey(normalized.as_ref().map_or(text, |n| &n.text));
        if survey.spelled.is_empty() && survey.numbers.len() < 2 {
            return (normalized, survey);
        }
        match Normalized::respell(normalized, text, &survey.spelled, &survey.numbers) {
            Ok(respelled) => {
                let survey = self.survey(&respelled.text);
                (Some(respelled), survey)
            }
            Err(unchanged) => (unchanged, survey),
        }
    }

    /// Adds what is found in encoded runs; returns where the first of them begins that may go on after the text.
    #[allow(clippy::too_many_arguments, reason = "a step of `find` and of `part`, which share it")]
    fn encoded(
        &self,
        plain: &str,
        query: &Query<'_>,
        from: usize,
        runs: &[usize],
        nesting: usize,
        steps: &mut usize,
        candidates: &mut Vec<Candidate>,
    ) -> usize {
        let mut open = plain.len();
        if nesting == NESTING_MAX {
            return open;
        }
        let mut least = from;
        for &run in runs {
            if run < least {
                continue;
            }
            let Some(decoded) = encoded::decode(plain, run, least) else { continue };
            least = decoded.end;
            if decoded.end + HOLD_BYTES > plain.len() {
                open = open.min(decoded.start());
            }
            for inner in self.find(&decoded.text, query, nesting + 1, steps) {
                let (start, end) = decoded.original(inner.start, inner.end);
                candidates.push(Candidate { anchor: start, start, end, ..inner });
            }
        }
        open
    }

    /// What the rules found, together with what the detectors find in a text.
    pub(crate) fn with_detected(&self, text: &str, query: &Query<'_>, findings: Vec<Finding>) -> Vec<Finding> {
        let asked = |(_, rule): &&(Detector, u16)| asked_for(query, &self.recognizers[usize::from(*rule)]);
        let asked: Vec<_> = self.detectors.iter().filter(asked).collect();
        if asked.is_empty() {
            return findings;
        }
        let normalized = Normalized::new(text);
        let plain = normalized.as_ref().map_or(text, |n| n.text.as_str());
        let threshold = query.threshold.unwrap_or(self.threshold);
        let tokens = Tokens::of(plain);
        let mut all = findings;
        let mut add = |rule: u16, start: usize, end: usize, score: f32| {
            if score < threshold || tokens.cover(start, end) {
                return;
            }
            let (start, end) = tokens.around(start, end);
            let (start, end) = normalized.as_ref().map_or((start, end), |n| n.original(start, end));
            let recognizer = &self.recognizers[usize::from(rule)];
            all.push(Finding::of_other(&recognizer.entity, &recognizer.name, start..end, score));
        };
        #[cfg(feature = "tagger")]
        let mut names = None;
        let mut addresses = Vec::new();
        for (detector, rule) in &asked {
            match detector {
                Detector::Address => {
                    for found in address::find(plain) {
                        add(*rule, found.start, found.end, found.score);
                        addresses.push((found.start, found.end));
                    }
                }
                #[cfg(feature = "tagger")]
                Detector::Tagger => {
                    let entity = &self.recognizers[usize::from(*rule)].entity;
                    let names = names.get_or_insert_with(|| Tagger::embedded().tag(plain));
                    let own = names.iter().filter(|name| name.entity.name() == &**entity);
                    own.for_each(|name| add(*rule, name.start, name.end, name.score));
                }
                #[cfg(not(feature = "tagger"))]
                Detector::Tagger => {}
            }
        }
        #[cfg(feature = "tagger")]
        if let Some(names) = names.filter(|_| !addresses.is_empty()) {
            let people = names
                .iter()
                .filter(|n| n.entity == tagger::Entity::Person)
                .map(|n| (n.start, n.end))
                .collect::<Vec<_>>();
            let organization = tagger::Entity::Organization.name();
            let rule = asked.iter().find(|(_, rule)| &*self.recognizers[usize::from(*rule)].entity == organization);
            for (start, end) in letterhead::firms(plain, &people, &addresses) {
                if let Some((_, rule)) = rule.filter(|_| !names.iter().any(|n| n.start < end && n.end > start)) {
                    add(*rule, start, end, LETTERHEAD_SCORE);
                }
            }
        }
        self.settled(all, text)
    }

    /// Whether what is found in a text depends on the names in those before it.
    pub fn remembers_names(&self) -> bool {
        self.detects()
    }

    /// Whether there are detectors besides the rules.
    pub(crate) fn detects(&self) -> bool {
        !self.detectors.is_empty()
    }

    /// The engine's findings in a text and those of others, by the same rule as the engine's among each other. What others found has
    /// passed a threshold of their own; one of the policy for its entity holds for it too.
    pub fn joined(&self, text: &str, findings: Vec<Finding>, others: &[Finding]) -> Vec<Finding> {
        let policy = self.redaction();
        let tokens = crate::token::tokens_in(text);
        let mut all = findings;
        for other in others {
            let wanted =
                policy.entities.as_ref().is_none_or(|only| only.iter().any(|entity| **entity == *other.entity));
            if !wanted || !policy.counts(&other.entity, other.score, &text[other.start..other.end], 0.0) {
                continue;
            }
            // A token stays whole.
            let mut from = other.start;
            let inside = tokens.iter().filter(|token| token.0 < other.end && token.1 > other.start);
            let mut pieces = Vec::new();
            for &(start, end) in inside {
                pieces.push((from, start));
                from = end;
            }
            if pieces.is_empty() {
                all.push(other.clone());
                continue;
            }
            pieces.push((from, other.end));
            let left = pieces.into_iter().filter_map(|(from, to)| remainder(text, from, to));
            all.extend(left.map(|(start, end)| other.at(start, end)));
        }
        self.settled(all, text)
    }

    /// Of findings from several sources, those that stay.
    pub(crate) fn settled(&self, findings: Vec<Finding>, text: &str) -> Vec<Finding> {
        let yields = |finding: &Finding| self.redaction.keeps(&finding.entity, &finding.recognizer);
        settle(findings, yields, |a, b| a.entity.cmp(&b.entity).then_with(|| a.recognizer.cmp(&b.recognizer)), text)
    }

    /// A part of a longer text, for [`crate::Stream`]: what begins in `text` from `from` on and ends before the place that
    /// is returned with it, from which on more text could change what is found. With `last`, no more text comes.
    pub(crate) fn part(
        &self,
        text: &str,
        from: usize,
        query: &Query<'_>,
        columns: &mut Option<Columns>,
        last: bool,
    ) -> Part {
        let mut steps = 0;
        let (normalized, mut survey) = self.plain(text);
        let plain = normalized.as_ref().map_or(text, |n| n.text.as_str());
        let forth = |at: usize| normalized.as_ref().map_or(at, |n| n.plain(at));
        let back = |start: usize, end: usize| normalized.as_ref().map_or((start, end), |n| n.original(start, end));
        let from = forth(from);
        let mut scan = Scan::new(self, plain, query, &mut survey);
        scan.from = from;
        let _ = scan.columns.set(columns.take().or_else(|| Columns::of(plain, &self.lexicon)));
        scan.all(&survey);
        *columns = scan.columns.take().flatten();
        let Scan { mut candidates, runs, open, .. } = scan;
        let open = open.min(self.encoded(plain, query, from, &runs, 0, &mut steps, &mut candidates));

        // The last space before what is open that no candidate covers.
        let mut end = plain.len();
        if !last {
            let limit = open.min(plain.len().saturating_sub(HOLD_BYTES)).max(from);
            let covered = covered(candidates.iter().map(|c| (c.anchor, c.end)).collect());
            end = plain.floor_char_boundary(limit);
            loop {
                let Some(space) = memchr::memrchr2(b' ', b'\n', &plain.as_bytes()[from..end]) else {
                    end = from;
                    break;
                };
                let cut = from + space + 1;
                let i = covered.partition_point(|(start, _)| *start < cut);
                match i.checked_sub(1).map(|i| covered[i]).filter(|(_, stop)| cut < *stop) {
                    Some((start, _)) => end = start,
                    None if back(cut, cut + 1).0 == back(cut - 1, cut).1 => {
                        end = cut;
                        break;
                    }
                    None => end = cut - 1,
                }
                if end <= from {
                    end = from;
                    break;
                }
            }
            candidates.retain(|c| c.anchor < end);
        }
        let findings = resolve(candidates, self, plain)
            .into_iter()
            .map(|c| {
                let (start, end) = back(c.start, c.end);
                self.finding(Candidate { start, end, ..c })
            })
            .collect();
        let end = if end == plain.len() { text.len() } else { back(end, end + 1).0 };
        Part { findings, end }
    }

    /// Whether a key may have one of the words that make its value interesting. Capitals outside ASCII are not compared
    /// here, so any key with such letters may.
    fn may_name_a_value(&self, key: &str) -> bool {
        !key.is_ascii() || self.value_keys.is_match(key)
    }

    /// The words of context at the end of a text.
    fn words_in(&self, text: &str) -> Vec<u16> {
        let text = tail(text, PREVIOUS_BYTES);
        let mut hits = Hits::new(self.survey(text).starts);
        hits.look(&self.lexicon, text.as_bytes(), &Tokens::of(text), 0, text.len());
        hits.within(0, text.len()).map(|hit| hit.word).collect()
    }

    #[cfg(test)]
    pub(crate) fn rules(&self) -> &[Recognizer] {
        &self.recognizers
    }

    #[cfg(test)]
    pub(crate) fn steps(&self, text: &str) -> usize {
        {
            let mut steps = 0;
            self.find(text, &Query::default(), 0, &mut steps);
            steps
        }
    }
}

impl Engine {
    /// The pass over the text: what stands where.
    fn survey(&self, text: &str) -> Survey {
        let bytes = text.as_bytes();
        let mut survey = Survey { starts: Vec::with_capacity(bytes.len().div_ceil(64)), ..Survey::default() };
        let mut padded = [0u8; 64];
        // The last byte of the block before: whether it belonged to a word, was a digit, was a small letter.
        let (mut word_before, mut digit_before, mut lower_before, mut outside_before) = (0, 0, 0, 0);
        let mut long = LongWords::default();
        let mut base = 0;
        while base < bytes.len() {
            let block = match bytes[base..].first_chunk::<64>() {
                Some(block) => block,
                None => {
                    let rest = &bytes[base..];
                    padded[..rest.len()].copy_from_slice(rest);
                    padded[rest.len()..].fill(0);
                    &padded
                }
            };
            let m = masks(block);
            let lower = m.word & !m.digit & !m.upper;
            // Scripts that write without spaces may have a word of Latin letters anywhere.
            let ascii = m.word & !m.outside;
            let begins = (m.word & !(m.word << 1 | word_before)) | (ascii & (m.outside << 1 | outside_before));
            let humps = m.upper & (lower << 1 | lower_before);
            let numbers = m.digit & !(m.digit << 1 | digit_before);
            word_before = m.word >> 63;
            outside_before = m.outside >> 63;
            digit_before = m.digit >> 63;
            lower_before = lower >> 63;

            let starts = begins | humps | m.lead;
            survey.starts.push(starts);
            for bit in Bits(starts) {
                let at = base + bit;
                self.lexicon.at_word(bytes, at, |entry, end| match entry {
                    Entry::Spelled { at: is_at } => survey.spelled.push(Spelled { start: at, end, at: is_at }),
                    Entry::Literal(rules) => survey.literals.push((at, rules)),
                    Entry::Word(_) => {}
                });
            }
            if self.letters_lengths != 0 {
                for bit in Bits(starts) {
                    let length = (!(m.word >> bit)).trailing_zeros() as usize;
                    if bit + length == 64 || (self.letters_lengths >> length) & 1 == 1 {
                        survey.words.push(base + bit);
                    }
                }
            }
            long.add(m.word, begins, base, &mut survey.runs);
            for bit in Bits(numbers) {
                survey.numbers.push(base + bit);
            }
            for bit in Bits(m.special) {
                let at = base + bit;
                if matches!(bytes[at], b':' | b'=') {
                    survey.assigns.push(at);
                }
                self.lexicon.at_special(bytes, at, |rules| survey.literals.push((at, rules)));
            }
            base += 64;
        }
        survey
    }
}

/// Where words of [`encoded::RUN_LEAST`] bytes and more begin, also over the end of a block.
#[derive(Default)]
struct LongWords {
    /// The masks of the block before.
    word: u64,
    begins: u64,
}

impl LongWords {
    fn add(&mut self, word: u64, begins: u64, base: usize, runs: &mut Vec<usize>) {
        const { assert!(encoded::RUN_LEAST == 16) }
        let both = |before: u64, now: u64| u128::from(before) | u128::from(now) << 64;
        // Bits from which on sixteen are set.
        let mut sixteen = both(self.word, word);
        for shift in [1, 2, 4, 8] {
            sixteen &= sixteen >> shift;
        }
        // Words whose sixteenth byte lies in this block.
        let mut found = sixteen & both(self.begins, begins) & (u128::from(u64::MAX) << (64 - 15));
        while found != 0 {
            runs.push(base + found.trailing_zeros() as usize - 64);
            found &= found - 1;
        }
        (self.word, self.begins) = (word, begins);
    }
}

impl<'a> Scan<'a> {
    fn new(engine: &'a Engine, text: &'a str, query: &'a Query<'a>, survey: &mut Survey) -> Self {
        let threshold = query.threshold.unwrap_or(engine.threshold);
        Self {
            engine,
            text,
            from: 0,
            open: text.len(),
            query,
            threshold,
            thorough: threshold < engine.threshold,
            tokens: Tokens::of(text),
            hits: Hits::new(std::mem::take(&mut survey.starts)),
            runs: std::mem::take(&mut survey.runs),
            numbers: std::mem::take(&mut survey.numbers),
            key: OnceCell::new(),
            previous: OnceCell::new(),
            columns: OnceCell::new(),
            near_rules: Set64::default(),
            near_at: None,
            candidates: Vec::new(),
            resume: Vec::new(),
            steps: text.len(),
        }
    }

    /// Everything, in the order on which results depend.
    fn all(&mut self, survey: &Survey) {
        self.whole_value();
        self.at_literals(&survey.literals);
        self.at_values(&survey.assigns);
        self.resume.fill(0);
        self.at_numbers();
        self.at_words(&survey.words);
        self.anywhere();
    }

    /// The text itself, if it stands under a key.
    fn whole_value(&mut self) {
        let interesting = |key: &str| self.thorough || self.engine.may_name_a_value(key);
        if self.from == 0 && self.query.context.key.is_some_and(interesting) {
            let from = self.text.len() - self.text.trim_start().len();
            let key = self.key().to_vec();
            self.at_value(from, &key);
        }
    }

    fn at_value(&mut self, start: usize, key: &[u16]) {
        let engine = self.engine;
        if !self.thorough && !key.iter().any(|&word| engine.value_words.has(word)) {
            return;
        }
        for &rule in &engine.by_value {
            self.attempt(rule, start, Some(key));
        }
    }

    fn at_literals(&mut self, literals: &[(usize, u16)]) {
        let engine = self.engine;
        for &(at, rules) in literals {
            for &rule in &engine.by_literal[usize::from(rules)] {
                let weak = engine.needs[usize::from(rule)].alone < self.threshold;
                if weak && !self.is_near(rule, at) {
                    continue;
                }
                let start = self.moved_back(rule, at);
                self.attempt(rule, start, None);
            }
        }
    }

    /// Where a rule's candidate begins, if it may have bytes before what triggered it.
    fn moved_back(&mut self, rule: u16, at: usize) -> usize {
        let trigger = &self.engine.recognizers[usize::from(rule)].trigger;
        let Some(class) = &trigger.back else { return at };
        let bytes = self.text.as_bytes();
        let least = at.saturating_sub(trigger.back_max).max(self.resume_of(rule)).max(self.from.min(at));
        let mut start = at;
        while start > least && class[bytes[start - 1] as usize] {
            start -= 1;
        }
        self.steps += at - start;
        self.text.ceil_char_boundary(start).min(at)
    }

    /// Values under keys in text: `key = value`, `"key": "value"`, `key => 'value'`.
    fn at_values(&mut self, assigns: &[usize]) {
        let engine = self.engine;
        if engine.by_value.is_empty() {
            return;
        }
        let bytes = self.text.as_bytes();
        // Values within values, `a=b=c=…`: each would be looked at to its end.
        let (mut last, mut within) = (0, 0);
        for &at in assigns {
            let apart =
                |b: &u8| b.is_ascii_whitespace() || matches!(b, b'&' | b';' | b',' | b'"' | b'\'' | b'{' | b'}');
            within = if bytes[last..at].iter().any(apart) { 0 } else { within + 1 };
            last = at;
            if within > VALUES_WITHIN_MAX {
                continue;
            }
            let before = &bytes[..at];
            let closed = before
                .iter()
                .rev()
                .take(4)
                .take_while(|b| matches!(b, b' ' | b'\t' | b'"' | b'\'' | b'`' | b'\\' | b')' | b']' | b':'))
                .count();
            let named = &before[..at - closed];
            let length = named
                .iter()
                .rev()
                .take(KEY_BACK)
                .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.') || !b.is_ascii())
                .count();
            if length < 2 {
                continue;
            }
            let from = self.text.ceil_char_boundary(named.len() - length);
            self.steps += length + 8;
            if !engine.may_name_a_value(&self.text[from..named.len()]) {
                continue;
            }
            let key = engine.lexicon.in_key(&self.text[from..named.len()]);
            if key.is_empty() || self.tokens.inside(from) {
                continue;
            }
            let mut start = at + 1;
            let skip = |start: usize, most: usize, which: fn(&u8) -> bool| {
                bytes[start.min(bytes.len())..].iter().take(most).take_while(|b| which(b)).count()
            };
            start += skip(start, 2, |b| matches!(b, b'=' | b'>'));
            start += skip(start, 8, |b| matches!(b, b' ' | b'\t'));
            start += skip(start, 4, |b| matches!(b, b'"' | b'\'' | b'`' | b'\\'));
            self.at_value(start, &key);
        }
    }

    fn at_numbers(&mut self) {
        let engine = self.engine;
        let bytes = self.text.as_bytes();
        // Where the word ends that was tried last, and where it began.
        let (mut begun, mut ended) = (0, 0);
        for i in 0..self.numbers.len() {
            let number = self.numbers[i];
            let mut after_letter = number > 0 && bytes[number - 1].is_ascii_alphabetic();
            if number >= ended {
                let start =
                    number - bytes[ended..number].iter().rev().take_while(|b| b.is_ascii_alphanumeric()).count();
                let end = number + bytes[number..].iter().take_while(|b| b.is_ascii_alphanumeric()).count();
                self.steps += end - start;
                self.before_digits(start, ended.max(begun));
                self.try_rules(&engine.by_word[(end - start).min(WORD_MAX)], start, None);
                (begun, ended) = (start, end);
            } else {
                // In the middle of a word.
                after_letter = true;
            }
            if after_letter && !engine.digits_after_letters {
                continue;
            }
            let near = digits_near(bytes, number);
            self.steps += DIGITS_NEAR;
            let length = bytes[number..].iter().take_while(|b| b.is_ascii_digit()).count();
            let class = class_after_digits(bytes.get(number + length).copied());
            let shape = &engine.by_shape[length.min(GROUP_MAX) * CLASSES_AFTER_DIGITS + class];
            self.try_rules(&engine.by_digits[near], number, Some(shape));
        }
    }

    /// The words of letters before a word with digits: `AB 12 34 56 C`, `M-AB 1234`.
    fn before_digits(&mut self, at: usize, least: usize) {
        let engine = self.engine;
        let bytes = self.text.as_bytes();
        let mut starts = [(0, 0); 2];
        let mut count = 0;
        let mut at = at;
        while count < starts.len() {
            let before = &bytes[least..at];
            let gap = before.iter().rev().take(4).take_while(|b| matches!(b, b' ' | b'-' | b'.' | b'/')).count();
            let end = at - gap;
            let length =
                bytes[least..end].iter().rev().take(PREFIX_MAX + 1).take_while(|b| b.is_ascii_alphabetic()).count();
            if gap > 3 || gap == 0 || length == 0 || length > PREFIX_MAX {
                break;
            }
            starts[count] = (end - length, length);
            count += 1;
            at = end - length;
        }
        for &(start, length) in starts[..count].iter().rev() {
            self.try_rules(&engine.by_word[length], start, None);
        }
    }

    /// Words without digits, for the rules that want them.
    fn at_words(&mut self, words: &[usize]) {
        let engine = self.engine;
        let bytes = self.text.as_bytes();
        for &start in words {
            let length = bytes[start..].iter().take(WORD_MAX).take_while(|b| b.is_ascii_alphabetic()).count();
            self.steps += length;
            if bytes.get(start + length).is_none_or(|b| !b.is_ascii_digit()) {
                self.try_rules(&engine.by_letters[length], start, None);
            }
        }
    }

    fn anywhere(&mut self) {
        let engine = self.engine;
        for &rule in &engine.anywhere {
            let recognizer = &engine.recognizers[usize::from(rule)];
            let mut at = 0;
            while at < self.text.len() {
                self.steps += recognizer.window;
                if recognizer.first.has(self.text.as_bytes()[at]) {
                    self.attempt(rule, at, None);
                }
                at = self.text.ceil_char_boundary(at + 1).max(self.resume_of(rule));
            }
        }
    }

    fn try_rules(&mut self, rules: &Tried, start: usize, shape: Option<&Set64>) {
        let engine = self.engine;
        let first = &engine.by_first[usize::from(self.text.as_bytes()[start])];
        // Sixty-four rules at a time, because most of these words are empty.
        for i in 0..first.0.len() {
            let fit = first.0[i] & shape.map_or(u64::MAX, |shape| shape.0[i]);
            let mut tried = rules.strong.0[i] & fit;
            let weak = rules.weak.0[i] & fit;
            if weak != 0 {
                tried |= weak
                    & match self.near(start) {
                        Near::Nothing => 0,
                        Near::Anything => u64::MAX,
                        Near::Some => self.near_rules.0[i],
                    };
            }
            for bit in Bits(tried) {
                let rule = (i * 64 + bit) as u16;
                let at = if shape.is_some() { self.moved_back(rule, start) } else { start };
                self.attempt(rule, at, None);
            }
        }
    }

    /// For which rules a word of context is near a candidate that starts here, or a little further: in `near_rules`, if
    /// only for some.
    fn near(&mut self, start: usize) -> Near {
        if self.thorough {
            return Near::Anything;
        }
        // The same for all places in a block, but for those in a table.
        let block = start / 64;
        let table = self.columns().is_some();
        let place = if table { start } else { block };
        if let Some((at, near)) = self.near_at
            && at == place
        {
            return near;
        }
        let mut rules = std::mem::take(&mut self.near_rules);
        if rules.0.is_empty() {
            rules = Set64::room(self.engine.recognizers.len());
        }
        rules.clear();
        let (first, last) = (block.saturating_sub(NEAR_BLOCKS) * 64, (block + NEAR_BLOCKS) * 64 + 63);
        self.hits.look(&self.engine.lexicon, self.text.as_bytes(), &self.tokens, first, last);
        let mut near = Near::Nothing;
        let mut add = |word: u16| {
            near = Near::Some;
            rules.join(&self.engine.by_context[usize::from(word)]);
        };
        self.hits.within(first, last).for_each(|hit| add(hit.word));
        [self.key(), self.previous(), if table { self.column(start) } else { &[] }]
            .into_iter()
            .flatten()
            .for_each(|&word| add(word));
        self.near_rules = rules;
        self.near_at = Some((place, near));
        near
    }

    fn is_near(&mut self, rule: u16, start: usize) -> bool {
        match self.near(start) {
            Near::Nothing => false,
            Near::Some => self.near_rules.has(rule),
            Near::Anything => true,
        }
    }

    fn key(&self) -> &[u16] {
        let context = &self.query.context;
        self.key.get_or_init(|| context.key.map_or_else(Vec::new, |key| self.engine.lexicon.in_key(key)))
    }

    fn previous(&self) -> &[u16] {
        let context = &self.query.context;
        self.previous.get_or_init(|| context.before.map_or_else(Vec::new, |before| self.engine.words_in(before)))
    }

    fn columns(&self) -> Option<&Columns> {
        self.columns.get_or_init(|| Columns::of(self.text, &self.engine.lexicon)).as_ref()
    }

    fn column(&self, at: usize) -> &[u16] {
        self.columns().map_or(&[], |columns| columns.over(self.text, at))
    }

    /// Tries one rule at one place. Under a key of its own, only the key is context.
    fn attempt(&mut self, rule: u16, start: usize, key: Option<&[u16]>) {
        let engine = self.engine;
        let recognizer = &engine.recognizers[usize::from(rule)];
        let bytes = self.text.as_bytes();
        // With less text after it, more of it or a word of context might still come.
        if start + recognizer.window.max(NEAR_BYTES) > bytes.len() {
            self.open = self.open.min(start);
        }
        if start < self.from
            || start < self.resume_of(rule)
            || start >= bytes.len()
            || !recognizer.first.has(bytes[start])
        {
            return;
        }
        let bounded = recognizer.boundary == Boundary::Word;
        if bounded && letter_before(bytes, start) && is_letter(bytes[start]) {
            return;
        }
        if self.tokens.inside(start) || !asked_for(self.query, recognizer) || !self.worth_trying(recognizer, start) {
            return;
        }
        let limit = (start + recognizer.window).min(bytes.len());
        let input = Input::new(self.text).span(start..limit).anchored(Anchored::Yes);
        let mut best: Option<Candidate> = None;
        for (number, pattern) in recognizer.patterns.iter().enumerate() {
            let Some((from, to)) = pattern.find(&input, &mut self.steps) else { continue };
            let (from, to) = (self.text.floor_char_boundary(from), self.text.ceil_char_boundary(to));
            if from == to || self.tokens.cover(from, to) {
                continue;
            }
            // Context is read only where it can decide.
            let (word, against) = self.context_of(rule, from, to, key);
            if word.is_none() && (pattern.needs_context || pattern.score < self.threshold) {
                continue;
            }
            let (mut from, mut to, mut score) = (from, to, pattern.score);
            if let Some((_, validate)) = &pattern.validator {
                let least = match word {
                    Some(_) if self.threshold <= CONTEXT_LEAST => 0.0,
                    Some(_) => self.threshold - CONTEXT_RAISE - f32::EPSILON,
                    None => self.threshold,
                };
                let check = Check { text: self.text, start: from, end: to, context: word.is_some(), least };
                let Some(verdict) = validate(&check) else { continue };
                (from, to) = (verdict.start, verdict.end);
                score = verdict.score.map_or(score, |own| own.min(score));
            }
            if bounded && letter_after(bytes, to) && to > 0 && is_letter(bytes[to - 1]) {
                continue;
            }
            let base = score;
            if word.is_some() {
                score = (score + CONTEXT_RAISE).clamp(CONTEXT_LEAST, 1.0);
            } else if against.is_some() {
                score = (score - CONTEXT_RAISE).max(0.0);
            }
            if score < self.threshold || from >= to || self.tokens.cover(from, to) {
                continue;
            }
            let (from, to) = self.tokens.around(from, to);
            let longer = |b: &Candidate| (score, to - from) > (b.score, b.end - b.start);
            if best.as_ref().is_none_or(longer) {
                best = Some(Candidate {
                    anchor: start.min(from),
                    start: from,
                    end: to,
                    score,
                    rule: usize::from(rule),
                    pattern: number,
                    base,
                    context: word,
                    against: if word.is_none() { against } else { None },
                });
            }
        }
        if let Some(best) = best {
            if self.resume.is_empty() {
                self.resume = vec![0; engine.recognizers.len()];
            }
            self.resume[usize::from(rule)] = best.end;
            self.candidates.push(best);
        }
    }

    /// What a rule asks of the neighbourhood before its patterns, which may reach far, are tried at all.
    fn worth_trying(&self, recognizer: &Recognizer, start: usize) -> bool {
        let bytes = self.text.as_bytes();
        let trigger = &recognizer.trigger;
        if let Some(within) = trigger.digit_within
            && !bytes[start..].iter().take(within).any(u8::is_ascii_digit)
        {
            return false;
        }
        if let Some(fresh) = trigger.fresh {
            let before = bytes[..start].iter().rev().take(fresh + 1);
            let run = before.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')).count();
            if run > fresh {
                return false;
            }
        }
        if trigger.drawn {
            let end = start + recognizer.window;
            let length = |at: usize, most: usize| {
                bytes[at..].iter().take(most).take_while(|b| b.is_ascii_alphanumeric()).count()
            };
            let long = self.runs[self.runs.partition_point(|run| *run < start)..]
                .iter()
                .take_while(|run| **run < end)
                .any(|run| length(*run, LONG_LEAST) == LONG_LEAST);
            // A word of letters and digits: a part of one is as good, for its first digits are enough.
            return long
                || self.numbers[self.numbers.partition_point(|number| *number < start)..]
                    .iter()
                    .take_while(|number| **number < end)
                    .any(|&number| {
                        let before = bytes[..number].iter().rev().take(MIXED_LEAST);
                        let before = before.take_while(|b| b.is_ascii_alphanumeric()).count();
                        before + length(number, MIXED_LEAST) >= MIXED_LEAST
                    });
        }
        true
    }

    fn resume_of(&self, rule: u16) -> usize {
        self.resume.get(usize::from(rule)).copied().unwrap_or(0)
    }

    /// The rule's nearest word of context to a span, and a word against it that stands nearer.
    fn context_of(&mut self, rule: u16, from: usize, to: usize, key: Option<&[u16]>) -> (Option<u16>, Option<u16>) {
        let needs = &self.engine.needs[usize::from(rule)];
        if !needs.any_context && !needs.any_against {
            return (None, None);
        }
        let mut best: [Option<(usize, u16)>; 2] = [None, None];
        let mut see = |word: u16, distance: usize| {
            for (best, words) in best.iter_mut().zip([&needs.context, &needs.against]) {
                if words.has(word) && best.is_none_or(|(nearest, _)| distance < nearest) {
                    *best = Some((distance, word));
                }
            }
        };
        match key {
            Some(key) => key.iter().for_each(|&word| see(word, KEY_DISTANCE)),
            None => {
                let (first, last) = (from.saturating_sub(NEAR_BYTES), to + AFTER_BYTES);
                self.hits.look(&self.engine.lexicon, self.text.as_bytes(), &self.tokens, first, last);
                for hit in self.hits.within(first, last) {
                    if hit.end <= from && from - hit.end <= BEFORE_BYTES {
                        see(hit.word, from - hit.end);
                    } else if hit.start >= to {
                        see(hit.word, hit.start - to);
                    }
                }
                self.key().iter().for_each(|&word| see(word, KEY_DISTANCE));
                self.column(from).iter().for_each(|&word| see(word, KEY_DISTANCE));
                self.previous().iter().for_each(|&word| see(word, PREVIOUS_DISTANCE));
            }
        }
        match best {
            // Within one key a word against it says what the key is of: `public_key`.
            [Some((a, _)), Some((b, against))] if b < a || key.is_some() => (None, Some(against)),
            [word, against] => (word.map(|(_, w)| w), against.map(|(_, w)| w)),
        }
    }
}

/// Whether a query asks for what a rule finds.
fn asked_for(query: &Query<'_>, recognizer: &Recognizer) -> bool {
    query.entities.is_none_or(|only| only.contains(&&*recognizer.entity))
        && query.language.is_none_or(|language| {
            recognizer.languages.is_empty() || recognizer.languages.iter().any(|own| own == language)
        })
}

/// Spans, joined where they overlap, in order.
fn covered(mut spans: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    spans.sort_unstable();
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (start, end) in spans {
        match joined.last_mut() {
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}

/// A letter or digit of ASCII, or a byte outside it.
fn is_letter(b: u8) -> bool {
    b.is_ascii_alphanumeric() || !b.is_ascii()
}

/// Whether a letter or digit stands before a place, of a script that has spaces between words: beside the others (all are
/// above U+0800) any word may stand. U+0080 to U+00BF is punctuation.
fn letter_before(bytes: &[u8], at: usize) -> bool {
    match bytes[..at] {
        [.., 0xc3..=0xdf, 0x80..=0xbf] => true,
        [.., b] => b.is_ascii_alphanumeric(),
        [] => false,
    }
}

fn letter_after(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, 0xc3..=0xdf))
}

/// How many digits stand from `start` on in groups that at most three separators set apart, within 48 bytes.
fn digits_near(bytes: &[u8], start: usize) -> usize {
    let mut count = 0;
    let mut gap = 0;
    for &b in bytes[start..].iter().take(DIGITS_NEAR) {
        match b {
            b'0'..=b'9' => {
                count += 1;
                gap = 0;
            }
            b' ' | b'-' | b'.' | b'(' | b')' | b'/' if gap < 3 => gap += 1,
            _ => break,
        }
    }
    count
}

/// Something with a place and a score.
pub(crate) trait Spanned: Clone {
    fn span(&self) -> (usize, usize);
    fn score(&self) -> f32;
    /// The same elsewhere.
    fn at(&self, start: usize, end: usize) -> Self;
}

impl Spanned for Candidate {
    fn span(&self) -> (usize, usize) {
        (self.start, self.end)
    }

    fn score(&self) -> f32 {
        self.score
    }

    fn at(&self, start: usize, end: usize) -> Self {
        Self { start, end, ..self.clone() }
    }
}

impl Spanned for Finding {
    fn span(&self) -> (usize, usize) {
        (self.start, self.end)
    }

    fn score(&self) -> f32 {
        self.score
    }

    fn at(&self, start: usize, end: usize) -> Self {
        Self { start, end, ..self.clone() }
    }
}

fn resolve(candidates: Vec<Candidate>, engine: &Engine, text: &str) -> Vec<Candidate> {
    let by_name = |a: &Candidate, b: &Candidate| {
        let (a, b) = (&engine.recognizers[a.rule], &engine.recognizers[b.rule]);
        a.entity.cmp(&b.entity).then_with(|| a.name.cmp(&b.name))
    };
    settle(candidates, |candidate| engine.yields[candidate.rule], by_name, text)
}

/// The findings that stay, in order. See the module's documentation, 5.
pub(crate) fn settle<T: Spanned>(
    mut candidates: Vec<T>,
    yields: impl Fn(&T) -> bool,
    by_name: impl Fn(&T, &T) -> std::cmp::Ordering,
    text: &str,
) -> Vec<T> {
    if candidates.len() < 2 {
        return candidates;
    }
    candidates.sort_by(|a, b| {
        let ((a_start, a_end), (b_start, b_end)) = (a.span(), b.span());
        yields(a)
            .cmp(&yields(b))
            .then(b.score().total_cmp(&a.score()))
            .then((b_end - b_start).cmp(&(a_end - a_start)))
            .then(a_start.cmp(&b_start))
            .then_with(|| by_name(a, b))
    });
    let mut taken: BTreeMap<usize, T> = BTreeMap::new();
    for candidate in candidates {
        // What winners leave of it.
        let (mut from, end) = candidate.span();
        let mut pieces = Vec::new();
        if let Some((_, left)) = taken.range(..=from).next_back() {
            from = from.max(left.span().1);
        }
        for (&start, winner) in taken.range(from..end.max(from)) {
            pieces.push((from, start));
            from = winner.span().1;
        }
        pieces.push((from, end));
        let whole = pieces[..] == [candidate.span()];
        for (from, to) in pieces {
            let kept = if whole { Some((from, to)) } else { remainder(text, from, to) };
            if let Some((start, end)) = kept {
                taken.insert(start, candidate.at(start, end));
            }
        }
    }
    taken.into_values().collect()
}

/// What is worth keeping of a finding of which others took a part.
pub(crate) fn remainder(text: &str, from: usize, to: usize) -> Option<(usize, usize)> {
    let part = text.get(from..to)?;
    let start = part.find(char::is_alphanumeric)?;
    let (last, c) = part.char_indices().rfind(|(_, c)| c.is_alphanumeric())?;
    let end = last + c.len_utf8();
    let count = part[start..end].chars().filter(|c| c.is_alphanumeric()).count();
    (count >= REMAINDER_LEAST).then_some((from + start, from + end))
}
