//! The rules, compiled, and the pass over the text.
//!
//! 1. Fold what the reader does not see ([`crate::normal`]); offsets map back at the end.
//! 2. One Aho-Corasick pass over the literals of all rules, and one loop over bytes for the rules that begin with a
//!    digit or with an IBAN's letters. Both only say where a candidate may *start*.
//! 3. At each start, the rule's patterns, anchored there and bounded by the rule's window; then context words; then the
//!    validator. Most texts have few starts, so the number of rules hardly matters.
//! 4. Of overlapping findings the one with the higher score stays; of equal ones the longer; then the earlier; then the
//!    one whose entity's name comes first. What a loser has outside the winners is kept if it has four letters or
//!    digits: a part of a card number is still a part of a card number.
//!
//! Work is linear in the text: a candidate costs at most the sum of its rules' windows, a start is tried once per rule,
//! and a rule that found something goes on after it. `steps` counts that bound, and tests hold it against input length.
//!
//! Text that is already redacted (`[ENTITY:token]`) is neither found nor read as context.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex_automata::{Anchored, Input};
use sha2::{Digest, Sha256};

use crate::Finding;
use crate::normal::Normalized;
use crate::rules::{self, Boundary, ContextWord, EMBEDDED, Recognizer, RuleError};
use crate::validate::Check;

/// The score from which a finding counts, unless a rules file says otherwise.
const THRESHOLD: f32 = 0.5;

/// What a context word adds, and what a score with one is at least: Presidio's values.
const CONTEXT_RAISE: f32 = 0.35;
const CONTEXT_LEAST: f32 = 0.4;

/// How far context reaches: a sentence before, a label after.
const BEFORE_BYTES: usize = 60;
const BEFORE_WORDS: usize = 8;
const AFTER_BYTES: usize = 24;
const AFTER_WORDS: usize = 2;

/// A key is context; of a very long one, the end.
const KEY_BYTES_MAX: usize = 200;

/// Compiled rules. It has no state besides them: share it in an `Arc`.
pub struct Engine {
    recognizers: Vec<Recognizer>,
    literals: AhoCorasick,
    /// The rules that a literal triggers, by pattern number.
    by_literal: Vec<Vec<usize>>,
    by_digit: Vec<usize>,
    /// Whether any rule that digits trigger may follow a letter. None of the embedded ones may.
    digits_after_letters: bool,
    by_iban: Vec<usize>,
    by_whole: Vec<usize>,
    policy: [u8; 32],
    threshold: f32,
}

/// So many letters and digits of a finding are worth hiding when another finding took the rest.
const REMAINDER_LEAST: usize = 4;

/// A candidate that passed, in offsets of the normalized text.
#[derive(Clone)]
struct Candidate {
    start: usize,
    end: usize,
    score: f32,
    rule: usize,
    pattern: usize,
    context: Option<Arc<str>>,
}

/// A scan of one text.
struct Scan<'a> {
    engine: &'a Engine,
    text: &'a str,
    /// What the text stands under.
    context: Option<&'a str>,
    /// Its words, as [`push_words`] writes them, once a rule asks. Most strings of a JSON text interest no rule, so that
    /// what is prepared for each of them is what costs.
    key: OnceCell<String>,
    threshold: f32,
    entities: Option<&'a [&'a str]>,
    /// Spans of tokens that earlier redaction left.
    tokens: Vec<(usize, usize)>,
    candidates: Vec<Candidate>,
    /// Where each rule goes on after what it found, once one has found something.
    resume: Vec<usize>,
    /// An upper bound of the bytes looked at.
    steps: usize,
}

impl Engine {
    /// The rules in `defaults/recognizers`.
    pub fn embedded() -> Engine {
        Engine::from_rules(EMBEDDED).expect("a test loads the embedded rules")
    }

