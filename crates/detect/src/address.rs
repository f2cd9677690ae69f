//! Street addresses: a street with a house number, or a box, and what goes on after it: a flat, a postal code, a town, a
//! country, also in the next lines.
//!
//! No pattern says what an address looks like, but nearly every one has a number next to a word that streets are called
//! by. So the numbers of a text are looked at, and only their neighbours:
//!
//! 1. a word such as `street` after a name, with a number before the name or after the word;
//! 2. a word such as `rue` before a name, with a number at either end;
//! 3. a word that ends like `Hauptstraße`, with a number after it;
//! 4. a box with its number, and what soldiers and diplomats have instead of a town (`APO AE 09012`);
//! 5. a flat with its number, after a few names with one;
//! 6. the corner of two streets;
//! 7. after what says that an address comes, a few names and a number.
//!
//! Then it is followed to its end. In a text without capitals only words count that are hardly anything else.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

use serde::Deserialize;

/// The words of `defaults/lists/street.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLists {
    after: Vec<String>,
    sure: Vec<String>,
    before: Vec<String>,
    sure_before: Vec<String>,
    endings: Vec<String>,
    units: Vec<String>,
    flats: Vec<String>,
    boxes: HashSet<String>,
    particles: Vec<String>,
    measures: Vec<String>,
    labels: HashSet<String>,
    others: Vec<String>,
}

/// The lists that a word is on, as bits.
mod on {
    pub(super) const AFTER: u16 = 1;
    pub(super) const SURE: u16 = 1 << 1;
    pub(super) const BEFORE: u16 = 1 << 2;
    pub(super) const SURE_BEFORE: u16 = 1 << 3;
    /// A whole word that is also an ending.
    pub(super) const ENDING: u16 = 1 << 4;
    pub(super) const UNIT: u16 = 1 << 5;
    pub(super) const FLAT: u16 = 1 << 6;
    /// The first word of a box.
    pub(super) const BOX: u16 = 1 << 7;
    pub(super) const PARTICLE: u16 = 1 << 8;
    pub(super) const MEASURE: u16 = 1 << 9;
    /// The last word of a label.
    pub(super) const LABEL: u16 = 1 << 10;
    pub(super) const OTHER: u16 = 1 << 11;
    /// `corner`, and what a soldier has instead of a town.
    pub(super) const CORNER: u16 = 1 << 12;
    pub(super) const MILITARY: u16 = 1 << 13;
    /// It has an ending of streets.
    pub(super) const ENDS: u16 = 1 << 14;
    /// Without one of these near, a number is no house's.
    pub(super) const STREETS: u16 = AFTER | BEFORE | ENDING | UNIT | FLAT | BOX | LABEL | CORNER | MILITARY | ENDS;
}

/// Lists of words, each with the lists that it is on.
struct Lists {
    words: HashMap<String, u16, BuildHasherDefault<Fnv>>,
    boxes: HashSet<String>,
    labels: HashSet<String>,
    /// The longest first, so that the word that is left is the shortest.
    endings: Vec<String>,
    /// The last two bytes of endings.
    tails: HashSet<[u8; 2], BuildHasherDefault<Fnv>>,
}

/// The hash of Fowler, Noll and Vo, for short words of our own lists.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = (self.0 ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl Lists {
    fn of(raw: RawLists) -> Self {
        let mut words: HashMap<String, u16, BuildHasherDefault<Fnv>> = HashMap::default();
        let mut put = |word: &str, bit: u16| *words.entry(word.to_owned()).or_default() |= bit;
        for (list, bit) in [
            (&raw.after, on::AFTER),
            (&raw.sure, on::SURE),
            (&raw.before, on::BEFORE),
            (&raw.sure_before, on::SURE_BEFORE),
            (&raw.endings, on::ENDING),
            (&raw.units, on::UNIT),
            (&raw.flats, on::FLAT),
            (&raw.particles, on::PARTICLE),
            (&raw.measures, on::MEASURE),
            (&raw.others, on::OTHER),
        ] {
            list.iter().for_each(|word| put(word, bit));
        }
        for label in &raw.labels {
            put(label.rsplit(' ').next().unwrap_or_default(), on::LABEL);
        }
        for name in &raw.boxes {
            put(name.split([' ', '.']).next().unwrap_or_default(), on::BOX);
        }
        ["corner", "intersection"].into_iter().for_each(|word| put(word, on::CORNER));
        ["apo", "fpo", "dpo"].into_iter().for_each(|word| put(word, on::MILITARY));
        let tails = raw.endings.iter().filter_map(|ending| ending.as_bytes().last_chunk().copied()).collect();
        Self { words, boxes: raw.boxes, labels: raw.labels, endings: raw.endings, tails }
    }

    /// The lists that a word, in whatever letters, is on; `may_end` says whether its ending counts.
    fn find(&self, written: &str, may_end: bool) -> u16 {
        let mut short = [0u8; WORD_MAX];
        if written.is_ascii() {
            let Some(short) = short.get_mut(..written.len()) else { return 0 };
            short.copy_from_slice(written.as_bytes());
            short.make_ascii_lowercase();
            std::str::from_utf8(short).map_or(0, |word| self.of_word(word, may_end))
        } else {
            self.of_word(&written.to_lowercase(), may_end)
        }
    }

    /// The same for a word in small letters.
    fn of_word(&self, word: &str, may_end: bool) -> u16 {
        let tail = || word.as_bytes().last_chunk().is_some_and(|tail| self.tails.contains(tail));
        let ends = may_end && tail() && self.ends(word);
        self.words.get(word).copied().unwrap_or(0) | if ends { on::ENDS } else { 0 }
    }

    /// Whether a word has an ending of streets. Short endings are those of many words.
    fn ends(&self, word: &str) -> bool {
        let long = |rest: &str, ending: &str| rest.chars().count() >= if ending.chars().count() > 3 { 3 } else { 4 };
        self.endings.iter().any(|ending| word.strip_suffix(ending.as_str()).is_some_and(|rest| long(rest, ending)))
    }
}

