//! Content whose time was over: it may be absent where the log says so, and nowhere else.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use tabellion_audit::{Options, Problem, Report, State, verify_keeping};
use tabellion_evidence::content::{encode_part, parse_pack};
use tabellion_evidence::entry::{Entry, Erase, Kind, Manifest};
use tabellion_evidence::tree::{Hash, sha256};
use tabellion_ledger::Append;

fn removal(kind: Kind, id: u64, entries: &[(u64, u64)]) -> Append {
    let mut entry = Entry::new(kind, common::id(id), "2026-11-22T10:00:00.000000Z");
    entry.erase = Some(Erase { entries: entries.to_vec(), selection: Default::default(), basis: None });
    Append { entry: entry.to_bytes().unwrap(), ..Append::default() }
}

fn expire(id: u64, entries: &[(u64, u64)]) -> Append {
    removal(Kind::Expire, id, entries)
}

/// Entries 0 to 4, a conversation whose last request has its parts in a manifest; 5 to 7, one that stays.
fn kept() -> Vec<Append> {
    [conversation(0, 3, 4), conversation(100, 2, 4)].concat()
}

/// The same, and then these.
fn log(more: Vec<Append>) -> Files {
    files(&write(vec![[kept(), more].concat()]))
}

impl Files {
    fn parts(&self) -> BTreeMap<Hash, Vec<u8>> {
        let packs = self.of_kind("content/");
        let parts = packs.iter().flat_map(|pack| parse_pack(&self.0[pack]).unwrap());
        parts.map(|(name, body, _)| (name, body.to_vec())).collect()
    }

    /// The parts that each entry names, manifests not among them.
    fn named(&self) -> Vec<Vec<Hash>> {
        let stored = self.parts();
        let named = |entry: &Vec<u8>| {
            let Some(content) = Entry::parse(entry).unwrap().content else { return Vec::new() };
            let parts = match content.manifest {
                Some(manifest) => Manifest::parse(&stored[&manifest]).unwrap().content,
                None => content.parts,
            };
            parts.iter().map(|part| part.sha256).collect()
        };
        self.entries().iter().map(named).collect()
    }

    /// The parts that these entries name and no others.
    fn only_of(&self, entries: &[(u64, u64)]) -> BTreeSet<Hash> {
        let expired = |index| entries.iter().any(|(first, last)| (*first..=*last).contains(&index));
        let (gone, kept): (Vec<_>, Vec<_>) = (0..).zip(self.named()).partition(|(index, _)| expired(*index));
        let kept: BTreeSet<Hash> = kept.into_iter().flat_map(|(_, parts)| parts).collect();
        gone.into_iter().flat_map(|(_, parts)| parts).filter(|part| !kept.contains(part)).collect()
    }

    /// The log without these parts, and without packs that have no others.
    fn without(&self, parts: &BTreeSet<Hash>) -> Self {
        let mut files = self.clone();
        for pack in self.of_kind("content/") {
            let mut bytes = Vec::new();
            for (part, body, _) in parse_pack(&self.0[&pack]).unwrap() {
                if !parts.contains(&part) {
                    encode_part(&mut bytes, body);
                }
            }
            match bytes.is_empty() {
                true => drop(files.0.remove(&pack)),
                false => drop(files.0.insert(pack, bytes)),
            }
        }
        files
    }

    /// The log without what only these entries name.
    fn pruned(&self, entries: &[(u64, u64)]) -> Self {
        self.without(&self.only_of(entries))
    }
}

/// Whole, slice by slice, and a range of all.
fn options() -> [Options; 3] {
    [
        Options::default(),
        Options { slice: Some(2), ..Options::default() },
        Options { range: Some(0..100), ..Options::default() },
    ]
}

#[track_caller]
fn passes(files: &Files) -> Report {
    let [report, ..] = options().map(|options| {
        let report = files.verify_with(&options);
        assert!(report.verified, "{:#?}", report.problems);
        report
    });
    report
}

#[track_caller]
fn fails(files: &Files, naming: &str) -> Report {
    let [report, ..] = options().map(|options| {
        let report = files.verify_with(&options);
        refused(&report, naming);
        report
    });
    report
}

fn text<'a>(report: &'a Report, code: &str) -> Option<&'a str> {
    report.proved.iter().find(|statement| statement.code == code).map(|statement| &*statement.text)
}

