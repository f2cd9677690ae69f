//! What an assembled answer must be, in every dialect, however the stream was cut.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Dialect, Events};
use super::{Assembled, Assembler, Progress, UNPLACED};

const DIALECTS: [Dialect; 6] = [
    Dialect::OpenAiChat,
    Dialect::OpenAiCompletions,
    Dialect::OpenAiResponses,
    Dialect::OpenAiEmbeddings,
    Dialect::Anthropic,
    Dialect::Generic,
];

fn assemble<'a>(dialect: Dialect, chunks: impl IntoIterator<Item = &'a [u8]>) -> Assembled {
    let mut events = Events::new();
    let mut assembler = Assembler::new(dialect);
    for chunk in chunks {
        for event in events.feed(chunk) {
            let _ = assembler.event(&event);
        }
    }
    if let Some(event) = events.finish() {
        let _ = assembler.event(&event);
    }
    assembler.finish()
}

fn stream(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

fn body(assembled: &Assembled) -> Value {
    assembled.body.as_ref().map_or(Value::Null, |body| serde_json::from_slice(body).unwrap())
}

fn assembled(dialect: Dialect, events: &[Value]) -> Value {
    body(&assemble(dialect, [stream(events).as_bytes()]))
}

fn chunk(delta: Value) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

/// A text in pieces of `size` characters.
fn pieces(text: &str, size: usize) -> Vec<String> {
    text.chars().collect::<Vec<_>>().chunks(size).map(|piece| piece.iter().collect()).collect()
}

/// What is said of each chunk in turn, when every one is read, and when those that repeat another are not.
#[test]
fn a_chunk_that_repeats_another_but_for_its_piece_says_the_same_as_if_it_were_read() {
    let padded = |chunk: Value, padding: &str| {
        let text = chunk.to_string();
        format!("{},\"obfuscation\":\"{padding}\"}}", text.strip_suffix('}').unwrap())
    };
    let said = |piece: &str| chunk(json!({ "content": piece })).to_string();
    let two = |piece: &str| {
        json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": piece}},
            {"index": 1, "delta": {"content": piece}}]})
        .to_string()
    };
    let other = |piece: &str| json!({"id": "c", "note": piece, "choices": [{"index": 0, "delta": {"content": "x"}}]});
    let bare = |piece: &str| format!("{{\"choices\":[{{\"delta\":{{\"content\":\"{piece}\"}}}}]}}");
    for chunks in [
        vec![said("a"), said("b"), said("jane@"), said("example.com"), said("é\n\"\\{}"), said(""), said("z")],
        vec![said("delta"), said("content"), said("delta"), said("c"), said("m"), said("index"), said("a")],
        vec![two("a"), two("b"), said("c"), two("d"), said("e"), said("f"), said("g")],
        vec![padded(chunk(json!({"content": "a"})), "x"), padded(chunk(json!({"content": "b"})), "Yz9"), said("c")],
        vec![other("p").to_string(), other("q").to_string(), other("q").to_string(), other("q").to_string()],
        vec![
            said("a"),
            said("b"),
            said("c").replace("\"c\"}", "\"c\",\"content\":\"d\"}"),
            said("e").replace("\"e\"", "\"e\", \"tool\":\"f\""),
            said("g").replace("\"g\"", "\"\\ud800\""),
            said("h").replace("null", "\"stop\""),
            said("i"),
        ],
        // Pieces that look like what stands between strings; and the same as text, but no JSON.
        vec![bare(":"), bare(":"), bare("a\":"), bare("b"), bare(","), bare("c\",\"x\":\"d"), bare("e"), bare("f\"g")],
        vec![said("a"), said("b"), said("c").replace("\"c\"", "\"c\"\""), said("d").replace("\"d\"", "\""), said("e")],
    ] {
        // A comment's worth of blank keeps an event from repeating one without; JSON does not mind it.
        let read: Vec<String> =
            chunks.iter().zip(1..).map(|(chunk, n)| chunk.replacen('{', &format!("{{{}", " ".repeat(n)), 1)).collect();
        let body = |chunks: &[String]| {
            let stream: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
            let body = assemble(Dialect::OpenAiChat, [stream.as_bytes()]).body.unwrap();
            // Where a chunk is no JSON, it is kept as it came, blanks included.
            String::from_utf8(body).unwrap().replace(' ', "")
        };
        assert_eq!(body(&chunks), body(&read), "{chunks:?}");
    }
}

