//! The text as a reader sees it: without invisible characters, with plain letters, digits, dashes and spaces, escapes
//! decoded and disguises undone; and the way back from offsets in it to offsets in the original.
//!
//! What is folded here is folded for the search alone, never in what is stored. It happens in layers, each of which may
//! show what the one before had hidden (`%2540`, `&amp;#64;`):
//!
//! 1. Characters and escapes ([`Normalized::new`]): characters that nobody sees, other scripts' digits, mathematical and
//!    full-width letters; letters of other scripts that look like Latin ones, where they stand in a Latin word (folding
//!    them elsewhere would break words in their own language); percent-encoding, HTML's character references, `\u0040`.
//! 2. Spellings ([`Normalized::respell`]), once the pass over the text has shown where they may be: `[at]`, `(dot)`,
//!    `4 1 1 1 …`, and numbers that go on in the next line.

/// A text whose offsets map back to the original's.
pub(crate) struct Normalized {
    pub(crate) text: String,
    layers: Vec<Layer>,
}

/// Where something was folded, in order: offsets in the folded text, and the bytes it stands for.
type Layer = Vec<Fold>;

/// `text[at..at + len]` stands for `original[from..to]`. Between two folds the texts are the same.
struct Fold {
    at: usize,
    len: usize,
    from: usize,
    to: usize,
}

/// Escapes within escapes are undone so often.
const LAYERS_MAX: usize = 3;

/// A copy of a text with replacements, begun when the first one is made.
struct Rewriter<'a> {
    original: &'a str,
    text: String,
    folds: Layer,
    done: usize,
}

impl<'a> Rewriter<'a> {
    fn new(original: &'a str) -> Self {
        Self { original, text: String::new(), folds: Vec::new(), done: 0 }
    }

    /// Puts `with` in the place of `from..to`, which comes after all that was replaced before.
    fn replace(&mut self, from: usize, to: usize, with: &str) {
        if self.folds.is_empty() {
            self.text.reserve(self.original.len());
        }
        self.text.push_str(&self.original[self.done..from]);
        self.folds.push(Fold { at: self.text.len(), len: with.len(), from, to });
        self.text.push_str(with);
        self.done = to;
    }

    fn finish(mut self) -> Option<(String, Layer)> {
        if self.folds.is_empty() {
            return None;
        }
        self.text.push_str(&self.original[self.done..]);
        Some((self.text, self.folds))
    }
}

impl Normalized {
    /// `None` when the text is already plain: most texts, at the cost of looking for what never stands in them.
    pub(crate) fn new(original: &str) -> Option<Normalized> {
        let (mut text, folds) = unescape(original)?;
        let mut layers = vec![folds];
        while layers.len() < LAYERS_MAX {
            let Some((next, folds)) = unescape(&text) else { break };
            text = next;
            layers.push(folds);
        }
        Some(Normalized { text, layers })
    }

    /// The same text with its spellings undone, if it has any: `at` and `dot` are where these words stand (and how they
    /// end, and what they stand for), `numbers` where groups of digits begin.
    pub(crate) fn respell(
        before: Option<Normalized>,
        original: &str,
        spelled: &[Spelled],
        numbers: &[usize],
    ) -> Result<Normalized, Option<Normalized>> {
        let text = before.as_ref().map_or(original, |n| &n.text);
        let mut replacements = Vec::new();
        addresses(text, spelled, &mut replacements);
        groups(text, numbers, &mut replacements);
        if replacements.is_empty() {
            return Err(before);
        }
        replacements.sort_by_key(|r| (r.0, r.1));
        let mut rewriter = Rewriter::new(text);
        for (from, to, with) in replacements {
            if from >= rewriter.done {
                rewriter.replace(from, to, with);
            }
        }
        let (text, folds) = rewriter.finish().expect("there are replacements");
        let mut layers = before.map_or_else(Vec::new, |n| n.layers);
        layers.push(folds);
        Ok(Normalized { text, layers })
    }

    /// Where a place of the original, which is no fold's, is in the text.
    pub(crate) fn plain(&self, at: usize) -> usize {
        self.layers.iter().fold(at, |at, folds| {
            let i = folds.partition_point(|f| f.to <= at);
            i.checked_sub(1).map_or(at, |i| folds[i].at + folds[i].len + (at - folds[i].to))
        })
    }

