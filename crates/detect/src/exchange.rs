//! What was found with certainty in one text of an exchange is found in those after it: in small letters, and a person by
//! the first or last name alone, unless that is an ordinary word. The texts of an exchange are the strings of a body in
//! their order, the parts of a conversation, and the answer after the request.
//!
//! Of a name only hashes of its words are kept. What is found in a later text is not looked for in an earlier one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::Finding;

/// No more is remembered of one exchange, or of one word: what somebody sends must not make this slow.
const NAMES_MAX: usize = 1024;
const SAME_WORD_MAX: usize = 16;
/// Longer names, such as whole letters' heads, are not remembered.
const WORDS_MAX: usize = 24;
/// Between two words of a name stand so many bytes.
const GAP_MAX: usize = 4;
/// From which score a name of several words is certain, and one of one word.
const CERTAIN: f32 = 0.9;
const CERTAIN_ALONE: f32 = 0.97;
const CERTAIN_ADDRESS: f32 = 0.7;
/// What is found again is as much less certain.
const AGAIN: f32 = 0.9;
/// Which recognizers' findings are remembered: what they find, no pattern would find again.
const RECOGNIZERS: [&str; 4] = ["tagger-person", "tagger-organization", "tagger-location", "street-address"];
/// What finds them again.
const RECOGNIZER: &str = "exchange-memory";

/// Names that were found in an exchange.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    /// By the hash of their first word.
    by_first: HashMap<u64, Vec<Name>>,
    count: usize,
}

#[derive(Clone, Debug, PartialEq)]
struct Name {
    /// Hashes of all words.
    words: Vec<u64>,
    entity: Arc<str>,
    score: f32,
}

/// Words of letters and digits: where each stands, and its hash in small letters.
fn words(text: &str) -> Vec<(usize, usize, u64)> {
    let mut all = Vec::new();
    let (mut hash, mut start, mut end) = (0, 0, 0);
    for (at, c) in text.char_indices() {
        if !c.is_alphanumeric() {
            continue;
        }
        if at != end || all.is_empty() && hash == 0 {
            if hash != 0 {
                all.push((start, end, hash));
            }
            (start, hash) = (at, 0xcbf2_9ce4_8422_2325);
        }
        let mut add = |c: char| hash = (hash ^ u64::from(u32::from(c))).wrapping_mul(0x0000_0100_0000_01b3);
        if c.is_ascii() {
            add(c.to_ascii_lowercase())
        } else {
            c.to_lowercase().for_each(add)
        }
        end = at + c.len_utf8();
    }
    if hash != 0 {
        all.push((start, end, hash));
    }
    all
}

/// Whether a word hardly ever is anything but a name.
#[cfg(feature = "tagger")]
fn stands_alone(word: &str) -> bool {
    crate::tagger::Tagger::embedded().stands_alone(word)
}

/// Whether a word hardly ever is anything but a name: without the tagger nobody knows.
#[cfg(not(feature = "tagger"))]
fn stands_alone(_word: &str) -> bool {
    false
}

impl Names {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Adds those of another text.
    pub fn join(&mut self, others: &Names) {
        // In an order that does not depend on the table's.
        let mut names: Vec<&Name> = others.by_first.values().flatten().collect();
        names.sort_by(|a, b| a.words.cmp(&b.words).then_with(|| a.entity.cmp(&b.entity)));
        names.into_iter().for_each(|name| self.add(name.clone()));
    }

    fn add(&mut self, name: Name) {
        let same = self.by_first.entry(name.words[0]).or_default();
        if self.count >= NAMES_MAX || same.len() >= SAME_WORD_MAX || same.iter().any(|own| own.words == name.words) {
            return;
        }
        same.push(name);
        same.sort_by_key(|name| std::cmp::Reverse(name.words.len()));
        self.count += 1;
    }