#[test]
fn a_chat_is_as_if_it_had_not_been_streamed() {
    let mut events = vec![json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "obfuscation": "xyz", "choices": [{"index": 0, "logprobs": null, "finish_reason": null,
            "delta": {"role": "assistant", "content": "", "refusal": null}}]})];
    events.push(json!({"id": "c", "choices": [{"index": 1, "delta": {"role": "assistant", "content": null}}]}));
    events.extend(pieces("jane@example.com 😀", 3).into_iter().map(|piece| {
        json!({"id": "c", "obfuscation": "q", "choices": [{"index": 0, "delta": {"content": piece},
            "logprobs": {"content": [{"token": piece, "logprob": -0.5}], "refusal": null}}]})
    }));
    let calls = [
        json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "send", "arguments": ""}}),
        json!({"index": 0, "function": {"arguments": "{\"to\":\"ja"}}),
        json!({"index": 1, "id": "call_2", "type": "function", "function": {"name": "stop", "arguments": "{}"}}),
        json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "send", "arguments": "ne\"}"}}),
    ];
    events.extend(calls.into_iter().map(|call| json!({"choices": [{"index": 1, "delta": {"tool_calls": [call]}}]})));
    events.push(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
    events.push(json!({"choices": [{"index": 1, "delta": {}, "finish_reason": "tool_calls"}]}));
    events.push(json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}));

    let text = stream(&events) + "data: [DONE]\n\n";
    let answer = assemble(Dialect::OpenAiChat, [text.as_bytes()]);
    assert!(answer.complete && answer.stopped && !answer.failed && !answer.unplaced);
    let logprobs: Vec<_> =
        pieces("jane@example.com 😀", 3).iter().map(|piece| json!({"token": piece, "logprob": -0.5})).collect();
    let expected = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0,
            "message": {"role": "assistant", "content": "jane@example.com 😀", "refusal": null},
            "logprobs": {"content": logprobs, "refusal": null}, "finish_reason": "stop"},
        {"index": 1, "message": {"role": "assistant", "content": null, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "send", "arguments": "{\"to\":\"jane\"}"}},
            {"id": "call_2", "type": "function", "function": {"name": "stop", "arguments": "{}"}}]},
            "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4}});
    // The order of members is the provider's too.
    assert_eq!(String::from_utf8(answer.body.unwrap()).unwrap(), expected.to_string());
}

#[test]
fn tool_calls_with_one_index_or_none_are_told_apart_by_id() {
    for index in [json!(0), Value::Null] {
        let call = |id: &str, piece: &str| {
            chunk(json!({"tool_calls": [{"index": index, "id": id, "function": {"arguments": piece}}]}))
        };
        let events = [call("a", "{\"x\":"), call("", "1}"), call("b", "{\"y\""), call("b", ":2}")];
        let answer = assembled(Dialect::OpenAiChat, &events);
        assert_eq!(
            answer["choices"][0]["message"]["tool_calls"],
            json!([{"id": "a", "function": {"arguments": "{\"x\":1}"}}, {"id": "b", "function": {"arguments": "{\"y\":2}"}}])
        );
        assert_eq!(answer.get(UNPLACED), None);
    }
}

#[test]
fn other_servers_chats_are_understood() {
    // Content as a list of blocks, as Mistral has it.
    let block = |text: &str| chunk(json!({"content": [{"type": "text", "text": text}]}));
    let answer =
        assembled(Dialect::OpenAiChat, &[chunk(json!({"content": ""})), block("4111 1111"), block(" 1111 1111")]);
    assert_eq!(answer["choices"][0]["message"]["content"], json!([{"type": "text", "text": "4111 1111 1111 1111"}]));
    // Reasoning, by several names; details by index.
    let think = |text: &str| {
        chunk(json!({"role": "assistant", "reasoning_content": text,
            "reasoning_details": [{"type": "reasoning.text", "text": text, "index": 0, "format": "f"}]}))
    };
    let answer = assembled(Dialect::OpenAiChat, &[think("a"), think("b")]);
    assert_eq!(
        answer["choices"][0]["message"],
        json!({"role": "assistant", "reasoning_content": "ab",
            "reasoning_details": [{"type": "reasoning.text", "text": "ab", "index": 0, "format": "f"}]})
    );
    // The message so far with each delta, as Perplexity has it.
    let both = |delta: &str, all: &str| json!({"choices": [{"index": 0, "delta": {"content": delta}, "message": {"role": "assistant", "content": all}}]});
    let answer = assembled(Dialect::OpenAiChat, &[both("a", "a"), both("b", "ab")]);
    assert_eq!(answer, json!({"choices": [{"index": 0, "message": {"content": "ab"}}]}));
    // The legacy call.
    let call = |piece: &str| chunk(json!({"function_call": {"name": "f", "arguments": piece}}));
    let answer = assembled(Dialect::OpenAiChat, &[call("{"), call("}")]);
    assert_eq!(answer["choices"][0]["message"], json!({"function_call": {"name": "f", "arguments": "{}"}}));
}

