//! OpenTimestamps proofs, calendars' answers, and block headers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tabellion_evidence::ots::{BlockHeader, OtsProof, Timestamp};
use tabellion_evidence::tree::sha256;

fuzz_target!(|data: &[u8]| {
    if let Ok(proof) = OtsProof::parse(data) {
        assert_eq!(proof.to_bytes(), data);
        let _ = proof.is_complete();
    }
    if let Ok(timestamp) = Timestamp::parse(data) {
        assert_eq!(timestamp.to_bytes(), data);
        let digest = sha256(b"file");
        let mut proof = OtsProof::new(digest, timestamp.clone());
        if let Ok(attested) = proof.attestations(b"file") {
            let before = proof.clone();
            // The calendar says the same again of everything that it attested.
            for one in attested {
                let _ = proof.upgrade(&one.message, &timestamp);
            }
            if proof != before {
                assert!(OtsProof::parse(&proof.to_bytes()).is_ok());
            }
        }
    }
    if let Some(header) = data.get(..80).and_then(BlockHeader::from_bytes) {
        let root = header.merkle_root().to_vec();
        let _ = header.attest(&root, 0);
    }
});
