//! Text that is already redacted: `[ENTITY:token]` is neither found nor read as context.

/// A `[BINARY:bytes]` of more digits is none of ours (nothing that is redacted has 100 MB), and is scanned: a social
/// security number, which has nine, must not hide in one.
const BINARY_DIGITS_MAX: usize = 8;

/// Where `[ENTITY:token]` and `[BINARY:bytes]` stand.
pub(crate) fn tokens_in(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'[', bytes).filter_map(|at| token_at(bytes, at).map(|end| (at, end))).collect()
}

fn token_at(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?.strip_prefix(b"[")?;
    let name = rest.iter().take(41).take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || **b == b'_').count();
    if !(1..=40).contains(&name) || !rest[0].is_ascii_uppercase() || rest.get(name) != Some(&b':') {
        return None;
    }
    let value = &rest[name + 1..];
    let length = if &rest[..name] == b"BINARY" {
        value.iter().take(BINARY_DIGITS_MAX + 1).take_while(|b| b.is_ascii_digit()).count()
    } else {
        value.iter().take(9).take_while(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')).count()
    };
    let right = if &rest[..name] == b"BINARY" { (1..=BINARY_DIGITS_MAX).contains(&length) } else { length == 8 };
    (right && value.get(length) == Some(&b']')).then_some(at + 1 + name + 1 + length + 1)
}

/// The tokens in a text, and how spans lie to them.
pub(crate) struct Tokens(Vec<(usize, usize)>);

impl Tokens {
    pub(crate) fn of(text: &str) -> Self {
        Self(tokens_in(text))
    }

    /// Whether a token began before this place and goes on.
    pub(crate) fn inside(&self, at: usize) -> bool {
        let i = self.0.partition_point(|t| t.0 < at);
        i.checked_sub(1).is_some_and(|i| at < self.0[i].1)
    }

    /// Whether a span lies inside a token.
    pub(crate) fn cover(&self, from: usize, to: usize) -> bool {
        let i = self.0.partition_point(|t| t.0 <= from);
        i.checked_sub(1).is_some_and(|i| to <= self.0[i].1)
    }

    /// A span that cuts into tokens, grown to hold them whole.
    pub(crate) fn around(&self, mut from: usize, mut to: usize) -> (usize, usize) {
        let i = self.0.partition_point(|t| t.1 <= from);
        if let Some(t) = self.0.get(i).filter(|t| t.0 < from) {
            from = t.0;
        }
        let i = self.0.partition_point(|t| t.0 < to);
        if let Some(t) = i.checked_sub(1).map(|i| self.0[i]).filter(|t| t.1 > to) {
            to = t.1;
        }
        (from, to)
    }
}

/// The end of a text, from a space on, so that no token is cut in two.
pub(crate) fn tail(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let cut = &text[text.ceil_char_boundary(text.len() - bytes)..];
    cut.find(' ').map_or("", |space| &cut[space..])
}
