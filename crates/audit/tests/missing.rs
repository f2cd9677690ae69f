//! Whoever has the log's key leaves entries out, repeats or moves them, and signs the result: a valid tree of a record
//! that is not whole. `verify` names each.

mod common;

use std::time::Duration;

use common::*;
use tabellion_audit::{Options, Report};
use tabellion_evidence::entry::{Entry, Former, Gap, Kind, Outcome};
use tabellion_evidence::note::SigningKey;

const KEY_SEED: [u8; 32] = [9; 32];

fn key() -> SigningKey {
    SigningKey::from_seed("hostile.example/log", KEY_SEED).unwrap()
}

/// Writes entries as a gateway does, a second apart.
#[derive(Default)]
struct Writer {
    entries: Vec<Vec<u8>>,
    session: String,
    number: u64,
}

impl Writer {
    fn push(&mut self, mut entry: Entry) {
        let nth = self.entries.len() as u64;
        entry.id = id(nth);
        if entry.kind == Kind::Request {
            entry.exchange = Some(id(nth));
        }
        entry.time = format!("2026-11-22T10:{:02}:{:02}.000000Z", nth / 60, nth % 60);
        entry.producer = Some(self.session.clone());
        entry.seq = Some(self.number);
        self.number += 1;
        self.entries.push(entry.to_bytes().unwrap());
    }

    fn entry(kind: Kind) -> Entry {
        Entry::new(kind, "", "")
    }

    fn start(&mut self, session: &str) {
        let mut start = Self::entry(Kind::Start);
        start.key = Some(key().verifier().to_string());
        if self.number > 0 {
            start.former = Some(Former { producer: self.session.clone(), seq: self.number - 1 });
        }
        (self.session, self.number) = (session.to_owned(), 0);
        self.push(start);
    }

    fn recover(&mut self, former: &str, seq: u64) {
        let mut recover = Self::entry(Kind::Recover);
        recover.former = Some(Former { producer: former.to_owned(), seq });
        self.push(recover);
    }

    fn exchange(&mut self) {
        let request = id(self.entries.len() as u64);
        self.push(Entry::new(Kind::Request, request.clone(), ""));
        let mut response = Self::entry(Kind::Response);
        response.exchange = Some(request);
        response.outcome = Some(Outcome::Complete);
        self.push(response);
    }
}

/// A session that is stopped, one that crashes, one that says so and loses something, and goes on.
fn honest() -> Vec<Vec<u8>> {
    let mut log = Writer::default();
    log.start("SESSION-A");
    log.exchange();
    log.push(Writer::entry(Kind::Stop));
    log.start("SESSION-B");
    log.exchange();
    log.push(Writer::entry(Kind::Heartbeat));
    let last = log.number - 1;
    log.start("SESSION-C");
    log.recover("SESSION-B", last);
    let mut gap = Writer::entry(Kind::Gap);
    gap.gap = Some(Gap { reason: "disk_full".to_owned(), count: 3, since: None, until: None });
    log.push(gap);
    log.exchange();
    log.entries
}

/// A log of these entries, rightly signed.
fn log(entries: &[Vec<u8>]) -> Files {
    Files(std::collections::BTreeMap::new()).with_entries(entries).signed(&key())
}

fn judge(entries: &[Vec<u8>]) -> Report {
    let options = Options { vkey: Some(key().verifier().clone()), ..Options::default() };
    let report = log(entries).verify_with(&options);
    // Slice by slice, the same is found.
    let sliced = log(entries).verify_with(&Options { keeps_state: true, ..options });
    assert_eq!(codes(&report), codes(&sliced));
    assert_eq!(report.completeness, sliced.completeness);
    report
}

fn codes(report: &Report) -> Vec<&'static str> {
    let mut codes: Vec<_> = report.problems.iter().map(|problem| problem.code()).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// Codes that say that the record is not whole, and not that a byte was changed.
const ABOUT_THE_RECORD: [&str; 14] = [
    "id-twice",
    "number-missing",
    "number-order",
    "number-twice",
    "recover-missing",
    "recover-wrong",
    "response-alone",
    "response-early",
    "response-twice",
    "session-ended",
    "session-longer",
    "session-missing",
    "session-start",
    "session-unlinked",
];

#[track_caller]
fn named(entries: &[Vec<u8>], what: &str) {
    let report = judge(entries);
    assert!(!report.verified, "{what}: verified");
    let codes = codes(&report);
    assert!(codes.iter().all(|code| ABOUT_THE_RECORD.contains(code)), "{what}: the tree is right, and yet {codes:?}");
    assert!(report.problems.iter().all(|problem| problem.entry().is_some()), "{what}: {:#?}", report.problems);
}

#[test]
fn a_whole_record_passes_and_says_what_it_declares() {
    let report = judge(&honest());
    assert!(report.verified, "{:#?}", report.problems);
    let found = &report.completeness;
    assert_eq!((found.sessions, found.numbered, found.unnumbered, found.recovered), (3, 13, 0, 1));
    assert_eq!((found.lost, found.gaps[0].entry, &*found.gaps[0].reason), (3, 10, "disk_full"));
    assert_eq!(found.open, [8], "the last session goes on");
    assert_eq!(found.key_from, Some(0));
}

