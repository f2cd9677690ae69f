//! Nothing unrecorded, in the order that it was promised: a request is recorded before the provider sees it, the end of
//! an answer is released only when the answer is recorded, what cannot be recorded is refused, and what passes through
//! is not changed and not held up.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use common::{Answer, Log, PATIENCE, Random, Received, Request, Server, Setup, StandIn, Upstream, chat, has, verify};
use serde_json::Value;

fn on_disk(data: &Path, needles: &[&str]) -> bool {
    // What is acknowledged is in the write-ahead log, and as soon as it is not, in the tiles.
    let holds = |directory: &str| {
        common_files(&data.join(directory))
            .iter()
            .any(|bytes| needles.iter().all(|needle| has(bytes, needle.as_bytes())))
    };
    holds("wal") || holds("log/tile/entries")
}

fn common_files(directory: &Path) -> Vec<Vec<u8>> {
    common::files(directory).into_iter().map(|(_, bytes)| bytes).collect()
}

#[test]
fn a_request_is_recorded_before_the_provider_sees_it_and_the_answer_before_the_client_has_it() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let upstream = {
        let data = data.clone();
        Upstream::start(move |received, stream| {
            let case = String::from_utf8_lossy(&received.body).into_owned();
            let recorded = on_disk(&data, &["exchange.request", &format!("\"case\":\"{case}\"")]);
            let body = if recorded { "recorded" } else { "not recorded" };
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n";
            write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).is_ok()
        })
    };
    let mut server = Setup::new(&data, &upstream.url()).start();
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (gateway, data) = (server.gateway, &data);
            scope.spawn(move || {
                for n in 0..6 {
                    let case = format!("ORDER-{client}-{n}");
                    let request = Request::post("/v1/x", case.clone()).header("x-tabellion-case", &case);
                    let answer = request.send(gateway);
                    assert_eq!(answer.text(), "recorded");
                    let exchange = format!("\"exchange\":\"{}\"", answer.exchange());
                    assert!(on_disk(data, &["exchange.response", &exchange, "\"outcome\":\"complete\""]));
                }
            });
        }
    });
    server.stop();
    verify(&data);
}

/// An upstream that takes each request, says so, and answers when and what it is told.
struct Puppet {
    upstream: Upstream,
    got: Receiver<Received>,
    say: Sender<Option<Vec<u8>>>,
}

impl Puppet {
    fn new() -> Self {
        let (send_got, got) = channel();
        let (say, told) = channel::<Option<Vec<u8>>>();
        let (send_got, told) = (Mutex::new(send_got), Mutex::new(told));
        let upstream = Upstream::start(move |received: Received, stream: &mut TcpStream| {
            let _ = send_got.lock().unwrap().send(received);
            // `None` closes the connection.
            while let Ok(Some(bytes)) = told.lock().unwrap().recv() {
                if stream.write_all(&bytes).is_err() {
                    break;
                }
            }
            false
        });
        Self { upstream, got, say }
    }

    fn got(&self) -> Received {
        self.got.recv_timeout(PATIENCE).unwrap()
    }

    fn say(&self, bytes: impl Into<Vec<u8>>) {
        self.say.send(Some(bytes.into())).unwrap();
    }

    fn close(&self) {
        self.say.send(None).unwrap();
    }
}

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

fn assert_shape(anthropic: bool, body: &str) {
    let body: Value = serde_json::from_str(body).unwrap();
    if anthropic {
        assert_eq!(body["type"], "error");
        assert_eq!(body["error"]["type"], "api_error");
    } else {
        assert_eq!(body["error"]["code"], "not_recorded");
        assert_eq!(body["error"]["type"], "server_error");
    }
    assert!(body["error"]["message"].as_str().unwrap().contains("could not be recorded"));
}

