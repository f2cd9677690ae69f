//! Redaction of JSON without loss: one pass, no tree. Every byte stays as it is, except strings (and numbers) in which
//! something was found. Duplicate members, the spelling of numbers, whitespace and the order of members survive.
//!
//! It accepts what RFC 8259 does, and besides: lone surrogates (they are scanned, and re-encoded, as U+FFFD) and
//! numbers of any size. It refuses nesting deeper than [`DEPTH_MAX`].

use std::borrow::Cow;

use crate::Context;
use crate::policy::{Down, Place, Policy};
use crate::redact::{Others, Redacted, Redactor, Sink};
use crate::token::tail;

/// Containers within containers. A parser with recursion would overflow its stack somewhere; ours has none, but those
/// of its readers have.
const DEPTH_MAX: usize = 512;

/// JSON in strings in JSON: tool calls have arguments like that. Deeper ones are text.
const NESTING_MAX: usize = 4;

/// Shorter numbers say nothing of anybody; longer ones nobody is called by.
const NUMBER_BYTES: std::ops::RangeInclusive<usize> = 3..=24;

/// How much is kept of what was said last.
const SAID_BYTES: usize = 160;

/// Redacts a JSON text; `None` when it is none. With `holes`, a zero byte may stand for a value.
pub(crate) fn redact<'a>(
    redactor: &Redactor,
    text: &str,
    holes: bool,
    before: Option<&str>,
    mut sink: Sink<'a>,
) -> Option<(Redacted, Others<'a>)> {
    let redacted =
        document(redactor, text, holes, Around { context: Context { key: None, before }, nesting: 0 }, &mut sink)?;
    Some(sink.finish(redacted.unwrap_or_else(|| text.to_owned())))
}

/// What the next token may be.
#[derive(Clone, Copy, PartialEq)]
enum Expect {
    Value,
    /// After `[`: a value or `]`.
    ValueOrEnd,
    /// After `{`: a key or `}`.
    KeyOrEnd,
    Key,
    Colon,
    /// After a value: a comma, or what ends the container; outside of all containers, the end of the text.
    CommaOrEnd,
}

/// The output: nothing is copied until something changes.
struct Output<'a> {
    text: &'a str,
    changed: Option<String>,
    done: usize,
}

impl Output<'_> {
    fn replace(&mut self, from: usize, to: usize, with: &str) {
        let out = self.changed.get_or_insert_default();
        out.push_str(&self.text[self.done..from]);
        out.push_str(with);
        self.done = to;
    }

    fn finish(self) -> Option<String> {
        self.changed.map(|mut out| {
            out.push_str(&self.text[self.done..]);
            out
        })
    }
}

/// A container that is open.
struct Open<'a> {
    object: bool,
    /// The key under which the values stand; an array's values stand under the array's key. Borrowed from the text where
    /// it stands there as it is: an answer's frame has thirty keys, and copies of them were a fifth of its redaction.
    key: Option<Cow<'a, str>>,
    /// Of an array: how many values were before.
    index: usize,
}

/// Where a document stands: what is said before it and the key over it, and how deep it is in others.
#[derive(Clone, Copy)]
struct Around<'a> {
    context: Context<'a>,
    nesting: usize,
}