    /// The original's bytes for a span that is not empty. Invisible characters at its ends stay outside.
    pub(crate) fn original(&self, start: usize, end: usize) -> (usize, usize) {
        self.layers.iter().rev().fold((start, end), |(start, end), folds| back(folds, start, end))
    }
}

fn back(folds: &Layer, start: usize, end: usize) -> (usize, usize) {
    // The last fold that begins at or before `start`; of several there, the last one is the visible one.
    let i = folds.partition_point(|f| f.at <= start);
    let from = match i.checked_sub(1).map(|i| &folds[i]) {
        None => start,
        Some(f) if start < f.at + f.len => f.from,
        Some(f) => f.to + (start - f.at - f.len),
    };
    // The last fold that begins before `end`.
    let i = folds.partition_point(|f| f.at < end);
    let to = match i.checked_sub(1).map(|i| &folds[i]) {
        None => end,
        Some(f) if end <= f.at + f.len => f.to,
        Some(f) => f.to + (end - f.at - f.len),
    };
    (from, to)
}

// ---- characters and escapes

fn unescape(text: &str) -> Option<(String, Layer)> {
    let bytes = text.as_bytes();
    let ascii = text.is_ascii();
    let mut rewriter = Rewriter::new(text);
    let mut buffer = [0; 4];
    // The word that was looked at last for look-alikes: where it ends, and whether they are folded in it.
    let mut word = (0, false);
    let mut at = 0;
    loop {
        at += match if ascii { memchr::memchr3(b'%', b'&', b'\\', &bytes[at..]) } else { next(&bytes[at..]) } {
            Some(next) => next,
            None => break,
        };
        if bytes[at].is_ascii() {
            let decoded = match bytes[at] {
                b'%' => percent(&bytes[at..]),
                b'&' => reference(&bytes[at..]),
                _ => backslash(bytes, at),
            };
            match decoded {
                // Of several backslashes the first one has spoken for all.
                None if bytes[at] == b'\\' => at += bytes[at..].iter().take_while(|b| **b == b'\\').count(),
                None => at += 1,
                Some((c, length)) => {
                    let plain = match fold(c) {
                        Folded::Same => Some(c),
                        Folded::Nothing => None,
                        Folded::To(plain) => Some(plain),
                    };
                    rewriter.replace(at, at + length, plain.map_or("", |c| c.encode_utf8(&mut buffer)));
                    at += length;
                }
            }
            continue;
        }
        let Some(c) = text[at..].chars().next() else { break };
        let length = c.len_utf8();
        match fold(c) {
            Folded::Same => {
                if let Some(latin) = look_alike(c) {
                    if at >= word.0 {
                        word = latin_word(text, at);
                    }
                    if word.1 {
                        rewriter.replace(at, at + length, latin.encode_utf8(&mut buffer));
                    }
                }
            }
            Folded::Nothing => rewriter.replace(at, at + length, ""),
            Folded::To(plain) => rewriter.replace(at, at + length, plain.encode_utf8(&mut buffer)),
        }
        at += length;
    }
    rewriter.finish()
}

/// Where something stands next that may have to be folded.
fn next(bytes: &[u8]) -> Option<usize> {
    let is = |b: &u8| !b.is_ascii() || matches!(b, b'%' | b'&' | b'\\');
    let mut at = 0;
    // `is_ascii` on a chunk is one comparison.
    while let Some(chunk) = bytes.get(at..at + 32) {
        if !chunk.is_ascii() || chunk.iter().any(is) {
            break;
        }
        at += 32;
    }
    bytes[at..].iter().position(is).map(|i| at + i)
}

/// The printable ASCII character that is percent-encoded at the start (RFC 3986, section 2.1), as in links and in what a
/// provider quotes of a path.
fn percent(bytes: &[u8]) -> Option<(char, usize)> {
    let [b'%', high, low, ..] = bytes else { return None };
    let code = (digit(*high)? * 16 + digit(*low)?) as u8;
    matches!(code, b' '..=b'~').then_some((code as char, 3))
}

fn digit(b: u8) -> Option<u32> {
    (b as char).to_digit(16)
}

