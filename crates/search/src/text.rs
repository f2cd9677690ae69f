//! From a part's bytes to the text that is searched, and from there to a line that can be shown.
//!
//! All of it is foreign: whatever cannot be read as JSON is taken as the text that it is.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Stands between one string and the next.
const BETWEEN: char = '\n';

/// The zero-width space, which separates words without being seen. It is put around each character of the scripts
/// that do not put spaces between words; in the text as it came it means nothing to a search and is dropped.
const SPLIT: char = '\u{200b}';

/// What the database puts before and after each match. Neither can be in a text that [`push`] made.
pub(crate) const MATCH: [char; 2] = ['\u{2}', '\u{3}'];

/// How much of a text is shown, in characters.
const SNIPPET_CHARS: usize = 160;

/// How much of it stands before the match.
const BEFORE_CHARS: usize = 50;

/// Strings that name things of the API, and are no text.
const LABELS: &[&str] = &[
    "call_id",
    "data",
    "detail",
    "encoding",
    "encrypted_content",
    "finish_reason",
    "format",
    "id",
    "index",
    "item_id",
    "media_type",
    "mimeType",
    "mime_type",
    "model",
    "object",
    "previous_response_id",
    "role",
    "service_tier",
    "signature",
    "status",
    "stop_reason",
    "system_fingerprint",
    "thoughtSignature",
    "tool_call_id",
    "tool_use_id",
    "type",
];

/// Members whose value, if it is an object, is the application's and not the API's: what a tool was called with, or
/// what it gave. All of it is text then, as it is where an API has the same object as a string of JSON.
const FOREIGN: &[&str] = &["args", "arguments", "input", "json", "response"];

/// Members that say the same text again, in pieces.
const REPEATED: &[&str] = &["logprobs", "logprobsResult"];

/// Appends the text of a part: of JSON its strings, of anything else all of it; `bytes_max` at most.
pub(crate) fn push_part(out: &mut String, part: &[u8], bytes_max: usize) {
    let start = out.len();
    let mut strings = Strings { out, end: start.saturating_add(bytes_max) };
    if strings.read(part) {
        return;
    }
    strings.out.truncate(start);
    if let Some(mended) = mend_surrogates(part)
        && strings.read(&mended)
    {
        return;
    }
    strings.out.truncate(start);
    // Of what is longer than will be taken, no more is looked at.
    let head = part.get(..bytes_max).unwrap_or(part);
    strings.push(&String::from_utf8_lossy(head));
}

/// Appends `text`, cleaned, so that `out` is not longer than `end`, and then what separates it from the next.
///
/// White space and control characters become single spaces. What is there to be invisible, or to change the direction
/// of what follows, is dropped, so that it neither hides a word from a search nor confuses a terminal.
pub(crate) fn push(out: &mut String, text: &str, end: usize) {
    let start = out.len();
    let mut last = BETWEEN;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        // Most texts are words of plain letters: taken a word at a time, because a character at a time costs ten times.
        // No more of a word is looked at than there is room for, or one that does not fit would be counted at each character.
        let room = end.saturating_sub(out.len() + BETWEEN.len_utf8());
        let plain = rest.bytes().take(room).take_while(u8::is_ascii_graphic).count();
        if plain > 1 {
            out.push_str(&rest[..plain]);
            last = 'x';
            rest = &rest[plain..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        // Room for a character with a split before and after it, and for what comes between.
        if out.len() + 4 + 2 * SPLIT.len_utf8() + BETWEEN.len_utf8() > end {
            break;
        }
        if c.is_whitespace() || c.is_control() {
            if !matches!(last, ' ' | BETWEEN) {
                out.push(' ');
                last = ' ';
            }
        } else if is_invisible(c) {
        } else if is_dense(c) {
            if !matches!(last, ' ' | BETWEEN | SPLIT) {
                out.push(SPLIT);
            }
            out.push(c);
            out.push(SPLIT);
            last = SPLIT;
        } else {
            out.push(c);
            last = c;
        }
    }
    if out.len() > start {
        if last == ' ' {
            out.pop();
        }
        out.push(BETWEEN);
    }
}

/// Format characters that are not part of how a word is written.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Characters of scripts that do not put spaces between words (or, Korean, not between words and what inflects
/// them). Each is a word to the index, and a word is a phrase of them.
fn is_dense(c: char) -> bool {
    matches!(c, '\u{e01}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{2fdf}'
        | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3035}' | '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{3ffff}')
}

/// A JSON text with U+FFFD in place of each escaped surrogate that has no partner (what is left of an emoji where
/// somebody cut a string); `None` if there is none. JSON's grammar allows them, no Unicode string can hold them.
fn mend_surrogates(json: &[u8]) -> Option<Vec<u8>> {
    let escape = |at: usize| -> Option<u32> {
        let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut mended = None;
    let mut at = 0;
    while at < json.len() {
        if json[at] != b'\\' {
            at += 1;
            continue;
        }
        at += match (escape(at), escape(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                mended.get_or_insert_with(|| json.to_vec())[at..at + 6].copy_from_slice(b"\\ufffd");
                6
            }
            // Of any other escape, the character after the backslash is not the start of one.
            _ => 2,
        };
    }
    mended
}

/// Takes the strings of a JSON text that are for people.
struct Strings<'a> {
    out: &'a mut String,
    end: usize,
}

impl Strings<'_> {
    /// Whether it is a JSON text that can have strings. (A number alone is rather a text that looks like one.)
    fn read(&mut self, json: &[u8]) -> bool {
        if !matches!(json.trim_ascii_start().first(), Some(b'{' | b'[' | b'"')) {
            return false;
        }
        let mut reader = serde_json::Deserializer::from_slice(json);
        let seed = Value { strings: self, place: Place::Text };
        seed.deserialize(&mut reader).and_then(|()| reader.end()).is_ok()
    }

    fn push(&mut self, text: &str) {
        push(self.out, text, self.end);
    }
}

