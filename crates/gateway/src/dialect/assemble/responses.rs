//! OpenAI's Responses events. The last carries the whole response, so that putting together is needed only for a stream
//! that broke off, and to hold what was streamed against what the last event says was.
//!
//! There are some sixty types of events, and more every year. They follow a rule, and so does this: a
//! `response.<what>.delta` has a piece of something that `output_index`, and `content_index` or `summary_index`, point
//! to, and a `response.<what>.done` has all of it.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{Object, Outcome, Place, Unplaced, replace, unsaid};

#[derive(Default)]
pub(super) struct Responses {
    /// The newest whole response.
    response: Option<Object>,
    /// It came with an event that ends the answer.
    last: bool,
    error: Option<Value>,
    items: BTreeMap<u64, Item>,
    by_id: HashMap<String, u64>,
}

/// One item of `output`.
#[derive(Default)]
struct Item {
    /// The newest whole item.
    whole: Object,
    /// It is finished.
    done: bool,
    parts: BTreeMap<(List, u64), Object>,
    pieces: BTreeMap<(List, u64, String), Piece>,
}

/// The list of an item that a part is in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum List {
    /// None: the piece is of a member of the item itself.
    Item,
    Content,
    Summary,
}

#[derive(Default)]
struct Piece {
    /// The `type` of the part that it is in, if the part's beginning is missing.
    kind: &'static str,
    /// What the deltas came to.
    said: String,
    /// What the `done` event says that they did.
    whole: Option<String>,
}

impl Responses {
    pub(super) fn event(&mut self, mut event: Object, unplaced: &mut Unplaced) -> Outcome {
        let kind = match event.shift_remove("type") {
            Some(Value::String(kind)) => kind,
            _ => String::new(),
        };
        for noise in ["sequence_number", "obfuscation", "annotation_index"] {
            event.shift_remove(noise);
        }
        let mut outcome = Outcome::default();
        let stem = kind.strip_prefix("response.").unwrap_or_default();
        match stem {
            _ if kind == "error" => {
                outcome = Outcome { terminal: true, failed: true };
                match event.shift_remove("error") {
                    Some(error) if event.is_empty() => self.fail(error, unplaced),
                    error => {
                        event.extend(error.map(|error| ("error".to_owned(), error)));
                        self.fail(Value::Object(std::mem::take(&mut event)), unplaced);
                    }
                }
            }
            _ if event.get("response").is_some_and(Value::is_object) => {
                outcome.terminal = matches!(stem, "completed" | "incomplete" | "failed" | "cancelled");
                outcome.failed = stem == "failed";
                self.whole(event.shift_remove("response"), outcome.terminal, unplaced);
            }
            _ if kind.is_empty() && event.contains_key("error") => {
                outcome.failed = true;
                let error = event.shift_remove("error").unwrap_or_default();
                self.fail(error, unplaced);
            }
            "output_item.added" => self.item(false, &mut event, unplaced),
            "output_item.done" => self.item(true, &mut event, unplaced),
            "content_part.added" | "content_part.done" => self.part(List::Content, &mut event, unplaced),
            "reasoning_summary_part.added" | "reasoning_summary_part.done" => {
                self.part(List::Summary, &mut event, unplaced);
            }
            "output_text.annotation.added" => self.annotation(&mut event, unplaced),
            _ => match stem.rsplit_once('.') {
                Some((what, "delta")) => self.piece(what, false, &mut event, unplaced),
                Some((what, "done")) => self.piece(what, true, &mut event, unplaced),
                _ => {}
            },
        }
        // Whatever an event says beside what belongs to its type, and the item does not. Progress reports have only
        // indices.
        if let Some(item) = self.at(&event) {
            event.retain(|name, value| item.whole.get(name) != Some(value));
        }
        for index in ["output_index", "content_index", "summary_index", "item_id"] {
            event.shift_remove(index);
        }
        unplaced.value(&kind, &Value::Object(event));
        outcome
    }

    fn fail(&mut self, error: Value, unplaced: &mut Unplaced) {
        match &self.error {
            Some(old) if *old != error => unplaced.value("error", &error),
            _ => self.error = Some(error),
        }
    }