    /// Remembers what is certain of the findings in a text.
    pub(crate) fn learn(&mut self, text: &str, findings: &[Finding]) {
        for finding in findings.iter().filter(|f| RECOGNIZERS.contains(&&*f.recognizer)) {
            let value = &text[finding.start..finding.end];
            let words = words(value);
            let several = words.len() > 1;
            let least = match &*finding.entity {
                "STREET_ADDRESS" => CERTAIN_ADDRESS,
                "PERSON" if several => CERTAIN,
                _ => CERTAIN_ALONE,
            };
            if finding.score < least || words.len() > WORDS_MAX {
                continue;
            }
            let name = |words: Vec<u64>| Name { words, entity: finding.entity.clone(), score: finding.score };
            if several {
                self.add(name(words.iter().map(|word| word.2).collect()));
            }
            if !several || &*finding.entity == "PERSON" {
                for &(start, end, hash) in &words {
                    if end - start >= 3 && stands_alone(&value[start..end]) {
                        self.add(name(vec![hash]));
                    }
                }
            }
        }
    }

    /// Where they stand in a text, outside of what was found there: `taken`, in order.
    pub(crate) fn find(&self, text: &str, taken: &[Finding]) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.is_empty() {
            return found;
        }
        let recognizer: Arc<str> = Arc::from(RECOGNIZER);
        let words = words(text);
        let mut at = 0;
        while at < words.len() {
            let begins = |name: &&Name| {
                let own = words[at..].iter();
                name.words.len() <= words.len() - at
                    && own.clone().zip(&name.words).all(|(word, hash)| word.2 == *hash)
                    && own.take(name.words.len()).is_sorted_by(|a, b| b.0 - a.1 <= GAP_MAX)
            };
            let name = self.by_first.get(&words[at].2).and_then(|same| same.iter().find(begins));
            let Some(name) = name else {
                at += 1;
                continue;
            };
            let (start, end) = (words[at].0, words[at + name.words.len() - 1].1);
            at += name.words.len();
            let next = taken.partition_point(|f| f.end <= start);
            if taken.get(next).is_none_or(|f| f.start >= end) {
                found.push(Finding::of_other(&name.entity, &recognizer, start..end, name.score * AGAIN));
            }
        }
        found
    }
}

#[cfg(all(test, feature = "tagger"))]
mod tests {
    use super::*;

    fn finding(text: &str, value: &str, entity: &str, recognizer: &str, score: f32) -> Finding {
        let start = text.find(value).unwrap();
        Finding::of_other(entity, &Arc::from(recognizer), start..start + value.len(), score)
    }

    #[test]
    fn a_name_is_found_again_however_it_is_written() {
        let text = "Oluwaseun Adebayo of Deutsche Bank, 12 Oak St., Austin; Will Smith";
        let mut names = Names::default();
        names.learn(
            text,
            &[
                finding(text, "Oluwaseun Adebayo", "PERSON", "tagger-person", 0.95),
                finding(text, "Deutsche Bank", "ORGANIZATION", "tagger-organization", 0.99),
                finding(text, "12 Oak St., Austin", "STREET_ADDRESS", "street-address", 1.0),
                finding(text, "Will Smith", "PERSON", "tagger-person", 0.95),
            ],
        );
        let later = "adebayo wrote; will oluwaseun adebayo leave deutsche bank for 12 oak st, austin? The bank will.";
        let found = names.find(later, &[]);
        let found: Vec<_> = found.iter().map(|f| &later[f.start..f.end]).collect();
        assert_eq!(found, ["adebayo", "oluwaseun adebayo", "deutsche bank", "12 oak st, austin"]);
    }

    #[test]
    fn what_is_not_certain_is_not_remembered() {
        let mut names = Names::default();
        names.learn("Adebayo", &[finding("Adebayo", "Adebayo", "PERSON", "tagger-person", 0.9)]);
        names.learn("Adebayo", &[finding("Adebayo", "Adebayo", "PERSON", "own-rule", 1.0)]);
        assert!(names.is_empty());
    }

    #[test]
    fn many_names_cost_no_more_than_few() {
        let mut names = Names::default();
        for i in 0..5_000 {
            let text = format!("Adebayo Name{i}");
            names.learn(&text, &[finding(&text, &text, "PERSON", "tagger-person", 0.95)]);
        }
        assert!(names.count <= NAMES_MAX);
        assert!(names.by_first.values().all(|same| same.len() <= SAME_WORD_MAX));
    }
}