#[test]
fn an_entry_left_out_anywhere_but_at_the_end_is_named() {
    let all = honest();
    for left_out in 0..all.len() - 1 {
        let mut entries = all.clone();
        entries.remove(left_out);
        named(&entries, &format!("without entry {left_out}"));
    }
    for first in 0..all.len() - 1 {
        for last in first + 1..all.len() - 1 {
            let entries = [&all[..first], &all[last + 1..]].concat();
            named(&entries, &format!("without entries {first} to {last}"));
        }
    }
    let mut entries = all;
    entries.remove(1);
    let report = judge(&entries);
    let texts: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "entry 1 is a response, and no request of its exchange is in the log",
            "numbers 1 to 1 of the session that begins at entry 0 are missing before entry 1",
        ]
    );
}

#[test]
fn an_entry_repeated_or_moved_is_named() {
    let all = honest();
    for from in 0..all.len() {
        for to in 0..=all.len() {
            let mut entries = all.clone();
            entries.insert(to, all[from].clone());
            named(&entries, &format!("entry {from} again at {to}"));
            let mut entries = all.clone();
            let moved = entries.remove(from);
            let to = to.min(entries.len());
            entries.insert(to, moved);
            if entries != all {
                named(&entries, &format!("entry {from} moved to {to}"));
            }
        }
    }
}

#[test]
fn a_whole_session_left_out_is_named_by_the_next() {
    let all = honest();
    let without = |session: &str| -> Vec<Vec<u8>> {
        let of = |entry: &&Vec<u8>| Entry::parse(entry).unwrap().producer.as_deref() != Some(session);
        all.iter().filter(of).cloned().collect()
    };
    for session in ["SESSION-A", "SESSION-B"] {
        assert!(codes(&judge(&without(session))).contains(&"session-missing"), "{session}");
    }
    // Of the newest session only those know who hold something of it.
    let older = log(&all).0["log/checkpoint"].clone();
    let rest = log(&without("SESSION-C"));
    assert!(rest.verify().verified);
    let report = rest.verify_with(&Options { older: vec![older], ..Options::default() });
    refused(&report, "the log was rolled back");
}

#[test]
fn an_entry_without_a_number_slipped_in_is_named_and_an_old_log_is_not_numbered() {
    let mut entries = honest();
    entries
        .insert(3, Entry::new(Kind::Other("event".into()), "slipped-in", "2026-11-22T10:00:02Z").to_bytes().unwrap());
    let report = judge(&entries);
    assert_eq!(codes(&report), ["unnumbered"]);
    assert_eq!(report.problems[0].entry(), Some(3));

    let old: Vec<Vec<u8>> = (0..5)
        .map(|n| Entry::new(Kind::Start, format!("old-{n}"), "2026-11-22T10:00:02.000000Z").to_bytes().unwrap())
        .collect();
    let report = judge(&old);
    assert!(report.verified, "{:#?}", report.problems);
    assert_eq!(report.completeness.unnumbered, 5);
    assert!(report.notes.iter().any(|note| note.contains("5 entries have no number")), "{:#?}", report.notes);
    // What a version that numbers adds to an old log is judged from there on.
    let report = judge(&[old, honest()].concat());
    assert!(report.verified, "{:#?}", report.problems);
}

#[test]
fn silence_beyond_what_is_allowed_is_named() {
    let mut entries = honest();
    entries.truncate(2);
    let mut last = Entry::parse(&entries[1]).unwrap();
    last.time = "2026-11-22T10:30:00.000000Z".to_owned();
    entries[1] = last.to_bytes().unwrap();
    let with = |seconds| {
        log(&entries).verify_with(&Options { quiet_max: Some(Duration::from_secs(seconds)), ..Options::default() })
    };
    assert!(with(1800).verified);
    assert_eq!(with(1800).completeness.quiet_seconds_max, 1800);
    let report = with(1799);
    refused(&report, "nothing was recorded for 1800 seconds before entry 1");
}

#[test]
fn a_start_that_names_another_key_is_named() {
    let mut entries = honest();
    let mut start = Entry::parse(&entries[0]).unwrap();
    start.key = Some(SigningKey::from_seed("hostile.example/log", [1; 32]).unwrap().verifier().to_string());
    entries[0] = start.to_bytes().unwrap();
    assert_eq!(codes(&judge(&entries)), ["key-announced"]);
}

#[test]
fn a_range_is_judged_as_far_as_it_goes() {
    let all = honest();
    let range = |entries: &[Vec<u8>]| {
        let options = Options { vkey: Some(key().verifier().clone()), range: Some(2..8), ..Options::default() };
        log(entries).verify_with(&options)
    };
    assert!(range(&all).verified, "{:#?}", range(&all).problems);
    let mut entries = all.clone();
    entries.remove(5);
    assert!(codes(&range(&entries)).contains(&"number-missing"));
    let mut entries = all;
    entries.remove(1);
    assert!(range(&entries).verified, "{:#?}", range(&entries).problems);
}
