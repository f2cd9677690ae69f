//! The rules against their own examples; the engine, the redactor and the JSON lexer against arbitrary text.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use crate::policy::Depth;
use crate::{Context, Engine, Finding, Further, Offsets, Pseudonyms, Query, Redactor, Set, Stream, convert_offsets};

static REDACTOR: LazyLock<Redactor> =
    LazyLock::new(|| Redactor::new(Arc::new(Engine::embedded(Set::All)), Pseudonyms::new([7; 32])));

fn engine() -> &'static Engine {
    REDACTOR.engine()
}

/// With every detector of this build.
fn deep() -> &'static Engine {
    static DEEP: LazyLock<Engine> = LazyLock::new(|| {
        let depth = if cfg!(feature = "tagger") { "tagger" } else { "text" };
        Engine::with_policy("deep.toml", &format!("recognizers = \"all\"\ndepth = \"{depth}\"\n")).unwrap()
    });
    &DEEP
}

/// Without detectors, which are asked of whole texts.
fn fast() -> &'static Engine {
    static FAST: LazyLock<Engine> =
        LazyLock::new(|| Engine::with_policy("fast.toml", "recognizers = \"all\"\ndepth = \"fast\"\n").unwrap());
    &FAST
}

/// The text without its guillemets, and the spans that they held.
fn marked(example: &str) -> (String, Vec<(usize, usize)>) {
    let mut text = String::new();
    let mut spans = Vec::new();
    for (i, part) in example.split(['«', '»']).enumerate() {
        if i % 2 == 1 {
            spans.push((text.len(), text.len() + part.len()));
        }
        text.push_str(part);
    }
    (text, spans)
}

/// `key => value`, for rules that look at whole values.
fn keyed(example: &str) -> (Option<&str>, &str) {
    example.split_once(" => ").map_or((None, example), |(key, value)| (Some(key), value))
}

