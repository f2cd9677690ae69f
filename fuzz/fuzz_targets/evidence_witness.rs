//! The body of a request to a witness, and the witness's answer. Without the log's key nothing is cosigned.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::note::{SigningKey, VerifierKey};
use tabellion_evidence::tree::{Hash, sha256};
use tabellion_evidence::witness::{Submission, authenticate, fork, judge, take_cosignatures};

static LOG: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed("log.example", [1; 32]).expect("a name"));
static KEYS: LazyLock<[VerifierKey; 2]> = LazyLock::new(|| {
    let pq = SigningKey::ml_dsa_from_seed("log.example", [2; 32]).expect("a name");
    [LOG.verifier().clone(), pq.verifier().clone()]
});

fuzz_target!(|data: &[u8]| {
    if let Ok(submission) = Submission::parse(data) {
        assert_eq!(submission.to_text().as_bytes(), data);
        assert!(authenticate(submission, |_| &KEYS[..]).is_err());
    }
    let note = checkpoint::sign(&Checkpoint::new("log.example", 9, sha256("x")), &LOG);
    let witness = SigningKey::cosigner_from_seed("w.example", [3; 32]).expect("a name");
    if let Ok(taken) = take_cosignatures(&note, data, &[witness.verifier().clone()]) {
        assert!(taken.is_empty());
    }
    // Proofs of any shape with a checkpoint that the log did sign.
    let Some((numbers, rest)) = data.split_first_chunk::<16>() else { return };
    let numbers = u128::from_be_bytes(*numbers);
    let (old, size) = ((numbers >> 64) as u64, numbers as u64);
    let hashes: Vec<Hash> = rest.chunks_exact(32).filter_map(Hash::from_slice).take(63).collect();
    let checkpoint = checkpoint::sign(&Checkpoint::new("log.example", size, sha256("new")), &LOG);
    let signed = authenticate(Submission { old, proof: hashes, checkpoint }, |_| &KEYS[..]).expect("signed");
    let last = Checkpoint::new("log.example", old, sha256("old"));
    // Both roots come from nowhere, so no proof leads from one to the other.
    assert!(judge(&signed, Some(&last)).is_err());
    let _ = fork(&signed, &last);
});
