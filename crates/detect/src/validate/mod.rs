//! The validators that rules name: arithmetic on a candidate, which keeps it, shortens it, lowers its score, or drops
//! it. A pattern's own score is what a candidate has when the validator agrees.

mod americas;
mod asia;
mod checksum;
mod europe;
mod global;
pub(crate) mod phone;
mod secrets;

/// A candidate: what a pattern matched, in its (normalized) text.
pub(crate) struct Check<'a> {
    pub(crate) text: &'a str,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// A context word stands nearby.
    pub(crate) context: bool,
    /// A verdict with a lower score is of no use to who asks.
    pub(crate) least: f32,
}

impl<'a> Check<'a> {
    pub(crate) fn value(&self) -> &'a str {
        &self.text[self.start..self.end]
    }

    /// The candidate, up to `end` bytes into it.
    pub(crate) fn cut(&self, end: usize) -> Verdict {
        Verdict { start: self.start, end: self.start + end, score: None }
    }

    /// All of it.
    fn keep(&self) -> Verdict {
        Verdict { start: self.start, end: self.end, score: None }
    }

    /// All of it, with another score than the pattern's.
    fn rescore(&self, score: f32) -> Verdict {
        Verdict { score: Some(score), ..self.keep() }
    }

    /// The digits in it, as numbers from 0 to 9; `None` if there are not `N`.
    fn digits<const N: usize>(&self) -> Option<[u8; N]> {
        let mut digits = [0; N];
        let mut found = self.value().bytes().filter(u8::is_ascii_digit);
        for digit in &mut digits {
            *digit = found.next()? - b'0';
        }
        found.next().is_none().then_some(digits)
    }

    /// The letters and digits in it, as capitals; `None` if there are not `N`.
    fn alphanumerics<const N: usize>(&self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let mut found = self.value().bytes().filter(u8::is_ascii_alphanumeric);
        for byte in &mut bytes {
            *byte = found.next()?.to_ascii_uppercase();
        }
        found.next().is_none().then_some(bytes)
    }

    fn before(&self) -> &'a [u8] {
        &self.text.as_bytes()[..self.start]
    }

    fn after(&self, end: usize) -> &'a [u8] {
        &self.text.as_bytes()[end..]
    }
}

/// What is left of a candidate, and its score if that is not the pattern's.
pub(crate) struct Verdict {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) score: Option<f32>,
}

pub(crate) type Validator = fn(&Check<'_>) -> Option<Verdict>;

/// The validator that a rule calls so.
pub(crate) fn by_name(name: &str) -> Option<Validator> {
    let families =
        [phone::by_name, global::by_name, secrets::by_name, americas::by_name, europe::by_name, asia::by_name];
    families.iter().find_map(|by_name| by_name(name))
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || !b.is_ascii()
}

/// The digits after a point are not a number of their own; nor are those that go on with a point or a dash.
fn is_part_of_number(before: &[u8], after: &[u8]) -> bool {
    matches!(before, [.., d, b'.' | b',' | b'-'] if d.is_ascii_digit())
        || matches!(after, [b'.' | b',' | b'-', d, ..] if d.is_ascii_digit())
        || matches!(after, [b'-' | b'_', d, ..] if d.is_ascii_alphanumeric())
}
