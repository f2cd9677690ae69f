//! A streamed answer, put together: the JSON object that the provider would have sent without streaming.
//!
//! Each dialect has its own way to say where a piece of text belongs. They share two rules, which are what the record
//! relies on:
//!
//! 1. *Pieces become whole.* Text that came in pieces stands in the answer as one string, because a name or a number
//!    that is cut in two would pass every recognizer.
//! 2. *Nothing is dropped for want of a place.* What does not fit the shape (an index out of bounds, a second value
//!    where one belongs, an event that is not JSON) is kept under [`UNPLACED`], pieces of one field joined as in rule 1.
//!    Left out on purpose are only `obfuscation` padding, positions, log probabilities of a response that broke off,
//!    repetitions of what is already there, and older values of metadata and numbers.
//!
//! Which dialect a stream speaks is decided by its first object if that says so, otherwise by the request's path.

mod anthropic;
mod chat;
mod generic;
mod responses;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;

use serde_json::{Map, Value};

use self::anthropic::Anthropic;
use self::chat::{Chat, Repeated};
use self::generic::Generic;
use self::responses::Responses;
use super::json::{Tree, tree};
use super::{Dialect, Event};

/// The member of an assembled body that holds what was said outside the dialect's shape.
pub const UNPLACED: &str = "tabellion:unplaced";

/// Indices from here on (of choices, tool calls, blocks, items) get no place of their own.
pub const INDEX_MAX: u64 = 4096;

/// The name in [`UNPLACED`] of what has too many names.
const REST: &str = "…";

type Object = Map<String, Value>;

/// Whether an event ends the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Progress {
    /// More is to come.
    More,
    /// This is the event by which a client knows that the answer is complete.
    Terminal,
}

/// A streamed answer, as far as it came.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Assembled {
    /// The answer as a JSON object; `None` if nothing came.
    pub body: Option<Vec<u8>>,
    /// The terminal event came.
    pub complete: bool,
    /// Whether or not the terminal event came, every choice has said why it stopped. Some servers send no terminal
    /// event.
    pub stopped: bool,
    /// The provider sent an error in the stream.
    pub failed: bool,
    /// Something is in the body under [`UNPLACED`].
    pub unplaced: bool,
    /// Events that were too large to be kept, and are in no way in the body.
    pub oversized: usize,
}

/// Puts a streamed answer together, event by event.
pub struct Assembler {
    dialect: Dialect,
    answer: Option<Answer>,
    repeated: Option<Repeated>,
    unplaced: Unplaced,
    complete: bool,
    failed: bool,
    oversized: usize,
}

enum Answer {
    Chat(Chat),
    Responses(Box<Responses>),
    Anthropic(Anthropic),
    Generic(Generic),
}

/// What one event did.
#[derive(Default)]
struct Outcome {
    terminal: bool,
    failed: bool,
}

// What is said is not redacted yet, so neither of the two prints it.

impl fmt::Debug for Assembled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Assembled { body, complete, stopped, failed, unplaced, oversized } = self;
        f.debug_struct("Assembled")
            .field("bytes", &body.as_ref().map(Vec::len))
            .field("complete", complete)
            .field("stopped", stopped)
            .field("failed", failed)
            .field("unplaced", unplaced)
            .field("oversized", oversized)
            .finish()
    }
}

impl fmt::Debug for Assembler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembler").field("dialect", &self.dialect).finish_non_exhaustive()
    }
}

impl Assembler {
    /// Starts an answer.
    pub fn new(dialect: Dialect) -> Assembler {
        let unplaced = Unplaced::default();
        Assembler { dialect, answer: None, repeated: None, unplaced, complete: false, failed: false, oversized: 0 }
    }

    /// Takes the next event.
    pub fn event(&mut self, event: &Event) -> Progress {
        if event.oversized {
            self.oversized += 1;
            return Progress::More;
        }
        let data = event.data.trim();
        if data == "[DONE]" {
            self.complete = true;
            return Progress::Terminal;
        }
        if data.is_empty() {
            return Progress::More;
        }
        if let (Some(Answer::Chat(chat)), Some(repeated), None) = (&mut self.answer, &self.repeated, &event.name)
            && chat.repeats(repeated, data)
        {
            return Progress::More;
        }
        let outcome = match tree(data) {
            Some(Tree { value: Value::Object(mut object), repeated, .. }) => {
                self.repeated = match (&self.answer, &event.name) {
                    (Some(Answer::Chat(chat)), None) if repeated.is_empty() => chat.repeatable(&object, data),
                    _ => None,
                };
                for (name, value) in &repeated {
                    self.unplaced.value(name, value);
                }
                // Anthropic gives the type twice, its imitators sometimes only as the event's name.
                if let Some(name) = &event.name
                    && !object.contains_key("type")
                    && (self.has_types() || Answer::named_by(name).is_some())
                {
                    object.insert("type".to_owned(), name.as_str().into());
                }
                let dialect = self.dialect;
                let answer = self.answer.get_or_insert_with(|| Answer::of(dialect, &object));
                answer.object(object, &mut self.unplaced)
            }
            Some(Tree { value, repeated, .. }) => {
                for (name, value) in &repeated {
                    self.unplaced.value(name, value);
                }
                self.bare(value);
                Outcome::default()
            }
            None => {
                self.bare(event.data.as_str().into());
                Outcome::default()
            }
        };
        self.failed |= outcome.failed;
        self.complete |= outcome.terminal;
        if outcome.terminal { Progress::Terminal } else { Progress::More }
    }