/// `None`: not JSON. `Some(None)`: JSON in which nothing changes.
fn document<'a>(
    redactor: &Redactor,
    text: &'a str,
    holes: bool,
    around: Around<'a>,
    sink: &mut Sink<'_>,
) -> Option<Option<String>> {
    // Text that is not JSON must leave nothing in the sink: it will be scanned again as text.
    if !lexes(text, holes) {
        return None;
    }
    let policy = redactor.engine().redaction();
    let bytes = text.as_bytes();
    let mut output = Output { text, changed: None, done: 0 };
    let mut open: Vec<Open<'a>> = Vec::new();
    // What was said last: the next string may be the answer.
    let mut said: Option<String> = None;
    let mut is_key = false;
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        match b {
            b'"' => {
                let end = string_end(bytes, at)?;
                let raw = &text[at + 1..end - 1];
                let value = decode(raw)?;
                let redacted = if is_key {
                    redact_key(redactor, &value, sink)
                } else {
                    let key = open.last().map_or(around.context.key, |open| open.key.as_deref());
                    let context = Context { key, before: said.as_deref().or(around.context.before) };
                    let redacted = match place(policy, &open, around.nesting) {
                        Some(Place::Unscanned) => None,
                        Some(Place::Always(entity)) => redactor.whole(&value, entity, sink),
                        None => redact_value(redactor, &value, Around { context, ..around }, sink),
                    };
                    // As it is redacted: so that redacting once more sees the same.
                    let told = redacted.as_deref().unwrap_or(&value);
                    if told.contains(' ') {
                        said = Some(tail(told, SAID_BYTES).to_owned());
                    }
                    redacted
                };
                if let Some(redacted) = &redacted {
                    output.replace(at, end, &serde_json::to_string(redacted).ok()?);
                }
                if is_key && let Some(open) = open.last_mut() {
                    open.key = Some(redacted.map_or(value, Cow::Owned));
                    is_key = false;
                }
                at = end;
            }
            b'{' | b'[' => {
                let inherited = match open.last() {
                    Some(open) => open.key.clone(),
                    None => around.context.key.map(Cow::Borrowed),
                };
                is_key = b == b'{';
                open.push(Open { object: is_key, key: if is_key { None } else { inherited }, index: 0 });
                at += 1;
            }
            b'}' | b']' => {
                open.pop();
                is_key = false;
                at += 1;
            }
            b',' => {
                if let Some(open) = open.last_mut() {
                    is_key = open.object;
                    open.index += 1;
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let end = at + number_length(&bytes[at..])?;
                let number = &text[at..end];
                // To others a number without its context says nothing.
                if !sink.asks()
                    && NUMBER_BYTES.contains(&number.len())
                    && number.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'-'))
                {
                    let key = open.last().map_or(around.context.key, |open| open.key.as_deref());
                    let context = Context { key, before: None };
                    let redacted = match place(policy, &open, around.nesting) {
                        Some(Place::Unscanned) => None,
                        Some(Place::Always(entity)) => redactor.whole(number, entity, sink),
                        None => redactor.string(number, context, sink),
                    };
                    if let Some(redacted) = redacted {
                        output.replace(at, end, &serde_json::to_string(&redacted).ok()?);
                    }
                }
                at = end;
            }
            // Whitespace, colons, literals, holes: checked by `lexes`, and never changed.
            _ => at += 1,
        }
    }
    Some(output.finish())
}

/// What the policy says of the place that is reached. Paths lead through one document, not into those in its strings.
fn place<'a>(policy: &'a Policy, open: &[Open<'_>], nesting: usize) -> Option<&'a Place> {
    if !policy.has_paths() || nesting > 0 {
        return None;
    }
    let path: Vec<Down<'_>> = open
        .iter()
        .map(|open| match &open.key {
            Some(key) if open.object => Down::Member(key),
            _ => Down::Element(open.index),
        })
        .collect();
    policy.place(&path)
}

/// A key of letters only, and not longer, is a name and no value.
const PLAIN_KEY_BYTES_MAX: usize = 24;

fn redact_key(redactor: &Redactor, key: &str, sink: &mut Sink<'_>) -> Option<String> {
    // Half the strings of a JSON text are keys such as `content`, in which no rule could find anything.
    if key.len() <= PLAIN_KEY_BYTES_MAX && key.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_') {
        return None;
    }
    redactor.string(key, Context::NONE, sink)
}

fn redact_value(redactor: &Redactor, value: &str, around: Around<'_>, sink: &mut Sink<'_>) -> Option<String> {
    let inner = value.trim();
    let container = inner.starts_with('{') && inner.ends_with('}') || inner.starts_with('[') && inner.ends_with(']');
    if container
        && around.nesting < NESTING_MAX
        && let Some(redacted) = document(redactor, value, false, Around { nesting: around.nesting + 1, ..around }, sink)
    {
        return redacted;
    }
    redactor.string(value, around.context, sink)
}

