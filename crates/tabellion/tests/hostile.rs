//! Clients and providers that mean harm, or do not know what they do: for each, the documented outcome, and a server
//! that goes on as before.

mod common;

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::Duration;

use common::{Answer, Connection, Log, Request, Server, Setup, StandIn, Upstream, chat, has, verify};
use serde_json::{Value, json};

/// A provider does not mind whether it was heard.
fn ignore(_: bool) {}

const CHAT: &str = "/v1/chat/completions";

struct Place {
    _directory: tempfile::TempDir,
    server: Server,
    standin: StandIn,
}

impl std::ops::Deref for Place {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Place {
    fn new(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let standin = StandIn::start();
        let setup = Setup::new(&directory.path().join("data"), &standin.url());
        let server = settings.iter().fold(setup, |setup, (name, value)| setup.with(name, value)).start();
        Self { _directory: directory, server, standin }
    }

    fn upstream(
        handler: impl Fn(common::Received, &mut TcpStream) -> bool + Send + Sync + 'static,
        settings: &[(&str, &str)],
    ) -> Self {
        let upstream = Upstream::start(handler);
        let url = upstream.url();
        let mut all = vec![("TABELLION_UPSTREAM_OPENAI_URL", &*url), ("TABELLION_UPSTREAM_ANTHROPIC_URL", &*url)];
        all.extend_from_slice(settings);
        Self::new(&all)
    }

