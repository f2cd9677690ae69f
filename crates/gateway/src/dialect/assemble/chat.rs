//! OpenAI's chunks, of chat completions and of completions: each says the same members again, with the next pieces
//! in `choices[*].delta` or `choices[*].text`.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{INDEX_MAX, Object, Outcome, Place, Unplaced, accumulate, accumulate_value, is_metadata, settle};

#[derive(Default)]
pub(super) struct Chat {
    /// The answer, with a null in the place of `choices`.
    answer: Object,
    choices: BTreeMap<u64, Choice>,
}

#[derive(Default)]
struct Choice {
    /// The choice but for `index` and `message`.
    fields: Object,
    /// What the deltas came to, with a null in the place of `tool_calls`.
    message: Option<Object>,
    calls: Calls,
    /// Some servers send the whole message so far with each delta.
    snapshot: Option<Object>,
}

/// What the chunks of one choice's content have in common: they are the same text but for the piece, so that all but the
/// piece was said before. To read each of them as JSON was a third of the processor time of a stream.
pub(super) struct Repeated {
    /// Up to the piece, with the quotation mark that begins it.
    before: String,
    /// From the piece's end on, with the quotation mark that ends it.
    after: String,
    choice: u64,
}

impl Repeated {
    /// The piece of a chunk that says the same but for the piece.
    fn piece(&self, chunk: &str) -> Option<String> {
        let chunk = unpadded(chunk);
        let end = chunk.strip_suffix(&*self.after)?.len();
        let start = self.before.len();
        // Only if these bytes are one JSON string is the chunk the same JSON with another piece.
        (start <= end && chunk.starts_with(&*self.before))
            .then(|| serde_json::from_str(&chunk[start - 1..=end]).ok())
            .flatten()
    }
}

/// A chunk without the random letters that OpenAI puts at its end, with which no two chunks would be alike. (Within a
/// string these quotation marks would have backslashes before them.)
fn unpadded(chunk: &str) -> &str {
    let before = chunk.strip_suffix("\"}").map(|rest| rest.trim_end_matches(|c: char| c.is_ascii_alphanumeric()));
    before.and_then(|rest| rest.strip_suffix(PADDING)).unwrap_or(chunk)
}

const PADDING: &str = ",\"obfuscation\":\"";

impl Chat {
    /// What later chunks may repeat of this one, which is read, and not taken in yet: if it has a piece of one choice's
    /// content, and of everything else that it says a repetition changes nothing.
    pub(super) fn repeatable(&self, chunk: &Object, text: &str) -> Option<Repeated> {
        let [Value::Object(choice)] = &**chunk.get("choices")?.as_array()? else { return None };
        let delta = choice.get("delta")?.as_object().filter(|delta| delta.len() == 1)?;
        let piece = delta.get("content")?.as_str()?;
        let rest_is_null = choice.iter().all(|(name, value)| matches!(&**name, "index" | "delta") || value.is_null());
        let rest_is_said = chunk.iter().all(|(name, value)| {
            matches!(&**name, "choices" | "object")
                || value.is_null()
                || (value.is_string() && (is_metadata(name) || name == "obfuscation"))
                || self.answer.get(name) == Some(value)
        });
        let text = unpadded(text);
        let quoted = format!("\"{piece}\"");
        let (before, after) = text.split_once(&*quoted)?;
        // With escapes in the text, or the piece in it twice, nobody knows which of them is the piece. And `":"` would be
        // found in the wrong place, as would `","`.
        let certain = rest_is_null
            && rest_is_said
            && !text.contains('\\')
            && before.trim_end().ends_with("\"content\":")
            && !after.contains(&*quoted);
        let Place::At(index) = Place::of(choice.get("index"), 0) else { return None };
        certain.then(|| Repeated { before: format!("{before}\""), after: format!("\"{after}"), choice: index })
    }

    /// Takes in a chunk that repeats another but for the piece; false if it does not, and has to be read.
    pub(super) fn repeats(&mut self, repeated: &Repeated, chunk: &str) -> bool {
        let message = self.choices.get_mut(&repeated.choice).and_then(|choice| choice.message.as_mut());
        let Some(Value::String(content)) = message.and_then(|message| message.get_mut("content")) else { return false };
        let Some(piece) = repeated.piece(chunk) else { return false };
        content.push_str(&piece);
        true
    }

    pub(super) fn chunk(&mut self, chunk: Object, unplaced: &mut Unplaced) -> Outcome {
        let mut failed = false;
        for (name, value) in chunk {
            match (name.as_str(), value) {
                ("choices", Value::Array(choices)) => {
                    self.answer.entry("choices").or_insert(Value::Null);
                    for (at, choice) in (0..).zip(choices) {
                        self.choice(at, choice, unplaced);
                    }
                }
                // It would collide with the placeholder.
                ("choices", value) => unplaced.value("choices", &value),
                ("object", Value::String(object)) => {
                    let object = object.strip_suffix(".chunk").unwrap_or(&object);
                    settle(&mut self.answer, name, object.into(), unplaced);
                }
                ("obfuscation", Value::String(_)) => {}
                (_, value) => {
                    failed |= name == "error" && !value.is_null();
                    settle(&mut self.answer, name, value, unplaced);
                }
            }
        }
        Outcome { terminal: false, failed }
    }

