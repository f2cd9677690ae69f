//! COSE receipts and statements. Nothing that the log's key did not sign verifies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tabellion_evidence::cose::{is_statement, verify_consistency, verify_inclusion, verify_statement};
use tabellion_evidence::Hash;
use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::note::SigningKey;

fuzz_target!(|data: &[u8]| {
    let log = SigningKey::from_seed("log.example", [1; 32]).expect("a name");
    let note = checkpoint::sign(&Checkpoint::new("log.example", 2, Hash([2; 32])), &log);
    let older = checkpoint::verify(note.as_bytes(), log.verifier()).expect("it is signed");
    let _ = is_statement(data);
    assert!(verify_inclusion(data, b"{}", log.verifier()).is_err());
    assert!(verify_consistency(data, &older, log.verifier()).is_err());
    assert!(verify_statement(data, log.verifier()).is_err());
});
