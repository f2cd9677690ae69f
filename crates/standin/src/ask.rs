//! What a request says, as far as an answer depends on it.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The fields of all the providers' requests in one: none uses a name of
/// another's for something else. What only some answers need stays raw.
#[derive(Deserialize)]
pub(crate) struct Ask<'a> {
    #[serde(default)]
    pub(crate) model: String,
    #[serde(default)]
    pub(crate) stream: Option<bool>,
    #[serde(default)]
    pub(crate) stream_options: Option<StreamOptions>,
    #[serde(default)]
    pub(crate) n: Option<usize>,
    #[serde(default)]
    pub(crate) dimensions: Option<usize>,
    #[serde(default)]
    pub(crate) encoding_format: Option<String>,
    #[serde(borrow, default)]
    messages: Option<Vec<Turn<'a>>>,
    #[serde(borrow, default)]
    pub(crate) input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) prompt: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) tools: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) instructions: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(crate) struct StreamOptions {
    #[serde(default)]
    pub(crate) include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Turn<'a> {
    #[serde(default)]
    role: Option<String>,
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
}

/// The newest thing that the caller said.
pub(crate) struct Said {
    pub(crate) text: String,
    /// It is a tool's result, so that a `tool` answer ends its loop.
    pub(crate) tool_result: bool,
}

/// As OpenAI: at most 128, though an answer of more than a few is a test of size.
pub(crate) const CHOICES_MAX: usize = 128;

impl<'a> Ask<'a> {
    pub(crate) fn parse(body: &'a Bytes) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    pub(crate) fn choices(&self) -> usize {
        self.n.unwrap_or(1).clamp(1, CHOICES_MAX)
    }

    pub(crate) fn streams(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    pub(crate) fn wants_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)
    }

    /// The last message of the user or of a tool; for completions the prompt.
    pub(crate) fn said(&self) -> Said {
        if let Some(messages) = &self.messages {
            return last_said(messages);
        }
        if let Some(input) = self.input {
            if let Ok(items) = serde_json::from_str::<Vec<Turn<'_>>>(input.get()) {
                return last_said(&items);
            }
            return plain(text_of(input));
        }
        plain(self.prompt.map(text_of).unwrap_or_default())
    }

    /// The name of the first tool offered, and of the first property of its
    /// arguments.
    pub(crate) fn first_tool(&self) -> (String, String) {
        let tools: Value = self.tools.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        let tool = &tools[0];
        // Chat completions nest it; Responses and Anthropic do not.
        let tool = tool.get("function").unwrap_or(tool);
        let name = tool["name"].as_str().unwrap_or("lookup");
        let schema = tool.get("parameters").or_else(|| tool.get("input_schema")).unwrap_or(&Value::Null);
        let property = schema["properties"]
            .as_object()
            .and_then(|properties| properties.keys().next())
            .map_or("query", String::as_str);
        (name.to_owned(), property.to_owned())
    }
}

fn plain(text: String) -> Said {
    Said { text, tool_result: false }
}

fn last_said(turns: &[Turn<'_>]) -> Said {
    for turn in turns.iter().rev() {
        let content = turn.content.or(turn.output);
        match (turn.role.as_deref(), turn.kind.as_deref()) {
            (Some("user"), _) => {
                let text = content.map(text_of).unwrap_or_default();
                let tool_result = content.is_some_and(|raw| raw.get().contains("\"tool_result\""));
                return Said { text, tool_result };
            }
            (Some("tool"), _) | (None, Some("function_call_output")) => {
                return Said { text: content.map(text_of).unwrap_or_default(), tool_result: true };
            }
            _ => {}
        }
    }
    plain(String::new())
}

/// The text in a message's content: a string, or parts of which some have text.
fn text_of(raw: &RawValue) -> String {
    match serde_json::from_str(raw.get()) {
        Ok(Value::String(text)) => text,
        Ok(Value::Array(parts)) => {
            let texts: Vec<String> = parts.iter().filter_map(part_text).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

fn part_text(part: &Value) -> Option<String> {
    if let Some(text) = part.as_str() {
        return Some(text.to_owned());
    }
    if let Some(text) = part["text"].as_str() {
        return Some(text.to_owned());
    }
    match &part["content"] {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let texts: Vec<String> = parts.iter().filter_map(part_text).collect();
            Some(texts.join("\n"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &'static str) -> (String, bool) {
        let body = Bytes::from_static(body.as_bytes());
        let said = Ask::parse(&body).expect("valid").said();
        (said.text, said.tool_result)
    }

    #[test]
    fn the_last_user_message_is_found_in_each_shape() {
        for body in [
            r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"x\ny"}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"u"}},{"type":"text","text":"y"}]}]}"#,
            r#"{"input":"x\ny"}"#,
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"x"},{"type":"input_text","text":"y"}]}]}"#,
            r#"{"prompt":["x","y"]}"#,
        ] {
            assert_eq!(said(body), ("x\ny".to_owned(), false), "{body}");
        }
    }

    #[test]
    fn a_tool_result_is_known_in_each_shape() {
        for body in [
            r#"{"messages":[{"role":"user","content":"q"},{"role":"tool","tool_call_id":"c","content":"r"}]}"#,
            r#"{"input":[{"role":"user","content":"q"},{"type":"function_call_output","call_id":"c","output":"r"}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"r"}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":[{"type":"text","text":"r"}]}]}]}"#,
        ] {
            assert_eq!(said(body), ("r".to_owned(), true), "{body}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for body in ["", "[]x", "{\"messages\":3}", "{\"model\":", "null"] {
            assert!(Ask::parse(&Bytes::from_static(body.as_bytes())).is_err(), "{body}");
        }
    }
}
