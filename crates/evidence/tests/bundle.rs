//! Bundles of exchanges whose content had expired.

use std::collections::BTreeMap;

use tabellion_evidence::audit::{Nodes, subtree_root};
use tabellion_evidence::bundle::completeness::Completeness;
use tabellion_evidence::bundle::{self, Checked, Contents, Exchange, Files, Trust, Wrong, graph};
use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::content::assemble;
use tabellion_evidence::cose;
use tabellion_evidence::entry::{Content, Entry, Erase, Export, Kind, Manifest, Outcome, Part};
use tabellion_evidence::note::SigningKey;
use tabellion_evidence::proof::Proof;
use tabellion_evidence::tree::{self, Hash, leaf_hash, sha256};

const TIME: &str = "2026-11-22T10:00:00.000000Z";

fn id(n: usize) -> String {
    format!("01JD{n:022}")
}

/// A log, and the parts that its entries name.
#[derive(Default)]
struct Log {
    entries: Vec<Entry>,
    parts: BTreeMap<Hash, Vec<u8>>,
}

impl Log {
    fn push(&mut self, kind: Kind, change: impl FnOnce(&mut Entry)) {
        let mut entry = Entry::new(kind, id(self.entries.len()), TIME);
        change(&mut entry);
        self.entries.push(entry);
    }

    fn body(&mut self, messages: &[&str], in_manifest: bool) -> Content {
        let frame = [&b"["[..], &vec![&b"\0"[..]; messages.len()].join(&b","[..]), b"]"].concat();
        let pieces: Vec<&[u8]> = messages.iter().map(|message| message.as_bytes()).collect();
        let body = assemble(&frame, &pieces).unwrap();
        let mut content = Content { sha256: Some(sha256(&body)), bytes: Some(body.len() as u64), ..Content::default() };
        let mut parts = Vec::new();
        for (role, bytes) in [("frame", &*frame)].into_iter().chain(pieces.into_iter().map(|piece| ("user", piece))) {
            let (sha256, length) = (sha256(bytes), bytes.len() as u64);
            self.parts.insert(sha256, bytes.to_vec());
            parts.push(Part { role: role.to_owned(), sha256, bytes: length, findings: BTreeMap::new() });
        }
        if in_manifest {
            let manifest = Manifest { content: parts, ..Manifest::default() }.to_bytes();
            content.manifest = Some(sha256(&manifest));
            self.parts.insert(sha256(&manifest), manifest);
        } else {
            content.parts = parts;
        }
        content
    }

    fn exchange(&mut self, asked: &[&str], answered: &str, in_manifest: bool) {
        let (request, response) = (self.body(asked, in_manifest), self.body(&[answered], false));
        let exchange = id(self.entries.len());
        self.push(Kind::Request, |entry| entry.content = Some(request));
        self.push(Kind::Response, |entry| {
            entry.exchange = Some(exchange);
            entry.outcome = Some(Outcome::Complete);
            entry.content = Some(response);
        });
    }

    fn remove(&mut self, kind: Kind, entries: &[(u64, u64)]) {
        let selection = BTreeMap::from([("rule".to_owned(), "1".to_owned())]);
        self.push(kind, |entry| entry.erase = Some(Erase { entries: entries.to_vec(), selection, basis: None }));
    }

