//! A stand-in for OpenAI and Anthropic.
//!
//! A real model cannot be run where this project is built, and a paid one
//! answers differently every time. The stand-in answers the official SDKs in the
//! providers' own formats, and always the same to the same request, so that what
//! arrives through the gateway can be compared with what arrives without it. It
//! knows nothing of language, checks no key, counts four characters as a token,
//! and is no measure of any model's speed. It runs inside `tabellion demo`, in
//! tests, and under the benchmark; it must not be reachable from elsewhere, as it
//! shows the last requests to whoever asks.
//!
//! | path | answers |
//! |---|---|
//! | `POST /v1/chat/completions` | plain, streamed (with `stream_options.include_usage`), tool calls, `n` |
//! | `POST /v1/responses` | plain, streamed with sequence numbers, function calls |
//! | `POST /v1/completions` | plain, streamed |
//! | `POST /v1/embeddings` | numbers or base64 |
//! | `POST /v1/messages`, `/v1/messages/count_tokens` | Anthropic: plain, streamed, `tool_use` |
//! | `GET /v1/models`, `/v1/models/{id}` | Anthropic's format where the request has `anthropic-version`, else OpenAI's |
//! | `GET /standin/requests` | requests per path, how scripted answers ended, and the last 64 requests: headers, body (base64), SHA-256 |
//! | `DELETE /standin/requests` | forgets them |
//! | `POST /standin/release?n=N&gate=NAME` | lets `N` events (1) of gate `NAME` (`gate`) pass |
//!
//! What it does follows from the model's name, so that an unmodified SDK can ask
//! for it, and from the header `x-standin`, a list of the same words separated by
//! commas. A word takes its argument after `-` or `=`. Words add up: model
//! `tool` with `x-standin: split,gzip` is all three.
//!
//! | word | does |
//! |---|---|
//! | any other model | a fixed short answer |
//! | `echo`, `echo-K` | the last user message's text, streamed `K` characters an event (5) |
//! | `tool`, `tool-K` | a tool call (the first offered; else `lookup`) whose arguments hold that text, streamed `K` characters an event. After a tool's result: a text that quotes it |
//! | `support` | a support agent's answer that quotes the customer |
//! | `loan` | a loan decision with reasons, in text and as the tool call `record_decision` |
//! | `big-N`, `size=N` | `N` bytes of filler (1 MiB; at most 64 MiB), 1000 an event |
//! | `error-S` | the provider's error of status `S`, its message quoting the text; 429 with `retry-after` |
//! | `chunk=K` | `K` characters an event |
//! | `slow`, `slow-MS`, `pace_ms=MS` | waits so long (20) before each event, or before the plain answer |
//! | `gate`, `gate-NAME` | each event, or the plain answer, waits for a release: shows buffering without a clock |
//! | `break` | closes the connection after half of the answer |
//! | `hang` | sends half of the answer, then nothing |
//! | `drop` | closes the connection instead of answering |
//! | `nodone` | a stream that ends in order but without its terminal event |
//! | `fail` | a stream that turns into the provider's error event half-way |
//! | `gzip` | `content-encoding: gzip`, asked for or not |
//! | `split` | writes of 1 to 31 bytes, cutting events and characters |
//!
//! A model named after a way of delivery (`break`, `slow`…) echoes.

mod answer;
mod anthropic;
mod ask;
mod behaviour;
mod delivery;
mod openai;
mod record;
mod script;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::ask::Ask;
use crate::behaviour::{Behaviour, Kind};
use crate::delivery::{Provider, Rendered, Surroundings};
use crate::record::Record;
use crate::script::Tally;

/// The time of every answer: 2026-01-01T00:00:00Z.
const CREATED: u64 = 1_767_225_600;
/// Larger than any provider takes; a request beyond it is a mistake in a test.
const BODY_BYTES_MAX: usize = 256 << 20;
/// Open gates; a test uses a few.
const GATES_MAX: usize = 4096;

