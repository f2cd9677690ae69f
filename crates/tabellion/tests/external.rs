//! External detectors in the pipeline: asked before a request goes on and before an answer's end is released, within
//! their time, with exactly the requests that their makers' documentation shows; and what a failure of theirs does.

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{Answer, Log, Received, Request, Server, Setup, StandIn, Upstream, chat, eventually, files, has, verify};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const NAME: &str = "Zoë Quill";
const SAID: &str = "😀 My name is Zoë Quill.";

/// A stand-in for a detector: keeps what it was asked, and answers what a function says.
struct Detector {
    upstream: Upstream,
    asked: Arc<Mutex<Vec<Received>>>,
}

impl Detector {
    fn start(answer: impl Fn(&Received) -> (u16, String) + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let upstream = {
            let asked = asked.clone();
            Upstream::start(move |received, stream| {
                let (status, body) = answer(&received);
                asked.lock().unwrap().push(received);
                let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n");
                write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).is_ok()
            })
        };
        Self { upstream, asked }
    }

    fn asked(&self) -> Vec<Received> {
        self.asked.lock().unwrap().clone()
    }

    /// Every text that it was asked about, at that member of a request's body.
    fn texts(&self, pointer: &str) -> Vec<String> {
        let text = |received: &Received| {
            let body: Value = serde_json::from_slice(&received.body).unwrap();
            body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        self.asked().iter().map(text).collect()
    }
}

/// Where the name stands in a text, in code points.
fn names_in(text: &str) -> Vec<(usize, usize)> {
    let chars = |byte: usize| text[..byte].chars().count();
    text.match_indices(NAME).map(|(at, name)| (chars(at), chars(at + name.len()))).collect()
}

fn body(received: &Received) -> Value {
    serde_json::from_slice(&received.body).unwrap()
}

/// Finds the name, as Presidio would.
fn presidio(received: &Received) -> (u16, String) {
    let found: Vec<Value> = names_in(body(received)["text"].as_str().unwrap())
        .into_iter()
        .map(|(start, end)| json!({"analysis_explanation": null, "end": end, "entity_type": "PERSON", "score": 0.85, "start": start}))
        .collect();
    (200, json!(found).to_string())
}

struct Place {
    _directory: tempfile::TempDir,
    data: std::path::PathBuf,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    Place { _directory: directory, data }
}

fn server(data: &Path, upstream: &str, external: &str) -> Server {
    Setup::new(data, upstream).configured(&format!("[[external]]\n{external}\n")).start()
}

fn ask(server: &Server, text: &str) -> Answer {
    Request::post("/v1/chat/completions", chat("gpt-4o", text, false))
        .header("content-type", "application/json")
        .send(server.gateway)
}

/// The name is in no file of the log.
fn assert_absent(data: &Path) {
    for (path, bytes) in files(data) {
        assert!(!has(&bytes, NAME.as_bytes()), "{}", path.display());
        assert!(!has(&bytes, b"Quill"), "{}", path.display());
    }
}

fn metrics(server: &Server) -> String {
    Request::get("/metrics").send(server.console).text()
}

#[test]
fn presidio_is_asked_about_new_text_and_its_findings_are_in_the_record() {
    let (place, detector, provider) = (place(), Detector::start(presidio), StandIn::start());
    let external =
        format!("name = \"presidio\"\nkind = \"presidio\"\nurl = \"{}\"\nlanguage = \"en\"", detector.upstream.url());
    let mut server = server(&place.data, &format!("http://{}", provider.address), &external);
    let answer = Request::post("/v1/chat/completions", chat("gpt-4o", SAID, false))
        .header("content-type", "application/json")
        .header("x-tabellion-case", NAME)
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .send(server.gateway);
    assert_eq!(answer.status, 200);
    let (request, response) = Log::exchange(&place.data, &answer.exchange());

    let first = &detector.asked()[0];
    assert_eq!((&*first.method, &*first.path), ("POST", "/analyze"));
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(first.header("authorization"), None);
    let mut asked = body(first);
    let text = asked["text"].take();
    assert_eq!(asked, json!({"text": null, "language": "en", "score_threshold": 0.5}));
    let text = text.as_str().unwrap();
    assert!(text.contains(SAID) && text.contains("/v1/chat/completions") && !text.contains("traceparent"));

    let log = Log::read(&place.data);
    let redacted = String::from_utf8(log.content(&request)).unwrap();
    let token = request["redaction"]["tokens"][0].as_str().unwrap();
    assert!(token.starts_with("PERSON:"));
    assert!(redacted.contains(&format!("😀 My name is [{token}].")), "{redacted}");
    assert_eq!(request["case"], format!("[{token}]"), "what a header says is checked too");
    assert_eq!(request["redaction"]["findings"], json!({"PERSON": 2}));
    assert_eq!(request["redaction"]["external"], json!({"presidio": 2}));
    assert!(request["redaction"].get("external_failures").is_none());
    assert!(response["redaction"]["external"]["presidio"].is_number());

    // The next turn has the same message in it: nothing that was said before is sent again.
    let before = detector.asked().len();
    let turn = json!({"model": "gpt-4o", "messages": [
        {"role": "user", "content": SAID}, {"role": "user", "content": "And the weather?"}]});
    let answer = Request::post("/v1/chat/completions", turn.to_string())
        .header("content-type", "application/json")
        .send(server.gateway);
    let (request, _) = Log::exchange(&place.data, &answer.exchange());
    assert_eq!(request["redaction"]["external"], json!({"presidio": 1}), "it is still known whose finding that is");
    let texts = detector.texts("/text").split_off(before);
    assert_eq!(texts[0], "And the weather?");
    assert!(texts.iter().all(|text| !text.contains(SAID)), "{texts:?}");

    assert!(metrics(&server).contains("tabellion_external_failures_total{detector=\"presidio\"} 0"));
    server.stop();
    assert!(!server.said().contains("Quill"));
    assert_absent(&place.data);
    verify(&place.data);
}