#[test]
fn the_end_of_a_stream_that_cannot_be_recorded_is_not_released() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let puppet = Puppet::new();
    let setup = Setup::new(&data, &puppet.upstream.url());
    let mut server = setup.start();
    let mut unfinished = Vec::new();
    for (path, first, last) in [
        (
            "/v1/chat/completions",
            "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"}}]}\n\n",
            "data: [DONE]\n\n",
        ),
        (
            "/anthropic/v1/messages",
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"role\":\"assistant\",\"content\":[]}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
    ] {
        let mut client = Request::post(path, chat("m", "hi", true)).begin(server.gateway).unwrap();
        puppet.got();
        puppet.say(format!("{STREAM}{first}"));
        let head = client.answer_head("POST").unwrap();
        assert_eq!(head.status, 200);
        let mut body = client.data_until(first);
        assert_eq!(body, first.as_bytes());
        server.limit_file_bytes(Some(0));
        puppet.say(last);
        puppet.close();
        assert!(!client.rest(&mut body), "an answer that is not recorded must not end in order");
        let rest = String::from_utf8(body[first.len()..].to_vec()).unwrap();
        assert!(!rest.contains("[DONE]") && !rest.contains("message_stop"), "{rest}");
        let anthropic = path.starts_with("/anthropic");
        assert_eq!(rest.starts_with("event: error\n"), anthropic, "{rest}");
        assert_shape(anthropic, rest[rest.find("data: ").unwrap() + 6..].trim_end());
        unfinished.push(head.exchange());
        server.limit_file_bytes(None);
    }
    // There is room again: what comes next is recorded as ever.
    let next = Request::post("/v1/chat/completions", chat("m", "hi", true)).begin(server.gateway);
    puppet.got();
    puppet.say(format!("{STREAM}data: [DONE]\n\n"));
    puppet.close();
    let next = next.unwrap().answer("POST").unwrap();
    assert!(next.whole && next.text() == "data: [DONE]\n\n");
    server.stop();
    let mut server = setup.start();
    for exchange in unfinished {
        let (_, response) = Log::exchange(&data, &exchange);
        assert_eq!(response["outcome"], "interrupted");
    }
    assert_eq!(Log::exchange(&data, &next.exchange()).1["outcome"], "complete");
    server.stop();
    verify(&data);
}

#[test]
fn a_plain_answer_that_cannot_be_recorded_is_not_released() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let puppet = Puppet::new();
    let mut server = Setup::new(&data, &puppet.upstream.url()).start();

    // One that is held back as a whole becomes a clear error.
    for (path, anthropic) in [("/v1/chat/completions", false), ("/anthropic/v1/messages", true)] {
        let mut client = Request::post(path, chat("m", "hi", false)).begin(server.gateway).unwrap();
        puppet.got();
        server.limit_file_bytes(Some(0));
        puppet.say(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n{\"secret\":\"leak\"}",
        );
        puppet.close();
        let answer = client.answer("POST").unwrap();
        assert_eq!(answer.status, 503);
        assert_shape(anthropic, &answer.text());
        assert!(!answer.text().contains("leak"));
        server.limit_file_bytes(None);
    }

    // Of a large one, the client has the beginning. Neither its end nor anything that could pass for it may follow.
    let large = vec![b'x'; 3 << 20];
    let mut client = Request::post("/v1/chat/completions", chat("m", "hi", false)).begin(server.gateway).unwrap();
    puppet.got();
    puppet.say(format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n", large.len() + 4));
    puppet.say(large.clone());
    let head = client.answer_head("POST").unwrap();
    assert_eq!(head.status, 200);
    let mut body = Vec::new();
    while body.len() < 1 << 20 {
        body.extend(client.data().unwrap().unwrap());
    }
    server.limit_file_bytes(Some(0));
    puppet.say("tail");
    puppet.close();
    assert!(!client.rest(&mut body), "an answer that is not recorded must not end in order");
    assert!(body.len() < large.len() + 4);
    assert!(body.iter().all(|&byte| byte == b'x'), "nothing but the provider's bytes may stand in a plain answer");
    server.limit_file_bytes(None);
    server.stop();
    verify(&data);
}

#[test]
fn what_cannot_be_recorded_goes_nowhere_and_the_server_recovers() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let standin = StandIn::start();
    let mut server = Setup::new(&data, &standin.url()).start();
    let ask = |path: &str, text: &str| Request::post(path, chat("echo", text, false)).send(server.gateway);
    let paths = [("/v1/chat/completions", false), ("/anthropic/v1/messages", true)];
    let mut acknowledged = vec![ask(paths[0].0, "before").exchange()];
    for _ in 0..2 {
        server.limit_file_bytes(Some(0));
        for (path, anthropic) in paths {
            let answer = ask(path, "must-not-arrive");
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert_shape(anthropic, &answer.text());
            assert!(answer.header("x-tabellion-entry").is_none(), "there is no entry to name");
        }
        server.limit_file_bytes(None);
        for (path, _) in paths {
            let answer = ask(path, "after");
            assert_eq!(answer.status, 200, "{}", answer.text());
            acknowledged.push(answer.exchange());
        }
    }
    assert_eq!(standin.saw(&chat("echo", "must-not-arrive", false)), 0);
    assert_eq!(standin.saw(&chat("echo", "after", false)), 4);
    server.assert_no_panic();
    for exchange in acknowledged {
        assert_eq!(Log::exchange(&data, &exchange).1["outcome"], "complete");
    }
    server.assert_well();
    server.stop();
    verify(&data);
}

