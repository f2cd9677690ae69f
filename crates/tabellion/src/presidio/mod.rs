//! Presidio's REST API, under `/presidio`, so that whatever calls Presidio can call this instead.
//!
//! The shapes, status codes and texts of errors are those of Presidio's two services (`app.py` of presidio-analyzer and
//! presidio-anonymizer, 2.2.36x), which stand here under one path. What differs is in `docs/presidio.md`. Inside,
//! everything counts bytes; at this edge, code points.
//!
//! Nothing of this is recorded, and nothing that a caller sends is logged or repeated in an error: an error may name a
//! member or an operator, if it is a plain name, and numbers. The installation's token key is not used here, since
//! anybody who reaches this could test guesses with it.

mod ad_hoc;
mod analyze;
mod anonymize;
mod catalog;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tabellion_detect::{Depth, Engine, Set};
use tokio::sync::Semaphore;

use crate::config::OnFailure;
use crate::model::Model;
use crate::policy;

/// What Werkzeug says of a body that is not JSON.
const NOT_UNDERSTOOD: &str = "The browser (or proxy) sent a request that this server could not understand.";
const NOT_JSON: &str = "Did not attempt to load JSON data because the request Content-Type was not 'application/json'.";

/// The API, for requests of at most so many bytes, at a depth; at that of the model with the model.
pub(crate) fn router(body_bytes_max: usize, depth: Depth, model: Option<(Model, OnFailure)>) -> Router {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = model.filter(|_| depth >= Depth::Model);
    let facade = Arc::new(Facade { depth, model, engine: OnceLock::new(), turns: Arc::new(Semaphore::new(cores)) });
    Router::new()
        .route("/health", get(|| async { "Presidio Analyzer service is up" }))
        .route("/analyze", post(analyze_texts))
        .route("/recognizers", get(recognizers))
        .route("/supportedentities", get(supported_entities))
        .route("/anonymize", post(anonymize_text))
        .route("/deanonymize", post(deanonymize_text))
        .route("/anonymizers", get(|| async { Json(anonymize::ANONYMIZERS) }))
        .route("/deanonymizers", get(|| async { Json(anonymize::DEANONYMIZERS) }))
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .with_state(facade)
}

struct Facade {
    depth: Depth,
    model: Option<(Model, OnFailure)>,
    /// With the rules of every country, since any may be asked for. Compiled when somebody first asks.
    engine: OnceLock<Engine>,
    /// Work is done on other threads than the server's, as many at once as there are cores.
    turns: Arc<Semaphore>,
}

impl Facade {
    fn engine(&self) -> &Engine {
        self.engine.get_or_init(|| policy::embedded(Set::All, Some(self.depth)))
    }
}

/// A refusal, as Presidio words it.
#[derive(Debug, PartialEq)]
struct Refusal {
    status: StatusCode,
    error: String,
}

impl Refusal {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }

    /// What a Python exception becomes in the analyzer.
    fn failed(error: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }

    /// What a Python `TypeError` becomes in the analyzer.
    fn wrong_type(error: impl std::fmt::Display) -> Self {
        let error = format!("Failed to parse /analyze request for AnalyzerEngine.analyze(). {error}");
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// What an `InvalidParamError` becomes in the anonymizer.
    fn invalid(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(serde_json::json!({ "error": self.error }))).into_response()
    }
}

struct Json<T>(T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// A body that says that it is JSON, and is.
struct Body(Value);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        if !is_json(request.headers()) {
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, NOT_JSON));
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "The data value transmitted exceeds the capacity limit.")
            }
            _ => Refusal::new(StatusCode::BAD_REQUEST, NOT_UNDERSTOOD),
        })?;
        let value = serde_json::from_slice(&body).map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, NOT_UNDERSTOOD))?;
        Ok(Self(value))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
}

#[derive(Deserialize)]
struct Language {
    language: Option<String>,
}

async fn recognizers(State(facade): State<Arc<Facade>>, Query(query): Query<Language>) -> Result<Response, Refusal> {
    let language = catalog::language(query.language.as_deref())?;
    work(facade, move |engine| Ok(catalog::recognizers(engine, language))).await
}

async fn supported_entities(
    State(facade): State<Arc<Facade>>,
    Query(query): Query<Language>,
) -> Result<Response, Refusal> {
    let language = catalog::language(query.language.as_deref())?;
    work(facade, move |engine| Ok(catalog::supported(engine, language))).await
}

