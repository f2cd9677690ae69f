//! Notes and checkpoints. Without the secret key nothing may verify; what is
//! read as a checkpoint's text must be written the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::note::{Note, SigningKey, VerifierKey};

fuzz_target!(|data: &[u8]| {
    let log = SigningKey::from_seed("log.example", [1; 32]).expect("a name");
    let witness = SigningKey::cosigner_from_seed("witness.example", [2; 32]).expect("a name");
    assert!(checkpoint::verify(data, log.verifier()).is_err());
    let pq = SigningKey::ml_dsa_from_seed("pq.example", [3; 32]).expect("a name");
    assert!(checkpoint::verify(data, pq.verifier()).is_err());
    if let Ok(cosignatures) = checkpoint::cosignatures(data, &[witness.verifier().clone(), pq.verifier().clone()]) {
        assert!(cosignatures.is_empty());
    }
    if let Ok(note) = Note::parse(data) {
        assert!(data.starts_with(note.text().as_bytes()));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(checkpoint) = Checkpoint::parse_text(text) {
            assert_eq!(checkpoint.to_text(), text);
        }
        if let Ok(key) = VerifierKey::parse(text) {
            assert_eq!(key.to_string(), text);
        }
        if let Ok(key) = SigningKey::parse(text) {
            assert_eq!(key.to_text().as_str(), text);
        }
    }
});
