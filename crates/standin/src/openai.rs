//! Answers in OpenAI's formats: chat completions, responses, completions,
//! embeddings.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::CREATED;
use crate::answer::{Answer, Call, pieces, tokens};
use crate::ask::Ask;
use crate::behaviour::Behaviour;
use crate::delivery::{Events, Quoted, Rendered};

/// `id` tells this answer from others, and the same request gives the same.
pub(crate) fn chat(ask: &Ask<'_>, behaviour: &Behaviour, id: &str) -> Rendered {
    let answer = Answer::to(ask, behaviour);
    if ask.streams() {
        Rendered::Events(chat_events(ask, behaviour, &answer, id))
    } else {
        Rendered::Plain(chat_plain(ask, &answer, id))
    }
}

fn finish(answer: &Answer) -> &'static str {
    if answer.call.is_some() { "tool_calls" } else { "stop" }
}

struct Usage<'a>(&'a Answer, usize);

impl fmt::Display for Usage<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prompt = self.0.tokens_in;
        let completion = self.0.tokens_out * self.1;
        write!(
            out,
            r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}"#,
            prompt + completion
        )
    }
}

fn chat_plain(ask: &Ask<'_>, answer: &Answer, id: &str) -> String {
    let content = match &answer.text {
        Some(text) => Quoted(text).to_string(),
        None => "null".to_owned(),
    };
    let calls = match &answer.call {
        Some(Call { name, arguments }) => format!(
            r#","tool_calls":[{{"id":"call_{id}","type":"function","function":{{"name":{},"arguments":{}}}}}]"#,
            Quoted(name),
            Quoted(arguments)
        ),
        None => String::new(),
    };
    let choices: Vec<String> = (0..ask.choices())
        .map(|index| {
            format!(
                r#"{{"index":{index},"message":{{"role":"assistant","content":{content},"refusal":null,"annotations":[]{calls}}},"logprobs":null,"finish_reason":"{}"}}"#,
                finish(answer)
            )
        })
        .collect();
    format!(
        r#"{{"id":"chatcmpl-{id}","object":"chat.completion","created":{CREATED},"model":{},"choices":[{}],"usage":{},"service_tier":"default","system_fingerprint":"fp_standin"}}"#,
        Quoted(&ask.model),
        choices.join(","),
        Usage(answer, ask.choices())
    )
}

