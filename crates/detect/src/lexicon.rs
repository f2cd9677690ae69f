//! All words that any rule looks for, looked up where a word begins: literals everywhere, words of context only near
//! candidates.
//!
//! An automaton over thousands of words steps through every byte of a text. But words begin at one byte in six, and
//! four characters tell nearly all words of a text from all of ours: so a bit in each of two tables of 8 kB, asked once a
//! word, does the work, and what passes is compared.

use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::masks::SPECIALS;
use crate::normal::{AT_WORDS, DOT_WORDS};

/// What an entry of the lexicon stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Rules start here: an index into the engine's list.
    Literal(u16),
    /// A word of context: its number.
    Word(u16),
    /// A word that stands for `@` (or else for `.`) in an address.
    Spelled {
        /// For `@`.
        at: bool,
    },
}

pub(crate) struct Lexicon {
    /// What is looked up at every word: literals, and words that stand for a character.
    literals: Table,
    /// The words of context.
    context: Table,
    /// The literals that begin with punctuation.
    specials: Vec<(Box<[u8]>, u16)>,
    /// The words of context, by number.
    words: Vec<Arc<str>>,
    /// The words of context within keys.
    in_keys: AhoCorasick,
    key_words: Vec<u16>,
}

/// Entries that begin with a letter or a digit, by their heads: the first four bytes, folded; or three, after which
/// anything may stand.
struct Table {
    fours: Heads,
    threes: Heads,
    entries: Vec<Listed>,
}

/// An entry, and its first eight bytes, folded, as far as they are fixed: hardly any other word has the same.
struct Listed {
    first: u64,
    fixed: u64,
    entry: Entry,
    text: Box<[u8]>,
}

impl Listed {
    fn new(text: Box<[u8]>, entry: Entry) -> Self {
        // A space in a word of context stands for several bytes, or for none.
        let gap = |b: &u8| matches!(entry, Entry::Word(_)) && *b == b' ';
        let length = text.iter().take(8).take_while(|b| !gap(b)).count();
        let fixed = if length == 8 { u64::MAX } else { (1 << (8 * length)) - 1 };
        Self { first: folded_eight(&text, 0) & fixed, fixed, entry, text }
    }
}

/// Where the entries with a head are.
struct Heads {
    /// A bit for each hash: what most words are dismissed by.
    filter: Box<[u64; 1 << (FILTER_BITS - 6)]>,
    /// An open hash table.
    slots: Vec<Slot>,
}

const FILTER_BITS: u32 = 16;

#[derive(Clone, Copy)]
struct Slot {
    head: u32,
    /// Of the entries, from the first up to before the last; empty where no head is.
    first: u32,
    last: u32,
}

fn hash(head: u32) -> u32 {
    head.wrapping_mul(0x9e37_79b1)
}

impl Heads {
    /// Of heads in order, and which entries each has.
    fn new(heads: &[(u32, u32, u32)]) -> Self {
        let mut filter = Box::new([0; 1 << (FILTER_BITS - 6)]);
        let room = (heads.len() * 2).next_power_of_two().max(64);
        let mut slots = vec![Slot { head: 0, first: 0, last: 0 }; room];
        for &(head, first, last) in heads {
            let place = hash(head) >> (32 - FILTER_BITS);
            filter[place as usize / 64] |= 1 << (place % 64);
            let mut at = (hash(head) >> 8) as usize & (room - 1);
            while slots[at].first < slots[at].last {
                at = (at + 1) & (room - 1);
            }
            slots[at] = Slot { head, first, last };
        }
        Self { filter, slots }
    }

    #[inline]
    fn may_have(&self, head: u32) -> bool {
        let place = hash(head) >> (32 - FILTER_BITS);
        (self.filter[place as usize / 64] >> (place % 64)) & 1 == 1
    }

