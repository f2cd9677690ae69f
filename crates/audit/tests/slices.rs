//! A log that is verified slice by slice is held against the same, and a state goes on where it ended, for nothing more
//! than what it says it is trusted for.

mod common;

use common::*;
use tabellion_audit::{Options, Problem, Report, State, verify_keeping};
use tabellion_evidence::entry::{Entry, Kind, Outcome};
use tabellion_evidence::note::SigningKey;

fn sliced() -> Options {
    Options { slice: Some(256), keeps_state: true, ..Options::default() }
}

/// The report, and the states that were handed over.
fn keeping(files: &Files, options: &Options) -> (Report, Vec<State>) {
    let mut states = Vec::new();
    let mut keep = |state: &State| states.push(state.clone());
    let report = verify_keeping(files, options, &|_| {}, &mut keep).unwrap();
    (report, states)
}

fn without_slices(report: &Report) -> Report {
    // Partial tiles of the upper levels are read by each slice, and what is said of how is different.
    Report { notes: Vec::new(), unchecked: Vec::new(), proved: Vec::new(), ..report.clone() }
}

#[test]
fn a_log_passes_in_slices_and_the_same_is_counted() {
    let directory = large();
    let files = files(&directory);
    let whole = files.verify();
    let (report, states) = keeping(&files, &sliced());
    assert!(report.verified, "{:#?}", report.problems);
    assert_eq!(without_slices(&report), without_slices(&whole));
    assert_eq!(report.proved, whole.proved);
    let size = files.checkpoint().size;
    assert_eq!(states.iter().map(State::size).collect::<Vec<_>>(), [256, size]);
}

#[test]
fn any_file_damaged_missing_or_swapped_is_named_in_slices_too() {
    let directory = large();
    let files = files(&directory);
    for (name, bytes) in &files.0 {
        let mut changed = files.clone();
        let at = bytes.len() / 2;
        changed.0.get_mut(name).unwrap()[at] ^= 4;
        // At the right edge, only all of it together is wrong.
        let report = keeping(&changed, &sliced()).0;
        let edge = report.problems.iter().any(|problem| problem.code() == "root") && name.contains(".p/");
        refused(&report, if edge { "log/checkpoint has another root than the tiles" } else { name });
        let mut changed = files.clone();
        changed.0.remove(name);
        // Of a pack that is missing, its parts are named; a partial tile of an older size may go.
        assert_eq!(keeping(&changed, &sliced()).0.verified, changed.verify().verified, "without {name}");
    }
    for kind in ["log/tile/0/", "log/tile/entries/"] {
        let names = files.of_kind(kind);
        let mut changed = files.clone();
        let first = changed.0[&names[0]].clone();
        changed.0.insert(names[1].clone(), first);
        assert!(!keeping(&changed, &sliced()).0.verified);
    }
    let (report, states) = keeping(
        &{
            let mut changed = files.clone();
            changed.0.get_mut("log/tile/entries/000").unwrap()[700] ^= 1;
            changed
        },
        &sliced(),
    );
    assert!(!report.verified && states.is_empty(), "nothing wrong is kept as verified");
}

/// So many exchanges, their entries with these changes, rightly signed.
fn log(exchanges: u64, change: impl Fn(&mut Vec<Entry>)) -> Files {
    let mut entries = Vec::new();
    for n in 0..exchanges {
        entries.push(Entry::new(Kind::Request, id(2 * n), "2026-11-22T10:00:00.000000Z"));
        let mut response = Entry::new(Kind::Response, id(2 * n + 1), "2026-11-22T10:00:01.000000Z");
        response.exchange = Some(id(2 * n));
        response.outcome = Some(Outcome::Complete);
        entries.push(response);
    }
    change(&mut entries);
    let entries: Vec<Vec<u8>> = entries.iter().map(|entry| entry.to_bytes().unwrap()).collect();
    let key = SigningKey::from_seed("slices.example/log", [5; 32]).unwrap();
    Files(Default::default()).with_entries(&entries).signed(&key)
}

#[test]
fn what_entries_say_of_each_other_across_slices_is_held_together() {
    let codes = |change: &dyn Fn(&mut Vec<Entry>)| {
        let files = log(500, change);
        let mut found: Vec<_> = keeping(&files, &sliced()).0.problems.iter().map(|p| (p.code(), p.entry())).collect();
        let mut whole: Vec<_> = files.verify().problems.iter().map(|p| (p.code(), p.entry())).collect();
        found.sort_unstable();
        whole.sort_unstable();
        assert_eq!(found, whole);
        found
    };
    assert_eq!(codes(&|_| {}), []);
    assert_eq!(codes(&|entries| entries[901].id = id(5)), [("id-twice", Some(901))]);
    assert_eq!(codes(&|entries| entries[901].exchange = Some(id(4))), [("response-twice", Some(901))]);
    assert_eq!(codes(&|entries| drop(entries.remove(2))), [("response-alone", Some(2))]);
    assert_eq!(codes(&|entries| entries.swap(2, 903)), [("response-early", Some(2)), ("response-early", Some(3))]);
}

#[test]
fn a_state_goes_on_where_it_ended() {
    let open = |entries: &mut Vec<Entry>| drop(entries.remove(1));
    let (report, states) = keeping(&log(200, open), &sliced());
    assert!(report.verified);
    let state: State = serde_json::from_slice(&serde_json::to_vec(states.last().unwrap()).unwrap()).unwrap();
    assert_eq!(state.size(), 399);
    let resumed = |files: &Files| keeping(files, &Options { state: Some(state.clone()), ..sliced() }).0;

    // The log went on; the exchange that was open got its answer.
    let late = |entries: &mut Vec<Entry>| {
        let response = entries.remove(1);
        entries.push(response);
    };
    let report = resumed(&log(300, late));
    assert!(report.verified, "{:#?}", report.problems);
    assert_eq!((report.checked.entries, report.checked.exchanges, report.checked.open_exchanges), (600, 300, 0));
    assert!(report.unchecked.iter().any(|statement| statement.code == "state"), "it says what it rests on");

    let stray = |entries: &mut Vec<Entry>| {
        late(entries);
        entries[550].exchange = Some(id(8));
    };
    assert!(resumed(&log(300, stray)).problems.contains(&Problem::ResponseTwice { entry: 550, first: 8 }));
}

#[test]
fn a_state_of_another_log_or_a_forged_one_is_refused() {
    let before = log(200, |_| {});
    let state = keeping(&before, &sliced()).1.pop().unwrap();
    let with = |files: &Files, state: State| keeping(files, &Options { state: Some(state), ..sliced() }).0;
    assert!(with(&log(300, |_| {}), state.clone()).verified);

    // An entry before the state was changed and everything signed anew.
    refused(
        &with(&log(300, |entries| entries[7].reason = Some("changed".into())), state.clone()),
        "the state is refused",
    );
    refused(&with(&log(100, |_| {}), state.clone()), "more entries");
    let text = serde_json::to_string(&state).unwrap();
    let forged = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        serde_json::from_str(&text.replacen(from, to, 1)).unwrap()
    };
    refused(&with(&before, forged("\"size\":400", "\"size\":399")), "does not extend");
    refused(&with(&before, forged("slices.example", "other.example")), "another log");
    refused(&with(&before, forged("\"v\":2", "\"v\":3")), "another version");
    refused(&with(&before, forged("\"content\":true", "\"content\":false")), "content");
}
