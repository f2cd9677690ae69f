//! The text as a reader sees it: without invisible characters, with plain digits, dashes and spaces, and with what is
//! percent-encoded decoded; and the way back from offsets in it to offsets in the original.
//!
//! Only what changes nothing for the reader is folded. Letters that merely look alike (Cyrillic `а`) are not: folding
//! them would need a table of confusables, and would break words in their own language.

/// A text whose offsets map back to the original's.
pub(crate) struct Normalized {
    pub(crate) text: String,
    /// Where something was folded, in order: offsets in the normalized text, and the original bytes it stands for.
    folds: Vec<Fold>,
}

/// `text[at..at + len]` stands for `original[from..to]`. Between two folds the texts are the same.
struct Fold {
    at: usize,
    len: usize,
    from: usize,
    to: usize,
}

impl Normalized {
    /// `None` when the text is already normal: most texts, at the cost of looking at their non-ASCII characters.
    pub(crate) fn new(original: &str) -> Option<Normalized> {
        let first = match (first_folded(original), first_percent(original)) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b)?,
        };
        let mut text = String::with_capacity(original.len());
        let mut folds = Vec::new();
        text.push_str(&original[..first]);
        let mut rest = first;
        while rest < original.len() {
            let tail = &original.as_bytes()[rest..];
            let ascii = tail.iter().position(|&b| !b.is_ascii() || b == b'%').unwrap_or(tail.len());
            text.push_str(&original[rest..rest + ascii]);
            rest += ascii;
            let Some(c) = original[rest..].chars().next() else { break };
            let mut to = rest + c.len_utf8();
            if let Some(decoded) = percent(&original.as_bytes()[rest..]) {
                to = rest + 3;
                folds.push(Fold { at: text.len(), len: 1, from: rest, to });
                text.push(decoded);
                rest = to;
                continue;
            }
            match fold(c) {
                Folded::Same => text.push(c),
                Folded::Nothing => folds.push(Fold { at: text.len(), len: 0, from: rest, to }),
                Folded::To(plain) => {
                    folds.push(Fold { at: text.len(), len: 1, from: rest, to });
                    text.push(plain);
                }
            }
            rest = to;
        }
        Some(Normalized { text, folds })
    }

    /// The original's bytes for a span that is not empty. Invisible characters at its ends stay outside.
    pub(crate) fn original(&self, start: usize, end: usize) -> (usize, usize) {
        // The last fold that begins at or before `start`; of several there, the last one is the visible one.
        let i = self.folds.partition_point(|f| f.at <= start);
        let from = match i.checked_sub(1).map(|i| &self.folds[i]) {
            None => start,
            Some(f) if start < f.at + f.len => f.from,
            Some(f) => f.to + (start - f.at - f.len),
        };
        // The last fold that begins before `end`.
        let i = self.folds.partition_point(|f| f.at < end);
        let to = match i.checked_sub(1).map(|i| &self.folds[i]) {
            None => end,
            Some(f) if end <= f.at + f.len => f.to,
            Some(f) => f.to + (end - f.at - f.len),
        };
        (from, to)
    }
}

enum Folded {
    Same,
    Nothing,
    To(char),
}

fn first_folded(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        // Eight bytes at a time: `is_ascii` on a chunk is one comparison.
        while at + 32 <= bytes.len() && bytes[at..at + 32].is_ascii() {
            at += 32;
        }
        at += bytes[at..].iter().position(|b| !b.is_ascii())?;
        let c = text[at..].chars().next()?;
        if !matches!(fold(c), Folded::Same) {
            return Some(at);
        }
        at += c.len_utf8();
    }
}

/// Where something percent-encoded stands first.
fn first_percent(text: &str) -> Option<usize> {
    memchr::memchr_iter(b'%', text.as_bytes()).find(|&at| percent(&text.as_bytes()[at..]).is_some())
}

/// The printable ASCII character that is percent-encoded at the start (RFC 3986, section 2.1), as in links and in what a
/// provider quotes of a path.
fn percent(bytes: &[u8]) -> Option<char> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |b: u8| (b as char).to_digit(16);
    let code = (digit(*high)? * 16 + digit(*low)?) as u8;
    matches!(code, b' '..=b'~').then_some(code as char)
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
    match code {
        // Latin, Greek and Cyrillic letters come first: most non-ASCII text is decided by one comparison.
        0..=0x9f => Folded::Same,
        // Soft hyphen, Arabic letter mark, Mongolian vowel separator, zero-width characters, bidirectional controls,
        // word joiner and invisible operators, variation selectors, keycap, byte order mark.
        0xad
        | 0x61c
        | 0x180b..=0x180e
        | 0x200b..=0x200f
        | 0x202a..=0x202e
        | 0x2060..=0x2064
        | 0x2066..=0x206f
        | 0xfe00..=0xfe0f
        | 0x20e3
        | 0xfeff => Folded::Nothing,
        0xa1..=0x65f if code != 0xa0 => Folded::Same,
        0xa0 | 0x1680 | 0x2000..=0x200a | 0x202f | 0x205f | 0x3000 => Folded::To(' '),
        0x2010..=0x2015 | 0x2043 | 0x2212 | 0xfe58 | 0xfe63 => Folded::To('-'),
        0x2024 | 0xfe52 | 0xff61 => Folded::To('.'),
        0x2044 | 0x2215 => Folded::To('/'),
        0xfe55 => Folded::To(':'),
        0xfe62 => Folded::To('+'),
        0xfe6b => Folded::To('@'),
        // Full-width forms of `!` to `~`.
        0xff01..=0xff5e => char::from_u32(code - 0xff01 + 0x21).map_or(Folded::Same, Folded::To),
        _ => {
            let i = ZEROS.partition_point(|&zero| zero <= code);
            match i.checked_sub(1).map(|i| code - ZEROS[i]) {
                Some(digit @ 0..=9) => Folded::To((b'0' + digit as u8) as char),
                _ => Folded::Same,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_ordinary_text_alone() {
        for text in ["", "plain", "naïve café — no", "Москва", "日本語のテキスト"] {
            let changed = Normalized::new(text);
            assert_eq!(changed.is_some(), text.contains('—'), "{text}");
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
    fn reads_what_is_percent_encoded() {
        let original = "to=jane%40example.com%2c 100% of 5%zz \u{e9}%C3%A9";
        let normalized = Normalized::new(original).unwrap();
        assert_eq!(normalized.text, "to=jane@example.com, 100% of 5%zz \u{e9}%C3%A9");
        let at = normalized.text.find("jane").unwrap();
        let (from, to) = normalized.original(at, at + "jane@example.com".len());
        assert_eq!(&original[from..to], "jane%40example.com");
        assert!(Normalized::new("100% sure, 5 %, %é, %4").is_none());
    }

    #[test]
    fn the_table_of_zeros_is_sorted() {
        assert!(ZEROS.windows(2).all(|w| w[0] + 10 <= w[1]));
    }
}
