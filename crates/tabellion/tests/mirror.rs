//! The second copy in a directory, beside a running server and by hand; and what the doctor says. (Buckets: `tests/s3`.)

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use common::{Request, Setup, StandIn, chat, eventually};

fn tabellion(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tabellion")).args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn copy_of(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_of(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

#[test]
fn the_running_server_keeps_a_copy_that_verifies_and_outlives_the_log() {
    let place = tempfile::tempdir().unwrap();
    let (data, copy) = (place.path().join("data"), place.path().join("copy"));
    let standin = StandIn::start();
    let config = format!("[mirror]\nto = {:?}\nevery_s = 1\n[ledger]\nprotect = \"read_only\"\n", text(&copy));
    let mut server = Setup::new(&data, &standin.url()).configured(&config).start();
    for n in 0..3 {
        let answer =
            Request::post("/v1/chat/completions", chat("m", &format!("number {n}"), false)).send(server.gateway);
        assert_eq!(answer.status, 200);
    }
    let size = |directory: &Path| {
        let note = std::fs::read_to_string(directory.join("log/checkpoint")).ok()?;
        note.lines().nth(1)?.parse::<u64>().ok()
    };
    eventually("the copy to have three exchanges", || size(&copy).filter(|&size| size >= 7));

    // It is this log's only mirror to this place, and a command says so.
    let second = tabellion(&["mirror", "--data", text(&data), "--to", text(&copy)]);
    assert_eq!(second.status.code(), Some(3), "{second:?}");
    assert!(String::from_utf8_lossy(&second.stderr).contains("another process mirrors this log"));
    let metrics = Request::get("/metrics").send(server.console);
    assert!(String::from_utf8_lossy(&metrics.body).contains("tabellion_mirror_size"));
    server.stop();

    // What the server wrote last, a command brings over.
    let done = tabellion(&["mirror", "--data", text(&data), "--to", text(&copy), "--json"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(json(&done)["size"].as_u64(), size(&data));
    let pack = std::fs::read_dir(data.join("content")).unwrap().next().unwrap().unwrap();
    assert_eq!(pack.metadata().unwrap().permissions().mode() & 0o777, 0o400, "packs are final");
    std::fs::remove_dir_all(&data).unwrap();
    let verified = tabellion(&["verify", text(&copy), "--json"]);
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
}

#[test]
fn a_rolled_back_log_and_a_place_inside_the_log_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let (data, old, copy) = (place.path().join("data"), place.path().join("old"), place.path().join("copy"));
    let standin = StandIn::start();
    let setup = Setup::new(&data, &standin.url());
    setup.start().stop();
    copy_of(&data, &old);
    setup.start().stop();
    let to_copy = |from: &Path| tabellion(&["mirror", "--data", text(from), "--to", text(&copy)]);
    assert_eq!(to_copy(&data).status.code(), Some(0));
    let refused = to_copy(&old);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("it was rolled back"));

    let inside = data.join("copy");
    let refused = tabellion(&["mirror", "--data", text(&data), "--to", text(&inside)]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    for (to, word) in [("ftp://x/y", "a mirror is a directory"), ("s3://bucket/log", "for how long")] {
        let refused = tabellion(&["mirror", "--data", text(&data), "--to", to]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(word), "{refused:?}");
    }
    let nowhere = tabellion(&["mirror", "--data", text(&data)]);
    assert_eq!(nowhere.status.code(), Some(2));
}

#[test]
fn the_doctor_finds_keys_that_others_can_read_and_a_copy_on_the_same_disk() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let standin = StandIn::start();
    let mut server = Setup::new(&data, &standin.url()).start();
    server.stop();
    let config = place.path().join("doctor.toml");
    let copy = place.path().join("copy");
    let listen = "[gateway]\nlisten = \"127.0.0.1:0\"\n[console]\nlisten = \"127.0.0.1:0\"\n";
    let mirror = format!("[mirror]\nto = {:?}\n", text(&copy));
    std::fs::write(&config, format!("data = {:?}\n{listen}{mirror}", text(&data))).unwrap();
    let ask = || tabellion(&["doctor", "--json", "--config", text(&config)]);
    let state = |output: &Output, check: &str| {
        let lines = json(output);
        let lines = lines.as_array().unwrap();
        let line = lines.iter().find(|line| line["check"] == check).unwrap_or_else(|| panic!("{check}: {lines:?}"));
        line["state"].as_str().unwrap().to_owned()
    };
    let asked = ask();
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    for check in ["configuration", "redaction.policy", "data_directory", "keys", "log", "clock", "gateway.listen"] {
        assert_eq!(state(&asked, check), "ok", "{check}");
    }
    assert_eq!(state(&asked, "mirror"), "warning");

    let key = place.path().join("data.keys/log.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let asked = ask();
    assert_eq!((asked.status.code(), &*state(&asked, "keys")), (Some(3), "failed"));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(ask().status.code(), Some(0));

    // A clock that was put back.
    let ahead = std::time::SystemTime::now() + std::time::Duration::from_secs(3_600);
    let checkpoint = std::fs::File::options().write(true).open(data.join("log/checkpoint")).unwrap();
    checkpoint.set_modified(ahead).unwrap();
    assert_eq!(state(&ask(), "clock"), "failed");
}

#[test]
fn a_bucket_that_is_away_keeps_the_server_neither_from_recording_nor_from_stopping() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let standin = StandIn::start();
    // Takes connections, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let config = format!(
        "[mirror]\nto = \"s3://bucket/log\"\nendpoint = {endpoint:?}\nregion = \"us-east-1\"\nretention_days = 1\n\
         every_s = 1\ntimeout_s = 1\n"
    );
    let setup = Setup::new(&data, &standin.url()).configured(&config);
    let mut server = setup.with("AWS_ACCESS_KEY_ID", "key").with("AWS_SECRET_ACCESS_KEY", "secret").start();
    let answer = Request::post("/v1/chat/completions", chat("m", "hello", false)).send(server.gateway);
    assert_eq!(answer.status, 200);
    eventually("a round to fail", || {
        let metrics = Request::get("/metrics").send(server.console);
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        text.lines()
            .any(|line| line.starts_with("tabellion_mirror_failures_total ") && !line.ends_with(" 0"))
            .then_some(())
    });
    server.stop();
    assert!(server.said().contains("the bucket is away"), "{}", server.said());
    common::verify(&data);
}