/// What a value is, by the member that it is the value of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Text, or something that has text in it.
    Text,
    /// A label, if it is a string.
    Label,
    /// The application's, if it is an object.
    MaybeForeign,
    /// The application's: member names and numbers are text too.
    Foreign,
}

struct Value<'a, 'b> {
    strings: &'a mut Strings<'b>,
    place: Place,
}

impl Value<'_, '_> {
    fn scalar<E>(self, value: impl fmt::Display) -> Result<(), E> {
        if self.place == Place::Foreign {
            self.strings.push(&value.to_string());
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any json value")
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        if self.place != Place::Label {
            self.strings.push(value);
        }
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let place = if self.place == Place::MaybeForeign { Place::Text } else { self.place };
        while elements.next_element_seed(Value { strings: &mut *self.strings, place })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let foreign = matches!(self.place, Place::Foreign | Place::MaybeForeign);
        while let Some(name) = members.next_key::<Cow<'_, str>>()? {
            let place = if foreign {
                self.strings.push(&name);
                Place::Foreign
            } else if REPEATED.contains(&&*name) {
                members.next_value::<IgnoredAny>()?;
                continue;
            } else if LABELS.contains(&&*name) {
                Place::Label
            } else if FOREIGN.contains(&&*name) {
                Place::MaybeForeign
            } else {
                Place::Text
            };
            members.next_value_seed(Value { strings: &mut *self.strings, place })?;
        }
        Ok(())
    }
}

/// How a text begins that [`push`] made.
pub(crate) fn beginning(text: &str) -> String {
    let mut shown = text.char_indices().filter(|&(_, c)| c != SPLIT);
    let end = shown.nth(SNIPPET_CHARS + 1).map_or(text.len(), |(end, _)| end);
    snippet(&text[..end])
}

