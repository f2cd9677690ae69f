//! Cuts text into tokens, at exact byte offsets, in one pass.
//!
//! A token is a word (letters, marks, digits, underscores), an abbreviation with its dots (`U.S.`, `J.`), a clitic
//! (`'s`), an address on the net, or one character that is none of these. Words are cut at hyphens. A
//! [`Token`] says nothing about meaning; [`super::feature`] does.

/// How a token is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shape {
    /// `word`, and letters that know no case.
    Lower,
    /// `Word`.
    Capital,
    /// `WORD`.
    Upper,
    /// `McDonald`, `iPhone`.
    Mixed,
    /// `X`.
    Letter,
    /// `J.`, `U.S.`.
    Initial,
    /// `2024`.
    Number,
    /// `B2B`, `snake_case`.
    Code,
    /// `'s`.
    Clitic,
    /// An address on the net.
    Net,
    /// One character of something else.
    Mark,
}

/// A token's place and writing.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    /// Byte offset of the first byte.
    pub start: u32,
    /// Byte offset after the last byte.
    pub end: u32,
    /// How it is written.
    pub shape: Shape,
    /// Nothing stands between it and the token before.
    pub joined: bool,
    /// A sentence begins here.
    pub first: bool,
}

/// What a byte below 128 is.
const CLASS: [u8; 128] = {
    let mut class = [MARK; 128];
    let mut b = 0;
    while b < 128 {
        let c = b as u8;
        if c.is_ascii_lowercase() {
            class[b] = LOWER;
        } else if c.is_ascii_uppercase() {
            class[b] = UPPER;
        } else if c.is_ascii_digit() {
            class[b] = DIGIT;
        } else if c == b'_' {
            class[b] = LINE;
        } else if c.is_ascii_whitespace() || c.is_ascii_control() {
            class[b] = SPACE;
        }
        b += 1;
    }
    class
};
const MARK: u8 = 0;
const SPACE: u8 = 1;
const LOWER: u8 = 2;
const UPPER: u8 = 3;
const DIGIT: u8 = 4;
const LINE: u8 = 5;
/// A letter without case; goes with small letters.
const OTHER: u8 = 6;

/// The class of the character at `at`, and its length.
#[inline]
fn class_at(text: &str, at: usize) -> (u8, usize) {
    let b = text.as_bytes()[at];
    if b < 128 {
        return (CLASS[b as usize], 1);
    }
    let c = text[at..].chars().next().expect("at a character's first byte");
    let class = if c.is_lowercase() {
        LOWER
    } else if c.is_uppercase() {
        UPPER
    } else if c.is_alphabetic() || joins(c) {
        OTHER
    } else if c.is_numeric() {
        DIGIT
    } else if c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}') {
        SPACE
    } else {
        MARK
    };
    (class, c.len_utf8())
}

/// Marks and joiners that stand inside words.
fn joins(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{200c}' | '\u{200d}' | '\u{94d}' | '\u{9cd}' | '\u{a4d}' | '\u{acd}'
        | '\u{b4d}' | '\u{bcd}' | '\u{c4d}' | '\u{ccd}' | '\u{d4d}' | '\u{dca}' | '\u{e47}'..='\u{e4e}')
}

/// The end of an address on the net that begins at `start`, if `end`, where its first word ends, shows one.
fn net(bytes: &[u8], start: usize, end: usize) -> Option<usize> {
    let rest = &bytes[end..];
    let word = &bytes[start..end];
    // `first.last@`: a mail address's further parts, of which there are at most 64 bytes (RFC 5321, section 4.5.3.1.1).
    let local = rest
        .iter()
        .take(64)
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+' | b'_'))
        .count();
    let mail = rest.get(local) == Some(&b'@') && rest.get(local + 1).is_some_and(u8::is_ascii_alphanumeric);
    let is = rest.starts_with(b"://") || (word.eq_ignore_ascii_case(b"www") && rest.first() == Some(&b'.')) || mail;
    is.then(|| {
        let mut at = end + 1;
        while at < bytes.len()
            && bytes[at] > b' '
            && !matches!(bytes[at], b'"' | b'<' | b'>' | b'|' | b'\\' | b',' | b';' | b')' | b']' | b'}')
        {
            at += 1;
        }
        while at > end + 1 && matches!(bytes[at - 1], b'.' | b'!' | b'?' | b':' | b'\'') {
            at -= 1;
        }
        at
    })
}

const CLITICS: [&[u8]; 6] = [b"s", b"re", b"ve", b"ll", b"d", b"m"];

