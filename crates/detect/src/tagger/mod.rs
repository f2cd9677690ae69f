//! Finds names of people, places and organizations, and of nations, religions and parties, in free text.
//!
//! A linear-chain conditional random field over hashed features, in one file that is embedded and used where it lies
//! (`train/` makes it; `docs/tagger.md` has its figures). Like the rest of the crate it is pure: the same text gives the
//! same spans everywhere, and foreign text costs time in proportion to its length.
//!
//! 1. [`token`] cuts the text; sentences end where lines or full stops do, or after [`feature::SENTENCE_MAX`] tokens.
//! 2. [`feature`] looks words up in the lexicon and makes keys.
//! 3. [`feature::parts`] leaves out the parts of sentences in which no name can stand; in the rest, [`model`] adds up the
//!    keys' weights and [`decode`] picks labels.
//! 4. Peoples, believers and parties come from a list.
//! 5. [`memory`] looks for what was found once in all of the text.

use std::ops::Range;

pub mod decode;
pub mod feature;
pub mod memory;
pub mod model;
mod profession;
mod register;
#[cfg(test)]
mod tests;
pub mod token;

use decode::{Around, Sums};
use feature::Word;
use memory::Note;
use model::{Model, Rows, list};
use token::{Shape, Token};

/// What a span names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entity {
    /// A person.
    Person,
    /// A place.
    Location,
    /// An organization.
    Organization,
    /// A nationality, a religion, a political group.
    Nrp,
    /// What a person is by profession, beside the name.
    Title,
}

impl Entity {
    /// Presidio's name.
    pub fn name(self) -> &'static str {
        match self {
            Entity::Person => "PERSON",
            Entity::Location => "LOCATION",
            Entity::Organization => "ORGANIZATION",
            Entity::Nrp => "NRP",
            Entity::Title => "TITLE",
        }
    }
}

/// Where a name stands in a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// Byte offset of the first byte.
    pub start: usize,
    /// Byte offset after the last byte.
    pub end: usize,
    /// What it names.
    pub entity: Entity,
    /// How likely that is: 0.0 to 1.0.
    pub score: f32,
}

/// A token's label: nothing, or an entity's first or further token.
pub struct Label;

impl Label {
    /// How many there are.
    pub const COUNT: usize = 7;

    /// The label of an entity's first (or further) token.
    pub fn of(entity: Entity, further: bool) -> u8 {
        1 + 2 * (entity as u8).min(2) + u8::from(further)
    }

    /// The entity of a label.
    pub fn entity(label: u8) -> Option<Entity> {
        [None, Some(Entity::Person), Some(Entity::Location), Some(Entity::Organization)][label.div_ceil(2) as usize & 3]
    }

    /// Whether the label goes on with the entity before it.
    pub fn further(label: u8) -> bool {
        label != 0 && label.is_multiple_of(2)
    }
}

/// How sure it is that `@ name` is a person: some are firms.
const HANDLE_SCORE: f32 = 0.7;

/// The model that `train/run` made; its card lies beside it.
static MODEL: &[u8] = include_bytes!("../../model/tagger.bin");

/// Finds names.
#[derive(Clone, Copy, Debug)]
pub struct Tagger<'a> {
    model: Model<'a>,
}

/// What one text needs while it is tagged.
#[derive(Default)]
struct Scratch {
    words: Vec<Word>,
    parts: Vec<Range<usize>>,
    buffer: Vec<u8>,
    sums: Vec<Sums>,
    from: Vec<[u8; Label::COUNT]>,
    labels: Vec<u8>,
    odds: Vec<Sums>,
    notes: Vec<Note>,
}