/// Whether the text is one JSON value.
fn lexes(text: &str, holes: bool) -> bool {
    lex(text.as_bytes(), holes).is_some()
}

fn lex(bytes: &[u8], holes: bool) -> Option<()> {
    use Expect::*;
    let mut stack: Vec<u8> = Vec::new();
    let mut expect = Value;
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        if matches!(b, b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
            continue;
        }
        let value_fits = matches!(expect, Value | ValueOrEnd);
        let length = match b {
            b'{' | b'[' if value_fits => {
                if stack.len() == DEPTH_MAX {
                    return None;
                }
                stack.push(b);
                expect = if b == b'{' { KeyOrEnd } else { ValueOrEnd };
                1
            }
            b'}' if matches!(expect, KeyOrEnd | CommaOrEnd) && stack.last() == Some(&b'{') => {
                stack.pop();
                expect = CommaOrEnd;
                1
            }
            b']' if matches!(expect, ValueOrEnd | CommaOrEnd) && stack.last() == Some(&b'[') => {
                stack.pop();
                expect = CommaOrEnd;
                1
            }
            b',' if expect == CommaOrEnd => {
                expect = if *stack.last()? == b'{' { Key } else { Value };
                1
            }
            b':' if expect == Colon => {
                expect = Value;
                1
            }
            b'"' if value_fits || matches!(expect, Key | KeyOrEnd) => {
                expect = if value_fits { CommaOrEnd } else { Colon };
                string_end(bytes, at)? - at
            }
            0 if holes && value_fits => {
                expect = CommaOrEnd;
                1
            }
            _ if value_fits => {
                expect = CommaOrEnd;
                match b {
                    b't' => bytes[at..].starts_with(b"true").then_some(4)?,
                    b'f' => bytes[at..].starts_with(b"false").then_some(5)?,
                    b'n' => bytes[at..].starts_with(b"null").then_some(4)?,
                    _ => number_length(&bytes[at..])?,
                }
            }
            _ => return None,
        };
        at += length;
    }
    (stack.is_empty() && expect == CommaOrEnd).then_some(())
}

/// The offset after the closing quote of the string that opens at `at`. What is in it is checked here.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        let plain = memchr::memchr2(b'"', b'\\', &bytes[at..])?;
        // All of them: a loop that could end earlier would go byte by byte.
        if bytes[at..at + plain].iter().fold(false, |control, b| control | (*b < 0x20)) {
            return None;
        }
        at += plain;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += match *bytes.get(at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
            b'u' => bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit).then_some(6)?,
            _ => return None,
        };
    }
}

fn number_length(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| bytes[from.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    at += match (bytes.get(at)?, digits(at)) {
        (b'0', 1) => 1,
        (b'1'..=b'9', n) => n,
        _ => return None,
    };
    if bytes.get(at) == Some(&b'.') {
        let n = digits(at + 1);
        at += (n > 0).then_some(1 + n)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let n = digits(at);
        at += (n > 0).then_some(n)?;
    }
    Some(at)
}

/// What a string says. `raw` is what stands between the quotes, already checked.
fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.contains('\\') {
        return Some(Cow::Borrowed(raw));
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(i) = rest.find('\\') {
        out.push_str(&rest[..i]);
        let escape = rest.as_bytes().get(i + 1)?;
        rest = &rest[i + 2..];
        out.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = u32::from_str_radix(rest.get(..4)?, 16).ok()?;
                rest = &rest[4..];
                let low = rest.strip_prefix("\\u").and_then(|r| u32::from_str_radix(r.get(..4)?, 16).ok());
                match (unit, low) {
                    (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
                        rest = &rest[6..];
                        char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00))?
                    }
                    _ => char::from_u32(unit).unwrap_or('\u{fffd}'),
                }
            }
            other => *other as char,
        });
    }
    out.push_str(rest);
    Some(Cow::Owned(out))
}