#[test]
fn completions_grow_by_choice() {
    let piece = |index: u64, text: &str| {
        json!({"id": "c", "object": "text_completion", "choices": [{"index": index, "text": text,
            "logprobs": {"tokens": [text]}, "finish_reason": null}]})
    };
    let answer = assembled(Dialect::Generic, &[piece(1, "x"), piece(0, "a"), piece(1, "y"), piece(0, "a")]);
    let choice = |index: u64, text: &str, tokens: [&str; 2]| json!({"index": index, "text": text, "logprobs": {"tokens": tokens}, "finish_reason": null});
    assert_eq!(
        answer,
        json!({"id": "c", "object": "text_completion",
            "choices": [choice(0, "aa", ["a", "a"]), choice(1, "xy", ["x", "y"])]})
    );
}

fn anthropic(text: &str, input: &str, size: usize) -> Vec<Value> {
    let mut events = vec![
        json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "c",
            "content": [], "stop_reason": null, "usage": {"input_tokens": 3, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
    ];
    let delta = |index: u64, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    events
        .extend(pieces(text, size).iter().map(|piece| delta(0, json!({"type": "thinking_delta", "thinking": piece}))));
    events.push(delta(0, json!({"type": "signature_delta", "signature": "sig"})));
    events.push(json!({"type": "content_block_stop", "index": 0}));
    events.push(json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}));
    events.push(json!({"type": "ping"}));
    events.extend(pieces(text, size).iter().map(|piece| delta(1, json!({"type": "text_delta", "text": piece}))));
    events.push(delta(1, json!({"type": "citations_delta", "citation": {"cited_text": "c"}})));
    events.push(json!({"type": "content_block_stop", "index": 1}));
    events.push(json!({"type": "content_block_start", "index": 2,
        "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}}));
    events.extend(
        pieces(input, size).iter().map(|piece| delta(2, json!({"type": "input_json_delta", "partial_json": piece}))),
    );
    events.push(json!({"type": "content_block_stop", "index": 2}));
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}));
    events.push(json!({"type": "message_stop"}));
    events
}

#[test]
fn an_anthropic_message_is_as_if_it_had_not_been_streamed() {
    let text = "jane@example.com 😀";
    let input = json!({"to": text, "n": [1, 2]});
    for size in 1..30 {
        let answer = assemble(Dialect::Anthropic, [stream(&anthropic(text, &input.to_string(), size)).as_bytes()]);
        assert!(answer.complete && answer.stopped && !answer.failed && !answer.unplaced);
        let expected = json!({"id": "m", "type": "message", "role": "assistant", "model": "c", "content": [
            {"type": "thinking", "thinking": text, "signature": "sig"},
            {"type": "text", "text": text, "citations": [{"cited_text": "c"}]},
            {"type": "tool_use", "id": "t", "name": "f", "input": input}],
            "stop_reason": "tool_use", "usage": {"input_tokens": 3, "output_tokens": 9}});
        assert_eq!(String::from_utf8(answer.body.unwrap()).unwrap(), expected.to_string());
    }
}

#[test]
fn an_anthropic_message_may_break_off_or_fail() {
    let events = anthropic("text", "{\"to\":\"jane\"}", 100);
    let broken = |input: &str| {
        let mut events = anthropic("text", input, 3);
        events.truncate(events.len() - 3);
        assembled(Dialect::Anthropic, &events)["content"][2].clone()
    };
    assert_eq!(broken("{\"to\":\"ja")["partial_json"], "{\"to\":\"ja");
    assert_eq!(broken("{\"to\":\"ja")["input"], json!({}));
    // Parsed, but not only: an account number must not lose its digits, nor a repeated member its first value.
    let exact = "{\"n\":123456789012345678901234567890}";
    assert_eq!(broken(exact)["partial_json"], exact);
    let repeated = "{\"a\":\"x\",\"a\":\"y\"}";
    assert_eq!(
        broken(repeated),
        json!({"type": "tool_use", "id": "t", "name": "f", "input": {"a": "y"}, "partial_json": repeated})
    );
    for cut in 0..events.len() - 1 {
        let answer = assemble(Dialect::Anthropic, [stream(&events[..cut]).as_bytes()]);
        assert!(!answer.complete && !answer.unplaced);
        assert_eq!(answer.body.is_none(), cut == 0);
    }
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}});
    let answer = assemble(Dialect::Anthropic, [stream(&[events[0].clone(), error.clone()]).as_bytes()]);
    assert!(answer.complete && answer.failed);
    assert_eq!(body(&answer)["error"], error["error"]);
    assert_eq!(assembled(Dialect::Anthropic, std::slice::from_ref(&error)), error);
    // Only the event's name says what it is.
    let named = b"event: error\ndata: {\"error\":{\"message\":\"busy\"}}\n\n";
    assert!(assemble(Dialect::Anthropic, [&named[..]]).failed);
    // Beginnings that are missing or come twice.
    let delta = json!({"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta", "text": "a"}});
    let start = json!({"type": "content_block_start", "index": 3, "content_block": {"type": "text", "text": "b"}});
    assert_eq!(
        assembled(Dialect::Anthropic, &[delta.clone(), delta.clone(), start, delta]),
        json!({"content": [{"type": "text", "text": "aa"}, {"type": "text", "text": "ba"}]})
    );
}