#[test]
fn an_answer_is_checked_before_its_end_is_released() {
    let (place, detector) = (place(), Detector::start(presidio));
    let provider = Upstream::start(|_, stream| {
        let event = |text: &str| {
            let delta = json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": null}]});
            format!("data: {delta}\n\n")
        };
        let body = format!("{}{}data: [DONE]\n\n", event("I am Zoë "), event("Quill."));
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).is_ok()
    });
    let external = format!("name = \"p\"\nkind = \"presidio\"\nurl = \"{}\"", detector.upstream.url());
    let mut server = server(&place.data, &provider.url(), &external);
    let answer = Request::post("/v1/chat/completions", chat("gpt-4o", "hello", true))
        .header("content-type", "application/json")
        .send(server.gateway);
    assert!(answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    let (_, response) = Log::exchange(&place.data, &answer.exchange());
    assert_eq!(response["redaction"]["external"], json!({"p": 1}));
    assert!(detector.texts("/text").iter().any(|text| text.contains("I am Zoë Quill.")), "put together first");
    server.stop();
    assert_absent(&place.data);
    verify(&place.data);
}

/// What a detector may do instead of answering, and the word for it.
fn failing() -> Vec<(&'static str, Detector)> {
    let late = Detector::start(|received| {
        std::thread::sleep(Duration::from_secs(3));
        presidio(received)
    });
    let finding = |start: i64, end: i64| {
        json!([{"entity_type": "PERSON", "score": 0.85, "start": start, "end": end}]).to_string()
    };
    let (beyond, empty) = (finding(0, 100_000), finding(1, 1));
    vec![
        ("timed_out", late),
        ("refused", Detector::start(|_| (500, "My name is Zoë Quill".into()))),
        ("refused", Detector::start(|_| (302, String::new()))),
        ("malformed", Detector::start(|_| (200, "<html>".into()))),
        ("malformed", Detector::start(move |_| (200, beyond.clone()))),
        ("malformed", Detector::start(move |_| (200, empty.clone()))),
        ("malformed", Detector::start(|_| (200, "[".repeat(1 << 20)))),
        ("too_large", Detector::start(|_| (200, " ".repeat(9 << 20)))),
    ]
}

#[test]
fn without_an_answer_nothing_goes_upstream() {
    for (word, detector) in failing() {
        let place = place();
        let got = Arc::new(Mutex::new(0));
        let provider = {
            let got = got.clone();
            Upstream::start(move |_, _| {
                *got.lock().unwrap() += 1;
                false
            })
        };
        let external =
            format!("name = \"p\"\nkind = \"presidio\"\nurl = \"{}\"\ntimeout_ms = 600", detector.upstream.url());
        let mut server = server(&place.data, &provider.url(), &external);
        let started = Instant::now();
        let answer = Request::post("/v1/chat/completions", chat("gpt-4o", SAID, false))
            .header("content-type", "application/json")
            .header("x-tabellion-case", NAME)
            .send(server.gateway);
        if word == "timed_out" {
            assert!(started.elapsed() < Duration::from_millis(2500), "{:?}", started.elapsed());
        }
        assert_eq!(answer.status, 503, "{word}");
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(said["error"]["code"], "external_failed");
        assert_eq!(*got.lock().unwrap(), 0, "{word}");
        let (request, response) = Log::exchange(&place.data, &answer.exchange());
        assert_eq!(request["redaction"]["external_failures"], json!({"p": word}));
        assert_eq!((&request["case"], &request["operation"]), (&Value::Null, &Value::Null));
        assert_eq!((&response["outcome"], &response["reason"]), (&json!("refused"), &json!("external_failed")));
        assert!(
            metrics(&server).contains("tabellion_external_failures_total{detector=\"p\"} 1"),
            "{}",
            metrics(&server)
        );
        server.stop();
        assert!(!server.said().contains("Quill"), "{}", server.said());
        assert_absent(&place.data);
        verify(&place.data);
    }
}

