//! The vectors, which code of others wrote (`vectors/README.md`), and the
//! golden trees of yet others where they are at hand.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tabellion_evidence::audit::{Facts, Name};
use tabellion_evidence::note::{Note, VerifierKey};
use tabellion_evidence::ots::{Attestation, BlockHeader, OtsProof};
use tabellion_evidence::sessions::{Rules, Said, Sessions};
use tabellion_evidence::tile::TileId;
use tabellion_evidence::timestamp::{Expected, Policy, Roots, Token};
use tabellion_evidence::tree::Frontier;
use tabellion_evidence::{Hash, checkpoint, content, cose, custody, entry, proof, salt, scan, tile, tree};

/// A case, with panics that name it: a vector that we cannot read is a defect
/// of the vector.
struct Case {
    name: String,
    members: Value,
}

impl Case {
    fn has(&self, member: &str) -> bool {
        !self.members[member].is_null()
    }

    fn read<T: DeserializeOwned>(&self, member: &str) -> T {
        serde_json::from_value(self.members[member].clone())
            .unwrap_or_else(|error| panic!("{}: {member}: {error}", self.name))
    }

    fn text(&self, member: &str) -> String {
        self.read(member)
    }

    fn bytes(&self, member: &str) -> Vec<u8> {
        hex::decode(self.text(member)).unwrap_or_else(|error| panic!("{}: {member}: {error}", self.name))
    }

    fn lists(&self, member: &str) -> Vec<Vec<u8>> {
        let texts: Vec<String> = self.read(member);
        texts.iter().map(|text| hex::decode(text).expect("hexadecimal")).collect()
    }

    /// Text, or bytes where JSON cannot hold them.
    fn text_or_bytes(&self, member: &str) -> Vec<u8> {
        if self.has(member) { self.text(member).into_bytes() } else { self.bytes(&format!("{member}_bytes")) }
    }