fn chat_events(ask: &Ask<'_>, behaviour: &Behaviour, answer: &Answer, id: &str) -> Events {
    let mut events = Events::default();
    let head = format!(
        r#"{{"id":"chatcmpl-{id}","object":"chat.completion.chunk","created":{CREATED},"model":{},"service_tier":"default","system_fingerprint":"fp_standin","choices":["#,
        Quoted(&ask.model)
    );
    let tail = if ask.wants_usage() { r#"],"usage":null}"# } else { "]}" };
    let choices = ask.choices();
    let mut all = |delta: fmt::Arguments<'_>, finish: fmt::Arguments<'_>| {
        for index in 0..choices {
            events.data(format_args!(
                r#"{head}{{"index":{index},"delta":{delta},"logprobs":null,"finish_reason":{finish}}}{tail}"#
            ));
        }
    };
    let none = format_args!("null");
    let content = if answer.text.is_some() { r#""""# } else { "null" };
    all(format_args!(r#"{{"role":"assistant","content":{content},"refusal":null}}"#), none);
    for piece in pieces(answer.text.as_deref().unwrap_or_default(), behaviour.chunk) {
        all(format_args!(r#"{{"content":{}}}"#, Quoted(piece)), none);
    }
    if let Some(Call { name, arguments }) = &answer.call {
        all(
            format_args!(
                r#"{{"tool_calls":[{{"index":0,"id":"call_{id}","type":"function","function":{{"name":{},"arguments":""}}}}]}}"#,
                Quoted(name)
            ),
            none,
        );
        for piece in pieces(arguments, behaviour.chunk) {
            all(format_args!(r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":{}}}}}]}}"#, Quoted(piece)), none);
        }
    }
    all(format_args!("{{}}"), format_args!(r#""{}""#, finish(answer)));
    if ask.wants_usage() {
        events.data(format_args!(r#"{head}],"usage":{}}}"#, Usage(answer, choices)));
    }
    events.data(format_args!("[DONE]"));
    events
}

pub(crate) fn completions(ask: &Ask<'_>, behaviour: &Behaviour, id: &str) -> Rendered {
    let answer = Answer::to(ask, behaviour);
    let text = match (&answer.text, &answer.call) {
        (Some(text), _) => text.as_str(),
        (None, Some(call)) => call.arguments.as_str(),
        (None, None) => "",
    };
    let head = format!(
        r#"{{"id":"cmpl-{id}","object":"text_completion","created":{CREATED},"model":{},"system_fingerprint":"fp_standin","choices":["#,
        Quoted(&ask.model)
    );
    if !ask.streams() {
        let choices: Vec<String> = (0..ask.choices())
            .map(|index| {
                format!(r#"{{"text":{},"index":{index},"logprobs":null,"finish_reason":"stop"}}"#, Quoted(text))
            })
            .collect();
        return Rendered::Plain(format!(r#"{head}{}],"usage":{}}}"#, choices.join(","), Usage(&answer, ask.choices())));
    }
    let mut events = Events::default();
    for piece in pieces(text, behaviour.chunk) {
        for index in 0..ask.choices() {
            events.data(format_args!(
                r#"{head}{{"text":{},"index":{index},"logprobs":null,"finish_reason":null}}]}}"#,
                Quoted(piece)
            ));
        }
    }
    for index in 0..ask.choices() {
        events.data(format_args!(r#"{head}{{"text":"","index":{index},"logprobs":null,"finish_reason":"stop"}}]}}"#));
    }
    if ask.wants_usage() {
        events.data(format_args!(r#"{head}],"usage":{}}}"#, Usage(&answer, ask.choices())));
    }
    events.data(format_args!("[DONE]"));
    Rendered::Events(events)
}

pub(crate) fn responses(ask: &Ask<'_>, behaviour: &Behaviour, id: &str) -> Rendered {
    let answer = Answer::to(ask, behaviour);
    if ask.streams() {
        Rendered::Events(response_events(ask, behaviour, &answer, id))
    } else {
        let output = output_items(&answer, id);
        Rendered::Plain(response(ask, id, "completed", &output, Some(&answer)).to_string())
    }
}

fn raw_value(raw: Option<&serde_json::value::RawValue>) -> Option<Value> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

fn response(ask: &Ask<'_>, id: &str, status: &str, output: &[Value], answer: Option<&Answer>) -> Value {
    let usage = answer.map(|answer| {
        json!({
            "input_tokens": answer.tokens_in,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": answer.tokens_out,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answer.tokens_in + answer.tokens_out,
        })
    });
    json!({
        "id": format!("resp_{id}"),
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": false,
        "error": null,
        "incomplete_details": null,
        "instructions": raw_value(ask.instructions),
        "max_output_tokens": null,
        "model": ask.model,
        "output": output,
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "reasoning": {"effort": null, "summary": null},
        "service_tier": "default",
        "store": true,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": raw_value(ask.tools).unwrap_or_else(|| json!([])),
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage,
        "user": null,
        "metadata": raw_value(ask.metadata).unwrap_or_else(|| json!({})),
    })
}

fn message_item(id: &str, status: &str, content: &Value) -> Value {
    json!({"id": format!("msg_{id}"), "type": "message", "status": status, "role": "assistant", "content": content})
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
}

fn call_item(id: &str, status: &str, name: &str, arguments: &str) -> Value {
    json!({"id": format!("fc_{id}"), "type": "function_call", "status": status, "call_id": format!("call_{id}"), "name": name, "arguments": arguments})
}

fn output_items(answer: &Answer, id: &str) -> Vec<Value> {
    let text = answer.text.as_deref().map(|text| message_item(id, "completed", &json!([text_part(text)])));
    let call = answer.call.as_ref().map(|call| call_item(id, "completed", &call.name, &call.arguments));
    text.into_iter().chain(call).collect()
}

fn response_events(ask: &Ask<'_>, behaviour: &Behaviour, answer: &Answer, id: &str) -> Events {
    let mut events = Events::default();
    let mut sequence_number = 0;
    let mut emit = |kind: &str, fields: Value| {
        let mut event = json!({"type": kind, "sequence_number": sequence_number});
        if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
            event.extend(fields);
        }
        events.named(kind, format_args!("{event}"));
        sequence_number += 1;
    };
    let begun = response(ask, id, "in_progress", &[], None);
    emit("response.created", json!({"response": begun}));
    emit("response.in_progress", json!({"response": begun}));
    let output = output_items(answer, id);
    let mut output_index = 0;
    if let Some(text) = &answer.text {
        let item_id = format!("msg_{id}");
        let at = json!({"item_id": item_id, "output_index": output_index, "content_index": 0});
        let with = |fields: Value| {
            let mut at = at.clone();
            if let (Some(at), Value::Object(fields)) = (at.as_object_mut(), fields) {
                at.extend(fields);
            }
            at
        };
        let item = message_item(id, "in_progress", &json!([]));
        emit("response.output_item.added", json!({"output_index": output_index, "item": item}));
        emit("response.content_part.added", with(json!({"part": text_part("")})));
        for delta in pieces(text, behaviour.chunk) {
            emit("response.output_text.delta", with(json!({"delta": delta, "logprobs": []})));
        }
        emit("response.output_text.done", with(json!({"text": text, "logprobs": []})));
        emit("response.content_part.done", with(json!({"part": text_part(text)})));
        emit("response.output_item.done", json!({"output_index": output_index, "item": output[output_index]}));
        output_index += 1;
    }
    if let Some(Call { name, arguments }) = &answer.call {
        let item_id = format!("fc_{id}");
        let item = call_item(id, "in_progress", name, "");
        emit("response.output_item.added", json!({"output_index": output_index, "item": item}));
        for delta in pieces(arguments, behaviour.chunk) {
            emit(
                "response.function_call_arguments.delta",
                json!({"item_id": item_id, "output_index": output_index, "delta": delta}),
            );
        }
        emit(
            "response.function_call_arguments.done",
            json!({"item_id": item_id, "output_index": output_index, "name": name, "arguments": arguments}),
        );
        emit("response.output_item.done", json!({"output_index": output_index, "item": output[output_index]}));
    }
    let ended = response(ask, id, "completed", &output, Some(answer));
    emit("response.completed", json!({"response": ended}));
    events
}

/// As many as OpenAI's largest model gives.
const DIMENSIONS_MAX: usize = 3072;
const DIMENSIONS_DEFAULT: usize = 16;
/// As OpenAI.
const INPUTS_MAX: usize = 2048;

pub(crate) fn embeddings(ask: &Ask<'_>) -> Rendered {
    let input = raw_value(ask.input).unwrap_or_default();
    // One text, one list of tokens, or a list of either.
    let inputs: Vec<&Value> = match &input {
        Value::Array(items) if !items.iter().all(Value::is_number) => items.iter().collect(),
        one => vec![one],
    };
    let dimensions = ask.dimensions.unwrap_or(DIMENSIONS_DEFAULT).clamp(1, DIMENSIONS_MAX);
    let encoded = ask.encoding_format.as_deref() == Some("base64");
    let mut prompt_tokens = 0;
    let data: Vec<Value> = inputs
        .iter()
        .take(INPUTS_MAX)
        .enumerate()
        .map(|(index, input)| {
            let text = input.to_string();
            prompt_tokens += tokens(&text);
            let vector = vector(&text, dimensions);
            let embedding = if encoded {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let usage = json!({"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens});
    Rendered::Plain(json!({"object": "list", "data": data, "model": ask.model, "usage": usage}).to_string())
}

/// Numbers that follow from the text alone: multiples of 1/128 in [-1, 1), which
/// are the same in decimal, in 32 and in 64 bits.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut state = crate::hash(text.as_bytes());
    (0..dimensions)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let byte = u8::try_from(state >> 56).expect("eight bits are left");
            (f32::from(byte) - 128.0) / 128.0
        })
        .collect()
}
