//! Answers in Anthropic's format: messages.

use serde_json::{Value, json};

use crate::answer::{Answer, Call, pieces};
use crate::ask::Ask;
use crate::behaviour::Behaviour;
use crate::delivery::{Events, Quoted, Rendered};

pub(crate) fn messages(ask: &Ask<'_>, behaviour: &Behaviour, id: &str) -> Rendered {
    let answer = Answer::to(ask, behaviour);
    if ask.streams() {
        return Rendered::Events(events(ask, behaviour, &answer, id));
    }
    let text = answer.text.as_ref().map(|text| json!({"type": "text", "text": text}));
    let call = answer.call.as_ref().map(|Call { name, arguments }| {
        let input: Value = serde_json::from_str(arguments).unwrap_or_default();
        json!({"type": "tool_use", "id": format!("toolu_{id}"), "name": name, "input": input})
    });
    let content: Vec<Value> = text.into_iter().chain(call).collect();
    let mut message = message(ask, &answer, id);
    message["content"] = json!(content);
    message["stop_reason"] = json!(stop_reason(&answer));
    message["usage"]["output_tokens"] = json!(answer.tokens_out);
    Rendered::Plain(message.to_string())
}

pub(crate) fn count_tokens(ask: &Ask<'_>) -> Rendered {
    let input_tokens = crate::answer::tokens(&ask.said().text);
    Rendered::Plain(json!({"input_tokens": input_tokens}).to_string())
}

fn stop_reason(answer: &Answer) -> &'static str {
    if answer.call.is_some() { "tool_use" } else { "end_turn" }
}

/// The message as it begins: nothing said yet.
fn message(ask: &Ask<'_>, answer: &Answer, id: &str) -> Value {
    json!({
        "model": ask.model,
        "id": format!("msg_{id}"),
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": {
            "input_tokens": answer.tokens_in,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 1,
            "service_tier": "standard",
        },
    })
}

fn events(ask: &Ask<'_>, behaviour: &Behaviour, answer: &Answer, id: &str) -> Events {
    let mut events = Events::default();
    let begun = message(ask, answer, id);
    events.named("message_start", format_args!(r#"{{"type":"message_start","message":{begun}}}"#));
    let mut index = 0;
    if let Some(text) = &answer.text {
        events.named(
            "content_block_start",
            format_args!(
                r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"text","text":""}}}}"#
            ),
        );
        events.named("ping", format_args!(r#"{{"type": "ping"}}"#));
        for piece in pieces(text, behaviour.chunk) {
            events.named(
                "content_block_delta",
                format_args!(
                    r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"text_delta","text":{}}}}}"#,
                    Quoted(piece)
                ),
            );
        }
        stop_block(&mut events, index);
        index += 1;
    }
    if let Some(Call { name, arguments }) = &answer.call {
        events.named(
            "content_block_start",
            format_args!(
                r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"tool_use","id":"toolu_{id}","name":{},"input":{{}}}}}}"#,
                Quoted(name)
            ),
        );
        // The real one begins with an empty piece, too.
        for piece in std::iter::once("").chain(pieces(arguments, behaviour.chunk)) {
            events.named(
                "content_block_delta",
                format_args!(
                    r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"input_json_delta","partial_json":{}}}}}"#,
                    Quoted(piece)
                ),
            );
        }
        stop_block(&mut events, index);
    }
    events.named(
        "message_delta",
        format_args!(
            r#"{{"type":"message_delta","delta":{{"stop_reason":"{}","stop_sequence":null}},"usage":{{"output_tokens":{}}}}}"#,
            stop_reason(answer),
            answer.tokens_out
        ),
    );
    events.named("message_stop", format_args!(r#"{{"type":"message_stop"}}"#));
    events
}

fn stop_block(events: &mut Events, index: usize) {
    events.named("content_block_stop", format_args!(r#"{{"type":"content_block_stop","index":{index}}}"#));
}
