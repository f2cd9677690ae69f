//! Logs as the ledger writes them pass, with whatever options; what the
//! options ask for and the log does not have is refused.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::*;
use tabellion_audit::{DirectorySource, Options, Problem, Source, SourceError, StoreSource, verify, verify_proof};
use tabellion_evidence::entry::{Entry, Kind, Outcome};
use tabellion_evidence::note::{SigningKey, VerifierKey, cosign, parse_keys};
use tabellion_evidence::proof::Proof;
use tabellion_ledger::{Append, Ledger, Reader};
use tabellion_store::{DiskStore, RealDisk};

#[test]
fn a_log_as_it_was_written_passes_from_any_source() {
    let directory = large();
    let data = directory.path().join("data");
    let read = files(&directory);
    assert!(read.of_kind("log/tile/0/000").len() == 1 && read.0.contains_key("log/tile/entries/000"));
    let ticks = AtomicU64::new(0);
    let report = verify(&read, &Options::default(), &|_| {
        ticks.fetch_add(1, Ordering::Relaxed);
    })
    .unwrap();
    assert!(report.verified, "{report:#?}");
    let size = 9 + 4 * 59 + 59;
    assert_eq!((report.size, report.checked.entries), (Some(size), size));
    assert_eq!(report.root, Some(read.checkpoint().root));
    assert_eq!(report.checked.exchanges, 155);
    assert_eq!(report.open_exchanges.len(), 6);
    assert_eq!(report.checked.bodies, size);
    assert!(report.checked.tiles >= 3 && report.checked.bundles >= 2 && ticks.into_inner() > 5);
    let packs: u64 = read.of_kind("content/").iter().map(|name| read.0[name].len() as u64).sum();
    assert_eq!(report.checked.content_bytes, packs);
    assert!(report.notes.iter().any(|note| note.contains("key was taken from the log itself")));
    assert!(report.notes.iter().any(|note| note.contains("no witnesses")));

    let store = StoreSource(Arc::new(DiskStore::new(RealDisk::new(&data))));
    assert_eq!(verify(&store, &Options::default(), &|_| {}).unwrap(), report);
    assert_eq!(verify(&DirectorySource(data), &Options::default(), &|_| {}).unwrap(), report);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["verified"], true);
    assert_eq!(json["checked"]["entries"], size);
}

#[test]
fn an_empty_log_has_no_checkpoint_and_is_refused() {
    let directory = write(vec![Vec::new()]);
    let report = verify(&DirectorySource(directory.path().join("data")), &Options::default(), &|_| {}).unwrap();
    refused(&report, "log/checkpoint");
    refused(&verify(&DirectorySource("/nonexistent".into()), &Options::default(), &|_| {}).unwrap(), "log/checkpoint");
}

#[test]
fn another_logs_key_and_a_log_made_again_are_refused() {
    let log = small();
    let key: tabellion_evidence::note::VerifierKey =
        parse_keys(std::str::from_utf8(&log.0["log.vkey"]).unwrap()).unwrap().swap_remove(0);
    let options = Options { vkey: Some(key), ..Options::default() };
    assert!(log.verify_with(&options).verified);
    // Whoever has the whole directory, but not the key, makes all of it again.
    let forger = SigningKey::from_seed("test.example/log", [7; 32]).unwrap();
    let entries = log.entries();
    let again = log.with_entries(&entries).signed(&forger);
    assert!(again.verify().verified, "it holds together: {:#?}", again.verify());
    let report = again.verify_with(&options);
    refused(&report, "log/checkpoint");
    refused(&report, "log.vkey");
}