    /// A bundle of all of it, without the parts that only the entries before `gone` name.
    fn bundle(&self, gone: usize) -> Bundle {
        let key = SigningKey::from_seed("log.example/bundles", [7; 32]).unwrap();
        let mut files = Files::new();
        let entries: Vec<Vec<u8>> = self.entries.iter().map(|entry| entry.to_bytes().unwrap()).collect();
        let (note, nodes) = head(&entries, &key);
        let size = entries.len() as u64;
        let proof = |index: u64, note: &str, nodes: &Nodes| Proof {
            extra: Some(entries.get(index as usize).cloned().unwrap_or_default()),
            index,
            hashes: tree::inclusion_proof(index, nodes.size(), nodes).unwrap(),
            checkpoint: note.to_owned(),
        };
        let (mut exchanges, mut custody) = (Vec::new(), Vec::new());
        for (index, entry) in (0..).zip(&self.entries) {
            let bytes = &entries[index as usize];
            let proof = proof(index, &note, &nodes);
            let receipt = cose::sign_inclusion(&proof, bytes, &entry.id, &key).unwrap();
            files.insert(bundle::receipt_path(index), receipt);
            files.insert(bundle::entry_path(index), bytes.clone());
            files.insert(bundle::proof_path(index), proof.to_text().into_bytes());
            match entry.kind {
                Kind::Request => exchanges.push(Exchange {
                    exchange: entry.exchange.clone().unwrap(),
                    request: index,
                    response: Some(index + 1),
                }),
                Kind::Response => {}
                _ => custody.push(index),
            }
        }
        let named = |entries: &[Entry]| -> Vec<Hash> {
            let contents = entries.iter().filter_map(|entry| entry.content.as_ref());
            let parts = contents.flat_map(|content| match content.manifest {
                Some(manifest) => Manifest::parse(&self.parts[&manifest]).unwrap().content,
                None => content.parts.clone(),
            });
            parts.map(|part| part.sha256).collect()
        };
        let kept = named(&self.entries[gone..]);
        let gone: Vec<Hash> = named(&self.entries[..gone]).into_iter().filter(|part| !kept.contains(part)).collect();
        for (part, bytes) in self.parts.iter().filter(|(part, _)| !gone.contains(part)) {
            files.insert(bundle::part_path(part), bytes.clone());
        }
        let lines = bundle::custody_lines(custody.iter().map(|&index| (index, &*entries[index as usize])));
        files.insert(bundle::CUSTODY.to_owned(), lines.into_bytes());
        let report = Completeness {
            v: bundle::VERSION,
            size,
            unnumbered: size,
            sessions: Vec::new(),
            gaps: Vec::new(),
            wrong: Vec::new(),
            exchanges: exchanges.len() as u64,
        };
        files.insert(bundle::COMPLETENESS.to_owned(), report.to_json());
        let selection = BTreeMap::from([("case".to_owned(), "C-1".to_owned())]);
        let contents =
            Contents { v: bundle::VERSION, selection, exchanges, custody, older: Vec::new(), anchors: Vec::new() };
        let all = (0..).zip(self.entries.iter().cloned()).collect();
        files.insert(bundle::GRAPH.to_owned(), graph::write(&contents, &all, &files));
        files.insert(bundle::CONTENTS.to_owned(), serde_json::to_vec(&contents).unwrap());
        files.insert(bundle::CHECKPOINT.to_owned(), note.into_bytes());
        files.insert(bundle::VKEY.to_owned(), format!("{}\n", key.verifier()).into_bytes());
        files.insert(bundle::POLICY.to_owned(), format!("log {}\nquorum none\n", key.verifier()).into_bytes());
        Bundle { files, entries, key }
    }
}

fn head(entries: &[Vec<u8>], key: &SigningKey) -> (String, Nodes) {
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let above = leaves.chunks_exact(256).map(subtree_root).collect();
    let nodes = Nodes::new(leaves, above);
    let head = Checkpoint::new(key.verifier().name(), nodes.size(), nodes.root(nodes.size()).unwrap());
    (checkpoint::sign(&head, key), nodes)
}

/// A payload, to be put on the record.
struct Bundle {
    files: Files,
    entries: Vec<Vec<u8>>,
    key: SigningKey,
}

impl Bundle {
    /// What whoever receives it finds.
    fn checked(&self) -> Checked {
        let mut files = self.files.clone();
        files.insert("bagit.txt".to_owned(), bundle::BAGIT.into());
        let manifest = bundle::manifest(files.iter().filter(|(path, _)| bundle::is_payload(path)));
        let mut record = Entry::new(Kind::Export, id(9999), TIME);
        record.export = Some(Export {
            manifest: sha256(&manifest),
            page: None,
            selection: BTreeMap::from([("case".to_owned(), "C-1".to_owned())]),
            exchanges: 1,
        });
        files.insert(bundle::MANIFEST.to_owned(), manifest.into_bytes());
        let record = record.to_bytes().unwrap();
        let (size, later) = (self.entries.len() as u64, [&*self.entries, std::slice::from_ref(&record)].concat());
        let (note, nodes) = head(&later, &self.key);
        let hashes = tree::inclusion_proof(size, size + 1, &nodes).unwrap();
        let proof = Proof { extra: Some(record.clone()), index: size, hashes, checkpoint: note };
        let consistency = tree::consistency_proof(size, size + 1, &nodes).unwrap();
        let consistency: String = consistency.iter().map(|hash| hash.to_base64() + "\n").collect();
        files.insert(bundle::EXPORT_ENTRY.to_owned(), record);
        files.insert(bundle::EXPORT_PROOF.to_owned(), proof.to_text().into_bytes());
        files.insert(bundle::EXPORT_CONSISTENCY.to_owned(), consistency.into_bytes());
        let tags = bundle::manifest(
            files.iter().filter(|(path, _)| !bundle::is_payload(path) && *path != bundle::TAG_MANIFEST),
        );
        files.insert(bundle::TAG_MANIFEST.to_owned(), tags.into_bytes());
        let trust = Trust { keys: vec![self.key.verifier().clone()], ..Trust::default() };
        bundle::verify(&files, &trust)
    }
}

/// Two exchanges, the first of which has its parts in a manifest, and what then was removed.
fn log(removed: Kind, entries: &[(u64, u64)]) -> Log {
    let mut log = Log::default();
    log.exchange(&["\"a\"", "\"b\""], "\"yes\"", true);
    log.exchange(&["\"b\""], "\"no\"", false);
    log.remove(removed, entries);
    log
}