#[test]
fn a_log_line_that_cannot_be_written_is_no_reason_to_fail() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let standin = StandIn::start();
    // Its own messages go to the same full disk.
    let mut server = Setup::new(&data, &standin.url()).stderr_to(&place.path().join("stderr")).start();
    server.limit_file_bytes(Some(0));
    for (path, anthropic) in [("/v1/chat/completions", false), ("/anthropic/v1/messages", true)] {
        let answer = Request::post(path, chat("m", "hi", false)).send(server.gateway);
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_shape(anthropic, &answer.text());
    }
    server.limit_file_bytes(None);
    server.stop();
    verify(&data);
}

/// A file system of a given size, if this process may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(megabytes: u32) -> Option<Self> {
        use rustix::mount::{MountFlags, mount};
        let place = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(format!("size={megabytes}m")).unwrap();
        mount("tmpfs", place.path(), "tmpfs", MountFlags::empty(), options.as_c_str()).ok()?;
        Some(Self(place))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount(96) else {
        eprintln!("skipped: only root may mount a small disk");
        return;
    };
    let data = disk.0.path().join("data");
    let standin = StandIn::start();
    let mut server = Setup::new(&data, &standin.url()).start();
    // No two are alike, or they would be stored once.
    let mut random = Random(7);
    let mut ask = |bytes: usize| {
        let text: String = (0..bytes / 8).map(|_| format!("w{:06} ", random.below(1_000_000))).collect();
        Request::post("/v1/chat/completions", chat("m", &text, false)).send(server.gateway)
    };
    let mut acknowledged = vec![ask(100).exchange()];
    let ballast = disk.0.path().join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while file.write_all(&[1; 64 << 10]).is_ok() {}
    while file.write_all(&[1]).is_ok() {}
    // Room that the write-ahead log has reserved is used up first.
    let refused = loop {
        let answer = ask(2 << 20);
        if answer.status != 200 {
            break answer;
        }
        acknowledged.push(answer.exchange());
        assert!(acknowledged.len() < 64, "a full disk takes no end of requests");
    };
    assert_eq!(refused.status, 503);
    assert_shape(false, &refused.text());
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    let answer = ask(100);
    assert_eq!(answer.status, 200, "{}", answer.text());
    acknowledged.push(answer.exchange());
    for exchange in &acknowledged {
        assert_eq!(Log::exchange(&data, exchange).1["outcome"], "complete");
    }
    server.assert_well();
    server.stop();
    verify(&data);
}