#[test]
fn an_older_checkpoint_must_be_extended() {
    let directory = write(vec![conversation(0, 3, 3)]);
    let older = files(&directory);
    append(directory.path(), conversation(100, 140, 3));
    let newer = files(&directory);
    let note = |log: &Files| Some(log.0["log/checkpoint"].clone());
    for range in [None, Some(2..4), Some(250..280)] {
        let with = |older: Option<Vec<u8>>| Options {
            older: older.into_iter().collect(),
            range: range.clone(),
            ..Options::default()
        };
        assert!(newer.verify_with(&with(note(&older))).verified);
        assert!(newer.verify_with(&with(note(&newer))).verified);
        // Put back, as from an older backup.
        let report = older.verify_with(&with(note(&newer)));
        refused(&report, "rolled back");
        assert!(report.problems.iter().any(|problem| problem.code() == "rolled-back"));
        // Another history under the same key.
        let mut entries = newer.entries();
        entries.remove(2);
        let fork = newer.with_entries(&entries).signed(&log_key(&directory));
        refused(&fork.verify_with(&with(note(&older))), "forked");
        let stranger = SigningKey::from_seed("test.example/log", [9; 32]).unwrap();
        let strange = older.clone().with_entries(&older.entries()).signed(&stranger);
        refused(&newer.verify_with(&with(note(&strange))), "older checkpoint");
        refused(&newer.verify_with(&with(Some(b"nonsense".to_vec()))), "older checkpoint");
    }
}

#[test]
fn witnesses_count_and_bad_cosignatures_do_not() {
    let mut log = small();
    let witness = |n| SigningKey::cosigner_from_seed(&format!("witness{n}.example"), [n; 32]).unwrap();
    let options = |quorum, witnesses: &[u8]| Options {
        witnesses: witnesses.iter().map(|&n| witness(n).verifier().clone()).collect(),
        quorum,
        ..Options::default()
    };
    refused(&log.verify_with(&options(1, &[])), "cosigned by 0");
    refused(&log.verify_with(&options(1, &[1, 2])), "cosigned by 0");
    let text = String::from_utf8(log.0["log/checkpoint"].clone()).unwrap();
    let (body, _) = text.split_once("\n\n").unwrap();
    let line = cosign(&format!("{body}\n"), 1_700_000_000, &witness(1));
    log.0.insert("log/checkpoint".to_owned(), format!("{text}{line}").into_bytes());
    let report = log.verify_with(&options(1, &[1, 2]));
    assert!(report.verified);
    assert_eq!((report.cosignatures.len(), report.cosignatures[0].time), (1, 1_700_000_000));
    refused(&log.verify_with(&options(2, &[1, 2])), "cosigned by 1");
    let line = cosign("something else\n", 1_700_000_000, &witness(2));
    log.0.insert("log/checkpoint".to_owned(), format!("{text}{line}").into_bytes());
    refused(&log.verify_with(&options(0, &[1, 2])), "cosignatures");
    // A log's key is no witness's.
    let key = SigningKey::from_seed("log.example", [1; 32]).unwrap().verifier().clone();
    refused(&log.verify_with(&Options { witnesses: vec![key], ..Options::default() }), "wrong kind");
}

#[test]
fn ranges_see_what_is_in_them_and_not_what_is_elsewhere() {
    let directory = large();
    let log = files(&directory);
    for range in [0..1, 0..304, 5..6, 200..300, 255..257, 256..304, 300..1000, 400..500, 3..3] {
        let report = log.verify_with(&Options { range: Some(range.clone()), ..Options::default() });
        assert!(report.verified, "{range:?}: {report:#?}");
        let expected = range.end.min(304).saturating_sub(range.start.min(304));
        assert_eq!((report.checked.entries, report.checked.bodies), (expected, expected));
    }
    // One damaged entry, and one part, which entry 20 is the first to name.
    let range = |log: &Files, range| log.verify_with(&Options { range: Some(range), ..Options::default() });
    let mut entry = log.clone();
    let at = entry.0["log/tile/entries/000"].len() / 2;
    entry.0.get_mut("log/tile/entries/000").unwrap()[at] ^= 0x20;
    refused(&range(&entry, 0..250), "log/tile/entries/000");
    assert!(range(&entry, 256..300).verified);
    let mut tile = log.clone();
    tile.0.get_mut("log/tile/0/000").unwrap()[40] ^= 1;
    refused(&range(&tile, 0..1), "log/tile/0/000");
    assert!(range(&tile, 256..300).verified);
    let pack = log.of_kind("content/")[0].clone();
    let mut content = log.clone();
    content.0.get_mut(&pack).unwrap()[50] ^= 1;
    refused(&range(&content, 0..9), &pack);
    assert!(range(&content, 300..304).verified);
    let mut gone = log.clone();
    gone.0.remove("log/tile/1/000.p/1");
    refused(&range(&gone, 0..9), "log/tile/1/000.p/1");
    let mut edge = log.clone();
    edge.0.get_mut("log/tile/1/000.p/1").unwrap()[0] ^= 1;
    refused(&range(&edge, 0..9), "log/checkpoint");
}

