//! What a person is by profession, where it stands beside the name: `Ana Ruiz, the technical writer, said`.
//!
//! No list has all professions, but nearly all end in one of a few ways, and an article after a name and a comma says that
//! one comes.

use super::token::{Shape, Token};
use super::{Entity, Span};

/// How sure it is.
const SCORE: f32 = 0.6;
/// A profession has so many words.
const WORDS_MAX: usize = 4;
const ARTICLES: [&str; 6] = ["the", "a", "an", "our", "their", "its"];
/// How professions end.
const ENDINGS: [&str; 16] = [
    "er", "or", "ist", "ian", "ant", "eer", "man", "woman", "person", "yst", "ess", "smith", "wright", "nurse",
    "clerk", "chef",
];
/// What ends so and is none.
const OTHERS: [&str; 24] = [
    "brother", "sister", "mother", "father", "daughter", "other", "another", "former", "latter", "elder", "younger",
    "older", "winner", "loser", "killer", "number", "matter", "member", "human", "woman", "man", "person", "river",
    "major",
];
/// Without an article before them.
const SURE: [&str; 20] = [
    "ceo",
    "cto",
    "cfo",
    "coo",
    "president",
    "director",
    "manager",
    "engineer",
    "developer",
    "consultant",
    "accountant",
    "professor",
    "lawyer",
    "attorney",
    "analyst",
    "architect",
    "designer",
    "founder",
    "editor",
    "secretary",
];

/// Adds professions after people's names.
pub(super) fn add(text: &str, tokens: &[Token], spans: &mut Vec<Span>) {
    let mut found = Vec::new();
    for (i, span) in spans.iter().enumerate().filter(|(_, span)| span.entity == Entity::Person) {
        let limit = spans.get(i + 1).map_or(text.len(), |next| next.start);
        let after = tokens.partition_point(|t| (t.start as usize) < span.end);
        if let Some((start, end)) = beside(text, tokens, after, limit) {
            found.push(Span { start, end, entity: Entity::Title, score: SCORE });
        }
    }
    if !found.is_empty() {
        spans.append(&mut found);
        spans.sort_by_key(|span| span.start);
    }
}

/// The profession after a name that ends before the token `at`.
fn beside(text: &str, tokens: &[Token], at: usize, limit: usize) -> Option<(usize, usize)> {
    let raw = |i: usize| tokens.get(i).map_or("", |t| &text[t.start as usize..t.end as usize]);
    if raw(at) != "," {
        return None;
    }
    let article = ARTICLES.iter().any(|word| word.eq_ignore_ascii_case(raw(at + 1)));
    let first = at + 1 + usize::from(article);
    let word = |t: &Token| matches!(t.shape, Shape::Lower | Shape::Capital | Shape::Upper);
    let count = tokens.get(first..)?.iter().take(WORDS_MAX + 1).take_while(|t| word(t)).count();
    // The first word that may end it, before a comma, a stop, or a small word.
    let last = (first..first + count.min(WORDS_MAX)).find(|&i| {
        let lower = raw(i).to_lowercase();
        let ends = ENDINGS.iter().any(|ending| lower.len() > ending.len() + 1 && lower.ends_with(ending));
        let is = if article { ends && !OTHERS.contains(&lower.as_str()) } else { false };
        let closed =
            matches!(raw(i + 1), "," | "." | ";" | ")" | "at" | "of" | "from" | "in" | "for" | "with" | "who" | "");
        (is || SURE.contains(&lower.as_str())) && closed
    })?;
    let (start, end) = (tokens[first].start as usize, tokens[last].end as usize);
    (end <= limit).then_some((start, end))
}
