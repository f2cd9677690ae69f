//! Texts in pieces that a model can look at.
//!
//! A long text is cut into pieces of bytes, so that no tokenizer is given megabytes, and a piece's tokens into windows, as
//! long as the model's memory. Both overlap: a name at an edge is judged where it has words on both sides.

use std::ops::Range;

/// A piece of a text has so many bytes at most, of which so many are also the next piece's.
const PIECE_BYTES: usize = 4096;
const OVERLAP_BYTES: usize = 512;
/// The part of a window that is also the next one's.
const OVERLAP_OF_WINDOW: usize = 4;

/// A part of a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    /// Whose.
    pub(crate) text: usize,
    pub(crate) span: Range<usize>,
    /// What begins here, in bytes of the text, is this piece's to report; the neighbours see the rest better.
    pub(crate) own: Range<usize>,
}

/// The pieces of a text, in order. Their own parts are the whole text.
pub(crate) fn pieces(number: usize, text: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::with_capacity(text.len() / (PIECE_BYTES - OVERLAP_BYTES) + 1);
    let mut start = 0;
    loop {
        let end = text.floor_char_boundary((start + PIECE_BYTES).min(text.len()));
        let from = pieces.last().map_or(0, |last| last.own.end);
        let to = if end == text.len() { end } else { at_word(text, end - OVERLAP_BYTES / 2, OVERLAP_BYTES / 4) };
        pieces.push(Piece { text: number, span: start..end, own: from..to });
        if end == text.len() {
            return pieces;
        }
        start = at_word(text, end - OVERLAP_BYTES, OVERLAP_BYTES / 4);
    }
}

/// The last beginning of a word up to a place, if there is one so near; otherwise the place.
fn at_word(text: &str, place: usize, near: usize) -> usize {
    let place = text.floor_char_boundary(place);
    let from = text.floor_char_boundary(place.saturating_sub(near));
    text[from..place].rfind(char::is_whitespace).map_or(place, |at| text.ceil_char_boundary(from + at + 1))
}

/// The windows over so many tokens, each with those of its tokens for which it is the best place: the one with most tokens
/// on both sides.
pub(crate) fn windows(tokens: usize, window: usize) -> Vec<(Range<usize>, Range<usize>)> {
    let overlap = window / OVERLAP_OF_WINDOW;
    let mut windows = Vec::new();
    let (mut start, mut from) = (0, 0);
    while from < tokens {
        let end = (start + window).min(tokens);
        let to = if end == tokens { end } else { end - overlap / 2 };
        windows.push((start..end, from..to));
        from = to;
        start = end - overlap.min(end);
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_whole_text_and_overlap() {
        for text in [
            String::new(),
            "short".to_owned(),
            "word ".repeat(4000),
            "x".repeat(20_000),
            "é😀".repeat(5_000),
            format!("{}\u{3000}{}", "日".repeat(1365), "本".repeat(3000)),
        ] {
            let pieces = pieces(7, &text);
            let mut at = 0;
            for (piece, next) in pieces.iter().zip(pieces.iter().skip(1).map(Some).chain([None])) {
                assert!(text.get(piece.span.clone()).is_some() && piece.span.len() <= PIECE_BYTES);
                assert_eq!((piece.own.start, piece.text), (at, 7));
                assert!(piece.own.start >= piece.span.start && piece.own.end <= piece.span.end);
                at = piece.own.end;
                if let Some(next) = next {
                    assert!(next.span.start > piece.span.start && next.span.start < piece.own.end);
                    assert!(next.span.start + OVERLAP_BYTES / 8 <= piece.own.end);
                }
            }
            assert_eq!(at, text.len());
        }
    }

    #[test]
    fn every_token_is_judged_once_and_with_others_on_both_sides() {
        for window in [1, 2, 3, 4, 5, 30, 512] {
            for tokens in [0, 1, 2, 29, 30, 31, 100, 1025] {
                let mut at = 0;
                for (seen, own) in windows(tokens, window) {
                    assert!(seen.len() <= window && seen.start <= own.start && own.end <= seen.end && !own.is_empty());
                    assert_eq!(own.start, at);
                    at = own.end;
                    if own.start > 0 {
                        assert!(own.start - seen.start >= window / 8);
                    }
                    if own.end < tokens {
                        assert!(seen.end - own.end >= window / 8);
                    }
                }
                assert_eq!(at, tokens);
            }
        }
    }
}
