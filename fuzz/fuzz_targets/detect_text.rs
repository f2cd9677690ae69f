//! Any text: no panic, spans inside it, and redacting twice is redacting once.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tabellion_detect::{Engine, Offsets, Pseudonyms, Query, Redactor, Set, convert_offsets};

static REDACTOR: LazyLock<Redactor> =
    LazyLock::new(|| Redactor::new(Arc::new(Engine::embedded(Set::Default)), Pseudonyms::new([7; 32])));

fuzz_target!(|text: &str| {
    let findings = REDACTOR.engine().analyze(text, &Query { threshold: Some(0.0), ..Query::default() });
    let mut end = 0;
    for f in &findings {
        assert!(f.start >= end && f.start < f.end && text.get(f.start..f.end).is_some());
        end = f.end;
    }
    assert_eq!(convert_offsets(text, &findings, Offsets::Utf16).len(), findings.len());
    let once = REDACTOR.text(text);
    assert!(!once.text.contains('\0'));
    assert_eq!(REDACTOR.text(&once.text).text, once.text);
    REDACTOR.subject_tokens(text);
});
