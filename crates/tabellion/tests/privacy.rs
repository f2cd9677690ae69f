//! Nothing personal in the clear at rest: what the detectors find is in no file, no metric, no page and no log line,
//! wherever in an exchange it stood and however the exchange ended.
//!
//! A [`Person`] has one value of every kind. Each place gets a person of its own, so that what is found names the place.
//! Values are made, not written down: a scanner for secrets has nothing to find in this file.

mod common;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use common::{Log, Random, Request, Server, Setup, StandIn, Upstream, chat, files, has, verify};
use serde_json::{Value, json};

/// One value of every kind.
#[derive(Clone)]
struct Person {
    place: String,
    email: String,
    phone: String,
    card: String,
    ssn: String,
    iban: String,
    ipv4: String,
    ipv6: String,
    keys: Vec<String>,
    pem: String,
}

impl Person {
    /// Always the same one for the same place.
    fn of(place: &str) -> Self {
        let seed = place.bytes().fold(17, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        let mut random = Random(seed);
        let mut below = |n: u64| random.below(n);
        let mut text = |alphabet: &[u8], length: usize| -> String {
            (0..length).map(|_| char::from(alphabet[below(alphabet.len() as u64) as usize])).collect()
        };
        let lower = b"abcdefghijklmnopqrstuvwxyz";
        let digits = b"0123456789";
        let alphanumeric = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let base32 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let email = format!("{}.{}@{}-mail.com", text(lower, 7), text(lower, 6), text(lower, 8));
        let phone = format!("+1 415-7{}-{}", text(b"23456789", 2), text(digits, 4));
        let card = with_luhn(&format!("4539{}", text(digits, 11)));
        let ssn = format!("5{}-{}-{}", text(b"12345678", 2), text(b"12345678", 2), text(b"123456789", 4));
        let iban = with_iban_digits("DE", &text(digits, 18));
        let ipv4 = format!("81.1{}.1{}.1{}", text(b"12345678", 2), text(digits, 2), text(digits, 2));
        let hex = b"123456789abcdef";
        let ipv6 = format!(
            "2a02:{}:{}:{}:{}:{}:{}:{}",
            text(hex, 4),
            text(hex, 4),
            text(hex, 4),
            text(hex, 4),
            text(hex, 4),
            text(hex, 4),
            text(hex, 4)
        );
        let keys = vec![
            format!("{}-proj-{}", "sk", text(alphanumeric, 48)),
            format!("{}-ant-api03-{}AA", "sk", text(alphanumeric, 91)),
            format!("{}_{}", "ghp", text(alphanumeric, 36)),
            format!("{}{}", "AKIA", text(base32, 16)),
            format!("{}-{}-{}-{}", "xoxb", text(digits, 12), text(digits, 12), text(alphanumeric, 24)),
            format!("{}_live_{}", "sk", text(alphanumeric, 24)),
            format!("{}{}", "AIza", text(alphanumeric, 35)),
        ];
        let lines: Vec<String> = (0..3).map(|_| text(alphanumeric, 64)).collect();
        let kind = format!("{} {}", "PRIVATE", "KEY");
        let pem = format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----", lines.join("\n"));
        Self { place: place.to_owned(), email, phone, card, ssn, iban, ipv4, ipv6, keys, pem }
    }

    /// A text with all of them, on one line but for the private key.
    fn text(&self) -> String {
        format!("{}\n{}\n", self.line(), self.pem)
    }

    /// All but the private key, on one line.
    fn line(&self) -> String {
        let Self { email, phone, card, ssn, iban, ipv4, ipv6, keys, .. } = self;
        format!(
            "write to {email} or call {phone}, card {card}, SSN {ssn}, IBAN {iban}, from {ipv4} and {ipv6}, keys {}",
            keys.join(" and ")
        )
    }

    fn short(&self) -> String {
        format!("{} {}", self.email, self.phone)
    }

    fn values(&self) -> Vec<String> {
        let mut values = vec![
            self.email.clone(),
            self.phone.clone(),
            self.card.clone(),
            self.ssn.clone(),
            self.iban.clone(),
            self.ipv4.clone(),
            self.ipv6.clone(),
        ];
        values.extend(self.keys.iter().cloned());
        // A key's first line is as bad as all of it.
        values.push(self.pem.lines().nth(1).unwrap().to_owned());
        values
    }
}

fn with_luhn(digits: &str) -> String {
    (0..10)
        .map(|check| format!("{digits}{check}"))
        .find(|number| {
            let sum: u32 = number
                .bytes()
                .rev()
                .enumerate()
                .map(|(at, byte)| u32::from(byte - b'0') * if at % 2 == 0 { 1 } else { 2 })
                .map(|n| if n > 9 { n - 9 } else { n })
                .sum();
            sum.is_multiple_of(10)
        })
        .unwrap()
}

fn with_iban_digits(country: &str, account: &str) -> String {
    let mut rest: u128 = 0;
    for c in format!("{account}{country}00").chars() {
        for digit in c.to_digit(36).unwrap().to_string().bytes() {
            rest = (rest * 10 + u128::from(digit - b'0')) % 97;
        }
    }
    format!("{country}{:02}{account}", 98 - rest)
}

/// The ways in which a value may lie in a file.
fn forms(value: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = value.as_bytes();
    let mut forms: Vec<(&str, Vec<u8>)> = vec![
        ("plain", bytes.to_vec()),
        ("lower case", value.to_lowercase().into_bytes()),
        ("upper case", value.to_uppercase().into_bytes()),
        ("hex", hex::encode(bytes).into_bytes()),
        ("upper-case hex", hex::encode_upper(bytes).into_bytes()),
        ("utf-16le", value.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("utf-16be", value.encode_utf16().flat_map(u16::to_be_bytes).collect()),
    ];
    let odd = |c: char| !c.is_ascii_alphanumeric();
    let escape = |which: fn(char) -> bool, how: fn(char) -> String| {
        value.chars().map(|c| if which(c) { how(c) } else { c.to_string() }).collect::<String>().into_bytes()
    };
    if value.contains(odd) {
        let special = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '_');
        forms.push(("percent-encoded", escape(special, |c| format!("%{:02X}", c as u32))));
        forms.push(("percent-encoded", escape(special, |c| format!("%{:02x}", c as u32))));
        forms.push(("percent-encoded throughout", escape(|_| true, |c| format!("%{:02X}", c as u32))));
        forms.push(("JSON-escaped", escape(special, |c| format!("\\u{:04x}", c as u32))));
        forms.push(("JSON-escaped", escape(special, |c| format!("\\u{:04X}", c as u32))));
        forms.push(("HTML-escaped", escape(special, |c| format!("&#{};", c as u32))));
    }
    forms.push(("JSON-escaped throughout", escape(|_| true, |c| format!("\\u{:04x}", c as u32))));
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    if digits.len() >= 9 && !value.contains(|c: char| c.is_ascii_alphabetic()) {
        forms.push(("digits", digits.into_bytes()));
    }
    for (name, engine) in [("base64", STANDARD), ("base64 for URLs", URL_SAFE)] {
        for shift in 0..3 {
            let mut padded = vec![0; shift];
            padded.extend_from_slice(bytes);
            let encoded = engine.encode(padded);
            // The characters that depend on nothing but the value.
            let first = [0, 2, 3][shift];
            let last = (shift + bytes.len()) * 8 / 6;
            forms.push((name, encoded.as_bytes()[first..last].to_vec()));
        }
    }
    forms.retain(|(_, form)| form.len() >= 9);
    forms
}

/// Finds which of many values lie where.
struct Scanner {
    needles: aho::Automaton,
    names: Vec<String>,
}

mod aho {
    //! Many needles at once: by their first eight bytes, in a table.

