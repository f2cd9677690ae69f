//! From what is answered to how it travels: headers, pieces, pauses, breaks.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::behaviour::{Behaviour, Ending};
use crate::script::{Script, Step, Tally};

/// Whose format an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    OpenAi,
    Anthropic,
}

pub(crate) enum Rendered {
    Plain(String),
    Events(Events),
}

/// Server-sent events in one buffer. The last one is the terminal one.
#[derive(Default)]
pub(crate) struct Events {
    text: String,
    ends: Vec<usize>,
}

impl Events {
    pub(crate) fn data(&mut self, data: fmt::Arguments<'_>) {
        write!(self.text, "data: {data}\n\n").expect("a string takes what it is given");
        self.ends.push(self.text.len());
    }

    pub(crate) fn named(&mut self, name: &str, data: fmt::Arguments<'_>) {
        write!(self.text, "event: {name}\ndata: {data}\n\n").expect("a string takes what it is given");
        self.ends.push(self.text.len());
    }

    fn into_pieces(self) -> Vec<Bytes> {
        let all = Bytes::from(self.text);
        let mut start = 0;
        self.ends
            .into_iter()
            .map(|end| {
                let piece = all.slice(start..end);
                start = end;
                piece
            })
            .collect()
    }
}

/// A text as JSON writes it.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&serde_json::to_string(self.0).map_err(|_| fmt::Error)?)
    }
}

/// The error body, and the request id that some bodies repeat.
pub(crate) fn error_body(provider: Provider, status: u16, message: &str, request_id: &str) -> String {
    match provider {
        Provider::OpenAi => {
            let (kind, code) = match status {
                401 => ("invalid_request_error", Some("invalid_api_key")),
                404 => ("invalid_request_error", Some("model_not_found")),
                429 => ("requests", Some("rate_limit_exceeded")),
                400..=499 => ("invalid_request_error", None),
                _ => ("server_error", None),
            };
            json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
        }
        Provider::Anthropic => {
            let kind = match status {
                401 => "authentication_error",
                403 => "permission_error",
                404 => "not_found_error",
                413 => "request_too_large",
                429 => "rate_limit_error",
                400..=499 => "invalid_request_error",
                529 => "overloaded_error",
                _ => "api_error",
            };
            json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}).to_string()
        }
    }
}