#[test]
fn a_detector_that_cannot_be_reached_may_be_left_out_if_somebody_said_so() {
    let (place, provider) = (place(), StandIn::start());
    let external = "name = \"p\"\nkind = \"presidio\"\nurl = \"http://127.0.0.1:9\"\non_failure = \"continue\"";
    let mut server = server(&place.data, &format!("http://{}", provider.address), external);
    for n in 1..=2 {
        let answer = ask(&server, "Write to anna.kowalska@nordwind-bank.de about the weather");
        assert_eq!(answer.status, 200);
        let (request, response) = Log::exchange(&place.data, &answer.exchange());
        // Also when it is said again: what nobody looked at is looked at again.
        assert_eq!(request["redaction"]["external_failures"], json!({"p": "unreachable"}));
        assert_eq!(request["redaction"]["findings"], json!({"EMAIL_ADDRESS": 1}), "ours looks all the same");
        assert!(request["redaction"].get("external").is_none());
        assert_eq!(response["outcome"], "complete");
        let failed = format!("tabellion_external_failures_total{{detector=\"p\"}} {}", 2 * n);
        assert!(metrics(&server).contains(&failed), "{}", metrics(&server));
    }
    server.stop();
    verify(&place.data);
}

#[test]
fn an_answer_that_cannot_be_checked_is_withheld() {
    let place = place();
    // It fails once it sees the answer.
    let detector =
        Detector::start(
            |received| {
                if has(&received.body, b"secret of") { (500, String::new()) } else { presidio(received) }
            },
        );
    let provider = Upstream::start(|_, stream| {
        let body =
            json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "the secret of Zoë Quill"}}]})
                .to_string();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).is_ok()
    });
    let external = format!("name = \"p\"\nkind = \"presidio\"\nurl = \"{}\"", detector.upstream.url());
    let mut server = server(&place.data, &provider.url(), &external);
    let answer = Request::post("/v1/chat/completions", chat("gpt-4o", "hello", false))
        .header("content-type", "application/json")
        .header("x-tabellion-case", "C-7")
        .send(server.gateway);
    assert_eq!(answer.status, 503);
    assert!(!answer.text().contains("secret"));
    let (_, response) = Log::case(&place.data, "C-7");
    assert_eq!((&response["outcome"], &response["reason"]), (&json!("interrupted"), &json!("external_failed")));
    assert!(response["original"]["bytes"].as_u64().unwrap() > 50 && response.get("content").is_none());
    assert_eq!(response["redaction"]["external_failures"], json!({"p": "refused"}));
    server.stop();
    assert_absent(&place.data);
    verify(&place.data);
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Checks a Signature Version 4 from what arrived, as the service does. 403 if it is wrong.
fn comprehend(received: &Received, secret: &str) -> (u16, String) {
    assert_eq!((&*received.method, &*received.path), ("POST", "/"));
    assert_eq!(received.header("x-amz-target"), Some("Comprehend_20171127.DetectPiiEntities"));
    assert_eq!(received.header("content-type"), Some("application/x-amz-json-1.1"));
    let time = received.header("x-amz-date").unwrap();
    let authorization = received.header("authorization").unwrap();
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256 ").unwrap();
    let fields: BTreeMap<&str, &str> = fields.split(", ").map(|field| field.split_once('=').unwrap()).collect();
    let scope = format!("{}/eu-central-1/comprehend/aws4_request", &time[..8]);
    assert_eq!(fields["Credential"], format!("AKIDEXAMPLE/{scope}"));
    let names = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target";
    assert_eq!(fields["SignedHeaders"], names);
    let headers: String = names.split(';').map(|name| format!("{name}:{}\n", received.header(name).unwrap())).collect();
    let canonical = format!("POST\n/\n\n{headers}\n{names}\n{}", hex::encode(Sha256::digest(&received.body)));
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
    let mut key = hmac(format!("AWS4{secret}").as_bytes(), &time[..8]);
    for part in ["eu-central-1", "comprehend", "aws4_request"] {
        key = hmac(&key, part);
    }
    if fields["Signature"] != hex::encode(hmac(&key, &to_sign)) {
        return (403, r#"{"__type":"InvalidSignatureException"}"#.into());
    }
    let asked = body(received);
    assert_eq!(asked.as_object().unwrap().keys().collect::<Vec<_>>(), ["Text", "LanguageCode"]);
    let found: Vec<Value> = names_in(asked["Text"].as_str().unwrap())
        .into_iter()
        .map(|(start, end)| json!({"Score": 0.99, "Type": "NAME", "BeginOffset": start, "EndOffset": end}))
        .collect();
    (200, json!({"Entities": found}).to_string())
}

/// One exchange through a server with this detector; the request's entry.
fn one_exchange(place: &Place, external: &str) -> Value {
    let provider = StandIn::start();
    let mut server = server(&place.data, &format!("http://{}", provider.address), external);
    let answer = ask(&server, SAID);
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), server.said());
    let (request, _) = Log::exchange(&place.data, &answer.exchange());
    server.stop();
    assert_eq!(request["redaction"]["findings"], json!({"PERSON": 1}));
    assert_absent(&place.data);
    verify(&place.data);
    request
}