    fn entries(&self, head: u32) -> std::ops::Range<usize> {
        let mut at = (hash(head) >> 8) as usize & (self.slots.len() - 1);
        loop {
            let slot = self.slots[at];
            if slot.head == head || slot.first == slot.last {
                return slot.first as usize..slot.last as usize;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }
}

/// Folds capitals and small letters together, and some punctuation.
const FOLD: u8 = 0x20;

/// Up to eight bytes, folded; after the end of the text stand spaces.
fn folded_eight(bytes: &[u8], at: usize) -> u64 {
    u64::from(folded(bytes, at)) | u64::from(folded(bytes, at + 4)) << 32
}

/// The same with four.
#[inline]
fn folded(bytes: &[u8], at: usize) -> u32 {
    let four = match bytes.get(at..) {
        Some([a, b, c, d, ..]) => [*a, *b, *c, *d],
        rest => {
            let mut four = [FOLD; 4];
            let rest = rest.unwrap_or_default();
            four[..rest.len()].copy_from_slice(rest);
            four
        }
    };
    u32::from_le_bytes(four) | u32::from_le_bytes([FOLD; 4])
}

/// The first three of four bytes.
fn three(four: u32) -> u32 {
    four & 0xff_ffff
}

/// Collects what a [`Lexicon`] is made of.
#[derive(Default)]
pub(crate) struct Builder {
    literals: Vec<(String, u16)>,
    words: Vec<Arc<str>>,
    numbers: std::collections::HashMap<String, u16>,
}

impl Builder {
    /// A literal, for the rules of this number.
    pub(crate) fn literal(&mut self, literal: &str, rules: u16) {
        self.literals.push((literal.to_ascii_lowercase(), rules));
    }

    /// The number of a context word.
    pub(crate) fn word(&mut self, word: &str) -> u16 {
        if let Some(&number) = self.numbers.get(word) {
            return number;
        }
        let number = u16::try_from(self.words.len()).unwrap_or(u16::MAX);
        self.words.push(Arc::from(word));
        self.numbers.insert(word.to_owned(), number);
        number
    }

    pub(crate) fn words(&self) -> usize {
        self.words.len()
    }

    pub(crate) fn build(self) -> Result<Lexicon, aho_corasick::BuildError> {
        let mut specials = Vec::new();
        let mut literals: Vec<(Box<[u8]>, Entry)> = Vec::new();
        for (literal, rules) in &self.literals {
            let bytes = literal.as_bytes();
            if bytes[0].is_ascii_alphanumeric() || !bytes[0].is_ascii() {
                literals.push((bytes.into(), Entry::Literal(*rules)));
            } else {
                specials.push((bytes.into(), *rules));
            }
        }
        for (words, at) in [(AT_WORDS, true), (DOT_WORDS, false)] {
            literals.extend(words.iter().map(|word| (word.as_bytes().into(), Entry::Spelled { at })));
        }
        let spelled = |(number, word): (usize, &Arc<str>)| {
            let long = spellings(word).into_iter().filter(|spelling| spelling.len() >= 2);
            long.map(move |spelling| (spelling.into_bytes().into(), Entry::Word(number as u16))).collect::<Vec<_>>()
        };
        let context = self.words.iter().enumerate().flat_map(spelled).collect();
        // In a key, words may be glued: `customersocialsecuritynumber`.
        let mut key_words = Vec::new();
        let mut needles = Vec::new();
        for (number, word) in self.words.iter().enumerate() {
            needles.push(word.to_string());
            key_words.push(number as u16);
            if word.contains(' ') {
                needles.push(word.replace(' ', ""));
                key_words.push(number as u16);
            }
        }
        let in_keys = AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).build(&needles)?;
        Ok(Lexicon {
            literals: Table::new(literals),
            context: Table::new(context),
            specials,
            words: self.words,
            in_keys,
            key_words,
        })
    }
}

impl Table {
    fn new(entries: Vec<(Box<[u8]>, Entry)>) -> Self {
        // By the heads of fours, then by those of threes.
        let mut headed: Vec<(bool, u32, Box<[u8]>, Entry)> = Vec::new();
        for (text, entry) in entries {
            // A short one goes on with anything that may follow it.
            let goes_on = |b: &u8| {
                let ends = *b == b's' || !b.is_ascii_lowercase() && !b.is_ascii_digit();
                b & FOLD != 0 && (ends || matches!(entry, Entry::Literal(_)))
            };
            let thirds: Vec<u8> = match text.get(2) {
                Some(&b) => vec![b],
                None => (0..=255).filter(goes_on).collect(),
            };
            // A space in a word of context stands for several bytes, or for none.
            let fixed = text.len() >= 4 && !text[..4].contains(&b' ');
            for third in thirds {
                let four = folded(&[text[0], text[1], third, if fixed { text[3] } else { FOLD }], 0);
                headed.push((!fixed, if fixed { four } else { three(four) }, text.clone(), entry));
            }
        }
        headed.sort_by_key(|(short, head, _, _)| (*short, *head));
        let (mut fours, mut threes) = (Vec::new(), Vec::new());
        let mut first = 0;
        for group in headed.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let last = first + group.len() as u32;
            if group[0].0 { &mut threes } else { &mut fours }.push((group[0].1, first, last));
            first = last;
        }
        let entries = headed.into_iter().map(|(_, _, text, entry)| Listed::new(text, entry)).collect();
        Self { fours: Heads::new(&fours), threes: Heads::new(&threes), entries }
    }