fn said<'a>(checked: &'a Checked, code: &str) -> Vec<&'a str> {
    checked.proved.iter().filter(|said| said.code == code).map(|said| said.text.as_str()).collect()
}

fn missing(checked: &Checked) -> Vec<&str> {
    assert!(checked.problems.iter().all(|problem| problem.wrong == Wrong::Missing), "{:?}", checked.problems);
    checked.problems.iter().map(|problem| problem.file.as_str()).collect()
}

#[test]
fn content_that_is_all_there_is_nothing_to_be_said_of() {
    let checked = log(Kind::Expire, &[(0, 1)]).bundle(0).checked();
    assert_eq!(checked.problems, []);
    assert_eq!(said(&checked, "content"), ["7 parts of content make the bodies that the entries commit to"]);
    assert!(checked.expired.is_empty() && said(&checked, "expired").is_empty());
}

#[test]
fn content_that_expired_may_be_absent_and_is_said() {
    let checked = log(Kind::Expire, &[(0, 1)]).bundle(2).checked();
    assert_eq!(checked.problems, []);
    assert_eq!(checked.expired, BTreeMap::from([(0, 4), (1, 4)]));
    let text = format!(
        "content of exchange {} is not here: entry 4 of the log says that it had expired; its hashes are in the entries",
        id(0)
    );
    assert_eq!(said(&checked, "expired"), [text]);
    assert_eq!(said(&checked, "content").len(), 1);
}

#[test]
fn what_is_absent_and_did_not_expire_is_refused() {
    let a = bundle::part_path(&sha256("\"a\""));
    // Only the answer expired; nothing did; what opens originals was destroyed, which is another thing.
    for (kind, entries) in [(Kind::Expire, (1, 1)), (Kind::Expire, (2, 3)), (Kind::Erase, (0, 1))] {
        let checked = log(kind, &[entries]).bundle(2).checked();
        assert!(missing(&checked).contains(&&*a), "{:?}", checked.problems);
        assert!(said(&checked, "content").is_empty() && said(&checked, "expired").is_empty());
    }
    // What comes before an entry says nothing of it.
    let mut early = Log::default();
    early.remove(Kind::Expire, &[(0, 2)]);
    early.exchange(&["\"a\""], "\"yes\"", false);
    let mut bundle = early.bundle(0);
    assert!(bundle.files.remove(&a).is_some());
    assert_eq!(missing(&bundle.checked()), [a.as_str()]);
    // Of an entry that did not expire, a part that one that did names too.
    let mut bundle = log(Kind::Expire, &[(0, 1)]).bundle(2);
    let b = bundle::part_path(&sha256("\"b\""));
    assert!(bundle.files.remove(&b).is_some());
    assert_eq!(missing(&bundle.checked()), [b.as_str()]);
}

#[test]
fn a_manifest_stays_and_what_is_there_is_checked() {
    let whole = log(Kind::Expire, &[(0, 1)]);
    let manifest = bundle::part_path(&whole.entries[0].content.as_ref().unwrap().manifest.unwrap());
    let mut bundle = whole.bundle(2);
    assert!(bundle.files.remove(&manifest).is_some());
    assert_eq!(missing(&bundle.checked()), [manifest.as_str()]);
    for path in whole.bundle(2).files.keys().filter(|path| path.starts_with("data/content/")) {
        let mut bundle = whole.bundle(2);
        bundle.files.get_mut(path).unwrap()[0] ^= 1;
        assert!(bundle.checked().problems.iter().any(|problem| problem.file == *path), "{path}");
    }
    // What nothing names is refused, as ever.
    let mut bundle = whole.bundle(2);
    bundle.files.insert(bundle::part_path(&sha256("x")), b"x".to_vec());
    assert!(bundle.checked().problems.iter().any(|problem| problem.wrong == Wrong::Unexpected));
}

#[test]
fn an_entry_that_is_not_proved_excuses_nothing() {
    let mut bundle = log(Kind::Expire, &[(0, 1)]).bundle(2);
    let other = log(Kind::Expire, &[(0, 3)]).bundle(2);
    let path = bundle::proof_path(4);
    bundle.files.insert(path.clone(), other.files[&path].clone());
    let checked = bundle.checked();
    assert!(!checked.problems.is_empty() && said(&checked, "expired").is_empty());
    // Nor does one that the bundle does not list.
    let mut bundle = log(Kind::Expire, &[(0, 1)]).bundle(2);
    let mut contents: Contents = serde_json::from_slice(&bundle.files[bundle::CONTENTS]).unwrap();
    contents.custody.clear();
    bundle.files.insert(bundle::CONTENTS.to_owned(), serde_json::to_vec(&contents).unwrap());
    bundle.files.insert(bundle::CUSTODY.to_owned(), Vec::new());
    let checked = bundle.checked();
    assert!(checked.problems.iter().any(|problem| problem.wrong == Wrong::Missing) && checked.expired.is_empty());
}
