//! Keys, notes, checkpoints and proof files: what must be refused.

use tabellion_evidence::checkpoint::{self, Checkpoint, CheckpointError};
use tabellion_evidence::note::{self, KeyError, Note, NoteError, SigningKey, VerifierKey};
use tabellion_evidence::proof::{HASHES_MAX, PROOF_BYTES_MAX, Proof, ProofFileError};
use tabellion_evidence::tree::{leaf_hash, node_hash, sha256};

fn log() -> SigningKey {
    SigningKey::from_seed("log.example/test", [7; 32]).expect("a name")
}

fn witness() -> SigningKey {
    SigningKey::cosigner_from_seed("witness.example", [8; 32]).expect("a name")
}

fn head() -> Checkpoint {
    Checkpoint::new("log.example/test", 300, sha256(b"root"))
}

#[test]
fn verifies_the_specification_s_example() {
    // c2sp.org/signed-note, section Example: a key and a signature of others' making.
    let key = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let key: VerifierKey = key.parse().expect("a key");
    let signature = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=";
    let note = format!("This is an example message.\n\n\u{2014} example.com/foo {signature}\n");
    let opened = Note::parse(note.as_bytes()).and_then(|note| note.verify(&[key]));
    assert_eq!(opened.map(|opened| opened.text.clone()), Ok("This is an example message.\n".to_owned()));
}

#[test]
fn keys_survive_their_text() {
    let pq = SigningKey::ml_dsa_from_seed("log.example/test", [9; 32]).expect("a name");
    assert_eq!(pq.verifier().public_key().len(), 1312);
    for key in [log(), witness(), pq] {
        let again = SigningKey::parse(&key.to_text()).expect("our own text");
        assert_eq!(again.verifier(), key.verifier());
        assert_eq!(again.to_text(), key.to_text());
        let public = key.verifier().to_string();
        assert_eq!(VerifierKey::parse(&public).as_ref(), Ok(key.verifier()));
    }
}

#[test]
fn a_signing_key_s_debug_shows_no_secret() {
    let key = log();
    let debug = format!("{key:?}");
    let text = key.to_text();
    let secret = text.rsplit('+').next().expect("three fields");
    assert!(!debug.contains(secret) && !debug.contains(&"07".repeat(8)));
}

#[test]
fn every_changed_character_of_a_key_is_refused() {
    let text = log().verifier().to_string();
    for (position, _) in text.char_indices() {
        for other in ['A', 'B', '0', '1', 'a', 'b', '+', '/', '=', ' '] {
            let mut changed = text.clone();
            changed.replace_range(position..position + 1, &other.to_string());
            if changed != text {
                assert!(VerifierKey::parse(&changed).is_err(), "{changed}");
            }
        }
        assert!(VerifierKey::parse(&text[..position]).is_err());
    }
    assert!(matches!(SigningKey::parse(&text), Err(KeyError::Malformed)));
    assert!(VerifierKey::parse(&log().to_text()).is_err());
    assert!(matches!(SigningKey::from_seed("", [1; 32]), Err(KeyError::Name)));
    assert!(matches!(SigningKey::from_seed("a+b", [1; 32]), Err(KeyError::Name)));
    assert!(matches!(SigningKey::from_seed("a\nb", [1; 32]), Err(KeyError::Name)));
}

#[test]
fn no_flipped_bit_and_no_cut_of_a_checkpoint_verifies_as_another() {
    let (key, head) = (log(), head());
    let mut signed = checkpoint::sign(&head, &key);
    assert_eq!(checkpoint::verify(signed.as_bytes(), key.verifier()).as_deref(), Ok(&head));
    let alone = signed.len();
    signed.push_str(&note::cosign(&head.to_text(), 1_700_000_000, &witness()));
    for byte in 0..signed.len() {
        for bit in 0..8 {
            let mut changed = signed.clone().into_bytes();
            changed[byte] ^= 1 << bit;
            match checkpoint::verify(&changed, key.verifier()) {
                // Only the witness's line may change unnoticed by the log's key.
                Ok(verified) => assert!(byte >= alone && *verified == head, "byte {byte}, bit {bit}"),
                Err(_) => assert!(byte < alone || Note::parse(&changed).is_err(), "byte {byte}, bit {bit}"),
            }
        }
    }
    for cut in 0..signed.len() {
        let verified = checkpoint::verify(&signed.as_bytes()[..cut], key.verifier());
        assert_eq!(verified.is_ok(), cut == alone, "cut at {cut}");
    }
}

#[test]
fn no_flipped_bit_of_a_cosignature_verifies() {
    let head = head();
    let signed = checkpoint::sign(&head, &log());
    let line = note::cosign(&head.to_text(), 1_700_000_000, &witness());
    let keys = [witness().verifier().clone()];
    let whole = format!("{signed}{line}");
    let found = checkpoint::cosignatures(whole.as_bytes(), &keys).expect("ours");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].time, &found[0].witness), (1_700_000_000, &keys[0]));
    for byte in 0..line.len() {
        for bit in 0..8 {
            let mut changed = whole.clone().into_bytes();
            changed[signed.len() + byte] ^= 1 << bit;
            // Refused, or somebody else's.
            if let Ok(found) = checkpoint::cosignatures(&changed, &keys) {
                assert!(found.is_empty(), "byte {byte}, bit {bit}");
            }
        }
    }
    assert_eq!(checkpoint::cosignatures(signed.as_bytes(), &keys), Ok(Vec::new()));
    assert_eq!(checkpoint::cosignatures(whole.as_bytes(), &[log().verifier().clone()]), Err(CheckpointError::Key));
    assert_eq!(checkpoint::verify(whole.as_bytes(), &keys[0]), Err(CheckpointError::Key));
}