fn responses(text: &str, arguments: &str, size: usize) -> Vec<Value> {
    let item = |index: u64, kind: &str, item: Value| json!({"type": format!("response.output_item.{kind}"), "sequence_number": 1, "output_index": index, "item": item});
    let message = |status: &str, content: Value| json!({"id": "msg", "type": "message", "status": status, "role": "assistant", "content": content});
    let call = |status: &str, arguments: &str| json!({"id": "fc", "type": "function_call", "status": status, "call_id": "c", "name": "f", "arguments": arguments});
    let reasoning = |summary: Value| json!({"id": "rs", "type": "reasoning", "summary": summary});
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
    let response = |status: &str, output: Value| json!({"id": "r", "object": "response", "status": status, "model": "m", "output": output});
    let about = |kind: &str, index: u64, more: Value| {
        let id = ["rs", "msg", "fc"][index as usize];
        let kind = format!("response.{kind}");
        let mut event = json!({"type": kind, "sequence_number": 2, "output_index": index, "item_id": id});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let summary = json!({"type": "summary_text", "text": text});
    let mut events = vec![
        json!({"type": "response.created", "response": response("in_progress", json!([]))}),
        json!({"type": "response.in_progress", "response": response("in_progress", json!([]))}),
        item(0, "added", reasoning(json!([]))),
        about(
            "reasoning_summary_part.added",
            0,
            json!({"summary_index": 0, "part": {"type": "summary_text", "text": ""}}),
        ),
    ];
    events.extend(pieces(text, size).iter().map(|piece| {
        about("reasoning_summary_text.delta", 0, json!({"summary_index": 0, "delta": piece, "obfuscation": "x"}))
    }));
    events.push(about("reasoning_summary_text.done", 0, json!({"summary_index": 0, "text": text})));
    events.push(about("reasoning_summary_part.done", 0, json!({"summary_index": 0, "part": summary})));
    events.push(item(0, "done", reasoning(json!([summary]))));
    events.push(item(1, "added", message("in_progress", json!([]))));
    events.push(about("content_part.added", 1, json!({"content_index": 0, "part": part("")})));
    events.extend(pieces(text, size).iter().map(|piece| {
        about("output_text.delta", 1, json!({"content_index": 0, "delta": piece, "logprobs": [], "obfuscation": "x"}))
    }));
    events.push(about("output_text.done", 1, json!({"content_index": 0, "text": text, "logprobs": []})));
    events.push(about("content_part.done", 1, json!({"content_index": 0, "part": part(text)})));
    events.push(item(1, "done", message("completed", json!([part(text)]))));
    events.push(item(2, "added", call("in_progress", "")));
    events.extend(
        pieces(arguments, size).iter().map(|piece| about("function_call_arguments.delta", 2, json!({"delta": piece}))),
    );
    events.push(about("function_call_arguments.done", 2, json!({"arguments": arguments, "name": "f"})));
    events.push(item(2, "done", call("completed", arguments)));
    let output =
        json!([reasoning(json!([summary])), message("completed", json!([part(text)])), call("completed", arguments)]);
    events.push(json!({"type": "response.completed", "response": response("completed", output)}));
    events
}

#[test]
fn a_response_is_what_its_last_event_carries() {
    for size in [1, 3, 100] {
        let events = responses("jane@example.com 😀", "{\"a\":1}", size);
        let answer = assemble(Dialect::OpenAiResponses, [stream(&events).as_bytes()]);
        assert!(answer.complete && !answer.failed && !answer.unplaced);
        assert_eq!(body(&answer), events.last().unwrap()["response"]);
    }
}

#[test]
fn a_response_that_broke_off_is_put_together() {
    let text = "jane@example.com 😀";
    let events = responses(text, "{\"a\":1}", 4);
    let whole = &events.last().unwrap()["response"]["output"];
    for cut in 0..events.len() {
        let answer = assemble(Dialect::OpenAiResponses, [stream(&events[..cut]).as_bytes()]);
        assert!(!answer.complete || cut == events.len());
        assert!(!answer.unplaced, "{cut}: {}", body(&answer));
    }
    let broken = assembled(Dialect::OpenAiResponses, &events[..events.len() - 1]);
    assert_eq!(&broken["output"], whole);
    // In the middle of the text.
    let middle = events.iter().position(|event| event["type"] == "response.output_text.delta").unwrap() + 3;
    let broken = assembled(Dialect::OpenAiResponses, &events[..middle]);
    assert_eq!(broken["status"], "in_progress");
    assert_eq!(broken["output"][1]["content"][0]["text"], text.chars().take(12).collect::<String>());
    // With only the deltas.
    let deltas: Vec<_> =
        events.iter().filter(|event| event["type"].as_str().unwrap().ends_with(".delta")).cloned().collect();
    assert_eq!(
        assembled(Dialect::OpenAiResponses, &deltas),
        json!({"output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": text}]},
            {"type": "message", "content": [{"type": "output_text", "text": text}]},
            {"arguments": "{\"a\":1}"}]})
    );
}

