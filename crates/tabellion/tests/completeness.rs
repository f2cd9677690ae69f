//! Whether anything is missing can be told from the log alone: entries are numbered, sessions know the one before, quiet
//! times have heartbeats, and what passed unrecorded is declared.

mod common;

use std::time::Duration;

use common::{Log, Request, Setup, StandIn, chat, eventually, verify};
use serde_json::Value;

const FAIL_OPEN: &str = "[[upstream]]\nname = \"openai\"\nkind = \"openai\"\nurl = \"http://127.0.0.1:1\"\n\
                         default = true\nfail = \"open\"\n\
                         [[upstream]]\nname = \"anthropic\"\nkind = \"anthropic\"\nurl = \"http://127.0.0.1:1\"\n";

/// The sessions of a log: each one's entries, in order, after it was seen that their numbers are dense.
fn sessions(log: &Log) -> Vec<Vec<&Value>> {
    let mut sessions: Vec<Vec<&Value>> = Vec::new();
    for entry in &log.entries {
        let same = |session: &Vec<&Value>| session[0]["producer"] == entry["producer"];
        match sessions.iter_mut().find(|session| same(session)) {
            Some(session) => session.push(entry),
            None => sessions.push(vec![entry]),
        }
    }
    for session in &sessions {
        for (number, entry) in session.iter().enumerate() {
            assert_eq!(entry["seq"], number, "{entry}");
        }
    }
    sessions
}

fn kinds<'a>(session: &[&'a Value]) -> Vec<&'a str> {
    session.iter().map(|entry| entry["kind"].as_str().unwrap()).collect()
}

#[test]
fn every_entry_has_its_number_and_every_session_knows_the_one_before() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let standin = StandIn::start();
    let setup = Setup::new(&data, &standin.url());
    let ask = |gateway| Request::post("/v1/chat/completions", chat("m", "hello", false)).send(gateway);

    let mut server = setup.start();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..5).for_each(|_| assert_eq!(ask(server.gateway).status, 200)));
        }
    });
    server.stop();
    let mut server = setup.start();
    assert_eq!(ask(server.gateway).status, 200);
    server.kill();
    let mut server = setup.start();
    assert_eq!(ask(server.gateway).status, 200);
    server.stop();
    verify(&data);

    let log = Log::read(&data);
    let sessions = sessions(&log);
    assert_eq!(sessions.len(), 3);
    assert_eq!(sessions[0].len(), 82);
    assert_eq!(kinds(&sessions[1]), ["custody.start", "exchange.request", "exchange.response"]);
    assert_eq!(
        kinds(&sessions[2]),
        ["custody.start", "custody.recover", "exchange.request", "exchange.response", "custody.stop"]
    );
    let key = std::fs::read_to_string(data.join("log.vkey")).unwrap();
    for (session, before) in sessions.iter().zip([None, Some(&sessions[0]), Some(&sessions[1])]) {
        assert_eq!(session[0]["key"], key.lines().next().unwrap());
        match before {
            None => assert!(session[0].get("former").is_none()),
            Some(before) => {
                let last = before.last().unwrap();
                assert_eq!(session[0]["former"]["producer"], last["producer"]);
                assert_eq!(session[0]["former"]["seq"], last["seq"]);
            }
        }
    }
    assert_eq!(sessions[2][1]["former"], sessions[2][0]["former"]);
}

#[test]
fn what_passes_unrecorded_is_counted_and_declared() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let standin = StandIn::start();
    let mut server = Setup::new(&data, &standin.url()).configured(FAIL_OPEN).start();
    let ask = |path: &str, text: &str, stream| Request::post(path, chat("echo", text, stream)).send(server.gateway);
    assert_eq!(ask("/v1/chat/completions", "before", false).status, 200);
    for round in 1..=2 {
        server.limit_file_bytes(Some(0));
        for stream in [false, true] {
            let answer = ask("/v1/chat/completions", "while-nothing-can-be-written", stream);
            assert_eq!(answer.status, 200, "{}", answer.text());
            let end = if stream { "[DONE]" } else { "while-nothing-can-be-written" };
            assert!(answer.text().contains(end), "the answer passes whole: {}", answer.text());
            assert!(answer.header("x-tabellion-unrecorded").is_some());
            assert!(answer.header("x-tabellion-entry").is_none(), "there is no entry to name");
        }
        let refused = ask("/anthropic/v1/messages", "must-not-arrive", false);
        assert_eq!(refused.status, 503, "the other upstream fails closed: {}", refused.text());
        server.limit_file_bytes(None);
        eventually("the loss to be declared", || {
            let log = Log::read(&data);
            let gaps = log.entries.iter().filter(|entry| entry["kind"] == "custody.gap");
            let lost: u64 = gaps.map(|gap| gap["gap"]["count"].as_u64().unwrap()).sum();
            (lost == 2 * round).then_some(())
        });
        let answer = ask("/v1/chat/completions", "after", false);
        assert_eq!(answer.status, 200);
        assert!(answer.header("x-tabellion-unrecorded").is_none());
    }
    let metrics = Request::get("/metrics").send(server.console).text();
    let gaps = metrics.lines().find(|line| line.starts_with("tabellion_gaps_total{reason=")).unwrap();
    assert!(gaps.ends_with(" 4"), "{gaps}");
    server.assert_well();
    server.stop();
    verify(&data);
    let log = Log::read(&data);
    sessions(&log);
    let gap = log.entries.iter().find(|entry| entry["kind"] == "custody.gap").unwrap();
    let fields: Vec<&String> = gap["gap"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["reason", "count", "since", "until"]);
    assert_eq!(standin.saw(&chat("echo", "must-not-arrive", false)), 0);
    let report = report(&data, &[]);
    assert_eq!(report["completeness"]["lost"], 4);
}

#[test]
fn silence_is_filled_with_heartbeats_and_held_against_a_limit() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let mut server = Setup::new(&data, "http://127.0.0.1:1").with("TABELLION_LEDGER_HEARTBEAT_S", "1").start();
    eventually("three heartbeats", || {
        let beats = Log::read(&data).entries.iter().filter(|entry| entry["kind"] == "custody.heartbeat").count();
        (beats >= 3).then_some(())
    });
    server.stop();
    verify(&data);
    let quiet = Setup::new(&data, "http://127.0.0.1:1").with("TABELLION_LEDGER_HEARTBEAT_S", "0");
    let mut server = quiet.start();
    std::thread::sleep(Duration::from_millis(3_500));
    server.stop();
    let report = report(&data, &["--max-quiet", "2"]);
    assert_eq!(report["verified"], false);
    assert_eq!(report["problems"][0]["code"], "quiet");
}

/// What `tabellion verify --json` says, whatever it is.
fn report(data: &std::path::Path, more: &[&str]) -> Value {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tabellion"));
    let output = command.args(["verify", "--json"]).arg(data).args(more).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}
