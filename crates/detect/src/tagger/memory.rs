//! A name that was found with certainty is found everywhere in the same text: again, in small letters, and a person's by
//! the first or last name alone.
//!
//! What is remembered by one word must be a word that hardly means anything else: after "Will Smith", `smith` is found
//! and `will` is not.

use super::feature::Word;
use super::model::{Entry, list};
use super::token::{Shape, Token};
use super::{Entity, Span};

/// What is kept of a token until the whole text was seen.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    word: u32,
    /// It may stand for a name by itself.
    alone: bool,
}

impl Note {
    /// The note on a token.
    pub fn of(token: &Token, word: &Word) -> Self {
        let letters = matches!(token.shape, Shape::Lower | Shape::Capital | Shape::Upper | Shape::Mixed);
        Self { word: word.word, alone: letters && token.end - token.start >= 3 && !is_ordinary(word.entry) }
    }
}

/// Whether a word is often something else than a name.
pub(super) fn is_ordinary(entry: Entry) -> bool {
    entry.dull
        || (entry.common >= 4 && (1..=4).contains(&entry.share))
        || entry.lists & (list::TITLE | list::CALENDAR | list::ORG_WORD | list::PLACE_WORD | list::GROUP) != 0
}

/// From which score a person's name of several words is remembered.
const CERTAIN: f32 = 0.9;
/// From which score another name is.
const CERTAIN_ALONE: f32 = 0.97;
/// Below which score a name yields to what is remembered.
const DOUBTFUL: f32 = 0.6;
/// The longest name that is remembered, in tokens.
const WORDS_MAX: usize = 6;

/// What was found with certainty.
struct Memory {
    /// Names by their first word, longest first: the words, what they name, how certain.
    names: Vec<(Vec<u32>, Entity, f32)>,
}

impl Memory {
    fn of(tokens: &[Token], notes: &[Note], spans: &[Span]) -> Self {
        let mut names: Vec<(Vec<u32>, Entity, f32)> = Vec::new();
        for span in spans {
            let from = tokens.partition_point(|t| (t.start as usize) < span.start);
            let to = tokens.partition_point(|t| (t.end as usize) <= span.end);
            let notes = &notes[from..to.max(from)];
            let many = notes.len() > 1 && span.entity == Entity::Person;
            if span.score < if many { CERTAIN } else { CERTAIN_ALONE }
                || notes.len() > WORDS_MAX
                || span.entity == Entity::Nrp
            {
                continue;
            }
            if notes.len() > 1 {
                names.push((notes.iter().map(|n| n.word).collect(), span.entity, span.score));
            }
            if notes.len() == 1 || many {
                let alone = notes.iter().filter(|n| n.alone);
                names.extend(alone.map(|n| (vec![n.word], span.entity, span.score)));
            }
        }
        // By the first word; longest and surest first, so that of equal names one is kept.
        names.sort_by(|a, b| {
            (a.0[0], b.0.len())
                .cmp(&(b.0[0], a.0.len()))
                .then_with(|| a.0.cmp(&b.0))
                .then(b.2.total_cmp(&a.2))
                .then(a.1.cmp(&b.1))
        });
        names.dedup_by(|a, b| a.0 == b.0);
        Self { names }
    }

    /// The longest name that begins at the first note: its tokens, what it names, how certain that is.
    fn begins(&self, notes: &[Note]) -> Option<(usize, Entity, f32)> {
        let first = notes[0].word;
        let from = self.names.partition_point(|(words, ..)| words[0] < first);
        // Of one first word, a bounded number: a text that repeats itself must not make this slow.
        self.names[from..].iter().take(16).take_while(|(words, ..)| words[0] == first).find_map(
            |(words, entity, score)| {
                let fits = words.len() <= notes.len() && words.iter().zip(notes).all(|(w, n)| *w == n.word);
                (fits && (words.len() > 1 || notes[0].alone)).then_some((words.len(), *entity, *score))
            },
        )
    }
}

/// Adds what is remembered to a text's spans.
pub fn recall(tokens: &[Token], notes: &[Note], spans: &mut Vec<Span>) {
    let memory = Memory::of(tokens, notes, spans);
    if memory.names.is_empty() {
        return;
    }
    let mut out: Vec<Span> = Vec::with_capacity(spans.len());
    let mut known = std::mem::take(spans).into_iter().peekable();
    let mut at = 0;
    while at < tokens.len() {
        let start = tokens[at].start as usize;
        while known.peek().is_some_and(|s| s.end <= start) {
            out.extend(known.next());
        }
        let here = memory.begins(&notes[at..]);
        if let Some(mut span) = known.next_if(|span| span.start <= start) {
            // A doubtful name yields to a sure one of as many words.
            let to = tokens.partition_point(|t| (t.end as usize) <= span.end);
            if let Some((count, entity, score)) = here
                && span.score < DOUBTFUL
                && span.start == start
                && at + count == to
            {
                (span.entity, span.score) = (entity, score * CERTAIN);
            }
            out.push(span);
            at = to.max(at + 1);
            continue;
        }
        let Some((count, entity, score)) = here else {
            at += 1;
            continue;
        };
        let end = tokens[at + count - 1].end as usize;
        if known.peek().is_some_and(|s| s.start < end) {
            at += 1;
            continue;
        }
        match out.last_mut() {
            // First and last name, in whatever order.
            Some(last)
                if entity == Entity::Person
                    && last.entity == entity
                    && at > 0
                    && last.end == tokens[at - 1].end as usize =>
            {
                last.end = end;
            }
            _ => out.push(Span { start, end, entity, score: score * CERTAIN }),
        }
        at += count;
    }
    out.extend(known);
    *spans = out;
}