    /// A key that the case takes for granted.
    fn key(&self) -> VerifierKey {
        self.text("vkey").parse().unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Holds what `check` says of every case of a kind against what the case
/// expects. `None` is a refusal; `Some(false)` accepts something else than the
/// case says.
fn run(kind: &str, check: impl Fn(&Case) -> Option<bool>) {
    let folder = root().join("vectors").join(kind);
    let mut count = 0;
    for file in std::fs::read_dir(&folder).expect("vectors are in the repository") {
        let path = file.expect("a folder that can be read").path();
        let text = std::fs::read_to_string(&path).expect("a case");
        let case =
            Case { name: path.display().to_string(), members: serde_json::from_str(&text).expect("a case is json") };
        let expected = match case.text("expect").as_str() {
            "accept" => Some(true),
            "refuse" => None,
            other => panic!("{}: expects {other}", case.name),
        };
        assert_eq!(check(&case), expected, "{}: {}", case.name, case.text("why"));
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

#[test]
fn keys() {
    run("key", |case| {
        let key = VerifierKey::parse(&case.text("vkey")).ok()?;
        let same = key.name() == case.text("name") && format!("{:08x}", key.id()) == case.text("id");
        Some(same && key.to_string() == case.text("vkey"))
    });
}

#[test]
fn notes() {
    run("note", |case| {
        let keys: Vec<String> = case.read("keys");
        let keys: Vec<VerifierKey> = keys.iter().map(|key| key.parse().expect("a key")).collect();
        let opened = Note::parse(&case.text_or_bytes("note")).ok()?.verify(&keys).ok()?;
        Some(opened.text == case.text("text"))
    });
}

#[test]
fn checkpoints() {
    run("checkpoint", |case| {
        let head = checkpoint::verify(&case.text_or_bytes("note"), &case.key()).ok()?;
        Some(head.size == case.read::<u64>("size") && head.root == case.read("root"))
    });
}

#[test]
fn cosignatures() {
    run("cosignature", |case| {
        let keys: Vec<String> = case.read("witnesses");
        let keys: Vec<VerifierKey> = keys.iter().map(|key| key.parse().expect("a key")).collect();
        let found = checkpoint::cosignatures(case.text("note").as_bytes(), &keys).ok()?;
        let found = found.into_iter().map(|one| (one.witness.name().to_owned(), one.time));
        Some(found.collect::<std::collections::BTreeMap<_, _>>() == case.read("times"))
    });
}

#[test]
fn ml_dsa_signatures() {
    run("ml-dsa", |case| {
        let keys: Vec<String> = case.read("keys");
        let keys: Vec<VerifierKey> = keys.iter().map(|key| key.parse().expect("a key")).collect();
        let found = checkpoint::cosignatures(case.text("note").as_bytes(), &keys).ok()?;
        let found = found.into_iter().map(|one| (one.witness.name().to_owned(), one.time));
        Some(found.collect::<std::collections::BTreeMap<_, _>>() == case.read("times"))
    });
}

#[test]
fn paths() {
    run("path", |case| {
        let path = case.text("path");
        if let Some((index, width)) = tile::parse_entries_path(&path) {
            let same = index == case.read::<u64>("index") && width == case.read::<u16>("width");
            return Some(same && !case.has("level") && tile::entries_path(index, width) == path);
        }
        let id = TileId::parse(&path)?;
        let expected = TileId { level: case.read("level"), index: case.read("index"), width: case.read("width") };
        Some(id == expected && id.path() == path)
    });
}

#[test]
fn roots() {
    run("root", |case| {
        let mut frontier = Frontier::new();
        for leaf in case.lists("leaves") {
            frontier.push(tree::leaf_hash(&leaf));
        }
        (frontier.root() == case.read("root")).then_some(true)
    });
}

#[test]
fn inclusion() {
    run("inclusion", |case| {
        let (index, size) = (case.read("index"), case.read("size"));
        let (leaf, root): (Hash, Hash) = (case.read("leaf"), case.read("root"));
        let proof: Vec<Hash> = case.read("proof");
        tree::verify_inclusion(index, size, &leaf, &proof, &root).ok()?;
        Some(true)
    });
}

#[test]
fn consistency() {
    run("consistency", |case| {
        let (old_root, new_root): (Hash, Hash) = (case.read("old_root"), case.read("new_root"));
        let proof: Vec<Hash> = case.read("proof");
        tree::verify_consistency(case.read("old"), &old_root, case.read("new"), &new_root, &proof).ok()?;
        Some(true)
    });
}

#[test]
fn bundles() {
    run("bundle", |case| {
        let bytes = case.bytes("bytes");
        let entries = tile::parse_bundle(&bytes, case.read("width")).ok()?;
        Some(entries == case.lists("entries"))
    });
}

#[test]
fn packs() {
    run("pack", |case| {
        let bytes = case.bytes("bytes");
        let parts = content::parse_pack(&bytes).ok()?;
        let parts: Vec<&[u8]> = parts.into_iter().map(|(_, part, _)| part).collect();
        Some(parts == case.lists("parts"))
    });
}

#[test]
fn bodies() {
    run("body", |case| {
        let parts = case.lists("parts");
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let body = content::assemble(&case.bytes("frame"), &parts)?;
        (body == case.bytes("body")).then_some(true)
    });
}

#[test]
fn proofs() {
    run("proof", |case| {
        let file = proof::Proof::parse(case.text("proof").as_bytes()).ok()?;
        let head = file.verify(&case.bytes("entry"), &case.key()).ok()?;
        let same = file.index == case.read::<u64>("index") && head.size == case.read::<u64>("size");
        Some(same && file.to_text() == case.text("proof"))
    });
}

#[test]
fn entries() {
    run("entry", |case| {
        let bytes = case.text_or_bytes("entry");
        let fast = scan::facts(&bytes).map(|(facts, _)| facts);
        let read = entry::Entry::parse(&bytes).ok();
        assert!(fast.is_none() || fast == read.as_ref().map(Facts::of), "{}", case.name);
        let read = read?;
        // What we write reads the same, whatever stood in between.
        let again = read.to_bytes().expect("what was read can be written");
        Some(entry::Entry::parse(&again).as_ref() == Ok(&read))
    });
}

#[test]
fn records() {
    run("record", |case| {
        let rules = Rules { key: Some(Name::of(&case.text("vkey"))), ..Rules::default() };
        let mut sessions = Sessions::new(rules);
        let mut whole = true;
        let entries: Vec<String> = case.read("entries");
        for (index, entry) in (0..).zip(&entries) {
            let entry = entry::Entry::parse(entry.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", case.name));
            sessions.take(index, &Said::of(&entry), &mut |_| whole = false);
        }
        sessions.finish(&mut |_| whole = false);
        whole.then_some(true)
    });
}

#[test]
fn acts_of_custody() {
    run("custody", |case| {
        let mut state = custody::State::new(&case.text("origin"));
        let mut says = Vec::new();
        let entries: Vec<String> = case.read("entries");
        for (index, entry) in (0..).zip(&entries) {
            let parsed = entry::Entry::parse(entry.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", case.name));
            let said = custody::Said::of(&parsed);
            if let Some((facts, _)) = scan::facts(entry.as_bytes()) {
                assert_eq!(facts.custody, said, "{}: both readers", case.name);
            }
            if let Some(said) = said {
                state.take(index, &said, &mut |wrong| says.push(wrong.to_string()));
            }
            // It can be written down and taken up again at any place.
            state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        }
        assert_eq!(says, case.read::<Vec<String>>("says"), "{}", case.name);
        says.is_empty().then_some(true)
    });
}

#[test]
fn commitments() {
    run("commitment", |case| {
        let key = salt::Node::new(case.bytes("key").try_into().expect("32 bytes"));
        let path = salt::Path::of(&case.text("entry"))?;
        let salt = key.descend(path.symbols()).salt(case.read("n"));
        let same = salt.as_slice() == case.bytes("salt");
        (same && entry::commitment(&salt, &case.bytes("bytes")) == case.read("commitment")).then_some(true)
    });
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that was skipped says so")]
fn golden_trees() {
    let path = root().join("../shared/data/ledger/rfc6962-golden.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: {} is not here", path.display());
        return;
    };
    let golden: Value = serde_json::from_str(&text).expect("json");
    let hash = |value: &Value| Hash::from_base64(value.as_str().expect("text")).expect("base64");
    let hashes = |value: &Value| value.as_array().expect("a list").iter().map(hash).collect::<Vec<_>>();
    let leaf = |n: u64| tree::leaf_hash(format!("entry-{n}").as_bytes());
    let trees = golden["trees"].as_array().expect("a list");
    let root_of = |size: u64| {
        let mut frontier = Frontier::new();
        (0..size).for_each(|n| frontier.push(leaf(n)));
        frontier.root()
    };
    assert!(!trees.is_empty());
    for tree in trees {
        let size = tree["size"].as_u64().expect("a number");
        let root = hash(&tree["root"]);
        assert_eq!(root_of(size), root, "size {size}");

        let mut rows: std::collections::HashMap<(u8, u64), Vec<u8>> = std::collections::HashMap::new();
        let mut frontier = Frontier::new();
        for n in 0..size {
            frontier.push_with(leaf(n), |level, index, hash| {
                if level % 8 == 0 {
                    rows.entry((level / 8, index / 256)).or_default().extend_from_slice(&hash.0);
                }
            });
        }
        let source = Rows(rows);
        for case in tree["inclusion"].as_array().expect("a list") {
            let (index, proof) = (case["index"].as_u64().expect("a number"), hashes(&case["proof"]));
            assert_eq!(tree::inclusion_proof(index, size, &source), Ok(proof.clone()));
            assert_eq!(tree::verify_inclusion(index, size, &leaf(index), &proof, &root), Ok(()));
        }
        for case in tree["consistency"].as_array().expect("a list") {
            let (old, proof) = (case["old"].as_u64().expect("a number"), hashes(&case["proof"]));
            assert_eq!(tree::consistency_proof(old, size, &source), Ok(proof.clone()));
            assert_eq!(tree::verify_consistency(old, &root_of(old), size, &root, &proof), Ok(()));
        }
        // Theirs lists the partial tiles of the sizes in between as well.
        let listed: Vec<String> = tree["tiles"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|path| path.as_str().expect("text").replacen("tile/8/", "tile/", 1))
            .collect();
        for path in &listed {
            assert!(TileId::parse(path).is_some(), "{path}");
        }
        for id in tile::tiles_of(size) {
            assert!(listed.contains(&id.path()), "size {size}: {}", id.path());
        }
    }
}

struct Rows(std::collections::HashMap<(u8, u64), Vec<u8>>);

impl tree::Tiles for Rows {
    type Error = ();

    fn tile(&self, level: u8, index: u64, _width: u16) -> Result<Vec<u8>, ()> {
        self.0.get(&(level, index)).cloned().ok_or(())
    }
}

/// Also for the right reason: a token that is refused because it cannot be
/// read says nothing about the check that the case is for.
#[test]
fn timestamps() {
    run("timestamp", |case| {
        let roots = Roots::parse(case.text("roots").as_bytes()).expect("a root");
        let expected = Expected {
            nonce: Some(case.text("nonce").parse().expect("a number")),
            policy: case.has("policy").then(|| Policy::parse(&case.text("policy")).expect("a policy")),
        };
        let token = Token::parse(&case.bytes("token"));
        let checked = token.and_then(|token| token.verify(&case.bytes("message"), &roots, &expected));
        match checked {
            Ok(timestamp) => {
                let written = case.text("time");
                let whole = timestamp.time.to_string().replace(['-', ':', 'T'], "");
                Some(whole.trim_end_matches('Z').starts_with(written.trim_end_matches('Z')))
            }
            Err(error) => {
                let reason = if case.has("reason") { case.text("reason") } else { "no reason".into() };
                assert!(error.to_string().contains(&reason), "{}: {error}", case.name);
                None
            }
        }
    });
}

#[test]
fn open_timestamps() {
    run("ots", |case| {
        let proof = OtsProof::parse(&case.bytes("proof")).ok()?;
        assert_eq!(proof.to_bytes(), case.bytes("proof"), "{}", case.name);
        let header = BlockHeader::from_bytes(&case.bytes("header")).expect("80 bytes");
        let attested = proof.attestations(&case.bytes("file")).ok()?;
        let of_bitcoin = attested.iter().find(|one| matches!(one.attestation, Attestation::Bitcoin { .. }))?;
        let block = header.attest(&of_bitcoin.message, case.read("work")).ok()?;
        Some(block.time.unix().as_secs() == case.read::<u64>("time"))
    });
}

#[test]
fn cose_receipts() {
    run("cose", |case| {
        let (bytes, entry, key) = (case.bytes("receipt"), case.text("entry").into_bytes(), case.key());
        let included = match cose::is_statement(&bytes)? {
            true => {
                let statement = cose::verify_statement(&bytes, &key).ok()?;
                assert_eq!(statement.entry, entry, "{}", case.name);
                statement.included
            }
            false => cose::verify_inclusion(&bytes, &entry, &key).ok()?.into_inner(),
        };
        Some(included.size == case.read::<u64>("size") && included.index == case.read::<u64>("index"))
    });
}
