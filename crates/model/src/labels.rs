//! From scores of labels to spans of text.
//!
//! A label is an entity's name, mostly with a letter before it that says where in an entity a word stands (`B-PER`: BIO,
//! BIOES, BILOU, IO). A word's tokens count as one; neighbouring words of an entity are one span.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::{Aggregation, Found, LoadError};

/// What the names of common models and corpora (CoNLL-2003, OntoNotes, WikiNEuRal) mean here.
const KNOWN: [(&str, &str); 12] = [
    ("PER", "PERSON"),
    ("PERSON", "PERSON"),
    ("LOC", "LOCATION"),
    ("LOCATION", "LOCATION"),
    ("GPE", "LOCATION"),
    ("FAC", "LOCATION"),
    ("ORG", "ORGANIZATION"),
    ("ORGANIZATION", "ORGANIZATION"),
    ("MISC", "NRP"),
    ("NORP", "NRP"),
    ("DATE", "DATE_TIME"),
    ("TIME", "DATE_TIME"),
];
/// The longest name that a token can carry.
const NAME_BYTES_MAX: usize = 40;

/// Where in an entity a word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Begin,
    Inside,
    End,
    Single,
}

/// The labels of a model, and what they mean.
#[derive(Debug)]
pub(crate) struct Labels {
    /// By label: the number of its entity and the place; none for what is no entity.
    meaning: Vec<Option<(usize, Place)>>,
    entities: Vec<String>,
}

/// A token: where it stands, and which word it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) span: Range<usize>,
    pub(crate) word: u32,
}

/// What a word is taken for.
struct Word {
    span: Range<usize>,
    entity: Option<usize>,
    place: Place,
    score: f32,
}

impl Labels {
    /// `given` says what labels are called here, by what follows their `B-`; an empty name leaves one out.
    pub(crate) fn new(labels: &[String], given: &BTreeMap<String, String>) -> Result<Self, LoadError> {
        let mut entities: Vec<String> = Vec::new();
        let mut used = 0;
        let mut meaning = Vec::with_capacity(labels.len());
        for label in labels {
            let (place, name) = match label.split_once(['-', '_']) {
                _ if given.contains_key(label) => (Place::Inside, &**label),
                Some(("B", name)) => (Place::Begin, name),
                Some(("I", name)) => (Place::Inside, name),
                Some(("E" | "L", name)) => (Place::End, name),
                Some(("S" | "U", name)) => (Place::Single, name),
                _ => (Place::Inside, &**label),
            };
            let ours = match given.get(name) {
                Some(ours) => {
                    used += 1;
                    ours.clone()
                }
                None if label == "O" => String::new(),
                None => KNOWN
                    .iter()
                    .find(|(known, _)| known.eq_ignore_ascii_case(name))
                    .map_or_else(|| name.to_ascii_uppercase().replace('-', "_"), |(_, ours)| (*ours).to_owned()),
            };
            if ours.is_empty() {
                meaning.push(None);
                continue;
            }
            if ours.len() > NAME_BYTES_MAX
                || !ours.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            {
                return Err(LoadError::Labels(
                    "names must be up to 40 of A-Z, 0-9 and `_`: give those that are not one in `labels`",
                ));
            }
            let number = entities.iter().position(|own| *own == ours).unwrap_or_else(|| {
                entities.push(ours);
                entities.len() - 1
            });
            meaning.push(Some((number, place)));
        }
        if !given.is_empty() && used == 0 {
            return Err(LoadError::Labels("none of `labels` is a label of this model"));
        }
        if entities.is_empty() {
            return Err(LoadError::Labels("no label of this model means anything"));
        }
        Ok(Self { meaning, entities })
    }

