//! Proof files, and proofs of any shape for trees of any size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tabellion_evidence::Hash;
use tabellion_evidence::note::SigningKey;
use tabellion_evidence::proof::Proof;
use tabellion_evidence::tree::{verify_consistency, verify_inclusion};

fuzz_target!(|data: &[u8]| {
    if let Ok(proof) = Proof::parse(data) {
        assert_eq!(proof.to_text().as_bytes(), data);
        let log = SigningKey::from_seed("log.example", [1; 32]).expect("a name");
        let entry = proof.extra.clone().unwrap_or_default();
        assert!(proof.verify(&entry, log.verifier()).is_err());
    }
    let Some((numbers, rest)) = data.split_first_chunk::<16>() else {
        return;
    };
    let numbers = u128::from_be_bytes(*numbers);
    let (m, n) = ((numbers >> 64) as u64, numbers as u64);
    let hashes: Vec<Hash> = rest.chunks_exact(32).filter_map(Hash::from_slice).collect();
    if let [first, second, proof @ ..] = hashes.as_slice() {
        let _ = verify_inclusion(m, n, first, proof, second);
        let _ = verify_consistency(m, first, n, second, proof);
    }
});
