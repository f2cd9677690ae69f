//! `/anonymize` and `/deanonymize`: operators on spans that the caller names.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};
use tabellion_detect::Pseudonyms;
use tabellion_detect::operator::{
    self, Algorithm, Anonymized, CbcKey, Conflicts, Cover, Keys, Operator, OperatorError, Operators, Seasoning, Span,
};

use super::{Characters, Refusal, plain, truthy};

/// What Presidio lists. It refuses `custom` over this API, and so does this.
pub(super) const ANONYMIZERS: [&str; 7] = ["custom", "encrypt", "hash", "keep", "mask", "redact", "replace"];
pub(super) const DEANONYMIZERS: [&str; 2] = ["decrypt", "deanonymize_keep"];

const SPANS_MAX: usize = 200_000;

/// Members in the order in which Presidio writes them.
#[derive(Serialize)]
pub(super) struct Answer {
    text: String,
    items: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    start: usize,
    end: usize,
    entity_type: String,
    text: String,
    operator: &'static str,
}

pub(super) fn anonymize(body: &Value) -> Result<Answer, Refusal> {
    let request = object(body)?;
    let configured = configured(request, "anonymizers")?;
    if configured.values().any(|operator| operator.get("type").and_then(Value::as_str) == Some("custom")) {
        return Err(bad("Custom type anonymizer is not supported"));
    }
    let results = request.get("analyzer_results").filter(|results| !results.is_null());
    let results = results.ok_or_else(|| Refusal::invalid("Invalid input, request must contain analyzer results"))?;
    let text = text(request)?;
    let spans = spans(results, &Characters::of(text), true)?;
    let operators = operators(configured, &spans, hiding)?;
    with_keys(false, |keys| operator::anonymize(text, spans, &operators, keys, Conflicts::Both))
}

pub(super) fn deanonymize(body: &Value) -> Result<Answer, Refusal> {
    let request = object(body)?;
    let text = text(request)?;
    let spans = match request.get("anonymizer_results").filter(|results| truthy(results)) {
        None => Vec::new(),
        Some(results) => spans(results, &Characters::of(text), false)?,
    };
    let operators = operators(configured(request, "deanonymizers")?, &spans, showing)?;
    with_keys(true, |keys| operator::deanonymize(text, spans, &operators, keys))
}

/// None of the operators of this API uses the installation's keys: whoever reaches it could test guesses with them.
fn with_keys(
    undone: bool,
    operate: impl FnOnce(&Keys<'_>) -> Result<Anonymized, OperatorError>,
) -> Result<Answer, Refusal> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh).map_err(|_| Refusal::failed("Internal server error"))?;
    let pseudonyms = Pseudonyms::new([0; 32]);
    let done = operate(&Keys { pseudonyms: &pseudonyms, encryption: None, fresh }).map_err(|error| match error {
        OperatorError::Undecryptable => Refusal::invalid("Invalid input, the text cannot be decrypted with this key"),
        OperatorError::NoOperator => Refusal::invalid("Invalid input, there is no deanonymizer for an entity"),
        OperatorError::TooLong => Refusal::invalid("Invalid input, the text would become too long"),
        _ => Refusal::failed("Internal server error"),
    })?;
    let characters = Characters::of(&done.text);
    let items = done.items.into_iter().map(|item| Item {
        start: characters.number(item.start),
        end: characters.number(item.end),
        entity_type: item.entity,
        text: item.text,
        operator: match item.operator {
            // Two operators there, one here.
            "keep" if undone => "deanonymize_keep",
            name => name,
        },
    });
    let items = items.collect();
    Ok(Answer { items, text: done.text })
}

fn bad(error: &str) -> Refusal {
    Refusal::new(axum::http::StatusCode::BAD_REQUEST, error)
}

fn object(body: &Value) -> Result<&Map<String, Value>, Refusal> {
    body.as_object().filter(|object| !object.is_empty()).ok_or_else(|| bad("Invalid request json"))
}

fn text(request: &Map<String, Value>) -> Result<&str, Refusal> {
    match request.get("text") {
        None => Ok(""),
        Some(text) => text.as_str().ok_or_else(|| Refusal::invalid("Invalid input, text must be a string")),
    }
}