static LISTS: LazyLock<Lists> = LazyLock::new(|| {
    Lists::of(
        toml::from_str(include_str!("../../../defaults/lists/street.toml")).expect("a test parses the embedded lists"),
    )
});

/// A word of more bytes is on no list.
const WORD_MAX: usize = 32;
/// How far from a number a word must be that makes it a house's: as far as anything below looks.
const NEAR_BACK: usize = 16;
const NEAR_FORTH: usize = 12;

/// An address in a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Address {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// 0.0 to 1.0.
    pub(crate) score: f32,
}

/// A street with its number.
const STREET_SCORE: f32 = 0.7;
/// With a postal code or a town after it, which are findings of their own unless the whole is surer.
const WHOLE_SCORE: f32 = 1.0;
/// Something with a number where an address was said to come.
const LABELLED_SCORE: f32 = 0.6;

/// A street's name has so many words.
const NAME_MAX: usize = 5;
/// After a street come so many parts.
const PARTS_MAX: usize = 8;
/// A part has so many words.
const PART_MAX: usize = 6;
/// Between what says that an address comes and the address: `is now`, `of my mother is`.
const LABEL_GAP_MAX: usize = 5;
/// A number after a label, which may be a postal code, has so many characters.
const LABELLED_MAX: usize = 6;
/// A house number has so many characters: `1234`, `12-14b`, `1/2`.
const HOUSE_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Begins with a small letter, or with one that knows no case.
    Small,
    /// Begins with a capital.
    Capital,
    /// Has a digit.
    Number,
    Comma,
    Dot,
    Colon,
    Line,
    Other,
}

#[derive(Clone, Copy, Debug)]
struct Token {
    start: usize,
    end: usize,
    kind: Kind,
    /// Which lists a word is on.
    on: u16,
}

/// What a byte below 128 is in a text.
const CLASS: [Class; 128] = {
    let mut class = [Class::Other; 128];
    let mut b = 0;
    while b < 128 {
        let c = b as u8;
        class[b] = match c {
            b'\n' => Class::Line,
            b',' | b';' => Class::Comma,
            b'.' => Class::Dot,
            b':' => Class::Colon,
            b'0'..=b'9' => Class::Digit,
            b'A'..=b'Z' => Class::Upper,
            b'a'..=b'z' => Class::Lower,
            b'-' | b'\'' | b'/' => Class::Joins,
            _ if c.is_ascii_whitespace() || c == 0x0b => Class::Space,
            _ => Class::Other,
        };
        b += 1;
    }
    class
};

#[derive(Clone, Copy, PartialEq)]
enum Class {
    Space,
    Line,
    Comma,
    Dot,
    Colon,
    Digit,
    Upper,
    Lower,
    Joins,
    Other,
}

/// The class of the character at `at`, and its length.
fn class_at(text: &str, at: usize) -> (Class, usize) {
    let b = text.as_bytes()[at];
    if b < 128 {
        return (CLASS[usize::from(b)], 1);
    }
    let Some(c) = text[at..].chars().next() else { return (Class::Other, 1) };
    let class = if c.is_numeric() {
        Class::Digit
    } else if c.is_uppercase() {
        Class::Upper
    } else if c.is_alphanumeric() {
        Class::Lower
    } else if c.is_whitespace() {
        Class::Space
    } else if c == '’' {
        Class::Joins
    } else {
        Class::Other
    };
    (class, c.len_utf8())
}

