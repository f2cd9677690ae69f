//! OpenAI's chunks, of chat completions and of completions: each says the same members again, with the next pieces
//! in `choices[*].delta` or `choices[*].text`.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{INDEX_MAX, Object, Outcome, Place, Unplaced, accumulate, accumulate_value, settle};

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

impl Chat {
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