    /// Whether the dialect tells its events apart by type.
    fn has_types(&self) -> bool {
        match &self.answer {
            Some(answer) => matches!(answer, Answer::Anthropic(_) | Answer::Responses(_)),
            None => matches!(self.dialect, Dialect::Anthropic | Dialect::OpenAiResponses),
        }
    }

    /// Data that is not a JSON object: the answer itself in a stream of plain text, out of place in any other.
    fn bare(&mut self, value: Value) {
        if self.answer.is_none() && matches!(self.dialect, Dialect::Generic | Dialect::OpenAiEmbeddings) {
            self.answer = Some(Answer::Generic(Generic::default()));
        }
        match &mut self.answer {
            Some(Answer::Generic(generic)) => generic.bare(value, &mut self.unplaced),
            _ => self.unplaced.value("data", &value),
        }
    }

    /// Ends the answer, whether or not it is complete.
    pub fn finish(mut self) -> Assembled {
        let (mut body, stopped) = match self.answer {
            Some(Answer::Chat(chat)) => chat.finish(&mut self.unplaced),
            Some(Answer::Responses(responses)) => (responses.finish(&mut self.unplaced), false),
            Some(Answer::Anthropic(anthropic)) => anthropic.finish(&mut self.unplaced),
            Some(Answer::Generic(generic)) => (generic.finish(&mut self.unplaced), false),
            None => (Object::new(), false),
        };
        if let Some(theirs) = body.remove(UNPLACED) {
            self.unplaced.value(UNPLACED, &theirs);
        }
        let unplaced = !self.unplaced.0.is_empty();
        if unplaced {
            body.insert(UNPLACED.to_owned(), Value::Object(self.unplaced.0));
        }
        let Assembler { complete, failed, oversized, .. } = self;
        let body = (!body.is_empty()).then(|| Value::Object(body).to_string().into_bytes());
        Assembled { body, complete, stopped, failed, unplaced, oversized }
    }
}

impl Answer {
    fn of(dialect: Dialect, first: &Object) -> Answer {
        let word = |name| first.get(name).and_then(Value::as_str).unwrap_or_default();
        let said = match word("object") {
            "chat.completion.chunk" => Some(Dialect::OpenAiChat),
            "text_completion" => Some(Dialect::OpenAiCompletions),
            _ => Answer::named_by(word("type")),
        };
        match said.unwrap_or(dialect) {
            Dialect::OpenAiChat | Dialect::OpenAiCompletions => Answer::Chat(Chat::default()),
            Dialect::OpenAiResponses => Answer::Responses(Box::default()),
            Dialect::Anthropic => Answer::Anthropic(Anthropic::default()),
            Dialect::OpenAiEmbeddings | Dialect::Generic => Answer::Generic(Generic::default()),
        }
    }

    fn named_by(event: &str) -> Option<Dialect> {
        match event {
            "message_start" => Some(Dialect::Anthropic),
            _ if event.starts_with("response.") => Some(Dialect::OpenAiResponses),
            _ => None,
        }
    }

    fn object(&mut self, object: Object, unplaced: &mut Unplaced) -> Outcome {
        match self {
            Answer::Chat(chat) => chat.chunk(object, unplaced),
            Answer::Responses(responses) => responses.event(object, unplaced),
            Answer::Anthropic(anthropic) => anthropic.event(object, unplaced),
            Answer::Generic(generic) => generic.object(object, unplaced),
        }
    }
}

/// What was said outside the dialect's shape: a text for each field's name, in which its pieces are joined.
#[derive(Default)]
struct Unplaced(Object);