/// What all connections share.
#[derive(Default)]
struct Shared {
    record: Record,
    tally: Arc<Tally>,
    /// One semaphore a gate; whoever names it first, the stream or the release,
    /// makes it.
    gates: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Shared {
    /// None when there are too many.
    fn gate(&self, name: &str) -> Option<Arc<Semaphore>> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if !gates.contains_key(name) && gates.len() >= GATES_MAX {
            return None;
        }
        let gate = gates.entry(name.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(0)));
        Some(Arc::clone(gate))
    }
}

/// Marks a response that must not be sent: the connection closes instead.
#[derive(Clone, Copy)]
struct Dropped;

/// A stand-in with its own record of requests. The model `drop` needs
/// [`serve`]; through any other server it answers 500.
pub fn router() -> Router {
    Router::new()
        .route("/standin/requests", get(requests).delete(forget))
        .route("/standin/release", post(release))
        .route("/v1/models", get(models))
        .route("/v1/models/{id}", get(model))
        .fallback(generate)
        .with_state(Arc::new(Shared::default()))
}

/// Serves [`router`] on `listener` until the caller drops the future.
///
/// # Errors
///
/// When the listener fails for good. Failures of single connections, and the
/// want of file descriptors, which passes, are no reason to stop.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let router = router();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, router.clone()));
            }
            Err(error) if passes(&error) => {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn passes(error: &io::Error) -> bool {
    // 23 and 24: no more file descriptors, in the system and in the process.
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    ) || matches!(error.raw_os_error(), Some(23 | 24))
}

async fn converse(stream: TcpStream, router: Router) {
    // Without it, an event waits for the acknowledgement of the one before it.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let answer = router.call(request);
        async move {
            let Ok(response) = answer.await;
            if response.extensions().get::<Dropped>().is_some() {
                // An error here is how hyper is told to close without a word.
                return Err(io::Error::other("asked to drop"));
            }
            Ok(response)
        }
    });
    // The error is the client's having gone, or our own breaking off.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// FNV-1a over the end of a body: ids and numbers that follow from the request.