#[test]
fn a_last_event_that_says_less_than_the_stream_does_not_win() {
    let mut events = responses("secret", "{}", 2);
    let last = events.len() - 1;
    let output = events[last]["response"]["output"].clone();
    events[last]["response"]["output"] = json!([]);
    assert_eq!(assembled(Dialect::OpenAiResponses, &events)["output"], output);
    events[last]["response"]["output"] =
        json!([{"type": "message", "content": [{"type": "output_text", "text": "other"}]}]);
    let answer = assembled(Dialect::OpenAiResponses, &events);
    assert_eq!(answer["output"][0]["content"][0]["text"], "other");
    assert!(answer[UNPLACED]["text"].as_str().unwrap().contains("secret"));
}

#[test]
fn responses_may_fail() {
    let events = responses("a", "{}", 1);
    let failed = json!({"type": "response.failed", "response": {"id": "r", "status": "failed", "error": {"message": "no"}, "output": []}});
    let answer = assemble(Dialect::OpenAiResponses, [stream(&[events[0].clone(), failed]).as_bytes()]);
    assert!(answer.complete && answer.failed);
    assert_eq!(body(&answer)["error"]["message"], "no");
    let error = json!({"type": "error", "code": "server_error", "message": "no", "param": null, "sequence_number": 3});
    let answer = assemble(Dialect::OpenAiResponses, [stream(&[events[0].clone(), error]).as_bytes()]);
    assert!(answer.complete && answer.failed);
    assert_eq!(body(&answer)["error"], json!({"code": "server_error", "message": "no", "param": null}));
    let incomplete = json!({"type": "response.incomplete", "response": {"id": "r", "output": []}});
    let answer = assemble(Dialect::OpenAiResponses, [stream(&[incomplete]).as_bytes()]);
    assert!(answer.complete && !answer.failed);
}

