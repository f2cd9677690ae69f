//! Trust policies: what is one, and what it decides.

use tabellion_evidence::checkpoint::{self, Checkpoint, CheckpointError};
use tabellion_evidence::note::{self, NoteError, SigningKey};
use tabellion_evidence::policy::{POLICY_BYTES_MAX, Policy, PolicyError};
use tabellion_evidence::tree::sha256;

fn log() -> SigningKey {
    SigningKey::from_seed("log.example/test", [7; 32]).unwrap()
}

fn witness(n: u8) -> SigningKey {
    SigningKey::cosigner_from_seed(&format!("w{n}.example"), [n; 32]).unwrap()
}

/// A checkpoint with the cosignatures of these witnesses.
fn cosigned(by: &[u8]) -> Vec<u8> {
    let head = Checkpoint::new("log.example/test", 300, sha256(b"root"));
    let mut note = checkpoint::sign(&head, &log());
    for &n in by {
        note.push_str(&note::cosign(&head.to_text(), 1_700_000_000 + u64::from(n), &witness(n)));
    }
    note.into_bytes()
}

/// The specification's example, with keys of ours.
fn example() -> String {
    let mut text = format!("# an example\nlog {}\n\n", log().verifier());
    for (n, name) in [(1, "X1"), (2, "X2"), (3, "X3"), (4, "Y1"), (5, "Y2"), (6, "Y3")] {
        text.push_str(&format!("\twitness {name}  {} https://w{n}.example/\n", witness(n).verifier()));
    }
    text + "group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\n\
            group X-and-Y all X-witnesses Y-witnesses\n  # and the quorum\nquorum X-and-Y\n"
}

#[test]
fn the_specification_s_example_decides_for_every_set_of_witnesses() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    assert_eq!((policy.logs().len(), policy.witnesses().len()), (1, 6));
    assert_eq!(policy.witnesses()[2].url.as_deref(), Some("https://w3.example/"));
    for set in 0..64_u32 {
        let by: Vec<u8> = (1..=6).filter(|n| set & (1 << (n - 1)) != 0).collect();
        let decision = policy.decide(&cosigned(&by)).unwrap();
        let (x, y) = (by.iter().filter(|&&n| n <= 3).count(), by.iter().filter(|&&n| n > 3).count());
        assert_eq!(decision.quorum, x >= 2 && y >= 1, "{by:?}");
        assert_eq!(decision.witnesses.len(), by.len());
    }
    let (head, decision) = policy.verify(&cosigned(&[1, 3, 5])).unwrap();
    assert_eq!((head.size, decision.quorum), (300, true));
    let names: Vec<&str> = decision.witnesses.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["X1", "X3", "Y2"]);
    assert_eq!(decision.witnesses[1].1.time, 1_700_000_003);
}

#[test]
fn a_bad_cosignature_and_an_unknown_log_refuse_the_checkpoint() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    let head = Checkpoint::new("log.example/test", 300, sha256(b"root"));
    let other = Checkpoint::new("log.example/test", 301, sha256(b"root"));
    let mut bad = cosigned(&[1, 2, 4]);
    bad.extend_from_slice(note::cosign(&other.to_text(), 1, &witness(5)).as_bytes());
    assert_eq!(policy.decide(&bad), Err(CheckpointError::Note(NoteError::Signature)));
    let stranger = SigningKey::from_seed("log.example/test", [9; 32]).unwrap();
    let forged = checkpoint::sign(&head, &stranger);
    assert_eq!(policy.verify(forged.as_bytes()).unwrap_err(), CheckpointError::Note(NoteError::Unsigned));
    let without = Policy::parse(b"quorum none\n").unwrap();
    assert!(without.verify(&cosigned(&[])).is_err(), "no log is accepted by it");
    assert!(without.decide(&cosigned(&[])).unwrap().quorum && !without.wants_cosignatures());
}

#[test]
fn a_threshold_counts_witnesses() {
    let keys: Vec<_> = (1..=3).map(|n| witness(n).verifier().clone()).collect();
    for need in 0..=3 {
        let policy = Policy::threshold(&keys, need).unwrap();
        for have in 0..=3_u8 {
            let by: Vec<u8> = (1..=have).collect();
            assert_eq!(policy.decide(&cosigned(&by)).unwrap().quorum, usize::from(have) >= need);
        }
    }
}

