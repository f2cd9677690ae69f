//! Timestamp tokens: what authorities answer.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tabellion_evidence::timestamp::{Expected, Roots, Token};

/// A root that no token in a corpus leads to.
static ROOTS: LazyLock<Roots> = LazyLock::new(|| {
    Roots::parse(include_bytes!("../../crates/evidence/tests/stranger.pem")).expect("a certificate")
});

fuzz_target!(|data: &[u8]| {
    let _ = Roots::parse(data);
    if let Ok(token) = Token::parse(data) {
        let _ = token.claimed_time().to_string();
        assert!(token.verify(b"message", &ROOTS, &Expected::default()).is_err());
    }
});