    /// Rules from files (their names and their TOML), by the parser that reads the embedded ones.
    pub fn from_rules(files: &[(&str, &str)]) -> Result<Engine, RuleError> {
        let mut recognizers = Vec::new();
        let mut threshold = THRESHOLD;
        let mut policy = Sha256::new();
        for (name, text) in files {
            let (more, own_threshold) = rules::parse(name, text)?;
            recognizers.extend(more);
            threshold = own_threshold.unwrap_or(threshold);
            // With lengths, so that moving text from one file to another makes another policy.
            for part in [name, text] {
                policy.update((part.len() as u64).to_be_bytes());
                policy.update(part.as_bytes());
            }
        }
        let mut literals: Vec<String> = Vec::new();
        let mut by_literal: Vec<Vec<usize>> = Vec::new();
        for (rule, recognizer) in recognizers.iter().enumerate() {
            for literal in &recognizer.trigger.literals {
                let literal = literal.to_ascii_lowercase();
                match literals.iter().position(|l| *l == literal) {
                    Some(i) => by_literal[i].push(rule),
                    None => {
                        literals.push(literal);
                        by_literal.push(vec![rule]);
                    }
                }
            }
        }
        let literals = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(&literals)
            .map_err(RuleError::Literals)?;
        let having = |test: fn(&Recognizer) -> bool| {
            recognizers.iter().enumerate().filter(|(_, r)| test(r)).map(|(i, _)| i).collect::<Vec<_>>()
        };
        Ok(Engine {
            by_digit: having(|r| r.trigger.digits.is_some()),
            digits_after_letters: !having(|r| r.trigger.digits.is_some() && r.boundary == Boundary::None).is_empty(),
            by_iban: having(|r| r.trigger.iban),
            by_whole: having(|r| r.trigger.whole),
            recognizers,
            literals,
            by_literal,
            policy: policy.finalize().into(),
            threshold,
        })
    }

    /// SHA-256 over the rule files: identifies the policy under which something was redacted.
    pub fn policy(&self) -> [u8; 32] {
        self.policy
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

    /// What is found in `text`, in order and without overlaps, with at least the threshold's score. `context` is what
    /// the text stands under, such as a JSON key; its words count like words beside the value.
    pub fn scan(&self, text: &str, context: Option<&str>) -> Vec<Finding> {
        self.scan_with(text, context, self.threshold, None)
    }

    /// The same with another threshold, and only for some entities.
    pub fn scan_with(
        &self,
        text: &str,
        context: Option<&str>,
        threshold: f32,
        entities: Option<&[&str]>,
    ) -> Vec<Finding> {
        let normalized = Normalized::new(text);
        let plain = normalized.as_ref().map_or(text, |n| n.text.as_str());
        let (candidates, _steps) = self.candidates(plain, context, threshold, entities);
        resolve(candidates, &self.recognizers, plain)
            .into_iter()
            .map(|c| {
                let recognizer = &self.recognizers[c.rule];
                let (start, end) = match &normalized {
                    Some(n) => n.original(c.start, c.end),
                    None => (c.start, c.end),
                };
                Finding {
                    entity: recognizer.entity.clone(),
                    start,
                    end,
                    score: c.score,
                    recognizer: recognizer.name.clone(),
                    validator: recognizer.patterns[c.pattern].validator.as_ref().map(|(name, _)| name.clone()),
                    context: c.context,
                }
            })
            .collect()
    }

    fn candidates(
        &self,
        text: &str,
        context: Option<&str>,
        threshold: f32,
        entities: Option<&[&str]>,
    ) -> (Vec<Candidate>, usize) {
        let mut scan = Scan {
            engine: self,
            text,
            context,
            key: OnceCell::new(),
            threshold,
            entities,
            tokens: tokens_in(text),
            candidates: Vec::new(),
            resume: Vec::new(),
            steps: text.len(),
        };
        if context.is_some() {
            for &rule in &self.by_whole {
                scan.attempt(rule, 0);
            }
        }
        scan.literals();
        scan.resume.clear();
        scan.classes();
        (scan.candidates, scan.steps)
    }

    #[cfg(test)]
    pub(crate) fn recognizers(&self) -> &[Recognizer] {
        &self.recognizers
    }

    #[cfg(test)]
    pub(crate) fn steps(&self, text: &str) -> usize {
        self.candidates(text, None, self.threshold, None).1
    }
}

impl Scan<'_> {
    fn literals(&mut self) {
        let engine = self.engine;
        let bytes = self.text.as_bytes();
        for found in engine.literals.find_overlapping_iter(self.text) {
            for &rule in &engine.by_literal[found.pattern().as_usize()] {
                let trigger = &engine.recognizers[rule].trigger;
                let mut start = found.start();
                if let Some(class) = &trigger.back {
                    let least = start.saturating_sub(trigger.back_max).max(self.resume_of(rule));
                    while start > least && class[bytes[start - 1] as usize] {
                        start -= 1;
                    }
                    self.steps += found.start() - start;
                    start = self.text.ceil_char_boundary(start);
                }
                self.attempt(rule, start);
            }
        }
    }

