//! What the model is told about a token: keys made from what the token and its neighbours look like and which lists
//! they are on. Training and tagging share this code, so they cannot differ.

use super::model::{Entry, Model, list};
use super::token::{Shape, Token};

/// What is known of a token before its neighbours are looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Word {
    /// The lower-case form's hash, digits made equal.
    pub word: u32,
    /// [`Shape`], or [`NO_CASE`] where the sentence's case says nothing; the two above it stand for a sentence's ends.
    pub shape: u8,
    /// Bits: joined to the token before, first of its sentence.
    pub place: u8,
    /// What the lexicon has.
    pub entry: Entry,
    /// The path of the cluster of the form as written; of the likelier form where the case says nothing.
    pub path: u32,
    /// The path of the cluster of the form written small.
    pub small: u32,
    /// The lists in short: see [`coarse`].
    pub coarse: u8,
    /// The phrase of the lexicon that it is part of: a kind, and whether it goes on.
    pub phrase: u8,
    /// Hashes of the first 2, 3 and 4 characters.
    pub prefix: [u32; 3],
    /// Hashes of the last 1, 2, 3 and 4.
    pub suffix: [u32; 4],
    /// Characters, at most 15.
    pub len: u8,
}

/// The shape of a word in a sentence whose case says nothing.
pub const NO_CASE: u8 = 11;
/// [`Word::phrase`] of a further word of a phrase that is no place and no organization.
pub const PHRASE_ON: u8 = 11;
const BEGIN: u8 = 14;
const END: u8 = 15;

/// The most tokens that are tagged as one sentence.
pub const SENTENCE_MAX: usize = 160;