#[test]
fn a_chat_may_fail_or_lack_its_end() {
    let failed = stream(&[chunk(json!({"content": "a"})), json!({"error": {"message": "no"}})]);
    let answer = assemble(Dialect::OpenAiChat, [failed.as_bytes()]);
    assert!(answer.failed && !answer.complete);
    assert_eq!(body(&answer)["error"]["message"], "no");
    assert_eq!(body(&answer)["choices"][0]["message"]["content"], "a");
    let stopped = stream(&[json!({"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]})]);
    let answer = assemble(Dialect::OpenAiChat, [stopped.as_bytes()]);
    assert!(answer.stopped && !answer.complete);
    // The blank line after the last event is missing.
    assert!(assemble(Dialect::OpenAiChat, [(stopped + "data: [DONE]").as_bytes()]).complete);
}

#[test]
fn the_terminal_event_is_told_as_it_comes() {
    for (dialect, data, progress) in [
        (Dialect::OpenAiChat, "[DONE]", Progress::Terminal),
        (Dialect::Generic, " [DONE] ", Progress::Terminal),
        (Dialect::OpenAiChat, "{\"choices\":[]}", Progress::More),
        (Dialect::OpenAiResponses, "{\"type\":\"response.completed\",\"response\":{}}", Progress::Terminal),
        (Dialect::OpenAiResponses, "{\"type\":\"response.created\",\"response\":{}}", Progress::More),
        (Dialect::OpenAiResponses, "{\"type\":\"error\"}", Progress::Terminal),
        (Dialect::Anthropic, "{\"type\":\"message_stop\"}", Progress::Terminal),
        (Dialect::Anthropic, "{\"type\":\"error\",\"error\":{}}", Progress::Terminal),
        (Dialect::Anthropic, "{\"type\":\"message_delta\"}", Progress::More),
        (Dialect::Anthropic, "{\"type\":", Progress::More),
    ] {
        let event = Events::new().feed(format!("data: {data}\n\n").as_bytes()).remove(0);
        assert_eq!(Assembler::new(dialect).event(&event), progress, "{data}");
    }
}

#[test]
fn a_stream_on_the_wrong_path_is_recognized() {
    for dialect in DIALECTS {
        let answer = assembled(dialect, &anthropic("text", "{}", 2));
        assert_eq!(answer["content"][1]["text"], "text");
        let events = responses("text", "{}", 2);
        assert_eq!(assembled(dialect, &events), events.last().unwrap()["response"]);
        let answer = assembled(dialect, &[chunk(json!({"content": "te"})), chunk(json!({"content": "xt"}))]);
        assert_eq!(answer["choices"][0]["message"]["content"], "text");
    }
}

#[test]
fn unknown_streams_are_put_together_by_guessing() {
    let gemini = |text: &str, tokens: u64| {
        json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}],
            "usageMetadata": {"candidatesTokenCount": tokens}, "modelVersion": "g"})
    };
    assert_eq!(
        assembled(Dialect::Generic, &[gemini("jane@", 1), gemini("example.com", 5)]),
        gemini("jane@example.com", 5)
    );
    let cohere =
        |text: &str| json!({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}});
    assert_eq!(assembled(Dialect::Generic, &[cohere("a"), cohere("b")]), cohere("ab"));
    let legacy = |text: &str, stop: Value| json!({"completion": text, "stop_reason": stop});
    assert_eq!(
        assembled(Dialect::Generic, &[legacy("a", Value::Null), legacy("b", json!("stop"))]),
        legacy("ab", json!("stop"))
    );
    let text = assemble(Dialect::Generic, [&b"data: jane@\n\ndata: example.com\n\ndata: [DONE]\n\n"[..]]);
    assert_eq!(body(&text), json!({"text": "jane@example.com"}));
    assert!(text.complete);
    assert_eq!(body(&assemble(Dialect::Generic, [&b"data: \"ja\"\n\ndata: \"ne\"\n\n"[..]])), json!({"text": "jane"}));
    // What the guess would lose is kept, and whole.
    let odd =
        assembled(Dialect::Generic, &[json!({"a": {"b": "ja"}}), json!({"a": {"b": "ne"}}), json!({"a": {"b": "!"}})]);
    assert_eq!(odd, json!({"a": {"b": "!"}, UNPLACED: {"b": "jane!"}}));
}