#[test]
fn aws_comprehend_is_asked_with_a_signature_that_it_accepts() {
    let place = place();
    let secret = format!("{}{}", "wJalrXUtnFEMI/K7MDENG+", "bPxRfiCYEXAMPLEKEY");
    let detector = {
        let secret = secret.clone();
        Detector::start(move |received| comprehend(received, &secret))
    };
    let file = place.data.with_extension("aws");
    let keys = format!(
        "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = {secret}\naws_session_token = T/+=\n"
    );
    std::fs::write(&file, keys).unwrap();
    let request = one_exchange(
        &place,
        &format!(
            "name = \"aws\"\nkind = \"aws_comprehend\"\nregion = \"eu-central-1\"\nurl = \"{}\"\nkey_file = \"{}\"",
            detector.upstream.url(),
            file.display()
        ),
    );
    assert_eq!(request["redaction"]["external"], json!({"aws": 1}));
    let asked = &detector.asked()[0];
    assert_eq!(asked.header("x-amz-security-token"), Some("T/+="));
    assert_eq!(body(asked)["LanguageCode"], "en");
}

#[test]
fn azure_is_asked_as_its_api_says() {
    let detector = Detector::start(|received| {
        assert_eq!((&*received.method, &*received.path), ("POST", "/language/:analyze-text?api-version=2023-04-01"));
        if received.header("ocp-apim-subscription-key") != Some("k-e-y") {
            return (401, String::new());
        }
        let mut asked = body(received);
        let text = asked["analysisInput"]["documents"][0]["text"].take();
        assert_eq!(
            asked,
            json!({
                "kind": "PiiEntityRecognition",
                "parameters": {"modelVersion": "latest", "loggingOptOut": true, "stringIndexType": "UnicodeCodePoint"},
                "analysisInput": {"documents": [{"id": "1", "language": "de", "text": null}]},
            })
        );
        let entities: Vec<Value> = names_in(text.as_str().unwrap())
            .into_iter()
            .map(|(start, end)| json!({"text": NAME, "category": "Person", "offset": start, "length": end - start, "confidenceScore": 0.9}))
            .collect();
        let document = json!({"redactedText": "", "id": "1", "entities": entities, "warnings": []});
        let results = json!({"documents": [document], "errors": [], "modelVersion": "2023-09-01"});
        (200, json!({"kind": "PiiEntityRecognitionResults", "results": results}).to_string())
    });
    let place = place();
    let file = place.data.with_extension("key");
    std::fs::write(&file, "k-e-y\n").unwrap();
    one_exchange(
        &place,
        &format!(
            "name = \"azure\"\nkind = \"azure_language\"\nlanguage = \"de\"\nurl = \"{}/\"\nkey_file = \"{}\"",
            detector.upstream.url(),
            file.display()
        ),
    );
    assert!(!detector.asked().is_empty());
}