async fn analyze_texts(State(facade): State<Arc<Facade>>, Body(body): Body) -> Result<Response, Refusal> {
    let model = facade.model.clone();
    work(facade, move |engine| analyze::answer(engine, model.as_ref(), &body)).await
}

async fn anonymize_text(State(facade): State<Arc<Facade>>, Body(body): Body) -> Result<Response, Refusal> {
    work(facade, move |_| anonymize::anonymize(&body)).await
}

async fn deanonymize_text(State(facade): State<Arc<Facade>>, Body(body): Body) -> Result<Response, Refusal> {
    work(facade, move |_| anonymize::deanonymize(&body)).await
}

async fn work<T: Serialize + Send + 'static>(
    facade: Arc<Facade>,
    task: impl FnOnce(&Engine) -> Result<T, Refusal> + Send + 'static,
) -> Result<Response, Refusal> {
    // The turn ends with the work, also where the caller has gone.
    let turn = facade.turns.clone().acquire_owned().await;
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        task(facade.engine()).map(|done| Json(done).into_response())
    });
    done.await.unwrap_or_else(|_| Err(Refusal::failed("Internal server error")))
}

/// What Python takes for true.
fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// A name that may be repeated in an error: it can hardly be anything personal.
fn plain(name: &str) -> &str {
    let fits = (1..=40).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name.bytes().any(|byte| byte.is_ascii_alphabetic());
    if fits { name } else { "?" }
}

/// Where characters stand: their numbers for the bytes at which they begin.
struct Characters<'a> {
    text: &'a str,
    /// As many characters stand before each thousandth byte or the character's beginning before it; none for ASCII.
    marks: Option<Vec<usize>>,
}

impl<'a> Characters<'a> {
    const STEP: usize = 1024;

    fn of(text: &'a str) -> Self {
        if text.is_ascii() {
            return Self { text, marks: None };
        }
        let mut marks = Vec::with_capacity(text.len() / Self::STEP + 1);
        let (mut from, mut count) = (0, 0);
        while from <= text.len() {
            marks.push(count);
            let to = text.floor_char_boundary(from + Self::STEP);
            if from == text.len() {
                break;
            }
            count += text[text.floor_char_boundary(from)..to].chars().count();
            from += Self::STEP;
        }
        Self { text, marks: Some(marks) }
    }

    fn count(&self) -> usize {
        self.number(self.text.len())
    }

    /// How many characters stand before a byte.
    fn number(&self, byte: usize) -> usize {
        let Some(marks) = &self.marks else { return byte };
        let mark = byte / Self::STEP;
        marks[mark] + self.text[self.text.floor_char_boundary(mark * Self::STEP)..byte].chars().count()
    }

    /// Where the character of a number begins; the text's end for one more than there are.
    fn byte(&self, number: usize) -> Option<usize> {
        let Some(marks) = &self.marks else { return (number <= self.text.len()).then_some(number) };
        let mark = marks.partition_point(|&before| before <= number) - 1;
        let from = self.text.floor_char_boundary(mark * Self::STEP);
        let rest = &self.text[from..];
        let ends = std::iter::once(rest.len());
        rest.char_indices().map(|(at, _)| at).chain(ends).nth(number - marks[mark]).map(|at| from + at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_and_found() {
        for text in [
            "",
            "plain",
            "é",
            "aé日😀b",
            &"aé日😀".repeat(1000),
            &"é".repeat(512),
            &"日".repeat(2048),
            &"x".repeat(3000),
        ] {
            let characters = Characters::of(text);
            let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            assert_eq!(characters.count(), starts.len() - 1);
            for (number, &byte) in starts.iter().enumerate() {
                assert_eq!(characters.number(byte), number);
                assert_eq!(characters.byte(number), Some(byte));
            }
            assert_eq!(characters.byte(starts.len()), None);
            assert_eq!(characters.byte(usize::MAX), None);
        }
    }

    #[test]
    fn only_plain_names_are_repeated() {
        for name in ["type", "masking_char", "Reverser"] {
            assert_eq!(plain(name), name);
        }
        for name in ["", "_", "jo@example.com", "536904399", "Jo Doe", "é", &"x".repeat(41)] {
            assert_eq!(plain(name), "?");
        }
    }
}