#[test]
fn what_expired_may_be_absent_and_is_said() {
    // Each entry in a batch of its own, so that whole packs go.
    let appends = [kept(), vec![expire(200, &[(0, 2)]), expire(201, &[(3, 4)])]].concat();
    let whole = files(&write(appends.into_iter().map(|append| vec![append]).collect()));
    let report = passes(&whole);
    assert_eq!((report.checked.expired, report.checked.removed, text(&report, "expired")), (5, 0, None));
    let pruned = whole.pruned(&[(0, 4)]);
    assert!(pruned.of_kind("content/").len() < whole.of_kind("content/").len());
    let report = passes(&pruned);
    assert_eq!((report.checked.expired, report.checked.removed, report.checked.bodies), (5, 5, 3));
    assert_eq!(report.expiries, [8, 9]);
    assert_eq!(
        text(&report, "expired"),
        Some("content of 5 entries was removed, as entries 8, 9 say (retention); its hashes are still in the tree")
    );
}

#[test]
fn whatever_is_absent_and_did_not_expire_is_named() {
    // Of one of its entries the log does not say so, and of all of them nothing.
    let pruned = log(vec![expire(200, &[(0, 2), (4, 4)])]).pruned(&[(0, 4)]);
    let report = fails(&pruned, "entry 3 names part");
    assert!(report.problems.iter().all(|problem| problem.entry() == Some(3)), "{:#?}", report.problems);
    assert!(text(&report, "expired").is_none() && text(&report, "content").is_none());
    fails(&log(vec![]).pruned(&[(0, 4)]), "which no pack has");
    // To erase what opens originals is another thing.
    fails(&log(vec![removal(Kind::Erase, 200, &[(0, 4)])]).pruned(&[(0, 4)]), "which no pack has");
    // An entry says nothing of what comes after it, nor of itself.
    let before = [vec![expire(200, &[(0, 5)])], kept()].concat();
    fails(&files(&write(vec![before])).pruned(&[(1, 5)]), "entry 1 names part");
    let within = [conversation(0, 3, 4), vec![expire(200, &[(0, 8)])], conversation(100, 2, 4)].concat();
    let report = fails(&files(&write(vec![within])).pruned(&[(0, 4), (6, 8)]), "entry 6 names part");
    assert!(report.problems.iter().all(|problem| problem.entry() > Some(5)));
}

#[test]
fn what_another_entry_names_stays() {
    let whole = log(vec![expire(200, &[(0, 4)])]);
    // The frame of an answer, which all answers have.
    let named = whole.named();
    let shared: Vec<Hash> = named[1].iter().copied().filter(|part| named[6].contains(part)).collect();
    assert!(!shared.is_empty());
    let mut gone = whole.only_of(&[(0, 4)]);
    gone.extend(shared);
    fails(&whole.without(&gone), "entry 6 names part");
    // Half of the exchanges expire: what the others say again stays.
    let half = log(vec![expire(200, &[(0, 1)])]);
    passes(&half.pruned(&[(0, 1)]));
    fails(&half.pruned(&[(0, 4)]), "entry 2 names part");
}

#[test]
fn a_manifest_stays() {
    let whole = log(vec![expire(200, &[(0, 4)])]);
    let manifest = Entry::parse(&whole.entries()[4]).unwrap().content.unwrap().manifest.unwrap();
    let mut gone = whole.only_of(&[(0, 4)]);
    assert!(gone.insert(manifest));
    let report = fails(&whole.without(&gone), "entry 4 names part");
    assert_eq!(report.problems, [Problem::PartMissing { entry: 4, part: manifest }]);
}

/// The log after what `again` names was stored with that entry, having been removed before.
fn restored(files: &Files, gone: &[(u64, u64)], again: u64) -> Files {
    let mut changed = files.pruned(gone);
    let mut pack = changed.0.get(&format!("content/{again:03}")).cloned().unwrap_or_default();
    let (stored, left) = (files.parts(), changed.parts());
    for part in files.named()[again as usize].iter().filter(|part| !left.contains_key(part)) {
        encode_part(&mut pack, &stored[part]);
    }
    changed.0.insert(format!("content/{again:03}"), pack);
    changed
}

