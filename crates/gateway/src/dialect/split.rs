//! A body cut into a frame and parts, as `docs/format.md` (section *content*) has it.
//!
//! A part is a JSON value exactly as it stands in the body. Which values become parts is a matter of labels and of not
//! storing a conversation's history twice; nothing depends on it for completeness, since the frame is all the rest.
//! Therefore one table of names serves all dialects, and a body that follows none is a frame alone.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::value::RawValue;

use super::Dialect;
use super::facts::{Facts, RequestFacts, ResponseFacts};
use super::json::{Malformed, elements, is, members, text};

/// The most parts that a body is cut into; what would follow stays in the frame.
pub const PARTS_MAX: usize = 4096;

/// Where a part stands, and whose it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartSpan {
    /// `system`, `developer`, `user`, `assistant`, `tool`, `tool_call`, `tool_definition`, `error` or `other`.
    pub role: Cow<'static, str>,
    /// The bytes of the body that it takes up; never empty.
    pub range: Range<usize>,
}

/// A body's parts, ascending and apart from each other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Split {
    /// The parts; none, if the body is a frame alone.
    pub parts: Vec<PartSpan>,
}

impl Split {
    /// The body (it must be the one that was split) with a zero byte in each part's place.
    pub fn frame(&self, body: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let mut from = 0;
        for part in &self.parts {
            frame.extend_from_slice(body.get(from..part.range.start).unwrap_or_default());
            frame.push(0);
            from = part.range.end;
        }
        frame.extend_from_slice(body.get(from..).unwrap_or_default());
        frame
    }
}

/// Reads a request's body: what it says of itself, and where to cut it into messages, system prompts, inputs and tool
/// definitions.
pub fn read_request(dialect: Dialect, body: &str) -> (Facts, Split) {
    let mut facts = RequestFacts::default();
    let split = Cut::of(body).finish(|cut, name, value| {
        facts.member(name, value);
        match name {
            "input" => cut.items(value, "user"),
            // Beside its input, an embedding's request has only settings.
            _ if dialect == Dialect::OpenAiEmbeddings => Ok(()),
            "messages" | "contents" => cut.items(value, "other"),
            "tools" | "functions" => cut.each(value, "tool_definition"),
            "system" | "instructions" | "systemInstruction" | "system_instruction" => cut.each(value, "system"),
            // The Responses API has an object here, which names a stored prompt: settings.
            "prompt" if !is(value, b'{') => cut.each(value, "user"),
            _ => Ok(()),
        }
    });
    split.map(|split| (facts.finish(), split)).unwrap_or_default()
}

/// Reads an answer's body: what it says of itself, and where to cut it into messages, output items, content blocks,
/// errors, and what it repeats of its request.
pub fn read_response(dialect: Dialect, body: &str) -> (Facts, Split) {
    let mut facts = ResponseFacts::default();
    let split = Cut::of(body).finish(|cut, name, value| {
        facts.member(name, value);
        match name {
            "error" => cut.value(value, "error"),
            // Vectors stay in the frame.
            _ if dialect == Dialect::OpenAiEmbeddings => Ok(()),
            "choices" | "candidates" => cut.choices(value),
            "output" | "content" => cut.items(value, "assistant"),
            "message" if is(value, b'{') => cut.item(value, "assistant"),
            "text" | "completion" | "response" | "output_text" if is(value, b'"') => cut.value(value, "assistant"),
            "tools" => cut.each(value, "tool_definition"),
            "instructions" => cut.items(value, "system"),
            _ => Ok(()),
        }
    });
    split.map(|split| (facts.finish(), split)).unwrap_or_default()
}

type Done = Result<(), Malformed>;

struct Cut<'a> {
    body: &'a str,
    parts: Vec<PartSpan>,
}