    /// The spans in a text, of tokens in order with the scores of their labels.
    pub(crate) fn spans(
        &self,
        text: &str,
        tokens: &[Token],
        logits: &[Vec<f32>],
        aggregation: Aggregation,
        min_score: f32,
    ) -> Vec<Found> {
        let mut words: Vec<Word> = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let length = tokens[at..].iter().take_while(|token| token.word == tokens[at].word).count();
            let read = (at..at + length).map(|token| self.read(&logits[token]));
            let (entity, place, score) = match aggregation {
                Aggregation::First => read.take(1).next(),
                Aggregation::Max => read.max_by(|a, b| a.2.total_cmp(&b.2)),
            }
            .unwrap_or((None, Place::Inside, 0.0));
            let span = tokens[at].span.start..tokens[at + length - 1].span.end;
            words.push(Word { span, entity, place, score });
            at += length;
        }
        let mut found = Vec::new();
        let mut at = 0;
        while at < words.len() {
            let Some(entity) = words[at].entity else {
                at += 1;
                continue;
            };
            let goes_on = |end: usize| {
                let (last, next) = (&words[end - 1], words.get(end));
                let closed = matches!(last.place, Place::End | Place::Single);
                !closed
                    && next.is_some_and(|next| {
                        next.entity == Some(entity) && matches!(next.place, Place::Inside | Place::End)
                    })
            };
            let mut end = at + 1;
            while goes_on(end) {
                end += 1;
            }
            let score = words[at..end].iter().map(|word| word.score).sum::<f32>() / (end - at) as f32;
            let span = trimmed(text, words[at].span.start..words[end - 1].span.end);
            if score >= min_score && !span.is_empty() {
                let entity = self.entities[entity].clone();
                found.push(Found { entity, start: span.start, end: span.end, score });
            }
            at = end;
        }
        found
    }

    /// Which entity a token is, where in it, and how likely: the sum over its labels, since a model that wavers between the
    /// first and a later word of a name is sure that it is a name.
    fn read(&self, logits: &[f32]) -> (Option<usize>, Place, f32) {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f32> = logits.iter().map(|logit| (logit - highest).exp()).collect();
        let all: f32 = weights.iter().sum();
        let mut sums = vec![0.0; self.entities.len()];
        let mut none = 0.0;
        for (weight, meaning) in weights.iter().zip(&self.meaning) {
            match meaning {
                Some((entity, _)) => sums[*entity] += weight / all,
                None => none += weight / all,
            }
        }
        let best = sums.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        let Some((entity, score)) = best.filter(|(_, score)| *score > none) else { return (None, Place::Inside, none) };
        let labels = weights.iter().zip(&self.meaning);
        let places =
            labels.filter_map(|(weight, meaning)| meaning.filter(|own| own.0 == entity).map(|own| (weight, own.1)));
        let place = places.max_by(|a, b| a.0.total_cmp(b.0)).map_or(Place::Inside, |(_, place)| place);
        (Some(entity), place, score)
    }
}