/// What the web has of a log: no listing, no content.
struct Web(Files);

impl Source for Web {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SourceError> {
        assert!(!name.starts_with("content/"));
        self.0.read(name)
    }
    fn list(&self, _: &str) -> Result<Option<Vec<String>>, SourceError> {
        Ok(None)
    }
    fn has_content(&self) -> bool {
        false
    }
}

#[test]
fn without_a_listing_the_tree_is_checked_and_the_rest_noted() {
    let directory = large();
    let mut log = files(&directory);
    let report = verify(&Web(log.clone()), &Options::default(), &|_| {}).unwrap();
    assert!(report.verified, "{report:#?}");
    assert_eq!((report.checked.entries, report.checked.bodies, report.checked.packs), (304, 0, 0));
    assert!(report.notes.iter().any(|note| note.contains("content")));
    assert!(report.notes.iter().any(|note| note.contains("listed")));
    assert!(verify(&Web(log.clone()), &Options { range: Some(3..9), ..Options::default() }, &|_| {}).unwrap().verified);
    let key = log_key(&directory).verifier().clone();
    log.0.remove("log.vkey");
    let options = Options { vkey: Some(key), ..Options::default() };
    assert!(verify(&Web(log.clone()), &options, &|_| {}).unwrap().verified, "a server need not have the key");
    refused(&verify(&Web(log.clone()), &Options::default(), &|_| {}).unwrap(), "log.vkey");
    log.0.remove("log/tile/entries/000");
    refused(&verify(&Web(log), &options, &|_| {}).unwrap(), "log/tile/entries/000");
}

#[test]
fn a_size_of_billions_costs_nothing() {
    let key = SigningKey::from_seed("test.example/log", [1; 32]).unwrap();
    let mut log = small();
    let head = tabellion_evidence::checkpoint::Checkpoint::new("test.example/log", u64::MAX, log.checkpoint().root);
    let note = tabellion_evidence::checkpoint::sign(&head, &key);
    log.0.insert("log/checkpoint".to_owned(), note.into_bytes());
    log.0.insert("log.vkey".to_owned(), format!("{}\n", key.verifier()).into_bytes());
    refused(&log.verify(), "more like it are missing");
    refused(&verify(&Web(log), &Options::default(), &|_| {}).unwrap(), "more like it are missing");
}

#[test]
fn what_a_writer_left_beyond_the_checkpoint_is_noted() {
    let directory = write(vec![conversation(0, 3, 3)]);
    let older = files(&directory);
    append(directory.path(), conversation(100, 2, 3));
    let middle = files(&directory);
    append(directory.path(), conversation(1000, 150, 3));
    let newer = files(&directory);
    // A crash came before the checkpoint was replaced; at each step of it.
    for (from, to) in [(&older, &middle), (&older, &newer), (&middle, &newer)] {
        let mut log = from.clone();
        let mut added: Vec<String> = to.0.keys().filter(|name| !from.0.contains_key(*name)).cloned().collect();
        // As the writer does: what is full from the left, each tile before its
        // bundle; what is partial from the leaves up, then its bundle; packs.
        added.sort_by_key(|name| {
            let partial = name.contains(".p/");
            let bundle = name.contains("/entries/");
            let number = name.split(".p/").next().and_then(|name| name.rsplit('/').next()).map(str::to_owned);
            (name.starts_with("content/"), partial, if partial { None } else { number }, bundle, name.clone())
        });
        for name in &added {
            log.0.insert(name.clone(), to.0[name].clone());
            let report = log.verify();
            assert!(report.verified, "{name}: {report:#?}");
        }
        let report = log.verify();
        assert!(report.verified, "{report:#?}");
        assert!(report.notes.iter().any(|note| note.contains("beyond the checkpoint")), "{report:#?}");
        assert_eq!(report.size, Some(from.checkpoint().size));
        // What does not follow on the log is refused, signed or not.
        for name in added.iter().filter(|name| to.0[*name].len() > 40) {
            let mut damaged = log.clone();
            damaged.0.get_mut(name).unwrap()[5] ^= 1;
            refused(&damaged.verify(), name);
        }
        let mut unfinished = log.clone();
        unfinished.0.insert(format!("{}.tmp", added[0]), b"torn".to_vec());
        let report = unfinished.verify();
        assert!(report.verified && report.notes.iter().any(|note| note.contains(".tmp")));
    }
}