impl<'a> Cut<'a> {
    fn of(body: &'a str) -> Cut<'a> {
        Cut { body, parts: Vec::new() }
    }

    /// Cuts at each member of the body, all or nothing.
    fn finish(mut self, mut at: impl FnMut(&mut Self, &str, &'a RawValue) -> Done) -> Result<Split, Malformed> {
        // A zero byte would be taken for a part's place. In JSON it would be malformed anyway.
        if memchr::memchr(0, self.body.as_bytes()).is_some() {
            return Err(Malformed);
        }
        let mut done = Ok(());
        members(self.body, |name, value| {
            if done.is_ok() {
                done = at(&mut self, name, value);
            }
        })?;
        done.map(|()| Split { parts: self.parts })
    }

    /// A string or an object becomes a part; a number, a null or an array of numbers stays in the frame.
    fn value(&mut self, value: &'a RawValue, role: &'static str) -> Done {
        if self.parts.len() < PARTS_MAX && (is(value, b'"') || is(value, b'{')) {
            // The value is a slice of the body, because all were read from it without copying.
            let start = value.get().as_ptr().addr() - self.body.as_ptr().addr();
            self.parts.push(PartSpan { role: Cow::Borrowed(role), range: start..start + value.get().len() });
        }
        Ok(())
    }

    /// A value, or each element of an array.
    fn each(&mut self, value: &'a RawValue, role: &'static str) -> Done {
        if !is(value, b'[') {
            return self.value(value, role);
        }
        let mut done = Ok(());
        elements(value.get(), |element| {
            if done.is_ok() {
                done = self.value(element, role);
            }
        })?;
        done
    }

    /// A value, or each element of an array, labelled by what it says of itself.
    fn items(&mut self, value: &'a RawValue, default: &'static str) -> Done {
        if !is(value, b'[') {
            return self.item(value, default);
        }
        let mut done = Ok(());
        elements(value.get(), |element| {
            if done.is_ok() {
                done = self.item(element, default);
            }
        })?;
        done
    }

    fn item(&mut self, value: &'a RawValue, default: &'static str) -> Done {
        if self.parts.len() == PARTS_MAX || !is(value, b'{') {
            return self.value(value, default);
        }
        let (mut role, mut kind) = (None, None);
        members(value.get(), |name, value| match name {
            "role" => role = Some(text(value).map_or("other", |word| role_of(&word))),
            "type" => kind = text(value).and_then(|word| role_of_type(&word)),
            _ => {}
        })?;
        self.value(value, role.or(kind).unwrap_or(default))
    }

    fn choices(&mut self, value: &'a RawValue) -> Done {
        if !is(value, b'[') {
            return Ok(());
        }
        let mut done = Ok(());
        elements(value.get(), |choice| {
            if done.is_ok() && is(choice, b'{') {
                done = self.choice(choice);
            }
        })?;
        done
    }

    fn choice(&mut self, choice: &'a RawValue) -> Done {
        let mut done = Ok(());
        members(choice.get(), |name, value| {
            if done.is_ok() && matches!(name, "message" | "text" | "content") {
                done = self.item(value, "assistant");
            }
        })?;
        done
    }
}

fn role_of(word: &str) -> &'static str {
    match word {
        "system" => "system",
        "developer" => "developer",
        "user" => "user",
        "assistant" | "model" => "assistant",
        "tool" | "function" => "tool",
        _ => "other",
    }
}

/// What an item without a role is, going by its `type`: there are dozens of calls, and more every year, but they end
/// alike.
fn role_of_type(word: &str) -> Option<&'static str> {
    match word {
        "reasoning" | "thinking" | "redacted_thinking" => Some("assistant"),
        _ if word.ends_with("_output") || word.ends_with("tool_result") => Some("tool"),
        _ if word.ends_with("_call") || word.ends_with("tool_use") => Some("tool_call"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECTS: [Dialect; 6] = [
        Dialect::OpenAiChat,
        Dialect::OpenAiCompletions,
        Dialect::OpenAiResponses,
        Dialect::OpenAiEmbeddings,
        Dialect::Anthropic,
        Dialect::Generic,
    ];

    /// The parts, after holding the split against the format: the frame with its zero bytes filled is the body.
    fn parts<'a>(split: &Split, body: &'a str) -> Vec<(String, &'a str)> {
        let frame = split.frame(body.as_bytes());
        assert_eq!(frame.iter().filter(|&&byte| byte == 0).count(), split.parts.len());
        let mut whole = Vec::new();
        let mut parts = split.parts.iter();
        for byte in frame {
            match byte {
                0 => whole.extend_from_slice(body[parts.next().unwrap().range.clone()].as_bytes()),
                byte => whole.push(byte),
            }
        }
        assert_eq!(whole, body.as_bytes());
        assert!(split.parts.windows(2).all(|two| two[0].range.end <= two[1].range.start));
        split.parts.iter().map(|part| (part.role.to_string(), &body[part.range.clone()])).collect()
    }

    fn request(dialect: Dialect, body: &str) -> Vec<(String, &str)> {
        parts(&read_request(dialect, body).1, body)
    }

    fn response(dialect: Dialect, body: &str) -> Vec<(String, &str)> {
        parts(&read_response(dialect, body).1, body)
    }

    fn owned<'a>(expected: &[(&str, &'a str)]) -> Vec<(String, &'a str)> {
        expected.iter().map(|&(role, text)| (role.to_owned(), text)).collect()
    }

    #[test]
    fn cuts_a_chat() {
        let body = r#" {"model":"m", "messages" : [ {"role":"system","content":"s"} ,{"content":"u\u00e9","role":"user"},
            {"role":"tool","content":"1"},{"role":"function","content":"1"},{"role":"wizard"},{},null,7,"x"],
            "tools":[{"type":"function"}],"functions":[{"name":"f"}]} "#;
        let expected = [
            ("system", r#"{"role":"system","content":"s"}"#),
            ("user", r#"{"content":"u\u00e9","role":"user"}"#),
            ("tool", r#"{"role":"tool","content":"1"}"#),
            ("tool", r#"{"role":"function","content":"1"}"#),
            ("other", r#"{"role":"wizard"}"#),
            ("other", "{}"),
            ("other", "\"x\""),
            ("tool_definition", r#"{"type":"function"}"#),
            ("tool_definition", r#"{"name":"f"}"#),
        ];
        assert_eq!(request(Dialect::OpenAiChat, body), owned(&expected));
        let frame = String::from_utf8(read_request(Dialect::OpenAiChat, body).1.frame(body.as_bytes())).unwrap();
        assert_eq!(
            frame,
            " {\"model\":\"m\", \"messages\" : [ \0 ,\0,\n            \0,\0,\0,\0,null,7,\0],\n            \
             \"tools\":[\0],\"functions\":[\0]} "
        );
    }

    #[test]
    fn cuts_the_other_requests() {
        let body = r#"{"system":"s","messages":[{"role":"user","content":[]}],"system":[{"type":"text","text":"t"}]}"#;
        let expected = [
            ("system", "\"s\""),
            ("user", r#"{"role":"user","content":[]}"#),
            ("system", r#"{"type":"text","text":"t"}"#),
        ];
        assert_eq!(request(Dialect::Anthropic, body), owned(&expected));

        let body = r#"{"instructions":"i","prompt":{"id":"p"},"input":[{"role":"developer","content":"d"},
            {"type":"message","role":"user"},{"type":"function_call","name":"f"},{"type":"web_search_call"},
            {"type":"function_call_output","output":"o"},{"type":"reasoning"},{"type":"item_reference"},"x"]}"#;
        let expected = [
            ("system", "\"i\""),
            ("developer", r#"{"role":"developer","content":"d"}"#),
            ("user", r#"{"type":"message","role":"user"}"#),
            ("tool_call", r#"{"type":"function_call","name":"f"}"#),
            ("tool_call", r#"{"type":"web_search_call"}"#),
            ("tool", r#"{"type":"function_call_output","output":"o"}"#),
            ("assistant", r#"{"type":"reasoning"}"#),
            ("user", r#"{"type":"item_reference"}"#),
            ("user", "\"x\""),
        ];
        assert_eq!(request(Dialect::OpenAiResponses, body), owned(&expected));
        assert_eq!(request(Dialect::OpenAiResponses, r#"{"input":"x"}"#), owned(&[("user", "\"x\"")]));
        let prompts = r#"{"prompt":["a","b",[1,2],3]}"#;
        assert_eq!(request(Dialect::OpenAiCompletions, prompts), owned(&[("user", "\"a\""), ("user", "\"b\"")]));
        let inputs = r#"{"input":["a",[1,2]],"messages":[{}]}"#;
        assert_eq!(request(Dialect::OpenAiEmbeddings, inputs), owned(&[("user", "\"a\"")]));
        let gemini = r#"{"contents":[{"role":"model","parts":[]}],"systemInstruction":{"parts":[]}}"#;
        let expected = [("assistant", r#"{"role":"model","parts":[]}"#), ("system", r#"{"parts":[]}"#)];
        assert_eq!(request(Dialect::Generic, gemini), owned(&expected));
    }

    #[test]
    fn cuts_answers() {
        let body = r#"{"id":"1","choices":[{"index":0,"message":{"role":"assistant","content":"a"}},{"text":"b"},
            {"message":null},3]}"#;
        let expected = [("assistant", r#"{"role":"assistant","content":"a"}"#), ("assistant", "\"b\"")];
        assert_eq!(response(Dialect::OpenAiChat, body), owned(&expected));

        let body = r#"{"error":null,"instructions":"i","output":[{"type":"message","role":"assistant"},
            {"type":"function_call"},{"type":"mcp_approval_request"}],"text":{"format":1},"tools":[{"name":"t"}]}"#;
        let expected = [
            ("system", "\"i\""),
            ("assistant", r#"{"type":"message","role":"assistant"}"#),
            ("tool_call", r#"{"type":"function_call"}"#),
            ("assistant", r#"{"type":"mcp_approval_request"}"#),
            ("tool_definition", r#"{"name":"t"}"#),
        ];
        assert_eq!(response(Dialect::OpenAiResponses, body), owned(&expected));

        let body = r#"{"role":"assistant","content":[{"type":"text","text":"t"},{"type":"tool_use","id":"1"},
            {"type":"web_search_tool_result"}]}"#;
        let expected = [
            ("assistant", r#"{"type":"text","text":"t"}"#),
            ("tool_call", r#"{"type":"tool_use","id":"1"}"#),
            ("tool", r#"{"type":"web_search_tool_result"}"#),
        ];
        assert_eq!(response(Dialect::Anthropic, body), owned(&expected));
        for dialect in DIALECTS {
            let body = r#"{"type":"error","error":{"message":"no"}}"#;
            assert_eq!(response(dialect, body), owned(&[("error", r#"{"message":"no"}"#)]));
        }
        let vectors = r#"{"data":[{"embedding":[0.1,0.2]}],"model":"m"}"#;
        assert_eq!(response(Dialect::OpenAiEmbeddings, vectors), []);
        let gemini = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"t"}]}}]}"#;
        let expected = [("assistant", r#"{"role":"model","parts":[{"text":"t"}]}"#)];
        assert_eq!(response(Dialect::Generic, gemini), owned(&expected));
        let ollama = r#"{"message":{"role":"assistant","content":"t"},"done":true}"#;
        assert_eq!(
            response(Dialect::Generic, ollama),
            owned(&[("assistant", r#"{"role":"assistant","content":"t"}"#)])
        );
    }

    #[test]
    fn repeated_names_hide_nothing() {
        let body = r#"{"messages":[{"role":"user","role":"system"}],"messages":["b"],"mess\u0061ges":["c"]}"#;
        let expected = [("system", r#"{"role":"user","role":"system"}"#), ("other", "\"b\""), ("other", "\"c\"")];
        assert_eq!(request(Dialect::OpenAiChat, body), owned(&expected));
        let body = r#"{"choices":[{"message":{"a":1},"message":{"a":2}}]}"#;
        assert_eq!(response(Dialect::OpenAiChat, body).len(), 2);
    }

    #[test]
    fn what_is_malformed_is_a_frame_alone() {
        let whole = r#"{"messages":[{"role":"user","content":"a\ud83d\ude00é"}],"system":"s"}"#;
        for cut in (0..whole.len()).filter(|&cut| whole.is_char_boundary(cut)) {
            for dialect in DIALECTS {
                assert_eq!(request(dialect, &whole[..cut]), [], "{cut}");
                assert_eq!(response(dialect, &whole[..cut]), [], "{cut}");
            }
        }
        for body in [
            "[]",
            "null",
            "\u{feff}{\"messages\":[\"a\"]}",
            "{\"messages\":[\"a\"]}{\"messages\":[\"a\"]}",
            "{\"messages\":[\"a\0\"]}",
            "{\"messages\":[\"a\"]}\0",
            "{\"messages\":[\"a\"],}",
            "{'messages':['a']}",
            "{\"messages\":[\"a\nb\"]}",
        ] {
            assert_eq!(read_request(Dialect::OpenAiChat, body).1, Split::default(), "{body:?}");
            assert_eq!(read_request(Dialect::OpenAiChat, body).1.frame(body.as_bytes()), body.as_bytes());
        }
        let escaped = r#"{"messages":["a\u0000"]}"#;
        assert_eq!(request(Dialect::OpenAiChat, escaped).len(), 1);
    }

    #[test]
    fn surprises_in_a_place_do_no_harm() {
        for value in
            ["null", "1", "true", "\"s\"", "{}", "[]", "[[]]", "[[{}]]", "[null]", "[\"\\ud800\"]", "[{\"role\":1}]"]
        {
            for name in ["messages", "tools", "system", "input", "prompt", "choices", "output", "content", "error"] {
                let body = format!("{{\"{name}\":{value},\"\\ud800\":1}}");
                for dialect in DIALECTS {
                    request(dialect, &body);
                    response(dialect, &body);
                }
            }
        }
    }

    #[test]
    fn parts_are_bounded() {
        let body = format!("{{\"messages\":[{}\"a\"],\"system\":\"s\"}}", "\"a\",".repeat(PARTS_MAX));
        assert_eq!(request(Dialect::OpenAiChat, &body).len(), PARTS_MAX);
    }

    #[test]
    fn depth_is_no_obstacle() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
            let body = format!("{{\"messages\":[{{\"role\":\"user\",\"content\":{deep}}}],\"x\":{deep}}}");
            assert_eq!(request(Dialect::OpenAiChat, &body)[0].0, "user");
            request(Dialect::OpenAiChat, &deep);
            response(Dialect::Generic, &deep);
        }
    }
}