#[test]
fn every_rule_finds_its_matches_and_not_its_no_matches() {
    let mut wrong = Vec::new();
    for rule in deep().rules() {
        assert!(!rule.examples.source.is_empty(), "{}: no source", rule.name);
        // A postal code's own example may stand in an address.
        let engine = match rule.depth {
            Depth::Fast => fast(),
            _ => deep(),
        };
        for example in &rule.examples.matches {
            let (key, example) = if rule.trigger.value { keyed(example) } else { (None, example.as_str()) };
            let (text, expected) = marked(example);
            assert!(!expected.is_empty(), "{}: an example marks nothing: {example}", rule.name);
            let found: Vec<_> = engine
                .scan(&text, Context { key, before: None })
                .into_iter()
                .filter(|f| f.entity == rule.entity)
                .map(|f| (f.start, f.end))
                .collect();
            if found != expected {
                let found: Vec<_> = found.iter().map(|&(s, e)| &text[s..e]).collect();
                wrong.push(format!("{} must match {example:?}, found {found:?}", rule.name));
            }
        }
        for example in &rule.examples.no_matches {
            let (key, text) = if rule.trigger.value { keyed(example) } else { (None, example.as_str()) };
            if let Some(f) = engine.scan(text, Context { key, before: None }).iter().find(|f| f.recognizer == rule.name)
            {
                wrong.push(format!("{} must not match {text:?}, found {:?}", rule.name, &text[f.start..f.end]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n", wrong.join("\n"));
}

#[test]
fn refuses_rules_that_contradict_themselves() {
    let rule = |change: &dyn Fn(&str) -> String| {
        let text = "[[recognizer]]\nname = \"x\"\nentity = \"X\"\nsource = \"s\"\ntrigger = { literals = [\"xx\"] }\n\
                    pattern = [{ regex = \"x+\", score = 0.9 }]\nmatch = [\"«xx»\"]\nno_match = [\"y\"]\n";
        Engine::from_rules(&[("x.toml", &change(text))]).map(|e| e.scan("a xx b", Context::NONE).len())
    };
    assert_eq!(rule(&str::to_owned).unwrap(), 1);
    for (from, to) in [
        ("match = [\"«xx»\"]", "match = []"),
        ("no_match = [\"y\"]", "no_match = []"),
        ("no_match = [\"y\"]", ""),
        ("entity = \"X\"", "entity = \"x\""),
        ("entity = \"X\"", "entity = \"BINARY\""),
        ("literals = [\"xx\"]", "literals = [\"x\"]"),
        ("literals = [\"xx\"]", "literals = [\"-x\"]"),
        ("literals = [\"xx\"]", "literals = [\"\"]"),
        ("x+", "(x"),
        ("0.9", "1.5"),
        ("0.9 }", "0.9, validator = \"none\" }"),
        ("0.9 }", "0.9, needs_context = true }"),
        ("source", "sauce"),
    ] {
        assert!(rule(&|text| text.replacen(from, to, 1)).is_err(), "{to}");
    }
}

#[test]
fn the_policy_names_the_rules() {
    let empty = Engine::from_rules(&[]).unwrap();
    assert_ne!(empty.policy(), engine().policy());
    assert_eq!(Engine::embedded(Set::All).policy(), engine().policy());
    assert!(empty.scan("jo@example.com", Context::NONE).is_empty());
}

#[test]
fn offsets_in_every_unit() {
    let text = "é 😀 jo@example.com 😀 192.0.2.1";
    let findings = engine().scan(text, Context::NONE);
    let utf16: Vec<u16> = text.encode_utf16().collect();
    let chars: Vec<char> = text.chars().collect();
    let values = |unit: Offsets| convert_offsets(text, &findings, unit);
    assert_eq!(findings.len(), 2);
    for (f, (s, e)) in findings.iter().zip(values(Offsets::Chars)) {
        assert_eq!(chars[s..e].iter().collect::<String>(), text[f.start..f.end]);
    }
    for (f, (s, e)) in findings.iter().zip(values(Offsets::Utf16)) {
        assert_eq!(String::from_utf16(&utf16[s..e]).unwrap(), text[f.start..f.end]);
    }
    assert_eq!(values(Offsets::Bytes)[0], (findings[0].start, findings[0].end));
}

#[test]
fn context_raises_a_score() {
    for (with, without) in [
        ("my ip: 192.168.0.1", "192.168.0.1"),
        ("my ssn is 078-051121", "078-051121"),
        ("my social security number is 078051121", "078051121"),
        ("my ssns is 078-05-1121", "078-05-1121"),
        ("my phone number is 425 8829090", "425 8829090"),
        ("my phone number is 4258829090", "4258829090"),
    ] {
        let score = |text: &str| {
            engine().analyze(text, &Query { threshold: Some(0.0), ..Query::default() }).first().map_or(0.0, |f| f.score)
        };
        assert!(score(with) > score(without), "{with}: {} {}", score(with), score(without));
        assert!(score(with) >= engine().threshold(), "{with}: {}", score(with));
    }
}

#[test]
fn a_key_is_context() {
    assert!(engine().scan("536904399", Context::NONE).is_empty());
    for key in ["ssn", "customer_ssn", "customerSSN", "socialSecurityNumber"] {
        assert_eq!(engine().scan("536904399", Context::key(key)).len(), 1, "{key}");
    }
    assert!(engine().scan("4155550132", Context::key("order_id")).is_empty());
    assert_eq!(engine().scan("4155550132", Context::key("phoneNumber")).len(), 1);
}

#[test]
fn only_asked_entities_are_found() {
    let text = "jo@example.com 192.0.2.1";
    let found = engine().analyze(text, &Query { entities: Some(&["IP_ADDRESS"]), ..Query::default() });
    assert_eq!(found.iter().map(|f| &*f.entity).collect::<Vec<_>>(), ["IP_ADDRESS"]);
}

#[test]
fn explanations_do_not_hold_the_value() {
    for f in engine().scan("my ssn is 536-90-4399, write to jo@example.com", Context::NONE) {
        let text = f.explanation();
        assert!(text.contains(&*f.entity) && !text.contains("4399") && !text.contains("jo@"), "{text}");
    }
}

/// Doubling the text at most doubles the bound of what is looked at.
#[test]
fn work_is_linear() {
    for unit in [
        ".",
        "1",
        "a@",
        "1.",
        "1.1.1.1 ",
        "+",
        "(",
        "((",
        "+1 ",
        ":",
        "::",
        "a:",
        "1 ",
        "0 1-",
        "DE89",
        "sk-",
        "eyJ",
        "eyJ.",
        "eyJ-",
        ".eyJ-aaaaaaaaaaaa",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "://a:",
        "password=",
        "password: ",
        "token ",
        "[",
        "[A:",
        "AKIA",
        "\u{200b}",
        "４",
        "a",
        " ",
        "@",
        "@.",
        "x@y.",
        "=",
        "secret=a",
        "LS0tLS1CRUdJTi",
        "12345678:",
        "bearer ",
    ] {
        let steps = |n: usize| engine().steps(&unit.repeat(n / unit.len())) as f64;
        let (one, two) = (steps(60_000), steps(120_000));
        assert!(two <= one * 2.2, "{unit:?}: {one} {two}");
    }
}

fn redact(text: &str) -> String {
    REDACTOR.text(text).text
}

#[test]
fn tokens_pass_through() {
    let text = "mail [EMAIL_ADDRESS:k7f3q2ab], password: [PASSWORD:aaaabbbb], [BINARY:12]";
    assert_eq!(redact(text), text);
}

#[test]
fn the_zero_byte_becomes_a_replacement_character() {
    assert_eq!(redact("a\0b"), "a\u{fffd}b");
}

#[test]
fn tokens_stand_once_and_in_order() {
    let r = REDACTOR.text("jo@example.com, 192.0.2.1, JO@example.com");
    assert_eq!(r.findings.len(), 3);
    assert_eq!(r.tokens.len(), 2);
    assert!(r.tokens[0].starts_with("EMAIL_ADDRESS:") && r.tokens[1].starts_with("IP_ADDRESS:"));
    assert_eq!(r.text, format!("[{0}], [{1}], [{0}]", r.tokens[0], r.tokens[1]));
    assert_eq!(crate::counts(&r.findings)["EMAIL_ADDRESS"], 2);
}

#[test]
fn a_searcher_gets_the_tokens_that_redaction_made() {
    for (value, text, entity) in [
        ("jo@example.com", "to JO@example.com", "EMAIL_ADDRESS"),
        ("+14155550132", "ring (415) 555-0132", "PHONE_NUMBER"),
        ("4155550132", "ring (415) 555-0132", "PHONE_NUMBER"),
        ("536904399", "it is 536-90-4399", "US_SSN"),
        ("4111111111111111", "pay 4111 1111 1111 1111", "CREDIT_CARD"),
        ("DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "IBAN_CODE"),
        ("192.0.2.1", "from 192.0.2.1", "IP_ADDRESS"),
    ] {
        let made = REDACTOR.text(text).tokens;
        let token = made.iter().find(|t| t.starts_with(entity)).unwrap_or_else(|| panic!("{text}: {made:?}"));
        let asked = REDACTOR.subject_tokens(value);
        assert!(asked.contains(token), "{value}: {asked:?} {token}");
    }
    assert!(REDACTOR.subject_tokens("just words").is_empty());
}

fn json(text: &str) -> Option<String> {
    REDACTOR.json(text).map(|r| r.text)
}

#[test]
fn json_keeps_every_byte_that_it_need_not_change() {
    let text = "{ \"a\" : [1.50, -0, 1e5, true ,null],\t\"a\":\"\\u0041\\/\", \"n\": 12345678 }\n";
    assert_eq!(json(text).unwrap(), text);
    let text = r#"{"to":"jo@example.com" ,"x":"\u0041"}"#;
    let redacted = json(text).unwrap();
    assert!(
        redacted.starts_with(r#"{"to":"[EMAIL_ADDRESS:"#) && redacted.ends_with(r#"]" ,"x":"\u0041"}"#),
        "{redacted}"
    );
}

#[test]
fn json_finds_through_escapes_keys_numbers_and_nesting() {
    for text in [
        r#"{"m":"jo\u0040example.com"}"#,
        r#"{"jo@example.com":1}"#,
        r#"{"phone":4155550132}"#,
        r#"{"phones":["4155550132"]}"#,
        r#"{"phones":[{"x":1}, 4155550132]}"#,
        r#"{"arguments":"{\"ssn\": \"536904399\"}"}"#,
        r#"{"arguments":"{\"a\":\"{\\\"ssn\\\":536904399}\"}"}"#,
        r#""jo@example.com""#,
        r#"{"password":"open sesame"}"#,
        r#"{"a":4111111111111111}"#,
        r#"{"a":1,"a":"jo@example.com"}"#,
        r#"{"a":"\ud83d\ude00 jo@example.com \ud83d"}"#,
    ] {
        let redacted = json(text).unwrap_or_else(|| panic!("{text}"));
        for secret in ["example.com", "4155550132", "536904399", "sesame", "4111111111111111"] {
            assert!(!redacted.contains(secret), "{redacted}");
        }
        assert_ne!(redacted, text);
        serde_json::from_str::<serde_json::Value>(&redacted).unwrap();
    }
    assert_eq!(json(r#"{"a":4155550132}"#).unwrap(), r#"{"a":4155550132}"#);
}

#[test]
fn binary_in_json_is_replaced() {
    let data = "aB3+".repeat(100);
    let text = format!(r#"{{"a":"{data}","b":"data:image/png;base64,{data}"}}"#);
    assert_eq!(json(&text).unwrap(), r#"{"a":"[BINARY:300]","b":"[BINARY:300]"}"#);
}

#[test]
fn refuses_what_is_not_json() {
    for text in [
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "[1 2]",
        "01",
        "1.",
        "1e",
        "-",
        "+1",
        ".5",
        "tru",
        "nul",
        "\"a",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "1 2",
        "[}",
        "{]",
        "\0",
        "[\0]",
        "{\"a\":\0}",
        "'a'",
        "NaN",
    ] {
        assert!(json(text).is_none(), "{text:?}");
    }
    assert!(json(&("[".repeat(512) + &"]".repeat(512))).is_some());
    assert!(json(&("[".repeat(513) + &"]".repeat(513))).is_none());
}

#[test]
fn frames_have_holes_where_values_may_stand() {
    let frame = |text: &str| REDACTOR.json_frame(text).map(|r| r.text);
    for text in ["\0", "[\0,\0]", "{\"messages\":[\0, \0],\"tools\":\0}"] {
        assert_eq!(frame(text).as_deref(), Some(text));
    }
    let mixed = frame("{\"user\":\"jo@example.com\",\"m\":[\0]}").unwrap();
    assert!(mixed.ends_with("\"m\":[\0]}") && !mixed.contains("jo@"));
    for text in ["{\0:1}", "\0\0", "[\0\0]", "\"a\0b\"", "1\0"] {
        assert!(frame(text).is_none(), "{text:?}");
    }
}

fn check_spans(text: &str, findings: &[Finding]) {
    let mut end = 0;
    for f in findings {
        assert!(f.start >= end && f.end > f.start && f.end <= text.len(), "{f:?}");
        assert!(text.is_char_boundary(f.start) && text.is_char_boundary(f.end), "{f:?}");
        end = f.end;
    }
}

/// Pieces that recognizers look for, and things that get in their way.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "jo@example.com", "+1 415 555 0132", "(415) 555-0132", "4111 1111 1111 1111", "536-90-4399", "536904399",
            "DE89370400440532013000", "192.0.2.1", "2001:db8::1", "ssn", "phone", "password: ", "password=\"", "token = ",
            "api_key", "sk-", "AKIA", "Bearer ", "://u:", "data:x;base64,", "-----BEGIN PRIVATE KEY-----", "eyJ", "[", "]",
            "[EMAIL_ADDRESS:k7f3q2ab]", "[PASSWORD:aaaabbbb]", "[BINARY:3]", "é", "\u{200b}", "４", "😀", "@", ".", "-", " ",
            "\n", "\"", "'", "\\", "%", "0", "7", "x", "Z", "fax", "\0",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,8}",
        1 => "[a-zA-Z0-9+/=_.@:-]{0,40}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..24).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(|f| serde_json::Number::from_f64(f).map_or(serde_json::Value::Null, Into::into)),
        text().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec((text(), inner.clone()), 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            inner.prop_map(|v| v.to_string().into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn spans_are_sound(text in text(), key in prop::option::of(text()), threshold in 0.0f32..1.0) {
        check_spans(&text, &engine().analyze(&text, &Query { context: Context { key: key.as_deref(), before: None }, threshold: Some(threshold), ..Query::default() }));
    }

    #[test]
    fn spans_are_sound_in_any_text(text in any::<String>()) {
        check_spans(&text, &engine().analyze(&text, &Query { threshold: Some(0.0), ..Query::default() }));
    }

    #[test]
    fn redacting_twice_is_redacting_once(text in text()) {
        let once = REDACTOR.text(&text);
        let twice = REDACTOR.text(&once.text);
        prop_assert_eq!(&once.text, &twice.text);
        prop_assert!(twice.findings.is_empty());
        prop_assert!(!once.text.contains('\0'));
    }

    #[test]
    fn json_lexes_and_parses_and_is_idempotent(value in value(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let once = REDACTOR.json(&text).expect("serde_json wrote it");
        prop_assert!(serde_json::from_str::<serde_json::Value>(&once.text).is_ok());
        if once.findings.is_empty() && !once.text.contains("[BINARY:") {
            prop_assert_eq!(&once.text, &text);
        }
        let twice = REDACTOR.json(&once.text).expect("redacted JSON is JSON");
        prop_assert_eq!(&once.text, &twice.text);
    }

    #[test]
    fn what_serde_json_accepts_lexes(text in "[\\[\\]{}:,\"\\\\0-9eE+.tfn a-u-]{0,24}") {
        if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
            prop_assert!(REDACTOR.json(&text).is_some());
        }
        if let Some(redacted) = REDACTOR.json(&text) {
            // It accepts more: lone surrogates, which become U+FFFD only where something is found.
            prop_assert!(text.contains("\\u") || serde_json::from_str::<serde::de::IgnoredAny>(&redacted.text).is_ok());
        }
    }
}

#[test]
fn nothing_hides_in_what_looks_like_a_replacement() {
    let engine = Engine::embedded(Set::All);
    assert_eq!(crate::token::tokens_in("[BINARY:67108864]").len(), 1);
    assert!(crate::token::tokens_in("[BINARY:536228045]").is_empty());
    assert!(!engine.scan("my ssn is [BINARY:536228045]", Context::NONE).is_empty());
    assert!(!engine.scan("call my phone [BINARY:14155552671]", Context::NONE).is_empty());
}

/// What is found when the text comes in chunks that end at these places.
fn in_chunks(text: &str, cuts: &[usize]) -> Vec<Finding> {
    let mut stream = Stream::new(engine(), Query::default());
    let mut findings = Vec::new();
    let mut done = 0;
    for &cut in cuts {
        let cut = text.floor_char_boundary(cut).max(done);
        findings.extend(stream.feed(&text[done..cut]));
        assert!(stream.certain() <= cut);
        assert!(findings.iter().all(|f| f.end <= cut));
        done = cut;
    }
    findings.extend(stream.feed(&text[done..]));
    findings.extend(stream.finish());
    findings
}

const SENTENCES: &[&str] = &[
    "My name is Jo, reach me at jo.doe@example.com or on +1 415 555 0132. ",
    "card 4111 1111 1111 1111 and SSN: 536-90-4399\n",
    "What is your social security number? 536904399 ",
    "write to anna [at] example [dot] com, or to amFuZS5kb2VAZXhhbXBsZS5jb20= soon. ",
    "The quick brown fox jumps over the lazy dog, 14 times in 2023, and the order is 99812-77. ",
    "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 ",
    "password: hunter2-and-more\n{\"ip\": \"203.0.113.7\", \"iban\": \"DE89 3704 0044 0532 0130 00\"}\n",
    "naïve café — ｊｏ＠ｅｘａｍｐｌｅ.com \u{200b}",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_chunking_finds_the_same(
        picks in proptest::collection::vec(0..SENTENCES.len(), 1..160),
        cuts in proptest::collection::vec(0usize..12_000, 0..40),
    ) {
        let text: String = picks.iter().map(|&i| SENTENCES[i]).collect();
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut < text.len()).collect();
        cuts.sort_unstable();
        let (chunked, whole) = (in_chunks(&text, &cuts), engine().scan(&text, Context::NONE));
        let different = chunked.iter().zip(&whole).find(|(a, b)| a != b);
        prop_assert!(different.is_none() && chunked.len() == whole.len(), "{:?}", different);
    }
}

#[test]
fn a_long_text_in_parts_has_what_the_whole_has() {
    // Each of the parts is what a whole text of its length would be.
    let text = SENTENCES.concat().repeat(200);
    assert!(text.len() < 1 << 20);
    let whole = engine().scan(&text, Context::NONE);
    assert_eq!(in_chunks(&text, &[]), whole);
    let longer = text.repeat(12);
    assert!(longer.len() > 1 << 20);
    assert!(engine().scan(&longer, Context::NONE).len() >= 12 * (whole.len() - 1));
}

#[test]
fn detectors_are_asked_of_so_much_at_once() {
    let text_engine = Engine::with_policy("text.toml", "depth = \"text\"\n").unwrap();
    let text =
        "Ship it to 805 Lincoln Street, Austin, TX 78746. Nothing more is said in this sentence.\n".repeat(14_000);
    assert!(text.len() > 1 << 20);
    let mut stream = Stream::new(&text_engine, Query::default());
    let (mut found, mut held) = (Vec::new(), 0);
    for chunk in text.as_bytes().chunks(50_000) {
        found.extend(stream.feed(std::str::from_utf8(chunk).unwrap()));
        held = held.max(stream.certain());
    }
    assert!(held > 0, "nothing was let go before the end");
    found.extend(stream.finish());
    assert_eq!(found, text_engine.scan(&text, Context::NONE));
    assert_eq!(found.iter().filter(|f| &*f.entity == "STREET_ADDRESS").count(), 14_000);
}

#[test]
fn a_stream_lets_go_of_what_is_certain() {
    let mut stream = Stream::new(fast(), Query::default());
    let line = "Nothing in this line is of any interest to anybody, and so it goes on and on.\n";
    for n in 1..=4000 {
        assert!(stream.feed(line).is_empty());
        let held = n * line.len() - stream.certain();
        assert!(held < 4096, "{held} bytes are held back");
    }
    // A key that has no end yet is held, up to a bound.
    let mut stream = Stream::new(fast(), Query::default());
    let mut found = stream.feed("a table\nit is not\n-----BEGIN RSA PRIVATE KEY-----\n");
    for _ in 0..4000 {
        found.extend(stream.feed("Tx6jYrMQwkXQkn6CITysR5lq7N96aT7IDIvluI34otSq/Dia5cosa4EX0pBv/O5x\n"));
    }
    found.extend(stream.finish());
    assert!(found.iter().any(|f| &*f.entity == "PRIVATE_KEY"), "{found:?}");
}

fn further(found: &[(&str, &str, &str, f32)]) -> Further {
    let mut further = Further::default();
    for (text, value, entity, score) in found {
        let at = text.find(value).unwrap();
        let finding = Finding::of_other(entity, &Arc::from("external/x"), at..at + value.len(), *score);
        further.add(text, [finding]);
    }
    further
}

#[test]
fn others_are_asked_about_every_string_and_nothing_else() {
    let redactor = Redactor::new(Arc::new(Engine::embedded(Set::Default)), Pseudonyms::new([7; 32]));
    let body =
        r#"{"name":"Anna \ud83d\ude00","n":4915112345678,"an odd key":[true,"x"],"args":"{\"who\":\"J\u00f6rg\"}",
        "image":"DATA","url":"see data:image/png;base64,AAAA"}"#
            .replace("DATA", &"aB3+".repeat(100));
    let asked = redactor.asked_of_json(&body).unwrap();
    assert_eq!(asked, ["Anna 😀", "an odd key", "x", "Jörg", "see [BINARY:3]"]);
    assert_eq!(redactor.asked("a\0b"), ["a\u{fffd}b"]);
    assert_eq!(redactor.asked_of_json("no json"), None);
    assert_eq!(redactor.asked_of_frame("{\"a\":\0,\"b\":\"c\"}").unwrap(), ["c"]);
}

#[test]
fn what_others_found_is_taken_out_by_the_rule_that_holds_among_ours() {
    let redactor = Redactor::new(Arc::new(Engine::embedded(Set::Default)), Pseudonyms::new([7; 32]));
    let text = "Anna writes to anna@nordwind-bank.de 😀";
    let others = further(&[
        (text, "Anna", "PERSON", 0.85),
        // Ours is surer of what it is, and longer.
        (text, "anna@nordwind-bank", "PERSON", 0.6),
        ("another text", "another", "PERSON", 0.9),
    ]);
    let redacted = redactor.with(&others).text(text);
    let entities: Vec<_> = redacted.findings.iter().map(|f| (&*f.entity, &*f.recognizer)).collect();
    assert_eq!(entities[0], ("PERSON", "external/x"));
    assert_eq!(entities[1].0, "EMAIL_ADDRESS");
    assert_eq!(entities.len(), 2);
    assert!(redacted.text.starts_with("[PERSON:"), "{}", redacted.text);
    assert!(redacted.text.contains(" writes to [EMAIL_ADDRESS:"), "{}", redacted.text);
    assert_eq!(redacted.tokens.len(), 2);

    // In JSON, what was found in the decoded string.
    let json =
        redactor.with(&further(&[("Jörg", "Jörg", "PERSON", 0.85)])).json(r#"{"who":"J\u00f6rg"}"#, None).unwrap();
    assert!(json.text.starts_with(r#"{"who":"[PERSON:"#), "{}", json.text);

    // A token is not redacted again, and not cut.
    let text = format!("said [{}] yes", json.tokens[0]);
    let others = further(&[(&text, &text[2..], "PERSON", 1.0)]);
    let again = redactor.with(&others).text(&text);
    assert!(again.text.contains(&format!("[{}]", json.tokens[0])), "{}", again.text);

    // What is not in the text is left out.
    let mut odd = Further::default();
    let span = |span| Finding::of_other("PERSON", &Arc::from("external/x"), span, 1.0);
    odd.add("é", [span(0..1), span(0..3), span(1..2), span(2..2)]);
    assert_eq!(redactor.with(&odd).text("é").text, "é");
}

#[test]
fn what_was_said_before_is_context_and_a_token_in_it_is_not() {
    let redacted = |json: &str| REDACTOR.json(json).unwrap().text;
    let asked = r#"["What is your social security number?","536904399"]"#;
    assert!(redacted(asked).contains("US_SSN:"), "{}", redacted(asked));
    let once = redacted(r#"["password: +1 415 555 0132://u:","536904399"]"#);
    assert!(once.contains("536904399"), "{once}");
    assert_eq!(redacted(&once), once);
}

#[test]
fn keys_in_capitals_name_their_values() {
    for text in [r#"{"CONTRASEÑA":"Tr0ub4dor&3"}"#, r#"{"DB_PASSWORD":"Tr0ub4dor&3"}"#] {
        assert!(REDACTOR.json(text).unwrap().text.contains("PASSWORD:"), "{text}");
    }
}

#[test]
fn what_stays_hides_nothing_that_does_not() {
    let policy = r#"
        recognizers = "none"
        operators = { LINK = "keep" }
        [[recognizer]]
        name = "link"
        entity = "LINK"
        source = "s"
        trigger = { literals = ["go:"] }
        pattern = [{ regex = 'go:[a-z0-9/]+', score = 0.9 }]
        match = ["«go:a»"]
        no_match = ["a"]
        [[recognizer]]
        name = "code"
        entity = "CODE"
        source = "s"
        trigger = { digits = [4, 4] }
        pattern = [{ regex = '[0-9]{4}', score = 0.6 }]
        match = ["«1234»"]
        no_match = ["a"]"#;
    let engine = Engine::with_policy("test.toml", policy).unwrap();
    let redacted = Redactor::new(Arc::new(engine), Pseudonyms::new([7; 32])).text("see go:abcde/1234/fghij ok").text;
    assert!(redacted.starts_with("see go:abcde/[CODE:") && redacted.ends_with("]/fghij ok"), "{redacted}");
}

#[test]
fn a_searcher_finds_what_only_context_gave_away() {
    for (text, value) in [
        ("my passport number is 123456789", "123456789"),
        ("NHS number 943 476 5919", "943-476-5919"),
        ("her medical record number: 48213377", "48213377"),
    ] {
        let redacted = REDACTOR.text(text);
        let tokens = REDACTOR.subject_tokens(value);
        assert!(redacted.tokens.iter().any(|token| tokens.contains(token)), "{:?} {tokens:?}", redacted.tokens);
    }
}

#[cfg(feature = "tagger")]
#[test]
fn a_name_is_known_in_what_comes_after_it() {
    let engine = Arc::new(Engine::with_policy("names.toml", "depth = \"tagger\"\n").unwrap());
    let redactor = Redactor::new(engine, Pseudonyms::new([7; 32]));
    let nothing = Further::default();
    // Within a body, from one string to the next.
    let body = r#"{"messages":[{"content":"My name is Oluwaseun Adebayo."},{"content":"ok, adebayo then"}]}"#;
    let redacted = redactor.with(&nothing).json(body, None).unwrap();
    assert!(!redacted.text.to_lowercase().contains("adebayo"), "{}", redacted.text);
    assert!(redacted.findings.iter().any(|f| &*f.recognizer == "exchange-memory"));
    // From one body to another.
    let answer = redactor.with(&nothing).knowing(&redacted.names).text("ok, adebayo then");
    assert!(answer.text.starts_with("ok, [PERSON:"), "{}", answer.text);
    assert_eq!(redactor.text("ok, adebayo then").text, "ok, adebayo then");
    // What is redacted once stays as it is.
    assert_eq!(redactor.with(&nothing).knowing(&redacted.names).text(&answer.text).text, answer.text);
}

#[test]
fn a_depth_can_be_put_over_any_policy() {
    let mut depths = vec![Depth::Fast, Depth::Text];
    if cfg!(feature = "tagger") {
        depths.extend([Depth::Tagger, Depth::Model]);
    }
    let presets = Engine::presets().map(|name| format!("extends = \"{name}\"\n"));
    for text in
        presets.chain(["recognizers = \"default\"\n", "recognizers = \"all\"\ndepth = \"text\"\n"].map(str::to_owned))
    {
        let mut policies = vec![Engine::with_policy("own", &text).unwrap().policy()];
        for depth in &depths {
            let engine = Engine::with_policy_at("own", &text, *depth).unwrap();
            assert_eq!(engine.depth(), *depth);
            policies.push(engine.policy());
        }
        policies.sort_unstable();
        policies.dedup();
        assert_eq!(policies.len(), depths.len() + 1, "each has a name of its own");
    }
    assert!(Engine::with_policy_at("own", "depth = 1", Depth::Fast).is_err());
}

#[test]
fn what_others_find_joins_what_the_engine_finds() {
    let engine = Engine::embedded(Set::Default);
    let text = "Quill wrote to jo@example.com [PERSON:abcdefgh]";
    let model: Arc<str> = "model/own".into();
    let other = |value: &str, entity: &str, score| {
        let start = text.find(value).unwrap();
        Finding::of_other(entity, &model, start..start + value.len(), score)
    };
    let ours = engine.scan(text, Context::NONE);
    let others = [other("Quill", "PERSON", 0.6), other("jo@example", "PERSON", 0.6), other("abcdefgh", "PERSON", 0.9)];
    let joined = engine.joined(text, ours, &others);
    let joined: Vec<_> = joined.iter().map(|f| (&*f.entity, &*f.recognizer, &text[f.start..f.end])).collect();
    assert_eq!(joined, [("PERSON", "model/own", "Quill"), ("EMAIL_ADDRESS", "email", "jo@example.com")]);
}
