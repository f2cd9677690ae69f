//! What a body says of itself, read without trusting it.
//!
//! Of a name that occurs more than once the last counts, as with nearly every parser that a provider may use. A body
//! that is not a JSON object says nothing.

use serde_json::value::RawValue;

use super::Sensitive;
use super::json::{members, text};

/// What a body says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// The model that is asked for, or that answered.
    pub model: Option<Sensitive>,
    /// The caller's case: `metadata.case_id`.
    pub case: Option<Sensitive>,
    /// On whose behalf: `user`, else `safety_identifier`, else `metadata.user_id`.
    pub actor: Option<Sensitive>,
    /// The conversation: `metadata.session_id`.
    pub session: Option<Sensitive>,
    /// The provider's count of tokens, input and output, as it gives them: Anthropic's input does not include what it
    /// read from or wrote to its cache.
    pub usage: Option<(u64, u64)>,
}

/// A request's facts in the making.
#[derive(Default)]
pub(super) struct RequestFacts {
    facts: Facts,
    user: Option<Sensitive>,
    safety: Option<Sensitive>,
    metadata_user: Option<Sensitive>,
}

impl RequestFacts {
    /// Takes in a member of the body.
    pub(super) fn member(&mut self, name: &str, value: &RawValue) {
        let facts = &mut self.facts;
        match name {
            "model" => facts.model = word(value),
            "user" => self.user = word(value),
            "safety_identifier" => self.safety = word(value),
            "metadata" => {
                (facts.case, facts.session, self.metadata_user) = (None, None, None);
                // A `metadata` that is not an object says nothing.
                let _ = members(value.get(), |name, value| match name {
                    "case_id" => facts.case = word(value),
                    "session_id" => facts.session = word(value),
                    "user_id" => self.metadata_user = word(value),
                    _ => {}
                });
            }
            _ => {}
        }
    }

    pub(super) fn finish(self) -> Facts {
        Facts { actor: self.user.or(self.safety).or(self.metadata_user), ..self.facts }
    }
}

/// An answer's facts in the making; of one that came as JSON or was put together from a stream.
#[derive(Default)]
pub(super) struct ResponseFacts {
    model: Option<Sensitive>,
    input: Option<u64>,
    output: Option<u64>,
}

impl ResponseFacts {
    /// Takes in a member of the body.
    pub(super) fn member(&mut self, name: &str, value: &RawValue) {
        let Self { model, input, output } = self;
        match name {
            "model" | "modelVersion" => *model = word(value),
            "usage" | "usageMetadata" => {
                let _ = members(value.get(), |name, value| match name {
                    "prompt_tokens" | "input_tokens" | "promptTokenCount" => *input = count(value).or(*input),
                    "completion_tokens" | "output_tokens" | "candidatesTokenCount" => {
                        *output = count(value).or(*output);
                    }
                    _ => {}
                });
            }
            // Ollama's own.
            "prompt_eval_count" => *input = count(value).or(*input),
            "eval_count" => *output = count(value).or(*output),
            _ => {}
        }
    }

    pub(super) fn finish(self) -> Facts {
        let Self { model, input, output } = self;
        let usage = (input.is_some() || output.is_some()).then(|| (input.unwrap_or(0), output.unwrap_or(0)));
        Facts { model, usage, ..Facts::default() }
    }
}

/// An identifier: a string with something in it, or a number as it is written.
fn word(value: &RawValue) -> Option<Sensitive> {
    let word = match value.get().as_bytes().first()? {
        b'"' => text(value)?.into_owned(),
        b'-' | b'0'..=b'9' => value.get().to_owned(),
        _ => return None,
    };
    (!word.is_empty()).then(|| Sensitive::new(word))
}