#[test]
fn a_log_passes_while_it_is_being_written() {
    let directory = tempfile::tempdir().unwrap();
    let options = tabellion_ledger::Options { publish_every: std::time::Duration::ZERO, ..Default::default() };
    let data = directory.path().join("data");
    let ledger = Ledger::open(&data, &directory.path().join("keys"), options).unwrap();
    ledger.append_blocking(conversation(999_999, 1, 1).remove(0)).unwrap();
    let mut published = ledger.published();
    while *published.borrow_and_update() == 0 {
        std::thread::yield_now();
    }
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for append in conversation(0, 180, 3) {
                ledger.append_blocking(append).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        let source = DirectorySource(data.clone());
        let mut older = None;
        loop {
            let last = done.load(Ordering::Relaxed);
            let report =
                verify(&source, &Options { older: older.take().into_iter().collect(), ..Options::default() }, &|_| {})
                    .unwrap();
            assert!(report.verified, "{report:#?}");
            older = source.read("log/checkpoint").unwrap();
            // What was read after the verification may be ahead of the next one only if the log went back.
            if last {
                break;
            }
        }
    });
}

#[test]
fn says_which_exchanges_are_wrong() {
    let time = "2026-11-22T10:00:00.000000Z";
    let request = |n: u64| Entry::new(Kind::Request, id(n), time);
    let response = |n: u64, exchange: u64| {
        let mut entry = Entry::new(Kind::Response, id(n), time);
        entry.exchange = Some(id(exchange));
        entry.outcome = Some(Outcome::Complete);
        entry
    };
    let check = |entries: Vec<Entry>| {
        let appends =
            entries.iter().map(|entry| Append { entry: entry.to_bytes().unwrap(), ..Append::default() }).collect();
        let directory = write(vec![appends]);
        verify(&DirectorySource(directory.path().join("data")), &Options::default(), &|_| {}).unwrap()
    };
    let fine = check(vec![request(1), request(2), response(3, 1)]);
    assert!(fine.verified);
    assert_eq!((fine.checked.exchanges, &fine.open_exchanges[..]), (2, &[1][..]));
    assert_eq!(check(vec![response(2, 1)]).problems, [Problem::ResponseAlone { entry: 0 }]);
    assert_eq!(check(vec![response(2, 1), request(1)]).problems, [Problem::ResponseEarly { entry: 0, request: 1 }]);
    assert_eq!(
        check(vec![request(1), response(2, 1), response(3, 1)]).problems,
        [Problem::ResponseTwice { entry: 2, first: 1 }]
    );
    assert_eq!(check(vec![request(1), request(1)]).problems, [Problem::IdTwice { entry: 1, first: 0 }]);
}