/// Cuts `text` into tokens, and marks where sentences begin.
pub fn tokenize(text: &str, tokens: &mut Vec<Token>) {
    tokens.clear();
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut first = true;
    let mut ended = usize::MAX;
    while at < bytes.len() {
        let (class, len) = class_at(text, at);
        if class == SPACE {
            first |= bytes[at] == b'\n' || bytes[at] == b'\r';
            at += len;
            continue;
        }
        let start = at;
        let shape = if class == MARK {
            at += len;
            if (bytes[start] == b'\'' || text[start..at] == *"’") && ended == start {
                let word = bytes[at..].iter().take(3).take_while(|b| b.is_ascii_alphabetic()).count();
                let tail = bytes[at..at + word].to_ascii_lowercase();
                let after = bytes.get(at + word).is_none_or(|b| !b.is_ascii_alphanumeric() && *b < 128);
                if after && CLITICS.contains(&&tail[..]) {
                    at += word;
                    Shape::Clitic
                } else {
                    Shape::Mark
                }
            } else {
                Shape::Mark
            }
        } else {
            let quick = quick_word(bytes, start);
            at = quick.map_or_else(|| word_end(text, start), |(end, _)| end);
            if let Some(end) = bytes
                .get(at)
                .and_then(|b| matches!(b, b':' | b'.' | b'@' | b'-' | b'+').then(|| net(bytes, start, at)))
                .flatten()
            {
                // An address may hold any character; it ends on a boundary.
                at = end;
                while !text.is_char_boundary(at) {
                    at += 1;
                }
                Shape::Net
            } else {
                let shape = quick.map_or_else(|| shape(text, start, at), |(_, shape)| shape);
                if shape == Shape::Letter && bytes.get(at) == Some(&b'.') {
                    at += 1;
                    // `U.S.`: more letters, each with its dot.
                    while let Some(&b) = bytes.get(at) {
                        if b.is_ascii_uppercase() && bytes.get(at + 1) == Some(&b'.') {
                            at += 2;
                        } else {
                            break;
                        }
                    }
                    Shape::Initial
                } else {
                    shape
                }
            }
        };
        let joined = ended == start;
        // A sentence begins after a line's end, and after a full stop and a space, unless the stop belongs to a short
        // word or a small letter follows.
        if !first && !joined && shape != Shape::Lower && tokens.len() >= 2 {
            let mut before = tokens.len() - 1;
            for _ in 0..2 {
                let closes = matches!(bytes[tokens[before].start as usize], b'"' | b'\'' | b')');
                before -= usize::from(before > 0 && tokens[before].shape == Shape::Mark && closes);
            }
            let stop = tokens[before];
            if stop.shape == Shape::Mark && before > 0 {
                let word = tokens[before - 1];
                first = match bytes[stop.start as usize] {
                    b'!' | b'?' => true,
                    b'.' => {
                        !(stop.joined && word.shape == Shape::Capital && word.end - word.start <= 4)
                            || shape == Shape::Mark
                    }
                    0xe2 => text[stop.start as usize..].starts_with('…'),
                    _ => false,
                };
            }
        }
        tokens.push(Token { start: start as u32, end: at as u32, shape, joined, first });
        first = false;
        ended = at;
    }
}

/// The end and the shape of a word of ASCII that nothing but an ASCII mark or a space ends: most words, in one pass.
#[inline]
fn quick_word(bytes: &[u8], start: usize) -> Option<(usize, Shape)> {
    let mut seen = 0u32;
    let mut uppers = 0u32;
    let mut at = start;
    while let Some(&b) = bytes.get(at) {
        if b >= 128 || b == b'\'' {
            return None;
        }
        let class = CLASS[b as usize];
        if class < LOWER {
            break;
        }
        seen |= 1 << class;
        uppers += u32::from(class == UPPER);
        at += 1;
    }
    let has = |class: u8| seen >> class & 1 == 1;
    let shape = if has(DIGIT) || has(LINE) {
        if has(LOWER) || has(UPPER) { Shape::Code } else { Shape::Number }
    } else if !has(UPPER) {
        Shape::Lower
    } else if !has(LOWER) {
        if at == start + 1 { Shape::Letter } else { Shape::Upper }
    } else if uppers == 1 && bytes[start].is_ascii_uppercase() {
        Shape::Capital
    } else {
        Shape::Mixed
    };
    Some((at, shape))
}

/// Where the word that begins at `start` ends.
fn word_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = start;
    while at < bytes.len() {
        let b = bytes[at];
        if b < 128 && CLASS[b as usize] >= LOWER {
            at += 1;
            continue;
        }
        if b < 128 && b != b'\'' {
            break;
        }
        let (class, len) = class_at(text, at);
        if class >= LOWER {
            at += len;
            continue;
        }
        // An apostrophe between letters belongs to the word, unless it begins a clitic.
        if (b == b'\'' || text[at..at + len] == *"’") && at > start && at + len < bytes.len() {
            let (next, _) = class_at(text, at + len);
            if matches!(next, LOWER | UPPER | OTHER) {
                let tail = &bytes[at + len..];
                let word = tail.iter().take(3).take_while(|b| b.is_ascii_alphabetic()).count();
                let ends = tail.get(word).is_none_or(|b| !b.is_ascii_alphanumeric() && *b < 128);
                if !(ends && CLITICS.contains(&&tail[..word].to_ascii_lowercase()[..])) {
                    at += len;
                    continue;
                }
            }
        }
        break;
    }
    at
}

fn shape(text: &str, start: usize, end: usize) -> Shape {
    let (mut lower, mut upper, mut digit, mut letters) = (0u32, 0u32, 0u32, 0u32);
    let mut head = 0;
    let mut at = start;
    while at < end {
        let (class, len) = class_at(text, at);
        match class {
            LOWER | OTHER => lower += 1,
            UPPER => upper += 1,
            DIGIT | LINE => digit += 1,
            _ => {}
        }
        if at == start {
            head = class;
        }
        letters += 1;
        at += len;
    }
    if digit > 0 {
        if lower + upper == 0 { Shape::Number } else { Shape::Code }
    } else if upper == 0 {
        Shape::Lower
    } else if lower == 0 {
        if letters == 1 { Shape::Letter } else { Shape::Upper }
    } else if head == UPPER && upper == 1 {
        Shape::Capital
    } else {
        Shape::Mixed
    }
}