/// A hash of lower-case bytes, one at a time.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    const NEW: Hash = Hash(0xcbf2_9ce4_8422_2325);

    #[inline]
    fn byte(self, b: u8) -> Hash {
        Hash((self.0 ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
    }

    #[inline]
    fn end(self) -> u64 {
        let mut x = self.0;
        x ^= x >> 33;
        x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
        x ^= x >> 33;
        x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        x ^ (x >> 33)
    }
}

/// The hash under which the lexicon has a word, whatever its case.
#[inline]
pub fn word_hash(word: &str) -> u64 {
    let mut hash = Hash::NEW;
    lowered(word, |b| hash = hash.byte(b));
    hash.end()
}

/// The hash under which the lexicon has a phrase, from those of its words.
#[inline]
pub fn phrase_hash(before: u64, word: u64) -> u64 {
    let x = (before.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^ (x >> 29)
}

fn hash_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(Hash::NEW, |h, &b| h.byte(b)).end()
}

/// Gives the lower-case form's bytes to `out`.
#[inline]
fn lowered(word: &str, mut out: impl FnMut(u8)) {
    if word.is_ascii() {
        word.bytes().for_each(|b| out(b.to_ascii_lowercase()));
        return;
    }
    for c in word.chars() {
        let c = if c == '’' { '\'' } else { c };
        for c in c.to_lowercase() {
            c.encode_utf8(&mut [0; 4]).bytes().for_each(&mut out);
        }
    }
}

/// The lists in one byte: whether a first name, a last name; which kind of place; which kind of other word.
pub fn coarse(lists: u16) -> u8 {
    let has = |bit: u16| lists & bit != 0;
    let first = if has(list::FIRST) { 2 } else { u8::from(has(list::FIRST_RARE)) };
    let last = if has(list::LAST) { 2 } else { u8::from(has(list::LAST_RARE)) };
    let place = if has(list::CITY_BIG | list::COUNTRY | list::REGION) {
        3
    } else if has(list::CITY) {
        2
    } else {
        u8::from(has(list::CITY_SMALL))
    };
    let other = if has(list::TITLE) {
        1
    } else if has(list::CALENDAR) {
        3
    } else if has(list::GROUP) {
        5
    } else if has(list::ORG) {
        6
    } else if has(list::ORG_WORD) {
        2
    } else if has(list::PLACE_WORD) {
        4
    } else {
        0
    };
    ((first * 3 + last) * 4 + place) * 7 + other
}

/// Fills `words` with what is known of a sentence's tokens, two made-up ones before and after. [`affixes`] are left to
/// whoever needs them. Says whether the sentence's case says nothing.
pub fn look(model: &Model<'_>, text: &str, tokens: &[Token], words: &mut Vec<Word>) -> bool {
    words.clear();
    words.push(Word { shape: BEGIN, word: 1, ..Word::default() });
    words.push(Word { shape: BEGIN, word: 2, ..Word::default() });
    let mut hashes = [0u64; SENTENCE_MAX];
    let (mut lower, mut capital, mut upper) = (0u32, 0u32, 0u32);
    let mut phrases = false;
    for (token, hash) in tokens.iter().zip(&mut hashes) {
        let raw = &text[token.start as usize..token.end as usize];
        let mut word = Word { shape: token.shape as u8, place: u8::from(token.joined), ..Word::default() };
        match token.shape {
            Shape::Mark => word.word = raw.chars().next().map_or(0, |c| 0x4000_0000 | c as u32),
            Shape::Net => word.word = 3,
            Shape::Number => word.word = 16 + raw.len().min(15) as u32,
            Shape::Code => {
                *hash = word_hash(raw);
                let mut folded = Hash::NEW;
                lowered(raw, |b| folded = folded.byte(if b.is_ascii_digit() { b'0' } else { b }));
                word.word = (folded.end() >> 16) as u32;
            }
            _ => {
                *hash = word_hash(raw);
                word.entry = model.entry(*hash).unwrap_or_default();
                word.word = (*hash >> 16) as u32;
                word.coarse = coarse(word.entry.lists);
                phrases |= word.entry.lists & list::PHRASE != 0;
                match token.shape {
                    Shape::Lower => lower += 1,
                    Shape::Capital | Shape::Mixed => capital += 1,
                    Shape::Upper => upper += 1,
                    _ => {}
                }
            }
        }
        words.push(word);
    }
    // Where nearly all is written alike, case says nothing.
    let letters = lower + capital + upper;
    let no_case = if capital + upper == 0 {
        letters > 0
    } else {
        (upper >= 2 && upper * 10 >= letters * 7)
            || (lower == 0 && capital >= 4)
            || (lower > 0 && capital >= 4 && capital * 10 >= letters * 8)
    };
    for (word, token) in words[2..].iter_mut().zip(tokens) {
        let cased = !no_case || !matches!(token.shape, Shape::Lower | Shape::Capital | Shape::Upper);
        let (small, big) = (word.entry.lower, word.entry.capital);
        let prefer_big = if cased { token.shape != Shape::Lower } else { word.entry.share >= 5 };
        word.path = model.path(match (prefer_big, small, big) {
            (true, s, 0) => s,
            (true, _, b) => b,
            (false, 0, b) => b,
            (false, s, _) => s,
        });
        word.small = model.path(small);
        if !cased {
            word.shape = NO_CASE;
        }
    }
    if let Some(word) = words.get_mut(2) {
        word.place |= 2;
    }
    if phrases {
        mark_phrases(model, tokens, &hashes, words);
    }
    words.push(Word { shape: END, word: 4, ..Word::default() });
    words.push(Word { shape: END, word: 5, ..Word::default() });
    no_case
}

/// Finds the lexicon's phrases, the longest first, from the left.
fn mark_phrases(model: &Model<'_>, tokens: &[Token], hashes: &[u64; SENTENCE_MAX], words: &mut [Word]) {
    let mut at = 0;
    while at < tokens.len() {
        let mut found = None;
        if words[at + 2].entry.lists & list::PHRASE != 0 {
            let mut hash = hashes[at];
            let mut count = 1;
            let mut next = at + 1;
            while next < tokens.len() && count < 4 {
                // A hyphen or a dot may stand between.
                if tokens[next].shape == Shape::Mark && tokens[next].joined && next + 1 < tokens.len() {
                    next += 1;
                }
                if hashes[next] == 0 {
                    break;
                }
                hash = phrase_hash(hash, hashes[next]);
                count += 1;
                next += 1;
                if let Some(entry) = model.entry(hash) {
                    found = Some((next, entry.lists));
                }
            }
        }
        let Some((end, lists)) = found else {
            at += 1;
            continue;
        };
        let kind = if lists & (list::CITY_BIG | list::COUNTRY | list::REGION) != 0 {
            1
        } else if lists & list::CITY != 0 {
            2
        } else if lists & list::CITY_SMALL != 0 {
            3
        } else if lists & list::ORG != 0 {
            4
        } else {
            5
        };
        for (i, word) in words[at + 2..end + 2].iter_mut().enumerate() {
            word.phrase = kind * 2 + u8::from(i > 0);
        }
        at = end;
    }
}

/// The most tokens that may stand between two tokens of one name and be in no name by themselves: `of the`.
const GAP: usize = 2;

/// Whether a token may stand between two tokens of one name.
fn links(raw: &str) -> bool {
    const SMALL: [&str; 32] = [
        "of", "the", "and", "for", "de", "da", "do", "dos", "das", "di", "du", "del", "la", "le", "el", "al", "van",
        "von", "der", "den", "bin", "ibn", "y", "e", "og", "och", "und", "et", "in", "on", "at", "a",
    ];
    matches!(raw, "-" | "." | "," | "&" | "'" | "’" | "/" | "'s" | "’s")
        || (raw.len() == 1 && raw.as_bytes()[0].is_ascii_alphabetic())
        || (raw.len() <= 3 && SMALL.iter().any(|s| s.eq_ignore_ascii_case(raw)))
}

/// Fills `parts` with the parts of a sentence in which names may stand: ranges of `tokens`. The rest is in no name, and
/// costs nothing further. `no_case` is what [`look`] said.
pub fn parts(text: &str, tokens: &[Token], words: &[Word], no_case: bool, parts: &mut Vec<std::ops::Range<usize>>) {
    const NAMES: u16 = list::FIRST | list::FIRST_RARE | list::LAST | list::LAST_RARE | PLACES | list::ORG;
    const PLACES: u16 = list::CITY_BIG | list::CITY | list::CITY_SMALL | list::COUNTRY | list::REGION;
    parts.clear();
    let bytes = text.as_bytes();
    let raw = |t: &Token| &text[t.start as usize..t.end as usize];
    for (i, token) in tokens.iter().enumerate() {
        let word = &words[i + 2];
        let Entry { dull, share, lists, .. } = word.entry;
        let after_mark = i > 0 && matches!(bytes[tokens[i - 1].start as usize], b'@' | b'#');
        let small = share > 0 && share <= 3;
        let may = match token.shape {
            Shape::Mark => matches!(bytes[token.start as usize], b'@' | b'#'),
            // `Ann Lee@SALES`: a name goes on in an address.
            Shape::Net => i > 0 && tokens[i - 1].shape == Shape::Capital,
            Shape::Number | Shape::Clitic => false,
            Shape::Code => after_mark,
            Shape::Initial | Shape::Mixed => true,
            _ if after_mark => true,
            Shape::Letter => !dull,
            Shape::Lower if !no_case => !(dull || small && lists & list::FIRST == 0),
            Shape::Capital if !no_case && !token.first => true,
            Shape::Capital if lists & list::FIRST != 0 => true,
            _ => !dull && !(small && lists & NAMES == 0 && (no_case || token.shape == Shape::Lower)),
        };
        if !may {
            continue;
        }
        // What stands before or behind a name without being one by itself.
        let mut start = i;
        if i > 0 {
            let before = &words[i + 1].entry;
            let name = matches!(tokens[i - 1].shape, Shape::Capital | Shape::Upper)
                && !no_case
                && !(before.dull && before.common == 7);
            start -= usize::from(name || before.lists & (list::FIRST | list::TITLE) != 0);
        }
        // `al-Rashid`, `Hauta-aho`.
        let hyphen = |t: &Token| t.joined && bytes[t.start as usize] == b'-';
        if start == i && i > 1 && token.joined && hyphen(&tokens[i - 1]) && tokens[i - 2].shape == Shape::Lower {
            start -= 2;
        }
        let mut end = i + 1;
        if tokens.get(end + 1).is_some_and(|t| t.joined && t.shape == Shape::Lower && hyphen(&tokens[end])) {
            end += 2;
        }
        if let Some(next) = tokens.get(end) {
            let after = words[end + 2].entry.lists;
            let leads = lists & (list::FIRST | list::TITLE) != 0 || after & (list::ORG_WORD | list::PLACE_WORD) != 0;
            end += usize::from(leads && matches!(next.shape, Shape::Lower | Shape::Capital | Shape::Upper));
        }
        // `Inc.`, `Jr.`
        if token.end - token.start <= 5 && tokens.get(end).is_some_and(|t| t.joined && bytes[t.start as usize] == b'.')
        {
            end += 1;
        }
        match parts.last_mut() {
            Some(part)
                if start <= part.end
                    || (start <= part.end + GAP && tokens[part.end..start].iter().all(|t| links(raw(t)))) =>
            {
                part.end = part.end.max(end);
            }
            _ => parts.push(start..end),
        }
    }
}

/// Fills in a word's first and last characters.
pub fn affixes(raw: &str, word: &mut Word, buffer: &mut Vec<u8>) {
    buffer.clear();
    lowered(raw, |b| buffer.push(b));
    let lower = std::str::from_utf8(buffer).expect("characters, one after another");
    let bytes = lower.as_bytes();
    // The ends of the first four characters, and the starts of the last four.
    let (mut heads, mut tails) = ([bytes.len(); 4], [0; 4]);
    if lower.is_ascii() {
        for i in 0..4 {
            heads[i] = bytes.len().min(i + 1);
            tails[i] = bytes.len().saturating_sub(i + 1);
        }
        word.len = bytes.len().min(15) as u8;
    } else {
        for (i, (at, c)) in lower.char_indices().take(4).enumerate() {
            heads[i] = at + c.len_utf8();
        }
        for (i, (at, _)) in lower.char_indices().rev().take(4).enumerate() {
            tails[i] = at;
        }
        word.len = lower.chars().take(15).count() as u8;
    }
    for (hash, end) in word.prefix.iter_mut().zip(&heads[1..]) {
        *hash = (hash_of(&bytes[..*end]) >> 16) as u32;
    }
    for (hash, start) in word.suffix.iter_mut().zip(&tails) {
        *hash = (hash_of(&bytes[*start..]) >> 16) as u32;
    }
}

/// A feature's key from its template and two values.
#[inline]
fn key(template: u32, a: u32, b: u32) -> u32 {
    let x = (u64::from(a) << 32 | u64::from(b)).wrapping_add(u64::from(template).wrapping_mul(0xd6e8_feb8_6659_fd93));
    let x = (x ^ (x >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as u32
}

/// The features of the token at `at` (in `words`, so 2 is the first), given to `give` one after another: the template's
/// number, and the key.
#[inline]
pub fn features(words: &[Word], at: usize, mut give: impl FnMut(u32, u32)) {
    let mut out = |template: u32, a: u32, b: u32| give(template, key(template, a, b));
    let [w2, w1, w0, n1, n2] = [&words[at - 2], &words[at - 1], &words[at], &words[at + 1], &words[at + 2]];
    let shape = |w: &Word| u32::from(w.shape);
    let cut = |path: u32, bits: u32| (path >> 18) << 18 | path & ((1 << bits) - 1);
    let path = |w: &Word, bits: u32| cut(w.path, bits);
    let lists = |w: &Word| u32::from(w.coarse);
    let known = |w: &Word| u32::from(w.entry.common) << 3 | u32::from(w.entry.share);
    let s0 = shape(w0);
    let shapes = shape(w1) << 8 | s0 << 4 | shape(n1);

    out(1, w0.word, 0);
    out(2, w1.word, 0);
    out(3, n1.word, 0);
    out(4, w2.word, 0);
    out(5, n2.word, 0);
    out(6, w1.word, w0.word);
    out(7, w0.word, n1.word);
    out(8, w1.word, n1.word);
    out(9, s0, u32::from(w0.place));
    out(10, shapes, 0);
    out(11, shape(w2) << 12 | shapes, 1);
    out(12, shapes << 4 | shape(n2), 2);
    out(13, w1.word, s0);
    out(14, n1.word, s0);
    out(15, w1.word, w2.word);
    out(16, n1.word, n2.word);

    for i in 0..3 {
        out(17 + i as u32, w0.prefix[i], 0);
    }
    for i in 0..4 {
        out(20 + i as u32, w0.suffix[i], 0);
    }
    out(24, w0.suffix[2], s0);

    out(26, path(w0, 18), 0);
    out(27, path(w0, 10), 0);
    out(28, path(w0, 6), s0);
    out(29, path(w1, 18), 0);
    out(30, path(n1, 18), 0);
    out(31, path(w2, 18), 0);
    out(32, path(n2, 18), 0);
    out(33, path(w1, 8), path(w0, 8));
    out(34, path(w0, 8), path(n1, 8));
    out(35, path(w1, 8), path(n1, 8));
    out(36, path(w1, 10), s0);
    out(37, path(n1, 10), s0);

    out(38, u32::from(w0.entry.lists), s0);
    out(39, lists(w0), s0 << 8 | known(w0));
    out(40, lists(w1) << 8 | lists(w0), 0);
    out(41, lists(w0) << 8 | lists(n1), 0);
    out(42, lists(w1) << 16 | lists(w0) << 8 | lists(n1), shapes);
    out(43, lists(w0), w1.word);
    out(44, lists(w0), n1.word);
    out(45, lists(w0), path(w1, 10));
    out(46, lists(w0), path(n1, 10));
    out(47, lists(w0) << 8 | lists(w1), lists(w2));
    out(48, known(w0), s0 << 8 | u32::from(w0.place));
    out(49, known(w0), known(w1) << 4 | s0);
    out(50, known(w0), known(n1) << 4 | s0);
    out(51, u32::from(w0.phrase), s0);
    out(52, u32::from(w0.phrase) << 8 | lists(w0), u32::from(w1.phrase));
    out(53, u32::from(w0.len), s0 << 8 | known(w0));
    let small = |w: &Word, bits: u32| cut(w.small, bits);
    out(56, small(w0, 10), s0);
    out(57, small(n1, 10), shape(n1) << 4 | s0);
    out(58, path(w2, 8), path(w1, 8));
    out(59, path(n1, 8), path(n2, 8));
    out(60, path(w1, 6), path(w0, 6) << 12 ^ path(n1, 6));
    out(61, w0.word, path(w1, 6));
    out(62, w0.word, path(n1, 6));
    out(54, u32::from(w0.place & 1) << 2 | u32::from(n1.place & 1) << 1, shapes);
    out(55, u32::from(w0.place & 1) << 2 | u32::from(n1.place & 1) << 1, w1.word);
}