    /// The server is well, still serves, and its log is in order.
    fn end(mut self, records: bool) {
        if records {
            let answer = Request::post(CHAT, chat("m", "are you well?", false)).send(self.server.gateway);
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        self.server.assert_well();
        self.server.stop();
        verify(&self.server.data);
        let log = Log::read(&self.server.data);
        for request in log.requests() {
            let id = request["id"].as_str().unwrap();
            assert_eq!(log.responses(id).len(), 1, "{id} was begun and not closed once: {request}");
        }
    }
}

fn recorded(data: &Path, answer: &Answer) -> (Value, Value) {
    Log::exchange(data, &answer.exchange())
}

fn assert_refused(data: &Path, answer: &Answer, status: u16, reason: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let error: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(error["error"]["code"], reason);
    let (request, response) = recorded(data, answer);
    assert!(request["content"].get("omitted").is_some(), "{request}");
    let word = |name: &str| response[name].clone();
    assert_eq!((word("outcome"), word("status"), word("reason")), ("refused".into(), status.into(), reason.into()));
}

#[test]
fn odd_bodies_pass_and_are_recorded() {
    let place =
        Place::upstream(|_, stream| stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_ok(), &[]);
    let nest = |levels: usize, open: &str, close: &str| format!("{}1{}", open.repeat(levels), close.repeat(levels));
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("no JSON", b"{\"messages\": nonsense".to_vec()),
        ("no UTF-8", b"{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\xfe\xc0\x80\xed\xa0\x80\"}]}".to_vec()),
        ("100 levels", format!("{{\"messages\":{}}}", nest(100, "[", "]")).into()),
        ("600 levels", format!("{{\"messages\":{}}}", nest(600, "[", "]")).into()),
        ("100,000 lists", nest(100_000, "[", "]").into()),
        ("100,000 objects", nest(100_000, "{\"a\":", "}").into()),
        (
            "100,000 in a message",
            format!("{{\"messages\":[{{\"role\":\"user\",\"content\":{}}}]}}", nest(100_000, "[", "]")).into(),
        ),
        ("100,000 unclosed", "[".repeat(100_000).into()),
        ("JSON in JSON, 12 times", (0..12).fold("x".to_owned(), |inner, _| json!({"a": inner}).to_string()).into()),
        ("repeated names", br#"{"messages":["a"],"messages":["b"],"model":"x","model":"y","messages":[]}"#.to_vec()),
        (
            "lone surrogates",
            br#"{"messages":[{"role":"user","content":"\ud800 \udfff \ud83d\ude00 \ude00\ud83d"}],"\ud800":1}"#
                .to_vec(),
        ),
        ("zero bytes", b"{\"messages\":[\"\0\"]}\0\0".to_vec()),
        ("escaped zeros", br#"{"messages":["\u0000"],"\u0000":"\u0000"}"#.to_vec()),
        ("odd numbers", br#"{"messages":[1e999,-0,0.1e-400,123456789012345678901234567890]}"#.to_vec()),
        ("one long word", "a".repeat(1 << 20).into()),
        ("many ats", "a@".repeat(1 << 18).into()),
        ("many digits", "4111 ".repeat(1 << 17).into()),
        ("many private keys that do not end", "-----BEGIN PRIVATE KEY-----\n".repeat(1 << 14).into()),
        ("many escapes", "\\u0040".repeat(1 << 16).into()),
        ("many backslashes", format!("\\u{}", "\\".repeat(1 << 20)).into()),
        (
            "many names",
            format!("{{{}\"z\":1}}", (0..20_000).map(|n| format!("\"k{n}\":{n},")).collect::<String>()).into(),
        ),
        ("nothing", Vec::new()),
    ];
    for (what, body) in &bodies {
        let answer = Request::post(CHAT, body.clone()).send(place.gateway);
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{what}");
        let (request, response) = recorded(&place.data, &answer);
        assert_eq!(response["outcome"], "complete", "{what}");
        if !body.is_empty() {
            assert_eq!(request["original"]["bytes"], body.len(), "{what}");
        }
    }
    // What these were recorded as, where it could be otherwise.
    let log = Log::read(&place.data);
    let requests = log.requests();
    let content = |what: &str| {
        let at = bodies.iter().position(|(name, _)| *name == what).unwrap();
        (requests[at], bodies[at].1.clone())
    };
    for what in ["100 levels", "600 levels", "repeated names", "odd numbers", "many names", "no JSON"] {
        let (request, body) = content(what);
        assert!(log.content(request) == body, "{what}: nothing is to be redacted, so nothing may change");
    }
    assert_eq!(content("zero bytes").0["content"]["omitted"], "binary");
    assert_eq!(content("nothing").0["content"]["omitted"], "empty");
    place.end(true);
}

#[test]
fn bodies_beyond_the_limit_are_refused_and_their_refusal_recorded() {
    let place = Place::new(&[("TABELLION_GATEWAY_REQUEST_BYTES_MAX", "100000")]);
    let large = chat("m", &"x ".repeat(60_000), false);
    let fits = chat("m", &"x ".repeat(40_000), false);
    assert_eq!(Request::post(CHAT, fits.clone()).send(place.gateway).status, 200);
    assert_eq!(Request::post(CHAT, fits).chunked(999).send(place.gateway).status, 200);
    for request in [Request::post(CHAT, large.clone()), Request::post(CHAT, large.clone()).chunked(999)] {
        // The answer may come before the body is sent, so the client may not get to send it all.
        let mut connection = Connection::open(place.gateway).unwrap();
        let _ = connection.send(&request.to_bytes());
        let answer = connection.answer("POST").expect("a clear refusal");
        assert_refused(&place.data, &answer, 413, "body_too_large");
    }
    // One that says that it is large is refused unread.
    let mut connection = Connection::open(place.gateway).unwrap();
    connection.send(b"POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999\r\n\r\n").unwrap();
    assert_refused(&place.data, &connection.answer("POST").unwrap(), 413, "body_too_large");
    // A few bytes that become many.
    for layers in 1..=2 {
        let mut bomb = vec![b' '; 16 << 20];
        for _ in 0..layers {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&bomb).unwrap();
            bomb = encoder.finish().unwrap();
        }
        let encoding = ["gzip"].repeat(layers).join(", ");
        let answer = Request::post(CHAT, bomb.clone()).header("content-encoding", &encoding).send(place.gateway);
        assert_refused(&place.data, &answer, 413, "body_too_large");
    }
    let bomb = zstd::encode_all(&vec![0; 16 << 20][..], 0).unwrap();
    let answer = Request::post(CHAT, bomb).header("content-encoding", "zstd").send(place.gateway);
    assert_refused(&place.data, &answer, 413, "body_too_large");
    place.end(true);
}

#[test]
fn bodies_that_cannot_be_read_are_refused() {
    let place = Place::new(&[]);
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let body = chat("m", "hi", false);
    let cut = gzip(&body)[..20].to_vec();
    for (encoding, body, status, reason) in [
        ("rot13", body.clone(), 415, "unknown_encoding"),
        ("gzip, gzip, gzip, gzip", body.clone(), 415, "unknown_encoding"),
        ("gzip", body.clone(), 400, "malformed_encoding"),
        ("gzip", cut, 400, "malformed_encoding"),
        ("zstd", body.clone(), 400, "malformed_encoding"),
        ("br", vec![0xff; 100], 400, "malformed_encoding"),
        ("gzip, gzip", gzip(&body), 400, "malformed_encoding"),
    ] {
        let answer = Request::post(CHAT, body).header("content-encoding", encoding).send(place.gateway);
        assert_refused(&place.data, &answer, status, reason);
    }
    for (name, value) in [("upgrade", "websocket"), ("upgrade", "h2c")] {
        let answer =
            Request::post(CHAT, body.clone()).header("connection", "upgrade").header(name, value).send(place.gateway);
        assert_refused(&place.data, &answer, 501, "upgrade_unsupported");
    }
    assert_eq!(place.standin.saw(&body), 0, "what is refused goes nowhere");
    // Anthropic's clients get Anthropic's shape.
    let answer = Request::post("/anthropic/v1/messages", body).header("content-encoding", "rot13").send(place.gateway);
    let error: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&error["type"], &error["error"]["type"]), (&"error".into(), &"invalid_request_error".into()));
    place.end(true);
}

#[test]
fn slow_clients_are_let_go() {
    let place = Place::new(&[("TABELLION_GATEWAY_REQUEST_TIMEOUT_S", "1")]);
    // The body stops in the middle.
    let mut connection = Connection::open(place.gateway).unwrap();
    connection
        .send(b"POST /v1/x HTTP/1.1\r\nhost: x\r\nx-tabellion-case: SLOW\r\ncontent-length: 100\r\n\r\nhalf")
        .unwrap();
    let answer = connection.answer("POST").expect("a clear refusal");
    assert_refused(&place.data, &answer, 408, "body_too_slow");
    // The client goes away in the middle: nothing was asked of anybody, and nothing is recorded.
    let mut connection = Connection::open(place.gateway).unwrap();
    connection
        .send(b"POST /v1/x HTTP/1.1\r\nhost: x\r\nx-tabellion-case: GONE\r\ncontent-length: 100\r\n\r\nhalf")
        .unwrap();
    drop(connection);
    // So many at once that say nothing, or not the end of their heads, and others are served all the same.
    let mut idle = Vec::new();
    for n in 0..200 {
        let mut connection = Connection::open(place.gateway).unwrap();
        if n % 2 == 0 {
            connection.send(b"POST /v1/x HTTP/1.1\r\nhost: x\r\nx-slow: ").unwrap();
        }
        idle.push(connection);
    }
    assert_eq!(Request::post(CHAT, chat("m", "hi", false)).send(place.gateway).status, 200);
    drop(idle);
    let log = Log::read(&place.data);
    assert!(log.entries.iter().all(|entry| entry["case"] != "GONE"));
    place.end(true);
}

#[test]
fn long_conversations_and_long_messages_are_recorded_whole() {
    let place = Place::new(&[]);
    let messages: Vec<Value> = (0..5_000).map(|n| json!({"role": "user", "content": format!("message {n}")})).collect();
    let many = json!({"model": "m", "messages": messages}).to_string();
    let answer = Request::post(CHAT, many.clone()).send(place.gateway);
    assert_eq!(answer.status, 200);
    let (request, _) = recorded(&place.data, &answer);
    assert!(request["content"]["manifest"].is_string() && request["content"].get("parts").is_none(), "{request}");
    assert!(Log::read(&place.data).content(&request) == many.as_bytes());
    // Each with something of its own to redact, so that there are as many tokens.
    let messages: Vec<Value> =
        (0..5_000).map(|n| json!({"role": "user", "content": format!("to user{n}@mail.example.net")})).collect();
    let answer = Request::post(CHAT, json!({"model": "m", "messages": messages}).to_string()).send(place.gateway);
    assert_eq!(answer.status, 200);
    let (request, _) = recorded(&place.data, &answer);
    assert_eq!(request["redaction"]["findings"]["EMAIL_ADDRESS"], 5_000);

    let long = chat("m", &"some words, ".repeat((20 << 20) / 12), false);
    let answer = Request::post(CHAT, long.clone()).send(place.gateway);
    assert_eq!(answer.status, 200);
    let (request, _) = recorded(&place.data, &answer);
    assert!(Log::read(&place.data).content(&request) == long);
    place.end(true);
}

#[test]
fn odd_heads_are_refused_or_pass() {
    let place = Place::new(&[]);
    // Nowhere.
    for path in ["/", "/v1", "/v2/x", "/favicon.ico", "//v1/x", "/openaix/v1", "/V1/models", "/%76%31/models", "*"] {
        let answer = Request::get(path).send(place.gateway);
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
        assert!(answer.header("x-tabellion-exchange").is_none(), "{path}");
    }
    // Paths that try to leave the upstream's: they pass as they are, and it is for the upstream to refuse them.
    for path in
        ["/v1/../../etc/passwd", "/openai/../anthropic/x", "/v1/%2e%2e/x", "/openai", "/openai?x", "/v1/\u{7f}x"]
    {
        let mut connection = Connection::open(place.gateway).unwrap();
        connection.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
        let answer = connection.answer("GET").unwrap();
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
    }
    // A URL where a path should be: a proxy's request. It must not make us one.
    let mut connection = Connection::open(place.gateway).unwrap();
    connection.send(format!("GET http://{}/v1/models HTTP/1.1\r\nhost: x\r\n\r\n", place.console).as_bytes()).unwrap();
    let answer = connection.answer("GET").unwrap();
    assert!(answer.text().contains("gpt-4o") || answer.status >= 400, "{}", answer.text());
    let mut connection = Connection::open(place.gateway).unwrap();
    connection.send(format!("CONNECT {} HTTP/1.1\r\nhost: x\r\n\r\n", place.console).as_bytes()).unwrap();
    let answer = connection.answer("CONNECT").unwrap();
    assert!(answer.status >= 400, "{}", answer.status);
    // Large and many headers, as far as they are taken.
    for (value, taken) in [(60_000, true), (400_000, false)] {
        let answer =
            Request::post(CHAT, chat("m", "hi", false)).header("x-large", &"v".repeat(value)).try_send(place.gateway);
        match answer {
            Ok(answer) => assert_eq!((answer.status == 200, answer.status == 431), (taken, !taken), "{value}"),
            Err(_) => assert!(!taken),
        }
    }
    let many = (0..500).fold(Request::post(CHAT, "x"), |request, n| request.header(&format!("x-{n}"), "v"));
    let answer = many.send(place.gateway);
    assert_eq!(answer.status, 431);
    // Labels are cut.
    let answer = Request::post(CHAT, chat("m", "hi", false))
        .header("x-tabellion-case", &"ü".repeat(10_000))
        .header("x-tabellion-tag-long", &"x".repeat(20_000))
        .send(place.gateway);
    let (request, _) = recorded(&place.data, &answer);
    assert!(request["case"].as_str().unwrap().chars().count() <= 257);
    assert!(request["tags"]["long"].as_str().unwrap().len() <= 260);
    let tags = (0..90).fold(Request::post(CHAT, chat("m", "hi", false)), |request, n| {
        request.header(&format!("x-tabellion-tag-{n}"), &"y".repeat(500))
    });
    let answer = tags.send(place.gateway);
    assert_eq!(answer.status, 200);
    assert!(recorded(&place.data, &answer).0["tags"].as_object().unwrap().len() <= 32);
    // Values that are no text.
    let mut connection = Connection::open(place.gateway).unwrap();
    connection
        .send(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-tabellion-case: \xff\xfe\xfd\r\ntraceparent: \xff\"\\\r\n\r\n")
        .unwrap();
    let answer = connection.answer("GET").unwrap();
    assert_eq!(recorded(&place.data, &answer).0["case"], "\u{fffd}\u{fffd}\u{fffd}");
    // A long path.
    let answer = Request::get(&format!("/v1/{}", "p".repeat(30_000))).send(place.gateway);
    let (request, _) = recorded(&place.data, &answer);
    assert!(request["operation"].as_str().unwrap().len() < 2_020);
    place.end(true);
}

#[test]
fn one_connection_carries_one_meaning() {
    let place = Place::new(&[]);
    let one = chat("m", "one", false);
    let inner = "GET /v1/models HTTP/1.1\r\nhost: smuggled\r\nx-tabellion-case: SMUGGLED\r\n\r\n";
    let shapes: Vec<String> = vec![
        // Both lengths. One of them must be refused, or the connection must end with it.
        format!(
            "POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
            5 + inner.len()
        ),
        format!(
            "POST /v1/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n5c\r\n{inner}\r\n0\r\n\r\n"
        ),
        format!(
            "POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\ncontent-length: {}\r\n\r\n{inner}",
            inner.len()
        ),
        format!("POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: +0\r\n\r\n{inner}"),
        format!("POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 0, {}\r\n\r\n{inner}", inner.len()),
        format!("POST /v1/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n{inner}"),
        format!("POST /v1/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!(
            "POST /v1/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n{inner}"
        ),
        format!("POST /v1/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff1\r\n{inner}"),
        format!("POST /v1/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n{inner}"),
        format!("POST /v1/x HTTP/1.1\r\nhost: x\r\nx: a\r\n b: c\r\n\r\n{inner}"),
        "\0\x01\x02\x16\x03\x01 this is TLS, or nothing".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "GET /v1/models HTTP/9.9\r\n\r\n".to_owned(),
    ];
    for shape in &shapes {
        let mut connection = Connection::open(place.gateway).unwrap();
        connection.send(shape.as_bytes()).unwrap();
        let _ = connection.stream().shutdown(Shutdown::Write);
        let said = String::from_utf8_lossy(&connection.everything()).into_owned();
        // However it was read, it was read once: what follows a body whose length is in doubt is not a request.
        assert!(!said.contains("gpt-4o-mini"), "{shape:?} was read as two:\n{said}");
    }
    // What went to the provider was never framed in two ways.
    let log = Log::read(&place.data);
    assert!(log.entries.iter().all(|entry| entry["case"] != "SMUGGLED"), "a hidden request was taken for one");

    // Requests that wait behind each other are answered in order, each as its own exchange.
    let mut connection = Connection::open(place.gateway).unwrap();
    let mut all = Vec::new();
    for n in 0..5 {
        all.extend(Request::post(CHAT, chat("echo", &format!("number {n}"), n % 2 == 1)).to_bytes());
    }
    all.extend(Request::post(CHAT, one).header("connection", "close").to_bytes());
    connection.send(&all).unwrap();
    let answers: Vec<Answer> = (0..6).map(|_| connection.answer("POST").unwrap()).collect();
    for (n, answer) in answers.iter().enumerate().take(5) {
        assert!(answer.whole);
        if n % 2 == 0 {
            assert!(answer.text().contains(&format!("number {n}")), "{n}: {}", answer.text());
        }
    }
    let mut exchanges: Vec<String> = answers.iter().map(Answer::exchange).collect();
    exchanges.dedup();
    assert_eq!(exchanges.len(), 6);
    place.end(true);
}

#[test]
fn providers_that_answer_nonsense_are_reported_as_what_they_are() {
    let place = Place::upstream(
        |received, stream| {
            let all = |bytes: &[u8]| stream.try_clone().unwrap().write_all(bytes).is_ok();
            let large = "v".repeat(1 << 20);
            match received.path.trim_start_matches("/v1/") {
                "garbage" => ignore(all(b"\x00\xff this is not HTTP\r\n\r\n")),
                "nothing" => {}
                "half-a-head" => ignore(all(b"HTTP/1.1 200 OK\r\ncontent-ty")),
                "huge-head" => ignore(all(format!("HTTP/1.1 200 OK\r\nx-large: {large}\r\ncontent-length: 2\r\n\r\nok").as_bytes())),
                "many-headers" => {
                    let headers: String = (0..500).map(|n| format!("x-{n}: v\r\n")).collect();
                    ignore(all(format!("HTTP/1.1 200 OK\r\n{headers}content-length: 2\r\n\r\nok").as_bytes()));
                }
                "large-head" => ignore(all(format!("HTTP/1.1 200 OK\r\nx-large: {}\r\ncontent-length: 2\r\n\r\nok", &large[..50_000]).as_bytes())),
                "early-hints" => ignore(all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")),
                "switch" => ignore(all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nraw bytes")),
                "redirect" => ignore(all(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/elsewhere\r\ncontent-length: 5\r\n\r\nthere")),
                "wrong-length" => ignore(all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort")),
                "bad-chunk" => ignore(all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\nZZ\r\n")),
                "two-lengths" => ignore(all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!")),
                "status-0" => ignore(all(b"HTTP/1.1 000 Nothing\r\ncontent-length: 0\r\n\r\n")),
                "status-999" => ignore(all(b"HTTP/1.1 999 Much\r\ncontent-length: 2\r\n\r\nok")),
                "head-injection" => ignore(all(b"HTTP/1.1 200 OK\r\nx-tabellion-exchange: forged\r\nx-tabellion-entry: 0\r\ncontent-length: 2\r\n\r\nok")),
                "events-that-are-none" => ignore(all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 40\r\n\r\ndata: {\xff\xfe\n\ndata\ndata:\n\n:::\n\r\r\nevent: x\0\n\n")),
                "gzip-that-is-none" => ignore(all(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope")),
                "unknown-encoding" => ignore(all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: rot13\r\ncontent-length: 4\r\n\r\nnope")),
                _ => return all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
            }
            false
        },
        &[],
    );
    for (path, status, whole, outcome, reason) in [
        ("garbage", 502, true, "error", Some("upstream_broke_off")),
        ("nothing", 502, true, "error", Some("upstream_broke_off")),
        ("half-a-head", 502, true, "error", Some("upstream_broke_off")),
        ("huge-head", 502, true, "error", Some("upstream_broke_off")),
        ("many-headers", 502, true, "error", Some("upstream_broke_off")),
        ("large-head", 200, true, "complete", None),
        ("early-hints", 200, true, "complete", None),
        ("switch", 502, true, "error", Some("upstream_broke_off")),
        ("redirect", 302, true, "complete", None),
        ("wrong-length", 200, false, "error", Some("upstream_broke_off")),
        ("bad-chunk", 200, false, "error", Some("upstream_broke_off")),
        ("two-lengths", 502, true, "error", Some("upstream_broke_off")),
        ("status-0", 502, true, "error", Some("upstream_broke_off")),
        ("status-999", 999, true, "error", Some("provider_error")),
        ("head-injection", 200, true, "complete", None),
        ("events-that-are-none", 200, true, "error", Some("stream_ended_early")),
        ("gzip-that-is-none", 200, true, "complete", None),
        ("unknown-encoding", 200, true, "complete", None),
    ] {
        let answer = Request::get(&format!("/v1/{path}")).send(place.gateway);
        assert_eq!((answer.status, answer.whole), (status, whole), "{path}: {}", answer.text());
        let (_, response) = recorded(&place.data, &answer);
        assert_eq!(response["outcome"], outcome, "{path}");
        assert_eq!(response.get("reason").and_then(Value::as_str), reason, "{path}");
        if path == "redirect" {
            assert_eq!(
                answer.header("location"),
                Some("http://127.0.0.1:1/elsewhere"),
                "the client decides where to go"
            );
        }
        if path == "head-injection" {
            let named = answer.headers.iter().filter(|(name, _)| name.starts_with("x-tabellion")).count();
            assert_eq!(named, 2, "{:?}", answer.headers);
        }
    }
    place.end(true);
}

/// A stream that does not end until the client has had enough.
fn endless(event: &'static [u8], first: &'static [u8]) -> impl Fn(common::Received, &mut TcpStream) -> bool {
    move |received, stream| {
        if !received.path.ends_with("endless") {
            return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_ok();
        }
        let block = event.repeat((64 << 10) / event.len());
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let _ = stream.set_write_timeout(Some(Duration::from_secs(30)));
        let mut going = stream.write_all(head).is_ok() && stream.write_all(first).is_ok();
        let mut left: usize = 512 << 20;
        while going && left > 0 {
            going = stream.write_all(&block).is_ok();
            left = left.saturating_sub(block.len());
        }
        false
    }
}

/// What the server may take up beyond what it has: the answer's limit, twice over, and room.
const MEMORY_MAX: u64 = 96 << 20;

#[test]
fn an_endless_stream_takes_no_more_memory_than_its_limit() {
    let events: [(&[u8], &[u8]); 4] = [
        // Events that say something; one that never ends; comments; and events after the one that is the last.
        (b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"and on and on\"}}]}\n\n", b""),
        (b"and on and on ", b"data: "),
        (b": and on and on\n", b""),
        (b"data: {\"after\":\"the end\"}\n\n", b"data: [DONE]\n\n"),
    ];
    for (event, first) in events {
        let place = Place::upstream(endless(event, first), &[("TABELLION_GATEWAY_RESPONSE_BYTES_MAX", "4000000")]);
        let before = place.memory_peak();
        let after_the_end = !first.is_empty() && first.ends_with(b"\n");
        let mut client =
            Request::post("/v1/endless", "x").header("x-tabellion-case", "ENDLESS").begin(place.gateway).unwrap();
        let mut had = 0;
        if after_the_end {
            // The provider does not stop after its last event. The client gets that, and an end.
            client.answer_head("POST").unwrap();
            let mut body = Vec::new();
            assert!(client.rest(&mut body));
            assert!(body.starts_with(first) && body.len() < 8 << 20, "{}", body.len());
        } else {
            client.answer_head("POST").unwrap();
            while had < 128 << 20 {
                had += client.data().unwrap().expect("no end").len();
            }
        }
        drop(client);
        let (_, response) = Log::case(&place.data, "ENDLESS");
        if after_the_end {
            assert_eq!(response["outcome"], "complete");
        } else {
            assert_eq!(response["outcome"], "client_gone");
            assert!(response["original"]["bytes"].as_u64().unwrap() >= had as u64);
            if first.is_empty() && event.starts_with(b"data") {
                assert_eq!(response["content"]["omitted"], "too_large");
            }
        }
        let grown = place.memory_peak() - before;
        assert!(grown < MEMORY_MAX, "{} MiB for {:?}", grown >> 20, String::from_utf8_lossy(event));
        place.end(true);
    }
}

#[test]
fn a_client_that_does_not_read_makes_the_provider_wait() {
    let event = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"and on and on\"}}]}\n\n";
    let place = Place::upstream(endless(event, b""), &[]);
    let before = place.memory_peak();
    let clients: Vec<Connection> = (0..4)
        .map(|_| {
            let request = Request::post("/v1/endless", "x").header("x-tabellion-case", "UNREAD");
            let mut client = request.begin(place.gateway).unwrap();
            client.answer_head("POST").unwrap();
            client
        })
        .collect();
    std::thread::sleep(Duration::from_secs(2));
    let grown = place.memory_peak() - before;
    assert!(grown < MEMORY_MAX, "{} MiB", grown >> 20);
    drop(clients);
    common::eventually("all four to be closed", || {
        let log = Log::read(&place.data);
        let gone = log.entries.iter().filter(|entry| entry["outcome"] == "client_gone").count();
        (gone == 4).then_some(())
    });
    place.end(true);
}

#[test]
fn answers_beyond_the_limit_pass_and_are_committed_to() {
    let place = Place::upstream(
        |received, stream| {
            let (bytes, kind) = received.path.trim_start_matches("/v1/").split_once('/').unwrap_or(("2", "plain"));
            let body = vec![b'x'; bytes.parse().unwrap_or(2)];
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/{kind}\r\ncontent-length: {}\r\n\r\n", body.len())
                .is_ok()
                && stream.write_all(&body).is_ok()
        },
        &[("TABELLION_GATEWAY_RESPONSE_BYTES_MAX", "1000000")],
    );
    for (bytes, omitted) in
        [(999_999, None), (1_000_000, None), (1_000_001, Some("too_large")), (9_000_000, Some("too_large"))]
    {
        let answer = Request::get(&format!("/v1/{bytes}/plain")).send(place.gateway);
        assert!(answer.whole && answer.body.len() == bytes);
        let (_, response) = recorded(&place.data, &answer);
        assert_eq!(response["outcome"], "complete");
        assert_eq!(response["content"].get("omitted").and_then(Value::as_str), omitted, "{bytes}");
        assert_eq!(response["original"]["bytes"], bytes);
        assert_eq!(response["original"]["commitment"].as_str().unwrap().len(), 64);
    }
    // A bomb from the provider: it passes as it is, and is not unpacked beyond the limit.
    place.end(true);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&vec![b' '; 256 << 20]).unwrap();
    let bomb = encoder.finish().unwrap();
    let size = bomb.len();
    let place = Place::upstream(
        move |received, stream| {
            let kind = if received.path.ends_with("stream") { "text/event-stream" } else { "application/json" };
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
                bomb.len()
            )
            .is_ok()
                && stream.write_all(&bomb).is_ok()
        },
        &[("TABELLION_GATEWAY_RESPONSE_BYTES_MAX", "4000000")],
    );
    let before = place.memory_peak();
    for path in ["/v1/plain", "/v1/stream"] {
        let answer = Request::get(path).send(place.gateway);
        assert!(answer.whole && answer.body.len() == size);
        let (_, response) = recorded(&place.data, &answer);
        assert_eq!(response["content"]["omitted"], "too_large", "{path}");
    }
    let grown = place.memory_peak() - before;
    assert!(grown < MEMORY_MAX, "{} MiB", grown >> 20);
    assert!(!has(place.said().as_bytes(), b"panicked"));
    place.end(true);
}
