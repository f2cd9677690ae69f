//! Logs that the ledger wrote, and copies of them in memory to tamper with.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tabellion_audit::{Options, Report, Source, SourceError, verify};
use tabellion_evidence::audit::{Nodes, subtree_root};
use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::content;
use tabellion_evidence::entry::{Content, Entry, Kind, Manifest, Outcome, Part};
use tabellion_evidence::note::SigningKey;
use tabellion_evidence::tile::{self, WIDTH};
use tabellion_evidence::tree::{Tiles, leaf_hash, sha256};
use tabellion_ledger::{Append, Ledger};

/// A log as a map of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files(pub(crate) BTreeMap<String, Vec<u8>>);

impl Source for Files {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.0.get(name).cloned())
    }

    fn list(&self, directory: &str) -> Result<Option<Vec<String>>, SourceError> {
        let prefix = format!("{directory}/");
        let names = self.0.keys().filter_map(|name| name.strip_prefix(&prefix));
        let below: BTreeSet<String> = names
            .map(|name| name.split_once('/').map_or_else(|| name.to_owned(), |(directory, _)| format!("{directory}/")))
            .collect();
        Ok(Some(below.into_iter().collect()))
    }

    fn has_content(&self) -> bool {
        true
    }
}

impl Files {
    pub(crate) fn read_from(directory: &Path) -> Self {
        fn walk(root: &Path, at: &str, files: &mut BTreeMap<String, Vec<u8>>) {
            for entry in std::fs::read_dir(root.join(at)).unwrap() {
                let entry = entry.unwrap();
                let name = format!("{at}/{}", entry.file_name().to_str().unwrap());
                if entry.file_type().unwrap().is_dir() {
                    walk(root, &name, files);
                } else {
                    files.insert(name, std::fs::read(entry.path()).unwrap());
                }
            }
        }
        let mut files = BTreeMap::new();
        files.insert("log.vkey".to_owned(), std::fs::read(directory.join("log.vkey")).unwrap());
        walk(directory, "log", &mut files);
        for packs in ["content", "sealed"].into_iter().filter(|packs| directory.join(packs).is_dir()) {
            walk(directory, packs, &mut files);
        }
        Self(files)
    }

    pub(crate) fn verify(&self) -> Report {
        self.verify_with(&Options::default())
    }

    pub(crate) fn verify_with(&self, options: &Options) -> Report {
        verify(self, options, &|_| {}).unwrap()
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let key = std::str::from_utf8(&self.0["log.vkey"]).unwrap().lines().next().unwrap().parse().unwrap();
        checkpoint::verify(&self.0["log/checkpoint"], &key).unwrap().into_inner()
    }

    /// All entries that the checkpoint speaks of.
    pub(crate) fn entries(&self) -> Vec<Vec<u8>> {
        let size = self.checkpoint().size;
        let mut entries = Vec::new();
        for number in 0..size.div_ceil(WIDTH) {
            let width = (size - number * WIDTH).min(WIDTH) as u16;
            let bundle = &self.0[&format!("log/{}", tile::entries_path(number, width))];
            entries.extend(tile::parse_bundle(bundle, width).unwrap().into_iter().map(<[u8]>::to_vec));
        }
        entries
    }

    /// The same log with other entries: bundles and tiles as they would be, no
    /// older versions of them, and the checkpoint as it was.
    pub(crate) fn with_entries(&self, entries: &[Vec<u8>]) -> Self {
        let mut files = self.0.clone();
        files.retain(|name, _| !name.starts_with("log/tile/"));
        let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let above = leaves.chunks_exact(256).map(subtree_root).collect();
        let nodes = Nodes::new(leaves, above);
        for id in tile::tiles_of(entries.len() as u64) {
            files.insert(format!("log/{}", id.path()), nodes.tile(id.level, id.index, id.width).unwrap());
        }
        for (number, bundle) in (0..).zip(entries.chunks(256)) {
            let mut bytes = Vec::new();
            bundle.iter().for_each(|entry| tile::encode_entry(&mut bytes, entry));
            files.insert(format!("log/{}", tile::entries_path(number, bundle.len() as u16)), bytes);
        }
        Self(files)
    }

    /// The same, signed anew, as whoever has the log's key could do.
    pub(crate) fn signed(mut self, key: &SigningKey) -> Self {
        let mut bundles = Vec::new();
        for (name, bytes) in &self.0 {
            let Some((_, width)) = name.strip_prefix("log/").and_then(tile::parse_entries_path) else { continue };
            bundles.extend(tile::parse_bundle(bytes, width).unwrap().into_iter().map(leaf_hash));
        }
        let above = bundles.chunks_exact(256).map(subtree_root).collect();
        let nodes = Nodes::new(bundles, above);
        let head = Checkpoint::new(key.verifier().name(), nodes.size(), nodes.root(nodes.size()).unwrap());
        self.0.insert("log/checkpoint".to_owned(), checkpoint::sign(&head, key).into_bytes());
        self.0.insert("log.vkey".to_owned(), format!("{}\n", key.verifier()).into_bytes());
        self
    }

    /// Files of a kind: those whose names begin so.
    pub(crate) fn of_kind(&self, prefix: &str) -> Vec<String> {
        self.0.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }
}

