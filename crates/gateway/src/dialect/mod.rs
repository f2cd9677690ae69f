//! What providers' bodies look like: the only place that knows.
//!
//! Pure functions over bytes that somebody else wrote. They say what a body calls itself and cut it into
//! a frame and parts ([`read_request`], [`read_response`]), undo its content encoding
//! ([`decode`], [`StreamDecoder`]), cut a stream into events ([`Events`]) and put a streamed answer together again
//! ([`Assembler`]). They work on the copy that is recorded. Nothing here touches what is relayed, and nothing here
//! redacts: whatever comes out may be personal.
//!
//! Nobody is trusted. A body that follows no shape is not an error: it has no facts and no parts, and is recorded as a
//! whole. The worst that a lying body gets is a wrong label; it cannot get itself left out, because
//!
//! - the frame is everything that is not a part, so a split never drops a byte;
//! - what an answer's stream says and its shape has no place for is kept under [`UNPLACED`], beside the answer.
//!
//! Time is linear in the bytes given and memory a small multiple of them; the caller bounds the bytes. Values are never
//! descended into further than `serde_json` allows (128), and splitting does not descend at all.

mod assemble;
mod encoding;
mod events;
mod facts;
mod json;
mod split;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;

pub use assemble::{Assembled, Assembler, INDEX_MAX, Progress, UNPLACED};
pub use encoding::{DecodeError, StreamDecoder, decode};
pub use events::{EVENT_BYTES_MAX, Event, Events};
pub use facts::Facts;
pub use split::{PARTS_MAX, PartSpan, Split, read_request, read_response};

/// What kind of provider an upstream is configured to be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// OpenAI, and all that speak its API.
    OpenAi,
    /// Anthropic, and all that speak its API.
    Anthropic,
    /// Anything else.
    #[default]
    Generic,
}

/// Which provider's shapes a body follows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dialect {
    /// `/v1/chat/completions`
    OpenAiChat,
    /// `/v1/completions`
    OpenAiCompletions,
    /// `/v1/responses`
    OpenAiResponses,
    /// `/v1/embeddings`
    OpenAiEmbeddings,
    /// `/v1/messages`
    Anthropic,
    /// Unknown: whatever of the above can be recognized in the body itself.
    Generic,
}

impl Dialect {
    /// The dialect of an operation; `path` is without the upstream's prefix.
    ///
    /// The path says more than the kind: OpenAI-compatible servers answer `/v1/messages` too, and Anthropic answers
    /// `/v1/chat/completions`. The kind decides only about a bare `/messages`, which is a thread's at OpenAI. A path
    /// that is spelled in an unusual way is `Generic`, which loses labels, never content.
    pub fn of(kind: Kind, method: &str, path: &str) -> Dialect {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let mut back = path.rsplit('/').filter(|segment| !segment.is_empty());
        let (last, before) = (back.next().unwrap_or_default(), back.next().unwrap_or_default());
        match method {
            "POST" => match (before, last) {
                ("chat", "completions") => Dialect::OpenAiChat,
                (_, "completions") => Dialect::OpenAiCompletions,
                (_, "responses") | ("responses", "input_tokens" | "compact") => Dialect::OpenAiResponses,
                (_, "embeddings") => Dialect::OpenAiEmbeddings,
                ("v1", "messages") | ("messages", "count_tokens") => Dialect::Anthropic,
                (_, "messages") if kind == Kind::Anthropic => Dialect::Anthropic,
                _ => Dialect::Generic,
            },
            // A stored answer, by its id.
            "GET" => match (back.next().unwrap_or_default(), before) {
                ("chat", "completions") => Dialect::OpenAiChat,
                (_, "responses") => Dialect::OpenAiResponses,
                _ => Dialect::Generic,
            },
            _ => Dialect::Generic,
        }
    }
}

/// Text that may be personal: it has not been redacted. There is no `Display`, and `Debug` prints the length.
#[derive(Clone, PartialEq, Eq)]
pub struct Sensitive(String);

impl Sensitive {
    /// Marks text as not redacted.
    pub fn new(text: String) -> Sensitive {
        Sensitive(text)
    }

    /// The text itself. Each call is worth a look: it must lead to redaction, not to a log line.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sensitive({} bytes)", self.0.len())
    }
}

