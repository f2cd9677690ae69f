//! Reading an entry fast, as a verifier of millions must: one pass over its
//! bytes, without an allocation.
//!
//! [`facts`] knows requests and responses as Tabellion writes them: compact, in
//! its order,
//! without escapes in texts, without members of later versions. Of anything
//! else it gives `None`, which says nothing about it; then [`Entry::parse`]
//! has the word, as it always has: what is read here, it reads too, and the
//! same. (A test and a fuzz target hold the two against each other.)
//!
//! [`Entry::parse`]: crate::entry::Entry::parse

use crate::audit::{Facts, Name, Side};
use crate::custody;
use crate::entry::{Kind, NUMBERS, PRODUCER_BYTES_MAX};
use crate::sessions::{Said, micros};
use crate::tile::ENTRY_BYTES_MAX;

/// More members of one map are left to the other reader.
const KEYS_MAX: usize = 16;

/// What an entry says about others, and whether it speaks of a body or of a
/// sealed original; `None` if it is not one of those that can be read here.
pub fn facts(entry: &[u8]) -> Option<(Facts, bool)> {
    if entry.len() > ENTRY_BYTES_MAX || !is_text(entry) {
        return None;
    }
    let mut reader = Reader { bytes: entry, at: 0 };
    let found = reader.entry()?;
    (reader.at == entry.len()).then_some(found)
}

/// Whether it is UTF-8 without control characters. Without a branch for each
/// byte, so that the compiler takes many at once.
fn is_text(bytes: &[u8]) -> bool {
    let (all, control) =
        bytes.iter().fold((0, 0), |(all, control), &byte| (all | byte, control | u8::from(byte < 0x20)));
    control == 0 && (all < 0x80 || std::str::from_utf8(bytes).is_ok())
}

/// Has no control characters before it.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Which members of an object there were, none of them twice.
#[derive(Default)]
struct Seen(u32);

impl Seen {
    fn add(&mut self, bit: u32) -> Option<()> {
        let new = self.0 & (1 << bit) == 0;
        self.0 |= 1 << bit;
        new.then_some(())
    }

    fn has(&self, bit: u32) -> bool {
        self.0 & (1 << bit) != 0
    }
}

