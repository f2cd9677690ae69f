//! The stand-in over a socket, as a client without any SDK sees it.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(tabellion_standin::serve(listener));
    address
}

/// What came back: the head as text, the body with any chunking taken off, and
/// whether it ended as its head said.
struct Answer {
    head: String,
    body: Vec<u8>,
    whole: bool,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn status(&self) -> u16 {
        self.head[9..12].parse().expect("a status")
    }

    /// The data of each event.
    fn events(&self) -> Vec<String> {
        let data = |block: &str| block.lines().find_map(|line| line.strip_prefix("data: ").map(str::to_owned));
        self.text().split_terminator("\n\n").filter_map(data).collect()
    }

    fn event_values(&self) -> Vec<Value> {
        let events = self.events();
        events.iter().filter_map(|event| serde_json::from_str(event).ok()).collect()
    }
}

async fn send(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: standin\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut bytes = Vec::new();
    // A reset is one way of breaking off.
    let _ = stream.read_to_end(&mut bytes).await;
    read(&bytes)
}

fn read(bytes: &[u8]) -> Answer {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Answer { head: String::new(), body: bytes.to_vec(), whole: false };
    };
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head is text");
    let mut rest = &bytes[end + 4..];
    if !head.contains("transfer-encoding: chunked") {
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let whole = length.is_some_and(|length| length.parse() == Ok(rest.len()));
        let body = rest.to_vec();
        return Answer { head, body, whole };
    }
    let mut body = Vec::new();
    let mut whole = false;
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size");
        if size == 0 {
            whole = true;
            break;
        }
        let start = line + 2;
        body.extend_from_slice(&rest[start..(start + size).min(rest.len())]);
        rest = rest.get(start + size + 2..).unwrap_or_default();
    }
    Answer { head, body, whole }
}

async fn post(address: SocketAddr, path: &str, body: &Value) -> Answer {
    send(address, "POST", path, "", &body.to_string()).await
}

fn chat(model: &str, text: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]})
}

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "Gr\u{fc}\u{df}e an \u{1f600} \"Anna\",\nheute";

#[tokio::test]
async fn a_stream_says_what_the_plain_answer_says() {
    let address = start().await;
    for model in ["echo-1", "echo-7", "support", "gpt-4o-mini", "big-5000", "split"] {
        let plain = post(address, CHAT, &chat(model, TEXT, false)).await.json();
        let stream = post(address, CHAT, &chat(model, TEXT, true)).await;
        assert!(stream.whole, "{model}");
        assert_eq!(stream.events().last().expect("events"), "[DONE]");
        let said: String =
            stream.event_values().iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(json!(said), plain["choices"][0]["message"]["content"], "{model}");
    }
}

#[tokio::test]
async fn echo_streams_as_many_characters_an_event_as_asked() {
    let address = start().await;
    let count = |answer: &Answer| {
        let events = answer.event_values();
        let delta =
            |event: &&Value| event["choices"][0]["delta"]["content"].as_str().is_some_and(|text| !text.is_empty());
        events.iter().filter(delta).count()
    };
    let text = "0123456789";
    assert_eq!(count(&post(address, CHAT, &chat("echo-1", text, true)).await), 10);
    assert_eq!(count(&post(address, CHAT, &chat("echo-7", text, true)).await), 2);
    let body = chat("echo", text, true).to_string();
    let by_header = send(address, "POST", CHAT, "x-standin: chunk=3\r\n", &body).await;
    assert_eq!(count(&by_header), 4);
}

#[tokio::test]
async fn the_same_request_gets_the_same_bytes() {
    let address = start().await;
    for path in [CHAT, "/v1/responses", "/v1/completions", "/v1/messages"] {
        for stream in [false, true] {
            let body = json!({"model": "echo", "stream": stream, "input": "a", "prompt": "a",
                "messages": [{"role": "user", "content": "a"}]});
            let one = post(address, path, &body).await;
            assert_eq!(one.status(), 200);
            assert_eq!(one.body, post(address, path, &body).await.body, "{path}");
        }
    }
}