pub(crate) fn error(provider: Provider, status: u16, message: &str, request_id: &str) -> Response {
    let body = error_body(provider, status, message, request_id);
    let mut response = json_response(provider, request_id, Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status == 429 {
        response.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
    }
    response
}

/// What the providers set on every answer, with values that do not change.
fn provider_headers(provider: Provider) -> &'static [(&'static str, &'static str)] {
    match provider {
        Provider::OpenAi => &[
            ("openai-organization", "standin"),
            ("openai-processing-ms", "7"),
            ("openai-version", "2020-10-01"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-reset-requests", "6ms"),
        ],
        Provider::Anthropic => &[
            ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
            ("anthropic-ratelimit-requests-limit", "4000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:00Z"),
        ],
    }
}

fn response_with(provider: Provider, request_id: &str, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.reserve(12);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let id_name = match provider {
        Provider::OpenAi => HeaderName::from_static("x-request-id"),
        Provider::Anthropic => HeaderName::from_static("request-id"),
    };
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(id_name, id);
    }
    for (name, value) in provider_headers(provider) {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

pub(crate) fn json_response(provider: Provider, request_id: &str, body: Body) -> Response {
    response_with(provider, request_id, "application/json", body)
}

/// What an answer needs of the server that it runs in.
pub(crate) struct Surroundings {
    pub(crate) provider: Provider,
    pub(crate) request_id: String,
    pub(crate) gate: Option<Arc<Semaphore>>,
    pub(crate) tally: Arc<Tally>,
}

pub(crate) fn deliver(around: Surroundings, behaviour: &Behaviour, rendered: Rendered) -> Response {
    match rendered {
        Rendered::Plain(text) => deliver_plain(around, behaviour, text),
        Rendered::Events(events) => deliver_events(around, behaviour, events),
    }
}

fn deliver_plain(around: Surroundings, behaviour: &Behaviour, text: String) -> Response {
    let mut body = Bytes::from(text);
    if behaviour.gzip {
        body = gzip(&[body]).concat().into();
    }
    let length = body.len();
    let whole = matches!(behaviour.ending, Ending::Whole | Ending::Unterminated | Ending::Failed);
    let body = if whole && behaviour.pace.is_none() && around.gate.is_none() && !behaviour.split {
        Body::from(body)
    } else {
        let mut steps = VecDeque::new();
        wait(&mut steps, behaviour, around.gate.as_ref());
        if whole && behaviour.split {
            odd_pieces(&mut steps, &body);
        } else if whole {
            steps.push_back(Step::Send(body));
        } else {
            steps.push_back(Step::Send(body.slice(..length / 2)));
            end_early(&mut steps, behaviour.ending);
        }
        Body::new(Script::new(steps, around.tally))
    };
    let mut response = json_response(around.provider, &around.request_id, body);
    if !behaviour.split {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    finish(response, behaviour)
}

fn deliver_events(around: Surroundings, behaviour: &Behaviour, events: Events) -> Response {
    let mut pieces = events.into_pieces();
    // At least one, so that there is something to break off after.
    let half = pieces.len().div_ceil(2);
    match behaviour.ending {
        Ending::Whole => {}
        Ending::Unterminated => {
            pieces.pop();
        }
        Ending::Broken | Ending::Hanging => pieces.truncate(half),
        Ending::Failed => {
            pieces.truncate(half);
            let message = "The stand-in was asked to fail in mid-stream.";
            let body = error_body(around.provider, 529, message, &around.request_id);
            let name = match around.provider {
                Provider::OpenAi => "",
                Provider::Anthropic => "event: error\n",
            };
            pieces.push(format!("{name}data: {body}\n\n").into());
        }
    }
    if behaviour.gzip {
        pieces = gzip(&pieces);
    }
    let mut steps = VecDeque::with_capacity(pieces.len() * 3);
    if behaviour.split {
        odd_pieces(&mut steps, &pieces.concat());
    } else {
        for piece in pieces {
            wait(&mut steps, behaviour, around.gate.as_ref());
            steps.push_back(Step::Send(piece));
            // A provider's events come one by one. A server that gave them to
            // its socket together would make every proxy look better.
            steps.push_back(Step::Flush);
        }
    }
    end_early(&mut steps, behaviour.ending);
    let body = Body::new(Script::new(steps, around.tally));
    let content_type = "text/event-stream; charset=utf-8";
    let mut response = response_with(around.provider, &around.request_id, content_type, body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    finish(response, behaviour)
}

fn finish(mut response: Response, behaviour: &Behaviour) -> Response {
    if behaviour.gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn wait(steps: &mut VecDeque<Step>, behaviour: &Behaviour, gate: Option<&Arc<Semaphore>>) {
    if let Some(time) = behaviour.pace {
        steps.push_back(Step::Pause(time));
    }
    if let Some(gate) = gate {
        steps.push_back(Step::Gate(Arc::clone(gate)));
    }
}

fn end_early(steps: &mut VecDeque<Step>, ending: Ending) {
    match ending {
        Ending::Whole | Ending::Unterminated | Ending::Failed => {}
        Ending::Broken => {
            // hyper throws away what it has not written when a body fails.
            steps.push_back(Step::Flush);
            steps.push_back(Step::Break);
        }
        Ending::Hanging => steps.push_back(Step::Hang),
    }
}

/// Each its own write and its own HTTP chunk: events, lines and characters are
/// cut wherever these lengths fall.
fn odd_pieces(steps: &mut VecDeque<Step>, bytes: &[u8]) {
    const LENGTHS: [usize; 12] = [1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31];
    let mut rest = bytes;
    for length in LENGTHS.into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(length.min(rest.len()));
        steps.push_back(Step::Send(Bytes::copy_from_slice(piece)));
        steps.push_back(Step::Flush);
        rest = after;
    }
}

/// One gzip stream, flushed after each piece, so that each can be read when it
/// arrives.
fn gzip(pieces: &[Bytes]) -> Vec<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut out: Vec<Bytes> = Vec::with_capacity(pieces.len() + 1);
    for piece in pieces {
        encoder.write_all(piece).expect("a vector takes what it is given");
        encoder.flush().expect("a vector takes what it is given");
        out.push(std::mem::take(encoder.get_mut()).into());
    }
    out.push(encoder.finish().expect("a vector takes what it is given").into());
    out
}
