//! What a witness cosigns, what it refuses, and in which order.

use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::note::{self, SigningKey, VerifierKey};
use tabellion_evidence::tree::{self, Frontier, Hash, empty_root, leaf_hash, sha256};
use tabellion_evidence::witness::{
    Fork, HASHES_MAX, Refusal, Signed, Submission, authenticate, fork, judge, take_cosignatures,
};

const ORIGIN: &str = "log.example/test";

fn log() -> SigningKey {
    SigningKey::from_seed(ORIGIN, [7; 32]).unwrap()
}

struct Leaves(Vec<Hash>);

impl tree::Tiles for Leaves {
    type Error = ();

    fn tile(&self, level: u8, index: u64, width: u16) -> Result<Vec<u8>, ()> {
        assert_eq!((level, index), (0, 0), "trees here are small");
        Ok(self.0[..usize::from(width)].iter().flat_map(|hash| hash.0).collect())
    }
}

fn leaves(branch: &str, size: u64) -> Leaves {
    Leaves((0..size).map(|n| leaf_hash(format!("{branch}{n}").as_bytes())).collect())
}

fn head(branch: &str, size: u64) -> Checkpoint {
    let mut frontier = Frontier::new();
    leaves(branch, size).0.into_iter().for_each(|leaf| frontier.push(leaf));
    Checkpoint::new(ORIGIN, size, frontier.root())
}

fn submission(branch: &str, old: u64, size: u64) -> Submission {
    let proof = tree::consistency_proof(old, size, &leaves(branch, size)).unwrap_or_default();
    Submission { old, proof, checkpoint: checkpoint::sign(&head(branch, size), &log()) }
}

fn signed(submission: &Submission) -> Result<Signed, Refusal> {
    let keys = [log().verifier().clone()];
    authenticate(submission.clone(), |origin| if origin == ORIGIN { &keys[..] } else { &[] })
}

fn answer(submission: &Submission, last: Option<&Checkpoint>) -> u16 {
    let read = Submission::parse(submission.to_text().as_bytes());
    match read.and_then(|read| signed(&read)).and_then(|signed| judge(&signed, last)) {
        Ok(()) => 200,
        Err(refusal) => refusal.status(),
    }
}

#[test]
fn every_status_comes_in_the_specification_s_order() {
    let last = head("a", 5);
    let last = Some(&last);
    for (old, size, expected) in
        [(5, 9, 200), (5, 5, 200), (4, 9, 409), (0, 9, 409), (6, 9, 409), (6, 5, 400), (9, 5, 400)]
    {
        assert_eq!(answer(&submission("a", old, size), last), expected, "{old} to {size}");
    }
    assert_eq!(answer(&submission("a", 0, 9), None), 200);
    assert_eq!(answer(&submission("a", 0, 0), None), 200);
    assert_eq!(answer(&submission("a", 1, 9), None), 409);
    let refusal = signed(&submission("a", 4, 9)).and_then(|signed| judge(&signed, last));
    assert_eq!(refusal, Err(Refusal::Conflict { size: 5 }));

    // Another branch: neither its proof nor its root of the same size will do.
    assert_eq!(answer(&submission("b", 5, 9), last), 422);
    assert_eq!(answer(&submission("b", 5, 5), last), 422);
    let mut padded = submission("a", 0, 9);
    padded.proof = vec![sha256(b"x")];
    assert_eq!(answer(&padded, None), 422, "a proof from nothing is empty");
    let mut short = submission("a", 5, 9);
    short.proof.pop();
    assert_eq!(answer(&short, last), 422);
    let wrong_empty = Submission {
        old: 0,
        proof: Vec::new(),
        checkpoint: checkpoint::sign(&Checkpoint::new(ORIGIN, 0, sha256(b"x")), &log()),
    };
    assert_eq!(answer(&wrong_empty, None), 422);
    assert_eq!(head("a", 0).root, empty_root());

    // Who signed comes before what it says.
    let stranger = SigningKey::from_seed(ORIGIN, [9; 32]).unwrap();
    let mut forged = submission("a", 9, 5);
    forged.checkpoint = checkpoint::sign(&head("a", 5), &stranger);
    assert_eq!(answer(&forged, last), 403);
    let mut tampered = submission("a", 5, 9);
    tampered.checkpoint = tampered.checkpoint.replacen("\n9\n", "\n8\n", 1);
    assert_eq!(answer(&tampered, last), 403);
    let other = SigningKey::from_seed("log.example/other", [7; 32]).unwrap();
    let mut unknown = submission("a", 9, 5);
    unknown.checkpoint = checkpoint::sign(&Checkpoint::new("log.example/other", 5, sha256(b"x")), &other);
    assert_eq!(answer(&unknown, last), 404);
}