#[test]
fn says_which_content_is_wrong() {
    let time = "2026-11-22T10:00:00.000000Z";
    let messages: Vec<String> = ["\"one\"", "\"two\""].map(str::to_owned).to_vec();
    type Change<'a> = &'a dyn Fn(&mut Entry, &mut Vec<Arc<[u8]>>);
    let check = |change: Change<'_>, in_manifest: bool| {
        let mut entry = Entry::new(Kind::Request, id(1), time);
        let mut parts = set_body(&mut entry, &messages, in_manifest);
        change(&mut entry, &mut parts);
        let directory =
            write(vec![vec![Append { entry: entry.to_bytes().unwrap(), parts: stored(parts), ..Append::default() }]]);
        let report = verify(&DirectorySource(directory.path().join("data")), &Options::default(), &|_| {}).unwrap();
        report.problems.iter().map(Problem::code).collect::<Vec<_>>()
    };
    assert!(check(&|_, _| {}, false).is_empty());
    assert!(check(&|_, _| {}, true).is_empty());
    let content = |entry: &mut Entry| entry.content.take().unwrap();
    let body = |change: &dyn Fn(&mut tabellion_evidence::entry::Content)| {
        check(
            &|entry, _| {
                let mut content = content(entry);
                change(&mut content);
                entry.content = Some(content);
            },
            false,
        )
    };
    assert_eq!(body(&|content| content.bytes = Some(1)), ["body"]);
    assert_eq!(body(&|content| content.sha256 = Some(tabellion_evidence::tree::sha256("x"))), ["body"]);
    assert_eq!(body(&|content| content.parts.swap(1, 2)), ["body"]);
    assert_eq!(body(&|content| content.parts[1].bytes += 1), ["part-length"]);
    assert_eq!(body(&|content| drop(content.parts.pop())), ["frame", "part-unnamed"]);
    assert_eq!(check(&|_, parts| drop(parts.pop()), false), ["part-missing"]);
    assert_eq!(
        check(&|_, parts| drop(parts.pop()), true),
        ["part-missing", "part-unnamed", "part-unnamed", "part-unnamed"]
    );
    assert_eq!(check(&|_, parts| parts.push(Arc::from(&b"stray"[..])), false), ["part-unnamed"]);
    assert_eq!(
        check(
            &|entry, parts| {
                entry.content.as_mut().unwrap().manifest = Some(tabellion_evidence::tree::sha256("{}"));
                *parts = vec![Arc::from(&b"{}"[..])];
            },
            true
        ),
        ["manifest"]
    );
    // An entry that is none.
    let directory = write(vec![vec![Append { entry: b"not json".to_vec(), ..Append::default() }]]);
    let report = verify(&DirectorySource(directory.path().join("data")), &Options::default(), &|_| {}).unwrap();
    refused(&report, "entry 0");
    assert!(!format!("{report:?}").contains("not json"));
}

#[test]
fn proofs_are_checked_with_the_key_and_refused_without() {
    let directory = write(vec![conversation(0, 4, 3)]);
    let reader = Reader::new(Arc::new(DiskStore::new(RealDisk::new(directory.path().join("data")))));
    let key = reader.vkey().unwrap();
    let proof: Proof = reader.prove(3).unwrap();
    let bytes = proof.to_text().into_bytes();
    let with = |vkey: Option<&VerifierKey>, quorum| Options { vkey: vkey.cloned(), quorum, ..Options::default() };
    let report = verify_proof(&bytes, &with(Some(&key), 0));
    assert!(report.verified, "{report:#?}");
    assert_eq!((report.index, report.size, report.id), (Some(3), Some(7), Some(id(3))));
    let keyless = verify_proof(&bytes, &with(None, 0));
    assert!(!keyless.verified && keyless.problems == [Problem::KeyAbsent]);
    let other = SigningKey::from_seed("test.example/log", [3; 32]).unwrap();
    assert!(!verify_proof(&bytes, &with(Some(other.verifier()), 0)).verified);
    assert!(!verify_proof(&bytes, &with(Some(&key), 1)).verified);
    // The log's second signature, in the last line, counts for those who hold its second key.
    let both = Options { vkeys_beside: vec![reader.vkeys().unwrap().remove(1)], ..with(Some(&key), 0) };
    assert!(verify_proof(&bytes, &both).verified);
    let last_line = bytes[..bytes.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
    let name_and_id = "\u{2014} test.example/log 12345678".len();
    for bit in (0..last_line * 8).chain((last_line * 8..bytes.len() * 8).step_by(13)) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let verified = verify_proof(&flipped, &with(Some(&key), 0)).verified;
        assert!(!verified || bit / 8 >= last_line, "bit {bit}");
        // Under another name or id it is a stranger's, and the proof one from before there was the second key.
        let verified = verify_proof(&flipped, &both).verified;
        assert!(!verified || (last_line..last_line + name_and_id).contains(&(bit / 8)), "bit {bit}");
    }
}