impl Unplaced {
    fn text(&mut self, name: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        // Names are the provider's to choose. Beyond a bound they share a place, and are said there themselves.
        if self.0.len() as u64 >= INDEX_MAX && name != REST && !self.0.contains_key(name) {
            self.text(REST, name);
            return self.text(REST, text);
        }
        match self.0.get_mut(name) {
            Some(Value::String(all)) => all.push_str(text),
            _ => {
                self.0.insert(name.to_owned(), text.into());
            }
        }
    }

    /// A text after the one that is in place already.
    fn also(&mut self, name: &str, first: &str, next: &str) {
        if !self.0.contains_key(name) {
            self.text(name, first);
        }
        self.text(name, next);
    }

    /// All the strings and numbers in a value, by the names that they have in it.
    fn value(&mut self, name: &str, value: &Value) {
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => self.text(name, &format!(" {number}")),
            Value::String(text) => self.text(name, text),
            Value::Array(array) => array.iter().for_each(|value| self.value(name, value)),
            Value::Object(object) => object.iter().for_each(|(name, value)| self.value(name, value)),
        }
    }
}

/// Takes a member out if it is an object.
fn take_object(from: &mut Object, name: &str) -> Option<Object> {
    match from.get_mut(name)? {
        Value::Object(object) => {
            let object = std::mem::take(object);
            from.shift_remove(name);
            Some(object)
        }
        _ => None,
    }
}

/// Fields that name a thing: said whole, and said again with each piece by some servers.
fn names_a_thing(field: &str) -> bool {
    matches!(field, "role" | "type" | "id" | "call_id" | "item_id" | "format" | "status" | "object" | "model" | "name")
}

/// Fields that may differ from event to event without saying anything.
fn is_metadata(field: &str) -> bool {
    matches!(
        field,
        "id" | "object"
            | "model"
            | "created"
            | "created_at"
            | "status"
            | "finish_reason"
            | "stop_reason"
            | "service_tier"
            | "system_fingerprint"
            | "provider"
            | "event_id"
            | "timestamp"
            | "request_id"
    )
}

/// Fields of which an older value may be forgotten for a newer.
fn is_label(field: &str) -> bool {
    is_metadata(field) || (names_a_thing(field) && field != "name")
}

/// Adds pieces to what has come: strings grow, lists grow, objects do so member by member.
fn accumulate(into: &mut Object, pieces: Object, unplaced: &mut Unplaced) {
    for (name, piece) in pieces {
        match into.get_mut(&name) {
            Some(old) => accumulate_value(&name, old, piece, unplaced),
            None => {
                let mut whole = Value::Null;
                accumulate_value(&name, &mut whole, piece, unplaced);
                into.insert(name, whole);
            }
        }
    }
}

fn accumulate_value(name: &str, old: &mut Value, piece: Value, unplaced: &mut Unplaced) {
    match (&mut *old, piece) {
        (_, Value::Null) => {}
        (Value::Null, Value::Object(piece)) => {
            let mut whole = Object::new();
            accumulate(&mut whole, piece, unplaced);
            *old = Value::Object(whole);
        }
        (Value::Null, Value::Array(piece)) => {
            let mut whole = Vec::new();
            append(&mut whole, piece, unplaced);
            *old = Value::Array(whole);
        }
        (Value::Null, piece) => *old = piece,
        (Value::String(old), Value::String(piece)) if names_a_thing(name) => {
            if old.is_empty() {
                *old = piece;
            } else if name == "name" && *old != piece {
                // A function's name may come in pieces.
                old.push_str(&piece);
            } else if *old != piece {
                unplaced.text(name, &piece);
            }
        }
        (Value::String(old), Value::String(piece)) => old.push_str(&piece),
        (Value::Object(old), Value::Object(piece)) => accumulate(old, piece, unplaced),
        (Value::Array(old), Value::Array(piece)) => append(old, piece, unplaced),
        // Content is a string or a list of blocks, and some servers send both.
        (Value::Array(old), Value::String(piece)) => append(old, vec![text_block(piece)], unplaced),
        (Value::String(text), Value::Array(piece)) => {
            let mut whole = Vec::new();
            if !text.is_empty() {
                whole.push(text_block(std::mem::take(text)));
            }
            append(&mut whole, piece, unplaced);
            *old = Value::Array(whole);
        }
        (Value::Number(_) | Value::Bool(_), piece @ (Value::Number(_) | Value::Bool(_))) => *old = piece,
        (_, piece) => unplaced.value(name, &piece),
    }
}

fn text_block(text: String) -> Value {
    serde_json::json!({"type": "text", "text": text})
}

