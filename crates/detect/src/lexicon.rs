//! All words that any rule looks for, literals and context alike, looked up where a word begins.
//!
//! An automaton over thousands of words steps through every byte of a text. But words begin at one byte in six, and
//! three characters tell nearly all words of a text from all of ours: so one bit in a table of 32 kB, asked once a word,
//! does the work, and what passes is compared.

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

/// The byte after the end of the text, for a head that reaches beyond it.
const END: u8 = 63;
/// The first class of what is not a letter or a digit.
const OTHER: u8 = 36;

/// A class for each byte: letters in either case, digits, and the rest, folded together where it hardly matters.
const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut b = 0;
    while b < 256 {
        classes[b] = match b as u8 {
            c @ b'a'..=b'z' => c - b'a',
            c @ b'A'..=b'Z' => c - b'A',
            c @ b'0'..=b'9' => 26 + c - b'0',
            b' ' => OTHER,
            b'-' => OTHER + 1,
            b'_' => OTHER + 2,
            b'.' => OTHER + 3,
            c @ 0..=127 => OTHER + 4 + c % 7,
            c @ 128.. => OTHER + 11 + c % 16,
        };
        b += 1;
    }
    classes
}

static CLASSES: [u8; 256] = classes();

pub(crate) struct Lexicon {
    /// For each pair of classes, which third ones some entry goes on with.
    heads: Vec<u64>,
    /// Where the entries with a head of three classes are: an open hash table.
    slots: Vec<Slot>,
    entries: Vec<Listed>,
    /// Those that begin with punctuation.
    specials: Vec<(Box<[u8]>, Entry)>,
    /// The words of context, by number.
    words: Vec<Arc<str>>,
    /// The words of context within keys.
    in_keys: AhoCorasick,
    key_words: Vec<u16>,
}

/// An entry, with the byte after its head: most entries with the right head differ there.
struct Listed {
    /// Zero where anything may stand.
    fourth: u8,
    entry: Entry,
    text: Box<[u8]>,
}

impl Listed {
    fn new(text: Box<[u8]>, entry: Entry) -> Self {
        Self { fourth: fourth(&text).unwrap_or(0), entry, text }
    }
}

/// The byte after an entry's head; `None` where anything may stand. A space stands for several bytes, or for none.
fn fourth(text: &[u8]) -> Option<u8> {
    let plain = text.iter().take(4).all(|b| *b != b' ');
    text.get(3).copied().filter(|_| plain)
}

#[derive(Clone, Copy)]
struct Slot {
    /// The three classes, or `u32::MAX`.
    head: u32,
    first: u32,
    last: u32,
    /// Which fourth classes some entry goes on with.
    fourths: u64,
}

const EMPTY: Slot = Slot { head: u32::MAX, first: 0, last: 0, fourths: 0 };

fn slot(head: u32, slots: usize) -> usize {
    (head.wrapping_mul(0x9e37_79b1) >> 8) as usize % slots
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
        let mut headed: Vec<(u32, Box<[u8]>, Entry)> = Vec::new();
        let mut heads = vec![0u64; 64 * 64];
        let mut add = |text: &str, entry: Entry| {
            let bytes = text.as_bytes();
            if !bytes[0].is_ascii_alphanumeric() && bytes[0].is_ascii() {
                specials.push((bytes.into(), entry));
                return;
            }
            // A short one goes on with anything that may follow it.
            let thirds: Vec<u8> = match (bytes.get(2), entry) {
                (Some(&b), _) => vec![CLASSES[b as usize]],
                (None, Entry::Literal(_)) => (0..=END).collect(),
                (None, _) => (OTHER..=END).chain([b's' - b'a']).collect(),
            };
            for third in thirds {
                let (a, b) = (CLASSES[bytes[0] as usize], CLASSES[bytes[1] as usize]);
                heads[usize::from(a) << 6 | usize::from(b)] |= 1 << third;
                headed.push((head(a, b, third), bytes.into(), entry));
            }
        };
        for (literal, rules) in &self.literals {
            add(literal, Entry::Literal(*rules));
        }
        for (words, at) in [(AT_WORDS, true), (DOT_WORDS, false)] {
            for word in words {
                add(word, Entry::Spelled { at });
            }
        }
        for (number, word) in self.words.iter().enumerate() {
            for spelling in spellings(word) {
                if spelling.len() >= 2 {
                    add(&spelling, Entry::Word(number as u16));
                }
            }
        }
        headed.sort_by_key(|(head, _, _)| *head);
        let mut slots = vec![EMPTY; (headed.len() * 2).next_power_of_two().max(64)];
        let mut first = 0;
        for group in headed.chunk_by(|a, b| a.0 == b.0) {
            let head = group[0].0;
            let mut at = slot(head, slots.len());
            while slots[at].head != u32::MAX {
                at = (at + 1) % slots.len();
            }
            let last = first + group.len() as u32;
            let fourths = group.iter().fold(0, |classes, (_, text, _)| match fourth(text) {
                Some(byte) => classes | 1 << CLASSES[byte as usize],
                None => u64::MAX,
            });
            slots[at] = Slot { head, first, last, fourths };
            first = last;
        }
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
            heads,
            slots,
            entries: headed.into_iter().map(|(_, text, entry)| Listed::new(text, entry)).collect(),
            specials,
            words: self.words,
            in_keys,
            key_words,
        })
    }
}

fn head(a: u8, b: u8, c: u8) -> u32 {
    u32::from(a) << 12 | u32::from(b) << 6 | u32::from(c)
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
    /// Calls `found` with each entry that begins at `at`, where a word begins, and with where it ends.
    #[inline]
    pub(crate) fn at_word(&self, bytes: &[u8], at: usize, mut found: impl FnMut(Entry, usize)) {
        let class = |i: usize| bytes.get(i).map_or(END, |&b| CLASSES[b as usize]);
        let (a, b, c) = (class(at), class(at + 1), class(at + 2));
        if self.heads[usize::from(a) << 6 | usize::from(b)] >> c & 1 == 0 {
            return;
        }
        let head = head(a, b, c);
        let mut i = slot(head, self.slots.len());
        loop {
            let slot = self.slots[i];
            if slot.head == head {
                if (slot.fourths >> class(at + 3)) & 1 == 0 {
                    return;
                }
                let fourth = bytes.get(at + 3).map_or(0, u8::to_ascii_lowercase);
                for listed in &self.entries[slot.first as usize..slot.last as usize] {
                    if (listed.fourth == 0 || listed.fourth == fourth)
                        && let Some(end) = ends(&listed.text, listed.entry, bytes, at)
                    {
                        found(listed.entry, end);
                    }
                }
                return;
            }
            if slot.head == u32::MAX {
                return;
            }
            i = (i + 1) % self.slots.len();
        }
    }

    /// The same for one of [`SPECIALS`].
    pub(crate) fn at_special(&self, bytes: &[u8], at: usize, mut found: impl FnMut(Entry, usize)) {
        for (text, entry) in &self.specials {
            if text[0] == bytes[at]
                && let Some(end) = ends(text, *entry, bytes, at)
            {
                found(*entry, end);
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