    fn whole(&mut self, response: Option<Value>, last: bool, unplaced: &mut Unplaced) {
        let Some(Value::Object(response)) = response else { return };
        if self.last {
            // The answer had ended. What is said after it is said nonetheless.
            if self.response.as_ref() != Some(&response) {
                unplaced.value("response", &Value::Object(response));
            }
            return;
        }
        self.last = last;
        replace(self.response.get_or_insert_default(), response, unplaced);
    }

    /// The item that an event is about.
    fn at(&mut self, event: &Object) -> Option<&mut Item> {
        let id = event.get("item_id").or_else(|| event.get("item")?.get("id")).and_then(Value::as_str);
        let index = match (event.get("output_index"), id) {
            (None | Some(Value::Null), Some(id)) => self.by_id.get(id).copied(),
            (None | Some(Value::Null), None) => None,
            (index, _) => match Place::of(index, 0) {
                Place::At(index) => Some(index),
                Place::Nowhere => None,
            },
        }?;
        if let Some(id) = id
            && !self.by_id.contains_key(id)
        {
            self.by_id.insert(id.to_owned(), index);
        }
        Some(self.items.entry(index).or_default())
    }

    fn item(&mut self, done: bool, event: &mut Object, unplaced: &mut Unplaced) {
        if event.get("item").is_some_and(Value::is_object)
            && let Some(item) = self.at(event)
            && let Some(Value::Object(whole)) = event.shift_remove("item")
        {
            item.done |= done;
            replace(&mut item.whole, whole, unplaced);
        }
    }

    fn part(&mut self, list: List, event: &mut Object, unplaced: &mut Unplaced) {
        let index = event.get(if list == List::Content { "content_index" } else { "summary_index" });
        if let Place::At(index) = Place::of(index, 0)
            && event.get("part").is_some_and(Value::is_object)
            && let Some(item) = self.at(event)
            && let Some(Value::Object(whole)) = event.shift_remove("part")
        {
            replace(item.parts.entry((list, index)).or_default(), whole, unplaced);
        }
    }

    fn annotation(&mut self, event: &mut Object, unplaced: &mut Unplaced) {
        if let Place::At(index) = Place::of(event.get("content_index"), 0)
            && let Some(item) = self.at(event)
            && let Some(annotation) = event.shift_remove("annotation")
        {
            let part = item.parts.entry((List::Content, index)).or_default();
            match part.entry("annotations").or_insert(Value::Array(Vec::new())) {
                Value::Array(annotations) => annotations.push(annotation),
                _ => unplaced.value("annotation", &annotation),
            }
        }
    }

    /// A piece of a text, or all of it.
    fn piece(&mut self, what: &str, all: bool, event: &mut Object, unplaced: &mut Unplaced) {
        let (list, index, member, kind) = match what {
            "output_text" => (List::Content, "content_index", "text", "output_text"),
            "refusal" => (List::Content, "content_index", "refusal", "refusal"),
            "reasoning_text" => (List::Content, "content_index", "text", "reasoning_text"),
            "reasoning_summary_text" => (List::Summary, "summary_index", "text", "summary_text"),
            "function_call_arguments" | "mcp_call_arguments" => (List::Item, "", "arguments", ""),
            "custom_tool_call_input" => (List::Item, "", "input", ""),
            "code_interpreter_call_code" => (List::Item, "", "code", ""),
            what => (List::Item, "", what, ""),
        };
        // They say the text again, token by token. The whole response has them; one that broke off does without.
        event.shift_remove("logprobs");
        let said = if all { member } else { "delta" };
        let Some(Value::String(text)) = event.get(said) else {
            // Of an event that is yet to be invented, what has all of the text is known by having it.
            let key = (list, 0, member.to_owned());
            if let Some(piece) = self.at(event).and_then(|item| item.pieces.get(&key)) {
                event.retain(|_, value| value.as_str() != Some(&piece.said));
            }
            return;
        };
        let place = match list {
            List::Item => Place::At(0),
            _ => Place::of(event.get(index), 0),
        };
        let text = text.clone();
        match place {
            Place::At(index) => match self.at(event) {
                Some(item) => {
                    let piece = item.pieces.entry((list, index, member.to_owned())).or_default();
                    piece.kind = kind;
                    match &piece.whole {
                        _ if !all => piece.said.push_str(&text),
                        Some(old) if *old != text => unplaced.text(member, &text),
                        _ => piece.whole = Some(text),
                    }
                }
                None => unplaced.text(what, &text),
            },
            Place::Nowhere => unplaced.text(what, &text),
        }
        event.shift_remove(said);
    }

