//! A bundle for reading. Nothing here proves anything: what is shown is what the files say, and [`super::report`] says
//! beside it what of them is proved.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tabellion_evidence::bundle::{self, Contents, Files};
use tabellion_evidence::entry::{Entry, FRAME, Manifest};

fn entry(files: &Files, path: &str) -> Option<Entry> {
    Entry::parse(files.get(path)?).ok()
}

/// The record of the export.
pub(crate) fn exported(files: &Files) -> Option<Value> {
    let entry = entry(files, bundle::EXPORT_ENTRY)?;
    Some(json!({"time": entry.time, "actor": entry.actor, "why": entry.why}))
}

/// The custody entries, in the order of the log.
pub(crate) fn custody(files: &Files, contents: &Contents) -> Vec<Value> {
    let one = |&index: &u64| {
        let entry = entry(files, &bundle::entry_path(index))?;
        let gap = entry.gap.as_ref().map(|gap| format!("{} not recorded: {}", gap.count, gap.reason));
        let export = entry.export.as_ref().map(|export| {
            let of: Vec<String> = export.selection.iter().map(|(name, value)| format!("{name} {value}")).collect();
            format!("{} exchanges, {}", export.exchanges, of.join(", "))
        });
        let erase = entry.erase.as_ref().map(|erase| {
            let of: Vec<String> = erase.selection.iter().map(|(name, value)| format!("{name} {value}")).collect();
            [vec![format!("{} entries", erase.count())], of].concat().join(", ")
        });
        let tags: Vec<String> = entry.tags.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let tags = (!tags.is_empty()).then(|| tags.join(", "));
        let what: Vec<String> = [gap, export, erase, tags].into_iter().flatten().collect();
        Some(json!({
            "index": index,
            "time": entry.time,
            "kind": entry.kind.as_str(),
            "actor": entry.actor,
            "why": entry.why,
            "what": what.join("; "),
        }))
    };
    contents.custody.iter().filter_map(one).collect()
}

/// The exchanges, in the order of their requests. `expired` is [`bundle::Checked::expired`].
pub(crate) fn exchanges(files: &Files, contents: &Contents, expired: &BTreeMap<u64, u64>) -> Vec<Value> {
    let one = |exchange: &bundle::Exchange| {
        json!({
            "exchange": exchange.exchange,
            "request": side(files, exchange.request, expired),
            "response": exchange.response.and_then(|index| side(files, index, expired)),
        })
    };
    contents.exchanges.iter().map(one).collect()
}

/// One entry of an exchange, with its content.
fn side(files: &Files, index: u64, expired: &BTreeMap<u64, u64>) -> Option<Value> {
    let entry = entry(files, &bundle::entry_path(index))?;
    let redaction = entry.redaction.as_ref();
    let mut tokens: BTreeSet<String> =
        redaction.iter().flat_map(|redaction| redaction.tokens.iter().cloned()).collect();
    let mut parts = entry.content.as_ref().map(|content| content.parts.clone()).unwrap_or_default();
    let manifest = entry.content.as_ref().and_then(|content| content.manifest);
    if let Some(manifest) = manifest.and_then(|hash| Manifest::parse(files.get(&bundle::part_path(&hash))?).ok()) {
        tokens.extend(manifest.tokens);
        parts = manifest.content;
    }
    let shown: Vec<Value> = parts
        .iter()
        // The frame alone is a body that could not be split; else it is what stands between the parts.
        .filter(|part| part.role != FRAME || parts.len() == 1)
        .filter_map(|part| {
            let text = String::from_utf8_lossy(files.get(&bundle::part_path(&part.sha256))?);
            Some(json!({"role": part.role, "sha256": part.sha256, "text": segments(&readable(&text), &tokens)}))
        })
        .collect();
    let frame = parts.first().filter(|_| parts.len() > 1).and_then(|part| files.get(&bundle::part_path(&part.sha256)));
    Some(json!({
        "index": index,
        "time": entry.time,
        "model": entry.model,
        "operation": entry.operation,
        "upstream": entry.upstream,
        "actor": entry.actor,
        "case": entry.case,
        "outcome": entry.outcome,
        "status": entry.status,
        "usage": entry.usage,
        "policy": redaction.map(|redaction| redaction.policy),
        "findings": redaction.map(|redaction| &redaction.findings),
        "commitment": entry.original.as_ref().map(|original| original.commitment),
        "expired": expired.get(&index),
        "omitted": entry.content.as_ref().and_then(|content| content.omitted),
        "parameters": frame.map(|frame| String::from_utf8_lossy(frame).replace('\0', "…")),
        "parts": shown,
    }))
}