#[test]
fn what_was_stored_again_later_is_not_what_expired() {
    // The same conversation again, after it had expired.
    let again = conversation(300, 1, 4).into_iter().map(|mut append| {
        let mut entry = Entry::parse(&append.entry).unwrap();
        append.parts = stored(set_body(&mut entry, &["\"asked 0 aaaa\"".to_owned()], false));
        append.entry = entry.to_bytes().unwrap();
        append
    });
    let more = [vec![expire(200, &[(0, 4)])], again.collect()].concat();
    let whole = log(more.clone());
    assert_eq!(whole.named()[9], whole.named()[0]);
    let changed = restored(&whole, &[(0, 4), (9, 9)], 9);
    let report = passes(&changed);
    assert_eq!((report.checked.removed, report.checked.bodies), (5, 4));
    // But not for an entry of which the log does not say so.
    let whole = log([vec![expire(200, &[(1, 4)])], more[1..].to_vec()].concat());
    let report = fails(&restored(&whole, &[(0, 4), (9, 9)], 9), "content/009");
    assert!(report.problems.iter().all(|p| p.code() == "part-elsewhere" && p.entry() == Some(0)));
    // Nor may it be in the pack of a batch that does not name it.
    let mut moved = changed.clone();
    let bytes = moved.0.remove("content/009").unwrap();
    moved.0.insert("content/008".to_owned(), bytes.clone());
    moved.0.insert("content/009".to_owned(), encoded(b"other"));
    fails(&moved, "in another batch");
    moved.0.insert("content/009".to_owned(), bytes);
    refused(&moved.verify(), "has already");
}

fn encoded(part: &[u8]) -> Vec<u8> {
    let mut pack = Vec::new();
    encode_part(&mut pack, part);
    pack
}

#[test]
fn what_is_left_of_an_expired_entry_is_still_checked() {
    let pruned = log(vec![expire(200, &[(0, 4)])]).pruned(&[(0, 4)]);
    for pack in pruned.of_kind("content/") {
        for at in (0..pruned.0[&pack].len()).step_by(11) {
            let mut damaged = pruned.clone();
            damaged.0.get_mut(&pack).unwrap()[at] ^= 1;
            for options in options().iter().take(if at % 2 == 0 { 3 } else { 1 }) {
                assert!(!damaged.verify_with(options).verified, "byte {at} of {pack}");
            }
        }
    }
    // A length that is another than the entry says, of a part that stayed: the frame of entry 1.
    let mut entry = Entry::parse(&pruned.entries()[1]).unwrap();
    entry.content.as_mut().unwrap().parts[0].bytes += 1;
    let mut entries = pruned.entries();
    entries[1] = entry.to_bytes().unwrap();
    let report = pruned.with_entries(&entries).verify();
    assert!(report.problems.iter().any(|problem| problem.code() == "part-length"), "{:#?}", report.problems);
}

#[test]
fn of_a_range_it_is_not_known_what_expired_after_it() {
    let range = |files: &Files, range| files.verify_with(&Options { range: Some(range), ..Options::default() });
    let pruned = log(vec![expire(200, &[(0, 4)]), expire(201, &[(6, 6)])]).pruned(&[(0, 4)]);
    let report = range(&pruned, 0..5);
    assert!(report.verified, "{:#?}", report.problems);
    assert!(report.unchecked.iter().any(|statement| statement.code == "expired"), "{:#?}", report.unchecked);
    let report = range(&pruned, 0..9);
    assert!(report.verified && text(&report, "expired").is_some());
    assert!(report.unchecked.iter().all(|statement| statement.code != "expired"));
    // A manifest stays, and to the end of the log there is nothing that could excuse more.
    let gone = pruned.without(&BTreeSet::from([Entry::parse(&pruned.entries()[4])
        .unwrap()
        .content
        .unwrap()
        .manifest
        .unwrap()]));
    refused(&range(&gone, 0..5), "entry 4 names part");
    refused(&range(&log(vec![]).pruned(&[(0, 4)]), 0..8), "entry 0 names part");
}

fn keeping(files: &Files, state: Option<State>) -> (Report, Vec<State>) {
    let mut states = Vec::new();
    let options = Options { slice: Some(256), keeps_state: true, state, ..Options::default() };
    let report = verify_keeping(files, &options, &|_| {}, &mut |state| states.push(state.clone())).unwrap();
    (report, states)
}