    use std::collections::HashMap;

    pub(crate) struct Automaton {
        by_start: HashMap<[u8; 8], Vec<(usize, Vec<u8>)>>,
        /// Which pairs of bytes begin a needle, so that the table is seldom asked.
        pairs: Vec<bool>,
    }

    impl Automaton {
        pub(crate) fn new(needles: Vec<Vec<u8>>) -> Self {
            let mut by_start: HashMap<[u8; 8], Vec<(usize, Vec<u8>)>> = HashMap::new();
            let mut pairs = vec![false; 1 << 16];
            for (n, needle) in needles.into_iter().enumerate() {
                pairs[usize::from(needle[0]) << 8 | usize::from(needle[1])] = true;
                by_start.entry(needle[..8].try_into().unwrap()).or_default().push((n, needle));
            }
            Self { by_start, pairs }
        }

        pub(crate) fn find(&self, haystack: &[u8]) -> Vec<(usize, usize)> {
            let mut found = Vec::new();
            for (at, start) in haystack.windows(8).enumerate() {
                if !self.pairs[usize::from(start[0]) << 8 | usize::from(start[1])] {
                    continue;
                }
                for (n, needle) in self.by_start.get(start).into_iter().flatten() {
                    if haystack[at..].starts_with(needle) {
                        found.push((*n, at));
                    }
                }
            }
            found
        }
    }
}

impl Scanner {
    fn new(people: &[Person], secrets: &[&str]) -> Self {
        let (mut needles, mut names) = (Vec::new(), Vec::new());
        let values = people.iter().flat_map(|person| {
            let place = person.place.clone();
            person.values().into_iter().map(move |value| (format!("{value:?} of {place:?}"), value))
        });
        for (name, value) in
            values.chain(secrets.iter().map(|secret| (format!("credential {secret:?}"), (*secret).to_owned())))
        {
            for (form, needle) in forms(&value) {
                needles.push(needle);
                names.push(format!("{name}, {form}"));
            }
        }
        Self { needles: aho::Automaton::new(needles), names }
    }