/// The names of references to characters that stand in addresses and numbers (HTML, section 13.5).
const NAMED: &[(&[u8], char)] = &[
    (b"amp;", '&'),
    (b"apos;", '\''),
    (b"colon;", ':'),
    (b"comma;", ','),
    (b"commat;", '@'),
    (b"dash;", '-'),
    (b"equals;", '='),
    (b"gt;", '>'),
    (b"hyphen;", '-'),
    (b"lowbar;", '_'),
    (b"lt;", '<'),
    (b"nbsp;", ' '),
    (b"num;", '#'),
    (b"period;", '.'),
    (b"plus;", '+'),
    (b"quot;", '"'),
    (b"shy;", '\u{ad}'),
    (b"sol;", '/'),
];

/// A character reference: `&#64;`, `&#x40;`, `&commat;`.
fn reference(bytes: &[u8]) -> Option<(char, usize)> {
    let rest = &bytes[1..];
    if let [b'#', number @ ..] = rest {
        let (radix, skip) = if matches!(number, [b'x' | b'X', ..]) { (16, 1) } else { (10, 0) };
        let number = &number[skip..];
        let mut code = 0;
        let mut length = 0;
        for &b in number.iter().take(8) {
            let Some(digit) = (b as char).to_digit(radix) else { break };
            code = code * radix + digit;
            length += 1;
        }
        let end = number.get(length) == Some(&b';');
        let c = char::from_u32(code).filter(|c| !c.is_control() && *c != '\0')?;
        return (length > 0 && end).then_some((c, 2 + skip + length + 1));
    }
    NAMED.iter().find(|(name, _)| rest.starts_with(name)).map(|(name, c)| (*c, 1 + name.len()))
}

/// `\u0040`, `\u{40}`, `\x40`, `\/`; and `\n` and the like before a word, which they would otherwise be a letter of. JSON
/// within JSON has several backslashes for one.
fn backslash(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let run = bytes[at..].iter().take_while(|b| **b == b'\\').count();
    let rest = &bytes[at + run..];
    let hex = |digits: &[u8]| digits.iter().try_fold(0, |code, &b| Some(code * 16 + digit(b)?));
    let (code, length) = match rest {
        [b'u', b'{', more @ ..] => {
            let length = more.iter().take(6).take_while(|b| b.is_ascii_hexdigit()).count();
            (more.get(length) == Some(&b'}')).then(|| hex(&more[..length])).flatten().map(|code| (code, length + 3))?
        }
        [b'u', a, b, c, d, ..] => (hex(&[*a, *b, *c, *d])?, 5),
        [b'x', a, b, ..] => (hex(&[*a, *b])?, 3),
        [b'/', ..] => (u32::from(b'/'), 1),
        [b'n' | b'r' | b't', next, ..] if next.is_ascii_alphanumeric() && !in_path(bytes, at) => (u32::from(b' '), 1),
        _ => return None,
    };
    char::from_u32(code).filter(|c| !c.is_control()).map(|c| (c, run + length))
}

/// `C:\Users\nina`: a backslash that is no escape.
fn in_path(bytes: &[u8], at: usize) -> bool {
    let before = &bytes[at.saturating_sub(64)..=at];
    let word = before.rsplit(|b| b.is_ascii_whitespace()).next().unwrap_or(before);
    let drive =
        |i: usize| word[i].is_ascii_alphabetic() && !i.checked_sub(1).is_some_and(|i| word[i].is_ascii_alphanumeric());
    memchr::memmem::find_iter(word, b":\\").any(|i| i > 0 && drive(i - 1)) || word.starts_with(b"\\\\")
}

enum Folded {
    Same,
    Nothing,
    To(char),
}

/// The first code point (digit zero) of every run of ten decimal digits in Unicode 15 outside ASCII (category Nd).
const ZEROS: [u32; 65] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20,
    0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0,
    0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0,
    0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0,
    0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