#[test]
fn a_bad_signature_by_one_of_two_keys_refuses_a_good_one_by_the_other() {
    let pq = SigningKey::ml_dsa_from_seed(ORIGIN, [8; 32]).unwrap();
    let keys = [log().verifier().clone(), pq.verifier().clone()];
    let mut both = submission("a", 0, 9);
    both.checkpoint.push_str(&note::cosign(&head("a", 9).to_text(), 1, &pq));
    let accepted = authenticate(both.clone(), |_| &keys).unwrap();
    assert_eq!(accepted.note_by(&keys), both.checkpoint);
    assert_eq!(accepted.note_by(&keys[..1]), submission("a", 0, 9).checkpoint);
    let mut bad = submission("a", 0, 9);
    bad.checkpoint.push_str(&note::cosign(&head("a", 8).to_text(), 1, &pq));
    assert_eq!(authenticate(bad, |_| &keys), Err(Refusal::Unsigned));
}

#[test]
fn malformed_requests_are_refused() {
    let good = submission("a", 5, 9);
    let text = good.to_text();
    assert_eq!(Submission::parse(text.as_bytes()), Ok(good.clone()));
    for (from, to) in [
        ("old 5\n", "old 05\n"),
        ("old 5\n", "old  5\n"),
        ("old 5\n", "old 5\r\n"),
        ("old 5\n", "new 5\n"),
        ("old 5\n", "old -5\n"),
        ("old 5\n", "\nold 5\n"),
        ("old 5\n", "old 18446744073709551616\n"),
    ] {
        assert_eq!(
            Submission::parse(text.replacen(from, to, 1).as_bytes()).and_then(|read| signed(&read)).err(),
            Some(Refusal::Malformed),
            "{to}"
        );
    }
    for cut in 0..text.len() {
        let read = Submission::parse(&text.as_bytes()[..cut]).and_then(|read| signed(&read));
        assert_eq!(read.err(), Some(Refusal::Malformed), "cut at {cut}");
    }
    let mut many = good;
    many.proof = vec![sha256(b"x"); HASHES_MAX];
    assert!(Submission::parse(many.to_text().as_bytes()).is_ok());
    many.proof.push(sha256(b"x"));
    assert_eq!(Submission::parse(many.to_text().as_bytes()), Err(Refusal::Malformed));
}

#[test]
fn a_fork_is_told_from_a_wrong_proof() {
    let shown = |submission: &Submission, last: &Checkpoint| fork(&signed(submission).unwrap(), last);
    let last = head("a", 5);
    assert_eq!(shown(&submission("a", 5, 9), &last), None);
    assert_eq!(shown(&submission("a", 5, 5), &last), None);
    assert_eq!(shown(&submission("b", 5, 5), &last), Some(Fork::Proved));
    assert_eq!(shown(&submission("b", 3, 5), &last), Some(Fork::Proved), "whatever old size it claims");
    assert_eq!(shown(&submission("b", 5, 9), &last), Some(Fork::Proved), "its own proof shows another old root");
    let mut garbled = submission("a", 5, 9);
    garbled.proof[1] = sha256(b"x");
    assert_eq!(shown(&garbled, &last), Some(Fork::Suspected), "anybody can garble an honest log's proof");
    assert_eq!(shown(&submission("b", 4, 9), &head("a", 4)), Some(Fork::Suspected), "the old root is not in the proof");
    assert_eq!(shown(&submission("a", 3, 9), &last), None, "a stale old size is no fork");
}

#[test]
fn only_cosignatures_that_verify_are_taken() {
    let submitted = submission("a", 0, 9).checkpoint;
    let text = head("a", 9).to_text();
    let classic = SigningKey::cosigner_from_seed("w.example", [1; 32]).unwrap();
    let pq = SigningKey::ml_dsa_from_seed("w.example", [2; 32]).unwrap();
    let stranger = SigningKey::cosigner_from_seed("x.example", [3; 32]).unwrap();
    let keys: Vec<VerifierKey> = [&classic, &pq].map(|key| key.verifier().clone()).to_vec();
    let (one, two) = (note::cosign(&text, 5, &classic), note::cosign(&text, 6, &pq));
    let take = |answer: &str| take_cosignatures(&submitted, answer.as_bytes(), &keys);

    let taken = take(&format!("{one}{two}{}", note::cosign(&text, 7, &stranger))).unwrap();
    assert_eq!(taken.iter().map(|(found, _)| found.time).collect::<Vec<_>>(), [5, 6]);
    assert_eq!(taken.iter().map(|(_, line)| &**line).collect::<String>(), format!("{one}{two}"));
    let newest = take(&format!("{one}{}{one}", note::cosign(&text, 9, &classic))).unwrap();
    assert_eq!(newest[0].1, note::cosign(&text, 9, &classic));
    assert!(take(&note::cosign(&text, 7, &stranger)).unwrap().is_empty());
    let elsewhere = note::cosign(&head("a", 8).to_text(), 5, &classic);
    for bad in
        [&*elsewhere, "", "x", "\n", &one[..one.len() - 1], &format!("{one}\n{one}"), &format!("{one}{elsewhere}")]
    {
        assert!(take(bad).is_err(), "{bad:?}");
    }
}
