//! Trust policies: what is read decides without a panic, and without cosignatures a quorum is met only where nobody's is
//! wanted.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::note::SigningKey;
use tabellion_evidence::policy::Policy;
use tabellion_evidence::tree::sha256;

static NOTE: LazyLock<String> = LazyLock::new(|| {
    let log = SigningKey::from_seed("log.example", [1; 32]).expect("a name");
    checkpoint::sign(&Checkpoint::new("log.example", 1, sha256("x")), &log)
});
/// Keys that a policy may name by `@1` to `@4`, because no mutation makes one.
static KEYS: LazyLock<[String; 4]> = LazyLock::new(|| {
    let witness = |n: u8| SigningKey::cosigner_from_seed("w.example", [n; 32]).expect("a name").verifier().to_string();
    let log = SigningKey::from_seed("log.example", [1; 32]).expect("a name").verifier().to_string();
    [log, witness(2), witness(3), witness(4)]
});

fuzz_target!(|data: &[u8]| {
    let mut text = Vec::new();
    let mut rest = data;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after.first()) {
            (b'@', Some(n @ b'1'..=b'4')) => {
                text.extend_from_slice(KEYS[usize::from(n - b'1')].as_bytes());
                rest = &after[1..];
            }
            _ => text.push(byte),
        }
    }
    if let Ok(policy) = Policy::parse(&text) {
        let decision = policy.decide(NOTE.as_bytes()).expect("nobody cosigned");
        assert!(decision.witnesses.is_empty());
        assert_eq!(decision.quorum, !policy.wants_cosignatures());
        let _ = policy.verify(NOTE.as_bytes());
    }
});