fn configured<'r>(request: &'r Map<String, Value>, name: &str) -> Result<&'r Map<String, Value>, Refusal> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    let operators = match request.get(name).filter(|operators| !operators.is_null()) {
        None => &NONE,
        Some(operators) => {
            let error = || Refusal::invalid(format!("Invalid input, {name} must be an object"));
            operators.as_object().ok_or_else(error)?
        }
    };
    for operator in operators.values() {
        if !operator.get("type").is_some_and(truthy) {
            return Err(Refusal::invalid("Invalid input, operator config must contain operator_name"));
        }
    }
    Ok(operators)
}

/// The spans of a request, in bytes, checked as Presidio checks them.
fn spans(results: &Value, characters: &Characters<'_>, scored: bool) -> Result<Vec<Span>, Refusal> {
    let results = results.as_array().ok_or_else(|| Refusal::invalid("Invalid input, results must be a list"))?;
    if results.len() > SPANS_MAX {
        return Err(Refusal::invalid(format!("Invalid input, there must not be more than {SPANS_MAX} results")));
    }
    let length = characters.count();
    let mut spans = Vec::with_capacity(results.len());
    for result in results {
        let set = |name: &str| result.get(name).filter(|value| !value.is_null());
        let required = |name: &str, kind: &str| {
            set(name).ok_or_else(|| Refusal::invalid(format!("Invalid input, {kind} must contain {name}")))
        };
        let index = |name: &str| {
            let value = required(name, "result")?;
            value.as_i64().ok_or_else(|| wrong_type(name, "number", value))
        };
        let (start, end) = (index("start")?, index("end")?);
        let entity = set("entity_type").filter(|entity| truthy(entity));
        let missing = || Refusal::invalid("Invalid input, result must contain entity_type");
        let entity = entity.and_then(Value::as_str).ok_or_else(missing)?;
        let (Ok(from), Ok(to)) = (usize::try_from(start), usize::try_from(end)) else {
            return Err(Refusal::invalid("Invalid input, result start and end must be positive"));
        };
        if from > to {
            return Err(Refusal::invalid(format!(
                "Invalid input, start index '{start}' must be smaller than end index '{end}'"
            )));
        }
        let score = if scored {
            let score = required("score", "analyzer result")?;
            score.as_f64().ok_or_else(|| wrong_type("score", "number", score))?
        } else {
            0.0
        };
        let (Some(start), Some(end)) = (characters.byte(from), characters.byte(to)) else {
            return Err(Refusal::invalid(format!(
                "Invalid analyzer result, start: {from} and end: {to}, while text length is only {length}."
            )));
        };
        spans.push(Span { entity: entity.to_owned(), start, end, score });
    }
    Ok(spans)
}

/// The operators that these spans need. Presidio does not look at others either.
fn operators(
    configured: &Map<String, Value>,
    spans: &[Span],
    read: fn(&str, &Value) -> Result<Operator, Refusal>,
) -> Result<Operators, Refusal> {
    let mut operators = Operators::default();
    let one = |value: &Value| read(value.get("type").and_then(Value::as_str).unwrap_or_default(), value);
    let entities: BTreeSet<&str> = spans.iter().map(|span| &*span.entity).collect();
    for entity in entities {
        match (configured.get(entity), configured.get("DEFAULT")) {
            (Some(own), _) => drop(operators.by_entity.insert(entity.to_owned(), one(own)?)),
            (None, Some(default)) if operators.default.is_none() => operators.default = Some(one(default)?),
            _ => {}
        }
    }
    Ok(operators)
}

fn hiding(name: &str, value: &Value) -> Result<Operator, Refusal> {
    Ok(match name {
        "replace" => Operator::Replace { new_value: optional(value, "new_value")?.map(str::to_owned) },
        "redact" => Operator::Redact,
        "keep" => Operator::Keep,
        "mask" => mask(value)?,
        "hash" => hash(value)?,
        "encrypt" => Operator::EncryptCbc(key(value)?),
        other => return Err(no_such(other)),
    })
}