/// Words with their hyphens and apostrophes, and single characters; spaces go.
fn tokens(text: &str) -> Vec<Token> {
    let word = |class: Class| matches!(class, Class::Digit | Class::Upper | Class::Lower);
    let mut all: Vec<Token> = Vec::with_capacity(text.len() / 5);
    let mut at = 0;
    while at < text.len() {
        let start = at;
        let (class, length) = class_at(text, at);
        at += length;
        let kind = match class {
            Class::Space => continue,
            Class::Line => Kind::Line,
            Class::Comma => Kind::Comma,
            Class::Dot => Kind::Dot,
            Class::Colon => Kind::Colon,
            Class::Joins | Class::Other => Kind::Other,
            first => {
                let mut digit = first == Class::Digit;
                while at < text.len() {
                    let (class, length) = class_at(text, at);
                    let joins =
                        class == Class::Joins && at + length < text.len() && word(class_at(text, at + length).0);
                    if !word(class) && !joins {
                        break;
                    }
                    digit |= class == Class::Digit;
                    at += length;
                }
                match (digit, first) {
                    (true, _) => Kind::Number,
                    (false, Class::Upper) => Kind::Capital,
                    _ => Kind::Small,
                }
            }
        };
        all.push(Token { start, end: at, kind, on: 0 });
    }
    all
}

/// Looks up the words near numbers; whether one of them makes a number a house's. Sorted places of those.
fn look_up(text: &str, tokens: &mut [Token], caseless: bool) -> Vec<usize> {
    let mut words = Vec::new();
    let mut done = 0;
    for number in 0..tokens.len() {
        if tokens[number].kind != Kind::Number {
            continue;
        }
        let from = number.saturating_sub(NEAR_BACK).max(done);
        done = (number + NEAR_FORTH + 1).min(tokens.len());
        for (i, token) in tokens.iter_mut().enumerate().take(done).skip(from) {
            if matches!(token.kind, Kind::Small | Kind::Capital) {
                token.on = LISTS.find(&text[token.start..token.end], caseless || token.kind == Kind::Capital);
                if token.on & on::STREETS != 0 {
                    words.push(i);
                }
            }
        }
    }
    words
}

/// Whether some word with a digit is short enough for a number in an address: what most texts lack.
fn may_have_house(bytes: &[u8]) -> bool {
    let of_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/' | b'_');
    let mut at = 0;
    while let Some(digit) = bytes[at..].iter().position(u8::is_ascii_digit) {
        let before = bytes[..at + digit].iter().rev().take(HOUSE_MAX).take_while(|b| of_word(b)).count();
        let after = bytes[at + digit..].iter().take_while(|b| of_word(b)).count();
        if before + after <= HOUSE_MAX {
            return true;
        }
        at += digit + after;
    }
    false
}

/// The addresses in a text, in order; none overlap.
pub(crate) fn find(text: &str) -> Vec<Address> {
    if !may_have_house(text.as_bytes()) {
        return Vec::new();
    }
    let mut tokens = tokens(text);
    let caseless = !text.chars().any(char::is_uppercase);
    let words = look_up(text, &mut tokens, caseless);
    let reader = Reader { text, tokens: &tokens, lists: &LISTS, caseless };
    let mut found: Vec<Address> = Vec::new();
    let mut done = 0;
    for number in 0..tokens.len() {
        if tokens[number].kind != Kind::Number || number < done {
            continue;
        }
        let near = words.partition_point(|word| word + NEAR_BACK < number);
        if words.get(near).is_none_or(|word| *word > number + NEAR_FORTH) {
            continue;
        }
        let Some((first, last, score)) = reader.around(number, done) else { continue };
        let (last, score) = reader.to_the_end(last, score);
        let first = reader.to_the_beginning(first, done);
        found.push(Address { start: tokens[first].start, end: tokens[last].end, score });
        done = last + 1;
    }
    found
}

struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Token],
    lists: &'a Lists,
    /// Nobody wrote a capital: any word may be a name.
    caseless: bool,
}