    fn scan(&self, place: &str, bytes: &[u8], found: &mut String) {
        // Also without what stands between groups of digits.
        let squeezed: Vec<u8> = bytes.iter().copied().filter(|byte| !b" -.()/+".contains(byte)).collect();
        for (how, bytes) in [("", bytes), (" (without separators)", &squeezed)] {
            for (n, at) in self.needles.find(bytes) {
                let around = &bytes[at.saturating_sub(60)..(at + 80).min(bytes.len())];
                let around = String::from_utf8_lossy(around).into_owned();
                writeln!(found, "{place}{how}: {}\n    …{around:?}…", self.names[n]).unwrap();
            }
        }
    }

    /// Whatever a server has written or shows, and nothing of it may hold a value.
    fn assert_clean(&self, server: &Server) {
        let mut found = String::new();
        let mut bytes = 0;
        for directory in [server.data.clone(), server.data.with_extension("keys")] {
            let files = files(&directory);
            assert!(!files.is_empty());
            for (path, content) in files {
                bytes += content.len();
                self.scan(&path.display().to_string(), &content, &mut found);
                self.scan("the name of a file", path.display().to_string().as_bytes(), &mut found);
            }
        }
        assert!(bytes > 10_000, "there is something to look through");
        self.scan("stdout and stderr", server.said().as_bytes(), &mut found);
        assert!(found.is_empty(), "{} places:\n{found}", found.matches('\n').count() / 2);
    }

    /// The console's pages, while the server runs.
    fn assert_pages_clean(&self, server: &Server) {
        let mut found = String::new();
        let log = Log::read(&server.data);
        let paths = ["/metrics", "/healthz", "/readyz", "/log/checkpoint", "/", "/api/v1/openapi.json", "/nowhere"];
        let mut paths: Vec<String> = paths.map(str::to_owned).to_vec();
        paths.push("/api/v1/exchanges".into());
        paths.push("/api/v1/search?q=mail".into());
        for bundle in 0..log.entries.len() / 256 {
            paths.push(format!("/log/tile/entries/{bundle:03}"));
        }
        paths.push(format!("/log/tile/entries/{:03}.p/{}", log.entries.len() / 256, log.entries.len() % 256));
        for path in paths {
            let page = Request::get(&path).send(server.console);
            self.scan(&path, format!("{:?}", page.headers).as_bytes(), &mut found);
            self.scan(&path, &page.body, &mut found);
        }
        assert!(found.is_empty(), "{found}");
    }
}

#[test]
fn the_scanner_finds_what_is_there() {
    let people = [Person::of("one"), Person::of("two")];
    let scanner = Scanner::new(&people, &["secret-credential"]);
    for value in people.iter().flat_map(Person::values) {
        for (form, needle) in forms(&value) {
            let mut found = String::new();
            let mut bytes = vec![0; 1000];
            bytes.extend_from_slice(&needle);
            bytes.extend_from_slice(&[0; 1000]);
            scanner.scan("here", &bytes, &mut found);
            assert!(found.contains(form), "{value} as {form}");
        }
        for shift in 0..3 {
            let mut found = String::new();
            let text = format!("{}{value} and more", "x".repeat(shift));
            scanner.scan("here", STANDARD.encode(text).as_bytes(), &mut found);
            assert!(found.contains("base64"), "{value} at {shift}");
        }
    }
    let mut found = String::new();
    scanner.scan(
        "here",
        format!(
            "x{}",
            people[0]
                .card
                .as_str()
                .chars()
                .collect::<Vec<_>>()
                .chunks(4)
                .map(|c| c.iter().collect::<String>())
                .collect::<Vec<_>>()
                .join(" ")
        )
        .as_bytes(),
        &mut found,
    );
    assert!(found.contains("without separators"));
    found.clear();
    scanner.scan("here", b"nothing of the kind, though secret-credentia is near", &mut found);
    assert_eq!(found, "");
    scanner.scan("here", b"x secret-credential x", &mut found);
    assert_ne!(found, "");
}

#[test]
fn the_detectors_find_every_value_that_is_planted() {
    // Or else this file would test nothing. Redaction of the text by itself is the measure.
    let person = Person::of("alone");
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("text");
    for text in [person.text(), person.line(), person.short()] {
        std::fs::write(&file, &text).unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_tabellion"))
            .args(["redact", "--data"])
            .arg(place.path().join("none"))
            .arg(&file)
            .output()
            .unwrap();
        let redacted = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for value in person.values().iter().filter(|value| text.contains(*value)) {
            assert!(!redacted.contains(value), "{value} in {redacted}");
        }
    }
}

/// Percent-encodes what is not a letter or a digit, or everything.
fn percent(text: &str, all: bool) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() && !all { char::from(byte).to_string() } else { format!("%{byte:02X}") }
            },
        )
        .collect()
}

