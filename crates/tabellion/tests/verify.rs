//! `tabellion verify` as an examiner runs it: from public keys, over a directory or a URL, against what was kept.

mod common;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use common::{Request, Setup, StandIn, Upstream, chat};
use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tabellion")).arg("verify").args(arguments).output().unwrap()
}

/// The exit code and the report.
#[track_caller]
fn report(arguments: &[&str]) -> (i32, Value) {
    let output = run(&[arguments, &["--json"]].concat());
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code().unwrap(), report)
}

fn codes(statements: &Value) -> Vec<&str> {
    statements.as_array().unwrap().iter().map(|statement| statement["code"].as_str().unwrap()).collect()
}

/// A stopped log of so many exchanges more.
fn record(data: &Path, exchanges: usize) {
    let standin = StandIn::start();
    let mut server = Setup::new(data, &standin.url()).start();
    for n in 0..exchanges {
        let answer = Request::post("/v1/chat/completions", chat("m", &format!("{n}"), false)).send(server.gateway);
        assert_eq!(answer.status, 200);
    }
    server.stop();
}

#[test]
fn says_what_is_proved_what_is_contradicted_and_what_could_not_be_checked() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    record(&data, 3);
    let (text, key) = (data.display().to_string(), data.join("log.vkey").display().to_string());
    let (code, said) = report(&[&text, "--vkey", &key]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(codes(&said["proved"]), ["signature", "tree", "entries", "content", "exchanges", "numbers", "keys"]);
    assert_eq!(codes(&said["unchecked"]), ["witnesses", "time", "older"]);
    assert_eq!(said["contradicted"], serde_json::json!([]));
    assert_eq!(codes(&report(&[&text]).1["unchecked"]), ["key-elsewhere", "witnesses", "time", "older"]);

    let output = run(&[&text, "--vkey", &key]);
    let printed = String::from_utf8(output.stdout).unwrap();
    let at = |section: &str| printed.find(section).unwrap_or_else(|| panic!("{section} in {printed}"));
    assert!(at("\nproved\n") < at("\ncontradicted\n  nothing\n"));
    assert!(at("\ncontradicted\n") < at("\ncould not be checked\n"));
    assert!(printed.ends_with("\nverified\n"), "{printed}");

    // One bit of one part of the content.
    let pack = data.join("content/001");
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[50] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let (code, said) = report(&[&text, "--vkey", &key]);
    assert_eq!(code, 1);
    assert_eq!(said["verified"], false);
    assert_eq!(said["contradicted"], said["problems"]);
    assert_eq!(codes(&said["proved"]), ["signature", "tree", "entries", "exchanges", "numbers", "keys"]);
}

#[test]
fn holds_the_log_against_every_checkpoint_and_proof_that_was_kept() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let kept = |name: &str| -> PathBuf { place.path().join(name) };
    let text = data.display().to_string();
    record(&data, 1);
    std::fs::copy(data.join("log/checkpoint"), kept("first")).unwrap();
    record(&data, 2);
    let exchange = common::Log::read(&data).requests()[1]["id"].as_str().unwrap().to_owned();
    let proof = kept("second.tlog-proof").display().to_string();
    let made = Command::new(env!("CARGO_BIN_EXE_tabellion"))
        .args(["prove", &exchange, "--data", &text, "-o", &proof])
        .status()
        .unwrap();
    assert!(made.success());
    record(&data, 1);
    let first = kept("first").display().to_string();
    let against = ["--checkpoint", &*first, "--checkpoint", &*proof];
    let (code, said) = report(&[&[&*text][..], &against].concat());
    assert_eq!(code, 0, "{said}");
    assert!(codes(&said["proved"]).contains(&"extends"));
    assert!(!codes(&said["unchecked"]).contains(&"older"));

    // Another log by another key has the same name at most.
    let other = kept("other");
    record(&other, 4);
    let (code, said) = report(&[&[&*other.display().to_string()][..], &against].concat());
    assert_eq!(code, 1);
    assert_eq!(codes(&said["contradicted"]), ["older", "older"]);
}

