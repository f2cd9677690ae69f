//! Presidio's REST API on the real server: its shapes, its refusals, its limits, and that it keeps what it is sent to
//! itself.

mod common;

use std::net::SocketAddr;

use common::{Answer, Request, Server, Setup, files, has};
use serde_json::{Value, json};

/// A server whose providers nobody asks.
fn server(data: &tempfile::TempDir) -> Server {
    Setup::new(&data.path().join("log"), "http://127.0.0.1:9").start()
}

fn post(to: SocketAddr, path: &str, body: &Value) -> (u16, Value) {
    read(&Request::post(path, body.to_string()).send(to))
}

fn get(to: SocketAddr, path: &str) -> (u16, Value) {
    read(&Request::get(path).send(to))
}

fn read(answer: &Answer) -> (u16, Value) {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{}", answer.text());
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

/// What was found: entity, start, end and score, surest first.
fn found(to: SocketAddr, body: &Value) -> Vec<(String, u64, u64, f64)> {
    let (status, answer) = post(to, "/presidio/analyze", body);
    assert_eq!(status, 200, "{answer}");
    spans(&answer)
}

fn spans(answer: &Value) -> Vec<(String, u64, u64, f64)> {
    let one = |result: &Value| {
        let number = |name: &str| result[name].as_u64().unwrap();
        let entity = result["entity_type"].as_str().unwrap().to_owned();
        (entity, number("start"), number("end"), result["score"].as_f64().unwrap())
    };
    answer.as_array().unwrap().iter().map(one).collect()
}

fn span(entity: &str, start: u64, end: u64, score: f64) -> (String, u64, u64, f64) {
    (entity.to_owned(), start, end, score)
}

#[test]
fn analyzes_as_presidio_does() {
    let data = tempfile::tempdir().unwrap();
    let mut server = server(&data);
    let to = server.console;

    let health = Request::get("/presidio/health").send(to);
    assert_eq!((health.status, &*health.text()), (200, "Presidio Analyzer service is up"));

    // Results in code points, members in alphabetical order.
    let answer =
        Request::post("/presidio/analyze", json!({"text": "Zoë 😀: jo@example.com", "language": "en"}).to_string());
    assert_eq!(
        answer.send(to).text(),
        r#"[{"analysis_explanation":null,"end":21,"entity_type":"EMAIL_ADDRESS","score":0.85,"start":7}]"#
    );
    let ssn = json!({"text": "my ssn: 536-90-4399", "language": "en", "entities": ["US_SSN"]});
    let (entity, start, end, sure) = found(to, &ssn).remove(0);
    assert_eq!((&*entity, start, end), ("US_SSN", 8, 19));

    // Thresholds, languages, entities.
    let with = |base: &Value, name: &str, value: Value| {
        let mut body = base.clone();
        body[name] = value;
        body
    };
    assert_eq!(found(to, &with(&ssn, "score_threshold", json!(sure))).len(), 1);
    assert_eq!(found(to, &with(&ssn, "score_threshold", json!(sure + 0.001))), []);
    assert_eq!(
        found(to, &json!({"text": "my ssn: 536-90-4399", "language": "it"})).iter().filter(|f| f.0 == "US_SSN").count(),
        0
    );
    let email = json!({"text": "email: admin@github.com", "language": "en"});
    assert_eq!(found(to, &email), [span("EMAIL_ADDRESS", 7, 23, 0.85)]);
    assert_eq!(found(to, &with(&email, "entities", json!([]))), [span("EMAIL_ADDRESS", 7, 23, 0.85)]);
    assert_eq!(found(to, &with(&email, "entities", json!(["EMAIL_ADDRESS", "NOTHING_KNOWN"]))).len(), 1);
    assert_eq!(found(to, &with(&email, "entities", json!(["IP_ADDRESS"]))), []);
    assert_eq!(found(to, &with(&email, "score_threshold", json!(0.9))).len(), 1, "the engine is surer than it says");
    // What Presidio does not look for is looked for when it is asked for.
    let key = json!({"text": "key AKIAIOSFODNN7EXAMPLQ", "language": "en"});
    assert!(found(to, &key).iter().all(|f| f.0 != "API_KEY"));
    assert_eq!(found(to, &with(&key, "entities", json!(["API_KEY"])))[0].0, "API_KEY");

    // Lists of texts have lists of lists.
    let batch = json!({"text": ["email: admin@github.com", "", "nothing"], "language": "en"});
    let (status, answer) = post(to, "/presidio/analyze", &batch);
    assert_eq!(status, 200);
    let lengths: Vec<usize> = answer.as_array().unwrap().iter().map(|list| list.as_array().unwrap().len()).collect();
    assert_eq!(lengths, [1, 0, 0]);

    // Allow lists.
    let allowing = |list: Value| with(&email, "allow_list", list);
    assert_eq!(found(to, &allowing(json!(["admin@github.com"]))), []);
    assert_eq!(found(to, &allowing(json!([".*@github.com"]))).len(), 1);
    let matching = with(&allowing(json!([".*@GITHUB.com"])), "allow_list_match", json!("regex"));
    assert_eq!(found(to, &matching), []);
    assert_eq!(found(to, &with(&matching, "regex_flags", json!(0))).len(), 1);

    // What a caller gives as context counts.
    let bare = json!({"text": "it is 536904399", "language": "en", "entities": ["US_SSN"]});
    let told = with(&bare, "context", json!(["social security number"]));
    assert!(found(to, &told)[0].3 > found(to, &bare).first().map_or(0.0, |f| f.3));

    // Explanations.
    let (_, answer) = post(to, "/presidio/analyze", &with(&told, "return_decision_process", json!(true)));
    let why = &answer[0]["analysis_explanation"];
    assert_eq!(why["recognizer"], "UsSsnRecognizer");
    assert_ne!(why["supportive_context_word"], "");
    assert_eq!(why["score"], answer[0]["score"]);
    let (base, score) = (why["original_score"].as_f64().unwrap(), why["score"].as_f64().unwrap());
    assert_eq!(why["score_context_improvement"].as_f64().unwrap(), score - base);
    let members: Vec<&String> = why.as_object().unwrap().keys().collect();
    assert!(members.is_sorted(), "{members:?}");
    assert_eq!(members.len(), 10);
    let (_, answer) = post(to, "/presidio/analyze", &with(&told, "return_decision_process", json!(0)));
    assert_eq!(answer[0]["analysis_explanation"], Value::Null);

    server.stop();
}

#[test]
fn takes_recognizers_with_a_request() {
    let data = tempfile::tempdir().unwrap();
    let mut server = server(&data);
    let to = server.console;
    let zip = |more: Value| {
        let mut recognizer = json!({
            "name": "Zip code Recognizer",
            "supported_language": "en",
            "patterns": [{"name": "zip code (weak)", "regex": r"(\b\d{5}(?:\-\d{4})?\b)", "score": 0.01}],
            "supported_entity": "ZIP"
        });
        recognizer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"text": "Zip code: 10023, mailed to jo@example.com", "language": "en", "ad_hoc_recognizers": [recognizer]})
    };
    assert!(found(to, &zip(json!({}))).contains(&span("ZIP", 10, 15, 0.01)));
    assert!(found(to, &zip(json!({"context": ["zip", "code"]}))).contains(&span("ZIP", 10, 15, 0.4)));
    assert!(found(to, &zip(json!({"supported_language": "es"}))).iter().all(|f| f.0 != "ZIP"));
    let mut asked = zip(json!({}));
    asked["entities"] = json!(["ZIP"]);
    assert_eq!(found(to, &asked), [span("ZIP", 10, 15, 0.01)]);
    asked["return_decision_process"] = json!(true);
    let (_, answer) = post(to, "/presidio/analyze", &asked);
    let why = &answer[0]["analysis_explanation"];
    assert_eq!(why["recognizer"], "Zip code Recognizer");
    assert_eq!(why["pattern_name"], "zip code (weak)");
    assert_eq!(why["regex_flags"], 26);
    assert_eq!(why["score_context_improvement"], 0);

    let titles = json!([
        {"name": "Mr.", "supported_language": "en", "deny_list": ["Mr.", "Mister"], "supported_entity": "MR_TITLE"},
        {"name": "Ms.", "supported_language": "en", "deny_list": ["Ms.", "Miss", "Mrs."], "supported_entity": "MS_TITLE"}
    ]);
    let text = json!({"text": "Mr. Smith's mail", "language": "en", "ad_hoc_recognizers": titles});
    assert_eq!(found(to, &text), [span("MR_TITLE", 0, 3, 1.0)]);

    let (status, answer) = post(to, "/presidio/analyze", &zip(json!({"patterns": [{"type": "x", "bebex": "y"}]})));
    let error = "Failed to parse /analyze request for AnalyzerEngine.analyze(). Pattern.__init__() got an unexpected \
                 keyword argument 'type'";
    assert_eq!((status, answer), (400, json!({"error": error})));
    server.stop();
}

