//! A stream in no dialect that we know: objects that seem to be of one kind are put on top of each other.
//!
//! Strings under a member whose name speaks of text grow; other values are replaced, the last counts. This is a guess.
//! Where the guess is to replace a text, its former values are kept aside, joined, so that at least nothing is lost.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use serde_json::Value;

use super::{Object, Outcome, Unplaced, accumulate_value, index_of, is_label, place_of};

#[derive(Default)]
pub(super) struct Generic {
    answer: Object,
    /// Data that was not a JSON object.
    text: String,
    replaced: Replaced,
}

/// The places whose text has been replaced once, so that what was there is kept aside already. A place is known by the
/// hash of the names that lead to it: the names themselves may be long, and many places may share them.
#[derive(Default)]
struct Replaced {
    hasher: RandomState,
    places: HashSet<u64>,
}

impl Generic {
    pub(super) fn object(&mut self, object: Object, unplaced: &mut Unplaced) -> Outcome {
        let failed = object.get("error").is_some_and(|error| !error.is_null());
        self.replaced.overlay(&mut self.answer, object, 0, unplaced);
        Outcome { terminal: false, failed }
    }

    pub(super) fn bare(&mut self, value: Value, unplaced: &mut Unplaced) {
        match value {
            Value::String(text) => self.text.push_str(&text),
            Value::Array(array) => {
                for value in array {
                    match value {
                        Value::Object(object) => self.replaced.overlay(&mut self.answer, object, 0, unplaced),
                        value => unplaced.value("data", &value),
                    }
                }
            }
            Value::Null => {}
            value => self.text.push_str(&value.to_string()),
        }
    }

    pub(super) fn finish(mut self, unplaced: &mut Unplaced) -> Object {
        if !self.text.is_empty() {
            match self.answer.get("text") {
                None => {
                    self.answer.insert("text".to_owned(), self.text.into());
                }
                Some(_) => unplaced.text("data", &self.text),
            }
        }
        self.answer
    }
}

/// Whether a member's name speaks of text that comes in pieces; then all that is below it does.
fn grows(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name != "context" && ["delta", "text", "content", "completion", "response"].iter().any(|word| name.ends_with(word))
}

impl Replaced {
    /// Puts an object on top of what has come at a place.
    fn overlay(&mut self, into: &mut Object, newer: Object, place: u64, unplaced: &mut Unplaced) {
        for (name, value) in newer {
            let old = into.entry(name.as_str()).or_insert(Value::Null);
            if grows(&name) && !value.is_number() && !value.is_boolean() {
                accumulate_value(&name, old, value, unplaced);
            } else {
                let place = self.hasher.hash_one((place, &name));
                self.value(&name, old, value, place, unplaced);
            }
        }
    }

    fn value(&mut self, name: &str, old: &mut Value, newer: Value, place: u64, unplaced: &mut Unplaced) {
        match (&mut *old, newer) {
            (_, Value::Null) => {}
            (Value::Null, Value::Array(newer)) => {
                let mut array = Vec::new();
                self.array(name, &mut array, newer, place, unplaced);
                *old = Value::Array(array);
            }
            (Value::Array(old), Value::Array(newer)) => self.array(name, old, newer, place, unplaced),
            (Value::Null, Value::Object(newer)) => {
                let mut object = Object::new();
                self.overlay(&mut object, newer, place, unplaced);
                *old = Value::Object(object);
            }
            (Value::Object(old), Value::Object(newer)) => self.overlay(old, newer, place, unplaced),
            (Value::String(old), Value::String(newer)) => {
                if *old != newer && !is_label(name) {
                    if self.places.insert(place) {
                        unplaced.text(name, old);
                    }
                    unplaced.text(name, &newer);
                }
                *old = newer;
            }
            (old, newer) => {
                if !old.is_number() {
                    unplaced.value(name, old);
                }
                *old = newer;
            }
        }
    }

    /// Candidates, choices, outputs: by their `index`, otherwise by their position.
    fn array(&mut self, name: &str, old: &mut Vec<Value>, newer: Vec<Value>, place: u64, unplaced: &mut Unplaced) {
        for (at, newer) in newer.into_iter().enumerate() {
            let found = match index_of(&newer) {
                Some(index) => place_of(old, index),
                None if at < old.len() => Some(Ok(at)),
                None => Some(Err(old.len())),
            };
            match found {
                None => unplaced.value(name, &newer),
                Some(Ok(at)) => {
                    let place = self.hasher.hash_one((place, at));
                    self.value(name, &mut old[at], newer, place, unplaced);
                }
                Some(Err(at)) => {
                    if at < old.len() {
                        // Places move. To forget them keeps some text aside twice.
                        self.places = HashSet::new();
                    }
                    let place = self.hasher.hash_one((place, at));
                    let mut value = Value::Null;
                    self.value(name, &mut value, newer, place, unplaced);
                    old.insert(at, value);
                }
            }
        }
    }
}