fn json_escaped(text: &str) -> String {
    text.chars().map(|c| format!("\\u{:04x}", c as u32)).collect()
}

/// Hands out people, and remembers them.
#[derive(Default)]
struct People(Vec<Person>);

impl People {
    fn at(&mut self, place: &str) -> Person {
        let person = Person::of(place);
        self.0.push(person.clone());
        person
    }

    fn text(&mut self, place: &str) -> String {
        self.at(place).text()
    }

    fn line(&mut self, place: &str) -> String {
        self.at(place).line()
    }
}

const CREDENTIALS: [(&str, &str); 4] = [
    ("authorization", "Bearer opaque-provider-credential-1"),
    ("x-api-key", "opaque-provider-credential-2"),
    ("api-key", "opaque-provider-credential-3"),
    ("x-goog-api-key", "opaque-provider-credential-4"),
];

fn setup(data: &Path, upstream: &str) -> Setup {
    // Whatever any library has to say.
    Setup::new(data, upstream).with("TABELLION_LOG", "trace").with("RUST_LOG", "trace")
}

fn finish(server: &mut Server, people: &People) {
    let secrets = CREDENTIALS.map(|(_, value)| value.trim_start_matches("Bearer "));
    let scanner = Scanner::new(&people.0, &secrets);
    // Until everything is published, so that it is in the tiles too.
    common::eventually("the last answer to be published", || {
        let log = Log::read(&server.data);
        let closed = |request: &&Value| !log.responses(request["id"].as_str().unwrap()).is_empty();
        log.requests().iter().all(closed).then_some(())
    });
    scanner.assert_pages_clean(server);
    scanner.assert_clean(server);
    server.stop();
    scanner.assert_clean(server);
    verify(&server.data);
}

