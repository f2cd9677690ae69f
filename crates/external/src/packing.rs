//! From texts to what is asked at once: short texts together, with a blank line between; long ones in pieces.
//!
//! A text is cut at whitespace, or where there is none, between two characters. Pieces overlap by [`OVERLAP_BYTES`], so
//! that a value at a cut is whole in one of them.

use crate::Found;

const BETWEEN: &str = "\n\n";
/// Names, addresses and numbers are shorter.
const OVERLAP_BYTES: usize = 200;

/// How large a document may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Size {
    Bytes(usize),
    /// Code points.
    Chars(usize),
}

impl Size {
    fn max(self) -> usize {
        match self {
            Self::Bytes(max) | Self::Chars(max) => max,
        }
    }

    fn of(self, text: &str) -> usize {
        match self {
            Self::Bytes(_) => text.len(),
            Self::Chars(_) => text.chars().count(),
        }
    }

    /// How many bytes from the start of a text fit.
    fn fitting(self, text: &str) -> usize {
        match self {
            Self::Bytes(max) => text.floor_char_boundary(max.min(text.len())),
            Self::Chars(max) => text.char_indices().nth(max).map_or(text.len(), |(at, _)| at),
        }
    }
}

/// What is asked at once.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) text: String,
    pieces: Vec<Piece>,
}

/// A piece of a text in a document.
#[derive(Debug)]
struct Piece {
    /// Which text.
    text: usize,
    /// Where it begins in that text, and in the document.
    from: usize,
    at: usize,
    length: usize,
}

impl Document {
    /// Puts what was found in the document where it lies in the texts; what reaches over several, into each of them.
    pub(crate) fn place(&self, found: &Found, texts: &mut [Vec<Found>]) {
        for piece in &self.pieces {
            let start = found.start.max(piece.at);
            let end = found.end.min(piece.at + piece.length);
            if start < end {
                let (start, end) = (start - piece.at + piece.from, end - piece.at + piece.from);
                texts[piece.text].push(Found { start, end, ..found.clone() });
            }
        }
    }
}

/// The documents that hold all texts. A text without a letter or a digit is asked of nobody.
pub(crate) fn pack(texts: &[&str], size: Size) -> Vec<Document> {
    let mut documents: Vec<Document> = Vec::new();
    let mut room = 0;
    for (number, text) in texts.iter().enumerate() {
        if !text.contains(char::is_alphanumeric) {
            continue;
        }
        for (from, piece) in pieces(text, size) {
            let needed = size.of(piece) + BETWEEN.len();
            match documents.last_mut().filter(|_| needed <= room) {
                Some(document) => {
                    document.text.push_str(BETWEEN);
                    let at = document.text.len();
                    document.text.push_str(piece);
                    document.pieces.push(Piece { text: number, from, at, length: piece.len() });
                    room -= needed;
                }
                None => {
                    let pieces = vec![Piece { text: number, from, at: 0, length: piece.len() }];
                    documents.push(Document { text: piece.to_owned(), pieces });
                    room = size.max() - size.of(piece);
                }
            }
        }
    }
    documents
}

/// A text in pieces that fit, with where each begins.
fn pieces(text: &str, size: Size) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let mut from = 0;
    loop {
        let rest = &text[from..];
        let fitting = size.fitting(rest);
        if fitting == rest.len() {
            pieces.push((from, rest));
            return pieces;
        }
        // Not too early, or a text without much whitespace would become very many pieces.
        let least = rest.ceil_char_boundary(fitting / 2);
        let cut = rest[least..fitting].rfind(char::is_whitespace).map_or(fitting, |at| least + at);
        pieces.push((from, &rest[..cut]));
        let overlap = rest.floor_char_boundary(cut.saturating_sub(OVERLAP_BYTES.min(cut / 4)));
        let next = rest[overlap..cut].find(char::is_whitespace).map_or(overlap, |at| overlap + at);
        // At least one character, so that it ends.
        from += next.max(rest.ceil_char_boundary(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(start: usize, end: usize) -> Found {
        Found { entity: "PERSON".into(), start, end, score: 1.0 }
    }

    #[test]
    fn short_texts_go_together_and_findings_come_back_to_each() {
        let texts = ["Grüße 😀", "--", "Anna", "Müller"];
        let documents = pack(&texts, Size::Bytes(1000));
        assert_eq!(documents.len(), 1);
        assert_eq!(documents[0].text, "Grüße 😀\n\nAnna\n\nMüller");
        let mut all = vec![Vec::new(); 4];
        let anna = documents[0].text.find("Anna").unwrap();
        documents[0].place(&found(anna, anna + 4), &mut all);
        assert_eq!(all, [vec![], vec![], vec![found(0, 4)], vec![]]);
        // One that reaches over both is in both.
        let mut all = vec![Vec::new(); 4];
        documents[0].place(&found(anna, documents[0].text.len()), &mut all);
        assert_eq!(all, [vec![], vec![], vec![found(0, 4)], vec![found(0, 7)]]);
        // Between two texts there is nothing.
        let mut all = vec![Vec::new(); 4];
        documents[0].place(&found(anna - 2, anna), &mut all);
        assert!(all.iter().all(Vec::is_empty));
    }

    #[test]
    fn long_texts_are_cut_at_whitespace_and_no_value_is_lost_at_a_cut() {
        let words: Vec<String> = (0..2000).map(|n| format!("wörd{n:04}")).collect();
        let text = words.join(" ");
        for size in [Size::Bytes(1000), Size::Chars(1000), Size::Bytes(64)] {
            let documents = pack(&[&text], size);
            assert!(documents.len() > 10);
            let mut all = vec![Vec::new()];
            for document in &documents {
                assert!(size.of(&document.text) <= size.max());
                for word in document.text.split_whitespace() {
                    assert!(words.iter().any(|known| known == word), "a cut in {word}");
                }
                for pair in ["wörd0777 wörd0778", "wörd1999"] {
                    if let Some(at) = document.text.find(pair) {
                        document.place(&found(at, at + pair.len()), &mut all);
                    }
                }
            }
            let at = text.find("wörd0777").unwrap();
            let expected = "wörd0777 wörd0778".len();
            if matches!(size, Size::Bytes(1000) | Size::Chars(1000)) {
                assert!(all[0].iter().any(|f| (f.start, f.end) == (at, at + expected)), "{size:?}");
            }
            assert!(all[0].iter().any(|f| f.end == text.len()));
        }
    }

    #[test]
    fn what_has_no_whitespace_is_cut_between_characters() {
        let text = "😀".repeat(500) + "é";
        for size in [Size::Bytes(64), Size::Chars(10), Size::Bytes(5)] {
            let documents = pack(&[&text.replace('😀', "字")], size);
            assert!(documents.iter().all(|document| size.of(&document.text) <= size.max()));
            assert!(documents.last().unwrap().text.ends_with('é'));
        }
    }
}
