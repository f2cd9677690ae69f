//! Entries, packs, bundles: round trips, limits, and that nothing panics.

use std::collections::BTreeMap;

use tabellion_evidence::content::{self, PackError};
use tabellion_evidence::entry::{
    Content, Entry, EntryError, Erase, Kind, Manifest, Omitted, Original, Outcome, Part, Redaction, Usage, commitment,
};
use tabellion_evidence::tile::{self, BundleError};
use tabellion_evidence::tree::sha256;
use tabellion_evidence::{checkpoint, note, proof};

fn part(role: &str, bytes: &[u8]) -> Part {
    Part { role: role.to_owned(), sha256: sha256(bytes), bytes: bytes.len() as u64, findings: BTreeMap::new() }
}

fn request() -> Entry {
    let mut entry = Entry::new(Kind::Request, "01JDA5N0000000000000000000", "2026-11-22T10:00:00.123456Z");
    let mut user = part("user", b"hello");
    user.findings.insert("EMAIL_ADDRESS".to_owned(), 1);
    entry.upstream = Some("openai".to_owned());
    entry.operation = Some("POST /v1/chat/completions".to_owned());
    entry.model = Some("gpt-4o-mini".to_owned());
    entry.case = Some("C-1042".to_owned());
    entry.actor = Some("k_9f2c41ab".to_owned());
    entry.tags = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
    entry.content = Some(Content {
        sha256: Some(sha256(b"[hello]")),
        bytes: Some(7),
        parts: vec![part("frame", b"[\0]"), user],
        ..Content::default()
    });
    entry.original =
        Some(Original { bytes: 9, commitment: sha256(b"c"), parts: vec![sha256(b"p")], sealed: vec![sha256(b"s")] });
    entry.redaction = Some(Redaction {
        policy: sha256(b"rules"),
        findings: BTreeMap::from([("EMAIL_ADDRESS".to_owned(), 1)]),
        tokens: vec!["EMAIL_ADDRESS:k7f3q2ab".to_owned()],
        external: BTreeMap::new(),
        external_failures: BTreeMap::new(),
    });
    entry.trace = Some("00-4bf9".to_owned());
    entry
}

fn response() -> Entry {
    let mut entry = Entry::new(Kind::Response, "01JDA5N0000000000000000001", "2026-11-22T10:00:01.000000Z");
    entry.exchange = Some("01JDA5N0000000000000000000".to_owned());
    entry.content = Some(Content { omitted: Some(Omitted::TooLarge), ..Content::default() });
    entry.outcome = Some(Outcome::ClientGone);
    entry.status = Some(200);
    entry.reason = Some("body_too_large".to_owned());
    entry.usage = Some(Usage { input: Some(1), output: None });
    entry
}