#[test]
fn streams_are_not_held_up() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let standin = StandIn::start();
    let mut server = Setup::new(&data, &standin.url()).start();
    let requests = [
        ("/v1/chat/completions", chat("gate-chat", "one two three four five", true)),
        ("/anthropic/v1/messages", chat("gate-messages", "one two three four five", true)),
        ("/v1/responses", br#"{"model":"gate-responses","stream":true,"input":"one two three four five"}"#.to_vec()),
        (
            "/v1/completions",
            br#"{"model":"gate-completions","stream":true,"prompt":"one two three four five"}"#.to_vec(),
        ),
    ];
    for (path, body) in requests {
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let gate = asked["model"].as_str().unwrap().trim_start_matches("gate-");
        let mut client = Request::post(path, body).begin(server.gateway).unwrap();
        // The provider sends its next event only when the client has the one before.
        standin.release(gate, 1);
        assert_eq!(client.answer_head("POST").unwrap().status, 200);
        let mut events = 0;
        loop {
            let mut event = Vec::new();
            while !event.ends_with(b"\n\n") {
                match client.data().unwrap() {
                    Some(data) => event.extend(data),
                    None => break,
                }
            }
            if event.is_empty() {
                break;
            }
            events += 1;
            standin.release(gate, 1);
        }
        assert!(events > 4, "{path}: {events}");
    }
    server.stop();
    verify(&data);
}

fn metric(server: &Server, outcome: &str) -> usize {
    let text = Request::get("/metrics").send(server.console).text();
    let line = format!("tabellion_exchanges_total{{upstream=\"openai\",outcome=\"{outcome}\"}} ");
    text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}

#[test]
fn every_way_to_end_is_recorded_as_what_it_is() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let standin = StandIn::start();
    // A port where nobody listens.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = Setup::new(&data, &standin.url())
        .with("TABELLION_UPSTREAM_ANTHROPIC_URL", &format!("http://{nowhere}"))
        .start();
    let path = "/v1/chat/completions";

    // What the client gets, what is recorded, why, and with which status of the provider.
    for (model, stream, status, whole, outcome, reason, recorded_status) in [
        ("m", false, 200, true, "complete", None, Some(200)),
        ("m", true, 200, true, "complete", None, Some(200)),
        ("error-400", false, 400, true, "error", Some("provider_error"), Some(400)),
        ("error-429", true, 429, true, "error", Some("provider_error"), Some(429)),
        ("error-500", false, 500, true, "error", Some("provider_error"), Some(500)),
        ("drop", false, 502, true, "error", Some("upstream_broke_off"), None),
        ("break", false, 200, false, "error", Some("upstream_broke_off"), Some(200)),
        ("break", true, 200, false, "error", Some("upstream_broke_off"), Some(200)),
        // Its last words say that it is at its end; only the mark behind them is missing.
        ("nodone", true, 200, true, "complete", None, Some(200)),
        ("fail", true, 200, true, "error", Some("provider_error"), Some(200)),
    ] {
        let answer = Request::post(path, chat(model, "some words to say", stream)).send(server.gateway);
        let what = format!("{model} {stream}: {}", answer.text());
        assert_eq!((answer.status, answer.whole), (status, whole), "{what}");
        assert_recorded(&data, &answer, outcome, reason, recorded_status, &what);
    }
    let body = br#"{"model":"nodone","stream":true,"input":"some words to say"}"#;
    let answer = Request::post("/v1/responses", body).send(server.gateway);
    assert!(answer.whole);
    assert_recorded(&data, &answer, "error", Some("stream_ended_early"), Some(200), "ended early");
    let answer = Request::post("/anthropic/v1/messages", chat("m", "x", false)).send(server.gateway);
    assert_eq!(answer.status, 502);
    assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap()["type"], "error");
    assert_recorded(&data, &answer, "error", Some("upstream_unreachable"), None, "unreachable");
    let answer = Request::post(path, "x").header("content-encoding", "rot13").send(server.gateway);
    assert_eq!(answer.status, 415);
    assert_recorded(&data, &answer, "refused", Some("unknown_encoding"), Some(415), "refused");

    // The client goes away while it waits, and in the middle.
    let waiting = Request::post(path, chat("gate-never", "x", false)).header("x-tabellion-case", "WAITING");
    let waiting = waiting.begin(server.gateway).unwrap();
    common::eventually("the provider to have it", || (standin.saw(&chat("gate-never", "x", false)) == 1).then_some(()));
    drop(waiting);
    let (_, response) = Log::case(&data, "WAITING");
    assert_eq!((&response["outcome"], &response["reason"]), (&"client_gone".into(), &"client_gone".into()));
    let mut middle = Request::post(path, chat("hang", "some words to say", true)).begin(server.gateway).unwrap();
    let head = middle.answer_head("POST").unwrap();
    middle.data_until("some");
    drop(middle);
    let (_, response) = Log::exchange(&data, &head.exchange());
    assert_eq!((&response["outcome"], &response["status"]), (&"client_gone".into(), &200.into()));
    let said = Log::read(&data).content(&response);
    assert!(has(&said, b"some"), "what the client had is recorded");

    let log = Log::read(&data);
    for outcome in ["complete", "error", "client_gone", "refused"] {
        let of = |entry: &&Value| entry["outcome"] == outcome && entry["upstream"] == "openai";
        assert_eq!(metric(&server, outcome), log.entries.iter().filter(of).count(), "{outcome}");
    }
    server.stop();
    verify(&data);
}