/// A part of a chat body as a person would read it; any other as it is.
fn readable(text: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    words(&value).unwrap_or_else(|| serde_json::to_string_pretty(&value).unwrap_or_else(|_| text.to_owned()))
}

/// The text in the shapes that the providers have in common.
fn words(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().map(words).collect::<Option<_>>()?;
            (!texts.is_empty()).then(|| texts.join("\n"))
        }
        Value::Object(members) => {
            let known = |name: &&String| {
                !matches!(
                    name.as_str(),
                    "role" | "type" | "refusal" | "annotations" | "name" | "index" | "finish_reason"
                )
            };
            let told: Vec<&String> =
                members.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name).filter(known).collect();
            match told[..] {
                [name] if ["content", "text", "message", "input_text", "output_text"].contains(&name.as_str()) => {
                    words(&members[name])
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Text, and what stands for something that was taken out of it: only tokens that the entry names, so that nobody's own
/// words pass for one.
fn segments(text: &str, tokens: &BTreeSet<String>) -> Vec<Value> {
    let mut found = Vec::new();
    let (mut from, mut at) = (0, 0);
    while let Some(open) = text[at..].find('[').map(|open| at + open) {
        let Some(close) = text[open..].find(']').map(|close| open + close) else { break };
        let inside = &text[open + 1..close];
        if tokens.contains(inside) || is_binary(inside) {
            if from < open {
                found.push(json!({"text": &text[from..open]}));
            }
            let (entity, token) = inside.split_once(':').unwrap_or((inside, ""));
            found.push(json!({"entity": entity, "token": token}));
            from = close + 1;
            at = from;
        } else {
            at = open + 1;
        }
    }
    if from < text.len() {
        found.push(json!({"text": &text[from..]}));
    }
    found
}

fn is_binary(inside: &str) -> bool {
    inside.strip_prefix("BINARY:").is_some_and(|bytes| !bytes.is_empty() && bytes.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_words_and_anything_else_as_it_is() {
        for (part, read) in [
            (r#"{"role":"user","content":"hello"}"#, "hello"),
            (r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#, "a\nb"),
            (
                r#"{"index":0,"message":{"role":"assistant","content":"yes","refusal":null},"finish_reason":"stop"}"#,
                "yes",
            ),
            (r#""just text""#, "just text"),
            ("no json", "no json"),
            (r#"{"a":1}"#, "{\n  \"a\": 1\n}"),
        ] {
            assert_eq!(readable(part), read, "{part}");
        }
    }

    #[test]
    fn content_that_is_no_longer_kept_is_shown_as_that() {
        let request = br#"{"v":1,"kind":"exchange.request","id":"A","exchange":"A","time":"2026-11-22T10:00:00Z","content":{"sha256":"0000000000000000000000000000000000000000000000000000000000000000","bytes":1,"parts":[{"role":"frame","sha256":"0000000000000000000000000000000000000000000000000000000000000000","bytes":1}]}}"#;
        let expire = br#"{"v":1,"kind":"custody.expire","id":"B","time":"2026-11-22T10:00:00Z","erase":{"entries":[[3,4]],"selection":{"keep":"90d"}}}"#;
        let files = Files::from([(bundle::entry_path(3), request.to_vec()), (bundle::entry_path(9), expire.to_vec())]);
        let contents = Contents {
            v: bundle::VERSION,
            selection: BTreeMap::new(),
            exchanges: vec![bundle::Exchange { exchange: "A".into(), request: 3, response: None }],
            custody: vec![9],
            older: Vec::new(),
            anchors: Vec::new(),
        };
        let side = |expired| exchanges(&files, &contents, &expired)[0]["request"].clone();
        let shown = side(BTreeMap::from([(3, 9)]));
        assert_eq!((&shown["expired"], &shown["parts"]), (&json!(9), &json!([])));
        assert_eq!(side(BTreeMap::new())["expired"], Value::Null);
        assert_eq!(custody(&files, &contents)[0]["what"], "2 entries, keep 90d");
    }

    #[test]
    fn only_what_the_entry_names_is_marked() {
        let tokens = BTreeSet::from(["PHONE_NUMBER:abcdefgh".to_owned()]);
        let marked = segments("call [PHONE_NUMBER:abcdefgh] not [PHONE_NUMBER:zzzzzzzz] [BINARY:12] [", &tokens);
        let expected = json!([
            {"text": "call "},
            {"entity": "PHONE_NUMBER", "token": "abcdefgh"},
            {"text": " not [PHONE_NUMBER:zzzzzzzz] "},
            {"entity": "BINARY", "token": "12"},
            {"text": " ["},
        ]);
        assert_eq!(Value::Array(marked), expected);
    }
}