#[test]
fn goes_on_from_a_state_and_refuses_that_of_another_log() {
    let place = tempfile::tempdir().unwrap();
    let (data, state) = (place.path().join("data"), place.path().join("state").display().to_string());
    let text = data.display().to_string();
    record(&data, 2);
    let (code, said) = report(&[&text, "--state", &state]);
    assert_eq!((code, &said["checked"]["exchanges"]), (0, &Value::from(2)), "{said}");
    record(&data, 3);
    let (code, said) = report(&[&text, "--state", &state]);
    assert_eq!((code, &said["checked"]["exchanges"]), (0, &Value::from(5)), "{said}");
    assert!(codes(&said["unchecked"]).contains(&"state"));
    assert_eq!(said["completeness"]["sessions"], 2);
    let whole = report(&[&text]).1;
    assert_eq!(said["completeness"], whole["completeness"]);

    let other = place.path().join("other");
    record(&other, 2);
    let (code, said) = report(&[&other.display().to_string(), "--state", &state]);
    assert_eq!((code, codes(&said["contradicted"])), (1, vec!["state"]));
    std::fs::write(&state, "nonsense").unwrap();
    assert_eq!(run(&[&text, "--state", &state]).status.code(), Some(2));
}

#[test]
fn verifies_a_log_over_http_from_a_server_that_fails_now_and_then_and_compresses() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let standin = StandIn::start();
    let mut server = Setup::new(&data, &standin.url()).start();
    for _ in 0..140 {
        Request::post("/v1/chat/completions", chat("m", "hi", false)).send(server.gateway);
    }
    let key = data.join("log.vkey").display().to_string();
    let url = format!("http://{}", server.console);
    for url in [&url, &format!("{url}/log"), &format!("{url}/log/")] {
        let (code, said) = report(&[url, "--vkey", &key]);
        assert_eq!(code, 0, "{said}");
        let unchecked = codes(&said["unchecked"]);
        assert!(["listing", "content"].iter().all(|code| unchecked.contains(code)), "{unchecked:?}");
    }
    assert_eq!(run(&[&url]).status.code(), Some(2), "without a key it is nobody's");
    server.stop();

    // Somebody else's server of the same files.
    let asked: Mutex<HashMap<String, usize>> = Mutex::default();
    let root = data.join("log");
    let damaged = place.path().join("damage-one");
    let mirror = {
        let damaged = damaged.clone();
        Upstream::start(move |received, stream| {
            let times = {
                let mut asked = asked.lock().unwrap();
                let times = asked.entry(received.path.clone()).or_default();
                *times += 1;
                *times
            };
            if times % 3 == 1 {
                return write!(stream, "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").is_ok();
            }
            let Ok(mut bytes) = std::fs::read(root.join(received.path.trim_start_matches("/a/log/"))) else {
                return write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").is_ok();
            };
            if damaged.exists() && received.path.ends_with("tile/entries/000") {
                bytes[100] ^= 1;
            }
            let mut encoding = "";
            if received.path.contains("/entries/") {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&bytes).unwrap();
                (bytes, encoding) = (encoder.finish().unwrap(), "content-encoding: gzip\r\n");
            }
            write!(stream, "HTTP/1.1 200 OK\r\n{encoding}content-length: {}\r\n\r\n", bytes.len()).is_ok()
                && stream.write_all(&bytes).is_ok()
        })
    };
    let url = format!("{}/a/log", mirror.url());
    let (code, said) = report(&[&url, "--vkey", &key]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = report(&[&url, "--vkey", &key, "--foreign"]);
    assert_eq!((code, codes(&said["proved"])), (0, vec!["signature", "tree"]));
    std::fs::write(damaged, "").unwrap();
    let (code, said) = report(&[&url, "--vkey", &key]);
    assert_eq!(code, 1, "{said}");
    assert!(codes(&said["contradicted"]).contains(&"entry-changed"), "{said}");
}