#[tokio::test]
async fn tool_calls_hold_the_users_text_in_each_format() {
    let address = start().await;
    let parameters = json!({"type": "object", "properties": {"name": {"type": "string"}}});
    let function = json!({"name": "find", "parameters": parameters});

    let mut body = chat("tool-4", TEXT, true);
    body["tools"] = json!([{"type": "function", "function": function}]);
    let events = post(address, CHAT, &body).await.event_values();
    let calls: Vec<&Value> =
        events.iter().map(|event| &event["choices"][0]["delta"]["tool_calls"][0]["function"]).collect();
    let name: String = calls.iter().filter_map(|call| call["name"].as_str()).collect();
    let arguments: String = calls.iter().filter_map(|call| call["arguments"].as_str()).collect();
    assert_eq!(name, "find");
    assert_eq!(serde_json::from_str::<Value>(&arguments).expect("JSON"), json!({"name": TEXT}));

    let body = json!({"model": "tool", "stream": true, "input": TEXT,
        "tools": [{"type": "function", "name": "find", "parameters": parameters}]});
    let events = post(address, "/v1/responses", &body).await.event_values();
    let deltas: String = events
        .iter()
        .filter(|event| event["type"] == "response.function_call_arguments.delta")
        .filter_map(|event| event["delta"].as_str())
        .collect();
    assert_eq!(serde_json::from_str::<Value>(&deltas).expect("JSON"), json!({"name": TEXT}));

    let mut body = chat("tool", TEXT, true);
    body["tools"] = json!([{"name": "find", "input_schema": parameters}]);
    let events = post(address, "/v1/messages", &body).await.event_values();
    let deltas: String = events.iter().filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&deltas).expect("JSON"), json!({"name": TEXT}));
}

#[tokio::test]
async fn responses_number_their_events_from_zero_without_a_gap() {
    let address = start().await;
    let body = json!({"model": "loan", "stream": true, "input": TEXT});
    let answer = post(address, "/v1/responses", &body).await;
    let events = answer.event_values();
    for (expected, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], json!(expected));
    }
    assert_eq!(events.first().expect("events")["type"], "response.created");
    assert_eq!(events.last().expect("events")["type"], "response.completed");
    let named = answer.text().lines().filter_map(|line| line.strip_prefix("event: "));
    assert!(named.zip(&events).all(|(name, event)| event["type"] == name));
}

#[tokio::test]
async fn usage_is_streamed_only_when_asked_for() {
    let address = start().await;
    let mut body = chat("echo", "hello", true);
    assert!(!post(address, CHAT, &body).await.text().contains("usage"));
    body["stream_options"] = json!({"include_usage": true});
    let events = post(address, CHAT, &body).await.event_values();
    assert_eq!(events.last().expect("events")["usage"]["total_tokens"], 4);
    assert_eq!(events.last().expect("events")["choices"], json!([]));
}

#[tokio::test]
async fn errors_have_each_providers_shape_and_quote_the_text() {
    let address = start().await;
    for status in [400, 401, 429, 500, 503] {
        let body = chat(&format!("error-{status}"), "anna@example.org", true);
        let openai = post(address, CHAT, &body).await;
        assert_eq!(openai.status(), status);
        assert!(openai.json()["error"]["message"].as_str().expect("a message").contains("anna@example.org"));
        let anthropic = post(address, "/v1/messages", &body).await;
        assert_eq!(anthropic.status(), status);
        assert_eq!(anthropic.json()["type"], "error");
        assert_eq!(openai.head.contains("retry-after"), status == 429);
    }
    assert_eq!(send(address, "POST", CHAT, "", "{\"model\":").await.status(), 400);
    assert_eq!(post(address, "/v1/nothing", &json!({})).await.status(), 404);
    assert_eq!(send(address, "GET", CHAT, "", "").await.status(), 405);
}

#[tokio::test]
async fn break_and_drop_do_not_end_in_order() {
    let address = start().await;
    let plain = post(address, CHAT, &chat("break", TEXT, false)).await;
    assert!(plain.head.contains("content-length") && !plain.body.is_empty() && !plain.whole);
    let stream = post(address, CHAT, &chat("break", TEXT, true)).await;
    assert!(stream.head.contains("chunked") && !stream.events().is_empty() && !stream.whole);
    let dropped = post(address, CHAT, &chat("drop", TEXT, false)).await;
    assert!(dropped.head.is_empty() && dropped.body.is_empty());
}

#[tokio::test]
async fn nodone_and_fail_end_in_order_without_their_terminal_event() {
    let address = start().await;
    for (path, terminal) in
        [(CHAT, "[DONE]"), ("/v1/messages", "message_stop"), ("/v1/responses", "response.completed")]
    {
        for model in ["nodone", "fail"] {
            let mut body = chat(model, TEXT, true);
            body["input"] = json!(TEXT);
            let answer = post(address, path, &body).await;
            assert!(answer.whole, "{path} {model}");
            assert!(!answer.text().contains(terminal), "{path} {model}");
        }
    }
}