impl<'a> Tagger<'a> {
    /// The tagger of a model's bytes, unless they are not one.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        Some(Self { model: Model::new(bytes)? })
    }

    /// The tagger of the embedded model.
    pub fn embedded() -> Tagger<'static> {
        Tagger::new(MODEL).expect("the embedded model is one")
    }

    /// Whether a word hardly ever is anything but a name.
    pub(crate) fn stands_alone(&self, word: &str) -> bool {
        !memory::is_ordinary(self.model.entry(feature::word_hash(word)).unwrap_or_default())
    }

    /// The names in `text`, in order; none overlap.
    pub fn tag(&self, text: &str) -> Vec<Span> {
        let mut scratch = Scratch::default();
        let mut spans = Vec::new();
        let mut tokens = Vec::new();
        // Offsets are 32 bits wide; a text beyond that is none that anybody reads.
        let text = &text[..text.floor_char_boundary(u32::MAX as usize)];
        token::tokenize(text, &mut tokens);
        for sentence in sentences(&tokens) {
            self.sentence(text, sentence, &mut scratch, &mut spans);
        }
        if !spans.is_empty() {
            register::sift(text, &tokens, &mut spans);
        }
        if !spans.is_empty() {
            memory::recall(&tokens, &scratch.notes, &mut spans);
            profession::add(text, &tokens, &mut spans);
        }
        spans
    }

    fn sentence(&self, text: &str, tokens: &[Token], scratch: &mut Scratch, spans: &mut Vec<Span>) {
        let no_case = feature::look(&self.model, text, tokens, &mut scratch.words);
        scratch.notes.extend(tokens.iter().zip(&scratch.words[2..]).map(|(t, w)| Note::of(t, w)));
        let mut parts = std::mem::take(&mut scratch.parts);
        feature::parts(text, tokens, &scratch.words, no_case, &mut parts);
        let known = spans.len();
        for part in &parts {
            self.part(text, tokens, part.clone(), scratch, spans);
        }
        scratch.parts = parts;
        handles(text, tokens, &scratch.words, known, spans);
        groups(tokens, &scratch.words, known, spans);
    }

    /// Tags a part of a sentence.
    fn part(&self, text: &str, tokens: &[Token], part: Range<usize>, scratch: &mut Scratch, spans: &mut Vec<Span>) {
        let Scratch { words, buffer, sums, from, labels, odds, .. } = scratch;
        sums.clear();
        for at in part.clone() {
            let token = tokens[at];
            if !matches!(token.shape, Shape::Mark | Shape::Net | Shape::Number) {
                feature::affixes(&text[token.start as usize..token.end as usize], &mut words[at + 2], buffer);
            }
            let mut rows = Rows::default();
            feature::features(words, at + 2, |_, key| self.model.add(key, &mut rows));
            sums.push(rows.sums(self.model.scale));
        }
        let around = Around { before: if part.start == 0 { 7 } else { 0 }, last: part.end == tokens.len() };
        decode::best(sums, &self.model.after, around, from, labels);
        if labels.iter().all(|l| *l == 0) {
            return;
        }
        decode::odds(sums, &self.model.after, around, odds);
        let tokens = &tokens[part];
        let mut i = 0;
        while i < labels.len() {
            let Some(entity) = Label::entity(labels[i]) else {
                i += 1;
                continue;
            };
            let begin = i;
            let (first, further) = (Label::of(entity, false) as usize, Label::of(entity, true) as usize);
            let mut score = 1.0f32;
            while i == begin || (i < labels.len() && Label::further(labels[i])) {
                score = score.min(odds[i][first] + odds[i][further]);
                i += 1;
            }
            spans.push(Span { start: tokens[begin].start as usize, end: tokens[i - 1].end as usize, entity, score });
        }
    }
}

/// Adds whom a post speaks to where a tokenizer has cut the sign from the name, `@ name`: the sign and the name, as people.
fn handles(text: &str, tokens: &[Token], words: &[Word], known: usize, spans: &mut Vec<Span>) {
    let begin = spans.len();
    for (i, pair) in tokens.windows(2).enumerate() {
        let [sign, name] = pair else { continue };
        let word = matches!(name.shape, Shape::Code | Shape::Mixed | Shape::Lower | Shape::Capital | Shape::Upper);
        if text.as_bytes()[sign.start as usize] != b'@' || sign.joined || name.joined || !word {
            continue;
        }
        let joined_after = tokens.get(i + 2).is_some_and(|t| t.joined);
        if joined_after || words[i + 3].entry.dull {
            continue;
        }
        for token in pair {
            let (start, end) = (token.start as usize, token.end as usize);
            if !spans[known..].iter().any(|s| s.start < end && s.end > start) {
                spans.push(Span { start, end, entity: Entity::Person, score: HANDLE_SCORE });
            }
        }
    }
    if spans.len() > begin {
        spans[known..].sort_by_key(|s| s.start);
    }
}

/// Adds peoples, believers and parties, which stand on a list, to a sentence's spans (those from `known` on).
fn groups(tokens: &[Token], words: &[Word], known: usize, spans: &mut Vec<Span>) {
    let begin = spans.len();
    for (i, token) in tokens.iter().enumerate() {
        let word = &words[i + 2];
        if word.entry.lists & list::GROUP == 0 {
            continue;
        }
        let capital = matches!(token.shape, Shape::Capital | Shape::Upper);
        // Written small, or where all is written alike: only words that usually have a capital, or are not known to lack it.
        let plain = !capital || token.first || word.shape == feature::NO_CASE;
        if plain && (1..=4).contains(&word.entry.share) {
            continue;
        }
        // `South African`: the list's phrase, from its beginning.
        let mut from = i;
        while from > 0 && word.phrase == feature::PHRASE_ON && words[from + 2].phrase == feature::PHRASE_ON {
            from -= 1;
        }
        let (start, end) = (tokens[from].start as usize, token.end as usize);
        if !spans[known..].iter().any(|s| s.start < end && s.end > start) {
            spans.push(Span { start, end, entity: Entity::Nrp, score: if plain { 0.7 } else { 0.85 } });
        }
    }
    if spans.len() > begin {
        spans[known..].sort_by_key(|s| s.start);
    }
}

/// The sentences of a text's tokens.
pub fn sentences(tokens: &[Token]) -> impl Iterator<Item = &[Token]> {
    let mut rest = tokens;
    std::iter::from_fn(move || {
        let end = rest
            .iter()
            .skip(1)
            .take(feature::SENTENCE_MAX - 1)
            .position(|t| t.first)
            .map_or(rest.len().min(feature::SENTENCE_MAX), |i| i + 1);
        let (sentence, after) = rest.split_at(end);
        rest = after;
        (!sentence.is_empty()).then_some(sentence)
    })
}