#[test]
fn two_keys_of_one_name_are_one_witness() {
    let pq = SigningKey::ml_dsa_from_seed("w1.example", [8; 32]).unwrap();
    let keys = [witness(1).verifier().clone(), pq.verifier().clone(), witness(2).verifier().clone()];
    assert_eq!(Policy::threshold(&keys, 3), None, "there are two");
    let two = Policy::threshold(&keys, 2).unwrap();
    let mut note = String::from_utf8(cosigned(&[1])).unwrap();
    let head = Checkpoint::new("log.example/test", 300, sha256(b"root"));
    note.push_str(&note::cosign(&head.to_text(), 5, &pq));
    let decision = two.decide(note.as_bytes()).unwrap();
    assert_eq!((decision.witnesses.len(), decision.quorum), (2, false));
    note.push_str(&note::cosign(&head.to_text(), 5, &witness(2)));
    assert!(two.decide(note.as_bytes()).unwrap().quorum);
}

#[test]
fn mistakes_are_named_by_line() {
    let (l, w1, w2) = (log().verifier().clone(), witness(1).verifier().clone(), witness(2).verifier().clone());
    let line = |text: &str| match Policy::parse(text.as_bytes()) {
        Err(PolicyError::Line { line, what }) => (line, what),
        other => panic!("{text}: {other:?}"),
    };
    let lines = [
        (format!("log {l}\nlog {l}\nquorum none\n"), 2, "has a key that another log has"),
        (format!("log {w1}\nquorum none\n"), 1, "has a key that is not a log's"),
        (format!("witness a {l}\nquorum none\n"), 1, "has a key that is not a witness's"),
        (format!("witness a {w1}\nwitness b {w1}\nquorum none\n"), 2, "has a key that another witness has"),
        (format!("witness a {w1}\nwitness a {w2}\nquorum none\n"), 2, "defines a name again"),
        (format!("witness none {w1}\nquorum none\n"), 1, "defines `none`"),
        (format!("witness a {w1}\ngroup a any a\nquorum none\n"), 2, "defines a name again"),
        (format!("witness a {w1}\ngroup g any a\ngroup h any a\nquorum g\n"), 3, "names what is in a group already"),
        (format!("witness a {w1}\ngroup g any a a\nquorum g\n"), 2, "names what is in a group already"),
        ("group g any g\nquorum g\n".to_owned(), 1, "names what no line before it defines"),
        ("group g any none\nquorum g\n".to_owned(), 1, "names what no line before it defines"),
        ("quorum a\n".to_owned(), 1, "names what no line before it defines"),
        ("group g any\nquorum g\n".to_owned(), 1, "is a group without members"),
        (format!("witness a {w1}\ngroup g 0 a\nquorum g\n"), 2, "wants a number of members that there cannot be"),
        (format!("witness a {w1}\ngroup g 2 a\nquorum g\n"), 2, "wants a number of members that there cannot be"),
        (format!("witness a {w1}\ngroup g 01 a\nquorum g\n"), 2, "wants a number of members that there cannot be"),
        (format!("witness a {w1}\ngroup g some a\nquorum g\n"), 2, "wants a number of members that there cannot be"),
        ("quorum none\nquorum none\n".to_owned(), 2, "is a second quorum"),
        ("quorum none # nobody\n".to_owned(), 1, "is no line of a policy"),
        ("quorum\n".to_owned(), 1, "is no line of a policy"),
        ("Quorum none\n".to_owned(), 1, "is no line of a policy"),
        ("\u{a0}quorum none\n".to_owned(), 1, "is no line of a policy"),
        ("quorum none\r\n".to_owned(), 1, "has control characters"),
        ("quorum none".to_owned(), 1, "does not end"),
        (format!("log {l} u v\nquorum none\n"), 1, "is not `log <vkey> [<url>]`"),
        (format!("witness {w1}\nquorum none\n"), 1, "is not `witness <name> <vkey> [<url>]`"),
        ("log x\nquorum none\n".to_owned(), 1, "has a key that cannot be read, or is of a kind that is not supported"),
    ];
    for (text, at, what) in lines {
        assert_eq!(line(&text), (at, what), "{text}");
    }
    assert_eq!(Policy::parse(b""), Err(PolicyError::Quorum));
    assert_eq!(Policy::parse(b"# nothing\n \t\n"), Err(PolicyError::Quorum));
    assert_eq!(Policy::parse(&vec![b'#'; POLICY_BYTES_MAX + 1]), Err(PolicyError::TooLarge));
    // Names are bytes: the Kelvin sign is not the letter K, and what is not UTF-8 is a name too.
    let opaque = [format!("witness \u{212a} {w1}\nwitness K {w2}\nquorum ").as_bytes(), b"K\n"].concat();
    assert!(Policy::parse(&opaque).unwrap().decide(&cosigned(&[2])).unwrap().quorum);
    let latin = [b"witness \xff ", w1.to_string().as_bytes(), b"\nquorum \xff\n"].concat();
    assert!(Policy::parse(&latin).unwrap().decide(&cosigned(&[1])).unwrap().quorum);
}

#[test]
fn no_cut_of_a_policy_is_a_weaker_one() {
    let text = example();
    for cut in 0..text.len() {
        assert!(Policy::parse(&text.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
}