fn count(value: &RawValue) -> Option<u64> {
    value.get().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Dialect, read_request, read_response};
    use super::*;

    fn request(body: impl AsRef<[u8]>) -> Facts {
        read_request(Dialect::OpenAiChat, &String::from_utf8_lossy(body.as_ref())).0
    }

    fn response(body: &str) -> Facts {
        read_response(Dialect::Generic, body).0
    }

    fn usage(body: &str) -> Option<(u64, u64)> {
        response(body).usage
    }

    fn said(fact: &Option<Sensitive>) -> Option<&str> {
        fact.as_ref().map(Sensitive::expose)
    }

    #[test]
    fn reads_what_a_request_says() {
        let facts = request(
            r#"{"model":"gpt-4o","stream":true,"messages":[],"metadata":{"case_id":1042,"user_id":"u","session_id":"s"}}"#,
        );
        assert_eq!(said(&facts.model), Some("gpt-4o"));
        assert_eq!(said(&facts.case), Some("1042"));
        assert_eq!(said(&facts.actor), Some("u"));
        assert_eq!(said(&facts.session), Some("s"));
    }

    #[test]
    fn the_actor_is_the_first_that_is_named() {
        let metadata = r#""metadata":{"user_id":"m"}"#;
        assert_eq!(
            said(&request(format!("{{{metadata},\"user\":\"u\",\"safety_identifier\":\"s\"}}")).actor),
            Some("u")
        );
        assert_eq!(
            said(&request(format!("{{{metadata},\"user\":\"\",\"safety_identifier\":\"s\"}}")).actor),
            Some("s")
        );
        assert_eq!(said(&request(format!("{{{metadata},\"user\":null}}")).actor), Some("m"));
    }

    #[test]
    fn the_last_of_a_repeated_name_counts() {
        let facts = request(
            r#"{"model":"a","stream":true,"metadata":{"case_id":"1"},"model":"b","stream":false,"metadata":{"user_id":"u"}}"#,
        );
        assert_eq!(said(&facts.model), Some("b"));
        assert_eq!(said(&facts.case), None);
        assert_eq!(said(&facts.actor), Some("u"));
    }

    #[test]
    fn says_nothing_of_what_it_cannot_read() {
        for body in ["", "x", "[]", "{", r#"{"model":"a""#, r#"{"model":"a"} x"#, "null", "\"model\""] {
            assert_eq!(request(body), Facts::default(), "{body}");
            assert_eq!(response(body), Facts::default(), "{body}");
        }
        let odd = request(r#"{"model":{"a":1},"stream":"true","user":[1],"metadata":"case_id"}"#);
        assert_eq!(odd, Facts::default());
    }

    #[test]
    fn reads_on_past_what_is_not_utf8_or_half_a_surrogate_pair() {
        let facts = request(b"{\"x\":\"\xff\xfe\",\"model\":\"a\\ud800\",\"stream\":true}");
        assert_eq!(said(&facts.model), Some("a\u{fffd}\u{fffd}\u{fffd}"));
    }

    #[test]
    fn reads_every_providers_count() {
        assert_eq!(usage(r#"{"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}}"#), Some((9, 12)));
        assert_eq!(usage(r#"{"usage":{"input_tokens":3,"output_tokens":4}}"#), Some((3, 4)));
        assert_eq!(usage(r#"{"usage":{"prompt_tokens":5,"total_tokens":5}}"#), Some((5, 0)));
        assert_eq!(usage(r#"{"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2}}"#), Some((1, 2)));
        assert_eq!(usage(r#"{"prompt_eval_count":1,"eval_count":2}"#), Some((1, 2)));
        assert_eq!(usage(r#"{"usage":null}"#), None);
        assert_eq!(usage(r#"{"usage":{"prompt_tokens":-1,"completion_tokens":1e3}}"#), None);
        assert_eq!(usage(r#"{"usage":{"prompt_tokens":99999999999999999999}}"#), None);
    }

    #[test]
    fn depth_is_no_obstacle() {
        let body = format!(r#"{{"messages":{}{},"model":"a"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(said(&request(body).model), Some("a"));
    }
}