fn fold(c: char) -> Folded {
    let code = c as u32;
    let to = |base: char, offset: u32| char::from_u32(base as u32 + offset).map_or(Folded::Same, Folded::To);
    match code {
        // Latin, Greek and Cyrillic letters come first: most non-ASCII text is decided by one comparison.
        0..=0x9f => Folded::Same,
        // Soft hyphen, combining marks, Arabic letter mark, Mongolian vowel separator, zero-width characters,
        // bidirectional controls, word joiner and invisible operators, variation selectors, keycap, byte order mark,
        // tags.
        0xad
        | 0x300..=0x36f
        | 0x61c
        | 0x180b..=0x180e
        | 0x200b..=0x200f
        | 0x202a..=0x202e
        | 0x2060..=0x2064
        | 0x2066..=0x206f
        | 0x20d0..=0x20f0
        | 0xfe00..=0xfe0f
        | 0xfeff
        | 0xe0000..=0xe007f
        | 0xe0100..=0xe01ef => Folded::Nothing,
        0xa1..=0x65f => Folded::Same,
        0xa0 | 0x1680 | 0x2000..=0x200a | 0x202f | 0x205f | 0x3000 => Folded::To(' '),
        0x2010..=0x2015 | 0x2043 | 0x2212 | 0xfe58 | 0xfe63 => Folded::To('-'),
        0x2024 | 0xfe52 | 0xff61 => Folded::To('.'),
        0x2044 | 0x2215 => Folded::To('/'),
        0xfe55 => Folded::To(':'),
        0xfe62 => Folded::To('+'),
        0xfe6b => Folded::To('@'),
        0x2070 | 0x2074..=0x2079 => to('0', code - 0x2070),
        0x2080..=0x2089 => to('0', code - 0x2080),
        0x2100..=0x2134 => letterlike(code),
        // Circled and squared digits and letters.
        0x2460..=0x2468 => to('1', code - 0x2460),
        0x24ea => Folded::To('0'),
        0x24b6..=0x24cf => to('A', code - 0x24b6),
        0x24d0..=0x24e9 => to('a', code - 0x24d0),
        0x1f130..=0x1f149 => to('A', code - 0x1f130),
        0x1f150..=0x1f169 => to('A', code - 0x1f150),
        0x1f170..=0x1f189 => to('A', code - 0x1f170),
        // Mathematical alphabets, each of 26 capitals and 26 small letters.
        0x1d400..=0x1d6a3 => {
            let letter = (code - 0x1d400) % 52;
            if letter < 26 { to('A', letter) } else { to('a', letter - 26) }
        }
        // Full-width forms of `!` to `~`.
        0xff01..=0xff5e => to('!', code - 0xff01),
        _ => {
            let i = ZEROS.partition_point(|&zero| zero <= code);
            match i.checked_sub(1).map(|i| code - ZEROS[i]) {
                Some(digit @ 0..=9) => to('0', digit),
                _ => Folded::Same,
            }
        }
    }
}

/// The letters that Unicode had encoded before its mathematical alphabets, which have holes in their places.
fn letterlike(code: u32) -> Folded {
    Folded::To(match code {
        0x2102 | 0x212d => 'C',
        0x210a => 'g',
        0x210b..=0x210d => 'H',
        0x210e => 'h',
        0x2110 | 0x2111 => 'I',
        0x2112 => 'L',
        0x2113 => 'l',
        0x2115 => 'N',
        0x2119 => 'P',
        0x211a => 'Q',
        0x211b..=0x211d => 'R',
        0x2124 | 0x2128 => 'Z',
        0x212c => 'B',
        0x212f => 'e',
        0x2130 => 'E',
        0x2131 => 'F',
        0x2133 => 'M',
        0x2134 => 'o',
        _ => return Folded::Same,
    })
}

/// The Latin letter that a letter of another script looks like (Unicode Technical Standard 39, in part).
fn look_alike(c: char) -> Option<char> {
    const ALIKE: &[(&str, &str)] = &[
        ("авеіјкмнорсѕтухһԁԛԝѵ", "abeijkmhopcstyxhdqwv"),
        ("АВЕІЈКМНОРСЅТУХҺԛԜ", "ABEIJKMHOPCSTYXHqW"),
        ("αβεικνορτυχγω", "abeikvoptuxyw"),
        ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX"),
        ("օսհոցɑɡıℓ", "ouhngagil"),
    ];
    if !matches!(c as u32, 0x131 | 0x251 | 0x261 | 0x370..=0x52f | 0x561..=0x587) {
        return None;
    }
    ALIKE.iter().find_map(|(theirs, ours)| {
        let index = theirs.chars().position(|own| own == c)?;
        ours.chars().nth(index)
    })
}