#[test]
fn nothing_of_a_request_is_kept_in_the_clear() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let standin = StandIn::start();
    let mut server = setup(&data, &standin.url()).start();
    let mut p = People::default();

    let messages = json!([
        {"role": "system", "content": p.text("system message")},
        {"role": "developer", "content": p.text("developer message"), "name": p.line("name of a message")},
        {"role": "user", "content": [
            {"type": "text", "text": p.text("content part")},
            {"type": "image_url", "image_url": {"url": format!("https://x/{}", p.at("image url").email)}},
            {"type": "input_audio", "input_audio": {"data": p.line("audio data"), "format": "wav"}},
            {"type": "file", "file": {"filename": p.line("file name")}}]},
        {"role": "assistant", "content": null, "refusal": p.text("refusal"), "tool_calls": [
            {"id": p.line("call id"), "type": "function", "function": {"name": p.line("function name"),
             "arguments": json!({"to": p.text("arguments"), "again": json!({"deeper": p.text("JSON in JSON in JSON")}).to_string()}).to_string()}}]},
        {"role": "tool", "tool_call_id": "c", "content": json!({"rows": [{"email": p.text("tool result as JSON")}]}).to_string()},
        {"role": "tool", "tool_call_id": "c", "content": p.text("tool result")},
        {"role": "user", "content": p.text("user message")},
    ]);
    let key = p.line("key of an object");
    let body = json!({
        "model": p.line("model name"),
        "messages": messages,
        "user": p.line("user"),
        "safety_identifier": p.line("safety identifier"),
        "metadata": {"case_id": p.line("metadata case"), "session_id": p.line("metadata session"),
                     "user_id": p.line("metadata user"), "other": p.text("metadata"), key: 1},
        "tools": [{"type": "function", "function": {"name": "f", "description": p.text("tool description"),
                   "parameters": {"type": "object", "properties": {"x": {"enum": [p.line("enum of a schema")]}}}}}],
        "stop": [p.text("stop word")],
        "prediction": {"type": "content", "content": p.text("prediction")},
        "response_format": {"type": "json_schema", "json_schema": {"name": p.line("schema name")}},
        "unknown": {"list": [[[p.text("unknown field")]]], "number": p.at("number").card.parse::<u64>().unwrap()},
    });
    let mut bodies = vec![("/v1/chat/completions", body.to_string().into_bytes())];
    // The same with every character escaped, as nobody writes it and every parser reads it.
    let escaped = json_escaped(&p.text("escaped message"));
    bodies.push((
        "/v1/chat/completions",
        format!(r#"{{"model":"echo","messages":[{{"role":"user","content":"{escaped}"}}]}}"#).into(),
    ));
    bodies.push((
        "/v1/completions",
        json!({"model": "echo", "prompt": p.text("prompt"), "suffix": p.text("suffix")}).to_string().into(),
    ));
    bodies.push((
        "/v1/completions",
        json!({"model": "echo", "prompt": [p.text("first prompt"), p.text("second prompt")]}).to_string().into(),
    ));
    bodies.push(("/v1/embeddings", json!({"model": "m", "input": p.text("embedding")}).to_string().into()));
    bodies.push((
        "/v1/embeddings",
        json!({"model": "m", "input": [p.text("embedding 1"), p.text("embedding 2")]}).to_string().into(),
    ));
    bodies.push((
        "/v1/responses",
        json!({"model": "echo", "input": p.text("input"), "instructions": p.text("instructions")}).to_string().into(),
    ));
    bodies.push(("/v1/responses", json!({"model": "tool", "input": [
        {"role": "user", "content": [{"type": "input_text", "text": p.text("input part")}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": json!({"a": p.text("input call")}).to_string()},
        {"type": "function_call_output", "call_id": "c", "output": p.text("input result")},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": p.text("reasoning")}]}]}).to_string().into()));
    bodies.push(("/anthropic/v1/messages", json!({"model": "echo", "max_tokens": 9, "system": [{"type": "text", "text": p.text("anthropic system")}],
        "metadata": {"user_id": p.line("anthropic user")}, "messages": [
        {"role": "user", "content": p.text("anthropic message")},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": p.text("thinking")}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": {"b": [p.text("tool input")]}}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": p.text("anthropic result")}]},
            {"type": "document", "source": {"type": "text", "data": p.text("document")}, "title": p.line("title")}]}]}).to_string().into()));
    bodies.push((
        "/anthropic/v1/messages/count_tokens",
        json!({"model": "m", "system": p.text("counted system"), "messages": []}).to_string().into(),
    ));
    bodies.push(("/openai/v1/chat/completions", chat("echo", &p.text("named upstream"), true)));
    bodies.push(("/v1/unknown/operation", json!({"whatever": p.text("unknown operation")}).to_string().into()));
    // The second time, the parts are known already.
    let again = bodies[0].clone();
    bodies.push(again);
    for (path, body) in &bodies {
        for stream in [false, true] {
            let mut request = Request::post(path, body.clone());
            for (name, value) in CREDENTIALS {
                request = request.header(name, value);
            }
            if stream {
                request = request.header("x-standin", "chunk=1");
                let mut value: Value = serde_json::from_slice(body).unwrap();
                value["stream"] = true.into();
                request = request.body(value.to_string());
            }
            let answer = request.send(server.gateway);
            assert!(answer.whole && answer.status < 500, "{path}: {}", answer.text());
        }
    }

    // Bodies that are not JSON, or not quite.
    let mut raw: Vec<(&str, Vec<u8>)> = vec![
        ("text/plain", p.text("plain text").into()),
        ("", p.text("no content type").into()),
        ("application/octet-stream", p.text("octets").into()),
        ("text/csv", format!("name,value\nx,\"{}\"\n", p.line("csv")).into()),
        (
            "application/x-www-form-urlencoded",
            format!("a={}&b=2", percent(&p.text("form"), false).replace("%20", "+")).into(),
        ),
        ("application/x-www-form-urlencoded", format!("a={}", percent(&p.text("form throughout"), true)).into()),
        (
            "multipart/form-data; boundary=b",
            format!(
                "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\r\n{}\r\n--b--\r\n",
                p.at("upload name").email,
                p.text("upload")
            )
            .into(),
        ),
        (
            "application/jsonl",
            format!("{}\n{}\n", json!({"a": p.text("first line")}), json!({"a": p.text("second line")})).into(),
        ),
        ("application/json", format!("{{\"messages\":[{{\"content\":{}", json!(p.text("JSON cut off"))).into()),
        ("application/json", format!("\u{feff}{}", json!({"a": p.text("byte order mark")})).into()),
        (
            "application/json",
            format!("{}{{\"a\":{}}}{}", "[".repeat(2000), json!(p.text("deep JSON")), "]".repeat(2000)).into(),
        ),
        ("application/json", p.text("text that says it is JSON").into()),
        ("application/json", format!("{{\"a\":1,\"a\":{},\"a\":2}}", json!(p.text("repeated name"))).into()),
        ("application/json; charset=utf-16", p.text("utf-16").encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("application/json; charset=utf-16", p.text("utf-16be").encode_utf16().flat_map(u16::to_be_bytes).collect()),
    ];
    let mut broken = b"\xff\xfe {\"a\": \"\x80 ".to_vec();
    broken.extend(p.text("invalid UTF-8").bytes());
    broken.extend(b"\xc3\x28\"}");
    raw.push(("application/json", broken.clone()));
    raw.push(("application/octet-stream", broken.clone()));
    for (content_type, body) in raw {
        let answer = Request::post("/v1/files", body).header("content-type", content_type).send(server.gateway);
        assert!(answer.status < 500, "{content_type}: {}", answer.text());
    }
    // Compressed ones.
    for encoding in ["gzip", "zstd"] {
        let body = chat("echo", &p.text(encoding), false);
        let body = match encoding {
            "gzip" => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
                encoder.write_all(&body).unwrap();
                encoder.finish().unwrap()
            }
            _ => zstd::encode_all(&body[..], 0).unwrap(),
        };
        let answer =
            Request::post("/v1/chat/completions", body).header("content-encoding", encoding).send(server.gateway);
        assert!(answer.status < 500, "{}", answer.text());
    }
    finish(&mut server, &p);
}

#[test]
fn nothing_of_a_requests_head_is_kept_in_the_clear() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let mut server = setup(&data, &silent().url()).start();
    let mut p = People::default();
    let ask = || Request::post("/v1/chat/completions", chat("m", "hi", false));
    let heads: Vec<Request> = vec![
        ask().header("x-tabellion-case", &p.line("case")).header("x-tabellion-actor", &p.line("actor")),
        ask().header("x-tabellion-tag-note", &p.line("tag")),
        ask().header(&format!("x-tabellion-tag-{}", p.at("name of a tag").ipv4), "v"),
        ask().header("helicone-property-session", &p.line("helicone property")),
        ask().header("helicone-user-id", &p.line("helicone user")),
        ask().header("x-portkey-metadata", &json!({"_user": p.line("portkey user"), "deep": {"a": p.line("portkey deep")}, "n": p.at("portkey number").card.parse::<u64>().unwrap()}).to_string()),
        ask().header("x-portkey-metadata", &p.line("portkey that is no JSON")),
        ask().header("traceparent", &p.line("traceparent")).header("tracestate", &p.line("tracestate")).header("baggage", &p.line("baggage")),
        ask().header("user-agent", &p.line("user agent")).header("referer", &p.line("referer")).header("cookie", &p.line("cookie")),
        ask().header("x-forwarded-for", &p.at("forwarded").ipv4).header("openai-organization", &p.line("organization")),
        ask().header("content-type", &format!("text/plain; {}", p.line("content type"))),
        ask().header("content-encoding", &p.line("content encoding")),
        ask().header("upgrade", &p.line("upgrade")),
        ask().header("x-tabellion-case", &format!("{} {}", "x".repeat(2_030), p.short_at("long case"))),
        ask().header("x-tabellion-case", &format!("{} {}", "x".repeat(240), p.line("case cut off"))),
    ];
    for request in heads {
        let answer = request.send(server.gateway);
        assert!(answer.status < 600, "{}", answer.text());
    }
    // Paths and queries, encoded a little, throughout, and with plus signs for spaces.
    let paths = [
        format!("/v1/files/{}", percent(&p.line("path"), false)),
        format!("/v1/files/{}", percent(&p.text("path throughout"), true)),
        format!("/v1/files?q={}", percent(&p.text("query"), false)),
        format!("/v1/files?q={}", percent(&p.line("query with plus signs"), false).replace("%20", "+")),
        format!("/v1/files?{}=1", percent(&p.line("name in a query"), false)),
        format!("/v1/files?to={}&from={}", p.at("plain query").email, p.at("plain query 2").ipv4),
        format!("/anthropic/{}/x", p.at("plain path").email),
        format!("/v1/users/{}/files/{}", p.at("plain path 2").email, p.at("plain path 3").iban),
        format!("/v1/models?key={}", p.at("gemini key").keys[6]),
        // Nowhere: no exchange, and no record either.
        format!("/nowhere/{}", percent(&p.line("path to nowhere"), false)),
    ];
    for path in paths {
        for method in ["GET", "POST", "DELETE"] {
            let answer = Request::new(method, &path).body("").send(server.gateway);
            assert!(answer.status < 500, "{path}: {}", answer.text());
        }
    }
    finish(&mut server, &p);
}

impl People {
    fn short_at(&mut self, place: &str) -> String {
        self.at(place).short()
    }
}

/// A provider that says nothing of what it was asked.
fn silent() -> Upstream {
    Upstream::start(|_, stream| stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_ok())
}

#[test]
fn what_is_percent_encoded_in_a_body_is_not_kept_in_the_clear() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let mut server = setup(&data, &silent().url()).start();
    let mut p = People::default();
    let link = format!("https://example.com/unsubscribe?to={}", percent(&p.line("link in a body"), false));
    Request::post("/v1/chat/completions", chat("m", &link, false)).send(server.gateway);
    finish(&mut server, &p);
}

#[test]
fn what_is_encoded_twice_in_a_path_is_not_kept_in_the_clear() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let mut server = setup(&data, &silent().url()).start();
    let mut p = People::default();
    let paths = [
        format!(
            "/v1/files?redirect={}",
            percent(&format!("https://x/?to={}", percent(&p.line("twice"), false)), false)
        ),
        format!("/v1/files/{}", percent(&percent(&percent(&p.line("three times"), false), false), false)),
    ];
    for path in paths {
        Request::get(&path).send(server.gateway);
    }
    finish(&mut server, &p);
}

#[test]
fn escapes_in_what_is_almost_json_are_not_kept_in_the_clear() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let mut server = setup(&data, &silent().url()).start();
    let mut p = People::default();
    let line = |p: &mut People, place: &str| format!("{{\"a\":\"{}\"}}\n", json_escaped(&p.line(place)));
    let bodies = [
        format!("{}{}", line(&mut p, "first line of many"), line(&mut p, "second line of many")),
        line(&mut p, "cut off").trim_end().trim_end_matches('}').to_owned(),
        format!("{}{}{}", "[".repeat(600), line(&mut p, "deep"), "]".repeat(600)),
        format!("\u{feff}{}", line(&mut p, "after a byte order mark")),
        format!(
            "--b\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\n{}\r\n--b--\r\n",
            line(&mut p, "in a form")
        ),
    ];
    for body in bodies {
        Request::post("/v1/files", body).send(server.gateway);
    }
    finish(&mut server, &p);
}

