//! Anthropic's events: a message, its blocks by index, the pieces of each, and what is known only at the end.

use std::collections::HashMap;

use serde_json::Value;

use super::super::json::{Tree, tree};
use super::{INDEX_MAX, Object, Outcome, Place, Unplaced, accumulate, accumulate_value, settle, take_object};

#[derive(Default)]
pub(super) struct Anthropic {
    /// The message, with a null in the place of `content`.
    message: Object,
    blocks: Vec<(u64, Block)>,
    by_index: HashMap<u64, usize>,
}

#[derive(Default)]
struct Block {
    fields: Object,
    /// The text of `input`, as far as it came.
    input: String,
}

impl Anthropic {
    pub(super) fn event(&mut self, mut event: Object, unplaced: &mut Unplaced) -> Outcome {
        let kind = match event.shift_remove("type") {
            Some(Value::String(kind)) => kind,
            _ => String::new(),
        };
        let mut outcome = Outcome::default();
        match kind.as_str() {
            "message_start" => {
                if let Some(message) = take_object(&mut event, "message") {
                    self.start(message, unplaced);
                }
            }
            "content_block_start" => {
                if let Some(block) = take_object(&mut event, "content_block") {
                    let index = event.shift_remove("index");
                    self.open(index.as_ref(), block, unplaced);
                }
            }
            "content_block_delta" => {
                if let Some(delta) = take_object(&mut event, "delta") {
                    let index = event.shift_remove("index");
                    self.delta(index.as_ref(), delta, unplaced);
                }
            }
            "content_block_stop" => {
                event.shift_remove("index");
            }
            "message_delta" => {
                if let Some(delta) = take_object(&mut event, "delta") {
                    for (name, value) in delta {
                        self.settle(name, value, unplaced);
                    }
                }
                for (name, value) in std::mem::take(&mut event) {
                    self.settle(name, value, unplaced);
                }
            }
            "message_stop" => outcome.terminal = true,
            "error" => {
                outcome = Outcome { terminal: true, failed: true };
                let error = event.shift_remove("error").unwrap_or(Value::Null);
                self.message.entry("type").or_insert("error".into());
                settle(&mut self.message, "error".to_owned(), error, unplaced);
            }
            "ping" => {}
            kind => unplaced.text("type", kind),
        }
        // Whatever an event says beside what belongs to its type.
        unplaced.value(&kind, &Value::Object(event));
        outcome
    }

    fn settle(&mut self, name: String, value: Value, unplaced: &mut Unplaced) {
        match name.as_str() {
            "content" => unplaced.value("content", &value),
            _ => settle(&mut self.message, name, value, unplaced),
        }
    }

    fn start(&mut self, message: Object, unplaced: &mut Unplaced) {
        for (name, value) in message {
            match (name.as_str(), value) {
                ("content", Value::Array(blocks)) => {
                    self.message.entry(name).or_insert(Value::Null);
                    for (index, block) in (0u64..).zip(blocks) {
                        match block {
                            Value::Object(block) => self.open(Some(&index.into()), block, unplaced),
                            block => unplaced.value("content", &block),
                        }
                    }
                }
                (_, value) => self.settle(name, value, unplaced),
            }
        }
    }

    /// Begins a block. An index that has been used already does not make the block that had it go away.
    fn open(&mut self, index: Option<&Value>, block: Object, unplaced: &mut Unplaced) {
        let place = Place::of(index, self.blocks.len() as u64);
        match place {
            Place::At(index) if (self.blocks.len() as u64) < INDEX_MAX => {
                self.by_index.insert(index, self.blocks.len());
                self.blocks.push((index, Block { fields: block, input: String::new() }));
            }
            _ => unplaced.value("content_block", &Value::Object(block)),
        }
    }

    fn delta(&mut self, index: Option<&Value>, mut delta: Object, unplaced: &mut Unplaced) {
        let kind = match delta.shift_remove("type") {
            Some(Value::String(kind)) => kind,
            _ => String::new(),
        };
        let known = match index {
            None | Some(Value::Null) => self.blocks.len().checked_sub(1),
            Some(index) => index.as_u64().and_then(|index| self.by_index.get(&index).copied()),
        };
        let at = match known {
            Some(at) => at,
            None => {
                // The block's beginning is missing; its type can be told from the delta's.
                let block = match kind.as_str() {
                    "input_json_delta" => "tool_use",
                    kind => kind.strip_suffix("_delta").unwrap_or(kind),
                };
                let before = self.blocks.len();
                self.open(index, Object::from_iter([("type".to_owned(), block.into())]), unplaced);
                if self.blocks.len() == before {
                    return unplaced.value("delta", &Value::Object(delta));
                }
                before
            }
        };
        let block = &mut self.blocks[at].1;
        if kind == "input_json_delta"
            && let Some(Value::String(piece)) = delta.get("partial_json")
        {
            block.input.push_str(piece);
            delta.shift_remove("partial_json");
        }
        if kind == "citations_delta"
            && let Some(citation) = delta.shift_remove("citation")
        {
            let citations = block.fields.entry("citations").or_insert(Value::Null);
            accumulate_value("citations", citations, Value::Array(vec![citation]), unplaced);
        }
        // `text`, `thinking`, `signature`, and what is yet to be invented.
        accumulate(&mut block.fields, delta, unplaced);
    }

    pub(super) fn finish(mut self, unplaced: &mut Unplaced) -> (Object, bool) {
        let stopped = self.message.get("stop_reason").is_some_and(Value::is_string);
        self.blocks.sort_by_key(|(index, _)| *index);
        let content: Vec<_> = self.blocks.into_iter().map(|(_, block)| block.finish(unplaced)).collect();
        if !content.is_empty() || self.message.contains_key("content") {
            self.message.insert("content".to_owned(), Value::Array(content));
        }
        (self.message, stopped)
    }
}

impl Block {
    fn finish(mut self, unplaced: &mut Unplaced) -> Value {
        if !self.input.is_empty() {
            let parsed = tree(&self.input);
            // As it came, if it broke off, or if parsing would lose some of it.
            if parsed.as_ref().is_none_or(|tree| tree.inexact || !tree.repeated.is_empty()) {
                self.fields.insert("partial_json".to_owned(), self.input.into());
            }
            if let Some(Tree { value, .. }) = parsed
                && let Some(old) = self.fields.insert("input".to_owned(), value)
            {
                unplaced.value("input", &old);
            }
        }
        Value::Object(self.fields)
    }
}