fn assert_recorded(data: &Path, answer: &Answer, outcome: &str, reason: Option<&str>, status: Option<u16>, what: &str) {
    let (request, response) = Log::exchange(data, &answer.exchange());
    assert_eq!(response["outcome"], outcome, "{what}");
    assert_eq!(response.get("reason").and_then(Value::as_str), reason, "{what}");
    assert_eq!(response.get("status").and_then(Value::as_u64), status.map(u64::from), "{what}");
    let index: usize = answer.header("x-tabellion-entry").expect("the answer names its entry").parse().unwrap();
    let log = Log::read(data);
    assert_eq!(log.entries[index], request, "{what}");
    assert_eq!(log.responses(&answer.exchange()).len(), 1, "{what}");
}

fn commitment(data: &Path, entry: &Value, bytes: &[u8]) -> String {
    common::keyring::commitment(data, entry["id"].as_str().unwrap(), 0, bytes).expect("nothing was erased")
}

#[test]
fn bytes_pass_unchanged_in_both_directions_and_are_committed_to() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let mut random = Random(11);
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let json = br#"{ "model" : "m", "n":1e400, "a":1, "a":2, "u":"\ud800", "messages":[ {"role":"user","content":"\u0041"} ] }"#;
    let events = b"data: {\"choices\":[]}\r\n\r\n: comment\n\ndata: [DONE]\n\ndata: after\n\n".to_vec();
    // What is asked with, and what is answered: headers, body, and the sizes of its chunks (none: with its length).
    let length = "content-type: application/json\r\n";
    type Case = (Vec<u8>, &'static str, Vec<u8>, Option<usize>);
    let cases: Vec<Case> = vec![
        (json.to_vec(), length, json.to_vec(), None),
        (json.to_vec(), length, json.to_vec(), Some(1)),
        (b"\xff\xfe\x00 not text".to_vec(), "content-type: audio/mpeg\r\n", random.bytes(3 << 20), None),
        (random.bytes(3 << 20), "", random.bytes(3 << 20), Some(4_097)),
        (gzip(json), "content-encoding: gzip\r\ncontent-type: application/json\r\n", gzip(json), Some(7)),
        (vec![b'{'; 1 << 20], "content-encoding: gzip\r\n", gzip(&random.bytes(3 << 20)), None),
        (Vec::new(), "content-type: application/json\r\n", Vec::new(), None),
        (Vec::new(), "", Vec::new(), Some(1)),
        (b"x".to_vec(), "content-type: text/event-stream\r\n", events.clone(), Some(1)),
        (b"x".to_vec(), "content-type: text/event-stream\r\n", events.clone(), Some(13)),
        (b"x".to_vec(), "content-type: text/event-stream\r\n", events.clone(), None),
        (b"x".to_vec(), "content-type: text/event-stream\r\ncontent-encoding: gzip\r\n", gzip(&events), Some(5)),
        (b"x".to_vec(), "content-type: text/event-stream\r\n", random.bytes(100_000), Some(333)),
    ];
    let cases = Arc::new(cases);
    let next = Arc::new(AtomicUsize::new(0));
    let received = Arc::new(Mutex::new(None));
    let upstream = {
        let (cases, next, seen) = (cases.clone(), next.clone(), received.clone());
        Upstream::start(move |got, stream| {
            *seen.lock().unwrap() = Some(got);
            let (_, headers, body, chunks) = &cases[next.load(Ordering::SeqCst)];
            let mut out = format!("HTTP/1.1 200 OK\r\nx-provider: Some Value\r\n{headers}").into_bytes();
            match chunks {
                None => {
                    out.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
                    out.extend_from_slice(body);
                }
                Some(size) => {
                    out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
                    for chunk in body.chunks(*size) {
                        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                        out.extend_from_slice(chunk);
                        out.extend_from_slice(b"\r\n");
                    }
                    out.extend_from_slice(b"0\r\n\r\n");
                }
            }
            // A write for each small piece, so that they arrive as they were cut.
            out.chunks(if out.len() < 4096 { 11 } else { 60_000 }).all(|piece| stream.write_all(piece).is_ok())
        })
    };
    let mut server = Setup::new(&data, &upstream.url()).start();
    for (n, (asked, headers, body, chunks)) in cases.iter().enumerate() {
        next.store(n, Ordering::SeqCst);
        let path = "/v1/chat/completions?a=%20%2f&b=c+d&e=%C3%A9;f";
        let mut request = Request::post(path, asked.clone())
            .header("authorization", "Bearer abc")
            .header("x-tabellion-case", "C")
            .header("x-tabellion-tag-t", "v")
            .header("x-other", "Kept As-Is");
        if headers.contains("gzip") && asked.starts_with(&[0x1f, 0x8b]) {
            request = request.header("content-encoding", "gzip");
        }
        if n % 2 == 1 {
            request = request.chunked(1 + n * 1000);
        }
        let answer = request.send(server.gateway);
        assert_eq!(answer.status, 200, "{n}: {}", answer.text());
        let got = received.lock().unwrap().take().unwrap();
        assert!(got.body == *asked, "{n}: the provider got other bytes");
        assert_eq!(got.path, path);
        assert_eq!(got.header("authorization"), Some("Bearer abc"));
        assert_eq!(got.header("x-other"), Some("Kept As-Is"));
        assert!(got.headers.iter().all(|(name, _)| !name.starts_with("x-tabellion")), "{:?}", got.headers);
        assert_eq!(answer.header("x-provider"), Some("Some Value"));
        assert!(answer.whole, "{n}");
        assert!(answer.body == *body, "{n}: the client got other bytes, {} for {}", answer.body.len(), body.len());
        if chunks.is_none() {
            assert!(
                answer.header("content-type") != Some("application/json") || answer.header("content-length").is_some()
            );
        }
        let (request, response) = Log::exchange(&data, &answer.exchange());
        for (entry, bytes) in [(&request, asked), (&response, body)] {
            if !bytes.is_empty() {
                assert_eq!(entry["original"]["bytes"], bytes.len(), "{n}");
                assert_eq!(entry["original"]["commitment"], commitment(&data, entry, bytes), "{n}");
            }
        }
    }
    server.assert_well();
    server.stop();
    verify(&data);
}