#[test]
fn nothing_of_an_answer_is_kept_in_the_clear_however_it_ends() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let standin = StandIn::start();
    let mut server = setup(&data, &standin.url()).with("TABELLION_GATEWAY_REQUEST_BYTES_MAX", "20000").start();
    let mut p = People::default();
    let paths = ["/v1/chat/completions", "/v1/responses", "/v1/completions", "/anthropic/v1/messages"];
    for model in
        ["echo-1", "echo-7", "tool-1", "support", "loan", "error-400", "error-503", "break", "nodone", "fail", "drop"]
    {
        for path in paths {
            for (stream, extra) in [(false, "x"), (true, "x"), (true, "split"), (true, "gzip"), (false, "gzip")] {
                let text = p.text(&format!("{model} {path} {stream} {extra}"));
                let mut body = json!({"model": model, "stream": stream, "max_tokens": 9});
                match path {
                    "/v1/responses" => body["input"] = text.into(),
                    "/v1/completions" => body["prompt"] = text.into(),
                    _ => body["messages"] = json!([{"role": "user", "content": text}]),
                }
                let request = Request::post(path, body.to_string()).header("x-standin", extra);
                // Some end without an answer.
                let _ = request.try_send(server.gateway);
            }
        }
    }
    // Clients that go away in the middle, and while they wait.
    for path in ["/v1/chat/completions", "/anthropic/v1/messages"] {
        let text = p.text(&format!("gone from {path}"));
        let mut client = Request::post(path, chat("hang", &text, true))
            .header("x-standin", "chunk=1")
            .begin(server.gateway)
            .unwrap();
        client.answer_head("POST").unwrap();
        client.data().unwrap();
    }
    // Refused ones.
    let large = format!("{} {}", p.text("too large"), "x".repeat(30_000));
    for request in [
        Request::post("/v1/chat/completions", chat("m", &large, false)),
        Request::post("/v1/chat/completions", chat("m", &large, false)).chunked(1000),
        Request::post("/v1/chat/completions", p.text("not gzip")).header("content-encoding", "gzip"),
        Request::post("/v1/chat/completions", p.text("unknown encoding")).header("content-encoding", "rot13"),
        Request::post("/v1/chat/completions", p.text("upgrade")).header("upgrade", "websocket"),
    ] {
        let answer = request.send(server.gateway);
        assert!((400..502).contains(&answer.status), "{}", answer.text());
    }
    finish(&mut server, &p);
}