#[test]
fn an_entry_survives_its_bytes_in_the_documented_order() {
    for entry in [request(), response(), Entry::new(Kind::Start, "a", "b")] {
        let bytes = entry.to_bytes().expect("short");
        assert_eq!(Entry::parse(&bytes), Ok(entry));
    }
    let text = String::from_utf8(request().to_bytes().expect("short")).expect("json");
    let mut last = 0;
    for name in
        "v kind id exchange time upstream operation model case actor tags content original redaction trace".split(' ')
    {
        let at = text.find(&format!("\"{name}\":")).expect(name);
        assert!(at >= last, "{name}");
        last = at;
    }
    assert!(!text.contains(": ") && !text.contains("null") && !text.contains("assembled"));
    let text = String::from_utf8(response().to_bytes().expect("short")).expect("json");
    assert!(text.contains(r#""content":{"omitted":"too_large"},"outcome":"client_gone","status":200"#), "{text}");
}

#[test]
fn an_entry_has_at_most_65535_bytes() {
    let mut entry = response();
    entry.reason = Some(String::new());
    let room = tile::ENTRY_BYTES_MAX - entry.to_bytes().expect("short").len();
    entry.reason = Some("x".repeat(room));
    let bytes = entry.to_bytes().expect("just fits");
    assert_eq!(bytes.len(), 65_535);
    assert_eq!(Entry::parse(&bytes), Ok(entry.clone()));
    entry.reason = Some("x".repeat(room + 1));
    assert_eq!(entry.to_bytes(), Err(EntryError::TooLong));
}

#[test]
fn refuses_to_write_what_it_would_not_read() {
    let mut entry = request();
    entry.exchange = None;
    assert_eq!(entry.to_bytes(), Err(EntryError::Exchange));
    let mut entry = response();
    entry.outcome = None;
    assert_eq!(entry.to_bytes(), Err(EntryError::Outcome));
    let mut entry = request();
    entry.content = Some(Content::default());
    assert_eq!(entry.to_bytes(), Err(EntryError::Content));
    let mut entry = request();
    entry.v = 2;
    assert_eq!(entry.to_bytes(), Err(EntryError::Version));
}

#[test]
fn a_manifest_survives_its_bytes() {
    let manifest = Manifest {
        content: vec![part("frame", b"[\0]"), part("user", b"x")],
        original: vec![sha256(b"o")],
        tokens: vec!["EMAIL_ADDRESS:k7f3q2ab".to_owned()],
        sealed: vec![sha256(b"s")],
    };
    assert_eq!(Manifest::parse(&manifest.to_bytes()), Ok(manifest));
    assert_eq!(Manifest::parse(br#"{"content":[],"original":[]}"#), Err(EntryError::Content));
    assert_eq!(Manifest::parse(b"[[],[]]"), Err(EntryError::Malformed));
    assert_eq!(Manifest::parse(br#"{"content":[],"content":[]}"#), Err(EntryError::Duplicate));
}

#[test]
fn commitments_are_to_salt_and_bytes() {
    let salt = [3; 32];
    assert_eq!(commitment(&salt, b"bytes"), sha256([&salt[..], b"bytes"].concat()));
    assert_ne!(commitment(&salt, b"bytes"), commitment(&[4; 32], b"bytes"));
}

#[test]
fn erasures_name_entries_in_ranges() {
    let erase = Erase { entries: Erase::ranges(vec![7, 3, 4, 9, 4, 0]), selection: BTreeMap::new(), basis: None };
    assert_eq!(erase.entries, [(0, 0), (3, 4), (7, 7), (9, 9)]);
    assert_eq!(erase.count(), 5);
    let named: Vec<u64> = (0..12).filter(|&entry| erase.names(entry)).collect();
    assert_eq!(named, [0, 3, 4, 7, 9]);
    let entry =
        |erase| Entry { erase, ..Entry::new(Kind::Erase, "01JDA5N0000000000000000000", "2026-11-22T10:00:00Z") };
    assert!(entry(Some(erase)).to_bytes().is_ok());
    assert_eq!(entry(None).to_bytes(), Err(EntryError::Erase));
    for ranges in [vec![], vec![(2, 1)], vec![(1, 2), (3, 4)], vec![(5, 6), (1, 2)]] {
        let erase = Erase { entries: ranges.clone(), selection: BTreeMap::new(), basis: None };
        assert_eq!(entry(Some(erase)).to_bytes(), Err(EntryError::Erase), "{ranges:?}");
    }
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_pack_shows() {
    let parts: [&[u8]; 4] = [b"[\0,\0]", b"", b"one", b"two"];
    let mut pack = Vec::new();
    let mut ends = vec![0];
    for part in parts {
        assert_eq!(content::encode_part(&mut pack, part), sha256(part));
        ends.push(pack.len());
    }
    let read = content::parse_pack(&pack).expect("ours");
    assert_eq!(read.len(), 4);
    for ((hash, bytes, offset), part) in read.iter().zip(parts) {
        assert_eq!((*hash, *bytes), (sha256(part), part));
        assert_eq!(&pack[*offset..offset + part.len()], part);
    }
    for byte in 0..pack.len() {
        for bit in 0..8 {
            let mut changed = pack.clone();
            changed[byte] ^= 1 << bit;
            assert!(content::parse_pack(&changed).is_err(), "byte {byte}, bit {bit}");
        }
        // Cut between parts, a pack is a shorter pack; that parts are missing
        // shows in the entries that name them.
        assert_eq!(content::parse_pack(&pack[..byte]).is_ok(), ends.contains(&byte), "cut at {byte}");
    }
    assert_eq!(content::parse_pack(&pack[..1]), Err(PackError::Short(0)));
}

#[test]
fn a_body_comes_together_or_not_at_all() {
    let parts: [&[u8]; 2] = [b"1", b"22"];
    assert_eq!(content::assemble(b"[\0,\0]", &parts), Some(b"[1,22]".to_vec()));
    assert_eq!(content::assemble(b"[\0]", &parts), None);
    assert_eq!(content::assemble(b"[\0,\0,\0]", &parts), None);
    assert_eq!(content::assemble(b"{}", &[]), Some(b"{}".to_vec()));
    assert_eq!(content::assemble(b"", &[]), Some(Vec::new()));
    assert!(content::split_check(b"[1,22]", b"[\0,\0]", &parts));
    assert!(!content::split_check(b"[1,23]", b"[\0,\0]", &parts));
    assert!(!content::split_check(b"a\0b", b"a\0b", &[b"\0"]));
}

#[test]
fn every_cut_of_a_bundle_shows() {
    let entries: [&[u8]; 3] = [b"one", b"", b"three"];
    let mut bundle = Vec::new();
    for entry in entries {
        tile::encode_entry(&mut bundle, entry);
    }
    assert_eq!(tile::parse_bundle(&bundle, 3), Ok(entries.to_vec()));
    assert_eq!(tile::parse_bundle(&bundle, 2), Err(BundleError::Long));
    assert_eq!(tile::parse_bundle(&bundle, 4), Err(BundleError::Short(3)));
    for cut in 0..bundle.len() {
        assert!(tile::parse_bundle(&bundle[..cut], 3).is_err(), "cut at {cut}");
    }
}

/// A small stand-in for the fuzzers in `fuzz/`: the same bytes every time.
#[test]
fn damaged_bytes_never_panic() {
    let key = note::SigningKey::from_seed("log.example", [1; 32]).expect("a name");
    let head = checkpoint::Checkpoint::new("log.example", 1, sha256(b"r"));
    let signed = checkpoint::sign(&head, &key);
    let file = proof::Proof {
        extra: Some(b"extra".to_vec()),
        index: 0,
        hashes: vec![sha256(b"h"); 3],
        checkpoint: signed.clone(),
    };
    let mut pack = Vec::new();
    content::encode_part(&mut pack, b"part");
    let seeds = [
        request().to_bytes().expect("short"),
        response().to_bytes().expect("short"),
        signed.into_bytes(),
        file.to_text().into_bytes(),
        pack,
    ];
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for round in 0..20_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..1 + next() % 4 {
            let at = next() % bytes.len();
            match next() % 4 {
                0 => bytes[at] = next() as u8,
                1 => bytes.truncate(at + 1),
                2 => bytes.insert(at, next() as u8),
                _ => {
                    let piece = bytes[at..].to_vec();
                    bytes.extend_from_slice(&piece);
                }
            }
        }
        if let Ok(entry) = Entry::parse(&bytes) {
            let again = entry.to_bytes().expect("what was read can be written");
            assert_eq!(Entry::parse(&again), Ok(entry));
        }
        let _ = Manifest::parse(&bytes);
        let _ = checkpoint::verify(&bytes, key.verifier());
        if let Ok(file) = proof::Proof::parse(&bytes) {
            assert_eq!(proof::Proof::parse(file.to_text().as_bytes()), Ok(file));
        }
        let _ = content::parse_pack(&bytes);
        let _ = tile::parse_bundle(&bytes, (next() % 257) as u16);
    }
}