#[test]
fn indices_out_of_bounds_keep_their_text() {
    for index in [json!(4096), json!(u64::MAX), json!(-1), json!(1.5), json!("0"), json!([0]), json!(1e300)] {
        let said = |answer: &Value, name: &str| answer[UNPLACED][name].as_str().unwrap_or_default().to_owned();
        let piece = |text: &str| json!({"choices": [{"index": index, "delta": {"content": text}}]});
        assert_eq!(said(&assembled(Dialect::OpenAiChat, &[piece("ja"), piece("ne")]), "content"), "jane");
        let piece = |text: &str| chunk(json!({"tool_calls": [{"index": index, "function": {"arguments": text}}]}));
        assert_eq!(said(&assembled(Dialect::OpenAiChat, &[piece("ja"), piece("ne")]), "arguments"), "jane");
        let piece = |text: &str| json!({"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}});
        assert_eq!(said(&assembled(Dialect::Anthropic, &[piece("ja"), piece("ne")]), "text"), "jane");
        let piece = |text: &str| json!({"type": "response.output_text.delta", "output_index": index, "content_index": 0, "delta": text});
        assert_eq!(said(&assembled(Dialect::OpenAiResponses, &[piece("ja"), piece("ne")]), "output_text"), "jane");
        let piece = |text: &str| json!({"type": "response.output_text.delta", "output_index": 0, "content_index": index, "delta": text});
        assert_eq!(said(&assembled(Dialect::OpenAiResponses, &[piece("ja"), piece("ne")]), "output_text"), "jane");
    }
}

#[test]
fn nothing_came() {
    for dialect in DIALECTS {
        for stream in ["", ": comment\n\n", "data:\n\n", "event: ping\ndata: {\"type\":\"ping\"}\n\n", "data: null\n\n"]
        {
            if dialect != Dialect::OpenAiChat && dialect != Dialect::OpenAiCompletions || !stream.contains("ping") {
                let answer = assemble(dialect, [stream.as_bytes()]);
                assert!(answer.body.is_none() || dialect == Dialect::Generic || dialect == Dialect::OpenAiEmbeddings);
                assert!(!answer.complete);
            }
        }
    }
    let answer = assemble(Dialect::OpenAiChat, [&b"data: [DONE]\n\n"[..]]);
    assert!(answer.body.is_none() && answer.complete);
}

#[test]
fn hostile_data_is_kept_as_text() {
    let deep = "[".repeat(100_000);
    for data in ["{\"choices\":", "secret", &deep, "{\"a\":1e999}", "\"secret\"", "[\"secret\"]", "{\"a\":1}{\"b\":2}"]
    {
        for dialect in DIALECTS {
            let answer = assemble(dialect, [format!("data: {data}\n\n").as_bytes()]);
            let body = body(&answer).to_string();
            assert!(body.contains("secret") || !data.contains("secret"));
            assert!(answer.body.is_some());
        }
    }
    // Members said twice, half a surrogate pair, bytes that are not UTF-8.
    let twice = b"data: {\"choices\":[{\"delta\":{\"content\":\"se\",\"content\":\"cret\xff\\ud800\"}}]}\n\n";
    let answer = body(&assemble(Dialect::OpenAiChat, [&twice[..]]));
    assert_eq!(answer["choices"][0]["message"]["content"], "cret\u{fffd}\u{fffd}");
    assert_eq!(answer[UNPLACED]["content"], "se");
    // Our own member's name.
    let answer = assembled(Dialect::OpenAiChat, &[json!({UNPLACED: "theirs", "choices": 7})]);
    assert!(answer[UNPLACED].to_string().contains("theirs"));
}

#[test]
fn floods_take_linear_time_and_place() {
    let flood = |event: &dyn Fn(usize) -> Value| -> Vec<Value> { (0..6_000).map(event).collect() };
    for dialect in [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::Anthropic, Dialect::Generic] {
        let floods = [
            flood(
                &|n| json!({"choices": [{"index": n, "delta": {"tool_calls": [{"index": n, "id": n.to_string()}]}}]}),
            ),
            flood(&|n| {
                chunk(json!({"tool_calls": [{"index": 0, "id": n.to_string(), "function": {"arguments": "x"}}]}))
            }),
            flood(&|n| chunk(json!({"a": [{"index": 4095 - n % 4096}], n.to_string(): "x"}))),
            flood(&|n| json!({"type": "content_block_start", "index": n % 5000, "content_block": {"type": "text"}})),
            flood(
                &|n| json!({"type": "response.output_text.delta", "output_index": n % 5000, "content_index": n % 70, "delta": "x"}),
            ),
            flood(&|n| json!({"type": format!("response.{n}.delta"), "output_index": 0, "delta": "x"})),
            flood(
                &|n| json!({"a": [{"index": 4095}, {"index": n}], "b": [[{"index": n}]], n.to_string(): n.to_string()}),
            ),
            flood(&|_| json!({"message": "x", "choices": [{"message": {"content": "x"}}]})),
            flood(&|n| json!({"x": n.to_string()})),
        ];
        for events in floods {
            let text = stream(&events);
            let answer = assemble(dialect, [text.as_bytes()]);
            assert!(answer.body.unwrap().len() < 4 * text.len());
        }
    }
}

/// Streams that are nearly right: the dialects' own names in any arrangement, with a different text in each place.
fn nearly() -> impl Strategy<Value = Vec<Value>> {
    let names = proptest::sample::select(vec![
        "choices",
        "delta",
        "content",
        "index",
        "message",
        "tool_calls",
        "function",
        "arguments",
        "text",
        "logprobs",
        "usage",
        "error",
        "content_block",
        "partial_json",
        "thinking",
        "citation",
        "response",
        "output",
        "item",
        "part",
        "annotation",
        "output_index",
        "content_index",
        "summary_index",
        "refusal",
        "x",
        "input",
        "name",
    ]);
    let leaf = prop_oneof![
        4 => Just(json!("?")),
        1 => Just(Value::Null),
        1 => (0u64..3).prop_map(Value::from),
        1 => Just(json!(5000)),
    ];
    let value = leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            proptest::collection::vec((names.clone(), inner), 0..5)
                .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    });
    let kinds = proptest::sample::select(vec![
        "",
        "message_start",
        "content_block_start",
        "content_block_delta",
        "message_delta",
        "message_stop",
        "error",
        "response.created",
        "response.completed",
        "response.output_item.added",
        "response.output_item.done",
        "response.content_part.added",
        "response.content_part.done",
        "response.output_text.delta",
        "response.output_text.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_text.annotation.added",
        "response.new.delta",
        "response.new.done",
    ]);
    let event = (value, kinds).prop_map(|(mut value, kind)| {
        if let (Value::Object(object), false) = (&mut value, kind.is_empty()) {
            object.insert("type".to_owned(), kind.into());
        }
        value
    });
    proptest::collection::vec(event, 1..8).prop_map(|mut events| {
        fn mark(value: &mut Value, next: &mut u32) {
            match value {
                Value::String(text) if text == "?" => {
                    *text = format!("<{next}>");
                    *next += 1;
                }
                Value::Array(array) => array.iter_mut().for_each(|value| mark(value, next)),
                // Positions and types say where a text belongs; they are not texts.
                Value::Object(object) => object
                    .iter_mut()
                    .filter(|(name, _)| !name.ends_with("index") && *name != "type")
                    .for_each(|(_, value)| mark(value, next)),
                _ => {}
            }
        }
        let mut next = 0;
        events.iter_mut().for_each(|event| mark(event, &mut next));
        events
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_lost_however_wrong_the_stream(events in nearly()) {
        for dialect in DIALECTS {
            let said = stream(&events);
            let body = assemble(dialect, [said.as_bytes()]).body.unwrap_or_default();
            let body = String::from_utf8(body).unwrap();
            for text in said.split('<').skip(1) {
                let text = format!("<{}>", text.split('>').next().unwrap());
                // Tokens of a stream of responses are said again in its text.
                let in_logprobs = said.contains("\"logprobs\"") && said.contains("\"response.");
                prop_assert!(body.contains(&text) || in_logprobs, "{dialect:?}: {text} of {said} is not in {body}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_not_matter_how_an_answer_is_cut(
        text in "[a-c@é😀\"\\\\\n\u{0}]{0,12}",
        size in 1usize..5,
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 4),
    ) {
        let arguments = json!({"a": text}).to_string();
        let mut chat: Vec<Value> = Vec::new();
        for name in ["content", "refusal", "reasoning_content", "reasoning"] {
            chat.extend(pieces(&text, size).iter().map(|piece| chunk(json!({name: piece}))));
        }
        chat.extend(pieces(&arguments, size).iter().map(|piece| {
            chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}))
        }));
        let streams = [
            (Dialect::OpenAiChat, chat),
            (Dialect::Anthropic, anthropic(&text, &arguments, size)),
            (Dialect::OpenAiResponses, responses(&text, &arguments, size)),
        ];
        for (dialect, events) in streams {
            let stream = stream(&events);
            let bytes = stream.as_bytes();
            let whole = assemble(dialect, [bytes]);
            prop_assert!(!whole.unplaced);
            let body = body(&whole);
            match dialect {
                _ if text.is_empty() => {}
                Dialect::OpenAiChat => {
                    let message = &body["choices"][0]["message"];
                    for name in ["content", "refusal", "reasoning_content", "reasoning"] {
                        prop_assert_eq!(&message[name], &text);
                    }
                    prop_assert_eq!(&message["tool_calls"][0]["function"]["arguments"], &arguments);
                }
                Dialect::Anthropic => {
                    prop_assert_eq!(&body["content"][1]["text"], &text);
                    prop_assert_eq!(&body["content"][2]["input"]["a"], &text);
                }
                _ => prop_assert_eq!(&body["output"][1]["content"][0]["text"], &text),
            }
            prop_assert_eq!(&assemble(dialect, bytes.chunks(1)), &whole);
            for cut in cuts.iter().map(|cut| cut.index(bytes.len())) {
                prop_assert_eq!(&assemble(dialect, [&bytes[..cut], &bytes[cut..]]), &whole);
            }
        }
    }
}

#[test]
fn every_cut_of_every_stream_gives_the_same_answer() {
    for (dialect, events) in [
        (Dialect::OpenAiChat, pieces("ja😀ne", 1).iter().map(|piece| chunk(json!({"content": piece}))).collect()),
        (Dialect::Anthropic, anthropic("é😀", "{}", 1)),
        (Dialect::OpenAiResponses, responses("é😀", "{}", 1).split_off(9)),
    ] {
        let text = stream(&events).replace('\n', "\r\n");
        let whole = assemble(dialect, [text.as_bytes()]);
        for cut in 0..text.len() {
            assert_eq!(assemble(dialect, [&text.as_bytes()[..cut], &text.as_bytes()[cut..]]), whole);
        }
    }
}