#[test]
fn says_what_it_finds_and_does() {
    let data = tempfile::tempdir().unwrap();
    let mut server = server(&data);
    let to = server.console;
    let names = |path: &str| -> Vec<String> {
        let (status, answer) = get(to, path);
        assert_eq!(status, 200, "{path}: {answer}");
        answer.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let english = names("/presidio/supportedentities?language=en");
    for entity in ["CREDIT_CARD", "EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "PHONE_NUMBER", "US_SSN"] {
        assert!(english.iter().any(|known| known == entity), "{entity}");
    }
    assert_eq!(names("/presidio/supportedentities"), english);
    assert_eq!(names("/presidio/supportedentities?uknown=input"), english);
    let recognizers = names("/presidio/recognizers?language=en");
    for name in ["CreditCardRecognizer", "EmailRecognizer", "PhoneRecognizer", "UsSsnRecognizer"] {
        assert!(recognizers.iter().any(|known| known == name), "{name}");
    }
    assert!(!names("/presidio/recognizers?language=es").iter().any(|name| name == "UsSsnRecognizer"));
    for path in ["/presidio/supportedentities?language=he", "/presidio/recognizers?language=he"] {
        let none = json!({"error": "No matching recognizers were found to serve the request."});
        assert_eq!(get(to, path), (500, none));
    }
    assert_eq!(names("/presidio/anonymizers"), ["custom", "encrypt", "hash", "keep", "mask", "redact", "replace"]);
    assert_eq!(names("/presidio/deanonymizers"), ["decrypt", "deanonymize_keep"]);
    // Whoever asks for all that can be asked for gets no error.
    let all = json!({"text": "jo@example.com", "language": "en", "entities": english, "score_threshold": 0.7});
    assert_eq!(found(to, &all), [span("EMAIL_ADDRESS", 0, 14, 0.85)]);
    server.stop();
}

#[test]
fn anonymizes_as_presidio_does() {
    let data = tempfile::tempdir().unwrap();
    let mut server = server(&data);
    let to = server.console;
    let text = "hello world, my name is Zoë Doe. My number is: 034453334";
    let results = json!([
        {"start": 24, "end": 31, "score": 0.8, "entity_type": "NAME", "analysis_explanation": null},
        {"start": 24, "end": 27, "score": 0.8, "entity_type": "FIRST_NAME"},
        {"start": 28, "end": 31, "score": 0.6, "entity_type": "LAST_NAME"},
        {"start": 47, "end": 56, "score": 0.95, "entity_type": "PHONE_NUMBER"}
    ]);
    let anonymize = |anonymizers: Value| {
        let body = json!({"text": text, "anonymizers": anonymizers, "analyzer_results": results});
        let (status, answer) = post(to, "/presidio/anonymize", &body);
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let masked = anonymize(json!({
        "DEFAULT": {"type": "replace", "new_value": "ANONYMIZED"},
        "PHONE_NUMBER": {"type": "mask", "masking_char": "*", "chars_to_mask": 4, "from_end": true}
    }));
    assert_eq!(
        masked,
        json!({
            "text": "hello world, my name is ANONYMIZED. My number is: 03445****",
            "items": [
                {"start": 50, "end": 59, "entity_type": "PHONE_NUMBER", "text": "03445****", "operator": "mask"},
                {"start": 24, "end": 34, "entity_type": "NAME", "text": "ANONYMIZED", "operator": "replace"}
            ]
        })
    );
    // In code points, also where the new text has others than the old one.
    let kept = anonymize(json!({"NAME": {"type": "keep"}, "PHONE_NUMBER": {"type": "replace", "new_value": "ß"}}));
    assert_eq!(
        kept["items"],
        json!([
            {"start": 47, "end": 48, "entity_type": "PHONE_NUMBER", "text": "ß", "operator": "replace"},
            {"start": 24, "end": 31, "entity_type": "NAME", "text": "Zoë Doe", "operator": "keep"}
        ])
    );
    assert_eq!(anonymize(json!({"DEFAULT": {"type": "redact"}}))["text"], "hello world, my name is . My number is: ");
    let defaults = anonymize(json!({"ABC": {"type": "mask"}}));
    assert_eq!(defaults["text"], "hello world, my name is <NAME>. My number is: <PHONE_NUMBER>");

    // Hashes: other ones each time without a salt, and Presidio's with one.
    let hash = |more: Value| {
        let mut operator = json!({"type": "hash"});
        operator.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let body = json!({
            "text": "Jane Doe",
            "anonymizers": {"DEFAULT": operator},
            "analyzer_results": [{"start": 0, "end": 8, "entity_type": "A", "score": 1}]
        });
        post(to, "/presidio/anonymize", &body).1["text"].as_str().unwrap().to_owned()
    };
    assert_ne!(hash(json!({})), hash(json!({})));
    assert_eq!(
        hash(json!({"salt": "my_secure_salt16"})),
        "4180ab6f00d4379f01e57fc87593247f05fe2a3e3ad7b2b223d41d593ff3374e"
    );
    assert_eq!(hash(json!({"hash_type": "sha512"})).len(), 128);

    // Encryption, there and back.
    let key = |byte: &str| byte.repeat(16);
    let hidden = anonymize(json!({
        "DEFAULT": {"type": "encrypt", "key": key("1")}, "PHONE_NUMBER": {"type": "encrypt", "key": key("22")}
    }));
    assert_eq!(hidden["items"][1]["text"].as_str().unwrap().len(), 44);
    let body = json!({
        "text": hidden["text"],
        "deanonymizers": {"NAME": {"type": "decrypt", "key": key("1")}, "DEFAULT": {"type": "decrypt", "key": key("22")}},
        "anonymizer_results": hidden["items"]
    });
    let (status, shown) = post(to, "/presidio/deanonymize", &body);
    assert_eq!((status, &shown["text"]), (200, &json!(text)));
    assert_eq!(shown["items"][1]["operator"], "decrypt");
    let theirs = "e6HnOMnIxbd4a8Qea44LshQDnjvxwzBIaAz+YqHNnMW2mC5r3AWoay8Spsoajyyy";
    let decrypt = |key: &str| {
        let results = [json!({"start": 0, "end": 64, "entity_type": "NUMBER"})];
        let deanonymizers = json!({"NUMBER": {"type": "decrypt", "key": key}});
        let body = json!({"text": theirs, "deanonymizers": deanonymizers, "anonymizer_results": results});
        post(to, "/presidio/deanonymize", &body)
    };
    let (status, shown) = decrypt("1111111111111111");
    assert_eq!(status, 200);
    assert_eq!(
        shown,
        json!({
            "text": "text_for_encryption",
            "items": [{"start": 0, "end": 19, "operator": "decrypt", "text": "text_for_encryption", "entity_type": "NUMBER"}]
        })
    );
    assert_eq!(
        decrypt("invalidkey"),
        (422, json!({"error": "Invalid input, key must be of length 128, 192 or 256 bits"}))
    );
    assert_eq!(decrypt("2222222222222222").0, 422);
    let keep = json!({
        "text": "jo", "deanonymizers": {"DEFAULT": {"type": "deanonymize_keep"}},
        "anonymizer_results": [{"start": 0, "end": 2, "entity_type": "A"}]
    });
    assert_eq!(post(to, "/presidio/deanonymize", &keep).1["items"][0]["operator"], "deanonymize_keep");
    // Nothing to undo.
    let nothing = |body: Value| post(to, "/presidio/deanonymize", &body);
    assert_eq!(nothing(json!({"text": "x"})), (200, json!({"text": "x", "items": []})));
    assert_eq!(nothing(json!({"key": "1111111111111111"})), (200, json!({"text": "", "items": []})));
    server.stop();
}

#[test]
fn refuses_in_presidios_words() {
    let data = tempfile::tempdir().unwrap();
    let mut server = server(&data);
    let to = server.console;
    let none = "No matching recognizers were found to serve the request.";
    let text = |more: Value| {
        let mut body = json!({"text": "x 536-90-4399"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (body, status, error) in [
        (json!({}), 500, "No text provided"),
        (json!({"language": "en"}), 500, "No text provided"),
        (json!({"text": "", "language": "en"}), 500, "No text provided"),
        (json!([]), 500, "No text provided"),
        (text(json!({})), 500, "No language provided"),
        (text(json!({"language": "zz"})), 500, none),
        (text(json!({"language": 7})), 500, none),
        (text(json!({"language": "en", "entities": ["NOTHING_KNOWN"]})), 500, none),
        (text(json!({"language": "en", "entities": "US_SSN"})), 400, "entities must be a list of strings"),
        (text(json!({"language": "en", "score_threshold": "high"})), 400, "score_threshold must be a number"),
        (
            text(json!({"language": "en", "allow_list": ["x"], "allow_list_match": "fuzzy"})),
            500,
            "allow_list_match must",
        ),
        (
            text(json!({"language": "en", "allow_list": ["("], "allow_list_match": "regex"})),
            500,
            "Invalid regex pattern",
        ),
        (json!({"text": 7, "language": "en"}), 400, "text must be a string or a list of strings"),
        (json!({"text": ["x", 7], "language": "en"}), 400, "text must be a string or a list of strings"),
    ] {
        let (got, answer) = post(to, "/presidio/analyze", &body);
        assert!(answer["error"].as_str().unwrap().contains(error), "{answer}");
        assert_eq!(got, status, "{answer}");
    }

    let hide = |text: &str, operator: Value, result: Value| json!({"text": text, "anonymizers": {"DEFAULT": operator}, "analyzer_results": [result]});
    let operator = |operator: Value| {
        hide("536-90-4399", operator, json!({"start": 0, "end": 11, "entity_type": "US_SSN", "score": 1.0}))
    };
    let result = |result: Value| hide("536-90-4399", json!({"type": "redact"}), result);
    let mask = |char: Value, count: Value, from_end: Value| {
        operator(json!({"type": "mask", "masking_char": char, "chars_to_mask": count, "from_end": from_end}))
    };
    for (body, status, error) in [
        (json!({}), 400, "Invalid request json"),
        (json!([]), 400, "Invalid request json"),
        (json!({"text": "x"}), 422, "Invalid input, request must contain analyzer results"),
        (
            operator(json!({"type": "custom", "new_value": "lambda x: x[::-1]"})),
            400,
            "Custom type anonymizer is not supported",
        ),
        (operator(json!({"new_value": "x"})), 422, "Invalid input, operator config must contain operator_name"),
        (operator(json!({"type": "decrypt", "key": "x"})), 422, "Invalid operator class 'decrypt'."),
        // Keyed with the installation's key, and so not here.
        (operator(json!({"type": "token"})), 422, "Invalid operator class 'token'."),
        (operator(json!({"type": "mask"})), 422, "Expected parameter masking_char"),
        (mask(json!("non_character"), json!(6), json!(true)), 422, "Invalid input, masking_char must be a character"),
        (mask(json!("*"), Value::Null, json!(true)), 422, "Expected parameter chars_to_mask"),
        (
            mask(json!("*"), json!("six"), json!(true)),
            422,
            "Invalid parameter value for chars_to_mask. Expecting 'number', but got 'string'.",
        ),
        (
            mask(json!("*"), json!(6), json!("yes")),
            422,
            "Invalid parameter value for from_end. Expecting 'boolean', but got 'string'.",
        ),
        (
            operator(json!({"type": "hash", "hash_type": "md5"})),
            422,
            "Parameter hash_type value md5 is not in range of values ['sha256', 'sha512']",
        ),
        (
            operator(json!({"type": "hash", "salt": "short"})),
            422,
            "Salt must be at least 16 bytes (128 bits). Provided salt is 5 bytes.",
        ),
        (operator(json!({"type": "encrypt"})), 422, "Expected parameter key"),
        (
            operator(json!({"type": "encrypt", "key": "1234"})),
            422,
            "Invalid input, key must be of length 128, 192 or 256 bits",
        ),
        (
            operator(json!({"type": "replace", "new_value": 7})),
            422,
            "Invalid parameter value for new_value. Expecting 'string', but got 'number'.",
        ),
        (result(json!({"end": 3, "entity_type": "A", "score": 1})), 422, "Invalid input, result must contain start"),
        (result(json!({"start": 0, "end": 3, "score": 1})), 422, "Invalid input, result must contain entity_type"),
        (
            result(json!({"start": 0, "end": 3, "entity_type": "A"})),
            422,
            "Invalid input, analyzer result must contain score",
        ),
        (
            result(json!({"start": -1, "end": 3, "entity_type": "A", "score": 1})),
            422,
            "Invalid input, result start and end must be positive",
        ),
        (
            result(json!({"start": 4, "end": 3, "entity_type": "A", "score": 1})),
            422,
            "Invalid input, start index '4' must be smaller than end index '3'",
        ),
        (
            result(json!({"start": 0, "end": 12, "entity_type": "A", "score": 1})),
            422,
            "Invalid analyzer result, start: 0 and end: 12, while text length is only 11.",
        ),
        (
            result(json!({"start": "0", "end": 3, "entity_type": "A", "score": 1})),
            422,
            "Invalid parameter value for start. Expecting 'number', but got 'string'.",
        ),
    ] {
        assert_eq!(post(to, "/presidio/anonymize", &body), (status, json!({"error": error})));
    }
    assert_eq!(post(to, "/presidio/deanonymize", &json!({})), (400, json!({"error": "Invalid request json"})));

    // What is no JSON, or does not say that it is.
    for path in ["/presidio/analyze", "/presidio/anonymize", "/presidio/deanonymize"] {
        let error = "The browser (or proxy) sent a request that this server could not understand.";
        for broken in [&b"{\"text\": \"x\",}"[..], b"", b"\xff"] {
            let answer = read(&Request::post(path, broken).send(to));
            assert_eq!(answer, (400, json!({"error": error})));
        }
        assert_eq!(Request::post(path, "{}").header("content-type", "text/plain").send(to).status, 415);
        assert_eq!(Request::get(path).send(to).status, 405);
    }
    server.stop();
}

#[test]
fn has_limits() {
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(&data.path().join("log"), "http://127.0.0.1:9");
    let mut server = setup.with("TABELLION_GATEWAY_REQUEST_BYTES_MAX", "4000000").start();
    let to = server.console;
    let (status, answer) = post(to, "/presidio/analyze", &json!({"text": "x".repeat(4_000_000), "language": "en"}));
    assert_eq!(status, 413, "{answer}");
    let (status, _) = post(to, "/presidio/analyze", &json!({"text": vec![""; 10_001], "language": "en"}));
    assert_eq!(status, 400);

    let with = |regex: &str, text: &str| {
        let patterns = json!([{"name": "p", "regex": regex, "score": 0.5}]);
        let recognizers = json!([{"supported_entity": "ZIP", "patterns": patterns}]);
        let body = json!({"text": text, "language": "en", "entities": ["ZIP"], "ad_hoc_recognizers": recognizers});
        post(to, "/presidio/analyze", &body)
    };
    // Compiles into too much; would take forever by backtracking; finds too much; in too long a text.
    assert_eq!(with("(?:a{1000}){1000}", "a").0, 500);
    assert_eq!(with("(a+)+$", &("a".repeat(20_000) + "!")), (200, json!([])));
    assert_eq!(with("a", &"a".repeat(200_000)).0, 500);
    assert_eq!(with("a", &"b".repeat(3_000_000)).0, 413);
    // Much out of little.
    let results: Vec<Value> = (0..2_000)
        .map(|i| json!({"start": 2 * i, "end": 2 * i + 1, "entity_type": format!("E{i}"), "score": 1}))
        .collect();
    let body = json!({
        "text": "x ".repeat(2_000),
        "anonymizers": {"DEFAULT": {"type": "replace", "new_value": "y".repeat(100_000)}},
        "analyzer_results": results
    });
    assert_eq!(post(to, "/presidio/anonymize", &body).0, 422);
    server.assert_well();
    server.stop();
}

#[test]
fn nothing_that_it_is_sent_stays() {
    let data = tempfile::tempdir().unwrap();
    let log = data.path().join("log");
    let mut server = Setup::new(&log, "http://127.0.0.1:9").with("RUST_LOG", "trace").start();
    let to = server.console;
    let secret = "zephyrine.quux@example.com";
    let text = json!({"text": format!("write to {secret}"), "language": "en", "correlation_id": secret});
    assert_eq!(found(to, &text).len(), 1);
    // Wherever it may stand in a request that is refused.
    let pattern = json!({secret: 1, "regex": secret});
    for (path, body) in [
        ("/presidio/analyze", json!({"text": secret, "language": secret})),
        ("/presidio/analyze", json!({"text": secret, "language": "en", "entities": [secret]})),
        (
            "/presidio/analyze",
            json!({"text": secret, "language": "en", "allow_list": [secret], "allow_list_match": secret}),
        ),
        (
            "/presidio/analyze",
            json!({"text": secret, "language": "en", "ad_hoc_recognizers": [{"supported_entity": secret, "patterns": [pattern]}]}),
        ),
        (
            "/presidio/analyze",
            json!({"text": secret, "language": "en", "ad_hoc_recognizers": [{secret: secret, "supported_entity": secret}]}),
        ),
        (
            "/presidio/analyze",
            json!({"text": secret, "language": "en", "ad_hoc_recognizers": [{"supported_entity": secret, "deny_list": [secret, 7]}]}),
        ),
        (
            "/presidio/analyze",
            json!({"text": secret, "language": "en", "allow_list": [format!("({secret}")], "allow_list_match": "regex"}),
        ),
        (
            "/presidio/anonymize",
            json!({"text": secret, "anonymizers": {secret: {"type": secret}}, "analyzer_results": [{"start": 0, "end": 5, "entity_type": secret, "score": 1}]}),
        ),
        (
            "/presidio/anonymize",
            json!({"text": secret, "analyzer_results": [{"start": 0, "end": 500, "entity_type": secret, "score": 1}]}),
        ),
        (
            "/presidio/anonymize",
            json!({"text": secret, "anonymizers": {"DEFAULT": {"type": "hash", "hash_type": secret}}, "analyzer_results": [{"start": 0, "end": 5, "entity_type": secret, "score": 1}]}),
        ),
        (
            "/presidio/deanonymize",
            json!({"text": secret, "deanonymizers": {"DEFAULT": {"type": "decrypt", "key": secret}}, "anonymizer_results": [{"start": 0, "end": 5, "entity_type": secret}]}),
        ),
    ] {
        let answer = Request::post(path, body.to_string()).send(to);
        assert!(answer.status >= 400, "{body}");
        assert!(!answer.text().contains("zephyrine"), "{body}: {}", answer.text());
    }
    server.stop();
    assert!(!server.said().contains("zephyrine"), "{}", server.said());
    for (name, bytes) in files(&log) {
        assert!(!has(&bytes, b"zephyrine"), "{name:?}");
    }
}
