//! Whether what surrounds a name is language. In source code, configuration and logs nearly every word is the name of
//! something, and hardly any is somebody's: there a name must be surer, and one that is joined to an operator is none.

use super::Span;
use super::token::{Shape, Token};

/// How much of a line or a text is code, in hundredths of its tokens, from which on it counts as such.
const LINE_IS_CODE: usize = 22;
const TEXT_IS_CODE: usize = 14;
const TEXT_IS_TECHNICAL: usize = 4;
/// Fewer such tokens say nothing, and neither does a shorter line or text.
const CODE_LEAST: usize = 3;
const TOKENS_LEAST: usize = 6;
/// So many tokens of a line are looked at on either side of a name.
const LINE_TOKENS: usize = 40;

/// The scores that a name of one word, and one of several, must reach.
#[derive(Clone, Copy)]
struct Bar {
    one: f32,
    several: f32,
}

const IN_LINE_OF_CODE: Bar = Bar { one: 0.97, several: 0.9 };
const IN_CODE: Bar = Bar { one: 0.9, several: 0.7 };
const IN_TECHNICAL_TEXT: Bar = Bar { one: 0.75, several: 0.5 };

/// Products that are called like people, which are spoken of by this one word more often than anybody is.
const PRODUCTS: [&str; 20] = [
    "alexa",
    "bard",
    "cassandra",
    "claude",
    "copilot",
    "cortana",
    "django",
    "flask",
    "gemini",
    "grok",
    "jenkins",
    "jira",
    "kafka",
    "llama",
    "maven",
    "mistral",
    "pandas",
    "ruby",
    "siri",
    "watson",
];

/// Whether a token is hardly ever written but in code.
fn is_code(bytes: &[u8], tokens: &[Token], at: usize) -> bool {
    let token = tokens[at];
    let joined_after = tokens.get(at + 1).is_some_and(|next| next.joined);
    let after = |offset: usize| bytes.get(token.start as usize + offset);
    match token.shape {
        // A post speaks to people and of things by such words.
        Shape::Code | Shape::Mixed => {
            let sign = at > 0 && matches!(bytes[tokens[at - 1].start as usize], b'@' | b'#');
            !sign && !bytes[token.start as usize].is_ascii_digit()
        }
        Shape::Mark => match bytes[token.start as usize] {
            b'=' | b'{' | b'}' | b'[' | b']' | b'`' | b'\\' | b'~' | b'^' => true,
            b'<' | b'>' => tokens.get(at + 1).is_none_or(|next| next.shape != Shape::Net) && bytes.len() > 1,
            b'(' | b'/' | b'&' => token.joined && joined_after,
            b':' => after(1) == Some(&b':'),
            b';' => after(1).is_none_or(|b| matches!(b, b'\n' | b'\r')),
            _ => false,
        },
        _ => false,
    }
}

/// Takes out the spans that do not reach what their surroundings ask for.
pub(super) fn sift(text: &str, tokens: &[Token], spans: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    spans.retain(|span| {
        let name = &text[span.start..span.end];
        span.score >= IN_LINE_OF_CODE.one || !PRODUCTS.iter().any(|product| product.eq_ignore_ascii_case(name))
    });
    let code = (0..tokens.len()).filter(|at| is_code(bytes, tokens, *at)).count();
    let share = |code: usize, all: usize| if all < TOKENS_LEAST || code < CODE_LEAST { 0 } else { code * 100 / all };
    let whole = share(code, tokens.len());
    if code == 0 {
        return;
    }
    spans.retain(|span| {
        let from = tokens.partition_point(|t| (t.start as usize) < span.start);
        let to = tokens.partition_point(|t| (t.end as usize) <= span.end).max(from);
        let several = tokens[from..to].iter().filter(|t| t.shape != Shape::Mark).count() > 1;
        let reaches = |bar: Bar| span.score >= if several { bar.several } else { bar.one };
        let before = from.checked_sub(1).map(|at| bytes[tokens[at].start as usize]);
        if is_value(bytes, span) || matches!(before, Some(b'@' | b'#')) || matches!(bytes[span.start], b'@' | b'#') {
            return true;
        }
        if is_joined(bytes, span) {
            return several && reaches(IN_LINE_OF_CODE);
        }
        // The line, or as much of it as matters.
        let ends = |a: &Token, b: &Token| bytes[a.end as usize..b.start as usize].contains(&b'\n');
        let mut first = from;
        while first > 0 && from - first < LINE_TOKENS && !ends(&tokens[first - 1], &tokens[first]) {
            first -= 1;
        }
        let mut last = to;
        while last < tokens.len() && last > 0 && last - to < LINE_TOKENS && !ends(&tokens[last - 1], &tokens[last]) {
            last += 1;
        }
        let in_line = (first..last).filter(|at| is_code(bytes, tokens, *at)).count();
        if share(in_line, last - first) >= LINE_IS_CODE {
            reaches(IN_LINE_OF_CODE)
        } else if whole >= TEXT_IS_CODE {
            reaches(IN_CODE)
        } else if whole >= TEXT_IS_TECHNICAL {
            reaches(IN_TECHNICAL_TEXT)
        } else {
            true
        }
    });
}

/// Whether a span fills what stands between quotes, after a key, or between tags: `"name": "Maria"`, `name=Maria`.
fn is_value(bytes: &[u8], span: &Span) -> bool {
    let before = bytes[..span.start].last().copied().unwrap_or(b'\n');
    let after = bytes.get(span.end).copied().unwrap_or(b'\n');
    match (before, after) {
        (b'"', b'"') | (b'\'', b'\'') => {
            let key = bytes[..span.start - 1].iter().rev().find(|b| **b != b' ');
            matches!(key, Some(b':' | b'='))
        }
        (b'>', b'<') => true,
        (b'=', b'&' | b'\n' | b' ' | b';' | b',') => span.start > 1 && bytes[span.start - 2].is_ascii_alphanumeric(),
        _ => false,
    }
}

/// Whether an operator of code touches a span: `nfa::thompson`, `Mul(Box`, `Guard<'a>`, `` `Bernoulli` ``.
fn is_joined(bytes: &[u8], span: &Span) -> bool {
    let before = &bytes[..span.start];
    let after = &bytes[span.end..];
    let member = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    before.ends_with(b"::")
        || after.starts_with(b"::")
        || matches!(before.last(), Some(b'`' | b'<' | b'&' | b'$' | b'\\' | b'_'))
        || matches!(before, [.., a, b'.' | b'/' | b'-'] if member(a))
        || matches!(after, [b'`' | b'(' | b'<' | b'[' | b'=' | b'_' | b'\\' | b'!', b, ..] if !b.is_ascii_whitespace())
        || matches!(after, [b'.' | b'/' | b'-', b, ..] if b.is_ascii_lowercase())
        || matches!(after, [b'`', ..])
        || matches!(after, [b'(' | b'!', b')' | b'(' | b'[', ..])
}