#[test]
fn answers_without_a_body_pass_as_they_are() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let upstream = Upstream::start(|received, stream| {
        let (_, status) = received.path.rsplit_once('/').unwrap();
        let length = if status == "204" { "" } else { "content-length: 1234\r\n" };
        write!(stream, "HTTP/1.1 {status} Word\r\ncontent-type: application/json\r\netag: \"e\"\r\n{length}\r\n")
            .is_ok()
    });
    let mut server = Setup::new(&data, &upstream.url()).start();
    for (method, status) in [("HEAD", 200), ("HEAD", 404), ("DELETE", 204), ("GET", 304), ("GET", 204), ("HEAD", 304)] {
        let answer = Request::new(method, &format!("/v1/{status}")).send(server.gateway);
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{method}");
        assert_eq!(answer.header("etag"), Some("\"e\""), "{method} {status}");
        if method == "HEAD" {
            assert_eq!(answer.header("content-length"), Some("1234"), "{method} {status}");
        }
        let (_, response) = Log::exchange(&data, &answer.exchange());
        let outcome = if status < 400 { "complete" } else { "error" };
        assert_eq!((&response["outcome"], &response["status"]), (&outcome.into(), &status.into()));
        assert_eq!(response["content"]["omitted"], "empty");
    }
    server.assert_well();
    server.stop();
    verify(&data);
}