/// Answers as DLP does, and as Google's token endpoint, to whoever signed with the key.
fn google(received: &Received, public: &Path, location: &str) -> (u16, String) {
    if received.path == "/token" {
        let form = String::from_utf8(received.body.clone()).unwrap();
        let assertion = form
            .strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
            .expect("the form of RFC 7523");
        assert_eq!(received.header("content-type"), Some("application/x-www-form-urlencoded"));
        let (said, signature) = assertion.rsplit_once('.').unwrap();
        let beside = |name: &str| public.with_extension(name);
        std::fs::write(beside("said"), said).unwrap();
        std::fs::write(beside("signature"), URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", "-sha256", "-verify"]).arg(public).arg("-signature");
        let verified = openssl.arg(beside("signature")).arg(beside("said")).output().unwrap().status.success();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(said.split('.').nth(1).unwrap()).unwrap()).unwrap();
        assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
        if !verified {
            return (401, String::new());
        }
        return (200, json!({"access_token": "ya29.t", "expires_in": 3599, "token_type": "Bearer"}).to_string());
    }
    assert_eq!(received.method, "POST");
    assert_eq!(received.path, format!("/v2/projects/my-project/locations/{location}/content:inspect"));
    if received.header("authorization") != Some("Bearer ya29.t") {
        return (401, String::new());
    }
    let asked = body(received);
    assert_eq!(asked["inspectConfig"]["includeQuote"], false);
    assert_eq!(asked["inspectConfig"]["minLikelihood"], "POSSIBLE");
    assert_eq!(asked["inspectConfig"]["infoTypes"][0], json!({"name": "PERSON_NAME"}));
    let text = asked["item"]["value"].as_str().unwrap();
    let found: Vec<Value> = text
        .match_indices(NAME)
        .map(|(at, name)| {
            let range = json!({"start": at.to_string(), "end": (at + name.len()).to_string()});
            json!({"infoType": {"name": "PERSON_NAME"}, "likelihood": "LIKELY", "location": {"byteRange": range}})
        })
        .collect();
    (200, json!({"result": {"findings": found}}).to_string())
}

#[test]
fn google_dlp_is_asked_with_a_token_or_with_a_service_account() {
    let place = place();
    let (key, public) = (place.data.with_extension("pem"), place.data.with_extension("public"));
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"])
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success());
    let made =
        Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&key).arg("-out").arg(&public).output().unwrap();
    assert!(made.status.success());
    let detector = Detector::start(move |received| google(received, &public, "europe-west3"));
    let credential = place.data.with_extension("credential");
    let external = format!(
        "name = \"dlp\"\nkind = \"google_dlp\"\nproject = \"my-project\"\nlocation = \"europe-west3\"\nurl = \"{}\"\nkey_file = \"{}\"",
        detector.upstream.url(),
        credential.display()
    );
    let account = json!({
        "type": "service_account",
        "client_email": "t@my-project.iam.gserviceaccount.com",
        "private_key": std::fs::read_to_string(&key).unwrap(),
        "private_key_id": "k1",
        "token_uri": format!("{}/token", detector.upstream.url()),
    });
    std::fs::write(&credential, account.to_string()).unwrap();
    one_exchange(&place, &external);
    let tokens = || detector.asked().iter().filter(|received| received.path == "/token").count();
    assert_eq!(tokens(), 1, "a token is kept");

    let other = self::place();
    std::fs::write(&credential, "ya29.t\n").unwrap();
    one_exchange(&other, &external);
    assert_eq!(tokens(), 1);
}

#[test]
fn several_are_asked_at_once_and_long_texts_in_pieces() {
    let (place, provider) = (place(), StandIn::start());
    let slow = |received: &Received| {
        std::thread::sleep(Duration::from_millis(300));
        presidio(received)
    };
    let (one, two) = (Detector::start(slow), Detector::start(slow));
    let external = format!(
        "name = \"one\"\nkind = \"presidio\"\nurl = \"{}\"\n[[external]]\nname = \"two\"\nkind = \"presidio\"\nurl = \"{}\"",
        one.upstream.url(),
        two.upstream.url()
    );
    let mut server = server(&place.data, &format!("http://{}", provider.address), &external);
    let text = "Nothing is to be seen here. ".repeat(2500) + SAID;
    let started = Instant::now();
    let answer = ask(&server, &text);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(started.elapsed() < Duration::from_millis(1900), "{:?}", started.elapsed());
    let (request, _) = Log::exchange(&place.data, &answer.exchange());
    assert_eq!(request["redaction"]["findings"], json!({"PERSON": 1}), "the same finding of two is one");
    let texts = one.texts("/text");
    assert!(texts.len() >= 5 && texts.iter().all(|text| text.len() <= 16 << 10), "{}", texts.len());
    eventually("both to be asked alike", || (two.asked().len() == one.asked().len()).then_some(()));
    server.stop();
    assert_absent(&place.data);
}