/// The events of a stream that says `first` and then `second`, in one of the shapes that providers have.
fn said_in_two(shape: &str, first: &str, second: &str) -> String {
    let mut out = String::new();
    let mut event = |name: Option<&str>, data: Value| {
        if let Some(name) = name {
            writeln!(out, "event: {name}").unwrap();
        }
        write!(out, "data: {data}\n\n").unwrap();
    };
    let pieces = [first, second];
    match shape {
        "chat" | "reasoning" | "arguments" | "refusal" => {
            for piece in pieces {
                let delta = match shape {
                    "chat" => json!({"content": piece}),
                    "reasoning" => json!({"reasoning_content": piece}),
                    "refusal" => json!({"refusal": piece}),
                    _ => {
                        json!({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": piece}}]})
                    }
                };
                event(
                    None,
                    json!({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": delta}]}),
                );
            }
            out.push_str("data: [DONE]\n\n");
        }
        "completions" => {
            for piece in pieces {
                event(
                    None,
                    json!({"id": "c", "object": "text_completion", "model": "m", "choices": [{"index": 0, "text": piece}]}),
                );
            }
            out.push_str("data: [DONE]\n\n");
        }
        "responses" | "responses arguments" => {
            let kind = if shape == "responses" {
                "response.output_text.delta"
            } else {
                "response.function_call_arguments.delta"
            };
            event(Some("response.created"), json!({"type": "response.created", "response": {"id": "r", "output": []}}));
            for piece in pieces {
                event(
                    Some(kind),
                    json!({"type": kind, "item_id": "i", "output_index": 0, "content_index": 0, "delta": piece}),
                );
            }
        }
        _ => {
            let (start, kind, field) = match shape {
                "messages" => (json!({"type": "text", "text": ""}), "text_delta", "text"),
                "thinking" => (json!({"type": "thinking", "thinking": ""}), "thinking_delta", "thinking"),
                _ => (
                    json!({"type": "tool_use", "id": "t", "name": "f", "input": {}}),
                    "input_json_delta",
                    "partial_json",
                ),
            };
            event(
                Some("message_start"),
                json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": []}}),
            );
            event(
                Some("content_block_start"),
                json!({"type": "content_block_start", "index": 0, "content_block": start}),
            );
            for piece in pieces {
                let mut delta = json!({"type": kind});
                delta[field] = piece.into();
                event(Some("content_block_delta"), json!({"type": "content_block_delta", "index": 0, "delta": delta}));
            }
            event(Some("message_stop"), json!({"type": "message_stop"}));
        }
    }
    out
}

#[test]
fn a_value_that_a_stream_cuts_anywhere_is_not_kept_in_the_clear() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let shapes = [
        ("chat", "/v1/chat/completions"),
        ("reasoning", "/v1/chat/completions"),
        ("refusal", "/v1/chat/completions"),
        ("arguments", "/v1/chat/completions"),
        ("completions", "/v1/completions"),
        ("responses", "/v1/responses"),
        ("responses arguments", "/v1/responses"),
        ("messages", "/anthropic/v1/messages"),
        ("thinking", "/anthropic/v1/messages"),
        ("input", "/anthropic/v1/messages"),
    ];
    // The request says which stream it wants.
    let upstream = Upstream::start(|received, stream| {
        let asked: Value = serde_json::from_slice(&received.body).unwrap();
        let word = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
        let person = Person::of(&word("model"));
        let text = if word("shape") == "arguments" || word("shape") == "responses arguments" || word("shape") == "input"
        {
            json!({"text": person.text()}).to_string()
        } else {
            person.text()
        };
        let at = asked["cut"].as_u64().unwrap() as usize;
        let body = said_in_two(&word("shape"), &text[..at], &text[at..]);
        // Half of the streams come byte by byte where it matters, the others as one.
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
        let _ = write!(stream, "{head}content-length: {}\r\n\r\n", body.len());
        let cut = (at * 7) % body.len();
        let _ = stream.write_all(&body.as_bytes()[..cut]);
        let _ = stream.flush();
        stream.write_all(&body.as_bytes()[cut..]).is_ok()
    });
    let mut server = Setup::new(&data, &upstream.url()).start();
    let mut p = People::default();
    let mut asks: Vec<(String, Vec<u8>)> = Vec::new();
    for (n, (shape, path)) in shapes.iter().enumerate() {
        // The name of the place must not be personal itself: it is the model's name.
        let person = p.at(&format!("stream-{n}"));
        let json = shape.contains("arguments") || *shape == "input";
        let text = if json { json!({"text": person.text()}).to_string() } else { person.text() };
        // Every position in the line of values; in the private key, some.
        let line = text.find("-----").unwrap();
        let cuts = (0..line).chain((line..text.len()).step_by(13));
        // All positions for one shape, and for each of the others every ninth, beginning at another one.
        let step = if n == 0 { 1 } else { 9 };
        for cut in cuts.skip(n % step).step_by(step) {
            asks.push((
                (*path).to_owned(),
                json!({"model": person.place, "stream": true, "shape": shape, "cut": cut}).to_string().into(),
            ));
        }
    }
    assert!(asks.len() > 900, "{}", asks.len());
    let gateway = server.gateway;
    std::thread::scope(|scope| {
        for half in asks.chunks(asks.len().div_ceil(8)) {
            scope.spawn(move || {
                for (path, body) in half {
                    let answer = Request::post(path, body.clone()).send(gateway);
                    assert!(answer.whole && answer.status == 200, "{}", answer.text());
                }
            });
        }
    });
    finish(&mut server, &p);
    // And the text around the values is there, so it was looked at.
    let log = Log::read(&data);
    let said = log.entries.iter().rfind(|entry| entry["kind"] == "exchange.response").unwrap();
    assert!(has(&log.content(said), b"[EMAIL_ADDRESS:"));
}