/// An error body in the provider's own shape, so that its client library shows `message` and not a parse error.
/// `code` and `message` are ours and must carry no payload.
pub fn error_body(kind: Kind, status: u16, code: &str, message: &str) -> Vec<u8> {
    let body = match kind {
        Kind::Anthropic => {
            let word = match status {
                401 => "authentication_error",
                403 => "permission_error",
                404 => "not_found_error",
                413 => "request_too_large",
                429 => "rate_limit_error",
                504 => "timeout_error",
                529 => "overloaded_error",
                400..=499 => "invalid_request_error",
                _ => "api_error",
            };
            json!({"type": "error", "error": {"type": word, "message": message}})
        }
        Kind::OpenAi | Kind::Generic => {
            let word = match status {
                401 => "authentication_error",
                403 => "permission_error",
                429 => "rate_limit_error",
                400..=499 => "invalid_request_error",
                _ => "server_error",
            };
            json!({"error": {"message": message, "type": word, "param": null, "code": code}})
        }
    };
    body.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_names_the_dialect() {
        for (kind, method, path, dialect) in [
            (Kind::OpenAi, "POST", "/v1/chat/completions", Dialect::OpenAiChat),
            (Kind::OpenAi, "POST", "/v1/chat/completions/", Dialect::OpenAiChat),
            (Kind::OpenAi, "POST", "/v1/chat/completions?x=/v1/embeddings", Dialect::OpenAiChat),
            (Kind::Generic, "POST", "/openai/deployments/d/chat/completions", Dialect::OpenAiChat),
            (Kind::Anthropic, "POST", "/v1/chat/completions", Dialect::OpenAiChat),
            (Kind::OpenAi, "POST", "/v1/completions", Dialect::OpenAiCompletions),
            (Kind::OpenAi, "POST", "/v1/responses", Dialect::OpenAiResponses),
            (Kind::OpenAi, "GET", "/v1/responses/resp_1", Dialect::OpenAiResponses),
            (Kind::OpenAi, "GET", "/v1/chat/completions/c_1", Dialect::OpenAiChat),
            (Kind::OpenAi, "POST", "/v1/embeddings", Dialect::OpenAiEmbeddings),
            (Kind::OpenAi, "POST", "/v1/messages", Dialect::Anthropic),
            (Kind::OpenAi, "POST", "/v1/threads/t_1/messages", Dialect::Generic),
            (Kind::Anthropic, "POST", "/v1/messages", Dialect::Anthropic),
            (Kind::Anthropic, "POST", "/messages", Dialect::Anthropic),
            (Kind::Anthropic, "POST", "/v1/messages/batches", Dialect::Generic),
            (Kind::OpenAi, "GET", "/v1/models", Dialect::Generic),
            (Kind::OpenAi, "POST", "/v1/chat%2fcompletions", Dialect::Generic),
            (Kind::OpenAi, "POST", "", Dialect::Generic),
            (Kind::OpenAi, "POST", "////", Dialect::Generic),
            (Kind::OpenAi, "DELETE", "/v1/chat/completions", Dialect::Generic),
        ] {
            assert_eq!(Dialect::of(kind, method, path), dialect, "{kind:?} {method} {path}");
        }
    }

    #[test]
    fn kinds_are_spelled_as_in_the_configuration() {
        for (kind, word) in
            [(Kind::OpenAi, "\"openai\""), (Kind::Anthropic, "\"anthropic\""), (Kind::Generic, "\"generic\"")]
        {
            assert_eq!(serde_json::to_string(&kind).unwrap(), word);
            assert_eq!(serde_json::from_str::<Kind>(word).unwrap(), kind);
        }
    }

    #[test]
    fn sensitive_text_is_not_printed() {
        let text = Sensitive::new("jane@example.com".to_owned());
        assert_eq!(format!("{text:?}"), "Sensitive(16 bytes)");
    }

    #[test]
    fn errors_have_the_providers_shape() {
        let body = error_body(Kind::OpenAi, 413, "body_too_large", "a \"quoted\" word");
        assert_eq!(
            String::from_utf8(body).unwrap(),
            r#"{"error":{"message":"a \"quoted\" word","type":"invalid_request_error","param":null,"code":"body_too_large"}}"#
        );
        let body = error_body(Kind::Anthropic, 413, "body_too_large", "too large");
        assert_eq!(
            String::from_utf8(body).unwrap(),
            r#"{"type":"error","error":{"type":"request_too_large","message":"too large"}}"#
        );
        assert_eq!(error_body(Kind::Generic, 503, "c", "m"), error_body(Kind::OpenAi, 503, "c", "m"));
    }
}