    pub(super) fn finish(self, unplaced: &mut Unplaced) -> Object {
        let streamed: Vec<Value> = self.items.into_values().map(|item| item.finish(unplaced)).collect();
        let mut response = self.response.unwrap_or_default();
        if let Some(error) = self.error {
            match response.get("error") {
                None | Some(Value::Null) => {
                    response.insert("error".to_owned(), error);
                }
                Some(old) if *old == error => {}
                Some(_) => unplaced.value("error", &error),
            }
        }
        match response.get("output") {
            // Not every server repeats the output in its last event.
            None | Some(Value::Null) if !streamed.is_empty() => {
                response.insert("output".to_owned(), Value::Array(streamed));
            }
            Some(Value::Array(output)) if !streamed.is_empty() && (output.is_empty() || !self.last) => {
                let before = response.insert("output".to_owned(), Value::Array(streamed));
                if let (Some(before), Some(now)) = (before, response.get("output")) {
                    unsaid(&before, now, unplaced);
                }
            }
            Some(output) => unsaid(&Value::Array(streamed), output, unplaced),
            None => {}
        }
        response
    }
}

impl Item {
    /// The item, with its parts and pieces where it does not have them itself.
    fn finish(self, unplaced: &mut Unplaced) -> Value {
        let Item { mut whole, done, mut parts, pieces } = self;
        let mut late = Object::new();
        for ((list, index, member), piece) in pieces {
            let text = match piece.whole {
                Some(all) => {
                    if all != piece.said {
                        unplaced.text(&member, &piece.said);
                    }
                    all
                }
                None => piece.said,
            };
            let into = match list {
                List::Item => &mut whole,
                List::Content | List::Summary => {
                    let part = parts.entry((list, index)).or_default();
                    part.entry("type").or_insert(piece.kind.into());
                    part
                }
            };
            match into.get_mut(&member) {
                Some(Value::String(old)) if old.is_empty() => *old = text,
                Some(Value::String(old)) if *old == text => {}
                None | Some(Value::Null) if done && list == List::Item => {
                    late.insert(member, text.into());
                }
                None | Some(Value::Null) => {
                    into.insert(member, text.into());
                }
                Some(_) => unplaced.text(&member, &text),
            }
        }
        if !whole.contains_key("type") && !parts.is_empty() {
            let reasons = parts.values().any(|part| {
                part.get("type").and_then(Value::as_str).is_some_and(|kind| kind != "output_text" && kind != "refusal")
            });
            whole.insert("type".to_owned(), if reasons { "reasoning" } else { "message" }.into());
        }
        let mut lists = [("content", Vec::new()), ("summary", Vec::new())];
        for ((list, _), part) in parts {
            lists[usize::from(list == List::Summary)].1.push(Value::Object(part));
        }
        for (name, built) in lists {
            match whole.get(name) {
                _ if built.is_empty() => {}
                // The item was finished, and says itself what is in it.
                Some(Value::Array(said)) if !said.is_empty() => {
                    let said = Value::Array(said.clone());
                    unsaid(&Value::Array(built), &said, unplaced);
                }
                None | Some(Value::Null | Value::Array(_)) => {
                    whole.insert(name.to_owned(), Value::Array(built));
                }
                Some(_) => unplaced.value(name, &Value::Array(built)),
            }
        }
        let whole = Value::Object(whole);
        unsaid(&Value::Object(late), &whole, unplaced);
        whole
    }
}
