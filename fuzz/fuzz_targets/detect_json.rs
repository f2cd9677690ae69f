//! Any text as JSON: what serde_json accepts must lex; what lexes must stay JSON.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tabellion_detect::{Engine, Pseudonyms, Redactor, Set};

static REDACTOR: LazyLock<Redactor> =
    LazyLock::new(|| Redactor::new(Arc::new(Engine::embedded(Set::Default)), Pseudonyms::new([7; 32])));

fuzz_target!(|text: &str| {
    let valid = serde_json::from_str::<serde_json::Value>(text).is_ok();
    let redacted = REDACTOR.json(text);
    assert!(redacted.is_some() || !valid);
    if let Some(redacted) = &redacted {
        assert!(!valid || serde_json::from_str::<serde_json::Value>(&redacted.text).is_ok());
        if redacted.findings.is_empty() && !redacted.text.contains("[BINARY:") {
            assert_eq!(redacted.text, text);
        }
        let again = REDACTOR.json(&redacted.text).expect("redacted JSON is JSON");
        assert_eq!(again.text, redacted.text);
    }
    if let Some(frame) = REDACTOR.json_frame(text) {
        let holes = |s: &str| s.bytes().filter(|b| *b == 0).count();
        assert_eq!(holes(&frame.text), holes(text));
    }
});