/// Adds elements to a list: by their `index` where they have one, otherwise at the end, where text continues text.
fn append(list: &mut Vec<Value>, pieces: Vec<Value>, unplaced: &mut Unplaced) {
    for piece in pieces {
        match index_of(&piece) {
            Some(index) => match place_of(list, index) {
                Some(Ok(at)) => accumulate_value("index", &mut list[at], piece, unplaced),
                None => unplaced.value("index", &piece),
                Some(Err(at)) => {
                    let mut whole = Value::Null;
                    accumulate_value("index", &mut whole, piece, unplaced);
                    list.insert(at, whole);
                }
            },
            None => match list.last_mut().and_then(|last| continued(last, &piece)) {
                Some((whole, more)) => whole.push_str(more),
                None => list.push(piece),
            },
        }
    }
}

fn index_of(value: &Value) -> Option<u64> {
    value.get("index").and_then(Value::as_u64)
}

/// Where the element with an index is, or should be. Elements without one count as last, so that a list is sorted.
/// There is no place for an index in a list that is too long to insert into.
fn place_of(list: &[Value], index: u64) -> Option<Result<usize, usize>> {
    let found = list.binary_search_by_key(&index, |value| index_of(value).unwrap_or(u64::MAX));
    (index < INDEX_MAX && (found.is_ok() || (list.len() as u64) < INDEX_MAX)).then_some(found)
}

/// The texts of two blocks `{"type": …, "text": …}` that have nothing else and the same type.
fn continued<'a>(last: &'a mut Value, piece: &'a Value) -> Option<(&'a mut String, &'a str)> {
    let (last, piece) = (last.as_object_mut()?, piece.as_object()?);
    let alike = last.len() == piece.len()
        && last.iter().all(|(name, value)| match name.as_str() {
            "text" => value.is_string(),
            "type" => piece.get(name) == Some(value),
            _ => false,
        });
    let more = piece.get("text")?.as_str()?;
    match last.get_mut("text") {
        Some(Value::String(whole)) if alike => Some((whole, more)),
        _ => None,
    }
}

/// Notes a value that is said as a whole: the last counts, and a different text before it is kept aside.
fn settle(into: &mut Object, name: String, value: Value, unplaced: &mut Unplaced) {
    let Some(old) = into.get_mut(&name) else {
        into.insert(name, value);
        return;
    };
    match (&mut *old, value) {
        (_, Value::Null) => {}
        (Value::Null, value) => *old = value,
        (Value::String(old), Value::String(value)) => {
            if old.is_empty() || is_metadata(&name) {
                *old = value;
            } else if *old != value {
                // Should it be a text in pieces, then they stand together at least there.
                unplaced.also(&name, old, &value);
            }
        }
        (Value::Object(old), Value::Object(value)) => {
            for (name, value) in value {
                settle(old, name, value, unplaced);
            }
        }
        (Value::String(_), value) => unplaced.value(&name, &value),
        (old, value) => {
            unsaid(old, &value, unplaced);
            *old = value;
        }
    }
}

/// A place in a list: by the index that the value gives, or the one that its position implies.
enum Place {
    At(u64),
    /// Out of bounds, or not a number.
    Nowhere,
}

impl Place {
    fn of(index: Option<&Value>, otherwise: u64) -> Place {
        match index {
            None | Some(Value::Null) if otherwise < INDEX_MAX => Place::At(otherwise),
            Some(Value::Number(index)) => match index.as_u64() {
                Some(index) if index < INDEX_MAX => Place::At(index),
                _ => Place::Nowhere,
            },
            _ => Place::Nowhere,
        }
    }
}

/// A newer snapshot takes the place of an older one; what only the older said is kept aside.
fn replace(old: &mut Object, new: Object, unplaced: &mut Unplaced) {
    if old.is_empty() {
        *old = new;
        return;
    }
    let before = Value::Object(std::mem::take(old));
    let now = Value::Object(new);
    unsaid(&before, &now, unplaced);
    if let Value::Object(now) = now {
        *old = now;
    }
}

/// Keeps aside what `before` says and `now` does not say anywhere.
fn unsaid(before: &Value, now: &Value, unplaced: &mut Unplaced) {
    fn texts<'a>(name: &'a str, value: &'a Value, visit: &mut impl FnMut(&'a str, &'a str)) {
        match value {
            Value::String(text) => visit(name, text),
            Value::Array(array) => array.iter().for_each(|value| texts(name, value, visit)),
            Value::Object(object) => object.iter().for_each(|(name, value)| texts(name, value, visit)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut said = HashSet::new();
    texts("", now, &mut |_, text| {
        said.insert(text);
    });
    texts("", before, &mut |name, text| {
        if !is_label(name) && !said.contains(text) {
            unplaced.text(name, text);
        }
    });
}