fn showing(name: &str, value: &Value) -> Result<Operator, Refusal> {
    Ok(match name {
        "decrypt" => Operator::DecryptCbc(key(value)?),
        "deanonymize_keep" => Operator::Keep,
        other => return Err(no_such(other)),
    })
}

fn no_such(name: &str) -> Refusal {
    Refusal::invalid(format!("Invalid operator class '{}'.", plain(name)))
}

fn mask(value: &Value) -> Result<Operator, Refusal> {
    let char = expected(value, "masking_char")?;
    let char = match char {
        Value::String(text) => text.as_str(),
        other if !truthy(other) => "",
        other => return Err(wrong_type("masking_char", "string", other)),
    };
    let mut chars = char.chars();
    let char = chars.next();
    if chars.next().is_some() {
        return Err(Refusal::invalid("Invalid input, masking_char must be a character"));
    }
    let count = expected(value, "chars_to_mask")?;
    let count = match count {
        // A bool is an int in Python.
        Value::Bool(is) => i64::from(*is),
        other if !truthy(other) => 0,
        other => other.as_i64().ok_or_else(|| wrong_type("chars_to_mask", "number", other))?,
    };
    let from_end = expected(value, "from_end")?;
    if truthy(from_end) && !from_end.is_boolean() {
        return Err(wrong_type("from_end", "boolean", from_end));
    }
    let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
    Ok(Operator::Mask { char, cover: Cover::Count { count, from_end: truthy(from_end) } })
}

fn hash(value: &Value) -> Result<Operator, Refusal> {
    let algorithm = match value.get("hash_type") {
        None => Algorithm::Sha256,
        Some(Value::String(name)) if name == "sha256" => Algorithm::Sha256,
        Some(Value::String(name)) if name == "sha512" => Algorithm::Sha512,
        Some(Value::Null) => return Err(Refusal::invalid("Expected parameter hash_type")),
        Some(other) => {
            let name =
                other.as_str().filter(|name| name.len() <= 12 && name.bytes().all(|b| b.is_ascii_alphanumeric()));
            return Err(Refusal::invalid(format!(
                "Parameter hash_type value {} is not in range of values ['sha256', 'sha512']",
                name.unwrap_or("?")
            )));
        }
    };
    let Some(salt) = value.get("salt") else { return Ok(Operator::Hash { algorithm, seasoning: Seasoning::Fresh }) };
    let salt = salt.as_str().ok_or_else(|| wrong_type("salt", "string", salt))?;
    Operator::salted(algorithm, salt.as_bytes()).map_err(|_| {
        Refusal::invalid(if salt.is_empty() {
            "Salt parameter cannot be empty. Either omit the salt parameter to auto-generate a random salt, or provide a \
             salt of at least 16 bytes (128 bits)."
                .to_owned()
        } else {
            format!("Salt must be at least 16 bytes (128 bits). Provided salt is {} bytes.", salt.len())
        })
    })
}

fn key(value: &Value) -> Result<CbcKey, Refusal> {
    let key = expected(value, "key")?;
    let key = key.as_str().ok_or_else(|| Refusal::invalid("Invalid parameter value for 'key'."))?;
    CbcKey::new(key.as_bytes())
        .map_err(|_| Refusal::invalid("Invalid input, key must be of length 128, 192 or 256 bits"))
}

fn expected<'r>(value: &'r Value, name: &str) -> Result<&'r Value, Refusal> {
    let value = value.get(name).filter(|value| !value.is_null());
    value.ok_or_else(|| Refusal::invalid(format!("Expected parameter {name}")))
}

fn optional<'r>(value: &'r Value, name: &str) -> Result<Option<&'r str>, Refusal> {
    match value.get(name).filter(|value| truthy(value)) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong_type(name, "string", other)),
    }
}

/// As Presidio says it; it has no words for fractions and objects.
fn wrong_type(name: &str, wanted: &str, got: &Value) -> Refusal {
    let got = match got {
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "number",
        Value::Array(_) => "array",
        _ => return Refusal::invalid(format!("Invalid parameter value for '{name}'.")),
    };
    Refusal::invalid(format!("Invalid parameter value for {name}. Expecting '{wanted}', but got '{got}'."))
}