fn hash(bytes: &[u8]) -> u64 {
    // What tells two requests apart comes last; a large body need not cost more.
    let end = &bytes[bytes.len().saturating_sub(1 << 16)..];
    end.iter().fold(0xcbf2_9ce4_8422_2325, |state, &byte| (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

async fn generate(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let provider = if path.starts_with("/v1/messages") { Provider::Anthropic } else { Provider::OpenAi };
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return delivery::error(provider, 413, "The request is too large or was cut short.", "req_none");
    };
    let id = format!("{:016x}", hash(&body));
    let request_id = format!("req_{id}");
    shared.record.add(&parts, body.clone());

    let refuse = |status, message: &str| delivery::error(provider, status, message, &request_id);
    if parts.method != "POST" {
        let message = format!("Invalid method for URL ({} {path})", parts.method);
        return refuse(if known(&path) { 405 } else { 404 }, &message);
    }
    if !known(&path) {
        return refuse(404, &format!("Invalid URL (POST {path})"));
    }
    let ask = match Ask::parse(&body) {
        Ok(ask) => ask,
        Err(error) => return refuse(400, &format!("We could not parse the JSON body of your request: {error}")),
    };
    let behaviour = Behaviour::of(&ask.model, &parts.headers);
    if behaviour.dropped {
        let mut response = refuse(500, "Only a connection of its own can be dropped.");
        response.extensions_mut().insert(Dropped);
        return response;
    }
    if let Kind::Error(status) = behaviour.kind {
        let message = format!("The stand-in was asked to refuse: {}", ask.said().text);
        return refuse(status, &message);
    }
    let gate = match &behaviour.gate {
        None => None,
        Some(name) => match shared.gate(name) {
            Some(gate) => Some(gate),
            None => return refuse(400, "There are too many gates."),
        },
    };
    let rendered = match path.as_str() {
        "/v1/chat/completions" => openai::chat(&ask, &behaviour, &id),
        "/v1/responses" => openai::responses(&ask, &behaviour, &id),
        "/v1/completions" => openai::completions(&ask, &behaviour, &id),
        "/v1/embeddings" => openai::embeddings(&ask),
        "/v1/messages/count_tokens" => anthropic::count_tokens(&ask),
        _ => anthropic::messages(&ask, &behaviour, &id),
    };
    let around = Surroundings { provider, request_id, gate, tally: Arc::clone(&shared.tally) };
    delivery::deliver(around, &behaviour, rendered)
}

fn known(path: &str) -> bool {
    matches!(
        path,
        "/v1/chat/completions"
            | "/v1/responses"
            | "/v1/completions"
            | "/v1/embeddings"
            | "/v1/messages"
            | "/v1/messages/count_tokens"
    )
}

const MODELS: [&str; 8] =
    ["echo", "tool", "support", "loan", "gpt-4o-mini", "gpt-4o", "text-embedding-3-small", "claude-sonnet-5-5"];

fn asks_anthropic(parts: &axum::http::request::Parts) -> Provider {
    if parts.headers.contains_key("anthropic-version") { Provider::Anthropic } else { Provider::OpenAi }
}

fn describe(provider: Provider, id: &str) -> serde_json::Value {
    match provider {
        Provider::OpenAi => json!({"id": id, "object": "model", "created": CREATED, "owned_by": "standin"}),
        Provider::Anthropic => {
            json!({"type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z", "lifecycle": "active"})
        }
    }
}

async fn models(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let provider = asks_anthropic(&parts);
    shared.record.add(&parts, Bytes::new());
    let data: Vec<_> = MODELS.iter().map(|id| describe(provider, id)).collect();
    let list = match provider {
        Provider::OpenAi => json!({"object": "list", "data": data}),
        Provider::Anthropic => {
            json!({"data": data, "has_more": false, "first_id": MODELS.first(), "last_id": MODELS.last()})
        }
    };
    delivery::json_response(provider, "req_models", Body::from(list.to_string()))
}

async fn model(State(shared): State<Arc<Shared>>, Path(id): Path<String>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let provider = asks_anthropic(&parts);
    shared.record.add(&parts, Bytes::new());
    if !MODELS.contains(&id.as_str()) {
        let message = format!("The model '{id}' does not exist or you do not have access to it.");
        return delivery::error(provider, 404, &message, "req_model");
    }
    let body = describe(provider, &id).to_string();
    delivery::json_response(provider, "req_model", Body::from(body))
}

async fn requests(State(shared): State<Arc<Shared>>) -> Response {
    let body = shared.record.show(&shared.tally).to_string();
    delivery::deliver(own(&shared), &own_behaviour(), Rendered::Plain(body))
}

async fn forget(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.record.forget();
    StatusCode::NO_CONTENT
}

/// Our own pages are no provider's, and need its headers no more than they hurt.
fn own(shared: &Shared) -> Surroundings {
    Surroundings {
        provider: Provider::OpenAi,
        request_id: "req_own".to_owned(),
        gate: None,
        tally: Arc::clone(&shared.tally),
    }
}

fn own_behaviour() -> Behaviour {
    Behaviour::of("", &axum::http::HeaderMap::new())
}

#[derive(Deserialize)]
struct Release {
    n: Option<usize>,
    gate: Option<String>,
}

async fn release(State(shared): State<Arc<Shared>>, Query(release): Query<Release>) -> StatusCode {
    let Some(gate) = shared.gate(release.gate.as_deref().unwrap_or("gate")) else {
        return StatusCode::INSUFFICIENT_STORAGE;
    };
    let n = release.n.unwrap_or(1);
    // More than that and the semaphore would panic.
    if n > Semaphore::MAX_PERMITS - gate.available_permits() {
        return StatusCode::BAD_REQUEST;
    }
    gate.add_permits(n);
    StatusCode::NO_CONTENT
}