    fn classes(&mut self) {
        let engine = self.engine;
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let Some(next) = bytes[at..].iter().position(u8::is_ascii_digit) else { break };
            let start = at + next;
            let mut end = start + 1;
            while end < bytes.len() && bytes[end].is_ascii_digit() {
                end += 1;
            }
            at = end;
            // An IBAN: its check digits are the first two digits after two letters.
            if end - start >= 2 && start >= 2 && bytes[start - 2..start].iter().all(u8::is_ascii_alphabetic) {
                for &rule in &engine.by_iban {
                    self.attempt(rule, start - 2);
                }
            }
            if start > 0 && is_word(bytes[start - 1]) && !engine.digits_after_letters {
                continue;
            }
            let near = digits_near(bytes, start);
            self.steps += 48;
            for &rule in &engine.by_digit {
                if engine.recognizers[rule].trigger.digits.is_some_and(|(least, most)| (least..=most).contains(&near)) {
                    self.attempt(rule, start);
                }
            }
        }
    }

    /// Tries one rule at one place.
    fn attempt(&mut self, rule: usize, start: usize) {
        let engine = self.engine;
        let recognizer = &engine.recognizers[rule];
        let bytes = self.text.as_bytes();
        if start < self.resume_of(rule) || start >= bytes.len() {
            return;
        }
        if recognizer.boundary == Boundary::Word && start > 0 && is_word(bytes[start - 1]) && is_word(bytes[start]) {
            return;
        }
        if self.inside_token(start) {
            return;
        }
        if self.entities.is_some_and(|only| !only.contains(&&*recognizer.entity)) {
            return;
        }
        let limit = (start + recognizer.window).min(bytes.len());
        let input = Input::new(self.text).span(start..limit).anchored(Anchored::Yes);
        let mut best: Option<Candidate> = None;
        let mut context: Option<Option<Arc<str>>> = None;
        for (number, pattern) in recognizer.patterns.iter().enumerate() {
            self.steps += limit - start;
            let Some((from, to)) = pattern.find(&input) else { continue };
            let (from, to) = (self.text.floor_char_boundary(from), self.text.ceil_char_boundary(to));
            if from == to || self.tokens_cover(from, to) {
                continue;
            }
            // Context is read once, and only where it can decide: below a certain score, or if the validator asks.
            let word = context.get_or_insert_with(|| self.context_of(rule, from, to)).clone();
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
                score = verdict.score.unwrap_or(score);
            }
            if word.is_some() {
                score = (score + CONTEXT_RAISE).clamp(CONTEXT_LEAST, 1.0);
            }
            if score < self.threshold || from >= to || self.tokens_cover(from, to) {
                continue;
            }
            let (from, to) = self.around_tokens(from, to);
            let longer = |b: &Candidate| (score, to - from) > (b.score, b.end - b.start);
            if best.as_ref().is_none_or(longer) {
                best = Some(Candidate { start: from, end: to, score, rule, pattern: number, context: word });
            }
        }
        if let Some(best) = best {
            if self.resume.is_empty() {
                self.resume = vec![0; engine.recognizers.len()];
            }
            self.resume[rule] = best.end;
            self.candidates.push(best);
        }
    }

    fn resume_of(&self, rule: usize) -> usize {
        self.resume.get(rule).copied().unwrap_or(0)
    }

    fn key(&self) -> &str {
        self.key.get_or_init(|| {
            let mut key = String::new();
            if let Some(context) = self.context {
                let tokens = tokens_in(context);
                let from = context.ceil_char_boundary(context.len().saturating_sub(KEY_BYTES_MAX));
                key.push(' ');
                push_words(&mut key, &context[from..], from, &tokens, usize::MAX, false);
            }
            key
        })
    }

    /// Whether a token began before this place and goes on.
    fn inside_token(&self, at: usize) -> bool {
        let i = self.tokens.partition_point(|t| t.0 < at);
        i.checked_sub(1).is_some_and(|i| at < self.tokens[i].1)
    }

    /// Whether a span lies inside a token.
    fn tokens_cover(&self, from: usize, to: usize) -> bool {
        let i = self.tokens.partition_point(|t| t.0 <= from);
        i.checked_sub(1).is_some_and(|i| to <= self.tokens[i].1)
    }

    /// A span that cuts into tokens, grown to hold them whole.
    fn around_tokens(&self, mut from: usize, mut to: usize) -> (usize, usize) {
        let i = self.tokens.partition_point(|t| t.1 <= from);
        if let Some(t) = self.tokens.get(i).filter(|t| t.0 < from) {
            from = t.0;
        }
        let i = self.tokens.partition_point(|t| t.0 < to);
        if let Some(t) = i.checked_sub(1).map(|i| self.tokens[i]).filter(|t| t.1 > to) {
            to = t.1;
        }
        (from, to)
    }

    /// The rule's first context word that stands near a span or in the key.
    fn context_of(&mut self, rule: usize, from: usize, to: usize) -> Option<Arc<str>> {
        let words = &self.engine.recognizers[rule].context;
        if words.is_empty() {
            return None;
        }
        self.steps += BEFORE_BYTES + AFTER_BYTES;
        let mut near = String::with_capacity(BEFORE_BYTES + AFTER_BYTES + self.key().len() + 8);
        let before = self.text.ceil_char_boundary(from.saturating_sub(BEFORE_BYTES));
        let after = self.text.floor_char_boundary((to + AFTER_BYTES).min(self.text.len()));
        near.push(' ');
        push_words(&mut near, &self.text[before..from], before, &self.tokens, BEFORE_WORDS, true);
        near.push_str("| ");
        push_words(&mut near, &self.text[to..after], to, &self.tokens, AFTER_WORDS, false);
        near.push_str("| ");
        near.push_str(self.key());
        words.iter().find(|word| says(&near, word)).map(|word| word.text.clone())
    }
}