/// A line with what stands around the first match, if there is one, of a text that [`push`] made.
pub(crate) fn snippet(text: &str) -> String {
    let mut chars = Vec::new();
    let mut first = None;
    for c in text.chars() {
        match c {
            SPLIT => {}
            _ if c == MATCH[0] => first = first.or(Some(chars.len())),
            _ if c == MATCH[1] => {}
            _ if c.is_whitespace() || c.is_control() => chars.push(' '),
            _ => chars.push(c),
        }
    }
    let mut from = first.unwrap_or(0).saturating_sub(BEFORE_CHARS);
    if chars.len().saturating_sub(from) < SNIPPET_CHARS {
        from = chars.len().saturating_sub(SNIPPET_CHARS).min(from);
    }
    if from > 0 {
        // Not from the middle of a word, unless it is a long one.
        let word = chars[from - 1..].iter().take(BEFORE_CHARS / 2).position(|&c| c == ' ');
        from += word.unwrap_or(0);
    }
    let until = (from + SNIPPET_CHARS).min(chars.len());
    let mut line: String = chars[from..until].iter().collect::<String>().trim().to_owned();
    if from > 0 && !line.starts_with('…') {
        line.insert(0, '…');
    }
    if until < chars.len() && !line.ends_with('…') {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(part: &str) -> String {
        let mut out = String::new();
        push_part(&mut out, part.as_bytes(), 1 << 20);
        out.replace(SPLIT, "|").trim_end().replace(BETWEEN, "/")
    }

    #[test]
    fn takes_the_strings_that_are_for_people() {
        assert_eq!(text(r#"{"role":"user","content":"Hello,\n\n  world"}"#), "Hello, world");
        assert_eq!(
            text(r#"{"role":"user","content":[{"type":"text","text":"one"},{"type":"image_url","text":"two"}]}"#),
            "one/two"
        );
        assert_eq!(text(r#""a \"system\" prompt""#), r#"a "system" prompt"#);
        assert_eq!(text("not JSON\nat all"), "not JSON at all");
        assert_eq!(text("{not json"), "{not json");
        assert_eq!(text("1500"), "1500");
    }

    #[test]
    fn takes_all_that_is_the_applications() {
        let call =
            r#"{"type":"tool_use","id":"toolu_1","name":"refund","input":{"id":"ORD-5","amount":12.5,"ok":true}}"#;
        assert_eq!(text(call), "refund/id/ORD-5/amount/12.5/ok/true");
        let call = r#"{"id":"call_1","function":{"name":"refund","arguments":"{\"id\":\"ORD-5\"}"}}"#;
        assert_eq!(text(call), r#"refund/{"id":"ORD-5"}"#);
        let schema = r#"{"type":"function","properties":{"id":{"type":["string","null"],"description":"the order"}}}"#;
        assert_eq!(text(schema), "the order");
    }

    #[test]
    fn leaves_out_what_says_the_text_again() {
        assert_eq!(text(r#"{"content":"Hi","logprobs":{"content":[{"token":"Hi","bytes":[72]}]}}"#), "Hi");
    }

    #[test]
    fn reads_surrogates_without_partner() {
        assert_eq!(text(r#"{"content":"caf\u00e9 \ud83d"}"#), "café \u{fffd}");
        assert_eq!(text(r#"{"content":"\udc00\ud83d\ude00\\ud83d"}"#), "\u{fffd}😀\\ud83d");
        assert_eq!(mend_surrogates(br"\ud83d\ude00 \\ud83d \u00"), None);
    }

    #[test]
    fn drops_what_is_invisible_and_what_commands_a_terminal() {
        assert_eq!(
            text("a\u{1b}[31mred\u{7}\u{9b}2J\u{202e}b con\u{ad}fi\u{200b}dential"),
            "a [31mred 2Jb confidential"
        );
    }

    #[test]
    fn splits_scripts_without_spaces() {
        assert_eq!(text("abc漢字 d"), "abc|漢|字| d");
    }

    #[test]
    fn keeps_to_its_limit() {
        for limit in 0..200 {
            for part in [r#"{"a":"word word word","b":"漢字漢字漢字"}"#, "é漢é漢é漢é漢é漢 plain text", "\u{fffd}"]
            {
                let mut out = String::from("before");
                push_part(&mut out, part.as_bytes(), limit);
                assert!(out.len() <= "before".len() + limit, "{limit}");
            }
        }
        // One word that is longer than the limit, and so long that counting it again at each character would never end.
        let mut out = String::new();
        push(&mut out, &"x".repeat(8 << 20), 4 << 20);
        assert_eq!(out.len(), 4 << 20);
        let mut out = String::new();
        push_part(&mut out, &[0xff; 1000], 100);
        assert!(out.len() <= 100);
    }

    #[test]
    fn survives_deep_nesting() {
        let deep = "[".repeat(100_000);
        assert!(text(&deep).starts_with("[[["));
    }

    #[test]
    fn shows_what_stands_around_the_match() {
        let words: Vec<String> = (0..200).map(|n| format!("word{n}")).collect();
        let marked = words.join(" ").replace("word100", "\u{2}word100\u{3}");
        let line = snippet(&marked);
        assert!(line.starts_with("…word") && line.ends_with('…') && line.contains(" word100 "), "{line}");
        assert!(line.chars().count() <= SNIPPET_CHARS + 2);
        assert_eq!(snippet("\u{2}short\u{3}\ntext\n"), "short text");
        assert_eq!(snippet(""), "");
        let long = "x".repeat(1000);
        assert_eq!(snippet(&long).chars().count(), SNIPPET_CHARS + 1);
    }
}