    /// Calls `found` with each entry that begins at `at`, where a word begins, and with where it ends.
    #[inline]
    fn at(&self, bytes: &[u8], at: usize, found: impl FnMut(Entry, usize)) {
        let four = folded(bytes, at);
        if self.fours.may_have(four) | self.threes.may_have(three(four)) {
            self.beginning_with(four, bytes, at, found);
        }
    }

    /// Few words get here.
    #[inline(never)]
    fn beginning_with(&self, four: u32, bytes: &[u8], at: usize, mut found: impl FnMut(Entry, usize)) {
        let eight = folded_eight(bytes, at);
        for range in [self.fours.entries(four), self.threes.entries(three(four))] {
            for listed in &self.entries[range] {
                if eight & listed.fixed == listed.first
                    && let Some(end) = ends(&listed.text, listed.entry, bytes, at)
                {
                    found(listed.entry, end);
                }
            }
        }
    }
}

/// All that may be written for a word. Letters outside ASCII are compared as they stand, so in capitals it is another word;
/// a space among the first three bytes would hide the head.
fn spellings(word: &str) -> Vec<String> {
    let outside = |c: char| if c.is_ascii() { c.to_string() } else { c.to_uppercase().to_string() };
    let mut written = vec![word.to_owned(), word.chars().map(outside).collect()];
    if let Some(first) = word.chars().next() {
        written.push(outside(first) + &word[first.len_utf8()..]);
    }
    written.sort_unstable();
    written.dedup();
    written
        .iter()
        .flat_map(|word| match word.bytes().take(3).position(|b| b == b' ') {
            None => vec![word.clone()],
            Some(at) => {
                ["", " ", "-", "_", "."].iter().map(|s| format!("{}{s}{}", &word[..at], &word[at + 1..])).collect()
            }
        })
        .collect()
}

impl Lexicon {
    /// Calls `found` with each literal, and each word that stands for a character, which begins at `at`, where a word
    /// begins; and with where it ends.
    #[inline]
    pub(crate) fn at_word(&self, bytes: &[u8], at: usize, found: impl FnMut(Entry, usize)) {
        self.literals.at(bytes, at, found);
    }

    /// The same for the words of context: their numbers.
    #[inline]
    pub(crate) fn context_at(&self, bytes: &[u8], at: usize, mut found: impl FnMut(u16, usize)) {
        self.context.at(bytes, at, |entry, end| {
            if let Entry::Word(number) = entry {
                found(number, end);
            }
        });
    }

    /// The same for literals that begin with one of [`SPECIALS`].
    pub(crate) fn at_special(&self, bytes: &[u8], at: usize, mut found: impl FnMut(u16)) {
        for (text, rules) in &self.specials {
            if text[0] == bytes[at] && bytes.get(at..at + text.len()).is_some_and(|b| b.eq_ignore_ascii_case(text)) {
                found(*rules);
            }
        }
    }

    /// Whether a literal may begin with this byte.
    pub(crate) fn may_begin(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || !byte.is_ascii() || SPECIALS.contains(&byte)
    }

    /// The words of context that a key holds, by number, each once.
    pub(crate) fn in_key(&self, key: &str) -> Vec<u16> {
        let lower = key_spelling(key);
        let mut words: Vec<u16> = Vec::new();
        for found in self.in_keys.find_overlapping_iter(&lower) {
            let length = found.end() - found.start();
            let ascii = lower[found.range()].is_ascii();
            let starts = length >= 5 || !ascii || lower[..found.start()].ends_with(' ');
            let rest = &lower[found.end()..];
            let ends = length >= 4 || !ascii || rest.starts_with(' ') || rest.starts_with("s ");
            let number = self.key_words[found.pattern().as_usize()];
            if starts && ends && !words.contains(&number) {
                words.push(number);
            }
        }
        words
    }

    /// A context word by its number.
    pub(crate) fn word(&self, number: u16) -> Arc<str> {
        self.words[usize::from(number)].clone()
    }
}

/// A key of a longer one: its end.
const KEY_BYTES_MAX: usize = 200;