/// The word around a look-alike: where it ends, and whether it is a Latin word with letters from elsewhere in it.
fn latin_word(text: &str, at: usize) -> (usize, bool) {
    const REACH: usize = 64;
    let begin = text[text.ceil_char_boundary(at.saturating_sub(REACH))..at]
        .char_indices()
        .rev()
        .take_while(|(_, c)| c.is_alphanumeric())
        .map(|(_, c)| c.len_utf8())
        .sum::<usize>();
    let (mut latin, mut strange) = (false, false);
    let mut end = at - begin;
    for c in text[end..].chars().take(2 * REACH).take_while(|c| c.is_alphanumeric()) {
        latin |= c.is_ascii_alphabetic();
        strange |= !c.is_ascii() && look_alike(c).is_none() && matches!(fold(c), Folded::Same);
        end += c.len_utf8();
    }
    (end, latin && !strange)
}

// ---- spellings

/// A word that stands for a character of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spelled {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) at: bool,
}

/// The words that stand for `@` and for `.` in addresses, in the languages that have a habit of it.
pub(crate) const AT_WORDS: &[&str] = &["at", "ät", "arobase", "arroba", "chiocciola", "ampersat"];
pub(crate) const DOT_WORDS: &[&str] = &["dot", "punkt", "point", "punto", "ponto", "kropka"];