impl<'a> Reader<'a> {
    /// The members come in the order in which [`Entry`](crate::entry::Entry)
    /// has them, so each is looked for where it would be, and none can be
    /// there twice.
    fn entry(&mut self) -> Option<(Facts, bool)> {
        self.is(br#"{"v":1,"kind":"exchange."#)?;
        let side = if self.is(br#"request""#).is_some() {
            Side::Request
        } else {
            self.is(br#"response""#)?;
            Side::Response
        };
        self.is(br#","id":"#)?;
        let id = self.text()?;
        self.is(br#","exchange":"#)?;
        let exchange = self.text()?;
        self.is(br#","time":"#)?;
        let time = self.text()?;
        let producer = self.optional(br#","producer":"#, Self::text)?;
        let seq = self.optional(br#","seq":"#, Self::number)?;
        let upstream = self.optional(br#","upstream":"#, Self::text)?;
        self.optional(br#","operation":"#, Self::text)?;
        self.optional(br#","model":"#, Self::text)?;
        self.optional(br#","case":"#, Self::text)?;
        self.optional(br#","actor":"#, Self::text)?;
        self.optional(br#","tags":"#, |reader| reader.map(|reader| reader.text().map(drop)))?;
        let has_body = self.optional(br#","content":"#, Self::content)?.unwrap_or(false);
        let is_sealed = self.optional(br#","original":"#, Self::original)?.unwrap_or(false);
        self.optional(br#","redaction":"#, Self::redaction)?;
        let outcome = self.optional(br#","outcome":"#, Self::text)?;
        self.optional(br#","status":"#, |reader| u16::try_from(reader.number()?).ok())?;
        self.optional(br#","reason":"#, Self::text)?;
        self.optional(br#","usage":"#, Self::usage)?;
        self.optional(br#","trace":"#, Self::text)?;
        let key = self.optional(br#","key":"#, Self::text)?;
        self.is(b"}")?;
        match outcome {
            None | Some(b"complete" | b"error" | b"client_gone" | b"interrupted" | b"refused") => {}
            Some(_) => return None,
        }
        match side {
            Side::Request if id != exchange => return None,
            Side::Response if outcome.is_none() => return None,
            _ => {}
        }
        let number = match (producer, seq) {
            (None, None) => None,
            (Some(producer), Some(seq)) if (1..=PRODUCER_BYTES_MAX).contains(&producer.len()) && seq < NUMBERS => {
                Some((Name::of_bytes(producer), seq))
            }
            _ => return None,
        };
        let time = std::str::from_utf8(time).ok().and_then(micros);
        let said = Said { number, time, role: None };
        let exchange = Some((Name::of_bytes(exchange), side));
        let kind = if side == Side::Request { Kind::Request } else { Kind::Response };
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let upstream = upstream.and_then(text);
        let custody = key.and_then(text).map(|key| custody::Said::used(kind, key, time, upstream));
        Some((Facts { id: Name::of_bytes(id), exchange, said, custody }, has_body || is_sealed))
    }

    /// What `read` reads, if these bytes are before it. `None` when it is
    /// there and cannot be read.
    #[inline(always)]
    fn optional<T, const N: usize>(
        &mut self,
        name: &[u8; N],
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.is(name) {
            None => Some(None),
            Some(()) => read(self).map(Some),
        }
    }

    fn usage(&mut self) -> Option<()> {
        let mut seen = Seen::default();
        self.object(|reader, name| {
            seen.add(match name {
                b"input" => 0,
                b"output" => 1,
                _ => return None,
            })?;
            reader.number().map(drop)
        })
    }

    /// Whether it speaks of a body.
    fn content(&mut self) -> Option<bool> {
        let mut seen = Seen::default();
        let mut listed = false;
        self.object(|reader, name| {
            match name {
                b"sha256" => seen.add(0).and_then(|()| reader.hash())?,
                b"bytes" => seen.add(1).and_then(|()| reader.number()).map(drop)?,
                b"parts" => {
                    seen.add(2)?;
                    reader.list(|reader| {
                        let is_frame = reader.part()?;
                        // The first one is the frame.
                        if !listed && !is_frame {
                            return None;
                        }
                        listed = true;
                        Some(())
                    })?;
                }
                b"manifest" => seen.add(3).and_then(|()| reader.hash())?,
                b"assembled" => seen.add(4).and_then(|()| reader.boolean())?,
                b"omitted" => {
                    seen.add(5)?;
                    match reader.text()? {
                        b"empty" | b"binary" | b"too_large" => {}
                        _ => return None,
                    }
                }
                _ => return None,
            }
            Some(())
        })?;
        let body = seen.has(0) && seen.has(1);
        let none = !seen.has(0) && !seen.has(1) && !listed && !seen.has(3);
        let consistent = match (seen.has(5), seen.has(3)) {
            (true, _) => none,
            (false, true) => body && !listed,
            (false, false) => body && listed,
        };
        consistent.then_some(!seen.has(5))
    }

    /// Whether it is a frame.
    fn part(&mut self) -> Option<bool> {
        let mut seen = Seen::default();
        let mut is_frame = false;
        self.object(|reader, name| {
            match name {
                b"role" => {
                    seen.add(0)?;
                    is_frame = reader.text()? == crate::entry::FRAME.as_bytes();
                }
                b"sha256" => seen.add(1).and_then(|()| reader.hash())?,
                b"bytes" => seen.add(2).and_then(|()| reader.number()).map(drop)?,
                b"findings" => seen.add(3).and_then(|()| reader.counts())?,
                _ => return None,
            }
            Some(())
        })?;
        (seen.has(0) && seen.has(1) && seen.has(2)).then_some(is_frame)
    }

    /// Whether it is sealed, or may be: what is listed elsewhere is not seen here.
    fn original(&mut self) -> Option<bool> {
        let mut seen = Seen::default();
        self.object(|reader, name| match name {
            b"bytes" => seen.add(0).and_then(|()| reader.number()).map(drop),
            b"commitment" => seen.add(1).and_then(|()| reader.hash()),
            b"parts" => seen.add(2).and_then(|()| reader.list(Self::hash)),
            b"sealed" => seen.add(3).and_then(|()| reader.list(Self::hash)),
            _ => None,
        })?;
        (seen.has(0) && seen.has(1)).then_some(seen.has(3))
    }

    fn redaction(&mut self) -> Option<()> {
        let mut seen = Seen::default();
        self.object(|reader, name| match name {
            b"policy" => seen.add(0).and_then(|()| reader.text()?.strip_prefix(b"sha256:").and_then(is_hash)),
            b"findings" => seen.add(1).and_then(|()| reader.counts()),
            b"tokens" => seen.add(2).and_then(|()| reader.list(|reader| reader.text().map(drop))),
            b"external" => seen.add(3).and_then(|()| reader.counts()),
            b"external_failures" => seen.add(4).and_then(|()| reader.map(|reader| reader.text().map(drop))),
            _ => None,
        })?;
        seen.has(0).then_some(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline(always)]
    fn is<const N: usize>(&mut self, expected: &[u8; N]) -> Option<()> {
        (self.bytes[self.at..].first_chunk() == Some(expected)).then(|| self.at += N)
    }

    /// An object, whose members `read` reads, after their names.
    fn object(&mut self, mut read: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.is(b"{")?;
        if self.is(b"}").is_some() {
            return Some(());
        }
        loop {
            let name = self.text()?;
            self.is(b":")?;
            read(self, name)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// An object with any names, each once.
    fn map(&mut self, mut value: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let mut names: [&[u8]; KEYS_MAX] = [&[]; KEYS_MAX];
        let mut count = 0;
        self.object(|reader, name| {
            if count == KEYS_MAX || names[..count].contains(&name) {
                return None;
            }
            names[count] = name;
            count += 1;
            value(reader)
        })
    }

    fn counts(&mut self) -> Option<()> {
        self.map(|reader| u32::try_from(reader.number()?).ok().map(drop))
    }

    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.is(b"[")?;
        if self.is(b"]").is_some() {
            return Some(());
        }
        loop {
            item(self)?;
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// A text without escapes, between its quotation marks.
    fn text(&mut self) -> Option<&'a [u8]> {
        self.is(b"\"")?;
        let rest = &self.bytes[self.at..];
        let length = plain(rest);
        if rest.get(length) != Some(&b'"') {
            return None;
        }
        self.at += length + 1;
        Some(&rest[..length])
    }

    /// A whole number of at most 19 digits.
    fn number(&mut self) -> Option<u64> {
        let rest = &self.bytes[self.at..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 || digits > 19 || (digits > 1 && rest[0] == b'0') {
            return None;
        }
        self.at += digits;
        Some(rest[..digits].iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
    }

    fn boolean(&mut self) -> Option<()> {
        self.is(b"true").or_else(|| self.is(b"false"))
    }

    fn hash(&mut self) -> Option<()> {
        let [b'"', hash @ .., b'"'] = self.bytes[self.at..].first_chunk::<66>()? else { return None };
        is_hash(hash)?;
        self.at += 66;
        Some(())
    }
}

/// Whether it is 64 hexadecimal digits. Without a branch for each, as above.
fn is_hash(text: &[u8]) -> Option<()> {
    let text: &[u8; 64] = text.try_into().ok()?;
    let digit = |byte: u8| byte.wrapping_sub(b'0') < 10 || byte.wrapping_sub(b'a') < 6;
    text.iter().fold(true, |all, &byte| all & digit(byte)).then_some(())
}

/// How many bytes come before a quotation mark or a backslash: eight at a time
/// (as in *Bit Twiddling Hacks*, "Determine if a word has a zero byte"), and of
/// a long text as many as the processor takes.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES * 128;
    const SHORT: usize = 32;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut at = 0;
    while at < SHORT
        && let Some(eight) = bytes[at..].first_chunk::<8>()
    {
        let word = u64::from_le_bytes(*eight);
        let found = zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            // The lowest one is right; those above may be so by a borrow.
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    memchr::memchr2(b'"', b'\\', &bytes[at..]).map_or(bytes.len(), |found| at + found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;

    /// What is read here, the other reader reads, and the same.
    fn agrees(bytes: &[u8]) -> bool {
        let Some((found, has_body)) = facts(bytes) else { return false };
        let entry = Entry::parse(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)));
        assert_eq!(found, Facts::of(&entry), "{}", String::from_utf8_lossy(bytes));
        let is_sealed = bytes.windows(9).any(|name| name == b"\"sealed\":");
        assert_eq!(has_body, entry.content.is_some_and(|content| content.omitted.is_none()) || is_sealed);
        true
    }

    const REQUEST: &str = concat!(
        r#"{"v":1,"kind":"exchange.request","id":"01JD","exchange":"01JD","time":"2026-11-22T10:00:00.123456Z","#,
        r#""producer":"P","seq":7,"upstream":"openai","operation":"POST /v1","model":"m","case":"C-1","actor":"k_1","#,
        r#""tags":{"team":"blü","x":""},"content":{"sha256":"HASH","bytes":3,"parts":[{"role":"frame","#,
        r#""sha256":"HASH","bytes":1},{"role":"user","sha256":"HASH","bytes":2,"findings":{"EMAIL_ADDRESS":1}}],"#,
        r#""assembled":true},"original":{"bytes":3,"commitment":"HASH","parts":["HASH"],"sealed":["HASH","HASH"]},"redaction":{"#,
        r#""policy":"sha256:HASH","findings":{"A":1,"B":2},"tokens":["A:x"],"external":{"e":0},"#,
        r#""external_failures":{"f":"timed_out"}},"trace":"00-1"}"#
    );
    const RESPONSE: &str = concat!(
        r#"{"v":1,"kind":"exchange.response","id":"01JE","exchange":"01JD","time":"later","content":{"#,
        r#""omitted":"empty"},"outcome":"error","status":503,"reason":"x","usage":{"input":3,"output":0}}"#
    );

    fn hashed(text: &str) -> String {
        text.replace("HASH", &"0123456789abcdef".repeat(4))
    }

    #[test]
    fn reads_what_tabellion_writes() {
        for text in [REQUEST, RESPONSE] {
            assert!(agrees(hashed(text).as_bytes()), "{text}");
            let entry = Entry::parse(hashed(text).as_bytes()).unwrap();
            assert!(agrees(&entry.to_bytes().unwrap()));
        }
    }

    #[test]
    fn never_reads_what_the_other_reader_refuses_or_reads_differently() {
        // Every byte by each of these, left out, and repeated; every piece between two commas left out and repeated.
        let others = b"\"\\{}[]:,0129-.eE xn\x00\x1f\x7f\xc3\xff";
        let mut read = 0;
        for text in [REQUEST, RESPONSE] {
            let bytes = hashed(text).into_bytes();
            for at in 0..bytes.len() {
                for &other in others {
                    let mut changed = bytes.clone();
                    changed[at] = other;
                    read += usize::from(agrees(&changed));
                }
                read += usize::from(agrees(&[&bytes[..at], &bytes[at + 1..]].concat()));
                read += usize::from(agrees(&[&bytes[..at], &bytes[at..=at], &bytes[at..]].concat()));
            }
            let text = hashed(text);
            let pieces: Vec<&str> = text.split(',').collect();
            for at in 0..pieces.len() {
                let mut less = pieces.clone();
                less.remove(at);
                read += usize::from(agrees(less.join(",").as_bytes()));
                for to in 0..=pieces.len() {
                    let mut more = pieces.clone();
                    more.insert(to, pieces[at]);
                    read += usize::from(agrees(more.join(",").as_bytes()));
                    let mut moved = pieces.clone();
                    let piece = moved.remove(at);
                    moved.insert(to.min(moved.len()), piece);
                    read += usize::from(agrees(moved.join(",").as_bytes()));
                }
            }
        }
        assert!(read > 1_000, "only {read} were entries still");
    }

    #[test]
    fn texts_end_where_they_end() {
        for length in 0..40 {
            for special in [b'"', b'\\'] {
                for before in [b'a', b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xff] {
                    let mut bytes = vec![before; length];
                    bytes.push(special);
                    bytes.extend([before; 9]);
                    assert_eq!(plain(&bytes), length, "{special} after {length} of {before}");
                    assert_eq!(plain(&vec![before; length]), length);
                }
            }
        }
    }
}
