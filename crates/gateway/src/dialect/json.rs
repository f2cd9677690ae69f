//! JSON as it stands: members and elements in their order, repeated names included, as slices of the text.
//!
//! `serde_json` checks a raw value's syntax without recursion and without building anything, so depth costs nothing
//! here. [`tree`] does build values, and gives up beyond 128 levels.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The text is not the JSON that was asked for.
#[derive(Debug)]
pub(super) struct Malformed;

impl From<serde_json::Error> for Malformed {
    fn from(_: serde_json::Error) -> Malformed {
        // The cause quotes nothing, but nobody needs it either.
        Malformed
    }
}

/// Calls `visit` with each member of an object, in order. Some may have been visited when it fails.
pub(super) fn members<'a>(json: &'a str, visit: impl FnMut(&str, &'a RawValue)) -> Result<(), Malformed> {
    struct Members<F>(F);
    impl<'de, F: FnMut(&str, &'de RawValue)> Visitor<'de> for Members<F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some(Text(name)) = map.next_key()? {
                (self.0)(&name, map.next_value()?);
            }
            Ok(())
        }
    }
    let mut json = serde_json::Deserializer::from_str(json);
    json.deserialize_map(Members(visit))?;
    Ok(json.end()?)
}

/// Calls `visit` with each element of an array, in order. Some may have been visited when it fails.
pub(super) fn elements<'a>(json: &'a str, visit: impl FnMut(&'a RawValue)) -> Result<(), Malformed> {
    struct Elements<F>(F);
    impl<'de, F: FnMut(&'de RawValue)> Visitor<'de> for Elements<F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
            while let Some(element) = seq.next_element()? {
                (self.0)(element);
            }
            Ok(())
        }
    }
    let mut json = serde_json::Deserializer::from_str(json);
    json.deserialize_seq(Elements(visit))?;
    Ok(json.end()?)
}

/// What a string says. Half a surrogate pair, which JSON can write and UTF-8 cannot, becomes U+FFFD.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    is(raw, b'"').then(|| serde_json::from_str::<Text<'_>>(raw.get()).ok())?.map(|Text(text)| text)
}

/// Whether a value begins with this byte, which tells strings, objects and arrays apart.
pub(super) fn is(raw: &RawValue, first: u8) -> bool {
    raw.get().as_bytes().first() == Some(&first)
}

/// A string, borrowed where it has no escapes. Read as bytes, because only so does `serde_json` let half a surrogate
/// pair pass.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Text<'de>, E> {
                Ok(Text(String::from_utf8_lossy(bytes)))
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(String::from_utf8_lossy(bytes).into_owned())))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_bytes(TextVisitor)
    }
}

/// A parsed value, and what a plain parse would have lost of it.
pub(super) struct Tree {
    /// The value; of a member that occurs more than once, the last.
    pub(super) value: Value,
    /// The members that a later one of the same name has replaced.
    pub(super) repeated: Vec<(String, Value)>,
    /// A number in it is too long to have been kept exactly.
    pub(super) inexact: bool,
}

/// Parses a whole value; `None` if it is not JSON or deeper than 128 levels.
pub(super) fn tree(json: &str) -> Option<Tree> {
    parse(json).or_else(|| match mend(json) {
        Cow::Owned(mended) => parse(&mended),
        Cow::Borrowed(_) => None,
    })
}

fn parse(json: &str) -> Option<Tree> {
    let mut lost = Lost::default();
    let mut json = serde_json::Deserializer::from_str(json);
    let value = Node(&mut lost).deserialize(&mut json).ok()?;
    json.end().ok()?;
    Some(Tree { value, repeated: lost.repeated, inexact: lost.inexact })
}

#[derive(Default)]
struct Lost {
    repeated: Vec<(String, Value)>,
    inexact: bool,
}

struct Node<'a>(&'a mut Lost);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // Whole numbers up to 64 bits do not come here, longer ones do: 2^53 is where an f64 starts to skip.
        self.0.inexact |= value.abs() >= 9_007_199_254_740_992.0;
        Ok(value.into())
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = seq.next_element_seed(Node(self.0))? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(Node(self.0))?;
            match object.entry(name) {
                Entry::Occupied(mut member) => {
                    let old = member.insert(value);
                    self.0.repeated.push((member.key().clone(), old));
                }
                Entry::Vacant(place) => {
                    place.insert(value);
                }
            }
        }
        Ok(Value::Object(object))
    }
}

/// Writes U+FFFD for each half of a surrogate pair that stands alone, as JavaScript's and Java's encoders leave them
/// when a text is cut in the middle of an emoji.
fn mend(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let unit = |at: usize| -> Option<u16> {
        let escape = json.get(at..at.checked_add(6)?)?.strip_prefix("\\u")?;
        escape.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u16::from_str_radix(escape, 16).ok())?
    };
    let mut mended = String::new();
    let (mut kept, mut at) = (0, 0);
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        at += match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                mended.push_str(&json[kept..at]);
                mended.push_str("\\ufffd");
                kept = at + 6;
                6
            }
            // Whatever it escapes, the next byte is not the start of another escape.
            _ => 2,
        };
    }
    if kept == 0 {
        return Cow::Borrowed(json);
    }
    mended.push_str(&json[kept..]);
    Cow::Owned(mended)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(json: &str) -> Option<Vec<String>> {
        let mut names = Vec::new();
        members(json, |name, _| names.push(name.to_owned())).ok()?;
        Some(names)
    }

    #[test]
    fn members_keep_their_order_and_repeat() {
        assert_eq!(names(r#" {"b":1,"a":2,"b":[3]} "#).unwrap(), ["b", "a", "b"]);
        assert_eq!(names("{}").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn refuses_what_is_not_one_object() {
        for json in ["", " ", "[]", "\"a\"", "1", "null", "{", "{\"a\"}", "{\"a\":1,}", "{}{}", "{} x", "\u{feff}{}"] {
            assert!(names(json).is_none(), "{json}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_no_reason_to_give_up() {
        assert_eq!(names(r#"{"a\ud800b":"\udfff"}"#).unwrap(), ["a\u{fffd}\u{fffd}\u{fffd}b"]);
        for (json, said) in [
            (r#""\ud800""#, "\u{fffd}"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""a\ud83d\ude00\ud83db""#, "a\u{1f600}\u{fffd}b"),
            (r#""\\ud800\ud800""#, "\\ud800\u{fffd}"),
            (r#""\ud83d\n""#, "\u{fffd}\n"),
        ] {
            assert_eq!(tree(json).unwrap().value, Value::from(said), "{json}");
        }
        for json in [r#""\ud8"#, r#""\ud800"#, r#""\"#, r#""\u12é4""#, r#""\u+123""#] {
            assert!(tree(json).is_none(), "{json}");
        }
    }

    #[test]
    fn depth_costs_nothing_raw_and_is_refused_as_a_tree() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(names(&deep).unwrap(), ["a"]);
        assert!(tree(&deep).is_none());
    }

    #[test]
    fn a_tree_tells_what_it_lost() {
        let repeated = tree(r#"{"a":1,"b":{"c":"x","c":"y"},"a":2}"#).unwrap();
        assert_eq!(repeated.value, serde_json::json!({"a": 2, "b": {"c": "y"}}));
        assert_eq!(repeated.repeated, [("c".to_owned(), "x".into()), ("a".to_owned(), 1.into())]);
        assert!(!tree("[18446744073709551615,0.5,-9223372036854775808]").unwrap().inexact);
        assert!(tree("18446744073709551616").unwrap().inexact);
        assert!(tree("1e400").is_none());
    }
}