/// Without space around it, and without the punctuation that some tokenizers leave at a word: the same name has the same
/// token at the end of a sentence.
fn trimmed(text: &str, span: Range<usize>) -> Range<usize> {
    let edge = |c: char| c.is_whitespace() || c.is_ascii_punctuation() || "“”„‘’«»‹›…、。，".contains(c);
    let Some(inner) = text.get(span.clone()) else { return 0..0 };
    let start = span.start + (inner.len() - inner.trim_start_matches(edge).len());
    let end = span.start + inner.trim_end_matches(edge).len();
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_NAMES: BTreeMap<String, String> = BTreeMap::new();

    fn labels(names: &[&str]) -> Labels {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Labels::new(&names, &NO_NAMES).unwrap()
    }

    /// Each word is a token of its own; the label of each gets the same lead.
    fn found(labels: &Labels, count: usize, text: &str, best: &[usize]) -> Vec<(String, String)> {
        let mut at = 0;
        let tokens: Vec<Token> = text
            .split(' ')
            .zip(0..)
            .map(|(word, number)| {
                at += word.len() + 1;
                Token { span: at - 1 - word.len()..at - 1, word: number }
            })
            .collect();
        let logits: Vec<Vec<f32>> =
            best.iter().map(|&best| (0..count).map(|label| if label == best { 8.0 } else { 0.0 }).collect()).collect();
        let found = labels.spans(text, &tokens, &logits, Aggregation::First, 0.5);
        found.into_iter().map(|found| (found.entity, text[found.start..found.end].to_owned())).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(entity, text)| ((*entity).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn words_of_an_entity_are_one_span() {
        let bio = labels(&["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]);
        let text = "Ann Lee met Bob Ray, in «Paris»";
        let expected = [("PERSON", "Ann Lee"), ("PERSON", "Bob Ray"), ("LOCATION", "Paris")];
        assert_eq!(found(&bio, 5, text, &[1, 2, 0, 1, 2, 0, 3]), pairs(&expected));
        // Nothing between them, and still two.
        assert_eq!(found(&bio, 5, "Ann Bob", &[1, 1]), pairs(&[("PERSON", "Ann"), ("PERSON", "Bob")]));
        // A model that begins inside.
        assert_eq!(found(&bio, 5, "Ann Lee", &[2, 2]), pairs(&[("PERSON", "Ann Lee")]));
        assert_eq!(found(&bio, 5, "Ann Paris", &[2, 4]), pairs(&[("PERSON", "Ann"), ("LOCATION", "Paris")]));
    }

    #[test]
    fn ends_and_singles_close_an_entity() {
        for names in [["O", "B-ORG", "I-ORG", "E-ORG", "S-ORG"], ["O", "B-ORG", "I-ORG", "L-ORG", "U-ORG"]] {
            let labels = labels(&names);
            let of = |best: &[usize]| found(&labels, 5, "A B C D", best);
            assert_eq!(of(&[1, 2, 3, 4]), pairs(&[("ORGANIZATION", "A B C"), ("ORGANIZATION", "D")]));
            assert_eq!(of(&[1, 3, 2, 0]), pairs(&[("ORGANIZATION", "A B"), ("ORGANIZATION", "C")]));
            assert_eq!(
                of(&[4, 4, 0, 3]),
                pairs(&[("ORGANIZATION", "A"), ("ORGANIZATION", "B"), ("ORGANIZATION", "D")])
            );
        }
        // Without letters, neighbours are one.
        assert_eq!(found(&labels(&["O", "PERSON"]), 2, "Ann Lee ok", &[1, 1, 0]), pairs(&[("PERSON", "Ann Lee")]));
    }

    #[test]
    fn a_word_is_what_its_first_or_its_surest_token_is() {
        let labels = labels(&["O", "B-PER", "I-PER"]);
        let tokens = [Token { span: 0..2, word: 0 }, Token { span: 2..5, word: 0 }];
        let logits = [vec![1.0, 0.0, 0.0], vec![0.0, 9.0, 0.0]];
        let of = |aggregation| labels.spans("Annie", &tokens, &logits, aggregation, 0.5);
        assert_eq!(of(Aggregation::First), []);
        let found = of(Aggregation::Max);
        assert_eq!((found[0].start, found[0].end), (0, 5));
    }

    #[test]
    fn labels_of_one_entity_add_up() {
        let labels = labels(&["O", "B-PER", "I-PER"]);
        let tokens = [Token { span: 0..3, word: 0 }];
        // 40 % nothing, 30 % a name's beginning, 30 % a name's rest: more likely a name than not.
        let logits = [vec![0.4_f32.ln(), 0.3_f32.ln(), 0.3_f32.ln()]];
        let found = labels.spans("Ann", &tokens, &logits, Aggregation::First, 0.5);
        assert!((found[0].score - 0.6).abs() < 1e-6);
        assert_eq!(labels.spans("Ann", &tokens, &logits, Aggregation::First, 0.7), []);
    }

    #[test]
    fn what_labels_are_called_can_be_said() {
        let own: Vec<String> = ["LABEL_0", "LABEL_1", "B-MISC", "B-work-of-art"].map(str::to_owned).into();
        let given = [("LABEL_0", ""), ("LABEL_1", "CODE_NAME"), ("MISC", "OTHER")];
        let given = given.map(|(label, ours)| (label.to_owned(), ours.to_owned())).into();
        let labels = Labels::new(&own, &given).unwrap();
        assert_eq!(labels.entities, ["CODE_NAME", "OTHER", "WORK_OF_ART"]);
        assert_eq!(labels.meaning[0], None);
        for (own, given) in [
            (vec!["B-PER"], vec![("per", "PERSON")]),
            (vec!["B-PER"], vec![("PER", "person")]),
            (vec!["B-日本"], vec![]),
            (vec!["O"], vec![]),
        ] {
            let own: Vec<String> = own.into_iter().map(str::to_owned).collect();
            let given = given.into_iter().map(|(a, b): (&str, &str)| (a.to_owned(), b.to_owned())).collect();
            assert!(matches!(Labels::new(&own, &given), Err(LoadError::Labels(_))), "{own:?}");
        }
    }
}