#[tokio::test]
async fn gzip_is_one_stream_that_decompresses_to_the_same_events() {
    use std::io::Read as _;
    let address = start().await;
    for stream in [true, false] {
        let body = chat("echo-2", TEXT, stream).to_string();
        let plain = send(address, "POST", CHAT, "", &body).await;
        let zipped = send(address, "POST", CHAT, "x-standin: gzip\r\n", &body).await;
        assert!(zipped.head.contains("content-encoding: gzip") && zipped.whole);
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(zipped.body.as_slice()).read_to_end(&mut text).expect("gzip");
        assert_eq!(text, plain.body);
    }
}

#[tokio::test]
async fn a_gate_lets_one_event_pass_for_each_release() {
    let address = start().await;
    let body = chat("gate-g", "0123456789", true).to_string();
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!("POST {CHAT} HTTP/1.1\r\nhost: s\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut seen = Vec::new();
    // Role, two pieces of five characters, the reason, the end.
    for released in 1..=5 {
        let answer = send(address, "POST", "/standin/release?n=1&gate=g", "", "").await;
        assert_eq!(answer.status(), 204);
        while count_events(&seen) < released {
            assert_ne!(stream.read_buf(&mut seen).await.expect("more"), 0);
        }
        assert_eq!(count_events(&seen), released);
    }
    assert!(seen.windows(6).any(|window| window == b"[DONE]"));
}

fn count_events(bytes: &[u8]) -> usize {
    bytes.windows(2).filter(|window| window == b"\n\n").count()
}

#[tokio::test]
async fn what_was_asked_can_be_seen_byte_for_byte() {
    let address = start().await;
    let body = chat("echo", TEXT, false).to_string();
    send(address, "POST", CHAT, "x-odd: 1\r\n", &body).await;
    let seen = send(address, "GET", "/standin/requests", "", "").await.json();
    assert_eq!(seen["counts"], json!({CHAT: 1}));
    let last = &seen["last"][0];
    assert_eq!(last["body"], json!(STANDARD.encode(&body)));
    assert!(last["headers"].as_array().expect("headers").contains(&json!(["x-odd", "1"])));
    assert_eq!(send(address, "DELETE", "/standin/requests", "", "").await.status(), 204);
    let seen = send(address, "GET", "/standin/requests", "", "").await.json();
    assert_eq!(seen["counts"], json!({}));
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted() {
    let address = start().await;
    let body = chat("hang", TEXT, true).to_string();
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!("POST {CHAT} HTTP/1.1\r\nhost: s\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut first = [0; 64];
    stream.read_exact(&mut first).await.expect("the beginning");
    drop(stream);
    for _ in 0..1000 {
        let seen = send(address, "GET", "/standin/requests", "", "").await.json();
        if seen["scripted"]["abandoned"] == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the stand-in never noticed");
}

#[tokio::test]
async fn embeddings_are_the_same_numbers_in_both_encodings() {
    let address = start().await;
    let mut body = json!({"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 5});
    let numbers = post(address, "/v1/embeddings", &body).await.json();
    body["encoding_format"] = json!("base64");
    let encoded = post(address, "/v1/embeddings", &body).await.json();
    for index in 0..2 {
        let bytes = STANDARD.decode(encoded["data"][index]["embedding"].as_str().expect("text")).expect("base64");
        let decoded: Vec<f32> =
            bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("four"))).collect();
        assert_eq!(json!(decoded), numbers["data"][index]["embedding"]);
    }
    assert_ne!(numbers["data"][0]["embedding"], numbers["data"][1]["embedding"]);
}

#[tokio::test]
async fn models_are_listed_in_the_format_of_the_asker() {
    let address = start().await;
    let openai = send(address, "GET", "/v1/models/echo", "", "").await.json();
    assert_eq!(openai["object"], "model");
    let anthropic = send(address, "GET", "/v1/models", "anthropic-version: 2023-06-01\r\n", "").await.json();
    assert_eq!(anthropic["data"][0]["type"], "model");
    assert_eq!(send(address, "GET", "/v1/models/none", "", "").await.status(), 404);
}