pub(crate) fn part(role: &str, bytes: &[u8]) -> Part {
    Part { role: role.to_owned(), sha256: sha256(bytes), bytes: bytes.len() as u64, findings: BTreeMap::new() }
}

/// Parts as the ledger takes them.
pub(crate) fn stored(parts: Vec<Arc<[u8]>>) -> Vec<tabellion_ledger::Part> {
    parts.into_iter().map(|part| tabellion_ledger::Part::new(part.to_vec())).collect()
}

/// Adds a body of these messages to an entry, and gives its parts.
pub(crate) fn set_body(entry: &mut Entry, messages: &[String], in_manifest: bool) -> Vec<Arc<[u8]>> {
    let frame = [&b"["[..], &vec![&b"\0"[..]; messages.len()].join(&b","[..]), b"]"].concat();
    let pieces: Vec<&[u8]> = messages.iter().map(String::as_bytes).collect();
    let body = content::assemble(&frame, &pieces).unwrap();
    let mut parts: Vec<Part> = vec![part("frame", &frame)];
    parts.extend(pieces.iter().map(|piece| part("user", piece)));
    let mut stored: Vec<Arc<[u8]>> = vec![Arc::from(&frame[..])];
    stored.extend(pieces.iter().map(|piece| Arc::from(*piece)));
    let mut content = Content { sha256: Some(sha256(&body)), bytes: Some(body.len() as u64), ..Content::default() };
    if in_manifest {
        let manifest = Manifest { content: parts, ..Manifest::default() }.to_bytes();
        content.manifest = Some(sha256(&manifest));
        stored.push(Arc::from(&manifest[..]));
    } else {
        content.parts = parts;
    }
    entry.content = Some(content);
    stored
}

pub(crate) fn id(n: u64) -> String {
    format!("01JD{n:022}")
}

/// One conversation: `turns` requests, each with all that was said before, and
/// their responses, but for the last.
pub(crate) fn conversation(first_id: u64, turns: u64, text: usize) -> Vec<Append> {
    let time = "2026-11-22T10:00:00.000000Z";
    let mut said = Vec::new();
    let mut appends = Vec::new();
    for turn in 0..turns {
        let ids = first_id + 2 * turn;
        said.push(format!("\"asked {ids} {}\"", "a".repeat(text)));
        let mut request = Entry::new(Kind::Request, id(ids), time);
        let parts = set_body(&mut request, &said, turn % 3 == 2);
        appends.push(Append { entry: request.to_bytes().unwrap(), parts: stored(parts), ..Append::default() });
        if turn + 1 == turns {
            break;
        }
        said.push(format!("\"answered {ids} {}\"", "b".repeat(text)));
        let mut response = Entry::new(Kind::Response, id(ids + 1), time);
        response.exchange = Some(id(ids));
        response.outcome = Some(Outcome::Complete);
        let parts = set_body(&mut response, &said[said.len() - 1..], false);
        appends.push(Append { entry: response.to_bytes().unwrap(), parts: stored(parts), ..Append::default() });
    }
    appends
}

/// A directory with a log, written by the ledger in so many rounds.
pub(crate) fn write(rounds: Vec<Vec<Append>>) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for round in rounds {
        append(directory.path(), round);
    }
    directory
}

/// Appends to a log; the ledger is closed in the end, which publishes.
pub(crate) fn append(directory: &Path, appends: Vec<Append>) {
    let options = tabellion_ledger::Options {
        origin: Some("test.example/log".to_owned()),
        publish_every: Duration::from_millis(20),
        ..Default::default()
    };
    let ledger = Ledger::open(&directory.join("data"), &directory.join("keys"), options).unwrap();
    std::thread::scope(|scope| {
        for append in appends {
            let ledger = &ledger;
            let appended = scope.spawn(move || ledger.append_blocking(append).unwrap());
            appended.join().unwrap();
        }
    });
    ledger.close();
}

pub(crate) fn files(directory: &tempfile::TempDir) -> Files {
    Files::read_from(&directory.path().join("data"))
}

pub(crate) fn log_key(directory: &tempfile::TempDir) -> SigningKey {
    SigningKey::parse(std::fs::read_to_string(directory.path().join("keys/log.key")).unwrap().trim_end()).unwrap()
}

/// Three entries in two publications, at the least.
pub(crate) fn small() -> Files {
    let mut appends = conversation(0, 2, 4);
    let last = appends.pop().unwrap();
    files(&write(vec![appends, vec![last]]))
}

/// 304 entries in several publications, so that there are full tiles.
pub(crate) fn large() -> tempfile::TempDir {
    let middle = [100, 200, 300, 400].into_iter().flat_map(|first| conversation(first, 30, 10));
    write(vec![conversation(0, 5, 10), middle.collect(), conversation(1000, 30, 10)])
}

/// Asserts that a report says no, and names what is wrong.
#[track_caller]
pub(crate) fn refused(report: &Report, naming: &str) {
    assert!(!report.verified, "{naming}: verified");
    let texts: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert!(texts.iter().any(|text| text.contains(naming)), "{naming} is not named in {texts:#?}");
}