impl rules::Pattern {
    fn find(&self, input: &Input<'_>) -> Option<(usize, usize)> {
        if !self.has_group {
            return self.regex.search(input).map(|m| (m.start(), m.end()));
        }
        // Finding that there is no match is cheaper than finding groups, and is the usual answer.
        self.regex.search_half(input)?;
        let mut captures = self.regex.create_captures();
        self.regex.search_captures(input, &mut captures);
        (1..captures.group_len()).find_map(|i| captures.get_group(i)).map(|span| (span.start, span.end))
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// How many digits stand from `start` on in groups that at most three separators set apart, within 48 bytes. A long run
/// counts in full.
fn digits_near(bytes: &[u8], start: usize) -> usize {
    let mut count = 0;
    let mut gap = 0;
    for &b in bytes[start..].iter().take(48) {
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

/// Appends the words of `text` (at `offset` in the whole), in small letters, each followed by a space; camelCase and
/// snake_case are taken apart, tokens left out. At most `most` words: the last ones if `last`, else the first.
fn push_words(near: &mut String, text: &str, offset: usize, tokens: &[(usize, usize)], most: usize, last: bool) {
    let begin = near.len();
    let mut starts: Vec<usize> = Vec::new();
    let mut previous = ' ';
    let mut token = tokens.partition_point(|t| t.1 <= offset);
    for (i, c) in text.char_indices() {
        let at = offset + i;
        while tokens.get(token).is_some_and(|t| t.1 <= at) {
            token += 1;
        }
        let redacted = tokens.get(token).is_some_and(|t| t.0 <= at);
        let c = if redacted || !c.is_alphanumeric() { ' ' } else { c };
        if c != ' ' {
            if previous == ' ' || previous.is_lowercase() && c.is_uppercase() {
                if previous != ' ' {
                    near.push(' ');
                }
                if !last && starts.len() == most {
                    break;
                }
                starts.push(near.len());
            }
            near.extend(c.to_lowercase());
        } else if previous != ' ' {
            near.push(' ');
        }
        previous = c;
    }
    if last && starts.len() > most {
        near.replace_range(begin..starts[starts.len() - most], "");
    }
    if !near.ends_with(' ') {
        near.push(' ');
    }
}

/// Whether words contain a context word: a short one as a word (or its plural), a longer one at a word's start.
fn says(near: &str, word: &ContextWord) -> bool {
    let (finder, word) = (&word.finder, &*word.text);
    let mut from = 0;
    while let Some(i) = finder.find(&near.as_bytes()[from..]) {
        let at = from + i;
        let end = at + word.len();
        let starts = near[..at].ends_with(' ') || word.len() >= 5 || !word.is_ascii();
        let rest = &near[end..];
        let ends = word.len() >= 4 || !word.is_ascii() || rest.starts_with(' ') || rest.starts_with("s ");
        if starts && ends {
            return true;
        }
        from = end;
    }
    false
}

/// A `[BINARY:bytes]` of more digits is none of ours (nothing that is redacted has 100 MB), and is scanned: a social
/// security number, which has nine, must not hide in one.
const BINARY_DIGITS_MAX: usize = 8;

/// Where `[ENTITY:token]` and `[BINARY:bytes]` stand.
pub(crate) fn tokens_in(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'[', bytes).filter_map(|at| token_at(bytes, at).map(|end| (at, end))).collect()
}

fn token_at(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?.strip_prefix(b"[")?;
    let name = rest.iter().take(41).take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || **b == b'_').count();
    if !(1..=40).contains(&name) || !rest[0].is_ascii_uppercase() || rest.get(name) != Some(&b':') {
        return None;
    }
    let value = &rest[name + 1..];
    let length = if &rest[..name] == b"BINARY" {
        value.iter().take(BINARY_DIGITS_MAX + 1).take_while(|b| b.is_ascii_digit()).count()
    } else {
        value.iter().take(9).take_while(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')).count()
    };
    let right = if &rest[..name] == b"BINARY" { (1..=BINARY_DIGITS_MAX).contains(&length) } else { length == 8 };
    (right && value.get(length) == Some(&b']')).then_some(at + 1 + name + 1 + length + 1)
}

/// The findings that stay, in order. See the module's documentation, 4.
fn resolve(mut candidates: Vec<Candidate>, recognizers: &[Recognizer], text: &str) -> Vec<Candidate> {
    if candidates.len() < 2 {
        return candidates;
    }
    candidates.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then((b.end - b.start).cmp(&(a.end - a.start)))
            .then(a.start.cmp(&b.start))
            .then_with(|| recognizers[a.rule].entity.cmp(&recognizers[b.rule].entity))
            .then_with(|| recognizers[a.rule].name.cmp(&recognizers[b.rule].name))
    });
    let mut taken: BTreeMap<usize, Candidate> = BTreeMap::new();
    for candidate in candidates {
        // What winners leave of it.
        let (mut from, end) = (candidate.start, candidate.end);
        let mut pieces = Vec::new();
        if let Some((_, left)) = taken.range(..=from).next_back() {
            from = from.max(left.end);
        }
        for (&start, winner) in taken.range(from..end.max(from)) {
            pieces.push((from, start));
            from = winner.end;
        }
        pieces.push((from, end));
        let whole = pieces[..] == [(candidate.start, candidate.end)];
        for (from, to) in pieces {
            let kept = if whole { Some((from, to)) } else { remainder(text, from, to) };
            if let Some((start, end)) = kept {
                taken.insert(start, Candidate { start, end, ..candidate.clone() });
            }
        }
    }
    taken.into_values().collect()
}

/// What is worth keeping of a finding of which others took a part.
fn remainder(text: &str, from: usize, to: usize) -> Option<(usize, usize)> {
    let part = text.get(from..to)?;
    let start = part.find(char::is_alphanumeric)?;
    let (last, c) = part.char_indices().rfind(|(_, c)| c.is_alphanumeric())?;
    let end = last + c.len_utf8();
    let count = part[start..end].chars().filter(|c| c.is_alphanumeric()).count();
    (count >= REMAINDER_LEAST).then_some((from + start, from + end))
}