type Replacement = (usize, usize, &'static str);

/// `jane [at] example (dot) com`, and without brackets if both words are there: `jane at example dot com`.
fn addresses(text: &str, spelled: &[Spelled], replacements: &mut Vec<Replacement>) {
    let bytes = text.as_bytes();
    let what = |word: &Spelled| if word.at { "@" } else { "." };
    // With the spaces around it, if letters or digits stand on both sides.
    let between = |mut from: usize, mut to: usize| {
        from -= bytes[..from].iter().rev().take(2).take_while(|b| **b == b' ').count();
        to += bytes[to..].iter().take(2).take_while(|b| **b == b' ').count();
        let letter = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || !b.is_ascii());
        (from > 0 && letter(bytes.get(from - 1)) && letter(bytes.get(to))).then_some((from, to))
    };
    let bracketed = |word: &Spelled| {
        let from = word.start - bytes[..word.start].iter().rev().take(2).take_while(|b| **b == b' ').count();
        let to = word.end + bytes[word.end..].iter().take(2).take_while(|b| **b == b' ').count();
        let pair = (from.checked_sub(1).map(|i| bytes[i]), bytes.get(to));
        let closed = matches!(
            pair,
            (Some(b'['), Some(b']')) | (Some(b'('), Some(b')')) | (Some(b'{'), Some(b'}')) | (Some(b'<'), Some(b'>'))
        );
        if closed { between(from - 1, to + 1) } else { None }
    };
    // Without brackets only in English: "at any point in" is no address.
    let spaced = |word: &Spelled| {
        if !matches!(bytes[word.start..word.end].to_ascii_lowercase().as_slice(), b"at" | b"dot") {
            return None;
        }
        let alone = word.start > 0 && bytes[word.start - 1] == b' ' && bytes.get(word.end) == Some(&b' ');
        if alone { between(word.start, word.end) } else { None }
    };
    // What follows a word up to the next one is one label of a domain.
    let label = |from: usize, to: usize| {
        text.get(from..to)
            .is_some_and(|l| (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
    };
    let mut i = 0;
    while i < spelled.len() {
        let word = &spelled[i];
        i += 1;
        if let Some((from, to)) = bracketed(word) {
            replacements.push((from, to, what(word)));
            continue;
        }
        if !word.at {
            continue;
        }
        let Some((from, mut end)) = spaced(word) else { continue };
        let mut dots = Vec::new();
        for dot in spelled[i..].iter().filter(|next| !next.at) {
            match spaced(dot).or_else(|| bracketed(dot)) {
                Some((a, b)) if label(end, a) => {
                    dots.push((a, b, "."));
                    end = b;
                }
                _ => break,
            }
        }
        if !dots.is_empty() {
            // `jane dot doe at …`
            let mut begin = from;
            for dot in spelled[..i - 1].iter().rev().take_while(|before| !before.at) {
                match spaced(dot) {
                    Some((a, b)) if label(b, begin) => {
                        dots.push((a, b, "."));
                        begin = a;
                    }
                    _ => break,
                }
            }
            replacements.push((from, spaced(word).map_or(from, |(_, to)| to), "@"));
            replacements.append(&mut dots);
        }
    }
}

/// So many digits that stand singly are one number.
const SINGLES_LEAST: usize = 9;

/// Numbers that are torn apart: a digit at a time, by several separators, by the end of a line.
fn groups(text: &str, numbers: &[usize], replacements: &mut Vec<Replacement>) {
    let bytes = text.as_bytes();
    let end_of = |start: usize| start + bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut singles: Vec<(usize, usize)> = Vec::new();
    let mut flush = |singles: &mut Vec<(usize, usize)>, alone: bool| {
        if alone && singles.len() + 1 >= SINGLES_LEAST {
            replacements.extend(singles.iter().map(|&(from, to)| (from, to, "")));
        }
        singles.clear();
    };
    let mut torn: Vec<Replacement> = Vec::new();
    // Whether the chain of single digits began after something that is no digit.
    let mut chain_alone = true;
    for pair in numbers.windows(2) {
        let (start, next) = (pair[0], pair[1]);
        // Most groups of digits stand far apart.
        if next - start > 24 {
            flush(&mut singles, chain_alone);
            chain_alone = true;
            continue;
        }
        let end = end_of(start);
        let gap = &bytes[end..next];
        let single = end - start == 1 && end_of(next) - next == 1;
        let separator = gap.len() == 1 && matches!(gap[0], b' ' | b'-' | b'.' | b'\n' | b',' | b'/' | b'_' | b'|');
        let same = singles.last().is_none_or(|&(from, to)| bytes[from..to] == *gap);
        if separator && single && same {
            singles.push((end, next));
            continue;
        }
        // A longer number beside it by the same separator: a list of numbers.
        flush(&mut singles, chain_alone && !(separator && same));
        chain_alone = !separator;
        match gap {
            [b' ' | b'-' | b'.', _, ..] if gap.len() <= 3 && gap.iter().all(|b| matches!(b, b' ' | b'-' | b'.')) => {
                let dash = gap.iter().find(|b| **b != b' ');
                torn.push((end, next, dash.map_or(" ", |b| if *b == b'-' { "-" } else { "." })));
            }
            _ if gap.len() <= 4
                && gap.iter().filter(|b| **b == b'\n').count() == 1
                && gap.iter().all(|b| matches!(b, b' ' | b'\r' | b'\n'))
                && goes_on(bytes, start)
                && in_prose(bytes, end, next) =>
            {
                torn.push((end, next, " "));
            }
            _ => {}
        }
    }
    flush(&mut singles, chain_alone);
    replacements.append(&mut torn);
}

/// Whether a group of digits belongs to another before it: a number that has begun, and not the last word of a line.
fn goes_on(bytes: &[u8], start: usize) -> bool {
    matches!(bytes[..start], [.., digit, b' ' | b'-' | b'.'] if digit.is_ascii_digit())
}

/// Whether one of two lines has something else than a number: a number that goes on in the next line, and not a column.
fn in_prose(bytes: &[u8], end: usize, next: usize) -> bool {
    const REACH: usize = 80;
    let letters = |line: &[u8]| line.iter().filter(|b| b.is_ascii_alphabetic()).count() >= 2;
    let before = bytes[..end].iter().rev().take(REACH).take_while(|b| **b != b'\n').count();
    let after = bytes[next..].iter().take(REACH).take_while(|b| **b != b'\n').count();
    letters(&bytes[end - before..end]) || letters(&bytes[next..next + after])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(original: &str) -> Option<String> {
        Normalized::new(original).map(|n| n.text)
    }

    #[test]
    fn leaves_ordinary_text_alone() {
        for text in [
            "",
            "plain",
            "naïve café no",
            "Москва",
            "日本語のテキスト",
            "100% sure, 5 %, %é, %4",
            "a & b && c",
            "C:\\new",
        ] {
            assert_eq!(plain(text), None, "{text}");
        }
    }

    #[test]
    fn folds_and_maps_back() {
        let original = "x\u{200b}a\u{200d}b\u{ff11}\u{2011}\u{0662}\u{00ad} é\u{a0}z";
        let normalized = Normalized::new(original).unwrap();
        assert_eq!(normalized.text, "xab1-2 é z");
        let at = |s: &str| normalized.text.find(s).unwrap();
        let check = |part: &str, expected: &str| {
            let (from, to) = normalized.original(at(part), at(part) + part.len());
            assert_eq!(&original[from..to], expected, "{part}");
        };
        check("x", "x");
        check("ab", "a\u{200d}b");
        check("1-2", "\u{ff11}\u{2011}\u{0662}");
        check("2", "\u{0662}");
        check("é", "é");
        check("z", "z");
        check("é z", "é\u{a0}z");
    }

    #[test]
    fn undoes_escapes_within_escapes() {
        for (original, expected) in [
            ("to=jane%40example.com%2c", "to=jane@example.com,"),
            ("jane%2540example.com", "jane@example.com"),
            ("jane&#64;example&period;com", "jane@example.com"),
            ("jane&amp;#x40;example.com", "jane@example.com"),
            ("jane\\u0040example\\x2ecom", "jane@example.com"),
            ("jane\\u{40}example.com", "jane@example.com"),
            ("jane\\\\\\u0040example.com 12\\/05", "jane@example.com 12/05"),
            ("SSN:\\n536-90-4399\\tok", "SSN: 536-90-4399 ok"),
            ("ｊａｎｅ＠ｅｘ", "jane@ex"),
            ("𝟒𝟏𝟏𝟏 𝓳𝓪𝓷𝓮 ⓙⓐⓝⓔ", "4111 jane jane"),
            ("j\u{301}ane", "jane"),
        ] {
            assert_eq!(plain(original).as_deref(), Some(expected), "{original}");
        }
        let original = "x jane%2540example.com y";
        let normalized = Normalized::new(original).unwrap();
        let at = normalized.text.find("jane").unwrap();
        let (from, to) = normalized.original(at, at + "jane@example.com".len());
        assert_eq!(&original[from..to], "jane%2540example.com");
    }

    #[test]
    fn look_alikes_are_folded_in_latin_words_only() {
        assert_eq!(plain("jаne@exаmple.com").as_deref(), Some("jane@example.com"));
        assert_eq!(plain("ivan@пример.рф, сор и хор"), None);
        assert_eq!(plain("οmega").as_deref(), Some("omega"));
    }

    fn respelled(text: &str) -> Option<String> {
        let mut spelled: Vec<Spelled> = Vec::new();
        for (words, at) in [(AT_WORDS, true), (DOT_WORDS, false)] {
            for word in words {
                spelled.extend(text.to_lowercase().match_indices(word).map(|(i, w)| Spelled {
                    start: i,
                    end: i + w.len(),
                    at,
                }));
            }
        }
        spelled.sort_by_key(|s| s.start);
        let bytes = text.as_bytes();
        let numbers: Vec<usize> = (0..bytes.len())
            .filter(|&i| bytes[i].is_ascii_digit() && (i == 0 || !bytes[i - 1].is_ascii_digit()))
            .collect();
        Normalized::respell(None, text, &spelled, &numbers).ok().map(|n| n.text)
    }

    #[test]
    fn undoes_spellings() {
        for (original, expected) in [
            ("jane [at] example [dot] com", "jane@example.com"),
            ("jane(at)example.com", "jane@example.com"),
            ("jane dot doe AT example dot co dot uk now", "jane.doe@example.co.uk now"),
            ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "4111111111111111"),
            ("5-3-6-9-0-4-3-9-9 ok", "536904399 ok"),
            ("4111 - 1111  1111 -1111", "4111-1111 1111-1111"),
            ("card 4111 1111\n1111 1111", "card 4111 1111 1111 1111"),
        ] {
            assert_eq!(respelled(original).as_deref(), Some(expected), "{original}");
        }
        for text in [
            "removed at any point in it",
            "meet me at noon",
            "look at the dot",
            "1 2 3 4 5 6 7 8 9 10",
            "4111\n1111\n1111\n1111",
            "a[dot]",
        ] {
            assert_eq!(respelled(text), None, "{text}");
        }
    }

    #[test]
    fn the_table_of_zeros_is_sorted() {
        assert!(ZEROS.windows(2).all(|w| w[0] + 10 <= w[1]));
    }
}