#[test]
fn no_flipped_bit_of_an_ml_dsa_signature_verifies_and_both_signatures_must_be_good() {
    let pq = SigningKey::ml_dsa_from_seed("log.example/test", [9; 32]).expect("a name");
    let line = note::cosign(&head().to_text(), 1_700_000_000, &pq);
    let both = format!("{}{line}", checkpoint::sign(&head(), &log()));
    for key in [log().verifier(), pq.verifier()] {
        assert_eq!(checkpoint::verify(both.as_bytes(), key).as_deref(), Ok(&head()));
    }
    let start = both.len() - line.len();
    for byte in (start..both.len()).step_by(17).chain(start..start + 80) {
        let mut changed = both.clone().into_bytes();
        changed[byte] ^= 1 << (byte % 7);
        assert!(checkpoint::verify(&changed, pq.verifier()).is_err(), "byte {byte}");
    }
    let long = "x".repeat(256);
    assert!(matches!(SigningKey::ml_dsa_from_seed(&long, [9; 32]), Err(KeyError::Name)));
    assert!(SigningKey::from_seed(&long, [9; 32]).is_ok());
}

#[test]
fn of_two_cosignatures_the_newest_counts() {
    let head = head();
    let mut signed = checkpoint::sign(&head, &log());
    for time in [5, 9, 7] {
        signed.push_str(&note::cosign(&head.to_text(), time, &witness()));
    }
    let found = checkpoint::cosignatures(signed.as_bytes(), &[witness().verifier().clone()]).expect("ours");
    assert_eq!(found.iter().map(|cosignature| cosignature.time).collect::<Vec<_>>(), [9]);
}

#[test]
fn notes_have_limits() {
    let signed = checkpoint::sign(&head(), &log());
    let line = note::cosign(&head().to_text(), 1, &witness());
    let keys = [log().verifier().clone()];
    let many = format!("{signed}{}", line.repeat(note::SIGNATURES_MAX - 1));
    assert!(Note::parse(many.as_bytes()).and_then(|note| note.verify(&keys)).is_ok());
    let more = format!("{many}{line}");
    assert_eq!(Note::parse(more.as_bytes()), Err(NoteError::TooLarge));
    let long = vec![b'a'; note::NOTE_BYTES_MAX + 1];
    assert_eq!(Note::parse(&long), Err(NoteError::TooLarge));
}

#[test]
fn a_checkpoint_survives_its_text() {
    let mut head = head();
    assert_eq!(Checkpoint::parse_text(&head.to_text()), Ok(head.clone()));
    head.extensions = vec!["one".to_owned(), "two".to_owned()];
    head.size = u64::MAX;
    assert_eq!(Checkpoint::parse_text(&head.to_text()), Ok(head));
}

fn proof() -> (Vec<u8>, Proof) {
    let entry = b"an entry".to_vec();
    let sibling = leaf_hash(b"another");
    let root = node_hash(&leaf_hash(&entry), &sibling);
    let checkpoint = checkpoint::sign(&Checkpoint::new("log.example/test", 2, root), &log());
    let proof = Proof { extra: Some(entry.clone()), index: 0, hashes: vec![sibling], checkpoint };
    (entry, proof)
}

#[test]
fn no_flipped_bit_and_no_cut_of_a_proof_file_proves_another_entry() {
    let (entry, proof) = proof();
    let key = log();
    let text = proof.to_text();
    assert_eq!(Proof::parse(text.as_bytes()).as_ref(), Ok(&proof));
    assert!(proof.verify(&entry, key.verifier()).is_ok());
    let verify = |bytes: &[u8]| {
        let proof = Proof::parse(bytes)?;
        let entry = proof.extra.clone().unwrap_or_default();
        proof.verify(&entry, key.verifier()).map(|verified| (entry, verified.size))
    };
    for byte in 0..text.len() {
        for bit in 0..8 {
            let mut changed = text.clone().into_bytes();
            changed[byte] ^= 1 << bit;
            assert!(verify(&changed).is_err(), "byte {byte}, bit {bit}");
        }
        assert!(verify(&text.as_bytes()[..byte]).is_err(), "cut at {byte}");
    }
    assert_eq!(verify(text.as_bytes()), Ok((entry, 2)));
}

#[test]
fn proof_files_have_limits() {
    let (_, mut proof) = proof();
    proof.hashes = vec![sha256(b"x"); HASHES_MAX + 1];
    assert_eq!(Proof::parse(proof.to_text().as_bytes()), Err(ProofFileError::TooLarge));
    proof.hashes.pop();
    assert!(Proof::parse(proof.to_text().as_bytes()).is_ok());
    assert_eq!(Proof::parse(&vec![b'a'; PROOF_BYTES_MAX + 1]), Err(ProofFileError::TooLarge));
}