#[test]
fn a_state_goes_on_after_what_expired() {
    let directory = write(vec![[kept(), vec![expire(200, &[(0, 4)])]].concat()]);
    let first = files(&directory).pruned(&[(0, 4)]);
    let later = [vec![expire(201, &[(5, 7)])], conversation(300, 2, 4), conversation(400, 2, 4)].concat();
    append(directory.path(), [later, vec![expire(202, &[(10, 12)])]].concat());
    let second = files(&directory);
    let pruned = second.pruned(&[(0, 7), (10, 12)]);

    let (report, mut states) = keeping(&first, None);
    assert!(report.verified, "{:#?}", report.problems);
    assert_eq!(states.len(), 1);
    let state: State = serde_json::from_slice(&serde_json::to_vec(&states.pop().unwrap()).unwrap()).unwrap();
    assert_eq!(state.size(), 9);
    let (report, states) = keeping(&pruned, Some(state.clone()));
    assert!(report.verified, "{:#?}", report.problems);
    assert_eq!(states.last().map(State::size), Some(17));
    // What was there when the state was kept and was removed since is not read again.
    assert_eq!((report.checked.expired, report.checked.removed), (11, 8));
    assert_eq!(report.expiries, [8, 9, 16]);
    let anew = keeping(&pruned, None).0.checked;
    assert_eq!((anew.expired, anew.removed), (11, 11));

    refused(&keeping(&second.pruned(&[(0, 7), (10, 15)]), Some(state.clone())).0, "entry 13 names part");
    // The answer that expired has the frame of all answers, from before the state. It has no body any more by which its
    // damage would show.
    let frame = second.parts()[&second.named()[11][0]].clone();
    let mut damaged = pruned.clone();
    let pack = damaged.0.get_mut("content/000").unwrap();
    let at = pack.windows(frame.len()).position(|bytes| bytes == frame).unwrap();
    pack[at] ^= 1;
    let (report, states) = keeping(&damaged, Some(state));
    refused(&report, "entry 11 names part");
    refused(&report, "which is damaged in content/000");
    assert!(states.is_empty());
}

#[test]
fn nothing_is_kept_as_verified_before_what_is_lacking_was_said_to_have_expired() {
    let directory = large();
    let unsaid = files(&directory).pruned(&[(0, 120)]);
    let (report, states) = keeping(&unsaid, None);
    refused(&report, "entry 0 names part");
    assert!(states.is_empty());
    append(directory.path(), vec![expire(2000, &[(0, 120)])]);
    let said = files(&directory);
    let (report, states) = keeping(&said.pruned(&[(0, 120)]), None);
    assert!(report.verified, "{:#?}", report.problems);
    assert_eq!(report, said.pruned(&[(0, 120)]).verify_like(&report));
    assert_eq!(states.iter().map(State::size).collect::<Vec<_>>(), [said.checkpoint().size]);
    let whole = keeping(&said, None).1;
    assert_eq!(whole.len(), 2, "what is there is kept as verified slice by slice");
}

impl Files {
    /// The report of a run that is not in slices, with the words of this one for how it was read.
    fn verify_like(&self, report: &Report) -> Report {
        let (notes, unchecked) = (report.notes.clone(), report.unchecked.clone());
        Report { notes, unchecked, ..self.verify() }
    }
}

#[test]
fn sealed_pieces_of_what_expired_may_be_absent() {
    let mut appends = conversation(0, 2, 4);
    for (n, append) in appends.iter_mut().enumerate() {
        let piece = tabellion_ledger::Part::new(format!("sealed {n}").into_bytes());
        let mut entry = Entry::parse(&append.entry).unwrap();
        entry.original = Some(tabellion_evidence::entry::Original {
            bytes: 3,
            commitment: sha256(b"c"),
            parts: Vec::new(),
            sealed: vec![piece.hash()],
        });
        append.entry = entry.to_bytes().unwrap();
        append.sealed = vec![piece];
    }
    let sealed = |more: Vec<Append>| {
        let mut files = files(&write(vec![[appends.clone(), more].concat()]));
        files.0.retain(|name, _| !name.starts_with("sealed/"));
        files
    };
    for more in [
        vec![expire(200, &[(0, 2)])],
        vec![removal(Kind::Erase, 200, &[(0, 0)]), expire(201, &[(1, 2)])],
        vec![removal(Kind::Erase, 200, &[(0, 2)])],
    ] {
        for options in &options()[..2] {
            let report = sealed(more.clone()).verify_with(options);
            assert!(report.verified, "{:#?}", report.problems);
        }
    }
    let report = sealed(vec![expire(200, &[(0, 0), (2, 2)])]).verify();
    assert_eq!(report.problems, [Problem::SealedMissing { entry: 1, part: sha256(b"sealed 1") }]);
}