impl Reader<'_> {
    fn kind(&self, i: usize) -> Option<Kind> {
        self.tokens.get(i).map(|token| token.kind)
    }

    fn written(&self, i: usize) -> &str {
        self.tokens.get(i).map_or("", |token| &self.text[token.start..token.end])
    }

    /// Whether a word is on a list.
    fn is(&self, i: usize, list: u16) -> bool {
        self.tokens.get(i).is_some_and(|token| token.on & list != 0)
    }

    /// Whether a word is one of these, in whatever letters.
    fn is_one(&self, i: usize, words: &[&str]) -> bool {
        let written = self.written(i);
        words.iter().any(|word| word.eq_ignore_ascii_case(written))
    }

    /// In small letters.
    fn word(&self, i: usize) -> String {
        self.written(i).to_lowercase()
    }

    fn is_house(&self, i: usize) -> bool {
        let written = self.written(i);
        self.kind(i) == Some(Kind::Number)
            && written.len() <= HOUSE_MAX
            && written.starts_with(|c: char| c.is_numeric())
            && written.chars().filter(|c| c.is_alphabetic()).count() <= 2
    }

    /// `5th`, `42nd`, as names of streets.
    fn is_ordinal(&self, i: usize) -> bool {
        let written = self.written(i);
        let digits = written.bytes().take_while(u8::is_ascii_digit).count();
        let ending = &written[digits..];
        digits > 0 && ["st", "nd", "rd", "th", "er", "º", "ª"].iter().any(|own| own.eq_ignore_ascii_case(ending))
    }

    fn is_name(&self, i: usize) -> bool {
        match self.kind(i) {
            Some(Kind::Capital) => true,
            Some(Kind::Small) => !self.is_latin(i) || self.is_elided(i),
            _ => false,
        }
    }

    /// `d'Ouchy`, `l’Église`.
    fn is_elided(&self, i: usize) -> bool {
        let rest = self.written(i).split_once(['\'', '’']).filter(|(before, _)| before.len() <= 4);
        rest.is_some_and(|(_, name)| name.starts_with(char::is_uppercase))
    }

    /// Whether the letters know capitals.
    fn is_latin(&self, i: usize) -> bool {
        self.written(i).chars().any(char::is_lowercase)
    }

    fn is_particle(&self, i: usize) -> bool {
        matches!(self.kind(i), Some(Kind::Small | Kind::Capital)) && self.is(i, on::PARTICLE)
    }

    /// A name, or what may be one in a text without capitals.
    fn may_be_name(&self, i: usize) -> bool {
        self.is_name(i) || self.caseless && self.kind(i) == Some(Kind::Small) && !self.is_particle(i)
    }

    /// `Apt. 4`, `Suite #12`, `Flat B`: the last token.
    fn flat(&self, first: usize) -> Option<usize> {
        if !self.is(first, on::UNIT) {
            return None;
        }
        let mut at = self.after_dot(first);
        at += usize::from(self.written(at) == "#");
        let letter = self.kind(at) == Some(Kind::Capital) && self.written(at).len() == 1;
        (self.kind(at) == Some(Kind::Number) || letter).then_some(at)
    }

    /// A word, and the dot that shortens it: the token after both.
    fn after_dot(&self, i: usize) -> usize {
        let touches = self.kind(i + 1) == Some(Kind::Dot) && self.tokens[i + 1].start == self.tokens[i].end;
        i + 1 + usize::from(touches)
    }

    /// The address that a number is part of, as tokens from the first to the last, unless it goes back before `least`.
    fn around(&self, number: usize, least: usize) -> Option<(usize, usize, f32)> {
        if let Some((first, last)) = self.at_corner(number, least) {
            return Some((first, last, STREET_SCORE));
        }
        if self.is_house(number) {
            // `79063 63 Rue de Kairouan`
            let second = if self.is_house(number + 1) { self.number_first(number + 1) } else { None };
            let street = second
                .map(|(_, last)| (number, last))
                .or_else(|| self.number_first(number))
                .or_else(|| self.word_before(number, least))
                .or_else(|| self.boxed(number, least))
                .or_else(|| self.with_flat(number))
                .or_else(|| self.flat_first(number, least));
            if let Some((first, last)) = street {
                return Some((first, self.house_after(last), STREET_SCORE));
            }
        }
        self.military(number, least)
            .map(|(first, last)| (first, last, WHOLE_SCORE))
            .or_else(|| self.labelled(number, least).map(|(first, last)| (first, last, LABELLED_SCORE)))
    }

    /// `9243 Avenue d'Ouchy 109`: the number after the street as well.
    fn house_after(&self, last: usize) -> usize {
        let next = self.after_dot(last);
        if self.kind(last) != Some(Kind::Number) && self.is_house(next) { next } else { last }
    }

    /// What belongs to an address before its street: another number, a flat.
    fn to_the_beginning(&self, first: usize, least: usize) -> usize {
        let mut first = first;
        for _ in 0..2 {
            if first > least && self.is_house(first - 1) {
                first -= 1;
            }
            // The flat's number may be the one that was taken for another of the street's.
            let ends = |last: Option<usize>| last == Some(first) || last.is_some() && last == first.checked_sub(1);
            let word = (1..=3).find(|back| first >= least + back && ends(self.flat(first - back)));
            if let Some(back) = word {
                first -= back;
            }
        }
        first
    }

    /// `the corner of Oak Street 5 and Elm Street`: a number stands in one of the two.
    fn at_corner(&self, number: usize, least: usize) -> Option<(usize, usize)> {
        let corner = (least..number)
            .rev()
            .take(PART_MAX + 2)
            .find(|&i| self.is(i, on::CORNER) && self.is_one(i + 1, &["of", "between"]))?;
        let and = (corner + 2..corner + 4 + 2 * NAME_MAX).find(|&i| self.is_one(i, &["and", "&"]))?;
        let names = (and + 1..and + 1 + NAME_MAX)
            .take_while(|&i| self.may_be_name(i) || self.is_house(i) || self.is_particle(i));
        let last = names.filter(|&i| !self.is_particle(i)).last()?;
        let the = corner > least && self.is_one(corner - 1, &["the"]);
        Some((corner - usize::from(the), last))
    }

    /// `7878 Rahu 37 Apt. 405`, `Zachary Cliffs 82\n Suite 446`: a street that no list has, told by the flat after it.
    fn with_flat(&self, number: usize) -> Option<(usize, usize)> {
        let mut at = number + 1;
        let mut line = false;
        while at < number + 3 + NAME_MAX {
            if self.is(at, on::FLAT) {
                return self.flat(at).map(|_| {
                    let names = (0..number).rev().take(NAME_MAX).take_while(|&i| self.is_name(i) || self.is_house(i));
                    (names.last().unwrap_or(number), at - 1)
                });
            }
            match self.kind(at) {
                Some(Kind::Line | Kind::Comma | Kind::Dot) if !line => line = true,
                Some(_) if !line && (self.may_be_name(at) || self.is_house(at) || self.is_particle(at)) => {}
                _ => return None,
            }
            at += 1;
        }
        None
    }

    /// `Suite 913 0547 Bygget 91`: the flat before a street that no list has. `number` is the flat's.
    fn flat_first(&self, number: usize, least: usize) -> Option<(usize, usize)> {
        let word = (1..=3).find(|back| number >= least + back && self.is(number - back, on::FLAT))?;
        let first = number - word;
        if self.flat(first) != Some(number) {
            return None;
        }
        let from = number + 1 + usize::from(self.is_house(number + 1));
        let names = (from..from + NAME_MAX).take_while(|&i| self.is_name(i) || self.is_particle(i)).count();
        let last = from + names;
        (names > 0 && (self.is_house(last) || from > number + 1)).then(|| {
            let last = if self.is_house(last) { last } else { last - 1 };
            (first, last)
        })
    }

    /// `PSC 3, Box 12\nAPO AE 09012`: USPS Publication 28, section 238.
    fn military(&self, number: usize, least: usize) -> Option<(usize, usize)> {
        let office = number.checked_sub(2).filter(|office| *office >= least)?;
        let found = self.is(office, on::MILITARY)
            && self.is_one(office + 1, &["aa", "ae", "ap"])
            && self.written(number).len() >= 5;
        let mut first = office;
        if found && office > least && self.kind(office - 1) == Some(Kind::Line) {
            // The line before: a ship, a unit and its box.
            let parts = (least..office - 1).rev().take(PART_MAX);
            let line =
                parts.take_while(|&i| self.may_be_name(i) || matches!(self.kind(i), Some(Kind::Number | Kind::Comma)));
            first = line.last().unwrap_or(office);
        }
        found.then_some((first, number))
    }

    /// `12 Oak Street`, `12, rue de la Paix`, `12 Hauptstraße`.
    fn number_first(&self, number: usize) -> Option<(usize, usize)> {
        let comma = usize::from(self.kind(number + 1) == Some(Kind::Comma));
        let next = number + 1 + comma;
        if self.is_one(next, &["bis", "ter"]) {
            return self.named_after(next + 1).map(|last| (number, last));
        }
        if let Some(last) = self.named_after(next) {
            return Some((number, last));
        }
        if comma == 1 {
            return None;
        }
        let mut names = 0;
        for i in next..next + NAME_MAX + 1 {
            // `12 N. Oak St.`
            if self.kind(i) == Some(Kind::Dot) && self.written(i - 1).len() <= 2 {
                continue;
            }
            let capital = self.is_name(i);
            let short = self.written(i).len() == 1 && !(self.after_dot(i) == i + 2 && self.is_house(i + 2));
            if names > 0 && self.is(i, on::AFTER) && !short {
                // `5 Minutes Way`, but `5 oak street`.
                let clear = self.is(i, on::SURE) && i - next <= 2;
                let fits =
                    |i| self.is_name(i) || self.is_ordinal(i) || self.is_particle(i) || self.kind(i) == Some(Kind::Dot);
                let named = (next..i).all(fits) && (next..i).any(|i| !self.is_particle(i));
                let measured = self.is(next, on::MEASURE) || i == next + 1 && self.is_one(next, &["street"]);
                let plain = (next..i).all(|i| self.kind(i) == Some(Kind::Small) && !self.is_particle(i));
                let told = capital || self.is_house(self.after_dot(i));
                if !measured && (named && (told || clear) || plain && clear) {
                    return Some((number, self.street_end(i)));
                }
            }
            if names == 0 && (capital || self.caseless) && self.ends_like_a_street(i) {
                return Some((number, i));
            }
            if !(capital || self.is_ordinal(i) || self.is_particle(i) || self.kind(i) == Some(Kind::Small)) {
                return None;
            }
            names += 1;
        }
        None
    }

    /// After a street's word: `NW`, `East`, and another such word (`Park Avenue`).
    fn street_end(&self, i: usize) -> usize {
        let mut last = i;
        for _ in 0..2 {
            let next = self.after_dot(last);
            let points =
                self.is_one(next, &["n", "s", "e", "w", "ne", "nw", "se", "sw", "north", "south", "east", "west"]);
            if self.kind(next) == Some(Kind::Capital) && (points || self.is(next, on::SURE)) {
                last = next;
            }
        }
        last
    }

    /// A word such as `rue` and a name: where that ends.
    fn named_after(&self, i: usize) -> Option<usize> {
        let length = self.written(i).len();
        if !self.is(i, on::BEFORE) || length < 2 {
            return None;
        }
        // `os. Zwycięstwa`, but `OS X`.
        if length == 2 && self.after_dot(i) == i + 1 && !self.is_one(i, &["am", "im"]) {
            return None;
        }
        let clear = self.is(i, on::SURE_BEFORE);
        if !clear && self.kind(i) != Some(Kind::Capital) && !self.is_name(i + 1) && !self.is_particle(i + 1) {
            return None;
        }
        let first = self.after_dot(i);
        let mut last = None;
        for at in first..first + NAME_MAX + 1 {
            let small = || clear && last.is_none() && self.kind(at) == Some(Kind::Small) && !self.is_particle(at);
            if self.is_name(at) || small() {
                last = Some(at);
            } else if !self.is_particle(at) {
                break;
            }
        }
        last
    }

    fn ends_like_a_street(&self, i: usize) -> bool {
        // `Hauptstr. 12`
        let shortened = || {
            let word = self.word(i);
            self.after_dot(i) == i + 2 && word.strip_suffix("str").is_some_and(|rest| rest.chars().count() >= 4)
        };
        self.is(i, on::ENDS) || shortened()
    }

    /// A street before its number: `Calle Mayor, 12`, `Hauptstraße 12`, `Váci utca 5`.
    fn word_before(&self, number: usize, least: usize) -> Option<(usize, usize)> {
        let mut at = number;
        // `nº 12`, `no. 12`, `n. 12`
        if at > least + 1 && self.kind(at - 1) == Some(Kind::Dot) && self.is_one(at - 2, &["n", "no", "nr"]) {
            at -= 2;
        } else if at > least && self.is_one(at - 1, &["nº", "n°", "no", "nr", "número", "numero"]) {
            at -= 1;
        }
        if at > least && self.kind(at - 1) == Some(Kind::Comma) {
            at -= 1;
        }
        if at > least && self.kind(at - 1) == Some(Kind::Dot) {
            at -= 1;
        }
        let last = at.checked_sub(1).filter(|last| *last >= least)?;
        if self.kind(last) == Some(Kind::Capital) && self.ends_like_a_street(last) {
            // `Alte Schönhauser Straße` is told by its last word alone.
            return Some((last, number));
        }
        if self.is(last, on::AFTER) && last > least && self.is_name(last - 1) {
            // `Kossuth Lajos u. 12`; in English the number comes before.
            let first =
                (least..last).rev().take(NAME_MAX).take_while(|i| self.is_name(*i) || self.is_particle(*i)).last();
            return first.map(|first| (first, number));
        }
        // `Alte Schönhauser Straße 12`: the word stands by itself.
        let own = self.kind(last) == Some(Kind::Capital) && self.is(last, on::ENDING) && self.written(last).len() > 4;
        if own && last > least && self.is_name(last - 1) {
            let first = (least..last).rev().take(3).take_while(|i| self.is_name(*i)).last();
            return first.map(|first| (first, number));
        }
        (least.max(last.saturating_sub(NAME_MAX + 1))..last)
            .rev()
            .find(|&first| self.named_after(first) == Some(last))
            .map(|first| (first, number))
    }

    /// `PO Box 12`.
    fn boxed(&self, number: usize, least: usize) -> Option<(usize, usize)> {
        let end = self.tokens[number].start;
        (least.max(number.saturating_sub(6))..number).find_map(|first| {
            if !self.is(first, on::BOX) {
                return None;
            }
            let between =
                self.text[self.tokens[first].start..end].trim_end_matches([' ', ':', '#', '.']).to_lowercase();
            let short = between.len() < 4 && self.kind(first) != Some(Kind::Capital);
            (self.lists.boxes.contains(&between) && !short).then_some((first, number))
        })
    }

    /// A few names and a number after what says that an address comes.
    fn labelled(&self, number: usize, least: usize) -> Option<(usize, usize)> {
        if self.written(number).len() > LABELLED_MAX {
            return None;
        }
        // Back over the names.
        let mut first = number;
        while first > least
            && number - first < PART_MAX
            && (self.is_name(first - 1) || self.is_house(first - 1) || self.is_particle(first - 1))
        {
            first -= 1;
        }
        while first < number && self.is_particle(first) {
            first += 1;
        }
        // Forth over them.
        let mut last = number;
        while last - number < PART_MAX && (self.is_name(last + 1) || self.is_house(last + 1)) {
            last += 1;
        }
        let label = (0..LABEL_GAP_MAX).take_while(|gap| first > least + gap).any(|gap| {
            let at = first - 1 - gap;
            if !self.is(at, on::LABEL) {
                return false;
            }
            let two =
                at.checked_sub(1).map_or(String::new(), |before| format!("{} {}", self.word(before), self.word(at)));
            let three = at.checked_sub(2).map_or(String::new(), |before| format!("{} {two}", self.word(before)));
            self.lists.labels.contains(&self.word(at))
                || self.lists.labels.contains(&two)
                || self.lists.labels.contains(&three)
        });
        // An address on the net has a name of its own, and so has the number of an order.
        let other = (first.saturating_sub(LABEL_GAP_MAX + 1)..number).any(|i| self.is(i, on::OTHER));
        (label && !other && first < last).then_some((first, last))
    }

    /// Follows an address over its further parts: the last token, and the score.
    fn to_the_end(&self, last: usize, mut score: f32) -> (usize, f32) {
        let mut last = last;
        for _ in 0..PARTS_MAX {
            let mut at = last + 1;
            let (mut lines, mut apart) = (0, false);
            while let Some(kind) = self.kind(at) {
                match kind {
                    Kind::Line => lines += 1,
                    Kind::Comma => apart = true,
                    // `St.`; a full stop has a space after it.
                    Kind::Dot
                        if self.tokens[at].start == self.tokens[at - 1].end && self.written(at - 1).len() <= 5 => {}
                    Kind::Other if matches!(self.written(at), "-" | "–" | "|" | "#") => {}
                    _ => break,
                }
                at += 1;
            }
            if lines > 2 {
                break;
            }
            let Some((end, code)) = self.part(at, apart || lines > 0) else { break };
            if code {
                score = score.max(WHOLE_SCORE);
            }
            last = end;
        }
        (last, score)
    }

    /// A short word in small letters before a postal code with which the line ends.
    fn is_region(&self, i: usize) -> bool {
        let code = |i| self.kind(i) == Some(Kind::Number) && (3..=8).contains(&self.written(i).len());
        let half = |i| self.kind(i) == Some(Kind::Number) && self.written(i).len() <= 4;
        let ends = |i| matches!(self.kind(i), None | Some(Kind::Line));
        self.kind(i) == Some(Kind::Small)
            && self.written(i).len() <= 3
            && code(i + 1)
            && (ends(i + 2) || half(i + 2) && ends(i + 3))
    }

    /// A further part of an address that begins here: its last token, and whether it says where on Earth that is. Without a
    /// comma or a line's end before it, only a flat, or a town with its code.
    fn part(&self, first: usize, apart: bool) -> Option<(usize, bool)> {
        self.kind(first)?;
        if let Some(last) = self.flat(first) {
            // A town may follow without a comma.
            let town =
                (last + 1..last + 5).take_while(|&i| self.kind(i) == Some(Kind::Capital) && self.flat(i).is_none());
            return Some((town.last().unwrap_or(last), false));
        }
        // `2nd floor`
        if self.is_ordinal(first) && self.is(first + 1, on::UNIT) {
            return Some((first + 1, false));
        }
        let (mut at, mut last) = (first, None);
        let (mut code, mut names) = (false, 0);
        while at < first + PART_MAX {
            if self.kind(at) == Some(Kind::Number) {
                // A half of a postal code has two characters, a whole one no more than ten.
                if !(2..=10).contains(&self.written(at).len()) {
                    break;
                }
                code = true;
                last = Some(at);
            } else if last.is_some() && self.flat(at).is_some() {
                // `Gregersen Prairie Suite 4`
                return self.flat(at).map(|last| (last, false));
            } else if self.may_be_name(at) {
                names += 1;
                last = Some(at);
            } else if last.is_some() && !code && self.is_region(at) {
                // `Asker nan 1386`: a region's abbreviation, before a postal code.
                last = Some(at);
            } else if !(self.is_particle(at) && last.is_some()) {
                break;
            }
            at += 1;
        }
        // A region's abbreviation, in whatever letters.
        if last.is_none() && apart && self.kind(first) == Some(Kind::Small) && self.written(first).len() <= 3 {
            if self.is_region(first) {
                let half = self.kind(first + 2) == Some(Kind::Number);
                return Some((first + 1 + usize::from(half), true));
            }
            return (self.kind(first + 1) == Some(Kind::Line)).then_some((first, false));
        }
        let last = last?;
        // Names before a flat in the next line.
        let next = last + 1;
        if !code && matches!(self.kind(next), Some(Kind::Line | Kind::Comma)) && self.flat(next + 1).is_some() {
            return Some((last, false));
        }
        let whole = matches!(self.kind(last + 1), None | Some(Kind::Comma | Kind::Line | Kind::Dot))
            || self.kind(last + 1) == Some(Kind::Other) && matches!(self.written(last + 1), "!" | "?" | ")" | "\"");
        let short = names <= 4 && last - first < 5;
        match (code, apart) {
            (true, true) => Some((last, true)),
            (true, false) => (names > 0).then_some((last, true)),
            // A town, a state, a country.
            (false, true) => (whole && short && names > 0).then_some((last, names > 0)),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        find(text).iter().map(|a| &text[a.start..a.end]).collect()
    }

    #[test]
    fn streets_of_many_countries_are_found_whole() {
        for (text, address) in [
            ("Please ship it to 805 Lincoln Street, Austin, TX 78746.", "805 Lincoln Street, Austin, TX 78746"),
            ("I live at 221B Baker St, London NW1 6XE", "221B Baker St, London NW1 6XE"),
            (
                "He moved to 12 N. Oak St. Apt. 4\nSpringfield, IL 62704\nUSA",
                "12 N. Oak St. Apt. 4\nSpringfield, IL 62704\nUSA",
            ),
            ("350 5th Avenue, New York", "350 5th Avenue, New York"),
            ("wohnt in der Hauptstraße 12a, 10115 Berlin", "Hauptstraße 12a, 10115 Berlin"),
            ("12 rue de la Paix, 75002 Paris", "12 rue de la Paix, 75002 Paris"),
            ("en Calle Mayor 12, 28013 Madrid", "Calle Mayor 12, 28013 Madrid"),
            ("abito in Via Roma, 10, 00184 Roma", "Via Roma, 10, 00184 Roma"),
            ("Rua do Arenque 1634", "Rua do Arenque 1634"),
            ("Kerkstraat 12, 1017 GC Amsterdam", "Kerkstraat 12, 1017 GC Amsterdam"),
            ("Storgatan 5, 111 51 Stockholm", "Storgatan 5, 111 51 Stockholm"),
            ("at PO Box 1234, Boise, ID 83701", "PO Box 1234, Boise, ID 83701"),
            ("my address is Μεγάλη Άμμος 184", "Μεγάλη Άμμος 184"),
            ("ship to 12 oak street", "12 oak street"),
            ("14 MG Road, Bengaluru 560001", "14 MG Road, Bengaluru 560001"),
            ("Váci utca 5, 1052 Budapest", "Váci utca 5, 1052 Budapest"),
            ("Ana Suite 12 0547 Bygget 91\nAnnerstad nan 340 12", "Suite 12 0547 Bygget 91\nAnnerstad nan 340 12"),
            ("at 92 Avenue d'Ouchy 109", "92 Avenue d'Ouchy 109"),
        ] {
            assert_eq!(found(text), [address], "{text}");
        }
    }

    #[test]
    fn what_has_a_number_is_no_address_yet() {
        for text in [
            "The order 12345 was placed on 3 May",
            "it takes 5 minutes on the way",
            "2 people in place of 3",
            "IP address 10.0.0.1 and port 8080",
            "Chapter 12 The Road Goes On",
            "Drive 3 failed; 4 drives pass",
            "the email address of user 5",
            "In 2020 Street View came",
            "version 3 of the court's 5 rules",
        ] {
            assert!(found(text).is_empty(), "{text}: {:?}", found(text));
        }
    }

    #[test]
    fn foreign_text_does_not_panic_and_costs_little() {
        for text in ["1 ".repeat(20_000), "12 Oak ".repeat(10_000), "1 Oak Street, ".repeat(10_000), "é1".repeat(9_999)]
        {
            for address in find(&text) {
                assert!(text.get(address.start..address.end).is_some());
            }
        }
    }
}