/// ` customer social security no `: in small letters, camelCase and snake_case taken apart.
fn key_spelling(key: &str) -> String {
    let key = &key[key.ceil_char_boundary(key.len().saturating_sub(KEY_BYTES_MAX))..];
    let mut out = String::with_capacity(key.len() + 8);
    out.push(' ');
    let mut previous = ' ';
    for c in key.chars() {
        if !c.is_alphanumeric() {
            if previous != ' ' {
                out.push(' ');
            }
            previous = ' ';
            continue;
        }
        if previous.is_lowercase() && c.is_uppercase() {
            out.push(' ');
        }
        out.extend(c.to_lowercase());
        previous = c;
    }
    if previous != ' ' {
        out.push(' ');
    }
    out
}

/// Whether `text` stands at `at`, and where it ends. A literal stands as it is, in any case of ASCII letters. A word of
/// context ends where a word ends if it is short, and anywhere if it is long; a space in it stands for up to three bytes
/// that are no letters and digits, or for none.
fn ends(text: &[u8], entry: Entry, bytes: &[u8], at: usize) -> Option<usize> {
    if !matches!(entry, Entry::Word(_)) {
        let end = at + text.len();
        return bytes.get(at..end)?.eq_ignore_ascii_case(text).then_some(end);
    }
    let mut i = at;
    for &b in text {
        if b == b' ' {
            let gap = bytes[i..].iter().take(3).take_while(|b| b.is_ascii() && !b.is_ascii_alphanumeric()).count();
            i += gap;
        } else {
            if bytes.get(i)?.to_ascii_lowercase() != b {
                return None;
            }
            i += 1;
        }
    }
    let whole = |rest: &[u8]| rest.first().is_none_or(|b| b.is_ascii() && !b.is_ascii_alphanumeric());
    let rest = &bytes[i..];
    let long = text.len() >= 4 || !text.is_ascii();
    (long || whole(rest) || matches!(rest, [b's' | b'S', after @ ..] if whole(after))).then_some(i)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexicon() -> Lexicon {
        let mut builder = Builder::default();
        for (number, literal) in ["sk-", "AKIA", "@", "SK"].iter().enumerate() {
            builder.literal(literal, number as u16);
        }
        for word in ["social security", "ip", "ssn", "e mail", "téléphone", "电话", "passport"] {
            builder.word(word);
        }
        builder.build().unwrap()
    }

    fn found(text: &str) -> Vec<(Entry, String)> {
        let mut all = Vec::new();
        lexicon().at_word(text.as_bytes(), 0, |entry, end| all.push((entry, text[..end].to_owned())));
        lexicon().context_at(text.as_bytes(), 0, |word, end| all.push((Entry::Word(word), text[..end].to_owned())));
        all
    }

    #[test]
    fn literals_stand_as_they_are() {
        assert_eq!(found("SK-abc").len(), 2);
        assert_eq!(found("akiaX"), [(Entry::Literal(1), "akia".into())]);
        assert!(found("ski").iter().all(|(e, _)| *e == Entry::Literal(3)));
        assert!(found("aki").is_empty());
    }

    #[test]
    fn words_are_found_in_every_spelling() {
        for text in
            ["social security", "Social-Security no", "social_security", "socialsecurity", "SocialSecurityNumber"]
        {
            assert_eq!(found(text)[0].0, Entry::Word(0), "{text}");
        }
        for text in ["ip", "IP:", "ips 1"] {
            assert_eq!(found(text).len(), 1, "{text}");
        }
        for text in ["ipa", "ipsum", "ssnx"] {
            assert!(found(text).is_empty(), "{text}");
        }
        for text in ["email", "e-mail", "E_mail", "e mail"] {
            assert_eq!(found(text).len(), 1, "{text}");
        }
        assert_eq!(found("téléphones").len(), 1);
        assert_eq!(found("TÉLÉPHONE").len(), 1);
        assert_eq!(found("电话号码").len(), 1);
        assert_eq!(found("passports").len(), 1);
    }

    #[test]
    fn keys_are_taken_apart() {
        let words =
            |key: &str| lexicon().in_key(key).iter().map(|&w| lexicon().word(w).to_string()).collect::<Vec<_>>();
        assert_eq!(words("customerSocialSecurityNo"), ["social security"]);
        assert_eq!(words("customersocialsecurityno"), ["social security"]);
        assert_eq!(words("client_ip"), ["ip"]);
        assert_eq!(words("mypassportno"), ["passport"]);
        assert!(words("recipe").is_empty());
        assert!(words("content").is_empty());
    }
}