    fn choice(&mut self, at: u64, choice: Value, unplaced: &mut Unplaced) {
        let Value::Object(mut fields) = choice else {
            return unplaced.value("choices", &choice);
        };
        let index = fields.shift_remove("index");
        let Place::At(index) = Place::of(index.as_ref(), at) else {
            return unplaced.value("choices", &Value::Object(fields));
        };
        let choice = self.choices.entry(index).or_default();
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("delta", Value::Object(delta)) => choice.delta(delta, unplaced),
                ("delta", value) => unplaced.value("delta", &value),
                ("message", Value::Object(message)) => choice.snapshot(message, unplaced),
                ("message", value) => unplaced.value("message", &value),
                ("text" | "logprobs", value) => {
                    accumulate(&mut choice.fields, Object::from_iter([(name, value)]), unplaced);
                }
                (_, value) => settle(&mut choice.fields, name, value, unplaced),
            }
        }
    }

    pub(super) fn finish(mut self, unplaced: &mut Unplaced) -> (Object, bool) {
        let stopped = !self.choices.is_empty()
            && self.choices.values().all(|choice| choice.fields.get("finish_reason").is_some_and(Value::is_string));
        let choices = self.choices.into_iter().map(|(index, choice)| choice.finish(index, unplaced)).collect();
        if let Some(place) = self.answer.get_mut("choices") {
            *place = Value::Array(choices);
        }
        (self.answer, stopped)
    }
}

impl Choice {
    fn delta(&mut self, mut delta: Object, unplaced: &mut Unplaced) {
        let message = self.message.get_or_insert_default();
        match delta.shift_remove("tool_calls") {
            Some(Value::Array(calls)) => {
                message.entry("tool_calls").or_insert(Value::Null);
                for call in calls {
                    self.calls.piece(call, unplaced);
                }
            }
            Some(value) => unplaced.value("tool_calls", &value),
            None => {}
        }
        accumulate(message, delta, unplaced);
    }

    /// A message so far replaces the one before it if it continues it. Otherwise it is a delta by another name.
    fn snapshot(&mut self, message: Object, unplaced: &mut Unplaced) {
        fn said(message: &Object) -> &str {
            message.get("content").and_then(Value::as_str).unwrap_or_default()
        }
        match &mut self.snapshot {
            Some(old) if !said(&message).starts_with(said(old)) => accumulate(old, message, unplaced),
            old => *old = Some(message),
        }
    }

    fn finish(self, index: u64, unplaced: &mut Unplaced) -> Value {
        let mut choice = Object::from_iter([("index".to_owned(), index.into())]);
        let mut message = self.message;
        if let Some(message) = &mut message {
            let calls = self.calls.finish();
            match calls.is_empty() {
                true => {
                    message.shift_remove("tool_calls");
                }
                false => {
                    message.insert("tool_calls".to_owned(), Value::Array(calls));
                }
            }
        }
        match (message, self.snapshot) {
            (Some(message), Some(snapshot)) if !message.is_empty() => {
                if message.get("content") != snapshot.get("content") || snapshot.contains_key("tool_calls") {
                    unplaced.value("message", &Value::Object(snapshot));
                }
                choice.insert("message".to_owned(), Value::Object(message));
            }
            (_, Some(message)) | (Some(message), None) => {
                choice.insert("message".to_owned(), Value::Object(message));
            }
            (None, None) => {}
        }
        choice.extend(self.fields);
        Value::Object(choice)
    }
}

/// Tool calls, each of which comes in pieces.
#[derive(Default)]
struct Calls {
    calls: Vec<(u64, Object)>,
    by_index: HashMap<u64, usize>,
    by_id: HashMap<String, usize>,
}

impl Calls {
    /// A piece belongs to the call with its index; but a new `id` is a new call, for some servers give all calls the
    /// index 0, and some give none.
    fn piece(&mut self, piece: Value, unplaced: &mut Unplaced) {
        let Value::Object(mut piece) = piece else {
            return unplaced.value("tool_calls", &piece);
        };
        let given = piece.shift_remove("index");
        let id = piece.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        let by_index = match &given {
            None | Some(Value::Null) => Err(self.calls.len() as u64),
            index => match Place::of(index.as_ref(), 0) {
                Place::At(index) => Ok(index),
                Place::Nowhere => return unplaced.value("tool_calls", &Value::Object(piece)),
            },
        };
        let known = match (by_index, id) {
            (Ok(index), _) => self.by_index.get(&index).copied(),
            (Err(_), Some(id)) => self.by_id.get(id).copied(),
            (Err(_), None) => self.calls.len().checked_sub(1),
        };
        let known = known.filter(|&at| {
            let had = self.calls[at].1.get("id").and_then(Value::as_str).unwrap_or_default();
            had.is_empty() || id.is_none_or(|id| id == had)
        });
        let at = match known {
            Some(at) => at,
            None if self.calls.len() as u64 == INDEX_MAX => {
                return unplaced.value("tool_calls", &Value::Object(piece));
            }
            None => {
                let (Ok(index) | Err(index)) = by_index;
                self.calls.push((index, Object::new()));
                self.calls.len() - 1
            }
        };
        if let Ok(index) = by_index {
            self.by_index.insert(index, at);
        }
        if let Some(id) = id {
            self.by_id.insert(id.to_owned(), at);
        }
        let call = &mut self.calls[at].1;
        for (name, value) in piece {
            let old = call.entry(name.as_str()).or_insert(Value::Null);
            accumulate_value(&name, old, value, unplaced);
        }
    }

    fn finish(mut self) -> Vec<Value> {
        self.calls.sort_by_key(|(index, _)| *index);
        self.calls.into_iter().map(|(_, call)| Value::Object(call)).collect()
    }
}
