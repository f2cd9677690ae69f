//! Text inside text: base64 (RFC 4648, standard and URL-safe, also in lines as MIME has it) and hexadecimal. What decodes
//! to something that a person could read is read; everything else is left alone.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Shorter runs hold nothing that would be worth hiding.
pub(crate) const RUN_LEAST: usize = 16;
/// A run is not followed back further than this through `+` and `/`.
const BACK_MAX: usize = 64;
/// A line of MIME has 76 characters, of PEM 64; shorter ones are words.
const LINE_LEAST: usize = 60;
/// So many decoded bytes tell text from anything else.
const PROBE: usize = 12;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// What a run of characters stands for.
pub(crate) struct Decoded {
    pub(crate) text: String,
    /// Where the run ends.
    pub(crate) end: usize,
    /// Its lines: which character each begins with, and where that stands.
    lines: Vec<(usize, usize)>,
    characters: usize,
    /// Bits in a character.
    bits: usize,
}

impl Decoded {
    /// Where the run begins.
    pub(crate) fn start(&self) -> usize {
        self.lines[0].1
    }

    /// The characters that hold some of the decoded bytes.
    pub(crate) fn original(&self, start: usize, end: usize) -> (usize, usize) {
        let first = start * 8 / self.bits;
        let last = (end * 8).div_ceil(self.bits).min(self.characters);
        (self.place(first), self.place(last - 1) + 1)
    }

    fn place(&self, character: usize) -> usize {
        let line = self.lines.partition_point(|(first, _)| *first <= character) - 1;
        let (first, place) = self.lines[line];
        place + character - first
    }
}

/// Decodes the run in which a word begins at `at`; nothing of it lies before `least`.
pub(crate) fn decode(text: &str, at: usize, least: usize) -> Option<Decoded> {
    let bytes = text.as_bytes();
    let is = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_');
    let start = at - bytes[least..at].iter().rev().take(BACK_MAX).take_while(|b| is(**b)).count();
    // Of `key=aGVsbG8…` and `a/b/aGVsbG8…`, the word itself, if all of it is none.
    run(bytes, start, is).or_else(|| if start < at { run(bytes, at, is) } else { None })
}

fn run(bytes: &[u8], start: usize, is: impl Fn(u8) -> bool) -> Option<Decoded> {
    // Most long words are none: their beginning tells, and only of the others the end is looked for. A text of words in
    // one run would otherwise be gone through from each of them.
    let probe = bytes.get(start..start + RUN_LEAST)?;
    if !probe.iter().all(|b| is(*b)) {
        return None;
    }
    let whole = || bytes[start..].iter().take_while(|b| is(**b)).count();
    if probe.iter().all(u8::is_ascii_hexdigit) && is_text(&hex(probe)) {
        let word = &bytes[start..start + whole()];
        if word.len().is_multiple_of(2) && word.iter().all(u8::is_ascii_hexdigit) {
            let (text, end) = (readable(hex(word))?, start + word.len());
            return Some(Decoded { text, end, lines: vec![(0, start)], characters: word.len(), bits: 4 });
        }
    }
    let decodes = |engine: &GeneralPurpose| engine.decode(probe).is_ok_and(|decoded| is_text(&decoded[..PROBE]));
    if !decodes(&STANDARD) && !decodes(&URL_SAFE) {
        return None;
    }
    let length = whole();
    let word = &bytes[start..start + length];
    let engine = if word.iter().any(|b| matches!(b, b'-' | b'_')) { URL_SAFE } else { STANDARD };
    let mut characters = word.to_vec();
    let mut lines = vec![(0, start)];
    let mut end = start + length;
    let mut line = length;
    while line >= LINE_LEAST {
        let gap = bytes[end..].iter().take(2).take_while(|b| matches!(b, b'\r' | b'\n')).count();
        line = bytes[end + gap..].iter().take_while(|b| is(**b)).count();
        if gap == 0 || line == 0 {
            break;
        }
        lines.push((characters.len(), end + gap));
        end += gap + line;
        characters.extend_from_slice(&bytes[end - line..end]);
    }
    // A single character at the end holds no byte.
    let whole = characters.len() - usize::from(characters.len() % 4 == 1);
    let text = readable(engine.decode(&characters[..whole]).ok()?)?;
    Some(Decoded { text, end, lines, characters: characters.len(), bits: 6 })
}

/// Whether bytes are the beginning of a text: then [`readable`] makes one of them and what follows, and the run is done
/// with.
fn is_text(bytes: &[u8]) -> bool {
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        // A character that goes on.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => return false,
    };
    bytes[..valid].iter().all(|b| matches!(b, b' '..=b'~' | b'\t' | b'\n' | b'\r') || *b >= 0x80)
}

fn hex(word: &[u8]) -> Vec<u8> {
    let digit = |b: u8| (b as char).to_digit(16).unwrap_or(0) as u8;
    word.as_chunks::<2>().0.iter().map(|[high, low]| digit(*high) << 4 | digit(*low)).collect()
}

/// Bytes as text, as far as they are.
fn readable(mut bytes: Vec<u8>) -> Option<String> {
    if let Err(error) = std::str::from_utf8(&bytes) {
        let valid = error.valid_up_to();
        bytes.truncate(valid);
    }
    let text = String::from_utf8(bytes).ok()?;
    let plain = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    let length = text.find(|c| !plain(c)).unwrap_or(text.len());
    (length >= PROBE / 2).then(|| text[..length].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, at: usize, value: &str, expected: &str) {
        let decoded = decode(text, at, 0).unwrap();
        let start = decoded.text.find(value).unwrap();
        let (from, to) = decoded.original(start, start + value.len());
        assert_eq!(&text[from..to], expected);
    }

    #[test]
    fn reads_base64_and_hex() {
        check("x amFuZS5kb2VAZXhhbXBsZS5jb20= y", 2, "jane.doe@example.com", "amFuZS5kb2VAZXhhbXBsZS5jb20");
        // "to jane@example.com, hello"
        check("dG8gamFuZUBleGFtcGxlLmNvbSwgaGVsbG8", 0, "jane@example.com", "amFuZUBleGFtcGxlLmNvbS");
        check("6a616e65406578616d706c652e636f6d", 0, "jane", "6a616e65");
        check("/a/dG8gamFuZUBleGFtcGxlLmNvbSwgaGVsbG8", 3, "to jane", "dG8gamFuZU");
    }

    #[test]
    fn reads_lines_of_mime() {
        let text = STANDARD.encode("a letter ".repeat(9) + "to jane@example.com");
        let lines = format!("{}\r\n{}", &text[..76], &text[76..]);
        let decoded = decode(&lines, 0, 0).unwrap();
        assert!(decoded.text.ends_with("to jane@example.com"), "{}", decoded.text);
    }

    #[test]
    fn leaves_words_and_keys_alone() {
        for text in [
            "internationalization",
            "AKIAIOSFODNN7EXAMPLEKEY",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "550e8400e29b41d4a716446655440000",
            "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
        ] {
            assert!(decode(text, 0, 0).is_none(), "{text}");
        }
    }
}
